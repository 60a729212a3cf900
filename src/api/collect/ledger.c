/* Implementation of ledger.h. */
#include "api/collect/ledger.h"

#include <pthread.h>

#include "api/app.h"
#include "base/os.h"
#include "base/time.h"

enum {
    PARTS_AT_ONCE = 64,
    ENTRIES_AT_ONCE = 64,
    REASON_BYTES = 200,
    TICK_MS = 1000,
};

/* What a thread needs to check events; a few are kept for the next one. */
struct judge {
    struct judge *next;
    struct plan_checker *checker;
    struct plan_report report;
};

struct ledger {
    struct plan *plan;
    struct quarantine *quarantine;
    struct fate *fate;
    struct tail *tail;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct judge *judges;
    bool stopping;
    bool has_thread;
    pthread_t thread;
};

/* ---- checking ---- */

static bool checks(void *ctx, const struct event_source *source) {
    struct ledger *l = ctx;
    (void)source;
    const struct plan_form *form = plan_take(l->plan);
    bool any = !plan_form_empty(form);
    plan_drop(form);
    return any;
}

static struct judge *judge_take(struct ledger *l) {
    pthread_mutex_lock(&l->lock);
    struct judge *j = l->judges;
    if (j) l->judges = j->next;
    pthread_mutex_unlock(&l->lock);
    if (j) return j;
    j = k_zalloc(sizeof *j);
    j->checker = plan_checker_new();
    plan_report_init(&j->report);
    return j;
}

static void judge_put(struct ledger *l, struct judge *j) {
    plan_report_clear(&j->report);
    pthread_mutex_lock(&l->lock);
    j->next = l->judges;
    l->judges = j;
    pthread_mutex_unlock(&l->lock);
}

static bool check(void *ctx, const struct collect_event *event, struct buf *details) {
    struct ledger *l = ctx;
    struct judge *j = judge_take(l);
    const struct plan_form *form = plan_take(l->plan);
    bool clean = plan_check(j->checker, form, event->batch, event->view, &j->report) == 0;
    if (!clean) (void)!plan_report_json(&j->report, details);
    plan_drop(form);
    judge_put(l, j);
    return clean;
}

/* ---- keeping ---- */

/* What an event's batch says for it, as members of an object. */
static struct str envelope_of(const struct collect_outcome *o, struct arena *arena) {
    const struct segment_envelope *e = &o->envelope;
    const char *text = "";
    if (e->context.n && e->sent.n)
        text = arena_printf(arena, "\"context\":%.*s,\"sentAt\":%.*s", STR_ARG(e->context),
                            STR_ARG(e->sent));
    else if (e->context.n)
        text = arena_printf(arena, "\"context\":%.*s", STR_ARG(e->context));
    else if (e->sent.n)
        text = arena_printf(arena, "\"sentAt\":%.*s", STR_ARG(e->sent));
    return str_from(text);
}

/* What of the connection may be kept: it is needed when the event is taken again. */
static struct client client_of(const struct collect_outcome *o, struct arena *arena) {
    struct client client = o->client;
    char *text = arena_alloc(arena, CLIENT_ADDRESS_BYTES);
    client.address = client_address(client.ip, client.address, text);
    if (!client.own) client.user_agent = STR("");
    return client;
}

/* [{"code":"…","message":"…"}] of an event that is no event: its reason is its code. */
static struct str plain_reasons(const char *reason, struct arena *arena) {
    struct buf b;
    buf_init(&b, 1 << 12);
    (void)!buf_add_text(&b, "[{\"code\":");
    (void)!buf_add_json_str(&b, str_from(reason));
    (void)!buf_add_text(&b, ",\"message\":");
    (void)!buf_add_json_str(&b, str_from(reason));
    (void)!buf_add_text(&b, "}]");
    struct str text = str_dup(arena, buf_str(&b));
    buf_release(&b);
    return text;
}

static int keep(void *ctx, const struct collect_outcome *const *outcomes, uint32_t n,
                struct keel_error *err) {
    struct ledger *l = ctx;
    struct arena arena;
    uint32_t held = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < outcomes[i]->n; k++)
            held += outcomes[i]->items[k].fate == COLLECT_QUARANTINED;
    struct quarantine_item *items = k_try_alloc_array((size_t)held + 1, sizeof *items);
    if (!items) FAIL(err, NO_MEMORY, "no memory for %u events of the quarantine", held);
    arena_init(&arena, SIZE_MAX / 2);
    for (uint32_t i = 0; i < n; i++) {
        const struct collect_outcome *o = outcomes[i];
        struct str envelope = envelope_of(o, &arena);
        struct client client = client_of(o, &arena);
        for (uint32_t k = 0; k < o->n; k++) {
            const struct collect_item *item = &o->items[k];
            if (item->fate != COLLECT_QUARANTINED) continue;
            items[at++] = (struct quarantine_item){
                .key = item->key,
                .source = item->source ? item->source->id : 0,
                .received_ms = o->received_ms,
                .type = o->type,
                .json = item->text,
                .envelope = envelope,
                .client = client,
                .known = !o->request,
                .reasons = item->details.n ? item->details : plain_reasons(item->reason, &arena),
            };
        }
    }
    int code = quarantine_keep(l->quarantine, items, held, now_ms(), err);
    at = 0;
    for (uint32_t i = 0; code == 0 && i < n; i++)
        for (uint32_t k = 0; k < outcomes[i]->n; k++) {
            struct collect_item *item = &outcomes[i]->items[k];
            if (item->fate != COLLECT_QUARANTINED || !items[at++].again) continue;
            /* A replay that the plan is still against stays what it is. */
            if (outcomes[i]->request) item->fate = COLLECT_DUPLICATE;
        }
    arena_release(&arena);
    k_free(items);
    return code;
}

/* ---- telling ---- */

static const enum fate_kind FATE_OF[COLLECT_FATES] = {
    [COLLECT_ACCEPTED] = FATE_ACCEPTED,
    [COLLECT_DUPLICATE] = FATE_DUPLICATE,
    [COLLECT_QUARANTINED] = FATE_QUARANTINED,
    [COLLECT_REFUSED] = FATE_REFUSED,
};

/* The code of a plan's first violation, or the reason itself. */
static struct str reason_of(const struct collect_item *item) {
    if (item->fate == COLLECT_ACCEPTED || item->fate == COLLECT_DUPLICATE) return STR("");
    if (item->details.n && item->reason == COLLECT_REASON_PLAN)
        return quarantine_code(item->details);
    return item->reason ? str_from(item->reason) : STR("");
}

struct telling {
    struct fate_part parts[PARTS_AT_ONCE];
    size_t n;
};

static void count(struct telling *t, enum fate_kind kind, struct str reason) {
    for (size_t i = 0; i < t->n; i++)
        if (t->parts[i].kind == kind && str_eq(t->parts[i].reason, reason)) {
            t->parts[i].n++;
            return;
        }
    t->parts[t->n++] = (struct fate_part){kind, reason, 1};
}

static void tell_fate(struct ledger *l, const struct collect_outcome *o, uint32_t from,
                      uint32_t to) {
    struct telling t = {.n = 0};
    uint64_t received = 0;
    int64_t source = o->items[from].source ? o->items[from].source->id : 0;
    for (uint32_t i = from; i < to; i++) {
        const struct collect_item *item = &o->items[i];
        if (!o->request) {
            fate_replayed(l->fate, source, FATE_OF[item->fate], 1, now_ms());
            continue;
        }
        count(&t, FATE_OF[item->fate], reason_of(item));
        if (item->repaired) count(&t, FATE_REPAIRED, STR(""));
        received++;
        if (t.n < PARTS_AT_ONCE - 2) continue;
        fate_add(l->fate, source, received, t.parts, t.n, o->received_ms);
        t.n = 0;
        received = 0;
    }
    if (received) fate_add(l->fate, source, received, t.parts, t.n, o->received_ms);
}

static void tell_tail(struct ledger *l, const struct collect_outcome *o, uint32_t from,
                      uint32_t to) {
    struct tail_entry entries[ENTRIES_AT_ONCE];
    int64_t source = o->items[from].source ? o->items[from].source->id : 0;
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++) {
        const struct collect_item *item = &o->items[i];
        entries[n++] = (struct tail_entry){.fate = FATE_OF[item->fate],
                                           .repaired = item->repaired,
                                           .replayed = !o->request,
                                           .type = o->type,
                                           .reason = str_from(item->reason ? item->reason : ""),
                                           .details = item->details,
                                           .json = item->text};
        if (item->fate == COLLECT_DUPLICATE) entries[n - 1].reason = STR("its id was seen before");
        if (n < ENTRIES_AT_ONCE) continue;
        tail_add(l->tail, source, o->received_ms, entries, n);
        n = 0;
    }
    if (n) tail_add(l->tail, source, o->received_ms, entries, n);
}

static void tell(void *ctx, const struct collect_outcome *o) {
    struct ledger *l = ctx;
    if (o->n == 0 && o->refused && o->request)
        fate_turned_away(l->fate, o->source ? o->source->id : 0, str_from(o->refused),
                         o->received_ms);
    for (uint32_t from = 0, to; from < o->n; from = to) { /* runs of one source */
        for (to = from + 1; to < o->n && o->items[to].source == o->items[from].source;) to++;
        tell_fate(l, o, from, to);
        tell_tail(l, o, from, to);
    }
}

struct collect_hooks ledger_hooks(struct ledger *l) {
    return (struct collect_hooks){
        .ctx = l, .checks = checks, .check = check, .keep = keep, .tell = tell};
}

/* ---- keeping time ---- */

/* What fails here is tried again at the next tick; what was counted stays in memory. */
static void tick(struct ledger *l, uint64_t n) {
    (void)!plan_refresh(l->plan, NULL);
    if (n % FATE_SAVE_SECONDS == 0) (void)!fate_save(l->fate, now_ms(), NULL);
    if (n % 3600 == 0) (void)!quarantine_sweep(l->quarantine, now_ms(), NULL);
}

static void *keep_time(void *ctx) {
    struct ledger *l = ctx;
    pthread_mutex_lock(&l->lock);
    for (uint64_t n = 1; !l->stopping; n++) {
        int64_t until_us = now_us() + TICK_MS * INT64_C(1000);
        struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
        pthread_cond_timedwait(&l->wake, &l->lock, &until);
        if (l->stopping) break;
        pthread_mutex_unlock(&l->lock);
        tick(l, n);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- life ---- */

static int open_all(struct ledger *l, struct app *app, const struct quarantine_limits *limits,
                    struct keel_error *err) {
    struct arena arena;
    arena_init(&arena, 1 << 16);
    int code = plan_open(app->desk, &l->plan, err);
    if (code == 0) code = fate_open(app->desk, app->sources, &l->fate, err);
    if (code == 0)
        code = quarantine_open(arena_printf(&arena, "%s/desk.db", app->dir), limits, &l->quarantine,
                               err);
    if (code == 0) code = tail_open(l->plan, app->sources, &l->tail, err);
    arena_release(&arena);
    return code;
}

int ledger_open(struct app *app, const struct quarantine_limits *limits, struct ledger **out,
                struct keel_error *err) {
    struct ledger *l = k_zalloc(sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    int code = open_all(l, app, limits, err);
    if (code == 0) {
        int failed = pthread_create(&l->thread, NULL, keep_time, l);
        l->has_thread = failed == 0;
        if (failed) code = error_errno(err, failed, "cannot start the thread of the ledger");
    }
    if (code < 0) {
        (void)!ledger_close(l, NULL);
        return code;
    }
    app->plan = l->plan;
    app->quarantine = l->quarantine;
    app->fate = l->fate;
    app->tail = l->tail;
    if (app->metrics) {
        metrics_add(app->metrics, fate_metrics, l->fate);
        metrics_add(app->metrics, quarantine_metrics, l->quarantine);
    }
    *out = l;
    return 0;
}

int ledger_close(struct ledger *l, struct keel_error *err) {
    if (!l) return 0;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (l->has_thread) pthread_join(l->thread, NULL);
    tail_close(l->tail);
    int code = fate_close(l->fate, err);
    quarantine_close(l->quarantine);
    plan_close(l->plan);
    while (l->judges) {
        struct judge *j = l->judges;
        l->judges = j->next;
        plan_checker_free(j->checker);
        plan_report_release(&j->report);
        k_free(j);
    }
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->wake);
    k_free(l);
    return code;
}

/* ---- replays ---- */

static int take_again(void *ctx, const struct quarantine_row *row, struct str document,
                      struct keel_error *err) {
    struct app *app = ctx;
    const struct event_source *source = sources_by_id(app->sources, row->source);
    struct collect_counts counts = {0};
    if (!source)
        FAIL(err, NOT_FOUND, "quarantined event %lld: its source %lld is gone", (long long)row->id,
             (long long)row->source);
    const struct collect_past past = {row->received_ms, row->client, row->key};
    TRY(collect_again(app->collector, source, document, &past, 0, &counts, err));
    if (counts.fates[COLLECT_ACCEPTED]) return QUARANTINE_TAKEN;
    return counts.fates[COLLECT_DUPLICATE] ? QUARANTINE_DUPLICATE : QUARANTINE_STILL;
}

int ledger_replay(struct app *app, const struct quarantine_filter *filter, int64_t now_ms,
                  struct quarantine_counts *counts, struct keel_error *err) {
    return quarantine_replay(app->quarantine, filter, take_again, app, now_ms, counts, err);
}
