/* Live segments over random histories: whatever is ingested, late, early, repeated, joined, flushed
 * or compacted, and however time moves on, members are those whom the naive evaluator finds at that
 * moment; and the changes that were told lead from one membership to the next.
 *
 * KEEL_SEED=n tries one history.
 * ctest: timeout=600 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <roaring/roaring.h>

#include "query/language/parse.h"
#include "query/live/live.h"
#include "random_world.h"

enum { HISTORIES = 60, STEPS = 60, SEGMENTS = 8, MOST_EVENTS = 400 };

struct watched {
    bool used;
    uint32_t id;
    struct arena arena;
    struct query *q;
    roaring_bitmap_t *told; /* members, as the changes say */
};

struct world {
    uint64_t seed;
    struct rand r;
    struct db *db;
    struct naive *h;
    struct live *live;
    struct watched *started; /* is being filled by steps; nobody asks for its members yet */
    struct watched segments[SEGMENTS];
    int64_t now;
    uint32_t step, grain, next_id;
    uint64_t changes;
};

static char dir[200];

static void on_changes(void *ctx, const struct live_change *changes, size_t n) {
    struct world *w = ctx;
    w->changes += n;
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < SEGMENTS; k++) {
            struct watched *s = &w->segments[k];
            if (!s->used || s->id != changes[i].segment) continue;
            bool fresh = changes[i].entered
                             ? roaring_bitmap_add_checked(s->told, changes[i].customer)
                             : roaring_bitmap_remove_checked(s->told, changes[i].customer);
            if (!fresh)
                fail_msg("seed %llu step %u: told twice", (unsigned long long)w->seed, w->step);
        }
    }
}

static void start_live(struct world *w) {
    struct live_options options = {.changed = on_changes, .ctx = w};
    w->live = live_new(w->db, w->now, &options);
}

static void watch(struct world *w, struct watched *s) {
    struct keel_error err = {0};
    assert_int_equal(live_add(w->live, s->q->where, &s->id, &err), 0);
    if (s->told) roaring_bitmap_free(s->told);
    s->told = roaring_bitmap_copy(live_members(w->live, s->id));
    s->used = true;
}

static int parse(struct watched *s, struct str text) {
    arena_init(&s->arena, 2 * (size_t)QUERY_ARENA_BYTES);
    int code = query_parse(text, &s->arena, &s->q, NULL, NULL);
    if (code < 0) arena_release(&s->arena);
    return code;
}

static void think_of(struct world *w, struct watched *s) {
    for (;;) {
        struct ask a = {.r = &w->r};
        buf_init(&a.text, 1 << 16);
        say(&a, "count customers where ");
        if (rand_below(&w->r, 6) == 0) /* more values in the range than are kept, or few */
            ONE_OF(&a, "sum(any event.price) > 20 during last 1 month",
                   "sum(any event.price) <= 11 during last 1 month",
                   "sum(any event.products.qty) = 0 during last 10 days",
                   "sum(any event.products.qty) > 9 during last 10 days",
                   "sum(\"Order\".price) < 5 during last 100 hours");
        else
            say_cond(&a, 2);
        int code = parse(s, buf_str(&a.text));
        buf_release(&a.text);
        if (code == 0) break;
    }
}

static void add_segment(struct world *w, struct watched *s) {
    if (w->started) return; /* not while another is half-way filled */
    think_of(w, s);
    watch(w, s);
}

static void drop_segment(struct world *w, struct watched *s) {
    if (!s->used) return;
    live_remove(w->live, s->id);
    roaring_bitmap_free(s->told);
    arena_release(&s->arena);
    *s = (struct watched){0};
}

/* Begins to fill a segment, while the others go on. */
static void start_segment(struct world *w) {
    struct keel_error err = {0};
    struct watched *s = &w->segments[rand_below(&w->r, SEGMENTS)];
    if (w->started || rand_below(&w->r, 2)) return;
    drop_segment(w, s);
    think_of(w, s);
    assert_int_equal(live_start(w->live, s->q->where, &s->id, &err), 0);
    w->started = s;
}

static void forget_started(struct world *w) {
    if (!w->started) return;
    arena_release(&w->started->arena);
    *w->started = (struct watched){0};
    w->started = NULL;
}

/* True: it is filled. */
static bool fill(struct world *w, uint32_t most) {
    struct keel_error err = {0};
    struct watched *s = w->started;
    K_ASSERT(s);
    int code = live_fill(w->live, most, &err);
    if (code < 0) fail_msg("%s", err.message);
    if (code > 0) {
        assert_true(live_filled(w->live) >= 0 && live_filled(w->live) < 1);
        return false;
    }
    s->told = roaring_bitmap_copy(live_members(w->live, s->id));
    s->used = true;
    w->started = NULL;
    return true;
}

static void fill_some(struct world *w) {
    struct watched *s = w->started;
    if (!s || rand_below(&w->r, 3) == 0) return;
    if (fill(w, rand_below(&w->r, 4)) || rand_below(&w->r, 40)) return;
    live_remove(w->live, s->id); /* nobody wants it any more */
    forget_started(w);
}

/* A process that stops and begins again where it was: what changed meanwhile is told. */
static void begin_again(struct world *w) {
    struct keel_error err = {0};
    live_free(w->live);
    forget_started(w);
    start_live(w);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        struct watched *s = &w->segments[i];
        if (!s->used) continue;
        assert_int_equal(live_expect(w->live, s->q->where, s->told, &s->id, &err), 0);
    }
}

/* Events around the clock: mostly now, some late, some early. */
static void ingest_some(struct world *w) {
    struct batch_writer writer;
    batch_writer_init(&writer);
    for (uint32_t n = rand_below(&w->r, 5); n > 0 && w->h->n < MOST_EVENTS; n--) {
        struct naive_event *e = &w->h->events[w->h->n++];
        random_event(&w->r, w->grain, e);
        e->id = w->next_id++;
        if (rand_below(&w->r, 3)) {
            e->time = w->now - (int64_t)rand_below(&w->r, 4) * 6 * MS_PER_HOUR;
            if (rand_below(&w->r, 6) == 0) e->time += MS_PER_DAY;
        }
        write_naive_event(&writer, e);
        if (rand_below(&w->r, 10) == 0)
            write_naive_event(&writer, &w->h->events[rand_below(&w->r, w->h->n)]);
    }
    ingest_written(w->db, &writer);
    batch_writer_release(&writer);
}

static void turn_clock(struct world *w) {
    static const int64_t steps[] = {0, 1, 1000, MS_PER_HOUR, 5 * MS_PER_HOUR, 26 * MS_PER_HOUR};
    w->now += steps[rand_below(&w->r, 6)];
    int64_t next = live_next(w->live);
    if (rand_below(&w->r, 5) == 0 && next > w->now && next < w->now + 40 * (int64_t)MS_PER_DAY)
        w->now = next; /* to the very moment */
}

static void disturb(struct world *w) {
    struct keel_error err = {0};
    struct watched *s = &w->segments[rand_below(&w->r, SEGMENTS)];
    start_segment(w);
    switch (rand_below(&w->r, 14)) {
    case 0: assert_int_equal(db_flush(w->db, &err), 0); break;
    case 1:
        if (w->started) break;
        drop_segment(w, s);
        add_segment(w, s);
        break;
    case 3: begin_again(w); break;
    case 2: /* everything again, as after a restart */
        live_free(w->live);
        forget_started(w);
        start_live(w);
        for (uint32_t i = 0; i < SEGMENTS; i++)
            if (w->segments[i].used) watch(w, &w->segments[i]);
        break;
    default: break;
    }
}

/* ---- comparing ---- */

static uint32_t number_of(struct world *w, uint32_t naive_root) {
    enum id_kind kind = w->h->is_user[naive_root] ? ID_USER : ID_ANONYMOUS;
    return identity_find(db_identity(w->db), kind, str_from(w->h->name_of[naive_root]));
}

static void compare_one(struct world *w, const struct watched *s) {
    static struct naive_customer customers[NAIVE_MAX_EVENTS];
    uint32_t n = naive_customers(w->h, customers);
    roaring_bitmap_t *wanted = roaring_bitmap_create();
    for (uint32_t i = 0; i < n; i++)
        if (naive_holds(w->h, &customers[i], s->q->where))
            roaring_bitmap_add(wanted, number_of(w, customers[i].root));
    const roaring_bitmap_t *got = live_members(w->live, s->id);
    if (!roaring_bitmap_equals(wanted, got)) {
        fprintf(stderr, "wanted: ");
        roaring_bitmap_printf(wanted);
        fprintf(stderr, "\ngot: ");
        roaring_bitmap_printf(got);
        fail_msg("seed %llu step %u: %.*s", (unsigned long long)w->seed, w->step,
                 STR_ARG(s->q->text));
    }
    if (!roaring_bitmap_equals(s->told, got))
        fail_msg("seed %llu step %u: not all was told of %.*s", (unsigned long long)w->seed,
                 w->step, STR_ARG(s->q->text));
    assert_int_equal(live_size(w->live, s->id), roaring_bitmap_get_cardinality(wanted));
    roaring_bitmap_free(wanted);
}

static void compare(struct world *w) {
    w->h->at_ms = w->now;
    naive_link(w->h);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        if (w->segments[i].used) compare_one(w, &w->segments[i]);
}

/* ---- the test ---- */

static void begin_world(struct world *w, uint64_t seed) {
    static struct naive h;
    struct keel_error err = {0};
    char command[300];
    *w = (struct world){.seed = seed, .h = &h};
    memset(&h, 0, sizeof h);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_int_equal(db_open(dir, &(struct db_options){0}, &w->db, &err), 0);
    h.zone = db_zone(w->db);
    rand_init(&w->r, seed);
    w->now = RANDOM_BASE_MS + (int64_t)rand_below(&w->r, 30) * MS_PER_DAY;
    start_live(w);
}

static void end_world(struct world *w) {
    struct keel_error err = {0};
    forget_started(w);
    for (uint32_t i = 0; i < SEGMENTS; i++) drop_segment(w, &w->segments[i]);
    live_free(w->live);
    assert_int_equal(db_close(w->db, &err), 0);
}

static void advance(struct world *w) {
    struct keel_error err = {0};
    if (live_advance(w->live, w->now, &err) < 0)
        fail_msg("seed %llu step %u: %s", (unsigned long long)w->seed, w->step, err.message);
}

static uint64_t one_history(uint64_t seed) {
    struct world w;
    begin_world(&w, seed);
    w.grain = ((const uint32_t[]){1, 4, 16})[rand_below(&w.r, 3)];
    for (w.step = 0; w.step < STEPS; w.step++) {
        if (w.step < SEGMENTS && !w.segments[w.step].used) add_segment(&w, &w.segments[w.step]);
        ingest_some(&w);
        disturb(&w);
        turn_clock(&w);
        fill_some(&w);
        advance(&w);
        compare(&w);
    }
    end_world(&w);
    return w.changes;
}

static void members_are_those_of_a_full_scan(void **state) {
    (void)state;
    const char *given = getenv("KEEL_SEED");
    uint64_t changes = 0;
    for (uint64_t i = 0; i < (given ? 1 : HISTORIES); i++)
        changes += one_history(given ? strtoull(given, NULL, 10) : i + 1);
    if (!given) assert_true(changes > 1000);
}

/* ---- joined while filling ---- */

static void ingest_one(struct world *w, const char *name, const char *user, const char *anon) {
    struct batch_writer writer;
    struct naive_event *e = &w->h->events[w->h->n++];
    *e = (struct naive_event){.type = EVENT_TRACK,
                              .name = name,
                              .user = user,
                              .anon = anon,
                              .time = w->now - MS_PER_HOUR,
                              .id = w->next_id++,
                              .props = {{"price", datum_number(30)}},
                              .n_props = 1};
    batch_writer_init(&writer);
    write_naive_event(&writer, e);
    ingest_written(w->db, &writer);
    batch_writer_release(&writer);
}

/* A visitor who is not filled yet becomes a person who is, or the other way round. */
static void a_past_joins(const char *condition, bool person_first, uint32_t filled) {
    struct world w;
    struct keel_error err = {0};
    char text[200];
    begin_world(&w, filled);
    struct watched *s = w.started = &w.segments[0];
    if (person_first) ingest_one(&w, "B", "ann", NULL);
    ingest_one(&w, "Order", NULL, "visitor");
    ingest_one(&w, "Order", NULL, "visitor");
    if (!person_first) ingest_one(&w, "B", "ann", NULL);
    ingest_one(&w, "Order", "bob", NULL);
    snprintf(text, sizeof text, "count customers where %s", condition);
    assert_int_equal(parse(s, str_from(text)), 0);
    advance(&w);
    assert_int_equal(live_start(w.live, s->q->where, &s->id, &err), 0);
    assert_false(fill(&w, filled));
    ingest_one(&w, "B", "ann", "visitor");
    advance(&w);
    assert_true(fill(&w, UINT32_MAX));
    compare(&w);
    end_world(&w);
}

/* What is started before the first advance, or after one that failed, is not filled until the next
 * one has filled everything. */
static void nothing_is_filled_before_all_is(void **state) {
    (void)state;
    struct world w;
    struct keel_error err = {0};
    begin_world(&w, 1);
    struct watched *s = w.started = &w.segments[0];
    ingest_one(&w, "Order", "bob", NULL);
    assert_int_equal(parse(s, STR("count customers where did \"Order\"")), 0);
    assert_int_equal(live_start(w.live, s->q->where, &s->id, &err), 0);
    assert_int_equal(live_next(w.live), w.now);
    assert_false(fill(&w, UINT32_MAX));
    advance(&w);
    assert_true(fill(&w, UINT32_MAX));
    assert_int_equal(live_size(w.live, s->id), 1);
    compare(&w);
    end_world(&w);
}

static void what_joins_while_filling_is_there(void **state) {
    (void)state;
    static const char *const conditions[] = {"did \"Order\"",
                                             "did \"Order\" at least 2 times",
                                             "did \"Order\" at least 2 times during last 3 days",
                                             "sum(\"Order\".price) > 40",
                                             "sum(\"Order\".price) > 40 during last 3 days",
                                             "did \"Order\" followed by \"B\" within 3 days",
                                             "avg(\"Order\".price) = 30 during last 3 days",
                                             "identified and not did \"Order\""};
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        for (uint32_t filled = 0; filled < 3; filled++)
            for (int person_first = 0; person_first < 2; person_first++)
                a_past_joins(conditions[i], person_first, filled);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_filled_before_all_is),
                                       cmocka_unit_test(what_joins_while_filling_is_there),
                                       cmocka_unit_test(members_are_those_of_a_full_scan)};
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/keel-live-%d", tmp ? tmp : "/tmp", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? failed : 1;
}
