/* Bands on series that are made so that the answer is known: steady, weekly, growing, with
 * outliers, with gaps, too short; and how often steady noise is flagged. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rand.h"
#include "desk/kpi/band.h"

enum { DAYS = KPI_BAND_MOST, DRAWS = 4000 };

/* back[i] is i + 1 days before; the day itself is 0, a Monday. */
static double weekly(int days_back) {
    static const double level[7] = {100, 90, 95, 105, 150, 210, 180};
    return level[((-days_back) % 7 + 7) % 7];
}

static void fill(double *back, double slope) {
    for (int i = 0; i < DAYS; i++) back[i] = weekly(i + 1) - slope * (i + 1);
}

static void assert_close(double a, double b) {
    if (!(fabs(a - b) <= 1e-9 * (1 + fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

/* Without noise the band is a line: the weekday's level, carried on by the trend. */
static void test_exact(void **state) {
    (void)state;
    double back[DAYS];
    fill(back, 0);
    struct kpi_band b = kpi_band_of(KPI_DAY, back);
    assert_close(b.middle, 100);
    assert_close(b.low, 100);
    assert_close(b.high, 100);
    assert_int_equal(kpi_band_verdict(&b, 100), KPI_INSIDE);
    assert_int_equal(kpi_band_verdict(&b, 101), KPI_ABOVE);
    assert_int_equal(kpi_band_verdict(&b, 99), KPI_BELOW);
    fill(back, 0.5); /* it rises by half a unit a day */
    b = kpi_band_of(KPI_DAY, back);
    assert_close(b.middle, 100);
    assert_int_equal(kpi_band_verdict(&b, 100), KPI_INSIDE);
}

/* An outage, a campaign and a wrong import in the past move neither the level nor the trend. */
static void test_outliers(void **state) {
    (void)state;
    double back[DAYS];
    struct rand r;
    rand_init(&r, 7);
    fill(back, 0.2);
    for (int i = 0; i < DAYS; i++) back[i] += 2 * rand_normal(&r);
    struct kpi_band clean = kpi_band_of(KPI_DAY, back);
    back[6] = 0;
    back[20] = 5000;
    back[33] = 0;
    struct kpi_band dirty = kpi_band_of(KPI_DAY, back);
    assert_true(fabs(clean.middle - dirty.middle) < 6);
    assert_true(dirty.high - dirty.low < 2 * (clean.high - clean.low));
    assert_int_equal(kpi_band_verdict(&dirty, 100), KPI_INSIDE);
    assert_int_equal(kpi_band_verdict(&dirty, 60), KPI_BELOW);
    assert_int_equal(kpi_band_verdict(&dirty, 140), KPI_ABOVE);
}

static void test_too_little(void **state) {
    (void)state;
    double back[DAYS];
    fill(back, 0);
    for (int i = 42; i < DAYS; i++) back[i] = NAN; /* six weeks: just enough */
    struct kpi_band b = kpi_band_of(KPI_DAY, back);
    assert_close(b.middle, 100);
    back[10] = NAN; /* 41 days */
    b = kpi_band_of(KPI_DAY, back);
    assert_true(isnan(b.middle) && isnan(b.low) && isnan(b.high));
    assert_int_equal(kpi_band_verdict(&b, 100), KPI_UNKNOWN);
    fill(back, 0);
    for (int i = 6; i < 21; i += 7) back[i] = NAN; /* five of the weekday, 53 in all */
    b = kpi_band_of(KPI_DAY, back);
    assert_true(isnan(b.middle));
    b = (struct kpi_band){1, 2, 3};
    assert_int_equal(kpi_band_verdict(&b, NAN), KPI_UNKNOWN);
    for (int i = 0; i < DAYS; i++) back[i] = i < 17 ? 5 : NAN;
    assert_true(isnan(kpi_band_of(KPI_WEEK, back).middle));
    assert_true(isnan(kpi_band_of(KPI_MONTH, back).middle));
    back[17] = 5;
    assert_close(kpi_band_of(KPI_WEEK, back).middle, 5);
    assert_close(kpi_band_of(KPI_MONTH, back).middle, 5);
}

/* Levels around zero: distances are absolute then. */
static void test_signs(void **state) {
    (void)state;
    double back[DAYS];
    struct rand r;
    rand_init(&r, 3);
    for (int i = 0; i < DAYS; i++) back[i] = rand_normal(&r);
    struct kpi_band b = kpi_band_of(KPI_DAY, back);
    assert_true(b.low < b.middle && b.middle < b.high);
    assert_true(fabs(b.middle) < 2 && b.high - b.low < 16);
}

static double flagged(enum kpi_grain grain, bool busy_days_vary_more, uint64_t seed) {
    double back[DAYS];
    struct rand r;
    uint32_t out = 0;
    rand_init(&r, seed);
    for (int draw = 0; draw < DRAWS; draw++) {
        for (int i = 0; i < DAYS; i++) {
            double level = grain == KPI_DAY ? weekly(i + 1) : 100;
            back[i] = level + rand_normal(&r) * (busy_days_vary_more ? level / 10 : 10);
        }
        struct kpi_band b = kpi_band_of(grain, back);
        double today = 100 + rand_normal(&r) * 10;
        enum kpi_verdict v = kpi_band_verdict(&b, today);
        out += v == KPI_ABOVE || v == KPI_BELOW;
    }
    return out / (double)DRAWS;
}

/* Steady noise is flagged about once in a hundred; a fall by half of it, nearly always. */
static void test_false_flags(void **state) {
    (void)state;
    double day = flagged(KPI_DAY, false, 1), busy = flagged(KPI_DAY, true, 2),
           week = flagged(KPI_WEEK, false, 3);
    printf("flagged of steady noise: days %.4f, days that vary with their level %.4f, weeks %.4f\n",
           day, busy, week);
    assert_true(day < 0.02 && busy < 0.02 && week < 0.02);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),       cmocka_unit_test(test_outliers),
        cmocka_unit_test(test_too_little),  cmocka_unit_test(test_signs),
        cmocka_unit_test(test_false_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
