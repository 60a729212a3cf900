/* Implementation of live.h: segments, their members, and who is told. */
#include "query/live/live_int.h"

#include <roaring/roaring.h>
#include <stdlib.h>

enum { SEGMENT_DEPTH = 8 }; /* as a query's: deeper is taken for a circle */

/* ---- notes ---- */

void notes_add(struct notes *notes, uint32_t high, uint32_t low) {
    if (notes->n == notes->cap) {
        notes->cap = notes->cap ? notes->cap * 2 : 64;
        notes->items = k_realloc(notes->items, notes->cap * sizeof *notes->items);
    }
    notes->items[notes->n++] = (uint64_t)high << 32 | low;
}

static int compare_notes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void notes_sort(struct notes *notes) {
    if (notes->n < 2) return;
    qsort(notes->items, notes->n, sizeof *notes->items, compare_notes);
    size_t n = 1;
    for (size_t i = 1; i < notes->n; i++)
        if (notes->items[i] != notes->items[n - 1]) notes->items[n++] = notes->items[i];
    notes->n = n;
}

void notes_release(struct notes *notes) {
    k_free(notes->items);
    *notes = (struct notes){0};
}

struct live_moment live_moment(const struct live *l) {
    return (struct live_moment){l->now_ms, db_zone(l->db), db_identity(l->db)};
}

/* ---- leaves of a condition ---- */

static struct leaf *same_leaf(const struct live *l, const struct leaf *leaf) {
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && str_eq(l->leaves[i]->asked->text, leaf->asked->text))
            return l->leaves[i];
    return NULL;
}

static void take_leaf(struct live *l, struct leaf *leaf) {
    if (l->n_leaves == l->leaves_cap) {
        uint32_t cap = l->leaves_cap ? l->leaves_cap * 2 : 64;
        l->leaves = k_realloc(l->leaves, cap * sizeof *l->leaves);
        l->users = k_realloc(l->users, cap * sizeof *l->users);
        memset(l->users + l->leaves_cap, 0, (cap - l->leaves_cap) * sizeof *l->users);
        l->leaves_cap = cap;
    }
    leaf->index = l->n_leaves;
    l->leaves[l->n_leaves++] = leaf;
    l->compiled = false;
}

static int find_leaf(struct live *l, const struct query_cond *cond, struct leaf **out,
                     struct keel_error *err) {
    struct leaf *leaf;
    TRY(leaf_new(cond, &leaf, err));
    *out = same_leaf(l, leaf);
    if (*out) {
        leaf_free(leaf);
        return 0;
    }
    leaf->fresh = true;
    take_leaf(l, leaf);
    *out = leaf;
    return 0;
}

static void use_leaf(struct live *l, struct leaf *leaf, uint32_t segment) {
    struct notes *users = &l->users[leaf->index];
    for (size_t i = 0; i < users->n; i++)
        if (users->items[i] == segment) return;
    notes_add(users, 0, segment);
    leaf->refs++;
}

static int build(struct live *l, struct live_segment *s, const struct query_cond *cond,
                 unsigned depth, struct node **out, struct keel_error *err) {
    if (cond->kind == QUERY_COND_SEGMENT) {
        const struct query_cond *saved;
        if (!l->options.segment)
            FAIL(err, NOT_FOUND, "there is no segment \"%.*s\"", STR_ARG(cond->segment));
        if (depth == SEGMENT_DEPTH)
            FAIL(err, INVALID, "segment \"%.*s\" refers to itself, or segments nest deeper than %d",
                 STR_ARG(cond->segment), SEGMENT_DEPTH);
        TRY(l->options.segment(l->options.segment_ctx, cond->segment, &saved, err));
        return build(l, s, saved, depth + 1, out, err);
    }
    struct node *node = arena_zalloc(&s->arena, sizeof *node);
    node->kind = cond->kind;
    *out = node;
    if (cond->kind != QUERY_COND_AND && cond->kind != QUERY_COND_OR &&
        cond->kind != QUERY_COND_NOT) {
        TRY(find_leaf(l, cond, &node->leaf, err));
        use_leaf(l, node->leaf, (uint32_t)(s - l->segments));
        return 0;
    }
    node->n_items = cond->n_items;
    node->items = arena_alloc(&s->arena, cond->n_items * sizeof(struct node *));
    for (uint32_t i = 0; i < cond->n_items; i++)
        TRY(build(l, s, cond->items[i], depth, &node->items[i], err));
    return 0;
}

static bool says(const struct node *node, const struct live_moment *at, uint32_t customer) {
    switch (node->kind) {
    case QUERY_COND_AND:
        for (uint32_t i = 0; i < node->n_items; i++)
            if (!says(node->items[i], at, customer)) return false;
        return true;
    case QUERY_COND_OR:
        for (uint32_t i = 0; i < node->n_items; i++)
            if (says(node->items[i], at, customer)) return true;
        return false;
    case QUERY_COND_NOT: return !says(node->items[0], at, customer);
    default: return leaf_says(node->leaf, at, customer);
    }
}

/* ---- life ---- */

struct live *live_new(struct db *db, int64_t now_ms, const struct live_options *options) {
    struct live *l = k_zalloc(sizeof *l);
    l->db = db;
    l->store = db_store(db);
    if (options) l->options = *options;
    l->segments = k_zalloc(LIVE_MOST_SEGMENTS * sizeof *l->segments);
    l->waiting = roaring_bitmap_create();
    l->active = roaring_bitmap_create();
    l->version = store_version_hold(l->store);
    l->now_ms = now_ms;
    l->stale = true; /* events of the future are not known yet */
    wheel_init(&l->wheel, now_ms);
    return l;
}

static void drop_leaf(struct live *l, uint32_t i) {
    leaf_free(l->leaves[i]);
    l->leaves[i] = NULL;
    notes_release(&l->users[i]);
    l->compiled = false;
}

void live_free(struct live *l) {
    if (!l) return;
    for (uint32_t i = 0; i < l->n_segments; i++) live_remove(l, i);
    live_release_groups(l);
    wheel_release(&l->wheel);
    roaring_bitmap_free(l->waiting);
    roaring_bitmap_free(l->active);
    notes_release(&l->future);
    store_version_release(l->version);
    notes_release(&l->changed);
    notes_release(&l->asked);
    notes_release(&l->rebuilt);
    k_free(l->changes);
    k_free(l->segments);
    k_free(l->leaves);
    k_free(l->users);
    k_free(l);
}

void live_remove(struct live *l, uint32_t segment) {
    struct live_segment *s = &l->segments[segment];
    if (!s->used) return;
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        struct notes *users = &l->users[i];
        for (size_t k = 0; l->leaves[i] && k < users->n; k++) {
            if (users->items[k] != segment) continue;
            users->items[k] = users->items[--users->n];
            if (--l->leaves[i]->refs == 0) drop_leaf(l, i);
            break;
        }
    }
    if (s->members) roaring_bitmap_free(s->members);
    arena_release(&s->arena);
    *s = (struct live_segment){0};
}

/* ---- members ---- */

static void tell(struct live *l, uint32_t segment, uint32_t customer, bool entered,
                 enum live_cause cause) {
    struct live_segment *s = &l->segments[segment];
    if (entered)
        roaring_bitmap_add(s->members, customer);
    else
        roaring_bitmap_remove(s->members, customer);
    if (l->n_changes == l->changes_cap) {
        l->changes_cap = l->changes_cap ? l->changes_cap * 2 : 64;
        l->changes = k_realloc(l->changes, l->changes_cap * sizeof *l->changes);
    }
    l->changes[l->n_changes++] = (struct live_change){segment, customer, entered, cause, l->now_ms};
}

static void evaluate(struct live *l, const struct live_moment *at, uint32_t segment,
                     uint32_t customer, bool there) {
    struct live_segment *s = &l->segments[segment];
    bool now = there && says(s->root, at, customer);
    l->stats.evaluations++;
    if (now == roaring_bitmap_contains(s->members, customer)) return;
    bool event = roaring_bitmap_contains(l->active, customer);
    tell(l, segment, customer, now, !there ? LIVE_MERGED : event ? LIVE_EVENT : LIVE_TIME);
}

/* A root number that has an event which is past. */
static bool is_there(const struct live *l, uint32_t customer) {
    return redirect_root(store_version_redirects(l->version), customer) == customer &&
           !roaring_bitmap_contains(l->waiting, customer);
}

/* Segments of one customer of whom leaves have changed: notes[0..n) are his. */
static void evaluate_customer(struct live *l, const struct live_moment *at, const uint64_t *notes,
                              size_t n, struct notes *segments) {
    uint32_t customer = (uint32_t)(notes[0] >> 32);
    bool there = is_there(l, customer);
    segments->n = 0;
    bool all = (uint32_t)notes[n - 1] == LIVE_ANY_LEAF; /* sorts last */
    for (uint32_t i = 0; all && i < l->n_segments; i++)
        if (l->segments[i].used) notes_add(segments, 0, i);
    for (size_t i = 0; !all && i < n; i++) {
        const struct notes *users = &l->users[(uint32_t)notes[i]];
        for (size_t k = 0; k < users->n; k++) notes_add(segments, 0, (uint32_t)users->items[k]);
    }
    notes_sort(segments);
    for (size_t i = 0; i < segments->n; i++)
        evaluate(l, at, (uint32_t)segments->items[i], customer, there);
}

static void evaluate_everybody(struct live *l, uint32_t segment) {
    struct live_moment at = live_moment(l);
    uint32_t numbers = store_version_redirects(l->version)->numbers;
    l->segments[segment].recheck = false;
    for (uint32_t customer = 0; customer < numbers; customer++)
        evaluate(l, &at, segment, customer, is_there(l, customer));
}

static void evaluate_changed(struct live *l) {
    struct live_moment at = live_moment(l);
    struct notes segments = {0};
    notes_sort(&l->changed);
    for (size_t i = 0, end; i < l->changed.n; i = end) {
        uint32_t customer = (uint32_t)(l->changed.items[i] >> 32);
        for (end = i; end < l->changed.n && l->changed.items[end] >> 32 == customer;) end++;
        evaluate_customer(l, &at, l->changed.items + i, end - i, &segments);
    }
    notes_release(&segments);
    l->changed.n = 0;
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i].used && l->segments[i].recheck) evaluate_everybody(l, i);
}

static void pass_on(struct live *l) {
    l->stats.changes += l->n_changes;
    if (l->n_changes > 0 && l->options.changed)
        l->options.changed(l->options.ctx, l->changes, l->n_changes);
    l->n_changes = 0;
}

/* Everything anew: in the beginning, and after an error. */
static int refill(struct live *l, struct keel_error *err) {
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i]) l->leaves[i]->fresh = true;
    l->stale = true;
    TRY(live_fill(l, true, err));
    l->stale = false;
    l->changed.n = 0;
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
    *s = (struct live_segment){
        .used = true, .members = members ? roaring_bitmap_copy(members) : roaring_bitmap_create()};
    arena_init(&s->arena, 1 << 24);
    int code = build(l, s, where, 0, &s->root, err);
    if (code < 0) live_remove(l, *out);
    return code;
}

int live_expect(struct live *l, const struct query_cond *where,
                const struct roaring_bitmap_s *members, uint32_t *out_segment,
                struct keel_error *err) {
    K_ASSERT(l->stale);
    return make_segment(l, where, members, out_segment, err);
}

int live_add(struct live *l, const struct query_cond *where, uint32_t *out_segment,
             struct keel_error *err) {
    uint32_t id;
    TRY(make_segment(l, where, NULL, &id, err));
    int code = l->stale ? refill(l, err) : live_fill(l, false, err);
    if (code < 0) {
        live_remove(l, id);
        return code;
    }
    evaluate_everybody(l, id);
    size_t kept = 0; /* its first members are no changes */
    for (size_t i = 0; i < l->n_changes; i++)
        if (l->changes[i].segment != id) l->changes[kept++] = l->changes[i];
    l->n_changes = kept;
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

/* ---- taking what was filled beside ---- */

/* leaves: what each leaf of the other set becomes here, by its number there. */
static void rename_leaves(struct node *node, struct leaf *const *leaves) {
    for (uint32_t i = 0; i < node->n_items; i++) rename_leaves(node->items[i], leaves);
    if (node->leaf) node->leaf = leaves[node->leaf->index];
}

static void use_leaves(struct live *l, const struct node *node, uint32_t segment) {
    for (uint32_t i = 0; i < node->n_items; i++) use_leaves(l, node->items[i], segment);
    if (node->leaf) use_leaf(l, node->leaf, segment);
}

/* Leaves that this set has not are moved; the others' like are left to be freed. */
static void take_leaves(struct live *l, struct live *from, struct leaf **leaves, bool *moved) {
    for (uint32_t i = 0; i < from->n_leaves; i++) {
        leaves[i] = from->leaves[i] ? same_leaf(l, from->leaves[i]) : NULL;
        moved[i] = from->leaves[i] && !leaves[i];
        if (moved[i]) leaves[i] = from->leaves[i];
    }
    for (uint32_t i = 0; i < from->n_segments; i++)
        if (from->segments[i].used) rename_leaves(from->segments[i].root, leaves);
    for (uint32_t i = 0; i < from->n_leaves; i++) {
        if (!moved[i]) continue;
        from->leaves[i]->refs = 0;
        take_leaf(l, from->leaves[i]);
        from->leaves[i] = NULL;
        notes_release(&from->users[i]); /* live_remove passes over it from here on */
    }
}

/* Events of the future have their timers here already. */
static void take_timers(struct live *l, const struct wheel *from, struct leaf *const *leaves,
                        const bool *moved) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
            const struct timer_slot *slot = &from->slots[level][i];
            for (uint32_t k = 0; k < slot->n; k++) {
                struct timer t = slot->timers[k];
                if (t.what == LIVE_FUTURE || !moved[t.what]) continue;
                t.what = leaves[t.what]->index;
                wheel_add(&l->wheel, t);
            }
        }
}

/* Both stand at the same moment. */
static void take_all(struct live *l, struct live *from, const uint32_t *numbers) {
    struct leaf **leaves = k_zalloc((from->n_leaves + 1) * sizeof(struct leaf *));
    bool *moved = k_zalloc(from->n_leaves + 1);
    live_release_groups(from); /* their machines point to the leaves */
    take_leaves(l, from, leaves, moved);
    take_timers(l, &from->wheel, leaves, moved);
    for (uint32_t i = 0; i < from->n_segments; i++) {
        if (!from->segments[i].used) continue;
        l->segments[numbers[i]] = from->segments[i];
        from->segments[i] = (struct live_segment){0};
        use_leaves(l, l->segments[numbers[i]].root, numbers[i]);
    }
    for (uint32_t i = 0; i < from->n_leaves; i++)
        if (from->leaves[i]) drop_leaf(from, i);
    k_free(moved);
    k_free(leaves);
}

/* From where it stands to the very moment of `l`. */
static int catch_up(struct live *from, const struct live *l, struct keel_error *err) {
    from->now_ms = l->now_ms;
    from->stale = true;
    TRY(live_feed(from, l->version, err));
    store_version_release(from->version);
    from->version = store_version_share(l->version);
    from->stale = false;
    evaluate_changed(from);
    from->n_changes = 0;
    return 0;
}

static uint32_t used_segments(const struct live *l) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n_segments; i++) n += l->segments[i].used;
    return n;
}

int live_adopt(struct live *l, struct live *from, int64_t now_ms, uint32_t *out_segments,
               struct keel_error *err) {
    if (used_segments(l) + used_segments(from) > LIVE_MOST_SEGMENTS)
        FAIL(err, LIMIT, "there would be more than %d live segments", LIVE_MOST_SEGMENTS);
    TRY(live_advance(l, now_ms > from->now_ms ? now_ms : from->now_ms, err));
    if (from->stale) TRY(refill(from, err));
    TRY(catch_up(from, l, err));
    uint32_t *numbers = k_zalloc((from->n_segments + 1) * sizeof *numbers);
    for (uint32_t i = 0; i < from->n_segments; i++) {
        if (!from->segments[i].used) continue;
        int code = find_room(l, &numbers[i], err);
        K_ASSERT(code == 0);
        l->segments[numbers[i]].used = true; /* the next one finds another place */
    }
    take_all(l, from, numbers);
    if (out_segments) memcpy(out_segments, numbers, from->n_segments * sizeof *numbers);
    k_free(numbers);
    return 0;
}

int64_t live_next(const struct live *l) { return l->stale ? INT64_MIN : wheel_next(&l->wheel); }

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
    out->bytes = l->wheel.count * sizeof(struct timer);
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        if (!l->leaves[i]) continue;
        out->leaves++;
        out->bytes += leaf_bytes(l->leaves[i]);
    }
    for (uint32_t i = 0; i < l->n_segments; i++) {
        if (!l->segments[i].used) continue;
        out->segments++;
        out->bytes += roaring_bitmap_portable_size_in_bytes(l->segments[i].members);
    }
}
