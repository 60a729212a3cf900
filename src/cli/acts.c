/* Implementation of acts.h. */
#include "cli/acts.h"

#include <stdio.h>
#include <unistd.h>

#include "cli/command.h"
#include "guard/actor.h"
#include "guard/audit.h"

const char *act_who(char out[ACT_WHO_BYTES]) {
    const struct actor owner = {.kind = ACTOR_OWNER, .id = (int64_t)getuid()};
    struct buf text;
    buf_init(&text, ACT_WHO_BYTES - 1);
    actor_text(&owner, &text);
    snprintf(out, ACT_WHO_BYTES, "%.*s", STR_ARG(buf_str(&text)));
    buf_release(&text);
    return out;
}

int act_begin(struct act *act, const char *dir, const char *what, struct keel_error *err) {
    K_ASSERT(command_changes(what)); /* the table of commands says what is noted */
    act->what = what;
    TRY(audit_open(dir, &act->log, err));
    int code = audit_ready(act->log, err);
    if (code < 0) audit_close(act->log);
    return code;
}

int act_end(struct act *act, struct str object, int result, struct keel_error *err) {
    char who[ACT_WHO_BYTES];
    const struct audit_act noted = {str_from(act_who(who)), STR("command line"),
                                    str_from(act->what), object, result < 0 ? result : 0};
    /* the first error is the one to tell */
    int code = audit_append(act->log, &noted, result < 0 ? NULL : err);
    audit_close(act->log);
    return result < 0 ? result : code < 0 ? code : result;
}
