/* `keel init DIR`: make a data directory.
 * Layers: db.h, options.h. Threads: none. */
#include "cli/options.h"
#include "customer/db.h"

struct args {
    const char *time_zone, *currency;
};

static const struct option OPTIONS[] = {
    {"time-zone", OPTION_TEXT, offsetof(struct args, time_zone), "ZONE",
     "the company's days, weeks and months, as Europe/London; default UTC", NULL, false, 0, 0},
    {"currency", OPTION_TEXT, offsetof(struct args, currency), "CODE",
     "ISO 4217 code of the company's money; default USD", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_init = {
    .name = "init",
    .summary = "make a data directory",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "Makes DIR, an empty data directory. The folder may exist, but holds no data\n"
                   "directory yet.\n",
    .examples = "  keel init data\n  keel init data --time-zone Europe/London --currency GBP\n",
    .run = run,
};

static bool is_currency(const char *code) {
    if (strlen(code) != 3) return false;
    for (int i = 0; i < 3; i++)
        if (code[i] < 'A' || code[i] > 'Z') return false;
    return true;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.time_zone = "UTC", .currency = "USD"};
    struct operands dirs;
    struct output out;
    TRY(options_parse(&cmd_init, argc, argv, &args, &dirs, err));
    if (!is_currency(args.currency))
        FAIL(err, INVALID, "init: --currency \"%.40s\" is no ISO 4217 code such as EUR",
             args.currency);
    TRY(db_init(dirs.word[0], str_from(args.time_zone), str_from(args.currency), err));
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "%s is ready (time zone %s, currency %s)\n", dirs.word[0], args.time_zone,
                  args.currency);
    return output_close(&out, err);
}
