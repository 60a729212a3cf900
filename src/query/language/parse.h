/* From text to tree.
 *
 * Layers: ast.h. Threads: pure. Limits: QUERY_MAX_TEXT; the tree takes at most QUERY_ARENA_BYTES of
 * the arena, and an arena that could not hold that much more is refused.
 */
#pragma once

#include "base/buf.h"
#include "query/language/ast.h"

enum { QUERY_ARENA_BYTES = 48 << 20 };

/* Where and what, for people (message) and for tools (the rest). */
struct query_syntax_error {
    uint32_t line, column;   /* from 1; a column is a character, not a byte            */
    uint32_t offset, length; /* bytes of the text; length 0 at its end               */
    char message[512];       /* without the place: expected "customers" or "events" …  */
};

/* Parses, checks (check.h) and seals. On success the tree lives in the arena. On failure *err says
 * "line 1, column 7: " and the message, and *where (NULL: not wanted) holds the parts;
 * KEEL_E_SYNTAX, or KEEL_E_LIMIT for what is too large. *out is written only on success. */
int query_parse(struct str text, struct arena *a, struct query **out,
                struct query_syntax_error *where, struct keel_error *err) K_CHECKED;

/* An error at a word of the text, for whoever finds one later (an unknown event, a property of
 * another type): fills *where and *err, returns -code. A position of length 0 at offset 0, as trees
 * from JSON have it, yields the message alone. */
int query_error_at(struct str text, struct query_pos at, enum keel_code code,
                   struct query_syntax_error *where, struct keel_error *err, const char *format,
                   ...) K_PRINTF(6, 7);

/* The line that holds the error, and below it carets under the word:
 *     count custmers
 *           ^^^^^^^^
 * Long lines are cut around the word. */
int query_error_picture(struct str text, const struct query_syntax_error *where,
                        struct buf *out) K_CHECKED;
