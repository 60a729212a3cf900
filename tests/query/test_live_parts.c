/* The parts that live segments stand on, against naive models: the timer wheel, the table of
 * customers, the rows of truths, the moment at which an event enters or leaves a range, and the
 * table of such moments.
 * KEEL_SEED=n repeats one run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "query/live/ahead.h"
#include "query/live/slots.h"
#include "query/live/truths.h"
#include "query/live/wheel.h"

enum { ROUNDS = 200, KEYS = 300, TIMERS = 400 };

static uint64_t seed_of(uint64_t round) {
    const char *given = getenv("KEEL_SEED");
    return given ? strtoull(given, NULL, 10) : 1 + round;
}

/* ---- slots ---- */

/* Of every other table the numbers lie side by side. */
static uint32_t number_of_key(uint64_t round, uint32_t key) {
    return round % 2 ? key + 900 : key * 2654435761U % 100000;
}

static uint32_t count_slots(const struct slots *t) {
    uint32_t n = 0, number;
    for (uint32_t from = 0; slots_next(t, from, &number); from = number + 1) {
        assert_true(number >= from);
        assert_non_null(slots_find(t, number));
        n++;
    }
    return n;
}

static void slots_as_an_array(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 20; round++) {
        struct rand r;
        rand_init(&r, seed_of(round));
        struct slots t;
        slots_init(&t, 12);
        uint32_t model[KEYS] = {0}, there = 0;
        for (int step = 0; step < 20000; step++) {
            uint32_t key = rand_below(&r, KEYS), stored = number_of_key(round, key);
            if (rand_below(&r, 2)) {
                bool is_new;
                uint32_t *v = slots_add(&t, stored, &is_new);
                assert_int_equal(is_new, model[key] == 0);
                if (is_new) assert_int_equal(v[2], 0);
                there += is_new;
                v[2] = model[key] = 1 + rand_below(&r, 1000);
            } else {
                there -= model[key] != 0;
                model[key] = 0;
                slots_remove(&t, stored);
            }
            uint32_t look = rand_below(&r, KEYS);
            const uint32_t *v = slots_find(&t, number_of_key(round, look));
            assert_int_equal(v ? v[2] : 0, model[look]);
            if (step % 500 == 0) assert_int_equal(count_slots(&t), there);
        }
        slots_release(&t);
        assert_int_equal(t.bytes, 0);
    }
}

/* ---- wheel ---- */

struct wheel_model {
    struct timer timers[TIMERS];
    bool there[TIMERS];
    uint32_t n;
};

static int64_t some_delay(struct rand *r) {
    static const int64_t scale[] = {
        1, 300, 70000, 20000000, INT64_C(5000000000), INT64_C(1500000000000)};
    return (int64_t)(rand_unit(r) * (double)scale[rand_below(r, 6)]) - 3;
}

static void add_some(struct wheel *w, struct wheel_model *m, struct rand *r, int64_t now) {
    for (uint32_t i = rand_below(r, 20); i > 0 && m->n < TIMERS; i--) {
        m->timers[m->n] = (struct timer){now + some_delay(r), m->n, m->n * 7};
        m->there[m->n] = true;
        wheel_add(w, m->timers[m->n++]);
    }
}

static void take_due(struct wheel *w, struct wheel_model *m, int64_t now) {
    struct timer t;
    int64_t last = INT64_MIN, from = w->now_ms;
    while (wheel_take(w, now, &t)) {
        assert_true(t.what < m->n && m->there[t.what]);
        assert_int_equal(t.at_ms, m->timers[t.what].at_ms);
        assert_int_equal(t.whom, t.what * 7);
        assert_true(t.at_ms <= now);
        int64_t due = t.at_ms > from ? t.at_ms : from;
        assert_true(due >= last);
        last = due;
        m->there[t.what] = false;
    }
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < m->n; i++) {
        if (!m->there[i]) continue;
        assert_true(m->timers[i].at_ms > now);
        if (m->timers[i].at_ms < next) next = m->timers[i].at_ms;
    }
    assert_true(wheel_next(w) <= next);
    assert_int_equal(next == INT64_MAX, wheel_next(w) == INT64_MAX);
}

static void wheel_as_a_list(void **state) {
    (void)state;
    static struct wheel w;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct rand r;
        uint64_t seed = seed_of(round);
        rand_init(&r, seed);
        int64_t now = (int64_t)(rand_u64(&r) % 2000000000000);
        struct wheel_model m = {0};
        wheel_init(&w, now);
        while (m.n < TIMERS) {
            add_some(&w, &m, &r, now);
            int64_t step = some_delay(&r);
            now += step > 0 ? step : 0;
            take_due(&w, &m, now);
        }
        take_due(&w, &m, now + INT64_C(4000000000000));
        assert_int_equal(w.count, 0);
        wheel_release(&w);
    }
}

static void wheel_jumps_over_years(void **state) {
    (void)state;
    static struct wheel w;
    wheel_init(&w, 0);
    wheel_add(&w, (struct timer){INT64_C(3000000000000), 1, 2});
    struct timer t;
    assert_false(wheel_take(&w, INT64_C(2999999999999), &t));
    assert_true(wheel_take(&w, INT64_C(3000000000000), &t));
    assert_int_equal(t.what, 1);
    assert_int_equal(t.whom, 2);
    assert_false(wheel_take(&w, INT64_C(3000000000000), &t));
    wheel_release(&w);
}

/* ---- range_turn ---- */

static bool in_range(const struct time_zone *zone, const struct query_range *range, int64_t t,
                     int64_t at) {
    struct span s = range_span(zone, range, at);
    return t >= s.from_ms && t < s.to_ms;
}

static struct query_range some_range(struct rand *r) {
    struct query_range range = {0};
    struct query_time from = {QUERY_TIME_DAY, 2011, 3, 1, 0, 0, 0, 0, 0};
    struct query_time to = {QUERY_TIME_DAY, 2011, 4, 1, 0, 0, 0, 0, 0};
    from.day = (uint8_t)(1 + rand_below(r, 28));
    to.day = (uint8_t)(1 + rand_below(r, 28));
    range.kind = (enum query_range_kind)rand_below(r, 4);
    if (range.kind == QUERY_RANGE_SPAN) {
        range.has_from = rand_below(r, 2);
        range.has_to = !range.has_from || rand_below(r, 2);
        range.from = from;
        range.to = to;
    }
    if (range.kind == QUERY_RANGE_IN) range.from = from;
    if (range.kind == QUERY_RANGE_LAST) {
        range.n = 1 + rand_below(r, 3);
        range.unit = (enum query_unit)(QUERY_MINUTE + rand_below(r, 6));
    }
    return range;
}

/* Between two turns an event is in the range, or not, at every quarter of an hour and beside the
 * turns. London changes its clocks on 2011-03-27 and 2011-10-30, Sao Paulo at midnight of
 * 2011-10-16, and Apia has no 2011-12-30. */
static void turns_of_ranges(void **state) {
    (void)state;
    static const char *const names[] = {"Europe/London", "America/Sao_Paulo", "Pacific/Apia"};
    struct time_zone *zones[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(time_zone_load(str_from(names[i]), &zones[i], NULL), 0);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct rand r;
        uint64_t seed = seed_of(round);
        rand_init(&r, seed);
        const struct time_zone *zone = zones[rand_below(&r, 3)];
        struct query_range range = some_range(&r);
        int64_t base = rand_below(&r, 2) ? INT64_C(1298937600000) : INT64_C(1317427200000);
        int64_t t = base + (int64_t)(rand_unit(&r) * 40 * 86400e3);
        int64_t at = t - INT64_C(86400000), end = t + INT64_C(400) * 86400000;
        if (range.kind == QUERY_RANGE_LAST && range.unit < QUERY_MONTH) end = t + 25 * 86400000LL;
        while (at < end) {
            bool in = in_range(zone, &range, t, at);
            int64_t turn = range_turn(zone, &range, t, at), stop = turn < end ? turn : end;
            if (turn <= at) fail_msg("seed %llu: no progress", (unsigned long long)seed);
            for (int64_t look = at; look < stop; look += 900000)
                if (in_range(zone, &range, t, look) != in)
                    fail_msg("seed %llu: turned before %lld", (unsigned long long)seed,
                             (long long)turn);
            assert_int_equal(in_range(zone, &range, t, stop - 1), in);
            if (turn < end) assert_int_not_equal(in_range(zone, &range, t, turn), in);
            at = stop;
        }
    }
    for (int i = 0; i < 3; i++) time_zone_free(zones[i]);
}

/* The table says what the calendar says, at moments that move on by anything from a millisecond to
 * years. */
static void turns_of_tables(void **state) {
    (void)state;
    static const char *const names[] = {"Europe/London", "America/Sao_Paulo", "Pacific/Apia"};
    static const int64_t steps[] = {
        1, 1000, 3600000, 86400000, 40 * INT64_C(86400000), 900 * INT64_C(86400000)};
    struct time_zone *zones[3];
    uint32_t turned = 0, returned = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(time_zone_load(str_from(names[i]), &zones[i], NULL), 0);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct rand r;
        uint64_t seed = seed_of(round);
        rand_init(&r, seed);
        const struct time_zone *zone = zones[rand_below(&r, 3)];
        struct query_range range = {.kind = QUERY_RANGE_LAST, .n = 1 + rand_below(&r, 4)};
        range.unit = (enum query_unit)(QUERY_MINUTE + rand_below(&r, 7));
        struct ahead a;
        ahead_init(&a, zone, &range);
        bool at_the_end = rand_below(&r, 2); /* of March */
        int64_t at = at_the_end ? INT64_C(1301356800000) : INT64_C(1298937600000);
        at += (int64_t)(rand_unit(&r) * (at_the_end ? 3 : 250) * 86400e3);
        for (int i = 0; i < 30; i++) {
            ahead_move(&a, at);
            struct span span = range_span(zone, &range, at);
            assert_int_equal(a.from_ms, span.from_ms);
            for (int k = 0; k < 10; k++) {
                int64_t t = at - 1 - (int64_t)(rand_unit(&r) * 4 * 86400e3);
                if (rand_below(&r, 2))
                    t = span.from_ms + (int64_t)((rand_unit(&r) * 3 - 1) * 86400e3);
                if (t >= at) continue;
                int64_t turn = range_turn(zone, &range, t, at);
                if (ahead_turn(&a, t) != turn)
                    fail_msg("seed %llu step %d: %lld, not %lld", (unsigned long long)seed, i,
                             (long long)ahead_turn(&a, t), (long long)turn);
                turned += turn != INT64_MAX;
                returned += t < span.from_ms && turn != INT64_MAX;
            }
            at += (int64_t)(rand_unit(&r) * (double)steps[rand_below(&r, i < 20 ? 4 : 6)]) + 1;
        }
        ahead_release(&a);
    }
    if (!getenv("KEEL_SEED")) assert_true(turned > 10000 && returned > 20);
    for (int i = 0; i < 3; i++) time_zone_free(zones[i]);
}

/* ---- truths ---- */

enum { ROWS = 2500, LEAVES = 200 };

/* Bits are given out and back, rows grow, bits change and change back: each row, and what it was
 * before, are those of an array of bytes. */
static void truths_as_bytes(void **state) {
    (void)state;
    static bool now[ROWS][LEAVES], before[ROWS][LEAVES];
    static uint32_t bit[LEAVES];
    struct rand r;
    struct truths t;
    rand_init(&r, seed_of(0));
    truths_init(&t);
    memset(bit, 0, sizeof bit);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 8; i++) {
            uint32_t leaf = rand_below(&r, LEAVES);
            bool value = rand_below(&r, 2);
            if (bit[leaf]) truths_give_back(&t, bit[leaf]);
            bit[leaf] = truths_take_bit(&t, value);
            uint32_t half = t.numbers ? rand_below(&r, t.numbers) : 0;
            truths_column(&t, bit[leaf], value, half, t.numbers - half);
            truths_column(&t, bit[leaf], value, 0, half);
            for (uint32_t row = 0; row < ROWS; row++) now[row][leaf] = value;
        }
        truths_grow(&t, t.numbers + rand_below(&r, ROWS / 60));
        memcpy(before, now, sizeof now);
        for (int i = 0; i < 300 && t.numbers > 0; i++) {
            uint32_t row = rand_below(&r, t.numbers), leaf = rand_below(&r, LEAVES);
            bool value = rand_below(&r, 2);
            if (!bit[leaf]) continue;
            assert_int_equal(truths_put(&t, row, bit[leaf], value), now[row][leaf] != value);
            now[row][leaf] = value;
        }
        truths_sort_touched(&t);
        for (uint32_t i = 0; i < t.n_touched; i++) {
            assert_true(i == 0 || t.touched[i - 1] < t.touched[i]);
            const uint64_t *was = truths_before(&t, t.touched[i]),
                           *row = truths_row(&t, t.touched[i]);
            for (uint32_t leaf = 0; leaf < LEAVES; leaf++)
                if (bit[leaf]) {
                    assert_int_equal(truth_in(was, bit[leaf]), before[t.touched[i]][leaf]);
                    assert_int_equal(truth_in(row, bit[leaf]), now[t.touched[i]][leaf]);
                }
        }
        truths_settle(&t);
        for (uint32_t row = 0; row < t.numbers; row++)
            for (uint32_t leaf = 0; leaf < LEAVES; leaf++)
                if (bit[leaf]) assert_int_equal(truths_say(&t, row, bit[leaf]), now[row][leaf]);
    }
    truths_release(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truths_as_bytes),        cmocka_unit_test(turns_of_tables),
        cmocka_unit_test(slots_as_an_array),      cmocka_unit_test(wheel_as_a_list),
        cmocka_unit_test(wheel_jumps_over_years), cmocka_unit_test(turns_of_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
