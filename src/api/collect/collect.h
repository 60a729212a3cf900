/* The collectors' pipeline: from a request to the journal, and back to the sender.
 *
 *   thread of the connection        who sends (source.h) · origin, rate · the dialect's body into a
 *                                   batch (segment.h) · check(): the tracking plan · into the queue
 *   applier                         db_append for all that waits: journalled and applied
 *   committer                       one db_commit for all that was applied · keep(): what was held
 *                                   aside, made durable · tell(): what became of it · the reply
 *
 * The applier works on the next requests while the committer waits for the disk.
 *
 * What becomes of an event, and what the sender is told:
 *   accepted     stored and on disk                                       200
 *   duplicate    its message id was stored before                         200
 *   quarantined  against the plan, or no event that can be stored (it     200
 *                has no id, no type, is too large …): kept aside with its
 *                JSON and its reasons, on disk
 *   refused      nothing is kept, and the sender is told why: no JSON, unknown key, wrong origin,
 *                too large a request, strict mode (400, 401, 403, 413): senders give up
 *                rate limit, full queue, failed store (429, 503): senders come again
 * So whatever was answered 200 is found again, in the store or in the quarantine.
 *
 * Back-pressure: the queue is bounded in requests and in bytes; beyond it the answer is 503 with
 * Retry-After. While the disk is full (the journal finds no room, or the heads are full and no
 * flush succeeds), events are answered 503, and taken again when there is room. When the store has
 * failed (a write failed otherwise; a sync that failed is never repeated as if nothing were lost),
 * everything is 503 until a restart. collector_ready and the log say which of the two it is, and
 * why.
 *
 * Layers: segment.h, source.h, server.h, customer/db.h. Threads: collect() in those of the
 * connections; two of its own. Limits: struct collect_options.
 */
#pragma once

#include "api/collect/segment.h"
#include "api/collect/source.h"
#include "api/server/server.h"
#include "customer/db.h"

struct app;
struct collector;
struct log;

struct collect_options {
    uint32_t max_queue_requests; /* 0: 16,384                                            */
    size_t max_queue_bytes;      /* of bodies and batches; 0: 256 MiB                    */
    uint32_t max_event_bytes;    /* of JSON; 0: 1 MiB (Segment: 32 KB)                   */
    uint32_t max_events;         /* of a request; 0: 50,000 (Segment: 2,500)             */
    unsigned retry_seconds;      /* what 503 asks for; 0: 2                              */
    struct log *log;             /* told when events are no longer taken; NULL: nobody   */
};

/* ---- what became of the events ---- */

enum collect_fate {
    COLLECT_ACCEPTED,
    COLLECT_DUPLICATE,
    COLLECT_QUARANTINED,
    COLLECT_REFUSED,
    COLLECT_FATES
};

struct collect_item {
    struct str text;                   /* its JSON as sent; borrowed from the request            */
    const struct event_source *source; /* mostly the request's                                   */
    const char *reason;                /* static: of quarantined (COLLECT_REASON_PLAN, or why it
                                          cannot be stored: segment_reason_text) and of refused  */
    struct str details;                /* what check() said, a JSON array; or empty. Borrowed    */
    struct event_key key;              /* of quarantined: its message id's, or one of its own */
    uint32_t place;                    /* in its batch, from 0                                   */
    uint8_t fate;                      /* enum collect_fate                                      */
    bool repaired;                     /* accepted, and something had to be mended               */
};
extern const char COLLECT_REASON_PLAN[]; /* "against the tracking plan" */

struct collect_outcome {
    const struct request *request;     /* NULL: collect_again                                   */
    const struct event_source *source; /* NULL: no known key                                    */
    const char *dialect;               /* "segment", "rudder", "jitsu"                          */
    int64_t received_ms;
    struct client client; /* its connection; what is kept of its address: client.ip says */
    struct collect_item *items;
    uint32_t n; /* 0: refused before its events were looked at                              */
    int type;   /* enum event_type that the path said, or SEGMENT_ANY_TYPE                  */
    struct segment_envelope envelope; /* what the items share                               */
    int status;          /* of the reply                                                    */
    const char *refused; /* static: why the request as a whole was refused, else NULL; then
                            all items are COLLECT_REFUSED                                   */
};

/* An event that check() looks at: readable, storable. */
struct collect_event {
    const struct event_source *source;
    struct str text;                  /* JSON                                      */
    const struct batch_reader *batch; /* its names, for field_next                 */
    const struct event_view *view;    /* head; copy it to walk the fields          */
};

/* What other rooms of the API add; each may be NULL. Set before the server starts. */
struct collect_hooks {
    void *ctx;
    /* Is there anything to check for this source? Asked once a request; cheap. */
    bool (*checks)(void *ctx, const struct event_source *source);
    /* True: the event may be stored. False: it goes into quarantine; *details (empty, at most
     * 64 KiB) receives a JSON array of what is wrong. In the thread of the connection. */
    bool (*check)(void *ctx, const struct collect_event *event, struct buf *details);
    /* Makes durable what was held aside: all items with fate COLLECT_QUARANTINED of outcomes[0..n).
     * In one transaction; if it fails nothing was kept and their senders are answered 503. What was
     * kept before becomes COLLECT_DUPLICATE. Called only when there is something to keep; in the
     * committer's thread. */
    int (*keep)(void *ctx, const struct collect_outcome *const *outcomes, uint32_t n,
                struct keel_error *err);
    /* What became of one request, before its reply. In any thread; must not wait. */
    void (*tell)(void *ctx, const struct collect_outcome *outcome);
};

int collector_open(const struct collect_options *options, struct sources *sources, struct db *db,
                   const struct collect_hooks *hooks, struct collector **out,
                   struct keel_error *err) K_CHECKED;
/* Answers what waits, ends the threads. After server_stop. */
void collector_close(struct collector *c); /* NULL is fine */

/* 0: takes events; else an error that says why not, for /readyz. */
int collector_ready(struct collector *c, struct keel_error *err) K_CHECKED;

struct collect_stats {
    uint64_t requests, events, commits; /* since the start */
    uint64_t waiting_requests, waiting_bytes;
};
void collector_stats(struct collector *c, struct collect_stats *out);

/* ---- for the dialects ---- */

/* What a dialect found in a request, beside its body. */
struct collect_ask {
    const struct dialect *dialect;
    int type;        /* enum event_type, or SEGMENT_ANY_TYPE                        */
    struct str body; /* JSON, with a readable newline or NUL behind it              */
    bool client;     /* the connection is the customer's own: pixel, beacon         */
    bool server;     /* it is certainly not: server to server                       */
};

/* How a dialect answers. Called once a request, in any thread; the headers for browsers are set. */
struct dialect {
    const char *name;
    void (*done)(struct request *r, const struct collect_outcome *outcome);
    /* status >= 400; code: a word; message: a sentence. violations: a JSON array, or empty. */
    void (*failed)(struct request *r, int status, const char *code, const char *message,
                   struct str violations);
};

/* Takes the request's events; a route's handler returns what it returns. */
int collect(struct request *r, struct app *app, const struct collect_ask *ask);

/* ---- for replays ---- */

enum collect_again_flags { COLLECT_UNCHECKED = 1 }; /* store it although the plan is against it */

struct collect_past { /* how it had come */
    int64_t received_ms;
    struct client client;
    struct event_key key; /* under which it is held: other events are never taken for it */
};
struct collect_counts {
    uint64_t fates[COLLECT_FATES];
};
/* Takes one event as if it came now from this source; waits until it is durable. Not in threads of
 * connections (ROUTE_WORKER). tell() and keep() are called as for a request. */
int collect_again(struct collector *c, const struct event_source *source, struct str text,
                  const struct collect_past *past, unsigned flags, struct collect_counts *counts,
                  struct keel_error *err) K_CHECKED;
