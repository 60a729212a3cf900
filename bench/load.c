/* Sends events to a server over HTTP and measures its answers: one thread, many connections.
 *
 *   bench_load PORT TARGET [--connections 16] [--batch 1] [--format segment|lines] [--key KEY]
 *              [--seconds 3] [--warm 1] [--rate EVENTS_A_SECOND] [--first N] [--pid PID]
 *
 * TARGET is what stands in the request line, escaped. Every event has a message id of its own,
 * counted from --first, and one of 100,000 customers. "segment" sends one event as it is, several
 * as {"batch":[…]}; "lines" sends the same events one a line.
 *
 * Without --rate each connection sends as soon as it was answered, and latency is from sending to
 * the end of the reply. With --rate requests have their times beforehand, and latency is from that
 * time, also where no connection was free: a server that stalls is charged with all who waited.
 *
 * Prints one line of JSON. Requests, events, latency and CPU (own, and that of process PID) are of
 * the --seconds behind --warm; "acknowledged" is all events that were answered 200, "sent" all that
 * were sent: what a store must hold lies between the two.
 *
 * Percentiles come from a histogram with 64 steps a power of two: at most 1.6 % above the truth.
 * Limits: CONNECTIONS, BATCH, a reply of REPLY_BYTES.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 4096,
    BATCH = 10000,
    REPLY_BYTES = 16384,
    EVENT_BYTES = 512,
    HEAD_BYTES = 1024,
    ID_DIGITS = 16,
    CUSTOMERS = 100000,
    CUSTOMER_DIGITS = 6,
    READY = 256,
    STEPS = 64,
    POWERS = 32,
    GRACE_SECONDS = 10 /* for the answers of what is under way at the end */
};

_Noreturn static void die(const char *what, const char *why) {
    fprintf(stderr, "bench_load: %s: %s\n", what, why);
    exit(1);
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock", strerror(errno));
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* ---- latencies ---- */

static uint64_t histogram[POWERS * STEPS]; /* of microseconds */

static unsigned step_of(uint64_t us) {
    if (us < STEPS) return (unsigned)us;
    unsigned power = 63 - (unsigned)__builtin_clzll(us) - 6; /* 64 = 2^6 steps */
    unsigned at = (power + 1) * STEPS + (unsigned)(us >> power) - STEPS;
    return at < POWERS * STEPS ? at : POWERS * STEPS - 1;
}

static uint64_t end_of_step(unsigned at) {
    if (at < STEPS) return at;
    unsigned power = at / STEPS - 1;
    return ((uint64_t)(at % STEPS + STEPS + 1) << power) - 1;
}

/* The end of the step in which it lies, but no more than the longest of all. */
static uint64_t percentile(uint64_t n, double share, uint64_t longest) {
    uint64_t rank = (uint64_t)((double)n * share), seen = 0;
    for (unsigned i = 0; i < POWERS * STEPS; i++)
        if ((seen += histogram[i]) > rank)
            return end_of_step(i) < longest ? end_of_step(i) : longest;
    return 0;
}

/* ---- what is sent ---- */

struct options {
    unsigned port, connections, batch;
    const char *target, *key;
    double seconds, warm, rate;
    uint64_t first;
    pid_t pid;
    bool lines;
};

/* One request with places for what differs; every connection has a copy, as it may be half sent. */
struct form {
    char *text;
    size_t n;
    uint32_t *ids; /* offset of each event's message id */
    uint32_t *customers;
};

static const char *const NAMES[] = {"Product Viewed", "Product Added", "Checkout Started",
                                    "Order Completed"};
static const char *const CATEGORIES[] = {"shoes", "coats", "bags", "books", "lamps"};

static size_t put_event(struct form *f, unsigned i, const char *stamp) {
    char *at = f->text + f->n;
    int n = snprintf(
        at, EVENT_BYTES,
        "{\"messageId\":\"%0*u\",\"userId\":\"u%0*u\",\"type\":\"track\",\"event\":\"%s\","
        "\"timestamp\":\"%s\",\"properties\":{\"product_id\":\"p-%u\",\"category\":\"%s\","
        "\"price\":%u.%02u,\"currency\":\"EUR\",\"quantity\":%u},"
        "\"context\":{\"channel\":\"web\",\"locale\":\"de-DE\",\"page\":{\"path\":\"/p/%u\"}}}",
        ID_DIGITS, 0u, CUSTOMER_DIGITS, 0u, NAMES[i % 4], stamp, 100 + i * 37 % 900,
        CATEGORIES[i % 5], 5 + i * 13 % 300, i * 7 % 100, 1 + i % 3, 100 + i * 37 % 900);
    if (n < 0 || n >= EVENT_BYTES) die("an event", "too long");
    f->ids[i] = (uint32_t)(f->n + strlen("{\"messageId\":\""));
    f->customers[i] = (uint32_t)(f->ids[i] + ID_DIGITS + strlen("\",\"userId\":\"u"));
    return (size_t)n;
}

static void put_text(struct form *f, const char *text) {
    size_t n = strlen(text);
    memcpy(f->text + f->n, text, n);
    f->n += n;
}

static void make_form(struct form *f, const struct options *o) {
    char stamp[32], head[HEAD_BYTES];
    time_t now = time(NULL);
    struct tm utc;
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    f->text = malloc(HEAD_BYTES + (size_t)o->batch * EVENT_BYTES + 64);
    f->ids = malloc(o->batch * sizeof *f->ids);
    f->customers = malloc(o->batch * sizeof *f->customers);
    if (!f->text || !f->ids || !f->customers) die("a request", "no memory");
    bool envelope = !o->lines && o->batch > 1;
    f->n = HEAD_BYTES; /* the head, whose length is known last, is put in front */
    if (envelope) put_text(f, "{\"batch\":[");
    for (unsigned i = 0; i < o->batch; i++) {
        if (i && !o->lines) put_text(f, ",");
        f->n += put_event(f, i, stamp);
        if (o->lines) put_text(f, "\n");
    }
    if (envelope) put_text(f, "]}");
    char key[256] = "";
    if (o->key) snprintf(key, sizeof key, "X-Write-Key: %s\r\n", o->key);
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
                     "%sContent-Length: %zu\r\n\r\n",
                     o->target, o->port, key, f->n - HEAD_BYTES);
    if (n < 0 || n >= HEAD_BYTES) die("TARGET", "too long");
    size_t gap = HEAD_BYTES - (size_t)n;
    memmove(f->text + n, f->text + HEAD_BYTES, f->n - HEAD_BYTES);
    memcpy(f->text, head, (size_t)n);
    f->n -= gap;
    for (unsigned i = 0; i < o->batch; i++) {
        f->ids[i] -= (uint32_t)gap;
        f->customers[i] -= (uint32_t)gap;
    }
}

static void put_digits(char *at, uint64_t v, unsigned digits) {
    while (digits) {
        at[--digits] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* ---- connections ---- */

struct connection {
    char *text;       /* a copy of the form */
    size_t sent;      /* of the request under way */
    int64_t begun_ns; /* when it was sent, or should have been */
    unsigned replied; /* bytes in reply */
    int fd;
    bool busy, blocked; /* blocked: waits until more can be written */
    char reply[REPLY_BYTES + 1];
};

struct run {
    const struct options *o;
    struct form form;
    struct connection **connections;
    struct connection **idle; /* a stack */
    unsigned n_idle, n_busy;
    int epoll;
    uint64_t next_id, chance;
    int64_t window_from_ns, window_to_ns, due_ns, step_ns;
    bool stops;
    uint64_t requests, failed, sent, acknowledged, reconnects,
        max_us; /* the first: in the window */
    char failure[160];
};

static void watch(struct run *r, struct connection *c, int how) {
    struct epoll_event e = {.events = EPOLLIN | (c->blocked ? (uint32_t)EPOLLOUT : 0u),
                            .data.ptr = c};
    if (epoll_ctl(r->epoll, how, c->fd, &e)) die("epoll_ctl", strerror(errno));
}

static void connect_one(struct run *r, struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)r->o->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to))
        die("cannot connect", strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(r, c, EPOLL_CTL_ADD);
}

static void become_idle(struct run *r, struct connection *c) {
    c->busy = false;
    r->n_busy--;
    r->idle[r->n_idle++] = c;
}

/* The connection was closed under a request: that one is lost, the next has a new connection. */
static void reconnect(struct run *r, struct connection *c) {
    close(c->fd);
    c->blocked = false;
    c->replied = 0;
    r->reconnects++;
    connect_one(r, c);
    if (!c->busy) return;
    r->failed++;
    if (!r->failure[0]) snprintf(r->failure, sizeof r->failure, "connection closed without reply");
    become_idle(r, c);
}

static void send_more(struct run *r, struct connection *c) {
    while (c->sent < r->form.n) {
        ssize_t n =
            send(c->fd, c->text + c->sent, r->form.n - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            if (!c->blocked) {
                c->blocked = true;
                watch(r, c, EPOLL_CTL_MOD);
            }
            return;
        }
        if (n < 0) {
            reconnect(r, c);
            return;
        }
        c->sent += (size_t)n;
    }
    if (c->blocked) {
        c->blocked = false;
        watch(r, c, EPOLL_CTL_MOD);
    }
}

static void begin(struct run *r, struct connection *c, int64_t at_ns) {
    for (unsigned i = 0; i < r->o->batch; i++) {
        r->chance = r->chance * 6364136223846793005u + 1442695040888963407u;
        put_digits(c->text + r->form.ids[i], r->next_id++, ID_DIGITS);
        put_digits(c->text + r->form.customers[i], (r->chance >> 33) % CUSTOMERS, CUSTOMER_DIGITS);
    }
    c->busy = true;
    c->sent = 0;
    c->replied = 0;
    c->begun_ns = at_ns;
    r->n_busy++;
    r->sent += r->o->batch;
    send_more(r, c);
}

/* The status of a whole reply; 0: it goes on. A chunked one is taken for whole at its last chunk,
 * which the short replies of an insert cannot hold by chance. */
static int reply_status(struct connection *c) {
    c->reply[c->replied] = 0;
    char *end = strstr(c->reply, "\r\n\r\n");
    if (!end) return 0;
    end += 4;
    char first = *end;
    *end = 0; /* so that only the head is searched */
    const char *length = strcasestr(c->reply, "\r\nContent-Length:");
    bool chunked = !length && strcasestr(c->reply, "\r\nTransfer-Encoding:");
    *end = first;
    size_t body = c->replied - (size_t)(end - c->reply);
    if (length && body < strtoul(length + strlen("\r\nContent-Length:"), NULL, 10)) return 0;
    if (chunked && (body < 5 || memcmp(c->reply + c->replied - 5, "0\r\n\r\n", 5) != 0)) return 0;
    return c->replied > 12 ? (int)strtol(c->reply + 9, NULL, 10) : -1;
}

static void answered(struct run *r, struct connection *c, int status, int64_t now) {
    bool counts = now >= r->window_from_ns && now < r->window_to_ns;
    if (status == 200) {
        r->acknowledged += r->o->batch;
        if (counts) {
            uint64_t us = (uint64_t)((now - c->begun_ns) / 1000);
            r->requests++;
            histogram[step_of(us)]++;
            if (us > r->max_us) r->max_us = us;
        }
    } else {
        r->failed++;
        if (!r->failure[0]) snprintf(r->failure, sizeof r->failure, "%s", c->reply);
    }
    bool closes = strcasestr(c->reply, "\r\nConnection: close") != NULL;
    become_idle(r, c);
    if (closes) reconnect(r, c);
}

static void receive(struct run *r, struct connection *c) {
    ssize_t n = recv(c->fd, c->reply + c->replied, REPLY_BYTES - c->replied, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        if (c->replied == REPLY_BYTES) die("a reply", "too long");
        reconnect(r, c);
        return;
    }
    c->replied += (unsigned)n;
    int status = reply_status(c);
    if (status) answered(r, c, status, now_ns());
}

/* ---- the run ---- */

static void begin_what_is_due(struct run *r) {
    int64_t now = now_ns();
    if (r->step_ns) {
        while (r->n_idle && r->due_ns <= now) {
            begin(r, r->idle[--r->n_idle], r->due_ns);
            r->due_ns += r->step_ns;
        }
        return;
    }
    for (unsigned n = r->n_idle; n; n--) begin(r, r->idle[--r->n_idle], now_ns());
}

static void wait_and_serve(struct run *r, int64_t until_ns) {
    struct epoll_event ready[READY];
    int64_t now = now_ns(), next = until_ns;
    if (r->step_ns && !r->stops && r->n_idle && r->due_ns < next) next = r->due_ns;
    int64_t ns = next > now ? next - now : 0;
    struct timespec patience = {ns / 1000000000, ns % 1000000000};
    int n = epoll_pwait2(r->epoll, ready, READY, &patience, NULL);
    if (n < 0 && errno != EINTR) die("epoll_pwait2", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct connection *c = ready[i].data.ptr;
        if (c->blocked && ready[i].events & EPOLLOUT) send_more(r, c);
        if (ready[i].events & ~(uint32_t)EPOLLOUT) receive(r, c);
    }
}

static void run_until(struct run *r, int64_t until_ns) {
    while (now_ns() < until_ns) {
        begin_what_is_due(r);
        wait_and_serve(r, until_ns);
    }
}

static int64_t cpu_of(pid_t pid) {
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    if (pid && clock_getcpuclockid(pid, &clock)) die("--pid", "no such process");
    return clock_ns(clock);
}

static void start(struct run *r) {
    const struct options *o = r->o;
    make_form(&r->form, o);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->connections = calloc(o->connections, sizeof(struct connection *));
    r->idle = calloc(o->connections, sizeof *r->idle);
    if (r->epoll < 0 || !r->connections || !r->idle) die("start", strerror(errno));
    for (unsigned i = 0; i < o->connections; i++) {
        struct connection *c = r->connections[i] = calloc(1, sizeof *c);
        if (!c || !(c->text = malloc(r->form.n))) die("a connection", "no memory");
        memcpy(c->text, r->form.text, r->form.n);
        connect_one(r, c);
        r->idle[r->n_idle++] = c;
    }
}

static void finish(struct run *r) {
    for (unsigned i = 0; i < r->o->connections; i++) {
        close(r->connections[i]->fd);
        free(r->connections[i]->text);
        free(r->connections[i]);
    }
    free(r->connections);
    free(r->idle);
    free(r->form.text);
    free(r->form.ids);
    free(r->form.customers);
    close(r->epoll);
}

static void print_json_text(const char *text) {
    putchar('"');
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else
            putchar((unsigned char)*text < ' ' ? ' ' : *text);
    putchar('"');
}

static void measure(struct run *r) {
    const struct options *o = r->o;
    int64_t began = now_ns();
    r->window_from_ns = began + (int64_t)(o->warm * 1e9);
    r->window_to_ns = r->window_from_ns + (int64_t)(o->seconds * 1e9);
    r->due_ns = began;
    r->step_ns = o->rate > 0 ? (int64_t)(1e9 * o->batch / o->rate) : 0;
    run_until(r, r->window_from_ns);
    int64_t from = now_ns(), server = o->pid ? cpu_of(o->pid) : 0, own = cpu_of(0);
    run_until(r, r->window_to_ns);
    double seconds = (double)(now_ns() - from) * 1e-9;
    double server_s = o->pid ? (double)(cpu_of(o->pid) - server) * 1e-9 : 0;
    double own_s = (double)(cpu_of(0) - own) * 1e-9;
    r->stops = true;
    for (int64_t end = now_ns() + (int64_t)GRACE_SECONDS * 1000000000; r->n_busy && now_ns() < end;)
        wait_and_serve(r, end);
    uint64_t n = r->requests;
    printf("{\"seconds\":%.3f,\"requests\":%lu,\"events\":%lu,\"p50_us\":%lu,\"p99_us\":%lu,"
           "\"p999_us\":%lu,\"max_us\":%lu,\"server_cpu_s\":%.4f,\"own_cpu_s\":%.4f,"
           "\"request_bytes\":%zu,\"sent\":%lu,\"acknowledged\":%lu,\"failed\":%lu,"
           "\"unanswered\":%u,\"reconnects\":%lu,\"failure\":",
           seconds, n, n * o->batch, percentile(n, 0.5, r->max_us), percentile(n, 0.99, r->max_us),
           percentile(n, 0.999, r->max_us), r->max_us, server_s, own_s, r->form.n, r->sent,
           r->acknowledged, r->failed, r->n_busy, r->reconnects);
    print_json_text(r->failure);
    puts("}");
}

static double number(const char *name, const char *text, double low, double high) {
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !(v >= low && v <= high)) die(name, "no number that it takes");
    return v;
}

static void read_options(int argc, char **argv, struct options *o) {
    if (argc < 3) die("usage", "bench_load PORT TARGET [--OPTION VALUE]... (see bench/load.c)");
    o->port = (unsigned)number("PORT", argv[1], 1, 65535);
    o->target = argv[2];
    for (int i = 3; i < argc; i += 2) {
        const char *name = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--connections"))
            o->connections = (unsigned)number(name, v, 1, CONNECTIONS);
        else if (!strcmp(name, "--batch"))
            o->batch = (unsigned)number(name, v, 1, BATCH);
        else if (!strcmp(name, "--seconds"))
            o->seconds = number(name, v, 0.1, 1e6);
        else if (!strcmp(name, "--warm"))
            o->warm = number(name, v, 0, 1e6);
        else if (!strcmp(name, "--rate"))
            o->rate = number(name, v, 0, 1e9);
        else if (!strcmp(name, "--first"))
            o->first = (uint64_t)number(name, v, 0, 9e15);
        else if (!strcmp(name, "--pid"))
            o->pid = (pid_t)number(name, v, 1, 1e9);
        else if (!strcmp(name, "--key"))
            o->key = v;
        else if (!strcmp(name, "--format") && !strcmp(v, "lines"))
            o->lines = true;
        else if (strcmp(name, "--format") != 0 || strcmp(v, "segment") != 0)
            die(name, "unknown option");
    }
}

int main(int argc, char **argv) {
    struct options o = {.connections = 16, .batch = 1, .seconds = 3, .warm = 1};
    read_options(argc, argv, &o);
    struct run r = {.o = &o, .next_id = o.first, .chance = o.first + 1};
    start(&r);
    measure(&r);
    finish(&r);
    return 0;
}
