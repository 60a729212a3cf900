/* Implementation of timeline.h: one ordered scan of the customer finds the events; then, for the
 * context and for each kind of event, scans with up to SCAN_MAX_COLUMNS columns add their members.
 * The k-th row of an event in such a scan is its k-th occurrence in the first. */
#include "customer/timeline.h"

#include <stdlib.h>

enum { OBJECT_MAX = EVENT_MAX_BYTES * 4 };

struct entry {
    int64_t time_ms;
    uint32_t stream;
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

/* ---- scans of the one customer ---- */

struct columns {
    struct column_info info[SCAN_MAX_COLUMNS];
    struct lexicon *lexicons[SCAN_MAX_COLUMNS];
    uint32_t ids[SCAN_MAX_COLUMNS];
    uint32_t count;
};

static int open_scan(const struct reading *r, const uint32_t *event, const struct columns *columns,
                     struct scan **out, struct keel_error *err) {
    struct scan_spec spec = {.events = event,
                             .event_count = event ? 1 : 0,
                             .columns = columns ? columns->ids : NULL,
                             .column_count = columns ? columns->count : 0,
                             .from_ms = INT64_MIN,
                             .to_ms = r->at_ms,
                             .ordered = true};
    TRY(scan_open(r->snap, &spec, out, err));
    int code = scan_range(*out, r->customer, 1, err);
    if (code < 0) scan_close(*out);
    return code;
}

static int list_events(struct reading *r, struct keel_error *err) {
    struct scan *scan;
    struct batch b;
    TRY(open_scan(r, NULL, NULL, &scan, err));
    int got;
    while ((got = scan_next(scan, &b, err)) == 1)
        for (uint32_t i = 0; i < b.n; i++) {
            if (!bit_get(b.live, i)) continue;
            if (r->count == r->capacity) {
                r->capacity = r->capacity ? r->capacity * 2 : 256;
                r->entries = k_realloc(r->entries, (size_t)r->capacity * sizeof *r->entries);
            }
            struct entry *e = &r->entries[r->count++];
            *e = (struct entry){.time_ms = b.time[i], .stream = b.event[i]};
            buf_init(&e->properties, OBJECT_MAX);
            buf_init(&e->context, OBJECT_MAX);
        }
    scan_close(scan);
    return got;
}

/* The entry of the next row: events come in the order of the first scan. */
static struct entry *next_entry(struct reading *r, uint32_t *at, uint32_t stream) {
    while (*at < r->count && r->entries[*at].stream != stream) ++*at;
    return *at < r->count ? &r->entries[(*at)++] : NULL;
}

static int add_columns(struct reading *r, const uint32_t *event, const struct columns *columns,
                       struct keel_error *err) {
    struct scan *scan;
    struct batch b;
    uint32_t at = 0;
    TRY(open_scan(r, event, columns, &scan, err));
    int got;
    while ((got = scan_next(scan, &b, err)) == 1)
        for (uint32_t i = 0; i < b.n && got == 1; i++) {
            if (!bit_get(b.live, i)) continue;
            struct entry *e = next_entry(r, &at, b.event[i]);
            if (!e || e - r->entries < r->skip) continue;
            struct buf *to = event ? &e->properties : &e->context;
            for (uint32_t c = 0; c < columns->count; c++) {
                const struct vec *v;
                int code = batch_column(&b, c, &v, err);
                if (code < 0) {
                    got = code;
                    break;
                }
                if (!bit_get(v->present, i)) continue;
                add_name(to, columns->info[c].name);
                add_value(to, v, i, &columns->info[c], columns->lexicons[c]);
            }
        }
    scan_close(scan);
    return got;
}

static int add_item_row(const struct batch *b, uint32_t row, const struct columns *columns,
                        struct str list, struct buf *to, struct keel_error *err) {
    struct batch_items items[SCAN_MAX_COLUMNS];
    for (uint32_t c = 0; c < columns->count; c++) TRY(batch_item_column(b, c, &items[c], err));
    if (!columns->count || !items[0].count[row]) return 0;
    add_name(to, list);
    (void)!buf_add_char(to, '[');
    for (uint32_t k = 0; k < items[0].count[row]; k++) {
        (void)!buf_add_text(to, k ? ",{" : "{");
        for (uint32_t c = 0; c < columns->count; c++) {
            uint32_t at = items[c].first[row] + k;
            const struct vec *v = &items[c].chunks[at / CHUNK_ROWS];
            if (!bit_get(v->present, at % CHUNK_ROWS)) continue;
            add_name(to, columns->info[c].name);
            add_value(to, v, at % CHUNK_ROWS, &columns->info[c], columns->lexicons[c]);
        }
        (void)!buf_add_char(to, '}');
    }
    return buf_add_char(to, ']');
}

static int add_items(struct reading *r, uint32_t event, const struct columns *columns,
                     struct str list, struct keel_error *err) {
    struct scan *scan;
    struct batch b;
    uint32_t at = 0;
    TRY(open_scan(r, &event, columns, &scan, err));
    int got;
    while ((got = scan_next(scan, &b, err)) == 1)
        for (uint32_t i = 0; i < b.n && got == 1; i++) {
            if (!bit_get(b.live, i)) continue;
            struct entry *e = next_entry(r, &at, event);
            if (!e || e - r->entries < r->skip) continue;
            int code = add_item_row(&b, i, columns, list, &e->properties, err);
            if (code < 0) got = code;
        }
    scan_close(scan);
    return got;
}

/* ---- which columns ---- */

static int use_columns(struct reading *r, uint32_t event, const struct stream_info *stream,
                       const struct columns *columns, struct keel_error *err) {
    if (columns->count == 0) return 0;
    if (stream->kind == STREAM_KIND_ITEMS) return add_items(r, event, columns, stream->name, err);
    return add_columns(r, stream->kind == STREAM_KIND_EVENT ? &event : NULL, columns, err);
}

static int read_stream(struct reading *r, uint32_t event, uint32_t stream_id,
                       struct keel_error *err) {
    const struct schema *schema = store_schema(db_store(r->db));
    struct stream_info stream = schema_stream(schema, stream_id);
    struct columns *columns = k_zalloc(sizeof *columns);
    int code = 0;
    for (uint32_t id = 0, n = schema_columns(schema); id < n && code == 0; id++) {
        struct column_info c = schema_column(schema, id);
        if (c.stream != stream_id) continue;
        columns->info[columns->count] = c;
        columns->lexicons[columns->count] =
            c.type == COLUMN_STRING ? store_lexicon(db_store(r->db), id) : NULL;
        columns->ids[columns->count++] = id;
        /* An item list of more columns than one scan takes would come in pieces; it has the first.
         */
        if (columns->count == SCAN_MAX_COLUMNS && stream.kind != STREAM_KIND_ITEMS) {
            code = use_columns(r, event, &stream, columns, err);
            columns->count = 0;
        } else if (columns->count == SCAN_MAX_COLUMNS) {
            break;
        }
    }
    if (code == 0) code = use_columns(r, event, &stream, columns, err);
    k_free(columns);
    return code;
}

static int read_values(struct reading *r, struct keel_error *err) {
    const struct schema *schema = store_schema(db_store(r->db));
    uint32_t streams = schema_streams(schema);
    bool *seen = k_zalloc(streams);
    int code = 0;
    for (uint32_t i = r->skip; i < r->count; i++) seen[r->entries[i].stream] = true;
    if (r->count > r->skip) code = read_stream(r, STREAM_ROWS, STREAM_ROWS, err);
    for (uint32_t id = 1; id < streams && code == 0; id++) {
        struct stream_info s = schema_stream(schema, id);
        if (s.kind == STREAM_KIND_EVENT && seen[id]) code = read_stream(r, id, id, err);
        if (s.kind == STREAM_KIND_ITEMS && seen[s.parent]) code = read_stream(r, s.parent, id, err);
    }
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
