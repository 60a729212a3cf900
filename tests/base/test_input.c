/* Streaming input: plain, gzip, zstd; lines at every place relative to the buffer; damage; failing
 * and short reads. */
#include "base/input.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "base/hash.h"
#include "base/os.h"
#include "base/rand.h"

static char folder[] = "/tmp/keel-input-XXXXXX";
static char path[64];

static void write_file(const void *p, size_t n) {
    int fd;
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, NULL), 0);
    assert_int_equal(file_write_all(fd, p, n, path, NULL), 0);
    file_close(fd);
}

static void add_gzip(struct buf *out, struct str text) {
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text.p, .avail_in = (uInt)text.n};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(buf_reserve(out, text.n + 1000), 0);
    z.next_out = out->p + out->n;
    z.avail_out = (uInt)(out->cap - out->n);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += z.total_out;
    deflateEnd(&z);
}

static void add_zstd(struct buf *out, struct str text) {
    assert_int_equal(buf_reserve(out, ZSTD_compressBound(text.n)), 0);
    size_t n = ZSTD_compress(out->p + out->n, out->cap - out->n, text.p, text.n, 3);
    assert_false(ZSTD_isError(n));
    out->n += n;
}

enum form { AS_PLAIN, AS_GZIP, AS_ZSTD, FORMS };

/* Writes text in one of the forms, compressed ones in two pieces. */
static void write_form(struct str text, enum form form) {
    struct buf packed;
    struct str half[2] = {{text.p, text.n / 3}, {text.p + text.n / 3, text.n - text.n / 3}};
    buf_init(&packed, 64 << 20);
    for (int i = 0; i < 2; i++) {
        if (form == AS_GZIP) add_gzip(&packed, half[i]);
        if (form == AS_ZSTD && i == 0) buf_add(&packed, "\x53\x2a\x4d\x18\3\0\0\0abc", 11);
        if (form == AS_ZSTD) add_zstd(&packed, half[i]);
        if (form == AS_PLAIN) buf_add_str(&packed, half[i]);
    }
    write_file(packed.p, packed.n);
    buf_release(&packed);
}

static struct input *open_file(void) {
    struct input *in;
    struct keel_error err;
    if (input_open(path, &in, &err) < 0) fail_msg("%s", err.message);
    return in;
}

/* Text of lines with the given lengths: letters, each with "\n" (or "\r\n" when odd). */
static void make_lines(struct buf *text, const size_t *lengths, size_t lines) {
    for (size_t i = 0; i < lines; i++) {
        assert_int_equal(buf_reserve(text, lengths[i] + 2), 0);
        memset(text->p + text->n, 'a' + (int)(i % 26), lengths[i]);
        text->n += lengths[i];
        buf_add_text(text, lengths[i] % 2 ? "\r\n" : "\n");
    }
}

static void check_lines(const size_t *lengths, size_t lines, size_t max_line) {
    struct input *in = open_file();
    struct str line;
    if (max_line) input_set_max_line(in, max_line);
    for (size_t i = 0; i < lines; i++) {
        size_t bytes = lengths[i] + lengths[i] % 2; /* with "\r" */
        bool long_line = max_line && bytes > max_line;
        assert_int_equal(input_read_line(in, &line, NULL),
                         long_line ? INPUT_LONG_LINE : INPUT_TEXT);
        assert_int_equal(line.n, long_line ? max_line : lengths[i]);
        if (line.n) assert_int_equal(line.p[0], 'a' + (int)(i % 26));
        if (line.n && !long_line) assert_int_equal(line.p[line.n - 1], 'a' + (int)(i % 26));
        volatile char behind = line.p[line.n + INPUT_PADDING - 1];
        (void)behind;
        assert_int_equal(input_line(in), i + 1);
    }
    assert_int_equal(input_read_line(in, &line, NULL), INPUT_END);
    assert_int_equal(input_read_line(in, &line, NULL), INPUT_END);
    struct input_progress progress = input_progress(in);
    assert_int_equal(progress.read_bytes, progress.total_bytes);
    input_close(in);
}

static void test_lines(void **state) {
    (void)state;
    enum { BLOCK = 1 << 20 };
    static const size_t cases[][6] = {
        {0, 0, 0, 0, 0, 0},
        {1, 2, 3, 4, 5, 6},
        {BLOCK, BLOCK - 1, 1, BLOCK - 2, 7, 0},
        {2 * BLOCK - 40, 100, BLOCK, 3, BLOCK, 9},
        {100000, 1000001, 999999, 0, 1, 500000},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (enum form form = 0; form < FORMS; form++) {
            struct buf text;
            buf_init(&text, 64 << 20);
            make_lines(&text, cases[c], 6);
            write_form(buf_str(&text), form);
            check_lines(cases[c], 6, c == 3 ? 2 * BLOCK : 0);
            check_lines(cases[c], 6, 1000);
            check_lines(cases[c], 6, 4);
            buf_release(&text);
        }
}

static void test_line_limit(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int results[4];
    } cases[] = {
        {"1234\n12345\n1234", {INPUT_TEXT, INPUT_LONG_LINE, INPUT_TEXT, INPUT_END}},
        {"1234\n1234\n12345", {INPUT_TEXT, INPUT_TEXT, INPUT_LONG_LINE, INPUT_END}},
        {"12345\n\n123456789\n", {INPUT_LONG_LINE, INPUT_TEXT, INPUT_LONG_LINE, INPUT_END}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        write_file(cases[c].text, strlen(cases[c].text));
        for (int lines = 0; lines < 2; lines++) {
            struct input *in = open_file();
            struct str out;
            input_set_max_line(in, 4);
            for (int i = 0; i < 4; i++)
                assert_int_equal(lines ? input_read_lines(in, 1, &out, NULL)
                                       : input_read_line(in, &out, NULL),
                                 cases[c].results[i]);
            input_close(in);
        }
    }
}

/* The pieces that input_fill and input_read_lines give, put together, are the text. */
static void test_blocks(void **state) {
    (void)state;
    struct rand r;
    struct buf text, got;
    buf_init(&text, 64 << 20);
    buf_init(&got, 64 << 20);
    rand_init(&r, 3);
    while (text.n < 5000000) {
        size_t length = rand_below(&r, 2000);
        make_lines(&text, &length, 1);
    }
    text.n--; /* no newline at the end */
    for (enum form form = 0; form < FORMS; form++)
        for (int lines = 0; lines < 2; lines++) {
            write_form(buf_str(&text), form);
            struct input *in = open_file();
            struct str piece;
            int result;
            buf_clear(&got);
            while ((result = lines ? input_read_lines(in, rand_below(&r, 200000), &piece, NULL)
                                   : input_fill(in, &piece, NULL)) == INPUT_TEXT) {
                assert_true(piece.n > 0 && (!lines || piece.p[piece.n - 1] == '\n'));
                buf_add_str(&got, piece);
            }
            assert_int_equal(result, INPUT_END);
            if (lines) got.n--;
            assert_int_equal(got.n, text.n);
            assert_memory_equal(got.p, text.p, text.n);
            assert_int_equal(input_progress(in).text_bytes, text.n);
            input_close(in);
        }
    buf_release(&text);
    buf_release(&got);
}

static int read_all(struct keel_error *err, uint64_t *hash) {
    struct input *in;
    struct str piece;
    int result = input_open(path, &in, err);
    if (result < 0) return result;
    *hash = 0;
    while ((result = input_read_line(in, &piece, err)) > 0)
        *hash = hash_mix(*hash + hash_str(piece));
    input_close(in);
    return result;
}

static void test_damage(void **state) {
    (void)state;
    struct buf packed;
    struct keel_error err;
    struct rand r;
    uint64_t hash, right;
    buf_init(&packed, 1 << 20);
    rand_init(&r, 5);
    for (enum form form = AS_GZIP; form < FORMS; form++) {
        buf_clear(&packed);
        for (int i = 0; i < 2; i++) {
            struct str piece = i ? STR("second,line\nthird") : STR("first line\nsec\n");
            form == AS_GZIP ? add_gzip(&packed, piece) : add_zstd(&packed, piece);
        }
        write_file(packed.p, packed.n);
        assert_int_equal(read_all(&err, &right), INPUT_END);
        size_t whole = 0; /* cutting between the two pieces is not seen, nor an empty file */
        for (size_t n = 1; n < packed.n; n++) {
            write_file(packed.p, n);
            int result = read_all(&err, &hash);
            if (result == INPUT_END && n >= 4) {
                whole++;
                continue;
            }
            if (n < 4) continue; /* too short for the magic: plain text */
            assert_int_equal(result, -KEEL_E_CORRUPT);
            char where[40];
            snprintf(where, sizeof where, "stops at byte %zu", n);
            if (!strstr(err.message, path)) fail_msg("%s", err.message);
            if (n > 12 && !strstr(err.message, where) && !strstr(err.message, "neither gzip"))
                fail_msg("%zu: %s", n, err.message);
        }
        assert_int_equal(whole, 1);
        for (int i = 0; i < 3000; i++) {
            uint8_t *byte = &packed.p[rand_below(&r, (uint32_t)packed.n)], old = *byte;
            *byte = (uint8_t)rand_u64(&r);
            write_file(packed.p, packed.n);
            (void)read_all(&err, &hash);
            *byte = old;
        }
    }
    add_gzip(&packed, STR("x"));
    packed.n = 0;
    add_gzip(&packed, STR("x"));
    buf_add_zero(&packed, 1000); /* padding, as tapes have */
    write_file(packed.p, packed.n);
    assert_int_equal(read_all(&err, &hash), INPUT_END);
    buf_add_text(&packed, "garbage");
    write_file(packed.p, packed.n);
    assert_int_equal(read_all(&err, &hash), -KEEL_E_CORRUPT);
    assert_non_null(strstr(err.message, "neither gzip data nor its end"));
    buf_release(&packed);
}

static void test_beginnings(void **state) {
    (void)state;
    struct keel_error err;
    struct input *in;
    struct str line;
    write_file("", 0);
    in = open_file();
    assert_int_equal(input_read_line(in, &line, &err), INPUT_END);
    assert_int_equal(input_fill(in, &line, &err), INPUT_END);
    input_close(in);
    write_file("\xef\xbb\xbf"
               "a\nb",
               6);
    in = open_file();
    assert_int_equal(input_read_line(in, &line, &err), INPUT_TEXT);
    assert_true(str_is(line, "a"));
    input_close(in);
    write_file("\xff\xfe"
               "a\0",
               4);
    assert_int_equal(input_open(path, &in, &err), -KEEL_E_UNSUPPORTED);
    assert_int_equal(input_open(folder, &in, &err), -KEEL_E_INVALID);
    assert_int_equal(input_open("/nowhere/at all", &in, &err), -KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nowhere/at all"));
}

static void test_standard_input(void **state) {
    (void)state;
    int ends[2], saved = dup(STDIN_FILENO);
    struct str line;
    struct input *in;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "one\ntwo", 7), 7);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    assert_int_equal(input_open("-", &in, NULL), 0);
    assert_string_equal(input_name(in), "standard input");
    assert_int_equal(input_progress(in).total_bytes, 0);
    assert_int_equal(input_read_line(in, &line, NULL), INPUT_TEXT); /* does not wait for more */
    assert_true(str_is(line, "one"));
    close(ends[1]);
    assert_int_equal(input_read_line(in, &line, NULL), INPUT_TEXT);
    assert_true(str_is(line, "two"));
    assert_int_equal(input_read_line(in, &line, NULL), INPUT_END);
    input_close(in);
    dup2(saved, STDIN_FILENO);
    close(saved);
}

/* ---- failing and short reads ---- */

static int reads_left;
static struct rand read_sizes;

static ssize_t short_read(int fd, void *p, size_t n) {
    if (reads_left-- == 0) {
        errno = EIO;
        return -1;
    }
    if (rand_below(&read_sizes, 5) == 0) {
        errno = EINTR;
        return -1;
    }
    size_t some = 1 + rand_below(&read_sizes, 7);
    return read(fd, p, some < n ? some : n);
}

static void test_reads(void **state) {
    (void)state;
    struct os table = OS_REAL;
    struct keel_error err;
    uint64_t right = 0, hash = 0;
    table.read = short_read;
    rand_init(&read_sizes, 9);
    for (enum form form = 0; form < FORMS; form++) {
        write_form(STR("a,b\n1,2\n\"x\",y\r\nlast"), form);
        assert_int_equal(read_all(&err, &right), INPUT_END);
        int failed = 0;
        os_use(&table);
        for (int n = 0; n < 200; n++) {
            reads_left = n;
            int result = read_all(&err, &hash);
            if (result == -KEEL_E_IO) {
                failed++;
                assert_non_null(strstr(err.message, path));
            } else {
                assert_int_equal(result, INPUT_END);
                assert_true(hash == right);
            }
        }
        os_use(NULL);
        assert_in_range(failed, 5, 150);
    }
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),      cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_blocks),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_beginnings), cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_reads),
    };
    return cmocka_run_group_tests_name("input", tests, set_up, tear_down);
}
