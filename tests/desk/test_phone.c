/* Phone numbers within texts: what is one, and what people write that only looks like one. */
#include "desk/plan/phone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "desk/plan/personal.h"

/* Of many countries, as people there write them; each alone and within sentences. */
static const char *const PHONES[] = {
    "+49 30 1234567",
    "+49 (0)30 1234567",
    "+4930123456",
    "+49-171-1234567",
    "+44 20 7946 0958",
    "+1 212 555 0123",
    "+1 (212) 555-0123",
    "+12125550123",
    "+33 6 12 34 56 78",
    "+90 532 123 45 67",
    "+358401234567",
    "+47 12 34 56 78",
    "+65 6123 4567",
    "+86 138 0013 8000",
    "+7 (495) 123-45-67",
    "+55 11 91234-5678",
    ("+49\xc2\xa0"
     "30\xc2\xa0"
     "1234567"),
    ("+49 30 1234\xe2\x80\x93"
     "5678"),
    "0049 30 1234567",
    "030/1234567",
    "030 1234567",
    "(030) 123 45 67",
    "0171-1234567",
    "0171 / 123 45 67",
    "02131 - 123456",
    "06 12 34 56 78",
    "06.12.34.56.78",
    "020 7946 0958",
    "01632 960123",
    "08-123 456 78",
    "040 123 4567",
    "0412 345 678",
    "03-1234-5678",
    "06-12345678",
    "(212) 555-0123",
    "212-555-0123",
    "212.555.0123",
    "212 555 0123",
    "1-800-555-0199",
    "612 345 678",
    "333 1234567",
    "138 0013 8000",
    "98765 43210",
    "11 91234-5678",
    "(11) 91234-5678",
    "8 (495) 123-45-67",
};

static const char *const OTHERS[] = {
    "4006381333931",     /* EAN-13 */
    "4 006381 333931",   /* as it is printed */
    "0 12345 67890 5",   /* UPC */
    "978-3-16-148410-0", /* ISBN */
    "123456789",         /* digits alone */
    "0301234567",
    "004930123456",
    "305-1234567-1234567", /* orders */
    "010-10231-01",
    "00201 19971018  1    9.49",
    "00201 19971018",
    "0.047619048",
    "0990-01-01",
    "305  306  3077",
    "2024-000123-01",
    "A-030-1234567",
    "030-1234567-B",
    "X0301-234567",
    "#030 1234567",
    "2024-01-01", /* times */
    "2024-01-01 2024-01-31",
    "01.02.2024 - 05.02.2024",
    "01/02/2024 05/02/2024",
    "2024-01-01 10:00:00.123",
    "2024-01-01T10:00:00+02:00",
    "10:00:00 030 1234567:30",
    "1 234 567 890", /* numbers */
    "1.234.567.890",
    "1,234,567,890.00",
    "$ 612 345 678",
    "612 345 678 \xe2\x82\xac",
    "612 345 678,00",
    "0.123456789",
    "52.520008, 13.404954",
    "2+300000000",
    "+0123456789",
    "+123456789", /* 1 is North America, and then eleven */
    "C++112345678",
    "192.168.100.100", /* computers */
    "10.100.100.100",
    "1234 5678 9012 3456", /* a card */
    "40 41 42 43 44 45",   /* sizes */
    "05 10 15 20 25 30",
    "1 2 3 4 5 6 7 8 9 10",
    "0-1-2-3-4-5-6-7-8-9",
    "100 x 200 x 300",
    "00 00 00 00 00",
    "550e8400-e29b-41d4-a716-446655440000",
    "12-345-678",
    "+",
    "",
};

static void expect(const char *before, const char *text, const char *behind, bool is) {
    char all[200];
    snprintf(all, sizeof all, "%s%s%s", before, text, behind);
    if (phone_in(str_from(all)) != is) fail_msg("\"%s\" %s", all, is ? "is missed" : "is none");
    enum personal_kind kind = personal_by_shape(str_from(all));
    assert_int_equal(kind, is ? PERSONAL_PHONE : PERSONAL_NOT);
}

static void test_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof PHONES / sizeof *PHONES; i++) {
        expect("", PHONES[i], "", true);
        expect("  ", PHONES[i], "\n", true);
        expect("Please call ", PHONES[i], " after 5.", true);
        expect("Tel.:", PHONES[i], ", thanks", true);
        expect("12 lamps; (", PHONES[i], ")", true);
        expect("\xe9\x9b\xbb\xe8\xa9\xb1", PHONES[i], ".", true); /* no space in Japanese */
        expect("phone=", PHONES[i], "&x=1", true);
    }
}

static void test_other_things(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        expect("", OTHERS[i], "", false);
        expect("order ", OTHERS[i], " came", false);
        expect("nr:", OTHERS[i], ", and", false);
    }
}

/* Eight digits are a number where nothing else stands. */
static void test_short_ones(void **state) {
    (void)state;
    static const char *const SHORT[] = {"030/12345", "+4712345 6", "(030) 12345"};
    for (size_t i = 0; i < sizeof SHORT / sizeof *SHORT; i++) {
        expect("", SHORT[i], "", true);
        expect("take ", SHORT[i], " of them", false);
    }
}

/* A run that is none does not hide the next one, and what is cut anywhere is read within bounds. */
static void test_many(void **state) {
    (void)state;
    expect("", "4006381333931 and 2024-01-01, then ", "030 1234567", true);
    expect("", "1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 ", "+49 30 1234567", true);
    for (size_t i = 0; i < sizeof PHONES / sizeof *PHONES; i++)
        for (size_t n = 0; n <= strlen(PHONES[i]); n++) {
            char *exact = malloc(n + 1); /* sanitizers see a byte too far */
            assert_non_null(exact);
            memcpy(exact, PHONES[i], n);
            bool found = phone_in((struct str){exact, n});
            if (n < 8) assert_false(found);
            free(exact);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_other_things),
        cmocka_unit_test(test_short_ones),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
