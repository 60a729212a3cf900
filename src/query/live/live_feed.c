/* Bringing the tracks of live segments to a new moment: steps 1 to 4 of live.h. */
#include <roaring/roaring.h>

#include "query/live/live_int.h"

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
    uint64_t here = l->truths.quiet ? TRUTH_THERE : TRUTH_THERE | TRUTH_ACTIVE;
    l->stats.events += n;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t customer = f->customer[rows[k]];
        if (f->time[rows[k]] >= l->now_ms)
            wheel_add(&l->wheel, (struct timer){f->time[rows[k]] + 1, LIVE_FUTURE, customer});
        else
            *truths_touch(&l->truths, customer) |= here;
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
    l->n_groups = l->step_groups = 0;
    l->compiled = false;
}

static int plan_group(struct live *l, struct plan *p, struct track **tracks, uint32_t n,
                      struct keel_error *err) {
    if (!tracks) TRY(plan_arrivals(l, p, err));
    for (uint32_t i = 0; i < n; i++) TRY(track_machine(p, tracks[i], &l->sink, err));
    return plan_passes(p, err);
}

/* tracks NULL: the arrivals. What is too much for one plan is halved. */
static int add_group(struct live *l, struct track **tracks, uint32_t n, struct keel_error *err) {
    static const struct snapshot
        NOTHING; /* rareness in the store says nothing of what comes next */
    struct group *g = &l->groups[l->n_groups];
    g->plan = k_alloc(sizeof *g->plan);
    plan_init(g->plan, l->db, &NOTHING, NULL, INT64_MAX);
    int code = plan_group(l, g->plan, tracks, n, err);
    if (code == -KEEL_E_LIMIT && n > 1) {
        release_group(g);
        TRY(add_group(l, tracks, n / 2, err));
        return add_group(l, tracks + n / 2, n - n / 2, err);
    }
    l->n_groups++; /* from here on released with all */
    TRY(code);
    g->plan->range_size = 64;
    return worker_open(&g->worker, g->plan, 0, err);
}

/* The tracks that are, or are not, filled by steps. */
static int add_groups(struct live *l, bool filling, struct keel_error *err) {
    struct track **fed = k_alloc_array(l->n_tracks + 1, sizeof(struct track *));
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (t && t->kind != TRACK_IDENTITY && t->filling == filling) fed[n++] = t;
    }
    int code = 0;
    for (uint32_t i = 0; i < n && code == 0; i += LIVE_GROUP)
        code = add_group(l, fed + i, n - i < LIVE_GROUP ? n - i : LIVE_GROUP, err);
    k_free(fed);
    return code;
}

/* Words of what is filled by steps have another meaning now: it begins anew. */
static void restart_steps(struct live *l) {
    bool any = false;
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (!t || !t->filling || !t->fresh) continue;
        t->fresh = false;
        any = true;
    }
    if (!any) return;
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i] && l->tracks[i]->filling) track_clear(l->tracks[i]);
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].filling) roaring_bitmap_clear(l->segments[i].members);
    l->filled_to = 0;
}

int live_compile(struct live *l, struct keel_error *err) {
    struct schema *schema = store_schema(l->store);
    uint32_t streams = schema_streams(schema), columns = schema_columns(schema);
    if (l->compiled && streams == l->streams && columns == l->columns) return 0;
    live_release_groups(l);
    l->groups = k_zalloc((l->n_tracks + 1) * sizeof *l->groups);
    TRY(add_group(l, NULL, 0, err));
    TRY(add_groups(l, /* filling= */ false, err));
    l->step_groups = l->n_groups;
    TRY(add_groups(l, /* filling= */ true, err));
    restart_steps(l);
    l->compiled = true;
    l->streams = streams;
    l->columns = columns;
    return 0;
}

/* ---- feeding ---- */

/* The customers of a range to groups [first, end). */
static int feed_groups(struct live *l, uint32_t first, uint32_t end, struct range r,
                       struct keel_error *err) {
    for (uint32_t i = first; i < end; i++) {
        l->groups[i].worker.range = r;
        TRY(worker_run(&l->groups[i].worker, 0, NULL, err));
    }
    return 0;
}

static int read_from(struct live *l, uint32_t first, const struct snapshot *snap,
                     struct keel_error *err) {
    for (uint32_t i = first; i < l->n_groups; i++)
        TRY(worker_read(&l->groups[i].worker, snap, err));
    return 0;
}

static void stop_reading(struct live *l) {
    for (uint32_t i = 0; i < l->n_groups; i++) worker_stop_reading(&l->groups[i].worker);
}

static void identify(struct live *l, const struct leaf *leaf, struct range r) {
    bool wanted = leaf->cond->kind == QUERY_COND_IDENTIFIED;
    for (uint32_t customer = r.first; customer < r.first + r.count; customer++) {
        enum id_kind kind = identity_kind(db_identity(l->db), customer);
        (void)truths_put(&l->truths, customer, leaf->bit, (kind == ID_USER) == wanted);
    }
}

/* Rows for all numbers there are; of a new one it is known whose it is. */
static void meet(struct live *l, const struct redirect_view *redirects) {
    uint32_t first = l->truths.numbers;
    truths_grow(&l->truths, redirects->numbers);
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && l->leaves[i]->track->kind == TRACK_IDENTITY)
            identify(l, l->leaves[i], (struct range){first, l->truths.numbers - first});
}

/* ---- filling ---- */

static void move_ranges(struct live *l) {
    l->sink.now_ms = l->now_ms;
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && leaf_moves(l->leaves[i])) ahead_move(&l->leaves[i]->ahead, l->now_ms);
}

/* As if nothing were known of the customers of a range. */
static void clear_leaf(struct live *l, const struct leaf *leaf, struct range r) {
    truths_column(&l->truths, leaf->bit, leaf->otherwise, r.first, r.count);
    if (leaf->track->kind == TRACK_IDENTITY) identify(l, leaf, r);
}

/* A HISTORY is asked; the others know, or ask for some. */
static int tell_leaves(struct live *l, const struct snapshot *snap, struct track *t, struct range r,
                       struct keel_error *err) {
    if (t->kind == TRACK_HISTORY) return live_ask_range(l, snap, t, r, err);
    track_refresh(t, &l->sink, r.first, r.count);
    return 0;
}

static int ask_asked(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    TRY(live_ask_asked(l, snap, err));
    l->asked.n = 0;
    return 0;
}

/* A track that is to be fed anew takes all its leaves along. */
static void begin_filling(struct live *l) {
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (!t || !t->fresh) continue;
        track_clear(t);
        for (uint32_t k = 0; k < t->n_leaves; k++) t->leaves[k]->fresh = true;
    }
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && l->leaves[i]->fresh)
            clear_leaf(l, l->leaves[i], (struct range){0, l->truths.numbers});
}

static int end_filling(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    struct range everybody = {0, l->truths.numbers};
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        bool fresh = false;
        for (uint32_t k = 0; t && k < t->n_leaves; k++) {
            fresh |= t->leaves[k]->fresh;
            t->leaves[k]->fresh = false;
        }
        if (!fresh) continue;
        t->fresh = false;
        TRY(tell_leaves(l, snap, t, everybody, err));
    }
    return ask_asked(l, snap, err);
}

static int fill(struct live *l, const struct snapshot *snap, bool everything,
                struct keel_error *err) {
    struct range everybody = {0, snap->redirects.numbers};
    bool fresh = everything;
    for (uint32_t i = 0; i < l->n_tracks; i++) fresh |= l->tracks[i] && l->tracks[i]->fresh;
    meet(l, &snap->redirects);
    begin_filling(l);
    TRY(read_from(l, 0, snap, err));
    if (fresh && everybody.count > 0)
        TRY(feed_groups(l, everything ? 0 : 1, l->step_groups, everybody, err));
    return end_filling(l, snap, err);
}

static void forget_everything(struct live *l) {
    wheel_release(&l->wheel);
    wheel_init(&l->wheel, l->now_ms);
    truths_settle(&l->truths);
    for (uint32_t i = 0; i < l->truths.numbers; i++) *truths_at(&l->truths, i, 0) = 0;
    l->asked.n = l->rebuilt.n = 0;
    live_end_steps(l); /* all is filled at once */
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i]) l->tracks[i]->fresh = true;
}

static void set_filling(struct live *l, bool filling) {
    l->sink.only = NULL;
    l->sink.filling = l->truths.quiet = filling;
}

int live_fill_fresh(struct live *l, bool everything, struct keel_error *err) {
    if (everything) forget_everything(l);
    TRY(live_compile(l, err));
    move_ranges(l);
    set_filling(l, true);
    struct snapshot *snap = snapshot_of(l->store, l->version);
    int code = fill(l, snap, everything, err);
    stop_reading(l);
    snapshot_close(snap);
    set_filling(l, false);
    return code;
}

/* ---- filling by steps ---- */

static void begin_step(struct live *l, struct range r) {
    for (uint32_t i = 0; i < l->n_tracks; i++) /* what came meanwhile */
        if (l->tracks[i] && l->tracks[i]->filling) track_drop_range(l->tracks[i], r.first, r.count);
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && l->leaves[i]->filling) clear_leaf(l, l->leaves[i], r);
}

static bool has_filling_leaf(const struct track *t) {
    for (uint32_t i = 0; i < t->n_leaves; i++)
        if (t->leaves[i]->filling) return true;
    return false;
}

static int step(struct live *l, const struct snapshot *snap, struct range r,
                struct keel_error *err) {
    begin_step(l, r);
    TRY(read_from(l, l->step_groups, snap, err));
    TRY(feed_groups(l, l->step_groups, l->n_groups, r, err));
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i] && has_filling_leaf(l->tracks[i]))
            TRY(tell_leaves(l, snap, l->tracks[i], r, err));
    return ask_asked(l, snap, err);
}

int live_fill_step(struct live *l, uint32_t most, struct range *out, struct keel_error *err) {
    TRY(live_compile(l, err));
    uint32_t first = l->filled_to, left = l->truths.numbers - first;
    *out = (struct range){first, left < most ? left : most};
    if (out->count == 0) return 0;
    set_filling(l, true);
    struct snapshot *snap = snapshot_of(l->store, l->version);
    int code = step(l, snap, *out, err);
    stop_reading(l);
    snapshot_close(snap);
    set_filling(l, false);
    l->asked.n = 0;
    if (code == 0) l->filled_to += out->count;
    return code;
}

/* ---- a new moment ---- */

/* A visitor became known: what was kept of him joins what is kept of the person. Only an anonymous
 * number that was its own root brings all of its past and nothing else; who is not filled yet
 * brings nothing. */
static void merge(struct live *l, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (!t) continue;
        track_merge(t, &l->sink, from, to);
        if (t->filling && from >= l->filled_to && to < l->filled_to) notes_add(&l->rebuilt, to, i);
    }
    if (truths_flags(&l->truths, from) & TRUTH_THERE)
        *truths_touch(&l->truths, to) |= TRUTH_THERE | TRUTH_ACTIVE;
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
            notes_add(&l->rebuilt, from, LIVE_ANY_TRACK);
            notes_add(&l->rebuilt, to, LIVE_ANY_TRACK);
        }
        if (redirect_root(after, from) != from)
            *truths_touch(&l->truths, from) &= ~(uint64_t)TRUTH_THERE;
    }
}

static int feed_new(struct live *l, struct store_version *version, struct keel_error *err) {
    struct snapshot *delta = snapshot_between(l->store, l->version, version);
    int code = 0;
    if (delta->rows > 0) {
        code = read_from(l, 0, delta, err);
        struct range everybody = {0, delta->redirects.numbers};
        if (code == 0) code = feed_groups(l, 0, l->n_groups, everybody, err);
        stop_reading(l);
    }
    snapshot_close(delta);
    return code;
}

static void wake(struct live *l, const struct redirect_view *redirects) {
    struct timer t;
    while (wheel_take(&l->wheel, l->now_ms, &t)) {
        if (t.what == LIVE_FUTURE)
            notes_add(&l->rebuilt, redirect_root(redirects, t.whom), LIVE_ANY_TRACK);
        else if (l->tracks[t.what])
            track_wake(l->tracks[t.what], &l->sink, t.whom, t.at_ms);
    }
}

/* The whole customer anew, or one track of his; also whether he is there at all. */
static int rebuild(struct live *l, uint32_t customer, uint32_t index, struct keel_error *err) {
    bool any = index == LIVE_ANY_TRACK;
    l->sink.only = any ? NULL : l->tracks[index];
    l->stats.rebuilt++;
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i] && (any || i == index)) track_forget(l->tracks[i], &l->sink, customer);
    if (any) *truths_touch(&l->truths, customer) &= ~(uint64_t)(TRUTH_THERE | TRUTH_ACTIVE);
    return feed_groups(l, any ? 0 : 1, l->n_groups, (struct range){customer, 1}, err);
}

static int rebuild_all(struct live *l, const struct snapshot *snap, struct keel_error *err) {
    notes_sort(&l->rebuilt);
    TRY(read_from(l, 0, snap, err));
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
    if (code == 0) code = live_ask_asked(l, snap, err);
    stop_reading(l);
    snapshot_close(snap);
    l->sink.rebuilding = false;
    l->rebuilt.n = l->asked.n = 0;
    return code;
}

/* Leaves whose words have another meaning now, and the segments that say them. */
static bool mark_fresh(struct live *l) {
    bool any = false;
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        if (!l->leaves[i] || !(l->leaves[i]->fresh || l->leaves[i]->track->fresh)) continue;
        any = true;
        for (size_t k = 0; k < l->users[i].n; k++) l->segments[l->users[i].items[k]].recheck = true;
    }
    return any;
}

int live_feed(struct live *l, struct store_version *version, struct keel_error *err) {
    const struct redirect_view *before = store_version_redirects(l->version);
    const struct redirect_view *after = store_version_redirects(version);
    TRY(live_compile(l, err));
    if (mark_fresh(l)) TRY(live_fill_fresh(l, false, err));
    move_ranges(l);
    l->sink.only = NULL;
    meet(l, after);
    follow_moves(l, before, after);
    TRY(feed_new(l, version, err));
    wake(l, after);
    return look_back(l, version, err);
}
