/* Implementation of backup_pieces.h. */
#include "customer/backup_pieces.h"

#include <sodium.h>
#include <stdio.h>

#include "base/os.h"

_Static_assert((int)BACKUP_HASH_BYTES == (int)crypto_generichash_BYTES, "BLAKE2b-256");

void piece_hash(struct str bytes, uint8_t out[BACKUP_HASH_BYTES]) {
    static const unsigned char none[1];
    const unsigned char *p = bytes.n ? (const unsigned char *)bytes.p : none;
    (void)!crypto_generichash(out, BACKUP_HASH_BYTES, p, bytes.n, NULL, 0);
}

void piece_name(const uint8_t hash[BACKUP_HASH_BYTES], char out[PIECE_NAME_BYTES]) {
    (void)sodium_bin2hex(out, PIECE_NAME_BYTES, hash, BACKUP_HASH_BYTES);
}

bool piece_parse(struct str name, uint8_t out[BACKUP_HASH_BYTES]) {
    size_t n;
    const char *end;
    return name.n == BACKUP_HASH_BYTES * 2 &&
           sodium_hex2bin(out, BACKUP_HASH_BYTES, name.p, name.n, NULL, &n, &end) == 0 &&
           n == BACKUP_HASH_BYTES;
}

static void piece_path(const char *folder, const uint8_t *hash, const char *suffix,
                       char out[PIECE_PATH_BYTES]) {
    char name[PIECE_NAME_BYTES];
    piece_name(hash, name);
    snprintf(out, PIECE_PATH_BYTES, "%s/pieces/%s%s", folder, name, suffix);
}

bool piece_exists(const char *folder, const struct piece *p) {
    char path[PIECE_PATH_BYTES];
    struct stat st;
    piece_path(folder, p->hash, "", path);
    return os_table()->stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == p->bytes;
}

static int write_piece(const char *folder, struct str bytes, const struct piece *p,
                       struct keel_error *err) {
    char path[PIECE_PATH_BYTES], fresh[PIECE_PATH_BYTES];
    int fd;
    piece_path(folder, p->hash, "", path);
    piece_path(folder, p->hash, ".new", fresh);
    TRY(file_open(fresh, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE | FILE_PRIVATE, &fd, err));
    int code = file_write_all(fd, bytes.p, bytes.n, fresh, err);
    if (code == 0) code = file_sync(fd, fresh, err);
    file_close(fd);
    return code < 0 ? code : file_rename(fresh, path, err);
}

int piece_put(const char *folder, struct str bytes, bool check, struct piece *out,
              uint64_t *written, struct keel_error *err) {
    struct piece p = {.bytes = (uint32_t)bytes.n};
    piece_hash(bytes, p.hash);
    bool there = piece_exists(folder, &p);
    if (there && check) {
        struct buf old;
        buf_init(&old, BACKUP_PIECE_BYTES);
        there = piece_get(folder, &p, &old, NULL) == 0;
        buf_release(&old);
    }
    if (!there) {
        TRY(write_piece(folder, bytes, &p, err));
        *written += bytes.n;
    }
    *out = p;
    return 0;
}

int piece_get(const char *folder, const struct piece *p, struct buf *out, struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    uint8_t hash[BACKUP_HASH_BYTES];
    piece_path(folder, p->hash, "", path);
    if (!file_exists(path)) FAIL(err, NOT_FOUND, "%s is missing", path);
    int code = file_read(path, out, err);
    if (code == -KEEL_E_LIMIT || (code == 0 && out->n != p->bytes))
        FAIL(err, CORRUPT, "%s has not the %u bytes that it should have", path, p->bytes);
    TRY(code);
    piece_hash(buf_str(out), hash);
    if (memcmp(hash, p->hash, sizeof hash) != 0)
        FAIL(err, CORRUPT, "%s is damaged: its content is not what its name says", path);
    return 0;
}

/* ---- sets ---- */

void piece_set_release(struct piece_set *set) {
    k_free(set->slots);
    k_free(set->used);
    *set = (struct piece_set){0};
}

/* The slot of a hash, or the free one where it would go. cap is a power of two, never full. */
static size_t slot_of(const struct piece_set *set, const uint8_t *hash) {
    uint64_t start;
    memcpy(&start, hash, sizeof start);
    size_t i = (size_t)start & (set->cap - 1);
    while (set->used[i] && memcmp(set->slots[i], hash, BACKUP_HASH_BYTES) != 0)
        i = (i + 1) & (set->cap - 1);
    return i;
}

static void grow(struct piece_set *set) {
    struct piece_set larger = {.cap = set->cap ? set->cap * 2 : 1024, .n = set->n};
    larger.slots = k_alloc_array(larger.cap, BACKUP_HASH_BYTES);
    larger.used = k_zalloc(larger.cap);
    for (size_t i = 0; i < set->cap; i++) {
        if (!set->used[i]) continue;
        size_t to = slot_of(&larger, set->slots[i]);
        memcpy(larger.slots[to], set->slots[i], BACKUP_HASH_BYTES);
        larger.used[to] = 1;
    }
    piece_set_release(set);
    *set = larger;
}

bool piece_set_add(struct piece_set *set, const uint8_t hash[BACKUP_HASH_BYTES]) {
    if (set->n * 2 >= set->cap) grow(set);
    size_t i = slot_of(set, hash);
    if (set->used[i]) return false;
    memcpy(set->slots[i], hash, BACKUP_HASH_BYTES);
    set->used[i] = 1;
    set->n++;
    return true;
}

bool piece_set_has(const struct piece_set *set, const uint8_t hash[BACKUP_HASH_BYTES]) {
    return set->cap && set->used[slot_of(set, hash)];
}

/* ---- sweeping ---- */

struct sweep {
    const char *folder;
    const struct piece_set *keep;
    uint64_t *removed;
    struct keel_error *err;
};

static int sweep_entry(void *ctx, const char *name) {
    struct sweep *s = ctx;
    uint8_t hash[BACKUP_HASH_BYTES];
    char path[PIECE_PATH_BYTES];
    struct str text = str_from(name);
    bool unfinished = str_ends(text, STR(".new"));
    if (unfinished) text.n -= 4;
    if (!piece_parse(text, hash) || (!unfinished && piece_set_has(s->keep, hash))) return 0;
    piece_path(s->folder, hash, unfinished ? ".new" : "", path);
    TRY(file_remove(path, s->err));
    ++*s->removed;
    return 0;
}

int pieces_sweep(const char *folder, const struct piece_set *keep, uint64_t *removed,
                 struct keel_error *err) {
    char path[PIECE_PATH_BYTES];
    struct sweep s = {folder, keep, removed, err};
    snprintf(path, sizeof path, "%s/pieces", folder);
    return file_list_dir(path, sweep_entry, &s, err);
}
