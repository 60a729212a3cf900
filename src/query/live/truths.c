/* Implementation of truths.h. */
#include "query/live/truths.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { MARK_SHIFT = 32, PAGE_BYTES = TRUTH_PAGE * TRUTH_BANK * sizeof(uint64_t) };

/* ---- banks ---- */

static uint64_t *widened(uint64_t *row, uint32_t from, uint32_t to) {
    row = k_realloc(row, to * sizeof *row);
    memset(row + from, 0, (to - from) * sizeof *row);
    return row;
}

static void add_bank(struct truths *t) {
    uint32_t n = t->words / TRUTH_BANK, words = t->words + TRUTH_BANK;
    t->banks = k_realloc(t->banks, (n + 1) * sizeof *t->banks);
    t->banks[n].pages = k_zalloc((t->n_pages + 1) * sizeof(uint64_t *));
    t->fresh = widened(t->fresh, t->words, words);
    t->used = widened(t->used, t->words, words);
    t->row = widened(t->row, t->words, words);
    k_free(t->before); /* of rows of another width */
    t->before = NULL;
    t->cap = 0;
    t->words = words;
}

static void write_page(struct truths *t, uint32_t bank, uint32_t page) {
    uint64_t **at = &t->banks[bank].pages[page];
    if (*at) return;
    *at = k_zalloc(PAGE_BYTES);
    t->bytes += PAGE_BYTES;
}

void truths_init(struct truths *t) {
    *t = (struct truths){0};
    add_bank(t);
}

void truths_release(struct truths *t) {
    for (uint32_t b = 0; b < t->words / TRUTH_BANK; b++) {
        for (uint32_t i = 0; i < t->n_pages; i++) k_free(t->banks[b].pages[i]);
        k_free(t->banks[b].pages);
    }
    k_free(t->banks);
    k_free(t->fresh);
    k_free(t->used);
    k_free(t->row);
    k_free(t->touched);
    k_free(t->before);
    *t = (struct truths){0};
}

static void add_pages(struct truths *t, uint32_t n_pages) {
    for (uint32_t b = 0; b < t->words / TRUTH_BANK; b++) {
        uint64_t **pages = k_realloc(t->banks[b].pages, n_pages * sizeof(uint64_t *));
        memset(pages + t->n_pages, 0, (n_pages - t->n_pages) * sizeof(uint64_t *));
        t->banks[b].pages = pages;
    }
    t->n_pages = n_pages;
}

void truths_grow(struct truths *t, uint32_t numbers) {
    if (numbers / TRUTH_PAGE >= t->n_pages) add_pages(t, numbers / TRUTH_PAGE + 1);
    for (; t->numbers < numbers; t->numbers++)
        for (uint32_t b = 0; b < t->words / TRUTH_BANK; b++) {
            write_page(t, b, t->numbers / TRUTH_PAGE);
            memcpy(truths_at(t, t->numbers, b * TRUTH_BANK), t->fresh + (size_t)b * TRUTH_BANK,
                   TRUTH_BANK * sizeof(uint64_t));
        }
}

/* ---- bits ---- */

void truths_column(struct truths *t, uint32_t bit, bool value, uint32_t first, uint32_t n) {
    uint32_t word = bit / 64;
    uint64_t mask = (uint64_t)1 << (bit % 64), set = value ? mask : 0;
    for (uint32_t customer = first; customer < first + n; customer++) {
        write_page(t, word / TRUTH_BANK, customer / TRUTH_PAGE);
        uint64_t *at = truths_at(t, customer, word);
        *at = (*at & ~mask) | set;
    }
}

uint32_t truths_take_bit(struct truths *t, bool value) {
    uint32_t word = TRUTH_FIRST_BIT / 64;
    K_ASSERT(t->n_touched == 0);
    while (word < t->words && !~t->used[word]) word++;
    if (word == t->words) add_bank(t);
    uint32_t bit = word * 64 + (uint32_t)__builtin_ctzll(~t->used[word]);
    uint64_t mask = (uint64_t)1 << (bit % 64);
    t->used[word] |= mask;
    t->fresh[word] = (t->fresh[word] & ~mask) | (value ? mask : 0);
    return bit;
}

void truths_give_back(struct truths *t, uint32_t bit) {
    t->used[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

void truths_turn(struct truths *t, uint32_t customer, uint32_t bit) {
    uint32_t word = bit / 64;
    (void)truths_touch(t, customer);
    write_page(t, word / TRUTH_BANK, customer / TRUTH_PAGE);
    *truths_at(t, customer, word) ^= (uint64_t)1 << (bit % 64);
}

/* ---- rows ---- */

static void copy_row(const struct truths *t, uint32_t customer, uint64_t *out) {
    for (uint32_t b = 0; b < t->words / TRUTH_BANK; b++, out += TRUTH_BANK) {
        const uint64_t *row = truths_at(t, customer, b * TRUTH_BANK);
        if (row)
            memcpy(out, row, TRUTH_BANK * sizeof *out);
        else
            memset(out, 0, TRUTH_BANK * sizeof *out);
    }
}

const uint64_t *truths_row(struct truths *t, uint32_t customer) {
    copy_row(t, customer, t->row);
    return t->row;
}

void truths_touch_slow(struct truths *t, uint32_t customer) {
    if (t->n_touched == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->touched = k_realloc(t->touched, t->cap * sizeof *t->touched);
        t->before = k_realloc(t->before, (size_t)t->cap * t->words * sizeof *t->before);
    }
    copy_row(t, customer, t->before + (size_t)t->n_touched * t->words);
    t->touched[t->n_touched++] = customer;
    *truths_at(t, customer, 0) |= (uint64_t)t->n_touched << MARK_SHIFT;
}

static int compare_numbers(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void truths_sort_touched(struct truths *t) {
    if (t->n_touched > 1) qsort(t->touched, t->n_touched, sizeof *t->touched, compare_numbers);
}

void truths_settle(struct truths *t) {
    for (uint32_t i = 0; i < t->n_touched; i++) *truths_at(t, t->touched[i], 0) &= TRUTH_THERE;
    t->n_touched = 0;
}
