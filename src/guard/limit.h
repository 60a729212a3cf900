/* How often something may be tried: counts of tries by a name, each over a window of time.
 *
 * Tries are counted before it is known how they end, so that many at once do not slip through;
 * whoever succeeds is forgiven. The table has a fixed size: where it is full the oldest count of a
 * few neighbours gives way.
 *
 * Layers: base. Threads: any. Limits: LIMIT_SLOTS names. */
#pragma once

#include <stdint.h>

#include "base/str.h"

enum { LIMIT_SLOTS = 8192 };

struct limit;

struct limit *limit_new(unsigned tries, int64_t window_ms); /* never NULL */
void limit_free(struct limit *l);                           /* NULL is fine */
/* Counts a try. 0: it may be made; else in how many seconds the window ends. */
unsigned limit_take(struct limit *l, struct str name, int64_t now_ms);
void limit_forgive(struct limit *l, struct str name);   /* all its tries */
void limit_give_back(struct limit *l, struct str name); /* one          */
