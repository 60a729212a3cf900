/* What a kernel is fed: a batch of rows, and a way to ask for their columns.
 *
 * Kernels see this instead of a scan, so that a test, or the evaluator of one customer, can feed
 * them by hand. Columns have *handles*: numbers that the plan of the query gave out; whoever feeds
 * knows how to find them.
 *
 * Layers: store/scan/scan.h. Threads: a feed belongs to one worker and lives for one batch.
 */
#pragma once

#include "query/moments.h"
#include "store/scan/scan.h"
#include "store/scan/spine.h"

/* Rows stand customer by customer. Where a customer's come in order over several batches, only the
 * first customer of a batch may go on at the very time at which an earlier batch ended. */
struct feed {
    uint32_t n;
    uint32_t first; /* customer number of the range's slot 0 */
    const uint32_t *customer;
    const int64_t *time;
    const uint32_t *event;  /* NULL if all that are fed are blind (machine.h)   */
    const uint64_t *starts; /* as of struct batch, or NULL: see feed_starts     */
    uint64_t serial;        /* another for each batch of a worker; 0: unknown   */
    uint64_t live[BITS_WORDS];
    struct span span;    /* all live rows lie in it */
    uint64_t event_mask; /* event_bit of every row's event; 0: not computed yet */
    int (*column)(const struct feed *f, uint32_t handle, const struct vec **out,
                  struct keel_error *err);
    int (*items)(const struct feed *f, uint32_t handle, struct batch_items *out,
                 struct keel_error *err);
    void *ctx;
};

/* Sets the bits of row 0, and of each row whose customer is not that of the row before; n > 0. */
static inline void feed_starts(const struct feed *f, uint64_t *bits) {
    if (!f->starts) {
        spine_kernels()->changes(f->customer, f->n, bits);
        return;
    }
    for (uint32_t w = 0; w < BITS_WORDS; w++) bits[w] |= f->starts[w];
}

/* False if surely no row is of this event. */
static inline bool feed_may_have(struct feed *f, uint32_t stream) {
    if (!f->event_mask) f->event_mask = spine_kernels()->mask(f->event, f->n);
    return f->event_mask & event_bit(stream);
}
