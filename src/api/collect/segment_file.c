/* Implementation of segment_file.h. Lines come in blocks of BLOCK_BYTES: large enough that finding
 * tokens is fast, small enough that block and tokens stay in the second-level cache. */
#include "api/collect/segment_file.h"

enum { BLOCK_BYTES = 128 << 10, MAX_BATCH_BYTES = 8 << 20 };

struct reading {
    struct input *in;
    const struct segment_file *file;
    struct segment_file_counts *counts;
    struct segment_reader *reader;
    struct batch_writer writer;
    struct buf batch;
    bool input_failed;
};

static int hand_on(struct reading *r, struct keel_error *err) {
    uint32_t events = r->writer.event_count;
    buf_clear(&r->batch);
    TRY(batch_finish(&r->writer, &r->batch, err));
    if (events == 0) return 0;
    r->counts->batches++;
    int code = r->file->take_batch(r->file->ctx, buf_str(&r->batch), events);
    return code < 0 ? code : 0;
}

static void refuse_long_line(struct reading *r, struct str start) {
    struct segment_refusal refusal = {.reason = SEGMENT_LONG_LINE,
                                      .detail = segment_reason_text(SEGMENT_LONG_LINE),
                                      .line = ++r->counts->lines,
                                      .text = start};
    r->counts->events.refused[SEGMENT_LONG_LINE]++;
    if (r->file->refused) r->file->refused(r->file->ctx, &refusal);
}

static int read_blocks(struct reading *r, struct keel_error *err) {
    size_t full = r->file->batch_bytes ? r->file->batch_bytes : SEGMENT_FILE_BATCH_BYTES;
    if (full > MAX_BATCH_BYTES) full = MAX_BATCH_BYTES;
    const struct segment_sink sink = {.writer = &r->writer,
                                      .counts = &r->counts->events,
                                      .refused = r->file->refused,
                                      .ctx = r->file->ctx};
    for (;;) {
        struct str lines;
        int result = input_read_lines(r->in, BLOCK_BYTES, &lines, err);
        if (result == INPUT_END) return 0;
        r->input_failed = result < 0;
        if (result < 0) return result;
        if (result == INPUT_LONG_LINE)
            refuse_long_line(r, lines);
        else
            r->counts->lines += segment_read_lines(r->reader, lines, r->counts->lines + 1,
                                                   &r->file->options, &sink);
        if (batch_bytes(&r->writer) >= full || batch_full(&r->writer, EVENT_MAX_BYTES))
            TRY(hand_on(r, err));
        if (r->file->progress) TRY(r->file->progress(r->file->ctx, r->in));
    }
}

int segment_read_file(struct input *in, const struct segment_file *file,
                      struct segment_file_counts *counts, struct keel_error *err) {
    struct reading r = {.in = in, .file = file, .counts = counts};
    *counts = (struct segment_file_counts){0};
    r.reader = segment_reader_new(/* isa= */ NULL);
    if (!r.reader) FAIL(err, NO_MEMORY, "no memory to read %s", input_name(in));
    batch_writer_init(&r.writer);
    buf_init(&r.batch, BATCH_MAX_BYTES + 64);
    int code = read_blocks(&r, err);
    /* What came before the file broke off is as good as if it had ended there. But when the caller
     * stopped the reading, it wants nothing more. */
    if (code == 0)
        code = hand_on(&r, err);
    else if (r.input_failed)
        (void)hand_on(&r, NULL);
    batch_writer_release(&r.writer);
    buf_release(&r.batch);
    segment_reader_free(r.reader);
    return code;
}
