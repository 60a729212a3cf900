/* Backups: what is restored is what was backed up, under load, after cuts of power behind any call,
 * with damage in any file, and up to a moment.
 * ctest: timeout=600
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "customer/backup.h"
#include "fault_os.h"
#include "history.h"
#include "sqlite_os.h"

enum { BATCHES = 60, PATH_BYTES = TEMP_PATH_MAX + 64, CUT_BATCHES = 6 };

static const struct history HISTORY = {
    .seed = 21, .users = 9, .devices = 9, .batch_events = 30, .months = 2};
static const struct store_options OPTIONS = {
    .head_rows = 200, .part_rows = 200, .background = true, .journal = {.file_bytes = 8192}};

struct world {
    char root[TEMP_PATH_MAX], data[PATH_BYTES], to[PATH_BYTES], back[PATH_BYTES];
    struct db *db;
    uint8_t must[BATCHES];
    uint32_t head_rows; /* 0: that of OPTIONS */
    uint64_t journal_bytes;
    bool quiet; /* nothing is flushed or merged behind the test's back */
};

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static int setup(void **state) {
    struct world *w = test_calloc(1, sizeof *w);
    temp_make(w->root);
    snprintf(w->data, sizeof w->data, "%s/data", w->root);
    snprintf(w->to, sizeof w->to, "%s/backups", w->root);
    snprintf(w->back, sizeof w->back, "%s/back", w->root);
    w->journal_bytes = BACKUP_JOURNAL_BYTES;
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    (void)!db_close(w->db, NULL);
    temp_remove(w->root);
    test_free(w);
    return 0;
}

static void open_data(struct world *w, bool create) {
    struct keel_error err;
    struct db_options options = {.store = OPTIONS, .time_zone = STR("UTC"), .currency = STR("USD")};
    options.store.create = create;
    if (w->head_rows) options.store.head_rows = w->head_rows;
    if (w->quiet) options.store.background = false;
    must(db_open(w->data, &options, &w->db, &err), &err);
}

static void close_data(struct world *w) {
    struct keel_error err;
    must(db_close(w->db, &err), &err);
    w->db = NULL;
}

static void ingest(struct world *w, uint32_t k) {
    struct keel_error err;
    struct ingest_counts counts = {0};
    struct buf batch;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    history_batch(&HISTORY, k, &batch);
    must(db_ingest(w->db, buf_str(&batch), &counts, &err), &err);
    w->must[k] = 1;
    buf_release(&batch);
}

static struct backup_made take(struct world *w, uint32_t keep) {
    struct keel_error err;
    struct backup_made made;
    struct backup_options options = {
        .dir = w->data, .db = w->db, .to = w->to, .keep = keep, .journal_bytes = w->journal_bytes};
    must(backup_take(&options, &made, &err), &err);
    return made;
}

/* Restores a generation, checks with doctor and model, and removes it. */
static void check_restored(struct world *w, uint64_t generation, const uint8_t *expected,
                           uint32_t batches) {
    struct keel_error err;
    struct restored done;
    struct db *db;
    struct db_options options = {0}; /* the head that the load had is too small for recovery */
    struct restore_options restore = {
        .from = w->to, .generation = generation, .until_ms = BACKUP_NO_MOMENT, .dir = w->back};
    must(backup_restore(&restore, &done, &err), &err);
    must(history_doctor(w->back, &err), &err);
    must(db_open(w->back, &options, &db, &err), &err);
    must(history_check(&HISTORY, db, expected, batches, NULL, &err), &err);
    must(db_close(db, &err), &err);
    temp_remove(w->back);
}

static void test_generations(void **state) {
    struct world *w = *state;
    uint8_t first[BATCHES], second[BATCHES];
    struct keel_error err;
    uint64_t faults = 1;
    w->quiet = true;
    w->head_rows = STORE_HEAD_ROWS;
    open_data(w, true);
    struct backup_made empty = take(w, 0); /* nothing but settings */
    assert_int_equal(empty.generation, 1);
    for (uint32_t k = 0; k < 20; k++) ingest(w, k);
    must(db_flush(w->db, &err), &err);
    for (uint32_t k = 20; k < 25; k++) ingest(w, k);
    memcpy(first, w->must, sizeof first);
    struct backup_made one = take(w, 0);
    assert_true(one.copied_bytes > 0);
    struct backup_made same = take(w, 0); /* parts and journal are there already */
    assert_true(same.copied_bytes < one.copied_bytes / 2);
    for (uint32_t k = 25; k < 40; k++) ingest(w, k);
    close_data(w);
    memcpy(second, w->must, sizeof second);
    struct backup_made two = take(w, 0); /* without a server */
    assert_int_equal(two.generation, 4);
    must(backup_verify(w->to, 0, NULL, &faults, &err), &err);
    assert_int_equal(faults, 0);
    check_restored(w, 1, NULL, 0);
    check_restored(w, 2, first, 25);
    check_restored(w, 0, second, 40);
    struct backup_made kept = take(w, 2);
    assert_int_equal(kept.removed_generations, 3);
    check_restored(w, 4, second, 40);
    check_restored(w, 5, second, 40);
    struct restore_options gone = {
        .from = w->to, .generation = 2, .until_ms = BACKUP_NO_MOMENT, .dir = w->back};
    struct restored done;
    assert_int_equal(backup_restore(&gone, &done, &err), -KEEL_E_NOT_FOUND);
}

/* ---- moments ---- */

static _Atomic int64_t the_time_us;
static int64_t told_time_us(void) { return the_time_us; }

/* A clock of the test's own. */
static void start_clock(struct os *table, int64_t start_ms) {
    *table = OS_REAL;
    table->now_us = told_time_us;
    the_time_us = start_ms * 1000;
    os_use(table);
}

static void stay_quiet(struct world *w) {
    w->quiet = true;
    w->head_rows = STORE_HEAD_ROWS;
}

static void pass_ms(int64_t ms) { the_time_us += ms * 1000; }

/* Restores up to a moment: all batches that the ledger knows as acknowledged by then are there,
 * none that was received behind received_to_ms, and those between whole or not. */
static struct restored check_moment(struct world *w, const int64_t *ledger_ms, uint32_t n,
                                    uint64_t generation, int64_t until_ms) {
    struct keel_error err;
    struct restored done;
    struct db *db;
    struct db_options options = {0};
    uint8_t flags[BATCHES] = {0};
    uint32_t most = 0;
    struct restore_options restore = {
        .from = w->to, .generation = generation, .until_ms = until_ms, .dir = w->back};
    must(backup_restore(&restore, &done, &err), &err);
    for (uint32_t k = 0; k < n; k++) {
        flags[k] = ledger_ms[k] <= done.received_from_ms;
        if (ledger_ms[k] <= done.received_to_ms + 100) most = k + 1;
    }
    must(history_doctor(w->back, &err), &err);
    must(db_open(w->back, &options, &db, &err), &err);
    must(history_check(&HISTORY, db, flags, most, NULL, &err), &err);
    must(db_close(db, &err), &err);
    temp_remove(w->back);
    return done;
}

/* ---- under load ---- */

struct load {
    struct world *w;
    _Atomic uint32_t acknowledged;
    int64_t ledger_ms[BATCHES];
};

static void *run_load(void *arg) {
    struct load *load = arg;
    for (uint32_t k = 0; k < BATCHES; k++) {
        ingest(load->w, k);
        pass_ms(100);
        load->ledger_ms[k] = the_time_us / 1000; /* received 100 ms ago, acknowledged now */
        atomic_store(&load->acknowledged, k + 1);
        pass_ms(600);
    }
    return NULL;
}

/* What was acknowledged before a backup began is in it, and the rest is whole or not there; flushes
 * and compactions go on all the time. A moment while the load ran has what was acknowledged by
 * then, and nothing that came later. */
static void test_under_load(void **state) {
    struct world *w = *state;
    struct load load = {.w = w};
    pthread_t thread;
    uint32_t promised[200], n = 0;
    struct os table;
    const int64_t start_ms = 1700000000000;
    start_clock(&table, start_ms);
    open_data(w, true);
    assert_int_equal(pthread_create(&thread, NULL, run_load, &load), 0);
    do {
        promised[n] = atomic_load(&load.acknowledged);
        assert_int_equal(take(w, 0).generation, n + 1);
        n++;
    } while (atomic_load(&load.acknowledged) < BATCHES && n < 200);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close_data(w);
    for (uint32_t g = 0; g < n; g++) {
        uint8_t flags[BATCHES] = {0};
        for (uint32_t k = 0; k < promised[g]; k++) flags[k] = 1;
        check_restored(w, g + 1, flags, BATCHES);
    }
    for (uint32_t k = 0; k < BATCHES; k += 2)
        (void)check_moment(w, load.ledger_ms, BATCHES, 0, load.ledger_ms[k] + 500);
    os_use(NULL);
    print_message("%u backups beside %d batches\n", n, BATCHES);
}

/* ---- damage ---- */

static int count_entries(void *ctx, const char *name) {
    (void)name;
    ++*(unsigned *)ctx;
    return 0;
}

struct pick {
    unsigned wanted, at;
    char name[256];
};

static int pick_entry(void *ctx, const char *name) {
    struct pick *p = ctx;
    if (p->at++ == p->wanted) snprintf(p->name, sizeof p->name, "%s", name);
    return 0;
}

static void flip(const char *path, struct rand *r) {
    struct keel_error err;
    uint64_t size;
    uint8_t byte;
    int fd;
    must(file_open(path, FILE_WRITE, &fd, &err), &err);
    must(file_size(fd, path, &size, &err), &err);
    uint64_t at = rand_below(r, (uint32_t)size);
    must(file_pread_all(fd, &byte, 1, at, path, &err), &err);
    byte ^= (uint8_t)(1u << rand_below(r, 8));
    must(file_pwrite_all(fd, &byte, 1, at, path, &err), &err);
    file_close(fd);
}

static void note_fault(void *ctx, const char *text) {
    assert_true(strlen(text) > 0);
    ++*(unsigned *)ctx;
}

/* One bit anywhere, in a piece or an inventory: verify finds it, restore says so and leaves nothing
 * that could be taken for a data directory; a piece is mended by --full. */
static void test_damage(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct rand r;
    char folder[PATH_BYTES + 16], path[PATH_BYTES + 300], copy[PATH_BYTES],
        manifest[PATH_BYTES + 8];
    rand_init(&r, 5);
    open_data(w, true);
    for (uint32_t k = 0; k < 12; k++) ingest(w, k);
    close_data(w);
    take(w, 0);
    snprintf(copy, sizeof copy, "%s/copy", w->root);
    temp_copy(w->to, copy);
    for (unsigned round = 0; round < 60; round++) {
        unsigned entries = 0, reported = 0;
        uint64_t faults = 0;
        bool inventory = round % 6 == 0;
        snprintf(folder, sizeof folder, "%s/%s", w->to, inventory ? "generations" : "pieces");
        must(file_list_dir(folder, count_entries, &entries, &err), &err);
        struct pick pick = {.wanted = rand_below(&r, entries)};
        must(file_list_dir(folder, pick_entry, &pick, &err), &err);
        snprintf(path, sizeof path, "%s/%s", folder, pick.name);
        if (round % 7 == 3)
            must(file_remove(path, &err), &err);
        else
            flip(path, &r);
        struct backup_report report = {.ctx = &reported, .fault = note_fault};
        int code = backup_verify(w->to, 0, &report, &faults, &err);
        assert_true(code == -KEEL_E_NOT_FOUND || (code == 0 && faults > 0 && reported == faults));
        struct restored done;
        struct restore_options restore = {
            .from = w->to, .until_ms = BACKUP_NO_MOMENT, .dir = w->back, .report = &report};
        code = backup_restore(&restore, &done, &err);
        assert_true(code == -KEEL_E_CORRUPT || code == -KEEL_E_NOT_FOUND);
        snprintf(manifest, sizeof manifest, "%s/keel.db", w->back);
        assert_false(file_exists(manifest));
        if (!inventory) {
            struct backup_made made;
            struct backup_options full = {.dir = w->data, .to = w->to, .full = true};
            must(backup_take(&full, &made, &err), &err);
            must(backup_verify(w->to, 0, NULL, &faults, &err), &err);
            assert_int_equal(faults, 0);
            check_restored(w, 0, w->must, 12);
        }
        temp_copy(copy, w->to);
    }
}

/* A part that is damaged where it lives is not taken, and the former generation stays. */
static void test_damaged_source(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct rand r;
    struct backup_made made;
    char path[PATH_BYTES + 300];
    rand_init(&r, 9);
    open_data(w, true);
    for (uint32_t k = 0; k < 12; k++) ingest(w, k);
    close_data(w);
    take(w, 0);
    open_data(w, false);
    store_ingest_begin(db_store(w->db));
    must(store_flush(db_store(w->db), &err), &err);
    must(store_compact(db_store(w->db), true, &err), &err);
    store_ingest_end(db_store(w->db));
    close_data(w);
    snprintf(path, sizeof path, "%s/parts", w->data);
    struct pick pick = {0};
    must(file_list_dir(path, pick_entry, &pick, &err), &err);
    snprintf(path, sizeof path, "%s/parts/%.40s", w->data, pick.name);
    flip(path, &r);
    struct backup_options options = {.dir = w->data, .to = w->to};
    assert_int_equal(backup_take(&options, &made, &err), -KEEL_E_CORRUPT);
    assert_non_null(strstr(err.message, pick.name));
    check_restored(w, 1, w->must, 12);
    assert_int_equal(backup_restore(&(struct restore_options){.from = w->to,
                                                              .generation = 2,
                                                              .until_ms = BACKUP_NO_MOMENT,
                                                              .dir = w->back},
                                    &(struct restored){0}, &err),
                     -KEEL_E_NOT_FOUND);
}

/* Ten batches two seconds apart: a restore until the k-th has the first k and no other. */
static void test_until(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct os table = OS_REAL;
    const int64_t start_ms = 1700000000000;
    table.now_us = told_time_us;
    the_time_us = start_ms * 1000;
    os_use(&table);
    w->head_rows = STORE_HEAD_ROWS; /* no flush but ours */
    open_data(w, true);
    for (uint32_t k = 0; k < 4; k++) ingest(w, k);
    must(db_flush(w->db, &err), &err);
    the_time_us += 5000000;
    take(w, 0);
    for (uint32_t k = 4; k < 14; k++) {
        the_time_us = (start_ms + 10000 + (int64_t)(k - 4) * 2000) * 1000;
        ingest(w, k);
    }
    the_time_us += 2000000;
    take(w, 0);
    for (uint32_t k = 4; k < 14; k++) {
        struct restored done;
        struct db *db;
        struct db_options options = {.store = {.head_rows = STORE_HEAD_ROWS}};
        struct restore_options restore = {.from = w->to,
                                          .until_ms =
                                              start_ms + 10000 + (int64_t)(k - 4) * 2000 + 500,
                                          .dir = w->back};
        must(backup_restore(&restore, &done, &err), &err);
        assert_int_equal(done.generation, 2);
        assert_int_equal(done.cut, k < 13);
        assert_true(done.received_to_ms - done.received_from_ms <= STORE_CLOCK_MS);
        must(history_doctor(w->back, &err), &err);
        must(db_open(w->back, &options, &db, &err), &err);
        must(history_check(&HISTORY, db, w->must, k + 1, NULL, &err), &err);
        must(db_close(db, &err), &err);
        temp_remove(w->back);
    }
    struct restored done;
    struct restore_options between = {
        .from = w->to, .until_ms = start_ms + 7000, .dir = w->back}; /* behind the first backup */
    must(backup_restore(&between, &done, &err), &err);
    assert_int_equal(done.generation, 1);
    assert_true(done.cut);
    assert_int_equal(done.received_to_ms, start_ms + 7000);
    temp_remove(w->back);
    struct restore_options before = {.from = w->to, .until_ms = start_ms - 1, .dir = w->back};
    assert_int_equal(backup_restore(&before, &done, &err), -KEEL_E_NOT_FOUND);
    close_data(w);
    os_use(NULL);
}

enum { MOMENTS = 40 };

/* Backups now and then, with and without a server, flushes and openings between: any moment since
 * the first backup can be had, wherever it lies between backups and flushes. */
static void test_any_moment(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct rand r;
    struct os table;
    const int64_t start_ms = 1700000000000;
    int64_t ledger_ms[BATCHES];
    unsigned backups = 2, joined = 0;
    const char *given = getenv("KEEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 77;
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed);
    rand_init(&r, seed);
    start_clock(&table, start_ms);
    stay_quiet(w);
    open_data(w, true);
    take(w, 0);
    for (uint32_t k = 0; k < BATCHES; k++) {
        pass_ms(1 + rand_below(&r, 2500));
        ledger_ms[k] = the_time_us / 1000;
        ingest(w, k);
        uint32_t then = rand_below(&r, 12);
        if (then < 3) must(db_flush(w->db, &err), &err);
        if (then == 3) take(w, 0);
        if (then == 4 || then == 5) close_data(w);
        if (then == 5) take(w, 0);
        if (then == 4 || then == 5) open_data(w, false);
        backups += then == 3 || then == 5;
    }
    pass_ms(2500);
    close_data(w);
    const int64_t end_ms = the_time_us / 1000;
    take(w, 0);
    for (unsigned i = 0; i < MOMENTS; i++) {
        int64_t until_ms = start_ms + rand_below(&r, (uint32_t)(end_ms - start_ms));
        struct restored done = check_moment(w, ledger_ms, BATCHES, 0, until_ms);
        assert_int_equal(done.received_from_ms, until_ms);
        assert_true(done.received_to_ms - until_ms <= STORE_CLOCK_MS);
        joined += done.joined;
    }
    os_use(NULL);
    print_message("%u backups, %u of %d moments by later journals\n", backups, joined, MOMENTS);
    assert_true(backups > 4 && joined > 0 && joined < MOMENTS);
}

static void keep_last_info(void *ctx, const struct backup_info *info) {
    *(struct backup_info *)ctx = *info;
}

/* Where no journal is kept for the next backup there is a gap: said, and never papered over. */
static void test_gap(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct os table;
    struct backup_info last;
    const int64_t start_ms = 1700000000000;
    int64_t ledger_ms[BATCHES];
    start_clock(&table, start_ms);
    stay_quiet(w);
    w->journal_bytes = 0;
    open_data(w, true);
    for (uint32_t k = 0; k < 30; k++) {
        pass_ms(2000);
        ledger_ms[k] = the_time_us / 1000;
        ingest(w, k);
        if (k == 9) take(w, 0);
        if (k == 24) must(db_flush(w->db, &err), &err);
    }
    pass_ms(2000);
    take(w, 0);
    must(backup_list(w->to, keep_last_info, &last, &err), &err);
    assert_int_equal(last.generation, 2);
    assert_true(last.moments_from_ms > ledger_ms[24]);
    struct restored done = check_moment(w, ledger_ms, 30, 0, ledger_ms[15]);
    assert_int_equal(done.generation, 1);
    assert_int_equal(done.received_to_ms, ledger_ms[9]);
    done = check_moment(w, ledger_ms, 30, 0, ledger_ms[27]);
    assert_int_equal(done.generation, 2);
    assert_int_equal(done.received_from_ms, ledger_ms[27]);
    close_data(w);
    os_use(NULL);
}

/* A directory that was restored goes on by itself: its journal is never joined with that of the
 * directory that was saved, even where one folder has backups of both. */
static void test_lineage(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct os table;
    struct restored done;
    const int64_t start_ms = 1700000000000;
    int64_t ledger_ms[BATCHES];
    start_clock(&table, start_ms);
    stay_quiet(w);
    open_data(w, true);
    for (uint32_t k = 0; k < 10; k++) {
        pass_ms(2000);
        ledger_ms[k] = the_time_us / 1000;
        ingest(w, k);
    }
    take(w, 0);
    close_data(w);
    struct world other = *w; /* restored elsewhere: other events at the same positions */
    snprintf(other.data, sizeof other.data, "%s/other", w->root);
    struct restore_options restore = {
        .from = w->to, .until_ms = BACKUP_NO_MOMENT, .dir = other.data};
    must(backup_restore(&restore, &done, &err), &err);
    open_data(&other, false);
    for (uint32_t k = 40; k < 50; k++) ingest(&other, k);
    must(db_flush(other.db, &err), &err);
    pass_ms(2000);
    assert_int_equal(take(&other, 0).generation, 2);
    close_data(&other);
    open_data(w, false);
    for (uint32_t k = 10; k < 20; k++) {
        pass_ms(2000);
        ledger_ms[k] = the_time_us / 1000;
        ingest(w, k);
        if (k == 16) must(db_flush(w->db, &err), &err);
    }
    pass_ms(2000);
    assert_int_equal(take(w, 0).generation, 3);
    close_data(w);
    done = check_moment(w, ledger_ms, 20, 1, ledger_ms[13]);
    assert_true(done.joined && done.cut);
    assert_int_equal(done.received_from_ms, ledger_ms[13]);
    os_use(NULL);
}

/* ---- cuts of power ---- */

struct cutting {
    struct world *w;
    char data[PATH_BYTES];
    uint8_t first[BATCHES];
};

static void visit(void *ctx, const struct disk_state *state) {
    struct cutting *c = ctx;
    struct keel_error err;
    uint64_t faults = 0;
    struct world at = *c->w;
    snprintf(at.to, sizeof at.to, "%s", state->dir);
    if (backup_verify(at.to, 1, NULL, &faults, &err) < 0 || faults)
        fail_msg("state %llu, cut behind call %zu, %s: generation 1 is damaged",
                 (unsigned long long)state->number, state->call, state->what);
    if (state->mark && (backup_verify(at.to, 2, NULL, &faults, &err) < 0 || faults))
        fail_msg("state %llu, cut behind call %zu, %s: generation 2 was promised",
                 (unsigned long long)state->number, state->call, state->what);
    if (state->number % 40) return;
    check_restored(&at, 1, c->first, CUT_BATCHES);
    at.db = NULL; /* the next backup works, whatever the cut left */
    struct backup_made made = take(&at, 1);
    assert_true(backup_verify(at.to, 0, NULL, &faults, &err) == 0 && faults == 0);
    check_restored(&at, made.generation, c->w->must, CUT_BATCHES + 4);
}

static void test_power(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct cutting c = {.w = w};
    char scratch[TEMP_PATH_MAX];
    open_data(w, true);
    for (uint32_t k = 0; k < CUT_BATCHES; k++) ingest(w, k);
    must(db_flush(w->db, &err), &err);
    close_data(w);
    memcpy(c.first, w->must, sizeof c.first);
    take(w, 0);
    open_data(w, false);
    for (uint32_t k = CUT_BATCHES; k < CUT_BATCHES + 4; k++) ingest(w, k);
    close_data(w);
    temp_make(scratch);
    fault_start();
    sqlite_os_start();
    struct disk *disk = disk_start(w->to);
    disk_mark(disk, 0);
    take(w, 0);
    disk_mark(disk, 1);
    disk_stop(disk);
    fault_skip_sync(true);
    struct disk_plan plan = {.random = 2, .seed = 3, .cuts = 2};
    uint64_t states = disk_crash_states(disk, scratch, &plan, visit, &c);
    print_message("%zu calls, %llu states\n", disk_calls(disk), (unsigned long long)states);
    assert_true(states > 100);
    disk_free(disk);
    sqlite_os_stop();
    fault_stop();
    temp_remove(scratch);
}

/* Every call of a backup fails once: an error, no generation, and the next one works. */
static void test_failing(void **state) {
    struct world *w = *state;
    struct keel_error err;
    uint64_t n = 1, faults;
    open_data(w, true);
    for (uint32_t k = 0; k < CUT_BATCHES; k++) ingest(w, k);
    close_data(w);
    take(w, 0);
    fault_start();
    for (;; n++) {
        struct backup_made made;
        struct backup_options options = {.dir = w->data, .to = w->to, .keep = 2};
        fault_fail(FAULT_ANY, n, EIO, FAULT_ONCE);
        int code = backup_take(&options, &made, &err);
        bool fired = fault_fired();
        fault_none();
        if (!fired) {
            must(code, &err);
            break;
        }
        must(backup_verify(w->to, 0, NULL, &faults, &err), &err);
        assert_int_equal(faults, 0);
    }
    fault_stop();
    print_message("%llu calls failed one by one\n", (unsigned long long)n - 1);
    assert_true(n > 20);
    check_restored(w, 0, w->must, CUT_BATCHES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_generations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_source, setup, teardown),
        cmocka_unit_test_setup_teardown(test_until, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lineage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
