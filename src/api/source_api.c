/* /api/v1/sources: what `keel source` does, over HTTP.
 *
 * A change is in force when its reply is sent: the table in memory is loaded again before.
 *
 * Layers: source.h, server.h. Threads: the workers'. Limits: BODY_MAX of a body. */
#include "api/app.h"
#include "api/collect/source.h"
#include "api/server/server.h"
#include "base/json.h"
#include "base/os.h"

enum { BODY_MAX = 16 << 10 };

struct listing {
    struct buf *out;
    struct str only; /* a name or a number; empty: all */
    uint32_t rows;
};

static int add_row(void *ctx, const struct source_row *row) {
    struct listing *l = ctx;
    int64_t id;
    if (l->only.n && !str_eq(row->source.name, l->only) &&
        !(str_to_i64(l->only, &id) && id == row->source.id))
        return 0;
    if (l->rows++) (void)!buf_add_char(l->out, ',');
    source_json(row, l->out);
    return l->out->failed;
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct listing l = {.out = &r->reply.body, .only = STR("")};
    (void)!buf_add_text(l.out, "{\"sources\":[");
    TRY(source_list(app->desk, now_ms(), add_row, &l, err));
    (void)!buf_add_text(l.out, "]}");
    return 0;
}

static int show(struct request *r, const struct app *app, struct str which,
                struct keel_error *err) {
    struct listing l = {.out = &r->reply.body, .only = which};
    TRY(source_list(app->desk, now_ms(), add_row, &l, err));
    if (l.rows == 0) FAIL(err, NOT_FOUND, "there is no source \"%.*s\"", STR_ARG(which));
    return 0;
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    return show(r, ctx, r->parts[0], err);
}

/* A member of the body: absent is fine, another type is not. */
static int want(struct json_value body, const char *name, enum json_type type,
                struct json_value *out, struct keel_error *err) {
    *out = json_get(body, name);
    enum json_type got = json_type(*out);
    if (got != JSON_ABSENT && got != type)
        FAIL(err, INVALID, "\"%s\" is %s, not %s", name, json_type_text(got), json_type_text(type));
    return 0;
}

static int read_number(struct json_value body, const char *name, int64_t *out,
                       struct keel_error *err) {
    struct json_value v;
    double number;
    TRY(want(body, name, JSON_NUMBER, &v, err));
    if (!json_f64(v, &number)) return 0;
    if (number < 0 || number > 1e15 || number != (double)(int64_t)number)
        FAIL(err, INVALID, "\"%s\" is no whole number from 0 on", name);
    *out = (int64_t)number;
    return 0;
}

static int read_settings(struct json_value body, struct source_settings *s,
                         struct keel_error *err) {
    struct json_value v;
    struct str ip;
    if (json_type(body) != JSON_OBJECT)
        FAIL(err, INVALID, "the body is %s, not an object", json_type_text(json_type(body)));
    TRY(want(body, "name", JSON_STRING, &v, err));
    if (!json_str(v, &s->name)) FAIL(err, INVALID, "\"name\" is missing");
    TRY(want(body, "write_key", JSON_STRING, &v, err));
    (void)json_str(v, &s->key);
    TRY(want(body, "origins", JSON_STRING, &v, err));
    (void)json_str(v, &s->origins);
    TRY(read_number(body, "rate", &s->rate, err));
    TRY(read_number(body, "burst", &s->burst, err));
    TRY(want(body, "strict", JSON_BOOL, &v, err));
    (void)json_bool(v, &s->strict);
    TRY(want(body, "archive", JSON_BOOL, &v, err));
    (void)json_bool(v, &s->archive);
    TRY(want(body, "ip", JSON_STRING, &v, err));
    if (!json_str(v, &ip)) return 0;
    for (int i = 0; i < CLIENT_IP_POLICIES; i++) {
        s->ip = (enum client_ip)i;
        if (str_is(ip, source_ip_text(s->ip))) return 0;
    }
    FAIL(err, INVALID, "\"ip\" is none of keep, truncate, drop");
}

static int create_from(struct request *r, struct app *app, struct json_parser *parser,
                       struct keel_error *err) {
    char key[SOURCE_MAX_KEY + 1];
    struct source_settings settings = {.key = STR(""), .origins = STR("")};
    struct json_value body;
    int64_t id;
    TRY(json_parse(parser, r->body, &body, err));
    TRY(read_settings(body, &settings, err));
    TRY(source_add(app->desk, &settings, now_ms(), &id, key, err));
    TRY(sources_reload(app->sources, err));
    TRY(show(r, app, settings.name, err));
    r->reply.status = 201;
    return 0;
}

static int create(struct request *r, void *ctx, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(BODY_MAX);
    int code = create_from(r, ctx, parser, err);
    json_parser_free(parser);
    return code;
}

static int read_grace(struct request *r, struct json_parser *parser, int64_t *out_ms,
                      struct keel_error *err) {
    struct json_value body;
    int64_t seconds = SOURCE_GRACE_MS / 1000;
    if (str_trim(r->body).n) {
        TRY(json_parse(parser, r->body, &body, err));
        TRY(read_number(body, "grace_seconds", &seconds, err));
    }
    if (seconds > SOURCE_MOST_GRACE_S)
        FAIL(err, INVALID, "\"grace_seconds\" is at most %d", SOURCE_MOST_GRACE_S);
    *out_ms = seconds * 1000;
    return 0;
}

static int rotate(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    char key[SOURCE_MAX_KEY + 1];
    int64_t grace_ms = 0;
    struct json_parser *parser = json_parser_new(BODY_MAX);
    int code = read_grace(r, parser, &grace_ms, err);
    json_parser_free(parser);
    TRY(code);
    TRY(source_rotate(app->desk, r->parts[0], grace_ms, now_ms(), key, err));
    TRY(sources_reload(app->sources, err));
    return show(r, app, r->parts[0], err);
}

static int enable(struct request *r, struct app *app, bool enabled, struct keel_error *err) {
    TRY(source_enable(app->desk, r->parts[0], enabled, err));
    TRY(sources_reload(app->sources, err));
    return show(r, app, r->parts[0], err);
}

static int switch_on(struct request *r, void *ctx, struct keel_error *err) {
    return enable(r, ctx, true, err);
}

static int switch_off(struct request *r, void *ctx, struct keel_error *err) {
    return enable(r, ctx, false, err);
}

#define SOURCE_FIELDS                                                                              \
    "\"name\":{\"type\":\"string\"},\"write_key\":{\"type\":\"string\"},"                          \
    "\"origins\":{\"type\":\"string\"},\"rate\":{\"type\":\"integer\"},"                           \
    "\"burst\":{\"type\":\"integer\"},\"ip\":{\"enum\":[\"keep\",\"truncate\",\"drop\"]},"         \
    "\"strict\":{\"type\":\"boolean\"},\"archive\":{\"type\":\"boolean\"}"
#define SOURCE_BODY                                                                                \
    "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{" SOURCE_FIELDS "}}"
#define SOURCE_ANSWER                                                                              \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},"                          \
    "\"state\":{\"enum\":[\"on\",\"off\"]},\"old_keys\":{\"type\":\"integer\"}," SOURCE_FIELDS     \
    "}}"
#define GRACE_BODY "{\"type\":\"object\",\"properties\":{\"grace_seconds\":{\"type\":\"integer\"}}}"

#define ROUTE(method, path, handler, what, in)                                                     \
    {                                                                                              \
        .methods = method, .pattern = path, .handle = handler, .right = RIGHT_SOURCE_ADMIN,        \
        .flags = ROUTE_WORKER, .tag = "sources", .summary = what, .body = in,                      \
        .answer = SOURCE_ANSWER                                                                    \
    }

const struct route routes_source_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/sources",
     .handle = list,
     .right = RIGHT_SOURCE_ADMIN,
     .flags = ROUTE_WORKER,
     .tag = "sources",
     .summary = "All sources with their write keys",
     .answer = "{\"type\":\"object\",\"properties\":{\"sources\":{\"type\":\"array\","
               "\"items\":" SOURCE_ANSWER "}}}"},
    ROUTE(HTTP_POST, "/api/v1/sources", create, "Makes a source", SOURCE_BODY),
    ROUTE(HTTP_GET, "/api/v1/sources/{id}", get, "One source, by number or name", NULL),
    ROUTE(HTTP_POST, "/api/v1/sources/{id}/rotate", rotate,
          "A new write key; the old one works until its grace ends", GRACE_BODY),
    ROUTE(HTTP_POST, "/api/v1/sources/{id}/enable", switch_on, "Takes events again", NULL),
    ROUTE(HTTP_POST, "/api/v1/sources/{id}/disable", switch_off, "Refuses what it sends", NULL),
    {0},
};
