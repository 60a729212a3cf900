/* Implementation of manifest.h. */
#include "store/manifest.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/os.h"

enum { MANIFEST_FORMAT = 1 };

int manifest_set(struct manifest *m, const char *name, struct str value, struct keel_error *err) {
    return sql_run(m->db, err, "INSERT OR REPLACE INTO state(name, value) VALUES(?, ?)", "zs", name,
                   value);
}

int manifest_get(struct manifest *m, const char *name, struct arena *a, struct str *out,
                 struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(m->db, &rows, err, "SELECT value FROM state WHERE name = ?", "z", name));
    int got = sql_next(&rows, err);
    if (got == 1) *out = str_dup(a, sql_str(&rows, 0));
    sql_done(&rows);
    if (got == 0) FAIL(err, NOT_FOUND, "no setting %s", name);
    return got < 0 ? got : 0;
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
    if (code == -KEEL_E_NOT_FOUND || (code == 0 && !str_to_u64(text, out)))
        code = error_set(err, KEEL_E_CORRUPT, "keel.db: state %s is no number", name);
    arena_release(&a);
    return code;
}

int manifest_save_state(struct manifest *m, struct keel_error *err) {
    TRY(set_number(m, "journal_position", m->journal_position, err));
    TRY(set_number(m, "next_part", m->next_part, err));
    return set_number(m, "arrivals", m->arrivals, err);
}

static int create_tables(struct manifest *m, struct keel_error *err) {
    TRY(sql_run(m->db, err, "CREATE TABLE state(name TEXT PRIMARY KEY, value) WITHOUT ROWID", ""));
    TRY(sql_run(m->db, err,
                "CREATE TABLE part(id INTEGER PRIMARY KEY, bucket INTEGER NOT NULL,"
                "  rows INTEGER NOT NULL, bytes INTEGER NOT NULL)",
                ""));
    TRY(sql_run(m->db, err,
                "CREATE TABLE stream(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL,"
                "  parent INTEGER NOT NULL, name TEXT NOT NULL)",
                ""));
    TRY(sql_run(m->db, err,
                "CREATE TABLE col(id INTEGER PRIMARY KEY, stream INTEGER NOT NULL,"
                "  type INTEGER NOT NULL, text INTEGER NOT NULL, name TEXT NOT NULL)",
                ""));
    if (getrandom(m->store_id, sizeof m->store_id, 0) != sizeof m->store_id)
        FAIL(err, IO, "no random numbers for a store id");
    m->next_part = 1;
    TRY(set_number(m, "format", MANIFEST_FORMAT, err));
    TRY(manifest_save_state(m, err));
    return sql_run(m->db, err, "INSERT INTO state(name, value) VALUES('store_id', ?)", "b",
                   (struct str){(const char *)m->store_id, sizeof m->store_id});
}

static int create(struct manifest *m, struct keel_error *err) {
    TRY(sql_begin(m->db, err));
    int code = create_tables(m, err);
    if (code < 0)
        sql_rollback(m->db);
    else
        m->making = true;
    return code;
}

int manifest_made(struct manifest *m, struct keel_error *err) {
    m->making = false;
    return sql_commit(m->db, err);
}

static int load_id(struct manifest *m, struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(m->db, &rows, err, "SELECT value FROM state WHERE name = 'store_id'", ""));
    int got = sql_next(&rows, err);
    struct str id = got == 1 ? sql_str(&rows, 0) : STR("");
    if (id.n == sizeof m->store_id) memcpy(m->store_id, id.p, sizeof m->store_id);
    sql_done(&rows);
    if (got >= 0 && id.n != sizeof m->store_id) FAIL(err, CORRUPT, "keel.db has no store id");
    return got < 0 ? got : 0;
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
    return load_id(m, err);
}

/* Making is one transaction: a file without the table of states is of a making that did not come to
 * its end. */
static int find_tables(struct manifest *m, bool *out, struct keel_error *err) {
    int64_t tables;
    TRY(sql_number(m->db, 0, &tables, err,
                   "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'state'",
                   ""));
    *out = tables != 0;
    return 0;
}

static int open_or_make(struct manifest *m, const char *dir, bool make, struct keel_error *err) {
    bool made;
    TRY(find_tables(m, &made, err));
    if (make && made) FAIL(err, EXISTS, "%s is a data directory already", dir);
    if (make) return create(m, err);
    if (!made)
        FAIL(err, NOT_FOUND, "%s was never finished (keel.db is empty); run 'keel init %s' again",
             dir, dir);
    return load(m, err);
}

int manifest_open(struct manifest *m, const char *dir, bool make, bool read_only,
                  struct keel_error *err) {
    char path[4096];
    *m = (struct manifest){0};
    snprintf(path, sizeof path, "%s/keel.db", dir);
    if (!make && !file_exists(path))
        FAIL(err, NOT_FOUND, "%s is no data directory (no keel.db); make one with 'keel init %s'",
             dir, dir);
    TRY(sql_open(path, (read_only ? SQL_READ_ONLY : 0) | (make ? SQL_CREATE : 0), &m->db, err));
    int code = open_or_make(m, dir, make, err);
    if (code < 0) manifest_close(m);
    return code;
}

void manifest_close(struct manifest *m) {
    if (m->making) sql_rollback(m->db);
    m->making = false;
    sql_close(m->db);
    m->db = NULL;
}

/* Ids are dense and were given in this order, so adding in order gives the same ids. */
static int add_stream(struct schema *schema, const struct sql_rows *rows, struct keel_error *err) {
    int64_t id = sql_i64(rows, 0), kind = sql_i64(rows, 1), parent = sql_i64(rows, 2), got = -1;
    struct str name = sql_str(rows, 3);
    if (name.p && kind == STREAM_KIND_EVENT) got = schema_add_event(schema, name);
    if (name.p && kind == STREAM_KIND_ITEMS && parent > 0 && parent < id)
        got = schema_add_list(schema, (uint32_t)parent, name);
    if (got != id) FAIL(err, CORRUPT, "keel.db: stream %lld", (long long)id);
    return 0;
}

static int add_column(struct schema *schema, const struct sql_rows *rows, struct keel_error *err) {
    int64_t id = sql_i64(rows, 0), stream = sql_i64(rows, 1), type = sql_i64(rows, 2);
    struct str name = sql_str(rows, 4);
    bool good = name.p && stream >= 0 && stream < schema_streams(schema) && type >= 0 &&
                type <= COLUMN_JSON;
    int64_t got =
        good ? schema_add_column(schema, (uint32_t)stream, name, (enum column_type)type) : -1;
    if (got != id) FAIL(err, CORRUPT, "keel.db: column %lld", (long long)id);
    if (sql_i64(rows, 3)) schema_set_text(schema, (uint32_t)id);
    return 0;
}

static int add_rows(struct sql_rows *rows, struct schema *schema,
                    int (*add)(struct schema *, const struct sql_rows *, struct keel_error *),
                    struct keel_error *err) {
    int code;
    while ((code = sql_next(rows, err)) == 1 && (code = add(schema, rows, err)) == 0) continue;
    sql_done(rows);
    return code;
}

int manifest_load_schema(struct manifest *m, struct schema *schema, struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(m->db, &rows, err, "SELECT id, kind, parent, name FROM stream ORDER BY id", ""));
    TRY(add_rows(&rows, schema, add_stream, err));
    TRY(sql_ask(m->db, &rows, err, "SELECT id, stream, type, text, name FROM col ORDER BY id", ""));
    TRY(add_rows(&rows, schema, add_column, err));
    m->saved_streams = schema_streams(schema);
    m->saved_columns = schema_columns(schema);
    return 0;
}

int manifest_save_schema(struct manifest *m, const struct schema *schema, struct keel_error *err) {
    uint32_t streams = schema_streams(schema), columns = schema_columns(schema);
    for (uint32_t id = m->saved_streams ? m->saved_streams : 1; id < streams; id++) {
        struct stream_info s = schema_stream(schema, id);
        TRY(sql_run(m->db, err,
                    "INSERT OR REPLACE INTO stream(id, kind, parent, name) VALUES(?,?,?,?)", "iiis",
                    (int64_t)id, (int64_t)s.kind, (int64_t)s.parent, s.name));
    }
    for (uint32_t id = 0; id < columns; id++) {
        struct column_info c = schema_column(schema, id);
        if (id < m->saved_columns && !c.text) continue;
        TRY(sql_run(m->db, err,
                    "INSERT OR REPLACE INTO col(id, stream, type, text, name) VALUES(?,?,?,?,?)",
                    "iiiis", (int64_t)id, (int64_t)c.stream, (int64_t)c.type, (int64_t)c.text,
                    c.name));
    }
    m->saved_streams = streams;
    m->saved_columns = columns;
    return 0;
}

int manifest_parts(struct manifest *m, int (*each)(void *, const struct manifest_part *), void *ctx,
                   struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(m->db, &rows, err, "SELECT id, bucket, rows, bytes FROM part ORDER BY bucket, id",
                ""));
    while ((code = sql_next(&rows, err)) == 1) {
        struct manifest_part part = {.id = (uint64_t)sql_i64(&rows, 0),
                                     .bucket = (int32_t)sql_i64(&rows, 1),
                                     .rows = (uint32_t)sql_i64(&rows, 2),
                                     .bytes = (uint64_t)sql_i64(&rows, 3)};
        code = each(ctx, &part);
        if (code < 0) break;
    }
    sql_done(&rows);
    return code < 0 ? code : 0;
}

void manifest_forget(struct manifest *m) { m->saved_streams = m->saved_columns = 0; }

int manifest_add_part(struct manifest *m, const struct manifest_part *part,
                      struct keel_error *err) {
    return sql_run(m->db, err, "INSERT INTO part(id, bucket, rows, bytes) VALUES(?,?,?,?)", "iiii",
                   (int64_t)part->id, (int64_t)part->bucket, (int64_t)part->rows,
                   (int64_t)part->bytes);
}

int manifest_remove_part(struct manifest *m, uint64_t id, struct keel_error *err) {
    return sql_run(m->db, err, "DELETE FROM part WHERE id = ?", "i", (int64_t)id);
}
