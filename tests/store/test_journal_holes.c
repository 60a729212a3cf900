/* Holes in journal files: what was preallocated and never written is not read at an opening, and a
 * hole in place of records is damage, as zeros are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/os.h"
#include "fault_os.h"
#include "store/journal/journal.h"

enum { FILE_BYTES = 16 << 20, RECORD_BYTES = 3 << 20, RECORDS = 4, WINDOW_BYTES = 256 << 10 };

static const uint8_t STORE[JOURNAL_ID_BYTES] = "journal-holes-01";
static const char FIRST_FILE[] = "0000000000000000.keelj";

struct bench {
    char dir[TEMP_PATH_MAX], copy[TEMP_PATH_MAX];
    struct journal *j;
    struct keel_error err;
    uint64_t end[RECORDS];
    unsigned records; /* as replayed */
};

static int count(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct bench *b = ctx;
    (void)err;
    assert_int_equal(record->payload.n, RECORD_BYTES);
    b->records++;
    return 0;
}

static int try_open(struct bench *b, const char *dir, bool read_only) {
    struct journal_options options = {
        .create = true, .file_bytes = FILE_BYTES, .read_only = read_only};
    b->records = 0;
    return journal_open(dir, STORE, 0, &options, count, b, &b->j, &b->err);
}

/* Four records, each synced; b->copy is as after a kill: no mark at the end. */
static int setup(void **state) {
    struct bench *b = test_calloc(1, sizeof *b);
    char *large = test_malloc(RECORD_BYTES);
    memset(large, 'x', RECORD_BYTES);
    temp_make(b->dir);
    temp_make(b->copy);
    fault_start();
    assert_int_equal(try_open(b, b->dir, false), 0);
    for (int i = 0; i < RECORDS; i++) {
        struct str payload = {large, RECORD_BYTES};
        assert_int_equal(journal_append(b->j, 1, payload, &b->end[i], NULL), 0);
        assert_int_equal(journal_commit(b->j, b->end[i], &b->err), 0);
    }
    temp_copy(b->dir, b->copy);
    assert_int_equal(journal_close(b->j, &b->err), 0);
    test_free(large);
    *state = b;
    return 0;
}

static int teardown(void **state) {
    struct bench *b = *state;
    fault_stop();
    temp_remove(b->dir);
    temp_remove(b->copy);
    test_free(b);
    return 0;
}

/* A system that cannot tell holes reads it all, to the same end. */
static void test_holes_are_not_read(void **state) {
    struct bench *b = *state;
    uint64_t reads[2];
    for (int blind = 0; blind < 2; blind++) {
        fault_none();
        if (blind) fault_fail(FAULT_LSEEK, 1, EINVAL, FAULT_FOR_EVER);
        uint64_t before = fault_calls(FAULT_PREAD);
        assert_int_equal(try_open(b, b->dir, true), 0);
        reads[blind] = fault_calls(FAULT_PREAD) - before;
        assert_int_equal(b->records, RECORDS);
        assert_int_equal(journal_close(b->j, &b->err), 0);
    }
    assert_true(reads[1] >= reads[0] + (FILE_BYTES - RECORDS * RECORD_BYTES) / WINDOW_BYTES / 2);
}

/* The second and third record are lost; the fourth, behind the hole, vouches for them. */
static void test_a_hole_among_records_is_damage(void **state) {
    struct bench *b = *state;
    char path[TEMP_PATH_MAX + 64], word[64];
    uint64_t keep = 64 + b->end[0], again = 64 + b->end[2], size;
    int fd;
    snprintf(path, sizeof path, "%s/journal/%s", b->copy, FIRST_FILE);
    assert_int_equal(file_open(path, FILE_WRITE, &fd, NULL), 0);
    assert_int_equal(file_size(fd, path, &size, NULL), 0);
    uint8_t *bytes = test_malloc(size);
    assert_int_equal(file_pread_all(fd, bytes, size, 0, path, NULL), 0);
    assert_int_equal(file_truncate(fd, 0, path, NULL), 0);
    assert_int_equal(file_truncate(fd, size, path, NULL), 0);
    assert_int_equal(file_pwrite_all(fd, bytes, keep, 0, path, NULL), 0);
    assert_int_equal(file_pwrite_all(fd, bytes + again, b->end[3] - b->end[2], again, path, NULL),
                     0);
    file_close(fd);
    test_free(bytes);
    snprintf(word, sizeof word, "%s is damaged at byte %llu", FIRST_FILE, (unsigned long long)keep);
    assert_int_equal(try_open(b, b->copy, false), -KEEL_E_CORRUPT);
    assert_non_null(strstr(b->err.message, word));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_holes_are_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_hole_among_records_is_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
