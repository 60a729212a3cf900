/* Integer chunks: see codec.h.
 *
 * Format (v = LEB128 varint, z = zigzag varint; the chunk ends where its bytes end):
 *   0 CONSTANT  z value                                            (0 for no values)
 *   1 FOR       u8 width | z base | packed low 32 bits | packed bits above 32
 *   2 PFOR      z base | per 128 values: u8 width (<= 32) | u8 exceptions
 *               | if any: u8 high width | positions | high bits, one stream
 *               | packed low bits
 *               positions: a u8 each, ascending, or, if 128 is added to the width, a bit a
 *               value, lowest first (not in format 1.0)
 *   3 RUNS      v runs | v bytes of the first chunk | chunk of run lengths - 1 | chunk of values
 *   4 DELTA     u8 flags (1: differences are zigzag, 2: they need more than 32 bits) | z first
 *               | chunk of n - 1 differences
 *   5 ZSTD      v bytes of the inner chunk | zstd frame of it (never of another ZSTD)
 * "packed" is unpack.h. Sums and differences are modulo 2^64, so every int64 sequence has every
 * layout. Base is the smallest value: offsets are unsigned.
 *
 * The encoder counts the offsets of each width per block of 128. The exact size of
 * CONSTANT, FOR and PFOR follows from it without packing; RUNS and DELTA are encoded to scratch
 * memory and compared. RUNS and DELTA may hold each other down to DEPTH_MAX, which bounds both the
 * encoder's work and the decoder's recursion.
 *
 * Layers: unpack.h, codec_int.h. Threads: pure functions. Limits: n <= CHUNK_ROWS; about 85 KB of
 * stack when encoding, 40 KB when decoding.
 */
#include "store/codec/codec_int.h"
#include "store/codec/unpack.h"

_Static_assert((int)CHUNK_ROWS == (int)PACK_MAX_VALUES, "a full chunk has a kernel of its own");

/* Written to disk: never renumber. */
enum layout { CONSTANT = 0, FOR = 1, PFOR = 2, RUNS = 3, DELTA = 4, ZSTD = 5 };
enum { POSITION_BITS = 128 }; /* added to a block's width */
enum delta_flags { DELTA_ZIGZAG = 1, DELTA_WIDE = 2 };

enum {
    DEPTH_MAX = 2, /* chunks inside chunks, ZSTD not counted */
    BLOCKS = CHUNK_ROWS / PACK_BLOCK,
};

/* ---- encoding ---- */

static uint8_t *put_varint(uint8_t *to, uint64_t v) {
    for (; v >= 0x80; v >>= 7) *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

static size_t varint_bytes(uint64_t v) { return v ? (bits_of(v) + 6) / 7 : 1; }

struct block_plan {
    uint8_t above[64];  /* [w]: offsets of more than w bits */
    uint8_t widest;     /* bits of the largest offset       */
    uint8_t width;      /* of the packed low bits           */
    uint8_t high_width; /* of the exceptions' high bits     */
    uint8_t exceptions;
};

struct plan {
    const int64_t *v;
    size_t n, blocks;
    struct survey s;
    bool narrow; /* all offsets are below 2^31, as most data's: they stand in offset[] */
    struct block_plan block[BLOCKS];
    uint32_t offset[CHUNK_ROWS]; /* to the end of the last block, zero behind n */
};

static uint64_t offset(const struct plan *p, size_t i) {
    return (uint64_t)p->v[i] - (uint64_t)p->s.min;
}

static size_t block_values(const struct plan *p, size_t block) {
    size_t left = p->n - block * PACK_BLOCK;
    return left < PACK_BLOCK ? left : PACK_BLOCK;
}

static unsigned for_width(const struct plan *p) {
    return bits_of((uint64_t)p->s.max - (uint64_t)p->s.min);
}

static void plan_offsets(struct plan *p) {
    p->blocks = (p->n + PACK_BLOCK - 1) / PACK_BLOCK;
    p->narrow = for_width(p) < 32;
    if (!p->narrow) return;
    for (size_t i = 0; i < p->n; i++) p->offset[i] = (uint32_t)p->v[i] - (uint32_t)p->s.min;
    memset(p->offset + p->n, 0, (p->blocks * PACK_BLOCK - p->n) * sizeof *p->offset);
}

/* Of exceptions among n values, the shorter of two forms. */
static size_t position_bytes(size_t exceptions, size_t n) {
    size_t bits = (n + 7) / 8;
    return exceptions < bits ? exceptions : bits;
}

static size_t high_bytes(size_t exceptions, unsigned high_width) {
    return (exceptions * high_width + 7) / 8;
}

/* The cheapest split of a block into low bits and exceptions; returns its bytes. */
static size_t plan_block(struct block_plan *b, size_t n) {
    const size_t lanes = (n + 31) / 32, rows = (n + lanes - 1) / lanes; /* as packed_bytes */
    size_t best = SIZE_MAX;
    for (unsigned width = b->widest < 32 ? b->widest : 32;; width--) {
        size_t exceptions = width < b->widest ? b->above[width] : 0, beside = 2;
        unsigned high = b->widest - width;
        if (exceptions) beside += 1 + position_bytes(exceptions, n) + high_bytes(exceptions, high);
        if (beside >= best) break; /* less bits have not fewer exceptions */
        size_t bytes = beside + (rows * width + 31) / 32 * lanes * 4;
        if (bytes < best) {
            best = bytes;
            b->width = (uint8_t)width;
            b->high_width = (uint8_t)high;
            b->exceptions = (uint8_t)exceptions;
        }
        if (width == 0) break;
    }
    return best;
}

/* Where offsets need more than 31 bits. */
static void count_wide(const struct plan *p, size_t first, size_t n, struct block_plan *b) {
    uint8_t count[65] = {0};
    for (size_t i = 0; i < n; i++) count[bits_of(offset(p, first + i))]++;
    unsigned widest = 64, above = 0;
    while (widest > 0 && count[widest] == 0) widest--;
    b->widest = (uint8_t)widest;
    for (unsigned width = widest; width-- > 0;)
        b->above[width] = (uint8_t)(above += count[width + 1]);
}

/* Fills in the blocks and returns the bytes of PFOR. */
static size_t plan_pfor(struct plan *p) {
    size_t bytes = 1 + varint_bytes(zigzag(p->s.min));
    for (size_t k = 0; k < p->blocks; k++) {
        struct block_plan *b = &p->block[k];
        const size_t n = block_values(p, k), first = k * PACK_BLOCK;
        if (p->narrow) {
            uint32_t any = 0;
            for (size_t i = 0; i < PACK_BLOCK; i++) any |= p->offset[first + i];
            b->widest = (uint8_t)bits_of(any);
            count_above(p->offset + first, b->widest, b->above);
        } else {
            count_wide(p, first, n, b);
        }
        bytes += plan_block(b, n);
    }
    return bytes;
}

static size_t for_bytes(const struct plan *p) {
    unsigned width = for_width(p);
    size_t low = packed_bytes(p->n, width < 32 ? width : 32);
    size_t high = width > 32 ? packed_bytes(p->n, width - 32) : 0;
    return 2 + varint_bytes(zigzag(p->s.min)) + low + high;
}

static size_t put_constant(int64_t v, uint8_t *out) {
    *out = CONSTANT;
    return (size_t)(put_varint(out + 1, zigzag(v)) - out);
}

static size_t put_for(const struct plan *p, uint8_t *out) {
    uint32_t part[CHUNK_ROWS];
    unsigned width = for_width(p), low = width < 32 ? width : 32;
    *out = FOR;
    out[1] = (uint8_t)width;
    uint8_t *to = put_varint(out + 2, zigzag(p->s.min));
    if (!p->narrow)
        for (size_t i = 0; i < p->n; i++) part[i] = (uint32_t)offset(p, i);
    pack(p->narrow ? p->offset : part, p->n, low, to);
    to += packed_bytes(p->n, low);
    if (width > 32) {
        for (size_t i = 0; i < p->n; i++) part[i] = (uint32_t)(offset(p, i) >> 32);
        pack(part, p->n, width - 32, to);
        to += packed_bytes(p->n, width - 32);
    }
    return (size_t)(to - out);
}

/* A stream of bits, whole bytes of which have been written. */
struct bit_writer {
    uint8_t *to;
    uint64_t open; /* less than 8 bits between two calls */
    unsigned fill;
};

/* Up to 32 bits. */
static void put_half(struct bit_writer *b, uint64_t v, unsigned width) {
    b->open |= v << b->fill;
    for (b->fill += width; b->fill >= 8; b->fill -= 8, b->open >>= 8) *b->to++ = (uint8_t)b->open;
}

static void put_bits(struct bit_writer *b, uint64_t v, unsigned width) {
    put_half(b, v & UINT32_MAX, width < 32 ? width : 32);
    if (width > 32) put_half(b, v >> 32, width - 32);
}

/* The low bits of a block's values into part[], and which values have more. Without a branch a
 * value: half of the time of encoding went by wrong guesses, here and in put_runs. */
static size_t split_block(const struct plan *p, size_t k, uint32_t *part, uint8_t *above) {
    const unsigned width = p->block[k].width;
    const size_t n = block_values(p, k), first = k * PACK_BLOCK;
    const uint32_t mask = (uint32_t)((UINT64_C(1) << width) - 1);
    size_t exceptions = 0;
    if (p->narrow) {
        const uint32_t *v = p->offset + first;
        for (size_t i = 0; i < n; i++) part[i] = v[i] & mask;
        for (size_t i = 0; i < n; i++) {
            above[exceptions] = (uint8_t)i;
            exceptions += v[i] > mask;
        }
        return exceptions;
    }
    for (size_t i = 0; i < n; i++) {
        const uint64_t v = offset(p, first + i);
        part[i] = (uint32_t)v & mask;
        above[exceptions] = (uint8_t)i;
        exceptions += v > mask;
    }
    return exceptions;
}

static uint8_t *put_block(const struct plan *p, size_t k, uint8_t *to) {
    const struct block_plan *b = &p->block[k];
    const size_t n = block_values(p, k), first = k * PACK_BLOCK;
    *to++ = b->width;
    *to++ = b->exceptions;
    if (b->exceptions == 0 && p->narrow) {
        pack(p->offset + first, n, b->width, to);
        return to + packed_bytes(n, b->width);
    }
    uint32_t part[PACK_BLOCK];
    uint8_t above[PACK_BLOCK + 1];
    const size_t exceptions = split_block(p, k, part, above);
    K_ASSERT_OP(exceptions, ==, b->exceptions);
    if (exceptions) {
        const size_t positions = position_bytes(exceptions, n);
        *to++ = b->high_width;
        if (positions < exceptions) {
            to[-3] = (uint8_t)(b->width + POSITION_BITS);
            memset(to, 0, positions);
            for (size_t i = 0; i < exceptions; i++)
                to[above[i] / 8] |= (uint8_t)(1u << above[i] % 8);
        } else {
            memcpy(to, above, positions);
        }
        struct bit_writer high = {.to = to + positions};
        for (size_t i = 0; i < exceptions; i++)
            put_bits(&high, offset(p, first + above[i]) >> b->width, b->high_width);
        if (high.fill) *high.to++ = (uint8_t)high.open;
        to = high.to;
    }
    pack(part, n, b->width, to);
    return to + packed_bytes(n, b->width);
}

static size_t put_pfor(const struct plan *p, uint8_t *out) {
    *out = PFOR;
    uint8_t *to = put_varint(out + 1, zigzag(p->s.min));
    for (size_t k = 0; k < p->blocks; k++) to = put_block(p, k, to);
    return (size_t)(to - out);
}

static size_t put_smallest(const int64_t *v, size_t n, unsigned tries, size_t limit, uint8_t *out);

/* The last inner chunk of the chunk that starts at `out`: returns the bytes of the whole, or 0. */
static size_t put_last(const int64_t *v, size_t n, unsigned tries, size_t limit, const uint8_t *out,
                       uint8_t *to) {
    size_t used = (size_t)(to - out);
    if (used >= limit) return 0;
    size_t size = put_smallest(v, n, tries, limit - used, to);
    return size && used + size < limit ? used + size : 0;
}

static size_t put_runs(const struct plan *p, unsigned tries, size_t limit, uint8_t *out) {
    int64_t length[CHUNK_ROWS / 2], value[CHUNK_ROWS / 2];
    uint8_t lengths[INTS_MAX_BYTES / 2 + 64];
    uint16_t start[CHUNK_ROWS / 2 + 1]; /* of each run, and the end of the last */
    const size_t runs = p->s.runs;
    size_t found = 1;
    start[0] = 0;
    for (size_t i = 1; i < p->n; i++) {
        start[found] = (uint16_t)i; /* behind the last run it is the end's place */
        found += p->v[i] != p->v[i - 1];
    }
    K_ASSERT_OP(found, ==, runs);
    start[runs] = (uint16_t)p->n;
    for (size_t k = 0; k < runs; k++) {
        length[k] = start[k + 1] - start[k] - 1;
        value[k] = p->v[start[k]];
    }
    size_t lengths_n = put_smallest(length, runs, tries, limit, lengths);
    if (lengths_n == 0) return 0;
    *out = RUNS;
    uint8_t *to = put_varint(out + 1, runs);
    to = put_varint(to, lengths_n);
    memcpy(to, lengths, lengths_n);
    to += lengths_n;
    return put_last(value, runs, tries, limit, out, to);
}

static size_t put_delta(const struct plan *p, unsigned tries, size_t limit, uint8_t *out) {
    int64_t difference[CHUNK_ROWS];
    unsigned flags = 0;
    uint64_t any = 0;
    for (size_t i = 1; i < p->n; i++) {
        uint64_t d = (uint64_t)p->v[i] - (uint64_t)p->v[i - 1];
        difference[i - 1] = (int64_t)d;
        any |= d;
    }
    if (any >> 63) {
        flags |= DELTA_ZIGZAG;
        any = 0;
        for (size_t i = 0; i < p->n - 1; i++) {
            uint64_t d = zigzag(difference[i]);
            difference[i] = (int64_t)d;
            any |= d;
        }
    }
    if (any >> 32) flags |= DELTA_WIDE;
    *out = DELTA;
    out[1] = (uint8_t)flags;
    uint8_t *to = put_varint(out + 2, zigzag(p->v[0]));
    return put_last(difference, p->n - 1, tries, limit, out, to);
}

/* Whether differences can be expected to take less than the values do. Encoding them to see takes
 * longer than all the rest, and the codes of strings, most of all columns, never gain by it. */
static bool may_gain_by_delta(const struct plan *p) {
    uint64_t by_value = 0, by_difference = 0;
    bool falling = false;
    for (size_t k = 0; k < p->blocks; k++)
        for (unsigned width = 0; width < p->block[k].widest; width++)
            by_value += p->block[k].above[width];
    if (p->narrow) {
        by_difference = step_bits(p->offset, p->n, &falling);
    } else {
        for (size_t i = 1; i < p->n; i++) {
            uint64_t d = (uint64_t)p->v[i] - (uint64_t)p->v[i - 1], below = d >> 63;
            falling |= below;
            by_difference += bits_of((d ^ (0 - below)) + below);
        }
    }
    return by_difference + (falling ? p->n : 0) < by_value;
}

/* Writes the smallest of the layouts 0 to 4, the first of them at equal size, and returns its
 * bytes, or 0 if there is none of less than `limit` bytes. `tries` has a bit for each of RUNS and
 * DELTA that may be used. */
static size_t put_smallest(const int64_t *v, size_t n, unsigned tries, size_t limit, uint8_t *out) {
    struct plan p;
    if (n == 0) return put_constant(0, out);
    p.v = v;
    p.n = n;
    survey(v, n, &p.s);
    if (p.s.runs == 1) return put_constant(v[0], out);
    plan_offsets(&p);
    const size_t by_for = for_bytes(&p), by_pfor = plan_pfor(&p);
    const size_t least = by_pfor < by_for ? by_pfor : by_for;
    size_t size = 0, bound = least < limit ? least : limit;

    uint8_t scratch[INTS_MAX_BYTES];
    if (tries & 1u << RUNS && p.s.runs <= n / 2) {
        size = put_runs(&p, tries & ~(1u << RUNS), bound, out);
        if (size) bound = size;
    }
    if (tries & 1u << DELTA && may_gain_by_delta(&p)) {
        size_t by_delta = put_delta(&p, tries & ~(1u << DELTA), bound, size ? scratch : out);
        if (by_delta && size) memcpy(out, scratch, by_delta);
        if (by_delta) size = by_delta;
    }
    if (size) return size;
    if (least >= limit) return 0;
    return by_pfor < by_for ? put_pfor(&p, out) : put_for(&p, out);
}

/* True if a quarter of the places repeat four bytes seen before: only then zstd is worth a try.
 * Without repetitions it can still save something, as its entropy coder uses fractions of bits: up
 * to a fifth for event codes. But then decoding falls from 2 to 0.3 G values/s. */
static bool repeats(const uint8_t *p, size_t n) {
    uint32_t seen[1024] = {0};
    size_t hits = 0;
    for (size_t i = 0; i + 4 <= n; i++) {
        uint32_t word;
        memcpy(&word, p + i, sizeof word);
        uint32_t *slot = &seen[word * 2654435761u >> 22];
        hits += *slot == word;
        *slot = word;
    }
    return hits >= n / 4;
}

/* Puts zstd over the chunk of `size` bytes if it gains enough; returns the new size. */
static size_t put_zstd(uint8_t *chunk, size_t size) {
    uint8_t frame[INTS_MAX_BYTES];
    if (size < SQUEEZE_LEAST_BYTES || !repeats(chunk, size)) return size;
    enum { HEADER = 3 }; /* layout, varint */
    size_t squeezed = squeeze(chunk, size, frame, size - size / SQUEEZE_LEAST_GAIN - HEADER);
    if (squeezed == 0) return size;
    *chunk = ZSTD;
    uint8_t *to = put_varint(chunk + 1, size);
    memcpy(to, frame, squeezed);
    return (size_t)(to - chunk) + squeezed;
}

int ints_encode(const int64_t *v, size_t n, struct buf *out) {
    K_ASSERT_OP(n, <=, CHUNK_ROWS);
    TRY(buf_reserve(out, INTS_MAX_BYTES));
    uint8_t *to = out->p + out->n;
    out->n += put_zstd(to, put_smallest(v, n, 1u << RUNS | 1u << DELTA, SIZE_MAX, to));
    return 0;
}

/* ---- decoding ---- */

static struct str rest(const struct reader *r) {
    return (struct str){(const char *)r->p, reader_left(r)};
}

/* The packed part of n values, or NULL. */
static const uint8_t *take_packed(struct reader *r, size_t n, unsigned width) {
    return reader_take(r, packed_bytes(n, width));
}

static int finish(const struct reader *r) { return r->bad || reader_left(r) ? -KEEL_E_CORRUPT : 0; }

/* Kept out of line: inlined into the switch, its arrays would be part of every chunk's frame. */
#define LARGE_FRAME __attribute__((noinline))

struct exceptions {
    unsigned width; /* of the packed low bits */
    struct patches patches;
    uint8_t copy[PACK_BLOCK * 8 + 9];
};

/* Positions ascend; two words of their own, as single bits set in memory would wait for each other.
 */
static bool read_position_list(const uint8_t *position, size_t block_n, struct exceptions *e) {
    uint64_t low = 0, high = 0;
    unsigned wrong = 0, least = 0;
    for (size_t k = 0; k < e->patches.n; k++) {
        unsigned at = position[k];
        wrong |= at < least;
        least = at + 1;
        low |= (uint64_t)(at < 64) << at % 64;
        high |= (uint64_t)(at >= 64) << at % 64;
    }
    e->patches.at[0] = low;
    e->patches.at[1] = high;
    return !wrong && least <= block_n;
}

static bool read_position_bits(const uint8_t *bits, size_t block_n, struct exceptions *e) {
    memset(e->patches.at, 0, sizeof e->patches.at);
    memcpy(e->patches.at, bits, (block_n + 7) / 8);
    uint64_t last = block_n % 64 ? (UINT64_C(1) << block_n % 64) - 1 : UINT64_MAX;
    bool inside = (e->patches.at[(block_n - 1) / 64] & ~last) == 0;
    int found = __builtin_popcountll(e->patches.at[0]) + __builtin_popcountll(e->patches.at[1]);
    return inside && (size_t)found == e->patches.n;
}

/* Afterwards 9 bytes can be read at any place in e->patches.high: almost always the packed bits
 * that follow allow it; at the very end of the input the high bits are copied. (Copying always cost
 * 4 ns an exception: reads straddling the copy's stores wait for them.) */
static int read_exceptions(struct reader *r, size_t block_n, struct exceptions *e) {
    const unsigned width = reader_u8(r);
    e->width = width % POSITION_BITS;
    e->patches.n = reader_u8(r);
    if (e->width > 32 || e->patches.n > block_n) return -KEEL_E_CORRUPT;
    if (e->patches.n == 0) return 0;
    e->patches.width = reader_u8(r);
    if (e->patches.width == 0 || e->patches.width + e->width > 64) return -KEEL_E_CORRUPT;
    const bool as_bits = width >= POSITION_BITS;
    const uint8_t *positions = reader_take(r, as_bits ? (block_n + 7) / 8 : e->patches.n);
    size_t bytes = high_bytes(e->patches.n, e->patches.width);
    e->patches.high = reader_take(r, bytes);
    if (!e->patches.high || !(as_bits ? read_position_bits(positions, block_n, e)
                                      : read_position_list(positions, block_n, e)))
        return -KEEL_E_CORRUPT;
    if (reader_left(r) < 9) {
        memcpy(e->copy, e->patches.high, bytes);
        memset(e->copy + bytes, 0, 9);
        e->patches.high = e->copy;
    }
    return 0;
}

/* The bits at `bit`, up to 57 of them. */
static uint64_t bits_at(const uint8_t *p, size_t bit) {
    uint64_t word;
    memcpy(&word, p + bit / 8, sizeof word);
    return word >> bit % 8;
}

/* Exception k's high bits, shifted to their place. */
static uint64_t exception_high(const struct exceptions *e, size_t k) {
    size_t bit = k * e->patches.width;
    uint64_t word = bits_at(e->patches.high, bit);
    if (bit % 8 + e->patches.width > 64)
        word |= (uint64_t)e->patches.high[bit / 8 + 8] << (64 - bit % 8);
    return (word & (UINT64_MAX >> (64 - e->patches.width))) << e->width;
}

static int decode_u32(struct str bytes, size_t n, unsigned depth, uint32_t *out);
static int decode_i64(struct str bytes, size_t n, unsigned depth, int64_t *out);

/* Fills out[from..to), eight values at once as long as the chunk has room for them: runs are short
 * on the whole (a customer's events in one channel), and what is too much is overwritten by the
 * next run. */
#define FILL(out, from, to, value)                                                                 \
    {                                                                                              \
        size_t at_ = (from);                                                                       \
        for (; at_ < (to) && at_ + 8 <= CHUNK_ROWS; at_ += 8)                                      \
            for (size_t j_ = 0; j_ < 8; j_++) (out)[at_ + j_] = (value);                           \
        for (; at_ < (to); at_++) (out)[at_] = (value);                                            \
    }

/* The same layouts for both result types follow; what differs is the check that values fit u32. */

static int decode_constant(struct reader *r, int64_t *out) {
    *out = unzigzag(reader_varint(r));
    return finish(r);
}

static int for_u32(struct reader *r, size_t n, uint32_t *out) {
    unsigned width = reader_u8(r);
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    if (width > 32 || base > UINT32_MAX) return -KEEL_E_CORRUPT;
    const uint8_t *packed = take_packed(r, n, width);
    if (!packed) return -KEEL_E_CORRUPT;
    unpack(packed, n, width, (uint32_t)base, out);
    bool wrapped = false;
    if (base + ((UINT64_C(1) << width) - 1) > UINT32_MAX)
        for (size_t i = 0; i < n; i++) wrapped |= out[i] < base;
    return wrapped ? -KEEL_E_CORRUPT : finish(r);
}

static int for_i64(struct reader *r, size_t n, int64_t *out) {
    uint32_t part[CHUNK_ROWS];
    unsigned width = reader_u8(r), low = width < 32 ? width : 32;
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    if (width > 64) return -KEEL_E_CORRUPT;
    const uint8_t *packed = take_packed(r, n, low);
    if (!packed) return -KEEL_E_CORRUPT;
    unpack(packed, n, low, 0, part);
    widen(part, n, base, out);
    if (width > 32) {
        packed = take_packed(r, n, width - 32);
        if (!packed) return -KEEL_E_CORRUPT;
        unpack(packed, n, width - 32, 0, part);
        for (size_t i = 0; i < n; i++)
            out[i] = (int64_t)((uint64_t)out[i] + ((uint64_t)part[i] << 32));
    }
    return finish(r);
}

static int pfor_block_u32(struct reader *r, size_t n, uint32_t base, uint32_t *out) {
    struct exceptions e;
    TRY(read_exceptions(r, n, &e));
    const uint8_t *packed = take_packed(r, n, e.width);
    if (!packed) return -KEEL_E_CORRUPT;
    const bool may_wrap = base + ((UINT64_C(1) << e.width) - 1) > UINT32_MAX;
    if (may_wrap || e.patches.n == 0) unpack(packed, n, e.width, base, out);
    if (may_wrap)
        for (size_t i = 0; i < n; i++)
            if (out[i] < base) return -KEEL_E_CORRUPT;
    if (e.patches.n == 0) return 0;
    if (e.patches.width + e.width > 32) return -KEEL_E_CORRUPT;
    return unpack_patched(packed, n, e.width, base, &e.patches, out) ? 0 : -KEEL_E_CORRUPT;
}

static int pfor_u32(struct reader *r, size_t n, uint32_t *out) {
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    if (base > UINT32_MAX) return -KEEL_E_CORRUPT;
    for (size_t i = 0; i < n; i += PACK_BLOCK) {
        i += unpack_blocks(&r->p, r->end, n - i, (uint32_t)base, out + i);
        if (i == n) break;
        TRY(pfor_block_u32(r, n - i < PACK_BLOCK ? n - i : PACK_BLOCK, (uint32_t)base, out + i));
    }
    return finish(r);
}

static int pfor_block_i64(struct reader *r, size_t n, uint64_t base, int64_t *out) {
    struct exceptions e;
    uint32_t part[PACK_BLOCK];
    TRY(read_exceptions(r, n, &e));
    const uint8_t *packed = take_packed(r, n, e.width);
    if (!packed) return -KEEL_E_CORRUPT;
    unpack(packed, n, e.width, 0, part);
    widen(part, n, base, out);
    size_t k = 0;
    for (size_t word = 0; word < PACK_BLOCK / 64 && e.patches.n; word++)
        for (uint64_t left = e.patches.at[word]; left; left &= left - 1) {
            int64_t *at = &out[word * 64 + (size_t)__builtin_ctzll(left)];
            *at = (int64_t)((uint64_t)*at + exception_high(&e, k++));
        }
    return 0;
}

static int pfor_i64(struct reader *r, size_t n, int64_t *out) {
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    for (size_t i = 0; i < n; i += PACK_BLOCK)
        TRY(pfor_block_i64(r, n - i < PACK_BLOCK ? n - i : PACK_BLOCK, base, out + i));
    return finish(r);
}

struct runs {
    size_t n;
    struct str values;
    uint32_t length[CHUNK_ROWS]; /* less 1 */
};

/* Reads the lengths; they add up to n when this returns 0. */
static int read_runs(struct reader *r, size_t n, unsigned depth, struct runs *runs) {
    uint64_t count = reader_varint(r), bytes = reader_varint(r);
    if (count == 0 || count > n || bytes > reader_left(r)) return -KEEL_E_CORRUPT;
    struct str lengths = {(const char *)reader_take(r, (size_t)bytes), (size_t)bytes};
    TRY(decode_u32(lengths, (size_t)count, depth + 1, runs->length));
    uint64_t sum = count;
    for (size_t i = 0; i < count; i++) sum += runs->length[i];
    if (sum != n) return -KEEL_E_CORRUPT;
    runs->n = (size_t)count;
    runs->values = rest(r);
    return 0;
}

#define EXPAND_RUNS(runs, value, out)                                                              \
    for (size_t k_ = 0, start_ = 0; k_ < (runs)->n; k_++) {                                        \
        const size_t end_ = start_ + (runs)->length[k_] + 1;                                       \
        FILL(out, start_, end_, (value)[k_])                                                       \
        start_ = end_;                                                                             \
    }

static LARGE_FRAME int runs_u32(struct reader *r, size_t n, unsigned depth, uint32_t *out) {
    struct runs runs;
    uint32_t value[CHUNK_ROWS];
    TRY(read_runs(r, n, depth, &runs));
    TRY(decode_u32(runs.values, runs.n, depth + 1, value));
    repeat(runs.length, value, runs.n, out);
    return 0;
}

static LARGE_FRAME int runs_i64(struct reader *r, size_t n, unsigned depth, int64_t *out) {
    struct runs runs;
    int64_t value[CHUNK_ROWS];
    TRY(read_runs(r, n, depth, &runs));
    TRY(decode_i64(runs.values, runs.n, depth + 1, value));
    EXPAND_RUNS(&runs, value, out)
    return 0;
}

struct delta {
    unsigned flags;
    uint64_t first;
};

static int read_delta(struct reader *r, size_t n, struct delta *d) {
    d->flags = reader_u8(r);
    d->first = (uint64_t)unzigzag(reader_varint(r));
    return n == 0 || d->flags > (DELTA_ZIGZAG | DELTA_WIDE) || r->bad ? -KEEL_E_CORRUPT : 0;
}

/* Sums n - 1 differences of one integer type to n values of another. `any` receives the union of
 * the bits of all sums, to check their range. */
#define SUM_UP(d, difference, n, out, any)                                                         \
    {                                                                                              \
        uint64_t sum_ = (d)->first;                                                                \
        (any) = sum_;                                                                              \
        (out)[0] = (__typeof__((out)[0]))sum_;                                                     \
        if ((d)->flags & DELTA_ZIGZAG) {                                                           \
            for (size_t i_ = 1; i_ < (n); i_++) {                                                  \
                sum_ += (uint64_t)unzigzag((uint64_t)(difference)[i_ - 1]);                        \
                (out)[i_] = (__typeof__((out)[0]))sum_;                                            \
                (any) |= sum_;                                                                     \
            }                                                                                      \
        } else {                                                                                   \
            for (size_t i_ = 1; i_ < (n); i_++) {                                                  \
                sum_ += (uint64_t)(difference)[i_ - 1];                                            \
                (out)[i_] = (__typeof__((out)[0]))sum_;                                            \
                (any) |= sum_;                                                                     \
            }                                                                                      \
        }                                                                                          \
    }

static LARGE_FRAME int delta_u32(struct reader *r, size_t n, unsigned depth, uint32_t *out) {
    struct delta d;
    TRY(read_delta(r, n, &d));
    if (d.first > UINT32_MAX) return -KEEL_E_CORRUPT;
    if (!(d.flags & DELTA_WIDE)) {
        uint32_t difference[CHUNK_ROWS];
        TRY(decode_u32(rest(r), n - 1, depth + 1, difference));
        bool good = sum_up(difference, n, d.flags & DELTA_ZIGZAG, (uint32_t)d.first, out);
        return good ? 0 : -KEEL_E_CORRUPT;
    }
    uint64_t any; /* jumps from one end of u32 to the other: rare */
    int64_t difference[CHUNK_ROWS];
    TRY(decode_i64(rest(r), n - 1, depth + 1, difference));
    SUM_UP(&d, difference, n, out, any)
    return any >> 32 ? -KEEL_E_CORRUPT : 0;
}

static LARGE_FRAME int delta_i64(struct reader *r, size_t n, unsigned depth, int64_t *out) {
    struct delta d;
    uint64_t any;
    TRY(read_delta(r, n, &d));
    if (d.flags & DELTA_WIDE) {
        int64_t difference[CHUNK_ROWS];
        TRY(decode_i64(rest(r), n - 1, depth + 1, difference));
        SUM_UP(&d, difference, n, out, any)
    } else {
        uint32_t difference[CHUNK_ROWS];
        TRY(decode_u32(rest(r), n - 1, depth + 1, difference));
        SUM_UP(&d, difference, n, out, any)
    }
    (void)any; /* every int64 is a value */
    return 0;
}

/* Puts the inner chunk of a ZSTD layout into `inner` (INTS_MAX_BYTES). */
static int read_zstd(struct reader *r, uint8_t *inner, struct str *out) {
    uint64_t size = reader_varint(r);
    if (r->bad || size == 0 || size > INTS_MAX_BYTES) return -KEEL_E_CORRUPT;
    TRY(unsqueeze(rest(r), (size_t)size, inner));
    if (inner[0] == ZSTD) return -KEEL_E_CORRUPT;
    *out = (struct str){(const char *)inner, (size_t)size};
    return 0;
}

static LARGE_FRAME int zstd_u32(struct reader *r, size_t n, unsigned depth, uint32_t *out) {
    uint8_t inner[INTS_MAX_BYTES];
    struct str bytes;
    TRY(read_zstd(r, inner, &bytes));
    return decode_u32(bytes, n, depth + 1, out);
}

static LARGE_FRAME int zstd_i64(struct reader *r, size_t n, unsigned depth, int64_t *out) {
    uint8_t inner[INTS_MAX_BYTES];
    struct str bytes;
    TRY(read_zstd(r, inner, &bytes));
    return decode_i64(bytes, n, depth + 1, out);
}

/* A ZSTD layer stands outermost only, so the recursion ends at DEPTH_MAX + 1. */
static bool too_deep(unsigned layout, unsigned depth) {
    return layout == ZSTD ? depth > 0 : depth > DEPTH_MAX + 1;
}

static int decode_u32(struct str bytes, size_t n, unsigned depth, uint32_t *out) {
    if (bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    if (too_deep(layout, depth)) return -KEEL_E_CORRUPT;
    switch (layout) {
    case CONSTANT: {
        int64_t v;
        TRY(decode_constant(&r, &v));
        if (v < 0 || v > UINT32_MAX) return -KEEL_E_CORRUPT;
        FILL(out, 0, n, (uint32_t)v)
        return 0;
    }
    case FOR: return for_u32(&r, n, out);
    case PFOR: return pfor_u32(&r, n, out);
    case RUNS: return runs_u32(&r, n, depth, out);
    case DELTA: return delta_u32(&r, n, depth, out);
    case ZSTD: return zstd_u32(&r, n, depth, out);
    default: return -KEEL_E_CORRUPT;
    }
}

static int decode_i64(struct str bytes, size_t n, unsigned depth, int64_t *out) {
    if (bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    if (too_deep(layout, depth)) return -KEEL_E_CORRUPT;
    switch (layout) {
    case CONSTANT: {
        int64_t v;
        TRY(decode_constant(&r, &v));
        FILL(out, 0, n, v)
        return 0;
    }
    case FOR: return for_i64(&r, n, out);
    case PFOR: return pfor_i64(&r, n, out);
    case RUNS: return runs_i64(&r, n, depth, out);
    case DELTA: return delta_i64(&r, n, depth, out);
    case ZSTD: return zstd_i64(&r, n, depth, out);
    default: return -KEEL_E_CORRUPT;
    }
}

int ints_decode(struct str bytes, size_t n, int64_t *out) {
    return n > CHUNK_ROWS ? -KEEL_E_CORRUPT : decode_i64(bytes, n, 0, out);
}

int ints_decode_u32(struct str bytes, size_t n, uint32_t *out) {
    return n > CHUNK_ROWS ? -KEEL_E_CORRUPT : decode_u32(bytes, n, 0, out);
}

/* ---- single values ---- */

static int pick(struct str bytes, size_t n, unsigned depth, const uint16_t *at, size_t count,
                int64_t *out);

static LARGE_FRAME int pick_decoded(struct str bytes, size_t n, unsigned depth, const uint16_t *at,
                                    size_t count, int64_t *out) {
    int64_t all[CHUNK_ROWS];
    TRY(decode_i64(bytes, n, depth, all));
    for (size_t k = 0; k < count; k++) out[k] = all[at[k]];
    return 0;
}

static int pick_for(struct reader *r, size_t n, const uint16_t *at, size_t count, int64_t *out) {
    unsigned width = reader_u8(r), low = width < 32 ? width : 32;
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    if (width > 64) return -KEEL_E_CORRUPT;
    const uint8_t *packed = take_packed(r, n, low);
    const uint8_t *high = width > 32 ? take_packed(r, n, width - 32) : packed;
    if (!packed || !high) return -KEEL_E_CORRUPT;
    for (size_t k = 0; k < count; k++) {
        uint64_t v = unpack_one(packed, n, low, at[k]);
        if (width > 32) v |= (uint64_t)unpack_one(high, n, width - 32, at[k]) << 32;
        out[k] = (int64_t)(base + v);
    }
    return finish(r);
}

static int pick_block(struct reader *r, size_t n, uint64_t base, size_t first, const uint16_t *at,
                      size_t count, int64_t *out) {
    struct exceptions e;
    TRY(read_exceptions(r, n, &e));
    const uint8_t *packed = take_packed(r, n, e.width);
    if (!packed) return -KEEL_E_CORRUPT;
    for (size_t k = 0; k < count; k++) {
        size_t i = at[k] - first;
        uint64_t v = unpack_one(packed, n, e.width, i), below = (UINT64_C(1) << i % 64) - 1;
        if (e.patches.n && (e.patches.at[i / 64] >> i % 64 & 1)) {
            int before = __builtin_popcountll(e.patches.at[i / 64] & below);
            if (i >= 64) before += __builtin_popcountll(e.patches.at[0]);
            v += exception_high(&e, (size_t)before);
        }
        out[k] = (int64_t)(base + v);
    }
    return 0;
}

static int pick_pfor(struct reader *r, size_t n, const uint16_t *at, size_t count, int64_t *out) {
    uint64_t base = (uint64_t)unzigzag(reader_varint(r));
    for (size_t first = 0, k = 0; k < count; first += PACK_BLOCK) {
        size_t block_n = n - first < PACK_BLOCK ? n - first : PACK_BLOCK, end = k;
        while (end < count && at[end] < first + block_n) end++;
        TRY(pick_block(r, block_n, base, first, at + k, end - k, out + k));
        k = end;
    }
    return r->bad ? -KEEL_E_CORRUPT : 0;
}

static LARGE_FRAME int pick_runs(struct reader *r, size_t n, unsigned depth, const uint16_t *at,
                                 size_t count, int64_t *out) {
    struct runs runs;
    uint16_t run[CHUNK_ROWS];
    TRY(read_runs(r, n, depth, &runs));
    size_t i = 0, end = runs.length[0] + 1;
    for (size_t k = 0; k < count; k++) {
        while (at[k] >= end) end += runs.length[++i] + 1;
        run[k] = (uint16_t)i;
    }
    return pick(runs.values, runs.n, depth + 1, run, count, out);
}

/* The differences are added up as far as the last place. */
static LARGE_FRAME int pick_delta(struct reader *r, size_t n, unsigned depth, const uint16_t *at,
                                  size_t count, int64_t *out) {
    struct delta d;
    uint32_t difference[CHUNK_ROWS];
    TRY(read_delta(r, n, &d));
    TRY(decode_u32(rest(r), n - 1, depth + 1, difference));
    uint64_t sum = d.first;
    for (size_t k = 0, i = 0; k < count; k++) {
        if (d.flags & DELTA_ZIGZAG)
            for (; i < at[k]; i++) sum += (uint64_t)unzigzag(difference[i]);
        else
            for (; i < at[k]; i++) sum += difference[i];
        out[k] = (int64_t)sum;
    }
    return 0;
}

/* Places ascend, and lie below n. */
static int pick(struct str bytes, size_t n, unsigned depth, const uint16_t *at, size_t count,
                int64_t *out) {
    if (bytes.n == 0) return -KEEL_E_CORRUPT;
    struct reader r = reader_over(bytes.p, bytes.n);
    unsigned layout = reader_u8(&r);
    if (too_deep(layout, depth)) return -KEEL_E_CORRUPT;
    switch (layout) {
    case CONSTANT: {
        int64_t v;
        TRY(decode_constant(&r, &v));
        for (size_t k = 0; k < count; k++) out[k] = v;
        return 0;
    }
    case FOR: return pick_for(&r, n, at, count, out);
    case PFOR: return pick_pfor(&r, n, at, count, out);
    case RUNS: return pick_runs(&r, n, depth, at, count, out);
    case DELTA:
        if (reader_left(&r) && !(*r.p & DELTA_WIDE))
            return pick_delta(&r, n, depth, at, count, out);
        return pick_decoded(bytes, n, depth, at, count, out);
    default: return pick_decoded(bytes, n, depth, at, count, out);
    }
}

int ints_pick(struct str bytes, size_t n, const uint16_t *at, size_t count, int64_t *out) {
    if (n > CHUNK_ROWS || count > n) return -KEEL_E_CORRUPT;
    for (size_t k = 0; k < count; k++) K_ASSERT(at[k] < n && (k == 0 || at[k] >= at[k - 1]));
    return pick(bytes, n, 0, at, count, out);
}
