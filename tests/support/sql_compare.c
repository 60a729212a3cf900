/* Implementation of sql_compare.h. */
#include "sql_compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/input.h"
#include "base/os.h"
#include "cli/import/rows.h"
#include "query/exec.h"
#include "query/language/parse.h"

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void must_sql(const struct sql_compare *c, int code, const char *sql) {
    if (code != SQLITE_OK) fail_msg("%s\n%s", sql, sqlite3_errmsg(c->sql));
}

bool shared_data(const char *name, char out[SHARED_PATH_MAX]) {
    const char *shared = getenv("KEEL_SHARED");
    snprintf(out, SHARED_PATH_MAX, "%s/data/%s", shared ? shared : "../shared", name);
    if (file_exists(out) && getenv("KEEL_SOURCE")) return true;
    print_message("no %s: set KEEL_SHARED to the folder that holds data/, and KEEL_SOURCE\n", out);
    return false;
}

void compare_open(struct sql_compare *c, const char *zone, const char *currency) {
    struct keel_error err;
    char path[TEMP_PATH_MAX + 8];
    *c = (struct sql_compare){.at_ms = now_ms()};
    temp_make(c->dir);
    snprintf(path, sizeof path, "%s/data", c->dir);
    must(db_init(path, str_from(zone), str_from(currency), &err), &err);
    must(db_open(path, &(struct db_options){0}, &c->db, &err), &err);
    assert_int_equal(sqlite3_open(":memory:", &c->sql), SQLITE_OK);
}

void compare_close(struct sql_compare *c) {
    struct keel_error err;
    sqlite3_close(c->sql);
    must(db_close(c->db, &err), &err);
    temp_remove(c->dir);
}

void compare_at(struct sql_compare *c, int year, int month, int day) {
    c->at_ms = time_from_local(db_zone(c->db), year, month, day, 0, 0, 0, 0);
}

/* ---- loading ---- */

struct load {
    struct db *db;
    struct ingest_counts counts;
};

static int take_batch(void *ctx, struct str batch, uint32_t events, struct keel_error *err) {
    struct load *load = ctx;
    (void)events;
    return db_ingest(load->db, batch, &load->counts, err);
}

static int take_reject(void *ctx, const struct reject *reject, struct keel_error *err) {
    (void)ctx;
    (void)err;
    fail_msg("line %llu refused: %s, %.*s", (unsigned long long)reject->line,
             reject_text(reject->cause), STR_ARG(reject->detail));
    return 0;
}

static struct map *shipped_map(const char *name) {
    struct keel_error err;
    struct map *map;
    char path[SHARED_PATH_MAX];
    snprintf(path, sizeof path, "%s/examples/maps/%s", getenv("KEEL_SOURCE"), name);
    must(map_load(path, &map, &err), &err);
    return map;
}

static struct ingest_counts import_once(struct db *db, const char *map_name, const char *path,
                                        uint64_t rows) {
    struct keel_error err;
    struct input *in;
    struct rows_stats stats;
    struct load load = {.db = db};
    struct rows_sink sink = {.batch = take_batch, .reject = take_reject, .ctx = &load};
    struct map *map = shipped_map(map_name);
    must(input_open(path, &in, &err), &err);
    must(rows_import(map, csv_from_input(in), path, &sink, &stats, &err), &err);
    must(db_flush(db, &err), &err);
    assert_int_equal(stats.rows, rows);
    assert_int_equal(stats.no_rule, 0);
    input_close(in);
    map_free(map);
    return load.counts;
}

uint64_t compare_import(struct sql_compare *c, const char *map, const char *path, uint64_t rows) {
    struct ingest_counts first = import_once(c->db, map, path, rows);
    assert_int_equal(first.accepted, first.events);
    struct ingest_counts again = import_once(c->db, map, path, rows);
    assert_int_equal(again.events, first.events);
    assert_int_equal(again.accepted, 0);
    return first.events;
}

void compare_table(struct sql_compare *c, const char *map_name, const char *path,
                   const char *create, const char *insert) {
    struct keel_error err;
    struct input *in;
    struct csv_reader *reader;
    struct csv_row row;
    sqlite3_stmt *st;
    struct map *map = shipped_map(map_name);
    bool header = map->header;
    compare_setup(c, create);
    must_sql(c, sqlite3_prepare_v2(c->sql, insert, -1, &st, NULL), insert);
    must(input_open(path, &in, &err), &err);
    must(csv_reader_new(&map->format, csv_from_input(in), &reader, &err), &err);
    compare_setup(c, "BEGIN");
    while (csv_reader_next(reader, &row, &err) == 1) {
        if (header) {
            header = false;
            continue;
        }
        assert_int_equal(row.n, sqlite3_bind_parameter_count(st));
        for (uint32_t i = 0; i < row.n; i++) {
            struct str value = map_value(map, row.fields[i]);
            if (value.p)
                sqlite3_bind_text(st, (int)i + 1, value.p, (int)value.n, SQLITE_TRANSIENT);
            else
                sqlite3_bind_null(st, (int)i + 1);
        }
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_reset(st);
    }
    compare_setup(c, "COMMIT");
    sqlite3_finalize(st);
    csv_reader_free(reader);
    input_close(in);
    map_free(map);
}

bool compare_retail(struct sql_compare *c) {
    char csv[SHARED_PATH_MAX];
    if (!shared_data("retail/online_retail.csv.gz", csv)) return false;
    compare_open(c, "Europe/London", "GBP");
    compare_at(c, 2011, 12, 10);
    compare_import(c, "online_retail.toml", csv, 541909);
    compare_table(c, "online_retail.toml", csv,
                  "CREATE TABLE lines(invoice TEXT, sku TEXT, name TEXT, qty INTEGER, ts TEXT,"
                  " price REAL, customer TEXT, country TEXT)",
                  "INSERT INTO lines VALUES(?,?,?,?,?,?,?,?)");
    return true;
}

void compare_setup(struct sql_compare *c, const char *sql) {
    must_sql(c, sqlite3_exec(c->sql, sql, NULL, NULL, NULL), sql);
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

static void ask(struct sql_compare *c, const struct snapshot *snap, const struct question *q) {
    struct keel_error err;
    struct arena arena;
    struct query *query;
    struct result *result;
    sqlite3_stmt *st;
    arena_init(&arena, (size_t)1 << 28);
    must(query_parse(str_from(q->query), &arena, &query, NULL, &err), &err);
    must(query_run(c->db, snap, query, &(struct query_options){.at_ms = c->at_ms}, &result, &err),
         &err);
    must_sql(c, sqlite3_prepare_v2(c->sql, q->sql, -1, &st, NULL), q->sql);
    uint64_t row = 0;
    int code, columns = sqlite3_column_count(st);
    assert_true(columns <= (int)result->n_columns);
    while ((code = sqlite3_step(st)) == SQLITE_ROW) {
        if (row == result->n_rows)
            fail_msg("%s\nkeel has %llu rows, SQLite more", q->query, (unsigned long long)row);
        for (int i = 0; i < columns; i++)
            same_cell(q, result_cell(result, row, (uint32_t)i), st, i, row);
        row++;
    }
    must_sql(c, code == SQLITE_DONE ? SQLITE_OK : code, q->sql);
    if (row != result->n_rows)
        fail_msg("%s\nkeel has %llu rows, SQLite %llu", q->query,
                 (unsigned long long)result->n_rows, (unsigned long long)row);
    print_message("%6llu rows  %s\n", (unsigned long long)row, q->query);
    sqlite3_finalize(st);
    result_free(result);
    arena_release(&arena);
}

void compare_ask(struct sql_compare *c, const struct question *questions, size_t n) {
    struct keel_error err;
    struct snapshot *snap;
    must(snapshot_open(db_store(c->db), &snap, &err), &err);
    for (size_t i = 0; i < n; i++) ask(c, snap, &questions[i]);
    snapshot_close(snap);
}
