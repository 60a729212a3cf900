/* The inventory of a backup, as somebody else's folder may hold it: any text, closed by its right
 * checksum. What is accepted names files inside the folder only, its pieces add up, and it is the
 * same after it was written and read again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "customer/backup_inventory.h"
#include "fault_os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GENERATION = 7, INPUT_MAX = 1 << 18 };

static char folder[TEMP_PATH_MAX];

static void remove_folder(void) { temp_remove(folder); }

static void make_folder(void) {
    static const char *const inner[] = {"generations", "work"};
    char path[TEMP_PATH_MAX + 16];
    temp_make(folder);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, inner[i]);
        int code = file_make_dir(path, NULL);
        K_ASSERT_OP(code, ==, 0);
    }
    atexit(remove_folder);
}

static void write_text(struct str text) {
    char path[PIECE_PATH_BYTES], name[PIECE_NAME_BYTES], sum[PIECE_NAME_BYTES + 8];
    uint8_t hash[BACKUP_HASH_BYTES];
    int fd;
    piece_hash(text, hash);
    piece_name(hash, name);
    int n = snprintf(sum, sizeof sum, "sum %s\n", name);
    inventory_path(folder, GENERATION, path);
    int code = file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, NULL);
    K_ASSERT_OP(code, ==, 0);
    code = file_write_all(fd, text.p, text.n, path, NULL);
    if (code == 0) code = file_write_all(fd, sum, (size_t)n, path, NULL);
    K_ASSERT_OP(code, ==, 0);
    file_close(fd);
}

static bool same(const struct inventory *a, const struct inventory *b) {
    bool ok = a->generation == b->generation && memcmp(a->store_id, b->store_id, 16) == 0 &&
              a->made_ms == b->made_ms && a->journal_from == b->journal_from &&
              a->journal_to == b->journal_to && a->reaches_ms == b->reaches_ms &&
              strcmp(a->lineage, b->lineage) == 0 && a->file_count == b->file_count &&
              a->piece_count == b->piece_count;
    for (size_t i = 0; ok && i < a->file_count; i++) {
        const struct inventory_file *f = &a->files[i], *g = &b->files[i];
        ok = str_eq(f->name, g->name) && str_eq(f->what, g->what) && f->bytes == g->bytes &&
             f->changed_us == g->changed_us && f->first_piece == g->first_piece &&
             f->pieces == g->pieces;
    }
    for (size_t i = 0; ok && i < a->piece_count; i++)
        ok = a->pieces[i].bytes == b->pieces[i].bytes &&
             memcmp(a->pieces[i].hash, b->pieces[i].hash, BACKUP_HASH_BYTES) == 0;
    return ok;
}

static void use(const struct inventory *v) {
    struct inventory again;
    struct keel_error err;
    size_t pieces = 0;
    for (size_t i = 0; i < v->file_count; i++) {
        const struct inventory_file *f = &v->files[i];
        uint64_t bytes = 0;
        K_ASSERT(f->name.n && f->name.p[0] != '/' && !str_contains(f->name, STR("..")));
        K_ASSERT_OP(f->first_piece, ==, pieces);
        for (size_t k = 0; k < f->pieces; k++) bytes += v->pieces[pieces++].bytes;
        K_ASSERT_OP(bytes, ==, f->bytes);
        K_ASSERT(inventory_find(v, f->name) != NULL);
    }
    K_ASSERT_OP(pieces, ==, v->piece_count);
    (void)inventory_journal_begin(v);
    int code = inventory_write(folder, v, &err);
    if (code == 0) code = inventory_read(folder, v->generation, &again, &err);
    if (code < 0) fprintf(stderr, "%s\n", err.message);
    K_ASSERT_OP(code, ==, 0);
    K_ASSERT(same(v, &again) && inventory_goes_on(&again, v) == inventory_goes_on(v, v));
    inventory_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct inventory v;
    struct keel_error err;
    if (!folder[0]) make_folder();
    if (size > INPUT_MAX) return 0;
    write_text((struct str){(const char *)data, size});
    int code = inventory_read(folder, GENERATION, &v, &err);
    if (code < 0) {
        K_ASSERT(strstr(err.message, folder) != NULL);
        return 0;
    }
    use(&v);
    inventory_release(&v);
    return 0;
}
