/* Implementation of result.h. */
#include "query/result.h"

#include <inttypes.h>

struct result *result_new(void) {
    struct result *r = k_zalloc(sizeof *r);
    arena_init(&r->text, RESULT_MAX_TEXT);
    return r;
}

void result_free(struct result *r) {
    if (!r) return;
    arena_release(&r->text);
    k_free(r->cells);
    k_free(r);
}

int result_column(struct result *r, struct str name, enum datum_type type, struct keel_error *err) {
    K_ASSERT_OP(r->n_rows, ==, 0);
    if (r->n_columns == RESULT_MAX_COLUMNS)
        FAIL(err, LIMIT, "more than %d columns in an answer", RESULT_MAX_COLUMNS);
    r->columns[r->n_columns++] = (struct result_column){str_dup(&r->text, name), type};
    return 0;
}

static int result_grow(struct result *r, struct keel_error *err) {
    if (r->n_rows >= RESULT_MAX_ROWS || r->n_rows * r->n_columns >= RESULT_MAX_CELLS)
        FAIL(err, LIMIT, "the answer has more than %" PRIu64 " rows: ask for fewer by a limit",
             r->n_rows);
    uint64_t cap = r->cap_rows ? r->cap_rows * 2 : 64;
    struct datum *cells = k_try_realloc(r->cells, cap * r->n_columns * sizeof *cells);
    if (!cells) FAIL(err, NO_MEMORY, "too little memory for an answer of %" PRIu64 " rows", cap);
    r->cells = cells;
    r->cap_rows = cap;
    return 0;
}

int result_row(struct result *r, const struct datum *cells, struct keel_error *err) {
    if (r->n_rows == r->cap_rows || r->n_rows >= RESULT_MAX_ROWS) TRY(result_grow(r, err));
    struct datum *row = r->cells + r->n_rows * r->n_columns;
    for (uint32_t c = 0; c < r->n_columns; c++) {
        row[c] = cells[c];
        if ((cells[c].type != DATUM_STRING && cells[c].type != DATUM_JSON) || cells[c].str.n == 0)
            continue;
        char *copy = arena_try_alloc(&r->text, cells[c].str.n);
        if (!copy) FAIL(err, LIMIT, "the answer has too much text: ask for fewer rows");
        row[c].str.p = memcpy(copy, cells[c].str.p, cells[c].str.n);
    }
    r->n_rows++;
    return 0;
}

/* The one type of a column's values, DATUM_STRING if they differ or there are none. */
static enum datum_type common_type(const struct result *r, uint32_t column) {
    enum datum_type type = DATUM_NULL;
    for (uint64_t row = 0; row < r->n_rows; row++) {
        enum datum_type t = result_cell(r, row, column)->type;
        if (t == DATUM_NULL || t == type) continue;
        if (type != DATUM_NULL) return DATUM_STRING;
        type = t;
    }
    return type == DATUM_NULL ? DATUM_STRING : type;
}

static int to_texts(struct result *r, uint32_t column, const struct time_zone *zone,
                    struct keel_error *err) {
    struct buf text;
    buf_init(&text, 1 << 24);
    for (uint64_t row = 0; row < r->n_rows; row++) {
        struct datum *cell = &r->cells[row * r->n_columns + column];
        if (cell->type == DATUM_NULL || cell->type == DATUM_STRING) continue;
        buf_clear(&text);
        int code = datum_print(cell, zone, &text);
        char *copy = code < 0 ? NULL : arena_try_alloc(&r->text, text.n + 1);
        if (!copy) {
            buf_release(&text);
            FAIL(err, LIMIT, "the answer has too much text: ask for fewer rows");
        }
        *cell = datum_str((struct str){memcpy(copy, text.p, text.n), text.n});
    }
    buf_release(&text);
    return 0;
}

int result_finish(struct result *r, const struct time_zone *zone, struct keel_error *err) {
    for (uint32_t c = 0; c < r->n_columns; c++) {
        if (r->columns[c].type != DATUM_NULL) continue;
        r->columns[c].type = common_type(r, c);
        if (r->columns[c].type == DATUM_STRING) TRY(to_texts(r, c, zone, err));
    }
    return 0;
}

const char *datum_type_name(enum datum_type type) {
    switch (type) {
    case DATUM_BOOL: return "boolean";
    case DATUM_INTEGER: return "integer";
    case DATUM_NUMBER: return "number";
    case DATUM_TIME: return "time";
    case DATUM_DATE: return "date";
    case DATUM_JSON: return "json";
    case DATUM_NULL:
    case DATUM_STRING: break;
    }
    return "string";
}

int datum_print(const struct datum *v, const struct time_zone *zone, struct buf *out) {
    char text[TIME_TEXT_MAX];
    switch (v->type) {
    case DATUM_NULL: return 0;
    case DATUM_BOOL: return buf_add_text(out, v->boolean ? "true" : "false");
    case DATUM_INTEGER: return buf_printf(out, "%" PRId64, v->integer);
    case DATUM_NUMBER: return buf_add_f64(out, v->number);
    case DATUM_TIME: return buf_add(out, text, time_format(zone, v->time_ms, text));
    case DATUM_DATE: return buf_add(out, text, day_format(v->day, text));
    case DATUM_STRING:
    case DATUM_JSON: break;
    }
    return buf_add_str(out, v->str);
}

int datum_print_json(const struct datum *v, struct buf *out) {
    char text[TIME_TEXT_MAX];
    switch (v->type) {
    case DATUM_NULL: return buf_add_text(out, "null");
    case DATUM_NUMBER: return buf_add_json_f64(out, v->number);
    case DATUM_STRING: return buf_add_json_str(out, v->str);
    case DATUM_DATE: return buf_add_json_str(out, (struct str){text, day_format(v->day, text)});
    case DATUM_TIME:
        return buf_add_json_str(out, (struct str){text, time_format(NULL, v->time_ms, text)});
    case DATUM_BOOL:
    case DATUM_INTEGER:
    case DATUM_JSON: break;
    }
    return datum_print(v, NULL, out);
}
