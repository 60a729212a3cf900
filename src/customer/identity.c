/* Implementation of identity.h.
 *
 * Two hash tables (user ids, anonymous ids) and a list of pairs (anonymous, user, earliest time). A
 * pair is recorded when it is new or earlier than known, so the log grows with people, not with
 * events. The owner of an anonymous id is the user of its earliest pair.
 *
 * Indexed: opened for reading only, with identity.index at hand, there are no tables. The redirects
 * come from the index, look-ups follow it into the log. Whoever needs more than look-ups, and any
 * look-up that finds damage, loads the tables from the log: 350 ns an identifier.
 *
 * Locks: `lock` is taken for writing when a table changes and for reading by look-ups from other
 * threads; the ingesting thread, the only writer, looks up without it.
 */
#include "customer/identity.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/os.h"
#include "customer/identity_index.h"
#include "customer/identity_log.h"

enum {
    NAMES_CHUNK = 1 << 16,
    NAMES_CHUNKS = 1 << 16,
    PAIRS_CHUNK = 1 << 17, /* 6 MB: whole large pages, as those of anonymous ids */
    PAIRS_CHUNKS = 1 << 15,
    FIRST_SLOTS = 1024,
    STORE_ID_BYTES = 16,
    PATH_BYTES = 4096,
    INDEXED_EDGES_MOST = 256, /* of one identifier; beyond that the tables are faster */
};

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

/* A moment of the log. */
struct log_end {
    uint64_t bytes;
    uint32_t numbers, version; /* of the redirects */
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
    struct anonymous *anonymous[NAMES_CHUNKS]; /* by index */
    uint32_t anonymous_count;
    struct pair *pairs[PAIRS_CHUNKS];
    uint32_t pair_count;
    uint32_t numbers;
    struct buf unsaved; /* records since the last seal */
    struct buf sealed;  /* of the flush under way, for its thread */
    struct log_end saved, sealed_end;
    uint64_t indexed_bytes; /* of the log, by identity.index */
    bool loading;
    bool apart; /* loading tables beside redirects that are there already */

    char *log_path; /* and the map: while there is an index, or it is made */
    struct file_map log;
    struct identity_index *index;
    _Atomic bool indexed;      /* there are no tables */
    struct keel_error failure; /* lock: why there will be none; code 0: nothing failed */
};

static bool is_indexed(const struct identity *g) {
    return atomic_load_explicit(&g->indexed, memory_order_acquire);
}

/* ---- tables ---- */

static struct name *name_at(const struct identity *g, uint32_t number) {
    struct name *chunk =
        atomic_load_explicit(&g->names[number / NAMES_CHUNK], memory_order_acquire);
    return &chunk[number % NAMES_CHUNK];
}

static struct anonymous *anonymous_at(const struct identity *g, uint32_t index) {
    return &g->anonymous[index / NAMES_CHUNK][index % NAMES_CHUNK];
}

static struct pair *pair_at(const struct identity *g, uint32_t index) {
    return &g->pairs[index / PAIRS_CHUNK][index % PAIRS_CHUNK];
}

static struct str id_of(const struct identity *g, enum id_kind kind, uint32_t value) {
    return kind == ID_USER ? name_at(g, value)->id : anonymous_at(g, value)->id;
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
    identity_index_close(g->index);
    file_map_close(&g->log);
    k_free(g->log_path);
    for (uint32_t i = 0; i < NAMES_CHUNKS && g->names[i]; i++) k_free(g->names[i]);
    k_free(g->user_pairs);
    k_free(g->users.slots);
    k_free(g->anonymous_ids.slots);
    for (uint32_t i = 0; i < NAMES_CHUNKS && g->anonymous[i]; i++) k_free(g->anonymous[i]);
    for (uint32_t i = 0; i < PAIRS_CHUNKS && g->pairs[i]; i++) k_free(g->pairs[i]);
    buf_release(&g->unsaved);
    buf_release(&g->sealed);
    arena_release(&g->strings);
    pthread_rwlock_destroy(&g->lock);
    k_free(g);
}

/* ---- records ---- */

/* A failure to buffer is kept in unsaved.failed and reported by the next save. */
static void record(struct identity *g, const struct identity_record *r) {
    if (!g->loading) identity_log_add(&g->unsaved, r);
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
    uint32_t number = g->numbers++;
    if (!g->apart) {
        uint32_t same = redirects_add_number(g->redirects);
        K_ASSERT_OP(same, ==, number);
    }
    if (!g->names[number / NAMES_CHUNK])
        atomic_store_explicit(&g->names[number / NAMES_CHUNK],
                              k_zalloc_table(NAMES_CHUNK * sizeof(struct name)),
                              memory_order_release);
    *name_at(g, number) = (struct name){.id = id, .kind = kind};
    record(g, &(struct identity_record){
                  .type = RECORD_IDENTIFIER, .number = number, .kind = kind, .id = id});
    return number;
}

static uint32_t user_of(struct identity *g, struct str id, uint32_t hash) {
    uint32_t number = find(g, ID_USER, id, hash);
    if (number != NUMBER_NONE) return number;
    lock_tables(g);
    number = new_number(g, ID_USER, str_dup(&g->strings, id));
    insert(&g->users, hash, number);
    unlock_tables(g);
    return number;
}

static uint32_t anonymous_of(struct identity *g, struct str id, uint32_t hash) {
    uint32_t index = find(g, ID_ANONYMOUS, id, hash);
    if (index != NUMBER_NONE) return index;
    lock_tables(g);
    index = g->anonymous_count++;
    if (!g->anonymous[index / NAMES_CHUNK])
        g->anonymous[index / NAMES_CHUNK] = k_alloc_table(NAMES_CHUNK * sizeof(struct anonymous));
    *anonymous_at(g, index) =
        (struct anonymous){.id = str_dup(&g->strings, id), .number = NUMBER_NONE};
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
    struct anonymous *a = anonymous_at(g, index);
    a->owner = a->pairs;
    for (uint32_t p = a->pairs; p; p = pair_at(g, p - 1)->next_of_anonymous)
        if (earlier(g, pair_at(g, p - 1), pair_at(g, a->owner - 1))) a->owner = p;
    if (a->number != NUMBER_NONE && !g->apart)
        redirects_set(g->redirects, a->number, pair_at(g, a->owner - 1)->user);
}

static void add_pair(struct identity *g, const struct pair *pair) {
    const uint32_t index = g->pair_count++;
    if (!g->pairs[index / PAIRS_CHUNK])
        g->pairs[index / PAIRS_CHUNK] = k_alloc_table(PAIRS_CHUNK * sizeof(struct pair));
    struct pair *p = pair_at(g, index);
    uint32_t *of_user = first_pair_of_user(g, pair->user);
    *p = *pair;
    p->next_of_anonymous = anonymous_at(g, pair->anonymous)->pairs;
    p->next_of_user = *of_user;
    anonymous_at(g, pair->anonymous)->pairs = *of_user = g->pair_count;
}

/* Notes that an anonymous id and a user were one person at a moment; keeps the earliest. */
static void join(struct identity *g, enum edge_kind kind, uint32_t index, uint32_t user,
                 int64_t time_ms, struct event_key key) {
    uint32_t p = anonymous_at(g, index)->pairs;
    while (p && pair_at(g, p - 1)->user != user) p = pair_at(g, p - 1)->next_of_anonymous;
    if (p && pair_at(g, p - 1)->time_ms <= time_ms) return;
    struct pair pair = {
        .anonymous = index, .user = user, .time_ms = time_ms, .key = key, .kind = kind};
    lock_tables(g);
    if (p) {
        pair.next_of_anonymous = pair_at(g, p - 1)->next_of_anonymous;
        pair.next_of_user = pair_at(g, p - 1)->next_of_user;
        *pair_at(g, p - 1) = pair;
    } else {
        add_pair(g, &pair);
    }
    record(g, &(struct identity_record){.type = RECORD_EDGE,
                                        .edge = {.kind = kind,
                                                 .anonymous_id = anonymous_at(g, index)->id,
                                                 .user_id = name_at(g, user)->id,
                                                 .time_ms = time_ms,
                                                 .key = key}});
    choose_owner(g, index);
    unlock_tables(g);
}

static uint32_t anonymous_number(struct identity *g, uint32_t index) {
    if (anonymous_at(g, index)->number != NUMBER_NONE) return anonymous_at(g, index)->number;
    lock_tables(g);
    anonymous_at(g, index)->number = new_number(g, ID_ANONYMOUS, anonymous_at(g, index)->id);
    if (anonymous_at(g, index)->pairs) choose_owner(g, index);
    unlock_tables(g);
    return anonymous_at(g, index)->number;
}

uint32_t identity_resolve(struct identity *g, const struct event_head *head,
                          const struct identity_ask *ask) {
    K_ASSERT(!is_indexed(g));
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
    if (ask->anonymous) __builtin_prefetch(anonymous_at(g, ask->anonymous - 1));
}

void identity_fetch_texts(const struct identity *g, const struct identity_ask *ask) {
    if (ask->user) __builtin_prefetch(name_at(g, ask->user - 1)->id.p);
    if (!ask->anonymous) return;
    const struct anonymous *a = anonymous_at(g, ask->anonymous - 1);
    __builtin_prefetch(a->id.p);
    if (ask->user && a->pairs) __builtin_prefetch(pair_at(g, a->pairs - 1));
}

/* ---- look-ups in the index: 0, or -1 if something is damaged ---- */

static bool before(const struct edge *a, const struct edge *b) {
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : str_cmp(a->user_id, b->user_id) < 0;
}

static int find_indexed(const struct identity_index *x, enum id_kind kind, struct str id,
                        uint32_t *out) {
    struct identity_cursor c;
    struct identity_record r;
    struct edge owner = {.time_ms = INT64_MAX};
    int more;
    *out = NUMBER_NONE;
    if (identity_index_seek(x, id, &c) < 0) return -1;
    while ((more = identity_index_next(&c, &r)) == 1) {
        if (r.type == RECORD_IDENTIFIER && r.kind == kind && str_eq(r.id, id)) {
            *out = r.number;
            return 0;
        }
        if (r.type == RECORD_EDGE && kind == ID_ANONYMOUS && str_eq(r.edge.anonymous_id, id) &&
            before(&r.edge, &owner))
            owner = r.edge;
    }
    if (more < 0 || owner.time_ms == INT64_MAX) return more;
    return find_indexed(x, ID_USER, owner.user_id, out);
}

/* The pairs of an identifier, each with its earliest record, in the order of their first. */
struct edge_list {
    uint32_t n;
    struct edge edges[INDEXED_EDGES_MOST];
};

static bool same_pair(const struct edge *a, const struct edge *b) {
    return str_eq(a->anonymous_id, b->anonymous_id) && str_eq(a->user_id, b->user_id);
}

static int edges_indexed(const struct identity_index *x, enum id_kind kind, struct str id,
                         struct edge_list *out) {
    struct identity_cursor c;
    struct identity_record r;
    int more;
    out->n = 0;
    if (identity_index_seek(x, id, &c) < 0) return -1;
    while ((more = identity_index_next(&c, &r)) == 1) {
        if (r.type != RECORD_EDGE) continue;
        if (!str_eq(kind == ID_USER ? r.edge.user_id : r.edge.anonymous_id, id)) continue;
        uint32_t i = 0;
        while (i < out->n && !same_pair(&out->edges[i], &r.edge)) i++;
        if (i == INDEXED_EDGES_MOST) return -1;
        out->edges[i] = r.edge; /* a pair's later record is an earlier moment */
        if (i == out->n) out->n++;
    }
    return more;
}

/* ---- look-ups ---- */

/* For a look-up that the index cannot answer: are there tables now? */
static bool load_tables(struct identity *g) {
    struct keel_error err;
    return identity_whole(g, &err) == 0;
}

struct str identity_id(struct identity *g, uint32_t number, enum id_kind *out_kind) {
    struct str id = {"", 0};
    if (out_kind) *out_kind = ID_USER;
    if (is_indexed(g)) {
        if (out_kind) *out_kind = identity_index_kind(g->index, number);
        if (identity_index_name(g->index, number, &id) == 0 || !load_tables(g)) return id;
    }
    const struct name *n = name_at(g, number);
    if (out_kind) *out_kind = n->kind;
    return n->id;
}

enum id_kind identity_kind(const struct identity *g, uint32_t number) {
    return is_indexed(g) ? identity_index_kind(g->index, number) : name_at(g, number)->kind;
}

uint32_t identity_find(struct identity *g, enum id_kind kind, struct str id) {
    uint32_t found;
    if (is_indexed(g)) {
        if (find_indexed(g->index, kind, id, &found) == 0) return found;
        if (!load_tables(g)) return NUMBER_NONE;
    }
    pthread_rwlock_rdlock(&g->lock);
    found = find(g, kind, id, hash_of(id));
    if (found != NUMBER_NONE && kind == ID_ANONYMOUS) {
        const struct anonymous *a = anonymous_at(g, found);
        found = a->number != NUMBER_NONE ? a->number
                : a->owner               ? pair_at(g, a->owner - 1)->user
                                         : NUMBER_NONE;
    }
    pthread_rwlock_unlock(&g->lock);
    return found;
}

static struct edge edge_of(const struct identity *g, const struct pair *p) {
    return (struct edge){.kind = p->kind,
                         .anonymous_id = anonymous_at(g, p->anonymous)->id,
                         .user_id = name_at(g, p->user)->id,
                         .time_ms = p->time_ms,
                         .key = p->key};
}

void identity_edges(struct identity *g, enum id_kind kind, struct str id,
                    void (*each)(void *, const struct edge *), void *ctx) {
    if (is_indexed(g)) {
        struct edge_list list;
        if (edges_indexed(g->index, kind, id, &list) == 0) {
            while (list.n > 0) each(ctx, &list.edges[--list.n]);
            return;
        }
        if (!load_tables(g)) return;
    }
    pthread_rwlock_rdlock(&g->lock);
    uint32_t found = find(g, kind, id, hash_of(id)), p = 0;
    if (found != NUMBER_NONE && kind == ID_ANONYMOUS) p = anonymous_at(g, found)->pairs;
    if (found != NUMBER_NONE && kind == ID_USER && found < g->user_pairs_size)
        p = g->user_pairs[found];
    while (p) {
        struct edge edge = edge_of(g, pair_at(g, p - 1));
        each(ctx, &edge);
        p = kind == ID_USER ? pair_at(g, p - 1)->next_of_user
                            : pair_at(g, p - 1)->next_of_anonymous;
    }
    pthread_rwlock_unlock(&g->lock);
}

void identity_owned(struct identity *g, struct str user_id, void (*each)(void *, struct str),
                    void *ctx) {
    if (!load_tables(g)) return;
    pthread_rwlock_rdlock(&g->lock);
    uint32_t user = find(g, ID_USER, user_id, hash_of(user_id));
    uint32_t p = user != NUMBER_NONE && user < g->user_pairs_size ? g->user_pairs[user] : 0;
    for (; p; p = pair_at(g, p - 1)->next_of_user) {
        const struct anonymous *a = anonymous_at(g, pair_at(g, p - 1)->anonymous);
        if (a->owner == p) each(ctx, a->id);
    }
    pthread_rwlock_unlock(&g->lock);
}

/* ---- persistence ---- */

static void path_of(const char *dir, const char *name, char out[PATH_BYTES]) {
    snprintf(out, PATH_BYTES, "%s/%s", dir, name);
}

static bool apply_record(struct identity *g, const struct identity_record *r) {
    if (r->type == RECORD_IDENTIFIER) {
        uint32_t hash = hash_of(r->id);
        if (r->number != g->numbers) return false;
        return r->number == (r->kind == ID_USER
                                 ? user_of(g, r->id, hash)
                                 : anonymous_number(g, anonymous_of(g, r->id, hash)));
    }
    const struct edge *e = &r->edge;
    uint32_t user = find(g, ID_USER, e->user_id, hash_of(e->user_id));
    if (user == NUMBER_NONE) return false;
    join(g, e->kind, anonymous_of(g, e->anonymous_id, hash_of(e->anonymous_id)), user, e->time_ms,
         e->key);
    return true;
}

/* The log as far as it was saved, mapped, and its header checked. */
static int map_log(struct identity *g, const char *dir, uint64_t bytes, struct keel_error *err) {
    char path[PATH_BYTES];
    path_of(dir, "identity.log", path);
    k_free(g->log_path);
    g->log_path = k_strdup(path);
    TRY(file_map_open(path, &g->log, err));
    if (g->log.n < bytes)
        FAIL(err, CORRUPT, "%s is shorter than %llu bytes", path, (unsigned long long)bytes);
    const uint8_t *header = bytes < IDENTITY_LOG_HEADER_BYTES ? NULL : g->log.p;
    TRY(identity_log_check_header(g->store_id, path, header, err));
    g->saved.bytes = bytes;
    return 0;
}

static int apply_log(struct identity *g, struct keel_error *err) {
    struct reader r = reader_over(g->log.p + IDENTITY_LOG_HEADER_BYTES,
                                  g->saved.bytes - IDENTITY_LOG_HEADER_BYTES);
    g->loading = true;
    uint64_t damage = 0;
    while (reader_left(&r) && !damage) {
        struct identity_record record;
        uint64_t at = (uint64_t)(r.p - g->log.p);
        if (!identity_log_next(&r, &record) || !apply_record(g, &record)) damage = at;
    }
    g->loading = false;
    if (file_map_broken(&g->log)) FAIL(err, IO, "cannot read %s", g->log_path);
    if (damage)
        FAIL(err, CORRUPT, "%s is damaged at byte %llu; restore it from a backup", g->log_path,
             (unsigned long long)damage);
    return 0;
}

static struct identity_log_view log_view(const struct identity *g) {
    return (struct identity_log_view){g->log.p, g->saved.bytes, g->store_id};
}

/* NULL: there is none that fits, for whatever reason; it will be made. */
static struct identity_index *open_index(struct identity *g, const char *dir) {
    char path[PATH_BYTES];
    struct identity_index *index;
    struct identity_log_view log = log_view(g);
    path_of(dir, "identity.index", path);
    if (identity_index_open(path, &log, &index, NULL) < 0) return NULL;
    g->indexed_bytes = g->saved.bytes;
    return index;
}

int identity_load(struct identity *g, const char *dir, uint64_t bytes, struct keel_error *err) {
    if (bytes == 0) return 0;
    TRY(map_log(g, dir, bytes, err));
    TRY(apply_log(g, err));
    g->saved.numbers = redirects_numbers(g->redirects);
    g->saved.version = redirects_version(g->redirects);
    identity_index_close(open_index(g, dir));
    file_map_close(&g->log);
    return 0;
}

int identity_load_index(struct identity *g, const char *dir, uint64_t bytes,
                        struct keel_error *err) {
    if (bytes == 0) return 0;
    TRY(map_log(g, dir, bytes, err));
    g->index = open_index(g, dir);
    if (!g->index) return apply_log(g, err);
    identity_index_redirects(g->index, g->redirects);
    atomic_store(&g->indexed, true);
    return 0;
}

int identity_whole(struct identity *g, struct keel_error *err) {
    if (!is_indexed(g)) return 0;
    pthread_rwlock_wrlock(&g->lock);
    if (is_indexed(g) && g->failure.code == 0) {
        g->apart = true;
        int code = apply_log(g, &g->failure);
        if (code == 0 && g->numbers != redirects_numbers(g->redirects))
            code = error_set(&g->failure, KEEL_E_CORRUPT, "identity.index is damaged; remove it");
        g->apart = false;
        if (code == 0) atomic_store_explicit(&g->indexed, false, memory_order_release);
    }
    if (g->failure.code && err) *err = g->failure;
    int code = g->failure.code;
    pthread_rwlock_unlock(&g->lock);
    return code;
}

int identity_sound(struct identity *g, struct keel_error *err) {
    pthread_rwlock_rdlock(&g->lock);
    int code = g->failure.code;
    if (code && err) *err = g->failure;
    pthread_rwlock_unlock(&g->lock);
    if (code == 0 && file_map_broken(&g->log)) FAIL(err, IO, "cannot read %s", g->log_path);
    return code;
}

void identity_seal(struct identity *g) {
    K_ASSERT_OP(g->sealed.n, ==, 0);
    struct buf empty = g->sealed;
    g->sealed = g->unsaved;
    g->unsaved = empty;
    g->sealed_end.numbers = redirects_numbers(g->redirects);
    g->sealed_end.version = redirects_version(g->redirects);
}

int identity_save(struct identity *g, const char *dir, uint64_t *out_bytes,
                  struct keel_error *err) {
    char path[PATH_BYTES];
    if (g->sealed.failed) FAIL(err, NO_MEMORY, "no memory for the identity log");
    int fd, code = 0;
    path_of(dir, "identity.log", path);
    TRY(file_open(path, FILE_WRITE | FILE_CREATE, &fd, err));
    uint64_t at = g->saved.bytes;
    bool fresh = at == 0;
    if (fresh) {
        uint8_t header[IDENTITY_LOG_HEADER_BYTES];
        identity_log_header(g->store_id, header);
        code = file_pwrite_all(fd, header, sizeof header, 0, path, err);
        at = sizeof header;
    }
    /* What lies behind the noted end is of a flush that was never committed. */
    if (code == 0) code = file_truncate(fd, at, path, err);
    if (code == 0) code = file_pwrite_all(fd, g->sealed.p, g->sealed.n, at, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    if (code == 0 && fresh) code = file_sync_dir(dir, err); /* its name, too */
    if (code == 0) *out_bytes = at + g->sealed.n;
    return code;
}

void identity_saved(struct identity *g, uint64_t bytes) {
    g->saved = g->sealed_end;
    g->saved.bytes = bytes;
    buf_clear(&g->sealed);
}

int identity_write_index(struct identity *g, const char *dir, struct keel_error *err) {
    char path[PATH_BYTES];
    struct redirect_view redirects;
    if (is_indexed(g) || g->saved.bytes == g->indexed_bytes) return 0;
    TRY(map_log(g, dir, g->saved.bytes, err));
    struct identity_log_view log = log_view(g);
    path_of(dir, "identity.index", path);
    redirects_view(g->redirects, &redirects);
    int code =
        identity_index_write(path, &log, &redirects, g->saved.numbers, g->saved.version, err);
    redirect_view_release(&redirects);
    file_map_close(&g->log);
    if (code == 0) g->indexed_bytes = g->saved.bytes;
    return code;
}

static int check_index(struct identity *g, const char *dir, uint64_t bytes,
                       struct keel_error *err) {
    char path[PATH_BYTES];
    struct redirect_view moves;
    TRY(map_log(g, dir, bytes, err));
    TRY(apply_log(g, err));
    struct identity_log_view log = log_view(g);
    path_of(dir, "identity.index", path);
    TRY(identity_index_open(path, &log, &g->index, err));
    redirects_view(g->redirects, &moves);
    int code = identity_index_check(g->index, &moves, err);
    redirect_view_release(&moves);
    return code;
}

int identity_check_index(const char *dir, const uint8_t *store_id, uint64_t bytes,
                         struct keel_error *err) {
    struct redirects *redirects = redirects_new();
    struct identity *g = identity_new(redirects, store_id);
    int code = check_index(g, dir, bytes, err);
    identity_free(g);
    redirects_free(redirects);
    return code;
}
