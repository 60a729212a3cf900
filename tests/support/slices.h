/* A source of CSV that gives its text in slices of a few bytes.
 *
 * Layers: cli/import/csv.h. Threads: one owner. */
#pragma once

#include "cli/import/csv.h"

struct slices {
    struct str text; /* what is left */
    size_t slice;    /* bytes at a time */
};

struct csv_source csv_from_slices(struct slices *s); /* borrowed, and emptied by reading */
