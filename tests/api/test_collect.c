/* The pipeline: what becomes of events and what the sender is told, under load, with a plan that
 * refuses, with a full queue, with a disk that fails. ctest: timeout=120 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "collect_rig.h"

/* What the hooks saw. */
struct seen {
    _Atomic uint64_t fates[COLLECT_FATES], told, refused, kept, checked;
    _Atomic bool keep_fails;
    pthread_mutex_t gate; /* held by the test: keep() waits */
    char details[200];    /* of the last item that was kept  */
};

static void tell(void *ctx, const struct collect_outcome *o) {
    struct seen *seen = ctx;
    atomic_fetch_add(&seen->told, 1);
    if (o->refused) atomic_fetch_add(&seen->refused, 1);
    for (uint32_t i = 0; i < o->n; i++) {
        assert_true(!o->refused || o->items[i].fate == COLLECT_REFUSED);
        assert_true(o->items[i].fate == COLLECT_ACCEPTED || o->items[i].reason ||
                    o->items[i].fate == COLLECT_DUPLICATE);
        atomic_fetch_add(&seen->fates[o->items[i].fate], 1);
    }
}

/* The plan: no event is called "Bad". */
static bool check(void *ctx, const struct collect_event *e, struct buf *details) {
    struct seen *seen = ctx;
    struct event_view view = *e->view;
    struct field_view field;
    atomic_fetch_add(&seen->checked, 1);
    while (field_next(e->batch, &view, &field)) continue;
    assert_false(view.r.bad);
    assert_true(str_contains(e->text, e->view->head.name));
    if (!str_is(e->view->head.name, "Bad")) return true;
    (void)!buf_add_text(details, "[{\"code\":\"bad\"}]");
    return false;
}

static int keep(void *ctx, const struct collect_outcome *const *outcomes, uint32_t n,
                struct keel_error *err) {
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->gate);
    pthread_mutex_unlock(&seen->gate);
    if (atomic_load(&seen->keep_fails)) FAIL(err, IO, "the quarantine is not writable");
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < outcomes[k]->n; i++) {
            const struct collect_item *item = &outcomes[k]->items[i];
            if (item->fate != COLLECT_QUARANTINED) continue;
            assert_true(item->key.lo && item->text.n && item->reason && item->source);
            snprintf(seen->details, sizeof seen->details, "%.*s", STR_ARG(item->details));
            atomic_fetch_add(&seen->kept, 1);
        }
    return 0;
}

struct world {
    struct rig rig;
    struct seen seen;
    struct buf reply;
};

static int set_up(void **state) {
    struct world *w = k_zalloc(sizeof *w);
    rig_make(&w->rig);
    pthread_mutex_init(&w->seen.gate, NULL);
    buf_init(&w->reply, 1 << 20);
    w->rig.hooks =
        (struct collect_hooks){.ctx = &w->seen, .check = check, .keep = keep, .tell = tell};
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    rig_remove(&w->rig);
    pthread_mutex_destroy(&w->seen.gate);
    buf_release(&w->reply);
    k_free(w);
    return 0;
}

static int post(struct world *w, const char *body) {
    buf_clear(&w->reply);
    int status = rig_post(&w->rig, "/v1/batch", str_from(body), &w->reply);
    (void)!buf_add_char(&w->reply, '\0');
    return status;
}

static uint64_t rows(const struct world *w) {
    struct store_stats stats;
    store_stats(db_store(w->rig.app.db), &stats);
    return stats.rows;
}

#define EVENT(name, id)                                                                            \
    "{\"type\":\"track\",\"event\":\"" name "\",\"userId\":\"u\",\"messageId\":\"" id "\","        \
    "\"properties\":{\"x\":1}}"

/* ---- the plan ---- */

static void test_plan(void **state) {
    struct world *w = *state;
    rig_start(&w->rig);
    assert_int_equal(
        post(w,
             "{\"batch\":[" EVENT("Bad", "1") "," EVENT("Good", "2") "," EVENT(
                 "Bad", "3") ",{\"type\":\"none\"}," EVENT("Good",
                                                           "4") "," EVENT("Good",
                                                                          "2") "," EVENT("Bad",
                                                                                         "5") "]}"),
        200);
    assert_int_equal(rows(w), 2);
    assert_int_equal(w->seen.checked, 6);
    assert_int_equal(w->seen.kept, 4);
    assert_string_equal(w->seen.details, "[{\"code\":\"bad\"}]");
    assert_int_equal(w->seen.fates[COLLECT_ACCEPTED], 2);
    assert_int_equal(w->seen.fates[COLLECT_DUPLICATE], 1);
    assert_int_equal(w->seen.fates[COLLECT_QUARANTINED], 4);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Bad", "6") "]}"), 200); /* nothing to store */
    assert_int_equal(w->seen.kept, 5);
    assert_int_equal(rows(w), 2);
    /* What cannot be kept aside is not thanked for; sent again, its good part is known already. */
    atomic_store(&w->seen.keep_fails, true);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Bad", "7") "," EVENT("Good", "8") "]}"), 503);
    assert_non_null(strstr((char *)w->reply.p, "Retry-After: "));
    atomic_store(&w->seen.keep_fails, false);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Bad", "7") "," EVENT("Good", "8") "]}"), 200);
    assert_int_equal(w->seen.kept, 6);
    assert_int_equal(w->seen.fates[COLLECT_DUPLICATE], 2);
    assert_int_equal(rows(w), 3);
    rig_stop(&w->rig);
}

static void test_again(void **state) {
    struct world *w = *state;
    struct collect_counts counts = {0};
    struct keel_error err;
    rig_start(&w->rig);
    struct collector *c = w->rig.app.collector;
    const struct event_source *web = sources_by_name(w->rig.app.sources, STR("web"));
    struct str bad = STR(EVENT("Bad", "1"));
    const struct collect_past past = {
        .received_ms = 1000000,
        .client = {.address = STR(""), .user_agent = STR("")},
        .key = {.lo = 7},
    };
    assert_int_equal(collect_again(c, web, bad, &past, 0, &counts, &err), 0);
    assert_int_equal(counts.fates[COLLECT_QUARANTINED], 1);
    assert_int_equal(collect_again(c, web, bad, &past, COLLECT_UNCHECKED, &counts, &err), 0);
    assert_int_equal(counts.fates[COLLECT_ACCEPTED], 1);
    assert_int_equal(collect_again(c, web, bad, &past, COLLECT_UNCHECKED, &counts, &err), 0);
    assert_int_equal(counts.fates[COLLECT_DUPLICATE], 1);
    assert_int_equal(collect_again(c, web, STR("{"), &past, 0, &counts, &err), -KEEL_E_INVALID);
    assert_int_equal(rows(w), 1);
    rig_stop(&w->rig);
}

/* ---- back-pressure ---- */

enum { PATIENCE_US = 20000000 };

static void *post_held(void *ctx) {
    struct world *w = ctx;
    struct str body = STR("{\"batch\":[" EVENT("Bad", "1") "]}");
    return (void *)(intptr_t)rig_post(&w->rig, "/v1/batch", body, NULL);
}

static void test_full(void **state) {
    struct world *w = *state;
    struct collect_stats stats;
    pthread_t first;
    void *status;
    w->rig.options.max_queue_requests = 1;
    rig_start(&w->rig);
    pthread_mutex_lock(&w->seen.gate);
    assert_int_equal(pthread_create(&first, NULL, post_held, w), 0);
    int64_t end = monotonic_us() + PATIENCE_US;
    do collector_stats(w->rig.app.collector, &stats);
    while (stats.waiting_requests == 0 && monotonic_us() < end);
    assert_int_equal(stats.waiting_requests, 1);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Good", "2") "]}"), 503);
    assert_non_null(strstr((char *)w->reply.p, "Retry-After: 2"));
    assert_non_null(strstr((char *)w->reply.p, "X-RateLimit-Reset: 2"));
    assert_non_null(strstr((char *)w->reply.p, "\"code\":\"unavailable\""));
    pthread_mutex_unlock(&w->seen.gate);
    pthread_join(first, &status);
    assert_int_equal((intptr_t)status, 200);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Good", "2") "]}"), 200);
    collector_stats(w->rig.app.collector, &stats);
    assert_int_equal(stats.waiting_requests, 0);
    assert_int_equal(stats.waiting_bytes, 0);
    assert_int_equal(rows(w), 1);
    rig_stop(&w->rig);
}

/* ---- load ---- */

enum { THREADS = 6, POSTS = 60 };

struct sender {
    struct world *w;
    int number;
    unsigned failures;
};

static void *send_many(void *ctx) {
    struct sender *s = ctx;
    char body[600];
    for (int i = 0; i < POSTS; i++) {
        /* half of the messages are sent by two threads */
        int n =
            snprintf(body, sizeof body,
                     "[{\"type\":\"track\",\"event\":\"%s\",\"userId\":\"u%d\",\"messageId\":"
                     "\"%d-%d\"},{\"type\":\"page\",\"userId\":\"v\",\"messageId\":\"p%d-%d\"}]",
                     i % 5 ? "Good" : "Bad", i, s->number, i, s->number / 2, i);
        if (rig_post(&s->w->rig, "/v1/batch", (struct str){body, (size_t)n}, NULL) != 200)
            s->failures++;
    }
    return NULL;
}

static void test_load(void **state) {
    struct world *w = *state;
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    rig_start(&w->rig);
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.w = w, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(senders[i].failures, 0);
    }
    const uint64_t bad = THREADS * POSTS / 5, good = THREADS * POSTS - bad;
    assert_int_equal(w->seen.told, THREADS * POSTS);
    assert_int_equal(w->seen.refused, 0);
    assert_int_equal(w->seen.kept, bad);
    assert_int_equal(w->seen.fates[COLLECT_ACCEPTED], good + THREADS * POSTS / 2);
    assert_int_equal(w->seen.fates[COLLECT_DUPLICATE], THREADS * POSTS / 2);
    assert_int_equal(rows(w), w->seen.fates[COLLECT_ACCEPTED]);
    rig_stop(&w->rig);
}

/* ---- a disk that fails ---- */

static void test_failed_sync(void **state) {
    struct world *w = *state;
    struct keel_error err;
    fault_start();
    rig_start(&w->rig);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Good", "1") "]}"), 200);
    assert_int_equal(collector_ready(w->rig.app.collector, &err), 0);
    fault_fail(FAULT_FDATASYNC, 1, EIO, FAULT_ONCE);
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Good", "2") "]}"), 503);
    assert_true(fault_fired());
    assert_non_null(strstr((char *)w->reply.p, "\"success\":false"));
    assert_non_null(strstr((char *)w->reply.p, "Retry-After: "));
    /* The disk is fine again, but what it lost is unknown: nothing is taken until a restart. */
    assert_int_equal(post(w, "{\"batch\":[" EVENT("Good", "3") "]}"), 503);
    assert_int_equal(collector_ready(w->rig.app.collector, &err), -KEEL_E_BUSY);
    assert_non_null(strstr(err.message, "journal"));
    assert_int_equal(rig_send(&w->rig, STR("GET /readyz HTTP/1.0\r\n\r\n"), NULL), 503);
    assert_int_equal(w->seen.fates[COLLECT_ACCEPTED], 1);
    rig_stop(&w->rig);
    fault_stop();
    rig_start(&w->rig);
    assert_int_equal(
        post(w, "[" EVENT("Good", "1") "," EVENT("Good", "2") "," EVENT("Good", "3") "]"), 200);
    assert_int_equal(rows(w), 3);
    assert_int_equal(rig_send(&w->rig, STR("GET /readyz HTTP/1.0\r\n\r\n"), NULL), 200);
    rig_stop(&w->rig);
}

/* No part can be made: events are taken while there is room in memory, then refused, and taken
 * again by itself when flushes succeed. */
static void test_full_disk(void **state) {
    struct world *w = *state;
    struct keel_error err;
    char body[200];
    unsigned sent = 0;
    w->rig.head_rows = 2;
    fault_start();
    rig_start(&w->rig);
    fault_fail(FAULT_OPEN, 1, ENOSPC, FAULT_FOR_EVER);
    int status = 200;
    while (status == 200 && sent < 100) {
        assert_int_equal(collector_ready(w->rig.app.collector, &err), 0);
        snprintf(body, sizeof body, "[" EVENT("Good", "f%u") "]", ++sent);
        status = post(w, body);
    }
    assert_int_equal(status, 503);
    assert_in_range(sent, 5, 20); /* two heads */
    assert_non_null(strstr((char *)w->reply.p, "Retry-After: "));
    assert_int_equal(collector_ready(w->rig.app.collector, &err), -KEEL_E_BUSY);
    assert_non_null(strstr(err.message, "it is tried again"));
    assert_non_null(strstr(err.message, "No space left"));
    assert_int_equal(rows(w), sent - 1);
    fault_none();
    int64_t end = monotonic_us() + 60000000;
    while (collector_ready(w->rig.app.collector, NULL) < 0 && monotonic_us() < end) usleep(5000);
    assert_int_equal(post(w, body), 200);
    assert_int_equal(w->seen.fates[COLLECT_DUPLICATE], 0);
    assert_int_equal(rows(w), sent);
    rig_stop(&w->rig);
    fault_stop();
}

/* The journal finds no room: what was sent is refused, and taken when there is room, once. */
static void test_full_disk_under_the_journal(void **state) {
    struct world *w = *state;
    struct keel_error err;
    fault_start();
    rig_start(&w->rig);
    assert_int_equal(post(w, "[" EVENT("Good", "j1") "]"), 200);
    fault_fail(FAULT_PWRITE, 1, ENOSPC, FAULT_FOR_EVER);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(post(w, "[" EVENT("Good", "j2") "]"), 503);
        assert_non_null(strstr((char *)w->reply.p, "Retry-After: "));
    }
    assert_int_equal(collector_ready(w->rig.app.collector, &err), -KEEL_E_BUSY);
    assert_non_null(strstr(err.message, "No space left"));
    fault_none();
    int64_t end = monotonic_us() + 60000000;
    while (collector_ready(w->rig.app.collector, NULL) < 0 && monotonic_us() < end) usleep(5000);
    assert_int_equal(post(w, "[" EVENT("Good", "j2") "," EVENT("Good", "j3") "]"), 200);
    assert_int_equal(rows(w), 3);
    rig_stop(&w->rig);
    fault_stop();
    rig_start(&w->rig);
    assert_int_equal(rows(w), 3);
    rig_stop(&w->rig);
}

/* Whatever allocation fails, the answer is one that an SDK understands, and 200 is true. */
static void test_no_memory(void **state) {
    struct world *w = *state;
    char raw[600], body[400];
    unsigned fine = 0, busy = 0, failed = 0;
    rig_start(&w->rig);
    for (uint64_t n = 1; n <= 60; n++) {
        int bytes =
            snprintf(body, sizeof body, "[" EVENT("Good", "n%u") "," EVENT("Bad", "b%u") "]",
                     (unsigned)n, (unsigned)n);
        int all = snprintf(raw, sizeof raw,
                           "POST /v1/batch HTTP/1.0\r\nAuthorization: Bearer " RIG_KEY
                           "\r\nContent-Length: %d\r\n\r\n%s",
                           bytes, body);
        mem_fail_after(n);
        int status = rig_send(&w->rig, (struct str){raw, (size_t)all}, NULL);
        mem_fail_after(0);
        if (status == 200) fine++;
        if (status == 503) busy++;
        if (collector_ready(w->rig.app.collector, NULL) <
            0) { /* half applied: only a restart helps */
            assert_int_equal(status, 503);
            failed++;
            rig_stop(&w->rig);
            rig_start(&w->rig);
        }
        if (status != 200) assert_int_equal(post(w, body), 200);
    }
    print_message("%u answered, %u refused, %u restarts\n", fine, busy, failed);
    assert_true(fine > 0 && busy > 0);
    assert_int_equal(rows(w), 60);
    assert_true(w->seen.kept >= 60);
    rig_stop(&w->rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plan, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_sync, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk_under_the_journal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
