/* `keel compact`: rewrite the parts of a data directory into as few as possible.
 * Layers: db.h, options.h. Threads: none. */
#include <stdio.h>

#include "base/output.h"
#include "cli/acts.h"
#include "cli/options.h"
#include "customer/db.h"

struct args {
    const char *data;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_compact = {
    .name = "compact",
    .summary = "rewrite what lies in pieces or in the wrong place",
    .changes = COMMAND_ITSELF,
    .options = OPTIONS,
    .description =
        "Merges the parts of every month into as few as possible, and places the events\n"
        "of merged customers together. Keel does this by itself where it pays, and behind\n"
        "a large import. The answers stay the same, they only come faster.\n",
    .examples = "  keel compact --data data\n",
    .run = run,
};

static int compact(struct db *db, const char *dir, struct output *out, struct keel_error *err) {
    struct store_stats before, after;
    struct act noted;
    char what[64];
    store_stats(db_store(db), &before);
    TRY(act_begin(&noted, dir, "keel compact", err));
    int merged = db_compact(db, err);
    snprintf(what, sizeof what, "%d months rewritten", merged < 0 ? 0 : merged);
    TRY(act_end(&noted, str_from(what), merged, err));
    store_stats(db_store(db), &after);
    output_count(out, (uint64_t)merged, "month");
    output_text(out, " rewritten: ");
    output_count(out, after.parts, "part");
    output_printf(out, ", %llu bytes (before: %llu, %llu)\n", (unsigned long long)after.part_bytes,
                  (unsigned long long)before.parts, (unsigned long long)before.part_bytes);
    return 0;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct db_options options = {0};
    struct output out;
    struct db *db;
    TRY(options_parse(&cmd_compact, argc, argv, &args, NULL, err));
    TRY(db_open(args.data, &options, &db, err));
    int code = output_open(&out, NULL, err);
    if (code == 0) {
        code = compact(db, args.data, &out, err);
        int closed = output_close(&out, code < 0 ? NULL : err);
        if (code == 0) code = closed;
    }
    int closed = db_close(db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
