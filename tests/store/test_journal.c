/* The journal: replay, group commit by many threads, rolling and trimming, reading beside a writer,
 * refusals, damage of every byte, and every call that can fail failing once. What power cuts do is
 * in test_journal_crash.c. ctest: timeout=600
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"
#include "fault_os.h"
#include "store/journal/journal.h"

enum { SMALL_FILE = 4096, PAYLOAD_MAX = 1000, IDS_MAX = 8192 };

static const uint8_t STORE[JOURNAL_ID_BYTES] = "journal-test-001";

/* ---- records that can be recognised ---- */

static struct str payload_of(uint64_t id, uint8_t buffer[PAYLOAD_MAX]) {
    struct rand rand;
    rand_init(&rand, id + 11);
    size_t n = 8 + rand_below(&rand, id % 8 ? 100 : PAYLOAD_MAX - 8);
    memcpy(buffer, &id, 8);
    for (size_t i = 8; i < n; i++) buffer[i] = (uint8_t)rand_u64(&rand);
    return (struct str){(const char *)buffer, n};
}

static unsigned kind_of(uint64_t id) { return 1 + (unsigned)(id % JOURNAL_MAX_KIND); }

struct ids {
    uint64_t id[IDS_MAX], end[IDS_MAX];
    size_t n;
    bool wrong;
};

static int collect(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct ids *ids = ctx;
    uint8_t expected[PAYLOAD_MAX];
    uint64_t id = 0;
    (void)err;
    if (record->payload.n >= 8) memcpy(&id, record->payload.p, 8);
    if (record->payload.n < 8 || !str_eq(payload_of(id, expected), record->payload) ||
        record->kind != kind_of(id) || ids->n == IDS_MAX) {
        ids->wrong = true;
        return 0;
    }
    ids->id[ids->n] = id;
    ids->end[ids->n++] = record->end;
    return 0;
}

/* ---- a folder, a journal, a ledger ---- */

struct bench {
    char dir[TEMP_PATH_MAX], copy[TEMP_PATH_MAX];
    struct journal_options options;
    struct journal *j;
    struct keel_error err;
    uint64_t end[IDS_MAX], next;
    struct ids ids;
};

static int bench_setup(void **state) {
    struct bench *b = test_calloc(1, sizeof *b);
    temp_make(b->dir);
    temp_make(b->copy);
    b->options.create = true;
    fault_start();
    fault_skip_sync(true);
    *state = b;
    return 0;
}

static int bench_teardown(void **state) {
    struct bench *b = *state;
    fault_stop();
    temp_remove(b->dir);
    temp_remove(b->copy);
    test_free(b);
    return 0;
}

static int try_open(struct bench *b, const char *dir, uint64_t from, bool read_only) {
    struct journal_options options = b->options;
    options.read_only = read_only;
    b->ids.n = 0;
    b->ids.wrong = false;
    b->err = (struct keel_error){0};
    return journal_open(dir, STORE, from, &options, collect, &b->ids, &b->j, &b->err);
}

static void open_at(struct bench *b, const char *dir, uint64_t from, bool read_only) {
    if (try_open(b, dir, from, read_only) < 0) fail_msg("%s", b->err.message);
    assert_false(b->ids.wrong);
}

static void must_close(struct bench *b) { assert_int_equal(journal_close(b->j, &b->err), 0); }

static int try_append(struct bench *b, unsigned n) {
    uint8_t payload[PAYLOAD_MAX];
    for (; n > 0; n--) {
        uint64_t end, id = b->next;
        TRY(journal_append(b->j, kind_of(id), payload_of(id, payload), &end, &b->err));
        b->end[b->next++] = end;
    }
    return 0;
}

static void append(struct bench *b, unsigned n) { assert_int_equal(try_append(b, n), 0); }

static int try_commit(struct bench *b) {
    return journal_commit(b->j, journal_position(b->j), &b->err);
}

/* The replay gave records from .. to - 1. */
static void assert_ids(const struct bench *b, uint64_t from, uint64_t to) {
    assert_int_equal(b->ids.n, to - from);
    for (size_t i = 0; i < b->ids.n; i++) assert_int_equal(b->ids.id[i], from + i);
}

static void assert_refused(struct bench *b, int code, enum keel_code expected, const char *word) {
    if (code != -(int)expected || !strstr(b->err.message, word))
        fail_msg("%d, \"%s\" instead of %d with \"%s\"", code, b->err.message, -(int)expected,
                 word);
}

static uint64_t end_of(const struct bench *b, uint64_t id) { return b->end[id]; }

/* ---- replay ---- */

static void test_replay_equals_what_was_appended(void **state) {
    struct bench *b = *state;
    b->options.file_bytes = 64 << 10;
    open_at(b, b->dir, 0, false);
    assert_int_equal(journal_position(b->j), 0);
    for (int i = 0; i < 100; i++) {
        append(b, 13);
        assert_int_equal(try_commit(b), 0);
        assert_int_equal(journal_durable(b->j), journal_position(b->j));
    }
    append(b, 20); /* close commits them */
    must_close(b);

    for (int round = 0; round < 3; round++) {
        open_at(b, b->dir, 0, round == 1);
        assert_ids(b, 0, b->next);
        for (size_t i = 0; i < b->ids.n; i++) assert_int_equal(b->ids.end[i], b->end[i]);
        must_close(b);
    }
    for (uint64_t id = 0; id + 1 < b->next; id += 37) {
        open_at(b, b->dir, end_of(b, id), id % 2);
        assert_ids(b, id + 1, b->next);
        must_close(b);
    }
}

static void test_clean_openings_add_nothing(void **state) {
    struct bench *b = *state;
    open_at(b, b->dir, 0, false);
    must_close(b);
    open_at(b, b->dir, 0, false);
    assert_int_equal(journal_position(b->j), 0);
    append(b, 3);
    must_close(b);
    open_at(b, b->dir, 0, false);
    uint64_t position = journal_position(b->j);
    must_close(b);
    open_at(b, b->dir, 0, false);
    assert_int_equal(journal_position(b->j), position);
    must_close(b);
}

struct sizes {
    size_t n[8];
    unsigned count;
};

static int collect_sizes(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct sizes *sizes = ctx;
    (void)err;
    for (size_t i = 0; i < record->payload.n; i += 997) assert_int_equal(record->payload.p[i], 'x');
    sizes->n[sizes->count++] = record->payload.n;
    return 0;
}

static void test_sizes(void **state) {
    struct bench *b = *state;
    static const size_t SIZES[] = {0, 1, 7, 8, 9, JOURNAL_MAX_PAYLOAD, 4096};
    uint64_t end;
    char *large = test_malloc(JOURNAL_MAX_PAYLOAD + 1);
    memset(large, 'x', JOURNAL_MAX_PAYLOAD + 1);
    b->options.file_bytes = SMALL_FILE;
    open_at(b, b->dir, 0, false);
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        assert_int_equal(
            journal_append(b->j, JOURNAL_MAX_KIND, (struct str){large, SIZES[i]}, &end, NULL), 0);
    struct str too_large = {large, JOURNAL_MAX_PAYLOAD + 1};
    assert_refused(b, journal_append(b->j, 1, too_large, &end, &b->err), KEEL_E_LIMIT, "larger");
    must_close(b);
    test_free(large);

    struct sizes sizes = {0};
    assert_int_equal(
        journal_open(b->dir, STORE, 0, &b->options, collect_sizes, &sizes, &b->j, NULL), 0);
    assert_int_equal(sizes.count, sizeof SIZES / sizeof *SIZES);
    for (unsigned i = 0; i < sizes.count; i++) assert_int_equal(sizes.n[i], SIZES[i]);
    must_close(b);
}

static int refuse(void *ctx, const struct journal_record *record, struct keel_error *err) {
    (void)record;
    if (--*(int *)ctx == 0) FAIL(err, CANCELLED, "enough");
    return 0;
}

static void test_replay_can_be_ended(void **state) {
    struct bench *b = *state;
    int left = 3;
    open_at(b, b->dir, 0, false);
    append(b, 5);
    must_close(b);
    int code = journal_open(b->dir, STORE, 0, NULL, refuse, &left, &b->j, &b->err);
    assert_refused(b, code, KEEL_E_CANCELLED, "enough");
}

/* ---- many threads ---- */

enum { THREADS_MAX = 16, PER_THREAD = 120 };

struct crowd_member {
    struct bench *b;
    uint64_t first; /* its numbers are first .. first + PER_THREAD - 1 */
};

static void *append_and_commit(void *arg) {
    const struct crowd_member *m = arg;
    uint8_t payload[PAYLOAD_MAX];
    for (uint64_t id = m->first; id < m->first + PER_THREAD; id++) {
        uint64_t end;
        if (journal_append(m->b->j, kind_of(id), payload_of(id, payload), &end, NULL) < 0 ||
            journal_commit(m->b->j, end, NULL) < 0)
            return arg;
        m->b->end[id] = end;
        if (journal_durable(m->b->j) < end) return arg;
        if (id % 40 == 39 && journal_first(m->b->j) > end) return arg;
    }
    return NULL;
}

static void run_crowd(struct bench *b, unsigned threads) {
    struct crowd_member members[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (struct crowd_member){b, i * PER_THREAD};
        assert_int_equal(pthread_create(&thread[i], NULL, append_and_commit, &members[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* Every record once, those of a thread in its order, at the end that append gave. */
static void assert_crowd(const struct bench *b, unsigned threads) {
    uint64_t next[THREADS_MAX] = {0};
    assert_int_equal(b->ids.n, threads * PER_THREAD);
    for (size_t i = 0; i < b->ids.n; i++) {
        uint64_t id = b->ids.id[i];
        assert_true(id / PER_THREAD < threads);
        assert_int_equal(id % PER_THREAD, next[id / PER_THREAD]++);
        assert_int_equal(b->ids.end[i], b->end[id]);
    }
}

static void test_crowd(void **state) {
    struct bench *b = *state;
    b->options.file_bytes = 16 << 10; /* rolls under way */
    for (unsigned threads = 1; threads <= THREADS_MAX; threads *= 2) {
        temp_copy(b->copy, b->dir); /* empty */
        open_at(b, b->dir, 0, false);
        run_crowd(b, threads);
        must_close(b);
        open_at(b, b->dir, 0, true);
        assert_crowd(b, threads);
        must_close(b);
    }
}

static void test_commits_share_syncs(void **state) {
    struct bench *b = *state;
    open_at(b, b->dir, 0, false);
    fault_delay(FAULT_FDATASYNC, 300);
    fault_fail(FAULT_FDATASYNC, 0, 0, FAULT_ONCE);
    run_crowd(b, THREADS_MAX);
    uint64_t syncs = fault_calls(FAULT_FDATASYNC), writes = fault_calls(FAULT_PWRITE);
    print_message("%d commits of %d threads: %llu syncs\n", THREADS_MAX * PER_THREAD, THREADS_MAX,
                  (unsigned long long)syncs);
    assert_true(syncs < THREADS_MAX * PER_THREAD / 3);
    assert_true(writes <= syncs);
    must_close(b);
}

struct flood {
    struct journal *j;
    bool failed;
};

static void *append_only(void *arg) {
    struct flood *flood = arg;
    static const char bytes[1 << 20];
    uint64_t end;
    for (int i = 0; i < 60 && !flood->failed; i++)
        flood->failed =
            journal_append(flood->j, 1, (struct str){bytes, sizeof bytes}, &end, NULL) < 0;
    return NULL;
}

static int count(void *ctx, const struct journal_record *record, struct keel_error *err) {
    (void)err;
    ++*(uint64_t *)ctx;
    assert_int_equal(record->payload.n, 1 << 20);
    return 0;
}

/* Nobody commits: append itself writes when the memory is full. */
static void test_back_pressure(void **state) {
    struct bench *b = *state;
    uint64_t records = 0;
    pthread_t thread[4];
    struct flood floods[4];
    b->options.file_bytes = 8 << 20;
    open_at(b, b->dir, 0, false);
    for (int i = 0; i < 4; i++) {
        floods[i] = (struct flood){.j = b->j};
        assert_int_equal(pthread_create(&thread[i], NULL, append_only, &floods[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_false(floods[i].failed);
    }
    assert_true(journal_position(b->j) - journal_durable(b->j) <= 2 * JOURNAL_MAX_PENDING);
    must_close(b);
    assert_int_equal(journal_open(b->dir, STORE, 0, NULL, count, &records, &b->j, NULL), 0);
    assert_int_equal(records, 240);
    must_close(b);
}

/* ---- durability "interval" ---- */

static void test_interval(void **state) {
    struct bench *b = *state;
    b->options.durability = JOURNAL_DURABLE_INTERVAL;
    b->options.interval_ms = 20;
    open_at(b, b->dir, 0, false);
    append(b, 10);
    assert_int_equal(try_commit(b), 0);
    for (int i = 0; i < 500 && journal_durable(b->j) < end_of(b, 9); i++) usleep(10000);
    assert_int_equal(journal_durable(b->j), end_of(b, 9));
    must_close(b);

    b->options.interval_ms = 1000000;
    open_at(b, b->dir, 0, false);
    assert_ids(b, 0, 10);
    append(b, 1);
    assert_int_equal(try_commit(b), 0);
    assert_true(journal_durable(b->j) < end_of(b, 10));
    struct journal *writer = b->j;
    open_at(b, b->dir, 0, true); /* the kernel has it */
    assert_ids(b, 0, 11);
    must_close(b);
    assert_int_equal(journal_close(writer, NULL), 0);
}

static void test_interval_sync(void **state) {
    struct bench *b = *state;
    b->options.durability = JOURNAL_DURABLE_INTERVAL;
    b->options.interval_ms = 1000000;
    open_at(b, b->dir, 0, false);
    append(b, 3);
    assert_int_equal(journal_sync(b->j, end_of(b, 1), &b->err), 0);
    assert_true(journal_durable(b->j) >= end_of(b, 1));
    append(b, 3);
    assert_int_equal(try_commit(b), 0);
    assert_true(journal_durable(b->j) < end_of(b, 5));
    assert_int_equal(journal_sync(b->j, end_of(b, 5), &b->err), 0);
    assert_int_equal(journal_durable(b->j), end_of(b, 5));
    must_close(b);
}

/* ---- rolling, trimming ---- */

static void test_roll_and_trim(void **state) {
    struct bench *b = *state;
    b->options.file_bytes = SMALL_FILE;
    open_at(b, b->dir, 0, false);
    for (int i = 0; i < 60; i++) {
        append(b, 5);
        assert_int_equal(try_commit(b), 0);
    }
    assert_int_equal(journal_first(b->j), 0);
    assert_int_equal(journal_trim(b->j, 0, &b->err), 0);
    assert_int_equal(journal_first(b->j), 0);
    uint64_t from = end_of(b, 99);
    assert_int_equal(journal_trim(b->j, from, &b->err), 0);
    uint64_t first = journal_first(b->j);
    assert_true(first > 0 && first <= from);
    append(b, 50);
    must_close(b);

    open_at(b, b->dir, from, false);
    assert_ids(b, 100, b->next);
    assert_int_equal(journal_first(b->j), first);
    /* Everything is kept elsewhere: the last file stays. */
    uint64_t end = journal_position(b->j);
    assert_int_equal(journal_trim(b->j, end, &b->err), 0);
    assert_true(journal_first(b->j) > first);
    must_close(b);
    open_at(b, b->dir, end, false);
    assert_ids(b, 0, 0);
    append(b, 1);
    must_close(b);
    open_at(b, b->dir, end, false);
    assert_ids(b, b->next - 1, b->next);
    must_close(b);
    assert_refused(b, try_open(b, b->dir, 0, false), KEEL_E_CORRUPT, "missing");
}

static void *trim_often(void *arg) {
    struct bench *b = arg;
    for (int i = 0; i < 200; i++)
        if (journal_trim(b->j, journal_durable(b->j), NULL) < 0) return arg;
    return NULL;
}

static void test_trim_beside_writers(void **state) {
    struct bench *b = *state;
    pthread_t trimmer;
    void *wrong;
    b->options.file_bytes = SMALL_FILE;
    open_at(b, b->dir, 0, false);
    assert_int_equal(pthread_create(&trimmer, NULL, trim_often, b), 0);
    run_crowd(b, 4);
    assert_int_equal(pthread_join(trimmer, &wrong), 0);
    assert_null(wrong);
    uint64_t first = journal_first(b->j);
    must_close(b);
    open_at(b, b->dir, first, false);
    must_close(b);
}

/* ---- reading only ---- */

static void test_read_only_changes_nothing(void **state) {
    struct bench *b = *state;
    uint64_t end;
    open_at(b, b->dir, 0, false);
    append(b, 20);
    assert_int_equal(try_commit(b), 0);
    struct journal *writer = b->j; /* lives beside the reader */
    fault_fail(FAULT_ANY, 0, 0, FAULT_ONCE);
    open_at(b, b->dir, 0, true);
    assert_ids(b, 0, 20);
    static const enum fault_call CHANGES[] = {FAULT_WRITE,     FAULT_PWRITE, FAULT_FTRUNCATE,
                                              FAULT_FALLOCATE, FAULT_RENAME, FAULT_UNLINK,
                                              FAULT_MKDIR,     FAULT_FLOCK};
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++)
        assert_int_equal(fault_calls(CHANGES[i]), 0);
    assert_refused(b, journal_append(b->j, 1, STR("x"), &end, &b->err), KEEL_E_INVALID, "reading");
    assert_refused(b, journal_trim(b->j, 0, &b->err), KEEL_E_INVALID, "reading");
    assert_int_equal(journal_position(b->j), end_of(b, 19));
    must_close(b);
    assert_int_equal(journal_close(writer, NULL), 0);
}

static void *read_often(void *arg) {
    struct bench *b = arg;
    struct bench *reader = k_zalloc(sizeof *reader);
    uint64_t seen = 0;
    void *wrong = NULL;
    for (int i = 0; i < 60 && !wrong; i++) {
        if (try_open(reader, b->dir, 0, true) < 0) {
            print_message("reader: %s\n", reader->err.message);
            wrong = arg;
            break;
        }
        if (reader->ids.wrong || reader->ids.n < seen) wrong = arg;
        seen = reader->ids.n;
        (void)journal_close(reader->j, NULL);
    }
    k_free(reader);
    return wrong;
}

static void test_read_beside_writers(void **state) {
    struct bench *b = *state;
    pthread_t reader;
    void *wrong;
    b->options.file_bytes = 32 << 10;
    open_at(b, b->dir, 0, false);
    assert_int_equal(pthread_create(&reader, NULL, read_often, b), 0);
    run_crowd(b, 8);
    assert_int_equal(pthread_join(reader, &wrong), 0);
    assert_null(wrong);
    must_close(b);
}

/* ---- refusals ---- */

static void test_refusals(void **state) {
    struct bench *b = *state;
    static const uint8_t OTHER[JOURNAL_ID_BYTES] = "another-store-02";
    struct journal_options existing = {0}, small = {.file_bytes = 100, .create = true};
    assert_refused(b, journal_open(b->dir, STORE, 0, &existing, NULL, NULL, &b->j, &b->err),
                   KEEL_E_CORRUPT, "no journal files");
    assert_refused(b, journal_open(b->dir, STORE, 0, &small, NULL, NULL, &b->j, &b->err),
                   KEEL_E_INVALID, "4096");
    assert_refused(b, try_open(b, b->dir, 0, true), KEEL_E_CORRUPT, "no journal files");
    open_at(b, b->dir, 0, false);
    append(b, 10);
    must_close(b);
    assert_refused(b, journal_open(b->dir, OTHER, 0, NULL, NULL, NULL, &b->j, &b->err),
                   KEEL_E_CORRUPT, "another store");
    assert_refused(b, try_open(b, b->dir, end_of(b, 4) + 8, false), KEEL_E_INVALID, "inside");
    assert_refused(b, try_open(b, b->dir, end_of(b, 9) + 1000, false), KEEL_E_CORRUPT, ".keelj");
}

static void write_at(const char *dir, const char *file, uint64_t at, const void *p, size_t n) {
    char path[TEMP_PATH_MAX + 64];
    int fd;
    snprintf(path, sizeof path, "%s/journal/%s", dir, file);
    assert_int_equal(file_open(path, FILE_WRITE, &fd, NULL), 0);
    assert_int_equal(file_pwrite_all(fd, p, n, at, path, NULL), 0);
    file_close(fd);
}

static void cut_at(const char *dir, const char *file, uint64_t size) {
    char path[TEMP_PATH_MAX + 64];
    int fd;
    snprintf(path, sizeof path, "%s/journal/%s", dir, file);
    assert_int_equal(file_open(path, FILE_WRITE, &fd, NULL), 0);
    assert_int_equal(file_truncate(fd, size, path, NULL), 0);
    file_close(fd);
}

static const char FIRST_FILE[] = "0000000000000000.keelj";

static void test_newer_format_is_refused(void **state) {
    struct bench *b = *state;
    uint8_t header[64];
    char path[TEMP_PATH_MAX + 64];
    struct buf file;
    open_at(b, b->dir, 0, false);
    must_close(b);
    snprintf(path, sizeof path, "%s/journal/%s", b->dir, FIRST_FILE);
    buf_init(&file, SIZE_MAX / 4);
    assert_int_equal(file_read(path, &file, NULL), 0);
    memcpy(header, file.p, sizeof header);
    buf_release(&file);
    header[8] = 2; /* major version, with a checksum that is right */
    uint64_t sum = hash64(header, 56);
    memcpy(header + 56, &sum, 8);
    write_at(b->dir, FIRST_FILE, 0, header, sizeof header);
    assert_refused(b, try_open(b, b->dir, 0, true), KEEL_E_UNSUPPORTED, "2.0");
}

static void test_missing_file_is_damage(void **state) {
    struct bench *b = *state;
    char path[TEMP_PATH_MAX + 64];
    b->options.file_bytes = SMALL_FILE;
    open_at(b, b->dir, 0, false);
    append(b, 150);
    must_close(b);
    temp_copy(b->dir, b->copy);
    open_at(b, b->copy, 0, false);
    assert_int_equal(journal_trim(b->j, end_of(b, 70), &b->err), 0);
    uint64_t middle = journal_first(b->j);
    must_close(b);
    assert_refused(b, try_open(b, b->copy, 0, false), KEEL_E_CORRUPT, "missing");

    assert_true(middle > 0);
    snprintf(path, sizeof path, "%s/journal/%016llx.keelj", b->dir, (unsigned long long)middle);
    assert_int_equal(file_remove(path, NULL), 0);
    assert_refused(b, try_open(b, b->dir, 0, false), KEEL_E_CORRUPT, ".keelj is damaged at byte");
    assert_refused(b, try_open(b, b->dir, end_of(b, 70), false), KEEL_E_CORRUPT, "missing");
}

/* ---- damage ---- */

/* Opens a damaged copy, by turns for writing and for reading. The only ways to be right: an error
 * that names a file of the journal, or the records 0 .. n - 1 with n >= least. */
static bool survives(struct bench *b, uint64_t least, const char *what, uint64_t at) {
    bool read_only = at % 2;
    int code = try_open(b, b->copy, 0, read_only);
    if (code < 0) {
        if (code == -KEEL_E_IO || !strstr(b->err.message, "/journal/"))
            fail_msg("%s %llu: %s", what, (unsigned long long)at, b->err.message);
        return false;
    }
    if (b->ids.wrong) fail_msg("%s %llu: a record that nobody wrote", what, (unsigned long long)at);
    assert_int_equal(journal_close(b->j, NULL), 0);
    for (size_t i = 0; i < b->ids.n; i++) assert_int_equal(b->ids.id[i], i);
    if (b->ids.n < least)
        fail_msg("%s %llu: %zu of %llu records and no error", what, (unsigned long long)at,
                 b->ids.n, (unsigned long long)least);
    return true;
}

/* Two files: 0 .. n - 1 acknowledged in groups of 3; `clean` closes, otherwise the folder is copied
 * as a killed process leaves it. *out_first is where the second one begins. Returns how many
 * records no damage may silently drop. */
static uint64_t make_victim(struct bench *b, bool clean, uint64_t *out_first) {
    b->options.file_bytes = SMALL_FILE;
    open_at(b, b->dir, 0, false);
    char killed[TEMP_PATH_MAX];
    temp_make(killed);
    while (journal_position(b->j) < 6000) {
        append(b, 3);
        assert_int_equal(try_commit(b), 0);
        temp_copy(b->dir, killed);
    }
    must_close(b);
    if (!clean) temp_copy(killed, b->dir);
    temp_remove(killed);
    uint64_t id = 0;
    while (64 + b->end[id] <= SMALL_FILE) id++; /* the first one that did not fit */
    *out_first = b->end[id - 1];
    return clean ? b->next : b->next - 3; /* the last group can look torn */
}

/* Flips a bit of byte `at` of a copy. */
static void flip(struct bench *b, const char *file, uint64_t at) {
    char path[TEMP_PATH_MAX + 64];
    uint8_t byte;
    int fd;
    temp_copy(b->dir, b->copy);
    snprintf(path, sizeof path, "%s/journal/%s", b->copy, file);
    assert_int_equal(file_open(path, FILE_WRITE, &fd, NULL), 0);
    assert_int_equal(file_pread_all(fd, &byte, 1, at, path, NULL), 0);
    byte ^= (uint8_t)(1u << at % 8);
    assert_int_equal(file_pwrite_all(fd, &byte, 1, at, path, NULL), 0);
    file_close(fd);
}

static void damage_all(struct bench *b, bool clean) {
    char second[32];
    uint64_t first, least = make_victim(b, clean, &first), refused = 0, survived = 0;
    snprintf(second, sizeof second, "%016llx.keelj", (unsigned long long)first);
    const char *files[] = {FIRST_FILE, second};
    /* up to here something vouches for the bytes of each file: not one bit may pass */
    const uint64_t vouched[] = {64 + first, 64 + b->end[least - 1] - first};
    for (int f = 0; f < 2; f++) {
        for (uint64_t at = 0; at < SMALL_FILE; at++) {
            flip(b, files[f], at);
            bool good = survives(b, least, "flipped bit in byte", at);
            if (at < vouched[f]) assert_false(good);
            survived += good;
            refused += !good;

            temp_copy(b->dir, b->copy);
            cut_at(b->copy, files[f], at);
            assert_false(survives(b, least, "cut at byte", at));
        }
    }
    print_message("%s: %llu flipped bits refused, %llu without harm; %d cuts refused\n",
                  clean ? "closed" : "killed", (unsigned long long)refused,
                  (unsigned long long)survived, 2 * SMALL_FILE);
}

static void test_damage_of_a_closed_journal(void **state) { damage_all(*state, true); }
static void test_damage_of_a_killed_journal(void **state) { damage_all(*state, false); }

/* Damage in a group that a later one vouches for names file and byte. */
static void test_damage_in_the_middle_names_the_byte(void **state) {
    struct bench *b = *state;
    uint64_t bad = 0xdeadbeefdeadbeef;
    open_at(b, b->dir, 0, false);
    for (int i = 0; i < 5; i++) {
        append(b, 1);
        assert_int_equal(try_commit(b), 0);
    }
    temp_copy(b->dir, b->copy); /* no mark at the end, as after a kill */
    must_close(b);
    write_at(b->copy, FIRST_FILE, 64 + end_of(b, 1) + 32, &bad, 8);
    char word[64];
    unsigned long long at = 64 + end_of(b, 1);
    snprintf(word, sizeof word, "%s is damaged at byte %llu", FIRST_FILE, at);
    assert_refused(b, try_open(b, b->copy, 0, false), KEEL_E_CORRUPT, word);
    /* In the last group the same damage looks torn: cut, and the rest is kept. */
    temp_copy(b->dir, b->copy);
    cut_at(b->copy, FIRST_FILE, 64 + end_of(b, 4));
    cut_at(b->copy, FIRST_FILE, JOURNAL_FILE_BYTES); /* without the mark */
    write_at(b->copy, FIRST_FILE, 64 + end_of(b, 3) + 32, &bad, 8);
    open_at(b, b->copy, 0, false);
    assert_ids(b, 0, 4);
    must_close(b);
}

/* Records of another place or another store never count, whatever their checksum says. */
static void test_stale_records_do_not_count(void **state) {
    struct bench *b = *state;
    char path[TEMP_PATH_MAX + 64];
    struct buf file;
    open_at(b, b->dir, 0, false);
    append(b, 4);
    must_close(b);
    snprintf(path, sizeof path, "%s/journal/%s", b->dir, FIRST_FILE);
    buf_init(&file, SIZE_MAX / 4);
    assert_int_equal(file_read(path, &file, NULL), 0);
    uint64_t n = end_of(b, 3), mark = 24;
    temp_copy(b->dir, b->copy);
    write_at(b->copy, FIRST_FILE, 64 + n + mark, file.p + 64, (size_t)n);
    open_at(b, b->copy, 0, false);
    assert_ids(b, 0, 4);
    append(b, 1);
    must_close(b);
    open_at(b, b->copy, 0, false);
    assert_ids(b, 0, 5);
    must_close(b);
    buf_release(&file);
}

/* ---- doctor ---- */

struct findings {
    unsigned good, torn, damage;
    uint64_t records;
    char last[KEEL_ERROR_MAX];
};

static void note(void *ctx, const struct journal_finding *finding) {
    struct findings *f = ctx;
    f->good += finding->verdict == JOURNAL_FILE_GOOD;
    f->torn += finding->verdict == JOURNAL_TAIL_TORN;
    f->damage += finding->verdict == JOURNAL_DAMAGE;
    if (finding->verdict == JOURNAL_FILE_GOOD)
        f->records += finding->records;
    else
        snprintf(f->last, sizeof f->last, "%s", finding->text);
    assert_non_null(strstr(finding->path, ".keelj"));
}

static void test_doctor(void **state) {
    struct bench *b = *state;
    struct findings good = {0}, torn = {0}, bad = {0}, headless = {0};
    uint64_t junk = 77;
    char second[32];
    uint64_t first;
    assert_refused(b, journal_check(b->dir, NULL, NULL, NULL, &b->err), KEEL_E_CORRUPT,
                   "no journal");
    (void)make_victim(b, true, &first);
    snprintf(second, sizeof second, "%016llx.keelj", (unsigned long long)first);
    assert_int_equal(journal_check(b->dir, NULL, note, &good, &b->err), 0);
    assert_int_equal(good.good, 2);
    assert_int_equal(good.torn + good.damage, 0);
    assert_int_equal(good.records, b->next);

    temp_copy(b->dir, b->copy);
    write_at(b->copy, second, SMALL_FILE - 8, &junk, 8);
    assert_int_equal(journal_check(b->copy, STORE, note, &torn, &b->err), 0);
    assert_int_equal(torn.torn, 1);
    assert_int_equal(torn.records, b->next);

    write_at(b->copy, FIRST_FILE, 64 + end_of(b, 1) + 32, &junk, 8);
    write_at(b->copy, second, 64 + 4, &junk, 8);
    assert_refused(b, journal_check(b->copy, STORE, note, &bad, &b->err), KEEL_E_CORRUPT,
                   FIRST_FILE);
    assert_int_equal(bad.damage, 2);
    assert_int_equal(bad.good, 2);
    assert_int_equal(bad.records, b->next - 2); /* goes on behind the damage */

    temp_copy(b->dir, b->copy);
    write_at(b->copy, FIRST_FILE, 20, &junk, 8);
    assert_refused(b, journal_check(b->copy, NULL, note, &headless, &b->err), KEEL_E_CORRUPT,
                   "header");
    assert_int_equal(headless.records, b->next);
}

/* ---- calls that fail ---- */

/* A life with rolls, a trim and a clean end. Stops at the first error, which must be the last: a
 * failed journal stays failed. Returns how many records were acknowledged; *from is the position
 * that was kept. */
static uint64_t live(struct bench *b, uint64_t *from, uint64_t *from_id) {
    uint64_t acknowledged = 0;
    *from = *from_id = b->next = 0;
    if (try_open(b, b->dir, 0, false) < 0) return 0;
    for (int i = 0; i < 14; i++) {
        if (try_append(b, 1 + (unsigned)i % 9) < 0 || try_commit(b) < 0) break;
        acknowledged = b->next;
        if (i == 10) {
            *from_id = acknowledged - 6;
            *from = end_of(b, acknowledged - 7);
            if (journal_trim(b->j, *from, NULL) < 0) assert_false(journal_failed(b->j));
        }
    }
    if (journal_failed(b->j)) {
        struct keel_error first = b->err, again = {0};
        assert_int_equal(try_append(b, 1), first.code);
        assert_string_equal(b->err.message, first.message);
        assert_int_equal(journal_commit(b->j, journal_position(b->j), &again), first.code);
        assert_string_equal(again.message, first.message);
    }
    (void)journal_close(b->j, NULL);
    return acknowledged;
}

static void assert_life(struct bench *b, uint64_t acknowledged, uint64_t from, uint64_t from_id) {
    for (int round = 0; round < 2; round++) {
        open_at(b, b->dir, from, false);
        assert_true(from_id + b->ids.n >= acknowledged);
        assert_ids(b, from_id, from_id + b->ids.n);
        must_close(b);
    }
}

static void fail_each(struct bench *b, int errno_value, enum fault_mode mode) {
    uint64_t from, from_id, n = 0;
    b->options.file_bytes = SMALL_FILE;
    do {
        temp_copy(b->copy, b->dir); /* empty */
        fault_fail(FAULT_ANY, ++n, errno_value, mode);
        uint64_t acknowledged = live(b, &from, &from_id);
        bool fired = fault_fired();
        fault_fail(FAULT_ANY, 0, 0, FAULT_ONCE);
        assert_life(b, acknowledged, from, from_id);
        if (!fired) break;
    } while (n < 100000);
    print_message("%llu calls, each failed with %s\n", (unsigned long long)n - 1,
                  strerror(errno_value));
}

static void test_each_call_fails(void **state) {
    fail_each(*state, EIO, FAULT_ONCE);
    fail_each(*state, EIO, FAULT_PARTLY);
    fail_each(*state, EIO, FAULT_FOR_EVER);
    fail_each(*state, ENOSPC, FAULT_FOR_EVER);
    fail_each(*state, ENOSPC, FAULT_ONCE);
    fail_each(*state, ENOSPC, FAULT_PARTLY);
    fail_each(*state, EMFILE, FAULT_ONCE);
}

static void test_each_allocation_fails(void **state) {
    struct bench *b = *state;
    uint64_t from, from_id, whole;
    b->options.file_bytes = SMALL_FILE;
    whole = live(b, &from, &from_id);
    unsigned failed = 0;
    for (uint64_t n = 1; n < 200; n++) {
        temp_copy(b->copy, b->dir); /* empty */
        mem_fail_after(n);
        uint64_t acknowledged = live(b, &from, &from_id);
        mem_fail_after(0);
        failed += acknowledged < whole;
        assert_life(b, acknowledged, from, from_id);
    }
    assert_true(failed > 3);
}

static void test_short_and_interrupted_calls(void **state) {
    struct bench *b = *state;
    uint64_t from, from_id, whole;
    b->options.file_bytes = SMALL_FILE;
    whole = live(b, &from, &from_id);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        temp_copy(b->copy, b->dir); /* empty */
        fault_short(seed);
        fault_interrupt(2 + (unsigned)seed % 4);
        assert_int_equal(live(b, &from, &from_id), whole);
        assert_life(b, whole, from, from_id);
        fault_none();
        fault_skip_sync(true);
        assert_life(b, whole, from, from_id);
    }
}

static void *commit_until_failure(void *arg) {
    struct crowd_member *m = arg;
    uint8_t payload[PAYLOAD_MAX];
    struct keel_error err = {0};
    for (uint64_t id = m->first;; id++) {
        uint64_t end;
        if (journal_append(m->b->j, kind_of(id), payload_of(id, payload), &end, &err) < 0) break;
        if (journal_commit(m->b->j, end, &err) < 0) break;
        m->first = id + 1;
    }
    return err.code == -KEEL_E_NOT_DURABLE && strstr(err.message, "fdatasync") ? NULL : arg;
}

/* All threads get the one error, nobody hangs, and what was acknowledged is there. */
static void test_failed_sync_stops_everybody(void **state) {
    struct bench *b = *state;
    enum { STEP = IDS_MAX / THREADS_MAX };
    struct crowd_member members[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    uint64_t next[THREADS_MAX] = {0}, end;
    open_at(b, b->dir, 0, false);
    fault_fail(FAULT_FDATASYNC, 20, EIO, FAULT_ONCE);
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        members[i] = (struct crowd_member){b, i * STEP};
        assert_int_equal(pthread_create(&thread[i], NULL, commit_until_failure, &members[i]), 0);
    }
    for (unsigned i = 0; i < THREADS_MAX; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    assert_true(journal_failed(b->j));
    assert_refused(b, journal_append(b->j, 1, STR("x"), &end, &b->err), KEEL_E_NOT_DURABLE,
                   "fdatasync");
    assert_refused(b, journal_sync(b->j, journal_position(b->j), &b->err), KEEL_E_NOT_DURABLE,
                   "fdatasync");
    assert_refused(b, journal_close(b->j, &b->err), KEEL_E_NOT_DURABLE, "fdatasync");
    open_at(b, b->dir, 0, false);
    for (size_t i = 0; i < b->ids.n; i++)
        assert_int_equal(b->ids.id[i] % STEP, next[b->ids.id[i] / STEP]++);
    for (unsigned i = 0; i < THREADS_MAX; i++) assert_true(i * STEP + next[i] >= members[i].first);
    must_close(b);
}

/* File systems without fallocate: a sparse file of the same size. */
static void test_without_fallocate(void **state) {
    struct bench *b = *state;
    uint64_t from, from_id;
    b->options.file_bytes = SMALL_FILE;
    fault_fail(FAULT_FALLOCATE, 1, EOPNOTSUPP, FAULT_FOR_EVER);
    uint64_t acknowledged = live(b, &from, &from_id);
    assert_true(fault_fired());
    assert_int_equal(acknowledged, b->next);
    assert_life(b, acknowledged, from, from_id);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_replay_equals_what_was_appended),
        CASE(test_clean_openings_add_nothing),
        CASE(test_sizes),
        CASE(test_replay_can_be_ended),
        CASE(test_crowd),
        CASE(test_commits_share_syncs),
        CASE(test_back_pressure),
        CASE(test_interval),
        CASE(test_interval_sync),
        CASE(test_roll_and_trim),
        CASE(test_trim_beside_writers),
        CASE(test_read_only_changes_nothing),
        CASE(test_read_beside_writers),
        CASE(test_refusals),
        CASE(test_newer_format_is_refused),
        CASE(test_missing_file_is_damage),
        CASE(test_damage_of_a_closed_journal),
        CASE(test_damage_of_a_killed_journal),
        CASE(test_damage_in_the_middle_names_the_byte),
        CASE(test_stale_records_do_not_count),
        CASE(test_doctor),
        CASE(test_each_call_fails),
        CASE(test_each_allocation_fails),
        CASE(test_short_and_interrupted_calls),
        CASE(test_failed_sync_stops_everybody),
        CASE(test_without_fallocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
