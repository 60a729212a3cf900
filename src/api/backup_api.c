/* /api/v1/backups: a backup of the running server.
 *
 * POST begins one and answers 202 at once; GET says how far it is, or how it ended. Both only
 * through DIR/keel.sock: the folder is one of this machine, and its owner chooses it.
 *
 * Layers: outgoing.h, server.h. Threads: the workers'. Limits: BODY_MAX of a body. */
#include "api/app.h"
#include "api/outgoing.h"
#include "api/routes.h"
#include "base/json.h"
#include "customer/backup.h"

enum { BODY_MAX = 16 << 10 };

static int only_local(const struct request *r, struct keel_error *err) {
    if (!r->local)
        FAIL(err, FORBIDDEN, "backups are made through DIR/keel.sock only: keel backup --data DIR");
    return 0;
}

static int begin_from(struct request *r, struct app *app, struct json_parser *parser,
                      struct keel_error *err) {
    struct json_value body;
    struct str to = {"", 0};
    int64_t keep = 0, journal = BACKUP_JOURNAL_BYTES;
    bool full = false;
    TRY(json_parse(parser, r->body, &body, err));
    if (!json_str(json_get(body, "to"), &to) || !to.n || to.p[0] != '/' || memchr(to.p, 0, to.n))
        FAIL(err, INVALID, "\"to\" is the full path of the folder of backups");
    (void)json_bool(json_get(body, "full"), &full);
    (void)json_i64(json_get(body, "keep"), &keep);
    if (keep < 0 || keep > INT32_MAX) FAIL(err, INVALID, "\"keep\" is a number of generations");
    (void)json_i64(json_get(body, "journal_bytes"), &journal);
    if (journal < 0) FAIL(err, INVALID, "\"journal_bytes\" is a number of bytes");
    const struct backup_options wish = {
        .keep = (uint32_t)keep, .journal_bytes = (uint64_t)journal, .full = full};
    TRY(outgoing_backup(app->outgoing, to, &wish, err));
    r->reply.status = 202;
    outgoing_backup_json(app->outgoing, &r->reply.body);
    return 0;
}

static int begin(struct request *r, void *ctx, struct keel_error *err) {
    TRY(only_local(r, err));
    struct json_parser *parser = json_parser_new(BODY_MAX);
    int code = begin_from(r, ctx, parser, err);
    json_parser_free(parser);
    return code;
}

static int show(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    TRY(only_local(r, err));
    outgoing_backup_json(app->outgoing, &r->reply.body);
    return 0;
}

#define BACKUP_SCHEMA                                                                              \
    "{\"type\":\"object\",\"properties\":{\"state\":{\"enum\":[\"none\",\"running\",\"done\","     \
    "\"failed\"]},\"files\":{\"type\":\"integer\"},\"bytes\":{\"type\":\"integer\"},"              \
    "\"copied_bytes\":{\"type\":\"integer\"},\"generation\":{\"type\":\"integer\"},"               \
    "\"error\":{\"type\":\"string\"}}}"

const struct route routes_backup_api[] = {
    {.methods = HTTP_POST,
     .pattern = "/api/v1/backups",
     .handle = begin,
     .right = RIGHT_BACKUP,
     .flags = ROUTE_WORKER,
     .tag = "backups",
     .summary = "Begins a backup into a folder of this machine",
     .body = "{\"type\":\"object\",\"required\":[\"to\"],\"properties\":{"
             "\"to\":{\"type\":\"string\"},\"keep\":{\"type\":\"integer\"},"
             "\"journal_bytes\":{\"type\":\"integer\"},"
             "\"full\":{\"type\":\"boolean\"}}}",
     .answer = BACKUP_SCHEMA},
    {.methods = HTTP_GET,
     .pattern = "/api/v1/backups",
     .handle = show,
     .right = RIGHT_BACKUP,
     .flags = ROUTE_WORKER,
     .tag = "backups",
     .summary = "How far the backup is, or how the last one ended",
     .answer = BACKUP_SCHEMA},
    {0},
};
