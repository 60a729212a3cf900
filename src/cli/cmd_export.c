/* `keel export`: the events of a data directory as NDJSON or CSV.
 * Layers: customer/export.h, query/chosen.h, options.h. Threads: main only. */
#include "base/output.h"
#include "cli/desk.h"
#include "cli/notes.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include "customer/export.h"
#include "query/chosen.h"

struct args {
    const char *data, *customers;
    struct option_words events;
    int64_t since_ms, before_ms;
    int format; /* enum export_format */
    bool quiet, raw;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F", "ndjson or csv; default ndjson",
     "ndjson|csv", false, 0, 0},
    {"raw", OPTION_FLAG, offsetof(struct args, raw), NULL,
     "csv: texts that look like formulas as they are", NULL, false, 0, 0},
    {"event", OPTION_WORDS, offsetof(struct args, events), "NAME", "only events of this name", NULL,
     false, 0, 0},
    {"since", OPTION_DATE, offsetof(struct args, since_ms), "TIME", "only from then on (UTC)", NULL,
     false, 0, 0},
    {"before", OPTION_DATE, offsetof(struct args, before_ms), "TIME", "only before then (UTC)",
     NULL, false, 0, 0},
    {"customers", OPTION_TEXT, offsetof(struct args, customers), "CONDITION",
     "only of customers who meet it, as behind \"list customers where\"", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, offsetof(struct args, quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_export = {
    .name = "export",
    .summary = "write events as NDJSON or CSV",
    .changes = COMMAND_READS,
    .operands = "[FILE]",
    .min_operands = 0,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "NDJSON has one Segment event a line and can be imported again (keel import\n"
                   "--segment); CSV has a column for each property. Without FILE, to standard\n"
                   "output. docs/export.md says what comes back exactly and what does not.\n",
    .examples =
        "  keel export --data data events.ndjson\n"
        "  keel export --data data --format csv --event 'Order Completed' orders.csv\n"
        "  keel export --data data --since 2024-01-01 --customers 'trait country = \"FI\"' -\n",
    .run = run,
};

struct exporting {
    struct output *out;
    struct progress progress;
    uint64_t bytes;
};

static int take_lines(void *ctx, struct str lines, struct keel_error *err) {
    struct exporting *e = ctx;
    output_str(e->out, lines);
    e->bytes += lines.n;
    progress_update(&e->progress, e->bytes);
    if (!output_failed(e->out)) return 0;
    *err = e->out->error;
    return err->code;
}

static int export_all(struct db *db, const struct args *args, struct output *out,
                      struct keel_error *err) {
    struct exporting e = {.out = out};
    struct export_options options = {.format = (enum export_format)args->format,
                                     .raw = args->raw,
                                     .from_ms = args->since_ms,
                                     .to_ms = args->before_ms,
                                     .sink = take_lines,
                                     .ctx = &e};
    struct str events[OPTION_WORDS_MAX];
    struct snapshot *snap;
    struct export_sums sums;
    uint64_t *customers = NULL;
    struct buf notes;
    buf_init(&notes, 1 << 16);
    for (size_t i = 0; i < args->events.n; i++) events[i] = str_from(args->events.word[i]);
    options.events = events;
    options.n_events = (uint32_t)args->events.n;
    TRY(snapshot_open(db_store(db), &snap, err));
    int code = 0;
    struct desk_segments segments;
    desk_segments_init(&segments, args->data);
    struct query_options now = {
        .at_ms = QUERY_AT_NOW, .segment = desk_segment, .segment_ctx = &segments};
    if (args->customers)
        code = customers_chosen(db, snap, str_from(args->customers), &now, &customers,
                                &options.customer_count, &notes, err);
    notes_print(&notes);
    desk_segments_release(&segments);
    options.customers = customers;
    progress_start(&e.progress, "exporting", "bytes", 0, args->quiet);
    if (code == 0) code = export_events(db, snap, &options, &sums, err);
    progress_stop(&e.progress);
    k_free(customers);
    snapshot_close(snap);
    return code;
}

static void add_param(struct buf *path, const char *name, const char *value) {
    (void)buf_printf(path, "&%s=", name);
    remote_escape(path, str_from(value));
}

static void add_time(struct buf *path, const char *name, int64_t ms) {
    char text[TIME_TEXT_MAX];
    if (ms == INT64_MIN || ms == INT64_MAX) return;
    text[time_format(NULL, ms, text)] = 0;
    add_param(path, name, text);
}

/* A running server has the directory: it streams the same lines. */
static int export_remote(const struct args *args, struct output *out, struct keel_error *err) {
    struct exporting e = {.out = out};
    struct remote *server;
    struct buf path, events;
    TRY(remote_open(args->data, &server, err));
    buf_init(&path, 1 << 20);
    buf_init(&events, 1 << 18);
    (void)buf_printf(&path, "/api/v1/export?format=%s%s",
                     args->format == EXPORT_CSV ? "csv" : "ndjson", args->raw ? "&raw=true" : "");
    for (size_t i = 0; i < args->events.n; i++)
        (void)buf_printf(&events, "%s%s", i ? "," : "", args->events.word[i]);
    (void)!buf_add_char(&events, 0);
    if (args->events.n) add_param(&path, "event", (const char *)events.p);
    add_time(&path, "since", args->since_ms);
    add_time(&path, "before", args->before_ms);
    if (args->customers) add_param(&path, "customers", args->customers);
    int code = buf_add_char(&path, 0);
    progress_start(&e.progress, "exporting", "bytes", 0, args->quiet);
    if (code == 0) code = remote_follow(server, (const char *)path.p, take_lines, &e, err);
    progress_stop(&e.progress);
    buf_release(&path);
    buf_release(&events);
    remote_close(server);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.since_ms = INT64_MIN, .before_ms = INT64_MAX};
    struct db_options options = {.store = {.read_only = true}};
    struct operands files;
    struct output out;
    struct db *db = NULL;
    TRY(options_parse(&cmd_export, argc, argv, &args, &files, err));
    int code = db_open(args.data, &options, &db, err);
    if (code < 0 && code != -KEEL_E_BUSY) return code;
    code = output_open(&out, files.n ? files.word[0] : NULL, err);
    if (code == 0) {
        code = db ? export_all(db, &args, &out, err) : export_remote(&args, &out, err);
        if (code < 0)
            output_discard(&out);
        else
            code = output_close(&out, err);
    }
    int closed = db ? db_close(db, code < 0 ? NULL : err) : 0;
    return code < 0 ? code : closed;
}
