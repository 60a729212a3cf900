/* From written times to milliseconds: moments, ranges, and tables of periods.
 *
 * A range becomes half-open [from_ms, to_ms), cut at the moment of asking. A *period table* maps a
 * moment to the number of its hour, day, week, month, quarter or year in the company's zone by one
 * look-up and one comparison, so that no event costs a computation with time zones: time is cut
 * into slots of 2^shift ms, shorter than the shortest period, so a slot holds at most one boundary.
 *
 * Layers: ast.h, base/time.h. Threads: pure; a table is immutable after periods_init.
 */
#pragma once

#include "base/time.h"
#include "query/language/ast.h"

struct span {
    int64_t from_ms, to_ms; /* half-open; from >= to: empty */
};

static inline bool span_empty(struct span s) { return s.from_ms >= s.to_ms; }
static inline bool span_within(struct span a, struct span b) {
    return a.from_ms >= b.from_ms && a.to_ms <= b.to_ms;
}

int64_t moment_ms(const struct time_zone *zone, const struct query_time *t);
int64_t duration_ms(struct query_duration d); /* n == 0: INT64_MAX, no limit */
/* Not cut at `at_ms` for the upper side alone: [from, min(to, at_ms)). No bound: INT64_MIN. */
struct span range_span(const struct time_zone *zone, const struct query_range *r, int64_t at_ms);
/* The first moment behind at_ms at which an event of the time t enters or leaves the range, as the
 * moment of asking moves on; INT64_MAX: never. A calendar range may have several: the same wall
 * time a month before 30 and 31 March is in February twice. */
int64_t range_turn(const struct time_zone *zone, const struct query_range *r, int64_t t,
                   int64_t at_ms);

/* Of a calendar range: the moments just before it from which an event may come back into it (see
 * range_turn); empty for other ranges. It can only come back where a stretch ends. */
struct span range_margin(const struct time_zone *zone, const struct query_range *r, int64_t at_ms);
/* Along a stretch of moments the start of a calendar range moves on evenly (*out_step is 1), or
 * stands still (0): where clocks were put forward there, an hour of wall time is one moment. The
 * end of the stretch that begins at at_ms. */
int64_t range_stretch(const struct time_zone *zone, const struct query_range *r, int64_t at_ms,
                      int64_t *out_step);

enum { PERIODS_MAX = 1 << 20, PERIODS_MAX_SLOTS = 1 << 24 };

struct periods {
    enum query_unit unit;
    uint32_t n;
    int64_t *start; /* [n + 1] first moment of each, and of the one behind the last */
    int64_t base;
    unsigned shift;
    uint32_t slots;
    uint32_t *table; /* [slots] the period in which a slot begins                   */
    int64_t length;  /* of each, in ms; 0: they differ                              */
};

/* The periods that touch [from_ms, to_ms), the first and last whole. Arena owns the table. An empty
 * span gives no periods. KEEL_E_LIMIT when there are too many. */
int periods_init(struct periods *p, const struct time_zone *zone, enum query_unit unit,
                 struct span span, struct arena *arena, struct keel_error *err) K_CHECKED;

/* One period that is the whole span, even if it is empty. */
int periods_whole(struct periods *p, struct span span, struct arena *arena,
                  struct keel_error *err) K_CHECKED;

/* t must lie in [start[0], start[n]). */
static inline uint32_t period_of(const struct periods *p, int64_t t) {
    uint32_t k = p->table[(uint64_t)(t - p->base) >> p->shift];
    return k + (t >= p->start[k + 1]);
}

/* The first moment of the period that lies n after (or before) the one that begins at `start`; of
 * the period that holds a moment. Hours count from midnight. */
int64_t period_after(const struct time_zone *zone, enum query_unit unit, int64_t start, int n);
int64_t period_begin(const struct time_zone *zone, enum query_unit unit, int64_t ms);

const char *period_unit_name(enum query_unit unit); /* "day" */
