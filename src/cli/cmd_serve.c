/* `keel serve`: the server of a data directory.
 *
 * Opens what the resources work on (struct app), starts the HTTP server, waits for a signal, and
 * takes everything down in the opposite order.
 * Layers: api/server.h, api/app.h, options.h. Threads: main waits; the server has its own. */
#include <signal.h>

#include "api/app.h"
#include "api/collect.h"
#include "api/routes.h"
#include "base/os.h"
#include "base/output.h"
#include "base/sql.h"
#include "cli/options.h"
#include "customer/db.h"
#include "guard/token.h"

struct args {
    const char *data, *listen;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"listen", OPTION_TEXT, offsetof(struct args, listen), "ADDR:PORT",
     "where to listen; default 127.0.0.1:7480", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_serve = {
    .name = "serve",
    .summary = "answer over HTTP",
    .options = OPTIONS,
    .description =
        "Serves DIR over HTTP until it is told to stop: by SIGTERM or Ctrl-C, which lets\n"
        "it answer what is under way. The commands of this program reach it through\n"
        "DIR/keel.sock.\n",
    .examples = "  keel serve --data data\n  keel serve --data data --listen 0.0.0.0:7480\n",
    .run = run,
};

enum { GRACE_MS = 30000 };

/* Who may open DIR/keel.sock owns the data; others show the token. */
static int authorise(void *ctx, struct request *r, struct keel_error *err) {
    const struct app *app = ctx;
    if (r->local || token_bears(app->token, request_header(r, "Authorization"))) return 0;
    FAIL(err, UNAUTHORISED,
         "this needs the header \"Authorization: Bearer TOKEN\", with the token of admin.token in "
         "the data directory");
}

static void wait_for_signal(const sigset_t *signals) {
    int which;
    while (sigwait(signals, &which) != 0) {
    }
}

static int serve(struct app *app, const struct args *args, const sigset_t *signals,
                 struct keel_error *err) {
    struct arena arena;
    struct output out;
    arena_init(&arena, 1 << 16);
    struct server_options options = {
        .listen = str_from(args->listen),
        .socket_path = arena_printf(&arena, "%s/keel.sock", app->dir),
        .authorise = authorise,
        .ctx = app,
    };
    int code = server_start(&options, ROUTES, app, &app->server, err);
    if (code == 0) code = output_open(&out, NULL, err);
    if (code == 0) {
        output_printf(&out, "keel serves %s on port %u\n", app->dir, server_port(app->server));
        code = output_close(&out, err);
    }
    if (code == 0) wait_for_signal(signals);
    server_stop(app->server, GRACE_MS);
    arena_release(&arena);
    return code;
}

static int open_desk(const char *dir, struct sql **out, struct keel_error *err) {
    struct arena arena;
    arena_init(&arena, 1 << 16);
    int code = sql_open(arena_printf(&arena, "%s/desk.db", dir), SQL_CREATE, out, err);
    arena_release(&arena);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.listen = "127.0.0.1:7480"};
    struct db_options options = {.store = {.background = true}};
    sigset_t signals;
    TRY(options_parse(&cmd_serve, argc, argv, &args, NULL, err));
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread: main alone waits for them */
    signal(SIGPIPE, SIG_IGN);
    struct token token;
    bool made = false;
    struct app app = {.dir = args.data, .token = &token};
    TRY(db_open(args.data, &options, &app.db, err));
    int code = open_desk(args.data, &app.desk, err);
    if (code == 0) code = token_open(args.data, &token, &made, err);
    if (code == 0) code = sources_open(args.data, &app.sources, err);
    if (code == 0)
        code = collector_open(&(struct collect_options){0}, app.sources, app.db, NULL,
                              &app.collector, err);
    if (code == 0) code = serve(&app, &args, &signals, err);
    collector_close(app.collector);
    sources_close(app.sources);
    sql_close(app.desk);
    int closed = db_close(app.db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}
