/* Implementation of unpack.h: the choice of kernels, and the shapes that have none. */
#include "store/codec/unpack.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packed words are little-endian");

/* A processor must have all that cmake/rooms.cmake lets the compiler use in the *_avx2.c and
 * *_avx512.c files (lzcnt and popcnt come with AVX2). */
static const struct unpack_kernels *best_kernels(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
                  __builtin_cpu_supports("avx512vbmi2");
    if (avx2) return avx512 ? &UNPACK_AVX512 : &UNPACK_AVX2;
#endif
    return &UNPACK_PLAIN;
}

static const struct unpack_kernels *kernels(void) {
    static const struct unpack_kernels *_Atomic chosen;
    const struct unpack_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (__builtin_expect(!k, 0)) {
        k = best_kernels();
        atomic_store_explicit(&chosen, k, memory_order_relaxed);
    }
    return k;
}

void pack(const uint32_t *v, size_t n, unsigned width, uint8_t *out) {
    K_ASSERT_OP(n, <=, PACK_MAX_VALUES);
    K_ASSERT_OP(width, <=, 32);
    if (n == 0 || width == 0) return;
    uint32_t words[PACK_MAX_VALUES + 32] = {0}; /* one more row: a spill of the last one is 0 */
    size_t lanes = (n + 31) / 32, bit = 0;
    for (size_t row = 0; row < n; row += lanes, bit += width) {
        uint32_t *to = words + bit / 32 * lanes;
        size_t in_row = n - row < lanes ? n - row : lanes;
        for (size_t lane = 0; lane < in_row; lane++) {
            uint64_t shifted = (uint64_t)v[row + lane] << bit % 32;
            to[lane] |= (uint32_t)shifted;
            to[lanes + lane] |= (uint32_t)(shifted >> 32);
        }
    }
    memcpy(out, words, packed_bytes(n, width));
}

void unpack(const uint8_t *in, size_t n, unsigned width, uint32_t base, uint32_t *out) {
    K_ASSERT_OP(n, <=, PACK_MAX_VALUES);
    K_ASSERT_OP(width, <=, 32);
    /* All that have the same lanes and rows as the full shape. */
    if (n > PACK_MAX_VALUES - 32)
        kernels()->chunk[width](in, base, out);
    else if (n > PACK_BLOCK - 4 && n <= PACK_BLOCK)
        kernels()->block[width](in, base, out);
    else if (n > 0)
        kernels()->any(in, n, width, base, out);
}

uint32_t unpack_one(const uint8_t *in, size_t n, unsigned width, size_t i) {
    const size_t lanes = (n + 31) / 32, bit = i / lanes * width;
    uint32_t low, high = 0;
    if (width == 0) return 0;
    in += (bit / 32 * lanes + i % lanes) * 4;
    memcpy(&low, in, sizeof low);
    if (bit % 32 + width > 32) memcpy(&high, in + lanes * 4, sizeof high);
    uint64_t word = ((uint64_t)high << 32 | low) >> bit % 32;
    return (uint32_t)(word & ((UINT64_C(1) << width) - 1));
}

void widen(const uint32_t *v, size_t n, uint64_t base, int64_t *out) {
    kernels()->widen(v, n, base, out);
}

bool sum_up(const uint32_t *difference, size_t n, bool zigzag, uint32_t first, uint32_t *out) {
    return kernels()->sum_up(difference, n, zigzag, first, out);
}

static bool patch(uint32_t *block, const struct patches *p, unsigned width) {
    const uint64_t mask = (UINT64_C(1) << p->width) - 1;
    uint64_t wrong = 0;
    size_t bit = 0;
    for (size_t word = 0; word < PACK_BLOCK / 64; word++)
        for (uint64_t left = p->at[word]; left; left &= left - 1, bit += p->width) {
            uint32_t *value = &block[word * 64 + (size_t)__builtin_ctzll(left)];
            uint64_t bits;
            memcpy(&bits, p->high + bit / 8, sizeof bits);
            uint64_t sum = *value + ((bits >> bit % 8 & mask) << width);
            wrong |= sum >> 32;
            *value = (uint32_t)sum;
        }
    return wrong == 0;
}

bool unpack_patched(const uint8_t *in, size_t n, unsigned width, uint32_t base,
                    const struct patches *patches, uint32_t *out) {
    const struct unpack_kernels *k = kernels();
    if (k->patched && n > PACK_BLOCK - 4 && width <= k->patched_most)
        return k->patched(in, width, base, patches, out);
    unpack(in, n, width, base, out);
    return patch(out, patches, width);
}

size_t unpack_blocks(const uint8_t **in, const uint8_t *end, size_t n, uint32_t base,
                     uint32_t *out) {
    const struct unpack_kernels *k = kernels();
    return k->blocks ? k->blocks(in, end, n, base, out) : 0;
}

void repeat(const uint32_t *less_1, const uint32_t *value, size_t runs, uint32_t *out) {
    kernels()->repeat(less_1, value, runs, out);
}

void divide(const int64_t *v, size_t n, double power, double *out) {
    kernels()->divide(v, n, power, out);
}

void survey(const int64_t *v, size_t n, struct survey *out) { kernels()->survey(v, n, out); }

void count_above(const uint32_t *v, unsigned widest, uint8_t *above) {
    kernels()->count_above(v, widest, above);
}

uint64_t step_bits(const uint32_t *v, size_t n, bool *falling) {
    return kernels()->step_bits(v, n, falling);
}
