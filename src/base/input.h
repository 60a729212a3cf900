/* Streaming input: a file or standard input, plain, gzip or zstd, in lines or blocks.
 *
 * Compression is recognised by the first bytes, never by the name; several gzip members or zstd
 * frames behind one another are one text. A UTF-8 byte order mark in front is dropped. Damaged or
 * truncated input is an error that names the file and the offset in it.
 *
 * What a call gives is a slice of one large buffer: valid until the next call on the same input,
 * with INPUT_PADDING readable bytes behind it (for SIMD readers).
 *
 * Layers: uses os.h, error.h; zlib, libzstd. Threads: one owner. Limits: a line of INPUT_MAX_LINE
 * bytes unless set otherwise; memory about 1.25 MiB plus one line; zstd windows up to 128 MiB.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { INPUT_PADDING = 64, INPUT_MAX_LINE = 1 << 20 };

struct buf;
struct input;

/* Results of reading; negative: error. */
enum input_result {
    INPUT_END = 0,
    INPUT_TEXT = 1,
    INPUT_LONG_LINE = 2, /* the beginning of one line that is longer than the maximum; the rest of
                            it is skipped */
};

/* path "-" is standard input. Opens, reads the first bytes. Caller closes. */
int input_open(const char *path, struct input **out, struct keel_error *err) K_CHECKED;
void input_close(struct input *in); /* NULL is fine */

/* Longest line in bytes, without its end. Before the first read. */
void input_set_max_line(struct input *in, size_t max_bytes);

/* The next line without its "\n" or "\r\n". */
int input_read_line(struct input *in, struct str *out, struct keel_error *err) K_CHECKED;

/* The next whole lines, as many as fit `want` bytes (at most the longest line) but one at least,
 * each with its "\n" (one is put behind the last line of the file if it has none). A long line
 * comes alone, without. */
int input_read_lines(struct input *in, size_t want, struct str *out,
                     struct keel_error *err) K_CHECKED;

/* The next bytes, whatever is at hand (at least one). */
int input_fill(struct input *in, struct str *out, struct keel_error *err) K_CHECKED;

/* The whole of a file, added to a buffer; KEEL_E_LIMIT, and a sentence, beyond the buffer's
 * maximum. */
int input_read_all(const char *path, struct buf *out, struct keel_error *err) K_CHECKED;

const char *input_name(const struct input *in); /* the path, or "standard input" */
uint64_t input_line(const struct input *in); /* number of the line that input_read_line gave last */

/* For progress: bytes taken from the file, its size (0: unknown, a pipe), bytes of text given. */
struct input_progress {
    uint64_t read_bytes, total_bytes, text_bytes;
};
struct input_progress input_progress(const struct input *in);
