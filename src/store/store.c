/* Implementation of store.h: opening, ingest, snapshots. Flush and compaction are in compact.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "base/time.h"
#include "store/store_int.h"

/* Recovery fills a head beyond its flushing point, because a flush needs the open journal; so does
 * a read-only store, which never flushes. */
enum { HEAD_SLACK = 4 };

/* ---- lexicons ---- */

struct lexicon *store_lexicon(struct store *s, uint32_t column) {
    pthread_mutex_lock(&s->lexicons_lock);
    struct lexicon **table = s->lexicons;
    if (column >= s->lexicon_capacity) {
        uint32_t capacity = s->lexicon_capacity ? s->lexicon_capacity : 256;
        while (capacity <= column) capacity *= 2;
        struct lexicon **grown = k_zalloc(capacity * sizeof *grown);
        if (table) memcpy(grown, table, s->lexicon_capacity * sizeof *grown);
        k_free(table);
        s->lexicons = table = grown;
        s->lexicon_capacity = capacity;
    }
    if (!table[column]) table[column] = lexicon_new();
    struct lexicon *l = table[column];
    pthread_mutex_unlock(&s->lexicons_lock);
    return l;
}

static struct lexicon *lexicon_of(void *ctx, uint32_t column) { return store_lexicon(ctx, column); }

struct part_env store_part_env(struct store *s) {
    struct part_env env = {.schema = s->schema, .lexicon_of = lexicon_of, .ctx = s};
    memcpy(env.store_id, s->manifest.store_id, sizeof env.store_id);
    return env;
}

void store_part_path(const struct store *s, uint64_t id, char *out, size_t size) {
    snprintf(out, size, "%s/parts/%012llu.part", s->dir, (unsigned long long)id);
}

/* ---- references ---- */

struct held_part *held_part_new(uint64_t id, struct part *part) {
    struct held_part *h = k_zalloc(sizeof *h);
    h->refs = 1;
    h->id = id;
    h->part = part;
    return h;
}

static void held_part_unref(struct held_part *h) {
    if (atomic_fetch_sub(&h->refs, 1) != 1) return;
    if (h->doomed) (void)!file_remove(part_path(h->part), NULL);
    part_close(h->part);
    k_free(h);
}

struct part_set *part_set_ref(struct part_set *set) {
    atomic_fetch_add(&set->refs, 1);
    return set;
}

void part_set_unref(struct store *s, struct part_set *set) {
    (void)s;
    if (!set || atomic_fetch_sub(&set->refs, 1) != 1) return;
    for (uint32_t i = 0; i < set->count; i++) held_part_unref(set->parts[i]);
    k_free(set->key_spans);
    k_free(set);
}

static int by_bucket(const void *a, const void *b) {
    const struct source *x = part_source((*(struct held_part *const *)a)->part);
    const struct source *y = part_source((*(struct held_part *const *)b)->part);
    if (x->bucket != y->bucket) return x->bucket < y->bucket ? -1 : 1;
    if (x->first_arrival != y->first_arrival) return x->first_arrival < y->first_arrival ? -1 : 1;
    return (x->block_first[0] > y->block_first[0]) - (x->block_first[0] < y->block_first[0]);
}

static bool is_in(uint64_t id, const uint64_t *ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

static void find_key_spans(struct part_set *set) {
    set->key_spans = k_alloc_array(set->count, sizeof *set->key_spans);
    for (uint32_t i = 0, end; i < set->count; i = end) {
        const struct source *first = part_source(set->parts[i]->part);
        struct key_span span = {INT64_MAX, INT64_MIN};
        for (end = i; end < set->count; end++) {
            const struct source *s = part_source(set->parts[end]->part);
            if (s->bucket != first->bucket || s->first_arrival != first->first_arrival) break;
            if (s->min_time < span.min_time) span.min_time = s->min_time;
            if (s->max_time > span.max_time) span.max_time = s->max_time;
        }
        for (uint32_t k = i; k < end; k++) set->key_spans[k] = span;
    }
}

struct part_set *part_set_change(const struct part_set *from, const uint64_t *without,
                                 uint32_t without_count, struct held_part *const *add,
                                 uint32_t add_count) {
    uint32_t most = (from ? from->count : 0) + add_count;
    struct part_set *set = k_zalloc(sizeof *set + most * sizeof set->parts[0]);
    set->refs = 1;
    for (uint32_t i = 0; from && i < from->count; i++) {
        if (is_in(from->parts[i]->id, without, without_count)) continue;
        atomic_fetch_add(&from->parts[i]->refs, 1);
        set->parts[set->count++] = from->parts[i];
    }
    for (uint32_t i = 0; i < add_count; i++) set->parts[set->count++] = add[i];
    if (set->count) qsort(set->parts, set->count, sizeof set->parts[0], by_bucket);
    find_key_spans(set);
    return set;
}

struct held_head *held_head_new(struct store *s) {
    struct held_head *h = k_zalloc(sizeof *h);
    h->refs = 1;
    h->head =
        head_new(s->schema, lexicon_of, s, s->options.head_rows * HEAD_SLACK, s->manifest.arrivals);
    return h;
}

void held_head_unref(struct held_head *h) {
    if (!h || atomic_fetch_sub(&h->refs, 1) != 1) return;
    head_free(h->head);
    k_free(h);
}

void held_view_unref(struct held_view *v) {
    if (!v || atomic_fetch_sub(&v->refs, 1) != 1) return;
    head_view_free(v->view);
    held_head_unref(v->head);
    k_free(v);
}

/* ---- open and close ---- */

struct part_list {
    struct store *store;
    struct held_part **parts;
    uint32_t count, capacity;
    struct keel_error *err;
};

static int open_part(void *ctx, const struct manifest_part *entry) {
    struct part_list *list = ctx;
    struct part_env env = store_part_env(list->store);
    char path[4096];
    struct part *part;
    store_part_path(list->store, entry->id, path, sizeof path);
    if (entry->id >= list->store->manifest.next_part)
        FAIL(list->err, CORRUPT, "keel.db names part %llu, but the next one would be %llu",
             (unsigned long long)entry->id, (unsigned long long)list->store->manifest.next_part);
    TRY(part_open(path, &env, &part, list->err));
    if (part_id(part) != entry->id || part_source(part)->rows != entry->rows ||
        part_source(part)->bucket != entry->bucket || part_bytes(part) != entry->bytes) {
        part_close(part);
        FAIL(list->err, CORRUPT, "%s is not the part that keel.db names; restore it from a backup",
             path);
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->parts = k_realloc(list->parts, list->capacity * sizeof(struct held_part *));
    }
    list->parts[list->count++] = held_part_new(entry->id, part);
    return 0;
}

static int open_parts(struct store *s, struct keel_error *err) {
    struct part_list list = {.store = s, .err = err};
    int code = manifest_parts(&s->manifest, open_part, &list, err);
    s->set = part_set_change(NULL, NULL, 0, list.parts, list.count);
    k_free(list.parts);
    return code;
}

/* Files of parts that the manifest does not name: left by a change that did not come to its end. */
static int sweep_file(void *ctx, const char *name) {
    struct store *s = ctx;
    char path[4096];
    uint64_t id;
    struct str text = str_from(name), suffix = STR(".part");
    if (!str_ends(text, suffix) || !str_to_u64((struct str){text.p, text.n - suffix.n}, &id))
        return 0;
    for (uint32_t i = 0; i < s->set->count; i++)
        if (s->set->parts[i]->id == id) return 0;
    store_part_path(s, id, path, sizeof path);
    return file_remove(path, NULL);
}

static int sweep_parts(struct store *s, struct keel_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/parts", s->dir);
    return file_list_dir(path, sweep_file, s, err);
}

static int replay(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct store *s = ctx;
    if (record->kind == STORE_RECORD_CLOCK) {
        s->applied_position = record->end;
        return 0;
    }
    if (record->kind != STORE_RECORD_BATCH)
        FAIL(err, UNSUPPORTED, "journal record of kind %u at position %llu; use a newer keel",
             record->kind, (unsigned long long)record->position);
    if (s->client.replay) TRY(s->client.replay(s->client.ctx, s, record->payload, err));
    s->applied_position = record->end;
    return 0;
}

static int take_lock(struct store *s, struct keel_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", s->dir);
    TRY(file_open(path, s->options.read_only ? FILE_READ : FILE_WRITE | FILE_CREATE, &s->lock_fd,
                  err));
    return file_lock(s->lock_fd, s->options.read_only, s->dir, err);
}

/* The folder's own name must be as durable as what is acknowledged in it. */
static int sync_parent(const char *dir, struct keel_error *err) {
    char path[4096];
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    while (n > 0 && dir[n - 1] != '/') n--;
    snprintf(path, sizeof path, "%.*s", n ? (int)n : 1, n ? dir : ".");
    n = strlen(path);
    while (n > 1 && path[n - 1] == '/') path[--n] = 0;
    return file_sync_dir(path, err);
}

static int make_folders(const char *dir, struct keel_error *err) {
    char path[4096];
    TRY(file_make_dir(dir, err));
    TRY(sync_parent(dir, err));
    snprintf(path, sizeof path, "%s/parts", dir);
    return file_make_dir(path, err);
}

/* Behind the replay, when all redirects are known. */
static int bind_parts(struct store *s, struct keel_error *err) {
    struct redirect_view redirects;
    int code = 0;
    redirects_view(s->redirects, &redirects);
    for (uint32_t i = 0; i < s->set->count && code == 0; i++)
        code = part_bind(s->set->parts[i]->part, &redirects, err);
    redirect_view_release(&redirects);
    return code;
}

static int open_all(struct store *s, struct keel_error *err) {
    if (s->options.create) TRY(make_folders(s->dir, err));
    if (!s->options.create && !file_exists(s->dir))
        FAIL(err, NOT_FOUND, "no folder %s; make a data directory with 'keel init %s'", s->dir,
             s->dir);
    if (file_exists(s->dir) && !s->options.read_only) TRY(take_lock(s, err));
    TRY(manifest_open(&s->manifest, s->dir, s->options.create, s->options.read_only, err));
    if (s->options.read_only) TRY(take_lock(s, err));
    TRY(manifest_load_schema(&s->manifest, s->schema, err));
    TRY(open_parts(s, err));
    if (!s->options.read_only) TRY(sweep_parts(s, err));
    store_refresh_seen(s);
    if (s->client.load) TRY(s->client.load(s->client.ctx, s, s->manifest.db, err));
    redirects_view(s->redirects, &s->flushed);
    s->head = held_head_new(s);
    s->applied_position = s->manifest.journal_position;
    s->options.journal.create = s->options.create;
    s->options.journal.read_only = s->options.read_only;
    s->recovering = true;
    TRY(journal_open(s->dir, s->manifest.store_id, s->manifest.journal_position,
                     &s->options.journal, replay, s, &s->journal, err));
    s->recovering = false;
    head_publish(s->head->head);
    part_set_unref(s, s->seen_in);
    s->seen_in = NULL;
    TRY(bind_parts(s, err));
    if (s->options.background && !s->options.read_only) compactor_start(s);
    return 0;
}

int store_open(const char *dir, const struct store_options *options,
               const struct store_client *client, struct store **out, struct keel_error *err) {
    struct store *s = k_zalloc(sizeof *s);
    s->dir = k_strdup(dir);
    s->options = *options;
    s->client = *client;
    s->lock_fd = -1;
    if (!s->options.head_rows) s->options.head_rows = STORE_HEAD_ROWS;
    if (!s->options.part_rows) s->options.part_rows = STORE_PART_ROWS;
    pthread_mutex_init(&s->ingest, NULL);
    pthread_mutex_init(&s->compacting, NULL);
    pthread_mutexattr_t recursive; /* a flush notes settings of its own inside its transaction */
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&s->changing, &recursive);
    pthread_mutexattr_destroy(&recursive);
    pthread_cond_init(&s->woken, NULL);
    pthread_mutex_init(&s->state, NULL);
    pthread_mutex_init(&s->lexicons_lock, NULL);
    s->schema = schema_new();
    s->redirects = redirects_new();
    int code = open_all(s, err);
    if (code < 0) {
        (void)!store_close(s, NULL);
        return code;
    }
    *out = s;
    return 0;
}

int store_close(struct store *s, struct keel_error *err) {
    if (!s) return 0;
    compactor_stop(s);
    int code = journal_close(s->journal, err);
    held_view_unref(s->view);
    held_moves_unref(s, s->moves);
    held_head_unref(s->head);
    part_set_unref(s, s->seen_in);
    part_set_unref(s, s->set);
    redirect_view_release(&s->flushed);
    manifest_close(&s->manifest);
    for (uint32_t i = 0; i < s->lexicon_capacity; i++) lexicon_free(s->lexicons[i]);
    k_free(s->lexicons);
    schema_free(s->schema);
    redirects_free(s->redirects);
    file_close(s->lock_fd);
    pthread_mutex_destroy(&s->ingest);
    pthread_mutex_destroy(&s->compacting);
    pthread_mutex_destroy(&s->changing);
    pthread_cond_destroy(&s->woken);
    pthread_mutex_destroy(&s->state);
    pthread_mutex_destroy(&s->lexicons_lock);
    k_free(s->dir);
    k_free(s);
    return code;
}

const char *store_dir(const struct store *s) { return s->dir; }
struct schema *store_schema(struct store *s) {
    return s->schema;
}
struct redirects *store_redirects(struct store *s) {
    return s->redirects;
}
sqlite3 *store_db(struct store *s) { return s->manifest.db; }
const uint8_t *store_id(const struct store *s) { return s->manifest.store_id; }
struct journal *store_get_journal(struct store *s) {
    return s->journal;
}

int store_setting(struct store *s, const char *name, struct arena *a, struct str *out,
                  struct keel_error *err) {
    return manifest_get(&s->manifest, name, a, out, err);
}

/* Not in the midst of a compaction's transaction, whose rollback would take it back. */
int store_set_setting(struct store *s, const char *name, struct str value, struct keel_error *err) {
    pthread_mutex_lock(&s->changing);
    int code = manifest_set(&s->manifest, name, value, err);
    pthread_mutex_unlock(&s->changing);
    return code;
}

/* ---- ingest ---- */

void store_refresh_seen(struct store *s) {
    pthread_mutex_lock(&s->state);
    struct part_set *old = s->seen_in;
    s->seen_in = old == s->set ? old : part_set_ref(s->set);
    pthread_mutex_unlock(&s->state);
    if (old != s->seen_in) part_set_unref(s, old);
}

void store_ingest_begin(struct store *s) {
    pthread_mutex_lock(&s->ingest);
    store_refresh_seen(s);
}

void store_ingest_end(struct store *s) {
    if (store_usable(s, NULL) == 0) head_publish(s->head->head);
    part_set_unref(s, s->seen_in); /* or it would keep files that nobody reads */
    s->seen_in = NULL;
    pthread_mutex_unlock(&s->ingest);
}

/* By the ingesting thread or the compactor. */
void store_fail(struct store *s, const struct keel_error *why) {
    pthread_mutex_lock(&s->state);
    if (!s->failed) s->failure = *why;
    atomic_store(&s->failed, true);
    pthread_mutex_unlock(&s->state);
}

int store_usable(struct store *s, struct keel_error *err) {
    pthread_mutex_lock(&s->state);
    bool failed = s->failed;
    pthread_mutex_unlock(&s->state);
    if (!failed) return 0;
    error_set(err, (enum keel_code) - s->failure.code,
              "%s takes no changes until it is opened again: %s", s->dir, s->failure.message);
    return s->failure.code;
}

/* A clock that steps back is noted as it says: the order of the records stays that of arrival. */
static int journal_clock(struct store *s, struct keel_error *err) {
    uint64_t end;
    int64_t now = now_ms();
    if (now >= s->clock_ms && now < s->clock_ms + STORE_CLOCK_MS) return 0;
    TRY(journal_append(s->journal, STORE_RECORD_CLOCK, (struct str){(const char *)&now, sizeof now},
                       &end, err));
    s->clock_ms = now;
    return 0;
}

int store_journal(struct store *s, struct str batch, uint64_t *out_position,
                  struct keel_error *err) {
    TRY(store_usable(s, err));
    TRY(journal_clock(s, err));
    TRY(journal_append(s->journal, STORE_RECORD_BATCH, batch, out_position, err));
    s->applied_position = *out_position;
    return 0;
}

int store_commit(struct store *s, uint64_t position, struct keel_error *err) {
    return journal_commit(s->journal, position, err);
}

struct head *store_head(struct store *s) {
    return s->head->head;
}

int store_seen(struct store *s, struct event_key key, int64_t time_ms, struct keel_error *err) {
    const int64_t near = (int64_t)STORE_DEDUP_DAYS * MS_PER_DAY;
    if (head_has_key(s->head->head, key)) return 1;
    const struct part_set *set = s->seen_in;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct key_span *span = &set->key_spans[i];
        if (span->max_time < time_ms - near || span->min_time > time_ms + near) continue;
        int found = part_has_key(set->parts[i]->part, key, err);
        if (found) return found;
    }
    head_add_key(s->head->head, key);
    return 0;
}

int store_make_room(struct store *s, uint32_t events, struct keel_error *err) {
    struct head *head = s->head->head;
    bool past = head_rows(head) && head_rows(head) + events > s->options.head_rows;
    if (!s->recovering && !s->options.read_only && (past || !head_has_room(head, events)))
        TRY(store_flush(s, err));
    if (!head_has_room(s->head->head, events))
        FAIL(err, LIMIT, "no room for a batch of %u events in a head of %u rows", events,
             s->options.head_rows);
    return 0;
}

/* ---- snapshots ---- */

static struct held_view *current_view(struct store *s, const struct redirect_view *redirects) {
    uint32_t rows = head_rows(s->head->head);
    if (!s->view || s->view->head != s->head || s->view->rows != rows ||
        s->view->version != redirects->version) {
        held_view_unref(s->view);
        struct held_view *v = k_zalloc(sizeof *v);
        atomic_fetch_add(&s->head->refs, 1);
        v->refs = 1;
        v->head = s->head;
        v->rows = rows;
        v->version = redirects->version;
        v->view = head_view_new(s->head->head, redirects);
        s->view = v;
    }
    atomic_fetch_add(&s->view->refs, 1);
    return s->view;
}

static struct held_moves *current_moves(struct store *s, uint32_t version) {
    if (!s->moves || s->moves->set != s->set || s->moves->version != version) {
        held_moves_unref(s, s->moves);
        struct held_moves *m = k_zalloc(sizeof *m);
        m->refs = 1;
        m->set = part_set_ref(s->set);
        m->version = version;
        pthread_mutex_init(&m->lock, NULL);
        s->moves = m;
    }
    atomic_fetch_add(&s->moves->refs, 1);
    return s->moves;
}

void held_moves_unref(struct store *s, struct held_moves *m) {
    if (!m || atomic_fetch_sub(&m->refs, 1) != 1) return;
    moves_free(m->found);
    part_set_unref(s, m->set);
    pthread_mutex_destroy(&m->lock);
    k_free(m);
}

static int source_order(const void *a, const void *b) {
    const struct source *x = *(struct source *const *)a, *y = *(struct source *const *)b;
    if (x->bucket != y->bucket) return x->bucket < y->bucket ? -1 : 1;
    if (x->first_arrival != y->first_arrival) return x->first_arrival < y->first_arrival ? -1 : 1;
    return (x->block_first[0] > y->block_first[0]) - (x->block_first[0] < y->block_first[0]);
}

int snapshot_open(struct store *s, struct snapshot **out, struct keel_error *err) {
    (void)err;
    struct snapshot *snap = k_zalloc(sizeof *snap);
    struct snapshot_holds *holds = k_zalloc(sizeof *holds);
    snap->store = s;
    snap->holds = holds;
    /* The ingest lock makes rows, redirects and parts of one moment. */
    pthread_mutex_lock(&s->ingest);
    pthread_mutex_lock(&s->state);
    redirects_view(s->redirects, &snap->redirects);
    holds->set = part_set_ref(s->set);
    holds->view = current_view(s, &snap->redirects);
    holds->moves = current_moves(s, snap->redirects.version);
    pthread_mutex_unlock(&s->state);
    pthread_mutex_unlock(&s->ingest);
    struct source **of_head;
    uint32_t heads = head_view_sources(holds->view->view, &of_head);
    snap->sources = k_alloc_array(heads + holds->set->count, sizeof *snap->sources);
    for (uint32_t i = 0; i < holds->set->count; i++)
        snap->sources[snap->source_count++] = part_source(holds->set->parts[i]->part);
    for (uint32_t i = 0; i < heads; i++) snap->sources[snap->source_count++] = of_head[i];
    qsort(snap->sources, snap->source_count, sizeof *snap->sources, source_order);
    snap->min_time = INT64_MAX;
    snap->max_time = INT64_MIN;
    for (uint32_t i = 0; i < snap->source_count; i++) {
        const struct source *source = snap->sources[i];
        snap->rows += source->rows;
        if (source->min_time < snap->min_time) snap->min_time = source->min_time;
        if (source->max_time > snap->max_time) snap->max_time = source->max_time;
    }
    *out = snap;
    return 0;
}

void snapshot_close(struct snapshot *snap) {
    if (!snap) return;
    held_view_unref(snap->holds->view);
    held_moves_unref(snap->store, snap->holds->moves);
    part_set_unref(snap->store, snap->holds->set);
    redirect_view_release(&snap->redirects);
    k_free(snap->holds);
    k_free(snap->sources);
    k_free(snap);
}

void store_stats(struct store *s, struct store_stats *out) {
    *out = (struct store_stats){0};
    pthread_mutex_lock(&s->state);
    for (uint32_t i = 0; i < s->set->count; i++) {
        const struct part *part = s->set->parts[i]->part;
        out->part_rows += part_source((struct part *)(uintptr_t)part)->rows;
        out->part_bytes += part_bytes(part);
        out->key_bytes += part_key_bytes(part);
    }
    out->parts = s->set->count;
    out->head_rows = head_rows(s->head->head);
    pthread_mutex_unlock(&s->state);
    out->rows = out->part_rows + out->head_rows;
    out->journal_bytes = journal_position(s->journal) - journal_first(s->journal);
    out->numbers = redirects_numbers(s->redirects);
}
