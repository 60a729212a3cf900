/* Implementation of receiver.h: a thread a connection, one request a connection. */
#include "receiver.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES = 1 << 20, ID_BYTES = 64, SLOW_US = 50000 };

struct seen {
    char id[ID_BYTES];
    unsigned tries, good;
    char *body;
};

struct receiver {
    int listener;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    bool up, stopping;
    char secret[128];
    struct seen *seen;
    unsigned n, requests, open, busy, most_busy, bad_signatures;
};

struct visit {
    struct receiver *r;
    int fd;
};

static struct seen *find_id(struct receiver *r, const char *id) {
    for (unsigned i = r->n; i-- > 0;)
        if (strcmp(r->seen[i].id, id) == 0) return &r->seen[i];
    if (r->n == RECEIVER_IDS) abort();
    struct seen *s = &r->seen[r->n++];
    snprintf(s->id, sizeof s->id, "%s", id);
    return s;
}

static void header(const char *head, const char *name, char *out, size_t size) {
    const char *at = strcasestr(head, name);
    out[0] = 0;
    if (!at) return;
    at += strlen(name);
    size_t n = strcspn(at, "\r\n");
    snprintf(out, size, "%.*s", (int)n, at);
}

/* What the specification says, written a second time. */
static bool signature_is_good(const struct receiver *r, const char *id, const char *timestamp,
                              const char *signature, const char *body, size_t n) {
    uint8_t key[128], mac[crypto_auth_hmacsha256_BYTES];
    size_t key_bytes = 0;
    char expected[128];
    if (strncmp(signature, "v1,", 3) != 0 || strncmp(r->secret, "whsec_", 6) != 0) return false;
    if (sodium_base642bin(key, sizeof key, r->secret + 6, strlen(r->secret + 6), NULL, &key_bytes,
                          NULL, sodium_base64_VARIANT_ORIGINAL))
        return false;
    char *text = malloc(strlen(id) + strlen(timestamp) + n + 3);
    int head = sprintf(text, "%s.%s.", id, timestamp);
    memcpy(text + head, body, n);
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_bytes);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)text, (size_t)head + n);
    crypto_auth_hmacsha256_final(&state, mac);
    free(text);
    sodium_bin2base64(expected, sizeof expected, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    return strcmp(expected, signature + 3) == 0;
}

/* The lock is held. */
static int decide(const struct receiver *r, const char *path, const struct seen *s) {
    if (strcmp(path, "/flaky") == 0) return s->tries == 1 ? 500 : 200;
    if (strcmp(path, "/busy") == 0) return r->requests == 1 ? 429 : 200;
    if (strcmp(path, "/down") == 0) return r->up ? 200 : 500;
    if (strcmp(path, "/gone") == 0) return 410;
    if (strcmp(path, "/bad") == 0) return 400;
    if (strcmp(path, "/redirect") == 0) return 302;
    return 200;
}

static void answer(int fd, int status) {
    char text[256];
    int n = snprintf(text, sizeof text,
                     "HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n%s%s\r\nok",
                     status, status == 429 ? "Retry-After: 1\r\n" : "",
                     status == 302 ? "Location: /ok\r\n" : "");
    if (write(fd, text, (size_t)n) != n) return;
}

static void take(struct receiver *r, int fd, char *head, const char *body, size_t n) {
    char id[ID_BYTES], timestamp[64], signature[128], path[64];
    if (sscanf(head, "POST %63s", path) != 1) return;
    header(head, "webhook-id: ", id, sizeof id);
    header(head, "webhook-timestamp: ", timestamp, sizeof timestamp);
    header(head, "webhook-signature: ", signature, sizeof signature);
    pthread_mutex_lock(&r->lock);
    r->busy++;
    if (r->busy > r->most_busy) r->most_busy = r->busy;
    pthread_mutex_unlock(&r->lock);
    if (strcmp(path, "/slow") == 0) usleep(SLOW_US);
    pthread_mutex_lock(&r->lock);
    r->busy--;
    r->requests++;
    if (!signature_is_good(r, id, timestamp, signature, body, n)) r->bad_signatures++;
    struct seen *s = find_id(r, id);
    s->tries++;
    int status = decide(r, path, s);
    if (status == 200 && s->good++ == 0) s->body = strndup(body, n);
    pthread_mutex_unlock(&r->lock);
    answer(fd, status);
}

static void serve(struct receiver *r, int fd) {
    char *request = malloc(REQUEST_BYTES + 1);
    size_t n = 0, wanted = 0;
    char *body = NULL, length[32];
    for (;;) {
        ssize_t got = read(fd, request + n, REQUEST_BYTES - n);
        if (got <= 0) break;
        n += (size_t)got;
        request[n] = 0;
        if (!body && (body = strstr(request, "\r\n\r\n"))) {
            body += 4;
            header(request, "content-length: ", length, sizeof length);
            wanted = strtoul(length, NULL, 10);
        }
        if (body && (size_t)(request + n - body) >= wanted) break;
    }
    if (body && strncmp(request, "POST /hang", 10) == 0) {
        while (read(fd, length, sizeof length) > 0) /* until the client gives up */
            ;
        pthread_mutex_lock(&r->lock);
        r->requests++;
        pthread_mutex_unlock(&r->lock);
    } else if (body) {
        take(r, fd, request, body, wanted);
    }
    free(request);
}

static void *visit(void *arg) {
    struct visit *v = arg;
    struct receiver *r = v->r;
    serve(r, v->fd);
    close(v->fd);
    free(v);
    pthread_mutex_lock(&r->lock);
    r->open--;
    pthread_cond_signal(&r->idle);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void *run(void *arg) {
    struct receiver *r = arg;
    for (;;) {
        int fd = accept(r->listener, NULL, NULL);
        if (fd < 0) return NULL;
        pthread_t thread;
        struct visit *v = malloc(sizeof *v);
        *v = (struct visit){r, fd};
        pthread_mutex_lock(&r->lock);
        r->open++;
        pthread_mutex_unlock(&r->lock);
        if (pthread_create(&thread, NULL, visit, v)) abort();
        pthread_detach(thread);
    }
}

struct receiver *receiver_start(void) {
    struct receiver *r = calloc(1, sizeof *r);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    r->seen = calloc(RECEIVER_IDS, sizeof *r->seen);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(r->listener, (struct sockaddr *)&a, n) || listen(r->listener, 512) ||
        getsockname(r->listener, (struct sockaddr *)&a, &n))
        abort();
    r->port = ntohs(a.sin_port);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->idle, NULL);
    if (pthread_create(&r->thread, NULL, run, r)) abort();
    return r;
}

void receiver_stop(struct receiver *r) {
    shutdown(r->listener, SHUT_RDWR);
    pthread_join(r->thread, NULL);
    close(r->listener);
    pthread_mutex_lock(&r->lock);
    while (r->open) pthread_cond_wait(&r->idle, &r->lock);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < r->n; i++) free(r->seen[i].body);
    free(r->seen);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->idle);
    free(r);
}

unsigned receiver_port(const struct receiver *r) { return r->port; }

void receiver_secret(struct receiver *r, const char *secret) {
    pthread_mutex_lock(&r->lock);
    snprintf(r->secret, sizeof r->secret, "%s", secret);
    pthread_mutex_unlock(&r->lock);
}

void receiver_up(struct receiver *r, bool up) {
    pthread_mutex_lock(&r->lock);
    r->up = up;
    pthread_mutex_unlock(&r->lock);
}

unsigned receiver_ids(struct receiver *r) {
    unsigned n = 0;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->n; i++) n += r->seen[i].good > 0;
    pthread_mutex_unlock(&r->lock);
    return n;
}

static unsigned get(struct receiver *r, const unsigned *what) {
    pthread_mutex_lock(&r->lock);
    unsigned n = *what;
    pthread_mutex_unlock(&r->lock);
    return n;
}

unsigned receiver_requests(struct receiver *r) { return get(r, &r->requests); }
unsigned receiver_most_at_once(struct receiver *r) { return get(r, &r->most_busy); }
unsigned receiver_bad_signatures(struct receiver *r) { return get(r, &r->bad_signatures); }

void receiver_each(struct receiver *r, void (*each)(void *ctx, const char *body), void *ctx) {
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->n; i++)
        if (r->seen[i].body) each(ctx, r->seen[i].body);
    pthread_mutex_unlock(&r->lock);
}
