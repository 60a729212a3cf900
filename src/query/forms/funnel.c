/* Implementation of funnel.h: the plan, and the life of a state; the kernels are in funnel_fast.c
 * and funnel_exact.c. */
#include "query/forms/funnel.h"

#include "query/forms/funnel_int.h"

/* Of a customer's chains, in the fast kernel. */
static uint32_t chain_words(const struct funnel *f) {
    return f->n > 1 ? funnel_chain_at(f, f->n - 1) : 0;
}

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct funnel_state *s = state;
    s->funnel = (const struct funnel *)m;
    s->worker = w;
    const struct funnel *f = s->funnel;
    size_t n = w->plan->range_size;
    if (f->wants.splits) TRY(splitter_open(&s->splitter, f->wants.splits, w, err));
    s->stride = chain_words(f);
    bool ok = (s->result.level = k_try_alloc_array(n, 1)) != NULL;
    ok = ok && (s->result.end = k_try_alloc_array(n, sizeof(int64_t)));
    if (f->wants.splits) ok = ok && (s->result.group = k_try_alloc_array(n, sizeof(uint32_t)));
    if (f->wants.times) ok = ok && (s->result.times = k_try_alloc_array(n * f->n, sizeof(int64_t)));
    if (!f->exact) {
        ok = ok && (s->first = k_try_alloc_array(n, sizeof(int64_t)));
        ok = ok && (s->last = k_try_alloc_array(n, sizeof(int64_t)));
        ok = ok && (s->seen = k_try_alloc_array(n, sizeof(uint32_t)));
        ok = ok && (s->chains = k_try_alloc_array(n * s->stride + 1, sizeof(int64_t)));
        if (f->n_without) ok = ok && (s->walls = k_try_alloc_array(n * 2, sizeof(int64_t)));
        if (f->wants.splits) ok = ok && (s->groups = k_try_alloc_array(n * f->n, sizeof(uint32_t)));
    }
    if (!ok) FAIL(err, NO_MEMORY, "too little memory for a funnel of %zu customers at a time", n);
    return f->exact ? funnel_exact_open(s, err) : 0;
}

static void state_close(void *state) {
    struct funnel_state *s = state;
    if (s->funnel && s->funnel->exact) funnel_exact_close(s);
    splitter_close(&s->splitter);
    k_free(s->result.level);
    k_free(s->result.end);
    k_free(s->result.group);
    k_free(s->result.times);
    k_free(s->first);
    k_free(s->last);
    k_free(s->seen);
    k_free(s->walls);
    k_free(s->chains);
    k_free(s->groups);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct funnel_state *s = state;
    if (s->funnel->wants.splits) TRY(splitter_begin(&s->splitter, r, s->worker->members, err));
    memset(s->result.level, 0, r.count);
    if (s->funnel->exact) funnel_exact_begin(s, r);
    memset(s->result.end, FUNNEL_NEVER_BYTE, r.count * sizeof *s->result.end);
    if (s->first) memset(s->first, FUNNEL_NEVER_BYTE, r.count * sizeof *s->first);
    if (s->last) memset(s->last, FUNNEL_NEVER_BYTE, r.count * sizeof *s->last);
    if (s->walls) memset(s->walls, FUNNEL_NEVER_BYTE, r.count * 2 * sizeof *s->walls);
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct funnel_state *s = state;
    return s->funnel->exact ? funnel_exact_feed(s, f, err) : funnel_fast_feed(s, f, err);
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    struct funnel_state *s = state;
    return s->funnel->exact ? funnel_exact_end(s, r, err) : 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct funnel_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

/* ---- the plan ---- */

/* Steps by event, if the event alone decides: no filters, no two steps of one event. */
static void plan_step_table(struct plan *p, struct funnel *f) {
    for (uint32_t i = 0; i < f->n; i++)
        if (f->steps[i].filter || f->steps[i].events.all) return;
    uint32_t streams = schema_streams(p->schema);
    f->step_of = arena_alloc(&p->arena, SCHEMA_MAX_STREAMS); /* streams may be added meanwhile */
    memset(f->step_of, FUNNEL_NO_STEP, SCHEMA_MAX_STREAMS);
    for (uint32_t i = 0; i < f->n; i++)
        for (uint32_t k = 0; k < f->steps[i].events.n; k++)
            if (f->steps[i].events.events[k] < streams)
                f->step_of[f->steps[i].events.events[k]] = (uint8_t)i;
}

int funnel_new(struct plan *p, const struct query_funnel *from, struct span span,
               const struct funnel_wants *wants, struct funnel **out, struct keel_error *err) {
    if (from->n_same > QUERY_MAX_SPLITS)
        FAIL(err, LIMIT, "a funnel can hold at most %d properties equal", QUERY_MAX_SPLITS);
    struct funnel *f = arena_zalloc(&p->arena, sizeof *f);
    f->machine = (struct machine){
        .ops = &OPS, .stage = wants->stage, .ordered = true, .span = {INT64_MAX, INT64_MIN}};
    f->wants = *wants;
    f->n = from->n_steps;
    f->n_without = from->n_without;
    f->n_same = from->n_same;
    f->within_ms = duration_ms(from->within);
    for (uint32_t i = 0; i < f->n; i++) {
        TRY(match_compile(p, &from->steps[i], span, &f->steps[i], err));
        match_needs(p, &f->steps[i], &f->machine);
        for (uint32_t j = 0; j < i; j++) f->exact |= match_overlap(&f->steps[i], &f->steps[j]);
    }
    for (uint32_t i = 0; i < f->n_without; i++) {
        TRY(match_compile(p, &from->without[i], span, &f->without[i], err));
        match_needs(p, &f->without[i], &f->machine);
    }
    struct event_set all;
    match_union(p, f->steps, f->n, &all);
    for (uint32_t i = 0; i < f->n_same; i++) {
        TRY(field_resolve(p, &from->same[i], &all, &f->same[i], err));
        field_needs(p, &f->same[i], &f->machine);
    }
    f->any_order = from->any_order;
    f->exact |= f->n_same > 0 || f->any_order;
    if (!f->exact) plan_step_table(p, f);
    if (wants->splits) splits_needs(p, wants->splits, &f->machine);
    uint32_t words = 4 + chain_words(f) + (wants->times ? f->n : 0);
    f->machine.bytes_per_customer = f->exact ? 512 : words * sizeof(int64_t);
    *out = f;
    return plan_add(p, &f->machine, err);
}

const uint8_t *funnel_levels(const struct worker *w, const struct funnel *f) {
    return ((const struct funnel_state *)machine_state(w, &f->machine))->result.level;
}

uint32_t funnel_level(const struct worker *w, const struct funnel *f, uint32_t slot) {
    return funnel_levels(w, f)[slot];
}

uint32_t funnel_group(const struct worker *w, const struct funnel *f, uint32_t slot) {
    return ((const struct funnel_state *)machine_state(w, &f->machine))->result.group[slot];
}

const int64_t *funnel_times(const struct worker *w, const struct funnel *f, uint32_t slot) {
    const struct funnel_state *s = machine_state(w, &f->machine);
    return s->result.times + (size_t)slot * f->n;
}

struct splitter *funnel_splitter(const struct worker *w, const struct funnel *f) {
    struct funnel_state *s = machine_state(w, &f->machine);
    return f->wants.splits ? &s->splitter : NULL;
}
