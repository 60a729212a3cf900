/* The files of the journal: their format, and reading them. For journal.c (writer, recovery),
 * journal/check.c (doctor), journal/reader.c, and who copies the files (backups).
 *
 * DIR/journal/<first position, 16 hex digits>.keelj, one after the other: the file named F holds
 * the records of positions F up to the name of the next file. Position p of it lies at byte 64 + p
 * - F. A file is made whole before it gets its name: created as <F>.new, preallocated, header
 * written, fsync, rename, fsync of the folder. So a .keelj file always has a valid header and its
 * full size; otherwise it was damaged. It may be longer than it says, by its last record. Numbers
 * are little-endian.
 *
 *   file header, 64 bytes                            record, 24 bytes + payload, padded to 8
 *   offset size                                      offset size
 *        0    8  "KEELJRNL"                               0    8  checksum, never 0
 *        8    2  major version, 1                         8    8  durable_upto, a position
 *       10    2  minor version, 0                        16    4  length of the payload, <= 16 MiB
 *       12    4  bytes of this header, 64                20    2  kind: 1 .. 0xfeff the caller's,
 *       16    8  first position F, < 2^63                         0xffff a mark (length 0)
 *       24    8  preallocated size of the file           22    2  flags, 0
 *       32   16  store id                                24    n  payload
 *       48    8  0                                     24+n  0-7  zero bytes up to a multiple of 8
 *       56    8  XXH3-64 of bytes 0 .. 55
 *
 * VALIDITY. There is a record at position p iff its length is within the limit and the file, kind,
 * flags and padding are as above, durable_upto <= p, and
 *   checksum = XXH3-64 of (bytes 8 .. 23, then the XXH3-64 of the payload as 8 bytes),
 *              seeded with XXH3-64(store id) xor p; 1 where that gives 0
 * in two steps, so that the large one needs no position and runs before the lock is taken. The seed
 * keeps a record of another store, of another place or of an earlier life of a disk block from ever
 * counting.
 *
 * Layers: base, xxHash. Threads: a window has one owner; the rest is pure or works on files.
 */
#pragma once

#include "store/journal/journal.h"

enum {
    JOURNAL_HEADER_BYTES = 64,
    JOURNAL_RECORD_BYTES = 24, /* in front of the payload */
    JOURNAL_SIZE_AT = 24,      /* offset in the file header of its preallocated size */
    JOURNAL_FILE_BYTES_MOST = 1 << 30,
    JOURNAL_KIND_MARK = 0xffff,
    JOURNAL_WINDOW_BYTES = 256 << 10,
    JOURNAL_PATH_BYTES = 4096,
    JOURNAL_DIR_BYTES_MOST = JOURNAL_PATH_BYTES - 64,
};

/* Written to disk, never renumber. */
struct journal_record_header {
    uint64_t checksum;
    uint64_t durable_upto;
    uint32_t length;
    uint16_t kind;
    uint16_t flags;
};
_Static_assert(sizeof(struct journal_record_header) == JOURNAL_RECORD_BYTES, "written to disk");

static inline uint64_t journal_padded(uint64_t n) { return (n + 7) & ~(uint64_t)7; }
static inline uint64_t journal_record_bytes(const struct journal_record_header *h) {
    return JOURNAL_RECORD_BYTES + journal_padded(h->length);
}

uint64_t journal_payload_sum(struct str payload);
uint64_t journal_store_seed(const uint8_t store_id[JOURNAL_ID_BYTES]);
uint64_t journal_record_checksum(const struct journal_record_header *h, uint64_t payload_sum,
                                 uint64_t store_seed, uint64_t position);

/* ---- the folder ---- */

void journal_folder_path(char out[JOURNAL_PATH_BYTES], const char *dir);
void journal_file_path(char out[JOURNAL_PATH_BYTES], const char *dir, uint64_t first);
/* The first position that a file's name (without its folder) says; false: it is no journal file. */
bool journal_file_first(const char *name, uint64_t *out_first);

/* First positions of the files of a folder, ascending. */
struct journal_list {
    uint64_t *first;
    size_t n, cap;
};

int journal_list_reserve(struct journal_list *list, struct keel_error *err) K_CHECKED; /* one */

/* Lists DIR/journal; no folder is an empty list. With remove_unfinished, files that never got their
 * name are deleted on the way. The caller frees list->first, also after an error. */
int journal_list_read(const char *dir, bool remove_unfinished, struct journal_list *out,
                      struct keel_error *err) K_CHECKED;

/* A durable, empty file with its final name, open for writing. */
int journal_make_file(const char *dir, uint64_t first, uint64_t file_bytes, const uint8_t *store_id,
                      int *out_fd, struct keel_error *err) K_CHECKED;

/* ---- reading a file ---- */

/* A file seen through a buffer that follows the reader: bounded memory whatever the file's size,
 * and no SIGBUS where it shrinks, as a mapping would give. */
struct journal_window {
    int fd;
    uint64_t size; /* of the file                        */
    uint64_t at;   /* offset in the file of bytes[0]     */
    size_t n, cap;
    uint8_t *bytes;
    uint64_t first, file_bytes; /* from the name, from the header     */
    uint64_t store_seed;        /* set by the caller                  */
    char path[JOURNAL_PATH_BYTES];
};

int journal_window_open(struct journal_window *w, const char *dir, uint64_t first, bool writable,
                        struct keel_error *err) K_CHECKED;
void journal_window_close(struct journal_window *w);

/* 1 and *out points at n bytes, valid until the next call; 0 and NULL if the file ends before. */
int journal_window_at(struct journal_window *w, uint64_t offset, size_t n, const uint8_t **out,
                      struct keel_error *err) K_CHECKED;

static inline uint64_t journal_offset(const struct journal_window *w, uint64_t position) {
    return JOURNAL_HEADER_BYTES + (position - w->first);
}

/* Checks header and size against the name, sets file_bytes; *out_id (may be NULL) receives the
 * store id. store_id NULL accepts any. */
int journal_check_header(struct journal_window *w, const uint8_t *store_id, uint8_t *out_id,
                         struct keel_error *err) K_CHECKED;

struct journal_found {
    struct journal_record record;
    uint64_t durable_upto;
};

/* 1: the record at `position`; 0: there is no valid one. The payload is valid until the window
 * moves. */
int journal_record_at(struct journal_window *w, uint64_t position, struct journal_found *out,
                      struct keel_error *err) K_CHECKED;

/* Searches every multiple of 8 from `position` to the end of the file for a valid record with
 * durable_upto >= least: 1 and its position in *out, or 0. *out_dirty (may be NULL) is the offset
 * behind the last 8 bytes seen that are not zero, or 0. Holes are not read: they are zeros. */
int journal_find_record(struct journal_window *w, uint64_t position, uint64_t least, uint64_t *out,
                        uint64_t *out_dirty, struct keel_error *err) K_CHECKED;
