/* Funnels in any order: how many of the steps a customer did within the window.
 *
 * Events come in order. Of those that lie in the window before some time t, the level at t is the
 * most steps that can be given different events. Only the latest n events of each step can matter
 * (among n a step always finds a free one), so these are what is kept: `latest`.
 *
 * Sets of events that different steps can take are the independent sets of a matroid. So taking
 * events from the latest backwards, each if the steps can be given out anew with it, makes a
 * largest set, and of the largest ones the one whose first event is the latest, then the second,
 * and so on: the chain that funnel.h asks for.
 *
 * Layers, threads: see funnel.h. Cost of a time: n² candidates, each one augmenting path; where no
 * event matches two steps, n look-ups. */
#include "query/forms/funnel_int.h"

enum { MAX_STEPS = QUERY_MAX_EVENTS };

/* The latest events of each step, as places in the list; a ring. */
struct latest {
    uint32_t at[MAX_STEPS][MAX_STEPS];
    uint32_t n[MAX_STEPS]; /* ever seen */
};

struct giving {                                  /* steps to events */
    const struct funnel_event *event[MAX_STEPS]; /* of a step; NULL: free */
    uint32_t n;                                  /* given */
};

/* Gives the event to one of its steps, moving others if needed. */
static bool give(struct giving *g, const struct funnel_event *e, uint32_t n_steps,
                 uint32_t *tried) {
    for (uint32_t j = 0; j < n_steps; j++) {
        if (!(e->steps >> j & 1) || *tried >> j & 1) continue;
        *tried |= 1u << j;
        if (g->event[j] && !give(g, g->event[j], n_steps, tried)) continue;
        g->event[j] = e;
        return true;
    }
    return false;
}

/* The latest place among all rings that is before `before`; false: none. */
static bool next_place(const struct latest *l, uint32_t n_steps, uint32_t *taken, uint32_t *out) {
    bool found = false;
    for (uint32_t j = 0; j < n_steps; j++) {
        if (taken[j] == n_steps || taken[j] == l->n[j]) continue;
        uint32_t place = l->at[j][(l->n[j] - 1 - taken[j]) % n_steps];
        if (!found || place > *out) *out = place;
        found = true;
    }
    for (uint32_t j = 0; j < n_steps && found; j++)
        while (taken[j] < n_steps && taken[j] < l->n[j] &&
               l->at[j][(l->n[j] - 1 - taken[j]) % n_steps] == *out)
            taken[j]++;
    return found;
}

/* The chain that ends at the latest time there is, offered. */
static void solve_time(struct funnel_best *b, const struct funnel_event *const *e,
                       const struct latest *l, int64_t t) {
    uint32_t n_steps = b->f->n, taken[MAX_STEPS] = {0}, place = 0;
    int64_t lowest = funnel_best_lowest(b, t);
    struct giving g = {.n = 0};
    struct funnel_chain chain = {.group = 0};
    while (g.n < n_steps && next_place(l, n_steps, taken, &place)) {
        uint32_t tried = 0;
        if (e[place]->time < lowest) break;
        if (!give(&g, e[place], n_steps, &tried)) continue;
        chain.times[g.n++] = e[place]->time;
        chain.group = e[place]->group;
        chain.first = (uint32_t)(e[place] - b->kept);
    }
    for (uint32_t i = 0, j = g.n; i + 1 < j; i++) { /* they came latest first */
        int64_t later = chain.times[i];
        chain.times[i] = chain.times[--j];
        chain.times[j] = later;
    }
    if (g.n > 0) funnel_best_offer(b, g.n, t, &chain);
}

void funnel_any_solve(struct funnel_best *b, const struct funnel_event *const *e, uint32_t n) {
    struct latest l = {.n = {0}};
    uint32_t n_steps = b->f->n;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n_steps; j++)
            if (e[i]->steps >> j & 1) l.at[j][l.n[j]++ % n_steps] = i;
        if (i + 1 < n && e[i + 1]->time == e[i]->time) continue;
        solve_time(b, e, &l, e[i]->time);
        if (b->level == n_steps && b->end < e[i]->time) return; /* nothing ends earlier */
    }
}
