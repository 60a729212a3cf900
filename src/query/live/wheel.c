/* Implementation of wheel.h. */
#include "query/live/wheel.h"

#include <string.h>

#include "base/mem.h"

enum { LEVEL_BITS = 8 };

void wheel_init(struct wheel *w, int64_t now_ms) {
    memset(w, 0, sizeof *w);
    w->now_ms = now_ms;
}

void wheel_release(struct wheel *w) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) k_free(w->slots[level][i].timers);
    wheel_init(w, w->now_ms);
}

static unsigned slot_of(int64_t at_ms, unsigned level) {
    return (unsigned)((uint64_t)at_ms >> (LEVEL_BITS * level)) & (WHEEL_SLOTS - 1);
}

void wheel_add(struct wheel *w, struct timer timer) {
    int64_t at = timer.at_ms > w->now_ms ? timer.at_ms : w->now_ms;
    uint64_t differs = (uint64_t)at ^ (uint64_t)w->now_ms;
    unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / LEVEL_BITS : 0;
    unsigned i = slot_of(at, level < WHEEL_LEVELS ? level : WHEEL_LEVELS - 1);
    if (level >= WHEEL_LEVELS) { /* out of reach: the slot that comes last, to be dealt again */
        level = WHEEL_LEVELS - 1;
        i = (slot_of(w->now_ms, level) + WHEEL_SLOTS - 1) % WHEEL_SLOTS;
    }
    struct timer_slot *slot = &w->slots[level][i];
    if (slot->n == slot->cap) {
        slot->cap = slot->cap ? slot->cap * 2 : 4;
        slot->timers = k_realloc(slot->timers, slot->cap * sizeof *slot->timers);
    }
    slot->timers[slot->n++] = timer;
    w->used[level][i / 64] |= (uint64_t)1 << (i % 64);
    w->count++;
}

/* First used slot of a level at or behind `from`; WHEEL_SLOTS if none. */
static unsigned next_used(const struct wheel *w, unsigned level, unsigned from) {
    for (unsigned word = from / 64; word < WHEEL_SLOTS / 64; word++) {
        uint64_t bits = w->used[level][word];
        if (word == from / 64) bits &= ~(uint64_t)0 << (from % 64);
        if (bits) return word * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return WHEEL_SLOTS;
}

/* The first moment at which a timer is due or slots move down. A slot at whose moment the wheel
 * stands is used only until it has moved down. */
static int64_t next_stop(const struct wheel *w, unsigned *out_level) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        unsigned i = next_used(w, level, slot_of(w->now_ms, level));
        if (i == WHEEL_SLOTS) continue;
        uint64_t unit = (uint64_t)1 << (LEVEL_BITS * level);
        uint64_t round = (uint64_t)w->now_ms & ~(unit * WHEEL_SLOTS - 1);
        *out_level = level;
        return (int64_t)(round + i * unit);
    }
    /* What is left lies behind the turn of the last level. */
    uint64_t turn = (uint64_t)1 << (LEVEL_BITS * WHEEL_LEVELS);
    *out_level = WHEEL_LEVELS;
    return w->count ? (int64_t)(((uint64_t)w->now_ms & ~(turn - 1)) + turn) : INT64_MAX;
}

static struct timer_slot take_slot(struct wheel *w, unsigned level, unsigned i) {
    struct timer_slot taken = w->slots[level][i];
    w->slots[level][i] = (struct timer_slot){0};
    w->used[level][i / 64] &= ~((uint64_t)1 << (i % 64));
    w->count -= taken.n;
    return taken;
}

static void deal_again(struct wheel *w, unsigned level, unsigned i) {
    struct timer_slot taken = take_slot(w, level, i);
    for (uint32_t k = 0; k < taken.n; k++) wheel_add(w, taken.timers[k]);
    k_free(taken.timers);
}

/* The wheel has come to a moment where slots of a level begin: they move down. */
static void move_down(struct wheel *w, unsigned level) {
    if (level == WHEEL_LEVELS) {
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) deal_again(w, WHEEL_LEVELS - 1, i);
        level = WHEEL_LEVELS - 1;
    }
    for (; level > 0; level--) deal_again(w, level, slot_of(w->now_ms, level));
}

bool wheel_take(struct wheel *w, int64_t now_ms, struct timer *out) {
    for (;;) {
        unsigned level;
        int64_t stop = next_stop(w, &level);
        int64_t reached = stop < now_ms ? stop : now_ms;
        if (reached > w->now_ms) w->now_ms = reached; /* slots on the way move down when met */
        if (stop > now_ms) return false;
        if (level > 0) {
            move_down(w, level);
            continue;
        }
        unsigned i = slot_of(stop, 0);
        struct timer_slot *slot = &w->slots[0][i];
        *out = slot->timers[--slot->n];
        w->count--;
        if (slot->n == 0) k_free(take_slot(w, 0, i).timers);
        return true;
    }
}

int64_t wheel_next(const struct wheel *w) {
    unsigned level;
    return next_stop(w, &level);
}
