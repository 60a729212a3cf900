/* Implementation of guard.h: accounts.
 *
 * The last enabled administrator stays one: who locks himself out could not be let in again but by
 * the owner of the data directory. */
#include "guard/guard_int.h"

#include <sodium.h>

static bool login_char(char c, bool first) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) return true;
    return !first && c && strchr("._-@", c);
}

/* In lower case. */
static int read_login(struct str text, char out[LOGIN_MAX + 1], struct keel_error *err) {
    text = str_trim(text);
    bool fine = text.n > 0 && text.n <= LOGIN_MAX;
    for (size_t i = 0; fine && i < text.n; i++) {
        char c = text.p[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        fine = login_char(out[i], i == 0);
    }
    if (!fine)
        FAIL(err, INVALID,
             "a login has 1 to %d letters, digits and . _ - @, a letter or digit first", LOGIN_MAX);
    out[text.n] = 0;
    return 0;
}

static int check_name(struct str name, struct keel_error *err) {
    if (name.n == 0 || name.n > ACCOUNT_NAME_MAX || !str_is_utf8(name))
        FAIL(err, INVALID, "a name has 1 to %d bytes", ACCOUNT_NAME_MAX);
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < ' ' || name.p[i] == 0x7f)
            FAIL(err, INVALID, "a name has no control characters");
    return 0;
}

int account_actor(const struct sql_rows *rows, int column, struct actor *out,
                  struct keel_error *err) {
    struct str login = sql_str(rows, column);
    if (login.n > LOGIN_MAX || !side_by_text(sql_str(rows, column + 1), &out->side) ||
        !role_by_text(sql_str(rows, column + 2), &out->role))
        FAIL(err, CORRUPT, "desk.db has an account of an unknown side or role");
    memcpy(out->login, login.p, login.n);
    out->login[login.n] = 0;
    out->rights = role_rights(out->role);
    return 0;
}

int account_count(struct guard *g, int64_t *out, struct keel_error *err) {
    return sql_number(g->reader, 0, out, err, "SELECT count(*) FROM guard_account", "");
}

static int insert(struct guard *g, const struct user_account *account, const char *login,
                  const char *password, int64_t *out_id, struct keel_error *err) {
    int64_t n;
    TRY(sql_number(g->db, 0, &n, err, "SELECT count(*) FROM guard_account", ""));
    if (n >= ACCOUNTS_MAX) FAIL(err, LIMIT, "there are %d accounts already", ACCOUNTS_MAX);
    int code = sql_run(g->db, err,
                       "INSERT INTO guard_account(login, name, side, role, password, created_ms) "
                       "VALUES (?, ?, ?, ?, ?, ?)",
                       "zszzzi", login, account->name, side_text(account->side),
                       role_text(account->role), *password ? password : NULL, now_ms());
    if (code == -KEEL_E_EXISTS) FAIL(err, EXISTS, "there is an account \"%s\" already", login);
    if (code == 0) *out_id = sql_last_id(g->db);
    return code;
}

static int prepare(struct guard *g, const struct user_account *account, struct str password,
                   char login[LOGIN_MAX + 1], char stored[PASSWORD_STORED],
                   struct keel_error *err) {
    TRY(read_login(account->login, login, err));
    TRY(check_name(account->name, err));
    stored[0] = 0;
    return password.n ? password_hash(g->passwords, password, stored, err) : 0;
}

int account_add(struct guard *g, const struct user_account *account, struct str password,
                int64_t *out_id, struct keel_error *err) {
    char login[LOGIN_MAX + 1], stored[PASSWORD_STORED];
    TRY(prepare(g, account, password, login, stored, err));
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, insert(g, account, login, stored, out_id, err), err);
}

/* Looks again, inside the transaction: two of whom each thinks he is the first are not both. */
static int add_first(struct guard *g, struct str ticket, bool trusted,
                     const struct user_account *account, const char *login, const char *stored,
                     int64_t *out_id, struct keel_error *err) {
    int64_t n, nobody;
    TRY(sql_number(g->db, 0, &n, err, "SELECT count(*) FROM guard_account", ""));
    if (n > 0) FAIL(err, EXISTS, "there is an account already; sign in");
    if (!trusted) TRY(ticket_use(g, ticket, true, &nobody, err));
    return insert(g, account, login, stored, out_id, err);
}

int setup_account(struct guard *g, struct str ticket, bool trusted,
                  const struct user_account *account, struct str password, int64_t *out_id,
                  struct keel_error *err) {
    char login[LOGIN_MAX + 1], stored[PASSWORD_STORED];
    struct user_account first = *account;
    int64_t n;
    first.role = ROLE_ADMIN;
    TRY(account_count(g, &n, err)); /* no hashing for strangers once it is done */
    if (n > 0) FAIL(err, EXISTS, "there is an account already; sign in");
    TRY(prepare(g, &first, password, login, stored, err));
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, add_first(g, ticket, trusted, &first, login, stored, out_id, err), err);
}

int account_list(struct guard *g, int64_t only,
                 int (*each)(void *ctx, const struct user_account *row), void *ctx,
                 struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT id, login, name, side, role, disabled, password IS NOT NULL, created_ms,"
                " signed_in_ms FROM guard_account WHERE ?1 = 0 OR id = ?1 ORDER BY login",
                "i", only));
    while ((code = sql_next(&rows, err)) == 1) {
        struct user_account row = {.id = sql_i64(&rows, 0),
                                   .login = sql_str(&rows, 1),
                                   .name = sql_str(&rows, 2),
                                   .disabled = sql_i64(&rows, 5),
                                   .has_password = sql_i64(&rows, 6),
                                   .created_ms = sql_i64(&rows, 7),
                                   .signed_in_ms = sql_i64(&rows, 8)};
        if (!side_by_text(sql_str(&rows, 3), &row.side) ||
            !role_by_text(sql_str(&rows, 4), &row.role))
            code =
                error_set(err, KEEL_E_CORRUPT, "desk.db has an account of an unknown side or role");
        else
            code = each(ctx, &row);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

int account_find(struct guard *g, struct str login, int64_t *out_id, struct keel_error *err) {
    char text[LOGIN_MAX + 1];
    int64_t id = 0;
    TRY(read_login(login, text, err));
    TRY(sql_number(g->reader, 0, &id, err, "SELECT id FROM guard_account WHERE login = ?", "z",
                   text));
    if (!id) FAIL(err, NOT_FOUND, "there is no account \"%s\"", text);
    *out_id = id;
    return 0;
}

/* ---- changes ---- */

static int end_sessions(struct guard *g, int64_t id, int64_t keep, struct keel_error *err) {
    TRY(sql_run(g->db, err, "DELETE FROM guard_ticket WHERE account = ?", "i", id));
    return sql_run(g->db, err, "DELETE FROM guard_session WHERE account = ? AND id <> ?", "ii", id,
                   keep);
}

static int administrators(struct guard *g, int64_t *out, struct keel_error *err) {
    return sql_number(g->db, 0, out, err,
                      "SELECT count(*) FROM guard_account WHERE role = ? AND disabled = 0", "z",
                      role_text(ROLE_ADMIN));
}

/* Did the statement before meet an account, and is an administrator left, if there was one? */
static int check_changed(struct guard *g, int64_t id, int64_t before, struct keel_error *err) {
    int64_t left;
    if (sql_changes(g->db) == 0) FAIL(err, NOT_FOUND, "there is no account %lld", (long long)id);
    TRY(administrators(g, &left, err));
    if (left == 0 && before > 0)
        FAIL(err, FORBIDDEN, "this is the last administrator; make another one first");
    return 0;
}

static int change_disabled(struct guard *g, int64_t id, bool disabled, struct keel_error *err) {
    int64_t before;
    TRY(administrators(g, &before, err));
    TRY(sql_run(g->db, err, "UPDATE guard_account SET disabled = ? WHERE id = ?", "ii",
                (int64_t)disabled, id));
    TRY(check_changed(g, id, before, err));
    return disabled ? end_sessions(g, id, 0, err) : 0;
}

int account_disable(struct guard *g, int64_t id, bool disabled, struct keel_error *err) {
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, change_disabled(g, id, disabled, err), err);
}

static int change_role(struct guard *g, int64_t id, enum role role, enum side side,
                       struct keel_error *err) {
    int64_t before;
    TRY(administrators(g, &before, err));
    TRY(sql_run(g->db, err, "UPDATE guard_account SET role = ?, side = ? WHERE id = ?", "zzi",
                role_text(role), side_text(side), id));
    return check_changed(g, id, before, err);
}

int account_role(struct guard *g, int64_t id, enum role role, enum side side,
                 struct keel_error *err) {
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, change_role(g, id, role, side, err), err);
}

int account_rename(struct guard *g, int64_t id, struct str name, struct keel_error *err) {
    TRY(check_name(name, err));
    TRY(sql_begin(g->db, err));
    int code =
        sql_run(g->db, err, "UPDATE guard_account SET name = ? WHERE id = ?", "si", name, id);
    if (code == 0 && sql_changes(g->db) == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no account %lld", (long long)id);
    return sql_end(g->db, code, err);
}

static int change_password(struct guard *g, int64_t id, const char *stored, int64_t keep,
                           struct keel_error *err) {
    TRY(sql_run(g->db, err, "UPDATE guard_account SET password = ? WHERE id = ?", "zi", stored,
                id));
    if (sql_changes(g->db) == 0) FAIL(err, NOT_FOUND, "there is no account %lld", (long long)id);
    TRY(sql_run(g->db, err, "UPDATE guard_session SET by_link = 0 WHERE id = ?", "i", keep));
    return end_sessions(g, id, keep, err);
}

int account_password(struct guard *g, int64_t id, struct str password, int64_t keep,
                     struct keel_error *err) {
    char stored[PASSWORD_STORED];
    TRY(password_hash(g->passwords, password, stored, err));
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, change_password(g, id, stored, keep, err), err);
}

static int change_first(struct guard *g, int64_t session, const char *stored,
                        struct keel_error *err) {
    int64_t account;
    TRY(sql_number(g->db, 0, &account, err,
                   "SELECT account FROM guard_session WHERE id = ? AND by_link = 1", "i", session));
    if (!account)
        FAIL(err, FORBIDDEN, "only who has just signed in by a link needs no old password");
    return change_password(g, account, stored, session, err);
}

int session_password(struct guard *g, int64_t session, struct str password,
                     struct keel_error *err) {
    char stored[PASSWORD_STORED];
    TRY(password_hash(g->passwords, password, stored, err));
    TRY(sql_begin(g->db, err));
    return sql_end(g->db, change_first(g, session, stored, err), err);
}

/* ---- logins ---- */

struct known {
    int64_t id;
    bool disabled;
    char stored[PASSWORD_STORED];
};

static int look_up(struct guard *g, const char *login, struct known *out, struct keel_error *err) {
    struct sql_rows rows;
    *out = (struct known){0};
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT id, disabled, password FROM guard_account WHERE login = ?", "z", login));
    int code = sql_next(&rows, err);
    if (code == 1) {
        struct str text = sql_str(&rows, 2);
        out->id = sql_i64(&rows, 0);
        out->disabled = sql_i64(&rows, 1);
        if (text.p && text.n < sizeof out->stored) memcpy(out->stored, text.p, text.n);
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

static int refuse(unsigned wait, struct keel_error *err) {
    FAIL(err, LIMIT, "too many tries; the next one is possible in %u seconds", wait);
}

int login_try(struct guard *g, struct str address, unsigned *out_wait, struct keel_error *err) {
    *out_wait = address.n ? limit_take(g->by_address, address, now_ms()) : 0;
    return *out_wait ? refuse(*out_wait, err) : 0;
}

int login_check(struct guard *g, struct str login, struct str password, struct str address,
                int64_t *out_account, unsigned *out_wait, struct keel_error *err) {
    char text[LOGIN_MAX + 1];
    struct known known = {0};
    bool right;
    unsigned wait = 0, by_address = 0;
    int64_t now = now_ms();
    if (read_login(login, text, NULL) < 0) text[0] = 0; /* as one that is not known */
    wait = limit_take(g->by_login, *text ? str_from(text) : STR("?"), now);
    if (address.n) by_address = limit_take(g->by_address, address, now);
    if (by_address > wait) wait = by_address;
    *out_wait = wait;
    if (wait) return refuse(wait, err);
    TRY(look_up(g, text, &known, err));
    int code = password_verify(g->passwords, str_from(known.stored), password, &right, err);
    sodium_memzero(known.stored, sizeof known.stored);
    if (code < 0) return code;
    if (!right || known.disabled || !known.id)
        FAIL(err, UNAUTHORISED, "login or password is wrong");
    limit_forgive(g->by_login, str_from(text));
    if (address.n) limit_give_back(g->by_address, address); /* those of others stay counted */
    *out_account = known.id;
    return 0;
}
