/* What several forms need: merging groups, naming columns, counters that grow.
 *
 * Layers: form.h. Threads: one owner. */
#pragma once

#include "query/forms/form.h"

/* Counters and sums that grow with groups: zero until touched. */
struct counters {
    uint64_t *n;
    uint32_t count, cap;
};
void counters_release(struct counters *c);
int counters_room(struct counters *c, uint64_t count, struct keel_error *err) K_CHECKED;

/* The groups of all workers as one table, and how theirs map to it. */
struct merged {
    struct groups groups;
    uint32_t **map; /* [workers] */
    uint32_t n;
    uint32_t *order; /* groups by their values */
};
int merged_init(struct merged *m, uint32_t n_terms, const struct groups *const *of, uint32_t n,
                struct keel_error *err) K_CHECKED;
/* The same of the splitters in the machine's states, `splitter_at` bytes from their beginning. */
int merged_states(struct merged *m, uint32_t n_terms, const struct machine *machine,
                  size_t splitter_at, const struct worker *workers, uint32_t n,
                  struct keel_error *err) K_CHECKED;
void merged_release(struct merged *m);

/* One column a term, named as the language writes it. */
int add_term_columns(const struct query_term *terms, uint32_t n, struct result *out,
                     struct keel_error *err) K_CHECKED;
int add_measure_column(const struct query_measure *m, enum datum_type type, struct result *out,
                       struct keel_error *err) K_CHECKED;
/* An event as an answer names it, without its filter: the name of a track event, else page "Home".
 */
int event_name(const struct query_event *e, struct arena *arena, struct str *out,
               struct keel_error *err) K_CHECKED;
/* A period as a cell: an hour as a time, others as the date of their first day. */
struct datum period_datum(const struct periods *p, const struct time_zone *zone, uint32_t period);
int add_period_column(enum query_unit unit, struct result *out, struct keel_error *err) K_CHECKED;
/* The first cells of a row: the values of a group. */
void group_cells(const struct groups *g, uint32_t group, struct datum *cells);
