/* Tracks: what is kept of every customer, so that the leaves of live segments can tell.
 *
 * A *leaf* is an elementary condition; segments that say the same in part share it. A *track* is
 * what leaves over the same events share: it is fed each new event once, by the same matching as a
 * query's (match.h), and keeps of a customer no more than its leaves need:
 *
 *   COUNT     did E [N times]                       how often
 *   RECENT    did E [N times] during last …         the newest times, as many as matter
 *   SUM       sum(E.p) … without a moving range     the sum
 *   TRAIT     trait P …                             when it was last set, and whether that passes
 *   FOLLOWED  A followed by B without a moving range  the last of both, and whether it holds
 *   IDENTITY  identified, anonymous                 nothing: the identity graph knows
 *   WINDOW    sum(E.p) … during last …              the newest values, with their times
 *   HISTORY   everything else                       that he has such events at all
 *
 * So fifty thresholds of one count are one count. What the leaves say is a bit each in the row of
 * the customer (truths.h), and is brought up to date when what is kept changes, or time does. A
 * COUNT of one needs no more than those bits.
 *
 * Filling. A track is filled at once, or step by step by ranges of customers while events come in
 * (`filling`). What is kept of a customer before his step counts for nothing: the step drops it and
 * reads all of his past. Leaves are filled with their track, or later from what it keeps; a leaf
 * that needs more than a filled track keeps has one of its own until the next start.
 *
 * Whenever a HISTORY may have changed for a customer (an event that it names, a moment at which one
 * leaves its range, a merge), his timeline is asked again by the engine itself. The others ask it
 * only where what they keep cannot tell: equal times of a trait, a late event of FOLLOWED, more
 * values in the range of a WINDOW than it keeps, a customer that gives back a part of his past.
 *
 * Time. Each customer has at most one timer of a track that counts: not behind the first moment at
 * which a leaf says something else. It is not moved when that moment moves away; who is woken in
 * vain looks and sleeps on. Events of the future are not looked at until they are past.
 *
 * Layers: account.h, ahead.h, slots.h, truths.h, wheel.h. Threads: one owner (live.h). Limits:
 * TRACK_MOST_TIMES times of RECENT, a count that needs more is a HISTORY; TRACK_MOST_VALUES.
 */
#pragma once

#include "query/account.h"
#include "query/live/ahead.h"
#include "query/live/slots.h"
#include "query/live/truths.h"
#include "query/live/wheel.h"

enum { TRACK_MOST_TIMES = 8, TRACK_MOST_VALUES = 8, TRACK_MOST_MATCHES = 2 * QUERY_MAX_EVENTS };

enum track_kind {
    TRACK_COUNT,
    TRACK_RECENT,
    TRACK_SUM,
    TRACK_TRAIT,
    TRACK_FOLLOWED,
    TRACK_IDENTITY,
    TRACK_WINDOW,
    TRACK_HISTORY,
};

/* Whether the timeline answers for its leaves; else only the track can be fed anew. */
static inline bool track_kind_asks(enum track_kind kind) {
    return kind == TRACK_WINDOW || kind == TRACK_HISTORY;
}

struct track;

struct leaf {
    uint32_t bit; /* in the rows, as long as it is in a set */
    uint32_t index, refs;
    struct query *asked; /* count customers where <it>; canonical text: asked->text */
    struct arena arena;  /* of `asked` and the test */
    const struct query_cond *cond;
    struct track *track;
    bool fresh;         /* its bits are to be filled at once   */
    bool filling;       /* its bits are being filled by steps */
    bool otherwise;     /* what holds for a customer of whom nothing is kept */
    struct test test;   /* MEASURE, TRAIT */
    struct ahead ahead; /* of a moving range */
};

struct track {
    enum track_kind kind;
    uint32_t index;      /* in its set */
    struct query *asked; /* the question of all its leaves, without what they differ in: the key */
    struct arena arena;
    const struct query_cond *cond;
    struct leaf **leaves;
    uint32_t n_leaves, cap;
    uint32_t need; /* COUNT, RECENT: more events than that change nothing    */
    uint32_t room; /* RECENT: times that are kept; COUNT: 1, or as many as are */
    bool fresh;    /* to be filled at once         */
    bool filling;  /* is being filled by steps     */
    bool compiled;
    uint64_t provisional; /* the plan's: a change gives old events another meaning */
    struct slots state;   /* of customers */
};

/* Parses and compiles `cond` apart from any data. KEEL_E_SYNTAX for a regular expression that does
 * not compile. */
int leaf_new(const struct query_cond *cond, const struct time_zone *zone, struct leaf **out,
             struct keel_error *err) K_CHECKED;
void leaf_free(struct leaf *leaf);
bool leaf_moves(const struct leaf *leaf); /* over a moving range */

/* The track that a leaf wants: empty, fresh. */
int track_new(const struct leaf *leaf, struct track **out, struct keel_error *err) K_CHECKED;
void track_free(struct track *t);
/* `wanted`, which nobody joined, keeps the same of the same events; and `t` would do for its leaf:
 * it is empty, or keeps enough. */
bool track_serves(const struct track *t, bool empty, const struct track *wanted);
/* From here on `leaf` reads it. */
void track_join(struct track *t, struct leaf *leaf);
void track_leave(struct track *t, struct leaf *leaf);
void track_clear(struct track *t); /* forgets everybody */
uint64_t track_bytes(const struct track *t);

/* What feeding changes. Customers are roots. */
struct track_sink {
    struct truths *truths;
    struct wheel *wheel;
    int64_t now_ms;
    const struct track *only; /* NULL: all; */
    bool filling;    /* those that are fresh or filled by steps, of whom leaves are told later */
    bool rebuilding; /* a customer's whole timeline is being fed, in order: ties are decided */
    struct test_scratch scratch;
    void (*ask)(void *ctx, struct track *t, uint32_t customer); /* only the timeline can tell */
    void *ctx;
};

/* A machine that feeds the track. It is made fresh if what the store has learnt gives its words
 * another meaning; its state needs nothing but `sink`, which is read at each feed. */
int track_machine(struct plan *p, struct track *t, struct track_sink *sink,
                  struct keel_error *err) K_CHECKED;

/* What its leaves say of customers [first, first + n), from what is kept; timers are set anew. Of a
 * HISTORY and a COUNT of one only the timers: their answers are kept in the rows. */
void track_refresh(struct track *t, struct track_sink *sink, uint32_t first, uint32_t n);
/* A timer of the customer is due. */
void track_wake(struct track *t, struct track_sink *sink, uint32_t customer, int64_t at_ms);
/* Forgets a customer. */
void track_forget(struct track *t, struct track_sink *sink, uint32_t customer);
/* As if nothing had been kept of customers [first, first + n); what leaves say stays. */
void track_drop_range(struct track *t, uint32_t first, uint32_t n);
/* The whole timeline of `from` has become part of that of `to`: asks where only that can tell. */
void track_merge(struct track *t, struct track_sink *sink, uint32_t from, uint32_t to);

/* Of one that asks: whether he has any of its events; the answer of his timeline, good until
 * `turn_ms`: of a HISTORY whether its leaf holds, of a WINDOW the sum, which its leaves test. */
bool track_has(const struct track *t, uint32_t customer);
void track_answer(struct track *t, struct track_sink *sink, uint32_t customer, bool holds,
                  const struct datum *sum, int64_t turn_ms);
