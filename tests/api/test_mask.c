/* Masking: what the plan classes, what looks personal, texts that are cut or no JSON. */
#include "api/collect/mask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/rand.h"

static const char PLAN[] =
    "[event.\"Order Completed\".property]\n"
    "total = { class = \"public\" }\n"
    "note = { class = \"sensitive\" }\n"
    "support = { class = \"public\" }\n"
    "customer = { class = \"personal\" }\n"
    "\"products.engraving\" = { class = \"personal\" }\n"
    "[identify.property]\nplan = { class = \"internal\" }\nsize = { class = \"personal\" }\n"
    "[context.property]\nip = { class = \"personal\" }\n";

static const struct plan_form *form;

static int set_up(void **state) {
    (void)state;
    struct keel_error err;
    return plan_read(str_from(PLAN), "plan", &form, &err);
}

static int tear_down(void **state) {
    (void)state;
    plan_drop(form);
    return 0;
}

static char *masked(const struct plan_form *f, struct str json) {
    struct buf out;
    struct masked look = mask_look(json);
    buf_init(&out, 1 << 20);
    assert_int_equal(mask_json(f, &look, json, &out), 0);
    assert_int_equal(buf_add_char(&out, 0), 0);
    return (char *)out.p;
}

static void assert_masked(const char *json, const char *expected) {
    char *text = masked(form, str_from(json));
    assert_string_equal(text, expected);
    k_free(text);
}

/* Cells of a table say what the JSON of the same event does. */
static void test_cells(void **state) {
    (void)state;
    static const struct {
        const char *type, *event, *name;
        bool in_context;
        enum mask_kind kind;
        const char *text, *shown;
    } CASES[] = {
        {"track", "Order Completed", "total", false, MASK_NUMBER, "12.5", "12.5"},
        {"track", "Order Completed", "note", false, MASK_NUMBER, "1", "‹sensitive›"},
        {"track", "Order Completed", "customer.first", false, MASK_TEXT, "Ann", "‹personal›"},
        {"track", "Order Completed", "colour", false, MASK_TEXT, "red", "red"},
        {"track", "Order Completed", "colour", false, MASK_TEXT, "a@b.example", "‹e-mail›"},
        {"track", "Order Completed", "support", false, MASK_TEXT, "a@b.example", "a@b.example"},
        {"track", "Order Completed", "products", false, MASK_JSON,
         "[{\"sku\":\"x\",\"engraving\":\"for Ann\"}]",
         "[{\"sku\":\"x\",\"engraving\":\"‹personal›\"}]"},
        {"track", "Order Completed", "", false, MASK_JSON, "{\"note\":1,\"x\":{\"email\":\"y\"}}",
         "{\"note\":\"‹sensitive›\",\"x\":{\"email\":\"‹e-mail›\"}}"},
        {"track", "Other", "note", false, MASK_NUMBER, "1", "1"},
        {"track", "Other", "email", false, MASK_NUMBER, "1", "‹e-mail›"},
        {"track", "Other", "name", false, MASK_TEXT, "Ann", "Ann"},
        {"track", "Other", "", false, MASK_TEXT, "ann@b.example", "‹e-mail›"},
        {"identify", "", "size", false, MASK_NUMBER, "42", "‹personal›"},
        {"identify", "", "plan", false, MASK_TEXT, "gold", "gold"},
        {"identify", "", "name", false, MASK_TEXT, "Ann", "‹personal›"},
        {"track", "Other", "ip", true, MASK_TEXT, "192.0.2.1", "‹personal›"},
        {"track", "Other", "traits.size", true, MASK_NUMBER, "42", "‹personal›"},
        {"track", "Other", "traits.name", true, MASK_TEXT, "Ann", "‹personal›"},
        {"track", "Other", "page.url", true, MASK_TEXT, "https://b.example/", "https://b.example/"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct mask_event event;
        struct buf out;
        buf_init(&out, 4096);
        mask_event_of(form, str_from(CASES[i].type), str_from(CASES[i].event), &event);
        assert_int_equal(mask_value(&event, CASES[i].in_context, str_from(CASES[i].name),
                                    CASES[i].kind, str_from(CASES[i].text), &out),
                         0);
        if (!str_is(buf_str(&out), CASES[i].shown))
            fail_msg("%zu: %.*s, not %s", i, STR_ARG(buf_str(&out)), CASES[i].shown);
        buf_release(&out);
    }
}

static void test_classes(void **state) {
    (void)state;
    assert_masked(
        "{\"event\":\"Order Completed\",\"properties\":{\"total\":12.5,\"note\":{\"a\":1},"
        "\"customer\":{\"first\":\"Ann\"},\"colour\":\"red\",\"support\":\"help@keel.example\","
        "\"products\":[{\"sku\":\"x\",\"engraving\":\"for Ann\"}]},"
        "\"context\":{\"ip\":\"192.0.2.1\",\"traits\":{\"size\":42,\"name\":\"Ann\"}}}",
        "{\"event\":\"Order Completed\",\"properties\":{\"total\":12.5,\"note\":\"‹sensitive›\","
        "\"customer\":\"‹personal›\",\"colour\":\"red\",\"support\":\"help@keel.example\","
        "\"products\":[{\"sku\":\"x\",\"engraving\":\"‹personal›\"}]},"
        "\"context\":{\"ip\":\"‹personal›\",\"traits\":{\"size\":\"‹personal›\","
        "\"name\":\"‹personal›\"}}}");
    assert_masked(
        "{\"type\":\"identify\",\"traits\":{\"size\":1,\"plan\":\"gold\",\"firstName\":\"A\","
        "\"name\":null},\"userId\":\"a@b.example\"}",
        "{\"type\":\"identify\",\"traits\":{\"size\":\"‹personal›\",\"plan\":\"gold\","
        "\"firstName\":\"‹personal›\",\"name\":null},\"userId\":\"‹e-mail›\"}");
}

static void test_looks(void **state) {
    (void)state;
    assert_masked(
        "{\"a\":\"write to ann@shop.example now\",\"b\":\"+44 20 7946 0958\",\"c\":\"123456789\","
        "\"d\":\"2025-01-01\",\"e\":\"user@host\",\"f\":\"192.168.100.100\","
        "\"g\":\"x\\u0040y.example\",\"name\":\"Chair\",\"email\":17}",
        "{\"a\":\"‹e-mail›\",\"b\":\"‹phone›\",\"c\":\"123456789\",\"d\":\"2025-01-01\","
        "\"e\":\"user@host\",\"f\":\"192.168.100.100\",\"g\":\"‹e-mail›\",\"name\":\"Chair\","
        "\"email\":\"‹e-mail›\"}");
    /* as programs write it that keep to ASCII */
    assert_masked("{\"a\":\"jos\\u00e9@shop.example\",\"b\":\"ann@caf\\u00e9.example\","
                  "\"c\":\"+44\\/20\\/79460958\",\"d\":\"\\n@caf\\u00e9\"}",
                  "{\"a\":\"‹e-mail›\",\"b\":\"‹e-mail›\",\"c\":\"‹phone›\","
                  "\"d\":\"\\n@caf\\u00e9\"}");
}

static void test_keys(void **state) {
    (void)state;
    assert_masked("{\"properties\":{\"seen\":{\"ann@shop.example\":1,\"bob\":2,"
                  "\"x\\u0040y\":{\"+44 20 7946 0958\":3}}}}",
                  "{\"properties\":{\"seen\":{\"‹e-mail›\":1,\"bob\":2,"
                  "\"‹e-mail› 2\":{\"‹phone›\":3}}}}");
    /* what is said to be public is; a key within what is masked is not told */
    assert_masked("{\"type\":\"track\",\"event\":\"Order Completed\",\"properties\":{"
                  "\"support\":{\"a@b.example\":1},\"customer\":{\"a@b.example\":1}}}",
                  "{\"type\":\"track\",\"event\":\"Order Completed\",\"properties\":{"
                  "\"support\":{\"a@b.example\":1},\"customer\":\"‹personal›\"}}");
}

static void test_cut_and_broken(void **state) {
    (void)state;
    assert_masked("{\"a\":[1,2,{\"b\":tr", "{\"a\":[1,2,{\"b\":\"…\"}]}");
    assert_masked("{\"a\":\"ann@shop.exa", "{\"a\":\"…\"}");
    assert_masked("{\"a\":12", "{\"a\":\"…\"}");
    assert_masked("{\"a\"", "{}");
    assert_masked("", "null");
    assert_masked("hello", "\"…\"");
    assert_masked("{\"a\":\"\\q \\u12\"}", "{\"a\":\"\\\\q \\\\u12\"}");
    assert_masked("{\"a\":\"\\ud83d\\ude00 \\ude00 \\ud83d\\u0041\"}",
                  "{\"a\":\"\\ud83d\\ude00 \\\\ude00 \\\\ud83d\\u0041\"}");
    assert_true(mask_look(STR("{\"a\":1")).cut);
    assert_false(mask_look(STR("{\"a\":1}")).cut);
    struct masked look =
        mask_look(STR("{\"x\":{\"type\":\"no\"},\"type\":\"track\",\"event\":\"E\","
                      "\"userId\":\"u\",\"anonymousId\":\"a\",\"messageId\":\"m\"}"));
    assert_true(str_is(look.type, "track") && str_is(look.event, "E") && str_is(look.user, "u"));
    assert_true(str_is(look.anonymous, "a") && str_is(look.message_id, "m"));
}

/* Whatever comes, the result is JSON, and no whole e-mail address is in it. */
static void test_random_damage(void **state) {
    (void)state;
    static const char text[] =
        "{\"type\":\"track\",\"event\":\"Order Completed\",\"messageId\":\"m\\\\1\",\"properties\":"
        "{\"x\":[1,-2.5e3,true,null,{\"y\":\"anna@shop.example\"}],\"näme\":\"\\u00e9\\n\","
        "\"total\":3},\"context\":{\"traits\":{\"email\":\"anna@shop.example\"}}}";
    struct json_parser *parser = json_parser_new(1 << 20);
    struct json_value root;
    struct keel_error err;
    struct rand r;
    char copy[sizeof text];
    rand_init(&r, 1);
    for (int i = 0; i < 20000; i++) {
        size_t n = rand_below(&r, 4) ? sizeof text - 1 : rand_below(&r, sizeof text);
        memcpy(copy, text, sizeof text);
        for (uint32_t k = rand_below(&r, 4); k > 0; k--)
            copy[rand_below(&r, sizeof text - 1)] = "{}[]\",:\\x\x80 1"[rand_below(&r, 12)];
        char *out = masked(i % 2 ? form : NULL, (struct str){copy, n});
        if (json_parse(parser, str_from(out), &root, &err) < 0)
            fail_msg("%s: %.*s -> %s", err.message, (int)n, copy, out);
        assert_null(strstr(out, "anna@shop.example"));
        k_free(out);
    }
    json_parser_free(parser);
}

static void test_deep_and_long(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 5000; i++) (void)!buf_add_char(&b, '[');
    char *out = masked(NULL, buf_str(&b));
    assert_true(strlen(out) < 200);
    k_free(out);
    buf_clear(&b);
    (void)!buf_add_text(&b, "{\"a\":\"");
    for (int i = 0; i < 2000; i++) (void)!buf_add_text(&b, "é");
    (void)!buf_add_text(&b, "\"}");
    out = masked(NULL, buf_str(&b));
    assert_int_equal(strlen(out), strlen("{\"a\":\"…\"}") + MASK_TEXT_BYTES);
    k_free(out);
    buf_release(&b);
}

/* Names and ids come as they are: nothing in them ends the JSON string. */
static void test_plain(void **state) {
    (void)state;
    const struct {
        const char *text, *shown;
    } cases[] = {{"u-1", "\"u-1\""},
                 {"a \"b\" \\ c", "\"a \\\"b\\\" \\\\ c\""},
                 {"anna@example.com", "\"‹e-mail›\""},
                 {"", "\"\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b;
        buf_init(&b, 1 << 10);
        assert_int_equal(mask_plain(str_from(cases[i].text), &b), 0);
        assert_int_equal(b.n, strlen(cases[i].shown));
        assert_memory_equal(b.p, cases[i].shown, b.n);
        buf_release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),       cmocka_unit_test(test_cells),
        cmocka_unit_test(test_looks),         cmocka_unit_test(test_cut_and_broken),
        cmocka_unit_test(test_random_damage), cmocka_unit_test(test_deep_and_long),
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
