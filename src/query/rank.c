/* Implementation of rank.h.
 *
 * Of many values, a histogram between the least and the greatest tells in which small stretch the
 * wanted one lies, in three passes without a branch that depends on a value; only that stretch is
 * left. Few values: Hoare's selection with the median of three as pivot. Equal values are split
 * evenly by its two scans, so long runs of them do no harm. */
#include "query/rank.h"

#include <stdbool.h>

enum { MANY = 1024, BUCKET_BITS = 10, BUCKETS = 1 << BUCKET_BITS };

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

static int64_t select_few(int64_t *v, uint64_t n, uint64_t k) {
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

/* Moves the values of the bucket that holds rank *k to the front; *k becomes their rank among them.
 * Returns how many they are: all of them only if all are equal. */
static uint64_t narrow(int64_t *v, uint64_t n, uint64_t *k) {
    int64_t least = v[0], most = v[0];
    for (uint64_t i = 1; i < n; i++) {
        least = v[i] < least ? v[i] : least;
        most = v[i] > most ? v[i] : most;
    }
    uint64_t span = (uint64_t)most - (uint64_t)least, count[BUCKETS] = {0}, bucket = 0, kept = 0;
    unsigned bits = span ? 64 - (unsigned)__builtin_clzll(span) : 0;
    unsigned shift = bits > BUCKET_BITS ? bits - BUCKET_BITS : 0;
    for (uint64_t i = 0; i < n; i++) count[((uint64_t)v[i] - (uint64_t)least) >> shift]++;
    for (; *k >= count[bucket]; bucket++) *k -= count[bucket];
    for (uint64_t i = 0; i < n; i++) {
        int64_t value = v[i], other = v[kept];
        bool in = ((uint64_t)value - (uint64_t)least) >> shift == bucket;
        v[kept] = in ? value : other;
        v[i] = in ? other : value;
        kept += in;
    }
    return kept;
}

int64_t rank_select(int64_t *v, uint64_t n, uint64_t k) {
    while (n > MANY) {
        uint64_t left = narrow(v, n, &k);
        if (left == n) break;
        n = left;
    }
    return select_few(v, n, k);
}
