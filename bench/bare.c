/* What HTTP alone costs: a libmicrohttpd server that reads the body of every request and answers
 * 200 {"success":true}, as a collector would. Nothing is parsed, nothing is kept.
 *
 *   bench_bare THREADS        prints its port, runs until it is killed
 *
 * Each thread runs a daemon by hand, in the way of src/api/server/loop.c: libmicrohttpd 0.9.75's
 * own epoll threads sleep when exactly 128 connections are ready at once, and would set too low a
 * bar. Connections are dealt to the threads in turn, each through a pipe.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 64, LONGEST_MS = 1000, BACKLOG = 1024, CONNECTIONS = 8192, IDLE_SECONDS = 60 };

struct loop {
    struct MHD_Daemon *daemon;
    struct MHD_Response *reply;
    int pipe[2]; /* of descriptors */
    pthread_t thread;
};

_Noreturn static void die(const char *what) {
    fprintf(stderr, "bench_bare: %s: %s\n", what, strerror(errno));
    exit(1);
}

static enum MHD_Result on_step(void *arg, struct MHD_Connection *connection, const char *url,
                               const char *method, const char *version, const char *body,
                               size_t *body_bytes, void **state) {
    static char seen;
    (void)url, (void)method, (void)version, (void)body;
    if (!*state || *body_bytes) {
        *state = &seen;
        *body_bytes = 0;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, ((struct loop *)arg)->reply);
}

static void take_over(struct loop *loop) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fds[64];
    ssize_t n = read(loop->pipe[0], fds, sizeof fds);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof fds[0]; i++)
        (void)MHD_add_connection(loop->daemon, fds[i], (struct sockaddr *)&from, sizeof from);
}

static void *loop_main(void *arg) {
    struct loop *loop = arg;
    int ready = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    for (;;) {
        struct pollfd wait[] = {{ready, POLLIN, 0}, {loop->pipe[0], POLLIN, 0}};
        MHD_UNSIGNED_LONG_LONG ms;
        if (MHD_get_timeout(loop->daemon, &ms) != MHD_YES || ms > LONGEST_MS) ms = LONGEST_MS;
        (void)poll(wait, 2, (int)ms);
        if (wait[1].revents) take_over(loop);
        (void)MHD_run(loop->daemon);
    }
    return NULL;
}

static void loop_start(struct loop *loop) {
    static char text[] = "{\"success\":true}";
    loop->reply = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(loop->reply, "Content-Type", "application/json");
    loop->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
                                    on_step, loop, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_END);
    if (!loop->reply || !loop->daemon || pipe2(loop->pipe, O_CLOEXEC | O_NONBLOCK)) die("start");
    if (pthread_create(&loop->thread, NULL, loop_main, loop)) die("thread");
}

int main(int argc, char **argv) {
    static struct loop loops[THREADS];
    unsigned n = argc == 2 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    if (!n || n > THREADS) {
        fputs("usage: bench_bare THREADS\n", stderr);
        return 64;
    }
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (listening < 0 || bind(listening, (struct sockaddr *)&at, sizeof at) ||
        listen(listening, BACKLOG) || getsockname(listening, (struct sockaddr *)&at, &bytes))
        die("listen");
    for (unsigned i = 0; i < n; i++) loop_start(&loops[i]);
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    for (unsigned turn = 0;; turn++) {
        int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) die("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (write(loops[turn % n].pipe[1], &fd, sizeof fd) != sizeof fd) die("hand over");
    }
}
