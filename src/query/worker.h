/* A worker: the states of a plan's machines, and the scans that feed them.
 *
 *     worker_open(w, plan, 0, err);      states
 *     worker_read(w, snap, err);         scans over a snapshot; may be called again with another
 *     w->range = …; worker_run(w, 0, …); all rows of a range of customers, through all machines
 *     worker_close(w);
 *
 * Layers: machine.h. Threads: a worker belongs to the thread that opened it.
 */
#pragma once

#include "query/machine.h"

/* worker_close must follow, whatever this returns. */
int worker_open(struct worker *w, const struct plan *p, unsigned index,
                struct keel_error *err) K_CHECKED;
int worker_read(struct worker *w, const struct snapshot *snap, struct keel_error *err) K_CHECKED;
void worker_stop_reading(struct worker *w); /* the snapshot may be closed */
void worker_close(struct worker *w);        /* a zeroed one is fine */

/* Feeds the range's rows to the machines of a stage; those of stage 1 see members only. `cancel` is
 * looked at between batches; NULL: never. */
int worker_run(struct worker *w, unsigned stage, const _Atomic bool *cancel,
               struct keel_error *err) K_CHECKED;
