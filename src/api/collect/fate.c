/* Implementation of fate.h.
 *
 * A source has two short lists of (kind, reason, count): its sums since the start, and what is not
 * yet saved, by hour. Most events are accepted, so the first entry is mostly the one that is wanted
 * and a list costs less than a table. Minutes are a ring of counts by kind.
 *
 * Locks, in this order: `saving` > `map` (which sources there are; for writing only when a new one
 * comes) > the source's > `reasons`. None is held while the disk works but `saving`.
 */
#include "api/collect/fate.h"

#include <pthread.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/os.h"
#include "base/time.h"

enum { MAP_SLOTS = 32768 };
_Static_assert(MAP_SLOTS >= 2 * FATE_MAX_SOURCES, "at most half full");

const char *const FATE_NAMES[FATE_KINDS] = {
#define FATE_NAME(name, text) text,
    FATES(FATE_NAME)
#undef FATE_NAME
};

struct tally {
    int32_t hour; /* since 1970; of sums 0 */
    uint16_t reason;
    uint8_t kind;
    uint64_t n;
};

struct tallies {
    struct tally *p;
    uint32_t n, capacity;
};

struct minute {
    int64_t minute; /* since 1970; 0: never used */
    uint64_t of[FATE_KINDS];
};

struct counted {
    pthread_mutex_t lock;
    int64_t source;
    struct tallies sums, unsaved;
    struct minute minutes[FATE_MINUTES];
};

struct fate {
    struct sql *desk;
    struct sources *sources;
    pthread_mutex_t saving;
    pthread_rwlock_t map;
    struct counted *slots[MAP_SLOTS];
    struct counted *others; /* source 0, and what found no room */
    uint32_t count;
    pthread_mutex_t reasons_lock;
    char reasons[FATE_MAX_REASONS][FATE_MAX_REASON + 1];
    uint32_t reason_count;
};

static const char *const STEPS[] = {
    "CREATE TABLE fate_hour("
    " source INTEGER NOT NULL, hour INTEGER NOT NULL, fate TEXT NOT NULL, reason TEXT NOT NULL,"
    " n INTEGER NOT NULL, PRIMARY KEY(source, hour, fate, reason)) WITHOUT ROWID;"
    "CREATE INDEX fate_hour_by_hour ON fate_hour(hour)",
};

/* ---- lists ---- */

static void tally_add(struct tallies *t, int32_t hour, enum fate_kind kind, uint16_t reason,
                      uint64_t n) {
    for (uint32_t i = 0; i < t->n; i++) {
        struct tally *entry = &t->p[i];
        if (entry->hour != hour || entry->kind != kind || entry->reason != reason) continue;
        entry->n += n;
        return;
    }
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 8;
        t->p = k_realloc(t->p, t->capacity * sizeof *t->p);
    }
    t->p[t->n++] = (struct tally){.hour = hour, .reason = reason, .kind = (uint8_t)kind, .n = n};
}

/* Numbers of reasons: 0 is "", the last "other". */
static uint16_t reason_number(struct fate *f, struct str text) {
    if (text.n == 0) return 0;
    if (text.n > FATE_MAX_REASON) text.n = FATE_MAX_REASON;
    pthread_mutex_lock(&f->reasons_lock);
    uint32_t i = 1;
    while (i < f->reason_count && !str_is(text, f->reasons[i])) i++;
    if (i == f->reason_count && i < FATE_MAX_REASONS - 1) {
        memcpy(f->reasons[i], text.p, text.n);
        f->reason_count++;
    }
    pthread_mutex_unlock(&f->reasons_lock);
    return (uint16_t)(i < FATE_MAX_REASONS - 1 ? i : FATE_MAX_REASONS - 1);
}

/* Texts are written once, before their number is known to anybody. */
static const char *reason_text(const struct fate *f, uint16_t number) { return f->reasons[number]; }

/* ---- sources ---- */

static struct counted *counted_new(int64_t source) {
    struct counted *c = k_zalloc(sizeof *c);
    pthread_mutex_init(&c->lock, NULL);
    c->source = source;
    return c;
}

static struct counted **slot_of(struct fate *f, int64_t source) {
    uint32_t i = (uint32_t)hash_mix((uint64_t)source) & (MAP_SLOTS - 1);
    while (f->slots[i] && f->slots[i]->source != source) i = (i + 1) & (MAP_SLOTS - 1);
    return &f->slots[i];
}

/* The counts of a source, made when it is first seen; never NULL. */
static struct counted *counted_of(struct fate *f, int64_t source) {
    if (source == 0) return f->others;
    pthread_rwlock_rdlock(&f->map);
    struct counted *c = *slot_of(f, source);
    bool full = f->count == FATE_MAX_SOURCES;
    pthread_rwlock_unlock(&f->map);
    if (c) return c;
    if (full) return f->others;
    pthread_rwlock_wrlock(&f->map);
    struct counted **slot = slot_of(f, source);
    if (!*slot && f->count < FATE_MAX_SOURCES) {
        *slot = counted_new(source);
        f->count++;
    }
    c = *slot ? *slot : f->others;
    pthread_rwlock_unlock(&f->map);
    return c;
}

/* Calls each(ctx, counted) for all sources; new ones may appear meanwhile. */
static void each_counted(struct fate *f, void (*each)(void *ctx, struct counted *c), void *ctx) {
    each(ctx, f->others);
    for (uint32_t i = 0; i < MAP_SLOTS; i++) {
        pthread_rwlock_rdlock(&f->map);
        struct counted *c = f->slots[i];
        pthread_rwlock_unlock(&f->map);
        if (c) each(ctx, c);
    }
}

/* ---- adding ---- */

static void add_one(struct counted *c, int64_t now_ms, enum fate_kind kind, uint16_t reason,
                    uint64_t n) {
    int64_t minute = now_ms / MS_PER_MINUTE;
    struct minute *m = &c->minutes[minute % FATE_MINUTES];
    if (n == 0) return;
    if (m->minute < minute) *m = (struct minute){.minute = minute};
    if (m->minute == minute) m->of[kind] += n; /* else the clock was set back: hours have it */
    tally_add(&c->sums, 0, kind, reason, n);
    tally_add(&c->unsaved, (int32_t)(now_ms / MS_PER_HOUR), kind, reason, n);
}

void fate_add(struct fate *f, int64_t source, uint64_t received, const struct fate_part *parts,
              size_t n, int64_t now_ms) {
    enum { AT_ONCE = 64 };
    uint16_t reasons[AT_ONCE];
    uint64_t told = 0;
    K_ASSERT_OP(n, <=, AT_ONCE);
    for (size_t i = 0; i < n; i++) reasons[i] = reason_number(f, parts[i].reason);
    struct counted *c = counted_of(f, source);
    pthread_mutex_lock(&c->lock);
    add_one(c, now_ms, FATE_RECEIVED, 0, received);
    for (size_t i = 0; i < n; i++) {
        add_one(c, now_ms, parts[i].kind, reasons[i], parts[i].n);
        if (parts[i].kind <= FATE_REFUSED) told += parts[i].n;
    }
    uint64_t gap = told > received ? told - received : received - told;
    add_one(c, now_ms, FATE_UNACCOUNTED, 0, gap);
    pthread_mutex_unlock(&c->lock);
}

static void add_apart(struct fate *f, int64_t source, enum fate_kind kind, struct str reason,
                      uint64_t n, int64_t now_ms) {
    uint16_t number = reason_number(f, reason);
    struct counted *c = counted_of(f, source);
    pthread_mutex_lock(&c->lock);
    add_one(c, now_ms, kind, number, n);
    pthread_mutex_unlock(&c->lock);
}

void fate_turned_away(struct fate *f, int64_t source, struct str reason, int64_t now_ms) {
    add_apart(f, source, FATE_TURNED_AWAY, reason, 1, now_ms);
}

void fate_replayed(struct fate *f, int64_t source, enum fate_kind outcome, uint64_t n,
                   int64_t now_ms) {
    add_apart(f, source, FATE_REPLAYED, str_from(FATE_NAMES[outcome]), n, now_ms);
}

void fate_total(struct fate *f, int64_t source, struct fate_totals *out) {
    struct counted *c = counted_of(f, source);
    *out = (struct fate_totals){0};
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 0; i < c->sums.n; i++) out->of[c->sums.p[i].kind] += c->sums.p[i].n;
    pthread_mutex_unlock(&c->lock);
}

/* ---- saving ---- */

struct saving {
    struct fate *f;
    struct keel_error *err;
    int code;
    struct taken { /* what was unsaved when the transaction began */
        struct counted *c;
        struct tallies t;
    } * taken;
    uint32_t count, capacity;
};

static void take_unsaved(void *ctx, struct counted *c) {
    struct saving *s = ctx;
    pthread_mutex_lock(&c->lock);
    struct tallies t = c->unsaved;
    c->unsaved = (struct tallies){0};
    pthread_mutex_unlock(&c->lock);
    if (t.n == 0) {
        k_free(t.p);
        return;
    }
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 16;
        s->taken = k_realloc(s->taken, s->capacity * sizeof *s->taken);
    }
    s->taken[s->count++] = (struct taken){c, t};
}

static int write_taken(const struct saving *s, int64_t now_ms) {
    struct sql *desk = s->f->desk;
    int64_t oldest = now_ms / MS_PER_HOUR - FATE_KEEP_DAYS * 24;
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t k = 0; k < s->taken[i].t.n; k++) {
            const struct tally *t = &s->taken[i].t.p[k];
            TRY(sql_run(desk, s->err,
                        "INSERT INTO fate_hour(source, hour, fate, reason, n) VALUES(?, ?, ?, ?, ?)"
                        " ON CONFLICT(source, hour, fate, reason) DO UPDATE SET n = n + excluded.n",
                        "iizzi", s->taken[i].c->source, (int64_t)t->hour, FATE_NAMES[t->kind],
                        reason_text(s->f, t->reason), (int64_t)t->n));
        }
    return sql_run(desk, s->err, "DELETE FROM fate_hour WHERE hour < ?", "i", oldest);
}

int fate_save(struct fate *f, int64_t now_ms, struct keel_error *err) {
    struct saving s = {.f = f, .err = err};
    pthread_mutex_lock(&f->saving);
    each_counted(f, take_unsaved, &s);
    int code = s.count ? sql_begin(f->desk, err) : 0;
    if (s.count && code == 0) code = sql_end(f->desk, write_taken(&s, now_ms), err);
    for (uint32_t i = 0; i < s.count; i++) {
        struct taken *t = &s.taken[i];
        if (code < 0) {
            pthread_mutex_lock(&t->c->lock);
            for (uint32_t k = 0; k < t->t.n; k++)
                tally_add(&t->c->unsaved, t->t.p[k].hour, t->t.p[k].kind, t->t.p[k].reason,
                          t->t.p[k].n);
            pthread_mutex_unlock(&t->c->lock);
        }
        k_free(t->t.p);
    }
    k_free(s.taken);
    pthread_mutex_unlock(&f->saving);
    return code;
}

/* ---- open, close ---- */

int fate_open(struct sql *desk, struct sources *sources, struct fate **out,
              struct keel_error *err) {
    TRY(sql_migrate(desk, "fate", STEPS, sizeof STEPS / sizeof *STEPS, err));
    struct fate *f = k_zalloc(sizeof *f);
    f->desk = desk;
    f->sources = sources;
    pthread_mutex_init(&f->saving, NULL);
    pthread_rwlock_init(&f->map, NULL);
    pthread_mutex_init(&f->reasons_lock, NULL);
    f->others = counted_new(0);
    f->reason_count = 1;
    memcpy(f->reasons[FATE_MAX_REASONS - 1], "other", sizeof "other");
    *out = f;
    return 0;
}

static void counted_free(struct counted *c) {
    if (!c) return;
    pthread_mutex_destroy(&c->lock);
    k_free(c->sums.p);
    k_free(c->unsaved.p);
    k_free(c);
}

int fate_close(struct fate *f, struct keel_error *err) {
    if (!f) return 0;
    int code = fate_save(f, now_ms(), err);
    for (uint32_t i = 0; i < MAP_SLOTS; i++) counted_free(f->slots[i]);
    counted_free(f->others);
    pthread_mutex_destroy(&f->saving);
    pthread_rwlock_destroy(&f->map);
    pthread_mutex_destroy(&f->reasons_lock);
    k_free(f);
    return code;
}

/* ---- answers ---- */

struct point {
    int64_t at_ms;
    uint64_t of[FATE_KINDS];
};

struct by_reason {
    enum fate_kind kind;
    char text[FATE_MAX_REASON + 1];
    uint64_t n;
};

struct answer {
    struct fate *f;
    const struct fate_ask *ask;
    struct point *points; /* by time */
    uint32_t point_count, point_capacity;
    struct by_reason *reasons;
    uint32_t reason_count, reason_capacity;
    uint64_t total[FATE_KINDS];
    bool too_many;
};

static struct point *point_at(struct answer *a, int64_t at_ms) {
    uint32_t low = 0, high = a->point_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (a->points[middle].at_ms < at_ms)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < a->point_count && a->points[low].at_ms == at_ms) return &a->points[low];
    if (a->point_count == FATE_MAX_POINTS) {
        a->too_many = true;
        return NULL;
    }
    if (a->point_count == a->point_capacity) {
        a->point_capacity = a->point_capacity ? a->point_capacity * 2 : 64;
        a->points = k_realloc(a->points, a->point_capacity * sizeof *a->points);
    }
    memmove(&a->points[low + 1], &a->points[low], (a->point_count - low) * sizeof *a->points);
    a->point_count++;
    a->points[low] = (struct point){.at_ms = at_ms};
    return &a->points[low];
}

static void answer_add(struct answer *a, int64_t at_ms, enum fate_kind kind, uint64_t n) {
    if (n == 0 || at_ms < a->ask->from_ms || at_ms >= a->ask->to_ms) return;
    struct point *p = point_at(a, at_ms);
    if (p) p->of[kind] += n;
    a->total[kind] += n;
}

static void answer_reason(struct answer *a, enum fate_kind kind, struct str text, uint64_t n) {
    uint32_t i = 0;
    if (text.n == 0 || text.n > FATE_MAX_REASON) return;
    while (i < a->reason_count && (a->reasons[i].kind != kind || !str_is(text, a->reasons[i].text)))
        i++;
    if (i == a->reason_count) {
        if (i == a->reason_capacity) {
            a->reason_capacity = i ? i * 2 : 16;
            a->reasons = k_realloc(a->reasons, a->reason_capacity * sizeof *a->reasons);
        }
        a->reasons[a->reason_count++] = (struct by_reason){.kind = kind};
        memcpy(a->reasons[i].text, text.p, text.n);
    }
    a->reasons[i].n += n;
}

static int kind_named(struct str text) {
    for (int i = 0; i < FATE_KINDS; i++)
        if (str_is(text, FATE_NAMES[i])) return i;
    return -1;
}

static int answer_saved(struct answer *a, struct keel_error *err) {
    struct sql_rows rows;
    int code;
    TRY(sql_ask(a->f->desk, &rows, err,
                "SELECT hour, fate, reason, sum(n) FROM fate_hour WHERE (?1 = -1 OR source = ?1)"
                " AND hour >= ?2 AND hour < ?3 GROUP BY hour, fate, reason",
                "iii", a->ask->source, (a->ask->from_ms + MS_PER_HOUR - 1) / MS_PER_HOUR,
                (a->ask->to_ms + MS_PER_HOUR - 1) / MS_PER_HOUR));
    while ((code = sql_next(&rows, err)) == 1) {
        int kind = kind_named(sql_str(&rows, 1));
        if (kind < 0) continue; /* of a newer keel */
        uint64_t n = (uint64_t)sql_i64(&rows, 3);
        answer_add(a, sql_i64(&rows, 0) * MS_PER_HOUR, (enum fate_kind)kind, n);
        answer_reason(a, (enum fate_kind)kind, sql_str(&rows, 2), n);
    }
    sql_done(&rows);
    return code;
}

static void answer_unsaved(void *ctx, struct counted *c) {
    struct answer *a = ctx;
    if (a->ask->source != -1 && a->ask->source != c->source) return;
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 0; i < c->unsaved.n; i++) {
        const struct tally *t = &c->unsaved.p[i];
        int64_t at_ms = t->hour * (int64_t)MS_PER_HOUR;
        answer_add(a, at_ms, t->kind, t->n);
        if (at_ms >= a->ask->from_ms && at_ms < a->ask->to_ms)
            answer_reason(a, t->kind, str_from(reason_text(a->f, t->reason)), t->n);
    }
    pthread_mutex_unlock(&c->lock);
}

static void answer_minutes(void *ctx, struct counted *c) {
    struct answer *a = ctx;
    if (a->ask->source != -1 && a->ask->source != c->source) return;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < FATE_MINUTES; i++)
        for (int kind = 0; kind < FATE_KINDS; kind++)
            answer_add(a, c->minutes[i].minute * MS_PER_MINUTE, (enum fate_kind)kind,
                       c->minutes[i].of[kind]);
    pthread_mutex_unlock(&c->lock);
}

static void json_counts(struct buf *out, const uint64_t *of) {
    for (int i = 0; i < FATE_KINDS; i++)
        (void)!buf_printf(out, ",\"%s\":%llu", FATE_NAMES[i], (unsigned long long)of[i]);
}

static void json_answer(const struct answer *a, struct buf *out) {
    char from[TIME_TEXT_MAX], to[TIME_TEXT_MAX];
    struct str from_text = {from, time_format(NULL, a->ask->from_ms, from)};
    struct str to_text = {to, time_format(NULL, a->ask->to_ms, to)};
    (void)!buf_printf(out, "{\"source\":");
    if (a->ask->source == -1)
        (void)!buf_add_text(out, "null");
    else
        (void)!buf_printf(out, "%lld", (long long)a->ask->source);
    (void)!buf_printf(out, ",\"step\":\"%s\",\"from\":\"%.*s\",\"to\":\"%.*s\",\"total\":{",
                      a->ask->minutes ? "minute" : "hour", STR_ARG(from_text), STR_ARG(to_text));
    for (int i = 0; i < FATE_KINDS; i++)
        (void)!buf_printf(out, "%s\"%s\":%llu", i ? "," : "", FATE_NAMES[i],
                          (unsigned long long)a->total[i]);
    (void)!buf_add_text(out, "},\"reasons\":[");
    for (uint32_t i = 0; i < a->reason_count; i++) {
        (void)!buf_printf(out, "%s{\"fate\":\"%s\",\"reason\":", i ? "," : "",
                          FATE_NAMES[a->reasons[i].kind]);
        (void)!buf_add_json_str(out, str_from(a->reasons[i].text));
        (void)!buf_printf(out, ",\"count\":%llu}", (unsigned long long)a->reasons[i].n);
    }
    (void)!buf_add_text(out, "],\"points\":[");
    for (uint32_t i = 0; i < a->point_count; i++) {
        struct str at = {from, time_format(NULL, a->points[i].at_ms, from)};
        (void)!buf_printf(out, "%s{\"at\":\"%.*s\"", i ? "," : "", STR_ARG(at));
        json_counts(out, a->points[i].of);
        (void)!buf_add_char(out, '}');
    }
    (void)!buf_add_text(out, "]}\n");
}

int fate_json(struct fate *f, const struct fate_ask *ask, struct buf *out, struct keel_error *err) {
    struct answer a = {.f = f, .ask = ask};
    int code = 0;
    if (ask->minutes) {
        each_counted(f, answer_minutes, &a);
    } else {
        pthread_mutex_lock(&f->saving); /* so that no hour is between here and there */
        code = answer_saved(&a, err);
        if (code == 0) each_counted(f, answer_unsaved, &a);
        pthread_mutex_unlock(&f->saving);
    }
    if (code == 0 && a.too_many)
        code = error_set(err, KEEL_E_LIMIT, "more than %d points: ask for a shorter time",
                         FATE_MAX_POINTS);
    if (code == 0) json_answer(&a, out);
    if (code == 0 && out->failed)
        code = error_set(err, (enum keel_code) - out->failed, "no room for the answer");
    k_free(a.points);
    k_free(a.reasons);
    return code;
}

/* ---- metrics ---- */

struct metrics_of {
    struct fate *f;
    struct metric_text *text;
    bool reasons;
};

static void metric_counts(void *ctx, struct counted *c) {
    struct metrics_of *m = ctx;
    uint64_t of[FATE_KINDS] = {0};
    char source[SOURCE_MAX_NAME + 1];
    const struct event_source *known =
        m->f->sources ? sources_by_id(m->f->sources, c->source) : NULL;
    if (known)
        snprintf(source, sizeof source, "%.*s", STR_ARG(known->name));
    else if (c->source == 0)
        snprintf(source, sizeof source, "(unknown)");
    else
        snprintf(source, sizeof source, "%lld", (long long)c->source);
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 0; i < c->sums.n; i++) {
        const struct tally *t = &c->sums.p[i];
        of[t->kind] += t->n;
        if (m->reasons && t->reason)
            metric(m->text, METRIC_COUNTER, "keel_events_by_reason_total",
                   "Events by what became of them and why", (double)t->n, "source", source, "fate",
                   FATE_NAMES[t->kind], "reason", reason_text(m->f, t->reason), (const char *)NULL);
    }
    bool any = c->sums.n > 0;
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; any && !m->reasons && i < FATE_KINDS; i++)
        metric(m->text, METRIC_COUNTER, "keel_events_total", "Events by what became of them",
               (double)of[i], "source", source, "fate", FATE_NAMES[i], (const char *)NULL);
}

void fate_metrics(void *fate, struct metric_text *text) {
    struct metrics_of m = {.f = fate, .text = text};
    each_counted(fate, metric_counts, &m);
    m.reasons = true;
    each_counted(fate, metric_counts, &m);
}
