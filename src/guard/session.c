/* Implementation of guard.h: sessions and one-time links. */
#include "guard/guard_int.h"

#include <sodium.h>

static int insert(struct guard *g, int64_t account, bool by_link, const struct secret_hash *hash,
                  int64_t now, struct keel_error *err) {
    int64_t usable;
    TRY(sql_number(g->db, 0, &usable, err,
                   "SELECT count(*) FROM guard_account WHERE id = ? AND disabled = 0", "i",
                   account));
    if (!usable) FAIL(err, UNAUTHORISED, "this account may not sign in");
    TRY(sql_run(g->db, err,
                "DELETE FROM guard_session WHERE account = ?1 AND id NOT IN (SELECT id FROM "
                "guard_session WHERE account = ?1 ORDER BY id DESC LIMIT ?2)",
                "ii", account, (int64_t)SESSIONS_PER_ACCOUNT - 1));
    TRY(sql_run(g->db, err, "UPDATE guard_account SET signed_in_ms = ? WHERE id = ?", "ii", now,
                account));
    return sql_run(
        g->db, err,
        "INSERT INTO guard_session(hash, account, created_ms, seen_ms, until_ms, by_link) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        "biiiii", secret_hash_str(hash), account, now, now, now + SESSION_MOST_MS,
        (int64_t)by_link);
}

int session_begin(struct guard *g, int64_t account, bool by_link, char out[SECRET_TEXT + 1],
                  struct keel_error *err) {
    char secret[SECRET_TEXT + 1];
    secret_make(secret);
    struct secret_hash hash = secret_hash(str_from(secret));
    TRY(sql_begin(g->db, err));
    int code = sql_end(g->db, insert(g, account, by_link, &hash, now_ms(), err), err);
    if (code == 0) memcpy(out, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    return code;
}

int session_actor(struct guard *g, struct str secret, struct actor *out, struct keel_error *err) {
    struct sql_rows rows;
    struct actor actor = {.kind = ACTOR_SESSION};
    int64_t now = now_ms(), seen = 0;
    if (secret.n != SECRET_TEXT) return 0;
    struct secret_hash hash = secret_hash(secret);
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT s.id, s.account, s.seen_ms, a.login, a.side, a.role, s.by_link "
                "FROM guard_session s JOIN guard_account a ON a.id = s.account "
                "WHERE s.hash = ? AND s.until_ms > ? AND s.seen_ms > ? AND a.disabled = 0",
                "bii", secret_hash_str(&hash), now, now - SESSION_IDLE_MS));
    int code = sql_next(&rows, err);
    if (code == 1) {
        actor.id = sql_i64(&rows, 0);
        actor.account = sql_i64(&rows, 1);
        seen = sql_i64(&rows, 2);
        actor.by_link = sql_i64(&rows, 6);
        int read = account_actor(&rows, 3, &actor, err);
        if (read < 0) code = read;
    }
    sql_done(&rows);
    if (code != 1) return code;
    guard_saw(g, false, actor.id, seen);
    *out = actor;
    return 1;
}

int session_end(struct guard *g, int64_t id, int64_t account, struct keel_error *err) {
    TRY(sql_begin(g->db, err));
    int code =
        sql_run(g->db, err, "DELETE FROM guard_session WHERE id = ?1 AND (?2 = 0 OR account = ?2)",
                "ii", id, account);
    if (code == 0 && sql_changes(g->db) == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no session %lld", (long long)id);
    return sql_end(g->db, code, err);
}

int session_list(struct guard *g, int64_t account,
                 int (*each)(void *ctx, const struct session_row *row), void *ctx,
                 struct keel_error *err) {
    struct sql_rows rows;
    int64_t now = now_ms();
    int code;
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT s.id, s.account, s.created_ms, s.seen_ms, s.until_ms, a.login "
                "FROM guard_session s JOIN guard_account a ON a.id = s.account "
                "WHERE (?1 = 0 OR s.account = ?1) AND s.until_ms > ?2 AND s.seen_ms > ?3 "
                "ORDER BY s.id DESC",
                "iii", account, now, now - SESSION_IDLE_MS));
    while ((code = sql_next(&rows, err)) == 1) {
        struct session_row row = {.id = sql_i64(&rows, 0),
                                  .account = sql_i64(&rows, 1),
                                  .created_ms = sql_i64(&rows, 2),
                                  .seen_ms = sql_i64(&rows, 3),
                                  .until_ms = sql_i64(&rows, 4),
                                  .login = sql_str(&rows, 5)};
        if ((code = each(ctx, &row)) < 0) break;
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

/* ---- one-time links ---- */

static int insert_ticket(struct guard *g, int64_t account, const struct secret_hash *hash,
                         struct keel_error *err) {
    int64_t until = now_ms() + (account ? LOGIN_LINK_MS : SETUP_MS);
    if (account) {
        TRY(sql_run(g->db, err, "DELETE FROM guard_ticket WHERE account = ?", "i", account));
        return sql_run(g->db, err,
                       "INSERT INTO guard_ticket(hash, account, until_ms) VALUES (?, ?, ?)", "bii",
                       secret_hash_str(hash), account, until);
    }
    TRY(sql_run(g->db, err, "DELETE FROM guard_ticket WHERE account IS NULL", ""));
    return sql_run(g->db, err,
                   "INSERT INTO guard_ticket(hash, account, until_ms) VALUES (?, NULL, ?)", "bi",
                   secret_hash_str(hash), until);
}

int ticket_make(struct guard *g, int64_t account, char out[SECRET_TEXT + 1],
                struct keel_error *err) {
    char secret[SECRET_TEXT + 1];
    secret_make(secret);
    struct secret_hash hash = secret_hash(str_from(secret));
    TRY(sql_begin(g->db, err));
    int code = sql_end(g->db, insert_ticket(g, account, &hash, err), err);
    if (code == 0) memcpy(out, secret, sizeof secret);
    sodium_memzero(secret, sizeof secret);
    return code;
}

static int take_ticket(struct guard *g, const struct secret_hash *hash, bool setup,
                       int64_t *account, struct keel_error *err) {
    TRY(sql_number(g->db, -1, account, err,
                   "SELECT ifnull(account, 0) FROM guard_ticket WHERE hash = ? AND until_ms > ?",
                   "bi", secret_hash_str(hash), now_ms()));
    if (*account < 0 || (*account == 0) != setup)
        FAIL(err, UNAUTHORISED, "this link was used, has expired, or never was; make a new one");
    return sql_run(g->db, err, "DELETE FROM guard_ticket WHERE hash = ?", "b",
                   secret_hash_str(hash));
}

int ticket_use(struct guard *g, struct str secret, bool setup, int64_t *out_account,
               struct keel_error *err) {
    struct secret_hash hash = secret_hash(secret);
    int64_t account;
    TRY(sql_begin(g->db, err));
    TRY(sql_end(g->db, take_ticket(g, &hash, setup, &account, err), err));
    *out_account = account;
    return 0;
}
