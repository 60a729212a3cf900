/* GET /api/v1/profiles/{id}: one customer, as `keel profile` shows it.
 *
 * {id} is user_id=ID, anonymous_id=ID or a bare user id.
 * Layers: app.h, server.h, customer/profile.h. Threads: workers. */
#include "customer/profile.h"
#include "api/app.h"
#include "api/routes.h"
#include "base/fold.h"
#include "customer/timeline.h"

enum { DEFAULT_EVENTS = 20, MOST_WIDTH = 10000 };

static int number_param(struct request *r, const char *name, uint64_t most, uint64_t *value,
                        struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    if (!str_to_u64(text, value) || *value > most)
        FAIL(err, INVALID, "%s=%.*s: write a number of at most %llu", name,
             (int)(text.n < 40 ? text.n : 40), text.p, (unsigned long long)most);
    return 0;
}

static int profile(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct str at = STR(""), format = STR("json");
    uint64_t limit = DEFAULT_EVENTS, width = 0;
    struct profile *p;
    struct output o;
    (void)request_param(r, "at", &at);
    (void)request_param(r, "format", &format);
    TRY(number_param(r, "limit", TIMELINE_MAX, &limit, err));
    TRY(number_param(r, "width", MOST_WIDTH, &width, err));
    if (!str_is(format, "json") && !str_is(format, "text"))
        FAIL(err, INVALID, "format is json or text");
    if (width > 0 && width < FOLD_WIDTH_MIN) width = FOLD_WIDTH_MIN;
    TRY(profile_load(app->db, r->parts[0], at, &p, err));
    int code = 0;
    if (str_is(format, "text")) {
        r->reply.content_type = "text/plain; charset=utf-8";
        output_into(&o, &r->reply.body);
        profile_text(p, (uint32_t)limit, (unsigned)width, &o);
        code = output_close(&o, err);
    } else {
        profile_json(p, (uint32_t)limit, &r->reply.body);
    }
    profile_free(p);
    return code;
}

const struct route routes_profile[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/profiles/{id}",
     .handle = profile,
     .right = RIGHT_PROFILE_READ,
     .flags = ROUTE_WORKER,
     .tag = "customers",
     .summary = "One customer: identifiers, traits, totals, newest events",
     .params = "at string as of that moment; default now\n"
               "limit integer newest events of the timeline; default 20\n"
               "format string json or text; default json\n"
               "width integer text: fold lines there; default not at all",
     .answer = "{\"type\":\"object\",\"properties\":{\"customer\":{\"type\":\"integer\"},"
               "\"identifiers\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
               "\"traits\":{\"type\":\"object\"},\"events\":{\"type\":\"integer\"},"
               "\"totals\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
               "\"timeline\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}"},
    {0},
};
