/* Implementation of guard.h: API keys. Their scopes are kept as names of rights, with spaces
 * between them: numbers of rights may change. */
#include "guard/guard_int.h"

#include <sodium.h>
#include <stdio.h>

enum { SCOPES_BYTES = 1024 };

static void write_scopes(right_set scopes, struct buf *out) {
    for (int right = RIGHT_SIGNED_IN + 1; right < RIGHTS; right++) {
        if (!right_in(scopes, (enum right)right)) continue;
        if (out->n) (void)!buf_add_char(out, ' ');
        (void)!buf_add_text(out, right_text((enum right)right));
    }
}

/* A name that is not known any more gives nothing. */
static right_set read_scopes(struct str text) {
    right_set scopes = 0;
    while (text.n) {
        const char *space = memchr(text.p, ' ', text.n);
        size_t n = space ? (size_t)(space - text.p) : text.n;
        enum right right;
        if (right_by_text((struct str){text.p, n}, &right)) scopes |= right_bit(right);
        n += space != NULL;
        text = (struct str){text.p + n, text.n - n};
    }
    return scopes;
}

static int check(const struct key_new *key, struct keel_error *err) {
    if (key->name.n == 0 || key->name.n > KEY_NAME_MAX || !str_is_utf8(key->name))
        FAIL(err, INVALID, "a key's name has 1 to %d bytes", KEY_NAME_MAX);
    for (size_t i = 0; i < key->name.n; i++)
        if ((unsigned char)key->name.p[i] < ' ')
            FAIL(err, INVALID, "a key's name has no control characters");
    if (!(key->scopes & ~right_bit(RIGHT_SIGNED_IN)))
        FAIL(err, INVALID, "a key needs at least one scope, such as query");
    if (key->until_ms && key->until_ms <= now_ms())
        FAIL(err, INVALID, "the key's end has passed already");
    return 0;
}

static int insert(struct guard *g, const struct key_new *key, struct str text, struct str scopes,
                  int64_t *out_id, struct keel_error *err) {
    struct secret_hash hash = secret_hash(text);
    struct str prefix = {text.p, KEY_PREFIX};
    int64_t n;
    TRY(sql_number(g->db, 0, &n, err, "SELECT count(*) FROM guard_key WHERE ifnull(account, 0) = ?",
                   "i", key->account));
    if (n >= KEYS_PER_ACCOUNT)
        FAIL(err, LIMIT, "there are %d keys already; revoke one", KEYS_PER_ACCOUNT);
    TRY(sql_run(g->db, err,
                "INSERT INTO guard_key(hash, prefix, name, account, scopes, created_ms, until_ms) "
                "VALUES (?, ?, ?, nullif(?, 0), ?, ?, nullif(?, 0))",
                "bssisii", secret_hash_str(&hash), prefix, key->name, key->account, scopes,
                now_ms(), key->until_ms));
    *out_id = sql_last_id(g->db);
    return 0;
}

int key_add(struct guard *g, const struct key_new *key, int64_t *out_id, char out[KEY_TEXT + 1],
            struct keel_error *err) {
    char secret[SECRET_TEXT + 1], text[KEY_TEXT + 1];
    struct buf scopes;
    TRY(check(key, err));
    secret_make(secret);
    snprintf(text, sizeof text, KEY_HEAD "%s", secret);
    buf_init(&scopes, SCOPES_BYTES);
    write_scopes(key->scopes, &scopes);
    int code =
        scopes.failed ? error_set(err, KEEL_E_LIMIT, "too many scopes") : sql_begin(g->db, err);
    if (code == 0)
        code = sql_end(g->db, insert(g, key, str_from(text), buf_str(&scopes), out_id, err), err);
    buf_release(&scopes);
    if (code == 0) memcpy(out, text, sizeof text);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return code;
}

int key_list(struct guard *g, int64_t account, int64_t only,
             int (*each)(void *ctx, const struct key_row *row), void *ctx, struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT k.id, ifnull(k.account, 0), k.created_ms, k.used_ms, ifnull(k.until_ms, 0),"
                " k.name, k.prefix, a.login, k.scopes FROM guard_key k "
                "LEFT JOIN guard_account a ON a.id = k.account "
                "WHERE (?1 = 0 OR k.account = ?1) AND (?2 = 0 OR k.id = ?2) ORDER BY k.id",
                "ii", account, only));
    while ((code = sql_next(&rows, err)) == 1) {
        struct key_row row = {.id = sql_i64(&rows, 0),
                              .account = sql_i64(&rows, 1),
                              .created_ms = sql_i64(&rows, 2),
                              .used_ms = sql_i64(&rows, 3),
                              .until_ms = sql_i64(&rows, 4),
                              .name = sql_str(&rows, 5),
                              .prefix = sql_str(&rows, 6),
                              .login = sql_str(&rows, 7),
                              .scopes = read_scopes(sql_str(&rows, 8))};
        if ((code = each(ctx, &row)) < 0) break;
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

int key_revoke(struct guard *g, int64_t id, int64_t account, struct keel_error *err) {
    TRY(sql_begin(g->db, err));
    int code =
        sql_run(g->db, err, "DELETE FROM guard_key WHERE id = ?1 AND (?2 = 0 OR account = ?2)",
                "ii", id, account);
    if (code == 0 && sql_changes(g->db) == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no key %lld", (long long)id);
    return sql_end(g->db, code, err);
}

int key_actor(struct guard *g, struct str text, struct actor *out, struct keel_error *err) {
    struct sql_rows rows;
    struct actor actor = {.kind = ACTOR_KEY, .side = SIDE_NEITHER};
    int64_t now = now_ms(), used = 0;
    if (text.n != KEY_TEXT) return 0;
    struct secret_hash hash = secret_hash(text);
    TRY(sql_ask(g->reader, &rows, err,
                "SELECT k.id, ifnull(k.account, 0), k.used_ms, k.scopes, a.login, a.side, a.role "
                "FROM guard_key k LEFT JOIN guard_account a ON a.id = k.account "
                "WHERE k.hash = ? AND (k.until_ms IS NULL OR k.until_ms > ?) "
                "AND (k.account IS NULL OR a.disabled = 0)",
                "bi", secret_hash_str(&hash), now));
    int code = sql_next(&rows, err);
    if (code == 1) {
        right_set scopes = read_scopes(sql_str(&rows, 3)) | right_bit(RIGHT_SIGNED_IN);
        actor.id = sql_i64(&rows, 0);
        actor.account = sql_i64(&rows, 1);
        used = sql_i64(&rows, 2);
        actor.rights = scopes;
        if (actor.account) {
            int read = account_actor(&rows, 4, &actor, err);
            if (read < 0) code = read;
            actor.rights &= scopes;
        }
    }
    sql_done(&rows);
    if (code != 1) return code;
    guard_saw(g, true, actor.id, used);
    *out = actor;
    return 1;
}
