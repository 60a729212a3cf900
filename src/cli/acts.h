/* What commands change, in the audit log: they work on the data directory themselves, without the
 * server.
 *
 * What is noted stands in the table of commands (command.changes).
 *
 *     struct act act;
 *     TRY(act_begin(&act, dir, "keel source add", err));
 *     return act_end(&act, name, add(…), err);
 *
 * Layers: command.h, guard/actor.h, guard/audit.h. Threads: none. Processes: any, also beside a
 * server. */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { ACT_WHO_BYTES = 300 };

struct audit;
struct act {
    struct audit *log;
    const char *what; /* static */
};

/* Before anything is changed: what cannot be noted is not done. act_end must follow. */
int act_begin(struct act *act, const char *dir, const char *what, struct keel_error *err) K_CHECKED;
/* Notes that the user of the command line did it to `object`: a name or a number, nothing secret or
 * personal. result: 0 or the negative code it ended with, which is returned; if noting fails, that
 * error. */
int act_end(struct act *act, struct str object, int result, struct keel_error *err) K_CHECKED;
/* Who that is, for histories: "os user anna". */
const char *act_who(char out[ACT_WHO_BYTES]);
