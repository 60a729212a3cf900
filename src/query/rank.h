/* The value at a rank of an array, without sorting it.
 *
 * Layers: none. Threads: pure. */
#pragma once

#include <stdint.h>

/* The value that would stand at v[k] if v were sorted; reorders v. 0 <= k < n. Expected linear. */
int64_t rank_select(int64_t *v, uint64_t n, uint64_t k);

/* Numbers to whole numbers of the same order; v is no NaN. */
static inline int64_t rank_of_number(double v) {
    union {
        double number;
        int64_t bits;
    } u = {.number = v == 0 ? 0.0 : v};
    return u.bits < 0 ? INT64_MIN - u.bits : u.bits;
}
