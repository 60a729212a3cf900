/* Fates: the identity at any moment, what is saved, what is answered, what fails. */
#include "api/collect/fate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/os.h"
#include "base/time.h"

struct place {
    char dir[64], path[96];
    struct sql *desk;
};

static int set_up(void **state) {
    struct place *p = calloc(1, sizeof *p);
    snprintf(p->dir, sizeof p->dir, "/tmp/keel-fate-XXXXXX");
    if (!mkdtemp(p->dir)) return -1;
    snprintf(p->path, sizeof p->path, "%s/desk.db", p->dir);
    *state = p;
    return sql_open(p->path, SQL_CREATE, &p->desk, NULL);
}

static int tear_down(void **state) {
    struct place *p = *state;
    char path[128];
    static const char *const ends[] = {"", "-wal", "-shm"};
    sql_close(p->desk);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s%s", p->path, ends[i]);
        unlink(path);
    }
    rmdir(p->dir);
    free(p);
    return 0;
}

static struct fate *open_at(const struct place *p) {
    struct fate *f = NULL;
    assert_int_equal(fate_open(p->desk, NULL, &f, NULL), 0);
    return f;
}

/* A request of 10 events: 5 accepted (one repaired), 2 duplicate, 2 quarantined, 1 refused. */
static void add_ten(struct fate *f, int64_t source, int64_t at_ms) {
    const struct fate_part parts[] = {
        {FATE_ACCEPTED, STR(""), 5},
        {FATE_DUPLICATE, STR(""), 2},
        {FATE_QUARANTINED, STR("wrong_type"), 1},
        {FATE_QUARANTINED, STR("missing_property"), 1},
        {FATE_REFUSED, STR("strict \"mode\""), 1},
        {FATE_REPAIRED, STR(""), 1},
    };
    fate_add(f, source, 10, parts, sizeof parts / sizeof *parts, at_ms);
}

static int64_t number(struct json_value v, const char *name) {
    int64_t n = -1;
    json_i64(json_get(v, name), &n);
    return n;
}

static struct json_value answer(struct fate *f, struct fate_ask ask, struct json_parser *parser) {
    struct buf out;
    struct json_value root;
    struct keel_error err;
    buf_init(&out, 1 << 20);
    if (fate_json(f, &ask, &out, &err) < 0) fail_msg("%s", err.message);
    if (json_parse(parser, buf_str(&out), &root, &err) < 0) fail_msg("%s", err.message);
    buf_release(&out);
    return root;
}

static int64_t hour0; /* some hours ago: what is old is forgotten */

static void test_hours_survive(void **state) {
    struct fate *f = open_at(*state);
    struct json_parser *parser = json_parser_new(1 << 20);
    add_ten(f, 1, hour0);
    assert_int_equal(fate_save(f, hour0, NULL), 0);
    add_ten(f, 1, hour0 + 1); /* into the same hour, not yet saved */
    add_ten(f, 1, hour0 + MS_PER_HOUR);
    add_ten(f, 2, hour0);
    fate_replayed(f, 1, FATE_ACCEPTED, 2, hour0);
    fate_turned_away(f, 0, STR("no such key"), hour0);
    for (int round = 0; round < 2; round++) {
        struct json_value a =
            answer(f, (struct fate_ask){1, hour0, hour0 + MS_PER_DAY, false}, parser);
        struct json_value total = json_get(a, "total");
        assert_int_equal(number(total, "received"), 30);
        assert_int_equal(number(total, "accepted"), 15);
        assert_int_equal(number(total, "repaired"), 3);
        assert_int_equal(number(total, "quarantined"), 6);
        assert_int_equal(number(total, "replayed"), 2);
        assert_int_equal(number(total, "unaccounted"), 0);
        assert_int_equal(json_count(json_get(a, "points")), 2);
        assert_int_equal(json_count(json_get(a, "reasons")), 4);
        a = answer(f, (struct fate_ask){-1, hour0, hour0 + MS_PER_HOUR, false}, parser);
        assert_int_equal(number(json_get(a, "total"), "received"), 30);
        assert_int_equal(number(json_get(a, "total"), "turned_away"), 1);
        assert_int_equal(json_count(json_get(a, "points")), 1);
        assert_int_equal(fate_close(f, NULL), 0); /* saves */
        f = open_at(*state);
    }
    struct fate_totals t;
    fate_total(f, 1, &t);
    assert_int_equal(t.of[FATE_RECEIVED], 0); /* of this process */
    assert_int_equal(fate_save(f, hour0 + (FATE_KEEP_DAYS + 2) * (int64_t)MS_PER_DAY, NULL), 0);
    add_ten(f, 1, hour0 + (FATE_KEEP_DAYS + 2) * (int64_t)MS_PER_DAY);
    assert_int_equal(fate_save(f, hour0 + (FATE_KEEP_DAYS + 2) * (int64_t)MS_PER_DAY, NULL), 0);
    struct json_value a =
        answer(f, (struct fate_ask){-1, hour0, hour0 + MS_PER_DAY, false}, parser);
    assert_int_equal(number(json_get(a, "total"), "received"), 0); /* forgotten */
    assert_int_equal(fate_close(f, NULL), 0);
    json_parser_free(parser);
}

static void test_minutes(void **state) {
    struct fate *f = open_at(*state);
    struct json_parser *parser = json_parser_new(1 << 20);
    for (int i = 0; i < FATE_MINUTES + 10; i++) add_ten(f, 1, hour0 + i * MS_PER_MINUTE);
    struct json_value a = answer(f, (struct fate_ask){1, hour0, hour0 + MS_PER_DAY, true}, parser);
    assert_int_equal(json_count(json_get(a, "points")), FATE_MINUTES);
    assert_int_equal(number(json_get(a, "total"), "received"), FATE_MINUTES * 10);
    a = answer(f,
               (struct fate_ask){1, hour0 + 20 * MS_PER_MINUTE, hour0 + 22 * MS_PER_MINUTE, true},
               parser);
    assert_int_equal(number(json_get(a, "total"), "accepted"), 10);
    assert_int_equal(fate_close(f, NULL), 0);
    json_parser_free(parser);
}

static void test_hole_is_seen(void **state) {
    struct fate *f = open_at(*state);
    struct fate_totals t;
    const struct fate_part part = {FATE_ACCEPTED, STR(""), 4};
    fate_add(f, 1, 5, &part, 1, hour0);
    fate_add(f, 1, 3, &part, 1, hour0);
    fate_total(f, 1, &t);
    assert_int_equal(t.of[FATE_UNACCOUNTED], 2);
    assert_int_equal(fate_close(f, NULL), 0);
}

static void test_failed_save_loses_nothing(void **state) {
    struct place *p = *state;
    struct fate *f = open_at(p);
    struct json_parser *parser = json_parser_new(1 << 20);
    add_ten(f, 1, hour0);
    assert_int_equal(sql_run(p->desk, NULL, "ALTER TABLE fate_hour RENAME TO elsewhere", ""), 0);
    assert_true(fate_save(f, hour0, NULL) < 0);
    add_ten(f, 1, hour0);
    assert_int_equal(sql_run(p->desk, NULL, "ALTER TABLE elsewhere RENAME TO fate_hour", ""), 0);
    assert_int_equal(fate_save(f, hour0, NULL), 0);
    struct json_value a = answer(f, (struct fate_ask){1, hour0, hour0 + 1, false}, parser);
    assert_int_equal(number(json_get(a, "total"), "received"), 20);
    assert_int_equal(fate_close(f, NULL), 0);
    json_parser_free(parser);
}

static void test_many_reasons(void **state) {
    struct fate *f = open_at(*state);
    struct buf out;
    char text[40];
    for (int i = 0; i < FATE_MAX_REASONS + 50; i++) {
        snprintf(text, sizeof text, "reason %d", i);
        const struct fate_part part = {FATE_REFUSED, str_from(text), 1};
        fate_add(f, i % 3, 1, &part, 1, hour0);
    }
    buf_init(&out, 1 << 20);
    struct metric_text lines = {.out = &out};
    fate_metrics(f, &lines);
    assert_int_equal(buf_add_char(&out, 0), 0);
    assert_non_null(
        strstr((char *)out.p, "keel_events_total{source=\"(unknown)\",fate=\"refused\"} 102\n"));
    assert_non_null(strstr((char *)out.p, "reason=\"reason 17\"} 1\n"));
    assert_non_null(strstr((char *)out.p, "reason=\"other\"} "));
    buf_release(&out);
    assert_int_equal(fate_close(f, NULL), 0);
}

/* ---- at any moment ---- */

struct load {
    struct fate *f;
    atomic_bool *stop;
    uint64_t n;
};

static void *add_all_the_time(void *ctx) {
    struct load *l = ctx;
    for (int64_t i = 0; !atomic_load(l->stop); i++, l->n++) add_ten(l->f, i % 3, hour0 + i * 1000);
    return NULL;
}

static void *save_all_the_time(void *ctx) {
    struct load *l = ctx;
    for (; !atomic_load(l->stop); l->n++) assert_int_equal(fate_save(l->f, hour0, NULL), 0);
    return NULL;
}

static void assert_identity(const uint64_t *of) {
    assert_int_equal(of[FATE_RECEIVED], of[FATE_ACCEPTED] + of[FATE_DUPLICATE] +
                                            of[FATE_QUARANTINED] + of[FATE_REFUSED]);
    assert_int_equal(of[FATE_RECEIVED] % 10, 0); /* whole requests */
    assert_true(of[FATE_REPAIRED] <= of[FATE_ACCEPTED]);
}

static void test_identity_under_load(void **state) {
    struct fate *f = open_at(*state);
    struct json_parser *parser = json_parser_new(1 << 22);
    atomic_bool stop = false;
    struct load loads[4];
    pthread_t ids[4];
    for (int i = 0; i < 4; i++) {
        loads[i] = (struct load){f, &stop, 0};
        pthread_create(&ids[i], NULL, i < 3 ? add_all_the_time : save_all_the_time, &loads[i]);
    }
    for (int i = 0; i < 300; i++) {
        struct fate_totals t;
        fate_total(f, i % 3, &t);
        assert_identity(t.of);
        if (i % 30) continue;
        /* saved and unsaved together, while they change places */
        struct json_value a =
            answer(f, (struct fate_ask){1, 0, INT64_C(4000000000000), false}, parser);
        struct json_value total = json_get(a, "total");
        assert_int_equal(number(total, "received"),
                         number(total, "accepted") + number(total, "duplicate") +
                             number(total, "quarantined") + number(total, "refused"));
    }
    atomic_store(&stop, true);
    uint64_t requests = 0;
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        if (i < 3) requests += loads[i].n;
    }
    struct json_value a =
        answer(f, (struct fate_ask){-1, 0, INT64_C(4000000000000), false}, parser);
    assert_int_equal(number(json_get(a, "total"), "received"), requests * 10);
    assert_int_equal(number(json_get(a, "total"), "unaccounted"), 0);
    assert_int_equal(fate_close(f, NULL), 0);
    json_parser_free(parser);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hours_survive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_minutes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hole_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_save_loses_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_reasons, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_identity_under_load, set_up, tear_down),
    };
    hour0 = (now_ms() / MS_PER_HOUR - 30) * MS_PER_HOUR;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
