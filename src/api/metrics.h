/* GET /metrics: counters and gauges in the text format of Prometheus.
 *
 * Whoever counts registers a provider, called for every scrape:
 *
 *     static void webhooks_metrics(void *ctx, struct metric_text *t) {
 *         metric(t, METRIC_COUNTER, "keel_webhook_deliveries_total", "Deliveries by outcome",
 *                n, "outcome", "failed", (const char *)NULL);
 *     }
 *     metrics_add(app->metrics, webhooks_metrics, webhooks);
 *
 * Names begin with keel_, counters end in _total, units are seconds and bytes. Samples of one name
 * follow one another. Labels never hold personal data nor secrets, and few different values.
 *
 * Layers: app.h, server.h. Threads: metrics_add before the server starts; providers run in any
 * thread, at most one scrape at a time. Limits: METRICS_PROVIDERS; a document of 4 MiB.
 */
#pragma once

#include "base/buf.h"

enum { METRICS_PROVIDERS = 32 };
enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics;
struct metric_text {
    struct buf *out;
    const char *last; /* name that has its head */
};

typedef void metrics_provider(void *ctx, struct metric_text *t);

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* NULL is fine */
void metrics_add(struct metrics *m, metrics_provider *provider, void *ctx);

/* One sample: pairs of label and value, ended by a null that has the type of the others (a bare
 * NULL may be an int, and a variadic call does not convert it). Texts may have any characters. */
void metric(struct metric_text *t, enum metric_kind kind, const char *name, const char *help,
            double value, ... /* const char *label, const char *value, …, NULL */)
    __attribute__((sentinel));
