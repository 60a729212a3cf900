/* Asking timelines, where what tracks keep cannot tell: step 4 of live.h. */
#include "query/live/live_int.h"
#include "query/who.h"

static const struct query_range *range_of(const struct query_cond *c) {
    return c->kind == QUERY_COND_MEASURE ? &c->measure.range : &c->range;
}

static struct query_time zoned(int64_t ms) {
    int64_t day = ms / MS_PER_DAY, in_day = ms % MS_PER_DAY;
    int year, month, day_of_month;
    civil_from_day((int32_t)day, &year, &month, &day_of_month);
    return (struct query_time){.kind = QUERY_TIME_ZONED,
                               .year = (int16_t)year,
                               .month = (uint8_t)month,
                               .day = (uint8_t)day_of_month,
                               .hour = (uint8_t)(in_day / MS_PER_HOUR),
                               .minute = (uint8_t)(in_day / MS_PER_MINUTE % 60),
                               .second = (uint8_t)(in_day / MS_PER_SECOND % 60),
                               .ms = (int16_t)(in_day % MS_PER_SECOND)};
}

/* What decides when the answer may change by itself: the oldest events in the range, and the newest
 * ones in the margin from which they may come back. Behind them the sum of a WINDOW. */
struct turns {
    struct query_measure measures[WHO_MOST_MEASURES];
    uint32_t n, oldest; /* the first `oldest` are those in the range */
    uint32_t wanted;    /* n, or one more: the sum */
};

static void add_turn(struct turns *t, enum query_agg agg, const struct query_event *event,
                     const struct query_range *range) {
    t->measures[t->n++] =
        (struct query_measure){.agg = agg,
                               .event = *event,
                               .has_prop = true,
                               .prop = {.scope = QUERY_SCOPE_EVENT, .path = STR("time")},
                               .range = *range};
}

static void add_turns(struct turns *t, enum query_agg agg, const struct query_cond *c,
                      const struct query_range *range) {
    if (c->kind == QUERY_COND_MEASURE) add_turn(t, agg, &c->measure.event, range);
    if (c->kind == QUERY_COND_DID || c->kind == QUERY_COND_FOLLOWED)
        add_turn(t, agg, &c->event, range);
    if (c->kind == QUERY_COND_FOLLOWED) add_turn(t, agg, &c->then, range);
    if (c->kind != QUERY_COND_FUNNEL) return;
    for (uint32_t i = 0; i < c->funnel->n_steps; i++) add_turn(t, agg, &c->funnel->steps[i], range);
    for (uint32_t i = 0; i < c->funnel->n_without; i++)
        add_turn(t, agg, &c->funnel->without[i], range);
}

static void find_moments(const struct live *l, const struct track *track, struct turns *t) {
    const struct query_range *range = range_of(track->cond);
    t->n = t->oldest = 0;
    if (range->kind != QUERY_RANGE_LAST) return;
    add_turns(t, QUERY_MIN, track->cond, range);
    t->oldest = t->n;
    struct span margin = range_margin(db_zone(l->db), range, l->now_ms);
    if (span_empty(margin)) return;
    struct query_range before = {.kind = QUERY_RANGE_SPAN,
                                 .has_from = true,
                                 .has_to = true,
                                 .from = zoned(margin.from_ms),
                                 .to = zoned(margin.to_ms)};
    add_turns(t, QUERY_MAX, track->cond, &before);
}

static void find_turns(const struct live *l, const struct track *track, struct turns *t) {
    find_moments(l, track, t);
    t->wanted = t->n;
    if (track->kind == TRACK_WINDOW) t->measures[t->wanted++] = track->cond->measure;
}

struct told_ctx {
    struct live *live;
    struct track *track;
    const struct turns *turns;
};

static void on_told(void *ctx, const struct who_answer *answer) {
    const struct told_ctx *t = ctx;
    struct live *l = t->live;
    const struct ahead *ahead = &t->track->leaves[0]->ahead;
    if (!track_has(t->track, answer->customer)) return;
    l->stats.asked++;
    int64_t turn = INT64_MAX, next;
    for (uint32_t i = 0; i < t->turns->n; i++) {
        if (answer->values[i].type != DATUM_TIME) continue;
        next = i < t->turns->oldest ? ahead_turn(ahead, answer->values[i].time_ms)
                                    : ahead_stretch_end(ahead);
        if (next < turn) turn = next;
    }
    const struct datum *sum = t->turns->wanted > t->turns->n ? &answer->values[t->turns->n] : NULL;
    track_answer(t->track, &l->sink, answer->customer, answer->holds, sum, turn);
}

static struct who question(const struct live *l, const struct track *t, const struct turns *turns) {
    return (struct who){.at_ms = l->now_ms,
                        .where = t->cond,
                        .measures = turns->measures,
                        .n_measures = turns->wanted};
}

int live_ask_range(struct live *l, const struct snapshot *snap, struct track *t, struct range r,
                   struct keel_error *err) {
    struct turns *turns = k_alloc(sizeof *turns);
    find_turns(l, t, turns);
    struct told_ctx ctx = {l, t, turns};
    struct who who = question(l, t, turns);
    int code = who_ask_range(l->db, snap, &who, r.first, r.count, on_told, &ctx, err);
    k_free(turns);
    return code;
}

/* notes[0..n): (track, customer) of one track. */
static int ask_some(struct live *l, const struct snapshot *snap, const uint64_t *notes, size_t n,
                    struct keel_error *err) {
    struct track *t = l->tracks[notes[0] >> 32];
    struct turns *turns = k_alloc(sizeof *turns);
    uint32_t *customers = k_alloc_array(n, sizeof *customers), roots = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t customer = (uint32_t)notes[i];
        if (redirect_root(&snap->redirects, customer) == customer) customers[roots++] = customer;
    }
    find_turns(l, t, turns);
    struct told_ctx ctx = {l, t, turns};
    struct who who = question(l, t, turns);
    int code = who_ask(l->db, snap, &who, customers, roots, on_told, &ctx, err);
    k_free(customers);
    k_free(turns);
    return code;
}

int live_ask_asked(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    notes_sort(&l->asked);
    for (size_t i = 0, end; i < l->asked.n; i = end) {
        uint64_t track = l->asked.items[i] >> 32;
        for (end = i; end < l->asked.n && l->asked.items[end] >> 32 == track;) end++;
        TRY(ask_some(l, snap, l->asked.items + i, end - i, err));
    }
    return 0;
}
