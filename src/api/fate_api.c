/* What became of events, over HTTP: counters and the live tail, of one source or of all.
 *
 * Layers: fate.h, tail.h, server.h. Threads: counters in the workers'; a tail is handed to the
 * tail's own thread. Limits: those of fate.h and tail.h. */
#include "api/app.h"
#include "api/collect/fate.h"
#include "api/collect/tail.h"
#include "base/os.h"
#include "base/time.h"

enum { DEFAULT_HISTORY = 20 };

/* A source by number or name; the first part of the path, if there is one. */
static int read_source(const struct request *r, const struct app *app, int64_t *out,
                       struct keel_error *err) {
    struct str which = r->parts[0];
    const struct event_source *source;
    *out = -1;
    if (which.n == 0) return 0;
    source = sources_by_name(app->sources, which);
    if (!source && str_to_i64(which, out)) source = sources_by_id(app->sources, *out);
    if (!source) FAIL(err, NOT_FOUND, "there is no source \"%.*s\"", STR_ARG(which));
    *out = source->id;
    return 0;
}

static int read_time(struct request *r, const char *name, int64_t *out, struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    if (!time_parse(text, NULL, out))
        FAIL(err, INVALID, "%s=\"%.*s\" is no time such as 2026-01-31T12:00:00Z", name,
             STR_ARG(text));
    return 0;
}

static int fate(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct fate_ask ask = {.to_ms = now_ms() + 1};
    struct str step = STR("hour");
    TRY(read_source(r, app, &ask.source, err));
    (void)request_param(r, "step", &step);
    if (!str_is(step, "hour") && !str_is(step, "minute"))
        FAIL(err, INVALID, "step is hour or minute, not \"%.*s\"", STR_ARG(step));
    ask.minutes = str_is(step, "minute");
    ask.from_ms =
        ask.to_ms - (ask.minutes ? (int64_t)FATE_MINUTES * MS_PER_MINUTE : INT64_C(7) * MS_PER_DAY);
    TRY(read_time(r, "from", &ask.from_ms, err));
    TRY(read_time(r, "to", &ask.to_ms, err));
    return fate_json(app->fate, &ask, &r->reply.body, err);
}

/* "accepted,refused" */
static int read_fates(struct str list, unsigned *out, struct keel_error *err) {
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        struct str word = {list.p, comma ? (size_t)(comma - list.p) : list.n};
        list = (struct str){word.p + word.n + (comma != NULL), list.n - word.n - (comma != NULL)};
        int kind = 0;
        while (kind <= FATE_REFUSED && !str_is(word, FATE_NAMES[kind])) kind++;
        if (kind > FATE_REFUSED)
            FAIL(err, INVALID, "fate=\"%.*s\" is none of accepted, duplicate, quarantined, refused",
                 STR_ARG(word));
        *out |= 1u << kind;
    }
    return 0;
}

static const char *text_param(struct request *r, const char *name) {
    struct str text;
    if (!request_param(r, name, &text) || text.n == 0) return NULL;
    return arena_strndup(&r->arena, text.p, text.n);
}

static int tail(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct tail_filter filter = {.history = DEFAULT_HISTORY};
    struct str text;
    int64_t history;
    TRY(read_source(r, app, &filter.source, err));
    if (request_param(r, "fate", &text)) TRY(read_fates(text, &filter.fates, err));
    if (request_param(r, "history", &text)) {
        if (!str_to_i64(text, &history) || history < 0 || history > TAIL_MAX_HISTORY)
            FAIL(err, INVALID, "history is a number from 0 to %d", TAIL_MAX_HISTORY);
        filter.history = (uint32_t)history;
    }
    filter.event = text_param(r, "event");
    filter.user = text_param(r, "user");
    struct reply_stream *stream = request_stream(r, TAIL_MAX_WAITING);
    int code = tail_listen(app->tail, &filter, stream, err);
    if (code == 0) return 0;
    r->reply.stream = NULL;
    stream_close(stream);
    return code;
}

#define FATE_PARAMS                                                                                \
    "from string first moment; default 7 days ago, or as far as minutes are kept\n"                \
    "to string moment behind the last; default now\n"                                              \
    "step string hour or minute (of this process, two hours); default hour"
#define TAIL_PARAMS                                                                                \
    "fate string accepted, duplicate, quarantined, refused, with commas; default all\n"            \
    "event string only events of this name or type\n"                                              \
    "user string only of this user id or anonymous id\n"                                           \
    "history integer events that are shown at once; default 20"
#define COUNTS_SCHEMA "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}"
#define FATE_SCHEMA                                                                                \
    "{\"type\":\"object\",\"properties\":{\"source\":{\"type\":[\"integer\",\"null\"]},"           \
    "\"step\":{\"type\":\"string\"},\"from\":{\"type\":\"string\"},\"to\":{\"type\":\"string\"},"  \
    "\"total\":" COUNTS_SCHEMA                                                                     \
    ",\"reasons\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"                           \
    "\"points\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}}}"

const struct route routes_fate_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/fate",
     .handle = fate,
     .right = RIGHT_EVENT_READ,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "What became of the events of all sources",
     .params = FATE_PARAMS,
     .answer = FATE_SCHEMA},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/sources/{id}/fate",
     .handle = fate,
     .right = RIGHT_EVENT_READ,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "What became of a source's events",
     .params = FATE_PARAMS,
     .answer = FATE_SCHEMA},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/tail",
     .handle = tail,
     .right = RIGHT_EVENT_READ,
     .tag = "events",
     .summary = "Events as they arrive, with what becomes of each (server-sent events)",
     .params = TAIL_PARAMS},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/sources/{id}/tail",
     .handle = tail,
     .right = RIGHT_EVENT_READ,
     .tag = "events",
     .summary = "A source's events as they arrive (server-sent events)",
     .params = TAIL_PARAMS},
    {0},
};
