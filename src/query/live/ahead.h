/* Ahead: where a moving range stands now, and where it will stand: worked out once for everybody.
 *
 * Calendars are dear (zones, months of any length), and what they say of a range is the same for
 * all customers. Time ahead is cut into stretches (moments.h) along which the start of the range
 * moves on evenly or stands still: at most a day each, as many as the range is long, a few more
 * each day. When an event leaves the range is then a walk along a small table.
 *
 * Layers: moments.h. Threads: one owner. Limits: ranges longer than AHEAD_MOST_DAYS are worked out
 * anew each time.
 */
#pragma once

#include "query/moments.h"

enum { AHEAD_MOST_DAYS = 1200 };

struct stretch {
    int64_t at_ms, from_ms,
        step; /* at a moment of it the range starts at from + (moment - at) * step */
};

struct ahead {
    const struct time_zone *zone;
    struct query_range range; /* QUERY_RANGE_LAST */
    int64_t now_ms, from_ms;  /* the range is [from, now) */
    int64_t back_ms;          /* earlier events never come back into the range */
    struct stretch *stretches;
    uint32_t n, cap, current;
    int64_t end_ms; /* of the last stretch */
};

void ahead_init(struct ahead *a, const struct time_zone *zone, const struct query_range *range);
void ahead_release(struct ahead *a);
/* Not back. */
void ahead_move(struct ahead *a, int64_t now_ms);
/* As range_turn(zone, range, t, now_ms), of a t before now. */
int64_t ahead_turn(const struct ahead *a, int64_t t);
/* Where the stretch of now ends. */
int64_t ahead_stretch_end(const struct ahead *a);
