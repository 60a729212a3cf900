/* Implementation of http_client.h. */
#include "http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static void give_up(const char *what) {
    fprintf(stderr, "http client: %s: %s\n", what, strerror(errno));
    abort();
}

static void start(struct http_client *c, int fd, const struct sockaddr *address, socklen_t n) {
    struct timeval patience = {.tv_sec = HTTP_PATIENCE_S};
    c->fd = fd;
    c->n = 0;
    c->ended = false;
    if (fd < 0 || connect(fd, address, n) < 0) give_up("cannot connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

void http_open(struct http_client *c, unsigned port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    start(c, fd, (struct sockaddr *)&address, sizeof address);
}

void http_open_unix(struct http_client *c, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    start(c, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&address,
          sizeof address);
}

void http_close(struct http_client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

bool http_waits(const struct http_client *c) {
    char byte;
    return c->n > 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void http_shut(struct http_client *c) { shutdown(c->fd, SHUT_WR); }

bool http_send(struct http_client *c, const void *p, size_t n) {
    const char *at = p;
    while (n > 0) {
        ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool http_say(struct http_client *c, const char *format, ...) {
    char text[1 << 16];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text) abort();
    return http_send(c, text, (size_t)n);
}

/* More bytes into the buffer; false: the other side ended. */
static bool fill(struct http_client *c) {
    if (c->ended || c->n == sizeof c->buffer) return false;
    for (;;) {
        ssize_t got = recv(c->fd, c->buffer + c->n, sizeof c->buffer - c->n, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) give_up("no answer in time");
        c->ended = got <= 0;
        if (got > 0) c->n += (size_t)got;
        return got > 0;
    }
}

static void drop(struct http_client *c, size_t n) {
    memmove(c->buffer, c->buffer + n, c->n - n);
    c->n -= n;
}

static void add(struct http_reply *r, const char *p, size_t n) {
    char *body = realloc(r->body, r->n + n + 1);
    if (!body) give_up("no memory");
    r->body = body;
    if (n) memcpy(r->body + r->n, p, n);
    r->n += n;
    r->body[r->n] = 0;
}

/* n bytes of the body; false: the reply ends too early. */
static bool take(struct http_client *c, struct http_reply *r, size_t n) {
    while (n > 0) {
        if (c->n == 0 && !fill(c)) return false;
        size_t part = c->n < n ? c->n : n;
        add(r, c->buffer, part);
        drop(c, part);
        n -= part;
    }
    return true;
}

bool http_line(struct http_client *c, char *out, size_t n) {
    char *end;
    while (!(end = memchr(c->buffer, '\n', c->n)))
        if (!fill(c)) return false;
    size_t length = (size_t)(end - c->buffer);
    size_t shown = length && end[-1] == '\r' ? length - 1 : length;
    if (shown >= n) shown = n - 1;
    memcpy(out, c->buffer, shown);
    out[shown] = 0;
    drop(c, length + 1);
    return true;
}

const char *http_header(const struct http_reply *r, const char *name) {
    static _Thread_local char value[4096];
    size_t n = strlen(name);
    for (const char *line = strchr(r->head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *from = line + n + 1;
        while (*from == ' ') from++;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(from, "\r\n"), from);
        return value;
    }
    return NULL;
}

static bool chunks(struct http_client *c, struct http_reply *r) {
    char line[256];
    for (;;) {
        if (!http_line(c, line, sizeof line)) return false;
        size_t n = strtoul(line, NULL, 16);
        if (!take(c, r, n)) return false;
        if (!http_line(c, line, sizeof line)) return false;
        if (n == 0) return true;
    }
}

void http_receive(struct http_client *c, struct http_reply *r, bool head_only) {
    char *end;
    *r = (struct http_reply){0};
    add(r, "", 0);
    while (!(end = memmem(c->buffer, c->n, "\r\n\r\n", 4)))
        if (!fill(c)) return;
    size_t n = (size_t)(end - c->buffer) + 4;
    snprintf(r->head, sizeof r->head, "%.*s", (int)n, c->buffer);
    drop(c, n);
    if (strncmp(r->head, "HTTP/1.1 ", 9) != 0) return;
    r->status = (int)strtol(r->head + 9, NULL, 10);
    if (r->status == 100) { /* "Continue": the reply comes behind it */
        http_reply_free(r);
        http_receive(c, r, head_only);
        return;
    }
    const char *length = http_header(r, "Content-Length"), *coding;
    if (head_only || r->status == 204 || r->status == 304) return;
    if (length) {
        if (!take(c, r, strtoul(length, NULL, 10))) r->status = 0;
    } else if ((coding = http_header(r, "Transfer-Encoding")) &&
               strcasecmp(coding, "chunked") == 0) {
        if (!chunks(c, r)) r->status = 0;
    } else {
        while (c->n || fill(c)) take(c, r, c->n);
    }
}

bool http_ends(struct http_client *c) {
    while (fill(c)) c->n = 0;
    return c->ended;
}

void http_reply_free(struct http_reply *r) {
    free(r->body);
    r->body = NULL;
}

void http_ask(unsigned port, struct http_reply *r, const char *method, const char *target,
              const char *headers, const void *body, size_t n) {
    struct http_client c;
    http_open(&c, port);
    http_say(&c, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target, headers ? headers : "");
    if (body) http_say(&c, "Content-Length: %zu\r\n", n);
    http_say(&c, "\r\n");
    if (body) (void)http_send(&c, body, n);
    http_receive(&c, r, strcmp(method, "HEAD") == 0);
    http_close(&c);
}
