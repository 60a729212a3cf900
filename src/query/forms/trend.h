/* Measures over time: the machine of the form TREND. One machine a measure; its cells are
 * group × period.
 *
 * Layers: form_tools.h. Threads: see machine.h.
 */
#pragma once

#include "query/forms/form_tools.h"
#include "query/pairs.h"
#include "query/visits.h"

struct trend_measure {
    struct machine machine;
    const struct query_measure *measure;
    const struct periods *periods;
    uint32_t over;
    struct match match;
    struct field field;
    struct splits splits;
    bool by_visits;             /* customers, or events without a property: one step a visit  */
    struct trend_measure *twin; /* an earlier one of the same events: visits and groups are its */
};

/* The visits of a batch with their groups and cells. */
struct trend_visits {
    uint64_t serial; /* of the batch; 0: none */
    struct visits visits;
    uint32_t groups[CHUNK_ROWS], cells[CHUNK_ROWS];
};

struct trend_state {
    const struct trend_measure *m;
    struct worker *worker;
    struct splitter splitter; /* unused with a twin: see trend_groups */
    struct trend_visits *visits;
    struct counters n; /* events, values, customers; rolling customers: changes from cell to cell */
    struct sums sums;
    double *extreme;  /* NAN: none */
    uint8_t *touched; /* the cell has an event; unused where counts tell: trend_touched */
    uint32_t cells;   /* of sums, extreme and touched */
    struct dict dict;
    struct field_reader reader;
    struct flat flat;
    struct pairs values; /* UNIQUE: (cell, id)                                     */
    /* CUSTOMERS, by slot: the last period, and of it the groups below 64 */
    uint32_t *last; /* period + 1; 0: none */
    uint64_t *seen;
    struct pairs last_of; /* (slot, group) -> last period + 1: other groups, and rolling */
};

/* The groups of a measure's cells. */
const struct groups *trend_groups(const struct worker *w, const struct trend_measure *m);

/* Has a cell an event? */
static inline bool trend_touched(const struct trend_state *s, uint64_t cell) {
    bool counted = s->m->by_visits && (s->m->over == 1 || s->m->measure->agg == QUERY_COUNT_OF);
    return counted ? s->n.n[cell] > 0 : s->touched[cell];
}

/* `earlier`: the measures before this one, of which one may be its twin. */
int trend_measure_new(struct plan *p, const struct query_measure *measure,
                      const struct periods *periods, struct span span, uint32_t over,
                      struct trend_measure *const *earlier, uint32_t n_earlier,
                      struct trend_measure **out, struct keel_error *err) K_CHECKED;
