/* The raw archive: what was accepted comes back byte for byte, whoever died; the rest is not in it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/collect/archive.h"
#include "base/os.h"
#include "base/time.h"
#include "fault_os.h"

enum { REQUESTS = 500 };

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static const struct event_source WEB = {.id = 1, .name = {"web", 3}, .archive = true};
static const struct event_source TILL = {.id = 2, .name = {"a \"till\"", 8}};
static const int64_t START_MS = 1700000000123;

/* Request k: an accepted event, a duplicate, one in quarantine, one of the other source. */
static void tell(struct archive *a, uint32_t k) {
    char text[64];
    snprintf(text, sizeof text, "{\"n\":%u,\n \"s\":\"\\n\"}", k);
    struct collect_item items[] = {
        {.text = str_from(text), .source = &WEB, .fate = COLLECT_ACCEPTED},
        {.text = STR("{\"dup\":1}"), .source = &WEB, .fate = COLLECT_DUPLICATE},
        {.text = STR("{\"bad\":1}"), .source = &WEB, .fate = COLLECT_QUARANTINED},
        {.text = STR("{\"till\":1}"), .source = &TILL, .fate = COLLECT_ACCEPTED},
    };
    struct collect_outcome outcome = {.source = &WEB,
                                      .dialect = "segment",
                                      .received_ms = START_MS + k,
                                      .client = {.address = STR("192.0.2.9"),
                                                 .user_agent = STR("a\"}b"),
                                                 .own = k % 2,
                                                 .ip = CLIENT_IP_TRUNCATE,
                                                 .sent_ms = k},
                                      .items = items,
                                      .n = 4,
                                      .type = k % 2 ? EVENT_PAGE : SEGMENT_ANY_TYPE};
    if (k % 3 == 0) outcome.envelope.sent = STR("\"2023-11-14T22:13:20.000Z\"");
    if (k % 5 == 0) outcome.envelope.context = STR("{\"ip\":\"192.0.2.1\"}");
    archive_tell(a, &outcome);
}

struct expect {
    uint32_t next;
};

static int check_line(void *ctx, const struct archive_line *line, struct keel_error *err) {
    struct expect *e = ctx;
    char text[512], time[40], said[128];
    (void)err;
    uint32_t k = e->next;
    time[time_format(NULL, START_MS + k, time)] = 0;
    assert_int_equal(line->received_ms, START_MS + k);
    assert_int_equal(line->type, k % 2 ? EVENT_PAGE : SEGMENT_ANY_TYPE);
    snprintf(said, sizeof said,
             "{\"ip\":\"192.0.2.0\",\"userAgent\":\"%s\",\"own\":%s,\"policy\":1,\"sentMs\":%u}",
             k % 2 ? "a\\\"}b" : "", k % 2 ? "true" : "false", k);
    assert_true(line->has_client && str_is(line->client.address, "192.0.2.0"));
    assert_true(str_is(line->client.user_agent, k % 2 ? "a\"}b" : ""));
    assert_true(line->client.own == k % 2 && line->client.ip == CLIENT_IP_TRUNCATE);
    assert_int_equal(line->client.sent_ms, k);
    snprintf(text, sizeof text,
             "{\"receivedAt\":\"%s\",\"source\":\"web\"%s,\"connection\":%s%s%s,\"batch\":[{\"n\":%"
             "u,  \"s\":\"\\n\"}]}",
             time, k % 2 ? ",\"type\":\"page\"" : "", said,
             k % 3 ? "" : ",\"sentAt\":\"2023-11-14T22:13:20.000Z\"",
             k % 5 ? "" : ",\"context\":{\"ip\":\"192.0.2.1\"}", k);
    assert_int_equal(line->text.n, strlen(text));
    assert_memory_equal(line->text.p, text, line->text.n);
    assert_int_equal(line->text.p[line->text.n], '\n');
    e->next++;
    return 0;
}

static int count_line(void *ctx, const struct archive_line *line, struct keel_error *err) {
    (void)err;
    assert_true(line->text.n > 0);
    ++*(uint32_t *)ctx;
    return 0;
}

static struct archive *open_archive(const char *dir, bool all) {
    struct keel_error err;
    struct archive *a;
    struct archive_options options = {.dir = dir, .all = all};
    must(archive_open(&options, &a, &err), &err);
    return a;
}

static void test_round_trip(void **state) {
    (void)state;
    char dir[TEMP_PATH_MAX];
    struct keel_error err;
    struct archive_sums sums;
    struct expect expect = {0};
    uint32_t lines = 0;
    temp_make(dir);
    assert_int_equal(archive_read(dir, INT64_MIN, INT64_MAX, count_line, &lines, &sums, &err),
                     -KEEL_E_NOT_FOUND);
    struct archive *a = open_archive(dir, false);
    for (uint32_t k = 0; k < REQUESTS; k++) tell(a, k);
    archive_close(a); /* writes what waits */
    must(archive_read(dir, INT64_MIN, INT64_MAX, check_line, &expect, &sums, &err), &err);
    assert_int_equal(expect.next, REQUESTS);
    assert_int_equal(sums.torn, 0);
    temp_remove(dir);
}

/* The table's clock stands at the time of the requests, so files have that hour's name. */
static int64_t told_now_us(void) { return START_MS * 1000; }

static void test_all_and_range(void **state) {
    (void)state;
    char dir[TEMP_PATH_MAX];
    struct keel_error err;
    struct archive_sums sums;
    struct os table = OS_REAL;
    uint32_t lines = 0;
    temp_make(dir);
    table.now_us = told_now_us;
    os_use(&table);
    struct archive *a = open_archive(dir, true);
    for (uint32_t k = 0; k < REQUESTS; k++) tell(a, k);
    archive_close(a);
    os_use(NULL);
    must(archive_read(dir, START_MS + 10, START_MS + 20, count_line, &lines, &sums, &err), &err);
    assert_int_equal(lines, 20); /* two sources */
    lines = 0;
    must(archive_read(dir, START_MS + 86400000, INT64_MAX, count_line, &lines, &sums, &err), &err);
    assert_int_equal(lines, 0);
    assert_int_equal(sums.files, 0);
    temp_remove(dir);
}

static int find_file(void *ctx, const char *name) {
    snprintf(ctx, 256, "%s", name);
    return 0;
}

/* Cut anywhere: the whole frames are read, and the tear is counted; a flipped bit is no tear. */
static void test_torn(void **state) {
    (void)state;
    char dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 300], name[256] = "", folder[TEMP_PATH_MAX + 16];
    struct keel_error err;
    struct archive_sums sums;
    uint64_t size;
    int fd;
    temp_make(dir);
    struct archive *a = open_archive(dir, false);
    for (uint32_t k = 0; k < REQUESTS; k++) {
        tell(a, k);
        if (k != REQUESTS / 2) continue;
        struct archive_stats stats; /* a frame of its own */
        do archive_stats(a, &stats);
        while (stats.lines <= REQUESTS / 2);
    }
    archive_close(a);
    snprintf(folder, sizeof folder, "%s/archive", dir);
    must(file_list_dir(folder, find_file, name, &err), &err);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    must(file_open(path, FILE_WRITE, &fd, &err), &err);
    must(file_size(fd, path, &size, &err), &err);
    uint8_t byte;
    uint64_t at = size / 4;
    must(file_pread_all(fd, &byte, 1, at, path, &err), &err);
    byte ^= 0x10;
    must(file_pwrite_all(fd, &byte, 1, at, path, &err), &err);
    uint32_t damaged = 0;
    int code = archive_read(dir, INT64_MIN, INT64_MAX, count_line, &damaged, &sums, &err);
    assert_true(code < 0);
    byte ^= 0x10;
    must(file_pwrite_all(fd, &byte, 1, at, path, &err), &err);
    must(file_truncate(fd, size - 7, path, &err), &err);
    struct expect expect = {0};
    must(archive_read(dir, INT64_MIN, INT64_MAX, check_line, &expect, &sums, &err), &err);
    assert_int_equal(sums.torn, 1);
    assert_true(expect.next > REQUESTS / 2);
    assert_true(expect.next <= REQUESTS);
    file_close(fd);
    temp_remove(dir);
}

/* A disk that refuses: dropped and counted, then written again in another file. */
static void test_failing_disk(void **state) {
    (void)state;
    char dir[TEMP_PATH_MAX];
    struct keel_error err;
    struct archive_sums sums;
    struct archive_stats stats;
    uint32_t lines = 0;
    temp_make(dir);
    fault_start();
    struct archive *a = open_archive(dir, false);
    fault_fail(FAULT_FDATASYNC, 1, EIO, FAULT_ONCE);
    tell(a, 0);
    do archive_stats(a, &stats);
    while (!stats.dropped_lines);
    assert_true(stats.last_error.code < 0);
    tell(a, 1);
    archive_close(a);
    fault_stop();
    must(archive_read(dir, INT64_MIN, INT64_MAX, count_line, &lines, &sums, &err), &err);
    assert_true(lines >= 1);
    temp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_all_and_range),
        cmocka_unit_test(test_torn), cmocka_unit_test(test_failing_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
