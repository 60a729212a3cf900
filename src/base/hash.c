/* Implementation of hash.h on libxxhash, inlined. */
#include "base/hash.h"

#include <stdatomic.h>

#include "base/hash_int.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

static uint64_t hash64_plain(const void *p, size_t n) { return XXH3_64bits(p, n); }

typedef uint64_t hash64_form(const void *p, size_t n);

static hash64_form *best_form(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2")) return hash64_avx2;
#endif
    return hash64_plain;
}

/* From here on XXH3 runs in stripes, which is where a form of its own pays. */
enum { LONG_BYTES = 241 };

uint64_t hash64(const void *p, size_t n) {
    static hash64_form *_Atomic chosen;
    if (n < LONG_BYTES) return XXH3_64bits(p, n);
    hash64_form *form = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (__builtin_expect(!form, 0)) {
        form = best_form();
        atomic_store_explicit(&chosen, form, memory_order_relaxed);
    }
    return form(p, n);
}

struct hash128 hash128(const void *p, size_t n) {
    XXH128_hash_t h = XXH3_128bits(p, n);
    return (struct hash128){.lo = h.low64, .hi = h.high64};
}
