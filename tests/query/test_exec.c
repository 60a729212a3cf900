/* Random histories and random questions: the engine answers as the naive evaluator does, whatever
 * mix of head, parts, late and repeated events, equal times and merged customers, and on any number
 * of threads.
 *
 * KEEL_SEED=n tries one history; without it many are tried. A failing history is halved as long as
 * it still fails, then its seed, its size and the question are printed.
 * ctest: timeout=900 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "naive.h"
#include "query/exec.h"
#include "query/language/parse.h"
#include "query/language/query_print.h"
#include "query/people.h"
#include "random_world.h"

enum { HISTORIES = 60, QUESTIONS = 60, MOST_EVENTS = 160 };

/* ---- histories ---- */

/* A store that holds the history: in batches, flushed and compacted here and there, some events
 * twice. `used` of the history's `n` events are taken. */
static struct db *build(const char *dir, struct naive *h, uint64_t seed, uint32_t used) {
    struct rand r;
    struct keel_error err = {0};
    struct db *db;
    struct batch_writer w;
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_int_equal(db_open(dir, &(struct db_options){0}, &db, &err), 0);
    rand_init(&r, seed);
    batch_writer_init(&w);
    uint32_t n = 20 + rand_below(&r, MOST_EVENTS - 20);
    uint32_t grain = ((const uint32_t[]){1, 4, 16, 60})[rand_below(&r, 4)];
    h->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct naive_event *e = &h->events[h->n];
        random_event(&r, grain, e);
        e->id = i;
        uint32_t dice = rand_below(&r, 60);
        if (i >= used) continue; /* the same numbers are drawn, so that a prefix stays itself */
        write_naive_event(&w, e);
        if (dice < 6) write_naive_event(&w, &h->events[rand_below(&r, h->n + 1)]);
        h->n++;
        if (dice > 40) ingest_written(db, &w);
        if (dice == 0) assert_int_equal(db_flush(db, &err), 0);
        if (dice == 1) {
            ingest_written(db, &w);
            store_ingest_begin(db_store(db));
            int code = store_flush(db_store(db), &err);
            if (code == 0) code = store_compact(db_store(db), true, &err);
            store_ingest_end(db_store(db));
            assert_true(code >= 0);
        }
    }
    ingest_written(db, &w);
    batch_writer_release(&w);
    h->zone = db_zone(db);
    h->segment = random_segment;
    return db;
}

/* ---- questions ---- */

static void say_among(struct ask *a) {
    if (dice(a, 3)) return;
    say(a, " among customers where ");
    say_cond(a, 1);
}

static void say_traits(struct ask *a) {
    ONE_OF(a, "", "", " by trait country", " by trait country, trait color", " by segment \"S2\"");
}

static void say_props(struct ask *a) {
    ONE_OF(a, "", "", " split by color", " split by trait country", " split by channel",
           " split by mix, trait country", " split by products.sku", " split by flag, color",
           " split by event", " split by segment \"S1\", color", " split by segment \"S3\"");
}

static void say_count(struct ask *a) {
    say(a, "count customers where ");
    say_cond(a, 2);
    say_traits(a);
}

static void say_list(struct ask *a) {
    say(a, "list customers where ");
    say_cond(a, 1);
    if (dice(a, 2)) {
        say(a, " with trait country, ");
        say_measure(a, true);
        say(a, ", ");
        say_measure(a, true);
    }
    if (dice(a, 2)) {
        say(a, " order by ");
        say_measure(a, true);
        ONE_OF(a, "", " desc");
    }
    ONE_OF(a, "", " limit 3");
}

static void say_funnel(struct ask *a) {
    ONE_OF(a, "funnel ", "funnel ", "funnel any order ");
    if (dice(a, 2)) {
        say_tracks(a, 2 + dice(a, 3));
    } else {
        say_event(a);
        say(a, ", ");
        say_events(a, 3);
    }
    if (dice(a, 4) == 0) {
        say(a, " without ");
        say_event(a);
    }
    if (dice(a, 5) == 0) ONE_OF(a, " with same color", " with same color, flag");
    say_within(a);
    say_range(a);
    ONE_OF(a, "", "", " by color", " by trait country", " by channel, flag", " by segment \"S1\"");
    say_among(a);
}

static void say_retention(struct ask *a) {
    say(a, dice(a, 3) ? "retention from first " : "retention from each ");
    say_event(a);
    say(a, " to ");
    say_event(a);
    ONE_OF(a, " by day over 9 days", " by week", " by month", " by week over 2 weeks",
           " by quarter");
    ONE_OF(a, "", " split by trait country", " split by segment \"S2\", segment \"S1\"");
    say_range(a);
    say_among(a);
}

static void say_repeat(struct ask *a) {
    say(a, "repeat of ");
    say_event(a);
    ONE_OF(a, " by week since 2011-04-04", " by month from 2011-03-01 to 2011-05-15",
           " by day from 2011-04-02 to 2011-04-12");
    ONE_OF(a, "", " split by trait country");
    say_among(a);
}

static void say_lifecycle(struct ask *a) {
    say(a, "lifecycle of ");
    if (dice(a, 4))
        say_events(a, 3);
    else
        say(a, "customers");
    ONE_OF(a, " by day", " by week", " by month", " by quarter");
    ONE_OF(a, "", " split by trait country", " split by segment \"S2\"");
    say_range(a);
    say_among(a);
}

static void say_trend(struct ask *a) {
    bool total = dice(a, 4) == 0;
    say(a, total ? "total of " : "trend of ");
    uint32_t n = 1 + dice(a, 2), unit = dice(a, 4);
    static const char *const units[] = {"day", "week", "month", "hour"};
    for (uint32_t i = 0; i < n; i++) {
        if (i) say(a, ", ");
        switch (dice(a, 3)) {
        case 0:
            say(a, "unique customers of ");
            say_event(a);
            break;
        case 1:
            say(a, "events of ");
            say_event(a);
            break;
        default: say_measure(a, false); break;
        }
    }
    if (!total) {
        if (unit < 2 && dice(a, 2)) say(a, unit == 0 ? " over 4 days" : " over 2 weeks");
        say(a, " by ");
        say(a, units[unit]);
        if (unit == 3)
            say(a, " on 2011-04-05");
        else
            say_range(a);
    } else {
        say_range(a);
    }
    say_props(a);
    say_among(a);
}

static void say_time(struct ask *a) {
    say(a, dice(a, 2) ? "time from first " : "time from each ");
    say_event(a);
    say(a, " to ");
    say_event(a);
    say_within(a);
    ONE_OF(a, "", " percentiles 10, 50, 99.5");
    say_range(a);
    ONE_OF(a, "", " by color", " by trait country", " by channel");
    say_among(a);
}

static void say_paths(struct ask *a) {
    ONE_OF(a, "paths of 2 events", "paths of 3 events", "paths of 4 events");
    if (dice(a, 2)) {
        say(a, " of ");
        say_events(a, 3);
    }
    if (dice(a, 3) == 0) {
        say(a, " starting at ");
        say_event(a);
    }
    if (dice(a, 3) == 0) {
        say(a, " ending at ");
        say_event(a);
    }
    say_within(a);
    ONE_OF(a, "", " limit 4");
    say_range(a);
    say_among(a);
}

static void say_attribute(struct ask *a) {
    ONE_OF(a, "attribute sum(\"Order\".price) to ", "attribute events of \"Order\" to ",
           "attribute sum(\"Order\".products.qty) to ", "attribute count(\"A\".color) to ",
           "attribute events of any event to ");
    static const char *const models[] = {"last ",     "first ",   "linear ", "decay ",
                                         "position ", "shapley ", "markov "};
    uint32_t model = dice(a, 7);
    say(a, models[model]);
    say_events(a, 2);
    ONE_OF(a, " by color", " by channel", " by mix");
    if (model == 3) ONE_OF(a, "", " with half-life 5 hours", " with half-life 2 seconds");
    say_within(a);
    ONE_OF(a, "", " limit 2");
    say_range(a);
    say_among(a);
}

static void say_sessions(struct ask *a) {
    say(a, "sessions");
    if (dice(a, 2)) {
        say(a, " of ");
        say_events(a, 3);
    }
    ONE_OF(a, " with gap 30 minutes", " with gap 6 hours", " with gap 2 days");
    ONE_OF(a, "", "", " starting at change of channel", " starting at change of color");
    ONE_OF(a, "", " by day", " by week", " by month");
    ONE_OF(a, "", " split by color", " split by trait country", " split by channel, flag",
           " split by segment \"S1\"");
    say_range(a);
    say_among(a);
}

static void say_rfm(struct ask *a) {
    say(a, "rfm of ");
    ONE_OF(a, "\"Order\"", "\"A\"", "any event", "\"A\" where price > 2");
    ONE_OF(a, " by price", " by mix", " by products.qty");
    say(a, " recency 5 days, 20 days frequency 2, 4 value 3, 10.5");
    say_range(a);
    say_among(a);
}

static void say_top(struct ask *a) {
    ONE_OF(a, "top 3 \"Order\".products.sku", "top 5 any event.color", "top 10 \"A\".mix",
           "top 2 \"B\".price", "top 4 \"Order\".channel", "top 6 page.name",
           "top 6 \"Order\".color");
    if (dice(a, 3) == 0) {
        say(a, " where ");
        say_test(a);
    }
    ONE_OF(a, "", " by events", " by customers", " by sum(products.qty)", " by sum(price)");
    say_range(a);
    say_among(a);
}

static void say_top_events(struct ask *a) {
    say(a, "top 5 events");
    ONE_OF(a, "", " by customers");
    say_range(a);
}

static void say_side(struct ask *a) {
    switch (dice(a, 4)) {
    case 0: ONE_OF(a, "segment \"S1\"", "segment \"S2\"", "segment \"S3\""); break;
    default: say(a, "customers where "); say_cond(a, 1);
    }
}

static void say_compare(struct ask *a) {
    say(a, "compare ");
    say_side(a);
    say(a, " with ");
    if (dice(a, 3))
        say_side(a);
    else
        ONE_OF(a, "others", "customers");
    ONE_OF(a, " with at least 1 customers", " with at least 3 customers", "");
    say_range(a);
    ONE_OF(a, "", " limit 4");
    say_among(a);
}

static void (*const SAY[])(struct ask *) = {
    say_count, say_list,       say_funnel,    say_retention, say_repeat,   say_trend,
    say_trend, say_time,       say_paths,     say_attribute, say_sessions, say_rfm,
    say_top,   say_top_events, say_lifecycle, say_compare,
};

/* ---- comparing ---- */

static void print_answer(const char *title, const struct result *r) {
    struct buf text;
    buf_init(&text, 1 << 20);
    for (uint64_t row = 0; row < r->n_rows && row < 40; row++) {
        for (uint32_t c = 0; c < r->n_columns; c++) {
            (void)!buf_add_char(&text, c ? '\t' : ' ');
            (void)!datum_print_json(result_cell(r, row, c), &text);
        }
        (void)!buf_add_char(&text, '\n');
    }
    fprintf(stderr, "%s: %llu rows\n%.*s", title, (unsigned long long)r->n_rows, (int)text.n,
            (const char *)text.p);
    buf_release(&text);
}

static unsigned asked, refused, empty, peopled;

/* ---- the people of a row ---- */

/* The numbers of an answer that say how many customers there are. */
static bool counts_people(const struct query *q, const struct result *r, uint32_t column) {
    static const char *const names[] = {"customers",   "size",       "active", "new",
                                        "retained",    "returned",   "lapsed", "dormant",
                                        "a_customers", "b_customers"};
    if (q->form == QUERY_TREND) {
        uint32_t first = q->has_period + q->n_splits;
        return column >= first && q->trend.measures[column - first].agg == QUERY_CUSTOMERS;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(r->columns[column].name, names[i])) return true;
    return false;
}

static int64_t how_many(struct db *db, const struct snapshot *snap, int64_t at_ms,
                        const struct query_cond *who) {
    struct buf text;
    struct arena arena;
    struct query *q;
    struct result *r;
    struct keel_error err = {0};
    struct query_options options = {.at_ms = at_ms, .threads = 1, .segment = random_segment};
    buf_init(&text, QUERY_MAX_TEXT);
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    assert_int_equal(buf_add_text(&text, "count customers where "), 0);
    assert_int_equal(query_print_cond(who, &text), 0);
    if (query_parse(buf_str(&text), &arena, &q, NULL, &err) < 0)
        fail_msg("%.*s: %s", STR_ARG(buf_str(&text)), err.message);
    assert_int_equal(query_run(db, snap, q, &options, &r, &err), 0);
    int64_t n = result_cell(r, 0, 0)->integer;
    result_free(r);
    buf_release(&text);
    arena_release(&arena);
    return n;
}

/* Some rows' numbers of customers, counted again by the condition that is made of the row. */
static void check_people(struct db *db, const struct naive *h, const struct snapshot *snap,
                         const struct query *q, const struct result *r) {
    enum { LOOKS = 3 };
    for (uint64_t look = 0; look < LOOKS && r->n_rows > 0; look++)
        for (uint32_t column = 0; column < r->n_columns; column++) {
            uint64_t row = (r->n_rows - 1) * look / (LOOKS - 1);
            if (!counts_people(q, r, column)) continue;
            struct people p = {.query = q,
                               .zone = h->zone,
                               .schema = store_schema(db_store(db)),
                               .at_ms = h->at_ms,
                               .row = result_cell(r, row, 0),
                               .n_row = r->n_columns,
                               .column = r->columns[column].name};
            const struct query_cond *who;
            struct keel_error err = {0};
            struct arena arena;
            arena_init(&arena, QUERY_ARENA_BYTES);
            if (people_condition(&p, &arena, &who, &err) == 0) {
                int64_t n = how_many(db, snap, h->at_ms, who);
                peopled++;
                if (n != result_cell(r, row, column)->integer) {
                    struct buf text;
                    buf_init(&text, QUERY_MAX_TEXT);
                    (void)!query_print_cond(who, &text);
                    fail_msg("%.*s\nrow %llu, %.*s: %lld customers, but %lld where %.*s",
                             STR_ARG(q->text), (unsigned long long)row + 1, STR_ARG(p.column),
                             (long long)result_cell(r, row, column)->integer, (long long)n,
                             STR_ARG(buf_str(&text)));
                }
            } else if (strstr(err.message, "cannot be written") == NULL) {
                fail_msg("%.*s: %s", STR_ARG(q->text), err.message);
            }
            arena_release(&arena);
        }
}

/* One question on one store; prints both answers if they differ. */
static bool check(struct db *db, struct naive *h, struct str question, unsigned threads,
                  bool print) {
    struct arena arena;
    struct query *q;
    struct keel_error err = {0};
    struct snapshot *snap;
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    asked++;
    if (query_parse(question, &arena, &q, NULL, &err) < 0) {
        refused++; /* some combinations make no sense: see the end of the test */
        arena_release(&arena);
        return true;
    }
    struct result *got = NULL, *wanted = result_new();
    assert_int_equal(snapshot_open(db_store(db), &snap, &err), 0);
    /* So few customers at a time that each worker has its share. */
    struct query_options options = {.at_ms = h->at_ms,
                                    .threads = threads,
                                    .range_size = threads == 1 ? 0 : threads,
                                    .segment = random_segment};
    if (query_run(db, snap, q, &options, &got, &err) < 0)
        fail_msg("%.*s: %s", STR_ARG(question), err.message);
    naive_answer(h, q, wanted);
    bool same = naive_same(got, wanted);
    if (wanted->n_rows == 0) empty++;
    if (same) check_people(db, h, snap, q, got);
    if (!same && print) {
        print_answer("engine", got);
        print_answer("naive", wanted);
    }
    result_free(got);
    result_free(wanted);
    snapshot_close(snap);
    arena_release(&arena);
    return same;
}

/* ---- the test ---- */

static char dir[200];

static bool holds(uint64_t seed, uint32_t used, struct str question, int64_t at_ms, bool print) {
    static struct naive h;
    struct db *db = build(dir, &h, seed, used);
    h.at_ms = at_ms;
    naive_link(&h);
    bool same = check(db, &h, question, 2, print);
    assert_int_equal(db_close(db, NULL), 0);
    return same;
}

static void shrink(uint64_t seed, struct str question, int64_t at_ms) {
    uint32_t good = 0, bad = MOST_EVENTS; /* prefixes of so many events */
    while (bad - good > 1) {
        uint32_t mid = good + (bad - good) / 2;
        if (holds(seed, mid, question, at_ms, false))
            good = mid;
        else
            bad = mid;
    }
    fprintf(stderr, "KEEL_SEED=%llu, first %u events, at %lld:\n%.*s\n", (unsigned long long)seed,
            bad, (long long)at_ms, STR_ARG(question));
    (void)holds(seed, bad, question, at_ms, true);
}

static void one_history(uint64_t seed) {
    static struct naive h;
    struct rand r;
    struct db *db = build(dir, &h, seed, MOST_EVENTS);
    rand_init(&r, seed ^ 0x9e3779b97f4a7c15u);
    struct ask a = {.r = &r};
    buf_init(&a.text, 1 << 16);
    for (int i = 0; i < QUESTIONS; i++) {
        h.at_ms = RANDOM_BASE_MS +
                  (int64_t)(rand_below(&r, 3) ? 70 : 10 + rand_below(&r, 50)) * MS_PER_DAY +
                  (int64_t)rand_below(&r, 24) * MS_PER_HOUR;
        naive_link(&h);
        buf_clear(&a.text);
        SAY[rand_below(&r, sizeof SAY / sizeof SAY[0])](&a);
        if (check(db, &h, buf_str(&a.text), 1 + rand_below(&r, 3), false)) continue;
        assert_int_equal(db_close(db, NULL), 0);
        shrink(seed, buf_str(&a.text), h.at_ms);
        fail();
    }
    buf_release(&a.text);
    assert_int_equal(db_close(db, NULL), 0);
}

static void test_random_questions(void **state) {
    (void)state;
    const char *given = getenv("KEEL_SEED");
    const char *most = getenv("KEEL_HISTORIES");
    uint64_t count = most ? strtoull(most, NULL, 10) : HISTORIES;
    if (given) {
        one_history(strtoull(given, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= count; seed++) one_history(seed);
    printf("%u questions, %u refused, %u answers without rows, the people of %u numbers\n", asked,
           refused, empty, peopled);
    assert_true(peopled > asked / 4);
    assert_true(refused < asked / 10 && empty < asked / 2); /* else they prove little */
}

int main(void) {
    char template[] = "/tmp/keel_test_exec_XXXXXX";
    if (!mkdtemp(template)) return 1;
    snprintf(dir, sizeof dir, "%s/store", template);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_questions)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", template);
    return system(command) != 0 || failed;
}
