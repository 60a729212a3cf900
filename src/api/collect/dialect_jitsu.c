/* Jitsu's SDKs.
 *
 *   POST /api/s/{type}       from a browser (or from anything: the node SDK uses it, too)
 *   POST /api/s/s2s/{type}   server to server: the connection says nothing of the customer
 *   GET  /api/px/{type}      pixel.c
 *
 * The write key is "id:secret" in X-Write-Key; the body's is masked ("id:***"). A reply counts:
 * {"ok":true,"receivedEvents":1,"okEvents":1}, with the reasons of what was kept aside.
 *
 * Layers: dialect.h, credentials.h. Threads: those of the connections.
 */
#include "api/app.h"
#include "api/collect/credentials.h"
#include "api/collect/dialect.h"

enum { ERRORS_SHOWN = 20 };

static void done(struct request *r, const struct collect_outcome *outcome) {
    struct buf *b = &r->reply.body;
    uint32_t fine = 0, shown = 0;
    for (uint32_t i = 0; i < outcome->n; i++)
        fine += outcome->items[i].fate == COLLECT_ACCEPTED ||
                outcome->items[i].fate == COLLECT_DUPLICATE;
    r->reply.status = 200;
    (void)!buf_printf(b, "{\"ok\":true,\"receivedEvents\":%u,\"okEvents\":%u", outcome->n, fine);
    for (uint32_t i = 0; i < outcome->n && shown < ERRORS_SHOWN; i++) {
        if (!outcome->items[i].reason) continue;
        (void)!buf_add_text(b, shown++ ? "," : ",\"errors\":[");
        (void)!buf_add_json_str(b, str_from(outcome->items[i].reason));
    }
    (void)!buf_add_text(b, shown ? "]}" : "}");
}

static void failed(struct request *r, int status, const char *code, const char *message,
                   struct str violations) {
    struct buf *b = &r->reply.body;
    r->reply.status = status;
    (void)!buf_printf(b, "{\"ok\":false,\"code\":\"%s\",\"error\":", code);
    (void)!buf_add_json_str(b, str_from(message));
    if (violations.n) (void)!buf_add_text(b, ",\"errors\":");
    (void)!buf_add_str(b, violations);
    (void)!buf_add_char(b, '}');
}

static const struct dialect DIALECT_JITSU = {.name = "jitsu", .done = done, .failed = failed};

static void problem(struct request *r, int code, const struct keel_error *err) {
    buf_clear(&r->reply.body);
    cors_allow(r);
    failed(r, r->reply.status ? r->reply.status : error_http_status(code), "error",
           err && err->message[0] ? err->message : error_text(code), STR(""));
}

static int take_from(struct request *r, void *ctx, bool server) {
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    struct collect_ask ask = {.dialect = &DIALECT_JITSU,
                              .type = dialect_type(r->parts[0]),
                              .body = r->body,
                              .server = server};
    return collect(r, ctx, &ask);
}

static int take(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    return take_from(r, ctx, false);
}

static int take_s2s(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    return take_from(r, ctx, true);
}

static int take_pixel(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    return pixel_collect(r, ctx, dialect_type(r->parts[0]));
}

#define ROUTE(method, path, handler)                                                               \
    {                                                                                              \
        .methods = (method) | HTTP_OPTIONS, .pattern = path, .handle = handler,                    \
        .right = RIGHT_WRITE_KEY, .flags = ROUTE_HIDDEN, .tag = "collect", .problem = problem      \
    }

const struct route routes_dialect_jitsu[] = {
    ROUTE(HTTP_POST, "/api/s/{type}", take),
    ROUTE(HTTP_POST, "/api/s/s2s/{type}", take_s2s),
    ROUTE(HTTP_GET, "/api/px/{type}", take_pixel),
    {0},
};
