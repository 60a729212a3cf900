/* "Did you mean …": the nearest known word to one that is not known.
 * Layers: none. Threads: pure. Limits: words of 31 bytes; longer ones get no suggestion. */
#pragma once

#include <stddef.h>

/* The nearest of the names that next() yields (NULL ends the list), if it is near enough to have
 * been meant; else NULL. For "did you mean". */
const char *suggest(const char *word, const char *(*next)(const void *ctx, size_t i),
                    const void *ctx);
