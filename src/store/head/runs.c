/* Implementation of views (head.h): which runs a view has, sorting new rows, merging runs.
 *
 * New rows are dealt out to buckets in arrival order, then radix-sorted by root customer (stable,
 * 11 bits a pass, passes over equal digits skipped), then each customer's rows are sorted by (time,
 * number), which is nearly done already: about 10 ns a row. Merging runs compares a customer, and
 * of one customer time, number and arrival: the order is total, so in whatever order runs are
 * merged the result is that of sorting all rows at once.
 *
 * Rows whose number has another root since their run was made are taken out of it, sorted, and
 * merged in again: the run is made anew, the others are kept.
 *
 * Layers: head/runs.h. Threads: `views` of the head guards its newest view and its making.
 * Limits: a view older than the newest, or of some of the rows only, shares nothing.
 */
#include <stdlib.h>

#include "base/time.h"
#include "store/head/runs.h"

/* A run is left as it is while it has at least so many times the rows of the one behind it. 2 made
 * as much work, and twice the runs for scans to merge; 8 a third more work. */
enum { GROWTH = 4, SMALL_RUN = CHUNK_ROWS / GROWTH };

struct head_view {
    uint32_t rows, version; /* of the head; of the redirects */
    uint32_t count, capacity;
    struct source **sources; /* by bucket, then arrival */
};

/* ---- tables ---- */

static struct head_tables *tables_new(struct head *h) {
    struct head_tables *t = k_zalloc(sizeof *t);
    t->refs = 1;
    pthread_mutex_lock(&h->tables);
    t->column_capacity = h->column_capacity;
    t->columns = k_alloc_array(h->column_capacity, sizeof(struct head_column *));
    t->stream_capacity = h->stream_capacity;
    t->streams = k_alloc_array(h->stream_capacity, sizeof(struct head_stream *));
    if (h->column_capacity)
        memcpy(t->columns, h->columns, h->column_capacity * sizeof(struct head_column *));
    if (h->stream_capacity)
        memcpy(t->streams, h->streams, h->stream_capacity * sizeof(struct head_stream *));
    pthread_mutex_unlock(&h->tables);
    return t;
}

struct head_tables *head_tables_ref(struct head_tables *t) {
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void head_tables_unref(struct head_tables *t) {
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1) return;
    k_free(t->columns);
    k_free(t->streams);
    k_free(t);
}

/* ---- sorting ---- */

static struct run_rows rows_new(uint32_t n) {
    return (struct run_rows){.n = n,
                             .row = k_alloc_array(n, sizeof(uint32_t)),
                             .customer = k_alloc_array(n, sizeof(uint32_t))};
}

static void rows_release(struct run_rows *r) {
    k_free(r->row);
    k_free(r->customer);
    *r = (struct run_rows){0};
}

static void radix_sort(uint32_t *key, uint32_t *value, uint32_t *key2, uint32_t *value2,
                       uint32_t n) {
    enum { BITS = 11, SIZE = 1 << BITS };
    for (int shift = 0; shift < 32; shift += BITS) {
        uint32_t count[SIZE] = {0};
        for (uint32_t i = 0; i < n; i++) count[key[i] >> shift & (SIZE - 1)]++;
        if (n && count[key[0] >> shift & (SIZE - 1)] == n) continue;
        uint32_t sum = 0;
        for (int d = 0; d < SIZE; d++) {
            uint32_t c = count[d];
            count[d] = sum;
            sum += c;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t at = count[key[i] >> shift & (SIZE - 1)]++;
            key2[at] = key[i];
            value2[at] = value[i];
        }
        memcpy(key, key2, n * sizeof *key);
        memcpy(value, value2, n * sizeof *value);
    }
}

/* Of one customer's rows. */
static bool comes_before(const struct head *h, uint32_t x, uint32_t y) {
    if (h->time[x] != h->time[y]) return h->time[x] < h->time[y];
    if (h->number[x] != h->number[y]) return h->number[x] < h->number[y];
    return x < y;
}

static int compare_rows(const void *a, const void *b, void *ctx) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return comes_before(ctx, x, y) ? -1 : comes_before(ctx, y, x);
}

static void sort_customers(const struct head *h, struct run_rows r) {
    for (uint32_t i = 0; i < r.n;) {
        uint32_t end = i + 1;
        bool sorted = true;
        while (end < r.n && r.customer[end] == r.customer[i]) {
            sorted &= comes_before(h, r.row[end - 1], r.row[end]);
            end++;
        }
        if (!sorted) qsort_r(r.row + i, end - i, sizeof *r.row, compare_rows, (void *)(uintptr_t)h);
        i = end;
    }
}

/* Rows by arrival, into the order of a run. */
static struct run_rows sort_rows(const struct head *h, const struct redirect_view *redirects,
                                 const uint32_t *rows, uint32_t n) {
    struct run_rows r = rows_new(n);
    memcpy(r.row, rows, n * sizeof *rows);
    for (uint32_t i = 0; i < n; i++) r.customer[i] = redirect_root(redirects, h->number[rows[i]]);
    struct run_rows scratch = rows_new(n);
    radix_sort(r.customer, r.row, scratch.customer, scratch.row, n);
    rows_release(&scratch);
    sort_customers(h, r);
    return r;
}

/* ---- merging ---- */

static struct run_rows merge_rows(const struct head *h, struct run_rows a, struct run_rows b) {
    struct run_rows out = rows_new(a.n + b.n);
    uint32_t i = 0, k = 0, n = 0;
    while (i < a.n && k < b.n) {
        bool first = a.customer[i] != b.customer[k] ? a.customer[i] < b.customer[k]
                                                    : comes_before(h, a.row[i], b.row[k]);
        out.row[n] = first ? a.row[i] : b.row[k];
        out.customer[n++] = first ? a.customer[i] : b.customer[k];
        i += first;
        k += !first;
    }
    const struct run_rows *rest = i < a.n ? &a : &b;
    uint32_t from = i < a.n ? i : k;
    if (from == rest->n) return out;
    memcpy(out.row + n, rest->row + from, (rest->n - from) * sizeof *out.row);
    memcpy(out.customer + n, rest->customer + from, (rest->n - from) * sizeof *out.customer);
    return out;
}

static struct run_rows rows_of(const struct head_source *run) {
    return (struct run_rows){run->base.rows, run->row, run->customer};
}

/* ---- rows that moved ---- */

/* Marks the rows of the run that lie under another root today; how many. A number's first move
 * since the run was made is from where its rows lie; later ones find nothing. */
static uint32_t mark_moved(const struct head_source *run, uint32_t version,
                           const struct redirect_view *redirects, uint64_t **marks) {
    const struct run_rows r = rows_of(run);
    uint32_t i = redirects->move_count, found = 0;
    *marks = NULL;
    while (i > 0 && redirects->moves[i - 1].version > version) i--;
    for (; i < redirects->move_count; i++) {
        const struct redirect_move *m = &redirects->moves[i];
        if (redirect_root(redirects, m->number) == m->from) continue;
        for (uint32_t k = first_customer(r.customer, r.n, m->from);
             k < r.n && r.customer[k] == m->from; k++) {
            if (run->head->number[r.row[k]] != m->number) continue;
            if (!*marks) *marks = k_zalloc((r.n + 63) / 64 * sizeof **marks);
            found += !bit_get(*marks, k);
            bit_set(*marks, k);
        }
    }
    return found;
}

/* The run, with every row under its root of today. */
static struct head_source *place_anew(struct head_source *run, uint32_t version,
                                      struct head_tables *tables,
                                      const struct redirect_view *redirects) {
    uint64_t *marks;
    uint32_t moved = mark_moved(run, version, redirects, &marks);
    if (!moved) return run_ref(run);
    const struct head *h = run->head;
    struct run_rows from = rows_of(run), kept = rows_new(from.n - moved);
    uint32_t *rows = k_alloc_array(moved, sizeof *rows), n = 0;
    kept.n = 0;
    for (uint32_t i = 0; i < from.n; i++) {
        if (bit_get(marks, i)) {
            rows[n++] = from.row[i];
            continue;
        }
        kept.row[kept.n] = from.row[i];
        kept.customer[kept.n++] = from.customer[i];
    }
    struct run_rows again = sort_rows(h, redirects, rows, n), all = merge_rows(h, kept, again);
    rows_release(&kept);
    rows_release(&again);
    k_free(rows);
    k_free(marks);
    struct run_span span = {run->base.first_arrival - h->first_arrival,
                            run->base.last_arrival - h->first_arrival};
    return run_new(h, tables, run->base.bucket, all, span, redirects->version);
}

/* ---- views ---- */

/* Deals the rows out to their buckets, in arrival order: *order is the rows bucket after bucket,
 * ends[] where each bucket of the table ends. */
enum { FIRST_BUCKET = 0, BUCKETS = (2200 - 1970) * 12 + 2 };

static void deal_buckets(const struct head *h, uint32_t first, uint32_t n, uint32_t *order,
                         uint32_t *ends) {
    uint16_t *bucket = k_alloc_array(n, sizeof *bucket);
    int64_t from = 0, to = 0; /* the last row's bucket, as a span: rows come nearly in time order */
    int32_t last = 0;
    memset(ends, 0, BUCKETS * sizeof *ends);
    for (uint32_t i = 0; i < n; i++) {
        int64_t time = h->time[first + i];
        if (time < from || time >= to) {
            last = bucket_of(time);
            from = bucket_start(last);
            to = bucket_start(last + 1);
        }
        K_ASSERT(last >= FIRST_BUCKET && last < BUCKETS);
        bucket[i] = (uint16_t)last;
        ends[last]++;
    }
    uint32_t sum = 0;
    for (int b = 0; b < BUCKETS; b++) {
        uint32_t count = ends[b];
        ends[b] = sum;
        sum += count;
    }
    for (uint32_t i = 0; i < n; i++) order[ends[bucket[i]]++] = first + i;
    k_free(bucket);
}

/* What a view is made of: the view before (or NULL), and the rows behind it. */
struct making {
    struct head *head;
    struct head_tables *tables;
    const struct redirect_view *redirects;
    const struct head_view *before;
    uint32_t at; /* next source of `before` */
    uint32_t first, rows;
    bool whole;
    struct head_view *view;
};

static void add_run(struct head_view *v, struct head_source *run) {
    if (v->count == v->capacity) {
        v->capacity = v->capacity ? v->capacity * 2 : 8;
        v->sources = k_realloc(v->sources, v->capacity * sizeof(struct source *));
    }
    v->sources[v->count++] = &run->base;
}

static struct head_source *last_run(const struct head_view *v) {
    return (struct head_source *)v->sources[v->count - 1];
}

/* A bucket's runs of before, all of them as of today. */
static void take_runs(struct making *m, int32_t bucket) {
    const struct head_view *b = m->before;
    for (; b && m->at < b->count && b->sources[m->at]->bucket == bucket; m->at++)
        add_run(m->view, place_anew((struct head_source *)b->sources[m->at], b->version, m->tables,
                                    m->redirects));
}

/* The rows behind, and the runs of the bucket, from `from` on in the view, that they join. */
static void add_rows(struct making *m, int32_t bucket, uint32_t from, const uint32_t *rows,
                     uint32_t n) {
    struct head_view *v = m->view;
    struct run_rows sum = {0};
    uint64_t since = m->first;
    if (n)
        sum = sort_rows(m->head, m->redirects, rows, n);
    else if (!m->whole || v->count < from + 2)
        return;
    while (v->count > from) {
        struct head_source *run = last_run(v);
        uint32_t least = sum.n > SMALL_RUN ? sum.n : SMALL_RUN;
        if (!m->whole && run->base.rows / GROWTH >= least) break;
        struct run_rows merged = merge_rows(m->head, rows_of(run), sum);
        rows_release(&sum);
        sum = merged;
        since = run->base.first_arrival - m->head->first_arrival;
        run_unref(run);
        v->count--;
    }
    add_run(v, run_new(m->head, m->tables, bucket, sum, (struct run_span){since, m->rows},
                       m->redirects->version));
}

static struct head_view *make_view(struct making *m) {
    const struct head_view *b = m->before;
    uint32_t n = m->rows - m->first;
    uint32_t *order = k_alloc_array(n, sizeof *order);
    uint32_t *ends = k_alloc_array(BUCKETS, sizeof *ends);
    m->view = k_zalloc(sizeof *m->view);
    m->view->rows = m->rows;
    m->view->version = m->redirects->version;
    m->tables = tables_new(m->head);
    deal_buckets(m->head, m->first, n, order, ends);
    for (int32_t bucket = FIRST_BUCKET; bucket < BUCKETS; bucket++) {
        uint32_t start = bucket ? ends[bucket - 1] : 0, from = m->view->count;
        bool old = b && m->at < b->count && b->sources[m->at]->bucket == bucket;
        if (!old && ends[bucket] == start) continue;
        take_runs(m, bucket);
        add_rows(m, bucket, from, order + start, ends[bucket] - start);
    }
    head_tables_unref(m->tables);
    k_free(order);
    k_free(ends);
    return m->view;
}

static struct head_view *share_view(const struct head_view *v) {
    struct head_view *out = k_zalloc(sizeof *out);
    out->rows = v->rows;
    out->version = v->version;
    for (uint32_t i = 0; i < v->count; i++)
        add_run(out, run_ref((struct head_source *)v->sources[i]));
    return out;
}

struct head_view *head_view_new(struct head *h, uint32_t first, uint32_t rows,
                                const struct redirect_view *redirects, bool whole) {
    K_ASSERT_OP(first, <=, rows);
    K_ASSERT_OP(rows, <=, head_rows(h));
    struct making m = {
        .head = h, .redirects = redirects, .first = first, .rows = rows, .whole = whole};
    if (first > 0) return make_view(&m);
    pthread_mutex_lock(&h->views);
    const struct head_view *before = h->newest;
    if (before && (before->rows > rows || before->version > redirects->version)) {
        pthread_mutex_unlock(&h->views);
        return make_view(&m);
    }
    m.before = before;
    m.first = before ? before->rows : 0;
    struct head_view *view = make_view(&m);
    head_view_free(h->newest);
    h->newest = share_view(view);
    pthread_mutex_unlock(&h->views);
    return view;
}

void head_view_free(struct head_view *v) {
    if (!v) return;
    for (uint32_t i = 0; i < v->count; i++) run_unref((struct head_source *)v->sources[i]);
    k_free(v->sources);
    k_free(v);
}

uint32_t head_view_sources(const struct head_view *v, struct source ***out) {
    *out = v->sources;
    return v->count;
}

bool head_view_whole(const struct head_view *v) {
    for (uint32_t i = 1; i < v->count; i++)
        if (v->sources[i]->bucket == v->sources[i - 1]->bucket) return false;
    return true;
}
