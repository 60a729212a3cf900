/* The quarantine over HTTP: list, show, replay, discard. Filters are parameters of the query, the
 * same for all of them.
 *
 * Layers: ledger.h, mask.h, server.h. Threads: the workers'. Limits: QUARANTINE_MAX_LIST rows an
 * answer; MOST_AT_ONCE events a replay or discard, which says where to go on. */
#include <inttypes.h>

#include "api/app.h"
#include "api/collect/ledger.h"
#include "api/collect/mask.h"
#include "api/member.h"
#include "base/os.h"

enum { DEFAULT_LIST = 100, MOST_AT_ONCE = 10000 };

/* ---- filters ---- */

static int read_state(struct request *r, struct quarantine_filter *f, struct keel_error *err) {
    struct str text;
    if (!request_param(r, "state", &text)) return 0;
    f->state = -1;
    if (str_is(text, "all")) return 0;
    for (int i = 0; i < QUARANTINE_STATES; i++)
        if (str_is(text, QUARANTINE_STATE_NAMES[i])) f->state = i;
    if (f->state < 0)
        FAIL(err, INVALID, "state is open, replayed, discarded or all, not \"%.*s\"",
             STR_ARG(text));
    return 0;
}

static int read_filter(struct request *r, const struct app *app, int64_t limit, int64_t most,
                       struct quarantine_filter *f, struct keel_error *err) {
    struct str source;
    *f = (struct quarantine_filter){.source = -1, .state = QUARANTINE_OPEN};
    f->name = f->code = STR("");
    (void)request_param(r, "event", &f->name);
    (void)request_param(r, "reason", &f->code);
    TRY(request_number(r, "id", 1, INT64_MAX, &f->id, err));
    TRY(request_number(r, "cursor", 0, INT64_MAX, &f->after, err));
    TRY(request_number(r, "limit", 1, most, &limit, err));
    f->limit = (uint32_t)limit;
    if (request_param(r, "source", &source)) {
        const struct event_source *s = sources_by_name(app->sources, source);
        if (!s && str_to_i64(source, &f->source)) s = sources_by_id(app->sources, f->source);
        if (!s) FAIL(err, NOT_FOUND, "there is no source \"%.*s\"", STR_ARG(source));
        f->source = s->id;
    }
    return read_state(r, f, err);
}

/* ---- rows ---- */

struct listing {
    const struct app *app;
    const struct plan_form *form;
    struct buf *out;
    uint32_t rows;
    int64_t last;
    bool json, raw; /* with the event, unmasked */
};

static void put_text(struct buf *out, const char *name, struct str text) {
    (void)!buf_printf(out, ",\"%s\":", name);
    (void)!mask_plain(text, out);
}

static int put_row(void *ctx, const struct quarantine_row *row) {
    struct listing *l = ctx;
    struct buf *out = l->out;
    const struct event_source *source = sources_by_id(l->app->sources, row->source);
    if (l->rows++) (void)!buf_add_char(out, ',');
    l->last = row->id;
    (void)!buf_printf(out, "{\"id\":%lld,\"source\":", (long long)row->id);
    if (source)
        (void)!buf_add_json_str(out, source->name);
    else
        (void)!buf_printf(out, "\"%lld\"", (long long)row->source);
    (void)!buf_printf(out, ",\"state\":\"%s\"", QUARANTINE_STATE_NAMES[row->state]);
    member_time(out, "received_at", row->received_ms);
    member_time(out, "changed_at", row->changed_ms);
    put_text(out, "event", row->name);
    put_text(out, "user", row->user);
    (void)!buf_add_text(out, ",\"reasons\":");
    (void)!buf_add_str(out, row->reasons.n ? row->reasons : STR("[]"));
    if (l->json && row->json.n) {
        struct masked look = mask_look(row->json);
        (void)!buf_add_text(out, ",\"json\":");
        if (l->raw)
            (void)!buf_add_str(out, row->json);
        else
            (void)!mask_json(l->form, &look, row->json, out);
    }
    (void)!buf_add_char(out, '}');
    return out->failed;
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct quarantine_filter f;
    struct quarantine_stats stats;
    TRY(read_filter(r, app, DEFAULT_LIST, QUARANTINE_MAX_LIST, &f, err));
    TRY(quarantine_stats(app->quarantine, &stats, err));
    struct listing l = {.app = app, .out = &r->reply.body};
    (void)!buf_printf(l.out, "{\"open\":%llu,\"limit\":%llu,\"events\":[",
                      (unsigned long long)stats.open, (unsigned long long)stats.max_events);
    TRY(quarantine_list(app->quarantine, &f, put_row, &l, err));
    (void)!buf_add_char(l.out, ']');
    if (l.rows == f.limit) (void)!buf_printf(l.out, ",\"next_cursor\":\"%lld\"", (long long)l.last);
    (void)!buf_add_text(l.out, "}\n");
    return 0;
}

static int show(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct quarantine_filter f = {.source = -1, .state = -1, .limit = 1};
    f.name = f.code = STR("");
    if (!str_to_i64(r->parts[0], &f.id) || f.id < 1)
        FAIL(err, NOT_FOUND, "\"%.*s\" is no number of a quarantined event", STR_ARG(r->parts[0]));
    TRY(request_flag(r, "raw", &r->disclosed, err));
    if (r->disclosed && !actor_may(&r->actor, RIGHT_PERSONAL_READ))
        FAIL(err, FORBIDDEN, "the JSON as it came needs the right %s",
             right_text(RIGHT_PERSONAL_READ));
    struct listing l = {.app = app, .out = &r->reply.body, .json = true, .raw = r->disclosed};
    l.form = plan_take(app->plan);
    int code = quarantine_list(app->quarantine, &f, put_row, &l, err);
    plan_drop(l.form);
    if (code < 0) return code;
    if (l.rows == 0) FAIL(err, NOT_FOUND, "there is no quarantined event %lld", (long long)f.id);
    (void)!buf_add_char(l.out, '\n');
    return 0;
}

/* ---- acting ---- */

static int replay(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct quarantine_filter f;
    struct quarantine_counts counts;
    TRY(read_filter(r, app, MOST_AT_ONCE, MOST_AT_ONCE, &f, err));
    TRY(plan_refresh(app->plan, err)); /* a change of a moment ago counts */
    int code = ledger_replay(app, &f, now_ms(), &counts, err);
    uint64_t all = 0;
    for (int i = 0; i < QUARANTINE_OUTCOMES; i++) all += counts.of[i];
    if (code < 0) return error_context(err, code, "after %" PRIu64 " events", all);
    (void)!buf_printf(&r->reply.body, "{\"accepted\":%llu,\"duplicate\":%llu,\"quarantined\":%llu",
                      (unsigned long long)counts.of[QUARANTINE_TAKEN],
                      (unsigned long long)counts.of[QUARANTINE_DUPLICATE],
                      (unsigned long long)counts.of[QUARANTINE_STILL]);
    if (all == f.limit)
        (void)!buf_printf(&r->reply.body, ",\"next_cursor\":\"%lld\"", (long long)counts.last);
    (void)!buf_add_text(&r->reply.body, "}\n");
    return 0;
}

static int discard(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct quarantine_filter f;
    uint64_t n;
    TRY(read_filter(r, app, MOST_AT_ONCE, MOST_AT_ONCE, &f, err));
    TRY(quarantine_discard(app->quarantine, &f, now_ms(), &n, err));
    (void)!buf_printf(&r->reply.body, "{\"discarded\":%llu}\n", (unsigned long long)n);
    return 0;
}

#define FILTER_PARAMS                                                                              \
    "id integer one event\n"                                                                       \
    "source string name or number of a source\n"                                                   \
    "event string name of an event, or a type such as identify\n"                                  \
    "reason string code of the first reason, such as wrong_type\n"                                 \
    "cursor string next_cursor of the answer before\n"                                             \
    "limit integer at most so many"
#define COUNTS_SCHEMA                                                                              \
    "{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"integer\",\"string\"]}}"

const struct route routes_quarantine_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/quarantine",
     .handle = list,
     .right = RIGHT_EVENT_READ,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "Events that wait for a decision",
     .params = FILTER_PARAMS "\nstate string open, replayed, discarded or all; default open",
     .answer = "{\"type\":\"object\",\"properties\":{\"open\":{\"type\":\"integer\"},"
               "\"limit\":{\"type\":\"integer\"},\"events\":{\"type\":\"array\",\"items\":"
               "{\"type\":\"object\"}},\"next_cursor\":{\"type\":\"string\"}}}"},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/quarantine/{id}",
     .handle = show,
     .right = RIGHT_EVENT_READ,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "One of them with its JSON, personal values masked",
     .params = "raw string true: the JSON as it came",
     .answer = "{\"type\":\"object\"}"},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/quarantine/replay",
     .handle = replay,
     .right = RIGHT_SOURCE_ADMIN,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "Take the open events in again, by the plan of today",
     .params = FILTER_PARAMS,
     .answer = COUNTS_SCHEMA},
    {.methods = HTTP_POST,
     .pattern = "/api/v1/quarantine/discard",
     .handle = discard,
     .right = RIGHT_SOURCE_ADMIN,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "Discard the open events",
     .params = FILTER_PARAMS,
     .answer = COUNTS_SCHEMA},
    {0},
};
