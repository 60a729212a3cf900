/* Implementation of mem.h. Arena blocks double from 4 KiB up to 2 MiB, a large page; a larger
 * request gets a block of its own. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static _Atomic uint64_t fail_countdown;

void mem_fail_after(uint64_t n) { atomic_store(&fail_countdown, n); }

static int must_fail(void) {
    uint64_t n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (__builtin_expect(n == 0, 1)) return 0;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static _Noreturn void out_of_memory(size_t bytes) {
    fprintf(stderr, "keel: out of memory (%zu bytes)\n", bytes);
    abort();
}

void *k_try_alloc(size_t bytes) { return must_fail() ? NULL : malloc(bytes ? bytes : 1); }
void *k_try_zalloc(size_t bytes) { return must_fail() ? NULL : calloc(1, bytes ? bytes : 1); }

void *k_try_realloc(void *p, size_t bytes) {
    return must_fail() ? NULL : realloc(p, bytes ? bytes : 1);
}

void *k_alloc(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

void *k_zalloc(size_t bytes) {
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

void *k_realloc(void *old, size_t bytes) {
    void *p = realloc(old, bytes ? bytes : 1);
    if (!p) out_of_memory(bytes);
    return p;
}

void *k_alloc_aligned(size_t alignment, size_t bytes) {
    void *p = aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
    if (!p) out_of_memory(bytes);
    return p;
}

enum { PAGE_LARGE = 2 << 20, TABLE_LARGE = 1 << 20, TABLE_ALIGN = 64 };

/* Asking for large pages is a hint: what the system says to it does not matter. */
static void *large_pages(size_t bytes) {
    if (bytes > SIZE_MAX - PAGE_LARGE) out_of_memory(bytes);
    bytes = (bytes + PAGE_LARGE - 1) & ~(size_t)(PAGE_LARGE - 1);
    void *p = aligned_alloc(PAGE_LARGE, bytes);
    if (p) (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void *k_alloc_table(size_t bytes) {
    if (bytes < TABLE_LARGE) return k_alloc_aligned(TABLE_ALIGN, bytes);
    void *p = large_pages(bytes);
    if (!p) out_of_memory(bytes);
    return p;
}

void *k_zalloc_table(size_t bytes) { return memset(k_alloc_table(bytes), 0, bytes); }

void k_free(void *p) { free(p); }

char *k_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    return memcpy(k_alloc(n), s, n);
}

void *k_alloc_array(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) out_of_memory(SIZE_MAX);
    return k_alloc(bytes);
}

void *k_try_alloc_array(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    return k_try_alloc(bytes);
}

/* ---- arena ---- */

enum { BLOCK_FIRST = 4096, BLOCK_MOST = 1 << 20, ALIGN = 16, ARENA_LARGE = 4 << 20 };

struct arena_block {
    struct arena_block *below;
    size_t size; /* of data[] */
    _Alignas(ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t max_bytes) { *a = (struct arena){.max_bytes = max_bytes}; }

void arena_release(struct arena *a) {
    while (a->top) {
        struct arena_block *below = a->top->below;
        k_free(a->top);
        a->top = below;
    }
    *a = (struct arena){.max_bytes = a->max_bytes};
}

/* `may_fail`: through the hook that tests use to fail an allocation. */
static struct arena_block *new_block(const struct arena *a, size_t least, int may_fail) {
    size_t size = a->top ? a->top->size * 2 : BLOCK_FIRST;
    struct arena_block *b;
    if (size > BLOCK_MOST) size = BLOCK_MOST;
    if (a->used_bytes >= ARENA_LARGE) size = PAGE_LARGE - sizeof *b;
    if (size < least) size = least;
    if (may_fail && must_fail()) return NULL;
    if (size == PAGE_LARGE - sizeof *b)
        b = large_pages(PAGE_LARGE);
    else
        b = malloc(sizeof *b + size);
    if (!b && !may_fail) out_of_memory(size);
    if (b) *b = (struct arena_block){.below = a->top, .size = size};
    return b;
}

static void *take(struct arena *a, size_t bytes, int may_fail) {
    if (bytes > a->max_bytes || a->used_bytes > a->max_bytes - bytes) return NULL;
    if (bytes > SIZE_MAX / 2) return NULL; /* rounding up must not overflow */
    size_t size = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!a->top || (size_t)(a->end - a->at) < size) { /* even for no bytes: NULL is failure */
        struct arena_block *b = new_block(a, size, may_fail);
        if (!b) return NULL;
        a->top = b;
        a->at = b->data;
        a->end = b->data + b->size;
    }
    void *p = a->at;
    a->at += size;
    a->used_bytes += bytes;
    return p;
}

void *arena_try_alloc(struct arena *a, size_t bytes) { return take(a, bytes, 1); }

void *arena_alloc(struct arena *a, size_t bytes) {
    void *p = take(a, bytes, 0);
    if (!p) out_of_memory(bytes);
    return p;
}

void *arena_zalloc(struct arena *a, size_t bytes) {
    return memset(arena_alloc(a, bytes), 0, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t n) {
    char *p = arena_alloc(a, n + 1);
    if (n > 0) memcpy(p, s, n); /* an empty slice may be NULL */
    p[n] = 0;
    return p;
}

char *arena_printf(struct arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    K_ASSERT_OP(n, >=, 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    va_start(args, format);
    vsnprintf(p, (size_t)n + 1, format, args);
    va_end(args);
    return p;
}

struct arena_mark arena_mark(const struct arena *a) {
    return (struct arena_mark){.top = a->top, .at = a->at, .used_bytes = a->used_bytes};
}

void arena_rewind(struct arena *a, struct arena_mark mark) {
    while (a->top != mark.top) {
        struct arena_block *below = a->top->below;
        k_free(a->top);
        a->top = below;
    }
    a->at = mark.at;
    a->end = a->top ? a->top->data + a->top->size : NULL;
    a->used_bytes = mark.used_bytes;
}
