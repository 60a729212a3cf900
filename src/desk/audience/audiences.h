/* Saved segments, live: their members while the server runs, and who is told.
 *
 * A thread of its own follows the store (query/live/live.h): what is committed changes memberships
 * soon after its commit, and so does time. Every change goes into the outbox (reach/outbox.h), in
 * groups that are on disk before anybody is told; who tells (webhooks, streams) reads there.
 *
 * New segments are filled by the same thread, in steps between which it follows; their first
 * members are no changes. So is the new condition of an edited segment, and of those that name it:
 * until it is ready the old one goes on, then the difference is told ("edited"). At the start all
 * are filled in one scan and compared with what was announced last: what changed while the server
 * was away is told once ("missed"; who came and went in between is not). A removed segment is
 * forgotten; its members are not told that they left.
 *
 * If desk.db cannot be written, the changes wait in memory (AUDIENCES_QUEUE_BYTES), then
 * memberships stand still: nothing is lost, nothing is told that could be told again.
 *
 * Sizes: one row a segment a minute, if it changed; older ones are thinned to one an hour (after
 * AUDIENCES_MINUTES_MS) and one a day (after AUDIENCES_HOURS_MS), kept AUDIENCES_DAYS_MS.
 *
 * Tables in DIR/desk.db: those of audience.h and outbox.h; audience_size.
 *
 * Layers: audience.h, query/live/live.h, reach/outbox.h. Threads: any may call; two of its own.
 * Locks: audiences.lock (the list, members), audiences.queue_lock. Limits: LIVE_MOST_SEGMENTS;
 * memory: that of live.h.
 */
#pragma once

#include "base/sql.h"
#include "customer/db.h"

struct roaring_bitmap_s;

enum {
    AUDIENCES_QUEUE_BYTES = 64 << 20,
    AUDIENCES_LOOK_MS = 1000, /* until a change by another process is seen */
};
#define AUDIENCES_MINUTES_MS (INT64_C(2) * 86400000)
#define AUDIENCES_HOURS_MS (INT64_C(60) * 86400000)
#define AUDIENCES_DAYS_MS (INT64_C(1830) * 86400000)

struct audiences;

struct audiences_options {
    const char *dir;
    struct db *db;           /* open for writing                                       */
    void (*more)(void *ctx); /* the outbox has more; by a thread of this; NULL: nobody */
    void *ctx;
};

/* Returns when the tables are read; the first scan goes on behind it. */
int audiences_open(const struct audiences_options *options, struct audiences **out,
                   struct keel_error *err) K_CHECKED;
/* NULL is fine. After the server, before the db is closed. */
void audiences_close(struct audiences *a);
/* The table was changed: it is read at once. */
void audiences_changed(struct audiences *a);

enum audience_state { AUDIENCE_FILLING, AUDIENCE_LIVE, AUDIENCE_FAILED };
extern const char *const AUDIENCE_STATE_TEXT[]; /* "filling", "live", "failed" */

struct audience_status {
    enum audience_state state; /* of the newest version; an older one goes on meanwhile */
    int64_t version;           /* whose members these are; 0: none yet                  */
    uint64_t size;
    double filled; /* of AUDIENCE_FILLING: the share of customers who have been looked at; or 0 */
    int64_t as_of_ms;
    char error[KEEL_ERROR_MAX]; /* of AUDIENCE_FAILED, else "" */
};
/* One that is not known yet is filling. */
void audiences_status(struct audiences *a, int64_t id, struct audience_status *out);
/* Waits until the version is live or failed; false: not within `ms`. */
bool audiences_wait(struct audiences *a, int64_t id, int64_t version, int64_t ms);
/* A copy of its members of now. KEEL_E_BUSY: there are none yet. */
int audiences_members(struct audiences *a, int64_t id, struct roaring_bitmap_s **out,
                      struct keel_error *err) K_CHECKED;
/* Ids of the segments that a customer (root number) is a member of; at most `most`. */
uint32_t audiences_of(struct audiences *a, uint32_t customer, int64_t *out_ids, uint32_t most);

/* Sizes over time, oldest first. A negative result of each() ends it. */
int audience_sizes(struct sql *desk, int64_t id, int64_t from_ms, int64_t to_ms,
                   int (*each)(void *ctx, int64_t at_ms, int64_t size), void *ctx,
                   struct keel_error *err) K_CHECKED;

struct audiences_stats {
    uint64_t segments, filling, failed;
    uint64_t leaves, timers, bytes, evaluations, asked, rebuilt;
    uint64_t entered, left;         /* told, since the start                               */
    uint64_t advances, advanced_us; /* how often, and how long it took in all              */
    int64_t behind_ms;              /* since when something has been waiting to be followed */
    int64_t last_number, durable_number;
    struct keel_error last_error; /* of the threads; code 0: none */
};
void audiences_stats(struct audiences *a, struct audiences_stats *out);
