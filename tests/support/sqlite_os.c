/* Implementation of sqlite_os.h. */
#include "sqlite_os.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

struct seen_file {
    sqlite3_file base;
    int fd;
    bool new_name; /* its folder is to be synced with it */
    char *path;
    sqlite3_file *below; /* follows this struct */
};

static struct seen_file *of(sqlite3_file *f) { return (struct seen_file *)f; }

static int sync_folder(const char *path) {
    char dir[4096];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return file_sync_dir(dir, NULL) < 0 ? SQLITE_IOERR_DIR_FSYNC : SQLITE_OK;
}

static int seen_close(sqlite3_file *f) {
    struct seen_file *s = of(f);
    int code = s->below->pMethods ? s->below->pMethods->xClose(s->below) : SQLITE_OK;
    if (s->fd >= 0) os_table()->close(s->fd);
    k_free(s->path);
    return code;
}

static int seen_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at) {
    int done = 0;
    while (done < n) {
        ssize_t got = os_table()->pread(of(f)->fd, (char *)p + done, (size_t)(n - done), at + done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return SQLITE_IOERR_READ;
        if (got == 0) break;
        done += (int)got;
    }
    if (done == n) return SQLITE_OK;
    memset((char *)p + done, 0, (size_t)(n - done));
    return SQLITE_IOERR_SHORT_READ;
}

static int seen_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at) {
    int done = 0;
    while (done < n) {
        ssize_t put =
            os_table()->pwrite(of(f)->fd, (const char *)p + done, (size_t)(n - done), at + done);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        done += (int)put;
    }
    return SQLITE_OK;
}

static int seen_truncate(sqlite3_file *f, sqlite3_int64 size) {
    return os_table()->ftruncate(of(f)->fd, size) < 0 ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

static int seen_sync(sqlite3_file *f, int flags) {
    struct seen_file *s = of(f);
    (void)flags;
    if (os_table()->fdatasync(s->fd) < 0) return SQLITE_IOERR_FSYNC;
    if (!s->new_name) return SQLITE_OK;
    s->new_name = false;
    return sync_folder(s->path);
}

static int seen_size(sqlite3_file *f, sqlite3_int64 *out) {
    struct stat st;
    if (os_table()->fstat(of(f)->fd, &st) < 0) return SQLITE_IOERR_FSTAT;
    *out = st.st_size;
    return SQLITE_OK;
}

#define BELOW(f) (of(f)->below)

static int seen_lock(sqlite3_file *f, int level) {
    return BELOW(f)->pMethods->xLock(BELOW(f), level);
}
static int seen_unlock(sqlite3_file *f, int level) {
    return BELOW(f)->pMethods->xUnlock(BELOW(f), level);
}
static int seen_check_lock(sqlite3_file *f, int *out) {
    return BELOW(f)->pMethods->xCheckReservedLock(BELOW(f), out);
}
/* Hints would let the VFS below grow or map the file behind the table's back. */
static int seen_control(sqlite3_file *f, int op, void *p) {
    if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE ||
        op == SQLITE_FCNTL_MMAP_SIZE)
        return SQLITE_NOTFOUND;
    return BELOW(f)->pMethods->xFileControl(BELOW(f), op, p);
}
static int seen_sector(sqlite3_file *f) { return BELOW(f)->pMethods->xSectorSize(BELOW(f)); }
static int seen_traits(sqlite3_file *f) {
    return BELOW(f)->pMethods->xDeviceCharacteristics(BELOW(f));
}
static int seen_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out) {
    return BELOW(f)->pMethods->xShmMap(BELOW(f), page, bytes, extend, out);
}
static int seen_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
    return BELOW(f)->pMethods->xShmLock(BELOW(f), offset, n, flags);
}
static void seen_shm_barrier(sqlite3_file *f) { BELOW(f)->pMethods->xShmBarrier(BELOW(f)); }
static int seen_shm_unmap(sqlite3_file *f, int remove) {
    return BELOW(f)->pMethods->xShmUnmap(BELOW(f), remove);
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 2,
    .xClose = seen_close,
    .xRead = seen_read,
    .xWrite = seen_write,
    .xTruncate = seen_truncate,
    .xSync = seen_sync,
    .xFileSize = seen_size,
    .xLock = seen_lock,
    .xUnlock = seen_unlock,
    .xCheckReservedLock = seen_check_lock,
    .xFileControl = seen_control,
    .xSectorSize = seen_sector,
    .xDeviceCharacteristics = seen_traits,
    .xShmMap = seen_shm_map,
    .xShmLock = seen_shm_lock,
    .xShmBarrier = seen_shm_barrier,
    .xShmUnmap = seen_shm_unmap,
};

/* ---- the VFS ---- */

static sqlite3_vfs *below_vfs, seen_vfs;

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out) {
    struct seen_file *s = of(f);
    const int journals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL;
    (void)vfs;
    *s = (struct seen_file){.fd = -1, .below = (sqlite3_file *)(s + 1)};
    s->below->pMethods = NULL;
    if (!name || !(flags & (journals | SQLITE_OPEN_MAIN_DB)))
        return below_vfs->xOpen(below_vfs, name, f, flags, out); /* temporary files */
    struct stat st;
    bool existed = OS_REAL.stat(name, &st) == 0, make = flags & SQLITE_OPEN_CREATE;
    if (!existed && !make) return SQLITE_CANTOPEN;
    int how = (flags & SQLITE_OPEN_READWRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    do s->fd = os_table()->open(name, how | (make ? O_CREAT : 0), 0644);
    while (s->fd < 0 && errno == EINTR);
    if (s->fd < 0) return SQLITE_CANTOPEN;
    int code = below_vfs->xOpen(below_vfs, name, s->below, flags, out);
    s->new_name = !existed && (flags & journals);
    s->path = k_strdup(name);
    if (code == SQLITE_OK) {
        s->base.pMethods = &METHODS;
    } else {
        if (s->below->pMethods) s->below->pMethods->xClose(s->below);
        os_table()->close(s->fd);
        k_free(s->path);
    }
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs;
    if (os_table()->unlink(name) < 0)
        return errno == ENOENT ? SQLITE_IOERR_DELETE_NOENT : SQLITE_IOERR_DELETE;
    return sync ? sync_folder(name) : SQLITE_OK;
}

void sqlite_os_start(void) {
    if (!below_vfs) below_vfs = sqlite3_vfs_find("unix");
    K_ASSERT(below_vfs != NULL);
    seen_vfs = *below_vfs;
    seen_vfs.zName = "os-table";
    seen_vfs.szOsFile = (int)sizeof(struct seen_file) + below_vfs->szOsFile;
    seen_vfs.xOpen = vfs_open;
    seen_vfs.xDelete = vfs_delete;
    int code = sqlite3_vfs_register(&seen_vfs, 1);
    K_ASSERT_OP(code, ==, SQLITE_OK);
}

void sqlite_os_stop(void) {
    sqlite3_vfs_unregister(&seen_vfs);
    sqlite3_vfs_register(below_vfs, 1);
}
