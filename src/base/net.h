/* Sockets: addresses in text, listening, cutting, the messages to a service manager.
 *
 * Layers: uses error.h, str.h. Threads: pure functions. Limits: a host name of 255 bytes. All
 * descriptors are close-on-exec and do not block.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

/* "127.0.0.1:7480", "[::1]:443", "localhost:80", ":7480" (every address); port 0 lets the system
 * choose. KEEL_E_BUSY: taken; KEEL_E_INVALID: no address; out_port is the port in use. */
int net_listen(struct str address, int *out_fd, unsigned *out_port,
               struct keel_error *err) K_CHECKED;

/* A unix socket that only the owner may open (mode 0600). A file left there by a process that died
 * is replaced: the caller holds a lock that says so. */
int net_listen_unix(const char *path, int *out_fd, struct keel_error *err) K_CHECKED;

/* The next connection of a listening socket, waiting up to wait_ms for it. 1; 0: none came;
 * KEEL_E_LIMIT: no descriptors or memory are left, the connection still waits; KEEL_E_CANCELLED:
 * the listening socket was cut. */
struct sockaddr;
enum { NET_ADDRESS_BYTES = 128 };
struct net_peer {
    _Alignas(16) unsigned char address[NET_ADDRESS_BYTES]; /* struct sockaddr_storage */
    unsigned n;
};
int net_accept(int listening, int wait_ms, int *out_fd, struct net_peer *peer,
               struct keel_error *err) K_CHECKED;
/* The user at the other end of a unix socket, as the system knows him when he connects; -1: it does
 * not say. */
int64_t net_peer_user(int fd);
/* How many descriptors the process may still open. Raises its own limit as far as it is allowed to:
 * the usual 1,024 are a default for programs that use select(). */
int net_descriptors_left(unsigned *out, struct keel_error *err) K_CHECKED;
/* A bell for a thread that waits: net_ring from any thread, net_wait hears it. */
int net_waker(int *out_waker, struct keel_error *err) K_CHECKED;
void net_ring(int waker);
/* Waits until fd can be read or the bell was rung (which it silences), at most ms. */
void net_wait(int fd, int waker, int ms);
void net_close(int fd);

/* Sends what fits at once, without waiting: for last words. */
void net_say(int fd, struct str text);

/* Ends both directions, so that whoever waits on the socket wakes up; the descriptor stays open. */
void net_cut(int fd);

/* One datagram to a service manager: $NOTIFY_SOCKET of systemd ("/run/…" or "@abstract"). */
int net_notify(const char *path, struct str text, struct keel_error *err) K_CHECKED;

/* Is this an address of the machine itself, of a private network, or of no single machine: one that
 * a request on behalf of somebody outside must not reach? What is no IP address is. IPv6 forms that
 * carry an IPv4 address are judged by it. */
struct sockaddr;
bool net_is_private(const struct sockaddr *address);
/* A socket for an address, or -1 with errno: for libraries that let the program open it. */
int net_socket(int family, int type, int protocol);
