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
    struct live *live, *beside; /* beside: filled with segments[beside_of], not adopted yet */
    uint32_t beside_of;
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

static void think_of(struct world *w, struct watched *s) {
    for (;;) {
        struct ask a = {.r = &w->r};
        buf_init(&a.text, 1 << 16);
        say(&a, "count customers where ");
        if (rand_below(&w->r, 6) == 0) /* more values in the range than are kept, or few */
            ONE_OF(&a, "sum(any event.price) > 20 during last 1 month",
                   "sum(any event.products.qty) > 9 during last 10 days",
                   "sum(\"Order\".price) < 5 during last 100 hours");
        else
            say_cond(&a, 2);
        arena_init(&s->arena, 2 * (size_t)QUERY_ARENA_BYTES);
        int code = query_parse(buf_str(&a.text), &s->arena, &s->q, NULL, NULL);
        buf_release(&a.text);
        if (code == 0) break;
        arena_release(&s->arena);
    }
}

static void add_segment(struct world *w, struct watched *s) {
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

/* Fills a segment in a set of its own, while the other goes on. */
static void fill_beside(struct world *w) {
    struct keel_error err = {0};
    uint32_t id;
    if (w->beside || rand_below(&w->r, 2)) return;
    w->beside_of = rand_below(&w->r, SEGMENTS);
    struct watched *s = &w->segments[w->beside_of];
    drop_segment(w, s);
    think_of(w, s);
    w->beside = live_new(w->db, w->now, NULL);
    assert_int_equal(live_expect(w->beside, s->q->where, NULL, &id, &err), 0);
    if (rand_below(&w->r, 4)) assert_int_equal(live_advance(w->beside, w->now, &err), 0);
}

static void adopt(struct world *w) {
    struct keel_error err = {0};
    uint32_t ids[SEGMENTS];
    struct watched *s = &w->segments[w->beside_of];
    if (!w->beside || rand_below(&w->r, 3)) return;
    assert_int_equal(live_adopt(w->live, w->beside, w->now, ids, &err), 0);
    live_free(w->beside);
    w->beside = NULL;
    s->id = ids[0];
    s->told = roaring_bitmap_copy(live_members(w->live, s->id));
    s->used = true;
}

/* A process that stops and begins again where it was: what changed meanwhile is told. */
static void begin_again(struct world *w) {
    struct keel_error err = {0};
    live_free(w->live);
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
    fill_beside(w);
    switch (rand_below(&w->r, 14)) {
    case 0: assert_int_equal(db_flush(w->db, &err), 0); break;
    case 1:
        if (w->beside && s == &w->segments[w->beside_of]) break;
        drop_segment(w, s);
        add_segment(w, s);
        break;
    case 3: begin_again(w); break;
    case 2: /* everything again, as after a restart */
        live_free(w->live);
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

static uint64_t one_history(uint64_t seed) {
    static struct naive h;
    struct world w = {.seed = seed, .h = &h};
    struct keel_error err = {0};
    char command[300];
    memset(&h, 0, sizeof h);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(db_init(dir, STR("Europe/London"), STR("GBP"), &err), 0);
    assert_int_equal(db_open(dir, &(struct db_options){0}, &w.db, &err), 0);
    h.zone = db_zone(w.db);
    rand_init(&w.r, seed);
    w.grain = ((const uint32_t[]){1, 4, 16})[rand_below(&w.r, 3)];
    w.now = RANDOM_BASE_MS + (int64_t)rand_below(&w.r, 30) * MS_PER_DAY;
    start_live(&w);
    for (w.step = 0; w.step < STEPS; w.step++) {
        bool filling = w.beside && w.beside_of == w.step;
        if (w.step < SEGMENTS && !w.segments[w.step].used && !filling)
            add_segment(&w, &w.segments[w.step]);
        ingest_some(&w);
        disturb(&w);
        turn_clock(&w);
        adopt(&w);
        if (live_advance(w.live, w.now, &err) < 0)
            fail_msg("seed %llu step %u: %s", (unsigned long long)seed, w.step, err.message);
        compare(&w);
    }
    if (w.beside) arena_release(&w.segments[w.beside_of].arena);
    live_free(w.beside);
    for (uint32_t i = 0; i < SEGMENTS; i++) drop_segment(&w, &w.segments[i]);
    live_free(w.live);
    assert_int_equal(db_close(w.db, &err), 0);
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(members_are_those_of_a_full_scan)};
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/keel-live-%d", tmp ? tmp : "/tmp", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? failed : 1;
}
