/* `keel restore`: a generation of a folder of backups as a new data directory.
 * Layers: backup.h, acts.h, options.h. Threads: main only. */
#include <stdio.h>

#include "base/output.h"
#include "cli/acts.h"
#include "cli/options.h"
#include "customer/backup.h"

struct args {
    const char *from;
    int64_t generation, until_ms;
};

static const struct option OPTIONS[] = {
    {"from", OPTION_TEXT, offsetof(struct args, from), "FOLDER", "where the backups lie", NULL,
     true, 0, 0},
    {"generation", OPTION_INTEGER, offsetof(struct args, generation), "G",
     "which one; default the newest, or the one that fits --to", NULL, false, 1, INT64_MAX},
    {"to", OPTION_DATE, offsetof(struct args, until_ms), "TIME",
     "only what was received up to then (UTC), to the second", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_restore = {
    .name = "restore",
    .summary = "make a data directory from a backup",
    .changes = COMMAND_ITSELF,
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "DIR must not exist or be empty. Every byte is checked on the way; if anything\n"
                   "is damaged, all of it is named and nothing is restored. A restore that is\n"
                   "interrupted leaves a folder that is no data directory; run it again.\n",
    .examples = "  keel restore --from backups restored\n"
                "  keel restore --from backups --generation 7 restored\n"
                "  keel restore --from backups --to 2024-05-01T12:30:00 restored\n",
    .run = run,
};

static void print_fault(void *ctx, const char *text) {
    output_text(ctx, text);
    output_text(ctx, "\n");
}

static void print_moment(struct output *out, const char *words, int64_t ms) {
    char text[TIME_TEXT_MAX];
    text[time_format(NULL, ms, text)] = 0;
    output_printf(out, "%s %s", words, text);
}

static int restore(const struct args *args, const char *dir, struct output *out,
                   struct keel_error *err) {
    struct restored done;
    struct backup_report report = {.ctx = out, .fault = print_fault};
    struct restore_options options = {.from = args->from,
                                      .generation = (uint64_t)args->generation,
                                      .until_ms = args->until_ms,
                                      .dir = dir,
                                      .report = &report};
    struct act noted;
    char what[64];
    TRY(backup_restore(&options, &done, err));
    snprintf(what, sizeof what, "generation %llu", (unsigned long long)done.generation);
    TRY(act_begin(&noted, dir, "keel restore", err));
    TRY(act_end(&noted, str_from(what), 0, err));
    output_printf(out, "generation %llu restored into %s: %llu files, %llu bytes\n",
                  (unsigned long long)done.generation, dir, (unsigned long long)done.files,
                  (unsigned long long)done.bytes);
    print_moment(out, "all that was acknowledged up to", done.received_from_ms);
    if (done.received_to_ms != done.received_from_ms)
        print_moment(out, " is there; nothing received from", done.received_to_ms);
    output_text(out, done.received_to_ms != done.received_from_ms ? " on is\n" : " is there\n");
    if (args->until_ms != BACKUP_NO_MOMENT && done.received_to_ms < args->until_ms) {
        print_moment(out, "what was received from then to", args->until_ms);
        output_text(out, " is in no backup of it (keel backup list)\n");
    }
    return 0;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.until_ms = BACKUP_NO_MOMENT};
    struct operands words;
    struct output out;
    TRY(options_parse(&cmd_restore, argc, argv, &args, &words, err));
    TRY(output_open(&out, NULL, err));
    int code = restore(&args, words.word[0], &out, err);
    int closed = output_close(&out, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
