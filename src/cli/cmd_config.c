/* `keel config`: look at a server's configuration without starting it.
 * Layers: api/config.h, options.h. Threads: none. */
#include "api/config.h"
#include "cli/options.h"

enum { FORMAT_TOML, FORMAT_MARKDOWN };

struct args {
    int format;
};

static const struct option OPTIONS[] = {
    {"format", OPTION_CHOICE, offsetof(struct args, format), "F",
     "show: toml, or the reference of all options as markdown; default toml", "toml|markdown",
     false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_config = {
    .name = "config",
    .summary = "check or show the configuration of the server",
    .changes = COMMAND_READS,
    .operands = "check|show [FILE]",
    .min_operands = 1,
    .max_operands = 2,
    .options = OPTIONS,
    .description =
        "check reads FILE and the environment as keel serve does, and says what is wrong.\n"
        "show prints every option with its value, default and meaning: without FILE a\n"
        "complete file to begin with. The environment (KEEL_SERVER_LISTEN for listen\n"
        "under [server]) goes before the file.\n",
    .examples = "  keel config show > keel.toml\n  keel config check keel.toml\n",
    .run = run,
};

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct operands words;
    struct config *config;
    struct output out;
    TRY(options_parse(&cmd_config, argc, argv, &args, &words, err));
    bool shows = strcmp(words.word[0], "show") == 0;
    if (!shows && strcmp(words.word[0], "check") != 0)
        FAIL(err, INVALID, "config: \"%.100s\" is not known; write check or show", words.word[0]);
    const char *file = words.n > 1 ? words.word[1] : NULL;
    TRY(config_load(file, &config, err));
    int code = output_open(&out, NULL, err);
    if (code == 0) {
        if (shows && args.format == FORMAT_MARKDOWN)
            config_reference(&out);
        else if (shows)
            config_show(config, &out);
        else
            output_printf(&out, "%.300s is good\n", file ? file : "the environment");
        code = output_close(&out, err);
    }
    config_free(config);
    return code;
}
