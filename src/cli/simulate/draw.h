/* Random draws of the simulator, in integers only.
 *
 * Same seed, same bytes on every machine: libm's log and exp differ in the last bit between
 * processors and versions, and a compiler may contract a*b+c, so no floating point takes part.
 * Probabilities are fractions of 2^30 (they and their sums fit an int, and so an enum), factors
 * and exponents have 16 fractional bits ("q16").
 *
 * A stream is one 64-bit counter through the finaliser of splitmix64 (hash_mix): base/rand.h has 32
 * bytes of state to seed, too much for a stream that lives for one visit. Each visit of each person
 * has its own, so that a change in one life leaves the others as they were.
 *
 * One draw a statement: C leaves open in which order operands and initialisers are evaluated.
 *
 * Layers: base/hash.h. Threads: pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

struct draw {
    uint64_t s;
};

/* A probability as a constant: P(0.12). Below 1. */
#define P(x) ((int)((x)*1073741824.0))

enum { Q16 = 1 << 16 };

/* The stream for (a, b) under a seed. */
static inline struct draw draw_stream(uint64_t seed, uint64_t a, uint64_t b) {
    return (struct draw){hash_mix(seed ^ hash_mix(a * 0x9e3779b97f4a7c15u + b)) + b};
}

static inline uint64_t draw_u64(struct draw *d) { return hash_mix(d->s += 0x9e3779b97f4a7c15u); }
static inline uint32_t draw_u32(struct draw *d) { return (uint32_t)(draw_u64(d) >> 32); }
/* A place on the scale of P(), to compare with sums of probabilities. */
static inline int draw_place(struct draw *d) { return (int)(draw_u64(d) >> 34); }
static inline bool draw_chance(struct draw *d, int p) { return draw_place(d) < p; }

static inline uint32_t draw_below(struct draw *d, uint32_t n) {
    return (uint32_t)((uint64_t)draw_u32(d) * n >> 32);
}
static inline uint64_t draw_below64(struct draw *d, uint64_t n) {
    return (uint64_t)((unsigned __int128)draw_u64(d) * n >> 64);
}
static inline uint32_t draw_between(struct draw *d, uint32_t from, uint32_t to) {
    return from + draw_below(d, to - from + 1);
}

/* Division rather than a shift: what >> does to a negative number is the compiler's choice. */
static inline int64_t q16_times(int64_t a, int64_t b) { return a * b / Q16; }

/* log2(x) for x >= 1; cubic correction fitted to 1.8e-5. */
static inline int64_t log2_q16(uint64_t x) {
    int whole = 63 - __builtin_clzll(x);
    int64_t f = (int64_t)(whole >= 16 ? x >> (whole - 16) : x << (16 - whole)) - Q16;
    int64_t c = 28956 + q16_times(f, -17468 + q16_times(f, 9635 - q16_times(f, 2900)));
    return (int64_t)whole * Q16 + f + q16_times(q16_times(f, Q16 - f), c);
}

/* 2^x, 0 <= x < 31; quadratic correction fitted to 5e-6. */
static inline int64_t exp2_q16(int64_t x) {
    if (x < -16 * Q16) return 0;
    int64_t f = x & (Q16 - 1), whole = (x - f) / Q16;
    int64_t c = -20119 - q16_times(f, 4290 + q16_times(f, 897));
    int64_t v = Q16 + f + q16_times(q16_times(f, Q16 - f), c);
    return whole >= 0 ? v << (whole < 30 ? whole : 30) : v >> -whole;
}

/* Mean 1. -ln(u) = (32 - log2(u * 2^32)) * ln 2 */
static inline int64_t draw_exponential_q16(struct draw *d) {
    return (32 * Q16 - log2_q16((uint64_t)draw_u32(d) + 1)) * 45426 >> 16;
}
/* An exponential span of the given mean, at most UINT32_MAX / 2. */
static inline uint32_t draw_span(struct draw *d, uint64_t mean) {
    uint64_t v = (uint64_t)draw_exponential_q16(d) * mean >> 16;
    return v < UINT32_MAX / 2 ? (uint32_t)v : UINT32_MAX / 2;
}

/* Mean 0, sd 1: 64 coin tosses and a uniform half step; right to 1 % up to three deviations. */
static inline int64_t draw_normal_q16(struct draw *d) {
    int64_t heads = __builtin_popcountll(draw_u64(d)) - 32;
    int64_t step = (int64_t)(draw_u64(d) >> 48) - Q16 / 2;
    return q16_times(heads * Q16 + step, 16342); /* / sqrt(16 + 1/12) */
}

/* Mean 1, gamma of shape 1/2: the square of a normal. */
static inline int64_t draw_gamma_q16(struct draw *d) {
    int64_t z = draw_normal_q16(d);
    return q16_times(z, z);
}

/* Mean 1, log-normal with the given sigma: exp(sigma z - sigma^2 / 2), in powers of two. */
static inline int64_t draw_lognormal_q16(struct draw *d, int64_t sigma_q16) {
    int64_t x = q16_times(sigma_q16, draw_normal_q16(d)) - q16_times(sigma_q16, sigma_q16) / 2;
    return exp2_q16(q16_times(x, 94548)); /* log2(e) */
}
