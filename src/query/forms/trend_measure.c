/* Implementation of trend.h.
 *
 * Unique customers need no sets: a customer's events come in time order, so a customer is new in a
 * period when his last one is another. With groups by event, a word per customer holds the groups
 * (below 64) seen in the current period; other groups have a table. Rolling: a customer counts in
 * the `over` rows from each of his periods on; as changes from row to row that is one +1 where he
 * was not yet in, and the -1 moved along. */
#include "query/forms/trend.h"

enum { SMALL_GROUPS = 64 };

static bool is_sum(enum query_agg a) { return a == QUERY_SUM || a == QUERY_AVG; }
static bool is_extreme(enum query_agg a) { return a == QUERY_MIN || a == QUERY_MAX; }

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct trend_state *s = state;
    s->m = (const struct trend_measure *)m;
    s->worker = w;
    dict_init(&s->dict);
    pairs_init(&s->values);
    pairs_init(&s->last_of);
    field_reader_init(&s->reader, &s->m->field, w, &s->dict);
    if (s->m->by_visits) s->visits = k_zalloc(sizeof *s->visits);
    if (!s->m->twin) TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    if (s->m->measure->agg != QUERY_CUSTOMERS) return 0;
    s->last = k_try_alloc_array(w->plan->range_size, sizeof *s->last);
    s->seen = k_try_alloc_array(w->plan->range_size, sizeof *s->seen);
    if (!s->last || !s->seen) FAIL(err, NO_MEMORY, "too little memory for unique customers");
    return 0;
}

static void state_close(void *state) {
    struct trend_state *s = state;
    splitter_close(&s->splitter);
    k_free(s->visits);
    counters_release(&s->n);
    sums_release(&s->sums);
    k_free(s->extreme);
    k_free(s->touched);
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    flat_release(&s->flat);
    pairs_release(&s->values);
    pairs_release(&s->last_of);
    k_free(s->last);
    k_free(s->seen);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct trend_state *s = state;
    pairs_clear(&s->last_of);
    if (s->last) memset(s->last, 0, r.count * sizeof *s->last);
    return s->m->twin ? 0 : splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    (void)r;
    struct trend_state *s = state;
    if (s->sums.failed) FAIL(err, NO_MEMORY, "too little memory for sums");
    return 0;
}

static struct splitter *splitter_of(struct worker *w, const struct trend_measure *m) {
    if (m->twin) m = m->twin;
    return &((struct trend_state *)machine_state(w, &m->machine))->splitter;
}

const struct groups *trend_groups(const struct worker *w, const struct trend_measure *m) {
    if (m->twin) m = m->twin;
    return &((const struct trend_state *)machine_state(w, &m->machine))->splitter.groups;
}

/* Room for the cells of all groups that exist. */
static int room(struct trend_state *s, struct keel_error *err) {
    uint64_t cells = (uint64_t)trend_groups(s->worker, s->m)->count * s->m->periods->n;
    if (cells <= s->cells) return 0;
    TRY(counters_room(&s->n, cells, err));
    uint32_t wanted = s->n.cap; /* grows by doubling */
    enum query_agg agg = s->m->measure->agg;
    if (is_sum(agg) && sums_resize(&s->sums, wanted) < 0)
        FAIL(err, NO_MEMORY, "too little memory for sums");
    if (is_extreme(agg)) {
        double *extreme = k_try_realloc(s->extreme, wanted * sizeof *extreme);
        if (!extreme) FAIL(err, NO_MEMORY, "too little memory for minima");
        for (uint32_t i = s->cells; i < wanted; i++) extreme[i] = NAN;
        s->extreme = extreme;
    }
    uint8_t *touched = k_try_realloc(s->touched, wanted);
    if (!touched) FAIL(err, NO_MEMORY, "too little memory for cells");
    memset(touched + s->cells, 0, wanted - s->cells);
    s->touched = touched;
    s->cells = wanted;
    return 0;
}

/* ---- unique customers ---- */

static int customer_in_group(struct trend_state *s, uint32_t slot, uint32_t group, uint32_t period,
                             struct keel_error *err) {
    bool is_new;
    uint32_t *last = pairs_at(&s->last_of, pair_key(slot, group), &is_new);
    if (!last) FAIL(err, LIMIT, "too many groups of customers: split by less");
    uint64_t *cells = s->n.n + (uint64_t)group * s->m->periods->n;
    uint32_t before = *last, over = s->m->over, n = s->m->periods->n;
    *last = period + 1;
    if (before == period + 1) return 0;
    if (over == 1) {
        cells[period]++;
        return 0;
    }
    /* He was in until `before` - 1 + over; from where on is he new, and until when now? */
    uint32_t until_before = before ? before - 1 + over : 0;
    uint32_t from = period > until_before ? period : until_before;
    if (from < n) cells[from]++;
    if (period + over < n) cells[period + over]--;
    return 0;
}

/* The group is the customer's: his last period tells all. */
static void count_plain(struct trend_state *s, const struct trend_visits *v) {
    uint64_t *counts = s->n.n;
    for (uint32_t k = 0; k < v->visits.n; k++) {
        uint32_t *last = &s->last[v->visits.slot[k]], period = v->visits.period[k] + 1;
        counts[v->cells[k]] += *last != period;
        *last = period;
    }
}

static void count_rolling(struct trend_state *s, const struct trend_visits *v) {
    uint32_t over = s->m->over, all = s->m->periods->n;
    for (uint32_t k = 0; k < v->visits.n; k++) {
        uint32_t *last = &s->last[v->visits.slot[k]], period = v->visits.period[k];
        if (*last == period + 1) continue;
        uint64_t *row = s->n.n + (v->cells[k] - period);
        uint32_t until_before = *last ? *last - 1 + over : 0;
        uint32_t from = period > until_before ? period : until_before;
        *last = period + 1;
        if (from < all) row[from]++;
        if (period + over < all) row[period + over]--;
    }
}

static int count_by_event(struct trend_state *s, const struct trend_visits *v,
                          struct keel_error *err) {
    const uint32_t small = s->m->over == 1 ? SMALL_GROUPS : 0, n = v->visits.n;
    uint32_t *const last = s->last; /* in registers: counting writes 64-bit words, too */
    uint64_t *const seen = s->seen, *const counts = s->n.n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t slot = v->visits.slot[k], period = v->visits.period[k], group = v->groups[k];
        if (__builtin_expect(group >= small, 0)) {
            TRY(customer_in_group(s, slot, group, period, err));
            continue;
        }
        uint64_t before = last[slot] == period + 1 ? seen[slot] : 0;
        counts[v->cells[k]] += ~before >> group & 1;
        seen[slot] = before | (uint64_t)1 << group;
        last[slot] = period + 1;
    }
    return 0;
}

/* The visits of the batch, found here or by the twin. */
static int find_visits(struct trend_state *s, struct feed *f, const struct trend_visits **out,
                       struct keel_error *err) {
    const struct trend_measure *m = s->m;
    if (m->twin) {
        const struct trend_state *twin = machine_state(s->worker, &m->twin->machine);
        *out = twin->visits;
        if (f->serial && twin->visits->serial == f->serial) return 0;
    }
    struct trend_visits *v = s->visits;
    struct splitter *splitter = splitter_of(s->worker, m);
    TRY(visits_find(&m->match, m->periods, splitter, s->worker, f, &v->visits, err));
    TRY(splitter_rows(splitter, f, v->visits.row, v->visits.n, v->groups, err));
    for (uint32_t k = 0; k < v->visits.n; k++)
        v->cells[k] = v->groups[k] * m->periods->n + v->visits.period[k];
    v->serial = f->serial;
    *out = v;
    return 0;
}

static int feed_visits(struct trend_state *s, struct feed *f, struct keel_error *err) {
    const struct trend_visits *v;
    TRY(find_visits(s, f, &v, err));
    if (v->visits.n == 0) return 0;
    TRY(room(s, err));
    if (s->m->measure->agg == QUERY_COUNT_OF) {
        uint64_t *const counts = s->n.n;
        const uint32_t n = v->visits.n - 1;
        for (uint32_t k = 0; k < n; k++)
            counts[v->cells[k]] += (uint32_t)v->visits.first[k + 1] - v->visits.first[k];
        counts[v->cells[n]] += v->visits.rows - v->visits.first[n];
        return 0;
    }
    if (s->m->over > 1)
        for (uint32_t k = 0; k < v->visits.n; k++) s->touched[v->cells[k]] = 1;
    if (s->m->splits.by_event) return count_by_event(s, v, err);
    if (s->m->over > 1)
        count_rolling(s, v);
    else
        count_plain(s, v);
    return 0;
}

/* ---- other measures ---- */

static int feed_flat(struct trend_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                     const uint32_t *cells, struct keel_error *err) {
    enum query_agg agg = s->m->measure->agg;
    if (agg == QUERY_UNIQUE)
        TRY(field_flat_ids(&s->reader, f, rows, n, &s->flat, err));
    else
        TRY(field_flat_numbers(&s->m->field, f, rows, n, &s->flat, err));
    for (uint32_t k = 0; k < s->flat.n; k++) {
        uint32_t cell = cells[s->flat.at[k]];
        if (agg == QUERY_UNIQUE) {
            bool is_new;
            if (!pairs_at(&s->values, pair_key(cell, s->flat.id[k]), &is_new))
                FAIL(err, LIMIT, "too many distinct values: narrow the question by a filter");
            continue;
        }
        double v = s->flat.number[k];
        if (is_sum(agg)) {
            sums_add(&s->sums, cell, v);
            s->n.n[cell]++;
        } else if (agg == QUERY_MIN ? !(s->extreme[cell] <= v) : !(s->extreme[cell] >= v)) {
            s->extreme[cell] = v;
        }
    }
    return 0;
}

static int feed_counts(struct trend_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                       const uint32_t *cells, struct keel_error *err) {
    uint32_t counts[CHUNK_ROWS];
    TRY(field_counts(&s->m->field, f, rows, n, counts, err));
    for (uint32_t k = 0; k < n; k++) s->n.n[cells[k]] += counts[k];
    return 0;
}

static void find_cells(struct trend_state *s, const struct feed *f, const uint16_t *rows,
                       uint32_t n, const uint32_t *groups, uint32_t *cells) {
    const struct periods *p = s->m->periods;
    uint8_t *touched = s->touched;
    for (uint32_t k = 0; k < n; k++) {
        cells[k] = groups[k] * p->n + period_of(p, f->time[rows[k]]);
        touched[cells[k]] = 1;
    }
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct trend_state *s = state;
    const struct periods *p = s->m->periods;
    if (s->m->by_visits) return feed_visits(s, f, err);
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], cells[CHUNK_ROWS], n;
    TRY(match_index(&s->m->match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    TRY(room(s, err));
    if (p->n == 1 && s->m->splits.n == 0) { /* a plain total */
        memset(cells, 0, n * sizeof *cells);
        s->touched[0] = 1;
    } else {
        find_cells(s, f, rows, n, groups, cells);
    }
    return s->m->measure->agg == QUERY_COUNT_OF ? feed_counts(s, f, rows, n, cells, err)
                                                : feed_flat(s, f, rows, n, cells, err);
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct trend_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

static bool same_events(const struct match *a, const struct match *b) {
    if (a->filter || b->filter || a->events.all != b->events.all || a->events.n != b->events.n)
        return false;
    return a->events.n == 0 ||
           memcmp(a->events.events, b->events.events, a->events.n * sizeof *a->events.events) == 0;
}

int trend_measure_new(struct plan *p, const struct query_measure *measure,
                      const struct periods *periods, struct span span, uint32_t over,
                      struct trend_measure *const *earlier, uint32_t n_earlier,
                      struct trend_measure **out, struct keel_error *err) {
    struct trend_measure *m = arena_zalloc(&p->arena, sizeof *m);
    m->machine = (struct machine){.ops = &OPS, .stage = 1, .span = {INT64_MAX, INT64_MIN}};
    m->machine.ordered = measure->agg == QUERY_CUSTOMERS && periods->n > 1;
    m->machine.bytes_per_customer = measure->agg == QUERY_CUSTOMERS ? 12 : 1;
    m->measure = measure;
    m->periods = periods;
    m->over = over;
    TRY(match_compile(p, &measure->event, span, &m->match, err));
    if (measure->has_prop) TRY(field_resolve(p, &measure->prop, &m->match.events, &m->field, err));
    TRY(splits_compile(p, &m->match.events, &m->splits, err));
    match_needs(p, &m->match, &m->machine);
    if (measure->has_prop) field_needs(p, &m->field, &m->machine);
    splits_needs(p, &m->splits, &m->machine);
    m->by_visits =
        !measure->has_prop && (measure->agg == QUERY_CUSTOMERS || measure->agg == QUERY_COUNT_OF);
    m->machine.blind = m->by_visits && match_blind(&m->match) && splits_blind(&m->splits);
    for (uint32_t i = 0; i < n_earlier && m->by_visits && !m->twin; i++)
        if (earlier[i]->by_visits && !earlier[i]->twin &&
            same_events(&earlier[i]->match, &m->match))
            m->twin = earlier[i];
    *out = m;
    return plan_add(p, &m->machine, err);
}
