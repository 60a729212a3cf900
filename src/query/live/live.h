/* Live segments: who is a member now, known at once, and told to whom it concerns.
 *
 * Every segment is a condition (ast.h). What it says of a customer at a moment is what a query says
 * that asks at that moment: the same leaves, matched by the same code, over the same events
 * (design: live == batch). live_advance brings all memberships to a new moment:
 *
 *   1. merges        a visitor who became known: what the tracks kept of him joins the person
 *   2. new events    fed once to every track that names them, as a small snapshot of their own
 *   3. timers        leaves that a moving range, or an event of the future, has changed
 *   4. timelines     asked again only where what the tracks keep cannot tell (track.h)
 *   5. segments      evaluated for the customers of whom some leaf changed; differences are told
 *
 * So the cost follows what has happened, not how many customers or segments there are; and no job
 * runs at night.
 *
 * A segment that comes later is filled by steps: live_fill reads the past of the next customers,
 * and between two of its calls live_advance goes on. What happens to customers who are filled
 * reaches their members at once; the past of the others is read as of the step that fills them.
 *
 * Layers: track.h, exec.h. Threads: one owner calls everything but what is marked; the
 * owner's calls take no lock of ingest. Limits: LIVE_MOST_SEGMENTS; memory (live_stats): a bit a
 * leaf and customer, what the tracks keep, and the members as compressed bitmaps.
 */
#pragma once

#include "query/exec.h"

struct roaring_bitmap_s;
struct live;

enum { LIVE_MOST_SEGMENTS = 10000 };

enum live_cause {
    LIVE_EVENT,  /* an event of the customer, or that he was merged */
    LIVE_TIME,   /* time went by */
    LIVE_MERGED, /* left: this visitor is now somebody known, who is told of himself */
};

struct live_change {
    uint32_t segment; /* as live_add gave it */
    uint32_t customer;
    bool entered; /* else left */
    enum live_cause cause;
    int64_t at_ms; /* the moment to which live_advance went */
};

struct live_options {
    /* Told in the order of customers, after every membership of the moment is in place. NULL: not.
     */
    void (*changed)(void *ctx, const struct live_change *changes, size_t n);
    /* Members of segments that are not being filled change between hold(ctx, true) and hold(ctx,
     * false), and only there: so others may read them meanwhile. NULL: nobody does. */
    void (*hold)(void *ctx, bool held);
    void *ctx;
    segment_lookup segment; /* saved segments that conditions name; NULL: there are none */
    void *segment_ctx;
};

/* now_ms: the moment as of which segments are filled first. */
struct live *live_new(struct db *db, int64_t now_ms, const struct live_options *options);
void live_free(struct live *l);

/* Adds a segment that has no members until live_fill has filled it; these are no changes, and
 * nothing of it is told before. Not while others are half-way filled. KEEL_E_LIMIT, KEEL_E_SYNTAX
 * as query_run. */
int live_start(struct live *l, const struct query_cond *where, uint32_t *out_segment,
               struct keel_error *err) K_CHECKED;
/* The next customers, at most `most`, of all segments that were started; as of the last
 * live_advance. 1: there are more; 0: nothing is being filled. After an error these customers are
 * still to be filled, and the segments may be removed. Before the first live_advance, and after an
 * error of one, it does nothing and says 1: the next live_advance fills everything at once. */
int live_fill(struct live *l, uint32_t most, struct keel_error *err) K_CHECKED;
/* The share of customers that live_fill has filled. */
double live_filled(const struct live *l);
/* Both at once. */
int live_add(struct live *l, const struct query_cond *where, uint32_t *out_segment,
             struct keel_error *err) K_CHECKED;
/* The same without filling, before the first live_advance, which fills all of them in one scan and
 * tells how each differs from `members` (copied): where an earlier process stopped. NULL: there was
 * none, so its first members are no changes. */
int live_expect(struct live *l, const struct query_cond *where,
                const struct roaring_bitmap_s *members, uint32_t *out_segment,
                struct keel_error *err) K_CHECKED;
void live_remove(struct live *l, uint32_t segment);

/* Everything that is committed, and time up to now_ms; a clock that steps back stands still. After
 * an error nothing is lost: memberships are as before, and the next call begins there. */
int live_advance(struct live *l, int64_t now_ms, struct keel_error *err) K_CHECKED;
/* No membership changes before this moment unless something is committed; INT64_MAX: never; that of
 * the last live_advance: at once, since it failed. */
int64_t live_next(const struct live *l);

/* Waits until something is committed behind the last live_advance; false: not until
 * monotonic_us() was `until_us`. */
bool live_wait(const struct live *l, int64_t until_us);

bool live_has(const struct live *l, uint32_t segment, uint32_t customer);
uint64_t live_size(const struct live *l, uint32_t segment);
/* Borrowed, until live_remove. */
const struct roaring_bitmap_s *live_members(const struct live *l, uint32_t segment);

struct live_stats {
    uint64_t segments, leaves, timers, bytes;
    uint64_t events, evaluations, asked, rebuilt, changes; /* since the beginning */
};
void live_stats(const struct live *l, struct live_stats *out);
