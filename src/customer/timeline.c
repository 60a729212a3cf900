/* Implementation of timeline.h: one ordered scan of the customer finds the events and where they
 * stand. Their values are then picked there, column by column, those of one chunk together; of line
 * items those of one list. JSON is written event by event, when the values of some hundred events
 * are known.
 *
 * Most of the time is memory that is far away: chunks, dictionaries, strings. Each kind is asked
 * for as a whole before its first is used, so that the waits overlap. */
#include "customer/timeline.h"

#include <stdlib.h>

enum {
    OBJECT_MAX = EVENT_MAX_BYTES * 4,
    ENTRIES_AT_ONCE = 256, /* whose values are held: bounds the memory of a long timeline */
};
#define COLUMN_NONE UINT32_MAX

/* Of an entry, in a list by index. */
struct held_value {
    enum { HOLDS_NUMBER, HOLDS_BOOL, HOLDS_CODE, HOLDS_TEXT, HOLDS_JSON } kind;
    uint32_t next; /* 0: the last */
    struct str name;
    union {
        double num;
        struct {
            const struct lexicon *lexicon;
            uint32_t code;
        };
        struct str text;
    };
};

struct values {
    uint32_t first, last; /* 0: none */
};

struct entry {
    int64_t time_ms;
    uint32_t stream;
    struct row_place place;
    struct values properties, context;
};

struct reading {
    struct db *db;
    const struct snapshot *snap;
    uint32_t customer;
    int64_t at_ms;
    struct entry *entries;
    uint32_t count, capacity;
    uint32_t from, to;         /* entries that are read now */
    struct held_value *values; /* theirs, from 1 on */
    uint32_t value_count, value_capacity;
    struct arena texts; /* of the values */
};

/* ---- values ---- */

static void add_value(struct reading *r, struct values *of, const struct held_value *v) {
    if (r->value_count >= r->value_capacity) {
        r->value_capacity = r->value_capacity ? r->value_capacity * 2 : 1024;
        r->values = k_realloc(r->values, (size_t)r->value_capacity * sizeof *r->values);
    }
    uint32_t at = r->value_count++;
    r->values[at] = *v;
    if (of->last)
        r->values[of->last].next = at;
    else
        of->first = at;
    of->last = at;
}

static struct held_value value_of(const struct vec *v, uint32_t i, const struct column_info *c,
                                  const struct lexicon *lexicon) {
    struct held_value out = {.name = c->name};
    switch (v->kind) {
    case VEC_NUMBER:
        out.kind = HOLDS_NUMBER;
        out.num = v->num[i];
        break;
    case VEC_BOOL:
    case VEC_CODE:
        out.kind = v->kind == VEC_BOOL ? HOLDS_BOOL : HOLDS_CODE;
        out.lexicon = lexicon;
        out.code = v->code[i];
        break;
    case VEC_TEXT:
        out.kind = c->type == COLUMN_JSON ? HOLDS_JSON : HOLDS_TEXT;
        out.text = v->text[i];
        break;
    }
    return out;
}

/* Strings of dictionaries: first where they are, then their bytes. */
static void find_strings(struct reading *r) {
    for (uint32_t i = 1; i < r->value_count; i++) {
        struct held_value *v = &r->values[i];
        if (v->kind != HOLDS_CODE) continue;
        v->text = lexicon_str(v->lexicon, v->code);
        v->kind = HOLDS_TEXT;
        __builtin_prefetch(v->text.p);
    }
}

/* ---- JSON ---- */

static void put_value(struct buf *b, const struct held_value *v) {
    if (b->n > 1 && b->p[b->n - 1] != '{') (void)!buf_add_char(b, ',');
    (void)!buf_add_json_str(b, v->name);
    (void)!buf_add_char(b, ':');
    switch (v->kind) {
    case HOLDS_NUMBER: (void)!buf_add_json_f64(b, v->num); break;
    case HOLDS_BOOL: (void)!buf_add_text(b, v->code ? "true" : "false"); break;
    case HOLDS_CODE: (void)!buf_add_json_str(b, lexicon_str(v->lexicon, v->code)); break;
    case HOLDS_TEXT: (void)!buf_add_json_str(b, v->text); break;
    case HOLDS_JSON: (void)!buf_add_str(b, v->text); break;
    }
}

static struct str put_object(const struct reading *r, struct values of, struct buf *b,
                             struct arena *a) {
    buf_clear(b);
    (void)!buf_add_char(b, '{');
    for (uint32_t i = of.first; i; i = r->values[i].next) put_value(b, &r->values[i]);
    (void)!buf_add_char(b, '}');
    return b->failed ? STR("{}") : str_dup(a, buf_str(b));
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
        r->entries[r->count++] = (struct entry){
            .time_ms = b->time[rows[k]], .stream = b->event[rows[k]], .place = places[rows[k]]};
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

/* What the schema says, all of it at one moment. */
struct columns {
    uint32_t streams, n;
    struct column_info *info;
    uint32_t *next;  /* the next column of the same stream, or COLUMN_NONE */
    uint32_t *first; /* [streams] */
    bool *seen;      /* [streams] an entry that is read now is of it */
};

static struct columns columns_of(const struct reading *r) {
    const struct schema *schema = store_schema(db_store(r->db));
    struct columns c = {.n = schema_columns(schema), .streams = schema_streams(schema)};
    c.info = k_alloc_array(c.n + 1, sizeof *c.info);
    c.next = k_alloc_array(c.n + 1, sizeof *c.next);
    c.first = k_alloc_array(c.streams, sizeof *c.first);
    c.seen = k_zalloc(c.streams * sizeof *c.seen);
    schema_copy_columns(schema, c.n, c.info);
    for (uint32_t i = 0; i < c.streams; i++) c.first[i] = COLUMN_NONE;
    for (uint32_t id = c.n; id-- > 0;) {
        if (c.info[id].stream >= c.streams) continue; /* newer than the count of streams */
        c.next[id] = c.first[c.info[id].stream];
        c.first[c.info[id].stream] = id;
    }
    return c;
}

static void columns_release(struct columns *c) {
    k_free(c->info);
    k_free(c->next);
    k_free(c->first);
    k_free(c->seen);
}

enum { PICKED_MOST = 64 }; /* values of one chunk at a time */

/* Entries of one stream whose values lie in one chunk of each of its columns. */
struct picks {
    const struct source *source;
    uint32_t chunk, first, n; /* in places */
};

struct places {
    uint32_t count, picks; /* entries, chunks */
    struct picks *pick;    /* all three have room for all entries */
    struct entry **of;
    uint16_t *slots;
};

static void find_places(struct reading *r, uint32_t stream, struct places *p) {
    p->count = p->picks = 0;
    for (uint32_t i = r->from; i < r->to; i++) {
        struct entry *e = &r->entries[i];
        const bool context = stream == STREAM_ROWS;
        if (!context && e->stream != stream) continue;
        uint32_t at = context ? e->place.row : e->place.ordinal;
        struct picks *last = p->picks ? &p->pick[p->picks - 1] : NULL;
        if (!last || last->source != e->place.source || last->chunk != at / CHUNK_ROWS ||
            last->n == PICKED_MOST) {
            last = &p->pick[p->picks++];
            *last = (struct picks){e->place.source, at / CHUNK_ROWS, p->count, 0};
        }
        last->n++;
        p->of[p->count] = e;
        p->slots[p->count++] = (uint16_t)(at % CHUNK_ROWS);
    }
}

/* One column of the context or of an event. */
static int add_column(struct reading *r, const struct column_info *info, const struct places *p,
                      struct vec_buffer *values, struct keel_error *err) {
    struct column_reader c = column_reader(r, info, values);
    const bool context = info->stream == STREAM_ROWS;
    for (uint32_t k = 0; k < p->picks; k++) {
        const struct picks *pick = &p->pick[k];
        const uint16_t *slots = p->slots + pick->first;
        if (!pick->source->ops->has_column(pick->source, info->id)) continue;
        TRY(pick->source->ops->pick(pick->source, info->id, pick->chunk, slots, pick->n, values,
                                    err));
        for (uint32_t j = 0; j < pick->n; j++) {
            struct entry *e = p->of[pick->first + j];
            if (slots[j] >= values->vec.n || !bit_get(values->vec.present, slots[j])) continue;
            struct held_value v = value_of(&values->vec, slots[j], info, c.lexicon);
            /* The next pick goes to the same buffer. */
            if (values->vec.kind == VEC_TEXT) v.text = str_dup(&r->texts, v.text);
            add_value(r, context ? &e->context : &e->properties, &v);
        }
    }
    return 0;
}

/* All columns of a stream: memory is asked for all of them before the first is waited for. */
static int add_stream(struct reading *r, uint32_t stream, const struct columns *c, struct places *p,
                      struct vec_buffer *values, struct keel_error *err) {
    find_places(r, stream, p);
    for (uint32_t id = c->first[stream]; id != COLUMN_NONE; id = c->next[id])
        for (uint32_t k = 0; k < p->picks; k++) {
            const struct source *s = p->pick[k].source;
            if (s->ops->expect) s->ops->expect(s, id, p->pick[k].chunk);
        }
    for (uint32_t id = c->first[stream]; id != COLUMN_NONE; id = c->next[id])
        TRY(add_column(r, &c->info[id], p, values, err));
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

static void put_member(const struct column_reader *c, uint32_t slot, struct buf *to) {
    const struct vec *v = &c->values->vec;
    if (slot >= v->n || !bit_get(v->present, slot)) return;
    struct held_value value = value_of(v, slot, &c->info, c->lexicon);
    put_value(to, &value);
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
            for (uint32_t c = 0; c < l->n; c++) put_member(&l->columns[c], slot + k, to);
            (void)!buf_add_char(to, '}');
        }
        done += n;
    }
    return 0;
}

static int add_list(struct reading *r, struct list_reader *l, struct entry *e,
                    struct keel_error *err) {
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
    struct buf text;
    buf_init(&text, OBJECT_MAX);
    (void)!buf_add_char(&text, '[');
    int code = add_items(l, source, item, l->counts[at], &text, err);
    (void)!buf_add_char(&text, ']');
    if (code == 0 && text.failed)
        code = error_set(err, KEEL_E_NO_MEMORY, "no memory for the line items of an event");
    struct held_value v = {.kind = HOLDS_JSON, .name = l->stream.name};
    if (code == 0) v.text = str_dup(&r->texts, buf_str(&text));
    if (code == 0) add_value(r, &e->properties, &v);
    buf_release(&text);
    return code;
}

static int add_lists(struct reading *r, struct list_reader *l, const struct columns *c,
                     struct keel_error *err) {
    int code = 0;
    l->n = 0;
    l->source = NULL;
    for (uint32_t id = c->first[l->stream.id]; id != COLUMN_NONE && l->n < LIST_MEMBERS;
         id = c->next[id]) {
        struct vec_buffer *values = k_alloc(sizeof *values);
        vec_buffer_init(values);
        l->columns[l->n++] = column_reader(r, &c->info[id], values);
    }
    for (uint32_t i = r->from; i < r->to && l->n > 0 && code == 0; i++)
        if (r->entries[i].stream == l->stream.parent) code = add_list(r, l, &r->entries[i], err);
    for (uint32_t k = 0; k < l->n; k++) {
        vec_buffer_release(l->columns[k].values);
        k_free(l->columns[k].values);
    }
    return code;
}

static int read_lists(struct reading *r, const struct columns *c, struct keel_error *err) {
    struct list_reader *list = NULL;
    int code = 0;
    for (uint32_t id = 1; id < c->streams && code == 0; id++) {
        if (c->first[id] == COLUMN_NONE || c->seen[id]) continue;
        struct stream_info s = schema_stream(store_schema(db_store(r->db)), id);
        if (s.kind != STREAM_KIND_ITEMS || !c->seen[s.parent]) continue;
        if (!list) list = k_alloc(sizeof *list);
        list->stream = s;
        code = add_lists(r, list, c, err);
    }
    k_free(list);
    return code;
}

/* All values of entries r->from .. r->to - 1. */
static int read_values(struct reading *r, const struct columns *c, struct places *places,
                       struct vec_buffer *values, struct keel_error *err) {
    int code = 0;
    r->value_count = 1;
    memset(c->seen, 0, c->streams * sizeof *c->seen);
    for (uint32_t i = r->from; i < r->to; i++) c->seen[r->entries[i].stream] = true;
    c->seen[STREAM_ROWS] = true;
    for (uint32_t id = 0; id < c->streams && code == 0; id++)
        if (c->seen[id]) code = add_stream(r, id, c, places, values, err);
    return code < 0 ? code : read_lists(r, c, err);
}

static int put_events(const struct reading *r, struct timeline_event *out, struct buf *text,
                      struct arena *a, struct keel_error *err) {
    const struct schema *schema = store_schema(db_store(r->db));
    for (uint32_t i = r->from; i < r->to; i++, out++) {
        const struct entry *e = &r->entries[i];
        *out = (struct timeline_event){.time_ms = e->time_ms,
                                       .stream = e->stream,
                                       .name = schema_stream(schema, e->stream).name,
                                       .properties = put_object(r, e->properties, text, a)};
        if (!text->failed) out->context = put_object(r, e->context, text, a);
        if (text->failed) FAIL(err, NO_MEMORY, "no memory for a timeline of %u events", r->count);
    }
    return 0;
}

/* Entries skip .. count - 1, some at a time. */
static int read_events(struct reading *r, uint32_t skip, struct timeline_event *out,
                       struct arena *a, struct keel_error *err) {
    struct columns c = columns_of(r);
    struct vec_buffer *values = k_alloc(sizeof *values);
    struct places places = {.pick = k_alloc_array(ENTRIES_AT_ONCE, sizeof *places.pick),
                            .of = k_alloc_array(ENTRIES_AT_ONCE, sizeof(struct entry *)),
                            .slots = k_alloc_array(ENTRIES_AT_ONCE, sizeof *places.slots)};
    struct buf text;
    int code = 0;
    vec_buffer_init(values);
    arena_init(&r->texts, SIZE_MAX / 2);
    buf_init(&text, OBJECT_MAX);
    for (r->from = skip; r->from < r->count && code == 0; r->from = r->to) {
        r->to = r->count - r->from < ENTRIES_AT_ONCE ? r->count : r->from + ENTRIES_AT_ONCE;
        code = read_values(r, &c, &places, values, err);
        if (code < 0) break;
        find_strings(r);
        code = put_events(r, out + (r->from - skip), &text, a, err);
        arena_release(&r->texts);
    }
    buf_release(&text);
    arena_release(&r->texts);
    vec_buffer_release(values);
    k_free(values);
    k_free(places.pick);
    k_free(places.of);
    k_free(places.slots);
    columns_release(&c);
    return code;
}

int timeline_read(struct db *db, const struct snapshot *snap, uint32_t customer, int64_t at_ms,
                  uint32_t limit, struct arena *a, struct timeline *out, struct keel_error *err) {
    struct reading r = {.db = db, .snap = snap, .customer = customer, .at_ms = at_ms};
    int code = list_events(&r, err);
    if (limit > TIMELINE_MAX) limit = TIMELINE_MAX;
    uint32_t skip = r.count > limit ? r.count - limit : 0;
    *out = (struct timeline){.total = r.count, .count = r.count - skip};
    out->events = arena_alloc(a, (size_t)out->count * sizeof *out->events + 1);
    if (code == 0 && r.count > 0) code = read_events(&r, skip, out->events, a, err);
    k_free(r.values);
    k_free(r.entries);
    return code;
}
