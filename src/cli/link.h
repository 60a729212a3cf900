/* A one-time link to a screen of the server, as people open it in a browser.
 *
 *     http://127.0.0.1:7480/login#SECRET
 *
 * The secret stands behind the '#': browsers send that to no server, so it is in no log.
 * Layers: base/output.h. Threads: none. */
#pragma once

#include "base/output.h"

/* listen: as configured ("127.0.0.1:7480", ":443"), or with the port in use. */
void link_print(struct output *o, struct str listen, bool tls, const char *screen,
                const char *secret);
