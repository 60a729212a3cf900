/* GET /api/v1/export: events as NDJSON or CSV, as `keel export` writes them; personal values masked
 * for who may not see them. The answer streams; a
 * failure in the middle ends it without the last chunk, so that a client sees that it is cut.
 *
 * Layers: outgoing.h, customer/export.h, query/chosen.h. Threads: a thread an export. Limits:
 * OUTGOING_EXPORTS_MOST at a time; a client that reads nothing for PATIENCE_MS is cut. */
#include <pthread.h>
#include <stdatomic.h>

#include "api/app.h"
#include "api/collect/mask.h"
#include "api/log.h"
#include "api/outgoing.h"
#include "api/routes.h"
#include "customer/envelope.h"
#include "customer/export.h"
#include "desk/audience/audience.h"
#include "desk/shield/shield.h"
#include "query/chosen.h"

enum {
    WAITING_BYTES = 4 << 20,
    PIECE_BYTES = 256 << 10,
    PATIENCE_MS = 30000,
    MASKED_BYTES = 16 << 20
};

struct exporting {
    struct app *app;
    struct arena arena;
    struct export_options options;
    uint64_t *customers;
    struct snapshot *snap;
    struct reply_stream *stream;
    const struct plan_form *form; /* NULL: as it is; else masked */
    struct buf masked;
    struct mask_event event; /* of the last cell: */
    enum event_type type;
    struct buf name;
};

static void release(struct exporting *e) {
    snapshot_close(e->snap);
    plan_drop(e->form);
    buf_release(&e->masked);
    buf_release(&e->name);
    k_free(e->customers);
    arena_release(&e->arena);
    outgoing_export_end(e->app->outgoing);
    k_free(e);
}

static int send_all(const struct exporting *e, struct str lines, struct keel_error *err) {
    while (lines.n) {
        struct str piece = {lines.p, lines.n < PIECE_BYTES ? lines.n : PIECE_BYTES};
        if (atomic_load(outgoing_stopping(e->app->outgoing)))
            FAIL(err, CANCELLED, "the server stops");
        int code = stream_wait(e->stream, piece.n, PATIENCE_MS);
        if (code == 0) code = stream_push(e->stream, piece);
        if (code < 0) return error_set(err, (enum keel_code) - code, "the client went away");
        lines = (struct str){lines.p + piece.n, lines.n - piece.n};
    }
    return 0;
}

static int send_lines(void *ctx, struct str lines, struct keel_error *err) {
    struct exporting *e = ctx;
    if (!e->form || e->options.cell) return send_all(e, lines, err);
    buf_clear(&e->masked);
    while (lines.n) {
        const char *end = memchr(lines.p, '\n', lines.n);
        struct str line = {lines.p, end ? (size_t)(end - lines.p) : lines.n};
        struct masked look = mask_look(line);
        (void)!mask_json(e->form, &look, line, &e->masked);
        (void)!buf_add_char(&e->masked, '\n');
        lines = (struct str){lines.p + line.n + (end != NULL), lines.n - line.n - (end != NULL)};
    }
    if (e->masked.failed) FAIL(err, LIMIT, "the masked events take too much memory");
    return send_all(e, buf_str(&e->masked), err);
}

static int mask_cell(void *ctx, const struct export_cell *cell, struct buf *out) {
    struct exporting *e = ctx;
    const struct event_head *head = cell->head;
    enum mask_kind kind = cell->type == VALUE_STRING                             ? MASK_TEXT
                          : cell->type == VALUE_JSON || cell->type == VALUE_LIST ? MASK_JSON
                                                                                 : MASK_NUMBER;
    const struct mask_event no_event = {0};
    if (!head) return mask_value(&no_event, false, STR(""), MASK_TEXT, cell->text, out);
    if (head->type != e->type || !str_eq(head->name, buf_str(&e->name)) || !e->name.n) {
        e->type = head->type;
        buf_clear(&e->name);
        (void)!buf_add_str(&e->name, head->name);
        mask_event_of(e->form, str_from(envelope_type_text(head->type)), head->name, &e->event);
    }
    struct str name = str_is(cell->name, SCHEMA_REST) ? STR("") : cell->name;
    return mask_value(&e->event, cell->scope == SCOPE_CONTEXT, name, kind, cell->text, out);
}

static void *run(void *arg) {
    struct exporting *e = arg;
    struct export_sums sums;
    struct keel_error err = {0};
    if (export_events(e->app->db, e->snap, &e->options, &sums, &err) < 0)
        log_say(e->app->log, LOG_WARNING, "an export was cut", "z", "error", err.message);
    stream_close(e->stream);
    release(e);
    return NULL;
}

static int read_time(struct request *r, const char *name, int64_t *out, struct keel_error *err) {
    struct str text;
    if (!request_param(r, name, &text)) return 0;
    if (!time_parse(text, NULL, out))
        FAIL(err, INVALID, "%s is no time; write 2024-01-31 or 2024-01-31T12:00:00Z", name);
    return 0;
}

/* Names with commas between them. */
static int read_events(struct exporting *e, struct str list, struct keel_error *err) {
    struct str *names = arena_alloc(&e->arena, EXPORT_MAX_EVENTS * sizeof *names);
    e->options.events = names;
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (e->options.n_events == EXPORT_MAX_EVENTS)
            FAIL(err, LIMIT, "more than %d names of events", EXPORT_MAX_EVENTS);
        struct str name = str_trim((struct str){list.p, n});
        if (name.n) names[e->options.n_events++] = str_dup(&e->arena, name);
        n += comma != NULL;
        list = (struct str){list.p + n, list.n - n};
    }
    return 0;
}

static int check_events(const struct exporting *e, struct keel_error *err) {
    for (uint32_t i = 0; i < e->options.n_events; i++)
        if (schema_find_event(store_schema(db_store(e->app->db)), e->options.events[i]) < 0)
            FAIL(err, NOT_FOUND, "no event \"%.*s\" has arrived", STR_ARG(e->options.events[i]));
    return 0;
}

/* All that can be wrong is said before the stream begins. */
static int prepare(struct request *r, struct exporting *e, struct keel_error *err) {
    struct str text;
    e->options = (struct export_options){
        .from_ms = INT64_MIN, .to_ms = INT64_MAX, .sink = send_lines, .ctx = e};
    if (request_param(r, "format", &text)) {
        if (!str_is(text, "ndjson") && !str_is(text, "csv"))
            FAIL(err, INVALID, "format is ndjson or csv");
        e->options.format = str_is(text, "csv") ? EXPORT_CSV : EXPORT_NDJSON;
    }
    TRY(request_flag(r, "raw", &e->options.raw, err));
    r->disclosed = actor_may(&r->actor, RIGHT_PERSONAL_READ);
    if (!r->disclosed) {
        e->form = plan_take(e->app->plan);
        if (e->options.format == EXPORT_CSV) e->options.cell = mask_cell;
    }
    TRY(read_time(r, "since", &e->options.from_ms, err));
    TRY(read_time(r, "before", &e->options.to_ms, err));
    if (request_param(r, "event", &text)) TRY(read_events(e, text, err));
    TRY(check_events(e, err));
    TRY(snapshot_open(db_store(e->app->db), &e->snap, err));
    if (!request_param(r, "customers", &text)) return 0;
    if (e->form) TRY(shield_admit_condition(e->form, text, err));
    struct audience_book book;
    audience_book_init(&book, e->app->desk);
    struct query_options now = {
        .at_ms = QUERY_AT_NOW, .segment = audience_book_find, .segment_ctx = &book};
    int code = customers_chosen(e->app->db, e->snap, text, &now, &e->customers,
                                &e->options.customer_count, NULL, err);
    audience_book_release(&book);
    e->options.customers = e->customers;
    return code;
}

static int start(struct request *r, struct exporting *e, struct keel_error *err) {
    TRY(prepare(r, e, err));
    bool csv = e->options.format == EXPORT_CSV;
    r->reply.content_type = csv ? "text/csv; charset=utf-8" : "application/x-ndjson";
    return request_document(r, WAITING_BYTES, run, e, &e->stream, err);
}

static int export_handler(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    TRY(outgoing_export_begin(app->outgoing, err));
    struct exporting *e = k_zalloc(sizeof *e);
    e->app = app;
    arena_init(&e->arena, 1 << 20);
    buf_init(&e->masked, MASKED_BYTES);
    buf_init(&e->name, EVENT_MAX_BYTES);
    int code = start(r, e, err);
    if (code < 0) release(e);
    return code;
}

const struct route routes_export_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/export",
     .handle = export_handler,
     .right = RIGHT_EXPORT,
     .flags = ROUTE_WORKER,
     .tag = "events",
     .summary = "Events as NDJSON that can be imported again, or as CSV",
     .params = "format string ndjson or csv; default ndjson\n"
               "raw string true: CSV with texts that look like formulas as they are\n"
               "event string names of events, with commas between them; default all\n"
               "since string only from this time on\n"
               "before string only before this time\n"
               "customers string only of customers who meet this condition"},
    {0},
};
