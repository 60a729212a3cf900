/* Implementation of manifest.h. */
#include "store/manifest.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/os.h"

enum { MANIFEST_FORMAT = 1, BUSY_MS = 5000 };

static const char SCHEMA_SQL[] =
    "CREATE TABLE state(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE part(id INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, rows INTEGER NOT NULL,"
    "  bytes INTEGER NOT NULL);"
    "CREATE TABLE stream(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, parent INTEGER NOT NULL,"
    "  name TEXT NOT NULL);"
    "CREATE TABLE col(id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, type INTEGER NOT NULL,"
    "  text INTEGER NOT NULL, name TEXT NOT NULL);";

int manifest_fail(sqlite3 *db, const char *doing, struct keel_error *err) {
    int code = sqlite3_errcode(db);
    enum keel_code as = code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? KEEL_E_CORRUPT
                        : code == SQLITE_BUSY                           ? KEEL_E_BUSY
                        : code == SQLITE_NOMEM                          ? KEEL_E_NO_MEMORY
                                                                        : KEEL_E_IO;
    return error_set(err, as, "cannot %s in keel.db: %s", doing, sqlite3_errmsg(db));
}

static int manifest_run(struct manifest *m, const char *sql, const char *doing,
                        struct keel_error *err) {
    return sqlite3_exec(m->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : manifest_fail(m->db, doing, err);
}

static int manifest_prepare(struct manifest *m, const char *sql, sqlite3_stmt **out,
                            struct keel_error *err) {
    return sqlite3_prepare_v2(m->db, sql, -1, out, NULL) == SQLITE_OK
               ? 0
               : manifest_fail(m->db, "prepare a statement", err);
}

/* Steps a statement that returns no rows, and finalises it. */
static int finish(struct manifest *m, sqlite3_stmt *st, const char *doing, struct keel_error *err) {
    int step = sqlite3_step(st);
    sqlite3_finalize(st);
    return step == SQLITE_DONE ? 0 : manifest_fail(m->db, doing, err);
}

int manifest_set(struct manifest *m, const char *name, struct str value, struct keel_error *err) {
    sqlite3_stmt *st;
    TRY(manifest_prepare(m, "INSERT OR REPLACE INTO state(name, value) VALUES(?, ?)", &st, err));
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, value.p, (int)value.n, SQLITE_STATIC);
    return finish(m, st, "save a value", err);
}

int manifest_get(struct manifest *m, const char *name, struct arena *a, struct str *out,
                 struct keel_error *err) {
    sqlite3_stmt *st;
    TRY(manifest_prepare(m, "SELECT value FROM state WHERE name = ?", &st, err));
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int step = sqlite3_step(st), code = 0;
    if (step == SQLITE_ROW)
        *out = str_dup(a, (struct str){(const char *)sqlite3_column_text(st, 0),
                                       (size_t)sqlite3_column_bytes(st, 0)});
    else
        code = step == SQLITE_DONE ? error_set(err, KEEL_E_NOT_FOUND, "no setting %s", name)
                                   : manifest_fail(m->db, "read a value", err);
    sqlite3_finalize(st);
    return code;
}

static int set_number(struct manifest *m, const char *name, uint64_t v, struct keel_error *err) {
    char text[32];
    int n = snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    return manifest_set(m, name, (struct str){text, (size_t)n}, err);
}

static int get_number(struct manifest *m, const char *name, uint64_t *out, struct keel_error *err) {
    struct arena a;
    struct str text = {0};
    arena_init(&a, 4096);
    int code = manifest_get(m, name, &a, &text, err);
    if (code == 0 && !str_to_u64(text, out))
        code = error_set(err, KEEL_E_CORRUPT, "keel.db: state %s is no number", name);
    arena_release(&a);
    return code;
}

int manifest_save_state(struct manifest *m, struct keel_error *err) {
    TRY(set_number(m, "journal_position", m->journal_position, err));
    TRY(set_number(m, "next_part", m->next_part, err));
    return set_number(m, "arrivals", m->arrivals, err);
}

static int create(struct manifest *m, struct keel_error *err) {
    TRY(manifest_begin(m, err));
    int code = manifest_run(m, SCHEMA_SQL, "create tables", err);
    if (code == 0 && getrandom(m->store_id, sizeof m->store_id, 0) != sizeof m->store_id)
        code = error_set(err, KEEL_E_IO, "no random numbers for a store id");
    m->next_part = 1;
    if (code == 0) code = set_number(m, "format", MANIFEST_FORMAT, err);
    if (code == 0) code = manifest_save_state(m, err);
    sqlite3_stmt *st;
    if (code == 0)
        code =
            manifest_prepare(m, "INSERT INTO state(name, value) VALUES('store_id', ?)", &st, err);
    if (code == 0) {
        sqlite3_bind_blob(st, 1, m->store_id, sizeof m->store_id, SQLITE_STATIC);
        code = finish(m, st, "save the store id", err);
    }
    if (code < 0) {
        manifest_rollback(m);
        return code;
    }
    return manifest_commit(m, err);
}

static int load(struct manifest *m, struct keel_error *err) {
    uint64_t format = 0;
    TRY(get_number(m, "format", &format, err));
    if (format > MANIFEST_FORMAT)
        FAIL(err, UNSUPPORTED,
             "keel.db has format %llu, this keel reads up to %d; use a newer keel",
             (unsigned long long)format, MANIFEST_FORMAT);
    TRY(get_number(m, "journal_position", &m->journal_position, err));
    TRY(get_number(m, "next_part", &m->next_part, err));
    TRY(get_number(m, "arrivals", &m->arrivals, err));
    sqlite3_stmt *st;
    TRY(manifest_prepare(m, "SELECT value FROM state WHERE name = 'store_id'", &st, err));
    bool ok = sqlite3_step(st) == SQLITE_ROW && sqlite3_column_bytes(st, 0) == sizeof m->store_id;
    if (ok) memcpy(m->store_id, sqlite3_column_blob(st, 0), sizeof m->store_id);
    sqlite3_finalize(st);
    if (!ok) FAIL(err, CORRUPT, "keel.db has no store id");
    return 0;
}

int manifest_open(struct manifest *m, const char *dir, bool make, bool read_only,
                  struct keel_error *err) {
    char path[4096];
    *m = (struct manifest){0};
    snprintf(path, sizeof path, "%s/keel.db", dir);
    bool exists = file_exists(path);
    if (make && exists) FAIL(err, EXISTS, "%s is a data directory already", dir);
    if (!make && !exists)
        FAIL(err, NOT_FOUND, "%s is no data directory (no keel.db); make one with 'keel init %s'",
             dir, dir);
    int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &m->db, flags | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK) {
        int number = sqlite3_system_errno(m->db);
        int code = number ? error_errno(err, number, "cannot open %s", path)
                          : manifest_fail(m->db, "open the manifest", err);
        manifest_close(m);
        return code;
    }
    sqlite3_busy_timeout(m->db, BUSY_MS);
    int code = read_only ? 0
                         : manifest_run(m,
                                        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                                        "PRAGMA foreign_keys=ON",
                                        "set up", err);
    if (code == 0) code = make ? create(m, err) : load(m, err);
    if (code < 0) manifest_close(m);
    return code;
}

void manifest_close(struct manifest *m) {
    sqlite3_close(m->db);
    m->db = NULL;
}

static struct str text_at(sqlite3_stmt *st, int i) {
    return (struct str){(const char *)sqlite3_column_text(st, i),
                        (size_t)sqlite3_column_bytes(st, i)};
}

/* Ids are dense and were given in this order, so adding in order gives the same ids. */
int manifest_load_schema(struct manifest *m, struct schema *schema, struct keel_error *err) {
    sqlite3_stmt *st;
    int code = 0, step;
    TRY(manifest_prepare(m, "SELECT id, kind, parent, name FROM stream ORDER BY id", &st, err));
    while (code == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(st, 0);
        int64_t kind = sqlite3_column_int64(st, 1), parent = sqlite3_column_int64(st, 2), got = -1;
        struct str name = text_at(st, 3);
        if (name.p && kind == STREAM_KIND_EVENT) got = schema_add_event(schema, name);
        if (name.p && kind == STREAM_KIND_ITEMS && parent > 0 && parent < id)
            got = schema_add_list(schema, (uint32_t)parent, name);
        if (got != id) code = error_set(err, KEEL_E_CORRUPT, "keel.db: stream %lld", (long long)id);
    }
    if (code == 0 && step != SQLITE_DONE) code = manifest_fail(m->db, "read the schema", err);
    sqlite3_finalize(st);
    TRY(code);
    TRY(manifest_prepare(m, "SELECT id, stream, type, text, name FROM col ORDER BY id", &st, err));
    while (code == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(st, 0), stream = sqlite3_column_int64(st, 1);
        int64_t type = sqlite3_column_int64(st, 2);
        struct str name = text_at(st, 4);
        bool good = name.p && stream >= 0 && stream < schema_streams(schema) && type >= 0 &&
                    type <= COLUMN_JSON;
        int64_t got =
            good ? schema_add_column(schema, (uint32_t)stream, name, (enum column_type)type) : -1;
        if (got != id)
            code = error_set(err, KEEL_E_CORRUPT, "keel.db: column %lld", (long long)id);
        else if (sqlite3_column_int(st, 3))
            schema_set_text(schema, (uint32_t)id);
    }
    if (code == 0 && step != SQLITE_DONE) code = manifest_fail(m->db, "read the schema", err);
    sqlite3_finalize(st);
    m->saved_streams = schema_streams(schema);
    m->saved_columns = schema_columns(schema);
    return code;
}

int manifest_save_schema(struct manifest *m, const struct schema *schema, struct keel_error *err) {
    sqlite3_stmt *st;
    uint32_t streams = schema_streams(schema), columns = schema_columns(schema);
    for (uint32_t id = m->saved_streams ? m->saved_streams : 1; id < streams; id++) {
        struct stream_info s = schema_stream(schema, id);
        TRY(manifest_prepare(
            m, "INSERT OR REPLACE INTO stream(id, kind, parent, name) VALUES(?,?,?,?)", &st, err));
        sqlite3_bind_int64(st, 1, id);
        sqlite3_bind_int(st, 2, (int)s.kind);
        sqlite3_bind_int64(st, 3, s.parent);
        sqlite3_bind_text(st, 4, s.name.p, (int)s.name.n, SQLITE_STATIC);
        TRY(finish(m, st, "save the schema", err));
    }
    for (uint32_t id = 0; id < columns; id++) {
        struct column_info c = schema_column(schema, id);
        if (id < m->saved_columns && !c.text) continue;
        TRY(manifest_prepare(
            m, "INSERT OR REPLACE INTO col(id, stream, type, text, name) VALUES(?,?,?,?,?)", &st,
            err));
        sqlite3_bind_int64(st, 1, id);
        sqlite3_bind_int64(st, 2, c.stream);
        sqlite3_bind_int(st, 3, (int)c.type);
        sqlite3_bind_int(st, 4, c.text);
        sqlite3_bind_text(st, 5, c.name.p, (int)c.name.n, SQLITE_STATIC);
        TRY(finish(m, st, "save the schema", err));
    }
    m->saved_streams = streams;
    m->saved_columns = columns;
    return 0;
}

int manifest_parts(struct manifest *m, int (*each)(void *, const struct manifest_part *), void *ctx,
                   struct keel_error *err) {
    sqlite3_stmt *st;
    int code = 0, step = SQLITE_DONE;
    TRY(manifest_prepare(m, "SELECT id, bucket, rows, bytes FROM part ORDER BY bucket, id", &st,
                         err));
    while (code >= 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
        struct manifest_part part = {.id = (uint64_t)sqlite3_column_int64(st, 0),
                                     .bucket = sqlite3_column_int(st, 1),
                                     .rows = (uint32_t)sqlite3_column_int64(st, 2),
                                     .bytes = (uint64_t)sqlite3_column_int64(st, 3)};
        code = each(ctx, &part);
    }
    if (code >= 0 && step != SQLITE_DONE) code = manifest_fail(m->db, "list the parts", err);
    sqlite3_finalize(st);
    return code < 0 ? code : 0;
}

int manifest_begin(struct manifest *m, struct keel_error *err) {
    return manifest_run(m, "BEGIN IMMEDIATE", "begin a change", err);
}
int manifest_commit(struct manifest *m, struct keel_error *err) {
    return manifest_run(m, "COMMIT", "commit a change", err);
}
void manifest_rollback(struct manifest *m) {
    (void)sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
    m->saved_streams = m->saved_columns = 0; /* written again by the next change */
}

int manifest_add_part(struct manifest *m, const struct manifest_part *part,
                      struct keel_error *err) {
    sqlite3_stmt *st;
    TRY(manifest_prepare(m, "INSERT INTO part(id, bucket, rows, bytes) VALUES(?,?,?,?)", &st, err));
    sqlite3_bind_int64(st, 1, (int64_t)part->id);
    sqlite3_bind_int(st, 2, part->bucket);
    sqlite3_bind_int64(st, 3, part->rows);
    sqlite3_bind_int64(st, 4, (int64_t)part->bytes);
    return finish(m, st, "add a part", err);
}

int manifest_remove_part(struct manifest *m, uint64_t id, struct keel_error *err) {
    sqlite3_stmt *st;
    TRY(manifest_prepare(m, "DELETE FROM part WHERE id = ?", &st, err));
    sqlite3_bind_int64(st, 1, (int64_t)id);
    return finish(m, st, "remove a part", err);
}
