/* Computing KPIs: values of a definition, over periods or over any range of days.
 *
 *     struct kpi_run *run;
 *     TRY(kpi_run_open(db, &(struct kpi_run_options){.now_ms = now_ms()}, &run, err));
 *     TRY(kpi_run_periods(run, &set, kpi, KPI_DAY, from, n, values, err));
 *     kpi_run_close(run);
 *
 * All of a run sees one snapshot and one moment of asking, so that the parts of a tree fit each
 * other. Values are doubles; NAN is *unknown*, which is what a period has
 *   - that begins after the moment of asking, or behind the last event that is stored;
 *   - that ends before the first event that is stored;
 *   - of which the engine has no number (an average of nothing, a rate of nobody);
 *   - whose tree divides by zero, or has an unknown part.
 * A count or a sum of nothing, in between, is 0.
 *
 * `total of` is asked once for all periods; the other forms once a period: no more than
 * KPI_RUN_ASKS at a time.
 *
 * Layers: kpi.h, query/exec.h. Threads: a run has one owner. Limits: KPI_RUN_*.
 */
#pragma once

#include "customer/db.h"
#include "desk/kpi/kpi.h"

enum {
    KPI_RUN_PERIODS = 1100, /* of one request: three years of days  */
    KPI_RUN_ASKS = 120,     /* questions for one KPI of one request */
    KPI_RUN_NOTES = 8,
};

/* The day a period begins on that holds `day`; the one behind it (n may be negative). */
int32_t kpi_period_start(enum kpi_grain grain, int32_t day);
int32_t kpi_period_add(enum kpi_grain grain, int32_t start, int n);
/* Of a range, cut to whole periods: the first one, and their number. */
uint32_t kpi_period_count(enum kpi_grain grain, int32_t from, int32_t to);

struct query_range kpi_range(int32_t from, int32_t to); /* [from, to) as a query has it */

struct kpi_run;

struct kpi_run_options {
    struct sql *desk; /* where saved segments are; NULL: there are none */
    int64_t now_ms;   /* the moment of asking; events later than it are not seen */
    unsigned threads; /* 0: one a processor */
    const _Atomic bool *cancel;
};

int kpi_run_open(struct db *db, const struct kpi_run_options *options, struct kpi_run **out,
                 struct keel_error *err) K_CHECKED;
void kpi_run_close(struct kpi_run *run); /* NULL is fine */

/* n periods from the day `start` on, which is the first of one. */
int kpi_run_periods(struct kpi_run *run, const struct kpi_set *set, int kpi, enum kpi_grain grain,
                    int32_t start, uint32_t n, double *out, struct keel_error *err) K_CHECKED;
/* One value over [from, to); of `count customers` as of the end. Both days, from < to. */
int kpi_run_span(struct kpi_run *run, const struct kpi_set *set, int kpi, int32_t from, int32_t to,
                 double *out, struct keel_error *err) K_CHECKED;
/* The fewest customers that a value says something of: the smallest number among the leaves of the
 * tree that count customers, of each period. KPI_NO_CUSTOMERS where there is no such leaf; an
 * unknown number counts as none. */
#define KPI_NO_CUSTOMERS 1e300
int kpi_run_fewest(struct kpi_run *run, const struct kpi_set *set, int kpi, enum kpi_grain grain,
                   int32_t start, uint32_t n, double *out, struct keel_error *err) K_CHECKED;
/* The same of one range. */
int kpi_run_span_fewest(struct kpi_run *run, const struct kpi_set *set, int kpi, int32_t from,
                        int32_t to, double *out, struct keel_error *err) K_CHECKED;
/* Is it a leaf that counts customers? */
bool kpi_counts_customers(const struct kpi *k);
/* How many events (of any kind) the periods hold up to the moment `until_ms`. */
int kpi_run_events(struct kpi_run *run, enum kpi_grain grain, int32_t start, uint32_t n,
                   int64_t *out, struct keel_error *err) K_CHECKED;
/* The same of the time from a day's first moment up to `until_ms`. */
int kpi_run_events_until(struct kpi_run *run, int32_t from, int64_t until_ms, int64_t *out,
                         struct keel_error *err) K_CHECKED;

/* A tree's node from its parts, one after another in their order; NAN: unknown. */
double kpi_combine(const struct kpi *k, double so_far, uint32_t part, double value);

/* Is every leaf asked once for all periods? */
bool kpi_run_is_cheap(const struct kpi_set *set, int kpi);
/* The moment of asking of a period's value. */
int64_t kpi_run_asked_ms(const struct kpi_run *run, const struct kpi_set *set, int kpi,
                         int32_t period_end);

/* Who was one person with whom: how many numbers belong to another's timeline, and a mark that
 * changes with every such change. */
struct kpi_merges {
    int64_t merged, mark;
};
struct kpi_merges kpi_run_merges(struct kpi_run *run);
/* Can merges change the value at all? Not that of a sum over all events. */
bool kpi_run_knows_customers(const struct kpi_set *set, int kpi);

const struct time_zone *kpi_run_zone(const struct kpi_run *run);
int64_t kpi_run_now(const struct kpi_run *run);
/* What the engine said beside the numbers (names that nobody used), each once. */
uint32_t kpi_run_notes(const struct kpi_run *run, const struct str **out);
