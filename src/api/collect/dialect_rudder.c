/* RudderStack's SDKs: what they have beside Segment's paths, which dialect_segment.c serves.
 *
 *   POST /beacon/v1/batch?writeKey=    the browser SDK's sendBeacon: text/plain, no headers
 *   GET  /pixel/v1/track, /pixel/v1/page?writeKey=&…
 *   POST /v1/merge                     two identifiers are one customer
 *
 * Its headers: AnonymousId and the Rsa-Retry-* ones only steer RudderStack's own queues, and are
 * allowed to browsers; SentAt is the time of sending of events that do not say (collect.c). Its
 * default body is gzip labelled as a form: the label is not looked at. A reply is Segment's, not
 * the text "OK": SDKs that parse replies as JSON would send again.
 *
 * A merge names two identifiers of any type. That of a user_id and an anonymous_id is an alias
 * (segment.h); of others this store knows nothing yet: they are kept in the quarantine, to be
 * replayed when it does.
 *
 * Layers: dialect.h, credentials.h. Threads: those of the connections.
 */
#include "api/app.h"
#include "api/collect/credentials.h"
#include "api/collect/dialect.h"

static int take(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    struct collect_ask ask = {
        .dialect = &DIALECT_SEGMENT, .type = SEGMENT_ANY_TYPE, .body = r->body};
    return collect(r, ctx, &ask);
}

/* A beacon comes from a page that is being left: the connection is the customer's. */
static int take_beacon(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    if (r->method == HTTP_OPTIONS) return cors_preflight(r);
    struct collect_ask ask = {
        .dialect = &DIALECT_SEGMENT, .type = SEGMENT_ANY_TYPE, .body = r->body, .client = true};
    return collect(r, ctx, &ask);
}

static int take_pixel(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    return pixel_collect(r, ctx, dialect_type(dialect_word(r)));
}

#define ROUTE(method, path, handler)                                                               \
    {                                                                                              \
        .methods = (method) | HTTP_OPTIONS, .pattern = path, .handle = handler,                    \
        .right = RIGHT_WRITE_KEY, .flags = ROUTE_HIDDEN, .tag = "collect",                         \
        .problem = segment_problem                                                                 \
    }

const struct route routes_dialect_rudder[] = {
    ROUTE(HTTP_POST, "/beacon/v1/batch", take_beacon),
    ROUTE(HTTP_POST, "/v1/merge", take),
    ROUTE(HTTP_GET, "/pixel/v1/track", take_pixel),
    ROUTE(HTTP_GET, "/pixel/v1/page", take_pixel),
    {0},
};
