/* Implementation of thread.h: workers sleep on a condition between runs; an atomic counter hands
 * out the pieces. Locks: `gate` serialises runs, `lock` guards generation and active. */
#include "base/thread.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { PATIENT_NS = 100000000 };

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned index;
};

struct pool {
    pthread_mutex_t gate, lock;
    pthread_cond_t start, done;
    uint64_t generation; /* lock */
    unsigned active;     /* lock: workers still inside the current run */
    bool stopping;       /* lock */
    void (*work)(void *, size_t, unsigned);
    void *ctx;
    size_t pieces;
    _Atomic size_t next;
    unsigned size;
    struct worker workers[];
};

static void drain(struct pool *pool, unsigned index) {
    for (;;) {
        size_t piece = atomic_fetch_add(&pool->next, 1);
        if (piece >= pool->pieces) return;
        pool->work(pool->ctx, piece, index);
    }
}

static void *worker_main(void *arg) {
    struct worker *self = arg;
    struct pool *pool = self->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stopping && pool->generation == seen)
            pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->stopping) break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        drain(pool, self->index);
        pthread_mutex_lock(&pool->lock);
        if (--pool->active == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct pool *pool_new(unsigned threads) {
    if (threads == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        threads = n > 0 ? (unsigned)n : 1;
    }
    struct pool *pool = k_zalloc(sizeof *pool + threads * sizeof pool->workers[0]);
    pthread_mutex_init(&pool->gate, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->size = 1;
    for (unsigned i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[pool->size];
        *w = (struct worker){.pool = pool, .index = pool->size};
        if (pthread_create(&w->thread, NULL, worker_main, w) != 0) break; /* run with fewer */
        pool->size++;
    }
    return pool;
}

void pool_free(struct pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 1; i < pool->size; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->start);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->gate);
    k_free(pool);
}

unsigned pool_size(const struct pool *pool) { return pool->size; }

void pool_run(struct pool *pool, size_t pieces, void (*work)(void *, size_t, unsigned), void *ctx) {
    pthread_mutex_lock(&pool->gate);
    pool->work = work;
    pool->ctx = ctx;
    pool->pieces = pieces;
    atomic_store(&pool->next, 0);
    if (pool->size > 1 && pieces > 1) {
        pthread_mutex_lock(&pool->lock);
        pool->active = pool->size - 1;
        pool->generation++;
        pthread_cond_broadcast(&pool->start);
        pthread_mutex_unlock(&pool->lock);
    }
    drain(pool, 0);
    pthread_mutex_lock(&pool->lock);
    while (pool->active) pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->gate);
}

/* As the kernel takes it; its header cannot be included beside that of the C library. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns; runtime: of a turn */
};

/* A thread that wakes up goes before one that has asked for longer turns (PREEMPT_SHORT); else it
 * may wait for the next tick of 4 ms, each time. */
void thread_patient(void) {
    struct scheduling attr = {.size = sizeof attr};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) < 0) return;
    attr.runtime = PATIENT_NS;
    (void)!syscall(SYS_sched_setattr, 0, &attr, 0);
}

void cond_init_timed(pthread_cond_t *cond) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us) {
    struct timespec at = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    return pthread_cond_timedwait(cond, mutex, &at) == 0;
}
