/* The people of an answer's row, as a condition on customers: what stands behind a number can be
 * counted, listed and saved as a segment.
 *
 * Asked at the same moment, the condition holds for as many customers as the row says. Where a row
 * is about a period, its times are written out, so that it stays the same people's later on; other
 * ranges stay as the question has them, and move on with time.
 *
 * Not every row has one: a path, a session, a share of an amount, the first of several events and a
 * property of a chain's first event cannot be said of a customer. The error says so.
 *
 * Layers: language/ast.h, result.h, store/schema.h. Threads: pure.
 */
#pragma once

#include "base/json.h"
#include "query/language/ast.h"
#include "query/result.h"
#include "store/schema.h"

struct people {
    const struct query *query;
    const struct time_zone *zone;
    struct schema *schema;
    int64_t at_ms;           /* when the question was asked */
    const struct datum *row; /* its cells from the first on, as far as the keys go at least; dates
                                and times may be texts */
    uint32_t n_row;
    struct str column; /* which number, by its name; empty: that of the customers. Of a funnel also
                          "stopped": who came to the step and not further */
};

/* The cells of a row as answers are written in JSON; texts are copied into the arena. */
int people_read_row(struct json_value row, struct arena *arena, struct people *p,
                    struct keel_error *err) K_CHECKED;
/* *out lives in the arena. KEEL_E_INVALID if the row has no such people. */
int people_condition(const struct people *p, struct arena *arena, const struct query_cond **out,
                     struct keel_error *err) K_CHECKED;
