/* Implementation of lexicon.h: an open-addressing table of codes over strings in chunks of 4,096.
 * The table keeps 32 bits of each hash beside the code, so a probe rarely touches a string. */
#include "store/lexicon.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"

enum { CHUNK = 4096, CHUNKS = LEXICON_MAX / CHUNK, FIRST_SLOTS = 256 };

struct slot {
    uint32_t hash, code_plus_1;
};

struct lexicon {
    pthread_mutex_t lock;
    struct arena bytes;
    struct slot *_Atomic slots; /* changed under the lock; lexicon_prefetch only hints at them */
    _Atomic uint32_t mask;
    _Atomic uint32_t count;
    struct str *_Atomic chunks[CHUNKS];
};

struct lexicon *lexicon_new(void) {
    struct lexicon *l = k_zalloc(sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    arena_init(&l->bytes, SIZE_MAX / 2);
    l->mask = FIRST_SLOTS - 1;
    l->slots = k_zalloc(FIRST_SLOTS * sizeof *l->slots);
    return l;
}

void lexicon_free(struct lexicon *l) {
    if (!l) return;
    for (size_t i = 0; i < CHUNKS && l->chunks[i]; i++) k_free(l->chunks[i]);
    k_free(l->slots);
    arena_release(&l->bytes);
    pthread_mutex_destroy(&l->lock);
    k_free(l);
}

struct str lexicon_str(const struct lexicon *l, uint32_t code) {
    const struct str *chunk = atomic_load_explicit(&l->chunks[code / CHUNK], memory_order_acquire);
    return chunk[code % CHUNK];
}

uint32_t lexicon_count(const struct lexicon *l) { return atomic_load(&l->count); }
size_t lexicon_bytes(const struct lexicon *l) {
    return l->bytes.used_bytes + (size_t)(l->mask + 1) * sizeof(struct slot) +
           (size_t)lexicon_count(l) * sizeof(struct str);
}

static void grow(struct lexicon *l) {
    const struct slot *old = l->slots;
    uint32_t size = (l->mask + 1) * 2, old_size = size / 2;
    struct slot *slots = k_zalloc_table((size_t)size * sizeof *slots);
    for (uint32_t i = 0; i < old_size; i++) {
        if (!old[i].code_plus_1) continue;
        uint32_t at = old[i].hash & (size - 1);
        while (slots[at].code_plus_1) at = (at + 1) & (size - 1);
        slots[at] = old[i];
    }
    k_free(l->slots);
    l->slots = slots;
    l->mask = size - 1;
}

/* The slot of s, or the empty one where it would go. */
static uint32_t probe(const struct lexicon *l, struct str s, uint32_t hash) {
    const struct slot *slots = l->slots;
    const uint32_t mask = l->mask;
    uint32_t at = hash & mask;
    for (; slots[at].code_plus_1; at = (at + 1) & mask)
        if (slots[at].hash == hash && str_eq(lexicon_str(l, slots[at].code_plus_1 - 1), s)) break;
    return at;
}

uint32_t lexicon_find(struct lexicon *l, struct str s) {
    pthread_mutex_lock(&l->lock);
    uint32_t code = l->slots[probe(l, s, (uint32_t)hash_str(s))].code_plus_1 - 1;
    pthread_mutex_unlock(&l->lock);
    return code;
}

uint64_t lexicon_prefetch(struct lexicon *l, struct str s) {
    uint64_t hash = hash_str(s);
    const struct slot *slots = atomic_load_explicit(&l->slots, memory_order_relaxed);
    __builtin_prefetch(&slots[hash & atomic_load_explicit(&l->mask, memory_order_relaxed)]);
    return hash;
}

uint32_t lexicon_add(struct lexicon *l, struct str s) {
    return lexicon_add_hashed(l, s, hash_str(s));
}

uint32_t lexicon_add_hashed(struct lexicon *l, struct str s, uint64_t hash64) {
    uint32_t hash = (uint32_t)hash64;
    pthread_mutex_lock(&l->lock);
    uint32_t at = probe(l, s, hash);
    uint32_t code = l->slots[at].code_plus_1 - 1;
    if (code == UINT32_MAX && l->count < LEXICON_MAX) {
        code = l->count;
        if (!l->chunks[code / CHUNK])
            atomic_store_explicit(&l->chunks[code / CHUNK],
                                  k_alloc_array(CHUNK, sizeof(struct str)), memory_order_release);
        l->chunks[code / CHUNK][code % CHUNK] = str_dup(&l->bytes, s);
        l->slots[at] = (struct slot){.hash = hash, .code_plus_1 = code + 1};
        atomic_store(&l->count, code + 1);
        if ((code + 1) * 2 > l->mask) grow(l);
    }
    pthread_mutex_unlock(&l->lock);
    return code;
}
