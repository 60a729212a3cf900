/* Implementation of archive.h: writing. Reading is archive_read.c's. */
#include "api/collect/archive.h"

#include <pthread.h>
#include <stdio.h>
#include <zstd.h>

#include "base/os.h"
#include "base/time.h"
#include "customer/envelope.h"

enum { PATH_BYTES = 4096, LEVEL = 3, HOUR_BYTES = 13, FRAME_BYTES = ARCHIVE_WAITING_BYTES };

struct archive {
    struct archive_options options;
    char *dir;
    int64_t started_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* fill, filled, stopping, stats */
    pthread_cond_t wake;
    struct buf fill, out; /* out: the thread's */
    uint64_t fill_lines, fill_events;
    bool stopping;
    struct archive_stats stats;
    /* The thread's. */
    struct buf frame;
    char hour[TIME_TEXT_MAX], path[PATH_BYTES];
    int fd;
    ZSTD_CCtx *zstd;
};

/* ---- lines ---- */

/* JSON has line breaks only between its tokens. */
static void add_raw(struct buf *b, struct str json) {
    while (json.n) {
        size_t n = 0;
        while (n < json.n && json.p[n] != '\n' && json.p[n] != '\r') n++;
        (void)!buf_add(b, json.p, n);
        if (n < json.n) (void)!buf_add_char(b, ' ');
        n += n < json.n;
        json = (struct str){json.p + n, json.n - n};
    }
}

static void add_connection(struct buf *b, const struct client *client) {
    char text[CLIENT_ADDRESS_BYTES];
    struct str agent =
        client->own && str_is_utf8(client->user_agent) ? client->user_agent : STR("");
    (void)!buf_add_text(b, ",\"connection\":{\"ip\":");
    (void)!buf_add_json_str(b, client_address(client->ip, client->address, text));
    (void)!buf_add_text(b, ",\"userAgent\":");
    (void)!buf_add_json_str(b, agent);
    (void)buf_printf(b, ",\"own\":%s,\"policy\":%d,\"sentMs\":%lld}",
                     client->own ? "true" : "false", (int)client->ip, (long long)client->sent_ms);
}

static void begin_line(struct buf *b, const struct collect_outcome *o,
                       const struct event_source *source) {
    char time[TIME_TEXT_MAX];
    size_t n = time_format(NULL, o->received_ms, time);
    (void)buf_printf(b, "{\"receivedAt\":\"%.*s\",\"source\":", (int)n, time);
    (void)!buf_add_json_str(b, source->name);
    if (o->type != SEGMENT_ANY_TYPE)
        (void)buf_printf(b, ",\"type\":\"%s\"", envelope_type_text((enum event_type)o->type));
    add_connection(b, &o->client);
    if (o->envelope.sent.n) {
        (void)!buf_add_text(b, ",\"sentAt\":");
        add_raw(b, o->envelope.sent);
    }
    if (o->envelope.context.n) {
        (void)!buf_add_text(b, ",\"context\":");
        add_raw(b, o->envelope.context);
    }
    (void)!buf_add_text(b, ",\"batch\":[");
}

static bool is_kept(const struct archive *a, const struct collect_item *item) {
    return item->fate == COLLECT_ACCEPTED && item->source &&
           (a->options.all || item->source->archive);
}

/* The lock is held. Nothing is left of a request that finds no room. */
static void add_lines(struct archive *a, const struct collect_outcome *o) {
    const struct event_source *source = NULL;
    size_t start = a->fill.n;
    uint64_t lines = 0, events = 0;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct collect_item *item = &o->items[i];
        if (!is_kept(a, item)) continue;
        if (source && source != item->source) (void)!buf_add_text(&a->fill, "]}\n");
        if (source != item->source) {
            begin_line(&a->fill, o, item->source);
            lines++;
        } else {
            (void)!buf_add_char(&a->fill, ',');
        }
        source = item->source;
        add_raw(&a->fill, item->text);
        events++;
    }
    if (source) (void)!buf_add_text(&a->fill, "]}\n");
    if (a->fill.failed) {
        a->fill.n = start;
        a->fill.failed = 0;
        a->stats.dropped_lines += lines;
        return;
    }
    a->fill_lines += lines;
    a->fill_events += events;
}

void archive_tell(struct archive *a, const struct collect_outcome *outcome) {
    if (!a || outcome->refused || !outcome->n) return;
    pthread_mutex_lock(&a->lock);
    bool much = a->fill.n >= ARCHIVE_WRITE_BYTES;
    add_lines(a, outcome);
    if (!much && a->fill.n >= ARCHIVE_WRITE_BYTES) pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

void archive_stats(struct archive *a, struct archive_stats *out) {
    pthread_mutex_lock(&a->lock);
    *out = a->stats;
    pthread_mutex_unlock(&a->lock);
}

/* ---- files ---- */

static int remove_old_file(void *ctx, const char *name) {
    const struct archive *a = ctx;
    char path[PATH_BYTES], day[16];
    int64_t ms;
    if (strlen(name) < HOUR_BYTES || !strstr(name, ".ndjson.zst")) return 0;
    snprintf(day, sizeof day, "%.10s", name);
    if (!time_parse(str_from(day), NULL, &ms)) return 0;
    if (ms + (int64_t)(a->options.keep_days + 1) * MS_PER_DAY > now_ms()) return 0;
    snprintf(path, sizeof path, "%s/archive/%s", a->dir, name);
    return file_remove(path, NULL);
}

/* The file of this hour, begun when there is none. */
static int turn_file(struct archive *a, struct keel_error *err) {
    char now[TIME_TEXT_MAX], folder[PATH_BYTES];
    size_t n = time_format(NULL, now_ms(), now);
    now[n < HOUR_BYTES ? n : HOUR_BYTES] = 0;
    if (a->fd >= 0 && strcmp(now, a->hour) == 0) return 0;
    file_close(a->fd);
    a->fd = -1;
    a->hour[0] = 0;
    snprintf(folder, sizeof folder, "%s/archive", a->dir);
    if (!file_exists(folder)) {
        TRY(file_make_dir(folder, err));
        TRY(file_sync_dir(a->dir, err));
    }
    snprintf(a->hour, sizeof a->hour, "%s", now);
    snprintf(a->path, sizeof a->path, "%s/archive/%s-%lld.ndjson.zst", a->dir, now,
             (long long)a->started_ms);
    TRY(file_open(a->path, FILE_WRITE | FILE_CREATE | FILE_APPEND, &a->fd, err));
    TRY(file_sync_dir(folder, err));
    if (!a->options.keep_days) return 0;
    return file_list_dir(folder, remove_old_file, a, err);
}

static int write_frame(struct archive *a, struct keel_error *err) {
    TRY(turn_file(a, err));
    buf_clear(&a->frame);
    size_t bound = ZSTD_compressBound(a->out.n);
    if (buf_reserve(&a->frame, bound) < 0)
        FAIL(err, NO_MEMORY, "no memory to compress %zu bytes", a->out.n);
    size_t n = ZSTD_compress2(a->zstd, a->frame.p, bound, a->out.p, a->out.n);
    if (ZSTD_isError(n)) FAIL(err, INTERNAL, "cannot compress: %s", ZSTD_getErrorName(n));
    TRY(file_write_all(a->fd, a->frame.p, n, a->path, err));
    return file_sync_data(a->fd, a->path, err);
}

/* Writes what waits. After a failure the next write begins another file: behind a piece of a frame
 * nothing could be read. The lock is held, and released in between. */
static void write_waiting(struct archive *a) {
    struct keel_error err = {0};
    struct buf taken = a->fill;
    uint64_t lines = a->fill_lines, events = a->fill_events;
    a->fill = a->out;
    buf_clear(&a->fill);
    a->fill_lines = a->fill_events = 0;
    a->out = taken;
    pthread_mutex_unlock(&a->lock);
    int code = write_frame(a, &err);
    if (code < 0) {
        file_close(a->fd);
        a->fd = -1;
        a->started_ms = now_ms();
    }
    pthread_mutex_lock(&a->lock);
    if (code < 0) {
        a->stats.last_error = err;
        a->stats.dropped_lines += lines;
        return;
    }
    a->stats.lines += lines;
    a->stats.events += events;
    a->stats.bytes += a->out.n;
}

static void *run(void *arg) {
    struct archive *a = arg;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping || a->fill.n) {
        int64_t until_us = monotonic_us() + (int64_t)ARCHIVE_WRITE_MS * 1000;
        struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
        int late = 0;
        while (!a->stopping && a->fill.n < ARCHIVE_WRITE_BYTES && !late)
            late = pthread_cond_clockwait(&a->wake, &a->lock, CLOCK_MONOTONIC, &until);
        if (a->fill.n) write_waiting(a);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

/* ---- life ---- */

static void release(struct archive *a) {
    file_close(a->fd);
    ZSTD_freeCCtx(a->zstd);
    buf_release(&a->fill);
    buf_release(&a->out);
    buf_release(&a->frame);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
    k_free(a->dir);
    k_free(a);
}

int archive_open(const struct archive_options *options, struct archive **out,
                 struct keel_error *err) {
    struct archive *a = k_zalloc(sizeof *a);
    a->options = *options;
    a->options.dir = a->dir = k_strdup(options->dir);
    a->fd = -1;
    a->started_ms = now_ms();
    a->zstd = ZSTD_createCCtx();
    if (a->zstd) {
        (void)ZSTD_CCtx_setParameter(a->zstd, ZSTD_c_compressionLevel, LEVEL);
        (void)ZSTD_CCtx_setParameter(a->zstd, ZSTD_c_checksumFlag, 1); /* damage is an error */
    }
    buf_init(&a->fill, ARCHIVE_WAITING_BYTES);
    buf_init(&a->out, ARCHIVE_WAITING_BYTES);
    buf_init(&a->frame, ZSTD_COMPRESSBOUND((size_t)FRAME_BYTES) + 64);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
    int code = a->zstd ? 0 : error_set(err, KEEL_E_NO_MEMORY, "no memory for the archive");
    if (code == 0) {
        int failed = pthread_create(&a->thread, NULL, run, a);
        if (failed) code = error_errno(err, failed, "cannot start the archive's thread");
    }
    if (code < 0) {
        release(a);
        return code;
    }
    *out = a;
    return 0;
}

void archive_close(struct archive *a) {
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    release(a);
}
