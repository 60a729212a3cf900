/* Sums that are exact for money and do not depend on the order of the addends.
 *
 * A double that is a decimal with up to four places and below 2^50 / 10^4 (all usual amounts) is
 * added as a whole number of ten-thousandths, in integers. Another value is rounded to a multiple
 * of 2^-40 once, and added as an integer of 128 bits: the error is below 10^-12 a value and the
 * same whatever the order. Only values from 2^63 on are added as doubles. So an answer is the same
 * for any number of threads, before and after compaction.
 *
 * Layers: base. Threads: one owner; struct sum values may be merged in any order.
 */
#pragma once

#include <math.h>
#include <stdbool.h>

#include "base/mem.h"

#define SUM_SCALE 1e4

struct sum {
    __int128 whole; /* × 10^-4  */
    __int128 fine;  /* × 2^-40  */
    double huge;
};

/* True if v is a whole number of ten-thousandths and small enough to add integers for long. */
static inline bool sum_is_whole(double v, int64_t *out) {
    double scaled = v * SUM_SCALE;
    if (!(fabs(scaled) < 0x1p50)) return false;
    double rounded = (scaled + 0x1.8p52) - 0x1.8p52; /* to nearest, without a call */
    *out = (int64_t)rounded;
    return rounded / SUM_SCALE == v;
}

void sum_add(struct sum *s, double v);
void sum_merge(struct sum *into, const struct sum *from);
double sum_value(const struct sum *s);

/* An array of sums: 8 bytes each as long as all values are short decimals. */
struct sums {
    int64_t *whole;
    struct sum *rest; /* NULL until a value needs it */
    uint32_t n;
    bool failed; /* no memory for `rest` */
};

int sums_init(struct sums *s, uint32_t n) K_CHECKED;   /* zeroed */
int sums_resize(struct sums *s, uint32_t n) K_CHECKED; /* new ones are zero; never shrinks */
void sums_release(struct sums *s);
void sums_clear(struct sums *s, uint32_t from, uint32_t n);
void sums_add_slow(struct sums *s, uint32_t i, double v);
static inline void sums_add(struct sums *s, uint32_t i, double v) {
    int64_t whole, total;
    if (__builtin_expect(
            sum_is_whole(v, &whole) && !__builtin_add_overflow(s->whole[i], whole, &total), 1))
        s->whole[i] = total;
    else
        sums_add_slow(s, i, v);
}
struct sum sums_get(const struct sums *s, uint32_t i);
static inline double sums_value(const struct sums *s, uint32_t i) {
    if (__builtin_expect(!s->rest, 1)) return (double)s->whole[i] / SUM_SCALE;
    struct sum one = sums_get(s, i);
    return sum_value(&one);
}
