/* Private state of tracks, shared by track.c (what is kept, and what leaves say of it) and
 * track_feed.c (the machine). */
#pragma once

#include "query/live/track.h"

/* RECENT: newest first. */
struct recent {
    int64_t timer_ms; /* 0: none */
    uint32_t n;
    int64_t times[];
};

/* TRAIT. */
struct latest {
    int64_t time;
    uint8_t holds;
};

/* FOLLOWED. */
struct pair {
    int64_t last_a, last_b;
    uint8_t flags; /* PAIR_* */
};
enum { PAIR_HAS_A = 1, PAIR_HAS_B = 2, PAIR_FULFILLED = 4 };

/* WINDOW: newest first. */
struct window {
    int64_t timer_ms; /* 0: none */
    int64_t lost_ms;  /* time of the newest value that was dropped; INT64_MIN: none was */
    uint32_t n;
    struct {
        int64_t time;
        double value;
    } items[TRACK_MOST_VALUES];
};

/* HISTORY: that there is one says that he has such events. */
struct told {
    int64_t timer_ms;
};

static inline struct leaf *track_only_leaf(const struct track *t) { return t->leaves[0]; }

/* A COUNT of one has happened if a leaf that needs one says so. */
bool track_counted(const struct track *t, const struct track_sink *sink, uint32_t customer);
bool track_note_time(const struct track *t, struct recent *r, int64_t time); /* false: too old */
/* What the leaves say of him, now that what is kept is `state`; n: of COUNT. */
void track_say_count(struct track *t, struct track_sink *sink, uint32_t customer, uint32_t n);
void track_say_recent(struct track *t, struct track_sink *sink, uint32_t customer,
                      struct recent *r);
void track_note_value(const struct track *t, struct window *w, int64_t time, double value);
void track_say_window(struct track *t, struct track_sink *sink, uint32_t customer,
                      struct window *w);
void track_say_sum(struct track *t, struct track_sink *sink, uint32_t customer,
                   const struct sum *s);
void track_say_pair(struct track *t, struct track_sink *sink, uint32_t customer,
                    const struct pair *p);
