/* Implementation of changes.h. One reading of the outbox serves all listeners: it begins at the one
 * that is furthest behind, and each is given what is behind its own cursor. */
#include "api/changes.h"

#include <pthread.h>

#include "api/log.h"
#include "api/routes.h"
#include "api/segments_api.h"
#include "base/os.h"
#include "base/thread.h"
#include "reach/outbox.h"

enum {
    WAITING_BYTES = 1 << 20, /* of one listener   */
    READ_MOST = 10000,       /* changes a reading */
    BLOCKED_US = 100000,     /* a listener whose socket is full is tried again */
    SEGMENTS_MOST = 100,
};

struct listener {
    struct listener *next;
    struct reply_stream *stream;
    int64_t cursor; /* the number of the last change that was given or passed over */
    int64_t segments[SEGMENTS_MOST];
    uint32_t n_segments; /* 0: all */
    int64_t blocked_us;  /* since when its socket is full; 0: it is not */
    bool full, gone;     /* of this round */
};

struct changes {
    struct app *app;
    struct sql *desk; /* of the thread */
    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake;
    bool more, stopping, running;
    struct listener *listeners;
    uint32_t count;
    struct buf line; /* of the thread */
};

/* ---- giving ---- */

static void push(struct listener *l, struct str text) {
    int code = stream_push(l->stream, text);
    if (code == -KEEL_E_LIMIT) {
        l->full = true;
        if (!l->blocked_us) l->blocked_us = monotonic_us();
    } else {
        l->gone |= code < 0;
        l->blocked_us = 0;
    }
}

static bool is_wanted(const struct listener *l, const struct outbox_change *c) {
    for (uint32_t i = 0; i < l->n_segments; i++)
        if (l->segments[i] == c->segment) return true;
    return l->n_segments == 0;
}

static void put_change(const struct outbox_change *c, struct buf *out) {
    char id[OUTBOX_ID_BYTES];
    outbox_id(c, id);
    (void)!buf_printf(out, "id: %lld\nevent: %s\ndata: {\"id\":\"%s\",", (long long)c->number,
                      c->entered ? "entered" : "left", id);
    segments_time_json("at", c->at_ms, out);
    (void)!buf_printf(out, ",\"segment_id\":%lld,\"segment\":", (long long)c->segment);
    (void)!buf_add_json_str(out, c->name);
    (void)!buf_printf(out, ",\"version\":%lld,\"customer\":%u,\"%s\":", (long long)c->version,
                      c->customer, c->kind == ID_USER ? "user_id" : "anonymous_id");
    (void)!buf_add_json_str(out, c->id);
    (void)!buf_printf(out, ",\"cause\":\"%s\"}\n\n", OUTBOX_CAUSE_TEXT[c->cause]);
}

/* `lock` held. 1: nobody takes more. */
static int give(void *ctx, const struct outbox_change *change) {
    struct changes *c = ctx;
    bool any = false;
    buf_clear(&c->line);
    for (struct listener *l = c->listeners; l; l = l->next) {
        if (l->full || l->gone) continue;
        any = true;
        if (l->cursor >= change->number) continue;
        if (is_wanted(l, change)) {
            if (!c->line.n) put_change(change, &c->line);
            push(l, buf_str(&c->line));
        }
        if (!l->full) l->cursor = change->number;
    }
    return !any;
}

/* Those whose next change is not kept any more go on with the oldest. */
static void skip_lost(struct changes *c, int64_t first) {
    for (struct listener *l = c->listeners; l; l = l->next) {
        if (l->cursor >= first - 1) continue;
        buf_clear(&c->line);
        (void)!buf_printf(&c->line, "event: lost\ndata: {\"after\":%lld,\"first\":%lld}\n\n",
                          (long long)l->cursor, (long long)first);
        push(l, buf_str(&c->line));
        if (!l->full) l->cursor = first - 1;
    }
}

/* 1: there is more to read. */
static int round_of(struct changes *c, struct keel_error *err) {
    int64_t first, end, from = INT64_MAX, reached;
    TRY(outbox_end(c->desk, &end, &first, err));
    for (struct listener *l = c->listeners; l; l = l->next) l->full = false;
    skip_lost(c, first);
    for (const struct listener *l = c->listeners; l; l = l->next)
        if (l->cursor < from && !l->full) from = l->cursor;
    if (from >= end) return 0;
    TRY(outbox_read(c->desk, from, READ_MOST, give, c, &reached, err));
    return reached > from && reached < end;
}

static void drop_gone(struct changes *c) {
    for (struct listener **at = &c->listeners; *at;) {
        struct listener *l = *at;
        bool slow =
            l->blocked_us && monotonic_us() > l->blocked_us + CHANGES_PATIENCE_MS * INT64_C(1000);
        if (!l->gone && !slow) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        c->count--;
        stream_close(l->stream);
        k_free(l);
    }
}

static bool any_blocked(const struct changes *c) {
    for (const struct listener *l = c->listeners; l; l = l->next)
        if (l->blocked_us) return true;
    return false;
}

static void *run(void *ctx) {
    struct changes *c = ctx;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        struct keel_error err = {0};
        if (!c->more || !c->listeners) {
            bool late = false;
            if (any_blocked(c))
                late = !cond_wait_until(&c->wake, &c->lock, monotonic_us() + BLOCKED_US);
            else
                pthread_cond_wait(&c->wake, &c->lock);
            c->more |= late;
            continue;
        }
        int more = round_of(c, &err);
        c->more = more > 0;
        if (more < 0)
            log_say(c->app->log, LOG_WARNING, "changes of segments cannot be read", "z", "error",
                    err.message);
        drop_gone(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- life ---- */

static int open_all(struct changes *c, struct keel_error *err) {
    struct arena arena;
    arena_init(&arena, 1 << 16);
    int code = sql_open(arena_printf(&arena, "%s/desk.db", c->app->dir), SQL_CREATE, &c->desk, err);
    arena_release(&arena);
    TRY(code);
    TRY(outbox_tables(c->desk, err));
    int failed = pthread_create(&c->thread, NULL, run, c);
    if (failed) return error_errno(err, failed, "cannot start the stream of segments");
    c->running = true;
    return 0;
}

int changes_open(struct app *app, struct changes **out, struct keel_error *err) {
    struct changes *c = k_zalloc(sizeof *c);
    c->app = app;
    pthread_mutex_init(&c->lock, NULL);
    cond_init_timed(&c->wake);
    buf_init(&c->line, 1 << 20);
    int code = open_all(c, err);
    if (code < 0) {
        changes_close(c);
        return code;
    }
    *out = c;
    return 0;
}

void changes_close(struct changes *c) {
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (c->running) pthread_join(c->thread, NULL);
    for (struct listener *l = c->listeners, *next; l; l = next) {
        next = l->next;
        stream_close(l->stream);
        k_free(l);
    }
    sql_close(c->desk);
    buf_release(&c->line);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    k_free(c);
}

void changes_more(struct changes *c) {
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    c->more = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

/* ---- the route ---- */

/* Numbers or names, with commas between them. */
static int read_segments(const struct app *app, struct str list, struct listener *l,
                         struct keel_error *err) {
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (l->n_segments == SEGMENTS_MOST)
            FAIL(err, LIMIT, "more than %d segments: follow all, and choose yourself",
                 SEGMENTS_MOST);
        struct str which = str_trim((struct str){list.p, n});
        TRY(audience_find(app->desk, which, &l->segments[l->n_segments++], err));
        n += comma != NULL;
        list = (struct str){list.p + n, list.n - n};
    }
    return 0;
}

static int read_listener(struct request *r, const struct app *app, struct listener *l,
                         struct keel_error *err) {
    struct str text, last = request_header(r, "Last-Event-ID");
    int64_t end, first;
    TRY(outbox_end(app->desk, &end, &first, err));
    l->cursor = end;
    if (request_param(r, "segment", &text)) TRY(read_segments(app, text, l, err));
    if (last.n == 0) (void)request_param(r, "after", &last);
    if (last.n == 0) return 0;
    if (!str_to_i64(last, &l->cursor) || l->cursor < 0)
        FAIL(err, INVALID, "after, or Last-Event-ID, is the number of a change");
    if (l->cursor > end) l->cursor = end; /* of an outbox that was longer: a restored backup */
    return 0;
}

static int stream(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct changes *c = app->changes;
    struct listener *l = k_zalloc(sizeof *l);
    int code = read_listener(r, app, l, err);
    pthread_mutex_lock(&c->lock);
    if (code == 0 && (c->count == CHANGES_LISTENERS || c->stopping))
        code = error_set(err, KEEL_E_BUSY, "%d others follow segments already", CHANGES_LISTENERS);
    if (code == 0) {
        r->disclosed = true;
        l->stream = request_stream(r, WAITING_BYTES);
        l->next = c->listeners;
        c->listeners = l;
        c->count++;
        c->more = true;
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&c->lock);
    if (code < 0) k_free(l);
    return code;
}

const struct route routes_segments_stream[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/segments/stream",
     .handle = stream,
     .right = RIGHT_PERSONAL_READ,
     .flags = ROUTE_WORKER,
     .tag = "segments",
     .summary = "Who enters and leaves segments, as server-sent events",
     .params = "segment string numbers or names, with commas between them; default all\n"
               "after integer behind this change; default only what comes"},
    {0},
};
