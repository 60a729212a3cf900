/* Making a backup: see backup.h for what one is.
 *
 * The order makes it one moment: a snapshot first (its parts stay), the journal held, keel.db
 * copied, the journal's durable end noted. What keel.db names is then on disk and cannot go, but
 * for a part that was both made and merged away between the snapshot and the copy: then all is
 * begun again, and what was copied is not copied twice. The journal is copied next and let go;
 * parts, which may take long, come last.
 *
 * A part that is new in the folder is checked like `keel doctor` does before it is taken: a backup
 * of damage would be found when it is needed. The journal's records are checked, too. */
#include "customer/backup.h"

#include <sqlite3.h>
#include <stdio.h>

#include "base/os.h"
#include "base/sql.h"
#include "customer/backup_check.h"
#include "customer/backup_inventory.h"
#include "store/journal/file.h"
#include "store/journal/reader.h"

enum { ATTEMPTS = 5, US_PER_S = 1000000 };

struct taking {
    const struct backup_options *options;
    struct inventory now, last;
    bool has_last;
    uint8_t *room; /* BACKUP_PIECE_BYTES */
    struct backup_progress progress;
    uint64_t written, identity_bytes;
    struct part_checker *checker;
    struct manifest_part *parts;
    size_t part_count;
};

/* ---- files ---- */

static int cancelled(const struct taking *t, struct keel_error *err) {
    if (t->options->cancel && *t->options->cancel) FAIL(err, CANCELLED, "the backup was cancelled");
    return 0;
}

static void show(struct taking *t) {
    t->progress.copied_bytes = t->written;
    if (t->options->progress) t->options->progress(t->options->ctx, &t->progress);
}

/* The first `bytes` of an open file, as the last file of the inventory. */
static int copy_bytes(struct taking *t, int fd, const char *path, uint64_t bytes,
                      struct keel_error *err) {
    for (uint64_t at = 0; at < bytes;) {
        size_t n = bytes - at < BACKUP_PIECE_BYTES ? (size_t)(bytes - at) : BACKUP_PIECE_BYTES;
        struct piece piece;
        TRY(cancelled(t, err));
        TRY(file_pread_all(fd, t->room, n, at, path, err));
        TRY(piece_put(t->options->to, (struct str){(const char *)t->room, n}, t->options->full,
                      &piece, &t->written, err));
        inventory_add_piece(&t->now, &piece);
        at += n;
        t->progress.bytes += n;
        show(t);
    }
    t->progress.files++;
    return 0;
}

/* `bytes` UINT64_MAX: the whole file. */
static int copy_file(struct taking *t, const char *path, const char *name, const char *what,
                     uint64_t bytes, int64_t changed_us, struct keel_error *err) {
    int fd;
    uint64_t size;
    TRY(file_open(path, FILE_READ, &fd, err));
    int code = file_size(fd, path, &size, err);
    if (code == 0 && bytes != UINT64_MAX && size < bytes)
        code = error_set(err, KEEL_E_CORRUPT, "%s ends at byte %llu, it should have %llu", path,
                         (unsigned long long)size, (unsigned long long)bytes);
    if (code == 0) {
        struct inventory_file *f = inventory_add_file(&t->now, str_from(name), str_from(what));
        f->bytes = bytes == UINT64_MAX ? size : bytes;
        f->changed_us = changed_us;
        code = copy_bytes(t, fd, path, f->bytes, err);
    }
    file_close(fd);
    return code;
}

/* Takes a file over from the last generation, if it is the same and all of it is there. */
static bool take_over(struct taking *t, const char *name, uint64_t bytes, int64_t changed_us) {
    if (!t->has_last || t->options->full) return false;
    const struct inventory_file *old = inventory_find(&t->last, str_from(name));
    if (!old || old->bytes != bytes || old->changed_us != changed_us) return false;
    const struct piece *pieces = &t->last.pieces[old->first_piece];
    for (size_t i = 0; i < old->pieces; i++)
        if (!piece_exists(t->options->to, &pieces[i])) return false;
    struct inventory_file *f = inventory_add_file(&t->now, old->name, old->what);
    f->bytes = bytes;
    f->changed_us = changed_us;
    for (size_t i = 0; i < old->pieces; i++) inventory_add_piece(&t->now, &pieces[i]);
    t->progress.files++;
    t->progress.bytes += bytes;
    show(t);
    return true;
}

static bool stat_file(const char *path, uint64_t *bytes, int64_t *changed_us) {
    struct stat st;
    if (os_table()->stat(path, &st) < 0 || !S_ISREG(st.st_mode)) return false;
    *bytes = (uint64_t)st.st_size;
    *changed_us = (int64_t)st.st_mtim.tv_sec * US_PER_S + st.st_mtim.tv_nsec / 1000;
    return true;
}

/* ---- databases ---- */

static int check_database(struct sql *db, const char *path, struct keel_error *err) {
    struct sql_rows rows;
    TRY(sql_ask(db, &rows, err, "PRAGMA integrity_check(1)", ""));
    int code = sql_next(&rows, err);
    if (code == 1 && !str_is(sql_str(&rows, 0), "ok"))
        code =
            error_set(err, KEEL_E_CORRUPT, "%s is damaged: %.*s", path, STR_ARG(sql_str(&rows, 0)));
    sql_done(&rows);
    return code < 0 ? code : 0;
}

static int copy_pages(struct sql *from, struct sql *to, const char *path, struct keel_error *err) {
    sqlite3_backup *b = sqlite3_backup_init(sql_handle(to), "main", sql_handle(from), "main");
    if (!b) FAIL(err, IO, "cannot copy %s: %s", path, sqlite3_errmsg(sql_handle(to)));
    int step;
    do step = sqlite3_backup_step(b, -1); /* all in one read transaction: one moment */
    while (step == SQLITE_BUSY || step == SQLITE_LOCKED);
    int end = sqlite3_backup_finish(b);
    if (step != SQLITE_DONE || end != SQLITE_OK)
        FAIL(err, IO, "cannot copy %s: %s", path, sqlite3_errstr(step == SQLITE_DONE ? end : step));
    return 0;
}

/* DIR/name -> TO/work/name, checked and closed. */
static int copy_database(struct taking *t, const char *name, struct keel_error *err) {
    char from_path[PIECE_PATH_BYTES], to_path[PIECE_PATH_BYTES], wal[PIECE_PATH_BYTES + 8];
    struct db *db = t->options->db;
    struct sql *from, *to;
    snprintf(from_path, sizeof from_path, "%s/%s", t->options->dir, name);
    snprintf(to_path, sizeof to_path, "%s/work/%s", t->options->to, name);
    TRY(sql_open(from_path, SQL_READ_ONLY, &from, err));
    int code = sql_open(to_path, SQL_CREATE, &to, err);
    if (code == 0) {
        code = copy_pages(from, to, from_path, err);
        /* At once: what is between is replayed into memory after a restore. */
        if (!t->now.journal_to && db) {
            t->now.made_ms = now_ms(); /* first: what was acknowledged by then is durable */
            t->now.journal_to = journal_durable(store_get_journal(db_store(db)));
        }
        if (code == 0) code = check_database(to, from_path, err);
        sql_close(to);
    }
    sql_close(from);
    snprintf(wal, sizeof wal, "%s-wal", to_path);
    if (code == 0 && file_exists(wal)) /* the close could not write it back */
        FAIL(err, IO, "cannot copy %s: the copy could not be finished; is the disk full?",
             from_path);
    return code;
}

static int keep_part(void *ctx, const struct manifest_part *part) {
    struct taking *t = ctx;
    t->parts = k_realloc(t->parts, (t->part_count + 1) * sizeof *t->parts);
    t->parts[t->part_count++] = *part;
    return 0;
}

static int read_lineage(struct taking *t, struct manifest *m, struct arena *a,
                        struct keel_error *err) {
    struct str text;
    int code = manifest_get(m, BACKUP_LINEAGE, a, &text, err);
    if (code == -KEEL_E_NOT_FOUND) return 0; /* never restored */
    if (code == 0 && text.n != sizeof t->now.lineage - 1)
        code = error_set(err, KEEL_E_CORRUPT, "keel.db: " BACKUP_LINEAGE " is no lineage");
    if (code == 0) memcpy(t->now.lineage, text.p, text.n);
    return code;
}

/* What the copied keel.db says. */
static int read_manifest(struct taking *t, struct keel_error *err) {
    char work[PIECE_PATH_BYTES];
    struct manifest m;
    struct arena a;
    struct str text;
    snprintf(work, sizeof work, "%s/work", t->options->to);
    TRY(manifest_open(&m, work, false, true, err));
    arena_init(&a, 1 << 16);
    memcpy(t->now.store_id, m.store_id, sizeof t->now.store_id);
    t->now.journal_from = m.journal_position;
    t->part_count = 0;
    t->identity_bytes = 0;
    int code = manifest_parts(&m, keep_part, t, err);
    if (code == 0) {
        code = manifest_get(&m, "identity_bytes", &a, &text, err);
        if (code == 0 && !str_to_u64(text, &t->identity_bytes))
            code = error_set(err, KEEL_E_CORRUPT, "keel.db: identity_bytes is no number");
        if (code == -KEEL_E_NOT_FOUND) code = 0; /* nothing was flushed yet */
    }
    if (code == 0) code = read_lineage(t, &m, &a, err);
    if (code == 0) code = part_checker_new(&m, &t->checker, err);
    arena_release(&a);
    manifest_close(&m);
    return code;
}

static int take_database(struct taking *t, const char *name, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/work/%s", t->options->to, name);
    return copy_file(t, path, name, "-", UINT64_MAX, 0, err);
}

/* ---- the journal ---- */

/* Reads every record from `first` on, and notes how far back the journal can be cut. */
static int check_journal(struct taking *t, uint64_t first, struct keel_error *err) {
    struct journal_reader *r;
    struct journal_record record;
    TRY(journal_reader_open(t->options->dir, t->now.store_id, first, &r, NULL, err));
    int got;
    while ((got = journal_reader_next(r, t->now.journal_to, &record, err)) == 1)
        if (record.kind == STORE_RECORD_CLOCK && record.payload.n == sizeof t->now.reaches_ms &&
            t->now.reaches_ms == INT64_MAX && record.position >= t->now.journal_from)
            memcpy(&t->now.reaches_ms, record.payload.p, sizeof t->now.reaches_ms);
    journal_reader_close(r);
    return got;
}

struct journal_end {
    uint64_t end;
};

static void note_end(void *ctx, const struct journal_finding *f) {
    struct journal_end *e = ctx;
    if (f->verdict == JOURNAL_FILE_GOOD) e->end = f->end;
}

/* Up to where the journal counts: what is durable, or the end of what nobody writes any more. */
static int find_end(struct taking *t, struct keel_error *err) {
    struct journal_end e = {0};
    if (t->options->db) return 0; /* copy_database did */
    TRY(journal_check(t->options->dir, t->now.store_id, note_end, &e, err));
    t->now.journal_to = e.end;
    return 0;
}

static int take_journal(struct taking *t, struct keel_error *err) {
    struct journal_list files = {0};
    char path[JOURNAL_PATH_BYTES], name[64];
    TRY(find_end(t, err));
    int code = journal_list_read(t->options->dir, false, &files, err);
    if (code == 0) code = check_journal(t, files.n ? files.first[0] : t->now.journal_from, err);
    for (size_t i = 0; i < files.n && code == 0; i++) {
        uint64_t first = files.first[i], end = t->now.journal_to;
        if (i + 1 < files.n && files.first[i + 1] < end) end = files.first[i + 1];
        if (i > 0 && first >= end) break; /* made since */
        journal_file_path(path, t->options->dir, first);
        snprintf(name, sizeof name, "journal/%016llx.keelj", (unsigned long long)first);
        code = copy_file(t, path, name, "-", JOURNAL_HEADER_BYTES + (end - first), 0, err);
    }
    k_free(files.first);
    return code;
}

/* ---- parts, identities, archive ---- */

static int take_part(struct taking *t, const struct manifest_part *part, struct keel_error *err) {
    char path[PIECE_PATH_BYTES], name[64], month[32];
    uint64_t bytes = 0;
    int64_t changed_us = 0;
    snprintf(name, sizeof name, "parts/%012llu.part", (unsigned long long)part->id);
    snprintf(path, sizeof path, "%s/%s", t->options->dir, name);
    snprintf(month, sizeof month, "%d-%02d", 1970 + part->bucket / 12, part->bucket % 12 + 1);
    if (!stat_file(path, &bytes, &changed_us)) FAIL(err, NOT_FOUND, "%s is missing", path);
    if (bytes != part->bytes)
        FAIL(err, CORRUPT, "%s has %llu bytes, keel.db says %llu", path, (unsigned long long)bytes,
             (unsigned long long)part->bytes);
    if (take_over(t, name, bytes, changed_us)) return 0;
    TRY(part_checker_check(t->checker, path, part, err));
    return copy_file(t, path, name, month, bytes, changed_us, err);
}

static int take_identities(struct taking *t, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    if (!t->identity_bytes) return 0;
    snprintf(path, sizeof path, "%s/identity.log", t->options->dir);
    return copy_file(t, path, "identity.log", "-", t->identity_bytes, 0, err);
}

struct archive_list {
    struct arena names;
    struct str *name;
    size_t n;
};

static int list_archive(void *ctx, const char *name) {
    struct archive_list *l = ctx;
    l->name = k_realloc(l->name, (l->n + 1) * sizeof *l->name);
    l->name[l->n++] = str_dup(&l->names, (struct str){name, strlen(name) + 1});
    return 0;
}

static int take_archive(struct taking *t, struct keel_error *err) {
    char path[PIECE_PATH_BYTES], name[512];
    struct archive_list l = {0};
    uint64_t bytes;
    int64_t changed_us;
    snprintf(path, sizeof path, "%s/archive", t->options->dir);
    if (!file_exists(path)) return 0;
    arena_init(&l.names, SIZE_MAX / 2);
    int code = file_list_dir(path, list_archive, &l, err);
    for (size_t i = 0; i < l.n && code == 0; i++) {
        snprintf(name, sizeof name, "archive/%s", l.name[i].p);
        snprintf(path, sizeof path, "%s/%s", t->options->dir, name);
        if (!stat_file(path, &bytes, &changed_us) || take_over(t, name, bytes, changed_us))
            continue;
        code = copy_file(t, path, name, "-", bytes, changed_us, err);
        if (code == -KEEL_E_NOT_FOUND) code = 0; /* its time was over */
    }
    k_free(l.name);
    arena_release(&l.names);
    return code;
}

/* The records that were verified. More may stand behind them by now. */
static int take_audit(struct taking *t, struct keel_error *err) {
    const struct backup_options *options = t->options;
    struct piece piece;
    char path[PIECE_PATH_BYTES];
    if (!options->audit_bytes) return 0;
    snprintf(path, sizeof path, "%s/audit.log", options->dir);
    TRY(copy_file(t, path, "audit.log", "-", options->audit_bytes, 0, err));
    snprintf(path, sizeof path, "%s/audit.key", options->dir);
    TRY(copy_file(t, path, "audit.key", "-", UINT64_MAX, 0, err));
    TRY(piece_put(options->to, options->audit_head, options->full, &piece, &t->written, err));
    inventory_add_file(&t->now, STR("audit.head"), STR("-"))->bytes = options->audit_head.n;
    inventory_add_piece(&t->now, &piece);
    t->progress.files++;
    return 0;
}

/* ---- one generation ---- */

static int empty_work(const char *to, struct keel_error *err) {
    static const char *const names[] = {"keel.db",         "keel.db-wal",     "keel.db-shm",
                                        "keel.db-journal", "desk.db",         "desk.db-wal",
                                        "desk.db-shm",     "desk.db-journal", "inventory"};
    char path[PIECE_PATH_BYTES];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/work/%s", to, names[i]);
        TRY(file_remove(path, err));
    }
    return 0;
}

static int same_store(const struct taking *t, struct keel_error *err) {
    if (t->has_last && memcmp(t->last.store_id, t->now.store_id, sizeof t->now.store_id) != 0)
        FAIL(err, INVALID, "%s holds backups of another data directory; use a folder of its own",
             t->options->to);
    return 0;
}

static int take_moment(struct taking *t, struct keel_error *err) {
    if (!t->options->db) t->now.made_ms = now_ms();
    TRY(copy_database(t, "keel.db", err));
    TRY(read_manifest(t, err));
    TRY(same_store(t, err));
    TRY(take_journal(t, err));
    return take_database(t, "keel.db", err);
}

static int take_rest(struct taking *t, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    TRY(take_identities(t, err));
    for (size_t i = 0; i < t->part_count; i++) TRY(take_part(t, &t->parts[i], err));
    snprintf(path, sizeof path, "%s/desk.db", t->options->dir);
    if (file_exists(path)) {
        TRY(copy_database(t, "desk.db", err));
        TRY(take_database(t, "desk.db", err));
    }
    TRY(take_audit(t, err));
    return take_archive(t, err);
}

/* The journal keeps for this folder what comes from here on. */
static int note_journal(const struct taking *t, struct journal *j, struct keel_error *err) {
    const struct backup_options *o = t->options;
    char *folder = NULL;
    int code = file_real_path(o->to, &folder, err);
    if (code == 0)
        code = j ? journal_hold_backup(j, folder, t->now.journal_to, o->journal_bytes, err)
                 : journal_note_backup(o->dir, folder, t->now.journal_to, o->journal_bytes, err);
    k_free(folder);
    return error_context(err, code,
                         "generation %llu is made, but the journal cannot be kept for the next",
                         (unsigned long long)t->now.generation);
}

static int take_once(struct taking *t, struct keel_error *err) {
    struct journal *j = t->options->db ? store_get_journal(db_store(t->options->db)) : NULL;
    struct snapshot *snap = NULL;
    uint64_t generation = t->now.generation;
    inventory_release(&t->now);
    inventory_init(&t->now);
    t->now.generation = generation;
    part_checker_free(t->checker);
    t->checker = NULL;
    TRY(empty_work(t->options->to, err));
    if (j) TRY(snapshot_open(db_store(t->options->db), &snap, err));
    int code = j ? journal_hold(j, JOURNAL_FOLLOWER_BACKUP, 0, err) : 0;
    if (code == 0) code = take_moment(t, err);
    /* What comes from here on is for the next backup, which will find a note. */
    if (j && code == 0) code = journal_hold(j, JOURNAL_FOLLOWER_BACKUP, t->now.journal_to, err);
    if (code == 0) code = take_rest(t, err);
    snapshot_close(snap);
    if (code == 0) code = inventory_write(t->options->to, &t->now, err);
    if (code == 0) code = note_journal(t, j, err);
    if (j) (void)!journal_hold(j, JOURNAL_FOLLOWER_BACKUP, JOURNAL_NO_HOLD, NULL);
    int emptied = empty_work(t->options->to, code < 0 ? NULL : err);
    return code < 0 ? code : emptied;
}

/* ---- retention ---- */

static int remove_old(const struct taking *t, const uint64_t *numbers, size_t n,
                      struct backup_made *made, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    struct piece_set keep = {0};
    uint32_t good = 0;
    bool all_known = true;
    int code = 0;
    for (size_t i = n; i-- > 0 && code == 0;) {
        struct inventory v;
        if (inventory_read(t->options->to, numbers[i], &v, NULL) < 0) {
            all_known = false; /* its pieces are unknown: none is swept */
            continue;
        }
        if (t->options->keep && ++good > t->options->keep) {
            inventory_path(t->options->to, numbers[i], path);
            code = file_remove(path, err);
            made->removed_generations += code == 0;
        } else {
            for (size_t k = 0; k < v.piece_count; k++) (void)piece_set_add(&keep, v.pieces[k].hash);
        }
        inventory_release(&v);
    }
    snprintf(path, sizeof path, "%s/generations", t->options->to);
    if (code == 0 && made->removed_generations) code = file_sync_dir(path, err);
    if (code == 0 && all_known)
        code = pieces_sweep(t->options->to, &keep, &made->removed_pieces, err);
    piece_set_release(&keep);
    return code;
}

static int tidy(const struct taking *t, struct backup_made *made, struct keel_error *err) {
    uint64_t *numbers;
    size_t n;
    TRY(inventory_list(t->options->to, &numbers, &n, err));
    int code = remove_old(t, numbers, n, made, err);
    k_free(numbers);
    return error_context(err, code, "generation %llu is made, but old ones could not be removed",
                         (unsigned long long)made->generation);
}

/* ---- the folder ---- */

static int make_folder(const char *to, struct keel_error *err) {
    static const char *const folders[] = {"", "/pieces", "/generations", "/work"};
    char path[PIECE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/keel.db", to);
    if (file_exists(path))
        FAIL(err, INVALID, "%s is a data directory; backups need a folder of their own", to);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s%s", to, folders[i]);
        TRY(file_make_dir(path, err));
    }
    return file_sync_dir(to, err);
}

static int lock_path(const char *dir, bool shared, int *out_fd, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/lock", dir);
    TRY(file_open(path, shared ? FILE_READ : FILE_WRITE | FILE_CREATE, out_fd, err));
    int code = file_lock(*out_fd, shared, dir, err);
    if (code < 0) {
        file_close(*out_fd);
        *out_fd = -1;
    }
    return code;
}

/* The newest generation that can be read, to take over from. */
static int find_last(struct taking *t, struct keel_error *err) {
    uint64_t *numbers;
    size_t n;
    TRY(inventory_list(t->options->to, &numbers, &n, err));
    t->now.generation = n ? numbers[n - 1] + 1 : 1;
    for (size_t i = n; i-- > 0 && !t->has_last;)
        t->has_last = inventory_read(t->options->to, numbers[i], &t->last, NULL) == 0;
    k_free(numbers);
    return 0;
}

static int take_locked(struct taking *t, struct backup_made *made, struct keel_error *err) {
    TRY(find_last(t, err));
    int code = -KEEL_E_NOT_FOUND;
    for (int i = 0; i < ATTEMPTS && code == -KEEL_E_NOT_FOUND; i++) {
        t->progress = (struct backup_progress){0};
        code = take_once(t, err);
        if (!t->options->db) break; /* nobody took it away: it is missing */
    }
    TRY(code);
    *made = (struct backup_made){.generation = t->now.generation,
                                 .files = t->now.file_count,
                                 .bytes = inventory_bytes(&t->now),
                                 .copied_bytes = t->written};
    return tidy(t, made, err);
}

int backup_take(const struct backup_options *options, struct backup_made *out,
                struct keel_error *err) {
    struct taking t = {.options = options};
    struct backup_made made = {0};
    int folder_lock = -1, data_lock = -1;
    char path[PIECE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/keel.db", options->dir);
    if (!file_exists(path))
        FAIL(err, NOT_FOUND, "%s is no data directory (no keel.db)", options->dir);
    TRY(make_folder(options->to, err));
    inventory_init(&t.now);
    int code = lock_path(options->to, false, &folder_lock, err);
    if (code == 0 && !options->db) code = lock_path(options->dir, true, &data_lock, err);
    if (code == 0) {
        t.room = k_alloc(BACKUP_PIECE_BYTES);
        code = take_locked(&t, &made, err);
    }
    file_close(data_lock);
    file_close(folder_lock);
    part_checker_free(t.checker);
    inventory_release(&t.now);
    if (t.has_last) inventory_release(&t.last);
    k_free(t.parts);
    k_free(t.room);
    if (code == 0) *out = made;
    return code;
}
