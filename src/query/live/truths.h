/* Truths: a row of bits for each customer: what every leaf of the live segments says of him.
 *
 * What is asked together lies together: whether a customer is a member of a segment is read from
 * one or two lines of memory, whatever the leaves keep. The first change of a row since the last
 * truths_settle copies it as it was, so what a segment said before and says now are two evaluations
 * of the same tree; a leaf that changes and changes back has not changed.
 *
 *   row: u64 0: TRUTH_* flags, number of the copy + 1 above | words - 1 of leaves' bits
 *
 * A leaf's bit may be one that another leaf had: truths_column sets it for everybody.
 *
 * Layers: base. Threads: one owner. Limits: memory, 8 bytes a customer and 64 leaves, and 8 more.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRUTH_THERE = 1,  /* a root number with an event that is past                */
    TRUTH_ACTIVE = 2, /* with such an event, or a merge, since the last settling */
    TRUTH_PAGE = 1024,
    TRUTH_FIRST_BIT = 64,
};

struct truths {
    uint32_t words;   /* of a row */
    uint32_t numbers; /* rows */
    uint64_t **pages;
    uint32_t n_pages;
    uint64_t *fresh;   /* [words] the row of a customer of whom nothing is known */
    uint64_t *used;    /* [words] bits that are given out                        */
    bool quiet;        /* nobody is told: rows are changed without a copy        */
    uint32_t *touched; /* customers whose rows were copied                       */
    uint64_t *before;  /* [cap * words] the copies                               */
    uint32_t n_touched, cap;
};

void truths_init(struct truths *t);
void truths_release(struct truths *t);
/* Rows for numbers below `numbers`; they begin as `fresh`. */
void truths_grow(struct truths *t, uint32_t numbers);
uint64_t truths_bytes(const struct truths *t);

/* A free bit, set to `value` for everybody who is and will come. Nothing is touched. */
uint32_t truths_take_bit(struct truths *t, bool value);
void truths_give_back(struct truths *t, uint32_t bit);
void truths_column(struct truths *t, uint32_t bit, bool value);

static inline uint64_t *truths_row(const struct truths *t, uint32_t customer) {
    return t->pages[customer / TRUTH_PAGE] + (size_t)(customer % TRUTH_PAGE) * t->words;
}
static inline bool truth_in(const uint64_t *row, uint32_t bit) {
    return row[bit / 64] >> (bit % 64) & 1;
}
static inline bool truths_say(const struct truths *t, uint32_t customer, uint32_t bit) {
    return truth_in(truths_row(t, customer), bit);
}
void truths_touch_slow(struct truths *t, uint64_t *row, uint32_t customer);
/* The row, to be changed. */
static inline uint64_t *truths_touch(struct truths *t, uint32_t customer) {
    uint64_t *row = truths_row(t, customer);
    if (!t->quiet && !(row[0] >> 32)) truths_touch_slow(t, row, customer);
    return row;
}
/* True: it was another one. */
static inline bool truths_put(struct truths *t, uint32_t customer, uint32_t bit, bool value) {
    if (truths_say(t, customer, bit) == value) return false;
    truths_touch(t, customer)[bit / 64] ^= (uint64_t)1 << (bit % 64);
    return true;
}

/* The row of a touched customer as it was. */
static inline const uint64_t *truths_before(const struct truths *t, const uint64_t *row) {
    return t->before + (size_t)((row[0] >> 32) - 1) * t->words;
}
void truths_sort_touched(struct truths *t); /* ascending */
void truths_settle(struct truths *t);       /* nobody is touched, nobody active */
