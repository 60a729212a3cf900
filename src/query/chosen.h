/* The customers who meet a condition, as a set of root numbers: for exports and audiences.
 * Layers: exec.h. Threads: one owner. Limits: RESULT_MAX_ROWS customers. */
#pragma once

#include "query/exec.h"

/* `condition` as behind "list customers where". *out: bits by root number, [*out_count] of them;
 * the caller frees. KEEL_E_SYNTAX shows the place; KEEL_E_LIMIT: too many customers. */
int customers_chosen(struct db *db, const struct snapshot *snap, struct str condition,
                     uint64_t **out, uint32_t *out_count, struct keel_error *err) K_CHECKED;
