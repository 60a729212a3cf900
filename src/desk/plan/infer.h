/* A tracking plan proposed from what has arrived.
 *
 * For every event (and identify, group, page, screen, context) of the store: its properties with
 * the types that were seen, whether every event had them (then required, if there were at least
 * INFER_FEWEST), and whether they look personal (desk/plan/personal.h, by name or by most of their
 * values). Numbers that were always whole are integers, texts that were always ISO 8601 are times;
 * a property that came with several types is "any". The description says how often it was seen.
 * It is a proposal: read it, correct it, import it.
 *
 * Layers: customer/db.h, plan.h, personal.h. Threads: reads a snapshot, beside a running ingest.
 * Limits: of texts, INFER_LOOKS values of each column are looked at; PLAN_MAX_EVENTS.
 */
#pragma once

#include "customer/db.h"
#include "desk/plan/plan.h"

enum { INFER_FEWEST = 20, INFER_LOOKS = 2000 };

/* Dropped by plan_drop. */
int plan_infer(struct db *db, const struct plan_form **out, struct keel_error *err) K_CHECKED;
