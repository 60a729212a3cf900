/* The main job on real input: a year of a UK web shop (UCI Online Retail), imported by the shipped
 * map, asked by Keel and by SQLite from the same CSV. The SQL stands beside each question.
 *
 * Skipped with a message where the data is absent (KEEL_SHARED). ctest: timeout=300 */
#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/input.h"
#include "cli/import/rows.h"
#include "customer/db.h"
#include "fault_os.h"
#include "query/exec.h"
#include "query/parse.h"

/* An order is an invoice: C… are refunds, A… adjustments; its time is the earliest of its lines; an
 * invoice without customer is a customer of its own. `day` is local: the CSV has wall times. */
static const char SETUP[] =
    "CREATE TABLE orders AS SELECT invoice,"
    "  CASE WHEN customer = '' THEN 'order:' || invoice ELSE customer END who,"
    "  customer <> '' known, min(ts) ts, sum(round(qty * price * 100000)) / 100000 revenue,"
    "  min(country) country, CASE substr(invoice, 1, 1) WHEN 'C' THEN 'Order Refunded'"
    "  WHEN 'A' THEN 'Order Adjusted' ELSE 'Order Completed' END event"
    "  FROM lines GROUP BY invoice, customer;"
    "CREATE VIEW o AS SELECT * FROM orders WHERE event = 'Order Completed';"
    /* The first row of a customer says the country. */
    "CREATE TABLE trait AS SELECT customer who, country FROM lines WHERE customer <> ''"
    "  GROUP BY customer HAVING rowid = min(rowid);"
    "CREATE TABLE customers AS SELECT DISTINCT who FROM orders;"
    "CREATE INDEX o_who ON orders(who, ts); CREATE INDEX l_invoice ON lines(invoice);"
    "CREATE INDEX t_who ON trait(who);";

struct question {
    const char *query, *sql;
};

static const struct question QUESTIONS[] = {
    {"count customers", "SELECT count(*) FROM customers"},
    {"count customers where identified", "SELECT count(*) FROM trait"},
    {"count customers where did \"Order Completed\" at least 2 times and did not \"Order "
     "Completed\" "
     "since 2011-09-10",
     "SELECT count(*) FROM (SELECT who FROM o GROUP BY who HAVING count(*) >= 2 AND max(ts) < "
     "'2011-09-10')"},
    {"count customers where sum(\"Order Completed\".revenue) > 1000 from 2010-12-10 to 2011-12-10 "
     "and "
     "trait country in (\"Germany\", \"France\")",
     "SELECT count(*) FROM (SELECT who FROM o JOIN trait USING (who) WHERE ts >= '2010-12-10' AND "
     "ts < "
     "'2011-12-10' AND trait.country IN ('Germany', 'France') GROUP BY who HAVING sum(revenue) > "
     "1000)"},
    {"count customers where did \"Order Completed\" where any products.sku = \"85123A\"",
     "SELECT count(DISTINCT who) FROM o JOIN lines USING (invoice) WHERE sku = '85123A'"},
    {"count customers where did \"Order Completed\" where (revenue >= 500 and any products.name "
     "contains \"LAMP\") before 2011-06-01",
     "SELECT count(DISTINCT who) FROM o JOIN lines USING (invoice) WHERE revenue >= 500 AND o.ts < "
     "'2011-06-01' AND instr(name, 'LAMP')"},
    {"count customers where did \"Order Completed\" exactly 1 time and not identified",
     "SELECT count(*) FROM (SELECT who FROM o WHERE NOT known GROUP BY who HAVING count(*) = 1)"},
    {"count customers where did \"Order Completed\" by trait country",
     "SELECT t.country c, count(*) FROM (SELECT DISTINCT who FROM o) LEFT JOIN trait t USING (who) "
     "GROUP "
     "BY c ORDER BY c"},
    {"total of events of \"Order Completed\", sum(\"Order Completed\".revenue), unique customers "
     "of "
     "\"Order Completed\"",
     "SELECT count(*), sum(revenue), count(DISTINCT who) FROM o"},
    {"trend of sum(\"Order Completed\".revenue) by week split by trait country in 2011",
     "SELECT date(ts, 'weekday 0', '-6 days') w, t.country c, sum(revenue) FROM o LEFT JOIN trait "
     "t USING "
     "(who) WHERE ts >= '2011-01-01' AND ts < '2012-01-01' GROUP BY w, c ORDER BY w, c"},
    {"trend of unique customers of \"Order Completed\" by month",
     "SELECT date(ts, 'start of month') m, count(DISTINCT who) FROM o GROUP BY m ORDER BY m"},
    {"trend of events, unique customers by month",
     "SELECT m, count(*), count(DISTINCT who) FROM (SELECT date(ts, 'start of month') m, who FROM "
     "orders "
     "UNION ALL SELECT date(min(ts), 'start of month'), customer FROM lines WHERE customer <> '' "
     "GROUP BY "
     "customer HAVING rowid = min(rowid)) GROUP BY m ORDER BY m"},
    {"retention from first \"Order Completed\" to \"Order Completed\" by month over 12 months "
     "among "
     "customers where identified",
     "WITH c AS (SELECT who, min(ts) f FROM o WHERE known GROUP BY who),"
     " n AS (SELECT date(f, 'start of month') m, count(*) size FROM c GROUP BY m),"
     " k(k) AS (VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9),(10),(11),(12)),"
     " r AS (SELECT date(f, 'start of month') m, (substr(ts, 1, 4) - substr(f, 1, 4)) * 12 + "
     "substr(ts, 6, "
     "2) - substr(f, 6, 2) k, count(DISTINCT who) got FROM c JOIN o USING (who) GROUP BY 1, 2)"
     " SELECT n.m, k.k, size, ifnull(got, 0), ifnull(got, 0) * 1.0 / size FROM n JOIN k LEFT JOIN "
     "r ON r.m = "
     "n.m AND r.k = k.k WHERE date(n.m, '+' || k.k || ' months') <= '2011-12-01' ORDER BY n.m, "
     "k.k"},
    {"repeat of \"Order Completed\" by month from 2011-01-01 to 2011-07-01",
     "WITH j AS (SELECT DISTINCT who FROM o WHERE substr(ts, 1, 7) = '2011-01') SELECT date(ts, "
     "'start of "
     "month') m, count(DISTINCT who), count(DISTINCT who) * 1.0 / (SELECT count(*) FROM j) FROM o "
     "JOIN j "
     "USING (who) WHERE ts >= '2011-01-01' AND ts < '2011-07-01' GROUP BY m ORDER BY m"},
    {"top 20 \"Order Completed\".products.sku",
     "SELECT sku, count(*) n FROM lines JOIN o USING (invoice) GROUP BY sku ORDER BY n DESC, sku "
     "LIMIT 20"},
    {"top 10 \"Order Completed\".products.sku by customers in 2011",
     "SELECT sku, count(DISTINCT who) n FROM lines JOIN o USING (invoice) WHERE o.ts >= '2011' AND "
     "o.ts < "
     "'2012' GROUP BY sku ORDER BY n DESC, sku LIMIT 10"},
    {"top 10 \"Order Completed\".products.sku by sum(products.quantity)",
     "SELECT sku, sum(qty) n FROM lines JOIN o USING (invoice) GROUP BY sku ORDER BY n DESC, sku "
     "LIMIT 10"},
    {"rfm of \"Order Completed\" by revenue recency 30 days, 90 days frequency 2, 4 value 100, 500 "
     "before "
     "2011-12-10",
     "SELECT r, f, m, count(*), sum(v) FROM (SELECT 1 + (max(ts) >= '2011-11-10') + (max(ts) >= "
     "'2011-09-11 01:00:00') r, 1 + (count(*) >= 2) + (count(*) >= 4) f, 1 + (sum(revenue) >= 100) "
     "+ "
     "(sum(revenue) >= 500) m, sum(revenue) v FROM o GROUP BY who) GROUP BY r, f, m ORDER BY r, f, "
     "m"},
    {"time from first \"Order Completed\" to \"Order Refunded\"",
     "WITH a AS (SELECT who, min(ts) f FROM o GROUP BY who), p AS (SELECT unixepoch(min(ts)) - "
     "unixepoch(f) dt "
     "FROM a JOIN orders r USING (who) WHERE r.event = 'Order Refunded' AND r.ts >= f GROUP BY who)"
     " SELECT count(*), count(*) FROM p"},
    {"funnel \"Order Completed\", \"Order Refunded\", \"Order Completed\" within 30 days",
     "WITH s2 AS (SELECT DISTINCT a.who, a.invoice i1, b.invoice i2, a.ts t1, b.ts t2 FROM o a "
     "JOIN orders b "
     "ON b.who = a.who AND b.event = 'Order Refunded' AND b.ts >= a.ts AND unixepoch(b.ts) - "
     "unixepoch(a.ts) "
     "<= 2592000)"
     " SELECT 1, 'Order Completed', count(DISTINCT who) FROM o UNION ALL"
     " SELECT 2, 'Order Refunded', count(DISTINCT who) FROM s2 UNION ALL"
     " SELECT 3, 'Order Completed', count(DISTINCT s2.who) FROM s2 JOIN o c ON c.who = s2.who AND "
     "c.ts >= "
     "t2 AND unixepoch(c.ts) - unixepoch(t1) <= 2592000 AND c.invoice <> i1"},
};

/* ---- loading ---- */

static int no_row(void *ctx, const struct reject *reject, struct keel_error *err) {
    (void)ctx;
    (void)err;
    fail_msg("line %llu refused: %.*s", (unsigned long long)reject->line, STR_ARG(reject->detail));
    return 0;
}

static int ingest(void *ctx, struct str batch, uint32_t events, struct keel_error *err) {
    struct ingest_counts counts = {0};
    (void)events;
    return db_ingest(ctx, batch, &counts, err);
}

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void load_keel(const char *csv, struct db *db) {
    struct keel_error err;
    struct map *map;
    struct input *in;
    struct rows_stats stats;
    char path[4096];
    snprintf(path, sizeof path, "%s/examples/maps/online_retail.toml", getenv("KEEL_SOURCE"));
    must(map_load(path, &map, &err), &err);
    must(input_open(csv, &in, &err), &err);
    struct rows_sink sink = {.batch = ingest, .reject = no_row, .ctx = db};
    must(rows_import(map, csv_from_input(in), csv, &sink, &stats, &err), &err);
    assert_int_equal(stats.rows, 541909);
    must(db_flush(db, &err), &err);
    input_close(in);
    map_free(map);
}

static void load_sqlite(const char *csv, sqlite3 *sql) {
    struct keel_error err;
    struct input *in;
    struct csv_reader *reader;
    struct csv_row row;
    sqlite3_stmt *st;
    struct csv_format format = {.delimiter = ',', .quoted = true, .encoding = CSV_UTF8};
    must(input_open(csv, &in, &err), &err);
    must(csv_reader_new(&format, csv_from_input(in), &reader, &err), &err);
    assert_int_equal(
        sqlite3_exec(sql,
                     "CREATE TABLE lines(invoice TEXT, sku TEXT, name TEXT, qty INTEGER, ts TEXT,"
                     " price REAL, customer TEXT, country TEXT); BEGIN",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(sql, "INSERT INTO lines VALUES(?,?,?,?,?,?,?,?)", -1, &st, NULL),
        SQLITE_OK);
    bool header = true;
    while (csv_reader_next(reader, &row, &err) == 1) {
        if (header) {
            header = false;
            continue;
        }
        assert_int_equal(row.n, 8);
        for (int i = 0; i < 8; i++) {
            struct str f = row.fields[i];
            if (i == 6 && str_is(f, "NA")) f.n = 0;
            sqlite3_bind_text(st, i + 1, f.p, (int)f.n, SQLITE_TRANSIENT);
        }
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    csv_reader_free(reader);
    input_close(in);
    if (sqlite3_exec(sql, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sql, SETUP, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(sql));
}

/* ---- comparing ---- */

static void same_cell(const struct question *q, const struct datum *keel, sqlite3_stmt *st,
                      int column, uint64_t row) {
    struct buf text;
    buf_init(&text, 1 << 20);
    must(datum_print(keel, NULL, &text), NULL);
    const char *other = (const char *)sqlite3_column_text(st, column);
    bool null = sqlite3_column_type(st, column) == SQLITE_NULL, same;
    if (keel->type == DATUM_NULL || null) {
        same = keel->type == DATUM_NULL && null;
    } else if (keel->type == DATUM_NUMBER || keel->type == DATUM_INTEGER) {
        double a = keel->type == DATUM_NUMBER ? keel->number : (double)keel->integer;
        double b = sqlite3_column_double(st, column);
        /* Keel's sums of money are exact; SQLite's are sums of doubles. */
        same = fabs(a - b) <= 1e-9 * fmax(1, fabs(b));
    } else {
        same = strlen(other) == text.n && memcmp(other, text.p, text.n) == 0;
    }
    if (!same)
        fail_msg("%s\nrow %llu, column %d: keel says %.*s, SQLite %s", q->query,
                 (unsigned long long)row + 1, column + 1, STR_ARG(buf_str(&text)),
                 null ? "null" : other);
    buf_release(&text);
}

static void compare(const struct question *q, struct db *db, const struct snapshot *snap,
                    sqlite3 *sql) {
    struct keel_error err;
    struct arena arena;
    struct query *query;
    struct result *result;
    sqlite3_stmt *st;
    arena_init(&arena, (size_t)1 << 28);
    must(query_parse(str_from(q->query), &arena, &query, NULL, &err), &err);
    int64_t at = time_from_local(db_zone(db), 2011, 12, 10, 0, 0, 0, 0);
    must(query_run(db, snap, query, &(struct query_options){.at_ms = at}, &result, &err), &err);
    if (sqlite3_prepare_v2(sql, q->sql, -1, &st, NULL) != SQLITE_OK)
        fail_msg("%s: %s", q->sql, sqlite3_errmsg(sql));
    uint64_t row = 0;
    int columns = sqlite3_column_count(st);
    assert_true(columns <= (int)result->n_columns);
    while (sqlite3_step(st) == SQLITE_ROW) {
        if (row == result->n_rows)
            fail_msg("%s\nkeel has %llu rows, SQLite more", q->query, (unsigned long long)row);
        for (int c = 0; c < columns; c++)
            same_cell(q, result_cell(result, row, (uint32_t)c), st, c, row);
        row++;
    }
    if (row != result->n_rows)
        fail_msg("%s\nkeel has %llu rows, SQLite %llu", q->query,
                 (unsigned long long)result->n_rows, (unsigned long long)row);
    print_message("%6llu rows  %s\n", (unsigned long long)row, q->query);
    sqlite3_finalize(st);
    result_free(result);
    arena_release(&arena);
}

static void test_questions(void **state) {
    (void)state;
    char csv[4096], dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 8];
    const char *shared = getenv("KEEL_SHARED");
    snprintf(csv, sizeof csv, "%s/data/retail/online_retail.csv.gz", shared ? shared : "../shared");
    if (!file_exists(csv) || !getenv("KEEL_SOURCE")) {
        print_message("no %s: set KEEL_SHARED to the folder that holds data/, and KEEL_SOURCE\n",
                      csv);
        skip();
    }
    struct keel_error err;
    struct db *db;
    struct db_options options = {0};
    sqlite3 *sql;
    struct snapshot *snap;
    temp_make(dir);
    snprintf(path, sizeof path, "%s/data", dir);
    must(db_init(path, STR("Europe/London"), STR("GBP"), &err), &err);
    must(db_open(path, &options, &db, &err), &err);
    load_keel(csv, db);
    assert_int_equal(sqlite3_open(":memory:", &sql), SQLITE_OK);
    load_sqlite(csv, sql);
    must(snapshot_open(db_store(db), &snap, &err), &err);
    for (size_t i = 0; i < sizeof QUESTIONS / sizeof QUESTIONS[0]; i++)
        compare(&QUESTIONS[i], db, snap, sql);
    snapshot_close(snap);
    sqlite3_close(sql);
    must(db_close(db, &err), &err);
    temp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_questions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
