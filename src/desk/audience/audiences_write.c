/* What is made durable: the queue, its thread, sizes over time. See audiences_int.h.
 *
 * One transaction takes all that waits. Changes are written only when the events that made them are
 * on disk, so that no crash leaves an announcement of what never was; and in the order of the
 * queue, so that a saved membership stands behind the changes that led to it. After a failure the
 * same is tried again; nothing overtakes. */
#include <roaring/roaring.h>

#include "base/os.h"
#include "base/thread.h"
#include "desk/audience/audiences_int.h"

enum {
    REST_US = 10000,    /* between two transactions: changes in between share one */
    RETRY_US = 1000000, /* after a failure                                         */
    MINUTE_MS = 60000,
    SAVE_BYTES = 16 << 20, /* of memberships a minute */
    THIN_MS = 3600000,
};

static const char *const STEPS[] = {
    "CREATE TABLE audience_size(audience INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    "  size INTEGER NOT NULL, PRIMARY KEY(audience, at_ms)) WITHOUT ROWID;",
};

int audience_size_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "audience_size", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

int audience_sizes(struct sql *desk, int64_t id, int64_t from_ms, int64_t to_ms,
                   int (*each)(void *ctx, int64_t at_ms, int64_t size), void *ctx,
                   struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(desk, &rows, err,
                "SELECT at_ms, size FROM audience_size WHERE audience = ? AND at_ms >= ?"
                "  AND at_ms < ? ORDER BY at_ms",
                "iii", id, from_ms, to_ms));
    int code;
    while ((code = sql_next(&rows, err)) == 1) {
        code = each(ctx, sql_i64(&rows, 0), sql_i64(&rows, 1));
        if (code < 0) break;
    }
    sql_done(&rows);
    return code;
}

/* ---- the queue ---- */

static void write_free(struct write *w) {
    outbox_batch_release(&w->batch);
    if (w->members) roaring_bitmap_free(w->members);
    k_free(w);
}

void audiences_enqueue(struct audiences *a, struct write *w) {
    w->bytes += sizeof *w;
    pthread_mutex_lock(&a->queue_lock);
    while (a->queued_bytes > AUDIENCES_QUEUE_BYTES && !atomic_load(&a->stopping))
        (void)cond_wait_until(&a->queue_room, &a->queue_lock, monotonic_us() + RETRY_US);
    /* The disk refuses, and the server stops: the next start finds the difference again. */
    if (a->queued_bytes > AUDIENCES_QUEUE_BYTES) a->broken = true;
    if (a->broken) {
        pthread_mutex_unlock(&a->queue_lock);
        write_free(w);
        return;
    }
    w->next = NULL;
    if (a->last)
        a->last->next = w;
    else
        a->first = w;
    a->last = w;
    a->queued_bytes += w->bytes;
    pthread_cond_signal(&a->queue_wake);
    pthread_mutex_unlock(&a->queue_lock);
}

/* ---- the thread ---- */

static int thin_sizes(struct sql *desk, int64_t now, struct keel_error *err) {
    TRY(sql_run(desk, err, "DELETE FROM audience_size WHERE at_ms < ?", "i",
                now - AUDIENCES_DAYS_MS));
    TRY(sql_run(
        desk, err,
        "DELETE FROM audience_size WHERE at_ms < ? AND EXISTS (SELECT 1 FROM audience_size s"
        "  WHERE s.audience = audience_size.audience AND s.at_ms > audience_size.at_ms"
        "    AND s.at_ms / 3600000 = audience_size.at_ms / 3600000)",
        "i", now - AUDIENCES_MINUTES_MS));
    return sql_run(desk, err,
                   "DELETE FROM audience_size WHERE at_ms < ? AND EXISTS (SELECT 1"
                   "  FROM audience_size s WHERE s.audience = audience_size.audience"
                   "    AND s.at_ms > audience_size.at_ms"
                   "    AND s.at_ms / 86400000 = audience_size.at_ms / 86400000)",
                   "i", now - AUDIENCES_HOURS_MS);
}

static int write_one(struct sql *desk, const struct write *w, struct keel_error *err) {
    switch (w->kind) {
    case WRITE_CHANGES: return outbox_write(desk, &w->batch, err);
    case WRITE_MEMBERS:
        return outbox_save_members(desk, w->segment, w->version, w->number, w->members, err);
    case WRITE_TOUCH: return outbox_touch_members(desk, w->segment, w->number, err);
    case WRITE_FORGET:
        TRY(sql_run(desk, err, "DELETE FROM audience_size WHERE audience = ?", "i", w->segment));
        return outbox_forget_members(desk, w->segment, err);
    case WRITE_SIZE:
        return sql_run(desk, err,
                       "INSERT OR REPLACE INTO audience_size(audience, at_ms, size)"
                       "  VALUES(?, ?, ?)",
                       "iii", w->segment, w->at_ms, w->size);
    case WRITE_TRIM:
        TRY(thin_sizes(desk, w->at_ms, err));
        return outbox_trim(desk, OUTBOX_KEEP_BYTES, err);
    }
    return 0;
}

static int write_all(struct audiences *a, struct sql *desk, const struct write *all,
                     struct keel_error *err) {
    struct journal *journal = store_get_journal(db_store(a->options.db));
    uint64_t position = 0;
    for (const struct write *w = all; w; w = w->next)
        if (w->position > position) position = w->position;
    if (position > 0) TRY(journal_sync(journal, position, err));
    TRY(sql_begin(desk, err));
    int code = 0;
    for (const struct write *w = all; w && code == 0; w = w->next) code = write_one(desk, w, err);
    return sql_end(desk, code, err);
}

static void written(struct audiences *a, struct write *all, bool durable) {
    size_t bytes = 0;
    int64_t number = 0;
    for (struct write *w = all, *next; w; w = next) {
        next = w->next;
        bytes += w->bytes;
        if (w->kind == WRITE_CHANGES) number = w->number;
        write_free(w);
    }
    pthread_mutex_lock(&a->queue_lock);
    a->queued_bytes -= bytes;
    pthread_cond_broadcast(&a->queue_room);
    pthread_mutex_unlock(&a->queue_lock);
    if (number == 0 || !durable) return;
    pthread_mutex_lock(&a->lock);
    a->stats.durable_number = number;
    pthread_mutex_unlock(&a->lock);
    if (a->options.more) a->options.more(a->options.ctx);
}

/* All that waits; NULL: the end. */
static struct write *take_all(struct audiences *a) {
    pthread_mutex_lock(&a->queue_lock);
    while (!a->first && !a->writer_stops) pthread_cond_wait(&a->queue_wake, &a->queue_lock);
    struct write *all = a->first;
    a->first = a->last = NULL;
    pthread_mutex_unlock(&a->queue_lock);
    return all;
}

/* False: it is time to stop. */
static bool pause_writer(struct audiences *a, int64_t us) {
    int64_t until = monotonic_us() + us;
    pthread_mutex_lock(&a->queue_lock);
    while (!a->writer_stops && monotonic_us() < until)
        (void)cond_wait_until(&a->queue_wake, &a->queue_lock, until);
    bool stops = a->writer_stops;
    pthread_mutex_unlock(&a->queue_lock);
    return !stops;
}

static int open_desk(const struct audiences *a, struct sql **out, struct keel_error *err) {
    struct arena arena;
    arena_init(&arena, 1 << 16);
    int code = sql_open(arena_printf(&arena, "%s/desk.db", a->dir), SQL_CREATE, out, err);
    arena_release(&arena);
    return code;
}

static void write_until_done(struct audiences *a, struct sql **desk, struct write *all) {
    for (;;) {
        struct keel_error err = {0};
        int code = *desk ? 0 : open_desk(a, desk, &err);
        if (code == 0) code = write_all(a, *desk, all, &err);
        if (code == 0) return written(a, all, true);
        audiences_note_error(a, &err);
        if (pause_writer(a, RETRY_US)) continue;
        pthread_mutex_lock(&a->queue_lock); /* the next start finds the difference again */
        a->broken = true;
        pthread_mutex_unlock(&a->queue_lock);
        return written(a, all, false);
    }
}

void *audiences_run_writer(void *audiences) {
    struct audiences *a = audiences;
    struct sql *desk = NULL;
    struct write *all;
    while ((all = take_all(a))) {
        write_until_done(a, &desk, all);
        (void)pause_writer(a, REST_US);
    }
    sql_close(desk);
    return NULL;
}

/* ---- every minute ---- */

void audiences_save_members(struct audiences *a, struct saved *s) {
    struct write *w = k_zalloc(sizeof *w);
    const roaring_bitmap_t *members = audiences_members_of(a, s);
    w->kind = WRITE_MEMBERS;
    w->segment = s->id;
    w->version = s->version;
    w->number = s->number = a->next_number - 1;
    w->members = roaring_bitmap_copy(members);
    w->bytes = roaring_bitmap_portable_size_in_bytes(members);
    s->dirty = false;
    audiences_enqueue(a, w);
}

void audiences_note_size(struct audiences *a, struct saved *s) {
    struct write *w = k_zalloc(sizeof *w);
    s->noted_size = (int64_t)roaring_bitmap_get_cardinality(audiences_members_of(a, s));
    w->kind = WRITE_SIZE;
    w->segment = s->id;
    w->size = s->noted_size;
    w->at_ms = a->clock_ms / MINUTE_MS * MINUTE_MS;
    audiences_enqueue(a, w);
}

static void touch(struct audiences *a, struct saved *s) {
    struct write *w = k_zalloc(sizeof *w);
    w->kind = WRITE_TOUCH;
    w->segment = s->id;
    w->number = s->number = a->next_number - 1;
    audiences_enqueue(a, w);
}

/* The segments in turn, from the one behind the last that was saved. */
static void save_some(struct audiences *a) {
    size_t bytes = 0;
    int64_t after = a->save_after;
    for (int round = 0; round < 2; round++)
        for (struct saved *s = a->list; s && bytes < SAVE_BYTES; s = s->next) {
            bool mine = round == 0 ? s->id > after : s->id <= after;
            if (!mine || s->slot == NO_SLOT || !s->dirty) continue;
            bytes += roaring_bitmap_portable_size_in_bytes(audiences_members_of(a, s));
            audiences_save_members(a, s);
            a->save_after = s->id;
        }
}

void audiences_keep_up(struct audiences *a) {
    int64_t now = monotonic_us();
    if (a->starting || (a->saved_us && now < a->saved_us + MINUTE_MS * INT64_C(1000))) return;
    a->saved_us = now;
    save_some(a);
    for (struct saved *s = a->list; s; s = s->next) {
        if (s->slot == NO_SLOT) continue;
        if (!s->dirty && s->number >= 0 && s->number < a->next_number - 1) touch(a, s);
        if ((int64_t)roaring_bitmap_get_cardinality(audiences_members_of(a, s)) != s->noted_size)
            audiences_note_size(a, s);
    }
    if (a->clock_ms < a->thinned_ms + THIN_MS) return;
    struct write *w = k_zalloc(sizeof *w);
    w->kind = WRITE_TRIM;
    w->at_ms = a->thinned_ms = a->clock_ms;
    audiences_enqueue(a, w);
}
