/* A request on its way in: its head is judged, its body gathered and decoded, its handler called.
 *
 * What is wrong with a head (unknown path, no token, too large) is answered only after the body was
 * read and thrown away, up to DISCARD_BYTES: a server that answers and closes while the client
 * still sends makes the client's system drop the answer with the connection. A client that waits
 * for "100 Continue" is answered at once; one that announced a body and sends nothing of it for
 * REFUSED_MS is answered then, and its connection ends with what it still sends.
 *
 * A length and a transfer coding together, or two lengths, are refused: two servers that read them
 * differently can be made to disagree about where a request ends.
 *
 * Bodies with Content-Encoding are decoded in one call (libdeflate is several times faster than a
 * streaming reader) into memory that doubles up to the limit, so that a small body that decodes
 * to much costs no more than the limit.
 *
 * Layers: server_int.h, libdeflate. Threads: libmicrohttpd's, and the workers for exchange_run.
 */
#include "api/server/server_int.h"

#include <libdeflate.h>
#include <stdio.h>

#include "base/os.h"

enum { DECODE_FIRST = 16 << 10, DEFLATE_MOST = 1032, ARENA_BYTES = 1 << 30 };

/* Behind the body of a request without one. */
static const char NO_BODY[REQUEST_PADDING] = "\n";

struct exchange *exchange_new(struct connection *c, struct MHD_Connection *mhd, struct str target) {
    struct server *s = c->server;
    struct exchange *e = k_zalloc(sizeof *e);
    e->server = s;
    e->connection = c;
    e->mhd = mhd;
    e->started_us = monotonic_us();
    arena_init(&e->r.arena, ARENA_BYTES);
    buf_init(&e->received, s->options.max_body_bytes + REQUEST_PADDING);
    buf_init(&e->decoded, s->options.max_body_bytes + REQUEST_PADDING);
    buf_init(&e->r.reply.body, s->options.max_memory_bytes);
    target = str_dup(&e->r.arena, target);
    const char *mark = memchr(target.p, '?', target.n);
    e->r.path = (struct str){target.p, mark ? (size_t)(mark - target.p) : target.n};
    if (mark) e->r.query = (struct str){mark + 1, target.n - e->r.path.n - 1};
    e->r.body = (struct str){NO_BODY, 0};
    e->r.received_ms = now_ms();
    e->r.peer = str_from(c->peer);
    e->r.local = c->local;
    e->r.user = c->user;
    e->r.secure = c->tls;
    return e;
}

static void unlist(struct exchange *e) {
    struct exchange **at = &e->connection->loop->refused;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    e->listed = false;
}

void exchange_free(struct exchange *e) {
    if (e->listed) unlist(e);
    atomic_fetch_sub_explicit(&e->server->n_memory, e->charged, memory_order_relaxed);
    buf_release(&e->received);
    buf_release(&e->decoded);
    buf_release(&e->r.reply.body);
    arena_release(&e->r.arena);
    k_free(e);
}

bool exchange_charge(struct exchange *e, size_t bytes) {
    struct server *s = e->server;
    uint64_t now = atomic_fetch_add_explicit(&s->n_memory, bytes, memory_order_relaxed) + bytes;
    e->charged += bytes;
    if (now <= s->options.max_memory_bytes) return true;
    e->charged -= bytes;
    atomic_fetch_sub_explicit(&s->n_memory, bytes, memory_order_relaxed);
    return false;
}

/* ---- the head ---- */

struct head {
    size_t bytes;
    struct str length, coding;
    unsigned lengths, transfers;
    bool expects, plain_transfer, announces; /* announces: a body */
};

static enum MHD_Result look_at_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                      size_t name_n, const char *value, size_t value_n) {
    (void)kind;
    struct head *h = ctx;
    struct str key = {name, name_n}, text = {value, value_n};
    h->bytes += name_n + value_n + 4;
    if (str_eq_nocase(key, STR("content-length"))) {
        h->lengths++;
        h->length = text;
        h->announces |= !str_is(text, "0");
    } else if (str_eq_nocase(key, STR("transfer-encoding"))) {
        h->transfers++;
        h->announces = true;
        h->plain_transfer = str_eq_nocase(text, STR("chunked"));
    } else if (str_eq_nocase(key, STR("content-encoding"))) {
        h->coding = text;
    } else if (str_eq_nocase(key, STR("expect"))) {
        h->expects = true;
    }
    return MHD_YES;
}

/* "client, proxy, proxy": the last one was written by the proxy that stands before us. */
static void trust_proxy(struct exchange *e) {
    struct str chain = request_header(&e->r, "X-Forwarded-For");
    if (chain.n > 0) {
        size_t from = chain.n;
        while (from > 0 && chain.p[from - 1] != ',') from--;
        struct str last = str_trim((struct str){chain.p + from, chain.n - from});
        if (last.n > 0 && last.n < ADDRESS_TEXT_MAX) e->r.peer = str_dup(&e->r.arena, last);
    }
    struct str proto = request_header(&e->r, "X-Forwarded-Proto");
    if (proto.n > 0) e->r.secure = str_eq_nocase(proto, STR("https"));
}

static enum http_method method_of(const char *text) {
    static const struct {
        const char *name;
        enum http_method method;
    } ALL[] = {{"GET", HTTP_GET},        {"HEAD", HTTP_GET},    {"POST", HTTP_POST},
               {"PUT", HTTP_PUT},        {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
               {"OPTIONS", HTTP_OPTIONS}};
    for (size_t i = 0; i < sizeof ALL / sizeof ALL[0]; i++)
        if (strcmp(ALL[i].name, text) == 0) return ALL[i].method;
    return 0;
}

/* 405 with the methods the path has; OPTIONS is answered with them if the path does not do so. */
static int no_route(struct exchange *e, unsigned methods, struct keel_error *err) {
    char allow[64];
    if (methods == 0) {
        int code = error_set(err, KEEL_E_NOT_FOUND, "there is nothing at %.*s",
                             (int)(e->r.path.n < 200 ? e->r.path.n : 200), e->r.path.p);
        reply_error(e, 404, code, err);
        return code;
    }
    methods_text(methods | HTTP_OPTIONS, allow);
    reply_header(&e->r, "Allow", str_from(allow));
    if (e->r.method == HTTP_OPTIONS) {
        e->r.reply.status = 204;
        return -KEEL_E_UNSUPPORTED;
    }
    int code = error_set(err, KEEL_E_UNSUPPORTED, "this path answers %s", allow);
    reply_error(e, 405, code, err);
    return code;
}

/* Says no with a status of its own. */
#define REFUSE(e, err, status, code, ...)                                                          \
    do {                                                                                           \
        int refused_ = error_set((err), KEEL_E_##code, __VA_ARGS__);                               \
        reply_error((e), (status), refused_, (err));                                               \
        return refused_;                                                                           \
    } while (0)

static int check_length(struct exchange *e, const struct head *h, struct keel_error *err) {
    if (h->lengths > 1 || h->transfers > 1 || (h->lengths && h->transfers)) {
        e->close = true;
        REFUSE(e, err, 400, FORMAT, "more than one length of the body is given");
    }
    if (h->transfers && !h->plain_transfer) {
        e->close = true;
        REFUSE(e, err, 501, UNSUPPORTED, "of transfer encodings only \"chunked\" is understood");
    }
    uint64_t length = 0;
    if (h->lengths && !str_to_u64(h->length, &length)) {
        e->close = true;
        REFUSE(e, err, 400, FORMAT, "Content-Length is no number");
    }
    if (length > e->received.max - REQUEST_PADDING)
        REFUSE(e, err, 413, LIMIT, "the body has %llu bytes; at most %zu are taken",
               (unsigned long long)length, e->received.max - REQUEST_PADDING);
    if (length > 0) {
        if (!exchange_charge(e, (size_t)length + REQUEST_PADDING) ||
            buf_reserve(&e->received, (size_t)length + REQUEST_PADDING) < 0)
            REFUSE(e, err, 503, BUSY, "too much is under way; try again");
    }
    return 0;
}

static int check_coding(struct exchange *e, struct str coding, struct keel_error *err) {
    if (coding.n == 0 || str_eq_nocase(coding, STR("identity")))
        e->coding = CODING_NONE;
    else if (str_eq_nocase(coding, STR("gzip")) || str_eq_nocase(coding, STR("x-gzip")))
        e->coding = CODING_GZIP;
    else if (str_eq_nocase(coding, STR("deflate")))
        e->coding = CODING_DEFLATE;
    else
        REFUSE(e, err, 415, UNSUPPORTED, "Content-Encoding may be gzip or deflate");
    return 0;
}

static int may_call(struct exchange *e, struct keel_error *err) {
    const struct server_options *options = &e->server->options;
    if (!options->authorise) FAIL(err, UNAUTHORISED, "this server lets nobody in");
    return options->authorise(options->ctx, &e->r, err);
}

static int check_head(struct exchange *e, const char *method, const struct head *h,
                      struct keel_error *err) {
    struct server *s = e->server;
    unsigned methods;
    if (atomic_load(&s->closing)) {
        e->close = true;
        REFUSE(e, err, 503, BUSY, "the server is stopping");
    }
    if (e->connection->surplus) {
        e->close = true;
        REFUSE(e, err, 503, BUSY, "too many connections; try again");
    }
    if (e->r.path.n + e->r.query.n > s->options.max_header_bytes / 2)
        REFUSE(e, err, 414, LIMIT, "the address has more than %zu bytes",
               s->options.max_header_bytes / 2);
    if (h->bytes > s->options.max_header_bytes)
        REFUSE(e, err, 431, LIMIT, "the headers have more than %zu bytes",
               s->options.max_header_bytes);
    if (!(e->r.method = method_of(method)))
        REFUSE(e, err, 501, UNSUPPORTED, "the method is not known");
    struct str parts[REQUEST_MAX_PARTS] = {0};
    e->r.route = router_find(s->router, e->r.path, e->r.method, parts, &methods);
    if (!e->r.route) return no_route(e, methods, err);
    for (unsigned i = 0; i < REQUEST_MAX_PARTS && parts[i].p; i++)
        e->r.parts[i] = str_url_decode(&e->r.arena, parts[i], false);
    if (e->r.route->max_body_bytes) {
        e->received.max = (size_t)e->r.route->max_body_bytes + REQUEST_PADDING;
        e->decoded.max = e->received.max;
    }
    TRY(check_length(e, h, err));
    TRY(check_coding(e, h->coding, err));
    if (!right_is_open(e->r.route->right)) {
        int code = may_call(e, err);
        if (code < 0) {
            reply_error(e, 0, code, err);
            return code;
        }
    }
    return 0;
}

/* The body of a refused request is to come; its sender may wait for the answer first. TLS: nothing
 * can be said before libmicrohttpd takes a reply. */
static void await_body(struct exchange *e) {
    struct loop *loop = e->connection->loop;
    e->heard_us = monotonic_us();
    if (e->listed || e->connection->tls) return;
    e->next = loop->refused;
    loop->refused = e;
    e->listed = true;
}

void refused_answer(struct loop *loop) {
    int64_t late_us = monotonic_us() - INT64_C(1000) * REFUSED_MS;
    for (struct exchange *e = loop->refused, *next; e; e = next) {
        next = e->next;
        if (e->heard_us > late_us) continue;
        unlist(e);
        if (e->stage != STAGE_DISCARD) continue;
        reply_say(e);
        e->stage = STAGE_SAID;
    }
}

static enum MHD_Result begin(struct exchange *e, const char *method) {
    struct keel_error err = {0};
    struct head head = {0};
    MHD_get_connection_values_n(e->mhd, MHD_HEADER_KIND, look_at_header, &head);
    if (e->server->options.trust_proxy && !e->connection->local) trust_proxy(e);
    e->stage = STAGE_BODY;
    if (check_head(e, method, &head, &err) == 0) return MHD_YES;
    atomic_fetch_add_explicit(&e->server->n_refused, 1, memory_order_relaxed);
    e->stage = STAGE_DISCARD;
    if (head.expects || e->close) {
        e->close = true;
        return reply_send(e);
    }
    if (head.announces) await_body(e);
    return MHD_YES;
}

/* ---- the body ---- */

static void refuse_body(struct exchange *e, int status, enum keel_code code, const char *text) {
    struct keel_error err;
    reply_error(e, status, error_set(&err, code, "%s", text), &err);
    atomic_fetch_add_explicit(&e->server->n_refused, 1, memory_order_relaxed);
    e->stage = STAGE_DISCARD;
    buf_release(&e->received);
}

static void take(struct exchange *e, const char *data, size_t n) {
    size_t limit = e->received.max - REQUEST_PADDING, need = e->received.n + n + REQUEST_PADDING;
    if (n > limit - e->received.n) {
        refuse_body(e, 413, KEEL_E_LIMIT, "the body is larger than is taken");
        e->discarded += n;
        return;
    }
    if (need > e->received.cap) {
        size_t before = e->received.cap;
        if (buf_reserve(&e->received, n + REQUEST_PADDING) < 0 ||
            !exchange_charge(e, e->received.cap - before)) {
            refuse_body(e, 503, KEEL_E_BUSY, "too much is under way; try again");
            return;
        }
    }
    (void)!buf_add(&e->received, data, n);
}

static enum MHD_Result more(struct exchange *e, const char *data, size_t *data_bytes) {
    struct server *s = e->server;
    int64_t limit_us = (int64_t)s->options.idle_seconds * 1000000;
    size_t n = *data_bytes;
    atomic_fetch_add_explicit(&s->n_bytes_in, n, memory_order_relaxed);
    *data_bytes = 0;
    if (e->stage == STAGE_BODY) {
        take(e, data, n);
        if (e->stage == STAGE_BODY && monotonic_us() - e->started_us > limit_us)
            refuse_body(e, 408, KEEL_E_CANCELLED, "the request took too long to arrive");
        else if (e->stage == STAGE_BODY)
            return MHD_YES;
    } else {
        e->discarded += n;
    }
    if (e->discarded >= DISCARD_BYTES || e->r.reply.status == 408) return reply_abruptly(e);
    await_body(e);
    return MHD_YES;
}

/* ---- decoding ---- */

static enum libdeflate_result inflate_once(const struct exchange *e,
                                           struct libdeflate_decompressor *d, size_t from,
                                           uint8_t *to, size_t room, size_t *in, size_t *out) {
    const uint8_t *p = e->received.p + from;
    size_t n = e->received.n - from;
    if (e->coding == CODING_GZIP) return libdeflate_gzip_decompress_ex(d, p, n, to, room, in, out);
    enum libdeflate_result result = libdeflate_zlib_decompress_ex(d, p, n, to, room, in, out);
    if (result != LIBDEFLATE_BAD_DATA) return result;
    /* "deflate" is zlib's format by the letter, the bare stream by the habit of some clients */
    return libdeflate_deflate_decompress_ex(d, p, n, to, room, in, out);
}

static bool grow_decoded(struct exchange *e, size_t room) {
    if (!exchange_charge(e, room) || buf_reserve(&e->decoded, room) < 0) {
        refuse_body(e, 503, KEEL_E_BUSY, "too much is under way; try again");
        return false;
    }
    return true;
}

/* Several gzip members behind one another are one body. */
static void decode(struct exchange *e, struct libdeflate_decompressor *d) {
    size_t limit = e->decoded.max - REQUEST_PADDING, from = 0;
    size_t guess = e->received.n * 8 < DECODE_FIRST ? DECODE_FIRST : e->received.n * 8;
    size_t room = guess < limit ? guess : limit;
    while (from < e->received.n) {
        size_t in = 0, out = 0;
        if (!grow_decoded(e, room + REQUEST_PADDING)) return;
        switch (inflate_once(e, d, from, e->decoded.p + e->decoded.n, room, &in, &out)) {
        case LIBDEFLATE_SUCCESS:
            e->decoded.n += out;
            from += in;
            if (room > limit - e->decoded.n) room = limit - e->decoded.n;
            break;
        case LIBDEFLATE_INSUFFICIENT_SPACE:
            if (room >= limit - e->decoded.n) {
                refuse_body(e, 413, KEEL_E_LIMIT, "the decoded body is larger than is taken");
                return;
            }
            room = room * 4 < limit - e->decoded.n ? room * 4 : limit - e->decoded.n;
            break;
        default:
            refuse_body(e, 400, KEEL_E_FORMAT, "the body is not what its Content-Encoding says");
            return;
        }
    }
}

static void finish_body(struct exchange *e) {
    if (e->received.n == 0) return;
    if (e->coding != CODING_NONE) {
        struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
        if (d)
            decode(e, d);
        else
            refuse_body(e, 503, KEEL_E_NO_MEMORY, "no memory to decode the body");
        libdeflate_free_decompressor(d);
        if (e->stage != STAGE_BODY) return;
        buf_release(&e->received);
        e->received = e->decoded;
        buf_init(&e->decoded, 0);
    }
    uint8_t *end = e->received.p + e->received.n; /* room: REQUEST_PADDING was reserved */
    memset(end, 0, REQUEST_PADDING);
    *end = '\n';
    e->r.body = buf_str(&e->received);
}

/* ---- the handler ---- */

/* May a repeated request be answered from the first one's reply? Not a public one: SDKs do not send
 * keys, and strangers shall not fill the desk's database. */
static bool is_keyed(const struct exchange *e) {
    const struct route *route = e->r.route;
    if (!e->server->options.recall || right_is_open(route->right) || route->flags & ROUTE_SECRET ||
        e->r.method == HTTP_GET)
        return false;
    return request_header(&e->r, "Idempotency-Key").p != NULL;
}

/* True: the reply is there already. */
static bool recall(struct exchange *e) {
    struct keel_error err = {0};
    int code = e->server->options.recall(e->server->options.ctx, &e->r, &err);
    if (code < 0) reply_error(e, 0, code, &err);
    return code != 0;
}

/* Calls it; false: somebody finishes later. */
static bool call(struct exchange *e) {
    struct keel_error err = {0};
    int code = e->r.route->handle(&e->r, e->server->ctx, &err);
    if (code == REQUEST_LATER) return false;
    if (code < 0) reply_error(e, 0, code, &err);
    return true;
}

/* What cannot be noted is not done. False: the reply says why. */
static bool ready(struct exchange *e) {
    const struct server_options *options = &e->server->options;
    struct keel_error err = {0};
    int code = options->ready ? options->ready(options->ctx, &e->r, &err) : 0;
    if (code < 0) reply_error(e, error_http_status(code), code, &err);
    return code >= 0;
}

/* And if noting fails at last, it is not answered, so that nobody builds on it. */
static void audit(struct exchange *e) {
    const struct server_options *options = &e->server->options;
    struct keel_error err = {0};
    int code = options->audit ? options->audit(options->ctx, &e->r, &err) : 0;
    if (code >= 0) return;
    if (e->r.reply.stream) stream_detach(e->r.reply.stream);
    e->r.reply.stream = NULL;
    reply_error(e, error_http_status(code), code, &err);
}

void exchange_run(struct exchange *e) {
    if ((!e->keyed || !recall(e)) && ready(e)) {
        if (!call(e)) return;
        audit(e);
        if (e->keyed) e->server->options.keep(e->server->options.ctx, &e->r);
    }
    request_finish(&e->r);
}

void request_finish(struct request *r) {
    struct exchange *e = exchange_of(r);
    struct MHD_Connection *mhd = e->mhd;
    struct loop *loop = e->connection->loop;
    struct server *s = e->server;
    atomic_fetch_add(&s->n_finishing, 1);
    /* From the exchange on, e belongs to the server's thread unless it sleeps. */
    if (atomic_exchange(&e->turn, TURN_DONE) == TURN_SUSPENDED) connection_resume(loop, mhd);
    atomic_fetch_sub(&s->n_finishing, 1);
}

static enum MHD_Result dispatch(struct exchange *e) {
    finish_body(e);
    if (e->stage != STAGE_BODY) return reply_send(e);
    e->stage = STAGE_HANDLED;
    atomic_store_explicit(&e->connection->deadline_ms, 0, memory_order_relaxed);
    atomic_store(&e->turn, TURN_HANDLER);
    e->keyed = is_keyed(e);
    if (e->keyed || e->r.route->flags & ROUTE_WORKER) {
        if (!work_push(e->server, e)) {
            refuse_body(e, 503, KEEL_E_BUSY, "too many requests wait; try again");
            return reply_send(e);
        }
    } else if (call(e)) {
        return reply_send(e);
    }
    return atomic_load(&e->turn) == TURN_DONE ? reply_send(e) : MHD_YES;
}

/* libmicrohttpd comes again, and reads no more; see server_int.h. */
static enum MHD_Result wait_for_handler(struct exchange *e) {
    if (atomic_load(&e->turn) == TURN_DONE) return reply_send(e);
    e->stage = STAGE_WAITING;
    MHD_suspend_connection(e->mhd);
    int was = TURN_HANDLER;
    if (!atomic_compare_exchange_strong(&e->turn, &was, TURN_SUSPENDED))
        connection_resume(e->connection->loop, e->mhd);
    return MHD_YES;
}

enum MHD_Result exchange_step(struct exchange *e, const char *method, const char *data,
                              size_t *data_bytes) {
    switch (e->stage) {
    case STAGE_HEAD: return begin(e, method);
    case STAGE_BODY: return *data_bytes ? more(e, data, data_bytes) : dispatch(e);
    case STAGE_DISCARD: return *data_bytes ? more(e, data, data_bytes) : reply_send(e);
    case STAGE_HANDLED: return wait_for_handler(e);
    case STAGE_WAITING: return reply_send(e);
    case STAGE_SAID:
        if (!*data_bytes) return MHD_NO;
        break;
    case STAGE_QUEUED: break;
    }
    *data_bytes = 0;
    return MHD_YES;
}

/* ---- what handlers ask ---- */

struct str request_header(const struct request *r, const char *name) {
    const char *value = NULL;
    size_t n = 0;
    if (MHD_lookup_connection_value_n(exchange_of_const(r)->mhd, MHD_HEADER_KIND, name,
                                      strlen(name), &value, &n) != MHD_YES)
        return (struct str){NULL, 0};
    return (struct str){value ? value : "", n};
}

bool request_param(struct request *r, const char *name, struct str *out) {
    struct str left = r->query, wanted = str_from(name);
    while (left.n > 0) {
        const char *end = memchr(left.p, '&', left.n);
        struct str pair = {left.p, end ? (size_t)(end - left.p) : left.n};
        size_t taken = pair.n + (end ? 1 : 0);
        left = (struct str){left.p + taken, left.n - taken};
        const char *equals = memchr(pair.p, '=', pair.n);
        struct str key = {pair.p, equals ? (size_t)(equals - pair.p) : pair.n};
        if (!str_eq(str_url_decode(&r->arena, key, true), wanted)) continue;
        struct str value = equals ? (struct str){equals + 1, pair.n - key.n - 1} : STR("");
        *out = str_url_decode(&r->arena, value, true);
        return true;
    }
    return false;
}

int request_number(struct request *r, const char *name, int64_t least, int64_t most, int64_t *value,
                   struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    if (!str_to_i64(text, value) || *value < least || *value > most)
        FAIL(err, INVALID, "%s=%.*s: write a number from %lld to %lld", name,
             (int)(text.n < 40 ? text.n : 40), text.p, (long long)least, (long long)most);
    return 0;
}

int request_flag(struct request *r, const char *name, bool *value, struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    *value = str_is(text, "true");
    if (!*value && !str_is(text, "false"))
        FAIL(err, INVALID, "%s=%.*s: write true or false", name, (int)(text.n < 40 ? text.n : 40),
             text.p);
    return 0;
}
