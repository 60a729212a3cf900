/* The canonical text of a query: one writing for each tree, and parsing it gives the tree back.
 *
 * Clauses stand in a fixed order, keywords in lower case, strings in double quotes, filters and
 * conditions of more than one term in parentheses where they stand inside another.
 *
 * Layers: ast.h. Threads: pure.
 */
#pragma once

#include "base/buf.h"
#include "query/language/ast.h"

/* Fails only as the buffer fails (KEEL_E_LIMIT, KEEL_E_NO_MEMORY). */
int query_print(const struct query *q, struct buf *out) K_CHECKED;

/* Parts, for messages and column names: "Order Completed", sum("Order Completed".revenue). */
int query_print_event(const struct query_event *e, struct buf *out) K_CHECKED;
int query_print_cond(const struct query_cond *c, struct buf *out) K_CHECKED;
int query_print_prop(const struct query_prop *p, struct buf *out) K_CHECKED;
int query_print_measure(const struct query_measure *m, struct buf *out) K_CHECKED;
int query_print_term(const struct query_term *t, struct buf *out) K_CHECKED;
int query_print_time(const struct query_time *t, struct buf *out); /* or look at out->failed */

const char *query_unit_text(enum query_unit unit);    /* "day"                                 */
const char *query_op_text(enum query_op op);          /* ">=", "starts with" */
const char *query_agg_text(enum query_agg agg);       /* "sum"; CUSTOMERS: "unique customers"  */
const char *query_model_text(enum query_model model); /* "last" */
const char *query_event_kind_text(enum query_event_kind kind); /* "page"; "track", "any event" */
