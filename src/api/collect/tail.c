/* Implementation of tail.h.
 *
 * A ring is a byte array that is written round and round; positions are logical offsets that only
 * grow. A record: struct record, then reason, details, JSON, filled up to 8 bytes. Each event has a
 * serial number whether it went into the ring or not, so a reader knows how many are missing
 * between two records, for whatever reason.
 *
 * A listener has a cursor (position and serial) for each ring it follows. The thread copies a
 * record out under the ring's lock, checks that it was not overtaken, and does the rest without it.
 *
 * Locks: `lock` (listeners, the table of rings) > a ring's. The thread holds `lock` while it
 * serves, for at most one round over the listeners; adding takes it only for a source's first
 * event.
 */
#include "api/collect/tail.h"

#include <pthread.h>
#include <stdatomic.h>

#include "api/collect/gist.h"
#include "api/collect/mask.h"
#include "base/hash.h"
#include "base/os.h"
#include "base/time.h"

enum { MAP_SLOTS = 4096, LINE_BYTES = 1 << 20, ROUND_RECORDS = 2000 };
_Static_assert(MAP_SLOTS >= 2 * TAIL_MAX_RINGS, "at most half full");
_Static_assert((TAIL_RING_BYTES & (TAIL_RING_BYTES - 1)) == 0, "offsets are masked");

struct record {
    uint32_t bytes; /* with this head, a multiple of 8 */
    uint32_t reason_n, details_n, json_n;
    uint64_t serial;
    int64_t at_ms;
    uint8_t fate;
    bool repaired, replayed, cut;
    int32_t type;
};

struct ring {
    pthread_mutex_t lock;
    int64_t source;
    uint64_t first, end;   /* offsets of the oldest record, and behind the newest */
    uint64_t first_serial; /* of the oldest record: what is before it is lost     */
    uint64_t next_serial;
    int64_t second; /* of the idle allowance */
    uint32_t in_second;
    _Atomic uint32_t listeners;
    uint8_t bytes[TAIL_RING_BYTES];
};

struct cursor {
    uint64_t at, serial; /* of the next record; of a ring that came later: its beginning */
};

struct listener {
    struct listener *next;
    struct reply_stream *stream;
    int64_t source;
    unsigned fates;
    char *event, *user;
    struct cursor *cursors; /* by number of the ring */
    struct buf line;        /* that found no room in the socket yet */
    bool gone;
};

struct tail {
    struct plan *plan;
    struct sources *sources;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_rwlock_t map;
    struct ring *slots[MAP_SLOTS];
    struct ring *rings[TAIL_MAX_RINGS]; /* in the order they came */
    _Atomic uint32_t ring_count;
    _Atomic uint32_t everybody; /* listeners to all sources */
    struct listener *listeners;
    uint32_t listener_count;
    bool stopping;
    pthread_t thread;
    uint8_t *scratch; /* a record, of the thread */
};

/* ---- rings ---- */

static void ring_put(struct ring *r, uint64_t at, const void *p, size_t n) {
    if (n == 0) return; /* of an empty text p may be NULL */
    size_t from = at & (TAIL_RING_BYTES - 1);
    size_t head = n < TAIL_RING_BYTES - from ? n : TAIL_RING_BYTES - from;
    memcpy(r->bytes + from, p, head);
    if (n > head) memcpy(r->bytes, (const uint8_t *)p + head, n - head);
}

static void ring_get(const struct ring *r, uint64_t at, void *p, size_t n) {
    size_t from = at & (TAIL_RING_BYTES - 1);
    size_t head = n < TAIL_RING_BYTES - from ? n : TAIL_RING_BYTES - from;
    memcpy(p, r->bytes + from, head);
    if (n > head) memcpy((uint8_t *)p + head, r->bytes, n - head);
}

static void ring_drop_oldest(struct ring *r) {
    struct record head;
    ring_get(r, r->first, &head, sizeof head);
    r->first += head.bytes;
    r->first_serial = r->next_serial;
    if (r->first == r->end) return;
    ring_get(r, r->first, &head, sizeof head);
    r->first_serial = head.serial;
}

static uint32_t at_most(size_t n, size_t most) { return (uint32_t)(n < most ? n : most); }

static void ring_add(struct ring *r, const struct tail_entry *e, int64_t at_ms, size_t most_json) {
    struct record head = {.serial = r->next_serial,
                          .at_ms = at_ms,
                          .fate = (uint8_t)e->fate,
                          .repaired = e->repaired,
                          .replayed = e->replayed,
                          .type = e->type};
    head.reason_n = at_most(e->reason.n, TAIL_MAX_TEXT);
    head.details_n = e->details.n <= TAIL_MAX_TEXT ? (uint32_t)e->details.n : 0; /* whole or not */
    head.json_n = at_most(e->json.n, most_json);
    head.cut = head.json_n < e->json.n;
    size_t text = (size_t)head.reason_n + head.details_n + head.json_n;
    head.bytes = (uint32_t)((sizeof head + text + 7) & ~(size_t)7);
    while (r->first < r->end && r->end + head.bytes - r->first > TAIL_RING_BYTES)
        ring_drop_oldest(r);
    if (r->first == r->end) r->first_serial = head.serial;
    uint64_t at = r->end;
    ring_put(r, at, &head, sizeof head);
    at += sizeof head;
    ring_put(r, at, e->reason.p, head.reason_n);
    ring_put(r, at += head.reason_n, e->details.p, head.details_n);
    ring_put(r, at + head.details_n, e->json.p, head.json_n);
    r->end += head.bytes;
    r->next_serial++;
}

static struct ring **slot_of(struct tail *t, int64_t source) {
    uint32_t i = (uint32_t)hash_mix((uint64_t)source) & (MAP_SLOTS - 1);
    while (t->slots[i] && t->slots[i]->source != source) i = (i + 1) & (MAP_SLOTS - 1);
    return &t->slots[i];
}

/* The ring of a source, made at its first event; NULL past the limit, or without memory. */
static struct ring *ring_of(struct tail *t, int64_t source) {
    pthread_rwlock_rdlock(&t->map);
    struct ring *r = *slot_of(t, source);
    pthread_rwlock_unlock(&t->map);
    if (r || atomic_load(&t->ring_count) == TAIL_MAX_RINGS) return r;
    pthread_rwlock_wrlock(&t->map);
    struct ring **slot = slot_of(t, source);
    uint32_t n = atomic_load(&t->ring_count);
    if (!*slot && n < TAIL_MAX_RINGS && (r = k_try_zalloc(sizeof *r))) {
        pthread_mutex_init(&r->lock, NULL);
        r->source = source;
        *slot = t->rings[n] = r;
        atomic_store(&t->ring_count, n + 1);
    }
    r = *slot;
    pthread_rwlock_unlock(&t->map);
    return r;
}

void tail_add(struct tail *t, int64_t source, int64_t at_ms, const struct tail_entry *entries,
              size_t n) {
    struct ring *r = ring_of(t, source);
    if (!r) return;
    bool heard = atomic_load(&t->everybody) || atomic_load(&r->listeners);
    pthread_mutex_lock(&r->lock);
    if (at_ms / MS_PER_SECOND != r->second) {
        r->second = at_ms / MS_PER_SECOND;
        r->in_second = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (heard)
            ring_add(r, &entries[i], at_ms, TAIL_MAX_JSON);
        else if (r->in_second++ < TAIL_IDLE_PER_SECOND)
            ring_add(r, &entries[i], at_ms, TAIL_IDLE_JSON);
        else
            r->next_serial++;
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- reading a ring ---- */

/* The cursor of a new listener: `history` records back from the newest. */
static void begin(struct ring *r, struct cursor *c, uint32_t history) {
    struct record head;
    uint32_t records = 0;
    pthread_mutex_lock(&r->lock);
    for (uint64_t at = r->first; at < r->end; at += head.bytes, records++)
        ring_get(r, at, &head, sizeof head);
    *c = (struct cursor){.at = r->first, .serial = r->first_serial};
    for (; records > history; records--) {
        ring_get(r, c->at, &head, sizeof head);
        c->at += head.bytes;
        c->serial = head.serial + 1;
    }
    if (c->at == r->end) c->serial = r->next_serial;
    pthread_mutex_unlock(&r->lock);
}

/* Copies the next record into the scratch, and how many events are missing before it. False: there
 * is none. */
static bool next_record(struct tail *t, struct ring *r, struct cursor *c, uint64_t *lost) {
    struct record head;
    bool found = false;
    pthread_mutex_lock(&r->lock);
    if (c->at < r->first) c->at = r->first; /* overtaken */
    if (c->at < r->end) {
        ring_get(r, c->at, &head, sizeof head);
        ring_get(r, c->at, t->scratch, head.bytes);
        *lost = head.serial - c->serial;
        c->serial = head.serial + 1;
        c->at += head.bytes;
        found = true;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* ---- lines ---- */

static void put_source(struct tail *t, struct buf *b, int64_t source) {
    const struct event_source *s = t->sources ? sources_by_id(t->sources, source) : NULL;
    (void)!buf_add_text(b, "\"source\":");
    if (s)
        (void)!buf_add_json_str(b, s->name);
    else
        (void)!buf_printf(b, "\"%lld\"", (long long)source);
}

static void put_member(struct buf *b, const char *name, struct str raw) {
    if (raw.n == 0) return;
    (void)!buf_printf(b, ",\"%s\":", name);
    (void)!mask_text(raw, b);
}

static bool wanted(const struct listener *l, const struct record *head, const struct masked *look) {
    if (l->fates && !(l->fates & 1u << head->fate)) return false;
    if (l->event && !str_is(look->event, l->event) && !str_is(look->type, l->event)) return false;
    return !l->user || str_is(look->user, l->user) || str_is(look->anonymous, l->user);
}

static void put_record(struct tail *t, const struct ring *r, const struct plan_form *form,
                       const struct masked *look, struct buf *b) {
    struct record head;
    char at[TIME_TEXT_MAX];
    memcpy(&head, t->scratch, sizeof head);
    const char *text = (const char *)t->scratch + sizeof head;
    struct str reason = {text, head.reason_n}, details = {text + head.reason_n, head.details_n};
    struct str json = {details.p + head.details_n, head.json_n};
    struct str when = {at, time_format(NULL, head.at_ms, at)};
    (void)!buf_printf(b, "id: %llu\nevent: event\ndata: {\"at\":\"%.*s\",",
                      (unsigned long long)head.serial, STR_ARG(when));
    put_source(t, b, r->source);
    (void)!buf_printf(b, ",\"fate\":\"%s\"", FATE_NAMES[head.fate]);
    if (head.repaired) (void)!buf_add_text(b, ",\"repaired\":true");
    if (head.replayed) (void)!buf_add_text(b, ",\"replayed\":true");
    put_member(b, "type", head.type >= 0 ? str_from(gist_type_text(head.type)) : look->type);
    put_member(b, "name", look->event);
    put_member(b, "user", look->user);
    put_member(b, "anonymous", look->anonymous);
    put_member(b, "message_id", look->message_id);
    if (reason.n) {
        (void)!buf_add_text(b, ",\"reason\":");
        (void)!buf_add_json_str(b, reason);
    }
    if (details.n) {
        (void)!buf_add_text(b, ",\"details\":");
        (void)!buf_add_str(b, details);
    }
    if (head.cut) (void)!buf_add_text(b, ",\"cut\":true");
    (void)!buf_add_text(b, ",\"json\":");
    (void)!mask_json(form, look, json, b);
    (void)!buf_add_text(b, "}\n\n");
}

/* False: it did not fit; the line stays for the next round. */
static bool push_line(struct listener *l) {
    if (l->line.n == 0) return true;
    int code = stream_push(l->stream, buf_str(&l->line));
    if (code == -KEEL_E_LIMIT) return false;
    if (code < 0) l->gone = true;
    buf_clear(&l->line);
    return !l->gone;
}

/* Hands a ring's news to a listener until there is none, or the socket is full. */
static void serve_ring(struct tail *t, struct listener *l, uint32_t number,
                       const struct plan_form *form) {
    struct ring *r = t->rings[number];
    uint64_t lost;
    for (int i = 0; i < ROUND_RECORDS && push_line(l); i++) {
        if (!next_record(t, r, &l->cursors[number], &lost)) return;
        struct record head;
        memcpy(&head, t->scratch, sizeof head);
        struct str json = {(const char *)t->scratch + sizeof head + head.reason_n + head.details_n,
                           head.json_n};
        struct masked look = mask_look(json);
        if (lost) {
            (void)!buf_add_text(&l->line, "event: lost\ndata: {");
            put_source(t, &l->line, r->source);
            (void)!buf_printf(&l->line, ",\"lost\":%llu}\n\n", (unsigned long long)lost);
        }
        if (wanted(l, &head, &look)) put_record(t, r, form, &look, &l->line);
        if (l->line.failed) buf_clear(&l->line); /* cannot be: a record is far smaller */
    }
}

static void serve(struct tail *t, struct listener *l, const struct plan_form *form) {
    uint32_t n = atomic_load(&t->ring_count);
    if (!push_line(l)) return;
    for (uint32_t i = 0; i < n && !l->gone; i++)
        if (l->source == -1 || t->rings[i]->source == l->source) serve_ring(t, l, i, form);
}

static void listener_free(struct tail *t, struct listener *l) {
    if (l->source == -1)
        atomic_fetch_sub(&t->everybody, 1);
    else {
        struct ring *r = ring_of(t, l->source);
        if (r) atomic_fetch_sub(&r->listeners, 1);
    }
    stream_close(l->stream);
    buf_release(&l->line);
    k_free(l->event);
    k_free(l->user);
    k_free(l->cursors);
    k_free(l);
}

/* A client that left is noticed by writing only: a comment now and then. The server does that. */
static void *run(void *ctx) {
    struct tail *t = ctx;
    pthread_mutex_lock(&t->lock);
    while (!t->stopping) {
        if (!t->listeners) {
            pthread_cond_wait(&t->wake, &t->lock);
            continue;
        }
        const struct plan_form *form = plan_take(t->plan);
        for (struct listener **at = &t->listeners; *at;) {
            struct listener *l = *at;
            serve(t, l, form);
            if (!l->gone) {
                at = &l->next;
                continue;
            }
            *at = l->next;
            t->listener_count--;
            listener_free(t, l);
        }
        plan_drop(form);
        int64_t until_us = now_us() + TAIL_PAUSE_MS * INT64_C(1000);
        struct timespec until = {until_us / 1000000, until_us % 1000000 * 1000};
        pthread_cond_timedwait(&t->wake, &t->lock, &until);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- life ---- */

int tail_open(struct plan *plan, struct sources *sources, struct tail **out,
              struct keel_error *err) {
    struct tail *t = k_zalloc(sizeof *t);
    t->plan = plan;
    t->sources = sources;
    t->scratch = k_alloc(sizeof(struct record) + TAIL_MAX_JSON + 2 * TAIL_MAX_TEXT + 8);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_rwlock_init(&t->map, NULL);
    int failed = pthread_create(&t->thread, NULL, run, t);
    if (failed) {
        t->stopping = true;
        tail_close(t);
        return error_errno(err, failed, "cannot start the thread of the live tail");
    }
    *out = t;
    return 0;
}

void tail_close(struct tail *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    bool running = !t->stopping;
    t->stopping = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (running) pthread_join(t->thread, NULL);
    while (t->listeners) {
        struct listener *l = t->listeners;
        t->listeners = l->next;
        listener_free(t, l);
    }
    for (uint32_t i = 0; i < atomic_load(&t->ring_count); i++) {
        pthread_mutex_destroy(&t->rings[i]->lock);
        k_free(t->rings[i]);
    }
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    pthread_rwlock_destroy(&t->map);
    k_free(t->scratch);
    k_free(t);
}

int tail_listen(struct tail *t, const struct tail_filter *filter, struct reply_stream *stream,
                struct keel_error *err) {
    struct listener *l = k_zalloc(sizeof *l);
    l->stream = stream;
    l->source = filter->source;
    l->fates = filter->fates;
    l->event = filter->event ? k_strdup(filter->event) : NULL;
    l->user = filter->user ? k_strdup(filter->user) : NULL;
    l->cursors = k_zalloc(TAIL_MAX_RINGS * sizeof *l->cursors);
    buf_init(&l->line, LINE_BYTES);
    struct ring *r = l->source == -1 ? NULL : ring_of(t, l->source);
    pthread_mutex_lock(&t->lock);
    bool full = t->listener_count == TAIL_MAX_LISTENERS || t->stopping;
    if (!full) {
        if (l->source == -1)
            atomic_fetch_add(&t->everybody, 1);
        else if (r)
            atomic_fetch_add(&r->listeners, 1);
        for (uint32_t i = 0; i < atomic_load(&t->ring_count); i++)
            begin(t->rings[i], &l->cursors[i], filter->history);
        l->next = t->listeners;
        t->listeners = l;
        t->listener_count++;
        pthread_cond_signal(&t->wake);
    }
    pthread_mutex_unlock(&t->lock);
    if (!full) return 0;
    buf_release(&l->line);
    k_free(l->event);
    k_free(l->user);
    k_free(l->cursors);
    k_free(l);
    FAIL(err, BUSY, "%d others follow events already; close one", TAIL_MAX_LISTENERS);
}
