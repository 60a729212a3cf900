/* `keel quarantine`: events that broke the tracking plan: list, show, replay, discard.
 * Layers: api/collect/ledger.h, remote.h, options.h. Threads: those of what a replay opens. The
 * quarantine is in DIR/desk.db, so lists need no server; a replay goes through the server if there
 * is one. */
#include <stdio.h>

#include "api/app.h"
#include "api/collect/ledger.h"
#include "api/collect/mask.h"
#include "base/json.h"
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "cli/remote.h"

enum { FORMAT_TEXT, FORMAT_JSON, AT_ONCE = 10000, STATE_ALL = 3 };

struct args {
    const char *data, *source, *event, *reason;
    int64_t limit, after;
    int format, state;
    bool raw, all;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"source", OPTION_TEXT, offsetof(struct args, source), "NAME", "only of this source", NULL,
     false, 0, 0},
    {"event", OPTION_TEXT, offsetof(struct args, event), "NAME",
     "only events of this name, or of a type such as identify", NULL, false, 0, 0},
    {"reason", OPTION_TEXT, offsetof(struct args, reason), "CODE",
     "only with this first reason, such as wrong_type", NULL, false, 0, 0},
    {"state", OPTION_CHOICE, offsetof(struct args, state), "S",
     "list: open, replayed, discarded or all; default open", "open|replayed|discarded|all", false,
     0, 0},
    {"limit", OPTION_INTEGER, offsetof(struct args, limit), "N",
     "at most so many; default 100 of a list, all of a replay", NULL, false, 1, 1000000},
    {"after", OPTION_INTEGER, offsetof(struct args, after), "ID", "list: from behind this one",
     NULL, false, 0, INT64_MAX},
    {"raw", OPTION_FLAG, offsetof(struct args, raw), NULL,
     "show: the event as it came, not masked; list: csv with texts as they are (keel help query)",
     NULL, false, 0, 0},
    {"all", OPTION_FLAG, offsetof(struct args, all), NULL, "discard: everything, without a filter",
     NULL, false, 0, 0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "list: table, json or csv; default table", TABLE_STYLES, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_quarantine = {
    .name = "quarantine",
    .summary = "events that broke the tracking plan: list, show, replay, discard",
    .changes = "replay|discard",
    .operands = "list|show|replay|discard [ID]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "Events that break the plan, or cannot be stored, are kept with their reasons until\n"
        "somebody decides.\n"
        "\n"
        "list     shows them, oldest first\n"
        "show     shows one with its JSON, personal values masked\n"
        "replay   takes them in again by the plan of today, with the time they had arrived:\n"
        "         each is stored once; what still breaks the plan stays\n"
        "discard  gives up one, those of a filter, or --all\n",
    .examples = "  keel quarantine list --data data --reason wrong_type\n"
                "  keel quarantine show 17 --data data\n"
                "  keel quarantine replay --data data --event \"Order Completed\"\n"
                "  keel quarantine discard 17 --data data\n",
    .run = run,
};

/* ---- what all need ---- */

struct opened {
    struct quarantine *quarantine;
    struct sources *sources;
    struct plan *plan;
    struct sql *desk;
};

static int open_all(const struct args *args, struct opened *o, struct keel_error *err) {
    char path[4096];
    TRY(desk_open(args->data, &o->desk, err));
    snprintf(path, sizeof path, "%s/desk.db", args->data);
    TRY(plan_open(o->desk, &o->plan, err));
    TRY(sources_open(args->data, &o->sources, err));
    return quarantine_open(path, NULL, &o->quarantine, err);
}

static void close_all(struct opened *o) {
    quarantine_close(o->quarantine);
    sources_close(o->sources);
    plan_close(o->plan);
    sql_close(o->desk);
}

static int make_filter(const struct args *args, struct sources *sources, int64_t id,
                       struct quarantine_filter *f, struct keel_error *err) {
    *f = (struct quarantine_filter){.source = -1,
                                    .id = id,
                                    .name = str_from(args->event ? args->event : ""),
                                    .code = str_from(args->reason ? args->reason : ""),
                                    .state = args->state == STATE_ALL ? -1 : args->state,
                                    .after = args->after,
                                    .limit = (uint32_t)args->limit};
    if (!args->source) return 0;
    const struct event_source *s = sources_by_name(sources, str_from(args->source));
    if (!s) FAIL(err, NOT_FOUND, "there is no source \"%.100s\"", args->source);
    f->source = s->id;
    return 0;
}

/* Which ones, for the audit log. */
static int note(const struct args *args, int64_t id, struct act *noted, int result,
                struct keel_error *err) {
    const struct {
        const char *name, *value;
    } filters[] = {{"source", args->source}, {"event", args->event}, {"reason", args->reason}};
    struct buf what;
    buf_init(&what, 1 << 16);
    if (id) (void)!buf_printf(&what, "event %lld", (long long)id);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (filters[i].value)
            (void)!buf_printf(&what, "%s%s=%s", what.n ? " " : "", filters[i].name,
                              filters[i].value);
    if (!what.n) (void)!buf_add_text(&what, "all");
    int code = act_end(noted, buf_str(&what), result, err);
    buf_release(&what);
    return code;
}

/* ---- list, show ---- */

struct printing {
    struct opened *o;
    const struct args *args;
    struct table table;
    struct output *out;
    struct json_parser *parser;
    struct buf reasons, user;
    uint32_t rows;
};

/* The messages of the reasons, with semicolons between. */
static void say_reasons(struct printing *p, struct str reasons) {
    struct json_value root, v;
    struct str text;
    buf_clear(&p->reasons);
    if (json_parse(p->parser, reasons, &root, NULL) < 0) return;
    struct json_each each = json_each(root);
    while (json_next(&each, NULL, &v)) {
        if (!json_str(json_get(v, "message"), &text)) continue;
        if (p->reasons.n) (void)!buf_add_text(&p->reasons, "; ");
        (void)!buf_add_str(&p->reasons, text);
    }
}

static struct str source_name(const struct printing *p, int64_t id) {
    const struct event_source *s = sources_by_id(p->o->sources, id);
    return s ? s->name : STR("?");
}

static struct str unquoted(const struct buf *b) {
    return b->n >= 2 ? (struct str){(const char *)b->p + 1, b->n - 2} : STR("");
}

static int print_row(void *ctx, const struct quarantine_row *row) {
    struct printing *p = ctx;
    say_reasons(p, row->reasons);
    buf_clear(&p->user);
    (void)!mask_text(row->user, &p->user);
    const struct cell cells[] = {
        {.integer = row->id},
        {.time_ms = row->received_ms},
        {.text = source_name(p, row->source)},
        {.text = row->name},
        {.text = unquoted(&p->user)},
        {.text = str_from(QUARANTINE_STATE_NAMES[row->state])},
        {.text = buf_str(&p->reasons)},
    };
    table_row(&p->table, cells);
    return 0;
}

static int list(struct printing *p, const struct quarantine_filter *f, struct keel_error *err) {
    static const struct column columns[] = {{"id", CELL_INTEGER},    {"received", CELL_TIME},
                                            {"source", CELL_STRING}, {"event", CELL_STRING},
                                            {"user", CELL_STRING},   {"state", CELL_STRING},
                                            {"reasons", CELL_STRING}};
    const struct table_format format = {.style = table_style_of(p->args->format, p->args->raw)};
    TRY(table_start(&p->table, p->out, &format, columns, 7, err));
    int code = quarantine_list(p->o->quarantine, f, print_row, p, err);
    if (code == 0) return table_finish(&p->table, STR(""), err);
    table_discard(&p->table);
    return code;
}

static int print_one(void *ctx, const struct quarantine_row *row) {
    struct printing *p = ctx;
    char text[TIME_TEXT_MAX];
    struct str at = {text, time_format(NULL, row->received_ms, text)};
    struct str source = source_name(p, row->source);
    p->rows++;
    say_reasons(p, row->reasons);
    output_printf(p->out, "event %lld  %s\nreceived %.*s from %.*s\nreasons  %.*s\n",
                  (long long)row->id, QUARANTINE_STATE_NAMES[row->state], STR_ARG(at),
                  STR_ARG(source), STR_ARG(buf_str(&p->reasons)));
    if (row->json.n == 0) return 0;
    struct masked look = mask_look(row->json);
    struct buf json;
    buf_init(&json, EVENT_MAX_BYTES * 8);
    const struct plan_form *form = plan_take(p->o->plan);
    int code =
        p->args->raw ? buf_add_str(&json, row->json) : mask_json(form, &look, row->json, &json);
    plan_drop(form);
    output_str(p->out, buf_str(&json));
    output_char(p->out, '\n');
    buf_release(&json);
    return code;
}

static int show(struct printing *p, struct quarantine_filter *f, struct keel_error *err) {
    f->state = -1;
    TRY(quarantine_list(p->o->quarantine, f, print_one, p, err));
    if (p->rows == 0) FAIL(err, NOT_FOUND, "there is no quarantined event %lld", (long long)f->id);
    return 0;
}

static int discard(const struct printing *p, const struct quarantine_filter *f,
                   struct keel_error *err) {
    struct act noted;
    uint64_t n = 0;
    if (!f->id && f->source == -1 && !f->name.n && !f->code.n && !p->args->all)
        FAIL(err, INVALID,
             "quarantine discard: which? An ID, --source, --event, --reason, or --all");
    TRY(act_begin(&noted, p->args->data, "keel quarantine discard", err));
    TRY(note(p->args, f->id, &noted, quarantine_discard(p->o->quarantine, f, now_ms(), &n, err),
             err));
    output_printf(p->out, "%llu discarded\n", (unsigned long long)n);
    return 0;
}

static int look(const struct args *args, struct str verb, int64_t id, struct keel_error *err) {
    struct opened o = {NULL, NULL, NULL, NULL};
    struct quarantine_filter f;
    struct output out;
    struct printing *p = k_zalloc(sizeof *p);
    int code = open_all(args, &o, err);
    if (code == 0) code = make_filter(args, o.sources, id, &f, err);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        p->o = &o;
        p->args = args;
        p->out = &out;
        p->parser = json_parser_new(1 << 20);
        buf_init(&p->reasons, 1 << 20);
        buf_init(&p->user, 1 << 12);
        code = str_is(verb, "list")   ? list(p, &f, err)
               : str_is(verb, "show") ? show(p, &f, err)
                                      : discard(p, &f, err);
        json_parser_free(p->parser);
        buf_release(&p->reasons);
        buf_release(&p->user);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    close_all(&o);
    k_free(p);
    return code;
}

/* ---- replay ---- */

struct counts {
    int64_t accepted, duplicate, quarantined;
};

static void add_param(struct buf *path, const char *name, const char *value) {
    if (!value) return;
    (void)!buf_printf(path, "&%s=", name);
    remote_escape(path, str_from(value));
}

/* One request; *cursor: where to go on, 0 at the end. */
static int replay_some(struct remote *remote, const struct args *args, int64_t id, int64_t limit,
                       int64_t *cursor, struct counts *sums, struct keel_error *err) {
    struct json_parser *parser = json_parser_new(1 << 16);
    struct json_value root;
    struct buf path, reply;
    struct str next = STR("");
    int64_t n;
    buf_init(&path, 1 << 16);
    buf_init(&reply, 1 << 16);
    (void)!buf_printf(&path, "/api/v1/quarantine/replay?cursor=%lld&limit=%lld", (long long)*cursor,
                      (long long)limit);
    if (id) (void)!buf_printf(&path, "&id=%lld", (long long)id);
    add_param(&path, "source", args->source);
    add_param(&path, "event", args->event);
    add_param(&path, "reason", args->reason);
    (void)!buf_add_char(&path, 0);
    int code =
        remote_call(remote, "POST", (const char *)path.p, (struct str){NULL, 0}, &reply, err);
    if (code == 0) code = json_parse(parser, buf_str(&reply), &root, err);
    *cursor = 0;
    if (code == 0) {
        if (json_i64(json_get(root, "accepted"), &n)) sums->accepted += n;
        if (json_i64(json_get(root, "duplicate"), &n)) sums->duplicate += n;
        if (json_i64(json_get(root, "quarantined"), &n)) sums->quarantined += n;
        if (json_str(json_get(root, "next_cursor"), &next)) (void)str_to_i64(next, cursor);
    }
    buf_release(&path);
    buf_release(&reply);
    json_parser_free(parser);
    return code;
}

static int replay_remotely(const struct args *args, int64_t id, struct counts *sums,
                           struct keel_error *err) {
    struct remote *remote;
    int64_t cursor = 0, left = args->limit;
    TRY(remote_open(args->data, &remote, err));
    int code;
    do {
        int64_t limit = left < AT_ONCE ? left : AT_ONCE;
        code = replay_some(remote, args, id, limit, &cursor, sums, err);
        left -= limit;
    } while (code == 0 && cursor && left > 0);
    remote_close(remote);
    return code;
}

/* Without a server, which notes it itself: what a server would open, for as long as it takes. */
static int replay_here(struct app *app, const struct args *args, int64_t id, struct counts *sums,
                       struct keel_error *err) {
    const struct collect_options options = {0};
    struct quarantine_counts counts = {.last = 0};
    struct quarantine_filter f;
    struct ledger *ledger = NULL;
    struct act noted;
    TRY(sources_open(app->dir, &app->sources, err));
    int code = ledger_open(app, NULL, &ledger, err);
    if (code == 0) {
        struct collect_hooks hooks = ledger_hooks(ledger);
        code = collector_open(&options, app->sources, app->db, &hooks, &app->collector, err);
    }
    if (code == 0) code = make_filter(args, app->sources, id, &f, err);
    if (code == 0) code = act_begin(&noted, app->dir, "keel quarantine replay", err);
    if (code == 0) {
        code = ledger_replay(app, &f, now_ms(), &counts, err);
        code = note(args, id, &noted, code, err);
    }
    sums->accepted = (int64_t)counts.of[QUARANTINE_TAKEN];
    sums->duplicate = (int64_t)counts.of[QUARANTINE_DUPLICATE];
    sums->quarantined = (int64_t)counts.of[QUARANTINE_STILL];
    collector_close(app->collector);
    int saved = ledger_close(ledger, code < 0 ? NULL : err);
    sources_close(app->sources);
    return code < 0 ? code : saved;
}

static int replay(const struct args *args, int64_t id, struct keel_error *err) {
    struct app app = {.dir = args->data};
    struct db_options options = {.store = {.read_only = false}};
    struct counts sums = {0, 0, 0};
    struct output out;
    int code = db_open(args->data, &options, &app.db, err);
    if (code == -KEEL_E_BUSY) {
        TRY(replay_remotely(args, id, &sums, err));
    } else {
        if (code < 0) return code;
        code = desk_open(args->data, &app.desk, err);
        if (code == 0) code = replay_here(&app, args, id, &sums, err);
        sql_close(app.desk);
        int closed = db_close(app.db, code < 0 ? NULL : err);
        TRY(code < 0 ? code : closed);
    }
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "%lld stored, %lld were stored before, %lld are still against the plan\n",
                  (long long)sums.accepted, (long long)sums.duplicate, (long long)sums.quarantined);
    return output_close(&out, err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.limit = 0};
    struct operands words;
    int64_t id = 0;
    TRY(options_parse(&cmd_quarantine, argc, argv, &args, &words, err));
    struct str verb = str_from(words.word[0]);
    bool is_list = str_is(verb, "list"), is_replay = str_is(verb, "replay");
    if (!is_list && !is_replay && !str_is(verb, "show") && !str_is(verb, "discard"))
        FAIL(err, INVALID, "quarantine: \"%.40s\" is none of list, show, replay, discard",
             words.word[0]);
    if (words.n > 1 && (!str_to_i64(str_from(words.word[1]), &id) || id < 1))
        FAIL(err, INVALID, "quarantine %s: \"%.40s\" is no number of an event", words.word[0],
             words.word[1]);
    if (str_is(verb, "show") && id == 0)
        FAIL(err, INVALID, "quarantine show: which? keel quarantine show ID");
    if (args.limit == 0) args.limit = is_list ? 100 : QUARANTINE_MAX_EVENTS;
    return is_replay ? replay(&args, id, err) : look(&args, verb, id, err);
}
