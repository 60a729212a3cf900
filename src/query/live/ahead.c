/* Implementation of ahead.h. */
#include "query/live/ahead.h"

#include "base/mem.h"

enum { SPENT_MOST = 64 };

static bool is_calendar(const struct ahead *a) { return a->range.unit > QUERY_HOUR; }

/* By how much the range may be longer than its days: months, clocks. */
static int64_t horizon_ms(const struct ahead *a) {
    static const int days[QUERY_UNITS] = {0, 0, 0, 1, 7, 31, 92, 366};
    return ((int64_t)a->range.n * days[a->range.unit] + 4) * MS_PER_DAY;
}

static bool is_tabled(const struct ahead *a) {
    return is_calendar(a) && horizon_ms(a) <= AHEAD_MOST_DAYS * (int64_t)MS_PER_DAY;
}

void ahead_init(struct ahead *a, const struct time_zone *zone, const struct query_range *range) {
    *a = (struct ahead){.zone = zone, .range = *range, .now_ms = INT64_MIN, .end_ms = INT64_MIN};
}

void ahead_release(struct ahead *a) {
    k_free(a->stretches);
    a->stretches = NULL;
    a->n = a->cap = 0;
}

static void add_stretch(struct ahead *a, int64_t at) {
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->stretches = k_realloc(a->stretches, a->cap * sizeof *a->stretches);
    }
    struct stretch s = {.at_ms = at, .from_ms = range_span(a->zone, &a->range, at).from_ms};
    a->end_ms = range_stretch(a->zone, &a->range, at, &s.step);
    a->stretches[a->n++] = s;
}

static int64_t end_of(const struct ahead *a, uint32_t i) {
    return i + 1 < a->n ? a->stretches[i + 1].at_ms : a->end_ms;
}

/* The first `spent` are behind. */
static void drop(struct ahead *a, uint32_t spent) {
    a->n -= spent;
    a->current -= spent;
    memmove(a->stretches, a->stretches + spent, a->n * sizeof *a->stretches);
}

/* The table from now on; true: it is another one. */
static bool look_ahead(struct ahead *a) {
    uint32_t before = a->current, n = a->n;
    bool over = a->now_ms >= a->end_ms;
    if (over) a->n = a->current = 0;
    if (over) add_stretch(a, a->now_ms);
    while (end_of(a, a->current) <= a->now_ms) a->current++;
    while (a->end_ms < a->now_ms + horizon_ms(a)) add_stretch(a, a->end_ms);
    return over || a->current != before || a->n != n;
}

static void move_along(struct ahead *a) {
    bool other = look_ahead(a);
    const struct stretch *s = &a->stretches[a->current];
    a->from_ms = s->from_ms + (a->now_ms - s->at_ms) * s->step;
    if (other) {
        a->back_ms = INT64_MAX;
        for (uint32_t i = a->current + 1; i < a->n; i++)
            if (a->stretches[i].from_ms < a->back_ms) a->back_ms = a->stretches[i].from_ms;
    }
    if (a->current > SPENT_MOST) drop(a, a->current);
}

void ahead_move(struct ahead *a, int64_t now_ms) {
    if (now_ms == a->now_ms) return;
    a->now_ms = now_ms;
    if (is_tabled(a)) {
        move_along(a);
        return;
    }
    a->from_ms = range_span(a->zone, &a->range, now_ms).from_ms;
    a->back_ms = is_calendar(a) ? INT64_MIN : INT64_MAX;
}

int64_t ahead_turn(const struct ahead *a, int64_t t) {
    if (!is_tabled(a)) return range_turn(a->zone, &a->range, t, a->now_ms);
    bool in = t >= a->from_ms;
    if (!in && t < a->back_ms) return INT64_MAX;
    for (uint32_t i = a->current; i < a->n; i++) {
        const struct stretch *s = &a->stretches[i];
        bool later = i > a->current;
        if (later && (t >= s->from_ms) != in) return s->at_ms;
        int64_t leaves = s->at_ms + (t - s->from_ms) + 1;
        if (in && s->step == 1 && leaves < end_of(a, i)) return leaves;
    }
    return INT64_MAX;
}

int64_t ahead_stretch_end(const struct ahead *a) {
    int64_t step;
    if (is_tabled(a)) return end_of(a, a->current);
    return range_stretch(a->zone, &a->range, a->now_ms, &step);
}
