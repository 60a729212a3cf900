/* Bringing the leaves of live segments to a new moment: steps 1 to 4 of live.h. */
#include <roaring/roaring.h>

#include "query/live/live_int.h"
#include "query/who.h"

/* ---- plans ---- */

/* Sees every event: who is new, and what is of the future. */
struct arrivals {
    struct machine machine;
    struct live *live;
};

static int arrivals_open(const struct machine *m, struct worker *w, void *state,
                         struct keel_error *err) {
    (void)w, (void)err;
    *(const struct machine **)state = m;
    return 0;
}

static int nothing_to_do(void *state, struct range r, struct keel_error *err) {
    (void)state, (void)r, (void)err;
    return 0;
}

static void close_nothing(void *state) { (void)state; }

static int arrivals_feed(void *state, struct feed *f, struct keel_error *err) {
    (void)err;
    struct live *l = (*(const struct arrivals **)state)->live;
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(f->live, rows);
    l->stats.events += n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t customer = f->customer[rows[k]];
        if (f->time[rows[k]] >= l->now_ms) {
            notes_add(&l->future, customer, 0);
            wheel_add(&l->wheel, (struct timer){f->time[rows[k]] + 1, LIVE_FUTURE, customer});
        } else {
            roaring_bitmap_add(l->active, customer);
        }
    }
    return 0;
}

static const struct machine_ops ARRIVALS = {
    .state_bytes = sizeof(const struct machine *),
    .open = arrivals_open,
    .begin = nothing_to_do,
    .feed = arrivals_feed,
    .end = nothing_to_do,
    .close = close_nothing,
};

static int plan_arrivals(struct live *l, struct plan *p, struct keel_error *err) {
    struct arrivals *a = arena_zalloc(&p->arena, sizeof *a);
    a->live = l;
    a->machine =
        (struct machine){.ops = &ARRIVALS, .all_events = true, .span = {INT64_MIN, INT64_MAX}};
    return plan_add(p, &a->machine, err);
}

static void release_group(struct group *g) {
    worker_close(&g->worker);
    if (g->plan) plan_release(g->plan);
    k_free(g->plan);
    *g = (struct group){0};
}

void live_release_groups(struct live *l) {
    for (uint32_t i = 0; i < l->n_groups; i++) release_group(&l->groups[i]);
    k_free(l->groups);
    l->groups = NULL;
    l->n_groups = 0;
    l->compiled = false;
}

static int plan_group(struct live *l, struct plan *p, struct leaf **leaves, uint32_t n,
                      struct keel_error *err) {
    if (!leaves) TRY(plan_arrivals(l, p, err));
    for (uint32_t i = 0; i < n; i++) TRY(leaf_machine(p, leaves[i], &l->sink, err));
    return plan_passes(p, err);
}

/* leaves NULL: the arrivals. What is too much for one plan is halved. */
static int add_group(struct live *l, struct leaf **leaves, uint32_t n, struct keel_error *err) {
    static const struct snapshot
        NOTHING; /* rareness in the store says nothing of what comes next */
    struct group *g = &l->groups[l->n_groups];
    g->plan = k_alloc(sizeof *g->plan);
    plan_init(g->plan, l->db, &NOTHING, NULL, INT64_MAX);
    int code = plan_group(l, g->plan, leaves, n, err);
    if (code == -KEEL_E_LIMIT && n > 1) {
        release_group(g);
        TRY(add_group(l, leaves, n / 2, err));
        return add_group(l, leaves + n / 2, n - n / 2, err);
    }
    l->n_groups++; /* from here on released with all */
    TRY(code);
    g->plan->range_size = 64;
    return worker_open(&g->worker, g->plan, 0, err);
}

int live_compile(struct live *l, struct keel_error *err) {
    struct schema *schema = store_schema(l->store);
    uint32_t streams = schema_streams(schema), columns = schema_columns(schema), n = 0;
    if (l->compiled && streams == l->streams && columns == l->columns) return 0;
    live_release_groups(l);
    l->groups = k_zalloc((l->n_leaves + 1) * sizeof *l->groups);
    struct leaf **fed = k_alloc_array(l->n_leaves + 1, sizeof(struct leaf *));
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && l->leaves[i]->kind != LEAF_IDENTIFIED) fed[n++] = l->leaves[i];
    int code = add_group(l, NULL, 0, err);
    for (uint32_t i = 0; i < n && code == 0; i += LIVE_GROUP)
        code = add_group(l, fed + i, n - i < LIVE_GROUP ? n - i : LIVE_GROUP, err);
    k_free(fed);
    if (code < 0) return code;
    l->compiled = true;
    l->streams = streams;
    l->columns = columns;
    return 0;
}

/* ---- feeding ---- */

/* Rows of a range through all leaves, or without the arrivals. */
static int feed_groups(struct live *l, uint32_t first_group, struct range r,
                       struct keel_error *err) {
    for (uint32_t i = first_group; i < l->n_groups; i++) {
        l->groups[i].worker.range = r;
        TRY(worker_run(&l->groups[i].worker, 0, NULL, err));
    }
    return 0;
}

static int read_from(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    for (uint32_t i = 0; i < l->n_groups; i++) TRY(worker_read(&l->groups[i].worker, snap, err));
    return 0;
}

static void stop_reading(struct live *l) {
    for (uint32_t i = 0; i < l->n_groups; i++) worker_stop_reading(&l->groups[i].worker);
}

static void schedule(struct live *l, struct leaf *leaf, uint32_t customer, int64_t turn) {
    int64_t *timer = turn == INT64_MAX ? NULL : leaf_timer(leaf, customer);
    if (!timer || (*timer > l->now_ms && *timer <= turn)) return; /* he is woken before */
    *timer = turn;
    wheel_add(&l->wheel, (struct timer){turn, leaf->index, customer});
}

static void on_changed(void *ctx, struct leaf *leaf, uint32_t customer) {
    struct live *l = ctx;
    struct live_moment at = live_moment(l);
    notes_add(&l->changed, customer, leaf->index);
    if (leaf->kind == LEAF_RECENT) schedule(l, leaf, customer, leaf_turn(leaf, &at, customer));
}

static void on_kept(void *ctx, struct leaf *leaf, uint32_t customer) {
    struct live *l = ctx;
    struct live_moment at = live_moment(l);
    schedule(l, leaf, customer, leaf_turn(leaf, &at, customer));
}

static void on_ask(void *ctx, struct leaf *leaf, uint32_t customer) {
    struct live *l = ctx;
    if (leaf->kind == LEAF_HISTORY)
        notes_add(&l->asked, leaf->index, customer);
    else
        notes_add(&l->rebuilt, customer, leaf->index);
}

static void on_filled(void *ctx, struct leaf *leaf, uint32_t customer) {
    (void)ctx, (void)leaf, (void)customer;
}

/* Who is new, and who is only of the future. */
static void settle_arrivals(struct live *l) {
    for (size_t i = 0; i < l->future.n; i++) {
        uint32_t customer = (uint32_t)(l->future.items[i] >> 32);
        if (customer >= l->first_new && !roaring_bitmap_contains(l->active, customer))
            roaring_bitmap_add(l->waiting, customer);
    }
    l->future.n = 0;
    roaring_uint32_iterator_t *each = roaring_create_iterator(l->active);
    for (; each->has_value; roaring_advance_uint32_iterator(each)) {
        uint32_t customer = each->current_value;
        bool waited = roaring_bitmap_remove_checked(l->waiting, customer);
        if (waited || customer >= l->first_new) notes_add(&l->changed, customer, LIVE_ANY_LEAF);
    }
    roaring_free_uint32_iterator(each);
}

/* ---- asking timelines ---- */

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
 * ones in the margin from which they may come back. */
struct turns {
    struct query_measure measures[WHO_MOST_MEASURES];
    uint32_t n, oldest; /* the first `oldest` are those in the range */
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

static void find_turns(const struct live *l, const struct leaf *leaf, struct turns *t) {
    const struct query_range *range = range_of(leaf->cond);
    t->n = t->oldest = 0;
    if (range->kind != QUERY_RANGE_LAST) return;
    add_turns(t, QUERY_MIN, leaf->cond, range);
    t->oldest = t->n;
    struct span margin = range_margin(db_zone(l->db), range, l->now_ms);
    if (span_empty(margin)) return;
    struct query_range before = {.kind = QUERY_RANGE_SPAN,
                                 .has_from = true,
                                 .has_to = true,
                                 .from = zoned(margin.from_ms),
                                 .to = zoned(margin.to_ms)};
    add_turns(t, QUERY_MAX, leaf->cond, &before);
}

struct told_ctx {
    struct live *live;
    struct leaf *leaf;
    const struct turns *turns;
    bool filling;
};

static void on_told(void *ctx, const struct who_answer *answer) {
    const struct told_ctx *t = ctx;
    struct live *l = t->live;
    uint32_t customer = answer->customer;
    if (!roaring_bitmap_contains(t->leaf->seen, customer)) return;
    l->stats.asked++;
    bool other = leaf_answer(t->leaf, customer, answer->holds);
    if (other && !t->filling) notes_add(&l->changed, customer, t->leaf->index);
    const struct query_range *range = range_of(t->leaf->cond);
    int64_t turn = INT64_MAX, next;
    for (uint32_t i = 0; i < t->turns->n; i++) {
        if (answer->values[i].type != DATUM_TIME) continue;
        next = i < t->turns->oldest
                   ? range_turn(db_zone(l->db), range, answer->values[i].time_ms, l->now_ms)
                   : range_stretch_end(db_zone(l->db), range, l->now_ms);
        if (next < turn) turn = next;
    }
    schedule(l, t->leaf, customer, turn);
}

static struct who question(const struct live *l, const struct leaf *leaf,
                           const struct turns *turns) {
    return (struct who){.at_ms = l->now_ms,
                        .where = leaf->cond,
                        .measures = turns->measures,
                        .n_measures = turns->n};
}

static int ask_all(struct live *l, const struct snapshot *snap, struct leaf *leaf,
                   struct keel_error *err) {
    struct turns *turns = k_alloc(sizeof *turns);
    find_turns(l, leaf, turns);
    struct told_ctx ctx = {l, leaf, turns, true};
    struct who who = question(l, leaf, turns);
    int code = who_ask_all(l->db, snap, &who, on_told, &ctx, err);
    k_free(turns);
    return code;
}

/* notes[0..n): (leaf, customer) of one leaf. */
static int ask_some(struct live *l, const struct snapshot *snap, const uint64_t *notes, size_t n,
                    struct keel_error *err) {
    struct leaf *leaf = l->leaves[notes[0] >> 32];
    struct turns *turns = k_alloc(sizeof *turns);
    uint32_t *customers = k_alloc_array(n, sizeof *customers), roots = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t customer = (uint32_t)notes[i];
        if (redirect_root(&snap->redirects, customer) == customer) customers[roots++] = customer;
    }
    find_turns(l, leaf, turns);
    struct told_ctx ctx = {l, leaf, turns, false};
    struct who who = question(l, leaf, turns);
    int code = who_ask(l->db, snap, &who, customers, roots, on_told, &ctx, err);
    k_free(customers);
    k_free(turns);
    return code;
}

static int ask_asked(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    notes_sort(&l->asked);
    for (size_t i = 0, end; i < l->asked.n; i = end) {
        uint64_t leaf = l->asked.items[i] >> 32;
        for (end = i; end < l->asked.n && l->asked.items[end] >> 32 == leaf;) end++;
        TRY(ask_some(l, snap, l->asked.items + i, end - i, err));
    }
    return 0;
}

/* ---- filling ---- */

static void schedule_all(struct live *l, struct leaf *leaf) {
    struct live_moment at = live_moment(l);
    uint32_t i = 0, customer;
    while (slots_next(&leaf->state, &i, &customer))
        schedule(l, leaf, customer, leaf_turn(leaf, &at, customer));
}

static int fill(struct live *l, const struct snapshot *snap, bool everything,
                struct keel_error *err) {
    struct range everybody = {0, snap->redirects.numbers};
    TRY(read_from(l, snap, err));
    if (everybody.count > 0) TRY(feed_groups(l, everything ? 0 : 1, everybody, err));
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        struct leaf *leaf = l->leaves[i];
        if (!leaf || !leaf->fresh) continue;
        if (leaf->kind == LEAF_RECENT) schedule_all(l, leaf);
        if (leaf->kind == LEAF_HISTORY) TRY(ask_all(l, snap, leaf, err));
        leaf->fresh = false;
    }
    return 0;
}

int live_fill(struct live *l, bool everything, struct keel_error *err) {
    TRY(live_compile(l, err));
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && l->leaves[i]->fresh) leaf_clear(l->leaves[i]);
    if (everything) {
        wheel_release(&l->wheel);
        wheel_init(&l->wheel, l->now_ms);
        roaring_bitmap_clear(l->waiting);
        roaring_bitmap_clear(l->active);
        l->changed.n = l->asked.n = l->rebuilt.n = l->future.n = 0;
        l->first_new = 0;
    }
    l->sink = (struct leaf_sink){.ctx = l,
                                 .now_ms = l->now_ms,
                                 .fresh_only = true,
                                 .rebuilding = true,
                                 .changed = on_filled,
                                 .kept = on_filled,
                                 .ask = on_filled};
    struct snapshot *snap = snapshot_of(l->store, l->version);
    int code = fill(l, snap, everything, err);
    stop_reading(l);
    snapshot_close(snap);
    if (code == 0 && everything) settle_arrivals(l);
    return code;
}

/* ---- a new moment ---- */

/* A visitor became known: what was kept of him joins what is kept of the person. Only an anonymous
 * number that was its own root brings all of its past and nothing else. */
static void merge(struct live *l, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        struct leaf *leaf = l->leaves[i];
        if (!leaf || leaf->kind == LEAF_IDENTIFIED) continue;
        if (!leaf_merge(leaf, from, to)) on_ask(l, leaf, to);
        if (leaf->kind == LEAF_RECENT) on_changed(l, leaf, to);
    }
    bool waited = roaring_bitmap_remove_checked(l->waiting, from);
    if (!waited) roaring_bitmap_add(l->active, to);
}

static void follow_moves(struct live *l, const struct redirect_view *before,
                         const struct redirect_view *after) {
    for (uint32_t i = before->move_count; i < after->move_count; i++) {
        const struct redirect_move *move = &after->moves[i];
        if (move->number >= before->numbers) continue; /* came with this moment */
        uint32_t from = redirect_root(before, move->number);
        uint32_t to = redirect_root(after, move->number);
        if (from == to) continue;
        enum id_kind kind = identity_kind(db_identity(l->db), move->number);
        if (from == move->number && kind == ID_ANONYMOUS) {
            merge(l, from, to);
        } else {
            notes_add(&l->rebuilt, from, LIVE_ANY_LEAF);
            notes_add(&l->rebuilt, to, LIVE_ANY_LEAF);
        }
        notes_add(&l->changed, from, LIVE_ANY_LEAF);
        notes_add(&l->changed, to, LIVE_ANY_LEAF);
    }
}

static int feed_new(struct live *l, struct store_version *version, struct keel_error *err) {
    struct snapshot *delta = snapshot_between(l->store, l->version, version);
    int code = 0;
    if (delta->rows > 0) {
        code = read_from(l, delta, err);
        struct range everybody = {0, delta->redirects.numbers};
        if (code == 0) code = feed_groups(l, 0, everybody, err);
        stop_reading(l);
    }
    snapshot_close(delta);
    if (code == 0) settle_arrivals(l);
    return code;
}

static void wake(struct live *l, const struct redirect_view *redirects) {
    struct live_moment at = live_moment(l);
    struct timer t;
    while (wheel_take(&l->wheel, l->now_ms, &t)) {
        if (t.what == LIVE_FUTURE) {
            uint32_t customer = redirect_root(redirects, t.whom);
            notes_add(&l->rebuilt, customer, LIVE_ANY_LEAF);
            notes_add(&l->changed, customer, LIVE_ANY_LEAF);
            continue;
        }
        struct leaf *leaf = l->leaves[t.what];
        int64_t *timer = leaf ? leaf_timer(leaf, t.whom) : NULL;
        if (!timer || *timer != t.at_ms) continue; /* he has another one */
        *timer = 0;
        if (leaf->kind == LEAF_HISTORY) {
            notes_add(&l->asked, leaf->index, t.whom);
        } else {
            notes_add(&l->changed, t.whom, leaf->index);
            schedule(l, leaf, t.whom, leaf_turn(leaf, &at, t.whom));
        }
    }
}

/* The whole customer anew; also whether he is there at all. */
static int rebuild_customer(struct live *l, uint32_t customer, struct keel_error *err) {
    roaring_bitmap_remove(l->active, customer);
    TRY(feed_groups(l, 0, (struct range){customer, 1}, err));
    l->future.n = 0; /* their timers are set */
    if (roaring_bitmap_contains(l->active, customer))
        roaring_bitmap_remove(l->waiting, customer);
    else
        roaring_bitmap_add(l->waiting, customer);
    return 0;
}

static int rebuild(struct live *l, uint32_t customer, uint32_t index, struct keel_error *err) {
    bool any = index == LIVE_ANY_LEAF;
    l->sink.only = any ? NULL : l->leaves[index];
    l->stats.rebuilt++;
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && (any || i == index)) leaf_forget(l->leaves[i], customer);
    return any ? rebuild_customer(l, customer, err)
               : feed_groups(l, 1, (struct range){customer, 1}, err);
}

static int rebuild_all(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    notes_sort(&l->rebuilt);
    TRY(read_from(l, snap, err));
    l->sink.rebuilding = true;
    for (size_t i = 0; i < l->rebuilt.n; i++) {
        uint32_t customer = (uint32_t)(l->rebuilt.items[i] >> 32);
        if (redirect_root(&snap->redirects, customer) != customer) continue;
        TRY(rebuild(l, customer, (uint32_t)l->rebuilt.items[i], err));
    }
    return 0;
}

static int look_back(struct live *l, struct store_version *version, struct keel_error *err) {
    if (l->rebuilt.n == 0 && l->asked.n == 0) return 0;
    struct snapshot *snap = snapshot_of(l->store, version);
    int code = l->rebuilt.n > 0 ? rebuild_all(l, snap, err) : 0;
    if (code == 0) code = ask_asked(l, snap, err);
    stop_reading(l);
    snapshot_close(snap);
    l->rebuilt.n = l->asked.n = 0;
    return code;
}

/* Leaves whose words have another meaning now, and the segments that say them. */
static bool mark_fresh(struct live *l) {
    bool any = false;
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        if (!l->leaves[i] || !l->leaves[i]->fresh) continue;
        any = true;
        for (size_t k = 0; k < l->users[i].n; k++) l->segments[l->users[i].items[k]].recheck = true;
    }
    return any;
}

int live_feed(struct live *l, struct store_version *version, struct keel_error *err) {
    const struct redirect_view *before = store_version_redirects(l->version);
    const struct redirect_view *after = store_version_redirects(version);
    TRY(live_compile(l, err));
    if (mark_fresh(l)) TRY(live_fill(l, false, err));
    l->sink = (struct leaf_sink){
        .ctx = l, .now_ms = l->now_ms, .changed = on_changed, .kept = on_kept, .ask = on_ask};
    l->first_new = before->numbers;
    roaring_bitmap_clear(l->active);
    follow_moves(l, before, after);
    TRY(feed_new(l, version, err));
    wake(l, after);
    return look_back(l, version, err);
}
