/* Between plan.c (forms, the plan in force), plan/read.c, plan/write.c and plan/check.c. */
#pragma once

#include <stdatomic.h>

#include "desk/plan/plan.h"

/* One name of an event's table: a property, or the front part of one ("address" where only
 * "address.city" is planned). Children are what stands behind the dot, for line items. */
struct plan_node {
    struct str name;                      /* full: "products.price" */
    const struct plan_property *property; /* NULL: only a front part */
    uint32_t number;      /* of the node in its rules                                    */
    uint32_t child_first; /* of rules->children: required ones below, for line items     */
    uint32_t child_count;
    void *pattern;  /* pcre2_code *, the form's */
    bool has_below; /* something is planned behind a dot                            */
};

struct plan_slot { /* of a hash table; node NULL: free */
    uint64_t hash;
    const struct plan_node *node;
};

struct plan_rules {
    struct plan_node *nodes;
    uint32_t node_count;
    struct plan_slot *slots;
    uint32_t slot_mask;
    const uint32_t *needed; /* nodes that every event must have */
    uint32_t needed_count;
    const uint32_t *children; /* nodes that every line item must have, by list */
};

struct plan_form_private {
    struct arena arena;
    atomic_uint holders;
    struct plan_event *events; /* the same as form.events */
    const struct plan_event **slots;
    uint32_t slot_mask;
    const struct plan_event *of_kind[PLAN_KINDS]; /* those that are one a kind */
};

/* The node of a name, or NULL. */
const struct plan_node *plan_node_find(const struct plan_rules *rules, struct str name);

/* A form in the making: an arena to put things in. plan_form_finish compiles it; plan_form_free
 * frees it at any time. */
struct plan_form *plan_form_new(void);
void plan_form_free(struct plan_form *form);
/* `where` names the file in messages. */
int plan_form_finish(struct plan_form *form, const char *where, struct keel_error *err) K_CHECKED;

/* plan/read.c: text into a form that is not finished. */
int plan_form_read(struct plan_form *form, struct str text, const char *name,
                   struct keel_error *err) K_CHECKED;
