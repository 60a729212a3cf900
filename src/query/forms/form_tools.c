/* Implementation of form_tools.h. */
#include "query/forms/form_tools.h"

#include "query/language/query_print.h"

void counters_release(struct counters *c) {
    k_free(c->n);
    *c = (struct counters){0};
}

int counters_room(struct counters *c, uint64_t count, struct keel_error *err) {
    if (count <= c->cap) {
        if (count > c->count) c->count = (uint32_t)count;
        return 0;
    }
    uint64_t cap = c->cap ? c->cap : 64;
    while (cap < count) cap *= 2;
    uint64_t *n = cap <= 1u << 28 ? k_try_realloc(c->n, cap * sizeof *n) : NULL;
    if (!n) FAIL(err, LIMIT, "the answer has too many cells: split by less, or use longer periods");
    memset(n + c->cap, 0, (cap - c->cap) * sizeof *n);
    c->n = n;
    c->cap = (uint32_t)cap;
    c->count = (uint32_t)count;
    return 0;
}

int merged_init(struct merged *m, uint32_t n_terms, const struct groups *const *of, uint32_t n,
                struct keel_error *err) {
    *m = (struct merged){.n = n};
    groups_init(&m->groups, n_terms);
    m->map = k_zalloc((n + 1) * sizeof *m->map);
    for (uint32_t i = 0; i < n; i++) TRY(groups_merge(&m->groups, of[i], &m->map[i], err));
    return groups_sorted(&m->groups, &m->order, err);
}

int merged_states(struct merged *m, uint32_t n_terms, const struct machine *machine,
                  size_t splitter_at, const struct worker *workers, uint32_t n,
                  struct keel_error *err) {
    const struct groups **groups = k_alloc_array(n + 1, sizeof(struct groups *));
    for (uint32_t i = 0; i < n; i++) {
        const char *state = machine_state(&workers[i], machine);
        const struct splitter *s = (const struct splitter *)(const void *)(state + splitter_at);
        groups[i] = &s->groups;
    }
    int code = merged_init(m, n_terms, groups, n, err);
    k_free(groups);
    return code;
}

void merged_release(struct merged *m) {
    for (uint32_t i = 0; i < m->n; i++) k_free(m->map[i]);
    k_free(m->map);
    k_free(m->order);
    groups_release(&m->groups);
}

static int add_printed(struct buf *name, enum datum_type type, struct result *out,
                       struct keel_error *err) {
    int code = name->failed ? error_set(err, KEEL_E_LIMIT, "a column's name is too long")
                            : result_column(out, buf_str(name), type, err);
    buf_release(name);
    return code;
}

int add_term_columns(const struct query_term *terms, uint32_t n, struct result *out,
                     struct keel_error *err) {
    for (uint32_t i = 0; i < n; i++) {
        struct buf name;
        buf_init(&name, QUERY_MAX_TEXT);
        (void)!query_print_term(&terms[i], &name);
        TRY(add_printed(&name, DATUM_NULL, out, err));
    }
    return 0;
}

int add_measure_column(const struct query_measure *m, enum datum_type type, struct result *out,
                       struct keel_error *err) {
    struct buf name;
    buf_init(&name, QUERY_MAX_TEXT);
    (void)!query_print_measure(m, &name);
    return add_printed(&name, type, out, err);
}

int event_name(const struct query_event *e, struct arena *arena, struct str *out,
               struct keel_error *err) {
    if (e->kind == QUERY_EVENT_TRACK) {
        *out = e->name;
        return 0;
    }
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    struct query_event bare = *e;
    bare.filter = NULL;
    (void)!query_print_event(&bare, &text);
    int code = text.failed ? error_set(err, KEEL_E_LIMIT, "the name of an event is too long") : 0;
    if (code == 0) *out = str_dup(arena, buf_str(&text));
    buf_release(&text);
    return code;
}

void group_cells(const struct groups *g, uint32_t group, struct datum *cells) {
    for (uint32_t t = 0; t < g->n_terms; t++) cells[t] = *groups_value(g, group, t);
}

struct datum period_datum(const struct periods *p, const struct time_zone *zone, uint32_t period) {
    if (p->unit == QUERY_HOUR) return datum_time(p->start[period]);
    return datum_date(time_day(zone, p->start[period]));
}

int add_period_column(enum query_unit unit, struct result *out, struct keel_error *err) {
    return result_column(out, str_from(period_unit_name(unit)),
                         unit == QUERY_HOUR ? DATUM_TIME : DATUM_DATE, err);
}
