/* SQLite behind the few calls that the rooms need: every statement is a literal, every value is
 * bound, every error is a sentence.
 *
 *     TRY(sql_run(db, err, "UPDATE source SET name = ? WHERE id = ?", "si", name, id));
 *
 *     struct sql_rows rows;
 *     TRY(sql_ask(db, &rows, err, "SELECT id, name FROM source WHERE state = ?", "z", "on"));
 *     while ((code = sql_next(&rows, err)) == 1) use(sql_i64(&rows, 0), sql_str(&rows, 1));
 *     sql_done(&rows);
 *
 * `types` has a letter a value: i int64_t · d double · s struct str (NULL if s.p is NULL) ·
 * z const char * (NULL is NULL) · b struct str as a blob. "" for none.
 *
 * Tables belong to rooms: each brings its steps to sql_migrate under its own name, and nobody else
 * touches them. A released step never changes.
 *
 * Layers: base, SQLite. Threads: a connection may be used by many; a transaction, and rows that are
 * being read, hold its lock (recursive), so keep them short and always end them. Another process
 * may have the same file open: WAL, and SQL_BUSY_MS of patience. Limits: SQL_CACHE prepared
 * statements are kept; a text or blob 64 MiB.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { SQL_BUSY_MS = 5000, SQL_CACHE = 128 };

struct sql;
struct sqlite3;
struct sqlite3_stmt;

enum sql_open_flags { SQL_READ_ONLY = 1, SQL_CREATE = 2 };

#define SQL_MEMORY                                                                                 \
    ":memory:" /* in place of a path: a database without a file, of this connection */
/* KEEL_E_NOT_FOUND without SQL_CREATE if there is no such file; one that is made has mode 0600. A
 * writer sets WAL and synchronous=FULL: what is committed is on disk. */
int sql_open(const char *path, unsigned flags, struct sql **out, struct keel_error *err) K_CHECKED;
void sql_close(struct sql *db);             /* NULL is fine; an open transaction is rolled back */
struct sqlite3 *sql_handle(struct sql *db); /* for SQLite's backup interface */

/* Brings the tables of `room` to the newest step: runs those of steps[0..n) that this file has not
 * seen, in one transaction. A file with more steps than n is KEEL_E_UNSUPPORTED: made by a newer
 * keel. */
int sql_migrate(struct sql *db, const char *room, const char *const *steps, unsigned n,
                struct keel_error *err) K_CHECKED;

/* Transactions nest: only the outermost commits; a rollback anywhere inside rolls back all. */
int sql_begin(struct sql *db, struct keel_error *err) K_CHECKED;
int sql_commit(struct sql *db, struct keel_error *err) K_CHECKED;
void sql_rollback(struct sql *db);
/* Commits if code is 0, else rolls back; returns the code, or that of the failed commit. */
int sql_end(struct sql *db, int code, struct keel_error *err) K_CHECKED;

/* A statement without rows. Returns 0; KEEL_E_EXISTS for a violated UNIQUE or PRIMARY KEY. */
int sql_run(struct sql *db, struct keel_error *err, const char *literal, const char *types,
            ...) K_CHECKED;
int64_t sql_changes(struct sql *db); /* rows changed by the last sql_run of this thread's turn */
int64_t sql_last_id(struct sql *db); /* rowid of its last insert */
/* True if another connection has changed the file since the last call: cheap enough per second. */
bool sql_changed(struct sql *db);

struct sql_rows {
    struct sql *db;
    struct sqlite3_stmt *st;
};
int sql_ask(struct sql *db, struct sql_rows *rows, struct keel_error *err, const char *literal,
            const char *types, ...) K_CHECKED;
/* 1: the next row; 0: no more; negative: failed. Texts live until the next call. */
int sql_next(struct sql_rows *rows, struct keel_error *err) K_CHECKED;
void sql_done(struct sql_rows *rows);

int64_t sql_i64(const struct sql_rows *rows, int column);
double sql_f64(const struct sql_rows *rows, int column);
struct str sql_str(const struct sql_rows *rows, int column); /* NULL: p is NULL */
bool sql_is_null(const struct sql_rows *rows, int column);

/* The first column of the first row as a whole number; `otherwise` if there is no row. */
int sql_number(struct sql *db, int64_t otherwise, int64_t *out, struct keel_error *err,
               const char *literal, const char *types, ...) K_CHECKED;
