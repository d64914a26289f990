/* vt.c - see vt.h. The states are those of the DEC terminals' parser, with all that does not matter here left out. */
#include "host/sys/vt.h"

#include <stdio.h>
#include <string.h>

enum { GROUND, CHARACTER, ESCAPE, CONTROL, STRING, COMMAND_STRING, STRING_ESCAPE };

/* Private modes that outlive what set them; `usual`: as after a reset. */
static const struct {
    uint16_t number;
    bool usual;
} private_modes[] = {
    { 1, false },    { 7, true },     { 25, true },    { 47, false },   { 1047, false },
    { 1049, false }, { 1000, false }, { 1002, false }, { 1003, false }, { 1004, false },
    { 1005, false }, { 1006, false }, { 1015, false }, { 2004, false },
};
enum { N_MODES = sizeof(private_modes) / sizeof(*private_modes), KEYPAD = N_MODES };

static void set_mode(struct cc_vt *v, unsigned i, bool on)
{
    bool usual = i < N_MODES && private_modes[i].usual;

    if (on == usual)
        v->modes &= ~(1u << i);
    else
        v->modes |= 1u << i;
}

static void private_mode(struct cc_vt *v, bool on)
{
    unsigned p, i;

    for (p = 0; p <= v->n && p < 16; p++)
        for (i = 0; i < N_MODES; i++)
            if (private_modes[i].number == v->params[p])
                set_mode(v, i, on);
}

static void control_ends(struct cc_vt *v, uint8_t b)
{
    v->state = GROUND;
    if (v->mark == '?' && (b == 'h' || b == 'l'))
        private_mode(v, b == 'h');
    if (v->mark == '!' && b == 'p') { /* a soft reset */
        set_mode(v, 0, false);
        set_mode(v, 2, true);
        set_mode(v, KEYPAD, false);
    }
}

static void control(struct cc_vt *v, uint8_t b)
{
    if (b >= 0x40 && b <= 0x7e) {
        control_ends(v, b);
    } else if (b >= '0' && b <= '9') {
        if (v->n < 16)
            v->params[v->n] = (uint16_t)(v->params[v->n] * 10 + (b - '0'));
    } else if (b == ';') {
        if (v->n < 16)
            v->n++;
        if (v->n < 16)
            v->params[v->n] = 0;
    } else if ((b >= 0x3c && b <= 0x3f) || (b >= 0x20 && b <= 0x2f)) {
        v->mark = (char)b;
    }
}

static void escape(struct cc_vt *v, uint8_t b)
{
    if (b == '[') {
        v->state = CONTROL;
        v->n = 0;
        v->mark = 0;
        v->params[0] = 0;
    } else if (b == ']') {
        v->state = COMMAND_STRING;
    } else if (b == 'P' || b == 'X' || b == '^' || b == '_') {
        v->state = STRING;
    } else if (b >= 0x30 && b <= 0x7e) {
        v->state = GROUND;
        if (b == 'c')
            v->modes = 0;
        if (b == '=' || b == '>')
            set_mode(v, KEYPAD, b == '=');
    }
}

static void ground(struct cc_vt *v, uint8_t b)
{
    v->rest = b >= 0xf0 && b <= 0xf4 ? 3 : b >= 0xe0 && b < 0xf0 ? 2 : b >= 0xc2 && b < 0xe0 ? 1 : 0;
    v->state = v->rest ? CHARACTER : GROUND;
}

void cc_vt_byte(struct cc_vt *v, uint8_t b)
{
    if (v->state == CHARACTER && (b & 0xc0) == 0x80) {
        v->state = --v->rest ? CHARACTER : GROUND;
        return;
    }
    if (b == 0x1b) { /* it ends everything, but may be the first half of a string's end */
        v->state = v->state == STRING || v->state == COMMAND_STRING ? STRING_ESCAPE : ESCAPE;
        return;
    }
    if (b == 0x18 || b == 0x1a) {
        v->state = GROUND;
        return;
    }
    switch (v->state) {
    case ESCAPE:
        escape(v, b);
        break;
    case CONTROL:
        control(v, b);
        break;
    case STRING_ESCAPE:
        escape(v, b); /* a '\' ends it, as it ends any escape sequence */
        break;
    case STRING:
        break;
    case COMMAND_STRING:
        v->state = b == 0x07 ? GROUND : COMMAND_STRING;
        break;
    default:
        ground(v, b);
    }
}

bool cc_vt_between(const struct cc_vt *v) { return v->state == GROUND; }

void cc_vt_modes(uint32_t modes, char text[CC_VT_MODES_TEXT])
{
    size_t at = 0;
    unsigned i;

    text[0] = '\0';
    for (i = 0; i < N_MODES; i++)
        if (modes & 1u << i)
            at += (size_t)snprintf(text + at, CC_VT_MODES_TEXT - at, "\033[?%d%c", private_modes[i].number,
                                   private_modes[i].usual ? 'l' : 'h');
    if (modes & 1u << KEYPAD)
        snprintf(text + at, CC_VT_MODES_TEXT - at, "\033=");
}

void cc_vt_reset(char text[CC_VT_RESET_TEXT])
{
    /* CAN ends a sequence; a soft reset; then what a soft reset leaves, and the usual character set. */
    size_t at = (size_t)snprintf(text, CC_VT_RESET_TEXT, "\030\033[!p");
    unsigned i;

    for (i = 0; i < N_MODES; i++)
        at += (size_t)snprintf(text + at, CC_VT_RESET_TEXT - at, "\033[?%d%c", private_modes[i].number,
                               private_modes[i].usual ? 'h' : 'l');
    snprintf(text + at, CC_VT_RESET_TEXT - at, "\033>\033(B\017\033[m");
}
