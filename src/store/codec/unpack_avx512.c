/* Unpacking kernels for AVX-512, used only where the processor has it: unpack.h. Besides the common
 * body two that need masks and permutations of bytes:
 *
 * Any number of lanes: rows are loaded and stored under a mask, so nothing is copied to where there
 * is room behind. At 900 values it takes half of what the common form takes.
 *
 * Blocks with patches: eight numbers of the stream of high bits take exactly as many bytes as each
 * has bits; one permutation brings the bytes of each to a lane of 64. Sixteen values at a time are
 * unpacked, the numbers expanded to the marked ones, and stored once: values stored in other pieces
 * could not be loaded before they are in the cache. Single additions took 4 ns an exception, a
 * third of all decoding of rows.
 */
#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "store/codec/unpack.h"

static __mmask16 first_lanes(size_t n) { return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1); }

/* One vector of lanes, from top to bottom. `words` counts the words of a lane. */
static void any_column(const uint8_t *in, size_t lanes, size_t rows, unsigned width,
                       __mmask16 wanted, __m512i base, uint32_t *out) {
    const size_t stride = lanes * 4, words = (rows * width + 31) / 32;
    const __m512i mask = _mm512_set1_epi32(width == 32 ? -1 : (int)((1u << width) - 1));
    __m512i word = width ? _mm512_maskz_loadu_epi32(wanted, in) : _mm512_setzero_si512();
    __m512i next = word;
    size_t loaded = 1;
    if (words > 1) next = _mm512_maskz_loadu_epi32(wanted, in + stride);
    unsigned shift = 0;
    for (size_t row = 0; row < rows; row++, out += lanes) {
        __m512i value = _mm512_shrdv_epi32(word, next, _mm512_set1_epi32((int)shift));
        value = _mm512_add_epi32(_mm512_and_si512(value, mask), base);
        _mm512_mask_storeu_epi32(out, wanted, value);
        shift += width;
        if (shift >= 32) {
            shift -= 32;
            word = next;
            loaded++;
            if (loaded < words) next = _mm512_maskz_loadu_epi32(wanted, in + loaded * stride);
        }
    }
}

static void unpack_any(const uint8_t *in, size_t n, unsigned width, uint32_t base, uint32_t *out) {
    const size_t lanes = (n + 31) / 32, rows = (n + lanes - 1) / lanes;
    const __m512i bases = _mm512_set1_epi32((int)base);
    for (size_t lane = 0; lane < lanes; lane += 16)
        any_column(in + lane * 4, lanes, rows, width, first_lanes(lanes - lane), bases, out + lane);
}

/* The numbers side by side in values[]; f->n of them. */
static void unpack_high(const struct patches *f, unsigned width, uint32_t *values) {
    const __m512i bit =
        _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(f->width));
    const __m512i spread = _mm512_set_epi64(0x0808080808080808, 0, 0x0808080808080808, 0,
                                            0x0808080808080808, 0, 0x0808080808080808, 0);
    const __m512i at = _mm512_add_epi8(_mm512_shuffle_epi8(_mm512_srli_epi64(bit, 3), spread),
                                       _mm512_set1_epi64(0x0706050403020100));
    const __m512i shift = _mm512_and_si512(bit, _mm512_set1_epi64(7));
    const __m512i mask = _mm512_set1_epi64((long long)((UINT64_C(1) << f->width) - 1));
    const __m128i up = _mm_cvtsi32_si128((int)width);
    const uint8_t *high = f->high;
    size_t left = (f->n * f->width + 7) / 8;
    for (size_t k = 0; k < f->n; k += 8, high += f->width, left -= f->width) {
        size_t bytes = left < f->width ? left : f->width;
        __mmask64 in = (UINT64_C(1) << bytes) - 1;
        __m512i v = _mm512_permutexvar_epi8(at, _mm512_maskz_loadu_epi8(in, high));
        v = _mm512_and_si512(_mm512_srlv_epi64(v, shift), mask);
        _mm256_storeu_si256((void *)(values + k), _mm512_cvtepi64_epi32(_mm512_sll_epi64(v, up)));
    }
}

/* Four rows of four lanes at a time, whose words lie within 64 bytes: up to this width. */
enum { FUSED_MOST = 16 };

static bool unpack_patched_block(const uint8_t *in, unsigned width, uint32_t base,
                                 const struct patches *f, uint32_t *out) {
    const __m512i lane = _mm512_set_epi32(3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0, 3, 2, 1, 0);
    const __m512i row = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512i bits = _mm512_mullo_epi32(row, _mm512_set1_epi32((int)width));
    const __m512i mask = _mm512_set1_epi32((int)((1u << width) - 1));
    const __m512i bases = _mm512_set1_epi32((int)base);
    uint32_t values[PACK_BLOCK + 16];
    const uint32_t *next = values;
    unsigned wrong = 0;
    unpack_high(f, width, values);
    for (unsigned i = 0; i < PACK_BLOCK; i += 16) {
        const unsigned bit = i / 4 * width, word = bit / 32 * 4;
        const __mmask16 m = (__mmask16)(f->at[i / 64] >> i % 64);
        __m512i words = _mm512_maskz_loadu_epi32(first_lanes(width * 4 - word), in + word * 4);
        __m512i from = _mm512_add_epi32(bits, _mm512_set1_epi32((int)(bit % 32)));
        __m512i at = _mm512_add_epi32(_mm512_slli_epi32(_mm512_srli_epi32(from, 5), 2), lane);
        __m512i low = _mm512_permutexvar_epi32(at, words);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(4));
        low = _mm512_shrdv_epi32(low, _mm512_permutexvar_epi32(at, words), from);
        low = _mm512_add_epi32(_mm512_and_si512(low, mask), bases);
        __m512i sum = _mm512_add_epi32(low, _mm512_maskz_expandloadu_epi32(m, next));
        wrong |= _mm512_cmplt_epu32_mask(sum, low);
        _mm512_storeu_si512(out + i, sum);
        next += __builtin_popcount(m);
    }
    return wrong == 0;
}

#define UNPACK_SET UNPACK_AVX512
#define UNPACK_VECTOR_BYTES 64
#define UNPACK_OWN_KERNELS
#include "store/codec/unpack_kernels.h"

#endif
