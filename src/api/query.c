/* POST /api/v1/query: one question, answered. POST /api/v1/query/parse: translated only. POST
 * /api/v1/query/people: a row of its answer as a condition.
 *
 * The body is the question: its text, its JSON form, or an object with "query" (either of the two)
 * and "at", "format", "explain", "threads". The reply is what `keel query` prints, as JSON unless
 * `format` or Accept ask for CSV or a table. Accept: application/vnd.keel.answer+json, which the
 * command line sends, gets {"answer":TEXT,"notes":TEXT}: both of its streams.
 *
 * Layers: app.h, server.h, query/ask.h. Threads: workers; each question has threads of its own.
 * Limits: QUERY_JSON_MAX_BYTES; a reply of REPLY_BYTES.
 */
#include "api/access.h"
#include "api/app.h"
#include "api/routes.h"
#include "api/shielded.h"
#include "base/json.h"
#include "desk/audience/audience.h"
#include "desk/shield/shield.h"
#include "query/ask.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/query_print.h"
#include "query/people.h"

enum { REPLY_BYTES = 256 << 20, MOST_THREADS = 64 };

struct question {
    struct query *query;
    struct ask_options options;
    struct ask_format format;
    bool both; /* streams of the command line */
    bool raw;  /* CSV */
    /* Of /people only. */
    bool people;
    struct people cell;
};

static bool style_of(struct str name, enum table_style *out) {
    if (str_is(name, "table"))
        *out = TABLE_TEXT;
    else if (str_is(name, "json"))
        *out = TABLE_JSON;
    else if (str_is(name, "csv"))
        *out = TABLE_CSV;
    else
        return false;
    return true;
}

static int read_member(struct request *r, struct str key, struct json_value value,
                       struct question *out, struct keel_error *err) {
    struct str text;
    int64_t number;
    if (str_is(key, "query") && json_type(value) == JSON_OBJECT)
        return query_json_read(value, &r->arena, &out->query, err);
    if (str_is(key, "query") && json_str(value, &text))
        return ask_read(str_dup(&r->arena, text), &r->arena, &out->query, err);
    if (str_is(key, "at") && json_str(value, &text)) {
        out->options.at = str_dup(&r->arena, text);
        return 0;
    }
    if (str_is(key, "format") && json_str(value, &text) && style_of(text, &out->format.style))
        return 0;
    if (str_is(key, "raw") && json_bool(value, &out->raw)) return 0;
    if (str_is(key, "explain") && json_bool(value, &out->format.explain)) return 0;
    if (str_is(key, "threads") && json_i64(value, &number) && number >= 0) {
        out->options.threads = number < MOST_THREADS ? (unsigned)number : MOST_THREADS;
        return 0;
    }
    if (out->people && str_is(key, "row"))
        return people_read_row(value, &r->arena, &out->cell, err);
    if (out->people && str_is(key, "column") && json_str(value, &text)) {
        out->cell.column = str_dup(&r->arena, text);
        return 0;
    }
    FAIL(
        err, INVALID,
        "\"%.*s\": write \"query\" (text, or an object), \"at\" (a time), \"format\" (json, csv or "
        "table), \"raw\" and \"explain\" (true or false), \"threads\" (a number)",
        (int)(key.n < 100 ? key.n : 100), key.p);
}

static int read_object(struct request *r, struct json_parser *parser, struct question *out,
                       struct keel_error *err) {
    struct json_value root, value;
    struct str key;
    TRY(json_parse(parser, r->body, &root, err));
    if (json_has(root, "form")) return query_json_read(root, &r->arena, &out->query, err);
    struct json_each each = json_each(root);
    while (json_next(&each, &key, &value)) TRY(read_member(r, key, value, out, err));
    if (!out->query) FAIL(err, INVALID, "the member \"query\" is missing");
    return 0;
}

static void read_accept(struct request *r, struct question *out) {
    struct str accept = request_header(r, "Accept");
    out->both = str_contains(accept, STR("application/vnd.keel.answer+json"));
    if (str_contains(accept, STR("text/csv")))
        out->format.style = TABLE_CSV;
    else if (str_contains(accept, STR("text/plain")))
        out->format.style = TABLE_TEXT;
}

static int read_question(struct request *r, struct question *out, struct keel_error *err) {
    struct str text = str_trim(r->body);
    read_accept(r, out);
    TRY(request_flag(r, "raw", &out->raw, err));
    if (text.n == 0) FAIL(err, INVALID, "the body is empty; send a question");
    if (!str_starts(text, STR("{"))) return ask_read(text, &r->arena, &out->query, err);
    struct json_parser *parser = json_parser_new(4 * QUERY_JSON_MAX_BYTES);
    int code = read_object(r, parser, out, err);
    json_parser_free(parser);
    return code;
}

/* {"answer":…,"notes":…} */
static int both_texts(const struct result *result, const struct question *q, struct buf *answer,
                      struct buf *out, struct keel_error *err) {
    struct buf notes;
    struct output o;
    buf_init(&notes, REPLY_BYTES);
    output_into(&o, &notes);
    if (q->format.style != TABLE_JSON) ask_notes(result, q->query, &q->format, &o);
    int code = output_close(&o, err);
    (void)!buf_add_text(out, "{\"answer\":");
    (void)!buf_add_json_str(out, buf_str(answer));
    (void)!buf_add_text(out, ",\"notes\":");
    (void)!buf_add_json_str(out, buf_str(&notes));
    (void)!buf_add_text(out, "}\n");
    buf_release(&notes);
    return code;
}

static int write_answer(struct request *r, const struct result *result, const struct question *q,
                        struct keel_error *err) {
    static const char *const TYPES[] = {
        [TABLE_TEXT] = "text/plain; charset=utf-8",
        [TABLE_JSON] = "application/json",
        [TABLE_CSV] = "text/csv; charset=utf-8",
        [TABLE_CSV_RAW] = "text/csv; charset=utf-8",
    };
    struct buf answer;
    struct output o;
    buf_init(&answer, REPLY_BYTES);
    output_into(&o, &answer);
    int code = ask_write(result, q->query, &q->format, &o, err);
    if (code == 0)
        code = output_close(&o, err);
    else
        output_discard(&o);
    if (code == 0 && q->both) {
        code = both_texts(result, q, &answer, &r->reply.body, err);
        buf_release(&answer);
    } else if (code == 0) {
        buf_release(&r->reply.body);
        r->reply.body = answer; /* moved */
        r->reply.content_type = TYPES[q->format.style];
    } else {
        buf_release(&answer);
    }
    return code;
}

/* For who may see personal data as it is, and noted if it shows some; for others shielded. */
static int answer(const struct app *app, struct request *r, const struct question *q,
                  struct result **out, struct keel_error *err) {
    if (!is_shielded(r)) {
        const struct plan_form *form = plan_take(app->plan);
        r->disclosed = shield_admit(form, q->query, NULL) < 0;
        plan_drop(form);
        access_mark(app, r, "question", q->query->text);
    }
    return shielded_run(app, r, q->query, &q->options, &r->arena, out, err);
}

static int ask(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct question q = {.format = {.style = TABLE_JSON, .zone = db_zone(app->db)},
                         .options = {.cancel = server_cutting(app->server)}};
    struct audience_book book;
    struct result *result;
    TRY(read_question(r, &q, err));
    q.format.style = table_style_of((int)q.format.style, q.raw);
    audience_book_init(&book, app->desk);
    q.options.segment = audience_book_find;
    q.options.segment_ctx = &book;
    int code = answer(app, r, &q, &result, err);
    audience_book_release(&book);
    TRY(code);
    code = write_answer(r, result, &q, err);
    result_free(result);
    return code;
}

/* The same question as text and as JSON; nothing is asked. */
static int translate(struct request *r, void *ctx, struct keel_error *err) {
    struct question q = {.format = {.style = TABLE_JSON}};
    struct buf text, *out = &r->reply.body;
    (void)ctx;
    TRY(read_question(r, &q, err));
    buf_init(&text, REPLY_BYTES);
    int code = query_print(q.query, &text);
    (void)!buf_add_text(out, "{\"text\":");
    (void)!buf_add_json_str(out, buf_str(&text));
    buf_release(&text);
    (void)!buf_add_text(out, ",\"json\":");
    if (code == 0) code = query_json_print(q.query, out);
    (void)!buf_add_text(out, "}\n");
    if (code)
        return error_set(err, (enum keel_code) - code, "the question is too long to be written");
    return 0;
}

/* Who a row is about; nothing is asked. */
static int people(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct question q = {.format = {.style = TABLE_JSON}, .people = true};
    struct buf text, *out = &r->reply.body;
    const struct query_cond *who;
    TRY(read_question(r, &q, err));
    if (!q.cell.row) FAIL(err, INVALID, "the member \"row\" is missing: the cells of one");
    q.cell.query = q.query;
    q.cell.zone = db_zone(app->db);
    q.cell.schema = store_schema(db_store(app->db));
    q.cell.at_ms = now_ms();
    if (q.options.at.n && !time_parse(q.options.at, q.cell.zone, &q.cell.at_ms))
        FAIL(err, INVALID, "\"at\": \"%.*s\" is no time", STR_ARG(q.options.at));
    TRY(people_condition(&q.cell, &r->arena, &who, err));
    buf_init(&text, QUERY_MAX_TEXT);
    int code = query_print_cond(who, &text);
    (void)!buf_add_text(out, "{\"condition\":");
    (void)!buf_add_json_str(out, buf_str(&text));
    (void)!buf_add_text(out, "}\n");
    buf_release(&text);
    if (code) return error_set(err, (enum keel_code) - code, "the condition is too long");
    return 0;
}

const struct route routes_query[] = {
    {.methods = HTTP_POST,
     .pattern = "/api/v1/query",
     .handle = ask,
     .right = RIGHT_QUERY,
     .flags = ROUTE_WORKER | ROUTE_READS,
     .tag = "questions",
     .summary = "Ask a question about customers and their events",
     .params = "raw string true: CSV with texts that look like formulas as they are",
     .body = "{\"oneOf\":[{\"type\":\"string\",\"description\":\"the question as text\"},"
             "{\"type\":\"object\",\"required\":[\"query\"],\"properties\":{"
             "\"query\":{\"description\":\"text, or the JSON form\","
             "\"type\":[\"string\",\"object\"]},"
             "\"at\":{\"type\":\"string\",\"description\":\"as of that moment\"},"
             "\"format\":{\"enum\":[\"json\",\"csv\",\"table\"]},\"raw\":{\"type\":\"boolean\"},"
             "\"explain\":{\"type\":\"boolean\"},"
             "\"threads\":{\"type\":\"integer\",\"minimum\":0}}}]}",
     .answer = "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},"
               "\"columns\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
               "\"name\":{\"type\":\"string\"},\"type\":{\"type\":\"string\"}}}},"
               "\"rows\":{\"type\":\"array\",\"items\":{\"type\":\"array\"}},"
               "\"cut\":{\"type\":\"boolean\"},"
               "\"notes\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
               "\"cost\":{\"type\":\"object\"}}}",
     .max_body_bytes = 2 * QUERY_JSON_MAX_BYTES},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/query/parse",
     .handle = translate,
     .flags = ROUTE_WORKER | ROUTE_READS,
     .right = RIGHT_QUERY,
     .tag = "questions",
     .summary = "A question in both of its forms, canonical text and JSON; nothing is asked",
     .body = "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"object\"}]}",
     .answer = "{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"},"
               "\"json\":{\"type\":\"object\"}}}",
     .max_body_bytes = 2 * QUERY_JSON_MAX_BYTES},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/query/people",
     .handle = people,
     .flags = ROUTE_WORKER | ROUTE_READS,
     .right = RIGHT_QUERY,
     .tag = "questions",
     .summary = "The people of a row of an answer, as a condition that can be counted or saved",
     .body = "{\"type\":\"object\",\"required\":[\"query\",\"row\"],\"properties\":{"
             "\"query\":{\"type\":[\"string\",\"object\"]},"
             "\"at\":{\"type\":\"string\",\"description\":\"when it was asked\"},"
             "\"row\":{\"type\":\"array\",\"description\":\"its cells, at least the keys\"},"
             "\"column\":{\"type\":\"string\",\"description\":\"which number\"}}}",
     .answer = "{\"type\":\"object\",\"properties\":{\"condition\":{\"type\":\"string\"}}}",
     .max_body_bytes = 2 * QUERY_JSON_MAX_BYTES},
    {0},
};
