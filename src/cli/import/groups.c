/* Implementation of groups.h: open addressing with linear probing, at most half full. */
#include "cli/import/groups.h"

enum { FIRST_SLOTS = 64 };

struct group_slot {
    uint64_t hash;
    struct group *group; /* NULL: free */
};

struct tally_slot {
    uint64_t hash;
    uint32_t count; /* 0: free */
};

void row_groups_init(struct row_groups *g) {
    *g = (struct row_groups){0};
    arena_init(&g->arena, SIZE_MAX);
    arena_alloc(&g->arena, 1); /* so that clearing keeps the first block */
    g->start = arena_mark(&g->arena);
    g->end = &g->first;
}

void row_groups_release(struct row_groups *g) {
    arena_release(&g->arena);
    k_free(g->slots);
}

uint64_t row_groups_bytes(const struct row_groups *g) {
    return g->arena.used_bytes + (g->slots ? (g->mask + 1) * sizeof *g->slots : 0);
}

static struct group_slot *find_slot(const struct row_groups *g, uint64_t hash, struct str key) {
    for (uint64_t i = hash;; i++) {
        struct group_slot *slot = &g->slots[i & g->mask];
        if (!slot->group || (slot->hash == hash && str_eq(slot->group->key, key))) return slot;
    }
}

void row_groups_clear(struct row_groups *g) {
    if (g->n == 1) /* the usual case: row by row, or adjacent groups */
        *find_slot(g, g->first->hash, g->first->key) = (struct group_slot){0};
    else if (g->n > 1)
        memset(g->slots, 0, (g->mask + 1) * sizeof *g->slots);
    arena_rewind(&g->arena, g->start);
    g->n = 0;
    g->first = NULL;
    g->end = &g->first;
}

struct group *row_groups_find(const struct row_groups *g, uint64_t hash, struct str key) {
    return g->slots ? find_slot(g, hash, key)->group : NULL;
}

static bool grow(struct row_groups *g) {
    uint64_t cap = g->slots ? (g->mask + 1) * 2 : FIRST_SLOTS;
    struct group_slot *slots = k_try_zalloc(cap * sizeof *slots);
    if (!slots) return false;
    k_free(g->slots);
    g->slots = slots;
    g->mask = cap - 1;
    for (struct group *group = g->first; group; group = group->next)
        *find_slot(g, group->hash, group->key) = (struct group_slot){group->hash, group};
    return true;
}

static struct str move_in(uint8_t **to, struct str s) {
    struct str kept = {(const char *)*to, s.n};
    if (s.n) memcpy(*to, s.p, s.n);
    *to += s.n;
    return kept;
}

struct group *row_groups_add(struct row_groups *g, const struct group_head *h) {
    if ((!g->slots || (g->n + 1) * 2 > g->mask + 1) && !grow(g)) return NULL;
    size_t states = h->n_states * sizeof(struct group_state);
    size_t texts =
        h->key.n + h->name.n + h->user_id.n + h->anonymous_id.n + h->message_id.n + h->fields.n;
    struct group *group = arena_try_alloc(&g->arena, sizeof *group);
    struct group_state *state = states ? arena_try_alloc(&g->arena, states) : NULL;
    uint8_t *p = arena_try_alloc(&g->arena, texts + 1);
    if (!group || !p || (states && !state)) return NULL;
    if (states) memset(state, 0, states);
    *group = (struct group){.hash = h->hash, .line = h->line, .bytes = texts, .states = state};
    group->key = move_in(&p, h->key);
    group->name = move_in(&p, h->name);
    group->user_id = move_in(&p, h->user_id);
    group->anonymous_id = move_in(&p, h->anonymous_id);
    group->message_id = move_in(&p, h->message_id);
    group->fields = (const uint8_t *)move_in(&p, h->fields).p;
    group->items_end = &group->items;
    *find_slot(g, h->hash, group->key) = (struct group_slot){h->hash, group};
    *g->end = group;
    g->end = &group->next;
    g->n++;
    return group;
}

bool row_groups_add_item(struct row_groups *g, struct group *group, struct str values) {
    struct group_item *item = arena_try_alloc(&g->arena, sizeof *item + values.n);
    if (!item) return false;
    item->next = NULL;
    memcpy(item->values, values.p, values.n);
    *group->items_end = item;
    group->items_end = &item->next;
    group->n_items++;
    group->bytes += values.n;
    return true;
}

bool row_groups_keep_last(struct row_groups *g, struct group_state *state, struct str value) {
    if (value.n > state->last_room) {
        size_t room = value.n + 16; /* the next one may be a little longer */
        char *p = arena_try_alloc(&g->arena, room);
        if (!p) return false;
        state->last.p = p;
        state->last_room = room;
    }
    memcpy((char *)state->last.p, value.p, value.n);
    state->last.n = value.n;
    return true;
}

/* ---- tally ---- */

void tally_release(struct tally *t) { k_free(t->slots); }

uint64_t tally_bytes(const struct tally *t) {
    return t->slots ? (t->mask + 1) * sizeof *t->slots : 0;
}

static struct tally_slot *find_count(const struct tally *t, uint64_t hash) {
    for (uint64_t i = hash;; i++) {
        struct tally_slot *slot = &t->slots[i & t->mask];
        if (slot->count == 0 || slot->hash == hash) return slot;
    }
}

static bool grow_tally(struct tally *t) {
    uint64_t old_cap = t->slots ? t->mask + 1 : 0, cap = old_cap ? old_cap * 2 : FIRST_SLOTS;
    struct tally_slot *old = t->slots, *slots = k_try_zalloc(cap * sizeof *slots);
    if (!slots) return false;
    t->slots = slots;
    t->mask = cap - 1;
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i].count) *find_count(t, old[i].hash) = old[i];
    k_free(old);
    return true;
}

bool tally_add(struct tally *t, uint64_t hash, uint32_t *out_before) {
    if ((!t->slots || (t->n + 1) * 2 > t->mask + 1) && !grow_tally(t)) return false;
    struct tally_slot *slot = find_count(t, hash);
    *out_before = slot->count;
    t->n += slot->count == 0;
    slot->hash = hash;
    if (slot->count < UINT32_MAX) slot->count++;
    return true;
}
