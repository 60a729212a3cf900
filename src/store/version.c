/* What snapshots see: immutable versions, each with the parts, the rows in memory and the redirects
 * of one moment.
 *
 * The store has one pointer to the version of now. Whoever changes something (the ingesting thread
 * behind each batch, a flush, a compaction) makes the next version from the last and swaps the
 * pointer under `state`; a snapshot takes a reference under the same lock, and has all three or
 * none of a change. Making one copies no rows: redirects are shared copy-on-write, a head is named
 * with its number of rows, and sorting these into a view is left to the first snapshot that asks,
 * outside the lock; the next ones share it while head, rows and redirects stay as they are. When
 * several have asked, few rows come: the view is made whole, so that scans need not merge its runs.
 *
 * Layers: part.h, head.h, redirect.h. Threads: `state` guards the pointer and what it is made from;
 * a view and the misplaced rows have a lock each, for their making. Limits: as store.h says.
 */
#include <stdlib.h>

#include "base/os.h"
#include "base/thread.h"
#include "store/store_int.h"

/* A batch larger than a head has a head of its own size. The slack takes batches that come when a
 * head is nearly full. */
enum { HEAD_SLACK = 4 };

/* Snapshots of one view from which on it is worth to be made whole. */
enum { HELD_VIEW_SETTLED = 3 };

/* ---- parts ---- */

struct held_part *held_part_new(uint64_t id, struct part *part) {
    struct held_part *h = k_zalloc(sizeof *h);
    h->refs = 1;
    h->id = id;
    h->part = part;
    return h;
}

static void held_part_unref(struct held_part *h) {
    if (atomic_fetch_sub(&h->refs, 1) != 1) return;
    if (h->doomed) (void)!file_remove(part_path(h->part), NULL);
    part_close(h->part);
    k_free(h);
}

struct part_set *part_set_ref(struct part_set *set) {
    atomic_fetch_add(&set->refs, 1);
    return set;
}

void part_set_unref(struct part_set *set) {
    if (!set || atomic_fetch_sub(&set->refs, 1) != 1) return;
    for (uint32_t i = 0; i < set->count; i++) held_part_unref(set->parts[i]);
    k_free(set);
}

static int source_order(const struct source *x, const struct source *y) {
    if (x->bucket != y->bucket) return x->bucket < y->bucket ? -1 : 1;
    if (x->first_arrival != y->first_arrival) return x->first_arrival < y->first_arrival ? -1 : 1;
    return (x->block_first[0] > y->block_first[0]) - (x->block_first[0] < y->block_first[0]);
}

static int order_parts(const void *a, const void *b) {
    return source_order(part_source((*(struct held_part *const *)a)->part),
                        part_source((*(struct held_part *const *)b)->part));
}

static bool is_in(uint64_t id, const uint64_t *ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

struct part_set *part_set_change(const struct part_set *from, const uint64_t *without,
                                 uint32_t without_count, struct held_part *const *add,
                                 uint32_t add_count) {
    uint32_t most = (from ? from->count : 0) + add_count;
    struct part_set *set = k_zalloc(sizeof *set + most * sizeof set->parts[0]);
    set->refs = 1;
    for (uint32_t i = 0; from && i < from->count; i++) {
        if (is_in(from->parts[i]->id, without, without_count)) continue;
        atomic_fetch_add(&from->parts[i]->refs, 1);
        set->parts[set->count++] = from->parts[i];
    }
    for (uint32_t i = 0; i < add_count; i++) set->parts[set->count++] = add[i];
    if (set->count) qsort(set->parts, set->count, sizeof set->parts[0], order_parts);
    return set;
}

/* ---- heads and their views ---- */

static struct lexicon *lexicon_of(void *ctx, uint32_t column) { return store_lexicon(ctx, column); }

struct held_head *held_head_new(struct store *s, uint64_t first_arrival, uint32_t events) {
    struct held_head *h = k_zalloc(sizeof *h);
    uint32_t rows = s->options.head_rows * HEAD_SLACK;
    h->refs = 1;
    h->head = head_new(s->schema, lexicon_of, s, rows < events ? events : rows,
                       s->options.head_bytes, first_arrival);
    return h;
}

void held_head_unref(struct held_head *h) {
    while (h && atomic_fetch_sub(&h->refs, 1) == 1) {
        struct held_head *next = h->next;
        head_free(h->head);
        k_free(h);
        h = next;
    }
}

void held_head_follow(struct held_head *head, struct held_head *next) {
    atomic_fetch_add(&next->refs, 1);
    head->next = next;
}

static void held_view_unref(struct held_view *v) {
    if (!v || atomic_fetch_sub(&v->refs, 1) != 1) return;
    head_view_free(v->view);
    head_view_free(v->whole);
    held_head_unref(v->head);
    pthread_mutex_destroy(&v->lock);
    k_free(v);
}

static struct held_view *held_view_new(struct held_head *head, uint32_t first, uint32_t rows,
                                       uint32_t version) {
    struct held_view *v = k_zalloc(sizeof *v);
    atomic_fetch_add(&head->refs, 1);
    v->refs = 1;
    v->head = head;
    v->first = first;
    v->rows = rows;
    v->version = version;
    pthread_mutex_init(&v->lock, NULL);
    return v;
}

/* That of the version before, if nothing has changed in it. */
static struct held_view *view_of(const struct store_version *before, struct held_head *head,
                                 uint32_t rows, uint32_t version) {
    for (uint32_t i = 0; before && i < before->view_count; i++) {
        struct held_view *v = before->views[i];
        if (v->head != head || v->rows != rows || v->version != version) continue;
        atomic_fetch_add(&v->refs, 1);
        return v;
    }
    return held_view_new(head, 0, rows, version);
}

static uint32_t view_sources(struct held_view *v, const struct redirect_view *redirects,
                             struct source ***out) {
    pthread_mutex_lock(&v->lock);
    v->asked++;
    if (!v->view) v->view = head_view_new(v->head->head, v->first, v->rows, redirects, false);
    if (v->asked >= HELD_VIEW_SETTLED && !v->whole && !head_view_whole(v->view))
        v->whole = head_view_new(v->head->head, v->first, v->rows, redirects, true);
    const struct head_view *view = v->whole ? v->whole : v->view;
    pthread_mutex_unlock(&v->lock);
    return head_view_sources(view, out);
}

static struct held_moves *held_moves_ref(struct held_moves *m) {
    if (m) atomic_fetch_add(&m->refs, 1);
    return m;
}

void held_moves_unref(struct held_moves *m) {
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1) return;
    held_moves_unref(m->before);
    moves_free(m->buckets);
    part_set_unref(m->set);
    pthread_mutex_destroy(&m->lock);
    k_free(m);
}

static struct held_moves *moves_of(const struct store_version *before, struct part_set *set,
                                   uint32_t version) {
    struct held_moves *last = before ? before->moves : NULL;
    if (last && last->set == set && last->version == version) return held_moves_ref(last);
    struct held_moves *m = k_zalloc(sizeof *m);
    m->refs = 1;
    m->set = part_set_ref(set);
    m->version = version;
    pthread_mutex_init(&m->lock, NULL);
    if (last && last->set == set) {
        /* Not waited for under `state`: if they are being made, they will be there when needed. */
        const bool making = pthread_mutex_trylock(&last->lock) != 0;
        m->before = held_moves_ref(making || last->buckets ? last : last->before);
        if (!making) pthread_mutex_unlock(&last->lock);
    }
    return m;
}

/* ---- versions ---- */

struct store_version *version_publish(struct store *s, struct part_set *set,
                                      const struct redirect_view *redirects) {
    struct store_version *before = s->version;
    uint32_t count = s->older_count + 1;
    struct store_version *v = k_zalloc(sizeof *v + count * sizeof v->views[0]);
    v->refs = 1;
    v->set = part_set_ref(set ? set : before->set);
    redirect_view_copy(redirects ? redirects : &before->redirects, &v->redirects);
    v->moves = moves_of(before, v->set, v->redirects.version);
    v->view_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct held_head *head = i < s->older_count ? s->older[i] : s->head;
        uint32_t rows = i < s->older_count ? head_rows(head->head) : s->visible_rows;
        v->views[i] = view_of(before, head, rows, v->redirects.version);
    }
    s->version = v;
    pthread_cond_broadcast(&s->published);
    return before;
}

struct store_version *version_ref(struct store *s) {
    pthread_mutex_lock(&s->state);
    struct store_version *v = s->version;
    atomic_fetch_add(&v->refs, 1);
    pthread_mutex_unlock(&s->state);
    return v;
}

void version_unref(struct store_version *v) {
    if (!v || atomic_fetch_sub(&v->refs, 1) != 1) return;
    for (uint32_t i = 0; i < v->view_count; i++) held_view_unref(v->views[i]);
    held_moves_unref(v->moves);
    redirect_view_release(&v->redirects);
    part_set_unref(v->set);
    k_free(v);
}

struct part_set *current_parts(struct store *s) {
    pthread_mutex_lock(&s->state);
    struct part_set *set = part_set_ref(s->version->set);
    pthread_mutex_unlock(&s->state);
    return set;
}

/* ---- snapshots ---- */

static int order_sources(const void *a, const void *b) {
    return source_order(*(struct source *const *)a, *(struct source *const *)b);
}

/* All sources of the version, in order. */
static void gather_sources(struct snapshot *snap) {
    struct store_version *v = snap->version;
    struct source **of_view;
    snap->sources = k_alloc_array(v->set->count, sizeof *snap->sources);
    for (uint32_t i = 0; i < v->set->count; i++)
        snap->sources[snap->source_count++] = part_source(v->set->parts[i]->part);
    for (uint32_t i = 0; i < v->view_count; i++) {
        uint32_t n = view_sources(v->views[i], &v->redirects, &of_view);
        snap->sources =
            k_realloc(snap->sources, (snap->source_count + n + 1) * sizeof *snap->sources);
        for (uint32_t k = 0; k < n; k++) snap->sources[snap->source_count++] = of_view[k];
    }
    if (snap->source_count)
        qsort(snap->sources, snap->source_count, sizeof *snap->sources, order_sources);
}

/* Takes the reference to the version. */
static struct snapshot *snapshot_new(struct store *s, struct store_version *version) {
    struct snapshot *snap = k_zalloc(sizeof *snap);
    snap->store = s;
    snap->version = version;
    snap->redirects = snap->version->redirects;
    gather_sources(snap);
    snap->min_time = INT64_MAX;
    snap->max_time = INT64_MIN;
    for (uint32_t i = 0; i < snap->source_count; i++) {
        const struct source *source = snap->sources[i];
        snap->rows += source->rows;
        if (source->min_time < snap->min_time) snap->min_time = source->min_time;
        if (source->max_time > snap->max_time) snap->max_time = source->max_time;
    }
    return snap;
}

int snapshot_open(struct store *s, struct snapshot **out, struct keel_error *err) {
    (void)err;
    *out = snapshot_new(s, version_ref(s));
    return 0;
}

void snapshot_close(struct snapshot *snap) {
    if (!snap) return;
    version_unref(snap->version);
    k_free(snap->sources);
    k_free(snap);
}

/* ---- following ---- */

struct store_version *store_version_hold(struct store *s) {
    return version_ref(s);
}
bool store_version_wait(struct store *s, const struct store_version *v, int64_t until_us) {
    pthread_mutex_lock(&s->state);
    bool in_time = true;
    while (s->version == v && in_time)
        in_time = cond_wait_until(&s->published, &s->state, until_us);
    bool changed = s->version != v;
    pthread_mutex_unlock(&s->state);
    return changed;
}
struct store_version *store_version_share(struct store_version *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}
void store_version_release(struct store_version *v) { version_unref(v); }
const struct redirect_view *store_version_redirects(const struct store_version *v) {
    return &v->redirects;
}

struct snapshot *snapshot_of(struct store *s, struct store_version *v) {
    return snapshot_new(s, store_version_share(v));
}

/* Heads from that of `before` on, up to that of `after`: links are set under `state`, and the last
 * head of a version has been linked to before the version was made. */
static uint32_t heads_between(struct store *s, const struct held_view *last,
                              const struct held_head *end, struct held_head **out) {
    uint32_t n = 0;
    pthread_mutex_lock(&s->state);
    struct held_head *head = last->head;
    for (; head != end; head = head->next)
        if (out)
            out[n++] = head;
        else
            n++;
    if (out) out[n] = head;
    pthread_mutex_unlock(&s->state);
    return n + 1;
}

struct snapshot *snapshot_between(struct store *s, const struct store_version *before,
                                  const struct store_version *after) {
    const struct held_view *last = before->views[before->view_count - 1];
    const struct held_view *newest = after->views[after->view_count - 1];
    uint32_t count = heads_between(s, last, newest->head, NULL);
    struct held_head **heads = k_alloc_array(count, sizeof(struct held_head *));
    (void)heads_between(s, last, newest->head, heads);
    struct store_version *v = k_zalloc(sizeof *v + count * sizeof v->views[0]);
    v->refs = 1;
    v->set = part_set_change(NULL, NULL, 0, NULL, 0);
    redirect_view_copy(&after->redirects, &v->redirects);
    v->moves = moves_of(NULL, v->set, v->redirects.version);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = i == 0 ? last->rows : 0;
        uint32_t rows = i == count - 1 ? newest->rows : head_rows(heads[i]->head);
        if (first < rows)
            v->views[v->view_count++] = held_view_new(heads[i], first, rows, v->redirects.version);
    }
    k_free(heads);
    return snapshot_new(s, v);
}

uint32_t store_root(struct store *s, uint32_t number) {
    struct store_version *v = version_ref(s);
    uint32_t root =
        number < v->redirects.numbers ? redirect_root(&v->redirects, number) : UINT32_MAX;
    version_unref(v);
    return root;
}

void store_stats(struct store *s, struct store_stats *out) {
    struct store_version *v = version_ref(s);
    *out = (struct store_stats){.parts = v->set->count, .numbers = v->redirects.numbers};
    for (uint32_t i = 0; i < v->set->count; i++) {
        struct part *part = v->set->parts[i]->part;
        out->part_rows += part_source(part)->rows;
        out->part_bytes += part_bytes(part);
        out->key_bytes += part_key_bytes(part);
    }
    for (uint32_t i = 0; i < v->view_count; i++) out->head_rows += v->views[i]->rows;
    out->heads = v->view_count;
    version_unref(v);
    pthread_mutex_lock(&s->state);
    const struct trouble *t = s->flush_trouble.failures ? &s->flush_trouble : &s->compact_trouble;
    out->failures = s->flush_trouble.failures + s->compact_trouble.failures;
    out->failure = s->failed ? s->failure : t->failures ? t->err : (struct keel_error){0};
    out->stopped = s->failed;
    pthread_mutex_unlock(&s->state);
    out->rows = out->part_rows + out->head_rows;
    out->journal_bytes = journal_position(s->journal) - journal_first(s->journal);
}
