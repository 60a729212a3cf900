/* Fuzzes the decoders of store/codec/codec.h: whatever the bytes are, they end without a crash, and
 * what they accept encodes and decodes again to the same values.
 *
 * Input: u8 which decoder | u16 number of values (little-endian) | the chunk. The corpus holds a
 * chunk of each layout of each decoder.
 */
#include "store/codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { INTS, BITS, NUMBERS, TEXTS, DECODERS };

/* Single values of a chunk that may be damaged: those of a good one. */
static void try_pick(struct str bytes, size_t n, const int64_t *v) {
    static int64_t picked[CHUNK_ROWS];
    uint16_t at[CHUNK_ROWS] = {0};
    size_t count = 0;
    for (size_t i = n % 7; i < n && n <= CHUNK_ROWS; i += 1 + i % 13) at[count++] = (uint16_t)i;
    int code = ints_pick(bytes, n, at, count, picked);
    for (size_t k = 0; v && k < count; k++) K_ASSERT(code == 0 && picked[k] == v[at[k]]);
}

static void try_ints(struct str bytes, size_t n, struct buf *again) {
    static int64_t v[CHUNK_ROWS], back[CHUNK_ROWS];
    static uint32_t narrow[CHUNK_ROWS];
    int narrow_code = ints_decode_u32(bytes, n, narrow);
    if (ints_decode(bytes, n, v) < 0) {
        K_ASSERT(narrow_code < 0);
        try_pick(bytes, n, NULL);
        return;
    }
    try_pick(bytes, n, v);
    for (size_t i = 0; narrow_code == 0 && i < n; i++) K_ASSERT_OP(v[i], ==, narrow[i]);
    K_ASSERT(ints_encode(v, n, again) == 0);
    K_ASSERT(ints_decode(buf_str(again), n, back) == 0);
    K_ASSERT(n == 0 || memcmp(v, back, n * sizeof *v) == 0);
}

static void try_bits(struct str bytes, size_t n, struct buf *again) {
    static uint64_t v[CHUNK_ROWS / 64], back[CHUNK_ROWS / 64];
    if (bits_decode(bytes, n, v) < 0) return;
    K_ASSERT(bits_encode(v, n, again) == 0);
    K_ASSERT(bits_decode(buf_str(again), n, back) == 0);
    K_ASSERT(n == 0 || memcmp(v, back, (n + 63) / 64 * sizeof *v) == 0);
}

static void try_numbers(struct str bytes, size_t n, struct buf *again) {
    static double v[CHUNK_ROWS], back[CHUNK_ROWS];
    if (numbers_decode(bytes, n, v) < 0) return;
    K_ASSERT(numbers_encode(v, n, again) == 0);
    K_ASSERT(numbers_decode(buf_str(again), n, back) == 0);
    K_ASSERT(n == 0 || memcmp(v, back, n * sizeof *v) == 0);
}

static void try_texts(struct str bytes, size_t n, struct buf *again) {
    static struct str v[UINT16_MAX], back[UINT16_MAX];
    struct buf text, text_again;
    buf_init(&text, 1 << 20);
    buf_init(&text_again, 1 << 20);
    if (texts_decode(bytes, n, &text, v) == 0) {
        K_ASSERT(texts_encode(v, n, again) == 0);
        K_ASSERT(texts_decode(buf_str(again), n, &text_again, back) == 0);
        for (size_t i = 0; i < n; i++) K_ASSERT(str_eq(v[i], back[i]));
    }
    buf_release(&text);
    buf_release(&text_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 3) return 0;
    size_t n = bytes[1] | (size_t)bytes[2] << 8;
    struct str chunk = {(const char *)bytes + 3, size - 3};
    struct buf again;
    buf_init(&again, 4 << 20);
    switch (bytes[0] % DECODERS) {
    case INTS: try_ints(chunk, n, &again); break;
    case BITS: try_bits(chunk, n, &again); break;
    case NUMBERS: try_numbers(chunk, n, &again); break;
    case TEXTS: try_texts(chunk, n, &again); break;
    }
    buf_release(&again);
    return 0;
}
