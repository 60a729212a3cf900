/* The tokens of a JSON text: where each value, key, bracket, comma and colon starts.
 *
 * This is the first stage of simdjson, the part that is hard to write well: it finds strings,
 * validates UTF-8 and refuses control characters at several GB/s. One text may hold many documents
 * behind one another (the lines of a file): finding their tokens in one go costs 140 ns an event,
 * walking the same events with simdjson's on-demand front-end 720 ns (Xeon with AVX-512). The walk
 * is ours: json_cursor.h.
 *
 * simdjson's library holds a kernel for each instruction set and picks the CPU's best.
 *
 * Layers: base, simdjson. Threads: one owner. Limits: texts below 4 GiB; the array of tokens grows
 * to the largest text seen.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct json_tokens;

/* isa NULL: the best kernel of this CPU, else the one of that name; NULL if this CPU has it not. */
struct json_tokens *json_tokens_new(const char *isa);
void json_tokens_free(struct json_tokens *tokens);
const char *json_tokens_isa(const struct json_tokens *tokens);

/* The names of the kernels that run on this CPU, i = 0, 1 …; NULL behind the last. */
const char *json_tokens_kernel(size_t i);

/* Finds all tokens. text.p[text.n] is readable and is a newline or NUL: it is the token behind the
 * last, so a walk needs no other end. *why says what is wrong with the text on KEEL_E_SYNTAX. */
int json_tokens_find(struct json_tokens *tokens, struct str text, const char **why) K_CHECKED;
const uint32_t *json_tokens_first(const struct json_tokens *tokens);
