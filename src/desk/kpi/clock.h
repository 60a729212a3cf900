/* Computes all KPIs by itself, so that their history has no holes: a number of Friday is there also
 * if nobody looked on Friday.
 *
 * One thread. Every hour, and shortly after the start, it brings each KPI up to date in its own
 * grain (kpi/history.h): the last 35 days, 13 weeks or 13 months. It asks with one thread, one KPI
 * after another; a turn that took KPI_CLOCK_BUDGET_MS ends, and the next one begins where it
 * stopped. A KPI that cannot be computed is counted and left out, the others go on.
 *
 * Layers: kpi/history.h. Threads: its own; stats may be asked from anywhere.
 */
#pragma once

#include "desk/kpi/history.h"

enum { KPI_CLOCK_EVERY_MS = 3600000, KPI_CLOCK_FIRST_MS = 5000, KPI_CLOCK_BUDGET_MS = 600000 };

struct kpi_clock;

struct kpi_clock_options {
    struct db *db; /* both outlive the clock */
    struct sql *desk;
    int64_t every_ms, first_ms; /* 0: as above */
};
int kpi_clock_open(const struct kpi_clock_options *options, struct kpi_clock **out,
                   struct keel_error *err) K_CHECKED;
void kpi_clock_close(struct kpi_clock *clock); /* cuts a turn that runs; NULL is fine */

struct kpi_clock_stats {
    uint64_t turns, computed, failed; /* since the start */
    int64_t last_ms;                  /* when the last turn ended; 0: none yet */
    int64_t took_ms;
    struct keel_error error; /* of the KPI that failed last; code 0: none  */
};
void kpi_clock_stats(struct kpi_clock *clock, struct kpi_clock_stats *out);
