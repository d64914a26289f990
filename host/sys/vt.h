/* vt.h - where, in what a terminal is sent, a reader can begin.
 *
 * Follows the bytes as far as that takes: whether one is inside a UTF-8
 * character, an escape sequence or a string (OSC, DCS ...), and which modes
 * have been switched away from how a terminal is after a reset. What a screen
 * shows is not followed. `cc_vt` zeroed is the beginning. Thread: any.
 */
#ifndef CC_SYS_VT_H
#define CC_SYS_VT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cc_vt {
    uint32_t modes; /* for cc_vt_modes: those that are not as after a reset */
    uint8_t state, rest;
    uint8_t n; /* parameters of the control sequence under way */
    char mark; /* its '?', '!' ... or 0 */
    uint16_t params[16];
};

#define CC_VT_MODES_TEXT 256
#define CC_VT_RESET_TEXT 256

void cc_vt_byte(struct cc_vt *v, uint8_t b);
/* Between two characters, in no sequence. */
bool cc_vt_between(const struct cc_vt *v);

/* What brings a terminal that was reset into these modes; "" for none. */
void cc_vt_modes(uint32_t modes, char text[CC_VT_MODES_TEXT]);
/* What ends whatever a terminal was in the middle of, and puts it back to how it began, with all that it has shown. */
void cc_vt_reset(char text[CC_VT_RESET_TEXT]);

#endif
