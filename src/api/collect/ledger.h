/* The ledger of the collectors: what the plan says, what is kept aside, what became of each event.
 *
 * Joins plan, quarantine, fate and tail to the collector by its hooks, and keeps time for them: a
 * thread takes over a changed plan within a second, saves the counters every FATE_SAVE_SECONDS, and
 * forgets old stones.
 *
 * Layers: collect.h, plan.h, quarantine.h, fate.h, tail.h. Threads: as collect.h says of its hooks.
 */
#pragma once

#include "api/collect/collect.h"
#include "api/collect/fate.h"
#include "api/collect/quarantine.h"
#include "api/collect/tail.h"

struct app;
struct ledger;

/* Opens all four and sets app->plan, quarantine, fate, tail. Needs app->dir, desk, sources (NULL in
 * tests). After it collector_open, with the hooks. limits NULL: the usual ones. */
int ledger_open(struct app *app, const struct quarantine_limits *limits, struct ledger **out,
                struct keel_error *err) K_CHECKED;
/* After collector_close. Saves the counters. NULL is fine. */
int ledger_close(struct ledger *l, struct keel_error *err) K_CHECKED;

struct collect_hooks ledger_hooks(struct ledger *l);

/* The open events of a filter through plan and collector again. */
int ledger_replay(struct app *app, const struct quarantine_filter *filter, int64_t now_ms,
                  struct quarantine_counts *counts, struct keel_error *err) K_CHECKED;
