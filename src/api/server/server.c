/* The HTTP server: listeners, connections, deadlines, start and stop.
 *
 * TCP has a thread a core, DIR/keel.sock has one (loop.c). A connection beyond
 * max_connections is still taken, up to an eighth more, so that it can be told 503; what comes then
 * waits in the system's queue. Where the process may open too few descriptors for them, fewer
 * connections are taken, so that the store never lacks one for its files.
 *
 * A sender that shuts down its side behind a request gets the reply; server_int.h says how.
 *
 * libmicrohttpd forgets a connection that is silent for idle_seconds, but one that sends a byte now
 * and then could stay for ever. So every connection has a deadline for what it is doing now:
 *
 *   waiting for a request line    twice idle_seconds (kept alive, it may be silent for one)
 *   sending the request           idle_seconds, then 408 or, where nothing can be said, cut
 *   waiting for its handler       none: that is our affair
 *   taking the reply              idle_seconds and SLOWEST_BYTES_MS
 *
 * and a clock thread that cuts what is late, a quarter of a second at a time.
 *
 * Stop: take no new connection, end the streams, answer with "Connection: close", wait for what is
 * under way; then cut, and wait as long again for handlers that have a request still: they hold
 * memory of ours, so where one does not end nothing can be freed.
 *
 * Layers: server_int.h, base/net.h. Threads and locks: server_int.h.
 */
#include "api/server/server_int.h"

#include <arpa/inet.h>
#include <sched.h>
#include <unistd.h>

#include "base/net.h"
#include "base/os.h"

enum {
    DEFAULT_WORKERS = 4,
    DEFAULT_CONNECTIONS = 1024,
    DEFAULT_IDLE_SECONDS = 60,
    DEFAULT_BODY_BYTES = 4 << 20,
    DEFAULT_HEADER_BYTES = 32 << 10,
    DEFAULT_MEMORY_BYTES = 256 << 20,
    CONNECTION_MEMORY_EXTRA = 4 << 10, /* libmicrohttpd's own, beside the head */
    KEPT_DESCRIPTORS = 64,             /* for all but connections */
    LOOP_DESCRIPTORS = 4,              /* epoll, wakers           */
    SURPLUS_LEAST = 16,                /* server_most             */
    CONNECTIONS_LEAST = 18,
    STOP_LEAST_MS = 2000, /* for handlers, when their clients were cut */
    LATE_MS = 1000,       /* a request past its time is cut only if 408 was not possible */
};

static int64_t monotonic_ms(void) { return monotonic_us() / 1000; }

/* ---- connections ---- */

static void name_peer(struct connection *c, struct MHD_Connection *mhd) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    c->peer[0] = 0;
    if (!address || c->local) return;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, c->peer, sizeof c->peer);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)address;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr))
            inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, c->peer, sizeof c->peer);
        else
            inet_ntop(AF_INET6, &in->sin6_addr, c->peer, sizeof c->peer);
    }
}

static bool too_many(const struct server *s, const struct connection *c) {
    if (atomic_load(&s->n_open) > s->options.max_connections) return true;
    unsigned same = 0;
    if (s->options.max_per_address && !c->local)
        for (const struct connection *o = s->connections; o; o = o->after)
            same += strcmp(o->peer, c->peer) == 0;
    return s->options.max_per_address && same > s->options.max_per_address;
}

static void connection_open(struct loop *loop, struct MHD_Connection *mhd, void **out) {
    struct server *s = loop->server;
    struct connection *c = k_zalloc(sizeof *c);
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    c->server = s;
    c->fd = fd ? fd->connect_fd : -1;
    c->loop = loop;
    c->local = loop->listener->local;
    c->user = c->local ? net_peer_user(c->fd) : -1;
    c->tls = loop->listener->tls;
    c->deadline_ms = monotonic_ms() + 2000 * (int64_t)s->options.idle_seconds;
    name_peer(c, mhd);
    atomic_fetch_add(&s->n_connections, 1);
    pthread_mutex_lock(&s->lock);
    c->after = s->connections;
    if (c->after) c->after->before = c;
    s->connections = c;
    c->surplus = too_many(s, c);
    pthread_mutex_unlock(&s->lock);
    *out = c;
}

static void connection_close(struct connection *c) {
    struct server *s = c->server;
    pthread_mutex_lock(&s->lock);
    if (c->before) c->before->after = c->after;
    if (c->after) c->after->before = c->before;
    if (s->connections == c) s->connections = c->after;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_sub(&s->n_open, 1);
    k_free(c);
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        connection_open(ctx, mhd, context);
    } else if (*context) {
        connection_close(*context);
        *context = NULL;
    }
}

/* ---- requests ---- */

/* The request line is complete. */
static void *on_target(void *ctx, const char *target, struct MHD_Connection *mhd) {
    (void)ctx;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct connection *c = info->socket_context;
    struct server *s = c->server;
    int64_t limit = (int64_t)s->options.idle_seconds * 1000 + LATE_MS;
    atomic_store_explicit(&c->deadline_ms, monotonic_ms() + limit, memory_order_relaxed);
    atomic_fetch_add(&s->n_under_way, 1);
    return exchange_new(c, mhd, str_from(target));
}

static enum MHD_Result on_step(void *ctx, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *data_bytes, void **context) {
    (void)ctx, (void)mhd, (void)url, (void)version;
    return exchange_step(*context, method, data, data_bytes);
}

int64_t server_latency_us(unsigned i) { return INT64_C(100) << i; }

static void count(struct server *s, int status, int64_t us) {
    unsigned i = 0;
    while (i + 1 < SERVER_LATENCIES && us >= server_latency_us(i)) i++;
    atomic_fetch_add_explicit(&s->latency[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n_latency_us, (uint64_t)us, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->classes[status / 100 % SERVER_CLASSES], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->n_requests, 1, memory_order_relaxed);
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode why) {
    (void)ctx, (void)mhd;
    struct exchange *e = *context;
    if (!e) return;
    struct server *s = e->server;
    struct connection *c = e->connection;
    int status = e->stage >= STAGE_QUEUED ? e->r.reply.status : 0;
    *context = NULL;
    if (e->r.reply.stream) stream_detach(e->r.reply.stream);
    atomic_fetch_add_explicit(&s->n_bytes_out, e->reply_bytes, memory_order_relaxed);
    atomic_store_explicit(&c->deadline_ms, monotonic_ms() + 2000 * (int64_t)s->options.idle_seconds,
                          memory_order_relaxed);
    int64_t took_us = monotonic_us() - e->started_us;
    count(s, status, took_us);
    if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK && status) status = -status;
    if (s->options.log) s->options.log(s->options.ctx, &e->r, status, e->reply_bytes, took_us);
    exchange_free(e);
    bool last = atomic_fetch_sub(&s->n_under_way, 1) == 1;
    if (last && atomic_load(&s->draining)) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->quiet);
        pthread_mutex_unlock(&s->lock);
    }
}

/* Paths and queries are decoded by us, where their parts are known. */
static size_t leave_escapes(void *ctx, struct MHD_Connection *mhd, char *text) {
    (void)ctx, (void)mhd;
    return strlen(text);
}

/* ---- the clock ---- */

static struct timespec moment(int64_t us) {
    return (struct timespec){us / 1000000, us % 1000000 * 1000};
}

static void *clock_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->clock_stops) {
        int64_t now = monotonic_us();
        struct timespec next = moment(now + (int64_t)TICK_MS * 1000);
        for (struct connection *c = s->connections; c; c = c->after) {
            int64_t deadline = atomic_load_explicit(&c->deadline_ms, memory_order_relaxed);
            if (deadline && now / 1000 > deadline) net_cut(c->fd);
        }
        streams_beat(s, now);
        pthread_cond_clockwait(&s->clock_wake, &s->lock, CLOCK_MONOTONIC, &next);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- start ---- */

static void fill_defaults(struct server_options *o) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!o->threads) o->threads = cores > 0 ? (unsigned)cores : 1;
    if (!o->workers) o->workers = DEFAULT_WORKERS;
    if (!o->max_connections) o->max_connections = DEFAULT_CONNECTIONS;
    if (!o->idle_seconds) o->idle_seconds = DEFAULT_IDLE_SECONDS;
    if (!o->max_body_bytes) o->max_body_bytes = DEFAULT_BODY_BYTES;
    if (!o->max_header_bytes) o->max_header_bytes = DEFAULT_HEADER_BYTES;
    if (!o->max_memory_bytes) o->max_memory_bytes = DEFAULT_MEMORY_BYTES;
}

/* Descriptors that connections must not take: parts being written, queries, webhooks, backups. */
static int leave_descriptors(struct server_options *o, struct keel_error *err) {
    const unsigned own = KEPT_DESCRIPTORS + LOOP_DESCRIPTORS * (o->threads + 1);
    unsigned left;
    TRY(net_descriptors_left(&left, err));
    if (left < own + SURPLUS_LEAST + CONNECTIONS_LEAST)
        FAIL(err, LIMIT,
             "only %u more file descriptors may be opened, a server needs %u; raise the limit: "
             "ulimit -n, or LimitNOFILE of its unit",
             left, own + SURPLUS_LEAST + CONNECTIONS_LEAST);
    unsigned most = (left - own - SURPLUS_LEAST) / 9 * 8; /* server_most() adds an eighth */
    if (o->max_connections > most) o->max_connections = most;
    return 0;
}

static struct MHD_Daemon *daemon_new(struct loop *loop) {
    const struct server_options *o = &loop->server->options;
    const struct listener *l = loop->listener;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET;
    struct MHD_OptionItem more[2];
    int n = 0;
    if (l->tls) {
        flags |= MHD_USE_TLS;
        more[n++] = tls_option();
    }
    more[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return MHD_start_daemon(flags, 0, NULL, NULL, on_step, loop,                    /**/
                            MHD_OPTION_CONNECTION_LIMIT, server_most(loop->server), /**/
                            MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds,         /**/
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            o->max_header_bytes + CONNECTION_MEMORY_EXTRA,     /**/
                            MHD_OPTION_URI_LOG_CALLBACK, on_target, loop,      /**/
                            MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, /**/
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, loop,   /**/
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, loop, /**/
                            MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

static int start_listener(struct server *s, struct listener *l, struct keel_error *err) {
    unsigned threads = l->local ? 1 : s->options.threads;
    l->loops = k_zalloc(threads * sizeof *l->loops);
    for (; l->n_loops < threads; l->n_loops++) {
        struct loop *loop = &l->loops[l->n_loops];
        loop->server = s;
        loop->listener = l;
        loop->daemon = daemon_new(loop);
        if (!loop->daemon) FAIL(err, IO, "the HTTP server does not start");
        TRY(loop_start(loop, err));
    }
    return accept_start(l, err);
}

static int start_listeners(struct server *s, struct keel_error *err) {
    struct listener *tcp = &s->listeners[LISTENER_TCP], *local = &s->listeners[LISTENER_UNIX];
    if (s->options.cert_path) {
        TRY(server_reload(s, err));
        tcp->tls = true;
    }
    TRY(net_listen(s->options.listen, &tcp->fd, &s->port, err));
    TRY(start_listener(s, tcp, err));
    if (!s->options.socket_path) return 0;
    TRY(net_listen_unix(s->options.socket_path, &local->fd, err));
    local->local = true;
    return start_listener(s, local, err);
}

static void stop_listeners(struct server *s) {
    atomic_store(&s->draining, true);
    for (int i = 0; i < LISTENERS; i++) {
        struct listener *l = &s->listeners[i];
        accept_stop(l);
        while (l->n_loops > 0) loop_stop(&l->loops[--l->n_loops]);
        k_free(l->loops);
        file_close(l->fd);
        l->fd = -1;
    }
}

static void release(struct server *s) {
    pthread_mutex_lock(&s->lock);
    s->clock_stops = true;
    pthread_cond_signal(&s->clock_wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->clock, NULL);
    work_stop(s);
    router_free(s->router);
    tls_release(s);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->clock_wake);
    pthread_cond_destroy(&s->quiet);
    k_free(s);
}

int server_start(const struct server_options *options, const struct route *const *tables, void *ctx,
                 struct server **out, struct keel_error *err) {
    if (!options->cert_path != !options->key_path)
        FAIL(err, INVALID, "TLS needs a certificate and its key; only one of them is given");
    TRY(routes_check(tables, options->audit != NULL, err));
    struct server *s = k_zalloc(sizeof *s);
    s->options = *options;
    s->tables = tables;
    s->ctx = ctx;
    fill_defaults(&s->options);
    for (int i = 0; i < LISTENERS; i++) {
        s->listeners[i].server = s;
        s->listeners[i].fd = -1;
    }
    int code = leave_descriptors(&s->options, err);
    if (code == 0) code = work_start(s, err);
    if (code < 0) {
        k_free(s);
        return code;
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->clock_wake, NULL);
    pthread_cond_init(&s->quiet, NULL);
    s->router = router_new(tables);
    if (pthread_create(&s->clock, NULL, clock_main, s) != 0) {
        work_stop(s);
        router_free(s->router);
        k_free(s);
        FAIL(err, NO_MEMORY, "cannot start the server's clock");
    }
    *out = s; /* before the first request: handlers may ask for it */
    code = start_listeners(s, err);
    if (code < 0) {
        *out = NULL;
        stop_listeners(s);
        release(s);
    }
    return code;
}

/* ---- stop ---- */

/* True: nothing is under way. */
static bool wait_quiet(struct server *s, int64_t until_us) {
    struct timespec at = moment(until_us);
    int late = 0;
    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->n_under_way) > 0 && !late)
        late = pthread_cond_clockwait(&s->quiet, &s->lock, CLOCK_MONOTONIC, &at);
    pthread_mutex_unlock(&s->lock);
    return !late;
}

bool server_stop(struct server *s, unsigned grace_ms) {
    if (!s) return true;
    atomic_store(&s->draining, true);
    for (int i = 0; i < LISTENERS; i++) accept_stop(&s->listeners[i]);
    streams_cut(s);
    /* A request may come on a kept connection the moment all is quiet. From `closing` on no handler
     * sees one; those that came before are waited for again. */
    int64_t until_us = monotonic_us() + (int64_t)grace_ms * 1000;
    bool quiet = wait_quiet(s, until_us);
    atomic_store(&s->closing, true);
    if (!quiet || !wait_quiet(s, until_us)) {
        atomic_store(&s->cutting, true);
        pthread_mutex_lock(&s->lock);
        for (struct connection *c = s->connections; c; c = c->after) net_cut(c->fd);
        pthread_mutex_unlock(&s->lock);
        int64_t last_ms = grace_ms > STOP_LEAST_MS ? grace_ms : STOP_LEAST_MS;
        if (!wait_quiet(s, monotonic_us() + last_ms * 1000)) return false;
    }
    while (atomic_load(&s->n_finishing) > 0) sched_yield(); /* its reply may be gone before it is */
    stop_listeners(s);
    struct keel_error ignored; /* a file that stays is replaced by the next start */
    if (s->options.socket_path) (void)!file_remove(s->options.socket_path, &ignored);
    release(s);
    return true;
}

/* ---- questions ---- */

unsigned server_port(const struct server *s) { return s->port; }
const struct route *const *server_tables(const struct server *s) { return s->tables; }
bool server_draining(const struct server *s) { return atomic_load(&s->draining); }

const _Atomic bool *server_cutting(const struct server *s) { return &s->cutting; }

void server_stats(const struct server *s, struct server_stats *out) {
    *out = (struct server_stats){
        .connections = atomic_load(&s->n_connections),
        .open_connections = atomic_load(&s->n_open),
        .requests = atomic_load(&s->n_requests),
        .refused = atomic_load(&s->n_refused),
        .bytes_in = atomic_load(&s->n_bytes_in),
        .bytes_out = atomic_load(&s->n_bytes_out),
        .memory_bytes = atomic_load(&s->n_memory),
        .waiting = atomic_load(&s->n_under_way),
        .latency_sum_us = atomic_load(&s->n_latency_us),
    };
    for (unsigned i = 0; i < SERVER_CLASSES; i++) out->classes[i] = atomic_load(&s->classes[i]);
    for (unsigned i = 0; i < SERVER_LATENCIES; i++) out->latency[i] = atomic_load(&s->latency[i]);
}
