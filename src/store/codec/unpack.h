/* Bit-packing of unsigned integers in interleaved lanes.
 *
 * Duty: n values (n <= 1024) of b bits each (0 <= b <= 32) to bytes and back; the rest of the
 * codecs decide what to pack. Private to the codecs.
 *
 * Format: L = ceil(n / 32) lanes, R = ceil(n / L) rows. Value i stands in row i / L of lane i % L.
 * A lane is a stream of bits in little-endian words of 32, lowest bits first: row r takes the bits
 * r*b .. r*b+b-1. Word w of lane l is the u32 at index w*L + l. Bits of rows and lanes that hold no
 * value are 0 (not checked when read). So a chunk is padded by less than 32 values and one word a
 * lane, and neighbouring values need the same shift: one vector instruction serves as many values
 * as it has lanes. After the layout of FastLanes (Afroozeh, Boncz, VLDB 2023), with fewer lanes for
 * short chunks.
 *
 * Layers: base. Threads: pure functions; the choice of kernels is an idempotent atomic store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACK_MAX_VALUES = 1024, PACK_BLOCK = 128 };

/* Bytes that n values of `width` bits take. */
static inline size_t packed_bytes(size_t n, unsigned width) {
    if (n == 0) return 0;
    size_t lanes = (n + 31) / 32, rows = (n + lanes - 1) / lanes;
    return (rows * width + 31) / 32 * lanes * 4;
}

/* Writes packed_bytes(n, width) bytes; bits of v[] above width must be 0. */
void pack(const uint32_t *v, size_t n, unsigned width, uint8_t *out);

/* Reads packed_bytes(n, width) bytes, writes base + value (modulo 2^32). `out` has room for n
 * rounded up to whole lanes: at most (n + 31) / 32 * 32 values. */
void unpack(const uint8_t *in, size_t n, unsigned width, uint32_t base, uint32_t *out);

/* Value i alone, without a base. */
uint32_t unpack_one(const uint8_t *in, size_t n, unsigned width, size_t i);

/* out[i] = base + v[i] modulo 2^64. Both have room for n rounded up to a multiple of 16. */
void widen(const uint32_t *v, size_t n, uint64_t base, int64_t *out);

/* Undoes differences: out[0] = first and n - 1 sums, n >= 1. With zigzag the differences are signed
 * (0, -1, 1, -2 …), else unsigned. False if a sum leaves u32; out[] is then of no use. */
bool sum_up(const uint32_t *difference, size_t n, bool zigzag, uint32_t first, uint32_t *out);

/* What is to be added to the values of a block that `at` marks: to the k-th of them the k-th of n
 * numbers of `width` bits each of the stream `high`. 8 bytes can be read from wherever a number
 * begins. */
struct patches {
    size_t n;
    unsigned width; /* > 0 */
    uint64_t at[PACK_BLOCK / 64];
    const uint8_t *high;
};

/* As unpack, n <= PACK_BLOCK and room for PACK_BLOCK; then adds the patches, shifted up by `width`:
 * both widths together are at most 32. False if such a sum leaves u32. */
bool unpack_patched(const uint8_t *in, size_t n, unsigned width, uint32_t base,
                    const struct patches *patches, uint32_t *out);

/* Full blocks of a patched chunk as ints.c has them, header and all, of n values to come: decodes
 * them one after the other, as long as they are what most are, and moves *in behind. Returns how
 * many values it wrote to `out`; the next ones, if there are any, are for the caller to read. */
size_t unpack_blocks(const uint8_t **in, const uint8_t *end, size_t n, uint32_t base,
                     uint32_t *out);

/* Runs: value[k] less_1[k] + 1 times, one after the other. The lengths have been checked: `out` has
 * room for PACK_MAX_VALUES, and all fit; what is behind them is unspecified. */
void repeat(const uint32_t *less_1, const uint32_t *value, size_t runs, uint32_t *out);

/* out[i] = v[i] / power, as one division of doubles. Both have room for n rounded up to a multiple
 * of 8. */
void divide(const int64_t *v, size_t n, double power, double *out);

/* For the encoder. n >= 1; runs: of equal neighbours. */
struct survey {
    int64_t min, max;
    size_t runs;
};
void survey(const int64_t *v, size_t n, struct survey *out);
/* above[w] = how many of PACK_BLOCK values need more than w bits, for w < widest <= 32. */
void count_above(const uint32_t *v, unsigned widest, uint8_t *above);
/* The sum of the bits of all |v[i] - v[i - 1]|; n >= 1, all values below 2^31. *falling: is one of
 * the differences below 0? */
uint64_t step_bits(const uint32_t *v, size_t n, bool *falling);

/* The two shapes that most data has, unrolled for each width: 1,024 values (32 lanes) and
 * 128 values (4 lanes). One set for each instruction set, from unpack_kernels.h. */
typedef void unpack_kernel(const uint8_t *restrict in, uint32_t base, uint32_t *restrict out);

struct unpack_kernels {
    unpack_kernel *chunk[33], *block[33]; /* by width */
    void (*any)(const uint8_t *in, size_t n, unsigned width, uint32_t base, uint32_t *out);
    void (*widen)(const uint32_t *v, size_t n, uint64_t base, int64_t *out);
    bool (*sum_up)(const uint32_t *difference, size_t n, bool zigzag, uint32_t first,
                   uint32_t *out);
    void (*repeat)(const uint32_t *less_1, const uint32_t *value, size_t runs, uint32_t *out);
    void (*divide)(const int64_t *v, size_t n, double power, double *out);
    /* Of a full block, up to a width of patched_most. */
    bool (*patched)(const uint8_t *in, unsigned width, uint32_t base, const struct patches *patches,
                    uint32_t *out);
    unsigned patched_most;
    size_t (*blocks)(const uint8_t **in, const uint8_t *end, size_t n, uint32_t base,
                     uint32_t *out); /* NULL: there is none */
    void (*survey)(const int64_t *v, size_t n, struct survey *out);
    void (*count_above)(const uint32_t *v, unsigned widest, uint8_t *above);
    uint64_t (*step_bits)(const uint32_t *v, size_t n, bool *falling);
};

extern const struct unpack_kernels UNPACK_PLAIN;
#if defined(__x86_64__)
extern const struct unpack_kernels UNPACK_AVX2, UNPACK_AVX512;
size_t unpack_blocks_avx512(const uint8_t **in, const uint8_t *end, size_t n, uint32_t base,
                            uint32_t *out); /* blocks_avx512.c */
#endif
