/* Borders of batches and of ranges.
 *
 * What feed.h promises of two batches, where funnels need it: of a customer whose rows go on in the
 * next batch, events at one time may lie on both sides of the border and still count in any order.
 * Histories are laid so that a tie of some events, which alone can complete a chain within the
 * window, straddles row 1,024.
 *
 * What accounts keep of a range's customers is gone when the next range begins, also where only a
 * few had rows and only theirs is cleared (worker.c): the same few slots of each range have them.
 *
 * Both are asked of the head and of a part. KEEL_SEED=n tries one history. ctest: timeout=300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "query/exec.h"
#include "query/language/parse.h"
#include "random_world.h"

enum { HISTORIES = 60, TIE_MOST = 4, BATCH = 1024, RANGE = 64, RANGES = 12, RARE_MOST = 7 };

static const char *const QUESTIONS[] = {
    "funnel \"A\", \"B\", \"C\" within 1 second",
    "funnel \"A\", \"B\", \"C\" within 1 second by color",
    "funnel \"B\", \"A\" within 1 second by color",
    "funnel \"C\", \"B\", \"A\", \"D\" within 1 second",
    "funnel \"A\", \"C\" without \"B\" within 1 second",
    "count customers where reached step 3 of (\"A\", \"B\", \"C\" within 1 second)",
};

static const char *const OF_FEW[] = {
    "count customers where did \"B\" at least 2 times",
    "count customers where sum(\"B\".price) > 12",
    "count customers where avg(\"B\".price) > 5",
    "count customers where min(\"B\".price) < 4",
    "count customers where max(\"B\".price) > 6",
    "count customers where unique(\"B\".color) >= 2",
    "count customers where did \"B\" followed by \"C\" within 1 day",
    "count customers where did \"B\" not followed by \"C\"",
    "count customers where did \"B\" by first(\"B\".color)",
    "count customers where did \"C\" by last(\"B\".color)",
};

static char dir[200];

static void happen(struct naive *h, struct batch_writer *w, struct rand *r, const char *user,
                   const char *name, int64_t time) {
    static const char *const colours[] = {"red", "green", "blue"};
    struct naive_event *e = &h->events[h->n];
    memset(e, 0, sizeof *e);
    e->type = EVENT_TRACK;
    e->user = user;
    e->name = name;
    e->time = time;
    e->id = h->n++;
    e->n_props = 2;
    e->props[0] = (struct naive_field){"color", datum_str(str_from(colours[rand_below(r, 3)]))};
    e->props[1] = (struct naive_field){"price", datum_number(1 + rand_below(r, 9))};
    write_naive_event(w, e);
}

static void begin_history(struct db *db, struct naive *h, struct batch_writer *w) {
    batch_writer_init(w);
    h->n = 0;
    h->zone = db_zone(db);
    h->at_ms = RANDOM_BASE_MS + (int64_t)100 * MS_PER_DAY;
}

static void end_history(struct db *db, struct naive *h, struct batch_writer *w) {
    ingest_written(db, w);
    batch_writer_release(w);
    naive_link(h);
}

/* Two customers fill the first rows, ten seconds apart; the second one's tie lies on the border. */
static void make_history(struct db *db, struct naive *h, uint64_t seed) {
    static const char *const names[] = {"A", "B", "C", "D"};
    struct batch_writer w;
    struct rand r;
    rand_init(&r, seed);
    begin_history(db, h, &w);
    uint32_t first = rand_below(&r, 2) ? 0 : 1 + rand_below(&r, BATCH / 2);
    uint32_t tie = 2 + rand_below(&r, TIE_MOST - 1), before = 1 + rand_below(&r, tie - 1);
    uint32_t fill = BATCH - before, ties = rand_below(&r, 3) ? 1 : 3;
    int64_t t = RANDOM_BASE_MS;
    for (uint32_t i = 0; i < fill; i++, t += 10000)
        happen(h, &w, &r, i < first ? "u1" : "u2", rand_below(&r, 30) ? "A" : "B", t);
    for (; ties > 0; ties--, t += rand_below(&r, 2) ? 500 : 10000)
        for (uint32_t n = 0; n < tie; n++) happen(h, &w, &r, "u2", names[rand_below(&r, 4)], t);
    for (uint32_t i = 0; i < 5; i++)
        happen(h, &w, &r, "u3", names[rand_below(&r, 4)], t + rand_below(&r, 2));
    end_history(db, h, &w);
}

/* Everybody does A; in each range the customers of three slots do B and C, a few times. */
static void make_few(struct db *db, struct naive *h, uint64_t seed) {
    static char users[RANGE * RANGES][8];
    static const uint32_t slots[] = {0, 17, RANGE - 1};
    struct batch_writer w;
    struct rand r;
    rand_init(&r, seed);
    begin_history(db, h, &w);
    for (uint32_t i = 0; i < RANGE * RANGES; i++) {
        snprintf(users[i], sizeof users[i], "u%u", i);
        happen(h, &w, &r, users[i], "A", RANDOM_BASE_MS + i);
    }
    for (uint32_t k = 0; k < RANGES; k++)
        for (uint32_t n = rand_below(&r, RARE_MOST + 1); n > 0; n--)
            happen(h, &w, &r, users[k * RANGE + slots[rand_below(&r, 3)]],
                   rand_below(&r, 3) ? "B" : "C",
                   RANDOM_BASE_MS + MS_PER_HOUR * (int64_t)(1 + rand_below(&r, 50)));
    end_history(db, h, &w);
}

static void ask(struct db *db, const struct naive *h, const char *question, uint32_t range_size,
                uint64_t seed) {
    struct arena arena;
    struct query *q;
    struct keel_error err = {0};
    struct snapshot *snap;
    struct result *got = NULL, *wanted = result_new();
    struct query_options options = {.at_ms = h->at_ms, .threads = 1, .range_size = range_size};
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    assert_int_equal(query_parse(str_from(question), &arena, &q, NULL, &err), 0);
    assert_int_equal(snapshot_open(db_store(db), &snap, &err), 0);
    assert_int_equal(query_run(db, snap, q, &options, &got, &err), 0);
    naive_answer(h, q, wanted);
    assert_true(wanted->n_rows > 0);
    if (!naive_same(got, wanted))
        fail_msg("KEEL_SEED=%llu: %s", (unsigned long long)seed, question);
    result_free(got);
    result_free(wanted);
    snapshot_close(snap);
    arena_release(&arena);
}

typedef void make(struct db *db, struct naive *h, uint64_t seed);

static void one_history(uint64_t seed, make *history, const char *const *questions, size_t n,
                        uint32_t range_size) {
    static struct naive h;
    struct keel_error err = {0};
    struct db *db;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_int_equal(db_open(dir, &(struct db_options){0}, &db, &err), 0);
    history(db, &h, seed);
    for (int flushed = 0; flushed < 2; flushed++) {
        for (size_t i = 0; i < n; i++) ask(db, &h, questions[i], range_size, seed);
        assert_true(db_flush(db, &err) >= 0);
    }
    assert_int_equal(db_close(db, NULL), 0);
}

static void all_histories(make *history, const char *const *questions, size_t n,
                          uint32_t range_size) {
    const char *given = getenv("KEEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    const uint64_t last = given ? seed : HISTORIES;
    for (; seed <= last; seed++) one_history(seed, history, questions, n, range_size);
}

static void test_ties_across_the_border(void **state) {
    (void)state;
    all_histories(make_history, QUESTIONS, sizeof QUESTIONS / sizeof *QUESTIONS, 0);
}

static void test_few_of_each_range(void **state) {
    (void)state;
    all_histories(make_few, OF_FEW, sizeof OF_FEW / sizeof *OF_FEW, RANGE);
}

int main(void) {
    char template[] = "/tmp/keel_test_border_XXXXXX";
    if (!mkdtemp(template)) return 1;
    snprintf(dir, sizeof dir, "%s/store", template);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ties_across_the_border),
                                       cmocka_unit_test(test_few_of_each_range)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", template);
    return system(command) != 0 || failed;
}
