/* The table of commands: the one place that names them all, in the order `keel help` shows.
 * Layers: command.h. Threads: constant data. */
#include "cli/command.h"

#include <string.h>

#include "base/str.h"

#define EACH_COMMAND(C)                                                                            \
    C(init)                                                                                        \
    C(source)                                                                                      \
    C(config)                                                                                      \
    C(user)                                                                                        \
    C(key)                                                                                         \
    C(audit)                                                                                       \
    C(serve)                                                                                       \
    C(plan)                                                                                        \
    C(kpi)                                                                                         \
    C(quarantine)                                                                                  \
    C(tail)                                                                                        \
    C(import)                                                                                      \
    C(query)                                                                                       \
    C(question)                                                                                    \
    C(profile)                                                                                     \
    C(segment)                                                                                     \
    C(compact)                                                                                     \
    C(export)                                                                                      \
    C(webhook)                                                                                     \
    C(replay)                                                                                      \
    C(backup)                                                                                      \
    C(restore)                                                                                     \
    C(doctor)                                                                                      \
    C(simulate)                                                                                    \
    C(help)                                                                                        \
    C(version)

#define DECLARE(name) extern const struct command cmd_##name;
#define ENTRY(name) &cmd_##name,

EACH_COMMAND(DECLARE)

const struct command *const COMMANDS[] = {EACH_COMMAND(ENTRY) NULL};

const struct command *command_find(const char *name) {
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strcmp(COMMANDS[i]->name, name) == 0) return COMMANDS[i];
    return NULL;
}

bool command_changes(const char *act) {
    struct str rest = str_from(act), program = STR("keel ");
    if (!str_starts(rest, program)) return false;
    rest = (struct str){rest.p + program.n, rest.n - program.n};
    for (size_t i = 0; COMMANDS[i]; i++) {
        struct str name = str_from(COMMANDS[i]->name), all = str_from(COMMANDS[i]->changes);
        if (!str_starts(rest, name) || (rest.n > name.n && rest.p[name.n] != ' ')) continue;
        struct str word = STR(COMMAND_ITSELF);
        if (rest.n > name.n) word = (struct str){rest.p + name.n + 1, rest.n - name.n - 1};
        while (all.n) {
            const char *bar = memchr(all.p, '|', all.n);
            size_t n = bar ? (size_t)(bar - all.p) : all.n;
            if (str_eq((struct str){all.p, n}, word)) return true;
            n += bar != NULL;
            all = (struct str){all.p + n, all.n - n};
        }
    }
    return false;
}
