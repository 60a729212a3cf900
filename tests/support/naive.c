/* Implementation of naive.h: identity, values, filters, measures, conditions, funnels. */
#include "naive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "query/moments.h"

/* ---- who ---- */

static uint32_t number_of(struct naive *h, const char *id, bool user) {
    for (uint32_t i = 0; i < h->numbers; i++)
        if (h->is_user[i] == user && strcmp(h->name_of[i], id) == 0) return i;
    h->name_of[h->numbers] = id;
    h->is_user[h->numbers] = user;
    return h->numbers++;
}

/* The user of the earliest event that carries both; ties by the user's name. */
static const char *owner_of(const struct naive *h, const char *anon) {
    const struct naive_event *best = NULL;
    for (uint32_t i = 0; i < h->n; i++) {
        const struct naive_event *e = &h->events[i];
        if (!e->user || !e->anon || strcmp(e->anon, anon) != 0) continue;
        if (!best || e->time < best->time ||
            (e->time == best->time && strcmp(e->user, best->user) < 0))
            best = e;
    }
    return best ? best->user : NULL;
}

static int by_line(const void *a, const void *b) {
    const struct naive_event *x = *(const struct naive_event *const *)a;
    const struct naive_event *y = *(const struct naive_event *const *)b;
    if (x->root != y->root) return x->root < y->root ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return x->arrival < y->arrival ? -1 : 1;
}

void naive_link(struct naive *h) {
    h->numbers = h->n_line = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        struct naive_event *e = &h->events[i];
        e->arrival = i;
        e->number = e->user ? number_of(h, e->user, true) : number_of(h, e->anon, false);
    }
    for (uint32_t i = 0; i < h->n; i++) {
        struct naive_event *e = &h->events[i];
        const char *owner = e->user ? NULL : owner_of(h, e->anon);
        e->root = owner ? number_of(h, owner, true) : e->number;
        if (e->time < h->at_ms) h->line[h->n_line++] = e;
    }
    qsort(h->line, h->n_line, sizeof *h->line, by_line);
}

uint32_t naive_customers(const struct naive *h, struct naive_customer *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->n_line; i++) {
        if (i == 0 || h->line[i]->root != h->line[i - 1]->root)
            out[n++] = (struct naive_customer){h->line[i]->root, h->line + i, 0};
        out[n - 1].n++;
    }
    return n;
}

/* ---- values ---- */

struct datum naive_label(const struct naive_event *e) {
    static const char *const types[] = {"", "identify", "page", "screen", "group", "alias"};
    static char texts[32][64]; /* each text once */
    if (e->type == EVENT_TRACK) return datum_str(str_from(e->name));
    if (!*e->name) return datum_str(str_from(types[e->type]));
    char text[64];
    snprintf(text, sizeof text, "%s \"%s\"", types[e->type], e->name);
    uint32_t i = 0;
    while (texts[i][0] && strcmp(texts[i], text) != 0) i++;
    memcpy(texts[i], text, sizeof text);
    return datum_str(str_from(texts[i]));
}

static bool of_kind(const struct query_event *q, const struct naive_event *e) {
    static const int types[] = {
        [QUERY_EVENT_TRACK] = EVENT_TRACK,   [QUERY_EVENT_PAGE] = EVENT_PAGE,
        [QUERY_EVENT_SCREEN] = EVENT_SCREEN, [QUERY_EVENT_IDENTIFY] = EVENT_IDENTIFY,
        [QUERY_EVENT_GROUP] = EVENT_GROUP,   [QUERY_EVENT_ALIAS] = EVENT_ALIAS,
    };
    if (q->kind == QUERY_EVENT_ANY) return true;
    if ((int)e->type != types[q->kind]) return false;
    return q->kind != QUERY_EVENT_TRACK || str_is(q->name, e->name);
}

static uint32_t own_values(const struct naive_event *e, struct str path, struct datum *out) {
    uint32_t n = 0;
    if (e->has_list && str_starts(path, STR("products."))) {
        struct str rest = {path.p + 9, path.n - 9};
        for (uint32_t i = 0; i < e->n_items; i++)
            for (uint32_t k = 0; k < e->n_item_fields[i]; k++)
                if (str_is(rest, e->items[i][k].name)) out[n++] = e->items[i][k].value;
        return n;
    }
    for (uint32_t i = 0; i < e->n_props; i++)
        if (str_is(path, e->props[i].name)) out[n++] = e->props[i].value;
    if ((e->type == EVENT_PAGE || e->type == EVENT_SCREEN) && *e->name && str_is(path, "name"))
        out[n++] = datum_str(str_from(e->name));
    return n;
}

static uint32_t context_values(const struct naive_event *e, struct str path, struct datum *out) {
    for (uint32_t i = 0; i < e->n_context; i++)
        if (str_is(path, e->context[i].name)) {
            out[0] = e->context[i].value;
            return 1;
        }
    return 0;
}

/* Has any event that is meant ever had such a property? */
static bool known(const struct naive *h, struct str path, const struct query_event *of,
                  uint32_t n_of) {
    struct datum values[NAIVE_MAX_VALUES];
    for (uint32_t i = 0; i < h->n; i++)
        for (uint32_t k = 0; k < n_of; k++)
            if (of_kind(&of[k], &h->events[i]) && own_values(&h->events[i], path, values) > 0)
                return true;
    return false;
}

uint32_t naive_values(const struct naive *h, const struct query_prop *p,
                      const struct query_event *of, uint32_t n_of, const struct naive_event *e,
                      struct datum *out) {
    if (p->scope == QUERY_SCOPE_EVENT) {
        out[0] = str_is(p->path, "time") ? datum_time(e->time) : naive_label(e);
        return 1;
    }
    if (p->scope == QUERY_SCOPE_CONTEXT) return context_values(e, p->path, out);
    if (p->scope == QUERY_SCOPE_AUTO && !known(h, p->path, of, n_of))
        return context_values(e, p->path, out);
    return own_values(e, p->path, out);
}

/* ---- tests ---- */

/* -1, 0, 1; 2: they cannot be compared. */
static int compare(const struct naive *h, const struct datum *v, const struct query_value *w) {
    int64_t ms;
    switch (w->type) {
    case QUERY_VALUE_NUMBER: {
        double x = v->type == DATUM_INTEGER ? (double)v->integer : v->number;
        if (v->type != DATUM_NUMBER && v->type != DATUM_INTEGER) return 2;
        return (x > w->number) - (x < w->number);
    }
    case QUERY_VALUE_STRING:
        if (v->type != DATUM_STRING) return 2;
        ms = str_cmp(v->str, w->string);
        return (ms > 0) - (ms < 0);
    case QUERY_VALUE_BOOL: return v->type != DATUM_BOOL ? 2 : v->boolean == w->boolean ? 0 : 2;
    case QUERY_VALUE_TIME:
        ms = v->time_ms;
        if (v->type == DATUM_STRING ? !time_parse(v->str, h->zone, &ms) : v->type != DATUM_TIME)
            return 2;
        return (ms > moment_ms(h->zone, &w->time)) - (ms < moment_ms(h->zone, &w->time));
    }
    return 2;
}

static bool text_matches(struct str text, struct str pattern) {
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, PCRE2_UTF, &code, &at, NULL);
    if (!re) return false;
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    code = pcre2_match(re, (PCRE2_SPTR)text.p, text.n, 0, 0, data, NULL);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return code >= 0;
}

static bool text_holds(const struct query_test *t, const struct datum *v) {
    if (v->type != DATUM_STRING) return false;
    struct str w = t->values[0].string;
    switch (t->op) {
    case QUERY_CONTAINS: return str_contains(v->str, w);
    case QUERY_STARTS: return str_starts(v->str, w);
    case QUERY_ENDS: return str_ends(v->str, w);
    default: return text_matches(v->str, w);
    }
}

/* NULL type: the value is missing. */
static bool test_holds(const struct naive *h, const struct query_test *t, const struct datum *v) {
    if (v->type == DATUM_NULL) return t->op == QUERY_MISSING;
    bool equal = false;
    for (uint32_t i = 0; i < t->n_values; i++) equal |= compare(h, v, &t->values[i]) == 0;
    int sign = t->n_values > 0 ? compare(h, v, &t->values[0]) : 2;
    switch (t->op) {
    case QUERY_EQ:
    case QUERY_IN: return equal;
    case QUERY_NE:
    case QUERY_NOT_IN: return !equal;
    case QUERY_LT: return sign == -1;
    case QUERY_LE: return sign == -1 || sign == 0;
    case QUERY_GT: return sign == 1;
    case QUERY_GE: return sign == 0 || sign == 1;
    case QUERY_BETWEEN: {
        int high = compare(h, v, &t->values[1]);
        return (sign == 0 || sign == 1) && (high == 0 || high == -1);
    }
    case QUERY_EXISTS: return true;
    case QUERY_MISSING: return false;
    default: return text_holds(t, v);
    }
}

/* Is this a field of line items? Only if events of the kind ever had the list. */
static bool of_items(const struct naive *h, const struct query_prop *p,
                     const struct query_event *of) {
    if (!str_starts(p->path, STR("products."))) return false;
    for (uint32_t i = 0; i < h->n; i++)
        if (of_kind(of, &h->events[i]) && h->events[i].has_list) return true;
    return false;
}

static bool filter_holds(const struct naive *h, const struct query_filter *f,
                         const struct query_event *of, const struct naive_event *e) {
    switch (f->kind) {
    case QUERY_FILTER_AND:
        for (uint32_t i = 0; i < f->n_items; i++)
            if (!filter_holds(h, f->items[i], of, e)) return false;
        return true;
    case QUERY_FILTER_OR:
        for (uint32_t i = 0; i < f->n_items; i++)
            if (filter_holds(h, f->items[i], of, e)) return true;
        return false;
    case QUERY_FILTER_NOT: return !filter_holds(h, f->items[0], of, e);
    case QUERY_FILTER_TEST: break;
    }
    struct datum values[NAIVE_MAX_VALUES], none = datum_null();
    uint32_t n = naive_values(h, &f->prop, of, 1, e, values), holds = 0;
    bool items = of_items(h, &f->prop, of);
    for (uint32_t i = 0; i < n; i++) holds += test_holds(h, &f->test, &values[i]);
    if (f->over == QUERY_OVER_ALL && items) {
        if (f->test.op == QUERY_MISSING) return e->n_items > 0 && n == 0;
        return e->n_items > 0 && holds == e->n_items;
    }
    if (n == 0) return test_holds(h, &f->test, &none);
    return holds > 0;
}

bool naive_matches(const struct naive *h, const struct query_event *q,
                   const struct naive_event *e) {
    if (!of_kind(q, e)) return false;
    if (q->has_name && q->kind != QUERY_EVENT_TRACK && !str_is(q->name, e->name)) return false;
    return !q->filter || filter_holds(h, q->filter, q, e);
}

bool naive_in(const struct naive *h, const struct query_range *r, const struct naive_event *e) {
    struct span s = range_span(h->zone, r, h->at_ms);
    return e->time >= s.from_ms && e->time < s.to_ms;
}

/* ---- measures ---- */

struct datum naive_trait(const struct naive *h, const struct naive_customer *c,
                         const struct query_prop *p) {
    (void)h;
    struct datum values[NAIVE_MAX_VALUES], latest = datum_null();
    for (uint32_t i = 0; i < c->n; i++)
        if (c->e[i]->type == EVENT_IDENTIFY && own_values(c->e[i], p->path, values) > 0)
            latest = values[0];
    return latest;
}

static struct datum of_numbers(enum query_agg agg, const double *x, uint32_t n, bool times) {
    long double sum = 0;
    double low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        sum += (long double)x[i];
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    if (agg == QUERY_SUM) return datum_number((double)sum);
    if (n == 0) return datum_null();
    if (agg == QUERY_AVG) return datum_number((double)(sum / n));
    double v = agg == QUERY_MIN ? low : high;
    return times ? datum_time((int64_t)v) : datum_number(v);
}

struct datum naive_measure(const struct naive *h, const struct naive_customer *c,
                           const struct query_measure *m) {
    static double numbers[NAIVE_MAX_EVENTS * NAIVE_MAX_ITEMS];
    static struct datum seen[NAIVE_MAX_EVENTS * NAIVE_MAX_ITEMS];
    uint32_t n = 0, count = 0, distinct = 0;
    struct datum first = datum_null(), last = datum_null();
    for (uint32_t i = 0; i < c->n; i++) {
        if (!naive_in(h, &m->range, c->e[i]) || !naive_matches(h, &m->event, c->e[i])) continue;
        struct datum v[NAIVE_MAX_VALUES];
        uint32_t n_v = m->has_prop ? naive_values(h, &m->prop, &m->event, 1, c->e[i], v) : 0;
        count += m->has_prop ? n_v : 1;
        if (n_v > 0 && first.type == DATUM_NULL) first = v[0];
        if (n_v > 0) last = v[0];
        for (uint32_t k = 0; k < n_v; k++) {
            if (v[k].type == DATUM_NUMBER) numbers[n++] = v[k].number;
            if (v[k].type == DATUM_TIME) numbers[n++] = (double)v[k].time_ms;
            uint32_t at = 0;
            while (at < distinct && !datum_eq(&seen[at], &v[k])) at++;
            if (at == distinct) seen[distinct++] = v[k];
        }
    }
    switch (m->agg) {
    case QUERY_COUNT_OF: return datum_number(count);
    case QUERY_FIRST: return first;
    case QUERY_LAST: return last;
    case QUERY_UNIQUE: return datum_number(distinct);
    default:
        return of_numbers(m->agg, numbers, n, m->has_prop && m->prop.scope == QUERY_SCOPE_EVENT);
    }
}

/* ---- funnels: every chain there is ---- */

struct search {
    const struct naive *h;
    const struct naive_customer *c;
    const struct query_funnel *f;
    const struct query_range *r;
    const struct naive_event *chain[QUERY_MAX_EVENTS], *best[QUERY_MAX_EVENTS];
    uint32_t level;
};

static bool chain_valid(const struct search *s, uint32_t k) {
    const struct naive_event *first = s->chain[0], *last = s->chain[k - 1];
    if (s->f->within.n > 0 && last->time - first->time > duration_ms(s->f->within)) return false;
    for (uint32_t i = 0; i < s->c->n; i++) {
        const struct naive_event *e = s->c->e[i];
        if (e->time <= first->time || e->time >= last->time) continue;
        for (uint32_t w = 0; w < s->f->n_without; w++)
            if (naive_in(s->h, s->r, e) && naive_matches(s->h, &s->f->without[w], e)) return false;
    }
    for (uint32_t p = 0; p < s->f->n_same; p++) {
        struct datum a[NAIVE_MAX_VALUES], b[NAIVE_MAX_VALUES];
        if (naive_values(s->h, &s->f->same[p], s->f->steps, s->f->n_steps, first, a) == 0)
            return false;
        for (uint32_t j = 1; j < k; j++) {
            uint32_t n =
                naive_values(s->h, &s->f->same[p], s->f->steps, s->f->n_steps, s->chain[j], b);
            if (n == 0 || !datum_eq(&a[0], &b[0])) return false;
        }
    }
    return true;
}

static uint32_t place(const struct search *s, const struct naive_event *e) {
    for (uint32_t i = 0; i < s->c->n; i++)
        if (s->c->e[i] == e) return i;
    return UINT32_MAX;
}

static void offer(struct search *s, uint32_t k) {
    bool better = k > s->level;
    if (k == s->level) {
        int64_t end = s->chain[k - 1]->time, old = s->best[k - 1]->time;
        better = end < old;
        for (uint32_t j = 0; j < k && end == old; j++) {
            if (s->chain[j] == s->best[j]) continue;
            better = place(s, s->chain[j]) > place(s, s->best[j]);
            break;
        }
    }
    if (!better) return;
    s->level = k;
    memcpy(s->best, s->chain, k * sizeof s->chain[0]);
}

/* Can the chain's events be given to different steps? Tries every way. */
static bool gives(const struct search *s, uint32_t i, uint32_t k, uint32_t used) {
    if (i == k) return true;
    for (uint32_t j = 0; j < s->f->n_steps; j++)
        if (!(used >> j & 1) && naive_matches(s->h, &s->f->steps[j], s->chain[i]) &&
            gives(s, i + 1, k, used | 1u << j))
            return true;
    return false;
}

static void extend_any(struct search *s, uint32_t k) {
    if (k > 0) offer(s, k);
    if (k == s->f->n_steps) return;
    for (uint32_t i = k > 0 ? place(s, s->chain[k - 1]) + 1 : 0; i < s->c->n; i++) {
        if (!naive_in(s->h, s->r, s->c->e[i])) continue;
        s->chain[k] = s->c->e[i];
        if (gives(s, 0, k + 1, 0) && chain_valid(s, k + 1)) extend_any(s, k + 1);
    }
}

static void extend(struct search *s, uint32_t k) {
    if (k > 0) offer(s, k);
    if (k == s->f->n_steps) return;
    for (uint32_t i = 0; i < s->c->n; i++) {
        const struct naive_event *e = s->c->e[i];
        bool used = false;
        for (uint32_t j = 0; j < k; j++) used |= s->chain[j] == e;
        if (used || (k > 0 && e->time < s->chain[k - 1]->time)) continue;
        if (!naive_in(s->h, s->r, e) || !naive_matches(s->h, &s->f->steps[k], e)) continue;
        s->chain[k] = e;
        if (chain_valid(s, k + 1)) extend(s, k + 1);
    }
}

uint32_t naive_funnel(const struct naive *h, const struct naive_customer *c,
                      const struct query_funnel *f, const struct query_range *r,
                      const struct naive_event **out_chain) {
    struct search s = {.h = h, .c = c, .f = f, .r = r};
    if (f->any_order)
        extend_any(&s, 0);
    else
        extend(&s, 0);
    memcpy(out_chain, s.best, s.level * sizeof s.best[0]);
    return s.level;
}

/* ---- conditions ---- */

static bool followed(const struct naive *h, const struct naive_customer *c,
                     const struct query_cond *q) {
    int64_t within = duration_ms(q->within);
    bool some = false, last = false, any_a = false;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct naive_event *a = c->e[i];
        if (!naive_in(h, &q->range, a) || !naive_matches(h, &q->event, a)) continue;
        bool found = false;
        for (uint32_t j = 0; j < c->n; j++) {
            const struct naive_event *b = c->e[j];
            if (j == i || !naive_in(h, &q->range, b) || !naive_matches(h, &q->then, b)) continue;
            found |= b->time >= a->time && b->time - a->time <= within;
        }
        any_a = true;
        some |= found;
        last = found;
    }
    return q->negated ? any_a && !last : some;
}

static bool leaf_holds(const struct naive *h, const struct naive_customer *c,
                       const struct query_cond *q) {
    const struct naive_event *chain[QUERY_MAX_EVENTS];
    struct datum v;
    uint32_t n = 0;
    switch (q->kind) {
    case QUERY_COND_DID:
        for (uint32_t i = 0; i < c->n; i++)
            n += naive_in(h, &q->range, c->e[i]) && naive_matches(h, &q->event, c->e[i]);
        return n >= q->min && n <= q->max;
    case QUERY_COND_FOLLOWED: return followed(h, c, q);
    case QUERY_COND_MEASURE:
        v = naive_measure(h, c, &q->measure);
        return test_holds(h, &q->test, &v);
    case QUERY_COND_TRAIT: v = naive_trait(h, c, &q->trait); return test_holds(h, &q->test, &v);
    case QUERY_COND_IDENTIFIED: return h->is_user[c->root];
    case QUERY_COND_ANONYMOUS: return !h->is_user[c->root];
    case QUERY_COND_FUNNEL:
        n = naive_funnel(h, c, q->funnel, &q->range, chain);
        return q->stopped ? n == q->step : n >= q->step;
    default: return false;
    }
}

bool naive_holds(const struct naive *h, const struct naive_customer *c,
                 const struct query_cond *q) {
    if (!q) return true;
    switch (q->kind) {
    case QUERY_COND_AND:
        for (uint32_t i = 0; i < q->n_items; i++)
            if (!naive_holds(h, c, q->items[i])) return false;
        return true;
    case QUERY_COND_OR:
        for (uint32_t i = 0; i < q->n_items; i++)
            if (naive_holds(h, c, q->items[i])) return true;
        return false;
    case QUERY_COND_NOT: return !naive_holds(h, c, q->items[0]);
    case QUERY_COND_SEGMENT: {
        const struct query_cond *saved;
        K_ASSERT(h->segment(NULL, q->segment, &saved, NULL) == 0);
        return naive_holds(h, c, saved);
    }
    default: return leaf_holds(h, c, q);
    }
}

/* ---- periods as whole numbers that follow one another ---- */

int64_t naive_period(const struct naive *h, enum query_unit unit, int64_t t) {
    int32_t day = time_day(h->zone, t);
    int year, month, of_month;
    civil_from_day(day, &year, &month, &of_month);
    switch (unit) {
    case QUERY_HOUR: return t / MS_PER_HOUR; /* the zone of the tests has whole hours */
    case QUERY_DAY: return day;
    case QUERY_WEEK: return (day_week_start(day) + 3) / 7;
    case QUERY_MONTH: return year * 12 + month - 1;
    case QUERY_QUARTER: return year * 4 + (month - 1) / 3;
    default: return year;
    }
}

struct datum naive_period_cell(enum query_unit unit, int64_t number) {
    switch (unit) {
    case QUERY_HOUR: return datum_time(number * MS_PER_HOUR);
    case QUERY_DAY: return datum_date((int32_t)number);
    case QUERY_WEEK: return datum_date((int32_t)(number * 7 - 3));
    case QUERY_MONTH:
        return datum_date(day_from_civil((int)(number / 12), (int)(number % 12) + 1, 1));
    case QUERY_QUARTER:
        return datum_date(day_from_civil((int)(number / 4), (int)(number % 4) * 3 + 1, 1));
    default: return datum_date(day_from_civil((int)number, 1, 1));
    }
}

/* ---- comparing answers ---- */

static bool same_cell(const struct datum *a, const struct datum *b) {
    if (a->type != b->type) return false;
    if (a->type != DATUM_NUMBER) return datum_eq(a, b);
    double scale = a->number < 0 ? -a->number : a->number;
    double apart = a->number < b->number ? b->number - a->number : a->number - b->number;
    return apart <= 1e-9 * (scale > 1 ? scale : 1);
}

bool naive_same(const struct result *a, const struct result *b) {
    if (a->n_rows != b->n_rows) return false;
    if (a->n_rows > 0 && a->n_columns != b->n_columns) return false;
    for (uint64_t i = 0; i < a->n_rows * a->n_columns; i++)
        if (!same_cell(&a->cells[i], &b->cells[i])) return false;
    return true;
}
