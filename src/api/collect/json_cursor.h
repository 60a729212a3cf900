/* A strict walk over JSON by its tokens (json_tokens.h), without a tree and without copies.
 *
 * The tokens give lengths for free: a string ends at the last quote before the next token, so a
 * string without escapes is a slice of the text. Every step checks what stands there; the token
 * behind the last (a newline or NUL) fits no rule, so a walk cannot leave the text.
 *
 * The first failure sets `error`, a static text; the cursor stays at the wrong token. Only
 * cursor_skip is lenient: it counts brackets, for values that are walked once more.
 *
 * Layers: base, json_tokens.h. Threads: one owner. Limits: cursor_raw nests to CURSOR_MAX_DEPTH.
 */
#pragma once

#include "base/mem.h"
#include "base/str.h"

enum { CURSOR_MAX_DEPTH = 128 };

struct json_cursor {
    const char *text, *end;
    const uint32_t *at;    /* the next token                                                  */
    bool escapes;          /* there may be backslashes                                        */
    bool repaired;         /* half of a surrogate pair was replaced by U+FFFD                 */
    struct arena *scratch; /* for strings with escapes                                        */
    const char *error;
};

static inline char cursor_peek(const struct json_cursor *c) { return c->text[*c->at]; }

static inline int cursor_fail(struct json_cursor *c, const char *error) {
    if (!c->error) c->error = error;
    return -1;
}

/* A string with its escapes replaced, in scratch. */
struct str cursor_unescape(struct json_cursor *c, struct str raw);

/* The text of the string that starts at a token (which must be a quote). */
static inline struct str cursor_string_at(struct json_cursor *c, const uint32_t *token) {
    const char *start = c->text + token[0] + 1, *end = c->text + token[1];
    while (*--end != '"') continue; /* only space lies between; the opening quote stops it */
    if (__builtin_expect(end < start, 0)) {
        cursor_fail(c, "a string is not closed");
        return (struct str){start, 0};
    }
    struct str s = {start, (size_t)(end - start)};
    if (c->escapes && memchr(s.p, '\\', s.n)) return cursor_unescape(c, s);
    return s;
}

/* Steps into the object at the cursor and through it:
 *     for (bool first = true; cursor_member(c, &first, &key) > 0;) <take the value>
 * 1: *key, and the cursor is at its value; 0: behind the object; negative: error.
 * cursor_step does the same but leaves the cursor at the key, to be taken by cursor_take_key. */
static inline int cursor_step(struct json_cursor *c, bool *first) {
    char here = cursor_peek(c);
    if (*first) {
        if (here != '{') return cursor_fail(c, "an object is expected");
        here = c->text[*++c->at];
    }
    if (here == '}') {
        c->at++;
        return 0;
    }
    if (!*first) {
        if (here != ',') return cursor_fail(c, "',' or '}' is expected");
        here = c->text[*++c->at];
    }
    *first = false;
    if (here != '"') return cursor_fail(c, "a key in quotes is expected");
    if (c->text[c->at[1]] != ':') return cursor_fail(c, "':' is expected");
    return 1;
}

static inline struct str cursor_take_key(struct json_cursor *c) {
    struct str key = cursor_string_at(c, c->at);
    c->at += 2;
    return key;
}

static inline int cursor_member(struct json_cursor *c, bool *first, struct str *key) {
    int more = cursor_step(c, first);
    if (more <= 0) return more;
    *key = cursor_take_key(c);
    return c->error ? -1 : 1;
}

/* The same for arrays. */
static inline int cursor_element(struct json_cursor *c, bool *first) {
    char here = cursor_peek(c);
    if (*first) {
        if (here != '[') return cursor_fail(c, "an array is expected");
        here = c->text[*++c->at];
    }
    if (here == ']') {
        c->at++;
        return 0;
    }
    if (!*first) {
        if (here != ',') return cursor_fail(c, "',' or ']' is expected");
        c->at++;
    }
    *first = false;
    return 1;
}

/* Behind the value at the cursor, whatever it is. Of what it skips only the brackets are counted.
 */
void cursor_skip_container(struct json_cursor *c);
static inline void cursor_skip(struct json_cursor *c) {
    char here = cursor_peek(c);
    if (here == '{' || here == '[')
        cursor_skip_container(c);
    else if (here != '}' && here != ']' && here != ',' && here != ':' && here != '\n' && here)
        c->at++;
    else
        cursor_fail(c, "a value is expected");
}

/* Takes true, false or null. */
int cursor_literal(struct json_cursor *c, const char *word);

/* Takes a number. 1: *out is its nearest double; 2: a double would not hold it (whole numbers
 * beyond 2^53, more than 63 characters, out of range): *raw is its text. Negative: error. */
int cursor_number(struct json_cursor *c, double *out, struct str *raw);

/* Takes the object or array at the cursor and checks it thoroughly; *out is its text. */
int cursor_raw(struct json_cursor *c, struct str *out);

/* Takes any value and checks it thoroughly. */
int cursor_check(struct json_cursor *c);
