/* One endpoint's events: see webhook_int.h. A record of the journal is copied and then walked as
 * room becomes free, so that a batch of many thousand events takes no more memory than its bytes.
 */
#include <stdio.h>

#include "base/os.h"
#include "reach/webhook_int.h"
#include "store/schema.h"

enum {
    LOOK_US = 250000, /* between two looks for retries that are due */
    SEEN_WAYS = 4,
};

void deliveries_add(struct deliveries *list, struct delivery *d) {
    d->next = NULL;
    if (list->last)
        list->last->next = d;
    else
        list->first = d;
    list->last = d;
    list->count++;
}

void delivery_free(struct delivery *d) {
    webhook_request_release(&d->request);
    k_free(d->body);
    k_free(d);
}

void deliveries_drop(struct deliveries *list, unsigned states) {
    struct deliveries kept = {0};
    for (struct delivery *d = list->first, *next; d; d = next) {
        next = d->next;
        if (states >> d->state & 1)
            delivery_free(d);
        else
            deliveries_add(&kept, d);
    }
    *list = kept;
}

void endpoint_free(struct endpoint *e) {
    deliveries_drop(&e->events, ~0u);
    deliveries_drop(&e->changes, ~0u);
    deliveries_drop(&e->retries, ~0u);
    journal_reader_close(e->reader);
    arena_release(&e->names);
    buf_release(&e->record);
    buf_release(&e->filter);
    buf_release(&e->segments);
    k_free(e->seen);
    k_free(e);
}

void endpoint_cursor(const struct endpoint *e, uint64_t *position, uint32_t *skip) {
    for (const struct delivery *d = e->events.first; d; d = d->next) {
        if (d->state != WAITING && d->state != FLYING) continue;
        *position = d->position;
        *skip = d->index;
        return;
    }
    *position = e->position;
    *skip = e->skip;
    if (e->in_record) {
        *position = e->record_position;
        *skip = e->index;
    } else if (e->reader) {
        *position = journal_reader_position(e->reader);
        *skip = 0;
    }
}

/* ---- reading ---- */

static bool is_wanted(const struct endpoint *e, const struct event_head *head) {
    struct str left = buf_str(&e->filter);
    struct str name = head->type == EVENT_TRACK ? head->name : schema_reserved_name(head->type);
    if (!left.n) return true;
    while (left.n) {
        const char *end = memchr(left.p, '\n', left.n);
        size_t n = end ? (size_t)(end - left.p) : left.n;
        if (str_eq(name, (struct str){left.p, n})) return true;
        n += end != NULL;
        left = (struct str){left.p + n, left.n - n};
    }
    return false;
}

/* Sets of four keys, the newest first: the fifth pushes the oldest out, and its repeat would be
 * sent again. */
static bool was_seen(struct endpoint *e, struct event_key key) {
    uint64_t *set = &e->seen[(key.lo & (WEBHOOK_SEEN / SEEN_WAYS - 1)) * SEEN_WAYS];
    uint64_t mark = hash_mix(key.lo ^ (uint64_t)key.hi << 32) | 1;
    for (int i = 0; i < SEEN_WAYS; i++)
        if (set[i] == mark) return true;
    memmove(set + 1, set, (SEEN_WAYS - 1) * sizeof *set);
    set[0] = mark;
    return false;
}

static int add_event(struct webhooks *w, struct endpoint *e, const struct event_view *view,
                     uint32_t index, struct keel_error *err) {
    struct str body = {"", 0};
    struct delivery *d = k_zalloc(sizeof *d);
    d->endpoint = e;
    d->position = e->record_position;
    d->index = index;
    snprintf(d->id, sizeof d->id, "evt_%016llx%08x", (unsigned long long)view->head.key.lo,
             view->head.key.hi);
    int code = envelope_of_event(&w->envelope, &e->batch, view, err);
    w->envelope.message_id = str_from(d->id);
    if (code == 0) code = envelope_text(&w->envelope, &body, err);
    if (code == 0) {
        d->body = k_try_alloc(body.n + 1);
        if (!d->body) code = error_set(err, KEEL_E_NO_MEMORY, "no memory for a webhook");
    }
    if (code < 0) {
        delivery_free(d);
        return code;
    }
    memcpy(d->body, body.p, body.n);
    d->body[body.n] = 0;
    d->body_bytes = body.n;
    deliveries_add(&e->events, d);
    return 0;
}

/* Goes on where the journal begins if the endpoint fell behind. */
static int open_reader(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    uint64_t first = 0;
    const uint8_t *id = store_id(db_store(w->options.db));
    int code = journal_reader_open(w->dir, id, e->position, &e->reader, &first, err);
    if (code == -KEEL_E_NOT_FOUND && first > e->position) {
        e->missed_bytes += (int64_t)(first - e->position);
        snprintf(e->reason, sizeof e->reason,
                 "fell behind by more than the journal keeps: some events were not sent");
        e->position = first;
        e->skip = 0;
        e->dirty = true;
        code = journal_reader_open(w->dir, id, e->position, &e->reader, NULL, err);
    }
    return code;
}

/* 1: a batch is at hand; 0: the journal has no more. */
static int next_record(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    struct journal_record record;
    uint64_t durable = journal_durable(store_get_journal(db_store(w->options.db)));
    int got;
    while ((got = journal_reader_next(e->reader, durable, &record, err)) == 1) {
        if (record.kind != STORE_RECORD_BATCH) continue;
        buf_clear(&e->record);
        if (buf_add_str(&e->record, record.payload) < 0)
            FAIL(err, NO_MEMORY, "no memory for a batch of events");
        arena_release(&e->names);
        TRY(batch_open(&e->batch, buf_str(&e->record), &e->names, err));
        if (record.position != e->position) e->skip = 0;
        e->record_position = e->position = record.position;
        e->index = 0;
        e->in_record = true;
        return 1;
    }
    return got;
}

/* The event could not be taken: the next try reads it again. */
static void step_back(struct endpoint *e, const struct event_view *view, uint32_t index) {
    journal_reader_close(e->reader);
    e->reader = NULL;
    e->in_record = false;
    e->position = e->record_position;
    e->skip = index;
    e->seen[(view->head.key.lo & (WEBHOOK_SEEN / SEEN_WAYS - 1)) * SEEN_WAYS] = 0; /* the newest */
}

/* Events of the batch at hand, up to the window. */
static int take_events(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    struct event_view view;
    int got = 1;
    while (e->events.count < WEBHOOK_WINDOW && (got = batch_next(&e->batch, &view, err)) == 1) {
        uint32_t index = e->index++;
        e->dirty = true;
        if (index < e->skip || !is_wanted(e, &view.head)) continue;
        if (was_seen(e, view.head.key)) {
            pthread_mutex_lock(&w->lock);
            w->stats.repeated++;
            pthread_mutex_unlock(&w->lock);
            continue;
        }
        int code = add_event(w, e, &view, index, err);
        if (code < 0) {
            step_back(e, &view, index);
            return code;
        }
    }
    if (got == 0) {
        e->in_record = false;
        e->skip = 0;
    }
    return got < 0 ? got : 0;
}

int endpoint_read(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    if (e->retry_rows >= w->options.retry_rows) return 0;
    if (!e->reader) TRY(open_reader(w, e, err));
    while (e->events.count < WEBHOOK_WINDOW) {
        int got = e->in_record ? 1 : next_record(w, e, err);
        if (got <= 0) return got;
        TRY(take_events(w, e, err));
    }
    return 0;
}

/* ---- changes of segments ---- */

int64_t endpoint_change(const struct endpoint *e) {
    for (const struct delivery *d = e->changes.first; d; d = d->next)
        if (d->state == WAITING || d->state == FLYING) return d->change - 1;
    return e->change;
}

static bool is_followed(const struct endpoint *e, int64_t segment) {
    struct str left = buf_str(&e->segments);
    int64_t number;
    if (!left.n) return true;
    while (left.n) {
        const char *end = memchr(left.p, '\n', left.n);
        size_t n = end ? (size_t)(end - left.p) : left.n;
        if (str_to_i64((struct str){left.p, n}, &number) && number == segment) return true;
        n += end != NULL;
        left = (struct str){left.p + n, left.n - n};
    }
    return false;
}

/* 1: the window is full, this one is for later. */
static int take_change(void *ctx, const struct outbox_change *c) {
    struct endpoint *e = ctx;
    struct buf body;
    if (is_followed(e, c->segment)) {
        if (e->changes.count >= WEBHOOK_WINDOW) return 1;
        buf_init(&body, EVENT_MAX_BYTES);
        outbox_json(c, &body);
        if (body.failed || buf_add_char(&body, 0) < 0) {
            buf_release(&body);
            return -KEEL_E_NO_MEMORY;
        }
        struct delivery *d = k_zalloc(sizeof *d);
        d->endpoint = e;
        d->change = c->number;
        outbox_id(c, d->id);
        d->body = (char *)body.p; /* moved */
        d->body_bytes = body.n - 1;
        deliveries_add(&e->changes, d);
    }
    e->change = c->number;
    e->dirty = true;
    return 0;
}

int endpoint_read_changes(struct webhooks *w, struct endpoint *e, struct keel_error *err) {
    if (e->change > w->outbox_last) { /* an older backup was restored */
        e->change = w->outbox_last;
        e->dirty = true;
    }
    if (e->change >= w->outbox_last || e->changes.count >= WEBHOOK_WINDOW ||
        e->retry_rows >= w->options.retry_rows)
        return 0;
    if (e->change < w->outbox_first - 1) {
        snprintf(e->reason, sizeof e->reason,
                 "fell behind by more than the outbox keeps: %lld changes were not sent",
                 (long long)(w->outbox_first - 1 - e->change));
        e->change = w->outbox_first - 1;
        e->dirty = true;
    }
    return outbox_read(w->desk, e->change, 10 * WEBHOOK_WINDOW, take_change, e, NULL, err);
}

/* ---- retries ---- */

int endpoint_load_retries(struct webhooks *w, struct endpoint *e, int64_t now_ms,
                          struct keel_error *err) {
    struct sql_rows rows;
    if (e->retries.count || monotonic_us() < e->retries_looked_us + LOOK_US) return 0;
    e->retries_looked_us = monotonic_us();
    TRY(sql_ask(w->desk, &rows, err,
                "SELECT message_id, body, tries, first_ms FROM webhook_retry"
                "  WHERE webhook = ? AND next_ms <= ? ORDER BY next_ms LIMIT ?",
                "iii", e->id, now_ms, (int64_t)RETRIES_AT_ONCE));
    int code;
    while ((code = sql_next(&rows, err)) == 1) {
        struct str body = sql_str(&rows, 1);
        struct delivery *d = k_zalloc(sizeof *d);
        d->endpoint = e;
        d->is_retry = true;
        snprintf(d->id, sizeof d->id, "%.*s", STR_ARG(sql_str(&rows, 0)));
        d->tries = sql_i64(&rows, 2);
        d->first_ms = sql_i64(&rows, 3);
        d->body = k_alloc(body.n + 1);
        memcpy(d->body, body.p, body.n);
        d->body[body.n] = 0;
        d->body_bytes = body.n;
        deliveries_add(&e->retries, d);
    }
    sql_done(&rows);
    return code;
}
