/* /api/v1/users: what `keel user` does, over HTTP. A change counts from the next request on.
 *
 * Layers: body.h, guard/guard.h. Threads: the workers'. Limits: BODY_MAX of a body. */
#include "api/app.h"
#include "api/body.h"
#include "api/member.h"
#include "api/routes.h"
#include "base/time.h"
#include "guard/guard.h"
#include "guard/password.h"

enum { BODY_MAX = 16 << 10 };

struct listing {
    struct buf *out;
    uint32_t rows;
};

static int add_row(void *ctx, const struct user_account *row) {
    struct listing *l = ctx;
    (void)!buf_printf(l->out, "%s{\"login\":", l->rows++ ? ",\n" : "");
    (void)!buf_add_json_str(l->out, row->login);
    (void)!buf_add_text(l->out, ",\"name\":");
    (void)!buf_add_json_str(l->out, row->name);
    (void)!buf_printf(l->out, ",\"side\":\"%s\",\"role\":\"%s\",\"disabled\":%s,\"password\":%s",
                      side_text(row->side), role_text(row->role), row->disabled ? "true" : "false",
                      row->has_password ? "true" : "false");
    member_time_or_null(l->out, "created_at", row->created_ms);
    member_time_or_null(l->out, "signed_in_at", row->signed_in_ms);
    return buf_add_char(l->out, '}');
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct listing l = {.out = &r->reply.body};
    (void)!buf_add_text(l.out, "{\"users\":[");
    TRY(account_list(app->guard, 0, add_row, &l, err));
    return buf_add_text(l.out, "]}\n");
}

static int show(struct app *app, struct request *r, int64_t id, struct keel_error *err) {
    struct listing l = {.out = &r->reply.body};
    TRY(account_list(app->guard, id, add_row, &l, err));
    return buf_add_char(l.out, '\n');
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    int64_t id;
    TRY(account_find(app->guard, r->parts[0], &id, err));
    return show(app, r, id, err);
}

/* Absent leaves what is there. */
static int read_role(const struct body *body, struct user_account *a, struct keel_error *err) {
    struct str role = {0}, side = {0};
    TRY(body_text(body, "role", &role, err));
    TRY(body_text(body, "side", &side, err));
    if (role.p && !role_by_text(role, &a->role))
        FAIL(err, INVALID,
             "\"role\" is none of marketing, it, executive, privacy_officer, partner, admin");
    if (side.p && !side_by_text(side, &a->side))
        FAIL(err, INVALID, "\"side\" is none of neither, marketing, it");
    return 0;
}

static int create_from(struct app *app, struct request *r, const struct body *body, int64_t *id,
                       struct keel_error *err) {
    struct user_account account = {0};
    struct str password = STR(""), role;
    TRY(body_needs(body, "login", &account.login, err));
    TRY(body_needs(body, "role", &role, err)); /* nobody gets a role by accident */
    TRY(read_role(body, &account, err));
    account.name = account.login;
    TRY(body_text(body, "name", &account.name, err));
    TRY(body_text(body, "password", &password, err));
    r->object = str_dup(&r->arena, account.login);
    return account_add(app->guard, &account, password, id, err);
}

static int create(struct request *r, void *ctx, struct keel_error *err) {
    struct body body = {0};
    int64_t id = 0;
    int code = body_open(r, "login name side role password", &body, err);
    if (code == 0) code = create_from(ctx, r, &body, &id, err);
    body_close(&body);
    if (code < 0) return code;
    r->reply.status = 201;
    return show(ctx, r, id, err);
}

static int take_row(void *ctx, const struct user_account *row) {
    struct user_account *out = ctx;
    out->side = row->side;
    out->role = row->role;
    out->disabled = row->disabled;
    return 0;
}

static int change_from(struct app *app, const struct body *body, int64_t id,
                       struct keel_error *err) {
    struct user_account before = {0}, now;
    struct str name = {0}, password = STR("");
    TRY(account_list(app->guard, id, take_row, &before, err));
    now = before;
    TRY(read_role(body, &now, err));
    TRY(body_flag(body, "disabled", &now.disabled, err));
    TRY(body_text(body, "name", &name, err));
    TRY(body_text(body, "password", &password, err));
    if (password.n) TRY(password_check(password, err));
    if (name.p) TRY(account_rename(app->guard, id, name, err));
    if (now.role != before.role || now.side != before.side)
        TRY(account_role(app->guard, id, now.role, now.side, err));
    if (now.disabled != before.disabled) TRY(account_disable(app->guard, id, now.disabled, err));
    return password.n ? account_password(app->guard, id, password, 0, err) : 0;
}

static int change(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct body body = {0};
    int64_t id;
    TRY(account_find(app->guard, r->parts[0], &id, err));
    int code = body_open(r, "name side role disabled password", &body, err);
    if (code == 0) code = change_from(app, &body, id, err);
    body_close(&body);
    return code < 0 ? code : show(app, r, id, err);
}

static int login_link(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    char secret[SECRET_TEXT + 1];
    int64_t id;
    TRY(account_find(app->guard, r->parts[0], &id, err));
    TRY(ticket_make(app->guard, id, secret, err));
    r->reply.status = 201;
    return buf_printf(&r->reply.body, "{\"token\":\"%s\",\"seconds\":%d}\n", secret,
                      LOGIN_LINK_MS / MS_PER_SECOND);
}

#define USER_ANSWER                                                                                \
    "{\"type\":\"object\",\"properties\":{\"login\":{\"type\":\"string\"},"                        \
    "\"name\":{\"type\":\"string\"},\"side\":{\"type\":\"string\"},"                               \
    "\"role\":{\"type\":\"string\"},\"disabled\":{\"type\":\"boolean\"},"                          \
    "\"password\":{\"type\":\"boolean\",\"description\":\"has one\"},"                             \
    "\"created_at\":{\"type\":\"string\"},\"signed_in_at\":{\"type\":[\"string\",\"null\"]}}}"
#define USER_BODY(first)                                                                           \
    "{\"type\":\"object\",\"properties\":{" first "\"name\":{\"type\":\"string\"},"                \
    "\"side\":{\"enum\":[\"neither\",\"marketing\",\"it\"]},\"role\":{\"enum\":[\"marketing\","    \
    "\"it\",\"executive\",\"privacy_officer\",\"partner\",\"admin\"]},"                            \
    "\"password\":{\"type\":\"string\"}}}"
#define ROUTE(method, path, handler, more, what, in, out)                                          \
    {                                                                                              \
        .methods = method, .pattern = "/api/v1/users" path, .handle = handler,                     \
        .right = RIGHT_USER_ADMIN, .flags = ROUTE_WORKER | (more), .tag = "users",                 \
        .summary = what, .body = in, .answer = out, .max_body_bytes = BODY_MAX                     \
    }

const struct route routes_user_api[] = {
    ROUTE(
        HTTP_GET, "", list, 0, "All accounts", NULL,
        "{\"type\":\"object\",\"properties\":{\"users\":{\"type\":\"array\",\"items\":" USER_ANSWER
        "}}}"),
    ROUTE(HTTP_POST, "", create, ROUTE_SECRET, "Makes an account",
          USER_BODY("\"login\":{\"type\":\"string\"},"), USER_ANSWER),
    ROUTE(HTTP_GET, "/{login}", get, 0, "One account", NULL, USER_ANSWER),
    ROUTE(HTTP_PATCH, "/{login}", change, ROUTE_SECRET,
          "Changes name, side, role, password, or disables",
          USER_BODY("\"disabled\":{\"type\":\"boolean\"},"), USER_ANSWER),
    ROUTE(HTTP_POST, "/{login}/login-link", login_link, ROUTE_SECRET,
          "A token that signs in once, for POST /api/v1/session", NULL,
          "{\"type\":\"object\",\"properties\":{\"token\":{\"type\":\"string\"},"
          "\"seconds\":{\"type\":\"integer\"}}}"),
    {0},
};
