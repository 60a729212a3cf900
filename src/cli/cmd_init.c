/* `keel init DIR`: make a data directory, with a first source.
 * Layers: db.h, source.h, options.h. Threads: none. */
#include <stdio.h>

#include "api/collect/source.h"
#include "base/os.h"
#include "cli/acts.h"
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
    .changes = COMMAND_ITSELF,
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .options = OPTIONS,
    .description = "Makes DIR, an empty data directory. The folder may exist, but holds no data\n"
                   "directory yet. It has one source, \"default\", whose write key is printed:\n"
                   "SDKs send with it. See: keel source\n",
    .examples = "  keel init data\n  keel init data --time-zone Europe/London --currency GBP\n",
    .run = run,
};

static bool is_currency(const char *code) {
    if (strlen(code) != 3) return false;
    for (int i = 0; i < 3; i++)
        if (code[i] < 'A' || code[i] > 'Z') return false;
    return true;
}

static int add_first_source(const char *dir, char *key, struct keel_error *err) {
    char path[4096];
    struct source_settings settings = {.name = STR("default")};
    struct sql *desk;
    int64_t id;
    if (snprintf(path, sizeof path, "%s/desk.db", dir) >= (int)sizeof path)
        FAIL(err, INVALID, "the path of %.100s… is too long", dir);
    TRY(sql_open(path, SQL_CREATE, &desk, err));
    int code = source_tables(desk, err);
    if (code == 0) code = source_add(desk, &settings, now_ms(), &id, key, err);
    sql_close(desk);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    char key[SOURCE_MAX_KEY + 1];
    struct args args = {.time_zone = "UTC", .currency = "USD"};
    struct operands dirs;
    struct output out;
    struct act noted;
    TRY(options_parse(&cmd_init, argc, argv, &args, &dirs, err));
    if (!is_currency(args.currency))
        FAIL(err, INVALID, "init: --currency \"%.40s\" is no ISO 4217 code such as EUR",
             args.currency);
    TRY(db_init(dirs.word[0], str_from(args.time_zone), str_from(args.currency), err));
    TRY(act_begin(&noted, dirs.word[0], "keel init", err));
    TRY(act_end(&noted, STR("source default"), add_first_source(dirs.word[0], key, err), err));
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "%s is ready (time zone %s, currency %s)\n", dirs.word[0], args.time_zone,
                  args.currency);
    output_printf(&out, "write key of the source \"default\": %s\n", key);
    return output_close(&out, err);
}
