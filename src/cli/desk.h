/* DIR/desk.db for commands that work on what people set, with or without a running server.
 * Layers: sql.h. Threads: none. */
#pragma once

#include "base/sql.h"

/* Only in a data directory: desk.db is not made in any folder. The caller closes it, and brings its
 * tables up to date. */
int desk_open(const char *dir, struct sql **out, struct keel_error *err) K_CHECKED;
/* Is it a data directory? KEEL_E_NOT_FOUND says how to make one. */
int desk_check(const char *dir, struct keel_error *err) K_CHECKED;
