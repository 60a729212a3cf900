/* /api/v1/webhooks: what `keel webhook` does, over HTTP. The engine takes a change within a second.
 *
 * Layers: reach/webhook.h, server.h. Threads: the workers'. Limits: BODY_MAX, PAGE_MOST. */
#include "api/app.h"
#include "api/config.h"
#include "api/routes.h"
#include "base/json.h"
#include "base/os.h"
#include "desk/audience/audience.h"
#include "reach/webhook.h"

enum { BODY_MAX = 32 << 10, PAGE = 100, PAGE_MOST = 1000 };

struct listing {
    struct buf *out;
    uint32_t rows;
    int64_t last;
};

static int add_row(void *ctx, const struct webhook_row *row) {
    struct listing *l = ctx;
    if (l->rows++) (void)!buf_add_char(l->out, ',');
    webhook_json(row, l->out);
    return l->out->failed;
}

static int read_id(const struct request *r, int64_t *out, struct keel_error *err) {
    if (!str_to_i64(r->parts[0], out) || *out <= 0)
        FAIL(err, NOT_FOUND, "there is no webhook \"%.*s\"",
             (int)(r->parts[0].n < 100 ? r->parts[0].n : 100), r->parts[0].p);
    return 0;
}

static int show(struct request *r, const struct app *app, int64_t id, struct keel_error *err) {
    struct listing l = {.out = &r->reply.body};
    return webhook_list(app->desk, id, add_row, &l, err);
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    (void)!buf_add_text(&r->reply.body, "{\"webhooks\":[");
    TRY(show(r, app, 0, err));
    (void)!buf_add_text(&r->reply.body, "]}");
    return 0;
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    int64_t id;
    TRY(read_id(r, &id, err));
    return show(r, ctx, id, err);
}

/* A list of names, or a text with commas between them. */
static int read_events(struct json_value events, struct buf *out, struct keel_error *err) {
    struct json_each each = json_each(events);
    struct json_value item;
    struct str text;
    enum json_type type = json_type(events);
    if (json_str(events, &text))
        TRY(webhook_add_names(out, text, err));
    else if (type != JSON_ARRAY && type != JSON_ABSENT && type != JSON_NULL)
        FAIL(err, INVALID, "\"events\" is a list of names");
    while (json_next(&each, NULL, &item)) {
        if (!json_str(item, &text)) FAIL(err, INVALID, "\"events\" is a list of names");
        TRY(webhook_add_name(out, text, err));
    }
    if (out->failed) FAIL(err, LIMIT, "too many names of events");
    return 0;
}

/* Numbers or names of segments, as numbers. */
static int join_segments(const struct app *app, struct json_value list, struct buf *out,
                         struct keel_error *err) {
    struct json_each each = json_each(list);
    struct json_value item;
    struct str text;
    int64_t id;
    while (json_next(&each, NULL, &item)) {
        if (json_str(item, &text))
            TRY(audience_find(app->desk, text, &id, err));
        else if (!json_i64(item, &id))
            FAIL(err, INVALID, "\"segments\" is a list of numbers or names of segments");
        (void)!buf_printf(out, "%s%lld", out->n ? "," : "", (long long)id);
    }
    if (out->failed) FAIL(err, LIMIT, "too many segments");
    return 0;
}

static int add_from(const struct app *app, struct json_value body, struct buf *events,
                    struct buf *segments, int64_t *id, struct keel_error *err) {
    struct str url = {"", 0};
    if (!json_str(json_get(body, "url"), &url)) FAIL(err, INVALID, "\"url\" is missing");
    TRY(read_events(json_get(body, "events"), events, err));
    TRY(join_segments(app, json_get(body, "segments"), segments, err));
    struct webhook_wish wish = {.events = buf_str(events),
                                .no_events =
                                    json_has(body, "segments") && !json_has(body, "events")};
    if (json_has(body, "segments")) wish.segments = segments->n ? buf_str(segments) : STR("");
    return webhook_add(app->desk, url, &wish, now_ms(), id, err);
}

static int create_from(struct request *r, const struct app *app, struct json_parser *parser,
                       struct keel_error *err) {
    struct json_value body;
    struct buf events, segments;
    int64_t id;
    TRY(json_parse(parser, r->body, &body, err));
    buf_init(&events, WEBHOOK_EVENTS_MAX + 1);
    buf_init(&segments, WEBHOOK_EVENTS_MAX + 1);
    int code = add_from(app, body, &events, &segments, &id, err);
    buf_release(&events);
    buf_release(&segments);
    TRY(code);
    r->reply.status = 201;
    return show(r, app, id, err);
}

static int create(struct request *r, void *ctx, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(BODY_MAX);
    int code = create_from(r, ctx, parser, err);
    json_parser_free(parser);
    return code;
}

static int enable(struct request *r, const struct app *app, bool on, struct keel_error *err) {
    int64_t id;
    TRY(read_id(r, &id, err));
    TRY(webhook_enable(app->desk, id, on, err));
    return show(r, app, id, err);
}

static int switch_on(struct request *r, void *ctx, struct keel_error *err) {
    return enable(r, ctx, true, err);
}

static int switch_off(struct request *r, void *ctx, struct keel_error *err) {
    return enable(r, ctx, false, err);
}

static int take_away(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t id;
    TRY(read_id(r, &id, err));
    TRY(webhook_remove(app->desk, id, err));
    r->reply.status = 204;
    return 0;
}

static int test(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t id;
    long status = 0;
    TRY(read_id(r, &id, err));
    TRY(webhook_test(app->desk, id, app->config->webhooks.allow_private, &status, err));
    (void)buf_printf(&r->reply.body, "{\"status\":%ld}", status);
    return 0;
}

static int add_letter(void *ctx, const struct webhook_letter *letter) {
    struct listing *l = ctx;
    char time[TIME_TEXT_MAX];
    size_t n = time_format(NULL, letter->dead_ms, time);
    (void)buf_printf(l->out, "%s{\"id\":%lld,\"dead_at\":\"%.*s\",\"tries\":%lld,\"message_id\":",
                     l->rows++ ? "," : "", (long long)letter->id, (int)n, time,
                     (long long)letter->tries);
    (void)!buf_add_json_str(l->out, letter->message_id);
    (void)!buf_add_text(l->out, ",\"error\":");
    (void)!buf_add_json_str(l->out, letter->error);
    (void)!buf_add_text(l->out, ",\"event\":");
    (void)!buf_add_str(l->out, letter->body);
    (void)!buf_add_char(l->out, '}');
    l->last = letter->id;
    return l->out->failed;
}

static int dead(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct listing l = {.out = &r->reply.body};
    struct str text;
    int64_t id, after = 0, limit = PAGE;
    TRY(read_id(r, &id, err));
    if (request_param(r, "after", &text) && (!str_to_i64(text, &after) || after < 0))
        FAIL(err, INVALID, "after is the id of a dead letter");
    if (request_param(r, "limit", &text) &&
        (!str_to_i64(text, &limit) || limit < 1 || limit > PAGE_MOST))
        FAIL(err, INVALID, "limit is a number from 1 to %d", PAGE_MOST);
    (void)!buf_add_text(&r->reply.body, "{\"dead\":[");
    TRY(webhook_dead(app->desk, id, after, limit, add_letter, &l, err));
    (void)!buf_add_text(&r->reply.body, "],\"next\":");
    if (l.rows == limit)
        (void)buf_printf(&r->reply.body, "%lld}", (long long)l.last);
    else
        (void)!buf_add_text(&r->reply.body, "null}");
    return 0;
}

static int replay(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct str text;
    int64_t id, letter = 0, count = 0;
    TRY(read_id(r, &id, err));
    if (request_param(r, "letter", &text) && (!str_to_i64(text, &letter) || letter <= 0))
        FAIL(err, INVALID, "letter is the id of a dead letter");
    TRY(webhook_replay(app->desk, id, letter, now_ms(), &count, err));
    (void)buf_printf(&r->reply.body, "{\"replayed\":%lld}", (long long)count);
    return 0;
}

#define WEBHOOK_ANSWER                                                                             \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},"                          \
    "\"url\":{\"type\":\"string\"},\"events\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}" \
    "},\"secret\":{\"type\":\"string\"},\"state\":{\"enum\":[\"on\",\"off\",\"gone\"]},"           \
    "\"reason\":{\"type\":\"string\"},\"delivered\":{\"type\":\"integer\"},"                       \
    "\"failed\":{\"type\":\"integer\"},\"retrying\":{\"type\":\"integer\"},"                       \
    "\"dead\":{\"type\":\"integer\"},\"missed_bytes\":{\"type\":\"integer\"}}}"
#define ROUTE(method, path, handler, what, in, with)                                               \
    {                                                                                              \
        .methods = method, .pattern = "/api/v1/webhooks" path, .handle = handler,                  \
        .right = RIGHT_WEBHOOK_ADMIN, .flags = ROUTE_WORKER, .tag = "webhooks", .summary = what,   \
        .body = in, .params = with, .answer = WEBHOOK_ANSWER                                       \
    }

const struct route routes_webhook_api[] = {
    ROUTE(HTTP_GET, "", list, "All webhooks", NULL, NULL),
    ROUTE(HTTP_POST, "", create, "Sends accepted events to a URL from now on",
          "{\"type\":\"object\",\"required\":[\"url\"],\"properties\":{\"url\":{\"type\":"
          "\"string\"},\"events\":{\"type\":[\"array\",\"string\"],\"items\":{\"type\":\"string\"},"
          "\"description\":\"names; as one text, with commas between them\"},"
          "\"segments\":{\"type\":\"array\",\"description\":\"numbers or names: who enters and "
          "leaves them; [] all; without events, only these\"}}}",
          NULL),
    ROUTE(HTTP_GET, "/{id}", get, "One webhook", NULL, NULL),
    ROUTE(HTTP_DELETE, "/{id}", take_away, "Removes it, its retries and dead letters", NULL, NULL),
    ROUTE(HTTP_POST, "/{id}/enable", switch_on, "Sends again, from now on", NULL, NULL),
    ROUTE(HTTP_POST, "/{id}/disable", switch_off, "Sends nothing", NULL, NULL),
    ROUTE(HTTP_POST, "/{id}/test", test, "Sends a signed test event once", NULL, NULL),
    ROUTE(HTTP_GET, "/{id}/dead", dead, "Its dead letters", NULL,
          "after integer begin behind this letter\nlimit integer how many; default 100"),
    ROUTE(HTTP_POST, "/{id}/replay", replay, "Tries dead letters again", NULL,
          "letter integer this one only; default all"),
    {0},
};
