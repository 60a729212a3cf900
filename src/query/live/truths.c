/* Implementation of truths.h. */
#include "query/live/truths.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_WORDS = 2, MARK_SHIFT = 32 };

void truths_init(struct truths *t) {
    *t = (struct truths){.words = FIRST_WORDS};
    t->fresh = k_zalloc(t->words * sizeof *t->fresh);
    t->used = k_zalloc(t->words * sizeof *t->used);
}

void truths_release(struct truths *t) {
    for (uint32_t i = 0; i < t->n_pages; i++) k_free(t->pages[i]);
    k_free(t->pages);
    k_free(t->fresh);
    k_free(t->used);
    k_free(t->touched);
    k_free(t->before);
    *t = (struct truths){0};
}

void truths_grow(struct truths *t, uint32_t numbers) {
    uint32_t n_pages = numbers / TRUTH_PAGE + 1;
    if (n_pages > t->n_pages) t->pages = k_realloc(t->pages, n_pages * sizeof *t->pages);
    for (; t->n_pages < n_pages; t->n_pages++)
        t->pages[t->n_pages] = k_alloc_array((size_t)TRUTH_PAGE * t->words, sizeof(uint64_t));
    for (; t->numbers < numbers; t->numbers++)
        memcpy(truths_row(t, t->numbers), t->fresh, t->words * sizeof(uint64_t));
}

uint64_t truths_bytes(const struct truths *t) {
    return ((uint64_t)t->n_pages * TRUTH_PAGE + t->cap) * t->words * sizeof(uint64_t);
}

/* ---- bits ---- */

static uint64_t *widened(const uint64_t *rows, size_t n, uint32_t words, uint32_t to) {
    uint64_t *wide = k_alloc_array(n * to, sizeof *wide);
    for (size_t i = 0; i < n; i++) {
        memcpy(wide + i * to, rows + i * words, words * sizeof *wide);
        memset(wide + i * to + words, 0, (to - words) * sizeof *wide);
    }
    return wide;
}

/* Half as many again, so that adding leaves one by one does not copy everything each time. */
static void widen(struct truths *t) {
    uint32_t to = t->words + 1 + t->words / 2;
    uint64_t **const all[] = {&t->fresh, &t->used};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t *wide = widened(*all[i], 1, t->words, to);
        k_free(*all[i]);
        *all[i] = wide;
    }
    for (uint32_t i = 0; i < t->n_pages; i++) {
        uint64_t *wide = widened(t->pages[i], TRUTH_PAGE, t->words, to);
        k_free(t->pages[i]);
        t->pages[i] = wide;
    }
    k_free(t->before);
    t->before = NULL;
    t->cap = 0;
    t->words = to;
}

void truths_column(struct truths *t, uint32_t bit, bool value) {
    uint32_t word = bit / 64;
    uint64_t mask = (uint64_t)1 << (bit % 64), set = value ? mask : 0;
    t->fresh[word] = (t->fresh[word] & ~mask) | set;
    for (uint32_t i = 0; i < t->numbers; i++) {
        uint64_t *row = truths_row(t, i);
        row[word] = (row[word] & ~mask) | set;
    }
}

uint32_t truths_take_bit(struct truths *t, bool value) {
    uint32_t word = TRUTH_FIRST_BIT / 64;
    K_ASSERT(t->n_touched == 0);
    while (word < t->words && !~t->used[word]) word++;
    if (word == t->words) widen(t);
    uint32_t bit = word * 64 + (uint32_t)__builtin_ctzll(~t->used[word]);
    t->used[word] |= (uint64_t)1 << (bit % 64);
    truths_column(t, bit, value);
    return bit;
}

void truths_give_back(struct truths *t, uint32_t bit) {
    t->used[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

/* ---- who was touched ---- */

void truths_touch_slow(struct truths *t, uint64_t *row, uint32_t customer) {
    if (t->n_touched == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->touched = k_realloc(t->touched, t->cap * sizeof *t->touched);
        t->before = k_realloc(t->before, (size_t)t->cap * t->words * sizeof *t->before);
    }
    memcpy(t->before + (size_t)t->n_touched * t->words, row, t->words * sizeof *row);
    t->touched[t->n_touched++] = customer;
    row[0] |= (uint64_t)t->n_touched << MARK_SHIFT;
}

static int compare_numbers(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void truths_sort_touched(struct truths *t) {
    if (t->n_touched > 1) qsort(t->touched, t->n_touched, sizeof *t->touched, compare_numbers);
}

void truths_settle(struct truths *t) {
    for (uint32_t i = 0; i < t->n_touched; i++) truths_row(t, t->touched[i])[0] &= TRUTH_THERE;
    t->n_touched = 0;
}
