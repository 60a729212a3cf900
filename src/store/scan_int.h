/* Private state of a scan: scan.c walks (fast path), scan_moved.c finds rows that lie under another
 * number than today's root, scan_gather.c collects and sorts (slow path), scan_columns.c reads
 * values for either. */
#pragma once

#include "store/part.h"
#include "store/scan.h"
#include "store/store.h"

/* Rows of `number` that a source has placed under `placed` but that belong to `root` now. */
struct moved {
    uint32_t root, placed, number;
    uint32_t source; /* of the group */
};

/* The sources of one bucket that the scan needs. */
struct group {
    struct source *const *sources;
    uint32_t count;
    bool overlapping;    /* their times do: rows of one customer must be merged */
    bool wanted;         /* any lies in the scan's span of time                 */
    struct moved *moved; /* by root */
    uint32_t moved_count;
    uint32_t *disturbed; /* customers with moved rows, either side: sorted, unique */
    uint32_t disturbed_count;
};

/* One row on the slow path. */
struct gathered_row {
    uint32_t customer, number;
    int64_t time;
    uint32_t event, ordinal, row;
    uint32_t source; /* of the group */
};

/* The last decoded chunk of a column in each source of the group. */
struct chunk_cache {
    struct vec_buffer **buffers; /* [slots] */
    uint32_t *chunks;            /* [slots] UINT32_MAX: nothing */
    uint32_t slots;
};

struct scan_column {
    struct column_info info;
    struct stream_info stream;
    uint32_t event_stream; /* whose rows have it; STREAM_ROWS for context */
    bool text;             /* some source has it without dictionary       */
    struct lexicon *lexicon;
    struct chunk_cache cache, items_cache;
    struct vec_buffer out; /* row-aligned values of the current batch */
    uint64_t out_batch;    /* serial of that batch                    */
    struct vec *item_chunks;
    uint32_t item_capacity; /* chunks */
    uint32_t item_first[CHUNK_ROWS], item_count[CHUNK_ROWS];
    uint64_t items_batch;
    struct batch_items items;
    struct arena texts; /* of the current batch on the slow path */
};

enum scan_phase { PHASE_SOURCE, PHASE_GATHER, PHASE_NEXT_GROUP };

struct scan {
    const struct snapshot *snap;
    struct scan_spec spec;
    uint32_t *events;
    uint8_t *wanted; /* by stream id */
    uint64_t wanted_mask;
    uint32_t wanted_size;
    struct group *groups;
    uint32_t group_count, most_sources;
    struct scan_column *columns;

    uint32_t first, count; /* the range of customers */
    uint32_t group;
    enum scan_phase phase;
    uint32_t source, block, end_block;               /* within the group */
    bool posting;                                    /* this source is read by postings */
    uint32_t posting_event, posting_at, posting_end; /* index into events; ordinals */
    uint32_t posting_chunk;                          /* of the current batch */
    uint64_t *slow; /* bit per customer of the range: taken by the slow path */
    uint32_t slow_words;
    bool any_slow;
    struct gathered_row *rows;
    uint32_t row_count, row_capacity, row_at;

    /* the current batch */
    uint64_t serial;
    enum { BATCH_BLOCK, BATCH_POSTING, BATCH_GATHERED } kind;
    struct row_block rowset;
    const struct gathered_row *batch_rows;
    uint64_t live[BITS_WORDS];
    struct row_block scratch;
    struct scan_cost cost;
};

/* Sets bit i where a[i] == v. */
void bits_equal_u32(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits);

int group_find_moved(struct group *g, const struct redirect_view *redirects,
                     struct keel_error *err);

/* Marks in s->slow the customers of the range that need the slow path in the current group, and
 * collects their rows, sorted, in s->rows. */
int scan_gather(struct scan *s, struct keel_error *err);
/* The next batch of them; 0 when there is none. */
int scan_gather_next(struct scan *s, struct batch *out);

void scan_columns_release(struct scan *s);
void scan_columns_new_group(struct scan *s);
