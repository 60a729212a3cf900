/* The form TOP: the values of a property that come most often.
 *
 * Values are numbers of the worker's dictionary; counts, customers and sums are arrays over them.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: DICT_MAX different values.
 */
#include <stdlib.h>

#include "query/forms/form_tools.h"
#include "query/pairs.h"
#include "query/rank.h"

struct top_machine {
    struct machine machine;
    struct match match;
    struct field field, rank_field;
    enum query_rank rank;
    bool same_items; /* the ranking number stands in the same item as the value */
};

struct top_state {
    const struct top_machine *m;
    struct worker *worker;
    struct dict dict;
    struct field_reader reader;
    struct flat values, numbers;
    struct counters n; /* by value: events or customers; SUM: 1 once it came */
    struct sums sums;
    struct pairs counted; /* CUSTOMERS: (slot, value) */
    double *number_of;    /* SUM: by row or item of the batch; NAN: none */
    uint32_t cap_numbers;
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    (void)err;
    struct top_state *s = state;
    s->m = (const struct top_machine *)m;
    s->worker = w;
    dict_init(&s->dict);
    pairs_init(&s->counted);
    field_reader_init(&s->reader, &s->m->field, w, &s->dict);
    return 0;
}

static void state_close(void *state) {
    struct top_state *s = state;
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    flat_release(&s->values);
    flat_release(&s->numbers);
    counters_release(&s->n);
    sums_release(&s->sums);
    pairs_release(&s->counted);
    k_free(s->number_of);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    (void)r, (void)err;
    pairs_clear(&((struct top_state *)state)->counted);
    return 0;
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    (void)r;
    if (((struct top_state *)state)->sums.failed)
        FAIL(err, NO_MEMORY, "too little memory for sums");
    return 0;
}

/* For each value its item's number; over other lists, all numbers of its event. */
static int add_numbers(struct top_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                       struct keel_error *err) {
    TRY(field_flat_numbers(&s->m->rank_field, f, rows, n, &s->numbers, err));
    const struct flat *v = &s->values, *x = &s->numbers;
    uint32_t slots = CHUNK_ROWS;
    for (uint32_t k = 0; k < v->n; k++)
        if (v->slot[k] >= slots) slots = v->slot[k] + 1;
    for (uint32_t k = 0; k < x->n; k++)
        if (x->slot[k] >= slots) slots = x->slot[k] + 1;
    if (slots > s->cap_numbers) {
        k_free(s->number_of);
        s->cap_numbers = slots * 2;
        s->number_of = k_try_alloc_array(s->cap_numbers, sizeof *s->number_of);
        if (!s->number_of) {
            s->cap_numbers = 0;
            FAIL(err, NO_MEMORY, "too little memory for line items");
        }
    }
    if (s->m->same_items) {
        for (uint32_t k = 0; k < v->n; k++) s->number_of[v->slot[k]] = NAN;
        for (uint32_t k = 0; k < x->n; k++) s->number_of[x->slot[k]] = x->number[k];
        for (uint32_t k = 0; k < v->n; k++)
            if (!isnan(s->number_of[v->slot[k]]))
                sums_add(&s->sums, v->id[k], s->number_of[v->slot[k]]);
        return 0;
    }
    /* By event: chain the numbers of each row (in the ids, which numbers do not need). */
    uint32_t first[CHUNK_ROWS];
    memset(first, 0xff, sizeof first);
    for (uint32_t k = 0; k < x->n; k++) {
        x->id[k] = first[x->at[k]];
        first[x->at[k]] = k;
    }
    for (uint32_t k = 0; k < v->n; k++)
        for (uint32_t j = first[v->at[k]]; j != UINT32_MAX; j = x->id[j])
            sums_add(&s->sums, v->id[k], x->number[j]);
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct top_state *s = state;
    uint16_t rows[CHUNK_ROWS];
    uint32_t n;
    TRY(match_index(&s->m->match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    TRY(field_flat_ids(&s->reader, f, rows, n, &s->values, err));
    TRY(counters_room(&s->n, s->dict.count, err));
    const struct flat *v = &s->values;
    for (uint32_t k = 0; k < v->n; k++) {
        bool is_new = true;
        if (s->m->rank == QUERY_RANK_CUSTOMERS) {
            uint32_t slot = f->customer[rows[v->at[k]]] - f->first;
            if (!pairs_at(&s->counted, pair_key(slot, v->id[k]), &is_new))
                FAIL(err, LIMIT, "too many values of customers: narrow the question by a filter");
        }
        s->n.n[v->id[k]] += is_new;
    }
    if (s->m->rank != QUERY_RANK_SUM) return 0;
    if (sums_resize(&s->sums, s->n.cap) < 0) FAIL(err, NO_MEMORY, "too little memory for sums");
    return add_numbers(s, f, rows, n, err);
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct top_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

/* ---- the form ---- */

struct top_form {
    struct form form;
    struct top_machine *machine;
};

/* The list that a field's items stand in; -1: none, or several. */
static int64_t list_of(const struct plan *p, const struct field *f) {
    if (!f->items || f->n == 0) return -1;
    uint32_t list = schema_column(p->schema, f->columns[0].id).stream;
    for (uint32_t i = 0; i < f->n; i++)
        if (schema_column(p->schema, f->columns[i].id).stream != list) return -1;
    return list;
}

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct top_form *f = (struct top_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct top_machine *m = arena_zalloc(&p->arena, sizeof *m);
    f->machine = m;
    m->machine = (struct machine){.ops = &OPS, .stage = 1, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = q->top.rank == QUERY_RANK_CUSTOMERS ? 64 : 1;
    m->rank = q->top.rank;
    TRY(match_compile(p, &q->top.event, span, &m->match, err));
    TRY(field_resolve(p, &q->top.prop, &m->match.events, &m->field, err));
    match_needs(p, &m->match, &m->machine);
    field_needs(p, &m->field, &m->machine);
    if (m->rank == QUERY_RANK_SUM) {
        TRY(field_resolve(p, &q->top.rank_prop, &m->match.events, &m->rank_field, err));
        field_needs(p, &m->rank_field, &m->machine);
        int64_t list = list_of(p, &m->field);
        m->same_items = list >= 0 && list == list_of(p, &m->rank_field);
    }
    return plan_add(p, &m->machine, err);
}

struct ranked {
    uint32_t id;
    uint64_t n;
    double sum;
};

static int by_rank(const void *a, const void *b, void *ctx) {
    const struct ranked *x = a, *y = b;
    if (x->sum != y->sum) return x->sum > y->sum ? -1 : 1;
    if (x->n != y->n) return x->n > y->n ? -1 : 1;
    return datum_cmp(dict_get(ctx, x->id), dict_get(ctx, y->id));
}

/* Of those by sums n is 0, and the other way round. */
static int64_t rank_of(const struct ranked *r) {
    return r->n ? (int64_t)r->n : rank_of_number(r->sum);
}

/* Leaves those that are not below the limit-th, so that only a few are sorted. */
static int keep_best(struct ranked *order, uint32_t *n, uint32_t limit, struct keel_error *err) {
    int64_t *ranks = k_try_alloc_array(*n, sizeof *ranks);
    if (!ranks) FAIL(err, NO_MEMORY, "too little memory for the answer");
    for (uint32_t i = 0; i < *n; i++) ranks[i] = rank_of(&order[i]);
    int64_t least = rank_select(ranks, *n, *n - limit);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *n; i++)
        if (rank_of(&order[i]) >= least) order[kept++] = order[i];
    k_free(ranks);
    *n = kept;
    return 0;
}

struct top_total {
    struct dict dict;
    struct counters n;
    struct sum *sums;
    struct ranked *order;
};

static int add_up(const struct top_form *f, struct worker *workers, uint32_t n, struct top_total *t,
                  struct keel_error *err) {
    uint64_t most = 1;
    for (uint32_t i = 0; i < n; i++)
        most += ((const struct top_state *)machine_state(&workers[i], &f->machine->machine))
                    ->dict.count;
    TRY(counters_room(&t->n, most, err));
    t->sums = k_try_zalloc(most * sizeof *t->sums);
    t->order = k_try_alloc_array(most, sizeof *t->order);
    if (!t->sums || !t->order) FAIL(err, NO_MEMORY, "too little memory for the answer");
    for (uint32_t i = 0; i < n; i++) {
        const struct top_state *s = machine_state(&workers[i], &f->machine->machine);
        uint32_t *ids;
        TRY(dict_merge(&t->dict, &s->dict, &ids, err));
        for (uint32_t k = 1; k < s->n.count && k < s->dict.count; k++) {
            t->n.n[ids[k]] += s->n.n[k];
            if (!s->sums.whole) continue;
            struct sum one = sums_get(&s->sums, k);
            sum_merge(&t->sums[ids[k]], &one);
        }
        k_free(ids);
    }
    return 0;
}

static int show(const struct top_form *f, struct top_total *t, struct result *out,
                struct keel_error *err) {
    bool by_sum = f->machine->rank == QUERY_RANK_SUM;
    uint32_t kept = 0, limit = f->form.plan->q->limit;
    for (uint32_t id = 1; id < t->dict.count; id++) {
        if (t->n.n[id] == 0) continue;
        double sum = by_sum ? sum_value(&t->sums[id]) : 0;
        t->order[kept++] = (struct ranked){id, by_sum ? 0 : t->n.n[id], sum};
    }
    if (limit > 0 && kept > limit) TRY(keep_best(t->order, &kept, limit, err));
    if (kept > 0) qsort_r(t->order, kept, sizeof *t->order, by_rank, &t->dict);
    for (uint32_t i = 0; i < kept && (limit == 0 || i < limit); i++) {
        const struct ranked *r = &t->order[i];
        struct datum cells[] = {*dict_get(&t->dict, r->id),
                                by_sum ? datum_number(r->sum) : datum_integer(r->n)};
        TRY(result_row(out, cells, err));
    }
    return 0;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct top_form *f = (const struct top_form *)form;
    static const char *const names[] = {"events", "customers", "sum"};
    struct query_term term = {.kind = QUERY_TERM_PROP, .prop = form->plan->q->top.prop};
    TRY(add_term_columns(&term, 1, out, err));
    enum datum_type type = f->machine->rank == QUERY_RANK_SUM ? DATUM_NUMBER : DATUM_INTEGER;
    TRY(result_column(out, str_from(names[f->machine->rank]), type, err));
    struct top_total t = {0};
    dict_init(&t.dict);
    int code = add_up(f, workers, n, &t, err);
    if (code == 0) code = show(f, &t, out, err);
    dict_release(&t.dict);
    counters_release(&t.n);
    k_free(t.sums);
    k_free(t.order);
    return code;
}

const struct form_ops FORM_TOP = {
    .form_bytes = sizeof(struct top_form),
    .plan = form_plan,
    .answer = form_answer,
};
