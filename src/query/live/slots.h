/* A table from customer numbers to a few bytes each: what a live condition remembers of those
 * customers of whom there is something to remember.
 *
 * Open addressing with linear probing; removing shifts back, so there are no tombstones. A pointer
 * to a value is good until the next add or remove.
 *
 * Layers: base. Threads: one owner. Limits: 2^31 customers; memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct slots {
    uint32_t *keys; /* number + 1, 0 is free */
    uint8_t *values;
    uint32_t value_bytes, count, mask;
};

void slots_init(struct slots *t, uint32_t value_bytes);
void slots_release(struct slots *t);
void *slots_find(const struct slots *t, uint32_t number);         /* NULL: not there */
void *slots_add(struct slots *t, uint32_t number, bool *out_new); /* zeroed when new */
/* The customers of the table, in no order: *at begins at 0; false: no more. Nothing may be added or
 * removed meanwhile. */
bool slots_next(const struct slots *t, uint32_t *at, uint32_t *out_number);
void slots_remove(struct slots *t, uint32_t number);
uint64_t slots_bytes(const struct slots *t);
