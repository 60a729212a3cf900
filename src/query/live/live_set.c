/* Which leaves and tracks live segments have: what they share is found by its canonical text. */
#include <roaring/roaring.h>

#include "query/live/live_int.h"

enum { SEGMENT_DEPTH = 8 }; /* as a query's: deeper is taken for a circle */

static struct leaf *same_leaf(const struct live *l, const struct leaf *leaf) {
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i] && str_eq(l->leaves[i]->asked->text, leaf->asked->text))
            return l->leaves[i];
    return NULL;
}

/* Nothing has been fed to it yet. */
static bool is_empty(const struct live *l, const struct track *t) {
    return t->fresh || (t->filling && l->filled_to == 0);
}

static struct track *find_serving(const struct live *l, const struct track *wanted) {
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (t && track_serves(t, is_empty(l, t), wanted)) return t;
    }
    return NULL;
}

/* ---- adding ---- */

static void add_leaf(struct live *l, struct leaf *leaf) {
    if (l->n_leaves == l->leaves_cap) {
        uint32_t cap = l->leaves_cap ? l->leaves_cap * 2 : 64;
        l->leaves = k_realloc(l->leaves, cap * sizeof(struct leaf *));
        l->users = k_realloc(l->users, cap * sizeof *l->users);
        memset(l->users + l->leaves_cap, 0, (cap - l->leaves_cap) * sizeof *l->users);
        l->leaves_cap = cap;
    }
    leaf->index = l->n_leaves;
    leaf->bit = truths_take_bit(&l->truths, leaf->otherwise);
    if (leaf->bit >= l->bits_cap) {
        l->bits_cap = l->truths.words * 64;
        l->leaf_of_bit = k_realloc(l->leaf_of_bit, l->bits_cap * sizeof *l->leaf_of_bit);
    }
    l->leaf_of_bit[leaf->bit] = leaf->index;
    l->leaves[l->n_leaves++] = leaf;
}

static void add_track(struct live *l, struct track *t) {
    if (l->n_tracks == l->tracks_cap) {
        l->tracks_cap = l->tracks_cap ? l->tracks_cap * 2 : 64;
        l->tracks = k_realloc(l->tracks, l->tracks_cap * sizeof(struct track *));
    }
    t->index = l->n_tracks;
    l->tracks[l->n_tracks++] = t;
    l->compiled = false;
}

static int find_track(struct live *l, struct leaf *leaf, struct track **out,
                      struct keel_error *err) {
    struct track *t;
    TRY(track_new(leaf, &t, err));
    *out = find_serving(l, t);
    if (*out) {
        track_free(t);
        return 0;
    }
    add_track(l, t);
    *out = t;
    return 0;
}

static int find_leaf(struct live *l, const struct query_cond *cond, struct leaf **out,
                     struct keel_error *err) {
    struct leaf *leaf;
    struct track *track;
    TRY(leaf_new(cond, db_zone(l->db), &leaf, err));
    *out = same_leaf(l, leaf);
    if (*out) {
        leaf_free(leaf);
        return 0;
    }
    int code = find_track(l, leaf, &track, err);
    if (code < 0) {
        leaf_free(leaf);
        return code;
    }
    track_join(track, leaf);
    add_leaf(l, leaf);
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

int live_build(struct live *l, struct live_segment *s, const struct query_cond *cond,
               struct node **out, struct keel_error *err) {
    return build(l, s, cond, 0, out, err);
}

/* ---- dropping ---- */

static void drop_leaf(struct live *l, uint32_t i) {
    struct leaf *leaf = l->leaves[i];
    struct track *t = leaf->track;
    track_leave(t, leaf);
    truths_give_back(&l->truths, leaf->bit);
    leaf_free(leaf);
    l->leaves[i] = NULL;
    notes_release(&l->users[i]);
    if (t->n_leaves > 0) return;
    l->tracks[t->index] = NULL;
    track_free(t);
    l->compiled = false;
}

void live_drop_leaves(struct live *l, uint32_t segment) {
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        struct notes *users = &l->users[i];
        for (size_t k = 0; l->leaves[i] && k < users->n; k++) {
            if (users->items[k] != segment) continue;
            users->items[k] = users->items[--users->n];
            if (--l->leaves[i]->refs == 0) drop_leaf(l, i);
            break;
        }
    }
}

/* ---- filling by steps ---- */

void live_fill_by_steps(struct live *l) {
    for (uint32_t i = 0; i < l->n_leaves; i++) {
        struct leaf *leaf = l->leaves[i];
        if (!leaf || !leaf->fresh) continue;
        leaf->fresh = false;
        leaf->filling = true;
        if (leaf_moves(leaf)) ahead_move(&leaf->ahead, l->now_ms);
    }
    for (uint32_t i = 0; i < l->n_tracks; i++) {
        struct track *t = l->tracks[i];
        if (!t || !t->fresh) continue;
        t->fresh = false;
        t->filling = true;
    }
    l->compiled = false;
}

void live_end_steps(struct live *l) {
    for (uint32_t i = 0; i < l->n_leaves; i++)
        if (l->leaves[i]) l->leaves[i]->filling = false;
    for (uint32_t i = 0; i < l->n_tracks; i++)
        if (l->tracks[i]) l->tracks[i]->filling = false;
    for (uint32_t i = 0; i < l->n_segments; i++) l->segments[i].filling = false;
    l->filled_to = 0;
    l->filling = l->compiled = false;
}
