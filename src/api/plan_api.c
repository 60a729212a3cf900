/* The tracking plan over HTTP: the one in force, its versions, a new one.
 *
 * Layers: plan.h, server.h. Threads: the workers'. Limits: PLAN_MAX_BYTES of a body. */
#include "api/access.h"
#include "api/app.h"
#include "api/server/server.h"
#include "base/os.h"
#include "base/time.h"
#include "desk/plan/infer.h"
#include "desk/plan/plan.h"

enum { MOST_VERSIONS = 1000 };

static int get(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    const struct plan_form *form;
    struct str text;
    int64_t version;
    struct buf *out = &r->reply.body;
    if (request_param(r, "version", &text)) {
        if (!str_to_i64(text, &version))
            FAIL(err, INVALID, "version=\"%.*s\" is no number", STR_ARG(text));
        TRY(plan_read_version(app->plan, version, &form, err));
    } else {
        TRY(plan_refresh(app->plan, err));
        form = plan_take(app->plan);
    }
    bool toml = request_param(r, "format", &text) && str_is(text, "toml");
    if (toml) {
        r->reply.content_type = "application/toml; charset=utf-8";
        (void)!plan_write_toml(form, out);
    } else {
        (void)!buf_printf(out, "{\"version\":%lld,\"plan\":", (long long)form->version);
        (void)!plan_write_json(form, out);
        (void)!buf_add_text(out, "}\n");
    }
    plan_drop(form);
    return 0;
}

static int put(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t version;
    TRY(plan_import(app->plan, r->body, "plan", access_who(r), now_ms(), &version, err));
    (void)!buf_printf(&r->reply.body, "{\"version\":%lld}\n", (long long)version);
    return 0;
}

static int infer(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    const struct plan_form *form;
    struct str text;
    bool json = !request_param(r, "format", &text) || !str_is(text, "toml");
    TRY(plan_infer(app->db, &form, err));
    if (!json) r->reply.content_type = "application/toml; charset=utf-8";
    (void)!(json ? plan_write_json(form, &r->reply.body) : plan_write_toml(form, &r->reply.body));
    if (json) (void)!buf_add_char(&r->reply.body, '\n');
    plan_drop(form);
    return 0;
}

struct versions {
    struct buf *out;
    uint32_t n;
};

static void put_version(void *ctx, int64_t version, int64_t at_ms, struct str who, int64_t events) {
    struct versions *v = ctx;
    char text[TIME_TEXT_MAX];
    struct str at = {text, time_format(NULL, at_ms, text)};
    (void)!buf_printf(v->out, "%s{\"version\":%lld,\"at\":\"%.*s\",\"events\":%lld,\"who\":",
                      v->n++ ? "," : "", (long long)version, STR_ARG(at), (long long)events);
    (void)!buf_add_json_str(v->out, who);
    (void)!buf_add_char(v->out, '}');
}

static int versions(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct versions v = {.out = &r->reply.body};
    (void)!buf_add_text(v.out, "{\"versions\":[");
    TRY(plan_versions(app->plan, MOST_VERSIONS, put_version, &v, err));
    (void)!buf_add_text(v.out, "]}\n");
    return 0;
}

const struct route routes_plan_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/plan",
     .handle = get,
     .right = RIGHT_PLAN_READ,
     .flags = ROUTE_WORKER,
     .tag = "plan",
     .summary = "The tracking plan in force",
     .params = "version integer an older one\nformat string json or toml; default json",
     .answer = "{\"type\":\"object\",\"properties\":{\"version\":{\"type\":\"integer\"},"
               "\"plan\":{\"type\":\"object\"}}}"},
    {.methods = HTTP_PUT,
     .pattern = "/api/v1/plan",
     .handle = put,
     .right = RIGHT_PLAN_WRITE,
     .flags = ROUTE_WORKER,
     .tag = "plan",
     .summary = "Makes a plan (JSON or TOML) the one in force, as a new version",
     .params = "who string on whose behalf, by the owner of the data",
     .body = "{\"type\":\"object\"}",
     .answer = "{\"type\":\"object\",\"properties\":{\"version\":{\"type\":\"integer\"}}}",
     .max_body_bytes = PLAN_MAX_BYTES},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/plan/infer",
     .handle = infer,
     .right = RIGHT_PLAN_WRITE,
     .flags = ROUTE_WORKER,
     .tag = "plan",
     .summary = "A plan proposed from the events that are stored",
     .params = "format string json or toml; default json",
     .answer = "{\"type\":\"object\"}"},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/plan/versions",
     .handle = versions,
     .right = RIGHT_PLAN_READ,
     .flags = ROUTE_WORKER,
     .tag = "plan",
     .summary = "The versions of the plan, newest first",
     .answer = "{\"type\":\"object\",\"properties\":{\"versions\":{\"type\":\"array\",\"items\":"
               "{\"type\":\"object\"}}}}"},
    {0},
};
