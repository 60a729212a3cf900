/* The table of commands: the one place that names them all, in the order `keel help` shows.
 * Layers: command.h. Threads: constant data. */
#include "cli/command.h"

#include <string.h>

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
