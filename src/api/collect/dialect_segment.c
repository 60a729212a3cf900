/* Segment's HTTP API, as its SDKs use it.
 *
 *   POST /v1/track …            one event; the path says its type, or else the event does
 *   POST /v1/batch, /v1/import  {"batch":[…]} (Ruby and Java say import)
 *   POST /v1/t …, /v1/b         the same by letters: analytics.js, Kotlin, Swift
 *   POST /v1/m                  the SDK's own telemetry: thanked for, and not kept
 *   GET  /v1/pixel/track …      pixel.c
 *   GET  /v1/projects/{key}/settings   what analytics.js, Kotlin and Swift ask before they send
 *
 * Replies are what the strictest SDK needs: 200 exactly (PHP, Python), JSON always (Ruby parses
 * it), "success" (Java), "code" and "message" in every error (Python retries without them).
 *
 * Layers: dialect.h, credentials.h. Threads: those of the connections.
 */
#include "api/app.h"
#include "api/collect/credentials.h"
#include "api/collect/dialect.h"

/* ---- replies ---- */

static void done(struct request *r, const struct collect_outcome *outcome) {
    (void)outcome;
    r->reply.status = 200;
    (void)!buf_add_text(&r->reply.body, "{\"success\":true}");
}

static void failed(struct request *r, int status, const char *code, const char *message,
                   struct str violations) {
    struct buf *b = &r->reply.body;
    r->reply.status = status;
    (void)!buf_add_text(b, "{\"success\":false,\"error\":");
    (void)!buf_add_json_str(b, str_from(message));
    (void)!buf_printf(b, ",\"code\":\"%s\",\"message\":", code);
    (void)!buf_add_json_str(b, str_from(message));
    if (violations.n) (void)!buf_add_text(b, ",\"violations\":");
    (void)!buf_add_str(b, violations);
    (void)!buf_add_char(b, '}');
}

const struct dialect DIALECT_SEGMENT = {.name = "segment", .done = done, .failed = failed};

void segment_problem(struct request *r, int code, const struct keel_error *err) {
    static const struct {
        int status;
        const char *word;
    } words[] = {{400, "invalid_request"}, {401, "unauthorized"}, {408, "timeout"},
                 {413, "too_large"},       {415, "unsupported"},  {429, "rate_limited"},
                 {503, "unavailable"}};
    int status = r->reply.status ? r->reply.status : error_http_status(code);
    const char *word = "error";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].status == status) word = words[i].word;
    buf_clear(&r->reply.body);
    cors_allow(r);
    failed(r, status, word, err && err->message[0] ? err->message : error_text(code), STR(""));
}

/* ---- events ---- */

int dialect_type(struct str word) {
    static const struct {
        struct str word, letter;
        enum event_type type;
    } types[] = {
#define TYPE(word, letter, type) {{word, sizeof word - 1}, {letter, 1}, type}
        TYPE("track", "t", EVENT_TRACK), TYPE("identify", "i", EVENT_IDENTIFY),
        TYPE("page", "p", EVENT_PAGE),   TYPE("screen", "s", EVENT_SCREEN),
        TYPE("group", "g", EVENT_GROUP), TYPE("alias", "a", EVENT_ALIAS),
#undef TYPE
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_eq(word, types[i].word) || str_eq(word, types[i].letter)) return (int)types[i].type;
    return SEGMENT_ANY_TYPE;
}

struct str dialect_word(const struct request *r) {
    const char *slash = strrchr(r->route->pattern, '/');
    return str_from(slash ? slash + 1 : "");
}

static int take(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    struct collect_ask ask = {
        .dialect = &DIALECT_SEGMENT, .type = dialect_type(dialect_word(r)), .body = r->body};
    return collect(r, ctx, &ask);
}

static int take_pixel(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    return pixel_collect(r, ctx, dialect_type(dialect_word(r)));
}

static int take_telemetry(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx, (void)err;
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    cors_allow(r);
    done(r, NULL);
    return 0;
}

/* ---- settings ---- */

/* Names one destination, Segment.io: it stands for this server. */
static int settings(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct buf *b = &r->reply.body;
    (void)err;
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    cors_allow(r);
    const struct event_source *source = credentials_find(app->sources, r->parts[0], r->received_ms);
    if (!source || !source->enabled) {
        failed(r, 404, "not_found", "there is no source with this write key", STR(""));
        return 0;
    }
    reply_header(r, "Cache-Control", STR("public, max-age=120"));
    (void)!buf_add_text(b, "{\"integrations\":{\"Segment.io\":{\"apiKey\":");
    (void)!buf_add_json_str(b, r->parts[0]);
    (void)!buf_add_text(
        b, ",\"versionSettings\":{\"version\":\"4.4.7\",\"componentTypes\":[\"browser\"]}}},"
           "\"plan\":{\"track\":{\"__default\":{\"enabled\":true}},"
           "\"identify\":{\"__default\":{\"enabled\":true}},"
           "\"group\":{\"__default\":{\"enabled\":true}}},"
           "\"edgeFunction\":{},\"analyticsNextEnabled\":true}");
    return 0;
}

/* ---- routes ---- */

#define EVENT_BODY                                                                                 \
    "{\"type\":\"object\",\"properties\":{\"userId\":{\"type\":\"string\"},"                       \
    "\"anonymousId\":{\"type\":\"string\"},\"event\":{\"type\":\"string\"},"                       \
    "\"properties\":{\"type\":\"object\"},\"traits\":{\"type\":\"object\"},"                       \
    "\"context\":{\"type\":\"object\"},\"messageId\":{\"type\":\"string\"},"                       \
    "\"timestamp\":{\"type\":\"string\",\"format\":\"date-time\"}}}"
#define BATCH_BODY                                                                                 \
    "{\"type\":\"object\",\"required\":[\"batch\"],\"properties\":{\"batch\":{\"type\":\"array\"," \
    "\"items\":{\"type\":\"object\"}},\"writeKey\":{\"type\":\"string\"},"                         \
    "\"sentAt\":{\"type\":\"string\",\"format\":\"date-time\"}}}"
#define ANSWER "{\"type\":\"object\",\"properties\":{\"success\":{\"type\":\"boolean\"}}}"

#define ROUTE(path, what, schema, more)                                                            \
    {                                                                                              \
        .methods = HTTP_POST | HTTP_OPTIONS, .pattern = path, .handle = take,                      \
        .right = RIGHT_WRITE_KEY, .flags = (more), .tag = "collect", .summary = what,              \
        .body = schema, .answer = ANSWER, .problem = segment_problem                               \
    }
#define EVENTS(path, what) ROUTE(path, what, EVENT_BODY, 0)
#define HIDDEN(path) ROUTE(path, "", NULL, ROUTE_HIDDEN)
#define PIXEL(path)                                                                                \
    {                                                                                              \
        .methods = HTTP_GET | HTTP_OPTIONS, .pattern = path, .handle = take_pixel,                 \
        .right = RIGHT_WRITE_KEY, .flags = ROUTE_HIDDEN, .tag = "collect",                         \
        .problem = segment_problem                                                                 \
    }

const struct route routes_dialect_segment[] = {
    EVENTS("/v1/track", "Something a customer did"),
    EVENTS("/v1/identify", "Who a customer is"),
    EVENTS("/v1/page", "A page that a customer saw"),
    EVENTS("/v1/screen", "A screen of an app that a customer saw"),
    EVENTS("/v1/group", "What a customer belongs to"),
    EVENTS("/v1/alias", "Two ids of one customer"),
    ROUTE("/v1/batch", "Many events", BATCH_BODY, 0),
    HIDDEN("/v1/import"),
    HIDDEN("/v1/batch/b"),
    HIDDEN("/v1/t"),
    HIDDEN("/v1/i"),
    HIDDEN("/v1/p"),
    HIDDEN("/v1/s"),
    HIDDEN("/v1/g"),
    HIDDEN("/v1/a"),
    HIDDEN("/v1/b"),
    {.methods = HTTP_POST | HTTP_OPTIONS,
     .pattern = "/v1/m",
     .handle = take_telemetry,
     .right = RIGHT_WRITE_KEY,
     .flags = ROUTE_HIDDEN,
     .tag = "collect",
     .problem = segment_problem},
    PIXEL("/v1/pixel/track"),
    PIXEL("/v1/pixel/identify"),
    PIXEL("/v1/pixel/page"),
    PIXEL("/v1/pixel/screen"),
    PIXEL("/v1/pixel/group"),
    PIXEL("/v1/pixel/alias"),
    {.methods = HTTP_GET | HTTP_OPTIONS,
     .pattern = "/v1/projects/{key}/settings",
     .handle = settings,
     .right = RIGHT_WRITE_KEY,
     .tag = "collect",
     .summary = "What analytics.js and the mobile SDKs ask before they send",
     .answer = "{\"type\":\"object\"}",
     .problem = segment_problem},
    {0},
};
