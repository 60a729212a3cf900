/* Answering a question.
 *
 *     struct snapshot *snap;  snapshot_open(store, &snap, err);
 *     struct result *r;
 *     TRY(query_run(db, snap, q, &(struct query_options){.at_ms = now_ms()}, &r, err));
 *
 * The answer depends only on the snapshot, the question and at_ms: not on threads, not on how the
 * events lie in parts and heads.
 *
 * Layers: plan.h, result.h. Threads: any number of queries may run at once, each with its own pool.
 */
#pragma once

#include "base/thread.h"
#include "query/customers.h"
#include "query/result.h"

#define QUERY_AT_NOW INT64_MIN

struct query_options {
    int64_t at_ms;              /* the moment of asking: as if later events did not exist  */
    unsigned threads;           /* 0: one a processor; ignored with a pool                 */
    struct pool *pool;          /* borrowed; NULL: one for this query                      */
    uint32_t range_size;        /* customers of one piece of work; 0: chosen. For tests */
    const _Atomic bool *cancel; /* looked at between batches: KEEL_E_CANCELLED       */
    segment_lookup segment;     /* saved segments; NULL: there are none              */
    void *segment_ctx;
    /* NULL, or a bit for each number of the snapshot, zeroed: set of those who meet the condition.
     * Needs a range_size of whole words, or 0. */
    uint64_t *members;
};

int query_run(struct db *db, const struct snapshot *snap, const struct query *q,
              const struct query_options *options, struct result **out,
              struct keel_error *err) K_CHECKED;
