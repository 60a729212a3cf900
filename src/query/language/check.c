/* Name-free checks of a query. Duty: see check.h.
 *
 * A walk over the tree; the first finding stops it. Depth was counted while the tree was built, and
 * both builders bound their own recursion, so the walk is bounded too.
 * Layers: check.h, tree.h, query_print.h. Threads: pure.
 */
#include "query/language/check.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>

#include "base/hash.h"
#include "query/language/query_print.h"
#include "query/language/token.h"
#include "query/language/tree.h"

/* Where the finding goes; handed down the walk. */
struct finding {
    struct query_pos *where;
    struct keel_error *err;
};

#define WRONG(at, ...)                                                                             \
    do {                                                                                           \
        *f->where = (at);                                                                          \
        return error_set(f->err, KEEL_E_SYNTAX, __VA_ARGS__);                                      \
    } while (0)
#define TOO_MUCH(at, ...)                                                                          \
    do {                                                                                           \
        *f->where = (at);                                                                          \
        return error_set(f->err, KEEL_E_LIMIT, __VA_ARGS__);                                       \
    } while (0)

static const struct query_pos NOWHERE = {0, 0};

static int check_text(struct finding *f, struct str s, struct query_pos at, const char *what) {
    if (!str_is_utf8(s) || memchr(s.p, 0, s.n)) WRONG(at, "%s is not UTF-8 text", what);
    return 0;
}

static int check_name(struct finding *f, struct str s, struct query_pos at, const char *what) {
    if (s.n == 0) WRONG(at, "%s is empty", what);
    if (s.n > QUERY_MAX_NAME) TOO_MUCH(at, "%s is longer than %d bytes", what, QUERY_MAX_NAME);
    return check_text(f, s, at, what);
}

static int check_prop(struct finding *f, const struct query_prop *p) {
    TRY(check_name(f, p->path, p->at, "this property"));
    for (size_t i = 0; i < p->path.n; i++)
        if ((unsigned char)p->path.p[i] < 0x20)
            WRONG(p->at, "this property contains a control character");
    return 0;
}

static int check_event_prop(struct finding *f, const struct query_prop *p) {
    if (p->scope == QUERY_SCOPE_TRAIT)
        WRONG(p->at, "expected a property of the event, not a trait");
    return check_prop(f, p);
}

/* ---- values and tests ---- */

static int check_value(struct finding *f, const struct query_value *v) {
    switch (v->type) {
    case QUERY_VALUE_STRING: return check_text(f, v->string, v->at, "this text");
    case QUERY_VALUE_NUMBER:
        if (!isfinite(v->number)) WRONG(v->at, "this number is not finite");
        return 0;
    case QUERY_VALUE_BOOL: return 0;
    case QUERY_VALUE_TIME:
        if (v->time.kind < QUERY_TIME_DAY || !query_time_valid(&v->time))
            WRONG(v->at, "expected a day or a time");
        return 0;
    }
    return 0;
}

static int check_pattern(struct finding *f, const struct query_value *v) {
    if (v->string.n > QUERY_MAX_PATTERN)
        TOO_MUCH(v->at, "this pattern is longer than %d bytes", QUERY_MAX_PATTERN);
    int code;
    size_t offset;
    pcre2_code *pattern = pcre2_compile((PCRE2_SPTR)v->string.p, v->string.n,
                                        PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (pattern) {
        pcre2_code_free(pattern);
        return 0;
    }
    PCRE2_UCHAR reason[160];
    pcre2_get_error_message(code, reason, sizeof reason);
    WRONG(v->at, "this is no regular expression: %s (at its byte %zu)", (const char *)reason,
          offset + 1);
}

static int check_test(struct finding *f, const struct query_test *t, struct query_pos at) {
    bool list = t->op == QUERY_IN || t->op == QUERY_NOT_IN;
    bool none = t->op == QUERY_EXISTS || t->op == QUERY_MISSING;
    uint32_t expected = none ? 0 : t->op == QUERY_BETWEEN ? 2 : 1;
    if (list ? t->n_values == 0 : t->n_values != expected)
        WRONG(at, "this comparison has the wrong number of values");
    if (t->n_values > QUERY_MAX_VALUES)
        TOO_MUCH(t->values[QUERY_MAX_VALUES].at, "a list has at most %d values", QUERY_MAX_VALUES);
    for (uint32_t i = 0; i < t->n_values; i++) TRY(check_value(f, &t->values[i]));
    if (none || list) return 0;
    const struct query_value *v = &t->values[0];
    if (t->op >= QUERY_CONTAINS && t->op <= QUERY_MATCHES && v->type != QUERY_VALUE_STRING)
        WRONG(v->at, "expected a text in quotes");
    if (t->op >= QUERY_LT && t->op <= QUERY_BETWEEN && v->type == QUERY_VALUE_BOOL)
        WRONG(v->at, "true and false have no order");
    if (t->op == QUERY_BETWEEN && t->values[1].type != v->type)
        WRONG(t->values[1].at, "both values of \"between\" are of one type");
    return t->op == QUERY_MATCHES ? check_pattern(f, v) : 0;
}

/* The left side has one type only. */
static int check_test_type(struct finding *f, const struct query_test *t,
                           enum query_value_type type, const char *left, struct query_pos at) {
    static const char *const types[] = {"a text", "a number", "true or false", "a time"};
    bool text = t->op >= QUERY_CONTAINS && t->op <= QUERY_MATCHES;
    if ((text && type != QUERY_VALUE_STRING) || t->op >= QUERY_EXISTS)
        WRONG(at, "%s is %s, which is always there", left, types[type]);
    for (uint32_t i = 0; i < t->n_values; i++)
        if (t->values[i].type != type)
            WRONG(t->values[i].at.length ? t->values[i].at : at, "%s is %s; expected one here",
                  left, types[type]);
    return 0;
}

static int check_prop_test(struct finding *f, const struct query_prop *p,
                           const struct query_test *t) {
    TRY(check_test(f, t, p->at));
    if (p->scope != QUERY_SCOPE_EVENT) return 0;
    bool time = str_is(p->path, "time");
    return check_test_type(f, t, time ? QUERY_VALUE_TIME : QUERY_VALUE_STRING,
                           time ? "the time of an event" : "the name of an event", p->at);
}

/* ---- filters, events, ranges ---- */

static int check_filter(struct finding *f, const struct query_filter *filter) {
    if (filter->kind == QUERY_FILTER_TEST) {
        TRY(check_event_prop(f, &filter->prop));
        return check_prop_test(f, &filter->prop, &filter->test);
    }
    for (uint32_t i = 0; i < filter->n_items; i++) TRY(check_filter(f, filter->items[i]));
    return 0;
}

static int check_event(struct finding *f, const struct query_event *e) {
    bool named = e->kind == QUERY_EVENT_TRACK || e->kind == QUERY_EVENT_PAGE ||
                 e->kind == QUERY_EVENT_SCREEN;
    if (e->kind == QUERY_EVENT_TRACK && !e->has_name) WRONG(e->at, "this event has no name");
    if (e->has_name && !named)
        WRONG(e->at, "%s events have no name", query_event_kind_text(e->kind));
    if (e->has_name) TRY(check_name(f, e->name, e->at, "the name of this event"));
    if (!e->filter) return 0;
    if (e->filter->depth > QUERY_MAX_DEPTH)
        TOO_MUCH(e->at, "this event's filter has more than %d levels", QUERY_MAX_DEPTH);
    return check_filter(f, e->filter);
}

static int check_events(struct finding *f, const struct query_event *e, uint32_t n, uint32_t least,
                        const char *what) {
    if (n < least)
        WRONG(n ? e[0].at : NOWHERE, "%s needs at least %u event%s", what, least,
              least == 1 ? "" : "s");
    if (n > QUERY_MAX_EVENTS)
        TOO_MUCH(e[QUERY_MAX_EVENTS].at, "%s has at most %d events", what, QUERY_MAX_EVENTS);
    for (uint32_t i = 0; i < n; i++) TRY(check_event(f, &e[i]));
    return 0;
}

static int check_range(struct finding *f, const struct query_range *r, struct query_pos at) {
    bool good = true;
    switch (r->kind) {
    case QUERY_RANGE_ALL: break;
    case QUERY_RANGE_SPAN:
        good = (r->has_from || r->has_to) &&
               (!r->has_from || (r->from.kind >= QUERY_TIME_DAY && query_time_valid(&r->from))) &&
               (!r->has_to || (r->to.kind >= QUERY_TIME_DAY && query_time_valid(&r->to)));
        if (r->has_from && r->has_to && !query_time_may_precede(&r->from, &r->to))
            WRONG(at, "this time range ends before it begins");
        break;
    case QUERY_RANGE_LAST:
        good = r->n >= 1 && r->n <= QUERY_MAX_AMOUNT;
        if (r->unit < QUERY_MINUTE) WRONG(at, "a time range is counted in minutes or longer units");
        break;
    case QUERY_RANGE_IN: good = r->from.kind <= QUERY_TIME_DAY && query_time_valid(&r->from); break;
    }
    if (!good) WRONG(at, "this time range is none");
    return 0;
}

static int check_duration(struct finding *f, struct query_duration d, bool needed,
                          const char *what) {
    if (d.n == 0 && needed) WRONG(NOWHERE, "expected %s", what);
    if (d.n > QUERY_MAX_AMOUNT || (d.n && d.unit > QUERY_WEEK))
        WRONG(NOWHERE, "%s is given in seconds, minutes, hours, days or weeks", what);
    return 0;
}

/* ---- measures, conditions, terms ---- */

static int check_measure(struct finding *f, const struct query_measure *m) {
    TRY(check_event(f, &m->event));
    TRY(check_range(f, &m->range, m->at));
    bool needs = m->agg != QUERY_COUNT_OF && m->agg != QUERY_CUSTOMERS;
    if (needs && !m->has_prop)
        WRONG(m->at, "%s needs a property: %s(\"Order Completed\".revenue)", query_agg_text(m->agg),
              query_agg_text(m->agg));
    if (m->agg == QUERY_CUSTOMERS && m->has_prop) WRONG(m->at, "customers have no property here");
    if (!m->has_prop) return 0;
    TRY(check_event_prop(f, &m->prop));
    bool arithmetic = m->agg == QUERY_SUM || m->agg == QUERY_AVG;
    bool extreme = m->agg == QUERY_MIN || m->agg == QUERY_MAX;
    if (m->prop.scope == QUERY_SCOPE_EVENT &&
        (arithmetic || (extreme && !str_is(m->prop.path, "time"))))
        WRONG(m->prop.at, "%s needs numbers", query_agg_text(m->agg));
    return 0;
}

static int check_measure_test(struct finding *f, const struct query_cond *c) {
    const struct query_measure *m = &c->measure;
    if (m->agg == QUERY_CUSTOMERS)
        WRONG(m->at, "customers are counted by a trend, not by a condition");
    TRY(check_measure(f, m));
    TRY(check_test(f, &c->test, c->at));
    switch (m->agg) {
    case QUERY_FIRST:
    case QUERY_LAST: return check_prop_test(f, &m->prop, &c->test);
    case QUERY_AVG:
    case QUERY_MIN:
    case QUERY_MAX:
        if (c->test.op >= QUERY_EXISTS) return 0;
        return check_test_type(
            f, &c->test, m->prop.scope == QUERY_SCOPE_EVENT ? QUERY_VALUE_TIME : QUERY_VALUE_NUMBER,
            query_agg_text(m->agg), c->at);
    default: return check_test_type(f, &c->test, QUERY_VALUE_NUMBER, query_agg_text(m->agg), c->at);
    }
}

static int check_funnel(struct finding *f, const struct query_funnel *funnel, uint32_t least) {
    TRY(check_events(f, funnel->steps, funnel->n_steps, least, "a funnel"));
    TRY(check_events(f, funnel->without, funnel->n_without, 0, "\"without\""));
    if (funnel->n_same > QUERY_MAX_SPLITS)
        TOO_MUCH(funnel->same[QUERY_MAX_SPLITS].at, "\"with same\" has at most %d properties",
                 QUERY_MAX_SPLITS);
    for (uint32_t i = 0; i < funnel->n_same; i++) TRY(check_event_prop(f, &funnel->same[i]));
    return check_duration(f, funnel->within, false, "\"within\"");
}

static int check_cond(struct finding *f, const struct query_cond *c) {
    for (uint32_t i = 0; i < c->n_items; i++) TRY(check_cond(f, c->items[i]));
    switch (c->kind) {
    case QUERY_COND_AND:
    case QUERY_COND_OR:
    case QUERY_COND_NOT:
    case QUERY_COND_IDENTIFIED:
    case QUERY_COND_ANONYMOUS: return 0;
    case QUERY_COND_DID:
        if (c->min > c->max || c->min == QUERY_NO_MAX)
            WRONG(c->at, "the first number of times is the smaller one");
        TRY(check_event(f, &c->event));
        return check_range(f, &c->range, c->at);
    case QUERY_COND_FOLLOWED:
        TRY(check_event(f, &c->event));
        TRY(check_event(f, &c->then));
        TRY(check_duration(f, c->within, false, "\"within\""));
        return check_range(f, &c->range, c->at);
    case QUERY_COND_MEASURE: return check_measure_test(f, c);
    case QUERY_COND_TRAIT: TRY(check_prop(f, &c->trait)); return check_test(f, &c->test, c->at);
    case QUERY_COND_SEGMENT: return check_name(f, c->segment, c->at, "the name of this segment");
    case QUERY_COND_FUNNEL:
        if (c->step < 1 || c->step > c->funnel->n_steps)
            WRONG(c->at, "this funnel has %u steps, so there is no step %u", c->funnel->n_steps,
                  c->step);
        TRY(check_funnel(f, c->funnel, 1));
        return check_range(f, &c->range, c->at);
    }
    return 0;
}

static int check_where(struct finding *f, const struct query_cond *c) {
    if (!c) return 0;
    if (c->depth > QUERY_MAX_DEPTH)
        TOO_MUCH(c->at, "the conditions have more than %d levels", QUERY_MAX_DEPTH);
    return check_cond(f, c);
}

static int check_term(struct finding *f, const struct query_term *t, unsigned kinds,
                      const char *expected) {
    if (!(kinds >> t->kind & 1)) WRONG(t->at, "expected %s here", expected);
    if (t->kind == QUERY_TERM_PROP) return check_event_prop(f, &t->prop);
    if (t->kind == QUERY_TERM_SEGMENT)
        return check_name(f, t->segment, t->at, "the name of this segment");
    if (t->kind == QUERY_TERM_TRAIT) return check_prop(f, &t->prop);
    if (t->measure.agg == QUERY_CUSTOMERS) WRONG(t->at, "customers are counted by a trend");
    return check_measure(f, &t->measure);
}

static int check_terms(struct finding *f, const struct query_term *t, uint32_t n, uint32_t most,
                       unsigned kinds, const char *expected) {
    if (n > most) TOO_MUCH(t[most].at, "at most %u are possible here", most);
    for (uint32_t i = 0; i < n; i++) TRY(check_term(f, &t[i], kinds, expected));
    return 0;
}

/* ---- forms ---- */

enum {
    PROP = 1 << QUERY_TERM_PROP,
    TRAIT = 1 << QUERY_TERM_TRAIT,
    MEASURE = 1 << QUERY_TERM_MEASURE,
    SEGMENT = 1 << QUERY_TERM_SEGMENT,
};

/* What a form may have of the parts that all share. */
static const struct rule {
    unsigned splits; /* kinds                        */
    const char *split_text;
    bool range, limit, limit_needed;
    int period; /* 0: none; 1: may; 2: must     */
    enum query_unit shortest;
} RULES[QUERY_FORMS] = {
    [QUERY_COUNT] = {.splits = TRAIT | MEASURE | SEGMENT,
                     .split_text = "a trait, a segment, or a measure such as "
                                   "first(\"…\".channel)"},
    [QUERY_LIST] = {0, "", .limit = true},
    [QUERY_FUNNEL] = {PROP | TRAIT | SEGMENT, "a property, a trait or a segment", .range = true},
    [QUERY_RETENTION] = {TRAIT | SEGMENT, "a trait or a segment", .range = true, .period = 2,
                         .shortest = QUERY_DAY},
    [QUERY_REPEAT] = {TRAIT | SEGMENT, "a trait or a segment", .range = true, .period = 2,
                      .shortest = QUERY_DAY},
    [QUERY_LIFECYCLE] = {TRAIT | SEGMENT, "a trait or a segment", .range = true, .period = 2,
                         .shortest = QUERY_DAY},
    [QUERY_TREND] = {PROP | TRAIT | SEGMENT, "a property, a trait or a segment", .range = true,
                     .period = 1, .shortest = QUERY_HOUR},
    [QUERY_TIME] = {PROP | TRAIT | SEGMENT, "a property, a trait or a segment", .range = true},
    [QUERY_PATHS] = {0, "", .range = true, .limit = true},
    [QUERY_ATTRIBUTE] = {PROP, "a property of the touch", .range = true, .limit = true},
    [QUERY_SESSIONS] = {PROP | TRAIT | SEGMENT, "a property, a trait or a segment", .range = true,
                        .period = 1, .shortest = QUERY_HOUR},
    [QUERY_COMPARE] = {0, "", .range = true, .limit = true},
    [QUERY_RFM] = {0, "", .range = true},
    [QUERY_TOP] = {0, "", .range = true, .limit = true, .limit_needed = true},
};

static int check_shared(struct finding *f, const struct query *q) {
    const struct rule *rule = &RULES[q->form];
    TRY(check_where(f, q->where));
    if (!rule->range && q->range.kind != QUERY_RANGE_ALL)
        WRONG(NOWHERE, "the conditions have time ranges here, not the query");
    TRY(check_range(f, &q->range, NOWHERE));
    if (rule->period == 2 && !q->has_period)
        WRONG(NOWHERE, "expected a period, such as \"by month\"");
    if (!rule->period && q->has_period) WRONG(NOWHERE, "there are no periods here");
    if (q->has_period && q->period < rule->shortest)
        WRONG(NOWHERE, "the shortest period here is \"by %s\"", query_unit_text(rule->shortest));
    if (q->n_splits && !rule->splits) WRONG(q->splits[0].at, "there is no split here");
    TRY(check_terms(f, q->splits, q->n_splits, QUERY_MAX_SPLITS, rule->splits, rule->split_text));
    if ((q->limit && !rule->limit) || (!q->limit && rule->limit_needed) ||
        q->limit > QUERY_MAX_LIMIT)
        WRONG(NOWHERE, "this number of rows is not possible here");
    return 0;
}

static int check_trend(struct finding *f, const struct query *q) {
    uint32_t n = q->trend.n_measures;
    if (n == 0) WRONG(NOWHERE, "expected what to count");
    if (n > QUERY_MAX_TERMS)
        TOO_MUCH(q->trend.measures[QUERY_MAX_TERMS].at, "a trend has at most %d measures",
                 QUERY_MAX_TERMS);
    for (uint32_t i = 0; i < n; i++) {
        const struct query_measure *m = &q->trend.measures[i];
        if (m->agg == QUERY_FIRST || m->agg == QUERY_LAST)
            WRONG(m->at, "%s is a value of one customer; a trend counts all",
                  query_agg_text(m->agg));
        if (m->range.kind != QUERY_RANGE_ALL) WRONG(m->at, "a trend has one time range for all");
        TRY(check_measure(f, m));
    }
    if (q->trend.over < 1 || q->trend.over > QUERY_MAX_PERIODS ||
        (q->trend.over > 1 && !q->has_period))
        WRONG(NOWHERE, "\"over\" counts from 1 to %d periods of \"by\"", QUERY_MAX_PERIODS);
    return 0;
}

static int check_time(struct finding *f, const struct query *q) {
    TRY(check_event(f, &q->time.from));
    TRY(check_event(f, &q->time.to));
    TRY(check_duration(f, q->time.within, false, "\"within\""));
    uint32_t n = q->time.n_percentiles;
    if (n < 1 || n > QUERY_MAX_PERCENTILES)
        TOO_MUCH(NOWHERE, "expected 1 to %d percentiles", QUERY_MAX_PERCENTILES);
    if (!query_ascending(q->time.percentiles, n) || !(q->time.percentiles[0] > 0) ||
        !(q->time.percentiles[n - 1] < 100))
        WRONG(NOWHERE, "percentiles ascend and lie between 0 and 100");
    return 0;
}

static int check_paths(struct finding *f, const struct query *q) {
    if (q->paths.length < 2 || q->paths.length > QUERY_MAX_PATH)
        WRONG(NOWHERE, "a path has 2 to %d events", QUERY_MAX_PATH);
    TRY(check_events(f, q->paths.alphabet, q->paths.n_alphabet, 0, "the list of events"));
    if (q->paths.has_start) TRY(check_event(f, &q->paths.start));
    if (q->paths.has_end) TRY(check_event(f, &q->paths.end));
    return check_duration(f, q->paths.within, false, "\"within\"");
}

static int check_attribute(struct finding *f, const struct query *q) {
    const struct query_measure *m = &q->attribute.measure;
    if (m->agg != QUERY_SUM && m->agg != QUERY_COUNT_OF)
        WRONG(m->at, "only a sum or a count can be attributed");
    if (m->range.kind != QUERY_RANGE_ALL) WRONG(m->at, "the query has the time range here");
    TRY(check_measure(f, m));
    TRY(check_events(f, q->attribute.touches, q->attribute.n_touches, 1, "attribution"));
    if (q->n_splits != 1)
        WRONG(q->n_splits ? q->splits[1].at : NOWHERE,
              "expected \"by\" and one property of the touch, such as \"by campaign\"");
    bool decay = q->attribute.model == QUERY_MODEL_DECAY;
    if (q->attribute.half_life.n && !decay)
        WRONG(NOWHERE, "a half-life goes with \"to decay\" only");
    TRY(check_duration(f, q->attribute.half_life, decay, "\"with half-life\""));
    return check_duration(f, q->attribute.within, false, "\"within\"");
}

static int check_thresholds(struct finding *f, const double *v, uint32_t n, const char *what) {
    if (n < 1 || n > QUERY_MAX_THRESHOLDS)
        WRONG(NOWHERE, "expected \"%s\" and 1 to %d numbers", what, QUERY_MAX_THRESHOLDS);
    for (uint32_t i = 0; i < n; i++)
        if (!isfinite(v[i])) WRONG(NOWHERE, "\"%s\" needs finite numbers", what);
    if (!query_ascending(v, n)) WRONG(NOWHERE, "the numbers of \"%s\" ascend", what);
    return 0;
}

static int check_rfm(struct finding *f, const struct query *q) {
    static const double unit_s[] = {1, 60, 3600, 86400, 7 * 86400};
    double seconds[QUERY_MAX_THRESHOLDS];
    TRY(check_event(f, &q->rfm.event));
    if (q->rfm.prop.path.n == 0)
        WRONG(NOWHERE,
              "expected \"by\" and the property whose sum is the value, such as \"by revenue\"");
    TRY(check_event_prop(f, &q->rfm.prop));
    if (q->rfm.prop.scope == QUERY_SCOPE_EVENT) WRONG(q->rfm.prop.at, "the value needs numbers");
    for (uint32_t i = 0; i < q->rfm.n_recency && i < QUERY_MAX_THRESHOLDS; i++) {
        TRY(check_duration(f, q->rfm.recency[i], true, "\"recency\""));
        seconds[i] = q->rfm.recency[i].n * unit_s[q->rfm.recency[i].unit];
    }
    TRY(check_thresholds(f, seconds, q->rfm.n_recency, "recency"));
    TRY(check_thresholds(f, q->rfm.frequency, q->rfm.n_frequency, "frequency"));
    return check_thresholds(f, q->rfm.value, q->rfm.n_value, "value");
}

static int check_top(struct finding *f, const struct query *q) {
    TRY(check_event(f, &q->top.event));
    TRY(check_event_prop(f, &q->top.prop));
    if (q->top.rank != QUERY_RANK_SUM) return 0;
    TRY(check_event_prop(f, &q->top.rank_prop));
    if (q->top.rank_prop.scope == QUERY_SCOPE_EVENT)
        WRONG(q->top.rank_prop.at, "sum needs numbers");
    return 0;
}

static int check_sessions(struct finding *f, const struct query *q) {
    TRY(check_events(f, q->sessions.alphabet, q->sessions.n_alphabet, 0, "the list of events"));
    if (q->sessions.has_change) TRY(check_event_prop(f, &q->sessions.change));
    return check_duration(f, q->sessions.gap, true, "\"with gap\" and a time, such as 30 minutes");
}

static int check_compare(struct finding *f, const struct query *q) {
    TRY(check_where(f, q->compare.a));
    if (q->compare.others && !q->compare.a)
        WRONG(NOWHERE, "there are no others than all customers");
    if (q->compare.support < 1 || q->compare.support > QUERY_MAX_LIMIT)
        WRONG(NOWHERE, "this number of customers is not possible here");
    return check_where(f, q->compare.b);
}

static int check_form(struct finding *f, const struct query *q) {
    switch (q->form) {
    case QUERY_COUNT: return 0;
    case QUERY_LIST:
        TRY(check_terms(f, q->list.columns, q->list.n_columns, QUERY_MAX_TERMS, TRAIT | MEASURE,
                        "a trait or a measure"));
        return check_terms(f, q->list.order, q->list.n_order, QUERY_MAX_SPLITS, TRAIT | MEASURE,
                           "a trait or a measure");
    case QUERY_FUNNEL: return check_funnel(f, &q->funnel, 2);
    case QUERY_RETENTION:
        if (q->retention.periods > QUERY_MAX_PERIODS)
            TOO_MUCH(NOWHERE, "\"over\" has at most %d periods", QUERY_MAX_PERIODS);
        TRY(check_event(f, &q->retention.from));
        return check_event(f, &q->retention.to);
    case QUERY_REPEAT:
        if (q->range.kind == QUERY_RANGE_ALL ||
            (q->range.kind == QUERY_RANGE_SPAN && !q->range.has_from))
            WRONG(NOWHERE, "expected a time range with a beginning, which says the first period");
        return check_event(f, &q->repeat.event);
    case QUERY_TREND: return check_trend(f, q);
    case QUERY_TIME: return check_time(f, q);
    case QUERY_PATHS: return check_paths(f, q);
    case QUERY_ATTRIBUTE: return check_attribute(f, q);
    case QUERY_SESSIONS: return check_sessions(f, q);
    case QUERY_COMPARE: return check_compare(f, q);
    case QUERY_RFM: return check_rfm(f, q);
    case QUERY_TOP: return check_top(f, q);
    case QUERY_LIFECYCLE:
        return check_events(f, q->lifecycle.events, q->lifecycle.n_events, 1, "a lifecycle");
    case QUERY_FORMS: break;
    }
    K_ASSERT_OP(q->form, <, QUERY_FORMS);
    return 0;
}

int query_check(const struct query *q, struct query_pos *where, struct keel_error *err) {
    struct finding f = {where, err};
    *where = NOWHERE;
    TRY(check_form(&f, q));
    return check_shared(&f, q);
}

int query_seal(struct query *q, struct arena *a, struct keel_error *err) {
    struct buf out;
    buf_init(&out, QUERY_MAX_TEXT);
    int code = query_print(q, &out);
    if (code == 0) {
        q->text = str_dup(a, buf_str(&out));
        q->hash = hash_str(q->text);
    } else if (code == -KEEL_E_LIMIT) {
        error_set(err, KEEL_E_LIMIT, "the canonical form of this query is longer than %d bytes",
                  QUERY_MAX_TEXT);
    } else {
        error_set(err, KEEL_E_NO_MEMORY, "no memory for the canonical form of this query");
    }
    buf_release(&out);
    return code;
}
