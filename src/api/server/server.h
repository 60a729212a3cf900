/* The HTTP server: one whole request in, one reply out. libmicrohttpd is known to this folder
 * alone.
 *
 * A room of the API brings a table of routes; the same table dispatches, writes the OpenAPI
 * document, and says who may call. A handler gets the whole body (decoded when it came with
 * Content-Encoding: gzip or deflate), fills request->reply and returns
 *   0               the reply is ready;
 *   REQUEST_LATER   somebody else fills it and then calls request_finish, from any thread;
 *   an error code   the server answers for it: problem details (RFC 9457), or as route->problem
 *                   says, where SDKs expect another shape.
 * Handlers run in the threads of the connections (one a processor): they must not wait. What waits
 * or computes has ROUTE_WORKER and runs in a pool of its own; what waits for the disk is handed to
 * somebody (REQUEST_LATER).
 *
 * Layers: base, guard/actor.h; above it, one file per resource. Threads: a request belongs to one
 * thread at a time. Limits: struct server_options; what goes beyond is answered 413, 414, 431, 408
 * or 503 with Retry-After, never dropped silently.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "guard/actor.h"

enum http_method {
    HTTP_GET = 1 << 0, /* also answers HEAD */
    HTTP_POST = 1 << 1,
    HTTP_PUT = 1 << 2,
    HTTP_PATCH = 1 << 3,
    HTTP_DELETE = 1 << 4,
    HTTP_OPTIONS = 1 << 5,
};

enum {
    REQUEST_LATER = 1,
    REQUEST_MAX_PARTS = 8, /* variable parts of a path                          */
    REQUEST_PADDING = 64,  /* readable bytes behind the body; the first is '\n' */
    REPLY_MAX_HEADERS = 16,
};

struct request;
typedef int request_handler(struct request *r, void *ctx, struct keel_error *err);

struct reply {
    int status;                  /* 0: 200                                            */
    const char *content_type;    /* static; NULL: application/json                    */
    struct buf body;             /* given back by the server                          */
    struct reply_stream *stream; /* instead of a body: see request_stream          */
};

struct request {
    enum http_method method;
    struct str path, query; /* as sent; query without '?'                        */
    struct str body;        /* decoded; at least REQUEST_PADDING bytes readable behind it */
    struct str parts[REQUEST_MAX_PARTS]; /* values of {…} in the pattern, percent-decoded    */
    struct str peer; /* address in text; of the first untrusted hop if proxies are trusted */
    bool local;      /* came through DIR/keel.sock: who may open that owns the data */
    int64_t user;    /* local: who the system says it is (net_peer_user); else -1   */
    bool secure;     /* TLS                                               */
    int64_t received_ms;
    const struct route *route;
    struct actor actor; /* who asks; nobody where the route asks nobody       */
    bool disclosed;     /* set by the handler: the reply shows personal data  */
    struct str object;  /* set by the handler: what it was about, for the audit; else the path */
    struct arena arena; /* until the reply is sent                           */
    struct reply reply;
    struct str error; /* what an error said, for the log                   */
};

const char *request_method_text(const struct request *r); /* "GET"; "-" if it is not known */
/* A header's value as sent, or {NULL, 0}. Names are compared without case. */
struct str request_header(const struct request *r, const char *name);
/* A query parameter, decoded into the request's arena; false if absent. */
bool request_param(struct request *r, const char *name, struct str *out);
/* The same as a whole number from least to most, else KEEL_E_INVALID; absent leaves *value alone.
 */
int request_number(struct request *r, const char *name, int64_t least, int64_t most, int64_t *value,
                   struct keel_error *err) K_CHECKED;
/* The same as true or false, else KEEL_E_INVALID; absent leaves *value alone. */
int request_flag(struct request *r, const char *name, bool *value,
                 struct keel_error *err) K_CHECKED;
/* Adds a header to the reply; name and value are copied. */
void reply_header(struct request *r, const char *name, struct str value);
/* The reply for an error: status of its code, problem details as body. */
void reply_problem(struct request *r, int code, const struct keel_error *err);
/* 429 or 503 with Retry-After and X-RateLimit-Reset. */
void reply_retry(struct request *r, int status, unsigned seconds);
/* Ends a request that was REQUEST_LATER; nothing of it may be touched afterwards. */
void request_finish(struct request *r);

/* A reply without an end: server-sent events, unless reply.content_type says otherwise (an export:
 * then the reply ends with stream_close). The sender keeps the handle, pushes from any thread,
 * and must call stream_close once, also when stream_push said that the client is gone. */
struct reply_stream;
struct reply_stream *request_stream(struct request *r, size_t max_waiting_bytes);
/* The same for a long document: `*out` is set, then write(arg) runs in a thread of its own, which
 * closes the stream. When no thread can be had, the reply is as if there had been no stream. */
int request_document(struct request *r, size_t max_waiting_bytes, void *(*write)(void *), void *arg,
                     struct reply_stream **out, struct keel_error *err);
/* 0; KEEL_E_CANCELLED: the client is gone; KEEL_E_LIMIT: it reads too slowly, nothing was added. */
int stream_push(struct reply_stream *s, struct str text) K_CHECKED;
/* Waits until there is room for so many bytes: for a ROUTE_WORKER that writes a long document.
 * KEEL_E_LIMIT: still none after `ms`; KEEL_E_CANCELLED: the client is gone, or the server stops.
 */
int stream_wait(struct reply_stream *s, size_t bytes, unsigned ms) K_CHECKED;
void stream_close(struct reply_stream *s);

/* ---- routes ---- */

enum route_flags {
    ROUTE_WORKER = 1 << 0, /* may compute or wait                                           */
    ROUTE_HIDDEN = 1 << 1, /* not in the OpenAPI document: aliases                          */
    ROUTE_ETAG = 1 << 2,   /* GET: an ETag of the body; 304 for who has it                  */
    ROUTE_READS = 1 << 3,  /* changes nothing, although its method may                      */
    ROUTE_SECRET = 1 << 4, /* the reply holds a secret: not kept for Idempotency-Key        */
};

struct route {
    unsigned methods;    /* enum http_method                                                */
    const char *pattern; /* "/api/v1/profiles/{id}"; a last part {name...} takes the rest   */
    request_handler *handle;
    enum right right; /* what its caller needs; without one the server does not start        */
    unsigned flags;
    const char *tag, *summary; /* of the OpenAPI document                                    */
    const char *params; /* query parameters, one a line: "limit integer how many rows; …"  */
    const char *body;   /* JSON schema of the request, or NULL                             */
    const char *answer; /* JSON schema of the reply, or NULL                               */
    /* What an error looks like, also when the server itself refuses (body too large, too busy);
     * reply.status is set already. NULL: RFC 9457. */
    void (*problem)(struct request *r, int code, const struct keel_error *err);
    int64_t max_body_bytes; /* 0: the server's                                               */
};

struct server;

struct server_options {
    struct str listen;       /* "127.0.0.1:7480", "[::]:443"                              */
    const char *socket_path; /* DIR/keel.sock, or NULL                                    */
    const char *cert_path, *key_path; /* PEM; both or none                                   */
    unsigned threads;         /* of connections; 0: one a processor                        */
    unsigned workers;         /* 0: 4                                                      */
    unsigned max_connections; /* 0: 1024                                                   */
    unsigned max_per_address; /* 0: no limit                                               */
    unsigned idle_seconds;    /* 0: 60; a request must be complete within it, too          */
    size_t max_body_bytes;    /* 0: 4 MiB, as sent and decoded                             */
    size_t max_header_bytes;  /* 0: 32 KiB                                                 */
    size_t max_memory_bytes;  /* of bodies, replies and streams; 0: 256 MiB                */
    bool trust_proxy;         /* take peer and secure from X-Forwarded-For and -Proto      */
    /* May this one call this route? 0, or an error. Not asked for routes that are public or ask
     * for a write key. NULL: nobody may. */
    int (*authorise)(void *ctx, struct request *r, struct keel_error *err);
    /* For requests with an Idempotency-Key that change something, in a worker: recall before the
     * handler (1: it filled the reply, nothing is done), keep after it. Both or none. */
    int (*recall)(void *ctx, struct request *r, struct keel_error *err);
    void (*keep)(void *ctx, struct request *r);
    /* Around the handler of a worker: ready before it (could what it does be noted? an error takes
     * its place), audit behind it, before the reply leaves: notes what was done, and an error takes
     * the place of the reply. Both or none. */
    int (*ready)(void *ctx, struct request *r, struct keel_error *err);
    int (*audit)(void *ctx, struct request *r, struct keel_error *err);
    /* After the reply; status 0: the client never sent a whole request; negative: it left before it
     * had the whole reply. */
    void (*log)(void *ctx, const struct request *r, int status, uint64_t bytes, int64_t us);
    void *ctx;
};

enum {
    SERVER_CLASSES = 6,    /* of status: no whole request, 1xx … 5xx */
    SERVER_LATENCIES = 16, /* how long requests took: below server_latency_us(i); the last: more */
};

struct server_stats { /* since the start */
    uint64_t connections, open_connections, requests, refused, bytes_in, bytes_out;
    uint64_t classes[SERVER_CLASSES], latency[SERVER_LATENCIES], latency_sum_us;
    uint64_t memory_bytes, waiting; /* now */
};
int64_t server_latency_us(unsigned i); /* 100 µs, then doubling */

/* Listens and serves; tables end with a route whose pattern is NULL, the list of tables with NULL.
 * `ctx` is given to every handler. KEEL_E_BUSY if the address is taken; KEEL_E_INTERNAL if a route
 * declares no right. *out is set before the
 * first request is taken. */
int server_start(const struct server_options *options, const struct route *const *tables, void *ctx,
                 struct server **out, struct keel_error *err) K_CHECKED;
/* Takes no new connection, ends the streams, answers what is under way within `grace_ms`, then
 * cuts, and waits as long again (2 s at least) until every handler has ended and every
 * REQUEST_LATER been finished: whoever has one must do so. True: it is gone (NULL is, too). False:
 * some have not ended; nothing was freed, and what they use must stay. It may be called again. */
bool server_stop(struct server *s, unsigned grace_ms);
/* Reads certificate and key again, for the connections that follow. KEEL_E_INVALID, or what reading
 * says: those of before stay. Without TLS nothing is done. */
int server_reload(struct server *s, struct keel_error *err) K_CHECKED;
bool server_draining(const struct server *s); /* server_stop was called */
/* Becomes true when the grace is over: for long work that can be given up. */
const _Atomic bool *server_cutting(const struct server *s);
unsigned server_port(const struct server *s); /* of the address; for a listen port 0 */
const struct route *const *server_tables(const struct server *s);
void server_stats(const struct server *s, struct server_stats *out);
