/* Any bytes as a journal: an error or records, the same for a reader, for the doctor's eyes and for
 * the writer that repairs the tail; what is appended then follows, and nothing else comes back.
 *
 * The first byte of the input says what the rest is:
 *   0  a whole file;
 *   1  what stands behind a valid header;
 *   2  records with valid checksums, 6 bytes each: what only a faulty writer would leave. Bytes of
 * a step: u8 kind, u8 how far durable_upto lies back, u16 length, u8 flags, u8 fill; kind 0 leaves
 *      a hole of so many bytes, kind 255 is a mark.
 */
#include <stdio.h>

#include "base/hash.h"
#include "base/os.h"
#include "fault_os.h"
#include "store/journal/file.h"

enum { FILE_BYTES = 4096, STEP_BYTES = 6, AREA_MOST = 64 << 10 };

static const uint8_t STORE[JOURNAL_ID_BYTES] = "fuzz-journal-001";

/* A header as journal_make_file writes it. */
static void add_header(struct buf *file) {
    K_ASSERT(buf_add(file, "KEELJRNL", 8) == 0);
    K_ASSERT(buf_add_u16(file, 1) == 0 && buf_add_u16(file, 0) == 0);
    K_ASSERT(buf_add_u32(file, JOURNAL_HEADER_BYTES) == 0);
    K_ASSERT(buf_add_u64(file, 0) == 0 && buf_add_u64(file, FILE_BYTES) == 0);
    K_ASSERT(buf_add(file, STORE, sizeof STORE) == 0 && buf_add_u64(file, 0) == 0);
    K_ASSERT(buf_add_u64(file, hash64(file->p, file->n)) == 0);
}

static void add_record(struct buf *file, const uint8_t *step) {
    uint64_t position = file->n - JOURNAL_HEADER_BYTES;
    uint16_t length = (uint16_t)(step[2] | (step[3] & 0x0f) << 8);
    struct journal_record_header h = {
        .durable_upto = position > 8u * step[1] ? position - 8u * step[1] : 0,
        .length = length,
        .kind = step[0] == 255 ? JOURNAL_KIND_MARK : step[0],
        .flags = step[4] < 250 ? 0 : step[4],
    };
    uint8_t payload[4096];
    memset(payload, step[5], sizeof payload);
    if (step[0] == 0) {
        K_ASSERT(buf_add_zero(file, (size_t)journal_padded(length)) == 0);
        return;
    }
    if (h.kind == JOURNAL_KIND_MARK) h.length = 0;
    uint64_t sum = journal_payload_sum((struct str){(const char *)payload, h.length});
    h.checksum = journal_record_checksum(&h, sum, journal_store_seed(STORE), position);
    K_ASSERT(buf_add(file, &h, sizeof h) == 0 && buf_add(file, payload, h.length) == 0);
    K_ASSERT(buf_add_zero(file, (size_t)(journal_padded(h.length) - h.length)) == 0);
}

static void build_file(struct buf *file, const uint8_t *data, size_t size) {
    if (data[0] != 0) add_header(file);
    if (data[0] != 2) {
        K_ASSERT(buf_add(file, data + 1, size - 1) == 0);
    } else {
        for (size_t at = 1; at + STEP_BYTES <= size && file->n < AREA_MOST; at += STEP_BYTES)
            add_record(file, data + at);
    }
    if (file->n < FILE_BYTES) K_ASSERT(buf_add_zero(file, FILE_BYTES - file->n) == 0);
}

/* What a replay gave, folded. */
struct digest {
    uint64_t records, hash, last_end;
};

static int fold(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct digest *d = ctx;
    (void)err;
    K_ASSERT(record->end > record->position && record->position >= d->last_end);
    K_ASSERT(record->kind >= 1 && record->kind <= JOURNAL_MAX_KIND);
    d->records++;
    d->hash = hash_mix(d->hash ^ hash_str(record->payload) ^ record->position ^ record->kind);
    d->last_end = record->end;
    return 0;
}

static int replay(const char *dir, bool read_only, struct digest *out, struct journal **j) {
    struct journal_options options = {.file_bytes = FILE_BYTES, .read_only = read_only};
    struct keel_error err = {0};
    *out = (struct digest){0};
    int code = journal_open(dir, STORE, 0, &options, fold, out, j, &err);
    K_ASSERT(code == 0 || (err.code == code && strstr(err.message, "/journal/")));
    return code;
}

static void use(const char *dir) {
    struct digest read, written, again;
    struct journal *j;
    uint64_t end;
    int code = replay(dir, true, &read, &j);
    if (code == 0) (void)journal_close(j, NULL);
    int checked = journal_check(dir, STORE, NULL, NULL, NULL);
    K_ASSERT_OP(checked, ==, code); /* the doctor judges as the reader does */
    K_ASSERT_OP(replay(dir, false, &written, &j), ==, code);
    if (code < 0) return;
    K_ASSERT(read.records == written.records && read.hash == written.hash);
    K_ASSERT(journal_append(j, 7, STR("appended"), &end, NULL) == 0);
    K_ASSERT(journal_close(j, NULL) == 0);
    K_ASSERT(replay(dir, false, &again, &j) == 0);
    K_ASSERT_OP(again.records, ==, written.records + 1);
    K_ASSERT_OP(again.last_end, ==, end);
    K_ASSERT(journal_close(j, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char dir[TEMP_PATH_MAX];
    char path[TEMP_PATH_MAX + 64];
    struct buf file;
    int fd;
    if (size == 0 || size > AREA_MOST) return 0;
    buf_init(&file, 4 * AREA_MOST);
    build_file(&file, data, size);
    temp_make(dir);
    snprintf(path, sizeof path, "%s/journal", dir);
    K_ASSERT(file_make_dir(path, NULL) == 0);
    snprintf(path, sizeof path, "%s/journal/%016x.keelj", dir, 0);
    K_ASSERT(file_open(path, FILE_WRITE | FILE_CREATE, &fd, NULL) == 0);
    K_ASSERT(file_write_all(fd, file.p, file.n, path, NULL) == 0);
    file_close(fd);
    buf_release(&file);
    use(dir);
    temp_remove(dir);
    return 0;
}
