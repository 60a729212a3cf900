/* /api/v1/kpis and /api/v1/touchpoints: what `keel kpi` does, over HTTP. docs/kpis.md.
 *
 * Layers: desk/kpi/report.h, desk/kpi/touchpoint.h, server.h. Threads: the workers'.
 * Limits: KPI_MAX_BYTES of a body, REPLY_BYTES.
 */
#include "api/kpi_api.h"

#include "api/access.h"
#include "api/app.h"
#include "api/config.h"
#include "api/metrics.h"
#include "api/routes.h"
#include "api/shielded.h"
#include "base/os.h"
#include "base/sql.h"
#include "base/time.h"
#include "desk/kpi/clock.h"
#include "desk/kpi/report.h"
#include "desk/kpi/touchpoint.h"
#include "query/language/parse.h"

enum { MOST_DEPTH = KPI_MAX_DEPTH, TOUCHPOINT_DAYS = 28 };

static void add_metrics(void *ctx, struct metric_text *t) {
    struct kpi_clock_stats s;
    kpi_clock_stats(ctx, &s);
    metric(t, METRIC_COUNTER, "keel_kpi_computed_total", "KPIs brought up to date by the clock",
           (double)s.computed, (const char *)NULL);
    metric(t, METRIC_COUNTER, "keel_kpi_failed_total", "KPIs that could not be", (double)s.failed,
           (const char *)NULL);
    metric(t, METRIC_GAUGE, "keel_kpi_turn_seconds", "How long the clock's last turn took",
           (double)s.took_ms / 1000, (const char *)NULL);
}

int kpi_clock_start(struct app *app, struct keel_error *err) {
    const struct kpi_clock_options options = {.db = app->db, .desk = app->desk};
    TRY(kpi_tables(app->desk, err));
    TRY(kpi_clock_open(&options, &app->kpi_clock, err));
    if (app->metrics) metrics_add(app->metrics, add_metrics, app->kpi_clock);
    return 0;
}

/* Who may not see personal data is shown no number of few customers. */
static int64_t hide_below(const struct app *app, const struct request *r) {
    return actor_may(&r->actor, RIGHT_PERSONAL_READ) ? 0 : app->config->guard.customers;
}

static struct kpi_ask ask_of(const struct app *app, const struct request *r) {
    return (struct kpi_ask){.now_ms = now_ms(),
                            .cancel = server_cutting(app->server),
                            .hide_below = (double)hide_below(app, r)};
}

static struct str param(struct request *r, const char *name) {
    struct str text = {"", 0};
    (void)request_param(r, name, &text);
    return text;
}

/* ,"clock":{"last_at":…,"computed":…,"failed":…,"error":…} */
static void put_clock(struct kpi_clock *clock, struct buf *b) {
    struct kpi_clock_stats s;
    char at[TIME_TEXT_MAX];
    kpi_clock_stats(clock, &s);
    int n = (int)time_format(NULL, s.last_ms, at);
    (void)!buf_add_text(b, ",\"clock\":{\"last_at\":");
    if (s.last_ms)
        (void)buf_printf(b, "\"%.*s\"", n, at);
    else
        (void)!buf_add_text(b, "null");
    (void)buf_printf(b, ",\"computed\":%llu,\"failed\":%llu", (unsigned long long)s.computed,
                     (unsigned long long)s.failed);
    if (s.error.code) {
        (void)!buf_add_text(b, ",\"error\":");
        (void)!buf_add_json_str(b, str_from(s.error.message));
    }
    (void)!buf_add_char(b, '}');
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_ask ask = ask_of(app, r);
    TRY(request_flag(r, "refresh", &ask.refresh, err));
    TRY(kpi_report_list(app->db, app->desk, &ask, &r->reply.body, err));
    put_clock(app->kpi_clock, &r->reply.body);
    (void)!buf_add_text(&r->reply.body, "}\n");
    return 0;
}

static int tree(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_ask ask = ask_of(app, r);
    return kpi_report_tree(app->db, app->desk, &ask, &r->reply.body, err);
}

static int show(struct request *r, const struct app *app, struct str id, struct keel_error *err) {
    struct kpi_ask ask = ask_of(app, r);
    return kpi_report_one(app->db, app->desk, id, &ask, &r->reply.body, err);
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    return show(r, ctx, r->parts[0], err);
}

/* ---- changes ---- */

struct saving {
    const struct app *app;
    const struct request *request;
};

/* What one may not ask, one may not save to be asked. */
static int admit(void *ctx, const struct query *q, struct keel_error *err) {
    const struct saving *s = ctx;
    return shielded_question(s->app, s->request, q, err);
}

static int read_change(struct request *r, const struct app *app, unsigned how,
                       struct kpi_change *out, struct keel_error *err) {
    struct str version = param(r, "version");
    struct saving *s = arena_alloc(&r->arena, sizeof *s);
    *s = (struct saving){app, r};
    *out = (struct kpi_change){
        .who = access_who(r), .at_ms = now_ms(), .how = how, .admit = admit, .admit_ctx = s};
    if (version.n && (!str_to_i64(version, &out->must_be) || out->must_be < 1))
        FAIL(err, INVALID, "version is the number of the version that is changed");
    return 0;
}

static int put(struct request *r, const struct app *app, struct str id, unsigned how,
               struct keel_error *err) {
    struct kpi_change change;
    struct arena arena; /* the parser wants more room than a request's has */
    struct str put_id;
    TRY(read_change(r, app, how, &change, err));
    arena_init(&arena, (size_t)KPI_MAX_BYTES * 256);
    int code = kpi_put(app->desk, r->body, id, &change, &arena, &put_id, err);
    if (code == 0) r->object = str_dup(&r->arena, put_id);
    if (code == 0) code = show(r, app, put_id, err);
    arena_release(&arena);
    return code;
}

static int add(struct request *r, void *ctx, struct keel_error *err) {
    TRY(put(r, ctx, (struct str){"", 0}, KPI_ADD, err));
    r->reply.status = 201;
    return 0;
}

static int replace(struct request *r, void *ctx, struct keel_error *err) {
    return put(r, ctx, r->parts[0], KPI_ADD | KPI_REPLACE, err);
}

static int apply(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_change change;
    struct kpi_applied done;
    TRY(read_change(r, app, KPI_ADD | KPI_REPLACE, &change, err));
    TRY(kpi_apply(app->desk, r->body, "KPIs", &change, &done, err));
    (void)buf_printf(&r->reply.body,
                     "{\"added\":%u,\"changed\":%u,\"same\":%u,\"touchpoints\":%u}\n", done.added,
                     done.changed, done.same, done.touchpoints);
    return 0;
}

static int take_away(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_change change;
    TRY(read_change(r, app, KPI_REPLACE, &change, err));
    TRY(kpi_remove(app->desk, r->parts[0], &change, err));
    r->reply.status = 204;
    return 0;
}

static int take_touchpoint_away(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_change change;
    TRY(read_change(r, app, KPI_REPLACE, &change, err));
    TRY(touchpoint_remove(app->desk, r->parts[0], &change, err));
    r->reply.status = 204;
    return 0;
}

/* ---- numbers ---- */

static int series(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_ask ask = ask_of(app, r);
    struct kpi_series_words words = {.from = param(r, "from"),
                                     .to = param(r, "to"),
                                     .grain = param(r, "grain"),
                                     .as_of = param(r, "as_of")};
    TRY(request_flag(r, "refresh", &words.refresh, err));
    return kpi_report_series(app->db, app->desk, r->parts[0], &words, &ask, &r->reply.body, err);
}

static int attribution(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct kpi_ask ask = ask_of(app, r);
    struct kpi_ranges ranges = {.from = param(r, "from"),
                                .to = param(r, "to"),
                                .against_from = param(r, "against_from"),
                                .against_to = param(r, "against_to")};
    struct str text = param(r, "depth");
    uint64_t depth = 0;
    if (text.n && (!str_to_u64(text, &depth) || depth < 1 || depth > MOST_DEPTH))
        FAIL(err, INVALID, "depth is a number from 1 to %d", MOST_DEPTH);
    ranges.depth = (uint32_t)depth;
    return kpi_report_attribution(app->db, app->desk, r->parts[0], &ranges, &ask, &r->reply.body,
                                  err);
}

struct asking {
    const struct app *app;
    const struct request *request;
    struct arena arena;
};

static int ask_shielded(void *ctx, const struct query *q, const struct ask_options *options,
                        struct result **out, struct keel_error *err) {
    struct asking *a = ctx;
    struct arena_mark mark = arena_mark(&a->arena);
    int code = shielded_run(a->app, a->request, q, options, &a->arena, out, err);
    arena_rewind(&a->arena, mark);
    return code;
}

static int touchpoints(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct asking asking = {.app = app, .request = r};
    struct touchpoint_ask ask = {
        .cancel = server_cutting(app->server), .run = ask_shielded, .run_ctx = &asking};
    struct str from = param(r, "from"), to = param(r, "to");
    ask.to = time_day(db_zone(app->db), now_ms()) + 1;
    if (to.n) TRY(kpi_read_day(to, "to", &ask.to, err));
    ask.from = ask.to - TOUCHPOINT_DAYS;
    if (from.n) TRY(kpi_read_day(from, "from", &ask.from, err));
    if (ask.from >= ask.to) FAIL(err, INVALID, "the range is empty: from must be before to");
    arena_init(&asking.arena, 2 * (size_t)QUERY_ARENA_BYTES);
    int code = touchpoint_report(app->db, app->desk, &ask, &r->reply.body, err);
    arena_release(&asking.arena);
    return code;
}

/* ---- the table ---- */

#define NUMBER "{\"type\":[\"number\",\"null\"]}"
#define TEXT "{\"type\":\"string\"}"
#define TRUTH "{\"type\":\"boolean\"}"
#define POINT                                                                                      \
    "{\"type\":[\"object\",\"null\"],\"properties\":{\"period\":" TEXT ",\"value\":" NUMBER        \
    ",\"complete\":" TRUTH ",\"computed_at\":" TEXT ",\"checked_at\":" TEXT ",\"asked_at\":" TEXT  \
    ",\"guardrail\":{\"enum\":[\"unknown\",\"inside\",\"below\",\"above\"]}"                       \
    ",\"target_met\":{\"type\":[\"boolean\",\"null\"]},\"question\":" TEXT "}}"
#define MEMBERS                                                                                    \
    "\"name\":" TEXT ",\"description\":" TEXT ",\"query\":" TEXT                                   \
    ",\"sum\":{\"type\":\"array\",\"items\":" TEXT                                                 \
    "},\"product\":{\"type\":\"array\",\"items\":" TEXT                                            \
    "},\"ratio\":{\"type\":\"array\",\"items\":" TEXT "}"                                          \
    ",\"unit\":{\"enum\":[\"count\",\"money\",\"percent\",\"duration\"]},\"currency\":" TEXT       \
    ",\"digits\":{\"type\":\"integer\"},\"direction\":{\"enum\":[\"up\",\"down\"]}"                \
    ",\"grain\":{\"enum\":[\"day\",\"week\",\"month\"]}"                                           \
    ",\"target\":{\"type\":\"object\",\"properties\":{\"value\":{\"type\":\"number\"},"            \
    "\"by\":" TEXT                                                                                 \
    "}},\"guardrail\":{\"type\":\"object\",\"properties\":{\"low\":{\"type\":\"number\"},"         \
    "\"high\":{\"type\":\"number\"}}},\"owner_marketing\":" TEXT ",\"owner_it\":" TEXT
#define KPI                                                                                        \
    "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"version\":{\"type\":\"integer\"}"      \
    ",\"hash\":" TEXT ",\"query_hash\":" TEXT "," MEMBERS ",\"latest\":" POINT                     \
    ",\"running\":" POINT "}}"
#define KPI_BODY "{\"type\":\"object\",\"properties\":{\"id\":" TEXT "," MEMBERS "}}"
#define WHO                                                                                        \
    "who string who changes it\nversion integer the version that is changed: 409 if it is no "     \
    "longer the newest"
#define ROUTE(method, path, handler, what, with, in, out)                                          \
    {                                                                                              \
        .methods = method, .pattern = path, .handle = handler, .flags = ROUTE_WORKER,              \
        .right = method == HTTP_GET ? RIGHT_KPI_READ : RIGHT_KPI_WRITE, .tag = "kpis",             \
        .summary = what, .params = with, .body = in, .answer = out,                                \
        .max_body_bytes = KPI_MAX_BYTES                                                            \
    }

const struct route routes_kpi_api[] = {
    ROUTE(HTTP_GET, "/api/v1/kpis", list, "All KPIs, with what was last computed",
          "refresh boolean bring all up to date first", NULL,
          "{\"type\":\"object\",\"properties\":{\"kpis\":{\"type\":\"array\",\"items\":" KPI "}}}"),
    ROUTE(HTTP_POST, "/api/v1/kpis", add, "Adds a KPI",
          "who string on whose behalf, by the owner of the data", KPI_BODY, KPI),
    ROUTE(HTTP_PUT, "/api/v1/kpis", apply,
          "Adds or changes all KPIs of a file (TOML or JSON), all or none; others stay",
          "who string on whose behalf, by the owner of the data",
          "{\"type\":\"object\",\"properties\":{\"kpi\":{\"type\":\"object\"},"
          "\"touchpoint\":{\"type\":\"object\"}}}",
          "{\"type\":\"object\",\"properties\":{\"added\":{\"type\":\"integer\"},"
          "\"changed\":{\"type\":\"integer\"},\"same\":{\"type\":\"integer\"},"
          "\"touchpoints\":{\"type\":\"integer\"}}}"),
    ROUTE(HTTP_GET, "/api/v1/kpis/tree", tree, "What is made of what, with what was last computed",
          NULL, NULL,
          "{\"type\":\"object\",\"properties\":{\"roots\":{\"type\":\"array\",\"items\":"
          "{\"type\":\"object\"}}}}"),
    ROUTE(HTTP_GET, "/api/v1/kpis/{id}", get, "One KPI, and its versions", NULL, NULL, KPI),
    ROUTE(HTTP_PUT, "/api/v1/kpis/{id}", replace, "Changes a KPI, or adds it", WHO, KPI_BODY, KPI),
    ROUTE(HTTP_DELETE, "/api/v1/kpis/{id}", take_away,
          "Removes a KPI that no other is made of; its versions and values are kept", WHO, NULL,
          NULL),
    ROUTE(HTTP_GET, "/api/v1/kpis/{id}/series", series,
          "Values period by period, with bands; as of any moment, against now",
          "from string first day\nto string day behind the last\ngrain string day, week or month\n"
          "as_of string as it was known then\nrefresh boolean compute it anew, however fresh",
          NULL,
          "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"grain\":" TEXT
          ",\"question\":" TEXT ",\"points\":"
          "{\"type\":\"array\",\"items\":" POINT "},\"notes\":{\"type\":\"array\",\"items\":" TEXT
          "}}}"),
    ROUTE(HTTP_GET, "/api/v1/kpis/{id}/attribution", attribution,
          "Which leaves of its tree changed it between two ranges; sums exactly",
          "from string first day\nto string day behind the last\nagainst_from string of the range "
          "before\nagainst_to string of the range before\ndepth integer levels of the tree; "
          "default down to the leaves",
          NULL,
          "{\"type\":\"object\",\"properties\":{\"value\":" NUMBER ",\"against\":" NUMBER
          ",\"change\":" NUMBER ",\"method\":" TEXT ",\"contributions\":{\"type\":\"array\","
          "\"items\":{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"value\":" NUMBER
          ",\"against\":" NUMBER ",\"contribution\":" NUMBER ",\"share\":" NUMBER "}}}}}"),
    ROUTE(HTTP_GET, "/api/v1/touchpoints", touchpoints,
          "Completion, time and fall-back to staff, by touchpoint",
          "from string first day; default 28 days\nto string day behind the last", NULL,
          "{\"type\":\"object\",\"properties\":{\"touchpoints\":{\"type\":\"array\",\"items\":"
          "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"channels\":{\"type\":\"array\","
          "\"items\":{\"type\":\"object\",\"properties\":{\"started\":" NUMBER
          ",\"completed\":" NUMBER ",\"completion_rate\":" NUMBER ",\"median_seconds\":" NUMBER
          ",\"fell_back\":" NUMBER ",\"fallback_rate\":" NUMBER
          ",\"questions\":{\"type\":\"object\",\"properties\":"
          "{\"completion\":" TEXT ",\"fallback\":" TEXT "}}}}}}}}}}"),
    ROUTE(HTTP_DELETE, "/api/v1/touchpoints/{id}", take_touchpoint_away,
          "Removes a touchpoint; its versions are kept",
          "who string on whose behalf, by the owner of the data", NULL, NULL),
    {0},
};
