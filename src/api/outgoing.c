/* Implementation of outgoing.h. */
#include "api/outgoing.h"

#include <pthread.h>
#include <stdatomic.h>

#include "api/app.h"
#include "api/metrics.h"
#include "base/os.h"
#include "customer/backup.h"
#include "guard/audit.h"
#include "reach/webhook.h"

enum { BACKUP_NONE, BACKUP_RUNS, BACKUP_DONE, BACKUP_FAILED };

struct outgoing {
    struct app *app;
    struct archive *archive; /* NULL: no source has one */
    struct collect_hooks inner;
    _Atomic bool stopping;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t idle;
    unsigned exports;
    int state;
    bool joinable;
    pthread_t thread;
    char *to;
    struct backup_options wish;
    struct backup_progress progress;
    struct backup_made made;
    struct keel_error error;
};

/* ---- the archive's hook ---- */

static bool checks(void *ctx, const struct event_source *source) {
    const struct outgoing *o = ctx;
    return o->inner.checks && o->inner.checks(o->inner.ctx, source);
}

static bool check(void *ctx, const struct collect_event *event, struct buf *details) {
    const struct outgoing *o = ctx;
    return !o->inner.check || o->inner.check(o->inner.ctx, event, details);
}

static int keep(void *ctx, const struct collect_outcome *const *outcomes, uint32_t n,
                struct keel_error *err) {
    const struct outgoing *o = ctx;
    return o->inner.keep(o->inner.ctx, outcomes, n, err);
}

static void tell(void *ctx, const struct collect_outcome *outcome) {
    const struct outgoing *o = ctx;
    archive_tell(o->archive, outcome);
    if (o->inner.tell) o->inner.tell(o->inner.ctx, outcome);
}

struct collect_hooks outgoing_hooks(struct outgoing *o, const struct collect_hooks *inner) {
    o->inner = *inner;
    return (struct collect_hooks){.ctx = o,
                                  .checks = checks,
                                  .check = check,
                                  .keep = inner->keep ? keep : NULL,
                                  .tell = tell};
}

/* ---- backups ---- */

static void note_progress(void *ctx, const struct backup_progress *p) {
    struct outgoing *o = ctx;
    pthread_mutex_lock(&o->lock);
    o->progress = *p;
    pthread_mutex_unlock(&o->lock);
}

static void *run_backup(void *arg) {
    struct outgoing *o = arg;
    struct backup_made made = {0};
    struct keel_error err = {0};
    struct backup_options options = o->wish;
    options.dir = o->app->dir;
    options.db = o->app->db;
    options.to = o->to;
    options.progress = note_progress;
    options.cancel = &o->stopping;
    options.ctx = o;
    struct audit_copy audit = {0};
    int code = audit_for_backup(o->app->dir, &audit, &err);
    options.audit_bytes = audit.bytes;
    options.audit_head = (struct str){audit.head, AUDIT_HEAD_FILE};
    if (code == 0) code = backup_take(&options, &made, &err);
    pthread_mutex_lock(&o->lock);
    o->state = code < 0 ? BACKUP_FAILED : BACKUP_DONE;
    o->made = made;
    o->error = err;
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

/* The lock is held. */
static int begin_backup(struct outgoing *o, struct str to, struct keel_error *err) {
    if (o->state == BACKUP_RUNS) FAIL(err, BUSY, "a backup is under way already");
    if (o->joinable) pthread_join(o->thread, NULL);
    o->joinable = false;
    k_free(o->to);
    o->to = k_alloc(to.n + 1);
    memcpy(o->to, to.p, to.n);
    o->to[to.n] = 0;
    o->progress = (struct backup_progress){0};
    int failed = pthread_create(&o->thread, NULL, run_backup, o);
    if (failed) return error_errno(err, failed, "cannot start a backup");
    o->joinable = true;
    o->state = BACKUP_RUNS;
    return 0;
}

int outgoing_backup(struct outgoing *o, struct str to, const struct backup_options *wish,
                    struct keel_error *err) {
    pthread_mutex_lock(&o->lock);
    if (o->state != BACKUP_RUNS) o->wish = *wish;
    int code = begin_backup(o, to, err);
    pthread_mutex_unlock(&o->lock);
    return code;
}

void outgoing_backup_json(struct outgoing *o, struct buf *out) {
    static const char *const states[] = {"none", "running", "done", "failed"};
    pthread_mutex_lock(&o->lock);
    bool done = o->state == BACKUP_DONE;
    (void)buf_printf(out, "{\"state\":\"%s\"", states[o->state]);
    if (o->state != BACKUP_NONE)
        (void)buf_printf(
            out, ",\"files\":%llu,\"bytes\":%llu,\"copied_bytes\":%llu",
            (unsigned long long)(done ? o->made.files : o->progress.files),
            (unsigned long long)(done ? o->made.bytes : o->progress.bytes),
            (unsigned long long)(done ? o->made.copied_bytes : o->progress.copied_bytes));
    if (done)
        (void)buf_printf(out, ",\"generation\":%llu,\"removed_generations\":%llu",
                         (unsigned long long)o->made.generation,
                         (unsigned long long)o->made.removed_generations);
    if (o->state == BACKUP_FAILED) {
        (void)buf_printf(out, ",\"code\":%d,\"error\":", -o->error.code);
        (void)!buf_add_json_str(out, str_from(o->error.message));
    }
    (void)!buf_add_char(out, '}');
    pthread_mutex_unlock(&o->lock);
}

/* ---- exports ---- */

int outgoing_export_begin(struct outgoing *o, struct keel_error *err) {
    pthread_mutex_lock(&o->lock);
    bool room = o->exports < OUTGOING_EXPORTS_MOST;
    o->exports += room;
    pthread_mutex_unlock(&o->lock);
    if (!room) FAIL(err, BUSY, "%d exports are under way already", OUTGOING_EXPORTS_MOST);
    return 0;
}

void outgoing_export_end(struct outgoing *o) {
    pthread_mutex_lock(&o->lock);
    o->exports--;
    pthread_cond_signal(&o->idle);
    pthread_mutex_unlock(&o->lock);
}

const _Atomic bool *outgoing_stopping(const struct outgoing *o) { return &o->stopping; }

/* ---- metrics ---- */

static void webhook_metrics(const struct outgoing *o, struct metric_text *t) {
    static const char NAME[] = "keel_webhook_deliveries_total";
    static const char HELP[] =
        "Tries of webhooks by outcome; dead: given up, counted as failed, too";
    struct webhooks_stats s;
    webhooks_stats(o->app->webhooks, &s);
    metric(t, METRIC_COUNTER, NAME, HELP, (double)s.delivered, "outcome", "delivered",
           (const char *)NULL);
    metric(t, METRIC_COUNTER, NAME, HELP, (double)s.failed, "outcome", "failed",
           (const char *)NULL);
    metric(t, METRIC_COUNTER, NAME, HELP, (double)s.dead, "outcome", "dead", (const char *)NULL);
    metric(t, METRIC_GAUGE, "keel_webhook_in_flight", "Requests of webhooks under way",
           (double)s.in_flight, (const char *)NULL);
    metric(t, METRIC_GAUGE, "keel_webhook_waiting", "Events read for webhooks and not yet sent",
           (double)s.waiting, (const char *)NULL);
    metric(t, METRIC_GAUGE, "keel_webhook_paused", "Webhooks that are left alone for a while",
           (double)s.paused_endpoints, (const char *)NULL);
    metric(t, METRIC_GAUGE, "keel_webhook_engine_failed",
           "1: the engine met an error of the journal or of desk.db", s.last_error.code != 0,
           (const char *)NULL);
}

static void add_metrics(void *ctx, struct metric_text *t) {
    const struct outgoing *o = ctx;
    struct archive_stats s;
    webhook_metrics(o, t);
    archive_stats(o->archive, &s);
    metric(t, METRIC_COUNTER, "keel_archive_events_total", "Events written to the raw archive",
           (double)s.events, (const char *)NULL);
    metric(t, METRIC_COUNTER, "keel_archive_bytes_total", "Bytes of JSON written to it",
           (double)s.bytes, (const char *)NULL);
    metric(t, METRIC_COUNTER, "keel_archive_dropped_requests_total",
           "Requests that it lost: the disk refused, or was too slow", (double)s.dropped_lines,
           (const char *)NULL);
}

/* ---- life ---- */

static int open_all(struct outgoing *o, struct keel_error *err) {
    const struct config *c = o->app->config;
    struct archive_options archive = {
        .dir = o->app->dir, .all = c->archive.on, .keep_days = (uint32_t)c->archive.keep_days};
    struct webhooks_options hooks = {
        .dir = o->app->dir, .db = o->app->db, .allow_private = c->webhooks.allow_private};
    TRY(archive_open(&archive, &o->archive, err));
    return webhooks_open(&hooks, &o->app->webhooks, err);
}

int outgoing_open(struct app *app, struct outgoing **out, struct keel_error *err) {
    struct outgoing *o = k_zalloc(sizeof *o);
    o->app = app;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->idle, NULL);
    int code = open_all(o, err);
    if (code < 0) {
        outgoing_close(o);
        return code;
    }
    if (app->metrics) metrics_add(app->metrics, add_metrics, o);
    app->outgoing = *out = o;
    return 0;
}

void outgoing_close(struct outgoing *o) {
    if (!o) return;
    atomic_store(&o->stopping, true);
    pthread_mutex_lock(&o->lock);
    while (o->exports) pthread_cond_wait(&o->idle, &o->lock);
    bool joinable = o->joinable;
    pthread_mutex_unlock(&o->lock);
    if (joinable) pthread_join(o->thread, NULL);
    webhooks_close(o->app->webhooks);
    o->app->webhooks = NULL;
    archive_close(o->archive);
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->idle);
    k_free(o->to);
    k_free(o);
}
