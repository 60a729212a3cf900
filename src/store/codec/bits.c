/* Chunks of bits (presence of a value, yes/no properties): see codec.h.
 *
 * Format:
 *   0 CLEAR, 1 SET   nothing
 *   2 RAW            ceil(n / 8) bytes, lowest bits first
 *   3 RUNS           v runs | integer chunk of run lengths - 1; the runs alternate, clear first if
 *                    the layout byte is 3, set first if it is 4
 * RUNS serves both what is the same for all events of a customer and the rare single bit. zstd over
 * RAW was smaller than both in no column measured.
 *
 * Layers: codec_int.h. Threads: pure functions. Limits: n <= CHUNK_ROWS.
 */
#include "store/codec/codec_int.h"

/* Written to disk: never renumber. */
enum layout { CLEAR = 0, SET = 1, RAW = 2, RUNS_CLEAR_FIRST = 3, RUNS_SET_FIRST = 4 };

enum { WORDS = CHUNK_ROWS / 64 };

static size_t raw_bytes(size_t n) { return (n + 7) / 8; }

/* The bits of the last of n / 64 words that are in use; all of them if the word is full. */
static uint64_t last_mask(size_t n) { return n % 64 ? (UINT64_C(1) << n % 64) - 1 : UINT64_MAX; }

/* Lengths less 1 of the alternating runs; returns their count, or 0 if there are more than most. */
static size_t find_runs(const uint64_t *words, size_t n, int64_t *length, size_t most) {
    size_t runs = 0, start = 0;
    while (start < n) {
        if (runs == most) return 0;
        /* The next bit that differs from the one at start, at or after start. */
        uint64_t invert = words[start / 64] >> start % 64 & 1 ? UINT64_MAX : 0;
        size_t word = start / 64;
        uint64_t differing = (words[word] ^ invert) >> start % 64 << start % 64;
        while (differing == 0 && ++word < WORDS && word * 64 < n) differing = words[word] ^ invert;
        size_t end = differing ? word * 64 + (size_t)__builtin_ctzll(differing) : n;
        if (end > n) end = n;
        length[runs++] = (int64_t)(end - start - 1);
        start = end;
    }
    return runs;
}

int bits_encode(const uint64_t *words, size_t n, struct buf *out) {
    K_ASSERT_OP(n, <=, CHUNK_ROWS);
    const size_t bytes = raw_bytes(n), start = out->n;
    int64_t length[CHUNK_ROWS / 8];
    size_t runs = find_runs(words, n, length, CHUNK_ROWS / 8);
    bool set_first = n > 0 && (words[0] & 1);
    if (n == 0 || runs == 1) return buf_add_u8(out, set_first ? SET : CLEAR);
    if (runs) {
        TRY(buf_add_u8(out, set_first ? RUNS_SET_FIRST : RUNS_CLEAR_FIRST));
        TRY(buf_add_varint(out, runs));
        TRY(ints_encode(length, runs, out));
        if (out->n - start < 1 + bytes) return 0;
        out->n = start;
    }
    uint64_t copy[WORDS];
    memcpy(copy, words, (n + 63) / 64 * 8);
    copy[(n - 1) / 64] &= last_mask(n);
    TRY(buf_add_u8(out, RAW));
    return buf_add(out, copy, bytes);
}

static int decode_runs(struct reader *r, size_t n, bool set, uint64_t *out) {
    uint32_t length[CHUNK_ROWS];
    uint64_t runs = reader_varint(r);
    if (r->bad || runs == 0 || runs > n) return -KEEL_E_CORRUPT;
    struct str rest = {(const char *)r->p, reader_left(r)};
    TRY(ints_decode_u32(rest, (size_t)runs, length));
    size_t at = 0;
    for (size_t k = 0; k < runs; k++, set = !set) {
        if (length[k] >= n - at) return -KEEL_E_CORRUPT;
        size_t end = at + length[k] + 1;
        if (!set) {
            at = end;
            continue;
        }
        for (; at < end; at = (at / 64 + 1) * 64 < end ? (at / 64 + 1) * 64 : end) {
            size_t bits = end - at < 64 - at % 64 ? end - at : 64 - at % 64;
            out[at / 64] |= UINT64_MAX >> (64 - bits) << at % 64;
        }
    }
    return at == n ? 0 : -KEEL_E_CORRUPT;
}

int bits_decode(struct str bytes, size_t n, uint64_t *out) {
    if (n > CHUNK_ROWS || bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    memset(out, layout == SET ? 0xff : 0, (n + 63) / 64 * 8);
    int code = reader_left(&r) ? -KEEL_E_CORRUPT : 0;
    switch (layout) {
    case CLEAR:
    case SET: break;
    case RAW: {
        const uint8_t *raw = reader_take(&r, raw_bytes(n));
        code = raw && reader_left(&r) == 0 ? 0 : -KEEL_E_CORRUPT;
        if (raw) memcpy(out, raw, raw_bytes(n));
        break;
    }
    case RUNS_CLEAR_FIRST:
    case RUNS_SET_FIRST: code = decode_runs(&r, n, layout == RUNS_SET_FIRST, out); break;
    default: code = -KEEL_E_CORRUPT;
    }
    if (n > 0) out[(n - 1) / 64] &= last_mask(n);
    return code;
}
