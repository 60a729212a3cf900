/* The rows of several sources of one bucket, in the order in which a part has them.
 *
 * They are keyed (root, time, number, source, row) and sorted by a natural merge sort: sources are
 * sorted already but for customers that moved, so this is a merge. A bucket with more rows than the
 * caller allows is merged in ranges of customers, whose spines are each read anew (about 1 ns a
 * row).
 *
 * Layers: part/merge.h. Threads: one. Memory: 44 bytes a row of the range; a range has at most
 * limits.merge_rows rows, or those of a 65,536th part of the customers.
 */
#include "store/part/merge.h"

#include <stdlib.h>

/* ---- ordering ---- */

static int compare(const struct row *a, const struct row *b) {
    if (a->root != b->root) return a->root < b->root ? -1 : 1;
    if (a->time != b->time) return a->time < b->time ? -1 : 1;
    if (a->number != b->number) return a->number < b->number ? -1 : 1;
    if (a->source != b->source) return a->source < b->source ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* Merges neighbouring ascending runs until one is left. */
static void sort_rows(const struct row *rows, uint32_t *order, uint32_t n) {
    uint32_t *ends = k_alloc_array((size_t)n + 1, sizeof *ends), runs = 0;
    for (uint32_t i = 0; i < n; i++) {
        order[i] = i;
        if (i + 1 == n || compare(&rows[i], &rows[i + 1]) > 0) ends[runs++] = i + 1;
    }
    uint32_t *other = runs > 1 ? k_alloc_array(n, sizeof *other) : NULL, *from = order, *to = other;
    while (runs > 1) {
        uint32_t merged = 0;
        for (uint32_t r = 0; r < runs; r += 2) {
            uint32_t a = r ? ends[r - 1] : 0, a_end = ends[r];
            uint32_t b = a_end, b_end = r + 1 < runs ? ends[r + 1] : a_end;
            for (uint32_t at = a; at < b_end; at++)
                to[at] = b == b_end || (a < a_end && compare(&rows[from[a]], &rows[from[b]]) <= 0)
                             ? from[a++]
                             : from[b++];
            ends[merged++] = b_end;
        }
        runs = merged;
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order) memcpy(order, from, n * sizeof *order);
    k_free(other);
    k_free(ends);
}

static int by_arrival(const void *a, const void *b) {
    const struct source *x = *(struct source *const *)a, *y = *(struct source *const *)b;
    return (x->first_arrival > y->first_arrival) - (x->first_arrival < y->first_arrival);
}

/* Rows of the sources by root, in BINS ranges of roots of equal width. */
enum { BINS = 1 << 16 };

static int count_rows(const struct part_merge *m, uint32_t width, uint32_t *bins,
                      struct keel_error *err) {
    struct row_block *block = k_alloc(sizeof *block);
    int code = 0;
    for (uint32_t s = 0; s < m->source_count; s++)
        for (uint32_t b = 0; b < m->sources[s]->blocks && code == 0; b++) {
            code =
                m->sources[s]->ops->rows(m->sources[s], b, ROWS_NUMBER | ROWS_CUSTOMER, block, err);
            for (uint32_t i = 0; code == 0 && i < block->n; i++)
                bins[redirect_root(&m->redirects, block->number[i]) / width]++;
        }
    k_free(block);
    return code;
}

/* As many bins to a range as fit. */
static int choose_ranges(struct part_merge *m, uint32_t most_rows, struct keel_error *err) {
    m->ranges = k_alloc_array(BINS, sizeof *m->ranges);
    if (m->source_rows <= most_rows) {
        m->ranges[m->range_count++] = (struct range){UINT64_MAX, m->source_rows};
        return 0;
    }
    uint32_t *bins = k_zalloc(BINS * sizeof *bins), width = m->redirects.numbers / BINS + 1;
    int code = count_rows(m, width, bins, err);
    struct range r = {0};
    for (uint32_t i = 0; code == 0 && i < BINS; i++) {
        if (r.rows && r.rows + bins[i] > most_rows) {
            m->ranges[m->range_count++] = r;
            r.rows = 0;
        }
        r.rows += bins[i];
        r.end = (uint64_t)(i + 1) * width;
    }
    if (r.rows) m->ranges[m->range_count++] = r;
    k_free(bins);
    return code;
}

/* The rows of the next range, within the span. */
static int load_rows(struct part_merge *m, uint64_t from_root, uint64_t to_root,
                     struct keel_error *err) {
    uint32_t streams = schema_streams(m->env->schema);
    uint32_t *ordinals = k_alloc_array(streams, sizeof *ordinals);
    struct row_block *block = k_alloc(sizeof *block);
    int code = 0;
    uint32_t at = 0;
    for (uint32_t s = 0; s < m->source_count && code == 0; s++) {
        const struct source *source = m->sources[s];
        memset(ordinals, 0, streams * sizeof *ordinals);
        for (uint32_t b = 0; b < source->blocks && code == 0; b++) {
            code = source->ops->rows(source, b, ROWS_ALL, block, err);
            for (uint32_t i = 0; code == 0 && i < block->n; i++) {
                uint32_t ordinal = ordinals[block->event[i]]++;
                uint32_t root = redirect_root(&m->redirects, block->number[i]);
                if (block->time[i] < m->span.from_ms || block->time[i] >= m->span.to_ms ||
                    root < from_root || root >= to_root)
                    continue;
                m->rows[at++] = (struct row){.root = root,
                                             .number = block->number[i],
                                             .time = block->time[i],
                                             .source = s,
                                             .slot = b * CHUNK_ROWS + i,
                                             .event = block->event[i],
                                             .ordinal = ordinal};
            }
        }
    }
    k_free(block);
    k_free(ordinals);
    m->total = at;
    return code;
}

int part_merge_load(struct part_merge *m, struct keel_error *err) {
    k_free(m->rows);
    k_free(m->order);
    m->rows = NULL;
    m->order = NULL;
    m->total = m->next = 0;
    if (m->range == m->range_count) return 0;
    const struct range *r = &m->ranges[m->range];
    m->rows = k_try_alloc_array(r->rows, sizeof *m->rows);
    m->order = k_try_alloc_array(r->rows, sizeof *m->order);
    if (!m->rows || !m->order) FAIL(err, NO_MEMORY, "no memory to merge %u rows", r->rows);
    TRY(load_rows(m, m->range ? r[-1].end : 0, r->end, err));
    m->range++;
    sort_rows(m->rows, m->order, m->total);
    m->in_order = m->source_count == 1 && m->total == m->source_rows;
    for (uint32_t i = 0; i < m->total && m->in_order; i++) m->in_order = m->order[i] == i;
    for (uint32_t i = 0; i < m->source_count; i++)
        m->fetched_what[i] = (struct fetched_chunk){UINT32_MAX, UINT32_MAX};
    return 1;
}

int part_merge_open(struct source *const *sources, uint32_t count, struct part_span span,
                    const struct redirect_view *redirects, const struct part_env *env,
                    struct part_limits limits, struct part_merge **out, struct keel_error *err) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) total += sources[i]->rows;
    if (total > UINT32_MAX / 2)
        FAIL(err, LIMIT, "a bucket of %llu rows", (unsigned long long)total);
    struct part_merge *m = k_zalloc(sizeof *m);
    m->owned_sources = k_alloc_array(count, sizeof *m->owned_sources);
    memcpy(m->owned_sources, sources, count * sizeof *sources);
    qsort(m->owned_sources, count, sizeof *sources, by_arrival);
    m->sources = m->owned_sources;
    m->source_count = count;
    m->env = env;
    m->max_rows = limits.part_rows;
    m->identity_version = redirects->version;
    m->source_rows = (uint32_t)total;
    m->span = span;
    redirect_view_copy(redirects, &m->redirects);
    m->fetched = k_alloc_array(count, sizeof *m->fetched);
    m->fetched_what = k_alloc_array(count, sizeof *m->fetched_what);
    for (uint32_t i = 0; i < count; i++) vec_buffer_init(&m->fetched[i]);
    int code = choose_ranges(m, limits.merge_rows, err);
    if (code < 0)
        part_merge_close(m);
    else
        *out = m;
    return code;
}

void part_merge_close(struct part_merge *m) {
    if (!m) return;
    for (uint32_t i = 0; i < m->source_count; i++) vec_buffer_release(&m->fetched[i]);
    k_free(m->fetched);
    k_free(m->fetched_what);
    k_free(m->owned_sources);
    k_free(m->ranges);
    redirect_view_release(&m->redirects);
    k_free(m->rows);
    k_free(m->order);
    k_free(m);
}
