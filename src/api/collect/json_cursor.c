/* Implementation of json_cursor.h: what is not on the hot path, and numbers. */
#include "api/collect/json_cursor.h"

/* ---- strings ---- */

static int hex4(const char *p, const char *end, uint32_t *out) {
    uint32_t v = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                                : 16;
        if (digit > 15) return -1;
        v = v << 4 | digit;
    }
    *out = v;
    return 0;
}

static char *put_utf8(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* Behind "\u": the code point; a low surrogate that follows belongs to it. NULL: not hexadecimal.
 * JavaScript may cut a text in the middle of a pair, and JSON.stringify then writes the half alone:
 * it becomes U+FFFD, the rest of the event is worth keeping. */
static const char *take_code(struct json_cursor *c, const char *p, const char *end,
                             uint32_t *code) {
    uint32_t low;
    if (hex4(p, end, code) < 0) return NULL;
    p += 4;
    if (*code < 0xd800 || *code > 0xdfff) return p;
    if (*code < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
        hex4(p + 2, end, &low) == 0 && low >= 0xdc00 && low <= 0xdfff) {
        *code = 0x10000 + ((*code - 0xd800) << 10 | (low - 0xdc00));
        return p + 6;
    }
    *code = 0xfffd;
    c->repaired = true;
    return p;
}

struct str cursor_unescape(struct json_cursor *c, struct str raw) {
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *p = raw.p, *end = raw.p + raw.n;
    char *start = arena_try_alloc(c->scratch, raw.n), *to = start; /* it never grows */
    if (!start) {
        cursor_fail(c, "out of memory");
        return (struct str){raw.p, 0};
    }
    while (p < end) {
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        p++; /* an escape has a character behind it, or the quote would not have ended the string */
        const char *known = *p ? strchr(from, *p) : NULL;
        uint32_t code = 0;
        if (*p == 'u')
            p = take_code(c, p + 1, end, &code);
        else
            p = known ? p + 1 : NULL;
        if (!p) {
            cursor_fail(c, "an unknown escape in a string");
            return (struct str){start, 0};
        }
        if (known)
            *to++ = into[known - from];
        else
            to = put_utf8(to, code);
    }
    return (struct str){start, (size_t)(to - start)};
}

/* ---- skipping ---- */

void cursor_skip_container(struct json_cursor *c) {
    enum { STOP = -(1 << 30) };
    static const int32_t steps[256] = {
        ['{'] = 1, ['['] = 1, ['}'] = -1, [']'] = -1, ['\n'] = STOP, [0] = STOP};
    const uint32_t *at = c->at;
    const char *text = c->text;
    int32_t depth = 0;
    do { /* two tokens that are no brackets at once: behind the last two more stand for the end */
        int32_t here = steps[(unsigned char)text[at[0]]];
        while (!(here | steps[(unsigned char)text[at[1]]])) {
            at += 2;
            here = steps[(unsigned char)text[at[0]]];
        }
        depth += here;
        at++;
    } while (depth > 0);
    if (depth < 0) {
        cursor_fail(c, "an object or array is not closed");
        at--;
    }
    c->at = at;
}

/* ---- scalars ---- */

/* May the number or literal at the cursor end at p? Before a space, a comma or a bracket, or where
 * the text ends: there the next token is. */
static inline bool ends_scalar(const struct json_cursor *c, const char *p) {
    return *p == ',' || *p == '}' || *p == ']' || *p == ' ' || *p == '\n' || *p == '\r' ||
           *p == '\t' || p == c->text + c->at[1];
}

int cursor_literal(struct json_cursor *c, const char *word) {
    const char *p = c->text + *c->at;
    while (*word && *p == *word) {
        p++;
        word++;
    }
    if (*word || !ends_scalar(c, p)) return cursor_fail(c, "a value is expected");
    c->at++;
    return 0;
}

static inline bool is_digit(char c) { return (unsigned char)(c - '0') < 10; }

/* Digits into *m, counting those that matter; NULL if there are none. */
static inline const char *take_digits(const char *p, uint64_t *m, int *digits) {
    const char *start = p;
    for (; is_digit(*p); p++) {
        *digits += *m || *p != '0';
        *m = *m * 10 + (uint64_t)(*p - '0');
    }
    return p > start ? p : NULL;
}

static const char *take_exponent(const char *p, int *exponent) {
    uint64_t e = 0;
    int digits = 0;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    p = take_digits(p, &e, &digits);
    if (digits > 4) e = 9999; /* far beyond every double */
    *exponent += negative ? -(int)e : (int)e;
    return p;
}

int cursor_number(struct json_cursor *c, double *out, struct str *raw) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const uint64_t exact = UINT64_C(1) << 53;
    const char *start = c->text + *c->at, *p = start;
    uint64_t m = 0;
    int digits = 0, exponent = 0;
    bool negative = *p == '-', whole = true;
    p += negative;
    bool zero = *p == '0';
    const char *first = p;
    p = take_digits(p, &m, &digits);
    if (p && zero && p > first + 1) p = NULL; /* no leading zeros */
    if (p && *p == '.') {
        const char *point = p + 1;
        whole = false;
        p = take_digits(point, &m, &digits);
        if (p) exponent = (int)(point - p);
    }
    if (p && (*p | 32) == 'e') {
        whole = false;
        p = take_exponent(p + 1, &exponent);
    }
    if (!p || !ends_scalar(c, p)) return cursor_fail(c, "a number or value is expected");
    c->at++;
    *raw = (struct str){start, (size_t)(p - start)};
    bool fits = digits <= 19 && m <= exact;
    if (whole && !fits) return 2;
    /* W. Clinger: both factors are exact doubles, so one rounding gives the nearest. */
    if (fits && exponent >= -22 && exponent <= 22)
        *out = exponent < 0 ? (double)m / powers[-exponent] : (double)m * powers[exponent];
    else if (!str_to_f64(*raw, out))
        return 2;
    else
        return 1;
    if (negative) *out = 0 - *out; /* and no "-0" */
    return 1;
}

/* ---- objects and arrays, checked ---- */

static int check_scalar(struct json_cursor *c) {
    double number;
    struct str text;
    switch (cursor_peek(c)) {
    case '"':
        (void)cursor_string_at(c, c->at);
        c->at++;
        break;
    case 't': return cursor_literal(c, "true");
    case 'f': return cursor_literal(c, "false");
    case 'n': return cursor_literal(c, "null");
    default: cursor_number(c, &number, &text);
    }
    return c->error ? -1 : 0;
}

static int check_key(struct json_cursor *c) {
    if (cursor_peek(c) != '"') return cursor_fail(c, "a key in quotes is expected");
    if (c->text[c->at[1]] != ':') return cursor_fail(c, "':' is expected");
    (void)cursor_string_at(c, c->at);
    c->at += 2;
    return c->error ? -1 : 0;
}

/* Behind a value: closes what ends here and stands at the next value, or is done (depth 0). */
static int check_next(struct json_cursor *c, const char *closers, int *depth) {
    while (*depth > 0) {
        char close = closers[*depth - 1], here = cursor_peek(c);
        if (here == ',') {
            c->at++;
            return close == '}' ? check_key(c) : 0;
        }
        if (here != close)
            return cursor_fail(c, "',' or the end of the object or array is expected");
        c->at++;
        --*depth;
    }
    return 0;
}

int cursor_raw(struct json_cursor *c, struct str *out) {
    char closers[CURSOR_MAX_DEPTH];
    int depth = 0;
    const uint32_t *start = c->at;
    struct arena_mark mark = arena_mark(c->scratch); /* strings are checked, not kept */
    do {
        char here = cursor_peek(c);
        if (here == '{' || here == '[') {
            if (depth == CURSOR_MAX_DEPTH) return cursor_fail(c, "nested deeper than 128");
            closers[depth++] = here == '{' ? '}' : ']';
            c->at++;
            if (cursor_peek(c) != closers[depth - 1]) {
                if (here == '{' && check_key(c) < 0) return -1;
                continue;
            }
        } else if (check_scalar(c) < 0) {
            return -1;
        }
        if (check_next(c, closers, &depth) < 0) return -1;
    } while (depth > 0);
    arena_rewind(c->scratch, mark);
    *out = (struct str){c->text + start[0], c->at[-1] + 1 - start[0]};
    return 0;
}

int cursor_check(struct json_cursor *c) {
    struct str text;
    char here = cursor_peek(c);
    return here == '{' || here == '[' ? cursor_raw(c, &text) : check_scalar(c);
}
