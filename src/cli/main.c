/* The program: picks the command, runs it, reports its error once, turns it into the exit status.
 *
 *     keel COMMAND [OPTION...] [OPERAND...]
 *     keel help [COMMAND] | keel COMMAND --help | keel --help | keel --version
 *
 * Exit statuses are those of base/errors.def; wrong usage is 64. A reader that closes the pipe ends
 * the program quietly by SIGPIPE, as it does cat or sort; an output that cannot be written (full
 * disk) is an error like any other.
 *
 * Layers: the last room. Threads: main only.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/os.h"
#include "base/suggest.h"
#include "cli/command.h"
#include "cli/options.h"

static void report(const struct keel_error *err, int code) {
    struct buf line;
    struct keel_error ignored; /* nobody is left to tell */
    buf_init(&line, KEEL_ERROR_MAX + 64);
    (void)buf_printf(&line, "keel: %s\n", err->message[0] ? err->message : error_text(code));
    (void)!file_write_all(STDERR_FILENO, line.p, line.n, "standard error", &ignored);
    buf_release(&line);
}

static const char *next_command(const void *ctx, size_t i) {
    (void)ctx;
    return COMMANDS[i] ? COMMANDS[i]->name : NULL;
}

static int unknown(const char *word, struct keel_error *err) {
    const char *near = suggest(word, next_command, NULL);
    if (near) FAIL(err, INVALID, "unknown command \"%.200s\"; did you mean %s?", word, near);
    FAIL(err, INVALID, "unknown command \"%.200s\"; see: keel help", word);
}

/* --help anywhere before "--" asks for the page of the command. */
static bool wants_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static int dispatch(int argc, char **argv, struct keel_error *err) {
    const char *word = argc > 1 ? argv[1] : "help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    if (strcmp(word, "--version") == 0) word = "version";
    const struct command *command = command_find(word);
    if (!command) return unknown(word, err);
    int count = argc > 1 ? argc - 1 : 1;
    char *none[] = {(char *)(uintptr_t) "help", NULL};
    char **words = argc > 1 ? argv + 1 : none;
    if (!wants_help(count, words)) return command->run(count, words, err);

    struct output out;
    TRY(output_open(&out, NULL, err));
    options_help(command, &out);
    return output_close(&out, err);
}

int main(int argc, char **argv) {
    struct keel_error err = {0};
    signal(SIGPIPE, SIG_DFL);
    int code = dispatch(argc, argv, &err);
    if (code < 0) report(&err, code);
    return error_exit_status(code);
}
