/* Every table of routes of this program, one a resource.
 *
 * A new resource defines `const struct route routes_NAME[]` in its file and adds its name to the
 * list in routes.c. Layers: server.h. Threads: constant data. */
#pragma once

#include "api/server/server.h"

extern const struct route *const ROUTES[]; /* for server_start, with a struct app as ctx */
