/* A KPI over time: values as they are now and as they were known at any moment, what explains the
 * difference, and the band that its own history lets expect.
 *
 * Every value that is computed is kept in desk.db when it differs from the one before, so that a
 * number quoted on Friday can be shown again:
 *
 *   kpi_value(id, grain, day, computed_ms, checked_ms, asked_ms, value, complete, version,
 *             query_hash, events, merged, merge_mark, fewest)
 *
 *   day          the period's first               value       NULL: unknown
 *   computed_ms  when the value was first found   checked_ms  when it was last found to be the same
 *   asked_ms     as of when it was asked          complete    the period was over by then
 *   version, query_hash   of the definition
 *   events                in the store, of any kind, in the period
 *   merged, merge_mark    who was one person with whom (kpi/run.h)
 *
 * `fewest` is the smallest number of customers that a leaf of the tree counted: where that is not
 * shown, nothing that is made of it is, nor a band that would look back at it.
 *
 * What is shown is computed anew unless it was checked within KPI_FRESH_MS; of periods that ended
 * KPI_SETTLED_DAYS ago and are asked one by one, within a day.
 *
 * Why a value of then is not that of now is told by what the row knows of then:
 *   definition   the definition of then, computed now, gives another number: that part is exact
 *   unfinished   the period was still running: events of it came after the moment of asking
 *   late_events  so many events of the part that was over by then have come since
 *   merges       other customers are one person now (only where the value knows customers)
 *   other        none of these: traits, or customers' other events, that the condition looks at
 *
 * What is left behind `definition` is one number for all other causes: it is not split among them.
 *
 * Layers: kpi/run.h, kpi/band.h, base/sql.h. Threads: as desk.db's. Limits: KPI_RUN_PERIODS. Values
 * of running periods older than KPI_KEEP_DAYS are thinned to the last of each day.
 */
#pragma once

#include "desk/kpi/band.h"
#include "desk/kpi/run.h"

enum { KPI_FRESH_MS = 600000, KPI_SETTLED_DAYS = 8, KPI_KEEP_DAYS = 400 };

enum kpi_cause {
    KPI_BECAUSE_DEFINITION = 1 << 0,
    KPI_BECAUSE_UNFINISHED = 1 << 1,
    KPI_BECAUSE_LATE = 1 << 2,
    KPI_BECAUSE_MERGES = 1 << 3,
    KPI_BECAUSE_OTHER = 1 << 4,
};

struct kpi_point {
    int32_t day;   /* first of the period */
    bool stored;   /* false: nothing is known of it, as of then; the rest is empty */
    double value;  /* NAN: unknown */
    bool complete; /* the period was over */
    double fewest; /* customers that it says something of (kpi_run_fewest); 0 not known */
    int64_t computed_ms, checked_ms, asked_ms, version;
    char query_hash[KPI_HASH_TEXT];
    int64_t events;
    struct kpi_merges merges;
    struct kpi_band band;
    enum kpi_verdict verdict; /* of complete ones */
    /* as_of: against now */
    bool compared;
    double now, from_definition, from_data; /* NAN: unknown */
    double compared_fewest;                 /* of now, and of the definition of then now */
    int64_t late_events, merged;            /* since then */
    unsigned because;                       /* enum kpi_cause; 0: the same value */
};

struct kpi_series_ask {
    enum kpi_grain grain;
    int32_t from, to;  /* days; whole periods are shown                                       */
    int64_t as_of_ms;  /* KPI_NOW: as it is                                                   */
    bool refresh;      /* compute all of it, however fresh                                    */
    double hide_below; /* bands know nothing of values of fewer customers; 0: of all         */
};
struct kpi_series {
    struct kpi_point *points; /* caller's: k_free */
    uint32_t n;
};

/* Series of one KPI. `desk` is read and written. */
int kpi_series(struct kpi_run *run, struct sql *desk, const struct kpi_set *set, int kpi,
               const struct kpi_series_ask *ask, struct kpi_series *out,
               struct keel_error *err) K_CHECKED;

/* Computes what is usually looked at of a KPI, as far as it is not fresh. */
int kpi_bring_up_to_date(struct kpi_run *run, struct sql *desk, const struct kpi_set *set, int kpi,
                         struct keel_error *err) K_CHECKED;

/* Is it not to be shown where so many customers must stand behind a number? */
static inline bool kpi_point_hidden(const struct kpi_point *p, double below) {
    return p->stored && p->fewest < below;
}

/* What is kept of the periods from `start` on, newest up to as_of_ms; computes nothing. */
int kpi_stored(struct sql *desk, const struct kpi *k, enum kpi_grain grain, int32_t start,
               uint32_t n, int64_t as_of_ms, struct kpi_point *out,
               struct keel_error *err) K_CHECKED;

/* What is usually looked at of a grain: so many periods, the running one included. */
int kpi_usual_periods(enum kpi_grain grain);

/* Thins what is older than KPI_KEEP_DAYS. */
int kpi_history_thin(struct sql *desk, int64_t now_ms, struct keel_error *err) K_CHECKED;
