/* The AVX-512 form of the spine's kernels gives what the plain one gives, for every length and for
 * starts of every density; and the plain one what a loop gives. KEEL_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "store/scan/spine.h"

enum { ROUNDS = 4000 };

struct data {
    uint32_t n, runs;
    uint64_t starts[BITS_WORDS];
    uint32_t firsts[CHUNK_ROWS + 1], gaps[CHUNK_ROWS + 1], values[CHUNK_ROWS];
    int64_t base, unit;
};

static void make(struct rand *r, struct data *d) {
    memset(d, 0, sizeof *d);
    d->n = rand_below(r, 8) ? 1 + rand_below(r, CHUNK_ROWS) : CHUNK_ROWS;
    uint32_t density = 1 + rand_below(r, 40), wide = rand_below(r, 4) == 0;
    for (uint32_t i = 0; i < d->n; i++)
        if (i == 0 || rand_below(r, density) == 0) {
            bit_set(d->starts, i);
            d->runs++;
        }
    for (uint32_t i = 0; i < d->n; i++) {
        d->firsts[i] = wide ? (uint32_t)rand_u64(r) : rand_below(r, 1000000);
        d->gaps[i] = wide ? (uint32_t)rand_u64(r) : rand_below(r, 1000);
        d->values[i] = rand_below(r, 20);
    }
    d->base = (int64_t)rand_below(r, 2000000000);
    d->unit = rand_below(r, 2) ? 1000 : 1;
}

/* Do the customers ascend from run to run? */
static bool expect(const struct data *d, uint32_t *customer, int64_t *time) {
    uint32_t c = 7, t = 0, k = 0, f = 0, g = 0;
    uint64_t sum = c;
    bool ascend = true;
    for (uint32_t i = 0; i < d->n; i++) {
        bool start = bit_get(d->starts, i);
        if (start) {
            ascend &= i == 0 || d->gaps[k] > 0;
            sum += d->gaps[k];
            c += d->gaps[k++];
        }
        t = start ? d->firsts[f++] : t + d->gaps[g++];
        customer[i] = c;
        time[i] = (d->base + t) * d->unit;
    }
    return ascend && sum <= UINT32_MAX;
}

static void check(const struct spine_kernels *k, const struct data *d) {
    uint32_t want_customer[CHUNK_ROWS], customer[CHUNK_ROWS + 1], found[CHUNK_ROWS + 1], table[16];
    int64_t want_time[CHUNK_ROWS], time[CHUNK_ROWS + 1];
    uint64_t bits[BITS_WORDS] = {0};
    bool ascend = expect(d, want_customer, want_time);
    customer[d->n] = found[d->n] = 12345; /* nothing behind n is written */
    time[d->n] = 12345;
    assert_int_equal(k->customers(d->starts, d->n, 7, d->gaps, customer), ascend);
    k->times(d->starts, d->n, d->firsts, d->gaps, d->base, d->unit, time);
    assert_memory_equal(customer, want_customer, d->n * sizeof *customer);
    assert_memory_equal(time, want_time, d->n * sizeof *time);
    for (uint32_t i = 0; i < 16; i++) table[i] = 100 + i;
    memcpy(found, d->values, d->n * sizeof *found);
    bool all = true;
    for (uint32_t i = 0; i < d->n; i++) all &= d->values[i] < 16;
    assert_int_equal(k->look_up(table, 16, d->n, found), all);
    k->equal(d->values, d->n, 3, bits);
    for (uint32_t i = 0; i < d->n; i++) {
        assert_int_equal(found[i], d->values[i] < 16 ? 100 + d->values[i] : 100);
        assert_int_equal(bit_get(bits, i), d->values[i] == 3);
    }
    assert_int_equal(bits_count(bits) <= d->n, 1);
    uint32_t large[40];
    for (uint32_t i = 0; i < 40; i++) large[i] = 200 + i;
    for (uint32_t entries = 17; entries <= 40; entries += 23) { /* in registers; in memory */
        memcpy(found, d->values, d->n * sizeof *found);
        k->look_up(large, entries, d->n, found);
        for (uint32_t i = 0; i < d->n; i++)
            assert_int_equal(found[i], d->values[i] < entries ? 200 + d->values[i] : 200);
    }
    assert_int_equal(customer[d->n], 12345);
    assert_int_equal(found[d->n], 12345);
    assert_int_equal(time[d->n], 12345);
}

/* Periods of uneven lengths, as months are; every slot holds at most one boundary. */
static void check_periods(const struct spine_kernels *k, const struct data *d, struct rand *r) {
    enum { PERIODS = 9, SHIFT = 6, SLOTS = 64 };
    int64_t start[PERIODS + 1], time[CHUNK_ROWS];
    uint32_t first[SLOTS], got[CHUNK_ROWS + 1];
    start[0] = d->base;
    for (int i = 1; i <= PERIODS; i++) start[i] = start[i - 1] + 64 + rand_below(r, 300);
    uint32_t slots = (uint32_t)((start[PERIODS] - d->base) >> SHIFT) + 1, at = 0;
    assert_in_range(slots, 1, SLOTS);
    for (uint32_t i = 0; i < slots; i++) {
        while (at + 1 < PERIODS && start[at + 1] <= d->base + ((int64_t)i << SHIFT)) at++;
        first[i] = at;
    }
    for (uint32_t i = 0; i < d->n; i++)
        time[i] = d->base + rand_below(r, (uint32_t)(start[PERIODS] - d->base));
    time[d->n / 2] = d->base - 5; /* of rows that do not count: anything, but no wild read */
    time[d->n / 3] = start[PERIODS] + 1000000;
    struct slot_table table = {
        .base = d->base, .shift = SHIFT, .slots = slots, .first = first, .start = start};
    got[d->n] = 12345;
    k->periods(&table, time, d->n, got);
    assert_int_equal(got[d->n], 12345);
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t want = 0;
        while (want < PERIODS && time[i] >= start[want + 1]) want++;
        if (i != d->n / 2 && i != d->n / 3) assert_int_equal(got[i], want);
    }
}

/* Periods of one length: days, weeks, hours, and any odd number of milliseconds; up to their ends.
 */
static void check_equal(const struct spine_kernels *k, struct rand *r) {
    static const int64_t lengths[] = {86400000, 604800000, 3600000, 3, 1000003, 999999937};
    int64_t length = lengths[rand_below(r, 6)], time[64], start[4097];
    uint32_t n = 1 + rand_below(r, 4096), got[64], first[2] = {0, 0};
    for (uint32_t i = 0; i <= n; i++) start[i] = 1704067200000 + (int64_t)i * length;
    struct slot_table table = {
        .base = start[0], .shift = 62, .slots = 1, .first = first, .start = start};
    slot_table_equal(&table, length, start[n] - start[0]);
    if (!table.multiplier) return; /* too long a span: nothing is promised */
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t period = rand_below(r, n);
        time[i] = i % 3 == 0   ? start[period]
                  : i % 3 == 1 ? start[period + 1] - 1
                               : start[period] + length / 2;
    }
    if (k == &SPINE_PLAIN) return; /* it reads the table, which is none here */
    k->periods(&table, time, 64, got);
    for (uint32_t i = 0; i < 64; i++) assert_int_equal(got[i], (time[i] - start[0]) / length);
}

static void check_rows(const struct spine_kernels *k, const struct data *d) {
    uint64_t changes[BITS_WORDS] = {0}, pauses[BITS_WORDS] = {0};
    uint32_t picked[CHUNK_ROWS], found = 0;
    int64_t times[CHUNK_ROWS], want_time[CHUNK_ROWS];
    uint32_t customer[CHUNK_ROWS];
    uint16_t rows[CHUNK_ROWS];
    expect(d, customer, want_time);
    k->changes(d->values, d->n, changes);
    k->pauses(want_time, d->n, 500 * d->unit, pauses);
    uint64_t span[BITS_WORDS];
    int64_t from = want_time[d->n / 2], to = from + 100 * d->unit;
    memcpy(span, d->starts, sizeof span);
    k->keep_span(want_time, d->n, from, to, span);
    assert_int_equal(k->index(d->starts, rows), d->runs);
    assert_int_equal(k->pick_u32(customer, d->n, d->starts, picked), d->runs);
    assert_int_equal(k->pick_i64(want_time, d->n, d->starts, times), d->runs);
    uint32_t spread[CHUNK_ROWS];
    double numbers[CHUNK_ROWS];
    memcpy(spread, picked, sizeof spread);
    for (uint32_t i = 0; i < d->runs; i++) numbers[i] = (double)times[i];
    k->spread_u32(d->starts, spread);
    k->spread_f64(d->starts, numbers);
    uint16_t ranks[CHUNK_ROWS], at[CHUNK_ROWS];
    uint32_t n = k->index(changes, at);
    k->ranks(d->starts, at, n, ranks);
    for (uint32_t i = 0, before = 0, c = 0; i < d->n; i++) {
        if (c < n && at[c] == i) assert_int_equal(ranks[c++], before);
        before += bit_get(d->starts, i);
    }
    assert_int_equal(k->count(d->starts), d->runs);
    for (uint32_t i = 0; i < CHUNK_ROWS; i++) {
        bool in = i < d->n;
        assert_int_equal(bit_get(changes, i), in && (i == 0 || d->values[i] != d->values[i - 1]));
        assert_int_equal(bit_get(pauses, i),
                         in && i > 0 && want_time[i] - want_time[i - 1] > 500 * d->unit);
        assert_int_equal(bit_get(span, i),
                         in && bit_get(d->starts, i) && want_time[i] >= from && want_time[i] < to);
        if (!in || !bit_get(d->starts, i)) continue;
        assert_int_equal(spread[i], customer[i]);
        assert_true(numbers[i] == (double)want_time[i]);
        assert_int_equal(rows[found], i);
        assert_int_equal(picked[found], customer[i]);
        assert_int_equal(times[found++], want_time[i]);
    }
}

static void check_verdicts(const struct spine_kernels *k, const struct data *d, struct rand *r) {
    uint8_t known[64 + VERDICT_SPARE];
    uint64_t pass[BITS_WORDS], open[BITS_WORDS];
    uint32_t n = rand_below(r, 65);
    uint64_t events = 0;
    uint32_t some = rand_below(r, d->n + 1);
    for (uint32_t i = 0; i < some; i++) events |= (uint64_t)1 << (d->gaps[i] % 64);
    assert_true(k->mask(d->gaps, some) == events);
    for (uint32_t i = 0; i < sizeof known; i++) known[i] = i < n ? (uint8_t)rand_below(r, 3) : 0xff;
    k->verdicts(n ? known : NULL, n, d->values, d->starts, pass, open);
    for (uint32_t i = 0; i < CHUNK_ROWS; i++) {
        bool asked = bit_get(d->starts, i);
        uint32_t code = asked ? d->values[i] : 0;
        assert_int_equal(bit_get(pass, i), asked && code < n && known[code] == VERDICT_YES);
        assert_int_equal(bit_get(open, i), asked && (code >= n || known[code] == VERDICT_OPEN));
    }
}

static void run(const struct spine_kernels *k) {
    struct rand r;
    struct data *d = malloc(sizeof *d);
    const char *given = getenv("KEEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed);
    rand_init(&r, seed);
    for (int i = 0; i < ROUNDS; i++) {
        make(&r, d);
        check(k, d);
        check_rows(k, d);
        check_verdicts(k, d, &r);
        if (i % 8 == 0) check_periods(k, d, &r);
        if (i % 8 == 0) check_equal(k, &r);
    }
    free(d);
}

static void test_plain(void **state) {
    (void)state;
    run(&SPINE_PLAIN);
}

static void test_best(void **state) {
    (void)state;
    if (spine_kernels() == &SPINE_PLAIN) {
        print_message("this CPU has no AVX-512\n");
        skip();
    }
    run(spine_kernels());
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_best)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
