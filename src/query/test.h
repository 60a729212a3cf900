/* Tests: the right side of a comparison, compiled for quick application to one value.
 *
 * Truth is two-valued. Strings, numbers, booleans and times never equal each other: with a value of
 * another type = is false, != true, the orders false; a written time also compares with strings
 * that are ISO 8601 times. A missing value passes only `is missing`.
 *
 * Layers: ast.h, datum.h, moments.h, PCRE2. Threads: a test is immutable; matching regular
 * expressions needs a scratch of the calling thread.
 */
#pragma once

#include "query/datum.h"
#include "query/moments.h"

struct test {
    enum query_op op;
    uint32_t n_numbers, n_strings, n_times;
    double *numbers;     /* ascending                                              */
    struct str *strings; /* ascending by bytes                                     */
    int64_t *times;      /* ascending                                              */
    bool has_true, has_false;
    const struct query_value *low, *high; /* orders and BETWEEN                    */
    int64_t low_ms, high_ms;              /* of TIME values                        */
    const struct time_zone *zone;
    void *pattern; /* pcre2_code *                                                  */
};

struct test_scratch {
    void *match_data; /* pcre2_match_data *, made when first needed */
    bool too_hard;    /* some match hit its limit: the answer would be wrong */
};

/* KEEL_E_SYNTAX for a regular expression that does not compile. Arrays live in the arena; the
 * pattern is freed by test_release. */
int test_compile(struct test *t, const struct query_test *from, const struct time_zone *zone,
                 struct arena *arena, struct keel_error *err) K_CHECKED;
void test_release(struct test *t);
void test_scratch_release(struct test_scratch *s);

bool test_number(const struct test *t, double v);
bool test_string(const struct test *t, struct str v, struct test_scratch *scratch);
bool test_bool(const struct test *t, bool v);
bool test_time(const struct test *t, int64_t ms);
bool test_other(const struct test *t); /* a value that is there and of none of these types */
static inline bool test_missing(const struct test *t) { return t->op == QUERY_MISSING; }
bool test_datum(const struct test *t, const struct datum *v, struct test_scratch *scratch);
