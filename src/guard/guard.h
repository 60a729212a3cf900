/* The guard: accounts, sessions, one-time links, API keys. Who is it, and what may he do?
 *
 *   DIR/desk.db   guard_account   login, name, side, role, password (Argon2id) or NULL
 *                 guard_session   of browsers: hash of the secret, when seen, when it ends
 *                 guard_ticket    one-time links: set-up (account NULL) and signing in
 *                 guard_key       API keys: hash of the secret, scopes
 *
 * Whatever is secret is shown once and stored as a hash (secret.h, password.h). The rights of a
 * session or a key are looked up at every request, through a connection of their own that waits for
 * no writer: a change of role, a disabled account, a revoked key count from the next request on,
 * whichever process made the change.
 *
 * A session ends SESSION_IDLE_MS after it was last seen and SESSION_MOST_MS after it began; also
 * when its account is disabled or gets another password. That it was seen is noted every
 * SEEN_EVERY_MS, by a thread.
 *
 * Layers: actor.h, password.h, limit.h, base/sql.h. Threads: any. Limits: below.
 */
#pragma once

#include "base/error.h"
#include "guard/actor.h"
#include "guard/secret.h"

enum {
    ACCOUNT_NAME_MAX = 200, /* bytes */
    ACCOUNTS_MAX = 10000,
    SESSIONS_PER_ACCOUNT = 50, /* the oldest gives way */
    KEYS_PER_ACCOUNT = 100,
    KEY_NAME_MAX = 200,
    KEY_PREFIX = 12, /* of a key's text that is shown: "keel_" and a few */
    SESSION_IDLE_MS = 12 * 3600 * 1000,
    SESSION_MOST_MS = 7 * 24 * 3600 * 1000,
    SETUP_MS = 24 * 3600 * 1000,
    LOGIN_LINK_MS = 15 * 60 * 1000,
    LOGIN_WINDOW_MS = 15 * 60 * 1000,
    LOGIN_TRIES = 10,            /* of one login in a window    */
    LOGIN_TRIES_OF_ADDRESS = 50, /* of one address in a window */
    SEEN_EVERY_MS = 30 * 1000,
};
#define KEY_HEAD "keel_"
enum { KEY_TEXT = sizeof KEY_HEAD - 1 + SECRET_TEXT };

struct guard;

/* serves: with the thread that notes what was seen. */
int guard_open(const char *dir, bool serves, struct guard **out, struct keel_error *err) K_CHECKED;
void guard_close(struct guard *g); /* NULL is fine */

/* ---- accounts ---- */

struct user_account {
    int64_t id;
    struct str login, name; /* of a row: until the next one */
    enum side side;
    enum role role;
    bool disabled, has_password;
    int64_t created_ms, signed_in_ms; /* 0: never */
};

/* Lower-case letters, digits and . _ - @, beginning with a letter or digit, up to LOGIN_MAX. What
 * people type is compared in lower case. */
int account_add(struct guard *g, const struct user_account *account, struct str password,
                int64_t *out_id,
                struct keel_error *err) K_CHECKED; /* password empty: by link only */
/* only 0: all, by login. */
int account_list(struct guard *g, int64_t only,
                 int (*each)(void *ctx, const struct user_account *row), void *ctx,
                 struct keel_error *err) K_CHECKED;
/* KEEL_E_NOT_FOUND names the login. */
int account_find(struct guard *g, struct str login, int64_t *out_id,
                 struct keel_error *err) K_CHECKED;
int account_count(struct guard *g, int64_t *out, struct keel_error *err) K_CHECKED;
/* What would take away the last enabled administrator is KEEL_E_FORBIDDEN. */
int account_disable(struct guard *g, int64_t id, bool disabled, struct keel_error *err) K_CHECKED;
int account_role(struct guard *g, int64_t id, enum role role, enum side side,
                 struct keel_error *err) K_CHECKED;
int account_rename(struct guard *g, int64_t id, struct str name, struct keel_error *err) K_CHECKED;
/* Ends all its sessions but `keep` (0: all), and its one-time links. */
int account_password(struct guard *g, int64_t id, struct str password, int64_t keep,
                     struct keel_error *err) K_CHECKED;
/* The same in a session that a one-time link began, and whose owner need not know an old password:
 * once. KEEL_E_FORBIDDEN: it is no such session, or the password has been set. */
int session_password(struct guard *g, int64_t session, struct str password,
                     struct keel_error *err) K_CHECKED;
/* ---- signing in ---- */

/* Checks login and password, within the limits, in a time that tells nothing. 0;
 * KEEL_E_UNAUTHORISED for whatever is wrong; KEEL_E_LIMIT: *out_wait seconds. address empty: not
 * limited. */
int login_check(struct guard *g, struct str login, struct str password, struct str address,
                int64_t *out_account, unsigned *out_wait, struct keel_error *err) K_CHECKED;
/* Counts a try of an address with a one-time link, within the same limits. */
int login_try(struct guard *g, struct str address, unsigned *out_wait,
              struct keel_error *err) K_CHECKED;
/* A new session. by_link: begun by a one-time link. */
int session_begin(struct guard *g, int64_t account, bool by_link, char out[SECRET_TEXT + 1],
                  struct keel_error *err) K_CHECKED;
/* 1: *out is who has it; 0: nobody. Quick: for threads of connections. */
int session_actor(struct guard *g, struct str secret, struct actor *out,
                  struct keel_error *err) K_CHECKED;
/* account 0: of anybody. KEEL_E_NOT_FOUND. */
int session_end(struct guard *g, int64_t id, int64_t account, struct keel_error *err) K_CHECKED;

struct session_row {
    int64_t id, account, created_ms, seen_ms, until_ms;
    struct str login;
};
int session_list(struct guard *g, int64_t account,
                 int (*each)(void *ctx, const struct session_row *row), void *ctx,
                 struct keel_error *err) K_CHECKED;

/* One-time links. account 0: to set the installation up; an older one of its kind stops working. */
int ticket_make(struct guard *g, int64_t account, char out[SECRET_TEXT + 1],
                struct keel_error *err) K_CHECKED;
/* Uses one up: 0 and its account (0: set-up); KEEL_E_UNAUTHORISED: used, expired or never made. */
int ticket_use(struct guard *g, struct str secret, bool setup, int64_t *out_account,
               struct keel_error *err) K_CHECKED;
/* The first account, an administrator. The ticket is asked for unless `trusted`; KEEL_E_EXISTS:
 * there is an account already. */
int setup_account(struct guard *g, struct str ticket, bool trusted,
                  const struct user_account *account, struct str password, int64_t *out_id,
                  struct keel_error *err) K_CHECKED;

/* ---- API keys ---- */

struct key_row {
    int64_t id, account, created_ms, used_ms, until_ms; /* 0: never, no end */
    struct str name, prefix, login;                     /* login: p NULL without an account */
    right_set scopes;
};
struct key_new {
    struct str name;
    int64_t account; /* 0: of the installation */
    right_set scopes;
    int64_t until_ms; /* 0: no end */
};
int key_add(struct guard *g, const struct key_new *key, int64_t *out_id, char out[KEY_TEXT + 1],
            struct keel_error *err) K_CHECKED;
/* account 0: all; only 0: all. */
int key_list(struct guard *g, int64_t account, int64_t only,
             int (*each)(void *ctx, const struct key_row *row), void *ctx,
             struct keel_error *err) K_CHECKED;
/* account 0: of anybody. KEEL_E_NOT_FOUND. */
int key_revoke(struct guard *g, int64_t id, int64_t account, struct keel_error *err) K_CHECKED;
/* 1: *out is who has it, with the scopes that its owner has the rights for; 0: nobody. Quick. */
int key_actor(struct guard *g, struct str text, struct actor *out,
              struct keel_error *err) K_CHECKED;
