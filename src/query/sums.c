/* Implementation of sums.h. */
#include "query/sums.h"

void sum_add(struct sum *s, double v) {
    int64_t whole;
    if (sum_is_whole(v, &whole))
        s->whole += whole;
    else if (fabs(v) < 0x1p63)
        s->fine += (__int128)nearbyint(v * 0x1p40); /* v × 2^40 is exact, so one rounding */
    else
        s->huge += v;
}

void sum_merge(struct sum *into, const struct sum *from) {
    into->whole += from->whole;
    into->fine += from->fine;
    into->huge += from->huge;
}

double sum_value(const struct sum *s) {
    /* Below 2^53 the division rounds once: the double nearest to the decimal. */
    double whole = (double)((long double)s->whole / (long double)SUM_SCALE);
    if (s->whole > -((__int128)1 << 53) && s->whole < (__int128)1 << 53)
        whole = (double)(int64_t)s->whole / SUM_SCALE;
    if (s->fine == 0 && s->huge == 0) return whole;
    long double fine = (long double)s->fine * 0x1p-40L;
    return (double)((long double)s->whole / (long double)SUM_SCALE + fine + (long double)s->huge);
}

int sums_init(struct sums *s, uint32_t n) {
    *s = (struct sums){0};
    return sums_resize(s, n);
}

int sums_resize(struct sums *s, uint32_t n) {
    if (n <= s->n) return 0;
    int64_t *whole = k_try_realloc(s->whole, (size_t)n * sizeof *whole);
    if (!whole) return -KEEL_E_NO_MEMORY;
    s->whole = whole;
    memset(whole + s->n, 0, (size_t)(n - s->n) * sizeof *whole);
    if (s->rest) {
        struct sum *rest = k_try_realloc(s->rest, (size_t)n * sizeof *rest);
        if (!rest) return -KEEL_E_NO_MEMORY;
        s->rest = rest;
        memset(rest + s->n, 0, (size_t)(n - s->n) * sizeof *rest);
    }
    s->n = n;
    return 0;
}

void sums_release(struct sums *s) {
    k_free(s->whole);
    k_free(s->rest);
    *s = (struct sums){0};
}

void sums_clear(struct sums *s, uint32_t from, uint32_t n) {
    memset(s->whole + from, 0, (size_t)n * sizeof *s->whole);
    if (s->rest) memset(s->rest + from, 0, (size_t)n * sizeof *s->rest);
}

void sums_add_slow(struct sums *s, uint32_t i, double v) {
    if (!s->rest) s->rest = k_try_zalloc((size_t)s->n * sizeof *s->rest);
    if (!s->rest) {
        s->failed = true; /* whoever folds the sums reports it */
        return;
    }
    sum_add(&s->rest[i], v);
}

struct sum sums_get(const struct sums *s, uint32_t i) {
    struct sum one = s->rest ? s->rest[i] : (struct sum){0};
    one.whole += s->whole[i];
    return one;
}
