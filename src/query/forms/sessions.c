/* The form SESSIONS: runs of a customer's events with no gap longer than the given one.
 *
 * Per customer one open session: its first and last time, its events, its cell. A later event
 * closes it; what is open at the end of the range is closed there. With `starting at change` a
 * value of the property closes it too, unless it is that of the session, which its first event has.
 *
 * Without periods and splits a batch is cut into sessions by vector comparisons, and only these are
 * walked: the first of a customer may go on from the batch before, the last one may go on.
 *
 * Layers: form_tools.h. Threads: see form.h.
 */
#include "query/forms/form_tools.h"
#include "query/pairs.h"
#include "query/visits.h"
#include "store/scan/spine.h"

struct session_machine {
    struct machine machine;
    bool all; /* every event counts */
    uint32_t n;
    struct match alphabet[QUERY_MAX_EVENTS];
    struct splits splits;
    struct periods periods;
    int64_t gap_ms;
    bool has_change;
    struct field change; /* whose values begin sessions */
    bool plain;          /* one cell for all, and no changes */
};

struct open_session { /* of a slot; events == 0: none */
    int64_t first, last;
    uint32_t events, cell;
    uint32_t counted; /* cell + 1 in which the customer was counted last */
    uint32_t value;   /* of the property whose change begins a session; 0: none */
};

enum { SESSIONS, BOUNCES, EVENTS, CUSTOMERS, MILLISECONDS, FACTS };

struct session_state {
    const struct session_machine *m;
    struct worker *worker;
    struct splitter splitter;
    struct open_session *open;
    struct counters facts; /* [cell × FACTS] */
    struct pairs counted;  /* (slot, cell), when groups are by event */
    struct field_reader change;
    struct dict values; /* of `change` */
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct session_state *s = state;
    s->m = (const struct session_machine *)m;
    s->worker = w;
    pairs_init(&s->counted);
    dict_init(&s->values);
    if (s->m->has_change) field_reader_init(&s->change, &s->m->change, w, &s->values);
    TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    s->open = k_try_alloc_array(w->plan->range_size, sizeof *s->open);
    if (!s->open) FAIL(err, NO_MEMORY, "too little memory for sessions");
    return s->m->plain ? counters_room(&s->facts, FACTS, err) : 0;
}

static void state_close(void *state) {
    struct session_state *s = state;
    splitter_close(&s->splitter);
    k_free(s->open);
    counters_release(&s->facts);
    pairs_release(&s->counted);
    field_reader_release(&s->change);
    dict_release(&s->values);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct session_state *s = state;
    memset(s->open, 0, r.count * sizeof *s->open);
    pairs_clear(&s->counted);
    return splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int close_session(struct session_state *s, struct open_session *o, struct keel_error *err) {
    uint64_t *facts = s->facts.n + (uint64_t)o->cell * FACTS;
    facts[SESSIONS]++;
    facts[BOUNCES] += o->events == 1;
    facts[EVENTS] += o->events;
    facts[MILLISECONDS] += (uint64_t)(o->last - o->first);
    bool is_new = o->counted != o->cell + 1;
    if (s->m->splits.by_event && is_new) { /* else cells only grow in a customer's time */
        uint32_t slot = (uint32_t)(o - s->open);
        if (!pairs_at(&s->counted, pair_key(slot, o->cell), &is_new))
            FAIL(err, LIMIT, "too many groups of customers: split by less");
    }
    facts[CUSTOMERS] += is_new;
    o->counted = o->cell + 1;
    return 0;
}

static int matched(struct session_state *s, struct feed *f, uint64_t *bits,
                   struct keel_error *err) {
    memcpy(bits, f->live, sizeof f->live);
    if (s->m->all) return 0;
    memset(bits, 0, sizeof f->live);
    for (uint32_t i = 0; i < s->m->n; i++) {
        uint64_t one[BITS_WORDS];
        TRY(match_rows(&s->m->alphabet[i], s->worker, f, one, err));
        for (uint32_t k = 0; k < BITS_WORDS; k++) bits[k] |= one[k];
    }
    return 0;
}

static void plain_feed(struct session_state *s, const struct feed *f, const uint64_t *bits) {
    const struct spine_kernels *kernels = spine_kernels();
    const int64_t gap = s->m->gap_ms;
    struct chosen_rows c;
    uint64_t starts[BITS_WORDS] = {0}, sessions = 0, bounces = 0, ms = 0;
    uint16_t at[CHUNK_ROWS];
    uint32_t customer[CHUNK_ROWS];
    choose_rows(f, bits, &c);
    kernels->changes(c.customer, c.n, starts);
    kernels->pauses(c.time, c.n, gap, starts);
    uint32_t n = kernels->index(starts, at);
    kernels->pick_u32(c.customer, c.n, starts, customer);
    for (uint32_t k = 0; k < n; k++) {
        struct open_session *o = &s->open[customer[k] - f->first];
        uint32_t end = k + 1 < n ? at[k + 1] : c.n;
        int64_t first = c.time[at[k]];
        bool open = o->events > 0, joins = open && first - o->last <= gap, closes = open && !joins;
        sessions += closes;
        bounces += closes && o->events == 1;
        ms += closes ? (uint64_t)(o->last - o->first) : 0;
        o->first = joins ? o->first : first;
        o->events = (joins ? o->events : 0) + end - at[k];
        o->last = c.time[end - 1];
    }
    uint64_t *facts = s->facts.n;
    facts[SESSIONS] += sessions;
    facts[BOUNCES] += bounces;
    facts[MILLISECONDS] += ms;
    facts[EVENTS] += c.n;
}

static void plain_end(struct session_state *s, struct range r) {
    uint64_t sessions = 0, bounces = 0, ms = 0;
    for (uint32_t slot = 0; slot < r.count; slot++) {
        const struct open_session *o = &s->open[slot];
        sessions += o->events > 0;
        bounces += o->events == 1;
        ms += (uint64_t)(o->last - o->first); /* 0 without one */
    }
    uint64_t *facts = s->facts.n;
    facts[SESSIONS] += sessions;
    facts[CUSTOMERS] += sessions;
    facts[BOUNCES] += bounces;
    facts[MILLISECONDS] += ms;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct session_state *s = state;
    uint64_t bits[BITS_WORDS];
    TRY(matched(s, f, bits, err));
    if (s->m->plain) {
        if (bits_any(bits)) plain_feed(s, f, bits);
        return 0;
    }
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], values[CHUNK_ROWS] = {0}, n = bits_to_index(bits, rows);
    if (s->m->has_change) TRY(field_ids(&s->change, f, rows, n, values, err));
    const struct periods *periods = &s->m->periods;
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    TRY(counters_room(&s->facts, (uint64_t)s->splitter.groups.count * periods->n * FACTS, err));
    const int64_t gap = s->m->gap_ms, *time = f->time;
    const uint32_t *customer = f->customer;
    for (uint32_t k = 0; k < n;) {
        uint32_t who = customer[rows[k]];
        struct open_session *o = &s->open[who - f->first];
        int64_t t = time[rows[k]], last = o->last;
        if (o->events == 0 || t - last > gap || (values[k] && values[k] != o->value)) {
            if (o->events > 0) TRY(close_session(s, o, err));
            o->first = t;
            o->events = 0;
            o->value = values[k];
            o->cell = groups[k] * periods->n + period_of(periods, t);
        }
        /* The rest of the session in this batch, in registers. */
        uint32_t from = k;
        do {
            last = time[rows[k++]];
        } while (k < n && customer[rows[k]] == who && time[rows[k]] - last <= gap &&
                 (values[k] == 0 || values[k] == o->value));
        o->last = last;
        o->events += k - from;
    }
    return 0;
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    struct session_state *s = state;
    if (s->m->plain) {
        plain_end(s, r);
        return 0;
    }
    for (uint32_t slot = 0; slot < r.count; slot++)
        if (s->open[slot].events > 0) TRY(close_session(s, &s->open[slot], err));
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct session_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

/* ---- the form ---- */

struct session_form {
    struct form form;
    struct session_machine *machine;
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct session_form *f = (struct session_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct session_machine *m = arena_zalloc(&p->arena, sizeof *m);
    f->machine = m;
    m->machine =
        (struct machine){.ops = &OPS, .stage = 1, .ordered = true, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = sizeof(struct open_session);
    m->gap_ms = duration_ms(q->sessions.gap);
    if (q->has_period)
        TRY(periods_init(&m->periods, p->zone, q->period, plan_span(p, span), &p->arena, err));
    else
        TRY(periods_whole(&m->periods, plan_span(p, span), &p->arena, err));
    m->all = q->sessions.n_alphabet == 0;
    m->n = q->sessions.n_alphabet;
    TRY(match_alphabet(p, q->sessions.alphabet, m->n, span, m->alphabet, &m->machine, err));
    struct event_set of = {.all = true};
    if (!m->all) match_union(p, m->alphabet, m->n, &of);
    TRY(splits_compile(p, &of, &m->splits, err));
    splits_needs(p, &m->splits, &m->machine);
    m->has_change = q->sessions.has_change;
    if (m->has_change) {
        TRY(field_resolve(p, &q->sessions.change, &of, &m->change, err));
        field_needs(p, &m->change, &m->machine);
    }
    m->plain = m->splits.n == 0 && m->periods.n == 1 && !m->has_change;
    m->machine.blind =
        m->all && splits_blind(&m->splits) && !(m->has_change && !field_blind(&m->change));
    return plan_add(p, &m->machine, err);
}

static int show_cell(const struct session_form *f, const struct merged *m, uint32_t period,
                     uint32_t group, const uint64_t *facts, struct result *out,
                     struct keel_error *err) {
    const struct plan *p = f->form.plan;
    struct datum cells[QUERY_MAX_SPLITS + 8], *at = cells;
    if (p->q->has_period) *at++ = period_datum(&f->machine->periods, p->zone, period);
    group_cells(&m->groups, group, at);
    at += m->groups.n_terms;
    double seconds = (double)facts[MILLISECONDS] / 1e3;
    *at++ = datum_integer(facts[SESSIONS]);
    *at++ = datum_integer(facts[BOUNCES]);
    *at++ = datum_integer(facts[EVENTS]);
    *at++ = datum_integer(facts[CUSTOMERS]);
    *at++ = datum_number(seconds);
    *at++ = facts[SESSIONS] ? datum_number(seconds / (double)facts[SESSIONS]) : datum_null();
    return result_row(out, cells, err);
}

static int show(const struct session_form *f, const struct merged *m, struct worker *workers,
                uint32_t n, struct result *out, struct keel_error *err) {
    uint32_t periods = f->machine->periods.n;
    bool single = !f->form.plan->q->has_period && m->groups.n_terms == 0;
    struct counters total = {0};
    int code = counters_room(&total, (uint64_t)m->groups.count * periods * FACTS + 1, err);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const struct session_state *s = machine_state(&workers[i], &f->machine->machine);
        uint64_t width = (uint64_t)periods * FACTS;
        for (uint64_t at = 0; at < s->facts.count; at++)
            total.n[m->map[i][at / width] * width + at % width] += s->facts.n[at];
    }
    for (uint32_t p = 0; p < periods; p++)
        for (uint32_t i = 0; i < m->groups.count && code == 0; i++) {
            const uint64_t *facts = total.n + ((uint64_t)m->order[i] * periods + p) * FACTS;
            if (facts[SESSIONS] > 0 || single)
                code = show_cell(f, m, p, m->order[i], facts, out, err);
        }
    counters_release(&total);
    return code;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct session_form *f = (const struct session_form *)form;
    const struct query *q = form->plan->q;
    if (q->has_period) TRY(add_period_column(q->period, out, err));
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("sessions"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("bounces"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("events"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("total_seconds"), DATUM_NUMBER, err));
    TRY(result_column(out, STR("mean_seconds"), DATUM_NUMBER, err));
    struct merged m;
    int code = merged_states(&m, f->machine->splits.n, &f->machine->machine,
                             offsetof(struct session_state, splitter), workers, n, err);
    if (code == 0) code = show(f, &m, workers, n, out, err);
    merged_release(&m);
    return code;
}

const struct form_ops FORM_SESSIONS = {
    .form_bytes = sizeof(struct session_form),
    .plan = form_plan,
    .answer = form_answer,
};
