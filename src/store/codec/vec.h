/* A vector: up to 1,024 values of one column, decoded.
 *
 * A value is present or not; values of absent slots are unspecified. Storage is borrowed from
 * whoever filled the vector.
 *
 * Layers: base. Threads: plain data.
 */
#pragma once

#include "base/str.h"
#include "store/codec/codec.h"

enum { BITS_WORDS = CHUNK_ROWS / 64 };

enum vec_kind {
    VEC_NUMBER = 0, /* num                                                     */
    VEC_CODE = 1,   /* code: into the column's lexicon                         */
    VEC_BOOL = 2,   /* code: 0 or 1                                            */
    VEC_TEXT = 3,   /* text: strings without dictionary, and JSON              */
};

struct vec {
    enum vec_kind kind;
    uint32_t n;
    uint64_t present[BITS_WORDS];
    union {
        double *num;
        uint32_t *code;
        struct str *text;
    };
};

static inline bool bit_get(const uint64_t *words, uint32_t i) {
    return words[i >> 6] >> (i & 63) & 1;
}
static inline void bit_set(uint64_t *words, uint32_t i) {
    words[i >> 6] |= (uint64_t)1 << (i & 63);
}
static inline void bit_clear(uint64_t *words, uint32_t i) {
    words[i >> 6] &= ~((uint64_t)1 << (i & 63));
}
static inline void bits_first(uint64_t *words, uint32_t n) { /* bits 0..n-1 set, the rest clear */
    for (uint32_t w = 0; w < BITS_WORDS; w++) {
        uint32_t from = w * 64;
        words[w] = n >= from + 64 ? ~(uint64_t)0 : n > from ? ((uint64_t)1 << (n - from)) - 1 : 0;
    }
}
uint32_t bits_count(const uint64_t *bits);
static inline bool bits_any(const uint64_t *words) {
    uint64_t any = 0;
    for (uint32_t w = 0; w < BITS_WORDS; w++) any |= words[w];
    return any != 0;
}
/* The positions of set bits, ascending; returns how many. `out` has room for CHUNK_ROWS. */
uint32_t bits_to_index(const uint64_t *bits, uint16_t *out);
