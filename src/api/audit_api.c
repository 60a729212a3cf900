/* /api/v1/audit: the audit log, newest first, and whether its chain holds.
 *
 * Layers: guard/audit.h. Threads: the workers'. Limits: PAGE_MOST records an answer. */
#include "api/app.h"
#include "api/routes.h"
#include "guard/audit.h"

enum { PAGE = 100, PAGE_MOST = 1000 };

struct listing {
    struct buf *out;
    uint32_t rows;
};

static int add_line(void *ctx, struct str line) {
    struct listing *l = ctx;
    if (l->rows++) (void)!buf_add_text(l->out, ",\n");
    return buf_add_str(l->out, line);
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct listing l = {.out = &r->reply.body};
    struct str text, customer = STR("");
    char mark[AUDIT_MARK_TEXT + 1];
    uint64_t limit = PAGE, cursor = 0, next = 0;
    if (request_param(r, "limit", &text) &&
        (!str_to_u64(text, &limit) || limit < 1 || limit > PAGE_MOST))
        FAIL(err, INVALID, "limit is a number from 1 to %d", PAGE_MOST);
    if (request_param(r, "cursor", &text) && (!str_to_u64(text, &cursor) || cursor == 0))
        FAIL(err, INVALID, "cursor is next_cursor of the answer before");
    if (request_param(r, "customer", &customer)) {
        audit_mark(app->audit, customer, mark);
        customer = str_from(mark);
    }
    (void)!buf_add_text(l.out, "{\"records\":[");
    TRY(audit_list(app->audit, cursor, (uint32_t)limit, customer, add_line, &l, &next, err));
    (void)!buf_add_char(l.out, ']');
    if (next) (void)!buf_printf(l.out, ",\"next_cursor\":\"%llu\"", (unsigned long long)next);
    return buf_add_text(l.out, "}\n");
}

static int verify(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    struct audit_verdict v;
    struct str head = STR("");
    (void)request_param(r, "head", &head);
    TRY(audit_verify(app->dir, head, &v, err));
    struct buf *out = &r->reply.body;
    (void)!buf_printf(out, "{\"intact\":%s,\"records\":%llu,\"head\":\"%s\"",
                      v.broken ? "false" : "true", (unsigned long long)v.records, v.head);
    if (head.n) (void)!buf_printf(out, ",\"head_found\":%s", v.head_found ? "true" : "false");
    if (v.broken) {
        (void)!buf_add_text(out, ",\"why\":");
        (void)!buf_add_json_str(out, str_from(v.why));
    }
    return buf_add_text(out, "}\n");
}

const struct route routes_audit_api[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/audit",
     .handle = list,
     .right = RIGHT_AUDIT_READ,
     .flags = ROUTE_WORKER,
     .tag = "audit",
     .summary = "Who did what, newest first",
     .params = "limit integer records of an answer; default 100\n"
               "cursor string next_cursor of the answer before\n"
               "customer string only what was about this one, as its profile was asked for",
     .answer = "{\"type\":\"object\",\"properties\":{\"records\":{\"type\":\"array\",\"items\":{"
               "\"type\":\"object\"}},\"next_cursor\":{\"type\":\"string\"}}}"},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/audit/verify",
     .handle = verify,
     .right = RIGHT_AUDIT_READ,
     .flags = ROUTE_WORKER,
     .tag = "audit",
     .summary = "Reads the whole log: does its chain hold?",
     .params = "head string a hash noted before: is it one of the chain?",
     .answer = "{\"type\":\"object\",\"properties\":{\"intact\":{\"type\":\"boolean\"},"
               "\"records\":{\"type\":\"integer\"},\"head\":{\"type\":\"string\"},"
               "\"head_found\":{\"type\":\"boolean\"},\"why\":{\"type\":\"string\"}}}"},
    {0},
};
