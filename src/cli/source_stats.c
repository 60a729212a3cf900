/* Implementation of source_stats.h: the same JSON from the server or from desk.db, as a table. */
#include "cli/source_stats.h"

#include <stdio.h>

#include "api/collect/fate.h"
#include "base/json.h"
#include "base/os.h"
#include "base/time.h"
#include "cli/remote.h"

enum { REPLY_BYTES = 8 << 20 };

struct stats {
    struct fate *fate;     /* without a server */
    struct remote *remote; /* with one         */
    const char *name;
    int64_t from_ms, to_ms;
    struct table table;
    struct json_parser *parser;
    struct keel_error *err;
};

static int ask(struct stats *s, const struct event_source *source, struct buf *reply) {
    if (!s->remote) {
        const struct fate_ask ask = {
            .source = source->id, .from_ms = s->from_ms, .to_ms = s->to_ms};
        return fate_json(s->fate, &ask, reply, s->err);
    }
    char from[TIME_TEXT_MAX], path[200];
    struct str at = {from, time_format(NULL, s->from_ms, from)};
    snprintf(path, sizeof path, "/api/v1/sources/%lld/fate?from=%.*s", (long long)source->id,
             STR_ARG(at));
    return remote_call(s->remote, "GET", path, (struct str){NULL, 0}, reply, s->err);
}

static int print_source(void *ctx, const struct source_row *row) {
    static const char *const members[] = {"received", "accepted", "duplicate",  "quarantined",
                                          "refused",  "repaired", "turned_away"};
    enum { MEMBERS = sizeof members / sizeof *members };
    struct stats *s = ctx;
    struct json_value root = {NULL, 0}, total;
    struct cell cells[MEMBERS + 1] = {{.text = row->source.name}};
    struct buf reply;
    if (s->name && !str_is(row->source.name, s->name)) return 0;
    buf_init(&reply, REPLY_BYTES);
    int code = ask(s, &row->source, &reply);
    if (code == 0) code = json_parse(s->parser, buf_str(&reply), &root, s->err);
    buf_release(&reply);
    if (code < 0) return code;
    total = json_get(root, "total");
    for (int i = 0; i < MEMBERS; i++)
        cells[i + 1].is_null = !json_i64(json_get(total, members[i]), &cells[i + 1].integer);
    table_row(&s->table, cells);
    return 0;
}

int source_stats(const char *dir, struct sql *desk, const char *name, int64_t hours,
                 enum table_style style, struct output *out, struct keel_error *err) {
    static const struct column columns[] = {
        {"source", CELL_STRING},     {"received", CELL_INTEGER},    {"accepted", CELL_INTEGER},
        {"duplicate", CELL_INTEGER}, {"quarantined", CELL_INTEGER}, {"refused", CELL_INTEGER},
        {"repaired", CELL_INTEGER},  {"turned_away", CELL_INTEGER}};
    struct stats s = {.name = name, .err = err, .to_ms = now_ms() + 1};
    s.from_ms = (s.to_ms / MS_PER_HOUR - hours + 1) * MS_PER_HOUR;
    if (remote_open(dir, &s.remote, NULL) < 0) {
        s.remote = NULL;
        TRY(fate_open(desk, NULL, &s.fate, err));
    }
    s.parser = json_parser_new(REPLY_BYTES);
    int code = table_start(&s.table, out, &(struct table_format){.style = style}, columns,
                           sizeof columns / sizeof *columns, err);
    if (code == 0) {
        code = source_list(desk, s.to_ms, print_source, &s, err);
        if (code == 0)
            code = table_finish(&s.table, STR(""), err);
        else
            table_discard(&s.table);
    }
    if (code == 0 && name && s.table.rows == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no source \"%.100s\"", name);
    json_parser_free(s.parser);
    remote_close(s.remote);
    int closed = fate_close(s.fate, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
