/* What was settled, into the tables: see webhook_int.h. After the transaction an event is either in
 * front of its endpoint's cursor, or a row of webhook_retry or webhook_dead, or was delivered. */
#include "base/os.h"
#include "reach/webhook_int.h"

enum { SWEEP_US = 60000000, SETTLED = 1 << SENT | 1 << FAILED | 1 << DEAD };

static int save_delivery(struct sql *desk, const struct delivery *d, int64_t now_ms,
                         struct keel_error *err) {
    const struct endpoint *e = d->endpoint;
    struct str body = {d->body, d->body_bytes};
    if (d->state == FAILED)
        return sql_run(desk, err,
                       "INSERT OR REPLACE INTO webhook_retry(webhook, message_id, body, tries,"
                       "  first_ms, next_ms, error) VALUES(?, ?, ?, ?, ?, ?, ?)",
                       "izsiiiz", e->id, d->id, body, d->tries, d->first_ms, d->next_ms, d->error);
    if (d->is_retry)
        TRY(sql_run(desk, err, "DELETE FROM webhook_retry WHERE webhook = ? AND message_id = ?",
                    "iz", e->id, d->id));
    if (d->state != DEAD) return 0;
    return sql_run(desk, err,
                   "INSERT INTO webhook_dead(webhook, message_id, body, tries, first_ms, dead_ms,"
                   "  error) VALUES(?, ?, ?, ?, ?, ?, ?)",
                   "izsiiiz", e->id, d->id, body, d->tries, d->first_ms, now_ms, d->error);
}

static bool is_settled(const struct delivery *d) { return SETTLED >> d->state & 1; }

static int save_list(struct sql *desk, const struct deliveries *list, int64_t now_ms,
                     struct keel_error *err) {
    for (const struct delivery *d = list->first; d; d = d->next)
        if (is_settled(d)) TRY(save_delivery(desk, d, now_ms, err));
    return 0;
}

/* Retries that are too old while their endpoint is left alone: nobody would try them. */
static int give_up_old(struct webhooks *w, const struct endpoint *e, int64_t now_ms,
                       struct keel_error *err) {
    int64_t before = now_ms - w->options.give_up_ms;
    TRY(sql_run(w->desk, err,
                "INSERT INTO webhook_dead(webhook, message_id, body, tries, first_ms, dead_ms,"
                "  error) SELECT webhook, message_id, body, tries, first_ms, ?, error"
                "  FROM webhook_retry WHERE webhook = ? AND first_ms <= ?",
                "iii", now_ms, e->id, before));
    return sql_run(w->desk, err, "DELETE FROM webhook_retry WHERE webhook = ? AND first_ms <= ?",
                   "ii", e->id, before);
}

/* An endpoint that lives and refuses many events must not be stopped by them: those that were tried
 * most make room, as dead letters, which can be replayed. Where nobody answers, what comes waits in
 * the journal instead. Rows that are due may be in memory, and stay. */
static int make_room(struct webhooks *w, const struct endpoint *e, int64_t now_ms,
                     struct keel_error *err) {
    int64_t rows = 0, most = w->options.retry_rows;
    TRY(sql_number(w->desk, 0, &rows, err, "SELECT count(*) FROM webhook_retry WHERE webhook = ?",
                   "i", e->id));
    if (rows < most || e->paused_until_us) return 0;
    int64_t surplus = rows - most + most / 10 + 1;
    TRY(sql_run(w->desk, err,
                "INSERT INTO webhook_dead(webhook, message_id, body, tries, first_ms, dead_ms,"
                "  error) SELECT webhook, message_id, body, tries, first_ms, ?, error"
                "  FROM webhook_retry WHERE webhook = ? AND next_ms > ?"
                "  ORDER BY tries DESC, first_ms, message_id LIMIT ?",
                "iiii", now_ms, e->id, now_ms, surplus));
    pthread_mutex_lock(&w->lock);
    w->stats.dead += (uint64_t)sql_changes(w->desk);
    pthread_mutex_unlock(&w->lock);
    return sql_run(w->desk, err,
                   "DELETE FROM webhook_retry WHERE webhook = ? AND message_id IN"
                   "  (SELECT message_id FROM webhook_retry WHERE webhook = ? AND next_ms > ?"
                   "   ORDER BY tries DESC, first_ms, message_id LIMIT ?)",
                   "iiii", e->id, e->id, now_ms, surplus);
}

static int save_endpoint(struct webhooks *w, struct endpoint *e, bool sweep, int64_t now_ms,
                         struct keel_error *err) {
    uint64_t position;
    uint32_t skip;
    TRY(save_list(w->desk, &e->events, now_ms, err));
    TRY(save_list(w->desk, &e->changes, now_ms, err));
    TRY(save_list(w->desk, &e->retries, now_ms, err));
    if (sweep && e->paused_until_us && !e->retries.count) TRY(give_up_old(w, e, now_ms, err));
    TRY(make_room(w, e, now_ms, err));
    endpoint_cursor(e, &position, &skip);
    TRY(sql_run(w->desk, err,
                "DELETE FROM webhook_dead WHERE webhook = ? AND id <= (SELECT id FROM webhook_dead"
                "  WHERE webhook = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                "iii", e->id, e->id, (int64_t)WEBHOOK_DEAD_MOST));
    if (e->has_change)
        TRY(sql_run(w->desk, err, "UPDATE webhook SET change = ? WHERE id = ? AND state = 0", "ii",
                    endpoint_change(e), e->id));
    TRY(sql_run(w->desk, err,
                "UPDATE webhook SET position = ?, skip = ?, state = ?, reason = ?,"
                "  delivered = delivered + ?, failed = failed + ?,"
                "  missed_bytes = missed_bytes + ? WHERE id = ? AND state = 0",
                "iiiziiii", (int64_t)position, (int64_t)skip, (int64_t)e->state, e->reason,
                e->delivered, e->failed, e->missed_bytes, e->id));
    return sql_number(w->desk, 0, &e->retry_rows, err,
                      "SELECT count(*) FROM webhook_retry WHERE webhook = ?", "i", e->id);
}

/* Committed: what is settled need not be remembered. */
static void forget(struct endpoint *e) {
    deliveries_drop(&e->events, SETTLED);
    deliveries_drop(&e->changes, SETTLED);
    deliveries_drop(&e->retries, SETTLED);
    e->delivered = e->failed = e->missed_bytes = 0;
    e->dirty = false;
}

static int hold_journal(struct webhooks *w, struct keel_error *err) {
    uint64_t least = JOURNAL_NO_HOLD;
    for (const struct endpoint *e = w->endpoints; e; e = e->next) {
        uint64_t position;
        uint32_t skip;
        if (e->state != WEBHOOK_ON || !e->has_cursor || e->no_events) continue;
        endpoint_cursor(e, &position, &skip);
        if (position < least) least = position;
    }
    if (least == w->held) return 0;
    TRY(journal_hold(store_get_journal(db_store(w->options.db)), JOURNAL_FOLLOWER_WEBHOOKS, least,
                     err));
    w->held = least;
    return 0;
}

int webhooks_save(struct webhooks *w, struct keel_error *err) {
    int64_t now = now_ms();
    bool sweep = monotonic_us() > w->swept_us + SWEEP_US, any = sweep;
    for (const struct endpoint *e = w->endpoints; e; e = e->next) any |= e->dirty;
    if (any) {
        TRY(sql_begin(w->desk, err));
        int code = 0;
        for (struct endpoint *e = w->endpoints; e && code == 0; e = e->next)
            if (e->dirty || (sweep && e->state == WEBHOOK_ON && e->has_cursor))
                code = save_endpoint(w, e, sweep, now, err);
        TRY(sql_end(w->desk, code, err));
        for (struct endpoint *e = w->endpoints; e; e = e->next)
            if (e->dirty) forget(e);
        if (sweep) w->swept_us = monotonic_us();
    }
    return hold_journal(w, err);
}
