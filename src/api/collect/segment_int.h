/* Between segment.c (documents, heads, times) and segment_fields.c (properties, traits, context).
 */
#pragma once

#include "api/collect/json_cursor.h"
#include "api/collect/segment.h"

/* The top-level keys of an event or batch that mean something. */
enum segment_key {
    KEY_TYPE,
    KEY_EVENT,
    KEY_NAME,
    KEY_USER,
    KEY_ANONYMOUS,
    KEY_GROUP,
    KEY_PREVIOUS,
    KEY_MESSAGE,
    KEY_TIMESTAMP,
    KEY_ORIGINAL,
    KEY_SENT,
    KEY_RECEIVED,
    KEY_PROPERTIES,
    KEY_TRAITS,
    KEY_CONTEXT,
    KEY_CHANNEL,
    KEY_BATCH,
    KEY_WRITE_KEY,
    KEY_MERGE,
    KEY_DROPPED, /* known, and left out */
    KEY_UNKNOWN,
    KEYS
};

/* The tokens of an object's values by key, NULL where absent. */
struct segment_object {
    const uint32_t *start, *context_end; /* behind the context's last token           */
    uint32_t shared_context; /* the batch's with the context's text, + 1; 0: not found */
    const uint32_t *at[KEYS];
};

/* Event names of the first e-commerce spec. */
enum segment_spec1 { SPEC1_NO, SPEC1_YES, SPEC1_PRODUCT };

struct segment_event {
    struct json_cursor *c;
    struct batch_writer *w;
    const struct segment_object *object;
    const uint32_t *batch_context; /* or NULL */
    bool has_message;              /* its key is not derived from its fields */
    enum event_type type;
    enum segment_spec1 spec1;
    const struct client *client; /* or NULL: no request */
    /* What segment_write_fields has found in the context. */
    struct str user_agent;
    bool has_user_agent, has_address, direct;
};

enum segment_key segment_key_of(struct str key);

/* If *name is one of the first spec, makes it that of the second. */
enum segment_spec1 segment_rename(struct str *name);

/* Writes all fields of the event that is open in e->w; e->c->error tells of broken JSON. */
void segment_write_fields(struct segment_event *e);

/* Then, of a request: what the connection adds. Behind event_derive_key: an event that is sent
 * again by another way is the same. */
void segment_write_client(struct segment_event *e);
