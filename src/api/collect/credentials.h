/* What a request to a collector says of its sender, and what a browser may do with the reply.
 *
 * Write keys come as (in this order; the first one that is known holds):
 *   Authorization: Basic base64(key ":" anything), the colon may be missing
 *   Authorization: Bearer key          (Segment sends an OAuth token there: then the body's holds)
 *   X-Write-Key: key [":" secret]      (Jitsu)
 *   ?writeKey= or ?writekey=           (beacons, pixels)
 *   "writeKey" of the body, "key:***", or of each event of a batch
 * What stands behind a colon is not looked at.
 *
 * Browsers: any page may ask (a preflight carries no key), whether its origin may send is decided
 * by the source. Replies name the origin that asked, because SDKs send credentials, with which "*"
 * is not allowed.
 *
 * Layers: server.h, source.h. Threads: that of the request. Limits: CREDENTIALS_MAX of a header.
 */
#pragma once

#include "api/collect/source.h"
#include "api/server/server.h"

enum { CREDENTIALS_MAX = 4096 };

/* The known source that the headers or the query name, or NULL. */
const struct event_source *credentials_source(struct request *r, struct sources *sources);

/* The source of a key as it stands in a body: "key" or "key:secret". */
const struct event_source *credentials_find(struct sources *sources, struct str key,
                                            int64_t now_ms);

/* Base64 in either alphabet, with or without padding, into the arena, with a NUL behind it;
 * false: it is none. */
bool credentials_base64(struct arena *a, struct str text, struct str *out);

/* Headers for the page that asked; nothing without an Origin. Call once a reply. */
void cors_allow(struct request *r);
/* The reply to OPTIONS. */
int cors_preflight(struct request *r);
