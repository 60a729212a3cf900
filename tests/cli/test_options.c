/* Options, suggestions and tables of the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/os.h"
#include "base/table.h"
#include "cli/options.h"

/* ---- options ---- */

struct args {
    int64_t count, span, size, day;
    const char *text;
    struct option_words words;
    int format;
    bool flag;
};

#define AT(field) offsetof(struct args, field)

static const struct option OPTIONS[] = {
    {"count", OPTION_INTEGER, AT(count), "N", "a number", NULL, true, 1, 5000000},
    {"span", OPTION_DURATION, AT(span), "T", "a duration", NULL, false, 0, 0},
    {"size", OPTION_SIZE, AT(size), "BYTES", "a size", NULL, false, 0, 0},
    {"day", OPTION_DATE, AT(day), "DATE", "a day", NULL, false, 0, 0},
    {"text", OPTION_TEXT, AT(text), "TEXT", "a text", NULL, false, 0, 0},
    {"word", OPTION_WORDS, AT(words), "WORD", "some words", NULL, false, 0, 0},
    {"format", OPTION_CHOICE, AT(format), "FORMAT", "how to print", "table|json|csv", false, 0, 0},
    {"flag", OPTION_FLAG, AT(flag), NULL, "a switch", NULL, false, 0, 0},
    {0},
};

static const struct command COMMAND = {
    .name = "try",
    .summary = "try things",
    .operands = "FILE...",
    .max_operands = 3,
    .options = OPTIONS,
    .description = "A description.\n",
    .examples = "  keel try --count 1\n",
};

enum { WORDS_MAX = 200 };

/* Splits at single spaces and parses. The words live until the next call. */
static int parse(const char *line, struct args *args, struct operands *operands,
                 struct keel_error *err) {
    static char text[4096];
    static char *argv[WORDS_MAX];
    int argc = 0;
    snprintf(text, sizeof text, "try %s", line);
    for (char *at = text; at && *at;) {
        char *space = strchr(at, ' ');
        argv[argc++] = at;
        if (space) *space++ = 0;
        at = space;
    }
    *args = (struct args){0};
    *err = (struct keel_error){0};
    return options_parse(&COMMAND, argc, argv, args, operands, err);
}

static void accepts(const char *line, struct args *args, struct operands *operands) {
    struct keel_error err;
    int code = parse(line, args, operands, &err);
    if (code) print_message("%s: %s\n", line, err.message);
    assert_int_equal(code, 0);
}

static void refuses(const char *line, const char *part) {
    struct args args;
    struct operands operands;
    struct keel_error err;
    assert_int_equal(parse(line, &args, &operands, &err), -KEEL_E_INVALID);
    if (!strstr(err.message, part)) print_message("%s: %s\n", line, err.message);
    assert_non_null(strstr(err.message, part));
    assert_int_equal(error_exit_status(err.code), 64);
}

static void options_take_values_in_both_forms(void **state) {
    (void)state;
    struct args a;
    struct operands o;
    accepts("--count 20k --span=90m one --text=a=b --flag two --word x --word=y -- --three", &a,
            &o);
    assert_int_equal(a.count, 20000);
    assert_int_equal(a.span, 90 * 60000);
    assert_string_equal(a.text, "a=b");
    assert_true(a.flag);
    assert_int_equal(a.words.n, 2);
    assert_string_equal(a.words.word[1], "y");
    assert_int_equal(o.n, 3);
    assert_string_equal(o.word[0], "one");
    assert_string_equal(o.word[1], "two");
    assert_string_equal(o.word[2], "--three");
}

static void options_read_units_and_dates(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int64_t count, span, size, day;
    } CASES[] = {
        {"--count 3M", 3000000, 0, 0, 0},
        {"--count 1 --span 2w", 1, 14 * (int64_t)MS_PER_DAY, 0, 0},
        {"--count 1 --span 500ms", 1, 500, 0, 0},
        {"--count 1 --span 30d", 1, 30 * (int64_t)MS_PER_DAY, 0, 0},
        {"--count 1 --size 64k", 1, 0, 65536, 0},
        {"--count 1 --size 2GiB", 1, 0, (int64_t)2 << 30, 0},
        {"--count 1 --day 1970-01-02", 1, 0, 0, MS_PER_DAY},
        {"--count 1 --day 1970-01-01T00:00:01Z", 1, 0, 0, 1000},
    };
    struct args a;
    struct operands o;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        accepts(CASES[i].line, &a, &o);
        assert_int_equal(a.count, CASES[i].count);
        assert_int_equal(a.span, CASES[i].span);
        assert_int_equal(a.size, CASES[i].size);
        assert_int_equal(a.day, CASES[i].day);
    }
    accepts("--count 1 --format csv -", &a, &o);
    assert_int_equal(a.format, 2);
    assert_string_equal(o.word[0], "-");
}

static void option_errors_name_the_word(void **state) {
    (void)state;
    refuses("", "--count N is missing");
    refuses("--count", "--count needs a value: expected a whole number");
    refuses("--count x", "--count \"x\" is not understood; expected a whole number");
    refuses("--count 1.5", "\"1.5\"");
    refuses("--count 9999999999999G", "\"9999999999999G\"");
    refuses("--count 0", "expected 1 to 5000000");
    refuses("--count 1 --count 2", "--count is given twice");
    refuses("--count 1 --span 5", "such as 500ms");
    refuses("--count 1 --size 5q", "such as 4096");
    refuses("--count 1 --day yesterday", "2024-01-31");
    refuses("--count 1 --format xml", "expected one of table|json|csv");
    refuses("--count 1 --format tables", "expected one of table|json|csv");
    refuses("--count 1 --flag=yes", "--flag takes no value; found \"yes\"");
    refuses("--count 1 --cuont 2", "did you mean --count?");
    refuses("--count 1 --zzzzzz", "unknown option \"--zzzzzz\"; see: keel help try");
    refuses("--count 1 -c", "options are long");
    refuses("--count 1 a b c d", "unexpected \"d\"");
}

static void repeated_options_have_a_limit(void **state) {
    (void)state;
    char line[4096] = "--count 1";
    for (int i = 0; i < OPTION_WORDS_MAX; i++) strcat(line, " --word a");
    struct args a;
    struct operands o;
    accepts(line, &a, &o);
    strcat(line, " --word a");
    refuses(line, "more than 64 times");
}

/* ---- output into memory ---- */

static char *read_back(int fd) {
    static char text[1 << 16];
    off_t n = lseek(fd, 0, SEEK_CUR);
    assert_in_range(n, 0, sizeof text - 1);
    assert_int_equal(pread(fd, text, (size_t)n, 0), n);
    text[n] = 0;
    close(fd);
    return text;
}

static int scratch(void) {
    char path[] = "/tmp/keel-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void help_shows_the_table_of_options(void **state) {
    (void)state;
    struct output out;
    struct keel_error err;
    int fd = scratch();
    output_over(&out, fd, "scratch");
    options_help(&COMMAND, &out);
    assert_int_equal(output_close(&out, &err), 0);
    assert_string_equal(read_back(fd), "keel try: try things\n"
                                       "\n"
                                       "Usage: keel try --count N [OPTION...] FILE...\n"
                                       "\n"
                                       "A description.\n"
                                       "\n"
                                       "Options:\n"
                                       "  --count N                a number (required)\n"
                                       "  --span T                 a duration\n"
                                       "  --size BYTES             a size\n"
                                       "  --day DATE               a day\n"
                                       "  --text TEXT              a text\n"
                                       "  --word WORD              some words (may be repeated)\n"
                                       "  --format table|json|csv  how to print\n"
                                       "  --flag                   a switch\n"
                                       "  --help                   this page\n"
                                       "\n"
                                       "Examples:\n"
                                       "  keel try --count 1\n");
}

static void output_reports_a_full_disk_once(void **state) {
    (void)state;
    struct output out;
    struct keel_error err;
    static char block[OUTPUT_BYTES + 10];
    assert_int_equal(output_open(&out, "/dev/full", &err), 0);
    output_add(&out, block, sizeof block);
    output_add(&out, block, sizeof block);
    assert_int_equal(output_failed(&out), -KEEL_E_NO_SPACE);
    assert_int_equal(output_close(&out, &err), -KEEL_E_NO_SPACE);
    assert_string_equal(err.message, "cannot write to /dev/full: No space left on device");
    assert_int_equal(error_exit_status(err.code), 74);
}

/* ---- tables ---- */

static const struct column COLUMNS[] = {
    {"name", CELL_STRING}, {"n", CELL_INTEGER}, {"share", CELL_NUMBER}, {"ok", CELL_BOOL},
    {"at", CELL_TIME},     {"day", CELL_DATE},  {"more", CELL_JSON},
};
enum { N_COLUMNS = sizeof COLUMNS / sizeof COLUMNS[0] };

static char *print_table(enum table_style style) {
    const struct cell ROWS[][N_COLUMNS] = {
        {{.text = STR("Zo\xc3\xab, \"Z\"")},
         {.integer = -12},
         {.number = 0.1 + 0.2},
         {.boolean = true},
         {.time_ms = 1323435000500},
         {.day = 1},
         {.text = STR("{\"a\":[1,2]}")}},
        {{.text = STR("\xe6\x9d\xb1\xe4\xba\xac\n")},
         {.integer = 1234567890123},
         {.number = 12},
         {.is_null = true},
         {.is_null = true},
         {.is_null = true},
         {.is_null = true}},
        {{.text = STR("")},
         {.integer = 0},
         {.number = -2.5},
         {.boolean = false},
         {.time_ms = 0},
         {.day = 0},
         {.text = STR("[]")}},
    };
    struct table t;
    struct output out;
    struct keel_error err;
    int fd = scratch();
    output_over(&out, fd, "scratch");
    struct table_format format = {.style = style, .json_before = STR("\"query\":\"q\",")};
    assert_int_equal(table_start(&t, &out, &format, COLUMNS, N_COLUMNS, &err), 0);
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) table_row(&t, ROWS[i]);
    assert_int_equal(table_finish(&t, STR(",\"cost\":{\"ms\":1}"), &err), 0);
    assert_int_equal(output_close(&out, &err), 0);
    return read_back(fd);
}

static void tables_as_text_are_aligned(void **state) {
    (void)state;
    assert_string_equal(
        print_table(TABLE_TEXT),
        "name                  n  share  ok     at                        day         more\n"
        "--------  -------------  -----  -----  ------------------------  ----------  -----------\n"
        "Zo\xc3\xab, \"Z\"            -12    0.3  true   2011-12-09T12:50:00.500Z  1970-01-02  "
        "{\"a\":[1,2]}\n"
        "\xe6\x9d\xb1\xe4\xba\xac\\n    1234567890123     12  -      -                         -   "
        "        -\n"
        "                      0   -2.5  false  1970-01-01T00:00:00Z      1970-01-01  []\n");
}

static void tables_as_csv_are_quoted(void **state) {
    (void)state;
    assert_string_equal(print_table(TABLE_CSV),
                        "name,n,share,ok,at,day,more\n"
                        "\"Zo\xc3\xab, \"\"Z\"\"\",-12,0.30000000000000004,true,"
                        "2011-12-09T12:50:00.500Z,1970-01-02,\"{\"\"a\"\":[1,2]}\"\n"
                        "\"\xe6\x9d\xb1\xe4\xba\xac\n\",1234567890123,12,,,,\n"
                        "\"\",0,-2.5,false,1970-01-01T00:00:00Z,1970-01-01,[]\n");
}

static void tables_as_json_are_exact(void **state) {
    (void)state;
    assert_string_equal(
        print_table(TABLE_JSON),
        "{\"query\":\"q\",\"columns\":[{\"name\":\"name\",\"type\":\"string\"},"
        "{\"name\":\"n\",\"type\":\"integer\"},{\"name\":\"share\",\"type\":\"number\"},"
        "{\"name\":\"ok\",\"type\":\"bool\"},{\"name\":\"at\",\"type\":\"time\"},"
        "{\"name\":\"day\",\"type\":\"date\"},{\"name\":\"more\",\"type\":\"json\"}],\"rows\":[\n"
        "[\"Zo\xc3\xab, \\\"Z\\\"\",-12,0.30000000000000004,true,\"2011-12-09T12:50:00.500Z\","
        "\"1970-01-02\",{\"a\":[1,2]}],\n"
        "[\"\xe6\x9d\xb1\xe4\xba\xac\\n\",1234567890123,12,null,null,null,null],\n"
        "[\"\",0,-2.5,false,\"1970-01-01T00:00:00Z\",\"1970-01-01\",[]]\n"
        "],\"cost\":{\"ms\":1}}\n");
}

static void long_tables_stream(void **state) {
    (void)state;
    enum { ROWS = TABLE_LOOK_ROWS + 500 };
    const struct column columns[] = {{"n", CELL_INTEGER}};
    struct table_format format = {.style = TABLE_TEXT};
    struct table t;
    struct output out;
    struct keel_error err;
    int fd = scratch();
    output_over(&out, fd, "scratch");
    assert_int_equal(table_start(&t, &out, &format, columns, 1, &err), 0);
    for (int64_t i = 0; i < ROWS; i++) table_row(&t, &(struct cell){.integer = i});
    assert_int_equal(t.kept.n, 0);
    assert_int_equal(table_finish(&t, STR(""), &err), 0);
    assert_int_equal(output_close(&out, &err), 0);
    char *text = read_back(fd);
    size_t lines = 0;
    for (char *at = text; (at = strchr(at, '\n')); at++) lines++;
    assert_int_equal(lines, ROWS + 2);
    assert_non_null(strstr(text, "\n1999\n2000\n"));
}

static void widths_count_terminal_cells(void **state) {
    (void)state;
    assert_int_equal(text_width(STR("abc")), 3);
    assert_int_equal(text_width(STR("Zo\xc3\xab")), 3);
    assert_int_equal(text_width(STR("e\xcc\x81")), 1);
    assert_int_equal(text_width(STR("\xe6\x9d\xb1")), 2);
    assert_int_equal(text_width(STR("\xf0\x9f\x98\x80")), 2);
    assert_int_equal(text_width(STR("\xc3")), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_take_values_in_both_forms),
        cmocka_unit_test(options_read_units_and_dates),
        cmocka_unit_test(option_errors_name_the_word),
        cmocka_unit_test(repeated_options_have_a_limit),
        cmocka_unit_test(help_shows_the_table_of_options),
        cmocka_unit_test(output_reports_a_full_disk_once),
        cmocka_unit_test(tables_as_text_are_aligned),
        cmocka_unit_test(tables_as_csv_are_quoted),
        cmocka_unit_test(tables_as_json_are_exact),
        cmocka_unit_test(long_tables_stream),
        cmocka_unit_test(widths_count_terminal_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
