/* A small HTTP client for tests of servers: bytes as the test wants them, replies taken apart.
 *
 * Unlike a real client it may send half a request, one byte at a time, or several at once.
 * Threads: one owner each. A reply that does not come within HTTP_PATIENCE_S fails the test.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_PATIENCE_S = 30, HTTP_BUFFER = 1 << 16 };

struct http_client {
    int fd;
    char buffer[HTTP_BUFFER]; /* received, not yet taken */
    size_t n;
    bool ended;
};

struct http_reply {
    int status; /* 0: the connection ended before a reply */
    char head[8192];
    char *body; /* NUL-terminated; http_reply_free */
    size_t n;
};

void http_open(struct http_client *c, unsigned port);
void http_open_unix(struct http_client *c, const char *path);
void http_close(struct http_client *c);
/* False: the server has closed the connection. */
bool http_send(struct http_client *c, const void *p, size_t n);
bool http_say(struct http_client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool http_waits(const struct http_client *c); /* something was received */
void http_shut(struct http_client *c);        /* half-close: nothing more will be sent */

/* The next reply; `head_only` for HEAD. */
void http_receive(struct http_client *c, struct http_reply *r, bool head_only);
/* Bytes of a reply without an end: as much of a line as is there, without its end; false: ended. */
bool http_line(struct http_client *c, char *out, size_t n);
/* Waits until the server closes; true if it did. */
bool http_ends(struct http_client *c);
/* A header's value, or NULL; points into a static buffer of the thread. */
const char *http_header(const struct http_reply *r, const char *name);
void http_reply_free(struct http_reply *r);

/* One request on a connection of its own; the caller frees the reply. */
void http_ask(unsigned port, struct http_reply *r, const char *method, const char *target,
              const char *headers, const void *body, size_t n);
