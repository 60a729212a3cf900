/* What is shown of KPIs, as JSON: the same for the API and the command line. docs/kpis.md says what
 * each member means. Unknown numbers are null.
 *
 * Layers: kpi.h to kpi/attribute.h. Threads: pure, beside desk.db. Limits: those of the parts.
 */
#pragma once

#include "desk/kpi/history.h"

struct kpi_ask {
    int64_t now_ms;
    unsigned threads;
    const _Atomic bool *cancel;
    bool refresh; /* list: bring all up to date first */
    /* Numbers of customers below it are shown as null, "hidden":true; and with them what they would
     * follow from: sums, products and ratios made of them, the verdict on them, bands that would
     * look back at them (they look at the others alone), and, where a leaf of an attribution is
     * hidden, the change and everybody's share of it. 0: all are shown. */
    double hide_below;
};

/* {"kpis":[{…,"latest":{…},"running":{…}}] without the closing brace: definitions and what is kept
 * of them; computes only with refresh. "problem": why one could not be computed. */
int kpi_report_list(struct db *db, struct sql *desk, const struct kpi_ask *ask, struct buf *out,
                    struct keel_error *err) K_CHECKED;
/* One of them, with its versions. */
int kpi_report_one(struct db *db, struct sql *desk, struct str id, const struct kpi_ask *ask,
                   struct buf *out, struct keel_error *err) K_CHECKED;
/* {"roots":[{"id":…,"latest":…,"parts":[…]}]} */
int kpi_report_tree(struct db *db, struct sql *desk, const struct kpi_ask *ask, struct buf *out,
                    struct keel_error *err) K_CHECKED;

struct kpi_series_words {    /* as people write them; "": the usual */
    struct str from, to;     /* days; to excluded. Usual: the last 35 days, 13 weeks, 13 months */
    struct str grain, as_of; /* as_of: a moment, or a day: as of its end */
    bool refresh;
};
int kpi_report_series(struct db *db, struct sql *desk, struct str id,
                      const struct kpi_series_words *words, const struct kpi_ask *ask,
                      struct buf *out, struct keel_error *err) K_CHECKED;

struct kpi_ranges {
    struct str from, to, against_from, against_to; /* days; ends excluded */
    uint32_t depth;
};
int kpi_report_attribution(struct db *db, struct sql *desk, struct str id,
                           const struct kpi_ranges *ranges, const struct kpi_ask *ask,
                           struct buf *out, struct keel_error *err) K_CHECKED;

/* A day as people write it. KEEL_E_INVALID; `name` is the parameter's. */
int kpi_read_day(struct str text, const char *name, int32_t *out, struct keel_error *err) K_CHECKED;
