/* Answers for those who may not see personal data: questions that would show it are refused, small
 * numbers are hidden, and so are the differences between questions.
 *
 *   refused    lists of single customers; values of personal properties as columns or splits;
 *              conditions that would let somebody feel his way to such a value (contains, <, …).
 *              Equality stays: who asks for a value knows it already.
 *   hidden     numbers that stand for fewer than k customers are null, also 0: that nobody is there
 *              can say as much as that one is. In a funnel also where fewer than k dropped out, in
 *              retention where fewer than k stayed away; and where the hidden rows of a split
 *              together stand for fewer than k, the smallest shown one with them, because a total
 *              would tell them. A note says how many rows.
 *   refused    a question about customers whose set differs from that of another question of the
 *              same person, of the last SHIELD_KEEP_MS, by 1 to k-1 customers; or is all customers
 *              but so few. The same condition may be asked again as time goes on.
 *   masked     texts that look like an e-mail address or a phone number, wherever they come from
 *
 * How sets are compared: each is kept as a sketch (an invertible Bloom filter of its customers'
 * ids). Subtracting two sketches leaves what differs, and what is few can be read out again; so a
 * set takes SHIELD_CELLS cells, however large it is, and the comparison is exact up to a chance of
 * about 1 in 10,000 that two sets that differ by few are taken for different by many.
 *
 * What it does not do. Only conditions on customers (`where`, `among`) are compared, not the
 * filters of events within a trend or a funnel, nor rows of a split with each other. The memory
 * ends with the process, and two people can put together what each may ask. A personal property
 * that nobody has classed and whose name does not say so is not known to be one. The largest or
 * smallest value of a group is that of one customer, although it does not say whose.
 *
 * Layers: plan.h, personal.h, query. Threads: any. Limits: SHIELD_SETS of a person, the oldest
 * gives way; SHIELD_PEOPLE, the longest silent gives way.
 */
#pragma once

#include <stdatomic.h>

#include "desk/plan/plan.h"
#include "query/ask.h"

enum {
    SHIELD_K = 10,
    SHIELD_CELLS = 192, /* for k up to SHIELD_K_MAX */
    SHIELD_K_MAX = 50,
    SHIELD_SETS = 128,
    SHIELD_PEOPLE = 128,
    SHIELD_KEEP_MS = 24 * 3600 * 1000,
};

struct shield;

struct shield *shield_new(unsigned k); /* never NULL */
void shield_free(struct shield *s);    /* NULL is fine */

struct shield_question {
    int64_t who; /* whose questions are compared: an account, or a key */
    const struct plan_form *form;
    const struct query *query;
    const struct ask_options *options;
    struct arena *arena; /* for what the answer needs besides */
};
/* As ask_run. KEEL_E_FORBIDDEN says what may not be asked, and why. */
int shield_run(struct shield *s, const struct shield_question *q, struct db *db,
               struct result **out, struct keel_error *err) K_CHECKED;

/* May this condition be asked for, or saved, by this one? As shield_run does before it asks;
 * q->query is not looked at. */
int shield_condition(struct shield *s, const struct shield_question *q, struct db *db,
                     struct str condition, struct keel_error *err) K_CHECKED;

/* May somebody without the right to personal data ask this at all? For what is saved and asked
 * later, too: segments, KPIs. */
int shield_admit(const struct plan_form *form, const struct query *q,
                 struct keel_error *err) K_CHECKED;
/* The same of a condition on customers, as behind "where". */
int shield_admit_condition(const struct plan_form *form, struct str condition,
                           struct keel_error *err) K_CHECKED;
