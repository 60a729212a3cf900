/* Runs the reader of the Segment dialect on a text and shows what came of it as text.
 *
 *   type 'name' u=user a=anonymous r=related time | property=value @context=value
 *   refused LINE_OR_ITEM: why at COLUMN
 *
 * Strings are in quotes, JSON in <>, lists are [{…}{…}]. */
#pragma once

#include "api/collect/segment.h"

extern const char *const EVENT_TYPE_NAMES[EVENT_TYPES];

#define RUN_NOW "2025-06-01T00:00:00Z" /* segment_options.now_ms of a run */

struct run {
    struct segment_reader *reader;
    struct batch_writer writer;
    struct segment_counts counts;
    struct segment_options options;
    struct buf text, out; /* input with its padding; what came of it */
    struct buf refused;
    struct event_key key; /* of the last event */
    struct segment_envelope envelope;
    uint64_t lines;
};

int64_t moment(const char *text); /* ISO 8601 */

void run_init(struct run *run, const char *isa);
void run_release(struct run *run);
int run_set_up(void **state); /* for CMocka: a run in *state */
int run_tear_down(void **state);

/* Reads text as lines or as one body; what came of it. */
const char *read_as(struct run *run, struct str text, bool body);
const char *read_line(struct run *run, const char *lines);

/* Prints all events of a batch; last_key may be NULL. */
void print_batch(struct buf *out, struct str bytes, struct event_key *last_key);
