/* Implementation of funnel.h: the plan, and the fast kernel.
 *
 * For each step j the kernel keeps the latest start of a valid chain of j steps: later starts are
 * never worse, so an event of step j at time t takes the chain of step j - 1 if its start is not
 * before t - window. Starts only grow, and with them the whole chains in the order of funnel.h, so
 * that one chain a step is enough. Equal times count in any order: the steps that were seen at the
 * same time are remembered, and when an event arrives for a step before them, they are taken again.
 */
#include "query/funnel.h"

#include "query/funnel_int.h"

enum { LAST, SEEN, WITHOUT, WITHOUT_BEFORE, CHAINS }; /* words of a slot */
enum { NO_STEP = UINT8_MAX };

/* Chains of step j (from 0): one start, or j + 1 times. */
static uint32_t chain_at(const struct funnel *f, uint32_t j) {
    return CHAINS + (f->wants.times ? j * (j + 1) / 2 : j);
}

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct funnel_state *s = state;
    s->funnel = (const struct funnel *)m;
    s->worker = w;
    const struct funnel *f = s->funnel;
    size_t n = w->plan->range_size;
    if (f->wants.splits) TRY(splitter_open(&s->splitter, f->wants.splits, w, err));
    s->stride = chain_at(f, f->n);
    bool ok = (s->result.level = k_try_alloc_array(n, 1)) != NULL;
    ok = ok && (s->result.end = k_try_alloc_array(n, sizeof(int64_t)));
    if (f->wants.splits) ok = ok && (s->result.group = k_try_alloc_array(n, sizeof(uint32_t)));
    if (f->wants.times) ok = ok && (s->result.times = k_try_alloc_array(n * f->n, sizeof(int64_t)));
    if (!f->exact) {
        ok = ok && (s->words = k_try_alloc_array(n * s->stride, sizeof(int64_t)));
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
    k_free(s->words);
    k_free(s->groups);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct funnel_state *s = state;
    if (s->funnel->wants.splits) TRY(splitter_begin(&s->splitter, r, s->worker->members, err));
    memset(s->result.level, 0, r.count);
    s->n_kept = s->n_without = 0;
    if (s->words)
        memset(s->words, FUNNEL_NEVER_BYTE, (size_t)r.count * s->stride * sizeof *s->words);
    return 0;
}

/* ---- the fast kernel ---- */

struct step_event {
    uint32_t slot, step, group;
    int64_t time;
};

static void take_result(struct funnel_state *s, uint32_t slot, uint32_t j, int64_t t,
                        const int64_t *chain) {
    struct funnel_result *r = &s->result;
    const struct funnel *f = s->funnel;
    r->level[slot] = (uint8_t)(j + 1);
    r->end[slot] = t;
    if (r->group && s->groups) r->group[slot] = s->groups[(size_t)slot * f->n + j];
    int64_t *times = r->times ? r->times + (size_t)slot * f->n : NULL;
    for (uint32_t i = 0; times && i <= j; i++) times[i] = chain[i];
}

/* An event of step j at time t; lowest: the earliest start that is still valid. True if there is a
 * chain that it ends. */
static inline bool take_step(struct funnel_state *s, int64_t *words, const struct step_event *e,
                             uint32_t j, int64_t lowest) {
    const struct funnel *f = s->funnel;
    int64_t *chain = words + chain_at(f, j);
    if (j == 0) {
        chain[0] = e->time;
        if (s->groups) s->groups[(size_t)e->slot * f->n] = e->group;
    } else {
        const int64_t *before = words + chain_at(f, j - 1);
        if (before[0] < lowest) return false;
        chain[0] = before[0];
        if (f->wants.times) {
            for (uint32_t i = 1; i < j; i++) chain[i] = before[i]; /* shorter than a call */
            chain[j] = e->time;
        }
        if (s->groups) {
            uint32_t *group = s->groups + (size_t)e->slot * f->n + j;
            group[0] = group[-1];
        }
    }
    uint8_t level = s->result.level[e->slot];
    if (j + 1u > level || (j + 1u == level && s->result.end[e->slot] == e->time))
        take_result(s, e->slot, j, e->time, chain);
    return true;
}

static inline void take_event(struct funnel_state *s, const struct step_event *e) {
    const struct funnel *f = s->funnel;
    int64_t *words = s->words + (size_t)e->slot * s->stride, t = e->time;
    if (s->result.level[e->slot] == f->n && s->result.end[e->slot] != t) return;
    int64_t lowest = f->within_ms == INT64_MAX ? FUNNEL_NEVER + 1 : t - f->within_ms;
    int64_t without = words[WITHOUT] < t ? words[WITHOUT] : words[WITHOUT_BEFORE];
    if (without > lowest) lowest = without;
    bool tie = words[LAST] == t;
    words[LAST] = t;
    words[SEEN] = (tie ? words[SEEN] : 0) | (int64_t)1 << e->step;
    bool taken = take_step(s, words, e, e->step, lowest);
    for (uint32_t j = e->step + 1; tie && taken && j < f->n && (words[SEEN] >> j & 1); j++)
        taken = take_step(s, words, e, j, lowest);
}

static int take_without(struct funnel_state *s, struct feed *f, uint64_t *out,
                        struct keel_error *err) {
    memset(out, 0, BITS_WORDS * sizeof *out);
    for (uint32_t i = 0; i < s->funnel->n_without; i++) {
        uint64_t bits[BITS_WORDS];
        TRY(match_rows(&s->funnel->without[i], s->worker, f, bits, err));
        for (uint32_t k = 0; k < BITS_WORDS; k++) out[k] |= bits[k];
    }
    return 0;
}

/* The groups of the rows of step 1, by row. */
static int first_step_groups(struct funnel_state *s, struct feed *f, const uint64_t *first,
                             uint32_t *out, struct keel_error *err) {
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], n = bits_to_index(first, rows);
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    for (uint32_t k = 0; k < n; k++) out[rows[k]] = groups[k];
    return 0;
}

/* The step of each row (NO_STEP: none), the rows that may have one, and those of step 1 if groups
 * are wanted. Without filters the event alone tells; rows of other events in the pass are passed
 * over by their step. */
static int find_steps(struct funnel_state *s, struct feed *f, uint8_t *step_of, uint64_t *rows,
                      uint64_t *first, struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    if (funnel->step_of && span_within(f->span, funnel->steps[0].span)) {
        for (uint32_t i = 0; i < f->n; i++) step_of[i] = funnel->step_of[f->event[i]];
        memcpy(rows, f->live, sizeof f->live);
        return s->groups ? match_rows(&funnel->steps[0], s->worker, f, first, err) : 0;
    }
    memset(step_of, NO_STEP, CHUNK_ROWS);
    memset(rows, 0, sizeof f->live);
    for (uint32_t j = 0; j < funnel->n; j++) {
        uint64_t bits[BITS_WORDS];
        TRY(match_rows(&funnel->steps[j], s->worker, f, bits, err));
        if (j == 0) memcpy(first, bits, sizeof bits);
        for (uint32_t i = 0; i < BITS_WORDS; i++) {
            rows[i] |= bits[i];
            for (uint64_t m = bits[i]; m; m &= m - 1)
                step_of[i * 64 + (uint32_t)__builtin_ctzll(m)] = (uint8_t)j;
        }
    }
    return 0;
}

/* What the rows of a batch are to the funnel. */
struct step_rows {
    uint8_t step[CHUNK_ROWS];   /* NO_STEP: none */
    uint32_t group[CHUNK_ROWS]; /* of rows of step 1, if groups are wanted */
    uint64_t without[BITS_WORDS];
    uint16_t row[CHUNK_ROWS];
    uint32_t n;
};

/* Row by row; made twice, for whether anything but steps and times is asked for. An event at a time
 * of its own, the usual case, is taken here; the rest is take_event's. */
static inline __attribute__((always_inline)) void take_rows(struct funnel_state *s,
                                                            const struct feed *f,
                                                            const struct step_rows *r,
                                                            const bool plain) {
    const struct funnel *funnel = s->funnel;
    const uint32_t steps = funnel->n, stride = s->stride;
    const bool times = funnel->wants.times;
    uint8_t *levels = s->result.level;
    uint32_t at[QUERY_MAX_EVENTS];
    for (uint32_t j = 0; j < steps; j++) at[j] = chain_at(funnel, j);
    for (uint32_t k = 0; k < r->n; k++) {
        const uint32_t row = r->row[k], j = r->step[row], slot = f->customer[row] - f->first;
        const int64_t t = f->time[row];
        int64_t *words = s->words + (size_t)slot * stride;
        if (j != NO_STEP) {
            if (!plain || words[LAST] == t || levels[slot] == steps) {
                struct step_event e = {.slot = slot, .step = j, .time = t};
                if (s->groups && j == 0) e.group = r->group[row];
                take_event(s, &e);
            } else {
                words[LAST] = t;
                words[SEEN] = (int64_t)1 << j;
                int64_t *chain = words + at[j];
                if (j == 0) {
                    chain[0] = t;
                    if (levels[slot] == 0) take_result(s, slot, 0, t, chain);
                    continue;
                }
                const int64_t *before = words + at[j - 1];
                if (before[0] <
                    (funnel->within_ms == INT64_MAX ? FUNNEL_NEVER + 1 : t - funnel->within_ms))
                    continue;
                chain[0] = before[0];
                for (uint32_t i = 1; times && i < j; i++) chain[i] = before[i];
                if (times) chain[j] = t;
                if (j + 1 > levels[slot]) take_result(s, slot, j, t, chain);
            }
        }
        if (!plain && bit_get(r->without, row)) {
            if (words[WITHOUT] != t) words[WITHOUT_BEFORE] = words[WITHOUT];
            words[WITHOUT] = t;
        }
    }
}

static int fast_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    uint64_t bits[BITS_WORDS], first[BITS_WORDS];
    struct step_rows r;
    TRY(find_steps(s, f, r.step, bits, first, err));
    if (s->groups) TRY(first_step_groups(s, f, first, r.group, err));
    if (funnel->n_without > 0) {
        TRY(take_without(s, f, r.without, err));
        for (uint32_t i = 0; i < BITS_WORDS; i++) bits[i] |= r.without[i];
    } else {
        memset(r.without, 0, sizeof r.without);
    }
    r.n = bits_to_index(bits, r.row);
    if (s->groups || funnel->n_without > 0)
        take_rows(s, f, &r, false);
    else
        take_rows(s, f, &r, true);
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct funnel_state *s = state;
    return s->funnel->exact ? funnel_exact_feed(s, f, err) : fast_feed(s, f, err);
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
    memset(f->step_of, NO_STEP, SCHEMA_MAX_STREAMS);
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
    f->exact |= f->n_same > 0;
    if (!f->exact) plan_step_table(p, f);
    if (wants->splits) splits_needs(p, wants->splits, &f->machine);
    f->machine.bytes_per_customer = f->exact ? 512 : (chain_at(f, f->n) + 2) * sizeof(int64_t);
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
