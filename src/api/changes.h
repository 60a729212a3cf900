/* GET /api/v1/segments/stream: who enters and leaves segments, as it is found, as server-sent
 * events.
 *
 *   id: 1234
 *   event: entered                                   or left
 *   data: {"id":"chg_…","at":"…","segment_id":3,"segment":"VIP","version":2,"customer":12,
 *          "user_id":"u-17","cause":"event"}
 *
 * `id` is the number of the change in the outbox (reach/outbox.h); who connects again says the last
 * one that he has (Last-Event-ID, or ?after=) and misses none. Without it the stream begins now. If
 * the outbox has not that much any more, "event: lost" says from where it goes on. A client that
 * takes nothing for CHANGES_PATIENCE_MS is cut.
 *
 * Layers: app.h, server.h, reach/outbox.h. Threads: one of its own, which reads for all; the rest
 * any. Limits: CHANGES_LISTENERS. */
#pragma once

#include "api/app.h"
#include "base/error.h"

enum { CHANGES_LISTENERS = 64, CHANGES_PATIENCE_MS = 30000 };

struct changes;

/* Needs app->dir. */
int changes_open(struct app *app, struct changes **out, struct keel_error *err) K_CHECKED;
void changes_close(struct changes *c); /* NULL is fine; after server_stop */
/* The outbox has more. Any thread; NULL is fine. */
void changes_more(struct changes *c);
