/* Definitions of KPIs: what is accepted and in which canonical form, each mistake in words,
 * versions and what was in force when, files that are taken over as a whole, trees and circles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "desk/kpi/kpi.h"
#include "fault_os.h"

static char dir[TEMP_PATH_MAX];
static struct sql *desk;
static int64_t clock_ms = 1700000000000;

static int open_desk(void **state) {
    char path[TEMP_PATH_MAX + 16];
    struct keel_error err;
    (void)state;
    temp_make(dir);
    snprintf(path, sizeof path, "%s/desk.db", dir);
    return sql_open(path, SQL_CREATE, &desk, &err) || kpi_tables(desk, &err);
}

static int close_desk(void **state) {
    (void)state;
    sql_close(desk);
    temp_remove(dir);
    return 0;
}

static struct kpi_change change(unsigned how) {
    return (struct kpi_change){.who = STR("ann"), .at_ms = clock_ms += 1000, .how = how};
}

static int put_how(const char *id, const char *text, unsigned how, struct keel_error *err) {
    struct kpi_change c = change(how);
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20);
    int code = kpi_put(desk, str_from(text), str_from(id), &c, &arena, NULL, err);
    arena_release(&arena);
    return code;
}

static void put(const char *id, const char *text) {
    struct keel_error err;
    if (put_how(id, text, KPI_ADD | KPI_REPLACE, &err) < 0) fail_msg("%s: %s", id, err.message);
}

static void load(int64_t at_ms, struct kpi_set *set) {
    struct keel_error err;
    if (kpi_set_load(desk, at_ms, set, &err) < 0) fail_msg("%s", err.message);
}

static void assert_body(const char *id, const char *expected) {
    struct kpi_set set;
    load(KPI_NOW, &set);
    int i = kpi_find(&set, str_from(id));
    assert_true(i >= 0);
    struct str body = set.kpi[i].body;
    if (!str_is(body, expected)) fail_msg("%.*s", STR_ARG(body));
    kpi_set_free(&set);
}

/* ---- forms ---- */

static void test_canonical(void **state) {
    (void)state;
    put("a", "{\"query\":\"TOTAL of   sum('Order Completed'.revenue)\"}");
    assert_body("a", "{\"name\":\"a\",\"query\":\"total of sum(\\\"Order Completed\\\".revenue)\","
                     "\"unit\":\"count\",\"digits\":0,\"direction\":\"up\",\"grain\":\"day\"}");
    put("b", "query = 'count customers where identified'\n"
             "name = 'Known \"people\"'\nunit = 'percent'\ndirection = 'down'\ngrain = 'week'\n"
             "digits = 3\ntarget = { value = 1e3, by = 2027-12-31 }\nguardrail = { high = 2 }\n"
             "owner_marketing = 'M'\nowner_it = 'I'\ndescription = 'd'\n");
    assert_body("b",
                "{\"name\":\"Known \\\"people\\\"\",\"description\":\"d\","
                "\"query\":\"count customers where identified\",\"unit\":\"percent\",\"digits\":3,"
                "\"direction\":\"down\",\"grain\":\"week\",\"target\":{\"value\":1000,\"by\":"
                "\"2027-12-31\"},\"guardrail\":{\"high\":2},\"owner_marketing\":\"M\","
                "\"owner_it\":\"I\"}");
    put("c", "{\"sum\":[\"a\",\"-b\"],\"unit\":\"money\",\"currency\":\"EUR\",\"name\":null}");
    assert_body("c", "{\"name\":\"c\",\"sum\":[\"a\",\"-b\"],\"unit\":\"money\",\"currency\":"
                     "\"EUR\",\"digits\":2,\"direction\":\"up\",\"grain\":\"day\"}");
    put("d", "{\"query\":\"funnel 'A', 'B' within 7 days\"}");
    put("e", "{\"query\":\"time from 'A' to 'B'\"}");
    put("f",
        "{\"query\":\"time from 'A' to 'B' percentiles 95 among customers where identified\"}");
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *id, *text, *said;
    } wrong[] = {
        {"x", "", "what is it? write query, or sum, product or ratio of other KPIs"},
        {"x", "{", "the KPI: bad JSON"},
        {"x", "[]", "the KPI:1:"},
        {"x", "{\"query\":5}", "query is a text, not an integer"},
        {"x", "{\"query\":\"\"}", "query: "},
        {"x", "{\"query\":\"total of eventss\"}", "did you mean \"events\"?"},
        {"x", "{\"query\":\"list customers\"}", "is not one number"},
        {"x", "{\"query\":\"trend of events by day\"}",
         "write \"total of\" instead of \"trend of\""},
        {"x", "{\"query\":\"total of events, unique customers\"}", "has several measures"},
        {"x", "{\"query\":\"total of events in 2011\"}", "has a time range"},
        {"x", "{\"query\":\"total of events by channel\"}", "is split"},
        {"x", "{\"query\":\"total of max('A'.time)\"}", "measures a moment"},
        {"x", "{\"query\":\"time from 'A' to 'B' percentiles 50, 95\"}", "is not one number"},
        {"x", "{\"query\":\"total of events\",\"sum\":[\"a\"]}", "not two"},
        {"x", "{\"sum\":[]}", "sum is a list of ids"},
        {"x", "{\"sum\":\"a\"}", "sum is a list of ids"},
        {"x", "{\"sum\":[\"a\",\"a\"]}", "\"a\" is there twice"},
        {"x", "{\"sum\":[\"a\",\"-a\"]}", "\"a\" is there twice"},
        {"x", "{\"sum\":[\"A b\"]}", "is no id of a KPI"},
        {"x", "{\"product\":[\"-a\"]}", "is no id of a KPI"},
        {"x", "{\"ratio\":[\"a\"]}", "a ratio has two parts"},
        {"x", "{\"sum\":[\"nobody\"]}", "which does not exist"},
        {"x", "{\"sum\":[\"x\"]}", "is made of itself"},
        {"x", "{\"query\":\"total of events\",\"colour\":\"red\"}", "is nothing that a KPI has"},
        {"x", "{\"query\":\"total of events\",\"unit\":\"apples\"}", "unit is one of count, money"},
        {"x", "{\"query\":\"total of events\",\"currency\":\"EUR\"}", "goes with unit"},
        {"x", "{\"query\":\"total of events\",\"unit\":\"money\",\"currency\":\"eur\"}",
         "three capital letters"},
        {"x", "{\"query\":\"total of events\",\"digits\":7}", "digits is a number from 0 to 6"},
        {"x", "{\"query\":\"total of events\",\"target\":5}", "target has a value and the day"},
        {"x", "{\"query\":\"total of events\",\"target\":{\"value\":1}}", "by is missing"},
        {"x", "{\"query\":\"total of events\",\"target\":{\"by\":\"2026-01-01\"}}",
         "value is missing"},
        {"x", "{\"query\":\"total of events\",\"target\":{\"value\":1,\"by\":\"2026-02-30\"}}",
         "by is a day"},
        {"x", "{\"query\":\"total of events\",\"guardrail\":{\"low\":2,\"high\":1}}",
         "low is greater than high"},
        {"x", "{\"query\":\"total of events\",\"guardrail\":{}}", "guardrail has low, high"},
        {"tree", "{\"query\":\"total of events\"}", "and not \"tree\""},
        {"Bad Id", "{\"query\":\"total of events\"}", "an id is 1 to 64 letters"},
        {"", "{\"query\":\"total of events\"}", "id is missing"},
        {"x", "{\"id\":\"y\",\"query\":\"total of events\"}", "in the address"},
    };
    struct kpi_set before, after;
    put("a", "{\"query\":\"total of events\"}");
    load(KPI_NOW, &before);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct keel_error err = {0};
        int code = put_how(wrong[i].id, wrong[i].text, KPI_ADD | KPI_REPLACE, &err);
        if (code >= 0) fail_msg("accepted: %s", wrong[i].text);
        if (!strstr(err.message, wrong[i].said))
            fail_msg("%s\n  said: %s\n  not: %s", wrong[i].text, err.message, wrong[i].said);
        assert_true(code == -KEEL_E_SYNTAX || code == -KEEL_E_INVALID);
    }
    load(KPI_NOW, &after);
    assert_int_equal(before.n, after.n); /* nothing of it was kept */
    kpi_set_free(&before);
    kpi_set_free(&after);
}

static void test_limits(void **state) {
    (void)state;
    struct keel_error err;
    struct buf text;
    buf_init(&text, 1 << 20);
    assert_int_equal(buf_add_text(&text, "{\"query\":\"total of events\",\"name\":\""), 0);
    for (int i = 0; i < KPI_MAX_NAME + 1; i++) assert_int_equal(buf_add_char(&text, 'n'), 0);
    assert_int_equal(buf_printf(&text, "\"}%c", 0), 0);
    assert_int_equal(put_how("long", (char *)text.p, KPI_ADD, &err), -KEEL_E_SYNTAX);
    assert_non_null(strstr(err.message, "longer than 200 bytes"));
    buf_clear(&text);
    assert_int_equal(buf_add_text(&text, "{\"sum\":["), 0);
    for (int i = 0; i < KPI_MAX_PARTS + 1; i++)
        assert_int_equal(buf_printf(&text, "%s\"p%d\"", i ? "," : "", i), 0);
    assert_int_equal(buf_printf(&text, "]}%c", 0), 0);
    assert_int_equal(put_how("wide", (char *)text.p, KPI_ADD, &err), -KEEL_E_SYNTAX);
    assert_non_null(strstr(err.message, "more than 16 parts"));
    buf_release(&text);
    put("level0", "{\"query\":\"total of events\"}");
    int code = 0, level = 0;
    while (code == 0 && level < 100) { /* each made of the one below it */
        char id[32], body[64];
        snprintf(id, sizeof id, "level%d", ++level);
        snprintf(body, sizeof body, "{\"sum\":[\"level%d\"]}", level - 1);
        code = put_how(id, body, KPI_ADD, &err);
    }
    assert_int_equal(code, -KEEL_E_INVALID);
    assert_int_equal(level, KPI_MAX_DEPTH);
    assert_non_null(strstr(err.message, "deeper than 12 levels"));
}

/* ---- versions ---- */

struct seen {
    int64_t versions[8];
    bool removed[8];
    uint32_t n;
};

static int see(void *ctx, const struct kpi_edit *edit) {
    struct seen *s = ctx;
    s->removed[s->n] = !edit->body.p;
    s->versions[s->n++] = edit->version;
    return 0;
}

static void test_versions(void **state) {
    (void)state;
    struct keel_error err;
    struct kpi_set set;
    struct seen seen = {0};
    char first_hash[KPI_HASH_TEXT], first_query[KPI_HASH_TEXT];
    assert_int_equal(put_how("v", "{\"query\":\"total of events\"}", KPI_REPLACE, &err),
                     -KEEL_E_NOT_FOUND);
    put("v", "{\"query\":\"total of events\"}");
    int64_t after_first = clock_ms;
    load(KPI_NOW, &set);
    int i = kpi_find(&set, STR("v"));
    memcpy(first_hash, set.kpi[i].hash, sizeof first_hash);
    memcpy(first_query, set.kpi[i].query_hash, sizeof first_query);
    assert_int_equal(set.kpi[i].version, 1);
    assert_true(str_is(set.kpi[i].who, "ann"));
    kpi_set_free(&set);

    assert_int_equal(put_how("v", "{\"query\":\"total of events\"}", KPI_ADD, &err),
                     -KEEL_E_EXISTS);
    put("v", "{\"query\":\"total  of  events\"}"); /* the same, written otherwise */
    put("v", "{\"query\":\"total of events\",\"owner_it\":\"Bo\"}");
    load(KPI_NOW, &set);
    i = kpi_find(&set, STR("v"));
    assert_int_equal(set.kpi[i].version, 2);
    assert_string_not_equal(set.kpi[i].hash, first_hash);
    assert_string_equal(set.kpi[i].query_hash, first_query); /* a new owner is no new number */
    kpi_set_free(&set);

    struct kpi_change late = change(KPI_REPLACE);
    struct arena arena;
    arena_init(&arena, (size_t)256 << 20);
    late.must_be = 1;
    assert_int_equal(kpi_put(desk, STR("{\"query\":\"total of events of 'A'\"}"), STR("v"), &late,
                             &arena, NULL, &err),
                     -KEEL_E_CONFLICT);
    assert_non_null(strstr(err.message, "version 2, not 1"));
    late.must_be = 2;
    assert_int_equal(kpi_put(desk, STR("{\"query\":\"total of events of 'A'\"}"), STR("v"), &late,
                             &arena, NULL, &err),
                     0);
    arena_release(&arena);

    struct kpi_change removal = change(KPI_REPLACE);
    assert_int_equal(kpi_remove(desk, STR("v"), &removal, &err), 0);
    assert_int_equal(kpi_remove(desk, STR("v"), &removal, &err), -KEEL_E_NOT_FOUND);
    load(KPI_NOW, &set);
    assert_int_equal(kpi_find(&set, STR("v")), KPI_NONE);
    kpi_set_free(&set);
    put("v", "{\"query\":\"total of events\"}"); /* numbers of versions go on */
    assert_int_equal(kpi_edits(desk, STR("v"), 8, see, &seen, &err), 0);
    assert_int_equal(seen.n, 5);
    assert_true(seen.versions[0] == 5 && seen.removed[1] && !seen.removed[0] && !seen.removed[4]);

    load(after_first, &set); /* as it was then */
    i = kpi_find(&set, STR("v"));
    assert_int_equal(set.kpi[i].version, 1);
    assert_string_equal(set.kpi[i].hash, first_hash);
    kpi_set_free(&set);
    load(after_first - 1, &set);
    assert_int_equal(kpi_find(&set, STR("v")), KPI_NONE);
    kpi_set_free(&set);
}

static void test_trees(void **state) {
    (void)state;
    struct keel_error err;
    struct kpi_set set;
    char hash[KPI_HASH_TEXT];
    put("leaf1", "{\"query\":\"total of events\"}");
    put("leaf2", "{\"query\":\"total of unique customers\"}");
    put("rate", "{\"ratio\":[\"leaf1\",\"leaf2\"]}");
    put("top", "{\"product\":[\"rate\",\"leaf2\"]}");
    load(KPI_NOW, &set);
    int top = kpi_find(&set, STR("top")), rate = kpi_find(&set, STR("rate"));
    assert_true(kpi_is_root(&set, top) && !kpi_is_root(&set, rate));
    assert_int_equal(set.kpi[top].levels, 2);
    memcpy(hash, set.kpi[top].query_hash, sizeof hash);
    kpi_set_free(&set);
    put("leaf1", "{\"query\":\"total of events of 'A'\"}"); /* what is made of it changes, too */
    load(KPI_NOW, &set);
    assert_string_not_equal(set.kpi[kpi_find(&set, STR("top"))].query_hash, hash);
    kpi_set_free(&set);
    assert_int_equal(put_how("rate", "{\"ratio\":[\"top\",\"leaf2\"]}", KPI_REPLACE, &err),
                     -KEEL_E_INVALID);
    assert_non_null(strstr(err.message, "made of itself"));
    struct kpi_change removal = change(KPI_REPLACE);
    assert_int_equal(kpi_remove(desk, STR("leaf2"), &removal, &err), -KEEL_E_CONFLICT);
    assert_non_null(strstr(err.message, "\"leaf2\" cannot be removed"));
    load(KPI_NOW, &set);
    assert_true(kpi_find(&set, STR("leaf2")) >= 0); /* rolled back */
    kpi_set_free(&set);
}

static void test_files(void **state) {
    (void)state;
    struct keel_error err;
    struct kpi_applied done;
    struct kpi_change c = change(KPI_ADD | KPI_REPLACE);
    struct str file = STR("[kpi.whole]\nsum = ['part']\n" /* parts may stand behind */
                          "[kpi.part]\nquery = 'total of events'\n"
                          "[touchpoint.buy]\nstart = '\"A\"'\nend = '\"B\"'\n");
    assert_int_equal(kpi_apply(desk, file, "f.toml", &c, &done, &err), 0);
    assert_true(done.added == 2 && done.changed == 0 && done.touchpoints == 1);
    c = change(KPI_ADD | KPI_REPLACE);
    assert_int_equal(kpi_apply(desk, file, "f.toml", &c, &done, &err), 0);
    assert_true(done.added == 0 && done.changed == 0 && done.same == 2);
    static const struct {
        const char *text, *said;
    } wrong[] = {
        {"[kpi.new]\nquery = 'total of events'\n[kpi.bad]\nquery = 'nonsense'\n", "f.toml:4:"},
        {"[kpi.new]\nsum = ['missing']\n", "which does not exist"},
        {"[kpis.new]\nquery = 'total of events'\n", "is nothing that a file of KPIs has"},
        {"kpi = 5", "kpi is a table by id"},
        {"[kpi]\nnew = 5", "a KPI is a table, not an integer"},
        {"[touchpoint.x]\nstart = '\"A\"'\n", "end is missing"},
        {"[touchpoint.x]\nstart = '\"A\", \"C\"'\nend = '\"B\"'\n", "are one event each"},
        {"[touchpoint.x]\nstart = '\"A\"'\nend = '\"B\" without \"C\"'\n", "one event each"},
        {"[touchpoint.x]\nstart = '\"A\"'\nend = '\"B\"'\nproperty = 'a, b'\n", "one property"},
        {"[touchpoint.x]\nstart = '\"A\"'\nend = '\"B\"'\nwithin = 'soon'\n",
         "do not make a funnel"},
        {"[touchpoint.x]\nstart = '\"A\"'\nend = '\"B\"'\nstaff = []\n", "staff is a list"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kpi_set set;
        c = change(KPI_ADD | KPI_REPLACE);
        err.message[0] = 0;
        if (kpi_apply(desk, str_from(wrong[i].text), "f.toml", &c, &done, &err) >= 0)
            fail_msg("accepted: %s", wrong[i].text);
        if (!strstr(err.message, wrong[i].said))
            fail_msg("%s\n  said: %s\n  not: %s", wrong[i].text, err.message, wrong[i].said);
        load(KPI_NOW, &set);
        assert_int_equal(kpi_find(&set, STR("new")), KPI_NONE); /* all or none */
        kpi_set_free(&set);
    }
}

/* What this program does not understand must not hide the rest. */
static void test_broken(void **state) {
    (void)state;
    struct keel_error err;
    struct kpi_set set;
    put("fine", "{\"query\":\"total of events\"}");
    assert_int_equal(sql_run(desk, &err,
                             "INSERT INTO kpi_edit(kind, id, version, at_ms, who, body)"
                             " VALUES(1, 'future', 1, 0, 'x', '{\"name\":\"f\",\"magic\":1}')",
                             ""),
                     0);
    load(KPI_NOW, &set);
    int i = kpi_find(&set, STR("future"));
    assert_true(i >= 0 && set.kpi[i].broken.n > 0);
    i = kpi_find(&set, STR("fine"));
    assert_true(i >= 0 && set.kpi[i].broken.n == 0);
    kpi_set_free(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_canonical, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_refused, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_limits, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_versions, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_trees, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_files, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_broken, open_desk, close_desk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
