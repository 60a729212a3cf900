/* The form TREND: measures by period and group, each row over its own or the last few periods.
 *
 * The work is in trend_measure.c; here the workers' cells are added up and shown.
 *
 * Layers: trend.h. Threads: see form.h. Limits: cells as counters_room allows, RESULT_MAX_ROWS.
 */
#include "query/forms/trend.h"

#include <stdlib.h>

struct trend_form {
    struct form form;
    struct periods periods;
    uint32_t n;
    struct trend_measure *measures[QUERY_MAX_TERMS];
};

static int trend_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct trend_form *f = (struct trend_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    if (q->has_period)
        TRY(periods_init(&f->periods, p->zone, q->period, plan_span(p, span), &p->arena, err));
    else
        TRY(periods_whole(&f->periods, plan_span(p, span), &p->arena, err));
    f->n = q->trend.n_measures;
    uint32_t over = q->trend.over > 1 ? q->trend.over : 1;
    for (uint32_t i = 0; i < f->n; i++)
        TRY(trend_measure_new(p, &q->trend.measures[i], &f->periods, span, over, f->measures, i,
                              &f->measures[i], err));
    return 0;
}

/* ---- adding up ---- */

struct cells { /* of one measure, by merged group × period */
    uint64_t *n;
    struct sum *sums;
    double *extreme;
    uint8_t *touched;
    uint64_t count;
};

static void cells_release(struct cells *c) {
    k_free(c->n);
    k_free(c->sums);
    k_free(c->extreme);
    k_free(c->touched);
}

static int cells_init(struct cells *c, uint64_t count, enum query_agg agg, struct keel_error *err) {
    bool sums = agg == QUERY_SUM || agg == QUERY_AVG,
         extreme = agg == QUERY_MIN || agg == QUERY_MAX;
    *c = (struct cells){.count = count};
    c->n = k_try_zalloc((count + 1) * sizeof *c->n);
    c->touched = k_try_zalloc(count + 1);
    if (sums) c->sums = k_try_zalloc((count + 1) * sizeof *c->sums);
    if (extreme) c->extreme = k_try_alloc_array(count + 1, sizeof *c->extreme);
    if (!c->n || !c->touched || (sums && !c->sums) || (extreme && !c->extreme))
        FAIL(err, NO_MEMORY, "too little memory for %llu cells", (unsigned long long)count);
    for (uint64_t i = 0; extreme && i < count; i++) c->extreme[i] = NAN;
    return 0;
}

static void add_state(struct cells *c, const struct worker *w, const struct trend_measure *m,
                      const uint32_t *map, uint32_t periods) {
    const struct trend_state *s = machine_state(w, &m->machine);
    bool min = m->measure->agg == QUERY_MIN;
    uint64_t used = (uint64_t)trend_groups(w, m)->count * periods;
    for (uint64_t at = 0; at < used && at < s->cells; at++) {
        uint64_t to = map[at / periods] * (uint64_t)periods + at % periods;
        c->n[to] += s->n.n[at];
        c->touched[to] |= trend_touched(s, at);
        if (c->sums) {
            struct sum one = sums_get(&s->sums, (uint32_t)at);
            sum_merge(&c->sums[to], &one);
        }
        if (c->extreme) {
            double v = s->extreme[at];
            bool better = min ? v < c->extreme[to] : v > c->extreme[to];
            if (better || isnan(c->extreme[to])) c->extreme[to] = v;
        }
    }
}

/* A distinct value of a cell, under the merged numbers. */
struct seen_value {
    uint32_t group, id, period;
};

static int by_group_id_period(const void *a, const void *b) {
    const struct seen_value *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->id != y->id) return x->id < y->id ? -1 : 1;
    return (x->period > y->period) - (x->period < y->period);
}

/* Each value counts in the `over` rows from each of its periods on, once a row. */
static void count_rolling(struct cells *c, const struct seen_value *v, uint64_t n, uint32_t periods,
                          uint32_t over) {
    uint32_t until = 0;
    for (uint64_t i = 0; i < n; i++) {
        bool same = i > 0 && v[i].group == v[i - 1].group && v[i].id == v[i - 1].id;
        uint32_t from = same && until > v[i].period ? until : v[i].period;
        until = v[i].period + over;
        for (uint32_t p = from; p < until && p < periods; p++)
            c->n[(uint64_t)v[i].group * periods + p]++;
    }
}

/* UNIQUE: the workers' values overlap, so they are put together before they are counted. */
static int add_values(struct cells *c, const struct trend_measure *m, const struct worker *workers,
                      uint32_t n, uint32_t *const *map, struct keel_error *err) {
    uint32_t periods = m->periods->n;
    uint64_t total = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        total +=
            ((const struct trend_state *)machine_state(&workers[i], &m->machine))->values.count;
    struct seen_value *all = k_try_alloc_array(total + 1, sizeof *all);
    if (!all) FAIL(err, NO_MEMORY, "too little memory for distinct values");
    struct dict dict;
    dict_init(&dict);
    int code = 0;
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const struct trend_state *s = machine_state(&workers[i], &m->machine);
        uint32_t *ids;
        code = dict_merge(&dict, &s->dict, &ids, err);
        if (code < 0) break;
        for (uint64_t k = 0; k <= s->values.mask; k++) {
            if (!s->values.keys[k]) continue;
            uint64_t key = s->values.keys[k] - 1;
            uint32_t cell = (uint32_t)(key >> 32), id = (uint32_t)key;
            all[at++] = (struct seen_value){map[i][cell / periods], ids[id], cell % periods};
        }
        k_free(ids);
    }
    if (code == 0) {
        qsort(all, at, sizeof *all, by_group_id_period);
        count_rolling(c, all, at, periods, m->over);
    }
    dict_release(&dict);
    k_free(all);
    return code;
}

/* ---- showing ---- */

static uint64_t window_count(const struct cells *c, const struct trend_measure *m, uint64_t base,
                             uint32_t period) {
    uint64_t n = 0;
    uint32_t first = period + 1 > m->over ? period + 1 - m->over : 0;
    for (uint32_t p = first; p <= period; p++) n += c->n[base + p];
    return n;
}

static struct datum window_sum(const struct cells *c, const struct trend_measure *m, uint64_t base,
                               uint32_t period) {
    struct sum sum = {0};
    uint32_t first = period + 1 > m->over ? period + 1 - m->over : 0;
    for (uint32_t p = first; p <= period; p++) sum_merge(&sum, &c->sums[base + p]);
    if (m->measure->agg == QUERY_SUM) return datum_number(sum_value(&sum));
    uint64_t n = window_count(c, m, base, period);
    return n ? datum_number(sum_value(&sum) / (double)n) : datum_null();
}

static struct datum window_extreme(const struct cells *c, const struct trend_measure *m,
                                   uint64_t base, uint32_t period) {
    double best = NAN;
    bool min = m->measure->agg == QUERY_MIN;
    uint32_t first = period + 1 > m->over ? period + 1 - m->over : 0;
    for (uint32_t p = first; p <= period; p++) {
        double v = c->extreme[base + p];
        if (isnan(best) || (min ? v < best : v > best)) best = v;
    }
    if (isnan(best)) return datum_null();
    return m->field.kind == FIELD_TIME ? datum_time((int64_t)best) : datum_number(best);
}

static struct datum cell_value(const struct cells *c, const struct trend_measure *m, uint64_t base,
                               uint32_t period) {
    switch (m->measure->agg) {
    case QUERY_SUM:
    case QUERY_AVG: return window_sum(c, m, base, period);
    case QUERY_MIN:
    case QUERY_MAX: return window_extreme(c, m, base, period);
    case QUERY_CUSTOMERS: /* already rolled: see trend_measure.c; changes were summed up */
    case QUERY_UNIQUE: return datum_integer(c->n[base + period]);
    default: return datum_integer(window_count(c, m, base, period));
    }
}

/* Rolling customers were kept as changes from period to period. */
static void sum_changes(struct cells *c, uint32_t periods) {
    for (uint64_t at = 0; at < c->count; at++)
        if (at % periods) c->n[at] += c->n[at - 1];
}

/* Has some measure an event in this cell, or in the periods that its row looks at? */
static bool is_touched(const struct trend_form *f, const struct cells *cells, uint64_t base,
                       uint32_t period) {
    uint32_t over = f->form.plan->q->trend.over;
    uint32_t first = period + 1 > over ? period + 1 - over : 0;
    if (over == 0) first = period;
    for (uint32_t k = 0; k < f->n; k++)
        for (uint32_t p = first; p <= period; p++)
            if (cells[k].touched && cells[k].touched[base + p]) return true;
    return false;
}

/* From the first to the last period in which some measure has an event. */
static void shown_periods(const struct trend_form *f, const struct cells *cells, uint32_t *out_from,
                          uint32_t *out_to) {
    uint32_t n = f->periods.n;
    *out_from = n;
    *out_to = 0;
    for (uint32_t k = 0; k < f->n; k++)
        for (uint64_t at = 0; at < cells[k].count; at++) {
            if (!cells[k].touched || !cells[k].touched[at]) continue;
            uint32_t p = (uint32_t)(at % n);
            if (p < *out_from) *out_from = p;
            if (p + 1 > *out_to) *out_to = p + 1;
        }
}

static int show_row(const struct trend_form *f, const struct merged *m, const struct cells *cells,
                    uint32_t group, uint32_t period, struct result *out, struct keel_error *err) {
    struct datum row[QUERY_MAX_SPLITS + 1 + QUERY_MAX_TERMS], *at = row;
    if (f->form.plan->q->has_period) *at++ = period_datum(&f->periods, f->form.plan->zone, period);
    group_cells(&m->groups, group, at);
    at += m->groups.n_terms;
    for (uint32_t k = 0; k < f->n; k++)
        *at++ = cell_value(&cells[k], f->measures[k], (uint64_t)group * f->periods.n, period);
    return result_row(out, row, err);
}

static int show_rows(const struct trend_form *f, const struct merged *m, const struct cells *cells,
                     struct result *out, struct keel_error *err) {
    uint32_t from = 0, to = f->periods.n;
    bool split = m->groups.n_terms > 0;
    if (f->form.plan->q->has_period) shown_periods(f, cells, &from, &to);
    for (uint32_t p = from; p < to; p++)
        for (uint32_t i = 0; i < m->groups.count; i++) {
            uint32_t group = m->order[i];
            if (split && !is_touched(f, cells, (uint64_t)group * f->periods.n, p)) continue;
            TRY(show_row(f, m, cells, group, p, out, err));
        }
    return 0;
}

static int add_columns(const struct trend_form *f, struct result *out, struct keel_error *err) {
    const struct query *q = f->form.plan->q;
    if (q->has_period) TRY(add_period_column(q->period, out, err));
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    for (uint32_t k = 0; k < f->n; k++) {
        const struct trend_measure *m = f->measures[k];
        enum query_agg agg = m->measure->agg;
        bool whole = agg == QUERY_COUNT_OF || agg == QUERY_CUSTOMERS || agg == QUERY_UNIQUE;
        enum datum_type type = whole                         ? DATUM_INTEGER
                               : m->field.kind == FIELD_TIME ? DATUM_TIME
                                                             : DATUM_NUMBER;
        TRY(add_measure_column(m->measure, type, out, err));
    }
    return 0;
}

static int fill_cells(const struct trend_form *f, const struct merged *m,
                      const struct worker *workers, uint32_t n, uint32_t k, struct cells *cells,
                      struct keel_error *err) {
    const struct trend_measure *measure = f->measures[k];
    enum query_agg agg = measure->measure->agg;
    uint32_t *const *map = m->map + (size_t)k * n;
    TRY(cells_init(cells, (uint64_t)m->groups.count * f->periods.n, agg, err));
    for (uint32_t i = 0; i < n; i++) add_state(cells, &workers[i], measure, map[i], f->periods.n);
    if (agg == QUERY_UNIQUE) return add_values(cells, measure, workers, n, map, err);
    if (agg == QUERY_CUSTOMERS && measure->over > 1) sum_changes(cells, f->periods.n);
    return 0;
}

static int trend_answer(const struct form *form, struct worker *workers, uint32_t n,
                        struct result *out, struct keel_error *err) {
    const struct trend_form *f = (const struct trend_form *)form;
    TRY(add_columns(f, out, err));
    if (f->periods.n == 0) return 0;
    const struct groups **groups = k_alloc_array((size_t)n * f->n + 1, sizeof(struct groups *));
    for (uint32_t k = 0; k < f->n; k++)
        for (uint32_t i = 0; i < n; i++)
            groups[(size_t)k * n + i] = trend_groups(&workers[i], f->measures[k]);
    struct merged m;
    struct cells cells[QUERY_MAX_TERMS] = {{0}};
    int code = merged_init(&m, form->plan->q->n_splits, groups, n * f->n, err);
    for (uint32_t k = 0; k < f->n && code == 0; k++)
        code = fill_cells(f, &m, workers, n, k, &cells[k], err);
    if (code == 0) code = show_rows(f, &m, cells, out, err);
    for (uint32_t k = 0; k < f->n; k++) cells_release(&cells[k]);
    merged_release(&m);
    k_free(groups);
    return code;
}

const struct form_ops FORM_TREND = {
    .form_bytes = sizeof(struct trend_form),
    .plan = trend_plan,
    .answer = trend_answer,
};
