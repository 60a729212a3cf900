/* The JSON tree: look-ups, walks, types, errors with their place, damage. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"

static struct json_parser *parser;

static struct json_value parse(const char *text) {
    struct json_value root;
    struct keel_error err;
    if (json_parse(parser, str_from(text), &root, &err) < 0) fail_msg("%s: %s", text, err.message);
    return root;
}

static void test_types(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {
        {"null", JSON_NULL},    {" true ", JSON_BOOL}, {"false", JSON_BOOL},
        {"-1", JSON_NUMBER},    {"1e3", JSON_NUMBER},  {"18446744073709551615", JSON_NUMBER},
        {"\"x\"", JSON_STRING}, {"[]", JSON_ARRAY},    {"{}", JSON_OBJECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(json_type(parse(cases[i].text)), cases[i].type);
    assert_int_equal(json_type(json_get(parse("{}"), "x")), JSON_ABSENT);
    assert_string_equal(json_type_text(JSON_STRING), "a string");
}

static void test_look_up(void **state) {
    (void)state;
    struct json_value root =
        parse("{\"a\":{\"b\":[1,2.5,\"é\\n\"]},\"a\":7,\"yes\":true,\"n\":null}");
    struct str s;
    double d;
    int64_t i;
    bool b = false;
    assert_int_equal(json_count(root), 4);
    assert_int_equal(json_type(json_get(root, "a")), JSON_OBJECT); /* the first of two */
    assert_int_equal(json_count(json_get(json_get(root, "a"), "b")), 3);
    assert_int_equal(json_type(json_get(json_get(json_get(root, "x"), "y"), "z")), JSON_ABSENT);
    assert_true(json_has(root, "n"));
    assert_false(json_has(root, "N"));
    assert_true(json_bool(json_get(root, "yes"), &b) && b);
    assert_false(json_bool(json_get(root, "n"), &b));
    struct json_each each = json_each(json_get(json_get(root, "a"), "b"));
    struct json_value v;
    assert_true(json_next(&each, NULL, &v) && json_i64(v, &i) && i == 1);
    assert_true(json_f64(v, &d) && d == 1);
    assert_false(json_str(v, &s));
    assert_true(json_next(&each, NULL, &v) && json_f64(v, &d) && d == 2.5);
    assert_false(json_i64(v, &i));
    assert_true(json_next(&each, &s, &v));
    assert_true(s.n == 0 && json_str(v, &s) && str_is(s, "é\n"));
    assert_false(json_next(&each, NULL, &v));
    assert_false(json_f64(v, &d));
}

static void test_walk(void **state) {
    (void)state;
    struct json_value root = parse("{\"one\":[[],[[1]]],\"two\":{\"k\":{}},\"three\":-1.5}"), v;
    struct json_each each = json_each(root);
    struct str key;
    assert_true(json_next(&each, &key, &v) && str_is(key, "one") && json_count(v) == 2);
    assert_true(json_next(&each, &key, &v) && str_is(key, "two") && json_count(v) == 1);
    assert_true(json_next(&each, &key, &v) && str_is(key, "three") && json_count(v) == 0);
    assert_false(json_next(&each, &key, &v));
    each = json_each(json_get(root, "three"));
    assert_false(json_next(&each, &key, &v));
    each = json_each(json_get(root, "absent"));
    assert_false(json_next(&each, &key, &v));
}

static void test_integers(void **state) {
    (void)state;
    int64_t i = 42;
    assert_true(json_i64(parse("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(json_i64(parse("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(json_i64(parse("2.0"), &i) && i == 2);
    assert_true(json_i64(parse("1e3"), &i) && i == 1000);
    i = 42;
    assert_false(json_i64(parse("9223372036854775808"), &i));
    assert_false(json_i64(parse("1e300"), &i));
    assert_false(json_i64(parse("0.5"), &i));
    assert_false(json_i64(parse("\"1\""), &i));
    assert_int_equal(i, 42);
}

static void expect_error(const char *text, int code, const char *message) {
    struct json_value root;
    struct keel_error err;
    assert_int_equal(json_parse(parser, str_from(text), &root, &err), -code);
    if (!strstr(err.message, message)) fail_msg("%s: \"%s\", not %s", text, err.message, message);
}

static void test_errors(void **state) {
    (void)state;
    expect_error("", KEEL_E_SYNTAX, "it ends at line 1, column 1, where a value is expected");
    expect_error("  ", KEEL_E_SYNTAX, "ends at line 1, column 3");
    expect_error("{\"a\":1,\n \"b\" 2}", KEEL_E_SYNTAX, "at line 2, column 6: expected ':'");
    expect_error("{\"a\":1,}", KEEL_E_SYNTAX, "column 8: expected a string in double quotes");
    expect_error("[1 2]", KEEL_E_SYNTAX, "column 4: expected ',' or ']'");
    expect_error("[1] x", KEEL_E_SYNTAX, "column 5: expected nothing more");
    expect_error("[01]", KEEL_E_SYNTAX, "column 3: expected ',' or ']'");
    expect_error("[-]", KEEL_E_SYNTAX, "column 3: expected a digit");
    expect_error("[tru]", KEEL_E_SYNTAX, "column 2: expected a value");
    expect_error("[\"a\\q\"]", KEEL_E_SYNTAX, "expected an escape");
    expect_error("[\"a", KEEL_E_SYNTAX, "where a closing quote is expected");
    expect_error("[\"a\tb\"]", KEEL_E_SYNTAX, "no control character");
    expect_error("[1e999]", KEEL_E_SYNTAX, "bad JSON");
    expect_error("[\"\xff\"]", KEEL_E_SYNTAX, "UTF-8");
    struct json_value root;
    char deep[400];
    memset(deep, '[', sizeof deep);
    memset(deep + 200, ']', 200);
    struct keel_error err;
    assert_int_equal(json_parse(parser, (struct str){deep, 400}, &root, &err), -KEEL_E_LIMIT);
    struct json_parser *small = json_parser_new(1000);
    char *large = k_alloc(2000);
    memset(large, ' ', 2000);
    assert_int_equal(json_parse(small, (struct str){large, 2000}, &root, &err), -KEEL_E_LIMIT);
    k_free(large);
    json_parser_free(small);
}

/* Damaged texts in blocks of exactly their size; what still parses is walked. */
static size_t walk(struct json_value v) {
    struct json_each each = json_each(v);
    struct json_value child;
    struct str s = STR("");
    size_t n = 1;
    if (json_str(v, &s)) n += hash_str(s) & 1;
    while (json_next(&each, &s, &child)) n += walk(child);
    return n;
}

static void test_damage(void **state) {
    (void)state;
    static const char text[] =
        "{\"steps\":[{\"event\":\"Order Completed\",\"where\":{\"price\":[\">=\""
        ",5e1]}},null,true,false,-0.5,\"\\u00e9\\ud83d\\ude00\"],\"n\":{}}";
    struct rand r;
    rand_init(&r, 7);
    size_t n = sizeof text - 1;
    struct json_value root;
    for (int i = 0; i < 30000; i++) {
        size_t cut = i < (int)n ? (size_t)i : n;
        char *copy = k_alloc(cut);
        memcpy(copy, text, cut);
        for (uint32_t hits = cut < n || n == 0 ? 0 : rand_below(&r, 4); hits > 0; hits--)
            copy[rand_below(&r, (uint32_t)cut)] = (char)rand_u64(&r);
        struct keel_error err;
        if (json_parse(parser, (struct str){copy, cut}, &root, &err) == 0) assert_true(walk(root));
        k_free(copy);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),  cmocka_unit_test(test_look_up),
        cmocka_unit_test(test_walk),   cmocka_unit_test(test_integers),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_damage),
    };
    parser = json_parser_new(1 << 20);
    int failed = cmocka_run_group_tests_name("json", tests, NULL, NULL);
    json_parser_free(parser);
    return failed;
}
