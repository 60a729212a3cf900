/* Implementation of field.h. */
#include "query/field.h"

#include "query/sums.h"
#include "store/scan/spine.h"

static const enum column_type TYPES[] = {COLUMN_NUMBER, COLUMN_STRING, COLUMN_BOOL, COLUMN_JSON};
enum { N_TYPES = sizeof TYPES / sizeof TYPES[0] };

/* ---- resolving ---- */

struct found {
    struct plan *p;
    struct field *field;
    uint32_t cap;
};

static int add_columns(struct found *f, uint32_t stream, uint32_t event, struct str name,
                       uint32_t *added, struct keel_error *err) {
    for (int i = 0; i < N_TYPES; i++) {
        int64_t id = schema_find_column(f->p->schema, stream, name, TYPES[i]);
        if (id < 0) continue;
        struct field *field = f->field;
        if (field->n == f->cap) {
            uint32_t cap = f->cap ? f->cap * 2 : 4;
            struct field_column *columns = arena_alloc(&f->p->arena, cap * sizeof *columns);
            if (field->n) memcpy(columns, field->columns, field->n * sizeof *columns);
            field->columns = columns;
            f->cap = cap;
        }
        bool items = stream != event && stream != STREAM_ROWS;
        uint32_t handle;
        TRY(plan_column(f->p, (uint32_t)id, &handle, err));
        field->columns[field->n++] = (struct field_column){.id = (uint32_t)id,
                                                           .handle = handle,
                                                           .stream = event,
                                                           .type = TYPES[i],
                                                           .items = items};
        ++*added;
    }
    return 0;
}

/* The longest prefix (up to a dot) that is a list of the event; -1 if none is. */
static int64_t find_list(const struct schema *s, uint32_t event, struct str path,
                         struct str *out_rest) {
    for (size_t n = path.n; n-- > 0;) {
        if (path.p[n] != '.') continue;
        int64_t list = schema_find_list(s, event, (struct str){path.p, n});
        if (list < 0) continue;
        *out_rest = (struct str){path.p + n + 1, path.n - n - 1};
        return list;
    }
    return -1;
}

static int add_property(struct found *f, uint32_t event, struct str path, uint32_t *added,
                        struct keel_error *err) {
    struct str rest;
    int64_t list = find_list(f->p->schema, event, path, &rest);
    if (list >= 0) {
        f->field->items = true;
        return add_columns(f, (uint32_t)list, event, rest, added, err);
    }
    TRY(add_columns(f, event, event, path, added, err));
    if (memchr(path.p, '.', path.n)) /* until it is a list: then none is not as one that lacks */
        f->p->provisional = hash_mix(f->p->provisional + 2 + event);
    return 0;
}

int field_resolve(struct plan *p, const struct query_prop *prop, const struct event_set *of,
                  struct field *out, struct keel_error *err) {
    *out = (struct field){.kind = FIELD_COLUMNS};
    if (prop->scope == QUERY_SCOPE_EVENT) {
        out->kind = str_is(prop->path, "time") ? FIELD_TIME : FIELD_LABEL;
        if (out->kind == FIELD_TIME) return 0;
    }
    struct found f = {.p = p, .field = out};
    uint32_t added = 0;
    bool is_label = out->kind == FIELD_LABEL;
    if (is_label || prop->scope != QUERY_SCOPE_CONTEXT) {
        uint32_t streams = of->all ? schema_streams(p->schema) : of->n;
        for (uint32_t i = 0; i < streams; i++) {
            struct stream_info info = schema_stream(p->schema, of->all ? i : of->events[i]);
            if (info.kind != STREAM_KIND_EVENT) continue;
            bool named = info.id == schema_find_event(p->schema, STR("$page")) ||
                         info.id == schema_find_event(p->schema, STR("$screen"));
            if (is_label && named)
                TRY(add_columns(&f, info.id, info.id, STR("name"), &added, err));
            else if (!is_label)
                TRY(add_property(&f, info.id, prop->path, &added, err));
        }
    }
    if (out->items) p->provisional = hash_mix(p->provisional + 3); /* since some event has a list */
    bool instead = prop->scope == QUERY_SCOPE_AUTO && added == 0;
    if (prop->scope == QUERY_SCOPE_CONTEXT || instead)
        TRY(add_columns(&f, STREAM_ROWS, STREAM_ROWS, prop->path, &added, err));
    if (instead && added > 0) p->provisional = hash_mix(p->provisional + 1);
    if (added == 0 && !is_label) {
        out->kind = FIELD_NONE;
        struct str event = of->n == 1 ? schema_stream(p->schema, of->events[0]).name : STR("");
        if (of->all || of->n > 0) plan_note_property(p, event, prop->path);
    }
    return 0;
}

void field_needs(struct plan *p, const struct field *field, struct machine *m) {
    for (uint32_t i = 0; i < field->n; i++) machine_need_column(p, m, field->columns[i].handle);
}

bool field_blind(const struct field *field) {
    if (field->kind == FIELD_LABEL) return false;
    for (uint32_t i = 0; i < field->n; i++)
        if (field->columns[i].stream != STREAM_ROWS) return false;
    return true;
}

/* ---- reading ---- */

void flat_release(struct flat *f) {
    k_free(f->at);
    k_free(f->slot);
    k_free(f->id);
    k_free(f->number);
    *f = (struct flat){0};
}

static int flat_grow(struct flat *f, uint32_t more, struct keel_error *err) {
    if (f->n + more <= f->cap) return 0;
    uint32_t cap = f->cap ? f->cap : CHUNK_ROWS;
    while (cap < f->n + more) cap *= 2;
    uint32_t *at = k_try_realloc(f->at, cap * sizeof *at);
    if (at) f->at = at;
    uint32_t *slot = k_try_realloc(f->slot, cap * sizeof *slot);
    if (slot) f->slot = slot;
    uint32_t *id = k_try_realloc(f->id, cap * sizeof *id);
    if (id) f->id = id;
    double *number = k_try_realloc(f->number, cap * sizeof *number);
    if (number) f->number = number;
    if (!at || !slot || !id || !number) FAIL(err, NO_MEMORY, "too little memory for line items");
    f->cap = cap;
    return 0;
}

void field_reader_init(struct field_reader *r, const struct field *field, struct worker *w,
                       struct dict *dict) {
    *r = (struct field_reader){.field = field, .worker = w, .dict = dict};
    if (field->n > 0) {
        r->id_of_code = k_zalloc(field->n * sizeof *r->id_of_code);
        r->codes = k_zalloc(field->n * sizeof *r->codes);
    }
}

void field_reader_release(struct field_reader *r) {
    for (uint32_t i = 0; r->id_of_code && i < r->field->n; i++) k_free(r->id_of_code[i]);
    k_free(r->id_of_code);
    k_free(r->codes);
    k_free(r->label_of);
    *r = (struct field_reader){0};
}

static int dict_full(struct keel_error *err) {
    return error_set(err, KEEL_E_LIMIT,
                     "more than %d distinct values, or too little memory for them: narrow the "
                     "question by a filter or a range",
                     DICT_MAX);
}

static int label_of_stream(struct field_reader *r, uint32_t stream, uint32_t *out,
                           struct keel_error *err);
static int label_with_name(struct field_reader *r, uint32_t stream, struct str name, uint32_t *out,
                           struct keel_error *err);

/* The id of a text of column c; of labels, the column holds the names of pages or screens. */
static int id_of_text(struct field_reader *r, uint32_t c, struct str v, bool stable, uint32_t *out,
                      struct keel_error *err) {
    uint32_t stream = r->field->columns[c].stream;
    if (r->field->kind == FIELD_LABEL)
        return v.n > 0 ? label_with_name(r, stream, v, out, err)
                       : label_of_stream(r, stream, out, err);
    struct datum d = datum_str(v);
    if (r->field->columns[c].type == COLUMN_JSON) d.type = DATUM_JSON;
    *out = dict_add(r->dict, d, stable);
    return *out == DICT_NONE ? dict_full(err) : 0;
}

/* The id of a lexicon code of column c, kept for the next time. */
static int id_of_code(struct field_reader *r, uint32_t c, uint32_t code, uint32_t *out,
                      struct keel_error *err) {
    if (__builtin_expect(code < r->codes[c] && r->id_of_code[c][code], 1)) {
        *out = r->id_of_code[c][code] - 1;
        return 0;
    }
    struct lexicon *lexicon = store_lexicon(r->worker->plan->store, r->field->columns[c].id);
    if (code >= r->codes[c]) {
        uint32_t n = lexicon_count(lexicon);
        if (n <= code) n = code + 1;
        n += n / 8 + 64;
        uint32_t *map = k_try_realloc(r->id_of_code[c], (size_t)n * sizeof *map);
        if (!map) return dict_full(err);
        memset(map + r->codes[c], 0, (size_t)(n - r->codes[c]) * sizeof *map);
        r->id_of_code[c] = map;
        r->codes[c] = n;
    }
    TRY(id_of_text(r, c, lexicon_str(lexicon, code), /* stable= */ true, out, err));
    r->id_of_code[c][code] = *out + 1;
    return 0;
}

/* The id of the value in slot i of a vector of column c; the slot is present. */
static int id_of_value(struct field_reader *r, uint32_t c, const struct vec *v, uint32_t i,
                       uint32_t *out, struct keel_error *err) {
    switch (v->kind) {
    case VEC_CODE: return id_of_code(r, c, v->code[i], out, err);
    case VEC_NUMBER: *out = dict_add(r->dict, datum_number(v->num[i]), true); break;
    case VEC_BOOL: *out = dict_add(r->dict, datum_bool(v->code[i] != 0), true); break;
    case VEC_TEXT: return id_of_text(r, c, v->text[i], /* stable= */ false, out, err);
    }
    return *out == DICT_NONE ? dict_full(err) : 0;
}

/* Rows ascend: are they 0 .. n - 1? */
static bool all_rows(const uint16_t *rows, uint32_t n) { return n > 0 && rows[n - 1] == n - 1; }

/* The ids of codes, which stand at at[]; others keep theirs. */
static int ids_of_codes(struct field_reader *r, uint32_t c, const uint32_t *codes,
                        const uint16_t *at, uint32_t n, uint32_t *out, struct keel_error *err) {
    static const uint32_t none[1];
    uint32_t found[CHUNK_ROWS], least = UINT32_MAX;
    memcpy(found, codes, n * sizeof *found);
    bool all =
        spine_kernels()->look_up(r->codes[c] ? r->id_of_code[c] : none, r->codes[c], n, found);
    for (uint32_t i = 0; i < n; i++) least = found[i] < least ? found[i] : least;
    if (__builtin_expect(!all || least == 0, 0)) { /* codes that were not met before */
        for (uint32_t i = 0; i < n; i++) TRY(id_of_code(r, c, codes[i], &out[at[i]], err));
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) out[at[i]] = found[i] - 1;
    return 0;
}

/* The ids of the rows that have a value in a vector of column c; others keep theirs. */
static int ids_of_rows(struct field_reader *r, uint32_t c, const struct vec *v,
                       const uint16_t *rows, uint32_t n, uint32_t *out, struct keel_error *err) {
    if (v->kind != VEC_CODE) {
        for (uint32_t k = 0; k < n; k++)
            if (bit_get(v->present, rows[k])) TRY(id_of_value(r, c, v, rows[k], &out[k], err));
        return 0;
    }
    uint32_t codes[CHUNK_ROWS], m = 0;
    uint16_t at[CHUNK_ROWS];
    if (all_rows(rows, n)) {
        uint64_t bits[BITS_WORDS];
        bits_first(bits, n);
        for (uint32_t w = 0; w < BITS_WORDS; w++) bits[w] &= v->present[w];
        m = spine_kernels()->index(bits, at);
        spine_kernels()->pick_u32(v->code, n, bits, codes);
        return ids_of_codes(r, c, codes, at, m, out, err);
    }
    for (uint32_t k = 0; k < n; k++) { /* no branch: it could not be foretold */
        codes[m] = v->code[rows[k]];
        at[m] = (uint16_t)k;
        m += bit_get(v->present, rows[k]);
    }
    return ids_of_codes(r, c, codes, at, m, out, err);
}

/* The number of rows that a column can say something about is zero for most batches: skip them
 * without decoding. */
static bool column_may_have(const struct field_column *c, struct feed *f) {
    return c->stream == STREAM_ROWS || feed_may_have(f, c->stream);
}

static int label_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                     uint32_t *out, struct keel_error *err);

static int time_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                    uint32_t *out, struct keel_error *err) {
    for (uint32_t k = 0; k < n; k++) {
        out[k] = dict_add(r->dict, datum_time(f->time[rows[k]]), true);
        if (out[k] == DICT_NONE) return dict_full(err);
    }
    return 0;
}

static int item_ids(struct field_reader *r, uint32_t c, struct feed *f, const uint16_t *rows,
                    uint32_t n, uint32_t *out, uint32_t *item, struct keel_error *err) {
    struct batch_items items;
    TRY(f->items(f, r->field->columns[c].handle, &items, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t first = items.first[rows[k]], count = items.count[rows[k]];
        for (uint32_t j = 0; j < count && j < item[k]; j++) {
            const struct vec *v = &items.chunks[(first + j) / CHUNK_ROWS];
            uint32_t i = (first + j) % CHUNK_ROWS;
            if (!bit_get(v->present, i)) continue;
            TRY(id_of_value(r, c, v, i, &out[k], err));
            item[k] = j;
        }
    }
    return 0;
}

/* A field of line items: the first item that has a value. For other events of the question the
 * same path may be a plain property. */
static int first_item_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                          uint32_t *out, struct keel_error *err) {
    const struct field *field = r->field;
    uint32_t item[CHUNK_ROWS]; /* the first one so far */
    memset(item, 0xff, n * sizeof *item);
    for (uint32_t c = 0; c < field->n; c++) {
        if (!column_may_have(&field->columns[c], f)) continue;
        if (field->columns[c].items) {
            TRY(item_ids(r, c, f, rows, n, out, item, err));
            continue;
        }
        const struct vec *v;
        TRY(f->column(f, field->columns[c].handle, &v, err));
        TRY(ids_of_rows(r, c, v, rows, n, out, err));
    }
    return 0;
}

int field_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
              uint32_t *out, struct keel_error *err) {
    memset(out, 0, n * sizeof *out);
    const struct field *field = r->field;
    if (n == 0 || field->kind == FIELD_NONE) return 0;
    if (field->kind == FIELD_TIME) return time_ids(r, f, rows, n, out, err);
    if (field->kind == FIELD_LABEL) return label_ids(r, f, rows, n, out, err);
    if (field->items) return first_item_ids(r, f, rows, n, out, err);
    for (uint32_t c = 0; c < field->n; c++) {
        if (!column_may_have(&field->columns[c], f)) continue;
        const struct vec *v;
        TRY(f->column(f, field->columns[c].handle, &v, err));
        TRY(ids_of_rows(r, c, v, rows, n, out, err));
    }
    return 0;
}

static void vec_changes(const struct vec *v, uint64_t *bits) {
    uint64_t carry = 0, differs[BITS_WORDS] = {0};
    if (!bits_any(v->present)) return;
    if (v->kind == VEC_CODE || v->kind == VEC_BOOL)
        spine_kernels()->changes(v->code, v->n, differs);
    else
        memset(differs, 0xff, sizeof differs);
    for (uint32_t w = 0; w < BITS_WORDS; w++) { /* codes of absent values may be anything */
        bits[w] |= (differs[w] & v->present[w]) | (v->present[w] ^ (v->present[w] << 1 | carry));
        carry = v->present[w] >> 63;
    }
}

int field_changes(const struct field *field, struct feed *f, uint64_t *bits,
                  struct keel_error *err) {
    uint64_t all[BITS_WORDS];
    bits_first(all, f->n);
    if (field->kind == FIELD_TIME || field->items) memcpy(bits, all, sizeof all);
    if (field->kind == FIELD_LABEL) spine_kernels()->changes(f->event, f->n, bits);
    for (uint32_t c = 0; c < field->n && !field->items; c++) {
        const struct vec *v;
        if (!column_may_have(&field->columns[c], f)) continue;
        TRY(f->column(f, field->columns[c].handle, &v, err));
        vec_changes(v, bits);
    }
    for (uint32_t w = 0; w < BITS_WORDS; w++) bits[w] &= all[w];
    return 0;
}

static int flat_row_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                        struct flat *out, struct keel_error *err) {
    uint32_t ids[CHUNK_ROWS];
    TRY(flat_grow(out, n, err));
    TRY(field_ids(r, f, rows, n, ids, err));
    for (uint32_t k = 0; k < n; k++) {
        out->at[out->n] = k;
        out->slot[out->n] = rows[k];
        out->id[out->n] = ids[k];
        out->n += ids[k] != 0;
    }
    return 0;
}

static int flat_item_ids(struct field_reader *r, uint32_t c, struct feed *f, const uint16_t *rows,
                         uint32_t n, struct flat *out, struct keel_error *err) {
    struct batch_items items;
    TRY(f->items(f, r->field->columns[c].handle, &items, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t first = items.first[rows[k]], count = items.count[rows[k]];
        TRY(flat_grow(out, count, err));
        for (uint32_t j = first; j < first + count; j++) {
            const struct vec *v = &items.chunks[j / CHUNK_ROWS];
            if (!bit_get(v->present, j % CHUNK_ROWS)) continue;
            out->at[out->n] = k;
            out->slot[out->n] = j;
            TRY(id_of_value(r, c, v, j % CHUNK_ROWS, &out->id[out->n], err));
            out->n++;
        }
    }
    return 0;
}

int field_flat_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                   struct flat *out, struct keel_error *err) {
    out->n = 0;
    const struct field *field = r->field;
    if (n == 0 || field->kind == FIELD_NONE) return 0;
    if (!field->items) return flat_row_ids(r, f, rows, n, out, err);
    for (uint32_t c = 0; c < field->n; c++) {
        if (!column_may_have(&field->columns[c], f)) continue;
        if (field->columns[c].items) {
            TRY(flat_item_ids(r, c, f, rows, n, out, err));
            continue;
        }
        const struct vec *v;
        TRY(f->column(f, field->columns[c].handle, &v, err));
        TRY(flat_grow(out, n, err));
        for (uint32_t k = 0; k < n; k++) {
            if (!bit_get(v->present, rows[k])) continue;
            out->at[out->n] = k;
            out->slot[out->n] = rows[k];
            TRY(id_of_value(r, c, v, rows[k], &out->id[out->n], err));
            out->n++;
        }
    }
    return 0;
}

static int flat_item_numbers(uint32_t handle, struct feed *f, const uint16_t *rows, uint32_t n,
                             struct flat *out, struct keel_error *err) {
    struct batch_items items;
    TRY(f->items(f, handle, &items, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t first = items.first[rows[k]], count = items.count[rows[k]];
        TRY(flat_grow(out, count, err));
        for (uint32_t j = first; j < first + count; j++) {
            const struct vec *v = &items.chunks[j / CHUNK_ROWS];
            out->at[out->n] = k;
            out->slot[out->n] = j;
            out->number[out->n] = v->num[j % CHUNK_ROWS];
            out->n += bit_get(v->present, j % CHUNK_ROWS);
        }
    }
    return 0;
}

int field_flat_numbers(const struct field *field, struct feed *f, const uint16_t *rows, uint32_t n,
                       struct flat *out, struct keel_error *err) {
    out->n = 0;
    TRY(flat_grow(out, n, err));
    if (field->kind == FIELD_TIME) {
        for (uint32_t k = 0; k < n; k++) {
            out->at[k] = k;
            out->slot[k] = rows[k];
            out->number[k] = (double)f->time[rows[k]];
        }
        out->n = n;
        return 0;
    }
    for (uint32_t c = 0; n > 0 && c < field->n; c++) {
        const struct field_column *column = &field->columns[c];
        if (column->type != COLUMN_NUMBER || !column_may_have(column, f)) continue;
        if (field->kind != FIELD_COLUMNS) continue;
        if (column->items) {
            TRY(flat_item_numbers(column->handle, f, rows, n, out, err));
            continue;
        }
        const struct vec *v;
        TRY(f->column(f, column->handle, &v, err));
        TRY(flat_grow(out, n, err));
        for (uint32_t k = 0; k < n; k++) {
            out->at[out->n] = k;
            out->slot[out->n] = rows[k];
            out->number[out->n] = v->num[rows[k]];
            out->n += bit_get(v->present, rows[k]);
        }
    }
    return 0;
}

int field_counts(const struct field *field, struct feed *f, const uint16_t *rows, uint32_t n,
                 uint32_t *out, struct keel_error *err) {
    bool always = field->kind == FIELD_TIME || field->kind == FIELD_LABEL;
    for (uint32_t k = 0; k < n; k++) out[k] = always;
    for (uint32_t c = 0; n > 0 && field->kind == FIELD_COLUMNS && c < field->n; c++) {
        const struct field_column *column = &field->columns[c];
        if (!column_may_have(column, f)) continue;
        if (column->items) {
            struct batch_items items;
            TRY(f->items(f, column->handle, &items, err));
            for (uint32_t k = 0; k < n; k++) {
                uint32_t first = items.first[rows[k]], count = items.count[rows[k]];
                for (uint32_t j = first; j < first + count; j++)
                    out[k] += bit_get(items.chunks[j / CHUNK_ROWS].present, j % CHUNK_ROWS);
            }
            continue;
        }
        const struct vec *v;
        TRY(f->column(f, column->handle, &v, err));
        for (uint32_t k = 0; k < n; k++) out[k] += bit_get(v->present, rows[k]);
    }
    return 0;
}

/* ---- labels ---- */

static struct str label_base(struct str stream) {
    return str_starts(stream, STR("$")) ? (struct str){stream.p + 1, stream.n - 1} : stream;
}

static int label_of_stream(struct field_reader *r, uint32_t stream, uint32_t *out,
                           struct keel_error *err) {
    if (stream < r->labels && r->label_of[stream]) {
        *out = r->label_of[stream];
        return 0;
    }
    if (stream >= r->labels) {
        uint32_t n = stream + 64;
        uint32_t *map = k_try_realloc(r->label_of, n * sizeof *map);
        if (!map) return dict_full(err);
        memset(map + r->labels, 0, (n - r->labels) * sizeof *map);
        r->label_of = map;
        r->labels = n;
    }
    struct str name = schema_stream(r->worker->plan->schema, stream).name;
    *out = dict_add(r->dict, datum_str(label_base(name)), /* stable= */ true);
    if (*out == DICT_NONE) return dict_full(err);
    r->label_of[stream] = *out;
    return 0;
}

/* The label of a page or screen that has a name: page "Home". */
static int label_with_name(struct field_reader *r, uint32_t stream, struct str name, uint32_t *out,
                           struct keel_error *err) {
    struct buf text;
    buf_init(&text, 1 << 16);
    struct str base = label_base(schema_stream(r->worker->plan->schema, stream).name);
    buf_add_str(&text, base);
    buf_add_char(&text, ' ');
    buf_add_json_str(&text, name);
    *out =
        text.failed ? DICT_NONE : dict_add(r->dict, datum_str(buf_str(&text)), /* stable= */ false);
    buf_release(&text);
    return *out == DICT_NONE ? dict_full(err) : 0;
}

static int label_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                     uint32_t *out, struct keel_error *err) {
    bool known = all_rows(rows, n) && r->labels > 0;
    if (known) { /* label_of has 0 for the unknown, and for stream 0, which no row is of */
        memcpy(out, f->event, n * sizeof *out);
        spine_kernels()->look_up(r->label_of, r->labels, n, out);
        for (uint32_t k = 0; k < n; k++) known &= out[k] != 0;
    }
    for (uint32_t k = 0; !known && k < n; k++) {
        uint32_t stream = f->event[rows[k]];
        if (__builtin_expect(stream < r->labels && r->label_of[stream], 1))
            out[k] = r->label_of[stream];
        else
            TRY(label_of_stream(r, stream, &out[k], err));
    }
    for (uint32_t c = 0; c < r->field->n; c++) {
        const struct field_column *column = &r->field->columns[c];
        if (column->type != COLUMN_STRING || !feed_may_have(f, column->stream)) continue;
        const struct vec *v;
        TRY(f->column(f, column->handle, &v, err));
        TRY(ids_of_rows(r, c, v, rows, n, out, err));
    }
    return 0;
}
