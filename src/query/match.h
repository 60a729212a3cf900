/* Matching: which rows of a batch are events of a kind, in a span of time, and pass a filter.
 *
 * The event is compared first (a vector loop), then the time if the span is narrower than the
 * pass's, then the filter's tests, each only on the rows that are still in question and only if
 * there are any: columns are decoded when first asked for. A test on strings runs once per distinct
 * string (code_cache of machine.h), on texts once per value.
 *
 * Layers: field.h, test.h. Threads: a match is immutable; caches are the worker's.
 */
#pragma once

#include "query/field.h"

struct filter; /* compiled */

struct match {
    struct event_set events; /* resolved; neither all nor any: nobody did it */
    struct filter *filter;   /* NULL: none */
    struct span span;
};

/* Resolves an event with its filter. An unknown event gives a note and an empty set. */
int match_compile(struct plan *p, const struct query_event *event, struct span span,
                  struct match *out, struct keel_error *err) K_CHECKED;
void match_needs(struct plan *p, const struct match *m, struct machine *machine);

/* A list of events and their needs; none: `machine` needs all events. */
int match_alphabet(struct plan *p, const struct query_event *events, uint32_t n, struct span span,
                   struct match *out, struct machine *machine, struct keel_error *err) K_CHECKED;
/* All events that the matches may match. */
void match_union(struct plan *p, const struct match *matches, uint32_t n, struct event_set *out);

/* Can one event match both? False only if surely none can. */
bool match_overlap(const struct match *a, const struct match *b);
/* Whether it is decided without looking at the rows' events. */
static inline bool match_blind(const struct match *m) { return m->events.all && !m->filter; }
static inline bool match_never(const struct match *m) { return !m->events.all && m->events.n == 0; }

/* Sets *out_bits to the matching rows among the feed's live ones. */
int match_rows(const struct match *m, struct worker *w, struct feed *f, uint64_t *out_bits,
               struct keel_error *err) K_CHECKED;
/* The same as positions, ascending. */
static inline int match_index(const struct match *m, struct worker *w, struct feed *f,
                              uint16_t *out_rows, uint32_t *out_n, struct keel_error *err) {
    uint64_t bits[BITS_WORDS];
    TRY(match_rows(m, w, f, bits, err));
    *out_n = bits_to_index(bits, out_rows);
    return 0;
}
