/* Values for the batches of a scan, row by row.
 *
 * A context column's chunks are the blocks themselves. An event's values lie in the order of its
 * rows, so those of a block are one stretch of its stream, spread to the rows. Of rows on the slow
 * path the values are kept when they are put aside, and line items found by source and ordinal. A
 * column that is a dictionary in one source and text in another is handed out as text.
 */
#include <stdlib.h>

#include "store/scan/scan_int.h"
#include "store/scan/spine.h"

static void cache_release(struct chunk_cache *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (!c->slots[i].buffer) continue;
        vec_buffer_release(c->slots[i].buffer);
        k_free(c->slots[i].buffer);
    }
    k_free(c->slots);
}

void scan_columns_release(struct scan *s) {
    for (uint32_t i = 0; s->columns && i < s->spec.column_count; i++) {
        struct scan_column *c = &s->columns[i];
        cache_release(&c->cache);
        vec_buffer_release(&c->out);
        for (uint32_t k = 0; k < c->item_capacity; k++) k_free(c->item_chunks[k].num);
        k_free(c->item_chunks);
        k_free(c->kept);
        arena_release(&c->texts);
        arena_release(&c->kept_texts);
    }
    k_free(s->columns);
}

void scan_columns_open(struct scan *s) {
    for (uint32_t i = 0; i < s->spec.column_count; i++) {
        struct chunk_cache *c = &s->columns[i].cache;
        c->count = CHUNK_CACHE_MOST / s->spec.column_count;
        if (c->count > s->snap->source_count) c->count = s->snap->source_count;
        if (c->count < s->most_sources) c->count = s->most_sources;
        c->slots = k_zalloc((c->count + 1) * sizeof *c->slots);
    }
}

static int chunk_of(struct scan *s, struct scan_column *c, uint32_t slot, uint32_t chunk,
                    const struct vec **out, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    uint32_t number = g->first + slot;
    struct cached_chunk *cached = &c->cache.slots[number % c->cache.count];
    if (!cached->buffer) {
        cached->buffer = k_alloc(sizeof *cached->buffer);
        vec_buffer_init(cached->buffer);
        cached->chunk = UINT32_MAX;
    }
    if (cached->chunk != chunk || cached->source != number) {
        const struct source *source = g->sources[slot];
        cached->chunk = UINT32_MAX;
        uint64_t before = part_thread_bytes();
        TRY(source->ops->column(source, c->info.id, chunk, cached->buffer, err));
        s->cost.bytes += part_thread_bytes() - before;
        cached->source = number;
        cached->chunk = chunk;
    }
    *out = &cached->buffer->vec;
    return 0;
}

/* ---- one value from one vector to another ---- */

static enum vec_kind kind_of(const struct scan_column *c) {
    return c->info.type == COLUMN_NUMBER ? VEC_NUMBER
           : c->info.type == COLUMN_BOOL ? VEC_BOOL
           : c->text                     ? VEC_TEXT
                                         : VEC_CODE;
}

static void begin_vec(struct vec *v, struct scan_column *c, struct vec_buffer *b, uint32_t n) {
    v->kind = kind_of(c);
    v->n = n;
    memset(v->present, 0, sizeof v->present);
    if (v->kind == VEC_NUMBER)
        v->num = b->num;
    else if (v->kind == VEC_TEXT)
        v->text = b->text;
    else
        v->code = b->code;
}

static struct str text_of(const struct scan_column *c, const struct vec *from, uint32_t at) {
    return from->kind == VEC_TEXT ? from->text[at] : lexicon_str(c->lexicon, from->code[at]);
}

/* `keep` copies a text out of a buffer that is about to be decoded into again. */
static void copy_value(struct scan_column *c, const struct vec *from, uint32_t at, struct vec *to,
                       uint32_t i, bool keep) {
    if (!bit_get(from->present, at)) return;
    bit_set(to->present, i);
    switch (to->kind) {
    case VEC_NUMBER: to->num[i] = from->num[at]; break;
    case VEC_CODE:
    case VEC_BOOL: to->code[i] = from->code[at]; break;
    case VEC_TEXT: {
        struct str text = text_of(c, from, at);
        to->text[i] = keep && from->kind == VEC_TEXT ? str_dup(&c->texts, text) : text;
        break;
    }
    }
}

/* A text chunk under a column that was thought to be a dictionary: from now on all of it is text.
 */
static bool turns_text(struct scan_column *c, const struct vec *v) {
    if (c->text || v->kind != VEC_TEXT) return false;
    c->text = true;
    return true;
}

/* ---- columns of rows ---- */

/* n values of a vector that lie side by side, to to[at] and the next ones. */
static void copy_values(struct scan_column *c, const struct vec *from, uint32_t slot, uint32_t n,
                        struct vec *to, uint32_t at, bool keep) {
    for (uint32_t done = 0; done < n;) { /* presence: by pieces of words of both */
        uint32_t i = slot + done, k = at + done, piece = 64 - (i & 63);
        if (piece > 64 - (k & 63)) piece = 64 - (k & 63);
        if (piece > n - done) piece = n - done;
        uint64_t bits = from->present[i >> 6] >> (i & 63);
        if (piece < 64) bits &= ((uint64_t)1 << piece) - 1;
        to->present[k >> 6] |= bits << (k & 63);
        done += piece;
    }
    if (to->kind == VEC_NUMBER)
        memcpy(to->num + at, from->num + slot, n * sizeof *to->num);
    else if (to->kind != VEC_TEXT)
        memcpy(to->code + at, from->code + slot, n * sizeof *to->code);
    for (uint32_t k = 0; to->kind == VEC_TEXT && k < n; k++)
        copy_value(c, from, slot + k, to, at + k, keep);
}

/* The first values of a vector go to the set bits, n of them. */
static void spread(const uint64_t *bits, uint32_t n, struct vec *v) {
    uint16_t at[CHUNK_ROWS];
    uint64_t present[BITS_WORDS];
    (void)bits_to_index(bits, at);
    memcpy(present, v->present, sizeof present);
    memcpy(v->present, bits, sizeof v->present);
    for (uint32_t k = 0; k < n; k += 64) {
        uint64_t all = n - k < 64 ? ((uint64_t)1 << (n - k)) - 1 : UINT64_MAX;
        for (uint64_t m = ~present[k / 64] & all; m; m &= m - 1)
            bit_clear(v->present, at[k + (uint32_t)__builtin_ctzll(m)]);
    }
    if (v->kind == VEC_NUMBER)
        spine_kernels()->spread_f64(bits, v->num);
    else if (v->kind != VEC_TEXT)
        spine_kernels()->spread_u32(bits, v->code);
    else
        for (uint32_t k = n; k-- > 0;) v->text[at[k]] = v->text[k];
}

/* An event's values in a block or a sparse batch. */
static int spread_block(struct scan *s, struct scan_column *c, struct vec *to,
                        struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[s->source];
    uint64_t rows[BITS_WORDS] = {0}, live = 0;
    bits_equal_u32(s->rowset->event, s->rowset->n, c->event_stream, rows);
    for (uint32_t w = 0; w < BITS_WORDS; w++) live |= rows[w] & s->live[w];
    if (!live || !source->ops->has_column(source, c->info.id)) return 0;
    uint32_t n = bits_count(rows), base = scan_batch_base(s, c->event_stream);
    for (uint32_t k = 0, stop; k < n; k = stop) {
        const struct vec *from;
        TRY(chunk_of(s, c, s->source, (base + k) / CHUNK_ROWS, &from, err));
        if (turns_text(c, from)) begin_vec(to, c, &c->out, to->n);
        stop = k + CHUNK_ROWS - (base + k) % CHUNK_ROWS;
        if (stop > n) stop = n;
        /* The next chunk goes to the same buffer. */
        copy_values(c, from, (base + k) % CHUNK_ROWS, stop - k, to, k, stop < n);
    }
    spread(rows, n, to);
    return 0;
}

/* ---- rows on the slow path ---- */

struct kept_value vec_keep(const struct vec *v, uint32_t at, struct arena *texts) {
    if (!bit_get(v->present, at)) return (struct kept_value){.kind = KEPT_NOTHING};
    struct kept_value out = {.kind = KEPT_KIND + v->kind};
    if (v->kind == VEC_NUMBER) {
        out.num = v->num[at];
    } else if (v->kind == VEC_TEXT) {
        struct str text = str_dup(texts, v->text[at]);
        out.text = text.p;
        out.n = (uint32_t)text.n;
    } else {
        out.code = v->code[at];
    }
    return out;
}

/* Room for a value of each row, absent from `from` on. */
static void begin_kept(struct scan *s, struct scan_column *c, uint32_t from) {
    if (c->kept_capacity < s->row_count) {
        c->kept_capacity = s->row_capacity;
        c->kept = k_realloc(c->kept, (size_t)c->kept_capacity * sizeof *c->kept);
    }
    memset(c->kept + from, 0, (s->row_count - from) * sizeof *c->kept);
}

/* Has any of the rows from `from` on a value of the column? */
static bool concerns(const struct scan *s, const struct scan_column *c, uint32_t from) {
    bool any = c->event_stream == STREAM_ROWS;
    for (uint32_t i = from; i < s->row_count && !any; i++)
        any = s->rows[i].event == c->event_stream;
    return any;
}

static int column_values(struct scan *s, struct scan_column *c, struct keel_error *err);

int scan_keep_values(struct scan *s, const uint64_t *bits, struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[s->source];
    const uint32_t from = s->row_count - bits_count(bits);
    for (uint32_t k = 0; k < s->spec.column_count; k++) {
        struct scan_column *c = &s->columns[k];
        if (c->stream.kind == STREAM_KIND_ITEMS) continue;
        begin_kept(s, c, from);
        if (!source->ops->has_column(source, c->info.id) || !concerns(s, c, from)) continue;
        TRY(column_values(s, c, err));
        uint32_t i = from;
        for (uint32_t w = 0; w < BITS_WORDS; w++)
            for (uint64_t m = bits[w]; m; m &= m - 1)
                c->kept[i++] =
                    vec_keep(&c->out.vec, w * 64 + (uint32_t)__builtin_ctzll(m), &c->kept_texts);
    }
    return 0;
}

int scan_keep_moved(struct scan *s, uint32_t from, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    for (uint32_t k = 0; k < s->spec.column_count; k++) {
        struct scan_column *c = &s->columns[k];
        const struct kept_value *all;
        if (c->stream.kind == STREAM_KIND_ITEMS) continue;
        begin_kept(s, c, from);
        if (!concerns(s, c, from)) continue;
        TRY(moves_column(s->snap, g->moves, c->info.id, c->event_stream, &all, err));
        if (!all)
            TRY(moves_read(g->sources, s->rows + from, s->row_count - from, c->info.id,
                           c->event_stream, c->kept + from, &c->kept_texts, err));
        for (uint32_t i = from; all && i < s->row_count; i++) c->kept[i] = all[s->rows[i].value];
    }
    for (uint32_t i = from; i < s->row_count; i++) s->rows[i].value = i;
    return 0;
}

void scan_drop_values(struct scan *s) {
    for (uint32_t k = 0; k < s->spec.column_count; k++)
        if (s->columns[k].kept_texts.used_bytes) arena_release(&s->columns[k].kept_texts);
}

static void gather_rows(struct scan *s, struct scan_column *c, struct vec *to) {
    for (uint32_t i = 0; i < s->rowset->n; i++) {
        const struct kept_value *v = &c->kept[s->batch_rows[i].value];
        if (v->kind == KEPT_NOTHING) continue;
        if (v->kind == KEPT_KIND + VEC_TEXT && !c->text) { /* start over: some were codes */
            c->text = true;
            begin_vec(to, c, &c->out, to->n);
            i = UINT32_MAX;
            continue;
        }
        bit_set(to->present, i);
        if (to->kind == VEC_NUMBER)
            to->num[i] = v->num;
        else if (to->kind != VEC_TEXT)
            to->code[i] = v->code;
        else
            to->text[i] = v->kind == KEPT_KIND + VEC_TEXT ? (struct str){v->text, v->n}
                                                          : lexicon_str(c->lexicon, v->code);
    }
}

/* The context of a sparse batch: a few values of many chunks. */
static int pick_places(struct scan *s, struct scan_column *c, struct vec *to,
                       struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[s->source];
    const uint32_t *place = s->sparse->place;
    if (!source->ops->has_column(source, c->info.id)) return 0;
    for (uint32_t i = 0; i < s->rowset->n;) {
        const struct vec *from;
        uint32_t chunk = place[i] / CHUNK_ROWS;
        TRY(chunk_of(s, c, s->source, chunk, &from, err));
        if (turns_text(c, from)) { /* start over: earlier rows of this batch were codes */
            begin_vec(to, c, &c->out, to->n);
            i = 0;
            continue;
        }
        for (; i < s->rowset->n && place[i] / CHUNK_ROWS == chunk; i++)
            copy_value(c, from, place[i] % CHUNK_ROWS, to, i, true);
    }
    return 0;
}

static int whole_chunk(struct scan *s, struct scan_column *c, uint32_t chunk, struct vec *to,
                       struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[s->source];
    const struct vec *from;
    if (!source->ops->has_column(source, c->info.id)) return 0;
    TRY(chunk_of(s, c, s->source, chunk, &from, err));
    if (turns_text(c, from) || (c->text && from->kind == VEC_CODE)) {
        begin_vec(to, c, &c->out, to->n);
        for (uint32_t i = 0; i < from->n; i++) copy_value(c, from, i, to, i, false);
    } else {
        *to = *from; /* aligned already: no copy */
    }
    return 0;
}

/* Makes c->out the values of the current batch. */
static int column_values(struct scan *s, struct scan_column *c, struct keel_error *err) {
    struct vec *to = &c->out.vec;
    if (c->out_batch == s->serial) return 0;
    c->out_batch = UINT64_MAX;
    if (c->texts.used_bytes) arena_release(&c->texts);
    begin_vec(to, c, &c->out, s->rowset->n);
    if (s->kind == BATCH_GATHERED)
        gather_rows(s, c, to);
    else if (s->kind == BATCH_POSTING)
        TRY(s->rowset->event[0] == c->event_stream ? whole_chunk(s, c, s->posting_chunk, to, err)
                                                   : 0);
    else
        TRY(c->event_stream != STREAM_ROWS ? spread_block(s, c, to, err)
            : s->kind == BATCH_SPARSE      ? pick_places(s, c, to, err)
                                           : whole_chunk(s, c, s->block - 1, to, err));
    c->out_batch = s->serial;
    return 0;
}

int batch_column(const struct batch *b, uint32_t column, const struct vec **out,
                 struct keel_error *err) {
    struct scan_column *c = &b->scan->columns[column];
    K_ASSERT(c->stream.kind != STREAM_KIND_ITEMS);
    TRY(column_values(b->scan, c, err));
    *out = &c->out.vec;
    return 0;
}

/* ---- columns of line items ---- */

static int item_slot(struct scan_column *c, uint32_t k, struct vec **out) {
    uint32_t chunk = k / CHUNK_ROWS;
    if (chunk >= c->item_capacity) {
        uint32_t capacity = c->item_capacity ? c->item_capacity * 2 : 4;
        while (capacity <= chunk) capacity *= 2;
        c->item_chunks = k_realloc(c->item_chunks, capacity * sizeof *c->item_chunks);
        for (uint32_t i = c->item_capacity; i < capacity; i++)
            c->item_chunks[i].num = k_alloc(CHUNK_ROWS * sizeof(struct str)); /* fits every kind */
        c->item_capacity = capacity;
    }
    *out = &c->item_chunks[chunk];
    if (k % CHUNK_ROWS == 0) {
        memset((*out)->present, 0, sizeof(*out)->present);
        (*out)->kind = kind_of(c);
        (*out)->n = 0;
    }
    return 0;
}

static int add_items(struct scan *s, struct scan_column *c, uint32_t slot, uint64_t first,
                     uint32_t count, struct keel_error *err) {
    const struct source *source = s->groups[s->group].sources[slot];
    bool has = source->ops->has_column(source, c->info.id);
    for (uint32_t i = 0; i < count; i++) {
        struct vec *to;
        const struct vec *from;
        uint64_t item = first + i;
        TRY(item_slot(c, c->items.total, &to));
        uint32_t at = c->items.total++ % CHUNK_ROWS;
        to->n = at + 1;
        if (!has) continue;
        TRY(chunk_of(s, c, slot, (uint32_t)(item / CHUNK_ROWS), &from, err));
        if (from->kind == VEC_TEXT && !c->text) return 1; /* start over as text */
        copy_value(c, from, (uint32_t)(item % CHUNK_ROWS), to, at, true);
    }
    return 0;
}

/* Where the items of a parent begin, and how many: through one chunk of counts. */
struct counts {
    uint32_t slot, chunk;
    uint32_t count[CHUNK_ROWS];
    uint64_t first[CHUNK_ROWS];
};

static int load_counts(struct scan *s, struct scan_column *c, struct counts *counts, uint32_t slot,
                       uint32_t chunk, struct keel_error *err) {
    if (counts->slot == slot && counts->chunk == chunk) return 0;
    const struct source *source = s->groups[s->group].sources[slot];
    uint64_t base;
    counts->slot = UINT32_MAX;
    memset(counts->count, 0, sizeof counts->count);
    TRY(source->ops->items(source, c->info.stream, chunk, counts->count, &base, err));
    for (uint32_t i = 0; i < CHUNK_ROWS; i++) {
        counts->first[i] = base;
        base += counts->count[i];
    }
    counts->slot = slot;
    counts->chunk = chunk;
    return 0;
}

/* Source slot and ordinal of row i of the batch, for rows of the column's event. */
static void place_rows(struct scan *s, const struct scan_column *c, uint32_t *slot,
                       uint32_t *ordinal) {
    uint32_t next = s->kind == BATCH_GATHERED ? 0 : scan_batch_base(s, c->event_stream);
    for (uint32_t i = 0; i < s->rowset->n; i++) {
        if (s->rowset->event[i] != c->event_stream) continue;
        slot[i] = s->kind == BATCH_GATHERED ? s->batch_rows[i].source : s->source;
        ordinal[i] = s->kind == BATCH_GATHERED ? s->batch_rows[i].ordinal : next++;
    }
}

static int read_items(struct scan *s, struct scan_column *c, struct counts *counts,
                      struct keel_error *err) {
    uint32_t slot[CHUNK_ROWS], ordinal[CHUNK_ROWS];
    place_rows(s, c, slot, ordinal);
    c->items = (struct batch_items){.first = c->item_first, .count = c->item_count};
    for (uint32_t i = 0; i < s->rowset->n; i++) {
        c->item_first[i] = c->items.total;
        c->item_count[i] = 0;
        if (s->rowset->event[i] != c->event_stream || !bit_get(s->live, i)) continue;
        TRY(load_counts(s, c, counts, slot[i], ordinal[i] / CHUNK_ROWS, err));
        uint32_t at = ordinal[i] % CHUNK_ROWS;
        c->item_count[i] = counts->count[at];
        int code = add_items(s, c, slot[i], counts->first[at], counts->count[at], err);
        if (code) return code;
    }
    c->items.chunks = c->item_chunks;
    return 0;
}

int batch_item_column(const struct batch *b, uint32_t column, struct batch_items *out,
                      struct keel_error *err) {
    struct scan *s = b->scan;
    struct scan_column *c = &s->columns[column];
    K_ASSERT(c->stream.kind == STREAM_KIND_ITEMS);
    if (c->items_batch != s->serial) {
        struct counts *counts = k_alloc(sizeof *counts);
        counts->slot = UINT32_MAX;
        c->items_batch = UINT64_MAX;
        if (c->texts.used_bytes) arena_release(&c->texts);
        int code = read_items(s, c, counts, err);
        if (code == 1) {
            c->text = true;
            code = read_items(s, c, counts, err);
        }
        k_free(counts);
        TRY(code);
        c->items_batch = s->serial;
    }
    *out = c->items;
    return 0;
}
