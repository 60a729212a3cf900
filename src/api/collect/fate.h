/* What became of every event, counted per source, by the minute and by the hour.
 *
 *     received = accepted + duplicate + quarantined + refused        at any moment
 *     repaired <= accepted
 *
 * What one request brought is added in one step under its source's lock, after its commit, so
 * whoever reads sees either all of it or nothing. A step whose parts do not add up to what was
 * received is not smoothed over: the difference is counted as `unaccounted`, which is to stay 0.
 * Each part is also counted by its reason: the first violation's code, or why it was refused.
 *
 * A request that is turned away before its events are looked at (unknown key, rate limit, full
 * queue, too large) brings no events; it is counted as `turned_away`, by its reason, in requests.
 * Events that leave the quarantine are counted apart as `replayed`, by what became of them: they
 * were received once.
 *
 * Durability: hours are added to desk.db by fate_save, every FATE_SAVE_SECONDS and at a clean stop.
 * kill -9 may lose the counts of the last FATE_SAVE_SECONDS; it never loses an event. Minutes and
 * the numbers of /metrics are of this process.
 *
 * Layers: base, source.h. Threads: all functions may be called by many threads at once; a lock a
 * source, held for additions. Limits: below; a reason beyond FATE_MAX_REASONS is "other", what
 * comes from sources beyond FATE_MAX_SOURCES is counted under source 0.
 */
#pragma once

#include "api/collect/source.h"
#include "api/metrics.h"
#include "base/buf.h"

enum {
    FATE_SAVE_SECONDS = 10,
    FATE_MINUTES = 120, /* kept in memory */
    FATE_KEEP_DAYS = 400,
    FATE_MAX_SOURCES = SOURCE_MAX + 1,
    FATE_MAX_REASONS = 256,
    FATE_MAX_REASON = 120, /* bytes */
    FATE_MAX_POINTS = 10000,
};

#define FATES(F)                                                                                   \
    F(ACCEPTED, "accepted")                                                                        \
    F(DUPLICATE, "duplicate")                                                                      \
    F(QUARANTINED, "quarantined")                                                                  \
    F(REFUSED, "refused")                                                                          \
    F(RECEIVED, "received")                                                                        \
    F(REPAIRED, "repaired")                                                                        \
    F(UNACCOUNTED, "unaccounted")                                                                  \
    F(TURNED_AWAY, "turned_away")                                                                  \
    F(REPLAYED, "replayed")

enum fate_kind {
#define FATE_ENUM(name, text) FATE_##name,
    FATES(FATE_ENUM)
#undef FATE_ENUM
        FATE_KINDS
};
extern const char *const FATE_NAMES[FATE_KINDS]; /* in desk.db: never rename */

struct fate_part {
    enum fate_kind kind;
    struct str reason; /* "" none */
    uint64_t n;
};

struct fate;

/* `desk` and `sources` (NULL: numbers instead of names) outlive it. */
int fate_open(struct sql *desk, struct sources *sources, struct fate **out,
              struct keel_error *err) K_CHECKED;
/* Saves what is not yet saved. NULL is fine. */
int fate_close(struct fate *f, struct keel_error *err) K_CHECKED;

/* What became of the `received` events of a request: FATE_ACCEPTED … FATE_REFUSED, and of the
 * accepted FATE_REPAIRED. source 0: no known key. */
void fate_add(struct fate *f, int64_t source, uint64_t received, const struct fate_part *parts,
              size_t n, int64_t now_ms);
void fate_turned_away(struct fate *f, int64_t source, struct str reason, int64_t now_ms);
void fate_replayed(struct fate *f, int64_t source, enum fate_kind outcome, uint64_t n,
                   int64_t now_ms);

/* Of this process so far, in one moment. */
struct fate_totals {
    uint64_t of[FATE_KINDS];
};
void fate_total(struct fate *f, int64_t source, struct fate_totals *out);

/* Adds what is not yet saved to desk.db in one transaction, and forgets hours older than
 * FATE_KEEP_DAYS. If it fails nothing is lost: the next call tries again. */
int fate_save(struct fate *f, int64_t now_ms, struct keel_error *err) K_CHECKED;

/* {"source":1,"step":"hour","from":…,"to":…,"total":{"received":…,…},
 *  "reasons":[{"fate":…,"reason":…,"count":…}],"points":[{"at":…,"received":…,…}]}
 * of the hours, or of the minutes that are in memory, that begin in [from_ms, to_ms). */
struct fate_ask {
    int64_t source; /* -1: all together */
    int64_t from_ms, to_ms;
    bool minutes;
};
int fate_json(struct fate *f, const struct fate_ask *ask, struct buf *out,
              struct keel_error *err) K_CHECKED;

/* A metrics_provider, its ctx the fate: keel_events_total by source and fate,
 * keel_events_by_reason_total also by reason. */
void fate_metrics(void *fate, struct metric_text *text);
