/* The pool for handlers that compute or wait (ROUTE_WORKER): a queue and a few threads.
 *
 * Layers: server_int.h. Threads: `work_lock` guards the queue. Limits: WORK_QUEUE requests wait;
 * the next one is answered 503.
 */
#include "api/server/server_int.h"

static void *worker_main(void *arg) {
    struct server *s = arg;
    pthread_mutex_lock(&s->work_lock);
    for (;;) {
        while (!s->work_first && !s->work_stops) pthread_cond_wait(&s->work_wake, &s->work_lock);
        struct exchange *e = s->work_first;
        if (!e) break;
        s->work_first = e->next;
        if (!e->next) s->work_last = &s->work_first;
        s->work_waiting--;
        pthread_mutex_unlock(&s->work_lock);
        exchange_run(e);
        pthread_mutex_lock(&s->work_lock);
    }
    pthread_mutex_unlock(&s->work_lock);
    return NULL;
}

int work_start(struct server *s, struct keel_error *err) {
    unsigned wanted = s->options.workers;
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_cond_init(&s->work_wake, NULL);
    s->work_last = &s->work_first;
    s->worker = k_alloc_array(wanted, sizeof *s->worker);
    while (s->workers < wanted) {
        if (pthread_create(&s->worker[s->workers], NULL, worker_main, s) != 0) {
            work_stop(s);
            FAIL(err, NO_MEMORY, "cannot start %u threads for the server", wanted);
        }
        s->workers++;
    }
    return 0;
}

void work_stop(struct server *s) {
    pthread_mutex_lock(&s->work_lock);
    s->work_stops = true;
    pthread_cond_broadcast(&s->work_wake);
    pthread_mutex_unlock(&s->work_lock);
    for (unsigned i = 0; i < s->workers; i++) pthread_join(s->worker[i], NULL);
    k_free(s->worker);
    pthread_mutex_destroy(&s->work_lock);
    pthread_cond_destroy(&s->work_wake);
}

bool work_push(struct server *s, struct exchange *e) {
    pthread_mutex_lock(&s->work_lock);
    bool fits = s->work_waiting < WORK_QUEUE;
    if (fits) {
        e->next = NULL;
        *s->work_last = e;
        s->work_last = &e->next;
        s->work_waiting++;
        pthread_cond_signal(&s->work_wake);
    }
    pthread_mutex_unlock(&s->work_lock);
    return fits;
}
