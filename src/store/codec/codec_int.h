/* What the files of codec/ share and nobody else needs: see codec.h.
 *
 * Layers: base, zstd. Threads: zstd contexts are kept per thread, the rest is pure.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "store/codec/codec.h"

/* Upper bound of one encoded integer chunk: 64-bit offsets of one width, and headers. */
enum { INTS_MAX_BYTES = CHUNK_ROWS * 8 + 64 };

static inline uint64_t zigzag(int64_t v) { return (uint64_t)v << 1 ^ (uint64_t)(v >> 63); }
static inline int64_t unzigzag(uint64_t v) { return (int64_t)(v >> 1 ^ (0 - (v & 1))); }

/* Bits needed to write v; 0 for 0. */
static inline unsigned bits_of(uint64_t v) { return v ? 64 - (unsigned)__builtin_clzll(v) : 0; }

/* zstd is used where it saves at least one part in so many: it decodes five to twenty times slower
 * than the other layouts. Less than so many bytes are not worth a frame. */
enum { SQUEEZE_LEAST_GAIN = 8, SQUEEZE_LEAST_BYTES = 64 };

/* Compresses to a zstd frame without the magic number, content size and checksum (the caller knows
 * the size, parts have their own checksums: 8 bytes less for a chunk of some hundred). Returns its
 * length, or 0 if it would not fit `room` (then the data stays as it is) or memory is short. */
size_t squeeze(const void *p, size_t n, uint8_t *out, size_t room);
/* Exactly n bytes must come out. */
int unsqueeze(struct str bytes, size_t n, void *out) K_CHECKED;
