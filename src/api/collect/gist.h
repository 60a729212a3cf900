/* What an event's JSON says of itself: for those who hold an event aside and show it in a list. It
 * need not be an event that can be stored; what is missing is empty.
 *
 * Layers: json_cursor.h, segment.h. Threads: a reader has one owner. Limits: EVENT_MAX_BYTES.
 */
#pragma once

#include "api/collect/segment.h"

struct gist {
    struct str name; /* "Order Completed"; of other types theirs: "identify"               */
    struct str user, anonymous, message_id;
};

struct gist_reader;
struct gist_reader *gist_reader_new(void);
void gist_reader_free(struct gist_reader *g);

/* `type` is that of the request's path, or SEGMENT_ANY_TYPE. Texts live until the next call. Of
 * what is no JSON object nothing is known. */
struct gist gist_read(struct gist_reader *g, struct str json, int type);

const char *gist_type_text(int type); /* of an enum event_type: "identify" */
