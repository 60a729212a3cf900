/* Asking a condition of given customers: the engine's own evaluation, for a few.
 *
 * Layers: customers.h, worker.h. Threads: any; each call has its own plan. Cost: some 20 us for the
 * plan, some 20 us a customer.
 */
#pragma once

#include "query/customers.h"

struct who {
    int64_t at_ms;
    const struct query_cond *where;
    const struct query_measure *measures; /* also wanted of each; at most WHO_MOST_MEASURES */
    uint32_t n_measures;
    segment_lookup segment; /* NULL: there are none */
    void *segment_ctx;
};

enum { WHO_MOST_MEASURES = 4 * QUERY_MAX_TERMS };

struct who_answer {
    uint32_t customer;
    bool holds;
    const struct datum *values; /* [n_measures], during the call only */
};
typedef void who_told(void *ctx, const struct who_answer *answer);

/* Asks of the given customers: roots, ascending. */
int who_ask(struct db *db, const struct snapshot *snap, const struct who *who,
            const uint32_t *customers, uint32_t n, who_told *each, void *ctx,
            struct keel_error *err) K_CHECKED;
/* The same of everybody who is there, with numbers [first, first + n). */
int who_ask_range(struct db *db, const struct snapshot *snap, const struct who *who, uint32_t first,
                  uint32_t n, who_told *each, void *ctx, struct keel_error *err) K_CHECKED;
