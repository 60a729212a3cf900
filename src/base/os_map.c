/* Mapped files, and what happens when a page of one cannot be read.
 *
 * Reading a mapped page that the disk cannot deliver, or that lies behind the end of a file that
 * was cut meanwhile, raises SIGBUS in the thread that reads. The handler looks the address up among
 * our mappings, marks the mapping broken, and puts a page of zeros in its place: the reader goes
 * on, with bytes that mean nothing, and asks file_map_broken before it believes them. A SIGBUS
 * elsewhere goes to whoever handled it before, or ends the process as ever.
 *
 * Rejected: sigsetjmp around reads, because readers hold locks and memory, and because what was
 * read just before the page went bad would still count; and pread instead of mapping, which costs a
 * call and a copy for every chunk (a scan of one column reads chunks of 1 to 2 KB).
 *
 * Layers: os.h. Threads: mappings are made and ended by any thread, under a lock; the handler takes
 * none: it walks a list that only grows, of slots that are reused, and does two atomic writes and
 * one mmap. A mapping must not be closed while others read it. Limits: none but memory; 32 bytes a
 * mapping are kept for reuse.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os.h"

struct mapping {
    _Atomic uintptr_t begin; /* 0: free */
    _Atomic size_t bytes;
    _Atomic bool broken;
    struct mapping *next; /* never changes once it is in the list */
};

static struct mapping *_Atomic mappings;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* making and ending */
static struct sigaction before;
static uintptr_t page_bytes;

static struct mapping *find(uintptr_t at) {
    for (struct mapping *m = atomic_load(&mappings); m; m = m->next) {
        uintptr_t begin = atomic_load(&m->begin);
        if (begin && at >= begin && at - begin < atomic_load(&m->bytes)) return m;
    }
    return NULL;
}

/* Async-signal-safe: atomics and system calls. The call itself, not the library's function: that is
 * not among the safe ones, and ThreadSanitizer takes it for a write to the page; readers beside us
 * get what was there, or zeros, or come here themselves. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
    int kept = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    struct mapping *m = find(at);
    if (m) {
        atomic_store(&m->broken, true);
        uintptr_t at_page = at / page_bytes * page_bytes;
        if (syscall(SYS_mmap, at_page, page_bytes, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, (off_t)0) == (long)at_page) {
            errno = kept;
            return;
        }
    }
    errno = kept;
    if (before.sa_flags & SA_SIGINFO)
        before.sa_sigaction(number, info, context);
    else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_handler(number);
    else
        sigaction(SIGBUS, &before, NULL); /* the read is tried again, and ends the process */
}

/* With each mapping: a library may have put its own handler in the place of ours meanwhile. */
static void install(void) {
    struct sigaction now,
        ours = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGBUS, NULL, &now);
    if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_bus_error) return;
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    before = now;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, NULL);
}

static struct mapping *enter(const void *p, size_t n) {
    pthread_mutex_lock(&lock);
    install();
    struct mapping *m = atomic_load(&mappings);
    while (m && atomic_load(&m->begin)) m = m->next;
    bool fresh = !m;
    if (fresh) m = k_zalloc(sizeof *m);
    atomic_store(&m->broken, false);
    atomic_store(&m->bytes, n);
    atomic_store(&m->begin, (uintptr_t)p);
    if (fresh) {
        m->next = atomic_load(&mappings);
        atomic_store(&mappings, m);
    }
    pthread_mutex_unlock(&lock);
    return m;
}

static void leave(struct mapping *m) {
    pthread_mutex_lock(&lock);
    atomic_store(&m->begin, 0);
    pthread_mutex_unlock(&lock);
}

int file_map_open(const char *path, struct file_map *out, struct keel_error *err) {
    int fd;
    uint64_t bytes = 0;
    TRY(file_open(path, FILE_READ, &fd, err));
    int code = file_size(fd, path, &bytes, err);
    const void *p = NULL;
    if (code == 0 && bytes) {
        p = os_table()->mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) code = error_errno(err, errno, "cannot map %s", path);
    }
    file_close(fd);
    if (code == 0)
        *out = (struct file_map){
            .p = p, .n = (size_t)bytes, .mapping = p ? enter(p, (size_t)bytes) : NULL};
    return code;
}

bool file_map_broken(const struct file_map *map) {
    return map->mapping && atomic_load_explicit(&map->mapping->broken, memory_order_relaxed);
}

void file_map_close(struct file_map *map) {
    if (map->mapping) leave(map->mapping);
    if (map->p) os_table()->munmap((void *)(uintptr_t)map->p, map->n);
    *map = (struct file_map){0};
}
