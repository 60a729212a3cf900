/* The builder behind the grammar's actions: literals, nodes, clauses.
 * Duty: see build.h. Layers: token.h, tree.h. Threads: one owner.
 */
#include "query/language/build.h"

#include <stdarg.h>
#include <stdio.h>

#include "query/language/grammar.h"

#define FORM(form) (1u << QUERY_##form)

const uint32_t build_clause_forms[CLAUSES] = {
    [CLAUSE_RANGE] = ((1u << QUERY_FORMS) - 1) & ~(FORM(COUNT) | FORM(LIST)),
    [CLAUSE_PERIOD] =
        FORM(RETENTION) | FORM(REPEAT) | FORM(TREND) | FORM(SESSIONS) | FORM(LIFECYCLE),
    [CLAUSE_SPLIT] = FORM(COUNT) | FORM(FUNNEL) | FORM(RETENTION) | FORM(REPEAT) | FORM(TREND) |
                     FORM(TIME) | FORM(ATTRIBUTE) | FORM(SESSIONS) | FORM(RFM) | FORM(LIFECYCLE),
    [CLAUSE_RANK] = FORM(TOP),
    [CLAUSE_WITHIN] = FORM(FUNNEL) | FORM(TIME) | FORM(PATHS) | FORM(ATTRIBUTE),
    [CLAUSE_LIMIT] = FORM(LIST) | FORM(PATHS) | FORM(ATTRIBUTE) | FORM(COMPARE),
    [CLAUSE_AMONG] = ((1u << QUERY_FORMS) - 1) & ~(FORM(COUNT) | FORM(LIST)),
    [CLAUSE_OVER] = FORM(TREND) | FORM(RETENTION),
    [CLAUSE_GAP] = FORM(SESSIONS),
    [CLAUSE_HALF_LIFE] = FORM(ATTRIBUTE),
    [CLAUSE_SAME] = FORM(FUNNEL),
    [CLAUSE_COLUMNS] = FORM(LIST),
    [CLAUSE_ORDER] = FORM(LIST),
    [CLAUSE_PERCENTILES] = FORM(TIME),
    [CLAUSE_WITHOUT] = FORM(FUNNEL),
    [CLAUSE_STARTING] = FORM(PATHS),
    [CLAUSE_ENDING] = FORM(PATHS),
    [CLAUSE_RECENCY] = FORM(RFM),
    [CLAUSE_FREQUENCY] = FORM(RFM),
    [CLAUSE_VALUE] = FORM(RFM),
    [CLAUSE_CHANGE] = FORM(SESSIONS),
    [CLAUSE_SUPPORT] = FORM(COMPARE),
};

static const char *const CLAUSE_TEXT[CLAUSES] = {
    [CLAUSE_RANGE] = "a time range",
    [CLAUSE_PERIOD] = "a period (\"by day\")",
    [CLAUSE_SPLIT] = "a split (\"by\" a property or trait)",
    [CLAUSE_RANK] = "a ranking (\"by events\")",
    [CLAUSE_WITHIN] = "\"within\"",
    [CLAUSE_LIMIT] = "\"limit\"",
    [CLAUSE_AMONG] = "\"among\"",
    [CLAUSE_OVER] = "\"over\"",
    [CLAUSE_GAP] = "\"with gap\"",
    [CLAUSE_HALF_LIFE] = "\"with half-life\"",
    [CLAUSE_SAME] = "\"with same\"",
    [CLAUSE_COLUMNS] = "\"with\"",
    [CLAUSE_ORDER] = "\"order by\"",
    [CLAUSE_PERCENTILES] = "\"percentiles\"",
    [CLAUSE_WITHOUT] = "\"without\"",
    [CLAUSE_STARTING] = "\"starting at\"",
    [CLAUSE_ENDING] = "\"ending at\"",
    [CLAUSE_RECENCY] = "\"recency\"",
    [CLAUSE_FREQUENCY] = "\"frequency\"",
    [CLAUSE_VALUE] = "\"value\"",
    [CLAUSE_CHANGE] = "\"starting at change of\"",
    [CLAUSE_SUPPORT] = "\"with at least … customers\"",
};

static const char *const FORM_TEXT[QUERY_FORMS] = {
    [QUERY_COUNT] = "count customers",
    [QUERY_LIST] = "list customers",
    [QUERY_FUNNEL] = "funnel",
    [QUERY_RETENTION] = "retention",
    [QUERY_REPEAT] = "repeat",
    [QUERY_TREND] = "trend",
    [QUERY_TIME] = "time from … to",
    [QUERY_PATHS] = "paths",
    [QUERY_ATTRIBUTE] = "attribute",
    [QUERY_SESSIONS] = "sessions",
    [QUERY_RFM] = "rfm",
    [QUERY_TOP] = "top",
    [QUERY_LIFECYCLE] = "lifecycle",
    [QUERY_COMPARE] = "compare",
};

void build_fail(struct query_builder *b, struct query_pos at, const char *format, ...) {
    if (b->failed) return; /* the first error is the one that helps */
    va_list args;
    va_start(args, format);
    vsnprintf(b->message, sizeof b->message, format, args);
    va_end(args);
    b->failed = true;
    b->bad = at;
}

struct query_pos build_pos(query_tok t) {
    return t ? (struct query_pos){t->offset, t->length} : (struct query_pos){0, 0};
}

void *build_new(struct query_builder *b, size_t bytes) { return arena_zalloc(b->arena, bytes); }

struct build_list *build_add(struct query_builder *b, struct build_list *list, const void *item,
                             size_t bytes) {
    if (!list) list = build_new(b, sizeof *list);
    list->items = query_grow(b->arena, list->items, list->n, bytes);
    memcpy((char *)list->items + list->n++ * bytes, item, bytes);
    return list;
}

/* ---- literals ---- */

static struct str slice(struct query_builder *b, query_tok t) {
    return (struct str){b->text + t->offset, t->length};
}

struct str build_string(struct query_builder *b, query_tok t) {
    const char *reason = NULL;
    struct str s = query_token_string(b->text, t, b->arena, &reason);
    if (reason) build_fail(b, build_pos(t), "this text %s", reason);
    return s;
}

double build_number(struct query_builder *b, query_tok t) {
    double v = 0;
    if (!str_to_f64(slice(b, t), &v)) build_fail(b, build_pos(t), "this number is too large");
    return v == 0 ? 0 : v; /* no -0 */
}

uint32_t build_whole(struct query_builder *b, query_tok t, uint32_t least, uint32_t most) {
    uint64_t v = 0;
    if (!str_to_u64(slice(b, t), &v) || v < least || v > most) {
        build_fail(b, build_pos(t), "expected a whole number from %u to %u", least, most);
        return least;
    }
    return (uint32_t)v;
}

enum query_unit build_unit(query_tok t) { return (enum query_unit)query_words[t->word].number; }

struct query_duration *build_duration(struct query_builder *b, query_tok n, query_tok unit) {
    struct query_duration *d = build_new(b, sizeof *d);
    d->n = build_whole(b, n, 1, QUERY_MAX_AMOUNT);
    d->unit = build_unit(unit);
    if (d->unit > QUERY_WEEK)
        build_fail(b, build_pos(unit),
                   "a distance between events is given in seconds, minutes, hours, days or weeks");
    return d;
}

static struct query_time time_of(struct query_builder *b, query_tok t) {
    struct query_time time;
    if (!query_token_time(b->text, t, &time))
        build_fail(b, build_pos(t), "there is no such date or time");
    return time;
}

struct query_time *build_moment(struct query_builder *b, query_tok t) {
    struct query_time *time = build_new(b, sizeof *time);
    *time = time_of(b, t);
    if (time->kind == QUERY_TIME_MONTH) time->kind = QUERY_TIME_DAY; /* its first */
    return time;
}

struct query_value *build_value(struct query_builder *b, query_tok t) {
    struct query_value *v = build_new(b, sizeof *v);
    v->at = build_pos(t);
    if (t->code == QT_BOOLEAN) {
        v->type = QUERY_VALUE_BOOL;
        v->boolean = query_words[t->word].number;
    } else if (t->code == QT_STRING) {
        v->type = QUERY_VALUE_STRING;
        v->string = build_string(b, t);
    } else if (t->code == QT_MOMENT) {
        v->type = QUERY_VALUE_TIME;
        v->time = time_of(b, t);
    } else {
        v->type = QUERY_VALUE_NUMBER;
        v->number = build_number(b, t);
    }
    return v;
}

/* ---- ranges ---- */

static struct query_range *new_range(struct query_builder *b, query_tok word,
                                     enum query_range_kind kind) {
    struct query_range *r = build_new(b, sizeof *r);
    r->kind = kind;
    b->range_at = build_pos(word);
    return r;
}

struct query_range *build_span(struct query_builder *b, query_tok word,
                               const struct query_time *from, const struct query_time *to) {
    struct query_range *r = new_range(b, word, QUERY_RANGE_SPAN);
    r->has_from = from != NULL;
    r->has_to = to != NULL;
    if (from) r->from = *from;
    if (to) r->to = *to;
    if (from && to && !query_time_may_precede(from, to))
        build_fail(b, b->range_at, "this time range ends before it begins");
    return r;
}

struct query_range *build_last(struct query_builder *b, query_tok word, query_tok n,
                               query_tok unit) {
    struct query_range *r = new_range(b, word, QUERY_RANGE_LAST);
    r->n = build_whole(b, n, 1, QUERY_MAX_AMOUNT);
    r->unit = build_unit(unit);
    return r;
}

struct query_range *build_in(struct query_builder *b, query_tok word, query_tok t) {
    struct query_range *r = new_range(b, word, QUERY_RANGE_IN);
    if (t->code == QT_NUMBER) {
        r->from = (struct query_time){.kind = QUERY_TIME_YEAR, .month = 1, .day = 1};
        r->from.year = (int16_t)build_whole(b, t, 1, 9999);
        return r;
    }
    r->from = time_of(b, t);
    if (r->from.kind > QUERY_TIME_DAY)
        build_fail(b, build_pos(t), "expected a day such as 2011-09-10 after \"on\"");
    return r;
}

/* ---- properties, filters, events, measures ---- */

static void must_touch(struct query_builder *b, query_tok rest) {
    if (!rest->glued)
        build_fail(b, build_pos(rest), "a property stands directly behind its dot, without space");
}

struct query_prop *build_prop(struct query_builder *b, query_tok name, query_tok rest) {
    struct query_prop *prop = build_new(b, sizeof *prop);
    struct str path = query_token_name(b->text, name, b->arena);
    struct query_pos at = build_pos(name);
    if (rest) {
        must_touch(b, rest);
        struct str more = query_token_name(b->text, rest, b->arena);
        char *joined = arena_alloc(b->arena, path.n + more.n);
        memcpy(joined, path.p, path.n);
        memcpy(joined + path.n, more.p, more.n);
        path = (struct str){joined, path.n + more.n};
        at.length = rest->offset + rest->length - at.offset;
    }
    *prop = query_prop_from_path(path, at);
    return prop;
}

/* A trait has no scopes: the whole path is its name. */
struct query_prop *build_trait(struct query_builder *b, struct query_prop *prop) {
    const char *prefix = prop->scope == QUERY_SCOPE_PROPERTY  ? "properties."
                         : prop->scope == QUERY_SCOPE_CONTEXT ? "context."
                                                              : "";
    size_t n = strlen(prefix);
    char *path = arena_alloc(b->arena, n + prop->path.n + 1);
    memcpy(path, prefix, n);
    memcpy(path + n, prop->path.p, prop->path.n);
    prop->path = (struct str){path, n + prop->path.n};
    prop->scope = QUERY_SCOPE_TRAIT;
    return prop;
}

struct query_test *build_test(struct query_builder *b, enum query_op op,
                              struct build_list *values) {
    struct query_test *test = build_new(b, sizeof *test);
    test->op = op;
    if (values) {
        test->values = values->items;
        test->n_values = values->n;
    }
    return test;
}

struct query_test *build_test1(struct query_builder *b, enum query_op op, query_tok value) {
    struct query_value *v = build_value(b, value);
    return build_test(b, op, build_add(b, NULL, v, sizeof *v));
}

struct query_filter *build_filter(struct query_builder *b, enum query_over over,
                                  const struct query_prop *prop, const struct query_test *test) {
    struct query_filter *f = build_new(b, sizeof *f);
    f->kind = QUERY_FILTER_TEST;
    f->over = over;
    f->prop = *prop;
    f->test = *test;
    f->depth = 1;
    return f;
}

struct query_event *build_event(struct query_builder *b, enum query_event_kind kind, query_tok word,
                                query_tok name) {
    struct query_event *e = build_new(b, sizeof *e);
    e->kind = kind;
    e->at = build_pos(word);
    if (name) {
        e->has_name = true;
        e->name = build_string(b, name);
        e->at.length = name->offset + name->length - e->at.offset;
    }
    return e;
}

struct query_measure *build_measure(struct query_builder *b, enum query_agg agg, query_tok word,
                                    const struct query_event *event, query_tok prop) {
    struct query_measure *m = build_new(b, sizeof *m);
    m->agg = agg;
    m->event = *event;
    m->at = word ? build_pos(word) : event->at;
    if (prop) {
        must_touch(b, prop);
        struct str path = query_token_name(b->text, prop, b->arena);
        m->has_prop = true;
        m->prop = query_prop_from_path((struct str){path.p + 1, path.n - 1}, build_pos(prop));
    }
    return m;
}

struct query_measure *build_called(struct query_measure *m, query_tok word) {
    m->agg = (enum query_agg)query_words[word->word].number;
    m->at = build_pos(word);
    return m;
}

/* ---- conditions ---- */

struct query_cond *build_cond(struct query_builder *b, enum query_cond_kind kind, query_tok word) {
    struct query_cond *c = build_new(b, sizeof *c);
    c->kind = kind;
    c->at = build_pos(word);
    c->depth = 1;
    return c;
}

struct query_cond *build_cond_test(struct query_cond *c, const struct query_test *test) {
    c->test = *test;
    query_cond_measure_depth(c);
    return c;
}

struct query_cond *build_segment(struct query_builder *b, query_tok name) {
    struct query_cond *c = build_cond(b, QUERY_COND_SEGMENT, name);
    c->segment = build_string(b, name);
    return c;
}

struct query_funnel *build_funnel(struct query_builder *b, const struct build_list *steps,
                                  bool any_order) {
    struct query_funnel *f = build_new(b, sizeof *f);
    f->any_order = any_order;
    f->steps = steps->items;
    f->n_steps = steps->n;
    return f;
}

void build_times(struct query_builder *b, struct query_cond *c, query_tok word, uint32_t min,
                 uint32_t max) {
    if (c->kind != QUERY_COND_DID)
        build_fail(b, build_pos(word), "\"followed by\" is not counted");
    else if (b->counted == c)
        build_fail(b, build_pos(word), "how many times is said twice");
    else if (min > max)
        build_fail(b, build_pos(word), "the first number is the smaller one after \"between\"");
    b->counted = c;
    c->min = min;
    c->max = max;
}

void build_cond_range(struct query_builder *b, struct query_cond *c,
                      const struct query_range *range) {
    struct query_range *into = c->kind == QUERY_COND_MEASURE ? &c->measure.range : &c->range;
    if (into->kind != QUERY_RANGE_ALL)
        build_fail(b, b->range_at, "this condition has a time range already");
    *into = *range;
}

struct query_term *build_term(struct query_builder *b, enum query_term_kind kind,
                              const struct query_prop *prop, const struct query_measure *measure) {
    struct query_term *t = build_new(b, sizeof *t);
    t->kind = kind;
    if (prop) {
        t->prop = *prop;
        t->at = prop->at;
    }
    if (measure) {
        t->measure = *measure;
        t->at = measure->at;
    }
    return t;
}

struct query_term *build_member(struct query_builder *b, query_tok segment) {
    struct query_term *t = build_term(b, QUERY_TERM_SEGMENT, NULL, NULL);
    t->segment = build_string(b, segment);
    t->at = build_pos(segment);
    return t;
}

/* ---- clauses ---- */

bool build_clause(struct query_builder *b, enum build_clause clause, query_tok word) {
    struct query_pos at = word ? build_pos(word) : b->range_at;
    if (!(build_clause_forms[clause] >> b->q->form & 1)) {
        build_fail(b, at, "%s does not go with \"%s\"", CLAUSE_TEXT[clause], FORM_TEXT[b->q->form]);
        return false;
    }
    if (b->clauses >> clause & 1) {
        build_fail(b, at, "%s is there twice", CLAUSE_TEXT[clause]);
        return false;
    }
    b->clauses |= 1u << clause;
    return true;
}

void build_within(struct query_builder *b, query_tok word, const struct query_duration *d) {
    if (!build_clause(b, CLAUSE_WITHIN, word)) return;
    struct query *q = b->q;
    struct query_duration *into = q->form == QUERY_FUNNEL  ? &q->funnel.within
                                  : q->form == QUERY_TIME  ? &q->time.within
                                  : q->form == QUERY_PATHS ? &q->paths.within
                                                           : &q->attribute.within;
    *into = *d;
}

void build_splits(struct query_builder *b, query_tok word, const struct build_list *terms) {
    if (!build_clause(b, CLAUSE_SPLIT, word)) return;
    const struct query_term *first = terms->items;
    if (b->q->form != QUERY_RFM) {
        b->q->splits = terms->items;
        b->q->n_splits = terms->n;
    } else if (terms->n == 1 && first->kind == QUERY_TERM_PROP) {
        b->q->rfm.prop = first->prop;
    } else {
        build_fail(b, first->at, "expected one property of the event, whose sum is the value");
    }
}

void build_rank(struct query_builder *b, query_tok word, enum query_rank rank,
                const struct query_prop *prop) {
    if (!build_clause(b, CLAUSE_RANK, word)) return;
    b->q->top.rank = rank;
    if (prop) b->q->top.rank_prop = *prop;
}

void build_numbers(struct query_builder *b, query_tok word, enum build_clause clause,
                   const struct build_list *numbers) {
    if (!build_clause(b, clause, word)) return;
    struct query *q = b->q;
    if (!query_ascending(numbers->items, numbers->n))
        build_fail(b, build_pos(word), "these numbers must ascend");
    if (clause == CLAUSE_PERCENTILES) {
        q->time.percentiles = numbers->items;
        q->time.n_percentiles = numbers->n;
    } else if (clause == CLAUSE_FREQUENCY) {
        q->rfm.frequency = numbers->items;
        q->rfm.n_frequency = numbers->n;
    } else {
        q->rfm.value = numbers->items;
        q->rfm.n_value = numbers->n;
    }
}

void build_finish(struct query_builder *b) {
    struct query *q = b->q;
    if (b->over && (!q->has_period || b->over_unit != q->period))
        build_fail(b, b->over_at, "\"over\" counts the periods of \"by\": over 7 days by day");
    if (q->form == QUERY_TREND) q->trend.over = b->over ? b->over : 1;
    if (q->form == QUERY_RETENTION) q->retention.periods = b->over;
    if (q->form == QUERY_ATTRIBUTE) query_usual_half_life(q);
    if (q->form == QUERY_COMPARE) query_usual_support(q);
    if (q->form == QUERY_TIME && q->time.n_percentiles == 0) query_usual_percentiles(q, b->arena);
}
