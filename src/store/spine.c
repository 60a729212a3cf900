/* Choice and plain form of spine.h. Without branches: runs are short, and their lengths cannot be
 * predicted. */
#include "store/spine.h"

#include <stdatomic.h>

static void plain_customers(const uint64_t *starts, uint32_t n, uint32_t first,
                            const uint32_t *gaps, uint32_t *out) {
    uint32_t customer = first;
    for (uint32_t w = 0; w * 64 < n; w++) {
        uint64_t word = starts[w];
        uint32_t end = n - w * 64 < 64 ? n : w * 64 + 64;
        for (uint32_t i = w * 64; i < end; i++, word >>= 1) {
            uint32_t start = (uint32_t)word & 1;
            customer += *gaps & (0 - start);
            gaps += start;
            out[i] = customer;
        }
    }
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

static void plain_look_up(const uint32_t *table, uint32_t entries, uint32_t n, uint32_t *out) {
    for (uint32_t i = 0; i < n; i++) out[i] = table[out[i] < entries ? out[i] : 0];
}

/* One byte per comparison, which vectorises, then eight bytes to eight bits by a multiplication. */
static void plain_equal(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits) {
    uint8_t equal[CHUNK_ROWS];
    for (uint32_t i = 0; i < n; i++) equal[i] = a[i] == v;
    memset(equal + n, 0, CHUNK_ROWS - n);
    for (uint32_t w = 0; w * 64 < n; w++) {
        uint64_t word = 0;
        for (uint32_t k = 0; k < 8; k++) {
            uint64_t eight;
            memcpy(&eight, equal + w * 64 + k * 8, 8);
            word |= (eight * 0x0102040810204080u >> 56) << (k * 8);
        }
        bits[w] |= word;
    }
}

const struct spine_kernels SPINE_PLAIN = {
    .customers = plain_customers,
    .times = plain_times,
    .look_up = plain_look_up,
    .equal = plain_equal,
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
