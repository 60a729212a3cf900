/* Numbers in order, where they come in many short runs: message keys that share their top bits, the
 * events of one customer. A call of qsort costs more than such a run.
 *
 * Layers: none. Threads: pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Ascending. */
void sort_u64(uint64_t *v, size_t n);
