/* What commands do, in the audit log: they change desk.db themselves, without the server.
 * Layers: guard/audit.h. Threads: none. */
#pragma once

#include "base/error.h"

/* Notes that the owner of the data directory did `act` ("keel user add") to `object`; result: 0 or
 * the negative code it ended with, which is returned. A command that cannot be noted fails. */
int acts_note(const char *dir, const char *act, const char *object, int result,
              struct keel_error *err) K_CHECKED;
