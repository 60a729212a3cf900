/* A running server, asked through DIR/keel.sock: for commands whose data directory it has open.
 *
 *     code = db_open(dir, …);
 *     if (code == -KEEL_E_BUSY) code = remote_open(dir, &remote, err);
 *     if (code == 0) code = remote_call(remote, "GET", "/api/v1/profiles/42", …, &body, err);
 *
 * Who may open the socket may do everything, so nobody is asked for a token.
 *
 * Layers: base/json.h, libcurl. Threads: one owner. Limits: a reply of REMOTE_MAX_BYTES.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

enum { REMOTE_MAX_BYTES = 1 << 30 };

struct remote;

/* KEEL_E_BUSY: no server answers there; the message says that another program has the directory and
 * what to do. Caller closes. */
int remote_open(const char *dir, struct remote **out, struct keel_error *err) K_CHECKED;
void remote_close(struct remote *remote); /* NULL is fine */

/* Headers of the next calls, as "Accept: text/csv". Copied. */
void remote_header(struct remote *remote, const char *line);

/* One request; body.p NULL: none, else it is sent as JSON. The reply's body is added to *out. An
 * answer of 400 or more is an error with the code and the sentence of its problem document, as if
 * the work had been done here. */
int remote_call(struct remote *remote, const char *method, const char *path, struct str body,
                struct buf *out, struct keel_error *err) K_CHECKED;

/* A reply without an end, in pieces as they arrive; a result other than 0 of each() ends it, and is
 * returned. */
int remote_follow(struct remote *remote, const char *path,
                  int (*each)(void *ctx, struct str piece, struct keel_error *err), void *ctx,
                  struct keel_error *err) K_CHECKED;

/* Adds a text to a path, escaped as one segment or one value of a query. */
void remote_escape(struct buf *path, struct str text);
