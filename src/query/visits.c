/* Implementation of visits.h. */
#include "query/visits.h"

#include "store/spine.h"

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

static void find_periods(const struct periods *p, const struct chosen_rows *c, uint32_t *out) {
    struct slot_table table = {p->base, p->shift, p->slots, p->table, p->start};
    if (p->n == 1)
        memset(out, 0, c->n * sizeof *out);
    else
        spine_kernels()->periods(&table, c->time, c->n, out);
}

int visits_find(const struct match *m, const struct periods *p, struct splitter *splitter,
                struct worker *w, struct feed *f, struct visits *out, struct keel_error *err) {
    const struct spine_kernels *kernels = spine_kernels();
    uint64_t bits[BITS_WORDS], change[BITS_WORDS] = {0};
    uint32_t period[CHUNK_ROWS];
    struct chosen_rows c;
    out->n = out->rows = 0;
    TRY(match_rows(m, w, f, bits, err));
    if (!bits_any(bits)) return 0;
    choose_rows(f, bits, &c);
    find_periods(p, &c, period);
    kernels->changes(c.customer, c.n, change);
    if (p->n > 1) kernels->changes(period, c.n, change);
    if (splitter && splitter->splits->by_event) {
        if (c.n == f->n)
            TRY(splitter_changes(splitter, f, change, err));
        else
            bits_first(change, c.n); /* values are not side by side: each row for itself */
    }
    out->rows = c.n;
    out->n = kernels->index(change, out->first);
    kernels->pick_u32(c.customer, c.n, change, out->slot);
    for (uint32_t k = 0; k < out->n; k++) out->slot[k] -= f->first;
    kernels->pick_u32(period, c.n, change, out->period);
    if (c.n == f->n) {
        memcpy(out->row, out->first, out->n * sizeof *out->row);
        return 0;
    }
    uint16_t rows[CHUNK_ROWS];
    kernels->index(bits, rows);
    for (uint32_t k = 0; k < out->n; k++) out->row[k] = rows[out->first[k]];
    return 0;
}
