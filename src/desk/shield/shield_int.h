/* What the files of shield.h share.
 *
 *   shield.c        the memory of sets, asking
 *   shield/admit.c  what may not be asked
 *   shield/hide.c   what is hidden of an answer
 *   shield/relate.c the same of answers whose numbers follow from one another */
#pragma once

#include "desk/shield/shield.h"

/* Adds what hiding needs to know to the question: numbers of customers behind each measure of a
 * trend. *out is q itself, or lives in the arena; *out_added: columns to be taken away again. */
int shield_widen(const struct query *q, struct arena *arena, const struct query **out,
                 uint32_t *out_added, struct keel_error *err) K_CHECKED;

struct shield_hiding {
    const struct plan_form *form;
    const struct query *query; /* as it was asked */
    uint32_t added;
    unsigned k;
    const struct result *people; /* TOP: its values by customers, or NULL */
};
int shield_hide(const struct shield_hiding *h, struct result *r, struct keel_error *err) K_CHECKED;
void shield_hide_lifecycle(const struct shield_hiding *h, struct result *r, uint64_t *hidden);
void shield_hide_compare(const struct shield_hiding *h, struct result *r, uint64_t *hidden);

/* Is a property personal? event: whose, NULL: of several. */
bool shield_is_personal(const struct plan_form *form, const struct query_prop *prop,
                        const struct query_event *event);
