/* Implementation of str.h. */
#include "base/str.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>

static unsigned char lower(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

int str_cmp(struct str a, struct str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    if (order) return order;
    return (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix) {
    return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

bool str_ends(struct str s, struct str suffix) {
    if (suffix.n == 0) return true;
    return s.n >= suffix.n && str_eq((struct str){s.p + s.n - suffix.n, suffix.n}, suffix);
}

bool str_contains(struct str s, struct str part) {
    return part.n == 0 || (s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL);
}

bool str_contains_nocase(struct str s, struct str part) {
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (str_eq_nocase((struct str){s.p + i, part.n}, part)) return true;
    return false;
}

bool str_eq_nocase(struct str a, struct str b) {
    if (a.n != b.n) return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i])) return false;
    return true;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

struct str str_trim(struct str s) {
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1])) s.n--;
    return s;
}

struct str str_dup(struct arena *a, struct str s) {
    return (struct str){arena_strndup(a, s.p, s.n), s.n};
}

bool str_is_utf8(struct str s) {
    const unsigned char *p = (const unsigned char *)s.p, *end = s.n ? p + s.n : p;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 0;
        if (n == 0 || *p > 0xf4 || (size_t)(end - p) < n) return false;
        for (size_t i = 1; i < n; i++)
            if ((p[i] & 0xc0) != 0x80) return false;
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
            return false;
        p += n;
    }
    return true;
}

bool str_to_u64(struct str s, uint64_t *out) {
    uint64_t v = 0;
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *out) {
    bool negative = s.n && s.p[0] == '-';
    uint64_t v;
    if (negative || (s.n && s.p[0] == '+')) s = (struct str){s.p + 1, s.n - 1};
    if (!str_to_u64(s, &v) || v > (uint64_t)INT64_MAX + negative) return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

/* [sign] digits [. digits] [e [sign] digits], then strtod in the C locale (keel never sets one). */
bool str_to_f64(struct str s, double *out) {
    char text[64];
    bool digit = false;
    if (s.n == 0 || s.n >= sizeof text) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= '0' && c <= '9')
            digit = true;
        else if (!(c == '.' || ((c == '+' || c == '-') && (i == 0 || (s.p[i - 1] | 32) == 'e')) ||
                   ((c | 32) == 'e' && digit)))
            return false;
        text[i] = c;
    }
    text[s.n] = 0;
    char *end;
    double v = strtod(text, &end);
    if (!digit || *end || !isfinite(v)) return false;
    *out = v;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct str str_url_decode(struct arena *a, struct str s, bool form) {
    size_t i = 0, n = 0;
    while (i < s.n && s.p[i] != '%' && !(form && s.p[i] == '+')) i++;
    if (i == s.n) return s;
    char *out = arena_alloc(a, s.n);
    for (i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%' && s.n - i > 2 && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0) {
            c = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
            i += 2;
        } else if (form && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    return (struct str){out, n};
}
