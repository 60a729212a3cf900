/* Looking at backups and restoring one: see backup.h.
 *
 * A restore writes every file of a generation piece by piece, each checked, into a folder that was
 * empty; keel.db comes last, so that a folder whose restore died is no data directory. Journal
 * files get back the preallocated size that their header states. To end at a moment, the journal is
 * read to the first clock record behind it (store.h) and zeros are written from there on: to a
 * reader, the journal ends there. If later generations' journals go on from the chosen one's, their
 * files are taken in place of its own: same name, more records.
 *
 * keel.db is told that it begins a lineage (backup.h) before it gets its name.
 *
 * Layers: backup_inventory.h, store/journal/reader.h. Threads: none. Limits: backup.h. */
#include <sodium.h>
#include <stdio.h>

#include "base/os.h"
#include "base/sql.h"
#include "customer/backup_inventory.h"
#include "store/journal/file.h"
#include "store/journal/reader.h"

enum { TEXT_BYTES = 8192 };

/* ---- list ---- */

int backup_list(const char *from, void (*each)(void *ctx, const struct backup_info *info),
                void *ctx, struct keel_error *err) {
    uint64_t *numbers;
    size_t n;
    struct inventory before;
    TRY(inventory_list(from, &numbers, &n, err));
    inventory_init(&before);
    for (size_t i = 0; i < n; i++) {
        struct inventory v;
        if (inventory_read(from, numbers[i], &v, NULL) < 0) continue;
        bool joins = before.generation && inventory_goes_on(&v, &before);
        int64_t alone = v.reaches_ms < v.made_ms ? v.reaches_ms : v.made_ms;
        struct backup_info info = {.generation = v.generation,
                                   .made_ms = v.made_ms,
                                   .moments_from_ms = joins ? before.made_ms : alone,
                                   .journal_from = v.journal_from,
                                   .journal_to = v.journal_to,
                                   .files = v.file_count,
                                   .bytes = inventory_bytes(&v)};
        each(ctx, &info);
        inventory_release(&before);
        before = v;
    }
    inventory_release(&before);
    k_free(numbers);
    return 0;
}

/* ---- verify ---- */

struct verifying {
    const char *from;
    const struct backup_report *report;
    struct piece_set good, bad; /* read already */
    struct buf room;
    uint64_t faults;
};

static void report_fault(struct verifying *t, const char *text) {
    t->faults++;
    if (t->report && t->report->fault) t->report->fault(t->report->ctx, text);
}

/* Says of a damaged piece which file it belongs to, where, and what it held. */
static void report_piece(struct verifying *t, const struct inventory_file *f, uint64_t at,
                         const char *why) {
    char text[TEXT_BYTES];
    bool month = !str_is(f->what, "-");
    snprintf(text, sizeof text, "generation %llu: %.*s%s%.*s%s is damaged at byte %llu: %s",
             (unsigned long long)f->generation, STR_ARG(f->name), month ? " (events of " : "",
             month ? (int)f->what.n : 0, f->what.p, month ? ")" : "", (unsigned long long)at, why);
    report_fault(t, text);
}

static bool piece_is_good(struct verifying *t, const struct piece *p, struct keel_error *err) {
    if (piece_set_has(&t->good, p->hash)) return true;
    buf_clear(&t->room);
    bool good = piece_get(t->from, p, &t->room, err) == 0;
    (void)piece_set_add(good ? &t->good : &t->bad, p->hash);
    return good;
}

static void verify_files(struct verifying *t, const struct inventory *v) {
    char text[TEXT_BYTES];
    struct keel_error err;
    uint64_t before = t->faults;
    for (size_t i = 0; i < v->file_count; i++) {
        const struct inventory_file *f = &v->files[i];
        uint64_t at = 0;
        for (size_t k = 0; k < f->pieces; k++) {
            const struct piece *p = &v->pieces[f->first_piece + k];
            if (!piece_is_good(t, p, &err)) report_piece(t, f, at, err.message);
            at += p->bytes;
        }
    }
    if (t->faults != before || !t->report || !t->report->good) return;
    snprintf(text, sizeof text, "generation %llu: %zu files, %llu bytes",
             (unsigned long long)v->generation, v->file_count,
             (unsigned long long)inventory_bytes(v));
    t->report->good(t->report->ctx, text);
}

static void verify_generation(struct verifying *t, uint64_t generation) {
    struct inventory v;
    struct keel_error err;
    if (inventory_read(t->from, generation, &v, &err) < 0) {
        report_fault(t, err.message);
        return;
    }
    verify_files(t, &v);
    inventory_release(&v);
}

static void verifying_init(struct verifying *t, const char *from,
                           const struct backup_report *report) {
    *t = (struct verifying){.from = from, .report = report};
    buf_init(&t->room, BACKUP_PIECE_BYTES);
}

static void verifying_release(struct verifying *t) {
    piece_set_release(&t->good);
    piece_set_release(&t->bad);
    buf_release(&t->room);
}

int backup_verify(const char *from, uint64_t generation, const struct backup_report *report,
                  uint64_t *out_faults, struct keel_error *err) {
    struct verifying t;
    uint64_t *numbers;
    size_t n, looked = 0;
    TRY(inventory_list(from, &numbers, &n, err));
    verifying_init(&t, from, report);
    for (size_t i = 0; i < n; i++)
        if (!generation || numbers[i] == generation) {
            verify_generation(&t, numbers[i]);
            looked++;
        }
    k_free(numbers);
    *out_faults = t.faults;
    verifying_release(&t);
    if (!looked && generation)
        FAIL(err, NOT_FOUND, "%s has no generation %llu", from, (unsigned long long)generation);
    if (!looked) FAIL(err, NOT_FOUND, "%s holds no backups of keel", from);
    return 0;
}

/* ---- which generation ---- */

struct restoring {
    const struct restore_options *options;
    struct inventory v;
    int64_t chosen_ms;        /* when the generation was made that the parts are of */
    struct verifying reading; /* for its report */
    struct restored out;
};

/* The newest that can be read; an error says why not, and which can. */
static int choose_newest(struct restoring *r, const uint64_t *numbers, size_t n,
                         struct keel_error *err) {
    if (!n) FAIL(err, NOT_FOUND, "%s holds no backups of keel", r->options->from);
    int code = inventory_read(r->options->from, numbers[n - 1], &r->v, err);
    if (code < 0 && n > 1)
        return error_context(err, code,
                             "generation %llu cannot be restored (an older one can be named with "
                             "--generation, such as %llu)",
                             (unsigned long long)numbers[n - 1],
                             (unsigned long long)numbers[n - 2]);
    return code;
}

/* False: what cannot be read is told and left out, as another generation may do. */
static bool read_or_tell(const struct restoring *r, uint64_t number, struct inventory *out) {
    const struct backup_report *report = r->options->report;
    struct keel_error why;
    if (inventory_read(r->options->from, number, out, &why) == 0) return true;
    if (report && report->fault) report->fault(report->ctx, why.message);
    return false;
}

/* Of those made at or behind the moment, the oldest whose journal reaches back to it; else the
 * newest made before it. */
static int choose_for_moment(struct restoring *r, const uint64_t *numbers, size_t n,
                             struct keel_error *err) {
    const int64_t until = r->options->until_ms;
    uint64_t before = 0;
    for (size_t i = 0; i < n; i++) {
        struct inventory v;
        if (!read_or_tell(r, numbers[i], &v)) continue;
        if (v.made_ms <= until) before = numbers[i];
        if (v.made_ms >= until && v.reaches_ms <= until) {
            r->v = v;
            return 0;
        }
        inventory_release(&v);
    }
    if (!before) {
        char text[TIME_TEXT_MAX];
        text[time_format(NULL, until, text)] = 0;
        FAIL(err, NOT_FOUND, "%s has no generation that goes back to %s", r->options->from, text);
    }
    return inventory_read(r->options->from, before, &r->v, err);
}

/* The journal of a later generation in place of the chosen one's, and what is not the store's. */
static void join(struct restoring *r, const struct inventory *next) {
    static const char *const beside[] = {"desk.db", "audit.", "archive/"};
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        inventory_drop(&r->v, str_from(beside[i]));
    for (size_t i = 0; i < next->file_count; i++) {
        const struct inventory_file *f = &next->files[i];
        bool wanted = str_starts(f->name, STR("journal/"));
        if (wanted) inventory_drop(&r->v, f->name); /* the same file, before it grew */
        for (size_t k = 0; k < sizeof beside / sizeof *beside; k++)
            wanted |= str_starts(f->name, str_from(beside[k]));
        if (wanted) inventory_adopt(&r->v, next, f);
    }
    r->v.journal_to = next->journal_to;
    r->v.made_ms = next->made_ms;
    r->out.joined = true;
}

/* Goes on from the chosen generation until the moment is reached, or there is a gap. */
static void go_on(struct restoring *r, const uint64_t *numbers, size_t n) {
    for (size_t i = 0; i < n && r->v.made_ms < r->options->until_ms; i++) {
        struct inventory next;
        if (numbers[i] <= r->v.generation || !read_or_tell(r, numbers[i], &next)) continue;
        if (inventory_goes_on(&next, &r->v)) join(r, &next);
        inventory_release(&next);
    }
}

static int choose(struct restoring *r, struct keel_error *err) {
    uint64_t *numbers;
    size_t n;
    const struct restore_options *o = r->options;
    TRY(inventory_list(o->from, &numbers, &n, err));
    int code = o->generation ? inventory_read(o->from, o->generation, &r->v, err)
               : o->until_ms == BACKUP_NO_MOMENT ? choose_newest(r, numbers, n, err)
                                                 : choose_for_moment(r, numbers, n, err);
    if (code == 0) r->chosen_ms = r->v.made_ms;
    if (code == 0 && o->until_ms != BACKUP_NO_MOMENT) go_on(r, numbers, n);
    k_free(numbers);
    return code;
}

/* ---- writing ---- */

static int write_pieces(struct restoring *r, const struct inventory_file *f, int fd,
                        const char *path, struct keel_error *err) {
    struct keel_error why;
    uint64_t at = 0;
    for (size_t k = 0; k < f->pieces; k++) {
        const struct piece *p = &r->v.pieces[f->first_piece + k];
        buf_clear(&r->reading.room);
        if (piece_get(r->options->from, p, &r->reading.room, &why) < 0)
            report_piece(&r->reading, f, at, why.message);
        else if (!r->reading.faults) /* after the first fault the rest is only looked at */
            TRY(file_pwrite_all(fd, r->reading.room.p, r->reading.room.n, at, path, err));
        at += p->bytes;
    }
    return 0;
}

/* A journal file of a backup ends with its records; the journal wants the size that it had. */
static int pad_journal(const struct inventory_file *f, int fd, const char *path,
                       struct keel_error *err) {
    uint64_t size;
    if (!str_starts(f->name, STR("journal/")) || f->bytes < JOURNAL_HEADER_BYTES) return 0;
    TRY(file_pread_all(fd, &size, sizeof size, JOURNAL_SIZE_AT, path, err));
    return size > f->bytes && size <= JOURNAL_FILE_BYTES_MOST ? file_truncate(fd, size, path, err)
                                                              : 0;
}

static int write_file(struct restoring *r, const struct inventory_file *f, const char *suffix,
                      struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    int fd;
    snprintf(path, sizeof path, "%s/%.*s%s", r->options->dir, STR_ARG(f->name), suffix);
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE | FILE_PRIVATE, &fd, err));
    int code = write_pieces(r, f, fd, path, err);
    if (code == 0 && !r->reading.faults) code = pad_journal(f, fd, path, err);
    if (code == 0 && !r->reading.faults) code = file_sync(fd, path, err);
    file_close(fd);
    r->out.files++;
    r->out.bytes += f->bytes;
    return code;
}

static bool is_manifest(const struct inventory_file *f) { return str_is(f->name, "keel.db"); }

static const char *const FOLDERS[] = {"", "/parts", "/journal", "/archive"};

static int make_folders(const char *dir, const struct inventory *v, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        bool wanted = strcmp(FOLDERS[i], "/archive") != 0;
        for (size_t k = 0; k < v->file_count && !wanted; k++)
            wanted = str_starts(v->files[k].name, STR("archive/"));
        snprintf(path, sizeof path, "%s%s", dir, FOLDERS[i]);
        if (wanted) TRY(file_make_dir(path, err));
    }
    return 0;
}

static int sync_folders(const char *dir, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        snprintf(path, sizeof path, "%s%s", dir, FOLDERS[i]);
        if (file_exists(path)) TRY(file_sync_dir(path, err));
    }
    return 0;
}

static int write_files(struct restoring *r, struct keel_error *err) {
    for (size_t i = 0; i < r->v.file_count; i++) {
        const struct inventory_file *f = &r->v.files[i];
        TRY(write_file(r, f, is_manifest(f) ? ".new" : "", err));
    }
    if (!inventory_find(&r->v, STR("keel.db")))
        FAIL(err, CORRUPT, "generation %llu has no keel.db", (unsigned long long)r->v.generation);
    if (r->reading.faults)
        FAIL(err, CORRUPT, "generation %llu is damaged in %llu places; nothing was restored",
             (unsigned long long)r->v.generation, (unsigned long long)r->reading.faults);
    return 0;
}

/* ---- ending at a moment ---- */

/* Where the first clock record behind `until` begins; journal_to if there is none. *last becomes
 * the moment of the last one before it, if that is later. */
static int find_cut(const struct restoring *r, uint64_t *cut, int64_t *last, int64_t *next,
                    struct keel_error *err) {
    struct journal_reader *reader;
    struct journal_record record;
    int64_t ms;
    *cut = r->v.journal_to;
    TRY(journal_reader_open(r->options->dir, r->v.store_id, r->v.journal_from, &reader, NULL, err));
    int got;
    while ((got = journal_reader_next(reader, r->v.journal_to, &record, err)) == 1) {
        if (record.kind != STORE_RECORD_CLOCK || record.payload.n != sizeof ms) continue;
        memcpy(&ms, record.payload.p, sizeof ms);
        if (ms > r->options->until_ms) {
            *cut = record.position;
            *next = ms;
            break;
        }
        if (ms > *last) *last = ms;
    }
    journal_reader_close(reader);
    return got < 0 ? got : 0;
}

/* Zeros from `offset` to the end of the file. */
static int blank(const char *path, uint64_t offset, struct keel_error *err) {
    uint64_t size;
    int fd;
    TRY(file_open(path, FILE_WRITE, &fd, err));
    int code = file_size(fd, path, &size, err);
    if (code == 0) code = file_truncate(fd, offset, path, err);
    if (code == 0) code = file_truncate(fd, size, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    return code;
}

static int cut_journal(const struct restoring *r, uint64_t cut, struct keel_error *err) {
    struct journal_list files = {0};
    char path[JOURNAL_PATH_BYTES];
    int code = journal_list_read(r->options->dir, false, &files, err);
    for (size_t i = files.n; i-- > 0 && code == 0;) {
        journal_file_path(path, r->options->dir, files.first[i]);
        bool keep = files.first[i] < cut || i == 0;
        code = keep ? blank(path, JOURNAL_HEADER_BYTES + (cut - files.first[i]), err)
                    : file_remove(path, err);
        if (keep) break;
    }
    k_free(files.first);
    return code;
}

static int end_at_moment(struct restoring *r, struct keel_error *err) {
    uint64_t cut;
    r->out.received_from_ms = r->out.received_to_ms = r->v.made_ms;
    if (r->options->until_ms >= r->v.made_ms) return 0;
    bool behind = r->chosen_ms <= r->options->until_ms; /* all of that generation is wanted */
    int64_t last = behind ? r->chosen_ms : INT64_MIN, next = r->v.made_ms;
    TRY(find_cut(r, &cut, &last, &next, err));
    if (last == INT64_MIN) {
        char text[TIME_TEXT_MAX];
        text[time_format(NULL, r->options->until_ms, text)] = 0;
        FAIL(err, NOT_FOUND,
             "the journal of generation %llu does not go back to %s; take an older one",
             (unsigned long long)r->v.generation, text);
    }
    r->out.cut = cut < r->v.journal_to;
    r->out.received_from_ms = r->options->until_ms;
    r->out.received_to_ms = last + STORE_CLOCK_MS < next ? last + STORE_CLOCK_MS : next;
    if (r->out.received_to_ms < r->options->until_ms) r->out.received_to_ms = r->options->until_ms;
    return r->out.cut ? cut_journal(r, cut, err) : 0;
}

/* ---- all of it ---- */

struct look {
    const char *dir;
    bool full;
};

static int see_any(void *ctx, const char *name) {
    (void)name;
    *(bool *)ctx = true;
    return 0;
}

/* What an interrupted restore leaves, empty folders and the lock, is nothing. */
static int see_entry(void *ctx, const char *name) {
    struct look *l = ctx;
    char path[PIECE_PATH_BYTES];
    bool ours = strcmp(name, "lock") == 0, inside = false;
    for (size_t i = 1; i < sizeof FOLDERS / sizeof *FOLDERS && !ours; i++) {
        if (strcmp(name, FOLDERS[i] + 1) != 0) continue;
        snprintf(path, sizeof path, "%s%s", l->dir, FOLDERS[i]);
        TRY(file_list_dir(path, see_any, &inside, NULL));
        ours = !inside;
    }
    l->full |= !ours;
    return 0;
}

static int check_target(const char *dir, struct keel_error *err) {
    struct look l = {.dir = dir};
    if (!file_exists(dir)) return 0;
    TRY(file_list_dir(dir, see_entry, &l, err));
    if (l.full) FAIL(err, EXISTS, "%s is not empty; a backup is restored into a new folder", dir);
    return 0;
}

/* After a failure: nothing that could be taken for a data directory stays. */
static void remove_written(const struct restoring *r) {
    static const char *const of_sqlite[] = {"-wal", "-shm"};
    char path[PIECE_PATH_BYTES];
    for (size_t i = 0; i < sizeof of_sqlite / sizeof *of_sqlite; i++) {
        snprintf(path, sizeof path, "%s/keel.db.new%s", r->options->dir, of_sqlite[i]);
        (void)!file_remove(path, NULL);
    }
    for (size_t i = 0; i < r->v.file_count; i++) {
        const struct inventory_file *f = &r->v.files[i];
        snprintf(path, sizeof path, "%s/%.*s%s", r->options->dir, STR_ARG(f->name),
                 is_manifest(f) ? ".new" : "");
        (void)!file_remove(path, NULL);
    }
}

static int make_lock(const char *dir, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    int fd;
    snprintf(path, sizeof path, "%s/lock", dir);
    TRY(file_open(path, FILE_WRITE | FILE_CREATE, &fd, err));
    file_close(fd);
    return 0;
}

/* From here on its journal is another one than that of the directory that was saved. */
static int begin_lineage(const char *path, struct keel_error *err) {
    uint8_t bytes[(LINEAGE_TEXT_BYTES - 1) / 2];
    char text[LINEAGE_TEXT_BYTES], wal[PIECE_PATH_BYTES + 8];
    struct sql *db;
    randombytes_buf(bytes, sizeof bytes);
    (void)sodium_bin2hex(text, sizeof text, bytes, sizeof bytes);
    TRY(sql_open(path, 0, &db, err));
    int code = sql_run(db, err, "INSERT OR REPLACE INTO state(name, value) VALUES(?, ?)", "zz",
                       BACKUP_LINEAGE, text);
    sql_close(db);
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (code == 0 && file_exists(wal)) /* the close could not write it back */
        FAIL(err, IO, "%s could not be finished; is the disk full?", path);
    return code;
}

static int write_all(struct restoring *r, struct keel_error *err) {
    char fresh[PIECE_PATH_BYTES], path[PIECE_PATH_BYTES];
    const char *dir = r->options->dir;
    TRY(make_folders(dir, &r->v, err));
    snprintf(fresh, sizeof fresh, "%s/keel.db.new", dir);
    int code = write_files(r, err);
    if (code == 0 && r->options->until_ms != BACKUP_NO_MOMENT) code = end_at_moment(r, err);
    if (code == 0) code = begin_lineage(fresh, err);
    if (code == 0) code = make_lock(dir, err);
    if (code == 0) code = sync_folders(dir, err);
    if (code < 0) {
        remove_written(r);
        return code;
    }
    snprintf(path, sizeof path, "%s/keel.db", dir);
    return file_rename(fresh, path, err);
}

int backup_restore(const struct restore_options *options, struct restored *out,
                   struct keel_error *err) {
    struct restoring r = {.options = options};
    TRY(check_target(options->dir, err));
    TRY(choose(&r, err));
    verifying_init(&r.reading, options->from, options->report);
    r.out.generation = r.v.generation;
    r.out.received_from_ms = r.out.received_to_ms = r.v.made_ms;
    int code = write_all(&r, err);
    verifying_release(&r.reading);
    inventory_release(&r.v);
    if (code == 0) *out = r.out;
    return code;
}
