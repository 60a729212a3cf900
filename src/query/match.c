/* Implementation of match.h. */
#include "query/match.h"

#include "store/scan/spine.h"

struct filter {
    enum query_filter_kind kind;
    struct filter **items;
    uint32_t n_items;
    enum query_over over;
    struct field field;
    struct test test;
    uint32_t cache; /* first of field.n tables of the worker */
};

/* ---- compiling ---- */

static int64_t reserved_stream(const struct plan *p, enum query_event_kind kind) {
    static const enum event_type types[QUERY_EVENT_KINDS] = {
        [QUERY_EVENT_PAGE] = EVENT_PAGE,         [QUERY_EVENT_SCREEN] = EVENT_SCREEN,
        [QUERY_EVENT_IDENTIFY] = EVENT_IDENTIFY, [QUERY_EVENT_GROUP] = EVENT_GROUP,
        [QUERY_EVENT_ALIAS] = EVENT_ALIAS,
    };
    return schema_find_event(p->schema, schema_reserved_name(types[kind]));
}

static int filter_test(struct plan *p, const struct query_prop *prop, const struct query_test *test,
                       enum query_over over, const struct event_set *of, struct filter **out,
                       struct keel_error *err) {
    struct filter *f = arena_zalloc(&p->arena, sizeof *f);
    f->kind = QUERY_FILTER_TEST;
    f->over = over;
    TRY(field_resolve(p, prop, of, &f->field, err));
    plan_own_test(p, &f->test);
    TRY(test_compile(&f->test, test, p->zone, &p->arena, err));
    f->cache = p->n_caches;
    p->n_caches += f->field.n;
    *out = f;
    return 0;
}

static int filter_compile(struct plan *p, const struct query_filter *from,
                          const struct event_set *of, struct filter **out, struct keel_error *err) {
    if (from->kind == QUERY_FILTER_TEST)
        return filter_test(p, &from->prop, &from->test, from->over, of, out, err);
    struct filter *f = arena_zalloc(&p->arena, sizeof *f);
    f->kind = from->kind;
    f->n_items = from->n_items;
    f->items = arena_alloc(&p->arena, from->n_items * sizeof *f->items);
    for (uint32_t i = 0; i < from->n_items; i++)
        TRY(filter_compile(p, from->items[i], of, &f->items[i], err));
    *out = f;
    return 0;
}

/* page "Home": the stream $page, whose name is one of its properties. */
static int add_name_test(struct plan *p, const struct query_event *event, struct match *m,
                         struct keel_error *err) {
    struct query_value *value = arena_zalloc(&p->arena, sizeof *value);
    *value = (struct query_value){.type = QUERY_VALUE_STRING, .string = event->name};
    struct query_prop prop = {.scope = QUERY_SCOPE_PROPERTY, .path = STR("name")};
    struct query_test test = {.op = QUERY_EQ, .values = value, .n_values = 1};
    struct filter *name;
    TRY(filter_test(p, &prop, &test, QUERY_OVER_AUTO, &m->events, &name, err));
    if (m->filter) {
        struct filter *both = arena_zalloc(&p->arena, sizeof *both);
        both->kind = QUERY_FILTER_AND;
        both->n_items = 2;
        both->items = arena_alloc(&p->arena, 2 * sizeof *both->items);
        both->items[0] = name;
        both->items[1] = m->filter;
        m->filter = both;
    } else {
        m->filter = name;
    }
    return 0;
}

int match_compile(struct plan *p, const struct query_event *event, struct span span,
                  struct match *out, struct keel_error *err) {
    *out = (struct match){.span = span, .events = {.all = event->kind == QUERY_EVENT_ANY}};
    if (!out->events.all) {
        int64_t stream = event->kind == QUERY_EVENT_TRACK
                             ? schema_find_event(p->schema, event->name)
                             : reserved_stream(p, event->kind);
        if (stream < 0) {
            if (event->kind == QUERY_EVENT_TRACK) plan_note_event(p, event->name);
            return 0;
        }
        out->events.events = arena_alloc(&p->arena, sizeof *out->events.events);
        out->events.events[0] = (uint32_t)stream;
        out->events.n = 1;
    }
    if (event->filter) TRY(filter_compile(p, event->filter, &out->events, &out->filter, err));
    if (event->has_name && event->kind != QUERY_EVENT_TRACK) TRY(add_name_test(p, event, out, err));
    return 0;
}

static void filter_needs(struct plan *p, const struct filter *f, struct machine *machine) {
    for (uint32_t i = 0; i < f->n_items; i++) filter_needs(p, f->items[i], machine);
    if (f->kind == QUERY_FILTER_TEST) field_needs(p, &f->field, machine);
}

void match_needs(struct plan *p, const struct match *m, struct machine *machine) {
    if (m->events.all) machine->all_events = true;
    for (uint32_t i = 0; i < m->events.n; i++) machine_need_event(p, machine, m->events.events[i]);
    if (m->filter && !match_never(m)) filter_needs(p, m->filter, machine);
    if (match_never(m)) return;
    if (m->span.from_ms < machine->span.from_ms) machine->span.from_ms = m->span.from_ms;
    if (m->span.to_ms > machine->span.to_ms) machine->span.to_ms = m->span.to_ms;
}

int match_alphabet(struct plan *p, const struct query_event *events, uint32_t n, struct span span,
                   struct match *out, struct machine *machine, struct keel_error *err) {
    if (n == 0) {
        machine->all_events = true;
        machine->span = span;
    }
    for (uint32_t i = 0; i < n; i++) {
        TRY(match_compile(p, &events[i], span, &out[i], err));
        match_needs(p, &out[i], machine);
    }
    return 0;
}

void match_union(struct plan *p, const struct match *matches, uint32_t n, struct event_set *out) {
    *out = (struct event_set){.events = arena_alloc(&p->arena, (n + 1) * sizeof(uint32_t))};
    for (uint32_t i = 0; i < n; i++) {
        out->all |= matches[i].events.all;
        for (uint32_t k = 0; k < matches[i].events.n; k++)
            if (!event_set_has(out, matches[i].events.events[k]))
                out->events[out->n++] = matches[i].events.events[k];
    }
}

bool match_overlap(const struct match *a, const struct match *b) {
    if (match_never(a) || match_never(b)) return false;
    if (a->events.all || b->events.all) return true;
    for (uint32_t i = 0; i < a->events.n; i++)
        if (event_set_has(&b->events, a->events.events[i])) return true;
    return false;
}

/* ---- tests on columns: out gets the rows of `ask` that pass ---- */

/* One loop a comparison, so that the compiler makes vectors of it. */
#define NUMBER_LOOP(op)                                                                            \
    for (uint32_t j = 0; j < 64; j++) word |= (uint64_t)(v[j] op x) << j;

static uint64_t number_word(const double *v, enum query_op op, double x) {
    uint64_t word = 0;
    switch (op) {
    case QUERY_LT: NUMBER_LOOP(<) break;
    case QUERY_LE: NUMBER_LOOP(<=) break;
    case QUERY_GT: NUMBER_LOOP(>) break;
    case QUERY_GE: NUMBER_LOOP(>=) break;
    case QUERY_EQ: NUMBER_LOOP(==) break;
    default: NUMBER_LOOP(!=) break;
    }
    return word;
}

static bool is_plain_number(const struct test *t) {
    return (t->op <= QUERY_GE) && t->low->type == QUERY_VALUE_NUMBER;
}

/* Rows of `ask` (all of them present) whose number passes. */
static void numbers_pass(const struct test *t, const struct vec *v, const uint64_t *ask,
                         uint64_t *out) {
    bool plain = is_plain_number(t);
    for (uint32_t w = 0; w < BITS_WORDS; w++) {
        uint64_t word = ask[w], pass = 0;
        /* From a quarter of the rows on, comparing all 64 slots is cheaper than picking. */
        if (plain && __builtin_popcountll(word) > 16) {
            pass = number_word(v->num + w * 64, t->op, t->low->number);
        } else {
            for (uint64_t m = word; m; m &= m - 1) {
                unsigned j = (unsigned)__builtin_ctzll(m);
                pass |= (uint64_t)test_number(t, v->num[w * 64 + j]) << j;
            }
        }
        out[w] = pass & word;
    }
}

static int cache_room(struct code_cache *c, uint32_t code, struct lexicon *lexicon,
                      struct keel_error *err) {
    uint32_t n = lexicon_count(lexicon);
    if (n <= code) n = code + 1;
    n += n / 8 + 64;
    uint8_t *known = k_try_realloc(c->known, n + VERDICT_SPARE);
    if (!known) FAIL(err, NO_MEMORY, "too little memory for the results of a filter");
    memset(known + c->n, VERDICT_OPEN, n + VERDICT_SPARE - c->n);
    c->known = known;
    c->n = n;
    return 0;
}

static int codes_pass(const struct filter *f, uint32_t c, struct worker *w, const struct vec *v,
                      const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    struct code_cache *cache = &w->caches[f->cache + c];
    struct lexicon *lexicon = store_lexicon(w->plan->store, f->field.columns[c].id);
    uint64_t open[BITS_WORDS];
    spine_kernels()->verdicts(cache->known, cache->n, v->code, ask, out, open);
    for (uint32_t word = 0; word < BITS_WORDS; word++)
        for (uint64_t m = open[word]; m; m &= m - 1) { /* a code's first time */
            uint32_t code = v->code[word * 64 + (uint32_t)__builtin_ctzll(m)];
            if (code >= cache->n) TRY(cache_room(cache, code, lexicon, err));
            if (cache->known[code] == VERDICT_OPEN)
                cache->known[code] = test_string(&f->test, lexicon_str(lexicon, code), &w->scratch)
                                         ? VERDICT_YES
                                         : VERDICT_NO;
            if (cache->known[code] == VERDICT_YES) out[word] |= m & -m;
        }
    return 0;
}

/* The slots of a vector of column c that pass, among `ask`, all of which are present. */
static int vec_pass(const struct filter *f, uint32_t c, struct worker *w, const struct vec *v,
                    const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    const struct test *t = &f->test;
    if (v->kind == VEC_NUMBER) {
        numbers_pass(t, v, ask, out);
        return 0;
    }
    if (v->kind == VEC_CODE) return codes_pass(f, c, w, v, ask, out, err);
    bool json = f->field.columns[c].type == COLUMN_JSON;
    for (uint32_t word = 0; word < BITS_WORDS; word++) {
        uint64_t pass = 0;
        for (uint64_t m = ask[word]; m; m &= m - 1) {
            unsigned j = (unsigned)__builtin_ctzll(m);
            uint32_t i = word * 64 + j;
            bool yes = v->kind == VEC_BOOL ? test_bool(t, v->code[i] != 0)
                       : json              ? test_other(t)
                                           : test_string(t, v->text[i], &w->scratch);
            pass |= (uint64_t)yes << j;
        }
        out[word] = pass;
    }
    return 0;
}

/* Line items: how many of a row's items pass, and how many there are. `seen`: rows that have the
 * value outside of items. */
static int items_pass(const struct filter *f, struct worker *w, struct feed *feed,
                      const uint64_t *ask, const uint64_t *seen, uint64_t *out,
                      struct keel_error *err) {
    uint32_t passed[CHUNK_ROWS] = {0}, there[CHUNK_ROWS] = {0}, present[CHUNK_ROWS] = {0};
    for (uint32_t c = 0; c < f->field.n; c++) {
        const struct field_column *column = &f->field.columns[c];
        if (!column->items || !feed_may_have(feed, column->stream)) continue;
        struct batch_items items;
        TRY(feed->items(feed, column->handle, &items, err));
        uint64_t pass[BITS_WORDS] = {0};
        uint32_t chunk = UINT32_MAX; /* whose bits `pass` holds */
        for (uint32_t row = 0; row < feed->n; row++) {
            if (!bit_get(ask, row) || items.count[row] == 0) continue;
            there[row] = items.count[row];
            for (uint32_t j = items.first[row]; j < items.first[row] + items.count[row]; j++) {
                const struct vec *v = &items.chunks[j / CHUNK_ROWS];
                if (j / CHUNK_ROWS != chunk) {
                    chunk = j / CHUNK_ROWS;
                    TRY(vec_pass(f, c, w, v, v->present, pass, err));
                }
                passed[row] += bit_get(pass, j % CHUNK_ROWS);
                present[row] += bit_get(v->present, j % CHUNK_ROWS);
            }
        }
    }
    bool missing = test_missing(&f->test), all = f->over == QUERY_OVER_ALL;
    for (uint32_t row = 0; row < feed->n; row++) {
        if (!bit_get(ask, row) || (missing && bit_get(seen, row))) continue;
        bool yes = missing ? present[row] == 0 && (!all || there[row] > 0)
                   : all   ? there[row] > 0 && passed[row] == there[row]
                           : passed[row] > 0;
        if (yes) bit_set(out, row);
    }
    return 0;
}

static int columns_pass(const struct filter *f, struct worker *w, struct feed *feed,
                        const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    uint64_t seen[BITS_WORDS] = {0};
    for (uint32_t c = 0; c < f->field.n; c++) {
        const struct field_column *column = &f->field.columns[c];
        if (column->items) continue;
        if (column->stream != STREAM_ROWS && !feed_may_have(feed, column->stream)) continue;
        const struct vec *v;
        TRY(feed->column(feed, column->handle, &v, err));
        uint64_t there[BITS_WORDS], pass[BITS_WORDS];
        for (uint32_t i = 0; i < BITS_WORDS; i++) {
            there[i] = v->present[i] & ask[i];
            seen[i] |= there[i];
        }
        TRY(vec_pass(f, c, w, v, there, pass, err));
        for (uint32_t i = 0; i < BITS_WORDS; i++) out[i] |= pass[i];
    }
    if (f->field.items) return items_pass(f, w, feed, ask, seen, out, err);
    if (test_missing(&f->test))
        for (uint32_t i = 0; i < BITS_WORDS; i++) out[i] |= ask[i] & ~seen[i];
    return 0;
}

static int labels_pass(const struct filter *f, struct worker *w, struct feed *feed,
                       const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    struct dict dict;
    dict_init(&dict);
    struct field_reader reader;
    field_reader_init(&reader, &f->field, w, &dict);
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(ask, rows), ids[CHUNK_ROWS];
    int code = field_ids(&reader, feed, rows, n, ids, err);
    for (uint32_t k = 0; code == 0 && k < n; k++)
        if (test_datum(&f->test, dict_get(&dict, ids[k]), &w->scratch)) bit_set(out, rows[k]);
    field_reader_release(&reader);
    dict_release(&dict);
    return code;
}

static int test_rows(const struct filter *f, struct worker *w, struct feed *feed,
                     const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    memset(out, 0, BITS_WORDS * sizeof *out);
    switch (f->field.kind) {
    case FIELD_COLUMNS: return columns_pass(f, w, feed, ask, out, err);
    case FIELD_LABEL: return labels_pass(f, w, feed, ask, out, err);
    case FIELD_NONE:
        if (test_missing(&f->test) && !(f->over == QUERY_OVER_ALL && f->field.items))
            memcpy(out, ask, BITS_WORDS * sizeof *out);
        return 0;
    case FIELD_TIME: break;
    }
    for (uint32_t word = 0; word < BITS_WORDS; word++)
        for (uint64_t m = ask[word]; m; m &= m - 1) {
            unsigned j = (unsigned)__builtin_ctzll(m);
            out[word] |= (uint64_t)test_time(&f->test, feed->time[word * 64 + j]) << j;
        }
    return 0;
}

static int filter_rows(const struct filter *f, struct worker *w, struct feed *feed,
                       const uint64_t *ask, uint64_t *out, struct keel_error *err) {
    uint64_t open[BITS_WORDS], part[BITS_WORDS];
    switch (f->kind) {
    case QUERY_FILTER_TEST: return test_rows(f, w, feed, ask, out, err);
    case QUERY_FILTER_NOT:
        TRY(filter_rows(f->items[0], w, feed, ask, part, err));
        for (uint32_t i = 0; i < BITS_WORDS; i++) out[i] = ask[i] & ~part[i];
        return 0;
    case QUERY_FILTER_AND:
        memcpy(out, ask, sizeof open);
        for (uint32_t k = 0; k < f->n_items && bits_any(out); k++) {
            memcpy(open, out, sizeof open);
            TRY(filter_rows(f->items[k], w, feed, open, out, err));
        }
        return 0;
    case QUERY_FILTER_OR:
        memcpy(open, ask, sizeof open);
        memset(out, 0, sizeof open);
        for (uint32_t k = 0; k < f->n_items && bits_any(open); k++) {
            TRY(filter_rows(f->items[k], w, feed, open, part, err));
            for (uint32_t i = 0; i < BITS_WORDS; i++) {
                out[i] |= part[i];
                open[i] &= ~part[i];
            }
        }
        return 0;
    }
    return 0;
}

int match_rows(const struct match *m, struct worker *w, struct feed *f, uint64_t *bits,
               struct keel_error *err) {
    memset(bits, 0, BITS_WORDS * sizeof *bits);
    if (m->events.all) {
        memcpy(bits, f->live, sizeof f->live);
    } else {
        for (uint32_t e = 0; e < m->events.n; e++)
            spine_kernels()->equal(f->event, f->n, m->events.events[e], bits);
        for (uint32_t i = 0; i < BITS_WORDS; i++) bits[i] &= f->live[i];
    }
    if (!span_within(f->span, m->span))
        spine_kernels()->keep_span(f->time, f->n, m->span.from_ms, m->span.to_ms, bits);
    if (!m->filter || !bits_any(bits)) return 0;
    uint64_t ask[BITS_WORDS];
    memcpy(ask, bits, sizeof ask);
    TRY(filter_rows(m->filter, w, f, ask, bits, err));
    if (w->scratch.too_hard)
        FAIL(err, LIMIT, "a regular expression takes too long on some value: make it simpler");
    return 0;
}
