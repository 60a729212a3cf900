/* Implementation of net.h on Linux.
 *
 * A unix socket's path has 107 bytes at most; a longer one is reached through its folder's
 * descriptor, /proc/self/fd/N/NAME, so that a data directory may lie as deep as it likes. */
#include "base/net.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/os.h"

enum { HOST_MAX = 256, BACKLOG = 4096, UNIX_MODE = 0600 };

struct endpoint {
    char host[HOST_MAX], port[8];
};

static int split(struct str text, struct endpoint *out, struct keel_error *err) {
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':') colon--;
    struct str host = {text.p, colon ? colon - 1 : 0}, port = {text.p + colon, text.n - colon};
    uint64_t number;
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    else if (memchr(host.p, ':', host.n))
        colon = 0; /* an IPv6 address needs its brackets */
    if (!colon || host.n >= HOST_MAX || !str_to_u64(port, &number) || number > 65535)
        FAIL(err, INVALID,
             "\"%.*s\" is no address to listen on; write 127.0.0.1:7480, [::1]:7480 or :7480",
             (int)(text.n < 300 ? text.n : 300), text.p);
    snprintf(out->host, sizeof out->host, "%.*s", STR_ARG(host));
    snprintf(out->port, sizeof out->port, "%u", (unsigned)number);
    return 0;
}

static unsigned port_of(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.v6 = {0}};
    socklen_t n = sizeof address;
    if (getsockname(fd, &address.any, &n) < 0) return 0;
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

/* A socket that listens on one of getaddrinfo's results; -1 with errno. */
static int listen_on(const struct addrinfo *at) {
    int on = 1, off = 0;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* inherited by its connections */
    if (at->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int why = errno;
    os_table()->close(fd);
    errno = why;
    return -1;
}

int net_listen(struct str address, int *out_fd, unsigned *out_port, struct keel_error *err) {
    struct endpoint at;
    TRY(split(address, &at, err));
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(*at.host ? at.host : NULL, at.port, &hints, &found);
    if (failed) FAIL(err, INVALID, "cannot listen on %s: %s", at.host, gai_strerror(failed));
    int fd = -1, why = 0;
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = listen_on(a);
        if (fd < 0) why = errno;
    }
    freeaddrinfo(found);
    if (fd < 0 && why == EADDRINUSE)
        FAIL(err, BUSY, "%.*s is taken by another program; stop it or listen elsewhere",
             STR_ARG(address));
    if (fd < 0) return error_errno(err, why, "cannot listen on %.*s", STR_ARG(address));
    *out_fd = fd;
    *out_port = port_of(fd);
    return 0;
}

/* Fills the address of a path; *out_folder is -1 or a descriptor to be closed after its use. */
static int unix_address(const char *path, struct sockaddr_un *out, socklen_t *n, int *out_folder,
                        struct keel_error *err) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    *out_folder = -1;
    size_t length = strlen(path);
    if (length >= sizeof out->sun_path) {
        const char *slash = strrchr(path, '/');
        char *folder = k_strdup(path);
        folder[slash ? slash - path : 0] = 0;
        int code = file_open(*folder ? folder : ".", FILE_READ, out_folder, err);
        k_free(folder);
        TRY(code);
        int written = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d%s",
                               *out_folder, slash ? slash : path);
        if (written >= (int)sizeof out->sun_path) {
            file_close(*out_folder);
            FAIL(err, INVALID, "the name of the socket %s is too long", path);
        }
    } else {
        memcpy(out->sun_path, path, length);
    }
    if (out->sun_path[0] == '@') { /* abstract: the length counts */
        out->sun_path[0] = 0;
        *n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    } else {
        *n = sizeof *out;
    }
    return 0;
}

int net_listen_unix(const char *path, int *out_fd, struct keel_error *err) {
    struct sockaddr_un address;
    socklen_t n;
    int folder;
    TRY(file_remove(path, err));
    TRY(unix_address(path, &address, &n, &folder, err));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* fchmod before bind: the file never exists with another mode. */
    bool ok = fd >= 0 && fchmod(fd, UNIX_MODE) == 0 &&
              bind(fd, (struct sockaddr *)&address, n) == 0 && listen(fd, BACKLOG) == 0;
    int code = ok ? 0 : error_errno(err, errno, "cannot listen on %s", path);
    file_close(folder);
    if (code == 0)
        *out_fd = fd;
    else
        file_close(fd);
    return code;
}

_Static_assert(sizeof(struct sockaddr_storage) <= NET_ADDRESS_BYTES, "every address fits");

int net_accept(int listening, int wait_ms, int *out_fd, struct net_peer *peer,
               struct keel_error *err) {
    struct pollfd poll_fd = {.fd = listening, .events = POLLIN};
    socklen_t n = sizeof peer->address;
    int ready = poll(&poll_fd, 1, wait_ms);
    if (ready == 0 || (ready < 0 && errno == EINTR)) return 0;
    if (ready < 0) return error_errno(err, errno, "cannot wait for connections");
    int fd = accept4(listening, (struct sockaddr *)(void *)peer->address, &n,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        peer->n = (unsigned)n;
        *out_fd = fd;
        return 1;
    }
    switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: FAIL(err, LIMIT, "no file descriptors are left for connections");
    case EINVAL:
    case EBADF: FAIL(err, CANCELLED, "no longer listening");
    default: return 0; /* that connection is gone already, or another thread took it */
    }
}

int net_descriptors_left(unsigned *out, struct keel_error *err) {
    struct rlimit limit;
    int lowest; /* the kernel gives the lowest one that is free */
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return error_errno(err, errno, "cannot ask for the limit of file descriptors");
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    }
    TRY(file_open("/", FILE_READ, &lowest, err));
    file_close(lowest);
    rlim_t used = (rlim_t)lowest, left = limit.rlim_cur > used ? limit.rlim_cur - used : 0;
    *out = left < INT_MAX ? (unsigned)left : INT_MAX;
    return 0;
}

int net_waker(int *out_waker, struct keel_error *err) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) return error_errno(err, errno, "cannot make a waker");
    *out_waker = fd;
    return 0;
}

void net_ring(int waker) { (void)!eventfd_write(waker, 1); }

void net_wait(int fd, int waker, int ms) {
    struct pollfd both[] = {{.fd = waker, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    eventfd_t count;
    if (poll(both, 2, ms) > 0 && both[0].revents) (void)!eventfd_read(waker, &count);
}

void net_close(int fd) { file_close(fd); }

void net_say(int fd, struct str text) {
    (void)!send(fd, text.p, text.n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int64_t net_peer_user(int fd) {
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 ? (int64_t)peer.uid : -1;
}

void net_cut(int fd) { (void)shutdown(fd, SHUT_RDWR); }

int net_notify(const char *path, struct str text, struct keel_error *err) {
    struct sockaddr_un address;
    socklen_t n;
    int folder;
    TRY(unix_address(path, &address, &n, &folder, err));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ssize_t sent =
        fd < 0 ? -1 : sendto(fd, text.p, text.n, MSG_NOSIGNAL, (struct sockaddr *)&address, n);
    int code = sent < 0 ? error_errno(err, errno, "cannot notify %s", path) : 0;
    file_close(fd);
    file_close(folder);
    return code;
}

/* ---- going out ---- */

static bool private_v4(uint32_t a) { /* IANA's special-purpose registry (RFC 6890) */
    static const struct {
        uint32_t net;
        int bits;
    } nets[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
        {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
        {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
    };
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if ((a ^ nets[i].net) >> (32 - nets[i].bits) == 0) return true;
    return false;
}

static uint32_t v4_at(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The IPv4 address that an IPv6 one stands for: mapped, NAT64, 6to4. */
static bool carried_v4(const uint8_t *p, uint32_t *out) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    bool six_to_four = p[0] == 0x20 && p[1] == 0x02;
    if (!six_to_four && memcmp(p, mapped, sizeof mapped) != 0 &&
        memcmp(p, nat64, sizeof nat64) != 0)
        return false;
    *out = v4_at(p + (six_to_four ? 2 : 12));
    return true;
}

static bool private_v6(const uint8_t *p) {
    static const struct {
        uint64_t net;
        int bits;
    } nets[] = {
        {0, 64},                  /* ::, ::1, IPv4-compatible    */
        {0x0064ff9b00000000, 32}, /* local NAT64                 */
        {0x0100000000000000, 16}, /* discarded                   */
        {0x2001000000000000, 32}, /* Teredo                      */
        {0x20010db800000000, 32}, /* examples                    */
        {0xfc00000000000000, 7},  /* unique local                */
        {0xfe80000000000000, 9},  /* link-local, site-local      */
        {0xff00000000000000, 8},  /* multicast                   */
    };
    uint32_t v4;
    if (carried_v4(p, &v4)) return private_v4(v4);
    uint64_t top = (uint64_t)v4_at(p) << 32 | v4_at(p + 4);
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
        if ((top ^ nets[i].net) >> (64 - nets[i].bits) == 0) return true;
    return false;
}

bool net_is_private(const struct sockaddr *address) {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return private_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family != AF_INET6) return true;
    memcpy(&v6, address, sizeof v6);
    return private_v6(v6.sin6_addr.s6_addr);
}

int net_socket(int family, int type, int protocol) {
    return socket(family, type | SOCK_CLOEXEC, protocol);
}
