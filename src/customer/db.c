/* Implementation of db.h.
 *
 * A context that events of a batch share is applied to the first of them; what that left in the
 * head is set to the others.
 *
 * Applying a batch: names were interned by the writer, so (stream, name, type) is looked up in a
 * small table of this batch and reaches the schema once. A property that finds no column joins the
 * event's residual JSON object.
 */
#include "customer/db.h"

#include <stdio.h>

#include "base/os.h"

enum {
    CACHE_SLOTS = 4096,
    CACHE_FULL = CACHE_SLOTS / 2,
    REST_MAX = EVENT_MAX_BYTES,
    KNOWN_FIELDS_MAX = 256, /* a context of more is applied field by field */
};

/* One entry of the batch's table: which column of the head a field goes to. Entries stand in the
 * order in which they were first wanted: the fields of an event are neighbours. */
struct cached {
    uint64_t key;
    struct head_column *column; /* NULL: past a limit of the schema */
    uint32_t next;              /* the entry that was wanted after this one: a guess */
};

struct cached_stream {
    uint64_t key;
    int64_t stream;
};

struct db {
    struct store *store;
    struct identity *identity;
    const struct db_options *options; /* while it is opened */
    struct time_zone *zone;
    struct arena settings;
    struct str currency;
    uint64_t identity_bytes; /* of the flush under way */

    /* Scratch of the one ingesting thread. */
    struct arena names;
    struct cached *cache;             /* [cached], up to CACHE_FULL; the first is nobody's */
    uint16_t *cache_slots;            /* hash table of them, 0 is free */
    uint32_t cached, last;            /* last: entry of the field before */
    uint16_t *slot_of, *stream_slots; /* [CACHE_FULL] what a reset has to clear */
    struct cached_stream *streams;
    uint32_t cached_streams;
    struct buf rest;
    struct ingest_counts *counts;
    uint8_t *fates;                 /* of the batch's events, or NULL */
    struct known_context *contexts; /* of the batch, by number */
};

/* What a shared context is to the head. Without values: not known yet, or not all of it has a
 * column. */
struct known_context {
    struct head_value *values;
    uint32_t count;
};

/* ---- the batch's tables ---- */

/* Slot by slot: most batches of SDKs hold one event, and 73 KB of zeros took longer than it. */
static void reset_caches(struct db *db) {
    uint32_t streams = db->cached_streams < CACHE_FULL ? db->cached_streams : CACHE_FULL;
    for (uint32_t i = 1; i < db->cached; i++) db->cache_slots[db->slot_of[i]] = 0;
    for (uint32_t i = 0; i < streams; i++)
        db->streams[db->stream_slots[i]] = (struct cached_stream){0};
    db->cache[0] = (struct cached){0};
    db->cached = 1;
    db->cached_streams = db->last = 0;
}

/* Stream of a list or event name, by the batch's number of the name. -1: past the limit. */
static int64_t stream_of(struct db *db, enum stream_kind kind, uint32_t parent,
                         uint32_t name_number, struct str name) {
    uint64_t key = (uint64_t)parent << 32 | (uint64_t)name_number << 2 | (uint64_t)kind;
    uint32_t i = (uint32_t)hash_mix(key) & (CACHE_SLOTS - 1);
    for (; db->streams[i].key; i = (i + 1) & (CACHE_SLOTS - 1))
        if (db->streams[i].key == key) return db->streams[i].stream;
    struct schema *schema = store_schema(db->store);
    int64_t stream = kind == STREAM_KIND_EVENT ? schema_add_event(schema, name)
                                               : schema_add_list(schema, parent, name);
    if (db->cached_streams < CACHE_FULL) {
        db->stream_slots[db->cached_streams++] = (uint16_t)i;
        db->streams[i] = (struct cached_stream){.key = key, .stream = stream};
    }
    return stream;
}

static enum column_type type_of(enum value_type type) {
    switch (type) {
    case VALUE_NUMBER: return COLUMN_NUMBER;
    case VALUE_STRING: return COLUMN_STRING;
    case VALUE_JSON: return COLUMN_JSON;
    case VALUE_FALSE:
    case VALUE_TRUE:
    case VALUE_LIST: break;
    }
    return COLUMN_BOOL;
}

static struct head_column *add_column(struct db *db, uint32_t stream, struct str name,
                                      enum column_type type) {
    struct schema *schema = store_schema(db->store);
    int64_t id = schema_add_column(schema, stream, name, type);
    if (id < 0) return NULL;
    struct column_info info = schema_column(schema, (uint32_t)id);
    return head_column(store_head(db->store), &info);
}

static uint32_t find_column(struct db *db, uint64_t key) {
    uint32_t i = (uint32_t)hash_mix(key) & (CACHE_SLOTS - 1);
    while (db->cache_slots[i] && db->cache[db->cache_slots[i]].key != key)
        i = (i + 1) & (CACHE_SLOTS - 1);
    return i;
}

/* The column of a field, or NULL past a limit. SDKs send the fields of an event in the same order
 * every time, so one comparison with the field that followed last time mostly finds it. */
static inline struct head_column *column_of(struct db *db, uint32_t stream, uint32_t name_number,
                                            struct str name, enum column_type type) {
    uint64_t key = (uint64_t)(stream + 1) << 24 | (uint64_t)name_number << 4 | (uint64_t)type;
    struct cached *last = &db->cache[db->last];
    uint32_t i = last->next;
    if (db->cache[i].key != key) {
        uint16_t *slot = &db->cache_slots[find_column(db, key)];
        if (!*slot) {
            struct head_column *column = add_column(db, stream, name, type);
            if (db->cached == CACHE_FULL) return column;
            db->slot_of[db->cached] = (uint16_t)(slot - db->cache_slots);
            *slot = (uint16_t)db->cached++;
            db->cache[*slot] = (struct cached){.key = key, .column = column};
        }
        last->next = i = *slot;
    }
    db->last = i;
    return db->cache[i].column;
}

/* ---- fields ---- */

/* Where the values of an event go. */
struct place {
    uint32_t stream, ordinal; /* its properties */
    uint32_t row;             /* its context    */
};

static inline void put(struct head *head, struct head_column *c, uint32_t slot,
                       const struct field_view *f) {
    switch (f->type) {
    case VALUE_FALSE:
    case VALUE_TRUE: head_bool(head, c, slot, f->type == VALUE_TRUE); break;
    case VALUE_NUMBER: head_number(head, c, slot, f->number); break;
    case VALUE_STRING:
    case VALUE_JSON: head_string(head, c, slot, f->text); break;
    case VALUE_LIST: break;
    }
}

static void rest_value(struct buf *b, const struct field_view *f) {
    switch (f->type) {
    case VALUE_FALSE: (void)!buf_add_text(b, "false"); break;
    case VALUE_TRUE: (void)!buf_add_text(b, "true"); break;
    case VALUE_NUMBER: (void)!buf_add_json_f64(b, f->number); break;
    case VALUE_STRING: (void)!buf_add_json_str(b, f->text); break;
    case VALUE_JSON: (void)!buf_add_str(b, f->text); break;
    case VALUE_LIST: break;
    }
}

static void rest_name(struct db *db, struct str name) {
    (void)!buf_add_char(&db->rest, db->rest.n ? ',' : '{');
    (void)!buf_add_json_str(&db->rest, name);
    (void)!buf_add_char(&db->rest, ':');
    db->counts->residual++;
}

static void rest_field(struct db *db, struct str name, const struct field_view *f) {
    rest_name(db, name);
    rest_value(&db->rest, f);
}

/* A list without a stream of its own: the whole list as JSON. */
static void rest_list(struct db *db, const struct batch_reader *batch, struct event_view *event,
                      const struct field_view *list) {
    struct field_view f;
    rest_name(db, batch->names[list->name]);
    (void)!buf_add_char(&db->rest, '[');
    for (uint32_t i = 0; i < list->items; i++) {
        bool first = true;
        item_next(event);
        (void)!buf_add_text(&db->rest, i ? ",{" : "{");
        while (item_field(batch, event, &f)) {
            if (!first) (void)!buf_add_char(&db->rest, ',');
            first = false;
            (void)!buf_add_json_str(&db->rest, batch->names[f.name]);
            (void)!buf_add_char(&db->rest, ':');
            rest_value(&db->rest, &f);
        }
        (void)!buf_add_char(&db->rest, '}');
    }
    (void)!buf_add_char(&db->rest, ']');
}

static void apply_list(struct db *db, const struct batch_reader *batch, struct event_view *event,
                       const struct field_view *list, uint32_t stream, uint32_t ordinal) {
    struct head *head = store_head(db->store);
    int64_t items = stream_of(db, STREAM_KIND_ITEMS, stream, list->name, batch->names[list->name]);
    uint32_t first =
        items < 0 ? UINT32_MAX : head_items(head, (uint32_t)items, ordinal, list->items);
    if (first == UINT32_MAX) {
        rest_list(db, batch, event, list);
        return;
    }
    struct field_view f;
    for (uint32_t i = 0; i < list->items; i++) {
        item_next(event);
        while (item_field(batch, event, &f)) {
            struct head_column *c =
                column_of(db, (uint32_t)items, f.name, batch->names[f.name], type_of(f.type));
            if (c)
                put(head, c, first + i, &f);
            else
                rest_field(db, batch->names[f.name], &f);
        }
    }
}

static void put_named(struct db *db, uint32_t stream, uint32_t ordinal, const char *name,
                      struct str value) {
    struct head_column *c = add_column(db, stream, str_from(name), COLUMN_STRING);
    if (c) head_string(store_head(db->store), c, ordinal, value);
}

/* What the event itself says beside its fields. */
static void apply_head(struct db *db, const struct event_head *h, uint32_t stream,
                       uint32_t ordinal) {
    if ((h->type == EVENT_PAGE || h->type == EVENT_SCREEN) && h->name.n)
        put_named(db, stream, ordinal, "name", h->name);
    if (h->type == EVENT_GROUP && h->related_id.n)
        put_named(db, stream, ordinal, "group_id", h->related_id);
    if (h->type == EVENT_ALIAS && h->related_id.n)
        put_named(db, stream, ordinal, "previous_id", h->related_id);
}

static inline void apply_field(struct db *db, const struct batch_reader *batch,
                               struct event_view *event, const struct field_view *f,
                               const struct place *at) {
    if (f->type == VALUE_LIST) {
        apply_list(db, batch, event, f, at->stream, at->ordinal);
        return;
    }
    bool context = f->scope == SCOPE_CONTEXT;
    struct head_column *c = column_of(db, context ? STREAM_ROWS : at->stream, f->name,
                                      batch->names[f->name], type_of(f->type));
    if (c)
        put(store_head(db->store), c, context ? at->row : at->ordinal, f);
    else
        rest_field(db, batch->names[f->name], f);
}

/* The first event with a context that others share. */
static void learn_context(struct db *db, const struct batch_reader *batch, struct event_view *event,
                          const struct place *at) {
    struct known_context *known = &db->contexts[event->context];
    struct head_column *columns[KNOWN_FIELDS_MAX];
    struct field_view f;
    uint32_t count = 0;
    bool all = true;
    while (field_next(batch, event, &f)) {
        struct head_column *c =
            column_of(db, STREAM_ROWS, f.name, batch->names[f.name], type_of(f.type));
        apply_field(db, batch, event, &f, at);
        if (c && count < KNOWN_FIELDS_MAX)
            columns[count++] = c;
        else
            all = false;
    }
    if (!all || event->r.bad) return;
    head_settle(store_head(db->store));
    known->values = arena_alloc(&db->names, count * sizeof *known->values);
    for (uint32_t i = 0; i < count; i++)
        known->count += head_get(columns[i], at->row, &known->values[known->count]);
}

static void apply_context(struct db *db, const struct batch_reader *batch, struct event_view *event,
                          const struct place *at) {
    const struct known_context *known = &db->contexts[event->context];
    if (known->values)
        head_set(store_head(db->store), known->values, known->count, at->row);
    else
        learn_context(db, batch, event, at);
}

/* An event that has been read, and is asked for before its turn. */
struct upcoming {
    struct event_view event;
    struct identity_ask ids;
};

static int apply_event(struct db *db, const struct batch_reader *batch, struct upcoming *next,
                       struct keel_error *err) {
    struct event_view *event = &next->event;
    struct head *head = store_head(db->store);
    struct str name =
        event->head.type == EVENT_TRACK ? event->head.name : schema_reserved_name(event->head.type);
    /* Untracked types share no number with names: theirs lie above the names of the batch. */
    uint32_t name_number = event->head.type == EVENT_TRACK
                               ? event->name
                               : BATCH_MAX_NAMES + (uint32_t)event->head.type;
    int64_t stream = stream_of(db, STREAM_KIND_EVENT, STREAM_ROWS, name_number, name);
    bool overflow = stream < 0; /* names that carry values: kept, under one name */
    if (overflow) stream = schema_add_event(store_schema(db->store), STR(SCHEMA_OVERFLOW));
    K_ASSERT(stream > 0);
    int seen = store_seen(db->store, event->head.key, event->head.time_ms, err);
    if (seen < 0) return seen;
    if (db->fates) *db->fates++ = seen ? INGEST_DUPLICATE : INGEST_ACCEPTED;
    if (seen) {
        db->counts->duplicates++;
        return 0;
    }
    uint32_t number = identity_resolve(db->identity, &event->head, &next->ids);
    uint32_t ordinal = head_row(head, number, event->head.time_ms, (uint32_t)stream);
    const struct place at = {(uint32_t)stream, ordinal, head_row_index(head)};
    struct field_view f;
    buf_clear(&db->rest);
    event->pause = true;
    while (field_next(batch, event, &f)) apply_field(db, batch, event, &f, &at);
    if (event->context != NO_CONTEXT && !event->r.bad) apply_context(db, batch, event, &at);
    apply_head(db, &event->head, (uint32_t)stream, ordinal);
    if (overflow) put_named(db, (uint32_t)stream, ordinal, "event", name);
    if (db->rest.n) {
        (void)!buf_add_char(&db->rest, '}');
        struct head_column *c = add_column(db, (uint32_t)stream, STR(SCHEMA_REST), COLUMN_JSON);
        if (c) head_string(head, c, ordinal, buf_str(&db->rest));
    }
    db->counts->accepted++;
    return event->r.bad ? error_set(err, KEEL_E_CORRUPT, "a damaged event in a batch") : 0;
}

/* Keys and identifiers lie all over the memory: events are read ahead, so that what theirs name is
 * in the cache when their turn comes. Waiting for it took a tenth of an import. */
enum { AHEAD = 16, FETCH_AHEAD = 10, TEXTS_AHEAD = 5 };

static void ask(struct db *db, struct upcoming *next) {
    store_prefetch_seen(db->store, next->event.head.key);
    identity_ask(db->identity, &next->event.head, &next->ids);
}

static int apply_events(struct db *db, struct batch_reader *batch, struct keel_error *err) {
    struct upcoming ring[AHEAD];
    uint32_t read = 0;
    int more = 1;
    for (uint32_t done = 0;; done++) {
        while (more == 1 && read < done + AHEAD) {
            more = batch_next(batch, &ring[read % AHEAD].event, err);
            if (more == 1) ask(db, &ring[read++ % AHEAD]);
        }
        if (read == done) return more;
        if (done + FETCH_AHEAD < read)
            identity_fetch(db->identity, &ring[(done + FETCH_AHEAD) % AHEAD].ids);
        if (done + TEXTS_AHEAD < read)
            identity_fetch_texts(db->identity, &ring[(done + TEXTS_AHEAD) % AHEAD].ids);
        db->counts->events++;
        TRY(apply_event(db, batch, &ring[done % AHEAD], err));
    }
}

static int apply_batch(struct db *db, struct str bytes, struct ingest_counts *counts,
                       uint8_t *fates, struct keel_error *err) {
    struct batch_reader batch;
    db->counts = counts;
    db->fates = fates;
    arena_release(&db->names);
    TRY(batch_open(&batch, bytes, &db->names, err));
    size_t contexts = (batch.context_count + 1) * sizeof *db->contexts;
    db->contexts = memset(arena_alloc(&db->names, contexts), 0, contexts);
    reset_caches(db);
    int code = apply_events(db, &batch, err);
    head_settle(store_head(db->store));
    return code;
}

/* ---- the store's client ---- */

static int make(void *ctx, struct store *store, struct keel_error *err) {
    const struct db *db = ctx;
    TRY(store_set_setting(store, "time_zone", db->options->time_zone, err));
    return store_set_setting(store, "currency", db->options->currency, err);
}

/* Of identity.log; 0 before the first flush. */
static int noted_bytes(struct db *db, uint64_t *out, struct keel_error *err) {
    struct str text;
    *out = 0;
    int code = store_setting(db->store, "identity_bytes", &db->settings, &text, err);
    if (code == -KEEL_E_NOT_FOUND) return 0;
    if (code == 0 && !str_to_u64(text, out))
        FAIL(err, CORRUPT, "keel.db: identity_bytes is no number");
    return code;
}

static int load(void *ctx, struct store *store, struct keel_error *err) {
    struct db *db = ctx;
    uint64_t bytes;
    db->store = store;
    db->identity = identity_new(store_redirects(store), store_id(store));
    TRY(noted_bytes(db, &bytes, err));
    return db->options->store.read_only
               ? identity_load_index(db->identity, store_dir(store), bytes, err)
               : identity_load(db->identity, store_dir(store), bytes, err);
}

static int replay(void *ctx, struct store *store, struct str batch, struct keel_error *err) {
    struct db *db = ctx;
    struct ingest_counts counts = {0};
    TRY(identity_whole(db->identity, err));
    TRY(store_make_room(store, batch_event_count(batch), err));
    return apply_batch(db, batch, &counts, NULL, err);
}

static void seal(void *ctx) {
    struct db *db = ctx;
    identity_seal(db->identity);
}

static int flush(void *ctx, struct store *store, struct sql *sql, struct keel_error *err) {
    struct db *db = ctx;
    (void)sql;
    char text[32];
    TRY(identity_save(db->identity, store_dir(store), &db->identity_bytes, err));
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)db->identity_bytes);
    return store_set_setting(store, "identity_bytes", (struct str){text, (size_t)n}, err);
}

static void flushed(void *ctx) {
    struct db *db = ctx;
    identity_saved(db->identity, db->identity_bytes);
}

/* Without it the next reader loads the log, and whoever closes the next time tries again. */
static void settle(void *ctx, struct store *store) {
    struct db *db = ctx;
    (void)!identity_write_index(db->identity, store_dir(store), NULL);
}

/* ---- open, ingest, close ---- */

/* Without a time zone days would silently be UTC's. */
static int load_settings(struct db *db, const char *dir, struct keel_error *err) {
    struct str zone;
    int code = store_setting(db->store, "currency", &db->settings, &db->currency, err);
    if (code >= 0) code = store_setting(db->store, "time_zone", &db->settings, &zone, err);
    if (code == -KEEL_E_NOT_FOUND)
        FAIL(err, CORRUPT,
             "%s has no time zone or no currency: it was not made to its end; remove it and run "
             "'keel init %s' again",
             dir, dir);
    TRY(code);
    return time_zone_load(zone, &db->zone, err);
}

int db_open(const char *dir, const struct db_options *options, struct db **out,
            struct keel_error *err) {
    if (options->store.create) { /* before there is a folder */
        struct time_zone *zone;
        TRY(time_zone_load(options->time_zone, &zone, err));
        time_zone_free(zone);
    }
    struct db *db = k_zalloc(sizeof *db);
    arena_init(&db->settings, 1 << 20);
    arena_init(&db->names, SIZE_MAX / 2);
    buf_init(&db->rest, REST_MAX);
    db->cache = k_alloc_array(CACHE_FULL, sizeof *db->cache);
    db->cache_slots = k_zalloc(CACHE_SLOTS * sizeof *db->cache_slots);
    db->slot_of = k_alloc_array(CACHE_FULL, sizeof *db->slot_of);
    db->stream_slots = k_alloc_array(CACHE_FULL, sizeof *db->stream_slots);
    db->streams = k_zalloc(CACHE_SLOTS * sizeof *db->streams);
    struct store_client client = {.ctx = db,
                                  .make = make,
                                  .load = load,
                                  .replay = replay,
                                  .seal = seal,
                                  .flush = flush,
                                  .flushed = flushed,
                                  .settle = settle};
    db->options = options;
    int code = store_open(dir, &options->store, &client, &db->store, err);
    db->options = NULL;
    if (code < 0) db->store = NULL;
    if (code == 0) code = load_settings(db, dir, err);
    if (code < 0) {
        (void)!db_close(db, NULL);
        return code;
    }
    *out = db;
    return 0;
}

int db_close(struct db *db, struct keel_error *err) {
    if (!db) return 0;
    int code = store_close(db->store, err);
    identity_free(db->identity);
    time_zone_free(db->zone);
    arena_release(&db->settings);
    arena_release(&db->names);
    buf_release(&db->rest);
    k_free(db->cache);
    k_free(db->cache_slots);
    k_free(db->slot_of);
    k_free(db->stream_slots);
    k_free(db->streams);
    k_free(db);
    return code;
}

int db_init(const char *dir, struct str time_zone, struct str currency, struct keel_error *err) {
    struct db_options options = {
        .store = {.create = true}, .time_zone = time_zone, .currency = currency};
    struct db *db;
    TRY(db_open(dir, &options, &db, err));
    return db_close(db, err);
}

static void fail_store(struct db *db, int code, const struct keel_error *err) {
    struct keel_error why;
    error_set(&why, (enum keel_code) - code, "%s", err ? err->message : error_text(code));
    store_fail(db->store, &why);
}

/* Every event is read as it will be when it is applied: whatever the journal takes can be applied,
 * now and at each recovery. What events share is read once. */
static int check_batch(struct str bytes, struct keel_error *err) {
    struct batch_reader batch;
    struct event_view event;
    struct arena names;
    arena_init(&names, SIZE_MAX / 2);
    int more = batch_open(&batch, bytes, &names, err);
    if (more == 0) more = batch_check_contexts(&batch, err);
    if (more == 0) more = 1;
    while (more == 1 && (more = batch_next(&batch, &event, err)) == 1) {
        event.pause = true; /* before its context */
        if (!fields_whole(&batch, &event))
            more = error_set(err, KEEL_E_CORRUPT, "damaged batch: fields of an event");
    }
    arena_release(&names);
    return more;
}

int db_append(struct db *db, struct str batch, struct ingest_counts *counts, uint8_t *fates,
              uint64_t *out_position, struct keel_error *err) {
    TRY(check_batch(batch, err));
    store_ingest_begin(db->store);
    /* Room first: a flush between the journal and the head would count the batch as stored. */
    int code = store_make_room(db->store, batch_event_count(batch), err);
    if (code == 0) code = store_journal(db->store, batch, out_position, err);
    if (code == 0) {
        code = apply_batch(db, batch, counts, fates, err);
        if (code < 0) fail_store(db, code, err);
    }
    store_ingest_end(db->store);
    return code;
}

int db_commit(struct db *db, uint64_t position, struct keel_error *err) {
    return store_commit(db->store, position, err);
}

int db_ingest(struct db *db, struct str batch, struct ingest_counts *counts,
              struct keel_error *err) {
    uint64_t position = 0;
    TRY(db_append(db, batch, counts, NULL, &position, err));
    return db_commit(db, position, err);
}

int db_flush_rows(struct db *db, struct keel_error *err) {
    store_ingest_begin(db->store);
    int code = store_flush(db->store, err);
    store_ingest_end(db->store);
    return code;
}

int db_flush(struct db *db, struct keel_error *err) {
    store_ingest_begin(db->store);
    int code = store_flush(db->store, err);
    if (code == 0) code = store_compact(db->store, false, err);
    store_ingest_end(db->store);
    return code < 0 ? code : 0;
}

int db_compact(struct db *db, struct keel_error *err) {
    store_ingest_begin(db->store);
    int merged = store_compact(db->store, true, err); /* it flushes */
    store_ingest_end(db->store);
    return merged;
}

struct store *db_store(struct db *db) {
    return db->store;
}
struct identity *db_identity(struct db *db) {
    return db->identity;
}
const struct time_zone *db_zone(const struct db *db) { return db->zone; }
struct str db_currency(const struct db *db) {
    return db->currency;
}

int db_setting(struct db *db, const char *name, struct arena *a, struct str *out,
               struct keel_error *err) {
    return store_setting(db->store, name, a, out, err);
}

int db_check_identity(struct db *db, struct keel_error *err) {
    uint64_t bytes;
    TRY(noted_bytes(db, &bytes, err));
    if (bytes == 0) FAIL(err, NOT_FOUND, "nobody is in identity.log yet");
    return identity_check_index(store_dir(db->store), store_id(db->store), bytes, err);
}

uint32_t db_find_customer(struct db *db, struct str text) {
    const struct str user = STR("user_id="), anonymous = STR("anonymous_id=");
    enum id_kind kind = str_starts(text, anonymous) ? ID_ANONYMOUS : ID_USER;
    size_t skip = kind == ID_ANONYMOUS ? anonymous.n : str_starts(text, user) ? user.n : 0;
    struct str id = {text.p + skip, text.n - skip};
    uint32_t number = identity_find(db->identity, kind, id);
    return number == NUMBER_NONE ? NUMBER_NONE : store_root(db->store, number);
}
