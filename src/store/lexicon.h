/* Lexicons: the strings of a dictionary column and their codes, for the life of the process.
 *
 * Parts keep dictionaries of their own; when a part's column is first used, its dictionary is
 * translated into the column's lexicon once, so that in a query a string of a column has one code
 * whatever part or head it came from: predicates are evaluated once per distinct string, grouping
 * is an array index. Codes are never written to disk.
 *
 * Layers: base. Threads: lexicon_add takes the lexicon's lock; lexicon_str needs none for a code
 * that the caller got by lexicon_add or from a vector (chunks never move).
 */
#pragma once

#include "base/str.h"

enum {
    LEXICON_MAX = 1 << 24,       /* strings of one column in memory                          */
    LEXICON_TEXT_FROM = 1 << 18, /* above, the column is stored as text from the next head on */
};

struct lexicon;

struct lexicon *lexicon_new(void);
void lexicon_free(struct lexicon *l);
/* Code of s, added if new; UINT32_MAX when the lexicon is full. */
uint32_t lexicon_add(struct lexicon *l, struct str s);
/* The same in two steps: what a look-up of s will read is asked for, so that the second, some time
 * later, need not wait for it. */
uint64_t lexicon_prefetch(struct lexicon *l, struct str s);
uint32_t lexicon_add_hashed(struct lexicon *l, struct str s, uint64_t hash);
/* Code of s, or UINT32_MAX if absent. */
uint32_t lexicon_find(struct lexicon *l, struct str s);
struct str lexicon_str(const struct lexicon *l, uint32_t code);
uint32_t lexicon_count(const struct lexicon *l);
size_t lexicon_bytes(const struct lexicon *l);
