/* Implementation of export.h.
 *
 * A source gives rows by block, and columns by chunks of 1,024 values of their own stream; so each
 * column that is read keeps its current chunk, and the k-th row of an event takes the k-th value.
 * An edge of the identity graph says that an anonymous id came with a user at a moment; the row of
 * that user and moment gets it back, so that an import finds the same edges.
 *
 * Two events that say the same at the same moment differ by nothing but their message ids. They are
 * told apart by a number behind the hash; over several sources of a month a table of hashes
 * remembers what was seen. */
#include "customer/export.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/csv.h"
#include "customer/envelope.h"

enum {
    LOADED_MOST = 4096, /* chunks in memory, 28 KiB each */
    ID_BYTES = 64,
    SEEN_LEAST = 16,
    SEEN_MOST = 1 << 25, /* different events of a month in several sources: 512 MiB */
};

/* A column, and the chunk of it that is in memory. */
struct loaded {
    const struct source *source;
    uint32_t chunk;
    bool has; /* the source has values of it */
    struct vec_buffer *values;
};

/* The counts of a list of items, by parent. */
struct item_chunk {
    const struct source *source;
    uint32_t chunk;
    uint32_t count[CHUNK_ROWS];
    uint64_t first[CHUNK_ROWS];
};

struct stream_plan {
    struct str name;
    enum event_type type;
    bool wanted, overflow;
    uint32_t *columns, n_columns; /* ids */
    uint32_t *lists, n_lists;     /* item streams of it */
    struct item_chunk *items;     /* of an item stream */
    uint32_t at_block, next;      /* ordinal of the next row in the block being read */
};

struct seen {
    uint64_t *hash; /* 0: free */
    uint32_t *count;
    size_t n, cap;
};

struct edge_note {
    int64_t time_ms;
    struct str anonymous_id;
};

struct csv_column {
    enum field_scope scope;
    struct str name;
};

struct export {
    struct db *db;
    const struct export_options *options;
    struct schema *schema;
    struct stream_plan *streams;
    uint32_t stream_count, column_count;
    struct column_info *info; /* of all columns */
    struct loaded *loaded;
    uint32_t loaded_count;
    struct row_block *rows;
    struct envelope envelope;
    struct buf out;
    struct export_sums sums;

    uint32_t number; /* whose edges are in `edges` */
    struct edge_note *edges;
    uint32_t edge_count, edge_cap, edge_at; /* edge_at: rows of this user and moment so far */
    int64_t edge_time;

    bool several; /* sources of this month */
    struct seen seen;
    uint32_t run_number; /* with one source: equal events are neighbours */
    int64_t run_time;

    struct csv_column *csv;
    uint32_t csv_count;
    struct buf digits, cell;
};

/* ---- what there is ---- */

static void add_id(uint32_t **ids, uint32_t *n, uint32_t id) {
    if ((*n & (*n - 1)) == 0) *ids = k_realloc(*ids, (*n ? *n * 2 : 1) * sizeof **ids);
    (*ids)[(*n)++] = id;
}

static int choose_events(struct export *x, struct keel_error *err) {
    const struct export_options *o = x->options;
    for (uint32_t i = 1; i < x->stream_count && !o->n_events; i++)
        x->streams[i].wanted = schema_stream(x->schema, i).kind == STREAM_KIND_EVENT;
    for (uint32_t i = 0; i < o->n_events; i++) {
        int64_t id = schema_find_event(x->schema, o->events[i]);
        if (id < 0 || id >= x->stream_count)
            FAIL(err, NOT_FOUND, "no event \"%.*s\" has arrived", STR_ARG(o->events[i]));
        x->streams[id].wanted = true;
    }
    return 0;
}

static enum event_type type_of(struct str stream) {
    for (int t = EVENT_IDENTIFY; t < EVENT_TYPES; t++)
        if (str_eq(stream, schema_reserved_name((enum event_type)t))) return (enum event_type)t;
    return EVENT_TRACK;
}

static int plan(struct export *x, struct keel_error *err) {
    x->stream_count = schema_streams(x->schema);
    x->column_count = schema_columns(x->schema);
    x->streams = k_zalloc(x->stream_count * sizeof *x->streams + 1);
    x->loaded = k_zalloc(x->column_count * sizeof *x->loaded + 1);
    x->info = k_zalloc(x->column_count * sizeof *x->info + 1);
    for (uint32_t i = 0; i < x->stream_count; i++) {
        struct stream_info s = schema_stream(x->schema, i);
        x->streams[i].at_block = UINT32_MAX;
        x->streams[i].name = s.name;
        x->streams[i].type = type_of(s.name);
        x->streams[i].overflow = str_is(s.name, SCHEMA_OVERFLOW);
        if (s.kind == STREAM_KIND_ITEMS)
            add_id(&x->streams[s.parent].lists, &x->streams[s.parent].n_lists, i);
    }
    for (uint32_t i = 0; i < x->column_count; i++) {
        x->info[i] = schema_column(x->schema, i);
        struct stream_plan *s = &x->streams[x->info[i].stream];
        add_id(&s->columns, &s->n_columns, i);
    }
    return choose_events(x, err);
}

static void release(struct export *x) {
    for (uint32_t i = 0; i < x->stream_count; i++) {
        k_free(x->streams[i].columns);
        k_free(x->streams[i].lists);
        k_free(x->streams[i].items);
    }
    for (uint32_t i = 0; i < x->column_count; i++)
        if (x->loaded[i].values) {
            vec_buffer_release(x->loaded[i].values);
            k_free(x->loaded[i].values);
        }
    k_free(x->streams);
    k_free(x->loaded);
    k_free(x->info);
    k_free(x->rows);
    k_free(x->edges);
    k_free(x->seen.hash);
    k_free(x->seen.count);
    k_free(x->csv);
    envelope_release(&x->envelope);
    buf_release(&x->digits);
    buf_release(&x->cell);
    buf_release(&x->out);
}

/* ---- values ---- */

/* Value `index` of a column's stream: 1 and its chunk and slot, or 0 if it is absent. */
static int find_value(struct export *x, const struct source *s, uint32_t column, uint64_t index,
                      const struct vec **out, uint32_t *slot, struct keel_error *err) {
    struct loaded *l = &x->loaded[column];
    if (l->source != s) {
        l->source = s;
        l->chunk = UINT32_MAX;
        l->has = s->ops->has_column(s, column);
    }
    if (!l->has) return 0;
    if (!l->values) {
        l->values = k_alloc(sizeof *l->values);
        vec_buffer_init(l->values);
        x->loaded_count++;
    }
    uint32_t chunk = (uint32_t)(index / CHUNK_ROWS);
    if (l->chunk != chunk) {
        l->chunk = UINT32_MAX;
        TRY(s->ops->column(s, column, chunk, l->values, err));
        l->chunk = chunk;
    }
    *out = &l->values->vec;
    *slot = (uint32_t)(index % CHUNK_ROWS);
    return bit_get((*out)->present, *slot);
}

/* Between rows, so that texts of the row at hand stay. */
static void forget_chunks(struct export *x) {
    if (x->loaded_count <= LOADED_MOST) return;
    for (uint32_t i = 0; i < x->column_count; i++) {
        if (!x->loaded[i].values) continue;
        vec_buffer_release(x->loaded[i].values);
        k_free(x->loaded[i].values);
        x->loaded[i] = (struct loaded){0};
    }
    x->loaded_count = 0;
}

struct value {
    enum value_type type;
    double number;
    struct str text;
};

static struct value value_of(struct export *x, const struct column_info *c, const struct vec *v,
                             uint32_t i) {
    struct lexicon *lexicon;
    switch (v->kind) {
    case VEC_NUMBER: return (struct value){.type = VALUE_NUMBER, .number = v->num[i]};
    case VEC_BOOL: return (struct value){.type = v->code[i] ? VALUE_TRUE : VALUE_FALSE};
    case VEC_CODE:
        lexicon = store_lexicon(db_store(x->db), c->id);
        return (struct value){.type = VALUE_STRING, .text = lexicon_str(lexicon, v->code[i])};
    case VEC_TEXT: break;
    }
    return (struct value){.type = c->type == COLUMN_JSON ? VALUE_JSON : VALUE_STRING,
                          .text = v->text[i]};
}

/* The names that stand in the head of an event; their values go there. */
static bool take_head(struct envelope *e, bool overflow, struct str name, const struct value *v) {
    if (v->type != VALUE_STRING) return false;
    if (overflow && str_is(name, "event")) {
        e->head.name = v->text;
        return true;
    }
    switch (e->head.type) {
    case EVENT_PAGE:
    case EVENT_SCREEN:
        if (!str_is(name, "name") || !v->text.n) return false;
        e->head.name = v->text;
        return true;
    case EVENT_GROUP:
        if (!str_is(name, "group_id")) return false;
        e->head.related_id = v->text;
        return true;
    case EVENT_ALIAS:
        if (!str_is(name, "previous_id")) return false;
        e->head.related_id = v->text;
        return true;
    default: return false;
    }
}

static int add_columns(struct export *x, const struct source *s, uint32_t stream, uint64_t index,
                       bool overflow, struct keel_error *err) {
    struct stream_plan *p = &x->streams[stream];
    enum field_scope scope = stream == STREAM_ROWS ? SCOPE_CONTEXT : SCOPE_PROPERTY;
    for (uint32_t i = 0; i < p->n_columns; i++) {
        const struct vec *v;
        uint32_t slot;
        int got = find_value(x, s, p->columns[i], index, &v, &slot, err);
        if (got < 0) return got;
        if (got == 0) continue;
        const struct column_info *c = &x->info[p->columns[i]];
        struct value value = value_of(x, c, v, slot);
        if (scope == SCOPE_PROPERTY && str_is(c->name, SCHEMA_REST) && value.text.n >= 2) {
            x->envelope.rest = (struct str){value.text.p + 1, value.text.n - 2};
            continue;
        }
        if (scope == SCOPE_PROPERTY && take_head(&x->envelope, overflow, c->name, &value)) continue;
        struct envelope_field *f = envelope_add(&x->envelope, scope, c->name, value.type);
        f->number = value.number;
        f->text = value.text;
    }
    return 0;
}

/* ---- line items ---- */

static int load_items(struct stream_plan *p, const struct source *s, uint32_t stream,
                      uint32_t chunk, struct keel_error *err) {
    uint64_t base = 0;
    if (!p->items) p->items = k_zalloc(sizeof *p->items);
    if (p->items->source == s && p->items->chunk == chunk) return 0;
    p->items->source = NULL;
    TRY(s->ops->items(s, stream, chunk, p->items->count, &base, err));
    for (uint32_t i = 0; i < CHUNK_ROWS; i++) {
        p->items->first[i] = base;
        base += p->items->count[i];
    }
    p->items->source = s;
    p->items->chunk = chunk;
    return 0;
}

static int add_item(struct export *x, const struct source *s, const struct stream_plan *p,
                    uint64_t index, struct keel_error *err) {
    bool first = true;
    for (uint32_t i = 0; i < p->n_columns; i++) {
        const struct vec *v;
        uint32_t slot;
        int got = find_value(x, s, p->columns[i], index, &v, &slot, err);
        if (got < 0) return got;
        if (got == 0) continue;
        const struct column_info *c = &x->info[p->columns[i]];
        struct value value = value_of(x, c, v, slot);
        envelope_item_value(&x->envelope, first, c->name, value.type, value.number, value.text);
        first = false;
    }
    return 0;
}

static int add_lists(struct export *x, const struct source *s, uint32_t stream, uint32_t index,
                     struct keel_error *err) {
    const struct stream_plan *p = &x->streams[stream];
    for (uint32_t i = 0; i < p->n_lists; i++) {
        uint32_t list = p->lists[i], at = index % CHUNK_ROWS;
        struct stream_plan *items = &x->streams[list];
        if (s->ops->stream_rows(s, list) == 0) continue;
        TRY(load_items(items, s, list, index / CHUNK_ROWS, err));
        if (!items->items->count[at]) continue;
        envelope_list_begin(&x->envelope, items->name);
        for (uint32_t k = 0; k < items->items->count[at]; k++) {
            envelope_item(&x->envelope, k == 0);
            TRY(add_item(x, s, items, items->items->first[at] + k, err));
        }
        envelope_list_end(&x->envelope);
    }
    return 0;
}

/* ---- who ---- */

static void note_edge(void *ctx, const struct edge *edge) {
    struct export *x = ctx;
    if (x->edge_count == x->edge_cap) {
        x->edge_cap = x->edge_cap ? x->edge_cap * 2 : 16;
        x->edges = k_realloc(x->edges, x->edge_cap * sizeof *x->edges);
    }
    x->edges[x->edge_count++] =
        (struct edge_note){.time_ms = edge->time_ms, .anonymous_id = edge->anonymous_id};
}

/* The anonymous id that came with a user's event: that of an edge of this moment. Several edges of
 * one moment are dealt out to its rows in turn. */
static struct str companion(struct export *x, uint32_t number, struct str user_id, int64_t time_ms,
                            struct str not_this) {
    if (x->number != number) {
        x->number = number;
        x->edge_count = 0;
        x->edge_time = INT64_MIN;
        identity_edges(db_identity(x->db), ID_USER, user_id, note_edge, x);
    }
    if (x->edge_time != time_ms) x->edge_at = 0;
    x->edge_time = time_ms;
    uint32_t matches = 0;
    for (uint32_t i = 0; i < x->edge_count; i++)
        matches += x->edges[i].time_ms == time_ms && !str_eq(x->edges[i].anonymous_id, not_this);
    if (!matches) return (struct str){"", 0};
    uint32_t wanted = x->edge_at++ % matches;
    for (uint32_t i = 0;; i++)
        if (x->edges[i].time_ms == time_ms && !str_eq(x->edges[i].anonymous_id, not_this) &&
            wanted-- == 0)
            return x->edges[i].anonymous_id;
}

/* ---- ids of messages ---- */

static void grow_seen(struct seen *s) {
    struct seen larger = {.cap = s->cap ? s->cap * 2 : SEEN_LEAST, .n = s->n};
    larger.hash = k_zalloc(larger.cap * sizeof *larger.hash);
    larger.count = k_zalloc(larger.cap * sizeof *larger.count);
    for (size_t i = 0; i < s->cap; i++) {
        if (!s->hash[i]) continue;
        size_t to = (size_t)hash_mix(s->hash[i]) & (larger.cap - 1);
        while (larger.hash[to]) to = (to + 1) & (larger.cap - 1);
        larger.hash[to] = s->hash[i];
        larger.count[to] = s->count[i];
    }
    k_free(s->hash);
    k_free(s->count);
    *s = larger;
}

static void forget_seen(struct seen *s) {
    if (s->cap > SEEN_LEAST) { /* a small one is emptied for every customer and moment */
        k_free(s->hash);
        k_free(s->count);
        *s = (struct seen){0};
    } else if (s->n) {
        memset(s->hash, 0, s->cap * sizeof *s->hash);
        memset(s->count, 0, s->cap * sizeof *s->count);
        s->n = 0;
    }
}

/* How many events of this content came before. */
static uint32_t count_seen(struct seen *s, uint64_t hash) {
    if (s->n * 2 >= s->cap) grow_seen(s);
    hash += hash == 0;
    size_t i = (size_t)hash_mix(hash) & (s->cap - 1);
    while (s->hash[i] && s->hash[i] != hash) i = (i + 1) & (s->cap - 1);
    s->n += !s->hash[i];
    s->hash[i] = hash;
    return s->count[i]++;
}

static int make_id(struct export *x, uint32_t number, int64_t time_ms, struct str content,
                   char out[ID_BYTES], struct keel_error *err) {
    struct hash128 h = hash128(content.p, content.n);
    if (!x->several && (number != x->run_number || time_ms != x->run_time)) forget_seen(&x->seen);
    x->run_number = number;
    x->run_time = time_ms;
    if (x->seen.n >= SEEN_MOST)
        FAIL(err, LIMIT,
             "more than %d events of a month lie in several parts; run keel compact first",
             SEEN_MOST);
    uint32_t before = count_seen(&x->seen, h.lo);
    int n = snprintf(out, ID_BYTES, "keel-%016llx%016llx", (unsigned long long)h.hi,
                     (unsigned long long)h.lo);
    if (before) snprintf(out + n, ID_BYTES - (size_t)n, "-%u", before + 1);
    return 0;
}

/* ---- CSV ---- */

static int by_column(const void *a, const void *b) {
    const struct csv_column *x = a, *y = b;
    if (x->scope != y->scope) return x->scope < y->scope ? -1 : 1;
    return str_cmp(x->name, y->name);
}

static void add_csv_column(struct export *x, uint32_t *cap, enum field_scope scope,
                           struct str name) {
    if (x->csv_count == *cap) {
        *cap = *cap ? *cap * 2 : 256;
        x->csv = k_realloc(x->csv, *cap * sizeof *x->csv);
    }
    x->csv[x->csv_count++] = (struct csv_column){scope, name};
}

static void find_csv_columns(struct export *x) {
    uint32_t cap = 0, kept = 0;
    for (uint32_t i = 0; i < x->stream_count; i++) {
        const struct stream_plan *s = &x->streams[i];
        if (i != STREAM_ROWS && !s->wanted) continue;
        enum field_scope scope = i == STREAM_ROWS ? SCOPE_CONTEXT : SCOPE_PROPERTY;
        for (uint32_t k = 0; k < s->n_columns; k++)
            add_csv_column(x, &cap, scope, x->info[s->columns[k]].name);
        for (uint32_t k = 0; k < s->n_lists; k++)
            add_csv_column(x, &cap, scope, x->streams[s->lists[k]].name);
    }
    if (x->csv_count) qsort(x->csv, x->csv_count, sizeof *x->csv, by_column);
    for (uint32_t i = 0; i < x->csv_count; i++)
        if (kept == 0 || by_column(&x->csv[kept - 1], &x->csv[i]) != 0) x->csv[kept++] = x->csv[i];
    x->csv_count = kept;
}

static void add_cell(struct export *x, struct str text) {
    csv_add_text(&x->out, text, x->options->raw ? CSV_RAW : CSV_SAFE);
}

static void put_text(struct export *x, const struct export_cell *cell) {
    if (!x->options->cell) {
        add_cell(x, cell->text);
        return;
    }
    buf_clear(&x->cell);
    int code = x->options->cell(x->options->ctx, cell, &x->cell);
    if (code < 0) x->out.failed = code;
    add_cell(x, buf_str(&x->cell));
}

static int csv_header(struct export *x, struct keel_error *err) {
    struct buf name;
    find_csv_columns(x);
    if (x->csv_count > EXPORT_MAX_CSV_COLUMNS)
        FAIL(err, LIMIT, "%u columns are more than the %d of a CSV export; choose some --events",
             x->csv_count, EXPORT_MAX_CSV_COLUMNS);
    buf_init(&name, 4096);
    (void)!buf_add_text(&x->out, "timestamp,type,event,user_id,anonymous_id,message_id");
    for (uint32_t i = 0; i < x->csv_count; i++) {
        buf_clear(&name);
        (void)!buf_add_text(&name, x->csv[i].scope == SCOPE_CONTEXT ? "context." : "properties.");
        (void)!buf_add_str(&name, x->csv[i].name);
        (void)!buf_add_char(&x->out, ',');
        put_text(x, &(struct export_cell){.type = VALUE_STRING, .text = buf_str(&name)});
    }
    buf_release(&name);
    return buf_add_text(&x->out, "\r\n");
}

static void csv_value(struct export *x, const struct envelope_field *f) {
    struct export_cell cell = {&x->envelope.head, f->scope, f->type, f->name, f->text};
    buf_clear(&x->digits);
    if (f->type == VALUE_NUMBER) (void)!buf_add_f64(&x->digits, f->number);
    if (f->type == VALUE_NUMBER) cell.text = buf_str(&x->digits);
    if (f->type == VALUE_FALSE) cell.text = STR("false");
    if (f->type == VALUE_TRUE) cell.text = STR("true");
    put_text(x, &cell);
}

/* Fields and columns are in the same order: one walk. */
static void csv_row(struct export *x) {
    const struct envelope *e = &x->envelope;
    const struct event_head *h = &e->head;
    char time[TIME_TEXT_MAX];
    const struct str cells[] = {h->name, h->user_id, h->anonymous_id};
    (void)!buf_add(&x->out, time, time_format(NULL, h->time_ms, time));
    (void)!buf_printf(&x->out, ",%s", envelope_type_text(h->type));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        (void)!buf_add_char(&x->out, ',');
        struct export_cell cell = {h, SCOPE_PROPERTY, VALUE_STRING, STR(""), cells[i]};
        if (cells[i].n) put_text(x, &cell);
    }
    (void)!buf_add_char(&x->out, ',');
    (void)!buf_add_str(&x->out, e->message_id); /* our own: see make_id */
    size_t at = 0;
    for (uint32_t i = 0; i < x->csv_count; i++) {
        struct envelope_field *f = NULL;
        (void)!buf_add_char(&x->out, ',');
        for (; at < e->n && !f; at++) {
            struct csv_column key = {e->fields[at].scope, e->fields[at].name};
            int order = by_column(&key, &x->csv[i]);
            if (order > 0) break;
            if (order == 0) f = &e->fields[at];
        }
        if (f) csv_value(x, f);
    }
    (void)!buf_add_text(&x->out, "\r\n");
}

/* ---- rows ---- */

static int flush(struct export *x, size_t at_least, struct keel_error *err) {
    if (x->out.failed) FAIL(err, NO_MEMORY, "no memory for a line of an export");
    if (x->out.n < at_least || x->out.n == 0) return 0;
    TRY(x->options->sink(x->options->ctx, buf_str(&x->out), err));
    x->sums.bytes += x->out.n;
    buf_clear(&x->out);
    return 0;
}

/* In a CSV these have columns of their own. */
static void head_as_columns(struct export *x) {
    struct envelope *e = &x->envelope;
    const char *name = e->head.type == EVENT_GROUP ? "group_id" : "previous_id";
    if (e->head.related_id.n)
        envelope_add(e, SCOPE_PROPERTY, str_from(name), VALUE_STRING)->text = e->head.related_id;
    if (e->head.name.n && (e->head.type == EVENT_PAGE || e->head.type == EVENT_SCREEN))
        envelope_add(e, SCOPE_PROPERTY, STR("name"), VALUE_STRING)->text = e->head.name;
    if (e->rest.n) /* with its braces: it stands in the row's text */
        envelope_add(e, SCOPE_PROPERTY, STR(SCHEMA_REST), VALUE_JSON)->text =
            (struct str){e->rest.p - 1, e->rest.n + 2};
    envelope_sort(e);
}

static int write_row(struct export *x, uint32_t number, struct keel_error *err) {
    struct envelope *e = &x->envelope;
    char id[ID_BYTES];
    struct str text;
    TRY(envelope_text(e, &text, err));
    TRY(make_id(x, number, e->head.time_ms, text, id, err));
    e->message_id = str_from(id);
    if (x->options->format == EXPORT_CSV) {
        head_as_columns(x);
        csv_row(x);
    } else {
        TRY(envelope_text(e, &text, err));
        (void)!buf_add_str(&x->out, text);
        (void)!buf_add_char(&x->out, '\n');
    }
    x->sums.events++;
    return flush(x, EXPORT_FLUSH_BYTES, err);
}

static int export_row(struct export *x, const struct source *s, uint32_t block, uint32_t i,
                      uint32_t ordinal, struct keel_error *err) {
    uint32_t stream = x->rows->event[i], number = x->rows->number[i];
    const struct stream_plan *p = &x->streams[stream];
    struct str none = {"", 0};
    enum id_kind kind;
    struct str id = identity_id(db_identity(x->db), number, &kind);
    struct event_head head = {.type = p->type,
                              .time_ms = x->rows->time[i],
                              .name = none,
                              .user_id = kind == ID_USER ? id : none,
                              .anonymous_id = kind == ID_USER ? none : id,
                              .related_id = none};
    if (head.type == EVENT_TRACK) head.name = p->name;
    envelope_begin(&x->envelope, &head);
    TRY(add_columns(x, s, STREAM_ROWS, (uint64_t)block * CHUNK_ROWS + i, false, err));
    TRY(add_columns(x, s, stream, ordinal, p->overflow, err));
    TRY(add_lists(x, s, stream, ordinal, err));
    if (kind == ID_USER)
        x->envelope.head.anonymous_id =
            companion(x, number, id, head.time_ms,
                      head.type == EVENT_ALIAS ? x->envelope.head.related_id : none);
    forget_chunks(x);
    return write_row(x, number, err);
}

static bool is_wanted(const struct export *x, uint32_t i, const struct redirect_view *redirects) {
    const struct export_options *o = x->options;
    if (!x->streams[x->rows->event[i]].wanted) return false;
    if (x->rows->time[i] < o->from_ms || x->rows->time[i] >= o->to_ms) return false;
    if (!o->customers) return true;
    uint32_t root = redirect_root(redirects, x->rows->number[i]);
    return root < o->customer_count && bit_get(o->customers, root);
}

static int export_block(struct export *x, const struct snapshot *snap, const struct source *s,
                        uint32_t block, struct keel_error *err) {
    TRY(s->ops->rows(s, block, ROWS_ALL, x->rows, err));
    for (uint32_t i = 0; i < x->rows->n; i++) {
        struct stream_plan *p = &x->streams[x->rows->event[i]];
        if (p->at_block != block) p->next = s->ops->stream_base(s, x->rows->event[i], block);
        p->at_block = block;
        uint32_t ordinal = p->next++;
        if (is_wanted(x, i, &snap->redirects)) TRY(export_row(x, s, block, i, ordinal, err));
    }
    return 0;
}

static int export_source(struct export *x, const struct snapshot *snap, const struct source *s,
                         struct keel_error *err) {
    for (uint32_t i = 0; i < x->stream_count; i++) x->streams[i].at_block = UINT32_MAX;
    if (s->max_time < x->options->from_ms || s->min_time >= x->options->to_ms) return 0;
    for (uint32_t block = 0; block < s->blocks; block++) TRY(export_block(x, snap, s, block, err));
    return 0;
}

int export_events(struct db *db, const struct snapshot *snap, const struct export_options *options,
                  struct export_sums *out, struct keel_error *err) {
    TRY(identity_whole(db_identity(db), err)); /* it names everybody */
    struct export *x = k_zalloc(sizeof *x);
    x->db = db;
    x->options = options;
    x->schema = store_schema(db_store(db));
    x->number = x->run_number = NUMBER_NONE;
    x->rows = k_alloc(sizeof *x->rows);
    envelope_init(&x->envelope);
    x->envelope.exact = true;
    buf_init(&x->digits, 64);
    buf_init(&x->cell, 2 * (size_t)ENVELOPE_MAX_BYTES);
    buf_init(&x->out, EXPORT_FLUSH_BYTES + 2 * (size_t)ENVELOPE_MAX_BYTES);
    int code = plan(x, err);
    if (code == 0 && options->format == EXPORT_CSV) code = csv_header(x, err);
    for (uint32_t i = 0; i < snap->source_count && code == 0; i++) {
        const struct source *s = snap->sources[i];
        bool begins = i == 0 || snap->sources[i - 1]->bucket != s->bucket;
        if (begins) {
            forget_seen(&x->seen);
            x->several = i + 1 < snap->source_count && snap->sources[i + 1]->bucket == s->bucket;
        }
        code = export_source(x, snap, s, err);
    }
    if (code == 0) code = flush(x, 0, err);
    if (code == 0) *out = x->sums;
    release(x);
    k_free(x);
    return code;
}
