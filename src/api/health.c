/* GET /healthz, GET /readyz: is the process alive, can it take events.
 *
 * /healthz answers 200 as long as the server answers at all: a manager restarts the process when it
 * does not. /readyz answers 503 while the server stops or can take no events, and says why: a
 * balancer sends its requests elsewhere.
 *
 * Layers: server.h, app.h. Threads: those of the server. */
#include "api/app.h"
#include "api/collect/collect.h"
#include "api/routes.h"

static int healthz(struct request *r, void *ctx, struct keel_error *err) {
    (void)ctx, (void)err;
    (void)!buf_add_text(&r->reply.body, "{\"status\":\"ok\"}\n");
    return 0;
}

static int readyz(struct request *r, void *ctx, struct keel_error *err) {
    const struct app *app = ctx;
    if (app->server && server_draining(app->server)) FAIL(err, BUSY, "the server is stopping");
    if (app->collector) TRY(collector_ready(app->collector, err));
    (void)!buf_add_text(&r->reply.body, "{\"status\":\"ready\"}\n");
    return 0;
}

#define STATUS_SCHEMA "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"}}}"

const struct route routes_health[] = {
    {.methods = HTTP_GET,
     .pattern = "/healthz",
     .handle = healthz,
     .right = RIGHT_PUBLIC,
     .tag = "server",
     .summary = "Is the process alive?",
     .answer = STATUS_SCHEMA},
    {.methods = HTTP_GET,
     .pattern = "/readyz",
     .handle = readyz,
     .right = RIGHT_PUBLIC,
     .tag = "server",
     .summary = "Can it take events now?",
     .answer = STATUS_SCHEMA},
    {0},
};
