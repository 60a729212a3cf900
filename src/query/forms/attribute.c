/* The form ATTRIBUTE: to which touches an amount is owed.
 *
 * Per customer the touches that may still matter (LAST: the latest; others: those inside the
 * window; journey.h) and the conversions of the current moment. A conversion waits until the time
 * moves on, because a touch at the same time counts too, in whatever order the two came; FIRST and
 * LAST enter it provisionally under the touch known by then, the models that share it out ask the
 * journey when it is settled.
 *
 * A share is amount x weight / sum of weights; the weights of one value are added first, so that a
 * journey of one value alone keeps its amount exactly. Shapley: the coalition S of values earns the
 * conversions whose journeys have no others, a sum of unanimity games, whose Shapley value is equal
 * shares to the values of each journey: no walk over coalitions is needed. Markov: conversions are
 * counted under the values of their journeys, their amounts are shared out at the end (markov.h).
 *
 * Layers: journey.h, markov.h, form_tools.h. Threads: see form.h. Limits: WAITING_MAX conversions
 * of one moment; see journey.h.
 */
#include <math.h>
#include <stdlib.h>

#include "query/forms/form_tools.h"
#include "query/forms/journey.h"
#include "query/forms/markov.h"

enum { WAITING_MAX = 1 << 24, NONE = JOURNEY_NONE, SMALL_GROUPS = 64 };

struct attribute_machine {
    struct machine machine;
    struct match conversion;
    uint32_t n;
    struct match touches[QUERY_MAX_EVENTS];
    struct field field; /* of the measure */
    bool is_sum, has_prop;
    enum query_model model;
    struct splits splits; /* the property of the touch */
    struct journey_rule rule;
};

struct conversion {    /* that waits */
    struct sum amount; /* first, for its alignment */
    int64_t time;
    uint32_t next;
    uint32_t
        group;    /* FIRST, LAST: of the touch known so far; else: the event's own touch, or NONE */
    bool touched; /* FIRST, LAST: has a touch */
};

struct attribute_customer {
    uint32_t waiting;   /* conversions of the same time                                      */
    uint64_t uncounted; /* bit a group: he is not in its number of customers yet             */
};

struct attribute_state {
    const struct attribute_machine *m;
    struct worker *worker;
    struct splitter splitter;
    struct journeys journeys;
    struct attribute_customer *customers;
    struct conversion *waiting;
    uint32_t n_waiting, cap_waiting, free_waiting;
    struct flat flat;
    struct sum *amounts;                      /* of the batch's conversions */
    struct counters conversions, by_customer; /* by group */
    struct sum *totals;
    uint32_t cap_totals;
    struct sum pooled;    /* MARKOV: what is shared out at the end */
    struct pairs counted; /* (slot, group) of the groups behind SMALL_GROUPS */
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct attribute_state *s = state;
    s->m = (const struct attribute_machine *)m;
    s->worker = w;
    pairs_init(&s->counted);
    TRY(journeys_open(&s->journeys, &s->m->rule, w->plan->range_size, err));
    TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    s->amounts = k_alloc_array(CHUNK_ROWS, sizeof *s->amounts);
    s->customers = k_try_alloc_array(w->plan->range_size, sizeof *s->customers);
    if (!s->customers) FAIL(err, NO_MEMORY, "too little memory for touches");
    return 0;
}

static void state_close(void *state) {
    struct attribute_state *s = state;
    journeys_close(&s->journeys);
    splitter_close(&s->splitter);
    k_free(s->customers);
    k_free(s->waiting);
    flat_release(&s->flat);
    k_free(s->amounts);
    counters_release(&s->conversions);
    counters_release(&s->by_customer);
    k_free(s->totals);
    pairs_release(&s->counted);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct attribute_state *s = state;
    memset(s->customers, 0xff, r.count * sizeof *s->customers); /* NONE, uncounted */
    journeys_begin(&s->journeys, r.count);
    s->n_waiting = 0;
    s->free_waiting = NONE;
    pairs_clear(&s->counted);
    return splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int new_waiting(struct attribute_state *s, const struct conversion *from, uint32_t *out,
                       struct keel_error *err) {
    uint32_t at = s->free_waiting;
    if (at != NONE) {
        s->free_waiting = s->waiting[at].next;
    } else {
        if (s->n_waiting == s->cap_waiting) {
            uint32_t cap = s->cap_waiting ? s->cap_waiting * 2 : 1 << 8;
            struct conversion *waiting =
                cap <= WAITING_MAX ? k_try_realloc(s->waiting, cap * sizeof *waiting) : NULL;
            if (!waiting) FAIL(err, LIMIT, "too many conversions at one moment: use a filter");
            s->waiting = waiting;
            s->cap_waiting = cap;
        }
        at = s->n_waiting++;
    }
    s->waiting[at] = *from;
    *out = at;
    return 0;
}

/* Enters an amount, of a conversion, for good. */
static int settle(struct attribute_state *s, uint32_t slot, uint32_t group,
                  const struct sum *amount, struct keel_error *err) {
    if (group >= s->cap_totals) {
        uint32_t cap = s->cap_totals ? s->cap_totals : 64;
        while (cap <= group) cap *= 2;
        struct sum *totals = k_try_realloc(s->totals, cap * sizeof *totals);
        if (!totals) FAIL(err, NO_MEMORY, "too little memory for touches");
        memset(totals + s->cap_totals, 0, (cap - s->cap_totals) * sizeof *totals);
        s->totals = totals;
        s->cap_totals = cap;
    }
    TRY(counters_room(&s->conversions, (uint64_t)group + 1, err));
    TRY(counters_room(&s->by_customer, (uint64_t)group + 1, err));
    bool is_new;
    if (group < SMALL_GROUPS) {
        uint64_t *uncounted = &s->customers[slot].uncounted;
        is_new = *uncounted >> group & 1;
        *uncounted &= ~((uint64_t)1 << group);
    } else if (!pairs_at(&s->counted, pair_key(slot, group), &is_new)) {
        FAIL(err, LIMIT, "too many touches of customers: narrow the question");
    }
    sum_merge(&s->totals[group], amount);
    s->conversions.n[group]++;
    s->by_customer.n[group] += is_new;
    return 0;
}

/* Under the missing value: no touch is owed for it. */
static int missing_group(struct attribute_state *s, uint32_t *out, struct keel_error *err) {
    uint32_t missing[QUERY_MAX_SPLITS] = {0};
    return groups_find(&s->splitter.groups, missing, out, err);
}

/* Enters a conversion under every value among its touches. */
static int settle_shares(struct attribute_state *s, uint32_t slot, const struct conversion *c,
                         struct keel_error *err) {
    const struct share *shares;
    uint32_t n, group;
    TRY(journey_shares(&s->journeys, slot, c->group, &shares, &n, err));
    if (n == 0) {
        TRY(missing_group(s, &group, err));
        return settle(s, slot, group, &c->amount, err);
    }
    bool markov = s->m->model == QUERY_MODEL_MARKOV;
    if (markov) sum_merge(&s->pooled, &c->amount);
    if (n == 1 && !markov) return settle(s, slot, shares[0].group, &c->amount, err);
    double whole = 0, amount = sum_value(&c->amount);
    for (uint32_t i = 0; i < n; i++) whole += shares[i].weight;
    for (uint32_t i = 0; i < n; i++) {
        struct sum part = {0};
        if (!markov) sum_add(&part, amount * (shares[i].weight / whole));
        TRY(settle(s, slot, shares[i].group, &part, err));
    }
    return 0;
}

static bool is_shared(const struct attribute_machine *m) { return m->model > QUERY_MODEL_FIRST; }

static int settle_waiting(struct attribute_state *s, uint32_t slot, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    while (c->waiting != NONE) {
        uint32_t at = c->waiting;
        struct conversion *w = &s->waiting[at];
        if (is_shared(s->m))
            TRY(settle_shares(s, slot, w, err));
        else
            TRY(settle(s, slot, w->group, &w->amount, err));
        c->waiting = w->next;
        w->next = s->free_waiting;
        s->free_waiting = at;
    }
    return 0;
}

static int take_conversion(struct attribute_state *s, uint32_t slot, int64_t t,
                           const struct sum *amount, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    struct conversion w = {.time = t, .next = c->waiting, .amount = *amount, .group = NONE};
    TRY(journey_prune(&s->journeys, slot, t, err));
    if (!is_shared(s->m)) {
        w.touched = journey_first(&s->journeys, slot, &w.group);
        if (!w.touched) TRY(missing_group(s, &w.group, err));
    }
    return new_waiting(s, &w, &c->waiting, err);
}

/* `own`: the conversion that is this very event, or NONE. */
static int take_touch(struct attribute_state *s, uint32_t slot, int64_t t, uint32_t group,
                      uint32_t own, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    bool first = s->m->model == QUERY_MODEL_FIRST;
    for (uint32_t at = c->waiting; at != NONE && !is_shared(s->m); at = s->waiting[at].next) {
        struct conversion *w = &s->waiting[at];
        if (at == own || (first && w->touched)) continue;
        w->group = group;
        w->touched = true;
    }
    uint32_t touch;
    TRY(journey_touch(&s->journeys, slot, t, group, &touch, err));
    if (own != NONE && is_shared(s->m)) s->waiting[own].group = touch;
    return 0;
}

/* The amounts of the batch's conversions: one, or what the property says. */
static int read_amounts(struct attribute_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                        struct keel_error *err) {
    memset(s->amounts, 0, n * sizeof *s->amounts);
    if (s->m->is_sum) {
        TRY(field_flat_numbers(&s->m->field, f, rows, n, &s->flat, err));
        for (uint32_t k = 0; k < s->flat.n; k++)
            sum_add(&s->amounts[s->flat.at[k]], s->flat.number[k]);
        return 0;
    }
    uint32_t counts[CHUNK_ROWS];
    if (s->m->has_prop) TRY(field_counts(&s->m->field, f, rows, n, counts, err));
    for (uint32_t k = 0; k < n; k++) sum_add(&s->amounts[k], s->m->has_prop ? counts[k] : 1);
    return 0;
}

static int state_feed(void *state, struct feed *f, struct keel_error *err) {
    struct attribute_state *s = state;
    uint64_t conversions[BITS_WORDS], touches[BITS_WORDS] = {0}, both[BITS_WORDS];
    TRY(match_rows(&s->m->conversion, s->worker, f, conversions, err));
    for (uint32_t i = 0; i < s->m->n; i++) {
        uint64_t one[BITS_WORDS];
        TRY(match_rows(&s->m->touches[i], s->worker, f, one, err));
        for (uint32_t k = 0; k < BITS_WORDS; k++) touches[k] |= one[k];
    }
    for (uint32_t k = 0; k < BITS_WORDS; k++) both[k] = conversions[k] | touches[k];
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], n = bits_to_index(conversions, rows), conversion = 0, touch = 0;
    TRY(read_amounts(s, f, rows, n, err));
    n = bits_to_index(touches, rows);
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    n = bits_to_index(both, rows);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = rows[k], slot = f->customer[row] - f->first, own = NONE;
        struct attribute_customer *c = &s->customers[slot];
        int64_t t = f->time[row];
        if (c->waiting != NONE && s->waiting[c->waiting].time != t)
            TRY(settle_waiting(s, slot, err));
        if (bit_get(conversions, row)) {
            TRY(take_conversion(s, slot, t, &s->amounts[conversion++], err));
            own = c->waiting;
        }
        if (bit_get(touches, row)) TRY(take_touch(s, slot, t, groups[touch++], own, err));
    }
    return 0;
}

static int state_end(void *state, struct range r, struct keel_error *err) {
    struct attribute_state *s = state;
    for (uint32_t slot = 0; slot < r.count; slot++)
        if (s->customers[slot].waiting != NONE) TRY(settle_waiting(s, slot, err));
    return journeys_end(&s->journeys, r.count, err);
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct attribute_state),
    .open = state_open,
    .begin = state_begin,
    .feed = state_feed,
    .end = state_end,
    .close = state_close,
};

/* ---- the form ---- */

struct attribute_form {
    struct form form;
    struct attribute_machine *machine;
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct attribute_form *f = (struct attribute_form *)form;
    const struct query *q = p->q;
    const struct query_measure *measure = &q->attribute.measure;
    struct span span = range_span(p->zone, &q->range, p->at_ms), before = span;
    struct attribute_machine *m = arena_zalloc(&p->arena, sizeof *m);
    f->machine = m;
    m->machine =
        (struct machine){.ops = &OPS, .stage = 1, .ordered = true, .span = {INT64_MAX, INT64_MIN}};
    m->machine.bytes_per_customer = sizeof(struct attribute_customer) + JOURNEY_BYTES;
    plan_note(p, "allocation, not causal: a rule shares out what happened; it does not show what "
                 "would have happened without a touch");
    m->model = q->attribute.model;
    m->rule = (struct journey_rule){.model = m->model,
                                    .within_ms = duration_ms(q->attribute.within),
                                    .half_life_ms = duration_ms(q->attribute.half_life),
                                    .from_ms = span.from_ms};
    m->is_sum = measure->agg == QUERY_SUM;
    m->has_prop = measure->has_prop;
    if (before.from_ms != INT64_MIN)
        before.from_ms =
            m->rule.within_ms == INT64_MAX ? INT64_MIN : span.from_ms - m->rule.within_ms;
    TRY(match_compile(p, &measure->event, span, &m->conversion, err));
    match_needs(p, &m->conversion, &m->machine);
    if (m->has_prop) {
        TRY(field_resolve(p, &measure->prop, &m->conversion.events, &m->field, err));
        field_needs(p, &m->field, &m->machine);
    }
    m->n = q->attribute.n_touches;
    TRY(match_alphabet(p, q->attribute.touches, m->n, before, m->touches, &m->machine, err));
    struct event_set of;
    match_union(p, m->touches, m->n, &of);
    TRY(splits_compile(p, &of, &m->splits, err));
    splits_needs(p, &m->splits, &m->machine);
    return plan_add(p, &m->machine, err);
}

struct owed {
    uint32_t group;
    uint64_t conversions, customers;
    double amount;
};

/* Shares to the millionth: thirds of a whole add up to it again, and rows that owe the same are
 * equal. Whole numbers of ten-thousandths stay as they are. */
static double rounded(double amount) {
    return fabs(amount) < 0x1p32 ? rint(amount * 1e6) / 1e6 : amount;
}

static int by_amount(const void *a, const void *b, void *ctx) {
    const struct owed *x = a, *y = b;
    if (x->amount != y->amount) return x->amount > y->amount ? -1 : 1;
    return datum_cmp(groups_value(ctx, x->group, 0), groups_value(ctx, y->group, 0));
}

/* MARKOV: the workers' chains as one, and by what it loses without a value, the value's share of
 * all amounts that have a touch. States stand in the order of their values, whatever the workers
 * met. */
static int share_out(const struct attribute_form *f, const struct merged *m,
                     const struct worker *workers, uint32_t n, struct sum *amounts,
                     struct keel_error *err) {
    uint32_t count = m->groups.count;
    uint32_t *place = k_try_alloc_array(count + 1, sizeof *place);
    struct markov chain = {0};
    struct sum pooled = {0};
    if (!place) FAIL(err, NO_MEMORY, "too little memory for touches");
    for (uint32_t i = 0; i < count; i++) place[m->order[i]] = i;
    int code = markov_init(&chain, count, err);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const struct attribute_state *s = machine_state(&workers[i], &f->machine->machine);
        sum_merge(&pooled, &s->pooled);
        journeys_chain(&s->journeys, m->map[i], place, &chain);
    }
    if (code == 0) code = markov_solve(&chain, err);
    for (uint32_t i = 0; i < count && code == 0; i++)
        sum_add(&amounts[m->order[i]], sum_value(&pooled) * chain.shares[i]);
    markov_release(&chain);
    k_free(place);
    return code;
}

static int show(const struct attribute_form *f, struct merged *m, struct worker *workers,
                uint32_t n, struct result *out, struct keel_error *err) {
    uint32_t count = m->groups.count, kept = 0, limit = query_limit(f->form.plan->q);
    struct owed *owed = k_try_zalloc((count + 1) * sizeof *owed);
    struct sum *amounts = k_try_zalloc((count + 1) * sizeof *amounts);
    if (!owed || !amounts) {
        k_free(owed);
        k_free(amounts);
        FAIL(err, NO_MEMORY, "too little memory for touches");
    }
    int code = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct attribute_state *s = machine_state(&workers[i], &f->machine->machine);
        for (uint32_t g = 0; g < s->conversions.count; g++) {
            struct owed *to = &owed[m->map[i][g]];
            to->conversions += s->conversions.n[g];
            to->customers += s->by_customer.n[g];
            sum_merge(&amounts[m->map[i][g]], &s->totals[g]);
        }
    }
    if (f->machine->model == QUERY_MODEL_MARKOV) code = share_out(f, m, workers, n, amounts, err);
    for (uint32_t g = 0; g < count && code == 0; g++) {
        if (owed[g].conversions == 0) continue;
        struct owed one = owed[g];
        one.group = g;
        one.amount = sum_value(&amounts[g]);
        if (is_shared(f->machine)) one.amount = rounded(one.amount);
        owed[kept++] = one;
    }
    if (kept > 0) qsort_r(owed, kept, sizeof *owed, by_amount, &m->groups);
    out->cut |= kept > limit;
    for (uint32_t i = 0; i < kept && code == 0 && i < limit; i++) {
        struct datum cells[] = {*groups_value(&m->groups, owed[i].group, 0),
                                datum_number(owed[i].amount), datum_integer(owed[i].conversions),
                                datum_integer(owed[i].customers)};
        code = result_row(out, cells, err);
    }
    k_free(owed);
    k_free(amounts);
    return code;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    const struct attribute_form *f = (const struct attribute_form *)form;
    const struct query *q = form->plan->q;
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("amount"), DATUM_NUMBER, err));
    TRY(result_column(out, STR("conversions"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    struct merged m;
    int code = merged_states(&m, f->machine->splits.n, &f->machine->machine,
                             offsetof(struct attribute_state, splitter), workers, n, err);
    if (code == 0) code = show(f, &m, workers, n, out, err);
    merged_release(&m);
    return code;
}

const struct form_ops FORM_ATTRIBUTE = {
    .form_bytes = sizeof(struct attribute_form),
    .plan = form_plan,
    .answer = form_answer,
};
