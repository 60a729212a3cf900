/* The live tail: the last events of every source, with what became of each.
 *
 * Each source has a ring of TAIL_RING_BYTES. What happened is added after the commit; the ring is
 * all that this costs: nothing is parsed, masked or written until somebody listens, and then by the
 * tail's own thread. A listener who reads too slowly is overtaken by the ring and told how many
 * lines he has lost. While nobody listens to a source, TAIL_IDLE_PER_SECOND events a second go into
 * its ring, with TAIL_IDLE_JSON bytes of their JSON; the others only count as lost.
 *
 * Shown is the event's JSON masked by mask.h: classes of the plan in force, and looks.
 *
 * Layers: mask.h, fate.h, server.h. Threads: any may add; one lock a ring, held for copies. Limits:
 * TAIL_MAX_RINGS sources, what comes from more is not shown; TAIL_MAX_LISTENERS, beyond
 * KEEL_E_BUSY; TAIL_MAX_JSON bytes of an event's JSON, the rest is cut.
 */
#pragma once

#include "api/collect/fate.h"
#include "api/server/server.h"
#include "desk/plan/plan.h"

enum {
    TAIL_RING_BYTES = 512 << 10, /* a power of two */
    TAIL_IDLE_PER_SECOND = 50,
    TAIL_IDLE_JSON = 2 << 10,
    TAIL_MAX_JSON = 16 << 10,
    TAIL_MAX_TEXT = 4 << 10, /* of reason and details */
    TAIL_MAX_RINGS = 1024,
    TAIL_MAX_LISTENERS = 64,
    TAIL_MAX_WAITING = 256 << 10, /* bytes in a listener's socket buffer */
    TAIL_PAUSE_MS = 100,          /* how often the thread looks while somebody listens */
    TAIL_MAX_HISTORY = 1000,
};

struct tail_entry {
    enum fate_kind fate; /* FATE_ACCEPTED … FATE_REFUSED */
    bool repaired, replayed;
    int type;           /* enum event_type that the path said; negative: the JSON says it */
    struct str reason;  /* a sentence, or empty */
    struct str details; /* a JSON array, or empty */
    struct str json;    /* the event as it came */
};

struct tail;

/* `sources` NULL: numbers instead of names. Both outlive the tail. */
int tail_open(struct plan *plan, struct sources *sources, struct tail **out,
              struct keel_error *err) K_CHECKED;
void tail_close(struct tail *t); /* NULL is fine; ends the streams */

void tail_add(struct tail *t, int64_t source, int64_t at_ms, const struct tail_entry *entries,
              size_t n);

/* Server-sent events into a stream, until the client leaves:
 *   event: event   data: {"at":…,"source":…,"fate":…,"repaired":…,"type":…,"name":…,"user":…,
 *                         "anonymous":…,"message_id":…,"reason":…,"details":[…],"cut":…,"json":{…}}
 *   event: lost    data: {"source":…,"lost":3}
 * It begins with up to `history` events of the ring. */
struct tail_filter {
    int64_t source;           /* -1: all */
    unsigned fates;           /* bits of enum fate_kind; 0: all */
    const char *event, *user; /* exact; user: user id or anonymous id; NULL: any. Copied. */
    uint32_t history;
};
/* Takes the stream: closes it at the end. KEEL_E_BUSY: too many listeners, the stream is not taken.
 */
int tail_listen(struct tail *t, const struct tail_filter *filter, struct reply_stream *stream,
                struct keel_error *err) K_CHECKED;
