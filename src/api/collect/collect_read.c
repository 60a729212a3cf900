/* A request's body into a job: who sends, what the events are, what the plan says of them.
 *
 * The batch is made whole; what the plan holds aside is then cut out of its bytes: an event is a
 * piece of them, and names that nobody uses any more do no harm.
 *
 * Layers: collect_int.h, credentials.h, segment.h. Threads: that of the connection, with tools that
 * it takes from the collector for the while.
 */
#include <stdio.h>

#include "api/collect/collect_int.h"
#include "api/collect/credentials.h"
#include "base/os.h"

enum { FIRST_ITEMS = 64, ARENA_BYTES = 64 << 20, DETAIL_BYTES = 160 };

const char COLLECT_REASON_PLAN[] = "against the tracking plan";

/* ---- tools ---- */

struct desk_tools *tools_take(struct collector *c) {
    pthread_mutex_lock(&c->lock);
    struct desk_tools *t = c->tools;
    if (t) c->tools = t->next;
    pthread_mutex_unlock(&c->lock);
    if (t) return t;
    struct segment_reader *reader = segment_reader_new(/* isa= */ NULL);
    if (!reader) return NULL;
    t = k_zalloc(sizeof *t);
    t->reader = reader;
    batch_writer_init(&t->writer);
    arena_init(&t->arena, ARENA_BYTES);
    buf_init(&t->details, DETAILS_BYTES);
    return t;
}

void tools_put(struct collector *c, struct desk_tools *t) {
    t->job = NULL;
    arena_release(&t->arena);
    pthread_mutex_lock(&c->lock);
    t->next = c->tools;
    c->tools = t;
    pthread_mutex_unlock(&c->lock);
}

void tools_free(struct desk_tools *t) {
    segment_reader_free(t->reader);
    batch_writer_release(&t->writer);
    arena_release(&t->arena);
    buf_release(&t->details);
    k_free(t);
}

/* ---- items ---- */

static struct collect_item *add_item(struct desk_tools *t, uint64_t place, struct str text,
                                     struct str key) {
    struct job *job = t->job;
    if (job->outcome.n == t->room) {
        uint32_t room = t->room ? t->room * 2 : FIRST_ITEMS;
        struct collect_item *items = arena_try_alloc(&job->arena, room * sizeof *items);
        if (!items) {
            t->no_memory = true;
            return NULL;
        }
        if (t->room) memcpy(items, job->items, t->room * sizeof *items);
        job->outcome.items = job->items = items;
        t->room = room;
    }
    const struct event_source *source = job->outcome.source, *own = NULL;
    if (key.n) own = credentials_find(t->collector->sources, key, job->outcome.received_ms);
    struct collect_item *item = &job->items[job->outcome.n++];
    *item =
        (struct collect_item){.text = text, .source = own ? own : source, .place = (uint32_t)place};
    return item;
}

static void take_accepted(void *ctx, const struct segment_accepted *a) {
    struct collect_item *item = add_item(ctx, a->item, a->text, a->write_key);
    if (!item) return;
    item->fate = COLLECT_ACCEPTED;
    item->repaired = a->repaired;
}

/* Two that say neither id nor time are two, even if their texts are the same: as of those that can
 * be stored. */
static struct event_key refused_key(const struct desk_tools *t, const struct segment_refusal *r) {
    if (t->past) return t->past->key;
    if (r->message.n) return event_key_of(r->message);
    struct event_key key = event_key_of(r->text);
    if (!r->dated) key.lo ^= hash_mix(t->nonce + r->item);
    return key;
}

/* What cannot be stored is kept aside as it came. */
static void take_refused(void *ctx, const struct segment_refusal *r) {
    struct desk_tools *t = ctx;
    if (r->reason == SEGMENT_BAD_JSON) {
        t->broken = r->detail;
        t->broken_at = r->column;
    }
    struct collect_item *item = add_item(t, r->item, r->text, r->write_key);
    if (!item) return;
    item->fate = t->collector->hooks.keep ? COLLECT_QUARANTINED : COLLECT_REFUSED;
    item->reason = r->detail;
    item->key = refused_key(t, r);
    t->job->held++;
}

/* ---- who sends ---- */

static bool turn_away(struct refusal *why, int status, const char *code, const char *message,
                      int64_t wait_ms) {
    *why = (struct refusal){.status = status, .code = code, .message = message};
    if (wait_ms) why->retry_seconds = (unsigned)((wait_ms + MS_PER_SECOND - 1) / MS_PER_SECOND);
    return false;
}

static bool may_send(const struct event_source *source, const struct reading *reading,
                     struct refusal *why) {
    if (!source->enabled)
        return turn_away(why, 403, "source_disabled", "this source is switched off", 0);
    if (reading->past) return true;
    if (reading->origin.n && !source_allows_origin(source, reading->origin))
        return turn_away(why, 403, "origin_not_allowed",
                         "pages of this origin may not send with this write key", 0);
    int64_t wait = source_wait_ms(source, monotonic_us());
    if (wait)
        return turn_away(why, 429, "rate_limited", "the source sends more than its rate", wait);
    return true;
}

/* ---- the body ---- */

/* Counters know one reason; the sender is told what is wrong, and where. */
static void explain(const struct desk_tools *t, struct refusal *why) {
    char *text = arena_try_alloc(&t->job->arena, DETAIL_BYTES);
    if (!t->broken || !text) return;
    int n = snprintf(text, DETAIL_BYTES, "%s: %s", why->message, t->broken);
    if (t->broken_at && n > 0 && n < DETAIL_BYTES)
        snprintf(text + n, (size_t)(DETAIL_BYTES - n), ", at byte %llu",
                 (unsigned long long)t->broken_at);
    why->detail = text;
}

/* Why the body as a whole is not taken. */
static bool check_counts(const struct collector *c, const struct desk_tools *t,
                         const struct segment_counts *counts, struct refusal *why) {
    const struct collect_outcome *o = &t->job->outcome;
    if (counts->refused[SEGMENT_BAD_JSON]) {
        (void)turn_away(why, 400, "invalid_json", "the body is not JSON", 0);
        explain(t, why);
        return false;
    }
    if (counts->refused[SEGMENT_MEMORY] || t->no_memory)
        return turn_away(why, 503, "unavailable", "no memory for the request",
                         c->options.retry_seconds * MS_PER_SECOND);
    if (o->n > c->options.max_events)
        return turn_away(why, 413, "too_many_events", "too many events in one request", 0);
    if (counts->refused[SEGMENT_BATCH_FULL])
        return turn_away(why, 413, "too_large", "the events of one request are too large", 0);
    return true;
}

static bool is_document(struct str body) {
    body = str_trim(body);
    return body.n && (body.p[0] == '{' || body.p[0] == '[');
}

/* Differs for each request, also of one microsecond: what says neither its id nor its time is an
 * event of its own, however often the same is sent. */
static uint64_t next_nonce(struct collector *c) {
    uint64_t last = atomic_load(&c->nonce), next, now = (uint64_t)now_us();
    do next = now > last ? now : last + 1;
    while (!atomic_compare_exchange_weak(&c->nonce, &last, next));
    return next;
}

static bool read_events(struct collector *c, struct desk_tools *t, const struct reading *reading,
                        struct refusal *why) {
    struct collect_outcome *o = &t->job->outcome;
    struct segment_counts counts = {0};
    if (!is_document(reading->body))
        return turn_away(why, 400, "invalid_json", "the body is no JSON object or array", 0);
    t->past = reading->past;
    t->broken = NULL;
    t->nonce = t->past ? t->past->key.lo | 1 : next_nonce(c);
    const struct segment_options options = {.type = reading->type,
                                            .now_ms = o->received_ms,
                                            .received_ms = o->received_ms,
                                            .client = &reading->client,
                                            .nonce = t->nonce,
                                            .max_event_bytes = c->options.max_event_bytes};
    const struct segment_sink sink = {.writer = &t->writer,
                                      .counts = &counts,
                                      .refused = take_refused,
                                      .accepted = take_accepted,
                                      .ctx = t};
    segment_read_body(t->reader, reading->body, &options, &sink, &o->envelope);
    return check_counts(c, t, &counts, why);
}

/* Each source of the items is asked for what it sends. */
static bool pay(const struct job *job, const struct reading *reading, struct refusal *why) {
    int64_t now = monotonic_us();
    for (uint32_t i = 0, n; i < job->outcome.n; i += n) {
        const struct event_source *source = job->items[i].source;
        for (n = 1; i + n < job->outcome.n && job->items[i + n].source == source;) n++;
        if (source != job->outcome.source && !may_send(source, reading, why)) return false;
        int64_t wait = reading->past ? 0 : source_take(source, n, now);
        if (wait)
            return turn_away(why, 429, "rate_limited", "the source sends more than its rate", wait);
    }
    return true;
}

/* ---- the plan ---- */

static bool any_checks(const struct collector *c, const struct job *job) {
    if (!c->hooks.check) return false;
    if (!c->hooks.checks) return true;
    const struct event_source *asked = NULL;
    for (uint32_t i = 0; i < job->outcome.n; i++) {
        if (job->items[i].source == asked) continue;
        asked = job->items[i].source;
        if (c->hooks.checks(c->hooks.ctx, asked)) return true;
    }
    return false;
}

/* False: no memory to keep what check() said. */
static bool hold(struct desk_tools *t, struct collect_item *item, struct event_key key) {
    struct job *job = t->job;
    char *details = arena_try_alloc(&job->arena, t->details.n + 1);
    if (!details) return false;
    memcpy(details, t->details.p ? (const char *)t->details.p : "", t->details.n);
    item->fate = COLLECT_QUARANTINED;
    item->reason = COLLECT_REASON_PLAN;
    item->details = (struct str){details, t->details.n};
    item->key = key;
    item->repaired = false;
    job->held++;
    return true;
}

/* Asks the plan about each event of the batch, and closes the gaps of those it holds aside. */
static int check_batch(struct collector *c, struct desk_tools *t, struct keel_error *err) {
    struct job *job = t->job;
    struct batch_reader b;
    struct event_view view;
    TRY(batch_open(&b, buf_str(&job->batch), &t->arena, err));
    uint8_t *to = job->batch.p + (b.r.p - job->batch.p);
    struct collect_item *item = job->items;
    for (const uint8_t *from = b.r.p; batch_next(&b, &view, err) == 1; from = b.r.p, item++) {
        while (item->fate != COLLECT_ACCEPTED) item++;
        struct collect_event event = {
            .source = item->source, .text = item->text, .batch = &b, .view = &view};
        buf_clear(&t->details);
        if (c->hooks.check(c->hooks.ctx, &event, &t->details)) {
            size_t n = (size_t)(b.r.p - from);
            memmove(to, from, n);
            to += n;
        } else {
            if (!hold(t, item, t->past ? t->past->key : view.head.key))
                FAIL(err, NO_MEMORY, "no memory for a request");
            job->stored--;
        }
    }
    job->batch.n = job->stored ? (size_t)(to - job->batch.p) : 0;
    memcpy(job->batch.p, &job->stored, sizeof job->stored);
    return 0;
}

/* What is wrong with the request, for strict mode: [{"item":0,"reason":"…","details":[…]}]. */
static void list_violations(struct job *job, struct reading *reading) {
    struct buf b;
    const char *sep = "";
    buf_init(&b, JOB_ARENA_BYTES);
    (void)!buf_add_char(&b, '[');
    for (uint32_t i = 0; i < job->outcome.n; i++) {
        const struct collect_item *item = &job->items[i];
        if (item->fate == COLLECT_ACCEPTED) continue;
        (void)!buf_printf(&b, "%s{\"item\":%u,\"reason\":", sep, item->place);
        (void)!buf_add_json_str(&b, str_from(item->reason));
        if (item->details.n) (void)!buf_add_text(&b, ",\"details\":");
        (void)!buf_add_str(&b, item->details);
        (void)!buf_add_char(&b, '}');
        sep = ",";
    }
    (void)!buf_add_char(&b, ']');
    char *text = b.failed ? NULL : arena_try_alloc(&job->arena, b.n);
    if (text) {
        memcpy(text, b.p, b.n);
        reading->violations = (struct str){text, b.n};
    }
    buf_release(&b);
}

/* ---- all of it ---- */

static bool finish_batch(struct collector *c, struct desk_tools *t, const struct reading *reading,
                         struct refusal *why) {
    struct job *job = t->job;
    job->stored = t->writer.event_count;
    int code = batch_finish(&t->writer, &job->batch, NULL);
    if (code == 0 && job->stored && !(reading->flags & COLLECT_UNCHECKED) && any_checks(c, job))
        code = check_batch(c, t, NULL);
    if (code == 0 && job->stored) {
        job->fates = arena_try_alloc(&job->arena, job->stored);
        if (!job->fates) code = -KEEL_E_NO_MEMORY;
    }
    if (code == 0) return true;
    return turn_away(why, 503, "unavailable", "no memory for the request",
                     c->options.retry_seconds * MS_PER_SECOND);
}

static bool read_body(struct collector *c, struct desk_tools *t, struct reading *reading,
                      struct refusal *why) {
    struct job *job = t->job;
    const struct event_source *source = reading->source;
    if (!source)
        source = credentials_find(c->sources, segment_body_key(t->reader, reading->body),
                                  job->outcome.received_ms);
    job->outcome.source = source;
    if (source && !may_send(source, reading, why)) return false;
    if (source && source->ip > reading->client.ip) reading->client.ip = source->ip;
    job->outcome.client = reading->client;
    if (!read_events(c, t, reading, why)) return false;
    if (!source) {
        job->outcome.n = 0;
        return turn_away(why, 401, "invalid_write_key", "there is no source with this write key",
                         0);
    }
    if (!pay(job, reading, why) || !finish_batch(c, t, reading, why)) return false;
    if (!(reading->strict || source->strict) || job->held == 0) return true;
    list_violations(job, reading);
    return turn_away(why, 400, "violations", "strict mode: some events are not as they should be",
                     0);
}

bool collect_read(struct collector *c, struct job *job, struct reading *reading,
                  struct refusal *why) {
    struct desk_tools *t = tools_take(c);
    if (!t)
        return turn_away(why, 503, "unavailable", "no memory for the request",
                         c->options.retry_seconds * MS_PER_SECOND);
    t->job = job;
    t->collector = c;
    t->room = 0;
    t->no_memory = false;
    job->outcome.type = reading->type;
    bool taken = read_body(c, t, reading, why);
    if (!taken) { /* the writer is empty for the next one */
        struct batch_mark start = {0};
        batch_rewind(&t->writer, start);
        (void)!batch_finish(&t->writer, &job->batch, NULL);
        buf_clear(&job->batch);
        for (uint32_t i = 0; i < job->outcome.n; i++) job->items[i].fate = COLLECT_REFUSED;
    }
    tools_put(c, t);
    return taken;
}
