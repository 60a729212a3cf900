/* Private state of live segments, shared by live.c (segments, their members, who is told),
 * live_set.c (which leaves and tracks there are), live_feed.c (bringing them to a new moment) and
 * live_ask.c (asking timelines). */
#pragma once

#include "query/live/live.h"
#include "query/live/track.h"
#include "query/worker.h"

enum {
    LIVE_GROUP = 128,           /* tracks fed by one plan, at most                         */
    LIVE_FUTURE = UINT32_MAX,   /* timer.what: an event of the customer's future is past   */
    LIVE_ANY_TRACK = UINT32_MAX /* in a note: all of them                                  */
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
    bool first;   /* its members of the next evaluation are no changes */
    bool filling; /* by steps: its members are right before `filled_to` */
    bool recheck; /* a leaf of it was filled again */
    struct arena arena;
    struct node *root;
    struct roaring_bitmap_s *members;
    uint64_t looked; /* the round in which it was looked at, for one customer */
};

/* Tracks whose machines are fed together. */
struct group {
    struct plan *plan;
    struct worker worker;
};

/* A growing list of (customer, track) or (track, customer), the first in the upper half. */
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
    bool stale; /* an error left tracks half-way: all must be filled again */

    struct leaf **leaves; /* NULL: removed; numbers are not given again */
    uint32_t n_leaves, leaves_cap;
    struct notes *users;   /* [leaves_cap] segments of each leaf */
    struct track **tracks; /* as leaves */
    uint32_t n_tracks, tracks_cap;
    struct live_segment *segments;
    uint32_t n_segments;
    struct truths truths;
    uint32_t *leaf_of_bit; /* [bits_cap] */
    uint32_t bits_cap;

    /* The first feeds `arrivals` alone, those from `step_groups` on what is filled by steps. */
    struct group *groups;
    uint32_t n_groups, step_groups;
    bool filling;              /* some segment is, by steps     */
    uint32_t filled_to;        /* customers before this one are */
    bool compiled;             /* for the tracks as they are */
    uint32_t streams, columns; /* and this schema */
    struct track_sink sink;
    struct wheel wheel;

    /* Of the moment that is being fed. */
    struct notes asked;   /* (track, customer) whose timeline is to be asked */
    struct notes rebuilt; /* (customer, track) to be fed anew    */
    uint64_t round;       /* of evaluating a customer */
    struct live_change *changes;
    size_t n_changes, changes_cap;
    struct live_stats stats;
};

void notes_add(struct notes *notes, uint32_t high, uint32_t low);
void notes_sort(struct notes *notes); /* ascending, each once */
void notes_release(struct notes *notes);

/* ---- live_set.c ---- */

/* The tree of a condition for a segment: its leaves are found, or made. */
int live_build(struct live *l, struct live_segment *s, const struct query_cond *cond,
               struct node **out, struct keel_error *err) K_CHECKED;
/* The segment is going: leaves that nobody else has go with it. */
void live_drop_leaves(struct live *l, uint32_t segment);
/* What is fresh is filled by steps from here on; or nothing is any more. */
void live_fill_by_steps(struct live *l);
void live_end_steps(struct live *l);

/* ---- live_feed.c ---- */

/* Plans and workers for the tracks as they are; when the schema or the tracks have changed. */
int live_compile(struct live *l, struct keel_error *err) K_CHECKED;
void live_release_groups(struct live *l);
/* Fills what is fresh, as of l->version and l->now_ms; everything: all of it is, and timers and
 * arrivals begin anew too. */
int live_fill_fresh(struct live *l, bool everything, struct keel_error *err) K_CHECKED;
/* Fills the next customers, at most `most`, of what is filled by steps, as of the same moment.
 * *out: which these were; after an error they are still to be filled. */
int live_fill_step(struct live *l, uint32_t most, struct range *out,
                   struct keel_error *err) K_CHECKED;
/* Steps 1 to 4 of live.h: from l->version to `version`. */
int live_feed(struct live *l, struct store_version *version, struct keel_error *err) K_CHECKED;

/* ---- live_ask.c ---- */

/* The timelines of a range, for a HISTORY that is being filled; and of those in l->asked. */
int live_ask_range(struct live *l, const struct snapshot *snap, struct track *t, struct range r,
                   struct keel_error *err) K_CHECKED;
int live_ask_asked(struct live *l, const struct snapshot *snap, struct keel_error *err) K_CHECKED;
