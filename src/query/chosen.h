/* The customers who meet a condition, as a set of root numbers: for exports and audiences.
 * Layers: exec.h. Threads: one owner. */
#pragma once

#include "query/exec.h"

/* `condition` as behind "count customers where"; options: NULL for now and without saved segments
 * (.members is not looked at). *out: bits by root number, [*out_count] of them; the caller frees.
 * notes: takes a line for each thing to know, such as a name that nobody used; may be NULL.
 * KEEL_E_SYNTAX shows the place. */
int customers_chosen(struct db *db, const struct snapshot *snap, struct str condition,
                     const struct query_options *options, uint64_t **out, uint32_t *out_count,
                     struct buf *notes, struct keel_error *err) K_CHECKED;
