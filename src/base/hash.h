/* Hashing: xxHash (XXH3) for tables, checksums and derived message ids.
 * The values are written to disk: the function must never change within a format version.
 * Layers: uses str.h. Threads: pure. */
#pragma once

#include "base/str.h"

struct hash128 {
    uint64_t lo, hi;
};

uint64_t hash64(const void *p, size_t n);
struct hash128 hash128(const void *p, size_t n);
static inline uint64_t hash_str(struct str s) { return hash64(s.p, s.n); }

/* Finaliser of splitmix64: a good mix of one integer, for tables keyed by numbers. */
static inline uint64_t hash_mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}
