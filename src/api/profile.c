/* GET /api/v1/profiles/{id}: one customer, as `keel profile` shows it.
 *
 * {id} is user_id=ID, anonymous_id=ID or a bare user id. Without the right to personal data its
 * values are masked as those of the live tail (mask.h).
 * GET /api/v1/profiles?find=: whose an identifier is.
 * Layers: app.h, server.h, customer/profile.h. Threads: workers. */
#include "customer/profile.h"
#include "api/access.h"
#include "api/app.h"
#include "api/collect/mask.h"
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

/* ---- for who may not see personal values ---- */

enum { MASK_BYTES = 1 << 20 };

struct masking {
    const struct plan_form *form;
    struct buf whole, masked; /* a JSON object that mask.h can place, and what becomes of it */
};

static void mask_id(void *ctx, struct str id, struct buf *b) {
    (void)ctx;
    (void)!mask_plain(id, b);
}

/* Appends what stands in the masked object behind `front`, without its last `behind` bytes. */
static void add_masked(struct masking *m, const struct masked *look, size_t front, size_t behind,
                       struct buf *b) {
    buf_clear(&m->masked);
    int code = m->whole.failed;
    if (code == 0) code = mask_json(m->form, look, buf_str(&m->whole), &m->masked);
    if (code < 0 || m->masked.n < front + behind)
        b->failed = code < 0 ? code : -KEEL_E_INTERNAL;
    else
        (void)!buf_add(b, m->masked.p + front, m->masked.n - front - behind);
}

static void mask_trait(void *ctx, struct str name, struct str json, struct buf *b) {
    struct masking *m = ctx;
    struct masked look = {.type = STR("identify"), .event = STR("")};
    struct str front = STR("{\"traits\":{");
    buf_clear(&m->whole);
    (void)!buf_add_str(&m->whole, front);
    (void)!buf_printf(&m->whole, "\"%.*s\":%.*s}}", STR_ARG(name), STR_ARG(json));
    add_masked(m, &look, front.n, 2, b);
}

static void mask_event(void *ctx, struct str name, struct str properties, struct str context,
                       struct buf *b) {
    struct masking *m = ctx;
    bool track = name.n == 0 || name.p[0] != '$', of_person = str_is(name, "$identify");
    struct masked look = {.type = STR("track"), .event = name};
    if (!track) look.type = (struct str){name.p + 1, name.n - 1};
    struct str front = of_person ? STR("{\"traits\":") : STR("{\"properties\":");
    buf_clear(&m->whole);
    (void)!buf_add_str(&m->whole, front);
    (void)!buf_printf(&m->whole, "%.*s,\"context\":%.*s}", STR_ARG(properties), STR_ARG(context));
    (void)!buf_add_text(b, "\"properties\":");
    add_masked(m, &look, front.n, 1, b);
}

static void masked_json(const struct app *app, const struct profile *p, uint32_t limit,
                        struct buf *b) {
    struct masking m = {.form = plan_take(app->plan)};
    const struct profile_mask mask = {mask_id, mask_trait, mask_event, &m};
    buf_init(&m.whole, MASK_BYTES);
    buf_init(&m.masked, 2 * MASK_BYTES);
    profile_json(p, limit, &mask, b);
    plan_drop(m.form);
    buf_release(&m.whole);
    buf_release(&m.masked);
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
    bool personal = actor_may(&r->actor, RIGHT_PERSONAL_READ), text = str_is(format, "text");
    if (text && !personal)
        FAIL(err, FORBIDDEN, "as text a profile is not masked: it needs the right %s; ask for JSON",
             right_text(RIGHT_PERSONAL_READ));
    TRY(profile_load(app->db, r->parts[0], at, &p, err));
    r->disclosed = personal;
    access_mark(app, r, "customer", r->parts[0]);
    int code = 0;
    if (!personal) {
        masked_json(app, p, (uint32_t)limit, &r->reply.body);
    } else if (text) {
        r->reply.content_type = "text/plain; charset=utf-8";
        output_into(&o, &r->reply.body);
        profile_text(p, (uint32_t)limit, (unsigned)width, &o);
        code = output_close(&o, err);
    } else {
        profile_json(p, (uint32_t)limit, NULL, &r->reply.body);
    }
    profile_free(p);
    return code;
}

/* Who has this text as an identifier, of whatever kind: a screen's search. Nobody is an answer. */
static int find(struct request *r, void *ctx, struct keel_error *err) {
    static const char *const KINDS[] = {"user_id=", "anonymous_id="};
    const struct app *app = ctx;
    struct str text;
    bool any = false;
    if (!request_param(r, "find", &text) || text.n == 0)
        FAIL(err, INVALID, "find is missing: the identifier that is looked for");
    (void)!buf_add_text(&r->reply.body, "{\"profiles\":[");
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        char *id = arena_alloc(&r->arena, strlen(KINDS[i]) + text.n);
        size_t n = strlen(KINDS[i]);
        memcpy(id, KINDS[i], n);
        memcpy(id + n, text.p, text.n);
        uint32_t number = db_find_customer(app->db, (struct str){id, n + text.n});
        if (number == NUMBER_NONE) continue;
        (void)!buf_printf(&r->reply.body, "%s{\"customer\":%u,\"id\":", any ? "," : "", number);
        (void)!buf_add_json_str(&r->reply.body, (struct str){id, n + text.n});
        (void)!buf_add_char(&r->reply.body, '}');
        any = true;
    }
    return buf_add_text(&r->reply.body, "]}\n");
}

const struct route routes_profile[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/profiles",
     .handle = find,
     .flags = ROUTE_WORKER,
     .right = RIGHT_PROFILE_READ,
     .tag = "customers",
     .summary = "Who has an identifier, of whatever kind",
     .params = "find string the identifier, whole",
     .answer = "{\"type\":\"object\",\"properties\":{\"profiles\":{\"type\":\"array\",\"items\":{"
               "\"type\":\"object\",\"properties\":{\"customer\":{\"type\":\"integer\"},"
               "\"id\":{\"type\":\"string\"}}}}}}"},
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
