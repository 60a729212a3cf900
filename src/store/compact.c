/* Compaction: parts of a bucket become fewer.
 *
 * Which parts are merged: in a bucket, parts stand in order of arrival. Starting from the newest,
 * an older part joins as long as it is no larger than TIER_GROWTH times what has been joined;
 * STORE_MERGE_PARTS or more are merged into one. So a row is rewritten about log4 of the bucket's
 * size times, and only neighbours in arrival are merged, which keeps the order of ties. Who brings
 * a whole history lets the background wait for more (options.merge_parts), as nobody asks yet.
 *
 * Rows are placed by the redirects of the last flush, because a part may not know more than the
 * identity log on disk. So compaction needs nothing of the ingesting thread and may run beside it:
 * with options.background a thread of the store does, woken by each flush. One that failed has
 * changed nothing, and is tried again behind a pause (change.c).
 *
 * Locks: a compaction holds `compacting` throughout; then as change.c.
 */
#include "base/os.h"
#include "store/store_int.h"

enum { TIER_GROWTH = 2 };

#define ALL 0 /* parts of a bucket, whatever their sizes */

static const struct part_span ALWAYS = {INT64_MIN, INT64_MAX};

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

/* Which parts [from, to) of the bucket that begins at `start` to merge, `least` or more of like
 * sizes; false: none. *end is where the bucket ends. */
static bool choose(const struct part_set *set, uint32_t start, uint32_t version, uint32_t least,
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
    if (least == ALL) return count > 1 || stale;
    uint32_t newest = count - 1;
    uint64_t joined = rows[newest];
    while (newest > 0 && rows[newest - 1] <= joined * TIER_GROWTH) joined += rows[--newest];
    *from = runs[newest];
    return count - newest >= least;
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
    int code = change_write(c, sources, to - from, ALWAYS, redirects, err);
    if (code == 0) code = change_commit(c, gone, to - from, NULL, err);
    if (code < 0) change_abandon(c);
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

/* `compacting` held. Walks the buckets as they are now; returns how many it merged. */
static int merge_buckets(struct store *s, uint32_t least, struct keel_error *err) {
    int code = store_usable(s, err), merged = 0;
    struct redirect_view redirects;
    pthread_mutex_lock(&s->state);
    struct part_set *set = part_set_ref(s->version->set);
    redirect_view_copy(&s->flushed, &redirects);
    pthread_mutex_unlock(&s->state);
    for (uint32_t start = 0, end; start < set->count && code == 0 && !stopping(s); start = end) {
        uint32_t from, to;
        if (!choose(set, start, redirects.version, least, &from, &to, &end)) continue;
        code = merge_parts(s, set, from, to, &redirects, err);
        merged++;
    }
    part_set_unref(set);
    redirect_view_release(&redirects);
    return code < 0 ? code : merged;
}

static int compact(struct store *s, uint32_t least, struct keel_error *err) {
    struct keel_error why = {0};
    pthread_mutex_lock(&s->compacting);
    int64_t begun_us = monotonic_us();
    int merged = merge_buckets(s, least, &why);
    merged = change_result(s, &s->compact_trouble, "compaction", merged, begun_us, &why);
    pthread_mutex_unlock(&s->compacting);
    if (merged < 0 && err) *err = why;
    return merged;
}

int store_compact(struct store *s, bool all, struct keel_error *err) {
    if (s->options.read_only) FAIL(err, INVALID, "%s is open for reading only", s->dir);
    TRY(store_flush(s, err));
    return compact(s, all ? ALL : STORE_MERGE_PARTS, err);
}

/* ---- in the background ---- */

int64_t compact_due(const struct store *s) {
    if (s->failed) return INT64_MAX;
    if (s->compact_trouble.failures) return s->compact_trouble.retry_us;
    return s->wake ? 0 : INT64_MAX;
}

void compact_work(struct store *s) {
    pthread_mutex_lock(&s->state);
    s->wake = false; /* whatever asked is part of what comes now */
    pthread_mutex_unlock(&s->state);
    (void)!compact(s, s->options.merge_parts, NULL);
}
