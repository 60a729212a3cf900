/* The quarantine: events that broke the tracking plan, or that cannot be stored, kept as they came
 * until somebody decides.
 *
 * An event is here, on disk, before its request is answered 200: quarantine_keep writes all that a
 * commit group held aside in one transaction, with one sync, through a connection of its own.
 * Rejected: a record kind of the journal. It would save that sync, but what lies here is listed,
 * replayed and discarded over weeks, while the journal is trimmed after every flush.
 *
 * Once: an event's key (that of its message id) is unique here. A request that is repeated, because
 * its reply was lost or kill -9 came between the commit and the reply, finds the event here already
 * and is told apart (`again`). Replayed and discarded events leave a stone, their key without their
 * JSON, for QUARANTINE_STONE_DAYS.
 *
 * Replay: the JSON as it came is given to `take` (the collector: reader, plan of today, store, with
 * the message id and the time of receipt it had), which returns when its fate is durable; only then
 * the event is marked. A crash in between repeats the event, and the store's dedup makes that a
 * duplicate: still once.
 *
 * Layers: base, gist.h. Threads: all functions may be called by many threads at once; replays and
 * discards exclude each other. Limits: QUARANTINE_MAX_EVENTS and _MAX_BYTES of open events; beyond,
 * quarantine_keep returns KEEL_E_LIMIT and keeps nothing, and the collector answers 503 with
 * Retry-After. Nothing is dropped to make room.
 */
#pragma once

#include "api/collect/gist.h"
#include "api/metrics.h"
#include "base/sql.h"

enum {
    QUARANTINE_MAX_EVENTS = 1000000,
    QUARANTINE_MAX_BYTES = 1 << 30, /* of JSON that is open */
    QUARANTINE_STONE_DAYS = 30,
    QUARANTINE_MAX_LIST = 1000, /* rows of one answer */
};

enum quarantine_state {
    QUARANTINE_OPEN,
    QUARANTINE_REPLAYED,
    QUARANTINE_DISCARDED,
    QUARANTINE_STATES
};
extern const char *const QUARANTINE_STATE_NAMES[QUARANTINE_STATES];

struct quarantine_item {
    struct event_key key; /* of its message id; of what has none, of its content */
    int64_t source;
    int64_t received_ms;
    int type;             /* enum event_type that the path said, or SEGMENT_ANY_TYPE      */
    struct str json;      /* the event as it came                                         */
    struct str envelope;  /* members of its batch that count for it, as they came:
                             "context":{…},"sentAt":"…"; or empty                         */
    struct str reasons;   /* [{"code":…,"property":…,"message":…},…]                      */
    struct client client; /* its connection; the address as it may be kept               */
    bool known;           /* of a replay: only its reasons are brought up to date         */
    bool again;           /* out: it was here already                                     */
};

struct quarantine;

struct quarantine_limits { /* 0: as above */
    uint64_t events, bytes;
};

/* Opens desk.db once more and makes the tables. */
int quarantine_open(const char *desk_path, const struct quarantine_limits *limits,
                    struct quarantine **out, struct keel_error *err) K_CHECKED;
void quarantine_close(struct quarantine *q); /* NULL is fine */

/* All of items[0..n) are on disk when it returns 0; else none is. */
int quarantine_keep(struct quarantine *q, struct quarantine_item *items, size_t n, int64_t now_ms,
                    struct keel_error *err) K_CHECKED;

struct quarantine_stats {
    uint64_t open, open_bytes, max_events, max_bytes;
};
int quarantine_stats(struct quarantine *q, struct quarantine_stats *out,
                     struct keel_error *err) K_CHECKED;
/* A metrics_provider, its ctx the quarantine. */
void quarantine_metrics(void *quarantine, struct metric_text *text);
/* The code of the first of reasons as they are kept, or "". */
struct str quarantine_code(struct str reasons);
/* Forgets old stones. To be called now and then. */
int quarantine_sweep(struct quarantine *q, int64_t now_ms, struct keel_error *err) K_CHECKED;

/* ---- what people do with it ---- */

struct quarantine_filter {
    int64_t source;        /* -1: any                                              */
    int64_t id;            /* of one event; 0: any                                 */
    struct str name, code; /* "": any; code: of the first reason                   */
    int state;             /* enum quarantine_state; -1: any                       */
    int64_t after;         /* ids above it: the cursor                             */
    uint32_t limit;        /* 1 .. QUARANTINE_MAX_LIST                             */
};

struct quarantine_row { /* texts live until each() returns */
    int64_t id, source, received_ms, changed_ms;
    enum quarantine_state state;
    int type;
    struct str name, user, code, reasons;
    struct str json, envelope; /* empty for stones */
    struct client client;      /* of stones without address and agent */
    struct event_key key;
};

/* Calls each(ctx, row) by id; a negative result ends it and is returned. */
int quarantine_list(struct quarantine *q, const struct quarantine_filter *filter,
                    int (*each)(void *ctx, const struct quarantine_row *row), void *ctx,
                    struct keel_error *err) K_CHECKED;

/* The event as a document that reads as it did then: with its type, within its batch. */
int quarantine_document(const struct quarantine_row *row, struct buf *out);

/* What became of a replayed event. */
enum quarantine_outcome {
    QUARANTINE_TAKEN,     /* stored                                          */
    QUARANTINE_DUPLICATE, /* it was stored before                            */
    QUARANTINE_STILL,     /* the plan is still against it: it stays, open    */
    QUARANTINE_OUTCOMES
};
struct quarantine_counts {
    uint64_t of[QUARANTINE_OUTCOMES];
    int64_t last; /* id: where to go on */
};
/* Gives the open events of the filter, up to its limit, to take(): with the document, it returns an
 * outcome that is durable, or an error, which ends the replay and is returned (what went before is
 * counted and marked). */
typedef int quarantine_take(void *ctx, const struct quarantine_row *row, struct str document,
                            struct keel_error *err);
int quarantine_replay(struct quarantine *q, const struct quarantine_filter *filter,
                      quarantine_take *take, void *ctx, int64_t now_ms,
                      struct quarantine_counts *counts, struct keel_error *err) K_CHECKED;
/* Discards the open events of the filter, up to its limit; *out: how many. */
int quarantine_discard(struct quarantine *q, const struct quarantine_filter *filter, int64_t now_ms,
                       uint64_t *out, struct keel_error *err) K_CHECKED;
