/* Implementation of acts.h. */
#include "cli/acts.h"

#include <stdio.h>
#include <unistd.h>

#include "guard/audit.h"

int acts_note(const char *dir, const char *act, const char *object, int result,
              struct keel_error *err) {
    struct audit *audit;
    char from[48];
    struct keel_error *why = result < 0 ? NULL : err; /* the first error is the one to tell */
    snprintf(from, sizeof from, "command of uid %u", (unsigned)getuid());
    int code = audit_open(dir, &audit, why);
    if (code == 0) {
        struct audit_act noted = {STR("owner"), str_from(from), str_from(act), str_from(object),
                                  result};
        code = audit_append(audit, &noted, why);
        audit_close(audit);
    }
    return result < 0 ? result : code;
}
