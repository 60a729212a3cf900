/* The collector: queue, applier, committer; see collect.h.
 *
 * A job goes through two queues. The applier takes all that waits in the first and hands each job
 * on as soon as it is applied; the committer takes all that waits in the second, commits once, and
 * answers. So the longer a sync takes, the more requests share the next one, and reading, applying
 * and syncing go on side by side. Rejected: one thread that does both. The processor then waits for
 * the disk.
 *
 * Once a commit has failed, what was appended is unknown: it may be there after a restart, or when
 * the journal finds room again. Its senders are answered 503 and send it again; what was there
 * already is then a duplicate, and acknowledged when the journal has got past it.
 *
 * Layers: collect_int.h. Threads and locks: each queue has its own, held for moments; `lock` guards
 * the tools. No lock is held during a call of a hook, of the database or of the server.
 */
#include <stdatomic.h>

#include "api/app.h"
#include "api/collect/collect_int.h"
#include "api/collect/credentials.h"
#include "api/log.h"
#include "base/os.h"

enum {
    DEFAULT_REQUESTS = 16384,
    DEFAULT_BYTES = 256 << 20,
    DEFAULT_EVENT_BYTES = 1 << 20,
    DEFAULT_EVENTS = 50000,
    DEFAULT_RETRY_SECONDS = 2,
    KEEP_MOST = 256, /* requests whose held events are kept in one transaction */
};

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
};

/* ---- jobs and queues ---- */

struct job *job_new(const struct dialect *dialect, int64_t received_ms) {
    struct job *job = k_try_zalloc(sizeof *job);
    if (!job) return NULL;
    job->dialect = dialect;
    job->outcome.received_ms = received_ms;
    job->outcome.dialect = dialect ? dialect->name : "replay";
    arena_init(&job->arena, JOB_ARENA_BYTES);
    buf_init(&job->batch, BATCH_MAX_BYTES + 64);
    return job;
}

void job_free(struct job *job) {
    arena_release(&job->arena);
    buf_release(&job->batch);
    k_free(job);
}

static void queue_init(struct queue *q) {
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->wake, NULL);
    q->first = NULL;
    q->last = &q->first;
    q->stopping = false;
}

static void queue_release(struct queue *q) {
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->wake);
}

static void queue_add(struct queue *q, struct job *job) {
    job->next = NULL;
    pthread_mutex_lock(&q->lock);
    bool was_empty = !q->first;
    *q->last = job;
    q->last = &job->next;
    pthread_mutex_unlock(&q->lock);
    if (was_empty) pthread_cond_signal(&q->wake);
}

/* All that waits; waits for it. NULL: stopping, and nothing is left. */
static struct job *queue_take(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    while (!q->first && !q->stopping) pthread_cond_wait(&q->wake, &q->lock);
    struct job *all = q->first;
    q->first = NULL;
    q->last = &q->first;
    pthread_mutex_unlock(&q->lock);
    return all;
}

static void queue_stop(struct queue *q) {
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
}

/* ---- back-pressure ---- */

static bool admit(struct collector *c, struct job *job) {
    job->bytes = (job->request ? job->request->body.n : 0) + job->batch.n + job->arena.used_bytes;
    uint64_t requests = atomic_fetch_add(&c->waiting_requests, 1) + 1;
    uint64_t bytes = atomic_fetch_add(&c->waiting_bytes, job->bytes) + job->bytes;
    /* One that is larger than the bound is taken if it is alone. */
    if (requests <= c->options.max_queue_requests &&
        (bytes <= c->options.max_queue_bytes || requests == 1))
        return true;
    atomic_fetch_sub(&c->waiting_bytes, job->bytes);
    atomic_fetch_sub(&c->waiting_requests, 1);
    return false;
}

/* ---- answers ---- */

static void tell(struct collector *c, struct job *job, int status, const char *refused) {
    job->outcome.status = status;
    job->outcome.refused = refused;
    if (c->hooks.tell) c->hooks.tell(c->hooks.ctx, &job->outcome);
}

/* A request that is turned away: nothing of it is kept. */
static void answer_refusal(struct collector *c, struct job *job, const struct refusal *why,
                           struct str violations) {
    struct request *r = job->request;
    for (uint32_t i = 0; i < job->outcome.n; i++) {
        if (job->items[i].fate == COLLECT_ACCEPTED || !job->items[i].reason)
            job->items[i].reason = why->message;
        job->items[i].fate = COLLECT_REFUSED;
    }
    tell(c, job, why->status, why->message);
    if (!r) return;
    if (why->status == 429 || why->status == 503)
        reply_retry(r, why->status, why->retry_seconds ? why->retry_seconds : 1);
    const char *message = why->detail ? why->detail : why->message;
    job->dialect->failed(r, why->status, why->code, message, violations);
}

static void end_job(struct collector *c, struct job *job) {
    struct request *r = job->request;
    struct waiter *waiter = job->waiter;
    atomic_fetch_sub(&c->waiting_bytes, job->bytes);
    atomic_fetch_sub(&c->waiting_requests, 1);
    if (waiter) { /* it owns the job */
        pthread_mutex_lock(&waiter->lock);
        waiter->done = true;
        pthread_cond_signal(&waiter->wake);
        pthread_mutex_unlock(&waiter->lock);
        return;
    }
    job_free(job);
    request_finish(r);
}

static void answer(struct collector *c, struct job *job) {
    atomic_fetch_add_explicit(&c->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->events, job->outcome.n, memory_order_relaxed);
    if (job->code < 0) {
        const struct refusal why = {.status = 503,
                                    .code = "unavailable",
                                    .message = "the events could not be stored; send them again",
                                    .retry_seconds = c->options.retry_seconds};
        answer_refusal(c, job, &why, STR(""));
    } else {
        tell(c, job, 200, NULL);
        if (job->request) job->dialect->done(job->request, &job->outcome);
    }
    end_job(c, job);
}

/* ---- the applier ---- */

static void note_failure(struct collector *c, const struct keel_error *err) {
    pthread_mutex_lock(&c->lock);
    bool first = !atomic_load(&c->failed);
    if (first) {
        c->failure = *err;
        atomic_store(&c->failed, true);
    }
    pthread_mutex_unlock(&c->lock);
    if (first)
        log_say(c->options.log, LOG_ERROR, "no events are taken until the server is restarted", "z",
                "error", err->message);
}

static void note_blocked(struct collector *c, bool blocked, const struct keel_error *why) {
    if (atomic_load_explicit(&c->blocked, memory_order_relaxed) == blocked) return;
    if (atomic_exchange(&c->blocked, blocked) == blocked) return;
    if (blocked)
        log_say(c->options.log, LOG_ERROR, "no events are taken for now; it is tried again", "z",
                "error", why->message);
    else
        log_say(c->options.log, LOG_INFO, "events are taken again", "");
}

/* Of a batch that is not in the journal nothing was done: without memory, or while there is no room
 * on the disk or because flushes fail, the next one may succeed. Unless store and journal have
 * failed for good. A failure behind the journal is final: the record is there and was not applied.
 */
static void note_append(struct collector *c, int code, uint64_t position,
                        const struct keel_error *err) {
    if (code == 0)
        note_blocked(c, false, NULL);
    else if (position)
        note_failure(c, err);
    else if (code == -KEEL_E_NO_MEMORY)
        return;
    else if (store_failed(db_store(c->db)))
        note_failure(c, err);
    else
        note_blocked(c, true, err);
}

static uint64_t apply(struct collector *c, struct job *job) {
    struct ingest_counts counts = {0};
    struct keel_error err = {0};
    uint64_t position = 0;
    if (job->batch.n == 0) return 0;
    job->code = db_append(c->db, buf_str(&job->batch), &counts, job->fates, &position, &err);
    note_append(c, job->code, position, &err);
    if (job->code < 0) return 0;
    const uint8_t *fate = job->fates;
    for (uint32_t i = 0; i < job->outcome.n; i++) {
        struct collect_item *item = &job->items[i];
        if (item->fate != COLLECT_ACCEPTED) continue;
        if (*fate++ == INGEST_DUPLICATE) {
            item->fate = COLLECT_DUPLICATE;
            item->repaired = false;
        }
    }
    return position;
}

static void *run_applier(void *ctx) {
    struct collector *c = ctx;
    for (struct job *job; (job = queue_take(&c->to_apply));) {
        while (job) {
            struct job *next = job->next;
            job->position = apply(c, job);
            queue_add(&c->to_commit, job);
            job = next;
        }
    }
    queue_stop(&c->to_commit);
    return NULL;
}

/* ---- the committer ---- */

static void commit(struct collector *c, struct job *jobs) {
    struct keel_error err = {0};
    uint64_t position = 0;
    for (struct job *job = jobs; job; job = job->next)
        if (job->position > position) position = job->position;
    if (position == 0) return;
    int code = db_commit(c->db, position, &err);
    atomic_fetch_add_explicit(&c->commits, 1, memory_order_relaxed);
    if (code == 0) return;
    if (store_failed(db_store(c->db)))
        note_failure(c, &err);
    else
        note_blocked(c, true, &err);
    for (struct job *job = jobs; job; job = job->next)
        if (job->position) job->code = code;
}

static void keep_some(struct collector *c, struct job *const *jobs, uint32_t n) {
    const struct collect_outcome *outcomes[KEEP_MOST] = {NULL};
    struct keel_error err;
    for (uint32_t i = 0; i < n; i++) outcomes[i] = &jobs[i]->outcome;
    int code = c->hooks.keep(c->hooks.ctx, outcomes, n, &err);
    for (uint32_t i = 0; code < 0 && i < n; i++) jobs[i]->code = code;
}

/* What was held aside is on disk before its sender is answered. */
static void keep(struct collector *c, struct job *jobs) {
    struct job *some[KEEP_MOST];
    uint32_t n = 0;
    if (!c->hooks.keep) return;
    for (struct job *job = jobs; job; job = job->next) {
        if (job->held == 0 || job->code < 0) continue;
        some[n++] = job;
        if (n < KEEP_MOST) continue;
        keep_some(c, some, n);
        n = 0;
    }
    if (n) keep_some(c, some, n);
}

static void *run_committer(void *ctx) {
    struct collector *c = ctx;
    for (struct job *jobs; (jobs = queue_take(&c->to_commit));) {
        commit(c, jobs);
        keep(c, jobs);
        while (jobs) {
            struct job *next = jobs->next;
            answer(c, jobs);
            jobs = next;
        }
    }
    return NULL;
}

/* ---- requests ---- */

static struct refusal unavailable(const struct collector *c, const char *message) {
    return (struct refusal){.status = 503,
                            .code = "unavailable",
                            .message = message,
                            .retry_seconds = c->options.retry_seconds};
}

/* True: the job is on its way, and no longer the caller's. */
static bool send_on(struct collector *c, struct job *job, struct reading *reading,
                    struct refusal *why) {
    if (atomic_load_explicit(&c->failed, memory_order_acquire)) {
        *why = unavailable(c, "the store has failed; its operator must restart the server");
        return false;
    }
    /* Before the body is read: what will be turned away should cost little. */
    if (atomic_load(&c->waiting_requests) >= c->options.max_queue_requests) {
        *why = unavailable(c, "too many requests wait; send again");
        return false;
    }
    if (!collect_read(c, job, reading, why)) return false;
    if (!admit(c, job)) {
        *why = unavailable(c, "too many requests wait; send again");
        return false;
    }
    queue_add(&c->to_apply, job);
    return true;
}

/* RudderStack's: when the request was sent, by the clock of the device. */
static int64_t sent_ms(const struct request *r) {
    struct str text = request_header(r, "SentAt");
    int64_t ms;
    return text.n && time_parse(text, NULL, &ms) ? ms : 0;
}

static bool is_strict(const struct request *r) {
    struct str value = request_header(r, "X-Strict-Mode");
    return value.n && !str_is(value, "0") && !str_eq_nocase(value, STR("false"));
}

/* Jitsu's: what a page asks to be done with its visitor's address. */
static enum client_ip asked_ip(const struct request *r) {
    struct str value = request_header(r, "X-IP-Policy");
    if (value.n == 0 || str_is(value, "keep")) return CLIENT_IP_KEEP;
    return str_is(value, "stripLastOctet") ? CLIENT_IP_TRUNCATE : CLIENT_IP_DROP;
}

int collect(struct request *r, struct app *app, const struct collect_ask *ask) {
    struct collector *c = app->collector;
    struct str agent = request_header(r, "User-Agent"), origin = request_header(r, "Origin");
    struct refusal why;
    cors_allow(r);
    struct job *job = job_new(ask->dialect, r->received_ms);
    if (!job) {
        reply_retry(r, 503, c->options.retry_seconds);
        ask->dialect->failed(r, 503, "unavailable", "no memory for the request", STR(""));
        return 0;
    }
    job->request = r;
    job->outcome.request = r;
    struct reading reading = {
        .body = ask->body,
        .client = {.address = r->peer.p ? r->peer : STR(""),
                   .user_agent = agent.p ? agent : STR(""),
                   .ip = asked_ip(r),
                   .own = ask->client || (!ask->server && client_is_device(agent)),
                   .sent_ms = sent_ms(r)},
        .source = credentials_source(r, c->sources),
        .origin = origin.p ? origin : STR(""),
        .type = ask->type,
        .strict = is_strict(r),
    };
    if (send_on(c, job, &reading, &why)) return REQUEST_LATER;
    answer_refusal(c, job, &why, reading.violations);
    job_free(job);
    return 0;
}

static void wait_for(struct waiter *waiter) {
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->done) pthread_cond_wait(&waiter->wake, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
}

int collect_again(struct collector *c, const struct event_source *source, struct str text,
                  const struct collect_past *past, unsigned flags, struct collect_counts *counts,
                  struct keel_error *err) {
    struct waiter waiter = {.done = false};
    struct refusal why;
    struct job *job = job_new(NULL, past->received_ms);
    char *body = job ? arena_try_alloc(&job->arena, text.n + REQUEST_PADDING) : NULL;
    if (!body) {
        if (job) job_free(job);
        FAIL(err, NO_MEMORY, "no memory to take an event again");
    }
    memcpy(body, text.p, text.n);
    memset(body + text.n, '\n', REQUEST_PADDING);
    job->waiter = &waiter;
    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.wake, NULL);
    struct reading reading = {.body = {body, text.n},
                              .client = past->client,
                              .source = source,
                              .origin = STR(""),
                              .type = SEGMENT_ANY_TYPE,
                              .past = past,
                              .flags = flags};
    int code = 0;
    if (send_on(c, job, &reading, &why)) {
        wait_for(&waiter);
        code = job->code;
        if (code < 0) error_set(err, (enum keel_code) - code, "the event could not be stored");
    } else {
        answer_refusal(c, job, &why, STR(""));
        code = error_set(err, why.status == 503 ? KEEL_E_BUSY : KEEL_E_INVALID, "%s", why.message);
    }
    for (uint32_t i = 0; i < job->outcome.n; i++) counts->fates[job->items[i].fate]++;
    pthread_cond_destroy(&waiter.wake);
    pthread_mutex_destroy(&waiter.lock);
    job_free(job);
    return code;
}

/* ---- life ---- */

int collector_open(const struct collect_options *options, struct sources *sources, struct db *db,
                   const struct collect_hooks *hooks, struct collector **out,
                   struct keel_error *err) {
    struct collector *c = k_zalloc(sizeof *c);
    c->options = *options;
    if (!c->options.max_queue_requests) c->options.max_queue_requests = DEFAULT_REQUESTS;
    if (!c->options.max_queue_bytes) c->options.max_queue_bytes = DEFAULT_BYTES;
    if (!c->options.max_event_bytes) c->options.max_event_bytes = DEFAULT_EVENT_BYTES;
    if (!c->options.max_events) c->options.max_events = DEFAULT_EVENTS;
    if (!c->options.retry_seconds) c->options.retry_seconds = DEFAULT_RETRY_SECONDS;
    c->sources = sources;
    c->db = db;
    if (hooks) c->hooks = *hooks;
    pthread_mutex_init(&c->lock, NULL);
    queue_init(&c->to_apply);
    queue_init(&c->to_commit);
    c->has_applier = pthread_create(&c->applier, NULL, run_applier, c) == 0;
    c->has_committer = pthread_create(&c->committer, NULL, run_committer, c) == 0;
    if (!c->has_applier || !c->has_committer) {
        collector_close(c);
        FAIL(err, NO_MEMORY, "no threads for the collectors");
    }
    *out = c;
    return 0;
}

void collector_close(struct collector *c) {
    if (!c) return;
    queue_stop(&c->to_apply);
    if (c->has_applier)
        pthread_join(c->applier, NULL);
    else
        queue_stop(&c->to_commit);
    if (c->has_committer) pthread_join(c->committer, NULL);
    while (c->tools) {
        struct desk_tools *next = c->tools->next;
        tools_free(c->tools);
        c->tools = next;
    }
    queue_release(&c->to_apply);
    queue_release(&c->to_commit);
    pthread_mutex_destroy(&c->lock);
    k_free(c);
}

int collector_ready(struct collector *c, struct keel_error *err) {
    struct keel_error why;
    if (atomic_load(&c->failed))
        FAIL(err, BUSY, "no events are taken until the server is restarted: %s",
             c->failure.message);
    if (atomic_load(&c->blocked) && store_blocked(db_store(c->db), &why) < 0)
        FAIL(err, BUSY, "no events are taken for now, it is tried again: %s", why.message);
    return 0;
}

void collector_stats(struct collector *c, struct collect_stats *out) {
    *out = (struct collect_stats){
        .requests = atomic_load(&c->requests),
        .events = atomic_load(&c->events),
        .commits = atomic_load(&c->commits),
        .waiting_requests = atomic_load(&c->waiting_requests),
        .waiting_bytes = atomic_load(&c->waiting_bytes),
    };
}
