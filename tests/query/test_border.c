/* What feed.h promises of two batches, where funnels need it: of a customer whose rows go on in the
 * next batch, events at one time may lie on both sides of the border and still count in any order.
 *
 * Histories are laid so that a tie of some events, which alone can complete a chain within the
 * window, straddles row 1,024; asked of the head and of a part. KEEL_SEED=n tries
 * one history. ctest: timeout=300 */
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

enum { HISTORIES = 60, TIE_MOST = 4, BATCH = 1024 };

static const char *const QUESTIONS[] = {
    "funnel \"A\", \"B\", \"C\" within 1 second",
    "funnel \"A\", \"B\", \"C\" within 1 second by color",
    "funnel \"B\", \"A\" within 1 second by color",
    "funnel \"C\", \"B\", \"A\", \"D\" within 1 second",
    "funnel \"A\", \"C\" without \"B\" within 1 second",
    "count customers where reached step 3 of (\"A\", \"B\", \"C\" within 1 second)",
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
    e->n_props = 1;
    e->props[0] = (struct naive_field){"color", datum_str(str_from(colours[rand_below(r, 3)]))};
    write_naive_event(w, e);
}

/* Two customers fill the first rows, ten seconds apart; the second one's tie lies on the border. */
static void make_history(struct db *db, struct naive *h, uint64_t seed) {
    static const char *const names[] = {"A", "B", "C", "D"};
    struct batch_writer w;
    struct rand r;
    rand_init(&r, seed);
    batch_writer_init(&w);
    h->n = 0;
    h->zone = db_zone(db);
    h->at_ms = RANDOM_BASE_MS + (int64_t)100 * MS_PER_DAY;
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
    ingest_written(db, &w);
    batch_writer_release(&w);
    naive_link(h);
}

static void ask(struct db *db, const struct naive *h, const char *question, uint64_t seed) {
    struct arena arena;
    struct query *q;
    struct keel_error err = {0};
    struct snapshot *snap;
    struct result *got = NULL, *wanted = result_new();
    struct query_options options = {.at_ms = h->at_ms, .threads = 1};
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

static void one_history(uint64_t seed) {
    static struct naive h;
    struct keel_error err = {0};
    struct db *db;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_int_equal(db_open(dir, &(struct db_options){0}, &db, &err), 0);
    make_history(db, &h, seed);
    for (int flushed = 0; flushed < 2; flushed++) {
        for (size_t i = 0; i < sizeof QUESTIONS / sizeof *QUESTIONS; i++)
            ask(db, &h, QUESTIONS[i], seed);
        assert_true(db_flush(db, &err) >= 0);
    }
    assert_int_equal(db_close(db, NULL), 0);
}

static void test_ties_across_the_border(void **state) {
    (void)state;
    const char *given = getenv("KEEL_SEED");
    if (given) {
        one_history(strtoull(given, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) one_history(seed);
}

int main(void) {
    char template[] = "/tmp/keel_test_border_XXXXXX";
    if (!mkdtemp(template)) return 1;
    snprintf(dir, sizeof dir, "%s/store", template);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ties_across_the_border)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", template);
    return system(command) != 0 || failed;
}
