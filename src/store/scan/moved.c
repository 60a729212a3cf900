/* Rows that lie under another customer than today's root.
 *
 * A part was written at some version of the redirects; a number that moved since has its rows, if
 * it has any in that part, under the root it had then: the `from` of its first later move.
 * Candidates are sorted by that root, so that the part's blocks are decoded once, in order, however
 * many moved. A bucket is searched when the first scan comes to it. The rows found are kept, and of
 * the columns that are asked for their values, so that a scan neither searches nor decodes for
 * them, until compaction has put them in place: 52 bytes a row, 16 a value.
 *
 * A bucket is handed on to the next version while its parts stay and nothing moves that they hold:
 * a merge costs a look at the customers of one block in each part (1 us), not a search of all.
 *
 * Threads: a bucket has a lock, for the finding and for what is kept of columns. Limits:
 * COLUMN_BYTES_MOST for these; beyond, a scan reads its own.
 */
#include <stdlib.h>

#include "store/scan/scan_int.h"
#include "store/store_int.h"

enum { COLUMN_BYTES_MOST = 64 << 20, INHERIT_MOVES_MOST = 256 };

struct candidate {
    uint32_t placed, number;
};

static int by_placed(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->placed != y->placed) return x->placed < y->placed ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
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
    struct gathered_row *rows;
    uint32_t count, capacity;
};

static void add_row(struct finding *f, uint32_t block, uint32_t i, uint32_t ordinal) {
    if (f->count == f->capacity) {
        f->capacity = f->capacity ? f->capacity * 2 : 256;
        f->rows = k_realloc(f->rows, (size_t)f->capacity * sizeof *f->rows);
    }
    f->rows[f->count++] =
        (struct gathered_row){.customer = redirect_root(f->redirects, f->block.number[i]),
                              .number = f->block.number[i],
                              .time = f->block.time[i],
                              .event = f->block.event[i],
                              .ordinal = ordinal,
                              .row = block * CHUNK_ROWS + i,
                              .source = f->index};
}

/* Sets the bits of a candidate's rows in the block. */
static void mark_rows(const struct row_block *block, const struct candidate *c, uint64_t *bits) {
    uint32_t row = first_customer(block->customer, block->n, c->placed);
    for (; row < block->n && block->customer[row] == c->placed; row++)
        if (block->number[row] == c->number) bit_set(bits, row);
}

/* The candidates' rows in one block; times and events are decoded only if there are any. */
static int find_in_block(struct finding *f, uint32_t block, const struct candidate *c, uint32_t n,
                         struct keel_error *err) {
    const struct source *s = f->source;
    uint64_t bits[BITS_WORDS] = {0};
    uint32_t ordinal[CHUNK_ROWS];
    TRY(s->ops->rows(s, block, ROWS_CUSTOMER | ROWS_NUMBER, &f->block, err));
    for (uint32_t k = 0; k < n; k++) mark_rows(&f->block, &c[k], bits);
    if (!bits_any(bits)) return 0;
    TRY(s->ops->rows(s, block, ROWS_TIME | ROWS_EVENT, &f->block, err));
    scan_ordinals(s, &f->block, block, bits, ordinal);
    for (uint32_t w = 0; w < BITS_WORDS; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(m);
            add_row(f, block, i, ordinal[i]);
        }
    return 0;
}

/* Both ascend; a candidate's rows may go on in the next block. */
static int find_rows(struct finding *f, const struct candidate *c, uint32_t n,
                     struct keel_error *err) {
    const struct source *s = f->source;
    for (uint32_t k = 0, b = 0; k < n && b < s->blocks;) {
        uint32_t end;
        if (s->block_last[b] < c[k].placed) {
            b = source_find_block(s, c[k].placed);
            continue;
        }
        while (k < n && c[k].placed < s->block_first[b]) k++;
        for (end = k; end < n && c[end].placed <= s->block_last[b];) end++;
        if (end > k) TRY(find_in_block(f, b, c + k, end - k, err));
        while (k < end && c[k].placed < s->block_last[b]) k++;
        b++;
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
    qsort(part->holes, count, sizeof *part->holes, by_hole);
}

static int find_bucket(const struct snapshot *snap, struct bucket_moves *b,
                       struct keel_error *err) {
    const struct part_set *set = snap->version->moves->set;
    struct finding *f = k_alloc(sizeof *f);
    uint64_t *seen = k_zalloc((size_t)(snap->redirects.numbers / 64 + 1) * sizeof *seen);
    int code = 0;
    *f = (struct finding){.redirects = &snap->redirects};
    b->parts = k_zalloc(b->part_count * sizeof *b->parts);
    for (uint32_t i = 0; i < b->part_count && code == 0; i++) {
        struct candidate *c;
        uint32_t before = f->count;
        f->source = part_source(set->parts[b->first + i]->part);
        f->index = i;
        if (f->source->identity_version >= snap->redirects.version) continue;
        uint32_t n = list_candidates(&snap->redirects, f->source, seen, &c);
        code = find_rows(f, c, n, err);
        k_free(c);
        if (code == 0) note_part(&b->parts[i], f->rows + before, f->count - before);
    }
    if (f->count) qsort(f->rows, f->count, sizeof *f->rows, gathered_order);
    b->rows = f->rows;
    b->count = f->count;
    k_free(seen);
    k_free(f);
    return code;
}

static void column_free(struct moved_column *c) {
    k_free(c->values);
    arena_release(&c->texts);
    k_free(c);
}

/* All that was found. */
static void bucket_clear(struct bucket_moves *b) {
    for (uint32_t i = 0; b->parts && i < b->part_count; i++) {
        k_free(b->parts[i].rows);
        k_free(b->parts[i].holes);
    }
    while (b->columns) {
        struct moved_column *c = b->columns;
        b->columns = c->next;
        column_free(c);
    }
    k_free(b->rows);
    k_free(b->parts);
    b->rows = NULL;
    b->parts = NULL;
    b->count = 0;
}

int moves_find(const struct snapshot *snap, struct bucket_moves *b, struct keel_error *err) {
    int code = 0;
    pthread_mutex_lock(&b->lock);
    if (!b->found) {
        code = find_bucket(snap, b, err);
        if (code < 0) bucket_clear(b);
        b->found = code == 0;
    }
    pthread_mutex_unlock(&b->lock);
    return code;
}

/* ---- all buckets ---- */

static struct bucket_moves *bucket_new(const struct part_set *set, uint32_t first) {
    struct bucket_moves *b = k_zalloc(sizeof *b);
    const int32_t bucket = part_source(set->parts[first]->part)->bucket;
    uint32_t end = first + 1;
    while (end < set->count && part_source(set->parts[end]->part)->bucket == bucket) end++;
    b->refs = 1;
    b->first = first;
    b->part_count = end - first;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

static void bucket_unref(struct bucket_moves *b) {
    if (atomic_fetch_sub(&b->refs, 1) != 1) return;
    bucket_clear(b);
    pthread_mutex_destroy(&b->lock);
    k_free(b);
}

uint32_t moves_first(const struct bucket_moves *b, uint32_t customer) {
    uint32_t lo = 0, hi = b->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (b->rows[mid].customer < customer)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* May a move have moved rows of the bucket? They are found under the root that the number had until
 * then, in a part that was written before, or among the rows found. */
static bool concerns_bucket(const struct part_set *set, const struct bucket_moves *b,
                            const struct redirect_move *m) {
    uint32_t row = moves_first(b, m->from);
    bool any = row < b->count && b->rows[row].customer == m->from;
    for (uint32_t i = 0; i < b->part_count && !any; i++) {
        const struct source *s = part_source(set->parts[b->first + i]->part);
        any = s->identity_version < m->version && s->ops->has_customers(s, m->from, 1);
    }
    return any;
}

/* Does what was found at an older version hold at this one? */
static bool still_holds(const struct part_set *set, struct bucket_moves *b,
                        const struct redirect_move *moves, uint32_t count) {
    pthread_mutex_lock(&b->lock);
    bool good = b->found;
    pthread_mutex_unlock(&b->lock);
    for (uint32_t k = 0; k < count && good; k++) good = !concerns_bucket(set, b, &moves[k]);
    return good;
}

/* `held->before` has the same parts, so its buckets are the same ones. */
static struct moves *moves_new(const struct held_moves *held,
                               const struct redirect_view *redirects) {
    struct held_moves *before = held->before;
    const struct redirect_move *since = before ? redirects->moves + before->version : NULL;
    uint32_t count = before ? redirects->version - before->version : 0;
    struct moves *m = k_zalloc(sizeof *m);
    if (before) {
        pthread_mutex_lock(&before->lock);
        if (!before->buckets || count > INHERIT_MOVES_MOST) since = NULL;
        pthread_mutex_unlock(&before->lock);
    }
    if (!since) before = NULL;
    if (before && count) K_ASSERT_OP(since->version, ==, before->version + 1);
    m->buckets = k_alloc_array(held->set->count + 1, sizeof(struct bucket_moves *));
    for (uint32_t first = 0; first < held->set->count;) {
        struct bucket_moves *b = before ? before->buckets->buckets[m->bucket_count] : NULL;
        if (b && still_holds(held->set, b, since, count))
            atomic_fetch_add(&b->refs, 1);
        else
            b = bucket_new(held->set, first);
        m->buckets[m->bucket_count++] = b;
        first += b->part_count;
    }
    return m;
}

void moves_free(struct moves *m) {
    if (!m) return;
    for (uint32_t i = 0; i < m->bucket_count; i++) bucket_unref(m->buckets[i]);
    k_free(m->buckets);
    k_free(m);
}

struct moves *snapshot_moves(const struct snapshot *snap) {
    struct held_moves *held = snap->version->moves, *before = NULL;
    pthread_mutex_lock(&held->lock);
    if (!held->buckets) {
        held->buckets = moves_new(held, &snap->redirects);
        before = held->before;
        held->before = NULL;
    }
    pthread_mutex_unlock(&held->lock);
    held_moves_unref(before);
    return held->buckets;
}

/* ---- their values ---- */

struct place {
    uint32_t source, slot, row; /* row: its index in what was asked */
};

static int by_place(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Values that lie in one chunk, places[0] to places[n - 1]. */
static int read_chunk(const struct source *s, const struct place *places, uint32_t n,
                      uint32_t column, struct vec_buffer *values, struct kept_value *out,
                      struct arena *texts, struct keel_error *err) {
    uint16_t slots[CHUNK_ROWS];
    uint32_t last = 0;
    do slots[last] = (uint16_t)(places[last].slot % CHUNK_ROWS);
    while (++last < n);
    TRY(s->ops->pick(s, column, places[0].slot / CHUNK_ROWS, slots, n, values, err));
    for (uint32_t k = 0; k < n; k++) out[places[k].row] = vec_keep(&values->vec, slots[k], texts);
    return 0;
}

int moves_read(struct source *const *sources, const struct gathered_row *rows, uint32_t n,
               uint32_t column, uint32_t stream, struct kept_value *out, struct arena *texts,
               struct keel_error *err) {
    struct place *places = k_alloc_array(n + 1, sizeof *places);
    struct vec_buffer *values = k_alloc(sizeof *values);
    uint32_t count = 0;
    int code = 0;
    vec_buffer_init(values);
    memset(out, 0, n * sizeof *out);
    for (uint32_t i = 0; i < n; i++)
        if (stream == STREAM_ROWS || rows[i].event == stream)
            places[count++] = (struct place){
                rows[i].source, stream == STREAM_ROWS ? rows[i].row : rows[i].ordinal, i};
    if (count) qsort(places, count, sizeof *places, by_place);
    for (uint32_t k = 0, end; k < count && code == 0; k = end) {
        const struct source *s = sources[places[k].source];
        for (end = k + 1; end < count && places[end].source == places[k].source &&
                          places[end].slot / CHUNK_ROWS == places[k].slot / CHUNK_ROWS;)
            end++;
        if (s->ops->has_column(s, column))
            code = read_chunk(s, places + k, end - k, column, values, out, texts, err);
    }
    vec_buffer_release(values);
    k_free(values);
    k_free(places);
    return code;
}

static int column_new(const struct snapshot *snap, const struct bucket_moves *b, uint32_t column,
                      uint32_t stream, struct moved_column **out, struct keel_error *err) {
    const struct part_set *set = snap->version->moves->set;
    struct source **sources = k_alloc_array(b->part_count, sizeof *sources);
    struct moved_column *c = k_zalloc(sizeof *c);
    c->column = column;
    c->values = k_alloc_array(b->count + 1, sizeof *c->values);
    arena_init(&c->texts, SIZE_MAX / 2);
    for (uint32_t i = 0; i < b->part_count; i++)
        sources[i] = part_source(set->parts[b->first + i]->part);
    int code = moves_read(sources, b->rows, b->count, column, stream, c->values, &c->texts, err);
    k_free(sources);
    if (code < 0)
        column_free(c);
    else
        *out = c;
    return code;
}

int moves_column(const struct snapshot *snap, struct bucket_moves *b, uint32_t column,
                 uint32_t stream, const struct kept_value **out, struct keel_error *err) {
    const struct moves *m = snap->version->moves->buckets;
    struct moved_column *c;
    uint64_t bytes = 0;
    int code = 0;
    *out = NULL;
    pthread_mutex_lock(&b->lock);
    for (c = b->columns; c && c->column != column;) c = c->next;
    for (uint32_t i = 0; !c && i < m->bucket_count; i++)
        bytes += atomic_load(&m->buckets[i]->column_bytes);
    if (!c && bytes < COLUMN_BYTES_MOST) {
        code = column_new(snap, b, column, stream, &c, err);
        if (code == 0) {
            c->next = b->columns;
            b->columns = c;
            atomic_fetch_add(&b->column_bytes, b->count * sizeof *c->values + c->texts.used_bytes);
        }
    }
    if (code == 0 && c) *out = c->values;
    pthread_mutex_unlock(&b->lock);
    return code;
}
