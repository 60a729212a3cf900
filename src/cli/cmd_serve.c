/* `keel serve`: the server of a data directory.
 *
 * Opens what the resources work on (struct app), starts the HTTP server, waits for a signal, and
 * takes everything down in the opposite order. SIGTERM and SIGINT stop it: no new connections, what
 * is under way is answered, what is in memory flushed. A second signal ends the process at once,
 * which loses nothing that was acknowledged. SIGHUP reads the certificate again.
 *
 * The watchdog is fed only after the server itself answered through its socket.
 *
 * Layers: api/server/server.h, api/app.h, remote.h, options.h. Threads: main waits; the server has
 * its own.
 */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/access.h"
#include "api/app.h"
#include "api/changes.h"
#include "api/collect/collect.h"
#include "api/collect/ledger.h"
#include "api/config.h"
#include "api/idempotency.h"
#include "api/kpi_api.h"
#include "api/log.h"
#include "api/metrics.h"
#include "api/outgoing.h"
#include "api/routes.h"
#include "api/segments_api.h"
#include "base/os.h"
#include "base/sql.h"
#include "cli/acts.h"
#include "cli/link.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "cli/serve/manager.h"
#include "customer/db.h"
#include "desk/audience/audiences.h"
#include "desk/kpi/clock.h"
#include "desk/saved/question.h"
#include "desk/shield/shield.h"
#include "guard/audit.h"
#include "guard/guard.h"
#include "guard/token.h"
#include "reach/webhook.h"

struct args {
    const char *data, *listen, *config;
};

static const struct option OPTIONS[] = {
    {"data", OPTION_TEXT, offsetof(struct args, data), "DIR", "the data directory", NULL, true, 0,
     0},
    {"listen", OPTION_TEXT, offsetof(struct args, listen), "ADDR:PORT",
     "where to listen; default 127.0.0.1:7480, or what the configuration says", NULL, false, 0, 0},
    {"config", OPTION_TEXT, offsetof(struct args, config), "FILE",
     "the configuration; default DIR/keel.toml if there is one", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_serve = {
    .name = "serve",
    .summary = "take events and answer questions over HTTP",
    .changes = COMMAND_ITSELF,
    .options = OPTIONS,
    .description =
        "Serves DIR over HTTP until it is told to stop: by SIGTERM or Ctrl-C, which lets\n"
        "it answer what is under way; a second one ends it at once. SIGHUP reads the\n"
        "certificate again. The commands of this\n"
        "program reach it through DIR/keel.sock; over the network the token in\n"
        "DIR/admin.token is needed, which the first start makes. Options of the\n"
        "configuration: keel config show. Logs go to standard error.\n",
    .examples = "  keel serve --data data\n"
                "  keel serve --data data --listen 0.0.0.0:7480 --config keel.toml\n",
    .run = run,
};

struct serve {
    struct app app;
    struct config *config;
    struct token token;
    struct manager manager;
    struct ledger *ledger;
    struct outgoing *outgoing;
    const char *listen, *socket;
    sigset_t signals;
};

/* ---- what the server asks ---- */

static int authorise(void *ctx, struct request *r, struct keel_error *err) {
    struct serve *s = ctx;
    return access_authorise(&s->app, r, err);
}

static int ready(void *ctx, struct request *r, struct keel_error *err) {
    const struct serve *s = ctx;
    return access_ready(&s->app, r, err);
}

static int audit(void *ctx, struct request *r, struct keel_error *err) {
    struct serve *s = ctx;
    return access_audit(&s->app, r, err);
}

static int recall(void *ctx, struct request *r, struct keel_error *err) {
    const struct serve *s = ctx;
    return idempotency_recall(s->app.desk, r, err);
}
static void keep(void *ctx, struct request *r) {
    const struct serve *s = ctx;
    idempotency_keep(s->app.desk, r);
}

static void log_request(void *ctx, const struct request *r, int status, uint64_t bytes,
                        int64_t us) {
    const struct serve *s = ctx;
    bool failed = status >= 500 && status != 503;
    if (!s->config->log.requests && !failed) return;
    /* The pattern, not the path: paths may name people. An error of the outside may, too. */
    log_say(s->app.log, failed ? LOG_ERROR : LOG_INFO, "request", failed ? "zziids" : "zziid",
            "method", request_method_text(r), "route", r->route ? r->route->pattern : "-", "status",
            (int64_t)status, "bytes", (int64_t)bytes, "ms", (double)us / 1000, "error", r->error);
}

/* ---- what the resources work on ---- */

static int open_collector(struct serve *s, struct keel_error *err) {
    const struct config *c = s->config;
    struct collect_options options = {
        .max_queue_requests = (uint32_t)c->collect.queue_requests,
        .max_queue_bytes = (size_t)c->collect.queue_bytes,
        .max_event_bytes = (uint32_t)c->collect.event_bytes,
        .max_events = (uint32_t)c->collect.events,
        .retry_seconds = (unsigned)(c->collect.retry_ms / 1000),
        .log = s->app.log,
    };
    struct collect_hooks inner = ledger_hooks(s->ledger);
    struct collect_hooks hooks = outgoing_hooks(s->outgoing, &inner);
    return collector_open(&options, s->app.sources, s->app.db, &hooks, &s->app.collector, err);
}

/* The outbox has more. */
static void pass_on_changes(void *ctx) {
    const struct app *app = ctx;
    changes_more(app->changes);
    webhooks_more(app->webhooks);
}

static int open_rooms(struct serve *s, struct keel_error *err) {
    struct app *app = &s->app;
    const char *desk = arena_printf(&s->config->arena, "%s/desk.db", app->dir);
    struct db_options options = {
        .store = {.background = true,
                  .head_bytes = (uint64_t)s->config->store.head_bytes,
                  .journal = {.durability = (enum journal_durability)s->config->store.durability,
                              .interval_ms = (uint32_t)s->config->store.interval_ms}}};
    bool made;
    TRY(db_open(app->dir, &options, &app->db, err));
    TRY(sql_open(desk, SQL_CREATE, &app->desk, err));
    TRY(idempotency_open(app->desk, err));
    TRY(question_tables(app->desk, err));
    TRY(token_open(app->dir, &s->token, &made, err));
    if (made) log_say(app->log, LOG_INFO, "the admin token was made", "z", "file", "admin.token");
    TRY(guard_open(app->dir, true, &app->guard, err));
    TRY(audit_open(app->dir, &app->audit, err));
    app->shield = shield_new((unsigned)s->config->guard.customers);
    TRY(sources_open(app->dir, &app->sources, err));
    const struct quarantine_limits limits = {.events = (uint64_t)s->config->quarantine.events,
                                             .bytes = (uint64_t)s->config->quarantine.bytes};
    TRY(ledger_open(app, &limits, &s->ledger, err));
    TRY(outgoing_open(app, &s->outgoing, err));
    TRY(kpi_clock_start(app, err));
    TRY(changes_open(app, &app->changes, err));
    struct audiences_options live = {
        .dir = app->dir, .db = app->db, .more = pass_on_changes, .ctx = app};
    TRY(audiences_open(&live, &app->audiences, err));
    segments_count(app);
    return open_collector(s, err);
}

static int close_rooms(struct serve *s, int code, struct keel_error *err) {
    struct app *app = &s->app;
    collector_close(app->collector);
    kpi_clock_close(app->kpi_clock);
    audiences_close(app->audiences);
    changes_close(app->changes);
    outgoing_close(s->outgoing);
    int saved = ledger_close(s->ledger, code < 0 ? NULL : err);
    if (code == 0) code = saved;
    sources_close(app->sources);
    shield_free(app->shield);
    audit_close(app->audit);
    guard_close(app->guard);
    sql_close(app->desk);
    if (!app->db) return code;
    if (code == 0) code = db_flush(app->db, err); /* the next start has no journal to replay */
    int closed = db_close(app->db, code < 0 ? NULL : err);
    return code < 0 ? code : closed;
}

/* ---- the life of a server ---- */

static int start(struct serve *s, struct keel_error *err) {
    const struct config *c = s->config;
    struct server_options options = {
        .listen = str_from(s->listen ? s->listen : c->server.listen),
        .socket_path = s->socket,
        .cert_path = *c->server.cert ? c->server.cert : NULL,
        .key_path = *c->server.key ? c->server.key : NULL,
        .threads = (unsigned)c->server.threads,
        .workers = (unsigned)c->server.workers,
        .max_connections = (unsigned)c->server.connections,
        .max_per_address = (unsigned)c->server.connections_per_address,
        .idle_seconds = (unsigned)(c->server.idle_ms / 1000),
        .max_body_bytes = (size_t)c->server.body_bytes,
        .max_header_bytes = (size_t)c->server.header_bytes,
        .max_memory_bytes = (size_t)c->server.memory_bytes,
        .trust_proxy = c->server.trust_proxy,
        .authorise = authorise,
        .recall = recall,
        .keep = keep,
        .ready = ready,
        .audit = audit,
        .log = log_request,
        .ctx = s,
    };
    return server_start(&options, ROUTES, &s->app, &s->app.server, err);
}

/* Does the server answer? For the watchdog: a process that hangs is not kept alive by its main. */
static bool answers(const struct serve *s) {
    struct remote *self;
    if (remote_open(s->app.dir, &self, NULL) < 0) return false;
    remote_close(self);
    return true;
}

/* SIGHUP: what can be read again without a stop. */
static void reload(const struct serve *s) {
    struct keel_error err;
    manager_reloading(&s->manager);
    if (server_reload(s->app.server, &err) < 0)
        log_say(s->app.log, LOG_ERROR, "the certificate was not read again; that of before stays",
                "z", "error", err.message);
    else
        log_say(s->app.log, LOG_INFO, "the certificate was read again", "");
    manager_ready(&s->manager);
}

static void wait_for_signal(const struct serve *s) {
    int64_t beat = s->manager.beat_ms;
    struct timespec patience = {beat / 1000, beat % 1000 * 1000000};
    for (;;) {
        int got = sigtimedwait(&s->signals, NULL, beat ? &patience : NULL);
        if (got == SIGHUP)
            reload(s);
        else if (got > 0)
            return;
        if (got < 0 && errno == EAGAIN && answers(s)) manager_beat(&s->manager);
    }
}

/* Nobody has an account: the way in for the first one, printed and not logged. */
static int invite(struct serve *s, struct keel_error *err) {
    const struct config *c = s->config;
    char secret[SECRET_TEXT + 1];
    struct output o;
    int64_t n;
    TRY(account_count(s->app.guard, &n, err));
    if (n > 0) return 0;
    TRY(ticket_make(s->app.guard, 0, secret, err));
    struct str address = str_from(s->listen ? s->listen : c->server.listen);
    while (address.n && address.p[address.n - 1] != ':') address.n--; /* port 0: the one in use */
    address = str_from(
        arena_printf(&s->config->arena, "%.*s%u", STR_ARG(address), server_port(s->app.server)));
    TRY(output_open(&o, NULL, err));
    output_printf(&o, "There is no account yet. Make the first one within %d hours:\n\n    ",
                  SETUP_MS / MS_PER_HOUR);
    link_print(&o, address, *c->server.cert != 0, "setup", secret);
    output_text(&o, "\n");
    return output_close(&o, err);
}

/* Who started it, with which configuration. A log that cannot take it does not keep the server from
 * collecting events and answering. */
static void note_start(const struct serve *s) {
    struct keel_error err;
    struct act noted;
    struct buf what;
    buf_init(&what, 1 << 20);
    config_differences(s->config, &what);
    if (!what.n) (void)!buf_add_text(&what, "configuration as by default");
    int code = act_begin(&noted, s->app.dir, "keel serve", &err);
    if (code == 0) code = act_end(&noted, buf_str(&what), 0, &err);
    if (code < 0) log_say(s->app.log, LOG_ERROR, "not noted", "z", "error", err.message);
    buf_release(&what);
}

static int serve(struct serve *s, struct keel_error *err) {
    TRY(start(s, err));
    note_start(s);
    int code = invite(s, err); /* first: who sees that it listens has the link */
    log_say(s->app.log, LOG_INFO, "the server listens", "ziz", "data", s->app.dir, "port",
            (int64_t)server_port(s->app.server), "address",
            s->listen ? s->listen : s->config->server.listen);
    if (code == 0) {
        manager_ready(&s->manager);
        wait_for_signal(s);
    }
    manager_stopping(&s->manager);
    log_say(s->app.log, LOG_INFO, "the server stops; another signal ends it at once", "");
    sigset_t ends = s->signals;
    sigdelset(&ends, SIGHUP);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL); /* who starts a program behind `&` has it ignore this one */
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
    if (server_stop(s->app.server, (unsigned)s->config->server.stop_ms)) return code;
    /* What still works on the data would find it closed. Ending now loses nothing that was
     * acknowledged: the next start reads the journal. */
    log_say(s->app.log, LOG_ERROR, "some requests do not end: the process ends without them", "");
    _exit(error_exit_status(-KEEL_E_BUSY));
}

static int load_config(struct serve *s, const struct args *args, struct keel_error *err) {
    char *own = NULL;
    const char *path = args->config;
    if (!path) {
        struct buf text;
        buf_init(&text, 1 << 16);
        TRY(buf_printf(&text, "%s/keel.toml%c", args->data, 0));
        own = k_strdup((const char *)text.p);
        buf_release(&text);
        if (file_exists(own)) path = own;
    }
    int code = config_load(path, &s->config, err);
    k_free(own);
    return code;
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {0};
    struct serve s = {0};
    TRY(options_parse(&cmd_serve, argc, argv, &args, NULL, err));
    TRY(load_config(&s, &args, err));
    sigemptyset(&s.signals);
    sigaddset(&s.signals, SIGTERM);
    sigaddset(&s.signals, SIGINT);
    sigaddset(&s.signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &s.signals, NULL); /* before any thread: main alone waits for them */
    signal(SIGPIPE, SIG_IGN);
    umask(077); /* what a server writes is its own: desk.db holds keys */
    manager_init(&s.manager);
    s.app.dir = args.data;
    s.app.config = s.config;
    s.app.token = &s.token;
    s.app.metrics = metrics_new();
    s.app.log = log_new(STDERR_FILENO, (enum log_format)s.config->log.format,
                        (enum log_level)s.config->log.level);
    s.listen = args.listen;
    s.socket = arena_printf(&s.config->arena, "%s/keel.sock", args.data);
    int code = open_rooms(&s, err);
    if (code == 0) code = serve(&s, err);
    code = close_rooms(&s, code, err);
    if (code == 0) log_say(s.app.log, LOG_INFO, "the server has stopped", "");
    metrics_free(s.app.metrics);
    log_free(s.app.log);
    config_free(s.config);
    return code;
}
