/* Texts, and the dictionaries of columns: see codec.h.
 *
 * Format: u8 layout | per 1,024 texts: v bytes of chunk | integer chunk of lengths | the bytes
 *   0 RAW   one text after the other
 *   1 ZSTD  zstd frame of them
 *
 * Layers: codec_int.h. Threads: pure functions. Limits: n <= 1 << 24, one text < 4 GiB; the caller
 * bounds the sum by the maximum of bytes_out.
 */
#include "store/codec/codec_int.h"

/* Written to disk: never renumber. */
enum layout { RAW = 0, ZSTD = 1 };

enum { TEXTS_MAX = 1 << 24 };

static size_t chunk_values(size_t n, size_t from) {
    return n - from < CHUNK_ROWS ? n - from : CHUNK_ROWS;
}

static int put_lengths(const struct str *v, size_t n, struct buf *out, size_t *out_total) {
    int64_t length[CHUNK_ROWS];
    uint8_t bytes[2];
    size_t total = 0;
    for (size_t from = 0; from < n; from += CHUNK_ROWS) {
        size_t in_chunk = chunk_values(n, from);
        for (size_t i = 0; i < in_chunk; i++) {
            if (v[from + i].n > UINT32_MAX) return -KEEL_E_LIMIT;
            length[i] = (int64_t)v[from + i].n;
            total += v[from + i].n;
        }
        /* The size goes in front, as a varint of always two bytes. */
        _Static_assert(INTS_MAX_BYTES < 1 << 14, "the size of a chunk fits two bytes");
        const size_t at = out->n;
        TRY(buf_add_zero(out, sizeof bytes));
        TRY(ints_encode(length, in_chunk, out));
        size_t size = out->n - at - sizeof bytes;
        out->p[at] = (uint8_t)(size | 0x80);
        out->p[at + 1] = (uint8_t)(size >> 7);
    }
    *out_total = total;
    return 0;
}

int texts_encode(const struct str *v, size_t n, struct buf *out) {
    if (n > TEXTS_MAX) return -KEEL_E_LIMIT;
    const size_t start = out->n;
    size_t total = 0;
    TRY(buf_add_u8(out, RAW));
    TRY(put_lengths(v, n, out, &total));
    const size_t at = out->n;
    TRY(buf_reserve(out, total));
    for (size_t i = 0; i < n; i++) TRY(buf_add(out, v[i].p, v[i].n));
    if (total < SQUEEZE_LEAST_BYTES) return 0;

    size_t room = total - total / SQUEEZE_LEAST_GAIN;
    uint8_t *frame = k_try_alloc(room);
    if (!frame) return -KEEL_E_NO_MEMORY;
    size_t squeezed = squeeze(out->p + at, total, frame, room);
    if (squeezed) {
        memcpy(out->p + at, frame, squeezed);
        out->n = at + squeezed;
        out->p[start] = ZSTD;
    }
    k_free(frame);
    return 0;
}

/* Fills in out[].n and returns the sum of them, or an error. */
static int read_lengths(struct reader *r, size_t n, struct str *out, uint64_t *out_total) {
    uint32_t length[CHUNK_ROWS];
    uint64_t total = 0;
    for (size_t from = 0; from < n; from += CHUNK_ROWS) {
        size_t in_chunk = chunk_values(n, from);
        TRY(ints_decode_u32(reader_str(r), in_chunk, length));
        for (size_t i = 0; i < in_chunk; i++) {
            out[from + i].n = length[i];
            total += length[i];
        }
    }
    *out_total = total;
    return r->bad ? -KEEL_E_CORRUPT : 0;
}

int texts_decode(struct str bytes, size_t n, struct buf *bytes_out, struct str *out) {
    if (n > TEXTS_MAX || bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    uint64_t total;
    if (layout > ZSTD) return -KEEL_E_CORRUPT;
    TRY(read_lengths(&r, n, out, &total));
    if (layout == RAW && total != reader_left(&r)) return -KEEL_E_CORRUPT;
    buf_clear(bytes_out);
    TRY(buf_reserve(bytes_out, total ? total : 1)); /* so that empty texts have an address, too */
    if (layout == RAW && total > 0)
        memcpy(bytes_out->p, r.p, total);
    else if (layout == ZSTD)
        TRY(unsqueeze((struct str){(const char *)r.p, reader_left(&r)}, total, bytes_out->p));
    bytes_out->n = total;
    const char *at = (const char *)bytes_out->p;
    for (size_t i = 0; i < n; i++) {
        out[i].p = at;
        at += out[i].n;
    }
    return 0;
}
