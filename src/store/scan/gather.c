/* The slow path: customers of the range whose rows in the current bucket lie in several sources, or
 * partly under another customer. The walk over the blocks puts their rows aside; the misplaced ones
 * are added; all are sorted by (customer, time, number, source, row) and handed out in batches of
 * their own. An unordered scan has no slow customers, only misplaced rows.
 *
 * Sorting: each source's rows come in order, so they are merged, run by run. A number decides only
 * between equal times of one customer; parts are asked for it there and nowhere else, as decoding
 * the numbers of every block with a slow customer cost more than all the rest.
 *
 * Values are taken while the chunks are at hand, so that none is decoded for a second time.
 *
 * Memory: 80 bytes a row put aside, and 16 a column of it.
 */
#include <stdlib.h>

#include "store/scan/scan_int.h"
#include "store/scan/spine.h"

int gathered_order(const void *a, const void *b) {
    const struct gathered_row *x = a, *y = b;
    if (x->customer != y->customer) return x->customer < y->customer ? -1 : 1;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Marks the customers that a source of the group has in the range. */
static int mark_customers(struct scan *s, uint32_t slot, struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[slot];
    struct row_block *rows;
    if (!scan_has_range(s, slot)) return 0;
    if (s->count == 1) { /* that was asked */
        s->slow[0] |= 1;
        s->any_slow = true;
        return 0;
    }
    for (uint32_t b = source_find_block(source, s->first);
         b < source->blocks && (uint64_t)source->block_first[b] < (uint64_t)s->first + s->count;
         b++) {
        TRY(scan_read_rows(s, slot, b, ROWS_CUSTOMER, &rows, err));
        for (uint32_t w = 0; w < BITS_WORDS; w++)
            for (uint64_t m = rows->starts[w]; m; m &= m - 1) {
                uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(m);
                uint32_t c = rows->customer[i] - s->first;
                if (c >= s->count) continue;
                s->slow[c >> 6] |= (uint64_t)1 << (c & 63);
                s->any_slow = true;
            }
    }
    return 0;
}

int scan_mark_slow(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    s->row_count = s->row_at = 0;
    s->any_slow = false;
    scan_drop_values(s);
    if (!s->spec.ordered) return 0;
    memset(s->slow, 0, (s->count + 63) / 64 * sizeof *s->slow);
    for (uint32_t k = 0; k < g->count; k++)
        if (g->merge[k]) TRY(mark_customers(s, k, err));
    for (uint32_t i = g->moves ? moves_first(g->moves, s->first) : 0;
         g->moves && i < g->moves->count && g->moves->rows[i].customer - s->first < s->count; i++) {
        uint32_t c = g->moves->rows[i].customer - s->first;
        s->slow[c >> 6] |= (uint64_t)1 << (c & 63);
        s->any_slow = true;
    }
    return 0;
}

static struct gathered_row *new_row(struct scan *s) {
    if (s->row_count == s->row_capacity) {
        s->row_capacity = s->row_capacity ? s->row_capacity * 2 : 4096;
        s->rows = k_realloc(s->rows, (size_t)s->row_capacity * sizeof *s->rows);
        s->merged = k_realloc(s->merged, (size_t)s->row_capacity * sizeof *s->merged);
    }
    return &s->rows[s->row_count++];
}

/* The live rows of slow customers in the current batch; customers are looked at run by run. */
static bool find_slow(const struct scan *s, uint64_t *slow) {
    const struct row_block *b = s->rowset;
    uint64_t starts[BITS_WORDS] = {0};
    uint16_t at[CHUNK_ROWS];
    bool any = false;
    memset(slow, 0, BITS_WORDS * sizeof *slow);
    if (s->kind == BATCH_BLOCK)
        memcpy(starts, b->starts, sizeof starts);
    else
        spine_kernels()->changes(b->customer, b->n, starts);
    uint32_t n = bits_to_index(starts, at);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t c = b->customer[at[k]] - s->first, end = k + 1 < n ? at[k + 1] : b->n;
        if (c >= s->count || !(s->slow[c >> 6] >> (c & 63) & 1)) continue;
        for (uint32_t i = at[k]; i < end; i++) bit_set(slow, i);
    }
    for (uint32_t w = 0; w < BITS_WORDS; w++) {
        slow[w] &= s->live[w];
        any |= slow[w] != 0;
    }
    return any;
}

/* Event by event, as few differ. */
void scan_ordinals(const struct source *source, const struct row_block *b, uint32_t block,
                   const uint64_t *bits, uint32_t *ordinal) {
    uint64_t left[BITS_WORDS];
    uint16_t rows[CHUNK_ROWS], before[CHUNK_ROWS];
    memcpy(left, bits, sizeof left);
    for (uint32_t w = 0; w < BITS_WORDS;) {
        if (!left[w]) {
            w++;
            continue;
        }
        uint32_t event = b->event[w * 64 + (uint32_t)__builtin_ctzll(left[w])];
        uint64_t of[BITS_WORDS] = {0}, mine[BITS_WORDS];
        bits_equal_u32(b->event, b->n, event, of);
        for (uint32_t k = 0; k < BITS_WORDS; k++) {
            mine[k] = of[k] & left[k];
            left[k] &= ~of[k];
        }
        uint32_t n = bits_to_index(mine, rows),
                 base = source->ops->stream_base(source, event, block);
        spine_kernels()->ranks(of, rows, n, before);
        for (uint32_t k = 0; k < n; k++) ordinal[rows[k]] = base + before[k];
    }
}

static void put_aside(struct scan *s, const struct source *source, uint32_t i, uint32_t ordinal) {
    const struct row_block *b = s->rowset;
    uint32_t value = s->row_count;
    *new_row(s) = (struct gathered_row){
        .customer = b->customer[i],
        .number = source_is_head(source) ? b->number[i] : NUMBER_UNREAD,
        .time = b->time[i],
        .event = s->spec.blind ? 0 : b->event[i],
        .ordinal = ordinal,
        .row = s->kind == BATCH_BLOCK ? (s->block - 1) * CHUNK_ROWS + i : s->sparse->place[i],
        .source = s->source,
        .value = value};
}

int scan_take_slow(struct scan *s, const struct source *source, struct keel_error *err) {
    uint64_t slow[BITS_WORDS];
    uint32_t ordinal[CHUNK_ROWS];
    const bool by_ordinal = s->any_items || s->spec.places;
    if (!find_slow(s, slow)) return 0;
    if (by_ordinal)
        scan_ordinals(source, s->rowset,
                      s->kind == BATCH_BLOCK ? s->block - 1 : s->sparse->first_block, slow,
                      ordinal);
    for (uint32_t w = 0; w < BITS_WORDS; w++)
        for (uint64_t m = slow[w]; m; m &= m - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(m);
            put_aside(s, source, i, by_ordinal ? ordinal[i] : 0);
        }
    TRY(scan_keep_values(s, slow, err));
    for (uint32_t w = 0; w < BITS_WORDS; w++) s->live[w] &= ~slow[w];
    return 0;
}

/* ---- sorting ---- */

static bool is_before(const struct gathered_row *a, const struct gathered_row *b) {
    return a->customer != b->customer ? a->customer < b->customer : a->time < b->time;
}

/* Merges neighbouring runs until one is left: by customer and time, earlier runs first. */
static void merge_runs(struct scan *s) {
    uint32_t n = s->row_count;
    for (;;) {
        uint32_t at = 0, runs = 0;
        while (at < n) {
            uint32_t middle = at + 1, end;
            while (middle < n && !is_before(&s->rows[middle], &s->rows[middle - 1])) middle++;
            for (end = middle < n ? middle + 1 : n;
                 end < n && !is_before(&s->rows[end], &s->rows[end - 1]);)
                end++;
            if (at == 0 && middle == n) return;
            uint32_t l = at, r = middle;
            for (uint32_t to = at; to < end; to++)
                s->merged[to] = r == end || (l < middle && !is_before(&s->rows[r], &s->rows[l]))
                                    ? s->rows[l++]
                                    : s->rows[r++];
            at = end;
            runs++;
        }
        struct gathered_row *swap = s->rows;
        s->rows = s->merged;
        s->merged = swap;
        if (runs == 1) return;
    }
}

/* Equal times of a customer: by number, which is read now. */
static int sort_ties(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    uint32_t source = UINT32_MAX, block = UINT32_MAX; /* whose numbers are in s->scratch */
    for (uint32_t from = 0, end; from < s->row_count; from = end) {
        end = from + 1;
        while (end < s->row_count && !is_before(&s->rows[end - 1], &s->rows[end])) end++;
        if (end == from + 1) continue;
        for (uint32_t i = from; i < end; i++) {
            struct gathered_row *row = &s->rows[i];
            if (row->number != NUMBER_UNREAD) continue;
            if (row->source != source || row->row / CHUNK_ROWS != block) {
                source = row->source;
                block = row->row / CHUNK_ROWS;
                TRY(g->sources[source]->ops->rows(g->sources[source], block, ROWS_NUMBER,
                                                  &s->scratch, err));
            }
            row->number = s->scratch.number[row->row % CHUNK_ROWS];
        }
        qsort(s->rows + from, end - from, sizeof *s->rows, gathered_order);
    }
    return 0;
}

int scan_finish_slow(struct scan *s, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    uint32_t from = s->row_count;
    for (uint32_t i = g->moves ? moves_first(g->moves, s->first) : 0;
         g->moves && i < g->moves->count && g->moves->rows[i].customer - s->first < s->count; i++) {
        const struct gathered_row *row = &g->moves->rows[i];
        if (row->event >= s->wanted_size || !s->wanted[row->event]) continue;
        if (row->time < s->spec.from_ms || row->time >= s->spec.to_ms) continue;
        struct gathered_row *taken = new_row(s);
        *taken = *row;
        taken->value = i;
    }
    if (s->row_count > from) TRY(scan_keep_moved(s, from, err));
    s->cost.gathered += s->row_count;
    if (s->row_count == 0 || !s->spec.ordered) return 0;
    merge_runs(s);
    return sort_ties(s, err);
}

int scan_gather_next(struct scan *s, struct batch *out) {
    if (s->row_at == s->row_count) return 0;
    uint32_t left = s->row_count - s->row_at;
    struct row_block *b = &s->own_rows;
    s->rowset = b;
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
