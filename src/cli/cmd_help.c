/* `keel help`, `keel help COMMAND`, `keel help errors`, `keel version`.
 * Layers: command.h, options.h. Threads: none. */
#include "base/output.h"
#include "cli/command.h"
#include "cli/options.h"
#include "keel_version.h"

#include <string.h>

static void overview(struct output *o) {
    size_t width = 0;
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strlen(COMMANDS[i]->name) > width) width = strlen(COMMANDS[i]->name);
    output_text(o, "keel: one customer-data system for marketing and IT\n\n"
                   "Usage: keel COMMAND [OPTION...]\n\nCommands:\n");
    for (size_t i = 0; COMMANDS[i]; i++)
        output_printf(o, "  %-*s  %s\n", (int)width, COMMANDS[i]->name, COMMANDS[i]->summary);
    output_text(o, "\nkeel help COMMAND shows a command's options, keel help errors the exit "
                   "statuses.\n");
}

/* The exit statuses, from the same table that error_exit_status reads. */
static void errors(struct output *o) {
    static const struct {
        int exit_status;
        const char *text;
    } ROWS[] = {
#define KEEL_ERROR(name, number, exit_code, http, text) {exit_code, text},
#include "base/errors.def"
#undef KEEL_ERROR
    };
    output_text(o, "Exit statuses of keel:\n    0  success\n");
    for (int status = 1; status < 256; status++) {
        const char *separator = "";
        for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
            if (ROWS[i].exit_status != status) continue;
            if (!*separator) output_printf(o, "  %3d  ", status);
            output_printf(o, "%s%s", separator, ROWS[i].text);
            separator = ", ";
        }
        if (*separator) output_char(o, '\n');
    }
}

static int run_help(int argc, char **argv, struct keel_error *err);
static int run_version(int argc, char **argv, struct keel_error *err);

const struct command cmd_help = {
    .name = "help",
    .summary = "list the commands, or explain one",
    .operands = "[COMMAND|errors]",
    .max_operands = 1,
    .description = "Without COMMAND: the list of commands. errors: the exit statuses.\n",
    .examples = "  keel help simulate\n  keel help errors\n",
    .run = run_help,
};

const struct command cmd_version = {
    .name = "version",
    .summary = "print the version",
    .run = run_version,
};

static int run_help(int argc, char **argv, struct keel_error *err) {
    struct operands words;
    struct output out;
    const struct command *command = NULL;
    TRY(options_parse(&cmd_help, argc, argv, NULL, &words, err));
    bool about_errors = words.n == 1 && strcmp(words.word[0], "errors") == 0;
    if (words.n == 1 && !about_errors && !(command = command_find(words.word[0])))
        FAIL(err, INVALID, "help: there is no command \"%.200s\"; see: keel help", words.word[0]);
    TRY(output_open(&out, NULL, err));
    if (command)
        options_help(command, &out);
    else if (about_errors)
        errors(&out);
    else
        overview(&out);
    return output_close(&out, err);
}

static int run_version(int argc, char **argv, struct keel_error *err) {
    struct output out;
    TRY(options_parse(&cmd_version, argc, argv, NULL, NULL, err));
    TRY(output_open(&out, NULL, err));
    output_printf(&out, "keel %s\n", KEEL_VERSION);
    return output_close(&out, err);
}
