/* Implementation of moments.h. */
#include "query/moments.h"

#include "base/buf.h"

int64_t moment_ms(const struct time_zone *zone, const struct query_time *t) {
    if (t->kind == QUERY_TIME_ZONED) {
        int64_t day = day_from_civil(t->year, t->month, t->day);
        int64_t minutes = t->hour * 60 + t->minute - t->offset_minutes;
        return day * MS_PER_DAY + minutes * MS_PER_MINUTE + t->second * MS_PER_SECOND + t->ms;
    }
    if (t->kind == QUERY_TIME_LOCAL)
        return time_from_local(zone, t->year, t->month, t->day, t->hour, t->minute, t->second,
                               t->ms);
    return time_day_start(zone, day_from_civil(t->year, t->month, t->day));
}

static int64_t unit_ms(enum query_unit unit) {
    switch (unit) {
    case QUERY_SECOND: return MS_PER_SECOND;
    case QUERY_MINUTE: return MS_PER_MINUTE;
    case QUERY_HOUR: return MS_PER_HOUR;
    case QUERY_DAY: return MS_PER_DAY;
    case QUERY_WEEK: return (int64_t)7 * MS_PER_DAY;
    default: return 0;
    }
}

int64_t duration_ms(struct query_duration d) {
    return d.n == 0 ? INT64_MAX : (int64_t)d.n * unit_ms(d.unit);
}

static int32_t day_add(int32_t day, enum query_unit unit, int n) {
    switch (unit) {
    case QUERY_DAY: return day + n;
    case QUERY_WEEK: return day + 7 * n;
    case QUERY_MONTH: return day_add_months(day, n);
    case QUERY_QUARTER: return day_add_months(day, 3 * n);
    case QUERY_YEAR: return day_add_months(day, 12 * n);
    default: return day;
    }
}

/* The same wall time n calendar units before. */
static int64_t calendar_before(const struct time_zone *zone, int64_t at_ms, enum query_unit unit,
                               uint32_t n) {
    int32_t day = time_day(zone, at_ms);
    int64_t wall = at_ms + (int64_t)time_zone_offset(zone, at_ms) * MS_PER_SECOND;
    int64_t in_day = wall - (int64_t)day * MS_PER_DAY;
    /* Years before the calendar's first stand for "no bound". */
    static const int32_t days[] = {0, 0, 0, 1, 7, 31, 92, 366};
    if ((int64_t)n * days[unit] > day - day_from_civil(1, 1, 1)) return INT64_MIN;
    int year, month, day_of_month;
    civil_from_day(day_add(day, unit, -(int)n), &year, &month, &day_of_month);
    return time_from_local(zone, year, month, day_of_month, (int)(in_day / MS_PER_HOUR),
                           (int)(in_day / MS_PER_MINUTE % 60), (int)(in_day / MS_PER_SECOND % 60),
                           (int)(in_day % MS_PER_SECOND));
}

static struct span whole_period(const struct time_zone *zone, const struct query_time *t) {
    int32_t day = day_from_civil(t->year, t->month, t->day);
    int32_t next = t->kind == QUERY_TIME_YEAR    ? day_add_months(day, 12)
                   : t->kind == QUERY_TIME_MONTH ? day_add_months(day, 1)
                                                 : day + 1;
    return (struct span){time_day_start(zone, day), time_day_start(zone, next)};
}

struct span range_span(const struct time_zone *zone, const struct query_range *r, int64_t at_ms) {
    struct span s = {INT64_MIN, at_ms};
    switch (r->kind) {
    case QUERY_RANGE_ALL: break;
    case QUERY_RANGE_SPAN:
        if (r->has_from) s.from_ms = moment_ms(zone, &r->from);
        if (r->has_to) s.to_ms = moment_ms(zone, &r->to);
        break;
    case QUERY_RANGE_LAST:
        s.from_ms = r->unit <= QUERY_HOUR ? at_ms - (int64_t)r->n * unit_ms(r->unit)
                                          : calendar_before(zone, at_ms, r->unit, r->n);
        break;
    case QUERY_RANGE_IN: s = whole_period(zone, &r->from); break;
    }
    if (s.to_ms > at_ms) s.to_ms = at_ms;
    return s;
}

static bool range_has(const struct time_zone *zone, const struct query_range *r, int64_t t,
                      int64_t at_ms) {
    struct span s = range_span(zone, r, at_ms);
    return t >= s.from_ms && t < s.to_ms;
}

/* n units are at least and at most so many days long. */
static int64_t shortest_ms(const struct query_range *r) {
    static const int days[QUERY_UNITS] = {0, 0, 0, 1, 7, 28, 89, 365};
    return ((int64_t)r->n * days[r->unit] - 2) * MS_PER_DAY;
}
static int64_t longest_ms(const struct query_range *r) {
    static const int days[QUERY_UNITS] = {0, 0, 0, 1, 7, 31, 92, 366};
    return ((int64_t)r->n * days[r->unit] + 4) * MS_PER_DAY;
}

static int64_t range_from(const struct time_zone *zone, const struct query_range *r, int64_t at) {
    return range_span(zone, r, at).from_ms;
}

/* Ends with the local day at the latest; the end is found by halving. `from`: the start at `at`. */
static int64_t stretch_end(const struct time_zone *zone, const struct query_range *r, int64_t at,
                           int64_t from, int64_t *out_step) {
    int64_t step = range_from(zone, r, at + 1) == from ? 0 : 1;
    int64_t good = at, bad = time_day_start(zone, time_day(zone, at) + 1);
    for (int64_t look = bad - 1; bad - good > 1; look = good + (bad - good) / 2) {
        if (range_from(zone, r, look) - from == (look - at) * step)
            good = look;
        else
            bad = look;
    }
    *out_step = step;
    return bad;
}

int64_t range_stretch(const struct time_zone *zone, const struct query_range *r, int64_t at_ms,
                      int64_t *out_step) {
    return stretch_end(zone, r, at_ms, range_from(zone, r, at_ms), out_step);
}

struct span range_margin(const struct time_zone *zone, const struct query_range *r, int64_t at_ms) {
    if (r->kind != QUERY_RANGE_LAST || r->unit <= QUERY_HOUR) return (struct span){0, 0};
    return (struct span){at_ms - longest_ms(r), range_span(zone, r, at_ms).from_ms};
}

/* Not before this moment does an event of the time t leave the range. The start of the range of a
 * whole local day lies in one day, give or take another where clocks skip, and does not step back
 * as days go by: so the days on which it is still two days before the event's need not be walked.
 */
static int64_t first_exit(const struct time_zone *zone, const struct query_range *r, int64_t t) {
    int32_t day_of_t = time_day(zone, t), day = time_day(zone, t + shortest_ms(r)), first = day;
    while (day_add(day, r->unit, -(int)r->n) < day_of_t - 1) day++;
    return day == first ? t + shortest_ms(r) : time_day_start(zone, day);
}

static int64_t calendar_turn(const struct time_zone *zone, const struct query_range *r, int64_t t,
                             int64_t at_ms) {
    bool in = range_has(zone, r, t, at_ms);
    int64_t exit = in ? first_exit(zone, r, t) : INT64_MIN, last = t + longest_ms(r);
    int64_t at = exit > at_ms ? exit : at_ms + 1;
    while (at <= last) {
        int64_t from = range_from(zone, r, at);
        if ((t >= from && t < at) != in) return at;
        int64_t step, stop = stretch_end(zone, r, at, from, &step);
        int64_t leaves = at + (t - from) + 1;
        if (in && step == 1 && leaves < stop) return leaves;
        at = stop;
    }
    return INT64_MAX;
}

int64_t range_turn(const struct time_zone *zone, const struct query_range *r, int64_t t,
                   int64_t at_ms) {
    if (t >= at_ms) return range_has(zone, r, t, t + 1) ? t + 1 : INT64_MAX; /* not seen yet */
    if (r->kind != QUERY_RANGE_LAST) return INT64_MAX;
    if (r->unit > QUERY_HOUR) return calendar_turn(zone, r, t, at_ms);
    int64_t leaves = t + (int64_t)r->n * unit_ms(r->unit) + 1;
    return leaves > at_ms ? leaves : INT64_MAX;
}

static int32_t period_start_day(enum query_unit unit, int32_t day) {
    switch (unit) {
    case QUERY_WEEK: return day_week_start(day);
    case QUERY_MONTH: return day_month_start(day);
    case QUERY_QUARTER: return day_quarter_start(day);
    case QUERY_YEAR: return day_year_start(day);
    default: return day;
    }
}

int64_t period_after(const struct time_zone *zone, enum query_unit unit, int64_t start, int n) {
    if (unit == QUERY_HOUR) return start + (int64_t)n * MS_PER_HOUR;
    return time_day_start(zone, day_add(time_day(zone, start), unit, n));
}

int64_t period_begin(const struct time_zone *zone, enum query_unit unit, int64_t ms) {
    int64_t day = time_day_start(zone, period_start_day(unit, time_day(zone, ms)));
    return unit == QUERY_HOUR ? day + (ms - day) / MS_PER_HOUR * MS_PER_HOUR : day;
}

/* Appends the boundaries from the period that holds `from` to the first at or after `to`; hours
 * count from midnight, so that a zone with half-hour offsets has its own whole hours. */
static int list_starts(struct periods *p, const struct time_zone *zone, struct span span,
                       struct buf *out, struct keel_error *err) {
    int32_t day = period_start_day(p->unit, time_day(zone, span.from_ms));
    for (uint64_t n = 0;; day = day_add(day, p->unit == QUERY_HOUR ? QUERY_DAY : p->unit, 1)) {
        int64_t start = time_day_start(zone, day);
        int64_t stop = p->unit == QUERY_HOUR ? time_day_start(zone, day + 1) : start + 1;
        for (int64_t t = start; t < stop; t += MS_PER_HOUR) {
            if (t + MS_PER_HOUR <= span.from_ms && p->unit == QUERY_HOUR) continue;
            if (++n > PERIODS_MAX + 1)
                FAIL(err, LIMIT, "more than %d periods: choose a shorter range or longer periods",
                     PERIODS_MAX);
            TRY(buf_add(out, &t, sizeof t));
            if (t >= span.to_ms) return 0;
        }
    }
}

/* The slots' table, from the starts. */
static int fill_table(struct periods *p, struct arena *arena, struct keel_error *err) {
    int64_t shortest = INT64_MAX, longest = 0;
    for (uint32_t k = 0; k < p->n; k++) {
        int64_t length = p->start[k + 1] - p->start[k];
        if (length < shortest) shortest = length;
        if (length > longest) longest = length;
    }
    p->length = shortest == longest ? shortest : 0;
    p->shift = 63 - (unsigned)__builtin_clzll((uint64_t)shortest);
    p->base = p->start[0];
    uint64_t slots = ((uint64_t)(p->start[p->n] - p->base) >> p->shift) + 1;
    p->table = slots <= PERIODS_MAX_SLOTS ? arena_try_alloc(arena, slots * sizeof *p->table) : NULL;
    if (!p->table) FAIL(err, LIMIT, "too many periods: choose a shorter range or longer periods");
    p->slots = (uint32_t)slots;
    uint32_t k = 0;
    for (uint32_t i = 0; i < p->slots; i++) {
        int64_t t = p->base + (int64_t)((uint64_t)i << p->shift);
        while (k + 1 < p->n && p->start[k + 1] <= t) k++;
        p->table[i] = k;
    }
    return 0;
}

int periods_init(struct periods *p, const struct time_zone *zone, enum query_unit unit,
                 struct span span, struct arena *arena, struct keel_error *err) {
    *p = (struct periods){.unit = unit};
    if (span_empty(span)) return 0;
    struct buf starts;
    buf_init(&starts, (PERIODS_MAX + 8) * sizeof(int64_t));
    int code = list_starts(p, zone, span, &starts, err);
    if (code == 0) p->start = arena_try_alloc(arena, starts.n);
    if (code == 0 && p->start) {
        p->n = (uint32_t)(starts.n / sizeof(int64_t)) - 1;
        memcpy(p->start, starts.p, starts.n);
    }
    buf_release(&starts);
    TRY(code);
    if (!p->start) FAIL(err, NO_MEMORY, "too little memory for periods");
    return fill_table(p, arena, err);
}

int periods_whole(struct periods *p, struct span span, struct arena *arena,
                  struct keel_error *err) {
    *p = (struct periods){.unit = QUERY_UNITS, .n = 1, .slots = 2, .shift = 62};
    p->start = arena_try_alloc(arena, 2 * sizeof *p->start);
    p->table = arena_try_alloc(arena, 2 * sizeof *p->table);
    if (!p->start || !p->table) FAIL(err, NO_MEMORY, "too little memory for periods");
    p->start[0] = p->base = span.from_ms; /* every moment of the span is in slot 0 or 1 */
    p->start[1] = span.to_ms;
    p->table[0] = p->table[1] = 0;
    return 0;
}

const char *period_unit_name(enum query_unit unit) {
    static const char *const names[QUERY_UNITS] = {"second", "minute", "hour",    "day",
                                                   "week",   "month",  "quarter", "year"};
    return names[unit];
}
