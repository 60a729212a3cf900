/* Implementation of rank.h: Hoare's selection with the median of three as pivot. Equal values are
 * split evenly by the two scans, so long runs of them do no harm. */
#include "query/rank.h"

static void swap(int64_t *a, int64_t *b) {
    int64_t t = *a;
    *a = *b;
    *b = t;
}

static int64_t median_of_three(int64_t *v, int64_t low, int64_t high) {
    int64_t mid = low + (high - low) / 2;
    if (v[mid] < v[low]) swap(&v[mid], &v[low]);
    if (v[high] < v[low]) swap(&v[high], &v[low]);
    if (v[high] < v[mid]) swap(&v[high], &v[mid]);
    return v[mid];
}

int64_t rank_select(int64_t *v, uint64_t n, uint64_t k) {
    int64_t low = 0, high = (int64_t)n - 1, wanted = (int64_t)k;
    while (low < high) {
        int64_t pivot = median_of_three(v, low, high), i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) swap(&v[i++], &v[j--]);
        }
        if (wanted <= j)
            high = j;
        else if (wanted >= i)
            low = i;
        else
            return pivot;
    }
    return v[wanted];
}
