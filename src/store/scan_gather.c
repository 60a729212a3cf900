/* The slow path: customers of the range whose rows in the current bucket lie in several sources, or
 * under another number. Their rows are collected from all sources of the bucket, sorted by
 * (customer, time, number, source, row), and handed out in batches of their own.
 *
 * Memory: 40 bytes a row collected.
 */
#include <stdlib.h>

#include "store/scan_int.h"

static bool is_slow(const struct scan *s, uint32_t customer) {
    uint32_t c = customer - s->first;
    return c < s->count && s->slow[c >> 6] >> (c & 63) & 1;
}

static uint32_t lower_bound(const uint32_t *a, uint32_t n, uint32_t v) {
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (a[mid] < v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void mark(struct scan *s, uint32_t customer) {
    uint32_t c = customer - s->first;
    s->slow[c >> 6] |= (uint64_t)1 << (c & 63);
    s->any_slow = true;
}

/* Customers of the range that stand in two sources of the group: bitmaps, intersected. */
static int mark_shared(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    uint32_t words = (s->count + 63) / 64;
    uint64_t *seen = k_zalloc(words * sizeof *seen), *here = k_alloc_array(words, sizeof *here);
    int code = 0;
    for (uint32_t k = 0; k < g->count && code == 0; k++) {
        const struct source *source = g->sources[k];
        memset(here, 0, words * sizeof *here);
        for (uint32_t b = source_find_block(source, s->first);
             b < source->blocks && (uint64_t)source->block_first[b] < (uint64_t)s->first + s->count;
             b++) {
            code = source->ops->rows(source, b, ROWS_CUSTOMER, &s->scratch, err);
            if (code < 0) break;
            for (uint32_t w = 0; w < BITS_WORDS; w++)
                for (uint64_t m = s->scratch.starts[w]; m; m &= m - 1) {
                    uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(m);
                    uint32_t c = s->scratch.customer[i] - s->first;
                    if (c < s->count) here[c >> 6] |= (uint64_t)1 << (c & 63);
                }
        }
        for (uint32_t w = 0; w < words; w++) {
            s->slow[w] |= seen[w] & here[w];
            s->any_slow |= s->slow[w] != 0;
            seen[w] |= here[w];
        }
    }
    k_free(seen);
    k_free(here);
    return code;
}

static void add_row(struct scan *s, const struct gathered_row *row) {
    if (s->row_count == s->row_capacity) {
        s->row_capacity = s->row_capacity ? s->row_capacity * 2 : 4096;
        s->rows = k_realloc(s->rows, (size_t)s->row_capacity * sizeof *s->rows);
    }
    s->rows[s->row_count++] = *row;
}

/* Adds the rows of a decoded block that `take` wants: customer in [from, to], only `number` if it
 * is not NUMBER_NONE-like UINT32_MAX, and of a root on the slow path. */
static void take_rows(struct scan *s, uint32_t k, uint32_t block, uint32_t from, uint32_t to,
                      uint32_t number) {
    const struct source *source = s->groups[s->group].sources[k];
    const struct row_block *b = &s->scratch;
    uint32_t lo = lower_bound(b->customer, b->n, from);
    for (uint32_t i = lo; i < b->n && b->customer[i] <= to; i++) {
        uint32_t root = redirect_root(&s->snap->redirects, b->number[i]);
        bool moved = number != UINT32_MAX;
        if (moved ? b->number[i] != number : root != b->customer[i]) continue;
        if (!is_slow(s, root)) continue;
        if (b->event[i] >= s->wanted_size || !s->wanted[b->event[i]]) continue;
        if (b->time[i] < s->spec.from_ms || b->time[i] >= s->spec.to_ms) continue;
        struct gathered_row row = {.customer = root,
                                   .number = b->number[i],
                                   .time = b->time[i],
                                   .event = b->event[i],
                                   .row = block * CHUNK_ROWS + i,
                                   .source = k};
        uint64_t before[BITS_WORDS] = {0};
        if (s->spec.column_count) {
            bits_equal_u32(b->event, i, b->event[i], before);
            row.ordinal = source->ops->stream_base(source, b->event[i], block) + bits_count(before);
        }
        add_row(s, &row);
    }
}

static bool block_has_slow(const struct scan *s, uint32_t first, uint32_t last) {
    uint64_t end = (uint64_t)s->first + s->count - 1;
    if (first < s->first) first = s->first;
    if (last > end) last = (uint32_t)end;
    for (uint64_t c = first; c <= last; c++) {
        uint32_t at = (uint32_t)c - s->first;
        if ((at & 63) == 0 && !s->slow[at >> 6]) {
            c += 63;
            continue;
        }
        if (s->slow[at >> 6] >> (at & 63) & 1) return true;
    }
    return false;
}

static int collect_in_place(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    for (uint32_t k = 0; k < g->count; k++) {
        const struct source *source = g->sources[k];
        for (uint32_t b = source_find_block(source, s->first);
             b < source->blocks && (uint64_t)source->block_first[b] < (uint64_t)s->first + s->count;
             b++) {
            if (!block_has_slow(s, source->block_first[b], source->block_last[b])) continue;
            TRY(source->ops->rows(source, b, ROWS_ALL, &s->scratch, err));
            uint32_t from = source->block_first[b] > s->first ? source->block_first[b] : s->first;
            take_rows(s, k, b, from, source->block_last[b], UINT32_MAX);
        }
    }
    return 0;
}

static int collect_moved(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    uint32_t i = 0;
    while (i < g->moved_count && g->moved[i].root < s->first) i++;
    for (; i < g->moved_count && g->moved[i].root - s->first < s->count; i++) {
        const struct moved *m = &g->moved[i];
        const struct source *source = g->sources[m->source];
        for (uint32_t b = source_find_block(source, m->placed);
             b < source->blocks && source->block_first[b] <= m->placed; b++) {
            TRY(source->ops->rows(source, b, ROWS_ALL, &s->scratch, err));
            take_rows(s, m->source, b, m->placed, m->placed, m->number);
        }
    }
    return 0;
}

static int compare(const void *a, const void *b) {
    const struct gathered_row *x = a, *y = b;
    if (x->customer != y->customer) return x->customer < y->customer ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

int scan_gather(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    s->row_count = s->row_at = 0;
    s->any_slow = false;
    memset(s->slow, 0, (s->count + 63) / 64 * sizeof *s->slow);
    if (g->overlapping && s->spec.ordered) TRY(mark_shared(s, err));
    for (uint32_t i = lower_bound(g->disturbed, g->disturbed_count, s->first);
         i < g->disturbed_count && g->disturbed[i] - s->first < s->count; i++)
        mark(s, g->disturbed[i]);
    if (!s->any_slow) return 0;
    TRY(collect_in_place(s, err));
    TRY(collect_moved(s, err));
    if (s->row_count) qsort(s->rows, s->row_count, sizeof *s->rows, compare);
    s->cost.gathered += s->row_count;
    return 0;
}

int scan_gather_next(struct scan *s, struct batch *out) {
    if (s->row_at == s->row_count) return 0;
    uint32_t left = s->row_count - s->row_at;
    struct row_block *b = &s->rowset;
    b->n = left < CHUNK_ROWS ? left : CHUNK_ROWS;
    s->batch_rows = s->rows + s->row_at;
    for (uint32_t i = 0; i < b->n; i++) {
        b->customer[i] = s->batch_rows[i].customer;
        b->time[i] = s->batch_rows[i].time;
        b->event[i] = s->batch_rows[i].event;
    }
    s->row_at += b->n;
    bits_first(s->live, b->n);
    s->kind = BATCH_GATHERED;
    s->serial++;
    s->cost.blocks++;
    s->cost.rows += b->n;
    *out = (struct batch){
        .n = b->n, .customer = b->customer, .time = b->time, .event = b->event, .scan = s};
    memcpy(out->live, s->live, sizeof out->live);
    return 1;
}
