/* /api/v1/segments: saved segments, their versions, their sizes over time.
 *
 * A change is saved when its reply is sent; membership follows when its condition has been filled
 * ("state": "filling"), or before the reply with ?wait=SECONDS.
 *
 * Layers: segments_api.h. Threads: the workers'. Limits: SEGMENTS_BODY_MAX. */
#include "api/segments_api.h"

#include "api/access.h"
#include "api/metrics.h"
#include "api/shielded.h"

#include "api/routes.h"
#include "base/os.h"
#include "base/time.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"

enum { ARENA_BYTES = 2 * QUERY_ARENA_BYTES, MOST_WAIT_S = 25 };

/* ---- reading ---- */

int segments_id(struct request *r, const struct app *app, int64_t *out, struct keel_error *err) {
    return audience_find(app->desk, r->parts[0], out, err);
}

int segments_text(struct json_value body, const char *name, struct str *out,
                  struct keel_error *err) {
    struct json_value v = json_get(body, name);
    if (json_type(v) == JSON_ABSENT || json_str(v, out)) return 0;
    FAIL(err, INVALID, "\"%s\" is %s, not a text", name, json_type_text(json_type(v)));
}

static int object_query(struct request *r, struct json_value v, struct str *out,
                        struct keel_error *err) {
    struct query *q;
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    int code = json_has(v, "form")
                   ? query_json_read(v, &arena, &q, err)
                   : error_set(err, KEEL_E_INVALID,
                               "\"query\": write {\"form\":\"count\",\"where\":{…}}, or a text");
    if (code == 0) *out = str_dup(&r->arena, q->text);
    arena_release(&arena);
    return code;
}

int segments_query(struct request *r, struct json_value body, struct str *out,
                   struct keel_error *err) {
    struct json_value v = json_get(body, "query");
    *out = (struct str){NULL, 0};
    if (json_type(v) == JSON_OBJECT) return object_query(r, v, out, err);
    return segments_text(body, "query", out, err);
}

/* ---- counters ---- */

static void count(void *ctx, struct metric_text *t) {
    struct audiences_stats s;
    audiences_stats(ctx, &s);
    const struct {
        const char *name, *help;
        double value;
    } gauges[] =
        {
            {"keel_segments", "Saved segments that are followed", (double)s.segments},
            {"keel_segments_filling", "Of these, being filled", (double)s.filling},
            {"keel_segments_failed", "Of these, that cannot be followed", (double)s.failed},
            {"keel_segments_leaves", "Different conditions within them", (double)s.leaves},
            {"keel_segments_timers", "Moments at which time changes something", (double)s.timers},
            {"keel_segments_bytes", "Memory of conditions and members", (double)s.bytes},
            {"keel_segments_behind_seconds", "Age of what is known", (double)s.behind_ms / 1000},
            {"keel_segments_undurable_changes", "Changes that wait for the disk",
             (double)(s.last_number - s.durable_number)},
        },
      counters[] = {
          {"keel_segments_evaluations_total", "Customers looked at", (double)s.evaluations},
          {"keel_segments_asked_total", "Customers the engine was asked about", (double)s.asked},
          {"keel_segments_rebuilt_total", "Conditions that were filled anew", (double)s.rebuilt},
          {"keel_segments_entered_total", "Customers who entered a segment", (double)s.entered},
          {"keel_segments_left_total", "Customers who left a segment", (double)s.left},
          {"keel_segments_advances_total", "How often what is new was followed",
           (double)s.advances},
          {"keel_segments_advance_seconds_total", "Time that it took", (double)s.advanced_us / 1e6},
      };
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        metric(t, METRIC_GAUGE, gauges[i].name, gauges[i].help, gauges[i].value,
               (const char *)NULL);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        metric(t, METRIC_COUNTER, counters[i].name, counters[i].help, counters[i].value,
               (const char *)NULL);
}

void segments_count(struct app *app) {
    if (app->metrics) metrics_add(app->metrics, count, app->audiences);
}

/* ---- requests ---- */

static int read_spec(struct request *r, struct json_value body, struct audience_spec *spec,
                     struct keel_error *err) {
    static const char *const members[] = {"name",    "query",  "description",
                                          "purpose", "owners", "version"};
    struct json_value owners = json_get(body, "owners"), value;
    struct str key;
    if (json_type(body) != JSON_OBJECT)
        FAIL(err, INVALID, "the body is %s, not an object", json_type_text(json_type(body)));
    struct json_each each = json_each(body);
    while (json_next(&each, &key, &value)) {
        bool known = false;
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            known |= str_is(key, members[i]);
        if (!known)
            FAIL(err, INVALID,
                 "\"%.*s\": a segment has name, query, description, purpose, owners (marketing, "
                 "it), and version",
                 (int)(key.n < 100 ? key.n : 100), key.p);
    }
    *spec = (struct audience_spec){.who = access_who(r)};
    TRY(segments_text(body, "name", &spec->name, err));
    TRY(segments_query(r, body, &spec->query, err));
    TRY(segments_text(body, "description", &spec->description, err));
    TRY(segments_text(body, "purpose", &spec->purpose, err));
    if (json_type(owners) != JSON_ABSENT && json_type(owners) != JSON_OBJECT)
        FAIL(err, INVALID, "\"owners\" is an object with marketing and it");
    TRY(segments_text(owners, "marketing", &spec->owner_marketing, err));
    TRY(segments_text(owners, "it", &spec->owner_it, err));
    value = json_get(body, "version");
    if (json_type(value) != JSON_ABSENT && !json_i64(value, &spec->if_version))
        FAIL(err, INVALID, "\"version\" is a number: the version that is changed");
    return 0;
}

/* ---- writing ---- */

void segments_time_json(const char *name, int64_t ms, struct buf *out) {
    char text[TIME_TEXT_MAX];
    size_t n = time_format(NULL, ms, text);
    (void)!buf_printf(out, "\"%s\":\"%.*s\"", name, (int)n, text);
}

int segments_condition_json(struct str query, struct buf *out, struct keel_error *err) {
    struct arena arena;
    struct str text;
    const struct query_cond *cond;
    char hash[AUDIENCE_HASH_TEXT];
    arena_init(&arena, ARENA_BYTES);
    int code = audience_read(query, &arena, &cond, &text, err);
    if (code == 0) {
        struct query *q = arena_zalloc(&arena, sizeof *q);
        q->form = QUERY_COUNT;
        q->where = (struct query_cond *)(uintptr_t)cond;
        audience_hash(text, hash);
        (void)!buf_add_text(out, "\"query\":");
        (void)!buf_add_json_str(out, text);
        (void)!buf_printf(out, ",\"hash\":\"%s\",\"json\":", hash);
        code = query_json_print(q, out);
    }
    arena_release(&arena);
    return code;
}

static void text_member(const char *name, struct str text, struct buf *out) {
    (void)!buf_printf(out, ",\"%s\":", name);
    (void)!buf_add_json_str(out, text);
}

static int row_json(const struct audience_row *row, struct buf *out) {
    struct keel_error err;
    (void)!buf_printf(out, "\"id\":%lld,\"name\":", (long long)row->id);
    (void)!buf_add_json_str(out, row->name);
    text_member("description", row->description, out);
    text_member("purpose", row->purpose, out);
    (void)!buf_add_text(out, ",\"owners\":{\"marketing\":");
    (void)!buf_add_json_str(out, row->owner_marketing);
    text_member("it", row->owner_it, out);
    (void)!buf_printf(out, "},\"version\":%lld,", (long long)row->version);
    TRY(segments_condition_json(row->query, out, &err));
    (void)!buf_add_char(out, ',');
    segments_time_json("created_at", row->created_ms, out);
    (void)!buf_add_char(out, ',');
    segments_time_json("changed_at", row->changed_ms, out);
    text_member("changed_by", row->who, out);
    return out->failed;
}

struct listing {
    struct app *app;
    const struct request *request;
    struct buf *out;
    uint32_t rows;
    bool detail; /* also who names whom */
};

static void status_json(const struct listing *l, int64_t id) {
    const struct app *app = l->app;
    struct buf *out = l->out;
    struct audience_status s;
    audiences_status(app->audiences, id, &s);
    (void)!buf_printf(out, ",\"state\":\"%s\",\"size\":", AUDIENCE_STATE_TEXT[s.state]);
    if (s.version) {
        shielded_number(app, l->request, s.size, out);
        (void)!buf_printf(out, ",\"size_version\":%lld,", (long long)s.version);
    } else {
        (void)!buf_add_text(out, "null,\"size_version\":null,");
    }
    if (s.state == AUDIENCE_FILLING) (void)!buf_printf(out, "\"filled\":%.3f,", s.filled);
    segments_time_json("as_of", s.as_of_ms, out);
    if (*s.error) text_member("error", str_from(s.error), out);
}

struct mentions {
    struct buf *out;
    uint32_t n;
    struct str wanted; /* whose users are looked for */
    bool found;
};

static int put_name(void *ctx, struct str name) {
    struct mentions *m = ctx;
    if (m->n++) (void)!buf_add_char(m->out, ',');
    return buf_add_json_str(m->out, name);
}

static int find_name(void *ctx, struct str name) {
    struct mentions *m = ctx;
    m->found |= str_eq(name, m->wanted);
    return 0;
}

static int read_names(struct str query, int (*each)(void *ctx, struct str name), void *ctx) {
    struct arena arena;
    struct str text;
    const struct query_cond *cond;
    arena_init(&arena, ARENA_BYTES);
    int code = audience_read(query, &arena, &cond, &text, NULL);
    if (code == 0) code = audience_names(cond, each, ctx);
    arena_release(&arena);
    return code;
}

static int put_user(void *ctx, const struct audience_row *row) {
    struct mentions *m = ctx;
    m->found = false;
    TRY(read_names(row->query, find_name, m));
    return m->found ? put_name(m, row->name) : 0;
}

static int add_row(void *ctx, const struct audience_row *row) {
    struct listing *l = ctx;
    if (l->rows++) (void)!buf_add_char(l->out, ',');
    (void)!buf_add_char(l->out, '{');
    TRY(row_json(row, l->out));
    status_json(l, row->id);
    if (l->detail) {
        struct mentions m = {.out = l->out, .wanted = row->name};
        (void)!buf_add_text(l->out, ",\"names\":[");
        TRY(read_names(row->query, put_name, &m));
        (void)!buf_add_text(l->out, "],\"named_by\":[");
        m.n = 0;
        TRY(audience_list(l->app->desk, 0, put_user, &m, NULL));
        (void)!buf_add_char(l->out, ']');
    }
    return buf_add_char(l->out, '}');
}

/* ---- handlers ---- */

static int list(struct request *r, void *ctx, struct keel_error *err) {
    struct listing l = {.app = ctx, .request = r, .out = &r->reply.body};
    (void)!buf_add_text(l.out, "{\"segments\":[");
    TRY(audience_list(l.app->desk, 0, add_row, &l, err));
    (void)!buf_add_text(l.out, "]}");
    return 0;
}

static int show(struct request *r, struct app *app, int64_t id, struct keel_error *err) {
    struct listing l = {.app = app, .request = r, .out = &r->reply.body, .detail = true};
    return audience_list(app->desk, id, add_row, &l, err);
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    int64_t id;
    TRY(segments_id(r, ctx, &id, err));
    return show(r, ctx, id, err);
}

struct version {
    int64_t version;
};

static int note_version(void *ctx, const struct audience_row *row) {
    ((struct version *)ctx)->version = row->version;
    return 0;
}

/* The membership follows; who asked to, waits for it. */
static int changed(struct request *r, struct app *app, int64_t id, struct keel_error *err) {
    struct version v = {0};
    int64_t wait = 0;
    audiences_changed(app->audiences);
    TRY(request_number(r, "wait", 0, MOST_WAIT_S, &wait, err));
    TRY(audience_list(app->desk, id, note_version, &v, err));
    if (wait) (void)audiences_wait(app->audiences, id, v.version, wait * 1000);
    return show(r, app, id, err);
}

static int create_from(struct request *r, struct app *app, struct json_parser *parser,
                       struct keel_error *err) {
    struct audience_spec spec;
    struct json_value body;
    int64_t id, wait = 0;
    TRY(request_number(r, "wait", 0, MOST_WAIT_S, &wait, err)); /* before it is saved */
    TRY(json_parse(parser, r->body, &body, err));
    TRY(read_spec(r, body, &spec, err));
    if (spec.query.p) TRY(shielded_condition(app, r, spec.query, err));
    TRY(audience_add(app->desk, &spec, now_ms(), &id, err));
    r->reply.status = 201;
    return changed(r, app, id, err);
}

static int create(struct request *r, void *ctx, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(SEGMENTS_BODY_MAX);
    int code = create_from(r, ctx, parser, err);
    json_parser_free(parser);
    return code;
}

static int change_from(struct request *r, struct app *app, struct json_parser *parser,
                       struct keel_error *err) {
    struct audience_spec spec;
    struct json_value body;
    int64_t id, wait = 0;
    TRY(request_number(r, "wait", 0, MOST_WAIT_S, &wait, err));
    TRY(segments_id(r, app, &id, err));
    TRY(json_parse(parser, r->body, &body, err));
    TRY(read_spec(r, body, &spec, err));
    if (spec.query.p) TRY(shielded_condition(app, r, spec.query, err));
    TRY(audience_change(app->desk, id, &spec, now_ms(), err));
    return changed(r, app, id, err);
}

static int change(struct request *r, void *ctx, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(SEGMENTS_BODY_MAX);
    int code = change_from(r, ctx, parser, err);
    json_parser_free(parser);
    return code;
}

static int take_away(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    int64_t id;
    TRY(segments_id(r, app, &id, err));
    TRY(audience_remove(app->desk, id, access_who(r), now_ms(), err));
    audiences_changed(app->audiences);
    r->reply.status = 204;
    return 0;
}

static int add_version(void *ctx, const struct audience_row *row) {
    struct listing *l = ctx;
    if (l->rows++) (void)!buf_add_char(l->out, ',');
    (void)!buf_add_char(l->out, '{');
    TRY(row_json(row, l->out));
    return buf_add_text(l->out, row->removed ? ",\"removed\":true}" : "}");
}

static int versions(struct request *r, void *ctx, struct keel_error *err) {
    struct listing l = {.app = ctx, .request = r, .out = &r->reply.body};
    int64_t id;
    if (!str_to_i64(r->parts[0], &id)) /* a number may be of one that was removed */
        TRY(segments_id(r, ctx, &id, err));
    (void)!buf_add_text(l.out, "{\"versions\":[");
    TRY(audience_versions(l.app->desk, id, add_version, &l, err));
    (void)!buf_add_text(l.out, "]}");
    return 0;
}

static int add_size(void *ctx, int64_t at_ms, int64_t size) {
    struct listing *l = ctx;
    (void)!buf_add_text(l->out, l->rows++ ? ",{" : "{");
    segments_time_json("at", at_ms, l->out);
    (void)!buf_add_text(l->out, ",\"size\":");
    shielded_number(l->app, l->request, (uint64_t)size, l->out);
    return buf_add_char(l->out, '}');
}

static int time_param(struct request *r, const struct app *app, const char *name, int64_t *out,
                      struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    if (!time_parse(text, db_zone(app->db), out))
        FAIL(err, INVALID, "%s is no time; write 2024-01-31 or 2024-01-31T12:00:00Z", name);
    return 0;
}

static int history(struct request *r, void *ctx, struct keel_error *err) {
    struct listing l = {.app = ctx, .request = r, .out = &r->reply.body};
    int64_t id, from = INT64_MIN, to = INT64_MAX;
    TRY(segments_id(r, ctx, &id, err));
    TRY(time_param(r, l.app, "from", &from, err));
    TRY(time_param(r, l.app, "to", &to, err));
    (void)!buf_printf(l.out, "{\"id\":%lld,\"sizes\":[", (long long)id);
    TRY(audience_sizes(l.app->desk, id, from, to, add_size, &l, err));
    struct audience_status now;
    audiences_status(l.app->audiences, id, &now);
    if (now.version && now.as_of_ms >= from && now.as_of_ms < to)
        (void)!add_size(&l, now.as_of_ms, (int64_t)now.size);
    (void)!buf_add_text(l.out, "]}");
    return 0;
}

#define SEGMENT_SPEC                                                                               \
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},"                         \
    "\"query\":{\"type\":[\"string\",\"object\"],\"description\":\"a condition as text, or the "   \
    "JSON form of a count\"},\"description\":{\"type\":\"string\"},\"purpose\":{\"type\":"         \
    "\"string\"},\"owners\":{\"type\":\"object\",\"properties\":{\"marketing\":{\"type\":"         \
    "\"string\"},\"it\":{\"type\":\"string\"}}},\"version\":{\"type\":\"integer\","                \
    "\"description\":\"change only this version\"}}}"
#define SEGMENT_ANSWER                                                                             \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"name\":{\"type\":"       \
    "\"string\"},\"description\":{\"type\":\"string\"},\"purpose\":{\"type\":\"string\"},"         \
    "\"owners\":{\"type\":\"object\"},\"version\":{\"type\":\"integer\"},\"query\":{\"type\":"     \
    "\"string\"},\"hash\":{\"type\":\"string\"},\"json\":{\"type\":\"object\"},"                   \
    "\"state\":{\"enum\":[\"filling\",\"live\",\"failed\"]},\"size\":{\"type\":[\"integer\","      \
    "\"null\"]},\"size_version\":{\"type\":[\"integer\",\"null\"]},\"filled\":{\"type\":"          \
    "\"number\"},"                                                                                 \
    "\"as_of\":{\"type\":\"string\"},\"error\":{\"type\":\"string\"},\"names\":{\"type\":"         \
    "\"array\"},\"named_by\":"                                                                     \
    "{\"type\":\"array\"}}}"
#define ROUTE(method, path, handler, with_right, what, in, with, out)                              \
    {                                                                                              \
        .methods = method, .pattern = "/api/v1/segments" path, .handle = handler,                  \
        .right = with_right, .flags = ROUTE_WORKER, .tag = "segments", .summary = what,            \
        .body = in, .params = with, .answer = out, .max_body_bytes = SEGMENTS_BODY_MAX             \
    }
#define WAIT "wait integer seconds to wait, at most 25, until its members are there; default 0"

const struct route routes_segments_api[] = {
    ROUTE(HTTP_GET, "", list, RIGHT_QUERY, "All segments, with their sizes of now", NULL, NULL,
          "{\"type\":\"object\",\"properties\":{\"segments\":{\"type\":\"array\",\"items\":"
          "{\"type\":\"object\"}}}}"),
    ROUTE(HTTP_POST, "", create, RIGHT_SEGMENT_WRITE, "Saves a segment", SEGMENT_SPEC, WAIT,
          SEGMENT_ANSWER),
    ROUTE(HTTP_GET, "/{id}", get, RIGHT_QUERY, "One segment; {id} is its number or its name", NULL,
          NULL, SEGMENT_ANSWER),
    ROUTE(HTTP_PUT, "/{id}", change, RIGHT_SEGMENT_WRITE,
          "Changes it, as a new version; what is left out stays", SEGMENT_SPEC, WAIT,
          SEGMENT_ANSWER),
    ROUTE(HTTP_DELETE, "/{id}", take_away, RIGHT_SEGMENT_WRITE,
          "Removes it, unless others name it; its versions are kept", NULL, NULL, NULL),
    ROUTE(HTTP_GET, "/{id}/versions", versions, RIGHT_QUERY, "Its versions, newest first", NULL,
          NULL, "{\"type\":\"object\",\"properties\":{\"versions\":{\"type\":\"array\"}}}"),
    ROUTE(HTTP_GET, "/{id}/history", history, RIGHT_QUERY, "Its size over time, up to now", NULL,
          "from string only from this time on\nto string only before this time",
          "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"sizes\":{\"type\":"
          "\"array\",\"items\":{\"type\":\"object\"}}}}"),
    {0},
};
