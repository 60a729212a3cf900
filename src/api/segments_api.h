/* What the files of /api/v1/segments share: segments_api.c (the table), segments_members.c
 * (members, previews, overlap), segments_export.c.
 * Layers: app.h, server.h. Threads: pure. */
#pragma once

#include "api/app.h"
#include "api/server/server.h"
#include "base/json.h"
#include "desk/audience/audience.h"
#include "desk/audience/audiences.h"

enum { SEGMENTS_BODY_MAX = 512 << 10 };

/* What they cost and how far behind they are, on /metrics. Behind audiences_open. */
void segments_count(struct app *app);
/* {id} of a path: a number or a name. */
int segments_id(struct request *r, const struct app *app, int64_t *out,
                struct keel_error *err) K_CHECKED;
/* The member "query": text, or the JSON form as an object; as text, in the request's arena. p is
 * NULL if there is none. */
int segments_query(struct request *r, struct json_value body, struct str *out,
                   struct keel_error *err) K_CHECKED;
/* Text of a member; absent is fine, another type is not. */
int segments_text(struct json_value body, const char *name, struct str *out,
                  struct keel_error *err) K_CHECKED;
/* "query":"…","hash":"…","json":{…} */
int segments_condition_json(struct str query, struct buf *out, struct keel_error *err) K_CHECKED;
/* "name":"2026-11-22T05:00:00.000Z" */
void segments_time_json(const char *name, int64_t ms, struct buf *out);
