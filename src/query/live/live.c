/* Implementation of live.h: segments, their members, and who is told. */
#include <roaring/roaring.h>

#include "base/sort.h"
#include "query/live/live_int.h"

/* ---- notes ---- */

void notes_add(struct notes *notes, uint32_t high, uint32_t low) {
    if (notes->n == notes->cap) {
        notes->cap = notes->cap ? notes->cap * 2 : 64;
        notes->items = k_realloc(notes->items, notes->cap * sizeof *notes->items);
    }
    notes->items[notes->n++] = (uint64_t)high << 32 | low;
}

void notes_sort(struct notes *notes) {
    if (notes->n < 2) return;
    sort_u64(notes->items, notes->n);
    size_t n = 1;
    for (size_t i = 1; i < notes->n; i++)
        if (notes->items[i] != notes->items[n - 1]) notes->items[n++] = notes->items[i];
    notes->n = n;
}

void notes_release(struct notes *notes) {
    k_free(notes->items);
    *notes = (struct notes){0};
}

/* What a condition says of the customer whose row it is. */
static bool says(const struct node *node, const uint64_t *row) {
    switch (node->kind) {
    case QUERY_COND_AND:
        for (uint32_t i = 0; i < node->n_items; i++)
            if (!says(node->items[i], row)) return false;
        return true;
    case QUERY_COND_OR:
        for (uint32_t i = 0; i < node->n_items; i++)
            if (says(node->items[i], row)) return true;
        return false;
    case QUERY_COND_NOT: return !says(node->items[0], row);
    default: return truth_in(row, node->leaf->bit);
    }
}

static bool is_member(const struct live_segment *s, const uint64_t *row) {
    return (row[0] & TRUTH_THERE) && says(s->root, row);
}

static void put_member(struct live_segment *s, uint32_t customer, bool member) {
    if (member)
        roaring_bitmap_add(s->members, customer);
    else
        roaring_bitmap_remove(s->members, customer);
}

static void hold(const struct live *l, bool held) {
    if (l->options.hold) l->options.hold(l->options.ctx, held);
}

/* ---- life ---- */

static void on_ask(void *ctx, struct track *t, uint32_t customer) {
    struct live *l = ctx;
    if (t->filling && customer >= l->filled_to && !l->sink.filling) return; /* his step will */
    if (track_kind_asks(t->kind))
        notes_add(&l->asked, t->index, customer);
    else
        notes_add(&l->rebuilt, customer, t->index);
}

struct live *live_new(struct db *db, int64_t now_ms, const struct live_options *options) {
    struct live *l = k_zalloc(sizeof *l);
    l->db = db;
    l->store = db_store(db);
    if (options) l->options = *options;
    l->segments = k_zalloc(LIVE_MOST_SEGMENTS * sizeof *l->segments);
    l->version = store_version_hold(l->store);
    l->now_ms = now_ms;
    l->stale = true; /* events of the future are not known yet */
    wheel_init(&l->wheel, now_ms);
    truths_init(&l->truths);
    l->sink = (struct track_sink){
        .truths = &l->truths, .wheel = &l->wheel, .now_ms = now_ms, .ask = on_ask, .ctx = l};
    return l;
}

void live_free(struct live *l) {
    if (!l) return;
    for (uint32_t i = 0; i < l->n_segments; i++) live_remove(l, i);
    live_release_groups(l);
    wheel_release(&l->wheel);
    truths_release(&l->truths);
    test_scratch_release(&l->sink.scratch);
    store_version_release(l->version);
    notes_release(&l->asked);
    notes_release(&l->rebuilt);
    k_free(l->changes);
    k_free(l->segments);
    k_free(l->leaves);
    k_free(l->users);
    k_free(l->tracks);
    k_free(l->leaf_of_bit);
    k_free(l);
}

void live_remove(struct live *l, uint32_t segment) {
    struct live_segment *s = &l->segments[segment];
    if (!s->used) return;
    bool was_last = s->filling;
    live_drop_leaves(l, segment);
    if (s->members) roaring_bitmap_free(s->members);
    arena_release(&s->arena);
    *s = (struct live_segment){0};
    for (uint32_t i = 0; was_last && i < l->n_segments; i++) was_last = !l->segments[i].filling;
    if (was_last) live_end_steps(l);
}

/* ---- members ---- */

/* Those of a segment that is being filled are nobody's concern yet. */
static void tell(struct live *l, uint32_t segment, uint32_t customer, bool entered,
                 enum live_cause cause) {
    struct live_segment *s = &l->segments[segment];
    if (s->filling) {
        put_member(s, customer, entered);
        return;
    }
    if (l->n_changes == l->changes_cap) {
        l->changes_cap = l->changes_cap ? l->changes_cap * 2 : 64;
        l->changes = k_realloc(l->changes, l->changes_cap * sizeof *l->changes);
    }
    l->changes[l->n_changes++] = (struct live_change){segment, customer, entered, cause, l->now_ms};
}

/* One segment of one customer: what it said before and what it says now. */
static void evaluate(struct live *l, uint32_t segment, uint32_t customer, const uint64_t *before,
                     const uint64_t *row) {
    const struct live_segment *s = &l->segments[segment];
    if (s->recheck) return; /* of everybody */
    if (s->filling && customer >= l->filled_to) return;
    bool now = is_member(s, row);
    l->stats.evaluations++;
    if (now == is_member(s, before)) return;
    tell(l, segment, customer, now,
         !(row[0] & TRUTH_THERE) ? LIVE_MERGED
         : row[0] & TRUTH_ACTIVE ? LIVE_EVENT
                                 : LIVE_TIME);
}

/* The leaf whose bit that is has another answer: its segments, each once a customer. */
static void evaluate_users(struct live *l, uint32_t leaf, uint32_t customer, const uint64_t *before,
                           const uint64_t *row) {
    const struct notes *users = &l->users[leaf];
    for (size_t i = 0; i < users->n; i++) {
        struct live_segment *s = &l->segments[users->items[i]];
        if (s->looked == l->round) continue;
        s->looked = l->round;
        evaluate(l, (uint32_t)users->items[i], customer, before, row);
    }
}

static void evaluate_customer(struct live *l, uint32_t customer) {
    const uint64_t *row = truths_row(&l->truths, customer);
    const uint64_t *before = truths_before(&l->truths, customer);
    l->round++;
    if ((row[0] ^ before[0]) & TRUTH_THERE) {
        for (uint32_t i = 0; i < l->n_segments; i++)
            if (l->segments[i].used) evaluate(l, i, customer, before, row);
        return;
    }
    for (uint32_t w = TRUTH_FIRST_BIT / 64; w < l->truths.words; w++)
        for (uint64_t m = row[w] ^ before[w]; m; m &= m - 1) {
            uint32_t bit = w * 64 + (uint32_t)__builtin_ctzll(m);
            evaluate_users(l, l->leaf_of_bit[bit], customer, before, row);
        }
}

/* Adds those of a range who are members. */
static void find_members(struct live *l, const struct live_segment *s, struct range r,
                         roaring_bitmap_t *out) {
    enum { MOST = 1024 };
    uint32_t found[MOST], n = 0, end = r.first + r.count;
    for (uint32_t customer = r.first; customer < end; customer++) {
        if (is_member(s, truths_row(&l->truths, customer))) found[n++] = customer;
        if (n < MOST && customer + 1 < end) continue;
        roaring_bitmap_add_many(out, n, found);
        n = 0;
    }
    l->stats.evaluations += r.count;
}

/* In one go, against the members as they were: when there is nothing to compare rows with. */
static void evaluate_everybody(struct live *l, uint32_t segment) {
    struct live_segment *s = &l->segments[segment];
    uint32_t numbers = l->truths.numbers;
    roaring_bitmap_t *before = s->members, *now = roaring_bitmap_create();
    find_members(l, s, (struct range){0, s->filling ? l->filled_to : numbers}, now);
    if (s->first || s->filling) {
        hold(l, true);
        s->members = now;
        hold(l, false);
        s->first = false;
        roaring_bitmap_free(before);
        return;
    }
    roaring_bitmap_t *other = roaring_bitmap_xor(before, now);
    roaring_uint32_iterator_t *each = roaring_create_iterator(other);
    for (; each->has_value; roaring_advance_uint32_iterator(each)) {
        uint32_t customer = each->current_value;
        bool there = customer < numbers && truths_flags(&l->truths, customer) & TRUTH_THERE;
        tell(l, segment, customer, roaring_bitmap_contains(now, customer),
             there ? LIVE_EVENT : LIVE_MERGED);
    }
    roaring_free_uint32_iterator(each);
    roaring_bitmap_free(other);
    roaring_bitmap_free(now);
}

static void evaluate_changed(struct live *l) {
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].used && l->segments[i].recheck) evaluate_everybody(l, i);
    truths_sort_touched(&l->truths);
    for (uint32_t i = 0; i < l->truths.n_touched; i++) evaluate_customer(l, l->truths.touched[i]);
    truths_settle(&l->truths);
    for (uint32_t i = 0; i < l->n_segments; i++) l->segments[i].recheck = false;
}

static void pass_on(struct live *l) {
    hold(l, true);
    for (size_t i = 0; i < l->n_changes; i++)
        put_member(&l->segments[l->changes[i].segment], l->changes[i].customer,
                   l->changes[i].entered);
    hold(l, false);
    l->stats.changes += l->n_changes;
    if (l->n_changes > 0 && l->options.changed)
        l->options.changed(l->options.ctx, l->changes, l->n_changes);
    l->n_changes = 0;
}

/* Everything anew: in the beginning, and after an error. */
static int refill(struct live *l, struct keel_error *err) {
    l->stale = true;
    TRY(live_fill_fresh(l, true, err));
    l->stale = false;
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].used) evaluate_everybody(l, i);
    return 0;
}

/* A free number. */
static int find_room(struct live *l, uint32_t *out, struct keel_error *err) {
    uint32_t id = 0;
    while (id < l->n_segments && l->segments[id].used) id++;
    if (id == LIVE_MOST_SEGMENTS)
        FAIL(err, LIMIT, "there are %d live segments: no more are kept", LIVE_MOST_SEGMENTS);
    if (id == l->n_segments) l->n_segments++;
    *out = id;
    return 0;
}

static int make_segment(struct live *l, const struct query_cond *where,
                        const struct roaring_bitmap_s *members, uint32_t *out,
                        struct keel_error *err) {
    TRY(find_room(l, out, err));
    struct live_segment *s = &l->segments[*out];
    *s = (struct live_segment){.used = true,
                               .first = !members,
                               .members = members ? roaring_bitmap_copy(members)
                                                  : roaring_bitmap_create()};
    arena_init(&s->arena, 1 << 24);
    int code = live_build(l, s, where, &s->root, err);
    if (code < 0) live_remove(l, *out);
    return code;
}

int live_expect(struct live *l, const struct query_cond *where,
                const struct roaring_bitmap_s *members, uint32_t *out_segment,
                struct keel_error *err) {
    K_ASSERT(l->stale);
    return make_segment(l, where, members, out_segment, err);
}

int live_start(struct live *l, const struct query_cond *where, uint32_t *out_segment,
               struct keel_error *err) {
    K_ASSERT(l->filled_to == 0);
    TRY(make_segment(l, where, NULL, out_segment, err));
    if (l->stale) return 0; /* the next live_advance fills everything */
    l->segments[*out_segment].filling = l->filling = true;
    live_fill_by_steps(l);
    return 0;
}

int live_fill(struct live *l, uint32_t most, struct keel_error *err) {
    if (l->stale) return 1;
    if (!l->filling) return 0;
    struct range r;
    TRY(live_fill_step(l, most, &r, err));
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].filling) find_members(l, &l->segments[i], r, l->segments[i].members);
    if (l->filled_to < l->truths.numbers) return 1;
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].filling) l->segments[i].first = false;
    live_end_steps(l);
    return 0;
}

double live_filled(const struct live *l) {
    return l->truths.numbers ? (double)l->filled_to / l->truths.numbers : 0;
}

int live_add(struct live *l, const struct query_cond *where, uint32_t *out_segment,
             struct keel_error *err) {
    uint32_t id;
    TRY(live_start(l, where, &id, err));
    int code = l->stale ? refill(l, err) : live_fill(l, UINT32_MAX, err);
    if (code < 0) {
        live_remove(l, id);
        return code;
    }
    pass_on(l);
    *out_segment = id;
    return 0;
}

int live_advance(struct live *l, int64_t now_ms, struct keel_error *err) {
    struct store_version *version = store_version_hold(l->store);
    if (now_ms > l->now_ms) l->now_ms = now_ms;
    int code = 0;
    if (l->stale) {
        store_version_release(l->version);
        l->version = version;
        code = refill(l, err);
    } else {
        l->stale = true;
        code = live_feed(l, version, err);
        store_version_release(l->version);
        l->version = version;
        if (code == 0) l->stale = false;
        if (code == 0) evaluate_changed(l);
    }
    pass_on(l);
    return code;
}

int64_t live_next(const struct live *l) { return l->stale ? l->now_ms : wheel_next(&l->wheel); }

bool live_wait(const struct live *l, int64_t until_us) {
    return store_version_wait(l->store, l->version, until_us);
}

bool live_has(const struct live *l, uint32_t segment, uint32_t customer) {
    return roaring_bitmap_contains(l->segments[segment].members, customer);
}

uint64_t live_size(const struct live *l, uint32_t segment) {
    return roaring_bitmap_get_cardinality(l->segments[segment].members);
}

const struct roaring_bitmap_s *live_members(const struct live *l, uint32_t segment) {
    return l->segments[segment].members;
}

void live_stats(const struct live *l, struct live_stats *out) {
    *out = l->stats;
    out->timers = l->wheel.count;
    out->bytes = l->wheel.count * sizeof(struct timer) + l->truths.bytes;
    for (uint32_t i = 0; i < l->n_leaves; i++) out->leaves += l->leaves[i] != NULL;
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i]) out->bytes += track_bytes(l->tracks[i]);
    for (uint32_t i = 0; i < l->n_segments; i++) {
        if (!l->segments[i].used) continue;
        out->segments++;
        out->bytes += roaring_bitmap_portable_size_in_bytes(l->segments[i].members);
    }
}
