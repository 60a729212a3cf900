/* Any bytes as lines of Segment events and as one body. Whatever is accepted must read back as a
 * sound batch, the same by every kernel of this CPU and in blocks as line by line; a body leaves
 * either all of its sound items or nothing. */
#include "api/collect/json_tokens.h"
#include "api/collect/segment.h"

enum { KERNELS_MAX = 8 };

static struct segment_reader *readers[KERNELS_MAX];

static void open_readers(void) {
    for (size_t k = 0; k < KERNELS_MAX && json_tokens_kernel(k); k++)
        readers[k] = segment_reader_new(json_tokens_kernel(k));
}

/* Reads the whole batch; damage in what we have written ourselves is a bug. */
static void check_batch(struct str batch, uint32_t events) {
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    struct field_view field;
    uint32_t read = 0;
    arena_init(&arena, 64 << 20);
    K_ASSERT(batch_open(&b, batch, &arena, NULL) == 0);
    while (batch_next(&b, &view, NULL) == 1) {
        read++;
        while (field_next(&b, &view, &field)) K_ASSERT(str_is_utf8(field.text));
        K_ASSERT(!view.r.bad);
        K_ASSERT(str_is_utf8(view.head.user_id) && str_is_utf8(view.head.name));
    }
    K_ASSERT_OP(read, ==, events);
    for (uint32_t i = 0; i < b.name_count; i++) K_ASSERT(str_is_utf8(b.names[i]));
    arena_release(&arena);
}

/* What came of the text: the events' bytes and the counts. */
struct result {
    struct buf batch;
    struct segment_counts counts;
};

static void note(void *ctx, const struct segment_refusal *refusal) {
    (void)ctx;
    K_ASSERT(refusal->detail && refusal->column <= refusal->text.n + 1);
}

static struct result run(struct segment_reader *reader, struct str text, bool body, size_t block) {
    static const struct segment_options options = {.type = SEGMENT_ANY_TYPE,
                                                   .now_ms = INT64_C(1750000000000)};
    struct result result = {.counts = {0}};
    struct batch_writer w;
    struct segment_sink sink = {.writer = &w, .counts = &result.counts, .refused = note};
    struct segment_envelope envelope;
    batch_writer_init(&w);
    buf_init(&result.batch, BATCH_MAX_BYTES + 64);
    if (body)
        segment_read_body(reader, (struct str){text.p, text.n - 1}, &options, &sink, &envelope);
    for (uint64_t line = 1; !body && text.n;) {
        size_t n = block && block < text.n ? block : text.n;
        while (n < text.n && text.p[n - 1] != '\n') n++;
        struct str lines = {text.p, n};
        line += segment_read_lines(reader, lines, line, &options, &sink);
        text = (struct str){text.p + n, text.n - n};
    }
    uint32_t events = w.event_count;
    K_ASSERT_OP(events, ==, result.counts.accepted);
    K_ASSERT(batch_finish(&w, &result.batch, NULL) == 0);
    if (events) check_batch(buf_str(&result.batch), events);
    batch_writer_release(&w);
    return result;
}

static void compare(struct result first, struct result other) {
    K_ASSERT(str_eq(buf_str(&first.batch), buf_str(&other.batch)));
    K_ASSERT_OP(segment_refused_total(&first.counts), ==, segment_refused_total(&other.counts));
    buf_release(&other.batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!readers[0]) open_readers();
    /* Exactly the padding that is promised: one byte, a newline. */
    char *text = k_alloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\n';
    struct str input = {text, size + 1};
    struct result lines = run(readers[0], input, false, 0), body = run(readers[0], input, true, 0);
    compare(lines, run(readers[0], input, false, 1));
    compare(lines, run(readers[0], input, false, 100));
    for (size_t k = 1; k < KERNELS_MAX && readers[k]; k++) {
        compare(lines, run(readers[k], input, false, 0));
        struct result other = run(readers[k], input, true, 0);
        K_ASSERT(str_eq(buf_str(&body.batch), buf_str(&other.batch)));
        buf_release(&other.batch);
    }
    buf_release(&lines.batch);
    buf_release(&body.batch);
    k_free(text);
    return 0;
}
