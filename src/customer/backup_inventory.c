/* Implementation of backup_inventory.h. A name comes last on its line, so it may hold spaces. */
#include "customer/backup_inventory.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "store/journal/file.h"

enum { STORE_ID_HEX = 33, NAMES_MAX = 256 << 20 };

void inventory_init(struct inventory *v) {
    *v = (struct inventory){.reaches_ms = INT64_MAX};
    arena_init(&v->names, NAMES_MAX);
}

void inventory_release(struct inventory *v) {
    k_free(v->files);
    k_free(v->pieces);
    arena_release(&v->names);
}

struct inventory_file *inventory_add_file(struct inventory *v, struct str name, struct str what) {
    if (v->file_count == v->file_cap) {
        v->file_cap = v->file_cap ? v->file_cap * 2 : 64;
        v->files = k_realloc(v->files, v->file_cap * sizeof *v->files);
    }
    struct inventory_file *f = &v->files[v->file_count++];
    *f = (struct inventory_file){.name = str_dup(&v->names, name),
                                 .what = str_dup(&v->names, what),
                                 .generation = v->generation,
                                 .first_piece = v->piece_count};
    return f;
}

void inventory_add_piece(struct inventory *v, const struct piece *p) {
    if (v->piece_count == v->piece_cap) {
        v->piece_cap = v->piece_cap ? v->piece_cap * 2 : 256;
        v->pieces = k_realloc(v->pieces, v->piece_cap * sizeof *v->pieces);
    }
    v->pieces[v->piece_count++] = *p;
    v->files[v->file_count - 1].pieces++;
}

void inventory_drop(struct inventory *v, struct str prefix) {
    size_t kept = 0;
    for (size_t i = 0; i < v->file_count; i++)
        if (!str_starts(v->files[i].name, prefix)) v->files[kept++] = v->files[i];
    v->file_count = kept;
}

void inventory_adopt(struct inventory *v, const struct inventory *from,
                     const struct inventory_file *file) {
    struct inventory_file *f = inventory_add_file(v, file->name, file->what);
    f->generation = file->generation;
    f->bytes = file->bytes;
    f->changed_us = file->changed_us;
    for (size_t i = 0; i < file->pieces; i++)
        inventory_add_piece(v, &from->pieces[file->first_piece + i]);
}

uint64_t inventory_journal_begin(const struct inventory *v) {
    const struct str folder = STR("journal/");
    uint64_t begin = UINT64_MAX, first;
    char name[64];
    for (size_t i = 0; i < v->file_count; i++) {
        const struct str *whole = &v->files[i].name;
        if (!str_starts(*whole, folder)) continue;
        snprintf(name, sizeof name, "%.*s", (int)(whole->n - folder.n), whole->p + folder.n);
        if (journal_file_first(name, &first) && first < begin) begin = first;
    }
    return begin;
}

bool inventory_goes_on(const struct inventory *v, const struct inventory *before) {
    return memcmp(v->store_id, before->store_id, sizeof v->store_id) == 0 &&
           strcmp(v->lineage, before->lineage) == 0 &&
           inventory_journal_begin(v) <= before->journal_to && v->journal_to >= before->journal_to;
}

const struct inventory_file *inventory_find(const struct inventory *v, struct str name) {
    for (size_t i = 0; i < v->file_count; i++)
        if (str_eq(v->files[i].name, name)) return &v->files[i];
    return NULL;
}

uint64_t inventory_bytes(const struct inventory *v) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < v->file_count; i++) bytes += v->files[i].bytes;
    return bytes;
}

void inventory_path(const char *folder, uint64_t generation, char out[PIECE_PATH_BYTES]) {
    snprintf(out, PIECE_PATH_BYTES, "%s/generations/%06llu.keelbackup", folder,
             (unsigned long long)generation);
}

/* ---- writing ---- */

static void print_sum(struct buf *text) {
    uint8_t sum[BACKUP_HASH_BYTES];
    char hex[PIECE_NAME_BYTES];
    piece_hash(buf_str(text), sum);
    piece_name(sum, hex);
    (void)buf_printf(text, "sum %s\n", hex);
}

static int print(const struct inventory *v, struct buf *text, struct keel_error *err) {
    char hex[STORE_ID_HEX], made[TIME_TEXT_MAX], name[PIECE_NAME_BYTES];
    (void)sodium_bin2hex(hex, sizeof hex, v->store_id, sizeof v->store_id);
    made[time_format(NULL, v->made_ms, made)] = 0;
    (void)buf_printf(text, "keel-backup 1\ngeneration %llu\nstore %s\nmade %s\njournal %llu %llu ",
                     (unsigned long long)v->generation, hex, made,
                     (unsigned long long)v->journal_from, (unsigned long long)v->journal_to);
    if (v->reaches_ms == INT64_MAX)
        (void)buf_add_text(text, "-\n");
    else
        (void)buf_printf(text, "%lld\n", (long long)v->reaches_ms);
    if (v->lineage[0]) (void)buf_printf(text, "lineage %s\n", v->lineage);
    for (size_t i = 0; i < v->file_count; i++) {
        const struct inventory_file *f = &v->files[i];
        (void)buf_printf(text, "file %llu %lld %.*s %.*s\n", (unsigned long long)f->bytes,
                         (long long)f->changed_us, STR_ARG(f->what), STR_ARG(f->name));
        for (size_t k = 0; k < f->pieces; k++) {
            const struct piece *p = &v->pieces[f->first_piece + k];
            piece_name(p->hash, name);
            (void)buf_printf(text, "piece %u %s\n", p->bytes, name);
        }
    }
    print_sum(text);
    if (text->failed)
        FAIL(err, LIMIT, "the inventory is larger than %d bytes", BACKUP_MAX_INVENTORY_BYTES);
    return 0;
}

static int write_text(const char *path, struct str text, struct keel_error *err) {
    int fd;
    TRY(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, err));
    int code = file_write_all(fd, text.p, text.n, path, err);
    if (code == 0) code = file_sync(fd, path, err);
    file_close(fd);
    return code;
}

int inventory_write(const char *folder, const struct inventory *v, struct keel_error *err) {
    char path[PIECE_PATH_BYTES], fresh[PIECE_PATH_BYTES];
    struct buf text;
    buf_init(&text, BACKUP_MAX_INVENTORY_BYTES);
    inventory_path(folder, v->generation, path);
    snprintf(fresh, sizeof fresh, "%s/work/inventory", folder);
    int code = print(v, &text, err);
    if (code == 0) code = write_text(fresh, buf_str(&text), err);
    if (code == 0) code = file_rename(fresh, path, err);
    buf_release(&text);
    return code;
}

/* ---- reading ---- */

struct lines {
    const char *path;
    struct str left;
    struct str line; /* what is left of the current one */
    unsigned number;
    struct keel_error *err;
};

static int broken(const struct lines *l, const char *why) {
    return error_set(l->err, KEEL_E_CORRUPT, "%s is damaged at line %u: %s", l->path, l->number,
                     why);
}

static bool next_line(struct lines *l) {
    if (!l->left.n) return false;
    const char *end = memchr(l->left.p, '\n', l->left.n);
    size_t n = end ? (size_t)(end - l->left.p) : l->left.n;
    l->line = (struct str){l->left.p, n};
    size_t skip = end ? n + 1 : n;
    l->left = (struct str){l->left.p + skip, l->left.n - skip};
    l->number++;
    return true;
}

/* The next word of the line. */
static struct str word(struct lines *l) {
    const char *end = l->line.n ? memchr(l->line.p, ' ', l->line.n) : NULL;
    struct str w = {l->line.p, end ? (size_t)(end - l->line.p) : l->line.n};
    size_t skip = end ? w.n + 1 : w.n;
    l->line = (struct str){l->line.p + skip, l->line.n - skip};
    return w;
}

static bool number(struct lines *l, uint64_t *out) { return str_to_u64(word(l), out); }

/* Takes the sum off the end, and compares. */
static int check_sum(struct lines *l) {
    const size_t n = 4 + BACKUP_HASH_BYTES * 2 + 1; /* "sum ", digits, newline */
    uint8_t sum[BACKUP_HASH_BYTES], stated[BACKUP_HASH_BYTES];
    if (l->left.n < n) return broken(l, "it is cut");
    struct str last = {l->left.p + l->left.n - n, n - 1};
    l->left.n -= n;
    piece_hash(l->left, sum);
    bool ok = str_starts(last, STR("sum ")) &&
              piece_parse((struct str){last.p + 4, last.n - 4}, stated) &&
              memcmp(sum, stated, sizeof sum) == 0;
    return ok ? 0
              : error_set(l->err, KEEL_E_CORRUPT,
                          "%s is damaged: its sum is not that of its content", l->path);
}

static bool safe_name(struct str name) {
    return name.n && name.p[0] != '/' && !str_contains(name, STR(".."));
}

static int read_head(struct lines *l, struct inventory *v) {
    uint64_t format = 0;
    if (!next_line(l) || !str_is(word(l), "keel-backup") || !number(l, &format))
        return broken(l, "no inventory of a backup");
    if (format != 1)
        return error_set(l->err, KEEL_E_UNSUPPORTED, "%s has format %llu; use a newer keel",
                         l->path, (unsigned long long)format);
    if (!next_line(l) || !str_is(word(l), "generation") || !number(l, &v->generation))
        return broken(l, "no generation");
    size_t n = 0;
    if (!next_line(l) || !str_is(word(l), "store") ||
        sodium_hex2bin(v->store_id, sizeof v->store_id, l->line.p, l->line.n, NULL, &n, NULL) ||
        n != sizeof v->store_id)
        return broken(l, "no store id");
    if (!next_line(l) || !str_is(word(l), "made") || !time_parse(l->line, NULL, &v->made_ms))
        return broken(l, "no time");
    if (!next_line(l) || !str_is(word(l), "journal") || !number(l, &v->journal_from) ||
        !number(l, &v->journal_to))
        return broken(l, "no journal positions");
    v->reaches_ms = INT64_MAX;
    if (!str_is(l->line, "-") && !str_to_i64(l->line, &v->reaches_ms))
        return broken(l, "no moment of the journal");
    return 0;
}

static int read_lineage(struct lines *l, struct inventory *v) {
    if (v->file_count || l->line.n != sizeof v->lineage - 1) return broken(l, "no lineage");
    memcpy(v->lineage, l->line.p, l->line.n);
    return 0;
}

static int read_piece(struct lines *l, struct inventory *v, uint64_t *left) {
    struct piece p;
    uint64_t bytes;
    if (!v->file_count || !number(l, &bytes) || bytes > BACKUP_PIECE_BYTES || bytes > *left ||
        !piece_parse(l->line, p.hash))
        return broken(l, "no piece");
    p.bytes = (uint32_t)bytes;
    *left -= bytes;
    inventory_add_piece(v, &p);
    return 0;
}

static int read_file(struct lines *l, struct inventory *v, uint64_t *left) {
    uint64_t bytes;
    int64_t changed;
    if (*left) return broken(l, "pieces of the file before are missing");
    if (!number(l, &bytes) || !str_to_i64(word(l), &changed)) return broken(l, "no file");
    struct str what = word(l);
    if (!safe_name(l->line)) return broken(l, "no name of a file");
    struct inventory_file *f = inventory_add_file(v, l->line, what);
    *left = f->bytes = bytes;
    f->changed_us = changed;
    return 0;
}

static int read_all(struct lines *l, struct inventory *v) {
    uint64_t left = 0;
    TRY(check_sum(l));
    if (l->left.n && memchr(l->left.p, 0, l->left.n)) return broken(l, "no text");
    TRY(read_head(l, v));
    while (next_line(l)) {
        struct str what = word(l);
        int code = str_is(what, "file")      ? read_file(l, v, &left)
                   : str_is(what, "piece")   ? read_piece(l, v, &left)
                   : str_is(what, "lineage") ? read_lineage(l, v)
                                             : broken(l, "an unknown word");
        TRY(code);
    }
    return left ? broken(l, "pieces of the last file are missing") : 0;
}

int inventory_read(const char *folder, uint64_t generation, struct inventory *out,
                   struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    struct buf text;
    struct inventory v;
    inventory_path(folder, generation, path);
    if (!file_exists(path))
        FAIL(err, NOT_FOUND, "%s has no generation %llu", folder, (unsigned long long)generation);
    inventory_init(&v);
    buf_init(&text, BACKUP_MAX_INVENTORY_BYTES);
    int code = file_read(path, &text, err);
    if (code == 0) {
        struct lines l = {.path = path, .left = buf_str(&text), .err = err};
        code = read_all(&l, &v);
        if (code == 0 && v.generation != generation)
            code = error_set(err, KEEL_E_CORRUPT, "%s says that it is generation %llu", path,
                             (unsigned long long)v.generation);
    }
    buf_release(&text);
    if (code == 0)
        *out = v;
    else
        inventory_release(&v);
    return code;
}

/* ---- the folder ---- */

struct listing {
    uint64_t *numbers;
    size_t n;
    struct keel_error *err;
};

static int list_entry(void *ctx, const char *name) {
    struct listing *l = ctx;
    const struct str suffix = STR(".keelbackup");
    struct str text = str_from(name);
    uint64_t generation;
    if (!str_ends(text, suffix) ||
        !str_to_u64((struct str){text.p, text.n - suffix.n}, &generation))
        return 0;
    if (l->n == BACKUP_MAX_GENERATIONS)
        FAIL(l->err, LIMIT, "more than %d generations; make backups with --keep",
             BACKUP_MAX_GENERATIONS);
    l->numbers[l->n++] = generation;
    return 0;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int inventory_list(const char *folder, uint64_t **out, size_t *out_count, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    struct listing l = {.numbers = k_alloc_array(BACKUP_MAX_GENERATIONS, sizeof(uint64_t)),
                        .err = err};
    snprintf(path, sizeof path, "%s/generations", folder);
    int code = file_exists(path)
                   ? file_list_dir(path, list_entry, &l, err)
                   : error_set(err, KEEL_E_NOT_FOUND, "%s holds no backups of keel", folder);
    if (code < 0) {
        k_free(l.numbers);
        return code;
    }
    qsort(l.numbers, l.n, sizeof *l.numbers, ascending);
    *out = l.numbers;
    *out_count = l.n;
    return 0;
}
