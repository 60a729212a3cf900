/* What a server needs of the store while it runs: snapshots wait for nobody, ingest goes on beside
 * a flush that takes long, what fails in the background is told and tried again, and threads that
 * commit at once share a sync.
 *
 * A gate in front of the system calls holds a flush where a test wants it: nothing here sleeps.
 * ctest: timeout=300
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "fault_os.h"
#include "history.h"
#include "store/doctor.h"
#include "store/store_int.h"

enum { BATCHES = 400, LONG_S = 60, THREADS = 8, COMMITS = 40 };

static const struct history HISTORY = {
    .seed = 3, .users = 20, .devices = 20, .batch_events = 100, .months = 2};
static const struct store_options OPTIONS = {
    .head_rows = 3000, .part_rows = 4000, .background = true, .journal = {.file_bytes = 1 << 14}};

/* ---- system calls on parts: held at a gate, or failing ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut;        /* syncs of parts wait */
    uint32_t waiting; /* so many do */
    int write_errno;  /* of writes to parts; 0: they succeed */
    int sync_errno;   /* of syncs of parts */
    _Atomic uint64_t data_syncs;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool is_part(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    return n > 5 && memcmp(path + n - 5, ".part", 5) == 0;
}

static int fails(int errno_value) {
    errno = errno_value;
    return -1;
}

static ssize_t gate_pwrite(int fd, const void *p, size_t n, off_t at) {
    pthread_mutex_lock(&gate.lock);
    int error = gate.write_errno;
    pthread_mutex_unlock(&gate.lock);
    return error && is_part(fd) ? fails(error) : OS_REAL.pwrite(fd, p, n, at);
}
static ssize_t gate_write(int fd, const void *p, size_t n) {
    pthread_mutex_lock(&gate.lock);
    int error = gate.write_errno;
    pthread_mutex_unlock(&gate.lock);
    return error && is_part(fd) ? fails(error) : OS_REAL.write(fd, p, n);
}

static int gate_fsync(int fd) {
    if (!is_part(fd)) return 0;
    pthread_mutex_lock(&gate.lock);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.shut) pthread_cond_wait(&gate.changed, &gate.lock);
    gate.waiting--;
    int error = gate.sync_errno;
    pthread_mutex_unlock(&gate.lock);
    return error ? fails(error) : 0;
}

static int gate_fdatasync(int fd) {
    (void)fd;
    gate.data_syncs++;
    return 0;
}

static void gate_use(void) {
    static struct os table;
    table = OS_REAL;
    table.pwrite = gate_pwrite;
    table.write = gate_write;
    table.fsync = gate_fsync;
    table.fdatasync = gate_fdatasync;
    gate.shut = false;
    gate.write_errno = gate.sync_errno = 0;
    gate.data_syncs = 0;
    os_use(&table);
}

static void gate_set(bool shut, int write_errno, int sync_errno) {
    pthread_mutex_lock(&gate.lock);
    gate.shut = shut;
    gate.write_errno = write_errno;
    gate.sync_errno = sync_errno;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_wait(void) {
    pthread_mutex_lock(&gate.lock);
    while (!gate.waiting) pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

/* ---- a directory ---- */

struct place {
    char root[TEMP_PATH_MAX], dir[TEMP_PATH_MAX + 8];
    struct db *db;
    uint32_t next; /* batch */
};

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void place_open(struct place *p, const struct store_options *options) {
    struct keel_error err;
    struct db_options all = {.store = *options};
    must(db_open(p->dir, &all, &p->db, &err), &err);
}

/* With small files of the journal from the first one on; db_init makes that one large. */
static void place_make_again(struct place *p) {
    struct keel_error err;
    struct db_options all = {.store = OPTIONS, .time_zone = STR("UTC"), .currency = STR("USD")};
    must(db_close(p->db, &err), &err);
    temp_remove(p->dir);
    all.store.create = true;
    must(db_open(p->dir, &all, &p->db, &err), &err);
}

static void place_make(struct place *p) {
    struct keel_error err;
    *p = (struct place){0};
    gate_use();
    temp_make(p->root);
    snprintf(p->dir, sizeof p->dir, "%s/data", p->root);
    must(db_init(p->dir, STR("UTC"), STR("USD"), &err), &err);
    place_open(p, &OPTIONS);
}

static void place_remove(struct place *p) {
    struct keel_error err;
    if (p->db) must(db_close(p->db, &err), &err);
    os_use(NULL);
    temp_remove(p->root);
}

static int ingest(struct place *p, struct keel_error *err) {
    struct buf batch;
    struct ingest_counts counts = {0};
    assert_true(p->next < BATCHES);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    history_batch(&HISTORY, p->next, &batch);
    int code = db_ingest(p->db, buf_str(&batch), &counts, err);
    if (code == 0) p->next++;
    buf_release(&batch);
    return code;
}

/* Until there are so many heads. */
static void ingest_to_heads(struct place *p, uint32_t heads) {
    struct keel_error err;
    struct store_stats stats = {0};
    while (stats.heads < heads) {
        must(ingest(p, &err), &err);
        store_stats(db_store(p->db), &stats);
    }
}

static void check_all(struct place *p) {
    struct keel_error err;
    uint8_t *all = k_alloc(BATCHES);
    memset(all, 1, BATCHES);
    must(history_check(&HISTORY, p->db, all, p->next, NULL, &err), &err);
    k_free(all);
}

/* The thread ends within a minute, or hangs. */
static void must_end(pthread_t thread) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LONG_S;
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &until), 0);
}

static void *look(void *ctx) {
    struct place *p = ctx;
    struct snapshot *snap;
    struct keel_error err;
    int code = snapshot_open(db_store(p->db), &snap, &err);
    K_ASSERT_OP(code, ==, 0);
    snapshot_close(snap);
    (void)db_find_customer(p->db, STR("u1"));
    return NULL;
}

static void look_in_time(struct place *p) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, look, p), 0);
    must_end(thread);
}

/* ---- snapshots ---- */

/* Another thread has the right to ingest, and keeps it. */
static void test_snapshots_do_not_wait_for_ingest(void **state) {
    (void)state;
    struct place p;
    struct keel_error err;
    place_make(&p);
    for (int i = 0; i < 3; i++) must(ingest(&p, &err), &err);
    store_ingest_begin(db_store(p.db));
    look_in_time(&p);
    store_ingest_end(db_store(p.db));
    place_remove(&p);
}

/* A flush stands in the midst of a sync: ingest and snapshots go on, all rows are seen, nothing of
 * the journal is gone. */
static void test_ingest_beside_a_flush(void **state) {
    (void)state;
    struct place p;
    struct keel_error err;
    struct store_stats before, after;
    place_make(&p);
    gate_set(true, 0, 0);
    ingest_to_heads(&p, 2);
    gate_wait();
    store_stats(db_store(p.db), &before);
    must(ingest(&p, &err), &err);
    look_in_time(&p);
    check_all(&p);
    store_stats(db_store(p.db), &after);
    assert_int_equal(after.heads, 2);
    assert_int_equal(after.part_rows, 0);
    assert_true(after.head_rows > before.head_rows);
    assert_true(after.journal_bytes > before.journal_bytes);
    gate_set(false, 0, 0);
    must(db_flush(p.db, &err), &err);
    store_stats(db_store(p.db), &after);
    assert_int_equal(after.heads, 1);
    assert_int_equal(after.head_rows, 0);
    check_all(&p);
    place_remove(&p);
}

/* Killed when a flush has ended and the rows that came beside it stand in the journal alone, in
 * several files: a copy of the directory, as it is then, has them all. */
static void test_killed_behind_a_flush(void **state) {
    (void)state;
    enum { BESIDE = 20 };
    struct place p, copy = {0};
    struct keel_error err;
    struct store_stats stats;
    place_make(&p);
    place_make_again(&p);
    temp_make(copy.root);
    snprintf(copy.dir, sizeof copy.dir, "%s/data", copy.root);
    gate_set(true, 0, 0);
    ingest_to_heads(&p, 2);
    for (int i = 0; i < BESIDE; i++) must(ingest(&p, &err), &err);
    gate_set(false, 0, 0);
    int64_t until = monotonic_us() + LONG_S * 1000000ll;
    do {
        usleep(1000);
        store_stats(db_store(p.db), &stats);
    } while (stats.heads > 1 && monotonic_us() < until);
    assert_int_equal(stats.heads, 1);
    must(store_flush_sealed(db_store(p.db), &err), &err); /* the flusher's trim has ended, too */
    store_stats(db_store(p.db), &stats);
    assert_true(stats.part_rows > 0 && stats.head_rows > 0);
    assert_true(stats.journal_bytes > 2 * OPTIONS.journal.file_bytes);
    temp_copy(p.root, copy.root);
    copy.next = p.next;
    place_open(&copy, &OPTIONS);
    check_all(&copy);
    must(db_close(copy.db, &err), &err);
    must(history_doctor(copy.dir, &err), &err);
    temp_remove(copy.root);
    place_remove(&p);
}

static void *ingest_three_heads(void *ctx) {
    struct place *p = ctx;
    struct keel_error err;
    struct store_stats stats;
    do {
        int code = ingest(p, &err);
        K_ASSERT_OP(code, ==, 0);
        store_stats(db_store(p->db), &stats);
    } while (stats.part_rows == 0);
    return NULL;
}

/* With both heads full ingest waits; then all is there. */
static void test_two_heads_at_most(void **state) {
    (void)state;
    struct place p;
    struct store_stats stats;
    pthread_t thread;
    place_make(&p);
    gate_set(true, 0, 0);
    ingest_to_heads(&p, 2);
    gate_wait();
    assert_int_equal(pthread_create(&thread, NULL, ingest_three_heads, &p), 0);
    do store_stats(db_store(p.db), &stats);
    while (stats.head_rows + 4 * HISTORY_BATCH_MOST < 2 * OPTIONS.head_rows);
    look_in_time(&p);
    store_stats(db_store(p.db), &stats);
    assert_int_equal(stats.heads, 2);
    assert_true(stats.head_rows <= 2 * OPTIONS.head_rows);
    gate_set(false, 0, 0);
    must_end(thread);
    check_all(&p);
    place_remove(&p);
}

/* ---- failures in the background ---- */

static uint64_t doctor_faults;
static char doctor_text[KEEL_ERROR_MAX + 64];
static void keep_fault(void *ctx, const char *text) {
    (void)ctx;
    doctor_faults++;
    snprintf(doctor_text, sizeof doctor_text, "%s", text);
}
static void ignore_good(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

static void ask_doctor(const char *dir) {
    struct keel_error err;
    struct doctor_report report = {.good = ignore_good, .fault = keep_fault};
    struct doctor_sums sums;
    doctor_faults = 0;
    doctor_text[0] = 0;
    must(store_doctor(dir, &report, &sums, &err), &err);
}

/* A full disk: ingest goes on until both heads are full, then says why; nothing is lost, and the
 * next try succeeds. */
static void test_failed_flush_is_told_and_tried_again(void **state) {
    (void)state;
    struct place p;
    struct keel_error err = {0};
    struct store_stats stats;
    place_make(&p);
    gate_set(false, ENOSPC, 0);
    int code = 0;
    while ((code = ingest(&p, &err)) == 0) continue;
    assert_int_equal(code, -KEEL_E_NO_SPACE);
    assert_non_null(strstr(err.message, ".part"));
    store_stats(db_store(p.db), &stats);
    assert_true(stats.failures > 0);
    assert_false(stats.stopped);
    assert_non_null(strstr(stats.failure.message, ".part"));
    assert_int_equal(stats.heads, 2);
    check_all(&p);
    must(db_close(p.db, &err), &err);
    ask_doctor(p.dir); /* the next process knows, too */
    assert_int_equal(doctor_faults, 1);
    assert_non_null(strstr(doctor_text, "last flush"));
    gate_set(false, 0, 0);
    place_open(&p, &OPTIONS);
    check_all(&p);
    must(db_flush(p.db, &err), &err);
    must(ingest(&p, &err), &err);
    store_stats(db_store(p.db), &stats);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.failure.code, 0);
    must(db_close(p.db, &err), &err);
    ask_doctor(p.dir);
    assert_int_equal(doctor_faults, 0);
    place_open(&p, &OPTIONS);
    check_all(&p);
    place_remove(&p);
}

/* The thread itself tries again, without anybody who asks. */
static void test_flusher_tries_again(void **state) {
    (void)state;
    struct place p;
    struct store_stats stats;
    place_make(&p);
    gate_set(false, ENOSPC, 0);
    ingest_to_heads(&p, 2);
    int64_t until = monotonic_us() + LONG_S * 1000000ll;
    do store_stats(db_store(p.db), &stats);
    while (!stats.failures && monotonic_us() < until);
    assert_true(stats.failures > 0);
    gate_set(false, 0, 0);
    until = monotonic_us() + LONG_S * 1000000ll;
    do store_stats(db_store(p.db), &stats);
    while ((stats.heads > 1 || stats.failures) && monotonic_us() < until);
    assert_int_equal(stats.heads, 1);
    assert_int_equal(stats.failures, 0);
    check_all(&p);
    place_remove(&p);
}

/* After many failures the next try is half a minute away; who asks whether the store is blocked, as
 * /readyz does, has it made at once when there is room again. */
static void test_asked_flush_comes_soon(void **state) {
    (void)state;
    struct place p;
    struct keel_error err;
    struct store_stats stats;
    place_make(&p);
    gate_set(false, ENOSPC, 0);
    ingest_to_heads(&p, 2);
    for (int i = 0; i < 12; i++) assert_int_equal(db_flush(p.db, &err), -KEEL_E_NO_SPACE);
    assert_int_equal(store_blocked(db_store(p.db), &err), -KEEL_E_NO_SPACE);
    gate_set(false, 0, 0);
    int64_t begun_us = monotonic_us(), until_us = begun_us + LONG_S * 1000000ll;
    while (store_blocked(db_store(p.db), &err) < 0 && monotonic_us() < until_us) continue;
    assert_true(monotonic_us() - begun_us < 15 * 1000000ll);
    store_stats(db_store(p.db), &stats);
    assert_int_equal(stats.failures, 0);
    check_all(&p);
    place_remove(&p);
}

/* Large events fill a head before it has many rows. */
static void test_a_head_is_full_by_bytes(void **state) {
    (void)state;
    for (int small = 0; small < 2; small++) {
        struct place p;
        struct keel_error err;
        struct store_stats stats;
        struct store_options options = {.head_bytes = small ? 64 << 10 : 0};
        place_make(&p);
        must(db_close(p.db, &err), &err);
        place_open(&p, &options);
        for (int i = 0; i < 40; i++) must(ingest(&p, &err), &err);
        store_stats(db_store(p.db), &stats);
        assert_true(stats.rows > 1000);
        assert_int_equal(stats.parts > 0, small);
        assert_int_equal(stats.head_rows < stats.rows, small);
        check_all(&p);
        place_remove(&p);
    }
}

/* What an fsync could not write is lost perhaps: nothing is acknowledged any more. */
static void test_failed_sync_stops(void **state) {
    (void)state;
    struct place p;
    struct keel_error err;
    struct store_stats stats;
    place_make(&p);
    gate_set(false, 0, EIO);
    int code;
    while ((code = ingest(&p, &err)) == 0) continue;
    assert_int_equal(code, -KEEL_E_NOT_DURABLE);
    gate_set(false, 0, 0); /* the disk says that all is well */
    assert_true(ingest(&p, &err) < 0);
    assert_true(db_flush(p.db, &err) < 0);
    assert_non_null(strstr(err.message, "opened again"));
    store_stats(db_store(p.db), &stats);
    assert_true(stats.stopped);
    look_in_time(&p);
    check_all(&p);
    must(db_close(p.db, &err), &err);
    place_open(&p, &OPTIONS);
    check_all(&p);
    place_remove(&p);
}

/* ---- many threads ---- */

struct committer {
    struct place *place;
    uint32_t first;
    pthread_barrier_t *all; /* have appended */
    pthread_t thread;
};

static void *append_and_commit(void *ctx) {
    struct committer *c = ctx;
    struct keel_error err;
    struct buf batch;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k = c->first; k < c->first + COMMITS; k++) {
        struct ingest_counts counts = {0};
        uint8_t fates[HISTORY_ID_STEP * 2];
        uint64_t position;
        buf_clear(&batch);
        uint32_t events = history_batch(&HISTORY, k, &batch);
        K_ASSERT_OP(events, <=, sizeof fates);
        int code = db_append(c->place->db, buf_str(&batch), &counts, fates, &position, &err);
        K_ASSERT_OP(code, ==, 0);
        pthread_barrier_wait(c->all);
        code = db_commit(c->place->db, position, &err);
        K_ASSERT_OP(code, ==, 0);
        uint32_t accepted = 0;
        for (uint32_t i = 0; i < events; i++) accepted += fates[i] == INGEST_ACCEPTED;
        K_ASSERT_OP(accepted, ==, counts.accepted);
        K_ASSERT_OP(events, ==, counts.events);
    }
    buf_release(&batch);
    return NULL;
}

/* What has been appended when a commit begins is covered by its sync: a round of all threads takes
 * one. */
static void test_commits_share_syncs(void **state) {
    (void)state;
    static const struct store_options LARGE = {.background = true};
    struct place p;
    struct keel_error err;
    struct committer threads[THREADS];
    pthread_barrier_t all;
    place_make(&p);
    must(db_close(p.db, &err), &err);
    place_open(&p, &LARGE);
    gate.data_syncs = 0;
    pthread_barrier_init(&all, NULL, THREADS);
    for (uint32_t i = 0; i < THREADS; i++) {
        threads[i] = (struct committer){.place = &p, .first = i * COMMITS, .all = &all};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, append_and_commit, &threads[i]),
                         0);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
    pthread_barrier_destroy(&all);
    print_message("%d commits of %d threads: %llu syncs\n", THREADS * COMMITS, THREADS,
                  (unsigned long long)gate.data_syncs);
    assert_in_range(gate.data_syncs, 1, COMMITS);
    p.next = THREADS * COMMITS;
    check_all(&p);
    must(db_close(p.db, &err), &err);
    place_open(&p, &OPTIONS);
    check_all(&p);
    place_remove(&p);
}

/* ---- files that are cut under us ---- */

static void *read_cut(void *ctx) {
    struct place *p = ctx;
    struct keel_error *err = k_zalloc(sizeof *err);
    struct history_found found = {.stored = k_zalloc(BATCHES)};
    for (int i = 0; i < 10; i++) {
        int code = history_check(&HISTORY, p->db, NULL, p->next, &found, err);
        K_ASSERT_OP(code, <, 0);
        K_ASSERT(strstr(err->message, "cannot read") && strstr(err->message, ".part"));
    }
    k_free(found.stored);
    return err;
}

/* Another program cuts the parts that are mapped, as a disk would that fails: each reader gets an
 * error that names the file, nobody dies, and the rest of the process goes on. */
static void test_cut_parts(void **state) {
    (void)state;
    static const uint64_t CUTS[] = {2, 1, 0}; /* pages that are left */
    for (size_t c = 0; c < sizeof CUTS / sizeof *CUTS; c++) {
        struct place p;
        struct keel_error err;
        struct store_stats stats;
        pthread_t readers[4];
        place_make(&p);
        while (p.next < BATCHES / 2) must(ingest(&p, &err), &err);
        must(db_flush(p.db, &err), &err);
        store_stats(db_store(p.db), &stats);
        assert_true(stats.parts > 0);
        for (unsigned id = 1; id < 40; id++) {
            char path[TEMP_PATH_MAX + 64];
            int fd;
            snprintf(path, sizeof path, "%s/parts/%012u.part", p.dir, id);
            if (!file_exists(path)) continue;
            must(file_open(path, FILE_WRITE, &fd, &err), &err);
            must(file_truncate(fd, CUTS[c] * (uint64_t)sysconf(_SC_PAGESIZE), path, &err), &err);
            file_close(fd);
        }
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&readers[i], NULL, read_cut, &p), 0);
        for (int i = 0; i < 4; i++) {
            void *last;
            assert_int_equal(pthread_join(readers[i], &last), 0);
            k_free(last);
        }
        p.next = 0; /* whose keys may be in the parts */
        assert_int_equal(ingest(&p, &err), -KEEL_E_IO);
        assert_non_null(strstr(err.message, ".part"));
        (void)!db_close(p.db, &err);
        p.db = NULL;
        place_remove(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshots_do_not_wait_for_ingest),
        cmocka_unit_test(test_ingest_beside_a_flush),
        cmocka_unit_test(test_killed_behind_a_flush),
        cmocka_unit_test(test_two_heads_at_most),
        cmocka_unit_test(test_failed_flush_is_told_and_tried_again),
        cmocka_unit_test(test_flusher_tries_again),
        cmocka_unit_test(test_asked_flush_comes_soon),
        cmocka_unit_test(test_a_head_is_full_by_bytes),
        cmocka_unit_test(test_failed_sync_stops),
        cmocka_unit_test(test_commits_share_syncs),
        cmocka_unit_test(test_cut_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
