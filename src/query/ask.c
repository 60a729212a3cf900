/* Implementation of ask.h. */
#include "query/ask.h"

#include "query/language/parse.h"
#include "query/language/query_json.h"

/* The error, and the line of the query with carets under the word. */
static int syntax_error(struct str text, const struct query_syntax_error *where, int code,
                        struct keel_error *err) {
    struct buf picture;
    buf_init(&picture, 1 << 16);
    bool placed = where->offset > 0 || where->length > 0;
    if (placed && query_error_picture(text, where, &picture) == 0 && picture.n > 0) {
        while (picture.n > 0 && picture.p[picture.n - 1] == '\n') picture.n--;
        char message[KEEL_ERROR_MAX];
        memcpy(message, err->message, sizeof message);
        (void)error_set(err, (enum keel_code) - code, "%s\n%.*s", message, (int)picture.n,
                        (const char *)picture.p);
    }
    buf_release(&picture);
    return code;
}

/* Text, or the JSON form: no text begins with a brace. */
int ask_read(struct str text, struct arena *arena, struct query **q, struct keel_error *err) {
    if (str_starts(str_trim(text), STR("{"))) return query_json_parse(text, arena, q, err);
    struct query_syntax_error where = {0};
    struct keel_error own = {0};
    int code = query_parse(text, arena, q, &where, &own);
    if (code == 0) return 0;
    code = syntax_error(text, &where, code, &own);
    if (err) *err = own;
    return code;
}

int ask_run(struct db *db, const struct query *q, const struct ask_options *options,
            struct result **out, struct keel_error *err) {
    struct query_options how = {.at_ms = QUERY_AT_NOW,
                                .threads = options->threads,
                                .cancel = options->cancel,
                                .segment = options->segment,
                                .segment_ctx = options->segment_ctx};
    if (options->at.n && !time_parse(options->at, db_zone(db), &how.at_ms))
        FAIL(err, INVALID, "at %.*s: not a time; write 2011-12-10 or 2011-12-10T12:50",
             (int)(options->at.n < 100 ? options->at.n : 100), options->at.p);
    struct snapshot *snap;
    TRY(snapshot_open(db_store(db), &snap, err));
    int code = query_run(db, snap, q, &how, out, err);
    snapshot_close(snap);
    if (code < 0) return code;
    code = identity_sound(db_identity(db), err);
    if (code < 0) result_free(*out);
    return code;
}

static struct cell cell_of(const struct datum *d) {
    struct cell c = {.is_null = d->type == DATUM_NULL};
    switch (d->type) {
    case DATUM_NULL: break;
    case DATUM_BOOL: c.boolean = d->boolean; break;
    case DATUM_INTEGER: c.integer = d->integer; break;
    case DATUM_NUMBER: c.number = d->number; break;
    case DATUM_TIME: c.time_ms = d->time_ms; break;
    case DATUM_DATE: c.day = d->day; break;
    case DATUM_STRING:
    case DATUM_JSON: c.text = d->str; break;
    }
    return c;
}

static enum cell_type type_of(enum datum_type type) {
    switch (type) {
    case DATUM_BOOL: return CELL_BOOL;
    case DATUM_INTEGER: return CELL_INTEGER;
    case DATUM_NUMBER: return CELL_NUMBER;
    case DATUM_TIME: return CELL_TIME;
    case DATUM_DATE: return CELL_DATE;
    case DATUM_JSON: return CELL_JSON;
    case DATUM_NULL:
    case DATUM_STRING: break;
    }
    return CELL_STRING;
}

static void json_before(const struct query *q, struct buf *out) {
    (void)!buf_add_text(out, "\"query\":");
    (void)!buf_add_json_str(out, q->text);
    (void)!buf_add_char(out, ',');
}

static void json_after(const struct result *r, bool explain, struct buf *out) {
    const struct query_cost *c = &r->cost;
    if (r->cut) (void)!buf_add_text(out, ",\"cut\":true");
    if (r->n_notes > 0) {
        (void)!buf_add_text(out, ",\"notes\":[");
        for (uint32_t i = 0; i < r->n_notes; i++) {
            if (i) (void)!buf_add_char(out, ',');
            (void)!buf_add_json_str(out, r->notes[i]);
        }
        (void)!buf_add_char(out, ']');
    }
    (void)!buf_printf(out,
                      ",\"cost\":{\"rows\":%llu,\"blocks\":%llu,\"bytes\":%llu,\"gathered\":%llu",
                      (unsigned long long)c->rows, (unsigned long long)c->blocks,
                      (unsigned long long)c->bytes, (unsigned long long)c->gathered);
    (void)!buf_printf(out, ",\"ms\":%.3f,\"cpu_ms\":%.3f", c->ms, c->cpu_ms);
    if (explain) {
        (void)!buf_add_text(out, ",\"plan\":");
        (void)!buf_add_json_str(out, c->plan);
    }
    (void)!buf_add_char(out, '}');
}

void ask_notes(const struct result *r, const struct query *q, const struct ask_format *f,
               struct output *o) {
    const struct query_cost *c = &r->cost;
    if (r->cut) {
        output_text(o, "note: there are more rows; the answer is cut at ");
        output_text(o, q->limit ? "its limit of " : "the default limit of ");
        output_printf(o, "%llu%s\n", (unsigned long long)r->n_rows,
                      q->limit ? "" : ", write limit N for more");
    }
    for (uint32_t i = 0; i < r->n_notes; i++) {
        output_text(o, "note: ");
        output_str(o, r->notes[i]);
        output_char(o, '\n');
    }
    if (f->explain) {
        output_text(o, "plan: ");
        output_str(o, c->plan);
        output_char(o, '\n');
    }
    output_count(o, r->n_rows, "row");
    output_text(o, "; read ");
    output_count(o, c->rows, "row");
    output_text(o, " in ");
    output_count(o, c->blocks, "block");
    output_text(o, ", ");
    output_count(o, c->bytes, "byte");
    output_printf(o, "; %.1f ms, CPU %.1f ms\n", c->ms, c->cpu_ms);
}

int ask_write(const struct result *r, const struct query *q, const struct ask_format *f,
              struct output *out, struct keel_error *err) {
    struct column columns[RESULT_MAX_COLUMNS];
    struct cell cells[RESULT_MAX_COLUMNS];
    struct arena names;
    struct buf before, after;
    struct table table;
    arena_init(&names, 1 << 24);
    buf_init(&before, 1 << 20);
    buf_init(&after, 1 << 20);
    for (uint32_t i = 0; i < r->n_columns; i++) {
        struct str name = r->columns[i].name;
        columns[i] =
            (struct column){arena_strndup(&names, name.p, name.n), type_of(r->columns[i].type)};
    }
    json_before(q, &before);
    json_after(r, f->explain, &after);
    struct table_format format = {
        .style = f->style, .zone = f->zone, .json_before = buf_str(&before)};
    int code = table_start(&table, out, &format, columns, r->n_columns, err);
    for (uint64_t row = 0; row < r->n_rows && code == 0; row++) {
        for (uint32_t i = 0; i < r->n_columns; i++) cells[i] = cell_of(result_cell(r, row, i));
        table_row(&table, cells);
    }
    if (code == 0) code = table_finish(&table, buf_str(&after), err);
    buf_release(&before);
    buf_release(&after);
    arena_release(&names);
    return code;
}
