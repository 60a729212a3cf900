/* The outbox: who entered and who left which segment, durable and in order, before anybody is told.
 *
 * Each change is written once and has a number of its own; what sends it on (webhook.h, streams of
 * the API) reads from here and may send it more than once. The id that receivers see is made of the
 * number and the moment (outbox_id): an outbox that was restored from a backup gives numbers again,
 * but no ids.
 *
 * Also here, in the same transactions: the membership of each segment as of some number. The
 * changes behind it lead from there to what has been announced, so a process that dies begins again
 * exactly where telling stopped.
 *
 * Tables in DIR/desk.db: outbox (a row a batch of changes, packed), outbox_members.
 *   changes: v segments | for each: v id, v version, s name
 *            then for each change: u8 flags (outbox.c) | v segment (its place above)
 *            | unless it is of the customer of the change before: u32 customer | s identifier
 *
 * Layers: base/sql.h, customer/identity.h, CRoaring. Threads: any; a batch has one owner. Limits:
 * OUTBOX_BATCH changes a row; OUTBOX_KEEP_BYTES are kept for readers that are behind.
 */
#pragma once

#include "base/buf.h"
#include "base/sql.h"
#include "customer/identity.h"

struct roaring_bitmap_s;

enum {
    OUTBOX_BATCH = 1 << 15,
    OUTBOX_KEEP_BYTES = 256 << 20,
    OUTBOX_ENTRIES_BYTES = 16 << 20,
    OUTBOX_ID_BYTES = 40,
    OUTBOX_PLACES = 1 << 12,
};

enum outbox_cause {
    OUTBOX_EVENT,  /* an event of the customer                                             */
    OUTBOX_TIME,   /* time went by                                                         */
    OUTBOX_MERGED, /* left: a visitor who became known; the person is told of himself      */
    OUTBOX_EDITED, /* the condition became another one                                     */
    OUTBOX_MISSED, /* found when the server started: it was not there when it happened     */
    OUTBOX_CAUSES
};
extern const char *const OUTBOX_CAUSE_TEXT[OUTBOX_CAUSES]; /* "event", "time", … */

struct outbox_change {
    int64_t number, at_ms;
    int64_t segment, version;
    struct str name; /* of the segment, when it happened */
    uint32_t customer;
    enum id_kind kind;
    struct str id; /* user_id or anonymous_id */
    bool entered;  /* else left */
    enum outbox_cause cause;
};

int outbox_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

/* ---- writing ---- */

/* A batch while it grows. Zeroed is empty. */
struct outbox_batch {
    struct buf segments, changes;
    int64_t *ids;     /* of the segments so far                                        */
    uint16_t *places; /* [OUTBOX_PLACES] by the low bits of an id: where it stands, + 1 */
    uint32_t n_segments, cap_segments, n;
    int64_t first, at_ms; /* number of its first change */
    uint32_t customer;    /* of its last one */
    enum id_kind kind;
};
void outbox_batch_init(struct outbox_batch *b, int64_t first, int64_t at_ms);
void outbox_batch_release(struct outbox_batch *b);
/* Whether the next change is of the customer of the last one: then his identifier is not asked. */
static inline bool outbox_batch_goes_on(const struct outbox_batch *b, uint32_t customer) {
    return b->n > 0 && b->customer == customer;
}
/* Numbers are given in order: c->number and at_ms are not looked at. */
void outbox_batch_add(struct outbox_batch *b, const struct outbox_change *c);
int outbox_write(struct sql *desk, const struct outbox_batch *b, struct keel_error *err) K_CHECKED;

/* The membership of a segment behind all changes up to `number`. */
int outbox_save_members(struct sql *desk, int64_t segment, int64_t version, int64_t number,
                        const struct roaring_bitmap_s *members, struct keel_error *err) K_CHECKED;
/* Nothing has changed in it up to `number`. */
int outbox_touch_members(struct sql *desk, int64_t segment, int64_t number,
                         struct keel_error *err) K_CHECKED;
int outbox_forget_members(struct sql *desk, int64_t segment, struct keel_error *err) K_CHECKED;
/* Removes the oldest changes that every saved membership has behind it, beyond what is kept. */
int outbox_trim(struct sql *desk, int64_t keep_bytes, struct keel_error *err) K_CHECKED;

/* ---- reading ---- */

/* Number of the newest change, 0 if there was none; and of the oldest that is kept. */
int outbox_end(struct sql *desk, int64_t *out_last, int64_t *out_first,
               struct keel_error *err) K_CHECKED;
/* Calls each() for the changes behind `after`, in order; at most about `most` of them, then a call
 * from the last one on gives the rest. A positive result of each() ends it, too: that change counts
 * as not given. *out_last: the last one given, or `after`. The text of a change lives during its
 * call. KEEL_E_CORRUPT names the row. */
int outbox_read(struct sql *desk, int64_t after, uint32_t most,
                int (*each)(void *ctx, const struct outbox_change *c), void *ctx, int64_t *out_last,
                struct keel_error *err) K_CHECKED;
/* When the customer came into each segment, by the newest change that tells of him there; at_ms is
 * 0 if none does. Looks at the newest changes, about OUTBOX_ENTRIES_BYTES of them. *out_from_ms: as
 * of when all changes were looked at; 0: there never was an older one. */
struct outbox_entry {
    int64_t segment, at_ms, number;
};
int outbox_entries(struct sql *desk, uint32_t customer, struct outbox_entry *entries, uint32_t n,
                   int64_t *out_from_ms, struct keel_error *err) K_CHECKED;
/* The saved membership of a segment and the number it belongs to; what was announced since are the
 * changes behind that. *out is new; NULL: nothing was ever saved. */
int outbox_members(struct sql *desk, int64_t segment, int64_t *out_version, int64_t *out_number,
                   struct roaring_bitmap_s **out, struct keel_error *err) K_CHECKED;

/* "chg_" and digits: the same for a change whoever sends it, and however often. */
void outbox_id(const struct outbox_change *c, char out[OUTBOX_ID_BYTES]);
/* A track event "Segment Entered" or "Segment Left" of the customer, as Segment JSON. */
void outbox_json(const struct outbox_change *c, struct buf *out);
