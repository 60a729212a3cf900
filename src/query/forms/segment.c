/* The forms COUNT and LIST: how many customers meet a condition, and who they are.
 *
 * Everything comes from stage 0 (customers.h); there are no events of the answer. LIST keeps per
 * worker the best rows so far: when twice the limit have gathered, they are sorted and cut. Without
 * an order customers come by their numbers, as each worker meets them.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: LIST gives at most RESULT_MAX_ROWS rows.
 */
#include <stdlib.h>

#include "query/forms/form_tools.h"

/* ---- count ---- */

struct count_form {
    struct form form;
    struct splits splits;
};

struct count_state {
    const struct count_form *f;
    struct worker *worker;
    struct splitter splitter;
    struct counters counters; /* by group */
};

static int count_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct count_form *f = (struct count_form *)form;
    struct event_set none = {0};
    return splits_compile(p, &none, &f->splits, err);
}

static int count_open(const struct form *form, struct worker *w, void *state,
                      struct keel_error *err) {
    struct count_state *s = state;
    s->f = (const struct count_form *)form;
    s->worker = w;
    return splitter_open(&s->splitter, &s->f->splits, w, err);
}

static void count_close(void *state) {
    struct count_state *s = state;
    splitter_close(&s->splitter);
    counters_release(&s->counters);
}

static int count_fold(void *state, struct range r, struct keel_error *err) {
    struct count_state *s = state;
    const uint64_t *members = s->worker->members;
    uint32_t words = (r.count + 63) / 64;
    if (s->f->splits.n == 0) {
        TRY(counters_room(&s->counters, 1, err));
        for (uint32_t i = 0; i < words; i++)
            s->counters.n[0] += (unsigned)__builtin_popcountll(members[i]);
        return 0;
    }
    TRY(splitter_begin(&s->splitter, r, members, err));
    for (uint32_t i = 0; i < words; i++)
        for (uint64_t m = members[i]; m; m &= m - 1) {
            uint32_t group, slot = i * 64 + (uint32_t)__builtin_ctzll(m);
            TRY(splitter_customer(&s->splitter, slot, &group, err));
            TRY(counters_room(&s->counters, (uint64_t)group + 1, err));
            s->counters.n[group]++;
        }
    return 0;
}

static int count_rows(const struct count_form *f, const struct merged *m, struct worker *workers,
                      uint32_t n, struct result *out, struct keel_error *err) {
    struct counters total = {0};
    int code = counters_room(&total, m->groups.count, err);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const struct count_state *s = workers[i].form;
        for (uint32_t g = 0; g < s->counters.count; g++) total.n[m->map[i][g]] += s->counters.n[g];
    }
    for (uint32_t k = 0; k < m->groups.count && code == 0; k++) {
        struct datum cells[QUERY_MAX_SPLITS + 1];
        group_cells(&m->groups, m->order[k], cells);
        cells[f->splits.n] = datum_integer(total.n[m->order[k]]);
        code = result_row(out, cells, err);
    }
    counters_release(&total);
    return code;
}

static int count_answer(const struct form *form, struct worker *workers, uint32_t n,
                        struct result *out, struct keel_error *err) {
    const struct count_form *f = (const struct count_form *)form;
    const struct query *q = form->plan->q;
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    const struct groups **groups = k_alloc_array(n + 1, sizeof(struct groups *));
    for (uint32_t i = 0; i < n; i++)
        groups[i] = &((const struct count_state *)workers[i].form)->splitter.groups;
    struct merged m;
    int code = merged_init(&m, f->splits.n, groups, n, err);
    if (code == 0) code = count_rows(f, &m, workers, n, out, err);
    merged_release(&m);
    k_free(groups);
    return code;
}

const struct form_ops FORM_COUNT = {
    .form_bytes = sizeof(struct count_form),
    .state_bytes = sizeof(struct count_state),
    .all_customers = true,
    .plan = count_plan,
    .open = count_open,
    .fold = count_fold,
    .answer = count_answer,
    .close = count_close,
};

/* ---- list ---- */

struct list_form {
    struct form form;
    struct account *columns[QUERY_MAX_TERMS], *order[QUERY_MAX_TERMS];
    uint32_t n_columns, n_order;
    uint64_t limit;
};

struct list_state {
    const struct list_form *f;
    struct worker *worker;
    struct datum *rows; /* [n × width]: customer number, order values, columns */
    uint64_t n, cap;
    bool cut;
};

static uint32_t list_width(const struct list_form *f) { return 1 + f->n_order + f->n_columns; }

static int list_account(struct plan *p, const struct query_term *t, struct account **out,
                        struct keel_error *err) {
    return t->kind == QUERY_TERM_TRAIT ? account_trait(p, &t->prop, out, err)
                                       : account_measure(p, &t->measure, out, err);
}

static int list_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct list_form *f = (struct list_form *)form;
    const struct query *q = p->q;
    uint32_t limit = query_limit(q);
    f->limit = limit < RESULT_MAX_ROWS ? limit : RESULT_MAX_ROWS;
    f->n_columns = q->list.n_columns;
    f->n_order = q->list.n_order;
    for (uint32_t i = 0; i < f->n_columns; i++)
        TRY(list_account(p, &q->list.columns[i], &f->columns[i], err));
    for (uint32_t i = 0; i < f->n_order; i++)
        TRY(list_account(p, &q->list.order[i], &f->order[i], err));
    return 0;
}

static int list_open(const struct form *form, struct worker *w, void *state,
                     struct keel_error *err) {
    (void)err;
    struct list_state *s = state;
    s->f = (const struct list_form *)form;
    s->worker = w;
    return 0;
}

static void list_close(void *state) { k_free(((struct list_state *)state)->rows); }

/* Missing values come last, whichever way a column is ordered. */
static int list_compare(const void *a, const void *b, void *ctx) {
    const struct list_form *f = ctx;
    const struct datum *x = a, *y = b;
    const struct query_term *terms = f->form.plan->q->list.order;
    for (uint32_t i = 0; i < f->n_order; i++) {
        const struct datum *v = &x[1 + i], *w = &y[1 + i];
        if ((v->type == DATUM_NULL) != (w->type == DATUM_NULL))
            return v->type == DATUM_NULL ? 1 : -1;
        int sign = datum_cmp(v, w);
        if (sign) return terms[i].descending ? -sign : sign;
    }
    return (x->integer > y->integer) - (x->integer < y->integer);
}

static void list_sort(struct list_state *s) {
    struct list_form *ctx = (struct list_form *)(uintptr_t)s->f; /* qsort_r has no const context */
    if (s->f->n_order > 0 && s->n > 0)
        qsort_r(s->rows, s->n, list_width(s->f) * sizeof *s->rows, list_compare, ctx);
    if (s->n <= s->f->limit) return;
    s->n = s->f->limit;
    s->cut = true;
}

static int list_room(struct list_state *s, struct keel_error *err) {
    if (s->n >= 2 * s->f->limit + 1024) list_sort(s);
    if (s->n < s->cap) return 0;
    uint64_t cap = s->cap ? s->cap * 2 : 1024;
    struct datum *rows = k_try_realloc(s->rows, cap * list_width(s->f) * sizeof *rows);
    if (!rows) FAIL(err, NO_MEMORY, "too little memory for a list: ask for fewer rows by a limit");
    s->rows = rows;
    s->cap = cap;
    return 0;
}

static int list_fold(void *state, struct range r, struct keel_error *err) {
    struct list_state *s = state;
    const struct list_form *f = s->f;
    for (uint32_t from = 0; from < r.count; from += 64)
        for (uint64_t m = s->worker->members[from / 64]; m; m &= m - 1) {
            uint32_t slot = from + (uint32_t)__builtin_ctzll(m);
            TRY(list_room(s, err));
            struct datum *row = s->rows + s->n++ * list_width(f);
            *row++ = datum_integer(r.first + slot);
            for (uint32_t i = 0; i < f->n_order; i++)
                *row++ = account_datum(s->worker, f->order[i], slot);
            for (uint32_t i = 0; i < f->n_columns; i++)
                *row++ = account_datum(s->worker, f->columns[i], slot);
        }
    return 0;
}

static int list_row(const struct list_form *f, const struct datum *row, struct result *out,
                    struct keel_error *err) {
    struct datum cells[QUERY_MAX_TERMS + 1];
    enum id_kind kind;
    struct identity *identity = db_identity(f->form.plan->db);
    cells[0] = datum_str(identity_id(identity, (uint32_t)row[0].integer, &kind));
    for (uint32_t i = 0; i < f->n_columns; i++) cells[1 + i] = row[1 + f->n_order + i];
    return result_row(out, cells, err);
}

/* Each worker's list is in order, also where none is asked for: customers ascend. */
static int list_merge(const struct list_form *f, struct worker *workers, uint32_t n,
                      uint64_t *taken, struct result *out, struct keel_error *err) {
    struct list_form *ctx = (struct list_form *)(uintptr_t)f;
    for (uint64_t rows = 0;; rows++) {
        const struct datum *best = NULL;
        uint32_t from = 0;
        for (uint32_t i = 0; i < n; i++) {
            const struct list_state *s = workers[i].form;
            const struct datum *row = s->rows + taken[i] * list_width(f);
            if (taken[i] == s->n || (best && list_compare(row, best, ctx) > 0)) continue;
            best = row;
            from = i;
        }
        if (!best) return 0;
        if (rows == f->limit) {
            out->cut = true;
            return 0;
        }
        TRY(list_row(f, best, out, err));
        taken[from]++;
    }
}

static int list_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct list_form *f = (const struct list_form *)form;
    const struct query *q = form->plan->q;
    TRY(result_column(out, STR("customer"), DATUM_STRING, err));
    TRY(add_term_columns(q->list.columns, q->list.n_columns, out, err));
    for (uint32_t i = 0; i < n; i++) {
        struct list_state *s = workers[i].form;
        list_sort(s);
        out->cut |= s->cut;
    }
    uint64_t *taken = k_zalloc((n + 1) * sizeof *taken);
    int code = list_merge(f, workers, n, taken, out, err);
    k_free(taken);
    return code;
}

const struct form_ops FORM_LIST = {
    .form_bytes = sizeof(struct list_form),
    .state_bytes = sizeof(struct list_state),
    .all_customers = true,
    .plan = list_plan,
    .open = list_open,
    .fold = list_fold,
    .answer = list_answer,
    .close = list_close,
};
