/* Implementation of identity.h.
 *
 * Two hash tables (user ids, anonymous ids) and a list of pairs (anonymous, user, earliest time). A
 * pair is recorded when it is new or earlier than known, so the log grows with people, not with
 * events. The owner of an anonymous id is the user of its earliest pair.
 *
 * Locks: `lock` is taken for writing when a table changes and for reading by look-ups from other
 * threads; the ingesting thread, the only writer, looks up without it.
 */
#include "customer/identity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/os.h"

enum {
    NAMES_CHUNK = 1 << 16,
    NAMES_CHUNKS = 1 << 16,
    FIRST_SLOTS = 1024,
    HEADER_BYTES = 32,
    RECORD_IDENTIFIER = 1,
    RECORD_EDGE = 2,
    LOG_MAJOR = 1,
    STORE_ID_AT = 16,
    STORE_ID_BYTES = 16,
};

#define LOG_MAGIC "KEELIDS"
#define UNSAVED_MOST ((size_t)1 << 32)

struct name {
    struct str id;
    enum id_kind kind;
};

struct pair {
    uint32_t anonymous, user; /* index; number                      */
    int64_t time_ms;          /* the earliest                       */
    struct event_key key;
    enum edge_kind kind;
    uint32_t next_of_anonymous, next_of_user; /* index + 1, 0 = none */
};

struct anonymous {
    struct str id;
    uint32_t number; /* NUMBER_NONE until it has an event of its own */
    uint32_t pairs;  /* first pair + 1                               */
    uint32_t owner;  /* pair + 1, 0 = none                           */
};

struct slot {
    uint32_t hash, value_plus_1; /* user: number; anonymous: index */
};

struct table {
    struct slot *slots;
    uint32_t mask, used;
};

struct identity {
    pthread_rwlock_t lock;
    struct redirects *redirects;
    uint8_t store_id[STORE_ID_BYTES];
    struct arena strings;
    struct name *_Atomic names[NAMES_CHUNKS]; /* by number */
    uint32_t *user_pairs;                     /* by number: first pair + 1 */
    uint32_t user_pairs_size;
    struct table users, anonymous_ids;
    struct anonymous *anonymous;
    uint32_t anonymous_count, anonymous_capacity;
    struct pair *pairs;
    uint32_t pair_count, pair_capacity;
    uint64_t user_count, conflicts;
    struct buf unsaved; /* records since the last seal */
    struct buf sealed;  /* of the flush under way, for its thread */
    uint64_t saved_bytes;
    bool loading;
};

/* ---- tables ---- */

static struct name *name_at(const struct identity *g, uint32_t number) {
    struct name *chunk =
        atomic_load_explicit(&g->names[number / NAMES_CHUNK], memory_order_acquire);
    return &chunk[number % NAMES_CHUNK];
}

struct str identity_id(const struct identity *g, uint32_t number, enum id_kind *out_kind) {
    const struct name *n = name_at(g, number);
    if (out_kind) *out_kind = n->kind;
    return n->id;
}

static struct str id_of(const struct identity *g, enum id_kind kind, uint32_t value) {
    return kind == ID_USER ? name_at(g, value)->id : g->anonymous[value].id;
}

static uint32_t hash_of(struct str id) { return (uint32_t)hash_str(id); }

static uint32_t find(const struct identity *g, enum id_kind kind, struct str id, uint32_t hash) {
    const struct table *t = kind == ID_USER ? &g->users : &g->anonymous_ids;
    for (uint32_t i = hash & t->mask; t->slots[i].value_plus_1; i = (i + 1) & t->mask)
        if (t->slots[i].hash == hash && str_eq(id_of(g, kind, t->slots[i].value_plus_1 - 1), id))
            return t->slots[i].value_plus_1 - 1;
    return NUMBER_NONE;
}

static void insert(struct table *t, uint32_t hash, uint32_t value) {
    if ((t->used + 1) * 2 > t->mask) {
        struct table bigger = {.mask = (t->mask + 1) * 2 - 1};
        bigger.slots = k_zalloc_table(((size_t)bigger.mask + 1) * sizeof *bigger.slots);
        for (uint32_t i = 0; i <= t->mask; i++)
            if (t->slots[i].value_plus_1)
                insert(&bigger, t->slots[i].hash, t->slots[i].value_plus_1 - 1);
        k_free(t->slots);
        *t = bigger;
    }
    uint32_t i = hash & t->mask;
    while (t->slots[i].value_plus_1) i = (i + 1) & t->mask;
    t->slots[i] = (struct slot){.hash = hash, .value_plus_1 = value + 1};
    t->used++;
}

struct identity *identity_new(struct redirects *redirects, const uint8_t *store_id) {
    struct identity *g = k_zalloc(sizeof *g);
    memcpy(g->store_id, store_id, sizeof g->store_id);
    pthread_rwlock_init(&g->lock, NULL);
    g->redirects = redirects;
    arena_init(&g->strings, SIZE_MAX / 2);
    buf_init(&g->unsaved, UNSAVED_MOST);
    buf_init(&g->sealed, UNSAVED_MOST);
    g->users.mask = g->anonymous_ids.mask = FIRST_SLOTS - 1;
    g->users.slots = k_zalloc(FIRST_SLOTS * sizeof(struct slot));
    g->anonymous_ids.slots = k_zalloc(FIRST_SLOTS * sizeof(struct slot));
    return g;
}

void identity_free(struct identity *g) {
    if (!g) return;
    for (uint32_t i = 0; i < NAMES_CHUNKS && g->names[i]; i++) k_free(g->names[i]);
    k_free(g->user_pairs);
    k_free(g->users.slots);
    k_free(g->anonymous_ids.slots);
    k_free(g->anonymous);
    k_free(g->pairs);
    buf_release(&g->unsaved);
    buf_release(&g->sealed);
    arena_release(&g->strings);
    pthread_rwlock_destroy(&g->lock);
    k_free(g);
}

/* ---- records ---- */

static void end_record(struct identity *g, size_t start) {
    uint32_t n = (uint32_t)(g->unsaved.n - start - 8);
    uint32_t sum = (uint32_t)hash64(g->unsaved.p + start + 8, n);
    memcpy(g->unsaved.p + start, &n, 4);
    memcpy(g->unsaved.p + start + 4, &sum, 4);
}

static void add_text(struct buf *b, struct str s) {
    (void)!buf_add_varint(b, s.n);
    (void)!buf_add_str(b, s);
}

/* A failure to buffer is kept in unsaved.failed and reported by the next save. */
static void record_identifier(struct identity *g, uint32_t number, enum id_kind kind,
                              struct str id) {
    if (g->loading) return;
    size_t start = g->unsaved.n;
    if (buf_reserve(&g->unsaved, id.n + 64) < 0) return;
    (void)!buf_add_zero(&g->unsaved, 8);
    (void)!buf_add_u8(&g->unsaved, RECORD_IDENTIFIER);
    (void)!buf_add_varint(&g->unsaved, number);
    (void)!buf_add_u8(&g->unsaved, (uint8_t)kind);
    add_text(&g->unsaved, id);
    end_record(g, start);
}

static void record_edge(struct identity *g, const struct edge *e) {
    if (g->loading) return;
    size_t start = g->unsaved.n;
    if (buf_reserve(&g->unsaved, e->anonymous_id.n + e->user_id.n + 96) < 0) return;
    (void)!buf_add_zero(&g->unsaved, 8);
    (void)!buf_add_u8(&g->unsaved, RECORD_EDGE);
    (void)!buf_add_u8(&g->unsaved, (uint8_t)e->kind);
    add_text(&g->unsaved, e->anonymous_id);
    add_text(&g->unsaved, e->user_id);
    (void)!buf_add_u64(&g->unsaved, (uint64_t)e->time_ms);
    (void)!buf_add_u64(&g->unsaved, e->key.lo);
    (void)!buf_add_u32(&g->unsaved, e->key.hi);
    end_record(g, start);
}

/* Nobody reads while the log is loaded, and there it is half of the time. */
static void lock_tables(struct identity *g) {
    if (!g->loading) pthread_rwlock_wrlock(&g->lock);
}
static void unlock_tables(struct identity *g) {
    if (!g->loading) pthread_rwlock_unlock(&g->lock);
}

/* ---- numbers ---- */

static uint32_t new_number(struct identity *g, enum id_kind kind, struct str id) {
    uint32_t number = redirects_add_number(g->redirects);
    if (!g->names[number / NAMES_CHUNK])
        atomic_store_explicit(&g->names[number / NAMES_CHUNK],
                              k_zalloc_table(NAMES_CHUNK * sizeof(struct name)),
                              memory_order_release);
    *name_at(g, number) = (struct name){.id = id, .kind = kind};
    record_identifier(g, number, kind, id);
    return number;
}

static uint32_t user_of(struct identity *g, struct str id, uint32_t hash) {
    uint32_t number = find(g, ID_USER, id, hash);
    if (number != NUMBER_NONE) return number;
    lock_tables(g);
    number = new_number(g, ID_USER, str_dup(&g->strings, id));
    insert(&g->users, hash, number);
    g->user_count++;
    unlock_tables(g);
    return number;
}

static uint32_t anonymous_of(struct identity *g, struct str id, uint32_t hash) {
    uint32_t index = find(g, ID_ANONYMOUS, id, hash);
    if (index != NUMBER_NONE) return index;
    lock_tables(g);
    if (g->anonymous_count == g->anonymous_capacity) {
        g->anonymous_capacity = g->anonymous_capacity ? g->anonymous_capacity * 2 : 256;
        g->anonymous =
            k_realloc(g->anonymous, (size_t)g->anonymous_capacity * sizeof *g->anonymous);
    }
    index = g->anonymous_count++;
    g->anonymous[index] = (struct anonymous){.id = str_dup(&g->strings, id), .number = NUMBER_NONE};
    insert(&g->anonymous_ids, hash, index);
    unlock_tables(g);
    return index;
}

/* ---- edges ---- */

static uint32_t *first_pair_of_user(struct identity *g, uint32_t user) {
    if (user >= g->user_pairs_size) {
        uint32_t size = g->user_pairs_size ? g->user_pairs_size * 2 : 1024;
        while (size <= user) size *= 2;
        g->user_pairs = k_realloc(g->user_pairs, (size_t)size * sizeof *g->user_pairs);
        memset(g->user_pairs + g->user_pairs_size, 0,
               (size_t)(size - g->user_pairs_size) * sizeof *g->user_pairs);
        g->user_pairs_size = size;
    }
    return &g->user_pairs[user];
}

static bool earlier(const struct identity *g, const struct pair *a, const struct pair *b) {
    if (a->time_ms != b->time_ms) return a->time_ms < b->time_ms;
    return str_cmp(name_at(g, a->user)->id, name_at(g, b->user)->id) < 0;
}

static void choose_owner(struct identity *g, uint32_t index) {
    struct anonymous *a = &g->anonymous[index];
    a->owner = a->pairs;
    for (uint32_t p = a->pairs; p; p = g->pairs[p - 1].next_of_anonymous)
        if (earlier(g, &g->pairs[p - 1], &g->pairs[a->owner - 1])) a->owner = p;
    if (a->number != NUMBER_NONE)
        redirects_set(g->redirects, a->number, g->pairs[a->owner - 1].user);
}

static void add_pair(struct identity *g, const struct pair *pair) {
    if (g->pair_count == g->pair_capacity) {
        g->pair_capacity = g->pair_capacity ? g->pair_capacity * 2 : 256;
        g->pairs = k_realloc(g->pairs, (size_t)g->pair_capacity * sizeof *g->pairs);
    }
    struct pair *p = &g->pairs[g->pair_count++];
    uint32_t *of_user = first_pair_of_user(g, pair->user);
    *p = *pair;
    p->next_of_anonymous = g->anonymous[pair->anonymous].pairs;
    p->next_of_user = *of_user;
    g->anonymous[pair->anonymous].pairs = *of_user = g->pair_count;
}

/* Notes that an anonymous id and a user were one person at a moment; keeps the earliest. */
static void join(struct identity *g, enum edge_kind kind, uint32_t index, uint32_t user,
                 int64_t time_ms, struct event_key key) {
    uint32_t p = g->anonymous[index].pairs;
    while (p && g->pairs[p - 1].user != user) p = g->pairs[p - 1].next_of_anonymous;
    if (p && g->pairs[p - 1].time_ms <= time_ms) return;
    struct pair pair = {
        .anonymous = index, .user = user, .time_ms = time_ms, .key = key, .kind = kind};
    lock_tables(g);
    if (p) {
        pair.next_of_anonymous = g->pairs[p - 1].next_of_anonymous;
        pair.next_of_user = g->pairs[p - 1].next_of_user;
        g->pairs[p - 1] = pair;
    } else {
        add_pair(g, &pair);
        g->conflicts += kind == EDGE_CONFLICT;
    }
    struct edge edge = {.kind = kind,
                        .anonymous_id = g->anonymous[index].id,
                        .user_id = name_at(g, user)->id,
                        .time_ms = time_ms,
                        .key = key};
    record_edge(g, &edge);
    choose_owner(g, index);
    unlock_tables(g);
}

static uint32_t anonymous_number(struct identity *g, uint32_t index) {
    if (g->anonymous[index].number != NUMBER_NONE) return g->anonymous[index].number;
    lock_tables(g);
    g->anonymous[index].number = new_number(g, ID_ANONYMOUS, g->anonymous[index].id);
    if (g->anonymous[index].pairs) choose_owner(g, index);
    unlock_tables(g);
    return g->anonymous[index].number;
}

uint32_t identity_resolve(struct identity *g, const struct event_head *head,
                          const struct identity_ask *ask) {
    uint32_t anonymous = NUMBER_NONE;
    if (head->anonymous_id.n) anonymous = anonymous_of(g, head->anonymous_id, ask->anonymous_hash);
    if (head->user_id.n == 0) return anonymous_number(g, anonymous);
    uint32_t user = user_of(g, head->user_id, ask->user_hash);
    if (anonymous != NUMBER_NONE)
        join(g, EDGE_SEEN_TOGETHER, anonymous, user, head->time_ms, head->key);
    if (head->type == EVENT_ALIAS && head->related_id.n &&
        !str_eq(head->related_id, head->user_id)) {
        uint32_t hash = hash_of(head->related_id);
        bool known = find(g, ID_USER, head->related_id, hash) != NUMBER_NONE;
        join(g, known ? EDGE_CONFLICT : EDGE_ALIAS, anonymous_of(g, head->related_id, hash), user,
             head->time_ms, head->key);
    }
    return user;
}

/* ---- ahead ---- */

void identity_ask(const struct identity *g, const struct event_head *head,
                  struct identity_ask *out) {
    *out = (struct identity_ask){0};
    if (head->user_id.n) {
        out->user_hash = hash_of(head->user_id);
        __builtin_prefetch(&g->users.slots[out->user_hash & g->users.mask]);
    }
    if (head->anonymous_id.n) {
        out->anonymous_hash = hash_of(head->anonymous_id);
        __builtin_prefetch(&g->anonymous_ids.slots[out->anonymous_hash & g->anonymous_ids.mask]);
    }
}

/* What the table has for a hash, + 1: mostly the identifier that was asked for. */
static uint32_t guess(const struct table *t, uint32_t hash) {
    uint32_t i = hash & t->mask;
    while (t->slots[i].value_plus_1 && t->slots[i].hash != hash) i = (i + 1) & t->mask;
    return t->slots[i].value_plus_1;
}

void identity_fetch(const struct identity *g, struct identity_ask *ask) {
    if (ask->user_hash) ask->user = guess(&g->users, ask->user_hash);
    if (ask->user) __builtin_prefetch(name_at(g, ask->user - 1));
    if (ask->anonymous_hash) ask->anonymous = guess(&g->anonymous_ids, ask->anonymous_hash);
    if (ask->anonymous) __builtin_prefetch(&g->anonymous[ask->anonymous - 1]);
}

void identity_fetch_texts(const struct identity *g, const struct identity_ask *ask) {
    if (ask->user) __builtin_prefetch(name_at(g, ask->user - 1)->id.p);
    if (!ask->anonymous) return;
    const struct anonymous *a = &g->anonymous[ask->anonymous - 1];
    __builtin_prefetch(a->id.p);
    if (ask->user && a->pairs) __builtin_prefetch(&g->pairs[a->pairs - 1]);
}

/* ---- look-ups ---- */

uint32_t identity_find(struct identity *g, enum id_kind kind, struct str id) {
    pthread_rwlock_rdlock(&g->lock);
    uint32_t found = find(g, kind, id, hash_of(id));
    if (found != NUMBER_NONE && kind == ID_ANONYMOUS) {
        const struct anonymous *a = &g->anonymous[found];
        found = a->number != NUMBER_NONE ? a->number
                : a->owner               ? g->pairs[a->owner - 1].user
                                         : NUMBER_NONE;
    }
    pthread_rwlock_unlock(&g->lock);
    return found;
}

static struct edge edge_of(const struct identity *g, const struct pair *p) {
    return (struct edge){.kind = p->kind,
                         .anonymous_id = g->anonymous[p->anonymous].id,
                         .user_id = name_at(g, p->user)->id,
                         .time_ms = p->time_ms,
                         .key = p->key};
}

void identity_edges(struct identity *g, enum id_kind kind, struct str id,
                    void (*each)(void *, const struct edge *), void *ctx) {
    pthread_rwlock_rdlock(&g->lock);
    uint32_t found = find(g, kind, id, hash_of(id)), p = 0;
    if (found != NUMBER_NONE && kind == ID_ANONYMOUS) p = g->anonymous[found].pairs;
    if (found != NUMBER_NONE && kind == ID_USER && found < g->user_pairs_size)
        p = g->user_pairs[found];
    while (p) {
        struct edge edge = edge_of(g, &g->pairs[p - 1]);
        each(ctx, &edge);
        p = kind == ID_USER ? g->pairs[p - 1].next_of_user : g->pairs[p - 1].next_of_anonymous;
    }
    pthread_rwlock_unlock(&g->lock);
}

void identity_owned(struct identity *g, struct str user_id, void (*each)(void *, struct str),
                    void *ctx) {
    pthread_rwlock_rdlock(&g->lock);
    uint32_t user = find(g, ID_USER, user_id, hash_of(user_id));
    uint32_t p = user != NUMBER_NONE && user < g->user_pairs_size ? g->user_pairs[user] : 0;
    for (; p; p = g->pairs[p - 1].next_of_user) {
        const struct anonymous *a = &g->anonymous[g->pairs[p - 1].anonymous];
        if (a->owner == p) each(ctx, a->id);
    }
    pthread_rwlock_unlock(&g->lock);
}

uint64_t identity_count(struct identity *g, enum id_kind kind) {
    pthread_rwlock_rdlock(&g->lock);
    uint64_t count = kind == ID_USER ? g->user_count : g->anonymous_count;
    pthread_rwlock_unlock(&g->lock);
    return count;
}

uint64_t identity_conflicts(struct identity *g) {
    pthread_rwlock_rdlock(&g->lock);
    uint64_t count = g->conflicts;
    pthread_rwlock_unlock(&g->lock);
    return count;
}

/* ---- persistence ---- */

static int apply_record(struct identity *g, struct str payload) {
    struct reader r = reader_over(payload.p, payload.n);
    uint8_t what = reader_u8(&r);
    if (what == RECORD_IDENTIFIER) {
        uint64_t number = reader_varint(&r);
        uint8_t kind = reader_u8(&r);
        struct str id = reader_str(&r);
        if (r.bad || reader_left(&r) || kind > ID_ANONYMOUS ||
            number != redirects_numbers(g->redirects))
            return -1;
        uint32_t hash = hash_of(id);
        uint32_t made =
            kind == ID_USER ? user_of(g, id, hash) : anonymous_number(g, anonymous_of(g, id, hash));
        return made == number ? 0 : -1;
    }
    if (what != RECORD_EDGE) return -1;
    uint8_t kind = reader_u8(&r);
    struct str anonymous_id = reader_str(&r), user_id = reader_str(&r);
    int64_t time_ms = (int64_t)reader_u64(&r);
    struct event_key key = {.lo = reader_u64(&r)};
    key.hi = reader_u32(&r);
    if (r.bad || reader_left(&r) || kind > EDGE_CONFLICT || time_ms < EVENT_MIN_TIME ||
        time_ms >= EVENT_MAX_TIME)
        return -1;
    uint32_t user = find(g, ID_USER, user_id, hash_of(user_id));
    if (user == NUMBER_NONE) return -1;
    join(g, kind, anonymous_of(g, anonymous_id, hash_of(anonymous_id)), user, time_ms, key);
    return 0;
}

static void make_header(const struct identity *g, uint8_t header[HEADER_BYTES]) {
    const uint16_t major = LOG_MAJOR;
    memset(header, 0, HEADER_BYTES);
    memcpy(header, LOG_MAGIC, sizeof LOG_MAGIC);
    memcpy(header + 8, &major, 2);
    memcpy(header + STORE_ID_AT, g->store_id, STORE_ID_BYTES);
}

/* A later minor version may use what is zero now, and only that. */
static int check_header(const struct identity *g, const char *path, const uint8_t *header,
                        struct keel_error *err) {
    uint8_t ours[HEADER_BYTES];
    uint16_t major, minor;
    make_header(g, ours);
    if (!header || memcmp(header, ours, sizeof LOG_MAGIC) != 0)
        FAIL(err, CORRUPT, "%s is damaged: its header; restore it from a backup", path);
    memcpy(&major, header + 8, 2);
    memcpy(&minor, header + 10, 2);
    if (major > LOG_MAJOR)
        FAIL(err, UNSUPPORTED, "%s has format %u, this keel reads up to %d; use a newer keel", path,
             major, LOG_MAJOR);
    if (memcmp(header + STORE_ID_AT, ours + STORE_ID_AT, STORE_ID_BYTES) != 0)
        FAIL(err, CORRUPT, "%s belongs to another store; restore it from a backup", path);
    if (major != LOG_MAJOR || (minor == 0 && memcmp(header + 12, ours + 12, 4) != 0))
        FAIL(err, CORRUPT, "%s is damaged: its header; restore it from a backup", path);
    return 0;
}

static int apply_log(struct identity *g, const char *path, const uint8_t *p, uint64_t bytes,
                     struct keel_error *err) {
    struct reader r = reader_over(p, bytes);
    TRY(check_header(g, path, reader_take(&r, HEADER_BYTES), err));
    while (reader_left(&r)) {
        uint64_t at = (uint64_t)(r.p - p);
        uint32_t n = reader_u32(&r), sum = reader_u32(&r);
        const uint8_t *payload = reader_take(&r, n);
        struct str text = {(const char *)payload, n};
        if (!payload || sum != (uint32_t)hash_str(text) || apply_record(g, text) < 0)
            FAIL(err, CORRUPT, "%s is damaged at byte %llu; restore it from a backup", path,
                 (unsigned long long)at);
    }
    return 0;
}

int identity_load(struct identity *g, const char *path, uint64_t bytes, struct keel_error *err) {
    struct file_map map;
    g->saved_bytes = bytes;
    if (bytes == 0) return 0;
    TRY(file_map_open(path, &map, err));
    g->loading = true;
    int code = map.n < bytes ? error_set(err, KEEL_E_CORRUPT, "%s is shorter than %llu bytes", path,
                                         (unsigned long long)bytes)
                             : apply_log(g, path, map.p, bytes, err);
    g->loading = false;
    if (file_map_broken(&map)) code = error_set(err, KEEL_E_IO, "cannot read %s", path);
    file_map_close(&map);
    return code;
}

static int sync_folder(const char *path, struct keel_error *err) {
    char dir[4096];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return file_sync_dir(dir, err);
}

void identity_seal(struct identity *g) {
    K_ASSERT_OP(g->sealed.n, ==, 0);
    struct buf empty = g->sealed;
    g->sealed = g->unsaved;
    g->unsaved = empty;
}

int identity_save(struct identity *g, const char *path, uint64_t *out_bytes,
                  struct keel_error *err) {
    if (g->sealed.failed) FAIL(err, NO_MEMORY, "no memory for the identity log");
    int fd, code = 0;
    TRY(file_open(path, FILE_WRITE | FILE_CREATE, &fd, err));
    uint64_t at = g->saved_bytes;
    bool fresh = at == 0;
    if (fresh) {
        uint8_t header[HEADER_BYTES];
        make_header(g, header);
        code = file_pwrite_all(fd, header, sizeof header, 0, path, err);
        at = HEADER_BYTES;
    }
    /* What lies behind the noted end is of a flush that was never committed. */
    if (code == 0) code = file_truncate(fd, at, path, err);
    if (code == 0) code = file_pwrite_all(fd, g->sealed.p, g->sealed.n, at, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    if (code == 0 && fresh) code = sync_folder(path, err); /* its name, too */
    if (code == 0) *out_bytes = at + g->sealed.n;
    return code;
}

void identity_saved(struct identity *g, uint64_t bytes) {
    g->saved_bytes = bytes;
    buf_clear(&g->sealed);
}
