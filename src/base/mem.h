/* Memory: counted allocation with two failure policies, and arenas.
 *
 *   k_alloc, k_alloc_array, k_realloc   sizes fixed by the program: never NULL, abort when memory
 *                                       is exhausted.
 *   k_try_alloc, k_try_realloc          sizes that come from input or data: NULL on failure.
 *
 * All go through one hook, so that a test can fail the n-th fallible allocation.
 * An arena is a region for one request or query: many small allocations, freed together; a mark
 * remembers a point to roll back to. Arena memory is 16-byte aligned and not zeroed; a large arena
 * lies in large pages, as k_alloc_table.
 *
 * Layers: uses error.h. Threads: the counters are atomic; an arena belongs to one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

void *k_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *k_zalloc(size_t bytes) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *k_realloc(void *old, size_t bytes) __attribute__((returns_nonnull));
void *k_try_alloc(size_t bytes) K_CHECKED;
void *k_try_zalloc(size_t bytes) K_CHECKED;
void *k_try_realloc(void *p, size_t bytes) K_CHECKED; /* on NULL, p is still valid */
void *k_alloc_aligned(size_t alignment, size_t bytes) __attribute__((malloc, returns_nonnull));
/* For tables that are looked up at random: from 1 MiB on in pages of 2 MiB, where the system has
 * them, as most look-ups in pages of 4 KiB wait for their address first. Aligned to 64. */
void *k_alloc_table(size_t bytes) __attribute__((malloc, returns_nonnull));
void *k_zalloc_table(size_t bytes) __attribute__((malloc, returns_nonnull)); /* zeroed */
void k_free(void *p); /* NULL is fine; frees all of the above */

char *k_strdup(const char *s) __attribute__((malloc, returns_nonnull));

/* n * size with overflow checked: aborts (k_) or returns NULL (k_try_). */
void *k_alloc_array(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *k_try_alloc_array(size_t n, size_t size) K_CHECKED;

/* Test hook: the n-th fallible (k_try_) allocation from now fails, once; 0 turns it off. */
void mem_fail_after(uint64_t n);

struct arena_block;
struct arena {
    struct arena_block *top;
    uint8_t *at, *end;
    size_t used_bytes; /* handed out, for limits and reports      */
    size_t max_bytes;  /* arena_try_alloc refuses beyond this     */
};

struct arena_mark {
    struct arena_block *top;
    uint8_t *at;
    size_t used_bytes;
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_release(struct arena *a);
void *arena_alloc(struct arena *a, size_t bytes) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *a, size_t bytes) __attribute__((returns_nonnull));
void *arena_try_alloc(struct arena *a, size_t bytes) K_CHECKED; /* NULL: limit or no memory */
char *arena_strndup(struct arena *a, const char *s, size_t n) __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *format, ...) K_PRINTF(2, 3);
struct arena_mark arena_mark(const struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark mark);
