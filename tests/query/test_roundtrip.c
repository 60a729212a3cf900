/* Random queries: canonical text and JSON give back the tree that was printed.
 *
 * A generator draws the tree itself, not text, so that everything the structs can say is said.
 * Trees that the checks refuse are not of interest and drawn again; the share of good ones is
 * asserted. A failing tree is made smaller by replacing parts with simpler ones (a node by its
 * child, a list by its first half, options by none) as long as it goes on failing.
 *
 * KEEL_SEED=<number> repeats a run, KEEL_ROUNDS=<number> makes it longer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "query/language/check.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/query_print.h"
#include "query/language/token.h"
#include "query/language/tree.h"

enum { ARENA_BYTES = 128 << 20, ROUNDS = 4000 };

/* The generator. `cut` shrinks: option k (in order of drawing) is left out when its bit says so. */
struct gen {
    struct rand rand;
    struct arena *arena;
    const uint8_t *cut; /* one byte a choice, or NULL */
    size_t cuts, choices;
};

/* A choice that shrinking may turn off. */
static bool maybe(struct gen *g, unsigned percent) {
    bool yes = rand_below(&g->rand, 100) < percent;
    size_t k = g->choices++;
    return yes && !(g->cut && k < g->cuts && g->cut[k]);
}

static uint32_t below(struct gen *g, uint32_t n) { return rand_below(&g->rand, n); }

/* least … most, few more likely; each one above least may be cut. */
static uint32_t some(struct gen *g, uint32_t least, uint32_t most) {
    uint32_t n = least;
    while (n < most && maybe(g, 40)) n++;
    return n;
}

static void *new_items(struct gen *g, uint32_t n, size_t bytes) {
    return arena_zalloc(g->arena, (n ? n : 1) * bytes);
}

/* ---- words ---- */

static struct str draw_text(struct gen *g, bool control) {
    static const char *const pieces[] = {"a",     "Order Completed",
                                         " ",     "\"",
                                         "\\",    "`",
                                         "'",     "é",
                                         "日本",  "😀",
                                         ".",     "count",
                                         "x1",    "_",
                                         "where", "--",
                                         "(",     ",",
                                         "time",  "properties.",
                                         "page",  "/",
                                         "%s",    "context.",
                                         "trait", "and",
                                         "0",     "\n",
                                         "\t",    "\r\x01",
                                         "{",     "\x7f"};
    enum { PIECES = sizeof pieces / sizeof *pieces };
    struct buf out;
    buf_init(&out, 1000);
    for (uint32_t n = 1 + some(g, 0, 4); n > 0; n--) {
        const char *piece = pieces[below(g, PIECES)];
        bool forbidden = !control && (piece[0] == '\n' || piece[0] == '\t' || piece[0] == '\r');
        assert_int_equal(buf_add_text(&out, forbidden ? "c" : piece), 0);
    }
    struct str s = str_dup(g->arena, buf_str(&out));
    buf_release(&out);
    return s;
}

static struct query_prop draw_prop(struct gen *g) {
    static const char *const usual[] = {"price",       "products.sku", "context.campaign.name",
                                        "time",        "event",        "properties.time",
                                        "page.url",    "first",        "day.of.week",
                                        "x.`y`",       "context.x y",  "properties.context.x",
                                        "sum",         "group.name",   "context.page.url",
                                        "properties.", "context",      "in"};
    struct str path = maybe(g, 30) ? draw_text(g, false)
                                   : str_from(usual[below(g, sizeof usual / sizeof *usual)]);
    return query_prop_from_path(path, (struct query_pos){0, 0});
}

static struct query_prop draw_trait(struct gen *g) {
    struct query_prop p = draw_prop(g);
    p.path = maybe(g, 50) ? draw_text(g, false) : STR("country");
    p.scope = QUERY_SCOPE_TRAIT;
    return p;
}

/* ---- time ---- */

static struct query_time draw_time(struct gen *g, enum query_time_kind least,
                                   enum query_time_kind most) {
    struct query_time t = {.kind = (enum query_time_kind)(least + below(g, 1u + most - least)),
                           .year = (int16_t)(1 + below(g, 9999)),
                           .month = 1,
                           .day = 1};
    if (t.kind >= QUERY_TIME_MONTH) t.month = (uint8_t)(1 + below(g, 12));
    if (t.kind >= QUERY_TIME_DAY) t.day = (uint8_t)(1 + below(g, 28));
    if (t.kind >= QUERY_TIME_LOCAL) {
        t.hour = (uint8_t)below(g, 24);
        t.minute = (uint8_t)below(g, 60);
        t.second = (uint8_t)below(g, 60);
        t.ms = maybe(g, 30) ? (int16_t)below(g, 1000) : 0;
    }
    if (t.kind == QUERY_TIME_ZONED && maybe(g, 50))
        t.offset_minutes = (int16_t)((int)below(g, 2161) - 1080);
    return t;
}

static struct query_range draw_range(struct gen *g, unsigned percent) {
    struct query_range r = {.kind = QUERY_RANGE_ALL};
    if (!maybe(g, percent)) return r;
    r.kind = (enum query_range_kind)(1 + below(g, 3));
    if (r.kind == QUERY_RANGE_SPAN) {
        r.has_from = below(g, 3) > 0;
        r.has_to = !r.has_from || maybe(g, 50);
        if (r.has_from) r.from = draw_time(g, QUERY_TIME_DAY, QUERY_TIME_ZONED);
        if (r.has_to) r.to = draw_time(g, QUERY_TIME_DAY, QUERY_TIME_ZONED);
        if (r.has_from && r.has_to && !query_time_may_precede(&r.from, &r.to)) r.has_from = false;
        if (!r.has_from) memset(&r.from, 0, sizeof r.from);
    } else if (r.kind == QUERY_RANGE_LAST) {
        r.n = 1 + below(g, 400);
        r.unit = (enum query_unit)(QUERY_MINUTE + below(g, QUERY_UNITS - QUERY_MINUTE));
    } else {
        r.from = draw_time(g, QUERY_TIME_YEAR, QUERY_TIME_DAY);
    }
    return r;
}

static struct query_duration draw_duration(struct gen *g) {
    return (struct query_duration){1 + below(g, 100), (enum query_unit)below(g, QUERY_WEEK + 1)};
}

/* ---- tests, filters, events ---- */

static struct query_value draw_value(struct gen *g, enum query_value_type type) {
    static const double numbers[] = {0, 1, -1, 0.1, 1e300, -2.5e-9, 123456789012345678.0, 1.0 / 3};
    struct query_value v = {.type = type};
    if (type == QUERY_VALUE_STRING) v.string = draw_text(g, true);
    if (type == QUERY_VALUE_NUMBER)
        v.number = maybe(g, 50) ? rand_normal(&g->rand) * 1e6 : numbers[below(g, 8)];
    if (type == QUERY_VALUE_BOOL) v.boolean = below(g, 2);
    if (type == QUERY_VALUE_TIME) v.time = draw_time(g, QUERY_TIME_DAY, QUERY_TIME_ZONED);
    return v;
}

static struct query_test draw_test(struct gen *g, bool number) {
    struct query_test t = {.op = (enum query_op)below(g, number ? QUERY_CONTAINS : QUERY_OPS)};
    bool list = t.op == QUERY_IN || t.op == QUERY_NOT_IN;
    bool none = t.op == QUERY_EXISTS || t.op == QUERY_MISSING;
    t.n_values = list ? 1 + some(g, 0, 5) : none ? 0 : t.op == QUERY_BETWEEN ? 2 : 1;
    t.values = new_items(g, t.n_values, sizeof *t.values);
    enum query_value_type type = (enum query_value_type)below(g, 4);
    if (t.op >= QUERY_LT && t.op <= QUERY_BETWEEN && type == QUERY_VALUE_BOOL)
        type = QUERY_VALUE_NUMBER;
    if (t.op >= QUERY_CONTAINS) type = QUERY_VALUE_STRING;
    if (number) type = QUERY_VALUE_NUMBER;
    for (uint32_t i = 0; i < t.n_values; i++) {
        if (list && !number) type = (enum query_value_type)below(g, 4);
        t.values[i] = draw_value(g, type);
    }
    if (t.op == QUERY_MATCHES) t.values[0].string = STR("^a+(b|\\d\")$");
    return t;
}

static struct query_filter *draw_filter(struct gen *g, unsigned depth) {
    if (depth > 0 && maybe(g, 35)) {
        uint32_t kind = below(g, 3);
        struct query_filter *f = draw_filter(g, depth - 1);
        if (kind == 2) return query_filter_not(g->arena, f);
        for (uint32_t n = 1 + some(g, 0, 3); n > 0; n--)
            f = query_filter_join(g->arena, kind ? QUERY_FILTER_OR : QUERY_FILTER_AND, f,
                                  draw_filter(g, depth - 1));
        return f;
    }
    struct query_filter *f = new_items(g, 1, sizeof *f);
    f->kind = QUERY_FILTER_TEST;
    f->over = (enum query_over)below(g, 3);
    f->prop = draw_prop(g);
    f->test = draw_test(g, false);
    f->depth = 1;
    return f;
}

static struct query_event draw_event(struct gen *g) {
    struct query_event e = {.kind = QUERY_EVENT_TRACK, .has_name = true, .name = STR("A")};
    if (maybe(g, 40)) {
        e.kind = (enum query_event_kind)below(g, QUERY_EVENT_KINDS);
        e.has_name = e.kind == QUERY_EVENT_TRACK || (e.kind <= QUERY_EVENT_SCREEN && maybe(g, 50));
    }
    if (e.has_name && maybe(g, 50)) e.name = draw_text(g, true);
    if (!e.has_name) e.name = (struct str){0};
    if (maybe(g, 35)) e.filter = draw_filter(g, 3);
    return e;
}

static struct query_event *draw_events(struct gen *g, uint32_t n) {
    struct query_event *events = new_items(g, n, sizeof *events);
    for (uint32_t i = 0; i < n; i++) events[i] = draw_event(g);
    return events;
}

/* ---- measures, terms, conditions ---- */

static struct query_measure draw_measure(struct gen *g, bool trend) {
    struct query_measure m = {.agg =
                                  (enum query_agg)below(g, trend ? QUERY_AGGS : QUERY_CUSTOMERS)};
    if (trend && (m.agg == QUERY_FIRST || m.agg == QUERY_LAST)) m.agg = QUERY_CUSTOMERS;
    m.event = draw_event(g);
    m.has_prop = m.agg != QUERY_CUSTOMERS && (m.agg != QUERY_COUNT_OF || maybe(g, 40));
    if (m.has_prop) m.prop = draw_prop(g);
    if (m.has_prop && m.prop.scope == QUERY_SCOPE_EVENT && m.agg >= QUERY_SUM && m.agg <= QUERY_MAX)
        m.prop = query_prop_from_path(STR("revenue"), (struct query_pos){0, 0});
    if (!trend) m.range = draw_range(g, 30);
    return m;
}

/* kinds: bits of enum query_term_kind */
static struct query_term *draw_terms(struct gen *g, uint32_t n, unsigned kinds, bool order) {
    struct query_term *terms = new_items(g, n, sizeof *terms);
    for (uint32_t i = 0; i < n; i++) {
        struct query_term *t = &terms[i];
        do t->kind = (enum query_term_kind)below(g, 4);
        while (!(kinds >> t->kind & 1));
        if (t->kind == QUERY_TERM_PROP) t->prop = draw_prop(g);
        if (t->kind == QUERY_TERM_TRAIT) t->prop = draw_trait(g);
        if (t->kind == QUERY_TERM_MEASURE) t->measure = draw_measure(g, false);
        if (t->kind == QUERY_TERM_SEGMENT) t->segment = draw_text(g, true);
        t->descending = order && maybe(g, 50);
    }
    return terms;
}

static void draw_funnel(struct gen *g, struct query_funnel *f, uint32_t least) {
    f->any_order = maybe(g, 30);
    f->n_steps = some(g, least, 5);
    f->steps = draw_events(g, f->n_steps);
    f->n_without = some(g, 0, 2);
    f->without = draw_events(g, f->n_without);
    f->n_same = some(g, 0, 2);
    f->same = new_items(g, f->n_same, sizeof *f->same);
    for (uint32_t i = 0; i < f->n_same; i++) f->same[i] = draw_prop(g);
    if (maybe(g, 50)) f->within = draw_duration(g);
}

static void draw_times(struct gen *g, struct query_cond *c) {
    static const uint32_t ends[][2] = {{0, 0}, {0, 3}, {1, 1},           {2, QUERY_NO_MAX},
                                       {2, 4}, {1, 2}, {0, QUERY_NO_MAX}};
    c->min = 1;
    c->max = QUERY_NO_MAX;
    if (!maybe(g, 40)) return;
    uint32_t k = below(g, sizeof ends / sizeof *ends);
    c->min = ends[k][0];
    c->max = ends[k][1];
}

static struct query_cond *draw_leaf(struct gen *g) {
    struct query_cond *c = new_items(g, 1, sizeof *c);
    c->kind = (enum query_cond_kind)(QUERY_COND_DID + below(g, QUERY_COND_FUNNEL - 2));
    switch (c->kind) {
    case QUERY_COND_DID:
        c->event = draw_event(g);
        draw_times(g, c);
        c->range = draw_range(g, 40);
        break;
    case QUERY_COND_FOLLOWED:
        c->event = draw_event(g);
        c->then = draw_event(g);
        c->negated = maybe(g, 50);
        if (maybe(g, 50)) c->within = draw_duration(g);
        c->range = draw_range(g, 40);
        break;
    case QUERY_COND_MEASURE:
        c->measure = draw_measure(g, false);
        c->test = draw_test(g, c->measure.agg != QUERY_FIRST && c->measure.agg != QUERY_LAST);
        break;
    case QUERY_COND_TRAIT:
        c->trait = draw_trait(g);
        c->test = draw_test(g, false);
        break;
    case QUERY_COND_SEGMENT: c->segment = draw_text(g, true); break;
    case QUERY_COND_FUNNEL:
        c->funnel = new_items(g, 1, sizeof *c->funnel);
        draw_funnel(g, c->funnel, 1);
        c->step = 1 + below(g, c->funnel->n_steps);
        c->stopped = maybe(g, 50);
        c->range = draw_range(g, 40);
        break;
    default: break;
    }
    query_cond_measure_depth(c);
    return c;
}

static struct query_cond *draw_cond(struct gen *g, unsigned depth) {
    if (depth == 0 || !maybe(g, 50)) return draw_leaf(g);
    uint32_t kind = below(g, 3);
    struct query_cond *c = draw_cond(g, depth - 1);
    if (kind == 2) return query_cond_not(g->arena, c);
    for (uint32_t n = 1 + some(g, 0, 3); n > 0; n--)
        c = query_cond_join(g->arena, kind ? QUERY_COND_OR : QUERY_COND_AND, c,
                            draw_cond(g, depth - 1));
    return c;
}

/* ---- forms ---- */

static double *draw_numbers(struct gen *g, uint32_t n, double from) {
    double *v = new_items(g, n, sizeof *v);
    for (uint32_t i = 0; i < n; i++) v[i] = from += 0.25 + below(g, 40) / 4.0;
    return v;
}

static void draw_rfm(struct gen *g, struct query *q) {
    q->rfm.event = draw_event(g);
    q->rfm.prop = draw_prop(g);
    if (q->rfm.prop.scope == QUERY_SCOPE_EVENT)
        q->rfm.prop = query_prop_from_path(STR("value"), (struct query_pos){0, 0});
    q->rfm.n_recency = some(g, 1, 4);
    q->rfm.recency = new_items(g, q->rfm.n_recency, sizeof *q->rfm.recency);
    for (uint32_t i = 0; i < q->rfm.n_recency; i++)
        q->rfm.recency[i] = (struct query_duration){1 + i * 3, QUERY_DAY};
    q->rfm.n_frequency = some(g, 1, 4);
    q->rfm.frequency = draw_numbers(g, q->rfm.n_frequency, 0);
    q->rfm.n_value = some(g, 1, 4);
    q->rfm.value = draw_numbers(g, q->rfm.n_value, -20);
}

static void draw_time_form(struct gen *g, struct query *q) {
    q->time.start = maybe(g, 50) ? QUERY_START_EACH : QUERY_START_FIRST;
    q->time.from = draw_event(g);
    q->time.to = draw_event(g);
    if (maybe(g, 50)) q->time.within = draw_duration(g);
    query_usual_percentiles(q, g->arena);
    if (!maybe(g, 50)) return;
    q->time.n_percentiles = some(g, 1, 5);
    q->time.percentiles = draw_numbers(g, q->time.n_percentiles, 0);
}

static void draw_paths(struct gen *g, struct query *q) {
    q->paths.length = 2 + below(g, QUERY_MAX_PATH - 1);
    q->paths.n_alphabet = some(g, 0, 3);
    q->paths.alphabet = draw_events(g, q->paths.n_alphabet);
    if (maybe(g, 50)) q->paths.within = draw_duration(g);
    q->paths.has_start = maybe(g, 40);
    q->paths.has_end = maybe(g, 40);
    if (q->paths.has_start) q->paths.start = draw_event(g);
    if (q->paths.has_end) q->paths.end = draw_event(g);
}

static void draw_trend(struct gen *g, struct query *q) {
    q->trend.n_measures = some(g, 1, 4);
    q->trend.measures = new_items(g, q->trend.n_measures, sizeof *q->trend.measures);
    for (uint32_t i = 0; i < q->trend.n_measures; i++) q->trend.measures[i] = draw_measure(g, true);
    q->has_period = maybe(g, 70);
    q->trend.over = q->has_period && maybe(g, 40) ? 1 + below(g, 30) : 1;
}

static void draw_attribute(struct gen *g, struct query *q) {
    do q->attribute.measure = draw_measure(g, true);
    while (q->attribute.measure.agg > QUERY_SUM);
    q->attribute.model = (enum query_model)below(g, QUERY_MODELS);
    if (q->attribute.model == QUERY_MODEL_DECAY) q->attribute.half_life = draw_duration(g);
    q->attribute.n_touches = some(g, 1, 4);
    q->attribute.touches = draw_events(g, q->attribute.n_touches);
    if (maybe(g, 50)) q->attribute.within = draw_duration(g);
}

static void draw_top(struct gen *g, struct query *q) {
    q->top.event = draw_event(g);
    q->top.prop = draw_prop(g);
    q->limit = 1 + below(g, 50);
    q->top.rank = (enum query_rank)below(g, 3);
    if (q->top.rank != QUERY_RANK_SUM) return;
    do q->top.rank_prop = draw_prop(g);
    while (q->top.rank_prop.scope == QUERY_SCOPE_EVENT);
}

static void draw_compare(struct gen *g, struct query *q) {
    if (maybe(g, 80)) q->compare.a = draw_cond(g, 2);
    if (maybe(g, 80)) q->compare.b = draw_cond(g, 2);
    q->compare.others = !q->compare.b && maybe(g, 50);
    q->compare.support = 1 + below(g, 20);
}

static void draw_form(struct gen *g, struct query *q) {
    switch (q->form) {
    case QUERY_LIST:
        q->list.n_columns = some(g, 0, 4);
        q->list.columns = draw_terms(g, q->list.n_columns, 6, false);
        q->list.n_order = some(g, 0, 2);
        q->list.order = draw_terms(g, q->list.n_order, 6, true);
        return;
    case QUERY_FUNNEL: draw_funnel(g, &q->funnel, 2); return;
    case QUERY_RETENTION:
        q->has_period = true;
        q->retention.start = maybe(g, 50) ? QUERY_START_EACH : QUERY_START_FIRST;
        q->retention.from = draw_event(g);
        q->retention.to = draw_event(g);
        q->retention.periods = maybe(g, 50) ? 1 + below(g, 30) : 0;
        return;
    case QUERY_REPEAT:
        q->has_period = true;
        q->repeat.event = draw_event(g);
        return;
    case QUERY_LIFECYCLE:
        q->has_period = true;
        q->lifecycle.n_events = some(g, 1, 3);
        q->lifecycle.events = draw_events(g, q->lifecycle.n_events);
        return;
    case QUERY_TREND: draw_trend(g, q); return;
    case QUERY_TIME: draw_time_form(g, q); return;
    case QUERY_PATHS: draw_paths(g, q); return;
    case QUERY_ATTRIBUTE: draw_attribute(g, q); return;
    case QUERY_SESSIONS:
        q->has_period = maybe(g, 50);
        q->sessions.gap = draw_duration(g);
        q->sessions.n_alphabet = some(g, 0, 3);
        q->sessions.alphabet = draw_events(g, q->sessions.n_alphabet);
        q->sessions.has_change = maybe(g, 40);
        if (q->sessions.has_change) q->sessions.change = draw_prop(g);
        return;
    case QUERY_COMPARE: draw_compare(g, q); return;
    case QUERY_RFM: draw_rfm(g, q); return;
    case QUERY_TOP: draw_top(g, q); return;
    default: return;
    }
}

static struct query *draw_query(struct gen *g) {
    static const unsigned split_kinds[QUERY_FORMS] = {
        [QUERY_COUNT] = 14,    [QUERY_FUNNEL] = 11,   [QUERY_RETENTION] = 10,
        [QUERY_REPEAT] = 10,   [QUERY_TREND] = 11,    [QUERY_TIME] = 11,
        [QUERY_ATTRIBUTE] = 1, [QUERY_SESSIONS] = 11, [QUERY_LIFECYCLE] = 10};
    struct query *q = new_items(g, 1, sizeof *q);
    q->form = (enum query_form)below(g, QUERY_FORMS);
    draw_form(g, q);
    bool own = q->form == QUERY_COUNT || q->form == QUERY_LIST;
    if (maybe(g, own ? 90 : 40)) q->where = draw_cond(g, 3);
    if (!own) q->range = draw_range(g, q->form == QUERY_REPEAT ? 100 : 50);
    if (q->has_period) {
        bool days =
            q->form == QUERY_RETENTION || q->form == QUERY_REPEAT || q->form == QUERY_LIFECYCLE;
        uint32_t first = days ? QUERY_DAY : QUERY_HOUR;
        q->period = (enum query_unit)(first + below(g, QUERY_UNITS - first));
    }
    if (split_kinds[q->form]) {
        bool one = q->form == QUERY_ATTRIBUTE;
        q->n_splits = one ? 1 : some(g, 0, QUERY_MAX_SPLITS);
        q->splits = draw_terms(g, q->n_splits, split_kinds[q->form], false);
    }
    bool limited = q->form == QUERY_LIST || q->form == QUERY_PATHS || q->form == QUERY_ATTRIBUTE ||
                   q->form == QUERY_COMPARE;
    if (limited && maybe(g, 50)) q->limit = 1 + below(g, 1000);
    return q;
}

/* ---- the property ---- */

static struct str json_of(struct arena *a, const struct query *q) {
    struct buf out;
    buf_init(&out, 4 << 20);
    assert_int_equal(query_json_print(q, &out), 0);
    struct str text = str_dup(a, buf_str(&out));
    buf_release(&out);
    return text;
}

enum outcome { GOOD, REFUSED, BROKEN };

/* why: what is broken. */
static enum outcome holds(struct gen *g, char *why, size_t n) {
    struct query_pos at;
    struct keel_error err = {0};
    struct query *q = draw_query(g), *again = NULL;
    if (query_check(q, &at, &err) < 0 || query_seal(q, g->arena, &err) < 0) {
        snprintf(why, n, "%s", err.message);
        return REFUSED;
    }
    struct str json = json_of(g->arena, q);
    if (query_parse(q->text, g->arena, &again, NULL, &err) < 0) {
        snprintf(why, n, "%.*s\n%s", STR_ARG(q->text), err.message);
        return BROKEN;
    }
    struct str json_again = json_of(g->arena, again);
    if (!str_eq(q->text, again->text) || !str_eq(json, json_again)) {
        snprintf(why, n, "%.*s\n%.*s\n%.*s\n%.*s", STR_ARG(q->text), STR_ARG(again->text),
                 STR_ARG(json), STR_ARG(json_again));
        return BROKEN;
    }
    if (json.n > QUERY_JSON_MAX_BYTES) return GOOD;
    if (query_json_parse(json, g->arena, &again, &err) < 0 || !str_eq(q->text, again->text) ||
        !str_eq(json, json_of(g->arena, again))) {
        snprintf(why, n, "%.*s\n%s", STR_ARG(json), err.message);
        return BROKEN;
    }
    return GOOD;
}

static enum outcome try_seed(uint64_t seed, const uint8_t *cut, size_t cuts, size_t *choices,
                             char *why, size_t n) {
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    struct gen g = {.arena = &a, .cut = cut, .cuts = cuts};
    rand_init(&g.rand, seed);
    enum outcome outcome = holds(&g, why, n);
    *choices = g.choices;
    arena_release(&a);
    return outcome;
}

enum { CHOICES_MAX = 1 << 16, WHY = 8192 };

/* Leaves out what can be left out while it stays broken; prints the smallest. */
static void shrink_and_fail(uint64_t seed, size_t choices) {
    static uint8_t cut[CHOICES_MAX];
    static char why[WHY], smallest[WHY];
    size_t now;
    memset(cut, 0, sizeof cut);
    (void)try_seed(seed, NULL, 0, &now, smallest, sizeof smallest);
    for (size_t k = 0; k < choices && k < CHOICES_MAX; k++) {
        cut[k] = 1;
        if (try_seed(seed, cut, CHOICES_MAX, &now, why, sizeof why) == BROKEN)
            memcpy(smallest, why, sizeof smallest);
        else
            cut[k] = 0;
    }
    fail_msg("KEEL_SEED=%llu\n%s", (unsigned long long)seed, smallest);
}

static void random_trees_come_back(void **state) {
    (void)state;
    const char *given = getenv("KEEL_SEED"), *rounds = getenv("KEEL_ROUNDS");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)now_us();
    unsigned long n = rounds ? strtoul(rounds, NULL, 10) : ROUNDS, good = 0;
    static char why[WHY];
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned long i = 0; i < n; i++) {
        size_t choices;
        enum outcome outcome = try_seed(seed + i, NULL, 0, &choices, why, sizeof why);
        if (outcome == BROKEN) shrink_and_fail(seed + i, choices);
        good += outcome == GOOD;
    }
    if (good < n / 3) fail_msg("only %lu of %lu were queries; the last: %s", good, n, why);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_trees_come_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
