/* Rows that lie under another customer than today's root.
 *
 * A part was written at some version of the redirects; a number that moved since has its rows, if
 * it has any in that part, under the root it had then: the `from` of its first later move.
 * Candidates are sorted by that root, so that the part's blocks are decoded once, in order, however
 * many moved. The rows found are kept, so that a scan neither searches nor decodes for them: 32
 * bytes a row, until compaction has put them in place.
 */
#include <stdlib.h>

#include "store/scan_int.h"
#include "store/store_int.h"

struct candidate {
    uint32_t placed, number;
};

static int by_placed(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->placed != y->placed) return x->placed < y->placed ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int by_row(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int by_hole(const void *a, const void *b) {
    const struct hole *x = a, *y = b;
    if (x->event != y->event) return x->event < y->event ? -1 : 1;
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

/* Numbers that moved since the part was written, each with its place there, unless it is back or
 * the part has no customer so high. `seen` is all clear, a bit a number, and left so. */
static uint32_t list_candidates(const struct redirect_view *redirects, const struct source *s,
                                uint64_t *seen, struct candidate **out) {
    uint32_t lo = 0, hi = redirects->move_count, n = 0;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (redirects->moves[mid].version <= s->identity_version)
            lo = mid + 1;
        else
            hi = mid;
    }
    *out = k_alloc_array(redirects->move_count - lo, sizeof **out);
    for (uint32_t i = lo; i < redirects->move_count; i++) {
        const struct redirect_move *m = &redirects->moves[i];
        if (m->from > s->block_last[s->blocks - 1] || seen[m->number >> 6] >> (m->number & 63) & 1)
            continue;
        seen[m->number >> 6] |= (uint64_t)1 << (m->number & 63);
        if (redirect_root(redirects, m->number) != m->from)
            (*out)[n++] = (struct candidate){.placed = m->from, .number = m->number};
    }
    for (uint32_t i = lo; i < redirects->move_count; i++) seen[redirects->moves[i].number >> 6] = 0;
    if (n) qsort(*out, n, sizeof **out, by_placed);
    return n;
}

/* ---- the rows of the candidates ---- */

struct finding {
    const struct redirect_view *redirects;
    const struct source *source;
    uint32_t index; /* of the source in its bucket */
    struct row_block block;
    uint32_t decoded;
    struct gathered_row *rows;
    uint32_t count, capacity;
};

static void add_row(struct finding *f, uint32_t block, uint32_t i) {
    uint64_t before[BITS_WORDS] = {0};
    bits_equal_u32(f->block.event, i, f->block.event[i], before);
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? f->capacity * 2 : 256;
        f->rows = k_realloc(f->rows, (size_t)f->capacity * sizeof *f->rows);
    }
    uint32_t base = f->source->ops->stream_base(f->source, f->block.event[i], block);
    f->rows[f->count++] =
        (struct gathered_row){.customer = redirect_root(f->redirects, f->block.number[i]),
                              .number = f->block.number[i],
                              .time = f->block.time[i],
                              .event = f->block.event[i],
                              .ordinal = base + bits_count(before),
                              .row = block * CHUNK_ROWS + i,
                              .source = f->index};
}

static int find_rows(struct finding *f, const struct candidate *c, struct keel_error *err) {
    const struct source *s = f->source;
    for (uint32_t b = source_find_block(s, c->placed);
         b < s->blocks && s->block_first[b] <= c->placed; b++) {
        if (b != f->decoded) TRY(s->ops->rows(s, b, ROWS_ALL, &f->block, err));
        f->decoded = b;
        uint32_t lo = 0, hi = f->block.n;
        while (lo < hi) {
            uint32_t mid = lo + (hi - lo) / 2;
            if (f->block.customer[mid] < c->placed)
                lo = mid + 1;
            else
                hi = mid;
        }
        for (; lo < f->block.n && f->block.customer[lo] == c->placed; lo++)
            if (f->block.number[lo] == c->number) add_row(f, b, lo);
    }
    return 0;
}

static void note_part(struct part_moves *part, const struct gathered_row *rows, uint32_t count) {
    part->count = count;
    if (!count) return;
    part->rows = k_alloc_array(count, sizeof *part->rows);
    part->holes = k_alloc_array(count, sizeof *part->holes);
    for (uint32_t i = 0; i < count; i++) {
        part->rows[i] = rows[i].row;
        part->holes[i] = (struct hole){.event = rows[i].event, .ordinal = rows[i].ordinal};
    }
    qsort(part->rows, count, sizeof *part->rows, by_row);
    qsort(part->holes, count, sizeof *part->holes, by_hole);
}

/* All parts of one bucket, [first, end) of the set. */
static int find_bucket(const struct snapshot *snap, const struct part_set *set, uint32_t first,
                       uint32_t end, uint64_t *seen, struct moves *m, struct keel_error *err) {
    struct finding *f = k_zalloc(sizeof *f);
    int code = 0;
    f->redirects = &snap->redirects;
    for (uint32_t i = first; i < end && code == 0; i++) {
        struct candidate *c;
        uint32_t before = f->count;
        f->source = part_source(set->parts[i]->part);
        f->index = i - first;
        f->decoded = UINT32_MAX;
        if (f->source->identity_version >= snap->redirects.version) continue;
        uint32_t n = list_candidates(&snap->redirects, f->source, seen, &c);
        for (uint32_t k = 0; k < n && code == 0; k++) code = find_rows(f, &c[k], err);
        k_free(c);
        if (code == 0) note_part(&m->parts[i], f->rows + before, f->count - before);
    }
    if (f->count && code == 0) {
        qsort(f->rows, f->count, sizeof *f->rows, gathered_order);
        m->buckets[m->bucket_count++] =
            (struct bucket_moves){.bucket = part_source(set->parts[first]->part)->bucket,
                                  .count = f->count,
                                  .rows = f->rows};
    } else {
        k_free(f->rows);
    }
    k_free(f);
    return code;
}

static int find_moves(const struct snapshot *snap, const struct part_set *set, struct moves **out,
                      struct keel_error *err) {
    uint64_t *seen = k_zalloc((size_t)(snap->redirects.numbers / 64 + 1) * sizeof *seen);
    struct moves *m = k_zalloc(sizeof *m);
    int code = 0;
    m->part_count = set->count;
    m->parts = k_zalloc((set->count + 1) * sizeof *m->parts);
    m->buckets = k_zalloc((set->count + 1) * sizeof *m->buckets);
    for (uint32_t i = 0; i < set->count && code == 0;) {
        uint32_t end = i + 1;
        while (end < set->count && part_source(set->parts[end]->part)->bucket ==
                                       part_source(set->parts[i]->part)->bucket)
            end++;
        code = find_bucket(snap, set, i, end, seen, m, err);
        i = end;
    }
    k_free(seen);
    if (code < 0)
        moves_free(m);
    else
        *out = m;
    return code;
}

void moves_free(struct moves *m) {
    if (!m) return;
    for (uint32_t i = 0; i < m->part_count; i++) {
        k_free(m->parts[i].rows);
        k_free(m->parts[i].holes);
    }
    for (uint32_t i = 0; i < m->bucket_count; i++) k_free(m->buckets[i].rows);
    k_free(m->parts);
    k_free(m->buckets);
    k_free(m);
}

int snapshot_moves(const struct snapshot *snap, const struct moves **out, struct keel_error *err) {
    struct held_moves *held = snap->version->moves;
    pthread_mutex_lock(&held->lock);
    int code = held->found ? 0 : find_moves(snap, held->set, &held->found, err);
    *out = held->found;
    pthread_mutex_unlock(&held->lock);
    return code;
}
