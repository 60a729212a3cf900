/* The single view of one customer: identifiers and what joined them, the latest traits, how often
 * each event happened, the newest events. As text for people and as JSON.
 *
 * Layers: timeline.h, db.h, base/fold.h. Threads: pure on a snapshot of its own. Limits:
 * TIMELINE_MAX events are looked at.
 */
#pragma once

#include "base/output.h"
#include "customer/db.h"

struct profile;

/* who: "user_id=17850", "anonymous_id=…" or a bare user_id; at: as of that moment, as people write
 * it in the company's zone, or empty. KEEL_E_NOT_FOUND: nobody has it. */
int profile_load(struct db *db, struct str who, struct str at, struct profile **out,
                 struct keel_error *err) K_CHECKED;
void profile_free(struct profile *p); /* NULL is fine */

/* limit: events of the timeline. width: lines are folded there; 0: they are not. */
void profile_text(const struct profile *p, uint32_t limit, unsigned width, struct output *o);
/* One object and a line's end. Fails as the buffer fails. */
void profile_json(const struct profile *p, uint32_t limit, struct buf *b);
