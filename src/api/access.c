/* Implementation of access.h. */
#include "api/access.h"

#include <stdio.h>

#include "api/collect/client.h"
#include "api/config.h"
#include "guard/audit.h"
#include "guard/guard.h"
#include "guard/token.h"

/* ---- cookies ---- */

static struct str cookie_name(const struct request *r) {
    return r->secure ? STR("__Host-keel_session") : STR("keel_session");
}

struct str access_cookie(const struct request *r) {
    struct str left = request_header(r, "Cookie"), name = cookie_name(r);
    while (left.n) {
        const char *end = memchr(left.p, ';', left.n);
        size_t n = end ? (size_t)(end - left.p) : left.n;
        struct str pair = str_trim((struct str){left.p, n});
        n += end != NULL;
        left = (struct str){left.p + n, left.n - n};
        if (pair.n > name.n && pair.p[name.n] == '=' && str_eq((struct str){pair.p, name.n}, name))
            return (struct str){pair.p + name.n + 1, pair.n - name.n - 1};
    }
    return STR("");
}

void access_set_cookie(struct request *r, struct str secret) {
    char text[256];
    int n = snprintf(text, sizeof text, "%.*s=%.*s; Path=/; HttpOnly; SameSite=Strict%s%s",
                     STR_ARG(cookie_name(r)), STR_ARG(secret), r->secure ? "; Secure" : "",
                     secret.n ? "" : "; Max-Age=0");
    K_ASSERT(n > 0 && (size_t)n < sizeof text);
    reply_header(r, "Set-Cookie", (struct str){text, (size_t)n});
}

/* ---- where from ---- */

int access_same_origin(const struct request *r, struct keel_error *err) {
    struct str site = request_header(r, "Sec-Fetch-Site");
    struct str origin = request_header(r, "Origin"), host = request_header(r, "Host");
    struct str scheme = r->secure ? STR("https://") : STR("http://");
    if (site.p && !str_is(site, "same-origin"))
        FAIL(err, FORBIDDEN, "this request comes from a page of somebody else");
    if (!origin.p) return 0;
    if (!str_starts(origin, scheme) || host.n == 0 ||
        !str_eq_nocase((struct str){origin.p + scheme.n, origin.n - scheme.n}, host))
        FAIL(err, FORBIDDEN,
             "this request comes from a page of %.*s, not of this server; behind a proxy, let it "
             "pass Host on and set X-Forwarded-Proto",
             (int)(origin.n < 100 ? origin.n : 100), origin.p);
    return 0;
}

static int check_forgery(const struct request *r, struct str secret, struct keel_error *err) {
    char expected[SECRET_TEXT + 1];
    if (r->method == HTTP_GET) return 0;
    TRY(access_same_origin(r, err));
    secret_derive(secret, "csrf", expected);
    if (!secret_same(request_header(r, "X-CSRF-Token"), str_from(expected)))
        FAIL(err, FORBIDDEN,
             "the header X-CSRF-Token is missing or wrong; GET /api/v1/session tells it as csrf");
    return 0;
}

/* ---- who ---- */

static void everything(struct actor *actor, enum actor_kind kind) {
    *actor = (struct actor){.kind = kind, .rights = right_all(), .role = ROLE_ADMIN};
}

static int by_header(struct app *app, struct request *r, struct str authorization,
                     struct keel_error *err) {
    struct str scheme = STR("Bearer ");
    if (token_bears(app->token, authorization)) {
        everything(&r->actor, ACTOR_TOKEN);
        return 0;
    }
    if (authorization.n > scheme.n &&
        str_eq_nocase((struct str){authorization.p, scheme.n}, scheme)) {
        struct str key = {authorization.p + scheme.n, authorization.n - scheme.n};
        int code = key_actor(app->guard, str_trim(key), &r->actor, err);
        if (code != 0) return code < 0 ? code : 0;
    }
    FAIL(err, UNAUTHORISED, "this is neither the token of admin.token nor a valid API key");
}

static int identify(struct app *app, struct request *r, struct keel_error *err) {
    struct str authorization = request_header(r, "Authorization");
    if (r->local) {
        everything(&r->actor, ACTOR_OWNER);
        r->actor.id = r->user;
        return 0;
    }
    if (authorization.p) return by_header(app, r, authorization, err);
    struct str secret = access_cookie(r);
    if (secret.n) {
        int code = session_actor(app->guard, secret, &r->actor, err);
        if (code < 0) return code;
        if (code == 1) return check_forgery(r, secret, err);
        FAIL(err, UNAUTHORISED, "this session has ended; sign in");
    }
    FAIL(err, UNAUTHORISED,
         "sign in (POST /api/v1/session), or send \"Authorization: Bearer\" with an API key or "
         "the token of admin.token");
}

int access_authorise(struct app *app, struct request *r, struct keel_error *err) {
    enum right right = r->route->right;
    if (right == RIGHT_METRICS && app->config->server.public_metrics) return 0;
    TRY(identify(app, r, err));
    if (actor_may(&r->actor, right)) return 0;
    FAIL(err, FORBIDDEN, "this needs the right %s (%s), which %s not have", right_text(right),
         right_what(right), r->actor.kind == ACTOR_KEY ? "this API key does" : "your role does");
}

/* ---- the audit ---- */

static bool may_change(const struct request *r) {
    return r->method != HTTP_GET && !(r->route->flags & ROUTE_READS) &&
           r->route->right != RIGHT_WRITE_KEY;
}

int access_ready(const struct app *app, const struct request *r, struct keel_error *err) {
    return may_change(r) ? audit_ready(app->audit, err) : 0;
}

static bool is_noted(const struct request *r) {
    int status = r->reply.status ? r->reply.status : 200;
    if (r->disclosed && status < 400) return true;
    if (!may_change(r)) return false;
    /* what was not even looked at is not noted: strangers shall not fill the log */
    return status != 429 && status != 503;
}

int access_audit(struct app *app, struct request *r, struct keel_error *err) {
    char address[CLIENT_ADDRESS_BYTES];
    struct buf who, act;
    if (!is_noted(r)) return 0;
    buf_init(&who, 256);
    buf_init(&act, 512);
    actor_text(&r->actor, &who);
    (void)!buf_printf(&act, "%s %s", request_method_text(r), r->route->pattern);
    struct audit_act noted = {
        .who = buf_str(&who),
        .from = r->local ? STR("keel.sock")
                         : client_address((enum client_ip)app->config->guard.addresses, r->peer,
                                          address),
        .act = buf_str(&act),
        .object = r->object.p ? r->object : r->path,
        .outcome = r->reply.status ? r->reply.status : 200,
    };
    int code = audit_append(app->audit, &noted, err);
    buf_release(&who);
    buf_release(&act);
    return code;
}

struct str access_who(struct request *r) {
    struct str given = {0};
    struct buf text;
    bool owns = r->actor.kind == ACTOR_OWNER || r->actor.kind == ACTOR_TOKEN;
    if (owns && request_param(r, "who", &given) && given.n) return given;
    buf_init(&text, 4 * LOGIN_MAX);
    actor_text(&r->actor, &text);
    struct str name = str_dup(&r->arena, buf_str(&text));
    buf_release(&text);
    return name;
}

void access_mark(const struct app *app, struct request *r, const char *kind, struct str what) {
    char mark[AUDIT_MARK_TEXT + 1];
    audit_mark(app->audit, what, mark);
    r->object = str_from(arena_printf(&r->arena, "%s %s", kind, mark));
}
