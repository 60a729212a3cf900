/* A form of question: how its tree becomes machines, and their states an answer.
 *
 * exec.c plans the conditions and the form, runs all ranges on all workers, and lets the form make
 * the answer from the workers' states. Whatever a form keeps over ranges (totals, groups) it keeps
 * in a state per worker; everything in it must add up in any order.
 *
 * Layers: customers.h, splits.h. Threads: plan and answer run alone; open, fold and close run for
 * each worker, on any thread.
 */
#pragma once

#include "query/customers.h"
#include "query/result.h"
#include "query/splits.h"

struct form;

struct form_ops {
    size_t form_bytes, state_bytes; /* both zeroed before plan and open */
    bool all_customers;             /* the answer counts customers without events of its own */
    int (*plan)(struct form *f, struct plan *p, struct keel_error *err);
    int (*open)(const struct form *f, struct worker *w, void *state, struct keel_error *err);
    /* All events of the range have been fed; w->members has its members. NULL: nothing to do. */
    int (*fold)(void *state, struct range r, struct keel_error *err);
    int (*answer)(const struct form *f, struct worker *workers, uint32_t n, struct result *out,
                  struct keel_error *err);
    void (*close)(void *state);
};

struct form {
    const struct form_ops *ops;
    struct plan *plan;
};

extern const struct form_ops FORM_COUNT, FORM_LIST, FORM_FUNNEL, FORM_RETENTION, FORM_REPEAT,
    FORM_TREND, FORM_TIME, FORM_PATHS, FORM_ATTRIBUTE, FORM_SESSIONS, FORM_RFM, FORM_TOP,
    FORM_LIFECYCLE, FORM_COMPARE;
