/* A request's body as a JSON object, member by member, with errors that name them.
 *
 * Layers: server.h, base/json.h. Threads: that of the request. Limits: BODY_OBJECT_MAX. */
#pragma once

#include "api/server/server.h"
#include "base/json.h"

enum { BODY_OBJECT_MAX = 64 << 10 };

struct body {
    struct json_parser *parser;
    struct json_value root;
};

/* Reads it and checks that it is an object with members of `known` alone (names with spaces between
 * them). body_close in any case. */
int body_open(struct request *r, const char *known, struct body *out,
              struct keel_error *err) K_CHECKED;
void body_close(struct body *b);
/* A member: absent or null leaves *out alone; another type is KEEL_E_INVALID. */
int body_text(const struct body *b, const char *name, struct str *out,
              struct keel_error *err) K_CHECKED;
int body_flag(const struct body *b, const char *name, bool *out, struct keel_error *err) K_CHECKED;
/* KEEL_E_INVALID if it is absent, too. */
int body_needs(const struct body *b, const char *name, struct str *out,
               struct keel_error *err) K_CHECKED;
