/* Implementation of trend.h.
 *
 * Unique customers need no sets: a customer's events come in time order, so a customer is new in a
 * period when his last one is another. With groups by event, a word per customer holds the groups
 * (below 64) seen in the current period; other groups have a table. Rolling: a customer counts in
 * the `over` rows from each of his periods on; as changes from row to row that is one +1 where he
 * was not yet in, and the -1 moved along. */
#include "query/trend.h"

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
    TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    if (s->m->measure->agg != QUERY_CUSTOMERS) return 0;
    s->last = k_try_alloc_array(w->plan->range_size, sizeof *s->last);
    s->seen = k_try_alloc_array(w->plan->range_size, sizeof *s->seen);
    if (!s->last || !s->seen) FAIL(err, NO_MEMORY, "too little memory for unique customers");
    return 0;
}

static void state_close(void *state) {
    struct trend_state *s = state;
    splitter_close(&s->splitter);
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
    return splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    (void)r;
    struct trend_state *s = state;
    if (s->sums.failed) FAIL(err, NO_MEMORY, "too little memory for sums");
    return 0;
}

/* Room for the cells of all groups that exist. */
static int room(struct trend_state *s, struct keel_error *err) {
    uint64_t cells = (uint64_t)s->splitter.groups.count * s->m->periods->n;
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

/* The group is the customer's: his last period tells all. Without a branch: passing over the rows
 * of one visit by comparing with the row before cost half as much again (mispredicted ends). */
static void feed_plain(struct trend_state *s, const struct feed *f, const uint16_t *rows,
                       uint32_t n, const uint32_t *cells, const uint32_t *periods) {
    uint64_t *counts = s->n.n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t *last = &s->last[f->customer[rows[k]] - f->first];
        counts[cells[k]] += *last != periods[k] + 1;
        *last = periods[k] + 1;
    }
}

static void feed_rolling(struct trend_state *s, const struct feed *f, const uint16_t *rows,
                         uint32_t n, const uint32_t *cells, const uint32_t *periods) {
    uint32_t over = s->m->over, all = s->m->periods->n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t *last = &s->last[f->customer[rows[k]] - f->first], period = periods[k];
        if (*last == period + 1) continue;
        uint64_t *row = s->n.n + (cells[k] - period);
        uint32_t until_before = *last ? *last - 1 + over : 0;
        uint32_t from = period > until_before ? period : until_before;
        *last = period + 1;
        if (from < all) row[from]++;
        if (period + over < all) row[period + over]--;
    }
}

static int feed_customers(struct trend_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                          const uint32_t *groups, const uint32_t *periods, struct keel_error *err) {
    for (uint32_t k = 0; k < n; k++) {
        uint32_t slot = f->customer[rows[k]] - f->first, period = periods[k], group = groups[k];
        if (s->m->over == 1 && group < SMALL_GROUPS) {
            uint64_t before = s->last[slot] == period + 1 ? s->seen[slot] : 0;
            s->n.n[(uint64_t)group * s->m->periods->n + period] += ~before >> group & 1;
            s->seen[slot] = before | (uint64_t)1 << group;
            s->last[slot] = period + 1;
        } else {
            TRY(customer_in_group(s, slot, group, period, err));
        }
    }
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
    if (s->m->measure->has_prop) {
        TRY(field_counts(&s->m->field, f, rows, n, counts, err));
        for (uint32_t k = 0; k < n; k++) s->n.n[cells[k]] += counts[k];
        return 0;
    }
    /* By runs: adding one to the same cell again and again waits for the one before. */
    for (uint32_t k = 0, from; k < n; s->n.n[cells[from]] += k - from)
        for (from = k++; k < n && cells[k] == cells[from];) k++;
    return 0;
}

static void find_cells(struct trend_state *s, const struct feed *f, const uint16_t *rows,
                       uint32_t n, const uint32_t *groups, uint32_t *periods, uint32_t *cells) {
    const struct periods *p = s->m->periods;
    uint8_t *touched = s->touched;
    for (uint32_t k = 0; k < n; k++) {
        periods[k] = period_of(p, f->time[rows[k]]);
        cells[k] = groups[k] * p->n + periods[k];
        touched[cells[k]] = 1;
    }
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct trend_state *s = state;
    const struct periods *p = s->m->periods;
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], periods[CHUNK_ROWS], cells[CHUNK_ROWS], n;
    TRY(match_index(&s->m->match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    TRY(room(s, err));
    if (p->n == 1 && s->m->splits.n == 0) { /* a plain total */
        memset(periods, 0, n * sizeof *periods);
        memset(cells, 0, n * sizeof *cells);
        s->touched[0] = 1;
    } else {
        find_cells(s, f, rows, n, groups, periods, cells);
    }
    switch (s->m->measure->agg) {
    case QUERY_CUSTOMERS:
        if (s->m->splits.by_event) return feed_customers(s, f, rows, n, groups, periods, err);
        if (s->m->over > 1)
            feed_rolling(s, f, rows, n, cells, periods);
        else
            feed_plain(s, f, rows, n, cells, periods);
        return 0;
    case QUERY_COUNT_OF: return feed_counts(s, f, rows, n, cells, err);
    default: return feed_flat(s, f, rows, n, cells, err);
    }
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct trend_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

int trend_measure_new(struct plan *p, const struct query_measure *measure,
                      const struct periods *periods, struct span span, uint32_t over,
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
    *out = m;
    return plan_add(p, &m->machine, err);
}
