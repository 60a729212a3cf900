/* Full blocks of patched chunks (ints.c, layout 2) for AVX-512: most of what scans decode.
 *
 * Low bits, up to 8 a value: eight rows of one lane are as many bytes of its stream as a value has
 * bits. One permutation brings the bytes of eight such groups together, a shift of many places
 * (vpmultishiftqb) makes a byte of each of their 64 values, and four more permutations put these in
 * order, as words. High bits: sixteen numbers of their stream are the words around them, shifted;
 * they are stored, and loaded again expanded to the values that have any. Nothing in a block is a
 * loop or a branch whose end cannot be foretold: that took more than half of the time.
 *
 * What is unusual (values of more bits, a stream that ends too early, positions out of order, sums
 * that could leave u32) is left to the caller, who knows what is an error.
 *
 * Layers: unpack.h. Threads: pure functions.
 */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "store/codec/unpack.h"

enum {
    LOW_MOST = 8,
    LIST_MOST = 16, /* positions; of more there are bits */
    POSITION_BITS = 128,
    LANES = 4,
    /* A block's header, positions, high bits and low bits take less, with what is read behind. */
    ROOM = 768,
};

/* Bytes of 64 values by their group, as they come: to words in order. */
#define GROUP_BYTE(i) (((i) >> 5) * LANES + ((i)&3)) * 8 + ((i) >> 2 & 7)
#define FOUR(i) GROUP_BYTE(i), GROUP_BYTE((i) + 1), GROUP_BYTE((i) + 2), GROUP_BYTE((i) + 3)
static const uint32_t ORDER[64] __attribute__((aligned(64))) = {
    FOUR(0),  FOUR(4),  FOUR(8),  FOUR(12), FOUR(16), FOUR(20), FOUR(24), FOUR(28),
    FOUR(32), FOUR(36), FOUR(40), FOUR(44), FOUR(48), FOUR(52), FOUR(56), FOUR(60)};

struct block {
    unsigned width, high_width, exceptions;
    uint64_t at[PACK_BLOCK / 64];
    const uint8_t *high, *low;
};

static uint64_t or_of(__m512i v) {
    __m256i four = _mm256_or_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i two = _mm_or_si128(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(two, _mm_unpackhi_epi64(two, two)));
}

/* Bits from up to LIST_MOST positions. False unless they ascend. */
static bool bits_of_list(const uint8_t *list, unsigned n, uint64_t *at) {
    const __mmask16 in = (__mmask16)((1u << n) - 1), pairs = (__mmask16)(in >> 1);
    const __m128i p = _mm_maskz_loadu_epi8(in, list);
    const __m128i next = _mm_srli_si128(p, 1);
    const __m512i one = _mm512_set1_epi64(1), half = _mm512_set1_epi64(64);
    const __m512i a = _mm512_cvtepu8_epi64(p), b = _mm512_cvtepu8_epi64(_mm_srli_si128(p, 8));
    /* A shift by more than 63 gives 0. */
    at[0] = or_of(_mm512_or_si512(_mm512_maskz_sllv_epi64((__mmask8)in, one, a),
                                  _mm512_maskz_sllv_epi64((__mmask8)(in >> 8), one, b)));
    const __m512i c = _mm512_sub_epi64(a, half), d = _mm512_sub_epi64(b, half);
    at[1] = or_of(_mm512_or_si512(_mm512_maskz_sllv_epi64((__mmask8)in, one, c),
                                  _mm512_maskz_sllv_epi64((__mmask8)(in >> 8), one, d)));
    return _mm_mask_cmplt_epu8_mask(pairs, p, next) == pairs && _mm_movepi8_mask(p) == 0;
}

/* False if it is none of the usual ones. `in` has ROOM. */
static bool read_block(const uint8_t *in, uint32_t base, struct block *b, const uint8_t **behind) {
    const unsigned exceptions = in[1];
    const bool as_bits = in[0] >= POSITION_BITS;
    b->width = in[0] % POSITION_BITS;
    b->exceptions = exceptions;
    b->high_width = 0;
    in += 2;
    if (b->width > LOW_MOST || exceptions > PACK_BLOCK) return false;
    if (exceptions > 0) {
        b->high_width = *in++;
        if (b->high_width == 0 || b->width + b->high_width > 31) return false;
        if (as_bits) {
            memcpy(b->at, in, sizeof b->at);
            unsigned found = (unsigned)__builtin_popcountll(b->at[0]);
            if (found + (unsigned)__builtin_popcountll(b->at[1]) != exceptions) return false;
        } else if (exceptions > LIST_MOST || !bits_of_list(in, exceptions, b->at)) {
            return false;
        }
        in += as_bits ? PACK_BLOCK / 8 : exceptions;
    }
    b->high = in;
    b->low = in + (exceptions * b->high_width + 7) / 8;
    *behind = b->low + b->width * (PACK_BLOCK / 8);
    return base <= UINT32_MAX - ((1u << (b->width + b->high_width)) - 1);
}

/* Numbers of the stream of high bits, shifted to their place, and some behind them. */
static void read_high(const struct block *b, uint32_t *values) {
    const __m512i count = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i bit = _mm512_mullo_epi32(count, _mm512_set1_epi32((int)b->high_width));
    const __m512i word = _mm512_srli_epi32(bit, 5);
    const __m512i next = _mm512_add_epi32(word, _mm512_set1_epi32(1));
    const __m512i mask = _mm512_set1_epi32((int)((1u << b->high_width) - 1));
    const __m128i up = _mm_cvtsi32_si128((int)b->width);
    const unsigned rounds = b->exceptions <= 16 ? 1 : b->exceptions <= 64 ? 4 : 8;
    for (unsigned k = 0; k < rounds; k++) {
        __m512i words = _mm512_loadu_si512(b->high + (size_t)k * 2 * b->high_width);
        __m512i v = _mm512_shrdv_epi32(_mm512_permutexvar_epi32(word, words),
                                       _mm512_permutexvar_epi32(next, words), bit);
        v = _mm512_sll_epi32(_mm512_and_si512(v, mask), up);
        _mm512_storeu_si512(values + k * 16, v);
    }
}

/* The low bits of 64 values, a byte each, by groups of eight rows: from these bytes of the words at
 * `in`. */
static __m512i read_low(const uint8_t *in, __m512i bytes, unsigned width) {
    const __m512i lane =
        _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0808080808080808, 0x0404040404040404, 0,
                         0x0c0c0c0c0c0c0c0c, 0x0808080808080808, 0x0404040404040404, 0);
    const __m512i low = _mm512_set1_epi8(3);
    const __m512i word = _mm512_slli_epi32(_mm512_andnot_si512(low, bytes), 2);
    const __m512i at = _mm512_or_si512(_mm512_or_si512(word, lane), _mm512_and_si512(bytes, low));
    const uint64_t shifts = UINT64_C(0x0706050403020100) * width;
    const __m512i shift = _mm512_set1_epi64((long long)shifts);
    __m512i v = _mm512_permutexvar_epi8(at, _mm512_loadu_si512(in));
    v = _mm512_multishift_epi64_epi8(shift, v);
    return _mm512_and_si512(v, _mm512_set1_epi8((char)((1u << width) - 1)));
}

static void unpack_block(const struct block *b, uint32_t base, uint32_t *out) {
    const unsigned width = b->width;
    const __m512i bases = _mm512_set1_epi32((int)base);
    const __m512i first = _mm512_add_epi8(
        _mm512_set1_epi64(0x0706050403020100),
        _mm512_maskz_set1_epi8(0xffffffff00000000, (char)width)); /* of the second eight rows */
    const __m512i second = _mm512_add_epi8(first, _mm512_set1_epi8((char)(2 * width % 4)));
    const __m512i half[2] = {read_low(b->low, first, width),
                             read_low(b->low + (size_t)(2 * width / 4) * LANES * 4, second, width)};
    uint32_t values[PACK_BLOCK + 16];
    const uint32_t *next = values;
    if (b->exceptions > 0) read_high(b, values);
    for (unsigned i = 0; i < PACK_BLOCK; i += 16) {
        const __m512i order = _mm512_load_si512(ORDER + i % 64);
        __m512i v = _mm512_maskz_permutexvar_epi8(0x1111111111111111, order, half[i / 64]);
        v = _mm512_add_epi32(v, bases);
        if (b->exceptions > 0) {
            const __mmask16 m = (__mmask16)(b->at[i / 64] >> i % 64);
            v = _mm512_add_epi32(v, _mm512_maskz_expandloadu_epi32(m, next));
            next += __builtin_popcount(m);
        }
        _mm512_storeu_si512(out + i, v);
    }
}

size_t unpack_blocks_avx512(const uint8_t **in, const uint8_t *end, size_t n, uint32_t base,
                            uint32_t *out) {
    uint8_t copy[2 * ROOM];
    const uint8_t *from = *in, *origin = from, *begin = from;
    size_t done = 0;
    for (; done + PACK_BLOCK <= n; done += PACK_BLOCK) {
        const uint8_t *behind;
        struct block b;
        if (end - from < ROOM && begin != copy) { /* the rest is read where there is room behind */
            const size_t left = (size_t)(end - from);
            memcpy(copy, from, left);
            origin = from;
            from = begin = copy;
            end = copy + left;
        }
        if (end - from < 2 || !read_block(from, base, &b, &behind) || behind > end) break;
        unpack_block(&b, base, out + done);
        from = behind;
    }
    *in = origin + (from - begin);
    return done;
}

#endif
