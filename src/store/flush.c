/* Flush: a head becomes parts.
 *
 * A full head is *sealed*: it takes no more rows, and with it are kept what belongs to its end: the
 * journal position, the redirects, the identity log so far (the client's). An empty head takes the
 * rows that follow. Then the sealed one is sorted and written, one part a month, and recorded in
 * one transaction with that position; only then is the journal trimmed. Until the parts stand in
 * for it, readers find the rows in the sealed head, and the dedup its keys.
 *
 * With options.background a thread of the store writes it while ingest goes on: two heads at most.
 * When the second is full too, the ingesting thread waits, or gets the error, if the flush fails
 * (a full disk, say). Otherwise the ingesting thread writes it by itself, at once.
 *
 * A flush that failed has changed nothing: the head stays sealed, and it is made again behind a
 * pause that doubles from 0.1 s to 30 s, or half a second after the last try when somebody waits
 * for it: ingest without room, or who asks store_blocked. After a failed fsync or an unsure commit
 * nothing is made again: the store takes no changes (change.c).
 *
 * Locks: `flushing` throughout; then as change.c.
 */
#include "base/os.h"
#include "store/store_int.h"

static const struct part_span ALWAYS = {INT64_MIN, INT64_MAX};

void store_seal(struct store *s, uint32_t events) {
    struct head *full = s->head->head;
    uint64_t arrivals = head_first_arrival(full) + head_rows(full);
    struct held_head *fresh = held_head_new(s, arrivals, events);
    struct redirect_view redirects;
    redirects_view(s->redirects, &redirects);
    if (s->client.seal) s->client.seal(s->client.ctx);
    pthread_mutex_lock(&s->state);
    K_ASSERT(!s->sealed.head);
    s->sealed = (struct sealed){.head = s->head,
                                .redirects = redirects,
                                .position = s->applied_position,
                                .arrivals = arrivals};
    held_head_follow(s->head, fresh);
    s->older[s->older_count++] = s->head;
    s->head = fresh;
    s->visible_rows = 0;
    struct store_version *old = version_publish(s, NULL, NULL);
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->state);
    version_unref(old);
    if (s->seen) store_refresh_seen(s);
}

/* Up to which moment a bucket's parts stand one behind the other in time. Parts that reach back
 * behind their forerunners are overflow, and do not count. INT64_MIN: the bucket has no parts. */
static int64_t frontier(const struct part_set *set, int32_t bucket) {
    int64_t edge = INT64_MIN;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct source *part = part_source(set->parts[i]->part);
        if (part->bucket == bucket && part->min_time > edge) edge = part->max_time;
    }
    return edge;
}

/* Rows behind the frontier continue the bucket; late ones go to an overflow part of their own, so
 * that only their customers are put in order when the bucket is read, not everybody. */
static int flush_bucket(struct change *c, const struct part_set *before, struct source *source,
                        const struct redirect_view *redirects, struct keel_error *err) {
    int64_t edge = frontier(before, source->bucket);
    if (edge == INT64_MIN || source->min_time > edge || source->max_time <= edge)
        return change_write(c, &source, 1, ALWAYS, redirects, err);
    struct part_span late = {INT64_MIN, edge + 1}, next = {edge + 1, INT64_MAX};
    TRY(change_write(c, &source, 1, next, redirects, err));
    return change_write(c, &source, 1, late, redirects, err);
}

static int write_head(struct change *c, const struct sealed *sealed, struct keel_error *err) {
    struct source **sources;
    struct part_set *before = current_parts(c->store);
    struct head *head = sealed->head->head;
    struct head_view *view = head_view_new(head, 0, head_rows(head), &sealed->redirects, true);
    uint32_t count = head_view_sources(view, &sources);
    int code = 0;
    for (uint32_t i = 0; i < count && code == 0; i++)
        code = flush_bucket(c, before, sources[i], &sealed->redirects, err);
    head_view_free(view);
    part_set_unref(before);
    return code;
}

/* `flushing` held. */
static int flush(struct store *s, struct keel_error *err) {
    pthread_mutex_lock(&s->state);
    const struct sealed sealed = s->sealed; /* stays until we take it away */
    pthread_mutex_unlock(&s->state);
    if (!sealed.head) return 0;
    TRY(store_usable(s, err));
    struct change *c = k_zalloc(sizeof *c);
    c->store = s;
    int code = journal_sync(s->journal, sealed.position, err);
    if (code == 0) code = write_head(c, &sealed, err);
    if (code == 0) code = change_commit(c, NULL, 0, &sealed, err);
    if (code < 0) change_abandon(c);
    k_free(c);
    if (code == 0) code = journal_trim(s->journal, sealed.position, err);
    return code;
}

int store_flush_sealed(struct store *s, struct keel_error *err) {
    struct keel_error why = {0};
    pthread_mutex_lock(&s->flushing);
    int64_t begun_us = monotonic_us();
    int code = flush(s, &why);
    code = change_result(s, &s->flush_trouble, "flush", code, begun_us, &why);
    pthread_mutex_unlock(&s->flushing);
    if (code < 0 && err) *err = why;
    return code;
}

static bool anything_new(struct store *s) {
    if (head_rows(s->head->head)) return true;
    pthread_mutex_lock(&s->changing);
    bool moved = s->applied_position != s->manifest.journal_position;
    pthread_mutex_unlock(&s->changing);
    return moved;
}

int store_flush(struct store *s, struct keel_error *err) {
    if (s->options.read_only) FAIL(err, INVALID, "%s is open for reading only", s->dir);
    TRY(store_usable(s, err));
    TRY(store_flush_sealed(s, err));
    if (!anything_new(s)) return 0;
    store_seal(s, 0);
    int code = store_flush_sealed(s, err);
    if (s->seen) store_refresh_seen(s);
    return code;
}

bool store_failed(struct store *s) {
    pthread_mutex_lock(&s->state);
    bool failed = s->failed;
    pthread_mutex_unlock(&s->state);
    return failed || journal_failed(s->journal);
}

int store_blocked(struct store *s, struct keel_error *err) {
    if (store_failed(s)) return 0;
    TRY(journal_stalled(s->journal, err));
    pthread_mutex_lock(&s->state);
    struct trouble *t = &s->flush_trouble;
    int code = t->failures ? t->err.code : 0;
    if (code < 0 && err) *err = t->err;
    trouble_ask(s, t);
    pthread_mutex_unlock(&s->state);
    return code;
}

/* ---- in the background ---- */

int64_t flush_due(const struct store *s) {
    if (!s->sealed.head || s->failed) return INT64_MAX;
    return s->flush_trouble.failures ? s->flush_trouble.retry_us : 0;
}

void flush_work(struct store *s) { (void)!store_flush_sealed(s, NULL); }
