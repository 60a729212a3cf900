/* Making the boolean trees of a query, in the one shape that the canonical text has: AND and OR are
 * flat, and each node knows its depth. The text parser and the JSON reader both build by these.
 *
 * Layers: ast.h. Threads: pure. Nodes given in are taken over and may be changed.
 */
#pragma once

#include "query/language/ast.h"

/* kind: AND or OR. */
struct query_cond *query_cond_join(struct arena *a, enum query_cond_kind kind, struct query_cond *l,
                                   struct query_cond *r);
struct query_cond *query_cond_not(struct arena *a, struct query_cond *inner);
void query_cond_measure_depth(struct query_cond *c); /* of a leaf, from the filters inside */

struct query_filter *query_filter_join(struct arena *a, enum query_filter_kind kind,
                                       struct query_filter *l, struct query_filter *r);
struct query_filter *query_filter_not(struct arena *a, struct query_filter *inner);

/* What a written path means: the prefix decides the scope, `time` and `event` are the event's. */
struct query_prop query_prop_from_path(struct str path, struct query_pos at);

/* The items array with one more: capacity is the next power of two of n. */
void *query_grow(struct arena *a, void *items, uint32_t n, size_t item_bytes);

/* False if `from` is certainly not before `to`; true if only the zone can tell. */
bool query_time_may_precede(const struct query_time *from, const struct query_time *to);

/* Each number larger than the one before it. */
bool query_ascending(const double *v, uint32_t n);

/* What a decay that names none has: 7 days. */
void query_usual_half_life(struct query *q);
/* How many customers a row of COMPARE has at least, if it is not said. */
void query_usual_support(struct query *q);
/* What a TIME query has when it names none: 50, 90. */
void query_usual_percentiles(struct query *q, struct arena *a);
