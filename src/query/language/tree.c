/* Duty: see tree.h. Layers: ast.h. Threads: pure. */
#include "query/language/tree.h"

void *query_grow(struct arena *a, void *items, uint32_t n, size_t item_bytes) {
    enum { FIRST = 4 };
    if (n > 0 && (n < FIRST || (n & (n - 1)) != 0)) return items; /* room is left */
    uint32_t capacity = n < FIRST ? FIRST : n * 2;
    void *bigger = arena_alloc(a, capacity * item_bytes);
    if (n) memcpy(bigger, items, n * item_bytes);
    return bigger;
}

static void cond_take(struct arena *a, struct query_cond *into, struct query_cond *c) {
    bool same = c->kind == into->kind;
    struct query_cond **from = same ? c->items : &c;
    uint32_t n = same ? c->n_items : 1;
    for (uint32_t i = 0; i < n; i++) {
        into->items = query_grow(a, into->items, into->n_items, sizeof *into->items);
        into->items[into->n_items++] = from[i];
        if (from[i]->depth >= into->depth) into->depth = from[i]->depth + 1;
    }
}

struct query_cond *query_cond_join(struct arena *a, enum query_cond_kind kind, struct query_cond *l,
                                   struct query_cond *r) {
    struct query_cond *c = l;
    if (l->kind != kind) {
        c = arena_zalloc(a, sizeof *c);
        c->kind = kind;
        c->at = l->at;
        cond_take(a, c, l);
    }
    cond_take(a, c, r);
    return c;
}

struct query_cond *query_cond_not(struct arena *a, struct query_cond *inner) {
    struct query_cond *c = arena_zalloc(a, sizeof *c);
    c->kind = QUERY_COND_NOT;
    c->at = inner->at;
    c->items = query_grow(a, NULL, 0, sizeof *c->items);
    c->items[c->n_items++] = inner;
    c->depth = inner->depth + 1;
    return c;
}

static uint32_t event_depth(const struct query_event *e) {
    return e->filter ? e->filter->depth : 0;
}

void query_cond_measure_depth(struct query_cond *c) {
    uint32_t deepest = 0;
#define DEEPER(e)                                                                                  \
    if (event_depth(e) > deepest) deepest = event_depth(e)
    DEEPER(&c->event);
    DEEPER(&c->then);
    DEEPER(&c->measure.event);
    for (uint32_t i = 0; c->funnel && i < c->funnel->n_steps; i++) DEEPER(&c->funnel->steps[i]);
    for (uint32_t i = 0; c->funnel && i < c->funnel->n_without; i++) DEEPER(&c->funnel->without[i]);
#undef DEEPER
    c->depth = 1 + deepest;
}

static void filter_take(struct arena *a, struct query_filter *into, struct query_filter *f) {
    bool same = f->kind == into->kind;
    struct query_filter **from = same ? f->items : &f;
    uint32_t n = same ? f->n_items : 1;
    for (uint32_t i = 0; i < n; i++) {
        into->items = query_grow(a, into->items, into->n_items, sizeof *into->items);
        into->items[into->n_items++] = from[i];
        if (from[i]->depth >= into->depth) into->depth = from[i]->depth + 1;
    }
}

struct query_filter *query_filter_join(struct arena *a, enum query_filter_kind kind,
                                       struct query_filter *l, struct query_filter *r) {
    struct query_filter *f = l;
    if (l->kind != kind) {
        f = arena_zalloc(a, sizeof *f);
        f->kind = kind;
        filter_take(a, f, l);
    }
    filter_take(a, f, r);
    return f;
}

struct query_filter *query_filter_not(struct arena *a, struct query_filter *inner) {
    struct query_filter *f = arena_zalloc(a, sizeof *f);
    f->kind = QUERY_FILTER_NOT;
    f->items = query_grow(a, NULL, 0, sizeof *f->items);
    f->items[f->n_items++] = inner;
    f->depth = inner->depth + 1;
    return f;
}

struct query_prop query_prop_from_path(struct str path, struct query_pos at) {
    static const struct {
        struct str prefix;
        enum query_scope scope;
    } scopes[] = {
        {{"properties.", 11}, QUERY_SCOPE_PROPERTY},
        {{"context.", 8}, QUERY_SCOPE_CONTEXT},
    };
    struct query_prop prop = {.scope = QUERY_SCOPE_AUTO, .path = path, .at = at};
    if (str_is(path, "time") || str_is(path, "event")) prop.scope = QUERY_SCOPE_EVENT;
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        if (!str_starts(path, scopes[i].prefix) || path.n == scopes[i].prefix.n) continue;
        prop.scope = scopes[i].scope;
        prop.path = (struct str){path.p + scopes[i].prefix.n, path.n - scopes[i].prefix.n};
        break;
    }
    return prop;
}

bool query_time_may_precede(const struct query_time *from, const struct query_time *to) {
    bool zoned = from->kind == QUERY_TIME_ZONED;
    if (zoned != (to->kind == QUERY_TIME_ZONED) || from->offset_minutes != to->offset_minutes)
        return true;
    const int a[] = {from->year,   from->month,  from->day, from->hour,
                     from->minute, from->second, from->ms};
    const int b[] = {to->year, to->month, to->day, to->hour, to->minute, to->second, to->ms};
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        if (a[i] != b[i]) return a[i] < b[i];
    return false;
}

bool query_ascending(const double *v, uint32_t n) {
    for (uint32_t i = 1; i < n; i++)
        if (!(v[i - 1] < v[i])) return false;
    return true;
}

void query_usual_percentiles(struct query *q, struct arena *a) {
    static const double usual[] = {50, 90};
    q->time.n_percentiles = 2;
    q->time.percentiles = arena_alloc(a, sizeof usual);
    memcpy(q->time.percentiles, usual, sizeof usual);
}

void query_usual_half_life(struct query *q) {
    if (q->attribute.model == QUERY_MODEL_DECAY && q->attribute.half_life.n == 0)
        q->attribute.half_life = (struct query_duration){7, QUERY_DAY};
}

void query_usual_support(struct query *q) {
    if (q->compare.support == 0) q->compare.support = QUERY_DEFAULT_SUPPORT;
}
