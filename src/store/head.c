/* Implementation of head.h: appending. Views are in head_view.c. */
#include "store/head_int.h"

static void *table_slot(void *table, uint32_t *capacity, uint32_t id, size_t size) {
    if (id < *capacity) return table;
    uint32_t wanted = *capacity ? *capacity : 64;
    while (wanted <= id) wanted *= 2;
    table = k_realloc(table, wanted * size);
    memset((uint8_t *)table + *capacity * size, 0, (wanted - *capacity) * size);
    *capacity = wanted;
    return table;
}

struct head *head_new(struct schema *schema, struct lexicon *(*lexicon_of)(void *, uint32_t),
                      void *ctx, uint32_t capacity, uint64_t first_arrival) {
    struct head *h = k_zalloc(sizeof *h);
    h->schema = schema;
    h->lexicon_of = lexicon_of;
    h->ctx = ctx;
    h->capacity = capacity;
    h->first_arrival = first_arrival;
    h->number = k_alloc_array(capacity, sizeof *h->number);
    h->time = k_alloc_array(capacity, sizeof *h->time);
    h->event = k_alloc_array(capacity, sizeof *h->event);
    h->ordinal = k_alloc_array(capacity, sizeof *h->ordinal);
    h->keys = k_alloc_array(capacity, sizeof *h->keys);
    h->key_mask = 1024;
    while (h->key_mask < (uint64_t)capacity * 2) h->key_mask *= 2;
    h->key_slots = k_zalloc(h->key_mask * sizeof *h->key_slots);
    h->key_mask--;
    pthread_mutex_init(&h->tables, NULL);
    arena_init(&h->text, SIZE_MAX / 2);
    return h;
}

static void column_free(struct head_column *c) {
    if (!c) return;
    for (uint32_t i = 0; i < c->chunk_count; i++) {
        if (!c->chunks[i]) continue;
        k_free(c->chunks[i]->num);
        k_free(c->chunks[i]);
    }
    k_free(c->chunks);
    k_free(c->memo);
    k_free(c);
}

static void stream_free(struct head_stream *s) {
    if (!s) return;
    if (s->lists)
        for (uint32_t i = 0; i < s->list_chunks; i++) k_free(s->lists[i]);
    k_free(s->lists);
    k_free(s);
}

void head_free(struct head *h) {
    if (!h) return;
    for (uint32_t i = 0; i < h->column_capacity; i++) column_free(h->columns[i]);
    for (uint32_t i = 0; i < h->stream_capacity; i++) stream_free(h->streams[i]);
    k_free(h->columns);
    k_free(h->streams);
    k_free(h->number);
    k_free(h->time);
    k_free(h->event);
    k_free(h->ordinal);
    k_free(h->keys);
    k_free(h->key_slots);
    arena_release(&h->text);
    pthread_mutex_destroy(&h->tables);
    k_free(h);
}

uint32_t head_rows(const struct head *h) { return atomic_load(&h->published); }
uint64_t head_first_arrival(const struct head *h) { return h->first_arrival; }
uint32_t head_row_index(const struct head *h) { return h->rows - 1; }

bool head_has_room(const struct head *h, uint32_t rows) {
    return h->rows + rows <= h->capacity && h->key_count + rows <= h->capacity &&
           h->text.used_bytes < HEAD_TEXT_BYTES && !h->items_full;
}

static struct head_stream *stream_of(struct head *h, uint32_t id) {
    if (id < h->stream_capacity && h->streams[id]) return h->streams[id];
    pthread_mutex_lock(&h->tables);
    h->streams = table_slot(h->streams, &h->stream_capacity, id, sizeof *h->streams);
    h->streams[id] = k_zalloc(sizeof **h->streams);
    pthread_mutex_unlock(&h->tables);
    return h->streams[id];
}

uint32_t head_row(struct head *h, uint32_t number, int64_t time_ms, uint32_t event) {
    uint32_t row = h->rows;
    K_ASSERT_OP(row, <, h->capacity);
    struct head_stream *s = stream_of(h, event);
    h->number[row] = number;
    h->time[row] = time_ms;
    h->event[row] = event;
    h->ordinal[row] = s->count++;
    h->rows = row + 1;
    return h->ordinal[row];
}

void head_publish(struct head *h) { atomic_store(&h->published, h->rows); }

static enum vec_kind kind_of(const struct column_info *c) {
    switch (c->type) {
    case COLUMN_NUMBER: return VEC_NUMBER;
    case COLUMN_BOOL: return VEC_BOOL;
    case COLUMN_JSON: return VEC_TEXT;
    case COLUMN_STRING: break;
    }
    return c->text ? VEC_TEXT : VEC_CODE;
}

static size_t value_size(enum vec_kind kind) {
    return kind == VEC_NUMBER ? sizeof(double)
           : kind == VEC_TEXT ? sizeof(struct str)
                              : sizeof(uint32_t);
}

/* The chunk that holds a slot, made if absent. A string column keeps the kind it was born with,
 * even if the schema turns it to text meanwhile: a vector has one kind per source. */
static struct head_chunk *chunk_for(struct head *h, const struct column_info *info, uint32_t slot,
                                    enum vec_kind *kind) {
    struct head_column *c = info->id < h->column_capacity ? h->columns[info->id] : NULL;
    if (!c) {
        c = k_zalloc(sizeof *c);
        c->kind = kind_of(info);
        if (c->kind == VEC_CODE) {
            c->lexicon = h->lexicon_of(h->ctx, info->id);
            c->memo = k_zalloc(MEMO_SLOTS * sizeof *c->memo);
        }
        uint32_t rows = h->capacity;
        if (schema_stream(h->schema, info->stream).kind == STREAM_KIND_ITEMS)
            rows *= HEAD_ITEMS_PER_ROW;
        c->chunk_count = rows / CHUNK_ROWS + 1;
        c->chunks = k_zalloc(c->chunk_count * sizeof *c->chunks);
        pthread_mutex_lock(&h->tables);
        h->columns = table_slot(h->columns, &h->column_capacity, info->id, sizeof *h->columns);
        h->columns[info->id] = c;
        pthread_mutex_unlock(&h->tables);
    }
    *kind = c->kind;
    struct head_chunk **at = &c->chunks[slot / CHUNK_ROWS];
    if (!*at) {
        struct head_chunk *chunk = k_zalloc(sizeof *chunk);
        chunk->num = k_alloc(CHUNK_ROWS * value_size(c->kind));
        __atomic_store_n(at, chunk, __ATOMIC_RELEASE);
    }
    return *at;
}

void head_number(struct head *h, const struct column_info *info, uint32_t slot, double v) {
    enum vec_kind kind;
    struct head_chunk *chunk = chunk_for(h, info, slot, &kind);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    chunk->num[i] = v;
    chunk->present[i] = 1;
}

void head_bool(struct head *h, const struct column_info *info, uint32_t slot, bool v) {
    enum vec_kind kind;
    struct head_chunk *chunk = chunk_for(h, info, slot, &kind);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    chunk->code[i] = v;
    chunk->present[i] = 1;
}

static uint64_t sample(struct str v) {
    uint64_t first = 0, middle = 0, last = 0;
    if (v.n >= 8) {
        memcpy(&first, v.p, 8);
        memcpy(&middle, v.p + (v.n - 8) / 2, 8);
        memcpy(&last, v.p + v.n - 8, 8);
    } else {
        memcpy(&first, v.p, v.n);
    }
    return hash_mix(first ^ middle * 0x9e3779b97f4a7c15u ^ last * 0xc2b2ae3d27d4eb4fu ^ v.n) | 1;
}

static uint32_t code_of(struct head_column *c, struct str v) {
    uint64_t tag = sample(v);
    struct memo *m = &c->memo[tag >> 8 & (MEMO_SLOTS - 1)];
    if (m->tag != tag || !str_eq(lexicon_str(c->lexicon, m->code), v)) {
        uint32_t code = lexicon_add(c->lexicon, v);
        if (code == UINT32_MAX) return code;
        *m = (struct memo){.tag = tag, .code = code};
    }
    return m->code;
}

void head_string(struct head *h, const struct column_info *info, uint32_t slot, struct str v) {
    enum vec_kind kind;
    struct head_chunk *chunk = chunk_for(h, info, slot, &kind);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    if (kind == VEC_TEXT) {
        chunk->text[i] = str_dup(&h->text, v);
    } else {
        uint32_t code = code_of(h->columns[info->id], v);
        if (code >= LEXICON_TEXT_FROM && !info->text) schema_set_text(h->schema, info->id);
        if (code == UINT32_MAX) return;
        chunk->code[i] = code;
    }
    chunk->present[i] = 1;
}

uint32_t head_items(struct head *h, uint32_t item_stream, uint32_t parent, uint32_t count) {
    struct head_stream *s = stream_of(h, item_stream);
    uint32_t limit = h->capacity * HEAD_ITEMS_PER_ROW;
    if (!s->lists) {
        uint32_t chunks = h->capacity / CHUNK_ROWS + 1;
        struct head_list **lists = k_zalloc(chunks * sizeof *lists);
        s->list_chunks = chunks;
        __atomic_store_n(&s->lists, lists, __ATOMIC_RELEASE);
    }
    if (s->count + count > limit) return UINT32_MAX;
    struct head_list **at = &s->lists[parent / CHUNK_ROWS];
    if (!*at) __atomic_store_n(at, k_zalloc(CHUNK_ROWS * sizeof **at), __ATOMIC_RELEASE);
    struct head_list *list = &(*at)[parent % CHUNK_ROWS];
    if (list->count) return UINT32_MAX;
    *list = (struct head_list){.first = s->count, .count = count};
    s->count += count;
    /* Batches are admitted by rows: turn the head over while there is room for a large list. */
    if (s->count + EVENT_MAX_ITEMS * 4 > limit) h->items_full = true;
    return list->first;
}

/* The slot of a key, or the empty one where it would go. */
static uint32_t *key_slot(const struct head *h, struct event_key key) {
    uint64_t i = hash_mix(key.lo ^ key.hi) & h->key_mask;
    for (;; i = (i + 1) & h->key_mask) {
        uint32_t at = h->key_slots[i];
        if (!at || (h->keys[at - 1].lo == key.lo && h->keys[at - 1].hi == key.hi))
            return &h->key_slots[i];
    }
}

bool head_has_key(const struct head *h, struct event_key key) { return *key_slot(h, key) != 0; }

bool head_add_key(struct head *h, struct event_key key) {
    uint32_t *slot = key_slot(h, key);
    if (*slot) return false;
    K_ASSERT_OP(h->key_count, <, h->capacity);
    h->keys[h->key_count] = key;
    *slot = ++h->key_count;
    return true;
}
