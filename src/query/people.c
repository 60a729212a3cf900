/* Implementation of people.h: form by form, the row's keys as conditions. */
#include "query/people.h"

#include "query/language/query_print.h"
#include "query/language/tree.h"
#include "query/moments.h"

struct maker {
    const struct people *p;
    const struct query *q;
    struct arena *arena;
    struct query_cond *all; /* so far; NULL: everybody */
};

static int nobody(struct keel_error *err, const char *why) {
    return error_set(err, KEEL_E_INVALID, "the people of this row cannot be written down: %s", why);
}

/* ---- cells ---- */

static int cell(const struct maker *m, uint32_t i, struct datum *out, struct keel_error *err) {
    if (i >= m->p->n_row) FAIL(err, INVALID, "the row has %u cells, too few", m->p->n_row);
    *out = m->p->row[i];
    return 0;
}

static int whole_cell(const struct maker *m, uint32_t i, uint32_t most, uint32_t *out,
                      struct keel_error *err) {
    struct datum d = datum_null();
    TRY(cell(m, i, &d, err));
    double v = d.type == DATUM_INTEGER ? (double)d.integer : d.type == DATUM_NUMBER ? d.number : -1;
    if (!(v >= 0 && v <= most) || v != (double)(uint32_t)v)
        FAIL(err, INVALID, "cell %u of the row is no number from 0 to %u", i + 1, most);
    *out = (uint32_t)v;
    return 0;
}

/* The first moment of the period that a cell names. */
static int period_cell(const struct maker *m, uint32_t i, int64_t *out, struct keel_error *err) {
    struct datum d = datum_null();
    TRY(cell(m, i, &d, err));
    if (d.type == DATUM_TIME)
        *out = d.time_ms;
    else if (d.type == DATUM_DATE)
        *out = time_day_start(m->p->zone, d.day);
    else if (d.type != DATUM_STRING || !time_parse(d.str, m->p->zone, out))
        FAIL(err, INVALID, "cell %u of the row is no period", i + 1);
    return 0;
}

/* ---- parts of conditions ---- */

static struct query_cond *new_cond(const struct maker *m, enum query_cond_kind kind) {
    struct query_cond *c = arena_zalloc(m->arena, sizeof *c);
    c->kind = kind;
    return c;
}

/* Nodes of the question are shared, never changed: joins make nodes of their own. */
static void and_also(struct maker *m, struct query_cond *c) {
    if (!c) return;
    for (uint32_t i = 0; c->kind == QUERY_COND_AND && i < c->n_items; i++) and_also(m, c->items[i]);
    if (c->kind == QUERY_COND_AND) return;
    m->all = m->all ? query_cond_join(m->arena, QUERY_COND_AND, m->all, c) : c;
}

static void and_not(struct maker *m, struct query_cond *c) {
    and_also(m, query_cond_not(m->arena, c));
}

static struct query_time time_of(const struct maker *m, int64_t ms) {
    struct query_time t = {.kind = QUERY_TIME_DAY};
    int32_t day = time_day(m->p->zone, ms);
    int year, month, of_month;
    bool whole = time_day_start(m->p->zone, day) == ms;
    if (!whole) day = time_day(NULL, ms);
    civil_from_day(day, &year, &month, &of_month);
    t.year = (int16_t)year;
    t.month = (uint8_t)month;
    t.day = (uint8_t)of_month;
    if (whole) return t;
    int64_t in_day = ms - (int64_t)day * MS_PER_DAY;
    t.kind = QUERY_TIME_ZONED;
    t.hour = (uint8_t)(in_day / MS_PER_HOUR);
    t.minute = (uint8_t)(in_day / MS_PER_MINUTE % 60);
    t.second = (uint8_t)(in_day / MS_PER_SECOND % 60);
    t.ms = (int16_t)(in_day % MS_PER_SECOND);
    return t;
}

/* The question's range; an end that is the moment of asking is none. */
static struct span own_span(const struct maker *m) {
    struct span s = range_span(m->p->zone, &m->q->range, m->p->at_ms);
    if (s.to_ms >= m->p->at_ms) s.to_ms = INT64_MAX;
    return s;
}

static int range_of(const struct maker *m, struct span s, struct query_range *out,
                    struct keel_error *err) {
    struct span own = own_span(m);
    if (s.from_ms < own.from_ms) s.from_ms = own.from_ms;
    if (s.to_ms > own.to_ms) s.to_ms = own.to_ms;
    *out = (struct query_range){.kind = QUERY_RANGE_ALL};
    if (span_empty(s)) return nobody(err, "its period lies outside of the range");
    out->has_from = s.from_ms != INT64_MIN;
    out->has_to = s.to_ms != INT64_MAX;
    if (out->has_from || out->has_to) out->kind = QUERY_RANGE_SPAN;
    if (out->has_from) out->from = time_of(m, s.from_ms);
    if (out->has_to) out->to = time_of(m, s.to_ms);
    return 0;
}

static struct query_cond *did(const struct maker *m, const struct query_event *event,
                              const struct query_range *range) {
    struct query_cond *c = new_cond(m, QUERY_COND_DID);
    c->event = *event;
    c->range = *range;
    c->min = 1;
    c->max = QUERY_NO_MAX;
    query_cond_measure_depth(c);
    return c;
}

/* He did it between two moments. */
static int and_did(struct maker *m, const struct query_event *event, int64_t from, int64_t to,
                   struct keel_error *err) {
    struct query_range range;
    TRY(range_of(m, (struct span){from, to}, &range, err));
    and_also(m, did(m, event, &range));
    return 0;
}

static void set_value(struct query_test *test, struct arena *arena, enum query_op op,
                      struct query_value v) {
    test->op = op;
    test->n_values = 1;
    test->values = arena_zalloc(arena, sizeof *test->values);
    test->values[0] = v;
}

/* A column of several types shows all as texts: a text that reads as a number or as true or false
 * may have been one. */
static bool also_other(const struct maker *m, const struct query_value *text,
                       struct query_test *out) {
    struct query_value other = {.type = QUERY_VALUE_NUMBER};
    if (str_is(text->string, "true") || str_is(text->string, "false")) {
        other.type = QUERY_VALUE_BOOL;
        other.boolean = text->string.n == 4;
    } else if (!str_to_f64(text->string, &other.number)) {
        return false;
    }
    *out = (struct query_test){.op = QUERY_IN, .n_values = 2};
    out->values = arena_zalloc(m->arena, 2 * sizeof *out->values);
    out->values[0] = *text;
    out->values[1] = other;
    return true;
}

/* A value as the answer shows it: equal to it, or missing. times: a text is a time. */
static int equals(const struct maker *m, const struct datum *d, bool times, struct query_test *out,
                  struct keel_error *err) {
    struct query_value v = {.type = QUERY_VALUE_STRING};
    int64_t ms = d->time_ms;
    if (d->type == DATUM_NULL) {
        *out = (struct query_test){.op = QUERY_MISSING};
        return 0;
    }
    if (d->type == DATUM_TIME || (times && d->type == DATUM_STRING)) {
        if (d->type == DATUM_STRING && !time_parse(d->str, m->p->zone, &ms))
            FAIL(err, INVALID, "\"%.*s\" in the row is no time", STR_ARG(d->str));
        v.type = QUERY_VALUE_TIME;
        v.time = time_of(m, ms);
    } else if (d->type == DATUM_STRING) {
        v.string = d->str;
        if (also_other(m, &v, out)) return 0;
    } else if (d->type == DATUM_NUMBER || d->type == DATUM_INTEGER) {
        v.type = QUERY_VALUE_NUMBER;
        v.number = d->type == DATUM_NUMBER ? d->number : (double)d->integer;
    } else if (d->type == DATUM_BOOL) {
        v.type = QUERY_VALUE_BOOL;
        v.boolean = d->boolean;
    } else {
        return nobody(err, "a value of its splits cannot be compared");
    }
    set_value(out, m->arena, QUERY_EQ, v);
    return 0;
}

static bool is_time(const struct query_prop *p) {
    return p->scope == QUERY_SCOPE_EVENT && str_is(p->path, "time");
}

/* The event, and: the property passes the test. */
static struct query_event narrowed(const struct maker *m, const struct query_event *event,
                                   const struct query_prop *prop, const struct query_test *test) {
    struct query_event e = *event;
    struct query_filter *more = arena_zalloc(m->arena, sizeof *more), *own = event->filter;
    more->kind = QUERY_FILTER_TEST;
    more->prop = *prop;
    more->test = *test;
    more->depth = 1;
    e.filter = more;
    if (own && own->kind != QUERY_FILTER_AND)
        e.filter = query_filter_join(m->arena, QUERY_FILTER_AND, e.filter, own);
    for (uint32_t i = 0; own && own->kind == QUERY_FILTER_AND && i < own->n_items; i++)
        e.filter = query_filter_join(m->arena, QUERY_FILTER_AND, e.filter, own->items[i]);
    return e;
}

/* A split by the first of several items cannot be written as a filter. */
static bool may_be_item(const struct maker *m, struct str path) {
    uint32_t n = schema_streams(m->p->schema);
    for (uint32_t i = 0; i < n; i++) {
        struct stream_info s = schema_stream(m->p->schema, i);
        if (s.kind == STREAM_KIND_ITEMS && str_starts(path, s.name) && path.n > s.name.n &&
            path.p[s.name.n] == '.')
            return true;
    }
    return false;
}

/* The splits of the customer become conditions, those of the event a filter of *event (NULL: there
 * can be none). */
static int take_splits(struct maker *m, uint32_t first, struct query_event *event,
                       struct keel_error *err) {
    for (uint32_t i = 0; i < m->q->n_splits; i++) {
        const struct query_term *t = &m->q->splits[i];
        struct datum d = datum_null();
        struct query_cond *c = NULL;
        struct query_test test = {0};
        TRY(cell(m, first + i, &d, err));
        if (t->kind == QUERY_TERM_SEGMENT) {
            c = new_cond(m, QUERY_COND_SEGMENT);
            c->segment = t->segment;
            c->depth = 1;
            if (d.type == DATUM_BOOL && !d.boolean)
                and_not(m, c);
            else
                and_also(m, c);
            continue;
        }
        bool times = is_time(t->kind == QUERY_TERM_MEASURE ? &t->measure.prop : &t->prop);
        TRY(equals(m, &d, times, &test, err));
        if (t->kind == QUERY_TERM_PROP) {
            if (!event)
                return nobody(err, "it is split by a property of the first event of a chain");
            if (may_be_item(m, t->prop.path))
                return nobody(err, "it is split by the first of several line items");
            *event = narrowed(m, event, &t->prop, &test);
            continue;
        }
        c = new_cond(m, t->kind == QUERY_TERM_TRAIT ? QUERY_COND_TRAIT : QUERY_COND_MEASURE);
        if (t->kind == QUERY_TERM_TRAIT) c->trait = t->prop;
        if (t->kind == QUERY_TERM_MEASURE) c->measure = t->measure;
        c->test = test;
        query_cond_measure_depth(c);
        and_also(m, c);
    }
    return 0;
}

/* A number or time made of his events in the range, compared. */
static int and_measure(struct maker *m, enum query_agg agg, const struct query_event *event,
                       const struct query_prop *prop, enum query_op op, struct query_value v,
                       struct keel_error *err) {
    struct query_cond *c = new_cond(m, QUERY_COND_MEASURE);
    c->measure = (struct query_measure){.agg = agg, .event = *event, .has_prop = prop != NULL};
    if (prop) c->measure.prop = *prop;
    TRY(range_of(m, (struct span){INT64_MIN, INT64_MAX}, &c->measure.range, err));
    set_value(&c->test, m->arena, op, v);
    query_cond_measure_depth(c);
    and_also(m, c);
    return 0;
}

static int and_time(struct maker *m, enum query_agg agg, const struct query_event *event,
                    enum query_op op, int64_t ms, struct keel_error *err) {
    static const struct query_prop time = {.scope = QUERY_SCOPE_EVENT, .path = {"time", 4}};
    struct query_value v = {.type = QUERY_VALUE_TIME, .time = time_of(m, ms)};
    return and_measure(m, agg, event, &time, op, v, err);
}

static int and_number(struct maker *m, enum query_agg agg, const struct query_event *event,
                      const struct query_prop *prop, enum query_op op, double number,
                      struct keel_error *err) {
    struct query_value v = {.type = QUERY_VALUE_NUMBER, .number = number};
    return and_measure(m, agg, event, prop, op, v, err);
}

/* ---- forms ---- */

static bool column_is(const struct maker *m, const char *name) {
    return str_is(m->p->column, name);
}

static int64_t after(const struct maker *m, int64_t period, int n) {
    return period_after(m->p->zone, m->q->period, period, n);
}

static int of_funnel(struct maker *m, struct keel_error *err) {
    struct query_cond *c = new_cond(m, QUERY_COND_FUNNEL);
    struct query_funnel *f = arena_alloc(m->arena, sizeof *f);
    uint32_t step = 0;
    TRY(whole_cell(m, m->q->n_splits, m->q->funnel.n_steps, &step, err));
    if (step == 0) FAIL(err, INVALID, "there is no step 0");
    *f = m->q->funnel;
    c->funnel = f;
    c->step = step;
    c->stopped = column_is(m, "stopped");
    c->range = m->q->range;
    query_cond_measure_depth(c);
    and_also(m, c);
    return take_splits(m, 0, NULL, err);
}

static int of_retention(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    int64_t cohort = 0;
    uint32_t k = 0;
    TRY(take_splits(m, 0, NULL, err));
    TRY(period_cell(m, q->n_splits, &cohort, err));
    TRY(whole_cell(m, q->n_splits + 1, PERIODS_MAX, &k, err));
    int64_t end = after(m, cohort, 1), came = after(m, cohort, (int)k);
    if (q->retention.start == QUERY_START_EACH) {
        TRY(and_did(m, &q->retention.from, cohort, end, err));
    } else {
        TRY(and_time(m, QUERY_MIN, &q->retention.from, QUERY_GE, cohort, err));
        TRY(and_time(m, QUERY_MIN, &q->retention.from, QUERY_LT, end, err));
    }
    if (column_is(m, "size")) return 0;
    return and_did(m, &q->retention.to, came, after(m, came, 1), err);
}

static int of_repeat(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    int64_t period = 0, first = own_span(m).from_ms;
    TRY(take_splits(m, 0, NULL, err));
    TRY(period_cell(m, q->n_splits, &period, err));
    first = period_begin(m->p->zone, q->period, first);
    TRY(and_did(m, &q->repeat.event, first, after(m, first, 1), err));
    return and_did(m, &q->repeat.event, period, after(m, period, 1), err);
}

/* Who did one of a lifecycle's events between two moments; the end of the range cuts. */
static int lived(struct maker *m, int64_t from, int64_t to, struct query_cond **out,
                 struct keel_error *err) {
    const struct query *q = m->q;
    struct query_range range = {.kind = QUERY_RANGE_SPAN, .has_from = from != INT64_MIN};
    int64_t end = own_span(m).to_ms;
    if (end < to) to = end;
    if (from >= to) return nobody(err, "its period lies outside of the range");
    if (range.has_from) range.from = time_of(m, from);
    range.has_to = true;
    range.to = time_of(m, to);
    *out = did(m, &q->lifecycle.events[0], &range);
    for (uint32_t i = 1; i < q->lifecycle.n_events; i++)
        *out =
            query_cond_join(m->arena, QUERY_COND_OR, *out, did(m, &q->lifecycle.events[i], &range));
    return 0;
}

static int of_lifecycle(struct maker *m, struct keel_error *err) {
    int64_t period = 0;
    struct query_cond *now = NULL, *just = NULL, *before = NULL, *earlier = NULL;
    TRY(period_cell(m, 0, &period, err));
    TRY(take_splits(m, 1, NULL, err));
    int64_t last = after(m, period, -1);
    TRY(lived(m, period, after(m, period, 1), &now, err));
    TRY(lived(m, last, period, &just, err));
    TRY(lived(m, INT64_MIN, period, &before, err));
    TRY(lived(m, INT64_MIN, last, &earlier, err));
    bool lapsed = column_is(m, "lapsed"), dormant = column_is(m, "dormant");
    bool returned = column_is(m, "returned");
    if (lapsed || dormant)
        and_not(m, now);
    else
        and_also(m, now);
    if (column_is(m, "new")) and_not(m, before);
    if (column_is(m, "retained") || lapsed) and_also(m, just);
    if (returned || dormant) {
        and_not(m, just);
        and_also(m, earlier);
    }
    return 0;
}

/* The measure that a column is named after; by default the first. */
static int measure_of(const struct maker *m, const struct query_measure **out,
                      struct keel_error *err) {
    *out = &m->q->trend.measures[0];
    if (m->p->column.n == 0) return 0;
    for (uint32_t i = 0; i < m->q->trend.n_measures; i++) {
        struct buf name;
        buf_init(&name, QUERY_MAX_TEXT);
        bool is = query_print_measure(&m->q->trend.measures[i], &name) == 0 &&
                  str_eq(buf_str(&name), m->p->column);
        buf_release(&name);
        if (!is) continue;
        *out = &m->q->trend.measures[i];
        return 0;
    }
    FAIL(err, INVALID, "the answer has no number \"%.*s\"", STR_ARG(m->p->column));
}

static int of_trend(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    const struct query_measure *measure;
    int64_t from = INT64_MIN, to = INT64_MAX, period = 0;
    TRY(measure_of(m, &measure, err));
    struct query_event event = measure->event;
    if (measure->has_prop && measure->prop.scope != QUERY_SCOPE_EVENT) {
        struct query_test exists = {.op = QUERY_EXISTS};
        event = narrowed(m, &event, &measure->prop, &exists);
    }
    TRY(take_splits(m, q->has_period, &event, err));
    if (q->has_period) {
        TRY(period_cell(m, 0, &period, err));
        from = after(m, period, 1 - (int)q->trend.over);
        to = after(m, period, 1);
        return and_did(m, &event, from, to, err);
    }
    and_also(m, did(m, &event, &q->range));
    return 0;
}

static int of_time(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    if (q->time.start == QUERY_START_FIRST)
        return nobody(err, "of \"from first\" only the first event counts; ask \"from each\"");
    struct query_cond *c = new_cond(m, QUERY_COND_FOLLOWED);
    c->event = q->time.from;
    TRY(take_splits(m, 0, &c->event, err));
    c->then = q->time.to;
    c->within = q->time.within;
    c->range = q->range;
    query_cond_measure_depth(c);
    and_also(m, c);
    return 0;
}

static int of_rfm(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    const struct query_event *e = &q->rfm.event;
    uint32_t r = 0, f = 0, v = 0, n = q->rfm.n_recency;
    int64_t end = range_span(m->p->zone, &q->range, m->p->at_ms).to_ms;
    TRY(whole_cell(m, 0, n + 1, &r, err));
    TRY(whole_cell(m, 1, q->rfm.n_frequency + 1, &f, err));
    TRY(whole_cell(m, 2, q->rfm.n_value + 1, &v, err));
    if (r == 0 || f == 0 || v == 0) FAIL(err, INVALID, "classes begin with 1");
    TRY(and_did(m, e, INT64_MIN, INT64_MAX, err));
    if (r > 1)
        TRY(and_time(m, QUERY_MAX, e, QUERY_GE, end - duration_ms(q->rfm.recency[n + 1 - r]), err));
    if (r <= n)
        TRY(and_time(m, QUERY_MAX, e, QUERY_LT, end - duration_ms(q->rfm.recency[n - r]), err));
    if (f > 1) TRY(and_number(m, QUERY_COUNT_OF, e, NULL, QUERY_GE, q->rfm.frequency[f - 2], err));
    if (f <= q->rfm.n_frequency)
        TRY(and_number(m, QUERY_COUNT_OF, e, NULL, QUERY_LT, q->rfm.frequency[f - 1], err));
    if (v > 1) TRY(and_number(m, QUERY_SUM, e, &q->rfm.prop, QUERY_GE, q->rfm.value[v - 2], err));
    if (v <= q->rfm.n_value)
        TRY(and_number(m, QUERY_SUM, e, &q->rfm.prop, QUERY_LT, q->rfm.value[v - 1], err));
    return 0;
}

static int of_top(struct maker *m, struct keel_error *err) {
    struct datum d = datum_null();
    struct query_test test = {0};
    TRY(cell(m, 0, &d, err));
    TRY(equals(m, &d, is_time(&m->q->top.prop), &test, err));
    struct query_event e = narrowed(m, &m->q->top.event, &m->q->top.prop, &test);
    and_also(m, did(m, &e, &m->q->range));
    return 0;
}

/* An event as the answer names it: by its type, if it is none of a track's. */
static struct query_event named_event(const struct maker *m, struct str name) {
    static const enum query_event_kind kinds[] = {QUERY_EVENT_PAGE, QUERY_EVENT_SCREEN,
                                                  QUERY_EVENT_IDENTIFY, QUERY_EVENT_GROUP,
                                                  QUERY_EVENT_ALIAS};
    bool tracked = schema_find_event(m->p->schema, name) >= 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && !tracked; i++)
        if (str_is(name, query_event_kind_text(kinds[i])))
            return (struct query_event){.kind = kinds[i]};
    return (struct query_event){.kind = QUERY_EVENT_TRACK, .name = name, .has_name = true};
}

static int of_compare(struct maker *m, struct keel_error *err) {
    const struct query *q = m->q;
    struct datum kind = datum_null(), name = kind, value = kind;
    TRY(cell(m, 0, &kind, err));
    TRY(cell(m, 1, &name, err));
    TRY(cell(m, 2, &value, err));
    if (kind.type != DATUM_STRING || name.type != DATUM_STRING)
        FAIL(err, INVALID, "the row is none of a comparison");
    if (!column_is(m, "b_customers"))
        and_also(m, q->compare.a);
    else if (q->compare.others)
        and_not(m, q->compare.a);
    else
        and_also(m, q->compare.b);
    if (str_is(kind.str, "event")) {
        struct query_event e = named_event(m, name.str);
        and_also(m, did(m, &e, &q->range));
        return 0;
    }
    struct query_cond *c = new_cond(m, QUERY_COND_TRAIT);
    c->trait = (struct query_prop){.scope = QUERY_SCOPE_TRAIT, .path = name.str};
    c->test = (struct query_test){.op = QUERY_EXISTS};
    if (str_is(kind.str, "trait")) TRY(equals(m, &value, false, &c->test, err));
    query_cond_measure_depth(c);
    and_also(m, c);
    return 0;
}

static int of_form(struct maker *m, struct keel_error *err) {
    switch (m->q->form) {
    case QUERY_COUNT: return take_splits(m, 0, NULL, err);
    case QUERY_FUNNEL: return of_funnel(m, err);
    case QUERY_RETENTION: return of_retention(m, err);
    case QUERY_REPEAT: return of_repeat(m, err);
    case QUERY_LIFECYCLE: return of_lifecycle(m, err);
    case QUERY_TREND: return of_trend(m, err);
    case QUERY_TIME: return of_time(m, err);
    case QUERY_RFM: return of_rfm(m, err);
    case QUERY_TOP: return of_top(m, err);
    case QUERY_COMPARE: return of_compare(m, err);
    case QUERY_LIST: return nobody(err, "a row of a list is one customer");
    case QUERY_PATHS: return nobody(err, "no condition says which events follow at once");
    case QUERY_SESSIONS: return nobody(err, "no condition is about sessions");
    case QUERY_ATTRIBUTE: return nobody(err, "no condition is about shares of an amount");
    case QUERY_FORMS: break;
    }
    return nobody(err, "this form is not known");
}

int people_read_row(struct json_value row, struct arena *arena, struct people *p,
                    struct keel_error *err) {
    size_t n = json_count(row);
    struct json_value v;
    if (json_type(row) != JSON_ARRAY || n > RESULT_MAX_COLUMNS)
        FAIL(err, INVALID, "a row is an array of cells, as in an answer");
    struct datum *cells = arena_alloc(arena, (n + 1) * sizeof *cells);
    struct json_each each = json_each(row);
    for (p->n_row = 0; p->n_row < n && json_next(&each, NULL, &v); p->n_row++) {
        struct datum *d = &cells[p->n_row];
        *d = datum_null();
        if (json_str(v, &d->str)) {
            *d = datum_str(str_dup(arena, d->str));
        } else if (json_f64(v, &d->number)) {
            d->type = DATUM_NUMBER;
        } else if (json_bool(v, &d->boolean)) {
            d->type = DATUM_BOOL;
        } else if (json_type(v) != JSON_NULL) {
            FAIL(err, INVALID, "cell %u of the row is a list or an object", p->n_row + 1);
        }
    }
    p->row = cells;
    return 0;
}

int people_condition(const struct people *p, struct arena *arena, const struct query_cond **out,
                     struct keel_error *err) {
    struct maker m = {.p = p, .q = p->query, .arena = arena};
    TRY(of_form(&m, err));
    and_also(&m, p->query->where);
    if (!m.all) return nobody(err, "they are all customers");
    *out = m.all;
    return 0;
}
