/* The quarantine: once, bounded, exact totals, documents, replays that are cut off, kill -9.
 *
 * kill -9: a child keeps events in groups and says on a pipe what is kept, as a server would
 * answer; it is killed at a random moment, and everything it said is there, once. */
#include "api/collect/quarantine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"

struct place {
    char dir[64], path[96];
};

static int set_up(void **state) {
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/keel-quarantine-XXXXXX");
    if (!mkdtemp(p->dir)) return -1;
    snprintf(p->path, sizeof p->path, "%s/desk.db", p->dir);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    struct place *p = *state;
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", p->path, ends[i]);
        unlink(path);
    }
    rmdir(p->dir);
    free(p);
    return 0;
}

static struct quarantine *open_at(const struct place *p, const struct quarantine_limits *limits) {
    struct quarantine *q = NULL;
    struct keel_error err;
    if (quarantine_open(p->path, limits, &q, &err) < 0) fail_msg("%s", err.message);
    return q;
}

#define REASONS                                                                                    \
    "[{\"code\":\"wrong_type\",\"property\":\"total\",\"message\":\"total: is a string\"}]"

static struct quarantine_item item(uint64_t id, const char *json) {
    return (struct quarantine_item){.key = {.lo = id, .hi = 7},
                                    .source = 3,
                                    .received_ms = 1700000000000,
                                    .type = SEGMENT_ANY_TYPE,
                                    .json = str_from(json),
                                    .envelope = STR(""),
                                    .reasons = STR(REASONS)};
}

#define EVENT                                                                                      \
    "{\"type\":\"track\",\"event\":\"Order Completed\",\"userId\":\"u\\u00e9\","                   \
    "\"properties\":{\"total\":\"x\"}}"

static void assert_open(struct quarantine *q, uint64_t events, uint64_t bytes) {
    struct quarantine_stats s;
    assert_int_equal(quarantine_stats(q, &s, NULL), 0);
    assert_int_equal(s.open, events);
    assert_int_equal(s.open_bytes, bytes);
}

static const struct quarantine_filter ALL = {
    .source = -1, .name = {"", 0}, .code = {"", 0}, .state = -1, .limit = 1000};

struct seen {
    uint32_t n;
    int64_t ids[100];
    char name[40], user[40], code[40];
    enum quarantine_state states[100];
    size_t json_bytes;
};

static int see(void *ctx, const struct quarantine_row *row) {
    struct seen *s = ctx;
    s->ids[s->n] = row->id;
    s->states[s->n++] = row->state;
    snprintf(s->name, sizeof s->name, "%.*s", STR_ARG(row->name));
    snprintf(s->user, sizeof s->user, "%.*s", STR_ARG(row->user));
    snprintf(s->code, sizeof s->code, "%.*s", STR_ARG(row->code));
    s->json_bytes += row->json.n;
    return 0;
}

static struct seen list(struct quarantine *q, struct quarantine_filter filter) {
    struct seen s = {0};
    assert_int_equal(quarantine_list(q, &filter, see, &s, NULL), 0);
    return s;
}

static void test_once(void **state) {
    struct quarantine *q = open_at(*state, NULL);
    struct quarantine_item items[3] = {item(1, EVENT), item(2, EVENT), item(1, EVENT)};
    assert_int_equal(quarantine_keep(q, items, 3, 5, NULL), 0);
    assert_false(items[0].again || items[1].again);
    assert_true(items[2].again);
    assert_open(q, 2, 2 * strlen(EVENT));
    struct seen s = list(q, ALL);
    assert_int_equal(s.n, 2);
    assert_string_equal(s.name, "Order Completed");
    assert_string_equal(s.user, "ué");
    assert_string_equal(s.code, "wrong_type");
    quarantine_close(q);
    q = open_at(*state, NULL); /* after a restart, too */
    items[0].again = false;
    assert_int_equal(quarantine_keep(q, items, 1, 5, NULL), 0);
    assert_true(items[0].again);
    assert_open(q, 2, 2 * strlen(EVENT));
    quarantine_close(q);
}

static void test_filters_and_cursor(void **state) {
    struct quarantine *q = open_at(*state, NULL);
    struct quarantine_item items[10];
    for (uint64_t i = 0; i < 10; i++) {
        items[i] = item(i + 1, i % 2 ? "{\"type\":\"identify\",\"anonymousId\":17}" : EVENT);
        items[i].source = (int64_t)i % 3;
    }
    items[4].reasons = STR("[{\"code\":\"missing_property\"}]");
    assert_int_equal(quarantine_keep(q, items, 10, 5, NULL), 0);
    struct quarantine_filter f = ALL;
    f.name = STR("identify");
    struct seen s = list(q, f);
    assert_int_equal(s.n, 5);
    assert_string_equal(s.user, "17");
    f = ALL;
    f.code = STR("missing_property");
    assert_int_equal(list(q, f).n, 1);
    f = ALL;
    f.source = 1;
    assert_int_equal(list(q, f).n, 3);
    f = ALL;
    f.limit = 4;
    uint32_t total = 0;
    for (uint32_t n = 4; n == 4; total += n) {
        s = list(q, f);
        n = s.n;
        if (n) f.after = s.ids[n - 1];
    }
    assert_int_equal(total, 10);
    quarantine_close(q);
}

static void test_full(void **state) {
    const struct quarantine_limits limits = {.events = 3};
    struct quarantine *q = open_at(*state, &limits);
    struct keel_error err;
    struct quarantine_item items[4] = {item(1, EVENT), item(2, EVENT), item(3, EVENT),
                                       item(4, EVENT)};
    assert_int_equal(quarantine_keep(q, items, 4, 5, &err), -KEEL_E_LIMIT);
    assert_string_equal(err.message,
                        "the quarantine is full (3 events, 1073741824 bytes): replay or "
                        "discard what it holds");
    assert_open(q, 0, 0); /* all or nothing */
    assert_int_equal(quarantine_keep(q, items, 3, 5, &err), 0);
    assert_int_equal(quarantine_keep(q, &items[3], 1, 5, &err), -KEEL_E_LIMIT);
    assert_int_equal(quarantine_keep(q, items, 3, 5, &err), 0); /* what is here needs no room */
    uint64_t n;
    struct quarantine_filter f = ALL;
    f.limit = 1;
    assert_int_equal(quarantine_discard(q, &f, 6, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(quarantine_keep(q, &items[3], 1, 7, &err), 0);
    assert_int_equal(quarantine_keep(q, items, 1, 7, &err), 0); /* its stone is still there */
    assert_true(items[0].again);
    assert_open(q, 3, 3 * strlen(EVENT));
    quarantine_close(q);
}

static void assert_document(struct quarantine_row row, const char *expected) {
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_int_equal(quarantine_document(&row, &b), 0);
    assert_int_equal(b.n, strlen(expected));
    assert_memory_equal(b.p, expected, b.n);
    buf_release(&b);
}

static void test_documents(void **state) {
    (void)state;
    struct quarantine_row row = {
        .type = SEGMENT_ANY_TYPE, .json = STR("{\"a\":1}"), .envelope = STR("")};
    assert_document(row, "{\"a\":1}");
    row.type = EVENT_TRACK;
    assert_document(row, "{\"type\":\"track\",\"a\":1}");
    row.json = STR(" { } ");
    assert_document(row, "{\"type\":\"track\"}");
    row.json = STR("{\"a\":1}");
    row.envelope = STR("\"sentAt\":\"x\"");
    assert_document(row, "{\"batch\":[{\"type\":\"track\",\"a\":1}],\"sentAt\":\"x\"}");
}

struct taking {
    uint32_t calls, fail_at;
};

static int take(void *ctx, const struct quarantine_row *row, struct str document,
                struct keel_error *err) {
    struct taking *t = ctx;
    assert_true(document.p[document.n] == '\n');
    if (++t->calls == t->fail_at) FAIL(err, IO, "the disk is on fire");
    return row->id % 3 == 0   ? QUARANTINE_STILL
           : row->id % 3 == 1 ? QUARANTINE_TAKEN
                              : QUARANTINE_DUPLICATE;
}

static void test_replay(void **state) {
    struct quarantine *q = open_at(*state, NULL);
    struct quarantine_item items[90];
    struct quarantine_counts counts;
    struct keel_error err;
    for (uint64_t i = 0; i < 90; i++) items[i] = item(i + 1, EVENT);
    assert_int_equal(quarantine_keep(q, items, 90, 5, NULL), 0);
    struct taking t = {.fail_at = 71}; /* in the second page */
    assert_int_equal(quarantine_replay(q, &ALL, take, &t, 6, &counts, &err), -KEEL_E_IO);
    assert_int_equal(counts.of[QUARANTINE_TAKEN] + counts.of[QUARANTINE_DUPLICATE] +
                         counts.of[QUARANTINE_STILL],
                     70);
    assert_open(q, 90 - 47, (90 - 47) * strlen(EVENT)); /* 23 of 70 stay */
    t = (struct taking){0};
    assert_int_equal(quarantine_replay(q, &ALL, take, &t, 7, &counts, &err), 0);
    assert_int_equal(t.calls, 43); /* what was marked is not taken again */
    assert_open(q, 30, 30 * strlen(EVENT));
    struct quarantine_filter f = ALL;
    f.state = QUARANTINE_REPLAYED;
    f.limit = 100;
    struct seen s = list(q, f);
    assert_int_equal(s.n, 60);
    assert_int_equal(s.json_bytes, 0);
    assert_int_equal(quarantine_sweep(q, 8 + (int64_t)31 * 86400000, NULL), 0);
    assert_int_equal(list(q, f).n, 0);
    quarantine_close(q);
}

/* ---- kill -9 ---- */

enum { GROUP = 5 };

static void keep_and_say(const struct place *p, int out, uint64_t from) {
    struct quarantine *q = open_at(p, NULL);
    for (uint64_t i = from;; i += GROUP) {
        struct quarantine_item items[GROUP];
        for (uint64_t k = 0; k < GROUP; k++) items[k] = item(i + k, EVENT);
        if (quarantine_keep(q, items, GROUP, 5, NULL) < 0) _exit(1);
        uint64_t kept = i + GROUP;
        if (write(out, &kept, sizeof kept) != sizeof kept) _exit(1);
    }
}

static void test_killed(void **state) {
    const struct place *p = *state;
    struct rand r;
    uint64_t kept = 1;
    rand_init(&r, 5);
    quarantine_close(open_at(p, NULL));
    for (int round = 0; round < 12; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) keep_and_say(p, ends[1], kept);
        close(ends[1]);
        uint64_t said = 0, groups = 1 + rand_below(&r, 20); /* killed while it works on the next */
        for (uint64_t i = 0; i < groups; i++)
            assert_int_equal(read(ends[0], &said, sizeof said), sizeof said);
        usleep(rand_below(&r, 2000));
        kill(child, SIGKILL);
        while (read(ends[0], &said, sizeof said) == sizeof said) continue; /* said before it died */
        waitpid(child, NULL, 0);
        close(ends[0]);
        struct quarantine *q = open_at(p, NULL);
        struct quarantine_stats s;
        assert_int_equal(quarantine_stats(q, &s, NULL), 0);
        assert_true(s.open >= said - 1);     /* all that was said */
        assert_int_equal(s.open % GROUP, 0); /* groups are whole */
        assert_true(s.open <= said - 1 + GROUP);
        kept = said;
        quarantine_close(q);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_filters_and_cursor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_documents, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
