/* Values of KPIs over time: what is known and what is not, as it was known before late events, a
 * merge and another definition came, and why it differs now; freshness; the clock.
 *
 * One small shop in London time; the test says what time it is. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "desk/kpi/clock.h"
#include "desk/kpi/report.h"
#include "fault_os.h"

enum { HOUR = MS_PER_HOUR, WAIT_MS = 20000 };

static char dir[TEMP_PATH_MAX];
static struct db *db;
static struct sql *desk;
static uint64_t next_key;
static int64_t now; /* what time it is */
static int32_t monday;

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static int open_shop(void **state) {
    char path[TEMP_PATH_MAX + 16];
    struct keel_error err;
    struct db_options options = {0};
    (void)state;
    temp_make(dir);
    snprintf(path, sizeof path, "%s/data", dir);
    must(db_init(path, STR("Europe/London"), STR("GBP"), &err), &err);
    must(db_open(path, &options, &db, &err), &err);
    snprintf(path, sizeof path, "%s/data/desk.db", dir);
    must(sql_open(path, SQL_CREATE, &desk, &err), &err);
    must(kpi_tables(desk, &err), &err);
    monday = day_from_civil(2024, 1, 15);
    next_key = 1;
    now = time_day_start(db_zone(db), monday + 5) + 12 * HOUR; /* Saturday noon */
    return 0;
}

static int close_shop(void **state) {
    struct keel_error err;
    (void)state;
    sql_close(desk);
    must(db_close(db, &err), &err);
    temp_remove(dir);
    return 0;
}

struct fact {
    const char *user, *anonymous, *event; /* event NULL: identify */
    int day, hour;                        /* from Monday          */
    double revenue;
    const char *plan; /* trait or property */
};

static void tell(const struct fact *f) {
    struct event_head head = {.type = f->event ? EVENT_TRACK : EVENT_IDENTIFY,
                              .time_ms =
                                  time_day_start(db_zone(db), monday + f->day) + f->hour * HOUR,
                              .key = {next_key++, 1},
                              .name = str_from(f->event ? f->event : ""),
                              .user_id = str_from(f->user ? f->user : ""),
                              .anonymous_id = str_from(f->anonymous ? f->anonymous : ""),
                              .related_id = STR("")};
    struct batch_writer w;
    struct buf batch;
    struct ingest_counts counts = {0};
    struct keel_error err;
    batch_writer_init(&w);
    event_begin(&w, &head);
    if (f->event) event_number(&w, SCOPE_PROPERTY, STR("revenue"), f->revenue);
    if (f->plan) event_string(&w, SCOPE_PROPERTY, STR("plan"), str_from(f->plan));
    assert_null(event_end(&w));
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    must(batch_finish(&w, &batch, &err), &err);
    must(db_ingest(db, buf_str(&batch), &counts, &err), &err);
    assert_int_equal(counts.accepted, 1);
    buf_release(&batch);
    batch_writer_release(&w);
}
#define TELL(...) tell(&(struct fact){__VA_ARGS__, NULL})

static void define(const char *id, const char *text) {
    struct kpi_change change = {.who = STR("ann"), .at_ms = now, .how = KPI_ADD | KPI_REPLACE};
    struct arena arena;
    struct keel_error err;
    arena_init(&arena, (size_t)256 << 20);
    must(kpi_put(desk, str_from(text), str_from(id), &change, &arena, NULL, &err), &err);
    arena_release(&arena);
}

/* The series of days [from, to) from Monday; freed by the caller. */
static struct kpi_series ask(const char *id, enum kpi_grain grain, int from, int to,
                             int64_t as_of_ms, bool refresh) {
    const struct kpi_run_options options = {.now_ms = now, .threads = 2};
    const struct kpi_series_ask what = {.grain = grain,
                                        .from = monday + from,
                                        .to = monday + to,
                                        .as_of_ms = as_of_ms,
                                        .refresh = refresh};
    struct kpi_run *run;
    struct kpi_set set;
    struct kpi_series series;
    struct keel_error err;
    int which;
    must(kpi_set_load(desk, KPI_NOW, &set, &err), &err);
    must(kpi_need(&set, str_from(id), &which, &err), &err);
    must(kpi_run_open(db, &options, &run, &err), &err);
    must(kpi_series(run, desk, &set, which, &what, &series, &err), &err);
    kpi_run_close(run);
    kpi_set_free(&set);
    return series;
}

/* One day's point. */
static struct kpi_point day(const char *id, int which, int64_t as_of_ms) {
    struct kpi_series s = ask(id, KPI_DAY, which, which + 1, as_of_ms, false);
    assert_int_equal(s.n, 1);
    struct kpi_point p = s.points[0];
    k_free(s.points);
    return p;
}

static void assert_values(const char *id, enum kpi_grain grain, int from, int to,
                          const double *expected, uint32_t n) {
    struct kpi_series s = ask(id, grain, from, to, KPI_NOW, false);
    assert_int_equal(s.n, n);
    for (uint32_t i = 0; i < n; i++)
        if (isnan(expected[i]) ? !isnan(s.points[i].value) : s.points[i].value != expected[i])
            fail_msg("%s, period %u: %g, not %g", id, i, s.points[i].value, expected[i]);
    k_free(s.points);
}
#define VALUES(...) (const double[]){__VA_ARGS__}, sizeof((const double[]){__VA_ARGS__}) / 8

/* Tuesday to Friday have events, with none on Thursday; it is Saturday noon. */
static void usual_week(void) {
    TELL("u1", NULL, "Order", 1, 10, 30);
    TELL("u2", NULL, "Order", 1, 11, 10);
    TELL("u1", NULL, "Order", 2, 10, 5);
    TELL("u1", NULL, "View", 2, 9, 0);
    TELL("u2", NULL, "View", 2, 9, 0);
    TELL("u1", NULL, "Order", 4, 23, 2);
}

/* ---- values ---- */

static void test_values(void **state) {
    (void)state;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    define("buyers", "{\"query\":\"total of unique customers of 'Order'\"}");
    define("viewers", "{\"query\":\"total of unique customers of 'View'\"}");
    define("mean", "{\"query\":\"total of avg('Order'.revenue)\"}");
    define("each", "{\"ratio\":[\"sales\",\"buyers\"]}");
    define("margin", "{\"sum\":[\"sales\",\"-buyers\"]}");
    define("area", "{\"product\":[\"sales\",\"buyers\"]}");
    /* Monday: before the first event. Thursday: nothing happened. Saturday: behind the last event.
     */
    assert_values("sales", KPI_DAY, 0, 7, VALUES(NAN, 40, 5, 0, 2, NAN, NAN));
    assert_values("buyers", KPI_DAY, 0, 7, VALUES(NAN, 2, 1, 0, 1, NAN, NAN));
    assert_values("viewers", KPI_DAY, 0, 7, VALUES(NAN, 0, 2, 0, 0, NAN, NAN));
    assert_values("mean", KPI_DAY, 0, 7, VALUES(NAN, 20, 5, NAN, 2, NAN, NAN));
    assert_values("each", KPI_DAY, 0, 7, VALUES(NAN, 20, 5, NAN, 2, NAN, NAN));
    assert_values("margin", KPI_DAY, 0, 7, VALUES(NAN, 38, 4, 0, 1, NAN, NAN));
    assert_values("area", KPI_DAY, 0, 7, VALUES(NAN, 80, 5, 0, 2, NAN, NAN));
    /* A week's customers are not the sum of its days', and its ratio is of the week's parts. */
    assert_values("buyers", KPI_WEEK, 0, 7, VALUES(2));
    assert_values("each", KPI_WEEK, -7, 7, VALUES(NAN, 23.5));
    assert_values("sales", KPI_MONTH, 0, 1, VALUES(47));
    TELL("u3", NULL, "View", 5, 8, 0); /* today */
    now += KPI_FRESH_MS;
    assert_values("sales", KPI_DAY, 4, 7, VALUES(2, 0, NAN));
    assert_false(day("sales", 5, KPI_NOW).complete);
    assert_true(day("sales", 4, KPI_NOW).complete);
}

/* Customers as of each period's end; rates and times of each period. */
static void test_other_forms(void **state) {
    (void)state;
    usual_week();
    define("stock", "{\"query\":\"count customers where did 'Order' at least 2 times\"}");
    define("funnel", "{\"query\":\"funnel 'View', 'Order' within 1 day\"}");
    define("time", "{\"query\":\"time from 'View' to 'Order'\"}");
    define("sum", "{\"sum\":[\"stock\",\"funnel\"]}");
    assert_values("stock", KPI_DAY, 0, 7, VALUES(NAN, 0, 1, 1, 1, NAN, NAN));
    assert_values("funnel", KPI_DAY, 0, 5, VALUES(NAN, NAN, 0.5, NAN, NAN));
    assert_values("time", KPI_DAY, 0, 5, VALUES(NAN, NAN, 3600, NAN, NAN));
    assert_values("sum", KPI_DAY, 2, 3, VALUES(1.5));
    struct kpi_point p = day("stock", 2, KPI_NOW);
    assert_int_equal(p.asked_ms, time_day_start(db_zone(db), monday + 3));
}

/* ---- as it was known ---- */

static void test_late_events(void **state) {
    (void)state;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    int64_t quoted = now;
    assert_true(day("sales", 2, KPI_NOW).value == 5);
    assert_true(day("sales", 1, KPI_NOW).value == 40);
    assert_false(day("sales", 1, quoted - 1).stored); /* nothing was known before */
    now += 24 * HOUR;
    TELL("u9", NULL, "Order", 1, 12, 7); /* comes on Sunday, happened on Tuesday */
    TELL("u9", NULL, "View", 1, 12, 0);
    assert_true(day("sales", 1, KPI_NOW).value == 47);
    struct kpi_point p = day("sales", 1, quoted);
    assert_true(p.stored && p.value == 40 && p.computed_ms == quoted);
    assert_true(p.compared && p.now == 47 && p.from_data == 7 && p.from_definition == 0);
    assert_int_equal(p.late_events, 2);
    assert_int_equal(p.because, KPI_BECAUSE_LATE);
    p = day("sales", 2, quoted); /* that day is what it was */
    assert_true(p.value == 5 && p.now == 5);
    assert_int_equal(p.because, 0);
}

static void test_merge(void **state) {
    (void)state;
    usual_week();
    TELL(NULL, "cookie", "Order", 2, 20, 1);
    define("buyers", "{\"query\":\"total of unique customers of 'Order'\"}");
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    int64_t quoted = now;
    assert_true(day("buyers", 2, KPI_NOW).value == 2);
    assert_true(day("sales", 2, KPI_NOW).value == 6);
    now += HOUR;
    TELL("u1", "cookie", NULL, 5, 12, 0); /* they are one person */
    assert_true(day("buyers", 2, KPI_NOW).value == 1);
    struct kpi_point p = day("buyers", 2, quoted);
    assert_true(p.value == 2 && p.now == 1 && p.from_data == -1);
    assert_int_equal(p.merged, 1);
    assert_int_equal(p.late_events, 0);
    assert_int_equal(p.because, KPI_BECAUSE_MERGES);
    p = day("sales", 2, quoted);
    assert_true(p.value == 6 && p.now == 6);
    assert_int_equal(p.because, 0);
    /* Late events and merges together are named together. */
    TELL("u8", NULL, "Order", 2, 21, 1);
    now += HOUR;
    p = day("buyers", 2, quoted);
    assert_true(p.value == 2 && p.now == 2);
    assert_int_equal(p.because, 0);
    TELL("u7", NULL, "Order", 2, 21, 1);
    now += HOUR;
    p = day("buyers", 2, quoted);
    assert_true(p.value == 2 && p.now == 3);
    assert_int_equal(p.because, KPI_BECAUSE_LATE | KPI_BECAUSE_MERGES);
}

static void test_definition(void **state) {
    (void)state;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    define("double", "{\"sum\":[\"sales\"]}");
    int64_t quoted = now;
    assert_true(day("sales", 1, KPI_NOW).value == 40);
    assert_true(day("double", 1, KPI_NOW).value == 40);
    now += HOUR;
    define("sales", "{\"query\":\"total of sum('Order'.revenue where revenue > 10)\"}");
    struct kpi_point p = day("sales", 1, KPI_NOW);
    assert_true(p.value == 30 && p.version == 2); /* at once, however fresh the old value was */
    p = day("sales", 1, quoted);
    assert_true(p.value == 40 && p.version == 1 && p.now == 30);
    assert_true(p.from_definition == -10 && p.from_data == 0);
    assert_int_equal(p.because, KPI_BECAUSE_DEFINITION);
    p = day("double", 1, quoted); /* its own definition is the same, its part's is not */
    assert_true(p.value == 40 && p.now == 30 && p.from_definition == -10);
    assert_int_equal(p.because, KPI_BECAUSE_DEFINITION);
    TELL("u9", NULL, "Order", 1, 12, 100);
    TELL("u9", NULL, "Order", 1, 13, 1);
    now += HOUR; /* and late events: the old definition says 141 now, the new one 130 */
    p = day("sales", 1, quoted);
    assert_true(p.value == 40 && p.now == 130);
    assert_true(p.from_definition == -11 && p.from_data == 101);
    assert_int_equal(p.late_events, 2);
    assert_int_equal(p.because, KPI_BECAUSE_DEFINITION | KPI_BECAUSE_LATE);
}

static void test_unfinished(void **state) {
    (void)state;
    usual_week();
    TELL("u1", NULL, "Order", 5, 9, 4); /* Saturday; it is noon */
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    int64_t quoted = now;
    struct kpi_point p = day("sales", 5, KPI_NOW);
    assert_true(p.value == 4 && !p.complete && p.verdict == KPI_UNKNOWN);
    TELL("u1", NULL, "Order", 5, 18, 6);
    now += 24 * HOUR;
    p = day("sales", 5, quoted);
    assert_true(p.value == 4 && !p.complete && p.now == 10);
    assert_int_equal(p.late_events, 0);
    assert_int_equal(p.because, KPI_BECAUSE_UNFINISHED);
    TELL("u1", NULL, "Order", 5, 8, 1); /* before the noon of the quote, and came behind it */
    now += HOUR;
    p = day("sales", 5, quoted);
    assert_true(p.now == 11);
    assert_int_equal(p.late_events, 1);
    assert_int_equal(p.because, KPI_BECAUSE_UNFINISHED | KPI_BECAUSE_LATE);
}

static void test_traits(void **state) {
    (void)state;
    usual_week();
    define("gold", "{\"query\":\"total of sum('Order'.revenue) among customers where trait plan ="
                   " 'gold'\"}");
    int64_t quoted = now;
    assert_true(day("gold", 1, KPI_NOW).value == 0);
    now += HOUR;
    tell(&(struct fact){"u1", NULL, NULL, 5, 12, 0, "gold"});
    struct kpi_point p = day("gold", 1, quoted);
    assert_true(p.value == 0 && p.now == 30);
    assert_int_equal(p.because, KPI_BECAUSE_OTHER);
}

/* ---- what is kept ---- */

static int64_t rows_of(const char *id) {
    int64_t n;
    struct keel_error err;
    must(sql_number(desk, 0, &n, &err, "SELECT count(*) FROM kpi_value WHERE id = ?", "z", id),
         &err);
    return n;
}

static void test_fresh(void **state) {
    (void)state;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    assert_true(day("sales", 4, KPI_NOW).value == 2);
    int64_t rows = rows_of("sales");
    TELL("u1", NULL, "Order", 4, 12, 1);
    now += KPI_FRESH_MS - 1;
    assert_true(day("sales", 4, KPI_NOW).value == 2); /* nine minutes old */
    struct kpi_series s = ask("sales", KPI_DAY, 4, 5, KPI_NOW, true);
    assert_true(s.points[0].value == 3 && s.points[0].checked_ms == now);
    k_free(s.points);
    assert_int_equal(rows_of("sales"), rows + 1);
    int64_t found = now;
    now += HOUR; /* the same value again is no row more, and is still that of the first time */
    struct kpi_point p = day("sales", 4, KPI_NOW);
    assert_true(p.value == 3 && p.checked_ms == now && p.computed_ms == found);
    assert_int_equal(rows_of("sales"), rows + 1);
    now -= 48 * HOUR; /* a clock that was set back is no reason to show what is old */
    s = ask("sales", KPI_DAY, 1, 2, KPI_NOW, false);
    assert_true(s.points[0].value == 40);
    k_free(s.points);
}

static void test_thin(void **state) {
    (void)state;
    struct keel_error err;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    int64_t from = now;
    for (int i = 0; i < 4; i++) { /* Saturday, at noon, at one, … */
        TELL("u1", NULL, "Order", 5, 11, 1);
        assert_true(day("sales", 5, KPI_NOW).value == i + 1);
        now += HOUR;
    }
    int64_t rows = rows_of("sales");
    must(kpi_history_thin(desk, from + 400 * (int64_t)MS_PER_DAY, &err), &err);
    assert_int_equal(rows_of("sales"), rows); /* not old enough */
    must(kpi_history_thin(desk, from + 401 * (int64_t)MS_PER_DAY, &err), &err);
    assert_int_equal(rows_of("sales"), rows - 3); /* the day's last stays, and all complete ones */
    assert_true(day("sales", 5, now).value == 4);
}

static void test_limits(void **state) {
    (void)state;
    struct kpi_series_ask what = {.grain = KPI_DAY, .as_of_ms = KPI_NOW};
    const struct kpi_run_options options = {.now_ms = now};
    struct kpi_run *run;
    struct kpi_set set;
    struct kpi_series series;
    struct keel_error err;
    for (int i = 0; i < 200; i++) TELL("u1", NULL, "Order", i - 196, 9, 1);
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    define("stock", "{\"query\":\"count customers\"}");
    must(kpi_set_load(desk, KPI_NOW, &set, &err), &err);
    must(kpi_run_open(db, &options, &run, &err), &err);
    what.from = what.to = monday;
    assert_int_equal(kpi_series(run, desk, &set, 0, &what, &series, &err), -KEEL_E_INVALID);
    what.from = monday - KPI_RUN_PERIODS;
    what.to = monday + 1;
    assert_int_equal(kpi_series(run, desk, &set, 0, &what, &series, &err), -KEEL_E_LIMIT);
    what.from = monday - 150; /* a question a day */
    assert_int_equal(kpi_series(run, desk, &set, 1, &what, &series, &err), -KEEL_E_LIMIT);
    assert_non_null(strstr(err.message, "once a period"));
    must(kpi_series(run, desk, &set, 0, &what, &series, &err), &err);
    assert_true(series.points[0].value == 1);
    k_free(series.points);
    kpi_run_close(run);
    kpi_set_free(&set);
}

/* ---- bands and reports ---- */

static void test_band_of_series(void **state) {
    (void)state;
    for (int d = -70; d < 5; d++)
        for (int i = 0; i < 3 + (d + 70) % 7; i++) TELL("u1", NULL, "Order", d, 9, 1);
    for (int i = 0; i < 30; i++) TELL("u1", NULL, "Order", 3, 12, 1);
    define("orders", "{\"query\":\"total of events of 'Order'\"}");
    assert_int_equal(day("orders", 2, KPI_NOW).verdict, KPI_INSIDE);
    struct kpi_point p = day("orders", 3, KPI_NOW);
    assert_int_equal(p.verdict, KPI_ABOVE);
    assert_true(p.band.middle == 6);
    assert_int_equal(day("orders", 5, KPI_NOW).verdict, KPI_UNKNOWN);   /* not over */
    assert_int_equal(day("orders", -40, KPI_NOW).verdict, KPI_UNKNOWN); /* too little before */
}

static void test_reports(void **state) {
    (void)state;
    const struct kpi_ask asking = {.now_ms = now, .refresh = true};
    const struct kpi_ranges ranges = {.from = STR("2024-01-16"),
                                      .to = STR("2024-01-17"),
                                      .against_from = STR("2024-01-17"),
                                      .against_to = STR("2024-01-18")};
    struct keel_error err;
    struct buf out;
    usual_week();
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\",\"unit\":\"money\","
                    "\"guardrail\":{\"low\":3},\"target\":{\"value\":1,\"by\":\"2024-12-31\"}}");
    define("buyers", "{\"query\":\"total of unique customers of 'Order'\"}");
    define("each", "{\"ratio\":[\"sales\",\"buyers\"],\"digits\":2}");
    buf_init(&out, 1 << 20);
    must(kpi_report_list(db, desk, &asking, &out, &err), &err);
    assert_int_equal(buf_add_char(&out, 0), 0);
    const char *text = (const char *)out.p;
    assert_non_null(strstr(text, "\"currency\":\"GBP\""));
    assert_non_null(strstr(text, "\"latest\":{\"period\":\"2024-01-19\",\"value\":2,"));
    assert_non_null(strstr(text, "\"guardrail\":\"below\",\"target_met\":true"));
    buf_clear(&out);
    must(kpi_report_attribution(db, desk, STR("each"), &ranges, &asking, &out, &err), &err);
    assert_int_equal(buf_add_char(&out, 0), 0);
    text = (const char *)out.p; /* 5 / 1 -> 40 / 2: L = 15 / ln 4, ln 8 = 1.5 ln 4 */
    assert_non_null(
        strstr(text, "\"value\":20,\"against\":5,\"change\":15,\"method\":\"log-share\""));
    assert_non_null(strstr(text, "\"contribution\":22.5,\"share\":1.5"));
    assert_non_null(strstr(text, "\"contribution\":-7.5,\"share\":-0.5"));
    buf_clear(&out);
    must(kpi_report_tree(db, desk, &asking, &out, &err), &err);
    assert_int_equal(buf_add_char(&out, 0), 0);
    assert_non_null(strstr((const char *)out.p, "{\"roots\":[{\"id\":\"each\""));
    assert_int_equal(kpi_report_one(db, desk, STR("nobody"), &asking, &out, &err),
                     -KEEL_E_NOT_FOUND);
    buf_release(&out);
}

/* ---- what is hidden ---- */

enum { FROM = -63, K = 10 };

/* Days with few customers (each fourth) and days with many, and what is made of them. */
static void tell_days(int few) {
    char user[16];
    for (int d = FROM; d < 5; d++) {
        int people = (d - FROM) % 4 == 0 ? few : 12 + (d - FROM) * 7 % 5;
        int orders = (d - FROM) % 4 == 0 ? 10 : people; /* the same in every world */
        for (int i = 0; i < orders; i++) {
            snprintf(user, sizeof user, "u%d", i % people);
            tell(&(struct fact){.user = user, .event = "Order", .day = d, .hour = 9});
        }
    }
    define("people", "{\"query\":\"total of unique customers of 'Order'\"}");
    define("orders", "{\"query\":\"total of events of 'Order'\"}");
    define("both", "{\"sum\":[\"people\",\"orders\"]}");
    define("each", "{\"ratio\":[\"orders\",\"people\"]}");
}

static void put_series(const char *id, const struct kpi_ask *ask, const char *as_of,
                       struct buf *out) {
    const struct kpi_series_words words = {.from = STR("2023-12-25"), .as_of = str_from(as_of)};
    struct keel_error err;
    must(kpi_report_series(db, desk, str_from(id), &words, ask, out, &err), &err);
}

/* Everything that is shown of them. */
static void put_all(double hide_below, struct buf *out) {
    const struct kpi_ask shown = {
        .now_ms = now, .threads = 2, .refresh = true, .hide_below = hide_below};
    const struct kpi_ranges few = {STR("2024-01-16"), STR("2024-01-17"), STR("2024-01-17"),
                                   STR("2024-01-18"), 1};
    static const char *const IDS[] = {"people", "orders", "both", "each"};
    struct keel_error err;
    must(kpi_report_list(db, desk, &shown, out, &err), &err);
    must(kpi_report_tree(db, desk, &shown, out, &err), &err);
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        put_series(IDS[i], &shown, "", out);
        put_series(IDS[i], &shown, "2024-01-20T13:00", out);
        must(kpi_report_one(db, desk, str_from(IDS[i]), &shown, out, &err), &err);
        if (i >= 2)
            must(kpi_report_attribution(db, desk, str_from(IDS[i]), &few, &shown, out, &err), &err);
    }
}

/* Two worlds that differ in hidden numbers alone look the same: by no way can the one be told from
 * the other. Who may see them sees that they differ. */
static void test_hidden_numbers_do_not_show(void **state) {
    static const int FEW[] = {2, 8};
    struct buf hidden[2], open[2];
    for (int w = 0; w < 2; w++) {
        if (w) {
            close_shop(state);
            open_shop(state);
        }
        buf_init(&hidden[w], 1 << 20);
        buf_init(&open[w], 1 << 20);
        tell_days(FEW[w]);
        put_all(0, &open[w]);
        buf_clear(&open[w]);
        now += 3 * HOUR; /* then late events of a day with few and one with many */
        tell(&(struct fact){.user = "late", .event = "Order", .day = 1, .hour = 9});
        tell(&(struct fact){.user = "late", .event = "Order", .day = 2, .hour = 9});
        put_all(0, &open[w]);
        put_all(K, &hidden[w]);
        assert_int_equal(open[w].failed | hidden[w].failed, 0);
    }
    assert_false(str_eq(buf_str(&open[0]), buf_str(&open[1])));
    if (!str_eq(buf_str(&hidden[0]), buf_str(&hidden[1]))) {
        size_t at = 0;
        while (hidden[0].p[at] == hidden[1].p[at]) at++;
        fail_msg("%.200s, or %.200s", (const char *)hidden[0].p + (at < 100 ? 0 : at - 100),
                 (const char *)hidden[1].p + (at < 100 ? 0 : at - 100));
    }
    assert_true(str_contains(buf_str(&hidden[0]), STR("\"hidden\":true")));
    assert_true(str_contains(buf_str(&hidden[0]), STR("\"late_events\":1")));
    assert_true(str_contains(buf_str(&hidden[0]), STR("\"band\":{\"low\"")));
    assert_true(str_contains(buf_str(&hidden[0]), STR("\"verdict\":\"inside\"")));
    assert_false(str_contains(buf_str(&open[0]), STR("\"hidden\"")));
    for (int w = 0; w < 2; w++) {
        buf_release(&hidden[w]);
        buf_release(&open[w]);
    }
}

/* A band looks back at what is shown alone. */
static void test_bands_of_shown_values(void **state) {
    const struct kpi_run_options options = {.now_ms = now, .threads = 2};
    struct kpi_series_ask what = {
        .grain = KPI_DAY, .from = monday, .to = monday + 1, .as_of_ms = KPI_NOW};
    struct kpi_series all, shown;
    struct kpi_run *run;
    struct kpi_set set;
    struct keel_error err;
    int which;
    (void)state;
    tell_days(2);
    must(kpi_set_load(desk, KPI_NOW, &set, &err), &err);
    must(kpi_need(&set, STR("people"), &which, &err), &err);
    must(kpi_run_open(db, &options, &run, &err), &err);
    must(kpi_series(run, desk, &set, which, &what, &all, &err), &err);
    what.hide_below = K;
    must(kpi_series(run, desk, &set, which, &what, &shown, &err), &err);
    const struct kpi_band *a = &all.points[0].band, *b = &shown.points[0].band;
    if (isnan(a->middle) || isnan(b->middle) || (a->low == b->low && a->middle == b->middle))
        fail_msg("%g, %g and %g, %g", a->low, a->middle, b->low, b->middle);
    k_free(all.points);
    k_free(shown.points);
    kpi_run_close(run);
    kpi_set_free(&set);
}

/* An attribution between days with many is whole. */
static void test_shown_attribution(void **state) {
    const struct kpi_ask ask = {.now_ms = now, .threads = 2, .hide_below = K};
    const struct kpi_ranges many = {STR("2024-01-15"), STR("2024-01-16"), STR("2024-01-17"),
                                    STR("2024-01-18"), 1};
    struct keel_error err;
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 20);
    tell_days(2);
    must(kpi_report_attribution(db, desk, STR("both"), &many, &ask, &out, &err), &err);
    assert_false(str_contains(buf_str(&out), STR("null")));
    assert_false(str_contains(buf_str(&out), STR("hidden")));
    buf_release(&out);
}

static void test_clock(void **state) {
    (void)state;
    const struct kpi_clock_options options = {.db = db, .desk = desk, .first_ms = 1};
    struct kpi_clock_stats stats = {0};
    struct kpi_clock *clock;
    struct keel_error err;
    now = now_ms(); /* the clock looks at the real time */
    monday = day_week_start(time_day(db_zone(db), now)) - 7;
    usual_week();
    TELL("u1", NULL, "View", 6, 9, 0);
    define("sales", "{\"query\":\"total of sum('Order'.revenue)\"}");
    define("future", "{\"query\":\"total of events\"}");
    must(sql_run(desk, &err, "UPDATE kpi_edit SET body = '{\"magic\":1}' WHERE id = 'future'", ""),
         &err);
    must(kpi_clock_open(&options, &clock, &err), &err);
    int64_t until = monotonic_us() + WAIT_MS * INT64_C(1000);
    while (stats.turns == 0 && monotonic_us() < until) {
        usleep(1000);
        kpi_clock_stats(clock, &stats);
    }
    kpi_clock_close(clock);
    assert_int_equal(stats.turns, 1);
    assert_int_equal(stats.computed, 1);
    assert_int_equal(stats.failed, 1); /* that one alone */
    assert_non_null(strstr(stats.error.message, "\"future\""));
    struct kpi_point p[7];
    must(kpi_stored(desk, &(struct kpi){.id = STR("sales")}, KPI_DAY, monday, 7, KPI_NOW, p, &err),
         &err);
    assert_true(p[1].stored && p[1].value == 40 && p[4].value == 2 && !p[0].stored);
}

#define IN_SHOP(test) cmocka_unit_test_setup_teardown(test, open_shop, close_shop)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_SHOP(test_values),
        IN_SHOP(test_other_forms),
        IN_SHOP(test_late_events),
        IN_SHOP(test_merge),
        IN_SHOP(test_definition),
        IN_SHOP(test_unfinished),
        IN_SHOP(test_traits),
        IN_SHOP(test_fresh),
        IN_SHOP(test_thin),
        IN_SHOP(test_limits),
        IN_SHOP(test_band_of_series),
        IN_SHOP(test_reports),
        IN_SHOP(test_clock),
        IN_SHOP(test_hidden_numbers_do_not_show),
        IN_SHOP(test_bands_of_shown_values),
        IN_SHOP(test_shown_attribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
