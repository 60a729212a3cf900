/* From decoded integers to rows: the inner loops that every scan passes for every row.
 *
 * Plain C, and AVX-512 chosen at run time. A row of plain C costs some 3 cycles for its customer
 * and 4 for its time, because each waits for the one before; with AVX-512 sixteen rows at a time
 * wait once (expand loads, prefix sums in registers).
 *
 * Layers: vec.h. Threads: pure functions; the choice is an idempotent atomic store.
 */
#pragma once

#include "store/vec.h"

struct spine_kernels {
    /* Row i's customer: first plus the gaps of all runs up to its own. `gaps` has a readable word
     * behind its last. */
    void (*customers)(const uint64_t *starts, uint32_t n, uint32_t first, const uint32_t *gaps,
                      uint32_t *out);
    /* Row i's moment: (base + t) * unit, t being the next of `firsts` at a start, else the t before
     * plus the next of `gaps` (modulo 2^32). Both have a readable word behind their last. Row 0 is
     * a start. */
    void (*times)(const uint64_t *starts, uint32_t n, const uint32_t *firsts, const uint32_t *gaps,
                  int64_t base, int64_t unit, int64_t *out);
    /* out[i] = table[out[i]], or table[0] for what is not below `entries`. */
    void (*look_up)(const uint32_t *table, uint32_t entries, uint32_t n, uint32_t *out);
    /* Sets bit i where a[i] == v; other bits stay. */
    void (*equal)(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits);
};

const struct spine_kernels *spine_kernels(void); /* the best of this CPU */

extern const struct spine_kernels SPINE_PLAIN;
#if defined(__x86_64__)
extern const struct spine_kernels SPINE_AVX512;
#endif
