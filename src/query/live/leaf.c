/* Implementation of leaf.h. */
#include "query/live/leaf.h"

#include <roaring/roaring.h>

#include "query/language/parse.h"
#include "query/language/query_print.h"

/* RECENT: newest first. */
struct recent {
    int64_t timer_ms;
    uint32_t n;
    int64_t times[];
};

/* TRAIT. */
struct latest {
    int64_t time;
    uint8_t holds;
};

/* SUM. */
struct total {
    struct sum sum;
    uint8_t holds;
};

/* HISTORY. */
struct told {
    int64_t timer_ms;
};

struct leaf_machine {
    struct machine machine;
    struct leaf *leaf;
    struct leaf_sink *sink;
    struct match matches[LEAF_MOST_MATCHES];
    uint32_t n_matches;
    struct span span;   /* COUNT: of the events that count */
    struct field field; /* TRAIT, SUM */
    struct test test;   /* TRAIT, SUM */
};

struct leaf_state {
    const struct leaf_machine *m;
    struct worker *worker;
    struct field_reader reader; /* TRAIT */
    struct dict dict;
    struct flat flat; /* SUM */
};

enum { DICT_STALE = 1 << 16 }; /* values of a trait after which its dictionary starts over */
static const struct span ALWAYS = {INT64_MIN, INT64_MAX};

/* ---- life ---- */

static void choose_kind(struct leaf *leaf) {
    const struct query_cond *c = leaf->cond;
    leaf->kind = LEAF_HISTORY;
    if (c->kind == QUERY_COND_IDENTIFIED || c->kind == QUERY_COND_ANONYMOUS)
        leaf->kind = LEAF_IDENTIFIED;
    if (c->kind == QUERY_COND_TRAIT) leaf->kind = LEAF_TRAIT;
    if (c->kind == QUERY_COND_MEASURE && c->measure.agg == QUERY_SUM &&
        c->measure.range.kind != QUERY_RANGE_LAST)
        leaf->kind = LEAF_SUM;
    if (c->kind != QUERY_COND_DID) return;
    leaf->need = c->max == QUERY_NO_MAX ? c->min : c->max + 1;
    bool moving = c->range.kind == QUERY_RANGE_LAST;
    if (!moving && leaf->need < UINT32_MAX) leaf->kind = LEAF_COUNT;
    if (moving && leaf->need > 0 && leaf->need <= LEAF_MOST_TIMES) leaf->kind = LEAF_RECENT;
}

static uint32_t state_bytes(const struct leaf *leaf) {
    switch (leaf->kind) {
    case LEAF_RECENT: return (uint32_t)(sizeof(struct recent) + leaf->need * sizeof(int64_t));
    case LEAF_TRAIT: return sizeof(struct latest);
    case LEAF_SUM: return sizeof(struct total);
    case LEAF_HISTORY: return sizeof(struct told);
    default: return sizeof(uint32_t);
    }
}

/* The leaf as a question of its own, so that its tree does not hang on anybody's. */
static int take_question(struct leaf *leaf, const struct query_cond *cond, struct keel_error *err) {
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    int code = buf_add_text(&text, "count customers where ");
    if (code == 0) code = query_print_cond(cond, &text);
    if (code == 0) code = query_parse(buf_str(&text), &leaf->arena, &leaf->asked, NULL, err);
    if (code == 0) leaf->cond = leaf->asked->where;
    buf_release(&text);
    return code;
}

int leaf_new(const struct query_cond *cond, struct leaf **out, struct keel_error *err) {
    struct leaf *leaf = k_zalloc(sizeof *leaf);
    arena_init(&leaf->arena, (size_t)QUERY_ARENA_BYTES * 2);
    int code = take_question(leaf, cond, err);
    if (code < 0) {
        leaf_free(leaf);
        return code;
    }
    choose_kind(leaf);
    slots_init(&leaf->state, state_bytes(leaf));
    leaf->seen = roaring_bitmap_create();
    leaf->holds = roaring_bitmap_create();
    leaf->span_at_ms = INT64_MIN;
    *out = leaf;
    return 0;
}

void leaf_free(struct leaf *leaf) {
    if (!leaf) return;
    slots_release(&leaf->state);
    if (leaf->seen) roaring_bitmap_free(leaf->seen);
    if (leaf->holds) roaring_bitmap_free(leaf->holds);
    arena_release(&leaf->arena);
    k_free(leaf);
}

void leaf_clear(struct leaf *leaf) {
    slots_release(&leaf->state);
    roaring_bitmap_clear(leaf->seen);
    roaring_bitmap_clear(leaf->holds);
}

uint64_t leaf_bytes(const struct leaf *leaf) {
    return slots_bytes(&leaf->state) + roaring_bitmap_portable_size_in_bytes(leaf->seen) +
           roaring_bitmap_portable_size_in_bytes(leaf->holds);
}

/* ---- what is kept ---- */

static bool by_bits(const struct leaf *leaf) { return leaf->kind == LEAF_COUNT && leaf->need <= 1; }

static bool count_passes(const struct leaf *leaf, uint32_t n) {
    return n >= leaf->cond->min && n <= leaf->cond->max;
}

static void note_time(const struct leaf *leaf, struct recent *r, int64_t t) {
    uint32_t i = r->n;
    if (i == leaf->need) {
        if (r->times[i - 1] >= t) return;
        i--;
    } else {
        r->n++;
    }
    for (; i > 0 && r->times[i - 1] < t; i--) r->times[i] = r->times[i - 1];
    r->times[i] = t;
}

static void feed_count(struct leaf_state *s, uint32_t customer, int64_t t) {
    struct leaf *leaf = s->m->leaf;
    if (t < s->m->span.from_ms || t >= s->m->span.to_ms || leaf->need == 0) return;
    if (by_bits(leaf)) {
        if (roaring_bitmap_contains(leaf->seen, customer)) return;
        roaring_bitmap_add(leaf->seen, customer);
    } else {
        bool is_new;
        uint32_t *n = slots_add(&leaf->state, customer, &is_new);
        if (*n == leaf->need) return;
        bool before = count_passes(leaf, *n);
        if (count_passes(leaf, ++*n) == before) return;
    }
    s->m->sink->changed(s->m->sink->ctx, leaf, customer);
}

static uint32_t count_now(struct leaf *leaf, const struct live_moment *at, const struct recent *r) {
    if (leaf->span_at_ms != at->now_ms) {
        leaf->span = range_span(at->zone, &leaf->cond->range, at->now_ms);
        leaf->span_at_ms = at->now_ms;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        n += r->times[i] >= leaf->span.from_ms && r->times[i] < leaf->span.to_ms;
    return n;
}

/* A timer that is due says that time has changed the answer already: then it is looked at, whatever
 * this event does. */
static void feed_recent(struct leaf_state *s, uint32_t customer, int64_t t) {
    struct leaf *leaf = s->m->leaf;
    struct leaf_sink *sink = s->m->sink;
    struct live_moment at = {.now_ms = sink->now_ms, .zone = s->worker->plan->zone};
    bool is_new;
    struct recent *r = slots_add(&leaf->state, customer, &is_new);
    bool due = r->timer_ms != 0 && r->timer_ms <= sink->now_ms;
    bool before = !sink->fresh_only && count_passes(leaf, count_now(leaf, &at, r));
    note_time(leaf, r, t);
    if (sink->fresh_only) return; /* is being filled */
    if (due || sink->rebuilding || count_passes(leaf, count_now(leaf, &at, r)) != before)
        sink->changed(sink->ctx, leaf, customer);
    else
        sink->kept(sink->ctx, leaf, customer);
}

/* Until the timeline is asked it says what it said. */
static void feed_history(struct leaf_state *s, uint32_t customer) {
    struct leaf *leaf = s->m->leaf;
    if (roaring_bitmap_add_checked(leaf->seen, customer) && leaf->otherwise)
        roaring_bitmap_add(leaf->holds, customer);
    s->m->sink->ask(s->m->sink->ctx, leaf, customer);
}

static int feed_trait(struct leaf_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                      struct keel_error *err) {
    struct leaf *leaf = s->m->leaf;
    struct leaf_sink *sink = s->m->sink;
    uint32_t ids[CHUNK_ROWS];
    TRY(field_ids(&s->reader, f, rows, n, ids, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t customer = f->customer[rows[k]];
        int64_t t = f->time[rows[k]];
        if (!ids[k] || t >= sink->now_ms) continue;
        bool is_new,
            holds = test_datum(&s->m->test, dict_get(&s->dict, ids[k]), &s->worker->scratch);
        struct latest *last = slots_add(&leaf->state, customer, &is_new);
        if (!is_new && t == last->time && !sink->rebuilding) sink->ask(sink->ctx, leaf, customer);
        if (!is_new && t < last->time) continue;
        bool before = is_new ? leaf->otherwise : last->holds;
        *last = (struct latest){t, holds};
        if (holds != before) sink->changed(sink->ctx, leaf, customer);
    }
    return 0;
}

/* Exact and free of order (sums.h), so it is what a query adds up. */
static int feed_sum(struct leaf_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                    struct keel_error *err) {
    struct leaf *leaf = s->m->leaf;
    TRY(field_flat_numbers(&s->m->field, f, rows, n, &s->flat, err));
    for (uint32_t k = 0; k < s->flat.n; k++) {
        uint16_t row = rows[s->flat.at[k]];
        int64_t t = f->time[row];
        if (t >= s->m->sink->now_ms || t < s->m->span.from_ms || t >= s->m->span.to_ms) continue;
        bool is_new;
        struct total *total = slots_add(&leaf->state, f->customer[row], &is_new);
        sum_add(&total->sum, s->flat.number[k]);
        struct datum value = datum_number(sum_value(&total->sum));
        bool before = is_new ? leaf->otherwise : total->holds;
        total->holds = test_datum(&s->m->test, &value, &s->worker->scratch);
        if (total->holds != before) s->m->sink->changed(s->m->sink->ctx, leaf, f->customer[row]);
    }
    return 0;
}

/* ---- the machine ---- */

static int leaf_open(const struct machine *m, struct worker *w, void *state,
                     struct keel_error *err) {
    (void)err;
    struct leaf_state *s = state;
    s->m = (const struct leaf_machine *)m;
    s->worker = w;
    dict_init(&s->dict);
    field_reader_init(&s->reader, &s->m->field, w, &s->dict);
    return 0;
}

static void leaf_close(void *state) {
    struct leaf_state *s = state;
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    flat_release(&s->flat);
}

static int leaf_begin(void *state, struct range r, struct keel_error *err) {
    (void)r, (void)err;
    struct leaf_state *s = state;
    if (s->dict.count < DICT_STALE) return 0;
    leaf_close(state);
    dict_init(&s->dict);
    field_reader_init(&s->reader, &s->m->field, s->worker, &s->dict);
    return 0;
}

static int leaf_end(void *state, struct range r, struct keel_error *err) {
    (void)state, (void)r, (void)err;
    return 0;
}

static int leaf_feed(void *state, struct feed *f, struct keel_error *err) {
    struct leaf_state *s = state;
    struct leaf_sink *sink = s->m->sink;
    if (sink->only && sink->only != s->m->leaf) return 0;
    if (sink->fresh_only && !s->m->leaf->fresh) return 0;
    for (uint32_t i = 0; i < s->m->n_matches; i++) {
        uint16_t rows[CHUNK_ROWS];
        uint32_t n;
        TRY(match_index(&s->m->matches[i], s->worker, f, rows, &n, err));
        if (n == 0) continue;
        if (s->m->leaf->kind == LEAF_TRAIT) TRY(feed_trait(s, f, rows, n, err));
        if (s->m->leaf->kind == LEAF_SUM) TRY(feed_sum(s, f, rows, n, err));
        for (uint32_t k = 0; k < n; k++) {
            uint32_t customer = f->customer[rows[k]];
            int64_t t = f->time[rows[k]];
            if (t >= sink->now_ms) continue;
            if (s->m->leaf->kind == LEAF_COUNT)
                feed_count(s, customer, t);
            else if (s->m->leaf->kind == LEAF_RECENT)
                feed_recent(s, customer, t);
            else if (s->m->leaf->kind == LEAF_HISTORY)
                feed_history(s, customer);
        }
    }
    if (s->worker->scratch.too_hard)
        FAIL(err, LIMIT, "a regular expression takes too long on some value: make it simpler");
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct leaf_state),
    .open = leaf_open,
    .begin = leaf_begin,
    .feed = leaf_feed,
    .end = leaf_end,
    .close = leaf_close,
};

static int add_match(struct plan *p, struct leaf_machine *m, const struct query_event *event,
                     struct keel_error *err) {
    K_ASSERT_OP(m->n_matches, <, LEAF_MOST_MATCHES);
    struct match *match = &m->matches[m->n_matches++];
    TRY(match_compile(p, event, ALWAYS, match, err));
    match_needs(p, match, &m->machine);
    return 0;
}

static int add_trait(struct plan *p, struct leaf_machine *m, struct keel_error *err) {
    struct query_event identify = {.kind = QUERY_EVENT_IDENTIFY};
    struct query_prop prop = m->leaf->cond->trait;
    prop.scope = QUERY_SCOPE_PROPERTY;
    TRY(add_match(p, m, &identify, err));
    TRY(field_resolve(p, &prop, &m->matches[0].events, &m->field, err));
    field_needs(p, &m->field, &m->machine);
    m->machine.ordered = true;
    return 0;
}

static int add_funnel(struct plan *p, struct leaf_machine *m, struct keel_error *err) {
    const struct query_funnel *f = m->leaf->cond->funnel;
    for (uint32_t i = 0; i < f->n_steps; i++) TRY(add_match(p, m, &f->steps[i], err));
    for (uint32_t i = 0; i < f->n_without; i++) TRY(add_match(p, m, &f->without[i], err));
    return 0;
}

static int add_sum(struct plan *p, struct leaf_machine *m, struct keel_error *err) {
    const struct query_measure *measure = &m->leaf->cond->measure;
    m->span = range_span(p->zone, &measure->range, INT64_MAX);
    TRY(field_resolve(p, &measure->prop, &m->matches[0].events, &m->field, err));
    field_needs(p, &m->field, &m->machine);
    return 0;
}

/* A measure over no events at all. */
static struct datum measure_of_nothing(const struct query_measure *m) {
    bool number = m->agg == QUERY_COUNT_OF || m->agg == QUERY_SUM || m->agg == QUERY_UNIQUE;
    return number ? datum_number(0) : datum_null();
}

static int compile(struct plan *p, struct leaf_machine *m, struct keel_error *err) {
    struct leaf *leaf = m->leaf;
    const struct query_cond *c = leaf->cond;
    struct test_scratch scratch = {0};
    struct datum nothing = datum_null();
    leaf->otherwise = false;
    switch (c->kind) {
    case QUERY_COND_DID:
        leaf->otherwise = count_passes(leaf, 0);
        if (leaf->kind == LEAF_COUNT) m->span = range_span(p->zone, &c->range, INT64_MAX);
        return add_match(p, m, &c->event, err);
    case QUERY_COND_FOLLOWED:
        TRY(add_match(p, m, &c->event, err));
        return add_match(p, m, &c->then, err);
    case QUERY_COND_FUNNEL: return add_funnel(p, m, err);
    case QUERY_COND_MEASURE:
        nothing = measure_of_nothing(&c->measure);
        TRY(add_match(p, m, &c->measure.event, err));
        if (leaf->kind == LEAF_SUM) TRY(add_sum(p, m, err));
        break;
    case QUERY_COND_TRAIT: TRY(add_trait(p, m, err)); break;
    default: return 0;
    }
    plan_own_test(p, &m->test);
    TRY(test_compile(&m->test, &c->test, p->zone, &p->arena, err));
    leaf->otherwise = test_datum(&m->test, &nothing, &scratch);
    test_scratch_release(&scratch);
    return 0;
}

int leaf_machine(struct plan *p, struct leaf *leaf, struct leaf_sink *sink,
                 struct keel_error *err) {
    struct leaf_machine *m = arena_zalloc(&p->arena, sizeof *m);
    m->leaf = leaf;
    m->sink = sink;
    m->machine = (struct machine){.ops = &OPS, .span = {INT64_MAX, INT64_MIN}};
    TRY(plan_add(p, &m->machine, err));
    p->provisional = 0;
    TRY(compile(p, m, err));
    if (leaf->compiled && leaf->provisional != p->provisional) leaf->fresh = true;
    leaf->compiled = true;
    leaf->provisional = p->provisional;
    return 0;
}

/* ---- asking ---- */

bool leaf_says(struct leaf *leaf, const struct live_moment *at, uint32_t customer) {
    switch (leaf->kind) {
    case LEAF_COUNT: {
        if (by_bits(leaf)) return count_passes(leaf, roaring_bitmap_contains(leaf->seen, customer));
        const uint32_t *n = slots_find(&leaf->state, customer);
        return count_passes(leaf, n ? *n : 0);
    }
    case LEAF_RECENT: {
        const struct recent *r = slots_find(&leaf->state, customer);
        return count_passes(leaf, r ? count_now(leaf, at, r) : 0);
    }
    case LEAF_TRAIT: {
        const struct latest *last = slots_find(&leaf->state, customer);
        return last ? last->holds : leaf->otherwise;
    }
    case LEAF_SUM: {
        const struct total *total = slots_find(&leaf->state, customer);
        return total ? total->holds : leaf->otherwise;
    }
    case LEAF_IDENTIFIED:
        return (identity_kind(at->identity, customer) == ID_USER) ==
               (leaf->cond->kind == QUERY_COND_IDENTIFIED);
    case LEAF_HISTORY: break;
    }
    return roaring_bitmap_contains(leaf->seen, customer)
               ? roaring_bitmap_contains(leaf->holds, customer)
               : leaf->otherwise;
}

int64_t leaf_turn(const struct leaf *leaf, const struct live_moment *at, uint32_t customer) {
    if (leaf->kind != LEAF_RECENT) return INT64_MAX;
    const struct recent *r = slots_find(&leaf->state, customer);
    int64_t turn = INT64_MAX;
    for (uint32_t i = 0; r && i < r->n; i++) {
        int64_t t = range_turn(at->zone, &leaf->cond->range, r->times[i], at->now_ms);
        if (t < turn) turn = t;
    }
    return turn;
}

int64_t *leaf_timer(struct leaf *leaf, uint32_t customer) {
    if (leaf->kind == LEAF_RECENT) {
        struct recent *r = slots_find(&leaf->state, customer);
        return r ? &r->timer_ms : NULL;
    }
    if (leaf->kind != LEAF_HISTORY || !roaring_bitmap_contains(leaf->seen, customer)) return NULL;
    bool is_new;
    return &((struct told *)slots_add(&leaf->state, customer, &is_new))->timer_ms;
}

void leaf_forget(struct leaf *leaf, uint32_t customer) {
    slots_remove(&leaf->state, customer);
    roaring_bitmap_remove(leaf->seen, customer);
    roaring_bitmap_remove(leaf->holds, customer);
}

static void merge_count(struct leaf *leaf, const uint32_t *state, uint32_t to) {
    uint32_t n = *state; /* adding may move the table */
    bool is_new;
    uint32_t *total = slots_add(&leaf->state, to, &is_new);
    *total = leaf->need - *total < n ? leaf->need : *total + n;
}

static void merge_recent(struct leaf *leaf, const struct recent *state, uint32_t to) {
    int64_t times[LEAF_MOST_TIMES];
    uint32_t n = state->n;
    memcpy(times, state->times, n * sizeof *times);
    bool is_new;
    struct recent *into = slots_add(&leaf->state, to, &is_new);
    for (uint32_t i = 0; i < n; i++) note_time(leaf, into, times[i]);
}

static bool merge_latest(struct leaf *leaf, const struct latest *state, uint32_t to) {
    struct latest from = *state;
    bool is_new;
    struct latest *last = slots_add(&leaf->state, to, &is_new);
    if (!is_new && last->time == from.time && last->holds != from.holds) return false;
    if (is_new || last->time < from.time) *last = from;
    return true;
}

bool leaf_merge(struct leaf *leaf, uint32_t from, uint32_t to) {
    bool known = true, seen = roaring_bitmap_contains(leaf->seen, from);
    if (seen) roaring_bitmap_add(leaf->seen, to);
    if (seen && leaf->kind == LEAF_HISTORY) known = false;
    const void *state = slots_find(&leaf->state, from);
    if (state && leaf->kind == LEAF_COUNT) merge_count(leaf, state, to);
    if (state && leaf->kind == LEAF_RECENT) merge_recent(leaf, state, to);
    if (state && leaf->kind == LEAF_TRAIT) known = merge_latest(leaf, state, to);
    if (state && leaf->kind == LEAF_SUM) known = false; /* the test is the machine's */
    leaf_forget(leaf, from);
    return known;
}

bool leaf_answer(struct leaf *leaf, uint32_t customer, bool holds) {
    return holds ? roaring_bitmap_add_checked(leaf->holds, customer)
                 : roaring_bitmap_remove_checked(leaf->holds, customer);
}
