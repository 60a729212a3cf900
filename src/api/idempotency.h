/* Idempotency-Key: a request that is sent again is answered as the first time, not done again.
 *
 * Clients put a key of their choice (1 to 200 characters) into the header. The first request with
 * it is done and its reply kept in DIR/desk.db for 24 hours; the same request gets that reply, with
 * Idempotent-Replayed: true. Another request with the key is 422, one while the first is under way
 * 409. Failures of the server (429, 500 and above) are not kept: trying again tries again.
 *
 * Only for handlers that answer at once, and of replies only status, type and body (at most
 * IDEMPOTENCY_BODY_BYTES; larger ones are not kept).
 *
 * Layers: server.h, base/sql.h. Threads: workers.
 */
#pragma once

#include "api/server/server.h"
#include "base/sql.h"

enum { IDEMPOTENCY_BODY_BYTES = 1 << 20, IDEMPOTENCY_KEY_MAX = 200 };
#define IDEMPOTENCY_KEEP_MS (INT64_C(24) * 3600 * 1000)

/* The tables; and what a process that died had under way is forgotten. */
int idempotency_open(struct sql *desk, struct keel_error *err) K_CHECKED;
/* 1: r->reply is that of the first time; 0: to be done, then idempotency_keep; or an error. */
int idempotency_recall(struct sql *desk, struct request *r, struct keel_error *err) K_CHECKED;
void idempotency_keep(struct sql *desk, struct request *r);
