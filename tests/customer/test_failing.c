/* Every call that can fail fails once: a short life of a data directory (init, ingest, flush,
 * compaction, close, reopen) is repeated with the n-th call to the operating system failing, for n
 * = 1 .. the end, SQLite's calls included; likewise the n-th allocation. The life goes on behind
 * the failure as a server's would. Each time: the error has a text; what was acknowledged before or
 * behind the failure is there after the next opening, the rest whole or not at all; everything sent
 * again adds what was missing; the doctor finds nothing. LeakSanitizer watches in its build.
 *
 * KEEL_SEED in the environment repeats a run. ctest: timeout=300
 */
#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "fault_os.h"
#include "history.h"
#include "sqlite_os.h"

enum { BATCHES = 9, PATH_BYTES = TEMP_PATH_MAX + 16 };

static const struct history HISTORY = {
    .seed = 3, .users = 6, .devices = 7, .batch_events = 14, .months = 1};
static const struct store_options OPTIONS = {
    .head_rows = 40, .part_rows = 40, .journal = {.file_bytes = 4096}};

static uint64_t seed_of_run(void) {
    const char *set = getenv("KEEL_SEED");
    return set ? strtoull(set, NULL, 10) : 1;
}

struct life {
    char root[TEMP_PATH_MAX], dir[PATH_BYTES];
    struct buf batches[BATCHES];
    uint8_t acknowledged[BATCHES];
    struct db *db;
    unsigned errors;
    uint8_t *shared; /* in a child that dies at its first error: acknowledged, for the parent */
};

/* ---- one life, which shrugs at errors ---- */

/* Notes an error; it must say something. */
static int tell(struct life *life, int code, const struct keel_error *err, const char *doing) {
    if (code >= 0) return code;
    life->errors++;
    if (life->shared) _exit(0);
    if (err->code != code || !err->message[0])
        fail_msg("%s: code %d, but the error is %d '%s'", doing, code, err->code, err->message);
    bool says = strchr(err->message, '/') || strstr(err->message, "keel.db") ||
                strstr(err->message, "memory");
    if (!says) fail_msg("%s: the error names nothing: %s", doing, err->message);
    return code;
}

static void live_open(struct life *life, bool create) {
    struct keel_error err = {0};
    struct db_options options = {.store = OPTIONS, .time_zone = STR("UTC"), .currency = STR("USD")};
    options.store.create = create;
    if (life->db) return;
    if (tell(life, db_open(life->dir, &options, &life->db, &err), &err, "open") < 0)
        life->db = NULL;
}

static void live_close(struct life *life) {
    struct keel_error err = {0};
    if (life->db) tell(life, db_close(life->db, &err), &err, "close");
    life->db = NULL;
}

static void live_ingest(struct life *life, uint32_t k) {
    struct keel_error err = {0};
    struct ingest_counts counts = {0};
    live_open(life, false);
    if (!life->db) return;
    int code = db_ingest(life->db, buf_str(&life->batches[k]), &counts, &err);
    if (tell(life, code, &err, "ingest") < 0) return;
    life->acknowledged[k] = 1;
    if (life->shared) life->shared[k] = 1;
}

static void live_flush(struct life *life, bool compact) {
    struct keel_error err = {0};
    live_open(life, false);
    if (!life->db) return;
    if (!compact) {
        tell(life, db_flush(life->db, &err), &err, "flush");
        return;
    }
    store_ingest_begin(db_store(life->db));
    tell(life, store_compact(db_store(life->db), true, &err), &err, "compaction");
    store_ingest_end(db_store(life->db));
}

static void live(struct life *life) {
    live_open(life, true);
    for (uint32_t k = 0; k < 5; k++) live_ingest(life, k);
    live_flush(life, false);
    live_ingest(life, 5);
    live_flush(life, true);
    live_ingest(life, 6);
    live_close(life);
    for (uint32_t k = 7; k < BATCHES; k++) live_ingest(life, k);
    live_close(life);
}

/* ---- around it ---- */

static struct life *life_new(void) {
    struct life *life = test_calloc(1, sizeof *life);
    for (uint32_t k = 0; k < BATCHES; k++) {
        buf_init(&life->batches[k], BATCH_MAX_BYTES + 64);
        history_batch(&HISTORY, k, &life->batches[k]);
    }
    temp_make(life->root);
    snprintf(life->dir, sizeof life->dir, "%s/data", life->root);
    return life;
}

static void life_again(struct life *life) {
    temp_remove(life->dir);
    memset(life->acknowledged, 0, sizeof life->acknowledged);
    life->errors = 0;
}

static void life_free(struct life *life) {
    for (uint32_t k = 0; k < BATCHES; k++) buf_release(&life->batches[k]);
    temp_remove(life->root);
    test_free(life);
}

static bool any(const uint8_t *flags) {
    for (uint32_t k = 0; k < BATCHES; k++)
        if (flags[k]) return true;
    return false;
}

/* After the failure, with everything sound: what was acknowledged is there, the rest can be added.
 */
static void recover(struct life *life, const char *what, uint64_t n) {
    struct keel_error err = {0};
    struct db_options options = {.store = OPTIONS, .time_zone = STR("UTC"), .currency = STR("USD")};
    struct db *db;
    int code = db_open(life->dir, &options, &db, &err);
    if (code < 0 && !any(life->acknowledged)) { /* it died while it was made */
        life_again(life);
        options.store.create = true;
        code = db_open(life->dir, &options, &db, &err);
    }
    if (code < 0) fail_msg("%s %llu: %s", what, (unsigned long long)n, err.message);
    struct history_found found = {.stored = k_zalloc(BATCHES)};
    if (history_check(&HISTORY, db, life->acknowledged, BATCHES, &found, &err) < 0)
        fail_msg("%s %llu: %s", what, (unsigned long long)n, err.message);
    struct ingest_counts counts = {0};
    for (uint32_t k = 0; k < BATCHES; k++)
        if (db_ingest(db, buf_str(&life->batches[k]), &counts, &err) < 0)
            fail_msg("%s %llu: %s", what, (unsigned long long)n, err.message);
    uint64_t before = found.events;
    memset(life->acknowledged, 1, BATCHES);
    if (history_check(&HISTORY, db, life->acknowledged, BATCHES, &found, &err) < 0)
        fail_msg("%s %llu, sent again: %s", what, (unsigned long long)n, err.message);
    assert_int_equal(found.events, before + counts.accepted);
    k_free(found.stored);
    assert_int_equal(db_flush(db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    if (history_doctor(life->dir, &err) < 0)
        fail_msg("%s %llu: %s", what, (unsigned long long)n, err.message);
}

/* ---- calls ---- */

static void fail_each(enum fault_call call, int errno_value, enum fault_mode mode, uint64_t step) {
    struct life *life = life_new();
    char what[80];
    uint64_t n = 1, failed = 0, tried = 0;
    snprintf(what, sizeof what, "call kind %d, errno %d, mode %d, number", (int)call, errno_value,
             (int)mode);
    for (bool fired = true; fired; n += step) {
        life_again(life);
        fault_fail(call, n, errno_value, mode);
        live(life);
        fired = fault_fired();
        fault_fail(call, 0, 0, FAULT_ONCE);
        failed += life->errors != 0;
        tried++;
        recover(life, what, n);
    }
    print_message("%s 1 .. %llu: %llu lives, %llu with errors\n", what, (unsigned long long)n,
                  (unsigned long long)tried, (unsigned long long)failed);
    life_free(life);
}

static void test_calls(void **state) {
    (void)state;
    fault_start();
    sqlite_os_start();
    fault_skip_sync(true);
    fail_each(FAULT_ANY, EIO, FAULT_ONCE, 1);
    fail_each(FAULT_ANY, EIO, FAULT_FOR_EVER, 7);
    fail_each(FAULT_PWRITE, ENOSPC, FAULT_PARTLY, 1);
    fail_each(FAULT_PWRITE, ENOSPC, FAULT_FOR_EVER, 5);
    fail_each(FAULT_WRITE, ENOSPC, FAULT_PARTLY, 1);
    fail_each(FAULT_OPEN, EMFILE, FAULT_ONCE, 1);
    fail_each(FAULT_OPEN, EMFILE, FAULT_FOR_EVER, 3);
    fail_each(FAULT_FSYNC, EIO, FAULT_ONCE, 1);
    fail_each(FAULT_FDATASYNC, EIO, FAULT_ONCE, 1);
    fail_each(FAULT_MMAP, ENOMEM, FAULT_ONCE, 1);
    sqlite_os_stop();
    fault_stop();
}

/* The same, but the process dies at its first error, before it can undo anything: what the failing
 * call did all the same stays. */
static void fail_and_die(enum fault_call call, int errno_value, enum fault_mode mode) {
    struct life *life = life_new();
    uint8_t *shared =
        mmap(NULL, BATCHES + 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    uint64_t n = 0;
    do {
        life_again(life);
        memset(shared, 0, BATCHES + 1);
        fault_none();
        fault_skip_sync(true);
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            life->shared = shared;
            fault_fail(call, ++n, errno_value, mode);
            live(life);
            shared[BATCHES] = !fault_fired();
            _exit(0);
        }
        n++;
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        memcpy(life->acknowledged, shared, BATCHES);
        recover(life, "death at failing call", n);
    } while (!shared[BATCHES]);
    print_message("%llu deaths at failing calls of kind %d\n", (unsigned long long)n, (int)call);
    munmap(shared, BATCHES + 1);
    life_free(life);
}

static void test_deaths(void **state) {
    (void)state;
    fault_start();
    sqlite_os_start();
    fail_and_die(FAULT_FDATASYNC, EIO, FAULT_ONCE);
    fail_and_die(FAULT_FSYNC, EIO, FAULT_ONCE);
    fail_and_die(FAULT_PWRITE, ENOSPC, FAULT_PARTLY);
    sqlite_os_stop();
    fault_stop();
}

/* The part of the latest month: events of the month before need not ask it. */
static const char *last_part(const struct life *life) {
    static char path[PATH_BYTES + 32];
    char each[PATH_BYTES + 32];
    for (unsigned id = 1; id < 9; id++) {
        snprintf(each, sizeof each, "%s/parts/%012u.part", life->dir, id);
        if (file_exists(each)) memcpy(path, each, sizeof path);
    }
    return path;
}

/* In place, under the mapping. Keys end where the directory begins, which the trailer says. */
static void damage_keys(const char *path) {
    struct keel_error err;
    struct file_map map;
    uint64_t at;
    int fd;
    assert_int_equal(file_map_open(path, &map, &err), 0);
    memcpy(&at, map.p + map.n - 32, 8);
    at -= 6;
    uint8_t flipped = map.p[at] ^ 1;
    assert_int_equal(file_open(path, FILE_WRITE, &fd, &err), 0);
    assert_int_equal(file_pwrite_all(fd, &flipped, 1, at, path, &err), 0);
    file_close(fd);
    file_map_close(&map);
}

/* A batch that cannot be applied to its end, because a key table that it needs is damaged: nothing
 * of it is seen, and nothing more is taken. */
static void test_half_a_batch(void **state) {
    (void)state;
    struct life *life = life_new();
    struct keel_error err;
    struct ingest_counts counts = {0};
    struct snapshot *snap;
    live_open(life, true);
    for (uint32_t k = 0; k < 3; k++) live_ingest(life, k);
    live_flush(life, false);
    live_close(life); /* and with it what was known of the keys in memory */
    live_open(life, false);
    assert_int_equal(snapshot_open(db_store(life->db), &snap, &err), 0);
    uint64_t rows = snap->rows;
    snapshot_close(snap);
    damage_keys(last_part(life));
    assert_int_equal(db_ingest(life->db, buf_str(&life->batches[3]), &counts, &err),
                     -KEEL_E_CORRUPT);
    assert_non_null(strstr(err.message, ".part"));
    assert_true(counts.accepted > 0); /* some of it was applied */
    assert_int_equal(snapshot_open(db_store(life->db), &snap, &err), 0);
    assert_int_equal(snap->rows, rows);
    snapshot_close(snap);
    assert_true(db_ingest(life->db, buf_str(&life->batches[4]), &counts, &err) < 0);
    assert_true(db_flush(life->db, &err) < 0);
    assert_non_null(strstr(err.message, "opened again"));
    assert_int_equal(db_close(life->db, &err), 0);
    assert_true(history_doctor(life->dir, &err) < 0);
    life->db = NULL;
    life_free(life);
}

/* Interrupted calls and short reads and writes are no errors. */
static void test_interruptions(void **state) {
    (void)state;
    struct life *life = life_new();
    fault_start();
    sqlite_os_start();
    fault_skip_sync(true);
    for (unsigned k = 0; k < 12; k++) {
        life_again(life);
        fault_interrupt(k % 3 == 0 ? 0 : 2 + k % 3);
        fault_short(k % 3 == 1 ? 0 : seed_of_run() + k);
        live(life);
        fault_none();
        fault_skip_sync(true);
        assert_int_equal(life->errors, 0);
        recover(life, "interruptions", k);
    }
    sqlite_os_stop();
    fault_stop();
    life_free(life);
}

/* A sync of the journal that failed: nothing is acknowledged any more until the store is opened
 * again, though the disk says that all is well. */
static void test_failed_sync_stops(void **state) {
    (void)state;
    struct life *life = life_new();
    struct keel_error err;
    struct ingest_counts counts = {0};
    fault_start();
    life_again(life);
    live_open(life, true);
    live_ingest(life, 0);
    fault_fail(FAULT_FDATASYNC, 1, EIO, FAULT_ONCE);
    assert_true(db_ingest(life->db, buf_str(&life->batches[1]), &counts, &err) < 0);
    assert_true(fault_fired());
    assert_non_null(strstr(err.message, "keelj"));
    for (uint32_t k = 2; k < 4; k++)
        assert_true(db_ingest(life->db, buf_str(&life->batches[k]), &counts, &err) < 0);
    assert_true(db_flush(life->db, &err) < 0);
    life->errors = 0;
    assert_true(db_close(life->db, &err) < 0);
    life->db = NULL;
    fault_stop();
    recover(life, "a failed sync", 1);
    life_free(life);
}

/* ---- memory ---- */

/* The hook of mem.h does not tell: it has not struck if it strikes within n more allocations. */
static bool has_struck(uint64_t n) {
    bool struck = true;
    for (uint64_t i = 0; i < n && struck; i++) {
        void *probe = k_try_alloc(1);
        struck = probe != NULL;
        k_free(probe);
    }
    return struck;
}

static void test_memory(void **state) {
    (void)state;
    struct life *life = life_new();
    uint64_t n = 1, failed = 0;
    for (bool fired = true; fired; n++) {
        life_again(life);
        mem_fail_after(n);
        live(life);
        fired = has_struck(n);
        mem_fail_after(0);
        failed += life->errors != 0;
        recover(life, "allocation", n);
    }
    print_message("%llu lives, %llu with errors\n", (unsigned long long)n,
                  (unsigned long long)failed);
    life_free(life);
}

static sqlite3_mem_methods sqlite_memory;
static uint64_t sqlite_allocations_left;

static void *failing_malloc(int n) {
    if (sqlite_allocations_left && --sqlite_allocations_left == 0) return NULL;
    return sqlite_memory.xMalloc(n);
}
static void *failing_realloc(void *p, int n) {
    if (sqlite_allocations_left && --sqlite_allocations_left == 0) return NULL;
    return sqlite_memory.xRealloc(p, n);
}

static void test_sqlite_memory(void **state) {
    (void)state;
    struct life *life = life_new();
    uint64_t n = 1, lives = 0, failed = 0;
    for (bool fired = true; fired; n += 11) {
        life_again(life);
        sqlite_allocations_left = n;
        live(life);
        fired = sqlite_allocations_left == 0;
        sqlite_allocations_left = 0;
        lives++;
        failed += life->errors != 0;
        recover(life, "allocation of SQLite", n);
    }
    print_message("%llu allocations, %llu lives, %llu with errors\n", (unsigned long long)n,
                  (unsigned long long)lives, (unsigned long long)failed);
    life_free(life);
}

int main(void) {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
    sqlite3_mem_methods failing = sqlite_memory;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* every allocation through the hook */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_interruptions),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_half_a_batch),
        cmocka_unit_test(test_failed_sync_stops),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_sqlite_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
