/* `keel query`: one question, answered as a table, JSON or CSV.
 *
 * The answer goes to standard output; notes (unknown names) and, for tables and CSV, the cost go to
 * standard error, so that the output can be piped. When a server has the data open, it is asked.
 * Layers: query/ask.h, remote.h, options.h. Threads: see exec.h. */
#include <errno.h>

#include "base/json.h"
#include "base/os.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "query/ask.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/query_print.h"
#include "query/people.h"

enum print { PRINT_NOTHING = -1, PRINT_TEXT, PRINT_JSON };

struct args {
    const char *data, *at, *people, *column;
    int format; /* enum table_style */
    int print;  /* enum print */
    int64_t threads;
    bool explain, raw;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR",
     "the data directory (required, but for --print)", NULL, false, 0, 0},
    {"at", OPTION_TEXT, offsetof(struct args, at), "TIME",
     "ask as of that moment, as 2011-12-10 or a time; default now", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "form of the answer; default table", TABLE_STYLES, false, 0, 0},
    {"raw", OPTION_FLAG, offsetof(struct args, raw), NULL,
     "csv: texts that look like formulas as they are", NULL, false, 0, 0},
    {"threads", OPTION_INTEGER, offsetof(struct args, threads), "N",
     "how many threads; default one a processor", NULL, false, 1, 1024},
    {"print", OPTION_CHOICE, offsetof(struct args, print), "FORM",
     "do not ask: print the question as canonical text, or as JSON", "text|json", false, 0, 0},
    {"people", OPTION_TEXT, offsetof(struct args, people), "ROW",
     "do not ask: print whom a row is about, as a condition; ROW as --format json shows it", NULL,
     false, 0, 0},
    {"column", OPTION_TEXT, offsetof(struct args, column), "NAME", "of --people: which number",
     NULL, false, 0, 0},
    {"explain", OPTION_FLAG, offsetof(struct args, explain), NULL, "also say what was read and how",
     NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_query = {
    .name = "query",
    .summary = "ask a question about customers and their events",
    .changes = COMMAND_READS,
    .operands = "QUERY",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "keel help language shows what can be asked, docs/query-language.md defines it. A\n"
        "QUERY that begins with { is its JSON form; \"-\" reads it from standard input.\n"
        "Days, weeks and months are those of the company's time zone (keel init). Notes\n"
        "and the cost go to standard error, in JSON they are members.\n",
    .examples =
        "  keel query --data data 'count customers where did \"Order Completed\"'\n"
        "  keel query --data data --at 2011-12-10 --format json \\\n"
        "    'retention from first \"Order Completed\" to \"Order Completed\" by month'\n"
        "  keel query --data data '{\"form\":\"count\",\"where\":{\"is\":\"identified\"}}'\n"
        "  keel query --print json 'list customers where identified limit 20'\n",
    .run = run,
};

enum { STANDARD_ERROR = 2 };

static int show(const struct result *r, const struct query *q, const struct args *args,
                const struct time_zone *zone, struct keel_error *err) {
    struct ask_format format = {
        .style = table_style_of(args->format, args->raw), .zone = zone, .explain = args->explain};
    struct output out, words;
    TRY(output_open(&out, NULL, err));
    int code = ask_write(r, q, &format, &out, err);
    if (code < 0) {
        output_discard(&out);
        return code;
    }
    TRY(output_close(&out, err));
    if (format.style == TABLE_JSON) return 0;
    output_over(&words, STANDARD_ERROR, "standard error");
    ask_notes(r, q, &format, &words);
    struct keel_error ignored; /* the answer is out; nobody may be there for the words beside it */
    (void)!output_close(&words, &ignored);
    return 0;
}

static int print_line(struct str text, struct keel_error *err) {
    struct output out;
    TRY(output_open(&out, NULL, err));
    output_str(&out, text);
    output_char(&out, '\n');
    return output_close(&out, err);
}

/* The canonical text, or the JSON form, of what was asked. */
static int print_query(const struct query *q, const struct args *args, struct keel_error *err) {
    struct buf json;
    buf_init(&json, QUERY_JSON_MAX_BYTES * 8);
    int code = query_json_print(q, &json);
    if (code < 0)
        code = error_set(err, (enum keel_code) - code, "query: cannot write the JSON form");
    else
        code = print_line(args->print == PRINT_JSON ? buf_str(&json) : q->text, err);
    buf_release(&json);
    return code;
}

/* ---- here, or by the server that has the data open ---- */

static int ask_here(struct db *db, const struct args *args, const struct query *q,
                    struct keel_error *err) {
    struct desk_segments segments;
    struct ask_options options = {.at = str_from(args->at ? args->at : ""),
                                  .threads = (unsigned)args->threads,
                                  .segment = desk_segment,
                                  .segment_ctx = &segments};
    struct result *result;
    desk_segments_init(&segments, args->data);
    int code = ask_run(db, q, &options, &result, err);
    desk_segments_release(&segments);
    if (code == 0) {
        code = show(result, q, args, db_zone(db), err);
        result_free(result);
    }
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static void remote_question(const struct args *args, const struct query *q, struct buf *out) {
    static const char *const STYLES[] = {"table", "json", "csv"};
    (void)!buf_add_text(out, "{\"query\":");
    (void)!buf_add_json_str(out, q->text);
    (void)!buf_printf(out, ",\"format\":\"%s\",\"raw\":%s,\"threads\":%lld,\"explain\":%s",
                      STYLES[args->format], args->raw ? "true" : "false", (long long)args->threads,
                      args->explain ? "true" : "false");
    if (args->at) {
        (void)!buf_add_text(out, ",\"at\":");
        (void)!buf_add_json_str(out, str_from(args->at));
    }
    (void)!buf_add_char(out, '}');
}

/* The reply holds both texts: what goes to standard output, and what to standard error. */
static int show_reply(struct str reply, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(REMOTE_MAX_BYTES);
    struct json_value root;
    struct str answer = {0}, notes = {0};
    struct output out, words;
    int code = json_parse(parser, reply, &root, err);
    if (code == 0 && !json_str(json_get(root, "answer"), &answer))
        code = error_set(err, KEEL_E_FORMAT, "the server's answer is not understood");
    if (code == 0) (void)json_str(json_get(root, "notes"), &notes);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        output_str(&out, answer);
        code = output_close(&out, err);
    }
    if (code == 0) {
        output_over(&words, STANDARD_ERROR, "standard error");
        output_str(&words, notes);
        struct keel_error ignored; /* as in show() */
        (void)!output_close(&words, &ignored);
    }
    json_parser_free(parser);
    return code;
}

static int ask_server(struct remote *server, const struct args *args, const struct query *q,
                      struct keel_error *err) {
    struct buf question, reply;
    buf_init(&question, 4 * QUERY_JSON_MAX_BYTES);
    buf_init(&reply, REMOTE_MAX_BYTES);
    remote_question(args, q, &question);
    remote_header(server, "Accept: application/vnd.keel.answer+json");
    int code = remote_call(server, "POST", "/api/v1/query", buf_str(&question), &reply, err);
    if (code == 0) code = show_reply(buf_str(&reply), err);
    buf_release(&question);
    buf_release(&reply);
    remote_close(server);
    return code;
}

/* ---- the people of a row ---- */

static int people_of_row(struct db *db, const struct args *args, const struct query *q,
                         struct arena *arena, struct keel_error *err) {
    struct people p = {.query = q,
                       .zone = db_zone(db),
                       .schema = store_schema(db_store(db)),
                       .at_ms = now_ms(),
                       .column = str_from(args->column ? args->column : "")};
    struct json_parser *parser = json_parser_new(QUERY_JSON_MAX_BYTES);
    struct json_value row;
    const struct query_cond *who;
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    int code = json_parse(parser, str_from(args->people), &row, err);
    if (code == 0) code = people_read_row(row, arena, &p, err);
    if (code == 0 && args->at && !time_parse(str_from(args->at), p.zone, &p.at_ms))
        code = error_set(err, KEEL_E_INVALID, "--at: \"%s\" is no time", args->at);
    if (code == 0) code = people_condition(&p, arena, &who, err);
    if (code == 0 && query_print_cond(who, &text) < 0)
        code = error_set(err, KEEL_E_LIMIT, "the condition is too long");
    if (code == 0) code = print_line(buf_str(&text), err);
    buf_release(&text);
    json_parser_free(parser);
    return code;
}

static int people_here(struct db *db, const struct args *args, const struct query *q,
                       struct keel_error *err) {
    struct arena arena;
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    int code = people_of_row(db, args, q, &arena, err);
    arena_release(&arena);
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

static int people_by_server(struct remote *server, const struct args *args, const struct query *q,
                            struct keel_error *err) {
    struct buf body, reply;
    struct json_parser *parser = json_parser_new(REMOTE_MAX_BYTES);
    struct json_value root;
    struct str condition = {0};
    buf_init(&body, 4 * QUERY_JSON_MAX_BYTES);
    buf_init(&reply, REMOTE_MAX_BYTES);
    (void)!buf_printf(&body, "{\"row\":%s,\"query\":", args->people);
    (void)!buf_add_json_str(&body, q->text);
    if (args->column) {
        (void)!buf_add_text(&body, ",\"column\":");
        (void)!buf_add_json_str(&body, str_from(args->column));
    }
    if (args->at) {
        (void)!buf_add_text(&body, ",\"at\":");
        (void)!buf_add_json_str(&body, str_from(args->at));
    }
    (void)!buf_add_char(&body, '}');
    int code = remote_call(server, "POST", "/api/v1/query/people", buf_str(&body), &reply, err);
    if (code == 0) code = json_parse(parser, buf_str(&reply), &root, err);
    if (code == 0 && !json_str(json_get(root, "condition"), &condition))
        code = error_set(err, KEEL_E_FORMAT, "the server's answer is not understood");
    if (code == 0) code = print_line(condition, err);
    json_parser_free(parser);
    buf_release(&body);
    buf_release(&reply);
    remote_close(server);
    return code;
}

static int ask(const struct args *args, const struct query *q, struct keel_error *err) {
    struct db_options options = {.store = {.read_only = true}};
    struct db *db;
    struct remote *server;
    int code = db_open(args->data, &options, &db, err);
    if (code == 0) return args->people ? people_here(db, args, q, err) : ask_here(db, args, q, err);
    if (code != -KEEL_E_BUSY) return code;
    TRY(remote_open(args->data, &server, err));
    return args->people ? people_by_server(server, args, q, err) : ask_server(server, args, q, err);
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
    if (code == 0) code = ask_read(buf_str(&text), &arena, &q, err);
    if (code == 0)
        code = args.print == PRINT_NOTHING ? ask(&args, q, err) : print_query(q, &args, err);
    arena_release(&arena);
    buf_release(&text);
    return code;
}
