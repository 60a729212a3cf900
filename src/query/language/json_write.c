/* Writing the JSON form. Duty: see query_json.h.
 *
 * As in print.c the buffer's first failure sticks and is reported once. A comma is due wherever the
 * last byte does not open something.
 * Layers: query_json.h, json_names.h. Threads: pure.
 */
#include "query/language/json_names.h"
#include "query/language/query_json.h"

static void raw(struct buf *out, const char *s) { (void)buf_add_text(out, s); }

static void comma(struct buf *out) {
    char last = out->n ? (char)out->p[out->n - 1] : '{';
    if (last != '{' && last != '[' && last != ':') raw(out, ",");
}

static void key(struct buf *out, const char *name) {
    comma(out);
    (void)buf_printf(out, "\"%s\":", name);
}
static void open_object(struct buf *out) {
    comma(out);
    raw(out, "{");
}
static void open_list(struct buf *out, const char *name) {
    key(out, name);
    raw(out, "[");
}
static void put_text(struct buf *out, const char *name, const char *value) {
    key(out, name);
    (void)buf_printf(out, "\"%s\"", value);
}
static void put_str(struct buf *out, const char *name, struct str value) {
    key(out, name);
    (void)buf_add_json_str(out, value);
}
static void put_u32(struct buf *out, const char *name, uint32_t value) {
    key(out, name);
    (void)buf_printf(out, "%u", value);
}
static void put_true(struct buf *out, const char *name) {
    key(out, name);
    raw(out, "true");
}

/* ---- parts ---- */

static void put_time(struct buf *out, const char *name, const struct query_time *t) {
    key(out, name);
    raw(out, "\"");
    (void)query_print_time(t, out);
    raw(out, "\"");
}

static void put_duration(struct buf *out, const char *name, struct query_duration d) {
    if (!d.n) return;
    if (name) key(out, name);
    open_object(out);
    put_u32(out, "n", d.n);
    put_text(out, "unit", query_unit_text(d.unit));
    raw(out, "}");
}

static void put_range(struct buf *out, const struct query_range *r) {
    if (r->kind == QUERY_RANGE_ALL) return;
    key(out, "range");
    open_object(out);
    if (r->kind == QUERY_RANGE_SPAN && r->has_from) put_time(out, "from", &r->from);
    if (r->kind == QUERY_RANGE_SPAN && r->has_to) put_time(out, "to", &r->to);
    if (r->kind == QUERY_RANGE_LAST) {
        put_u32(out, "last", r->n);
        put_text(out, "unit", query_unit_text(r->unit));
    }
    if (r->kind == QUERY_RANGE_IN) put_time(out, "in", &r->from);
    raw(out, "}");
}

static void put_path(struct buf *out, const char *name, const struct query_prop *p) {
    struct buf path;
    buf_init(&path, QUERY_MAX_TEXT);
    if (p->scope == QUERY_SCOPE_PROPERTY) raw(&path, "properties.");
    if (p->scope == QUERY_SCOPE_CONTEXT) raw(&path, "context.");
    (void)buf_add_str(&path, p->path);
    if (name)
        key(out, name);
    else
        comma(out);
    (void)buf_add_json_str(out, buf_str(&path));
    if (path.failed && !out->failed) out->failed = path.failed;
    buf_release(&path);
}

static void put_value(struct buf *out, const struct query_value *v) {
    comma(out);
    switch (v->type) {
    case QUERY_VALUE_STRING: (void)buf_add_json_str(out, v->string); return;
    case QUERY_VALUE_NUMBER: (void)buf_add_json_f64(out, v->number); return;
    case QUERY_VALUE_BOOL: raw(out, v->boolean ? "true" : "false"); return;
    case QUERY_VALUE_TIME:
        raw(out, "{");
        put_time(out, "time", &v->time);
        raw(out, "}");
        return;
    }
}

static void put_test(struct buf *out, const struct query_test *t) {
    put_text(out, "op", query_op_text(t->op));
    bool many = t->op == QUERY_IN || t->op == QUERY_NOT_IN || t->op == QUERY_BETWEEN;
    if (many)
        open_list(out, "values");
    else if (t->n_values)
        key(out, "value");
    for (uint32_t i = 0; i < t->n_values; i++) put_value(out, &t->values[i]);
    if (many) raw(out, "]");
}

static void put_filter(struct buf *out, const struct query_filter *f) {
    open_object(out);
    if (f->kind == QUERY_FILTER_TEST) {
        put_path(out, "property", &f->prop);
        if (f->over != QUERY_OVER_AUTO) put_text(out, "over", QUERY_OVERS[f->over]);
        put_test(out, &f->test);
    } else if (f->kind == QUERY_FILTER_NOT) {
        key(out, "not");
        put_filter(out, f->items[0]);
    } else {
        open_list(out, f->kind == QUERY_FILTER_AND ? "and" : "or");
        for (uint32_t i = 0; i < f->n_items; i++) put_filter(out, f->items[i]);
        raw(out, "]");
    }
    raw(out, "}");
}

static void put_event(struct buf *out, const char *name, const struct query_event *e) {
    if (name) key(out, name);
    open_object(out);
    put_text(out, "type", QUERY_TYPES[e->kind]);
    if (e->has_name) put_str(out, "name", e->name);
    if (e->filter) {
        key(out, "where");
        put_filter(out, e->filter);
    }
    raw(out, "}");
}

static void put_events(struct buf *out, const char *name, const struct query_event *e, uint32_t n) {
    if (!n) return;
    open_list(out, name);
    for (uint32_t i = 0; i < n; i++) put_event(out, NULL, &e[i]);
    raw(out, "]");
}

static void put_measure(struct buf *out, const char *name, const struct query_measure *m) {
    if (name) key(out, name);
    open_object(out);
    put_text(out, "aggregate", QUERY_AGGREGATES[m->agg]);
    put_event(out, "event", &m->event);
    if (m->has_prop) put_path(out, "property", &m->prop);
    put_range(out, &m->range);
    raw(out, "}");
}

static void put_terms(struct buf *out, const char *name, const struct query_term *t, uint32_t n) {
    if (!n) return;
    open_list(out, name);
    for (uint32_t i = 0; i < n; i++) {
        open_object(out);
        if (t[i].kind == QUERY_TERM_MEASURE)
            put_measure(out, "measure", &t[i].measure);
        else if (t[i].kind == QUERY_TERM_SEGMENT)
            put_str(out, "segment", t[i].segment);
        else
            put_path(out, t[i].kind == QUERY_TERM_PROP ? "property" : "trait", &t[i].prop);
        if (t[i].descending) put_true(out, "descending");
        raw(out, "}");
    }
    raw(out, "]");
}

static void put_funnel(struct buf *out, const struct query_funnel *f) {
    if (f->any_order) put_true(out, "any_order");
    put_events(out, "steps", f->steps, f->n_steps);
    put_events(out, "without", f->without, f->n_without);
    if (f->n_same) {
        open_list(out, "same");
        for (uint32_t i = 0; i < f->n_same; i++) put_path(out, NULL, &f->same[i]);
        raw(out, "]");
    }
    put_duration(out, "within", f->within);
}

/* ---- conditions ---- */

static void put_cond(struct buf *out, const struct query_cond *c);

static void put_leaf(struct buf *out, const struct query_cond *c) {
    switch (c->kind) {
    case QUERY_COND_DID:
        put_event(out, "did", &c->event);
        if (c->min != 1) put_u32(out, "min", c->min);
        if (c->max != QUERY_NO_MAX) put_u32(out, "max", c->max);
        put_range(out, &c->range);
        return;
    case QUERY_COND_FOLLOWED:
        put_event(out, "did", &c->event);
        put_event(out, c->negated ? "not_followed_by" : "followed_by", &c->then);
        put_duration(out, "within", c->within);
        put_range(out, &c->range);
        return;
    case QUERY_COND_MEASURE:
        put_measure(out, "measure", &c->measure);
        put_test(out, &c->test);
        return;
    case QUERY_COND_TRAIT:
        put_path(out, "trait", &c->trait);
        put_test(out, &c->test);
        return;
    case QUERY_COND_IDENTIFIED: put_text(out, "is", "identified"); return;
    case QUERY_COND_ANONYMOUS: put_text(out, "is", "anonymous"); return;
    case QUERY_COND_SEGMENT: put_str(out, "segment", c->segment); return;
    case QUERY_COND_FUNNEL:
        key(out, "funnel");
        open_object(out);
        put_funnel(out, c->funnel);
        raw(out, "}");
        put_u32(out, c->stopped ? "stopped_at" : "reached", c->step);
        put_range(out, &c->range);
        return;
    default: K_ASSERT_OP(c->kind, >=, QUERY_COND_DID);
    }
}

static void put_cond(struct buf *out, const struct query_cond *c) {
    open_object(out);
    if (c->kind == QUERY_COND_NOT) {
        key(out, "not");
        put_cond(out, c->items[0]);
    } else if (c->kind == QUERY_COND_AND || c->kind == QUERY_COND_OR) {
        open_list(out, c->kind == QUERY_COND_AND ? "and" : "or");
        for (uint32_t i = 0; i < c->n_items; i++) put_cond(out, c->items[i]);
        raw(out, "]");
    } else {
        put_leaf(out, c);
    }
    raw(out, "}");
}

/* ---- forms ---- */

static void put_numbers(struct buf *out, const char *name, const double *v, uint32_t n) {
    open_list(out, name);
    for (uint32_t i = 0; i < n; i++) {
        comma(out);
        (void)buf_add_json_f64(out, v[i]);
    }
    raw(out, "]");
}

static void put_rfm(struct buf *out, const struct query *q) {
    put_event(out, "event", &q->rfm.event);
    put_path(out, "property", &q->rfm.prop);
    open_list(out, "recency");
    for (uint32_t i = 0; i < q->rfm.n_recency; i++) put_duration(out, NULL, q->rfm.recency[i]);
    raw(out, "]");
    put_numbers(out, "frequency", q->rfm.frequency, q->rfm.n_frequency);
    put_numbers(out, "value", q->rfm.value, q->rfm.n_value);
}

static void put_paths(struct buf *out, const struct query *q) {
    put_u32(out, "length", q->paths.length);
    put_events(out, "of", q->paths.alphabet, q->paths.n_alphabet);
    if (q->paths.has_start) put_event(out, "starting_at", &q->paths.start);
    if (q->paths.has_end) put_event(out, "ending_at", &q->paths.end);
    put_duration(out, "within", q->paths.within);
}

static void put_trend(struct buf *out, const struct query *q) {
    open_list(out, "measures");
    for (uint32_t i = 0; i < q->trend.n_measures; i++)
        put_measure(out, NULL, &q->trend.measures[i]);
    raw(out, "]");
    if (q->trend.over > 1) put_u32(out, "over", q->trend.over);
}

static void put_compare(struct buf *out, const struct query *q) {
    if (q->compare.a) {
        key(out, "a");
        put_cond(out, q->compare.a);
    }
    if (q->compare.others) put_text(out, "b", "others");
    if (q->compare.b) {
        key(out, "b");
        put_cond(out, q->compare.b);
    }
    put_u32(out, "support", q->compare.support);
}

static void put_form(struct buf *out, const struct query *q) {
    switch (q->form) {
    case QUERY_COUNT: return;
    case QUERY_LIST:
        put_terms(out, "with", q->list.columns, q->list.n_columns);
        put_terms(out, "order_by", q->list.order, q->list.n_order);
        return;
    case QUERY_FUNNEL: put_funnel(out, &q->funnel); return;
    case QUERY_RETENTION:
        put_text(out, "start", QUERY_STARTS_TEXT[q->retention.start]);
        put_event(out, "from", &q->retention.from);
        put_event(out, "to", &q->retention.to);
        if (q->retention.periods) put_u32(out, "over", q->retention.periods);
        return;
    case QUERY_REPEAT: put_event(out, "event", &q->repeat.event); return;
    case QUERY_TREND: put_trend(out, q); return;
    case QUERY_TIME:
        put_text(out, "start", QUERY_STARTS_TEXT[q->time.start]);
        put_event(out, "from", &q->time.from);
        put_event(out, "to", &q->time.to);
        put_duration(out, "within", q->time.within);
        put_numbers(out, "percentiles", q->time.percentiles, q->time.n_percentiles);
        return;
    case QUERY_PATHS: put_paths(out, q); return;
    case QUERY_ATTRIBUTE:
        put_measure(out, "measure", &q->attribute.measure);
        put_text(out, "model", query_model_text(q->attribute.model));
        put_events(out, "touches", q->attribute.touches, q->attribute.n_touches);
        put_duration(out, "half_life", q->attribute.half_life);
        put_duration(out, "within", q->attribute.within);
        return;
    case QUERY_SESSIONS:
        put_events(out, "of", q->sessions.alphabet, q->sessions.n_alphabet);
        put_duration(out, "gap", q->sessions.gap);
        if (q->sessions.has_change) put_path(out, "change", &q->sessions.change);
        return;
    case QUERY_RFM: put_rfm(out, q); return;
    case QUERY_TOP:
        put_event(out, "event", &q->top.event);
        put_path(out, "property", &q->top.prop);
        put_text(out, "rank", QUERY_RANKS[q->top.rank]);
        if (q->top.rank == QUERY_RANK_SUM) put_path(out, "rank_property", &q->top.rank_prop);
        return;
    case QUERY_LIFECYCLE:
        put_events(out, "events", q->lifecycle.events, q->lifecycle.n_events);
        return;
    case QUERY_COMPARE: put_compare(out, q); return;
    case QUERY_FORMS: break;
    }
    K_ASSERT_OP(q->form, <, QUERY_FORMS);
}

int query_json_print(const struct query *q, struct buf *out) {
    open_object(out);
    put_text(out, "form", QUERY_FORM_NAMES[q->form]);
    bool own = q->form == QUERY_COUNT || q->form == QUERY_LIST;
    if (q->where) {
        key(out, own ? "where" : "among");
        put_cond(out, q->where);
    }
    put_form(out, q);
    put_range(out, &q->range);
    if (q->has_period) put_text(out, "period", query_unit_text(q->period));
    put_terms(out, "by", q->splits, q->n_splits);
    if (q->limit) put_u32(out, "limit", q->limit);
    raw(out, "}");
    return out->failed;
}
