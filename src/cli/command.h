/* One command of the program, as data: dispatch, `keel help` and option parsing read the same
 * table.
 *
 * To add a command: write src/cli/cmd_NAME.c (or a folder) that defines
 * `const struct command cmd_NAME`, and add its name to the list in commands.c.
 *
 * Layers: uses error.h. Threads: constant data.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct option;

enum { ANY_NUMBER = -1 };

/* What of a command changes a data directory without a server. Each such act stands in the audit
 * log (acts.h), under its name as `keel help changes` prints it; a server notes its own. */
#define COMMAND_READS ""   /* nothing of it                             */
#define COMMAND_ITSELF "-" /* the command without a word: "keel import" */

struct command {
    const char *name;
    const char *summary;          /* one line, lower case, no full stop             */
    const char *changes;          /* one of these, or words of it: "add|remove"     */
    const char *operands;         /* "FILE..." for the usage line; NULL: none       */
    int min_operands;             /* checked by options_parse                       */
    int max_operands;             /* ANY_NUMBER: no limit                           */
    const struct option *options; /* ends with an entry without a name; NULL: none  */
    const char *description;      /* text below the usage line, filled at 80 cells   */
    const char *examples;         /* lines, each a command; NULL: none              */
    /* argv[0] is the command's name. Returns 0 or an error, which main prints. */
    int (*run)(int argc, char **argv, struct keel_error *err);
};

extern const struct command *const COMMANDS[]; /* in the order of `keel help`, ends with NULL */

const struct command *command_find(const char *name); /* NULL: unknown */
/* Is "keel import", "keel source add" one of the acts that change something? */
bool command_changes(const char *act);
