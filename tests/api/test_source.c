/* Sources: the tables, the copy in memory, keys under change, rates, origins. */
#include "api/collect/source.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include <cmocka.h>

#include "fault_os.h"

struct setting {
    char dir[TEMP_PATH_MAX];
    struct sql *desk; /* another connection: that of a command */
    struct sources *sources;
};

static int set_up(void **state) {
    struct setting *t = k_zalloc(sizeof *t);
    char path[TEMP_PATH_MAX + 16];
    temp_make(t->dir);
    snprintf(path, sizeof path, "%s/desk.db", t->dir);
    assert_int_equal(sql_open(path, SQL_CREATE, &t->desk, NULL), 0);
    assert_int_equal(source_tables(t->desk, NULL), 0);
    assert_int_equal(sources_open(t->dir, &t->sources, NULL), 0);
    *state = t;
    return 0;
}

static int tear_down(void **state) {
    struct setting *t = *state;
    sources_close(t->sources);
    sql_close(t->desk);
    temp_remove(t->dir);
    k_free(t);
    return 0;
}

static int64_t add(struct setting *t, struct source_settings settings) {
    char key[SOURCE_MAX_KEY + 1];
    struct keel_error err;
    int64_t id = 0;
    if (source_add(t->desk, &settings, 1000, &id, key, &err) < 0) fail_msg("%s", err.message);
    return id;
}

#define WEB ((struct source_settings){.name = STR("web"), .key = STR("k1"), .origins = STR("")})

static void test_keys(void **state) {
    struct setting *t = *state;
    char second[SOURCE_MAX_KEY + 1], third[SOURCE_MAX_KEY + 1];
    assert_null(sources_find(t->sources, STR("k1"), 1000));
    add(t, WEB);
    const struct event_source *web = sources_find(t->sources, STR("k1"), 1000); /* at once */
    assert_non_null(web);
    assert_true(str_is(web->name, "web") && web->enabled);
    assert_null(sources_find(t->sources, STR("k"), 1000));
    assert_null(sources_find(t->sources, STR(""), 1000));
    assert_int_equal(source_rotate(t->desk, STR("web"), 500, 1000, second, NULL), 0);
    assert_int_equal(source_rotate(t->desk, STR("1"), 50, 1100, third, NULL), 0);
    assert_int_equal(sources_reload(t->sources, NULL), 0);
    /* the second grace ends what the first one had left of it */
    assert_ptr_equal(sources_find(t->sources, STR("k1"), 1149), web);
    assert_null(sources_find(t->sources, STR("k1"), 1150));
    assert_ptr_equal(sources_find(t->sources, str_from(second), 1149), web);
    assert_null(sources_find(t->sources, str_from(second), 1150));
    assert_ptr_equal(sources_find(t->sources, str_from(third), INT64_MAX - 1), web);
    assert_ptr_equal(sources_by_id(t->sources, 1), web);
    assert_ptr_equal(sources_by_name(t->sources, STR("web")), web);
    assert_null(sources_by_id(t->sources, 2));
    assert_int_equal(strlen(second), 32);
    assert_string_not_equal(second, third);
}

static void test_refusals(void **state) {
    struct setting *t = *state;
    char key[SOURCE_MAX_KEY + 1], longest[SOURCE_MAX_ORIGINS + 2];
    struct keel_error err;
    int64_t id;
    add(t, WEB);
    memset(longest, 'a', sizeof longest);
    const struct {
        struct source_settings settings;
        int code;
    } wrong[] = {
        {{.name = STR("web"), .key = STR("k2")}, -KEEL_E_EXISTS},
        {{.name = STR("b"), .key = STR("k1")}, -KEEL_E_EXISTS},
        {{.name = STR(""), .key = STR("k2")}, -KEEL_E_INVALID},
        {{.name = STR("a\nb"), .key = STR("k2")}, -KEEL_E_INVALID},
        {{.name = {longest, SOURCE_MAX_NAME + 1}, .key = STR("k2")}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = STR("a:b")}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = STR("a b")}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = {longest, SOURCE_MAX_KEY + 1}}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = STR("k2"), .origins = STR("shop.example")}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = STR("k2"), .rate = -1}, -KEEL_E_INVALID},
        {{.name = STR("b"), .key = STR("k2"), .burst = 1}, -KEEL_E_INVALID},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct source_settings s = wrong[i].settings;
        if (!s.origins.p) s.origins = STR("");
        assert_int_equal(source_add(t->desk, &s, 1, &id, key, &err), wrong[i].code);
        assert_true(err.message[0]);
    }
    assert_int_equal(source_rotate(t->desk, STR("none"), 0, 1, key, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(source_rotate(t->desk, STR("web"), -1, 1, key, &err), -KEEL_E_INVALID);
    assert_int_equal(source_enable(t->desk, STR("none"), false, &err), -KEEL_E_NOT_FOUND);
    for (int i = 1; i < SOURCE_MAX_KEYS; i++)
        assert_int_equal(source_rotate(t->desk, STR("web"), 1000, 1, key, &err), 0);
    assert_int_equal(source_rotate(t->desk, STR("web"), 1000, 1, key, &err), -KEEL_E_LIMIT);
    assert_int_equal(source_rotate(t->desk, STR("web"), 1000, 1001, key, &err), 0); /* ended */
    assert_null(sources_by_id(t->sources, 2)); /* what failed left nothing */
}

static void count(void *ctx, const struct event_source *source) {
    (void)source;
    ++*(unsigned *)ctx;
}

/* What has not changed keeps its place; what has keeps its meter. */
static void test_reload(void **state) {
    struct setting *t = *state;
    unsigned n = 0;
    add(t, WEB);
    int64_t app = add(t, (struct source_settings){
                             .name = STR("app"), .key = STR("k2"), .origins = STR(""), .rate = 5});
    const struct event_source *before = sources_find(t->sources, STR("k2"), 1000);
    const struct event_source *web = sources_find(t->sources, STR("k1"), 1000);
    assert_non_null(before);
    assert_int_equal(before->id, app);
    assert_int_equal(source_take(before, 100, 1000000), 0);
    assert_int_equal(source_enable(t->desk, STR("app"), false, NULL), 0);
    assert_int_equal(sources_reload(t->sources, NULL), 0);
    const struct event_source *after = sources_find(t->sources, STR("k2"), 1000);
    assert_ptr_not_equal(after, before);
    assert_true(before->enabled);
    assert_false(after->enabled);
    assert_true(source_wait_ms(after, 1000000) > 0);
    assert_ptr_equal(sources_find(t->sources, STR("k1"), 1000), web);
    sources_each(t->sources, count, &n);
    assert_int_equal(n, 2);
}

/* ---- many threads ---- */

struct racing {
    struct setting *t;
    _Atomic bool stop;
    _Atomic uint64_t found;
};

static void *look_up(void *ctx) {
    struct racing *r = ctx;
    while (!atomic_load(&r->stop)) {
        const struct event_source *s = sources_find(r->t->sources, STR("k1"), 1000);
        if (s && str_is(s->name, "web")) atomic_fetch_add(&r->found, 1);
        (void)sources_find(r->t->sources, STR("unknown"), 1000);
        if (s) (void)source_take(s, 1, 1000);
    }
    return NULL;
}

static void test_threads(void **state) {
    struct racing r = {.t = *state};
    pthread_t threads[3];
    add(r.t, WEB);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, look_up, &r), 0);
    for (int i = 0; i < 100 || atomic_load(&r.found) < 1000; i++) {
        assert_int_equal(source_enable(r.t->desk, STR("web"), i % 2, NULL), 0);
        assert_int_equal(sources_reload(r.t->sources, NULL), 0);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
}

/* ---- rates and origins ---- */

static void test_rates(void **state) {
    (void)state;
    struct source_meter meter = {0};
    struct event_source s = {.rate = 10, .meter = &meter};
    enum { SECOND = 1000000 };
    int64_t now = 5 * SECOND;
    for (int i = 0; i < 11; i++) /* a burst of a second, and the one that overdraws */
        assert_int_equal(source_take(&s, 1, now), 0);
    assert_in_range(source_take(&s, 1, now), 100, 101);
    assert_in_range(source_wait_ms(&s, now), 100, 101);
    now += SECOND / 5; /* two more */
    assert_int_equal(source_wait_ms(&s, now), 0);
    assert_int_equal(source_take(&s, 1, now), 0);
    assert_int_equal(source_take(&s, 1000, now), 0); /* larger than any burst: taken, and owed */
    assert_in_range(source_take(&s, 1, now), 99000, 101000);
    assert_int_equal(source_take(&s, 1, now + 101 * (int64_t)SECOND), 0);
    s.rate = 0;
    assert_int_equal(source_take(&s, 1000000, now), 0);
    struct source_meter fresh = {0};
    struct event_source bursty = {.rate = 1, .burst = 100, .meter = &fresh};
    for (int i = 0; i < 101; i++) assert_int_equal(source_take(&bursty, 1, now), 0);
    assert_true(source_take(&bursty, 1, now) > 0);
}

static void test_origins(void **state) {
    (void)state;
    struct event_source s = {.origins = STR(" https://a.example  https://*.b.example null ")};
    static const struct {
        const char *origin;
        bool allowed;
    } cases[] = {{"https://a.example", true},
                 {"HTTPS://A.EXAMPLE", true},
                 {"http://a.example", false},
                 {"https://a.example:444", false},
                 {"https://x.b.example", true},
                 {"https://x.y.b.example", true},
                 {"https://b.example", false},
                 {"https://xb.example", false},
                 {"https://.b.example.evil", false},
                 {"null", true},
                 {"", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (source_allows_origin(&s, str_from(cases[i].origin)) != cases[i].allowed)
            fail_msg("%s", cases[i].origin);
    s.origins = STR("");
    assert_true(source_allows_origin(&s, STR("https://any.example")));
    s.origins = STR("*");
    assert_true(source_allows_origin(&s, STR("https://any.example")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
