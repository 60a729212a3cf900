/* Scans: a snapshot's events, customer by customer, in batches.
 *
 * A scan runs over a range of customer numbers and hands out batches of up to 1,024 rows such that
 *   - every event of every root customer in the range is handed out exactly once, under its root;
 *   - if the scan is ordered, the rows of one customer come in (time, number, arrival) order, over
 *     all batches of the range; an unordered scan may mix them (for sums, counts, minima).
 * Only the columns, blocks and events that were asked for are read; a rare event asked for alone
 * is read from its posting copy.
 *
 * How: sources (parts and heads) are taken bucket by bucket in time order. Customers whose rows lie
 * in one source and in place are fed straight from its blocks (fast path). The others (late rows in
 * an overflow part, merged but not rewritten) are gathered from all sources of the bucket, sorted,
 * and fed as batches of their own.
 *
 * Layers: source.h, store.h. Threads: a scan belongs to one thread; many scans of one snapshot may
 * run at once.
 */
#pragma once

#include "store/source.h"

struct snapshot;
struct scan;

enum { SCAN_MAX_COLUMNS = 64, SCAN_MAX_EVENTS = 256 };

struct scan_spec {
    const uint32_t *events; /* stream ids of the events to see; NULL: all               */
    uint32_t event_count;
    const uint32_t *columns; /* column ids; at most SCAN_MAX_COLUMNS                     */
    uint32_t column_count;
    int64_t from_ms, to_ms; /* half-open; INT64_MIN, INT64_MAX: no bound                */
    bool ordered;
    bool places; /* batch_places will be asked */
    bool blind;  /* with all events: which event a row is of is not asked, nor a column of one */
};

struct scan_cost { /* of one scan, or added up */
    uint64_t rows, blocks, bytes;
    uint64_t gathered; /* rows that took the slow path */
};

/* Rows of one batch. `live` marks the rows that belong to the answer (range, time, events asked
 * for); all other rows must be ignored. */
struct batch {
    uint32_t n;
    const uint32_t *customer; /* roots, in [first, first + count) of the range for live rows */
    const int64_t *time;      /* ms */
    const uint32_t *event;    /* stream ids; unspecified in a blind scan */
    const uint64_t *starts;   /* bits: row 0, and rows whose customer is not that of the row before;
                                 NULL: not at hand */
    uint64_t live[BITS_WORDS];
    struct scan *scan;
};

int scan_open(const struct snapshot *snap, const struct scan_spec *spec, struct scan **out,
              struct keel_error *err) K_CHECKED;
void scan_close(struct scan *s);

/* Starts over with the root customers first .. first+count-1. */
int scan_range(struct scan *s, uint32_t first, uint32_t count, struct keel_error *err) K_CHECKED;

/* 1: *out is the next batch (valid until the next call); 0: the range is done; negative: error. */
int scan_next(struct scan *s, struct batch *out, struct keel_error *err) K_CHECKED;

/* The values of column number `column` of the spec (index, not id), row by row of the batch: slot i
 * belongs to row i; rows of other events are absent. Decoded on first use. Event columns and
 * context columns only. */
int batch_column(const struct batch *b, uint32_t column, const struct vec **out,
                 struct keel_error *err) K_CHECKED;

/* A column of line items: the items of row i are values first[i] .. first[i]+count[i]-1 of *out,
 * which holds the items of the whole batch (chunks of 1,024: item k is slot k % 1024 of
 * out[k / 1024]). */
struct batch_items {
    uint32_t total;
    const uint32_t *first, *count; /* [n] */
    const struct vec *chunks;      /* [(total + 1023) / 1024] */
};
int batch_item_column(const struct batch *b, uint32_t column, struct batch_items *out,
                      struct keel_error *err) K_CHECKED;

/* Where the live rows of a batch stand: for readers of single rows, who take values from the source
 * themselves. `ordinal`: among the rows of the event. Only of a scan with `places`, which is not
 * blind. out: [n]. */
struct row_place {
    const struct source *source;
    uint32_t row, ordinal;
};
void batch_places(const struct batch *b, struct row_place *out);

struct scan_cost scan_cost(const struct scan *s);
