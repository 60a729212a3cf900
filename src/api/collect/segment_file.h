/* Files of Segment events, one JSON document a line (NDJSON), into batches of canonical events.
 *
 * Layers: segment.h, base/input.h. Threads: none; one call reads one input to its end. Limits: the
 * input's longest line; a batch is handed on when it has reached batch_bytes.
 */
#pragma once

#include "api/collect/segment.h"
#include "base/input.h"

enum { SEGMENT_FILE_BATCH_BYTES = 2 << 20 };

struct segment_file {
    struct segment_options options;
    size_t batch_bytes; /* 0: SEGMENT_FILE_BATCH_BYTES; at most 8 MiB */
    /* Takes a finished batch, valid during the call. A negative code ends the reading and is
     * returned. */
    int (*take_batch)(void *ctx, struct str batch, uint32_t events);
    segment_refused_fn *refused; /* may be NULL */
    /* Called between blocks of lines, for a progress bar; 0 goes on, negative ends the reading
     * and is returned. May be NULL. */
    int (*progress)(void *ctx, const struct input *in);
    void *ctx;
};

struct segment_file_counts {
    struct segment_counts events;
    uint64_t lines, batches;
};

/* Reads all lines. Broken lines are refused, counted, and do not stop the file; damage of the file
 * itself does, after what came before it was handed on. */
int segment_read_file(struct input *in, const struct segment_file *file,
                      struct segment_file_counts *counts, struct keel_error *err) K_CHECKED;
