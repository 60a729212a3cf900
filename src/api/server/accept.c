/* Takes connections and hands them to the loops in turn, one thread a listening socket.
 *
 * libmicrohttpd could do so itself; but its way to stop listening, MHD_quiesce_daemon, races with
 * its own threads and then ends the process (seen in one of some twenty stops under load, "Failed
 * to remove listen FD from epoll set"), and a limit that is reached could not be answered.
 *
 * Beyond the limit and an eighth, and when descriptors run out, connections wait in the system's
 * queue until others end.
 *
 * Layers: server_int.h, base/net.h. Threads: one a listener, until the listening socket is cut.
 */
#include "api/server/server_int.h"

#include <unistd.h>

#include "base/net.h"

enum { WAIT_MS = 1000, PAUSE_US = 10000 };

unsigned server_most(const struct server *s) {
    return s->options.max_connections + s->options.max_connections / 8 + 16;
}

/* Counted here, not where its loop begins with it: a burst must not pass the limit. */
static void hand_over(struct listener *l, int fd, const struct net_peer *peer) {
    atomic_fetch_add(&l->server->n_open, 1);
    loop_hand_over(&l->loops[l->next], fd, peer);
    l->next = (l->next + 1) % l->n_loops;
}

static void *accept_main(void *arg) {
    struct listener *l = arg;
    struct server *s = l->server;
    struct net_peer peer;
    int fd = -1;
    while (!atomic_load(&s->draining)) {
        if (atomic_load(&s->n_open) >= server_most(s)) {
            usleep(PAUSE_US);
            continue;
        }
        int code = net_accept(l->fd, WAIT_MS, &fd, &peer, NULL);
        if (code == 1)
            hand_over(l, fd, &peer);
        else if (code == -KEEL_E_LIMIT)
            usleep(PAUSE_US);
        else if (code < 0)
            break;
    }
    return NULL;
}

int accept_start(struct listener *l, struct keel_error *err) {
    if (pthread_create(&l->thread, NULL, accept_main, l) != 0)
        FAIL(err, NO_MEMORY, "cannot start a thread for connections");
    l->accepts = true;
    return 0;
}

void accept_stop(struct listener *l) {
    if (!l->accepts) return;
    net_cut(l->fd);
    pthread_join(l->thread, NULL);
    l->accepts = false;
}
