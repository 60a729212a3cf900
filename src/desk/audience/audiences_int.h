/* What the files of the live segments share:
 *
 *   audiences.c        life; the thread that follows the store; questions about members
 *   audiences_load.c   the table of segments: what is to be filled, what is gone
 *   audiences_fill.c   filling what is new, by steps
 *   audiences_write.c  the queue and the thread that makes changes durable; sizes over time
 *
 * Fields belong to the following thread unless a lock is named. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "desk/audience/audience.h"
#include "desk/audience/audiences.h"
#include "query/live/live.h"
#include "reach/outbox.h"

enum { NO_SLOT = UINT32_MAX };

struct saved { /* one segment */
    struct saved *next;
    int64_t id, version; /* of the table                                               */
    char *name;
    uint64_t meaning;           /* of its condition and all that it names                     */
    bool listed;                /* while the table is read                                    */
    bool waits;                 /* to be filled with `meaning`                                */
    bool first;                 /* it has no members yet, so its first ones are not told      */
    uint64_t filled;            /* the meaning that is live, or being filled at the start     */
    uint32_t slot;              /* in `live`; NO_SLOT: in none                                */
    int64_t number;             /* its saved membership is as of this change; -1: none is     */
    bool dirty;                 /* changed since                                              */
    int64_t minute, noted_size; /* the last row of audience_size                       */
    /* lock: */
    enum audience_state state;
    int64_t live_version;
    double share; /* of customers who have been filled */
    char *error;
    struct roaring_bitmap_s *members; /* as saved, until it is in a slot; then NULL: live_members */
};

enum write_kind { WRITE_CHANGES, WRITE_MEMBERS, WRITE_TOUCH, WRITE_FORGET, WRITE_SIZE, WRITE_TRIM };

struct write {
    struct write *next;
    enum write_kind kind;
    size_t bytes;
    struct outbox_batch batch; /* CHANGES; position: of the journal, durable before */
    uint64_t position;
    int64_t segment, version, number, size, at_ms;
    struct roaring_bitmap_s *members;
};

struct filling { /* what is being filled by steps, all together */
    struct wanted {
        int64_t id;
        uint64_t meaning;
        uint32_t slot;
    } * wanted;
    uint32_t n;
    uint32_t step; /* customers */
};

struct audiences {
    struct audiences_options options;
    char *dir;
    struct sql *desk; /* of the following thread */
    struct audience_book book;
    bool loaded;
    int64_t stamp; /* of the table that was loaded */
    struct live *live;
    int64_t clock_ms;
    struct outbox_batch batch;
    int64_t next_number, looked_us, saved_us, thinned_ms;
    int64_t took_us;    /* the last live_advance                           */
    int64_t retry_us;   /* live_advance failed: not before this            */
    int64_t save_after; /* the segment whose members were saved last */
    bool starting;      /* the first scan: differences are "missed" */
    bool load_failed;
    struct saved **by_slot; /* [LIVE_MOST_SEGMENTS] */
    struct filling filling;
    pthread_t follower, writer;
    unsigned threads; /* started: the first so many of these */
    _Atomic bool stopping, changed;

    pthread_mutex_t lock; /* list, what saved says, members in `live`, stats */
    pthread_cond_t settled;
    struct saved *list;
    int64_t as_of_ms;
    struct audiences_stats stats;

    pthread_mutex_t stop_lock; /* nothing: to wait by */
    pthread_cond_t stop_wake;

    pthread_mutex_t queue_lock; /* the queue */
    pthread_cond_t queue_wake, queue_room;
    struct write *first, *last;
    size_t queued_bytes;
    bool writer_stops, broken; /* broken: something was dropped, so nothing may follow */
};

void audiences_note_error(struct audiences *a, const struct keel_error *err);
struct saved *audiences_find(struct audiences *a, int64_t id); /* lock, or the following thread */
void audiences_drop(struct saved *s);                          /* frees it */
/* Borrowed. The lock, or the following thread. */
const struct roaring_bitmap_s *audiences_members_of(const struct audiences *a,
                                                    const struct saved *s);
/* error NULL: none. */
void audiences_set_state(struct audiences *a, struct saved *s, enum audience_state state,
                         const struct keel_error *error);
/* One more change for the batch; the members have it already. */
void audiences_tell(struct audiences *a, const struct saved *s, uint32_t customer, bool entered,
                    enum outbox_cause cause, int64_t at_ms);
void audiences_send_batch(struct audiences *a);

/* ---- audiences_load.c ---- */

/* The table as it is now. */
int audiences_load(struct audiences *a, struct keel_error *err) K_CHECKED;
/* At the start: what was announced, and all conditions into `live`. */
int audiences_begin(struct audiences *a, struct keel_error *err) K_CHECKED;
/* Puts its condition into `live`: at the start with the members that it had, later to be filled.
 * NO_SLOT: something is wrong with it, which its state says. a->book is open. */
uint32_t audiences_place(struct audiences *a, struct saved *s);

/* ---- audiences_fill.c ---- */

/* Goes on with what is being filled, for a few milliseconds; or begins with what waits. */
void audiences_fill(struct audiences *a);
bool audiences_filling(const struct audiences *a);

/* ---- audiences_write.c ---- */

int audience_size_tables(struct sql *desk, struct keel_error *err) K_CHECKED;
/* Takes w; waits while the queue is full. */
void audiences_enqueue(struct audiences *a, struct write *w);
/* Its members as they are now, behind all changes so far; a->batch has been sent. */
void audiences_save_members(struct audiences *a, struct saved *s);
void audiences_note_size(struct audiences *a, struct saved *s);
/* Every minute: sizes; memberships that have changed, so that the outbox can be cut. */
void audiences_keep_up(struct audiences *a);
void *audiences_run_writer(void *audiences);
