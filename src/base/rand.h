/* Deterministic random numbers: xoshiro256** seeded by splitmix64 (Blackman, Vigna 2018).
 * Same seed, same sequence, on every machine. Not for secrets.
 * Layers: none. Threads: one generator, one thread. */
#pragma once

#include <stdint.h>

struct rand {
    uint64_t s[4];
};

void rand_init(struct rand *r, uint64_t seed);
uint64_t rand_u64(struct rand *r);
uint32_t rand_below(struct rand *r, uint32_t n); /* 0 .. n-1, n > 0 */
double rand_unit(struct rand *r);                /* [0, 1)          */
double rand_normal(struct rand *r);              /* mean 0, sd 1    */
double rand_exponential(struct rand *r);         /* mean 1          */
