/* Implementation of schema.h.
 *
 * Entries live in chunks that never move, so that a reader may keep a `struct str` name; the three
 * look-ups go through one hash table of (stream, name, what) -> id. Guarded by one rwlock: ingest
 * looks up far more than it adds, and caches per batch.
 */
#include "store/schema.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CHUNK = 256, STREAM_CHUNKS = 256, COLUMN_CHUNKS = 1024 };

enum what { WHAT_EVENT = 16, WHAT_LIST = 17 }; /* below: enum column_type */

struct slot {
    uint64_t hash;
    uint32_t id_plus_1;
    uint8_t what;
};

struct schema {
    pthread_rwlock_t lock;
    struct arena names;
    struct stream_info *streams[STREAM_CHUNKS];
    struct column_info *columns[COLUMN_CHUNKS];
    _Atomic uint32_t stream_count, column_count;
    struct slot *slots;
    uint32_t mask, used;
};

_Static_assert(STREAM_CHUNKS *CHUNK > SCHEMA_MAX_STREAMS, "streams fit");
_Static_assert(COLUMN_CHUNKS *CHUNK >= SCHEMA_MAX_COLUMNS, "columns fit");

static const struct str RESERVED[EVENT_TYPES] = {
    [EVENT_TRACK] = {"", 0},       [EVENT_IDENTIFY] = {"$identify", 9},
    [EVENT_PAGE] = {"$page", 5},   [EVENT_SCREEN] = {"$screen", 7},
    [EVENT_GROUP] = {"$group", 6}, [EVENT_ALIAS] = {"$alias", 6},
};

struct str schema_reserved_name(enum event_type type) {
    return RESERVED[type];
}

static struct stream_info *stream_at(const struct schema *s, uint32_t id) {
    return &s->streams[id / CHUNK][id % CHUNK];
}
static struct column_info *column_at(const struct schema *s, uint32_t id) {
    return &s->columns[id / CHUNK][id % CHUNK];
}

static uint64_t key_hash(uint32_t stream, struct str name, int what) {
    return hash_mix(hash_str(name) ^ ((uint64_t)stream << 8 | (uint64_t)what));
}

static bool slot_is(const struct schema *s, const struct slot *slot, uint64_t hash, uint32_t stream,
                    struct str name, int what) {
    if (slot->hash != hash || slot->what != what) return false;
    uint32_t id = slot->id_plus_1 - 1;
    if (what >= WHAT_EVENT) {
        const struct stream_info *i = stream_at(s, id);
        return i->parent == stream && str_eq(i->name, name);
    }
    const struct column_info *c = column_at(s, id);
    return c->stream == stream && str_eq(c->name, name);
}

static int64_t find_locked(const struct schema *s, uint32_t stream, struct str name, int what) {
    uint64_t hash = key_hash(stream, name, what);
    for (uint32_t i = (uint32_t)hash & s->mask;; i = (i + 1) & s->mask) {
        if (!s->slots[i].id_plus_1) return -1;
        if (slot_is(s, &s->slots[i], hash, stream, name, what)) return s->slots[i].id_plus_1 - 1;
    }
}

static int64_t find(const struct schema *s, uint32_t stream, struct str name, int what) {
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&s->lock;
    pthread_rwlock_rdlock(lock);
    int64_t id = find_locked(s, stream, name, what);
    pthread_rwlock_unlock(lock);
    return id;
}

static void insert(struct schema *s, uint64_t hash, uint32_t id, int what) {
    uint32_t i = (uint32_t)hash & s->mask;
    while (s->slots[i].id_plus_1) i = (i + 1) & s->mask;
    s->slots[i] = (struct slot){.hash = hash, .id_plus_1 = id + 1, .what = (uint8_t)what};
    s->used++;
}

static void grow(struct schema *s) {
    if ((s->used + 1) * 2 <= s->mask) return;
    struct slot *old = s->slots;
    uint32_t size = s->mask + 1;
    s->mask = size * 2 - 1;
    s->slots = k_zalloc((size_t)size * 2 * sizeof *s->slots);
    s->used = 0;
    for (uint32_t i = 0; i < size; i++)
        if (old[i].id_plus_1) insert(s, old[i].hash, old[i].id_plus_1 - 1, old[i].what);
    k_free(old);
}

static uint32_t push_stream(struct schema *s, enum stream_kind kind, uint32_t parent,
                            struct str name) {
    uint32_t id = s->stream_count;
    if (!s->streams[id / CHUNK])
        s->streams[id / CHUNK] = k_zalloc(CHUNK * sizeof(struct stream_info));
    *stream_at(s, id) = (struct stream_info){
        .id = id, .kind = kind, .parent = parent, .name = str_dup(&s->names, name)};
    atomic_store(&s->stream_count, id + 1);
    return id;
}

struct schema *schema_new(void) {
    struct schema *s = k_zalloc(sizeof *s);
    pthread_rwlock_init(&s->lock, NULL);
    arena_init(&s->names, SIZE_MAX / 2);
    s->mask = 1023;
    s->slots = k_zalloc((size_t)(s->mask + 1) * sizeof *s->slots);
    push_stream(s, STREAM_KIND_ROWS, STREAM_ROWS, STR(""));
    return s;
}

void schema_free(struct schema *s) {
    if (!s) return;
    for (int i = 0; i < STREAM_CHUNKS; i++) k_free(s->streams[i]);
    for (int i = 0; i < COLUMN_CHUNKS; i++) k_free(s->columns[i]);
    k_free(s->slots);
    arena_release(&s->names);
    pthread_rwlock_destroy(&s->lock);
    k_free(s);
}

uint32_t schema_streams(const struct schema *s) { return atomic_load(&s->stream_count); }
uint32_t schema_columns(const struct schema *s) { return atomic_load(&s->column_count); }

struct stream_info schema_stream(const struct schema *s, uint32_t id) {
    K_ASSERT_OP(id, <, s->stream_count);
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&s->lock;
    pthread_rwlock_rdlock(lock);
    struct stream_info info = *stream_at(s, id);
    pthread_rwlock_unlock(lock);
    return info;
}

struct column_info schema_column(const struct schema *s, uint32_t id) {
    K_ASSERT_OP(id, <, s->column_count);
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&s->lock;
    pthread_rwlock_rdlock(lock);
    struct column_info info = *column_at(s, id);
    pthread_rwlock_unlock(lock);
    return info;
}

void schema_copy_columns(const struct schema *s, uint32_t n, struct column_info *out) {
    K_ASSERT_OP(n, <=, s->column_count);
    pthread_rwlock_t *lock = (pthread_rwlock_t *)&s->lock;
    pthread_rwlock_rdlock(lock);
    for (uint32_t id = 0; id < n; id += CHUNK)
        memcpy(out + id, column_at(s, id), (n - id < CHUNK ? n - id : CHUNK) * sizeof *out);
    pthread_rwlock_unlock(lock);
}

int64_t schema_find_event(const struct schema *s, struct str name) {
    return find(s, STREAM_ROWS, name, WHAT_EVENT);
}
int64_t schema_find_list(const struct schema *s, uint32_t event_stream, struct str name) {
    return find(s, event_stream, name, WHAT_LIST);
}
int64_t schema_find_column(const struct schema *s, uint32_t stream, struct str name,
                           enum column_type type) {
    return find(s, stream, name, (int)type);
}

static int64_t add_stream(struct schema *s, enum stream_kind kind, uint32_t parent, struct str name,
                          int what) {
    int64_t id = find(s, parent, name, what);
    if (id >= 0) return id;
    bool overflow = what == WHAT_EVENT && str_is(name, SCHEMA_OVERFLOW);
    if (s->stream_count >= SCHEMA_MAX_STREAMS + (uint32_t)overflow) return -1;
    pthread_rwlock_wrlock(&s->lock);
    grow(s);
    id = push_stream(s, kind, parent, name);
    insert(s, key_hash(parent, name, what), (uint32_t)id, what);
    pthread_rwlock_unlock(&s->lock);
    return id;
}

int64_t schema_add_event(struct schema *s, struct str name) {
    return add_stream(s, STREAM_KIND_EVENT, STREAM_ROWS, name, WHAT_EVENT);
}
int64_t schema_add_list(struct schema *s, uint32_t event_stream, struct str name) {
    return add_stream(s, STREAM_KIND_ITEMS, event_stream, name, WHAT_LIST);
}

int64_t schema_add_column(struct schema *s, uint32_t stream, struct str name,
                          enum column_type type) {
    int64_t found = find(s, stream, name, (int)type);
    if (found >= 0) return found;
    bool rest = str_is(name, SCHEMA_REST); /* always has room: it takes what the others have not */
    if (s->column_count >= SCHEMA_MAX_COLUMNS ||
        (!rest && stream_at(s, stream)->columns >= SCHEMA_MAX_COLUMNS_PER_STREAM))
        return -1;
    pthread_rwlock_wrlock(&s->lock);
    uint32_t id = s->column_count;
    if (!s->columns[id / CHUNK])
        s->columns[id / CHUNK] = k_zalloc(CHUNK * sizeof(struct column_info));
    *column_at(s, id) = (struct column_info){
        .id = id, .stream = stream, .type = type, .name = str_dup(&s->names, name)};
    stream_at(s, stream)->columns++;
    atomic_store(&s->column_count, id + 1);
    grow(s);
    insert(s, key_hash(stream, name, (int)type), id, (int)type);
    pthread_rwlock_unlock(&s->lock);
    return id;
}

void schema_set_text(struct schema *s, uint32_t column) {
    pthread_rwlock_wrlock(&s->lock);
    column_at(s, column)->text = true;
    pthread_rwlock_unlock(&s->lock);
}
