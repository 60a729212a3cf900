/* Implementation of actor.h. */
#include "guard/actor.h"

void actor_text(const struct actor *actor, struct buf *out) {
    switch (actor->kind) {
    case ACTOR_NOBODY: (void)!buf_add_text(out, "nobody"); return;
    case ACTOR_OWNER: (void)!buf_add_text(out, "owner"); return;
    case ACTOR_TOKEN: (void)!buf_add_text(out, "token"); return;
    case ACTOR_SESSION: (void)!buf_printf(out, "user %s", actor->login); return;
    case ACTOR_KEY: break;
    }
    (void)!buf_printf(out, "key %lld", (long long)actor->id);
    if (actor->account) (void)!buf_printf(out, " of %s", actor->login);
}
