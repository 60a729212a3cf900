/* Implementation of sort.h. */
#include "base/sort.h"

#include <stdlib.h>

enum { SHORT = 24 }; /* by insertion, without calls */

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void sort_u64(uint64_t *v, size_t n) {
    if (n > SHORT) {
        qsort(v, n, sizeof *v, compare);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const uint64_t one = v[i];
        size_t at = i;
        for (; at > 0 && v[at - 1] > one; at--) v[at] = v[at - 1];
        v[at] = one;
    }
}
