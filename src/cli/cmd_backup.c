/* `keel backup`: copy a data directory into a folder of backups; list and verify what is there.
 *
 * Layers: backup.h, options.h. Threads: main only. */
#include "base/os.h"
#include "base/output.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "customer/backup.h"

struct args {
    const char *data, *to, *from;
    int64_t keep, generation;
    bool full, quiet;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, false, 0,
     0},
    {"to", OPTION_TEXT, offsetof(struct args, to), "FOLDER", "where the backups lie", NULL, false,
     0, 0},
    {"from", OPTION_TEXT, offsetof(struct args, from), "FOLDER",
     "list, verify: where the backups lie", NULL, false, 0, 0},
    {"generation", OPTION_INTEGER, offsetof(struct args, generation), "G",
     "verify: this one only; default all", NULL, false, 1, INT64_MAX},
    {"keep", OPTION_INTEGER, offsetof(struct args, keep), "N",
     "generations to keep, the new one included; default all", NULL, false, 1,
     BACKUP_MAX_GENERATIONS},
    {"full", OPTION_FLAG, offsetof(struct args, full), NULL,
     "read everything again, and mend damaged pieces", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, offsetof(struct args, quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_backup = {
    .name = "backup",
    .summary = "copy a data directory into a folder of backups",
    .operands = "[list|verify]",
    .min_operands = 0,
    .max_operands = 1,
    .options = OPTIONS,
    .description =
        "Each run adds a generation: one moment of the data directory. Only what is\n"
        "new is copied; a run that is interrupted leaves the former generations as they\n"
        "were.\n"
        "\n"
        "list     shows the generations of a folder\n"
        "verify   reads all of it and names what is damaged\n",
    .examples = "  keel backup --data data --to backups --keep 30\n"
                "  keel backup list --from backups\n"
                "  keel backup verify --from backups\n",
    .run = run,
};

/* ---- make ---- */

static void show_progress(void *ctx, const struct backup_progress *p) {
    progress_update(ctx, p->bytes);
}

static int make(const struct args *args, struct output *out, struct keel_error *err) {
    struct progress progress;
    struct backup_made made;
    struct backup_options options = {.dir = args->data,
                                     .to = args->to,
                                     .keep = (uint32_t)args->keep,
                                     .full = args->full,
                                     .progress = show_progress,
                                     .ctx = &progress};
    progress_start(&progress, "backing up", "bytes", 0, args->quiet);
    int code = backup_take(&options, &made, err);
    progress_stop(&progress);
    TRY(code);
    output_printf(out, "generation %llu: %llu files, %llu bytes, of which %llu new\n",
                  (unsigned long long)made.generation, (unsigned long long)made.files,
                  (unsigned long long)made.bytes, (unsigned long long)made.copied_bytes);
    if (made.removed_generations)
        output_printf(out, "%llu old generations removed\n",
                      (unsigned long long)made.removed_generations);
    return 0;
}

/* ---- list, verify ---- */

static void print_info(void *ctx, const struct backup_info *info) {
    char made[TIME_TEXT_MAX];
    made[time_format(NULL, info->made_ms, made)] = 0;
    output_printf(ctx, "%6llu  %-24s  %8llu files  %14llu bytes\n",
                  (unsigned long long)info->generation, made, (unsigned long long)info->files,
                  (unsigned long long)info->bytes);
}

static void print_line(void *ctx, const char *text) {
    output_text(ctx, text);
    output_text(ctx, "\n");
}

static int verify(const struct args *args, struct output *out, struct keel_error *err) {
    struct backup_report report = {.ctx = out, .good = print_line, .fault = print_line};
    uint64_t faults;
    TRY(backup_verify(args->from, (uint64_t)args->generation, &report, &faults, err));
    if (!faults) return 0;
    output_flush(out);
    FAIL(err, CORRUPT, "%s is damaged in %llu places", args->from, (unsigned long long)faults);
}

static int act(const struct args *args, const char *verb, struct output *out,
               struct keel_error *err) {
    if (!verb) return make(args, out, err);
    if (strcmp(verb, "list") == 0) return backup_list(args->from, print_info, out, err);
    return verify(args, out, err);
}

static int check_words(const struct args *args, const char *verb, struct keel_error *err) {
    if (verb && strcmp(verb, "list") != 0 && strcmp(verb, "verify") != 0)
        FAIL(err, INVALID, "backup: unknown word \"%.100s\"; it is list, verify, or nothing", verb);
    if (verb && !args->from) FAIL(err, INVALID, "backup %s: say where, with --from FOLDER", verb);
    if (!verb && (!args->data || !args->to))
        FAIL(err, INVALID, "backup: say what and where, with --data DIR --to FOLDER");
    return 0;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands words;
    struct output out;
    TRY(options_parse(&cmd_backup, argc, argv, &args, &words, err));
    const char *verb = words.n ? words.word[0] : NULL;
    TRY(check_words(&args, verb, err));
    TRY(output_open(&out, NULL, err));
    int code = act(&args, verb, &out, err);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
