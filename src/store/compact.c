/* Flush and compaction: sources become parts.
 *
 * A change is: write the new files and sync them, sync their folder, then one manifest transaction
 * that adds them, removes what they replace, and moves the journal position; then the list in
 * memory is replaced. A crash before the transaction leaves new files, a crash behind it old ones,
 * that the manifest does not name: the next opening removes them. When the transaction's own commit
 * fails, nobody knows which of the two it is: the files stay, and the store takes no changes until
 * it is opened again.
 *
 * Which parts are merged: in a bucket, parts stand in order of arrival. Starting from the newest,
 * an older part joins as long as it is no larger than TIER_GROWTH times what has been joined; four
 * or more are merged into one. So a row is rewritten about log4 of the bucket's size times, and
 * only neighbours in arrival are merged, which keeps the order of ties.
 *
 * Rows are placed by the redirects of the last flush, because a part may not know more than the
 * identity log on disk. So compaction needs nothing of the ingesting thread and may run beside it:
 * with options.background a thread of the store does, woken by each flush.
 *
 * Locks: a compaction holds `compacting` throughout; both take `changing` for an id and for the
 * transaction, `state` to swap the list.
 */
#include <stdio.h>

#include "base/os.h"
#include "store/store_int.h"

enum { TIER_PARTS = 4, TIER_GROWTH = 2, MOST_NEW_PARTS = 4096 };

/* A change in the making. */
struct change {
    struct store *store;
    struct part_set *before; /* flush: the parts that were there */
    bool unsure;             /* the transaction failed at its end: it may be on disk all the same */
    struct held_part *added[MOST_NEW_PARTS];
    struct manifest_part entries[MOST_NEW_PARTS];
    uint32_t count;
};

static const struct part_span ALWAYS = {INT64_MIN, INT64_MAX};

static int write_parts(struct change *c, struct source *const *sources, uint32_t count,
                       struct part_span span, const struct redirect_view *redirects,
                       struct keel_error *err) {
    struct store *s = c->store;
    struct part_env env = store_part_env(s);
    struct part_merge *merge;
    TRY(part_merge_open(sources, count, span, redirects, &env, s->options.part_rows, &merge, err));
    int code = 1;
    while (code == 1) {
        char path[4096];
        struct part_written written;
        struct part *part;
        pthread_mutex_lock(&s->changing);
        uint64_t id = s->manifest.next_part++;
        pthread_mutex_unlock(&s->changing);
        store_part_path(s, id, path, sizeof path);
        code = c->count == MOST_NEW_PARTS
                   ? error_set(err, KEEL_E_LIMIT, "one change makes more than %d parts",
                               MOST_NEW_PARTS)
                   : part_merge_next(merge, path, id, &written, err);
        if (code != 1) break;
        int opened = part_open(path, &env, &part, err); /* read back what was written */
        if (opened == 0) {
            opened = part_bind(part, redirects, err);
            if (opened < 0) part_close(part);
        }
        if (opened < 0) {
            (void)!file_remove(path, NULL);
            code = opened;
            break;
        }
        c->entries[c->count] = (struct manifest_part){
            .id = id, .bucket = sources[0]->bucket, .rows = written.rows, .bytes = written.bytes};
        c->added[c->count++] = held_part_new(id, part);
    }
    part_merge_close(merge);
    return code;
}

static void abandon(struct change *c) {
    struct part_set *set = part_set_change(NULL, NULL, 0, c->added, c->count);
    for (uint32_t i = 0; i < c->count; i++) c->added[i]->doomed = !c->unsure;
    part_set_unref(c->store, set);
    c->count = 0;
}

/* When the commit itself failed, the next opening may find the change made or not made: its files
 * must stay, and nothing may build on either. */
static void fail_unsure(struct store *s, const struct keel_error *why) {
    struct keel_error unknown = {.code = -KEEL_E_IO, .message = "keel.db could not be written"};
    store_fail(s, why ? why : &unknown);
}

static int sync_parts_folder(struct store *s, struct keel_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/parts", s->dir);
    return file_sync_dir(path, err);
}

/* What a flush moves on in the manifest. */
struct progress {
    uint64_t journal_position, arrivals;
};

static int record_locked(struct change *c, const uint64_t *gone, uint32_t gone_count,
                         const struct progress *flushed, struct keel_error *err) {
    struct store *s = c->store;
    TRY(manifest_begin(&s->manifest, err));
    struct progress before = {s->manifest.journal_position, s->manifest.arrivals};
    int code = 0;
    for (uint32_t i = 0; i < c->count && code == 0; i++)
        code = manifest_add_part(&s->manifest, &c->entries[i], err);
    for (uint32_t i = 0; i < gone_count && code == 0; i++)
        code = manifest_remove_part(&s->manifest, gone[i], err);
    if (flushed) {
        s->manifest.journal_position = flushed->journal_position;
        s->manifest.arrivals = flushed->arrivals;
        if (code == 0) code = manifest_save_schema(&s->manifest, s->schema, err);
        if (code == 0 && s->client.flush)
            code = s->client.flush(s->client.ctx, s, s->manifest.db, err);
    }
    if (code == 0) code = manifest_save_state(&s->manifest, err);
    if (code == 0) {
        code = manifest_commit(&s->manifest, err);
        c->unsure = code < 0;
    }
    if (code == 0) return 0;
    manifest_rollback(&s->manifest);
    if (flushed) { /* else these are the ingesting thread's */
        s->manifest.journal_position = before.journal_position;
        s->manifest.arrivals = before.arrivals;
    }
    return code;
}

static int record(struct change *c, const uint64_t *gone, uint32_t gone_count,
                  const struct progress *flushed, struct keel_error *err) {
    struct store *s = c->store;
    TRY(sync_parts_folder(s, err));
    pthread_mutex_lock(&s->changing);
    int code = store_usable(s, err); /* the other thread's commit may have failed meanwhile */
    if (code == 0) code = record_locked(c, gone, gone_count, flushed, err);
    if (c->unsure) fail_unsure(s, err);
    pthread_mutex_unlock(&s->changing);
    if (code == 0 && flushed && s->client.flushed) s->client.flushed(s->client.ctx);
    return code;
}

/* ---- flush ---- */

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
static int flush_bucket(struct change *c, struct source *source,
                        const struct redirect_view *redirects, struct keel_error *err) {
    int64_t edge = frontier(c->before, source->bucket);
    if (edge == INT64_MIN || source->min_time > edge || source->max_time <= edge)
        return write_parts(c, &source, 1, ALWAYS, redirects, err);
    struct part_span late = {INT64_MIN, edge + 1}, next = {edge + 1, INT64_MAX};
    TRY(write_parts(c, &source, 1, next, redirects, err));
    return write_parts(c, &source, 1, late, redirects, err);
}

/* The head is in parts now: readers from here on find it there. */
static void replace_head(struct store *s, struct change *c, struct redirect_view *redirects) {
    struct held_head *fresh = held_head_new(s);
    pthread_mutex_lock(&s->state);
    struct part_set *old_set = s->set;
    struct held_head *old_head = s->head;
    struct held_view *old_view = s->view;
    struct held_moves *old_moves = s->moves;
    struct redirect_view old_redirects = s->flushed;
    s->set = part_set_change(old_set, NULL, 0, c->added, c->count);
    s->head = fresh;
    s->view = NULL;
    s->moves = NULL;
    s->flushed = *redirects;
    s->wake = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->state);
    held_view_unref(old_view);
    held_head_unref(old_head);
    part_set_unref(s, old_set);
    redirect_view_release(&old_redirects);
    held_moves_unref(s, old_moves);
    *redirects = (struct redirect_view){0};
    if (s->seen_in) store_refresh_seen(s);
}

static int flush_head(struct store *s, struct keel_error *err) {
    struct head *head = s->head->head;
    head_publish(head);
    struct redirect_view redirects;
    struct source **sources;
    struct change *c = k_zalloc(sizeof *c);
    c->store = s;
    pthread_mutex_lock(&s->state);
    c->before = part_set_ref(s->set);
    pthread_mutex_unlock(&s->state);
    redirects_view(s->redirects, &redirects);
    struct head_view *view = head_view_new(head, &redirects);
    uint32_t count = head_view_sources(view, &sources);
    int code = journal_sync(s->journal, s->applied_position, err);
    for (uint32_t i = 0; i < count && code == 0; i++)
        code = flush_bucket(c, sources[i], &redirects, err);
    struct progress flushed = {s->applied_position, s->manifest.arrivals + head_rows(head)};
    if (code == 0) code = record(c, NULL, 0, &flushed, err);
    head_view_free(view);
    part_set_unref(s, c->before);
    if (code == 0) {
        replace_head(s, c, &redirects);
        code = journal_trim(s->journal, s->applied_position, err);
    } else {
        abandon(c);
    }
    redirect_view_release(&redirects);
    k_free(c);
    return code;
}

int store_flush(struct store *s, struct keel_error *err) {
    if (s->options.read_only) FAIL(err, INVALID, "%s is open for reading only", s->dir);
    TRY(store_usable(s, err));
    if (head_rows(s->head->head) == 0 && s->applied_position == s->manifest.journal_position)
        return 0;
    return flush_head(s, err);
}

/* ---- compaction ---- */

/* Parts split by customer share their arrivals: together they count as one. */
static uint32_t run_end(const struct part_set *set, uint32_t i) {
    const struct source *first = part_source(set->parts[i]->part);
    uint32_t end = i + 1;
    while (end < set->count) {
        const struct source *next = part_source(set->parts[end]->part);
        if (next->bucket != first->bucket || next->first_arrival != first->first_arrival) break;
        end++;
    }
    return end;
}

/* Which parts [from, to) of the bucket that begins at `start` to merge; false: none. *end is where
 * the bucket ends. */
static bool choose(const struct part_set *set, uint32_t start, uint32_t version, bool all,
                   uint32_t *from, uint32_t *to, uint32_t *end) {
    uint32_t runs[1024], count = 0;
    uint64_t rows[1024];
    bool stale = false;
    int32_t bucket = part_source(set->parts[start]->part)->bucket;
    uint32_t i = start;
    while (i < set->count && part_source(set->parts[i]->part)->bucket == bucket && count < 1024) {
        uint32_t next = run_end(set, i);
        runs[count] = i;
        rows[count] = 0;
        for (uint32_t k = i; k < next; k++) {
            rows[count] += part_source(set->parts[k]->part)->rows;
            stale |= part_source(set->parts[k]->part)->identity_version != version;
        }
        count++;
        i = next;
    }
    *end = *to = i;
    *from = start;
    if (all) return count > 1 || stale;
    uint32_t newest = count - 1;
    uint64_t joined = rows[newest];
    while (newest > 0 && rows[newest - 1] <= joined * TIER_GROWTH) joined += rows[--newest];
    *from = runs[newest];
    return count - newest >= TIER_PARTS;
}

static int merge_parts(struct store *s, struct part_set *set, uint32_t from, uint32_t to,
                       const struct redirect_view *redirects, struct keel_error *err) {
    struct change *c = k_zalloc(sizeof *c);
    struct source **sources = k_alloc_array(to - from, sizeof *sources);
    uint64_t *gone = k_alloc_array(to - from, sizeof *gone);
    c->store = s;
    for (uint32_t i = from; i < to; i++) {
        sources[i - from] = part_source(set->parts[i]->part);
        gone[i - from] = set->parts[i]->id;
    }
    int code = write_parts(c, sources, to - from, ALWAYS, redirects, err);
    if (code == 0) code = record(c, gone, to - from, NULL, err);
    if (code == 0) {
        for (uint32_t i = from; i < to; i++) set->parts[i]->doomed = true;
        pthread_mutex_lock(&s->state);
        struct part_set *old = s->set;
        struct held_moves *old_moves = s->moves;
        s->set = part_set_change(old, gone, to - from, c->added, c->count);
        s->moves = NULL;
        pthread_mutex_unlock(&s->state);
        held_moves_unref(s, old_moves);
        part_set_unref(s, old);
    } else {
        abandon(c);
    }
    k_free(gone);
    k_free(sources);
    k_free(c);
    return code;
}

static bool stopping(struct store *s) {
    pthread_mutex_lock(&s->state);
    bool stop = s->stopping;
    pthread_mutex_unlock(&s->state);
    return stop;
}

/* Walks the buckets as they are now; returns how many it merged. */
static int compact(struct store *s, bool all, struct keel_error *err) {
    int code = 0, merged = 0;
    struct redirect_view redirects;
    pthread_mutex_lock(&s->compacting);
    pthread_mutex_lock(&s->state);
    struct part_set *set = part_set_ref(s->set);
    redirect_view_copy(&s->flushed, &redirects);
    pthread_mutex_unlock(&s->state);
    for (uint32_t start = 0, end; start < set->count && code == 0 && !stopping(s); start = end) {
        uint32_t from, to;
        if (!choose(set, start, redirects.version, all, &from, &to, &end)) continue;
        code = merge_parts(s, set, from, to, &redirects, err);
        merged++;
    }
    part_set_unref(s, set);
    redirect_view_release(&redirects);
    pthread_mutex_unlock(&s->compacting);
    return code < 0 ? code : merged;
}

int store_compact(struct store *s, bool all, struct keel_error *err) {
    if (s->options.read_only) FAIL(err, INVALID, "%s is open for reading only", s->dir);
    TRY(store_flush(s, err));
    return compact(s, all, err);
}

/* ---- in the background ---- */

/* A failed compaction loses nothing: its parts are as they were, and the next flush tries again. */
static void *run_compactor(void *arg) {
    struct store *s = arg;
    pthread_mutex_lock(&s->state);
    while (!s->stopping) {
        if (!s->wake) {
            pthread_cond_wait(&s->woken, &s->state);
            continue;
        }
        s->wake = false;
        pthread_mutex_unlock(&s->state);
        (void)!compact(s, false, NULL);
        pthread_mutex_lock(&s->state);
    }
    pthread_mutex_unlock(&s->state);
    return NULL;
}

void compactor_start(struct store *s) {
    s->has_compactor = pthread_create(&s->compactor, NULL, run_compactor, s) == 0;
}

void compactor_stop(struct store *s) {
    if (!s->has_compactor) return;
    pthread_mutex_lock(&s->state);
    s->stopping = true;
    pthread_cond_signal(&s->woken);
    pthread_mutex_unlock(&s->state);
    pthread_join(s->compactor, NULL);
    s->has_compactor = false;
}
