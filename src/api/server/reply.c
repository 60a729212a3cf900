/* A reply on its way out, and the documents that say what went wrong (RFC 9457).
 *
 * Layers: server_int.h. Threads: a reply belongs to whoever has the request. */
#include "api/server/server_int.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/net.h"
#include "base/os.h"

enum { ABRUPT_BYTES = 16 << 10 };

const char *status_text(int status) {
    const char *text = MHD_get_reason_phrase_for((unsigned)status);
    return text ? text : "Unknown";
}

static const char *code_name(int code) {
    static const struct {
        int number;
        const char *name;
    } NAMES[] = {
#define KEEL_ERROR(name, number, exit_code, http, text) {number, #name},
#include "base/errors.def"
#undef KEEL_ERROR
    };
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if (NAMES[i].number == -code || NAMES[i].number == code) return NAMES[i].name;
    return "INTERNAL";
}

void reply_header(struct request *r, const char *name, struct str value) {
    struct exchange *e = exchange_of(r);
    K_ASSERT(e->n_headers < REPLY_MAX_HEADERS);
    char *text = arena_strndup(&r->arena, value.p, value.n);
    for (char *c = text; *c; c++)
        if (*c == '\r' || *c == '\n') *c = ' '; /* a value cannot begin a header of its own */
    e->headers[e->n_headers++] =
        (struct header){arena_strndup(&r->arena, name, strlen(name)), text};
}

static bool has_header(const struct exchange *e, const char *name) {
    for (unsigned i = 0; i < e->n_headers; i++)
        if (str_eq_nocase(str_from(e->headers[i].name), str_from(name))) return true;
    return false;
}

static void add_retry(struct request *r, unsigned seconds) {
    char text[16];
    int n = snprintf(text, sizeof text, "%u", seconds);
    struct str value = {text, (size_t)n};
    if (!has_header(exchange_of(r), "Retry-After")) reply_header(r, "Retry-After", value);
    if (!has_header(exchange_of(r), "X-RateLimit-Reset"))
        reply_header(r, "X-RateLimit-Reset", value);
}

void reply_problem(struct request *r, int code, const struct keel_error *err) {
    struct reply *reply = &r->reply;
    char lower[32];
    const char *name = code_name(code);
    size_t n = 0;
    for (; n < sizeof lower - 1 && name[n]; n++)
        lower[n] = (char)(name[n] == '_' ? '_' : name[n] | 0x20);
    if (!reply->status) reply->status = error_http_status(code);
    reply->content_type = "application/problem+json";
    buf_clear(&reply->body);
    (void)!buf_printf(&reply->body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d",
                      status_text(reply->status), reply->status);
    (void)!buf_printf(&reply->body, ",\"code\":\"%.*s\",\"detail\":", (int)n, lower);
    (void)!buf_add_json_str(&reply->body,
                            str_from(err && err->message[0] ? err->message : error_text(code)));
    (void)!buf_add_text(&reply->body, "}\n");
    if (reply->status == 401) reply_header(r, "WWW-Authenticate", STR("Bearer realm=\"keel\""));
}

void reply_retry(struct request *r, int status, unsigned seconds) {
    r->reply.status = status;
    add_retry(r, seconds);
}

/* What went wrong inside is for the log; the world outside learns that something did. */
void reply_error(struct exchange *e, int status, int code, const struct keel_error *err) {
    struct request *r = &e->r;
    struct keel_error shown = {.code = code};
    if (!status) status = r->reply.status ? r->reply.status : error_http_status(code);
    const char *message = err && err->message[0] ? err->message : error_text(code);
    r->error = str_dup(&r->arena, str_from(message));
    bool internal = status == 500 && !r->local;
    snprintf(shown.message, sizeof shown.message, "%s",
             internal ? "the server failed; its log says why" : message);
    r->reply.status = status;
    if (r->route && r->route->problem)
        r->route->problem(r, code, &shown);
    else
        reply_problem(r, code, &shown);
    if (r->reply.status == 429 || r->reply.status == 503) add_retry(r, 1);
}

/* A strong validator from the bytes; who has them gets none. */
static void add_etag(struct exchange *e) {
    struct reply *reply = &e->r.reply;
    char tag[24];
    int n = snprintf(tag, sizeof tag, "\"%016llx\"",
                     (unsigned long long)hash64(reply->body.p, reply->body.n));
    struct str text = {tag, (size_t)n}, known = request_header(&e->r, "If-None-Match");
    reply_header(&e->r, "ETag", text);
    reply_header(&e->r, "Cache-Control", STR("no-cache")); /* ask again, mostly for a 304 */
    if (!str_contains(known, text) && !str_is(known, "*")) return;
    reply->status = 304;
    buf_clear(&reply->body);
}

/* What came in from anywhere goes out as what it is: a browser does not guess a type, and runs,
 * frames and keeps nothing of what is not for everybody. */
static void add_protection(const struct exchange *e, struct MHD_Response *response) {
    static const struct header PRIVATE[] = {
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
    };
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (e->r.route && e->r.route->right == RIGHT_WRITE_KEY) return;
    if (e->r.route && e->r.route->right == RIGHT_PUBLIC && e->r.method == HTTP_GET) return;
    for (size_t i = 0; i < sizeof PRIVATE / sizeof *PRIVATE; i++)
        if (!has_header(e, PRIVATE[i].name))
            MHD_add_response_header(response, PRIVATE[i].name, PRIVATE[i].value);
}

enum MHD_Result reply_send(struct exchange *e) {
    struct reply *reply = &e->r.reply;
    struct MHD_Response *response;
    e->stage = STAGE_QUEUED;
    if (reply->body.failed) {
        struct keel_error err;
        reply_error(e, 503, error_set(&err, KEEL_E_NO_MEMORY, "no memory for the reply"), &err);
    }
    (void)exchange_charge(e, reply->body.cap); /* counted; a finished reply is not thrown away */
    if (!reply->status) reply->status = 200;
    if (reply->status == 200 && e->r.route && e->r.route->flags & ROUTE_ETAG && !reply->stream)
        add_etag(e);
    if (reply->stream) {
        response = stream_response(e);
    } else {
        e->reply_bytes = reply->body.n;
        response = MHD_create_response_from_buffer(
            reply->body.n, reply->body.n ? reply->body.p : (void *)(uintptr_t) "",
            MHD_RESPMEM_PERSISTENT);
        int64_t slowest_ms = (int64_t)(reply->body.n / SLOWEST_BYTES_MS);
        atomic_store_explicit(&e->connection->deadline_ms,
                              monotonic_us() / 1000 +
                                  (int64_t)e->server->options.idle_seconds * 1000 + slowest_ms,
                              memory_order_relaxed);
    }
    if (!response) return MHD_NO;
    const char *type = reply->content_type ? reply->content_type : "application/json";
    if (reply->body.n || reply->stream) MHD_add_response_header(response, "Content-Type", type);
    for (unsigned i = 0; i < e->n_headers; i++)
        MHD_add_response_header(response, e->headers[i].name, e->headers[i].value);
    add_protection(e, response);
    if (e->close || atomic_load_explicit(&e->server->draining, memory_order_relaxed))
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(e->mhd, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return queued;
}

void reply_say(struct exchange *e) {
    const struct reply *reply = &e->r.reply;
    struct buf text;
    e->reply_bytes = reply->body.n;
    if (e->connection->tls) return;
    buf_init(&text, ABRUPT_BYTES);
    (void)!buf_printf(&text, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\n",
                      reply->status, status_text(reply->status),
                      reply->content_type ? reply->content_type : "application/json");
    for (unsigned i = 0; i < e->n_headers; i++)
        (void)!buf_printf(&text, "%s: %s\r\n", e->headers[i].name, e->headers[i].value);
    (void)!buf_printf(&text, "Content-Length: %zu\r\n\r\n", reply->body.n);
    if (buf_add_str(&text, buf_str(&reply->body)) == 0) net_say(e->connection->fd, buf_str(&text));
    buf_release(&text);
}

enum MHD_Result reply_abruptly(struct exchange *e) {
    e->stage = STAGE_QUEUED;
    reply_say(e);
    return MHD_NO;
}
