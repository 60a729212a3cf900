/* Rows of CSV files: tables of text and rows, at every cut of the source into slices; the same rows
 * as libcsv on random text; limits; the reject file. */
#include "cli/import/csv.h"

#include <csv.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "slices.h"

enum { OUT_MAX = 64 << 20 };

/* "LINE: [field|field]" or "LINE! cause: raw" for every row, or the error's message. */
static void read_all(const struct csv_format *format, struct str text, size_t slice,
                     struct buf *out) {
    struct slices slices = {text, slice};
    struct keel_error err = {0};
    struct csv_reader *reader;
    struct csv_row row;
    int got;
    buf_clear(out);
    assert_int_equal(csv_reader_new(format, csv_from_slices(&slices), &reader, &err), 0);
    while ((got = csv_reader_next(reader, &row, &err)) > 0) {
        if (row.cause >= 0) {
            buf_printf(out, "%d! %s: %.*s\n", (int)row.line,
                       reject_text((enum reject_cause)row.cause), STR_ARG(row.raw));
            continue;
        }
        buf_printf(out, "%d: [", (int)row.line);
        for (uint32_t i = 0; i < row.n; i++) {
            if (i > 0) buf_add_char(out, '|');
            buf_add_str(out, row.fields[i]);
        }
        buf_add_text(out, "]\n");
    }
    if (got < 0) buf_printf(out, "error: %s\n", err.message);
    csv_reader_free(reader);
}

static const struct csv_format plain = {.delimiter = ',', .quoted = true};

static const struct {
    struct csv_format format;
    const char *text, *rows;
} cases[] = {
    {{',', true, false, CSV_UTF8}, "", ""},
    {{',', true, false, CSV_UTF8}, "a,b\n1,2\n", "1: [a|b]\n2: [1|2]\n"},
    {{',', true, false, CSV_UTF8}, "a,b\n1,2", "1: [a|b]\n2: [1|2]\n"},
    {{',', true, false, CSV_UTF8}, "a,b\r\n1,2\r\n", "1: [a|b]\n2: [1|2]\n"},
    {{',', true, false, CSV_UTF8}, "a,b\r1,2\r3,4", "1: [a|b]\n2: [1|2]\n3: [3|4]\n"},
    {{',', true, false, CSV_UTF8},
     "\xef\xbb\xbf"
     "a\n",
     "1: [a]\n"},
    {{',', true, false, CSV_UTF8}, "\n\n  \na,b\n\r\n1,2\n", "4: [a|b]\n6: [1|2]\n"},
    {{',', true, false, CSV_UTF8}, "a,,\n,,\n", "1: [a||]\n2: [||]\n"},
    {{',', true, false, CSV_UTF8}, " a , b\t\n", "1: [a|b]\n"},
    {{',', true, false, CSV_UTF8}, "\" a \" , \"b,c\"\n", "1: [ a |b,c]\n"},
    {{',', true, false, CSV_UTF8}, "\"a \"\"b\"\" c\",d\n", "1: [a \"b\" c|d]\n"},
    {{',', true, false, CSV_UTF8}, "\"\",\"\"\n", "1: [|]\n"},
    {{',', true, false, CSV_UTF8}, "5\" nail,x\n", "1: [5\" nail|x]\n"},
    /* quoted line ends; the row after has the right line */
    {{',', true, false, CSV_UTF8}, "\"a\nb\r\nc\",d\ne,f\n", "1: [a\nb\r\nc|d]\n4: [e|f]\n"},
    {{',', true, false, CSV_UTF8}, "\"a\n\nb\"\n\"c\"\n", "1: [a\n\nb]\n4: [c]\n"},
    {{',', true, false, CSV_UTF8}, "x,\"a\ny,z\n", "1! quote not closed: x,\"a\ny,z\n"},
    {{',', true, false, CSV_UTF8}, "x,\"a", "1! quote not closed: x,\"a\n"},
    {{',', true, false, CSV_UTF8}, "a,\"b\"", "1: [a|b]\n"},
    {{',', true, false, CSV_UTF8}, "a,\"b\"\"\"", "1: [a|b\"]\n"},
    {{';', true, false, CSV_UTF8}, "a;b,c;\"d;e\"\n", "1: [a|b,c|d;e]\n"},
    {{'\t', true, false, CSV_UTF8}, "a\t b c \t\t\"d\"\n", "1: [a|b c||d]\n"},
    {{'|', false, false, CSV_UTF8}, "\"a|b\"|\"\n", "1: [\"a|b\"|\"]\n"},
    {{',', true, true, CSV_UTF8}, "  a  b\t c \r\n d\n\n", "1: [a|b|c]\n2: [d]\n"},
    /* characters */
    {{',', true, false, CSV_UTF8}, "\xc2\xa3,b\n", "1: [\xc2\xa3|b]\n"},
    {{',', true, false, CSV_UTF8}, "a\n\xa3 5,b\nc\n", "1: [a]\n2! not text: \xa3 5,b\n3: [c]\n"},
    {{',', true, false, CSV_WINDOWS_1252},
     "\xa3 5,\x80,\xe9\n",
     "1: [\xc2\xa3 5|\xe2\x82\xac|\xc3\xa9]\n"},
    {{',', true, false, CSV_UTF8},
     "\xff\xfe"
     "a\0",
     "error: the file is UTF-16; convert it to UTF-8 first (iconv -f utf-16)\n"},
};

static void reads_tables(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const size_t slices[] = {1, 2, 3, 5, 1 << 20};
        for (size_t k = 0; k < sizeof slices / sizeof *slices; k++) {
            read_all(&cases[i].format, str_from(cases[i].text), slices[k], &out);
            buf_add_char(&out, 0);
            if (strcmp((const char *)out.p, cases[i].rows) != 0)
                print_message("case %zu, slices of %zu: %s", i, slices[k], cases[i].text);
            assert_string_equal((const char *)out.p, cases[i].rows);
        }
    }
    buf_release(&out);
}

static void refuses_nul_bytes(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    for (size_t before = 0; before < 20; before++) {
        char text[32] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\nb\n";
        text[before] = 0;
        read_all(&plain, (struct str){text, 31}, 1000, &out);
        assert_memory_equal(out.p, "1! not text: ", 13);
        assert_memory_equal(out.p + out.n - 8, "\n2: [b]\n", 8);
    }
    buf_release(&out);
}

static struct buf big;

/* `n` times the text. */
static void add_times(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) buf_add_text(&big, text);
}

static void refuses_long_rows(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    buf_init(&big, OUT_MAX);
    for (int crlf = 0; crlf < 2; crlf++) {
        /* one line of exactly the limit with its end, one longer, one much longer */
        for (size_t extra = 0; extra < (size_t)4 << 20; extra = extra * 4 + 1) {
            buf_clear(&big);
            buf_add_text(&big, "a\n");
            add_times("x", CSV_ROW_MAX_BYTES - 1 - (size_t)crlf + extra);
            buf_add_text(&big, crlf ? "\r\nb\r\n" : "\nb\n");
            read_all(&plain, buf_str(&big), 10000, &out);
            bool good = extra == 0;
            assert_memory_equal(out.p, good ? "1: [a]\n2: [xxx" : "1: [a]\n2! long", 12);
            assert_memory_equal(out.p + out.n - 8, "\n3: [b]\n", 8);
        }
    }
    /* a quote that is never closed takes 1 MiB of rows, and no more */
    buf_clear(&big);
    buf_add_text(&big, "a,\"b\n");
    add_times("0123456789,abc\n", 100000);
    read_all(&plain, buf_str(&big), 10000, &out);
    assert_memory_equal(out.p, "1! longer than 1 MiB: a,\"b\n0123", 31);
    struct str tail = STR("\n100001: [0123456789|abc]\n");
    assert_true(str_ends(buf_str(&out), tail));
    buf_release(&out);
    buf_release(&big);
}

static void refuses_too_many_fields(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    buf_init(&big, OUT_MAX);
    for (int quoted = 0; quoted < 2; quoted++) {
        buf_clear(&big);
        if (quoted) buf_add_text(&big, "\"\"\"\"");
        add_times(",", CSV_MAX_FIELDS);
        buf_add_text(&big, "\nb\n");
        read_all(&plain, buf_str(&big), 10000, &out);
        assert_memory_equal(out.p, "1! wrong number of columns: ", 28);
        assert_memory_equal(out.p + out.n - 7, "2: [b]\n", 7);
    }
    buf_release(&out);
    buf_release(&big);
}

/* ---- the same as libcsv ---- */

struct reference {
    struct buf *out;
    bool in_row;
};

static void reference_field(void *bytes, size_t n, void *ctx) {
    struct reference *r = ctx;
    buf_add_char(r->out, r->in_row ? '|' : '[');
    buf_add(r->out, bytes, n);
    r->in_row = true;
}

static void reference_row(int end, void *ctx) {
    (void)end;
    struct reference *r = ctx;
    buf_add_text(r->out, "]\n");
    r->in_row = false;
}

static void agrees_with_libcsv(void **state) {
    (void)state;
    static const char letters[] = "ab,,,\"\"\" \t\n\r";
    struct buf ours, theirs;
    struct rand random;
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)now_us();
    buf_init(&ours, OUT_MAX);
    buf_init(&theirs, OUT_MAX);
    rand_init(&random, seed);
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t n = rand_below(&random, 40);
        for (size_t i = 0; i < n; i++) text[i] = letters[rand_below(&random, sizeof letters - 1)];
        read_all(&plain, (struct str){text, n}, 1 + rand_below(&random, 50), &ours);
        if (str_contains(buf_str(&ours), STR("!"))) continue; /* libcsv accepts an open quote */
        struct csv_parser parser;
        struct reference reference = {&theirs, false};
        buf_clear(&theirs);
        csv_init(&parser, 0);
        csv_parse(&parser, text, n, reference_field, reference_row, &reference);
        csv_fini(&parser, reference_field, reference_row, &reference);
        csv_free(&parser);
        /* drop our line numbers */
        struct str rest = buf_str(&ours);
        struct buf rows;
        buf_init(&rows, OUT_MAX);
        bool at_start = true;
        for (size_t i = 0; i < rest.n; i++) {
            if (at_start && rest.p[i] != '[') continue;
            at_start = i > 0 && rest.p[i] == '\n' && rest.p[i - 1] == ']';
            buf_add_char(&rows, rest.p[i]);
        }
        if (!str_eq(buf_str(&rows), buf_str(&theirs)))
            fail_msg("SEED=%llu round %d: “%.*s”\nours:\n%.*s\nlibcsv:\n%.*s",
                     (unsigned long long)seed, round, (int)n, text, STR_ARG(buf_str(&rows)),
                     STR_ARG(buf_str(&theirs)));
        buf_release(&rows);
    }
    buf_release(&ours);
    buf_release(&theirs);
}

/* ---- the reject file ---- */

static void counts_rejects(void **state) {
    (void)state;
    char folder[] = "/tmp/keel-csv-XXXXXX", path[64];
    struct keel_error err = {0};
    struct rejects rejects;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/rejects.csv", folder);

    assert_int_equal(rejects_init(&rejects, path, &err), 0);
    assert_int_equal(rejects_flush(&rejects, &err), 0);
    assert_false(file_exists(path)); /* nothing refused, no file */
    struct reject first = {REJECT_TIME, 7, 1, STR("t: “x”"), STR("a,\"b \"\"c\"\"\",x\r\n")};
    struct reject second = {REJECT_EVENT, 9, 3, STR("too large"), STR("")};
    assert_int_equal(rejects_add(&rejects, "a.csv", &first, &err), 0);
    assert_int_equal(rejects_add(&rejects, "a.csv", &second, &err), 0);
    assert_int_equal(rejects_flush(&rejects, &err), 0);
    assert_int_equal(rejects.total, 4);
    assert_int_equal(rejects.by_cause[REJECT_EVENT], 3);
    rejects_release(&rejects);

    /* A later import without refusals leaves no file of this one behind. */
    assert_true(file_exists(path));
    assert_int_equal(rejects_init(&rejects, path, &err), 0);
    rejects_release(&rejects);
    assert_false(file_exists(path));
    rmdir(folder);
}

/* What was refused comes back out of the reject file unchanged. */
static void reads_rejects_back(void **state) {
    (void)state;
    char folder[] = "/tmp/keel-csv-XXXXXX", path[64];
    struct keel_error err = {0};
    struct rejects rejects;
    struct buf text, rows;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/rejects.csv", folder);
    buf_init(&text, OUT_MAX);
    buf_init(&rows, OUT_MAX);
    assert_int_equal(rejects_init(&rejects, path, &err), 0);
    struct reject reject = {REJECT_TIME, 7, 1, STR("t: “x”"), STR("a,\"b \"\"c\"\"\",\nx\r\n")};
    assert_int_equal(rejects_add(&rejects, "a.csv", &reject, &err), 0);
    assert_int_equal(rejects_flush(&rejects, &err), 0);
    rejects_release(&rejects);
    assert_int_equal(file_read(path, &text, &err), 0);
    read_all(&plain, buf_str(&text), 100, &rows);
    buf_add_char(&rows, 0);
    assert_string_equal((const char *)rows.p,
                        "1: [file|line|cause|detail|raw]\n"
                        "2: [a.csv|7|no valid time|t: “x”|a,\"b \"\"c\"\"\",\nx]\n");
    unlink(path);
    rmdir(folder);
    buf_release(&text);
    buf_release(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tables),       cmocka_unit_test(refuses_nul_bytes),
        cmocka_unit_test(refuses_long_rows),  cmocka_unit_test(refuses_too_many_fields),
        cmocka_unit_test(agrees_with_libcsv), cmocka_unit_test(counts_rejects),
        cmocka_unit_test(reads_rejects_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
