/* Rows that wait to become one event, and counts of what was seen.
 *
 * A groups table belongs to one rule of the map. Its groups stand in order of appearance and live,
 * with all that their rows left behind, in one arena. A rule without group_by uses the same code:
 * its group is emitted and cleared row by row.
 *
 * Layers: base, eval.h. Threads: one owner.
 * Limits: memory, which the caller holds against the map's memory_mib by row_groups_bytes and
 * tally_bytes; about 120 bytes a row with four item properties, 16 to 32 bytes a counted row.
 */
#pragma once

#include "cli/import/eval.h"

/* What a rule keeps of all rows of a group for one field. */
struct group_state {
    struct decimal number; /* sum, min, max */
    struct str last;       /* encoded value (eval.h) of the last row */
    size_t last_room;
    bool seen;
};

struct group_item {
    struct group_item *next;
    uint8_t values[]; /* one encoded value per item field */
};

struct group {
    struct group *next;
    uint64_t hash;
    struct str key; /* group_by values, each behind its length */
    uint64_t line;  /* of the first row */
    uint64_t rows;
    int64_t time_ms;                                    /* earliest */
    struct str name, user_id, anonymous_id, message_id; /* of the first row */
    const uint8_t *fields;                              /* encoded, of the first row */
    struct group_item *items, **items_end;
    uint32_t n_items;
    size_t bytes; /* of all this, to foresee the size of the event */
    struct group_state *states;
};

struct row_groups {
    struct arena arena;
    struct arena_mark start;
    struct group_slot *slots;
    uint64_t mask, n;
    struct group *first, **end;
};

void row_groups_init(struct row_groups *g);
void row_groups_release(struct row_groups *g);
uint64_t row_groups_bytes(const struct row_groups *g);
/* Forgets all groups. */
void row_groups_clear(struct row_groups *g);

/* The group with that key, or NULL. */
struct group *row_groups_find(const struct row_groups *g, uint64_t hash, struct str key);
/* A new group without rows; the strings are copied. NULL: no memory. */
struct group_head {
    uint64_t hash, line;
    struct str key, name, user_id, anonymous_id, message_id, fields;
    uint32_t n_states;
};
struct group *row_groups_add(struct row_groups *g, const struct group_head *head) K_CHECKED;
/* Adds an item's encoded values; keeps the encoded value of the last row. False: no memory. */
bool row_groups_add_item(struct row_groups *g, struct group *group, struct str values) K_CHECKED;
bool row_groups_keep_last(struct row_groups *g, struct group_state *state,
                          struct str value) K_CHECKED;

/* How often a hash was seen. Two different things with one hash share a count; with n things that
 * happens with a probability of n²/2⁶⁵. */
struct tally {
    struct tally_slot *slots;
    uint64_t mask, n;
};

void tally_release(struct tally *t);
uint64_t tally_bytes(const struct tally *t);
/* Counts one more and gives how often it was seen before. False: no memory. */
bool tally_add(struct tally *t, uint64_t hash, uint32_t *out_before) K_CHECKED;
