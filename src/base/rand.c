/* Implementation of rand.h. */
#include "base/rand.h"

#include <math.h>

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

void rand_init(struct rand *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        r->s[i] = z ^ (z >> 31);
    }
}

uint64_t rand_u64(struct rand *r) {
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t rand_below(struct rand *r, uint32_t n) {
    return (uint32_t)(((rand_u64(r) >> 32) * (uint64_t)n) >> 32);
}

double rand_unit(struct rand *r) { return (double)(rand_u64(r) >> 11) * 0x1.0p-53; }

double rand_normal(struct rand *r) {
    double u = 1.0 - rand_unit(r), v = rand_unit(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double rand_exponential(struct rand *r) { return -log(1.0 - rand_unit(r)); }
