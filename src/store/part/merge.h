/* A merge under way: the rows of all sources in order, range by range. Private to part/merge.c
 * (which loads them) and part/write.c (which writes them).
 *
 * Layers: part.h, source.h. Threads: one.
 */
#pragma once

#include "store/part/part.h"

struct row {
    uint32_t root, number;
    int64_t time;
    uint32_t source, slot;   /* row of the source            */
    uint32_t event, ordinal; /* ordinal in the source's stream */
};

struct ref {
    uint32_t source, slot;
};

/* Roots below `end`, from the end of the range before. */
struct range {
    uint64_t end;
    uint32_t rows; /* at most: those outside the span count, too */
};

struct part_merge {
    struct source *const *sources; /* by first arrival */
    uint32_t source_count;
    const struct part_env *env;
    uint32_t max_rows, identity_version;
    struct row *rows;
    uint32_t *order;
    uint32_t total, next; /* rows of the range, and how many are written */
    uint32_t source_rows; /* of all sources, also those outside the span */
    struct part_span span;
    struct redirect_view redirects;
    struct range *ranges; /* of roots, ascending */
    uint32_t range_count, range;
    bool in_order;              /* one source, whose rows are written as they stand */
    struct vec_buffer *fetched; /* [source_count] */
    struct fetched_chunk {
        uint32_t column, chunk;
    } * fetched_what;
    struct source **owned_sources;
};

/* 1: the rows of the next range of customers are in rows and order; 0: there is none. */
int part_merge_load(struct part_merge *m, struct keel_error *err) K_CHECKED;
