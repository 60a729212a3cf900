/* What tracks keep of customers, and what leaves say of it: see track.h. */
#include <string.h>

#include "query/language/parse.h"
#include "query/language/query_print.h"
#include "query/live/track_int.h"

/* ---- life ---- */

static uint32_t need_of(const struct leaf *leaf) {
    const struct query_cond *c = leaf->cond;
    return c->max == QUERY_NO_MAX ? c->min : c->max + 1;
}

static enum track_kind kind_of(const struct leaf *leaf) {
    const struct query_cond *c = leaf->cond;
    bool moving = leaf_moves(leaf);
    switch (c->kind) {
    case QUERY_COND_IDENTIFIED:
    case QUERY_COND_ANONYMOUS: return TRACK_IDENTITY;
    case QUERY_COND_TRAIT: return TRACK_TRAIT;
    case QUERY_COND_FOLLOWED: return moving ? TRACK_HISTORY : TRACK_FOLLOWED;
    case QUERY_COND_MEASURE:
        if (c->measure.agg != QUERY_SUM) return TRACK_HISTORY;
        return moving ? TRACK_WINDOW : TRACK_SUM;
    case QUERY_COND_DID: {
        uint32_t need = need_of(leaf);
        if (!moving) return need < UINT32_MAX ? TRACK_COUNT : TRACK_HISTORY;
        return need > 0 && need <= TRACK_MOST_TIMES ? TRACK_RECENT : TRACK_HISTORY;
    }
    default: return TRACK_HISTORY;
    }
}

/* The leaf's condition without what other leaves of the track may say instead. */
static int take_key(struct track *t, const struct leaf *leaf, struct keel_error *err) {
    struct query_cond cond = *leaf->cond;
    struct query_value zero = {.type = QUERY_VALUE_NUMBER};
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    if (t->kind == TRACK_COUNT || t->kind == TRACK_RECENT) {
        cond.min = 1;
        cond.max = QUERY_NO_MAX;
    }
    if (t->kind == TRACK_RECENT) cond.range = (struct query_range){.kind = QUERY_RANGE_ALL};
    if (t->kind == TRACK_SUM || t->kind == TRACK_WINDOW)
        cond.test = (struct query_test){QUERY_GT, &zero, 1};
    int code = buf_add_text(&text, "count customers where ");
    if (code == 0) code = query_print_cond(&cond, &text);
    if (code == 0) code = query_parse(buf_str(&text), &t->arena, &t->asked, NULL, err);
    if (code == 0) t->cond = t->asked->where;
    buf_release(&text);
    return code;
}

static uint32_t state_bytes(const struct track *t) {
    switch (t->kind) {
    case TRACK_RECENT: return (uint32_t)(sizeof(struct recent) + t->room * sizeof(int64_t));
    case TRACK_TRAIT: return sizeof(struct latest);
    case TRACK_SUM: return sizeof(struct sum);
    case TRACK_FOLLOWED: return sizeof(struct pair);
    case TRACK_WINDOW: return sizeof(struct window);
    case TRACK_HISTORY: return sizeof(struct told);
    default: return sizeof(uint32_t);
    }
}

/* RECENT: in powers of two, so that leaves that come later find room more often. */
static void make_room(struct track *t, uint32_t need) {
    uint32_t room = need <= 1 ? 1 : UINT32_MAX;
    if (t->kind == TRACK_RECENT)
        for (room = 1; room < need;) room *= 2;
    if (room <= t->room) return;
    t->room = room;
    slots_release(&t->state);
    slots_init(&t->state, state_bytes(t));
}

int track_new(const struct leaf *leaf, struct track **out, struct keel_error *err) {
    struct track *t = k_zalloc(sizeof *t);
    arena_init(&t->arena, (size_t)QUERY_ARENA_BYTES * 2);
    t->kind = kind_of(leaf);
    int code = take_key(t, leaf, err);
    if (code < 0) {
        track_free(t);
        return code;
    }
    t->fresh = true;
    slots_init(&t->state, state_bytes(t));
    if (t->kind == TRACK_COUNT || t->kind == TRACK_RECENT) make_room(t, need_of(leaf));
    *out = t;
    return 0;
}

void track_free(struct track *t) {
    if (!t) return;
    slots_release(&t->state);
    k_free(t->leaves);
    arena_release(&t->arena);
    k_free(t);
}

/* What a count of one knows lies in the rows: it is not passed on from leaf to leaf. */
bool track_serves(const struct track *t, bool empty, const struct track *wanted) {
    if (t->kind != wanted->kind || !str_eq(t->asked->text, wanted->asked->text)) return false;
    return empty || (t->room >= wanted->room && !(t->kind == TRACK_COUNT && t->room == 1));
}

void track_join(struct track *t, struct leaf *leaf) {
    if (t->n_leaves == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 4;
        t->leaves = k_realloc(t->leaves, t->cap * sizeof(struct leaf *));
    }
    t->leaves[t->n_leaves++] = leaf;
    leaf->track = t;
    if (t->kind != TRACK_COUNT && t->kind != TRACK_RECENT) return;
    make_room(t, need_of(leaf));
    if (need_of(leaf) > t->need) t->need = need_of(leaf);
}

void track_leave(struct track *t, struct leaf *leaf) {
    uint32_t i = 0;
    while (t->leaves[i] != leaf) i++;
    t->leaves[i] = t->leaves[--t->n_leaves];
    t->need = 0;
    if (t->kind != TRACK_COUNT && t->kind != TRACK_RECENT) return;
    for (i = 0; i < t->n_leaves; i++)
        if (need_of(t->leaves[i]) > t->need) t->need = need_of(t->leaves[i]);
}

void track_clear(struct track *t) { slots_release(&t->state); }

uint64_t track_bytes(const struct track *t) { return t->state.bytes; }

/* ---- time ---- */

/* The track's customer is to be woken not later than that. */
static void schedule(struct track *t, struct track_sink *sink, uint32_t customer, int64_t *timer,
                     int64_t turn_ms) {
    if (turn_ms == INT64_MAX || (*timer > sink->now_ms && *timer <= turn_ms)) return;
    *timer = turn_ms;
    wheel_add(sink->wheel, (struct timer){turn_ms, t->index, customer});
}

/* The k-th newest, from 1 on. */
static int64_t time_of(const struct recent *r, uint32_t k) {
    return k <= r->n ? r->times[k - 1] : INT64_MIN;
}

/* Times are in order and all past: so many are in the range if the so-manieth newest is. */
static bool recent_holds(const struct leaf *leaf, const struct recent *r) {
    const struct query_cond *c = leaf->cond;
    if (c->min > 0 && time_of(r, c->min) < leaf->ahead.from_ms) return false;
    if (c->min > 0 && c->min > r->n) return false;
    return c->max == QUERY_NO_MAX || c->max >= r->n || time_of(r, c->max + 1) < leaf->ahead.from_ms;
}

static bool may_return(const struct ahead *a, int64_t t) {
    return t < a->from_ms && t >= a->back_ms;
}

/* Whether time may bring back what has left the range. */
static bool recent_returns(const struct leaf *leaf, const struct recent *r) {
    const struct query_cond *c = leaf->cond;
    return (c->min > 0 && may_return(&leaf->ahead, time_of(r, c->min))) ||
           (c->max != QUERY_NO_MAX && may_return(&leaf->ahead, time_of(r, c->max + 1)));
}

static int64_t recent_turn(const struct leaf *leaf, const struct recent *r) {
    const struct query_cond *c = leaf->cond;
    int64_t turn = INT64_MAX, other = INT64_MAX;
    if (c->min > 0 && c->min <= r->n) turn = ahead_turn(&leaf->ahead, r->times[c->min - 1]);
    if (c->max < r->n) other = ahead_turn(&leaf->ahead, r->times[c->max]);
    return other < turn ? other : turn;
}

bool track_note_time(const struct track *t, struct recent *r, int64_t time) {
    uint32_t i = r->n;
    if (i == t->room) {
        if (i == 0 || r->times[i - 1] >= time) return false;
        i--;
    } else {
        r->n++;
    }
    for (; i > 0 && r->times[i - 1] < time; i--) r->times[i] = r->times[i - 1];
    r->times[i] = time;
    return true;
}

/* What is older counts no more, and will not again. */
static int64_t window_start(const struct track *t) {
    const struct ahead *a = &t->leaves[0]->ahead;
    return a->back_ms < a->from_ms ? a->back_ms : a->from_ms;
}

void track_note_value(const struct track *t, struct window *w, int64_t time, double value) {
    int64_t start = window_start(t);
    if (time < start) return;
    while (w->n > 0 && w->items[w->n - 1].time < start) w->n--;
    if (w->n == TRACK_MOST_VALUES) {
        int64_t oldest = w->items[w->n - 1].time, lost = oldest < time ? oldest : time;
        if (lost > w->lost_ms) w->lost_ms = lost;
        if (time <= oldest) return;
        w->n--;
    }
    uint32_t i = w->n++;
    for (; i > 0 && w->items[i - 1].time < time; i--) w->items[i] = w->items[i - 1];
    w->items[i].time = time;
    w->items[i].value = value;
}

/* The oldest value in the range is the first to leave it; any before it may come back. */
static int64_t window_turn(const struct ahead *a, const struct window *w) {
    int64_t turn = INT64_MAX;
    for (uint32_t i = w->n; i-- > 0;) {
        int64_t next = ahead_turn(a, w->items[i].time);
        if (next < turn) turn = next;
        if (w->items[i].time >= a->from_ms) break;
    }
    return turn;
}

/* ---- what leaves say ---- */

static bool count_passes(const struct leaf *leaf, uint32_t n) {
    return n >= leaf->cond->min && n <= leaf->cond->max;
}

bool track_counted(const struct track *t, const struct track_sink *sink, uint32_t customer) {
    for (uint32_t i = 0; i < t->n_leaves; i++) {
        const struct leaf *leaf = t->leaves[i];
        if (need_of(leaf) == 1)
            return truths_say(sink->truths, customer, leaf->bit) != leaf->otherwise;
    }
    return true; /* nobody asks */
}

void track_say_count(struct track *t, struct track_sink *sink, uint32_t customer, uint32_t n) {
    for (uint32_t i = 0; i < t->n_leaves; i++)
        (void)truths_put(sink->truths, customer, t->leaves[i]->bit, count_passes(t->leaves[i], n));
}

/* Newer times move all turns away, so those of leaves that say the same need no look. */
void track_say_recent(struct track *t, struct track_sink *sink, uint32_t customer,
                      struct recent *r) {
    bool due = r->timer_ms != 0 && r->timer_ms <= sink->now_ms;
    int64_t turn = INT64_MAX;
    if (due) r->timer_ms = 0;
    for (uint32_t i = 0; i < t->n_leaves; i++) {
        const struct leaf *leaf = t->leaves[i];
        bool look = truths_put(sink->truths, customer, leaf->bit, recent_holds(leaf, r));
        if (!look && !due && !recent_returns(leaf, r)) continue;
        int64_t next = recent_turn(leaf, r);
        if (next < turn) turn = next;
    }
    schedule(t, sink, customer, &r->timer_ms, turn);
}

static void say_value(const struct track *t, struct track_sink *sink, uint32_t customer,
                      const struct datum *value) {
    for (uint32_t i = 0; i < t->n_leaves; i++)
        (void)truths_put(sink->truths, customer, t->leaves[i]->bit,
                         test_datum(&t->leaves[i]->test, value, &sink->scratch));
}

void track_say_sum(struct track *t, struct track_sink *sink, uint32_t customer,
                   const struct sum *s) {
    struct datum value = datum_number(sum_value(s));
    say_value(t, sink, customer, &value);
}

void track_say_window(struct track *t, struct track_sink *sink, uint32_t customer,
                      struct window *w) {
    const struct ahead *ahead = &t->leaves[0]->ahead; /* all are over this range */
    struct sum sum = {0};
    if (w->timer_ms <= sink->now_ms) w->timer_ms = 0;
    if (w->lost_ms >= window_start(t)) {
        sink->ask(sink->ctx, t, customer);
        return;
    }
    for (uint32_t i = 0; i < w->n && w->items[i].time >= ahead->from_ms; i++)
        sum_add(&sum, w->items[i].value);
    struct datum value = datum_number(sum_value(&sum));
    say_value(t, sink, customer, &value);
    schedule(t, sink, customer, &w->timer_ms, window_turn(ahead, w));
}

void track_say_pair(struct track *t, struct track_sink *sink, uint32_t customer,
                    const struct pair *p) {
    bool fulfilled = p->flags & PAIR_FULFILLED;
    bool holds = t->cond->negated ? (p->flags & PAIR_HAS_A) && !fulfilled : fulfilled;
    (void)truths_put(sink->truths, customer, track_only_leaf(t)->bit, holds);
}

/* `all`: whatever his timer was. */
static void say(struct track *t, struct track_sink *sink, uint32_t customer, void *state,
                bool all) {
    switch (t->kind) {
    case TRACK_COUNT: track_say_count(t, sink, customer, *(uint32_t *)state); return;
    case TRACK_RECENT:
        if (all) ((struct recent *)state)->timer_ms = INT64_MIN;
        track_say_recent(t, sink, customer, state);
        return;
    case TRACK_SUM: track_say_sum(t, sink, customer, state); return;
    case TRACK_TRAIT:
        (void)truths_put(sink->truths, customer, track_only_leaf(t)->bit,
                         ((struct latest *)state)->holds);
        return;
    case TRACK_FOLLOWED: track_say_pair(t, sink, customer, state); return;
    case TRACK_WINDOW:
        if (all) ((struct window *)state)->timer_ms = 0;
        track_say_window(t, sink, customer, state);
        return;
    case TRACK_HISTORY: {
        int64_t *timer = &((struct told *)state)->timer_ms;
        if (all && *timer) wheel_add(sink->wheel, (struct timer){*timer, t->index, customer});
        return;
    }
    case TRACK_IDENTITY: return;
    }
}

void track_refresh(struct track *t, struct track_sink *sink, uint32_t first, uint32_t n) {
    uint32_t customer, end = first + n;
    for (; slots_next(&t->state, first, &customer) && customer < end; first = customer + 1)
        say(t, sink, customer, slots_find(&t->state, customer), true);
}

void track_drop_range(struct track *t, uint32_t first, uint32_t n) {
    uint32_t customer, end = first + n;
    for (; slots_next(&t->state, first, &customer) && customer < end; first = customer + 1)
        slots_remove(&t->state, customer);
}

void track_wake(struct track *t, struct track_sink *sink, uint32_t customer, int64_t at_ms) {
    void *state = slots_find(&t->state, customer);
    if (!state) return;
    int64_t *timer = state;      /* the first of what is kept, by kinds that have timers */
    if (*timer != at_ms) return; /* he has another one */
    switch (t->kind) {
    case TRACK_RECENT: track_say_recent(t, sink, customer, state); return;
    case TRACK_WINDOW: track_say_window(t, sink, customer, state); return;
    default: *timer = 0; sink->ask(sink->ctx, t, customer);
    }
}

void track_forget(struct track *t, struct track_sink *sink, uint32_t customer) {
    slots_remove(&t->state, customer);
    for (uint32_t i = 0; i < t->n_leaves && t->kind != TRACK_IDENTITY; i++)
        (void)truths_put(sink->truths, customer, t->leaves[i]->bit, t->leaves[i]->otherwise);
}

/* ---- merges ---- */

static void merge_recent(struct track *t, const struct recent *from, uint32_t to) {
    int64_t times[TRACK_MOST_TIMES];
    uint32_t n = from->n;
    memcpy(times, from->times, n * sizeof *times); /* adding may move the table */
    bool is_new;
    struct recent *into = slots_add(&t->state, to, &is_new);
    for (uint32_t i = 0; i < n; i++) (void)track_note_time(t, into, times[i]);
}

/* False: only the timeline can tell. */
static bool merge_latest(struct track *t, const struct latest *state, uint32_t to) {
    struct latest from = *state;
    bool is_new;
    struct latest *last = slots_add(&t->state, to, &is_new);
    if (!is_new && last->time == from.time && last->holds != from.holds) return false;
    if (is_new || last->time < from.time) *last = from;
    return true;
}

static bool merge_state(struct track *t, const void *state, uint32_t to) {
    bool is_new;
    switch (t->kind) {
    case TRACK_COUNT: {
        uint32_t n = *(const uint32_t *)state, *total = slots_add(&t->state, to, &is_new);
        *total += n;
        return true;
    }
    case TRACK_RECENT: merge_recent(t, state, to); return true;
    case TRACK_SUM: {
        struct sum from = *(const struct sum *)state;
        sum_merge(slots_add(&t->state, to, &is_new), &from);
        return true;
    }
    case TRACK_TRAIT: return merge_latest(t, state, to);
    case TRACK_WINDOW: {
        struct window from = *(const struct window *)state,
                      *into = slots_add(&t->state, to, &is_new);
        if (is_new || from.lost_ms > into->lost_ms) into->lost_ms = from.lost_ms;
        for (uint32_t i = 0; i < from.n; i++)
            track_note_value(t, into, from.items[i].time, from.items[i].value);
        return true;
    }
    default: (void)slots_add(&t->state, to, &is_new); return false;
    }
}

void track_merge(struct track *t, struct track_sink *sink, uint32_t from, uint32_t to) {
    if (t->kind == TRACK_COUNT && t->room == 1) {
        if (track_counted(t, sink, from)) track_say_count(t, sink, to, 1);
    } else {
        const void *state = slots_find(&t->state, from);
        if (state && merge_state(t, state, to))
            say(t, sink, to, slots_find(&t->state, to), true);
        else if (state)
            sink->ask(sink->ctx, t, to);
    }
    track_forget(t, sink, from);
}

/* ---- answers ---- */

bool track_has(const struct track *t, uint32_t customer) {
    return slots_find(&t->state, customer) != NULL;
}

void track_answer(struct track *t, struct track_sink *sink, uint32_t customer, bool holds,
                  const struct datum *sum, int64_t turn_ms) {
    int64_t *timer = slots_find(&t->state, customer);
    if (t->kind == TRACK_WINDOW)
        say_value(t, sink, customer, sum);
    else
        (void)truths_put(sink->truths, customer, track_only_leaf(t)->bit, holds);
    schedule(t, sink, customer, timer, turn_ms);
}
