/* SQLite behind sql.h: values come back as they went in, transactions nest and are doomed together,
 * statements are kept and shared, migrations run once, two connections see each other's changes,
 * and each failure is an error with a code.
 *
 * ctest: timeout=120
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/os.h"
#include "base/sql.h"
#include "fault_os.h"

struct bench {
    char dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 16];
    struct sql *db;
    struct keel_error err;
};

static void must(struct bench *b, int code) {
    if (code < 0) fail_msg("%s", b->err.message);
}

static int set_up(void **state) {
    struct bench *b = test_calloc(1, sizeof *b);
    temp_make(b->dir);
    snprintf(b->path, sizeof b->path, "%s/some.db", b->dir);
    must(b, sql_open(b->path, SQL_CREATE, &b->db, &b->err));
    must(b, sql_run(b->db, &b->err, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", ""));
    *state = b;
    return 0;
}

static int tear_down(void **state) {
    struct bench *b = *state;
    sql_close(b->db);
    temp_remove(b->dir);
    test_free(b);
    return 0;
}

static int64_t count(struct sql *db) {
    struct keel_error err;
    int64_t n = -1;
    if (sql_number(db, -1, &n, &err, "SELECT count(*) FROM t", "") < 0) fail_msg("%s", err.message);
    return n;
}

static int add(struct bench *b, int64_t id) {
    return sql_run(b->db, &b->err, "INSERT INTO t(id, v) VALUES(?, 'x')", "i", id);
}

/* ---- values ---- */

static void test_values(void **state) {
    struct bench *b = *state;
    struct sql_rows rows;
    static const char BLOB[] = {0, 1, 0, (char)0xff};
    must(b, sql_run(b->db, &b->err, "CREATE TABLE w(i, d, s, z, b, n, e, nul)", ""));
    must(b, sql_run(b->db, &b->err, "INSERT INTO w VALUES(?, ?, ?, ?, ?, ?, ?, ?)", "idszbzss",
                    INT64_MIN, 0.1, STR("räksm\0rgås"), "it's \"text\"; --",
                    (struct str){BLOB, sizeof BLOB}, (const char *)NULL, STR(""),
                    (struct str){NULL, 0}));
    must(b, sql_ask(b->db, &rows, &b->err, "SELECT * FROM w WHERE i = ?", "i", INT64_MIN));
    assert_int_equal(sql_next(&rows, &b->err), 1);
    assert_true(sql_i64(&rows, 0) == INT64_MIN);
    assert_true(sql_f64(&rows, 1) == 0.1);
    assert_true(str_eq(sql_str(&rows, 2), STR("räksm\0rgås")));
    assert_true(str_eq(sql_str(&rows, 3), STR("it's \"text\"; --")));
    assert_true(str_eq(sql_str(&rows, 4), (struct str){BLOB, sizeof BLOB}));
    assert_true(sql_is_null(&rows, 5));
    assert_null(sql_str(&rows, 5).p);
    assert_false(sql_is_null(&rows, 6));
    assert_non_null(sql_str(&rows, 6).p);
    assert_int_equal(sql_str(&rows, 6).n, 0);
    assert_true(sql_is_null(&rows, 7));
    assert_int_equal(sql_next(&rows, &b->err), 0);
    sql_done(&rows);
    sql_done(&rows); /* again is fine */
    int64_t n;
    must(b, sql_number(b->db, 7, &n, &b->err, "SELECT i FROM w WHERE d > ?", "d", 1.0));
    assert_int_equal(n, 7);
}

static void test_changes(void **state) {
    struct bench *b = *state;
    for (int64_t i = 1; i <= 5; i++) must(b, add(b, i * 10));
    assert_int_equal(sql_last_id(b->db), 50);
    must(b, sql_run(b->db, &b->err, "UPDATE t SET v = 'y' WHERE id > ?", "i", (int64_t)20));
    assert_int_equal(sql_changes(b->db), 3);
}

/* ---- transactions ---- */

static void test_nesting(void **state) {
    struct bench *b = *state;
    struct sql *other;
    must(b, sql_open(b->path, SQL_READ_ONLY, &other, &b->err));
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 1));
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 2));
    must(b, sql_commit(b->db, &b->err));
    assert_int_equal(count(other), 0); /* only the outermost commits */
    must(b, sql_commit(b->db, &b->err));
    assert_int_equal(count(other), 2);
    sql_close(other);
}

static void test_doomed(void **state) {
    struct bench *b = *state;
    must(b, add(b, 1));
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 2));
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 3));
    sql_rollback(b->db);
    must(b, sql_begin(b->db, &b->err)); /* what comes behind is lost as well */
    must(b, add(b, 4));
    must(b, sql_commit(b->db, &b->err));
    assert_int_equal(sql_commit(b->db, &b->err), -KEEL_E_CANCELLED);
    assert_non_null(strstr(b->err.message, "some.db"));
    assert_int_equal(count(b->db), 1);
    must(b, sql_begin(b->db, &b->err)); /* the next one is sound */
    must(b, add(b, 5));
    must(b, sql_commit(b->db, &b->err));
    assert_int_equal(count(b->db), 2);
}

static void test_end(void **state) {
    struct bench *b = *state;
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 1));
    assert_int_equal(sql_end(b->db, -KEEL_E_LIMIT, &b->err), -KEEL_E_LIMIT);
    assert_int_equal(count(b->db), 0);
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 1));
    assert_int_equal(sql_end(b->db, 0, &b->err), 0);
    assert_int_equal(count(b->db), 1);
}

static void test_close_rolls_back(void **state) {
    struct bench *b = *state;
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 1));
    sql_close(b->db);
    must(b, sql_open(b->path, 0, &b->db, &b->err));
    assert_int_equal(count(b->db), 0);
}

/* ---- threads ---- */

enum { THREADS = 6, ROUNDS = 60 };

struct worker {
    struct sql *db;
    int64_t first;
    pthread_t thread;
};

/* By turns a transaction that adds two rows, and one that adds one and takes it back. */
static void *add_pairs(void *ctx) {
    struct worker *w = ctx;
    struct keel_error err;
    for (int64_t i = 0; i < ROUNDS; i++) {
        int code = sql_begin(w->db, &err);
        for (int64_t k = 0; k < 2 && code == 0; k++)
            code = sql_run(w->db, &err, "INSERT INTO t(id, v) VALUES(?, 'x')", "i",
                           w->first + i * 2 + k);
        K_ASSERT_OP(code, ==, 0);
        int64_t n;
        code = sql_number(w->db, -1, &n, &err, "SELECT count(*) % 2 FROM t", "");
        K_ASSERT_OP(code, ==, 0);
        K_ASSERT_OP(n, ==, 0); /* nobody else's halves */
        code = sql_end(w->db, i % 2 ? -KEEL_E_CANCELLED : 0, NULL);
        K_ASSERT_OP(code, ==, i % 2 ? -KEEL_E_CANCELLED : 0);
    }
    return NULL;
}

static void test_threads(void **state) {
    struct bench *b = *state;
    struct worker workers[THREADS];
    must(b, sql_run(b->db, &b->err, "PRAGMA synchronous = OFF", ""));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.db = b->db, .first = i * 1000};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, add_pairs, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(count(b->db), THREADS * ROUNDS);
}

/* ---- statements ---- */

static const char NUMBERS[] = "SELECT id FROM t WHERE id > ? ORDER BY id";

/* Rows within rows of the same statement each have their own. */
static void test_rows_within_rows(void **state) {
    struct bench *b = *state;
    for (int64_t i = 1; i <= 4; i++) must(b, add(b, i));
    struct sql_rows outer, inner;
    int64_t pairs = 0;
    must(b, sql_ask(b->db, &outer, &b->err, NUMBERS, "i", (int64_t)0));
    while (sql_next(&outer, &b->err) == 1) {
        int64_t id = sql_i64(&outer, 0);
        must(b, sql_ask(b->db, &inner, &b->err, NUMBERS, "i", id));
        while (sql_next(&inner, &b->err) == 1) pairs += sql_i64(&inner, 0) > id;
        sql_done(&inner);
        assert_int_equal(sql_i64(&outer, 0), id);
    }
    sql_done(&outer);
    assert_int_equal(pairs, 6);
}

static unsigned prepared(struct sql *db) {
    unsigned n = 0;
    for (sqlite3_stmt *st = NULL; (st = sqlite3_next_stmt(sql_handle(db), st));) n++;
    return n;
}

/* A statement that left its rows half-read starts from the beginning, with its own values. */
static void test_statements_are_kept(void **state) {
    struct bench *b = *state;
    struct sql_rows rows;
    for (int64_t i = 1; i <= 4; i++) must(b, add(b, i));
    for (int64_t i = 0; i < 3; i++) {
        must(b, sql_ask(b->db, &rows, &b->err, NUMBERS, "i", i));
        assert_int_equal(sql_next(&rows, &b->err), 1);
        assert_int_equal(sql_i64(&rows, 0), i + 1);
        sql_done(&rows);
    }
    unsigned before = prepared(b->db);
    char copy[sizeof NUMBERS]; /* the same text elsewhere is the same statement */
    memcpy(copy, NUMBERS, sizeof NUMBERS);
    for (int i = 0; i < 50; i++) {
        const char *text = i % 2 ? copy : NUMBERS;
        must(b, sql_ask(b->db, &rows, &b->err, text, "i", (int64_t)0));
        sql_done(&rows);
    }
    assert_int_equal(prepared(b->db), before);
}

/* More statements than are kept: the rest come and go. */
static void test_full_cache(void **state) {
    struct bench *b = *state;
    char text[SQL_CACHE + 20][32];
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < SQL_CACHE + 20; i++) {
            int64_t n;
            snprintf(text[i], sizeof text[i], "SELECT %u + ?", i);
            must(b, sql_number(b->db, -1, &n, &b->err, text[i], "i", (int64_t)1));
            assert_int_equal(n, i + 1);
        }
    assert_int_equal(prepared(b->db), SQL_CACHE);
}

/* ---- migrations ---- */

static const char *const STEPS[] = {
    "CREATE TABLE pet(id INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "ALTER TABLE pet ADD COLUMN age INTEGER; INSERT INTO pet VALUES(1, 'Rex', 3)",
    "this is no SQL",
};

static void test_migrations(void **state) {
    struct bench *b = *state;
    int64_t n;
    must(b, sql_migrate(b->db, "zoo", STEPS, 1, &b->err));
    must(b, sql_migrate(b->db, "zoo", STEPS, 1, &b->err));
    must(b, sql_migrate(b->db, "zoo", STEPS, 2, &b->err));
    must(b, sql_migrate(b->db, "zoo", STEPS, 2, &b->err)); /* each step once */
    must(b, sql_number(b->db, 0, &n, &b->err, "SELECT sum(age) FROM pet", ""));
    assert_int_equal(n, 3);
    assert_true(sql_migrate(b->db, "zoo", STEPS, 3, &b->err) < 0);
    must(b, sql_migrate(b->db, "zoo", STEPS, 2, &b->err)); /* as before the step that failed */
    assert_int_equal(sql_migrate(b->db, "zoo", STEPS, 1, &b->err), -KEEL_E_UNSUPPORTED);
    assert_non_null(strstr(b->err.message, "zoo"));
    /* A step that fails takes those before it along. */
    assert_true(sql_migrate(b->db, "farm", STEPS + 2, 1, &b->err) < 0);
    static const char *const HALF[] = {"CREATE TABLE cow(id)", "CREATE TABLE cow(id)"};
    assert_true(sql_migrate(b->db, "farm", HALF, 2, &b->err) < 0);
    must(b, sql_number(b->db, 0, &n, &b->err,
                       "SELECT count(*) FROM sqlite_schema WHERE name = 'cow'", ""));
    assert_int_equal(n, 0);
}

/* ---- two connections ---- */

static void test_two_connections(void **state) {
    struct bench *b = *state;
    struct sql *other;
    must(b, sql_open(b->path, 0, &other, &b->err));
    sqlite3_busy_timeout(sql_handle(other), 1);
    (void)sql_changed(other);
    assert_false(sql_changed(other));
    must(b, add(b, 1));
    assert_true(sql_changed(other));
    assert_false(sql_changed(other));
    assert_false(sql_changed(b->db)); /* its own changes are no news */
    must(b, sql_begin(b->db, &b->err));
    must(b, add(b, 2));
    assert_int_equal(sql_begin(other, &b->err), -KEEL_E_BUSY);
    assert_int_equal(count(other), 1); /* readers go on */
    assert_int_equal(
        sql_run(other, &b->err, "INSERT INTO t(id, v) VALUES(?, 'x')", "i", (int64_t)3),
        -KEEL_E_BUSY);
    must(b, sql_commit(b->db, &b->err));
    must(b, sql_begin(other, &b->err)); /* nothing of the failed one is left */
    must(b, sql_commit(other, &b->err));
    assert_int_equal(count(other), 2);
    sql_close(other);
}

/* ---- errors ---- */

static void test_errors(void **state) {
    struct bench *b = *state;
    struct sql *other;
    struct sql_rows rows;
    char path[TEMP_PATH_MAX + 32];
    int fd;
    must(b, add(b, 1));
    assert_int_equal(add(b, 1), -KEEL_E_EXISTS);
    assert_non_null(strstr(b->err.message, "some.db"));
    must(b, sql_run(b->db, &b->err, "CREATE TABLE u(a NOT NULL CHECK(a > 0))", ""));
    assert_int_equal(sql_run(b->db, &b->err, "INSERT INTO u VALUES(?)", "i", (int64_t)-1),
                     -KEEL_E_INVALID);
    assert_true(sql_run(b->db, &b->err, "SELEKT 1", "") < 0);
    assert_true(sql_ask(b->db, &rows, &b->err, "SELECT * FROM nowhere", "") < 0);
    sql_done(&rows); /* what was never begun */
    assert_int_equal(count(b->db), 1);
    snprintf(path, sizeof path, "%s/absent.db", b->dir);
    assert_int_equal(sql_open(path, 0, &other, &b->err), -KEEL_E_NOT_FOUND);
    assert_non_null(strstr(b->err.message, "absent.db"));
    must(b, file_open(path, FILE_WRITE | FILE_CREATE, &fd, &b->err));
    for (int i = 0; i < 300; i++) must(b, file_write_all(fd, "no database ", 12, path, &b->err));
    file_close(fd);
    assert_int_equal(sql_open(path, 0, &other, &b->err), -KEEL_E_CORRUPT);
    snprintf(path, sizeof path, "%s/no/folder.db", b->dir);
    assert_true(sql_open(path, SQL_CREATE, &other, &b->err) < 0);
    assert_non_null(strstr(b->err.message, "folder.db"));
    must(b, sql_open(b->path, SQL_READ_ONLY, &other, &b->err));
    assert_int_equal(sql_run(other, &b->err, "DELETE FROM t", ""), -KEEL_E_INVALID);
    sql_close(other);
    sql_close(NULL);
}

/* No file of that name is made. */
static void test_memory(void **state) {
    struct bench *b = *state;
    struct sql *one, *other;
    must(b, sql_open(SQL_MEMORY, SQL_CREATE, &one, &b->err));
    must(b, sql_open(SQL_MEMORY, SQL_CREATE, &other, &b->err));
    must(b, sql_run(one, &b->err, "CREATE TABLE t(v)", ""));
    must(b, sql_run(one, &b->err, "INSERT INTO t VALUES(1)", ""));
    assert_int_equal(count(one), 1);
    assert_true(sql_run(other, &b->err, "INSERT INTO t VALUES(1)", "") < 0);
    sql_close(one);
    sql_close(other);
    assert_false(file_exists(SQL_MEMORY));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nesting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_doomed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_rolls_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_within_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_statements_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_migrations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
