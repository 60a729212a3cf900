/* The dialects: the same events under other paths, with other replies.
 *
 *   dialect_segment.c   Segment's SDKs, and whatever speaks like them
 *   dialect_rudder.c    what RudderStack's SDKs have beside those paths
 *   dialect_jitsu.c     Jitsu's
 *   pixel.c             events in the address of an image
 *
 * A dialect is a table of routes (routes_*), a handler that says what it knows of the request, and
 * the shape of its replies (struct dialect). No dialect looks at Content-Type: SDKs send JSON as
 * text/plain, to spare browsers a preflight, and gzip as a form.
 *
 * Layers: collect.h, server.h. Threads: those of the connections.
 */
#pragma once

#include "api/collect/collect.h"

/* The type of event that a word of a path names: "track" or "t"; SEGMENT_ANY_TYPE if none, as
 * "batch", "import", "b". */
int dialect_type(struct str word);
/* The last part of the pattern by which the request came: "/v1/track" gives "track". */
struct str dialect_word(const struct request *r);

/* {"success":true}, {"success":false,"error":…,"code":…,"message":…}. */
extern const struct dialect DIALECT_SEGMENT;
/* route->problem of its shape, for what the server itself refuses. */
void segment_problem(struct request *r, int code, const struct keel_error *err);

/* An event in the query: data= JSON, plain or base64; or a parameter a value, where "context.page",
 * "properties.x" and "traits.x" go where they belong. False: there is none. */
bool pixel_body(struct request *r, struct str *out);
/* Answers with a transparent GIF: 200 also for what was refused, because an image has no reader of
 * its status; 429 and 503 if the event should have been taken and was not. */
extern const struct dialect DIALECT_PIXEL;
/* Takes the event of a pixel. */
int pixel_collect(struct request *r, void *ctx, int type);
