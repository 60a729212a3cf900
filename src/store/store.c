/* Implementation of store.h: opening, settings, ingest. What snapshots see is in version.c; flush.c
 * and compact.c make parts. */
#include <stdio.h>

#include "base/os.h"
#include "base/thread.h"
#include "base/time.h"
#include "store/store_int.h"

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

static void publish_first(struct store *s, struct part_set *set) {
    struct redirect_view redirects;
    redirects_view(s->redirects, &redirects);
    s->head = held_head_new(s, s->manifest.arrivals, 0);
    pthread_mutex_lock(&s->state);
    (void)version_publish(s, set, &redirects);
    pthread_mutex_unlock(&s->state);
    redirect_view_release(&redirects);
}

static int open_parts(struct store *s, struct keel_error *err) {
    struct part_list list = {.store = s, .err = err};
    int code = manifest_parts(&s->manifest, open_part, &list, err);
    struct part_set *set = part_set_change(NULL, NULL, 0, list.parts, list.count);
    k_free(list.parts);
    publish_first(s, set);
    part_set_unref(set);
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
    const struct part_set *set = s->version->set;
    for (uint32_t i = 0; i < set->count; i++)
        if (set->parts[i]->id == id) return 0;
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
    head_publish(s->head->head);
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

/* Rows, redirects as they are now: snapshots see them. The ingesting thread. */
static void publish_rows(struct store *s) {
    struct redirect_view redirects;
    redirects_view(s->redirects, &redirects);
    head_publish(s->head->head);
    pthread_mutex_lock(&s->state);
    s->visible_rows = head_rows(s->head->head);
    struct store_version *old = version_publish(s, NULL, &redirects);
    pthread_mutex_unlock(&s->state);
    redirect_view_release(&redirects);
    version_unref(old);
}

/* Behind the replay, when all redirects are known. */
static int bind_parts(struct store *s, struct keel_error *err) {
    const struct store_version *v = s->version;
    int code = 0;
    for (uint32_t i = 0; i < v->set->count && code == 0; i++)
        code = part_bind(v->set->parts[i]->part, &v->redirects, err);
    return code;
}

/* Nothing was ever acknowledged here: what a making that died has left would be in the way. */
static int remove_journal_file(void *ctx, const char *name) {
    struct store *s = ctx;
    char path[4096];
    snprintf(path, sizeof path, "%s/journal/%s", s->dir, name);
    return file_remove(path, NULL);
}

static int clear_journal(struct store *s, struct keel_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/journal", s->dir);
    return file_exists(path) ? file_list_dir(path, remove_journal_file, s, err) : 0;
}

static int open_manifest(struct store *s, struct keel_error *err) {
    TRY(manifest_open(&s->manifest, s->dir, s->options.create, s->options.read_only, err));
    if (s->options.create) {
        TRY(clear_journal(s, err));
        if (s->client.make) TRY(s->client.make(s->client.ctx, s, err));
    }
    TRY(manifest_load_schema(&s->manifest, s->schema, err));
    struct arena a;
    struct str trouble = {0};
    arena_init(&a, 1 << 20);
    int code = manifest_get(&s->manifest, "trouble", &a, &trouble, err);
    s->trouble_noted = code == 0 && trouble.n;
    arena_release(&a);
    return code == -KEEL_E_NOT_FOUND ? 0 : code;
}

static int recover(struct store *s, struct keel_error *err) {
    if (s->client.load) TRY(s->client.load(s->client.ctx, s, err));
    redirects_view(s->redirects, &s->flushed);
    s->applied_position = s->manifest.journal_position;
    s->options.journal.create = s->options.create;
    s->options.journal.read_only = s->options.read_only;
    store_refresh_seen(s);
    TRY(journal_open(s->dir, s->manifest.store_id, s->manifest.journal_position,
                     &s->options.journal, replay, s, &s->journal, err));
    version_unref(s->seen);
    s->seen = NULL;
    publish_rows(s);
    return bind_parts(s, err);
}

/* A new directory exists from the moment its manifest is committed, with all that belongs to it. */
static int open_all(struct store *s, struct keel_error *err) {
    if (s->options.create) TRY(make_folders(s->dir, err));
    if (!s->options.create && !file_exists(s->dir))
        FAIL(err, NOT_FOUND, "no folder %s; make a data directory with 'keel init %s'", s->dir,
             s->dir);
    if (file_exists(s->dir) && !s->options.read_only) TRY(take_lock(s, err));
    TRY(open_manifest(s, err));
    if (s->options.read_only) TRY(take_lock(s, err));
    TRY(open_parts(s, err));
    if (!s->options.read_only) TRY(sweep_parts(s, err));
    TRY(recover(s, err));
    if (s->options.create) TRY(manifest_made(&s->manifest, err));
    if (s->options.background && !s->options.read_only) {
        background_start(&s->flusher, s, flush_due, flush_work);
        background_start(&s->compactor, s, compact_due, compact_work);
    }
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
    if (!s->options.head_bytes) s->options.head_bytes = STORE_HEAD_BYTES;
    if (!s->options.part_rows) s->options.part_rows = STORE_PART_ROWS;
    if (!s->options.merge_rows) s->options.merge_rows = STORE_MERGE_ROWS;
    if (!s->options.merge_parts) s->options.merge_parts = STORE_MERGE_PARTS;
    pthread_mutex_init(&s->ingest, NULL);
    pthread_mutex_init(&s->compacting, NULL);
    pthread_mutex_init(&s->flushing, NULL);
    pthread_mutex_init(&s->changing, NULL);
    pthread_mutex_init(&s->state, NULL);
    pthread_mutex_init(&s->lexicons_lock, NULL);
    cond_init_timed(&s->work);
    cond_init_timed(&s->published);
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
    background_stop(&s->flusher);
    background_stop(&s->compactor);
    if (s->journal && !s->options.read_only && s->client.settle) s->client.settle(s->client.ctx, s);
    int code = journal_close(s->journal, err);
    version_unref(s->seen);
    version_unref(s->version);
    for (uint32_t i = 0; i < s->older_count; i++) held_head_unref(s->older[i]);
    held_head_unref(s->head);
    redirect_view_release(&s->sealed.redirects);
    redirect_view_release(&s->flushed);
    manifest_close(&s->manifest);
    for (uint32_t i = 0; i < s->lexicon_capacity; i++) lexicon_free(s->lexicons[i]);
    k_free(s->lexicons);
    schema_free(s->schema);
    redirects_free(s->redirects);
    store_forget_sieves(s);
    file_close(s->lock_fd);
    pthread_mutex_destroy(&s->ingest);
    pthread_mutex_destroy(&s->compacting);
    pthread_mutex_destroy(&s->flushing);
    pthread_mutex_destroy(&s->changing);
    pthread_mutex_destroy(&s->state);
    pthread_mutex_destroy(&s->lexicons_lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->published);
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
struct sql *store_db(struct store *s) {
    return s->manifest.db;
}
const uint8_t *store_id(const struct store *s) { return s->manifest.store_id; }
struct journal *store_get_journal(struct store *s) {
    return s->journal;
}

int store_setting(struct store *s, const char *name, struct arena *a, struct str *out,
                  struct keel_error *err) {
    return manifest_get(&s->manifest, name, a, out, err);
}

int store_set_setting(struct store *s, const char *name, struct str value, struct keel_error *err) {
    return manifest_set(&s->manifest, name, value, err);
}

/* ---- ingest ---- */

void store_ingest_begin(struct store *s) {
    pthread_mutex_lock(&s->ingest);
    store_refresh_seen(s);
}

void store_ingest_end(struct store *s) {
    if (!s->torn) publish_rows(s);
    version_unref(s->seen); /* or it would keep files that nobody reads */
    s->seen = NULL;
    pthread_mutex_unlock(&s->ingest);
}

void store_fail(struct store *s, const struct keel_error *why) {
    s->torn = true;
    store_stop(s, why);
}

/* By any thread that changes the store. What has been applied is seen all the same: it is in the
 * journal, and was or will be acknowledged. */
void store_stop(struct store *s, const struct keel_error *why) {
    pthread_mutex_lock(&s->state);
    if (!s->failed) s->failure = *why;
    s->failed = true;
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

/* An empty head that is too small for one batch gives way to a larger one. */
static void replace_head(struct store *s, uint32_t events) {
    struct held_head *small = s->head;
    struct held_head *large = held_head_new(s, head_first_arrival(small->head), events);
    pthread_mutex_lock(&s->state);
    held_head_follow(s->head, large);
    s->head = large;
    struct store_version *old = version_publish(s, NULL, NULL);
    pthread_mutex_unlock(&s->state);
    version_unref(old);
    held_head_unref(small);
    if (s->seen) store_refresh_seen(s);
}

/* A store that is only read keeps all of its heads. */
static int add_head(struct store *s, uint32_t events, struct keel_error *err) {
    struct head *full = s->head->head;
    if (s->older_count == STORE_HEADS_MOST)
        FAIL(err, LIMIT,
             "the journal of %s fills more than %d heads of %u rows; open it for writing once",
             s->dir, STORE_HEADS_MOST, s->options.head_rows);
    struct held_head *fresh = held_head_new(s, head_first_arrival(full) + head_rows(full), events);
    pthread_mutex_lock(&s->state);
    held_head_follow(s->head, fresh);
    s->older[s->older_count++] = s->head;
    s->head = fresh;
    struct store_version *old = version_publish(s, NULL, NULL);
    pthread_mutex_unlock(&s->state);
    version_unref(old);
    store_refresh_seen(s);
    return 0;
}

/* Background: a flush that has just failed is not tried by every batch. */
static int wait_for_flush(struct store *s, struct keel_error *err) {
    pthread_mutex_lock(&s->state);
    struct trouble *t = &s->flush_trouble;
    bool pause = s->flusher.running && t->failures && t->retry_us > monotonic_us();
    if (pause) trouble_ask(s, t);
    int code = pause ? t->err.code : 0;
    if (pause && err) *err = t->err;
    pthread_mutex_unlock(&s->state);
    return pause ? code : store_flush_sealed(s, err);
}

static int turn_over(struct store *s, uint32_t events, struct keel_error *err) {
    if (s->options.read_only) return add_head(s, events, err);
    TRY(store_usable(s, err));
    TRY(wait_for_flush(s, err));
    store_seal(s, events);
    return s->flusher.running ? 0 : store_flush(s, err);
}

int store_make_room(struct store *s, uint32_t events, struct keel_error *err) {
    const struct head *head = s->head->head;
    bool past = head_rows(head) && head_rows(head) + events > s->options.head_rows;
    if (head_rows(head) && (past || !head_has_room(head, events))) TRY(turn_over(s, events, err));
    if (!head_has_room(s->head->head, events)) {
        K_ASSERT_OP(head_rows(s->head->head), ==, 0);
        replace_head(s, events);
    }
    return 0;
}
