/* Implementation of timeline.h: one ordered scan of the customer finds the events and where they
 * stand. Their values are then picked there, column by column, those of one chunk together; of line
 * items those of one list. */
#include "customer/timeline.h"

#include <stdlib.h>

enum { OBJECT_MAX = EVENT_MAX_BYTES * 4 };

struct entry {
    int64_t time_ms;
    uint32_t stream;
    struct row_place place;
    struct buf properties, context;
};

struct reading {
    struct db *db;
    const struct snapshot *snap;
    uint32_t customer;
    int64_t at_ms;
    struct entry *entries;
    uint32_t count, capacity;
    uint32_t skip; /* oldest entries that are not asked for */
};

/* ---- values as JSON ---- */

static void add_value(struct buf *b, const struct vec *v, uint32_t i, const struct column_info *c,
                      struct lexicon *lexicon) {
    switch (v->kind) {
    case VEC_NUMBER: (void)!buf_add_json_f64(b, v->num[i]); break;
    case VEC_BOOL: (void)!buf_add_text(b, v->code[i] ? "true" : "false"); break;
    case VEC_CODE: (void)!buf_add_json_str(b, lexicon_str(lexicon, v->code[i])); break;
    case VEC_TEXT:
        if (c->type == COLUMN_JSON)
            (void)!buf_add_str(b, v->text[i]);
        else
            (void)!buf_add_json_str(b, v->text[i]);
        break;
    }
}

static void add_name(struct buf *b, struct str name) {
    if (b->n > 1 && b->p[b->n - 1] != '{') (void)!buf_add_char(b, ',');
    (void)!buf_add_json_str(b, name);
    (void)!buf_add_char(b, ':');
}

/* ---- the events ---- */

static void add_entries(struct reading *r, const struct batch *b, const struct row_place *places) {
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(b->live, rows);
    for (uint32_t k = 0; k < n; k++) {
        if (r->count == r->capacity) {
            r->capacity = r->capacity ? r->capacity * 2 : 256;
            r->entries = k_realloc(r->entries, (size_t)r->capacity * sizeof *r->entries);
        }
        struct entry *e = &r->entries[r->count++];
        *e = (struct entry){
            .time_ms = b->time[rows[k]], .stream = b->event[rows[k]], .place = places[rows[k]]};
        buf_init(&e->properties, OBJECT_MAX);
        buf_init(&e->context, OBJECT_MAX);
    }
}

static int list_events(struct reading *r, struct keel_error *err) {
    struct scan *scan;
    struct batch b;
    struct scan_spec spec = {
        .from_ms = INT64_MIN, .to_ms = r->at_ms, .ordered = true, .places = true};
    TRY(scan_open(r->snap, &spec, &scan, err));
    int got = scan_range(scan, r->customer, 1, err);
    while (got >= 0 && (got = scan_next(scan, &b, err)) == 1) {
        struct row_place places[CHUNK_ROWS];
        batch_places(&b, places);
        add_entries(r, &b, places);
    }
    scan_close(scan);
    return got;
}

/* ---- their values ---- */

struct column_reader {
    struct column_info info;
    struct lexicon *lexicon;
    struct vec_buffer *values; /* may be shared by readers that are used one after the other */
};

static struct column_reader column_reader(const struct reading *r, const struct column_info *c,
                                          struct vec_buffer *values) {
    struct lexicon *lexicon =
        c->type == COLUMN_STRING ? store_lexicon(db_store(r->db), c->id) : NULL;
    return (struct column_reader){.info = *c, .lexicon = lexicon, .values = values};
}

static void add_member(const struct column_reader *c, uint32_t slot, struct buf *to) {
    const struct vec *v = &c->values->vec;
    if (slot >= v->n || !bit_get(v->present, slot)) return;
    add_name(to, c->info.name);
    add_value(to, v, slot, &c->info, c->lexicon);
}

/* Where the column's value of an entry stands: in rows or in those of the event. */
static uint32_t value_at(const struct entry *e, bool context) {
    return context ? e->place.row : e->place.ordinal;
}

enum { PICKED_MOST = 64 }; /* values of one chunk at a time */

/* One column of the context or of an event: entries whose values lie in one chunk, one after the
 * other, at once. */
static int add_column(struct reading *r, const struct column_info *info, struct vec_buffer *values,
                      struct keel_error *err) {
    struct column_reader c = column_reader(r, info, values);
    const bool context = info->stream == STREAM_ROWS;
    for (uint32_t i = r->skip; i < r->count;) {
        struct entry *of[PICKED_MOST];
        uint16_t slots[PICKED_MOST];
        uint32_t n = 0, chunk = 0;
        const struct source *source = NULL;
        for (; i < r->count && n < PICKED_MOST; i++) {
            struct entry *e = &r->entries[i];
            if (!context && e->stream != info->stream) continue;
            uint32_t at = value_at(e, context);
            if (n > 0 && (e->place.source != source || at / CHUNK_ROWS != chunk)) break;
            source = e->place.source;
            chunk = at / CHUNK_ROWS;
            of[n] = e;
            slots[n++] = (uint16_t)(at % CHUNK_ROWS);
        }
        if (n == 0 || !source->ops->has_column(source, info->id)) continue;
        TRY(source->ops->pick(source, info->id, chunk, slots, n, values, err));
        for (uint32_t k = 0; k < n; k++)
            add_member(&c, slots[k], context ? &of[k]->context : &of[k]->properties);
    }
    return 0;
}

/* Lists of line items have at most so many members; others are not shown. */
enum { LIST_MEMBERS = 64 };

struct list_reader {
    struct stream_info stream;
    struct column_reader columns[LIST_MEMBERS];
    uint32_t n;
    uint32_t counts[CHUNK_ROWS]; /* line items of the rows of a chunk */
    const struct source *source; /* of that chunk */
    uint32_t chunk;
    uint64_t base;
};

/* Items first .. first+n-1 of a column, all of one chunk. */
static int pick_items(struct column_reader *c, const struct source *source, uint64_t first,
                      uint32_t n, struct keel_error *err) {
    uint16_t slots[PICKED_MOST];
    c->values->vec.n = 0;
    if (!source->ops->has_column(source, c->info.id)) return 0;
    for (uint32_t k = 0; k < n; k++) slots[k] = (uint16_t)(first % CHUNK_ROWS + k);
    return source->ops->pick(source, c->info.id, (uint32_t)(first / CHUNK_ROWS), slots, n,
                             c->values, err);
}

/* Items as objects, as many at once as lie in a chunk. */
static int add_items(struct list_reader *l, const struct source *source, uint64_t item,
                     uint32_t count, struct buf *to, struct keel_error *err) {
    for (uint32_t done = 0; done < count;) {
        uint32_t slot = (uint32_t)((item + done) % CHUNK_ROWS), n = count - done;
        if (n > CHUNK_ROWS - slot) n = CHUNK_ROWS - slot;
        if (n > PICKED_MOST) n = PICKED_MOST;
        for (uint32_t c = 0; c < l->n; c++)
            TRY(pick_items(&l->columns[c], source, item + done, n, err));
        for (uint32_t k = 0; k < n; k++) {
            (void)!buf_add_text(to, done + k ? ",{" : "{");
            for (uint32_t c = 0; c < l->n; c++) add_member(&l->columns[c], slot + k, to);
            (void)!buf_add_char(to, '}');
        }
        done += n;
    }
    return 0;
}

static int add_list(struct list_reader *l, struct entry *e, struct keel_error *err) {
    const struct source *source = e->place.source;
    uint32_t chunk = e->place.ordinal / CHUNK_ROWS, at = e->place.ordinal % CHUNK_ROWS;
    if (l->source != source || l->chunk != chunk) {
        l->source = NULL;
        memset(l->counts, 0, sizeof l->counts);
        TRY(source->ops->items(source, l->stream.id, chunk, l->counts, &l->base, err));
        l->source = source;
        l->chunk = chunk;
    }
    if (l->counts[at] == 0) return 0;
    uint64_t item = l->base;
    for (uint32_t i = 0; i < at; i++) item += l->counts[i];
    struct buf *to = &e->properties;
    add_name(to, l->stream.name);
    (void)!buf_add_char(to, '[');
    TRY(add_items(l, source, item, l->counts[at], to, err));
    (void)!buf_add_char(to, ']');
    return 0;
}

static int add_lists(struct reading *r, struct list_reader *l, const struct column_info *columns,
                     uint32_t n, struct keel_error *err) {
    int code = 0;
    l->n = 0;
    l->source = NULL;
    for (uint32_t i = 0; i < n && l->n < LIST_MEMBERS; i++) {
        if (columns[i].stream != l->stream.id) continue;
        struct vec_buffer *values = k_alloc(sizeof *values);
        vec_buffer_init(values);
        l->columns[l->n++] = column_reader(r, &columns[i], values);
    }
    for (uint32_t i = r->skip; i < r->count && l->n > 0 && code == 0; i++)
        if (r->entries[i].stream == l->stream.parent) code = add_list(l, &r->entries[i], err);
    for (uint32_t c = 0; c < l->n; c++) {
        vec_buffer_release(l->columns[c].values);
        k_free(l->columns[c].values);
    }
    return code;
}

static int read_values(struct reading *r, struct keel_error *err) {
    const struct schema *schema = store_schema(db_store(r->db));
    uint32_t streams = schema_streams(schema), n = schema_columns(schema);
    bool *seen = k_zalloc(streams);
    struct column_info *columns = k_alloc_array(n + 1, sizeof *columns);
    struct vec_buffer *values = k_alloc(sizeof *values);
    struct list_reader *list = NULL;
    int code = 0;
    vec_buffer_init(values);
    for (uint32_t i = r->skip; i < r->count; i++) seen[r->entries[i].stream] = true;
    seen[STREAM_ROWS] = r->count > r->skip;
    for (uint32_t id = 0; id < n && code == 0; id++) {
        columns[id] = schema_column(schema, id);
        if (columns[id].stream < streams && seen[columns[id].stream])
            code = add_column(r, &columns[id], values, err);
    }
    for (uint32_t id = 1; id < streams && code == 0; id++) {
        struct stream_info s = schema_stream(schema, id);
        if (s.kind != STREAM_KIND_ITEMS || !seen[s.parent]) continue;
        if (!list) list = k_alloc(sizeof *list);
        list->stream = s;
        code = add_lists(r, list, columns, n, err);
    }
    vec_buffer_release(values);
    k_free(values);
    k_free(list);
    k_free(columns);
    k_free(seen);
    return code;
}

static struct str finish_object(struct arena *a, struct buf *b) {
    struct str text = str_dup(a, buf_str(b));
    buf_release(b);
    return text;
}

int timeline_read(struct db *db, const struct snapshot *snap, uint32_t customer, int64_t at_ms,
                  uint32_t limit, struct arena *a, struct timeline *out, struct keel_error *err) {
    struct reading r = {.db = db, .snap = snap, .customer = customer, .at_ms = at_ms};
    int code = list_events(&r, err);
    if (limit > TIMELINE_MAX) limit = TIMELINE_MAX;
    r.skip = r.count > limit ? r.count - limit : 0;
    for (uint32_t i = r.skip; i < r.count; i++) {
        (void)!buf_add_char(&r.entries[i].properties, '{');
        (void)!buf_add_char(&r.entries[i].context, '{');
    }
    if (code == 0) code = read_values(&r, err);
    *out = (struct timeline){.total = r.count, .count = r.count - r.skip};
    out->events = arena_alloc(a, (size_t)out->count * sizeof *out->events + 1);
    for (uint32_t i = 0; i < r.count; i++) {
        struct entry *e = &r.entries[i];
        (void)!buf_add_char(&e->properties, '}');
        (void)!buf_add_char(&e->context, '}');
        if (code == 0 && (e->properties.failed || e->context.failed))
            code =
                error_set(err, KEEL_E_NO_MEMORY, "no memory for a timeline of %u events", r.count);
        if (i < r.skip || code < 0) {
            buf_release(&e->properties);
            buf_release(&e->context);
            continue;
        }
        out->events[i - r.skip] = (struct timeline_event){
            .time_ms = e->time_ms,
            .stream = e->stream,
            .name = schema_stream(store_schema(db_store(db)), e->stream).name,
            .properties = finish_object(a, &e->properties),
            .context = finish_object(a, &e->context)};
    }
    k_free(r.entries);
    return code;
}
