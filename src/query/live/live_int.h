/* Private state of live segments, shared by live.c (segments and their members) and live_feed.c
 * (bringing the leaves to a new moment). */
#pragma once

#include "query/live/leaf.h"
#include "query/live/live.h"
#include "query/live/wheel.h"
#include "query/worker.h"

enum {
    LIVE_GROUP = 128,           /* leaves fed by one plan, at most                         */
    LIVE_FUTURE = UINT32_MAX,   /* timer.what: an event of the customer's future is past   */
    LIVE_ANY_LEAF = UINT32_MAX, /* in a note: all of them                                  */
};

/* A condition, over leaves. */
struct node {
    enum query_cond_kind kind; /* AND, OR, NOT; else `leaf` */
    struct node **items;
    uint32_t n_items;
    struct leaf *leaf;
};

struct live_segment {
    bool used;
    bool recheck; /* a leaf of it was filled again */
    struct arena arena;
    struct node *root;
    struct roaring_bitmap_s *members;
};

/* Leaves whose machines are fed together. */
struct group {
    struct plan *plan;
    struct worker worker;
};

/* A growing list of (customer, leaf) or (leaf, customer), the first in the upper half. */
struct notes {
    uint64_t *items;
    size_t n, cap;
};

struct live {
    struct db *db;
    struct store *store;
    struct live_options options;
    struct store_version *version; /* what has been fed */
    int64_t now_ms;
    bool stale; /* an error left leaves half-way: all must be filled again */

    struct leaf **leaves; /* NULL: removed; numbers are not given again */
    uint32_t n_leaves, leaves_cap;
    struct notes *users; /* [leaves_cap] segments of each leaf */
    struct live_segment *segments;
    uint32_t n_segments;

    struct group *groups; /* the first feeds `arrivals` alone */
    uint32_t n_groups;
    bool compiled;             /* for the leaves as they are */
    uint32_t streams, columns; /* and this schema */
    struct leaf_sink sink;
    struct wheel wheel;
    struct roaring_bitmap_s *waiting; /* customers whose events are all of the future */

    /* Of the moment that is being fed. */
    uint32_t first_new;              /* numbers from here on are new                     */
    struct roaring_bitmap_s *active; /* customers with an event that is past, or a merge */
    struct notes future;             /* (customer, 0) with an event of the future        */
    struct notes changed;            /* (customer, leaf) to be evaluated   */
    struct notes asked;              /* (leaf, customer) whose timeline is to be asked */
    struct notes rebuilt;            /* (customer, leaf) to be fed anew    */
    struct live_change *changes;
    size_t n_changes, changes_cap;
    struct live_stats stats;
};

void notes_add(struct notes *notes, uint32_t high, uint32_t low);
void notes_sort(struct notes *notes); /* ascending, each once */
void notes_release(struct notes *notes);

struct live_moment live_moment(const struct live *l);

/* ---- live_feed.c ---- */

/* Plans and workers for the leaves as they are; when the schema or the leaves have changed. */
int live_compile(struct live *l, struct keel_error *err) K_CHECKED;
void live_release_groups(struct live *l);
/* Fills the leaves that are fresh, as of l->version and l->now_ms; everything: all of them are, and
 * timers and arrivals begin anew too. */
int live_fill(struct live *l, bool everything, struct keel_error *err) K_CHECKED;
/* Steps 1 to 4 of live.h: from l->version to `version`. */
int live_feed(struct live *l, struct store_version *version, struct keel_error *err) K_CHECKED;
