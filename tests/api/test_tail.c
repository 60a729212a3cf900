/* The live tail: rings that wrap, what idle sources skip, slow listeners, filters, masking,
 * closing. Listeners are real ones: a server on a free port, read through a socket. */
#include "api/collect/tail.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/os.h"

struct world {
    char dir[64], path[96];
    struct sql *desk;
    struct plan *plan;
    struct tail *tail;
    struct server *server;
    struct tail_filter filter; /* of the next listener */
};

static int follow(struct request *r, void *ctx, struct keel_error *err) {
    struct world *w = ctx;
    struct reply_stream *s = request_stream(r, TAIL_MAX_WAITING);
    int code = tail_listen(w->tail, &w->filter, s, err);
    if (code < 0) stream_close(s);
    return 0;
}

static const struct route ROUTES_HERE[] = {
    {.methods = HTTP_GET, .pattern = "/tail", .handle = follow, .right = RIGHT_PUBLIC},
    {0},
};

static int set_up(void **state) {
    static const struct route *const tables[] = {ROUTES_HERE, NULL};
    struct world *w = calloc(1, sizeof *w);
    struct keel_error err;
    snprintf(w->dir, sizeof w->dir, "/tmp/keel-tail-XXXXXX");
    if (!mkdtemp(w->dir)) return -1;
    snprintf(w->path, sizeof w->path, "%s/desk.db", w->dir);
    *state = w;
    if (sql_open(w->path, SQL_CREATE, &w->desk, NULL) < 0) return -1;
    if (plan_open(w->desk, &w->plan, NULL) < 0) return -1;
    if (tail_open(w->plan, NULL, &w->tail, NULL) < 0) return -1;
    const struct server_options options = {.listen = STR("127.0.0.1:0"), .threads = 1};
    return server_start(&options, tables, w, &w->server, &err);
}

static int tear_down(void **state) {
    struct world *w = *state;
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[128];
    tail_close(w->tail);
    assert_true(server_stop(w->server, 1000));
    plan_close(w->plan);
    sql_close(w->desk);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", w->path, ends[i]);
        unlink(path);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

/* ---- a client ---- */

struct client_end {
    int fd;
    char text[1 << 20];
    size_t n, at; /* what was read; where the next line starts */
};

static struct client_end *listen_to(struct world *w, struct tail_filter filter) {
    static const char ask[] = "GET /tail HTTP/1.0\r\nHost: x\r\n\r\n";
    struct client_end *c = calloc(1, sizeof *c);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server_port(w->server))};
    struct timeval patience = {.tv_sec = 20};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->filter = filter;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(c->fd, ask, sizeof ask - 1), sizeof ask - 1);
    while (!strstr(c->text, "\r\n\r\n")) {
        ssize_t got = read(c->fd, c->text + c->n, 1);
        assert_int_equal(got, 1);
        c->n++;
    }
    assert_non_null(strstr(c->text, "200 OK"));
    c->n = 0;
    memset(c->text, 0, sizeof c->text);
    return c;
}

/* The data of the next message, valid until the next call; its kind in *kind. NULL: ended. */
static const char *next_message(struct client_end *c, char *kind) {
    static char data[1 << 16];
    for (;;) {
        char *start = strstr(c->text + c->at, "event: ");
        char *end = start ? strstr(start, "\n\n") : NULL;
        if (end) {
            char *from = strstr(start, "data: ");
            snprintf(kind, 16, "%.*s", (int)strcspn(start + 7, "\n"), start + 7);
            snprintf(data, sizeof data, "%.*s", (int)(end - from - 6), from + 6);
            c->at = (size_t)(end - c->text) + 2;
            return data;
        }
        if (c->n + 4096 > sizeof c->text) {
            memmove(c->text, c->text + c->at, c->n - c->at);
            c->n -= c->at;
            c->at = 0;
            memset(c->text + c->n, 0, sizeof c->text - c->n);
        }
        ssize_t got = read(c->fd, c->text + c->n, 4000);
        if (got <= 0) return NULL;
        c->n += (size_t)got;
    }
}

static void hang_up(struct client_end *c) {
    close(c->fd);
    free(c);
}

/* ---- tests ---- */

static struct tail_entry entry(enum fate_kind fate, const char *json) {
    return (struct tail_entry){
        .fate = fate, .type = -1, .reason = STR(""), .details = STR(""), .json = str_from(json)};
}

static const struct tail_filter EVERYTHING = {.source = -1, .history = 100};

static void test_shown(void **state) {
    struct world *w = *state;
    char kind[16];
    struct tail_entry e[2] = {
        entry(FATE_QUARANTINED,
              "{\"type\":\"track\",\"event\":\"Order Completed\",\"userId\":\"u1\","
              "\"messageId\":\"m\",\"properties\":{\"email\":\"a@b.example\"}}"),
        entry(FATE_ACCEPTED, "{\"userId\":\"c@d.example\",\"traits\":{\"name\":\"Ann\"}}")};
    e[0].reason = STR("against the tracking plan");
    e[0].details = STR("[{\"code\":\"missing_property\"}]");
    e[1].type = EVENT_IDENTIFY;
    e[1].repaired = true;
    e[1].details = (struct str){NULL, 0}; /* as the collector's items have it */
    tail_add(w->tail, 7, 1700000000000, e, 2);
    struct client_end *c = listen_to(w, EVERYTHING);
    assert_string_equal(
        next_message(c, kind),
        "{\"at\":\"2023-11-14T22:13:20Z\",\"source\":\"7\",\"fate\":\"quarantined\",\"type\":"
        "\"track\","
        "\"name\":\"Order Completed\",\"user\":\"u1\",\"message_id\":\"m\","
        "\"reason\":\"against the tracking plan\",\"details\":[{\"code\":\"missing_property\"}],"
        "\"json\":{\"type\":\"track\",\"event\":\"Order Completed\",\"userId\":\"u1\","
        "\"messageId\":\"m\",\"properties\":{\"email\":\"‹e-mail›\"}}}");
    assert_string_equal(kind, "event");
    assert_string_equal(next_message(c, kind),
                        "{\"at\":\"2023-11-14T22:13:20Z\",\"source\":\"7\",\"fate\":\"accepted\","
                        "\"repaired\":true,\"type\":\"identify\",\"user\":\"‹e-mail›\","
                        "\"json\":{\"userId\":\"‹e-mail›\",\"traits\":{\"name\":\"‹personal›\"}}}");
    tail_add(w->tail, 8, 1700000000000, e, 1); /* a source that comes while somebody listens */
    assert_non_null(strstr(next_message(c, kind), "\"source\":\"8\""));
    hang_up(c);
}

static void test_filters(void **state) {
    struct world *w = *state;
    char kind[16], json[128];
    struct tail_filter filters[4] = {{.source = 1, .history = 9},
                                     {.source = -1, .fates = 1u << FATE_REFUSED, .history = 9},
                                     {.source = -1, .event = "B", .history = 9},
                                     {.source = -1, .user = "u2", .history = 9}};
    static const char *const expected[4] = {"\"messageId\":\"1-0\"", "\"messageId\":\"0-2\"",
                                            "\"messageId\":\"0-1\"", "\"messageId\":\"0-2\""};
    for (int source = 0; source < 2; source++)
        for (int i = 0; i < 3; i++) {
            snprintf(json, sizeof json,
                     "{\"event\":\"%c\",\"anonymousId\":\"u%d\",\"messageId\":\"%d-%d\"}", 'A' + i,
                     i, source, i);
            struct tail_entry e = entry(i == 2 ? FATE_REFUSED : FATE_ACCEPTED, json);
            tail_add(w->tail, source, 1700000000000, &e, 1);
        }
    for (int i = 0; i < 4; i++) {
        struct client_end *c = listen_to(w, filters[i]);
        assert_non_null(strstr(next_message(c, kind), expected[i]));
        hang_up(c);
    }
    struct tail_filter last = {.source = 1, .history = 1};
    struct client_end *c = listen_to(w, last);
    assert_non_null(strstr(next_message(c, kind), "\"messageId\":\"1-2\""));
    hang_up(c);
}

static void test_idle_source_skips(void **state) {
    struct world *w = *state;
    char kind[16], json[64];
    int64_t lost = 0, shown = 0, n;
    struct json_parser *parser = json_parser_new(1 << 16);
    struct json_value root;
    for (int i = 0; i < 3 * TAIL_IDLE_PER_SECOND; i++) {
        snprintf(json, sizeof json, "{\"messageId\":\"%d\"}", i);
        struct tail_entry e = entry(FATE_ACCEPTED, json);
        tail_add(w->tail, 1, 1700000000000, &e, 1);
    }
    struct tail_filter all = {.source = 1, .history = TAIL_MAX_HISTORY};
    struct client_end *c = listen_to(w, all);
    struct tail_entry end = entry(FATE_ACCEPTED, "{\"messageId\":\"end\"}");
    tail_add(w->tail, 1, 1700000000000, &end, 1); /* somebody listens: no allowance is asked */
    for (;;) {
        const char *m = next_message(c, kind);
        assert_non_null(m);
        assert_int_equal(json_parse(parser, str_from(m), &root, NULL), 0);
        if (strcmp(kind, "lost") == 0) {
            assert_true(json_i64(json_get(root, "lost"), &n));
            lost += n;
        } else if (strstr(m, "\"end\"")) {
            break;
        } else {
            shown++;
        }
    }
    assert_int_equal(shown, TAIL_IDLE_PER_SECOND);
    assert_int_equal(shown + lost, 3 * TAIL_IDLE_PER_SECOND);
    json_parser_free(parser);
    hang_up(c);
}

/* A client that does not read: the ring overtakes it; what it then reads adds up. */
static void test_slow_listener(void **state) {
    struct world *w = *state;
    enum { EVENTS = 20000, TEXT = 1000 };
    char kind[16], json[TEXT + 64];
    int64_t lost = 0, shown = 0, n;
    struct json_parser *parser = json_parser_new(1 << 16);
    struct json_value root;
    struct client_end *c = listen_to(w, (struct tail_filter){.source = -1});
    char fill[TEXT + 1];
    memset(fill, 'x', TEXT);
    fill[TEXT] = 0;
    for (int i = 0; i < EVENTS; i++) {
        snprintf(json, sizeof json, "{\"messageId\":\"%d\",\"fill\":\"%.400s\"}", i, fill);
        struct tail_entry e = entry(FATE_ACCEPTED, json);
        tail_add(w->tail, 1, 1700000000000, &e, 1);
    }
    struct tail_entry end = entry(FATE_ACCEPTED, "{\"messageId\":\"end\"}");
    tail_add(w->tail, 1, 1700000000000, &end, 1);
    int64_t next = 0;
    for (;;) {
        const char *m = next_message(c, kind);
        assert_non_null(m);
        assert_int_equal(json_parse(parser, str_from(m), &root, NULL), 0);
        if (strcmp(kind, "lost") == 0) {
            assert_true(json_i64(json_get(root, "lost"), &n));
            lost += n;
            next += n;
            continue;
        }
        struct str id;
        assert_true(json_str(json_get(root, "message_id"), &id));
        if (str_is(id, "end")) break;
        assert_true(str_to_i64(id, &n) && n == next); /* in order, each once, gaps told */
        next++;
        shown++;
    }
    assert_true(lost > 0);
    assert_int_equal(shown + lost, EVENTS);
    json_parser_free(parser);
    hang_up(c);
}

static void test_large_and_cut(void **state) {
    struct world *w = *state;
    char kind[16];
    char *json = calloc(1, TAIL_MAX_JSON * 2);
    struct client_end *c = listen_to(w, (struct tail_filter){.source = -1});
    strcpy(json, "{\"messageId\":\"big\",\"a\":[");
    for (size_t n = strlen(json); n < TAIL_MAX_JSON + 100; n = strlen(json))
        strcat(json + n - 1, "1,2,3,");
    struct tail_entry e = entry(FATE_ACCEPTED, json);
    for (int i = 0; i < 200; i++) tail_add(w->tail, 1, 1700000000000, &e, 1); /* wraps */
    int shown = 0;
    while (shown < 5) {
        const char *m = next_message(c, kind);
        assert_non_null(m);
        if (strcmp(kind, "event") != 0) continue;
        assert_non_null(strstr(m, "\"message_id\":\"big\",\"cut\":true,\"json\":{"));
        shown++;
    }
    free(json);
    hang_up(c);
}

struct adding {
    struct tail *tail;
    atomic_bool *stop;
};

static void *add_all_the_time(void *ctx) {
    struct adding *a = ctx;
    for (int64_t i = 0; !atomic_load(a->stop); i++) {
        struct tail_entry e[3] = {entry(FATE_ACCEPTED, "{\"messageId\":\"m\"}"),
                                  entry(FATE_REFUSED, "{\"event\":\"E\"}"),
                                  entry(FATE_DUPLICATE, "{}")};
        tail_add(a->tail, i % 5, 1700000000000 + i, e, 3);
    }
    return NULL;
}

/* Adders, listeners that come and go, and the end, all at once. */
static void test_threads(void **state) {
    struct world *w = *state;
    atomic_bool stop = false;
    struct adding a = {w->tail, &stop};
    pthread_t ids[2];
    char kind[16];
    for (int i = 0; i < 2; i++) pthread_create(&ids[i], NULL, add_all_the_time, &a);
    for (int i = 0; i < 8; i++) {
        struct client_end *c =
            listen_to(w, (struct tail_filter){.source = i % 2 ? -1 : 3, .history = 5});
        for (int k = 0; k < 20; k++) assert_non_null(next_message(c, kind));
        hang_up(c);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) pthread_join(ids[i], NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_filters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle_source_skips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_listener, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_and_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
