/* The form RFM: customers by recency, frequency and value of an event.
 *
 * Per customer the last time, the number and the sum; all commute, so a rare event comes from its
 * posting copy. Folding a customer finds his classes among at most ten thresholds each.
 *
 * Layers: form_tools.h. Threads: see form.h.
 */
#include "query/forms/form_tools.h"

enum { CLASSES = QUERY_MAX_THRESHOLDS + 1, GRID = CLASSES * CLASSES * CLASSES };

struct rfm_machine {
    struct machine machine;
    struct match match;
    struct field field;
};

struct rfm_state {
    const struct rfm_machine *m;
    struct worker *worker;
    int64_t *last;
    uint32_t *count;
    struct sums sums;
    struct flat flat;
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct rfm_state *s = state;
    s->m = (const struct rfm_machine *)m;
    s->worker = w;
    s->last = k_try_alloc_array(w->plan->range_size, sizeof *s->last);
    s->count = k_try_alloc_array(w->plan->range_size, sizeof *s->count);
    if (!s->last || !s->count || sums_init(&s->sums, w->plan->range_size) < 0)
        FAIL(err, NO_MEMORY, "too little memory for recency, frequency and value");
    return 0;
}

static void state_close(void *state) {
    struct rfm_state *s = state;
    k_free(s->last);
    k_free(s->count);
    sums_release(&s->sums);
    flat_release(&s->flat);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    (void)err;
    struct rfm_state *s = state;
    memset(s->count, 0, r.count * sizeof *s->count);
    sums_clear(&s->sums, 0, r.count);
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct rfm_state *s = state;
    uint16_t rows[CHUNK_ROWS];
    uint32_t n;
    TRY(match_index(&s->m->match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t slot = f->customer[rows[k]] - f->first;
        int64_t t = f->time[rows[k]];
        if (s->count[slot]++ == 0 || t > s->last[slot]) s->last[slot] = t;
    }
    TRY(field_flat_numbers(&s->m->field, f, rows, n, &s->flat, err));
    for (uint32_t k = 0; k < s->flat.n; k++)
        sums_add(&s->sums, f->customer[rows[s->flat.at[k]]] - f->first, s->flat.number[k]);
    return 0;
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    (void)r;
    struct rfm_state *s = state;
    if (s->sums.failed) FAIL(err, NO_MEMORY, "too little memory for sums");
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct rfm_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

/* ---- the form ---- */

struct rfm_form {
    struct form form;
    struct rfm_machine *machine;
    int64_t since[QUERY_MAX_THRESHOLDS]; /* a last time from here on passes */
};

struct rfm_total {
    const struct rfm_form *f;
    struct worker *worker;
    uint64_t *customers; /* [GRID] */
    struct sum *amount;  /* [GRID] */
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct rfm_form *f = (struct rfm_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    for (uint32_t i = 0; i < q->rfm.n_recency; i++)
        f->since[i] = span.to_ms - duration_ms(q->rfm.recency[i]);
    struct rfm_machine *m = arena_zalloc(&p->arena, sizeof *m);
    f->machine = m;
    m->machine = (struct machine){.ops = &OPS, .stage = 1, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = 20;
    TRY(match_compile(p, &q->rfm.event, span, &m->match, err));
    TRY(field_resolve(p, &q->rfm.prop, &m->match.events, &m->field, err));
    match_needs(p, &m->match, &m->machine);
    field_needs(p, &m->field, &m->machine);
    return plan_add(p, &m->machine, err);
}

static int form_open(const struct form *form, struct worker *w, void *state,
                     struct keel_error *err) {
    (void)err;
    struct rfm_total *s = state;
    s->f = (const struct rfm_form *)form;
    s->worker = w;
    s->customers = k_zalloc(GRID * sizeof *s->customers);
    s->amount = k_zalloc(GRID * sizeof *s->amount);
    return 0;
}

static void form_close(void *state) {
    struct rfm_total *s = state;
    k_free(s->customers);
    k_free(s->amount);
}

static int form_fold(void *state, struct range r, struct keel_error *err) {
    (void)err;
    struct rfm_total *s = state;
    const struct query *q = s->f->form.plan->q;
    const struct rfm_state *m = machine_state(s->worker, &s->f->machine->machine);
    for (uint32_t slot = 0; slot < r.count; slot++) {
        if (m->count[slot] == 0) continue;
        struct sum sum = sums_get(&m->sums, slot);
        double value = sum_value(&sum);
        uint32_t class_r = 0, class_f = 0, class_v = 0;
        for (uint32_t i = 0; i < q->rfm.n_recency; i++) class_r += m->last[slot] >= s->f->since[i];
        for (uint32_t i = 0; i < q->rfm.n_frequency; i++)
            class_f += q->rfm.frequency[i] <= m->count[slot];
        for (uint32_t i = 0; i < q->rfm.n_value; i++) class_v += q->rfm.value[i] <= value;
        uint32_t cell = (class_r * CLASSES + class_f) * CLASSES + class_v;
        s->customers[cell]++;
        sum_merge(&s->amount[cell], &sum);
    }
    return 0;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    (void)form;
    TRY(result_column(out, STR("recency"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("frequency"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("value"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("amount"), DATUM_NUMBER, err));
    for (uint32_t cell = 0; cell < GRID; cell++) {
        uint64_t customers = 0;
        struct sum amount = {0};
        for (uint32_t i = 0; i < n; i++) {
            const struct rfm_total *s = workers[i].form;
            customers += s->customers[cell];
            sum_merge(&amount, &s->amount[cell]);
        }
        if (customers == 0) continue;
        struct datum cells[] = {datum_integer(cell / (CLASSES * CLASSES) + 1),
                                datum_integer(cell / CLASSES % CLASSES + 1),
                                datum_integer(cell % CLASSES + 1), datum_integer(customers),
                                datum_number(sum_value(&amount))};
        TRY(result_row(out, cells, err));
    }
    return 0;
}

const struct form_ops FORM_RFM = {
    .form_bytes = sizeof(struct rfm_form),
    .state_bytes = sizeof(struct rfm_total),
    .plan = form_plan,
    .open = form_open,
    .fold = form_fold,
    .answer = form_answer,
    .close = form_close,
};
