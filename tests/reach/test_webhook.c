/* Webhooks against a receiver that answers well, fails, hangs, is busy, slow or gone; with the
 * process killed in the middle; and with addresses that must not be reached.
 * ctest: timeout=900
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/net.h"
#include "base/os.h"
#include "fault_os.h"
#include "reach/webhook.h"
#include "receiver.h"

enum { PATH_BYTES = TEMP_PATH_MAX + 64, PATIENCE_S = 300 };

struct world {
    char dir[TEMP_PATH_MAX];
    struct db *db;
    struct sql *desk;
    struct webhooks *hooks;
    struct receiver *receiver;
    struct webhooks_options options;
    uint32_t next; /* event */
};

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void open_db(struct world *w, bool create) {
    struct keel_error err;
    char path[PATH_BYTES];
    struct db_options options = {
        .time_zone = STR("UTC"),
        .currency = STR("EUR"),
        .store = {.create = create, .head_rows = 400, .journal = {.file_bytes = 16384}}};
    must(db_open(w->dir, &options, &w->db, &err), &err);
    snprintf(path, sizeof path, "%s/desk.db", w->dir);
    must(sql_open(path, SQL_CREATE, &w->desk, &err), &err);
    must(webhook_tables(w->desk, &err), &err);
}

static void close_db(struct world *w) {
    struct keel_error err;
    webhooks_close(w->hooks);
    w->hooks = NULL;
    sql_close(w->desk);
    w->desk = NULL;
    if (w->db) must(db_close(w->db, &err), &err);
    w->db = NULL;
}

static int setup(void **state) {
    struct world *w = test_calloc(1, sizeof *w);
    temp_make(w->dir);
    open_db(w, true);
    w->receiver = receiver_start();
    w->options = (struct webhooks_options){.dir = w->dir,
                                           .allow_private = true,
                                           .base_ms = 40,
                                           .give_up_ms = 600000,
                                           .pause_ms = 50,
                                           .timeout_ms = 4000};
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    close_db(w);
    receiver_stop(w->receiver);
    temp_remove(w->dir);
    test_free(w);
    return 0;
}

static int copy_secret(void *ctx, const struct webhook_row *row) {
    snprintf(ctx, 128, "%.*s", STR_ARG(row->secret));
    return 0;
}

static int64_t add_hook(struct world *w, const char *path, const char *events) {
    struct keel_error err;
    char url[128], secret[128];
    int64_t id;
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", receiver_port(w->receiver), path);
    struct webhook_wish wish = {.events = str_from(events)};
    must(webhook_add(w->desk, str_from(url), &wish, now_ms(), &id, &err), &err);
    must(webhook_list(w->desk, id, copy_secret, secret, &err), &err);
    receiver_secret(w->receiver, secret);
    return id;
}

static void start(struct world *w) {
    struct keel_error err;
    w->options.db = w->db;
    must(webhooks_open(&w->options, &w->hooks, &err), &err);
}

/* A batch of n events: "Order Completed" and "Page Seen" in turn, numbered on. */
static void ingest(struct world *w, uint32_t first, uint32_t n) {
    struct keel_error err;
    struct batch_writer writer;
    struct ingest_counts counts = {0};
    struct buf batch;
    batch_writer_init(&writer);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t i = first; i < first + n; i++) {
        char id[32];
        int m = snprintf(id, sizeof id, "m%u", i);
        struct event_head head = {.type = EVENT_TRACK,
                                  .time_ms = 1700000000000 + i,
                                  .key = event_key_of((struct str){id, (size_t)m}),
                                  .name = i % 2 ? STR("Page Seen") : STR("Order Completed"),
                                  .user_id = STR("u1"),
                                  .anonymous_id = STR(""),
                                  .related_id = STR("")};
        event_begin(&writer, &head);
        event_number(&writer, SCOPE_PROPERTY, STR("number"), i);
        event_string(&writer, SCOPE_CONTEXT, STR("page.url"), STR("https://shop.example/"));
        assert_null(event_end(&writer));
    }
    must(batch_finish(&writer, &batch, &err), &err);
    must(db_ingest(w->db, buf_str(&batch), &counts, &err), &err);
    buf_release(&batch);
    batch_writer_release(&writer);
}

static void more(struct world *w, uint32_t n) {
    ingest(w, w->next, n);
    w->next += n;
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until_ = monotonic_us() + (int64_t)PATIENCE_S * 1000000;                           \
        while (!(condition) && monotonic_us() < until_) usleep(2000);                              \
        assert_true(condition);                                                                    \
    } while (0)

struct numbers {
    uint8_t seen[RECEIVER_IDS];
    unsigned n;
};

static void note_number(void *ctx, const char *body) {
    struct numbers *numbers = ctx;
    const char *at = strstr(body, "\"number\":");
    assert_non_null(at);
    unsigned i = (unsigned)strtoul(at + 9, NULL, 10);
    assert_true(i < RECEIVER_IDS);
    assert_int_equal(numbers->seen[i], 0);
    numbers->seen[i] = 1;
    numbers->n++;
}

static struct webhook_row row;
static int copy_row(void *ctx, const struct webhook_row *found) {
    (void)ctx;
    row = *found;
    return 0;
}

static struct webhook_row look(struct world *w, int64_t id) {
    struct keel_error err;
    must(webhook_list(w->desk, id, copy_row, NULL, &err), &err);
    return row;
}

static void first_body(void *ctx, const char *body) {
    if (!*(char *)ctx) snprintf(ctx, 1024, "%s", body);
}

static void test_delivers(void **state) {
    struct world *w = *state;
    char body[1024] = "";
    more(w, 4); /* before the subscription */
    add_hook(w, "/ok", "Order Completed\nOther");
    start(w);
    more(w, 1000);
    ingest(w, 4, 1000); /* sent again by the SDK: accepted once */
    WAIT_FOR(receiver_ids(w->receiver) == 500);
    struct numbers *numbers = test_calloc(1, sizeof *numbers);
    receiver_each(w->receiver, note_number, numbers);
    for (uint32_t i = 0; i < 1010; i++)
        assert_int_equal(numbers->seen[i], i >= 4 && i < 1004 && i % 2 == 0);
    test_free(numbers);
    receiver_each(w->receiver, first_body, body);
    assert_non_null(strstr(body, "{\"type\":\"track\",\"messageId\":\"evt_"));
    assert_non_null(strstr(body, "\"userId\":\"u1\",\"event\":\"Order Completed\""));
    assert_non_null(strstr(body, "\"context\":{\"page\":{\"url\":\"https://shop.example/\"}}"));
    assert_int_equal(receiver_bad_signatures(w->receiver), 0);
    assert_true(receiver_most_at_once(w->receiver) <= WEBHOOK_PARALLEL);
    assert_int_equal(receiver_requests(w->receiver), 500);
}

static void test_retries(void **state) {
    struct world *w = *state;
    int64_t id = add_hook(w, "/flaky", "");
    start(w);
    more(w, 12);
    WAIT_FOR(receiver_ids(w->receiver) == 12);
    assert_int_equal(receiver_requests(w->receiver), 24);
    WAIT_FOR(look(w, id).delivered == 12);
    assert_int_equal(row.retrying, 0);
    assert_int_equal(row.dead, 0);
    assert_int_equal(row.failed, 12);
    assert_int_equal(receiver_bad_signatures(w->receiver), 0);
}

/* While the receiver is down it is asked rarely; nothing is lost, not even by trims of the journal.
 */
static void test_breaker(void **state) {
    struct world *w = *state;
    struct keel_error err;
    struct webhooks_stats stats;
    w->options.pause_ms = 400;
    int64_t id = add_hook(w, "/down", "");
    start(w);
    for (int i = 0; i < 20; i++) more(w, 50);
    must(db_flush(w->db, &err), &err); /* would trim the journal */
    WAIT_FOR((webhooks_stats(w->hooks, &stats), stats.paused_endpoints == 1));
    unsigned asked = receiver_requests(w->receiver);
    assert_true(asked < WEBHOOK_BREAK_AFTER + WEBHOOK_PARALLEL + 2);
    receiver_up(w->receiver, true);
    WAIT_FOR(receiver_ids(w->receiver) == 1000);
    WAIT_FOR((webhooks_stats(w->hooks, &stats), stats.paused_endpoints == 0));
    struct journal *j = store_get_journal(db_store(w->db));
    for (int i = 0; i < 2; i++) { /* the cursor moves, then what is before it may go */
        WAIT_FOR(look(w, id).delivered == w->next);
        must(db_flush(w->db, &err), &err);
        more(w, 1);
    }
    assert_true(journal_position(j) - journal_first(j) < 65536);
}

static void test_busy_and_slow(void **state) {
    struct world *w = *state;
    add_hook(w, "/busy", "");
    start(w);
    int64_t before = monotonic_us();
    more(w, 1);
    WAIT_FOR(receiver_ids(w->receiver) == 1);
    assert_true(monotonic_us() - before >= 1000000); /* Retry-After: 1 */
    int64_t id = add_hook(w, "/slow", "Page Seen");
    WAIT_FOR((more(w, 20), look(w, id).delivered > 40)); /* added while it runs */
    assert_true(receiver_most_at_once(w->receiver) > 2);
    assert_true(receiver_most_at_once(w->receiver) <= 2 * WEBHOOK_PARALLEL); /* of two webhooks */
}

static void test_gone_and_bad(void **state) {
    struct world *w = *state;
    struct keel_error err;
    int64_t count;
    w->options.give_up_ms = 1500;
    int64_t gone = add_hook(w, "/gone", ""), bad = add_hook(w, "/bad", "");
    int64_t away = add_hook(w, "/redirect", "");
    start(w);
    more(w, 3);
    WAIT_FOR(look(w, gone).state == WEBHOOK_GONE);
    assert_true(row.dead >= 1);
    WAIT_FOR(look(w, bad).dead == 3);
    assert_int_equal(row.state, WEBHOOK_ON);
    WAIT_FOR(look(w, away).dead == 3);
    assert_int_equal(receiver_ids(w->receiver), 0);
    must(sql_run(w->desk, &err, "UPDATE webhook SET url = replace(url, '/bad', '/ok') WHERE id = ?",
                 "i", bad),
         &err);
    must(webhook_replay(w->desk, bad, 0, now_ms(), &count, &err), &err);
    assert_int_equal(count, 3);
    WAIT_FOR(look(w, bad).delivered == 3);
    assert_int_equal(row.dead, 0);
    assert_int_equal(webhook_replay(w->desk, bad, 77, now_ms(), &count, &err), -KEEL_E_NOT_FOUND);
}

static void test_hang(void **state) {
    struct world *w = *state;
    w->options.timeout_ms = 200;
    int64_t hang = add_hook(w, "/hang", "");
    int64_t ok = add_hook(w, "/ok", "");
    start(w);
    more(w, 30);
    WAIT_FOR(look(w, ok).delivered == 30); /* one that hangs does not hold up another */
    WAIT_FOR(look(w, hang).failed > 0);
    assert_int_equal(row.delivered, 0);
}

/* Neither an endpoint that refuses everything nor a dead one stops itself or others for good. */
static void test_many_refusals(void **state) {
    enum { EVENTS = 600, ROWS = 40 };
    struct world *w = *state;
    w->options.base_ms = 3600000; /* hardly a second try within this test */
    w->options.retry_rows = ROWS;
    int64_t bad = add_hook(w, "/bad", ""), ok = add_hook(w, "/ok", "");
    int64_t down = add_hook(w, "/down", "");
    start(w);
    for (int i = 0; i < 6; i++) more(w, EVENTS / 6);
    WAIT_FOR(look(w, ok).delivered == EVENTS);
    WAIT_FOR(look(w, bad).failed >= EVENTS); /* each was offered; one or two again, by chance */
    WAIT_FOR(look(w, bad).retrying <= ROWS + WEBHOOK_WINDOW);
    WAIT_FOR(look(w, bad).dead + row.retrying == EVENTS);
    assert_true(row.dead >= EVENTS - ROWS - WEBHOOK_WINDOW);
    assert_int_equal(look(w, down).dead, 0);
    assert_int_equal(row.delivered, 0);
    assert_true(row.failed < EVENTS / 2); /* left alone: its events wait in the journal */
}

/* The journal ends before the cursor, as behind a restore: the cursor goes back before anything can
 * come, so that nothing that comes counts as read. */
static void test_cursor_beyond_the_journal(void **state) {
    struct world *w = *state;
    struct keel_error err;
    int64_t position;
    int64_t id = add_hook(w, "/ok", "");
    start(w);
    more(w, 5);
    WAIT_FOR(look(w, id).delivered == 5);
    close_db(w);
    open_db(w, false);
    must(sql_run(w->desk, &err, "UPDATE webhook SET position = position + 1000", ""), &err);
    start(w);
    must(sql_number(w->desk, 0, &position, &err, "SELECT position FROM webhook", ""), &err);
    assert_int_equal(position, journal_durable(store_get_journal(db_store(w->db))));
    more(w, 40); /* beyond where the cursor stood */
    WAIT_FOR(receiver_ids(w->receiver) == 5 + 40);
}

/* ---- kill -9 ---- */

static void child(struct world *w, int pipe_fd) {
    open_db(w, false);
    start(w);
    for (;;) {
        more(w, 7);
        if (write(pipe_fd, &w->next, sizeof w->next) != sizeof w->next) _exit(1);
        usleep(1500);
    }
}

/* What was acknowledged reaches the receiver, whenever the sender dies. */
static void test_killed(void **state) {
    struct world *w = *state;
    uint32_t acknowledged = 0;
    add_hook(w, "/ok", "");
    start(w); /* its cursor begins here */
    close_db(w);
    for (int round = 0; round < 6; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        w->next = acknowledged + (round ? 1000 * (uint32_t)round - acknowledged % 1000 : 0);
        uint32_t first = w->next;
        pid_t pid = fork();
        if (pid == 0) {
            close(ends[0]);
            child(w, ends[1]);
        }
        close(ends[1]);
        uint32_t count = 0, got = first;
        while (count < 30 + 17 * (uint32_t)round &&
               read(ends[0], &got, sizeof got) == (ssize_t)sizeof got)
            count++;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        while (read(ends[0], &got, sizeof got) == (ssize_t)sizeof got) /* what it had said */
            ;
        close(ends[0]);
        acknowledged = got;
        open_db(w, false);
        start(w);
        struct numbers *numbers = test_calloc(1, sizeof *numbers);
        bool all = false;
        for (int64_t until = monotonic_us() + (int64_t)PATIENCE_S * 1000000;
             !all && monotonic_us() < until;) {
            memset(numbers, 0, sizeof *numbers);
            receiver_each(w->receiver, note_number, numbers);
            all = true;
            for (uint32_t i = first; i < acknowledged && all; i++) all = numbers->seen[i];
            if (!all) usleep(5000);
        }
        if (!all) fail_msg("round %d: an acknowledged event was not sent", round);
        test_free(numbers);
        close_db(w);
    }
    print_message("%u events, %u requests: %u sent again\n", receiver_ids(w->receiver),
                  receiver_requests(w->receiver),
                  receiver_requests(w->receiver) - receiver_ids(w->receiver));
}

/* ---- addresses ---- */

static bool is_private(const char *text) {
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return net_is_private((const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return net_is_private((const struct sockaddr *)&v6);
}

static void test_addresses(void **state) {
    (void)state;
    static const char *const refused[] = {"0.0.0.0",
                                          "10.1.2.3",
                                          "100.64.0.1",
                                          "127.0.0.1",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.168.1.1",
                                          "192.0.0.8",
                                          "198.18.0.1",
                                          "224.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "fe80::1",
                                          "fc00::1",
                                          "fd12::1",
                                          "ff02::1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::7f00:1",
                                          "2002:7f00:1::",
                                          "::7f00:1",
                                          "2001:db8::1"};
    static const char *const fine[] = {"1.1.1.1",        "9.255.255.255",   "11.0.0.0",
                                       "100.128.0.1",    "172.15.0.1",      "172.32.0.1",
                                       "192.169.0.1",    "223.255.255.1",   "2606:4700::1111",
                                       "::ffff:1.1.1.1", "64:ff9b::101:101"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!is_private(refused[i])) fail_msg("%s is not refused", refused[i]);
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        if (is_private(fine[i])) fail_msg("%s is refused", fine[i]);
}

static int put_json(void *ctx, const struct webhook_row *told) {
    webhook_json(told, ctx);
    return 0;
}

static void test_private_refused(void **state) {
    struct world *w = *state;
    struct keel_error err;
    long status;
    int64_t id = add_hook(w, "/ok", "");
    w->options.allow_private = false;
    start(w);
    more(w, 2);
    WAIT_FOR(look(w, id).failed > 0);
    assert_int_equal(receiver_requests(w->receiver), 0);
    assert_int_equal(webhook_test(w->desk, id, false, &status, &err), -KEEL_E_IO);
    assert_non_null(strstr(err.message, "private"));
    must(webhook_test(w->desk, id, true, &status, &err), &err);
    assert_int_equal(status, 200);
    assert_int_equal(receiver_bad_signatures(w->receiver), 0);
    static const char *const bad[] = {"ftp://x.example/",
                                      "x.example",
                                      "file:///etc/passwd",
                                      "",
                                      "https://user:word@x.example/",
                                      "https://x.example/\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(
            webhook_add(w->desk, str_from(bad[i]), &(struct webhook_wish){0}, 0, &id, &err),
            -KEEL_E_INVALID);
    const struct webhook_wish wrong[] = {{.events = STR("A\nB\xff")},
                                         {.events = STR("A"), .segments = STR("1, x")},
                                         {.events = STR("A"), .segments = STR("-1")}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(webhook_add(w->desk, STR("https://x.example/"), &wrong[i], 0, &id, &err),
                         -KEEL_E_INVALID);
    /* However a number was written, it is told as JSON has numbers. */
    struct buf events;
    buf_init(&events, WEBHOOK_EVENTS_MAX);
    must(webhook_add_names(&events, STR(" A,,B ,"), &err), &err);
    must(webhook_add_name(&events, STR("C, or D"), &err), &err);
    assert_int_equal(webhook_add_name(&events, STR("E\nF"), &err), -KEEL_E_INVALID);
    assert_int_equal(webhook_add_name(&events, STR(""), &err), -KEEL_E_INVALID);
    struct webhook_wish odd = {.events = buf_str(&events), .segments = STR("007, +8,")};
    must(webhook_add(w->desk, STR("https://x.example/"), &odd, 0, &id, &err), &err);
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(webhook_list(w->desk, id, put_json, &text, &err), 0);
    assert_true(str_contains(buf_str(&text),
                             STR("\"events\":[\"A\",\"B\",\"C, or D\"],\"segments\":[7,8]")));
    buf_release(&text);
    buf_release(&events);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_delivers),       TEST(test_retries),
        TEST(test_breaker),        TEST(test_busy_and_slow),
        TEST(test_gone_and_bad),   TEST(test_hang),
        TEST(test_many_refusals),  TEST(test_cursor_beyond_the_journal),
        TEST(test_killed),         cmocka_unit_test(test_addresses),
        TEST(test_private_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
