/* Implementation of buf.h. Capacity doubles from 256 bytes and is clipped to max. */
#include "base/buf.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

void buf_init(struct buf *b, size_t max_bytes) { *b = (struct buf){.max = max_bytes}; }

void buf_release(struct buf *b) {
    k_free(b->p);
    *b = (struct buf){.max = b->max};
}

static int fail(struct buf *b, enum keel_code code) {
    if (!b->failed) b->failed = -(int)code;
    return -(int)code;
}

int buf_reserve(struct buf *b, size_t more) {
    if (b->cap - b->n >= more) return 0;
    if (more > b->max || b->n > b->max - more) return fail(b, KEEL_E_LIMIT);
    size_t cap = b->cap ? b->cap : FIRST_CAPACITY;
    while (cap < b->n + more) cap *= 2;
    if (cap > b->max) cap = b->max;
    uint8_t *p = k_try_realloc(b->p, cap + 1); /* and the NUL that vsnprintf writes */
    if (!p) return fail(b, KEEL_E_NO_MEMORY);
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *p, size_t n) {
    if (n == 0) return 0;
    TRY(buf_reserve(b, n));
    memcpy(b->p + b->n, p, n);
    b->n += n;
    return 0;
}

int buf_add_zero(struct buf *b, size_t n) {
    if (n == 0) return 0;
    TRY(buf_reserve(b, n));
    memset(b->p + b->n, 0, n);
    b->n += n;
    return 0;
}

int buf_printf(struct buf *b, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    K_ASSERT_OP(n, >=, 0);
    TRY(buf_reserve(b, (size_t)n));
    if (n == 0) return 0;
    va_start(args, format);
    vsnprintf((char *)b->p + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
    return 0;
}

/* May any of these eight bytes be none that JSON takes as it is? Also said of bytes above 0x7f that
 * differ from such a byte by the highest bit: they are looked at one by one. */
static bool needs_escape(const char *p) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones << 7;
    uint64_t v, low;
    memcpy(&v, p, sizeof v);
    low = v & ~high;
    /* Per byte: adding reaches the high bit unless it is below 0x20, or equal to the other. */
    uint64_t plain = (low + ones * 0x60) & ((low ^ ones * '"') + ones * 0x7f) &
                     ((low ^ ones * '\\') + ones * 0x7f);
    return (plain & high) != high;
}

int buf_add_json_str(struct buf *b, struct str s) {
    TRY(buf_add_char(b, '"'));
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        while (i + 8 <= s.n && !needs_escape(s.p + i)) i += 8;
        if (i == s.n) break;
        unsigned char c = (unsigned char)s.p[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        TRY(buf_add(b, s.p + from, i - from));
        from = i + 1;
        const char *escape = c == '"'    ? "\\\""
                             : c == '\\' ? "\\\\"
                             : c == '\n' ? "\\n"
                             : c == '\r' ? "\\r"
                             : c == '\t' ? "\\t"
                                         : NULL;
        TRY(escape ? buf_add_text(b, escape) : buf_printf(b, "\\u%04x", c));
    }
    if (s.n > from) TRY(buf_add(b, s.p + from, s.n - from));
    return buf_add_char(b, '"');
}

int buf_add_json_f64(struct buf *b, double v) {
    return isfinite(v) ? buf_add_f64(b, v) : buf_add_text(b, "null");
}

/* Below 1e-4 printf turns to exponents; people do so only below 1e-6. */
static const double SMALLEST_PLAIN = 1e-6;

static int add_small(struct buf *b, double v) {
    char text[40];
    for (int decimals = 5; decimals <= 23; decimals++) {
        snprintf(text, sizeof text, "%.*f", decimals, v);
        if (strtod(text, NULL) == v) break;
    }
    return buf_add_text(b, text);
}

/* Prices: a quotient of two exact numbers is rounded as their decimal text is, so that this is the
 * shortest text there is, ten times as quickly. */
static bool add_cents(struct buf *b, double v, int *out_code) {
    const double hundred = fabs(v) * 100;
    if (!(hundred < 1e9)) return false;
    uint32_t cents = (uint32_t)(hundred + 0.5), whole = cents / 100;
    if (fabs(v) != cents / 100.0) return false;
    char text[16], *p = text + sizeof text;
    if (cents % 10) *--p = (char)('0' + cents % 10);
    *--p = (char)('0' + cents / 10 % 10);
    *--p = '.';
    do *--p = (char)('0' + whole % 10);
    while (whole /= 10);
    if (v < 0) *--p = '-';
    *out_code = buf_add(b, p, (size_t)(text + sizeof text - p));
    return true;
}

int buf_add_f64(struct buf *b, double v) {
    char text[40];
    int code;
    if (!isfinite(v)) return buf_add_text(b, isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
    if (v == 0) v = 0; /* no "-0" */
    if (fabs(v) < 1e15 && v == trunc(v)) return buf_printf(b, "%.0f", v);
    if (fabs(v) >= SMALLEST_PLAIN && fabs(v) < 1e-4) return add_small(b, v);
    if (add_cents(b, v, &code)) return code;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    return buf_add_text(b, text);
}

int buf_add_u8(struct buf *b, uint8_t v) { return buf_add(b, &v, 1); }
int buf_add_u16(struct buf *b, uint16_t v) { return buf_add(b, &v, 2); }
int buf_add_u32(struct buf *b, uint32_t v) { return buf_add(b, &v, 4); }
int buf_add_u64(struct buf *b, uint64_t v) { return buf_add(b, &v, 8); }

int buf_add_varint(struct buf *b, uint64_t v) {
    uint8_t bytes[10];
    size_t n = 0;
    while (v >= 0x80) {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (uint8_t)v;
    return buf_add(b, bytes, n);
}

const uint8_t *reader_take(struct reader *r, size_t n) {
    if (r->bad || reader_left(r) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    return p;
}

#define READ_FIXED(type)                                                                           \
    type v = 0;                                                                                    \
    const uint8_t *p = reader_take(r, sizeof v);                                                   \
    if (p) memcpy(&v, p, sizeof v);                                                                \
    return v

uint16_t reader_u16(struct reader *r) { READ_FIXED(uint16_t); }
uint32_t reader_u32(struct reader *r) { READ_FIXED(uint32_t); }
uint64_t reader_u64(struct reader *r) { READ_FIXED(uint64_t); }

uint64_t reader_varint_long(struct reader *r) {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        const uint8_t *p = reader_take(r, 1);
        if (!p) return 0;
        if (shift == 63 && *p > 1) break; /* more than 64 bits */
        v |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80)) return v;
    }
    r->bad = true;
    return 0;
}
