/* Implementation of slots.h. */
#include "query/live/slots.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum { SLOTS_LEAST = 16 };

void slots_init(struct slots *t, uint32_t value_bytes) {
    *t = (struct slots){.value_bytes = value_bytes};
}

void slots_release(struct slots *t) {
    k_free(t->keys);
    k_free(t->values);
    slots_init(t, t->value_bytes);
}

static uint32_t home_of(const struct slots *t, uint32_t key) {
    return (uint32_t)hash_mix(key) & t->mask;
}

static uint8_t *value_at(const struct slots *t, uint32_t i) {
    return t->values + (size_t)i * t->value_bytes;
}

/* Where the key is, or where it would go. */
static uint32_t place_of(const struct slots *t, uint32_t key) {
    uint32_t i = home_of(t, key);
    while (t->keys[i] && t->keys[i] != key) i = (i + 1) & t->mask;
    return i;
}

void *slots_find(const struct slots *t, uint32_t number) {
    if (t->count == 0) return NULL;
    uint32_t i = place_of(t, number + 1);
    return t->keys[i] ? value_at(t, i) : NULL;
}

static void grow(struct slots *t) {
    struct slots old = *t;
    uint32_t size = old.keys ? (old.mask + 1) * 2 : SLOTS_LEAST;
    t->keys = k_zalloc((size_t)size * sizeof *t->keys);
    t->values = k_alloc_array(size, t->value_bytes);
    t->mask = size - 1;
    for (uint32_t i = 0; old.keys && i <= old.mask; i++) {
        if (!old.keys[i]) continue;
        uint32_t at = place_of(t, old.keys[i]);
        t->keys[at] = old.keys[i];
        memcpy(value_at(t, at), value_at(&old, i), t->value_bytes);
    }
    k_free(old.keys);
    k_free(old.values);
}

void *slots_add(struct slots *t, uint32_t number, bool *out_new) {
    if (!t->keys || (uint64_t)(t->count + 1) * 10 > (uint64_t)(t->mask + 1) * 7) grow(t);
    uint32_t i = place_of(t, number + 1);
    *out_new = t->keys[i] == 0;
    if (*out_new) {
        t->keys[i] = number + 1;
        t->count++;
        memset(value_at(t, i), 0, t->value_bytes);
    }
    return value_at(t, i);
}

bool slots_next(const struct slots *t, uint32_t *at, uint32_t *out_number) {
    for (; t->keys && *at <= t->mask; ++*at) {
        if (!t->keys[*at]) continue;
        *out_number = t->keys[(*at)++] - 1;
        return true;
    }
    return false;
}

void slots_remove(struct slots *t, uint32_t number) {
    if (t->count == 0) return;
    uint32_t hole = place_of(t, number + 1);
    if (!t->keys[hole]) return;
    t->count--;
    for (uint32_t i = (hole + 1) & t->mask; t->keys[i]; i = (i + 1) & t->mask) {
        uint32_t home = home_of(t, t->keys[i]);
        if (((i - home) & t->mask) < ((i - hole) & t->mask)) continue; /* it may not move so far */
        t->keys[hole] = t->keys[i];
        memcpy(value_at(t, hole), value_at(t, i), t->value_bytes);
        hole = i;
    }
    t->keys[hole] = 0;
}

uint64_t slots_bytes(const struct slots *t) {
    return t->keys ? (uint64_t)(t->mask + 1) * (sizeof *t->keys + t->value_bytes) : 0;
}
