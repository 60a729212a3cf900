/* Saved segments while the server's threads run: sizes over time are thinned, and a disk that is
 * full under the outbox holds up telling but not following, and loses nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "desk/audience/audience.h"
#include "desk/audience/audiences.h"
#include "fault_os.h"
#include "random_world.h"
#include "reach/outbox.h"
#include "sqlite_os.h"

enum { WAIT_MS = 60000, PAUSE_US = 2000, BUYERS = 40 };

struct rig {
    char dir[TEMP_PATH_MAX];
    struct db *db;
    struct sql *desk; /* ours */
    struct audiences *live;
    int64_t id;
    uint32_t next;
};

/* ---- a disk that is full for desk.db alone ---- */

static _Atomic bool is_full;
static _Atomic uint32_t refused;

static bool is_desk(int fd) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    return strstr(path, "/desk.db") != NULL;
}

static ssize_t pwrite_if_room(int fd, const void *p, size_t n, off_t at) {
    if (!atomic_load(&is_full) || !is_desk(fd)) return OS_REAL.pwrite(fd, p, n, at);
    atomic_fetch_add(&refused, 1);
    errno = ENOSPC;
    return -1;
}

/* ---- rig ---- */

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void start(struct rig *g) {
    struct keel_error err = {0};
    char path[TEMP_PATH_MAX + 20];
    *g = (struct rig){0};
    temp_make(g->dir);
    must(db_init(g->dir, STR("UTC"), STR("EUR"), &err), &err);
    must(db_open(g->dir, &(struct db_options){0}, &g->db, &err), &err);
    snprintf(path, sizeof path, "%s/desk.db", g->dir);
    must(sql_open(path, SQL_CREATE, &g->desk, &err), &err);
    struct audience_spec buyers = {.name = STR("Buyers"), .query = STR("did \"Order\"")};
    must(audience_tables(g->desk, &err), &err);
    must(audience_add(g->desk, &buyers, now_ms(), &g->id, &err), &err);
}

static void follow(struct rig *g) {
    struct keel_error err = {0};
    must(audiences_open(&(struct audiences_options){.dir = g->dir, .db = g->db}, &g->live, &err),
         &err);
    assert_true(audiences_wait(g->live, g->id, 1, WAIT_MS));
}

static void stop(struct rig *g) {
    struct keel_error err = {0};
    audiences_close(g->live);
    sql_close(g->desk);
    must(db_close(g->db, &err), &err);
    temp_remove(g->dir);
}

static void buy(struct rig *g, uint32_t n) {
    struct batch_writer w;
    batch_writer_init(&w);
    for (uint32_t i = 0; i < n; i++) {
        char user[32];
        snprintf(user, sizeof user, "u%u", g->next);
        struct event_head head = {.type = EVENT_TRACK,
                                  .time_ms = now_ms() - 1,
                                  .key = {hash_mix(g->next), g->next},
                                  .name = STR("Order"),
                                  .user_id = str_from(user)};
        g->next++;
        event_begin(&w, &head);
        assert_int_equal(event_end(&w), 0);
    }
    ingest_written(g->db, &w);
    batch_writer_release(&w);
}

static bool has_size(struct rig *g, uint64_t wanted) {
    struct audience_status s;
    audiences_status(g->live, g->id, &s);
    return s.size == wanted;
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until = monotonic_us() + WAIT_MS * INT64_C(1000);                                  \
        while (!(condition) && monotonic_us() < until) usleep(PAUSE_US);                           \
        assert_true(condition);                                                                    \
    } while (0)

/* ---- a full disk ---- */

static int count_entered(void *ctx, const struct outbox_change *c) {
    uint32_t *told = ctx;
    assert_true(c->entered && c->customer < BUYERS);
    told[c->customer]++;
    return 0;
}

static int64_t written(struct rig *g) {
    struct keel_error err = {0};
    int64_t last, first;
    must(outbox_end(g->desk, &last, &first, &err), &err);
    return last;
}

static void a_full_disk_loses_nothing(void **state) {
    (void)state;
    struct keel_error err = {0};
    struct os table = OS_REAL;
    struct audiences_stats stats;
    struct rig g;
    uint32_t told[BUYERS] = {0};
    table.pwrite = pwrite_if_room;
    os_use(&table);
    sqlite_os_start();
    start(&g);
    follow(&g);
    buy(&g, BUYERS / 2);
    WAIT_FOR(written(&g) == BUYERS / 2);
    atomic_store(&is_full, true);
    for (uint32_t i = 0; i < BUYERS / 2; i++) buy(&g, 1);
    WAIT_FOR(has_size(&g, BUYERS)); /* members follow */
    WAIT_FOR(atomic_load(&refused) > 0);
    WAIT_FOR((audiences_stats(g.live, &stats), stats.last_error.code != 0));
    assert_int_equal(stats.durable_number, BUYERS / 2);
    assert_int_equal(stats.last_number, BUYERS);
    assert_int_equal(written(&g), BUYERS / 2);
    atomic_store(&is_full, false);
    WAIT_FOR(written(&g) == BUYERS);
    WAIT_FOR((audiences_stats(g.live, &stats), stats.durable_number == BUYERS));
    must(outbox_read(g.desk, 0, 2 * BUYERS, count_entered, told, NULL, &err), &err);
    for (uint32_t i = 0; i < BUYERS; i++) assert_int_equal(told[i], 1);
    stop(&g);
    sqlite_os_stop();
    os_use(NULL);
}

/* ---- sizes over time ---- */

struct sizes {
    int64_t now;
    uint32_t minutes, hours, days, n;
    int64_t last_ms;
};

static int64_t last_of(int64_t at_ms, int64_t unit_ms) { return (at_ms + 60000) % unit_ms; }

/* Every size says its minute, so the one that is left must be the last of its hour or day. */
static int note_size(void *ctx, int64_t at_ms, int64_t size) {
    struct sizes *s = ctx;
    int64_t age = s->now - at_ms;
    assert_true(at_ms > s->last_ms);
    s->last_ms = at_ms;
    s->n++;
    if (size == 0) return 0; /* what the running segment noted itself */
    assert_int_equal(size, at_ms / 60000);
    assert_true(age <= AUDIENCES_DAYS_MS);
    if (age > AUDIENCES_HOURS_MS) {
        assert_int_equal(last_of(at_ms, 86400000), 0);
        s->days++;
    } else if (age > AUDIENCES_MINUTES_MS) {
        assert_int_equal(last_of(at_ms, 3600000), 0);
        s->hours++;
    } else {
        s->minutes++;
    }
    return 0;
}

static void put_sizes(struct rig *g, int64_t from_ms, int64_t to_ms) {
    struct keel_error err = {0};
    for (int64_t at = from_ms / 60000 * 60000; at < to_ms; at += 60000)
        must(sql_run(g->desk, &err,
                     "INSERT INTO audience_size(audience, at_ms, size) VALUES(?, ?, ?)", "iii",
                     g->id, at, at / 60000),
             &err);
}

static int64_t rows_before(struct rig *g, int64_t at_ms) {
    struct keel_error err = {0};
    int64_t n;
    must(sql_number(g->desk, 0, &n, &err, "SELECT count(*) FROM audience_size WHERE at_ms < ?", "i",
                    at_ms),
         &err);
    return n;
}

static void sizes_are_thinned(void **state) {
    (void)state;
    enum { DAY = 86400000, HOUR = 3600000 };
    struct keel_error err = {0};
    struct rig g;
    int64_t now = now_ms(), recent = now - HOUR;
    start(&g);
    follow(&g); /* makes the tables */
    audiences_close(g.live);
    must(sql_run(g.desk, &err, "DELETE FROM audience_size", ""), &err);
    must(sql_begin(g.desk, &err), &err);
    int64_t today = now / DAY * DAY, hour = now / HOUR * HOUR;
    put_sizes(&g, today - AUDIENCES_DAYS_MS - 3 * (int64_t)DAY,
              today - AUDIENCES_DAYS_MS - 2 * DAY);
    put_sizes(&g, today - AUDIENCES_HOURS_MS - 4 * (int64_t)DAY, today - AUDIENCES_HOURS_MS - DAY);
    put_sizes(&g, hour - AUDIENCES_MINUTES_MS - DAY - HOUR, hour - AUDIENCES_MINUTES_MS - HOUR);
    put_sizes(&g, recent, now - 60000);
    must(sql_commit(g.desk, &err), &err);
    int64_t minutes = rows_before(&g, INT64_MAX) - rows_before(&g, recent / 60000 * 60000);
    follow(&g); /* which thins at once, then every hour */
    WAIT_FOR(rows_before(&g, recent / 60000 * 60000) < 40);
    struct sizes s = {.now = now};
    must(audience_sizes(g.desk, g.id, 0, INT64_MAX, note_size, &s, &err), &err);
    assert_int_equal(s.minutes, minutes);
    assert_int_equal(s.hours, 24);
    assert_int_equal(s.days, 3);
    stop(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(sizes_are_thinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
