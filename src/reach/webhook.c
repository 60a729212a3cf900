/* The engine's thread: see webhook.h and webhook_int.h.
 *
 * Ten times a second, or when an answer comes: read what the journal has, send what may be sent,
 * see what was answered. Every WEBHOOK_SAVE_MS: save, and look whether somebody changed the tables.
 * An error of the tables or the journal stops nothing: it is kept for webhooks_stats and the work
 * is tried again. */
#include "reach/webhook.h"

#include <sodium.h>
#include <stdio.h>

#include "base/os.h"
#include "base/rand.h"
#include "reach/webhook_int.h"

enum { TICK_MS = 100, CONNECTIONS_MOST = 128, RETRY_AFTER_MOST_S = 3600, US_PER_MS = 1000 };

static void note_error(struct webhooks *w, const struct keel_error *err) {
    pthread_mutex_lock(&w->lock);
    w->stats.last_error = *err;
    pthread_mutex_unlock(&w->lock);
}

/* ---- endpoints ---- */

static bool same_endpoint(const struct endpoint *e, const struct sql_rows *rows) {
    bool began_again = e->has_cursor && e->state == WEBHOOK_ON && sql_is_null(rows, 5) && !e->dirty;
    return str_is(sql_str(rows, 1), e->url) && str_eq(sql_str(rows, 2), buf_str(&e->filter)) &&
           str_is(sql_str(rows, 3), e->secret) && sql_i64(rows, 4) == (int64_t)e->state &&
           (sql_i64(rows, 7) != 0) == e->no_events && sql_is_null(rows, 8) != e->wants_changes &&
           str_eq(sql_str(rows, 8), buf_str(&e->segments)) && !began_again;
}

static struct endpoint *make_endpoint(struct webhooks *w, const struct sql_rows *rows) {
    struct endpoint *e = k_zalloc(sizeof *e);
    e->id = sql_i64(rows, 0);
    snprintf(e->url, sizeof e->url, "%.*s", STR_ARG(sql_str(rows, 1)));
    buf_init(&e->filter, WEBHOOK_EVENTS_MAX + 1);
    (void)!buf_add_str(&e->filter, sql_str(rows, 2));
    snprintf(e->secret, sizeof e->secret, "%.*s", STR_ARG(sql_str(rows, 3)));
    e->state = sql_i64(rows, 4) == WEBHOOK_ON ? WEBHOOK_ON : (enum webhook_state)sql_i64(rows, 4);
    e->has_cursor = !sql_is_null(rows, 5);
    e->position = (uint64_t)sql_i64(rows, 5);
    e->skip = (uint32_t)sql_i64(rows, 6);
    e->no_events = sql_i64(rows, 7) != 0;
    e->wants_changes = !sql_is_null(rows, 8);
    buf_init(&e->segments, WEBHOOK_EVENTS_MAX + 1);
    if (e->wants_changes) (void)!buf_add_str(&e->segments, sql_str(rows, 8));
    e->has_change = !sql_is_null(rows, 9);
    e->change = sql_i64(rows, 9);
    e->pause_ms = w->options.pause_ms;
    e->seen = k_zalloc(WEBHOOK_SEEN * sizeof *e->seen);
    arena_init(&e->names, SIZE_MAX / 2);
    buf_init(&e->record, JOURNAL_MAX_PAYLOAD);
    return e;
}

/* Takes its requests from curl first. */
static void remove_endpoint(struct webhooks *w, struct endpoint *e) {
    struct deliveries *lists[] = {&e->events, &e->changes, &e->retries};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (struct delivery *d = lists[i]->first; d; d = d->next)
            if (d->state == FLYING) curl_multi_remove_handle(w->multi, d->request.easy);
    endpoint_free(e);
}

/* The tables as they are now. Endpoints that did not change stay as they are. */
static int load_endpoints(struct webhooks *w, struct keel_error *err) {
    struct sql_rows rows;
    struct endpoint *old = w->endpoints, **last = &w->endpoints;
    TRY(sql_ask(w->desk, &rows, err,
                "SELECT id, url, events, secret, state, position, skip, no_events, segments,"
                "  change FROM webhook"
                "  ORDER BY id LIMIT ?",
                "i", (int64_t)WEBHOOK_MOST));
    int code;
    w->endpoints = NULL;
    while ((code = sql_next(&rows, err)) == 1) {
        struct endpoint **from = &old, *e;
        while (*from && (*from)->id != sql_i64(&rows, 0)) from = &(*from)->next;
        if (*from && same_endpoint(*from, &rows)) {
            e = *from;
            *from = e->next;
        } else {
            e = make_endpoint(w, &rows);
        }
        e->next = NULL;
        *last = e;
        last = &e->next;
    }
    sql_done(&rows);
    while (old) {
        struct endpoint *next = old->next;
        remove_endpoint(w, old);
        old = next;
    }
    return code;
}

/* New ones begin at the end of the journal, and that is saved before anything is sent: a process
 * that dies then goes on from there. So do those that had read further than the journal reaches,
 * before it grows: an older backup was restored, or its end was cut. */
static int take_endpoints(struct webhooks *w, struct keel_error *err) {
    uint64_t end = journal_durable(store_get_journal(db_store(w->options.db)));
    TRY(load_endpoints(w, err));
    TRY(outbox_end(w->desk, &w->outbox_last, &w->outbox_first, err));
    for (struct endpoint *e = w->endpoints; e; e = e->next) {
        bool ahead = e->has_cursor && !e->reader && e->position > end;
        if (e->state == WEBHOOK_ON && (!e->has_cursor || ahead)) {
            e->position = end;
            e->skip = 0;
            e->has_cursor = e->dirty = true;
        }
        if (e->state == WEBHOOK_ON && e->wants_changes && !e->has_change) {
            e->change = w->outbox_last;
            e->has_change = e->dirty = true;
        }
    }
    return webhooks_save(w, err);
}

/* ---- what an answer means ---- */

static int64_t jitter(struct webhooks *w, int64_t most_ms) {
    return (int64_t)(rand_unit(w->dice) * (double)most_ms);
}

static int64_t backoff_ms(struct webhooks *w, int64_t tries) {
    int64_t most = w->options.base_ms;
    for (int64_t i = 1; i < tries && most < WEBHOOK_MOST_WAIT_MS; i++) most *= 2;
    return jitter(w, most < WEBHOOK_MOST_WAIT_MS ? most : WEBHOOK_MOST_WAIT_MS);
}

/* Half to all of the pause, so that endpoints of one host do not come back together. */
static void pause_endpoint(struct webhooks *w, struct endpoint *e, int64_t at_least_ms) {
    int64_t ms = e->pause_ms / 2 + jitter(w, e->pause_ms / 2 + 1);
    if (ms < at_least_ms) ms = at_least_ms;
    e->paused_until_us = monotonic_us() + ms * US_PER_MS;
    e->pause_ms *= 2;
    if (e->pause_ms > WEBHOOK_MOST_PAUSE_MS) e->pause_ms = WEBHOOK_MOST_PAUSE_MS;
}

static void succeed(struct webhooks *w, struct delivery *d) {
    struct endpoint *e = d->endpoint;
    d->state = SENT;
    e->delivered++;
    e->failures = 0;
    e->pause_ms = w->options.pause_ms;
    e->paused_until_us = 0;
    e->reason[0] = 0;
    w->stats.delivered++;
}

static void fail(struct webhooks *w, struct delivery *d, long status, int64_t retry_after_ms) {
    struct endpoint *e = d->endpoint;
    int64_t now = now_ms();
    bool of_endpoint = status == 0 || status == 408 || status == 429 || status >= 500;
    int64_t wait = backoff_ms(w, ++d->tries);
    d->next_ms = now + (wait > retry_after_ms ? wait : retry_after_ms);
    d->state = status == 410 || now - d->first_ms >= w->options.give_up_ms ? DEAD : FAILED;
    e->failed++;
    w->stats.failed++;
    w->stats.dead += d->state == DEAD;
    snprintf(e->reason, sizeof e->reason, "%s", d->error);
    if (status == 410) e->state = WEBHOOK_GONE;
    if (!of_endpoint) { /* it lives, and does not like this event */
        e->failures = 0;
        e->paused_until_us = 0;
        return;
    }
    e->failures++;
    if (e->failures >= WEBHOOK_BREAK_AFTER || e->paused_until_us || retry_after_ms)
        pause_endpoint(w, e, retry_after_ms);
}

static void finish(struct webhooks *w, struct delivery *d, CURLcode code) {
    struct buf why;
    long status = 0;
    curl_off_t retry_after = 0;
    (void)curl_easy_getinfo(d->request.easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(d->request.easy, CURLINFO_RETRY_AFTER, &retry_after);
    buf_init(&why, REASON_BYTES);
    webhook_request_why(&d->request, code, status, &why);
    snprintf(d->error, sizeof d->error, "%.*s", (int)why.n, (const char *)why.p);
    curl_multi_remove_handle(w->multi, d->request.easy);
    webhook_request_release(&d->request);
    d->endpoint->flying--;
    d->endpoint->dirty = true;
    if (retry_after > RETRY_AFTER_MOST_S) retry_after = RETRY_AFTER_MOST_S;
    pthread_mutex_lock(&w->lock);
    if (!why.n)
        succeed(w, d);
    else
        fail(w, d, status, (int64_t)retry_after * 1000);
    pthread_mutex_unlock(&w->lock);
    buf_release(&why);
}

static void collect_answers(struct webhooks *w) {
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(w->multi, &left))) {
        char *p = NULL;
        if (message->msg != CURLMSG_DONE) continue;
        CURLcode code = message->data.result;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &p);
        finish(w, (struct delivery *)(void *)p, code);
    }
}

/* ---- sending ---- */

static int start(struct webhooks *w, struct delivery *d, struct keel_error *err) {
    struct endpoint *e = d->endpoint;
    struct str body = {d->body, d->body_bytes};
    TRY(webhook_request_init(&d->request, e->url, e->secret, d->id, body, w->options.allow_private,
                             w->options.timeout_ms, err));
    if (curl_easy_setopt(d->request.easy, CURLOPT_PRIVATE, d) != CURLE_OK ||
        curl_multi_add_handle(w->multi, d->request.easy) != CURLM_OK) {
        webhook_request_release(&d->request);
        FAIL(err, NO_MEMORY, "cannot send a webhook");
    }
    if (!d->first_ms) d->first_ms = now_ms();
    d->state = FLYING;
    e->flying++;
    return 0;
}

static int start_list(struct webhooks *w, struct deliveries *list, uint32_t most,
                      struct keel_error *err) {
    for (struct delivery *d = list->first; d && d->endpoint->flying < most; d = d->next)
        if (d->state == WAITING) TRY(start(w, d, err));
    return 0;
}

static int serve_endpoint(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    if (e->state != WEBHOOK_ON) return 0;
    bool paused = e->paused_until_us != 0;
    if (paused && (monotonic_us() < e->paused_until_us || e->flying)) return 0;
    deliveries_drop(&e->events, 1 << SENT); /* makes room; of retries, a row has to go first */
    deliveries_drop(&e->changes, 1 << SENT);
    TRY(endpoint_load_retries(w, e, now_ms(), err));
    if (!e->no_events) TRY(endpoint_read(w, e, err));
    if (e->wants_changes) TRY(endpoint_read_changes(w, e, err));
    uint32_t most = paused ? 1 : WEBHOOK_PARALLEL; /* one try decides */
    TRY(start_list(w, &e->retries, most, err));
    TRY(start_list(w, &e->changes, most, err));
    return start_list(w, &e->events, most, err);
}

static void count_waiting(struct webhooks *w) {
    uint64_t waiting = 0, flying = 0, paused = 0;
    for (const struct endpoint *e = w->endpoints; e; e = e->next) {
        flying += e->flying;
        waiting += e->events.count + e->changes.count + e->retries.count - e->flying;
        paused += e->paused_until_us != 0;
    }
    pthread_mutex_lock(&w->lock);
    w->stats.in_flight = flying;
    w->stats.waiting = waiting;
    w->stats.paused_endpoints = paused;
    pthread_mutex_unlock(&w->lock);
}

static int look_at_outbox(struct webhooks *w, struct keel_error *err) {
    for (const struct endpoint *e = w->endpoints; e; e = e->next)
        if (e->wants_changes) return outbox_end(w->desk, &w->outbox_last, &w->outbox_first, err);
    return 0;
}

static void turn(struct webhooks *w) {
    struct keel_error err = {0};
    int64_t now = monotonic_us();
    int code = 0, running;
    if (now >= w->saved_us + (int64_t)WEBHOOK_SAVE_MS * US_PER_MS) {
        w->saved_us = now;
        code = webhooks_save(w, &err);
        if (code < 0) note_error(w, &err);
        if (code == 0 && sql_changed(w->desk)) code = take_endpoints(w, &err);
        if (code < 0) note_error(w, &err);
    }
    if (look_at_outbox(w, &err) < 0) note_error(w, &err);
    for (struct endpoint *e = w->endpoints; e; e = e->next)
        if (serve_endpoint(w, e, &err) < 0) {
            note_error(w, &err);
            pause_endpoint(w, e, 0); /* the journal or memory: not at every tick */
        }
    (void)curl_multi_perform(w->multi, &running);
    collect_answers(w);
    count_waiting(w);
    (void)curl_multi_poll(w->multi, NULL, 0, TICK_MS, NULL);
}

static void *run(void *arg) {
    struct webhooks *w = arg;
    struct keel_error err = {0};
    while (!atomic_load(&w->stopping)) turn(w);
    if (webhooks_save(w, &err) < 0) note_error(w, &err);
    return NULL;
}

/* ---- life ---- */

static void release(struct webhooks *w) {
    for (struct endpoint *e = w->endpoints, *next; e; e = next) {
        next = e->next;
        remove_endpoint(w, e);
    }
    if (w->multi) curl_multi_cleanup(w->multi);
    sql_close(w->desk);
    envelope_release(&w->envelope);
    pthread_mutex_destroy(&w->lock);
    k_free(w->dice);
    k_free(w->dir);
    k_free(w);
}

static int open_all(struct webhooks *w, struct keel_error *err) {
    struct arena arena;
    uint64_t seed;
    arena_init(&arena, 1 << 16);
    int code = sql_open(arena_printf(&arena, "%s/desk.db", w->dir), SQL_CREATE, &w->desk, err);
    arena_release(&arena);
    TRY(code);
    TRY(webhook_tables(w->desk, err));
    TRY(outbox_tables(w->desk, err));
    if (sodium_init() < 0) FAIL(err, INTERNAL, "the system gives no random numbers");
    randombytes_buf(&seed, sizeof seed);
    rand_init(w->dice, seed);
    w->multi = curl_multi_init();
    if (!w->multi ||
        curl_multi_setopt(w->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MOST))
        FAIL(err, NO_MEMORY, "cannot set up webhooks");
    return take_endpoints(w, err);
}

static int64_t or_else(int64_t v, int64_t otherwise) { return v ? v : otherwise; }

int webhooks_open(const struct webhooks_options *options, struct webhooks **out,
                  struct keel_error *err) {
    struct webhooks *w = k_zalloc(sizeof *w);
    w->options = *options;
    w->options.dir = w->dir = k_strdup(options->dir);
    w->options.base_ms = or_else(options->base_ms, WEBHOOK_BASE_MS);
    w->options.give_up_ms = or_else(options->give_up_ms, WEBHOOK_GIVE_UP_MS);
    w->options.pause_ms = or_else(options->pause_ms, WEBHOOK_PAUSE_MS);
    w->options.retry_rows = or_else(options->retry_rows, WEBHOOK_RETRY_MOST);
    w->options.timeout_ms = or_else(options->timeout_ms, WEBHOOK_TIMEOUT_MS);
    w->dice = k_alloc(sizeof *w->dice);
    w->held = JOURNAL_NO_HOLD - 1; /* the first save tells the journal, whatever it is */
    w->swept_us = monotonic_us();
    envelope_init(&w->envelope);
    pthread_mutex_init(&w->lock, NULL);
    int code = open_all(w, err);
    if (code == 0) {
        int failed = pthread_create(&w->thread, NULL, run, w);
        if (failed) code = error_errno(err, failed, "cannot start the thread of webhooks");
    }
    if (code < 0) {
        release(w);
        return code;
    }
    *out = w;
    return 0;
}

void webhooks_close(struct webhooks *w) {
    if (!w) return;
    atomic_store(&w->stopping, true);
    curl_multi_wakeup(w->multi);
    pthread_join(w->thread, NULL);
    release(w);
}

void webhooks_more(struct webhooks *w) { curl_multi_wakeup(w->multi); }

void webhooks_stats(struct webhooks *w, struct webhooks_stats *out) {
    pthread_mutex_lock(&w->lock);
    *out = w->stats;
    pthread_mutex_unlock(&w->lock);
}
