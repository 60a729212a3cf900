/* GET /api/v1/segments/{id}/export: all members of a segment, by their identifiers and with traits
 * that the caller chooses.
 *
 * Without traits they are those of now, as they are kept; with them the engine is asked. Who may
 * not see personal data gets no few members, no ids that look like addresses, and traits masked as
 * those of the live tail (collect/mask.h).
 *
 * Layers: segments_api.h, outgoing.h, desk/audience/member.h. Threads: the workers', an export one
 * of its own. Limits: OUTGOING_EXPORTS_MOST at a time; AUDIENCE_TRAITS_MOST traits. */
#include <roaring/roaring.h>
#include <stdatomic.h>

#include "api/collect/mask.h"
#include "api/config.h"
#include "api/log.h"
#include "api/outgoing.h"
#include "api/routes.h"
#include "api/segments_api.h"
#include "api/shielded.h"
#include "desk/audience/member.h"
#include "desk/plan/personal.h"

enum { WAITING_BYTES = 4 << 20, PIECE_BYTES = 256 << 10, PATIENCE_MS = 30000 };

struct exporting {
    struct app *app;
    struct audience_traits traits; /* values NULL: none were chosen */
    const struct plan_form *form;  /* NULL: values as they are      */
    struct mask_event plan;
    struct reply_stream *stream;
    enum audience_form written;
};

static void release(struct exporting *e) {
    audience_traits_release(&e->traits);
    plan_drop(e->form);
    outgoing_export_end(e->app->outgoing);
    k_free(e);
}

/* Ids are what an export is for; where a source sent addresses as ids, not everybody has it. */
static int check_ids(const struct exporting *e, struct keel_error *err) {
    roaring_uint32_iterator_t it;
    enum id_kind kind;
    roaring_init_iterator(e->traits.members, &it);
    for (; it.has_value; roaring_advance_uint32_iterator(&it))
        if (personal_by_shape(identity_id(db_identity(e->app->db), it.current_value, &kind)) !=
            PERSONAL_NOT)
            FAIL(err, FORBIDDEN, "ids that look like addresses or phone numbers need the right %s",
                 right_text(RIGHT_PERSONAL_READ));
    return 0;
}

/* To who may not see personal data: not of few, and no address. */
static int check_shielded(const struct request *r, const struct exporting *e,
                          struct keel_error *err) {
    if (!is_shielded(r)) return 0;
    if (roaring_bitmap_get_cardinality(e->traits.members) <
        (uint64_t)e->app->config->guard.customers)
        FAIL(err, FORBIDDEN, "so few members need the right %s", right_text(RIGHT_PERSONAL_READ));
    return check_ids(e, err);
}

static int send_piece(const struct exporting *e, struct buf *piece) {
    if (atomic_load(outgoing_stopping(e->app->outgoing))) return -KEEL_E_CANCELLED;
    TRY(stream_wait(e->stream, piece->n, PATIENCE_MS));
    TRY(stream_push(e->stream, buf_str(piece)));
    buf_clear(piece);
    return 0;
}

static int send_all(const struct exporting *e, struct buf *piece) {
    const struct audience_traits *traits = e->traits.values ? &e->traits : NULL;
    roaring_uint32_iterator_t it;
    uint64_t row = 0;
    audience_member_head(e->written, traits, piece);
    roaring_init_iterator(e->traits.members, &it);
    for (; it.has_value; roaring_advance_uint32_iterator(&it)) {
        audience_member_line(db_identity(e->app->db), it.current_value, e->written, traits, row++,
                             piece);
        if (piece->failed) return piece->failed;
        if (piece->n >= PIECE_BYTES) TRY(send_piece(e, piece));
    }
    return piece->n ? send_piece(e, piece) : 0;
}

static void *run_export(void *arg) {
    struct exporting *e = arg;
    struct buf piece;
    buf_init(&piece, WAITING_BYTES);
    if (send_all(e, &piece) < 0)
        log_say(e->app->log, LOG_WARNING, "an export of a segment was cut", "");
    buf_release(&piece);
    stream_close(e->stream);
    release(e);
    return NULL;
}

/* ---- traits ---- */

static const char *mask_trait(void *ctx, struct str trait, const struct datum *value) {
    const struct exporting *e = ctx;
    bool text = value->type == DATUM_STRING || value->type == DATUM_JSON;
    return mask_sign(&e->plan, false, trait, text ? MASK_TEXT : MASK_NUMBER,
                     text ? value->str : STR(""));
}

struct named {
    struct arena *arena;
    struct str name;
};

static int copy_name(void *ctx, const struct audience_row *row) {
    struct named *n = ctx;
    n->name = str_dup(n->arena, row->name);
    return 0;
}

static int ask_traits(struct request *r, struct exporting *e, int64_t id, struct str traits,
                      struct keel_error *err) {
    struct app *app = e->app;
    struct audience_book book;
    struct snapshot *snap;
    struct named segment = {.arena = &r->arena};
    struct query_options options = {.at_ms = QUERY_AT_NOW,
                                    .segment = audience_book_find,
                                    .segment_ctx = &book,
                                    .cancel = server_cutting(app->server)};
    TRY(audience_list(app->desk, id, copy_name, &segment, err));
    TRY(snapshot_open(db_store(app->db), &snap, err));
    audience_book_init(&book, app->desk);
    int code = audience_traits_ask(app->db, snap, segment.name, traits, &options, &e->traits, err);
    audience_book_release(&book);
    snapshot_close(snap);
    TRY(code);
    if (!is_shielded(r)) return 0;
    e->form = plan_take(app->plan);
    mask_event_of(e->form, STR("identify"), STR(""), &e->plan);
    e->traits.mask = mask_trait;
    e->traits.ctx = e;
    return 0;
}

static int start_export(struct request *r, struct exporting *e, struct keel_error *err) {
    struct str format = STR("ndjson"), traits;
    bool raw = false;
    int64_t id;
    (void)request_param(r, "format", &format);
    if (!str_is(format, "ndjson") && !str_is(format, "csv"))
        FAIL(err, INVALID, "format is ndjson or csv");
    TRY(request_flag(r, "raw", &raw, err));
    e->written = !str_is(format, "csv") ? AUDIENCE_NDJSON : raw ? AUDIENCE_CSV_RAW : AUDIENCE_CSV;
    TRY(segments_id(r, e->app, &id, err));
    if (request_param(r, "traits", &traits))
        TRY(ask_traits(r, e, id, traits, err));
    else
        TRY(audiences_members(e->app->audiences, id, &e->traits.members, err));
    TRY(check_shielded(r, e, err));
    r->disclosed = true;
    r->reply.content_type =
        e->written != AUDIENCE_NDJSON ? "text/csv; charset=utf-8" : "application/x-ndjson";
    return request_document(r, WAITING_BYTES, run_export, e, &e->stream, err);
}

static int export_members(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    TRY(outgoing_export_begin(app->outgoing, err));
    struct exporting *e = k_zalloc(sizeof *e);
    e->app = app;
    int code = start_export(r, e, err);
    if (code < 0) release(e);
    return code;
}

const struct route routes_segments_export[] = {
    {.methods = HTTP_GET,
     .pattern = "/api/v1/segments/{id}/export",
     .handle = export_members,
     .right = RIGHT_EXPORT,
     .flags = ROUTE_WORKER,
     .tag = "segments",
     .summary = "All its members, by their identifiers and with chosen traits",
     .params = "format string ndjson or csv; default ndjson\n"
               "raw string true: CSV with texts that look like formulas as they are\n"
               "traits string names of traits, with commas between them; default none"},
    {0},
};
