/* The service manager (systemd): ready, stopping, still alive.
 *
 * $NOTIFY_SOCKET says where to tell it; without it nothing is told. With $WATCHDOG_USEC the manager
 * restarts a process that stays silent for so long.
 * Layers: base/net.h. Threads: main. */
#pragma once

#include <stdint.h>

struct manager {
    const char *socket; /* NULL: there is none */
    int64_t beat_ms;    /* how often manager_beat is due; 0: never */
};

void manager_init(struct manager *m);
void manager_ready(const struct manager *m);
void manager_reloading(const struct manager *m); /* then manager_ready */
void manager_stopping(const struct manager *m);
void manager_beat(const struct manager *m);
