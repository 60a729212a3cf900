/* The threads that serve connections: each runs one daemon of libmicrohttpd by hand.
 *
 * libmicrohttpd 0.9.75 has threads of its own, but they stall: when exactly as many connections are
 * ready as it asks the kernel for at once (128), it asks again before it serves them, and that time
 * it sleeps, up to the idle timeout. Group commit makes that the rule: at 256 connections all 128
 * of a thread become ready together, and 25 requests were answered a second instead of 13,000. Run
 * from outside it never sleeps; we sleep, on its epoll descriptor and on a waker.
 *
 * The waker is rung when a connection was handed over or resumed; once for many, while the thread
 * has not yet looked (libmicrohttpd's own wakes once for each).
 *
 * Layers: server_int.h, base/net.h. Threads: loop.lock guards what is handed over; the daemon
 * belongs to the loop's thread, but for MHD_resume_connection. Limits: LOOP_HANDED connections wait
 * to be taken over.
 */
#include "api/server/server_int.h"

#include <unistd.h>

#include "base/net.h"

enum { LONGEST_MS = 1000, PAUSE_US = 1000 };

void loop_wake(struct loop *loop) {
    if (!atomic_exchange(&loop->rung, true)) net_ring(loop->waker);
}

void connection_resume(struct loop *loop, struct MHD_Connection *mhd) {
    MHD_resume_connection(mhd);
    loop_wake(loop);
}

void loop_hand_over(struct loop *loop, int fd, const struct net_peer *peer) {
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        bool fits = loop->n_handed < LOOP_HANDED;
        if (fits) loop->handed[loop->n_handed++] = (struct handed){fd, *peer};
        pthread_mutex_unlock(&loop->lock);
        loop_wake(loop);
        if (fits) return;
        usleep(PAUSE_US);
    }
}

static void take_over(struct loop *loop) {
    struct handed taken[LOOP_HANDED];
    pthread_mutex_lock(&loop->lock);
    unsigned n = loop->n_handed;
    memcpy(taken, loop->handed, n * sizeof *taken);
    loop->n_handed = 0;
    pthread_mutex_unlock(&loop->lock);
    for (unsigned i = 0; i < n; i++) /* the socket is the daemon's, also when it fails */
        if (MHD_add_connection(loop->daemon, taken[i].fd, (const void *)taken[i].peer.address,
                               taken[i].peer.n) != MHD_YES)
            atomic_fetch_sub(&loop->server->n_open, 1);
}

static int patience_ms(const struct loop *loop) {
    MHD_UNSIGNED_LONG_LONG ms;
    if (MHD_get_timeout(loop->daemon, &ms) != MHD_YES || ms > LONGEST_MS) return LONGEST_MS;
    return (int)ms;
}

static void *loop_main(void *arg) {
    struct loop *loop = arg;
    int ready = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!atomic_load(&loop->stops)) {
        net_wait(ready, loop->waker, patience_ms(loop));
        atomic_store(&loop->rung, false); /* before looking: who rings now is seen next time */
        take_over(loop);
        (void)MHD_run(loop->daemon);
        refused_answer(loop);
    }
    take_over(loop);
    MHD_stop_daemon(loop->daemon);
    return NULL;
}

int loop_start(struct loop *loop, struct keel_error *err) {
    TRY(net_waker(&loop->waker, err));
    pthread_mutex_init(&loop->lock, NULL);
    if (pthread_create(&loop->thread, NULL, loop_main, loop) == 0) return 0;
    pthread_mutex_destroy(&loop->lock);
    MHD_stop_daemon(loop->daemon);
    net_close(loop->waker);
    FAIL(err, NO_MEMORY, "cannot start a thread for connections");
}

void loop_stop(struct loop *loop) {
    atomic_store(&loop->stops, true);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    pthread_mutex_destroy(&loop->lock);
    net_close(loop->waker);
}
