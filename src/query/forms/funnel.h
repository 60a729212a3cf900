/* Funnels: how far each customer came through the steps, and by which chain of events.
 *
 * Step k is reached when different events e1 … ek exist that match steps 1 … k, in time order, all
 * within the window from e1, with no `without` event strictly between e1 and ek, and with equal
 * `same` properties. The level is the largest such k. The chain is the one of that level that ends
 * first; among these the one with the latest e1, then the latest e2, and so on.
 *
 * Two kernels: funnel.c for steps of which no event can match two and without `same` (nearly all
 * questions): a start time per step and customer, fed row by row. funnel_exact.c for the rest: it
 * keeps a customer's events and chooses among equal times by bipartite matching. Of them
 * funnel_any.c does those in any order: there e1 … ek match k different steps, whichever.
 *
 * Layers: splits.h. Threads: see machine.h. Limits: QUERY_MAX_EVENTS steps; the exact kernel keeps
 * FUNNEL_MAX_KEPT events of one range.
 */
#pragma once

#include "query/splits.h"

enum { FUNNEL_MAX_KEPT = 1 << 24 };

struct funnel_wants {
    unsigned stage;              /* 0: a condition; 1: the answer                   */
    const struct splits *splits; /* groups of e1 are wanted; NULL: not              */
    bool times;                  /* times of the chain are wanted                   */
};

struct funnel {
    struct machine machine;
    uint32_t n, n_without, n_same;
    struct match steps[QUERY_MAX_EVENTS];
    struct match without[QUERY_MAX_EVENTS];
    struct field same[QUERY_MAX_SPLITS];
    int64_t within_ms;
    bool any_order;
    bool exact;       /* needs funnel_exact.c */
    uint8_t *step_of; /* by event; NULL: steps have filters */
    struct funnel_wants wants;
};

int funnel_new(struct plan *p, const struct query_funnel *from, struct span span,
               const struct funnel_wants *wants, struct funnel **out,
               struct keel_error *err) K_CHECKED;

/* Results, per slot, when the range has been fed. */
const uint8_t *funnel_levels(const struct worker *w, const struct funnel *f); /* by slot */
uint32_t funnel_level(const struct worker *w, const struct funnel *f, uint32_t slot);
uint32_t funnel_group(const struct worker *w, const struct funnel *f, uint32_t slot); /* of e1 */
/* Of levels from 2 on: a time a step. */
const int64_t *funnel_times(const struct worker *w, const struct funnel *f, uint32_t slot);
/* The worker's splitter, for groups; NULL without splits. */
struct splitter *funnel_splitter(const struct worker *w, const struct funnel *f);
