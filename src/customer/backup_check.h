/* Checking a part before it goes into a backup: every checksum and invariant, as `keel doctor`.
 * Private to backup.c. Layers: store. Threads: one owner. */
#pragma once

#include "store/manifest.h"
#include "store/part/part.h"

struct part_checker;

/* Takes schema and store id of the manifest. */
int part_checker_new(struct manifest *m, struct part_checker **out,
                     struct keel_error *err) K_CHECKED;
void part_checker_free(struct part_checker *c); /* NULL is fine */
/* KEEL_E_CORRUPT: the file, and the first fault. KEEL_E_NOT_FOUND: it has gone. */
int part_checker_check(struct part_checker *c, const char *path, const struct manifest_part *entry,
                       struct keel_error *err) K_CHECKED;
