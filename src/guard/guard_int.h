/* What the files of guard.h share.
 *
 *   guard.c     opening, the thread that notes what was seen
 *   account.c   accounts
 *   session.c   signing in, sessions, one-time links
 *   key.c       API keys
 *
 * Locks: guard.lock guards what was seen, for moments; never held across SQL. */
#pragma once

#include <pthread.h>

#include "base/os.h"
#include "base/sql.h"
#include "guard/guard.h"
#include "guard/limit.h"
#include "guard/password.h"

enum { SEEN_MOST = 4096 }; /* notes that wait for the thread; more are lost, which ends sooner */

struct seen {
    bool key; /* else a session */
    int64_t id, at_ms;
};

struct guard {
    struct sql *db;     /* changes */
    struct sql *reader; /* looks up, waits for no writer */
    struct passwords *passwords;
    struct limit *by_login, *by_address;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool serves, stops;
    struct seen *seen; /* [SEEN_MOST] */
    uint32_t n_seen;
    pthread_t thread;
};

/* Notes that it was used now, if the last note is old enough. */
void guard_saw(struct guard *g, bool key, int64_t id, int64_t before_ms);
/* Fills side, role and rights of an account's row (login, side, role at these columns). */
int account_actor(const struct sql_rows *rows, int column, struct actor *out,
                  struct keel_error *err) K_CHECKED;
