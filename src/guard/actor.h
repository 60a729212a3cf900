/* Who acts: what the guard found out about the caller of a request, for handlers and the audit log.
 *
 * Layers: role.h. Threads: a value. */
#pragma once

#include "guard/role.h"

enum { LOGIN_MAX = 64 };

enum actor_kind {
    ACTOR_NOBODY,
    ACTOR_OWNER,   /* came through DIR/keel.sock, or a command: owns the data directory */
    ACTOR_TOKEN,   /* the token of admin.token                                          */
    ACTOR_SESSION, /* a person, by cookie                                               */
    ACTOR_KEY,     /* an API key                                                        */
};

struct actor {
    enum actor_kind kind;
    right_set rights;
    int64_t account; /* 0: none (owner, token, keys of the installation)           */
    int64_t id;      /* of the session or the key; of the owner: as the system knows him, or -1 */
    enum side side;
    enum role role;
    bool by_link; /* a session that a one-time link began, and in which no password was set yet */
    char login[LOGIN_MAX + 1]; /* "" without an account */
};

static inline bool actor_may(const struct actor *actor, enum right right) {
    return right_in(actor->rights, right);
}
/* "os user anna" (an owner whom the system knows by that name), "owner", "token", "user anna",
 * "key 7 of anna", "key 7", "nobody". May wait for the system's list of users. */
void actor_text(const struct actor *actor, struct buf *out);
