/* Codecs: every layout is reached and comes back bit for bit; sizes stay below sensible bounds;
 * damaged bytes give an error or some values, never a crash (meant to run under ASan and UBSan).
 *
 * KEEL_SEED=<number> repeats a random run.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "store/codec/codec.h"
#include "store/codec/unpack.h"

enum { CONSTANT, FOR, PFOR, RUNS, DELTA, ZSTD, LAYOUTS };
enum { ROUNDS = 300 };

static const size_t SIZES[] = {1, 2, 31, 32, 33, 127, 128, 129, 255, 300, 512, 1000, 1023, 1024};
static uint64_t seed;
static unsigned reached[LAYOUTS]; /* chunks of integers by their outer layout */

static struct buf coded = {.max = 1 << 20};

static struct str encoded(void) { return buf_str(&coded); }

/* A copy in a block of exactly its size, so that ASan sees a read past the end. */
static uint8_t *exact_copy(struct str s) {
    uint8_t *p = malloc(s.n ? s.n : 1);
    assert_non_null(p);
    memcpy(p, s.p, s.n);
    return p;
}

static bool all_fit_u32(const int64_t *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (v[i] < 0 || v[i] > UINT32_MAX) return false;
    return true;
}

/* Some ascending places below n: none, one, some, or all. */
static size_t some_places(size_t n, uint16_t *at) {
    static struct rand r;
    static bool begun;
    if (!begun) rand_init(&r, seed);
    begun = true;
    uint32_t one_in = 1 + rand_below(&r, 60);
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (rand_below(&r, one_in) == 0) at[count++] = (uint16_t)i;
    return count;
}

static void check_picked(struct str bytes, const int64_t *v, size_t n) {
    int64_t picked[CHUNK_ROWS];
    uint16_t at[CHUNK_ROWS];
    size_t count = some_places(n, at);
    assert_int_equal(ints_pick(bytes, n, at, count, picked), 0);
    for (size_t k = 0; k < count; k++)
        if (picked[k] != v[at[k]])
            fail_msg("n %zu: picked %u differs, seed %" PRIu64, n, at[k], seed);
}

/* Encodes v into `coded`, checks that it comes back, returns the outer layout. */
static unsigned check_ints(const int64_t *v, size_t n) {
    int64_t back[CHUNK_ROWS];
    uint32_t back32[CHUNK_ROWS];
    buf_clear(&coded);
    assert_int_equal(ints_encode(v, n, &coded), 0);
    uint8_t *p = exact_copy(encoded());
    struct str bytes = {(const char *)p, coded.n};
    assert_int_equal(ints_decode(bytes, n, back), 0);
    for (size_t i = 0; i < n; i++)
        if (back[i] != v[i]) fail_msg("n %zu: value %zu differs, seed %" PRIu64, n, i, seed);
    check_picked(bytes, v, n);
    if (all_fit_u32(v, n)) {
        assert_int_equal(ints_decode_u32(bytes, n, back32), 0);
        for (size_t i = 0; i < n; i++)
            if (back32[i] != v[i]) fail_msg("n %zu: u32 %zu differs, seed %" PRIu64, n, i, seed);
    } else {
        assert_int_equal(ints_decode_u32(bytes, n, back32), -KEEL_E_CORRUPT);
    }
    unsigned layout = p[0];
    free(p);
    assert_true(layout < LAYOUTS);
    reached[layout]++;
    return layout;
}

/* ---- integers ---- */

static void ints_constant(void **state) {
    (void)state;
    static const int64_t VALUES[] = {0, 1, -1, 127, INT64_MIN, INT64_MAX, UINT32_MAX};
    int64_t v[CHUNK_ROWS];
    for (size_t k = 0; k < sizeof VALUES / sizeof *VALUES; k++) {
        for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = VALUES[k];
        for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
            assert_int_equal(check_ints(v, SIZES[s]), CONSTANT);
            assert_in_range(coded.n, 2, 12);
        }
    }
    assert_int_equal(check_ints(v, 0), CONSTANT);
    assert_int_equal(coded.n, 2);
}

static void ints_every_width_and_size(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (unsigned width = 1; width <= 64; width++) {
        for (size_t s = 0; s < sizeof SIZES / sizeof *SIZES; s++) {
            size_t n = SIZES[s];
            for (size_t i = 0; i < n; i++) v[i] = (int64_t)(rand_u64(&r) >> (64 - width));
            check_ints(v, n);
            /* never more than the plain bits, half a block's padding and headers */
            assert_true(coded.n <= n * width / 8 + (n + 31) / 32 * 4 * 2 + 16);
        }
    }
}

static void ints_every_length(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t n = 0; n <= CHUNK_ROWS; n++) {
        unsigned width = 1 + rand_below(&r, 40);
        for (size_t i = 0; i < n; i++) v[i] = (int64_t)(rand_u64(&r) >> (64 - width)) - 1000;
        check_ints(v, n);
    }
}

static void ints_extremes(void **state) {
    (void)state;
    static const int64_t EXTREMES[] = {INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MIN + 1, UINT32_MAX};
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = 1 + rand_below(&r, CHUNK_ROWS);
        uint32_t kinds = 2 + rand_below(&r, 6);
        for (size_t i = 0; i < n; i++) v[i] = EXTREMES[rand_below(&r, kinds)];
        check_ints(v, n);
    }
}

static void ints_codes_of_4_bits(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = rand_below(&r, 16);
    assert_int_equal(check_ints(v, CHUNK_ROWS), FOR);
    assert_in_range(coded.n, 512, 520);
}

static void ints_gaps_with_outliers(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS; i++)
        v[i] = rand_below(&r, 40) ? rand_below(&r, 256) : rand_below(&r, 1 << 30);
    assert_int_equal(check_ints(v, CHUNK_ROWS), PFOR);
    assert_in_range(coded.n, 1024, 1024 + 250);
    for (size_t i = 0; i < CHUNK_ROWS; i += 50) v[i] = INT64_MAX - (int64_t)i; /* 64-bit highs */
    assert_int_equal(check_ints(v, CHUNK_ROWS), PFOR);
}

static void ints_runs(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS;) {
        int64_t value = rand_below(&r, 6);
        for (uint32_t run = 5 + rand_below(&r, 40); run > 0 && i < CHUNK_ROWS; run--)
            v[i++] = value;
    }
    assert_int_equal(check_ints(v, CHUNK_ROWS), RUNS);
    assert_in_range(coded.n, 20, 100);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = i < 600 ? 7 : 9; /* two runs */
    assert_int_equal(check_ints(v, CHUNK_ROWS), RUNS);
    assert_in_range(coded.n, 8, 24);
}

static void ints_sorted(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS; i++)
        v[i] = i ? v[i - 1] + 1 + rand_below(&r, 15) : 1700000000;
    assert_int_equal(check_ints(v, CHUNK_ROWS), DELTA);
    assert_in_range(coded.n, 500, 660);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = 1000000 - 3 * (int64_t)i; /* falling evenly */
    assert_int_equal(check_ints(v, CHUNK_ROWS), DELTA);
    assert_in_range(coded.n, 5, 16);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = (int64_t)i << 33; /* wide differences */
    assert_int_equal(check_ints(v, CHUNK_ROWS), DELTA);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = i < 512 ? 0 : UINT32_MAX - 512 + (int64_t)i / 2;
    check_ints(v, CHUNK_ROWS);
}

static void ints_repeated(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS; i++)
        v[i] = i < 128 ? (int64_t)(rand_u64(&r) >> 24) : v[i - 128];
    assert_int_equal(check_ints(v, CHUNK_ROWS), ZSTD);
    assert_in_range(coded.n, 640, 1500);
}

/* Mixtures of everything, at every length. */
static void ints_random(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < 10 * ROUNDS; round++) {
        size_t n = rand_below(&r, CHUNK_ROWS + 1);
        unsigned width = rand_below(&r, 64), shape = rand_below(&r, 5);
        int64_t base = (int64_t)rand_u64(&r) >> rand_below(&r, 64);
        for (size_t i = 0; i < n; i++) {
            uint64_t noise = rand_u64(&r) >> (63 - width);
            int64_t step = shape == 0                        ? (int64_t)noise
                           : shape == 1 && rand_below(&r, 9) ? 0
                           : shape == 2 ? (int64_t)(noise >> rand_below(&r, 64))
                                        : -(int64_t)(noise >> 3);
            uint64_t from = (uint64_t)(i && shape != 0 && shape != 2 ? v[i - 1] : base);
            v[i] = (int64_t)(from + (uint64_t)step);
        }
        check_ints(v, n);
    }
}

static void ints_all_layouts_reached(void **state) {
    (void)state;
    for (unsigned layout = 0; layout < LAYOUTS; layout++) assert_true(reached[layout] > 0);
}

static void ints_wrong_count(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS], back[CHUNK_ROWS];
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = (int64_t)(i * i % 1000);
    check_ints(v, CHUNK_ROWS);
    assert_int_equal(ints_decode(encoded(), 500, back), -KEEL_E_CORRUPT);
    assert_int_equal(ints_decode(encoded(), CHUNK_ROWS + 1, back), -KEEL_E_CORRUPT);
    assert_int_equal(ints_decode((struct str){NULL, 0}, 5, back), -KEEL_E_CORRUPT);
    coded.p[0] = 99;
    assert_int_equal(ints_decode(encoded(), CHUNK_ROWS, back), -KEEL_E_CORRUPT);
}

/* A chunk that holds itself, in effect: recursion must end. */
static void ints_nesting_is_bounded(void **state) {
    (void)state;
    uint8_t deep[3000];
    int64_t back[CHUNK_ROWS];
    for (size_t i = 0; i + 3 <= sizeof deep; i += 3) { /* DELTA, no flags, first 0, then … */
        deep[i] = DELTA;
        deep[i + 1] = deep[i + 2] = 0;
    }
    struct str bytes = {(const char *)deep, sizeof deep};
    assert_int_equal(ints_decode(bytes, CHUNK_ROWS, back), -KEEL_E_CORRUPT);
}

static void ints_no_memory(void **state) {
    (void)state;
    int64_t v[2] = {1, 2};
    struct buf small;
    buf_init(&small, 100);
    assert_int_equal(ints_encode(v, 2, &small), -KEEL_E_LIMIT);
    buf_init(&small, 1 << 20);
    mem_fail_after(1);
    assert_int_equal(ints_encode(v, 2, &small), -KEEL_E_NO_MEMORY);
    mem_fail_after(0);
    buf_release(&small);
}

/* ---- damage ---- */

typedef int decoder(struct str bytes, size_t n);

static int decode_ints(struct str bytes, size_t n) {
    static int64_t out[CHUNK_ROWS];
    static uint32_t out32[CHUNK_ROWS];
    int narrow = ints_decode_u32(bytes, n, out32), code = ints_decode(bytes, n, out);
    if (code == 0) check_picked(bytes, out, n);
    if (narrow == 0) { /* what is a valid u32 chunk is the same as int64 */
        assert_int_equal(code, 0);
        for (size_t i = 0; i < n; i++) assert_true(out[i] == out32[i]);
    }
    return code;
}

static int pick_ints(struct str bytes, size_t n) {
    static int64_t out[CHUNK_ROWS];
    static uint16_t at[CHUNK_ROWS];
    (void)!ints_pick(bytes, n, at, some_places(n, at), out); /* does no harm */
    return ints_decode(bytes, n, out);
}

static int decode_bits(struct str bytes, size_t n) {
    static uint64_t out[CHUNK_ROWS / 64];
    return bits_decode(bytes, n, out);
}

static int decode_numbers(struct str bytes, size_t n) {
    static double out[CHUNK_ROWS];
    return numbers_decode(bytes, n, out);
}

static int decode_texts(struct str bytes, size_t n) {
    static struct str out[CHUNK_ROWS];
    struct buf text;
    buf_init(&text, 1 << 16);
    int code = texts_decode(bytes, n, &text, out);
    for (size_t i = 0; code == 0 && i < n; i++)
        assert_true(out[i].p + out[i].n <= (const char *)text.p + text.n);
    buf_release(&text);
    return code;
}

/* Every truncation fails; every flipped bit, and wrong counts, do no harm. */
static void check_damage(decoder *decode, size_t n) {
    struct str whole = encoded();
    assert_int_equal(decode(whole, n), 0);
    for (size_t size = 0; size < whole.n; size++) {
        uint8_t *p = exact_copy((struct str){whole.p, size});
        if (decode((struct str){(const char *)p, size}, n) == 0)
            fail_msg("cut to %zu of %zu bytes was accepted", size, whole.n);
        free(p);
    }
    uint8_t *p = exact_copy(whole);
    struct str damaged = {(const char *)p, whole.n};
    for (size_t bit = 0; bit < whole.n * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)decode(damaged, n);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t wrong = 0; wrong <= CHUNK_ROWS; wrong += 1 + wrong / 8)
        (void)decode(damaged, wrong);
    free(p);
}

static void ints_damage(void **state) {
    (void)state;
    int64_t v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    unsigned before[LAYOUTS];
    memcpy(before, reached, sizeof before);
    for (int shape = 0; shape < 14; shape++) {
        size_t n = shape % 2 ? CHUNK_ROWS : 200;
        for (size_t i = 0; i < n; i++) {
            uint32_t x = rand_below(&r, 12);
            switch (shape / 2) {
            case 0: v[i] = 42; break;
            case 1: v[i] = x; break;
            case 2: v[i] = x ? x : rand_below(&r, 1 << 25); break;
            case 3: v[i] = x && i ? v[i - 1] : x; break;
            case 4: v[i] = i ? v[i - 1] + x : -5; break;
            case 5: v[i] = i < 32 ? (int64_t)rand_u64(&r) : v[i - 32]; break;
            default: v[i] = x ? (int64_t)x - 6 : INT64_MIN; break;
            }
        }
        check_ints(v, n);
        check_damage(decode_ints, n);
        check_damage(pick_ints, n);
    }
    for (unsigned layout = 0; layout < LAYOUTS; layout++)
        assert_true(reached[layout] > before[layout]);
}

/* ---- bits ---- */

static void check_bits(const uint64_t *words, size_t n) {
    uint64_t back[CHUNK_ROWS / 64];
    buf_clear(&coded);
    assert_int_equal(bits_encode(words, n, &coded), 0);
    assert_true(coded.n <= 1 + (n + 7) / 8);
    uint8_t *p = exact_copy(encoded());
    assert_int_equal(bits_decode((struct str){(const char *)p, coded.n}, n, back), 0);
    free(p);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(back[i / 64] >> i % 64 & 1, words[i / 64] >> i % 64 & 1);
    if (n % 64) assert_true(back[n / 64] >> n % 64 == 0); /* unused bits are clear */
}

static void bits_layouts(void **state) {
    (void)state;
    enum { CLEAR, SET, RAW, RUNS_CLEAR_FIRST, RUNS_SET_FIRST };
    uint64_t words[CHUNK_ROWS / 64];
    struct rand r;
    rand_init(&r, seed);
    memset(words, 0, sizeof words);
    check_bits(words, CHUNK_ROWS);
    assert_int_equal(coded.p[0], CLEAR);
    assert_int_equal(coded.n, 1);
    words[700 / 64] |= UINT64_C(1) << 700 % 64;
    check_bits(words, CHUNK_ROWS);
    assert_int_equal(coded.p[0], RUNS_CLEAR_FIRST);
    assert_in_range(coded.n, 3, 24);
    check_damage(decode_bits, CHUNK_ROWS);
    memset(words, 0xff, sizeof words);
    check_bits(words, 1000);
    assert_int_equal(coded.p[0], SET);
    assert_int_equal(coded.n, 1);
    check_damage(decode_bits, 1000);
    words[3] = 0;
    check_bits(words, CHUNK_ROWS);
    assert_int_equal(coded.p[0], RUNS_SET_FIRST);
    check_damage(decode_bits, CHUNK_ROWS);
    for (size_t i = 0; i < CHUNK_ROWS / 64; i++) words[i] = rand_u64(&r);
    check_bits(words, CHUNK_ROWS);
    assert_int_equal(coded.p[0], RAW);
    check_damage(decode_bits, CHUNK_ROWS);
}

static void bits_random(void **state) {
    (void)state;
    uint64_t words[CHUNK_ROWS / 64];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < 10 * ROUNDS; round++) {
        size_t n = round <= CHUNK_ROWS ? (size_t)round : rand_below(&r, CHUNK_ROWS + 1);
        uint32_t stay = 1 + rand_below(&r, 200);
        bool bit = rand_below(&r, 2);
        for (size_t i = 0; i < CHUNK_ROWS; i++) {
            if (rand_below(&r, stay) == 0) bit = !bit;
            words[i / 64] = (i % 64 ? words[i / 64] : 0) | (uint64_t)bit << i % 64;
        }
        check_bits(words, n);
    }
}

/* ---- numbers ---- */

enum { NUMBERS_RAW, NUMBERS_DECIMAL, NUMBERS_ZSTD };

static unsigned check_numbers(const double *v, size_t n) {
    double back[CHUNK_ROWS];
    buf_clear(&coded);
    assert_int_equal(numbers_encode(v, n, &coded), 0);
    assert_true(coded.n <= n * 8 + 16);
    uint8_t *p = exact_copy(encoded());
    assert_int_equal(numbers_decode((struct str){(const char *)p, coded.n}, n, back), 0);
    double picked[CHUNK_ROWS];
    uint16_t at[CHUNK_ROWS];
    size_t count = some_places(n, at);
    assert_int_equal(numbers_pick((struct str){(const char *)p, coded.n}, n, at, count, picked), 0);
    for (size_t k = 0; k < count; k++) assert_memory_equal(&picked[k], &v[at[k]], sizeof picked[k]);
    unsigned layout = p[0];
    free(p);
    assert_memory_equal(back, v, n * sizeof *v);
    return layout;
}

static void numbers_edges(void **state) {
    (void)state;
    double v[CHUNK_ROWS] = {12.34, 0.1, 0.3, 99.99, 1e6, 0, -5.5, 1234567.89};
    assert_int_equal(check_numbers(v, 8), NUMBERS_DECIMAL);
    assert_int_equal(coded.p[1], 2);
    assert_int_equal(check_numbers(v, 0), NUMBERS_DECIMAL);
    static const double ODD[] = {-0.0,     (double)NAN, (double)INFINITY, -(double)INFINITY,
                                 1e300,    DBL_MIN,     DBL_TRUE_MIN,     M_PI,
                                 0x1.1p53, DBL_MAX,     1.0000001};
    for (size_t k = 0; k < sizeof ODD / sizeof *ODD; k++) {
        assert_int_not_equal(check_numbers(&ODD[k], 1), NUMBERS_DECIMAL);
        v[8] = ODD[k];
        check_numbers(v, 9);
        check_damage(decode_numbers, 9);
    }
    double whole[] = {0x1p53, -0x1p53, 0};
    assert_int_equal(check_numbers(whole, 3), NUMBERS_DECIMAL);
    double scale6 = 0.000001;
    assert_int_equal(check_numbers(&scale6, 1), NUMBERS_DECIMAL);
}

static void numbers_money(void **state) {
    (void)state;
    double v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t scale = rand_below(&r, 7), most = 1u << (1 + rand_below(&r, 30));
        static const double POWER[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};
        size_t n = 1 + rand_below(&r, CHUNK_ROWS);
        for (size_t i = 0; i < n; i++)
            v[i] = ((double)rand_below(&r, most) - (most >> 1)) / POWER[scale];
        for (size_t i = 0; i < n; i++)
            if (v[i] == 0) v[i] = 0; /* no -0 */
        assert_int_equal(check_numbers(v, n), NUMBERS_DECIMAL);
        assert_true(coded.n <= n * 31 / 8 + 280);
    }
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = rand_below(&r, 10000) / 100.0;
    check_numbers(v, CHUNK_ROWS);
    assert_true(coded.n <= 14 * 128 + 16); /* prices below 100.00: 14 bits */
    check_damage(decode_numbers, CHUNK_ROWS);
}

static void numbers_measured(void **state) {
    (void)state;
    double v[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (size_t i = 0; i < CHUNK_ROWS; i++) v[i] = 20 + rand_unit(&r);
    assert_int_equal(check_numbers(v, CHUNK_ROWS), NUMBERS_ZSTD); /* equal signs and exponents */
    check_damage(decode_numbers, CHUNK_ROWS);
    for (size_t i = 0; i < CHUNK_ROWS; i++) {
        uint64_t bits = rand_u64(&r);
        memcpy(&v[i], &bits, sizeof bits);
    }
    assert_int_equal(check_numbers(v, CHUNK_ROWS), NUMBERS_RAW);
}

/* ---- texts ---- */

static void check_texts(const struct str *v, size_t n) {
    struct buf text;
    buf_init(&text, 1 << 24);
    struct str *back = malloc((n + 1) * sizeof *back);
    assert_non_null(back);
    buf_clear(&coded);
    assert_int_equal(texts_encode(v, n, &coded), 0);
    uint8_t *p = exact_copy(encoded());
    assert_int_equal(texts_decode((struct str){(const char *)p, coded.n}, n, &text, back), 0);
    for (size_t i = 0; i < n; i++) assert_true(str_eq(v[i], back[i]));
    free(p);
    free(back);
    buf_release(&text);
}

static void texts_layouts(void **state) {
    (void)state;
    enum { MANY = 5000 };
    static char storage[MANY][24];
    static struct str v[MANY];
    struct rand r;
    rand_init(&r, seed);
    check_texts(v, 0);
    check_texts(v, 3); /* empty texts */
    check_damage(decode_texts, 3);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(storage[i], sizeof storage[i], "/products/%u", rand_below(&r, 1000000));
        v[i] = str_from(storage[i]);
    }
    check_texts(v, MANY);
    assert_int_equal(coded.p[0], 1);
    assert_true(coded.n < MANY * 8);
    check_texts(v, 100);
    check_damage(decode_texts, 100);
    for (size_t i = 0; i < MANY; i++) {
        for (size_t k = 0; k < sizeof storage[i]; k++) storage[i][k] = (char)rand_u64(&r);
        v[i] = (struct str){storage[i], rand_below(&r, sizeof storage[i])};
    }
    check_texts(v, 50);
    assert_int_equal(coded.p[0], 0);
    check_damage(decode_texts, 50);
    check_texts(v, 1023);
    check_texts(v, 1025);
}

static void texts_limits(void **state) {
    (void)state;
    struct str v[2] = {STR("hello"), STR("world")}, back[2];
    buf_clear(&coded);
    assert_int_equal(texts_encode(v, 2, &coded), 0);
    struct buf small;
    buf_init(&small, 9);
    assert_int_equal(texts_decode(encoded(), 2, &small, back), -KEEL_E_LIMIT);
    buf_init(&small, 10);
    assert_int_equal(texts_decode(encoded(), 2, &small, back), 0);
    buf_release(&small);
    assert_int_equal(texts_encode(v, (1 << 24) + 1, &coded), -KEEL_E_LIMIT);
}

/* ---- bit-packing ---- */

static void check_kernels(const struct unpack_kernels *set) {
    uint32_t v[PACK_MAX_VALUES], back[PACK_MAX_VALUES];
    uint8_t *bytes = malloc(PACK_MAX_VALUES * 4);
    assert_non_null(bytes);
    struct rand r;
    rand_init(&r, seed);
    for (unsigned width = 0; width <= 32; width++) {
        for (size_t n = PACK_BLOCK; n <= PACK_MAX_VALUES; n += PACK_MAX_VALUES - PACK_BLOCK) {
            for (size_t i = 0; i < n; i++) v[i] = (uint32_t)(rand_u64(&r) >> 32 >> (32 - width));
            pack(v, n, width, bytes);
            uint8_t *exact = exact_copy((struct str){(const char *)bytes, packed_bytes(n, width)});
            (n == PACK_BLOCK ? set->block : set->chunk)[width](exact, 77, back);
            for (size_t i = 0; i < n; i++) assert_int_equal(back[i], v[i] + 77);
            free(exact);
        }
    }
    free(bytes);
}

/* Any number of values, from bytes with nothing behind them, to no more than whole lanes. */
static void check_any(const struct unpack_kernels *set) {
    uint32_t v[PACK_MAX_VALUES], back[PACK_MAX_VALUES];
    uint8_t bytes[PACK_MAX_VALUES * 4];
    struct rand r;
    rand_init(&r, seed);
    for (unsigned width = 0; width <= 32; width++)
        for (int round = 0; round < 20; round++) {
            size_t n = 1 + rand_below(&r, PACK_MAX_VALUES), lanes = (n + 31) / 32;
            size_t room = (n + lanes - 1) / lanes * lanes;
            for (size_t i = 0; i < n; i++) v[i] = (uint32_t)(rand_u64(&r) >> 32 >> (32 - width));
            pack(v, n, width, bytes);
            uint8_t *exact = exact_copy((struct str){(const char *)bytes, packed_bytes(n, width)});
            memset(back, 0xa5, sizeof back);
            set->any(exact, n, width, 77, back);
            for (size_t i = 0; i < n; i++) assert_int_equal(back[i], v[i] + 77);
            for (size_t i = room; i < PACK_MAX_VALUES; i++) assert_int_equal(back[i], 0xa5a5a5a5);
            free(exact);
        }
}

/* Blocks with patches against one addition after the other, with sums that leave u32. */
static void check_patched(const struct unpack_kernels *set) {
    uint32_t v[PACK_BLOCK], back[PACK_BLOCK];
    struct rand r;
    rand_init(&r, seed);
    if (!set->patched) return;
    for (int round = 0; round < 4000; round++) {
        unsigned width = rand_below(&r, set->patched_most + 1);
        uint8_t packed[PACK_BLOCK * 4], high[PACK_BLOCK * 4 + 8] = {0};
        struct patches p = {.width = 1 + rand_below(&r, 32 - width), .high = high};
        uint32_t base = rand_below(&r, 3) ? rand_below(&r, 1000) : UINT32_MAX >> width % 31;
        uint32_t one_in = 1 + rand_below(&r, 40);
        if (base > UINT32_MAX - ((1u << width) - 1)) base = 0; /* unpack itself may not wrap */
        bool good = true;
        for (size_t i = 0; i < PACK_BLOCK; i++)
            v[i] = (uint32_t)(rand_u64(&r) & ((UINT64_C(1) << width) - 1));
        pack(v, PACK_BLOCK, width, packed);
        for (size_t i = 0, bit = 0; i < PACK_BLOCK; i++) {
            v[i] += base;
            if (rand_below(&r, one_in)) continue;
            uint64_t more = rand_u64(&r) & ((UINT64_C(1) << p.width) - 1);
            for (unsigned k = 0; k < p.width; k++, bit++)
                high[bit / 8] |= (uint8_t)((more >> k & 1) << bit % 8);
            p.at[i / 64] |= UINT64_C(1) << i % 64;
            p.n++;
            good &= v[i] + (more << width) <= UINT32_MAX;
            v[i] += (uint32_t)(more << width);
        }
        assert_int_equal(set->patched(packed, width, base, &p, back), good);
        if (good) assert_memory_equal(back, v, sizeof v);
    }
}

/* A block of patched integers, as ints.c describes it, of any widths and any number of exceptions,
 * which an encoder would not choose. Adds its values to v[]. False if it is not to be decoded. */
static bool put_any_block(struct rand *r, uint32_t base, struct buf *to, uint32_t *v) {
    const unsigned width = rand_below(r, rand_below(r, 8) ? 9 : 33);
    const unsigned high = 1 + rand_below(r, rand_below(r, 4) && width < 20 ? 12 : 32);
    const uint32_t one_in = 1 + rand_below(r, 100);
    uint8_t packed[PACK_BLOCK * 4], at[PACK_BLOCK], bits[PACK_BLOCK / 8] = {0};
    uint8_t stream[PACK_BLOCK * 4] = {0};
    uint32_t low[PACK_BLOCK];
    unsigned n = 0;
    size_t bit = 0;
    bool good = true;
    for (unsigned i = 0; i < PACK_BLOCK; i++) {
        uint64_t more = 0, sum = rand_u64(r) & ((UINT64_C(1) << width) - 1);
        low[i] = (uint32_t)sum;
        if (rand_below(r, one_in) == 0) {
            more = rand_u64(r) & ((UINT64_C(1) << high) - 1);
            for (unsigned k = 0; k < high; k++, bit++)
                stream[bit / 8] |= (uint8_t)((more >> k & 1) << bit % 8);
            at[n++] = (uint8_t)i;
            bits[i / 8] |= (uint8_t)(1u << i % 8);
        }
        sum += base + (more << width % 64);
        good &= sum <= UINT32_MAX && (more == 0 || width + high <= 64);
        v[i] = (uint32_t)sum;
    }
    const bool as_bits = n > 0 && rand_below(r, 2);
    const bool swapped = n > 1 && !as_bits && rand_below(r, 20) == 0;
    good &= !swapped && (n == 0 || width + high <= 32);
    if (swapped) {
        uint8_t last = at[n - 1];
        at[n - 1] = at[n - 2];
        at[n - 2] = last;
    }
    const uint8_t head[] = {(uint8_t)(width + 128 * as_bits), (uint8_t)n, (uint8_t)high};
    pack(low, PACK_BLOCK, width, packed);
    assert_int_equal(buf_add(to, head, n ? 3 : 2), 0);
    if (n > 0) assert_int_equal(as_bits ? buf_add(to, bits, sizeof bits) : buf_add(to, at, n), 0);
    assert_int_equal(buf_add(to, stream, (bit + 7) / 8), 0);
    assert_int_equal(buf_add(to, packed, packed_bytes(PACK_BLOCK, width)), 0);
    return good;
}

/* Chunks of such blocks, and of these cut off somewhere. */
static void ints_any_blocks(void **state) {
    (void)state;
    struct rand r;
    struct buf chunk;
    uint32_t v[CHUNK_ROWS], back[CHUNK_ROWS];
    rand_init(&r, seed);
    buf_init(&chunk, 1 << 16);
    for (int round = 0; round < 4000; round++) {
        const size_t blocks = 1 + rand_below(&r, CHUNK_ROWS / PACK_BLOCK), n = blocks * PACK_BLOCK;
        const uint32_t base = rand_below(&r, 100);
        bool good = true;
        buf_clear(&chunk);
        const uint8_t head[] = {2, (uint8_t)(base << 1 & 0x7f), 0};
        const bool wide = base << 1 > 0x7f;
        const uint8_t head_wide[] = {2, (uint8_t)(base << 1 | 0x80), (uint8_t)(base << 1 >> 7)};
        assert_int_equal(buf_add(&chunk, wide ? head_wide : head, wide ? 3 : 2), 0);
        for (size_t k = 0; k < blocks; k++)
            good &= put_any_block(&r, base, &chunk, v + k * PACK_BLOCK);
        uint8_t *exact = exact_copy(buf_str(&chunk));
        struct str whole = {(const char *)exact, chunk.n};
        if ((ints_decode_u32(whole, n, back) == 0) != good)
            fail_msg("round %d: a chunk that is %s, seed %" PRIu64, round,
                     good ? "good is refused" : "not good is decoded", seed);
        if (good) assert_memory_equal(back, v, n * sizeof *v);
        free(exact);
        whole.n = rand_below(&r, (uint32_t)chunk.n);
        exact = exact_copy((struct str){(const char *)chunk.p, whole.n});
        whole.p = (const char *)exact;
        assert_int_not_equal(ints_decode_u32(whole, n, back), 0);
        free(exact);
    }
    buf_release(&chunk);
}

static void check_repeat_and_divide(const struct unpack_kernels *set) {
    uint32_t less_1[PACK_MAX_VALUES], value[PACK_MAX_VALUES], back[PACK_MAX_VALUES];
    int64_t whole[PACK_MAX_VALUES];
    double quotient[PACK_MAX_VALUES];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = 1 + rand_below(&r, PACK_MAX_VALUES), runs = 0;
        uint32_t most = 1 + rand_below(&r, 60);
        for (size_t at = 0; at < n; runs++) {
            less_1[runs] = rand_below(&r, most);
            if (less_1[runs] >= n - at) less_1[runs] = (uint32_t)(n - at - 1);
            value[runs] = (uint32_t)rand_u64(&r);
            at += less_1[runs] + 1;
        }
        set->repeat(less_1, value, runs, back);
        for (size_t k = 0, at = 0; k < runs; at += less_1[k++] + 1)
            for (size_t i = 0; i <= less_1[k]; i++) assert_int_equal(back[at + i], value[k]);
        for (size_t i = 0; i < PACK_MAX_VALUES; i++)
            whole[i] = (int64_t)(rand_u64(&r) >> 11) - (INT64_C(1) << 52);
        set->divide(whole, n, 100, quotient);
        for (size_t i = 0; i < n; i++) assert_true(quotient[i] == (double)whole[i] / 100);
    }
}

/* Random walks, at first within u32, then over one of its ends at a random place. */
static void check_sums(const struct unpack_kernels *set) {
    uint32_t walk[CHUNK_ROWS], difference[CHUNK_ROWS], back[CHUNK_ROWS];
    int64_t wide[CHUNK_ROWS];
    struct rand r;
    rand_init(&r, seed);
    for (int round = 0; round < ROUNDS; round++) {
        size_t n = 1 + rand_below(&r, CHUNK_ROWS);
        bool zigzag = round % 2;
        uint32_t most = 1u << rand_below(&r, zigzag ? 31 : 22);
        walk[0] = rand_below(&r, 1000);
        for (size_t i = 1; i < n; i++) {
            uint32_t step = rand_below(&r, most);
            bool down = zigzag && (rand_below(&r, 2) || step > UINT32_MAX - walk[i - 1]);
            if (down && step > walk[i - 1]) step = walk[i - 1];
            walk[i] = down ? walk[i - 1] - step : walk[i - 1] + step;
            int64_t d = (int64_t)walk[i] - (int64_t)walk[i - 1];
            difference[i - 1] = zigzag ? (uint32_t)(d * 2) ^ (uint32_t)(d >> 63) : (uint32_t)d;
        }
        assert_true(set->sum_up(difference, n, zigzag, walk[0], back));
        assert_memory_equal(back, walk, n * sizeof *walk);
        set->widen(walk, n, (uint64_t)INT64_MIN, wide);
        for (size_t i = 0; i < n; i++) assert_true(wide[i] == INT64_MIN + (int64_t)walk[i]);
        if (n == 1) continue;
        size_t at = rand_below(&r, (uint32_t)n - 1);
        uint32_t past_top = UINT32_MAX - walk[at] + 1, below_0 = 2 * walk[at] + 1;
        if (!zigzag && past_top) difference[at] = past_top;
        if (zigzag) difference[at] = below_0;
        if (zigzag ? walk[at] <= INT32_MAX : past_top > 0)
            assert_false(set->sum_up(difference, n, zigzag, walk[0], back));
    }
}

static void kernels_of_every_processor(void **state) {
    (void)state;
    check_kernels(&UNPACK_PLAIN);
    check_sums(&UNPACK_PLAIN);
    check_any(&UNPACK_PLAIN);
    check_patched(&UNPACK_PLAIN);
    check_repeat_and_divide(&UNPACK_PLAIN);
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        check_kernels(&UNPACK_AVX2);
        check_sums(&UNPACK_AVX2);
        check_any(&UNPACK_AVX2);
        check_patched(&UNPACK_AVX2);
        check_repeat_and_divide(&UNPACK_AVX2);
    }
    if (__builtin_cpu_supports("avx512vbmi2")) {
        check_kernels(&UNPACK_AVX512);
        check_sums(&UNPACK_AVX512);
        check_any(&UNPACK_AVX512);
        check_patched(&UNPACK_AVX512);
        check_repeat_and_divide(&UNPACK_AVX512);
    }
#endif
}

int main(void) {
    const char *given = getenv("KEEL_SEED");
    seed = given ? strtoull(given, NULL, 10) : 20111209;
    printf("KEEL_SEED=%" PRIu64 "\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ints_constant),
        cmocka_unit_test(ints_every_width_and_size),
        cmocka_unit_test(ints_every_length),
        cmocka_unit_test(ints_extremes),
        cmocka_unit_test(ints_codes_of_4_bits),
        cmocka_unit_test(ints_gaps_with_outliers),
        cmocka_unit_test(ints_runs),
        cmocka_unit_test(ints_sorted),
        cmocka_unit_test(ints_repeated),
        cmocka_unit_test(ints_random),
        cmocka_unit_test(ints_all_layouts_reached),
        cmocka_unit_test(ints_wrong_count),
        cmocka_unit_test(ints_nesting_is_bounded),
        cmocka_unit_test(ints_no_memory),
        cmocka_unit_test(ints_damage),
        cmocka_unit_test(ints_any_blocks),
        cmocka_unit_test(bits_layouts),
        cmocka_unit_test(bits_random),
        cmocka_unit_test(numbers_edges),
        cmocka_unit_test(numbers_money),
        cmocka_unit_test(numbers_measured),
        cmocka_unit_test(texts_layouts),
        cmocka_unit_test(texts_limits),
        cmocka_unit_test(kernels_of_every_processor),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    buf_release(&coded);
    return failures;
}
