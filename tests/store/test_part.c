/* Parts, their key tables and the identity log under damage.
 *
 * Cut at every byte; a bit flipped in every byte; every byte of the directory and every chunk
 * changed with all checksums made right again: the reader gives an error that names the file, or
 * the very data that was written, never other data, and with right checksums around wrong content
 * at least no crash, no hang and no memory beyond reason. And the golden directory of format 1.0,
 * which must open for ever.
 *
 * test_store_part --make-golden DIR writes that directory, --make-fuzz-corpus DIR what fuzz_part
 * and fuzz_identity begin with. KEEL_SEED in the environment repeats a run. ctest: timeout=300
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/os.h"
#include "base/rand.h"
#include "customer/timeline.h"
#include "fault_os.h"
#include "history.h"
#include "part_exercise.h"
#include "part_file.h"
#include "store/part/keys.h"

enum { PATH_BYTES = TEMP_PATH_MAX + 64, SMALL_BATCHES = 6, LARGE_BATCHES = 120 };

static const struct history SMALL = {
    .seed = 5, .users = 5, .devices = 5, .batch_events = 9, .months = 1};
static const struct history LARGE = {
    .seed = 6, .users = 60, .devices = 90, .batch_events = 100, .months = 1};
static const struct history GOLDEN = {
    .seed = 1, .users = 12, .devices = 15, .batch_events = 40, .months = 2};

/* A limit on single allocations, where a sanitizer watches them. */
enum { ALLOCATION_MOST = 100 << 20 };
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *))
    __attribute__((weak));
static void on_malloc(const volatile void *p, size_t n) {
    (void)p;
    if (n > ALLOCATION_MOST) abort();
}
static void on_free(const volatile void *p) { (void)p; }

static uint64_t seed_of_run(void) {
    const char *set = getenv("KEEL_SEED");
    return set ? strtoull(set, NULL, 10) : 1;
}

/* ---- a directory with parts ---- */

struct place {
    char root[TEMP_PATH_MAX], data[PATH_BYTES], copy[PATH_BYTES];
    char part[PATH_BYTES + 32]; /* the largest part */
    uint8_t store_id[16];
    struct buf file; /* its bytes */
};

static const struct store_options SMALL_FILES = {.head_rows = 20000,
                                                 .journal = {.file_bytes = 4096}};

/* As db_init, but with journal files small enough for a repository. */
static void create_db(const char *dir) {
    struct keel_error err;
    struct db *db;
    struct db_options options = {
        .store = SMALL_FILES, .time_zone = STR("Europe/London"), .currency = STR("GBP")};
    options.store.create = true;
    if (db_open(dir, &options, &db, &err) < 0 || db_close(db, &err) < 0)
        fail_msg("%s", err.message);
}

static struct db *open_db(const char *dir, bool read_only) {
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = SMALL_FILES};
    options.store.read_only = read_only;
    if (db_open(dir, &options, &db, &err) < 0) fail_msg("%s", err.message);
    return db;
}

static void ingest(struct db *db, const struct history *h, uint32_t from, uint32_t to) {
    struct buf batch;
    struct keel_error err;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k = from; k < to; k++) {
        struct ingest_counts counts = {0};
        buf_clear(&batch);
        history_batch(h, k, &batch);
        if (db_ingest(db, buf_str(&batch), &counts, &err) < 0) fail_msg("%s", err.message);
    }
    buf_release(&batch);
}

static void write_file(const char *path, const void *p, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void read_file(const char *path, struct buf *out) {
    struct keel_error err;
    buf_clear(out);
    if (file_read(path, out, &err) < 0) fail_msg("%s", err.message);
}

static void find_part(struct place *p) {
    size_t most = 0;
    for (unsigned id = 1; id < 50; id++) {
        char path[PATH_BYTES + 32];
        struct stat st;
        snprintf(path, sizeof path, "%s/parts/%012u.part", p->data, id);
        if (OS_REAL.stat(path, &st) < 0 || (size_t)st.st_size <= most) continue;
        most = (size_t)st.st_size;
        memcpy(p->part, path, sizeof path);
    }
    assert_true(most > 0);
    buf_init(&p->file, 64 << 20);
    read_file(p->part, &p->file);
    memcpy(p->store_id, p->file.p + 16, sizeof p->store_id);
}

static struct place *place_new(const struct history *h, uint32_t batches) {
    struct keel_error err;
    struct place *p = test_calloc(1, sizeof *p);
    temp_make(p->root);
    snprintf(p->data, sizeof p->data, "%s/data", p->root);
    snprintf(p->copy, sizeof p->copy, "%s/copy", p->root);
    create_db(p->data);
    struct db *db = open_db(p->data, false);
    ingest(db, h, 0, batches);
    assert_int_equal(db_flush(db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    find_part(p);
    return p;
}

static void place_free(struct place *p) {
    buf_release(&p->file);
    temp_remove(p->root);
    test_free(p);
}

/* ---- rot: flips and cuts ---- */

static void expect_damage(const struct place *p, const char *path, const void *bytes, size_t n,
                          uint64_t digest, const char *what, size_t at) {
    struct keel_error err = {0};
    uint64_t got, faults = 0;
    write_file(path, bytes, n);
    int code = part_exercise(path, p->store_id, &got, &faults, &err);
    if (code == 0 && got != digest) fail_msg("%s at byte %zu: other data, no error", what, at);
    if (code == 0 && faults == 0) fail_msg("%s at byte %zu went unnoticed", what, at);
    if (code < 0 && code != -KEEL_E_CORRUPT && code != -KEEL_E_UNSUPPORTED)
        fail_msg("%s at byte %zu: %s", what, at, err.message);
}

static uint64_t digest_of(const struct place *p) {
    struct keel_error err;
    uint64_t digest, faults;
    if (part_exercise(p->part, p->store_id, &digest, &faults, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(faults, 0);
    return digest;
}

static void test_small_part(void **state) {
    (void)state;
    struct place *p = place_new(&SMALL, SMALL_BATCHES);
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/damaged.part", p->root);
    uint64_t digest = digest_of(p);
    for (size_t n = 0; n < p->file.n; n++) expect_damage(p, path, p->file.p, n, digest, "a cut", n);
    for (size_t i = 0; i < p->file.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            p->file.p[i] ^= (uint8_t)(1u << bit);
            expect_damage(p, path, p->file.p, p->file.n, digest, "a flipped bit", i);
            p->file.p[i] ^= (uint8_t)(1u << bit);
        }
    print_message("%zu bytes: %zu cuts, %zu flips\n", p->file.n, p->file.n, p->file.n * 8);
    place_free(p);
}

struct flips {
    struct place *place;
    const char *path;
    uint64_t digest;
    struct rand rand;
    size_t count;
};

static void flip_chunk(void *ctx, uint64_t at, uint64_t bytes, bool keys) {
    struct flips *f = ctx;
    uint64_t i = at + rand_below(&f->rand, (uint32_t)bytes);
    uint8_t bit = (uint8_t)(1u << rand_below(&f->rand, 8));
    f->place->file.p[i] ^= bit;
    expect_damage(f->place, f->path, f->place->file.p, f->place->file.n, f->digest,
                  keys ? "a flipped bit of the keys" : "a flipped bit", i);
    f->place->file.p[i] ^= bit;
    f->count++;
}

static void test_large_part(void **state) {
    (void)state;
    struct place *p = place_new(&LARGE, LARGE_BATCHES);
    struct buf body, directory;
    char path[PATH_BYTES];
    struct flips f = {.place = p, .path = path};
    snprintf(path, sizeof path, "%s/damaged.part", p->root);
    rand_init(&f.rand, seed_of_run());
    f.digest = digest_of(p);
    buf_init(&body, 64 << 20);
    buf_init(&directory, 64 << 20);
    part_file_split(buf_str(&p->file), &body, &directory);
    part_file_chunks(buf_str(&directory), body.n, flip_chunk, &f);
    for (uint32_t i = 0; i < 50; i++) {
        size_t n = rand_below(&f.rand, (uint32_t)p->file.n);
        expect_damage(p, path, p->file.p, n, f.digest, "a cut", n);
    }
    print_message("%zu bytes, %zu chunks flipped\n", p->file.n, f.count);
    assert_true(f.count > 50);
    buf_release(&body);
    buf_release(&directory);
    place_free(p);
}

/* ---- right checksums around wrong content ---- */

struct wrong {
    struct place *place;
    char path[PATH_BYTES];
    struct buf body, directory, changed_body, changed, out;
    uint64_t tried, refused;
};

static void wrong_init(struct wrong *w, struct place *p) {
    *w = (struct wrong){.place = p};
    snprintf(w->path, sizeof w->path, "%s/wrong.part", p->root);
    struct buf *all[] = {&w->body, &w->directory, &w->changed_body, &w->changed, &w->out};
    for (size_t i = 0; i < 5; i++) buf_init(all[i], 64 << 20);
    part_file_split(buf_str(&p->file), &w->body, &w->directory);
}

static void wrong_release(struct wrong *w) {
    struct buf *all[] = {&w->body, &w->directory, &w->changed_body, &w->changed, &w->out};
    for (size_t i = 0; i < 5; i++) buf_release(all[i]);
}

static void wrong_begin(struct wrong *w) {
    buf_clear(&w->changed_body);
    buf_clear(&w->changed);
    buf_clear(&w->out);
    assert_int_equal(buf_add(&w->changed_body, w->body.p, w->body.n), 0);
    assert_int_equal(buf_add(&w->changed, w->directory.p, w->directory.n), 0);
}

static void wrong_try(struct wrong *w) {
    struct keel_error err;
    uint64_t digest, faults;
    part_file_join(&w->changed_body, buf_str(&w->changed), NULL, &w->out);
    write_file(w->path, w->out.p, w->out.n);
    w->refused += part_exercise(w->path, w->place->store_id, &digest, &faults, &err) < 0 || faults;
    w->tried++;
}

static void change_directory(struct wrong *w) {
    static const uint8_t wild[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < w->directory.n; i++)
        for (size_t k = 0; k < sizeof wild + 2; k++) {
            wrong_begin(w);
            uint8_t *at = &w->changed.p[i];
            *at = (uint8_t)(k < sizeof wild ? wild[k] : k == sizeof wild ? *at + 1 : *at - 1);
            if (*at != w->directory.p[i]) wrong_try(w);
        }
    for (size_t i = 0; i + 8 <= w->directory.n;
         i++) { /* eight at once: offsets, moments, varints */
        wrong_begin(w);
        memset(w->changed.p + i, 0xff, 8);
        wrong_try(w);
        wrong_begin(w);
        memcpy(w->changed.p + i, "\xff\xff\xff\xff\x0f\xff\xff\x7f", 8);
        wrong_try(w);
    }
}

static void change_bodies(struct wrong *w, uint64_t seed, unsigned count) {
    struct rand r;
    rand_init(&r, seed);
    for (unsigned k = 0; k < count; k++) {
        wrong_begin(w);
        for (uint32_t i = 0, n = 1 + rand_below(&r, 4); i < n; i++) {
            size_t at = 64 + rand_below(&r, (uint32_t)w->changed_body.n - 64);
            uint32_t how = rand_below(&r, 3);
            uint8_t *p = &w->changed_body.p[at];
            *p = (uint8_t)(how == 0   ? rand_below(&r, 256)
                           : how == 1 ? *p ^ (1u << rand_below(&r, 8))
                                      : 0xff);
        }
        if (rand_below(&r, 8) == 0 && w->changed.n > 20) /* and the directory */
            w->changed.p[rand_below(&r, (uint32_t)w->changed.n)] = (uint8_t)rand_below(&r, 256);
        wrong_try(w);
    }
}

static void test_right_checksums(void **state) {
    (void)state;
    struct wrong w;
    struct place *p = place_new(&SMALL, SMALL_BATCHES);
    uint64_t digest;
    struct keel_error err;
    wrong_init(&w, p);
    wrong_begin(&w); /* unchanged, it is the same part */
    part_file_join(&w.changed_body, buf_str(&w.changed), NULL, &w.out);
    write_file(w.path, w.out.p, w.out.n);
    assert_int_equal(part_exercise(w.path, p->store_id, &digest, NULL, &err), 0);
    assert_true(digest == digest_of(p));
    change_directory(&w);
    print_message("%llu directories, %llu refused\n", (unsigned long long)w.tried,
                  (unsigned long long)w.refused);
    change_bodies(&w, seed_of_run(), 4000);
    print_message("%llu parts, %llu refused or found faulty\n", (unsigned long long)w.tried,
                  (unsigned long long)w.refused);
    wrong_release(&w);
    place_free(p);
}

/* The directory of a large part that claims to be small, and the other way round. */
static void test_claims(void **state) {
    (void)state;
    struct wrong w;
    struct place *p = place_new(&LARGE, LARGE_BATCHES);
    wrong_init(&w, p);
    for (size_t i = 0; i < w.directory.n; i += 7) {
        wrong_begin(&w);
        w.changed.p[i] = (uint8_t)(w.changed.p[i] ^ 0x55);
        wrong_try(&w);
    }
    change_bodies(&w, seed_of_run() + 1, 300);
    print_message("%llu parts, %llu refused or found faulty\n", (unsigned long long)w.tried,
                  (unsigned long long)w.refused);
    /* 60 MB of zeros, packed into a few KB, are no directory. */
    wrong_begin(&w);
    buf_clear(&w.changed);
    assert_int_equal(buf_add_zero(&w.changed, 60 << 20), 0);
    wrong_try(&w);
    wrong_release(&w);
    place_free(p);
}

/* The same through the whole store: queries, compaction and the doctor meet wrong content. */
static void test_store_over_wrong_parts(void **state) {
    (void)state;
    struct place *p = place_new(&LARGE, LARGE_BATCHES / 4);
    struct wrong w;
    struct rand r;
    struct keel_error err;
    unsigned opened = 0, told = 0;
    char part[PATH_BYTES + 64];
    snprintf(part, sizeof part, "%s%s", p->copy, p->part + strlen(p->data));
    wrong_init(&w, p);
    rand_init(&r, seed_of_run());
    for (unsigned k = 0; k < 150; k++) {
        wrong_begin(&w);
        assert_int_equal(buf_reserve(&w.out, p->file.n * 2), 0);
        for (uint32_t i = 0, n = 1 + rand_below(&r, 3); i < n; i++)
            w.changed_body.p[64 + rand_below(&r, (uint32_t)w.changed_body.n - 64)] ^=
                (uint8_t)(1u << rand_below(&r, 8));
        part_file_join(&w.changed_body, buf_str(&w.changed), NULL, &w.out);
        temp_copy(p->data, p->copy);
        memcpy(w.out.p + w.body.n, p->file.p + w.body.n,
               p->file.n - w.body.n); /* as packed before */
        write_file(part, w.out.p, p->file.n);
        told += history_doctor(p->copy, &err) < 0;
        struct db *db;
        struct db_options options = {.store = SMALL_FILES};
        if (db_open(p->copy, &options, &db, &err) < 0) continue;
        opened++;
        told += history_check(&LARGE, db, NULL, LARGE_BATCHES / 4, NULL, &err) < 0;
        store_ingest_begin(db_store(db));
        (void)!store_compact(db_store(db), true, &err);
        store_ingest_end(db_store(db));
        assert_int_equal(db_close(db, &err), 0);
    }
    print_message("%u opened, %u times noticed\n", opened, told);
    wrong_release(&w);
    place_free(p);
}

/* ---- identity.log and keel.db ---- */

/* Opens the damaged directory: an error (true), or what was written; anything else fails. */
static bool opens_right(const struct history *h, const char *dir, uint32_t batches,
                        const char *names, const char *what, size_t at) {
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = SMALL_FILES};
    uint8_t must[LARGE_BATCHES];
    memset(must, 1, sizeof must);
    int code = db_open(dir, &options, &db, &err);
    if (code < 0) {
        if (names && !strstr(err.message, names))
            fail_msg("%s at byte %zu: no file is named: %s", what, at, err.message);
        return true;
    }
    if (history_check(h, db, must, batches, NULL, &err) < 0)
        fail_msg("%s at byte %zu: %s", what, at, err.message);
    assert_int_equal(db_close(db, &err), 0);
    return false;
}

static void test_identity_log(void **state) {
    (void)state;
    struct place *p = place_new(&SMALL, SMALL_BATCHES);
    char path[PATH_BYTES + 32], whole[PATH_BYTES + 32];
    struct buf log;
    size_t silent = 0;
    buf_init(&log, 1 << 20);
    snprintf(whole, sizeof whole, "%s/identity.log", p->data);
    snprintf(path, sizeof path, "%s/identity.log", p->copy);
    read_file(whole, &log);
    temp_copy(p->data, p->copy);
    for (size_t n = 0; n < log.n; n++) {
        write_file(path, log.p, n);
        assert_true(opens_right(&SMALL, p->copy, SMALL_BATCHES, "identity.log", "a cut", n));
    }
    for (size_t i = 0; i < log.n; i++) {
        log.p[i] ^= (uint8_t)(1u << (i * 5 % 8));
        write_file(path, log.p, log.n);
        silent += !opens_right(&SMALL, p->copy, SMALL_BATCHES, "identity.log", "a flipped bit", i);
        log.p[i] ^= (uint8_t)(1u << (i * 5 % 8));
    }
    assert_true(silent <= 2); /* the minor version may differ */
    print_message("%zu bytes of identity.log\n", log.n);
    buf_release(&log);
    place_free(p);
}

/* Cut off behind what was noted, by a flush that did not end: no harm. */
static void test_identity_log_tail(void **state) {
    (void)state;
    struct place *p = place_new(&SMALL, SMALL_BATCHES);
    char path[PATH_BYTES + 32];
    struct buf log;
    struct keel_error err;
    buf_init(&log, 1 << 20);
    snprintf(path, sizeof path, "%s/identity.log", p->data);
    read_file(path, &log);
    assert_int_equal(buf_add(&log, "\x10\0\0\0torn", 8), 0);
    write_file(path, log.p, log.n);
    assert_false(opens_right(&SMALL, p->data, SMALL_BATCHES, NULL, "a tail", log.n));
    struct db *db = open_db(p->data, false);
    ingest(db, &SMALL, SMALL_BATCHES, SMALL_BATCHES + 3);
    assert_int_equal(db_flush(db, &err), 0);
    assert_int_equal(db_close(db, &err), 0);
    assert_false(opens_right(&SMALL, p->data, SMALL_BATCHES + 3, NULL, "a tail", log.n));
    buf_release(&log);
    place_free(p);
}

/* SQLite has no checksums: flips in keel.db must not crash, and what SQLite or the parts notice is
 * an error. The rest is counted, not forbidden. */
static void test_manifest_flips(void **state) {
    (void)state;
    struct place *p = place_new(&SMALL, SMALL_BATCHES);
    char path[PATH_BYTES + 32];
    struct buf db_file;
    struct rand r;
    struct keel_error err;
    unsigned refused = 0, wrong = 0, tried = 0;
    buf_init(&db_file, 1 << 20);
    rand_init(&r, seed_of_run());
    snprintf(path, sizeof path, "%s/keel.db", p->data);
    read_file(path, &db_file);
    for (size_t i = rand_below(&r, 16); i < db_file.n; i += 16 + rand_below(&r, 48)) {
        if (db_file.p[i] == 0 && rand_below(&r, 10)) continue; /* mostly unused space */
        struct db_options options = {.store = SMALL_FILES};
        struct db *db;
        temp_copy(p->data, p->copy);
        db_file.p[i] ^= (uint8_t)(1u << (tried % 8));
        snprintf(path, sizeof path, "%s/keel.db", p->copy);
        write_file(path, db_file.p, db_file.n);
        db_file.p[i] ^= (uint8_t)(1u << (tried++ % 8));
        if (db_open(p->copy, &options, &db, &err) < 0) {
            refused++;
            continue;
        }
        wrong += history_check(&SMALL, db, NULL, SMALL_BATCHES, NULL, &err) < 0;
        (void)!db_flush(db, &err);
        assert_int_equal(db_close(db, &err), 0);
    }
    print_message("%u flips in keel.db: %u refused, %u gave other names or settings\n", tried,
                  refused, wrong);
    buf_release(&db_file);
    place_free(p);
}

/* A part of another place, or of another store, is not taken for the one that keel.db names. */
static void test_swapped_parts(void **state) {
    (void)state;
    struct place *p = place_new(&SMALL, SMALL_BATCHES), *q = place_new(&SMALL, SMALL_BATCHES);
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = SMALL_FILES};
    assert_int_equal(p->file.n, q->file.n);
    write_file(p->part, q->file.p, q->file.n);
    assert_int_equal(db_open(p->data, &options, &db, &err), -KEEL_E_CORRUPT);
    assert_non_null(strstr(err.message, "belongs to another store"));
    struct buf body, directory, out;
    struct buf *all[] = {&body, &directory, &out};
    for (size_t i = 0; i < 3; i++) buf_init(all[i], 1 << 20);
    part_file_split(buf_str(&q->file), &body, &directory);
    body.p[32] ^= 1; /* the part id */
    part_file_join(&body, buf_str(&directory), NULL, &out);
    memcpy(q->file.p, out.p, 64);
    write_file(q->part, q->file.p, q->file.n);
    assert_int_equal(db_open(q->data, &options, &db, &err), -KEEL_E_CORRUPT);
    assert_non_null(strstr(err.message, "is not the part that keel.db names"));
    for (size_t i = 0; i < 3; i++) buf_release(all[i]);
    place_free(p);
    place_free(q);
}

static void note_identity_bytes(const struct place *p, uint64_t bytes) {
    char path[PATH_BYTES + 32], text[32];
    sqlite3 *sql;
    sqlite3_stmt *st;
    snprintf(path, sizeof path, "%s/keel.db", p->data);
    snprintf(text, sizeof text, "%llu", (unsigned long long)bytes);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sql,
                                        "UPDATE state SET value = ? WHERE name = 'identity_bytes'",
                                        -1, &st, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(st, 1, text, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(st), SQLITE_DONE);
    sqlite3_finalize(st);
    sqlite3_close(sql);
}

/* An older identity.log beside newer parts: rows of people, or of joins, that it does not know. */
static void test_older_identities(void **state) {
    (void)state;
    struct place *p = place_new(&LARGE, LARGE_BATCHES / 4);
    struct keel_error err;
    struct db_options options = {.store = SMALL_FILES};
    char path[PATH_BYTES + 32];
    struct buf log;
    unsigned refused = 0, unknown_customer = 0, unknown_version = 0;
    buf_init(&log, 1 << 20);
    snprintf(path, sizeof path, "%s/identity.log", p->data);
    read_file(path, &log);
    struct reader r = reader_over(log.p + 32, log.n - 32);
    while (reader_left(&r)) {
        struct db *db;
        note_identity_bytes(p, log.n - reader_left(&r));
        int code = db_open(p->data, &options, &db, &err);
        if (code == 0) { /* the records left out were of no consequence */
            assert_int_equal(db_close(db, &err), 0);
        } else {
            assert_int_equal(code, -KEEL_E_CORRUPT);
            assert_non_null(strstr(err.message, ".part"));
            unknown_customer += strstr(err.message, "holds customer") != NULL;
            unknown_version += strstr(err.message, "at version") != NULL;
            refused++;
        }
        uint32_t n = reader_u32(&r);
        reader_u32(&r);
        reader_take(&r, n);
    }
    print_message("%u older logs refused, %u for a customer, %u for a version\n", refused,
                  unknown_customer, unknown_version);
    assert_true(unknown_customer > 0 && unknown_version > 0);
    buf_release(&log);
    place_free(p);
}

/* Parts that a merge split by customer share the bucket's keys in any order; a message sent again
 * is still found, though its customer's own part lies in another week. */
static void send_weeks(struct db *db, uint32_t from, uint32_t to, struct ingest_counts *counts) {
    struct keel_error err;
    struct buf out;
    buf_init(&out, BATCH_MAX_BYTES + 64);
    for (uint32_t user = from; user < to; user++) {
        struct batch_writer w;
        batch_writer_init(&w);
        for (uint32_t i = 0; i < 12; i++) {
            char id[32], name[16];
            snprintf(id, sizeof id, "%u-%u", user, i);
            snprintf(name, sizeof name, "u%u", user);
            struct event_head head = {.type = EVENT_TRACK,
                                      .time_ms =
                                          1299000000000 + user % 3 * 10 * (int64_t)MS_PER_DAY + i,
                                      .key = event_key_of(str_from(id)),
                                      .name = STR("View"),
                                      .user_id = str_from(name)};
            event_begin(&w, &head);
            assert_null(event_end(&w));
        }
        buf_clear(&out);
        assert_int_equal(batch_finish(&w, &out, &err), 0);
        batch_writer_release(&w);
        assert_int_equal(db_ingest(db, buf_str(&out), counts, &err), 0);
    }
    buf_release(&out);
}

static void test_sent_again_after_split(void **state) {
    (void)state;
    char root[TEMP_PATH_MAX], dir[PATH_BYTES];
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = SMALL_FILES};
    struct ingest_counts first = {0}, again = {0};
    temp_make(root);
    snprintf(dir, sizeof dir, "%s/data", root);
    create_db(dir);
    if (db_open(dir, &options, &db, &err) < 0) fail_msg("%s", err.message);
    for (uint32_t user = 0; user < 6; user += 3) { /* two parts of three people each */
        send_weeks(db, user, user + 3, &first);
        assert_int_equal(db_flush(db, &err), 0);
    }
    assert_int_equal(db_close(db, &err), 0);
    options.store.part_rows = 12;
    if (db_open(dir, &options, &db, &err) < 0) fail_msg("%s", err.message);
    store_ingest_begin(db_store(db));
    assert_int_equal(store_compact(db_store(db), true, &err), 1);
    store_ingest_end(db_store(db));
    send_weeks(db, 0, 6, &again);
    assert_int_equal(first.accepted, 72);
    assert_int_equal(again.duplicates, 72);
    assert_int_equal(db_close(db, &err), 0);
    temp_remove(root);
}

/* ---- key tables ---- */

static struct event_key key_of(uint32_t i) {
    struct hash128 h = hash128(&i, sizeof i);
    return (struct event_key){.lo = h.lo, .hi = (uint32_t)h.hi};
}

static int by_key(const void *a, const void *b) {
    const struct event_key *x = a, *y = b;
    if (x->hi != y->hi) return x->hi < y->hi ? -1 : 1;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

/* The table as format 1.0 had it. */
static void encode_old(const struct event_key *keys, uint32_t count, unsigned bits,
                       struct buf *out) {
    unsigned kept = 2 - bits / 8;
    uint32_t at = 0;
    assert_int_equal(buf_add_u32(out, count), 0);
    assert_int_equal(buf_add_u32(out, bits), 0);
    for (uint32_t slot = 0; slot < 1u << bits; slot++) {
        while (at < count && keys[at].hi >> (16 - bits) < slot) at++;
        assert_int_equal(buf_add_u32(out, at), 0);
    }
    assert_int_equal(buf_add_u32(out, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(buf_add(out, &keys[i].hi, kept), 0);
        assert_int_equal(buf_add_u64(out, keys[i].lo), 0);
    }
    assert_int_equal(buf_add_u32(out, (uint32_t)hash64(out->p, out->n)), 0);
}

enum { TODAY = -1 }; /* directory bits of format 1.0, or the table of today */

static void encode_keys(struct event_key *keys, uint32_t count, int old_bits, struct buf *out) {
    buf_init(out, 64 << 20);
    for (uint32_t i = 0; i < count; i++) keys[i] = key_of(i);
    if (old_bits == TODAY) assert_int_equal(part_keys_encode(keys, count, out), 0);
    for (uint32_t i = 0; i < count; i++)
        keys[i].hi = old_bits == TODAY ? 0 : keys[i].hi & UINT16_MAX;
    qsort(keys, count, sizeof *keys, by_key);
    if (old_bits != TODAY) encode_old(keys, count, (unsigned)old_bits, out);
}

static void check_keys(uint32_t count, int old_bits) {
    struct event_key *keys = k_alloc_array(count + 1, sizeof *keys);
    struct buf out;
    encode_keys(keys, count, old_bits, &out);
    assert_int_equal(part_keys_check(buf_str(&out), count), 0);
    assert_int_equal(part_keys_check(buf_str(&out), count + 1), -KEEL_E_CORRUPT);
    uint32_t step = count > 10000 ? 97 : 1;
    for (uint32_t i = 0; i < count; i += step) {
        assert_int_equal(part_keys_find(buf_str(&out), key_of(i)), 1);
        assert_int_equal(part_keys_find(buf_str(&out), key_of(count + i)), 0);
    }
    struct event_key *back = k_alloc_array(count + 1, sizeof *back);
    assert_int_equal(part_keys_decode(buf_str(&out), back, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(back[i].lo == keys[i].lo);
        assert_int_equal(back[i].hi, keys[i].hi);
    }
    k_free(back);
    k_free(keys);
    buf_release(&out);
}

/* Cuts and flips are noticed; with the checksum made right, nothing is read out of bounds. */
static void damage_keys(uint32_t count, int old_bits, size_t step) {
    struct event_key *keys = k_alloc_array(count, sizeof *keys);
    struct buf out;
    encode_keys(keys, count, old_bits, &out);
    for (size_t n = 0; n < out.n; n += step) {
        uint8_t *cut = k_alloc(n + 1); /* exactly so large, for the sanitizer */
        memcpy(cut, out.p, n);
        struct str table = {(const char *)cut, n};
        assert_int_equal(part_keys_check(table, count), -KEEL_E_CORRUPT);
        assert_int_equal(part_keys_find(table, keys[0]), -KEEL_E_CORRUPT);
        k_free(cut);
    }
    struct event_key *back = k_alloc_array(count, sizeof *back);
    for (size_t i = 0; i < out.n; i += step) {
        uint8_t was = out.p[i];
        out.p[i] ^= (uint8_t)(1u << (i % 8));
        assert_int_equal(part_keys_check(buf_str(&out), count), -KEEL_E_CORRUPT);
        uint32_t sum = (uint32_t)hash64(out.p, out.n - 4), old;
        memcpy(&old, out.p + out.n - 4, 4);
        memcpy(out.p + out.n - 4, &sum, 4);
        for (uint32_t k = 0; k < count; k += 1 + count / 8)
            (void)!part_keys_find(buf_str(&out), key_of(k));
        if (part_keys_check(buf_str(&out), count) == 0)
            assert_int_equal(part_keys_decode(buf_str(&out), back, count), 0);
        memcpy(out.p + out.n - 4, &old, 4);
        out.p[i] = was;
    }
    k_free(back);
    k_free(keys);
    buf_release(&out);
}

static void test_keys(void **state) {
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 3, 100, 4095, 4096, 5000, (1 << 20) + 3};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_keys(counts[i], TODAY);
        check_keys(counts[i], counts[i] < 4096 ? 0 : counts[i] < 1 << 20 ? 8 : 16);
    }
    for (int bits = TODAY; bits <= 8; bits++) {
        if (bits > 0 && bits < 8) continue;
        damage_keys(1, bits, 1);
        damage_keys(100, bits, 1);
        damage_keys(4100, bits, 53);
    }
}

/* ---- golden ---- */

/* One line an event: who, when, what, with all that came with it. */
static void dump(struct db *db, struct buf *out) {
    struct keel_error err;
    struct snapshot *snap;
    assert_int_equal(snapshot_open(db_store(db), &snap, &err), 0);
    for (uint32_t c = 0; c < snap->redirects.numbers; c++) {
        struct arena a;
        struct timeline t;
        enum id_kind kind;
        arena_init(&a, SIZE_MAX / 2);
        struct str id = identity_id(db_identity(db), c, &kind);
        if (timeline_read(db, snap, c, INT64_MAX, TIMELINE_MAX, &a, &t, &err) < 0)
            fail_msg("%s", err.message);
        for (uint32_t i = 0; i < t.count; i++) {
            const struct timeline_event *e = &t.events[i];
            assert_int_equal(buf_printf(out, "%s %.*s %lld %.*s %.*s %.*s\n",
                                        kind == ID_USER ? "user" : "anonymous", STR_ARG(id),
                                        (long long)e->time_ms, STR_ARG(e->name),
                                        STR_ARG(e->properties), STR_ARG(e->context)),
                             0);
        }
        arena_release(&a);
    }
    snapshot_close(snap);
}

enum { GOLDEN_FLUSHED = 8, GOLDEN_BATCHES = 12 }; /* the last four lie in the journal */

static int make_golden(const char *dir) {
    struct keel_error err;
    char path[4096];
    struct buf text;
    buf_init(&text, 16 << 20);
    snprintf(path, sizeof path, "%s/data", dir);
    struct db *db;
    if (file_make_dir(dir, &err) < 0) return 1;
    create_db(path);
    db = open_db(path, false);
    ingest(db, &GOLDEN, 0, GOLDEN_FLUSHED / 2);
    if (db_flush(db, &err) < 0) return 1;
    ingest(db, &GOLDEN, GOLDEN_FLUSHED / 2, GOLDEN_FLUSHED);
    if (db_flush(db, &err) < 0) return 1;
    ingest(db, &GOLDEN, GOLDEN_FLUSHED, GOLDEN_BATCHES);
    dump(db, &text);
    snprintf(path, sizeof path, "%s/rows.txt", dir);
    write_file(path, text.p, text.n);
    buf_release(&text);
    return db_close(db, &err) < 0;
}

/* A part as fuzz_part reads it, its identity.log as fuzz_identity does. */
static void write_corpus(const struct history *h, uint32_t batches, const char *dir) {
    struct place *p = place_new(h, batches);
    struct buf body, directory, log, out;
    struct buf *all[] = {&body, &directory, &log, &out};
    char path[4096];
    for (size_t i = 0; i < 4; i++) buf_init(all[i], 16 << 20);
    part_file_split(buf_str(&p->file), &body, &directory);
    assert_int_equal(buf_add_u32(&out, (uint32_t)directory.n), 0);
    assert_int_equal(buf_add(&out, directory.p, directory.n), 0);
    assert_int_equal(buf_add(&out, body.p + 64, body.n - 64), 0);
    snprintf(path, sizeof path, "%s/part/history-%u", dir, batches);
    write_file(path, out.p, out.n);
    snprintf(path, sizeof path, "%s/identity.log", p->data);
    read_file(path, &log);
    buf_clear(&out);
    struct reader r = reader_over(log.p + 32, log.n - 32);
    while (reader_left(&r)) {
        uint32_t n = reader_u32(&r);
        reader_u32(&r);
        assert_int_equal(buf_add_u16(&out, (uint16_t)n), 0);
        assert_int_equal(buf_add(&out, reader_take(&r, n), n), 0);
    }
    snprintf(path, sizeof path, "%s/identity/history-%u", dir, batches);
    write_file(path, out.p, out.n);
    for (size_t i = 0; i < 4; i++) buf_release(all[i]);
    place_free(p);
}

static int make_fuzz_corpus(const char *dir) {
    write_corpus(&SMALL, 1, dir);
    write_corpus(&SMALL, SMALL_BATCHES, dir);
    write_corpus(&LARGE, 3, dir);
    write_corpus(&LARGE, 40, dir); /* more than one block */
    return 0;
}

static void test_golden(void **state) {
    (void)state;
    const char *source = getenv("KEEL_SOURCE");
    if (!source) skip();
    char path[4096], root[TEMP_PATH_MAX], copy[PATH_BYTES];
    struct keel_error err;
    struct buf expected, got;
    uint8_t must[GOLDEN_BATCHES];
    memset(must, 1, sizeof must);
    buf_init(&expected, 16 << 20);
    buf_init(&got, 16 << 20);
    temp_make(root);
    snprintf(copy, sizeof copy, "%s/data", root);
    snprintf(path, sizeof path, "%s/tests/golden/v1.0/rows.txt", source);
    read_file(path, &expected);
    snprintf(path, sizeof path, "%s/tests/golden/v1.0/data", source);
    temp_copy(path, copy);
    if (history_doctor(copy, &err) < 0) fail_msg("%s", err.message);
    for (int round = 0; round < 3; round++) { /* to read, to write, and rewritten by this version */
        struct db *db = open_db(copy, round == 0);
        if (round == 2) {
            assert_int_equal(db_flush(db, &err), 0);
            store_ingest_begin(db_store(db));
            assert_true(store_compact(db_store(db), true, &err) >= 0);
            store_ingest_end(db_store(db));
        }
        buf_clear(&got);
        dump(db, &got);
        assert_int_equal(got.n, expected.n);
        assert_memory_equal(got.p, expected.p, got.n);
        if (history_check(&GOLDEN, db, must, GOLDEN_BATCHES, NULL, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(db_close(db, &err), 0);
    }
    if (history_doctor(copy, &err) < 0) fail_msg("%s", err.message);
    buf_release(&expected);
    buf_release(&got);
    temp_remove(root);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--make-golden") == 0) return make_golden(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--make-fuzz-corpus") == 0) return make_fuzz_corpus(argv[2]);
    if (__sanitizer_install_malloc_and_free_hooks)
        __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_small_part),
        cmocka_unit_test(test_large_part),
        cmocka_unit_test(test_right_checksums),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_store_over_wrong_parts),
        cmocka_unit_test(test_identity_log),
        cmocka_unit_test(test_identity_log_tail),
        cmocka_unit_test(test_manifest_flips),
        cmocka_unit_test(test_swapped_parts),
        cmocka_unit_test(test_older_identities),
        cmocka_unit_test(test_sent_again_after_split),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
