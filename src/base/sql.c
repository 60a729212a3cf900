/* Implementation of sql.h.
 *
 * Prepared statements are found by the address of their literal first and by its text if that
 * misses (one literal in two files), and are never finalised before the connection is closed, but
 * those that found no room in the cache. A statement that is in use when it is wanted again (rows
 * within rows) gets a twin.
 */
#include "base/sql.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/os.h"

struct cached_statement {
    const char *literal;
    sqlite3_stmt *st;
    bool in_use;
};

struct sql {
    sqlite3 *db;
    pthread_mutex_t lock; /* recursive: guards all below, and the connection */
    char *path;
    unsigned depth; /* of transactions */
    bool doomed;    /* an inner one was rolled back */
    int64_t version;
    struct cached_statement cache[SQL_CACHE];
    unsigned cached;
};

static enum keel_code code_of(int sqlite) {
    switch (sqlite & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return KEEL_E_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return KEEL_E_BUSY;
    case SQLITE_NOMEM: return KEEL_E_NO_MEMORY;
    case SQLITE_FULL: return KEEL_E_NO_SPACE;
    case SQLITE_TOOBIG: return KEEL_E_LIMIT;
    case SQLITE_CONSTRAINT:
        return sqlite == SQLITE_CONSTRAINT_UNIQUE || sqlite == SQLITE_CONSTRAINT_PRIMARYKEY
                   ? KEEL_E_EXISTS
                   : KEEL_E_INVALID;
    case SQLITE_READONLY: return KEEL_E_INVALID;
    default: return KEEL_E_IO;
    }
}

static int fail(struct sql *db, struct keel_error *err) {
    int number = sqlite3_system_errno(db->db); /* "unable to open database file" says nothing */
    if ((sqlite3_errcode(db->db) & 0xff) == SQLITE_CANTOPEN && number != 0)
        return error_errno(err, number, "cannot open %s", db->path);
    return error_set(err, code_of(sqlite3_extended_errcode(db->db)), "%s: %s", db->path,
                     sqlite3_errmsg(db->db));
}

/* ---- opening ---- */

static int set_up(struct sql *db, bool read_only, struct keel_error *err) {
    sqlite3_busy_timeout(db->db, SQL_BUSY_MS);
    sqlite3_extended_result_codes(db->db, 1);
    if (read_only) return 0;
    if (sqlite3_exec(db->db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON",
                     NULL, NULL, NULL) != SQLITE_OK)
        return fail(db, err);
    return 0;
}

static int cannot_open(struct sql *db, struct keel_error *err) {
    int number = sqlite3_system_errno(db->db);
    return number ? error_errno(err, number, "cannot open %s", db->path) : fail(db, err);
}

/* SQLite would make it readable for everybody. The files that it puts beside it get the same mode.
 */
static int make_private(const char *path, struct keel_error *err) {
    int fd;
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_PRIVATE, &fd, err));
    file_close(fd);
    return 0;
}

int sql_open(const char *path, unsigned flags, struct sql **out, struct keel_error *err) {
    bool read_only = flags & SQL_READ_ONLY;
    if (strcmp(path, SQL_MEMORY) != 0 && !file_exists(path)) {
        if (!(flags & SQL_CREATE)) FAIL(err, NOT_FOUND, "%s: no such file", path);
        TRY(make_private(path, err));
    }
    struct sql *db = k_zalloc(sizeof *db);
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&db->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    db->path = k_strdup(path);
    int mode = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (flags & SQL_CREATE) mode |= SQLITE_OPEN_CREATE;
    int code = sqlite3_open_v2(path, &db->db, mode | SQLITE_OPEN_FULLMUTEX, NULL) == SQLITE_OK
                   ? set_up(db, read_only, err)
                   : cannot_open(db, err);
    if (code < 0) {
        sql_close(db);
        return code;
    }
    (void)sql_changed(db);
    *out = db;
    return 0;
}

void sql_close(struct sql *db) {
    if (!db) return;
    while (db->depth) sql_rollback(db);
    for (unsigned i = 0; i < db->cached; i++) sqlite3_finalize(db->cache[i].st);
    sqlite3_close(db->db);
    pthread_mutex_destroy(&db->lock);
    k_free(db->path);
    k_free(db);
}

sqlite3 *sql_handle(struct sql *db) { return db->db; }

/* ---- statements ---- */

static bool same(const struct cached_statement *c, const char *literal) {
    return c->literal == literal || strcmp(c->literal, literal) == 0;
}

/* A statement that nobody is using. The caller has the lock. */
static int prepare(struct sql *db, const char *literal, sqlite3_stmt **out,
                   struct keel_error *err) {
    for (unsigned i = 0; i < db->cached; i++)
        if (!db->cache[i].in_use && same(&db->cache[i], literal)) {
            db->cache[i].in_use = true;
            *out = db->cache[i].st;
            return 0;
        }
    if (sqlite3_prepare_v3(db->db, literal, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
        return fail(db, err);
    if (db->cached < SQL_CACHE)
        db->cache[db->cached++] = (struct cached_statement){literal, *out, .in_use = true};
    return 0;
}

/* Ready for its next use; gone if the cache had no room for it. */
static void put_back(struct sql *db, sqlite3_stmt *st) {
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    for (unsigned i = 0; i < db->cached; i++) {
        if (db->cache[i].st != st) continue;
        db->cache[i].in_use = false;
        return;
    }
    sqlite3_finalize(st);
}

/* A value that found no memory would be NULL: the statement must not run. */
static int bind(struct sql *db, sqlite3_stmt *st, const char *types, va_list values,
                struct keel_error *err) {
    K_ASSERT_OP(sqlite3_bind_parameter_count(st), ==, strlen(types));
    int code = SQLITE_OK;
    for (int i = 1; *types && code == SQLITE_OK; i++, types++) {
        struct str s;
        switch (*types) {
        case 'i': code = sqlite3_bind_int64(st, i, va_arg(values, int64_t)); break;
        case 'd': code = sqlite3_bind_double(st, i, va_arg(values, double)); break;
        case 's':
            s = va_arg(values, struct str);
            code = sqlite3_bind_text64(st, i, s.p, s.n, SQLITE_TRANSIENT, SQLITE_UTF8);
            break;
        case 'z':
            code = sqlite3_bind_text(st, i, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'b':
            s = va_arg(values, struct str);
            code = sqlite3_bind_blob64(st, i, s.p, s.n, SQLITE_TRANSIENT);
            break;
        default: assert_failed(__FILE__, __LINE__, "a letter of i d s z b");
        }
    }
    return code == SQLITE_OK ? 0 : fail(db, err);
}

/* The caller has the lock. */
static int prepare_bound(struct sql *db, sqlite3_stmt **out, struct keel_error *err,
                         const char *literal, const char *types, va_list values) {
    TRY(prepare(db, literal, out, err));
    int code = bind(db, *out, types, values, err);
    if (code < 0) put_back(db, *out);
    return code;
}

static int run(struct sql *db, struct keel_error *err, const char *literal, const char *types,
               va_list values) {
    sqlite3_stmt *st;
    TRY(prepare_bound(db, &st, err, literal, types, values));
    int step = sqlite3_step(st);
    int code = step == SQLITE_DONE || step == SQLITE_ROW ? 0 : fail(db, err);
    put_back(db, st);
    return code;
}

int sql_run(struct sql *db, struct keel_error *err, const char *literal, const char *types, ...) {
    va_list values;
    va_start(values, types);
    pthread_mutex_lock(&db->lock);
    int code = run(db, err, literal, types, values);
    pthread_mutex_unlock(&db->lock);
    va_end(values);
    return code;
}

int64_t sql_changes(struct sql *db) { return sqlite3_changes64(db->db); }
int64_t sql_last_id(struct sql *db) { return sqlite3_last_insert_rowid(db->db); }

/* ---- rows ---- */

static int ask(struct sql *db, struct sql_rows *rows, struct keel_error *err, const char *literal,
               const char *types, va_list values) {
    *rows = (struct sql_rows){0};
    pthread_mutex_lock(&db->lock);
    int code = prepare_bound(db, &rows->st, err, literal, types, values);
    if (code < 0)
        pthread_mutex_unlock(&db->lock);
    else
        rows->db = db;
    return code;
}

int sql_ask(struct sql *db, struct sql_rows *rows, struct keel_error *err, const char *literal,
            const char *types, ...) {
    va_list values;
    va_start(values, types);
    int code = ask(db, rows, err, literal, types, values);
    va_end(values);
    return code;
}

/* Fetching a text may need memory. Here it can be told that there was none; sql_str, which finds it
 * fetched, could not. */
static bool fetch_texts(struct sql_rows *rows) {
    for (int i = 0; i < sqlite3_column_count(rows->st); i++) {
        int type = sqlite3_column_type(rows->st, i);
        if ((type == SQLITE_TEXT || type == SQLITE_BLOB) && !sqlite3_column_blob(rows->st, i) &&
            sqlite3_errcode(rows->db->db) == SQLITE_NOMEM)
            return false;
    }
    return true;
}

int sql_next(struct sql_rows *rows, struct keel_error *err) {
    int step = sqlite3_step(rows->st);
    if (step == SQLITE_ROW && fetch_texts(rows)) return 1;
    return step == SQLITE_DONE ? 0 : fail(rows->db, err);
}

void sql_done(struct sql_rows *rows) {
    if (!rows->db) return;
    put_back(rows->db, rows->st);
    pthread_mutex_unlock(&rows->db->lock);
    *rows = (struct sql_rows){0};
}

int64_t sql_i64(const struct sql_rows *rows, int column) {
    return sqlite3_column_int64(rows->st, column);
}
double sql_f64(const struct sql_rows *rows, int column) {
    return sqlite3_column_double(rows->st, column);
}
struct str sql_str(const struct sql_rows *rows, int column) {
    const void *p = sqlite3_column_blob(rows->st, column);
    size_t n = (size_t)sqlite3_column_bytes(rows->st, column);
    bool null = sqlite3_column_type(rows->st, column) == SQLITE_NULL;
    return (struct str){null ? NULL : p ? p : "", p ? n : 0};
}
bool sql_is_null(const struct sql_rows *rows, int column) {
    return sqlite3_column_type(rows->st, column) == SQLITE_NULL;
}

int sql_number(struct sql *db, int64_t otherwise, int64_t *out, struct keel_error *err,
               const char *literal, const char *types, ...) {
    struct sql_rows rows;
    va_list values;
    va_start(values, types);
    int code = ask(db, &rows, err, literal, types, values);
    va_end(values);
    if (code < 0) return code;
    code = sql_next(&rows, err);
    if (code >= 0) *out = code == 1 ? sql_i64(&rows, 0) : otherwise;
    sql_done(&rows);
    return code < 0 ? code : 0;
}

bool sql_changed(struct sql *db) {
    int64_t version = 0;
    if (sql_number(db, 0, &version, NULL, "PRAGMA data_version", "") < 0) return true;
    pthread_mutex_lock(&db->lock);
    bool changed = version != db->version;
    db->version = version;
    pthread_mutex_unlock(&db->lock);
    return changed;
}

/* ---- transactions ---- */

static int plain(struct sql *db, const char *literal, struct keel_error *err) {
    return sqlite3_exec(db->db, literal, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(db, err);
}

int sql_begin(struct sql *db, struct keel_error *err) {
    pthread_mutex_lock(&db->lock);
    int code = db->depth ? 0 : plain(db, "BEGIN IMMEDIATE", err);
    if (code < 0) {
        pthread_mutex_unlock(&db->lock);
        return code;
    }
    if (db->depth++ == 0) db->doomed = false;
    return 0;
}

int sql_commit(struct sql *db, struct keel_error *err) {
    K_ASSERT(db->depth > 0);
    int code = 0;
    if (--db->depth == 0) {
        if (db->doomed) code = error_set(err, KEEL_E_CANCELLED, "%s: rolled back", db->path);
        if (code == 0) code = plain(db, "COMMIT", err);
        if (code < 0) (void)!plain(db, "ROLLBACK", NULL);
    }
    pthread_mutex_unlock(&db->lock);
    return code;
}

void sql_rollback(struct sql *db) {
    K_ASSERT(db->depth > 0);
    db->doomed = true;
    if (--db->depth == 0) (void)!plain(db, "ROLLBACK", NULL);
    pthread_mutex_unlock(&db->lock);
}

int sql_end(struct sql *db, int code, struct keel_error *err) {
    if (code == 0) return sql_commit(db, err);
    sql_rollback(db);
    return code;
}

/* ---- migrations ---- */

static int take_steps(struct sql *db, const char *room, const char *const *steps, unsigned n,
                      struct keel_error *err) {
    int64_t seen;
    TRY(sql_run(db, err,
                "CREATE TABLE IF NOT EXISTS room_version(room TEXT PRIMARY KEY, steps INTEGER NOT"
                " NULL) WITHOUT ROWID",
                ""));
    TRY(sql_number(db, 0, &seen, err, "SELECT steps FROM room_version WHERE room = ?", "z", room));
    if (seen > (int64_t)n)
        FAIL(err, UNSUPPORTED, "%s: tables of '%s' were made by a newer keel; use that one",
             db->path, room);
    if (seen == (int64_t)n) return 0;
    for (int64_t i = seen; i < (int64_t)n; i++) TRY(plain(db, steps[i], err));
    return sql_run(db, err, "INSERT OR REPLACE INTO room_version(room, steps) VALUES(?, ?)", "zi",
                   room, (int64_t)n);
}

int sql_migrate(struct sql *db, const char *room, const char *const *steps, unsigned n,
                struct keel_error *err) {
    TRY(sql_begin(db, err));
    return sql_end(db, take_steps(db, room, steps, n, err), err);
}
