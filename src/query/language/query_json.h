/* The JSON form of a query: the same tree as the text, for programs that build questions.
 * docs/query-language.md lists the members. Reading what was written gives the same tree, and both
 * give the same canonical text.
 *
 * Layers: ast.h, base/json.h. Threads: pure. Limits: QUERY_JSON_MAX_BYTES; as for text, the arena
 * must have QUERY_ARENA_BYTES (parse.h) left.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "query/language/ast.h"

enum { QUERY_JSON_MAX_BYTES = 256 << 10 };

/* Fails only as the buffer fails. One line, members in a fixed order, defaults left out. */
int query_json_print(const struct query *q, struct buf *out) K_CHECKED;

/* Reads, checks and seals; *out is written only on success. Unknown members are errors, so that a
 * misspelt one is not ignored; the message says which member it is about ("where.and[1].op").
 * The value must come from a text of at most QUERY_JSON_MAX_BYTES. */
int query_json_read(struct json_value root, struct arena *a, struct query **out,
                    struct keel_error *err) K_CHECKED;

/* The same from text. */
int query_json_parse(struct str text, struct arena *a, struct query **out,
                     struct keel_error *err) K_CHECKED;
