/* Members of the JSON objects that the API answers with.
 * Layers: base. Threads: pure. */
#pragma once

#include "base/buf.h"

/* ,"name":"2026-03-01T09:30:00Z" */
void member_time(struct buf *out, const char *name, int64_t ms);
/* The same, but 0 is null: never. */
void member_time_or_null(struct buf *out, const char *name, int64_t ms);
