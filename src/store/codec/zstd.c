/* zstd for small blocks: one context of each kind per thread, because creating one costs more than
 * a chunk takes (a compression context is some 100 KB of tables).
 *
 * Layers: codec_int.h. Threads: the contexts live in thread-specific data and end with the thread.
 */
#include <pthread.h>
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_f_zstd1_magicless, stable since 1.4 */
#include <zstd.h>

#include "store/codec/codec_int.h"

/* Level 3 was not smaller than 1 on event columns, and a third slower. */
enum { LEVEL = 1 };

struct contexts {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void contexts_free(void *p) {
    struct contexts *c = p;
    ZSTD_freeCCtx(c->compress);
    ZSTD_freeDCtx(c->decompress);
    k_free(c);
}

static void make_key(void) { K_ASSERT(pthread_key_create(&key, contexts_free) == 0); }

static struct contexts *contexts(void) {
    pthread_once(&once, make_key);
    struct contexts *c = pthread_getspecific(key);
    if (!c) {
        c = k_zalloc(sizeof *c);
        K_ASSERT(pthread_setspecific(key, c) == 0);
    }
    return c;
}

size_t squeeze(const void *p, size_t n, uint8_t *out, size_t room) {
    struct contexts *c = contexts();
    if (!c->compress) {
        c->compress = ZSTD_createCCtx();
        if (!c->compress) return 0;
        ZSTD_CCtx_setParameter(c->compress, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(c->compress, ZSTD_c_format, ZSTD_f_zstd1_magicless);
        ZSTD_CCtx_setParameter(c->compress, ZSTD_c_contentSizeFlag, 0);
    }
    size_t size = ZSTD_compress2(c->compress, out, room, p, n);
    return ZSTD_isError(size) ? 0 : size;
}

int unsqueeze(struct str bytes, size_t n, void *out) {
    struct contexts *c = contexts();
    if (!c->decompress) {
        c->decompress = ZSTD_createDCtx();
        if (!c->decompress) return -KEEL_E_NO_MEMORY;
        ZSTD_DCtx_setParameter(c->decompress, ZSTD_d_format, ZSTD_f_zstd1_magicless);
    }
    size_t size = ZSTD_decompressDCtx(c->decompress, out, n, bytes.p, bytes.n);
    return ZSTD_isError(size) || size != n ? -KEEL_E_CORRUPT : 0;
}
