/* `keel doctor`: every checksum and invariant of a data directory, without changing anything.
 *
 * Layers: manifest, journal, part. Threads: none. The directory must not be in use.
 */
#pragma once

#include "store/store.h"

struct doctor_report {
    void *ctx;
    /* One thing that was looked at ("part 000000000001.part: 120,000 rows in 2011-03"). */
    void (*good)(void *ctx, const char *text);
    /* One fault: file, place, what to do. */
    void (*fault)(void *ctx, const char *text);
    /* Bytes of one region of one part: stream "" is all rows. May be NULL. */
    void (*region)(void *ctx, const char *stream, const char *name, uint64_t bytes);
};

struct doctor_sums {
    uint64_t parts, rows, bytes, journal_records, faults;
    uint32_t highest_number; /* of a customer in any part; 0 if there are no rows */
};

/* Error only if the check itself could not be done (no such directory, in use). Faults are counted
 * and reported. Files of other rooms (identity.log) are theirs to check. */
int store_doctor(const char *dir, const struct doctor_report *report, struct doctor_sums *out,
                 struct keel_error *err) K_CHECKED;
