/* The form ATTRIBUTE: to which touches an amount is owed.
 *
 * Per customer the touches that may still matter (LAST: the latest; others: those inside the
 * window, as a queue) and the conversions of the current moment. A conversion waits until the time
 * moves on, because a touch at the same time counts too, in whatever order the two came; FIRST and
 * LAST enter it provisionally under the touch known by then, the models that share it out walk the
 * queue when it is settled.
 *
 * A share is amount x weight / sum of weights; the weights of one value are added first, so that a
 * journey of one value alone keeps its amount exactly. Shapley: the coalition S of values earns the
 * conversions whose journeys have no others, a sum of unanimity games, whose Shapley value is equal
 * shares to the values of each journey: no walk over coalitions is needed.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: NODES_MAX waiting touches and conversions;
 * JOURNEY_MAX touches of one conversion.
 */
#include <math.h>
#include <stdlib.h>

#include "query/forms/form_tools.h"
#include "query/pairs.h"

enum { NODES_MAX = 1 << 26, JOURNEY_MAX = 1 << 16, NONE = UINT32_MAX, SMALL_GROUPS = 64 };
#define NEVER INT64_MIN

struct attribute_machine {
    struct machine machine;
    struct match conversion;
    uint32_t n;
    struct match touches[QUERY_MAX_EVENTS];
    struct field field; /* of the measure */
    bool is_sum, has_prop;
    enum query_model model;
    struct splits splits; /* the property of the touch */
    int64_t within_ms, half_life_ms;
};

struct node { /* a touch in a queue, or a waiting conversion */
    int64_t time;
    uint32_t group, next; /* group of a conversion that is shared out: its own touch, or NONE */
    bool touched;         /* conversion: has a touch */
    struct sum amount;
};

struct attribute_customer {
    uint32_t head, tail; /* touches, oldest first; LAST keeps one */
    uint32_t waiting;    /* conversions of the same time          */
    uint64_t uncounted;  /* bit a group: he is not in its number of customers yet */
};

/* What a group has of the conversion that is being shared out. */
struct part {
    uint64_t serial; /* of that conversion; another: nothing */
    double weight;
};

struct attribute_state {
    const struct attribute_machine *m;
    struct worker *worker;
    struct splitter splitter;
    struct attribute_customer *customers;
    struct node *nodes;
    uint32_t n_nodes, cap_nodes, free_node;
    struct flat flat;
    struct sum *amounts;                      /* of the batch's conversions */
    struct counters conversions, by_customer; /* by group */
    struct sum *totals;
    uint32_t cap_totals;
    struct part *parts; /* by group */
    uint32_t *met;      /* groups of the conversion */
    uint32_t n_met, cap_parts;
    uint64_t serial;
    struct pairs counted; /* (slot, group) of the groups behind SMALL_GROUPS */
};

static int state_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    struct attribute_state *s = state;
    s->m = (const struct attribute_machine *)m;
    s->worker = w;
    pairs_init(&s->counted);
    TRY(splitter_open(&s->splitter, &s->m->splits, w, err));
    s->amounts = k_alloc_array(CHUNK_ROWS, sizeof *s->amounts);
    s->customers = k_try_alloc_array(w->plan->range_size, sizeof *s->customers);
    if (!s->customers) FAIL(err, NO_MEMORY, "too little memory for touches");
    return 0;
}

static void state_close(void *state) {
    struct attribute_state *s = state;
    splitter_close(&s->splitter);
    k_free(s->customers);
    k_free(s->nodes);
    flat_release(&s->flat);
    k_free(s->amounts);
    counters_release(&s->conversions);
    counters_release(&s->by_customer);
    k_free(s->totals);
    k_free(s->parts);
    k_free(s->met);
    pairs_release(&s->counted);
}

static int state_begin(void *state, struct range r, struct keel_error *err) {
    struct attribute_state *s = state;
    memset(s->customers, 0xff, r.count * sizeof *s->customers); /* all NONE, uncounted */
    s->n_nodes = 0;
    s->free_node = NONE;
    pairs_clear(&s->counted);
    return splitter_begin(&s->splitter, r, s->worker->members, err);
}

static int new_node(struct attribute_state *s, const struct node *from, uint32_t *out,
                    struct keel_error *err) {
    uint32_t at = s->free_node;
    if (at != NONE) {
        s->free_node = s->nodes[at].next;
    } else {
        if (s->n_nodes == s->cap_nodes) {
            uint32_t cap = s->cap_nodes ? s->cap_nodes * 2 : 1 << 10;
            struct node *nodes =
                cap <= NODES_MAX ? k_try_realloc(s->nodes, cap * sizeof *nodes) : NULL;
            if (!nodes) FAIL(err, LIMIT, "too many touches at once: use a shorter distance");
            s->nodes = nodes;
            s->cap_nodes = cap;
        }
        at = s->n_nodes++;
    }
    s->nodes[at] = *from;
    *out = at;
    return 0;
}

static void free_node(struct attribute_state *s, uint32_t at) {
    s->nodes[at].next = s->free_node;
    s->free_node = at;
}

/* Enters a conversion for good. */
static int settle(struct attribute_state *s, uint32_t slot, const struct node *c,
                  struct keel_error *err) {
    if (c->group >= s->cap_totals) {
        uint32_t cap = s->cap_totals ? s->cap_totals : 64;
        while (cap <= c->group) cap *= 2;
        struct sum *totals = k_try_realloc(s->totals, cap * sizeof *totals);
        if (!totals) FAIL(err, NO_MEMORY, "too little memory for touches");
        memset(totals + s->cap_totals, 0, (cap - s->cap_totals) * sizeof *totals);
        s->totals = totals;
        s->cap_totals = cap;
    }
    TRY(counters_room(&s->conversions, (uint64_t)c->group + 1, err));
    TRY(counters_room(&s->by_customer, (uint64_t)c->group + 1, err));
    bool is_new;
    if (c->group < SMALL_GROUPS) {
        uint64_t *uncounted = &s->customers[slot].uncounted;
        is_new = *uncounted >> c->group & 1;
        *uncounted &= ~((uint64_t)1 << c->group);
    } else if (!pairs_at(&s->counted, pair_key(slot, c->group), &is_new)) {
        FAIL(err, LIMIT, "too many touches of customers: narrow the question");
    }
    sum_merge(&s->totals[c->group], &c->amount);
    s->conversions.n[c->group]++;
    s->by_customer.n[c->group] += is_new;
    return 0;
}

static double touch_weight(const struct attribute_machine *m, uint32_t k, uint32_t n,
                           int64_t before_last_ms) {
    if (m->model == QUERY_MODEL_DECAY)
        return exp2(-(double)before_last_ms / (double)m->half_life_ms);
    if (m->model != QUERY_MODEL_POSITION || n <= 2) return 1;
    return k == 0 || k + 1 == n ? 0.4 : 0.2 / (n - 2);
}

static int add_part(struct attribute_state *s, uint32_t group, double weight,
                    struct keel_error *err) {
    if (group >= s->cap_parts) {
        uint32_t cap = s->cap_parts ? s->cap_parts : 64;
        while (cap <= group) cap *= 2;
        struct part *parts = k_try_realloc(s->parts, cap * sizeof *parts);
        if (parts) s->parts = parts;
        uint32_t *met = k_try_realloc(s->met, cap * sizeof *met);
        if (met) s->met = met;
        if (!parts || !met) FAIL(err, NO_MEMORY, "too little memory for touches");
        memset(parts + s->cap_parts, 0, (cap - s->cap_parts) * sizeof *parts);
        s->cap_parts = cap;
    }
    struct part *part = &s->parts[group];
    if (part->serial != s->serial) {
        *part = (struct part){.serial = s->serial, .weight = weight};
        s->met[s->n_met++] = group;
    } else if (s->m->model != QUERY_MODEL_SHAPLEY) {
        part->weight += weight;
    }
    return 0;
}

/* The touches of a conversion, by group, in s->parts and s->met. */
static int weigh(struct attribute_state *s, uint32_t slot, uint32_t own, struct keel_error *err) {
    uint32_t n = 0, k = 0;
    int64_t last = 0;
    s->serial++;
    s->n_met = 0;
    for (uint32_t at = s->customers[slot].head; at != NONE; at = s->nodes[at].next) {
        if (at == own) continue;
        last = s->nodes[at].time;
        n++;
    }
    if (n > JOURNEY_MAX)
        FAIL(err, LIMIT,
             "a customer has more than %d touches before one event: use a shorter "
             "distance (\"within\")",
             JOURNEY_MAX);
    for (uint32_t at = s->customers[slot].head; at != NONE; at = s->nodes[at].next) {
        const struct node *touch = &s->nodes[at];
        if (at == own) continue;
        TRY(add_part(s, touch->group, touch_weight(s->m, k++, n, last - touch->time), err));
    }
    return 0;
}

/* Enters a conversion under every value among its touches. */
static int settle_shares(struct attribute_state *s, uint32_t slot, const struct node *c,
                         struct keel_error *err) {
    TRY(weigh(s, slot, c->group, err));
    struct node part = *c;
    if (s->n_met <= 1) {
        uint32_t missing[QUERY_MAX_SPLITS] = {0};
        if (s->n_met == 1)
            part.group = s->met[0];
        else
            TRY(groups_find(&s->splitter.groups, missing, &part.group, err));
        return settle(s, slot, &part, err);
    }
    double whole = 0, amount = sum_value(&c->amount);
    for (uint32_t i = 0; i < s->n_met; i++) whole += s->parts[s->met[i]].weight;
    for (uint32_t i = 0; i < s->n_met; i++) {
        part.group = s->met[i];
        part.amount = (struct sum){0};
        sum_add(&part.amount, amount * (s->parts[part.group].weight / whole));
        TRY(settle(s, slot, &part, err));
    }
    return 0;
}

static bool is_shared(const struct attribute_machine *m) { return m->model > QUERY_MODEL_FIRST; }

static int settle_waiting(struct attribute_state *s, uint32_t slot, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    while (c->waiting != NONE) {
        uint32_t at = c->waiting;
        if (is_shared(s->m))
            TRY(settle_shares(s, slot, &s->nodes[at], err));
        else
            TRY(settle(s, slot, &s->nodes[at], err));
        c->waiting = s->nodes[at].next;
        free_node(s, at);
    }
    return 0;
}

static int take_conversion(struct attribute_state *s, uint32_t slot, int64_t t,
                           const struct sum *amount, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    int64_t within = s->m->within_ms;
    while (c->head != NONE && within != INT64_MAX && s->nodes[c->head].time < t - within) {
        uint32_t old = c->head;
        c->head = s->nodes[old].next;
        if (c->head == NONE) c->tail = NONE;
        free_node(s, old);
    }
    struct node node = {.time = t, .next = c->waiting, .amount = *amount};
    node.touched = c->head != NONE;
    if (is_shared(s->m)) {
        node.group = NONE;
    } else if (node.touched) {
        node.group = s->nodes[c->head].group;
    } else { /* the group of no touch is that of a missing value */
        uint32_t missing[QUERY_MAX_SPLITS] = {0};
        TRY(groups_find(&s->splitter.groups, missing, &node.group, err));
    }
    return new_node(s, &node, &c->waiting, err);
}

/* `own`: the conversion that is this very event, or NONE. */
static int take_touch(struct attribute_state *s, uint32_t slot, int64_t t, uint32_t group,
                      uint32_t own, struct keel_error *err) {
    struct attribute_customer *c = &s->customers[slot];
    bool first = s->m->model == QUERY_MODEL_FIRST, last = s->m->model == QUERY_MODEL_LAST;
    for (uint32_t at = c->waiting; at != NONE && (first || last); at = s->nodes[at].next) {
        struct node *w = &s->nodes[at];
        if (at == own || (first && w->touched)) continue;
        w->group = group;
        w->touched = true;
    }
    bool one = last || (first && s->m->within_ms == INT64_MAX);
    if (one && c->head != NONE) { /* LAST: the newest; FIRST without limit: the oldest */
        if (last) {
            s->nodes[c->head].time = t;
            s->nodes[c->head].group = group;
        }
        return 0;
    }
    uint32_t at;
    struct node node = {.time = t, .group = group, .next = NONE};
    TRY(new_node(s, &node, &at, err));
    if (own != NONE && is_shared(s->m)) s->nodes[own].group = at;
    if (c->tail != NONE)
        s->nodes[c->tail].next = at;
    else
        c->head = at;
    c->tail = at;
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
        if (c->waiting != NONE && s->nodes[c->waiting].time != t) TRY(settle_waiting(s, slot, err));
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
    return 0;
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
    m->machine.bytes_per_customer = sizeof(struct attribute_customer) + sizeof(struct node);
    plan_note(p, "allocation, not causal: a rule shares out what happened; it does not show what "
                 "would have happened without a touch");
    m->within_ms = duration_ms(q->attribute.within);
    m->model = q->attribute.model;
    m->half_life_ms = duration_ms(q->attribute.half_life);
    m->is_sum = measure->agg == QUERY_SUM;
    m->has_prop = measure->has_prop;
    if (before.from_ms != INT64_MIN)
        before.from_ms = m->within_ms == INT64_MAX ? INT64_MIN : span.from_ms - m->within_ms;
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
    for (uint32_t g = 0; g < count; g++) {
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
    const struct groups **groups = k_alloc_array(n + 1, sizeof(struct groups *));
    for (uint32_t i = 0; i < n; i++) {
        const struct attribute_state *s = machine_state(&workers[i], &f->machine->machine);
        groups[i] = &s->splitter.groups;
    }
    struct merged m;
    int code = merged_init(&m, f->machine->splits.n, groups, n, err);
    if (code == 0) code = show(f, &m, workers, n, out, err);
    merged_release(&m);
    k_free(groups);
    return code;
}

const struct form_ops FORM_ATTRIBUTE = {
    .form_bytes = sizeof(struct attribute_form),
    .plan = form_plan,
    .answer = form_answer,
};
