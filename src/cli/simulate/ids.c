/* The texts that name events and devices: UUIDs made of hashes.
 *
 * Both halves are hashes of the number under different keys, so ids do not repeat in practice and
 * need no table; version and variant bits are those of a random UUID, as SDKs make them.
 * Layers: sim.h. Threads: pure.
 */
#include "cli/simulate/sim.h"

static inline char *hex(char *p, uint64_t v, unsigned bytes) {
    static const char DIGIT[] = "0123456789abcdef";
    for (unsigned shift = bytes * 8; shift;) {
        shift -= 8;
        *p++ = DIGIT[v >> (shift + 4) & 15];
        *p++ = DIGIT[v >> shift & 15];
    }
    return p;
}

void uuid_text(uint64_t hi, uint64_t lo, char *out) {
    hi = (hi & ~(uint64_t)0xf000) | 0x4000;
    lo = (lo & ~((uint64_t)3 << 62)) | (uint64_t)1 << 63;
    char *p = hex(out, hi >> 32, 4);
    *p++ = '-';
    p = hex(p, hi >> 16, 2);
    *p++ = '-';
    p = hex(p, hi, 2);
    *p++ = '-';
    p = hex(p, lo >> 48, 2);
    *p++ = '-';
    hex(p, lo, 6);
}

static void named(uint64_t seed, uint64_t key, char *out) {
    uint64_t hi = hash_mix(key ^ seed);
    uuid_text(hi, hash_mix(hi + key * 0x9e3779b97f4a7c15u), out);
}

void message_id(uint64_t seed, uint32_t seq, char *out) {
    named(seed ^ 0x6d657373616765u, (uint64_t)seq + 1, out);
}

void anonymous_id(uint64_t seed, uint32_t owner, uint32_t device, char *out) {
    named(seed ^ 0x616e6f6e796du, (uint64_t)device << 32 | owner, out);
}
