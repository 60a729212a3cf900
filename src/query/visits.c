/* Implementation of visits.h. */
#include "query/visits.h"

#include "store/scan/spine.h"

void choose_rows(const struct feed *f, const uint64_t *bits, struct chosen_rows *c) {
    const struct spine_kernels *k = spine_kernels();
    c->n = bits_count(bits);
    c->customer = f->customer;
    c->time = f->time;
    if (c->n == f->n) return;
    k->pick_u32(f->customer, f->n, bits, c->customers);
    k->pick_i64(f->time, f->n, bits, c->times);
    c->customer = c->customers;
    c->time = c->times;
}

static void find_periods(const struct periods *p, const int64_t *time, uint32_t n, uint32_t *out) {
    struct slot_table table = {.base = p->base,
                               .shift = p->shift,
                               .slots = p->slots,
                               .first = p->table,
                               .start = p->start};
    if (p->length) slot_table_equal(&table, p->length, p->start[p->n] - p->base);
    if (p->n == 1)
        memset(out, 0, n * sizeof *out);
    else
        spine_kernels()->periods(&table, time, n, out);
}

/* Adding a run of ones to a part of itself carries into the bit behind it. */
void carry_changes(const uint64_t *match, uint64_t *change) {
    uint64_t carry = 0;
    for (uint32_t w = 0; w < BITS_WORDS; w++) {
        uint64_t passed = ~match[w], sum;
        bool over = __builtin_add_overflow(passed, change[w] & passed, &sum);
        over |= __builtin_add_overflow(sum, carry, &sum);
        change[w] = (change[w] | sum) & match[w];
        carry = over;
    }
}

/* Most rows match: all comparisons are made on the batch's own arrays. */
static int find_among_all(const struct periods *p, struct splitter *splitter, struct feed *f,
                          const uint64_t *match, struct visits *out, struct keel_error *err) {
    const struct spine_kernels *kernels = spine_kernels();
    uint64_t change[BITS_WORDS] = {0};
    uint32_t period[CHUNK_ROWS];
    find_periods(p, f->time, f->n, period);
    feed_starts(f, change);
    if (p->n > 1) kernels->changes(period, f->n, change);
    if (splitter) TRY(splitter_changes(splitter, f, change, err));
    if (out->rows < f->n) carry_changes(match, change);
    out->n = kernels->index(change, out->row);
    kernels->pick_u32(f->customer, f->n, change, out->slot);
    for (uint32_t k = 0; k < out->n; k++) out->slot[k] -= f->first;
    kernels->pick_u32(period, f->n, change, out->period);
    if (out->rows == f->n) {
        memcpy(out->first, out->row, out->n * sizeof *out->first);
        return 0;
    }
    kernels->ranks(match, out->row, out->n, out->first);
    return 0;
}

/* Few rows match: they are put side by side first. Their values are not, so that with groups by
 * event each row is a visit. */
static void find_among_few(const struct periods *p, const struct splitter *splitter,
                           const struct feed *f, const uint64_t *match, struct visits *out) {
    const struct spine_kernels *kernels = spine_kernels();
    uint64_t change[BITS_WORDS] = {0};
    uint32_t period[CHUNK_ROWS];
    uint16_t rows[CHUNK_ROWS];
    struct chosen_rows c;
    choose_rows(f, match, &c);
    find_periods(p, c.time, c.n, period);
    kernels->changes(c.customer, c.n, change);
    if (p->n > 1) kernels->changes(period, c.n, change);
    if (splitter && splitter->splits->by_event) bits_first(change, c.n);
    out->n = kernels->index(change, out->first);
    kernels->pick_u32(c.customer, c.n, change, out->slot);
    for (uint32_t k = 0; k < out->n; k++) out->slot[k] -= f->first;
    kernels->pick_u32(period, c.n, change, out->period);
    kernels->index(match, rows);
    for (uint32_t k = 0; k < out->n; k++) out->row[k] = rows[out->first[k]];
}

enum { MANY_ONE_IN = 4 };

int visits_find(const struct match *m, const struct periods *p, struct splitter *splitter,
                struct worker *w, struct feed *f, struct visits *out, struct keel_error *err) {
    uint64_t match[BITS_WORDS];
    TRY(match_rows(m, w, f, match, err));
    out->n = 0;
    out->rows = bits_count(match);
    if (out->rows == 0) return 0;
    if (out->rows * MANY_ONE_IN >= f->n) return find_among_all(p, splitter, f, match, out, err);
    find_among_few(p, splitter, f, match, out);
    return 0;
}
