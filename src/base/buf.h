/* A growable byte buffer that names its maximum at birth.
 *
 * Invariants: n <= cap <= max. buf_* that add return -KEEL_E_LIMIT past max and -KEEL_E_NO_MEMORY;
 * the first failure sticks in `failed`, so a writer may check once at the end.
 * Layers: uses mem.h, str.h. Threads: one owner.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct buf {
    uint8_t *p;
    size_t n, cap, max;
    int failed; /* 0 or the first error code */
};

void buf_init(struct buf *b, size_t max_bytes); /* no allocation */
void buf_release(struct buf *b);                /* frees, keeps max */
static inline void buf_clear(struct buf *b) {
    b->n = 0;
    b->failed = 0;
}
static inline struct str buf_str(const struct buf *b) {
    return (struct str){(const char *)b->p, b->n};
}

/* Room for `more` bytes behind n, or an error; does not change n. */
int buf_reserve(struct buf *b, size_t more);

int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_zero(struct buf *b, size_t n);
int buf_printf(struct buf *b, const char *format, ...) K_PRINTF(2, 3);
static inline int buf_add_str(struct buf *b, struct str s) { return buf_add(b, s.p, s.n); }
static inline int buf_add_text(struct buf *b, const char *s) { return buf_add(b, s, strlen(s)); }
static inline int buf_add_char(struct buf *b, char c) { return buf_add(b, &c, 1); }

/* JSON text: a quoted, escaped string; a number that reads back equal ("null" if not finite). */
int buf_add_json_str(struct buf *b, struct str s);
int buf_add_json_f64(struct buf *b, double v);
/* A decimal number as people write it: shortest text that reads back equal, no exponent below
 * 1e15. */
int buf_add_f64(struct buf *b, double v);

/* Little-endian and variable-length integers (LEB128), as used by the journal and the parts. */
int buf_add_u8(struct buf *b, uint8_t v);
int buf_add_u16(struct buf *b, uint16_t v);
int buf_add_u32(struct buf *b, uint32_t v);
int buf_add_u64(struct buf *b, uint64_t v);
int buf_add_varint(struct buf *b, uint64_t v);

/* A bounded reader over bytes that may be damaged: a read past the end sets `bad` and yields 0. */
struct reader {
    const uint8_t *p, *end;
    bool bad;
};
static inline struct reader reader_over(const void *p, size_t n) {
    return (struct reader){(const uint8_t *)p, (const uint8_t *)p + n, false};
}
static inline size_t reader_left(const struct reader *r) { return (size_t)(r->end - r->p); }
const uint8_t *reader_take(struct reader *r, size_t n); /* NULL and bad if fewer are left */
static inline uint8_t reader_u8(struct reader *r) {
    if (__builtin_expect(!r->bad && r->p < r->end, 1)) return *r->p++;
    r->bad = true;
    return 0;
}
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
uint64_t reader_varint_long(struct reader *r);
static inline uint64_t reader_varint(struct reader *r) { /* most are of one byte */
    if (__builtin_expect(!r->bad && r->p < r->end && *r->p < 0x80, 1)) return *r->p++;
    return reader_varint_long(r);
}
static inline struct str reader_str(struct reader *r) { /* varint length, then bytes */
    uint64_t n = reader_varint(r);
    if (__builtin_expect(r->bad || n > reader_left(r), 0)) {
        r->bad = true;
        return (struct str){NULL, 0};
    }
    const char *p = (const char *)r->p;
    r->p += n;
    return (struct str){p, (size_t)n};
}
