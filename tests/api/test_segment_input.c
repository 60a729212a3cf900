/* The Segment dialect on real, broken, random and large input: captures of SDKs, faults among good
 * lines, every kernel of the CPU, files. */
#include "segment_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/collect/json_tokens.h"
#include "api/collect/segment_file.h"
#include "base/os.h"
#include "base/rand.h"

#define TRACK "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"timestamp\":\"2025-01-02\","
#define IS "track 'E' u=u 2025-01-02T00:00:00Z |"

/* ---- broken lines among good ones ---- */

static void test_broken_lines(void **state) {
    struct run *run = *state;
    static const struct {
        const char *line, *why;
    } broken[] = {
        {"{", "a key in quotes is expected"},
        {"}", "not a JSON object"},
        {"{\"type\":\"page\"", "',' or '}' is expected"},
        {"{\"type\":\"page\",}", "a key in quotes is expected"},
        {"{\"type\" \"page\"}", "':' is expected"},
        {"{\"type\":}", "value is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"integrations\":{\"a\":\"b\",}}",
         "a key in quotes is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"version\":0x}", "value is expected"},
        {"{\"type\":\"none\",\"properties\":{\"a\":[}}", "is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{},\"properties\":{\"a\"}}",
         "':' is expected"},
        {"{\"type\":\"page\"}}", "something stands behind"},
        {"{\"type\":\"page\"} {\"type\":\"page\"}", "something stands behind"},
        {"{\"a\":\"unclosed}", "a string is not closed"},
        {"{\"a\":\"tab\there\"}", "a control character in a string"},
        {"{\"a\":\"\xff\"}", "invalid UTF-8"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":tru}}", "a value is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":nul}}", "a value is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":[1,]}}",
         "a number or value is expected"},
        {"{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"a\":[1}}}", "is expected"},
        {"{\"type\":\"page\",\"userId\":u}", "a number or value is expected"},
        {"[{\"type\":\"page\",\"userId\":\"u\"},", "is expected"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char lines[600];
        snprintf(lines, sizeof lines,
                 TRACK "\"x\":1}\n%s\n\n" TRACK "\"x\":2}\r\n%s\n" TRACK "\"x\":3}", broken[i].line,
                 broken[i].line);
        const char *got = read_line(run, lines);
        const char *events = IS " @x=1\n" IS " @x=2\n" IS " @x=3\n";
        if (strncmp(got, events, strlen(events)) != 0)
            fail_msg("%s\ngave: %s", broken[i].line, got);
        got += strlen(events);
        char first[200], second[200];
        snprintf(first, sizeof first, "refused 2: ");
        snprintf(second, sizeof second, "refused 5: ");
        if (!strstr(got, first) || !strstr(got, second) || !strstr(got, broken[i].why))
            fail_msg("%s\ngave: %s", broken[i].line, got);
        assert_int_equal(run->counts.accepted, 3);
        assert_int_equal(segment_refused_total(&run->counts), 2);
        assert_int_equal(run->lines, 6);
    }
}

/* Nothing stays of a batch that is not JSON throughout, wherever the fault is. */
static void test_broken_batches(void **state) {
    struct run *run = *state;
#define GOOD                                                                                       \
    "{\"type\":\"page\",\"userId\":\"u\",\"timestamp\":\"2025-01-01\",\"properties\":{\"a\":1}}"
    static const char *const bodies[] = {
        "{\"batch\":[" GOOD "," GOOD,
        "{\"batch\":[" GOOD "," GOOD "}",
        "{\"batch\":[" GOOD "," GOOD "]",
        "{\"batch\":[" GOOD " " GOOD "]}",
        "{\"batch\":[" GOOD ",]}",
        "{\"batch\":[" GOOD ",{\"type\" 1}]}",
        "{\"batch\":[" GOOD ",{\"type\":\"page\",\"userId\":\"u\",\"properties\":{\"b\" 1}}]}",
        "{\"batch\":[" GOOD ",{\"type\":\"none\",\"properties\":{\"b\" 1}}]}",
        "{\"batch\":[" GOOD ",{\"type\":\"page\",\"userId\":\"u\",\"integrations\":{\"b\":x}}]}",
        "{\"batch\":[" GOOD ",[1,2,}]]}",
        "{\"batch\":[" GOOD "],\"context\":{\"a\":}}",
        "{\"batch\":[" GOOD "],\"integrations\":nope}",
        "{\"batch\":[" GOOD "],\"other\":[1,{]}}",
        "{\"batch\":[" GOOD "]} x",
        "[" GOOD ",1 2]",
        "[" GOOD "] []",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        /* After a batch that is good, in the same writer's batch of events. */
        char lines[1000];
        snprintf(lines, sizeof lines, "{\"batch\":[" GOOD "]}\n%s\n" GOOD, bodies[i]);
        const char *got = read_line(run, lines);
        const char *events = "page u=u 2025-01-01T00:00:00Z | a=1\n"
                             "page u=u 2025-01-01T00:00:00Z | a=1\nrefused 2: ";
        if (strncmp(got, events, strlen(events)) != 0) fail_msg("%s\ngave: %s", bodies[i], got);
        assert_int_equal(run->counts.accepted, 2);
        assert_int_equal(run->counts.refused[SEGMENT_BAD_JSON], 1);
        assert_int_equal(segment_refused_total(&run->counts), 1);
    }
}

/* ---- the captures of real SDKs ---- */

static void test_captures(void **state) {
    struct run *run = *state;
    const char *shared = getenv("KEEL_SHARED");
    static const char *const names[] = {
        "segment-node-1",     "rudderstack-node-1", "rudderstack-node-2",
        "rudderstack-node-3", "rudderstack-node-4", "jitsu-js-1",
        "jitsu-js-2",         "jitsu-js-3",         "jitsu-js-4"};
    static const int events[] = {6, 1, 5, 1, 5, 1, 1, 1, 1};
    char path[1000];
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/captures/%s.txt", shared ? shared : "../shared", names[i]);
        if (!file_exists(path)) {
            print_message("skipped: no %s\n", path);
            skip();
        }
        buf_clear(&text);
        assert_int_equal(file_read(path, &text, NULL), 0);
        const char *body = memmem(text.p, text.n, "\r\n\r\n", 4);
        if (!body) body = memmem(text.p, text.n, "\n\n", 2);
        assert_non_null(body);
        struct str json = str_trim((struct str){body, text.n - (size_t)(body - (char *)text.p)});
        run->options.now_ms = run->options.received_ms = moment("2026-11-21T21:50:55Z");
        const char *got = read_as(run, json, true);
        if (run->counts.accepted != (uint64_t)events[i]) fail_msg("%s: %s", names[i], got);
        assert_int_equal(segment_refused_total(&run->counts), 0);
        assert_int_equal(run->counts.repaired, 0);
        assert_null(strstr(got, "_metadata"));
        if (i == 0) {
            assert_non_null(
                strstr(got, "track 'Order Completed' u=u_1 a=anon-1 2026-11-01T00:00:04.266Z |"
                            " order_id=\"o1\" revenue=12.5 currency=\"CAD\" products=[{product_id="
                            "\"p1\" price=12.5 quantity=1}] @campaign.name=\"spring\""
                            " @library.name=\"@segment/analytics-node\""));
            assert_non_null(strstr(got, "alias u=u_1 r=anon-1 "));
            assert_non_null(strstr(got, "screen 'Cart' a=anon-2 "));
            assert_true(str_is(run->envelope.write_key, "test_write_key"));
        }
        if (i == 1) /* context.traits repeats the traits */
            assert_non_null(strstr(got, "| email=\"ada@example.test\" @library.name"));
    }
    buf_release(&text);
}

/* ---- the kernels of this CPU ---- */

/* Random documents, many of them broken. */
static void add_random_json(struct rand *r, struct buf *out, int depth) {
    static const char *const scalars[] = {"1",
                                          "-2.5e3",
                                          "true",
                                          "null",
                                          "\"x\"",
                                          "\"\\u00e9\\n\"",
                                          "\"\"",
                                          "\"日本\"",
                                          "{}",
                                          "[1,2]",
                                          "99999999999999999999"};
    uint32_t kind = rand_below(r, depth > 5 ? 6 : 10);
    if (kind < 6) {
        buf_add_text(out, scalars[rand_below(r, sizeof scalars / sizeof *scalars)]);
        return;
    }
    bool object = kind < 9;
    buf_add_char(out, object ? '{' : '[');
    for (uint32_t i = 0, n = rand_below(r, 5); i < n; i++) {
        if (i) buf_add_text(out, rand_below(r, 4) ? "," : " , ");
        if (object) buf_printf(out, "\"k%u\":", rand_below(r, 20));
        add_random_json(r, out, depth + 1);
    }
    buf_add_char(out, object ? '}' : ']');
}

static void add_random_line(struct rand *r, struct buf *out) {
    size_t start = out->n;
    buf_printf(out,
               "{\"type\":\"%s\",\"event\":\"E%u\",\"userId\":\"u%u\",\"timestamp\":\"2025-01-%02uT"
               "10:00:00.%03uZ\",\"name\":\"n\",\"groupId\":\"g\",\"previousId\":\"p\",",
               EVENT_TYPE_NAMES[rand_below(r, 6)], rand_below(r, 9), rand_below(r, 999),
               1 + rand_below(r, 28), rand_below(r, 1000));
    static const char *const keys[] = {"properties", "traits", "context"};
    for (int i = 0; i < 3; i++) {
        buf_printf(out, "\"%s\":", keys[i]);
        add_random_json(r, out, 0);
        buf_add_char(out, i < 2 ? ',' : '}');
    }
    if (rand_below(r, 8) == 0) /* break it */
        for (uint32_t i = 0; i < 3; i++) {
            uint8_t *byte = &out->p[start + rand_below(r, (uint32_t)(out->n - start))];
            *byte = (uint8_t)rand_u64(r);
            if (*byte == '\n') *byte = 'n';
        }
    buf_add_char(out, '\n');
}

/* Cuts the words behind "refused N:": which fault of several is found first depends on the kernel
 * that is there for processors without vector instructions. */
static void cut_details(char *text) {
    char *to = text;
    while (*text) {
        size_t n = strcspn(text, "\n") + 1, kept = n;
        if (strncmp(text, "refused ", 8) == 0) kept = strcspn(text, ":");
        memmove(to, text, kept);
        to += kept;
        text += n;
    }
    *to = 0;
}

/* Shows the first line that is not the same. */
static void fail_different(const char *kernel, const char *got, const char *wanted) {
    size_t same = 0, line = 0;
    for (; got[same] && got[same] == wanted[same]; same++)
        if (got[same] == '\n') line = same + 1;
    fail_msg("%s gave:\n%.*s\nand %s:\n%.*s", kernel, (int)strcspn(got + line, "\n"), got + line,
             json_tokens_kernel(0), (int)strcspn(wanted + line, "\n"), wanted + line);
}

static void test_kernels(void **state) {
    (void)state;
    struct rand r;
    struct buf lines, first; /* input; the output of the best kernel */
    const char *seed_text = getenv("KEEL_SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    print_message("seed %llu (repeat with KEEL_SEED)\n", (unsigned long long)seed);
    rand_init(&r, seed);
    buf_init(&lines, 64 << 20);
    buf_init(&first, 64 << 20);
    for (int round = 0; round < 60; round++) {
        buf_clear(&lines);
        buf_clear(&first);
        /* Some blocks are clean: their tokens are found in one go, those of the others by line. */
        for (uint32_t i = 0, n = 1 + rand_below(&r, round % 2 ? 4 : 200); i < n; i++)
            add_random_line(&r, &lines);
        for (size_t k = 0; json_tokens_kernel(k); k++) {
            struct run run;
            run_init(&run, json_tokens_kernel(k));
            assert_string_equal(segment_reader_isa(run.reader), json_tokens_kernel(k));
            (void)read_as(&run, buf_str(&lines), false);
            char *got = (char *)run.out.p;
            if (strcmp(json_tokens_kernel(k), "fallback") == 0) {
                cut_details(got);
                cut_details((char *)first.p);
            }
            if (k == 0) buf_add(&first, got, strlen(got) + 1);
            if (strcmp(got, (const char *)first.p) != 0)
                fail_different(json_tokens_kernel(k), got, (const char *)first.p);
            run_release(&run);
        }
        /* Line by line, nothing is different. */
        struct run run;
        struct str left = buf_str(&lines);
        run_init(&run, NULL);
        uint64_t accepted = 0, refused = 0;
        while (left.n) {
            const char *end = memchr(left.p, '\n', left.n);
            struct str line = {left.p, (size_t)(end + 1 - left.p)};
            read_as(&run, line, false);
            accepted += run.counts.accepted;
            refused += segment_refused_total(&run.counts);
            left = (struct str){end + 1, left.n - line.n};
        }
        read_as(&run, buf_str(&lines), false);
        assert_int_equal(run.counts.accepted, accepted);
        assert_int_equal(segment_refused_total(&run.counts), refused);
        run_release(&run);
    }
    assert_null(segment_reader_new("none such"));
    buf_release(&lines);
    buf_release(&first);
}

/* ---- files ---- */

struct collected {
    struct buf text;
    uint64_t events, batches, refused, last_line, progress;
    int stop_after; /* batches; -1: never */
};

static int collect_batch(void *ctx, struct str batch, uint32_t events) {
    struct collected *c = ctx;
    print_batch(&c->text, batch, NULL);
    c->events += events;
    c->batches++;
    return c->stop_after >= 0 && c->batches > (uint64_t)c->stop_after ? -KEEL_E_IO : 0;
}

static void collect_refusal(void *ctx, const struct segment_refusal *r) {
    struct collected *c = ctx;
    c->refused++;
    c->last_line = r->line;
}

static int note_progress(void *ctx, const struct input *in) {
    (void)in;
    ((struct collected *)ctx)->progress++;
    return 0;
}

static int read_file(const char *path, struct collected *c, struct segment_file_counts *counts,
                     size_t batch_bytes, struct keel_error *err) {
    struct input *in;
    struct segment_file file = {.options = {.type = SEGMENT_ANY_TYPE, .now_ms = moment(RUN_NOW)},
                                .batch_bytes = batch_bytes,
                                .take_batch = collect_batch,
                                .refused = collect_refusal,
                                .progress = note_progress,
                                .ctx = c};
    *c = (struct collected){.stop_after = c->stop_after};
    buf_init(&c->text, 64 << 20);
    assert_int_equal(input_open(path, &in, NULL), 0);
    int code = segment_read_file(in, &file, counts, err);
    input_close(in);
    return code;
}

static void test_files(void **state) {
    (void)state;
    char folder[] = "/tmp/keel-segment-XXXXXX", path[64];
    struct buf lines;
    struct collected c = {.stop_after = -1};
    struct segment_file_counts counts;
    struct keel_error err;
    int fd;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/events.ndjson", folder);
    buf_init(&lines, 64 << 20);
    for (int i = 1; i <= 20000; i++) {
        if (i % 1000 == 500)
            buf_add_text(&lines, "broken\n");
        else if (i == 7777) { /* longer than a line may be */
            buf_add_text(&lines, "{\"a\":\"");
            for (int k = 0; k < 1100000; k++) buf_add_char(&lines, 'x');
            buf_add_text(&lines, "\"}\n");
        } else {
            buf_printf(&lines, TRACK "\"properties\":{\"line\":%d}}%s", i, i < 20000 ? "\n" : "");
        }
    }
    assert_int_equal(file_open(path, FILE_WRITE | FILE_CREATE, &fd, NULL), 0);
    assert_int_equal(file_write_all(fd, lines.p, lines.n, path, NULL), 0);
    file_close(fd);
    static const size_t sizes[] = {0, 1, 300000};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_file(path, &c, &counts, sizes[i], &err), 0);
        assert_int_equal(counts.lines, 20000);
        assert_int_equal(counts.events.accepted, 19979);
        assert_int_equal(c.events, 19979);
        assert_int_equal(counts.batches, c.batches);
        assert_int_equal(counts.events.refused[SEGMENT_NOT_OBJECT], 20);
        assert_int_equal(counts.events.refused[SEGMENT_LONG_LINE], 1);
        assert_int_equal(c.refused, 21);
        assert_int_equal(c.last_line, 19500);
        assert_true(c.progress >= c.batches - 1);
        if (i) assert_true(c.batches > 2);
        if (i == 0) hash = hash_str(buf_str(&c.text));
        assert_true(hash == hash_str(buf_str(&c.text)));
        buf_release(&c.text);
    }
    c.stop_after = 1; /* the sink's error ends it at once */
    assert_int_equal(read_file(path, &c, &counts, 1, &err), -KEEL_E_IO);
    assert_int_equal(c.batches, 2);
    buf_release(&c.text);
    file_remove(path, NULL) < 0 ? abort() : (void)0;
    rmdir(folder);
    buf_release(&lines);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, run_set_up, run_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_broken_lines),        TEST(test_broken_batches),    TEST(test_captures),
        cmocka_unit_test(test_kernels), cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests_name("segment_input", tests, NULL, NULL);
}
