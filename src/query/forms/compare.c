/* The form COMPARE: by which traits, and by which events in the range, two sets of customers
 * differ.
 *
 * Each row is a fact that a customer has or has not: a value of a trait, the trait at all, an
 * event. Counted in A and in B it makes a table of two by two, whose log-likelihood ratio G² ranks
 * the rows: 2 Σ observed × ln(observed / expected), the expected numbers being those of two sets in
 * which the fact is equally frequent (Dunning, Accurate Methods for the Statistics of Surprise and
 * Coincidence, 1993). It needs no least number in a cell as the chi-square does, so rare facts are
 * ranked fairly; what few customers stand behind is left out all the same (`with at least`).
 *
 * Traits are accounts of stage 0. Which events a customer did is a bit an event, from a scan that
 * looks at nothing but times and events. The conditions of A and B are evaluated when a range has
 * been fed.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: COMPARE_COLUMNS columns of traits, the first
 * by name; COMPARE_VALUES values of one trait, beyond which only having it is compared.
 */
#include <math.h>
#include <stdlib.h>

#include "query/forms/form_tools.h"

enum { COMPARE_COLUMNS = 48, COMPARE_VALUES = 10000, SIDES = 2 };

/* ---- which events ---- */

struct did_machine {
    struct machine machine;
    struct match match;
    uint32_t words; /* of a customer's bits */
};

struct did_state {
    const struct did_machine *m;
    struct worker *worker;
    uint64_t *bits; /* [slots × words] by event */
};

static int did_open(const struct machine *m, struct worker *w, void *state,
                    struct keel_error *err) {
    struct did_state *s = state;
    s->m = (const struct did_machine *)m;
    s->worker = w;
    s->bits = k_try_alloc_array((size_t)w->plan->range_size * s->m->words, sizeof *s->bits);
    if (!s->bits) FAIL(err, NO_MEMORY, "too little memory to compare customers");
    return 0;
}

static int did_begin(void *state, struct range r, struct keel_error *err) {
    (void)err;
    struct did_state *s = state;
    memset(s->bits, 0, (size_t)r.count * s->m->words * sizeof *s->bits);
    return 0;
}

static int did_feed(void *state, struct feed *f, struct keel_error *err) {
    struct did_state *s = state;
    uint16_t rows[CHUNK_ROWS];
    uint32_t n, events = s->m->words * 64;
    TRY(match_index(&s->m->match, s->worker, f, rows, &n, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t event = f->event[rows[k]], slot = f->customer[rows[k]] - f->first;
        if (event < events) bit_set(s->bits + (size_t)slot * s->m->words, event);
    }
    return 0;
}

static void did_close(void *state) { k_free(((struct did_state *)state)->bits); }

static const struct machine_ops DID_OPS = {
    .state_bytes = sizeof(struct did_state),
    .open = did_open,
    .begin = did_begin,
    .feed = did_feed,
    .close = did_close,
};

static int did_new(struct plan *p, struct did_machine **out, struct keel_error *err) {
    struct query_event any = {.kind = QUERY_EVENT_ANY};
    struct did_machine *m = arena_zalloc(&p->arena, sizeof *m);
    m->machine = (struct machine){.ops = &DID_OPS, .stage = 1, .span = {INT64_MAX, INT64_MIN}};
    m->words = schema_streams(p->schema) / 64 + 1;
    m->machine.bytes_per_customer = m->words * sizeof(uint64_t);
    TRY(match_compile(p, &any, range_span(p->zone, &p->q->range, p->at_ms), &m->match, err));
    match_needs(p, &m->match, &m->machine);
    *out = m;
    return plan_add(p, &m->machine, err);
}

/* ---- the form ---- */

struct compare_form {
    struct form form;
    struct customers side[SIDES];
    bool others; /* the second side is whoever is not on the first */
    struct str *traits;
    struct account **accounts; /* [n_traits] */
    uint32_t n_traits;
    struct did_machine *did;
};

struct side_counts {
    uint64_t n[SIDES];
};

struct trait_counts {
    struct dict dict;  /* of the sides' values */
    struct counters n; /* [id × SIDES] */
    uint32_t *known;   /* id of the account's dictionary -> own id */
    uint32_t n_known;
    bool many; /* values are no longer counted */
    struct side_counts has;
};

struct compare_state {
    const struct compare_form *f;
    struct worker *worker;
    uint64_t *bits[SIDES];
    struct trait_counts *traits; /* [n_traits] */
    struct side_counts *events;  /* [did->words × 64] */
    struct side_counts size;
    bool overlap;
};

static int by_name(const void *a, const void *b) {
    return str_cmp(((const struct column_info *)a)->name, ((const struct column_info *)b)->name);
}

/* The traits that somebody has, by name. One may have a column for each type of its values. */
static int plan_traits(struct compare_form *f, struct plan *p, struct keel_error *err) {
    int64_t identify = schema_find_event(p->schema, STR("$identify"));
    uint32_t columns = schema_columns(p->schema), n = 0, left_out = 0;
    if (identify < 0) return 0;
    struct column_info *of = arena_alloc(&p->arena, SCHEMA_MAX_COLUMNS_PER_STREAM * sizeof *of);
    for (uint32_t i = 0; i < columns && n < SCHEMA_MAX_COLUMNS_PER_STREAM; i++) {
        struct column_info c = schema_column(p->schema, i);
        if (c.stream == identify && !str_starts(c.name, STR("$"))) of[n++] = c;
    }
    if (n > 0) qsort(of, n, sizeof *of, by_name);
    f->traits = arena_alloc(&p->arena, (n + 1) * sizeof *f->traits);
    f->accounts = arena_alloc(&p->arena, (n + 1) * sizeof(struct account *));
    for (uint32_t i = 0, used = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && str_eq(of[next].name, of[i].name);) next++;
        used += next - i;
        if (used > COMPARE_COLUMNS) {
            left_out++;
            continue;
        }
        struct query_prop trait = {.scope = QUERY_SCOPE_TRAIT, .path = of[i].name};
        f->traits[f->n_traits] = of[i].name;
        TRY(account_trait(p, &trait, &f->accounts[f->n_traits++], err));
    }
    if (left_out)
        plan_note(p, "the first %u traits by name are compared, %u are not", f->n_traits, left_out);
    return 0;
}

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct compare_form *f = (struct compare_form *)form;
    const struct query *q = p->q;
    f->others = q->compare.others;
    TRY(customers_compile(p, q->compare.a, /* all_needed= */ false, &f->side[0], err));
    if (!f->others)
        TRY(customers_compile(p, q->compare.b, /* all_needed= */ false, &f->side[1], err));
    plan_note(p, "ranked, not tested: among many facts some differ by chance alone");
    TRY(plan_traits(f, p, err));
    return did_new(p, &f->did, err);
}

static int form_open(const struct form *form, struct worker *w, void *state,
                     struct keel_error *err) {
    struct compare_state *s = state;
    s->f = (const struct compare_form *)form;
    s->worker = w;
    s->traits = k_try_zalloc((s->f->n_traits + 1) * sizeof *s->traits);
    s->events = k_try_zalloc((size_t)s->f->did->words * 64 * sizeof *s->events);
    bool ok = s->traits && s->events;
    for (unsigned k = 0; k < SIDES; k++)
        ok = ok && (s->bits[k] = k_try_alloc_array(w->plan->range_size / 64 + 1, sizeof(uint64_t)));
    if (!ok) FAIL(err, NO_MEMORY, "too little memory to compare customers");
    for (uint32_t t = 0; t < s->f->n_traits; t++) dict_init(&s->traits[t].dict);
    return 0;
}

static void form_close(void *state) {
    struct compare_state *s = state;
    for (uint32_t t = 0; s->traits && t < s->f->n_traits; t++) {
        dict_release(&s->traits[t].dict);
        counters_release(&s->traits[t].n);
        k_free(s->traits[t].known);
    }
    k_free(s->traits);
    k_free(s->events);
    for (unsigned k = 0; k < SIDES; k++) k_free(s->bits[k]);
}

/* ---- counting ---- */

static void count(struct side_counts *c, const bool *on) {
    for (unsigned k = 0; k < SIDES; k++) c->n[k] += on[k];
}

/* The customer's value as an id of our own; 0 when there are too many. */
static int value_id(struct compare_state *s, uint32_t trait, uint32_t slot, uint32_t own,
                    uint32_t *out, struct keel_error *err) {
    struct trait_counts *t = &s->traits[trait];
    if (own >= t->n_known) {
        uint32_t n = own * 2 + 64;
        uint32_t *known = k_try_realloc(t->known, (size_t)n * sizeof *known);
        if (!known) FAIL(err, NO_MEMORY, "too little memory to compare a trait");
        memset(known + t->n_known, 0, (size_t)(n - t->n_known) * sizeof *known);
        t->known = known;
        t->n_known = n;
    }
    if (!t->known[own]) {
        struct datum v = account_datum(s->worker, s->f->accounts[trait], slot);
        t->many = t->dict.count > COMPARE_VALUES;
        if (!t->many) t->known[own] = dict_add(&t->dict, v, /* stable= */ false);
        if (t->known[own] == DICT_NONE) FAIL(err, NO_MEMORY, "too little memory for values");
    }
    *out = t->known[own];
    return 0;
}

static int count_trait(struct compare_state *s, uint32_t trait, uint32_t slot, const bool *on,
                       struct keel_error *err) {
    struct trait_counts *t = &s->traits[trait];
    uint32_t id = 0, own = account_id(s->worker, s->f->accounts[trait], slot);
    if (!own) return 0;
    count(&t->has, on);
    if (t->many) return 0;
    TRY(value_id(s, trait, slot, own, &id, err));
    if (!id) return 0;
    TRY(counters_room(&t->n, (uint64_t)(id + 1) * SIDES, err));
    for (unsigned k = 0; k < SIDES; k++) t->n.n[id * SIDES + k] += on[k];
    return 0;
}

static int count_customer(struct compare_state *s, uint32_t slot, const bool *on,
                          struct keel_error *err) {
    const struct did_state *did = machine_state(s->worker, &s->f->did->machine);
    const uint64_t *bits = did->bits + (size_t)slot * s->f->did->words;
    count(&s->size, on);
    s->overlap |= on[0] && on[1];
    for (uint32_t t = 0; t < s->f->n_traits; t++) TRY(count_trait(s, t, slot, on, err));
    for (uint32_t w = 0; w < s->f->did->words; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1)
            count(&s->events[w * 64 + (uint32_t)__builtin_ctzll(m)], on);
    return 0;
}

static int form_fold(void *state, struct range r, struct keel_error *err) {
    struct compare_state *s = state;
    const uint64_t *members = s->worker->members;
    TRY(customers_eval(&s->f->side[0], s->worker, r, s->bits[0], err));
    if (!s->f->others) TRY(customers_eval(&s->f->side[1], s->worker, r, s->bits[1], err));
    for (uint32_t w = 0; w * 64 < r.count; w++) {
        uint64_t a = s->bits[0][w] & members[w];
        uint64_t b = (s->f->others ? ~s->bits[0][w] : s->bits[1][w]) & members[w];
        for (uint64_t m = a | b; m; m &= m - 1) {
            unsigned j = (unsigned)__builtin_ctzll(m);
            const bool on[SIDES] = {a >> j & 1, b >> j & 1};
            TRY(count_customer(s, w * 64 + j, on, err));
        }
    }
    return 0;
}

/* ---- the answer ---- */

static const struct str TRAIT = {"trait", 5}, HAS_TRAIT = {"has trait", 9}, EVENT = {"event", 5};

struct fact {
    struct str kind, name;
    struct datum value;
    uint64_t n[SIDES];
    double g2;
};

struct facts {
    struct fact *items;
    uint64_t n, cap, least; /* fewer customers than `least` make no fact */
    struct side_counts size;
};

/* observed × ln(observed / expected), where `part` of `all` customers are of its row and `column`
 * of its column. */
static double likelihood(uint64_t observed, uint64_t part, uint64_t column, uint64_t all) {
    if (observed == 0) return 0;
    return (double)observed * log((double)observed / ((double)part * (double)column / (double)all));
}

/* To the millionth, so that facts of equal tables are equal, whichever side is called A. */
static double g_squared(const uint64_t *has, const uint64_t *size) {
    uint64_t all = size[0] + size[1], with = has[0] + has[1];
    double sum = 0;
    for (unsigned k = 0; k < SIDES; k++) {
        sum += likelihood(has[k], size[k], with, all);
        sum += likelihood(size[k] - has[k], size[k], all - with, all);
    }
    double g2 = rint(2 * sum * 1e6) / 1e6;
    return g2 > 0 ? g2 : 0;
}

static int add_fact(struct facts *all, struct str kind, struct str name, struct datum value,
                    const uint64_t *n, struct keel_error *err) {
    K_ASSERT(n);
    if (n[0] + n[1] < all->least) return 0;
    if (all->n == all->cap) {
        uint64_t cap = all->cap ? all->cap * 2 : 256;
        struct fact *items = k_try_realloc(all->items, cap * sizeof *items);
        if (!items) FAIL(err, NO_MEMORY, "too little memory to compare customers");
        all->items = items;
        all->cap = cap;
    }
    all->items[all->n++] = (struct fact){.kind = kind,
                                         .name = name,
                                         .value = value,
                                         .n = {n[0], n[1]},
                                         .g2 = g_squared(n, all->size.n)};
    return 0;
}

static int by_g2(const void *a, const void *b) {
    const struct fact *x = a, *y = b;
    if (x->g2 != y->g2) return x->g2 > y->g2 ? -1 : 1;
    int sign = str_cmp(x->kind, y->kind);
    if (!sign) sign = str_cmp(x->name, y->name);
    return sign ? sign : datum_cmp(&x->value, &y->value);
}

/* Adds the workers' values of one trait up; `dict` keeps them until the rows are made. */
static int add_trait(const struct compare_form *f, uint32_t trait, const struct worker *workers,
                     uint32_t n, struct dict *dict, struct facts *all, struct keel_error *err) {
    struct counters total = {0};
    struct side_counts has = {0};
    bool many = false;
    int code = 0;
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const struct trait_counts *t =
            &((const struct compare_state *)workers[i].form)->traits[trait];
        uint32_t *map;
        for (unsigned k = 0; k < SIDES; k++) has.n[k] += t->has.n[k];
        many |= t->many;
        code = dict_merge(dict, &t->dict, &map, err);
        if (code < 0) break;
        code = counters_room(&total, (uint64_t)dict->count * SIDES, err);
        for (uint64_t at = 0; at < t->n.count && code == 0; at++)
            total.n[map[at / SIDES] * SIDES + at % SIDES] += t->n.n[at];
        k_free(map);
    }
    many |= dict->count > COMPARE_VALUES + 1;
    if (many)
        plan_note(f->form.plan, "trait %.*s has more than %d values: compared is only who has it",
                  STR_ARG(f->traits[trait]), COMPARE_VALUES);
    if (code == 0) code = add_fact(all, HAS_TRAIT, f->traits[trait], datum_null(), has.n, err);
    for (uint32_t id = 1; id < dict->count && code == 0 && !many; id++)
        code =
            add_fact(all, TRAIT, f->traits[trait], *dict_get(dict, id), total.n + id * SIDES, err);
    counters_release(&total);
    return code;
}

static int add_events(const struct compare_form *f, const struct worker *workers, uint32_t n,
                      struct facts *all, struct keel_error *err) {
    for (uint32_t e = 0; e < f->did->words * 64 && e < schema_streams(f->form.plan->schema); e++) {
        struct side_counts total = {0};
        struct stream_info stream = schema_stream(f->form.plan->schema, e);
        if (stream.kind != STREAM_KIND_EVENT) continue;
        for (uint32_t i = 0; i < n; i++)
            for (unsigned k = 0; k < SIDES; k++)
                total.n[k] += ((const struct compare_state *)workers[i].form)->events[e].n[k];
        if (total.n[0] + total.n[1] == 0) continue;
        bool type = str_starts(stream.name, STR("$")); /* $page is page */
        struct str name = {stream.name.p + type, stream.name.n - type};
        TRY(add_fact(all, EVENT, name, datum_null(), total.n, err));
    }
    return 0;
}

static int show(const struct compare_form *f, struct facts *all, struct result *out,
                struct keel_error *err) {
    uint32_t limit = query_limit(f->form.plan->q);
    const uint64_t *size = all->size.n;
    if (all->n > 0) qsort(all->items, all->n, sizeof *all->items, by_g2);
    out->cut |= all->n > limit;
    for (uint64_t i = 0; i < all->n && i < limit; i++) {
        const struct fact *x = &all->items[i];
        double a = size[0] ? (double)x->n[0] / (double)size[0] : 0;
        double b = size[1] ? (double)x->n[1] / (double)size[1] : 0;
        bool both = size[0] > 0 && size[1] > 0;
        struct datum cells[] = {
            datum_str(x->kind),
            datum_str(x->name),
            x->value,
            datum_integer(x->n[0]),
            datum_integer(x->n[1]),
            datum_integer(size[0]),
            datum_integer(size[1]),
            size[0] ? datum_number(a) : datum_null(),
            size[1] ? datum_number(b) : datum_null(),
            both ? datum_number(a - b) : datum_null(),
            both && x->n[1] > 0 ? datum_number(a / b) : datum_null(),
            datum_number(x->g2),
        };
        TRY(result_row(out, cells, err));
    }
    return 0;
}

static int add_columns(struct result *out, struct keel_error *err) {
    static const struct {
        const char *name;
        enum datum_type type;
    } columns[] = {
        {"kind", DATUM_STRING},         {"name", DATUM_STRING},         {"value", DATUM_NULL},
        {"a_customers", DATUM_INTEGER}, {"b_customers", DATUM_INTEGER}, {"a_size", DATUM_INTEGER},
        {"b_size", DATUM_INTEGER},      {"a_rate", DATUM_NUMBER},       {"b_rate", DATUM_NUMBER},
        {"difference", DATUM_NUMBER},   {"lift", DATUM_NUMBER},         {"g2", DATUM_NUMBER}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        TRY(result_column(out, str_from(columns[i].name), columns[i].type, err));
    return 0;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct compare_form *f = (const struct compare_form *)form;
    struct facts all = {.least = form->plan->q->compare.support};
    bool overlap = false;
    TRY(add_columns(out, err));
    for (uint32_t i = 0; i < n; i++) {
        const struct compare_state *s = workers[i].form;
        overlap |= s->overlap;
        for (unsigned k = 0; k < SIDES; k++) all.size.n[k] += s->size.n[k];
    }
    if (overlap) plan_note(form->plan, "some customers are on both sides and count on each");
    struct dict *dicts = k_try_zalloc((f->n_traits + 1) * sizeof *dicts);
    if (!dicts) FAIL(err, NO_MEMORY, "too little memory to compare customers");
    for (uint32_t t = 0; t < f->n_traits; t++) dict_init(&dicts[t]);
    int code = 0;
    for (uint32_t t = 0; t < f->n_traits && code == 0; t++)
        code = add_trait(f, t, workers, n, &dicts[t], &all, err);
    if (code == 0) code = add_events(f, workers, n, &all, err);
    if (code == 0) code = show(f, &all, out, err);
    for (uint32_t t = 0; t < f->n_traits; t++) dict_release(&dicts[t]);
    k_free(dicts);
    k_free(all.items);
    return code;
}

const struct form_ops FORM_COMPARE = {
    .form_bytes = sizeof(struct compare_form),
    .state_bytes = sizeof(struct compare_state),
    .all_customers = true,
    .plan = form_plan,
    .open = form_open,
    .fold = form_fold,
    .answer = form_answer,
    .close = form_close,
};
