/* Everything that can be done with one part, for tests and fuzzers of damaged ones.
 * Layers: store. Threads: none. */
#pragma once

#include "store/part/part.h"

/* Opens the part at `path`, reads every block, column, item list, posting copy and key, looks keys
 * up, checks it, and merges it into a part of its own beside it. 0 and a digest of all that was
 * read, the same for the same content; or the first error. *out_faults (may be NULL): what
 * part_check reported. Aborts when an error or a fault does not name the file. */
int part_exercise(const char *path, const uint8_t *store_id, uint64_t *out_digest,
                  uint64_t *out_faults, struct keel_error *err) K_CHECKED;
