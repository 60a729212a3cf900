/* Choice and plain form of spine.h. Without branches: runs are short, and their lengths cannot be
 * predicted. */
#include "store/scan/spine.h"

#include <stdatomic.h>

static bool plain_customers(const uint64_t *starts, uint32_t n, uint32_t first,
                            const uint32_t *gaps, uint32_t *out) {
    uint32_t customer = first + *gaps, wrong = customer < first;
    out[0] = customer;
    gaps++;
    for (uint32_t w = 0; w * 64 < n; w++) {
        uint64_t word = starts[w];
        uint32_t i = w * 64, end = n - i < 64 ? n : i + 64;
        if (w == 0) {
            word >>= 1;
            i++;
        }
        for (; i < end; i++, word >>= 1) {
            uint32_t start = (uint32_t)word & 1, next = customer + (*gaps & (0 - start));
            wrong |= start & (next <= customer);
            customer = next;
            gaps += start;
            out[i] = customer;
        }
    }
    return wrong == 0;
}

static void plain_times(const uint64_t *starts, uint32_t n, const uint32_t *firsts,
                        const uint32_t *gaps, int64_t base, int64_t unit, int64_t *out) {
    uint32_t t = 0;
    for (uint32_t w = 0; w * 64 < n; w++) {
        uint64_t word = starts[w];
        uint32_t end = n - w * 64 < 64 ? n : w * 64 + 64;
        for (uint32_t i = w * 64; i < end; i++, word >>= 1) {
            uint32_t start = (uint32_t)word & 1, mask = 0 - start;
            t = ((t + *gaps) & ~mask) | (*firsts & mask);
            firsts += start;
            gaps += 1 - start;
            out[i] = (base + t) * unit;
        }
    }
}

static bool plain_look_up(const uint32_t *table, uint32_t entries, uint32_t n, uint32_t *out) {
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < n; i++) {
        wrong |= out[i] >= entries;
        out[i] = table[out[i] < entries ? out[i] : 0];
    }
    return wrong == 0;
}

/* One byte per comparison, which vectorises, then eight bytes to eight bits by a multiplication. */
static void add_bits(const uint8_t *set, uint32_t n, uint64_t *bits) {
    for (uint32_t w = 0; w * 64 < n; w++) {
        uint64_t word = 0;
        for (uint32_t k = 0; k < 8; k++) {
            uint64_t eight;
            memcpy(&eight, set + w * 64 + k * 8, 8);
            word |= (eight * 0x0102040810204080u >> 56) << (k * 8);
        }
        bits[w] |= word;
    }
}

static uint64_t plain_mask(const uint32_t *a, uint32_t n) {
    uint64_t mask = 0;
    for (uint32_t i = 0; i < n; i++) mask |= (uint64_t)1 << (a[i] & 63);
    return mask;
}

static void plain_verdicts(const uint8_t *known, uint32_t n, const uint32_t *codes,
                           const uint64_t *ask, uint64_t *pass, uint64_t *open) {
    for (uint32_t word = 0; word < BITS_WORDS; word++) {
        pass[word] = open[word] = 0;
        for (uint64_t m = ask[word]; m; m &= m - 1) {
            uint32_t code = codes[word * 64 + (uint32_t)__builtin_ctzll(m)];
            uint8_t verdict = code < n ? known[code] : VERDICT_OPEN;
            pass[word] |= verdict == VERDICT_YES ? m & -m : 0;
            open[word] |= verdict == VERDICT_OPEN ? m & -m : 0;
        }
    }
}

static void plain_equal(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits) {
    uint8_t equal[CHUNK_ROWS];
    for (uint32_t i = 0; i < n; i++) equal[i] = a[i] == v;
    memset(equal + n, 0, CHUNK_ROWS - n);
    add_bits(equal, n, bits);
}

static void plain_changes(const uint32_t *a, uint32_t n, uint64_t *bits) {
    uint8_t set[CHUNK_ROWS];
    set[0] = 1;
    for (uint32_t i = 1; i < n; i++) set[i] = a[i] != a[i - 1];
    memset(set + n, 0, CHUNK_ROWS - n);
    add_bits(set, n, bits);
}

static void plain_pauses(const int64_t *t, uint32_t n, int64_t gap, uint64_t *bits) {
    uint8_t set[CHUNK_ROWS];
    set[0] = 0;
    for (uint32_t i = 1; i < n; i++) set[i] = t[i] - t[i - 1] > gap;
    memset(set + n, 0, CHUNK_ROWS - n);
    add_bits(set, n, bits);
}

static void plain_keep_span(const int64_t *t, uint32_t n, int64_t from, int64_t to,
                            uint64_t *bits) {
    uint8_t set[CHUNK_ROWS];
    uint64_t in[BITS_WORDS] = {0};
    for (uint32_t i = 0; i < n; i++) set[i] = t[i] >= from && t[i] < to;
    memset(set + n, 0, CHUNK_ROWS - n);
    add_bits(set, n, in);
    for (uint32_t w = 0; w * 64 < n; w++) bits[w] &= in[w];
}

static void plain_periods(const struct slot_table *p, const int64_t *t, uint32_t n, uint32_t *out) {
    for (uint32_t i = 0; i < n; i++) {
        uint64_t slot = ((uint64_t)t[i] - (uint64_t)p->base) >> p->shift;
        uint32_t k = p->first[slot < p->slots ? slot : p->slots - 1];
        out[i] = k + (t[i] >= p->start[k + 1]);
    }
}

static uint32_t plain_index(const uint64_t *bits, uint16_t *out) {
    uint32_t n = 0;
    for (uint32_t w = 0; w < BITS_WORDS; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1)
            out[n++] = (uint16_t)(w * 64 + (uint32_t)__builtin_ctzll(m));
    return n;
}

static uint32_t plain_count(const uint64_t *bits) {
    uint32_t n = 0;
    for (uint32_t w = 0; w < BITS_WORDS; w++) n += (uint32_t)__builtin_popcountll(bits[w]);
    return n;
}

static void plain_ranks(const uint64_t *bits, const uint16_t *rows, uint32_t n, uint16_t *out) {
    uint32_t before = 0, w = 0;
    for (uint32_t k = 0; k < n; k++) {
        for (; w < rows[k] / 64u; w++) before += (uint32_t)__builtin_popcountll(bits[w]);
        uint64_t below = bits[w] & (((uint64_t)1 << rows[k] % 64) - 1);
        out[k] = (uint16_t)(before + (uint32_t)__builtin_popcountll(below));
    }
}

static uint32_t plain_pick_u32(const uint32_t *a, uint32_t n, const uint64_t *bits, uint32_t *out) {
    uint32_t found = 0;
    for (uint32_t w = 0; w * 64 < n; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1)
            out[found++] = a[w * 64 + (uint32_t)__builtin_ctzll(m)];
    return found;
}

static uint32_t plain_pick_i64(const int64_t *a, uint32_t n, const uint64_t *bits, int64_t *out) {
    uint32_t found = 0;
    for (uint32_t w = 0; w * 64 < n; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1)
            out[found++] = a[w * 64 + (uint32_t)__builtin_ctzll(m)];
    return found;
}

/* From the back; what has nothing absent before it stays where it is. */
#define SPREAD(bits, a)                                                                            \
    {                                                                                              \
        uint16_t at_[CHUNK_ROWS];                                                                  \
        uint32_t k_ = plain_index((bits), at_);                                                    \
        while (k_-- > 0 && at_[k_] != k_) (a)[at_[k_]] = (a)[k_];                                  \
    }

static void plain_spread_u32(const uint64_t *bits, uint32_t *a) { SPREAD(bits, a) }
static void plain_spread_f64(const uint64_t *bits, double *a) { SPREAD(bits, a) }

const struct spine_kernels SPINE_PLAIN = {
    .customers = plain_customers,
    .times = plain_times,
    .look_up = plain_look_up,
    .verdicts = plain_verdicts,
    .mask = plain_mask,
    .equal = plain_equal,
    .changes = plain_changes,
    .pauses = plain_pauses,
    .keep_span = plain_keep_span,
    .periods = plain_periods,
    .index = plain_index,
    .count = plain_count,
    .ranks = plain_ranks,
    .pick_u32 = plain_pick_u32,
    .pick_i64 = plain_pick_i64,
    .spread_u32 = plain_spread_u32,
    .spread_f64 = plain_spread_f64,
};

static const struct spine_kernels *best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2"))
        return &SPINE_AVX512;
#endif
    return &SPINE_PLAIN;
}

const struct spine_kernels *spine_kernels(void) {
    static const struct spine_kernels *_Atomic chosen;
    const struct spine_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (__builtin_expect(!k, 0)) {
        k = best();
        atomic_store_explicit(&chosen, k, memory_order_relaxed);
    }
    return k;
}

uint32_t bits_count(const uint64_t *bits) { return spine_kernels()->count(bits); }

/* Division by multiplication: with d = length >> low odd and of b bits, u < 2^31, the multiplier
 * ceil(2^(31 + b) / d) has 32 bits and its excess, times u, stays below 2^(31 + b). */
void slot_table_equal(struct slot_table *p, int64_t length, int64_t span) {
    p->multiplier = 0;
    if (length <= 0 || span < 0) return;
    unsigned low = (unsigned)__builtin_ctzll((uint64_t)length);
    uint64_t d = (uint64_t)length >> low;
    if (d == 1 || d >> 31 || (uint64_t)span >> low >> 31) return;
    unsigned high = 31 + 64 - (unsigned)__builtin_clzll(d);
    p->low = low;
    p->high = high;
    p->multiplier = (uint32_t)((((uint64_t)1 << high) + d - 1) / d);
}

uint32_t bits_to_index(const uint64_t *bits, uint16_t *out) {
    return spine_kernels()->index(bits, out);
}
