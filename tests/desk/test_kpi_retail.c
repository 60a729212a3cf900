/* KPIs of a year of a UK web shop (UCI Online Retail) against SQLite on the same CSV: leaves,
 * ratios and products by day, week and month, and the attribution of a month's change. The SQL
 * stands beside each.
 *
 * Skipped with a message where the data is absent (KEEL_SHARED). ctest: timeout=300 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "desk/kpi/attribute.h"
#include "desk/kpi/history.h"
#include "sql_compare.h"

/* As tests/query/test_retail.c: an order is an invoice, its time that of its earliest line. */
static const char SETUP[] =
    "CREATE TABLE o AS SELECT invoice, ifnull(customer, 'order:' || invoice) who,"
    "  date(min(ts)) d, sum(round(qty * price * 100000)) / 100000 revenue, min(country) country"
    "  FROM lines WHERE substr(invoice, 1, 1) NOT IN ('C', 'A') GROUP BY invoice, customer;"
    "CREATE INDEX o_d ON o(d);";

static const char KPIS[] =
    "[kpi.sales]\nquery = 'total of sum(\"Order Completed\".revenue)'\nunit = 'money'\n"
    "[kpi.orders]\nquery = 'total of events of \"Order Completed\"'\n"
    "[kpi.buyers]\nquery = 'total of unique customers of \"Order Completed\"'\n"
    "[kpi.basket]\nratio = ['sales', 'orders']\nunit = 'money'\n"
    "[kpi.frequency]\nratio = ['orders', 'buyers']\n"
    "[kpi.product]\nproduct = ['buyers', 'frequency', 'basket']\nunit = 'money'\n";

static const struct {
    const char *id;
    enum kpi_grain grain;
    const char *sql; /* period, value: periods without orders have no row */
} SERIES[] = {
    {"sales", KPI_DAY, "SELECT d, sum(revenue) FROM o GROUP BY d"},
    {"orders", KPI_DAY, "SELECT d, count(*) FROM o GROUP BY d"},
    {"buyers", KPI_WEEK,
     "SELECT date(d, 'weekday 0', '-6 days') p, count(DISTINCT who) FROM o GROUP BY p"},
    {"basket", KPI_MONTH,
     "SELECT date(d, 'start of month') p, sum(revenue) / count(*) FROM o GROUP BY p"},
    {"frequency", KPI_MONTH,
     "SELECT date(d, 'start of month') p, count(*) * 1.0 / count(DISTINCT who) FROM o GROUP BY p"},
    {"product", KPI_WEEK,
     "SELECT date(d, 'weekday 0', '-6 days') p, sum(revenue) FROM o GROUP BY p"},
};

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void assert_near(const char *what, double got, double expected) {
    if (!(fabs(got - expected) <= 1e-9 * (1 + fabs(expected))))
        fail_msg("%s: %.12g, SQLite says %.12g", what, got, expected);
}

/* Every period of the year has the value that SQLite gives; others are 0, or unknown for ratios. */
static void compare_series(struct sql_compare *c, struct sql *desk, struct kpi_run *run,
                           const struct kpi_set *set, size_t which) {
    const struct kpi_series_ask ask = {.grain = SERIES[which].grain,
                                       .from = day_from_civil(2010, 12, 1),
                                       .to = day_from_civil(2011, 12, 10),
                                       .as_of_ms = KPI_NOW};
    struct kpi_series series;
    struct keel_error err;
    sqlite3_stmt *st;
    int kpi, rows = 0;
    must(kpi_need(set, str_from(SERIES[which].id), &kpi, &err), &err);
    must(kpi_series(run, desk, set, kpi, &ask, &series, &err), &err);
    assert_int_equal(sqlite3_prepare_v2(c->sql, SERIES[which].sql, -1, &st, NULL), SQLITE_OK);
    for (uint32_t i = 0; i < series.n; i++) {
        char day[16];
        day[day_format(series.points[i].day, day)] = 0;
        double expected = set->kpi[kpi].form == KPI_QUERY ? 0 : NAN;
        sqlite3_reset(st);
        while (sqlite3_step(st) == SQLITE_ROW)
            if (strcmp((const char *)sqlite3_column_text(st, 0), day) == 0) {
                expected = sqlite3_column_double(st, 1);
                rows++;
            }
        if (isnan(expected))
            assert_true(isnan(series.points[i].value));
        else
            assert_near(day, series.points[i].value, expected);
    }
    assert_true(rows >= 10);
    sqlite3_finalize(st);
    k_free(series.points);
}

/* November against October by buyers, orders a buyer and value of an order: LMDI by SQLite's logs.
 */
static void compare_attribution(struct sql_compare *c, struct kpi_run *run,
                                const struct kpi_set *set) {
    static const char sql[] =
        "WITH m AS (SELECT substr(d, 1, 7) p, count(DISTINCT who) * 1.0 b, count(*) * 1.0 n,"
        "  sum(revenue) r FROM o GROUP BY p), x AS (SELECT a.b a1, a.n / a.b a2, a.r / a.n a3,"
        "  z.b b1, z.n / z.b b2, z.r / z.n b3, (a.r - z.r) / ln(a.r / z.r) l FROM m a, m z"
        "  WHERE a.p = '2011-11' AND z.p = '2011-10')"
        "SELECT l * ln(a1 / b1), l * ln(a2 / b2), l * ln(a3 / b3) FROM x";
    struct kpi_attribution *a = k_zalloc(sizeof *a);
    struct keel_error err;
    sqlite3_stmt *st;
    int kpi;
    double shown = 0;
    must(kpi_need(set, STR("product"), &kpi, &err), &err);
    must(kpi_attribute_leaves(set, kpi, 1, a, &err), &err);
    for (uint32_t i = 0; i < a->n; i++) {
        must(kpi_run_span(run, set, a->leaf[i].kpi, day_from_civil(2011, 11, 1),
                          day_from_civil(2011, 12, 1), &a->leaf[i].after, &err),
             &err);
        must(kpi_run_span(run, set, a->leaf[i].kpi, day_from_civil(2011, 10, 1),
                          day_from_civil(2011, 11, 1), &a->leaf[i].before, &err),
             &err);
    }
    kpi_attribute(set, kpi, 1, a);
    assert_null(a->unknown);
    assert_int_equal(a->n, 3);
    assert_int_equal(sqlite3_prepare_v2(c->sql, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    for (int i = 0; i < 3; i++) {
        assert_near("contribution", a->leaf[i].exact, sqlite3_column_double(st, i));
        shown += round(a->leaf[i].shown * 100);
    }
    sqlite3_finalize(st);
    assert_true(shown == round(a->change * 100));
    k_free(a);
}

static void test_retail(void **state) {
    (void)state;
    const struct kpi_change change = {.who = STR("t"), .how = KPI_ADD | KPI_REPLACE};
    char path[TEMP_PATH_MAX + 16];
    struct kpi_applied applied;
    struct sql_compare c;
    struct kpi_run *run;
    struct kpi_set set;
    struct sql *desk;
    struct keel_error err;
    if (!compare_retail(&c)) skip();
    compare_setup(&c, SETUP);
    snprintf(path, sizeof path, "%s/kpi.db", c.dir);
    must(sql_open(path, SQL_CREATE, &desk, &err), &err);
    must(kpi_tables(desk, &err), &err);
    must(kpi_apply(desk, str_from(KPIS), "KPIS", &change, &applied, &err), &err);
    must(kpi_set_load(desk, KPI_NOW, &set, &err), &err);
    must(kpi_run_open(c.db, &(struct kpi_run_options){.now_ms = c.at_ms}, &run, &err), &err);
    for (size_t i = 0; i < sizeof SERIES / sizeof *SERIES; i++)
        compare_series(&c, desk, run, &set, i);
    compare_attribution(&c, run, &set);
    kpi_run_close(run);
    kpi_set_free(&set);
    sql_close(desk);
    compare_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_retail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
