/* The query language: every form, every kind of error, the JSON form, the limits.
 *
 * The tables stand in tests/data/query/forms.txt and errors.txt: readable as they are, and a new
 * case is a line of text. Random trees are in test_roundtrip.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/os.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/query_print.h"

enum { ARENA_BYTES = 128 << 20, TABLE_BYTES = 1 << 20 };

/* ---- helpers ---- */

static const char *source_folder(void) {
    const char *folder = getenv("KEEL_SOURCE");
    return folder ? folder : ".";
}

static void read_table(const char *name, struct buf *out) {
    char path[4096];
    struct keel_error err;
    snprintf(path, sizeof path, "%s/tests/data/query/%s", source_folder(), name);
    buf_init(out, TABLE_BYTES);
    if (file_read(path, out, &err) < 0) fail_msg("%s", err.message);
}

/* The next line that is neither empty nor a comment; false at the end. */
static bool next_line(struct str *rest, struct str *line) {
    while (rest->n) {
        const char *end = memchr(rest->p, '\n', rest->n);
        size_t n = end ? (size_t)(end - rest->p) : rest->n;
        *line = (struct str){rest->p, n};
        size_t step = n < rest->n ? n + 1 : n;
        *rest = (struct str){rest->p + step, rest->n - step};
        if (n && line->p[0] != '#') return true;
    }
    return false;
}

static struct query *parse(struct arena *a, struct str text) {
    struct query *q = NULL;
    struct keel_error err = {0};
    if (query_parse(text, a, &q, NULL, &err) < 0) fail_msg("%.*s\n%s", STR_ARG(text), err.message);
    return q;
}

static void assert_text(struct str found, struct str expected) {
    if (!str_eq(found, expected))
        fail_msg("found    %.*s\nexpected %.*s", STR_ARG(found), STR_ARG(expected));
}

static struct str json_of(struct arena *a, const struct query *q) {
    struct buf out;
    buf_init(&out, QUERY_JSON_MAX_BYTES);
    assert_int_equal(query_json_print(q, &out), 0);
    struct str text = str_dup(a, buf_str(&out));
    buf_release(&out);
    return text;
}

/* Canonical text and JSON both give the tree back, and the two agree. */
static void check_round_trip(struct arena *a, const struct query *q) {
    struct keel_error err = {0};
    struct query *again = parse(a, q->text), *from_json = NULL;
    assert_text(again->text, q->text);
    assert_true(again->hash == q->hash);
    struct str json = json_of(a, q);
    assert_text(json_of(a, again), json);
    if (query_json_parse(json, a, &from_json, &err) < 0)
        fail_msg("%.*s\n%s", STR_ARG(json), err.message);
    assert_text(from_json->text, q->text);
    assert_text(json_of(a, from_json), json);
}

/* ---- the tables ---- */

static void forms(void **state) {
    (void)state;
    struct buf table;
    read_table("forms.txt", &table);
    struct str rest = buf_str(&table), line = {0}, next = {0};
    bool more = next_line(&rest, &line);
    unsigned n = 0;
    while (more) {
        struct arena a;
        arena_init(&a, ARENA_BYTES);
        struct query *q = parse(&a, line);
        struct str expected = line;
        more = next_line(&rest, &next);
        if (more && str_starts(next, STR("= "))) {
            expected = (struct str){next.p + 2, next.n - 2};
            more = next_line(&rest, &next);
        }
        assert_text(q->text, expected);
        assert_true(q->hash == hash_str(expected));
        check_round_trip(&a, q);
        arena_release(&a);
        line = next;
        n++;
    }
    assert_true(n >= 70);
    buf_release(&table);
}

static size_t characters(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static void errors(void **state) {
    (void)state;
    struct buf table;
    read_table("errors.txt", &table);
    struct str rest = buf_str(&table), text = {0}, carets = {0}, message = {0};
    unsigned n = 0;
    while (next_line(&rest, &text)) {
        assert_true(next_line(&rest, &carets) && next_line(&rest, &message));
        struct arena a;
        struct query *q = NULL;
        struct query_syntax_error where;
        struct keel_error err;
        char full[KEEL_ERROR_MAX];
        arena_init(&a, ARENA_BYTES);
        int code = query_parse(text, &a, &q, &where, &err);
        if (code != -KEEL_E_SYNTAX) fail_msg("%.*s: code %d", STR_ARG(text), code);
        assert_null(q);
        assert_text(str_from(where.message), message);
        struct str mark = str_trim(carets);
        size_t column = 1 + (size_t)(mark.p - carets.p);
        if (where.line != 1 || where.column != column)
            fail_msg("%.*s: column %u, expected %zu", STR_ARG(text), where.column, column);
        struct str word = {text.p + where.offset, where.length};
        assert_int_equal(characters(word) ? characters(word) : 1, mark.n);
        snprintf(full, sizeof full, "line 1, column %u: %s", where.column, where.message);
        assert_string_equal(err.message, full);
        arena_release(&a);
        n++;
    }
    assert_true(n >= 80);
    buf_release(&table);
}

/* What the documentation shows in its query blocks parses. */
static void documentation(void **state) {
    (void)state;
    char path[4096];
    struct buf page;
    struct keel_error err;
    snprintf(path, sizeof path, "%s/docs/query-language.md", source_folder());
    buf_init(&page, TABLE_BYTES);
    if (file_read(path, &page, &err) < 0) fail_msg("%s", err.message);
    struct str rest = buf_str(&page), line = {0};
    bool inside = false;
    unsigned n = 0;
    while (next_line(&rest, &line)) {
        if (str_starts(line, STR("```"))) {
            inside = str_is(line, "```query");
        } else if (inside) {
            struct arena a;
            arena_init(&a, ARENA_BYTES);
            check_round_trip(&a, parse(&a, line));
            arena_release(&a);
            n++;
        }
    }
    assert_true(n >= 25);
    buf_release(&page);
}

/* ---- places ---- */

static void places_in_lines_and_characters(void **state) {
    (void)state;
    struct arena a;
    struct query *q = NULL;
    struct query_syntax_error where;
    struct keel_error err;
    struct buf picture;
    arena_init(&a, ARENA_BYTES);
    buf_init(&picture, 4096);
    struct str text = STR("count customers -- all of them\n\twhere did \"Größe\" wheer x = 1");
    assert_int_equal(query_parse(text, &a, &q, &where, &err), -KEEL_E_SYNTAX);
    assert_int_equal(where.line, 2);
    assert_int_equal(where.column, 20);
    assert_memory_equal(text.p + where.offset, "wheer", 5);
    assert_int_equal(where.length, 5);
    assert_int_equal(query_error_picture(text, &where, &picture), 0);
    assert_text(buf_str(&picture), STR(" where did \"Größe\" wheer x = 1\n"
                                       "                   ^^^^^\n"));
    buf_clear(&picture);

    struct query_pos at = {4, 3};
    int code = query_error_at(STR("did foo"), at, KEEL_E_NOT_FOUND, &where, &err, "no %s", "foo");
    assert_int_equal(code, -KEEL_E_NOT_FOUND);
    assert_string_equal(err.message, "line 1, column 5: no foo");
    assert_string_equal(where.message, "no foo");
    at = (struct query_pos){0, 0};
    assert_int_equal(query_error_at(STR(""), at, KEEL_E_SYNTAX, NULL, &err, "no word"),
                     -KEEL_E_SYNTAX);
    assert_string_equal(err.message, "no word");
    buf_release(&picture);
    arena_release(&a);
}

static void a_long_line_is_cut_around_the_word(void **state) {
    (void)state;
    struct arena a;
    struct buf text, picture;
    struct query *q = NULL;
    struct query_syntax_error where;
    arena_init(&a, ARENA_BYTES);
    buf_init(&text, 1 << 16);
    buf_init(&picture, 4096);
    buf_add_text(&text, "count customers where did \"");
    for (int i = 0; i < 200; i++) buf_add_text(&text, "é");
    buf_add_text(&text, "\" foo");
    for (int i = 0; i < 200; i++) buf_add_text(&text, " bar");
    assert_int_equal(query_parse(buf_str(&text), &a, &q, &where, NULL), -KEEL_E_SYNTAX);
    assert_int_equal(query_error_picture(buf_str(&text), &where, &picture), 0);
    assert_true(picture.n < 300);
    assert_true(str_is_utf8(buf_str(&picture)));
    assert_true(str_contains(buf_str(&picture), STR("é\" foo bar")));
    buf_release(&picture);
    buf_release(&text);
    arena_release(&a);
}

static void the_tree_knows_where_it_stood(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    struct str text = STR("funnel \"A\", page \"B\" where x.y = 7 by context.z");
    const struct query *q = parse(&a, text);
    const struct query_event *b = &q->funnel.steps[1];
    assert_memory_equal(text.p + b->at.offset, "page \"B\"", b->at.length);
    assert_memory_equal(text.p + b->filter->prop.at.offset, "x.y", b->filter->prop.at.length);
    assert_memory_equal(text.p + b->filter->test.values[0].at.offset, "7", 1);
    assert_memory_equal(text.p + q->splits[0].at.offset, "context.z", q->splits[0].at.length);
    arena_release(&a);
}

/* ---- meanings of the tree ---- */

static void trees_are_flat(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    const struct query *q = parse(
        &a, STR("count customers where identified and (anonymous and (identified and anonymous)) "
                "and did \"A\" where (x = 1 or (x = 2 or x = 3))"));
    assert_int_equal(q->where->kind, QUERY_COND_AND);
    assert_int_equal(q->where->n_items, 5);
    assert_int_equal(q->where->items[4]->event.filter->n_items, 3);
    assert_int_equal(q->where->depth, 4); /* and, did, or, test */
    arena_release(&a);
}

static void scopes_of_properties(void **state) {
    (void)state;
    static const struct {
        const char *written;
        enum query_scope scope;
        const char *path;
    } cases[] = {
        {"price", QUERY_SCOPE_AUTO, "price"},
        {"products.sku", QUERY_SCOPE_AUTO, "products.sku"},
        {"properties.price", QUERY_SCOPE_PROPERTY, "price"},
        {"properties.time", QUERY_SCOPE_PROPERTY, "time"},
        {"`properties.a b`", QUERY_SCOPE_PROPERTY, "a b"},
        {"context.campaign.name", QUERY_SCOPE_CONTEXT, "campaign.name"},
        {"context", QUERY_SCOPE_AUTO, "context"},
        {"time", QUERY_SCOPE_EVENT, "time"},
        {"`event`", QUERY_SCOPE_EVENT, "event"},
        {"trait context.x", QUERY_SCOPE_TRAIT, "context.x"},
        {"trait time", QUERY_SCOPE_TRAIT, "time"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a;
        char text[200];
        arena_init(&a, ARENA_BYTES);
        snprintf(text, sizeof text, "total of events split by %s", cases[i].written);
        const struct query *q = parse(&a, str_from(text));
        assert_int_equal(q->splits[0].prop.scope, cases[i].scope);
        assert_text(q->splits[0].prop.path, str_from(cases[i].path));
        arena_release(&a);
    }
}

static void words_in_any_case(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, ARENA_BYTES);
    const struct query *q = parse(
        &a, STR("Count CUSTOMERS Where Did \"a\" WHERE Price BETWEEN 1 And 2 SINCE 2011-01-01"));
    assert_text(q->text, STR("count customers where did \"a\" where Price between 1 and 2 "
                             "since 2011-01-01"));
    arena_release(&a);
}

/* ---- limits ---- */

static void expect_code(struct str text, int code) {
    struct arena a;
    struct query *q = NULL;
    struct keel_error err = {0};
    arena_init(&a, ARENA_BYTES);
    int found = query_parse(text, &a, &q, NULL, &err);
    if (found != code)
        fail_msg("%.*s…: %d (%s), expected %d", text.n > 80 ? 80 : (int)text.n, text.p, found,
                 err.message, code);
    if (found == 0) check_round_trip(&a, q);
    arena_release(&a);
}

/* before, n times piece, after */
static void expect_repeated(const char *before, const char *piece, unsigned n, const char *after,
                            int code) {
    struct buf text;
    buf_init(&text, 4 * QUERY_MAX_TEXT);
    buf_add_text(&text, before);
    for (unsigned i = 0; i < n; i++) buf_add_text(&text, piece);
    buf_add_text(&text, after);
    expect_code(buf_str(&text), code);
    buf_release(&text);
}

static void limits(void **state) {
    (void)state;
    const char *did = "count customers where did \"A\" where x in (1";
    expect_repeated("count customers", " ", QUERY_MAX_TEXT - 15, "", 0);
    expect_repeated("count customers", " ", QUERY_MAX_TEXT - 14, "", -KEEL_E_LIMIT);
    expect_repeated(did, ",1", QUERY_MAX_VALUES - 1, ")", 0);
    expect_repeated(did, ",1", QUERY_MAX_VALUES, ")", -KEEL_E_LIMIT);
    expect_repeated("count customers where ", "not ", QUERY_MAX_DEPTH - 1, "identified", 0);
    expect_repeated("count customers where ", "not ", QUERY_MAX_DEPTH, "identified", -KEEL_E_LIMIT);
    expect_repeated("count customers where did \"A\" where ", "not ", QUERY_MAX_DEPTH - 2, "x = 1",
                    0);
    expect_repeated("count customers where did \"A\" where ", "not ", QUERY_MAX_DEPTH, "x = 1",
                    -KEEL_E_LIMIT);
    expect_repeated("count customers where ", "not ", 10000, "identified", -KEEL_E_SYNTAX);
    expect_repeated("count customers where ", "(", 10000, "identified", -KEEL_E_SYNTAX);
    expect_repeated("funnel \"A\"", ", \"A\"", QUERY_MAX_EVENTS - 1, "", 0);
    expect_repeated("funnel \"A\"", ", \"A\"", QUERY_MAX_EVENTS, "", -KEEL_E_LIMIT);
    expect_repeated("trend of events", ", events", QUERY_MAX_TERMS - 1, " by day", 0);
    expect_repeated("trend of events", ", events", QUERY_MAX_TERMS, " by day", -KEEL_E_LIMIT);
    expect_repeated("trend of events by day split by x", ", x", QUERY_MAX_SPLITS - 1, "", 0);
    expect_repeated("trend of events by day split by x", ", x", QUERY_MAX_SPLITS, "",
                    -KEEL_E_LIMIT);
    expect_repeated("count customers where did \"", "n", QUERY_MAX_NAME, "\"", 0);
    expect_repeated("count customers where did \"", "n", QUERY_MAX_NAME + 1, "\"", -KEEL_E_LIMIT);
    expect_repeated("count customers where did page where ", "n", QUERY_MAX_NAME + 1, " = 1",
                    -KEEL_E_LIMIT);
    expect_repeated("count customers where did page where x matches \"", "n", QUERY_MAX_PATTERN,
                    "\"", 0);
    expect_repeated("count customers where did page where x matches \"", "n", QUERY_MAX_PATTERN + 1,
                    "\"", -KEEL_E_LIMIT);
    expect_repeated("count customers where did page where x = ", "9", 400, "", -KEEL_E_SYNTAX);
}

/* AND and OR in turns: 63 levels of parentheses in the canonical text. */
static void deep_alternation(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, QUERY_MAX_TEXT);
    buf_add_text(&text, "count customers where ");
    for (int i = 0; i < QUERY_MAX_DEPTH - 1; i++)
        buf_add_text(&text, i % 2 ? "identified or (" : "identified and (");
    buf_add_text(&text, "anonymous");
    for (int i = 0; i < QUERY_MAX_DEPTH - 1; i++) buf_add_char(&text, ')');
    expect_code(buf_str(&text), 0);
    buf_release(&text);
}

static void text_that_is_none(void **state) {
    (void)state;
    expect_code(STR(""), -KEEL_E_SYNTAX);
    expect_code(STR("-- nothing"), -KEEL_E_SYNTAX);
    expect_code(STR("count\0customers"), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"\xff\""), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"\\u0000\""), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"\\ud800\""), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"\\ud83d\\u0041\""), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"a\nb\""), -KEEL_E_SYNTAX);
    expect_code(STR("count customers where did \"\""), -KEEL_E_SYNTAX);
    expect_code(STR("count\xc2\xa0"
                    "customers"),
                0);
}

/* The canonical text must not outgrow what may be parsed: filters gain parentheses. */
static void canonical_too_long(void **state) {
    (void)state;
    expect_repeated("count customers where identified", "\nor did \"A\"where a=1 and b=2", 2400, "",
                    -KEEL_E_LIMIT);
}

static void memory(void **state) {
    (void)state;
    struct arena small;
    struct query *q = NULL;
    struct keel_error err;
    arena_init(&small, QUERY_ARENA_BYTES - 1);
    assert_int_equal(query_parse(STR("count customers"), &small, &q, NULL, &err), -KEEL_E_LIMIT);
    assert_int_equal(query_json_parse(STR("{\"form\":\"count\"}"), &small, &q, &err),
                     -KEEL_E_LIMIT);
    arena_release(&small);

    struct arena a;
    arena_init(&a, ARENA_BYTES);
    mem_fail_after(1); /* the arena's first block would abort, so it is there before */
    assert_null(k_try_alloc(1));
    (void)arena_alloc(&a, 1);
    mem_fail_after(1);
    assert_int_equal(query_parse(STR("count customers"), &a, &q, NULL, &err), -KEEL_E_NO_MEMORY);
    mem_fail_after(0);
    arena_release(&a);
}

/* ---- JSON ---- */

static void json_errors(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"[]", "query as JSON: expected an object"},
        {"{}", "query as JSON, form: is missing"},
        {"{\"form\":\"cuont\"}", "query as JSON, form: \"cuont\" is not possible here"},
        {"{\"form\":\"count\",\"whom\":{}}", "query as JSON: there is no member \"whom\" here"},
        {"{\"form\":\"count\",\"limit\":3}", "query as JSON: there is no member \"limit\" here"},
        {"{\"form\":\"count\",\"where\":{}}",
         "query as JSON, where: expected a condition: \"and\", \"or\", \"not\", \"did\", "
         "\"measure\", \"trait\", \"is\", \"segment\" or \"funnel\""},
        {"{\"form\":\"count\",\"where\":{\"and\":[]}}", "query as JSON, where: \"and\" is empty"},
        {"{\"form\":\"count\",\"where\":{\"and\":{}}}",
         "query as JSON, where.and: expected an array, found an object"},
        {"{\"form\":\"count\",\"where\":{\"and\":[{\"is\":\"identified\"},{\"is\":\"rich\"}]}}",
         "query as JSON, where.and[1].is: \"rich\" is not possible here"},
        {"{\"form\":\"count\",\"where\":{\"did\":{\"type\":\"track\"}}}", "this event has no name"},
        {"{\"form\":\"count\",\"where\":{\"did\":{\"type\":\"track\",\"name\":\"A\",\"where\":"
         "{\"property\":\"x\",\"op\":\"=\"}}}}",
         "query as JSON, where.did.where.value: is missing"},
        {"{\"form\":\"count\",\"where\":{\"did\":{\"type\":\"any\",\"where\":"
         "{\"property\":\"x\",\"op\":\"=\",\"value\":null}}}}",
         "query as JSON, where.did.where.value: expected a text, a number, true, false or "
         "{\"time\": …}, found null"},
        {"{\"form\":\"count\",\"where\":{\"did\":{\"type\":\"any\"},\"min\":-1}}",
         "query as JSON, where.min: expected a whole number from 0 to 4294967294"},
        {"{\"form\":\"count\",\"where\":{\"did\":{\"type\":\"any\"},\"range\":{\"from\":"
         "\"2011-02-29\"}}}",
         "query as JSON, where.range.from: there is no such date or time"},
        {"{\"form\":\"count\",\"where\":{\"trait\":\"\",\"op\":\"exists\"}}",
         "this property is empty"},
        {"{\"form\":\"count\",\"where\":{\"trait\":\"a\\u0001\",\"op\":\"exists\"}}",
         "this property contains a control character"},
        {"{\"form\":\"count\",\"where\":{\"trait\":\"a\",\"op\":\"exists\",\"value\":1}}",
         "query as JSON, where: \"exists\" takes no \"value\""},
        {"{\"form\":\"count\",\"where\":{\"trait\":\"a\",\"op\":\"in\",\"values\":[]}}",
         "this comparison has the wrong number of values"},
        {"{\"form\":\"trend\",\"period\":\"day\"}", "expected what to count"},
        {"{\"form\":\"trend\",\"period\":\"second\",\"measures\":[{\"aggregate\":\"count\","
         "\"event\":{\"type\":\"any\"}}]}",
         "the shortest period here is \"by hour\""},
        {"{\"form\":\"top\",\"limit\":0,\"event\":{\"type\":\"any\"},\"property\":\"x\"}",
         "this number of rows is not possible here"},
        {"{\"form\":\"top\",\"limit\":1,\"event\":{\"type\":\"any\"},\"property\":\"x\","
         "\"rank_property\":\"y\"}",
         "query as JSON: \"rank_property\" needs \"rank\": \"sum\""},
        {"{\"form\":\"sessions\",\"gap\":{\"n\":2,\"unit\":\"month\"}}",
         "\"with gap\" and a time, such as 30 minutes is given in seconds, minutes, hours, days or "
         "weeks"},
        {"{\"form\":\"time\",\"from\":{\"type\":\"page\"},\"to\":{\"type\":\"page\"},"
         "\"percentiles\":[0]}",
         "percentiles ascend and lie between 0 and 100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a;
        struct query *q = NULL;
        struct keel_error err = {0};
        arena_init(&a, ARENA_BYTES);
        assert_int_equal(query_json_parse(str_from(cases[i].json), &a, &q, &err), -KEEL_E_SYNTAX);
        assert_string_equal(err.message, cases[i].message);
        assert_null(q);
        arena_release(&a);
    }
}

/* Trees that the text cannot write as they come in take the text's shape. */
static void json_is_normalised(void **state) {
    (void)state;
    static const char json[] =
        "{\"form\":\"count\",\"where\":{\"and\":[{\"and\":[{\"is\":\"identified\"}]},{\"and\":["
        "{\"is\":\"anonymous\"},{\"did\":{\"type\":\"any\"},\"min\":1}]}]}}";
    struct arena a;
    struct query *q = NULL;
    arena_init(&a, ARENA_BYTES);
    assert_int_equal(query_json_parse(STR(json), &a, &q, NULL), 0);
    assert_text(q->text, STR("count customers where identified and anonymous and did any event"));
    check_round_trip(&a, q);
    arena_release(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(errors),
        cmocka_unit_test(documentation),
        cmocka_unit_test(places_in_lines_and_characters),
        cmocka_unit_test(a_long_line_is_cut_around_the_word),
        cmocka_unit_test(the_tree_knows_where_it_stood),
        cmocka_unit_test(trees_are_flat),
        cmocka_unit_test(scopes_of_properties),
        cmocka_unit_test(words_in_any_case),
        cmocka_unit_test(limits),
        cmocka_unit_test(deep_alternation),
        cmocka_unit_test(text_that_is_none),
        cmocka_unit_test(canonical_too_long),
        cmocka_unit_test(memory),
        cmocka_unit_test(json_errors),
        cmocka_unit_test(json_is_normalised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
