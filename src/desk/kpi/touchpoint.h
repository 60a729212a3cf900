/* Touchpoints: where customers serve themselves (web, app, kiosk, handheld) and where staff does
 * (store, phone), measured by what they came for.
 *
 * A touchpoint task has a start and an end event, and a property that says at which touchpoint
 * (channel) an event happened. Of the customers who start in a range, for each channel:
 *
 *   started     customers, by the channel of their start
 *   completed   came to the end, at the same channel, within `within`: the funnel
 *                 START, END with same PROPERTY within W
 *   median      time from start to end of those
 *   fell back   had an event at a staff channel within `fallback_within` before any end: the funnel
 *                 START, any event where PROPERTY in (STAFF) without END within F
 *
 * A customer counts once, by his chain (docs/query-language.md, funnel). What a staff channel falls
 * back to is not known: null.
 *
 * Layers: kpi.h (where definitions are kept), query/ask.h. Threads: pure, beside desk.db.
 * Limits: TOUCHPOINT_*.
 */
#pragma once

#include "base/toml_reader.h"
#include "customer/db.h"
#include "desk/kpi/kpi.h"

enum { TOUCHPOINT_MAX = 50, TOUCHPOINT_MAX_STAFF = 32, TOUCHPOINT_MAX_TEXT = 4000 };

/* A definition from its table, as canonical JSON of the reader's arena. The id is `within`;
 * change->admit is asked about its questions. */
int touchpoint_read(struct toml_reader *r, const struct toml_node *node,
                    const struct kpi_change *change, struct str *out_body) K_CHECKED;

/* Its versions stay. KEEL_E_NOT_FOUND. */
int touchpoint_remove(struct sql *desk, struct str id, const struct kpi_change *change,
                      struct keel_error *err) K_CHECKED;

struct touchpoint_ask {
    int32_t from, to; /* days of the company's zone: [from, to) */
    unsigned threads; /* 0: one a processor                     */
    const _Atomic bool *cancel;
    int64_t hide_below; /* fewer customers are null; 0: all are shown */
};
/* {"from":…,"to":…,"touchpoints":[{…,"channels":[…]}]} */
int touchpoint_report(struct db *db, struct sql *desk, const struct touchpoint_ask *ask,
                      struct buf *out, struct keel_error *err) K_CHECKED;
