/* A naive evaluator of queries: the meaning of docs/query-language.md as plain loops over an array
 * of raw events, written without the engine's parts except for calendar arithmetic and the answer's
 * container. Slow on purpose; for histories of some hundred events.
 */
#pragma once

#include "base/time.h"
#include "query/language/ast.h"
#include "query/result.h"
#include "store/event.h"

enum {
    NAIVE_MAX_EVENTS = 2000,
    NAIVE_MAX_FIELDS = 8,
    NAIVE_MAX_ITEMS = 3,
    NAIVE_MAX_VALUES = 16, /* of one property in one event */
};

struct naive_field {
    const char *name;
    struct datum value;
};

struct naive_event {
    enum event_type type;
    const char *name;        /* of track, page, screen; "" if none          */
    const char *user, *anon; /* NULL: none */
    int64_t time;
    uint32_t id; /* message id: an id that was there before is a duplicate   */
    struct naive_field props[NAIVE_MAX_FIELDS], context[NAIVE_MAX_FIELDS];
    uint32_t n_props, n_context;
    bool has_list; /* products */
    struct naive_field items[NAIVE_MAX_ITEMS][NAIVE_MAX_FIELDS];
    uint32_t n_items, n_item_fields[NAIVE_MAX_ITEMS];
    /* Set by naive_link. */
    uint32_t number; /* of the identifier that the event came with: order of first appearance */
    uint32_t root;   /* number of the customer that it belongs to now                         */
    uint32_t arrival;
};

struct naive {
    struct naive_event events[NAIVE_MAX_EVENTS]; /* in the order of arrival, no duplicates */
    uint32_t n;
    const char *name_of[NAIVE_MAX_EVENTS]; /* by number: its identifier */
    bool is_user[NAIVE_MAX_EVENTS];
    uint32_t numbers;
    const struct time_zone *zone;
    int64_t at_ms;
    segment_lookup segment; /* saved segments; NULL: none */
    /* Timelines: events before at_ms, by (root, time, number, arrival). */
    const struct naive_event *line[NAIVE_MAX_EVENTS];
    uint32_t n_line;
};

/* Numbers, owners, timelines. Call after the last event and after changing at_ms. */
void naive_link(struct naive *h);

/* Rows as the engine must give them; columns are named "c1", "c2", … */
void naive_answer(const struct naive *h, const struct query *q, struct result *out);

/* Same rows; numbers up to the rounding of sums in another order. */
bool naive_same(const struct result *a, const struct result *b);

/* ---- shared by naive.c and naive_forms.c ---- */

struct naive_customer {
    uint32_t root;
    const struct naive_event *const *e; /* in order */
    uint32_t n;
};
uint32_t naive_customers(const struct naive *h, struct naive_customer *out);
bool naive_holds(const struct naive *h, const struct naive_customer *c,
                 const struct query_cond *cond);
bool naive_matches(const struct naive *h, const struct query_event *q, const struct naive_event *e);
/* The values of a property of an event, out of those that `of` (n events) may mean. */
uint32_t naive_values(const struct naive *h, const struct query_prop *p,
                      const struct query_event *of, uint32_t n_of, const struct naive_event *e,
                      struct datum *out);
struct datum naive_trait(const struct naive *h, const struct naive_customer *c,
                         const struct query_prop *p);
struct datum naive_measure(const struct naive *h, const struct naive_customer *c,
                           const struct query_measure *m);
struct datum naive_label(const struct naive_event *e);
bool naive_in(const struct naive *h, const struct query_range *r, const struct naive_event *e);
/* Periods as whole numbers that follow one another, and as cells. */
int64_t naive_period(const struct naive *h, enum query_unit unit, int64_t t);
struct datum naive_period_cell(enum query_unit unit, int64_t number);
/* Level, and the chain's events (level of them). */
uint32_t naive_funnel(const struct naive *h, const struct naive_customer *c,
                      const struct query_funnel *f, const struct query_range *r,
                      const struct naive_event **out_chain);
