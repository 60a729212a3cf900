/* What writing and reading batches share: event.c and event_read.c.
 *
 * Layers: event.h. Threads: none of its own.
 */
#pragma once

#include "store/event.h"

/* Written to disk: never renumber. */
enum event_flags { FLAG_USER = 1, FLAG_ANONYMOUS = 2, FLAG_RELATED = 4, FLAG_CONTEXT = 8 };
enum { EVENT_FIXED_BYTES = 1 + 1 + 8 + 8 + 4 }; /* type, flags, time, key */
#define HAS_CONTEXTS (UINT32_C(1) << 31)        /* in the count of events */

/* From type to the count of fields. */
void event_read_head(const struct batch_reader *b, struct event_view *out);
