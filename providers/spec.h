/* spec.h - a machine's description as JSON and back, for drivers that keep it with the machine.
 *
 * What is read may be damaged: absent and mistyped fields read as absent.
 * Answers live in the arena.  [any thread]
 */
#ifndef CC_PROVIDERS_SPEC_H
#define CC_PROVIDERS_SPEC_H

#include "providers/provider.h"

#include <jansson.h>

json_t *cc_spec_json(const struct cc_machine_spec *s); /* NULL: a text of it is not UTF-8 */
void cc_spec_read(struct cc_arena *a, const json_t *o, struct cc_machine_spec *out);

const char *cc_doc_text(struct cc_arena *a, const json_t *o, const char *key); /* copied; NULL: no text */
uint32_t cc_doc_u32(const json_t *o, const char *key);                         /* 0: no such number */

#endif
