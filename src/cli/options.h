/* Options of a command as a table: parsing, checks and `--help` come from the same lines.
 *
 *     struct args { int64_t days; bool clean; const char *out; };
 *     static const struct option OPTIONS[] = {
 *         {"days", OPTION_INTEGER, offsetof(struct args, days), "D", "days to simulate",
 *          .required = true, .min = 1, .max = 3660},
 *         {"clean", OPTION_FLAG, offsetof(struct args, clean), NULL, "no dirt"},
 *         {0}};
 *
 * Accepted: --name value, --name=value, --flag; "--" ends the options; "-" is an operand. Defaults
 * are what the caller put into the struct before parsing. An option may be given once, unless its
 * type collects words.
 *
 * Layers: uses command.h, time.h. Threads: none. Limits: 64 options, 64 words an option.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/output.h"
#include "cli/command.h"

enum option_type {                  /* the field at `offset` is a … */
                   OPTION_FLAG = 1, /* bool */
                   OPTION_TEXT,     /* const char *     */
                   OPTION_WORDS,    /* struct option_words: may be repeated    */
                   OPTION_INTEGER,  /* int64_t; 20k, 3M, 1G are thousands, millions, billions  */
                   OPTION_DURATION, /* int64_t milliseconds: 500ms, 10s, 15m, 12h, 30d, 2w */
                   OPTION_SIZE,     /* int64_t bytes: 4096, 64k, 512M, 2G (powers of 1024)     */
                   OPTION_DATE, /* int64_t milliseconds since 1970: 2024-01-01, or a time; UTC   */
                   OPTION_CHOICE, /* int: index of the word in `choices` */
};

enum { OPTIONS_MAX = 64, OPTION_WORDS_MAX = 64 };

struct option_words {
    const char *word[OPTION_WORDS_MAX];
    size_t n;
};

struct option {
    const char *name; /* without the dashes */
    enum option_type type;
    size_t offset;
    const char *value; /* placeholder in the help, NULL for flags */
    const char *help;
    const char *choices; /* "table|json|csv" */
    bool required;
    int64_t min, max; /* of numbers; both 0: any that fits */
};

struct operands {
    char **word; /* borrowed from argv */
    int n;
};

/* Fills *args (and *out, which may be NULL for a command without operands). argv is reordered:
 * operands move to the front. Any mistake is KEEL_E_INVALID with a message that names the word. */
int options_parse(const struct command *command, int argc, char **argv, void *args,
                  struct operands *out, struct keel_error *err) K_CHECKED;

/* The help page of one command. */
void options_help(const struct command *command, struct output *o);
