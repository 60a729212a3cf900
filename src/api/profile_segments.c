/* GET /api/v1/profiles/{id}/segments: which saved segments a customer is in now, and since when.
 *
 * Since when is what the newest change says that was told of him (reach/outbox.h). Whoever was
 * among a segment's first members, or came longer ago than changes are kept, was told of by none:
 * then `since` is the earliest moment that is certain, and `exact` is false. Who may not see
 * personal data is not told of segments whose condition he could not ask himself.
 *
 * Layers: app.h, server.h, desk/audience/audiences.h. Threads: workers. Limits: SEGMENTS_MOST. */
#include "api/access.h"
#include "api/app.h"
#include "api/member.h"
#include "api/routes.h"
#include "api/shielded.h"
#include "desk/audience/audience.h"
#include "desk/audience/audiences.h"
#include "desk/shield/shield.h"
#include "reach/outbox.h"

enum { SEGMENTS_MOST = 1000 };

struct membership {
    const struct app *app;
    const struct request *request;
    const struct plan_form *form;
    struct outbox_entry entries[SEGMENTS_MOST];
    int64_t told_from_ms;
    uint32_t n, written;
    struct buf *out;
};

static int add_segment(void *ctx, const struct audience_row *row) {
    struct membership *m = ctx;
    const struct outbox_entry *e = m->entries, *end = e + m->n;
    while (e < end && e->segment != row->id) e++;
    if (e == end) return 0;
    if (is_shielded(m->request) && shield_admit_condition(m->form, row->query, NULL) < 0) return 0;
    int64_t least = row->created_ms > m->told_from_ms ? row->created_ms : m->told_from_ms;
    (void)!buf_printf(m->out, "%s{\"id\":%lld,\"name\":", m->written++ ? "," : "",
                      (long long)row->id);
    (void)!buf_add_json_str(m->out, row->name);
    member_time(m->out, "since", e->at_ms ? e->at_ms : least);
    return buf_printf(m->out, ",\"exact\":%s}", e->at_ms ? "true" : "false");
}

static int list(struct membership *m, uint32_t customer, struct keel_error *err) {
    int64_t ids[SEGMENTS_MOST];
    m->n = audiences_of(m->app->audiences, customer, ids, SEGMENTS_MOST);
    for (uint32_t i = 0; i < m->n; i++) m->entries[i].segment = ids[i];
    TRY(outbox_entries(m->app->desk, customer, m->entries, m->n, &m->told_from_ms, err));
    (void)!buf_add_text(m->out, "{\"segments\":[");
    TRY(audience_list(m->app->desk, 0, add_segment, m, err));
    return buf_add_text(m->out, "]}\n");
}

static int segments(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    uint32_t customer = db_find_customer(app->db, r->parts[0]);
    if (customer == NUMBER_NONE) FAIL(err, NOT_FOUND, "there is no such customer");
    access_mark(app, r, "customer", r->parts[0]);
    struct membership *m = k_zalloc(sizeof *m);
    m->app = app;
    m->request = r;
    m->form = plan_take(app->plan);
    m->out = &r->reply.body;
    int code = list(m, customer, err);
    plan_drop(m->form);
    k_free(m);
    return code;
}

const struct route routes_profile_segments[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/profiles/{id}/segments",
     .handle = segments,
     .right = RIGHT_PROFILE_READ,
     .flags = ROUTE_WORKER,
     .tag = "customers",
     .summary = "The saved segments that a customer is in now, and since when",
     .answer = "{\"type\":\"object\",\"properties\":{\"segments\":{\"type\":\"array\",\"items\":{"
               "\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"},\"name\":{"
               "\"type\":\"string\"},\"since\":{\"type\":\"string\"},\"exact\":{\"type\":"
               "\"boolean\"}}}}}}"},
    {0},
};
