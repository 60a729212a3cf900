/* A collector behind a real server on a free port, with hooks of the test's own.
 *
 * Layers: collect.h, server.h. Threads: rig_send may be called by many; the rest by one. */
#pragma once

#include "api/app.h"
#include "api/collect/collect.h"
#include "fault_os.h"

#define RIG_KEY "key"

struct rig {
    char root[TEMP_PATH_MAX], dir[TEMP_PATH_MAX + 8];
    struct app app;
    struct collect_options options;
    struct collect_hooks hooks;
    struct server_options server;
    uint32_t head_rows; /* 0: the store's */
};

/* hooks, options, server and head_rows may be set between the two. */
void rig_make(struct rig *rig); /* a new data directory with a source */
void rig_start(struct rig *rig);
void rig_stop(struct rig *rig); /* what is stored stays */
void rig_remove(struct rig *rig);

/* Sends the bytes on a connection of its own and reads until the server closes it: the request says
 * so. The status of the reply, 0 without one; its bytes in *reply (NULL: not wanted). */
int rig_send(const struct rig *rig, struct str raw, struct buf *reply);
/* POST with the write key of the source. */
int rig_post(const struct rig *rig, const char *path, struct str body, struct buf *reply);
