/* Implementation of account.h.
 *
 * Each kind has a feed function over the matched rows of a batch. Counts, sums, minima and distinct
 * values commute, so their rows may come in any order. All slots of the state are clear before a
 * range: after one with few customers only theirs need to be. */
#include "query/account.h"

#include "query/pairs.h"

struct account_state {
    const struct account *account;
    struct worker *worker;
    uint32_t *count; /* COUNT, VALUES, AVG, UNIQUE; flags of FOLLOWED */
    struct sums sums;
    double *extreme; /* MIN, MAX; NAN: nothing yet */
    uint32_t *id;    /* FIRST, LAST */
    int64_t *last_a, *last_b;
    struct dict dict;
    struct field_reader reader;
    struct flat flat;
    struct pairs pairs;
    bool made; /* all slots were clear once */
};

/* FOLLOWED: bits of count[]. */
enum { HAS_A = ACCOUNT_OPEN, FULFILLED = ACCOUNT_CLOSED & ~ACCOUNT_OPEN };
/* Before all times; one repeated byte, so that memset writes it. */
#define NEVER_BYTE 0x80
#define NEVER (INT64_MIN | 0x0080808080808080)

static bool has_sums(enum account_kind k) { return k == ACCOUNT_SUM || k == ACCOUNT_AVG; }
static bool has_extreme(enum account_kind k) { return k == ACCOUNT_MIN || k == ACCOUNT_MAX; }
static bool has_ids(enum account_kind k) { return k == ACCOUNT_FIRST || k == ACCOUNT_LAST; }
static bool has_pair(enum account_kind k) {
    return k == ACCOUNT_FOLLOWED || k == ACCOUNT_UNFOLLOWED;
}

static int account_open(const struct machine *m, struct worker *w, void *state,
                        struct keel_error *err) {
    struct account_state *s = state;
    s->account = (const struct account *)m;
    s->worker = w;
    uint32_t n = w->plan->range_size;
    enum account_kind kind = s->account->kind;
    bool ok = true;
    if (has_sums(kind)) ok = sums_init(&s->sums, n) == 0;
    if (has_extreme(kind)) ok = (s->extreme = k_try_alloc_array(n, sizeof *s->extreme));
    if (has_ids(kind)) ok = (s->id = k_try_alloc_array(n, sizeof *s->id));
    if (!has_ids(kind) && !has_extreme(kind) && kind != ACCOUNT_SUM)
        ok = ok && (s->count = k_try_alloc_array(n, sizeof *s->count));
    if (has_pair(kind)) {
        s->last_a = k_try_alloc_array(n, sizeof *s->last_a);
        s->last_b = k_try_alloc_array(n, sizeof *s->last_b);
        ok = ok && s->last_a && s->last_b;
    }
    dict_init(&s->dict);
    pairs_init(&s->pairs);
    field_reader_init(&s->reader, &s->account->field, w, &s->dict);
    if (!ok) FAIL(err, NO_MEMORY, "too little memory for %u customers at a time", n);
    return 0;
}

static void account_close(void *state) {
    struct account_state *s = state;
    k_free(s->count);
    sums_release(&s->sums);
    k_free(s->extreme);
    k_free(s->id);
    k_free(s->last_a);
    k_free(s->last_b);
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    flat_release(&s->flat);
    pairs_release(&s->pairs);
}

static void clear_slots(struct account_state *s, uint32_t from, uint32_t n) {
    if (s->count) memset(s->count + from, 0, n * sizeof *s->count);
    if (s->id) memset(s->id + from, 0, n * sizeof *s->id);
    if (s->sums.whole) sums_clear(&s->sums, from, n);
    for (uint32_t i = from; s->extreme && i < from + n; i++) s->extreme[i] = NAN;
    if (s->last_a) memset(s->last_a + from, NEVER_BYTE, n * sizeof *s->last_a);
    if (s->last_b) memset(s->last_b + from, NEVER_BYTE, n * sizeof *s->last_b);
}

static int account_begin(void *state, struct range r, struct keel_error *err) {
    (void)r, (void)err;
    struct account_state *s = state;
    uint32_t size = s->worker->plan->range_size;
    if (!s->made || s->worker->fed_many)
        clear_slots(s, 0, size);
    else
        for (uint32_t i = 0; i * 64 < size; i++)
            for (uint64_t m = s->worker->fed[i]; m; m &= m - 1)
                clear_slots(s, i * 64 + (uint32_t)__builtin_ctzll(m), 1);
    s->made = true;
    pairs_clear(&s->pairs);
    return 0;
}

static int feed_numbers(struct account_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                        struct keel_error *err) {
    TRY(field_flat_numbers(&s->account->field, f, rows, n, &s->flat, err));
    const struct flat *flat = &s->flat;
    enum account_kind kind = s->account->kind;
    for (uint32_t k = 0; k < flat->n; k++) {
        uint32_t slot = f->customer[rows[flat->at[k]]] - f->first;
        double v = flat->number[k];
        if (has_sums(kind)) {
            sums_add(&s->sums, slot, v);
            if (s->count) s->count[slot]++;
        } else if (kind == ACCOUNT_MIN) {
            if (!(s->extreme[slot] <= v)) s->extreme[slot] = v;
        } else {
            if (!(s->extreme[slot] >= v)) s->extreme[slot] = v;
        }
    }
    if (s->sums.failed) FAIL(err, NO_MEMORY, "too little memory for sums");
    return 0;
}

static int feed_ids(struct account_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                    struct keel_error *err) {
    uint32_t ids[CHUNK_ROWS];
    TRY(field_ids(&s->reader, f, rows, n, ids, err));
    bool first = s->account->kind == ACCOUNT_FIRST;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t *at = &s->id[f->customer[rows[k]] - f->first];
        if (ids[k] && !(first && *at)) *at = ids[k];
    }
    return 0;
}

static int feed_unique(struct account_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                       struct keel_error *err) {
    TRY(field_flat_ids(&s->reader, f, rows, n, &s->flat, err));
    for (uint32_t k = 0; k < s->flat.n; k++) {
        uint32_t slot = f->customer[rows[s->flat.at[k]]] - f->first;
        bool is_new;
        if (!pairs_at(&s->pairs, pair_key(slot, s->flat.id[k]), &is_new))
            FAIL(err, LIMIT,
                 "too many distinct values: narrow the question by a filter or a range");
        s->count[slot] += is_new;
    }
    return 0;
}

static int feed_values(struct account_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                       struct keel_error *err) {
    uint32_t counts[CHUNK_ROWS];
    TRY(field_counts(&s->account->field, f, rows, n, counts, err));
    for (uint32_t k = 0; k < n; k++) s->count[f->customer[rows[k]] - f->first] += counts[k];
    return 0;
}

/* Equal times count in any order, and an event never follows itself. FOLLOWED: the latest A before
 * a B is the best one. UNFOLLOWED: only the last A counts, so each A starts over. */
static void follow_row(struct account_state *s, uint32_t slot, int64_t t, bool a, bool b) {
    uint32_t *flags = &s->count[slot];
    int64_t *last_a = &s->last_a[slot], *last_b = &s->last_b[slot];
    if (b && *last_a != NEVER && t - *last_a <= s->account->within_ms) *flags |= FULFILLED;
    if (a) {
        bool b_at_once = *last_b == t; /* of another event: this one is noted below */
        if (s->account->kind == ACCOUNT_UNFOLLOWED) *flags &= ~(uint32_t)FULFILLED;
        *flags |= HAS_A | (b_at_once ? FULFILLED : 0);
        *last_a = t;
    }
    if (b) *last_b = t;
}

static int feed_followed(struct account_state *s, struct feed *f, struct keel_error *err) {
    uint64_t a[BITS_WORDS], b[BITS_WORDS], both[BITS_WORDS];
    TRY(match_rows(&s->account->match, s->worker, f, a, err));
    TRY(match_rows(&s->account->then, s->worker, f, b, err));
    for (uint32_t i = 0; i < BITS_WORDS; i++) both[i] = a[i] | b[i];
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(both, rows);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = rows[k];
        follow_row(s, f->customer[row] - f->first, f->time[row], bit_get(a, row), bit_get(b, row));
    }
    return 0;
}

static int account_feed(void *state, struct feed *f, struct keel_error *err) {
    struct account_state *s = state;
    if (has_pair(s->account->kind)) return feed_followed(s, f, err);
    uint16_t rows[CHUNK_ROWS];
    uint32_t n;
    TRY(match_index(&s->account->match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    switch (s->account->kind) {
    case ACCOUNT_COUNT:
        for (uint32_t k = 0; k < n; k++) s->count[f->customer[rows[k]] - f->first]++;
        return 0;
    case ACCOUNT_VALUES: return feed_values(s, f, rows, n, err);
    case ACCOUNT_SUM:
    case ACCOUNT_AVG:
    case ACCOUNT_MIN:
    case ACCOUNT_MAX: return feed_numbers(s, f, rows, n, err);
    case ACCOUNT_FIRST:
    case ACCOUNT_LAST: return feed_ids(s, f, rows, n, err);
    case ACCOUNT_UNIQUE: return feed_unique(s, f, rows, n, err);
    case ACCOUNT_FOLLOWED:
    case ACCOUNT_UNFOLLOWED: break;
    }
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct account_state),
    .open = account_open,
    .begin = account_begin,
    .feed = account_feed,
    .close = account_close,
};

/* ---- results ---- */

const uint32_t *account_counts(const struct worker *w, const struct account *a) {
    return ((const struct account_state *)machine_state(w, &a->machine))->count;
}

uint32_t account_id(const struct worker *w, const struct account *a, uint32_t slot) {
    if (!has_ids(a->kind)) return DICT_NONE;
    return ((const struct account_state *)machine_state(w, &a->machine))->id[slot];
}

struct datum account_datum(const struct worker *w, const struct account *a, uint32_t slot) {
    const struct account_state *s = machine_state(w, &a->machine);
    switch (a->kind) {
    case ACCOUNT_SUM: return datum_number(sums_value(&s->sums, slot));
    case ACCOUNT_AVG:
        if (s->count[slot] == 0) return datum_null();
        return datum_number(sums_value(&s->sums, slot) / s->count[slot]);
    case ACCOUNT_MIN:
    case ACCOUNT_MAX:
        if (isnan(s->extreme[slot])) return datum_null();
        if (a->field.kind == FIELD_TIME) return datum_time((int64_t)s->extreme[slot]);
        return datum_number(s->extreme[slot]);
    case ACCOUNT_FIRST:
    case ACCOUNT_LAST: return *dict_get(&s->dict, s->id[slot]);
    default: return datum_number(s->count[slot]);
    }
}

/* ---- making ---- */

static int account_add(struct plan *p, enum account_kind kind, struct account **out,
                       struct keel_error *err) {
    struct account *a = arena_zalloc(&p->arena, sizeof *a);
    a->kind = kind;
    a->machine = (struct machine){.ops = &OPS, .span = {INT64_MAX, INT64_MIN}};
    a->machine.ordered = has_ids(kind) || has_pair(kind);
    a->machine.bytes_per_customer = has_pair(kind)        ? 20
                                    : kind == ACCOUNT_AVG ? 12
                                    : has_sums(kind)      ? 8
                                    : has_extreme(kind)   ? 8
                                                          : 4;
    *out = a;
    return plan_add(p, &a->machine, err);
}

int account_did(struct plan *p, const struct query_event *event, struct span span,
                struct account **out, struct keel_error *err) {
    TRY(account_add(p, ACCOUNT_COUNT, out, err));
    TRY(match_compile(p, event, span, &(*out)->match, err));
    match_needs(p, &(*out)->match, &(*out)->machine);
    return 0;
}

int account_exists(struct plan *p, struct account **out, struct keel_error *err) {
    struct query_event any = {.kind = QUERY_EVENT_ANY};
    return account_did(p, &any, (struct span){INT64_MIN, p->at_ms}, out, err);
}

static enum account_kind kind_of_measure(const struct query_measure *m) {
    switch (m->agg) {
    case QUERY_COUNT_OF: return m->has_prop ? ACCOUNT_VALUES : ACCOUNT_COUNT;
    case QUERY_SUM: return ACCOUNT_SUM;
    case QUERY_AVG: return ACCOUNT_AVG;
    case QUERY_MIN: return ACCOUNT_MIN;
    case QUERY_MAX: return ACCOUNT_MAX;
    case QUERY_FIRST: return ACCOUNT_FIRST;
    case QUERY_LAST: return ACCOUNT_LAST;
    default: return ACCOUNT_UNIQUE;
    }
}

static int account_over(struct plan *p, enum account_kind kind, const struct query_event *event,
                        const struct query_prop *prop, struct span span, struct account **out,
                        struct keel_error *err) {
    TRY(account_add(p, kind, out, err));
    struct account *a = *out;
    TRY(match_compile(p, event, span, &a->match, err));
    if (prop) TRY(field_resolve(p, prop, &a->match.events, &a->field, err));
    match_needs(p, &a->match, &a->machine);
    if (prop) field_needs(p, &a->field, &a->machine);
    return 0;
}

int account_measure(struct plan *p, const struct query_measure *m, struct account **out,
                    struct keel_error *err) {
    struct span span = range_span(p->zone, &m->range, p->at_ms);
    return account_over(p, kind_of_measure(m), &m->event, m->has_prop ? &m->prop : NULL, span, out,
                        err);
}

int account_trait(struct plan *p, const struct query_prop *trait, struct account **out,
                  struct keel_error *err) {
    for (uint32_t i = 0; i < p->n_machines; i++) { /* each trait once */
        struct account *a = (struct account *)p->machines[i];
        if (a->machine.ops != &OPS || !a->trait.p || !str_eq(a->trait, trait->path)) continue;
        *out = a;
        return 0;
    }
    struct query_event identify = {.kind = QUERY_EVENT_IDENTIFY};
    struct query_prop prop = *trait;
    prop.scope = QUERY_SCOPE_PROPERTY;
    TRY(account_over(p, ACCOUNT_LAST, &identify, &prop, (struct span){INT64_MIN, p->at_ms}, out,
                     err));
    (*out)->trait = trait->path;
    return 0;
}

int account_followed(struct plan *p, const struct query_cond *c, struct account **out,
                     struct keel_error *err) {
    struct span span = range_span(p->zone, &c->range, p->at_ms);
    TRY(account_add(p, c->negated ? ACCOUNT_UNFOLLOWED : ACCOUNT_FOLLOWED, out, err));
    struct account *a = *out;
    a->within_ms = duration_ms(c->within);
    TRY(match_compile(p, &c->event, span, &a->match, err));
    TRY(match_compile(p, &c->then, span, &a->then, err));
    match_needs(p, &a->match, &a->machine);
    match_needs(p, &a->then, &a->machine);
    return 0;
}
