/* XXH3 of long inputs with AVX2, used only where the processor has it: hash.c. Half the time of the
 * form that every processor of its kind runs. */
#if defined(__x86_64__)

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include "base/hash_int.h"

uint64_t hash64_avx2(const void *p, size_t n) { return XXH3_64bits(p, n); }

#endif
