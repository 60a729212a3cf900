/* The HTTP server against clients that are slow, broken, greedy or many: a started server on
 * loopback and raw sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <libdeflate.h>
#include <pthread.h>

#include "api/server/server.h"
#include "base/os.h"
#include "http_client.h"

/* ---- the routes of the test ---- */

struct bench {
    _Atomic unsigned calls, finished;
    _Atomic unsigned connected; /* clients of ask_much */
    struct server *server;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct request *waiting[4096];
    unsigned n_waiting;
    bool hold, stop;
    struct reply_stream *stream;
};

static int echo(struct request *r, void *ctx, struct keel_error *err) {
    struct bench *b = ctx;
    (void)err;
    atomic_fetch_add(&b->calls, 1);
    assert_int_equal(r->body.p[r->body.n], '\n');
    for (unsigned i = 1; i < REQUEST_PADDING; i++) assert_int_equal(r->body.p[r->body.n + i], 0);
    r->reply.content_type = "text/plain";
    return buf_add_str(&r->reply.body, r->body);
}

static int parts(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx, (void)err;
    struct str q = STR("-");
    (void)request_param(r, "q", &q);
    return buf_printf(&r->reply.body, "%.*s|%.*s|%.*s|%s", STR_ARG(r->parts[0]),
                      STR_ARG(r->parts[1]), STR_ARG(q), r->local ? "local" : "far");
}

static int fails(struct request *r, void *ctx, struct keel_error *err) {
    (void)r, (void)ctx;
    FAIL(err, IO, "disk /secret/path is on fire");
}

static int headers(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx, (void)err;
    reply_header(r, "X-Given", request_header(r, "x-ASKED"));
    reply_header(r, "X-Evil", STR("a\r\nSet-Cookie: b"));
    return 0;
}

/* Finished by the threads of the test, or before it returns. */
static int later(struct request *r, void *ctx, struct keel_error *err) {
    struct bench *b = ctx;
    (void)err;
    unsigned n = atomic_fetch_add(&b->calls, 1);
    (void)!buf_add_str(&r->reply.body, r->body);
    if (n % 7 == 0 && !b->hold) {
        atomic_fetch_add(&b->finished, 1);
        request_finish(r);
        return REQUEST_LATER;
    }
    pthread_mutex_lock(&b->lock);
    assert_true(b->n_waiting < 4096);
    b->waiting[b->n_waiting++] = r;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    return REQUEST_LATER;
}

static int worker(struct request *r, void *ctx, struct keel_error *err) {
    struct bench *b = ctx;
    (void)err;
    atomic_fetch_add(&b->calls, 1);
    return buf_add_str(&r->reply.body, r->body);
}

static int events(struct request *r, void *ctx, struct keel_error *err) {
    struct bench *b = ctx;
    (void)err;
    pthread_mutex_lock(&b->lock);
    b->stream = request_stream(r, 1000);
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

/* Holds its thread up until the test lets go. */
static int block(struct request *r, void *ctx, struct keel_error *err) {
    struct bench *b = ctx;
    (void)r, (void)err;
    pthread_mutex_lock(&b->lock);
    b->hold = true;
    pthread_cond_broadcast(&b->wake);
    while (!b->stop) pthread_cond_wait(&b->wake, &b->lock);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

static void own_problem(struct request *r, int code, const struct keel_error *err) {
    (void)!buf_printf(&r->reply.body, "{\"success\":false,\"code\":%d,\"message\":\"%s\"}", code,
                      err->message);
}

static const struct route TABLE[] = {
    {.methods = HTTP_POST | HTTP_PUT, .pattern = "/echo", .handle = echo, .right = RIGHT_PUBLIC},
    {.methods = HTTP_POST,
     .pattern = "/sdk",
     .handle = echo,
     .right = RIGHT_PUBLIC,
     .problem = own_problem,
     .max_body_bytes = 100},
    {.methods = HTTP_GET, .pattern = "/a/{x}/b/{y}", .handle = parts, .right = RIGHT_PUBLIC},
    {.methods = HTTP_GET, .pattern = "/a/{x}/b/fixed", .handle = headers, .right = RIGHT_PUBLIC},
    {.methods = HTTP_GET, .pattern = "/files/{rest...}", .handle = parts, .right = RIGHT_PUBLIC},
    {.methods = HTTP_GET, .pattern = "/fails", .handle = fails, .right = RIGHT_PUBLIC},
    {.methods = HTTP_POST, .pattern = "/later", .handle = later, .right = RIGHT_PUBLIC},
    {.methods = HTTP_POST,
     .pattern = "/worker",
     .handle = worker,
     .right = RIGHT_PUBLIC,
     .flags = ROUTE_WORKER},
    {.methods = HTTP_GET, .pattern = "/events", .handle = events, .right = RIGHT_PUBLIC},
    {.methods = HTTP_GET, .pattern = "/private", .handle = headers, .right = RIGHT_QUERY},
    {.methods = HTTP_GET, .pattern = "/block", .handle = block, .right = RIGHT_PUBLIC},
    {0},
};
static const struct route *const TABLES[] = {TABLE, NULL};

static int nobody(void *ctx, struct request *r, struct keel_error *err) {
    (void)ctx, (void)r;
    FAIL(err, UNAUTHORISED, "who are you?");
}

static void start(struct bench *b, struct server_options options) {
    struct keel_error err = {0};
    *b = (struct bench){0};
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->wake, NULL);
    options.listen = STR("127.0.0.1:0");
    if (!options.threads) options.threads = 2;
    options.authorise = nobody;
    int code = server_start(&options, TABLES, b, &b->server, &err);
    if (code < 0) print_error("%s\n", err.message);
    assert_int_equal(code, 0);
}

static void finish(struct bench *b, unsigned grace_ms) {
    assert_true(server_stop(b->server, grace_ms));
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->wake);
}

/* Asks and compares; body and headers may be NULL. */
static void expect(struct bench *b, int status, const char *text, const char *method,
                   const char *target, const char *head, const void *body, size_t n) {
    struct http_reply r;
    http_ask(server_port(b->server), &r, method, target, head, body, n);
    if (r.status != status || (text && !strstr(r.body, text)))
        print_error("%s %.60s: %d %s\n", method, target, r.status, r.body);
    assert_int_equal(r.status, status);
    if (text) assert_non_null(strstr(r.body, text));
    http_reply_free(&r);
}

/* ---- plain requests ---- */

static void routes(void **state) {
    (void)state;
    struct bench b;
    struct http_reply r;
    start(&b, (struct server_options){0});
    unsigned port = server_port(b.server);
    expect(&b, 200, "1|2|-|far", "GET", "/a/1/b/2", NULL, NULL, 0);
    expect(&b, 200, "1|2|-|far", "GET", "/a/1/b/2/", NULL, NULL, 0);
    expect(&b, 200, "a b|c/d|x&y z|far", "GET", "/a/a%20b/b/c%2Fd?p=1&q=x%26y+z", NULL, NULL, 0);
    expect(&b, 200, "x/y%zz||-|far", "GET", "/files/x/y%zz", NULL, NULL, 0);
    expect(&b, 404, "\"status\":404", "GET", "/nothing", NULL, NULL, 0);
    expect(&b, 404, NULL, "GET", "/a//b/2", NULL, NULL, 0);
    expect(&b, 404, NULL, "GET", "/a/1/b", NULL, NULL, 0);
    expect(&b, 401, "who are you?", "GET", "/private", NULL, NULL, 0);
    expect(&b, 501, NULL, "BREW", "/echo", NULL, NULL, 0);
    expect(&b, 500, "its log says why", "GET", "/fails", NULL, NULL, 0);
    http_ask(port, &r, "GET", "/echo", NULL, NULL, 0);
    assert_int_equal(r.status, 405);
    assert_string_equal(http_header(&r, "Allow"), "POST, PUT, OPTIONS");
    assert_string_equal(http_header(&r, "Content-Type"), "application/problem+json");
    http_reply_free(&r);
    http_ask(port, &r, "OPTIONS", "/a/1/b/2", NULL, NULL, 0);
    assert_int_equal(r.status, 204);
    assert_string_equal(http_header(&r, "Allow"), "GET, HEAD, OPTIONS");
    http_reply_free(&r);
    http_ask(port, &r, "HEAD", "/a/1/b/2", NULL, NULL, 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(http_header(&r, "Content-Length"), "9");
    http_reply_free(&r);
    http_ask(port, &r, "GET", "/a/1/b/fixed", "X-Asked: hello\r\n", NULL, 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(http_header(&r, "X-Given"), "hello");
    assert_null(http_header(&r, "Set-Cookie"));
    http_reply_free(&r);
    finish(&b, 1000);
}

static void unix_socket(void **state) {
    (void)state;
    char dir[] = "/tmp/keel-server-XXXXXX", path[300];
    struct bench b;
    struct http_client c;
    struct http_reply r;
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/keel.sock", dir);
    start(&b, (struct server_options){.socket_path = path});
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    http_open_unix(&c, path);
    http_say(&c, "GET /a/1/b/2 HTTP/1.1\r\nHost: x\r\n\r\n");
    http_receive(&c, &r, false);
    assert_string_equal(r.body, "1|2|-|local");
    http_reply_free(&r);
    http_close(&c);
    finish(&b, 1000);
    assert_false(file_exists(path));
    rmdir(dir);
}

/* ---- bodies ---- */

enum { PACK_MOST = 4 << 20 };
enum pack { PACK_GZIP, PACK_ZLIB, PACK_RAW };

static size_t pack(enum pack how, const void *p, size_t n, uint8_t *out) {
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(9);
    size_t size = how == PACK_GZIP   ? libdeflate_gzip_compress(c, p, n, out, PACK_MOST)
                  : how == PACK_ZLIB ? libdeflate_zlib_compress(c, p, n, out, PACK_MOST)
                                     : libdeflate_deflate_compress(c, p, n, out, PACK_MOST);
    libdeflate_free_compressor(c);
    assert_true(size > 0);
    return size;
}

static void bodies(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    struct http_reply r;
    start(&b, (struct server_options){0});
    expect(&b, 200, "hello", "POST", "/echo", NULL, "hello", 5);
    expect(&b, 200, NULL, "POST", "/echo", NULL, "", 0);
    expect(&b, 200, NULL, "PUT", "/echo", NULL, NULL, 0);
    http_open(&c, server_port(b.server));
    http_say(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n");
    http_receive(&c, &r, false);
    assert_string_equal(r.body, "hello, world");
    http_reply_free(&r);
    /* the same connection, one byte at a time */
    static const char SLOW[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslow";
    for (size_t i = 0; i < sizeof SLOW - 1; i++) assert_true(http_send(&c, SLOW + i, 1));
    http_receive(&c, &r, false);
    assert_string_equal(r.body, "slow");
    http_reply_free(&r);
    http_close(&c);
    finish(&b, 1000);
}

static void coded_bodies(void **state) {
    (void)state;
    struct bench b;
    uint8_t *packed = malloc(PACK_MOST);
    char *zeros = calloc(1, 60000);
    start(&b, (struct server_options){0});
    size_t n = pack(PACK_GZIP, "hello gzip", 10, packed);
    expect(&b, 200, "hello gzip", "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n);
    expect(&b, 400, NULL, "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n - 1);
    n += pack(PACK_GZIP, " and more", 9, packed + n);
    expect(&b, 200, "hello gzip and more", "POST", "/echo", "Content-Encoding: x-gzip\r\n", packed,
           n);
    n = pack(PACK_ZLIB, "hello zlib", 10, packed);
    expect(&b, 200, "hello zlib", "POST", "/echo", "Content-Encoding: deflate\r\n", packed, n);
    n = pack(PACK_RAW, "hello raw", 9, packed);
    expect(&b, 200, "hello raw", "POST", "/echo", "Content-Encoding: deflate\r\n", packed, n);
    memset(zeros, 'z', 60000); /* decodes to more than the first guess of its size */
    n = pack(PACK_GZIP, zeros, 60000, packed);
    expect(&b, 200, "zzzz", "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n);
    expect(&b, 400, NULL, "POST", "/echo", "Content-Encoding: gzip\r\n", "no gzip", 7);
    expect(&b, 415, NULL, "POST", "/echo", "Content-Encoding: br\r\n", "x", 1);
    expect(&b, 200, "plain", "POST", "/echo", "Content-Encoding: identity\r\n", "plain", 5);
    finish(&b, 1000);
    free(packed);
    free(zeros);
}

/* ---- limits ---- */

static void too_large(void **state) {
    (void)state;
    enum { LIMIT = 1 << 20, BOMB = 200 << 20 };
    struct bench b;
    struct http_client c;
    struct http_reply r;
    struct server_stats stats;
    uint8_t *packed = malloc(PACK_MOST);
    char *big = calloc(1, BOMB), *head = malloc(40000);
    start(&b, (struct server_options){.max_body_bytes = LIMIT});
    unsigned port = server_port(b.server);
    expect(&b, 200, NULL, "POST", "/echo", NULL, big, LIMIT);
    expect(&b, 413, "at most 1048576", "POST", "/echo", NULL, big, LIMIT + 1);
    expect(&b, 413, "\"success\":false,\"code\":-9", "POST", "/sdk", NULL, big, 101);
    size_t n = pack(PACK_GZIP, big, BOMB, packed);
    assert_true(n < LIMIT);
    expect(&b, 413, NULL, "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n);
    n = pack(PACK_GZIP, big, LIMIT, packed);
    expect(&b, 200, NULL, "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n);
    n = pack(PACK_GZIP, big, LIMIT + 1, packed);
    expect(&b, 413, NULL, "POST", "/echo", "Content-Encoding: gzip\r\n", packed, n);

    /* who waits for "100 Continue" is told at once */
    http_open(&c, port);
    http_say(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n"
                 "Expect: 100-continue\r\n\r\n");
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 413);
    http_reply_free(&r);
    http_close(&c);
    /* chunks without an announced length, and the connection is kept */
    http_open(&c, port);
    http_say(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (unsigned i = 0; i < 33; i++) {
        http_say(&c, "8000\r\n");
        assert_true(http_send(&c, big, 0x8000));
        http_say(&c, "\r\n");
    }
    http_say(&c, "0\r\n\r\nGET /a/1/b/2 HTTP/1.1\r\nHost: x\r\n\r\n");
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 413);
    http_reply_free(&r);
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 200);
    http_reply_free(&r);
    http_close(&c);

    memset(head, 'a', 40000);
    memcpy(head, "/", 1);
    head[17000] = 0;
    expect(&b, 414, NULL, "GET", head, NULL, NULL, 0);
    http_open(&c, port); /* beyond what libmicrohttpd itself keeps: its own words, same status */
    http_send(&c, "GET /", 5);
    memset(head, 'a', 40000);
    http_send(&c, head, 40000);
    http_say(&c, " HTTP/1.1\r\nHost: x\r\n\r\n");
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 414);
    http_reply_free(&r);
    http_close(&c);
    http_open(&c, port);
    http_say(&c, "GET /a/1/b/2 HTTP/1.1\r\nHost: x\r\nX-Long: ");
    http_send(&c, head, 40000);
    http_say(&c, "\r\n\r\n");
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 431);
    http_reply_free(&r);
    http_close(&c);
    server_stats(b.server, &stats);
    assert_true(stats.refused >= 7);
    finish(&b, 1000);
    free(packed);
    free(big);
    free(head);
}

static void ambiguous_lengths(void **state) {
    (void)state;
    struct bench b;
    start(&b, (struct server_options){0});
    expect(&b, 400, NULL, "POST", "/echo", "Content-Length: 3\r\nContent-Length: 5\r\n", NULL, 0);
    expect(&b, 400, NULL, "POST", "/echo", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
           NULL, 0);
    expect(&b, 501, NULL, "POST", "/echo", "Transfer-Encoding: gzip, chunked\r\n", NULL, 0);
    expect(&b, 400, NULL, "POST", "/echo", "Content-Length: 0x10\r\n", NULL, 0);
    assert_int_equal(atomic_load(&b.calls), 0);
    finish(&b, 1000);
}

static void memory_is_bounded(void **state) {
    (void)state;
    enum { BODY = 3 << 20 };
    struct bench b;
    struct http_client c[3];
    struct http_reply r;
    struct server_stats stats;
    char *body = calloc(1, BODY);
    start(&b, (struct server_options){.max_memory_bytes = 7 << 20, .max_body_bytes = BODY});
    for (unsigned i = 0; i < 3; i++) { /* two are under way when the third comes */
        http_open(&c[i], server_port(b.server));
        http_say(&c[i], "POST /worker HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BODY);
        http_send(&c[i], body, BODY - 1);
        do server_stats(b.server, &stats);
        while (i < 2 && stats.memory_bytes < (i + 1u) * BODY);
    }
    http_send(&c[2], body, 1);
    http_receive(&c[2], &r, false);
    assert_int_equal(r.status, 503);
    assert_string_equal(http_header(&r, "Retry-After"), "1");
    assert_string_equal(http_header(&r, "X-RateLimit-Reset"), "1");
    http_reply_free(&r);
    for (unsigned i = 0; i < 3; i++) http_close(&c[i]);
    do server_stats(b.server, &stats);
    while (stats.waiting > 0);
    assert_int_equal(stats.memory_bytes, 0);
    finish(&b, 1000);
    free(body);
}

/* ---- connections ---- */

static void pipelining(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    struct http_reply r;
    char body[16];
    start(&b, (struct server_options){0});
    http_open(&c, server_port(b.server));
    for (int i = 0; i < 50; i++)
        http_say(&c, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d",
                 i % 2 ? "echo" : "worker", i);
    for (int i = 0; i < 50; i++) {
        http_receive(&c, &r, false);
        snprintf(body, sizeof body, "%04d", i);
        assert_string_equal(r.body, body);
        http_reply_free(&r);
    }
    http_close(&c);
    finish(&b, 1000);
}

static void half_close(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    struct http_reply r;
    start(&b, (struct server_options){.idle_seconds = 1}); /* then such connections are given up */
    static const char *const PATHS[] = {"echo", "worker"};
    for (int i = 0; i < 2; i++) {
        http_open(&c, server_port(b.server));
        http_say(&c, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", PATHS[i]);
        http_shut(&c);
        http_receive(&c, &r, false);
        assert_int_equal(r.status, 200);
        assert_string_equal(r.body, "hi");
        assert_true(http_ends(&c));
        http_reply_free(&r);
        http_close(&c);
    }
    http_open(&c, server_port(b.server)); /* in the middle of a body: never a request */
    unsigned before = atomic_load(&b.calls);
    http_say(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    http_shut(&c);
    http_receive(&c, &r, false);
    assert_int_equal(r.status, 0);
    assert_int_equal(atomic_load(&b.calls), before);
    http_reply_free(&r);
    http_close(&c);
    finish(&b, 1000);
}

/* All have shut down their side before any reply is made, and some want much: each gets it. */
static void half_closed_crowd(void **state) {
    (void)state;
    enum { CROWD = 64, LARGE = 3 << 20 };
    struct bench b;
    struct http_client *c = test_calloc(CROWD, sizeof *c);
    char *large = test_malloc(LARGE);
    memset(large, 'x', LARGE);
    start(&b, (struct server_options){.idle_seconds = 5});
    b.hold = true;
    for (unsigned i = 0; i < CROWD; i++) {
        int n = i % 16 == 15 ? LARGE : 1 + (int)i;
        http_open(&c[i], server_port(b.server));
        http_say(&c[i], "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", n);
        http_send(&c[i], large, (size_t)n);
        http_shut(&c[i]);
    }
    pthread_mutex_lock(&b.lock);
    while (b.n_waiting < CROWD) pthread_cond_wait(&b.wake, &b.lock);
    pthread_mutex_unlock(&b.lock);
    for (unsigned i = 0; i < CROWD; i++) request_finish(b.waiting[i]);
    for (unsigned i = 0; i < CROWD; i++) {
        struct http_reply r;
        http_receive(&c[i], &r, false);
        assert_int_equal(r.status, 200);
        assert_int_equal(r.n, i % 16 == 15 ? LARGE : 1 + i);
        assert_true(http_ends(&c[i]));
        http_reply_free(&r);
        http_close(&c[i]);
    }
    finish(&b, 1000);
    test_free(large);
    test_free(c);
}

static void slow_clients(void **state) {
    (void)state;
    struct bench b;
    struct http_client head, body, silent;
    struct http_reply r;
    start(&b, (struct server_options){.idle_seconds = 1});
    http_open(&silent, server_port(b.server));
    http_open(&head, server_port(b.server));
    http_open(&body, server_port(b.server));
    http_say(&head, "GET /a/1/b/2 HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    http_say(&body, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n");
    int64_t begun = monotonic_us(), head_cut = 0, body_cut = 0;
    while (!head_cut || !body_cut) { /* both send a byte now and then, for ever */
        usleep(100000);
        int64_t took = monotonic_us() - begun;
        if (!head_cut && !http_send(&head, "a", 1)) head_cut = took;
        if (!body_cut && (http_waits(&body) || !http_send(&body, "a", 1))) body_cut = took;
        assert_true(took < 10000000);
    }
    assert_true(head_cut >= 900000 && body_cut >= 900000);
    http_receive(&body, &r, false);
    assert_int_equal(r.status, 408);
    http_reply_free(&r);
    assert_true(http_ends(&silent));
    http_close(&head);
    http_close(&body);
    http_close(&silent);
    assert_int_equal(atomic_load(&b.calls), 0);
    finish(&b, 1000);
}

/* Who announces a body and waits for the answer before he sends it gets it soon, not at the idle
 * limit; what he sends then is thrown away, and the connection ends with it. */
static void refused_without_a_body(void **state) {
    (void)state;
    static const struct {
        const char *target, *length, *rest;
        int status;
    } cases[] = {{"/echo", "99999999", "some of it", 413}, {"/nothing", "4", "rest", 404}};
    struct bench b;
    struct http_client c;
    struct http_reply r;
    struct server_stats stats;
    start(&b, (struct server_options){.idle_seconds = 20});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t begun = monotonic_us();
        http_open(&c, server_port(b.server));
        http_say(&c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n", cases[i].target,
                 cases[i].length);
        http_receive(&c, &r, false);
        assert_int_equal(r.status, cases[i].status);
        assert_string_equal(http_header(&r, "Connection"), "close");
        http_reply_free(&r);
        assert_true(monotonic_us() - begun < 10000000);
        assert_true(http_say(&c, "%s", cases[i].rest));
        if (i == 1) assert_true(http_ends(&c)); /* that was all of it */
        http_close(&c);
    }
    do { /* its connection has ended, too */
        usleep(1000);
        server_stats(b.server, &stats);
    } while (stats.open_connections > 0);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(stats.classes[4], 2);
    finish(&b, 1000);
}

static void many_connections(void **state) {
    (void)state;
    enum { ALLOWED = 100, MORE = 8 };
    struct bench b;
    struct http_client *c = malloc((ALLOWED + MORE) * sizeof *c);
    struct http_reply r;
    struct server_stats stats;
    start(&b, (struct server_options){.max_connections = ALLOWED, .threads = 1});
    for (unsigned i = 0; i < ALLOWED + MORE; i++) {
        http_open(&c[i], server_port(b.server));
        http_say(&c[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        http_receive(&c[i], &r, false);
        assert_int_equal(r.status, i < ALLOWED ? 200 : 503);
        if (i >= ALLOWED) {
            assert_non_null(http_header(&r, "Retry-After"));
            assert_true(http_ends(&c[i]));
            http_close(&c[i]);
        }
        http_reply_free(&r);
    }
    for (unsigned i = 0; i < ALLOWED; i++) http_close(&c[i]);
    do server_stats(b.server, &stats);
    while (stats.open_connections > 0);
    expect(&b, 200, "hi", "POST", "/echo", NULL, "hi", 2);
    finish(&b, 1000);

    start(&b, (struct server_options){.max_per_address = 2});
    for (unsigned i = 0; i < 3; i++) {
        http_open(&c[i], server_port(b.server));
        http_say(&c[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
        http_receive(&c[i], &r, false);
        assert_int_equal(r.status, i < 2 ? 200 : 503);
        http_reply_free(&r);
    }
    for (unsigned i = 0; i < 3; i++) http_close(&c[i]);
    finish(&b, 1000);
    free(c);
}

/* As many are ready at once as libmicrohttpd asks the kernel for, or one less, or one more. */
static void ready_at_once(void **state) {
    (void)state;
    enum { BATCH = 128 };
    struct http_client *c = malloc((BATCH + 2) * sizeof *c);
    struct http_reply r;
    for (unsigned n = BATCH - 1; n <= BATCH + 1; n++) {
        struct bench b;
        start(&b, (struct server_options){.threads = 1});
        for (unsigned i = 0; i <= n; i++) { /* all known to the thread */
            http_open(&c[i], server_port(b.server));
            http_say(&c[i], "GET /a/1/b/2 HTTP/1.1\r\nHost: x\r\n\r\n");
            http_receive(&c[i], &r, false);
            http_reply_free(&r);
        }
        http_say(&c[n], "GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
        pthread_mutex_lock(&b.lock);
        while (!b.hold) pthread_cond_wait(&b.wake, &b.lock);
        pthread_mutex_unlock(&b.lock);
        for (unsigned i = 0; i < n; i++)
            http_say(&c[i], "GET /a/1/b/2 HTTP/1.1\r\nHost: x\r\n\r\n");
        pthread_mutex_lock(&b.lock);
        b.stop = true;
        pthread_cond_broadcast(&b.wake);
        pthread_mutex_unlock(&b.lock);
        for (unsigned i = 0; i <= n; i++) { /* within the client's patience, 30 s: idle is 60 s */
            http_receive(&c[i], &r, false);
            assert_int_equal(r.status, 200);
            http_reply_free(&r);
            http_close(&c[i]);
        }
        finish(&b, 1000);
    }
    free(c);
}

/* ---- later, from other threads ---- */

static void *finisher(void *arg) {
    struct bench *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->stop || b->n_waiting) {
        if (!b->n_waiting) {
            pthread_cond_wait(&b->wake, &b->lock);
            continue;
        }
        unsigned i = b->n_waiting / 2; /* not in their order */
        struct request *r = b->waiting[i];
        b->waiting[i] = b->waiting[--b->n_waiting];
        pthread_mutex_unlock(&b->lock);
        (void)!buf_add_text(&r->reply.body, "!");
        atomic_fetch_add(&b->finished, 1);
        request_finish(r);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void finishers_stop(struct bench *b, pthread_t *threads, unsigned n) {
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->wake);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < n; i++) pthread_join(threads[i], NULL);
}

struct load {
    struct bench *b;
    unsigned port, requests, answered;
};

/* Asks over one connection until it ends or all are answered. */
static void *ask_much(void *arg) {
    struct load *load = arg;
    struct http_client *c = malloc(sizeof *c);
    struct http_reply r;
    char body[32];
    http_open(c, load->port);
    atomic_fetch_add(&load->b->connected, 1);
    for (unsigned i = 0; i < load->requests; i++) {
        snprintf(body, sizeof body, "%06u", i);
        if (!http_say(c, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n%s", body))
            break;
        http_receive(c, &r, false);
        bool whole = r.status == 200 && memcmp(r.body, body, 6) == 0;
        bool last = r.status == 0 || http_header(&r, "Connection") != NULL;
        http_reply_free(&r);
        if (whole) load->answered++;
        if (!whole || last) break;
    }
    http_close(c);
    free(c);
    return NULL;
}

static void finished_later(void **state) {
    (void)state;
    enum { CLIENTS = 16, REQUESTS = 200 };
    struct bench b;
    struct load load[CLIENTS];
    pthread_t threads[3], clients[CLIENTS];
    start(&b, (struct server_options){0});
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, finisher, &b);
    for (int i = 0; i < CLIENTS; i++) {
        load[i] = (struct load){&b, server_port(b.server), REQUESTS, 0};
        pthread_create(&clients[i], NULL, ask_much, &load[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], NULL);
        assert_int_equal(load[i].answered, REQUESTS);
    }
    finishers_stop(&b, threads, 3);
    finish(&b, 1000);
    assert_int_equal(atomic_load(&b.finished), CLIENTS * REQUESTS);
}

/* What a handler has begun is answered, whenever the stop comes. */
static void stop_under_load(void **state) {
    (void)state;
    enum { CLIENTS = 8 };
    for (unsigned round = 0; round < 5; round++) {
        struct bench b;
        struct load load[CLIENTS];
        pthread_t threads[2], clients[CLIENTS];
        unsigned answered = 0;
        start(&b, (struct server_options){0});
        for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, finisher, &b);
        for (int i = 0; i < CLIENTS; i++) {
            load[i] = (struct load){&b, server_port(b.server), 1000000, 0};
            pthread_create(&clients[i], NULL, ask_much, &load[i]);
        }
        while (atomic_load(&b.connected) < CLIENTS ||
               atomic_load(&b.finished) < 100 * (round + 1)) {
        }
        assert_true(server_stop(b.server, 20000));
        for (int i = 0; i < CLIENTS; i++) pthread_join(clients[i], NULL);
        finishers_stop(&b, threads, 2);
        for (int i = 0; i < CLIENTS; i++) answered += load[i].answered;
        assert_int_equal(answered, atomic_load(&b.calls));
        pthread_mutex_destroy(&b.lock);
        pthread_cond_destroy(&b.wake);
    }
}

struct stopping {
    struct server *server;
    unsigned grace_ms;
};
static void *stop_now(void *arg) {
    struct stopping *s = arg;
    assert_true(server_stop(s->server, s->grace_ms));
    return NULL;
}

/* Beyond the grace the client is cut; the request stays whole for whoever has it. */
static void stop_with_a_straggler(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    pthread_t thread;
    start(&b, (struct server_options){0});
    b.hold = true;
    http_open(&c, server_port(b.server));
    http_say(&c, "POST /later HTTP/1.1\r\nHost: x\r\nX-Asked: me\r\nContent-Length: 2\r\n\r\nhi");
    pthread_mutex_lock(&b.lock);
    while (!b.n_waiting) pthread_cond_wait(&b.wake, &b.lock);
    struct request *r = b.waiting[0];
    pthread_mutex_unlock(&b.lock);
    const _Atomic bool *cut = server_cutting(b.server);
    struct stopping stopping = {b.server, 50};
    pthread_create(&thread, NULL, stop_now, &stopping);
    while (!atomic_load(cut)) usleep(1000);
    assert_true(http_ends(&c));
    assert_true(str_is(request_header(r, "x-asked"), "me"));
    assert_true(str_is(r->body, "hi"));
    request_finish(r);
    pthread_join(thread, NULL);
    http_close(&c);
    pthread_mutex_destroy(&b.lock);
    pthread_cond_destroy(&b.wake);
}

/* A handler that does not end does not keep a stop from ending: it says so, and frees nothing. */
static void stop_without_an_end(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    start(&b, (struct server_options){0});
    b.hold = true;
    http_open(&c, server_port(b.server));
    http_say(&c, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    pthread_mutex_lock(&b.lock);
    while (!b.n_waiting) pthread_cond_wait(&b.wake, &b.lock);
    pthread_mutex_unlock(&b.lock);
    assert_false(server_stop(b.server, 50));
    assert_true(http_ends(&c));
    assert_true(str_is(b.waiting[0]->body, "hi"));
    request_finish(b.waiting[0]);
    assert_true(server_stop(b.server, 50));
    http_close(&c);
    pthread_mutex_destroy(&b.lock);
    pthread_cond_destroy(&b.wake);
}

/* ---- streams ---- */

static struct reply_stream *follow(struct bench *b, struct http_client *c) {
    char line[256];
    b->stream = NULL;
    http_open(c, server_port(b->server));
    http_say(c, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    pthread_mutex_lock(&b->lock);
    while (!b->stream) pthread_cond_wait(&b->wake, &b->lock);
    struct reply_stream *s = b->stream;
    pthread_mutex_unlock(&b->lock);
    bool is_stream = false;
    do {
        assert_true(http_line(c, line, sizeof line));
        is_stream = is_stream || strcmp(line, "Content-Type: text/event-stream") == 0;
    } while (*line);
    assert_true(is_stream);
    return s;
}

static void streams(void **state) {
    (void)state;
    struct bench b;
    struct http_client c;
    char line[256], text[64];
    start(&b, (struct server_options){0});
    struct server_stats stats;
    server_stats(b.server, &stats);
    assert_int_equal(stats.memory_bytes, 0);
    struct reply_stream *s = follow(&b, &c);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "data: %d\n", i);
        int code;
        while ((code = stream_push(s, str_from(text))) == -KEEL_E_LIMIT)
            assert_int_equal(stream_wait(s, strlen(text), 20000), 0);
        assert_int_equal(code, 0);
    }
    for (int i = 0; i < 100;) { /* between them are the sizes of chunks */
        assert_true(http_line(&c, line, sizeof line));
        snprintf(text, sizeof text, "data: %d", i);
        if (strcmp(line, text) == 0) i++;
    }
    server_stats(b.server, &stats);
    assert_in_range(stats.memory_bytes, 10, 5000);
    stream_close(s);
    do assert_true(http_line(&c, line, sizeof line));
    while (strcmp(line, "0") != 0);
    http_close(&c);
    do server_stats(b.server, &stats);
    while (stats.memory_bytes != 0); /* given back when the connection ends */

    s = follow(&b, &c); /* a client that leaves */
    http_close(&c);
    int code;
    while ((code = stream_push(s, STR("data: anyone?\n\n"))) != -KEEL_E_CANCELLED)
        assert_true(code == 0 || code == -KEEL_E_LIMIT);
    assert_int_equal(stream_wait(s, 1, 1000), -KEEL_E_CANCELLED);
    stream_close(s);

    s = follow(&b, &c); /* a client that does not read */
    char *much = calloc(1, 1000);
    memset(much, 'x', 999);
    assert_int_equal(stream_push(s, (struct str){much, 1001}), -KEEL_E_LIMIT);
    while (stream_push(s, str_from(much)) == 0) {
    }
    assert_int_equal(stream_push(s, str_from(much)), -KEEL_E_LIMIT);
    free(much);
    finish(&b, 20000); /* a stop ends it, and the handle stays good */
    assert_int_equal(stream_push(s, STR("late")), -KEEL_E_CANCELLED);
    stream_close(s);
    http_close(&c);
}

/* ---- start ---- */

static void bad_starts(void **state) {
    (void)state;
    struct bench b;
    struct server *other = NULL;
    struct keel_error err;
    char address[64];
    start(&b, (struct server_options){0});
    snprintf(address, sizeof address, "127.0.0.1:%u", server_port(b.server));
    struct server_options options = {.listen = str_from(address)};
    assert_int_equal(server_start(&options, TABLES, &b, &other, &err), -KEEL_E_BUSY);
    assert_non_null(strstr(err.message, "taken by another program"));
    static const char *const WRONG[] = {
        "", "7480", "1.2.3.4", "host:port", "::1:80", "a:99999", "no.such.host.invalid:1"};
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        options.listen = str_from(WRONG[i]);
        assert_int_equal(server_start(&options, TABLES, &b, &other, &err), -KEEL_E_INVALID);
    }
    options = (struct server_options){.listen = STR("127.0.0.1:0"), .cert_path = "/nothing"};
    assert_int_equal(server_start(&options, TABLES, &b, &other, &err), -KEEL_E_INVALID);
    options.key_path = "/nothing";
    assert_int_equal(server_start(&options, TABLES, &b, &other, &err), -KEEL_E_NOT_FOUND);
    assert_null(other);
    options = (struct server_options){.listen = STR("[::1]:0")};
    assert_int_equal(server_start(&options, TABLES, &b, &other, &err), 0);
    assert_true(server_stop(other, 1000));
    finish(&b, 1000);
}

static int nothing(void *ctx, struct request *r, struct keel_error *err) {
    (void)ctx, (void)r, (void)err;
    return 0;
}

/* Who may call, and whether it is noted, is decided for every route, or there is no server. */
static void undecided_routes(void **state) {
    (void)state;
    static const struct {
        struct route route;
        bool audited;
        const char *why; /* NULL: it starts */
    } CASES[] = {
        {{HTTP_GET, "/x", headers, .right = RIGHT_PUBLIC}, true, NULL},
        {{HTTP_GET, "/x", headers, .right = RIGHT_NONE}, false, "GET, HEAD /x declares no right"},
        {{HTTP_GET, "/x", headers, .right = RIGHT_NONE, .flags = ROUTE_HIDDEN},
         false,
         "declares no right"},
        {{HTTP_POST | HTTP_PUT, "/x", headers, .right = RIGHT_NONE},
         false,
         "POST, PUT /x declares no right"},
        {{HTTP_GET, "/x", headers, .right = RIGHTS}, false, "declares no right"},
        {{HTTP_POST, "/x", headers, .right = RIGHT_QUERY}, false, NULL},
        {{HTTP_POST, "/x", headers, .right = RIGHT_QUERY}, true, "POST /x changes something"},
        {{HTTP_GET | HTTP_DELETE, "/x", headers, .right = RIGHT_PUBLIC},
         true,
         "would not be noted"},
        {{HTTP_POST, "/x", headers, .right = RIGHT_QUERY, .flags = ROUTE_READS}, true, NULL},
        {{HTTP_POST, "/x", headers, .right = RIGHT_QUERY, .flags = ROUTE_WORKER}, true, NULL},
        {{HTTP_POST, "/x", headers, .right = RIGHT_WRITE_KEY}, true, NULL},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        const struct route table[] = {CASES[i].route, {0}};
        const struct route *const tables[] = {table, NULL};
        struct server_options options = {.listen = STR("127.0.0.1:0")};
        struct server *s = NULL;
        struct keel_error err;
        if (CASES[i].audited) options.ready = options.audit = nothing;
        int code = server_start(&options, tables, NULL, &s, &err);
        assert_int_equal(code, CASES[i].why ? -KEEL_E_INTERNAL : 0);
        if (CASES[i].why && !strstr(err.message, CASES[i].why)) fail_msg("%s", err.message);
        assert_true(server_stop(s, 1000));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),
        cmocka_unit_test(undecided_routes),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(bodies),
        cmocka_unit_test(coded_bodies),
        cmocka_unit_test(too_large),
        cmocka_unit_test(ambiguous_lengths),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(pipelining),
        cmocka_unit_test(half_close),
        cmocka_unit_test(half_closed_crowd),
        cmocka_unit_test(slow_clients),
        cmocka_unit_test(refused_without_a_body),
        cmocka_unit_test(many_connections),
        cmocka_unit_test(ready_at_once),
        cmocka_unit_test(finished_later),
        cmocka_unit_test(stop_under_load),
        cmocka_unit_test(stop_with_a_straggler),
        cmocka_unit_test(stop_without_an_end),
        cmocka_unit_test(streams),
        cmocka_unit_test(bad_starts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
