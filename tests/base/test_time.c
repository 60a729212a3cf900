/* Time: the calendar, zones with their gaps, overlaps and future rules, reading and writing; and a
 * comparison with the C library for random moments.
 *
 * KEEL_SEED=<number> repeats a random run.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "base/time.h"

static uint64_t seed;

static struct time_zone *zone(const char *name) {
    struct keel_error err = {0};
    struct time_zone *z = NULL;
    if (time_zone_load(str_from(name), &z, &err) < 0) fail_msg("%s: %s", name, err.message);
    assert_string_equal(time_zone_name(z), name);
    return z;
}

static int64_t moment(const char *text) {
    int64_t ms = 0;
    if (!time_parse(str_from(text), NULL, &ms)) fail_msg("\"%s\" was refused", text);
    return ms;
}

static void assert_shows(const struct time_zone *z, int64_t ms, const char *text) {
    char out[TIME_TEXT_MAX];
    size_t n = time_format(z, ms, out);
    assert_string_equal(out, text);
    assert_int_equal(n, strlen(text));
}

/* ---- calendar ---- */

static void days_known(void **state) {
    (void)state;
    assert_int_equal(day_from_civil(1970, 1, 1), 0);
    assert_int_equal(day_from_civil(1969, 12, 31), -1);
    assert_int_equal(day_from_civil(2000, 2, 29), 11016);
    assert_int_equal(day_from_civil(2011, 12, 9), 15317);
    assert_int_equal(day_from_civil(1, 1, 1), -719162);
    assert_int_equal(day_from_civil(9999, 12, 31), 2932896);
}

static void days_round_trip(void **state) {
    (void)state;
    static const int LENGTH[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = 1, month = 1, day = 1;
    for (int32_t d = -719162; d <= 2932896; d++) { /* 0001-01-01 to 9999-12-31 */
        int y, m, n;
        civil_from_day(d, &y, &m, &n);
        if (y != year || m != month || n != day || day_from_civil(y, m, n) != d)
            fail_msg("day %d is %d-%d-%d, not %d-%d-%d", d, year, month, day, y, m, n);
        bool leap = year % 4 == 0 && (year % 100 || year % 400 == 0);
        if (++day > LENGTH[month - 1] + (month == 2 && leap)) {
            day = 1;
            if (++month > 12) {
                month = 1;
                year++;
            }
        }
    }
}

static void days_starts(void **state) {
    (void)state;
    int32_t friday = day_from_civil(2011, 12, 9);
    assert_int_equal(day_week_start(friday), day_from_civil(2011, 12, 5));
    assert_int_equal(day_week_start(friday + 2), day_from_civil(2011, 12, 5)); /* Sunday */
    assert_int_equal(day_week_start(friday + 3), friday + 3);                  /* Monday */
    assert_int_equal(day_week_start(0), day_from_civil(1969, 12, 29));
    assert_int_equal(day_week_start(-4), -10);
    for (int32_t d = -800000; d < 3000000; d += 13) {
        int32_t start = day_week_start(d);
        assert_true(start <= d && d - start < 7 && (start + 3 + 7 * 200000) % 7 == 0);
    }
    assert_int_equal(day_month_start(friday), day_from_civil(2011, 12, 1));
    assert_int_equal(day_quarter_start(friday), day_from_civil(2011, 10, 1));
    assert_int_equal(day_quarter_start(day_from_civil(2012, 3, 31)), day_from_civil(2012, 1, 1));
    assert_int_equal(day_year_start(friday), day_from_civil(2011, 1, 1));
}

static void days_add_months(void **state) {
    (void)state;
    int32_t end = day_from_civil(2012, 1, 31);
    assert_int_equal(day_add_months(end, 1), day_from_civil(2012, 2, 29));
    assert_int_equal(day_add_months(end, 13), day_from_civil(2013, 2, 28));
    assert_int_equal(day_add_months(end, -2), day_from_civil(2011, 11, 30));
    assert_int_equal(day_add_months(end, -1), day_from_civil(2011, 12, 31));
    assert_int_equal(day_add_months(end, 0), end);
    assert_int_equal(day_add_months(end, 1200), day_from_civil(2112, 1, 31));
}

/* ---- zones ---- */

static void zones_without_files(void **state) {
    (void)state;
    struct time_zone *utc = zone("UTC"), *india = zone("+05:30"), *west = zone("-0800");
    int64_t ms = moment("2011-12-09T20:00:00Z");
    assert_int_equal(time_zone_offset(utc, ms), 0);
    assert_int_equal(time_zone_offset(NULL, ms), 0);
    assert_int_equal(time_zone_offset(india, ms), 19800);
    assert_int_equal(time_zone_offset(west, ms), -28800);
    assert_int_equal(time_day(utc, ms), 15317);
    assert_int_equal(time_day(NULL, ms), 15317);
    assert_int_equal(time_day(india, ms), 15318);
    assert_int_equal(time_day(utc, -1), -1);
    assert_int_equal(time_day(utc, -MS_PER_DAY), -1);
    assert_int_equal(time_day(utc, -MS_PER_DAY - 1), -2);
    assert_int_equal(time_day_start(india, 15318), moment("2011-12-09T18:30:00Z"));
    assert_shows(india, ms, "2011-12-10T01:30:00+05:30");
    assert_shows(west, ms, "2011-12-09T12:00:00-08:00");
    assert_string_equal(time_zone_name(NULL), "UTC");
    time_zone_free(utc);
    time_zone_free(india);
    time_zone_free(west);
    time_zone_free(NULL);
}

static void zones_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "",
        "/etc/localtime",
        "../zoneinfo/UTC",
        "Europe/../UTC",
        "Europe/London\n",
        "+5:30",
        "+24:00",
        "+05:60",
        "+05:3",
        "05:30",
        "Europe/Oz",
        "zone.tab",
        "Europe",
        "+",
        "+05:30:00",
        "A/very/long/name/that/goes/on/and/on/and/on/and/on/and/on/and/on/and/on/and/on/and/on"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct keel_error err = {0};
        struct time_zone *z = NULL;
        int code = time_zone_load(str_from(BAD[i]), &z, &err);
        if (code >= 0) fail_msg("\"%s\" was loaded", BAD[i]);
        assert_null(z);
        assert_int_equal(err.code, code);
        assert_true(err.message[0] != 0);
    }
}

static void zone_london(void **state) {
    (void)state;
    struct time_zone *z = zone("Europe/London");
    assert_shows(z, moment("2011-12-09T12:50:00Z"), "2011-12-09T12:50:00+00:00");
    assert_shows(z, moment("2011-07-09T12:50:00.005Z"), "2011-07-09T13:50:00.005+01:00");
    /* Clocks went forward on 27 March 2011 at 01:00 and back on 30 October at 01:00 UTC. */
    int64_t forward = moment("2011-03-27T01:00:00Z"), back = moment("2011-10-30T01:00:00Z");
    assert_int_equal(time_zone_offset(z, forward - 1), 0);
    assert_int_equal(time_zone_offset(z, forward), 3600);
    assert_int_equal(time_zone_offset(z, back - 1), 3600);
    assert_int_equal(time_zone_offset(z, back), 0);
    assert_int_equal(time_from_local(z, 2011, 3, 27, 0, 59, 59, 999), forward - 1);
    assert_int_equal(time_from_local(z, 2011, 3, 27, 1, 0, 0, 0), forward);
    assert_int_equal(time_from_local(z, 2011, 3, 27, 1, 30, 0, 0), forward); /* gap */
    assert_int_equal(time_from_local(z, 2011, 3, 27, 2, 0, 0, 0), forward);
    assert_int_equal(time_from_local(z, 2011, 3, 27, 2, 0, 0, 1), forward + 1);
    assert_int_equal(time_from_local(z, 2011, 10, 30, 1, 0, 0, 0), back - MS_PER_HOUR); /* first */
    assert_int_equal(time_from_local(z, 2011, 10, 30, 1, 59, 59, 999), back - 1);
    assert_int_equal(time_from_local(z, 2011, 10, 30, 2, 0, 0, 0), back + MS_PER_HOUR);
    int32_t day = day_from_civil(2011, 7, 9);
    assert_int_equal(time_day_start(z, day), moment("2011-07-08T23:00:00Z"));
    assert_int_equal(time_day(z, moment("2011-07-08T23:00:00Z")), day);
    assert_int_equal(time_day(z, moment("2011-07-08T22:59:59.999Z")), day - 1);
    /* Long before, in standard time all year, and long after, by the rule. */
    assert_int_equal(time_zone_offset(z, moment("1969-12-25T00:00:00Z")), 3600);
    assert_int_equal(time_zone_offset(z, moment("0001-01-01T00:00:00Z")), -75);
    assert_int_equal(time_zone_offset(z, moment("2999-07-01T00:00:00Z")), 3600);
    assert_int_equal(time_zone_offset(z, moment("9999-12-31T00:00:00Z")), 0);
    /* 29 March 9998 is the last Sunday of that month. */
    int64_t far = moment("9998-03-29T01:00:00Z");
    assert_int_equal((day_from_civil(9998, 3, 29) + 4) % 7, 0);
    assert_int_equal(time_zone_offset(z, far - 1), 0);
    assert_int_equal(time_zone_offset(z, far), 3600);
    assert_int_equal(time_from_local(z, 9998, 3, 29, 1, 30, 0, 0), far);
    time_zone_free(z);
}

static void zone_new_york(void **state) {
    (void)state;
    struct time_zone *z = zone("America/New_York");
    int64_t forward = moment("2024-03-10T07:00:00Z"), back = moment("2024-11-03T06:00:00Z");
    assert_shows(z, forward - 1000, "2024-03-10T01:59:59-05:00");
    assert_shows(z, forward, "2024-03-10T03:00:00-04:00");
    assert_int_equal(time_from_local(z, 2024, 3, 10, 2, 15, 0, 0), forward);
    assert_int_equal(time_from_local(z, 2024, 11, 3, 1, 0, 0, 0), back - MS_PER_HOUR);
    assert_shows(z, back, "2024-11-03T01:00:00-05:00");
    time_zone_free(z);
}

static void zone_kolkata(void **state) {
    (void)state;
    struct time_zone *z = zone("Asia/Kolkata");
    assert_shows(z, moment("2024-03-10T18:29:59Z"), "2024-03-10T23:59:59+05:30");
    assert_int_equal(time_day_start(z, day_from_civil(2024, 3, 11)),
                     moment("2024-03-10T18:30:00Z"));
    assert_int_equal(time_zone_offset(z, moment("2500-06-01T00:00:00Z")), 19800);
    time_zone_free(z);
}

/* The southern summer spans the new year; in 2045 only the footer's rule knows. First Sundays of
 * October and April: 1 October and 2 April. */
static void zone_sydney_2045(void **state) {
    (void)state;
    struct time_zone *z = zone("Australia/Sydney");
    assert_int_equal(time_zone_offset(z, moment("2045-01-01T00:00:00Z")), 39600);
    assert_int_equal(time_zone_offset(z, moment("2045-07-01T00:00:00Z")), 36000);
    int64_t forward = moment("2045-09-30T16:00:00Z"), back = moment("2045-04-01T16:00:00Z");
    assert_shows(z, forward - 1, "2045-10-01T01:59:59.999+10:00");
    assert_shows(z, forward, "2045-10-01T03:00:00+11:00");
    assert_shows(z, back - 1, "2045-04-02T02:59:59.999+11:00");
    assert_shows(z, back, "2045-04-02T02:00:00+10:00");
    assert_int_equal(time_from_local(z, 2045, 10, 1, 2, 30, 0, 0), forward);
    assert_int_equal(time_from_local(z, 2045, 4, 2, 2, 30, 0, 0), back - MS_PER_HOUR / 2);
    time_zone_free(z);
}

/* Days that start late or not at all. */
static void zones_odd_days(void **state) {
    (void)state;
    struct time_zone *z = zone("America/Sao_Paulo"); /* no midnight on 4 November 2018 */
    int32_t day = day_from_civil(2018, 11, 4);
    assert_int_equal(time_day_start(z, day), moment("2018-11-04T03:00:00Z"));
    assert_shows(z, time_day_start(z, day), "2018-11-04T01:00:00-02:00");
    time_zone_free(z);
    z = zone("Pacific/Apia"); /* no 30 December 2011 at all */
    day = day_from_civil(2011, 12, 30);
    assert_int_equal(time_day_start(z, day), moment("2011-12-30T10:00:00Z"));
    assert_int_equal(time_day_start(z, day + 1), moment("2011-12-30T10:00:00Z"));
    assert_int_equal(time_day(z, moment("2011-12-30T09:59:59Z")), day - 1);
    assert_int_equal(time_day(z, moment("2011-12-30T10:00:00Z")), day + 1);
    time_zone_free(z);
    z = zone("Europe/Dublin"); /* winter time is the exception there */
    assert_int_equal(time_zone_offset(z, moment("2050-01-15T00:00:00Z")), 0);
    assert_int_equal(time_zone_offset(z, moment("2050-07-15T00:00:00Z")), 3600);
    time_zone_free(z);
}

static const char *const ZONES[] = {"Europe/London",    "America/New_York",  "Asia/Kolkata",
                                    "Australia/Sydney", "America/Sao_Paulo", "Africa/Casablanca",
                                    "Asia/Tehran",      "Pacific/Apia",      "UTC"};

static void zones_as_libc(void **state) {
    (void)state;
    struct rand r;
    rand_init(&r, seed);
    for (size_t k = 0; k < sizeof ZONES / sizeof *ZONES; k++) {
        struct time_zone *z = zone(ZONES[k]);
        setenv("TZ", ZONES[k], 1);
        tzset();
        for (int i = 0; i < 10000; i++) {
            /* 1850 to 2400, most of them from 1970 to 2040 */
            time_t at = i % 4 ? (time_t)rand_below(&r, 2208988800u)
                              : (time_t)(rand_u64(&r) % 17356032000u) - 3786825600;
            struct tm tm;
            assert_non_null(localtime_r(&at, &tm));
            int64_t ms = (int64_t)at * 1000 + rand_below(&r, 1000);
            if (time_zone_offset(z, ms) != tm.tm_gmtoff)
                fail_msg("%s: offset at %lld is %d, not %ld, seed %" PRIu64, ZONES[k],
                         (long long)at, time_zone_offset(z, ms), tm.tm_gmtoff, seed);
            int32_t day = day_from_civil(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
            assert_int_equal(time_day(z, ms), day);
        }
        time_zone_free(z);
    }
    unsetenv("TZ");
    tzset();
}

/* What holds for every zone and moment, also where the C library's answers are arbitrary. */
static void zones_properties(void **state) {
    (void)state;
    struct rand r;
    rand_init(&r, seed);
    for (size_t k = 0; k < sizeof ZONES / sizeof *ZONES; k++) {
        struct time_zone *z = zone(ZONES[k]);
        for (int i = 0; i < 20000; i++) {
            int64_t ms = (int64_t)(rand_u64(&r) % 315537897600000u) - 62135596800000;
            int64_t local = ms + time_zone_offset(z, ms) * INT64_C(1000);
            int32_t day = time_day(z, ms);
            int y, m, d;
            civil_from_day(day, &y, &m, &d);
            int of_day = (int)(local - day * (int64_t)MS_PER_DAY);
            assert_in_range(of_day, 0, MS_PER_DAY - 1);
            int64_t again = time_from_local(z, y, m, d, 0, 0, 0, of_day);
            /* The first of two equal wall times may be up to some hours earlier. */
            assert_true(again <= ms && ms - again <= 3 * MS_PER_HOUR);
            assert_int_equal(again + time_zone_offset(z, again) * INT64_C(1000), local);
            int64_t start = time_day_start(z, day);
            assert_true(start <= ms && ms - start <= 26 * (int64_t)MS_PER_HOUR);
            assert_int_equal(time_day(z, start), day);
            assert_true(time_day(z, start - 1) < day);
            char text[TIME_TEXT_MAX];
            size_t n = time_format(z, ms, text);
            int64_t read;
            assert_true(n < TIME_TEXT_MAX);
            assert_true(time_parse((struct str){text, n}, NULL, &read));
            assert_int_equal(read, ms);
        }
        /* far outside the range: no crash, no undefined behaviour */
        (void)time_day(z, INT64_MAX);
        (void)time_day(z, INT64_MIN);
        (void)time_day_start(z, INT32_MAX);
        (void)time_day_start(z, INT32_MIN);
        time_zone_free(z);
    }
}

/* ---- zone files ---- */

static struct buf tzif;

static void put_big(uint64_t v, int bytes) {
    while (bytes-- > 0) (void)buf_add_u8(&tzif, (uint8_t)(v >> 8 * bytes));
}

/* A file with one transition at 0 from UTC to UTC+1, and a footer. */
static void make_tzif(const char *footer) {
    buf_clear(&tzif);
    for (int block = 0; block < 2; block++) {
        (void)buf_add(&tzif, "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
        static const uint32_t COUNTS[] = {0, 0, 0, 1, 2, 4};
        for (int i = 0; i < 6; i++) put_big(block ? COUNTS[i] : i == 4 || i == 5, 4);
        if (block) {
            put_big(0, 8);
            put_big(1, 1);
        }
        for (unsigned type = 0; type <= (block ? 1u : 0u); type++) {
            put_big(type * 3600, 4);
            put_big(0, 2);
        }
        (void)buf_add(&tzif, "ABC", block ? 4 : 1);
    }
    (void)buf_printf(&tzif, "\n%s\n", footer);
}

static int load_tzif(struct str bytes, int64_t ms, int32_t *out_offset) {
    struct keel_error err;
    int fd;
    const char *path = "Test";
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, &err), 0);
    assert_int_equal(file_write_all(fd, bytes.p, bytes.n, path, &err), 0);
    file_close(fd);
    struct time_zone *z;
    int code = time_zone_load(STR("Test"), &z, &err);
    if (code < 0) return code;
    *out_offset = time_zone_offset(z, ms);
    (void)time_day(z, INT64_MAX);
    (void)time_day_start(z, 1000000);
    time_zone_free(z);
    return 0;
}

static void zone_files_damaged(void **state) {
    (void)state;
    int32_t offset = 0;
    char dir[] = "/tmp/keel-tz-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char old[4096];
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(dir), 0);
    setenv("TZDIR", ".", 1);
    buf_init(&tzif, 1 << 16);

    int64_t july = moment("2024-07-01T00:00:00Z");
    make_tzif("AAA-1");
    assert_int_equal(load_tzif(buf_str(&tzif), july, &offset), 0);
    assert_int_equal(offset, 3600);
    make_tzif("");
    assert_int_equal(load_tzif(buf_str(&tzif), july, &offset), 0);
    make_tzif("AAA-1BBB,J60,J300"); /* day 60 is 1 March in every year */
    assert_int_equal(load_tzif(buf_str(&tzif), july, &offset), 0);
    assert_int_equal(offset, 7200);
    assert_int_equal(load_tzif(buf_str(&tzif), moment("2024-03-01T00:59:59Z"), &offset), 0);
    assert_int_equal(offset, 3600);
    assert_int_equal(load_tzif(buf_str(&tzif), moment("2024-03-01T01:00:00Z"), &offset), 0);
    assert_int_equal(offset, 7200);
    make_tzif("AAA3<+04>-4:30:15,59/-1,M12.5.0/167"); /* day 59 is 29 February in a leap year */
    assert_int_equal(load_tzif(buf_str(&tzif), moment("2024-02-29T02:00:00Z"), &offset), 0);
    assert_int_equal(offset, 16215);
    assert_int_equal(load_tzif(buf_str(&tzif), moment("2024-02-29T01:59:59Z"), &offset), 0);
    assert_int_equal(offset, -10800);
    make_tzif("XXX3EDT4,0/0,J365/23"); /* daylight saving all year, RFC 8536 */
    assert_int_equal(load_tzif(buf_str(&tzif), moment("2030-01-01T03:00:00Z"), &offset), 0);
    assert_int_equal(offset, -14400);

    static const char *const BAD[] = {"A",
                                      "AAA",
                                      "AAA25",
                                      "AAA1BBB",
                                      "<AAA1",
                                      "AAA1BBB,M1.1.1",
                                      "AAA1BBB,M13.1.1,M1.1.1",
                                      "AAA1BBB,M1.1.1,M2.6.1",
                                      "AAA1BBB,J0,J9",
                                      "AAA1BBB,1,400",
                                      "AAA1BBB,1,9x",
                                      "AAA1:60"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        make_tzif(BAD[i]);
        if (load_tzif(buf_str(&tzif), july, &offset) != -KEEL_E_CORRUPT)
            fail_msg("rule \"%s\" was accepted", BAD[i]);
    }

    make_tzif("AAA-1BBB,M3.2.0,M11.1.0");
    size_t n = tzif.n;
    for (size_t size = 0; size < n; size++)
        assert_int_equal(load_tzif((struct str){(char *)tzif.p, size}, july, &offset),
                         -KEEL_E_CORRUPT);
    for (size_t bit = 0; bit < n * 8; bit++) { /* no crash */
        tzif.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)load_tzif(buf_str(&tzif), july, &offset);
        tzif.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    tzif.p[4] = 0;
    assert_int_equal(load_tzif(buf_str(&tzif), july, &offset), -KEEL_E_UNSUPPORTED);

    buf_release(&tzif);
    unsetenv("TZDIR");
    assert_int_equal(file_remove("Test", NULL), 0);
    assert_int_equal(chdir(old), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void zone_no_memory(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct time_zone *z = NULL;
        mem_fail_after(n);
        int code = time_zone_load(STR("Europe/London"), &z, NULL);
        mem_fail_after(0);
        time_zone_free(z);
        if (code == 0 && n > 8) break;
        if (code < 0) assert_int_equal(code, -KEEL_E_NO_MEMORY);
    }
}

/* ---- reading and writing ---- */

static void parse_accepted(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } GOOD[] = {
        {"2011-12-09T12:50:00.123Z", 1323435000123},
        {"2011-12-09T12:50:00Z", 1323435000000},
        {"2011-12-09", 1323388800000},
        {"2011-12-09 12:50", 1323435000000},
        {"2011-12-09t12:50:00z", 1323435000000},
        {"2011-12-09T12:50:00.1Z", 1323435000100},
        {"2011-12-09T12:50:00.123999999Z", 1323435000123},
        {"2011-12-09T13:50:00+01:00", 1323435000000},
        {"2011-12-09T05:50:00.123-0700", 1323435000123},
        {"2011-12-09T12:50+00", 1323435000000},
        {"1970-01-01T00:00:00.000Z", 0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2012-02-29", 1330473600000},
        {"0001-01-01T00:00:00.000Z", -62135596800000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        assert_int_equal(moment(GOOD[i].text), GOOD[i].ms);
    struct time_zone *z = zone("Europe/London");
    int64_t ms;
    assert_true(time_parse(STR("2011-07-09 12:50:00"), z, &ms));
    assert_int_equal(ms, moment("2011-07-09T11:50:00Z"));
    assert_true(time_parse(STR("2011-07-09T12:50:00Z"), z, &ms));
    assert_int_equal(ms, moment("2011-07-09T12:50:00Z"));
    assert_true(time_parse(STR("2011-07-09"), z, &ms));
    assert_int_equal(ms, moment("2011-07-08T23:00:00Z"));
    time_zone_free(z);
}

static void parse_refused(void **state) {
    (void)state;
    static const char *const BAD[] = {"",
                                      "2011",
                                      "2011-12",
                                      "2011-13-09",
                                      "2011-00-09",
                                      "2011-12-00",
                                      "2011-02-30",
                                      "2011-02-29",
                                      "1900-02-29",
                                      "2011-12-09T",
                                      "2011-12-09T12",
                                      "2011-12-09T25:00:00Z",
                                      "2011-12-09T24:00:00Z",
                                      "2011-12-09T12:60:00Z",
                                      "2011-12-09T12:50:61Z",
                                      "2011-12-09T12:50:00.Z",
                                      "2011-12-09T12:50:00.123Zx",
                                      "2011-12-09T12:50:00Z ",
                                      " 2011-12-09T12:50:00Z",
                                      "2011-12-09T12:50:00+1",
                                      "2011-12-09T12:50:00+01:6",
                                      "2011-12-09T12:50:00+24:00",
                                      "2011-12-09T12:50:00 +01:00",
                                      "2011/12/09",
                                      "11-12-09",
                                      "0000-12-09",
                                      "2011-12-0x",
                                      "2011-13-09T12:50:00.123Z",
                                      "2011-12-09T12:50:00:123Z",
                                      "0001-01-01T00:00:00+01:00",
                                      "9999-12-31T23:59:59-01:00",
                                      "1323435000123"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        int64_t ms = 42;
        if (time_parse(str_from(BAD[i]), NULL, &ms)) fail_msg("\"%s\" was accepted", BAD[i]);
        assert_int_equal(ms, 42);
    }
}

static void parse_formats(void **state) {
    (void)state;
    static const struct {
        const char *format, *text, *iso; /* iso NULL: refused */
    } CASES[] = {
        {"%d/%m/%Y %H:%M", "9/12/2011 8:05", "2011-12-09T08:05:00Z"},
        {"%m/%d/%y", "12/09/11", "2011-12-09T00:00:00Z"},
        {"%m/%d/%y", "12/09/69", "1969-12-09T00:00:00Z"},
        {"%d %b %Y", "09 Dec 2011", "2011-12-09T00:00:00Z"},
        {"%d %B %Y", "9  december   2011", "2011-12-09T00:00:00Z"},
        {"%b %d, %Y %I:%M:%S %p", "May 1, 2011 12:30:15 AM", "2011-05-01T00:30:15Z"},
        {"%b %d, %Y %I:%M:%S %p", "MAY 1, 2011 12:30:15 pm", "2011-05-01T12:30:15Z"},
        {"%b %d, %Y %I:%M:%S %p", "May 1, 2011 1:30:15 PM", "2011-05-01T13:30:15Z"},
        {"%Y-%j", "2012-366", "2012-12-31T00:00:00Z"},
        {"%Y-%j", "2011-366", NULL},
        {"%Y-%j", "2011-000", NULL},
        {"%s", "1323435000", "2011-12-09T12:50:00Z"},
        {"%s", "-1", "1969-12-31T23:59:59Z"},
        {"%Q", "1323435000123", "2011-12-09T12:50:00.123Z"},
        {"%s", "99999999999999", NULL},
        {"%s", "", NULL},
        {"%Y-%m-%d %H:%M:%S %z", "2011-12-09 13:50:00 +0100", "2011-12-09T12:50:00Z"},
        {"%Y%m%dT%H%M%S%z", "20111209T125000Z", "2011-12-09T12:50:00Z"},
        {"100%% %Y", "100% 2011", "2011-01-01T00:00:00Z"},
        {"%d/%m/%Y", "31/11/2011", NULL},
        {"%d/%m/%Y", "9/13/2011", NULL},
        {"%d/%m/%Y", "9/12/2011 ", NULL},
        {"%d/%m/%Y", "9/12", NULL},
        {"%d.%m.%Y", "9/12/2011", NULL},
        {"%I:%M %Y", "13:00 2011", NULL},
        {"%I:%M %Y", "0:30 2011", NULL},
        {"%H:%M %d", "13:00 1", NULL}, /* no year */
        {"%b %Y", "Foo 2011", NULL},
        {"%Y %k", "2011 1", NULL},
        {"%Y%", "2011", NULL},
        {"%p %Y", "xm 2011", NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        int64_t ms = 42;
        bool good =
            time_parse_format(str_from(CASES[i].text), str_from(CASES[i].format), NULL, &ms);
        if (good != (CASES[i].iso != NULL))
            fail_msg("\"%s\" as \"%s\": %d", CASES[i].text, CASES[i].format, good);
        if (good) assert_shows(NULL, ms, CASES[i].iso);
    }
    struct time_zone *z = zone("America/New_York");
    int64_t ms;
    assert_true(time_parse_format(STR("9/7/2011 8:05"), STR("%d/%m/%Y %H:%M"), z, &ms));
    assert_shows(NULL, ms, "2011-07-09T12:05:00Z");
    time_zone_free(z);
}

static void formats(void **state) {
    (void)state;
    char out[TIME_TEXT_MAX];
    assert_shows(NULL, 1323435000123, "2011-12-09T12:50:00.123Z");
    assert_shows(NULL, 1323435000000, "2011-12-09T12:50:00Z");
    assert_shows(NULL, 1323435000007, "2011-12-09T12:50:00.007Z");
    assert_shows(NULL, -1, "1969-12-31T23:59:59.999Z");
    assert_shows(NULL, INT64_MIN, "0001-01-01T00:00:00Z");
    assert_shows(NULL, INT64_MAX, "9999-12-31T23:59:59.999Z");
    assert_int_equal(day_format(15317, out), 10);
    assert_string_equal(out, "2011-12-09");
    day_format(INT32_MIN, out);
    assert_string_equal(out, "0001-01-01");
    day_format(INT32_MAX, out);
    assert_string_equal(out, "9999-12-31");
}

int main(void) {
    const char *given = getenv("KEEL_SEED");
    seed = given ? strtoull(given, NULL, 10) : 20111209;
    printf("KEEL_SEED=%" PRIu64 "\n", seed);
    unsetenv("TZDIR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_known),
        cmocka_unit_test(days_round_trip),
        cmocka_unit_test(days_starts),
        cmocka_unit_test(days_add_months),
        cmocka_unit_test(zones_without_files),
        cmocka_unit_test(zones_refused),
        cmocka_unit_test(zone_london),
        cmocka_unit_test(zone_new_york),
        cmocka_unit_test(zone_kolkata),
        cmocka_unit_test(zone_sydney_2045),
        cmocka_unit_test(zones_odd_days),
        cmocka_unit_test(zones_as_libc),
        cmocka_unit_test(zones_properties),
        cmocka_unit_test(zone_files_damaged),
        cmocka_unit_test(zone_no_memory),
        cmocka_unit_test(parse_accepted),
        cmocka_unit_test(parse_refused),
        cmocka_unit_test(parse_formats),
        cmocka_unit_test(formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
