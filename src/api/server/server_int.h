/* What the files of the HTTP server share:
 *
 *   server.c         start and stop, listeners, connections, deadlines
 *   accept.c         connections taken and handed to a loop
 *   loop.c           the threads that serve connections
 *   intake.c         a request on its way in: head, body, decoding, dispatch
 *   reply.c          a reply on its way out; the problem documents
 *   stream.c         replies without an end
 *   tls.c            the certificate
 *   paths.c          which route a path is
 *   work.c           the pool for handlers that wait or compute
 *
 * Whose turn it is. A request is worked on by one thread at a time. libmicrohttpd's thread has it
 * until the handler runs elsewhere or later; then the connection is suspended: libmicrohttpd does
 * not look at its socket. Not at once, but when libmicrohttpd asks for the reply once more: only
 * then it has noted that it has nothing to read. A connection that is suspended while it reads does
 * so first when it is resumed, and takes the end of input, of a sender that has shut down its side
 * behind the request, for an abort. `turn` decides the race between the suspension and
 * request_finish:
 *
 *   TURN_SERVER -> TURN_HANDLER -> TURN_SUSPENDED -> TURN_DONE    finish resumes the connection
 *                              \-> TURN_DONE                      finished before the suspension
 *
 * Locks: server.lock (connections, streams, the clock's condition) > stream.lock; server.work_lock
 * alone. None is held while a handler runs.
 */
#pragma once

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "api/server/server.h"
#include "base/net.h"

enum {
    ADDRESS_TEXT_MAX = 64,
    DISCARD_BYTES = 64 << 20, /* of a refused body are read, so that its sender sees the answer */
    SLOWEST_BYTES_MS = 16,    /* a reply goes out at least so fast                              */
    HEARTBEAT_MS = 15000,
    TICK_MS = 250,
    WORK_QUEUE = 1024, /* requests that wait for a worker */
    LOOP_HANDED = 64,  /* connections that wait for their loop */
    REFUSED_MS = 1000, /* nothing of a refused body came: its sender waits for the answer */
};

enum turn { TURN_SERVER, TURN_HANDLER, TURN_SUSPENDED, TURN_DONE };
enum stage {
    STAGE_HEAD,
    STAGE_BODY,
    STAGE_DISCARD,
    STAGE_HANDLED,
    STAGE_WAITING,
    STAGE_QUEUED,
    STAGE_SAID /* refused_answer: what still comes of the body is thrown away */
};
enum coding { CODING_NONE, CODING_GZIP, CODING_DEFLATE };

struct connection {
    struct server *server;
    struct loop *loop;
    struct connection *before, *after; /* server.lock */
    int fd;
    int64_t user; /* of a local one: see struct request */
    bool local, tls;
    bool surplus;                /* beyond a limit: its first request is answered 503 */
    _Atomic int64_t deadline_ms; /* when it is cut; 0: never                          */
    char peer[ADDRESS_TEXT_MAX];
};

struct header {
    const char *name, *value;
};

/* A request and what belongs to it. */
struct exchange {
    struct request r; /* first: exchange_of */
    struct server *server;
    struct connection *connection;
    struct MHD_Connection *mhd;
    struct exchange *next; /* in the queue of the workers, or among the refused of its loop */
    _Atomic int turn;
    enum stage stage;
    enum coding coding;
    struct buf received, decoded;
    uint64_t discarded, charged; /* bytes of max_memory_bytes */
    struct header headers[REPLY_MAX_HEADERS];
    unsigned n_headers;
    bool close;                   /* the connection, after the reply */
    bool keyed;                   /* has an Idempotency-Key           */
    bool listed;                  /* in loop.refused                 */
    int64_t started_us, heard_us; /* heard: the last of a refused body */
    uint64_t reply_bytes;
};

static inline struct exchange *exchange_of(struct request *r) { return (struct exchange *)r; }
static inline const struct exchange *exchange_of_const(const struct request *r) {
    return (const struct exchange *)r;
}

struct handed {
    int fd;
    struct net_peer peer;
};

/* A thread that serves connections; see loop.c. */
struct loop {
    struct server *server;
    struct listener *listener;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int waker;
    _Atomic bool rung, stops;
    pthread_mutex_t lock;
    struct handed handed[LOOP_HANDED]; /* lock */
    unsigned n_handed;
    struct exchange *refused; /* the thread's own: refused, and their bodies still to come */
};

struct listener {
    struct server *server;
    int fd; /* listening */
    bool local, tls, accepts;
    pthread_t thread; /* that takes connections, if `accepts` */
    struct loop *loops;
    unsigned n_loops, next; /* next: whose turn it is to get a connection */
};

enum { LISTENER_TCP, LISTENER_UNIX, LISTENERS };

struct server {
    struct server_options options;
    const struct route *const *tables;
    struct router *router;
    void *ctx;
    struct listener listeners[LISTENERS];
    unsigned port;
    _Atomic(struct tls *) tls;               /* of now; those of before behind it */
    _Atomic bool draining, closing, cutting; /* in this order; see server_stop */
    _Atomic uint64_t n_connections, n_open, n_requests, n_refused, n_bytes_in, n_bytes_out;
    _Atomic uint64_t n_memory, n_under_way, n_latency_us;
    _Atomic unsigned n_finishing; /* threads within request_finish: they use the loop to the end */
    _Atomic uint64_t classes[SERVER_CLASSES], latency[SERVER_LATENCIES];

    pthread_mutex_t lock;
    pthread_cond_t clock_wake, quiet; /* quiet: a request ended */
    struct connection *connections;
    struct reply_stream *streams;
    bool clock_stops;
    pthread_t clock;

    pthread_mutex_t work_lock;
    pthread_cond_t work_wake;
    struct exchange *work_first, **work_last;
    unsigned work_waiting;
    bool work_stops;
    unsigned workers;
    pthread_t *worker;
};

/* ---- paths.c ---- */

/* See server_start. audited: what changes something is noted, which waits: in a worker. */
int routes_check(const struct route *const *tables, bool audited, struct keel_error *err);
struct router *router_new(const struct route *const *tables); /* tables: see server_start */
void router_free(struct router *router);
/* The route of a path, its parts as sent; NULL and *out_methods: those the path has, 0 for none. */
const struct route *router_find(const struct router *router, struct str path,
                                enum http_method method, struct str parts[REQUEST_MAX_PARTS],
                                unsigned *out_methods);
void methods_text(unsigned methods, char out[64]); /* "GET, HEAD, POST" */

/* ---- accept.c ---- */

unsigned server_most(const struct server *s); /* connections, those included that get a 503 */
int accept_start(struct listener *l, struct keel_error *err) K_CHECKED;
void accept_stop(struct listener *l); /* needs `draining`, or a listener that never accepted */

/* ---- loop.c ---- */

int loop_start(struct loop *loop, struct keel_error *err) K_CHECKED; /* owns the daemon */
void loop_stop(struct loop *loop);
void loop_wake(struct loop *loop);
void loop_hand_over(struct loop *loop, int fd, const struct net_peer *peer);
void connection_resume(struct loop *loop, struct MHD_Connection *mhd); /* from any thread */

/* ---- intake.c ---- */

struct exchange *exchange_new(struct connection *c, struct MHD_Connection *mhd, struct str target);
void exchange_free(struct exchange *e);
/* libmicrohttpd's access handler. */
enum MHD_Result exchange_step(struct exchange *e, const char *method, const char *data,
                              size_t *data_bytes);
/* False: over the limit of memory, and nothing was charged. */
bool exchange_charge(struct exchange *e, size_t bytes);
void exchange_run(struct exchange *e); /* a worker's turn */
/* Answers the refused whose bodies do not come, in the loop's thread. */
void refused_answer(struct loop *loop);

/* ---- reply.c ---- */

/* The reply for an error with the status to send; 0: that of the code. */
void reply_error(struct exchange *e, int status, int code, const struct keel_error *err);
enum MHD_Result reply_send(struct exchange *e);
/* In the middle of a body, where libmicrohttpd takes no reply: said straight into the socket, if it
 * is not TLS. */
void reply_say(struct exchange *e);
enum MHD_Result reply_abruptly(struct exchange *e); /* and the connection ends */
const char *status_text(int status);

/* ---- stream.c ---- */

struct MHD_Response *stream_response(struct exchange *e);
void stream_detach(struct reply_stream *s); /* the client is gone */
void streams_beat(struct server *s, int64_t now);
void streams_cut(struct server *s);

/* ---- tls.c ---- */

struct MHD_OptionItem tls_option(void); /* libmicrohttpd asks us for the certificate */
void tls_release(struct server *s);

/* ---- work.c ---- */

int work_start(struct server *s, struct keel_error *err) K_CHECKED;
void work_stop(struct server *s);
bool work_push(struct server *s, struct exchange *e); /* false: the queue is full */
