/* What a KPI's value would be if it went on as before: a band from its own history.
 *
 * Of the values x_i, i periods back (days: 8 weeks; weeks: 26; months: 24):
 *   season   day: the weekday; week and month: none (all are one season)
 *   slope    b = median of (x_i - x_j) / (j - i) over all pairs of one season, which no outlier
 *            moves: the seasonal Kendall slope (Hirsch, Slack & Smith 1982; without seasons that of
 *            Theil 1950 and Sen 1968)
 *   level    of a season: the median of x_i + b·i over its values; the band's middle m is the level
 *            of the season that the value in question belongs to
 *   spread   s = 1.4826 · median |r_i| · √(n / (n - S - 1)), n values in S seasons; r_i are the
 *            distances from their seasons' levels. 1.4826 makes it the standard deviation of normal
 *            noise (Rousseeuw & Croux 1993). If the median is 0, 1.2533 times the mean distance
 *            (Iglewicz & Hoaglin 1993). Where all levels are positive, the same of distances
 *            relative to their levels, times m, if that is more: a busy day varies more than a
 *            quiet one.
 *   band     m ± 3.5 · s · √(1 + π/2 · (1/k + ī²/Σ(i - ī)²)), k values of the season: 3.5 is the
 * cut of Iglewicz & Hoaglin; the root is what level and slope are uncertain by themselves (π/2: a
 * median's variance beside a mean's) Under steady normal noise about 1 value in 100 lies outside
 * (tests/desk/test_kpi_band.c). Fewer than 6 of 8 values of the weekday, 42 of the 56 days, 18
 * weeks, 18 months: unknown.
 *
 * Layers: kpi.h. Threads: pure.
 */
#pragma once

#include "desk/kpi/kpi.h"

enum { KPI_BAND_MOST = 56 };

struct kpi_band {
    double low, middle, high; /* NAN: unknown */
};

/* How many periods back it looks. */
uint32_t kpi_band_reach(enum kpi_grain grain);
/* back[i]: the value i + 1 periods before, NAN unknown; as many as kpi_band_reach. */
struct kpi_band kpi_band_of(enum kpi_grain grain, const double *back);

enum kpi_verdict { KPI_UNKNOWN, KPI_INSIDE, KPI_BELOW, KPI_ABOVE };
extern const char *const KPI_VERDICT_NAMES[];
enum kpi_verdict kpi_band_verdict(const struct kpi_band *band, double value);
