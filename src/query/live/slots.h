/* A table from customer numbers to a few bytes each: what a live condition remembers of those
 * customers of whom there is something to remember.
 *
 * Numbers are dense, and come in order when a condition is filled. So a page stands for SLOT_PAGE
 * of them: a bit each, whether there is a value, and the values themselves, packed in the order of
 * the numbers. Finding counts bits of one word; adding shifts what is behind, at most a page; and
 * nothing ever moves a large table at once, which commits would wait for. What is kept of a
 * customer takes its bytes and, of pages that are mostly used, a fifth more.
 *
 * A pointer to a value is good until the next add or remove.
 *
 * Layers: base. Threads: one owner. Limits: memory; 8 bytes a page of numbers without values.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SLOT_PAGE = 1024 };

struct slot_page;

struct slots {
    struct slot_page **pages; /* NULL: no value in it */
    uint32_t n_pages, value_bytes;
    uint64_t bytes; /* of memory */
};

void slots_init(struct slots *t, uint32_t value_bytes); /* a sizeof: aligned as any */
void slots_release(struct slots *t);
void *slots_find(const struct slots *t, uint32_t number);         /* NULL: not there */
void *slots_add(struct slots *t, uint32_t number, bool *out_new); /* zeroed when new */
/* The first number from `from` on that has a value; false: none. */
bool slots_next(const struct slots *t, uint32_t from, uint32_t *out_number);
void slots_remove(struct slots *t, uint32_t number);
