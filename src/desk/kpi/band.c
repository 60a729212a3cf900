/* Implementation of kpi/band.h. */
#include "desk/kpi/band.h"

#include <math.h>
#include <stdlib.h>

enum { WEEK = 7, WEEKS_BACK = 26, MONTHS_BACK = 24, PAIRS_MOST = 400 };

#define CUT 3.5
#define OF_MEDIAN 1.4826
#define OF_MEAN 1.2533
#define SAME 1e-9 /* sums of the same numbers in another order */

const char *const KPI_VERDICT_NAMES[] = {"unknown", "inside", "below", "above"};

uint32_t kpi_band_reach(enum kpi_grain grain) {
    return grain == KPI_DAY ? KPI_BAND_MOST : grain == KPI_WEEK ? WEEKS_BACK : MONTHS_BACK;
}

static int by_value(const void *l, const void *r) {
    double a = *(const double *)l, b = *(const double *)r;
    return (a > b) - (a < b);
}

/* Sorts; the mean of the two middle ones if there are two. */
static double median(double *v, uint32_t n) {
    qsort(v, n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double slope_of(const double *x, uint32_t reach, uint32_t season) {
    double slopes[PAIRS_MOST];
    uint32_t n = 0;
    for (uint32_t i = 0; i < reach; i++)
        for (uint32_t j = i + season; j < reach; j += season)
            if (!isnan(x[i]) && !isnan(x[j])) slopes[n++] = (x[i] - x[j]) / (double)(j - i);
    K_ASSERT_OP(n, <=, PAIRS_MOST);
    return n ? median(slopes, n) : 0;
}

/* The levels of the seasons; how many values each has. False: one of them has none. */
static bool levels_of(const double *x, uint32_t reach, uint32_t season, double slope, double *level,
                      uint32_t *count) {
    for (uint32_t s = 0; s < season; s++) {
        double v[KPI_BAND_MOST];
        count[s] = 0;
        for (uint32_t i = s; i < reach; i += season)
            if (!isnan(x[i])) v[count[s]++] = x[i] + slope * (double)(i + 1);
        if (count[s] == 0) return false;
        level[s] = median(v, count[s]);
    }
    return true;
}

/* 1.4826 times the median of n distances; if that is 0, 1.2533 times their mean. Sorts. */
static double deviation(double *r, uint32_t n) {
    double sum = 0;
    K_ASSERT(n > 0);
    for (uint32_t i = 0; i < n; i++) sum += r[i];
    double s = OF_MEDIAN * median(r, n);
    return s > 0 ? s : OF_MEAN * sum / n;
}

static double spread_of(const double *x, uint32_t reach, uint32_t season, double slope,
                        const double *level, double middle) {
    double off[KPI_BAND_MOST], relative[KPI_BAND_MOST];
    bool positive = true;
    uint32_t n = 0;
    K_ASSERT(season > 0);
    for (uint32_t s = 0; s < season; s++) positive &= level[s] > 0;
    for (uint32_t i = 0; i < reach; i++) {
        if (isnan(x[i])) continue;
        double of = level[i % season];
        off[n] = fabs(x[i] + slope * (double)(i + 1) - of);
        relative[n] = of > 0 ? off[n] / of : 0;
        n++;
    }
    double s = deviation(off, n);
    if (positive) s = fmax(s, deviation(relative, n) * middle);
    return s * sqrt((double)n / (double)(n - season - 1));
}

static double uncertainty(const double *x, uint32_t reach, uint32_t of_season) {
    double sum = 0, squares = 0, n = 0;
    for (uint32_t i = 0; i < reach; i++) {
        if (isnan(x[i])) continue;
        sum += i + 1;
        squares += (double)(i + 1) * (i + 1);
        n++;
    }
    double mean = sum / n;
    return sqrt(1 + M_PI / 2 * (1 / (double)of_season + mean * mean / (squares - n * mean * mean)));
}

struct kpi_band kpi_band_of(enum kpi_grain grain, const double *back) {
    const struct kpi_band unknown = {NAN, NAN, NAN};
    uint32_t season = grain == KPI_DAY ? WEEK : 1, reach = kpi_band_reach(grain), known = 0;
    double level[WEEK];
    uint32_t count[WEEK];
    for (uint32_t i = 0; i < reach; i++)
        if (!isnan(back[i])) known++;
    if (known < (grain == KPI_DAY ? 42 : 18)) return unknown;
    double slope = slope_of(back, reach, season);
    if (!levels_of(back, reach, season, slope, level, count)) return unknown;
    uint32_t own = season - 1; /* as many periods back as a season has */
    if (grain == KPI_DAY && count[own] < 6) return unknown;
    double half = CUT * spread_of(back, reach, season, slope, level, level[own]) *
                  uncertainty(back, reach, count[own]);
    return (struct kpi_band){level[own] - half, level[own], level[own] + half};
}

enum kpi_verdict kpi_band_verdict(const struct kpi_band *band, double value) {
    if (isnan(value) || isnan(band->middle)) return KPI_UNKNOWN;
    double slack = SAME * fmax(fabs(value), fabs(band->middle));
    return value < band->low - slack    ? KPI_BELOW
           : value > band->high + slack ? KPI_ABOVE
                                        : KPI_INSIDE;
}
