/* Runs of a head: shared by head/view.c (reading a run) and head/runs.c (sorting and merging them).
 * Private to the head. */
#pragma once

#include <stdatomic.h>

#include "store/head/head_int.h"

struct view_stream;

/* The head's tables as they were when a run was made, with all that its rows have. */
struct head_tables {
    _Atomic uint32_t refs;
    struct head_column **columns;
    uint32_t column_capacity;
    struct head_stream **streams;
    uint32_t stream_capacity;
};
struct head_tables *head_tables_ref(struct head_tables *t);
void head_tables_unref(struct head_tables *t);

/* A run. */
struct head_source {
    struct source base;
    _Atomic uint32_t refs;
    const struct head *head;
    struct head_tables *tables;
    uint32_t *row; /* arrival index of each row */
    uint32_t *customer, *event;
    uint32_t *block_first, *block_last;
    uint64_t *block_events;
    uint32_t stream_capacity;
    struct view_stream **streams;
};

/* Rows in the order of a run, with the root of each. */
struct run_rows {
    uint32_t n;
    uint32_t *row, *customer;
};
/* The stretch of arrivals that it is of. */
struct run_span {
    uint64_t from, to;
};

/* Takes the arrays of `rows`; at least one. */
struct head_source *run_new(const struct head *h, struct head_tables *tables, int32_t bucket,
                            struct run_rows rows, struct run_span span, uint32_t version);
struct head_source *run_ref(struct head_source *v);
void run_unref(struct head_source *v);
