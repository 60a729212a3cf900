/* The sieve of message keys: it passes every key that was put in, and few of the others, however
 * many keys there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"
#include "store/sieve.h"

static uint64_t strangers_passed(const struct sieve *s, struct rand *r, uint64_t asked) {
    uint64_t passed = 0;
    for (uint64_t i = 0; i < asked; i++) passed += sieve_passes(s, rand_u64(r));
    return passed;
}

/* As many keys as it is made for. */
static void fill(struct sieve *s, uint64_t keys) {
    struct rand r;
    sieve_make(s, keys);
    rand_init(&r, keys);
    for (uint64_t i = 0; i < keys; i++) sieve_put(s, rand_u64(&r));
    rand_init(&r, keys);
    for (uint64_t i = 0; i < keys; i++) assert_true(sieve_passes(s, rand_u64(&r)));
}

static void test_passes(void **state) {
    (void)state;
    static const uint64_t SIZES[] = {1, 3, 64, 1000, 100000};
    struct rand r;
    rand_init(&r, 77);
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        struct sieve s = {0};
        fill(&s, SIZES[i]);
        assert_int_equal(s.keys, SIZES[i]);
        assert_int_equal(s.room, SIZES[i]);
        if (SIZES[i] >= 1000) assert_true(strangers_passed(&s, &r, 100000) < 1000);
        sieve_drop(&s);
        assert_null(s.words);
    }
}

static void test_empty_and_largest(void **state) {
    (void)state;
    struct sieve s = {0};
    struct rand r;
    rand_init(&r, 5);
    sieve_make(&s, 0);
    assert_int_equal(strangers_passed(&s, &r, 1000), 0);
    sieve_make(&s, UINT64_C(1) << 40); /* in its place */
    assert_int_equal(sieve_bytes(&s), SIEVE_MOST_BYTES);
    assert_true(s.room == UINT64_MAX);
    sieve_put(&s, UINT64_MAX);
    sieve_put(&s, 0);
    assert_true(sieve_passes(&s, UINT64_MAX));
    assert_true(sieve_passes(&s, 0));
    assert_int_equal(strangers_passed(&s, &r, 1000), 0);
    sieve_drop(&s);
    assert_int_equal(sieve_bytes(&s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_passes),
                                       cmocka_unit_test(test_empty_and_largest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
