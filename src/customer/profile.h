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
/* Who shows a profile to people who may not see all of it. Each adds JSON to the buffer. */
struct profile_mask {
    void (*id)(void *ctx, struct str id, struct buf *b);
    void (*trait)(void *ctx, struct str name, struct str json, struct buf *b); /* "name":value */
    /* name: "Order Completed", "$identify"; adds "properties":{…},"context":{…} */
    void (*event)(void *ctx, struct str name, struct str properties, struct str context,
                  struct buf *b);
    void *ctx;
};
/* One object and a line's end; mask NULL: as it is. Fails as the buffer fails. */
void profile_json(const struct profile *p, uint32_t limit, const struct profile_mask *mask,
                  struct buf *b);
