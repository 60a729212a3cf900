/* The journal on a full disk: it stalls, tells nobody that anything is on disk, loses nothing, and
 * goes on when there is room. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "fault_os.h"
#include "store/journal/journal.h"

enum { IDS_MAX = 4096, PAYLOAD_MAX = 600, SMALL_FILE = 4096, THREADS = 8 };

static const uint8_t STORE[JOURNAL_ID_BYTES] = "journal-full--01";

/* A record: its number, then up to 590 bytes that follow from it. */
static struct str payload_of(uint64_t id, uint8_t buffer[PAYLOAD_MAX]) {
    size_t n = 8 + (size_t)(id * 77 % (PAYLOAD_MAX - 8));
    memset(buffer, (int)(id % 251), n);
    memcpy(buffer, &id, 8);
    return (struct str){(const char *)buffer, n};
}

struct bench {
    char dir[TEMP_PATH_MAX];
    struct journal_options options;
    struct journal *j;
    struct keel_error err;
    uint64_t next;        /* to append         */
    uint64_t id[IDS_MAX]; /* as replayed       */
    size_t n;
};

static int collect(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct bench *b = ctx;
    uint8_t expected[PAYLOAD_MAX];
    uint64_t id = 0;
    (void)err;
    assert_true(record->payload.n >= 8 && b->n < IDS_MAX);
    memcpy(&id, record->payload.p, 8);
    assert_true(str_eq(payload_of(id, expected), record->payload));
    b->id[b->n++] = id;
    return 0;
}

static void open_it(struct bench *b) {
    b->n = 0;
    int code = journal_open(b->dir, STORE, 0, &b->options, collect, b, &b->j, &b->err);
    if (code < 0) fail_msg("%s", b->err.message);
}

static void must_close(struct bench *b) { assert_int_equal(journal_close(b->j, &b->err), 0); }

static int bench_setup(void **state) {
    struct bench *b = test_calloc(1, sizeof *b);
    temp_make(b->dir);
    b->options.create = true;
    b->options.file_bytes = SMALL_FILE;
    fault_start();
    fault_skip_sync(true);
    *state = b;
    return 0;
}

static int bench_teardown(void **state) {
    struct bench *b = *state;
    fault_stop();
    temp_remove(b->dir);
    test_free(b);
    return 0;
}

static int try_append(struct bench *b, unsigned n) {
    uint8_t payload[PAYLOAD_MAX];
    for (; n > 0; n--) {
        uint64_t end;
        TRY(journal_append(b->j, 1, payload_of(b->next, payload), &end, &b->err));
        b->next++;
    }
    return 0;
}

static int try_commit(struct bench *b) {
    return journal_commit(b->j, journal_position(b->j), &b->err);
}

static void assert_refused(struct bench *b, int code, enum keel_code expected, const char *word) {
    if (code != -(int)expected || !strstr(b->err.message, word))
        fail_msg("%d, \"%s\" instead of %d with \"%s\"", code, b->err.message, -(int)expected,
                 word);
}

/* All that was appended is there, in order. */
static void assert_all(struct bench *b) {
    open_it(b);
    assert_int_equal(b->n, b->next);
    for (size_t i = 0; i < b->n; i++) assert_int_equal(b->id[i], i);
    must_close(b);
}

/* Appends and commits until the disk is full. */
static void fill_up(struct bench *b, enum fault_call call, enum fault_mode mode) {
    fault_fail(call, 1, ENOSPC, mode);
    for (int i = 0; i < 200; i++)
        if (try_append(b, 3) < 0 || try_commit(b) < 0) break;
    assert_true(fault_fired());
}

static void wait_for_room(struct bench *b) {
    int64_t end_us = monotonic_us() + 60000000;
    while (journal_stalled(b->j, NULL) < 0 && monotonic_us() < end_us) usleep(1000);
    assert_int_equal(journal_stalled(b->j, &b->err), 0);
}

/* Whichever call finds no room: nobody is told that it is on disk, nothing is lost, and it goes on
 * by itself when there is room. */
static void test_full_disk_stalls(void **state) {
    static const enum fault_call CALLS[] = {FAULT_FALLOCATE, FAULT_PWRITE, FAULT_OPEN,
                                            FAULT_RENAME};
    struct bench *b = *state;
    uint64_t end;
    for (size_t i = 0; i < sizeof CALLS / sizeof *CALLS; i++) {
        open_it(b);
        for (int round = 0; round < 2; round++) { /* in the second one the timer sleeps */
            fill_up(b, CALLS[i], FAULT_FOR_EVER);
            assert_refused(b, try_commit(b), KEEL_E_NO_SPACE, "No space left");
            assert_refused(b, journal_append(b->j, 1, STR("x"), &end, &b->err), KEEL_E_NO_SPACE,
                           "No space left");
            assert_refused(b, journal_stalled(b->j, &b->err), KEEL_E_NO_SPACE, "No space left");
            assert_false(journal_failed(b->j));
            assert_true(journal_durable(b->j) < journal_position(b->j));
            fault_fail(FAULT_ANY, 0, 0, FAULT_ONCE);
            wait_for_room(b); /* nobody commits */
            assert_int_equal(journal_durable(b->j), journal_position(b->j));
            assert_int_equal(try_append(b, 5), 0);
            assert_int_equal(try_commit(b), 0);
        }
        must_close(b);
        assert_all(b);
    }
}

/* Half of a group is in the file when there is no more room; a commit tries again at once. */
static void test_full_disk_in_the_middle_of_a_write(void **state) {
    struct bench *b = *state;
    open_it(b);
    assert_int_equal(try_append(b, 4), 0);
    fill_up(b, FAULT_PWRITE, FAULT_PARTLY);
    uint64_t appended = b->next;
    assert_int_equal(try_commit(b), 0);
    assert_int_equal(journal_stalled(b->j, NULL), 0);
    must_close(b);
    assert_int_equal(b->next, appended);
    assert_all(b);
}

/* A disk may say that it is full when it is asked to sync: what it had taken may be gone. */
static void test_full_disk_at_a_sync_is_final(void **state) {
    struct bench *b = *state;
    open_it(b);
    fill_up(b, FAULT_FDATASYNC, FAULT_ONCE);
    assert_true(journal_failed(b->j));
    assert_int_equal(journal_stalled(b->j, NULL), 0);
    assert_refused(b, try_commit(b), KEEL_E_NOT_DURABLE, "fdatasync");
    assert_refused(b, journal_close(b->j, &b->err), KEEL_E_NOT_DURABLE, "fdatasync");
}

struct crowd_member {
    struct bench *b;
    uint64_t first;
};

enum { CROWD_EACH = IDS_MAX / THREADS };

static void *commit_through_full_disk(void *arg) {
    struct crowd_member *m = arg;
    uint8_t payload[PAYLOAD_MAX];
    for (uint64_t id = m->first; id < m->first + CROWD_EACH; id++) {
        uint64_t end;
        int code;
        while ((code = journal_append(m->b->j, 1, payload_of(id, payload), &end, NULL)) ==
               -KEEL_E_NO_SPACE)
            usleep(1000);
        while (code == 0 && (code = journal_commit(m->b->j, end, NULL)) == -KEEL_E_NO_SPACE)
            usleep(1000), code = 0;
        if (code < 0) return arg;
    }
    return NULL;
}

/* Many commit while the disk is full time and again: nobody hangs, each record is there once. */
static void test_crowd_on_a_full_disk(void **state) {
    struct bench *b = *state;
    struct crowd_member members[THREADS];
    pthread_t thread[THREADS];
    uint64_t next[THREADS] = {0};
    open_it(b);
    fault_fail(FAULT_FALLOCATE, 1, ENOSPC, FAULT_FOR_EVER);
    for (unsigned i = 0; i < THREADS; i++) {
        members[i] = (struct crowd_member){b, i * CROWD_EACH};
        assert_int_equal(pthread_create(&thread[i], NULL, commit_through_full_disk, &members[i]),
                         0);
    }
    for (int i = 0; i < 3; i++) {
        while (!fault_fired()) usleep(500);
        fault_fail(FAULT_FALLOCATE, 3, ENOSPC, FAULT_FOR_EVER); /* room for two files more */
    }
    while (!fault_fired()) usleep(500);
    fault_fail(FAULT_ANY, 0, 0, FAULT_ONCE);
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    must_close(b);
    open_it(b);
    assert_int_equal(b->n, THREADS * CROWD_EACH);
    for (size_t i = 0; i < b->n; i++)
        assert_int_equal(b->id[i] % CROWD_EACH, next[b->id[i] / CROWD_EACH]++);
    must_close(b);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_full_disk_stalls),
        CASE(test_full_disk_in_the_middle_of_a_write),
        CASE(test_full_disk_at_a_sync_is_final),
        CASE(test_crowd_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
