/* The forms of naive.h: every row by loops over customers and events. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "naive.h"
#include "query/moments.h"

enum { MAX_ROWS = 20000, MAX_KEY = 12, MAX_FACTS = 6 };

struct row {
    struct datum key[MAX_KEY];
    double fact[MAX_FACTS];
    uint32_t customers, last_root; /* distinct: customers come one after the other; root + 1 */
    double *list;
    uint32_t n_list, cap_list;
};

enum { STATES = 40, START = STATES, WON, LOST, ENDS };

struct rows {
    const struct naive *h;
    const struct query *q;
    /* MARKOV: steps between rows (and the ends), and what is shared out. */
    double steps[ENDS][ENDS], pooled;
    uint32_t n_key, n;
    struct row *row;
};

static struct row *find(struct rows *t, const struct datum *key) {
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t k = 0;
        while (k < t->n_key && datum_eq(&t->row[i].key[k], &key[k])) k++;
        if (k == t->n_key) return &t->row[i];
    }
    K_ASSERT_OP(t->n, <, MAX_ROWS);
    struct row *row = &t->row[t->n++];
    memset(row, 0, sizeof *row);
    if (t->n_key > 0) memcpy(row->key, key, t->n_key * sizeof *key);
    return row;
}

static void count_customer(struct row *row, uint32_t root) {
    row->customers += row->last_root != root + 1;
    row->last_root = root + 1;
}

static void push(struct row *row, double v) {
    if (row->n_list == row->cap_list) {
        row->cap_list = row->cap_list ? row->cap_list * 2 : 16;
        row->list = realloc(row->list, row->cap_list * sizeof *row->list);
    }
    row->list[row->n_list++] = v;
}

static uint32_t keys_compared; /* for the comparison below */

static int by_key(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    for (uint32_t k = 0; k < keys_compared; k++) {
        int sign = datum_cmp(&x->key[k], &y->key[k]);
        if (sign) return sign;
    }
    return 0;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_rows(struct rows *t) {
    keys_compared = t->n_key;
    if (t->n > 0) qsort(t->row, t->n, sizeof *t->row, by_key);
    for (uint32_t i = 0; i < t->n; i++)
        if (t->row[i].n_list > 0)
            qsort(t->row[i].list, t->row[i].n_list, sizeof(double), by_number);
}

static struct datum at_rank(const struct row *row, double percent) {
    if (row->n_list == 0) return datum_null();
    uint32_t rank = (uint32_t)ceil(row->n_list * percent / 100);
    return datum_number(row->list[rank ? rank - 1 : 0]);
}

static void put(struct result *out, const struct datum *cells, uint32_t n) {
    if (out->n_rows == 0 && out->n_columns == 0)
        for (uint32_t i = 0; i < n; i++) {
            char name[16];
            int length = snprintf(name, sizeof name, "c%u", i + 1);
            K_ASSERT(result_column(out, (struct str){name, (size_t)length}, DATUM_NULL, NULL) == 0);
        }
    K_ASSERT(result_row(out, cells, NULL) == 0);
}

static struct datum ratio(double a, double b) { return b > 0 ? datum_number(a / b) : datum_null(); }

/* The values of the splits, e: the event that has the properties. */
static void splits(const struct naive *h, const struct query *q, const struct naive_customer *c,
                   const struct query_event *of, uint32_t n_of, const struct naive_event *e,
                   struct datum *out) {
    for (uint32_t i = 0; i < q->n_splits; i++) {
        const struct query_term *t = &q->splits[i];
        struct datum values[NAIVE_MAX_VALUES];
        out[i] = datum_null();
        if (t->kind == QUERY_TERM_TRAIT) out[i] = naive_trait(h, c, &t->prop);
        if (t->kind == QUERY_TERM_MEASURE) out[i] = naive_measure(h, c, &t->measure);
        if (t->kind == QUERY_TERM_SEGMENT) {
            struct query_cond in = {.kind = QUERY_COND_SEGMENT, .segment = t->segment};
            out[i] = datum_bool(naive_holds(h, c, &in));
        }
        if (t->kind == QUERY_TERM_PROP && naive_values(h, &t->prop, of, n_of, e, values) > 0)
            out[i] = values[0];
    }
}

/* ---- count, list ---- */

static void count(struct rows *t, const struct naive_customer *c) {
    struct datum key[MAX_KEY];
    splits(t->h, t->q, c, NULL, 0, NULL, key);
    find(t, key)->fact[0]++;
}

static void count_show(struct rows *t, struct result *out) {
    sort_rows(t);
    if (t->n == 0 && t->n_key == 0) find(t, NULL);
    for (uint32_t i = 0; i < t->n; i++) {
        t->row[i].key[t->n_key] = datum_integer((uint64_t)t->row[i].fact[0]);
        put(out, t->row[i].key, t->n_key + 1);
    }
}

static struct datum term(const struct naive *h, const struct naive_customer *c,
                         const struct query_term *t) {
    return t->kind == QUERY_TERM_TRAIT ? naive_trait(h, c, &t->prop)
                                       : naive_measure(h, c, &t->measure);
}

static void list(const struct naive *h, const struct query *q, const struct naive_customer *c,
                 uint32_t n, struct result *out) {
    uint32_t order[NAIVE_MAX_EVENTS];
    for (uint32_t i = 0; i < n; i++) { /* insertion sort: stable */
        uint32_t at = i;
        for (; at > 0; at--) {
            int sign = 0;
            for (uint32_t k = 0; k < q->list.n_order && sign == 0; k++) {
                struct datum x = term(h, &c[order[at - 1]], &q->list.order[k]);
                struct datum y = term(h, &c[i], &q->list.order[k]);
                if ((x.type == DATUM_NULL) != (y.type == DATUM_NULL))
                    sign = x.type == DATUM_NULL ? 1 : -1;
                else
                    sign = datum_cmp(&x, &y) * (q->list.order[k].descending ? -1 : 1);
            }
            if (sign <= 0) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (uint32_t i = 0; i < n && (q->limit == 0 || i < q->limit); i++) {
        struct datum cells[QUERY_MAX_TERMS + 1];
        cells[0] = datum_str(str_from(h->name_of[c[order[i]].root]));
        for (uint32_t k = 0; k < q->list.n_columns; k++)
            cells[k + 1] = term(h, &c[order[i]], &q->list.columns[k]);
        put(out, cells, q->list.n_columns + 1);
    }
}

/* ---- funnel ---- */

static void funnel(struct rows *t, const struct naive_customer *c) {
    const struct query_funnel *f = &t->q->funnel;
    const struct naive_event *chain[QUERY_MAX_EVENTS];
    uint32_t level = naive_funnel(t->h, c, f, &t->q->range, chain);
    if (level == 0) return;
    struct datum key[MAX_KEY];
    splits(t->h, t->q, c, f->steps, f->any_order ? f->n_steps : 1, chain[0], key);
    for (uint32_t k = 0; k < f->n_steps; k++) {
        key[t->q->n_splits] = datum_integer(k + 1);
        struct row *row = find(t, key);
        if (level > k) row->fact[0]++;
        if (level > k && k > 0) push(row, (double)(chain[k]->time - chain[k - 1]->time) / 1e3);
    }
}

static void funnel_show(struct rows *t, struct result *out) {
    const struct query_funnel *f = &t->q->funnel;
    uint32_t s = t->q->n_splits;
    for (uint32_t k = 0; t->n < f->n_steps && s == 0; k++) {
        struct datum key = datum_integer(k + 1);
        find(t, &key);
    }
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct row *row = &t->row[i];
        uint32_t k = (uint32_t)row->key[s].integer - 1;
        struct datum cells[MAX_KEY];
        memcpy(cells, row->key, (s + 1) * sizeof *cells);
        char name[64] = "any event";
        const struct query_event *e = &f->steps[k];
        if (e->kind == QUERY_EVENT_TRACK) snprintf(name, sizeof name, "%.*s", STR_ARG(e->name));
        if (e->kind == QUERY_EVENT_PAGE) snprintf(name, sizeof name, "page");
        if (e->kind == QUERY_EVENT_PAGE && e->has_name)
            snprintf(name, sizeof name, "page \"%.*s\"", STR_ARG(e->name));
        if (e->kind == QUERY_EVENT_IDENTIFY) snprintf(name, sizeof name, "identify");
        if (f->any_order && k + 1 < f->n_steps)
            snprintf(name, sizeof name, "any %u of %u", k + 1, f->n_steps);
        else if (f->any_order)
            snprintf(name, sizeof name, "all %u", f->n_steps);
        cells[s + 1] = datum_str(str_from(name));
        cells[s + 2] = datum_integer((uint64_t)row->fact[0]);
        cells[s + 3] = ratio(row->fact[0], t->row[i - k].fact[0]);
        cells[s + 4] = at_rank(row, 50);
        put(out, cells, s + 5);
    }
}

/* ---- retention, repeat ---- */

static bool did_in(const struct naive *h, const struct query *q, const struct query_event *event,
                   const struct naive_customer *c, int64_t number) {
    for (uint32_t i = 0; i < c->n; i++)
        if (naive_in(h, &q->range, c->e[i]) && naive_matches(h, event, c->e[i]) &&
            naive_period(h, q->period, c->e[i]->time) == number)
            return true;
    return false;
}

/* The last moment of the range; of one without an end, not behind the last event. */
static int64_t last_moment(const struct naive *h, const struct query_range *r) {
    int64_t last = range_span(h->zone, r, h->at_ms).to_ms - 1, event = INT64_MIN;
    if (r->kind != QUERY_RANGE_ALL && (r->kind != QUERY_RANGE_SPAN || r->has_to)) return last;
    for (uint32_t i = 0; i < h->n; i++)
        if (h->events[i].time > event) event = h->events[i].time;
    return event < last ? event : last;
}

static void cohort(struct rows *t, const struct naive_customer *c, int64_t start) {
    const struct query *q = t->q;
    int64_t last = naive_period(t->h, q->period, last_moment(t->h, &q->range));
    struct datum key[MAX_KEY];
    splits(t->h, q, c, NULL, 0, NULL, key);
    key[q->n_splits] = naive_period_cell(q->period, start);
    for (int64_t k = 0; start + k <= last; k++) {
        if (q->retention.periods && k > q->retention.periods) break;
        key[q->n_splits + 1] = datum_integer((uint64_t)k);
        struct row *row = find(t, key);
        row->fact[0]++;
        row->fact[1] += did_in(t->h, q, &q->retention.to, c, start + k);
    }
}

static void retention(struct rows *t, const struct naive_customer *c) {
    int64_t before = INT64_MIN;
    for (uint32_t i = 0; i < c->n; i++) {
        if (!naive_in(t->h, &t->q->range, c->e[i])) continue;
        if (!naive_matches(t->h, &t->q->retention.from, c->e[i])) continue;
        int64_t number = naive_period(t->h, t->q->period, c->e[i]->time);
        if (number == before) continue;
        before = number;
        cohort(t, c, number);
        if (t->q->retention.start == QUERY_START_FIRST) return;
    }
}

static void retention_show(struct rows *t, struct result *out) {
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        struct datum *key = t->row[i].key;
        key[t->n_key] = datum_integer((uint64_t)t->row[i].fact[0]);
        key[t->n_key + 1] = datum_integer((uint64_t)t->row[i].fact[1]);
        key[t->n_key + 2] = ratio(t->row[i].fact[1], t->row[i].fact[0]);
        put(out, key, t->n_key + 3);
    }
}

static void repeat_each(struct rows *t, const struct naive_customer *c, bool empty) {
    const struct query *q = t->q;
    struct span span = range_span(t->h->zone, &q->range, t->h->at_ms);
    if (span_empty(span)) return;
    int64_t first = naive_period(t->h, q->period, span.from_ms);
    int64_t last = naive_period(t->h, q->period, span.to_ms - 1);
    if (!empty && !did_in(t->h, q, &q->repeat.event, c, first)) return;
    struct datum key[MAX_KEY];
    if (!empty) splits(t->h, q, c, NULL, 0, NULL, key);
    for (int64_t k = first; k <= last; k++) {
        key[q->n_splits] = naive_period_cell(q->period, k);
        struct row *row = find(t, key);
        if (empty) continue;
        row->fact[0]++;
        row->fact[1] += did_in(t->h, q, &q->repeat.event, c, k);
    }
}

static void repeat_show(struct rows *t, struct result *out) {
    if (t->q->n_splits == 0) repeat_each(t, NULL, true);
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        struct datum *key = t->row[i].key;
        key[t->n_key] = datum_integer((uint64_t)t->row[i].fact[1]);
        key[t->n_key + 1] = ratio(t->row[i].fact[1], t->row[i].fact[0]);
        put(out, key, t->n_key + 2);
    }
}

/* ---- lifecycle ---- */

static bool active_in(const struct rows *t, const struct naive_customer *c, int64_t from,
                      int64_t to) {
    const struct query *q = t->q;
    int64_t end = range_span(t->h->zone, &q->range, t->h->at_ms).to_ms;
    for (uint32_t i = 0; i < c->n; i++) {
        int64_t p = naive_period(t->h, q->period, c->e[i]->time);
        if (c->e[i]->time >= end || p < from || p > to) continue;
        for (uint32_t k = 0; k < q->lifecycle.n_events; k++)
            if (naive_matches(t->h, &q->lifecycle.events[k], c->e[i])) return true;
    }
    return false;
}

/* False if no period is shown. */
static bool lifecycle_shown(const struct rows *t, int64_t *first, int64_t *last) {
    int64_t from = range_span(t->h->zone, &t->q->range, t->h->at_ms).from_ms, min = INT64_MAX;
    for (uint32_t i = 0; i < t->h->n; i++)
        if (t->h->events[i].time < min) min = t->h->events[i].time;
    from = from < min ? min : from;
    int64_t to = last_moment(t->h, &t->q->range);
    if (t->h->n == 0 || from > to) return false;
    *first = naive_period(t->h, t->q->period, from);
    *last = naive_period(t->h, t->q->period, to);
    return true;
}

static void lifecycle(struct rows *t, const struct naive_customer *c) {
    int64_t first, last;
    struct datum key[MAX_KEY];
    if (!lifecycle_shown(t, &first, &last)) return;
    splits(t->h, t->q, c, NULL, 0, NULL, key + 1);
    for (int64_t p = first; p <= last; p++) {
        bool now = active_in(t, c, p, p), just = active_in(t, c, p - 1, p - 1);
        bool before = active_in(t, c, INT64_MIN, p - 1);
        if (!now && !before) continue;
        key[0] = naive_period_cell(t->q->period, p);
        struct row *row = find(t, key);
        row->fact[0] += now;
        row->fact[1] += now && !before;
        row->fact[2] += now && just;
        row->fact[3] += now && before && !just;
        row->fact[4] += !now && just;
        row->fact[5] += !now && before && !just;
    }
}

static void lifecycle_show(struct rows *t, struct result *out) {
    int64_t first, last;
    if (t->q->n_splits == 0 && lifecycle_shown(t, &first, &last))
        for (int64_t p = first; p <= last; p++) {
            struct datum key = naive_period_cell(t->q->period, p);
            find(t, &key);
        }
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        for (uint32_t k = 0; k < 6; k++)
            t->row[i].key[t->n_key + k] = datum_integer((uint64_t)t->row[i].fact[k]);
        put(out, t->row[i].key, t->n_key + 6);
    }
}

/* ---- trend ---- */

/* The events of all customers that count for a measure in a window of periods and a group: as if
 * they were one customer's, so that naive_measure does the rest. */
static uint32_t gather(const struct rows *t, const struct naive_customer *c, uint32_t n,
                       const struct query_measure *m, int64_t from, int64_t to,
                       const struct datum *group, const struct naive_event **out,
                       uint32_t *out_customers) {
    uint32_t found = 0;
    *out_customers = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t before = found;
        for (uint32_t k = 0; k < c[i].n; k++) {
            const struct naive_event *e = c[i].e[k];
            if (!naive_in(t->h, &t->q->range, e) || !naive_matches(t->h, &m->event, e)) continue;
            int64_t p = t->q->has_period ? naive_period(t->h, t->q->period, e->time) : 0;
            if (p < from || p > to) continue;
            struct datum key[MAX_KEY];
            splits(t->h, t->q, &c[i], &m->event, 1, e, key);
            bool same = true;
            for (uint32_t s = 0; s < t->q->n_splits; s++) same &= datum_eq(&key[s], &group[s]);
            if (same) out[found++] = e;
        }
        *out_customers += found > before;
    }
    return found;
}

static void trend_row(const struct rows *t, const struct naive_customer *c, uint32_t n,
                      int64_t period, const struct datum *group, bool always, struct result *out) {
    static const struct naive_event *events[NAIVE_MAX_EVENTS];
    const struct query *q = t->q;
    int64_t from = q->trend.over > 1 ? period - q->trend.over + 1 : period;
    struct datum cells[MAX_KEY + QUERY_MAX_TERMS], *at = cells;
    if (q->has_period) *at++ = naive_period_cell(q->period, period);
    for (uint32_t i = 0; i < q->n_splits; i++) *at++ = group[i];
    uint32_t any = 0;
    for (uint32_t k = 0; k < q->trend.n_measures; k++) {
        const struct query_measure *m = &q->trend.measures[k];
        uint32_t customers, found = gather(t, c, n, m, from, period, group, events, &customers);
        any += found;
        struct naive_customer all = {0, events, found};
        struct datum v =
            m->agg == QUERY_CUSTOMERS ? datum_number(customers) : naive_measure(t->h, &all, m);
        bool whole =
            m->agg == QUERY_CUSTOMERS || m->agg == QUERY_COUNT_OF || m->agg == QUERY_UNIQUE;
        *at++ = whole ? datum_integer((uint64_t)v.number) : v;
    }
    if (any > 0 || always) put(out, cells, (uint32_t)(at - cells));
}

static void trend(struct rows *t, const struct naive_customer *c, uint32_t n, struct result *out) {
    const struct query *q = t->q;
    int64_t first = INT64_MAX, last = INT64_MIN;
    t->n_key = q->n_splits;
    for (uint32_t k = 0; k < q->trend.n_measures; k++)
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; j < c[i].n; j++) {
                const struct naive_event *e = c[i].e[j];
                const struct query_event *event = &q->trend.measures[k].event;
                if (!naive_in(t->h, &q->range, e) || !naive_matches(t->h, event, e)) continue;
                int64_t p = q->has_period ? naive_period(t->h, q->period, e->time) : 0;
                first = p < first ? p : first;
                last = p > last ? p : last;
                struct datum key[MAX_KEY];
                splits(t->h, q, &c[i], event, 1, e, key);
                find(t, key);
            }
    sort_rows(t);
    if (!q->has_period && q->n_splits == 0) {
        trend_row(t, c, n, 0, NULL, true, out);
        return;
    }
    for (int64_t p = first; p <= last && t->n > 0; p++)
        for (uint32_t i = 0; i < t->n; i++)
            trend_row(t, c, n, p, t->row[i].key, q->n_splits == 0, out);
}

/* ---- time ---- */

static void times(struct rows *t, const struct naive_customer *c) {
    const struct query *q = t->q;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct naive_event *a = c->e[i], *best = NULL;
        if (!naive_in(t->h, &q->range, a) || !naive_matches(t->h, &q->time.from, a)) continue;
        for (uint32_t j = 0; j < c->n; j++) {
            const struct naive_event *b = c->e[j];
            if (j == i || b->time < a->time || !naive_in(t->h, &q->range, b)) continue;
            if (!naive_matches(t->h, &q->time.to, b)) continue;
            if (!best || b->time < best->time) best = b;
        }
        if (best && best->time - a->time <= duration_ms(q->time.within)) {
            struct datum key[MAX_KEY];
            splits(t->h, q, c, &q->time.from, 1, a, key);
            struct row *row = find(t, key);
            count_customer(row, c->root);
            push(row, (double)(best->time - a->time) / 1e3);
        }
        if (q->time.start == QUERY_START_FIRST) return;
    }
}

static void times_show(struct rows *t, struct result *out) {
    if (t->n == 0 && t->n_key == 0) find(t, NULL);
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        struct datum cells[MAX_KEY + QUERY_MAX_PERCENTILES];
        uint32_t n = t->n_key;
        memcpy(cells, t->row[i].key, n * sizeof *cells);
        cells[n++] = datum_integer(t->row[i].customers);
        cells[n++] = datum_integer(t->row[i].n_list);
        for (uint32_t k = 0; k < t->q->time.n_percentiles; k++)
            cells[n++] = at_rank(&t->row[i], t->q->time.percentiles[k]);
        put(out, cells, n);
    }
}

/* ---- paths, sessions ---- */

/* The customer's events that are there at all. */
static uint32_t alphabet(const struct rows *t, const struct naive_customer *c,
                         const struct query_event *of, uint32_t n_of,
                         const struct naive_event **out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        bool counts = n_of == 0;
        for (uint32_t k = 0; k < n_of; k++) counts |= naive_matches(t->h, &of[k], c->e[i]);
        if (counts && naive_in(t->h, &t->q->range, c->e[i])) out[n++] = c->e[i];
    }
    return n;
}

static void paths(struct rows *t, const struct naive_customer *c) {
    static const struct naive_event *e[NAIVE_MAX_EVENTS];
    const struct query *q = t->q;
    uint32_t n = alphabet(t, c, q->paths.alphabet, q->paths.n_alphabet, e),
             length = q->paths.length;
    for (uint32_t i = 0; i + length <= n; i++) {
        bool whole = true;
        for (uint32_t k = 1; k < length; k++)
            whole &= e[i + k]->time - e[i + k - 1]->time <= duration_ms(q->paths.within);
        if (q->paths.has_start) whole = whole && naive_matches(t->h, &q->paths.start, e[i]);
        if (q->paths.has_end)
            whole = whole && naive_matches(t->h, &q->paths.end, e[i + length - 1]);
        if (!whole) continue;
        struct datum key[MAX_KEY];
        for (uint32_t k = 0; k < length; k++) key[k] = naive_label(e[i + k]);
        struct row *row = find(t, key);
        row->fact[0]++;
        count_customer(row, c->root);
    }
}

static int by_fact(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    double m = round(x->fact[0] * 1e6), n = round(y->fact[0] * 1e6); /* sums in another order */
    if (m != n) return m > n ? -1 : 1;
    return by_key(a, b);
}

static void paths_show(struct rows *t, struct result *out) {
    keys_compared = t->n_key;
    if (t->n > 0) qsort(t->row, t->n, sizeof *t->row, by_fact);
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *row = &t->row[i];
        row->key[t->n_key] = datum_integer((uint64_t)row->fact[0]);
        row->key[t->n_key + 1] = datum_integer(row->customers);
        if (t->q->limit == 0 || i < t->q->limit) put(out, row->key, t->n_key + 2);
    }
}

/* Does event n have another value than the latest before it in the session that has one? */
static bool changes(const struct naive *h, const struct query *q, const struct query_event *of,
                    uint32_t n_of, const struct naive_event *const *e, uint32_t n) {
    struct datum now[NAIVE_MAX_VALUES], before[NAIVE_MAX_VALUES];
    const struct query_prop *p = &q->sessions.change;
    if (naive_values(h, p, of, n_of, e[n], now) == 0) return false;
    for (uint32_t i = n; i-- > 0;)
        if (naive_values(h, p, of, n_of, e[i], before) > 0) return !datum_eq(&before[0], &now[0]);
    return true;
}

static void sessions(struct rows *t, const struct naive_customer *c) {
    static const struct naive_event *e[NAIVE_MAX_EVENTS];
    static const struct query_event any = {.kind = QUERY_EVENT_ANY};
    const struct query *q = t->q;
    uint32_t n = alphabet(t, c, q->sessions.alphabet, q->sessions.n_alphabet, e);
    const struct query_event *of = q->sessions.n_alphabet ? q->sessions.alphabet : &any;
    uint32_t n_of = q->sessions.n_alphabet ? q->sessions.n_alphabet : 1;
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n;) {
            if (e[end]->time - e[end - 1]->time > duration_ms(q->sessions.gap)) break;
            if (q->sessions.has_change && changes(t->h, q, of, n_of, e + i, end - i)) break;
            end++;
        }
        struct datum key[MAX_KEY], *at = key;
        if (q->has_period)
            *at++ = naive_period_cell(q->period, naive_period(t->h, q->period, e[i]->time));
        splits(t->h, q, c, of, n_of, e[i], at);
        struct row *row = find(t, key);
        row->fact[0]++;
        row->fact[1] += end == i + 1;
        row->fact[2] += end - i;
        row->fact[3] += (double)(e[end - 1]->time - e[i]->time) / 1e3;
        count_customer(row, c->root);
    }
}

static void sessions_show(struct rows *t, struct result *out) {
    if (t->n == 0 && t->n_key == 0) find(t, NULL);
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *row = &t->row[i];
        struct datum *at = row->key + t->n_key;
        for (uint32_t k = 0; k < 3; k++) *at++ = datum_integer((uint64_t)row->fact[k]);
        *at++ = datum_integer(row->customers);
        *at++ = datum_number(row->fact[3]);
        *at++ = ratio(row->fact[3], row->fact[0]);
        put(out, row->key, t->n_key + 6);
    }
}

/* ---- attribute, rfm, top ---- */

/* The share of touch i among n; at most one touch of each value has one with SHAPLEY. */
static double touch_share(const struct query *q, const struct naive_event *const *touch,
                          const struct datum *key, uint32_t n, uint32_t i) {
    double all = 0, own = 0;
    for (uint32_t j = 0; j < n; j++) {
        double w = 1;
        switch (q->attribute.model) {
        case QUERY_MODEL_LAST: w = j == n - 1; break;
        case QUERY_MODEL_FIRST: w = j == 0; break;
        case QUERY_MODEL_POSITION:
            w = n == 1 ? 1 : n == 2 ? 0.5 : j == 0 || j == n - 1 ? 0.4 : 0.2 / (n - 2);
            break;
        case QUERY_MODEL_DECAY: /* relative to the last: the others' ratio to it is the meaning */
            w = pow(0.5, (double)(touch[n - 1]->time - touch[j]->time) /
                             (double)duration_ms(q->attribute.half_life));
            break;
        case QUERY_MODEL_SHAPLEY:
            for (uint32_t k = 0; k < j; k++)
                if (datum_eq(&key[k], &key[j])) w = 0;
            break;
        default: break;
        }
        all += w;
        if (j == i) own = w;
    }
    return own / all;
}

/* One journey of n touches, by the rows of their values. */
static void enter_journey(struct rows *t, const uint32_t *row, uint32_t n, uint32_t end) {
    uint32_t at = START;
    for (uint32_t i = 0; i < n; i++) {
        t->steps[at][row[i]]++;
        at = row[i];
    }
    t->steps[at][end]++;
}

static uint32_t row_number(struct rows *t, const struct datum *key) {
    struct row *row = find(t, key);
    K_ASSERT_OP(t->n, <, STATES);
    return (uint32_t)(row - t->row);
}

static bool is_touch(const struct rows *t, const struct naive_event *e) {
    for (uint32_t k = 0; k < t->q->attribute.n_touches; k++)
        if (naive_matches(t->h, &t->q->attribute.touches[k], e)) return true;
    return false;
}

/* The touches of a customer that no conversion followed, run by run. */
static void lost_journeys(struct rows *t, const struct naive_customer *c) {
    static uint32_t run[NAIVE_MAX_EVENTS];
    const struct query *q = t->q;
    int64_t within = duration_ms(q->attribute.within), last = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct naive_event *e = c->e[i];
        bool followed = false;
        if (!is_touch(t, e) || !naive_in(t->h, &q->range, e)) continue;
        for (uint32_t j = 0; j < c->n; j++)
            followed |= c->e[j]->time >= e->time && c->e[j]->time - e->time <= within &&
                        naive_in(t->h, &q->range, c->e[j]) &&
                        naive_matches(t->h, &q->attribute.measure.event, c->e[j]);
        if (n > 0 && (followed || e->time - last > within)) {
            enter_journey(t, run, n, LOST);
            n = 0;
        }
        if (followed) continue;
        struct datum key[MAX_KEY];
        splits(t->h, q, c, q->attribute.touches, q->attribute.n_touches, e, key);
        run[n++] = row_number(t, key);
        last = e->time;
    }
    if (n > 0) enter_journey(t, run, n, LOST);
}

/* How likely a journey converts, if whoever comes to the state `without` is lost: the linear
 * equations of the chain, eliminated with pivots. */
static double converts(const struct rows *t, uint32_t without) {
    static double a[ENDS][ENDS + 1];
    memset(a, 0, sizeof a);
    for (uint32_t i = 0; i <= START; i++) {
        double all = 0;
        for (uint32_t k = 0; k < ENDS; k++) all += t->steps[i][k];
        a[i][i] = 1;
        if (all == 0 || i == without) continue;
        for (uint32_t k = 0; k <= START; k++) a[i][k] -= t->steps[i][k] / all;
        a[i][ENDS] = t->steps[i][WON] / all;
    }
    for (uint32_t k = 0; k <= START; k++) {
        uint32_t best = k;
        for (uint32_t i = k + 1; i <= START; i++)
            if (fabs(a[i][k]) > fabs(a[best][k])) best = i;
        for (uint32_t j = 0; j <= ENDS; j++) {
            double swap = a[k][j];
            a[k][j] = a[best][j];
            a[best][j] = swap;
        }
        for (uint32_t i = 0; i <= START; i++) {
            double by = a[i][k] / a[k][k];
            for (uint32_t j = k; i != k && j <= ENDS; j++) a[i][j] -= by * a[k][j];
        }
    }
    return a[START][ENDS] / a[START][START];
}

static void share_out(struct rows *t) {
    double all = 0, whole = converts(t, ENDS), effect[STATES] = {0};
    for (uint32_t i = 0; i < t->n; i++) all += effect[i] = whole - converts(t, i);
    for (uint32_t i = 0; i < t->n && all > 0; i++) t->row[i].fact[0] += t->pooled * effect[i] / all;
    for (uint32_t i = 0; i < t->n; i++) /* of lost journeys only */
        while (i < t->n && t->row[i].fact[1] == 0) t->row[i] = t->row[--t->n];
}

static void attribute(struct rows *t, const struct naive_customer *c) {
    static const struct naive_event *touch[NAIVE_MAX_EVENTS];
    static struct datum key[NAIVE_MAX_EVENTS];
    const struct query *q = t->q;
    const struct query_measure *m = &q->attribute.measure;
    int64_t within = duration_ms(q->attribute.within);
    bool one = q->attribute.model == QUERY_MODEL_LAST || q->attribute.model == QUERY_MODEL_FIRST;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct naive_event *e = c->e[i];
        uint32_t n = 0;
        if (!naive_in(t->h, &q->range, e) || !naive_matches(t->h, &m->event, e)) continue;
        for (uint32_t j = 0; j < c->n; j++) {
            if (!is_touch(t, c->e[j]) || j == i || c->e[j]->time > e->time ||
                e->time - c->e[j]->time > within)
                continue;
            struct datum values[MAX_KEY];
            splits(t->h, q, c, q->attribute.touches, q->attribute.n_touches, c->e[j], values);
            key[n] = values[0];
            touch[n++] = c->e[j];
        }
        struct naive_customer alone = {0, &c->e[i], 1};
        double amount = naive_measure(t->h, &alone, m).number;
        struct datum none = datum_null();
        bool markov = q->attribute.model == QUERY_MODEL_MARKOV && n > 0;
        if (markov) {
            static uint32_t path[NAIVE_MAX_EVENTS];
            for (uint32_t k = 0; k < n; k++) path[k] = row_number(t, &key[k]);
            enter_journey(t, path, n, WON);
            t->pooled += amount;
        }
        for (uint32_t k = 0; k < n || k == 0; k++) {
            double share = markov ? 0 : n ? touch_share(q, touch, key, n, k) : 1;
            if (one && share == 0) continue;
            struct row *row = find(t, n ? &key[k] : &none);
            row->fact[0] += amount * share;
            bool met = row->last_root == c->root + 1 && row->fact[2] == (double)(i + 1);
            row->fact[1] += !met; /* one conversion counts once in a row */
            row->fact[2] = (double)(i + 1);
            count_customer(row, c->root);
        }
    }
    if (q->attribute.model == QUERY_MODEL_MARKOV) lost_journeys(t, c);
}

static void attribute_show(struct rows *t, struct result *out) {
    if (t->q->attribute.model == QUERY_MODEL_MARKOV) share_out(t);
    bool shared = t->q->attribute.model > QUERY_MODEL_FIRST;
    keys_compared = t->n_key;
    if (t->n > 0) qsort(t->row, t->n, sizeof *t->row, by_fact);
    for (uint32_t i = 0; i < t->n && (t->q->limit == 0 || i < t->q->limit); i++) {
        struct row *row = &t->row[i];
        row->key[1] = datum_number(shared ? round(row->fact[0] * 1e6) / 1e6 : row->fact[0]);
        row->key[2] = datum_integer((uint64_t)row->fact[1]);
        row->key[3] = datum_integer(row->customers);
        put(out, row->key, 4);
    }
}

static void rfm(struct rows *t, const struct naive_customer *c) {
    const struct query *q = t->q;
    struct span span = range_span(t->h->zone, &q->range, t->h->at_ms);
    uint32_t n = 0;
    int64_t last = 0;
    for (uint32_t i = 0; i < c->n; i++)
        if (naive_in(t->h, &q->range, c->e[i]) && naive_matches(t->h, &q->rfm.event, c->e[i])) {
            n++;
            last = c->e[i]->time;
        }
    if (n == 0) return;
    struct query_measure sum = {.agg = QUERY_SUM,
                                .event = q->rfm.event,
                                .has_prop = true,
                                .prop = q->rfm.prop,
                                .range = q->range};
    double value = naive_measure(t->h, c, &sum).number;
    uint64_t r = 1, f = 1, v = 1;
    for (uint32_t i = 0; i < q->rfm.n_recency; i++)
        r += last >= span.to_ms - duration_ms(q->rfm.recency[i]);
    for (uint32_t i = 0; i < q->rfm.n_frequency; i++) f += q->rfm.frequency[i] <= n;
    for (uint32_t i = 0; i < q->rfm.n_value; i++) v += q->rfm.value[i] <= value;
    struct datum key[MAX_KEY] = {datum_integer(r), datum_integer(f), datum_integer(v)};
    struct row *row = find(t, key);
    row->fact[0]++;
    row->fact[1] += value;
}

static void rfm_show(struct rows *t, struct result *out) {
    sort_rows(t);
    for (uint32_t i = 0; i < t->n; i++) {
        t->row[i].key[3] = datum_integer((uint64_t)t->row[i].fact[0]);
        t->row[i].key[4] = datum_number(t->row[i].fact[1]);
        put(out, t->row[i].key, 5);
    }
}

static void top_event(struct rows *t, const struct naive_customer *c, const struct naive_event *e) {
    const struct query *q = t->q;
    struct datum values[NAIVE_MAX_VALUES], numbers[NAIVE_MAX_VALUES];
    uint32_t n = naive_values(t->h, &q->top.prop, &q->top.event, 1, e, values);
    uint32_t n_numbers = 0;
    bool same = str_starts(q->top.prop.path, STR("products.")) &&
                str_starts(q->top.rank_prop.path, STR("products."));
    if (q->top.rank == QUERY_RANK_SUM && !same)
        n_numbers = naive_values(t->h, &q->top.rank_prop, &q->top.event, 1, e, numbers);
    for (uint32_t k = 0; k < n; k++) {
        struct row *row = find(t, &values[k]);
        row->fact[1]++;
        count_customer(row, c->root);
        for (uint32_t i = 0; i < n_numbers; i++)
            if (numbers[i].type == DATUM_NUMBER) row->fact[0] += numbers[i].number;
    }
    if (q->top.rank != QUERY_RANK_SUM || !same) return;
    struct str path = {q->top.prop.path.p + 9, q->top.prop.path.n - 9};
    struct str rank = {q->top.rank_prop.path.p + 9, q->top.rank_prop.path.n - 9};
    for (uint32_t i = 0; i < e->n_items; i++)
        for (uint32_t a = 0; a < e->n_item_fields[i]; a++)
            for (uint32_t b = 0; b < e->n_item_fields[i]; b++)
                if (str_is(path, e->items[i][a].name) && str_is(rank, e->items[i][b].name) &&
                    e->items[i][b].value.type == DATUM_NUMBER)
                    find(t, &e->items[i][a].value)->fact[0] += e->items[i][b].value.number;
}

static void top(struct rows *t, const struct naive_customer *c) {
    for (uint32_t i = 0; i < c->n; i++)
        if (naive_in(t->h, &t->q->range, c->e[i]) && naive_matches(t->h, &t->q->top.event, c->e[i]))
            top_event(t, c, c->e[i]);
}

static void top_show(struct rows *t, struct result *out) {
    keys_compared = 1;
    for (uint32_t i = 0; i < t->n; i++) {
        struct row *row = &t->row[i];
        if (t->q->top.rank == QUERY_RANK_EVENTS) row->fact[0] = row->fact[1];
        if (t->q->top.rank == QUERY_RANK_CUSTOMERS) row->fact[0] = row->customers;
    }
    if (t->n > 0) qsort(t->row, t->n, sizeof *t->row, by_fact);
    for (uint32_t i = 0; i < t->n && i < t->q->limit; i++) {
        struct row *row = &t->row[i];
        row->key[1] = t->q->top.rank == QUERY_RANK_SUM ? datum_number(row->fact[0])
                                                       : datum_integer((uint64_t)row->fact[0]);
        put(out, row->key, 2);
    }
}

/* ---- compare ---- */

/* All facts that somebody has; a fact of a customer is entered once. */
static void compare_fact(struct rows *t, const char *kind, struct datum name, struct datum value,
                         bool a, bool b) {
    struct datum key[] = {datum_str(str_from(kind)), name, value};
    struct row *row = find(t, key);
    row->fact[0] += a;
    row->fact[1] += b;
}

static const char *const TRAITS[] = {"color", "country", "flag", "mix", "price"};

static void compare(struct rows *t, const struct naive_customer *c, double *size) {
    const struct query *q = t->q;
    bool a = naive_holds(t->h, c, q->compare.a);
    bool b = q->compare.others ? !a : naive_holds(t->h, c, q->compare.b);
    if (!a && !b) return;
    size[0] += a;
    size[1] += b;
    for (size_t i = 0; i < sizeof TRAITS / sizeof *TRAITS; i++) {
        struct query_prop p = {.scope = QUERY_SCOPE_TRAIT, .path = str_from(TRAITS[i])};
        struct datum v = naive_trait(t->h, c, &p);
        if (v.type == DATUM_NULL) continue;
        compare_fact(t, "has trait", datum_str(p.path), datum_null(), a, b);
        compare_fact(t, "trait", datum_str(p.path), v, a, b);
    }
    struct str seen[32];
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        static const char *const types[] = {"", "identify", "page", "screen", "group", "alias"};
        const struct naive_event *e = c->e[i];
        if (!naive_in(t->h, &q->range, e)) continue;
        struct str name = str_from(e->type == EVENT_TRACK ? e->name : types[e->type]);
        uint32_t at = 0;
        while (at < n && !str_eq(seen[at], name)) at++;
        if (at < n) continue;
        seen[n++] = name;
        compare_fact(t, "event", datum_str(name), datum_null(), a, b);
    }
}

/* Two models of a 2 x 2 table: one rate for both sides, or one each; twice the log of how much
 * likelier the numbers are under the second. */
static double log_binomial(double k, double n, double p) {
    return (k > 0 ? k * log(p) : 0) + (n - k > 0 ? (n - k) * log(1 - p) : 0);
}

static double g2(const struct row *r, const double *size) {
    double p = (r->fact[0] + r->fact[1]) / (size[0] + size[1]), g = 0;
    for (int k = 0; k < 2; k++) {
        if (size[k] == 0) continue;
        g += log_binomial(r->fact[k], size[k], r->fact[k] / size[k]);
        g -= log_binomial(r->fact[k], size[k], p);
    }
    return fmax(0, round(2 * g * 1e6) / 1e6);
}

static int by_g2(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->fact[2] != y->fact[2]) return x->fact[2] > y->fact[2] ? -1 : 1;
    return by_key(a, b);
}

static void compare_show(struct rows *t, const double *size, struct result *out) {
    uint32_t n = 0, limit = t->q->limit ? t->q->limit : UINT32_MAX;
    for (uint32_t i = 0; i < t->n; i++) t->row[i].fact[2] = g2(&t->row[i], size);
    keys_compared = 3;
    if (t->n > 0) qsort(t->row, t->n, sizeof *t->row, by_g2);
    for (uint32_t i = 0; i < t->n && n < limit; i++) {
        const struct row *r = &t->row[i];
        if (r->fact[0] + r->fact[1] < t->q->compare.support) continue;
        bool both = size[0] > 0 && size[1] > 0;
        double a = r->fact[0] / size[0], b = r->fact[1] / size[1];
        struct datum cells[] = {r->key[0],
                                r->key[1],
                                r->key[2],
                                datum_integer((uint64_t)r->fact[0]),
                                datum_integer((uint64_t)r->fact[1]),
                                datum_integer((uint64_t)size[0]),
                                datum_integer((uint64_t)size[1]),
                                ratio(r->fact[0], size[0]),
                                ratio(r->fact[1], size[1]),
                                both ? datum_number(a - b) : datum_null(),
                                both && b > 0 ? datum_number(a / b) : datum_null(),
                                datum_number(r->fact[2])};
        put(out, cells, 12);
        n++;
    }
}

/* ---- all ---- */

static const struct {
    void (*each)(struct rows *t, const struct naive_customer *c);
    void (*show)(struct rows *t, struct result *out);
    uint32_t keys; /* beside the splits */
} FORMS[QUERY_FORMS] = {
    [QUERY_COUNT] = {count, count_show, 0},
    [QUERY_FUNNEL] = {funnel, funnel_show, 1},
    [QUERY_RETENTION] = {retention, retention_show, 2},
    [QUERY_REPEAT] = {NULL, repeat_show, 1},
    [QUERY_TIME] = {times, times_show, 0},
    [QUERY_PATHS] = {paths, paths_show, 0},
    [QUERY_ATTRIBUTE] = {attribute, attribute_show, 0},
    [QUERY_SESSIONS] = {sessions, sessions_show, 0},
    [QUERY_RFM] = {rfm, rfm_show, 3},
    [QUERY_TOP] = {top, top_show, 1},
    [QUERY_LIFECYCLE] = {lifecycle, lifecycle_show, 1},
};

void naive_answer(const struct naive *h, const struct query *q, struct result *out) {
    struct naive_customer *c = calloc(NAIVE_MAX_EVENTS + 1, sizeof *c);
    uint32_t all = naive_customers(h, c), n = 0;
    for (uint32_t i = 0; i < all; i++)
        if (naive_holds(h, &c[i], q->where)) c[n++] = c[i];
    struct rows t = {.h = h, .q = q, .n_key = q->n_splits + FORMS[q->form].keys};
    t.row = calloc(MAX_ROWS, sizeof *t.row);
    if (q->form == QUERY_PATHS) t.n_key = q->paths.length;
    if (q->form == QUERY_SESSIONS) t.n_key += q->has_period;
    if (q->form == QUERY_LIST) {
        list(h, q, c, n, out);
    } else if (q->form == QUERY_TREND) {
        trend(&t, c, n, out);
    } else if (q->form == QUERY_COMPARE) {
        double size[2] = {0, 0};
        t.n_key = 3;
        for (uint32_t i = 0; i < n; i++) compare(&t, &c[i], size);
        compare_show(&t, size, out);
    } else {
        for (uint32_t i = 0; i < n; i++) {
            if (q->form == QUERY_REPEAT)
                repeat_each(&t, &c[i], false);
            else
                FORMS[q->form].each(&t, &c[i]);
        }
        FORMS[q->form].show(&t, out);
    }
    for (uint32_t i = 0; i < t.n; i++) free(t.row[i].list);
    free(t.row);
    free(c);
    K_ASSERT(result_finish(out, h->zone, NULL) == 0);
}
