/* What the two kernels of funnels share. Layers: funnel.h. Threads: see machine.h. */
#pragma once

#include "query/forms/funnel.h"

/* Before all times; one repeated byte, so that memset writes it. */
#define FUNNEL_NEVER_BYTE 0x80
#define FUNNEL_NEVER (INT64_MIN | 0x0080808080808080)

enum { FUNNEL_NO_STEP = UINT8_MAX };

/* Fast kernel: where the chain of step j > 0 (from 0) stands among a customer's chains: one start,
 * or room for n times. That of the last step is a result only. */
static inline uint32_t funnel_chain_at(const struct funnel *f, uint32_t j) {
    return (j - 1) * (f->wants.times ? f->n : 1);
}

/* The chain of a customer: what the answer is made of. */
struct funnel_result {
    uint8_t *level;  /* [slots]                          */
    int64_t *end;    /* [slots] time of the last event of the chain; of level 1 only with groups */
    uint32_t *group; /* [slots] of e1; NULL unless wanted */
    int64_t *times;  /* [slots × steps], from level 2 on; NULL unless wanted */
};

struct funnel_event { /* kept by the exact kernel */
    int64_t time;
    uint32_t slot, steps; /* bits */
    uint32_t same;        /* group number of the `same` values; UINT32_MAX: some is missing */
    uint32_t group;       /* of the splits */
};

/* The best chain of one customer while his lists of events are gone through. */
struct funnel_chain {
    int64_t times[QUERY_MAX_EVENTS]; /* times[0]: start; FUNNEL_NEVER: no such chain */
    uint32_t group, first;           /* of e1: its group, its place in the order     */
};

struct funnel_best {
    const struct funnel *f;
    const struct funnel_event *kept; /* of the range: a place in it is an event's order */
    const int64_t *without;          /* ascending times of the customer's `without` events */
    uint32_t n_without;
    uint32_t level;
    int64_t end;
    struct funnel_chain chain;
};

struct funnel_state {
    const struct funnel *funnel;
    struct worker *worker;
    struct splitter splitter;
    struct funnel_result result;
    /* Fast kernel, by slot. Times are FUNNEL_NEVER if not. */
    int64_t *first;   /* [slots] the start of the chain of step 1                         */
    int64_t *last;    /* [slots] the last time of a later step                            */
    uint32_t *seen;   /* [slots] bits of the steps seen at it; means nothing before it is */
    int64_t *walls;   /* [slots × 2] the last `without` time and the one before; NULL: no such */
    int64_t *chains;  /* [slots × stride] of the later steps: start, or with times all its times.
                         That of step j means something if the level is above j */
    uint32_t *groups; /* [slots × steps] group of e1 of the chain of each step */
    uint32_t stride;
    /* Exact kernel */
    struct groups same;
    struct field_reader same_readers[QUERY_MAX_SPLITS];
    struct funnel_event *kept;
    uint32_t n_kept, cap_kept;
    uint64_t *later;    /* [slots] bit same % 64 of each kept event of a later step */
    uint32_t *earliest; /* [slots] the first kept event of step 1 alone, + 1, of equal times the
                           last; its time is in result.end until the end */
    int64_t *without;   /* times, with their slots, in arrival order */
    uint32_t *without_slot;
    uint32_t n_without, cap_without;
};

int funnel_fast_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) K_CHECKED;

/* Takes a chain if it is better than the best one: by level, end, and then the events. */
void funnel_best_offer(struct funnel_best *b, uint32_t level, int64_t end,
                       const struct funnel_chain *chain);
/* The earliest start that a chain which ends at t may have. */
int64_t funnel_best_lowest(const struct funnel_best *s, int64_t t);
/* funnel_any.c: one list of events in order, steps in any order. */
void funnel_any_solve(struct funnel_best *b, const struct funnel_event *const *e, uint32_t n);

int funnel_exact_open(struct funnel_state *s, struct keel_error *err) K_CHECKED;
void funnel_exact_begin(struct funnel_state *s, struct range r);
void funnel_exact_close(struct funnel_state *s);
int funnel_exact_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) K_CHECKED;
int funnel_exact_end(struct funnel_state *s, struct range r, struct keel_error *err) K_CHECKED;
