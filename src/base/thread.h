/* Threads: a pool that runs one job over numbered pieces of work.
 *
 * Layers: uses mem.h. POSIX mutexes and conditions are used directly by the rooms; this file only
 * holds what they share.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* A pool with `threads` workers in all (the caller counts as one); 0 = one a processor. */
struct pool *pool_new(unsigned threads);
void pool_free(struct pool *pool);
unsigned pool_size(const struct pool *pool);

/* Calls work(ctx, piece, worker) once for every piece in 0..pieces-1, on all workers, and returns
 * when all are done. worker is 0..pool_size-1: an index for scratch space. Pieces are handed out in
 * order. One pool_run at a time per pool; others wait. */
void pool_run(struct pool *pool, size_t pieces,
              void (*work)(void *ctx, size_t piece, unsigned worker), void *ctx);

/* The calling thread computes for long, and nobody waits for it: threads that wake up go before it,
 * also the kernel's. Its share of the processor stays what it was, so that it cannot be starved;
 * that is why it is not made nice. Linux before 6.12 knows no such wish: then nothing happens. */
void thread_patient(void);

/* A condition for cond_wait_until. */
void cond_init_timed(pthread_cond_t *cond);
/* Waits as pthread_cond_wait does, at most until monotonic_us() reaches `until_us`: then false. */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us);
