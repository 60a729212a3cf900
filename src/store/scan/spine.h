/* The inner loops that every row passes: from decoded integers to rows, and what questions do with
 * all rows of a block before they look at single ones (where does the customer change, which rows
 * are wanted, in which period do they lie).
 *
 * Plain C, and AVX-512 chosen at run time. A row of plain C costs some 3 cycles for its customer
 * and 4 for its time, because each waits for the one before; with AVX-512 sixteen rows at a time
 * wait once (expand loads, prefix sums in registers).
 *
 * Layers: vec.h. Threads: pure functions; the choice is an idempotent atomic store.
 */
#pragma once

#include "store/codec/vec.h"

/* Moments to numbers of periods: slot (t - base) >> shift holds at most one boundary. */
struct slot_table {
    int64_t base;
    unsigned shift;
    uint32_t slots;        /* > 0 */
    const uint32_t *first; /* [slots] the period in which a slot begins         */
    const int64_t *start;  /* [first of the last slot + 2] where periods begin  */
    /* If all are equally long: a period's number is ((t - base) >> low) * multiplier >> high. */
    uint32_t multiplier; /* 0: they are not */
    unsigned low, high;
};
/* Sets these three for periods of `length` from base on, if that can be exact up to base + span. */
void slot_table_equal(struct slot_table *p, int64_t length, int64_t span);

/* What a question thinks of a text, by its code. */
enum verdict { VERDICT_OPEN, VERDICT_NO, VERDICT_YES, VERDICT_SPARE = 3 };

struct spine_kernels {
    /* Row i's customer: first plus the gaps of all runs up to its own. `gaps` has a readable word
     * behind its last. False unless customers ascend from run to run, within u32. Row 0 is a start.
     */
    bool (*customers)(const uint64_t *starts, uint32_t n, uint32_t first, const uint32_t *gaps,
                      uint32_t *out);
    /* Row i's moment: (base + t) * unit, t being the next of `firsts` at a start, else the t before
     * plus the next of `gaps` (modulo 2^32). Both have a readable word behind their last. Row 0 is
     * a start. */
    void (*times)(const uint64_t *starts, uint32_t n, const uint32_t *firsts, const uint32_t *gaps,
                  int64_t base, int64_t unit, int64_t *out);
    /* out[i] = table[out[i]], or table[0] and false for what is not below `entries`. `table` has a
     * readable first word even if there are none. */
    bool (*look_up)(const uint32_t *table, uint32_t entries, uint32_t n, uint32_t *out);
    /* All of 1 << (a[i] % 64): which events there may be. */
    uint64_t (*mask)(const uint32_t *a, uint32_t n);
    /* Sets bit i where a[i] == v; other bits stay. */
    void (*equal)(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits);
    /* What is known of the codes at the set bits of `ask`: *pass where known[codes[i]] is
     * VERDICT_YES, *open where it is VERDICT_OPEN or there is no such code. All arrays have
     * CHUNK_ROWS; `known` has VERDICT_SPARE readable bytes behind its n. */
    void (*verdicts)(const uint8_t *known, uint32_t n, const uint32_t *codes, const uint64_t *ask,
                     uint64_t *pass, uint64_t *open);
    /* Sets bit 0, and bit i where a[i] != a[i - 1]; other bits stay. n > 0. */
    void (*changes)(const uint32_t *a, uint32_t n, uint64_t *bits);
    /* Sets bit i > 0 where t[i] - t[i - 1] > gap; other bits stay. */
    void (*pauses)(const int64_t *t, uint32_t n, int64_t gap, uint64_t *bits);
    /* Clears bit i where t[i] < from or t[i] >= to; other bits stay. */
    void (*keep_span)(const int64_t *t, uint32_t n, int64_t from, int64_t to, uint64_t *bits);
    /* out[i] = the period of t[i]; of a moment outside the table, some period of it. */
    void (*periods)(const struct slot_table *p, const int64_t *t, uint32_t n, uint32_t *out);
    /* What stands at the set bits, side by side. All arrays have CHUNK_ROWS; what is behind the
     * last of `out` is unspecified. Bits from n on are clear. */
    uint32_t (*index)(const uint64_t *bits, uint16_t *out); /* the positions themselves */
    uint32_t (*count)(const uint64_t *bits);                /* how many */
    /* out[k] = how many bits are set before position rows[k], which ascend; n positions. */
    void (*ranks)(const uint64_t *bits, const uint16_t *rows, uint32_t n, uint16_t *out);
    uint32_t (*pick_u32)(const uint32_t *a, uint32_t n, const uint64_t *bits, uint32_t *out);
    uint32_t (*pick_i64)(const int64_t *a, uint32_t n, const uint64_t *bits, int64_t *out);
    /* The reverse, in place: the first values of a[] go to the set bits. All of a[] has CHUNK_ROWS;
     * at clear bits it is unspecified afterwards. */
    void (*spread_u32)(const uint64_t *bits, uint32_t *a);
    void (*spread_f64)(const uint64_t *bits, double *a);
};

const struct spine_kernels *spine_kernels(void); /* the best of this CPU */

extern const struct spine_kernels SPINE_PLAIN;
#if defined(__x86_64__)
extern const struct spine_kernels SPINE_AVX512;
#endif
