/* Tokens of the query language, and the lexer that cuts a text into them.
 *
 * A token is a slice of the text with a code of grammar.h; its meaning (unescaped string, number,
 * time) is read from the slice when the grammar uses it. AND and OR leave the lexer without saying
 * whose they are; the parser decides (see parse.c).
 *
 * Layers: ast.h. Threads: pure. Limits: QUERY_MAX_TEXT, so offsets fit 32 bits.
 */
#pragma once

#include "query/language/ast.h"

struct query_token {
    uint8_t code;    /* QT_*; 0 at the end                                     */
    uint8_t word;    /* index of words.def, or QUERY_NO_WORD                   */
    bool glued;      /* stands directly behind the token before it             */
    uint32_t offset; /* of the slice                                           */
    uint32_t length;
};

struct query_word {
    const char *text;
    uint8_t length, code, number;
    bool may_be_name;
};

enum { QUERY_NO_WORD = 255 };
extern const struct query_word query_words[];
extern const unsigned query_word_count;

/* The next token from offset `at` of a NUL-terminated text. Not a token: code 0 with length > 0,
 * and *reason says what is wrong with the slice. */
struct query_token query_lex(const char *text, uint32_t at, const char **reason);

/* What a token's slice says. */
struct str query_token_string(const char *text, const struct query_token *t, struct arena *a,
                              const char **reason); /* "…", '…': unescaped          */
struct str query_token_name(const char *text, const struct query_token *t, struct arena *a);
bool query_token_time(const char *text, const struct query_token *t, struct query_time *out);
bool query_time_valid(const struct query_time *t); /* fields in range, the day exists     */

/* Whether a path needs no backquotes: segments of letters, digits and _, joined by dots. What the
 * first one may be depends on where it stands. */
enum query_place {
    QUERY_PLACE_ANY,    /* no word of the language                                    */
    QUERY_PLACE_FILTER, /* as above, but page.url is fine: no event can stand here    */
    QUERY_PLACE_DOT,    /* behind a dot: anything                                     */
};
bool query_path_is_bare(struct str path, enum query_place place);
