/* Who the question is about: conditions on customers, evaluated range by range.
 *
 * A condition is a tree of accounts (account.h) and funnels (funnel.h). When the events of a range
 * have been fed, the tree is evaluated over bitmaps of slots: each leaf only for the customers that
 * are still in question.
 *
 * A customer is a root number that has an event before the moment of asking. Identification is as
 * of now, whatever moment is asked for.
 *
 * Layers: account.h, funnel.h. Threads: compiled once; evaluated by workers on their own states.
 */
#pragma once

#include "query/account.h"

struct condition; /* compiled */

struct customers {
    struct condition *where; /* NULL: all */
    struct account *exists;  /* NULL: every number has an event            */
    bool had_rows;           /* only who had rows in stage 0 can be a member */
};

/* all_needed: the answer counts customers without events of its own (count, list). */
int customers_compile(struct plan *p, const struct query_cond *where, bool all_needed,
                      struct customers *out, struct keel_error *err) K_CHECKED;
/* Sets bits by slot: the members of the range. */
int customers_eval(const struct customers *c, struct worker *w, struct range r, uint64_t *out_bits,
                   struct keel_error *err) K_CHECKED;
