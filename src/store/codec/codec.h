/* Codecs: how a chunk of up to 1,024 values becomes bytes.
 *
 * A chunk is encoded by whichever of the listed layouts is smallest; the first byte names it. All
 * decoders take untrusted bytes: they check every length against the input and return
 * -KEEL_E_CORRUPT, never read or write out of bounds, whatever the bytes are. Checksums are the
 * caller's (part/). Encodings are written to disk: never renumber.
 *
 * Layers: base, zstd. Threads: pure functions.
 */
#pragma once

#include "base/buf.h"

enum { CHUNK_ROWS = 1024 };

/* ---- integers ----
 * Layouts, in this order of preference at equal size:
 *   0 CONSTANT   zigzag varint
 *   1 FOR        base + bit-packed offsets of one width
 *   2 PFOR       as FOR in sub-blocks of 128 with a width each and patched exceptions
 *   3 RUNS       run lengths and run values, each an encoded integer chunk
 *   4 DELTA      first value + encoded chunk of (zigzag if need be) differences
 *   5 ZSTD       zstd over the best of the above (only where it saves an eighth or more)
 * RUNS and DELTA may hold each other once. Bit-packing is laid out in interleaved lanes of up to 32
 * rows (unpack.h), so that one vector instruction unpacks a value of each lane; a short chunk has
 * fewer lanes and is padded by less than 32 values. codec/ints.c has the bytes. */
int ints_encode(const int64_t *v, size_t n, struct buf *out) K_CHECKED;
/* Exactly n values must be encoded in exactly these bytes. `out` has room for CHUNK_ROWS values
 * whatever n is (unpacking writes whole lanes). */
int ints_decode(struct str bytes, size_t n, int64_t *out) K_CHECKED;
/* The same for values known to fit u32 (codes, gaps, deltas): the fast path; a value outside u32 is
 * -KEEL_E_CORRUPT. */
int ints_decode_u32(struct str bytes, size_t n, uint32_t *out) K_CHECKED;
/* The values at `count` ascending places of n, as far as the layout allows without the others: then
 * bytes that are not needed are not checked. */
int ints_pick(struct str bytes, size_t n, const uint16_t *at, size_t count, int64_t *out) K_CHECKED;

/* ---- bits ---- n bits in words of 64, least significant first; unused high bits are 0.
 * Layouts: 0 all clear, 1 all set, 2 raw, 3 and 4 lengths of alternating runs as an integer chunk
 * (starting with clear, with set). Bits of words[] beyond n are ignored. */
int bits_encode(const uint64_t *words, size_t n, struct buf *out) K_CHECKED;
int bits_decode(struct str bytes, size_t n, uint64_t *out) K_CHECKED; /* room for 16 words */

/* ---- numbers ---- doubles that are mostly short decimals: the smallest scale 0..6 at which every
 * value is a whole number m with (double)m / 10^scale == value bit for bit (and |m| <= 2^53), then
 * an integer chunk of m; otherwise raw f64, byte-transposed and zstd'd where that is smaller. -0,
 * NaN and infinities take the raw layout. */
int numbers_encode(const double *v, size_t n, struct buf *out) K_CHECKED;
/* `out` has room for CHUNK_ROWS values whatever n is. */
int numbers_decode(struct str bytes, size_t n, double *out) K_CHECKED;
int numbers_pick(struct str bytes, size_t n, const uint16_t *at, size_t count,
                 double *out) K_CHECKED; /* as ints_pick; room for CHUNK_ROWS */

/* ---- texts ---- lengths as an integer chunk, then the bytes, zstd where that is smaller. Also
 * used for dictionaries, with n up to 1 << 24 (lengths then in chunks of 1,024). Decoding places
 * the bytes into `bytes_out` (cleared first) and points out[] into it. */
int texts_encode(const struct str *v, size_t n, struct buf *out) K_CHECKED;
int texts_decode(struct str bytes, size_t n, struct buf *bytes_out, struct str *out) K_CHECKED;
