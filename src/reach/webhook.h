/* Webhooks: every accepted event that an endpoint asked for is sent to it, at least once.
 *
 * A delivery is an HTTP POST of the event as Segment JSON (customer/envelope.h), signed as Standard
 * Webhooks say (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
 *
 *   webhook-id: evt_<24 hex digits>     the messageId, of the event's key: the same on every try
 *   webhook-timestamp: <unix seconds>   of this try
 *   webhook-signature: v1,<base64>      HMAC-SHA256(secret, "<id>.<timestamp>.<body>")
 *
 * The secret is "whsec_" and base64 of 32 random bytes. 2xx is success; everything else, redirects
 * included, is a failure and is tried again; 410 switches the endpoint off.
 *
 * SOURCE OF TRUTH. Each endpoint has a cursor into the journal, and a reader that follows it: what
 * is durable there was accepted. So an event costs nothing to queue, and a process that dies goes
 * on from its cursors. An outbox written in each commit was rejected: it would write every event a
 * second time. The cursor stands at the oldest event that is neither delivered nor written down as
 * to be retried; it is saved every WEBHOOK_SAVE_MS, together with the retries. After a crash, what
 * was sent since is sent again, with the same id. Repeats of an event by its sender are left out as
 * long as the last WEBHOOK_SEEN events know of it.
 *
 * The cursors hold the journal from being trimmed, up to JOURNAL_HOLD_BYTES behind its end. An
 * endpoint that is further behind loses what was trimmed: counted and said in its state.
 *
 * RETRIES. The n-th failure of an event waits a random time between 0 and WEBHOOK_BASE_MS * 2^n, at
 * most WEBHOOK_MOST_WAIT_MS ("full jitter"), or what Retry-After asks for; WEBHOOK_GIVE_UP_MS after
 * the first try it becomes a dead letter, which is kept (the newest WEBHOOK_DEAD_MOST of an
 * endpoint) and can be replayed. An endpoint that fails WEBHOOK_BREAK_AFTER times in a row without
 * a success (no connection, no answer in time, 408, 429, 5xx) is left alone for a while that
 * doubles up to WEBHOOK_MOST_PAUSE_MS, then one try decides; its events wait in the journal
 * meanwhile. When WEBHOOK_RETRY_MOST events wait to be tried again: one that does not answer is
 * read for no more; of one that answers, and refuses these, the most tried become dead letters
 * early.
 *
 * SEGMENTS. An endpoint may also, or only, ask for who enters and leaves segments: track events
 * "Segment Entered" and "Segment Left" (outbox_json), from the outbox instead of the journal, with
 * a cursor of their own: the number of the last change that is settled. Their id is that of the
 * change (outbox_id). An endpoint that is further behind than the outbox keeps loses what was
 * removed.
 *
 * NOT PROMISED: order; and exactly once. Receivers drop ids that they have seen.
 *
 * ADDRESSES. Connections to private and local addresses are refused at the moment of connecting, so
 * that no name can point there (SSRF), unless the configuration allows them. No proxies, no
 * redirects, http and https only.
 *
 * Tables in DIR/desk.db: webhook, webhook_retry, webhook_dead.
 *
 * Layers: base, store/journal/reader.h, customer/envelope.h, outbox.h, libcurl, libsodium. Threads:
 * the engine has one of its own, which does all sending; webhook_* (the tables) any. Limits:
 * WEBHOOK_*.
 */
#pragma once

#include "base/sql.h"
#include "customer/db.h"

enum {
    WEBHOOK_MOST = 100,        /* endpoints                                        */
    WEBHOOK_URL_MAX = 2000,    /* bytes                                            */
    WEBHOOK_EVENTS_MAX = 8000, /* bytes of each filter                             */
    WEBHOOK_PARALLEL = 8,      /* requests of one endpoint at a time               */
    WEBHOOK_WINDOW = 256,      /* events of one endpoint in memory                 */
    WEBHOOK_SEEN = 1 << 16,
    WEBHOOK_TIMEOUT_MS = 15000, /* of one try                                       */
    WEBHOOK_SAVE_MS = 1000,
    WEBHOOK_BASE_MS = 5000,
    WEBHOOK_MOST_WAIT_MS = 6 * 3600000,
    WEBHOOK_GIVE_UP_MS = 72 * 3600000,
    WEBHOOK_BREAK_AFTER = 5,
    WEBHOOK_PAUSE_MS = 5000,
    WEBHOOK_MOST_PAUSE_MS = 600000,
    WEBHOOK_DEAD_MOST = 100000,
    WEBHOOK_RETRY_MOST = 10000, /* events of one endpoint that wait for another try */
};

/* ---- the tables ---- */

int webhook_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

enum webhook_state { WEBHOOK_ON, WEBHOOK_OFF, WEBHOOK_GONE, WEBHOOK_STATES };
const char *webhook_state_text(enum webhook_state state); /* "on", "off", "gone" */

struct webhook_row {
    int64_t id;
    struct str url, events, secret; /* events: names, a newline between two; "": all */
    bool no_events;      /* none at all                                                     */
    struct str segments; /* numbers, a newline between two; "": all; p NULL: none           */
    enum webhook_state state;
    struct str reason; /* why it is not on, or the last failure; "" */
    int64_t created_ms, delivered, failed, retrying, dead, missed_bytes;
};

struct webhook_wish {
    struct str events; /* names, a newline between two; "" or p NULL: all */
    bool no_events;
    struct str segments; /* numbers, a comma between two; "": all; p NULL: none */
};
/* Adds names of events to those of a wish: one, as it is (KEEL_E_INVALID if it has a line break);
 * or all of a list with commas between them, without the spaces around. The buffer may fail. */
int webhook_add_name(struct buf *events, struct str name, struct keel_error *err) K_CHECKED;
int webhook_add_names(struct buf *events, struct str list, struct keel_error *err) K_CHECKED;
/* A new secret is made; webhook_list tells it. KEEL_E_INVALID: no such URL, or nothing is asked
 * for; KEEL_E_LIMIT: too many. What is accepted, or happens, from now on is sent: by a running
 * server within a second, else from its next start on. */
int webhook_add(struct sql *desk, struct str url, const struct webhook_wish *wish, int64_t now_ms,
                int64_t *out_id, struct keel_error *err) K_CHECKED;
/* Calls each() by id; only > 0: that one. A negative result ends it. KEEL_E_NOT_FOUND. */
int webhook_list(struct sql *desk, int64_t only,
                 int (*each)(void *ctx, const struct webhook_row *row), void *ctx,
                 struct keel_error *err) K_CHECKED;
void webhook_json(const struct webhook_row *row, struct buf *out);
/* Off: nothing is sent, the cursor is forgotten; on again begins at the then newest event. */
int webhook_enable(struct sql *desk, int64_t id, bool on, struct keel_error *err) K_CHECKED;
int webhook_remove(struct sql *desk, int64_t id, struct keel_error *err) K_CHECKED;

struct webhook_letter {
    int64_t id, webhook, tries, first_ms, dead_ms;
    struct str message_id, error, body;
};
/* Dead letters of an endpoint (0: of all) with ids above `after`, at most `limit`, by id. */
int webhook_dead(struct sql *desk, int64_t webhook, int64_t after, int64_t limit,
                 int (*each)(void *ctx, const struct webhook_letter *letter), void *ctx,
                 struct keel_error *err) K_CHECKED;
/* Gives dead letters another WEBHOOK_GIVE_UP_MS: those of an endpoint, or (letter > 0) one. */
int webhook_replay(struct sql *desk, int64_t webhook, int64_t letter, int64_t now_ms,
                   int64_t *out_count, struct keel_error *err) K_CHECKED;

/* Sends a signed event of type "track" named "Webhook Test" now, once. *status: of the answer. */
int webhook_test(struct sql *desk, int64_t id, bool allow_private, long *status,
                 struct keel_error *err) K_CHECKED;

/* ---- the engine ---- */

struct webhooks;

struct webhooks_options {
    const char *dir;
    struct db *db;      /* open for writing                                   */
    bool allow_private; /* addresses of private networks                      */
    /* For tests: 0 takes the constants. */
    int64_t base_ms, give_up_ms, pause_ms, timeout_ms, retry_rows;
};

int webhooks_open(const struct webhooks_options *options, struct webhooks **out,
                  struct keel_error *err) K_CHECKED;
/* Cuts what is under way, saves the cursors. NULL is fine. Before the db is closed. */
void webhooks_close(struct webhooks *w);

/* The outbox has more: not only at the next tick. Any thread. */
void webhooks_more(struct webhooks *w);

struct webhooks_stats { /* since the start */
    uint64_t delivered, failed, dead, repeated;
    uint64_t in_flight, waiting, paused_endpoints;
    struct keel_error last_error; /* of the engine itself, not of endpoints; code 0: none */
};
void webhooks_stats(struct webhooks *w, struct webhooks_stats *out);
