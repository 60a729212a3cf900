/* Text slices: pointer and length into memory owned by somebody else; never NUL-terminated.
 * Layers: uses mem.h. Threads: pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_from(const char *s) { return (struct str){s, strlen(s)}; }
static inline bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *s) { return str_eq(a, str_from(s)); }

int str_cmp(struct str a, struct str b); /* byte order, as memcmp then length  */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_contains(struct str s, struct str part);        /* case-sensitive                     */
bool str_contains_nocase(struct str s, struct str part); /* ASCII case folded                  */
bool str_eq_nocase(struct str a, struct str b);          /* ASCII case folded                  */
struct str str_trim(struct str s);                       /* without leading/trailing space     */
struct str str_dup(struct arena *a, struct str s);
bool str_is_utf8(struct str s); /* well-formed, RFC 3629              */
/* %41 as A; in a form, + as a space. What is no escape stays as it is. s itself if nothing changes.
 */
struct str str_url_decode(struct arena *a, struct str s, bool form);

/* Whole slice must be a number; false leaves *out alone. */
bool str_to_i64(struct str s, int64_t *out);
bool str_to_u64(struct str s, uint64_t *out);
bool str_to_f64(struct str s, double *out); /* finite decimal, locale-free        */
