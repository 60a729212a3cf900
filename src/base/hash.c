/* Implementation of hash.h on libxxhash, inlined. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t hash64(const void *p, size_t n) { return XXH3_64bits(p, n); }

struct hash128 hash128(const void *p, size_t n) {
    XXH128_hash_t h = XXH3_128bits(p, n);
    return (struct hash128){.lo = h.low64, .hi = h.high64};
}
