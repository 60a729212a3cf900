/* Implementation of guard.h: opening, and the thread that notes what was seen and throws away what
 * has ended. */
#include "guard/guard_int.h"

#include <stdio.h>

#include "base/thread.h"

static const char *const STEPS[] = {
    "CREATE TABLE guard_account("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " login TEXT NOT NULL UNIQUE,"
    " name TEXT NOT NULL,"
    " side TEXT NOT NULL,"
    " role TEXT NOT NULL,"
    " password TEXT,"
    " disabled INTEGER NOT NULL DEFAULT 0,"
    " created_ms INTEGER NOT NULL,"
    " signed_in_ms INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE guard_session("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " hash BLOB NOT NULL UNIQUE,"
    " account INTEGER NOT NULL REFERENCES guard_account(id),"
    " created_ms INTEGER NOT NULL,"
    " seen_ms INTEGER NOT NULL,"
    " until_ms INTEGER NOT NULL);"
    "CREATE INDEX guard_session_account ON guard_session(account);"
    "CREATE TABLE guard_ticket("
    " hash BLOB PRIMARY KEY,"
    " account INTEGER," /* NULL: to set the installation up */
    " until_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE guard_key("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " hash BLOB NOT NULL UNIQUE,"
    " prefix TEXT NOT NULL,"
    " name TEXT NOT NULL,"
    " account INTEGER," /* NULL: of the installation */
    " scopes TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL,"
    " used_ms INTEGER NOT NULL DEFAULT 0,"
    " until_ms INTEGER);"
    "CREATE INDEX guard_key_account ON guard_key(account)",
    /* begun by a one-time link, and no password was set in it yet */
    "ALTER TABLE guard_session ADD COLUMN by_link INTEGER NOT NULL DEFAULT 0",
};

void guard_saw(struct guard *g, bool key, int64_t id, int64_t before_ms) {
    int64_t now = now_ms();
    if (!g->serves || (now >= before_ms && now - before_ms < SEEN_EVERY_MS)) return;
    pthread_mutex_lock(&g->lock);
    uint32_t i = 0;
    while (i < g->n_seen && (g->seen[i].id != id || g->seen[i].key != key)) i++;
    if (i < g->n_seen)
        g->seen[i].at_ms = now;
    else if (i < SEEN_MOST)
        g->seen[g->n_seen++] = (struct seen){key, id, now};
    pthread_mutex_unlock(&g->lock);
}

static int note_all(struct guard *g, const struct seen *seen, uint32_t n, struct keel_error *err) {
    int code = 0;
    for (uint32_t i = 0; i < n && code == 0; i++)
        code = seen[i].key
                   ? sql_run(g->db, err, "UPDATE guard_key SET used_ms = ? WHERE id = ?", "ii",
                             seen[i].at_ms, seen[i].id)
                   : sql_run(g->db, err, "UPDATE guard_session SET seen_ms = ? WHERE id = ?", "ii",
                             seen[i].at_ms, seen[i].id);
    return code;
}

static int sweep(struct guard *g, int64_t now, struct keel_error *err) {
    TRY(sql_run(g->db, err, "DELETE FROM guard_session WHERE until_ms <= ? OR seen_ms <= ?", "ii",
                now, now - SESSION_IDLE_MS));
    return sql_run(g->db, err, "DELETE FROM guard_ticket WHERE until_ms <= ?", "i", now);
}

/* What cannot be noted now is noted when it is seen again. */
static void keep_house(struct guard *g, const struct seen *seen, uint32_t n) {
    struct keel_error ignored;
    if (sql_begin(g->db, &ignored) < 0) return;
    int code = note_all(g, seen, n, &ignored);
    if (code == 0) code = sweep(g, now_ms(), &ignored);
    (void)!sql_end(g->db, code, &ignored);
}

static void *run(void *arg) {
    struct guard *g = arg;
    struct seen *mine = k_alloc_array(SEEN_MOST, sizeof *mine);
    bool stops = false;
    while (!stops) {
        int64_t until = monotonic_us() + (int64_t)SEEN_EVERY_MS * 1000;
        pthread_mutex_lock(&g->lock);
        while (!g->stops && cond_wait_until(&g->wake, &g->lock, until)) continue;
        stops = g->stops;
        uint32_t n = g->n_seen;
        memcpy(mine, g->seen, n * sizeof *mine);
        g->n_seen = 0;
        pthread_mutex_unlock(&g->lock);
        keep_house(g, mine, n);
    }
    k_free(mine);
    return NULL;
}

static int open_tables(struct guard *g, const char *dir, struct keel_error *err) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/desk.db", dir) >= (int)sizeof path)
        FAIL(err, INVALID, "the path of %.100s… is too long", dir);
    TRY(sql_open(path, SQL_CREATE, &g->db, err));
    TRY(sql_migrate(g->db, "guard", STEPS, sizeof STEPS / sizeof *STEPS, err));
    TRY(sql_open(path, SQL_READ_ONLY, &g->reader, err));
    return passwords_new(&g->passwords, err);
}

static int start(struct guard *g, struct keel_error *err) {
    g->seen = k_alloc_array(SEEN_MOST, sizeof *g->seen);
    TRY(sweep(g, now_ms(), err));
    if (pthread_create(&g->thread, NULL, run, g) != 0)
        FAIL(err, NO_MEMORY, "cannot start a thread for the guard");
    g->serves = true;
    return 0;
}

int guard_open(const char *dir, bool serves, struct guard **out, struct keel_error *err) {
    struct guard *g = k_zalloc(sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    cond_init_timed(&g->wake);
    g->by_login = limit_new(LOGIN_TRIES, LOGIN_WINDOW_MS);
    g->by_address = limit_new(LOGIN_TRIES_OF_ADDRESS, LOGIN_WINDOW_MS);
    int code = secret_ready(err);
    if (code == 0) code = open_tables(g, dir, err);
    if (code == 0 && serves) code = start(g, err);
    if (code == 0)
        *out = g;
    else
        guard_close(g);
    return code;
}

void guard_close(struct guard *g) {
    if (!g) return;
    if (g->serves) {
        pthread_mutex_lock(&g->lock);
        g->stops = true;
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->thread, NULL);
    }
    sql_close(g->reader);
    sql_close(g->db);
    passwords_free(g->passwords);
    limit_free(g->by_login);
    limit_free(g->by_address);
    pthread_cond_destroy(&g->wake);
    pthread_mutex_destroy(&g->lock);
    k_free(g->seen);
    k_free(g);
}
