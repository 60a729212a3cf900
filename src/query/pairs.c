/* Implementation of pairs.h: open addressing with linear probing, at most half full. */
#include "query/pairs.h"

#include "base/hash.h"

enum { PAIRS_FIRST = 1024, PAIRS_KEEP = 1 << 16 };

void pairs_init(struct pairs *t) {
    *t = (struct pairs){.mask = PAIRS_FIRST - 1};
    t->keys = k_zalloc(PAIRS_FIRST * sizeof *t->keys);
    t->values = k_zalloc(PAIRS_FIRST * sizeof *t->values);
}

void pairs_release(struct pairs *t) {
    k_free(t->keys);
    k_free(t->values);
    *t = (struct pairs){0};
}

void pairs_clear(struct pairs *t) {
    if (t->count == 0) return;
    if (t->mask >= PAIRS_KEEP) {
        pairs_release(t);
        pairs_init(t);
        return;
    }
    memset(t->keys, 0, ((size_t)t->mask + 1) * sizeof *t->keys);
    t->count = 0;
}

static bool pairs_grow(struct pairs *t) {
    if (t->count >= PAIRS_MAX) return false;
    size_t size = ((size_t)t->mask + 1) * 2;
    uint64_t *keys = k_try_zalloc(size * sizeof *keys);
    uint32_t *values = k_try_zalloc(size * sizeof *values);
    if (!keys || !values) {
        k_free(keys);
        k_free(values);
        return false;
    }
    for (size_t i = 0; i <= t->mask; i++) {
        if (!t->keys[i]) continue;
        uint64_t j = hash_mix(t->keys[i]) & (size - 1);
        while (keys[j]) j = (j + 1) & (size - 1);
        keys[j] = t->keys[i];
        values[j] = t->values[i];
    }
    k_free(t->keys);
    k_free(t->values);
    t->keys = keys;
    t->values = values;
    t->mask = (uint32_t)(size - 1);
    return true;
}

uint32_t *pairs_at(struct pairs *t, uint64_t key, bool *out_new) {
    uint64_t stored = key + 1, i = hash_mix(stored) & t->mask;
    for (; t->keys[i]; i = (i + 1) & t->mask)
        if (t->keys[i] == stored) {
            *out_new = false;
            return &t->values[i];
        }
    if (t->count * 2 > t->mask) {
        if (!pairs_grow(t)) return NULL;
        for (i = hash_mix(stored) & t->mask; t->keys[i];) i = (i + 1) & t->mask;
    }
    t->keys[i] = stored;
    t->values[i] = 0;
    t->count++;
    *out_new = true;
    return &t->values[i];
}
