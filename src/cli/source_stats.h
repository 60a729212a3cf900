/* `keel source stats`: what became of each source's events.
 * Layers: fate.h, remote.h. Threads: none. */
#pragma once

#include "base/error.h"
#include "base/output.h"
#include "base/sql.h"
#include "base/table.h"

/* Of the last `hours` hours; `name` NULL: all sources. Asks a running server, which has counts that
 * are not yet in desk.db. */
int source_stats(const char *dir, struct sql *desk, const char *name, int64_t hours,
                 enum table_style style, struct output *out, struct keel_error *err) K_CHECKED;
