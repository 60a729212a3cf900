/* Setting up, signing in and out: /api/v1/setup, /api/v1/session, /api/v1/sessions.
 *
 * Signing in always makes a new session and ends the one that the browser came with, so that nobody
 * can prepare a session for somebody else.
 *
 * Layers: access.h, body.h, guard/guard.h. Threads: the workers'. Limits: BODY_MAX of a body. */
#include "api/access.h"
#include "api/body.h"
#include "api/member.h"
#include "api/routes.h"
#include "guard/guard.h"
#include "guard/password.h"

enum { BODY_MAX = 16 << 10 };

/* ---- who am I ---- */

static int add_account(void *ctx, const struct user_account *row) {
    struct buf *out = ctx;
    (void)!buf_printf(out, ",\"has_password\":%s,\"name\":", row->has_password ? "true" : "false");
    return buf_add_json_str(out, row->name);
}

static int write_session(struct app *app, struct request *r, struct str secret,
                         struct keel_error *err) {
    static const char *const KINDS[] = {[ACTOR_NOBODY] = "nobody",
                                        [ACTOR_OWNER] = "owner",
                                        [ACTOR_TOKEN] = "token",
                                        [ACTOR_SESSION] = "session",
                                        [ACTOR_KEY] = "key"};
    const struct actor *actor = &r->actor;
    struct buf *out = &r->reply.body;
    char csrf[SECRET_TEXT + 1];
    (void)!buf_printf(out, "{\"kind\":\"%s\",\"user\":", KINDS[actor->kind]);
    if (actor->account) {
        (void)!buf_add_json_str(out, str_from(actor->login));
        TRY(account_list(app->guard, actor->account, add_account, out, err));
        (void)!buf_printf(out, ",\"side\":\"%s\",\"role\":\"%s\"", side_text(actor->side),
                          role_text(actor->role));
    } else {
        (void)!buf_add_text(out,
                            "null,\"has_password\":null,\"name\":null,\"side\":null,\"role\":null");
    }
    (void)!buf_printf(out,
                      ",\"old_password_needed\":%s,\"rights\":", actor->by_link ? "false" : "true");
    right_json(actor->rights, out);
    (void)!buf_add_text(out, ",\"csrf\":");
    if (actor->kind == ACTOR_SESSION) {
        secret_derive(secret, "csrf", csrf);
        (void)!buf_printf(out, "\"%s\"}\n", csrf);
    } else {
        (void)!buf_add_text(out, "null}\n");
    }
    return 0;
}

static int who_am_i(struct request *r, void *ctx, struct keel_error *err) {
    return write_session(ctx, r, access_cookie(r), err);
}

/* ---- signing in ---- */

static int end_old(struct app *app, struct request *r, struct keel_error *err) {
    struct actor old;
    int code = session_actor(app->guard, access_cookie(r), &old, err);
    if (code != 1) return code;
    code = session_end(app->guard, old.id, 0, err);
    return code == -KEEL_E_NOT_FOUND ? 0 : code;
}

static int begin(struct app *app, struct request *r, int64_t account, bool by_link,
                 struct keel_error *err) {
    char secret[SECRET_TEXT + 1];
    TRY(end_old(app, r, err));
    TRY(session_begin(app->guard, account, by_link, secret, err));
    int code = session_actor(app->guard, str_from(secret), &r->actor, err);
    if (code == 0) FAIL(err, UNAUTHORISED, "this account may not sign in");
    if (code < 0) return code;
    access_set_cookie(r, str_from(secret));
    r->object = str_dup(&r->arena, str_from(r->actor.login));
    return write_session(app, r, str_from(secret), err);
}

/* The login stands in the log only if there is such an account: people type passwords there. */
static void note_login(struct app *app, struct request *r, struct str login) {
    int64_t id;
    bool known = account_find(app->guard, login, &id, NULL) == 0;
    r->object = known ? str_dup(&r->arena, str_trim(login)) : STR("unknown login");
}

static struct str address(const struct request *r) { return r->local ? STR("") : r->peer; }

/* With a one-time link. */
static int try_ticket(struct app *app, struct request *r, struct keel_error *err) {
    unsigned wait;
    int code = login_try(app->guard, address(r), &wait, err);
    if (code < 0) reply_retry(r, 429, wait);
    return code;
}

static int check(struct app *app, struct request *r, const struct body *body, int64_t *account,
                 bool *by_link, struct keel_error *err) {
    struct str login = STR(""), password = STR(""), ticket = STR("");
    unsigned wait = 0;
    TRY(body_text(body, "token", &ticket, err));
    r->object = STR("one-time link");
    *by_link = ticket.n > 0;
    if (*by_link) {
        TRY(try_ticket(app, r, err));
        return ticket_use(app->guard, ticket, false, account, err);
    }
    TRY(body_needs(body, "login", &login, err));
    TRY(body_needs(body, "password", &password, err));
    note_login(app, r, login);
    int code = login_check(app->guard, login, password, address(r), account, &wait, err);
    if (code < 0 && wait) reply_retry(r, 429, wait);
    return code;
}

static int sign_in(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct body body = {0};
    int64_t account = 0;
    bool by_link = false;
    TRY(access_same_origin(r, err));
    int code = body_open(r, "login password token", &body, err);
    if (code == 0) code = check(app, r, &body, &account, &by_link, err);
    body_close(&body);
    return code < 0 ? code : begin(app, r, account, by_link, err);
}

static int sign_out(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    if (r->actor.kind != ACTOR_SESSION) FAIL(err, INVALID, "there is no session to end");
    TRY(session_end(app->guard, r->actor.id, r->actor.account, err));
    access_set_cookie(r, STR(""));
    r->reply.status = 204;
    return 0;
}

/* ---- setting up ---- */

static int setup_needed(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    int64_t n;
    TRY(account_count(app->guard, &n, err));
    return buf_printf(&r->reply.body, "{\"needed\":%s}\n", n ? "false" : "true");
}

static int read_side(const struct body *body, enum side *out, struct keel_error *err) {
    struct str text = {0};
    TRY(body_text(body, "side", &text, err));
    if (text.p && !side_by_text(text, out))
        FAIL(err, INVALID, "\"side\" is none of neither, marketing, it");
    return 0;
}

static int first_account(struct app *app, struct request *r, const struct body *body, int64_t *id,
                         struct keel_error *err) {
    struct user_account account = {0};
    struct str ticket = STR(""), password = STR("");
    TRY(body_text(body, "token", &ticket, err));
    TRY(body_needs(body, "login", &account.login, err));
    TRY(body_needs(body, "password", &password, err));
    account.name = account.login;
    TRY(body_text(body, "name", &account.name, err));
    TRY(read_side(body, &account.side, err));
    if (password.n == 0) TRY(password_check(password, err));
    r->object = STR("first account");
    TRY(try_ticket(app, r, err));
    return setup_account(app->guard, ticket, r->local, &account, password, id, err);
}

static int setup(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct body body = {0};
    int64_t id = 0;
    TRY(access_same_origin(r, err));
    int code = body_open(r, "token login name password side", &body, err);
    if (code == 0) code = first_account(app, r, &body, &id, err);
    body_close(&body);
    if (code < 0) return code;
    r->reply.status = 201;
    return begin(app, r, id, false, err);
}

/* ---- one's own ---- */

/* Who came by a link has shown already that she is let in: she may have forgotten the old password,
 * or never had one. */
static int change_password(struct app *app, struct request *r, const struct body *body,
                           struct keel_error *err) {
    struct str old = {0}, wanted = STR("");
    int64_t account;
    unsigned wait = 0;
    TRY(body_text(body, "old", &old, err));
    if (!r->actor.by_link) TRY(body_needs(body, "old", &old, err));
    TRY(body_needs(body, "new", &wanted, err));
    TRY(password_check(wanted, err));
    if (!old.p) {
        r->object = str_from(arena_printf(&r->arena, "%s, after a link", r->actor.login));
        return session_password(app->guard, r->actor.id, wanted, err);
    }
    int code =
        login_check(app->guard, str_from(r->actor.login), old, STR(""), &account, &wait, err);
    if (code < 0 && wait) reply_retry(r, 429, wait);
    if (code == -KEEL_E_UNAUTHORISED) FAIL(err, FORBIDDEN, "\"old\" is not your password");
    if (code < 0) return code;
    return account_password(app->guard, account, wanted, r->actor.id, err);
}

static int own_password(struct request *r, void *ctx, struct keel_error *err) {
    struct body body = {0};
    if (r->actor.kind != ACTOR_SESSION) FAIL(err, FORBIDDEN, "only who signed in can do this");
    int code = body_open(r, "old new", &body, err);
    if (code == 0) code = change_password(ctx, r, &body, err);
    body_close(&body);
    if (code == 0) r->reply.status = 204;
    return code;
}

struct listing {
    struct buf *out;
    int64_t current;
    uint32_t rows;
};

static int add_session(void *ctx, const struct session_row *row) {
    struct listing *l = ctx;
    (void)!buf_printf(l->out, "%s{\"id\":%lld,\"user\":", l->rows++ ? "," : "", (long long)row->id);
    (void)!buf_add_json_str(l->out, row->login);
    member_time(l->out, "created_at", row->created_ms);
    member_time(l->out, "seen_at", row->seen_ms);
    member_time(l->out, "ends_at", row->until_ms);
    return buf_printf(l->out, ",\"current\":%s}", row->id == l->current ? "true" : "false");
}

/* Whose: 0 is everybody's. A key or the token has no sessions of its own. */
static int whose(struct request *r, int64_t *out, struct keel_error *err) {
    bool all = false;
    TRY(request_flag(r, "all", &all, err));
    *out = r->actor.account;
    if (actor_may(&r->actor, RIGHT_USER_ADMIN) && (all || !*out))
        *out = 0;
    else if (!*out || all)
        FAIL(err, FORBIDDEN, "this needs the right user.admin");
    return 0;
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct listing l = {.out = &r->reply.body};
    int64_t account;
    TRY(whose(r, &account, err));
    if (r->actor.kind == ACTOR_SESSION) l.current = r->actor.id;
    (void)!buf_add_text(l.out, "{\"sessions\":[");
    TRY(session_list(app->guard, account, add_session, &l, err));
    return buf_add_text(l.out, "]}\n");
}

static int revoke(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    int64_t id, account = actor_may(&r->actor, RIGHT_USER_ADMIN) ? 0 : r->actor.account;
    if (!str_to_i64(r->parts[0], &id) || id <= 0)
        FAIL(err, NOT_FOUND, "\"%.*s\" is no number of a session",
             (int)(r->parts[0].n < 40 ? r->parts[0].n : 40), r->parts[0].p);
    if (!account && !actor_may(&r->actor, RIGHT_USER_ADMIN))
        FAIL(err, NOT_FOUND, "there is no session %lld", (long long)id);
    TRY(session_end(app->guard, id, account, err));
    r->reply.status = 204;
    return 0;
}

static int rights(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx, (void)err;
    struct buf *out = &r->reply.body;
    (void)!buf_add_text(out, "{\"rights\":[");
    for (int i = RIGHT_SIGNED_IN + 1; i < RIGHTS; i++)
        (void)!buf_printf(out, "%s{\"right\":\"%s\",\"allows\":\"%s\"}",
                          i == RIGHT_SIGNED_IN + 1 ? "" : ",\n", right_text((enum right)i),
                          right_what((enum right)i));
    (void)!buf_add_text(out, "],\n\"roles\":[");
    for (int i = 0; i < ROLES; i++) {
        (void)!buf_printf(out, "%s{\"role\":\"%s\",\"rights\":", i ? ",\n" : "",
                          role_text((enum role)i));
        right_json(role_rights((enum role)i), out);
        (void)!buf_add_char(out, '}');
    }
    return buf_add_text(out, "]}\n");
}

#define SESSION_SCHEMA                                                                             \
    "{\"type\":\"object\",\"properties\":{\"kind\":{\"enum\":[\"session\",\"key\",\"token\","      \
    "\"owner\"]},\"user\":{\"type\":[\"string\",\"null\"]},\"name\":{\"type\":[\"string\","        \
    "\"null\"]},\"side\":{\"type\":[\"string\",\"null\"]},\"role\":{\"type\":[\"string\","         \
    "\"null\"]},\"has_password\":{\"type\":[\"boolean\",\"null\"]},\"old_password_needed\":{"      \
    "\"type\":\"boolean\",\"description\":\"to set another "                                       \
    "one\"},\"rights\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"csrf\":{"            \
    "\"type\":[\"string\",\"null\"],\"description\":\"for the header X-CSRF-Token\"}}}"

const struct route routes_session_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/setup",
     .handle = setup_needed,
     .right = RIGHT_PUBLIC,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "Has this installation no account yet?",
     .answer = "{\"type\":\"object\",\"properties\":{\"needed\":{\"type\":\"boolean\"}}}"},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/setup",
     .handle = setup,
     .right = RIGHT_PUBLIC,
     .flags = ROUTE_WORKER | ROUTE_SECRET,
     .tag = "session",
     .summary = "Makes the first account, an administrator, with the token that the server printed",
     .body = "{\"type\":\"object\",\"required\":[\"token\",\"login\",\"password\"],\"properties\":{"
             "\"token\":{\"type\":\"string\"},\"login\":{\"type\":\"string\"},"
             "\"name\":{\"type\":\"string\"},\"password\":{\"type\":\"string\"},"
             "\"side\":{\"enum\":[\"neither\",\"marketing\",\"it\"]}}}",
     .answer = SESSION_SCHEMA,
     .max_body_bytes = BODY_MAX},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/session",
     .handle = who_am_i,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "Who am I, and what may I do?",
     .answer = SESSION_SCHEMA},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/session",
     .handle = sign_in,
     .right = RIGHT_PUBLIC,
     .flags = ROUTE_WORKER | ROUTE_SECRET,
     .tag = "session",
     .summary = "Signs in, by login and password or by the token of a one-time link",
     .body = "{\"type\":\"object\",\"properties\":{\"login\":{\"type\":\"string\"},"
             "\"password\":{\"type\":\"string\"},\"token\":{\"type\":\"string\"}}}",
     .answer = SESSION_SCHEMA,
     .max_body_bytes = BODY_MAX},
    {.methods = HTTP_DELETE,
     .pattern = "/api/v1/session",
     .handle = sign_out,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "Signs out"},
    {.methods = HTTP_PUT,
     .pattern = "/api/v1/session/password",
     .handle = own_password,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER | ROUTE_SECRET,
     .tag = "session",
     .summary = "Changes one's own password and ends one's other sessions; once without the old "
                "one in a session that a one-time link began",
     .body = "{\"type\":\"object\",\"required\":[\"new\"],\"properties\":{"
             "\"old\":{\"type\":\"string\"},\"new\":{\"type\":\"string\"}}}",
     .max_body_bytes = BODY_MAX},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/sessions",
     .handle = list,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "One's own sessions",
     .params = "all string true: everybody's; needs user.admin",
     .answer = "{\"type\":\"object\",\"properties\":{\"sessions\":{\"type\":\"array\",\"items\":{"
               "\"type\":\"object\"}}}}"},
    {.methods = HTTP_DELETE,
     .pattern = "/api/v1/sessions/{id}",
     .handle = revoke,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "Ends a session: one's own, or with user.admin anybody's"},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/rights",
     .handle = rights,
     .right = RIGHT_SIGNED_IN,
     .flags = ROUTE_WORKER,
     .tag = "session",
     .summary = "The rights there are, and those of each role",
     .answer =
         "{\"type\":\"object\",\"properties\":{\"rights\":{\"type\":\"array\",\"items\":{"
         "\"type\":\"object\"}},\"roles\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"
         "}}"},
    {0},
};
