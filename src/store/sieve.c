/* Implementation of sieve.h. */
#include "store/sieve.h"

#include "base/mem.h"

void sieve_make(struct sieve *s, uint64_t keys) {
    const uint64_t most = (uint64_t)SIEVE_MOST_BYTES / 8;
    uint64_t count = keys / (64 / SIEVE_KEY_BITS) + 1;
    sieve_drop(s);
    *s = (struct sieve){.room = count > most ? UINT64_MAX : keys,
                        .count = count > most ? most : count};
    s->words = k_zalloc_table(s->count * sizeof *s->words);
}

void sieve_drop(struct sieve *s) {
    k_free(s->words);
    *s = (struct sieve){0};
}
