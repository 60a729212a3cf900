/* Implementation of kpi/history.h. */
#include "desk/kpi/history.h"

#include <math.h>

#include "base/time.h"

enum { DEFINITIONS_MOST = 8 }; /* of then, computed again for one answer */

struct series {
    struct kpi_run *run;
    struct sql *desk;
    const struct kpi_set *set;
    const struct kpi *kpi;
    int which; /* its place in the set */
    enum kpi_grain grain;
    int32_t start;
    uint32_t n, back; /* periods; how many of the first are there for bands only */
    struct kpi_point *points;
    struct arena *arena;
};

int kpi_usual_periods(enum kpi_grain grain) { return grain == KPI_DAY ? 35 : 13; }

static int32_t day_of(const struct series *s, uint32_t i) {
    return kpi_period_add(s->grain, s->start, (int)i);
}

static int64_t end_ms(const struct series *s, uint32_t i) {
    return time_day_start(kpi_run_zone(s->run), day_of(s, i + 1));
}

/* ---- desk.db ---- */

static void read_point(const struct sql_rows *rows, struct kpi_point *p) {
    struct str hash = sql_str(rows, 7);
    p->stored = true;
    p->computed_ms = sql_i64(rows, 1);
    p->checked_ms = sql_i64(rows, 2);
    p->asked_ms = sql_i64(rows, 3);
    p->value = sql_is_null(rows, 4) ? NAN : sql_f64(rows, 4);
    p->complete = sql_i64(rows, 5) != 0;
    p->version = sql_i64(rows, 6);
    size_t n = hash.n < KPI_HASH_TEXT ? hash.n : KPI_HASH_TEXT - 1;
    memcpy(p->query_hash, hash.p, n);
    p->query_hash[n] = 0;
    p->events = sql_i64(rows, 8);
    p->merges = (struct kpi_merges){sql_i64(rows, 9), sql_i64(rows, 10)};
    p->fewest = sql_is_null(rows, 11) ? 0 : sql_f64(rows, 11);
}

int kpi_stored(struct sql *desk, const struct kpi *k, enum kpi_grain grain, int32_t start,
               uint32_t n, int64_t as_of_ms, struct kpi_point *out, struct keel_error *err) {
    struct sql_rows rows;
    uint32_t i = 0;
    int code;
    for (uint32_t p = 0; p < n; p++)
        out[p] = (struct kpi_point){.day = kpi_period_add(grain, start, (int)p),
                                    .value = NAN,
                                    .band = {NAN, NAN, NAN},
                                    .now = NAN,
                                    .from_definition = NAN,
                                    .from_data = NAN};
    TRY(sql_ask(desk, &rows, err,
                "SELECT day, computed_ms, checked_ms, asked_ms, value, complete, version,"
                " query_hash, events, merged, merge_mark, fewest FROM kpi_value v"
                " WHERE id = ? AND grain = ? AND day >= ? AND day < ? AND computed_ms ="
                "  (SELECT max(computed_ms) FROM kpi_value w WHERE w.id = v.id AND"
                "   w.grain = v.grain AND w.day = v.day AND w.computed_ms <= ?) ORDER BY day",
                "siiii", k->id, (int64_t)grain, (int64_t)start,
                (int64_t)kpi_period_add(grain, start, (int)n), as_of_ms));
    while ((code = sql_next(&rows, err)) == 1) {
        while (i < n && out[i].day < sql_i64(&rows, 0)) i++;
        if (i < n && out[i].day == sql_i64(&rows, 0)) read_point(&rows, &out[i]);
    }
    sql_done(&rows);
    return code;
}

/* A value as a column: NULL is unknown. */
static int note_new(struct sql *desk, const struct kpi *k, enum kpi_grain grain,
                    const struct kpi_point *p, struct keel_error *err) {
    TRY(sql_run(desk, err,
                "INSERT OR REPLACE INTO kpi_value(id, grain, day, computed_ms, checked_ms,"
                " asked_ms, value, complete, version, query_hash, events, merged, merge_mark,"
                " fewest) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "siiiiidiiziiid", k->id, (int64_t)grain, (int64_t)p->day, p->computed_ms,
                p->checked_ms, p->asked_ms, isnan(p->value) ? 0.0 : p->value, (int64_t)p->complete,
                p->version, p->query_hash, p->events, p->merges.merged, p->merges.mark, p->fewest));
    if (!isnan(p->value)) return 0;
    return sql_run(desk, err,
                   "UPDATE kpi_value SET value = NULL WHERE id = ? AND grain = ? AND day = ? AND"
                   " computed_ms = ?",
                   "siii", k->id, (int64_t)grain, (int64_t)p->day, p->computed_ms);
}

static int note_same(struct sql *desk, const struct kpi *k, enum kpi_grain grain,
                     const struct kpi_point *p, struct keel_error *err) {
    return sql_run(desk, err,
                   "UPDATE kpi_value SET checked_ms = ?, asked_ms = ?, version = ?, events = ?,"
                   " merged = ?, merge_mark = ?, fewest = ? WHERE id = ? AND grain = ? AND day = ?"
                   " AND computed_ms = ?",
                   "iiiiiidsiii", p->checked_ms, p->asked_ms, p->version, p->events,
                   p->merges.merged, p->merges.mark, p->fewest, k->id, (int64_t)grain,
                   (int64_t)p->day, p->computed_ms);
}

int kpi_history_thin(struct sql *desk, int64_t now_ms, struct keel_error *err) {
    return sql_run(desk, err,
                   "DELETE FROM kpi_value WHERE complete = 0 AND computed_ms < ? AND EXISTS"
                   " (SELECT 1 FROM kpi_value n WHERE n.id = kpi_value.id AND"
                   "  n.grain = kpi_value.grain AND n.day = kpi_value.day AND"
                   "  n.computed_ms > kpi_value.computed_ms AND"
                   "  n.computed_ms / 86400000 = kpi_value.computed_ms / 86400000)",
                   "i", now_ms - KPI_KEEP_DAYS * (int64_t)MS_PER_DAY);
}

/* ---- values as they are ---- */

static bool is_stale(const struct series *s, uint32_t i, bool cheap) {
    const struct kpi_point *p = &s->points[i];
    int64_t now = kpi_run_now(s->run), fresh = KPI_FRESH_MS;
    if (!p->stored || strcmp(p->query_hash, s->kpi->query_hash) != 0) return true;
    if (!p->complete && end_ms(s, i) <= now) return true;
    if (!cheap && end_ms(s, i) < now - KPI_SETTLED_DAYS * (int64_t)MS_PER_DAY) fresh = MS_PER_DAY;
    return now - p->checked_ms >= fresh || p->checked_ms > now; /* the clock was set back */
}

/* Takes a value that was just computed over into points[i], and into desk.db. */
static int note(struct series *s, uint32_t i, double value, double fewest, int64_t events,
                struct keel_error *err) {
    struct kpi_point *p = &s->points[i];
    int64_t now = kpi_run_now(s->run);
    bool complete = end_ms(s, i) <= now;
    bool same = p->stored && strcmp(p->query_hash, s->kpi->query_hash) == 0 &&
                p->complete == complete && (p->value == value || (isnan(p->value) && isnan(value)));
    if (!p->stored && isnan(value)) return 0; /* as if nobody had asked */
    if (!same) p->computed_ms = p->stored && p->computed_ms >= now ? p->computed_ms + 1 : now;
    p->stored = true;
    p->value = value;
    p->fewest = isnan(fewest) ? KPI_NO_CUSTOMERS : fewest;
    p->complete = complete;
    p->checked_ms = now;
    p->asked_ms = kpi_run_asked_ms(s->run, s->set, s->which, day_of(s, i + 1));
    p->version = s->kpi->version;
    memcpy(p->query_hash, s->kpi->query_hash, sizeof p->query_hash);
    p->events = events;
    p->merges = kpi_run_merges(s->run);
    return same ? note_same(s->desk, s->kpi, s->grain, p, err)
                : note_new(s->desk, s->kpi, s->grain, p, err);
}

/* Computes and keeps n periods from the i-th on. */
static int renew(struct series *s, uint32_t i, uint32_t n, struct keel_error *err) {
    double *values = arena_alloc(s->arena, (n + 1) * sizeof *values);
    double *fewest = arena_alloc(s->arena, (n + 1) * sizeof *fewest);
    int64_t *events = arena_alloc(s->arena, (n + 1) * sizeof *events);
    TRY(kpi_run_periods(s->run, s->set, s->which, s->grain, day_of(s, i), n, values, err));
    TRY(kpi_run_fewest(s->run, s->set, s->which, s->grain, day_of(s, i), n, fewest, err));
    TRY(kpi_run_events(s->run, s->grain, day_of(s, i), n, events, err));
    TRY(sql_begin(s->desk, err));
    int code = 0;
    for (uint32_t k = 0; k < n && code == 0; k++)
        code = note(s, i + k, isfinite(values[k]) ? values[k] : NAN, fewest[k], events[k], err);
    return sql_end(s->desk, code, err);
}

static int renew_one_by_one(struct series *s, const bool *stale, struct keel_error *err) {
    uint32_t asks = 0;
    for (uint32_t i = s->back; i < s->n; i++) asks += stale[i];
    if (asks > KPI_RUN_ASKS)
        FAIL(err, LIMIT,
             "\"%.*s\" is asked once a period, at most %d at a time, and %u are not known yet: "
             "choose a shorter range or a coarser grain",
             STR_ARG(s->kpi->id), KPI_RUN_ASKS, asks);
    for (uint32_t i = s->back; i < s->n;) {
        uint32_t n = 0;
        while (i + n < s->n && stale[i + n]) n++;
        if (n) TRY(renew(s, i, n, err));
        i += n + 1;
    }
    return 0;
}

/* Periods that are there for bands only are computed where that costs nothing more. */
static int renew_stale(struct series *s, bool refresh, struct keel_error *err) {
    bool cheap = kpi_run_is_cheap(s->set, s->which);
    bool *stale = arena_zalloc(s->arena, s->n + 1);
    uint32_t first = s->n, last = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        if (time_day_start(kpi_run_zone(s->run), day_of(s, i)) >= kpi_run_now(s->run)) break;
        stale[i] = (refresh && i >= s->back) || is_stale(s, i, cheap);
        if (!stale[i]) continue;
        if (first == s->n) first = i;
        last = i;
    }
    if (!cheap) return renew_one_by_one(s, stale, err);
    return first == s->n ? 0 : renew(s, first, last - first + 1, err);
}

/* ---- bands ---- */

static void set_bands(struct series *s, double hide_below) {
    double back[KPI_BAND_MOST];
    uint32_t reach = kpi_band_reach(s->grain);
    for (uint32_t i = reach; i < s->n; i++) {
        struct kpi_point *p = &s->points[i];
        for (uint32_t k = 0; k < reach; k++) {
            const struct kpi_point *before = &s->points[i - 1 - k];
            bool seen = before->complete && !kpi_point_hidden(before, hide_below);
            back[k] = seen ? before->value : NAN;
        }
        p->band = kpi_band_of(s->grain, back);
        bool judged = p->complete && !kpi_point_hidden(p, hide_below);
        p->verdict = judged ? kpi_band_verdict(&p->band, p->value) : KPI_UNKNOWN;
    }
}

/* ---- then against now ---- */

/* The definition of then, computed now: for the points of one hash. */
struct then {
    struct series *s;
    struct kpi_set set[DEFINITIONS_MOST];
    int which[DEFINITIONS_MOST];
    uint32_t n;
};

static int definition_of(struct then *t, const struct kpi_point *p, int *out,
                         struct keel_error *err) {
    for (uint32_t i = 0; i < t->n; i++)
        if (t->which[i] >= 0 && strcmp(t->set[i].kpi[t->which[i]].query_hash, p->query_hash) == 0) {
            *out = (int)i;
            return 0;
        }
    *out = -1;
    if (t->n == DEFINITIONS_MOST) return 0;
    uint32_t i = t->n++;
    TRY(kpi_set_load(t->s->desk, p->computed_ms, &t->set[i], err));
    t->which[i] = kpi_find(&t->set[i], t->s->kpi->id);
    if (t->which[i] >= 0 && strcmp(t->set[i].kpi[t->which[i]].query_hash, p->query_hash) == 0)
        *out = (int)i;
    return 0;
}

/* What the definition of then says now; NAN: cannot be told. All points at once where that is one
 * question: the run remembers it. */
static int old_definition_now(struct then *t, uint32_t i, double *out, double *fewest,
                              struct keel_error *err) {
    const struct series *s = t->s;
    int which;
    *out = NAN;
    TRY(definition_of(t, &s->points[i], &which, err));
    if (which < 0 || t->set[which].kpi[t->which[which]].broken.n) return 0;
    bool cheap = kpi_run_is_cheap(&t->set[which], t->which[which]);
    uint32_t first = cheap ? s->back : i, n = cheap ? s->n - s->back : 1;
    double *values = arena_alloc(s->arena, (n + 1) * sizeof *values);
    TRY(kpi_run_periods(s->run, &t->set[which], t->which[which], s->grain, day_of(s, first), n,
                        values, err));
    *out = values[i - first];
    TRY(kpi_run_fewest(s->run, &t->set[which], t->which[which], s->grain, day_of(s, first), n,
                       values, err));
    *fewest = fmin(*fewest, values[i - first]);
    return 0;
}

static int count_late(const struct series *s, const struct kpi_point *now, struct kpi_point *p,
                      struct keel_error *err) {
    int64_t events = now->events;
    if (!p->complete) TRY(kpi_run_events_until(s->run, p->day, p->asked_ms, &events, err));
    p->late_events = events - p->events;
    return 0;
}

static int compare(struct then *t, uint32_t i, const struct kpi_point *now,
                   struct keel_error *err) {
    const struct series *s = t->s;
    struct kpi_point *p = &s->points[i];
    double old = now->value;
    if (!p->stored) return 0;
    p->compared = true;
    p->now = now->value;
    p->compared_fewest = now->stored ? now->fewest : KPI_NO_CUSTOMERS;
    if (strcmp(p->query_hash, now->stored ? now->query_hash : s->kpi->query_hash) != 0) {
        p->because |= KPI_BECAUSE_DEFINITION;
        TRY(old_definition_now(t, i, &old, &p->compared_fewest, err));
    }
    p->from_definition = now->value - old;
    p->from_data = old - p->value;
    TRY(count_late(s, now, p, err));
    p->merged = now->merges.merged - p->merges.merged;
    bool merges = now->merges.mark != p->merges.mark && kpi_run_knows_customers(s->set, s->which);
    if (p->from_data == 0 || (isnan(p->value) && isnan(old))) return 0;
    if (!p->complete) p->because |= KPI_BECAUSE_UNFINISHED;
    if (p->late_events) p->because |= KPI_BECAUSE_LATE;
    if (merges) p->because |= KPI_BECAUSE_MERGES;
    if (!(p->because & ~(unsigned)KPI_BECAUSE_DEFINITION) && !isnan(p->from_data))
        p->because |= KPI_BECAUSE_OTHER;
    return 0;
}

static int compare_all(struct series *then, struct keel_error *err) {
    struct series now = *then;
    struct then t = {.s = then};
    now.points = arena_zalloc(then->arena, (now.n + 1) * sizeof *now.points);
    TRY(kpi_stored(now.desk, now.kpi, now.grain, now.start, now.n, KPI_NOW, now.points, err));
    int code = renew_stale(&now, false, err);
    for (uint32_t i = then->back; i < then->n && code == 0; i++)
        code = compare(&t, i, &now.points[i], err);
    for (uint32_t i = 0; i < t.n; i++) kpi_set_free(&t.set[i]);
    return code;
}

/* ---- series ---- */

static int work(struct series *s, const struct kpi_series_ask *ask, struct keel_error *err) {
    TRY(kpi_stored(s->desk, s->kpi, s->grain, s->start, s->n, ask->as_of_ms, s->points, err));
    if (ask->as_of_ms == KPI_NOW)
        TRY(renew_stale(s, ask->refresh, err));
    else
        TRY(compare_all(s, err));
    set_bands(s, ask->hide_below);
    return 0;
}

int kpi_series(struct kpi_run *run, struct sql *desk, const struct kpi_set *set, int kpi,
               const struct kpi_series_ask *ask, struct kpi_series *out, struct keel_error *err) {
    struct arena arena;
    struct series s = {.run = run, .desk = desk, .set = set, .kpi = &set->kpi[kpi], .which = kpi};
    uint32_t n = kpi_period_count(ask->grain, ask->from, ask->to);
    if (ask->from >= ask->to) FAIL(err, INVALID, "the range is empty: from must be before to");
    if (n > KPI_RUN_PERIODS)
        FAIL(err, LIMIT,
             "the range has more than %d periods: choose a shorter one or a coarser grain",
             KPI_RUN_PERIODS);
    if (s.kpi->broken.n)
        FAIL(err, INVALID, "\"%.*s\" cannot be computed: %.*s", STR_ARG(s.kpi->id),
             STR_ARG(s.kpi->broken));
    s.grain = ask->grain;
    s.back = kpi_band_reach(ask->grain);
    s.start = kpi_period_add(s.grain, kpi_period_start(s.grain, ask->from), -(int)s.back);
    s.n = n + s.back;
    arena_init(&arena, (size_t)64 << 20);
    s.arena = &arena;
    s.points = k_zalloc((s.n + 1) * sizeof *s.points);
    int code = work(&s, ask, err);
    arena_release(&arena);
    if (code < 0) {
        k_free(s.points);
        return code;
    }
    memmove(s.points, s.points + s.back, n * sizeof *s.points);
    *out = (struct kpi_series){s.points, n};
    return 0;
}

int kpi_bring_up_to_date(struct kpi_run *run, struct sql *desk, const struct kpi_set *set, int kpi,
                         struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    struct kpi_series series;
    int32_t today = time_day(kpi_run_zone(run), kpi_run_now(run));
    int32_t last = kpi_period_start(k->grain, today);
    const struct kpi_series_ask ask = {
        .grain = k->grain,
        .from = kpi_period_add(k->grain, last, 1 - kpi_usual_periods(k->grain)),
        .to = today + 1,
        .as_of_ms = KPI_NOW};
    TRY(kpi_series(run, desk, set, kpi, &ask, &series, err));
    k_free(series.points);
    return 0;
}
