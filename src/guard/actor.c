/* Implementation of actor.h. */
#include "guard/actor.h"

#include <pwd.h>

enum { OS_USER_BYTES = 16 << 10 };

/* Who the system says it is; not who he says: $USER can be set to anything. */
static void os_user_text(int64_t uid, struct buf *out) {
    struct passwd entry, *found = NULL;
    char text[OS_USER_BYTES];
    if (uid < 0)
        (void)!buf_add_text(out, "owner");
    else if (getpwuid_r((uid_t)uid, &entry, text, sizeof text, &found) == 0 && found)
        (void)!buf_printf(out, "os user %s", entry.pw_name);
    else
        (void)!buf_printf(out, "os user %lld", (long long)uid);
}

void actor_text(const struct actor *actor, struct buf *out) {
    switch (actor->kind) {
    case ACTOR_NOBODY: (void)!buf_add_text(out, "nobody"); return;
    case ACTOR_OWNER: os_user_text(actor->id, out); return;
    case ACTOR_TOKEN: (void)!buf_add_text(out, "token"); return;
    case ACTOR_SESSION: (void)!buf_printf(out, "user %s", actor->login); return;
    case ACTOR_KEY: break;
    }
    (void)!buf_printf(out, "key %lld", (long long)actor->id);
    if (actor->account) (void)!buf_printf(out, " of %s", actor->login);
}
