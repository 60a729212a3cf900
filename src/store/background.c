/* The store's own threads: one that flushes, one that compacts (options.background).
 *
 * Each waits until its work is due, does it without a lock, and looks again. What fails is kept and
 * tried again behind a pause by the work itself (change_result).
 *
 * Layers: store_int.h. Locks: `state` while it looks and waits; `work` wakes both.
 */
#include "base/os.h"
#include "base/thread.h"
#include "store/store_int.h"

static void *run(void *arg) {
    const struct background *b = arg;
    struct store *s = b->store;
    thread_patient();
    pthread_mutex_lock(&s->state);
    while (!s->stopping) {
        int64_t due = b->due(s);
        if (due == INT64_MAX) {
            pthread_cond_wait(&s->work, &s->state);
        } else if (due > monotonic_us()) {
            (void)cond_wait_until(&s->work, &s->state, due);
        } else {
            pthread_mutex_unlock(&s->state);
            b->work(s);
            pthread_mutex_lock(&s->state);
        }
    }
    pthread_mutex_unlock(&s->state);
    return NULL;
}

void background_start(struct background *b, struct store *s, int64_t (*due)(const struct store *s),
                      void (*work)(struct store *s)) {
    *b = (struct background){.store = s, .due = due, .work = work};
    b->running = pthread_create(&b->thread, NULL, run, b) == 0;
}

void background_stop(struct background *b) {
    if (!b->running) return;
    struct store *s = b->store;
    pthread_mutex_lock(&s->state);
    s->stopping = true;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->state);
    pthread_join(b->thread, NULL);
    b->running = false;
}
