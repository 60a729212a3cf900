/* Implementation of fault_os.h.
 *
 * Files are *nodes*: a node is bytes. Names are numbered once, a folder before what is in it, and
 * point at nodes. A recorded call becomes one *op* on a node (bytes, size) or on names. A crash
 * state is the image at disk_start plus a choice for each op: kept, lost, torn. Ops that were
 * durable at the moment of the crash are kept.
 *
 * Threads: `lock` guards all of `fault` and the record; a recorded call runs under it, so that the
 * order of the record is the order on disk.
 */
#include "fault_os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"

enum { SECTOR = 512, DESCRIPTORS = 4096, CUTS_DEFAULT = 8, PATH_BYTES = 4096 };

/* ---- record ---- */

enum op_kind { OP_WRITE, OP_SIZE, OP_GROW, OP_NAME, OP_SYNC, OP_SYNC_NAMES, OP_MARK };

enum { NO_NODE = -1, FOLDER = -2 };    /* what a name points at, besides nodes    */
enum { NO_NAME = -2, ROOT_NAME = -1 }; /* a folder's number is that of its name   */

struct op {
    enum op_kind kind;
    int node;       /* WRITE, SIZE, GROW, SYNC; NAME: what the name points at from now on     */
    uint64_t at, n; /* WRITE: where; SIZE, GROW: n is the size                                */
    uint8_t *bytes;
    int name;       /* NAME: which                                                          */
    int old_name;   /* NAME of a rename: what disappears; else NO_NAME                      */
    bool lost;      /* a failed sync dropped it: no later sync brings it back               */
    size_t durable; /* index of the op that made it durable, SIZE_MAX                       */
    uint64_t mark;
};

struct node {
    uint8_t *bytes; /* at disk_start */
    size_t n;
};

struct name {
    char *path; /* relative to the folder */
    int folder; /* the name it is in      */
    int start;  /* node at disk_start     */
    int now;    /* while recording        */
};

struct disk {
    char root[PATH_BYTES];
    struct node *nodes;
    size_t n_nodes;
    struct name *names;
    size_t n_names;
    struct op *ops;
    size_t n_ops;
};

struct descriptor {
    int node;   /* NO_NODE: not below the folder */
    int folder; /* of FOLDER: its name           */
};

static struct {
    pthread_mutex_t lock;
    bool started;
    enum fault_call call;
    uint64_t at;
    int errno_value;
    enum fault_mode mode;
    bool fired;
    uint64_t calls[FAULT_CALLS];
    struct rand rand;
    bool cut_short;
    unsigned interrupt_every, interrupt_count;
    unsigned delay_us[FAULT_CALLS];
    bool skip_sync;
    bool lies[FAULT_CALLS];
    struct disk *disk;
    struct descriptor fds[DESCRIPTORS];
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *grow(void *p, size_t n, size_t size) {
    return (n & (n - 1)) == 0 ? k_realloc(p, (n ? 2 * n : 1) * size) : p;
}

static int add_node(struct disk *disk, struct node node) {
    disk->nodes = grow(disk->nodes, disk->n_nodes, sizeof *disk->nodes);
    disk->nodes[disk->n_nodes] = node;
    return (int)disk->n_nodes++;
}

static struct op *add_op(enum op_kind kind, int node) {
    struct disk *disk = fault.disk;
    disk->ops = grow(disk->ops, disk->n_ops, sizeof *disk->ops);
    struct op *op = &disk->ops[disk->n_ops++];
    *op = (struct op){.kind = kind, .node = node, .durable = SIZE_MAX};
    return op;
}

/* The number of a path below the folder; new ones point at nothing. */
static int name_of(struct disk *disk, const char *path) {
    char folder[PATH_BYTES];
    if (*path == 0) return ROOT_NAME;
    for (size_t i = 0; i < disk->n_names; i++)
        if (strcmp(disk->names[i].path, path) == 0) return (int)i;
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 0, path);
    int in = name_of(disk, folder);
    disk->names = grow(disk->names, disk->n_names, sizeof *disk->names);
    disk->names[disk->n_names] = (struct name){k_strdup(path), in, NO_NODE, NO_NODE};
    return (int)disk->n_names++;
}

/* The part of path below the recorded folder ("" is the folder itself), or NULL. */
static const char *below(const char *path) {
    if (!fault.disk) return NULL;
    size_t n = strlen(fault.disk->root);
    if (strncmp(path, fault.disk->root, n) != 0) return NULL;
    if (path[n] == 0) return path + n;
    return path[n] == '/' ? path + n + 1 : NULL;
}

static void record_name(int name, int node, int old_name) {
    struct disk *disk = fault.disk;
    struct op *op = add_op(OP_NAME, node);
    op->name = name;
    op->old_name = old_name;
    if (old_name != NO_NAME) disk->names[old_name].now = NO_NODE;
    disk->names[name].now = node;
}

static void record_write(int fd, const void *p, size_t n, uint64_t at) {
    if (!fault.disk || fault.fds[fd].node < 0 || n == 0) return;
    struct op *op = add_op(OP_WRITE, fault.fds[fd].node);
    op->at = at;
    op->n = n;
    op->bytes = memcpy(k_alloc(n), p, n);
}

static void record_size(enum op_kind kind, int fd, uint64_t size) {
    if (fault.disk && fault.fds[fd].node >= 0) add_op(kind, fault.fds[fd].node)->n = size;
}

static bool sync_covers(const struct op *op, int fd) {
    const struct descriptor *d = &fault.fds[fd];
    if (d->node == FOLDER)
        return op->kind == OP_NAME && fault.disk->names[op->name].folder == d->folder;
    return op->kind <= OP_GROW && op->node == d->node;
}

static void record_sync(int fd, bool failed) {
    struct disk *disk = fault.disk;
    if (!disk || fault.fds[fd].node == NO_NODE) return;
    size_t n = disk->n_ops;
    add_op(fault.fds[fd].node == FOLDER ? OP_SYNC_NAMES : OP_SYNC, fault.fds[fd].node);
    for (size_t i = 0; i < n; i++) {
        struct op *op = &disk->ops[i];
        if (op->durable != SIZE_MAX || op->lost || !sync_covers(op, fd)) continue;
        if (!failed)
            op->durable = n;
        else if (op->kind != OP_NAME)
            op->lost = true;
    }
}

static void record_open(int fd, const char *path, int flags, bool existed) {
    const char *relative = below(path);
    K_ASSERT_OP(fd, <, DESCRIPTORS);
    fault.fds[fd] = (struct descriptor){.node = NO_NODE};
    if (!relative) return;
    struct stat st;
    int name = name_of(fault.disk, relative);
    if (OS_REAL.fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        fault.fds[fd] = (struct descriptor){FOLDER, name};
        return;
    }
    int node = fault.disk->names[name].now;
    K_ASSERT_OP(existed, ==, node != NO_NODE);
    if (!existed) {
        node = add_node(fault.disk, (struct node){0});
        record_name(name, node, NO_NAME);
    }
    fault.fds[fd].node = node;
    if (existed && (flags & O_TRUNC)) record_size(OP_SIZE, fd, 0);
}

/* ---- the table ---- */

/* Counts a call; true and errno set if it must fail. Takes the lock, which leave() gives back. */
static bool enter(enum fault_call call, bool interruptible, bool *out_partly) {
    unsigned delay;
    pthread_mutex_lock(&fault.lock);
    delay = fault.delay_us[call];
    if (delay) {
        pthread_mutex_unlock(&fault.lock);
        usleep(delay);
        pthread_mutex_lock(&fault.lock);
    }
    if (interruptible && fault.interrupt_every &&
        ++fault.interrupt_count % fault.interrupt_every == 0) {
        errno = EINTR;
        return true;
    }
    fault.calls[call]++;
    fault.calls[FAULT_ANY]++;
    uint64_t n = fault.calls[fault.call];
    bool ours = fault.at && (fault.call == call || fault.call == FAULT_ANY);
    if (!ours || (fault.mode == FAULT_FOR_EVER ? n < fault.at : n != fault.at)) return false;
    fault.fired = true;
    if (out_partly) *out_partly = fault.mode == FAULT_PARTLY;
    errno = fault.errno_value;
    return true;
}

/* Gives the lock back and keeps errno. */
static void leave(void) {
    int saved = errno;
    pthread_mutex_unlock(&fault.lock);
    errno = saved;
}

static size_t cut(size_t n) {
    return fault.cut_short && n > 1 ? 1 + rand_below(&fault.rand, (uint32_t)n) : n;
}

static int fault_open(const char *path, int flags, mode_t mode) {
    int fd = -1;
    if (!enter(FAULT_OPEN, true, NULL)) {
        struct stat st;
        bool existed = OS_REAL.stat(path, &st) == 0;
        fd = OS_REAL.open(path, flags, mode);
        if (fd >= 0) record_open(fd, path, flags, existed);
    }
    leave();
    return fd;
}

static int fault_close(int fd) {
    pthread_mutex_lock(&fault.lock);
    if (fd >= 0 && fd < DESCRIPTORS) fault.fds[fd].node = NO_NODE;
    int result = OS_REAL.close(fd);
    leave();
    return result;
}

static ssize_t fault_read(int fd, void *p, size_t n) {
    ssize_t done = enter(FAULT_READ, true, NULL) ? -1 : OS_REAL.read(fd, p, cut(n));
    leave();
    return done;
}

static ssize_t fault_pread(int fd, void *p, size_t n, off_t at) {
    ssize_t done = enter(FAULT_PREAD, true, NULL) ? -1 : OS_REAL.pread(fd, p, cut(n), at);
    leave();
    return done;
}

static ssize_t fault_write(int fd, const void *p, size_t n) {
    bool partly = false, fails = enter(FAULT_WRITE, true, &partly);
    int why = errno;
    ssize_t done = -1;
    if (!fails || partly) done = OS_REAL.write(fd, p, fails ? n / 2 : cut(n));
    if (done > 0) record_write(fd, p, (size_t)done, (uint64_t)(lseek(fd, 0, SEEK_CUR) - done));
    if (fails) errno = why;
    leave();
    return fails ? -1 : done;
}

static ssize_t fault_pwrite(int fd, const void *p, size_t n, off_t at) {
    bool partly = false, fails = enter(FAULT_PWRITE, true, &partly);
    int why = errno;
    ssize_t done = -1;
    if (!fails || partly) done = OS_REAL.pwrite(fd, p, fails ? n / 2 : cut(n), at);
    if (done > 0) record_write(fd, p, (size_t)done, (uint64_t)at);
    if (fails) errno = why;
    leave();
    return fails ? -1 : done;
}

static int sync_call(enum fault_call call, int fd, int (*real)(int)) {
    bool fails = enter(call, false, NULL);
    int why = errno, result = 0;
    bool modelled = fault.disk && fault.fds[fd].node != NO_NODE;
    if (!fails && !modelled && !fault.skip_sync) result = real(fd);
    if (modelled && !fault.lies[call]) record_sync(fd, fails);
    if (fails) errno = why;
    leave();
    return fails ? -1 : result;
}

static int fault_fsync(int fd) { return sync_call(FAULT_FSYNC, fd, OS_REAL.fsync); }
static int fault_fdatasync(int fd) { return sync_call(FAULT_FDATASYNC, fd, OS_REAL.fdatasync); }

static int fault_ftruncate(int fd, off_t size) {
    int result = enter(FAULT_FTRUNCATE, false, NULL) ? -1 : OS_REAL.ftruncate(fd, size);
    if (result == 0) record_size(OP_SIZE, fd, (uint64_t)size);
    leave();
    return result;
}

static int fault_fallocate(int fd, int mode, off_t at, off_t n) {
    int result = enter(FAULT_FALLOCATE, true, NULL) ? -1 : OS_REAL.fallocate(fd, mode, at, n);
    K_ASSERT_OP(mode, ==, 0); /* the model knows no holes */
    if (result == 0) record_size(OP_GROW, fd, (uint64_t)(at + n));
    leave();
    return result;
}

static off_t fault_lseek(int fd, off_t at, int whence) {
    off_t result = enter(FAULT_LSEEK, false, NULL) ? -1 : OS_REAL.lseek(fd, at, whence);
    leave();
    return result;
}

static int fault_fstat(int fd, struct stat *st) {
    int result = enter(FAULT_FSTAT, false, NULL) ? -1 : OS_REAL.fstat(fd, st);
    leave();
    return result;
}

static int fault_stat(const char *path, struct stat *st) {
    int result = enter(FAULT_STAT, false, NULL) ? -1 : OS_REAL.stat(path, st);
    leave();
    return result;
}

static int fault_rename(const char *from, const char *to) {
    int result = enter(FAULT_RENAME, false, NULL) ? -1 : OS_REAL.rename(from, to);
    const char *old_path = below(from), *path = below(to);
    if (result == 0 && path) {
        K_ASSERT(old_path != NULL);
        int old_name = name_of(fault.disk, old_path), name = name_of(fault.disk, path);
        int node = fault.disk->names[old_name].now;
        K_ASSERT_OP(node, >=, 0);
        record_name(name, node, old_name);
    }
    leave();
    return result;
}

static int fault_unlink(const char *path) {
    int result = enter(FAULT_UNLINK, false, NULL) ? -1 : OS_REAL.unlink(path);
    if (result == 0 && below(path)) record_name(name_of(fault.disk, below(path)), NO_NODE, NO_NAME);
    leave();
    return result;
}

static int fault_mkdir(const char *path, mode_t mode) {
    int result = enter(FAULT_MKDIR, false, NULL) ? -1 : OS_REAL.mkdir(path, mode);
    if (result == 0 && below(path)) record_name(name_of(fault.disk, below(path)), FOLDER, NO_NAME);
    leave();
    return result;
}

static int fault_flock(int fd, int operation) {
    bool fails = enter(FAULT_FLOCK, false, NULL);
    leave();
    return fails ? -1 : OS_REAL.flock(fd, operation); /* may block: not under the lock */
}

static void *fault_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
    bool fails = enter(FAULT_MMAP, false, NULL);
    void *p = fails ? (void *)-1 : OS_REAL.mmap(at, n, protection, flags, fd, offset);
    leave();
    return p;
}

static int fault_munmap(void *p, size_t n) { return OS_REAL.munmap(p, n); }
static int64_t fault_now_us(void) { return OS_REAL.now_us(); }
static int64_t fault_monotonic_us(void) { return OS_REAL.monotonic_us(); }

static const struct os TABLE = {
    .open = fault_open,
    .close = fault_close,
    .read = fault_read,
    .write = fault_write,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .fsync = fault_fsync,
    .fdatasync = fault_fdatasync,
    .ftruncate = fault_ftruncate,
    .fallocate = fault_fallocate,
    .lseek = fault_lseek,
    .fstat = fault_fstat,
    .stat = fault_stat,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .flock = fault_flock,
    .mmap = fault_mmap,
    .munmap = fault_munmap,
    .now_us = fault_now_us,
    .monotonic_us = fault_monotonic_us,
};

/* ---- rules ---- */

void fault_start(void) {
    if (!fault.started)
        for (int fd = 0; fd < DESCRIPTORS; fd++)
            fault.fds[fd] = (struct descriptor){.node = NO_NODE};
    fault.started = true;
    fault_none();
    memset(fault.calls, 0, sizeof fault.calls);
    os_use(&TABLE);
}

void fault_stop(void) {
    K_ASSERT(fault.disk == NULL);
    fault_none();
    fault.started = false;
    os_use(NULL);
}

void fault_fail(enum fault_call call, uint64_t n, int errno_value, enum fault_mode mode) {
    pthread_mutex_lock(&fault.lock);
    memset(fault.calls, 0, sizeof fault.calls);
    fault.call = call;
    fault.at = n;
    fault.errno_value = errno_value;
    fault.mode = mode;
    fault.fired = false;
    pthread_mutex_unlock(&fault.lock);
}

void fault_none(void) {
    pthread_mutex_lock(&fault.lock);
    fault.at = 0;
    fault.fired = false;
    fault.cut_short = false;
    fault.interrupt_every = fault.interrupt_count = 0;
    memset(fault.delay_us, 0, sizeof fault.delay_us);
    fault.skip_sync = false;
    memset(fault.lies, 0, sizeof fault.lies);
    pthread_mutex_unlock(&fault.lock);
}

bool fault_fired(void) {
    pthread_mutex_lock(&fault.lock);
    bool fired = fault.fired;
    pthread_mutex_unlock(&fault.lock);
    return fired;
}

uint64_t fault_calls(enum fault_call call) {
    pthread_mutex_lock(&fault.lock);
    uint64_t n = fault.calls[call];
    pthread_mutex_unlock(&fault.lock);
    return n;
}

void fault_short(uint64_t seed) {
    rand_init(&fault.rand, seed);
    fault.cut_short = seed != 0;
}

void fault_interrupt(unsigned every) { fault.interrupt_every = every; }
void fault_delay(enum fault_call call, unsigned microseconds) {
    fault.delay_us[call] = microseconds;
}
void fault_skip_sync(bool skip) { fault.skip_sync = skip; }
void fault_lie(enum fault_call call, bool lie) { fault.lies[call] = lie; }

/* ---- folders ---- */

/* Calls each(ctx, relative name, true for a folder) for everything below `path`, folders first. */
static void walk(const char *path, const char *name,
                 void (*each)(void *ctx, const char *path, const char *name, bool folder),
                 void *ctx) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char child[PATH_BYTES], relative[PATH_BYTES];
        int n = snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        int m = snprintf(relative, sizeof relative, "%s%s%s", name, *name ? "/" : "", e->d_name);
        K_ASSERT(n < PATH_BYTES && m < PATH_BYTES);
        struct stat st;
        bool folder = OS_REAL.stat(child, &st) == 0 && S_ISDIR(st.st_mode);
        each(ctx, child, relative, folder);
        if (folder) walk(child, relative, each, ctx);
    }
    closedir(dir);
}

/* Removes what is in a folder, depth first. */
static void empty(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char child[PATH_BYTES];
        K_ASSERT(snprintf(child, sizeof child, "%s/%s", path, e->d_name) < PATH_BYTES);
        if (OS_REAL.unlink(child) == 0) continue;
        empty(child);
        rmdir(child);
    }
    closedir(dir);
}

static void write_whole(const char *path, const uint8_t *bytes, size_t n) {
    int fd = OS_REAL.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    K_ASSERT_OP(fd, >=, 0);
    for (size_t done = 0; done < n;) {
        ssize_t got = OS_REAL.write(fd, bytes + done, n - done);
        K_ASSERT_OP(got, >, 0);
        done += (size_t)got;
    }
    OS_REAL.close(fd);
}

static uint8_t *read_whole(const char *path, size_t *out_n) {
    int fd = OS_REAL.open(path, O_RDONLY | O_CLOEXEC, 0);
    struct stat st;
    K_ASSERT(fd >= 0 && OS_REAL.fstat(fd, &st) == 0);
    uint8_t *bytes = k_alloc((size_t)st.st_size);
    for (size_t done = 0; done < (size_t)st.st_size;) {
        ssize_t got = OS_REAL.read(fd, bytes + done, (size_t)st.st_size - done);
        K_ASSERT_OP(got, >, 0);
        done += (size_t)got;
    }
    OS_REAL.close(fd);
    *out_n = (size_t)st.st_size;
    return bytes;
}

/* Folders that a failed test left are removed when the process ends: in memory they cost. */
enum { TEMP_MOST = 256 };
static char temps[TEMP_MOST][TEMP_PATH_MAX];
static pid_t temp_owner; /* not a forked child */

static void remove_temps(void) {
    for (int i = 0; i < TEMP_MOST && temp_owner == getpid(); i++)
        if (temps[i][0]) {
            empty(temps[i]);
            rmdir(temps[i]);
        }
}

void temp_make(char out[TEMP_PATH_MAX]) {
    const char *set = getenv("TMPDIR");
    snprintf(out, TEMP_PATH_MAX, "/dev/shm/keel-test-XXXXXX");
    if (set || !mkdtemp(out)) {
        snprintf(out, TEMP_PATH_MAX, "%s/keel-test-XXXXXX", set ? set : "/tmp");
        K_ASSERT(mkdtemp(out) != NULL);
    }
    if (!temp_owner) atexit(remove_temps);
    temp_owner = getpid();
    int i = 0;
    while (i < TEMP_MOST && temps[i][0]) i++;
    K_ASSERT_OP(i, <, TEMP_MOST);
    memcpy(temps[i], out, TEMP_PATH_MAX);
}

void temp_remove(const char *path) {
    for (int i = 0; i < TEMP_MOST; i++)
        if (strcmp(temps[i], path) == 0) temps[i][0] = 0;
    empty(path);
    rmdir(path);
}

static void copy_one(void *ctx, const char *path, const char *name, bool folder) {
    char to[PATH_BYTES];
    K_ASSERT(snprintf(to, sizeof to, "%s/%s", (const char *)ctx, name) < PATH_BYTES);
    if (folder) {
        OS_REAL.mkdir(to, 0750);
        return;
    }
    size_t n;
    uint8_t *bytes = read_whole(path, &n);
    write_whole(to, bytes, n);
    k_free(bytes);
}

void temp_copy(const char *from, const char *to) {
    OS_REAL.mkdir(to, 0750);
    empty(to);
    char target[PATH_BYTES];
    snprintf(target, sizeof target, "%s", to);
    walk(from, "", copy_one, target);
}

/* ---- recording ---- */

static void load_one(void *ctx, const char *path, const char *name, bool folder) {
    struct disk *disk = ctx;
    int node = FOLDER;
    if (!folder) {
        struct node file;
        file.bytes = read_whole(path, &file.n);
        node = add_node(disk, file);
    }
    int number = name_of(disk, name);
    disk->names[number].start = disk->names[number].now = node;
}

struct disk *disk_start(const char *dir) {
    K_ASSERT(fault.disk == NULL);
    if (!fault.started) fault_start();
    struct disk *disk = k_zalloc(sizeof *disk);
    K_ASSERT(snprintf(disk->root, sizeof disk->root, "%s", dir) < PATH_BYTES);
    walk(dir, "", load_one, disk);
    fault.disk = disk;
    return disk;
}

void disk_mark(struct disk *disk, uint64_t mark) {
    pthread_mutex_lock(&fault.lock);
    if (fault.disk == disk) add_op(OP_MARK, NO_NODE)->mark = mark;
    pthread_mutex_unlock(&fault.lock);
}

void disk_stop(struct disk *disk) {
    pthread_mutex_lock(&fault.lock);
    K_ASSERT(fault.disk == disk);
    fault.disk = NULL;
    for (int fd = 0; fd < DESCRIPTORS; fd++) fault.fds[fd].node = NO_NODE;
    pthread_mutex_unlock(&fault.lock);
}

void disk_free(struct disk *disk) {
    for (size_t i = 0; i < disk->n_nodes; i++) k_free(disk->nodes[i].bytes);
    for (size_t i = 0; i < disk->n_ops; i++) k_free(disk->ops[i].bytes);
    for (size_t i = 0; i < disk->n_names; i++) k_free(disk->names[i].path);
    k_free(disk->names);
    k_free(disk->nodes);
    k_free(disk->ops);
    k_free(disk);
}

size_t disk_calls(const struct disk *disk) { return disk->n_ops; }

/* ---- crash states ---- */

enum fate { KEPT, LOST, SIZE_ONLY, FRONT, REAR, SECTORS };

struct choice {
    enum fate fate;
    uint64_t cut; /* FRONT, REAR: offset in the file; SECTORS: seed */
};

struct image {
    int *names;        /* by name: its node, once all ops on names are applied            */
    struct buf *files; /* by node                                                         */
    bool *named;       /* by node: has a name, and so is worth building                   */
};

struct crash {
    struct disk *disk;
    struct choice *choice; /* of each op */
    size_t *pending;       /* ops not durable at the crash */
    size_t n_pending, call;
    uint64_t mark;
    const char *scratch;
    struct disk_plan plan;
    struct rand rand;
    uint64_t *seen; /* open-addressed set of hashes */
    size_t n_seen, cap_seen;
    uint64_t states;
    void (*visit)(void *ctx, const struct disk_state *state);
    void *ctx;
};

static void image_grow(struct buf *file, uint64_t size) {
    if (size > file->n) K_ASSERT(buf_add_zero(file, size - file->n) == 0);
}

static void image_write(struct buf *file, const struct op *op, uint64_t from, uint64_t to) {
    if (from >= to) return;
    image_grow(file, to);
    memcpy(file->p + from, op->bytes + (from - op->at), to - from);
}

static void image_sectors(struct buf *file, const struct op *op, uint64_t seed) {
    struct rand rand;
    rand_init(&rand, seed);
    uint64_t end = op->at + op->n;
    for (uint64_t at = op->at; at < end;) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;
        if (next > end) next = end;
        if (rand_below(&rand, 2)) image_write(file, op, at, next);
        at = next;
    }
}

static void image_apply(struct buf *file, const struct op *op, const struct choice *choice) {
    uint64_t end = op->at + op->n;
    if (op->kind == OP_SIZE) {
        if (op->n < file->n) file->n = op->n;
        image_grow(file, op->n);
    } else if (op->kind == OP_GROW) {
        image_grow(file, op->n);
    } else if (op->kind == OP_WRITE) {
        if (choice->fate == KEPT) image_write(file, op, op->at, end);
        if (choice->fate == SIZE_ONLY) image_grow(file, end);
        if (choice->fate == FRONT) image_write(file, op, op->at, choice->cut);
        if (choice->fate == REAR) image_write(file, op, choice->cut, end);
        if (choice->fate == SECTORS) image_sectors(file, op, choice->cut);
    }
}

/* A name whose folder is not there is not there either. */
static bool is_reachable(const struct crash *c, const struct image *image, int name) {
    if (image->names[name] == NO_NODE) return false;
    int folder = c->disk->names[name].folder;
    return folder == ROOT_NAME ||
           (image->names[folder] == FOLDER && is_reachable(c, image, folder));
}

static void image_name(const struct crash *c, struct image *image) {
    const struct disk *disk = c->disk;
    for (size_t i = 0; i < disk->n_names; i++) image->names[i] = disk->names[i].start;
    for (size_t i = 0; i <= c->call; i++) {
        const struct op *op = &disk->ops[i];
        if (op->kind != OP_NAME || c->choice[i].fate == LOST) continue;
        if (op->old_name != NO_NAME) image->names[op->old_name] = NO_NODE;
        image->names[op->name] = op->node;
    }
    for (size_t i = 0; i < disk->n_names; i++)
        if (image->names[i] >= 0) image->named[image->names[i]] = true;
}

static struct image image_build(const struct crash *c) {
    const struct disk *disk = c->disk;
    struct image image = {
        .names = k_alloc_array(disk->n_names + 1, sizeof *image.names),
        .files = k_alloc_array(disk->n_nodes + 1, sizeof *image.files),
        .named = k_zalloc(disk->n_nodes + 1),
    };
    image_name(c, &image);
    for (size_t i = 0; i < disk->n_nodes; i++) {
        buf_init(&image.files[i], SIZE_MAX / 4);
        if (image.named[i])
            K_ASSERT(buf_add(&image.files[i], disk->nodes[i].bytes, disk->nodes[i].n) == 0);
    }
    for (size_t i = 0; i <= c->call; i++) {
        const struct op *op = &disk->ops[i];
        if (op->kind <= OP_GROW && image.named[op->node] && c->choice[i].fate != LOST)
            image_apply(&image.files[op->node], op, &c->choice[i]);
    }
    return image;
}

static void image_free(const struct crash *c, struct image *image) {
    for (size_t i = 0; i < c->disk->n_nodes; i++) buf_release(&image->files[i]);
    k_free(image->files);
    k_free(image->names);
    k_free(image->named);
}

static uint64_t image_hash(const struct crash *c, const struct image *image) {
    uint64_t hash = hash_mix(c->mark + 1);
    for (size_t i = 0; i < c->disk->n_names; i++) {
        int node = image->names[i];
        if (!is_reachable(c, image, (int)i)) continue;
        hash = hash_mix(hash ^ (i + 1));
        if (node >= 0) hash = hash_mix(hash ^ hash_str(buf_str(&image->files[node])));
    }
    return hash ? hash : 1;
}

static bool set_add(struct crash *c, uint64_t hash) {
    if (2 * c->n_seen >= c->cap_seen) {
        uint64_t *old = c->seen;
        size_t old_cap = c->cap_seen;
        c->cap_seen = old_cap ? 2 * old_cap : 1024;
        c->seen = k_zalloc(c->cap_seen * sizeof *c->seen);
        c->n_seen = 0;
        for (size_t i = 0; i < old_cap; i++)
            if (old[i]) set_add(c, old[i]);
        k_free(old);
    }
    size_t at = hash & (c->cap_seen - 1);
    for (; c->seen[at]; at = (at + 1) & (c->cap_seen - 1))
        if (c->seen[at] == hash) return false;
    c->seen[at] = hash;
    c->n_seen++;
    return true;
}

static void materialise(const struct crash *c, const struct image *image) {
    OS_REAL.mkdir(c->scratch, 0750);
    empty(c->scratch);
    for (size_t i = 0; i < c->disk->n_names; i++) { /* a folder before what is in it */
        char path[PATH_BYTES];
        int node = image->names[i];
        if (!is_reachable(c, image, (int)i)) continue;
        K_ASSERT(snprintf(path, sizeof path, "%s/%s", c->scratch, c->disk->names[i].path) <
                 PATH_BYTES);
        if (node == FOLDER)
            OS_REAL.mkdir(path, 0750);
        else
            write_whole(path, image->files[node].p, image->files[node].n);
    }
}

/* Builds the state of the present choices and shows it, unless it was shown before. */
static void show(struct crash *c, const char *what) {
    struct image image = image_build(c);
    if (set_add(c, image_hash(c, &image))) {
        materialise(c, &image);
        struct disk_state state = {c->scratch, what, c->call, c->mark, c->states++};
        c->visit(c->ctx, &state);
    }
    image_free(c, &image);
}

static void choose_from(struct crash *c, size_t from, enum fate fate) {
    for (size_t i = from; i < c->n_pending; i++)
        c->choice[c->pending[i]] = (struct choice){.fate = fate};
}

static void choose(struct crash *c, size_t i, enum fate fate, uint64_t value) {
    c->choice[c->pending[i]] = (struct choice){fate, value};
}

static const struct op *pending_op(const struct crash *c, size_t i) {
    return &c->disk->ops[c->pending[i]];
}

static void show_cut(struct crash *c, size_t i, uint64_t at) {
    choose_from(c, 0, KEPT);
    choose(c, i, FRONT, at);
    show(c, "front of a write kept");
    choose_from(c, i + 1, LOST);
    show(c, "front of a write kept, later calls lost");
    choose_from(c, 0, KEPT);
    choose(c, i, REAR, at);
    show(c, "rear of a write kept");
}

static void show_torn(struct crash *c, size_t i) {
    const struct op *op = pending_op(c, i);
    uint64_t first = op->at / SECTOR + 1, end = (op->at + op->n + SECTOR - 1) / SECTOR;
    uint64_t cuts = end - first;
    for (uint64_t k = 0; k < cuts && k < c->plan.cuts; k++) {
        /* all of them, or evenly spread ones, the first and the last among them */
        uint64_t which =
            cuts <= c->plan.cuts || c->plan.cuts < 2 ? k : k * (cuts - 1) / (c->plan.cuts - 1);
        show_cut(c, i, (first + which) * SECTOR);
    }
    if (cuts > 1) {
        choose_from(c, 0, KEPT);
        choose(c, i, SECTORS, rand_u64(&c->rand));
        show(c, "random sectors of a write kept");
    }
    choose_from(c, 0, KEPT);
    choose(c, i, SIZE_ONLY, 0);
    show(c, "size of a write kept, bytes lost");
    choose_from(c, 0, LOST);
    choose(c, i, SIZE_ONLY, 0);
    show(c, "size of one write kept, all else lost");
}

static void show_random(struct crash *c) {
    for (size_t i = 0; i < c->n_pending; i++) {
        enum fate fate = rand_below(&c->rand, 3) ? KEPT : LOST;
        if (pending_op(c, i)->kind == OP_WRITE && rand_below(&c->rand, 3) == 0)
            fate = rand_below(&c->rand, 4) ? SECTORS : SIZE_ONLY;
        choose(c, i, fate, rand_u64(&c->rand));
    }
    show(c, "random choice");
}

static void show_classes(struct crash *c) {
    for (size_t i = 0; i < c->n_pending; i++)
        choose(c, i, pending_op(c, i)->kind == OP_WRITE ? SIZE_ONLY : KEPT, 0);
    show(c, "names and sizes kept, bytes lost");
    for (size_t i = 0; i < c->n_pending; i++)
        choose(c, i, pending_op(c, i)->kind == OP_NAME ? LOST : KEPT, 0);
    show(c, "bytes kept, names lost");
}

/* All states of a crash behind c->call. */
static void crash_here(struct crash *c) {
    c->n_pending = 0;
    for (size_t i = 0; i <= c->call; i++) {
        const struct op *op = &c->disk->ops[i];
        c->choice[i] = (struct choice){.fate = KEPT};
        if (op->kind == OP_MARK) c->mark = op->mark;
        if (op->kind <= OP_NAME && op->durable > c->call) c->pending[c->n_pending++] = i;
    }
    show(c, "nothing lost");
    choose_from(c, 0, LOST);
    show(c, "all unsynced lost");
    for (size_t i = 0; i < c->n_pending; i++) {
        choose_from(c, 0, KEPT);
        choose(c, i, LOST, 0);
        show(c, "one call lost");
        choose_from(c, 0, LOST);
        choose(c, i, KEPT, 0);
        show(c, "one call kept");
        choose_from(c, 0, KEPT);
        choose_from(c, i, LOST);
        show(c, "prefix kept");
        if (pending_op(c, i)->kind == OP_WRITE) show_torn(c, i);
    }
    show_classes(c);
    for (unsigned k = 0; c->n_pending > 1 && k < c->plan.random; k++) show_random(c);
}

uint64_t disk_crash_states(struct disk *disk, const char *scratch, const struct disk_plan *plan,
                           void (*visit)(void *ctx, const struct disk_state *state), void *ctx) {
    K_ASSERT(fault.disk == NULL);
    struct crash c = {.disk = disk, .scratch = scratch, .plan = *plan, .visit = visit, .ctx = ctx};
    if (c.plan.cuts == 0) c.plan.cuts = CUTS_DEFAULT;
    if (c.plan.every == 0) c.plan.every = 1;
    rand_init(&c.rand, c.plan.seed);
    c.choice = k_alloc_array(disk->n_ops + 1, sizeof *c.choice);
    c.pending = k_alloc_array(disk->n_ops + 1, sizeof *c.pending);
    for (c.call = 0; c.call < disk->n_ops; c.call += c.plan.every) crash_here(&c);
    k_free(c.choice);
    k_free(c.pending);
    k_free(c.seen);
    return c.states;
}
