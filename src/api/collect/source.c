/* Sources in memory: implementation of the first half of source.h.
 *
 * A table is built whole and never changes: sources by number, and an open hash table of keys. What
 * is the same as in the table before keeps its place, and so its pointer. Texts, sources and tables
 * lie in one arena that only grows: the bytes of what changed, when it changes.
 *
 * Threads: `changing` guards the arena and the connection; readers load `table` and need no lock.
 */
#include "api/collect/source.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/hash.h"
#include "base/os.h"

enum { US_PER_SECOND = 1000000 };

struct key {
    struct str text; /* p NULL: a free slot */
    int64_t until_ms;
    const struct event_source *source;
};

struct table {
    uint32_t n, key_mask;
    uint32_t key_count;
    struct event_source **by_id;
    struct key *keys; /* [key_mask + 1] */
};

struct sources {
    _Atomic(const struct table *) table;
    struct sql *desk;
    struct arena arena;
    pthread_mutex_t changing;
    pthread_cond_t wake;
    bool stopping;
    bool watching; /* the thread runs */
    pthread_t watcher;
};

/* ---- looking up ---- */

static const struct key *find_key(const struct table *t, struct str key) {
    for (uint64_t i = hash_str(key);; i++) {
        const struct key *k = &t->keys[i & t->key_mask];
        if (!k->text.p || str_eq(k->text, key)) return k;
    }
}

static const struct event_source *find(struct sources *s, struct str key, int64_t now_ms) {
    const struct key *k = find_key(atomic_load_explicit(&s->table, memory_order_acquire), key);
    return k->text.p && now_ms < k->until_ms ? k->source : NULL;
}

const struct event_source *sources_find(struct sources *s, struct str key, int64_t now_ms) {
    const struct event_source *found = find(s, key, now_ms);
    if (found || key.n == 0 || key.n > SOURCE_MAX_KEY) return found;
    /* Perhaps it was made a moment ago. To ask whether the file has changed takes 5 us. */
    pthread_mutex_lock(&s->changing);
    bool changed = sql_changed(s->desk);
    pthread_mutex_unlock(&s->changing);
    if (!changed || sources_reload(s, NULL) < 0) return NULL;
    return find(s, key, now_ms);
}

const struct event_source *sources_by_id(struct sources *s, int64_t id) {
    const struct table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    uint32_t from = 0, to = t->n;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (t->by_id[middle]->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from < t->n && t->by_id[from]->id == id ? t->by_id[from] : NULL;
}

const struct event_source *sources_by_name(struct sources *s, struct str name) {
    const struct table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    for (uint32_t i = 0; i < t->n; i++)
        if (str_eq(t->by_id[i]->name, name)) return t->by_id[i];
    return NULL;
}

void sources_each(struct sources *s, void (*each)(void *ctx, const struct event_source *source),
                  void *ctx) {
    const struct table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    for (uint32_t i = 0; i < t->n; i++) each(ctx, t->by_id[i]);
}

/* ---- loading ---- */

struct loading {
    struct sources *s;
    const struct table *old;
    struct table *table; /* new, in the arena */
    uint32_t room;
    bool changed;
};

static bool same(const struct event_source *a, const struct event_source *b) {
    return a->id == b->id && str_eq(a->name, b->name) && str_eq(a->origins, b->origins) &&
           a->rate == b->rate && a->burst == b->burst && a->ip == b->ip &&
           a->enabled == b->enabled && a->strict == b->strict && a->archive == b->archive;
}

static int take_source(void *ctx, const struct source_row *row) {
    struct loading *l = ctx;
    const struct event_source *old = sources_by_id(l->s, row->source.id);
    if (l->table->n == l->room) return 0; /* came since they were counted: seen the next time */
    struct event_source *source = (struct event_source *)old;
    if (!old || !same(old, &row->source)) {
        source = arena_alloc(&l->s->arena, sizeof *source);
        *source = row->source;
        source->name = str_dup(&l->s->arena, row->source.name);
        source->origins = str_dup(&l->s->arena, row->source.origins);
        source->meter = old ? old->meter : arena_zalloc(&l->s->arena, sizeof(struct source_meter));
        l->changed = true;
    }
    l->table->by_id[l->table->n++] = source;
    return 0;
}

static const struct event_source *loaded(const struct table *t, int64_t id) {
    for (uint32_t from = 0, to = t->n; from < to;) {
        uint32_t middle = from + (to - from) / 2;
        if (t->by_id[middle]->id == id) return t->by_id[middle];
        if (t->by_id[middle]->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

static int take_keys(struct loading *l, struct keel_error *err) {
    struct table *t = l->table;
    struct sql_rows rows;
    int code;
    TRY(sql_ask(l->s->desk, &rows, err, "SELECT key, source, until_ms FROM source_key", ""));
    while ((code = sql_next(&rows, err)) == 1 && t->key_count <= t->key_mask / 2) {
        const struct event_source *source = loaded(t, sql_i64(&rows, 1));
        struct str text = sql_str(&rows, 0);
        if (!source) continue;
        struct key key = {.source = source,
                          .until_ms = sql_is_null(&rows, 2) ? INT64_MAX : sql_i64(&rows, 2)};
        const struct key *old = find_key(l->old, text);
        if (!old->text.p || old->source != source || old->until_ms != key.until_ms)
            l->changed = true;
        key.text = old->text.p ? old->text : str_dup(&l->s->arena, text);
        *(struct key *)find_key(t, text) = key;
        t->key_count++;
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

static int load(struct loading *l, struct keel_error *err) {
    struct arena *arena = &l->s->arena;
    struct table *t = l->table = arena_zalloc(arena, sizeof *t);
    int64_t sources, keys;
    TRY(sql_number(l->s->desk, 0, &sources, err, "SELECT count(*) FROM source", ""));
    TRY(sql_number(l->s->desk, 0, &keys, err, "SELECT count(*) FROM source_key", ""));
    l->room = (uint32_t)sources;
    uint32_t slots = 4;
    while ((int64_t)slots < 2 * (keys + 1)) slots *= 2;
    t->key_mask = slots - 1;
    t->by_id = arena_alloc(arena, (l->room + 1) * sizeof *t->by_id);
    t->keys = arena_zalloc(arena, slots * sizeof *t->keys);
    TRY(source_list(l->s->desk, 0, take_source, l, err));
    TRY(take_keys(l, err));
    if (t->n != l->old->n || t->key_count != l->old->key_count) l->changed = true;
    return 0;
}

/* Without a transaction, which would wait for writers: what is changed between two reads makes
 * sql_changed true once more. The caller has `changing`. */
static int reload(struct sources *s, struct keel_error *err) {
    struct loading l = {.s = s, .old = atomic_load_explicit(&s->table, memory_order_relaxed)};
    struct arena_mark mark = arena_mark(&s->arena);
    int code = load(&l, err);
    if (code == 0 && l.changed)
        atomic_store_explicit(&s->table, l.table, memory_order_release);
    else
        arena_rewind(&s->arena, mark);
    return code;
}

int sources_reload(struct sources *s, struct keel_error *err) {
    pthread_mutex_lock(&s->changing);
    int code = reload(s, err);
    pthread_mutex_unlock(&s->changing);
    return code;
}

/* ---- watching ---- */

static void wait_a_moment(struct sources *s) {
    struct timespec until;
    int64_t at = monotonic_us() + SOURCE_RELOAD_MS * 1000;
    until.tv_sec = at / US_PER_SECOND;
    until.tv_nsec = at % US_PER_SECOND * 1000;
    pthread_cond_timedwait(&s->wake, &s->changing, &until);
}

static void *watch(void *ctx) {
    struct sources *s = ctx;
    bool again = false;
    pthread_mutex_lock(&s->changing);
    while (!s->stopping) {
        wait_a_moment(s);
        if (!s->stopping && (sql_changed(s->desk) || again)) again = reload(s, NULL) < 0;
    }
    pthread_mutex_unlock(&s->changing);
    return NULL;
}

int sources_open(const char *dir, struct sources **out, struct keel_error *err) {
    static const struct key no_keys[1];
    static const struct table nothing = {.keys = (struct key *)no_keys};
    char path[4096];
    if (snprintf(path, sizeof path, "%s/desk.db", dir) >= (int)sizeof path)
        FAIL(err, INVALID, "the path of %.100s… is too long", dir);
    struct sources *s = k_zalloc(sizeof *s);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->changing, NULL);
    arena_init(&s->arena, SIZE_MAX / 2);
    atomic_init(&s->table, &nothing);
    int code = sql_open(path, SQL_CREATE, &s->desk, err);
    if (code == 0) code = source_tables(s->desk, err);
    if (code == 0) code = reload(s, err);
    if (code == 0) {
        s->watching = pthread_create(&s->watcher, NULL, watch, s) == 0;
        if (!s->watching) code = error_set(err, KEEL_E_NO_MEMORY, "no thread to watch %s", path);
    }
    if (code < 0) {
        sources_close(s);
        return code;
    }
    *out = s;
    return 0;
}

void sources_close(struct sources *s) {
    if (!s) return;
    pthread_mutex_lock(&s->changing);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->changing);
    if (s->watching) pthread_join(s->watcher, NULL);
    sql_close(s->desk);
    arena_release(&s->arena);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->changing);
    k_free(s);
}

/* ---- origins and rates ---- */

/* One '*' stands for any text: all hosts of a domain. */
static bool origin_fits(struct str pattern, struct str origin) {
    const char *star = memchr(pattern.p, '*', pattern.n);
    if (!star) return str_eq_nocase(pattern, origin);
    struct str head = {pattern.p, (size_t)(star - pattern.p)};
    struct str tail = {star + 1, pattern.n - head.n - 1};
    return origin.n >= head.n + tail.n && str_eq_nocase((struct str){origin.p, head.n}, head) &&
           str_eq_nocase((struct str){origin.p + origin.n - tail.n, tail.n}, tail);
}

bool source_allows_origin(const struct event_source *source, struct str origin) {
    struct str left = str_trim(source->origins);
    if (left.n == 0) return true;
    while (left.n) {
        const char *space = memchr(left.p, ' ', left.n);
        size_t n = space ? (size_t)(space - left.p) : left.n;
        if (origin_fits((struct str){left.p, n}, origin)) return true;
        left = str_trim((struct str){left.p + n, left.n - n});
    }
    return false;
}

/* By how much a source is ahead of what its rate and burst allow, in microseconds. */
static int64_t ahead_us(const struct event_source *source, int64_t free_us, int64_t now_us) {
    int64_t burst = source->burst ? source->burst : source->rate;
    return free_us - now_us - burst * US_PER_SECOND / source->rate;
}

static int64_t wait_ms(int64_t ahead) { return ahead <= 0 ? 0 : ahead / 1000 + 1; }

int64_t source_wait_ms(const struct event_source *source, int64_t now_us) {
    if (source->rate == 0) return 0;
    return wait_ms(ahead_us(source, atomic_load(&source->meter->free_us), now_us));
}

int64_t source_take(const struct event_source *source, uint32_t events, int64_t now_us) {
    if (source->rate == 0) return 0;
    int64_t before = atomic_load(&source->meter->free_us), after;
    do {
        int64_t wait = wait_ms(ahead_us(source, before, now_us));
        if (wait) return wait;
        after = (before > now_us ? before : now_us) + events * INT64_C(1000000) / source->rate;
    } while (!atomic_compare_exchange_weak(&source->meter->free_us, &before, after));
    return 0;
}
