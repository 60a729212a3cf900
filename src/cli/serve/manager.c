/* Implementation of manager.h. A message that cannot be sent is no reason to stop serving. */
#include "cli/serve/manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/net.h"
#include "base/os.h"

void manager_init(struct manager *m) {
    const char *watchdog = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    int64_t us = 0, for_pid = getpid();
    *m = (struct manager){.socket = getenv("NOTIFY_SOCKET")};
    if (pid && !str_to_i64(str_from(pid), &for_pid)) return;
    if (!watchdog || !str_to_i64(str_from(watchdog), &us) || for_pid != getpid()) return;
    m->beat_ms = us / 2000; /* twice as often as needed */
    if (us > 0 && m->beat_ms < 1) m->beat_ms = 1;
}

static void tell(const struct manager *m, struct str text) {
    struct keel_error ignored;
    if (m->socket && *m->socket) (void)!net_notify(m->socket, text, &ignored);
}

void manager_ready(const struct manager *m) { tell(m, STR("READY=1\nSTATUS=serving")); }
void manager_reloading(const struct manager *m) {
    char text[64];
    int n =
        snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)monotonic_us());
    tell(m, (struct str){text, (size_t)n});
}

void manager_stopping(const struct manager *m) { tell(m, STR("STOPPING=1\nSTATUS=stopping")); }
void manager_beat(const struct manager *m) { tell(m, STR("WATCHDOG=1")); }
