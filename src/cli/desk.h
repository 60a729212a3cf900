/* DIR/desk.db for commands that work on what people set, with or without a running server.
 * Layers: sql.h. Threads: none. */
#pragma once

#include "desk/audience/audience.h"

/* Only in a data directory: desk.db is not made in any folder. The caller closes it, and brings its
 * tables up to date. */
int desk_open(const char *dir, struct sql **out, struct keel_error *err) K_CHECKED;
/* Is it a data directory? KEEL_E_NOT_FOUND says how to make one. */
int desk_check(const char *dir, struct keel_error *err) K_CHECKED;

/* The saved segments of a directory, for questions that name some; desk.db is opened when the first
 * is looked up. desk_segment is a segment_lookup with this as ctx. */
struct desk_segments {
    const char *dir;
    struct sql *desk;
    struct audience_book book;
};
void desk_segments_init(struct desk_segments *s, const char *dir);
void desk_segments_release(struct desk_segments *s);
int desk_segment(void *segments, struct str name, const struct query_cond **out,
                 struct keel_error *err) K_CHECKED;
