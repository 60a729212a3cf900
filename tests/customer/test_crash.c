/* kill -9, again and again, on one data directory.
 *
 * A child ingests batches with a tiny head, so that it flushes and compacts all the time, itself or
 * in the background, and tells
 * each batch that it begins and each that was acknowledged through a pipe. It dies by SIGKILL: in
 * front of a chosen call to the operating system (SQLite's included), or whenever its parent
 * shoots. Some children die while they recover from the death before. After each death the
 * directory is opened: what was acknowledged is there exactly once, each other batch whole or not
 * at all, as the plain model says; the doctor finds nothing; and all batches sent again add what
 * was missing.
 *
 * KEEL_SEED repeats a run, but for the moments at which the parent shoots; KEEL_ROUNDS sets how
 * many deaths. ctest: timeout=300
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "fault_os.h"
#include "history.h"
#include "sqlite_os.h"

enum {
    ROUNDS = 120,
    BATCHES_MOST = 20000,
    LIFE_BATCHES = 60,
    AGAIN_EVERY = 10,
    BURST_BATCHES = 20,
    BURST_THREADS = 4
};

static uint64_t number_from(const char *variable, uint64_t otherwise) {
    const char *set = getenv(variable);
    return set ? strtoull(set, NULL, 10) : otherwise;
}

/* ---- dying in front of a call ---- */

static _Atomic uint64_t calls_left; /* 0: immortal; the compactor's thread counts, too */

static void count_call(void) {
    if (calls_left && atomic_fetch_sub(&calls_left, 1) == 1) raise(SIGKILL);
}

static int dying_open(const char *path, int flags, mode_t mode) {
    if (flags & (O_CREAT | O_TRUNC)) count_call();
    return OS_REAL.open(path, flags, mode);
}
static ssize_t dying_write(int fd, const void *p, size_t n) {
    count_call();
    return OS_REAL.write(fd, p, n);
}
/* Also between the halves of a write: the first has reached the file. */
static ssize_t dying_pwrite(int fd, const void *p, size_t n, off_t at) {
    count_call();
    if (calls_left == 1 && n > 1) {
        (void)!OS_REAL.pwrite(fd, p, n / 2, at);
        count_call();
    }
    return OS_REAL.pwrite(fd, p, n, at);
}
static int dying_sync(int fd) {
    (void)fd; /* a process that dies loses nothing that it wrote */
    count_call();
    return 0;
}
static int dying_ftruncate(int fd, off_t size) {
    count_call();
    return OS_REAL.ftruncate(fd, size);
}
static int dying_fallocate(int fd, int mode, off_t at, off_t n) {
    count_call();
    return OS_REAL.fallocate(fd, mode, at, n);
}
static int dying_rename(const char *from, const char *to) {
    count_call();
    return OS_REAL.rename(from, to);
}
static int dying_unlink(const char *path) {
    count_call();
    return OS_REAL.unlink(path);
}

static void use_dying(uint64_t calls) {
    static struct os table;
    table = OS_REAL;
    table.open = dying_open;
    table.write = dying_write;
    table.pwrite = dying_pwrite;
    table.fsync = table.fdatasync = dying_sync;
    table.ftruncate = dying_ftruncate;
    table.fallocate = dying_fallocate;
    table.rename = dying_rename;
    table.unlink = dying_unlink;
    calls_left = calls;
    os_use(&table);
}

/* ---- the child ---- */

static const struct db_options OPTIONS = {
    .store = {.head_rows = 200, .part_rows = 300, .journal = {.file_bytes = 4096}}};

struct told { /* through the pipe */
    uint32_t batch;
    uint32_t acknowledged;
};

struct life {
    const struct history *history;
    char dir[TEMP_PATH_MAX + 8];
    uint32_t next; /* first batch that no life has begun */
    uint8_t stored[BATCHES_MOST];
    struct rand rand;
    uint64_t deaths, finished, ingested;
};

static void tell(int fd, uint32_t batch, bool acknowledged) {
    struct told told = {.batch = batch, .acknowledged = acknowledged};
    if (write(fd, &told, sizeof told) != sizeof told) _exit(3);
}

static _Noreturn void child_fails(const char *what, const struct keel_error *err) {
    fprintf(stderr, "child: %s: %s\n", what, err->message);
    _exit(2);
}

static struct db *child_open(const char *dir, bool background) {
    struct keel_error err;
    struct db *db;
    struct db_options options = OPTIONS;
    options.store.background = background;
    if (db_open(dir, &options, &db, &err) < 0) child_fails("open", &err);
    return db;
}

static void child_change(struct db **db, const char *dir, uint32_t what) {
    struct keel_error err = {0};
    int code = 0;
    if (what < 3) code = db_flush(*db, &err);
    if (what == 3) {
        store_ingest_begin(db_store(*db));
        code = store_compact(db_store(*db), true, &err);
        store_ingest_end(db_store(*db));
    }
    if (code < 0) child_fails("flush or compaction", &err);
    if (what != 4 && what != 5) return;
    if (db_close(*db, &err) < 0) child_fails("close", &err);
    *db = child_open(dir, what % 2);
}

/* Threads that append and commit at once, as a server's do. */
struct burst {
    const struct life *life;
    struct db *db;
    int fd;
    _Atomic uint32_t next;
};

static void *child_bursts(void *ctx) {
    struct burst *b = ctx;
    struct keel_error err;
    struct buf batch;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k; (k = atomic_fetch_add(&b->next, 1)) < b->life->next + BURST_BATCHES;) {
        struct ingest_counts counts = {0};
        uint64_t position;
        buf_clear(&batch);
        history_batch(b->life->history, k, &batch);
        tell(b->fd, k, false);
        int code = db_append(b->db, buf_str(&batch), &counts, NULL, &position, &err);
        if (code == 0) code = db_commit(b->db, position, &err);
        if (code < 0) child_fails("append or commit", &err);
        tell(b->fd, k, true);
    }
    buf_release(&batch);
    return NULL;
}

static void child_burst(const struct life *life, struct db *db, int fd) {
    struct burst burst = {.life = life, .db = db, .fd = fd, .next = life->next};
    pthread_t threads[BURST_THREADS];
    for (int i = 0; i < BURST_THREADS; i++)
        if (pthread_create(&threads[i], NULL, child_bursts, &burst) != 0) _exit(4);
    for (int i = 0; i < BURST_THREADS; i++) pthread_join(threads[i], NULL);
}

/* Recovers, then ingests new batches, by several threads at first, flushing, compacting and
 * reopening at random. */
static _Noreturn void child_lives(const struct life *life, uint64_t seed, bool ingests, int fd) {
    struct rand rand;
    struct keel_error err;
    struct buf batch;
    rand_init(&rand, seed);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    struct db *db = child_open(life->dir, rand_below(&rand, 2));
    if (ingests) child_burst(life, db, fd);
    for (uint32_t k = life->next + BURST_BATCHES; ingests && k < life->next + LIFE_BATCHES; k++) {
        struct ingest_counts counts = {0};
        buf_clear(&batch);
        history_batch(life->history, k, &batch);
        tell(fd, k, false);
        if (db_ingest(db, buf_str(&batch), &counts, &err) < 0) child_fails("ingest", &err);
        tell(fd, k, true);
        child_change(&db, life->dir, rand_below(&rand, 24));
    }
    child_change(&db, life->dir, 0);
    child_change(&db, life->dir, 3);
    if (db_close(db, &err) < 0) child_fails("close", &err);
    _exit(0);
}

/* ---- the parent ---- */

static void hear(struct life *life, const struct told *told) {
    assert_in_range(told->batch, 0, BATCHES_MOST - 1);
    if (told->batch >= life->next) life->next = told->batch + 1;
    if (told->acknowledged) {
        life->stored[told->batch] = 1;
        life->ingested++;
    }
}

/* Listens until the child is dead; shoots after `shots` messages and some microseconds (0: never).
 */
static void listen_to(struct life *life, pid_t child, int fd, uint32_t shots, uint32_t wait_us) {
    struct told told;
    uint32_t heard = 0;
    ssize_t n;
    while ((n = read(fd, &told, sizeof told)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        assert_int_equal(n, sizeof told);
        hear(life, &told);
        if (++heard != shots) continue;
        struct timespec wait = {.tv_nsec = (long)wait_us * 1000};
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
    }
}

static void live_and_die(struct life *life, uint64_t round) {
    uint64_t seed = rand_u64(&life->rand);
    uint32_t how = rand_below(&life->rand, 10);
    uint32_t shots = how < 3 ? 1 + rand_below(&life->rand, 2 * LIFE_BATCHES) : 0;
    uint32_t wait_us = rand_below(&life->rand, 1500);
    bool ingests = how < 8;
    uint64_t calls = shots ? 0 : 1 + rand_below(&life->rand, ingests ? 700 : 150);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        use_dying(calls);
        child_lives(life, seed, ingests, ends[1]);
    }
    close(ends[1]);
    listen_to(life, child, ends[0], shots, wait_us);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        life->deaths++;
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        life->finished++;
    else
        fail_msg("round %llu: the child ended with status %x", (unsigned long long)round, status);
}

static struct db *open_after(const struct life *life, uint64_t round) {
    struct keel_error err;
    struct db *db;
    if (db_open(life->dir, &OPTIONS, &db, &err) < 0)
        fail_msg("round %llu: %s", (unsigned long long)round, err.message);
    return db;
}

static uint64_t check_now(struct life *life, struct db *db, uint64_t round) {
    struct keel_error err;
    struct history_found found = {.stored = k_zalloc(life->next + 1)};
    if (history_check(life->history, db, life->stored, life->next, &found, &err) < 0)
        fail_msg("round %llu: %s", (unsigned long long)round, err.message);
    memcpy(life->stored, found.stored, life->next); /* what was recovered must stay */
    k_free(found.stored);
    return found.events;
}

/* Sends every batch once more: what is accepted is what was missing. */
static void send_again(struct life *life, struct db *db, uint64_t round, uint64_t before) {
    struct keel_error err;
    struct buf batch;
    struct ingest_counts counts = {0};
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k = 0; k < life->next; k++) {
        buf_clear(&batch);
        history_batch(life->history, k, &batch);
        if (db_ingest(db, buf_str(&batch), &counts, &err) < 0)
            fail_msg("round %llu: %s", (unsigned long long)round, err.message);
    }
    buf_release(&batch);
    memset(life->stored, 1, life->next);
    assert_int_equal(check_now(life, db, round), before + counts.accepted);
}

static void test_kills(void **state) {
    (void)state;
    struct keel_error err;
    uint64_t seed = number_from("KEEL_SEED", 1), rounds = number_from("KEEL_ROUNDS", ROUNDS);
    struct history history = {
        .seed = seed, .users = 30, .devices = 40, .batch_events = 24, .months = 3};
    struct life *life = test_calloc(1, sizeof *life);
    char dir[TEMP_PATH_MAX];
    print_message("KEEL_SEED=%llu KEEL_ROUNDS=%llu\n", (unsigned long long)seed,
                  (unsigned long long)rounds);
    temp_make(dir);
    snprintf(life->dir, sizeof life->dir, "%s/data", dir);
    life->history = &history;
    rand_init(&life->rand, seed);
    sqlite_os_start();
    if (db_init(life->dir, STR("UTC"), STR("USD"), &err) < 0) fail_msg("%s", err.message);
    for (uint64_t round = 0; round < rounds && life->next + LIFE_BATCHES < BATCHES_MOST; round++) {
        live_and_die(life, round);
        if (round % 3 == 1)
            live_and_die(life, round); /* twice without a look: recovery dies, too */
        struct db *db = open_after(life, round);
        uint64_t events = check_now(life, db, round);
        if (round % AGAIN_EVERY == AGAIN_EVERY - 1) send_again(life, db, round, events);
        assert_int_equal(db_close(db, &err), 0);
        if (history_doctor(life->dir, &err) < 0)
            fail_msg("round %llu: %s", (unsigned long long)round, err.message);
    }
    print_message("%llu killed, %llu lived on, %u batches, %llu acknowledged\n",
                  (unsigned long long)life->deaths, (unsigned long long)life->finished, life->next,
                  (unsigned long long)life->ingested);
    assert_true(life->deaths >= rounds / 2);
    sqlite_os_stop();
    temp_remove(dir);
    test_free(life);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
