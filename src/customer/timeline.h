/* One customer's timeline with everything that came with each event.
 *
 * Values are read stream by stream and given as JSON objects: properties (line items as arrays of
 * objects) and context. Names stay as they arrived, flattened with dots.
 *
 * Layers: db, scan. Threads: pure on a snapshot. Limits: TIMELINE_MAX events, the newest kept.
 */
#pragma once

#include "customer/db.h"

enum { TIMELINE_MAX = 100000 };

struct timeline_event {
    int64_t time_ms;
    uint32_t stream;       /* of the event */
    struct str name;       /* "Order Completed", "$identify"               */
    struct str properties; /* a JSON object                                */
    struct str context;
};

struct timeline {
    uint64_t total;                /* events the customer has                      */
    uint32_t count;                /* events given: at most `limit`, the newest    */
    struct timeline_event *events; /* oldest first; the arena's                 */
};

/* Root customer number; at_ms: events before that moment only (INT64_MAX: all). */
int timeline_read(struct db *db, const struct snapshot *snap, uint32_t customer, int64_t at_ms,
                  uint32_t limit, struct arena *a, struct timeline *out,
                  struct keel_error *err) K_CHECKED;
