/* `keel source`: who may send events, and with which write keys.
 * Layers: source.h, acts.h, options.h. Threads: none. A running server sees what is changed here
 * within a second: both use DIR/desk.db. */
#include "api/collect/source.h"
#include "base/os.h"
#include "base/output.h"
#include "base/table.h"
#include "cli/acts.h"
#include "cli/desk.h"
#include "cli/options.h"
#include "cli/source_stats.h"

enum { FORMAT_TEXT, FORMAT_JSON };

struct args {
    const char *data, *key, *origins;
    int64_t rate, burst, grace_ms, hours;
    int ip, format;
    bool strict, archive;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"key", OPTION_TEXT, offsetof(struct args, key), "KEY",
     "add: a write key that the SDKs have already; default a new one", NULL, false, 0, 0},
    {"origins", OPTION_TEXT, offsetof(struct args, origins), "LIST",
     "add: pages that may send, as \"https://shop.example https://*.shop.example\"; default any",
     NULL, false, 0, 0},
    {"rate", OPTION_INTEGER, offsetof(struct args, rate), "N",
     "add: events a second; default no limit", NULL, false, 0, SOURCE_MAX_RATE},
    {"burst", OPTION_INTEGER, offsetof(struct args, burst), "N",
     "add: events at once beyond the rate; default the rate", NULL, false, 0, SOURCE_MAX_RATE},
    {"ip", OPTION_CHOICE, offsetof(struct args, ip), "POLICY",
     "add: keep addresses, truncate them, or drop them; default keep", "keep|truncate|drop", false,
     0, 0},
    {"strict", OPTION_FLAG, offsetof(struct args, strict), NULL,
     "add: refuse a request with any event that is wrong", NULL, false, 0, 0},
    {"archive", OPTION_FLAG, offsetof(struct args, archive), NULL,
     "add: keep the JSON of accepted events", NULL, false, 0, 0},
    {"grace", OPTION_DURATION, offsetof(struct args, grace_ms), "D",
     "rotate: how long the old key still works; default 30d", NULL, false, 0, 0},
    {"hours", OPTION_INTEGER, offsetof(struct args, hours), "N",
     "stats: of so many hours, the current one included; default 168", NULL, false, 1, 9600},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "text or json; default text",
     "text|json", false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_source = {
    .name = "source",
    .summary = "who may send events: write keys, origins, rates",
    .changes = "add|rotate|disable|enable",
    .operands = "add|list|stats|rotate|disable|enable [NAME]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "A source is a website, an app or a server that sends events; its write key goes\n"
        "into the SDK's configuration. A running server takes a change within a second.\n"
        "\n"
        "add      makes a source and prints its write key\n"
        "list     shows all sources with their keys\n"
        "stats    what became of each source's events: accepted, duplicate, quarantined …\n"
        "rotate   gives a new key; the old one works on until its grace ends\n"
        "disable  refuses what the source sends; enable takes it again\n",
    .examples = "  keel source add web --data data --origins https://shop.example\n"
                "  keel source list --data data --format json\n"
                "  keel source stats --data data --hours 24\n"
                "  keel source rotate web --data data --grace 7d\n",
    .run = run,
};

struct printing {
    struct output *out;
    struct table *table; /* FORMAT_TEXT */
    struct buf line;
    uint64_t rows;
};

static const struct column COLUMNS[] = {{"name", CELL_STRING},    {"write_key", CELL_STRING},
                                        {"state", CELL_STRING},   {"rate", CELL_INTEGER},
                                        {"ip", CELL_STRING},      {"strict", CELL_BOOL},
                                        {"origins", CELL_STRING}, {"old_keys", CELL_INTEGER}};
enum { COLUMN_COUNT = sizeof COLUMNS / sizeof *COLUMNS };

static int print_row(void *ctx, const struct source_row *row) {
    struct printing *p = ctx;
    const struct event_source *s = &row->source;
    struct str state = s->enabled ? STR("on") : STR("off");
    const struct cell cells[COLUMN_COUNT] = {
        {.text = s->name},
        {.text = row->key},
        {.text = state},
        {.is_null = s->rate == 0, .integer = s->rate},
        {.text = str_from(source_ip_text(s->ip))},
        {.boolean = s->strict},
        {.is_null = s->origins.n == 0, .text = s->origins},
        {.integer = row->old_keys},
    };
    table_row(p->table, cells);
    return 0;
}

static int print_object(void *ctx, const struct source_row *row) {
    struct printing *p = ctx;
    struct buf *b = &p->line;
    buf_clear(b);
    if (p->rows++) output_text(p->out, ",\n ");
    source_json(row, b);
    output_str(p->out, buf_str(b));
    return b->failed;
}

static int list_json(struct sql *desk, struct printing *p, struct keel_error *err) {
    buf_init(&p->line, 64 << 10);
    output_char(p->out, '[');
    int code = source_list(desk, now_ms(), print_object, p, err);
    output_text(p->out, "]\n");
    buf_release(&p->line);
    return code;
}

static int list(struct sql *desk, const struct args *args, struct output *out,
                struct keel_error *err) {
    struct table table;
    struct printing p = {.out = out, .table = &table};
    if (args->format == FORMAT_JSON) return list_json(desk, &p, err);
    TRY(table_start(&table, out, &(struct table_format){.style = TABLE_TEXT}, COLUMNS, COLUMN_COUNT,
                    err));
    int code = source_list(desk, now_ms(), print_row, &p, err);
    if (code == 0) return table_finish(&table, STR(""), err);
    table_discard(&table);
    return code;
}

static void print_key(const struct args *args, struct output *out, const char *name,
                      const char *key) {
    struct buf b;
    if (args->format == FORMAT_TEXT) {
        output_printf(out, "%s\n", key);
        return;
    }
    buf_init(&b, 16 << 10);
    (void)!buf_add_text(&b, "{\"name\":");
    (void)!buf_add_json_str(&b, str_from(name));
    (void)!buf_add_text(&b, ",\"write_key\":");
    (void)!buf_add_json_str(&b, str_from(key));
    (void)!buf_add_text(&b, "}\n");
    output_str(out, buf_str(&b));
    buf_release(&b);
}

static int add(struct sql *desk, const struct args *args, const char *name, struct output *out,
               struct keel_error *err) {
    char key[SOURCE_MAX_KEY + 1];
    int64_t id;
    struct source_settings settings = {
        .name = str_from(name),
        .key = str_from(args->key),
        .origins = str_from(args->origins),
        .rate = args->rate,
        .burst = args->burst,
        .ip = (enum client_ip)args->ip,
        .strict = args->strict,
        .archive = args->archive,
    };
    TRY(source_add(desk, &settings, now_ms(), &id, key, err));
    print_key(args, out, name, key);
    return 0;
}

static int rotate(struct sql *desk, const struct args *args, const char *name, struct output *out,
                  struct keel_error *err) {
    char key[SOURCE_MAX_KEY + 1];
    TRY(source_rotate(desk, str_from(name), args->grace_ms, now_ms(), key, err));
    print_key(args, out, name, key);
    return 0;
}

static const char *const VERBS[] = {"list", "stats", "add", "rotate", "disable", "enable"};
enum verb { LIST, STATS, ADD, ROTATE, DISABLE, ENABLE, VERB_COUNT };

static int change(struct sql *desk, const struct args *args, enum verb verb, const char *name,
                  struct output *out, struct keel_error *err) {
    if (verb == ADD) return add(desk, args, name, out, err);
    if (verb == ROTATE) return rotate(desk, args, name, out, err);
    return source_enable(desk, str_from(name), verb == ENABLE, err);
}

static int act(struct sql *desk, const struct args *args, enum verb verb, const char *name,
               struct output *out, struct keel_error *err) {
    static const char *const acts[VERB_COUNT] = {[ADD] = "keel source add",
                                                 [ROTATE] = "keel source rotate",
                                                 [DISABLE] = "keel source disable",
                                                 [ENABLE] = "keel source enable"};
    struct act noted;
    if (verb == LIST) return list(desk, args, out, err);
    if (verb == STATS)
        return source_stats(args->data, desk, name, args->hours,
                            args->format == FORMAT_JSON ? TABLE_JSON : TABLE_TEXT, out, err);
    if (!name)
        FAIL(err, INVALID, "source %s: which? keel source %s NAME", VERBS[verb], VERBS[verb]);
    TRY(act_begin(&noted, args->data, acts[verb], err));
    return act_end(&noted, str_from(name), change(desk, args, verb, name, out, err), err);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.key = "", .origins = "", .grace_ms = SOURCE_GRACE_MS, .hours = 168};
    struct operands words;
    struct output out;
    struct sql *desk;
    int verb = 0;
    TRY(options_parse(&cmd_source, argc, argv, &args, &words, err));
    while (verb < VERB_COUNT && strcmp(VERBS[verb], words.word[0]) != 0) verb++;
    if (verb == VERB_COUNT)
        FAIL(err, INVALID, "source: \"%.40s\" is none of add, list, stats, rotate, disable, enable",
             words.word[0]);
    TRY(desk_open(args.data, &desk, err));
    int code = source_tables(desk, err);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        code = act(desk, &args, (enum verb)verb,
                   words.n > 1 && *words.word[1] ? words.word[1] : NULL, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    sql_close(desk);
    return code;
}
