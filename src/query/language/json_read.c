/* Reading the JSON form. Duty: see query_json.h.
 *
 * A walk over the JSON tree. Where it is stands in a small stack of names, from which a message is
 * made only when something is wrong. Sizes and depths are bounded by the JSON reader; what the
 * query itself may not have is left to check.c.
 * Layers: query_json.h, tree.h, token.h, check.h. Threads: pure.
 */
#include <stdarg.h>
#include <stdio.h>

#include "query/language/check.h"
#include "query/language/json_names.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/token.h"
#include "query/language/tree.h"

enum { PLACES = JSON_MAX_DEPTH * 2 };

/* Every query that may exist can be written as JSON that may be read: two levels (object and array)
 * for each level of conditions and filters, and what stands around and inside them. */
_Static_assert(2 * QUERY_MAX_DEPTH + 4 <= JSON_MAX_DEPTH, "the deepest query fits the JSON reader");

struct place {
    const char *name; /* a member … */
    size_t index;     /* … or, if NULL, an element */
};

struct reader_state {
    struct arena *arena;
    struct keel_error *err;
    struct place places[PLACES];
    size_t depth;
};
typedef struct reader_state *R;
typedef struct json_value J;

/* ---- errors ---- */

static int wrong(R r, const char *format, ...) K_PRINTF(2, 3);
static int wrong(R r, const char *format, ...) {
    char message[300], path[400] = "";
    size_t n = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    for (size_t i = 0; i < r->depth && n < sizeof path - 1; i++) {
        const struct place *p = &r->places[i];
        int written = p->name ? snprintf(path + n, sizeof path - n, "%s%s", n ? "." : "", p->name)
                              : snprintf(path + n, sizeof path - n, "[%zu]", p->index);
        n += written > 0 ? (size_t)written : 0;
    }
    return error_set(r->err, KEEL_E_SYNTAX, "query as JSON%s%s: %s", path[0] ? ", " : "", path,
                     message);
}

static void enter(R r, const char *name, size_t index) {
    K_ASSERT_OP(r->depth, <, PLACES);
    r->places[r->depth++] = (struct place){name, index};
}
static void leave(R r) { r->depth--; }

/* Every member must be among these (NULL ends the list). */
static int only(R r, J v, const char *const *names) {
    if (json_type(v) != JSON_OBJECT)
        return wrong(r, "expected an object, found %s", json_type_text(json_type(v)));
    struct json_each each = json_each(v);
    struct str key = {0};
    J ignored;
    while (json_next(&each, &key, &ignored)) {
        size_t i = 0;
        while (names[i] && !str_is(key, names[i])) i++;
        if (!names[i]) return wrong(r, "there is no member \"%.*s\" here", STR_ARG(key));
    }
    return 0;
}
#define ONLY(v, ...) TRY(only(r, v, (const char *const[]){__VA_ARGS__, NULL}))

/* ---- scalars ---- */

static int read_str(R r, J v, struct str *out) {
    struct str s = {0};
    if (!json_str(v, &s)) return wrong(r, "expected a text");
    *out = str_dup(r->arena, s);
    return 0;
}

static int read_text(R r, J v, void *out) { return read_str(r, v, out); }

static int read_f64(R r, J v, double *out) {
    if (!json_f64(v, out)) return wrong(r, "expected a number");
    if (*out == 0) *out = 0; /* no -0 */
    return 0;
}

static int read_u32(R r, J v, uint32_t most, uint32_t *out) {
    int64_t n;
    if (!json_i64(v, &n) || n < 0 || n > most)
        return wrong(r, "expected a whole number from 0 to %u", most);
    *out = (uint32_t)n;
    return 0;
}

static int read_word(R r, J v, const char *const *words, size_t n, int *out) {
    struct str s = {0};
    if (!json_str(v, &s)) return wrong(r, "expected a text");
    for (size_t i = 0; i < n; i++) {
        if (!str_is(s, words[i])) continue;
        *out = (int)i;
        return 0;
    }
    return wrong(r, "\"%.*s\" is not possible here", s.n > 60 ? 60 : (int)s.n, s.p);
}

/* A function that reads one value into *out. */
typedef int (*read_fn)(R r, J v, void *out);

static int member(R r, J object, const char *name, read_fn one, void *out) {
    J v = json_get(object, name);
    enter(r, name, 0);
    int code = json_type(v) == JSON_ABSENT ? wrong(r, "is missing") : one(r, v, out);
    leave(r);
    return code;
}

static int member_maybe(R r, J object, const char *name, read_fn one, void *out) {
    return json_has(object, name) ? member(r, object, name, one, out) : 0;
}

static int member_u32(R r, J object, const char *name, uint32_t most, uint32_t *out) {
    J v = json_get(object, name);
    if (json_type(v) == JSON_ABSENT) return 0;
    enter(r, name, 0);
    int code = read_u32(r, v, most, out);
    leave(r);
    return code;
}

static int member_word(R r, J object, const char *name, const char *const *words, size_t n,
                       int *out) {
    J v = json_get(object, name);
    enter(r, name, 0);
    int code =
        json_type(v) == JSON_ABSENT ? wrong(r, "is missing") : read_word(r, v, words, n, out);
    leave(r);
    return code;
}

/* An array of things of one size. */
static int read_list(R r, J v, size_t bytes, read_fn one, void **items, uint32_t *n) {
    if (json_type(v) != JSON_ARRAY)
        return wrong(r, "expected an array, found %s", json_type_text(json_type(v)));
    size_t count = json_count(v);
    char *p = arena_zalloc(r->arena, (count ? count : 1) * bytes);
    struct json_each each = json_each(v);
    J item;
    for (size_t i = 0; i < count && json_next(&each, NULL, &item); i++) {
        enter(r, NULL, i);
        TRY(one(r, item, p + i * bytes));
        leave(r);
    }
    *items = p;
    *n = (uint32_t)count;
    return 0;
}

#define LIST(object, name, one, items, n)                                                          \
    member_list(r, object, name, sizeof *(items), one, (void **)&(items), &(n))

static int member_list(R r, J object, const char *name, size_t bytes, read_fn one, void **items,
                       uint32_t *n) {
    J v = json_get(object, name);
    if (json_type(v) == JSON_ABSENT) return 0;
    enter(r, name, 0);
    TRY(read_list(r, v, bytes, one, items, n));
    leave(r);
    return 0;
}

/* ---- time ---- */

static int read_time(R r, J v, void *out) {
    struct str s = {0};
    char text[48];
    const char *reason;
    if (!json_str(v, &s)) return wrong(r, "expected a text");
    if (s.n >= sizeof text || memchr(s.p, 0, s.n)) return wrong(r, "there is no such date or time");
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    struct query_token t = query_lex(text, 0, &reason);
    bool year = s.n == 4 && strspn(text, "0123456789") == 4;
    bool shape = year || (s.n >= 7 && text[0] >= '0' && text[0] <= '9' && text[4] == '-');
    if (reason || !shape || t.offset != 0 || t.length != s.n || !query_token_time(text, &t, out))
        return wrong(r, "there is no such date or time");
    return 0;
}

static int read_unit(R r, J object, enum query_unit *out) {
    const char *units[QUERY_UNITS];
    int unit = 0;
    for (int i = 0; i < QUERY_UNITS; i++) units[i] = query_unit_text((enum query_unit)i);
    TRY(member_word(r, object, "unit", units, QUERY_UNITS, &unit));
    *out = (enum query_unit)unit;
    return 0;
}

static int read_duration(R r, J v, void *out) {
    struct query_duration *d = out;
    ONLY(v, "n", "unit");
    TRY(member_u32(r, v, "n", QUERY_MAX_AMOUNT, &d->n));
    if (d->n == 0) return wrong(r, "expected \"n\" from 1 to %d", QUERY_MAX_AMOUNT);
    return read_unit(r, v, &d->unit);
}

static int read_range(R r, J v, void *out) {
    struct query_range *range = out;
    if (json_has(v, "last")) {
        ONLY(v, "last", "unit");
        range->kind = QUERY_RANGE_LAST;
        TRY(member_u32(r, v, "last", QUERY_MAX_AMOUNT, &range->n));
        return read_unit(r, v, &range->unit);
    }
    if (json_has(v, "in")) {
        ONLY(v, "in");
        range->kind = QUERY_RANGE_IN;
        return member(r, v, "in", read_time, &range->from);
    }
    ONLY(v, "from", "to");
    range->kind = QUERY_RANGE_SPAN;
    range->has_from = json_has(v, "from");
    range->has_to = json_has(v, "to");
    TRY(member_maybe(r, v, "from", read_time, &range->from));
    return member_maybe(r, v, "to", read_time, &range->to);
}

/* ---- properties, filters, events ---- */

static int read_prop(R r, J v, void *out) {
    struct str path = {0};
    TRY(read_str(r, v, &path));
    *(struct query_prop *)out = query_prop_from_path(path, (struct query_pos){0, 0});
    return 0;
}

static int read_trait(R r, J v, void *out) {
    struct query_prop *p = out;
    p->scope = QUERY_SCOPE_TRAIT;
    return read_str(r, v, &p->path);
}

static int read_value(R r, J v, void *out) {
    struct query_value *value = out;
    switch (json_type(v)) {
    case JSON_STRING: value->type = QUERY_VALUE_STRING; return read_str(r, v, &value->string);
    case JSON_NUMBER: value->type = QUERY_VALUE_NUMBER; return read_f64(r, v, &value->number);
    case JSON_BOOL:
        value->type = QUERY_VALUE_BOOL;
        value->boolean = json_bool(v, &value->boolean) && value->boolean;
        return 0;
    case JSON_OBJECT:
        ONLY(v, "time");
        value->type = QUERY_VALUE_TIME;
        return member(r, v, "time", read_time, &value->time);
    default:
        return wrong(r, "expected a text, a number, true, false or {\"time\": …}, found %s",
                     json_type_text(json_type(v)));
    }
}

static int read_test(R r, J object, struct query_test *test) {
    const char *ops[QUERY_OPS];
    int op = 0;
    for (int i = 0; i < QUERY_OPS; i++) ops[i] = query_op_text((enum query_op)i);
    TRY(member_word(r, object, "op", ops, QUERY_OPS, &op));
    test->op = (enum query_op)op;
    bool none = op == QUERY_EXISTS || op == QUERY_MISSING;
    bool many = op == QUERY_IN || op == QUERY_NOT_IN || op == QUERY_BETWEEN;
    if (json_has(object, "values") && !many) return wrong(r, "\"%s\" takes no \"values\"", ops[op]);
    if (json_has(object, "value") && (many || none))
        return wrong(r, "\"%s\" takes no \"value\"", ops[op]);
    if (none) return 0;
    if (many) return LIST(object, "values", read_value, test->values, test->n_values);
    test->values = arena_zalloc(r->arena, sizeof *test->values);
    test->n_values = 1;
    return member(r, object, "value", read_value, test->values);
}

/* "and", "or": a list of filters or conditions, read by `one` and joined by `join`. */
static int read_joined(R r, J v, const char *name, read_fn one, void ***items, uint32_t *n) {
    ONLY(v, name);
    TRY(member_list(r, v, name, sizeof(void *), one, (void **)items, n));
    return *n ? 0 : wrong(r, "\"%s\" is empty", name);
}

static int read_filter(R r, J v, void *out) {
    struct query_filter **f = out;
    bool both = json_has(v, "and");
    if (both || json_has(v, "or")) {
        void **items = NULL;
        uint32_t n = 0;
        TRY(read_joined(r, v, both ? "and" : "or", read_filter, &items, &n));
        K_ASSERT(items != NULL);
        *f = items[0];
        for (uint32_t i = 1; i < n; i++)
            *f = query_filter_join(r->arena, both ? QUERY_FILTER_AND : QUERY_FILTER_OR, *f,
                                   items[i]);
        return 0;
    }
    if (json_has(v, "not")) {
        ONLY(v, "not");
        TRY(member(r, v, "not", read_filter, f));
        *f = query_filter_not(r->arena, *f);
        return 0;
    }
    ONLY(v, "property", "over", "op", "value", "values");
    int over = QUERY_OVER_AUTO;
    if (json_has(v, "over")) TRY(member_word(r, v, "over", QUERY_OVERS, 3, &over));
    *f = arena_zalloc(r->arena, sizeof **f);
    (*f)->kind = QUERY_FILTER_TEST;
    (*f)->over = (enum query_over)over;
    (*f)->depth = 1;
    TRY(member(r, v, "property", read_prop, &(*f)->prop));
    return read_test(r, v, &(*f)->test);
}

static int read_event(R r, J v, void *out) {
    struct query_event *e = out;
    int kind = 0;
    ONLY(v, "type", "name", "where");
    TRY(member_word(r, v, "type", QUERY_TYPES, QUERY_EVENT_KINDS, &kind));
    e->kind = (enum query_event_kind)kind;
    e->has_name = json_has(v, "name");
    if (e->has_name) {
        enter(r, "name", 0);
        TRY(read_str(r, json_get(v, "name"), &e->name));
        leave(r);
    }
    return member_maybe(r, v, "where", read_filter, &e->filter);
}

static int read_measure(R r, J v, void *out) {
    struct query_measure *m = out;
    int agg = 0;
    ONLY(v, "aggregate", "event", "property", "range");
    TRY(member_word(r, v, "aggregate", QUERY_AGGREGATES, QUERY_AGGS, &agg));
    m->agg = (enum query_agg)agg;
    m->has_prop = json_has(v, "property");
    TRY(member(r, v, "event", read_event, &m->event));
    TRY(member_maybe(r, v, "property", read_prop, &m->prop));
    return member_maybe(r, v, "range", read_range, &m->range);
}

static int read_term(R r, J v, void *out) {
    struct query_term *t = out;
    if (json_has(v, "segment")) {
        ONLY(v, "segment");
        t->kind = QUERY_TERM_SEGMENT;
        return member(r, v, "segment", read_text, &t->segment);
    }
    bool measure = json_has(v, "measure"), trait = json_has(v, "trait");
    const char *name = measure ? "measure" : trait ? "trait" : "property";
    ONLY(v, name, "descending");
    if (json_has(v, "descending") && !json_bool(json_get(v, "descending"), &t->descending))
        return wrong(r, "\"descending\" is true or false");
    t->kind = measure ? QUERY_TERM_MEASURE : trait ? QUERY_TERM_TRAIT : QUERY_TERM_PROP;
    if (measure) return member(r, v, name, read_measure, &t->measure);
    return member(r, v, name, trait ? read_trait : read_prop, &t->prop);
}

static int read_funnel(R r, J v, struct query_funnel *f) {
    if (json_has(v, "any_order") && !json_bool(json_get(v, "any_order"), &f->any_order))
        return wrong(r, "\"any_order\" is true or false");
    TRY(LIST(v, "steps", read_event, f->steps, f->n_steps));
    TRY(LIST(v, "without", read_event, f->without, f->n_without));
    TRY(LIST(v, "same", read_prop, f->same, f->n_same));
    return member_maybe(r, v, "within", read_duration, &f->within);
}

/* ---- conditions ---- */

static int read_did(R r, J v, struct query_cond *c) {
    bool followed = json_has(v, "followed_by");
    c->negated = json_has(v, "not_followed_by");
    TRY(member(r, v, "did", read_event, &c->event));
    TRY(member_maybe(r, v, "range", read_range, &c->range));
    if (followed || c->negated) {
        ONLY(v, "did", c->negated ? "not_followed_by" : "followed_by", "within", "range");
        c->kind = QUERY_COND_FOLLOWED;
        TRY(member_maybe(r, v, "within", read_duration, &c->within));
        return member(r, v, c->negated ? "not_followed_by" : "followed_by", read_event, &c->then);
    }
    ONLY(v, "did", "min", "max", "range");
    c->kind = QUERY_COND_DID;
    c->min = 1;
    c->max = QUERY_NO_MAX;
    TRY(member_u32(r, v, "min", QUERY_NO_MAX - 1, &c->min));
    return member_u32(r, v, "max", QUERY_NO_MAX - 1, &c->max);
}

static int read_cond_funnel(R r, J v, struct query_cond *c) {
    J funnel = json_get(v, "funnel");
    c->kind = QUERY_COND_FUNNEL;
    c->stopped = json_has(v, "stopped_at");
    c->funnel = arena_zalloc(r->arena, sizeof *c->funnel);
    ONLY(v, "funnel", c->stopped ? "stopped_at" : "reached", "range");
    TRY(member_u32(r, v, c->stopped ? "stopped_at" : "reached", QUERY_MAX_EVENTS, &c->step));
    TRY(member_maybe(r, v, "range", read_range, &c->range));
    enter(r, "funnel", 0);
    ONLY(funnel, "any_order", "steps", "without", "same", "within");
    TRY(read_funnel(r, funnel, c->funnel));
    leave(r);
    return 0;
}

static int read_leaf(R r, J v, struct query_cond *c) {
    static const char *const is[] = {"identified", "anonymous"};
    if (json_has(v, "did")) return read_did(r, v, c);
    if (json_has(v, "funnel")) return read_cond_funnel(r, v, c);
    if (json_has(v, "measure")) {
        ONLY(v, "measure", "op", "value", "values");
        c->kind = QUERY_COND_MEASURE;
        TRY(member(r, v, "measure", read_measure, &c->measure));
        return read_test(r, v, &c->test);
    }
    if (json_has(v, "trait")) {
        ONLY(v, "trait", "op", "value", "values");
        c->kind = QUERY_COND_TRAIT;
        TRY(member(r, v, "trait", read_trait, &c->trait));
        return read_test(r, v, &c->test);
    }
    if (json_has(v, "segment")) {
        ONLY(v, "segment");
        c->kind = QUERY_COND_SEGMENT;
        enter(r, "segment", 0);
        TRY(read_str(r, json_get(v, "segment"), &c->segment));
        leave(r);
        return 0;
    }
    int which = 0;
    if (!json_has(v, "is"))
        return wrong(r, "expected a condition: \"and\", \"or\", \"not\", \"did\", \"measure\", "
                        "\"trait\", \"is\", \"segment\" or \"funnel\"");
    ONLY(v, "is");
    TRY(member_word(r, v, "is", is, 2, &which));
    c->kind = which ? QUERY_COND_ANONYMOUS : QUERY_COND_IDENTIFIED;
    return 0;
}

static int read_cond(R r, J v, void *out) {
    struct query_cond **c = out;
    bool both = json_has(v, "and");
    if (both || json_has(v, "or")) {
        void **items = NULL;
        uint32_t n = 0;
        TRY(read_joined(r, v, both ? "and" : "or", read_cond, &items, &n));
        K_ASSERT(items != NULL);
        *c = items[0];
        for (uint32_t i = 1; i < n; i++)
            *c = query_cond_join(r->arena, both ? QUERY_COND_AND : QUERY_COND_OR, *c, items[i]);
        return 0;
    }
    if (json_has(v, "not")) {
        ONLY(v, "not");
        TRY(member(r, v, "not", read_cond, c));
        *c = query_cond_not(r->arena, *c);
        return 0;
    }
    *c = arena_zalloc(r->arena, sizeof **c);
    TRY(read_leaf(r, v, *c));
    query_cond_measure_depth(*c);
    return 0;
}

/* ---- forms ---- */

static int read_number(R r, J v, void *out) { return read_f64(r, v, out); }

static int read_start(R r, J v, enum query_start *out) {
    int start = QUERY_START_FIRST;
    if (json_has(v, "start")) TRY(member_word(r, v, "start", QUERY_STARTS_TEXT, 2, &start));
    *out = (enum query_start)start;
    return 0;
}

static int read_time_form(R r, J v, struct query *q) {
    TRY(read_start(r, v, &q->time.start));
    TRY(member(r, v, "from", read_event, &q->time.from));
    TRY(member(r, v, "to", read_event, &q->time.to));
    TRY(member_maybe(r, v, "within", read_duration, &q->time.within));
    TRY(LIST(v, "percentiles", read_number, q->time.percentiles, q->time.n_percentiles));
    if (!json_has(v, "percentiles")) query_usual_percentiles(q, r->arena);
    return 0;
}

static int read_paths(R r, J v, struct query *q) {
    q->paths.has_start = json_has(v, "starting_at");
    q->paths.has_end = json_has(v, "ending_at");
    TRY(member_u32(r, v, "length", QUERY_MAX_PATH, &q->paths.length));
    TRY(LIST(v, "of", read_event, q->paths.alphabet, q->paths.n_alphabet));
    TRY(member_maybe(r, v, "starting_at", read_event, &q->paths.start));
    TRY(member_maybe(r, v, "ending_at", read_event, &q->paths.end));
    return member_maybe(r, v, "within", read_duration, &q->paths.within);
}

static int read_attribute(R r, J v, struct query *q) {
    int model = 0;
    const char *models[QUERY_MODELS];
    for (int i = 0; i < QUERY_MODELS; i++) models[i] = query_model_text((enum query_model)i);
    TRY(member(r, v, "measure", read_measure, &q->attribute.measure));
    TRY(member_word(r, v, "model", models, QUERY_MODELS, &model));
    q->attribute.model = (enum query_model)model;
    TRY(LIST(v, "touches", read_event, q->attribute.touches, q->attribute.n_touches));
    TRY(member_maybe(r, v, "half_life", read_duration, &q->attribute.half_life));
    query_usual_half_life(q);
    return member_maybe(r, v, "within", read_duration, &q->attribute.within);
}

static int read_rfm(R r, J v, struct query *q) {
    TRY(member(r, v, "event", read_event, &q->rfm.event));
    TRY(member(r, v, "property", read_prop, &q->rfm.prop));
    TRY(LIST(v, "recency", read_duration, q->rfm.recency, q->rfm.n_recency));
    TRY(LIST(v, "frequency", read_number, q->rfm.frequency, q->rfm.n_frequency));
    return LIST(v, "value", read_number, q->rfm.value, q->rfm.n_value);
}

static int read_top(R r, J v, struct query *q) {
    int rank = QUERY_RANK_EVENTS;
    TRY(member(r, v, "event", read_event, &q->top.event));
    TRY(member(r, v, "property", read_prop, &q->top.prop));
    if (json_has(v, "rank")) TRY(member_word(r, v, "rank", QUERY_RANKS, 3, &rank));
    q->top.rank = (enum query_rank)rank;
    if (q->top.rank == QUERY_RANK_SUM)
        return member(r, v, "rank_property", read_prop, &q->top.rank_prop);
    return json_has(v, "rank_property") ? wrong(r, "\"rank_property\" needs \"rank\": \"sum\"") : 0;
}

static int read_trend(R r, J v, struct query *q) {
    q->trend.over = 1;
    TRY(member_u32(r, v, "over", QUERY_MAX_PERIODS, &q->trend.over));
    return LIST(v, "measures", read_measure, q->trend.measures, q->trend.n_measures);
}

static int read_retention(R r, J v, struct query *q) {
    TRY(read_start(r, v, &q->retention.start));
    TRY(member(r, v, "from", read_event, &q->retention.from));
    TRY(member(r, v, "to", read_event, &q->retention.to));
    return member_u32(r, v, "over", QUERY_MAX_PERIODS, &q->retention.periods);
}

static int read_compare(R r, J v, struct query *q) {
    q->compare.others = json_type(json_get(v, "b")) == JSON_STRING;
    TRY(member_maybe(r, v, "a", read_cond, &q->compare.a));
    TRY(member_u32(r, v, "support", QUERY_MAX_LIMIT, &q->compare.support));
    query_usual_support(q);
    if (!q->compare.others) return member_maybe(r, v, "b", read_cond, &q->compare.b);
    static const char *const others[] = {"others"};
    int ignored;
    return member_word(r, v, "b", others, 1, &ignored);
}

static int read_form(R r, J v, struct query *q) {
#define SHARED "form", "among", "range"
    switch (q->form) {
    case QUERY_COUNT: ONLY(v, "form", "where", "by"); return 0;
    case QUERY_LIST:
        ONLY(v, "form", "where", "with", "order_by", "limit");
        TRY(LIST(v, "with", read_term, q->list.columns, q->list.n_columns));
        return LIST(v, "order_by", read_term, q->list.order, q->list.n_order);
    case QUERY_FUNNEL:
        ONLY(v, SHARED, "by", "any_order", "steps", "without", "same", "within");
        return read_funnel(r, v, &q->funnel);
    case QUERY_RETENTION:
        ONLY(v, SHARED, "by", "period", "start", "from", "to", "over");
        return read_retention(r, v, q);
    case QUERY_REPEAT:
        ONLY(v, SHARED, "by", "period", "event");
        return member(r, v, "event", read_event, &q->repeat.event);
    case QUERY_TREND:
        ONLY(v, SHARED, "by", "period", "measures", "over");
        return read_trend(r, v, q);
    case QUERY_TIME:
        ONLY(v, SHARED, "by", "start", "from", "to", "within", "percentiles");
        return read_time_form(r, v, q);
    case QUERY_PATHS:
        ONLY(v, SHARED, "limit", "length", "of", "starting_at", "ending_at", "within");
        return read_paths(r, v, q);
    case QUERY_ATTRIBUTE:
        ONLY(v, SHARED, "by", "limit", "measure", "model", "touches", "within", "half_life");
        return read_attribute(r, v, q);
    case QUERY_SESSIONS:
        ONLY(v, SHARED, "by", "period", "of", "gap", "change");
        TRY(LIST(v, "of", read_event, q->sessions.alphabet, q->sessions.n_alphabet));
        q->sessions.has_change = json_has(v, "change");
        TRY(member_maybe(r, v, "change", read_prop, &q->sessions.change));
        return member(r, v, "gap", read_duration, &q->sessions.gap);
    case QUERY_RFM:
        ONLY(v, SHARED, "event", "property", "recency", "frequency", "value");
        return read_rfm(r, v, q);
    case QUERY_TOP:
        ONLY(v, SHARED, "limit", "event", "property", "rank", "rank_property");
        return read_top(r, v, q);
    case QUERY_LIFECYCLE:
        ONLY(v, SHARED, "by", "period", "events");
        return LIST(v, "events", read_event, q->lifecycle.events, q->lifecycle.n_events);
    case QUERY_COMPARE: ONLY(v, SHARED, "limit", "a", "b", "support"); return read_compare(r, v, q);
    case QUERY_FORMS: break;
    }
#undef SHARED
    K_ASSERT_OP(q->form, <, QUERY_FORMS);
    return 0;
}

static int read_query(R r, J v, struct query *q) {
    int form = 0;
    if (json_type(v) != JSON_OBJECT) return wrong(r, "expected an object");
    TRY(member_word(r, v, "form", QUERY_FORM_NAMES, QUERY_FORMS, &form));
    q->form = (enum query_form)form;
    TRY(read_form(r, v, q));
    TRY(member_maybe(r, v, "where", read_cond, &q->where));
    TRY(member_maybe(r, v, "among", read_cond, &q->where));
    TRY(member_maybe(r, v, "range", read_range, &q->range));
    TRY(LIST(v, "by", read_term, q->splits, q->n_splits));
    TRY(member_u32(r, v, "limit", QUERY_MAX_LIMIT, &q->limit));
    if (!json_has(v, "period")) return 0;
    const char *units[QUERY_UNITS];
    int unit = 0;
    for (int i = 0; i < QUERY_UNITS; i++) units[i] = query_unit_text((enum query_unit)i);
    TRY(member_word(r, v, "period", units, QUERY_UNITS, &unit));
    q->has_period = true;
    q->period = (enum query_unit)unit;
    return 0;
}

int query_json_read(struct json_value root, struct arena *a, struct query **out,
                    struct keel_error *err) {
    if (a->max_bytes - a->used_bytes < QUERY_ARENA_BYTES)
        FAIL(err, LIMIT, "no memory is left for another query");
    struct reader_state r = {.arena = a, .err = err};
    struct query *q = arena_zalloc(a, sizeof *q);
    struct query_pos nowhere;
    TRY(read_query(&r, root, q));
    TRY(query_check(q, &nowhere, err));
    TRY(query_seal(q, a, err));
    *out = q;
    return 0;
}

int query_json_parse(struct str text, struct arena *a, struct query **out, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(QUERY_JSON_MAX_BYTES);
    struct json_value root;
    int code = json_parse(parser, text, &root, err);
    if (code == 0) code = query_json_read(root, a, out, err);
    json_parser_free(parser);
    return code;
}
