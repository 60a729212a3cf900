/* The live tail: the last events of every source with what became of each.
 *
 * A source has a ring of TAIL_RING_BYTES. The collector adds what happened after the commit; the
 * ring is all that costs. Who listens reads the ring at his own pace from a thread of the tail:
 * when the ring has overtaken a slow listener, he is told how many lines he has lost. Without
 * listeners, at most TAIL_IDLE_PER_SECOND events a second and source go into the ring, and of each
 * at most TAIL_IDLE_JSON bytes of its JSON; the others are counted ("lost") all the same.
 *
 * Masking happens when a line is shown: values of properties that the plan calls personal or
 * sensitive, and whatever looks like an e-mail address or a phone number, are shown as the kind of
 * thing they are ("‹e-mail›", "‹personal›").
 *
 * Layers: base, desk, fate.h, server.h. Threads: any; a lock a ring, held for a copy. Limits:
 * TAIL_MAX_SOURCES rings; TAIL_MAX_LISTENERS (beyond: KEEL_E_BUSY); TAIL_MAX_JSON bytes of an
 * event's JSON, the rest is cut and marked.
 */
#pragma once

#include "api/fate.h"

enum {
    TAIL_RING_BYTES = 256 << 10,
    TAIL_IDLE_PER_SECOND = 200,
    TAIL_IDLE_JSON = 2 << 10,
    TAIL_MAX_JSON = 16 << 10,
    TAIL_MAX_SOURCES = 1000,
    TAIL_MAX_LISTENERS = 64,
    TAIL_MAX_WAITING = 256 << 10, /* bytes that a listener may be behind in its socket */
};

struct tail_entry {
    int64_t at_ms; /* received */
    enum fate_kind fate;
    bool repaired;
    enum event_type type; /* of a refused event it may be unknown: EVENT_TYPES */
    struct str name, user, anonymous, message_id;
    struct str why;  /* reasons: of a refusal, quarantine, repair; "" none */
    struct str json; /* the event as it came */
};

struct tail;

struct tail *tail_new(struct plan *plan);
void tail_free(struct tail *t); /* closes the streams */

/* Adds what happened to the events of a request. */
void tail_add(struct tail *t, struct str source, const struct tail_entry *entries, size_t n);
/* Does anybody listen to the source? A hint for what is worth to prepare. */
bool tail_heard(struct tail *t, struct str source);

extern const struct route tail_routes[]; /* GET /api/v1/sources/{id}/tail, /api/v1/tail */
