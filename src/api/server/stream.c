/* Replies without an end: a bounded buffer between whoever pushes and a suspended connection.
 *
 * libmicrohttpd asks for bytes; when there are none the connection is suspended, and the next push
 * resumes it. A suspended connection is not read, so a client that left is noticed only by writing:
 * an event stream that was silent for HEARTBEAT_MS gets an empty comment.
 *
 * Layers: server_int.h. Threads: stream.lock guards everything; two holders (the pusher, the
 * connection), the last one frees. Limits: max_waiting_bytes of each stream, counted in
 * max_memory_bytes.
 */
#include "api/server/server_int.h"

#include "base/os.h"

struct reply_stream {
    pthread_mutex_t lock;
    pthread_cond_t drained;
    struct server *server; /* NULL once the connection is gone */
    struct MHD_Connection *mhd;
    struct loop *loop;
    struct reply_stream *before, *after; /* server.lock */
    struct buf waiting;
    size_t sent;    /* of `waiting`                                            */
    size_t charged; /* of the server's memory: counted, and not refused, like a reply; a tail
                       that is cut because others send much would be no help     */
    int holders;
    bool events, asleep, closed, gone;
    int64_t touched_us;
    uint64_t bytes;
};

struct reply_stream *request_stream(struct request *r, size_t max_waiting_bytes) {
    struct exchange *e = exchange_of(r);
    struct server *server = e->server;
    struct reply_stream *s = k_zalloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->drained, NULL);
    buf_init(&s->waiting, max_waiting_bytes);
    s->server = server;
    s->mhd = e->mhd;
    s->loop = e->connection->loop;
    s->holders = 2;
    s->touched_us = monotonic_us();
    r->reply.stream = s;
    pthread_mutex_lock(&server->lock);
    s->gone = atomic_load(&server->draining); /* streams_cut comes after it was set */
    s->after = server->streams;
    if (s->after) s->after->before = s;
    server->streams = s;
    pthread_mutex_unlock(&server->lock);
    return s;
}

int request_document(struct request *r, size_t max_waiting_bytes, void *(*write)(void *), void *arg,
                     struct reply_stream **out, struct keel_error *err) {
    struct reply_stream *s = *out = request_stream(r, max_waiting_bytes);
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, write, arg);
    if (!failed) {
        pthread_detach(thread);
        return 0;
    }
    r->reply.stream = NULL;
    r->reply.content_type = NULL;
    stream_close(s);
    return error_errno(err, failed, "cannot start to write the reply");
}

/* Gives up one of two holds. The lock is held, and released here. */
static void let_go(struct reply_stream *s) {
    bool last = --s->holders == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last) return;
    buf_release(&s->waiting);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->drained);
    k_free(s);
}

/* What the buffer has grown to. */
static void charge(struct reply_stream *s) {
    if (s->waiting.cap <= s->charged) return;
    atomic_fetch_add_explicit(&s->server->n_memory, s->waiting.cap - s->charged,
                              memory_order_relaxed);
    s->charged = s->waiting.cap;
}

static void wake(struct reply_stream *s) {
    if (!s->asleep) return;
    s->asleep = false;
    connection_resume(s->loop, s->mhd);
}

int stream_push(struct reply_stream *s, struct str text) {
    int code = 0;
    pthread_mutex_lock(&s->lock);
    if (s->gone) {
        code = -KEEL_E_CANCELLED;
    } else {
        if (s->sent > 0 && s->waiting.n + text.n > s->waiting.cap) { /* move before growing */
            s->waiting.n -= s->sent;
            memmove(s->waiting.p, s->waiting.p + s->sent, s->waiting.n);
            s->sent = 0;
        }
        code = buf_add_str(&s->waiting, text);
        s->waiting.failed = 0; /* a full buffer has room again later */
        charge(s);
        if (code == 0) {
            s->touched_us = monotonic_us();
            wake(s);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return code;
}

int stream_wait(struct reply_stream *s, size_t bytes, unsigned ms) {
    int64_t until = monotonic_us() + (int64_t)ms * 1000;
    struct timespec at = {until / 1000000, until % 1000000 * 1000};
    pthread_mutex_lock(&s->lock);
    int late = 0;
    while (!s->gone && !late && s->waiting.max - (s->waiting.n - s->sent) < bytes)
        late = pthread_cond_clockwait(&s->drained, &s->lock, CLOCK_MONOTONIC, &at);
    int code = s->gone ? -KEEL_E_CANCELLED : late ? -KEEL_E_LIMIT : 0;
    pthread_mutex_unlock(&s->lock);
    return code;
}

void stream_close(struct reply_stream *s) {
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    if (!s->gone) wake(s);
    let_go(s);
}

/* ---- the connection's side ---- */

static ssize_t read_stream(void *ctx, uint64_t at, char *out, size_t max) {
    (void)at;
    struct reply_stream *s = ctx;
    ssize_t given = 0;
    pthread_mutex_lock(&s->lock);
    size_t left = s->waiting.n - s->sent;
    if (left > 0) {
        size_t n = left < max ? left : max;
        memcpy(out, s->waiting.p + s->sent, n);
        s->sent += n;
        s->bytes += n;
        given = (ssize_t)n;
        if (s->sent == s->waiting.n) {
            buf_clear(&s->waiting);
            s->sent = 0;
        }
        pthread_cond_broadcast(&s->drained);
    } else if (s->closed || s->gone) {
        given = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        s->asleep = true;
        MHD_suspend_connection(s->mhd);
    }
    pthread_mutex_unlock(&s->lock);
    return given;
}

struct MHD_Response *stream_response(struct exchange *e) {
    enum { BLOCK = 16 << 10 };
    struct reply *reply = &e->r.reply;
    if (!reply->content_type) {
        reply->content_type = "text/event-stream";
        reply_header(&e->r, "Cache-Control", STR("no-store"));
        reply_header(&e->r, "X-Accel-Buffering", STR("no")); /* proxies: pass it on at once */
        pthread_mutex_lock(&reply->stream->lock);
        reply->stream->events = true;
        pthread_mutex_unlock(&reply->stream->lock);
    }
    atomic_store_explicit(&e->connection->deadline_ms, 0, memory_order_relaxed);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, reply->stream,
                                             NULL);
}

void stream_detach(struct reply_stream *s) {
    struct server *server = s->server;
    pthread_mutex_lock(&server->lock);
    if (s->before) s->before->after = s->after;
    if (s->after) s->after->before = s->before;
    if (server->streams == s) server->streams = s->after;
    pthread_mutex_unlock(&server->lock);
    pthread_mutex_lock(&s->lock);
    atomic_fetch_sub_explicit(&server->n_memory, s->charged, memory_order_relaxed);
    s->gone = true;
    s->asleep = false;
    s->server = NULL;
    s->mhd = NULL;
    pthread_cond_broadcast(&s->drained);
    let_go(s);
}

/* ---- the clock's side: server.lock is held, so no stream is detached meanwhile ---- */

void streams_beat(struct server *server, int64_t now) {
    for (struct reply_stream *s = server->streams; s; s = s->after) {
        pthread_mutex_lock(&s->lock);
        if (s->events && s->asleep && now - s->touched_us > (int64_t)HEARTBEAT_MS * 1000) {
            s->touched_us = now;
            (void)!buf_add_text(&s->waiting, ":\n\n");
            s->waiting.failed = 0;
            wake(s);
        }
        pthread_mutex_unlock(&s->lock);
    }
}

void streams_cut(struct server *server) {
    pthread_mutex_lock(&server->lock);
    for (struct reply_stream *s = server->streams; s; s = s->after) {
        pthread_mutex_lock(&s->lock);
        s->gone = true;
        wake(s);
        pthread_cond_broadcast(&s->drained);
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&server->lock);
}
