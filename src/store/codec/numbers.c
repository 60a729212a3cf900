/* Chunks of doubles: see codec.h.
 *
 * Format:
 *   0 RAW      8 bytes a value, little-endian IEEE 754
 *   1 DECIMAL  u8 scale (0..6) | integer chunk of m; the value is (double)m / 10^scale
 *   2 ZSTD     zstd frame of the values' bytes transposed: all first bytes, all second bytes, …
 *
 * DECIMAL is exact, not nearly so: the encoder takes it only if the division gives back each value
 * bit for bit. Both m (<= 2^53) and 10^6 are exact doubles, so the quotient is the double nearest
 * to the decimal, which is what a parser made of its text. It divides rather than multiplying by
 * 10^-scale, because that constant is not exact.
 *
 * Layers: codec_int.h. Threads: pure functions. Limits: n <= CHUNK_ROWS.
 */
#include <math.h>

#include "store/codec/codec_int.h"
#include "store/codec/unpack.h"

_Static_assert(sizeof(double) == 8, "doubles are written as they are in memory");

/* Written to disk: never renumber. */
enum layout { RAW = 0, DECIMAL = 1, ZSTD = 2 };

enum { SCALE_MAX = 6 };

static const double POWER[SCALE_MAX + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
static const double EXACT_MAX = 0x1p53;

/* True and m[] if all values are whole numbers at this scale. */
static bool at_scale(const double *v, size_t n, double power, int64_t *m) {
    for (size_t i = 0; i < n; i++) {
        double scaled = v[i] * power;
        if (!(fabs(scaled) <= EXACT_MAX)) return false; /* NaN and infinities too */
        double whole = nearbyint(scaled), back = whole / power;
        m[i] = (int64_t)whole;
        uint64_t back_bits, bits; /* -0 and NaN are to be told apart */
        memcpy(&back_bits, &back, sizeof back_bits);
        memcpy(&bits, &v[i], sizeof bits);
        if (back_bits != bits) return false;
        if (whole == 0 && signbit(whole)) return false; /* an integer has no -0 */
    }
    return true;
}

static size_t put_transposed(const double *v, size_t n, uint8_t *out, size_t room) {
    uint8_t plane[CHUNK_ROWS * 8];
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        for (size_t byte = 0; byte < 8; byte++) plane[byte * n + i] = (uint8_t)(bits >> 8 * byte);
    }
    return squeeze(plane, n * 8, out, room);
}

int numbers_encode(const double *v, size_t n, struct buf *out) {
    K_ASSERT_OP(n, <=, CHUNK_ROWS);
    int64_t m[CHUNK_ROWS];
    for (unsigned scale = 0; scale <= SCALE_MAX; scale++) {
        if (!at_scale(v, n, POWER[scale], m)) continue;
        TRY(buf_add_u8(out, DECIMAL));
        TRY(buf_add_u8(out, (uint8_t)scale));
        return ints_encode(m, n, out);
    }
    TRY(buf_reserve(out, 1 + n * 8));
    uint8_t *to = out->p + out->n;
    size_t bytes = put_transposed(v, n, to + 1, n * 8 - n * 8 / SQUEEZE_LEAST_GAIN);
    *to = ZSTD;
    if (bytes == 0) {
        *to = RAW;
        bytes = n * 8;
        memcpy(to + 1, v, bytes);
    }
    out->n += 1 + bytes;
    return 0;
}

static int decode_decimal(struct reader *r, size_t n, double *out) {
    int64_t m[CHUNK_ROWS];
    unsigned scale = reader_u8(r);
    if (r->bad || scale > SCALE_MAX) return -KEEL_E_CORRUPT;
    TRY(ints_decode((struct str){(const char *)r->p, reader_left(r)}, n, m));
    divide(m, n, POWER[scale], out);
    return 0;
}

static int decode_transposed(struct reader *r, size_t n, double *out) {
    uint8_t plane[CHUNK_ROWS * 8];
    TRY(unsqueeze((struct str){(const char *)r->p, reader_left(r)}, n * 8, plane));
    for (size_t i = 0; i < n; i++) {
        uint64_t bits = 0;
        for (size_t byte = 0; byte < 8; byte++) bits |= (uint64_t)plane[byte * n + i] << 8 * byte;
        memcpy(&out[i], &bits, sizeof bits);
    }
    return 0;
}

int numbers_decode(struct str bytes, size_t n, double *out) {
    if (n > CHUNK_ROWS || bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    switch (layout) {
    case RAW:
        if (reader_left(&r) != n * 8) return -KEEL_E_CORRUPT;
        if (n > 0) memcpy(out, r.p, n * 8);
        return 0;
    case DECIMAL: return decode_decimal(&r, n, out);
    case ZSTD: return decode_transposed(&r, n, out);
    default: return -KEEL_E_CORRUPT;
    }
}

int numbers_pick(struct str bytes, size_t n, const uint16_t *at, size_t count, double *out) {
    if (n > CHUNK_ROWS || count > n || bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    if (reader_u8(&r) != DECIMAL) {
        double all[CHUNK_ROWS];
        TRY(numbers_decode(bytes, n, all));
        for (size_t k = 0; k < count; k++) out[k] = all[at[k]];
        return 0;
    }
    int64_t m[CHUNK_ROWS];
    unsigned scale = reader_u8(&r);
    if (r.bad || scale > SCALE_MAX) return -KEEL_E_CORRUPT;
    TRY(ints_pick((struct str){(const char *)r.p, reader_left(&r)}, n, at, count, m));
    for (size_t k = 0; k < count; k++) out[k] = (double)m[k] / POWER[scale];
    return 0;
}
