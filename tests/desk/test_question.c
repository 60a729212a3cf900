/* Saved questions: names, texts and sides that are refused, canonical texts, versions that two
 * people find each other by, pages, and what a question that is gone leaves behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "desk/saved/question.h"
#include "fault_os.h"
#include "query/ask.h"
#include "query/language/parse.h"

static char dir[TEMP_PATH_MAX];
static struct sql *desk;
static struct arena arena;
static int64_t clock_ms;

static int open_desk(void **state) {
    char path[TEMP_PATH_MAX + 16];
    struct keel_error err;
    (void)state;
    temp_make(dir);
    snprintf(path, sizeof path, "%s/desk.db", dir);
    arena_init(&arena, 16 * (size_t)QUERY_ARENA_BYTES);
    clock_ms = 1700000000000;
    return sql_open(path, SQL_CREATE, &desk, &err) || question_tables(desk, &err);
}

static int close_desk(void **state) {
    (void)state;
    sql_close(desk);
    temp_remove(dir);
    arena_release(&arena);
    return 0;
}

static const struct query *parsed(const char *text) {
    struct query *q;
    struct keel_error err;
    if (ask_read(str_from(text), &arena, &q, &err) < 0) fail_msg("%s", err.message);
    return q;
}

static struct question_spec spec(const char *name, const char *query) {
    return (struct question_spec){.name = name ? str_from(name) : (struct str){NULL, 0},
                                  .query = query ? parsed(query) : NULL,
                                  .who = STR("ann")};
}

static int64_t add(const char *name, const char *query) {
    struct question_spec s = spec(name, query);
    struct keel_error err;
    int64_t id;
    if (question_add(desk, &s, clock_ms += 1000, &id, &err) < 0) fail_msg("%s", err.message);
    return id;
}

static int put_json(void *ctx, const struct question_row *row) {
    question_json(row, ctx);
    return 0;
}

static void assert_json(int64_t id, const char *expected) {
    struct buf out;
    struct keel_error err;
    buf_init(&out, 1 << 16);
    assert_int_equal(question_get(desk, id, put_json, &out, &err), 0);
    (void)!buf_add_char(&out, 0);
    assert_string_equal((const char *)out.p, expected);
    buf_release(&out);
}

static void assert_refused(const struct question_spec *s, int code, const char *words) {
    struct keel_error err;
    int64_t id = -1;
    assert_int_equal(question_add(desk, s, clock_ms, &id, &err), -code);
    assert_int_equal(id, -1);
    if (!strstr(err.message, words)) fail_msg("%s", err.message);
}

static void life(void **state) {
    struct keel_error err;
    (void)state;
    struct question_spec s = spec("Everybody", "COUNT   customers");
    s.owner = STR("Loyalty");
    s.side = STR("marketing");
    int64_t id;
    assert_int_equal(question_add(desk, &s, clock_ms, &id, &err), 0);
    assert_json(id, "{\"id\":1,\"name\":\"Everybody\",\"description\":\"\",\"owner\":\"Loyalty\","
                    "\"side\":\"marketing\",\"version\":1,\"query\":\"count customers\","
                    "\"created_at\":\"2023-11-14T22:13:20Z\","
                    "\"changed_at\":\"2023-11-14T22:13:20Z\",\"changed_by\":\"ann\"}");
    s = (struct question_spec){.name = STR("All"), .side = STR(""), .who = STR("bob")};
    assert_int_equal(question_change(desk, id, &s, clock_ms + 1000, &err), 0);
    const char *changed = "{\"id\":1,\"name\":\"All\",\"description\":\"\",\"owner\":\"Loyalty\","
                          "\"side\":\"neither\",\"version\":2,\"query\":\"count customers\","
                          "\"created_at\":\"2023-11-14T22:13:20Z\","
                          "\"changed_at\":\"2023-11-14T22:13:21Z\",\"changed_by\":\"bob\"}";
    assert_json(id, changed);
    /* what is equal is no change; what was changed meanwhile is not overwritten */
    s = spec("All", "count customers");
    assert_int_equal(question_change(desk, id, &s, clock_ms + 9000, &err), 0);
    s.description = STR("new");
    s.if_version = 1;
    assert_int_equal(question_change(desk, id, &s, clock_ms + 9000, &err), -KEEL_E_CONFLICT);
    assert_json(id, changed);
    /* its number is not given again */
    assert_int_equal(question_remove(desk, id, &err), 0);
    assert_int_equal(question_remove(desk, id, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(question_change(desk, id, &s, clock_ms, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(add("All", "count customers"), 2);
}

static void names(void **state) {
    struct keel_error err;
    int64_t id, first = add("Buyers", "count customers"), other = add("Others", "count customers");
    (void)state;
    assert_int_equal(question_find(desk, STR("Buyers"), &id, &err), 0);
    assert_int_equal(id, first);
    assert_int_equal(question_find(desk, STR("2"), &id, &err), 0);
    assert_int_equal(id, other);
    assert_int_equal(question_find(desk, STR("3"), &id, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(question_find(desk, STR("Buyer"), &id, &err), -KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "did you mean \"Buyers\"?"));
    struct question_spec s = spec("Buyers", "count customers");
    assert_refused(&s, KEEL_E_EXISTS, "already");
    assert_int_equal(question_change(desk, other, &s, clock_ms, &err), -KEEL_E_EXISTS);
}

static void odd(void **state) {
    char name[300];
    (void)state;
    memset(name, 'n', sizeof name);
    struct question_spec s = spec("x", NULL);
    assert_refused(&s, KEEL_E_INVALID, "no question to be saved");
    s = spec(NULL, "count customers");
    assert_refused(&s, KEEL_E_INVALID, "the question has no name");
    s = spec("12", "count customers");
    assert_refused(&s, KEEL_E_INVALID, "cannot be a number");
    s = spec("a\nb", "count customers");
    assert_refused(&s, KEEL_E_INVALID, "line break");
    s = spec(" a", "count customers");
    assert_refused(&s, KEEL_E_INVALID, "space");
    s = spec("\xff", "count customers");
    assert_refused(&s, KEEL_E_INVALID, "UTF-8");
    s.name = (struct str){name, 201};
    assert_refused(&s, KEEL_E_INVALID, "longer than 200 bytes");
    s = spec("x", "count customers");
    s.side = STR("sales");
    assert_refused(&s, KEEL_E_INVALID, "marketing, it or neither, not \"sales\"");
    s.side = STR("it");
    s.description = STR("a\1");
    assert_refused(&s, KEEL_E_INVALID, "control character");
}

struct seen {
    int64_t ids[8];
    uint32_t n;
};

static int note_id(void *ctx, const struct question_row *row) {
    struct seen *seen = ctx;
    seen->ids[seen->n++] = row->id;
    return 0;
}

static void pages(void **state) {
    struct keel_error err;
    struct seen seen = {.n = 0};
    (void)state;
    for (int i = 0; i < 5; i++)
        (void)add((const char *[]){"a", "b", "c", "d", "e"}[i], "count customers");
    assert_int_equal(question_remove(desk, 3, &err), 0);
    assert_int_equal(question_list(desk, 0, 2, note_id, &seen, &err), 0);
    assert_int_equal(question_list(desk, 2, 2, note_id, &seen, &err), 0);
    assert_int_equal(question_list(desk, 5, 2, note_id, &seen, &err), 0);
    assert_int_equal(seen.n, 4);
    const int64_t expected[] = {1, 2, 4, 5};
    assert_memory_equal(seen.ids, expected, sizeof expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(life, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(names, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(odd, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(pages, open_desk, close_desk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
