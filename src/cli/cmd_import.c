/* `keel import`: files into a data directory: CSV by a map, or Segment NDJSON.
 *
 * Layers: import/, api/collect/segment_file.h, db.h. Threads: main only. What was imported is
 * durable batch by batch; an interrupted import is simply run again, since message ids make it add
 * only what is missing.
 */
#include <stdio.h>
#include <string.h>

#include "api/collect/segment_file.h"
#include "base/os.h"
#include "base/output.h"
#include "cli/acts.h"
#include "cli/import/rejects.h"
#include "cli/import/rows.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "customer/db.h"

/* A large import writes each month as a whole at its end, or is told to leave pieces. Merging as
 * often as a server does took 18 % of the CPU where a month has 8 million events. */
enum { MERGE_PARTS = 16 };

struct args {
    const char *data, *map, *rejects;
    bool segment, no_compact, quiet;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"map", OPTION_TEXT, offsetof(struct args, map), "MAP.toml",
     "the files are CSV, read by this map", NULL, false, 0, 0},
    {"segment", OPTION_FLAG, offsetof(struct args, segment), NULL,
     "the files are Segment events, one JSON document a line", NULL, false, 0, 0},
    {"rejects", OPTION_TEXT, offsetof(struct args, rejects), "FILE",
     "where refused rows go; default DIR/rejects.csv", NULL, false, 0, 0},
    {"no-compact", OPTION_FLAG, offsetof(struct args, no_compact), NULL,
     "leave months in pieces after a large import", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, offsetof(struct args, quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_import = {
    .name = "import",
    .summary = "import files: CSV by a map, or Segment events",
    .changes = COMMAND_ITSELF,
    .operands = "FILE...",
    .min_operands = 1,
    .max_operands = ANY_NUMBER,
    .options = OPTIONS,
    .description = "Files may be gzip or zstd; - is standard input. Importing a file again adds\n"
                   "nothing. Rows that cannot be read are counted by cause and written to the\n"
                   "reject file with their line. docs/import.md describes maps; some are in\n"
                   "examples/maps. An import that brings most of what is there then rewrites\n"
                   "each month as a whole, as 'keel compact' does.\n",
    .examples = "  keel import --data data --segment events.ndjson.gz\n"
                "  keel import --data data --map examples/maps/online_retail.toml retail.csv\n"
                "  zcat *.gz | keel import --data data --segment -\n",
    .run = run,
};

struct import {
    struct args args;
    struct db *db;
    struct map *map;
    struct rejects rejects;
    struct ingest_counts counts;
    uint64_t read, events, repaired, no_rule; /* rows or lines; events of them */
    const char *file;                         /* being read                    */
    bool json_seen;                           /* of the file: a line like JSON */
    struct progress progress;
    struct keel_error callback_error; /* of a callback that has no place for its text */
};

static int take_batch(void *ctx, struct str bytes, uint32_t events, struct keel_error *err) {
    struct import *im = ctx;
    TRY(db_ingest(im->db, bytes, &im->counts, err));
    im->events += events;
    progress_update(&im->progress, im->events);
    return 0;
}

/* ---- CSV ---- */

static int take_reject(void *ctx, const struct reject *reject, struct keel_error *err) {
    struct import *im = ctx;
    return rejects_add(&im->rejects, im->file, reject, err);
}

static int import_rows(struct import *im, struct input *in, struct keel_error *err) {
    struct rows_stats stats;
    struct rows_sink sink = {.batch = take_batch, .reject = take_reject, .ctx = im};
    int code = rows_import(im->map, csv_from_input(in), input_name(in), &sink, &stats, err);
    im->read += stats.rows;
    im->no_rule += stats.no_rule;
    return code;
}

/* ---- Segment NDJSON ---- */

static enum reject_cause cause_of(enum segment_reason reason) {
    switch (reason) {
    case SEGMENT_BAD_JSON:
    case SEGMENT_NOT_OBJECT: return REJECT_JSON;
    case SEGMENT_LONG_LINE: return REJECT_TOO_LONG;
    case SEGMENT_TYPE: return REJECT_TYPE;
    case SEGMENT_TIME_TEXT:
    case SEGMENT_TIME: return REJECT_TIME;
    case SEGMENT_NO_ID: return REJECT_NO_ID;
    case SEGMENT_NO_NAME: return REJECT_NO_NAME;
    default: return REJECT_EVENT;
    }
}

static void refuse(void *ctx, const struct segment_refusal *refusal) {
    struct import *im = ctx;
    const char *detail = refusal->detail ? refusal->detail : segment_reason_text(refusal->reason);
    struct reject reject = {.cause = cause_of(refusal->reason),
                            .line = refusal->line,
                            .rows = 1,
                            .detail = str_from(detail),
                            .raw = refusal->text};
    struct str line = str_trim(refusal->text);
    if (reject.cause != REJECT_JSON || str_starts(line, STR("{"))) im->json_seen = true;
    if (!im->callback_error.code)
        (void)!rejects_add(&im->rejects, im->file, &reject, &im->callback_error);
}

static int take_segment_batch(void *ctx, struct str batch, uint32_t events) {
    struct import *im = ctx;
    if (im->callback_error.code) return im->callback_error.code;
    return take_batch(im, batch, events, &im->callback_error);
}

static int import_segment(struct import *im, struct input *in, struct keel_error *err) {
    struct segment_file_counts counts = {0};
    struct segment_file file = {.options = {.type = SEGMENT_ANY_TYPE, .now_ms = now_ms()},
                                .take_batch = take_segment_batch,
                                .refused = refuse,
                                .ctx = im};
    int code = segment_read_file(in, &file, &counts, err);
    im->read += counts.lines;
    im->repaired += counts.events.repaired;
    if (im->callback_error.code) {
        *err = im->callback_error;
        return err->code;
    }
    if (code == 0 && counts.lines > 0 && counts.events.accepted == 0 && !im->json_seen)
        FAIL(
            err, FORMAT,
            "import: no line of %s is a JSON object; --segment reads one event a line, for CSV say "
            "--map MAP.toml",
            im->file);
    return code;
}

/* ---- all files ---- */

static int import_file(struct import *im, const char *path, struct keel_error *err) {
    struct input *in;
    TRY(input_open(path, &in, err));
    im->file = input_name(in);
    im->json_seen = false;
    int code = im->map ? import_rows(im, in, err) : import_segment(im, in, err);
    input_close(in);
    return code;
}

static void report(const struct import *im, struct output *o) {
    output_count(o, im->read, im->map ? "row" : "line");
    output_text(o, " read: ");
    output_count(o, im->counts.events, "event");
    output_printf(o, ", %llu new, %llu known already", (unsigned long long)im->counts.accepted,
                  (unsigned long long)im->counts.duplicates);
    if (im->repaired) output_printf(o, ", %llu repaired", (unsigned long long)im->repaired);
    output_char(o, '\n');
    if (im->no_rule) {
        output_count(o, im->no_rule, "row");
        output_text(o, " met no rule of the map\n");
    }
    if (im->counts.residual)
        output_printf(o, "%llu %s beyond the limits kept as JSON\n",
                      (unsigned long long)im->counts.residual,
                      im->counts.residual == 1 ? "property" : "properties");
    if (!im->rejects.total) return;
    output_printf(o, "%llu refused, see %s:\n", (unsigned long long)im->rejects.total,
                  im->rejects.path);
    for (int cause = 0; cause < REJECT_CAUSES; cause++)
        if (im->rejects.by_cause[cause])
            output_printf(o, "  %llu  %s\n", (unsigned long long)im->rejects.by_cause[cause],
                          reject_text((enum reject_cause)cause));
}

/* Whoever looks at the exit status only must not take it for done. */
static int check_taken(const struct import *im, struct keel_error *err) {
    int most = 0;
    if (im->counts.events || !im->rejects.total) return 0;
    for (int cause = 1; cause < REJECT_CAUSES; cause++)
        if (im->rejects.by_cause[cause] > im->rejects.by_cause[most]) most = cause;
    FAIL(err, FORMAT,
         "import: nothing was imported: %llu refused, most of them for “%s”; %s has each with its "
         "reason",
         (unsigned long long)im->rejects.total, reject_text((enum reject_cause)most),
         im->rejects.path);
}

/* Up to a head's worth is written in one go; and a small addition to a large history is left to the
 * compaction in the background. */
static bool is_large(struct import *im) {
    struct store_stats stats;
    store_stats(db_store(im->db), &stats);
    return im->counts.accepted > STORE_HEAD_ROWS && im->counts.accepted > stats.rows / 2;
}

static int compact(struct import *im, struct keel_error *err) {
    struct progress progress;
    progress_start(&progress, "compacting", "month", 0, im->args.quiet);
    int merged = db_compact(im->db, err);
    if (merged > 0)
        progress_finish(&progress, (uint64_t)merged);
    else
        progress_stop(&progress);
    return merged < 0 ? merged : 0;
}

static int import_all(struct import *im, const struct operands *files, struct keel_error *err) {
    int code = 0;
    progress_start(&im->progress, "importing", "event", 0, im->args.quiet);
    for (int i = 0; i < files->n && code == 0; i++) code = import_file(im, files->word[i], err);
    if (code == 0) code = rejects_flush(&im->rejects, err);
    const bool large = code == 0 && is_large(im), compacts = large && !im->args.no_compact;
    if (code == 0 && !compacts) code = large ? db_flush_rows(im->db, err) : db_flush(im->db, err);
    if (code < 0)
        progress_stop(&im->progress);
    else
        progress_finish(&im->progress, im->events);
    return code == 0 && compacts ? compact(im, err) : code;
}

/* "orders.csv and 2 more: 1200 new events": what the audit log says of it. */
static void object_of(const struct import *im, const struct operands *files, struct buf *out) {
    const char *first = files->word[0], *slash = strrchr(first, '/');
    (void)!buf_add_text(out, strcmp(first, "-") == 0 ? "standard input"
                             : slash                 ? slash + 1
                                                     : first);
    if (files->n > 1) (void)!buf_printf(out, " and %d more", files->n - 1);
    (void)!buf_printf(out, ": %llu new events", (unsigned long long)im->counts.accepted);
}

static int import_noted(struct import *im, const struct operands *files, struct keel_error *err) {
    struct act noted;
    struct buf what;
    TRY(act_begin(&noted, im->args.data, "keel import", err));
    int code = import_all(im, files, err);
    buf_init(&what, 1 << 16);
    object_of(im, files, &what);
    code = act_end(&noted, buf_str(&what), code, err);
    buf_release(&what);
    return code;
}

/* Before anything is taken in: a misspelt last file must not end a long import. */
static int files_exist(const struct operands *files, struct keel_error *err) {
    for (int i = 0; i < files->n; i++)
        if (strcmp(files->word[i], "-") != 0 && !file_exists(files->word[i]))
            FAIL(err, NOT_FOUND, "import: there is no file %.300s; nothing was imported",
                 files->word[i]);
    return 0;
}

/* The reject file of the last run is overwritten: do not let somebody feed it back in by mistake.
 */
static int rejects_apart(const char *path, const struct operands *files, struct keel_error *err) {
    struct stat rejects, file;
    if (os_table()->stat(path, &rejects) < 0 || !S_ISREG(rejects.st_mode)) return 0;
    for (int i = 0; i < files->n; i++)
        if (os_table()->stat(files->word[i], &file) == 0 && file.st_dev == rejects.st_dev &&
            file.st_ino == rejects.st_ino)
            FAIL(err, INVALID, "import: %s would be overwritten by the rows that are refused; %s",
                 files->word[i], "name another file with --rejects");
    return 0;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct import im = {0};
    struct db_options options = {.store = {.background = true, .merge_parts = MERGE_PARTS}};
    struct operands files;
    struct output out;
    char path[4096];
    TRY(options_parse(&cmd_import, argc, argv, &im.args, &files, err));
    if (im.args.map && im.args.segment)
        FAIL(err, INVALID, "import: --segment and --map exclude each other: JSON or CSV?");
    if (!im.args.map && !im.args.segment)
        FAIL(err, INVALID, "import: say what the files are: --segment, or --map MAP.toml for CSV");
    snprintf(path, sizeof path, "%s/rejects.csv", im.args.data);
    if (!im.args.rejects) im.args.rejects = path;
    TRY(files_exist(&files, err));
    TRY(rejects_apart(im.args.rejects, &files, err));
    if (im.args.map) TRY(map_load(im.args.map, &im.map, err));
    int code = db_open(im.args.data, &options, &im.db, err);
    if (code == 0) code = rejects_init(&im.rejects, im.args.rejects, err);
    if (code == 0) {
        code = import_noted(&im, &files, err);
        rejects_release(&im.rejects);
    }
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        report(&im, &out);
        code = output_close(&out, err);
    }
    if (code == 0) code = check_taken(&im, err);
    int closed = im.db ? db_close(im.db, code < 0 ? NULL : err) : 0;
    map_free(im.map);
    return code < 0 ? code : closed;
}
