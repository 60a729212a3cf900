/* Numbers with units, as people write them in options and settings: 20k, 64MiB, 15m.
 * Layers: str.h. Threads: pure. */
#pragma once

#include "base/str.h"

enum units {
    UNITS_COUNT,    /* 1000, 20k, 3M, 1G: thousands, millions, billions               */
    UNITS_SIZE,     /* bytes: 4096, 64k, 64KiB, 512M, 2GiB (powers of 1024)           */
    UNITS_DURATION, /* milliseconds: 500ms, 10s, 15m, 12h, 30d, 2w                    */
};

/* The whole text; false, and *out unchanged, if it is none or does not fit. */
bool units_parse(struct str text, enum units kind, int64_t *out);
