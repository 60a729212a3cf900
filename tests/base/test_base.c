/* The rest of base: errors, memory, buffers, text slices, files, hashes, random numbers, threads.
 *
 * KEEL_SEED=<number> repeats a random run.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/os.h"
#include "base/rand.h"
#include "base/thread.h"

static uint64_t seed;

/* ---- errors ---- */

static int fails_deep(struct keel_error *err) { FAIL(err, SYNTAX, "line %d: %s", 7, "oops"); }

static int passes_on(struct keel_error *err) {
    TRY(fails_deep(err));
    return 1;
}

static void errors_messages(void **state) {
    (void)state;
    struct keel_error err = {0};
    assert_int_equal(passes_on(&err), -KEEL_E_SYNTAX);
    assert_int_equal(err.code, -KEEL_E_SYNTAX);
    assert_string_equal(err.message, "line 7: oops");
    assert_int_equal(error_context(&err, err.code, "file %s", "a.csv"), -KEEL_E_SYNTAX);
    assert_string_equal(err.message, "file a.csv: line 7: oops");
    assert_int_equal(passes_on(NULL), -KEEL_E_SYNTAX);
    assert_int_equal(error_context(NULL, -KEEL_E_IO, "x"), -KEEL_E_IO);
    assert_int_equal(error_errno(NULL, EIO, "x"), -KEEL_E_IO);
}

static void errors_of_the_system(void **state) {
    (void)state;
    struct keel_error err;
    assert_int_equal(error_errno(&err, ENOENT, "cannot open %s", "f"), -KEEL_E_NOT_FOUND);
    assert_string_equal(err.message, "cannot open f: No such file or directory");
    assert_int_equal(error_errno(&err, EEXIST, "x"), -KEEL_E_EXISTS);
    assert_int_equal(error_errno(&err, ENOMEM, "x"), -KEEL_E_NO_MEMORY);
    assert_int_equal(error_errno(&err, EACCES, "x"), -KEEL_E_IO);
    assert_int_equal(err.code, -KEEL_E_IO);
}

static void errors_too_long(void **state) {
    (void)state;
    static char longer[2 * KEEL_ERROR_MAX];
    memset(longer, 'x', sizeof longer - 1);
    struct keel_error err;
    error_set(&err, KEEL_E_IO, "%s", longer);
    assert_int_equal(strlen(err.message), KEEL_ERROR_MAX - 1);
    error_context(&err, err.code, "%s", "here");
    assert_int_equal(strlen(err.message), KEEL_ERROR_MAX - 1);
    assert_memory_equal(err.message, "here: xxx", 9);
    error_context(&err, err.code, "%s", longer); /* never pushes the message out altogether */
    assert_non_null(strstr(err.message, ": here: xxx"));
    error_errno(&err, EIO, "%s", longer);
    assert_int_equal(strlen(err.message), KEEL_ERROR_MAX - 1);
}

static void errors_table(void **state) {
    (void)state;
    assert_string_equal(error_text(0), "success");
    assert_int_equal(error_exit_status(0), 0);
    assert_int_equal(error_http_status(0), 200);
    assert_string_equal(error_text(-KEEL_E_NOT_FOUND), "not found");
    assert_string_equal(error_text(KEEL_E_NOT_FOUND), "not found");
    assert_int_equal(error_http_status(-KEEL_E_NOT_FOUND), 404);
    assert_int_equal(error_exit_status(-KEEL_E_SYNTAX), 65);
    assert_string_equal(error_text(-9999), "internal error");
}

/* ---- memory ---- */

static void memory_fails_on_command(void **state) {
    (void)state;
    mem_fail_after(3);
    void *p = k_try_alloc(10), *q = k_try_zalloc(10);
    assert_non_null(p);
    assert_non_null(q);
    void *r = k_try_realloc(p, 1000);
    assert_null(r);
    r = k_try_realloc(p, 1000); /* p is still valid, and it fails once only */
    assert_non_null(r);
    k_free(q);
    k_free(r);
    mem_fail_after(1);
    void *never = k_alloc(16); /* does not count */
    k_free(never);
    p = k_try_alloc_array(3, 4);
    assert_null(p);
    mem_fail_after(0);
    p = k_try_alloc_array(SIZE_MAX / 2, 3);
    assert_null(p);
    k_free(NULL);
}

static void memory_aligned_and_copied(void **state) {
    (void)state;
    void *p = k_alloc_aligned(64, 100);
    assert_int_equal((uintptr_t)p % 64, 0);
    k_free(p);
    char *s = k_strdup("text");
    assert_string_equal(s, "text");
    k_free(s);
    uint8_t *z = k_zalloc(100);
    for (int i = 0; i < 100; i++) assert_int_equal(z[i], 0);
    z = k_realloc(z, 200);
    assert_int_equal(z[99], 0);
    k_free(z);
}

static void arena_marks(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    char *first = arena_printf(&a, "%s-%d", "x", 5);
    struct arena_mark mark = arena_mark(&a);
    for (int i = 0; i < 100; i++) memset(arena_alloc(&a, 3000), 0xaa, 3000);
    assert_int_equal(a.used_bytes, mark.used_bytes + 300000);
    arena_rewind(&a, mark);
    assert_int_equal(a.used_bytes, mark.used_bytes);
    assert_string_equal(first, "x-5");
    char *second = arena_alloc(&a, 10);
    assert_ptr_equal(second, mark.at); /* the same memory again */
    arena_release(&a);
    struct arena_mark empty = arena_mark(&a);
    memset(arena_alloc(&a, 100000), 1, 100000); /* a block of its own */
    memset(arena_zalloc(&a, 100), 0, 100);
    arena_rewind(&a, empty);
    assert_null(a.top);
    memset(arena_alloc(&a, 10), 1, 10);
    arena_release(&a);
}

static void arena_limits(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_null(arena_try_alloc(&a, 1001));
    assert_non_null(arena_try_alloc(&a, 600));
    assert_null(arena_try_alloc(&a, 401));
    assert_non_null(arena_try_alloc(&a, 400));
    assert_null(arena_try_alloc(&a, 1));
    assert_non_null(arena_try_alloc(&a, 0));
    arena_release(&a);
    arena_init(&a, SIZE_MAX);
    assert_null(arena_try_alloc(&a, SIZE_MAX));
    assert_null(arena_try_alloc(&a, SIZE_MAX - 5));
    mem_fail_after(1);
    assert_null(arena_try_alloc(&a, 1));
    mem_fail_after(0);
    for (size_t n = 0; n < 100; n++) {
        void *p = arena_try_alloc(&a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
    }
    struct str s = str_dup(&a, (struct str){NULL, 0});
    assert_int_equal(s.n, 0);
    s = str_dup(&a, STR("abc"));
    assert_string_equal(s.p, "abc");
    arena_release(&a);
}

/* ---- buffers ---- */

static void buf_limits(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_add(&b, "12345", 5), 0);
    assert_int_equal(buf_add(&b, "123456", 6), -KEEL_E_LIMIT);
    assert_int_equal(b.n, 5);
    assert_int_equal(b.failed, -KEEL_E_LIMIT);
    assert_int_equal(buf_add(&b, "12345", 5), 0);
    assert_int_equal(b.failed, -KEEL_E_LIMIT); /* sticks */
    assert_int_equal(buf_add_char(&b, 'x'), -KEEL_E_LIMIT);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -KEEL_E_LIMIT);
    assert_true(str_is(buf_str(&b), "1234512345"));
    buf_clear(&b);
    assert_int_equal(b.failed, 0);
    assert_int_equal(buf_printf(&b, "%d", 1234567890), 0); /* exactly full */
    assert_true(str_is(buf_str(&b), "1234567890"));
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_int_equal(buf_printf(&b, "%d", 1), -KEEL_E_LIMIT);
    assert_int_equal(buf_add_zero(&b, 0), 0);
    buf_release(&b);
    assert_int_equal(b.max, 10);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_int_equal(b.n, 0);
    mem_fail_after(1);
    assert_int_equal(buf_add_zero(&b, 3), -KEEL_E_NO_MEMORY);
    assert_int_equal(b.failed, -KEEL_E_NO_MEMORY);
    mem_fail_after(0);
    assert_int_equal(buf_add_zero(&b, 3), 0);
    assert_int_equal(b.failed, -KEEL_E_NO_MEMORY);
    buf_release(&b);
}

static void assert_number_text(double v, const char *text) {
    struct buf b;
    buf_init(&b, 100);
    assert_int_equal(buf_add_f64(&b, v), 0);
    assert_int_equal(buf_add_char(&b, 0), 0);
    assert_string_equal((char *)b.p, text);
    buf_release(&b);
}

static void buf_numbers(void **state) {
    (void)state;
    assert_number_text(0, "0");
    assert_number_text(-0.0, "0");
    assert_number_text(12.34, "12.34");
    assert_number_text(-0.1, "-0.1");
    assert_number_text(100, "100");
    assert_number_text(123456789012345, "123456789012345");
    assert_number_text(0.1 + 0.2, "0.30000000000000004");
    assert_number_text(1.0 / 3, "0.3333333333333333");
    assert_number_text(1e15, "1e+15");
    assert_number_text(0.0001, "0.0001");
    assert_number_text(0.00001, "0.00001");
    assert_number_text(-0.0000012345, "-0.0000012345");
    assert_number_text(1e300, "1e+300");
    assert_number_text((double)NAN, "nan");
    assert_number_text(-(double)INFINITY, "-inf");
    struct rand r;
    rand_init(&r, seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = rand_u64(&r);
        double v, back;
        memcpy(&v, &bits, sizeof v);
        if (i % 2) v = (rand_unit(&r) - 0.5) * pow(10, (int)rand_below(&r, 25) - 12);
        if (!isfinite(v)) continue;
        struct buf b;
        buf_init(&b, 100);
        assert_int_equal(buf_add_json_f64(&b, v), 0);
        assert_true(str_to_f64(buf_str(&b), &back));
        assert_true(back == v);
        buf_release(&b);
    }
}

static void buf_json(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    assert_int_equal(buf_add_json_str(&b, STR("a\"b\\c\n\r\t\x01\x1f/é")), 0);
    assert_true(str_is(buf_str(&b), "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f/é\""));
    buf_clear(&b);
    assert_int_equal(buf_add_json_str(&b, (struct str){NULL, 0}), 0);
    assert_int_equal(buf_add_json_f64(&b, (double)NAN), 0);
    assert_true(str_is(buf_str(&b), "\"\"null"));
    buf_release(&b);
}

static void reader_bounds(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    static const uint64_t VALUES[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX, INT64_MAX};
    assert_int_equal(buf_add_u8(&b, 0x12), 0);
    assert_int_equal(buf_add_u16(&b, 0x3456), 0);
    assert_int_equal(buf_add_u32(&b, 0x789abcde), 0);
    assert_int_equal(buf_add_u64(&b, 0x0123456789abcdef), 0);
    for (size_t i = 0; i < 8; i++) assert_int_equal(buf_add_varint(&b, VALUES[i]), 0);
    assert_int_equal(buf_add_varint(&b, 3), 0);
    assert_int_equal(buf_add_text(&b, "abc"), 0);
    assert_int_equal(b.p[1], 0x56); /* little-endian */
    for (size_t size = 0; size <= b.n; size++) {
        uint8_t *exact = malloc(size ? size : 1);
        memcpy(exact, b.p, size);
        struct reader r = reader_over(exact, size);
        uint64_t sum = reader_u8(&r) == 0x12;
        sum += reader_u16(&r) == 0x3456;
        sum += reader_u32(&r) == 0x789abcde;
        sum += reader_u64(&r) == 0x0123456789abcdef;
        for (size_t i = 0; i < 8; i++) sum += !r.bad && reader_varint(&r) == VALUES[i] && !r.bad;
        sum += str_is(reader_str(&r), "abc");
        assert_int_equal(r.bad, size < b.n);
        if (size == b.n) assert_int_equal(sum, 13);
        if (r.bad) assert_int_equal(reader_u8(&r), 0); /* stays bad */
        free(exact);
    }
    static const uint8_t TOO_LONG[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct reader r = reader_over(TOO_LONG, sizeof TOO_LONG); /* 65 bits */
    assert_int_equal(reader_varint(&r), 0);
    assert_true(r.bad);
    static const uint8_t HUGE_LENGTH[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 1,    7};
    r = reader_over(HUGE_LENGTH, sizeof HUGE_LENGTH);
    assert_int_equal(reader_str(&r).n, 0);
    assert_true(r.bad);
    buf_release(&b);
}

/* ---- text slices ---- */

static void str_comparing(void **state) {
    (void)state;
    struct str none = {NULL, 0};
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_true(str_cmp(STR("b"), STR("aa")) > 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0); /* bytes, not chars */
    assert_int_equal(str_cmp(none, STR("")), 0);
    assert_true(str_eq(none, STR("")));
    assert_false(str_eq(STR("a"), STR("b")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_true(str_ends(none, none) && str_starts(none, none));
    assert_true(str_contains(STR("abc"), STR("b")));
    assert_true(str_contains(STR("abc"), none));
    assert_false(str_contains(none, STR("b")));
    assert_false(str_contains(STR("abc"), STR("B")));
    assert_true(str_contains_nocase(STR("xAbCx"), STR("aBc")));
    assert_true(str_contains_nocase(STR("a"), STR("")));
    assert_false(str_contains_nocase(STR("ab"), STR("abc")));
    assert_true(str_eq_nocase(STR("Straße"), STR("sTRAße")));
    assert_false(str_eq_nocase(STR("["), STR("{"))); /* 32 apart, but no letters */
    assert_true(str_is(str_trim(STR(" \t a b \r\n")), "a b"));
    assert_int_equal(str_trim(STR("  ")).n, 0);
}

static void str_utf8(void **state) {
    (void)state;
    static const char *const GOOD[] = {"",
                                       "plain",
                                       "é",
                                       "€",
                                       "\xf0\x9f\x98\x80",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const BAD[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "a\xc3(",
                                      "\xe2(\xa1",
                                      "\xf0\x9f(\x80"};
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
        if (!str_is_utf8(str_from(GOOD[i]))) fail_msg("good text %zu was refused", i);
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        if (str_is_utf8(str_from(BAD[i]))) fail_msg("bad text %zu was accepted", i);
    assert_true(str_is_utf8((struct str){"a\0b", 3}));
    assert_true(str_is_utf8((struct str){NULL, 0}));
}

static void str_numbers(void **state) {
    (void)state;
    int64_t i = 42;
    uint64_t u = 42;
    assert_true(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_true(str_to_i64(STR("9223372036854775807"), &i) && i == INT64_MAX);
    assert_true(str_to_i64(STR("+5"), &i) && i == 5);
    assert_false(str_to_i64(STR("9223372036854775808"), &i));
    assert_false(str_to_i64(STR("-9223372036854775809"), &i));
    assert_true(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(str_to_u64(STR("18446744073709551616"), &u));
    static const char *const BAD[] = {"", "-", "+", "1x", " 1", "1 ", "--1", "+-1", "1.0", "0x1"};
    for (size_t k = 0; k < sizeof BAD / sizeof *BAD; k++)
        assert_false(str_to_i64(str_from(BAD[k]), &i));
    assert_int_equal(i, 5);
    assert_false(str_to_u64(STR("-1"), &u));

    double d = 42;
    static const struct {
        const char *text;
        double v;
    } GOOD[] = {{"0", 0},         {"-0", -0.0},
                {"12.34", 12.34}, {".5", 0.5},
                {"5.", 5},        {"+1e3", 1000},
                {"1E-3", 0.001},  {"1e+2", 100},
                {"1e-400", 0},    {"1.7976931348623157e308", 1.7976931348623157e308}};
    for (size_t k = 0; k < sizeof GOOD / sizeof *GOOD; k++) {
        assert_true(str_to_f64(str_from(GOOD[k].text), &d));
        assert_memory_equal(&d, &GOOD[k].v, sizeof d);
    }
    static const char *const BAD_F64[] = {
        "",      ".",     "-",
        "e5",    "1e",    "1e+",
        "1..2",  "1e5.5", "1,5",
        "nan",   "inf",   "0x10",
        "1e400", "1 ",    " 1",
        "1-2",   "--1",   "1e5e5",
        "-.",    "1_000", "1234567890123456789012345678901234567890123456789012345678901234567"};
    for (size_t k = 0; k < sizeof BAD_F64 / sizeof *BAD_F64; k++)
        if (str_to_f64(str_from(BAD_F64[k]), &d)) fail_msg("\"%s\" was accepted", BAD_F64[k]);
    assert_true(str_to_f64((struct str){"12345", 3}, &d) && d == 123); /* not NUL-terminated */
}

/* ---- files ---- */

static void *read_for_a_while(void *arg) {
    const int *reader = arg;
    usleep(100000);
    file_close(*reader);
    return NULL;
}

/* Who wants the lock alone gets it when the readers are gone, and not before. */
static void wait_for_readers(const char *path, int writer) {
    pthread_t thread;
    int reader;
    int64_t begun = monotonic_us();
    assert_int_equal(file_open(path, FILE_READ, &reader, NULL), 0);
    assert_int_equal(file_lock(reader, true, path, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_for_a_while, &reader), 0);
    assert_int_equal(file_lock(writer, false, path, NULL), 0);
    assert_true(monotonic_us() - begun >= 100000);
    pthread_join(thread, NULL);
}

static void files(void **state) {
    (void)state;
    struct keel_error err;
    char path[] = "/tmp/keel-base-XXXXXX";
    assert_int_equal(close(mkstemp(path)), 0);
    struct buf b;
    buf_init(&b, 10);
    int fd;
    assert_int_equal(file_read(path, &b, &err), 0);
    assert_int_equal(b.n, 0);
    assert_int_equal(file_open(path, FILE_WRITE, &fd, &err), 0);
    assert_int_equal(file_write_all(fd, "0123456789", 10, path, &err), 0);
    assert_int_equal(file_read(path, &b, &err), 0); /* exactly the maximum */
    assert_true(str_is(buf_str(&b), "0123456789"));
    assert_int_equal(b.failed, 0);
    assert_int_equal(file_write_all(fd, "x", 1, path, &err), 0);
    buf_clear(&b);
    assert_int_equal(file_read(path, &b, &err), -KEEL_E_LIMIT);
    assert_non_null(strstr(err.message, "is larger than 10 bytes"));
    assert_int_equal(file_pwrite_all(fd, "ab", 2, 4, path, &err), 0);
    char back[4];
    assert_int_equal(file_pread_all(fd, back, 4, 3, path, &err), 0);
    assert_memory_equal(back, "3ab6", 4);
    assert_int_equal(file_pread_all(fd, back, 4, 9, path, &err), -KEEL_E_CORRUPT);
    uint64_t size;
    assert_int_equal(file_truncate(fd, 3, path, &err), 0);
    assert_int_equal(file_size(fd, path, &size, &err), 0);
    assert_int_equal(size, 3);
    assert_int_equal(file_lock(fd, false, path, &err), 0);
    int other;
    assert_int_equal(file_open(path, FILE_READ, &other, &err), 0);
    assert_int_equal(file_lock(other, true, path, &err), -KEEL_E_BUSY);
    int64_t begun = monotonic_us();
    assert_int_equal(file_lock(other, false, path, &err), -KEEL_E_BUSY); /* at once: a writer */
    assert_true(monotonic_us() - begun < 1000000);
    file_close(fd);
    wait_for_readers(path, other);
    file_close(other);
    file_close(-1);
    struct file_map map;
    assert_int_equal(file_map_open(path, &map, &err), 0);
    assert_int_equal(map.n, 3);
    assert_memory_equal(map.p, "012", 3);
    file_map_close(&map);
    assert_null(map.p);
    char moved[64];
    snprintf(moved, sizeof moved, "%s.moved", path);
    assert_int_equal(file_rename(path, moved, &err), 0);
    assert_false(file_exists(path));
    assert_int_equal(file_open(path, FILE_READ, &fd, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(fd, -1);
    assert_int_equal(file_remove(moved, &err), 0);
    assert_int_equal(file_remove(moved, &err), 0); /* absent: success */
    buf_release(&b);
}

static ssize_t short_write(int fd, const void *p, size_t n) {
    static unsigned calls;
    if (++calls % 2) {
        errno = EINTR;
        return -1;
    }
    return OS_REAL.write(fd, p, n > 3 ? 3 : n);
}

static int fails(int fd) {
    (void)fd;
    errno = EIO;
    return -1;
}

static void files_on_a_bad_day(void **state) {
    (void)state;
    struct keel_error err;
    struct os bad = OS_REAL;
    bad.write = short_write;
    bad.fdatasync = fails;
    os_use(&bad);
    char path[] = "/tmp/keel-base-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(file_write_all(fd, "0123456789", 10, path, &err), 0);
    assert_int_equal(file_sync_data(fd, path, &err), -KEEL_E_NOT_DURABLE);
    os_use(NULL);
    char back[10];
    assert_int_equal(file_pread_all(fd, back, 10, 0, path, &err), 0);
    assert_memory_equal(back, "0123456789", 10);
    file_close(fd);
    assert_int_equal(file_remove(path, &err), 0);
}

/* ---- fixed values: they are written to disk or into golden files ---- */

static void hash_values(void **state) {
    (void)state;
    assert_true(hash64("", 0) == 0x2d06800538d394c2u);
    assert_true(hash_str(STR("keel")) == hash64("keel", 4));
    struct hash128 h = hash128("", 0);
    assert_true(h.lo == 0x6001c324468d497fu && h.hi == 0x99aa06d3014798d8u);
    assert_true(hash_mix(1) == 0x5692161d100b05e5u);
}

static void rand_values(void **state) {
    (void)state;
    static const uint64_t FIRST[] = {0x15780b2e0c2ec716u, 0x6104d9866d113a7eu, 0xae17533239e499a1u,
                                     0xecb8ad4703b360a1u};
    struct rand r;
    rand_init(&r, 42);
    for (size_t i = 0; i < sizeof FIRST / sizeof *FIRST; i++) assert_true(rand_u64(&r) == FIRST[i]);
    double sum = 0, squares = 0, exponential = 0;
    uint32_t seen[7] = {0};
    enum { N = 100000 };
    for (int i = 0; i < N; i++) {
        double u = rand_unit(&r), z = rand_normal(&r);
        assert_true(u >= 0 && u < 1);
        seen[rand_below(&r, 7)]++;
        sum += z;
        squares += z * z;
        exponential += rand_exponential(&r);
    }
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], N / 7 - 600, N / 7 + 600);
    assert_true(fabs(sum / N) < 0.02 && fabs(squares / N - 1) < 0.03);
    assert_true(fabs(exponential / N - 1) < 0.02);
    assert_int_equal(rand_below(&r, 1), 0);
}

/* ---- threads ---- */

enum { PIECES = 5000 };

struct work {
    unsigned done[PIECES];       /* written by the piece's worker only, read after the run */
    _Atomic unsigned workers[8]; /* pieces by worker */
    unsigned size;
};

static void do_piece(void *ctx, size_t piece, unsigned worker) {
    struct work *w = ctx;
    w->done[piece]++;
    if (worker < w->size) atomic_fetch_add(&w->workers[worker], 1);
}

static void pool_every_piece_once(void **state) {
    (void)state;
    static const size_t COUNTS[] = {0, 1, 2, 3, 100, PIECES};
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct pool *pool = pool_new(threads);
        assert_in_range(pool_size(pool), 1, threads);
        for (unsigned round = 0; round < 300; round++) {
            struct work w = {.size = pool_size(pool)};
            size_t pieces = COUNTS[round % 6];
            pool_run(pool, pieces, do_piece, &w);
            unsigned by_workers = 0;
            for (unsigned k = 0; k < w.size; k++) by_workers += w.workers[k];
            assert_int_equal(by_workers, pieces);
            for (size_t i = 0; i < PIECES; i++) assert_int_equal(w.done[i], i < pieces);
        }
        pool_free(pool);
    }
    struct pool *pool = pool_new(0);
    assert_true(pool_size(pool) >= 1);
    pool_free(pool);
    pool_free(NULL);
}

struct caller {
    struct pool *pool;
    struct work *work;
};

static void *run_often(void *arg) {
    struct caller *c = arg;
    for (int i = 0; i < 50; i++) pool_run(c->pool, PIECES, do_piece, c->work);
    return NULL;
}

static void pool_shared_by_callers(void **state) {
    (void)state;
    struct pool *pool = pool_new(3);
    static struct work works[3];
    struct caller callers[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        works[i].size = pool_size(pool);
        callers[i] = (struct caller){pool, &works[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, run_often, &callers[i]), 0);
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < PIECES; k++) assert_int_equal(works[i].done[k], 50);
    pool_free(pool);
}

int main(void) {
    const char *given = getenv("KEEL_SEED");
    seed = given ? strtoull(given, NULL, 10) : 20111209;
    printf("KEEL_SEED=%" PRIu64 "\n", seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_messages),
        cmocka_unit_test(errors_of_the_system),
        cmocka_unit_test(errors_too_long),
        cmocka_unit_test(errors_table),
        cmocka_unit_test(memory_fails_on_command),
        cmocka_unit_test(memory_aligned_and_copied),
        cmocka_unit_test(arena_marks),
        cmocka_unit_test(arena_limits),
        cmocka_unit_test(buf_limits),
        cmocka_unit_test(buf_numbers),
        cmocka_unit_test(buf_json),
        cmocka_unit_test(reader_bounds),
        cmocka_unit_test(str_comparing),
        cmocka_unit_test(str_utf8),
        cmocka_unit_test(str_numbers),
        cmocka_unit_test(files),
        cmocka_unit_test(files_on_a_bad_day),
        cmocka_unit_test(hash_values),
        cmocka_unit_test(rand_values),
        cmocka_unit_test(pool_every_piece_once),
        cmocka_unit_test(pool_shared_by_callers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
