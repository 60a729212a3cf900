/* Splits: one group for each combination of values of up to QUERY_MAX_SPLITS terms.
 *
 * Terms are traits, measures and segments of the customer (known before the answer's events are
 * read) and properties of the event at hand. Values become ids by a dictionary per term, tuples of
 * ids become group numbers: dense, in order of appearance, a worker's own. Merging translates them
 * by value. Without splits there is one group, 0.
 *
 * Layers: customers.h. Threads: struct splits is immutable; a splitter belongs to one worker.
 * Limits: GROUPS_MAX groups; the error says how to narrow the question.
 */
#pragma once

#include "query/customers.h"

enum { GROUPS_MAX = 100000 };

struct groups {
    uint32_t n_terms;
    struct dict dict[QUERY_MAX_SPLITS];
    uint32_t (*ids)[QUERY_MAX_SPLITS]; /* [count] */
    uint32_t count, cap;
    uint32_t *slots; /* group + 1, 0 is free */
    uint32_t mask;
    uint32_t *by_id; /* one term: id -> group + 1 */
    uint32_t by_id_cap;
};

void groups_init(struct groups *g, uint32_t n_terms);
void groups_release(struct groups *g);
int groups_find(struct groups *g, const uint32_t *ids, uint32_t *out,
                struct keel_error *err) K_CHECKED;
/* Adds the groups of another table; out_map[its group] = group here; the caller frees it. */
int groups_merge(struct groups *to, const struct groups *from, uint32_t **out_map,
                 struct keel_error *err) K_CHECKED;
static inline const struct datum *groups_value(const struct groups *g, uint32_t group,
                                               uint32_t term) {
    return dict_get(&g->dict[term], g->ids[group][term]);
}
/* The groups in order of their values; the caller frees. */
int groups_sorted(const struct groups *g, uint32_t **out_order, struct keel_error *err) K_CHECKED;

struct split_term {
    bool by_event;             /* a property of the event, `field`; else of the customer: */
    struct account *account;   /* a trait or measure, */
    struct customers *members; /* or whether he is a member */
    struct field field;
};

struct splits {
    uint32_t n;
    struct split_term terms[QUERY_MAX_SPLITS];
    bool by_event; /* some term is a property of the event */
};

/* `of`: the events whose properties the PROP terms name. */
int splits_compile(struct plan *p, const struct event_set *of, struct splits *out,
                   struct keel_error *err) K_CHECKED;
void splits_needs(struct plan *p, const struct splits *s, struct machine *m);
/* Whether groups are found without looking at the rows' events. */
bool splits_blind(const struct splits *s);

struct splitter {
    const struct splits *splits;
    struct worker *worker;
    struct groups groups;
    struct field_reader readers[QUERY_MAX_SPLITS];
    uint32_t *customer_ids[QUERY_MAX_SPLITS]; /* by slot */
    uint32_t *known[QUERY_MAX_SPLITS];        /* id of an account's dictionary -> id + 1 */
    uint32_t n_known[QUERY_MAX_SPLITS];
};
int splitter_open(struct splitter *s, const struct splits *splits, struct worker *w,
                  struct keel_error *err) K_CHECKED;
void splitter_close(struct splitter *s);
/* Reads the accounts of the range; `members` (bits by slot, NULL: all) are those it matters for. */
int splitter_begin(struct splitter *s, struct range r, const uint64_t *members,
                   struct keel_error *err) K_CHECKED;
/* The group of a customer, when no term is a property of the event. */
int splitter_customer(struct splitter *s, uint32_t slot, uint32_t *out,
                      struct keel_error *err) K_CHECKED;
/* Sets the bits of the batch's rows whose group may differ from that of the row before, of one
 * customer; others stay. */
int splitter_changes(struct splitter *s, struct feed *f, uint64_t *bits,
                     struct keel_error *err) K_CHECKED;
/* Groups of rows; at most CHUNK_ROWS of them. */
int splitter_rows(struct splitter *s, struct feed *f, const uint16_t *rows, uint32_t n,
                  uint32_t *out, struct keel_error *err) K_CHECKED;
