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
    void *ctx;
    segment_lookup segment; /* saved segments that conditions name; NULL: there are none */
    void *segment_ctx;
};

/* now_ms: the moment as of which segments are filled first. */
struct live *live_new(struct db *db, int64_t now_ms, const struct live_options *options);
void live_free(struct live *l);

/* Adds a segment, back-filled as of the last live_advance; its first members are no changes.
 * KEEL_E_LIMIT, KEEL_E_SYNTAX as query_run. */
int live_add(struct live *l, const struct query_cond *where, uint32_t *out_segment,
             struct keel_error *err) K_CHECKED;
/* The same without filling, before the first live_advance, which fills all of them in one scan and
 * tells how each differs from `members` (copied): where an earlier process stopped. NULL: there was
 * none, so its first members are no changes. */
int live_expect(struct live *l, const struct query_cond *where,
                const struct roaring_bitmap_s *members, uint32_t *out_segment,
                struct keel_error *err) K_CHECKED;
void live_remove(struct live *l, uint32_t segment);

/* Takes the segments of `from` into `l`: a set of the same store that was filled beside it, by
 * another thread, while `l` went on. Advances both to one moment, at least now_ms; what changed in
 * `l` is told, the members of `from` are no changes. out_segments[i]: the new number of
 * its segment i; NULL: not wanted. `from` is empty then, and to be freed. After an error of the
 * first step `l` is as live_advance left it and `from` is untouched; of a later one `from` is to be
 * dropped. */
int live_adopt(struct live *l, struct live *from, int64_t now_ms, uint32_t *out_segments,
               struct keel_error *err) K_CHECKED;

/* Everything that is committed, and time up to now_ms; a clock that steps back stands still. After
 * an error nothing is lost: memberships are as before, and the next call begins there. */
int live_advance(struct live *l, int64_t now_ms, struct keel_error *err) K_CHECKED;
/* No membership changes before this moment unless something is committed; INT64_MAX: never. */
int64_t live_next(const struct live *l);

/* Waits until something is committed behind the last live_advance; false: not until
 * monotonic_us() was `until_us`. */
bool live_wait(const struct live *l, int64_t until_us);

bool live_has(const struct live *l, uint32_t segment, uint32_t customer);
uint64_t live_size(const struct live *l, uint32_t segment);
const struct roaring_bitmap_s *live_members(const struct live *l, uint32_t segment); /* borrowed */

struct live_stats {
    uint64_t segments, leaves, timers, bytes;
    uint64_t events, evaluations, asked, rebuilt, changes; /* since the beginning */
};
void live_stats(const struct live *l, struct live_stats *out);
