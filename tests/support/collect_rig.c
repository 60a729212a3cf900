/* Implementation of collect_rig.h. */
#include "collect_rig.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "api/routes.h"

static void must(int code, const struct keel_error *err) {
    if (code < 0) fprintf(stderr, "rig: %s\n", err->message);
    K_ASSERT(code >= 0);
}

void rig_make(struct rig *rig) {
    struct keel_error err = {0};
    char path[sizeof rig->dir + 16], key[SOURCE_MAX_KEY + 1];
    int64_t id;
    *rig = (struct rig){.server = {.listen = STR("127.0.0.1:0"), .threads = 2, .workers = 1}};
    temp_make(rig->root);
    snprintf(rig->dir, sizeof rig->dir, "%s/data", rig->root);
    must(db_init(rig->dir, STR("UTC"), STR("USD"), &err), &err);
    snprintf(path, sizeof path, "%s/desk.db", rig->dir);
    must(sql_open(path, SQL_CREATE, &rig->app.desk, &err), &err);
    must(source_tables(rig->app.desk, &err), &err);
    struct source_settings settings = {.name = STR("web"), .key = STR(RIG_KEY), .origins = STR("")};
    must(source_add(rig->app.desk, &settings, 1, &id, key, &err), &err);
    rig->app.dir = rig->dir;
}

void rig_start(struct rig *rig) {
    struct keel_error err = {0};
    struct db_options options = {.store = {.background = true, .head_rows = rig->head_rows}};
    struct app *app = &rig->app;
    must(db_open(rig->dir, &options, &app->db, &err), &err);
    must(sources_open(rig->dir, &app->sources, &err), &err);
    must(collector_open(&rig->options, app->sources, app->db, &rig->hooks, &app->collector, &err),
         &err);
    must(server_start(&rig->server, ROUTES, app, &app->server, &err), &err);
}

void rig_stop(struct rig *rig) {
    K_ASSERT(server_stop(rig->app.server, 10000));
    collector_close(rig->app.collector);
    sources_close(rig->app.sources);
    (void)!db_close(rig->app.db, NULL); /* fails where the test made the store fail */
}

void rig_remove(struct rig *rig) {
    sql_close(rig->app.desk);
    temp_remove(rig->root);
}

static int connect_to(const struct rig *rig) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)server_port(rig->app.server))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    K_ASSERT(fd >= 0);
    struct timeval patience = {.tv_sec = 30}; /* a reply that never comes fails the test */
    K_ASSERT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    K_ASSERT(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

int rig_send(const struct rig *rig, struct str raw, struct buf *reply) {
    char chunk[4096], head[16] = {0};
    size_t got = 0;
    int fd = connect_to(rig), status = 0;
    while (raw.n) { /* the server may hang up on what it refuses */
        ssize_t n = send(fd, raw.p, raw.n, MSG_NOSIGNAL);
        if (n <= 0) break;
        raw = (struct str){raw.p + n, raw.n - (size_t)n};
    }
    for (ssize_t n; (n = recv(fd, chunk, sizeof chunk, 0)) > 0; got += (size_t)n) {
        for (ssize_t i = 0; i < n && got + (size_t)i < sizeof head - 1; i++)
            head[got + (size_t)i] = chunk[i];
        if (reply) (void)!buf_add(reply, chunk, (size_t)n);
    }
    close(fd);
    for (size_t i = 9; i < 12 && got >= 12; i++) status = status * 10 + (head[i] - '0');
    return status;
}

int rig_post(const struct rig *rig, const char *path, struct str body, struct buf *reply) {
    struct buf raw;
    buf_init(&raw, 64 << 20);
    (void)!buf_printf(&raw,
                      "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " RIG_KEY
                      "\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                      path, body.n);
    (void)!buf_add_str(&raw, body);
    K_ASSERT(!raw.failed);
    int status = rig_send(rig, buf_str(&raw), reply);
    buf_release(&raw);
    return status;
}
