/* The canonical text. Duty: see query_print.h.
 *
 * Writing to the buffer cannot fail halfway in a way that matters: its first failure sticks, so the
 * functions below write on and the entry points report it once.
 * Layers: query_print.h, token.h (which names need quotes). Threads: pure.
 */
#include "query/language/query_print.h"

#include "query/language/token.h"

static void text(struct buf *out, const char *s) { (void)buf_add_text(out, s); }
static void number(struct buf *out, double v) { (void)buf_add_f64(out, v); }
static void string(struct buf *out, struct str s) { (void)buf_add_json_str(out, s); }

static const char *const UNITS[QUERY_UNITS] = {"second", "minute", "hour",    "day",
                                               "week",   "month",  "quarter", "year"};
static const char *const AGGREGATES[QUERY_AGGS] = {
    "count", "sum", "avg", "min", "max", "first", "last", "unique", "unique customers"};
static const char *const KINDS[QUERY_EVENT_KINDS] = {"track", "page",  "screen",   "identify",
                                                     "group", "alias", "any event"};
static const char *const OPERATORS[QUERY_OPS] = {
    "=",       "!=",       "<",           "<=",        ">",       ">=",     "in",        "not in",
    "between", "contains", "starts with", "ends with", "matches", "exists", "is missing"};

static const char *const MODELS[QUERY_MODELS] = {"last",     "first",   "linear", "decay",
                                                 "position", "shapley", "markov"};

const char *query_unit_text(enum query_unit unit) { return UNITS[unit]; }
const char *query_op_text(enum query_op op) { return OPERATORS[op]; }
const char *query_agg_text(enum query_agg agg) { return AGGREGATES[agg]; }
const char *query_model_text(enum query_model model) { return MODELS[model]; }
const char *query_event_kind_text(enum query_event_kind kind) { return KINDS[kind]; }

static int done(const struct buf *out) { return out->failed; }

/* ---- time ---- */

static void counted(struct buf *out, uint32_t n, enum query_unit unit) {
    (void)buf_printf(out, "%u %s%s", n, UNITS[unit], n == 1 ? "" : "s");
}

static void duration(struct buf *out, const char *before, struct query_duration d) {
    if (!d.n) return;
    text(out, before);
    counted(out, d.n, d.unit);
}

static void moment(struct buf *out, const struct query_time *t) {
    (void)buf_printf(out, "%04d", t->year);
    if (t->kind >= QUERY_TIME_MONTH) (void)buf_printf(out, "-%02d", t->month);
    if (t->kind >= QUERY_TIME_DAY) (void)buf_printf(out, "-%02d", t->day);
    if (t->kind < QUERY_TIME_LOCAL) return;
    (void)buf_printf(out, "T%02d:%02d:%02d", t->hour, t->minute, t->second);
    if (t->ms) (void)buf_printf(out, ".%03d", t->ms);
    if (t->kind != QUERY_TIME_ZONED) return;
    int offset = t->offset_minutes < 0 ? -t->offset_minutes : t->offset_minutes;
    if (offset == 0)
        text(out, "Z");
    else
        (void)buf_printf(out, "%c%02d:%02d", t->offset_minutes < 0 ? '-' : '+', offset / 60,
                         offset % 60);
}

static void range(struct buf *out, const struct query_range *r) {
    switch (r->kind) {
    case QUERY_RANGE_ALL: return;
    case QUERY_RANGE_SPAN:
        text(out, !r->has_from ? " before " : r->has_to ? " from " : " since ");
        if (r->has_from) moment(out, &r->from);
        if (r->has_from && r->has_to) text(out, " to ");
        if (r->has_to) moment(out, &r->to);
        return;
    case QUERY_RANGE_LAST:
        text(out, " during last ");
        counted(out, r->n, r->unit);
        return;
    case QUERY_RANGE_IN:
        text(out, r->from.kind == QUERY_TIME_DAY ? " on " : " in ");
        moment(out, &r->from);
        return;
    }
}

/* ---- properties, filters, events ---- */

/* The path as it stands behind its scope: bare, or as a whole in backquotes. */
static void path(struct buf *out, const char *prefix, struct str p, enum query_place place) {
    text(out, prefix);
    if (query_path_is_bare(p, place)) {
        (void)buf_add_str(out, p);
        return;
    }
    text(out, "`");
    for (size_t i = 0; i < p.n; i++) {
        if (p.p[i] == '`') text(out, "`");
        (void)buf_add_char(out, p.p[i]);
    }
    text(out, "`");
}

static void property_at(struct buf *out, const struct query_prop *p, enum query_place place) {
    switch (p->scope) {
    case QUERY_SCOPE_AUTO: path(out, "", p->path, place); return;
    case QUERY_SCOPE_PROPERTY: path(out, "properties.", p->path, QUERY_PLACE_DOT); return;
    case QUERY_SCOPE_CONTEXT: path(out, "context.", p->path, QUERY_PLACE_DOT); return;
    case QUERY_SCOPE_TRAIT: path(out, "trait ", p->path, QUERY_PLACE_ANY); return;
    case QUERY_SCOPE_EVENT: (void)buf_add_str(out, p->path); return;
    }
}

static void property(struct buf *out, const struct query_prop *p) {
    property_at(out, p, QUERY_PLACE_FILTER);
}

static void value(struct buf *out, const struct query_value *v) {
    switch (v->type) {
    case QUERY_VALUE_STRING: string(out, v->string); return;
    case QUERY_VALUE_NUMBER: number(out, v->number); return;
    case QUERY_VALUE_BOOL: text(out, v->boolean ? "true" : "false"); return;
    case QUERY_VALUE_TIME: moment(out, &v->time); return;
    }
}

static void test(struct buf *out, const struct query_test *t) {
    (void)buf_printf(out, " %s", OPERATORS[t->op]);
    bool list = t->op == QUERY_IN || t->op == QUERY_NOT_IN;
    if (list) text(out, " (");
    for (uint32_t i = 0; i < t->n_values; i++) {
        text(out, list ? (i ? ", " : "") : i ? " and " : " ");
        value(out, &t->values[i]);
    }
    if (list) text(out, ")");
}

static void filter(struct buf *out, const struct query_filter *f, bool inside) {
    if (f->kind == QUERY_FILTER_TEST) {
        if (f->over != QUERY_OVER_AUTO) text(out, f->over == QUERY_OVER_ANY ? "any " : "all ");
        property(out, &f->prop);
        test(out, &f->test);
        return;
    }
    if (f->kind == QUERY_FILTER_NOT) {
        text(out, "not ");
        filter(out, f->items[0], true);
        return;
    }
    if (inside) text(out, "(");
    for (uint32_t i = 0; i < f->n_items; i++) {
        if (i) text(out, f->kind == QUERY_FILTER_AND ? " and " : " or ");
        filter(out, f->items[i], true);
    }
    if (inside) text(out, ")");
}

static void event_head(struct buf *out, const struct query_event *e) {
    if (e->kind != QUERY_EVENT_TRACK) text(out, KINDS[e->kind]);
    if (e->kind != QUERY_EVENT_TRACK && e->has_name) text(out, " ");
    if (e->has_name) string(out, e->name);
}

static void event_where(struct buf *out, const struct query_event *e) {
    if (!e->filter) return;
    text(out, " where ");
    filter(out, e->filter, true);
}

static void event(struct buf *out, const struct query_event *e) {
    event_head(out, e);
    event_where(out, e);
}

static void events(struct buf *out, const char *before, const struct query_event *e, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        text(out, i ? ", " : before);
        event(out, &e[i]);
    }
}

/* ---- measures and terms ---- */

static void event_prop(struct buf *out, const struct query_event *e, const struct query_prop *p) {
    event_head(out, e);
    text(out, ".");
    property_at(out, p, QUERY_PLACE_DOT);
    event_where(out, e);
}

static void called(struct buf *out, const struct query_measure *m) {
    text(out, AGGREGATES[m->agg]);
    text(out, "(");
    if (m->has_prop)
        event_prop(out, &m->event, &m->prop);
    else
        event(out, &m->event);
    text(out, ")");
}

/* As a trend says it: events, unique customers of "…". */
static void trend_measure(struct buf *out, const struct query_measure *m) {
    if (m->agg != QUERY_CUSTOMERS && (m->agg != QUERY_COUNT_OF || m->has_prop)) {
        called(out, m);
        return;
    }
    text(out, m->agg == QUERY_CUSTOMERS ? "unique customers" : "events");
    if (m->event.kind == QUERY_EVENT_ANY && !m->event.filter) return;
    text(out, " of ");
    event(out, &m->event);
}

static void term(struct buf *out, const struct query_term *t) {
    if (t->kind == QUERY_TERM_SEGMENT) {
        text(out, "segment ");
        string(out, t->segment);
        return;
    }
    if (t->kind != QUERY_TERM_MEASURE) {
        property(out, &t->prop);
        return;
    }
    called(out, &t->measure);
    range(out, &t->measure.range);
}

static void terms(struct buf *out, const char *before, const struct query_term *t, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        text(out, i ? ", " : before);
        term(out, &t[i]);
        if (t[i].descending) text(out, " desc");
    }
}

/* ---- conditions ---- */

static void steps(struct buf *out, const struct query_funnel *f) {
    if (f->any_order) text(out, "any order ");
    events(out, "", f->steps, f->n_steps);
    events(out, " without ", f->without, f->n_without);
    for (uint32_t i = 0; i < f->n_same; i++) {
        text(out, i ? ", " : " with same ");
        property(out, &f->same[i]);
    }
    duration(out, " within ", f->within);
}

static void did(struct buf *out, const struct query_cond *c, const char *verb) {
    text(out, verb);
    event(out, &c->event);
    if (c->kind == QUERY_COND_FOLLOWED) {
        text(out, c->negated ? " not followed by " : " followed by ");
        event(out, &c->then);
        duration(out, " within ", c->within);
    } else if (c->min == c->max) {
        (void)buf_printf(out, " exactly %u times", c->min);
    } else if (c->max == QUERY_NO_MAX && c->min != 1) {
        (void)buf_printf(out, " at least %u times", c->min);
    } else if (c->max != QUERY_NO_MAX && c->min == 0) {
        (void)buf_printf(out, " at most %u times", c->max);
    } else if (c->max != QUERY_NO_MAX) {
        (void)buf_printf(out, " between %u and %u times", c->min, c->max);
    }
    range(out, &c->range);
}

static void leaf(struct buf *out, const struct query_cond *c) {
    switch (c->kind) {
    case QUERY_COND_DID:
    case QUERY_COND_FOLLOWED: did(out, c, "did "); return;
    case QUERY_COND_MEASURE:
        called(out, &c->measure);
        test(out, &c->test);
        range(out, &c->measure.range);
        return;
    case QUERY_COND_TRAIT:
        property(out, &c->trait);
        test(out, &c->test);
        return;
    case QUERY_COND_IDENTIFIED: text(out, "identified"); return;
    case QUERY_COND_ANONYMOUS: text(out, "anonymous"); return;
    case QUERY_COND_SEGMENT:
        text(out, "in segment ");
        string(out, c->segment);
        return;
    case QUERY_COND_FUNNEL:
        (void)buf_printf(out, "%s step %u of (", c->stopped ? "stopped at" : "reached", c->step);
        steps(out, c->funnel);
        text(out, ")");
        range(out, &c->range);
        return;
    default: K_ASSERT_OP(c->kind, >=, QUERY_COND_DID);
    }
}

static void cond(struct buf *out, const struct query_cond *c, bool inside) {
    bool both = c->kind == QUERY_COND_AND;
    if (c->kind == QUERY_COND_NOT) {
        const struct query_cond *inner = c->items[0];
        if (inner->kind == QUERY_COND_DID || inner->kind == QUERY_COND_FOLLOWED) {
            did(out, inner, "did not ");
            return;
        }
        text(out, "not ");
        cond(out, inner, true);
        return;
    }
    if (!both && c->kind != QUERY_COND_OR) {
        leaf(out, c);
        return;
    }
    if (inside) text(out, "(");
    for (uint32_t i = 0; i < c->n_items; i++) {
        if (i) text(out, both ? " and " : " or ");
        cond(out, c->items[i], true);
    }
    if (inside) text(out, ")");
}

/* ---- forms ---- */

static void numbers(struct buf *out, const char *before, const double *v, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        text(out, i ? ", " : before);
        number(out, v[i]);
    }
}

static void period(struct buf *out, const struct query *q, uint32_t over) {
    if (over) {
        text(out, " over ");
        counted(out, over, q->period);
    }
    if (q->has_period) {
        text(out, " by ");
        text(out, UNITS[q->period]);
    }
}

static void from_to(struct buf *out, const char *word, enum query_start start,
                    const struct query_event *from, const struct query_event *to) {
    (void)buf_printf(out, "%s from %s ", word, start == QUERY_START_FIRST ? "first" : "each");
    event(out, from);
    text(out, " to ");
    event(out, to);
}

static void trend(struct buf *out, const struct query *q) {
    text(out, q->has_period ? "trend of " : "total of ");
    for (uint32_t i = 0; i < q->trend.n_measures; i++) {
        if (i) text(out, ", ");
        trend_measure(out, &q->trend.measures[i]);
    }
    period(out, q, q->trend.over > 1 ? q->trend.over : 0);
}

static void retention(struct buf *out, const struct query *q) {
    from_to(out, "retention", q->retention.start, &q->retention.from, &q->retention.to);
    period(out, q, q->retention.periods);
}

static void time_between(struct buf *out, const struct query *q) {
    from_to(out, "time", q->time.start, &q->time.from, &q->time.to);
    duration(out, " within ", q->time.within);
    bool usual =
        q->time.n_percentiles == 2 && q->time.percentiles[0] == 50 && q->time.percentiles[1] == 90;
    if (!usual) numbers(out, " percentiles ", q->time.percentiles, q->time.n_percentiles);
}

static void paths(struct buf *out, const struct query *q) {
    (void)buf_printf(out, "paths of %u events", q->paths.length);
    events(out, " of ", q->paths.alphabet, q->paths.n_alphabet);
    if (q->paths.has_start) events(out, " starting at ", &q->paths.start, 1);
    if (q->paths.has_end) events(out, " ending at ", &q->paths.end, 1);
    duration(out, " within ", q->paths.within);
}

static void attribute(struct buf *out, const struct query *q) {
    text(out, "attribute ");
    trend_measure(out, &q->attribute.measure);
    (void)buf_printf(out, " to %s ", query_model_text(q->attribute.model));
    events(out, "", q->attribute.touches, q->attribute.n_touches);
    duration(out, " with half-life ", q->attribute.half_life);
    duration(out, " within ", q->attribute.within);
}

static void rfm(struct buf *out, const struct query *q) {
    text(out, "rfm of ");
    event(out, &q->rfm.event);
    text(out, " by ");
    property(out, &q->rfm.prop);
    for (uint32_t i = 0; i < q->rfm.n_recency; i++)
        duration(out, i ? ", " : " recency ", q->rfm.recency[i]);
    numbers(out, " frequency ", q->rfm.frequency, q->rfm.n_frequency);
    numbers(out, " value ", q->rfm.value, q->rfm.n_value);
}

static void top(struct buf *out, const struct query *q) {
    (void)buf_printf(out, "top %u ", q->limit);
    bool labels = q->top.event.kind == QUERY_EVENT_ANY && !q->top.event.filter &&
                  q->top.prop.scope == QUERY_SCOPE_EVENT && str_is(q->top.prop.path, "event");
    if (labels)
        text(out, "events");
    else
        event_prop(out, &q->top.event, &q->top.prop);
    if (q->top.rank == QUERY_RANK_CUSTOMERS) text(out, " by customers");
    if (q->top.rank == QUERY_RANK_SUM) {
        text(out, " by sum(");
        property_at(out, &q->top.rank_prop, QUERY_PLACE_ANY); /* sum(page.…) would be an event */
        text(out, ")");
    }
}

static void customers(struct buf *out, const struct query *q, const char *head) {
    text(out, head);
    if (!q->where) return;
    text(out, " where ");
    cond(out, q->where, false);
}

static void side(struct buf *out, const struct query_cond *c) {
    if (c && c->kind == QUERY_COND_SEGMENT) {
        text(out, "segment ");
        string(out, c->segment);
        return;
    }
    text(out, c ? "customers where " : "customers");
    if (c) cond(out, c, false);
}

static void compare(struct buf *out, const struct query *q) {
    text(out, "compare ");
    side(out, q->compare.a);
    text(out, " with ");
    if (q->compare.others)
        text(out, "others");
    else
        side(out, q->compare.b);
    /* Always, so that a range behind it cannot belong to B's last condition. */
    (void)buf_printf(out, " with at least %u customers", q->compare.support);
}

static void sessions(struct buf *out, const struct query *q) {
    text(out, "sessions");
    events(out, " of ", q->sessions.alphabet, q->sessions.n_alphabet);
    duration(out, " with gap ", q->sessions.gap);
    if (q->sessions.has_change) {
        text(out, " starting at change of ");
        property(out, &q->sessions.change);
    }
    period(out, q, 0);
}

/* The form with its own clauses; those that many forms share follow in query_print. */
static void head(struct buf *out, const struct query *q) {
    switch (q->form) {
    case QUERY_COUNT: customers(out, q, "count customers"); return;
    case QUERY_LIST:
        customers(out, q, "list customers");
        terms(out, " with ", q->list.columns, q->list.n_columns);
        terms(out, " order by ", q->list.order, q->list.n_order);
        return;
    case QUERY_FUNNEL:
        text(out, "funnel ");
        steps(out, &q->funnel);
        return;
    case QUERY_RETENTION: retention(out, q); return;
    case QUERY_REPEAT:
        events(out, "repeat of ", &q->repeat.event, 1);
        period(out, q, 0);
        return;
    case QUERY_TREND: trend(out, q); return;
    case QUERY_TIME: time_between(out, q); return;
    case QUERY_PATHS: paths(out, q); return;
    case QUERY_ATTRIBUTE: attribute(out, q); return;
    case QUERY_SESSIONS: sessions(out, q); return;
    case QUERY_COMPARE: compare(out, q); return;
    case QUERY_RFM: rfm(out, q); return;
    case QUERY_TOP: top(out, q); return;
    case QUERY_LIFECYCLE:
        events(out, "lifecycle of ", q->lifecycle.events, q->lifecycle.n_events);
        period(out, q, 0);
        return;
    case QUERY_FORMS: break;
    }
    K_ASSERT_OP(q->form, <, QUERY_FORMS);
}

int query_print(const struct query *q, struct buf *out) {
    head(out, q);
    bool ranged = q->form != QUERY_COUNT && q->form != QUERY_LIST;
    /* Before any split by a measure or `among`: a range behind them would belong to those. */
    range(out, &q->range);
    /* The issue's own wording: `by` where there is no period, `split by` where there may be one. */
    bool timed = q->form == QUERY_TREND || q->form == QUERY_RETENTION || q->form == QUERY_REPEAT ||
                 q->form == QUERY_SESSIONS || q->form == QUERY_LIFECYCLE;
    terms(out, timed ? " split by " : " by ", q->splits, q->n_splits);
    if (ranged && q->where) {
        text(out, " among customers where ");
        cond(out, q->where, false);
    }
    if (q->limit && q->form != QUERY_TOP) (void)buf_printf(out, " limit %u", q->limit);
    return done(out);
}

int query_print_event(const struct query_event *e, struct buf *out) {
    event(out, e);
    return done(out);
}
int query_print_cond(const struct query_cond *c, struct buf *out) {
    cond(out, c, false);
    return done(out);
}
int query_print_prop(const struct query_prop *p, struct buf *out) {
    property(out, p);
    return done(out);
}
int query_print_measure(const struct query_measure *m, struct buf *out) {
    trend_measure(out, m);
    range(out, &m->range);
    return done(out);
}
int query_print_term(const struct query_term *t, struct buf *out) {
    term(out, t);
    return done(out);
}
int query_print_time(const struct query_time *t, struct buf *out) {
    moment(out, t);
    return done(out);
}
