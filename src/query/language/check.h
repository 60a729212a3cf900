/* What can be wrong with a query without knowing any name: wrong kinds of values, splits that a
 * form cannot have, sizes beyond the limits. The text parser and the JSON reader both end with it,
 * so a query that exists is one that means something.
 *
 * Layers: ast.h; PCRE2 (whether a pattern is one). Threads: pure.
 */
#pragma once

#include "query/language/ast.h"

/* KEEL_E_SYNTAX or KEEL_E_LIMIT; *where is the word, as far as the tree knows. */
int query_check(const struct query *q, struct query_pos *where, struct keel_error *err) K_CHECKED;

/* Writes the canonical text (in the arena) and the hash into q; KEEL_E_LIMIT beyond
 * QUERY_MAX_TEXT, since the canonical text must parse again. */
int query_seal(struct query *q, struct arena *a, struct keel_error *err) K_CHECKED;
