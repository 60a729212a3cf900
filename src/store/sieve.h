/* A sieve of message keys: which ones were surely never put in.
 *
 * A Bloom filter whose bits of a key stand in one word: four of 64, at SIEVE_KEY_BITS bits a key.
 * One look-up touches one line of the cache; of keys that were never put in one in 160 passes when
 * the sieve is full. The word is chosen by the key's high half, in order: keys that come sorted
 * fill it from one end to the other. Keys are hashes, and taken as they are.
 *
 * Layers: base. Threads: one owner. Limits: SIEVE_MOST_BYTES; beyond it more keys pass.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIEVE_KEY_BITS = 16, SIEVE_MOST_BYTES = 64 << 20 };

struct sieve {
    uint64_t *words; /* NULL: there is no sieve */
    uint64_t count;
    uint64_t keys, room; /* room: keys it is made for; UINT64_MAX: it cannot be larger */
};

/* An empty sieve for so many keys, in place of what is there. */
void sieve_make(struct sieve *s, uint64_t keys);
void sieve_drop(struct sieve *s);
static inline size_t sieve_bytes(const struct sieve *s) { return s->count * sizeof *s->words; }

static inline uint64_t *sieve_word(const struct sieve *s, uint64_t key) {
    return &s->words[(key >> 32) * s->count >> 32];
}
static inline uint64_t sieve_bits(uint64_t key) {
    return UINT64_C(1) << (key & 63) | UINT64_C(1) << (key >> 6 & 63) |
           UINT64_C(1) << (key >> 12 & 63) | UINT64_C(1) << (key >> 18 & 63);
}

static inline void sieve_prefetch(const struct sieve *s, uint64_t key) {
    __builtin_prefetch(sieve_word(s, key));
}
static inline void sieve_put(struct sieve *s, uint64_t key) {
    *sieve_word(s, key) |= sieve_bits(key);
    s->keys++;
}
static inline bool sieve_passes(const struct sieve *s, uint64_t key) {
    const uint64_t bits = sieve_bits(key);
    return (*sieve_word(s, key) & bits) == bits;
}
