/* Implementation of journal/file.h. */
#include "store/journal/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include "base/os.h"

enum { VERSION_MAJOR = 1, VERSION_MINOR = 0, NAME_DIGITS = 16, PAGE_BYTES = 4096 };

static const char MAGIC[8] = "KEELJRNL";

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers on disk are little-endian");

/* Written to disk, never renumber. */
struct file_header {
    char magic[8];
    uint16_t major, minor;
    uint32_t header_bytes;
    uint64_t first;
    uint64_t file_bytes;
    uint8_t store_id[JOURNAL_ID_BYTES];
    uint64_t zero;
    uint64_t checksum;
};
_Static_assert(sizeof(struct file_header) == JOURNAL_HEADER_BYTES, "written to disk");
_Static_assert(offsetof(struct file_header, checksum) == 56, "written to disk");
_Static_assert(offsetof(struct file_header, file_bytes) == JOURNAL_SIZE_AT, "written to disk");

/* ---- records ---- */

uint64_t journal_payload_sum(struct str payload) { return XXH3_64bits(payload.p, payload.n); }

uint64_t journal_record_checksum(const struct journal_record_header *h, uint64_t payload_sum,
                                 uint64_t store_seed, uint64_t position) {
    uint8_t bytes[JOURNAL_RECORD_BYTES];
    memcpy(bytes, (const uint8_t *)h + 8, JOURNAL_RECORD_BYTES - 8);
    memcpy(bytes + JOURNAL_RECORD_BYTES - 8, &payload_sum, 8);
    uint64_t sum = XXH3_64bits_withSeed(bytes, sizeof bytes, store_seed ^ position);
    return sum ? sum : 1;
}

uint64_t journal_store_seed(const uint8_t store_id[JOURNAL_ID_BYTES]) {
    return XXH3_64bits(store_id, JOURNAL_ID_BYTES);
}

/* What can be said without the payload. */
static bool header_is_plausible(const struct journal_record_header *h, uint64_t position) {
    if (h->checksum == 0 || h->length > JOURNAL_MAX_PAYLOAD || h->flags != 0) return false;
    if (h->durable_upto > position) return false;
    if (h->kind == JOURNAL_KIND_MARK) return h->length == 0;
    return h->kind >= 1 && h->kind <= JOURNAL_MAX_KIND;
}

/* ---- names ---- */

static void file_path(char out[JOURNAL_PATH_BYTES], const char *dir, uint64_t first,
                      const char *suffix) {
    snprintf(out, JOURNAL_PATH_BYTES, "%s/journal/%016" PRIx64 ".%s", dir, first, suffix);
}

void journal_file_path(char out[JOURNAL_PATH_BYTES], const char *dir, uint64_t first) {
    file_path(out, dir, first, "keelj");
}

void journal_folder_path(char out[JOURNAL_PATH_BYTES], const char *dir) {
    snprintf(out, JOURNAL_PATH_BYTES, "%s/journal", dir);
}

int journal_list_reserve(struct journal_list *list, struct keel_error *err) {
    if (list->n < list->cap) return 0;
    size_t cap = list->cap ? list->cap * 2 : 16;
    uint64_t *grown = k_try_realloc(list->first, cap * sizeof *grown);
    if (!grown) FAIL(err, NO_MEMORY, "no memory to list %zu journal files", cap);
    list->first = grown;
    list->cap = cap;
    return 0;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* "<16 lower-case hex digits>.<suffix>" */
static bool parse_name(const char *name, const char *suffix, uint64_t *out_first) {
    uint64_t first = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        unsigned c = (unsigned char)name[i];
        if (c >= '0' && c <= '9')
            first = first << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            first = first << 4 | (c - 'a' + 10);
        else
            return false;
    }
    *out_first = first;
    return name[NAME_DIGITS] == '.' && strcmp(name + NAME_DIGITS + 1, suffix) == 0;
}

bool journal_file_first(const char *name, uint64_t *out_first) {
    return parse_name(name, "keelj", out_first);
}

struct listing {
    const char *dir;
    bool remove_unfinished;
    struct journal_list *list;
    struct keel_error *err;
};

static int list_entry(void *ctx, const char *name) {
    struct listing *l = ctx;
    uint64_t first;
    if (journal_file_first(name, &first)) {
        TRY(journal_list_reserve(l->list, l->err));
        l->list->first[l->list->n++] = first;
    } else if (l->remove_unfinished && parse_name(name, "new", &first)) {
        char unfinished[JOURNAL_PATH_BYTES];
        file_path(unfinished, l->dir, first, "new");
        TRY(file_remove(unfinished, l->err));
    }
    return 0;
}

int journal_list_read(const char *dir, bool remove_unfinished, struct journal_list *out,
                      struct keel_error *err) {
    char path[JOURNAL_PATH_BYTES];
    struct listing listing = {dir, remove_unfinished, out, err};
    journal_folder_path(path, dir);
    int code = file_list_dir(path, list_entry, &listing, err);
    if (code == -KEEL_E_NOT_FOUND) return 0;
    if (out->n > 1) qsort(out->first, out->n, sizeof *out->first, compare_u64);
    return code;
}

/* ---- reading one file ---- */

void journal_window_close(struct journal_window *w) {
    file_close(w->fd);
    k_free(w->bytes);
    w->fd = -1;
    w->bytes = NULL;
    w->n = w->cap = 0;
}

int journal_window_at(struct journal_window *w, uint64_t offset, size_t n, const uint8_t **out,
                      struct keel_error *err) {
    *out = NULL;
    if (offset > w->size || n > w->size - offset) return 0;
    if (offset < w->at || offset + n > w->at + w->n) {
        size_t want = n > JOURNAL_WINDOW_BYTES ? n : JOURNAL_WINDOW_BYTES;
        if (want > w->size - offset) want = (size_t)(w->size - offset);
        /* To the end of a page: half of one that is read is no hole for what follows. */
        size_t beyond = (size_t)((offset + want) % PAGE_BYTES);
        if (want - n >= beyond && offset + want < w->size) want -= beyond;
        if (want > w->cap) {
            uint8_t *grown = k_try_realloc(w->bytes, want);
            if (!grown) FAIL(err, NO_MEMORY, "no memory to read %zu bytes of %s", want, w->path);
            w->bytes = grown;
            w->cap = want;
        }
        w->n = 0;
        TRY(file_pread_all(w->fd, w->bytes, want, offset, w->path, err));
        w->at = offset;
        w->n = want;
    }
    *out = w->bytes + (offset - w->at);
    return 1;
}

static bool is_zero(const uint8_t *p, size_t n) {
    static const uint8_t zeros[4096];
    return memcmp(p, zeros, n) == 0;
}

int journal_record_at(struct journal_window *w, uint64_t position, struct journal_found *out,
                      struct keel_error *err) {
    const uint8_t *p;
    struct journal_record_header h;
    int got = journal_window_at(w, journal_offset(w, position), JOURNAL_RECORD_BYTES, &p, err);
    if (!p) return got;
    memcpy(&h, p, sizeof h);
    if (!header_is_plausible(&h, position)) return 0;
    size_t padded = (size_t)journal_padded(h.length);
    got = journal_window_at(w, journal_offset(w, position), JOURNAL_RECORD_BYTES + padded, &p, err);
    if (!p) return got;
    struct str payload = {(const char *)p + JOURNAL_RECORD_BYTES, h.length};
    if (!is_zero(p + JOURNAL_RECORD_BYTES + payload.n, padded - payload.n)) return 0;
    uint64_t payload_sum = journal_payload_sum(payload);
    if (h.checksum != journal_record_checksum(&h, payload_sum, w->store_seed, position)) return 0;
    *out = (struct journal_found){
        .record = {.position = position,
                   .end = position + journal_record_bytes(&h),
                   .kind = h.kind,
                   .payload = payload},
        .durable_upto = h.durable_upto,
    };
    return 1;
}

int journal_find_record(struct journal_window *w, uint64_t position, uint64_t least, uint64_t *out,
                        uint64_t *out_dirty, struct keel_error *err) {
    enum { STEP = 4096 };
    uint64_t dirty = 0;
    for (uint64_t offset = journal_offset(w, position); offset + 8 <= w->size;) {
        const uint8_t *p;
        uint64_t n = w->size - offset < STEP ? (w->size - offset) & ~(uint64_t)7 : STEP;
        uint64_t read = offset >= w->at && offset < w->at + w->n ? w->at + w->n - offset : 0;
        if (read < 8) {
            uint64_t data = file_next_data(w->fd, offset);
            if (data == UINT64_MAX) break;
            if (data >= offset + 8) {
                offset = data & ~(uint64_t)7;
                continue;
            }
        } else if (read < n) {
            n = read & ~(uint64_t)7; /* the rest may be a hole */
        }
        int got = journal_window_at(w, offset, (size_t)n, &p, err);
        if (!p) return got;
        uint64_t step_end = offset + n;
        if (is_zero(p, (size_t)n)) offset = step_end;
        for (; offset < step_end; offset += 8) {
            struct journal_record_header h = {0};
            size_t left = w->size - offset < sizeof h ? 8 : sizeof h;
            got = journal_window_at(w, offset, left, &p, err);
            if (!p) return got;
            memcpy(&h, p, left);
            if (h.checksum == 0) continue;
            dirty = offset + 8;
            uint64_t at = w->first + (offset - JOURNAL_HEADER_BYTES);
            struct journal_found found;
            if (!header_is_plausible(&h, at) || h.durable_upto < least) continue;
            got = journal_record_at(w, at, &found, err);
            if (got == 1) *out = at;
            if (got != 0) return got;
        }
    }
    if (out_dirty) *out_dirty = dirty;
    return 0;
}

int journal_check_header(struct journal_window *w, const uint8_t *store_id, uint8_t *out_id,
                         struct keel_error *err) {
    const uint8_t *p;
    struct file_header h;
    int got = journal_window_at(w, 0, sizeof h, &p, err);
    if (got == 0)
        FAIL(err, CORRUPT, "journal file %s is cut to %" PRIu64 " bytes", w->path, w->size);
    if (!p) return got;
    memcpy(&h, p, sizeof h);
    if (memcmp(h.magic, MAGIC, sizeof MAGIC) != 0)
        FAIL(err, CORRUPT, "journal file %s is damaged at byte 0: no journal header", w->path);
    if (h.checksum != XXH3_64bits(&h, offsetof(struct file_header, checksum)))
        FAIL(err, CORRUPT, "journal file %s is damaged in its header (bytes 0 to 63)", w->path);
    if (h.major != VERSION_MAJOR)
        FAIL(err, UNSUPPORTED, "journal file %s has format %u.%u; this keel reads %d.x", w->path,
             h.major, h.minor, VERSION_MAJOR);
    if (h.header_bytes != JOURNAL_HEADER_BYTES || h.first != w->first || h.first > INT64_MAX)
        FAIL(err, CORRUPT,
             "journal file %s begins at position %016" PRIx64 ", not as its name says", w->path,
             h.first);
    if (store_id && memcmp(h.store_id, store_id, JOURNAL_ID_BYTES) != 0)
        FAIL(err, CORRUPT, "journal file %s belongs to another store", w->path);
    if (w->size < h.file_bytes)
        FAIL(err, CORRUPT, "journal file %s is cut at byte %" PRIu64 ": it had %" PRIu64 " bytes",
             w->path, w->size, h.file_bytes);
    w->file_bytes = h.file_bytes;
    if (out_id) memcpy(out_id, h.store_id, JOURNAL_ID_BYTES);
    return 0;
}

int journal_window_open(struct journal_window *w, const char *dir, uint64_t first, bool writable,
                        struct keel_error *err) {
    *w = (struct journal_window){.fd = -1, .first = first};
    journal_file_path(w->path, dir, first);
    TRY(file_open(w->path, writable ? FILE_WRITE : FILE_READ, &w->fd, err));
    file_read_no_further(w->fd); /* else what lies ahead of the tail would be no hole any more */
    int code = file_size(w->fd, w->path, &w->size, err);
    if (code < 0) journal_window_close(w);
    return code;
}

/* ---- making files ---- */

static int preallocate(int fd, uint64_t bytes, const char *path, struct keel_error *err) {
    int result;
    do result = os_table()->fallocate(fd, 0, 0, (off_t)bytes);
    while (result < 0 && errno == EINTR);
    if (result == 0) return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
        return file_truncate(fd, bytes, path, err); /* sparse: the size is still stable */
    return error_errno(err, errno, "cannot reserve %" PRIu64 " bytes for %s", bytes, path);
}

static int write_file_header(int fd, uint64_t first, uint64_t file_bytes, const uint8_t *store_id,
                             const char *path, struct keel_error *err) {
    struct file_header h = {
        .major = VERSION_MAJOR,
        .minor = VERSION_MINOR,
        .header_bytes = JOURNAL_HEADER_BYTES,
        .first = first,
        .file_bytes = file_bytes,
    };
    memcpy(h.magic, MAGIC, sizeof MAGIC);
    memcpy(h.store_id, store_id, JOURNAL_ID_BYTES);
    h.checksum = XXH3_64bits(&h, offsetof(struct file_header, checksum));
    return file_pwrite_all(fd, &h, sizeof h, 0, path, err);
}

int journal_make_file(const char *dir, uint64_t first, uint64_t file_bytes, const uint8_t *store_id,
                      int *out_fd, struct keel_error *err) {
    char path[JOURNAL_PATH_BYTES], unfinished[JOURNAL_PATH_BYTES];
    int fd;
    journal_file_path(path, dir, first);
    file_path(unfinished, dir, first, "new");
    TRY(file_open(unfinished, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, err));
    int code = preallocate(fd, file_bytes, unfinished, err);
    if (code == 0) code = write_file_header(fd, first, file_bytes, store_id, unfinished, err);
    if (code == 0) code = file_sync(fd, unfinished, err);
    if (code == 0) code = file_rename(unfinished, path, err);
    if (code < 0) {
        file_close(fd);
        (void)!file_remove(unfinished, NULL); /* gives the space back; the next open would, too */
        return code;
    }
    *out_fd = fd;
    return 0;
}
