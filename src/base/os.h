/* Every call to the operating system that can fail, behind one table, so that a test can fail,
 * shorten, tear or delay any of them.
 *
 *   os_*      the table itself: thin, errno-style, one entry per system call.
 *   file_*    what the rooms use: whole writes, durable renames, clear errors that name the path.
 *
 * Layers: uses error.h, buf.h. Threads: the table is set once, before threads start. All
 * descriptors are opened O_CLOEXEC.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

struct os {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*read)(int fd, void *p, size_t n);
    ssize_t (*write)(int fd, const void *p, size_t n);
    ssize_t (*pread)(int fd, void *p, size_t n, off_t at);
    ssize_t (*pwrite)(int fd, const void *p, size_t n, off_t at);
    int (*fsync)(int fd);
    int (*fdatasync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, int mode, off_t at, off_t n);
    off_t (*lseek)(int fd, off_t at, int whence);
    int (*fstat)(int fd, struct stat *st);
    int (*stat)(const char *path, struct stat *st);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*flock)(int fd, int operation);
    void *(*mmap)(void *at, size_t n, int protection, int flags, int fd, off_t offset);
    int (*munmap)(void *p, size_t n);
    int64_t (*now_us)(void);       /* wall clock, microseconds since 1970-01-01 UTC */
    int64_t (*monotonic_us)(void); /* never steps back                              */
};

extern const struct os OS_REAL;

/* Replaces the table (NULL: the real one). For tests, before threads start. */
void os_use(const struct os *table);
const struct os *os_table(void);

static inline int64_t now_us(void) { return os_table()->now_us(); }
static inline int64_t now_ms(void) { return now_us() / 1000; }
int64_t thread_cpu_us(void); /* CPU time of the calling thread: for the cost of a query */
static inline int64_t monotonic_us(void) { return os_table()->monotonic_us(); }

enum file_open_flags {
    FILE_READ = 0,
    FILE_WRITE = 1,
    FILE_CREATE = 2,
    FILE_EXCLUSIVE = 4,
    FILE_TRUNCATE = 8,
    FILE_APPEND = 16,
    FILE_PRIVATE = 32 /* a file that is created: mode 0600 */
};

/* *out_fd is -1 after an error. */
int file_open(const char *path, unsigned flags, int *out_fd, struct keel_error *err) K_CHECKED;
void file_close(int fd); /* -1 is fine; errors of close after a sync carry no information */
int file_write_all(int fd, const void *p, size_t n, const char *path,
                   struct keel_error *err) K_CHECKED;
int file_pwrite_all(int fd, const void *p, size_t n, uint64_t at, const char *path,
                    struct keel_error *err) K_CHECKED;
/* Reads exactly n bytes, else KEEL_E_CORRUPT ("ends at …"). */
int file_pread_all(int fd, void *p, size_t n, uint64_t at, const char *path,
                   struct keel_error *err) K_CHECKED;
/* From now on reading brings into memory what is asked for, and nothing ahead of it. */
void file_read_no_further(int fd);
/* The first place at or behind `at` that is not in a hole, as far as the file system tells: all
 * before it reads as zeros. UINT64_MAX: there are only holes up to the end. What was preallocated
 * is a hole until it is written, or (in memory, so for Linux) read, be it ahead. */
uint64_t file_next_data(int fd, uint64_t at);
/* KEEL_E_NOT_DURABLE if it fails: it is never to be retried, as the kernel drops what it could not
 * write and reports success the next time. */
int file_sync(int fd, const char *path, struct keel_error *err) K_CHECKED;      /* fsync     */
int file_sync_data(int fd, const char *path, struct keel_error *err) K_CHECKED; /* fdatasync */
int file_size(int fd, const char *path, uint64_t *out_bytes, struct keel_error *err) K_CHECKED;
int file_truncate(int fd, uint64_t size, const char *path, struct keel_error *err) K_CHECKED;
/* Whole file into an empty buffer; KEEL_E_LIMIT beyond the buffer's maximum. */
int file_read(const char *path, struct buf *out, struct keel_error *err) K_CHECKED;
/* False only if there is no such thing. What may not be looked at counts as there, so that the next
 * call fails with the true reason, instead of somebody being told to make what is there already. */
bool file_exists(const char *path);
/* The one name of a file or folder that is there: absolute, without links. The caller frees it. */
int file_real_path(const char *path, char **out, struct keel_error *err) K_CHECKED;
int file_remove(const char *path, struct keel_error *err) K_CHECKED; /* absent: success */
int file_rename(const char *from, const char *to,
                struct keel_error *err) K_CHECKED; /* durable: syncs the folder of `to` */
int file_make_dir(const char *path, struct keel_error *err) K_CHECKED; /* exists: success */
/* Calls each(ctx, name) for every entry but . and .., in no order; a negative result ends the walk
 * and is returned. */
int file_list_dir(const char *path, int (*each)(void *ctx, const char *name), void *ctx,
                  struct keel_error *err) K_CHECKED;
int file_sync_dir(const char *path, struct keel_error *err) K_CHECKED;

/* Advisory whole-file lock held until close: KEEL_E_BUSY if somebody else has it. Who wants it
 * alone waits up to 2 s for those that share it; not for one that has it alone. */
int file_lock(int fd, bool shared, const char *path, struct keel_error *err) K_CHECKED;

/* Read-only mapping of a whole file. size 0 maps to NULL. Bytes that cannot be read (the disk
 * fails, or the file was cut meanwhile) read as zeros, and from then on file_map_broken is true:
 * ask it behind a read, before what was read is believed. Installs a handler of SIGBUS. */
struct file_map {
    const uint8_t *p;
    size_t n;
    struct mapping *mapping;
};
bool file_map_broken(const struct file_map *map);
int file_map_open(const char *path, struct file_map *out, struct keel_error *err) K_CHECKED;
void file_map_close(struct file_map *map);
