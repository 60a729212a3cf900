/* A timer wheel: millions of (moment, what, whom) from which those that are due are taken.
 *
 * Five levels of 256 slots: 1 ms, 256 ms, 65 s, 4.7 h, 50 d. A timer lies at the level of the
 * highest byte in which its moment differs from the wheel's; when the wheel reaches its slot it
 * moves down, at most four times in all. Adding and taking cost a few nanoseconds each, whatever
 * lies in the wheel; empty time costs nothing. Timers are not cancelled: who is woken in vain looks
 * and goes back to sleep.
 *
 * Layers: base. Threads: one owner. Limits: memory, 16 bytes a timer; moments up to 34 years ahead
 * keep their order, later ones wait at the last level.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { WHEEL_LEVELS = 5, WHEEL_SLOTS = 256 };

struct timer {
    int64_t at_ms;
    uint32_t what, whom;
};

struct timer_slot {
    struct timer *timers;
    uint32_t n, cap;
};

struct wheel {
    int64_t now_ms; /* never moves back; everything before has been taken */
    uint64_t count;
    uint64_t used[WHEEL_LEVELS][WHEEL_SLOTS / 64];
    struct timer_slot slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, int64_t now_ms);
void wheel_release(struct wheel *w);

/* A moment that has passed is due at once. */
void wheel_add(struct wheel *w, struct timer timer);
/* True and *out: one of the timers due at or before now_ms; those of an earlier millisecond come
 * first. False: none is left, and the wheel stands at now_ms. Timers may be added in between. */
bool wheel_take(struct wheel *w, int64_t now_ms, struct timer *out);
/* No timer is due before this moment; INT64_MAX if there are none. */
int64_t wheel_next(const struct wheel *w);
