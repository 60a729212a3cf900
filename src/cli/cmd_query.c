/* `keel query`: one question, answered as a table, JSON or CSV.
 *
 * The answer goes to standard output; notes (unknown names) and, for tables and CSV, the cost go to
 * standard error, so that the output can be piped.
 * Layers: query/exec.h, table.h, options.h. Threads: see exec.h. */
#include <errno.h>

#include "base/os.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "query/exec.h"
#include "query/parse.h"
#include "query/query_json.h"

enum print { PRINT_NOTHING = -1, PRINT_TEXT, PRINT_JSON };

struct args {
    const char *data, *at;
    int format; /* enum table_style */
    int print;  /* enum print */
    int64_t threads;
    bool explain;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR",
     "the data directory (required, but for --print)", NULL, false, 0, 0},
    {"at", OPTION_TEXT, offsetof(struct args, at), "TIME",
     "ask as of that moment, as 2011-12-10 or a time; default now", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "table, json or csv",
     TABLE_STYLES, false, 0, 0},
    {"threads", OPTION_INTEGER, offsetof(struct args, threads), "N",
     "how many threads; default one a processor", NULL, false, 1, 1024},
    {"print", OPTION_CHOICE, offsetof(struct args, print), "FORM",
     "do not ask, print the question as canonical text or as JSON", "text|json", false, 0, 0},
    {"explain", OPTION_FLAG, offsetof(struct args, explain), NULL, "also say what was read and how",
     NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_query = {
    .name = "query",
    .summary = "ask a question about customers and their events",
    .operands = "QUERY",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "The language is described in docs/query-language.md. A QUERY that begins with { is\n"
        "its JSON form; \"-\" reads it from standard input. Days, weeks and months are those\n"
        "of the company's time zone (keel init). Notes and the cost go to standard error,\n"
        "in JSON they are members.\n",
    .examples =
        "  keel query --data data 'count customers where did \"Order Completed\"'\n"
        "  keel query --data data --at 2011-12-10 --format json \\\n"
        "    'retention from first \"Order Completed\" to \"Order Completed\" by month'\n"
        "  keel query --data data '{\"form\":\"count\",\"where\":{\"is\":\"identified\"}}'\n"
        "  keel query --print json 'list customers where identified limit 20'\n",
    .run = run,
};

enum { STANDARD_ERROR = 2 };

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

static void notes_and_cost(const struct result *r, const struct query *q, const struct args *args,
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
    if (args->explain) {
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

static int show_table(const struct result *r, const struct query *q, const struct args *args,
                      const struct time_zone *zone, struct output *out, struct keel_error *err) {
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
    json_after(r, args->explain, &after);
    struct table_format format = {
        .style = (enum table_style)args->format, .zone = zone, .json_before = buf_str(&before)};
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

static int show(const struct result *r, const struct query *q, const struct args *args,
                const struct time_zone *zone, struct keel_error *err) {
    struct output out, words;
    TRY(output_open(&out, NULL, err));
    int code = show_table(r, q, args, zone, &out, err);
    if (code < 0) {
        output_discard(&out);
        return code;
    }
    TRY(output_close(&out, err));
    if (args->format == TABLE_JSON) return 0;
    output_over(&words, STANDARD_ERROR, "standard error");
    notes_and_cost(r, q, args, &words);
    return output_close(&words, err);
}

/* The error, and the line of the query with carets under the word. */
static int syntax_error(struct str text, const struct query_syntax_error *where, int code,
                        struct keel_error *err) {
    struct buf picture;
    buf_init(&picture, 1 << 16);
    if (query_error_picture(text, where, &picture) == 0 && picture.n > 0) {
        while (picture.n > 0 && picture.p[picture.n - 1] == '\n') picture.n--;
        char message[KEEL_ERROR_MAX];
        memcpy(message, err->message, sizeof message);
        (void)error_set(err, (enum keel_code) - code, "%s\n%.*s", message, (int)picture.n,
                        (const char *)picture.p);
    }
    buf_release(&picture);
    return code;
}

static int answer(struct db *db, const struct args *args, const struct query *q,
                  struct keel_error *err) {
    struct query_options options = {.at_ms = QUERY_AT_NOW, .threads = (unsigned)args->threads};
    if (args->at && !time_parse(str_from(args->at), db_zone(db), &options.at_ms))
        FAIL(err, INVALID, "--at %s: not a time; write 2011-12-10 or 2011-12-10T12:50", args->at);
    struct snapshot *snap;
    struct result *result;
    TRY(snapshot_open(db_store(db), &snap, err));
    int code = query_run(db, snap, q, &options, &result, err);
    if (code == 0) {
        code = show(result, q, args, db_zone(db), err);
        result_free(result);
    }
    snapshot_close(snap);
    return code;
}

/* The canonical text, or the JSON form, of what was asked. */
static int print_query(const struct query *q, const struct args *args, struct keel_error *err) {
    struct output out;
    struct buf json;
    buf_init(&json, QUERY_JSON_MAX_BYTES * 8);
    int code = query_json_print(q, &json);
    if (code < 0)
        code = error_set(err, (enum keel_code) - code, "query: cannot write the JSON form");
    else
        code = output_open(&out, NULL, err);
    if (code == 0) {
        output_str(&out, args->print == PRINT_JSON ? buf_str(&json) : q->text);
        output_char(&out, '\n');
        code = output_close(&out, err);
    }
    buf_release(&json);
    return code;
}

/* Text, or the JSON form: no text begins with a brace. */
static int parse(struct str text, struct arena *arena, struct query **q, struct keel_error *err) {
    if (str_starts(str_trim(text), STR("{"))) return query_json_parse(text, arena, q, err);
    struct query_syntax_error where = {0};
    struct keel_error own = {0};
    int code = query_parse(text, arena, q, &where, &own);
    if (code == 0) return 0;
    code = syntax_error(text, &where, code, &own);
    if (err) *err = own;
    return code;
}

static int ask(const struct args *args, const struct query *q, struct keel_error *err) {
    struct db_options options = {.store = {.read_only = true}};
    struct db *db;
    TRY(db_open(args->data, &options, &db, err));
    int code = answer(db, args, q, err);
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static int read_standard_input(struct buf *text, struct keel_error *err) {
    for (;;) {
        if (buf_reserve(text, 4096) < 0) FAIL(err, LIMIT, "standard input: the query is too long");
        ssize_t n = os_table()->read(0, text->p + text->n, 4096);
        if (n < 0) return error_errno(err, errno, "standard input");
        if (n == 0) return 0;
        text->n += (size_t)n;
    }
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.print = PRINT_NOTHING};
    struct operands words;
    struct query *q;
    struct arena arena;
    struct buf text;
    TRY(options_parse(&cmd_query, argc, argv, &args, &words, err));
    if (!args.data && args.print == PRINT_NOTHING)
        FAIL(err, INVALID, "query: --data DIR is missing; see: keel help query");
    buf_init(&text, QUERY_JSON_MAX_BYTES + 8192);
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    int code = 0;
    if (strcmp(words.word[0], "-") == 0)
        code = read_standard_input(&text, err);
    else if (buf_add_text(&text, words.word[0]) < 0)
        code = error_set(err, KEEL_E_LIMIT, "the query is too long: more than %d bytes",
                         QUERY_JSON_MAX_BYTES);
    if (code == 0) code = parse(buf_str(&text), &arena, &q, err);
    if (code == 0)
        code = args.print == PRINT_NOTHING ? ask(&args, q, err) : print_query(q, &args, err);
    arena_release(&arena);
    buf_release(&text);
    return code;
}
