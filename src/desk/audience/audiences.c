/* Implementation of audiences.h: life, the thread that follows the store, questions. */
#include <roaring/roaring.h>
#include <stdio.h>

#include "base/os.h"
#include "base/thread.h"
#include "desk/audience/audiences_int.h"

enum {
    TURN_MS = 50,   /* the following thread looks at what others want of it */
    REST_TIMES = 4, /* as long as the last advance took, times this: commits meanwhile share one */
    REST_LEAST_US = 1000,
    REST_MOST_US = 15000,
    RETRY_US = 1000000,
};

const char *const AUDIENCE_STATE_TEXT[] = {"filling", "live", "failed"};

void audiences_note_error(struct audiences *a, const struct keel_error *err) {
    pthread_mutex_lock(&a->lock);
    a->stats.last_error = *err;
    pthread_mutex_unlock(&a->lock);
}

struct saved *audiences_find(struct audiences *a, int64_t id) {
    struct saved *s = a->list;
    while (s && s->id != id) s = s->next;
    return s;
}

/* ---- telling ---- */

void audiences_send_batch(struct audiences *a) {
    if (a->batch.n == 0) return;
    struct write *w = k_zalloc(sizeof *w);
    w->kind = WRITE_CHANGES;
    w->batch = a->batch;
    w->bytes = a->batch.changes.n + a->batch.segments.n;
    w->position = journal_position(store_get_journal(db_store(a->options.db)));
    w->number = a->next_number - 1;
    a->batch = (struct outbox_batch){0};
    audiences_enqueue(a, w);
}

void audiences_tell(struct audiences *a, const struct saved *s, uint32_t customer, bool entered,
                    enum outbox_cause cause, int64_t at_ms) {
    struct outbox_change c = {.segment = s->id,
                              .version = s->version,
                              .name = str_from(s->name),
                              .customer = customer,
                              .entered = entered,
                              .cause = cause};
    if (a->batch.n == OUTBOX_BATCH || (a->batch.n > 0 && a->batch.at_ms != at_ms))
        audiences_send_batch(a);
    if (a->batch.n == 0) outbox_batch_init(&a->batch, a->next_number, at_ms);
    if (!outbox_batch_goes_on(&a->batch, customer))
        c.id = identity_id(db_identity(a->options.db), customer, &c.kind);
    outbox_batch_add(&a->batch, &c);
    a->next_number++;
}

static enum outbox_cause cause_of(const struct audiences *a, const struct saved *s,
                                  enum live_cause cause) {
    static const enum outbox_cause causes[] = {
        [LIVE_EVENT] = OUTBOX_EVENT, [LIVE_TIME] = OUTBOX_TIME, [LIVE_MERGED] = OUTBOX_MERGED};
    if (!a->starting) return causes[cause];
    return s->live_version && s->live_version != s->version ? OUTBOX_EDITED : OUTBOX_MISSED;
}

static void on_hold(void *ctx, bool held) {
    struct audiences *a = ctx;
    if (held)
        pthread_mutex_lock(&a->lock);
    else
        pthread_mutex_unlock(&a->lock);
}

/* All changes of one moment. */
static void on_changes(void *ctx, const struct live_change *changes, size_t n) {
    struct audiences *a = ctx;
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < n; i++) {
        a->by_slot[changes[i].segment]->dirty = true;
        a->stats.entered += changes[i].entered;
        a->stats.left += !changes[i].entered;
    }
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < n; i++) {
        const struct live_change *c = &changes[i];
        const struct saved *s = a->by_slot[c->segment];
        audiences_tell(a, s, c->customer, c->entered, cause_of(a, s, c->cause), c->at_ms);
    }
}

/* ---- following ---- */

/* Everybody who was in the first scan has members now. */
static void end_start(struct audiences *a) {
    pthread_mutex_lock(&a->lock);
    for (struct saved *s = a->list; s; s = s->next) {
        if (s->slot == NO_SLOT) continue;
        s->state = s->waits ? AUDIENCE_FILLING : AUDIENCE_LIVE;
        s->live_version = s->version;
        s->dirty = true;
        s->first = false;
    }
    a->starting = false;
    a->saved_us = 0; /* at once: those that had none */
    pthread_cond_broadcast(&a->settled);
    pthread_mutex_unlock(&a->lock);
}

static void note_advance(struct audiences *a, int64_t us) {
    struct live_stats s;
    live_stats(a->live, &s);
    pthread_mutex_lock(&a->lock);
    a->as_of_ms = a->clock_ms;
    a->stats.advances++;
    a->stats.advanced_us += (uint64_t)us;
    a->stats.leaves = s.leaves;
    a->stats.timers = s.timers;
    a->stats.bytes = s.bytes;
    a->stats.evaluations = s.evaluations;
    a->stats.asked = s.asked;
    a->stats.rebuilt = s.rebuilt;
    a->stats.last_number = a->next_number - 1;
    pthread_mutex_unlock(&a->lock);
}

static void advance(struct audiences *a) {
    struct keel_error err = {0};
    int64_t begun = monotonic_us(), now = now_ms();
    if (begun < a->retry_us) return;
    if (now > a->clock_ms) a->clock_ms = now;
    int code = live_advance(a->live, a->clock_ms, &err);
    audiences_send_batch(a);
    if (code < 0) { /* the next one begins where this one did */
        audiences_note_error(a, &err);
        a->retry_us = monotonic_us() + RETRY_US;
        return;
    }
    if (a->starting) end_start(a);
    a->took_us = monotonic_us() - begun;
    note_advance(a, a->took_us);
}

static void look_at_table(struct audiences *a) {
    struct keel_error err = {0};
    int64_t now = monotonic_us();
    bool asked = atomic_exchange(&a->changed, false);
    if (!asked && now < a->looked_us + AUDIENCES_LOOK_MS * INT64_C(1000)) return;
    a->looked_us = now;
    if (!sql_changed(a->desk) && !asked && !a->load_failed) return;
    a->load_failed = audiences_load(a, &err) < 0;
    if (a->load_failed) audiences_note_error(a, &err);
}

/* Until something is committed, a timer is due, or it is time to look around; the more there is to
 * do, the longer, so that more shares an advance. */
static void rest(struct audiences *a) {
    int64_t until = monotonic_us() + TURN_MS * INT64_C(1000), next = live_next(a->live);
    if (next != INT64_MAX) {
        int64_t due = monotonic_us() + (next - now_ms()) * 1000;
        if (due < until) until = due;
    }
    int64_t rest = a->took_us * REST_TIMES;
    rest = rest < REST_LEAST_US ? REST_LEAST_US : rest > REST_MOST_US ? REST_MOST_US : rest;
    int64_t soonest = monotonic_us() + rest;
    if (until < soonest) until = soonest;
    pthread_mutex_lock(&a->stop_lock);
    while (monotonic_us() < soonest && !atomic_load(&a->stopping))
        (void)cond_wait_until(&a->stop_wake, &a->stop_lock, soonest);
    pthread_mutex_unlock(&a->stop_lock);
    (void)live_wait(a->live, until);
}

static void *run_follower(void *arg) {
    struct audiences *a = arg;
    while (!atomic_load(&a->stopping)) {
        advance(a);
        look_at_table(a);
        audiences_fill(a);
        audiences_keep_up(a);
        if (!audiences_filling(a) || monotonic_us() < a->retry_us)
            rest(a); /* else the steps are its rest */
    }
    return NULL;
}

/* ---- questions ---- */

void audiences_changed(struct audiences *a) { atomic_store(&a->changed, true); }

const roaring_bitmap_t *audiences_members_of(const struct audiences *a, const struct saved *s) {
    return s->slot == NO_SLOT ? s->members : live_members(a->live, s->slot);
}

static void status_of(const struct audiences *a, const struct saved *s,
                      struct audience_status *out) {
    *out = (struct audience_status){.state = AUDIENCE_FILLING, .as_of_ms = a->as_of_ms};
    if (!s) return;
    out->state = s->state;
    out->version = s->live_version;
    out->filled = s->state == AUDIENCE_FILLING ? s->share : 0;
    out->size = roaring_bitmap_get_cardinality(audiences_members_of(a, s));
    if (s->error) snprintf(out->error, sizeof out->error, "%s", s->error);
}

void audiences_status(struct audiences *a, int64_t id, struct audience_status *out) {
    pthread_mutex_lock(&a->lock);
    status_of(a, audiences_find(a, id), out);
    pthread_mutex_unlock(&a->lock);
}

bool audiences_wait(struct audiences *a, int64_t id, int64_t version, int64_t ms) {
    int64_t until = monotonic_us() + ms * 1000;
    bool there = false, in_time = true;
    pthread_mutex_lock(&a->lock);
    for (;;) {
        const struct saved *s = audiences_find(a, id);
        there = s && s->version >= version &&
                (s->state == AUDIENCE_FAILED || s->live_version >= version);
        if (there || !in_time) break;
        in_time = cond_wait_until(&a->settled, &a->lock, until);
    }
    pthread_mutex_unlock(&a->lock);
    return there;
}

int audiences_members(struct audiences *a, int64_t id, struct roaring_bitmap_s **out,
                      struct keel_error *err) {
    pthread_mutex_lock(&a->lock);
    const struct saved *s = audiences_find(a, id);
    *out = s && s->live_version ? roaring_bitmap_copy(audiences_members_of(a, s)) : NULL;
    pthread_mutex_unlock(&a->lock);
    if (*out) return 0;
    FAIL(err, BUSY, "segment %lld is being filled: try again in a moment", (long long)id);
}

uint32_t audiences_of(struct audiences *a, uint32_t customer, int64_t *out_ids, uint32_t most) {
    uint32_t n = 0;
    pthread_mutex_lock(&a->lock);
    for (const struct saved *s = a->list; s && n < most; s = s->next)
        if (roaring_bitmap_contains(audiences_members_of(a, s), customer)) out_ids[n++] = s->id;
    pthread_mutex_unlock(&a->lock);
    return n;
}

void audiences_stats(struct audiences *a, struct audiences_stats *out) {
    pthread_mutex_lock(&a->lock);
    *out = a->stats;
    for (const struct saved *s = a->list; s; s = s->next) {
        out->segments++;
        out->filling += s->state == AUDIENCE_FILLING;
        out->failed += s->state == AUDIENCE_FAILED;
    }
    out->behind_ms = now_ms() - a->as_of_ms;
    pthread_mutex_unlock(&a->lock);
}

/* ---- life ---- */

static int open_all(struct audiences *a, struct keel_error *err) {
    struct arena arena;
    int64_t first;
    arena_init(&arena, 1 << 16);
    int code = sql_open(arena_printf(&arena, "%s/desk.db", a->dir), SQL_CREATE, &a->desk, err);
    arena_release(&arena);
    TRY(code);
    TRY(audience_tables(a->desk, err));
    TRY(outbox_tables(a->desk, err));
    TRY(audience_size_tables(a->desk, err));
    TRY(outbox_end(a->desk, &a->next_number, &first, err));
    a->next_number++;
    a->stats.last_number = a->stats.durable_number = a->next_number - 1;
    struct live_options options = {.changed = on_changes,
                                   .hold = on_hold,
                                   .ctx = a,
                                   .segment = audience_book_find,
                                   .segment_ctx = &a->book};
    a->clock_ms = a->as_of_ms = now_ms();
    a->live = live_new(a->options.db, a->clock_ms, &options);
    (void)sql_changed(a->desk);
    TRY(audiences_load(a, err));
    return audiences_begin(a, err);
}

static int start_threads(struct audiences *a, struct keel_error *err) {
    pthread_t *threads[] = {&a->writer, &a->follower};
    void *(*const runs[])(void *) = {audiences_run_writer, run_follower};
    for (; a->threads < 2; a->threads++) {
        int failed = pthread_create(threads[a->threads], NULL, runs[a->threads], a);
        if (failed) return error_errno(err, failed, "cannot start the threads of live segments");
    }
    return 0;
}

int audiences_open(const struct audiences_options *options, struct audiences **out,
                   struct keel_error *err) {
    struct audiences *a = k_zalloc(sizeof *a);
    a->options = *options;
    a->dir = k_strdup(options->dir);
    a->starting = true;
    a->by_slot = k_zalloc(LIVE_MOST_SEGMENTS * sizeof(struct saved *));
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->stop_lock, NULL);
    pthread_mutex_init(&a->queue_lock, NULL);
    cond_init_timed(&a->settled);
    cond_init_timed(&a->stop_wake);
    cond_init_timed(&a->queue_wake);
    cond_init_timed(&a->queue_room);
    int code = open_all(a, err);
    if (code == 0) code = start_threads(a, err);
    if (code < 0) {
        audiences_close(a);
        return code;
    }
    *out = a;
    return 0;
}

/* The writer ends last: it has what the others gave it. */
static void stop_threads(struct audiences *a) {
    atomic_store(&a->stopping, true);
    pthread_mutex_lock(&a->stop_lock);
    pthread_cond_broadcast(&a->stop_wake);
    pthread_mutex_unlock(&a->stop_lock);
    if (a->threads > 1) pthread_join(a->follower, NULL);
    pthread_mutex_lock(&a->queue_lock);
    a->writer_stops = true;
    pthread_cond_broadcast(&a->queue_wake);
    pthread_mutex_unlock(&a->queue_lock);
    if (a->threads > 0) pthread_join(a->writer, NULL);
}

void audiences_drop(struct saved *s) {
    if (s->members) roaring_bitmap_free(s->members);
    k_free(s->error);
    k_free(s->name);
    k_free(s);
}

void audiences_close(struct audiences *a) {
    if (!a) return;
    stop_threads(a);
    k_free(a->filling.wanted);
    live_free(a->live);
    outbox_batch_release(&a->batch);
    for (struct saved *s = a->list, *next; s; s = next) {
        next = s->next;
        audiences_drop(s);
    }
    sql_close(a->desk);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->stop_lock);
    pthread_mutex_destroy(&a->queue_lock);
    pthread_cond_destroy(&a->settled);
    pthread_cond_destroy(&a->stop_wake);
    pthread_cond_destroy(&a->queue_wake);
    pthread_cond_destroy(&a->queue_room);
    k_free(a->by_slot);
    k_free(a->dir);
    k_free(a);
}
