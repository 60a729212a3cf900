/* /api/v1/questions: saved questions. docs/http.md.
 *
 * Layers: desk/saved/question.h, body.h, server.h. Threads: the workers'. Limits: BODY_OBJECT_MAX,
 * PAGE_MOST questions an answer. */
#include "api/access.h"
#include "api/body.h"
#include "api/routes.h"
#include "api/shielded.h"
#include "base/os.h"
#include "desk/saved/question.h"
#include "query/ask.h"

enum { PAGE = 100, PAGE_MOST = 1000 };

struct listing {
    struct buf *out;
    int64_t most, rows, last;
    bool more;
};

static int add_row(void *ctx, const struct question_row *row) {
    struct listing *l = ctx;
    if (l->rows == l->most) {
        l->more = true;
        return 0;
    }
    if (l->rows++) (void)!buf_add_char(l->out, ',');
    question_json(row, l->out);
    l->last = row->id;
    return l->out->failed;
}

static int list(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    struct listing l = {.out = &r->reply.body, .most = PAGE};
    int64_t after = 0;
    TRY(request_number(r, "limit", 1, PAGE_MOST, &l.most, err));
    TRY(request_number(r, "cursor", 1, INT64_MAX, &after, err));
    (void)!buf_add_text(l.out, "{\"questions\":[");
    TRY(question_list(app->desk, after, l.most + 1, add_row, &l, err)); /* one more: is there? */
    (void)!buf_add_char(l.out, ']');
    if (l.more) (void)!buf_printf(l.out, ",\"next_cursor\":\"%lld\"", (long long)l.last);
    return buf_add_text(l.out, "}\n");
}

static int show(struct request *r, const struct app *app, int64_t id, struct keel_error *err) {
    struct listing l = {.out = &r->reply.body, .most = 1};
    r->object = str_from(arena_printf(&r->arena, "question %lld", (long long)id));
    return question_get(app->desk, id, add_row, &l, err);
}

static int get(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t id;
    TRY(question_find(app->desk, r->parts[0], &id, err));
    return show(r, app, id, err);
}

static int read_members(struct request *r, const struct app *app, const struct body *b,
                        struct question_spec *spec, struct keel_error *err) {
    struct str text = {NULL, 0};
    struct query *q;
    TRY(body_text(b, "name", &spec->name, err));
    TRY(body_text(b, "query", &text, err));
    TRY(body_text(b, "description", &spec->description, err));
    TRY(body_text(b, "owner", &spec->owner, err));
    TRY(body_text(b, "side", &spec->side, err));
    if (!text.p) return 0;
    TRY(ask_read(str_dup(&r->arena, text), &r->arena, &q, err));
    spec->query = q;
    return shielded_question(app, r, q, err); /* what one may not ask, one may not save */
}

/* Of the request: a new one if *id is 0. */
static int save(struct request *r, const struct app *app, int64_t *id, struct keel_error *err) {
    struct question_spec spec = {.who = access_who(r)};
    struct body body;
    TRY(request_number(r, "version", 1, INT64_MAX, &spec.if_version, err));
    int code = body_open(r, "name query description owner side", &body, err);
    if (code == 0) code = read_members(r, app, &body, &spec, err);
    if (code == 0)
        code = *id ? question_change(app->desk, *id, &spec, now_ms(), err)
                   : question_add(app->desk, &spec, now_ms(), id, err);
    body_close(&body);
    return code;
}

static int add(struct request *r, void *ctx, struct keel_error *err) {
    int64_t id = 0;
    TRY(save(r, ctx, &id, err));
    r->reply.status = 201;
    return show(r, ctx, id, err);
}

static int change(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t id;
    TRY(question_find(app->desk, r->parts[0], &id, err));
    TRY(save(r, app, &id, err));
    return show(r, app, id, err);
}

static int take_away(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    int64_t id;
    TRY(question_find(app->desk, r->parts[0], &id, err));
    TRY(question_remove(app->desk, id, err));
    r->object = str_from(arena_printf(&r->arena, "question %lld", (long long)id));
    r->reply.status = 204;
    return 0;
}

#define TEXT "{\"type\":\"string\"}"
#define QUESTION_MEMBERS                                                                           \
    "\"name\":" TEXT ",\"description\":" TEXT ",\"owner\":" TEXT                                   \
    ",\"side\":{\"enum\":[\"marketing\",\"it\",\"neither\"]},\"query\":" TEXT
#define QUESTION_SPEC "{\"type\":\"object\",\"properties\":{" QUESTION_MEMBERS "}}"
#define QUESTION                                                                                   \
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"integer\"}," QUESTION_MEMBERS         \
    ",\"version\":{\"type\":\"integer\"},\"created_at\":" TEXT ",\"changed_at\":" TEXT             \
    ",\"changed_by\":" TEXT "}}"
#define ROUTE(method, path, handler, with_right, what, in, with, out)                              \
    {                                                                                              \
        .methods = method, .pattern = "/api/v1/questions" path, .handle = handler,                 \
        .right = with_right, .flags = ROUTE_WORKER, .tag = "questions", .summary = what,           \
        .body = in, .params = with, .answer = out, .max_body_bytes = BODY_OBJECT_MAX               \
    }

const struct route routes_question_api[] = {
    ROUTE(HTTP_GET, "", list, RIGHT_QUERY, "Saved questions", NULL,
          "limit integer how many; default 100, at most 1000\n"
          "cursor string next_cursor of the answer before",
          "{\"type\":\"object\",\"properties\":{\"questions\":{\"type\":\"array\","
          "\"items\":" QUESTION "},\"next_cursor\":" TEXT "}}"),
    ROUTE(HTTP_POST, "", add, RIGHT_QUESTION_WRITE, "Saves a question", QUESTION_SPEC, NULL,
          QUESTION),
    ROUTE(HTTP_GET, "/{id}", get, RIGHT_QUERY, "One saved question; {id} is its number or its name",
          NULL, NULL, QUESTION),
    ROUTE(HTTP_PUT, "/{id}", change, RIGHT_QUESTION_WRITE, "Changes it; what is left out stays",
          QUESTION_SPEC,
          "version integer the version that is changed: 409 if it is no longer the newest",
          QUESTION),
    ROUTE(HTTP_DELETE, "/{id}", take_away, RIGHT_QUESTION_WRITE, "Deletes it", NULL, NULL, NULL),
    {0},
};
