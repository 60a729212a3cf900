/* Implementation of input.h.
 *
 * Two buffers. `raw` holds bytes as they are in the file (RAW_BYTES); `text` holds what they mean
 * (BLOCK_BYTES + one line). Plain files are read straight into `text`. When no whole line is left
 * in `text`, what remains moves to its front and the decoder fills the rest. */
#include "base/input.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/os.h"

enum { RAW_BYTES = 256 << 10, BLOCK_BYTES = 1 << 20 };

enum coding { PLAIN, GZIP, ZSTD };

struct input {
    char *name;
    int fd;
    uint64_t total_bytes, raw_bytes, text_bytes, line;
    uint8_t *raw;
    size_t raw_at, raw_n;
    bool raw_end;
    enum coding coding;
    bool open_frame; /* in the middle of a gzip member or zstd frame */
    bool gz_ready;   /* inflateInit succeeded                        */
    z_stream gz;
    ZSTD_DStream *zst;
    struct keel_error fault; /* met behind the text at hand */
    char *text;
    size_t at, n, cap, max_line;
    bool end;      /* the decoder has given everything        */
    bool skipping; /* the rest of a long line comes first     */
};

/* ---- bytes of the file ---- */

static int read_some(struct input *in, void *to, size_t n, size_t *got, struct keel_error *err) {
    ssize_t done;
    do done = os_table()->read(in->fd, to, n);
    while (done < 0 && errno == EINTR);
    if (done < 0) return error_errno(err, errno, "cannot read %s", in->name);
    *got = (size_t)done;
    in->raw_bytes += (uint64_t)done;
    in->raw_end = done == 0;
    return 0;
}

/* At least `want` bytes in raw, or the file's end. */
static int fill_raw(struct input *in, size_t want, struct keel_error *err) {
    if (in->raw_at == in->raw_n) in->raw_at = in->raw_n = 0;
    while (in->raw_n - in->raw_at < want && !in->raw_end) {
        size_t got = 0;
        TRY(read_some(in, in->raw + in->raw_n, RAW_BYTES - in->raw_n, &got, err));
        in->raw_n += got;
    }
    return 0;
}

static unsigned long long raw_offset(const struct input *in) {
    return in->raw_bytes - (in->raw_n - in->raw_at);
}

/* ---- decoders: at least one byte into `to`, or in->end ---- */

static int pull_plain(struct input *in, void *to, size_t room, size_t *got,
                      struct keel_error *err) {
    size_t left = in->raw_n - in->raw_at;
    if (left) { /* what was read to look at the first bytes */
        *got = left < room ? left : room;
        memcpy(to, in->raw + in->raw_at, *got);
        in->raw_at += *got;
        return 0;
    }
    if (!in->raw_end) TRY(read_some(in, to, room, got, err));
    in->end = in->raw_end;
    return 0;
}

/* Between members: 1 another one starts, 0 the file ends here. Zeros at the end are padding, as
 * gzip(1) has it. */
static int next_member(struct input *in, struct keel_error *err) {
    TRY(fill_raw(in, 2, err));
    const uint8_t *p = in->raw + in->raw_at;
    size_t n = in->raw_n - in->raw_at;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
        in->open_frame = true;
        inflateReset(&in->gz);
        return 1;
    }
    for (; n || !in->raw_end; n = in->raw_n - in->raw_at) {
        for (; in->raw_at < in->raw_n; in->raw_at++)
            if (in->raw[in->raw_at])
                FAIL(err, CORRUPT, "%s: neither gzip data nor its end at byte %llu", in->name,
                     raw_offset(in));
        TRY(fill_raw(in, 1, err));
    }
    in->end = true;
    return 0;
}

static int pull_gzip(struct input *in, void *to, size_t room, size_t *got, struct keel_error *err) {
    while (*got == 0 && !in->end) {
        if (!in->open_frame) {
            int more = next_member(in, err);
            if (more <= 0) return more;
        }
        TRY(fill_raw(in, 1, err));
        in->gz.next_in = in->raw + in->raw_at;
        in->gz.avail_in = (uInt)(in->raw_n - in->raw_at);
        in->gz.next_out = to;
        in->gz.avail_out = (uInt)room;
        int code = inflate(&in->gz, Z_NO_FLUSH);
        in->raw_at = in->raw_n - in->gz.avail_in;
        *got = room - in->gz.avail_out;
        if (code == Z_STREAM_END)
            in->open_frame = false;
        else if (code == Z_MEM_ERROR)
            FAIL(err, NO_MEMORY, "no memory to unpack %s", in->name);
        else if (code != Z_OK && code != Z_BUF_ERROR)
            FAIL(err, CORRUPT, "%s: damaged gzip data before byte %llu (%s)", in->name,
                 raw_offset(in), in->gz.msg ? in->gz.msg : "inflate");
        else if (*got == 0 && in->raw_end && in->raw_at == in->raw_n)
            FAIL(err, CORRUPT, "%s is truncated: its gzip data stops at byte %llu", in->name,
                 raw_offset(in));
    }
    return 0;
}

static int pull_zstd(struct input *in, void *to, size_t room, size_t *got, struct keel_error *err) {
    while (*got == 0) {
        TRY(fill_raw(in, 1, err));
        bool at_end = in->raw_end && in->raw_at == in->raw_n;
        if (at_end && !in->open_frame) {
            in->end = true;
            return 0;
        }
        ZSTD_inBuffer from = {in->raw, in->raw_n, in->raw_at};
        ZSTD_outBuffer out = {to, room, 0};
        size_t hint = ZSTD_decompressStream(in->zst, &out, &from);
        in->raw_at = from.pos;
        *got = out.pos;
        if (ZSTD_isError(hint))
            FAIL(err, CORRUPT, "%s: damaged zstd data before byte %llu (%s)", in->name,
                 raw_offset(in), ZSTD_getErrorName(hint));
        in->open_frame = hint != 0;
        if (at_end && *got == 0 && in->open_frame)
            FAIL(err, CORRUPT, "%s is truncated: its zstd data stops at byte %llu", in->name,
                 raw_offset(in));
    }
    return 0;
}

static int start_decoder(struct input *in, struct keel_error *err) {
    TRY(fill_raw(in, 4, err));
    const uint8_t *p = in->raw;
    size_t n = in->raw_n;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
        in->coding = GZIP;
        in->gz_ready = inflateInit2(&in->gz, 16 + MAX_WBITS) == Z_OK;
        if (!in->gz_ready) FAIL(err, NO_MEMORY, "no memory to unpack %s", in->name);
    } else if (n >= 4 && (memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0 ||
                          ((p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0))) {
        in->coding = ZSTD; /* the second form is a frame to be skipped, as pzstd writes first */
        in->zst = ZSTD_createDStream();
        if (!in->zst) FAIL(err, NO_MEMORY, "no memory to unpack %s", in->name);
    }
    return 0;
}

static int pull(struct input *in, void *to, size_t room, size_t *got, struct keel_error *err) {
    switch (in->coding) {
    case GZIP: return pull_gzip(in, to, room, got, err);
    case ZSTD: return pull_zstd(in, to, room, got, err);
    default: return pull_plain(in, to, room, got, err);
    }
}

/* Fills text behind n, as far as there is room; in->end when nothing is left. A fault behind some
 * text is told when that has been read. */
static int fill_text(struct input *in, struct keel_error *err) {
    memmove(in->text, in->text + in->at, in->n - in->at);
    in->n -= in->at;
    in->at = 0;
    if (in->fault.code) {
        if (err) *err = in->fault;
        return in->fault.code;
    }
    while (in->n < in->cap && !in->end) {
        size_t got = 0, room = in->cap - in->n;
        int code = pull(in, in->text + in->n, room, &got, &in->fault);
        if (code < 0 && in->n) break;
        if (code < 0) {
            if (err) *err = in->fault;
            return code;
        }
        in->n += got;
        in->text_bytes += got;
        /* A terminal or pipe gives what it has: do not wait for a full buffer. */
        if (got && in->total_bytes == 0) break;
    }
    memset(in->text + in->n, 0, INPUT_PADDING); /* a SIMD reader may look at it */
    return 0;
}

/* ---- opening ---- */

static int skip_byte_order_mark(struct input *in, struct keel_error *err) {
    while (in->n < 3 && !in->end) TRY(fill_text(in, err));
    const char *p = in->text;
    if (in->n >= 2 && (memcmp(p, "\xff\xfe", 2) == 0 || memcmp(p, "\xfe\xff", 2) == 0))
        FAIL(err, UNSUPPORTED, "%s is UTF-16; convert it to UTF-8", in->name);
    if (in->n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) in->at = 3;
    return 0;
}

/* Room for a block and one line with its end. Never shrinks: it may be full already. */
static void allocate_text(struct input *in) {
    size_t cap = BLOCK_BYTES + in->max_line + 2;
    if (cap <= in->cap) return;
    in->cap = cap;
    in->text = k_realloc(in->text, cap + 1 + INPUT_PADDING); /* 1: find_line adds a last "\n" */
}

static int open_input(struct input *in, const char *path, struct keel_error *err) {
    struct stat st;
    if (strcmp(path, "-") == 0)
        in->fd = STDIN_FILENO;
    else
        TRY(file_open(path, FILE_READ, &in->fd, err));
    if (os_table()->fstat(in->fd, &st) == 0) {
        if (S_ISDIR(st.st_mode)) FAIL(err, INVALID, "%s is a folder, not a file", in->name);
        if (S_ISREG(st.st_mode)) in->total_bytes = (uint64_t)st.st_size;
    }
    TRY(start_decoder(in, err));
    return skip_byte_order_mark(in, err);
}

int input_open(const char *path, struct input **out, struct keel_error *err) {
    struct input *in = k_zalloc(sizeof *in);
    in->name = k_strdup(strcmp(path, "-") == 0 ? "standard input" : path);
    in->fd = -1;
    in->raw = k_alloc(RAW_BYTES);
    in->max_line = INPUT_MAX_LINE;
    allocate_text(in);
    int code = open_input(in, path, err);
    if (code < 0) {
        input_close(in);
        return code;
    }
    *out = in;
    return 0;
}

void input_close(struct input *in) {
    if (!in) return;
    if (in->fd != STDIN_FILENO) file_close(in->fd);
    if (in->gz_ready) inflateEnd(&in->gz);
    ZSTD_freeDStream(in->zst);
    k_free(in->name);
    k_free(in->raw);
    k_free(in->text);
    k_free(in);
}

void input_set_max_line(struct input *in, size_t max_bytes) {
    in->max_line = max_bytes;
    allocate_text(in);
}

const char *input_name(const struct input *in) { return in->name; }
uint64_t input_line(const struct input *in) { return in->line; }

struct input_progress input_progress(const struct input *in) {
    return (struct input_progress){in->raw_bytes - (in->raw_n - in->raw_at), in->total_bytes,
                                   in->text_bytes};
}

/* ---- lines ---- */

/* Drops what is left of a long line. */
static int skip_rest(struct input *in, struct keel_error *err) {
    while (in->skipping) {
        const char *end = memchr(in->text + in->at, '\n', in->n - in->at);
        in->at = end ? (size_t)(end + 1 - in->text) : in->n;
        in->skipping = !end && !in->end;
        if (in->skipping) TRY(fill_text(in, err));
    }
    return 0;
}

/* Makes sure that a whole line stands at `at`: its length with the end in *n. */
static int find_line(struct input *in, size_t *n, struct keel_error *err) {
    TRY(skip_rest(in, err));
    for (size_t seen = 0;;) {
        size_t left = in->n - in->at;
        const char *from = in->text + in->at, *end = memchr(from + seen, '\n', left - seen);
        *n = end ? (size_t)(end + 1 - from) : left;
        if (*n > in->max_line + (end != NULL)) { /* also where its end is not in sight yet */
            *n = in->max_line;
            in->skipping = true;
            return INPUT_LONG_LINE;
        }
        if (end) return INPUT_TEXT;
        if (in->end) {
            if (left == 0) return INPUT_END;
            in->text[in->n++] = '\n';
            *n = left + 1;
            return INPUT_TEXT;
        }
        seen = left;
        TRY(fill_text(in, err));
    }
}

int input_read_line(struct input *in, struct str *out, struct keel_error *err) {
    size_t n;
    int result = find_line(in, &n, err);
    if (result <= 0) return result;
    *out = (struct str){in->text + in->at, n};
    in->at += n;
    in->line++;
    if (result == INPUT_LONG_LINE) return result;
    out->n--;
    if (out->n && out->p[out->n - 1] == '\r') out->n--;
    return result;
}

int input_read_lines(struct input *in, size_t want, struct str *out, struct keel_error *err) {
    size_t n;
    int result = find_line(in, &n, err);
    if (result <= 0) return result;
    const char *from = in->text + in->at;
    size_t left = in->n - in->at;
    if (want > in->max_line) want = in->max_line; /* so that no long line hides in the middle */
    if (result == INPUT_TEXT && n < want) {       /* the whole lines behind the first */
        const char *last = memrchr(from, '\n', want < left ? want : left);
        n = (size_t)(last + 1 - from);
    }
    *out = (struct str){from, n};
    in->at += n;
    return result;
}

int input_fill(struct input *in, struct str *out, struct keel_error *err) {
    while (in->at == in->n && !in->end) TRY(fill_text(in, err));
    *out = (struct str){in->text + in->at, in->n - in->at};
    in->at = in->n;
    return out->n ? INPUT_TEXT : INPUT_END;
}

int input_read_all(const char *path, struct buf *out, struct keel_error *err) {
    struct input *in;
    struct str piece;
    int got;
    TRY(input_open(path, &in, err));
    while ((got = input_fill(in, &piece, err)) == INPUT_TEXT)
        if (buf_add_str(out, piece) < 0) {
            got = error_set(err, KEEL_E_LIMIT, "%s: more than %zu bytes", input_name(in), out->max);
            break;
        }
    input_close(in);
    return got < 0 ? got : 0;
}
