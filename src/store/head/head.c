/* Implementation of head.h: appending. Views are in head/view.c. */
#include "store/head/head_int.h"

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
                      void *ctx, uint32_t capacity, uint64_t capacity_bytes,
                      uint64_t first_arrival) {
    struct head *h = k_zalloc(sizeof *h);
    h->schema = schema;
    h->lexicon_of = lexicon_of;
    h->ctx = ctx;
    h->capacity = capacity;
    h->capacity_bytes = capacity_bytes;
    h->first_arrival = first_arrival;
    h->number = k_alloc_array(capacity, sizeof *h->number);
    h->time = k_alloc_array(capacity, sizeof *h->time);
    h->event = k_alloc_array(capacity, sizeof *h->event);
    h->ordinal = k_alloc_array(capacity, sizeof *h->ordinal);
    h->keys = k_alloc_array(capacity, sizeof *h->keys);
    h->key_index = 1;
    while (h->key_index < capacity) h->key_index = h->key_index * 2 + 1;
    h->key_mask = 1024;
    while (h->key_mask < capacity / 2) h->key_mask *= 2;
    h->key_slots = k_zalloc_table(h->key_mask * sizeof *h->key_slots);
    h->key_mask--;
    pthread_mutex_init(&h->tables, NULL);
    pthread_mutex_init(&h->views, NULL);
    arena_init(&h->text, SIZE_MAX / 2);
    arena_init(&h->chunks, SIZE_MAX / 2);
    return h;
}

static void column_free(struct head_column *c) {
    if (!c) return;
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
    head_view_free(h->newest);
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
    arena_release(&h->chunks);
    pthread_mutex_destroy(&h->tables);
    pthread_mutex_destroy(&h->views);
    k_free(h);
}

uint32_t head_rows(const struct head *h) { return atomic_load(&h->published); }
uint64_t head_first_arrival(const struct head *h) { return h->first_arrival; }
uint32_t head_row_index(const struct head *h) { return h->rows - 1; }

bool head_has_room(const struct head *h, uint32_t rows) {
    return h->rows + rows <= h->capacity && h->key_count + rows <= h->capacity &&
           h->text.used_bytes + h->chunks.used_bytes < h->capacity_bytes && !h->items_full;
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

void head_publish(struct head *h) {
    K_ASSERT_OP(h->queue_first, ==, h->queue_end);
    atomic_store(&h->published, h->rows);
}

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

/* Both slots of a string lie in one cache line. */
static struct memo *memo_new(uint32_t slots) {
    _Static_assert(sizeof(struct memo) == 32, "two to a line");
    return k_zalloc_table(slots * sizeof(struct memo));
}

/* Items that a stream may have: also a small head has room for some of the largest lists. */
static uint32_t items_most(const struct head *h) {
    const uint32_t most = h->capacity * HEAD_ITEMS_PER_ROW;
    return most > HEAD_ITEMS_LEAST ? most : HEAD_ITEMS_LEAST;
}

/* A string column keeps the kind it was born with, even if the schema turns it to text meanwhile: a
 * vector has one kind per source. */
static struct head_column *column_new(struct head *h, const struct column_info *info) {
    struct head_column *c = k_alloc_aligned(_Alignof(struct head_column), sizeof *c);
    *c = (struct head_column){.kind = kind_of(info), .id = info->id};
    if (c->kind == VEC_CODE) {
        c->lexicon = h->lexicon_of(h->ctx, info->id);
        c->memo = memo_new(MEMO_FIRST);
        c->memo_mask = MEMO_FIRST - 1;
    }
    uint32_t rows = h->capacity;
    if (schema_stream(h->schema, info->stream).kind == STREAM_KIND_ITEMS) rows = items_most(h);
    c->chunk_count = rows / CHUNK_ROWS + 1;
    c->chunks = k_zalloc(c->chunk_count * sizeof *c->chunks);
    return c;
}

struct head_column *head_column(struct head *h, const struct column_info *info) {
    if (info->id < h->column_capacity && h->columns[info->id]) return h->columns[info->id];
    struct head_column *c = column_new(h, info);
    pthread_mutex_lock(&h->tables);
    h->columns = table_slot(h->columns, &h->column_capacity, info->id, sizeof *h->columns);
    h->columns[info->id] = c;
    pthread_mutex_unlock(&h->tables);
    return c;
}

/* The chunk that holds a slot, made if absent. */
static struct head_chunk *chunk_at(struct head *h, struct head_column *c, uint32_t slot) {
    struct head_chunk **at = &c->chunks[slot / CHUNK_ROWS], *chunk = *at;
    if (!chunk) { /* from an arena: fewer calls, and all gone at once */
        chunk = arena_alloc(&h->chunks, sizeof *chunk + CHUNK_ROWS * value_size(c->kind));
        memset(chunk->present, 0, sizeof chunk->present);
        chunk->num = (double *)(chunk + 1);
        __atomic_store_n(at, chunk, __ATOMIC_RELEASE);
    }
    c->tail = chunk;
    c->tail_number = slot / CHUNK_ROWS;
    return chunk;
}

static inline struct head_chunk *chunk_for(struct head *h, struct head_column *c, uint32_t slot) {
    return c->tail && c->tail_number == slot / CHUNK_ROWS ? c->tail : chunk_at(h, c, slot);
}

void head_number(struct head *h, struct head_column *c, uint32_t slot, double v) {
    struct head_chunk *chunk = chunk_for(h, c, slot);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    chunk->num[i] = v;
    chunk->present[i] = 1;
}

void head_bool(struct head *h, struct head_column *c, uint32_t slot, bool v) {
    struct head_chunk *chunk = chunk_for(h, c, slot);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    chunk->code[i] = v;
    chunk->present[i] = 1;
}

/* First, middle and last eight bytes; less than eight bytes fill one word. */
static inline void sample(struct str v, uint64_t *word) {
    word[0] = word[1] = word[2] = 0;
    if (v.n >= 8) {
        memcpy(&word[0], v.p, 8);
        memcpy(&word[1], v.p + (v.n - 8) / 2, 8);
        memcpy(&word[2], v.p + v.n - 8, 8);
    } else if (v.n >= 4) {
        uint32_t first, last;
        memcpy(&first, v.p, 4);
        memcpy(&last, v.p + v.n - 4, 4);
        word[0] = (uint64_t)last << 32 | first;
    } else if (v.n) {
        const uint8_t *p = (const uint8_t *)v.p;
        word[0] = (uint64_t)p[0] << 16 | (uint64_t)p[v.n / 2] << 8 | p[v.n - 1];
    }
}

static inline uint64_t memo_hash(const uint64_t *word, size_t n) {
    uint64_t hash = word[0] ^ word[1] * 0xc2b2ae3d27d4eb4fu ^ word[2] * 0x165667b19e3779f9u ^ n;
    return (hash ^ hash >> 29) * 0x9e3779b97f4a7c15u >> 32;
}

/* The two slots of a string. */
static inline struct memo *memo_of(const struct head_column *c, uint64_t hash) {
    return &c->memo[hash & c->memo_mask & ~(uint64_t)1];
}

static inline bool memo_is(const struct head_column *c, const struct memo *m, struct str v,
                           const uint64_t *word) {
    return m->word[0] == word[0] && m->word[1] == word[1] && m->word[2] == word[2] && m->n == v.n &&
           m->code_plus_1 &&
           (v.n <= MEMO_EXACT_BYTES || str_eq(lexicon_str(c->lexicon, m->code_plus_1 - 1), v));
}

/* Returns whether another string had to leave. */
static bool memo_put(struct head_column *c, const struct memo *entry) {
    struct memo *m = memo_of(c, memo_hash(entry->word, entry->n));
    bool lost = m[1].code_plus_1 != 0;
    m[1] = m[0];
    m[0] = *entry;
    return lost;
}

/* To twice the strings that there are, as they all may come again. */
static void memo_grow(struct head_column *c) {
    const uint32_t old_slots = c->memo_mask + 1;
    uint32_t slots = old_slots;
    c->memo_lost = 0;
    while (slots < MEMO_MOST && slots / 2 < lexicon_count(c->lexicon)) slots *= 2;
    if (slots == old_slots) return;
    struct memo *old = c->memo;
    c->memo = memo_new(slots);
    c->memo_mask = slots - 1;
    for (uint32_t i = old_slots; i-- > 0;)
        if (old[i].code_plus_1) memo_put(c, &old[i]);
    k_free(old);
}

static void memo_add(struct head_column *c, const struct queued *q, uint32_t code, bool known) {
    const struct memo entry = {.word = {q->word[0], q->word[1], q->word[2]},
                               .n = (uint32_t)q->text.n,
                               .code_plus_1 = code + 1};
    if (memo_put(c, &entry) && known && c->memo_lost++ > c->memo_mask / 4) memo_grow(c);
}

static void settle(struct head *h, const struct queued *q) {
    struct head_column *c = q->column;
    uint32_t known = lexicon_count(c->lexicon);
    uint32_t code = lexicon_add_hashed(c->lexicon, q->text, q->lexicon_hash);
    if (code >= LEXICON_TEXT_FROM && !c->full) {
        c->full = true;
        schema_set_text(h->schema, c->id);
    }
    if (code == UINT32_MAX) {
        q->chunk->present[q->at] = 0;
        return;
    }
    q->chunk->code[q->at] = code;
    if (q->text.n <= UINT32_MAX) memo_add(c, q, code, code < known);
}

/* The first of the queue leaves it; mostly the memo knew its code. */
static inline void settle_first(struct head *h) {
    const struct queued *q = &h->queue[h->queue_first++ % QUEUE_SLOTS];
    if (q->column) settle(h, q);
}

static inline void ask_memo(struct head *h) {
    struct queued *q = &h->queue[h->queue_unasked++ % QUEUE_SLOTS];
    const struct memo *m = memo_of(q->column, q->hash);
    if (memo_is(q->column, m, q->text, q->word) || memo_is(q->column, ++m, q->text, q->word)) {
        q->chunk->code[q->at] = m->code_plus_1 - 1;
        q->column = NULL;
    } else {
        q->lexicon_hash = lexicon_prefetch(q->column->lexicon, q->text);
    }
}

void head_settle(struct head *h) {
    while (h->queue_unasked != h->queue_end) ask_memo(h);
    while (h->queue_first != h->queue_end) settle_first(h);
}

void head_string(struct head *h, struct head_column *c, uint32_t slot, struct str v) {
    struct head_chunk *chunk = chunk_for(h, c, slot);
    uint32_t i = slot % CHUNK_ROWS;
    if (chunk->present[i]) return;
    chunk->present[i] = 1;
    if (c->kind == VEC_TEXT) {
        chunk->text[i] = str_dup(&h->text, v);
        return;
    }
    if (h->queue_end - h->queue_first == QUEUE_SLOTS) settle_first(h);
    struct queued *q = &h->queue[h->queue_end++ % QUEUE_SLOTS];
    q->column = c;
    q->text = v;
    q->chunk = chunk;
    q->at = i;
    sample(v, q->word);
    q->hash = memo_hash(q->word, v.n);
    __builtin_prefetch(memo_of(c, q->hash));
    if (h->queue_end - h->queue_unasked > MEMO_AHEAD) ask_memo(h);
}

bool head_get(struct head_column *c, uint32_t slot, struct head_value *out) {
    const struct head_chunk *chunk = c->chunks[slot / CHUNK_ROWS];
    uint32_t i = slot % CHUNK_ROWS;
    if (!chunk || !chunk->present[i]) return false;
    *out = (struct head_value){.column = c};
    if (c->kind == VEC_NUMBER)
        out->num = chunk->num[i];
    else if (c->kind == VEC_TEXT)
        out->text = chunk->text[i];
    else
        out->code = chunk->code[i];
    return true;
}

void head_set(struct head *h, const struct head_value *values, uint32_t count, uint32_t slot) {
    const uint32_t i = slot % CHUNK_ROWS;
    for (uint32_t k = 0; k < count; k++) {
        const struct head_value *v = &values[k];
        struct head_chunk *chunk = chunk_for(h, v->column, slot);
        if (chunk->present[i]) continue;
        if (v->column->kind == VEC_NUMBER)
            chunk->num[i] = v->num;
        else if (v->column->kind == VEC_TEXT)
            chunk->text[i] = v->text;
        else
            chunk->code[i] = v->code;
        chunk->present[i] = 1;
    }
}

uint32_t head_items(struct head *h, uint32_t item_stream, uint32_t parent, uint32_t count) {
    struct head_stream *s = stream_of(h, item_stream);
    uint32_t limit = items_most(h);
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

static uint64_t key_hash(struct event_key key) { return hash_mix(key.lo ^ key.hi); }

/* The slot of a key whose row lies in [from_ms, to_ms), or the empty one where it would go. What
 * the number of a key leaves of a slot are bits of its hash: most other keys in the way are told by
 * them, without a look at the key. */
static uint32_t *key_slot(const struct head *h, struct event_key key, int64_t from_ms,
                          int64_t to_ms) {
    uint64_t hash = key_hash(key);
    uint32_t tag = (uint32_t)(hash >> 32) & ~h->key_index;
    for (uint64_t i = hash & h->key_mask;; i = (i + 1) & h->key_mask) {
        uint32_t slot = h->key_slots[i], at = slot & h->key_index;
        if (!at) return &h->key_slots[i];
        if ((slot & ~h->key_index) != tag) continue;
        if (h->keys[at - 1].lo == key.lo && h->keys[at - 1].hi == key.hi &&
            h->time[at - 1] >= from_ms && h->time[at - 1] < to_ms)
            return &h->key_slots[i];
    }
}

static uint32_t *free_slot(const struct head *h, struct event_key key) {
    return key_slot(h, key, 0, 0);
}

static uint32_t slot_value(const struct head *h, uint32_t k) {
    return (k + 1) | ((uint32_t)(key_hash(h->keys[k]) >> 32) & ~h->key_index);
}

void head_prefetch_key(const struct head *h, struct event_key key) {
    __builtin_prefetch(&h->key_slots[key_hash(key) & h->key_mask]);
}

bool head_has_key(const struct head *h, struct event_key key, int64_t from_ms, int64_t to_ms) {
    return *key_slot(h, key, from_ms, to_ms) != 0;
}

void head_each_key(const struct head *h, int64_t from_ms, int64_t to_ms,
                   void (*each)(void *ctx, struct event_key key), void *ctx) {
    K_ASSERT_OP(h->key_count, ==, h->rows);
    for (uint32_t i = 0; i < h->rows; i++)
        if (h->time[i] >= from_ms && h->time[i] < to_ms) each(ctx, h->keys[i]);
}

/* A head is filled beyond a quarter of its room only by recovery: the table begins small, as each
 * look-up in it is a miss of the cache and of the address cache. */
static void grow_keys(struct head *h) {
    uint64_t size = (h->key_mask + 1) * 2;
    k_free(h->key_slots);
    h->key_slots = k_zalloc_table(size * sizeof *h->key_slots);
    h->key_mask = size - 1;
    for (uint32_t k = 0; k < h->key_count; k++) *free_slot(h, h->keys[k]) = slot_value(h, k);
}

void head_add_key(struct head *h, struct event_key key) {
    if ((uint64_t)h->key_count * 2 > h->key_mask) grow_keys(h);
    K_ASSERT_OP(h->key_count, <, h->capacity);
    h->keys[h->key_count] = key;
    uint32_t *slot = free_slot(h, key);
    *slot = slot_value(h, h->key_count++);
}
