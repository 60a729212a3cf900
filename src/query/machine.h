/* Machines: accumulators over events with a small state per customer.
 *
 * A machine is described once in the plan (what it needs, its operations) and has one state per
 * worker. For each range of customers: begin, feed any number of batches, end. Its memory is bound
 * by the range, not by the store.
 *
 * Stage 0 machines find out who the customers are (conditions, traits); their results are read by
 * slot between the stages. Stage 1 machines make the answer; they see the rows of members only.
 *
 * Layers: plan.h, feed.h. Threads: a state belongs to one worker; the description is shared.
 */
#pragma once

#include "query/plan.h"
#include "query/test.h"

struct range {
    uint32_t first, count; /* customer numbers */
};

/* Results of one test by lexicon code: 0 unknown, 1 no, 2 yes; grows with the lexicon. */
struct code_cache {
    uint8_t *known; /* [n + VERDICT_SPARE] enum verdict */
    uint32_t n;
};

struct worker {
    const struct plan *plan;
    unsigned index;
    void *states[PLAN_MAX_MACHINES];
    struct scan *scans[PLAN_MAX_PASSES];
    struct code_cache *caches; /* [plan->n_caches] */
    struct test_scratch scratch;
    struct range range;
    uint64_t
        *fed; /* stage 0: bits by slot of those who had rows in the range, or in the last one */
    bool fed_many; /* too many to note them: anybody may have had rows                          */
    uint64_t *members; /* stage 1: bits by slot; NULL: all are */
    void *form;        /* the form's state */
    struct scan_cost cost;
    uint64_t batches;        /* fed so far */
    int failed;              /* the code of its first error, which stops all workers */
    struct keel_error error; /* its message */
};

struct machine_ops {
    size_t state_bytes;
    /* The state is zeroed before open; close frees what is in it. end may be NULL. */
    int (*open)(const struct machine *m, struct worker *w, void *state, struct keel_error *err);
    int (*begin)(void *state, struct range r, struct keel_error *err);
    int (*feed)(void *state, struct feed *f, struct keel_error *err);
    int (*end)(void *state, struct range r, struct keel_error *err);
    void (*close)(void *state);
};

struct machine {
    const struct machine_ops *ops;
    uint32_t index; /* in plan->machines */
    unsigned stage;
    bool ordered;    /* needs each customer's rows in order                             */
    bool all_events; /* needs all events; else those listed (none: it sees nothing)     */
    bool blind;      /* never asks which event a row is of                              */
    uint32_t *events;
    uint32_t n_events;
    uint32_t *handles; /* of the columns it may ask for */
    uint32_t n_handles;
    struct span span;          /* of time; the machine itself drops nothing inside  */
    size_t bytes_per_customer; /* of its state, about: for the size of the ranges   */
};

/* Adds to a machine's needs. */
void machine_need_event(struct plan *p, struct machine *m, uint32_t stream);
void machine_need_column(struct plan *p, struct machine *m, uint32_t handle);

static inline void *machine_state(const struct worker *w, const struct machine *m) {
    return w->states[m->index];
}
