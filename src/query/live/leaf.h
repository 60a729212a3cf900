/* Leaves: the elementary conditions of live segments, each kept for every customer at once.
 *
 * Segments that say the same in part share that leaf: leaves are found by their canonical text. A
 * leaf is fed every new event once, by the same matching as a query's (match.h), and keeps of a
 * customer no more than its condition needs:
 *
 *   COUNT       did E [N times]                     how often, up to what still matters
 *   RECENT      did E [N times] during last …       the newest times, as many as matter
 *   TRAIT       trait P …                           when it was last set, and whether that passes
 *   SUM         sum(E.p) … without a moving range   the sum, and whether that passes
 *   IDENTIFIED  identified, anonymous               nothing: the identity graph knows
 *   HISTORY     everything else                     whether it held when last asked
 *
 * Whenever a HISTORY leaf may have changed for a customer (an event that it names, a moment at
 * which one leaves its range, a merge), his timeline is asked again by the engine itself. The
 * others ask it only where what they keep cannot tell: equal times of a trait, a customer that
 * gives back a part of his past.
 *
 * Time. What a RECENT says holds until leaf_turn; of a HISTORY with a moving range the timeline
 * tells the same when it is asked. Events of the future are not looked at until they are past.
 *
 * Layers: account.h, slots.h, CRoaring. Threads: one owner (live.h).
 * Limits: LEAF_MOST_TIMES times of RECENT; a count that needs more is a HISTORY.
 */
#pragma once

#include "query/account.h"
#include "query/live/slots.h"

struct roaring_bitmap_s;

enum { LEAF_MOST_TIMES = 8, LEAF_MOST_MATCHES = 2 * QUERY_MAX_EVENTS };

enum leaf_kind { LEAF_COUNT, LEAF_RECENT, LEAF_TRAIT, LEAF_SUM, LEAF_IDENTIFIED, LEAF_HISTORY };

struct leaf {
    enum leaf_kind kind;
    uint32_t index;      /* in its set */
    uint32_t refs;       /* segments that use it */
    struct query *asked; /* count customers where <it>; canonical text: asked->text */
    struct arena arena;  /* of `asked` */
    const struct query_cond *cond;
    uint32_t need; /* COUNT, RECENT: more events than that change nothing */
    bool fresh;    /* to be filled */
    bool compiled;
    uint64_t provisional; /* the plan's: a change gives old events another meaning */
    bool otherwise;       /* what holds for a customer who has none of its events */
    struct slots state;   /* COUNT, need > 1: uint32_t · RECENT: struct recent · TRAIT: struct
                             latest · SUM: struct total */
    struct roaring_bitmap_s *seen;  /* COUNT, need == 1, and HISTORY: who has any of its events */
    struct roaring_bitmap_s *holds; /* HISTORY: for whom of those it held                      */
    struct span span;               /* RECENT: the range at span_at_ms */
    int64_t span_at_ms;
};

/* When and among whom a question is asked. */
struct live_moment {
    int64_t now_ms;
    const struct time_zone *zone;
    struct identity *identity;
};

/* Parses and compiles `cond` apart from any data. KEEL_E_SYNTAX for a regular expression that does
 * not compile. */
int leaf_new(const struct query_cond *cond, struct leaf **out, struct keel_error *err) K_CHECKED;
void leaf_free(struct leaf *leaf);
void leaf_clear(struct leaf *leaf); /* forgets everybody */
uint64_t leaf_bytes(const struct leaf *leaf);

/* What feeding found. Customers are roots. */
struct leaf_sink {
    void *ctx;
    int64_t now_ms;
    const struct leaf *only; /* NULL: all; */
    bool fresh_only;         /* those that are to be filled */
    bool rebuilding; /* a customer's whole timeline is being fed, in order: ties are decided */
    void (*changed)(void *ctx, struct leaf *leaf,
                    uint32_t customer); /* it may say something else */
    /* RECENT: it says the same as before, but maybe until another moment. */
    void (*kept)(void *ctx, struct leaf *leaf, uint32_t customer);
    void (*ask)(void *ctx, struct leaf *leaf, uint32_t customer); /* only the timeline can tell */
};

/* A machine that feeds the leaf. It is made fresh if what the store has learnt gives its words
 * another meaning; its state needs nothing but `sink`, which is read at each feed. */
int leaf_machine(struct plan *p, struct leaf *leaf, struct leaf_sink *sink,
                 struct keel_error *err) K_CHECKED;

/* Does it hold for a customer now? */
bool leaf_says(struct leaf *leaf, const struct live_moment *at, uint32_t customer);
/* The next moment behind `at` at which a RECENT may say something else without a new event;
 * INT64_MAX: none. (Of a HISTORY the asker knows.) */
int64_t leaf_turn(const struct leaf *leaf, const struct live_moment *at, uint32_t customer);
/* RECENT, HISTORY: where to note the customer's timer, 0: none; NULL: nothing is kept of him. */
int64_t *leaf_timer(struct leaf *leaf, uint32_t customer);
/* Forgets a customer. */
void leaf_forget(struct leaf *leaf, uint32_t customer);
/* The whole timeline of `from` has become part of that of `to`. False: the timeline must be asked.
 */
bool leaf_merge(struct leaf *leaf, uint32_t from, uint32_t to);
/* HISTORY: the answer of the timeline. True: it is another one than before. */
bool leaf_answer(struct leaf *leaf, uint32_t customer, bool holds);
