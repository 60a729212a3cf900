/* Who is in a segment: members page by page, overlaps; and who would be (previews).
 *
 * Members are those of now, as they are kept. A preview asks the engine, and compares with what is
 * saved. Layers: segments_api.h. Threads: the workers'. Limits: PAGE_MOST, OVERLAP_MOST; a preview
 * shows SAMPLE_MOST customers. */
#include <roaring/roaring.h>

#include "api/config.h"
#include "api/routes.h"
#include "api/segments_api.h"
#include "api/shielded.h"
#include "base/os.h"
#include "desk/audience/member.h"
#include "query/exec.h"
#include "query/language/parse.h"

enum {
    PAGE = 100,
    PAGE_MOST = 10000,
    OVERLAP_MOST = 50,
    SAMPLE = 10,
    SAMPLE_MOST = 100,
    ARENA_BYTES = 2 * QUERY_ARENA_BYTES,
};

/* Up to `most` customers from `from` on, as objects in a list. Returns the one behind them, or -1.
 */
static int64_t list_customers(const struct app *app, const roaring_bitmap_t *members, uint32_t from,
                              uint32_t most, struct buf *out) {
    roaring_uint32_iterator_t it;
    uint32_t n = 0;
    roaring_init_iterator(members, &it);
    bool more = it.has_value && roaring_move_uint32_iterator_equalorlarger(&it, from);
    (void)!buf_add_char(out, '[');
    for (; more && n < most; more = roaring_advance_uint32_iterator(&it)) {
        (void)!buf_add_text(out, n++ ? ",{" : "{");
        audience_member_json(db_identity(app->db), it.current_value, out);
        (void)!buf_add_char(out, '}');
    }
    (void)!buf_add_char(out, ']');
    return more ? (int64_t)it.current_value : -1;
}

static int members(struct request *r, void *ctx, struct keel_error *err) {
    struct app *app = ctx;
    roaring_bitmap_t *set;
    int64_t id, limit = PAGE, cursor = 0;
    struct buf *out = &r->reply.body;
    TRY(segments_id(r, app, &id, err));
    TRY(request_number(r, "limit", 1, PAGE_MOST, &limit, err));
    TRY(request_number(r, "cursor", 0, UINT32_MAX, &cursor, err));
    TRY(audiences_members(app->audiences, id, &set, err));
    (void)!buf_printf(out, "{\"size\":%llu,\"members\":",
                      (unsigned long long)roaring_bitmap_get_cardinality(set));
    r->disclosed = true;
    int64_t next = list_customers(app, set, (uint32_t)cursor, (uint32_t)limit, out);
    roaring_bitmap_free(set);
    if (next >= 0) (void)!buf_printf(out, ",\"next_cursor\":\"%lld\"", (long long)next);
    (void)!buf_add_char(out, '}');
    return 0;
}

/* ---- overlap ---- */

struct overlap {
    struct app *app;
    const struct request *request;
    struct str ids; /* asked for; empty: the first ones */
    struct buf *out;
    uint32_t n;
    roaring_bitmap_t *sets[OVERLAP_MOST];
    struct keel_error *err;
};

static bool is_asked(const struct overlap *o, const struct audience_row *row) {
    struct str left = o->ids;
    int64_t id;
    if (!left.n) return o->n < OVERLAP_MOST;
    while (left.n) {
        const char *comma = memchr(left.p, ',', left.n);
        size_t n = comma ? (size_t)(comma - left.p) : left.n;
        if (str_to_i64(str_trim((struct str){left.p, n}), &id) && id == row->id) return true;
        n += comma != NULL;
        left = (struct str){left.p + n, left.n - n};
    }
    return false;
}

static int add_set(void *ctx, const struct audience_row *row) {
    struct overlap *o = ctx;
    if (!is_asked(o, row)) return 0;
    if (o->n == OVERLAP_MOST)
        FAIL(o->err, LIMIT, "more than %d segments: name fewer in ids", OVERLAP_MOST);
    int code = audiences_members(o->app->audiences, row->id, &o->sets[o->n], o->err);
    if (code == -KEEL_E_BUSY && !o->ids.n) return 0; /* the others are there */
    TRY(code);
    (void)!buf_printf(o->out, "%s{\"id\":%lld,\"name\":", o->n ? "," : "", (long long)row->id);
    (void)!buf_add_json_str(o->out, row->name);
    (void)!buf_add_text(o->out, ",\"size\":");
    shielded_number(o->app, o->request, roaring_bitmap_get_cardinality(o->sets[o->n]), o->out);
    (void)!buf_add_char(o->out, '}');
    o->n++;
    return o->out->failed;
}

/* Few, or all but few of one of the two: then nothing is said. */
static void put_shared(const struct overlap *o, uint32_t i, uint32_t k) {
    uint64_t shared = roaring_bitmap_and_cardinality(o->sets[i], o->sets[k]);
    if (shielded_close(o->app, o->request, roaring_bitmap_get_cardinality(o->sets[i]) - shared) ||
        shielded_close(o->app, o->request, roaring_bitmap_get_cardinality(o->sets[k]) - shared))
        (void)!buf_add_text(o->out, "null");
    else
        shielded_number(o->app, o->request, shared, o->out);
}

static void put_matrix(const struct overlap *o) {
    for (uint32_t i = 0; i < o->n; i++) {
        (void)!buf_add_text(o->out, i ? ",[" : "[");
        for (uint32_t k = 0; k < o->n; k++) {
            if (k) (void)!buf_add_char(o->out, ',');
            put_shared(o, i, k);
        }
        (void)!buf_add_char(o->out, ']');
    }
}

static int overlap(struct request *r, void *ctx, struct keel_error *err) {
    struct overlap o = {
        .app = ctx, .request = r, .ids = STR(""), .out = &r->reply.body, .err = err};
    (void)request_param(r, "ids", &o.ids);
    (void)!buf_add_text(o.out, "{\"segments\":[");
    int code = audience_list(o.app->desk, 0, add_set, &o, err);
    (void)!buf_add_text(o.out, "],\"overlap\":[");
    if (code == 0) put_matrix(&o);
    (void)!buf_add_text(o.out, "]}");
    for (uint32_t i = 0; i < o.n; i++) roaring_bitmap_free(o.sets[i]);
    return code;
}

/* ---- preview ---- */

struct preview {
    struct app *app;
    const struct request *request;
    struct audience_book book;
    struct arena arena;
    struct str query, canonical;
    const struct query_cond *where;
    int64_t at_ms;   /* QUERY_AT_NOW, or as asked */
    int64_t against; /* 0: nothing                */
    int64_t version;
    struct str saved; /* condition of `against` */
    uint32_t sample;
};

static int copy_saved(void *ctx, const struct audience_row *row) {
    struct preview *p = ctx;
    p->version = row->version;
    p->saved = str_dup(&p->arena, row->query);
    return 0;
}

static int read_preview(struct request *r, struct json_value body, struct preview *p,
                        struct keel_error *err) {
    struct str at = STR("");
    struct json_value v = json_get(body, "id");
    int64_t sample = SAMPLE;
    if (json_type(body) != JSON_OBJECT)
        FAIL(err, INVALID, "the body is %s, not an object", json_type_text(json_type(body)));
    TRY(segments_query(r, body, &p->query, err));
    if (!p->query.p) FAIL(err, INVALID, "\"query\" is missing: the condition to look at");
    TRY(segments_text(body, "at", &at, err));
    if (at.n && !time_parse(at, db_zone(p->app->db), &p->at_ms))
        FAIL(err, INVALID, "at is no time; write 2011-12-10 or 2011-12-10T12:50");
    if (json_type(v) != JSON_ABSENT && !json_i64(v, &p->against))
        FAIL(err, INVALID, "\"id\" is the number of the segment to compare with");
    v = json_get(body, "sample");
    if (json_type(v) != JSON_ABSENT &&
        (!json_i64(v, &sample) || sample < 0 || sample > SAMPLE_MOST))
        FAIL(err, INVALID, "\"sample\" is a number from 0 to %d", SAMPLE_MOST);
    p->sample = (uint32_t)sample;
    p->request = r;
    if (is_shielded(r)) p->sample = 0; /* numbers only */
    r->disclosed |= p->sample > 0;
    TRY(audience_read(p->query, &p->arena, &p->where, &p->canonical, err));
    TRY(shielded_condition(p->app, r, p->query, err));
    if (p->against) TRY(audience_list(p->app->desk, p->against, copy_saved, p, err));
    return 0;
}

/* Who meets the condition; *out_result: what it cost, or NULL: nobody asks. */
static int ask(const struct preview *p, const struct snapshot *snap, const struct query_cond *where,
               roaring_bitmap_t **out, struct result **out_result, struct keel_error *err) {
    struct query q = {.form = QUERY_COUNT, .where = (struct query_cond *)(uintptr_t)where};
    struct result *result;
    struct query_options options = {.at_ms = p->at_ms,
                                    .segment = audience_book_find,
                                    .segment_ctx = (void *)(uintptr_t)&p->book,
                                    .cancel = server_cutting(p->app->server)};
    options.members = k_try_zalloc((snap->redirects.numbers / 64 + 1) * sizeof *options.members);
    if (!options.members) FAIL(err, NO_MEMORY, "too little memory for a preview");
    int code = query_run(p->app->db, snap, &q, &options, &result, err);
    if (code >= 0) {
        *out = audience_member_set(options.members, snap->redirects.numbers);
        if (out_result)
            *out_result = result;
        else
            result_free(result);
    }
    k_free(options.members);
    return code;
}

static void put_difference(const struct preview *p, const char *name, const roaring_bitmap_t *a,
                           const roaring_bitmap_t *b, struct buf *out) {
    roaring_bitmap_t *only = roaring_bitmap_andnot(a, b);
    (void)!buf_printf(out, ",\"%s\":", name);
    shielded_number(p->app, p->request, roaring_bitmap_get_cardinality(only), out);
    (void)!buf_printf(out, ",\"sample_%s\":", name);
    (void)list_customers(p->app, only, 0, p->sample, out);
    roaring_bitmap_free(only);
}

/* Against the members of now, or those of the saved condition at the moment asked for. */
static int compare(struct preview *p, const struct snapshot *snap, const roaring_bitmap_t *set,
                   struct buf *out, struct keel_error *err) {
    roaring_bitmap_t *saved;
    const struct query_cond *where;
    struct str text;
    int code = -KEEL_E_BUSY;
    if (p->at_ms == QUERY_AT_NOW)
        code = audiences_members(p->app->audiences, p->against, &saved, NULL);
    if (code == -KEEL_E_BUSY) {
        code = audience_read(p->saved, &p->arena, &where, &text, err);
        if (code >= 0) code = ask(p, snap, where, &saved, NULL, err);
    }
    TRY(code);
    if (shielded_close(p->app, p->request, roaring_bitmap_xor_cardinality(set, saved))) {
        roaring_bitmap_free(saved);
        FAIL(err, FORBIDDEN,
             "it differs from the saved segment by so few customers that they would be shown; that "
             "needs the right %s",
             right_text(RIGHT_PERSONAL_READ));
    }
    (void)!buf_printf(out,
                      ",\"against\":{\"id\":%lld,\"version\":%lld,\"size\":", (long long)p->against,
                      (long long)p->version);
    shielded_number(p->app, p->request, roaring_bitmap_get_cardinality(saved), out);
    (void)!buf_add_text(out, ",\"stay\":");
    shielded_number(p->app, p->request, roaring_bitmap_and_cardinality(set, saved), out);
    put_difference(p, "enter", set, saved, out);
    put_difference(p, "leave", saved, set, out);
    (void)!buf_add_char(out, '}');
    roaring_bitmap_free(saved);
    return 0;
}

static void put_cost(const struct result *result, struct buf *out) {
    const struct query_cost *c = &result->cost;
    (void)!buf_add_text(out, ",\"notes\":[");
    for (uint32_t i = 0; i < result->n_notes; i++) {
        if (i) (void)!buf_add_char(out, ',');
        (void)!buf_add_json_str(out, result->notes[i]);
    }
    (void)!buf_printf(out,
                      "],\"cost\":{\"rows\":%llu,\"blocks\":%llu,\"bytes\":%llu,\"ms\":%.3f,"
                      "\"cpu_ms\":%.3f}",
                      (unsigned long long)c->rows, (unsigned long long)c->blocks,
                      (unsigned long long)c->bytes, c->ms, c->cpu_ms);
}

/* How many customers there are. */
static uint32_t everybody(const struct redirect_view *redirects) {
    enum { AT_ONCE = 1 << 12 };
    uint64_t bits[AT_ONCE / 64];
    uint32_t n = 0;
    for (uint32_t first = 0; first < redirects->numbers; first += AT_ONCE) {
        uint32_t left = redirects->numbers - first, count = left < AT_ONCE ? left : AT_ONCE;
        redirect_roots(redirects, first, count, bits);
        for (uint32_t i = 0; i * 64 < count; i++) n += (uint32_t)__builtin_popcountll(bits[i]);
    }
    return n;
}

static int answer(struct preview *p, const struct snapshot *snap, struct buf *out,
                  struct keel_error *err) {
    roaring_bitmap_t *set;
    struct result *result;
    TRY(ask(p, snap, p->where, &set, &result, err));
    (void)!buf_add_char(out, '{');
    int code = segments_condition_json(p->canonical, out, err);
    (void)!buf_add_text(out, ",\"size\":");
    shielded_number(p->app, p->request, roaring_bitmap_get_cardinality(set), out);
    (void)!buf_printf(out, ",\"customers\":%u,\"sample\":", everybody(&snap->redirects));
    (void)list_customers(p->app, set, 0, p->sample, out);
    put_cost(result, out);
    if (code == 0 && p->against) code = compare(p, snap, set, out, err);
    (void)!buf_add_char(out, '}');
    result_free(result);
    roaring_bitmap_free(set);
    return code;
}

static int preview_from(struct request *r, struct preview *p, struct json_parser *parser,
                        struct keel_error *err) {
    struct json_value body;
    struct snapshot *snap;
    TRY(json_parse(parser, r->body, &body, err));
    TRY(read_preview(r, body, p, err));
    TRY(audience_book_check(&p->book, STR(""), p->where, err));
    TRY(snapshot_open(db_store(p->app->db), &snap, err));
    int code = answer(p, snap, &r->reply.body, err);
    snapshot_close(snap);
    return code;
}

static int preview(struct request *r, void *ctx, struct keel_error *err) {
    struct preview p = {.app = ctx, .at_ms = QUERY_AT_NOW};
    struct json_parser *parser = json_parser_new(SEGMENTS_BODY_MAX);
    audience_book_init(&p.book, p.app->desk);
    arena_init(&p.arena, 2 * (size_t)ARENA_BYTES);
    int code = preview_from(r, &p, parser, err);
    arena_release(&p.arena);
    audience_book_release(&p.book);
    json_parser_free(parser);
    return code;
}

#define ROUTE(method, path, handler, with_right, what, in, with, out)                              \
    {                                                                                              \
        .methods = method, .pattern = "/api/v1/segments" path, .handle = handler,                  \
        .right = with_right, .flags = ROUTE_WORKER | ROUTE_READS, .tag = "segments",               \
        .summary = what, .body = in, .params = with, .answer = out,                                \
        .max_body_bytes = SEGMENTS_BODY_MAX                                                        \
    }

const struct route routes_segments_members[] = {
    ROUTE(HTTP_GET, "/{id}/members", members, RIGHT_PERSONAL_READ, "Its members of now", NULL,
          "limit integer how many; default 100\ncursor string next_cursor of the answer before",
          "{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\"},\"members\":"
          "{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"next_cursor\":{\"type\":"
          "\"string\"}}}"),
    ROUTE(HTTP_GET, "/overlap", overlap, RIGHT_QUERY, "How many customers segments share", NULL,
          "ids string numbers of segments, with commas between them; default the first 50",
          "{\"type\":\"object\",\"properties\":{\"segments\":{\"type\":\"array\"},\"overlap\":"
          "{\"type\":\"array\",\"items\":{\"type\":\"array\"}}}}"),
    ROUTE(HTTP_POST, "/preview", preview, RIGHT_QUERY,
          "Who would be in a segment, and what a change would do",
          "{\"type\":\"object\",\"required\":[\"query\"],\"properties\":{\"query\":{\"type\":"
          "[\"string\",\"object\"]},\"id\":{\"type\":\"integer\",\"description\":\"compare with "
          "this segment\"},\"at\":{\"type\":\"string\"},\"sample\":{\"type\":\"integer\"}}}",
          NULL,
          "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},\"hash\":"
          "{\"type\":\"string\"},\"json\":{\"type\":\"object\"},\"size\":{\"type\":\"integer\"},"
          "\"customers\":{\"type\":\"integer\"},\"sample\":{\"type\":\"array\"},\"notes\":"
          "{\"type\":\"array\"},\"cost\":{\"type\":\"object\"},\"against\":{\"type\":"
          "\"object\"}}}"),
    {0},
};
