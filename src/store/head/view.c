/* Views of a head: published rows in timeline order, as sorted runs.
 *
 * A run is an immutable source: the rows of one time bucket that arrived in one stretch, in the
 * order of source.h. The head keeps the runs of its newest view; the next view shares them, sorts
 * only what arrived since, and merges the new run with older ones of its bucket while these are not
 * GROWTH times as large (head/runs.c). So a row is merged log(rows) times in its life, however
 * often a view is asked for, and a bucket has at most log4(rows) + 1 runs, which a scan merges for
 * the customers it reads as it does with overlapping parts. A `whole` view has one run a bucket. A
 * view copies no values: a chunk of a column is gathered from the head's chunks when asked for.
 *
 * Here: reading a run, and what a run needs besides its order (streams, blocks).
 *
 * Layers: head_int.h, source.h. Threads: a run is built by one thread, then immutable; counted.
 * Limits: 20 bytes a row of a run and as many again while it is merged; 4 an item.
 */
#include <stdlib.h>

#include "store/head/head_int.h"
#include "store/head/runs.h"

struct view_stream {
    uint32_t rows;
    uint32_t *view_row;   /* events: the run's row of each                                   */
    uint32_t *block_base; /* events: [blocks + 1] rows before each block                     */
    uint32_t *slot;       /* head slot of each                                               */
    uint64_t *chunk_base; /* items: [parent chunks + 1] items before each chunk of parents   */
    uint32_t parent;      /* items: stream id of the event                                   */
};

static const struct head_source *of(const struct source *s) {
    return (const struct head_source *)s;
}

/* ---- reading ---- */

/* Both at once: they lie in rows of the head that are far away. */
static int view_moments(const struct source *s, uint32_t block, unsigned parts, uint32_t from,
                        uint32_t to, struct row_block *out, struct keel_error *err) {
    (void)parts, (void)err;
    const struct head_source *v = of(s);
    for (uint32_t i = from; i < to; i++) {
        uint32_t row = v->row[block * CHUNK_ROWS + i];
        out->time[i] = v->head->time[row];
        out->number[i] = v->head->number[row];
    }
    return 0;
}

static int view_rows(const struct source *s, uint32_t block, unsigned parts, struct row_block *out,
                     struct keel_error *err) {
    const struct head_source *v = of(s);
    uint32_t from = block * CHUNK_ROWS;
    uint32_t n = s->rows - from < CHUNK_ROWS ? s->rows - from : CHUNK_ROWS;
    out->n = n;
    if (parts & ROWS_CUSTOMER) {
        memcpy(out->customer, v->customer + from, n * sizeof *out->customer);
        memset(out->starts, 0, sizeof out->starts);
        for (uint32_t i = 0; i < n; i++)
            if (i == 0 || out->customer[i] != out->customer[i - 1]) bit_set(out->starts, i);
    }
    if (parts & ROWS_EVENT) memcpy(out->event, v->event + from, n * sizeof *out->event);
    return parts & (ROWS_TIME | ROWS_NUMBER) ? view_moments(s, block, parts, 0, n, out, err) : 0;
}

static const struct view_stream *stream_at(const struct source *s, uint32_t id) {
    const struct head_source *v = of(s);
    return id < v->stream_capacity ? v->streams[id] : NULL;
}

static uint32_t view_stream_base(const struct source *s, uint32_t id, uint32_t block) {
    const struct view_stream *stream = stream_at(s, id);
    return stream ? stream->block_base[block] : 0;
}

static uint32_t view_stream_rows(const struct source *s, uint32_t id) {
    const struct view_stream *stream = stream_at(s, id);
    return id == STREAM_ROWS ? s->rows : stream ? stream->rows : 0;
}

static bool view_has_column(const struct source *s, uint32_t column) {
    const struct head_tables *tables = of(s)->tables;
    return column < tables->column_capacity && tables->columns[column];
}

/* Slots in the head of a stream's values, in the view's order. */
static const uint32_t *slots_of(const struct head_source *v, uint32_t id) {
    if (id == STREAM_ROWS) return v->row; /* context: rows themselves */
    return id < v->stream_capacity && v->streams[id] ? v->streams[id]->slot : NULL;
}

/* A customer's values lie all over the head: without asking ahead each one is a wait for memory. */
enum { GATHER_AHEAD = 24 };

static inline const struct head_chunk *chunk_of(const struct head_column *c, uint32_t slot) {
    return __atomic_load_n(&c->chunks[slot / CHUNK_ROWS], __ATOMIC_ACQUIRE);
}

#define GATHER(type, member, out)                                                                  \
    static void gather_##member(const struct head_column *c, const uint32_t *slot, uint32_t n,     \
                                uint64_t *present, type *out) {                                    \
        for (uint32_t i = 0; i < n; i++) {                                                         \
            const struct head_chunk *ahead =                                                       \
                i + GATHER_AHEAD < n ? chunk_of(c, slot[i + GATHER_AHEAD]) : NULL;                 \
            if (ahead) {                                                                           \
                __builtin_prefetch(&ahead->present[slot[i + GATHER_AHEAD] % CHUNK_ROWS]);          \
                __builtin_prefetch(&ahead->member[slot[i + GATHER_AHEAD] % CHUNK_ROWS]);           \
            }                                                                                      \
            const struct head_chunk *chunk = chunk_of(c, slot[i]);                                 \
            uint32_t at = slot[i] % CHUNK_ROWS;                                                    \
            if (!chunk || !chunk->present[at]) continue;                                           \
            present[i >> 6] |= (uint64_t)1 << (i & 63);                                            \
            out[i] = chunk->member[at];                                                            \
        }                                                                                          \
    }
GATHER(double, num, out)
GATHER(uint32_t, code, out)
GATHER(struct str, text, out)
#undef GATHER

/* The head of a vector for a chunk, all absent. NULL: there is no such column; else *out_slots is
 * where the chunk's values lie in the head. */
static const struct head_column *begin_vec(const struct source *s, uint32_t column, uint32_t chunk,
                                           struct vec_buffer *out, const uint32_t **out_slots) {
    const struct head_source *v = of(s);
    struct vec *vec = &out->vec;
    uint32_t id = schema_column(v->head->schema, column).stream;
    uint32_t rows = view_stream_rows(s, id), from = chunk * CHUNK_ROWS;
    vec->n = rows - from < CHUNK_ROWS ? rows - from : CHUNK_ROWS;
    memset(vec->present, 0, sizeof vec->present);
    vec->kind = VEC_NUMBER;
    vec->num = out->num;
    if (!view_has_column(s, column)) return NULL;
    const struct head_column *c = v->tables->columns[column];
    vec->kind = c->kind;
    if (c->kind == VEC_TEXT)
        vec->text = out->text;
    else if (c->kind != VEC_NUMBER)
        vec->code = out->code;
    *out_slots = slots_of(v, id) + from;
    return c;
}

static int view_column(const struct source *s, uint32_t column, uint32_t chunk,
                       struct vec_buffer *out, struct keel_error *err) {
    (void)err;
    struct vec *vec = &out->vec;
    const uint32_t *slots;
    const struct head_column *c = begin_vec(s, column, chunk, out, &slots);
    if (!c) return 0;
    if (c->kind == VEC_NUMBER)
        gather_num(c, slots, vec->n, vec->present, vec->num);
    else if (c->kind == VEC_TEXT)
        gather_text(c, slots, vec->n, vec->present, vec->text);
    else
        gather_code(c, slots, vec->n, vec->present, vec->code);
    return 0;
}

static int view_pick(const struct source *s, uint32_t column, uint32_t chunk, const uint16_t *slots,
                     uint32_t n, struct vec_buffer *out, struct keel_error *err) {
    (void)err;
    struct vec *vec = &out->vec;
    const uint32_t *from;
    const struct head_column *c = begin_vec(s, column, chunk, out, &from);
    for (uint32_t k = 0; c && k < n; k++) {
        const uint32_t slot = from[slots[k]], at = slot % CHUNK_ROWS;
        const struct head_chunk *values = chunk_of(c, slot);
        if (!values || !values->present[at]) continue;
        bit_set(vec->present, slots[k]);
        if (c->kind == VEC_NUMBER)
            vec->num[slots[k]] = values->num[at];
        else if (c->kind == VEC_TEXT)
            vec->text[slots[k]] = values->text[at];
        else
            vec->code[slots[k]] = values->code[at];
    }
    return 0;
}

/* NULL while no row has had items; the writer may be making them. */
static struct head_list **lists_of(const struct head_stream *items) {
    return __atomic_load_n(&items->lists, __ATOMIC_ACQUIRE);
}

static struct head_list list_of(const struct head_stream *items, uint32_t parent_ordinal) {
    struct head_list **lists = lists_of(items);
    if (!lists) return (struct head_list){0};
    const struct head_list *chunk =
        __atomic_load_n(&lists[parent_ordinal / CHUNK_ROWS], __ATOMIC_ACQUIRE);
    return chunk ? chunk[parent_ordinal % CHUNK_ROWS] : (struct head_list){0};
}

static int view_items(const struct source *s, uint32_t item_stream, uint32_t chunk,
                      uint32_t *counts, uint64_t *base, struct keel_error *err) {
    (void)err;
    const struct head_source *v = of(s);
    const struct view_stream *items = stream_at(s, item_stream);
    uint32_t parent_id = schema_stream(v->head->schema, item_stream).parent;
    const struct view_stream *parent = stream_at(s, parent_id);
    uint32_t from = chunk * CHUNK_ROWS;
    *base = items ? items->chunk_base[chunk] : 0;
    for (uint32_t i = 0; parent && i < CHUNK_ROWS && from + i < parent->rows; i++)
        counts[i] =
            items ? list_of(v->tables->streams[item_stream], parent->slot[from + i]).count : 0;
    return 0;
}

static bool view_has_posting(const struct source *s, uint32_t id) {
    return stream_at(s, id) != NULL;
}

static int view_posting(const struct source *s, uint32_t id, uint32_t chunk, uint32_t *customer,
                        int64_t *time, uint32_t *n, struct keel_error *err) {
    (void)err;
    const struct head_source *v = of(s);
    const struct view_stream *stream = stream_at(s, id);
    uint32_t from = chunk * CHUNK_ROWS;
    *n = stream->rows - from < CHUNK_ROWS ? stream->rows - from : CHUNK_ROWS;
    for (uint32_t i = 0; i < *n; i++) {
        uint32_t row = stream->view_row[from + i];
        customer[i] = v->customer[row];
        time[i] = v->head->time[v->row[row]];
    }
    return 0;
}

/* Every row was admitted with its key, so keys and rows share the arrival index. */
static int view_keys(const struct source *s, struct event_key *out, struct keel_error *err) {
    (void)err;
    const struct head_source *v = of(s);
    for (uint32_t i = 0; i < s->rows; i++) out[i] = v->head->keys[v->row[i]];
    return 0;
}

static bool view_has_customers(const struct source *s, uint32_t first, uint32_t count) {
    const uint32_t *customer = of(s)->customer;
    uint32_t row = first_customer(customer, s->rows, first);
    return row < s->rows && customer[row] - first < count;
}

static const struct source_ops VIEW_OPS = {
    .has_customers = view_has_customers,
    .moments = view_moments,
    .rows = view_rows,
    .stream_base = view_stream_base,
    .stream_rows = view_stream_rows,
    .has_column = view_has_column,
    .column = view_column,
    .pick = view_pick,
    .items = view_items,
    .has_posting = view_has_posting,
    .posting = view_posting,
    .keys = view_keys,
};

bool source_is_head(const struct source *s) { return s->ops == &VIEW_OPS; }

/* ---- building ---- */

static void build_items(struct head_source *v, uint32_t id, const struct head_stream *items) {
    uint32_t parent_id = schema_stream(v->head->schema, id).parent;
    const struct view_stream *parent =
        parent_id < v->stream_capacity ? v->streams[parent_id] : NULL;
    if (!parent || !parent->rows) return;
    struct view_stream *out = k_zalloc(sizeof *out);
    uint32_t chunks = (parent->rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    out->parent = parent_id;
    out->chunk_base = k_alloc_array(chunks + 1, sizeof *out->chunk_base);
    uint64_t total = 0;
    for (uint32_t k = 0; k < parent->rows; k++) {
        if (k % CHUNK_ROWS == 0) out->chunk_base[k / CHUNK_ROWS] = total;
        total += list_of(items, parent->slot[k]).count;
    }
    out->chunk_base[chunks] = total;
    out->slot = k_alloc_array(total, sizeof *out->slot);
    for (uint32_t k = 0; k < parent->rows; k++) {
        struct head_list list = list_of(items, parent->slot[k]);
        for (uint32_t i = 0; i < list.count; i++) out->slot[out->rows++] = list.first + i;
    }
    v->streams[id] = out;
}

static void build_streams(struct head_source *v) {
    const struct head *h = v->head;
    uint32_t n = v->base.rows, blocks = v->base.blocks;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = v->event[i];
        if (!v->streams[id]) {
            v->streams[id] = k_zalloc(sizeof **v->streams);
            v->streams[id]->block_base = k_alloc_array(blocks + 1, sizeof(uint32_t));
        }
        v->streams[id]->rows++;
    }
    for (uint32_t id = 0; id < v->stream_capacity; id++) {
        struct view_stream *s = v->streams[id];
        if (!s) continue;
        s->view_row = k_alloc_array(s->rows, sizeof *s->view_row);
        s->slot = k_alloc_array(s->rows, sizeof *s->slot);
        s->rows = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i % CHUNK_ROWS == 0)
            for (uint32_t id = 0; id < v->stream_capacity; id++)
                if (v->streams[id])
                    v->streams[id]->block_base[i / CHUNK_ROWS] = v->streams[id]->rows;
        struct view_stream *s = v->streams[v->event[i]];
        s->slot[s->rows] = h->ordinal[v->row[i]];
        s->view_row[s->rows++] = i;
    }
    for (uint32_t id = 0; id < v->stream_capacity; id++)
        if (v->streams[id]) v->streams[id]->block_base[blocks] = v->streams[id]->rows;
    for (uint32_t id = 0; id < v->tables->stream_capacity && id < v->stream_capacity; id++)
        if (v->tables->streams[id] && lists_of(v->tables->streams[id]))
            build_items(v, id, v->tables->streams[id]);
}

static void build_blocks(struct head_source *v) {
    const struct head *h = v->head;
    struct source *s = &v->base;
    v->event = k_alloc_array(s->rows, sizeof *v->event);
    v->block_first = k_alloc_array(s->blocks, sizeof *v->block_first);
    v->block_last = k_alloc_array(s->blocks, sizeof *v->block_last);
    v->block_events = k_zalloc(s->blocks * sizeof *v->block_events);
    s->min_time = INT64_MAX;
    s->max_time = INT64_MIN;
    for (uint32_t i = 0; i < s->rows; i++) {
        uint32_t block = i / CHUNK_ROWS;
        int64_t time = h->time[v->row[i]];
        if (i % CHUNK_ROWS == 0) v->block_first[block] = v->customer[i];
        v->block_last[block] = v->customer[i];
        v->event[i] = h->event[v->row[i]];
        v->block_events[block] |= event_bit(v->event[i]);
        if (time < s->min_time) s->min_time = time;
        if (time > s->max_time) s->max_time = time;
    }
    s->block_first = v->block_first;
    s->block_last = v->block_last;
    s->block_events = v->block_events;
}

struct head_source *run_new(const struct head *h, struct head_tables *tables, int32_t bucket,
                            struct run_rows rows, struct run_span span, uint32_t version) {
    struct head_source *v = k_zalloc(sizeof *v);
    v->refs = 1;
    v->head = h;
    v->tables = head_tables_ref(tables);
    v->base = (struct source){.ops = &VIEW_OPS,
                              .rows = rows.n,
                              .blocks = (rows.n + CHUNK_ROWS - 1) / CHUNK_ROWS,
                              .bucket = bucket,
                              .first_arrival = h->first_arrival + span.from,
                              .last_arrival = h->first_arrival + span.to,
                              .identity_version = version};
    v->row = rows.row;
    v->customer = rows.customer;
    v->stream_capacity = schema_streams(h->schema);
    v->streams = k_zalloc(v->stream_capacity * sizeof *v->streams);
    build_blocks(v);
    build_streams(v);
    return v;
}

struct head_source *run_ref(struct head_source *v) {
    atomic_fetch_add(&v->refs, 1);
    return v;
}

void run_unref(struct head_source *v) {
    if (atomic_fetch_sub(&v->refs, 1) != 1) return;
    for (uint32_t i = 0; i < v->stream_capacity; i++) {
        struct view_stream *stream = v->streams[i];
        if (!stream) continue;
        k_free(stream->view_row);
        k_free(stream->block_base);
        k_free(stream->slot);
        k_free(stream->chunk_base);
        k_free(stream);
    }
    k_free(v->streams);
    k_free(v->row);
    k_free(v->customer);
    k_free(v->event);
    k_free(v->block_first);
    k_free(v->block_last);
    k_free(v->block_events);
    head_tables_unref(v->tables);
    k_free(v);
}
