/* Touchpoints: where customers serve themselves (web, app, kiosk, handheld) and where staff does
 * (store, phone), measured by what they came for.
 *
 * A touchpoint task has a start and an end event, and a property that says at which touchpoint
 * (channel) an event happened. For each channel, of the customers who start there in a range:
 *
 *   started     customers
 *   completed   came to the end, there, within `within`: the funnel
 *                 START where PROPERTY = CHANNEL, END where PROPERTY = CHANNEL within W
 *   median      time from start to end of those
 *   fell back   had an event at a staff channel within `fallback_within` before any end: the funnel
 *                 START where PROPERTY = CHANNEL, any event where PROPERTY in (STAFF) without END
 *                 within F
 *
 * Who tries one channel and comes to the end at another one counts in both: as not completed in the
 * first. Each channel's questions are told, so that its customers can be looked at
 * (query/people.h). What a staff channel falls back to is not known: null.
 *
 * Layers: kpi.h (where definitions are kept), query/ask.h. Threads: pure, beside desk.db.
 * Limits: TOUCHPOINT_*; two or three passes over the range for each channel.
 */
#pragma once

#include "base/toml_reader.h"
#include "customer/db.h"
#include "desk/kpi/kpi.h"
#include "query/ask.h"

enum {
    TOUCHPOINT_MAX = 50,
    TOUCHPOINT_MAX_STAFF = 32,
    TOUCHPOINT_MAX_TEXT = 4000,
    TOUCHPOINT_CHANNELS = 20, /* of a task are shown: those where most started */
};

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
    /* Answers in place of ask_run, for those who may not see everything: of what it refuses
     * (KEEL_E_FORBIDDEN) a task has a note and no channels. NULL: ask_run. */
    int (*run)(void *ctx, const struct query *q, const struct ask_options *options,
               struct result **out, struct keel_error *err);
    void *run_ctx;
};
/* {"from":…,"to":…,"touchpoints":[{…,"channels":[{…,"questions":{…}}]}]}; "hidden":true where a
 * number of customers is null. */
int touchpoint_report(struct db *db, struct sql *desk, const struct touchpoint_ask *ask,
                      struct buf *out, struct keel_error *err) K_CHECKED;
