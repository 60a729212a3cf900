/* AVX-512 form of spine.h: sixteen rows at a time.
 *
 * Prefix sums take four shifted additions inside a register; only the last lane is carried on. For
 * times the values of all lanes are summed up, starts included, and each lane subtracts the sum
 * before its run's start: the lane of that start is the highest set bit of the start mask at or
 * below, found by lzcnt. Lanes before the first start go on from the carried time.
 *
 * Reads firsts and gaps by expand loads, which touch only the words they take; writes whole
 * registers only where n allows, the rest under a mask.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#include "store/scan/spine.h"

static __m512i prefix_sum(__m512i v) {
    const __m512i zero = _mm512_setzero_si512();
    v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 15));
    v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 14));
    v = _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 12));
    return _mm512_add_epi32(v, _mm512_alignr_epi32(v, zero, 8));
}

static __mmask16 starts_at(const uint64_t *starts, uint32_t i) {
    return (__mmask16)(starts[i >> 6] >> (i & 63));
}

static __mmask16 lanes(uint32_t left) {
    return (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1);
}

static bool customers(const uint64_t *starts, uint32_t n, uint32_t first, const uint32_t *gaps,
                      uint32_t *out) {
    __m512i carry = _mm512_set1_epi32((int)first);
    const __m512i last = _mm512_set1_epi32(15);
    const bool wraps = first + gaps[0] < first;
    unsigned wrong = 0;
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes(n - i), m = (__mmask16)(starts_at(starts, i) & in);
        __m512i sum = prefix_sum(_mm512_maskz_expandloadu_epi32(m, gaps));
        __m512i customer = _mm512_add_epi32(sum, carry);
        __m512i before = _mm512_alignr_epi32(customer, carry, 15);
        unsigned again = _mm512_mask_cmple_epu32_mask(m, customer, before);
        wrong |= i ? again : again & ~1u; /* row 0 has none before it */
        gaps += __builtin_popcount(m);
        _mm512_mask_storeu_epi32(out + i, in, customer);
        carry = _mm512_permutexvar_epi32(last, customer);
    }
    return !wraps && wrong == 0;
}

/* A unit is at most a day of milliseconds: 32 bits. The full product of 64 bits takes three times
 * as long. `base` is in milliseconds. */
static void store_times(__m512i t, uint32_t left, __m512i base, __m512i unit, int64_t *out) {
    __m512i low = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(t));
    __m512i high = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(t, 1));
    __mmask16 in = lanes(left);
    low = _mm512_add_epi64(_mm512_mul_epu32(low, unit), base);
    high = _mm512_add_epi64(_mm512_mul_epu32(high, unit), base);
    _mm512_mask_storeu_epi64(out, (__mmask8)in, low);
    _mm512_mask_storeu_epi64(out + 8, (__mmask8)(in >> 8), high);
}

static void times(const uint64_t *starts, uint32_t n, const uint32_t *firsts, const uint32_t *gaps,
                  int64_t base, int64_t unit, int64_t *out) {
    const __m512i last = _mm512_set1_epi32(15), zero = _mm512_setzero_si512();
    const __m512i at_or_below =
        _mm512_setr_epi32(0x1, 0x3, 0x7, 0xf, 0x1f, 0x3f, 0x7f, 0xff, 0x1ff, 0x3ff, 0x7ff, 0xfff,
                          0x1fff, 0x3fff, 0x7fff, 0xffff);
    const __m512i bases = _mm512_set1_epi64(base * unit), units = _mm512_set1_epi64(unit);
    __m512i carry = zero;
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes(n - i);
        __mmask16 m = (__mmask16)(starts_at(starts, i) & in), rest = (__mmask16)(in & ~m);
        __m512i v = _mm512_maskz_expandloadu_epi32(m, firsts);
        v = _mm512_mask_expandloadu_epi32(v, rest, gaps);
        firsts += __builtin_popcount(m);
        gaps += __builtin_popcount(rest);
        __m512i sum = prefix_sum(v), before = _mm512_sub_epi32(sum, v);
        __m512i below = _mm512_and_si512(_mm512_set1_epi32((int)m), at_or_below);
        __mmask16 has = _mm512_test_epi32_mask(below, below);
        __m512i lane = _mm512_sub_epi32(_mm512_set1_epi32(31), _mm512_lzcnt_epi32(below));
        __m512i less = _mm512_permutexvar_epi32(lane, before);
        __m512i t = _mm512_mask_sub_epi32(_mm512_add_epi32(sum, carry), has, sum, less);
        store_times(t, n - i, bases, units, out + i);
        carry = _mm512_permutexvar_epi32(last, t);
    }
}

/* Up to 32 entries stay in two registers; more are gathered from the cache. */
static bool look_up(const uint32_t *table, uint32_t entries, uint32_t n, uint32_t *out) {
    unsigned wrong = 0;
    const __m512i most = _mm512_set1_epi32((int)entries);
    const __m512i low = _mm512_maskz_loadu_epi32(lanes(entries), table);
    const __m512i high = _mm512_maskz_loadu_epi32(entries > 16 ? lanes(entries - 16) : 0,
                                                  table + (entries > 16 ? 16 : 0));
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes(n - i);
        __m512i at = _mm512_maskz_loadu_epi32(in, out + i);
        __mmask16 good = _mm512_cmplt_epu32_mask(at, most);
        wrong |= (unsigned)(in & ~good);
        at = _mm512_maskz_mov_epi32(good, at);
        at = entries <= 32 ? _mm512_permutex2var_epi32(low, at, high)
                           : _mm512_i32gather_epi32(at, table, 4);
        _mm512_mask_storeu_epi32(out + i, in, at);
    }
    return wrong == 0;
}

static inline uint64_t four(__mmask16 a, __mmask16 b, __mmask16 c, __mmask16 d) {
    return _mm512_kunpackd(_mm512_kunpackw(d, c), _mm512_kunpackw(b, a));
}

static uint64_t mask(const uint32_t *a, uint32_t n) {
    const __m512i one = _mm512_set1_epi64(1), low = _mm512_set1_epi32(63);
    __m512i found = _mm512_setzero_si512();
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 in = lanes(n - i);
        __m512i at = _mm512_and_si512(_mm512_maskz_loadu_epi32(in, a + i), low);
        __m512i first = _mm512_cvtepu32_epi64(_mm512_castsi512_si256(at));
        __m512i second = _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(at, 1));
        found = _mm512_or_si512(found, _mm512_maskz_sllv_epi64((__mmask8)in, one, first));
        found = _mm512_or_si512(found, _mm512_maskz_sllv_epi64((__mmask8)(in >> 8), one, second));
    }
    return (uint64_t)_mm512_reduce_or_epi64(found);
}

/* Sixteen bytes at a time, each with the three behind it. */
static void verdicts(const uint8_t *known, uint32_t n, const uint32_t *codes, const uint64_t *ask,
                     uint64_t *pass, uint64_t *open) {
    const __m512i most = _mm512_set1_epi32((int)n), yes = _mm512_set1_epi32(VERDICT_YES),
                  any = _mm512_set1_epi32(VERDICT_YES | VERDICT_NO);
    for (uint32_t word = 0; word < BITS_WORDS; word++) {
        uint64_t passed = 0, decided = 0;
        for (uint32_t at = 0; at < 64; at += 16) {
            __mmask16 in = (__mmask16)(ask[word] >> at);
            if (!in) continue;
            __m512i code = _mm512_maskz_loadu_epi32(in, codes + word * 64 + at);
            in = _mm512_mask_cmplt_epu32_mask(in, code, most);
            __m512i found = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), in, code, known, 1);
            passed |= (uint64_t)_mm512_test_epi32_mask(found, yes) << at;
            decided |= (uint64_t)_mm512_test_epi32_mask(found, any) << at;
        }
        pass[word] = passed;
        open[word] = ask[word] & ~decided;
    }
}

static void equal(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits) {
    const __m512i wanted = _mm512_set1_epi32((int)v);
    uint32_t i = 0;
    for (; i + 64 <= n; i += 64)
        bits[i >> 6] |= four(_mm512_cmpeq_epi32_mask(_mm512_loadu_si512(a + i), wanted),
                             _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(a + i + 16), wanted),
                             _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(a + i + 32), wanted),
                             _mm512_cmpeq_epi32_mask(_mm512_loadu_si512(a + i + 48), wanted));
    for (; i < n; i += 16) {
        __m512i at = _mm512_maskz_loadu_epi32(lanes(n - i), a + i);
        uint64_t m = _mm512_mask_cmpeq_epi32_mask(lanes(n - i), at, wanted);
        bits[i >> 6] |= m << (i & 63);
    }
}

/* 16 rows, none of which is row 0, against those before them. */
static inline __mmask16 change(const uint32_t *a) {
    return _mm512_cmpneq_epi32_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(a - 1));
}

static void changes(const uint32_t *a, uint32_t n, uint64_t *bits) {
    __m512i none = _mm512_setzero_si512(), first = _mm512_maskz_loadu_epi32(lanes(n), a);
    bits[0] |=
        1 | _mm512_mask_cmpneq_epi32_mask(lanes(n), first, _mm512_alignr_epi32(first, none, 15));
    uint32_t i = 16;
    for (; i + 16 <= n && (i & 63); i += 16) bits[0] |= (uint64_t)change(a + i) << i;
    for (; i + 64 <= n; i += 64)
        bits[i >> 6] |=
            four(change(a + i), change(a + i + 16), change(a + i + 32), change(a + i + 48));
    for (; i < n; i += 16) {
        __m512i at = _mm512_maskz_loadu_epi32(lanes(n - i), a + i);
        __m512i before = _mm512_maskz_loadu_epi32(lanes(n - i), a + i - 1);
        uint64_t m = _mm512_mask_cmpneq_epi32_mask(lanes(n - i), at, before);
        bits[i >> 6] |= m << (i & 63);
    }
}

static __mmask8 pairs(uint32_t left) { return (__mmask8)(left >= 8 ? 0xffu : (1u << left) - 1); }

static inline __mmask8 pause(const int64_t *t, __m512i most) {
    __m512i by = _mm512_sub_epi64(_mm512_loadu_si512(t), _mm512_loadu_si512(t - 1));
    return _mm512_cmpgt_epi64_mask(by, most);
}

static inline __mmask16 pauses_of_16(const int64_t *t, __m512i most) {
    return _mm512_kunpackb(pause(t + 8, most), pause(t, most));
}

static void pauses(const int64_t *t, uint32_t n, int64_t gap, uint64_t *bits) {
    const __m512i most = _mm512_set1_epi64(gap);
    for (uint32_t i = 1; i < n;) { /* up to a multiple of eight first, so that a word takes all */
        if (i % 64 == 0 && i + 64 <= n) {
            bits[i >> 6] |= four(pauses_of_16(t + i, most), pauses_of_16(t + i + 16, most),
                                 pauses_of_16(t + i + 32, most), pauses_of_16(t + i + 48, most));
            i += 64;
            continue;
        }
        uint32_t end = (i + 8) / 8 * 8 < n ? (i + 8) / 8 * 8 : n;
        __mmask8 in = pairs(end - i);
        __m512i at = _mm512_maskz_loadu_epi64(in, t + i);
        __m512i before = _mm512_maskz_loadu_epi64(in, t + i - 1);
        uint64_t m = _mm512_mask_cmpgt_epi64_mask(in, _mm512_sub_epi64(at, before), most);
        bits[i >> 6] |= m << (i & 63);
        i = end;
    }
}

static void keep_span(const int64_t *t, uint32_t n, int64_t from, int64_t to, uint64_t *bits) {
    const __m512i low = _mm512_set1_epi64(from), high = _mm512_set1_epi64(to);
    for (uint32_t i = 0; i < n; i += 8) {
        __m512i at = _mm512_maskz_loadu_epi64(pairs(n - i), t + i);
        uint64_t out = _mm512_cmplt_epi64_mask(at, low) | _mm512_cmpge_epi64_mask(at, high);
        bits[i >> 6] &= ~(out << (i & 63));
    }
}

static void equal_periods(const struct slot_table *p, const int64_t *t, uint32_t n, uint32_t *out) {
    const __m512i base = _mm512_set1_epi64(p->base);
    const __m512i multiplier = _mm512_set1_epi64(p->multiplier);
    const __m128i low = _mm_cvtsi32_si128((int)p->low), high = _mm_cvtsi32_si128((int)p->high);
    for (uint32_t i = 0; i < n; i += 8) {
        __mmask8 in = pairs(n - i);
        __m512i at = _mm512_sub_epi64(_mm512_maskz_loadu_epi64(in, t + i), base);
        at = _mm512_mul_epu32(_mm512_srl_epi64(at, low), multiplier);
        _mm512_mask_cvtepi64_storeu_epi32(out + i, in, _mm512_srl_epi64(at, high));
    }
}

static void periods(const struct slot_table *p, const int64_t *t, uint32_t n, uint32_t *out) {
    if (p->multiplier) {
        equal_periods(p, t, n, out);
        return;
    }
    const __m512i base = _mm512_set1_epi64(p->base), top = _mm512_set1_epi64(p->slots - 1);
    const __m128i shift = _mm_cvtsi32_si128((int)p->shift);
    for (uint32_t i = 0; i < n; i += 8) {
        __mmask8 in = pairs(n - i);
        __m512i at = _mm512_maskz_loadu_epi64(in, t + i);
        __m512i slot = _mm512_srl_epi64(_mm512_sub_epi64(at, base), shift);
        slot = _mm512_min_epu64(slot, top);
        __m256i k = _mm512_i64gather_epi32(slot, p->first, 4);
        __m512i next = _mm512_i32gather_epi64(k, p->start + 1, 8);
        __mmask8 over = _mm512_cmpge_epi64_mask(at, next);
        k = _mm256_mask_add_epi32(k, over, k, _mm256_set1_epi32(1));
        _mm256_mask_storeu_epi32(out + i, in, k);
    }
}

/* Compressed in a register and stored whole: behind the last one stands what later stores replace.
 * No store reaches past its own rows, as at most as many were found. */
static uint32_t index_of(const uint64_t *bits, uint16_t *out) {
    const __m512i first =
        _mm512_set_epi16(31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13,
                         12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    uint32_t found = 0;
    for (uint32_t i = 0; i < CHUNK_ROWS; i += 32) {
        __mmask32 m = (__mmask32)(bits[i >> 6] >> (i & 63));
        __m512i rows = _mm512_add_epi16(first, _mm512_set1_epi16((short)i));
        _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi16(m, rows));
        found += (uint32_t)__builtin_popcount(m);
    }
    return found;
}

static uint32_t count(const uint64_t *bits) {
    uint64_t n = 0;
    for (uint32_t w = 0; w < BITS_WORDS; w++) n += (uint64_t)__builtin_popcountll(bits[w]);
    return (uint32_t)n;
}

static void ranks(const uint64_t *bits, const uint16_t *rows, uint32_t n, uint16_t *out) {
    uint32_t before[BITS_WORDS];
    for (uint32_t w = 0, sum = 0; w < BITS_WORDS; w++) {
        before[w] = sum;
        sum += (uint32_t)__builtin_popcountll(bits[w]);
    }
    for (uint32_t k = 0; k < n; k++) {
        uint64_t below = bits[rows[k] / 64] & (((uint64_t)1 << rows[k] % 64) - 1);
        out[k] = (uint16_t)(before[rows[k] / 64] + (uint32_t)__builtin_popcountll(below));
    }
}

static uint32_t pick_u32(const uint32_t *a, uint32_t n, const uint64_t *bits, uint32_t *out) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i += 16) {
        __mmask16 m = (__mmask16)(bits[i >> 6] >> (i & 63));
        __m512i at = _mm512_maskz_loadu_epi32(lanes(n - i), a + i);
        _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi32(m, at));
        found += (uint32_t)__builtin_popcount(m);
    }
    return found;
}

static uint32_t pick_i64(const int64_t *a, uint32_t n, const uint64_t *bits, int64_t *out) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i += 8) {
        __mmask8 m = (__mmask8)(bits[i >> 6] >> (i & 63));
        __m512i at = _mm512_maskz_loadu_epi64(pairs(n - i), a + i);
        _mm512_storeu_si512(out + found, _mm512_maskz_compress_epi64(m, at));
        found += (uint32_t)__builtin_popcount(m);
    }
    return found;
}

/* From the back: what a register takes lies before what it is stored over, or within it. */
static void spread_u32(const uint64_t *bits, uint32_t *a) {
    uint32_t before = count(bits);
    for (uint32_t i = CHUNK_ROWS; i > 0 && before < i;) {
        i -= 16;
        __mmask16 m = (__mmask16)(bits[i >> 6] >> (i & 63));
        before -= (uint32_t)__builtin_popcount(m);
        _mm512_storeu_si512(a + i, _mm512_maskz_expandloadu_epi32(m, a + before));
    }
}

static void spread_f64(const uint64_t *bits, double *a) {
    uint32_t before = count(bits);
    for (uint32_t i = CHUNK_ROWS; i > 0 && before < i;) {
        i -= 8;
        __mmask8 m = (__mmask8)(bits[i >> 6] >> (i & 63));
        before -= (uint32_t)__builtin_popcount(m);
        _mm512_storeu_pd(a + i, _mm512_maskz_expandloadu_pd(m, a + before));
    }
}

const struct spine_kernels SPINE_AVX512 = {
    .customers = customers,
    .times = times,
    .look_up = look_up,
    .verdicts = verdicts,
    .mask = mask,
    .equal = equal,
    .changes = changes,
    .pauses = pauses,
    .keep_span = keep_span,
    .periods = periods,
    .index = index_of,
    .count = count,
    .ranks = ranks,
    .pick_u32 = pick_u32,
    .pick_i64 = pick_i64,
    .spread_u32 = spread_u32,
    .spread_f64 = spread_f64,
};

#endif
