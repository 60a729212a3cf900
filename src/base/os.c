/* Implementation of os.h on Linux. */
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int real_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static int real_stat(const char *path, struct stat *st) { return stat(path, st); }
static int real_fstat(int fd, struct stat *st) { return fstat(fd, st); }

static int64_t clock_us(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
int64_t thread_cpu_us(void) { return clock_us(CLOCK_THREAD_CPUTIME_ID); }
static int64_t real_now_us(void) { return clock_us(CLOCK_REALTIME); }
static int64_t real_monotonic_us(void) { return clock_us(CLOCK_MONOTONIC); }

const struct os OS_REAL = {
    .open = real_open,
    .close = close,
    .read = read,
    .write = write,
    .pread = pread,
    .pwrite = pwrite,
    .fsync = fsync,
    .fdatasync = fdatasync,
    .ftruncate = ftruncate,
    .fallocate = fallocate,
    .lseek = lseek,
    .fstat = real_fstat,
    .stat = real_stat,
    .rename = rename,
    .unlink = unlink,
    .mkdir = mkdir,
    .flock = flock,
    .mmap = mmap,
    .munmap = munmap,
    .now_us = real_now_us,
    .monotonic_us = real_monotonic_us,
};

static const struct os *os = &OS_REAL;

void os_use(const struct os *table) { os = table ? table : &OS_REAL; }
const struct os *os_table(void) { return os; }

int file_open(const char *path, unsigned flags, int *out_fd, struct keel_error *err) {
    int how = O_CLOEXEC | (flags & (FILE_WRITE | FILE_APPEND) ? O_RDWR : O_RDONLY);
    if (flags & FILE_CREATE) how |= O_CREAT;
    if (flags & FILE_EXCLUSIVE) how |= O_EXCL;
    if (flags & FILE_TRUNCATE) how |= O_TRUNC;
    if (flags & FILE_APPEND) how |= O_APPEND;
    int fd;
    do fd = os->open(path, how, flags & FILE_PRIVATE ? 0600 : 0640);
    while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd < 0 ? error_errno(err, errno, "cannot open %s", path) : 0;
}

void file_close(int fd) {
    if (fd >= 0) os->close(fd);
}

int file_write_all(int fd, const void *p, size_t n, const char *path, struct keel_error *err) {
    const uint8_t *at = p;
    while (n) {
        ssize_t done = os->write(fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return error_errno(err, done ? errno : ENOSPC, "cannot write to %s", path);
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int file_pwrite_all(int fd, const void *p, size_t n, uint64_t at, const char *path,
                    struct keel_error *err) {
    const uint8_t *from = p;
    while (n) {
        ssize_t done = os->pwrite(fd, from, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return error_errno(err, done ? errno : ENOSPC, "cannot write to %s", path);
        from += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int file_pread_all(int fd, void *p, size_t n, uint64_t at, const char *path,
                   struct keel_error *err) {
    uint8_t *to = p;
    while (n) {
        ssize_t done = os->pread(fd, to, n, (off_t)at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return error_errno(err, errno, "cannot read %s", path);
        if (done == 0)
            FAIL(err, CORRUPT, "%s ends at byte %llu, %zu bytes too early", path,
                 (unsigned long long)at, n);
        to += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

/* A code of its own: what was written is lost perhaps, and asking again would not tell. */
static int not_durable(const char *path, const char *call, struct keel_error *err) {
    (void)error_errno(err, errno, "cannot make %s durable (%s)", path, call);
    if (err) err->code = -KEEL_E_NOT_DURABLE;
    return -KEEL_E_NOT_DURABLE;
}

int file_sync(int fd, const char *path, struct keel_error *err) {
    return os->fsync(fd) < 0 ? not_durable(path, "fsync", err) : 0;
}

int file_sync_data(int fd, const char *path, struct keel_error *err) {
    return os->fdatasync(fd) < 0 ? not_durable(path, "fdatasync", err) : 0;
}

int file_size(int fd, const char *path, uint64_t *out_bytes, struct keel_error *err) {
    struct stat st;
    if (os->fstat(fd, &st) < 0) return error_errno(err, errno, "cannot read the size of %s", path);
    *out_bytes = (uint64_t)st.st_size;
    return 0;
}

void file_read_no_further(int fd) {
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* advice: may be ignored */
}

uint64_t file_next_data(int fd, uint64_t at) {
    off_t found = os->lseek(fd, (off_t)at, SEEK_DATA);
    if (found >= (off_t)at) return (uint64_t)found;
    return found < 0 && errno == ENXIO ? UINT64_MAX : at; /* else it cannot tell: no hole */
}

int file_truncate(int fd, uint64_t size, const char *path, struct keel_error *err) {
    if (os->ftruncate(fd, (off_t)size) < 0)
        return error_errno(err, errno, "cannot cut %s to %llu bytes", path,
                           (unsigned long long)size);
    return 0;
}

int file_read(const char *path, struct buf *out, struct keel_error *err) {
    int fd, code = 0;
    TRY(file_open(path, FILE_READ, &fd, err));
    for (;;) {
        enum { CHUNK = 1 << 16 };
        size_t room = out->max - out->n;
        if (room == 0) { /* full: fine if the file ends here */
            uint8_t more;
            ssize_t n = os->read(fd, &more, 1);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) code = error_errno(err, errno, "cannot read %s", path);
            if (n > 0)
                code = error_set(err, KEEL_E_LIMIT, "%s is larger than %zu bytes", path, out->max);
            break;
        }
        code = buf_reserve(out, room < CHUNK ? room : CHUNK);
        if (code < 0) {
            error_set(err, (enum keel_code) - code, "no memory to read %s", path);
            break;
        }
        ssize_t n = os->read(fd, out->p + out->n, out->cap - out->n);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) code = error_errno(err, errno, "cannot read %s", path);
        if (n <= 0) break;
        out->n += (size_t)n;
    }
    file_close(fd);
    return code;
}

bool file_exists(const char *path) {
    struct stat st;
    return os->stat(path, &st) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int file_real_path(const char *path, char **out, struct keel_error *err) {
    char room[PATH_MAX];
    if (!realpath(path, room)) return error_errno(err, errno, "cannot find %s", path);
    *out = k_strdup(room);
    return 0;
}

int file_remove(const char *path, struct keel_error *err) {
    if (os->unlink(path) < 0 && errno != ENOENT)
        return error_errno(err, errno, "cannot remove %s", path);
    return 0;
}

int file_list_dir(const char *path, int (*each)(void *, const char *), void *ctx,
                  struct keel_error *err) {
    DIR *folder = opendir(path);
    if (!folder) return error_errno(err, errno, "cannot list %s", path);
    int code = 0;
    struct dirent *entry;
    while (code >= 0 && (errno = 0, entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            code = each(ctx, entry->d_name);
    if (code >= 0) code = errno ? error_errno(err, errno, "cannot list %s", path) : 0;
    closedir(folder);
    return code;
}

int file_sync_dir(const char *path, struct keel_error *err) {
    int fd;
    TRY(file_open(path, FILE_READ, &fd, err));
    int code = file_sync(fd, path, err);
    file_close(fd);
    return code;
}

int file_rename(const char *from, const char *to, struct keel_error *err) {
    if (os->rename(from, to) < 0)
        return error_errno(err, errno, "cannot rename %s to %s", from, to);
    char dir[4096];
    const char *slash = strrchr(to, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - to) : 1, slash ? to : ".");
    return file_sync_dir(dir, err);
}

int file_make_dir(const char *path, struct keel_error *err) {
    if (os->mkdir(path, 0750) < 0 && errno != EEXIST)
        return error_errno(err, errno, "cannot create folder %s", path);
    return 0;
}

enum { LOCK_TRIES = 200, LOCK_PAUSE_US = 10000 };

int file_lock(int fd, bool shared, const char *path, struct keel_error *err) {
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (os->flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK || shared) break;
        /* Who could share it waits for readers. The lock is held for a moment, which hinders none
         * of them. */
        if (os->flock(fd, LOCK_SH | LOCK_NB) < 0) break;
        os->flock(fd, LOCK_UN);
        usleep(LOCK_PAUSE_US);
        errno = EWOULDBLOCK;
    }
    if (errno == EWOULDBLOCK)
        FAIL(err, BUSY, "%s is in use by another keel process; stop it or wait", path);
    return error_errno(err, errno, "cannot lock %s", path);
}
