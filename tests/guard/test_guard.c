/* Accounts, sessions, links and keys, with a clock that the test sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/sql.h"
#include "guard/guard.h"
#include "guard/limit.h"
#include "guard/password.h"

#define GOOD STR("correct horse battery")

static int64_t clock_us;
static int64_t set_clock(void) { return clock_us; }
static void pass(int64_t ms) { clock_us += ms * 1000; }

struct rig {
    char dir[64];
    struct os os;
    struct guard *g;
    struct keel_error err;
};

static void rig_open(struct rig *r) {
    *r = (struct rig){.os = OS_REAL};
    snprintf(r->dir, sizeof r->dir, "/tmp/keel-guard-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    clock_us = INT64_C(1800000000000000);
    r->os.now_us = set_clock;
    os_use(&r->os);
    assert_int_equal(guard_open(r->dir, false, &r->g, &r->err), 0);
}

static void rig_close(struct rig *r) {
    static const char *const names[] = {"desk.db", "desk.db-wal", "desk.db-shm"};
    char path[128];
    guard_close(r->g);
    os_use(NULL);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", r->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(r->dir), 0);
}

static int64_t add(struct rig *r, const char *login, enum role role, struct str password) {
    struct user_account a = {.login = str_from(login), .name = str_from(login), .role = role};
    int64_t id = 0;
    assert_int_equal(account_add(r->g, &a, password, &id, &r->err), 0);
    return id;
}

static void logins_and_names(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",     " ",
        "-a",   "a b",
        "a'b",  "a/b",
        "ä",    ".x",
        "a\nb", "0123456789012345678901234567890123456789012345678901234567890123x"};
    struct rig r;
    int64_t id;
    rig_open(&r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct user_account a = {.login = str_from(bad[i]), .name = STR("N")};
        assert_int_equal(account_add(r.g, &a, GOOD, &id, &r.err), -KEEL_E_INVALID);
    }
    struct user_account a = {.login = STR("ok"), .name = STR("line\nbreak")};
    assert_int_equal(account_add(r.g, &a, GOOD, &id, &r.err), -KEEL_E_INVALID);
    add(&r, " Anna.B@example ", ROLE_MARKETING, STR(""));
    assert_int_equal(account_find(r.g, STR("ANNA.b@EXAMPLE"), &id, &r.err), 0);
    a = (struct user_account){.login = STR("anna.b@example"), .name = STR("N")};
    assert_int_equal(account_add(r.g, &a, STR(""), &id, &r.err), -KEEL_E_EXISTS);
    assert_int_equal(account_find(r.g, STR("nobody"), &id, &r.err), -KEEL_E_NOT_FOUND);
    rig_close(&r);
}

static void passwords(void **state) {
    (void)state;
    struct rig r;
    char longest[PASSWORD_MAX_BYTES + 1];
    memset(longest, 'x', sizeof longest);
    rig_open(&r);
    assert_int_equal(password_check(STR("elevenchars"), &r.err), -KEEL_E_INVALID);
    assert_non_null(strstr(r.err.message, "11 characters; it needs 12"));
    assert_int_equal(password_check(STR("ääääääääääää"), &r.err), 0); /* characters, not bytes */
    assert_int_equal(password_check(STR("äääääääääää"), &r.err), -KEEL_E_INVALID);
    assert_int_equal(
        password_check(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), &r.err),
        -KEEL_E_INVALID);
    assert_int_equal(password_check((struct str){longest, sizeof longest - 1}, &r.err), 0);
    assert_int_equal(password_check((struct str){longest, sizeof longest}, &r.err),
                     -KEEL_E_INVALID);
    rig_close(&r);
}

static int try_login(struct rig *r, const char *login, struct str password, const char *address,
                     unsigned *wait) {
    int64_t id;
    *wait = 0;
    return login_check(r->g, str_from(login), password, str_from(address), &id, wait, &r->err);
}

static void signing_in(void **state) {
    (void)state;
    struct rig r;
    unsigned wait;
    char wrong[KEEL_ERROR_MAX];
    rig_open(&r);
    int64_t id = add(&r, "anna", ROLE_MARKETING, GOOD);
    add(&r, "link", ROLE_MARKETING, STR(""));
    assert_int_equal(try_login(&r, "Anna ", GOOD, "", &wait), 0);
    assert_int_equal(try_login(&r, "anna", STR("wrong horse battery"), "", &wait),
                     -KEEL_E_UNAUTHORISED);
    memcpy(wrong, r.err.message, sizeof wrong);
    assert_int_equal(try_login(&r, "nobody", GOOD, "", &wait), -KEEL_E_UNAUTHORISED);
    assert_string_equal(r.err.message, wrong); /* nobody learns which logins there are */
    assert_int_equal(try_login(&r, "link", STR(""), "", &wait), -KEEL_E_UNAUTHORISED);
    assert_string_equal(r.err.message, wrong);
    assert_int_equal(account_disable(r.g, id, true, &r.err), 0); /* there is no admin to keep */
    assert_int_equal(account_disable(r.g, id, false, &r.err), 0);
    int64_t root = add(&r, "root", ROLE_ADMIN, STR(""));
    assert_int_equal(account_disable(r.g, root, true, &r.err), -KEEL_E_FORBIDDEN);
    assert_int_equal(account_role(r.g, root, ROLE_IT, SIDE_IT, &r.err), -KEEL_E_FORBIDDEN);
    assert_int_equal(account_disable(r.g, id, true, &r.err), 0);
    assert_int_equal(try_login(&r, "anna", GOOD, "", &wait), -KEEL_E_UNAUTHORISED);
    assert_string_equal(r.err.message, wrong);
    rig_close(&r);
}

static void limits(void **state) {
    (void)state;
    struct rig r;
    unsigned wait;
    rig_open(&r);
    add(&r, "anna", ROLE_MARKETING, GOOD);
    for (int i = 0; i < LOGIN_TRIES; i++) {
        assert_int_equal(try_login(&r, "anna", STR("wrong"), "192.0.2.1", &wait),
                         -KEEL_E_UNAUTHORISED);
        pass(1000);
    }
    assert_int_equal(try_login(&r, "ANNA", GOOD, "192.0.2.2", &wait), -KEEL_E_LIMIT);
    assert_int_equal(wait, LOGIN_WINDOW_MS / 1000 - LOGIN_TRIES);
    pass(LOGIN_WINDOW_MS);
    assert_int_equal(try_login(&r, "anna", GOOD, "192.0.2.2", &wait), 0);
    /* of an address: logins that do not exist, and its own right ones do not help it */
    struct limit *l = limit_new(3, 1000);
    assert_int_equal(limit_take(l, STR("a"), 0), 0);
    assert_int_equal(limit_take(l, STR("a"), 0), 0);
    limit_give_back(l, STR("a"));
    assert_int_equal(limit_take(l, STR("a"), 10), 0);
    assert_int_equal(limit_take(l, STR("a"), 10), 0);
    assert_int_equal(limit_take(l, STR("a"), 10), 1);
    assert_int_equal(limit_take(l, STR("b"), 10), 0);
    assert_int_equal(limit_take(l, STR("a"), 1000), 0);
    limit_free(l);
    rig_close(&r);
}

static bool is_session(struct rig *r, const char *secret, struct actor *actor) {
    int code = session_actor(r->g, str_from(secret), actor, &r->err);
    assert_true(code >= 0);
    return code == 1;
}

static void sessions(void **state) {
    (void)state;
    struct rig r;
    struct actor actor;
    char a[SECRET_TEXT + 1], b[SECRET_TEXT + 1];
    rig_open(&r);
    add(&r, "root", ROLE_ADMIN, STR(""));
    int64_t id = add(&r, "anna", ROLE_MARKETING, GOOD);
    assert_int_equal(session_begin(r.g, id, false, a, &r.err), 0);
    assert_int_equal(session_begin(r.g, id, false, b, &r.err), 0);
    assert_string_not_equal(a, b);
    assert_true(is_session(&r, a, &actor));
    assert_int_equal(actor.account, id);
    assert_true(actor_may(&actor, RIGHT_QUERY));
    assert_false(actor_may(&actor, RIGHT_PERSONAL_READ));
    a[5] ^= 1;
    assert_false(is_session(&r, a, &actor));
    a[5] ^= 1;
    assert_false(is_session(&r, "", &actor));
    /* another role counts at once */
    assert_int_equal(account_role(r.g, id, ROLE_PRIVACY_OFFICER, SIDE_NEITHER, &r.err), 0);
    assert_true(is_session(&r, a, &actor));
    assert_true(actor_may(&actor, RIGHT_PERSONAL_READ));
    assert_false(actor_may(&actor, RIGHT_SEGMENT_WRITE));
    /* another password ends all but the one that is kept */
    assert_int_equal(account_password(r.g, id, STR("another good one"), actor.id, &r.err), 0);
    assert_true(is_session(&r, a, &actor));
    assert_false(is_session(&r, b, &actor));
    assert_int_equal(session_end(r.g, actor.id, id + 1, &r.err), -KEEL_E_NOT_FOUND); /* not his */
    pass(SESSION_IDLE_MS - 1);
    assert_true(is_session(&r, a, &actor));
    pass(1);
    assert_false(is_session(&r, a, &actor));
    assert_int_equal(session_begin(r.g, id, false, a, &r.err), 0);
    assert_int_equal(account_disable(r.g, id, true, &r.err), 0);
    assert_false(is_session(&r, a, &actor));
    assert_int_equal(session_begin(r.g, id, false, a, &r.err), -KEEL_E_UNAUTHORISED);
    rig_close(&r);
}

/* Kept in use, a session ends all the same. */
static void longest_session(void **state) {
    (void)state;
    struct rig r;
    struct actor actor;
    struct sql *db;
    char a[SECRET_TEXT + 1], path[128];
    rig_open(&r);
    snprintf(path, sizeof path, "%s/desk.db", r.dir);
    assert_int_equal(sql_open(path, 0, &db, &r.err), 0);
    assert_int_equal(session_begin(r.g, add(&r, "root", ROLE_ADMIN, STR("")), false, a, &r.err), 0);
    for (int64_t at = 0; at < SESSION_MOST_MS; at += SESSION_IDLE_MS / 2) {
        assert_true(is_session(&r, a, &actor));
        assert_int_equal(sql_run(db, &r.err, "UPDATE guard_session SET seen_ms = ?", "i", now_ms()),
                         0);
        pass(SESSION_IDLE_MS / 2);
    }
    assert_false(is_session(&r, a, &actor));
    sql_close(db);
    rig_close(&r);
}

static void links(void **state) {
    (void)state;
    struct rig r;
    char a[SECRET_TEXT + 1], b[SECRET_TEXT + 1];
    int64_t account, id;
    rig_open(&r);
    assert_int_equal(ticket_make(r.g, 0, a, &r.err), 0);
    assert_int_equal(ticket_make(r.g, 0, b, &r.err), 0);
    struct user_account first = {.login = STR("root"), .name = STR("Root")};
    assert_int_equal(setup_account(r.g, str_from(a), false, &first, GOOD, &id, &r.err),
                     -KEEL_E_UNAUTHORISED); /* the older one has ended */
    assert_int_equal(ticket_use(r.g, str_from(b), false, &account, &r.err), -KEEL_E_UNAUTHORISED);
    assert_int_equal(setup_account(r.g, str_from(b), false, &first, STR("short"), &id, &r.err),
                     -KEEL_E_INVALID); /* which does not use it up */
    assert_int_equal(setup_account(r.g, str_from(b), false, &first, GOOD, &id, &r.err), 0);
    assert_int_equal(setup_account(r.g, str_from(b), true, &first, GOOD, &id, &r.err),
                     -KEEL_E_EXISTS);
    assert_int_equal(ticket_make(r.g, id, a, &r.err), 0);
    assert_int_equal(ticket_use(r.g, str_from(a), true, &account, &r.err), -KEEL_E_UNAUTHORISED);
    assert_int_equal(ticket_use(r.g, str_from(a), false, &account, &r.err), 0);
    assert_int_equal(account, id);
    assert_int_equal(ticket_use(r.g, str_from(a), false, &account, &r.err), -KEEL_E_UNAUTHORISED);
    assert_int_equal(ticket_make(r.g, id, a, &r.err), 0);
    pass(LOGIN_LINK_MS);
    assert_int_equal(ticket_use(r.g, str_from(a), false, &account, &r.err), -KEEL_E_UNAUTHORISED);
    rig_close(&r);
}

static void keys(void **state) {
    (void)state;
    struct rig r;
    struct actor actor;
    char text[KEY_TEXT + 1], other[KEY_TEXT + 1];
    int64_t key, id;
    rig_open(&r);
    add(&r, "root", ROLE_ADMIN, STR(""));
    int64_t anna = add(&r, "anna", ROLE_MARKETING, GOOD);
    struct key_new k = {.name = STR("k"), .account = anna};
    assert_int_equal(key_add(r.g, &k, &key, text, &r.err), -KEEL_E_INVALID); /* no scope */
    k.scopes = right_bit(RIGHT_QUERY) | right_bit(RIGHT_PERSONAL_READ);
    k.until_ms = now_ms() + 1000;
    assert_int_equal(key_add(r.g, &k, &key, text, &r.err), 0);
    assert_int_equal(key_actor(r.g, str_from(text), &actor, &r.err), 1);
    assert_true(actor_may(&actor, RIGHT_QUERY));
    assert_false(actor_may(&actor, RIGHT_PERSONAL_READ)); /* its owner may not */
    assert_false(actor_may(&actor, RIGHT_SEGMENT_WRITE)); /* its owner may, but it is no scope */
    memcpy(other, text, sizeof other);
    other[KEY_TEXT - 1] ^= 1;
    assert_int_equal(key_actor(r.g, str_from(other), &actor, &r.err), 0);
    assert_int_equal(account_disable(r.g, anna, true, &r.err), 0);
    assert_int_equal(key_actor(r.g, str_from(text), &actor, &r.err), 0);
    assert_int_equal(account_disable(r.g, anna, false, &r.err), 0);
    assert_int_equal(key_revoke(r.g, key, anna + 1, &r.err), -KEEL_E_NOT_FOUND);
    pass(1000);
    assert_int_equal(key_actor(r.g, str_from(text), &actor, &r.err), 0);
    k = (struct key_new){.name = STR("i"), .scopes = right_bit(RIGHT_PERSONAL_READ)};
    assert_int_equal(key_add(r.g, &k, &id, text, &r.err), 0);
    assert_int_equal(key_actor(r.g, str_from(text), &actor, &r.err), 1);
    assert_true(actor_may(&actor, RIGHT_PERSONAL_READ));
    assert_int_equal(key_revoke(r.g, id, 0, &r.err), 0);
    assert_int_equal(key_actor(r.g, str_from(text), &actor, &r.err), 0);
    rig_close(&r);
}

/* What is stored cannot be used: no secret stands in the file. */
static void nothing_secret_is_stored(void **state) {
    (void)state;
    struct rig r;
    struct buf file;
    char session[SECRET_TEXT + 1], ticket[SECRET_TEXT + 1], key[KEY_TEXT + 1], path[128];
    int64_t id;
    rig_open(&r);
    int64_t anna = add(&r, "anna", ROLE_ADMIN, GOOD);
    struct key_new k = {.name = STR("k"), .scopes = right_bit(RIGHT_QUERY)};
    assert_int_equal(session_begin(r.g, anna, false, session, &r.err), 0);
    assert_int_equal(ticket_make(r.g, anna, ticket, &r.err), 0);
    assert_int_equal(key_add(r.g, &k, &id, key, &r.err), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/desk.db%s", r.dir, i ? "-wal" : "");
        buf_init(&file, 16 << 20);
        assert_int_equal(file_read(path, &file, &r.err), 0);
        assert_false(str_contains(buf_str(&file), str_from(session)));
        assert_false(str_contains(buf_str(&file), str_from(ticket)));
        assert_false(str_contains(buf_str(&file), str_from(key)));
        assert_false(str_contains(buf_str(&file), GOOD));
        if (i) assert_true(str_contains(buf_str(&file), STR("$argon2id$v=19$m=65536,t=3")));
        buf_release(&file);
    }
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logins_and_names),
        cmocka_unit_test(passwords),
        cmocka_unit_test(signing_in),
        cmocka_unit_test(limits),
        cmocka_unit_test(sessions),
        cmocka_unit_test(longest_session),
        cmocka_unit_test(links),
        cmocka_unit_test(keys),
        cmocka_unit_test(nothing_secret_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
