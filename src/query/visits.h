/* Visits: runs of a batch's matching rows that are alike, of one customer, in one period, with the
 * same values to split by. What is counted once a customer and period is done once a visit instead
 * of once a row; a row costs only vector comparisons.
 *
 * Neighbouring visits may still be alike (at the border of two batches, or where an absent value
 * hides a stale one): a visit is a bound from above, never from below.
 *
 * Layers: splits.h, store/scan/spine.h. Threads: one owner.
 */
#pragma once

#include "query/splits.h"

struct visits {
    uint32_t n;
    uint32_t rows;              /* how many rows match                      */
    uint16_t row[CHUNK_ROWS];   /* of the batch: where the visit begins     */
    uint16_t first[CHUNK_ROWS]; /* which of the matching rows that is       */
    uint32_t slot[CHUNK_ROWS];  /* customer - first of the range            */
    uint32_t period[CHUNK_ROWS];
};

/* The matching rows side by side: the batch's own arrays if all match. */
struct chosen_rows {
    uint32_t n;
    const uint32_t *customer;
    const int64_t *time;
    uint32_t customers[CHUNK_ROWS];
    int64_t times[CHUNK_ROWS];
};
void choose_rows(const struct feed *f, const uint64_t *bits, struct chosen_rows *c);

/* Rows that do not match are passed over: what changes at one of them changes at the next that
 * matches. Both are bits of a batch's rows; the changes are of matching rows afterwards. */
void carry_changes(const uint64_t *match, uint64_t *change);

/* Of the rows that match; `splitter` NULL: values do not matter. */
int visits_find(const struct match *m, const struct periods *p, struct splitter *splitter,
                struct worker *w, struct feed *f, struct visits *out,
                struct keel_error *err) K_CHECKED;
