/* Accounts: one number or value per customer, from his events. Conditions, columns of lists, traits
 * and splits by customer are accounts.
 *
 * An account is a machine of stage 0 whose results are read by slot (customer - first of the range)
 * when the range's events have been fed. State is flat arrays by slot.
 *
 * Layers: machine.h, match.h. Threads: see machine.h.
 */
#pragma once

#include "query/match.h"
#include "query/sums.h"

enum account_kind {
    ACCOUNT_COUNT,  /* events                                     */
    ACCOUNT_VALUES, /* values of a property that are there        */
    ACCOUNT_SUM,
    ACCOUNT_AVG,
    ACCOUNT_MIN,
    ACCOUNT_MAX,
    ACCOUNT_FIRST, /* value at the first event, in order, that has it */
    ACCOUNT_LAST,
    ACCOUNT_UNIQUE,   /* distinct values                              */
    ACCOUNT_FOLLOWED, /* A by B, and the last A by no B: see below    */
    ACCOUNT_UNFOLLOWED,
};

/* Counts of FOLLOWED and UNFOLLOWED, of one who had an A; others have 0. */
enum { ACCOUNT_OPEN = 1, ACCOUNT_CLOSED = 3 }; /* CLOSED: followed by a B */

struct account {
    struct machine machine;
    enum account_kind kind;
    struct match match, then; /* then: B of FOLLOWED, UNFOLLOWED */
    struct field field;
    int64_t within_ms;
    struct str trait; /* of account_trait: its path */
};

/* New accounts are registered in the plan. */
int account_did(struct plan *p, const struct query_event *event, struct span span,
                struct account **out, struct keel_error *err) K_CHECKED;
int account_measure(struct plan *p, const struct query_measure *m, struct account **out,
                    struct keel_error *err) K_CHECKED;
int account_trait(struct plan *p, const struct query_prop *trait, struct account **out,
                  struct keel_error *err) K_CHECKED;
int account_followed(struct plan *p, const struct query_cond *c, struct account **out,
                     struct keel_error *err) K_CHECKED;
/* Counts every event up to the moment of asking: who is there at all. */
int account_exists(struct plan *p, struct account **out, struct keel_error *err) K_CHECKED;

/* Results, per slot. */
struct datum account_datum(const struct worker *w, const struct account *a, uint32_t slot);
/* FIRST, LAST: the number of the value in the account's own dictionary; others: DICT_NONE. */
uint32_t account_id(const struct worker *w, const struct account *a, uint32_t slot);
/* COUNT, FOLLOWED, UNFOLLOWED. */
const uint32_t *account_counts(const struct worker *w, const struct account *a);
