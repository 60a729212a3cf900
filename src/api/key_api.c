/* /api/v1/keys: API keys. Everybody has his own, with scopes that he has the rights for; who has
 * user.admin sees and revokes all. A key cannot make or revoke keys.
 *
 * Layers: body.h, guard/guard.h. Threads: the workers'. Limits: BODY_MAX of a body. */
#include "api/app.h"
#include "api/body.h"
#include "api/member.h"
#include "api/routes.h"
#include "base/time.h"
#include "guard/guard.h"

enum { BODY_MAX = 16 << 10 };

struct listing {
    struct buf *out;
    uint32_t rows;
};

static int add_row(void *ctx, const struct key_row *row) {
    struct listing *l = ctx;
    (void)!buf_printf(l->out, "%s{\"id\":%lld,\"name\":", l->rows++ ? ",\n" : "",
                      (long long)row->id);
    (void)!buf_add_json_str(l->out, row->name);
    (void)!buf_add_text(l->out, ",\"user\":");
    if (row->login.p)
        (void)!buf_add_json_str(l->out, row->login);
    else
        (void)!buf_add_text(l->out, "null");
    (void)!buf_add_text(l->out, ",\"prefix\":");
    (void)!buf_add_json_str(l->out, row->prefix);
    (void)!buf_add_text(l->out, ",\"scopes\":");
    right_json(row->scopes, l->out);
    member_time_or_null(l->out, "created_at", row->created_ms);
    member_time_or_null(l->out, "used_at", row->used_ms);
    member_time_or_null(l->out, "expires_at", row->until_ms);
    return buf_add_char(l->out, '}');
}

/* Whose keys are these? 0: those of the installation and of everybody. */
static int64_t whose(const struct request *r) {
    return actor_may(&r->actor, RIGHT_USER_ADMIN) ? 0 : r->actor.account;
}

static int not_by_key(const struct request *r, struct keel_error *err) {
    if (r->actor.kind == ACTOR_KEY) FAIL(err, FORBIDDEN, "an API key cannot manage API keys");
    return 0;
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct listing l = {.out = &r->reply.body};
    TRY(not_by_key(r, err));
    (void)!buf_add_text(l.out, "{\"keys\":[");
    TRY(key_list(app->guard, whose(r), 0, add_row, &l, err));
    return buf_add_text(l.out, "]}\n");
}

static int read_scopes(const struct request *r, const struct body *body, right_set *out,
                       struct keel_error *err) {
    struct json_value v;
    struct str text;
    enum right right;
    struct json_each each = json_each(json_get(body->root, "scopes"));
    while (json_next(&each, NULL, &v)) {
        if (!json_str(v, &text) || !right_by_text(text, &right))
            FAIL(err, INVALID, "\"scopes\" is a list of rights, see GET /api/v1/rights");
        if (!actor_may(&r->actor, right))
            FAIL(err, FORBIDDEN, "you have not the right %s yourself", right_text(right));
        *out |= right_bit(right);
    }
    return 0;
}

static int create_from(struct app *app, struct request *r, const struct body *body,
                       struct keel_error *err) {
    struct key_new key = {.account = r->actor.account};
    struct listing l = {.out = &r->reply.body};
    struct str expires = {0};
    char text[KEY_TEXT + 1];
    int64_t id;
    TRY(body_needs(body, "name", &key.name, err));
    TRY(body_text(body, "expires_at", &expires, err));
    TRY(read_scopes(r, body, &key.scopes, err));
    if (expires.p && !time_parse(expires, NULL, &key.until_ms))
        FAIL(err, INVALID, "\"expires_at\" is no time; write 2027-01-31");
    TRY(key_add(app->guard, &key, &id, text, err));
    r->object = str_from(arena_printf(&r->arena, "key %lld", (long long)id));
    r->reply.status = 201;
    (void)!buf_printf(l.out, "{\"secret\":\"%s\",\"key\":", text);
    TRY(key_list(app->guard, 0, id, add_row, &l, err));
    return buf_add_text(l.out, "}\n");
}

static int create(struct request *r, void *ctx, struct keel_error *err) {
    struct body body = {0};
    TRY(not_by_key(r, err));
    int code = body_open(r, "name scopes expires_at", &body, err);
    if (code == 0) code = create_from(ctx, r, &body, err);
    body_close(&body);
    return code;
}

static int revoke(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    int64_t id;
    TRY(not_by_key(r, err));
    if (!str_to_i64(r->parts[0], &id) || id <= 0)
        FAIL(err, NOT_FOUND, "\"%.*s\" is no number of a key",
             (int)(r->parts[0].n < 40 ? r->parts[0].n : 40), r->parts[0].p);
    TRY(key_revoke(app->guard, id, whose(r), err));
    r->reply.status = 204;
    return 0;
}

#define KEY_ANSWER                                                                                 \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},"                          \
    "\"name\":{\"type\":\"string\"},\"user\":{\"type\":[\"string\",\"null\"]},"                    \
    "\"prefix\":{\"type\":\"string\"},\"scopes\":{\"type\":\"array\",\"items\":{"                  \
    "\"type\":\"string\"}},\"created_at\":{\"type\":\"string\"},"                                  \
    "\"used_at\":{\"type\":[\"string\",\"null\"]},\"expires_at\":{\"type\":[\"string\","           \
    "\"null\"]}}}"

const struct route routes_key_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/keys",
     .handle = list,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "keys",
     .summary = "One's own API keys; with user.admin all",
     .answer = "{\"type\":\"object\",\"properties\":{\"keys\":{\"type\":\"array\","
               "\"items\":" KEY_ANSWER "}}}"},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/keys",
     .handle = create,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER | ROUTE_SECRET,
     .tag = "keys",
     .summary = "Makes an API key and shows it this once",
     .body = "{\"type\":\"object\",\"required\":[\"name\",\"scopes\"],\"properties\":{"
             "\"name\":{\"type\":\"string\"},\"scopes\":{\"type\":\"array\",\"items\":{"
             "\"type\":\"string\"}},\"expires_at\":{\"type\":\"string\"}}}",
     .answer = "{\"type\":\"object\",\"properties\":{\"secret\":{\"type\":\"string\"},"
               "\"key\":" KEY_ANSWER "}}",
     .max_body_bytes = BODY_MAX},
    {.methods = HTTP_DELETE,
     .pattern = "/api/v1/keys/{id}",
     .handle = revoke,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "keys",
     .summary = "Revokes a key"},
    {0},
};
