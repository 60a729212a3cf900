/* Implementation of timeline.h: one ordered scan of the customer finds the events and where they
 * stand. Their values are then picked there, column by column, those of one chunk together; line
 * items are objects as the events' properties and contexts are. JSON is written event by event,
 * when the values of some hundred events are known.
 *
 * Most of the time is memory that is far away: chunks, dictionaries, strings. Each kind is asked
 * for as a whole before its first is used, so that the waits overlap. */
#include "customer/timeline.h"

#include <stdlib.h>

enum {
    OBJECT_MAX = EVENT_MAX_BYTES * 4,
    ENTRIES_AT_ONCE = 256, /* whose values are held: bounds the memory of a long timeline */
    PICKED_MOST = 64,      /* values of one chunk at a time */
};
#define COLUMN_NONE UINT32_MAX

/* Of an object, in a list by index. */
struct held_value {
    enum { HOLDS_NUMBER, HOLDS_BOOL, HOLDS_CODE, HOLDS_TEXT, HOLDS_JSON, HOLDS_ITEMS } kind;
    uint32_t next; /* 0: the last */
    struct str name;
    union {
        double num;
        struct {
            const struct lexicon *lexicon;
            uint32_t code;
        };
        struct str text;
        struct { /* objects */
            uint32_t first_item, items;
        };
    };
};

struct object {
    uint32_t first, last; /* values; 0: none */
};

struct entry {
    int64_t time_ms;
    uint32_t stream;
    struct row_place place;
};

/* Objects whose values lie in one chunk of each of a stream's columns. */
struct picks {
    const struct source *source;
    uint32_t stream, chunk, first, n; /* first: of reading.slots */
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
    struct object *objects; /* two an entry: properties, context; then line items */
    uint32_t object_count, object_capacity;
    struct picks *picks;
    uint32_t pick_count, pick_capacity;
    uint16_t *slots; /* of the picks, in their chunks; */
    uint32_t *of;    /* the objects whose values stand there */
    uint32_t slot_count, slot_capacity;
    struct vec_buffer *picked;
    struct arena texts; /* of the values */
};

/* ---- values ---- */

/* Makes room for one more in an array. */
static void *room(void *array, uint32_t n, uint32_t *capacity, size_t bytes) {
    if (n < *capacity) return array;
    *capacity = *capacity ? *capacity * 2 : ENTRIES_AT_ONCE * 2;
    return k_realloc(array, *capacity * bytes);
}

static void add_value(struct reading *r, uint32_t object, const struct held_value *v) {
    r->values = room(r->values, r->value_count, &r->value_capacity, sizeof *r->values);
    struct object *of = &r->objects[object];
    uint32_t at = r->value_count++;
    r->values[at] = *v;
    if (of->last)
        r->values[of->last].next = at;
    else
        of->first = at;
    of->last = at;
}

static uint32_t add_object(struct reading *r) {
    r->objects = room(r->objects, r->object_count, &r->object_capacity, sizeof *r->objects);
    r->objects[r->object_count] = (struct object){0};
    return r->object_count++;
}

static struct held_value value_of(struct reading *r, const struct vec *v, uint32_t i,
                                  const struct column_info *c, const struct lexicon *lexicon) {
    struct held_value out = {.name = c->name};
    switch (v->kind) {
    case VEC_NUMBER:
        out.kind = HOLDS_NUMBER;
        out.num = v->num[i];
        break;
    case VEC_BOOL:
        out.kind = HOLDS_BOOL;
        out.code = v->code[i];
        break;
    case VEC_CODE:
        out.kind = HOLDS_CODE;
        out.lexicon = lexicon;
        out.code = v->code[i];
        break;
    case VEC_TEXT: /* the next pick goes to the same buffer */
        out.kind = c->type == COLUMN_JSON ? HOLDS_JSON : HOLDS_TEXT;
        out.text = str_dup(&r->texts, v->text[i]);
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

static void put_object(const struct reading *r, uint32_t object, struct buf *b);

static void put_value(const struct reading *r, const struct held_value *v, struct buf *b) {
    (void)!buf_add_json_str(b, v->name);
    (void)!buf_add_char(b, ':');
    switch (v->kind) {
    case HOLDS_NUMBER: (void)!buf_add_json_f64(b, v->num); break;
    case HOLDS_BOOL: (void)!buf_add_text(b, v->code ? "true" : "false"); break;
    case HOLDS_CODE: (void)!buf_add_json_str(b, lexicon_str(v->lexicon, v->code)); break;
    case HOLDS_TEXT: (void)!buf_add_json_str(b, v->text); break;
    case HOLDS_JSON: (void)!buf_add_str(b, v->text); break;
    case HOLDS_ITEMS:
        for (uint32_t i = 0; i < v->items; i++) {
            (void)!buf_add_char(b, i ? ',' : '[');
            put_object(r, v->first_item + i, b);
        }
        (void)!buf_add_char(b, ']');
        break;
    }
}

static void put_object(const struct reading *r, uint32_t object, struct buf *b) {
    const uint32_t first = r->objects[object].first;
    (void)!buf_add_char(b, '{');
    for (uint32_t i = first; i; i = r->values[i].next) {
        if (i != first) (void)!buf_add_char(b, ',');
        put_value(r, &r->values[i], b);
    }
    (void)!buf_add_char(b, '}');
}

static struct str object_text(const struct reading *r, uint32_t object, struct buf *b,
                              struct arena *a) {
    buf_clear(b);
    put_object(r, object, b);
    return b->failed ? STR("{}") : str_dup(a, buf_str(b));
}

/* ---- the events ---- */

static void add_entries(struct reading *r, const struct batch *b, const struct row_place *places) {
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(b->live, rows);
    for (uint32_t k = 0; k < n; k++) {
        r->entries = room(r->entries, r->count, &r->capacity, sizeof *r->entries);
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

/* The place of an object's values among those of a stream. */
static void add_place(struct reading *r, uint32_t stream, const struct source *source, uint64_t at,
                      uint32_t object) {
    const uint32_t chunk = (uint32_t)(at / CHUNK_ROWS), n = r->slot_count;
    struct picks *last = r->pick_count ? &r->picks[r->pick_count - 1] : NULL;
    if (!last || last->stream != stream || last->source != source || last->chunk != chunk ||
        last->n == PICKED_MOST) {
        r->picks = room(r->picks, r->pick_count, &r->pick_capacity, sizeof *r->picks);
        last = &r->picks[r->pick_count++];
        *last = (struct picks){source, stream, chunk, n, 0};
    }
    uint32_t capacity = r->slot_capacity;
    r->slots = room(r->slots, n, &capacity, sizeof *r->slots);
    r->of = room(r->of, n, &r->slot_capacity, sizeof *r->of);
    r->slots[n] = (uint16_t)(at % CHUNK_ROWS);
    r->of[n] = object;
    r->slot_count++;
    last->n++;
}

/* One column of the stream of the picks from .. to - 1. */
static int pick_column(struct reading *r, const struct column_info *info, uint32_t from,
                       uint32_t to, struct keel_error *err) {
    const struct vec *v = &r->picked->vec;
    const struct lexicon *lexicon = NULL;
    for (uint32_t k = from; k < to; k++) {
        const struct picks *p = &r->picks[k];
        const uint16_t *slots = r->slots + p->first;
        if (!p->source->ops->has_column(p->source, info->id)) continue;
        TRY(p->source->ops->pick(p->source, info->id, p->chunk, slots, p->n, r->picked, err));
        if (v->kind == VEC_CODE && !lexicon) lexicon = store_lexicon(db_store(r->db), info->id);
        for (uint32_t j = 0; j < p->n; j++) {
            if (slots[j] >= v->n || !bit_get(v->present, slots[j])) continue;
            struct held_value value = value_of(r, v, slots[j], info, lexicon);
            add_value(r, r->of[p->first + j], &value);
        }
    }
    return 0;
}

/* All columns at all places: memory is asked for all of them before the first is waited for. */
static int pick_all(struct reading *r, const struct columns *c, struct keel_error *err) {
    for (uint32_t k = 0; k < r->pick_count; k++) {
        const struct picks *p = &r->picks[k];
        for (uint32_t id = c->first[p->stream]; id != COLUMN_NONE; id = c->next[id])
            if (p->source->ops->expect) p->source->ops->expect(p->source, id, p->chunk);
    }
    for (uint32_t from = 0, to; from < r->pick_count; from = to) {
        const uint32_t stream = r->picks[from].stream;
        for (to = from + 1; to < r->pick_count && r->picks[to].stream == stream;) to++;
        for (uint32_t id = c->first[stream]; id != COLUMN_NONE; id = c->next[id])
            TRY(pick_column(r, &c->info[id], from, to, err));
    }
    r->pick_count = r->slot_count = 0;
    return 0;
}

static uint32_t properties_of(const struct reading *r, uint32_t entry) {
    return (entry - r->from) * 2;
}

/* Of the context, or of an event. */
static void find_places(struct reading *r, uint32_t stream) {
    for (uint32_t i = r->from; i < r->to; i++) {
        const struct entry *e = &r->entries[i];
        if (stream == STREAM_ROWS)
            add_place(r, stream, e->place.source, e->place.row, properties_of(r, i) + 1);
        else if (e->stream == stream)
            add_place(r, stream, e->place.source, e->place.ordinal, properties_of(r, i));
    }
}

/* Of the line items of a list, which are objects of their events. */
static int find_items(struct reading *r, const struct stream_info *list, struct keel_error *err) {
    uint32_t counts[CHUNK_ROWS], chunk = 0; /* of the rows of a chunk */
    const struct source *source = NULL;     /* of that chunk */
    uint64_t base = 0;
    for (uint32_t i = r->from; i < r->to; i++) {
        const struct row_place *place = &r->entries[i].place;
        const uint32_t at = place->ordinal % CHUNK_ROWS;
        if (r->entries[i].stream != list->parent) continue;
        K_ASSERT(place->source);
        if (source != place->source || chunk != place->ordinal / CHUNK_ROWS) {
            source = place->source;
            chunk = place->ordinal / CHUNK_ROWS;
            memset(counts, 0, sizeof counts);
            TRY(source->ops->items(source, list->id, chunk, counts, &base, err));
        }
        if (counts[at] == 0) continue;
        uint64_t item = base;
        for (uint32_t k = 0; k < at; k++) item += counts[k];
        struct held_value v = {.kind = HOLDS_ITEMS,
                               .name = list->name,
                               .first_item = r->object_count,
                               .items = counts[at]};
        add_value(r, properties_of(r, i), &v);
        for (uint32_t k = 0; k < counts[at]; k++)
            add_place(r, list->id, source, item + k, add_object(r));
    }
    return 0;
}

/* All values of entries r->from .. r->to - 1. Lists stand behind the other properties. */
static int read_values(struct reading *r, const struct columns *c, struct keel_error *err) {
    r->value_count = 1;
    r->object_count = 0;
    memset(c->seen, 0, c->streams * sizeof *c->seen);
    for (uint32_t i = r->from; i < r->to; i++) {
        c->seen[r->entries[i].stream] = true;
        (void)add_object(r);
        (void)add_object(r);
    }
    find_places(r, STREAM_ROWS);
    for (uint32_t id = 1; id < c->streams; id++)
        if (c->seen[id]) find_places(r, id);
    TRY(pick_all(r, c, err));
    for (uint32_t id = 1; id < c->streams; id++) {
        if (c->first[id] == COLUMN_NONE || c->seen[id]) continue;
        struct stream_info s = schema_stream(store_schema(db_store(r->db)), id);
        if (s.kind == STREAM_KIND_ITEMS && c->seen[s.parent]) TRY(find_items(r, &s, err));
    }
    return pick_all(r, c, err);
}

static int put_events(const struct reading *r, struct timeline_event *out, struct buf *text,
                      struct arena *a, struct keel_error *err) {
    const struct schema *schema = store_schema(db_store(r->db));
    for (uint32_t i = r->from; i < r->to; i++, out++) {
        const struct entry *e = &r->entries[i];
        *out = (struct timeline_event){.time_ms = e->time_ms,
                                       .stream = e->stream,
                                       .name = schema_stream(schema, e->stream).name,
                                       .properties = object_text(r, properties_of(r, i), text, a)};
        if (!text->failed) out->context = object_text(r, properties_of(r, i) + 1, text, a);
        if (text->failed) FAIL(err, NO_MEMORY, "no memory for a timeline of %u events", r->count);
    }
    return 0;
}

/* Entries skip .. count - 1, some at a time. */
static int read_events(struct reading *r, uint32_t skip, struct timeline_event *out,
                       struct arena *a, struct keel_error *err) {
    struct columns c = columns_of(r);
    struct buf text;
    int code = 0;
    r->picked = k_alloc(sizeof *r->picked);
    vec_buffer_init(r->picked);
    arena_init(&r->texts, SIZE_MAX / 2);
    buf_init(&text, OBJECT_MAX);
    for (r->from = skip; r->from < r->count && code == 0; r->from = r->to) {
        r->to = r->count - r->from < ENTRIES_AT_ONCE ? r->count : r->from + ENTRIES_AT_ONCE;
        code = read_values(r, &c, err);
        if (code < 0) break;
        find_strings(r);
        code = put_events(r, out + (r->from - skip), &text, a, err);
        arena_release(&r->texts);
    }
    buf_release(&text);
    arena_release(&r->texts);
    vec_buffer_release(r->picked);
    k_free(r->picked);
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
    k_free(r.objects);
    k_free(r.picks);
    k_free(r.slots);
    k_free(r.of);
    k_free(r.entries);
    return code;
}
