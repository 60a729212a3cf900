/* A table from pairs of numbers to a number: distinct counts of values by customer, state by
 * customer and group. Keys are 64 bits (the caller packs), values 32 bits.
 *
 * Layers: base. Threads: one owner. Limits: PAIRS_MAX entries; beyond, pairs_at gives NULL.
 */
#pragma once

#include <stdbool.h>

#include "base/mem.h"

enum { PAIRS_MAX = 1 << 26 };

struct pairs {
    uint64_t *keys; /* key + 1, 0 is free */
    uint32_t *values;
    uint32_t count, mask;
};

static inline uint64_t pair_key(uint32_t high, uint32_t low) { return (uint64_t)high << 32 | low; }

void pairs_init(struct pairs *t);
void pairs_release(struct pairs *t);
void pairs_clear(struct pairs *t); /* keeps a moderate table */
/* The value of a key, added as 0 with *out_new set; NULL when full or out of memory. The pointer
 * is good until the next call. The key UINT64_MAX is not allowed. */
uint32_t *pairs_at(struct pairs *t, uint64_t key, bool *out_new);
