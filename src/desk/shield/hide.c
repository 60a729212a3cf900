/* Implementation of shield.h: what is hidden of an answer.
 *
 * An answer has its keys in front (splits, periods, steps), then numbers. Behind every number stand
 * people: a column "customers" of the same row, or, in a trend, one that was added to the question
 * for each measure and is taken away again. */
#include <math.h>
#include <stdio.h>

#include "desk/plan/personal.h"
#include "desk/shield/shield_int.h"

enum { TOP_MOST = 1000 };

/* ---- the question, widened ---- */

static struct query_filter *exists(const struct query_prop *prop, struct arena *a) {
    struct query_filter *f = arena_zalloc(a, sizeof *f);
    f->kind = QUERY_FILTER_TEST;
    f->prop = *prop;
    f->test.op = QUERY_EXISTS;
    f->depth = 1;
    return f;
}

/* The event's own filter, and: the property is there. */
static struct query_filter *both(struct query_filter *own, struct query_filter *more,
                                 struct arena *a) {
    if (!own) return more;
    bool flat = own->kind == QUERY_FILTER_AND; /* nesting is flattened */
    uint32_t n = flat ? own->n_items : 1;
    struct query_filter *f = arena_zalloc(a, sizeof *f);
    f->kind = QUERY_FILTER_AND;
    f->items = arena_alloc(a, (n + 1) * sizeof *f->items);
    for (uint32_t i = 0; i < n; i++) f->items[i] = flat ? own->items[i] : own;
    f->items[n] = more;
    f->n_items = n + 1;
    f->depth = own->depth + (flat ? 0 : 1);
    return f;
}

int shield_widen(const struct query *q, struct arena *arena, const struct query **out,
                 uint32_t *out_added, struct keel_error *err) {
    *out = q;
    *out_added = 0;
    if (q->form == QUERY_COMPARE) { /* rows go, so there must be more */
        struct query *all = arena_alloc(arena, sizeof *all);
        *all = *q;
        all->limit = RESULT_MAX_ROWS;
        *out = all;
    }
    if (q->form != QUERY_TREND) return 0;
    uint32_t n = q->trend.n_measures;
    if (2 * n > QUERY_MAX_TERMS)
        FAIL(err, LIMIT, "without the right personal.read a trend has at most %d measures",
             QUERY_MAX_TERMS / 2);
    struct query *wide = arena_alloc(arena, sizeof *wide);
    struct query_measure *m = arena_zalloc(arena, 2 * n * sizeof *m);
    *wide = *q;
    memcpy(m, q->trend.measures, n * sizeof *m);
    for (uint32_t i = 0; i < n; i++) {
        struct query_measure *people = &m[n + i];
        people->agg = QUERY_CUSTOMERS;
        people->event = m[i].event;
        if (m[i].has_prop && m[i].prop.scope != QUERY_SCOPE_EVENT)
            people->event.filter = both(people->event.filter, exists(&m[i].prop, arena), arena);
    }
    wide->trend.measures = m;
    wide->trend.n_measures = 2 * n;
    *out = wide;
    *out_added = n;
    return 0;
}

/* ---- the answer ---- */

static struct datum *cell(struct result *r, uint64_t row, uint32_t column) {
    return &r->cells[row * r->n_columns + column];
}

/* Missing is fewer. */
static int64_t number(const struct datum *d) { return d->type == DATUM_INTEGER ? d->integer : 0; }
static bool is_few(const struct datum *d, unsigned k) { return number(d) < (int64_t)k; }
static bool is_shown(const struct datum *d) { return d->type != DATUM_NULL; }
/* Fewer than k, but some, are between the two. */
static bool is_close(int64_t more, int64_t less, unsigned k) {
    return more > less && more - less < (int64_t)k;
}

static void clear(struct result *r, uint64_t row, uint32_t from, uint32_t to, uint64_t *hidden) {
    bool was = false;
    for (uint32_t c = from; c < to; c++) {
        was |= is_shown(cell(r, row, c));
        *cell(r, row, c) = datum_null();
    }
    *hidden += was;
}

static uint32_t key_columns(const struct query *q) {
    switch (q->form) {
    case QUERY_COUNT:
    case QUERY_TIME: return q->n_splits;
    case QUERY_FUNNEL:
    case QUERY_RETENTION: return q->n_splits + 2;
    case QUERY_REPEAT: return q->n_splits + 1;
    case QUERY_PATHS: return q->paths.length;
    case QUERY_RFM: return 3;
    case QUERY_SESSIONS:
    case QUERY_TREND: return q->n_splits + q->has_period;
    case QUERY_ATTRIBUTE:
    case QUERY_TOP: return 1;
    default: return UINT32_MAX;
    }
}

static int find_column(const struct result *r, uint32_t from, const char *name, uint32_t *out,
                       struct keel_error *err) {
    for (uint32_t c = from; c < r->n_columns; c++)
        if (str_is(r->columns[c].name, name)) {
            *out = c;
            return 0;
        }
    FAIL(err, FORBIDDEN,
         "it is not known how many customers stand behind this answer: it needs "
         "the right personal.read");
}

/* Same keys but for the last `but` of them: rows of one group. */
static bool same_group(struct result *r, uint64_t a, uint64_t b, uint32_t keys) {
    for (uint32_t c = 0; c < keys; c++)
        if (!datum_eq(cell(r, a, c), cell(r, b, c))) return false;
    return true;
}

/* A step that fewer than k did not reach: the next ones are compared with the last one shown. */
static void hide_drops(struct result *r, uint32_t splits, uint32_t keys, uint32_t people,
                       unsigned k, uint64_t *hidden) {
    uint64_t last = 0;
    for (uint64_t row = 1; row < r->n_rows; row++) {
        bool same = same_group(r, last, row, splits);
        if (!is_shown(cell(r, row, people))) continue;
        if (same && is_shown(cell(r, last, people)) &&
            is_close(number(cell(r, last, people)), number(cell(r, row, people)), k))
            clear(r, row, keys, r->n_columns, hidden);
        else
            last = row;
    }
}

/* Those of a whole who are not counted in its part are fewer than k. */
static void hide_rest(struct result *r, uint32_t whole, uint32_t part, unsigned k,
                      uint64_t *hidden) {
    for (uint64_t row = 0; row < r->n_rows; row++)
        if (is_shown(cell(r, row, part)) &&
            is_close(number(cell(r, row, whole)), number(cell(r, row, part)), k))
            clear(r, row, part, r->n_columns, hidden);
}

/* Rows that together are everybody: what is hidden must not follow from a total. */
static void hide_complement(struct result *r, uint32_t keys, uint32_t people, int64_t lost,
                            unsigned k, uint64_t *hidden) {
    uint64_t smallest = UINT64_MAX;
    if (lost == 0 || lost >= (int64_t)k) return;
    for (uint64_t row = 0; row < r->n_rows; row++) {
        if (!is_shown(cell(r, row, people))) continue;
        if (smallest == UINT64_MAX ||
            number(cell(r, row, people)) < number(cell(r, smallest, people)))
            smallest = row;
    }
    if (smallest != UINT64_MAX) clear(r, smallest, keys, r->n_columns, hidden);
}

static int hide_by_customers(const struct shield_hiding *h, struct result *r, uint64_t *hidden,
                             struct keel_error *err) {
    const struct query *q = h->query;
    uint32_t keys = key_columns(q), people, size;
    int64_t lost = 0;
    TRY(find_column(r, keys, "customers", &people, err));
    size = people;
    if (q->form == QUERY_RETENTION) TRY(find_column(r, keys, "size", &size, err));
    for (uint64_t row = 0; row < r->n_rows; row++) {
        if (is_few(cell(r, row, size), h->k)) {
            lost += number(cell(r, row, size));
            clear(r, row, keys, r->n_columns, hidden);
        } else if (is_few(cell(r, row, people), h->k)) {
            clear(r, row, people, r->n_columns, hidden);
        }
    }
    if (q->form == QUERY_FUNNEL) hide_drops(r, q->n_splits, keys, people, h->k, hidden);
    if (q->form == QUERY_REPEAT) hide_drops(r, q->n_splits, keys, people, h->k, hidden);
    if (q->form == QUERY_RETENTION) hide_rest(r, size, people, h->k, hidden);
    if (q->form == QUERY_COUNT || q->form == QUERY_RFM || q->form == QUERY_ATTRIBUTE)
        hide_complement(r, keys, people, lost, h->k, hidden);
    return 0;
}

static void hide_trend(const struct shield_hiding *h, struct result *r, uint64_t *hidden) {
    uint32_t n = h->added, first = r->n_columns - 2 * n;
    for (uint64_t row = 0; row < r->n_rows; row++)
        for (uint32_t i = 0; i < n; i++) {
            if (is_few(cell(r, row, first + n + i), h->k))
                clear(r, row, first + i, first + i + 1, hidden);
        }
    for (uint64_t row = 0; row < r->n_rows; row++) /* without the columns that were added */
        memmove(r->cells + row * (r->n_columns - n), r->cells + row * r->n_columns,
                (r->n_columns - n) * sizeof *r->cells);
    r->n_columns -= n;
    r->cap_rows = r->n_rows; /* at least */
}

static int hide_top(const struct shield_hiding *h, struct result *r, uint64_t *hidden,
                    struct keel_error *err) {
    if (!h->people) { /* ranked by customers */
        for (uint64_t row = 0; row < r->n_rows; row++)
            if (is_few(cell(r, row, 1), h->k)) clear(r, row, 1, r->n_columns, hidden);
        return 0;
    }
    if (r->n_rows > TOP_MOST)
        FAIL(err, LIMIT, "without the right personal.read ask for the top %d at most", TOP_MOST);
    for (uint64_t row = 0; row < r->n_rows; row++) {
        uint64_t at = 0;
        while (at < h->people->n_rows && !datum_eq(cell(r, row, 0), result_cell(h->people, at, 0)))
            at++;
        if (at == h->people->n_rows || is_few(result_cell(h->people, at, 1), h->k))
            clear(r, row, 1, r->n_columns, hidden);
    }
    return 0;
}

/* Values that look personal although their name does not say so. */
static void mask_texts(struct result *r) {
    for (uint64_t i = 0; i < r->n_rows * r->n_columns; i++) {
        struct datum *d = &r->cells[i];
        if (d->type != DATUM_STRING && d->type != DATUM_JSON) continue;
        switch (personal_by_shape(d->str)) {
        case PERSONAL_EMAIL: *d = datum_str(STR("‹e-mail›")); break;
        case PERSONAL_PHONE: *d = datum_str(STR("‹phone›")); break;
        default: break;
        }
    }
}

static void add_note(struct result *r, const char *text) {
    if (r->n_notes < sizeof r->notes / sizeof *r->notes)
        r->notes[r->n_notes++] = str_dup(&r->text, str_from(text));
}

int shield_hide(const struct shield_hiding *h, struct result *r, struct keel_error *err) {
    char note[200];
    uint64_t hidden = 0;
    int code = 0;
    if (h->query->form == QUERY_TREND)
        hide_trend(h, r, &hidden);
    else if (h->query->form == QUERY_TOP)
        code = hide_top(h, r, &hidden, err);
    else if (h->query->form == QUERY_LIFECYCLE)
        shield_hide_lifecycle(h, r, &hidden);
    else if (h->query->form == QUERY_COMPARE)
        shield_hide_compare(h, r, &hidden);
    else
        code = hide_by_customers(h, r, &hidden, err);
    if (code < 0) return code;
    mask_texts(r);
    r->cost.rows += (1024 - r->cost.rows % 1024) % 1024; /* how often a rare event happened */
    r->cost.gathered = 0;
    if (hidden) {
        snprintf(note, sizeof note,
                 "hidden in %llu rows: numbers of fewer than %u customers, or from which such a "
                 "number would follow",
                 (unsigned long long)hidden, h->k);
        add_note(r, note);
    }
    return 0;
}
