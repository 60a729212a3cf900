/* The form TIME: how long it takes from one event to another.
 *
 * For the first A of a customer, or for every A, the time to the first different B at or after it,
 * within the window. Equal times count in either order, so the time of the last B is remembered;
 * every A that waits is answered by the next B, so waiting ones are a list per customer.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: TIMES_MAX measured times a worker.
 */
#include "query/forms/form_tools.h"
#include "query/pairs.h"
#include "query/rank.h"

enum { TIMES_MAX = 1 << 27, NO_WAITER = UINT32_MAX };
#define NEVER INT64_MIN

struct measured {
    int64_t ms;
    uint32_t group;
};

struct waiter { /* an A that waits for its B */
    int64_t time;
    uint32_t group, next;
};

struct time_machine {
    struct machine machine;
    struct match from, to;
    struct splits splits;
    int64_t within_ms;
    bool each;
};

struct time_customer {
    int64_t last_b;
    uint32_t waiters; /* index of the latest, or NO_WAITER           */
    bool started;     /* has had an A                                */
    bool counted;     /* has a time, when groups are not by event    */
};

struct time_state {
    const struct time_machine *m;
    struct worker *worker;
    struct splitter splitter;
    struct time_customer *customers; /* by slot */
    struct waiter *waiters;
    uint32_t n_waiters, cap_waiters, free_waiter;
    struct measured *times;
    uint32_t n_times, cap_times;
    struct counters customers_of; /* by group: who has a time */
    struct pairs counted;         /* (slot, group), when groups are by event */
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct time_state *s = state;
    s->m = (const struct time_machine *)m;
    s->worker = w;
    TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    s->customers = k_try_alloc_array(w->plan->range_size, sizeof *s->customers);
    pairs_init(&s->counted);
    if (!s->customers) FAIL(err, NO_MEMORY, "too little memory for times");
    return 0;
}

static void state_close(void *state) {
    struct time_state *s = state;
    splitter_close(&s->splitter);
    k_free(s->customers);
    k_free(s->waiters);
    k_free(s->times);
    counters_release(&s->customers_of);
    pairs_release(&s->counted);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct time_state *s = state;
    for (uint32_t i = 0; i < r.count; i++)
        s->customers[i] = (struct time_customer){.last_b = NEVER, .waiters = NO_WAITER};
    pairs_clear(&s->counted);
    s->n_waiters = 0;
    s->free_waiter = NO_WAITER;
    return splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int count_customer(struct time_state *s, struct time_customer *c, uint32_t group,
                          struct keel_error *err) {
    bool is_new = !c->counted;
    c->counted = true;
    if (s->m->splits.by_event) {
        uint32_t slot = (uint32_t)(c - s->customers);
        if (!pairs_at(&s->counted, pair_key(slot, group), &is_new))
            FAIL(err, LIMIT, "too many groups of customers: split by less");
    }
    TRY(counters_room(&s->customers_of, (uint64_t)group + 1, err));
    s->customers_of.n[group] += is_new;
    return 0;
}

static int record(struct time_state *s, struct time_customer *c, int64_t ms, uint32_t group,
                  struct keel_error *err) {
    TRY(count_customer(s, c, group, err));
    if (s->n_times == s->cap_times) {
        uint32_t cap = s->cap_times ? s->cap_times * 2 : 1 << 12;
        struct measured *times =
            cap <= TIMES_MAX ? k_try_realloc(s->times, (size_t)cap * sizeof *times) : NULL;
        if (!times) FAIL(err, LIMIT, "too many times: narrow the question by a filter or a range");
        s->times = times;
        s->cap_times = cap;
    }
    s->times[s->n_times++] = (struct measured){ms, group};
    return 0;
}

static int wait_for(struct time_state *s, struct time_customer *c, int64_t t, uint32_t group,
                    struct keel_error *err) {
    uint32_t at = s->free_waiter;
    if (at != NO_WAITER) {
        s->free_waiter = s->waiters[at].next;
    } else {
        if (s->n_waiters == s->cap_waiters) {
            uint32_t cap = s->cap_waiters ? s->cap_waiters * 2 : 1 << 12;
            struct waiter *waiters =
                cap <= TIMES_MAX ? k_try_realloc(s->waiters, (size_t)cap * sizeof *waiters) : NULL;
            if (!waiters) FAIL(err, LIMIT, "too many open times: narrow the question");
            s->waiters = waiters;
            s->cap_waiters = cap;
        }
        at = s->n_waiters++;
    }
    s->waiters[at] = (struct waiter){t, group, c->waiters};
    c->waiters = at;
    return 0;
}

static int answer_waiters(struct time_state *s, struct time_customer *c, int64_t t,
                          struct keel_error *err) {
    while (c->waiters != NO_WAITER) {
        uint32_t at = c->waiters;
        struct waiter *w = &s->waiters[at];
        if (t - w->time <= s->m->within_ms) TRY(record(s, c, t - w->time, w->group, err));
        c->waiters = w->next;
        s->waiters[at].next = s->free_waiter;
        s->free_waiter = at;
    }
    return 0;
}

static int take_row(struct time_state *s, uint32_t slot, int64_t t, bool a, bool b, uint32_t group,
                    struct keel_error *err) {
    struct time_customer *c = &s->customers[slot];
    if (b && c->waiters != NO_WAITER) TRY(answer_waiters(s, c, t, err));
    if (a && (s->m->each || !c->started)) {
        c->started = true;
        if (c->last_b == t) /* another event: this one is noted below */
            TRY(record(s, c, 0, group, err));
        else
            TRY(wait_for(s, c, t, group, err));
    }
    if (b) c->last_b = t;
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct time_state *s = state;
    uint64_t a[BITS_WORDS], b[BITS_WORDS], both[BITS_WORDS];
    TRY(match_rows(&s->m->from, s->worker, f, a, err));
    TRY(match_rows(&s->m->to, s->worker, f, b, err));
    for (uint32_t i = 0; i < BITS_WORDS; i++) both[i] = a[i] | b[i];
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], n = bits_to_index(both, rows);
    if (n == 0) return 0;
    if (s->m->splits.n == 0)
        memset(groups, 0, n * sizeof *groups);
    else
        TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    for (uint32_t k = 0; k < n; k++)
        TRY(take_row(s, f->customer[rows[k]] - f->first, f->time[rows[k]], bit_get(a, rows[k]),
                     bit_get(b, rows[k]), groups[k], err));
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct time_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .close = state_close,
};

/* ---- the form ---- */

struct time_form {
    struct form form;
    struct time_machine *machine;
};

static int time_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct time_form *f = (struct time_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct time_machine *m = arena_zalloc(&p->arena, sizeof *m);
    m->machine =
        (struct machine){.ops = &OPS, .stage = 1, .ordered = true, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = 32;
    m->within_ms = duration_ms(q->time.within);
    m->each = q->time.start == QUERY_START_EACH;
    TRY(match_compile(p, &q->time.from, span, &m->from, err));
    TRY(match_compile(p, &q->time.to, span, &m->to, err));
    TRY(splits_compile(p, &m->from.events, &m->splits, err));
    match_needs(p, &m->from, &m->machine);
    match_needs(p, &m->to, &m->machine);
    splits_needs(p, &m->splits, &m->machine);
    f->machine = m;
    return plan_add(p, &m->machine, err);
}

static int show_group(const struct time_form *f, const struct merged *m, uint32_t group,
                      uint64_t customers, int64_t *t, uint64_t n, struct result *out,
                      struct keel_error *err) {
    const struct query *q = f->form.plan->q;
    struct datum cells[QUERY_MAX_SPLITS + QUERY_MAX_PERCENTILES + 2];
    group_cells(&m->groups, group, cells);
    struct datum *at = cells + m->groups.n_terms;
    *at++ = datum_integer(customers);
    *at++ = datum_integer(n);
    for (uint32_t i = 0; i < q->time.n_percentiles; i++) {
        uint64_t rank = (uint64_t)ceil((double)n * q->time.percentiles[i] / 100);
        if (rank > 0) rank--;
        *at++ = n ? datum_number((double)rank_select(t, n, rank) / 1e3) : datum_null();
    }
    return result_row(out, cells, err);
}

static int add_columns(const struct query *q, struct result *out, struct keel_error *err) {
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("times"), DATUM_INTEGER, err));
    for (uint32_t i = 0; i < q->time.n_percentiles; i++) {
        struct buf name;
        buf_init(&name, 100);
        if (q->time.percentiles[i] == 50) {
            (void)!buf_add_text(&name, "median");
        } else {
            (void)!buf_add_char(&name, 'p');
            (void)!buf_add_f64(&name, q->time.percentiles[i]);
        }
        (void)!buf_add_text(&name, "_seconds");
        int code = result_column(out, buf_str(&name), DATUM_NUMBER, err);
        buf_release(&name);
        TRY(code);
    }
    return 0;
}

struct time_answer {
    const struct time_form *f;
    struct merged merged;
    struct counters customers; /* by merged group                   */
    uint64_t *from;            /* [group] where its times begin     */
    int64_t *times;
};

/* Lays the workers' times out by group (a counting sort) and adds their customers up. */
static int lay_out(struct time_answer *a, struct worker *workers, uint32_t n,
                   struct keel_error *err) {
    uint32_t groups = a->merged.groups.count;
    TRY(counters_room(&a->customers, groups, err));
    a->from = k_try_zalloc(((size_t)groups + 2) * sizeof *a->from);
    if (!a->from) FAIL(err, NO_MEMORY, "too little memory for times");
    for (uint32_t i = 0; i < n; i++) {
        const struct time_state *s = machine_state(&workers[i], &a->f->machine->machine);
        const uint32_t *map = a->merged.map[i];
        for (uint32_t k = 0; k < s->n_times; k++) a->from[map[s->times[k].group] + 2]++;
        for (uint32_t g = 0; g < s->customers_of.count; g++)
            a->customers.n[map[g]] += s->customers_of.n[g];
    }
    for (uint32_t g = 2; g < groups + 2; g++) a->from[g] += a->from[g - 1];
    a->times = k_try_alloc_array(a->from[groups + 1] + 1, sizeof *a->times);
    if (!a->times) FAIL(err, NO_MEMORY, "too little memory for times");
    for (uint32_t i = 0; i < n; i++) {
        const struct time_state *s = machine_state(&workers[i], &a->f->machine->machine);
        for (uint32_t k = 0; k < s->n_times; k++)
            a->times[a->from[a->merged.map[i][s->times[k].group] + 1]++] = s->times[k].ms;
    }
    return 0;
}

static int show_all(struct time_answer *a, struct result *out, struct keel_error *err) {
    for (uint32_t k = 0; k < a->merged.groups.count; k++) {
        uint32_t g = a->merged.order[k];
        uint64_t n = a->from[g + 1] - a->from[g];
        if (n == 0 && a->merged.groups.n_terms > 0) continue;
        TRY(show_group(a->f, &a->merged, g, a->customers.n[g], a->times + a->from[g], n, out, err));
    }
    return 0;
}

static int time_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    struct time_answer a = {.f = (const struct time_form *)form};
    TRY(add_columns(form->plan->q, out, err));
    int code = merged_states(&a.merged, a.f->machine->splits.n, &a.f->machine->machine,
                             offsetof(struct time_state, splitter), workers, n, err);
    if (code == 0) code = lay_out(&a, workers, n, err);
    if (code == 0) code = show_all(&a, out, err);
    k_free(a.from);
    k_free(a.times);
    counters_release(&a.customers);
    merged_release(&a.merged);
    return code;
}

const struct form_ops FORM_TIME = {
    .form_bytes = sizeof(struct time_form),
    .plan = time_plan,
    .answer = time_answer,
};
