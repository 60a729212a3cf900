/* Truths: a row of bits for each customer: what every leaf of the live segments says of him.
 *
 * What is asked together lies together: whether a customer is a member of a segment is read from
 * one or two lines of memory, whatever the leaves keep. The first change of a row since the last
 * truths_settle copies it as it was, so what a segment said before and says now are two evaluations
 * of the same tree; a leaf that changes and changes back has not changed.
 *
 *   row: u64 0: TRUTH_* flags, number of the copy + 1 above | words - 1 of leaves' bits
 *
 * Rows lie in banks of TRUTH_BANK words: more leaves are one more bank, and no row is moved. A page
 * of a bank that nobody has written says no to everything.
 *
 * A leaf's bit may be one that another leaf had: truths_column sets it for a range of customers.
 *
 * Layers: base. Threads: one owner. Limits: memory, 32 bytes a customer and 256 leaves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRUTH_THERE = 1,  /* a root number with an event that is past                */
    TRUTH_ACTIVE = 2, /* with such an event, or a merge, since the last settling */
    TRUTH_PAGE = 1024,
    TRUTH_BANK = 4,
    TRUTH_FIRST_BIT = 64,
};

struct truth_bank {
    uint64_t **pages; /* [n_pages]; NULL: all zero */
};

struct truths {
    uint32_t words;   /* of a row: TRUTH_BANK of each bank */
    uint32_t numbers; /* rows */
    struct truth_bank *banks;
    uint32_t n_pages;
    uint64_t *fresh;   /* [words] the row of a customer of whom nothing is known */
    uint64_t *used;    /* [words] bits that are given out                        */
    uint64_t *row;     /* [words] of truths_row */
    bool quiet;        /* nobody is told: rows are changed without a copy        */
    uint32_t *touched; /* customers whose rows were copied                       */
    uint64_t *before;  /* [cap * words] the copies                               */
    uint32_t n_touched, cap;
    uint64_t bytes; /* of pages */
};

void truths_init(struct truths *t);
void truths_release(struct truths *t);
/* Rows for numbers below `numbers`; they begin as `fresh`. */
void truths_grow(struct truths *t, uint32_t numbers);

/* A free bit; of customers to come it says `value`, of those who are whatever it said last. Nobody
 * may be touched. */
uint32_t truths_take_bit(struct truths *t, bool value);
void truths_give_back(struct truths *t, uint32_t bit);
/* The bit of customers [first, first + n); nobody is touched by that. */
void truths_column(struct truths *t, uint32_t bit, bool value, uint32_t first, uint32_t n);

static inline uint64_t *truths_at(const struct truths *t, uint32_t customer, uint32_t word) {
    uint64_t *page = t->banks[word / TRUTH_BANK].pages[customer / TRUTH_PAGE];
    return page ? page + (size_t)(customer % TRUTH_PAGE) * TRUTH_BANK + word % TRUTH_BANK : NULL;
}
/* Word 0 of the row; to be read. */
static inline uint64_t truths_flags(const struct truths *t, uint32_t customer) {
    return *truths_at(t, customer, 0);
}
static inline bool truth_in(const uint64_t *row, uint32_t bit) {
    return row[bit / 64] >> (bit % 64) & 1;
}
static inline bool truths_say(const struct truths *t, uint32_t customer, uint32_t bit) {
    const uint64_t *word = truths_at(t, customer, bit / 64);
    return word && *word >> (bit % 64) & 1;
}
/* All words of the row, until the next call. */
const uint64_t *truths_row(struct truths *t, uint32_t customer);

void truths_touch_slow(struct truths *t, uint32_t customer);
/* Word 0 of the row, which is about to change. */
static inline uint64_t *truths_touch(struct truths *t, uint32_t customer) {
    uint64_t *flags = truths_at(t, customer, 0);
    if (!t->quiet && !(*flags >> 32)) truths_touch_slow(t, customer);
    return flags;
}
void truths_turn(struct truths *t, uint32_t customer, uint32_t bit);
/* True: it was another one. */
static inline bool truths_put(struct truths *t, uint32_t customer, uint32_t bit, bool value) {
    if (truths_say(t, customer, bit) == value) return false;
    truths_turn(t, customer, bit);
    return true;
}

/* The row of a touched customer as it was. */
static inline const uint64_t *truths_before(const struct truths *t, uint32_t customer) {
    return t->before + (size_t)((truths_flags(t, customer) >> 32) - 1) * t->words;
}
void truths_sort_touched(struct truths *t); /* ascending */
void truths_settle(struct truths *t);       /* nobody is touched, nobody active */
