/* The body of unpack_plain.c, unpack_avx2.c and unpack_avx512.c: see unpack.h.
 *
 * Needs UNPACK_SET (the name of the table to define) and UNPACK_VECTOR_BYTES (16, 32 or 64). A set
 * with an unpack_any and an unpack_patched_block of its own defines UNPACK_OWN_KERNELS.
 * Written with the vector extension of gcc and clang, not with intrinsics: it compiles for every
 * processor, and the vectors are there whatever the optimiser's mood. A kernel walks down one
 * vector of lanes, with its 32 rows unrolled: each word is loaded once and each shift is a
 * constant.
 */
#include "store/codec/unpack.h"

#include <string.h>

typedef uint32_t wide_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));
typedef uint32_t narrow_vector __attribute__((vector_size(16)));

/* clang-format off */
#define EACH_ROW(X)                                                                                \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)          \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29)            \
    X(30) X(31)

#define EACH_WIDTH(X)                                                                              \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)          \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29)            \
    X(30) X(31) X(32)
/* clang-format on */

/* One row of one vector of lanes. When it uses up a word, the next one is loaded; the last row of
 * a lane always ends a word, so no load goes past the input. */
#define ROW(r)                                                                                     \
    {                                                                                              \
        const unsigned bit = (r)*width, shift = bit % 32, next = bit / 32 + 1;                     \
        value = word >> shift;                                                                     \
        if (shift + width >= 32 && next < width) {                                                 \
            memcpy(&word, in + next * stride, sizeof word);                                        \
            if (shift + width > 32) value |= word << ((32 - shift) % 32);                          \
        }                                                                                          \
        value = (value & mask) + base;                                                             \
        memcpy(out + (r)*lanes, &value, sizeof value);                                             \
    }

#define DEFINE_COLUMNS(name, vector)                                                               \
    static inline __attribute__((always_inline)) void name(                                        \
        const uint8_t *restrict in, uint32_t base, uint32_t *restrict out, const unsigned width,   \
        const unsigned lanes) {                                                                    \
        const unsigned stride = lanes * 4;                                                         \
        const uint32_t mask = width == 32 ? UINT32_MAX : (1u << width % 32) - 1;                   \
        for (unsigned lane = 0; lane < lanes; lane += sizeof(vector) / 4) {                        \
            vector word = {0}, value;                                                              \
            if (width > 0) memcpy(&word, in, sizeof word);                                         \
            EACH_ROW(ROW)                                                                          \
            in += sizeof(vector);                                                                  \
            out += sizeof(vector) / 4;                                                             \
        }                                                                                          \
    }

DEFINE_COLUMNS(wide_columns, wide_vector)
DEFINE_COLUMNS(narrow_columns, narrow_vector)

#define DEFINE_KERNELS(width)                                                                      \
    static void chunk_##width(const uint8_t *restrict in, uint32_t base, uint32_t *restrict out) { \
        wide_columns(in, base, out, width, 32);                                                    \
    }                                                                                              \
    static void block_##width(const uint8_t *restrict in, uint32_t base, uint32_t *restrict out) { \
        narrow_columns(in, base, out, width, 4);                                                   \
    }
EACH_WIDTH(DEFINE_KERNELS)

#ifndef UNPACK_OWN_KERNELS

/* Any number of lanes: whole vectors of them, from and to copies with room behind: a row's store
 * runs into the next row, which is written later. */
static void unpack_any(const uint8_t *in, size_t n, unsigned width, uint32_t base, uint32_t *out) {
    enum { V = sizeof(wide_vector) / 4 };
    uint32_t words[PACK_MAX_VALUES + 32 + V], values[PACK_MAX_VALUES + V];
    const size_t lanes = (n + 31) / 32, rows = (n + lanes - 1) / lanes, end = rows * lanes;
    const size_t bytes = (rows * width + 31) / 32 * lanes * 4;
    const uint32_t mask = width == 32 ? UINT32_MAX : (1u << width) - 1;
    memcpy(words, in, bytes);
    memset((uint8_t *)words + bytes, 0, (lanes + V) * 4);
    for (size_t row = 0, bit = 0; row < end; row += lanes, bit += width) {
        const uint32_t *from = words + bit / 32 * lanes;
        const unsigned shift = bit % 32;
        for (size_t lane = 0; lane < lanes; lane += V) {
            wide_vector low, high, value;
            memcpy(&low, from + lane, sizeof low);
            memcpy(&high, from + lanes + lane, sizeof high);
            value = low >> shift | high << 1 << (31 - shift);
            value = (value & mask) + base;
            memcpy(values + row + lane, &value, sizeof value);
        }
    }
    memcpy(out, values, end * 4);
}

#endif

/* A vector of each value at once, as long as there is room for it: runs are short on the whole (a
 * customer's events in one channel), and what is too much is overwritten by the next run. */
static void repeat_all(const uint32_t *less_1, const uint32_t *value, size_t runs, uint32_t *out) {
    enum { V = sizeof(wide_vector) / 4 };
    const wide_vector zero = {0};
    size_t at = 0, end;
    for (size_t k = 0; k < runs; k++, at = end) {
        const wide_vector many = zero + value[k];
        end = at + less_1[k] + 1;
        for (; at < end && at + V <= PACK_MAX_VALUES; at += V) memcpy(out + at, &many, sizeof many);
        for (; at < end; at++) out[at] = value[k];
    }
}

typedef uint32_t half_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES / 2)));
typedef uint64_t long_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));

static void widen_all(const uint32_t *restrict v, size_t n, uint64_t base, int64_t *restrict out) {
    for (size_t i = 0; i < n; i += sizeof(long_vector) / 8) {
        half_vector narrow;
        memcpy(&narrow, v + i, sizeof narrow);
        long_vector wide = __builtin_convertvector(narrow, long_vector) + base;
        memcpy(out + i, &wide, sizeof wide);
    }
}

typedef int64_t signed_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));
typedef double double_vector __attribute__((vector_size(UNPACK_VECTOR_BYTES)));

static void divide_all(const int64_t *restrict v, size_t n, double power, double *restrict out) {
    for (size_t i = 0; i < n; i += sizeof(signed_vector) / 8) {
        signed_vector whole;
        memcpy(&whole, v + i, sizeof whole);
        double_vector quotient = __builtin_convertvector(whole, double_vector) / power;
        memcpy(out + i, &quotient, sizeof quotient);
    }
}

/* Four sums at a time: two shifted additions make the sums within a vector. A difference of one
 * sign must give a sum on that side of the one before, or it has wrapped around. */
static inline __attribute__((always_inline)) bool sum_up_signed(const uint32_t *restrict difference,
                                                                size_t n, const bool zigzag,
                                                                uint32_t first,
                                                                uint32_t *restrict out) {
    const narrow_vector zero = {0};
    narrow_vector before = {first, first, first, first}, wrong = zero;
    size_t i = 1;
    out[0] = first;
    for (; i + 4 <= n; i += 4) {
        narrow_vector step, negative = zero;
        memcpy(&step, difference + i - 1, sizeof step);
        if (zigzag) {
            negative = zero - (step & 1);
            step = step >> 1 ^ negative;
        }
        narrow_vector sum = step + __builtin_shufflevector(step, zero, 4, 0, 1, 2);
        sum += __builtin_shufflevector(sum, zero, 4, 4, 0, 1);
        sum += before;
        memcpy(out + i, &sum, sizeof sum);
        wrong |= (narrow_vector)(sum < sum - step) ^ negative;
        before = __builtin_shufflevector(sum, sum, 3, 3, 3, 3);
    }
    bool good = (wrong[0] | wrong[1] | wrong[2] | wrong[3]) == 0;
    for (uint32_t last = before[3]; i < n; i++) {
        uint32_t negative = zigzag ? 0 - (difference[i - 1] & 1) : 0;
        uint32_t step = zigzag ? difference[i - 1] >> 1 ^ negative : difference[i - 1];
        out[i] = last + step;
        good &= (out[i] < last) == (negative != 0);
        last = out[i];
    }
    return good;
}

static bool sum_up_all(const uint32_t *difference, size_t n, bool zigzag, uint32_t first,
                       uint32_t *out) {
    return zigzag ? sum_up_signed(difference, n, true, first, out)
                  : sum_up_signed(difference, n, false, first, out);
}

#include "store/codec/survey_kernels.h"

#define CHUNK_ENTRY(width) chunk_##width,
#define BLOCK_ENTRY(width) block_##width,
const struct unpack_kernels UNPACK_SET = {
    .chunk = {EACH_WIDTH(CHUNK_ENTRY)},
    .block = {EACH_WIDTH(BLOCK_ENTRY)},
    .any = unpack_any,
    .widen = widen_all,
    .sum_up = sum_up_all,
    .repeat = repeat_all,
    .divide = divide_all,
#ifdef UNPACK_OWN_KERNELS
    .patched = unpack_patched_block,
    .patched_most = FUSED_MOST,
    .blocks = unpack_blocks_avx512,
#endif
    .survey = survey_all,
    .count_above = count_above_all,
    .step_bits = step_bits_all,
};
