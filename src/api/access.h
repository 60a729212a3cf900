/* Who calls, and may he? The guard at the door of the HTTP server.
 *
 *   DIR/keel.sock            the owner of the data: every right
 *   Authorization: Bearer …  the token of admin.token (every right), or an API key (its scopes)
 *   Cookie: keel_session=…   a person who signed in (the rights of his role); over TLS it is named
 *                            __Host-keel_session and marked Secure
 *
 * A cookie comes along with whatever a page of anybody makes a browser send. So a request by cookie
 * that is no GET needs the header X-CSRF-Token (GET /api/v1/session tells it; it follows from the
 * session's secret, which no script can read), and must come from a page of this server, by
 * Sec-Fetch-Site and Origin. The cookie is SameSite=Strict besides.
 *
 * Layers: app.h, server.h, guard. Threads: access_authorise runs in those of connections: look-ups
 * that wait for nobody; the others in workers. */
#pragma once

#include "api/app.h"
#include "api/server/server.h"

/* For server_options. Fills r->actor. */
int access_authorise(struct app *app, struct request *r, struct keel_error *err) K_CHECKED;
int access_ready(const struct app *app, const struct request *r, struct keel_error *err) K_CHECKED;
int access_audit(struct app *app, struct request *r, struct keel_error *err) K_CHECKED;

/* Does the request come from a page of this server, as far as it says where from? For those that
 * sign in: nobody shall sign another one in. */
int access_same_origin(const struct request *r, struct keel_error *err) K_CHECKED;
/* Tells the browser its session; empty: to forget it. */
void access_set_cookie(struct request *r, struct str secret);
/* The secret of the session that the request came with; empty: none. */
struct str access_cookie(const struct request *r);
/* Who makes a change, for the history of what is changed; in the request's arena. Who owns the data
 * may say on whose behalf he acts (?who=); others are who they are. */
struct str access_who(struct request *r);
/* r->object: a mark of what may name a person. */
void access_mark(const struct app *app, struct request *r, const char *kind, struct str what);
