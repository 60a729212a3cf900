/* The machine that feeds a track: see track.h. */
#include "query/live/track_int.h"

struct track_machine {
    struct machine machine;
    struct track *track;
    struct track_sink *sink;
    struct match matches[TRACK_MOST_MATCHES];
    uint32_t n_matches;
    struct span span;   /* COUNT, SUM, FOLLOWED: of the events that count */
    struct field field; /* TRAIT, SUM, WINDOW */
    int64_t within_ms;  /* FOLLOWED */
};

struct track_state {
    const struct track_machine *m;
    struct worker *worker;
    struct field_reader reader; /* TRAIT */
    struct dict dict;
    struct flat flat; /* SUM, WINDOW */
};

enum { DICT_STALE = 1 << 16 }; /* values of a trait after which its dictionary starts over */
static const struct span ALWAYS = {INT64_MIN, INT64_MAX};

/* ---- feeding ---- */

static bool counts(const struct track_machine *m, int64_t t) {
    return t < m->sink->now_ms && t >= m->span.from_ms && t < m->span.to_ms;
}

static void feed_count(const struct track_machine *m, uint32_t customer) {
    struct track *t = m->track;
    if (t->room == 1) {
        if (!track_counted(t, m->sink, customer)) track_say_count(t, m->sink, customer, 1);
        return;
    }
    bool is_new;
    uint32_t *n = slots_add(&t->state, customer, &is_new);
    if (++*n <= t->need && !m->sink->filling) track_say_count(t, m->sink, customer, *n);
}

static void feed_recent(const struct track_machine *m, uint32_t customer, int64_t time) {
    bool is_new;
    struct recent *r = slots_add(&m->track->state, customer, &is_new);
    if (track_note_time(m->track, r, time) && !m->sink->filling)
        track_say_recent(m->track, m->sink, customer, r);
}

/* Until the timeline is asked it says what it said. */
static void feed_history(const struct track_machine *m, uint32_t customer) {
    bool is_new;
    (void)slots_add(&m->track->state, customer, &is_new);
    if (!m->sink->filling) m->sink->ask(m->sink->ctx, m->track, customer);
}

static int feed_trait(struct track_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                      struct keel_error *err) {
    struct track *track = s->m->track;
    struct track_sink *sink = s->m->sink;
    const struct leaf *leaf = track_only_leaf(track);
    uint32_t ids[CHUNK_ROWS];
    TRY(field_ids(&s->reader, f, rows, n, ids, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t customer = f->customer[rows[k]];
        int64_t t = f->time[rows[k]];
        if (!ids[k] || t >= sink->now_ms) continue;
        const struct datum *value = dict_get(&s->dict, ids[k]);
        bool is_new, holds = test_datum(&leaf->test, value, &s->worker->scratch);
        struct latest *last = slots_add(&track->state, customer, &is_new);
        if (!is_new && t == last->time && !sink->rebuilding && !sink->filling)
            sink->ask(sink->ctx, track, customer);
        if (!is_new && t < last->time) continue;
        *last = (struct latest){t, holds};
        if (!sink->filling) (void)truths_put(sink->truths, customer, leaf->bit, holds);
    }
    return 0;
}

/* Exact and free of order (sums.h), so it is what a query adds up. */
static void feed_sum(const struct track_machine *m, uint32_t customer, double value) {
    bool is_new;
    struct sum *sum = slots_add(&m->track->state, customer, &is_new);
    sum_add(sum, value);
    if (!m->sink->filling) track_say_sum(m->track, m->sink, customer, sum);
}

static void feed_window(const struct track_machine *m, uint32_t customer, int64_t time,
                        double value) {
    bool is_new;
    struct window *w = slots_add(&m->track->state, customer, &is_new);
    if (is_new) w->lost_ms = INT64_MIN;
    track_note_value(m->track, w, time, value);
    if (!m->sink->filling) track_say_window(m->track, m->sink, customer, w);
}

static int feed_numbers(struct track_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                        struct keel_error *err) {
    struct track *track = s->m->track;
    TRY(field_flat_numbers(&s->m->field, f, rows, n, &s->flat, err));
    for (uint32_t k = 0; k < s->flat.n; k++) {
        uint16_t row = rows[s->flat.at[k]];
        if (!counts(s->m, f->time[row])) continue;
        if (track->kind == TRACK_SUM)
            feed_sum(s->m, f->customer[row], s->flat.number[k]);
        else
            feed_window(s->m, f->customer[row], f->time[row], s->flat.number[k]);
    }
    return 0;
}

/* As an account's (account.c): equal times count in any order, and an event never follows itself.
 * What comes late is for the timeline. */
static void feed_pair(const struct track_machine *m, uint32_t customer, int64_t t, bool a, bool b) {
    struct track_sink *sink = m->sink;
    bool is_new;
    struct pair *p = slots_add(&m->track->state, customer, &is_new);
    bool had_a = p->flags & PAIR_HAS_A, had_b = p->flags & PAIR_HAS_B;
    if ((had_a && t < p->last_a) || (had_b && t < p->last_b)) {
        sink->ask(sink->ctx, m->track, customer);
        return;
    }
    if (b && had_a && t - p->last_a <= m->within_ms) p->flags |= PAIR_FULFILLED;
    if (a) {
        bool b_at_once = had_b && p->last_b == t; /* of another event: this one is noted below */
        if (m->track->cond->negated) p->flags &= (uint8_t)~PAIR_FULFILLED;
        p->flags |= (uint8_t)(PAIR_HAS_A | (b_at_once ? PAIR_FULFILLED : 0));
        p->last_a = t;
    }
    if (b) {
        p->flags |= PAIR_HAS_B;
        p->last_b = t;
    }
    if (!sink->filling) track_say_pair(m->track, sink, customer, p);
}

static int feed_pairs(struct track_state *s, struct feed *f, struct keel_error *err) {
    uint64_t a[BITS_WORDS], b[BITS_WORDS], both[BITS_WORDS];
    TRY(match_rows(&s->m->matches[0], s->worker, f, a, err));
    TRY(match_rows(&s->m->matches[1], s->worker, f, b, err));
    for (uint32_t i = 0; i < BITS_WORDS; i++) both[i] = a[i] | b[i];
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(both, rows);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = rows[k];
        if (counts(s->m, f->time[row]))
            feed_pair(s->m, f->customer[row], f->time[row], bit_get(a, row), bit_get(b, row));
    }
    return 0;
}

static int feed_match(struct track_state *s, struct feed *f, const struct match *match,
                      struct keel_error *err) {
    uint16_t rows[CHUNK_ROWS];
    uint32_t n;
    const struct track_machine *m = s->m;
    TRY(match_index(match, s->worker, f, rows, &n, err));
    if (n == 0) return 0;
    if (m->track->kind == TRACK_TRAIT) return feed_trait(s, f, rows, n, err);
    if (m->track->kind == TRACK_SUM || m->track->kind == TRACK_WINDOW)
        return feed_numbers(s, f, rows, n, err);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t customer = f->customer[rows[k]];
        int64_t t = f->time[rows[k]];
        if (!counts(m, t)) continue;
        if (m->track->kind == TRACK_COUNT)
            feed_count(m, customer);
        else if (m->track->kind == TRACK_RECENT)
            feed_recent(m, customer, t);
        else
            feed_history(m, customer);
    }
    return 0;
}

static int track_feed(void *state, struct feed *f, struct keel_error *err) {
    struct track_state *s = state;
    const struct track *track = s->m->track;
    const struct track_sink *sink = s->m->sink;
    if (sink->only && sink->only != track) return 0;
    if (sink->filling && !track->fresh && !track->filling) return 0;
    if (track->kind == TRACK_FOLLOWED) TRY(feed_pairs(s, f, err));
    for (uint32_t i = 0; i < s->m->n_matches && track->kind != TRACK_FOLLOWED; i++)
        TRY(feed_match(s, f, &s->m->matches[i], err));
    if (s->worker->scratch.too_hard)
        FAIL(err, LIMIT, "a regular expression takes too long on some value: make it simpler");
    return 0;
}

/* ---- the machine ---- */

static int track_open(const struct machine *m, struct worker *w, void *state,
                      struct keel_error *err) {
    (void)err;
    struct track_state *s = state;
    s->m = (const struct track_machine *)m;
    s->worker = w;
    dict_init(&s->dict);
    field_reader_init(&s->reader, &s->m->field, w, &s->dict);
    return 0;
}

static void track_close(void *state) {
    struct track_state *s = state;
    field_reader_release(&s->reader);
    dict_release(&s->dict);
    flat_release(&s->flat);
}

static int track_begin(void *state, struct range r, struct keel_error *err) {
    (void)r, (void)err;
    struct track_state *s = state;
    if (s->dict.count < DICT_STALE) return 0;
    track_close(state);
    dict_init(&s->dict);
    field_reader_init(&s->reader, &s->m->field, s->worker, &s->dict);
    return 0;
}

static int track_end(void *state, struct range r, struct keel_error *err) {
    (void)state, (void)r, (void)err;
    return 0;
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct track_state),
    .open = track_open,
    .begin = track_begin,
    .feed = track_feed,
    .end = track_end,
    .close = track_close,
};

static int add_match(struct plan *p, struct track_machine *m, const struct query_event *event,
                     struct keel_error *err) {
    K_ASSERT_OP(m->n_matches, <, TRACK_MOST_MATCHES);
    struct match *match = &m->matches[m->n_matches++];
    TRY(match_compile(p, event, ALWAYS, match, err));
    match_needs(p, match, &m->machine);
    return 0;
}

static int add_trait(struct plan *p, struct track_machine *m, struct keel_error *err) {
    struct query_event identify = {.kind = QUERY_EVENT_IDENTIFY};
    struct query_prop prop = m->track->cond->trait;
    prop.scope = QUERY_SCOPE_PROPERTY;
    TRY(add_match(p, m, &identify, err));
    TRY(field_resolve(p, &prop, &m->matches[0].events, &m->field, err));
    field_needs(p, &m->field, &m->machine);
    m->machine.ordered = true;
    return 0;
}

static int add_funnel(struct plan *p, struct track_machine *m, struct keel_error *err) {
    const struct query_funnel *f = m->track->cond->funnel;
    for (uint32_t i = 0; i < f->n_steps; i++) TRY(add_match(p, m, &f->steps[i], err));
    for (uint32_t i = 0; i < f->n_without; i++) TRY(add_match(p, m, &f->without[i], err));
    return 0;
}

static int add_measure(struct plan *p, struct track_machine *m, struct keel_error *err) {
    const struct query_measure *measure = &m->track->cond->measure;
    TRY(add_match(p, m, &measure->event, err));
    if (m->track->kind == TRACK_HISTORY) return 0;
    if (m->track->kind == TRACK_SUM) m->span = range_span(p->zone, &measure->range, INT64_MAX);
    TRY(field_resolve(p, &measure->prop, &m->matches[0].events, &m->field, err));
    field_needs(p, &m->field, &m->machine);
    return 0;
}

static int add_followed(struct plan *p, struct track_machine *m, struct keel_error *err) {
    const struct query_cond *c = m->track->cond;
    TRY(add_match(p, m, &c->event, err));
    TRY(add_match(p, m, &c->then, err));
    if (m->track->kind != TRACK_FOLLOWED) return 0;
    m->span = range_span(p->zone, &c->range, INT64_MAX);
    m->within_ms = duration_ms(c->within);
    m->machine.ordered = true;
    return 0;
}

static int compile(struct plan *p, struct track_machine *m, struct keel_error *err) {
    const struct query_cond *c = m->track->cond;
    m->span = ALWAYS;
    switch (c->kind) {
    case QUERY_COND_DID:
        if (m->track->kind == TRACK_COUNT) m->span = range_span(p->zone, &c->range, INT64_MAX);
        return add_match(p, m, &c->event, err);
    case QUERY_COND_FOLLOWED: return add_followed(p, m, err);
    case QUERY_COND_FUNNEL: return add_funnel(p, m, err);
    case QUERY_COND_MEASURE: return add_measure(p, m, err);
    case QUERY_COND_TRAIT: return add_trait(p, m, err);
    default: return 0;
    }
}

int track_machine(struct plan *p, struct track *t, struct track_sink *sink,
                  struct keel_error *err) {
    struct track_machine *m = arena_zalloc(&p->arena, sizeof *m);
    m->track = t;
    m->sink = sink;
    m->machine = (struct machine){.ops = &OPS, .span = {INT64_MAX, INT64_MIN}};
    TRY(plan_add(p, &m->machine, err));
    p->provisional = 0;
    TRY(compile(p, m, err));
    if (t->compiled && t->provisional != p->provisional) t->fresh = true;
    t->compiled = true;
    t->provisional = p->provisional;
    return 0;
}
