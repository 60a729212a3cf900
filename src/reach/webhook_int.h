/* What the files of the engine share:
 *
 *   webhook.c        the thread: loading endpoints, sending, what an answer means
 *   webhook_queue.c  one endpoint: its reader, the events in memory, the cursor
 *   webhook_save.c   what is settled, into the tables
 *
 * Everything here belongs to the engine's thread. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "customer/envelope.h"
#include "reach/outbox.h"
#include "reach/webhook_send.h"
#include "store/journal/reader.h"

enum {
    MESSAGE_ID_BYTES = 64,
    REASON_BYTES = 200,
    RETRIES_AT_ONCE = 64, /* rows of webhook_retry in memory */
};

enum delivery_state { WAITING, FLYING, SENT, FAILED, DEAD };

struct delivery {
    struct delivery *next;
    struct endpoint *endpoint;
    enum delivery_state state;
    bool is_retry; /* a row of webhook_retry; else of the journal */
    char id[MESSAGE_ID_BYTES];
    char *body;
    size_t body_bytes;
    int64_t tries, first_ms, next_ms;
    uint64_t position; /* of the journal: its record, and how many events stand before it */
    uint32_t index;
    int64_t change; /* of the outbox: its number */
    struct webhook_request request;
    char error[REASON_BYTES];
};

struct deliveries { /* in the order they came */
    struct delivery *first, *last;
    uint32_t count;
};

struct endpoint {
    struct endpoint *next;
    int64_t id;
    char url[WEBHOOK_URL_MAX + 1], secret[WEBHOOK_SECRET_TEXT];
    struct buf filter; /* names, a newline between two */
    enum webhook_state state;

    bool has_cursor;
    uint64_t position; /* saved, or about to be */
    uint32_t skip;
    struct journal_reader *reader;
    struct arena names; /* of the batch at hand */
    struct buf record;
    struct batch_reader batch;
    bool in_record;
    uint64_t record_position;
    uint32_t index; /* events of it that were looked at */
    uint64_t *seen; /* [WEBHOOK_SEEN] keys, in sets of four by their low bits */
    int64_t retry_rows, retries_looked_us;

    bool no_events;
    bool wants_changes;
    struct buf segments; /* numbers, a newline between two; empty: all */
    bool has_change;
    int64_t change; /* the last one that was read, or passed over */

    struct deliveries events, changes, retries;
    uint32_t flying;

    uint32_t failures; /* in a row */
    int64_t pause_ms, paused_until_us;

    bool dirty;                              /* there is something to save */
    int64_t delivered, failed, missed_bytes; /* since the last save */
    char reason[REASON_BYTES];
};

struct webhooks {
    struct webhooks_options options;
    char *dir;
    struct sql *desk;
    CURLM *multi;
    struct endpoint *endpoints;
    struct envelope envelope;
    struct rand *dice;
    pthread_t thread;
    _Atomic bool stopping;
    int64_t saved_us, looked_us, swept_us;
    int64_t outbox_first, outbox_last; /* as of this turn, if anybody wants changes */
    uint64_t held;                     /* what the journal was told */
    pthread_mutex_t lock;              /* stats */
    struct webhooks_stats stats;
};

/* ---- webhook_queue.c ---- */

void deliveries_add(struct deliveries *list, struct delivery *d);
/* Frees those in any of the states (1 << enum delivery_state). */
void deliveries_drop(struct deliveries *list, unsigned states);
void delivery_free(struct delivery *d);
/* Takes events from the journal as long as there is room for them. */
int endpoint_read(struct webhooks *w, struct endpoint *e, struct keel_error *err) K_CHECKED;
/* The rows of webhook_retry whose time has come, when those before are settled and saved. */
int endpoint_load_retries(struct webhooks *w, struct endpoint *e, int64_t now_ms,
                          struct keel_error *err) K_CHECKED;
/* Takes changes of segments from the outbox, up to the window. */
int endpoint_read_changes(struct webhooks *w, struct endpoint *e, struct keel_error *err) K_CHECKED;
/* The last change before the oldest that is not settled. */
int64_t endpoint_change(const struct endpoint *e);
/* The oldest event that is not settled. */
void endpoint_cursor(const struct endpoint *e, uint64_t *position, uint32_t *skip);
void endpoint_free(struct endpoint *e);

/* ---- webhook_save.c ---- */

/* Writes down what was settled, and moves the cursors, in one transaction; then tells the journal
 * what it may trim. */
int webhooks_save(struct webhooks *w, struct keel_error *err) K_CHECKED;
