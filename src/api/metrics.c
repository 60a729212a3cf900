/* Implementation of metrics.h, and the numbers of the server, the store, the collector, the
 * process. */
#include "api/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/app.h"
#include "api/collect/collect.h"
#include "api/routes.h"
#include "base/os.h"
#include "customer/db.h"
#include "keel_version.h"

struct metrics {
    struct {
        metrics_provider *provide;
        void *ctx;
    } all[METRICS_PROVIDERS];
    unsigned n;
    pthread_mutex_t lock;
};

struct metrics *metrics_new(void) {
    struct metrics *m = k_zalloc(sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void metrics_free(struct metrics *m) {
    if (!m) return;
    pthread_mutex_destroy(&m->lock);
    k_free(m);
}

void metrics_add(struct metrics *m, metrics_provider *provider, void *ctx) {
    K_ASSERT(m->n < METRICS_PROVIDERS);
    m->all[m->n].provide = provider;
    m->all[m->n++].ctx = ctx;
}

/* ---- the format ---- */

static void add_escaped(struct buf *b, const char *text) {
    for (; *text; text++) {
        if (*text == '\\' || *text == '"') (void)!buf_add_char(b, '\\');
        if (*text == '\n')
            (void)!buf_add_text(b, "\\n");
        else
            (void)!buf_add_char(b, *text);
    }
}

static void add_head(struct metric_text *t, enum metric_kind kind, const char *name,
                     const char *help) {
    static const char *const KINDS[] = {"counter", "gauge", "histogram"};
    if (t->last && strcmp(t->last, name) == 0) return;
    t->last = name;
    (void)!buf_printf(t->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, KINDS[kind]);
}

void metric(struct metric_text *t, enum metric_kind kind, const char *name, const char *help,
            double value, ...) {
    va_list args;
    const char *label, *separator = "{";
    if (kind != METRIC_HISTOGRAM) add_head(t, kind, name, help);
    (void)!buf_add_text(t->out, name);
    va_start(args, value);
    while ((label = va_arg(args, const char *))) {
        (void)!buf_printf(t->out, "%s%s=\"", separator, label);
        add_escaped(t->out, va_arg(args, const char *));
        (void)!buf_add_char(t->out, '"');
        separator = ",";
    }
    va_end(args);
    (void)!buf_add_text(t->out, *separator == ',' ? "} " : " ");
    (void)!buf_add_f64(t->out, value);
    (void)!buf_add_char(t->out, '\n');
}

/* ---- our own ---- */

static void counter(struct metric_text *t, const char *name, const char *help, uint64_t value) {
    metric(t, METRIC_COUNTER, name, help, (double)value, (const char *)NULL);
}
static void gauge(struct metric_text *t, const char *name, const char *help, uint64_t value) {
    metric(t, METRIC_GAUGE, name, help, (double)value, (const char *)NULL);
}

static void latency(struct metric_text *t, const struct server_stats *s) {
    static const char NAME[] = "keel_http_request_duration_seconds";
    char le[32];
    uint64_t sum = 0;
    add_head(t, METRIC_HISTOGRAM, NAME, "From the request line to the end of the reply");
    for (unsigned i = 0; i < SERVER_LATENCIES; i++) {
        sum += s->latency[i];
        if (i + 1 < SERVER_LATENCIES)
            snprintf(le, sizeof le, "%g", (double)server_latency_us(i) / 1e6);
        else
            snprintf(le, sizeof le, "+Inf");
        metric(t, METRIC_HISTOGRAM, "keel_http_request_duration_seconds_bucket", "", (double)sum,
               "le", le, (const char *)NULL);
    }
    metric(t, METRIC_HISTOGRAM, "keel_http_request_duration_seconds_sum", "",
           (double)s->latency_sum_us / 1e6, (const char *)NULL);
    metric(t, METRIC_HISTOGRAM, "keel_http_request_duration_seconds_count", "", (double)sum,
           (const char *)NULL);
}

static void of_server(const struct server *server, struct metric_text *t) {
    static const char *const CLASSES[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    struct server_stats s;
    server_stats(server, &s);
    for (unsigned i = 0; i < SERVER_CLASSES; i++)
        metric(t, METRIC_COUNTER, "keel_http_requests_total",
               "Requests by class of status; none: the client never sent a whole one",
               (double)s.classes[i], "class", CLASSES[i], (const char *)NULL);
    counter(t, "keel_http_refused_total", "Requests refused before a handler saw them", s.refused);
    counter(t, "keel_http_received_bytes_total", "Bytes of bodies as sent", s.bytes_in);
    counter(t, "keel_http_sent_bytes_total", "Bytes of bodies of replies", s.bytes_out);
    counter(t, "keel_http_connections_total", "Connections taken", s.connections);
    gauge(t, "keel_http_connections", "Connections that are open", s.open_connections);
    gauge(t, "keel_http_requests_under_way", "Requests between request line and reply", s.waiting);
    gauge(t, "keel_http_memory_bytes", "Bodies and replies under way", s.memory_bytes);
    latency(t, &s);
}

static void of_store(struct db *db, struct metric_text *t) {
    struct store_stats s;
    store_stats(db_store(db), &s);
    gauge(t, "keel_store_events", "Events stored", s.rows);
    gauge(t, "keel_store_head_events", "Events in memory, not yet in a part", s.head_rows);
    gauge(t, "keel_store_parts", "Parts", s.parts);
    gauge(t, "keel_store_part_bytes", "Bytes of parts", s.part_bytes);
    gauge(t, "keel_store_key_bytes", "Bytes of the tables of message ids", s.key_bytes);
    gauge(t, "keel_store_journal_bytes", "Bytes of the journal", s.journal_bytes);
    gauge(t, "keel_store_customer_numbers", "Identifiers that have a number", s.numbers);
}

static void of_collector(struct collector *collector, struct metric_text *t) {
    struct collect_stats s;
    collector_stats(collector, &s);
    counter(t, "keel_collect_requests_total", "Requests with events", s.requests);
    counter(t, "keel_collect_events_total", "Events taken in", s.events);
    counter(t, "keel_collect_commits_total", "Syncs of the journal for them", s.commits);
    gauge(t, "keel_collect_waiting_requests", "Requests that wait for the store",
          s.waiting_requests);
    gauge(t, "keel_collect_waiting_bytes", "Bytes that wait for the store", s.waiting_bytes);
}

static int count_entry(void *ctx, const char *name) {
    (void)name;
    ++*(uint64_t *)ctx;
    return 0;
}

static void of_process(struct metric_text *t) {
    struct rusage usage = {0};
    struct buf text;
    uint64_t pages = 0, files = 0;
    buf_init(&text, 4096);
    if (file_read("/proc/self/statm", &text, NULL) == 0) { /* "size resident shared …" in pages */
        struct str s = buf_str(&text);
        size_t from = 0, end;
        while (from < s.n && s.p[from] != ' ') from++;
        end = ++from;
        while (end < s.n && s.p[end] != ' ') end++;
        if (end < s.n && str_to_u64((struct str){s.p + from, end - from}, &pages))
            gauge(t, "process_resident_memory_bytes", "Memory in use",
                  pages * (uint64_t)sysconf(_SC_PAGESIZE));
    }
    buf_release(&text);
    if (file_list_dir("/proc/self/fd", count_entry, &files, NULL) >= 0)
        gauge(t, "process_open_fds", "Open file descriptors", files);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric(t, METRIC_COUNTER, "process_cpu_seconds_total", "Processor time",
               (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
               (const char *)NULL);
}

static int scrape(struct request *r, void *ctx, struct keel_error *err) {
    (void)err;
    const struct app *app = ctx;
    struct metric_text t = {.out = &r->reply.body};
    metric(&t, METRIC_GAUGE, "keel_build_info", "1, with the version", 1, "version", KEEL_VERSION,
           (const char *)NULL);
    of_server(app->server, &t);
    of_store(app->db, &t);
    if (app->collector) of_collector(app->collector, &t);
    of_process(&t);
    pthread_mutex_lock(&app->metrics->lock);
    for (unsigned i = 0; i < app->metrics->n; i++)
        app->metrics->all[i].provide(app->metrics->all[i].ctx, &t);
    pthread_mutex_unlock(&app->metrics->lock);
    r->reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return 0;
}

const struct route routes_metrics[] = {
    {.methods = HTTP_GET,
     .pattern = "/metrics",
     .handle = scrape,
     .right = RIGHT_METRICS,
     .flags = ROUTE_WORKER,
     .tag = "server",
     .summary = "Counters and gauges for Prometheus (text, not JSON)"},
    {0},
};
