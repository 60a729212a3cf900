/* Events waiting for their day: one bin a day, QUEUE_DAYS ahead, and the sort of a finished day.
 *
 * Everything simulated on day d arrives on day d or later, so when the people of day d are done its
 * bin is complete. It is sorted by the second of arrival with two passes of a stable radix sort
 * over (second << 32 | index): ties keep the order of generation, which makes the output
 * deterministic.
 *
 * Layers: sim.h. Threads: none. Limits: memory; a failure sticks in market.failed.
 */
#include "cli/simulate/sim.h"

enum { FIRST_RECORDS = 256, RADIX_BITS = 9, RADIX = 1 << RADIX_BITS };
_Static_assert(2 * RADIX_BITS >= 17, "a second of the day has 17 bits");

static bool grow(struct market *m, void **p, size_t *cap, size_t need, size_t size) {
    size_t bigger = *cap ? *cap : FIRST_RECORDS;
    while (bigger < need) bigger += bigger / 2;
    void *q = k_try_realloc(*p, bigger * size);
    if (!q) {
        m->failed = -KEEL_E_NO_MEMORY;
        return false;
    }
    *p = q;
    *cap = bigger;
    return true;
}

void queue_put(struct market *m, const struct record *r, const struct line *lines, uint32_t n) {
    uint32_t day = r->at / DAY_SECONDS;
    K_ASSERT(day >= m->day && day < m->day + QUEUE_DAYS);
    struct bin *b = &m->bins[day % QUEUE_DAYS];
    if (b->n == b->cap && !grow(m, (void **)&b->records, &b->cap, b->n + 1, sizeof *r)) return;
    struct record *to = &b->records[b->n];
    *to = *r;
    if (n) {
        if (b->n_lines + n > b->lines_cap &&
            !grow(m, (void **)&b->lines, &b->lines_cap, b->n_lines + n, sizeof *lines))
            return;
        memcpy(b->lines + b->n_lines, lines, n * sizeof *lines);
        to->item = (uint32_t)b->n_lines;
        to->lines = (uint8_t)n;
        b->n_lines += n;
    }
    b->n++;
}

static void radix_pass(const uint64_t *from, uint64_t *to, size_t n, unsigned shift) {
    uint32_t start[RADIX] = {0};
    for (size_t i = 0; i < n; i++) start[from[i] >> shift & (RADIX - 1)]++;
    uint32_t sum = 0;
    for (size_t k = 0; k < RADIX; k++) {
        uint32_t count = start[k];
        start[k] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) to[start[from[i] >> shift & (RADIX - 1)]++] = from[i];
}

size_t queue_sort_today(struct market *m, struct bin **out_bin, const uint64_t **out_order) {
    struct bin *b = &m->bins[m->day % QUEUE_DAYS];
    uint32_t midnight = m->day * DAY_SECONDS;
    if (b->n > m->order_cap) {
        size_t cap = m->order_cap;
        if (!grow(m, (void **)&m->order[0], &cap, b->n, sizeof **m->order)) return 0;
        cap = m->order_cap;
        if (!grow(m, (void **)&m->order[1], &cap, b->n, sizeof **m->order)) return 0;
        m->order_cap = cap;
    }
    for (size_t i = 0; i < b->n; i++)
        m->order[0][i] = (uint64_t)(b->records[i].at - midnight) << 32 | i;
    radix_pass(m->order[0], m->order[1], b->n, 32);
    radix_pass(m->order[1], m->order[0], b->n, 32 + RADIX_BITS);
    *out_bin = b;
    *out_order = m->order[0];
    return b->n;
}

/* The bins of days ahead hold little; only the present day's grows to a day's size. So its space
 * moves on to the next bin: with 64 bins of their own size, 100 M events took 1.2 GB more. */
void queue_next_day(struct market *m) {
    struct bin *done = &m->bins[m->day % QUEUE_DAYS], *next = &m->bins[(m->day + 1) % QUEUE_DAYS];
    struct bin big = *done;
    *done = (struct bin){0};
    if (next->n > big.cap || next->n_lines > big.lines_cap) {
        k_free(big.records);
        k_free(big.lines);
        return;
    }
    if (next->n) memcpy(big.records, next->records, next->n * sizeof *next->records);
    if (next->n_lines) memcpy(big.lines, next->lines, next->n_lines * sizeof *next->lines);
    big.n = next->n;
    big.n_lines = next->n_lines;
    k_free(next->records);
    k_free(next->lines);
    *next = big;
}

void queue_release(struct market *m) {
    for (size_t i = 0; i < QUEUE_DAYS; i++) {
        k_free(m->bins[i].records);
        k_free(m->bins[i].lines);
    }
    k_free(m->order[0]);
    k_free(m->order[1]);
}
