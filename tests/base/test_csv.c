/* Cells of CSV: quoted so that they are read back, and never a formula. */
#include "base/csv.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "base/table.h"

static uint64_t seed;

static void assert_cell(const char *text, enum csv_texts texts, const char *expected) {
    struct buf out;
    buf_init(&out, 4096);
    csv_add_text(&out, str_from(text), texts);
    assert_int_equal(out.failed, 0);
    if (!str_is(buf_str(&out), expected))
        fail_msg("%s: %.*s, not %s", text, STR_ARG(buf_str(&out)), expected);
    buf_release(&out);
}

static void test_cells(void **state) {
    (void)state;
    static const struct {
        const char *text, *safe, *raw;
    } CASES[] = {
        {"", "\"\"", "\"\""},
        {"plain", "plain", "plain"},
        {" led", "\" led\"", "\" led\""},
        {"a,b", "\"a,b\"", "\"a,b\""},
        {"say \"x\"", "\"say \"\"x\"\"\"", "\"say \"\"x\"\"\""},
        {"=1+1", "'=1+1", "=1+1"},
        {"=\"a\"", "\"'=\"\"a\"\"\"", "\"=\"\"a\"\"\""},
        {"+49 30 1234", "'+49 30 1234", "+49 30 1234"},
        {"@SUM(A1)", "'@SUM(A1)", "@SUM(A1)"},
        {"-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0", "-1+cmd|' /C calc'!A0"},
        {"\t=1", "'\t=1", "\t=1"},
        {"\r=1", "\"'\r=1\"", "\"\r=1\""},
        {"\n=1", "\"'\n=1\"", "\"\n=1\""},
        {"\xef\xbc\x9d"
         "1",
         "'\xef\xbc\x9d"
         "1",
         "\xef\xbc\x9d"
         "1"},
        {"'=1", "''=1", "'=1"},
        {"''-5", "'''-5", "''-5"},
        {"'tis", "'tis", "'tis"},
        {"'", "'", "'"},
        {"a=1", "a=1", "a=1"},
        {"-5", "-5", "-5"},
        {"-0.25e-3", "-0.25e-3", "-0.25e-3"},
        {"+7", "+7", "+7"},
        {"-", "-", "-"},
        {"=", "=", "="},
        {"'-", "''-", "'-"},
        {"--", "'--", "--"},
        {"-5 ", "\"'-5 \"", "\"-5 \""},
        {"--5", "'--5", "--5"},
        {"-5-5", "'-5-5", "-5-5"},
        {"-nan", "'-nan", "-nan"},
        {"-0x10", "'-0x10", "-0x10"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_cell(CASES[i].text, CSV_SAFE, CASES[i].safe);
        assert_cell(CASES[i].text, CSV_RAW, CASES[i].raw);
    }
}

/* What RFC 4180 says a cell holds. */
static size_t read_back(struct str cell, char *out) {
    size_t n = 0;
    if (cell.n == 0 || cell.p[0] != '"') {
        memcpy(out, cell.p, cell.n);
        return cell.n;
    }
    assert_true(cell.n >= 2 && cell.p[cell.n - 1] == '"');
    for (size_t i = 1; i + 1 < cell.n; i++) {
        out[n++] = cell.p[i];
        if (cell.p[i] == '"') assert_int_equal(cell.p[++i], '"');
    }
    return n;
}

/* Whatever the text: raw is the text, safe is no formula, and with its ' taken away the text. */
static void test_nothing_is_lost(void **state) {
    (void)state;
    static const char SIGNS[] = "=+-@\t\r\n'\", 15e.x";
    struct rand r;
    uint32_t guarded = 0;
    rand_init(&r, seed);
    for (int round = 0; round < 200000; round++) {
        char text[8], back[16];
        size_t n = rand_below(&r, sizeof text);
        double number;
        for (size_t i = 0; i < n; i++) text[i] = SIGNS[rand_below(&r, sizeof SIGNS - 1)];
        struct buf out;
        buf_init(&out, 64);
        csv_add_text(&out, (struct str){text, n}, CSV_RAW);
        assert_true(
            str_eq((struct str){back, read_back(buf_str(&out), back)}, (struct str){text, n}));
        buf_clear(&out);
        csv_add_text(&out, (struct str){text, n}, CSV_SAFE);
        struct str got = {back, read_back(buf_str(&out), back)};
        bool sign = got.n && memchr("=+-@\t\r\n", got.p[0], 7);
        if (sign && got.n > 1 && !str_to_f64(got, &number))
            fail_msg("%.*s is a formula", STR_ARG(got));
        size_t quotes = 0;
        while (quotes < got.n && got.p[quotes] == '\'') quotes++;
        if (quotes && quotes < got.n && memchr("=+-@\t\r\n", got.p[quotes], 7)) {
            got = (struct str){got.p + 1, got.n - 1};
            guarded++;
        }
        assert_true(str_eq(got, (struct str){text, n}));
        buf_release(&out);
    }
    assert_in_range(guarded, 50000, 150000);
}

/* Typed columns are not touched; names of columns are texts as others are. */
static void test_tables(void **state) {
    (void)state;
    static const struct column COLUMNS[] = {
        {"=name", CELL_STRING}, {"n", CELL_NUMBER}, {"i", CELL_INTEGER}, {"j", CELL_JSON}};
    const struct cell cells[] = {
        {.text = STR("=A1")}, {.number = -5.5}, {.integer = -7}, {.text = STR("-8")}};
    static const char *const EXPECTED[] = {[TABLE_CSV] = "'=name,n,i,j\n'=A1,-5.5,-7,-8\n",
                                           [TABLE_CSV_RAW] = "=name,n,i,j\n=A1,-5.5,-7,-8\n"};
    for (int style = TABLE_CSV; style <= TABLE_CSV_RAW; style++) {
        struct keel_error err;
        struct output out;
        struct table table;
        struct buf into;
        buf_init(&into, 4096);
        output_into(&out, &into);
        const struct table_format format = {.style = (enum table_style)style};
        assert_int_equal(table_start(&table, &out, &format, COLUMNS, 4, &err), 0);
        table_row(&table, cells);
        assert_int_equal(table_finish(&table, STR(""), &err), 0);
        assert_int_equal(output_close(&out, &err), 0);
        assert_int_equal(buf_add_char(&into, 0), 0);
        assert_string_equal(into.p, EXPECTED[style]);
        buf_release(&into);
    }
    assert_int_equal(table_style_of(TABLE_JSON, true), TABLE_JSON);
    assert_int_equal(table_style_of(TABLE_CSV, true), TABLE_CSV_RAW);
    assert_int_equal(table_style_of(TABLE_CSV, false), TABLE_CSV);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_tables),
    };
    const char *given = getenv("KEEL_SEED");
    seed = given ? strtoull(given, NULL, 10) : 20111209;
    printf("KEEL_SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
