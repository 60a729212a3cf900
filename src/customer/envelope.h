/* One event as the JSON that Segment's SDKs send, built from its flattened fields: what exports and
 * webhooks write.
 *
 *   {"type":"track","messageId":…,"timestamp":…,"userId":…,"anonymousId":…,"event":…,
 *    "properties":{…},"context":{…}}
 *
 * Names that were flattened with dots become objects again, to the depth to which the Segment
 * dialect flattens (four parts); where that cannot be, because "a" is a value beside "a.b", the dot
 * stays in the key. Reading the JSON again (api/collect/segment.h) gives the same fields. Keys are
 * in byte order.
 *
 * Layers: store/event.h. Threads: one owner. Limits: ENVELOPE_MAX_BYTES. */
#pragma once

#include "store/event.h"

enum { ENVELOPE_MAX_BYTES = EVENT_MAX_BYTES * 8 };

struct envelope_field {
    enum field_scope scope;
    enum value_type type; /* VALUE_LIST: text is the JSON of the items */
    struct str name, text;
    double number;
    size_t list_at; /* VALUE_LIST: where its JSON begins in `lists` */
};

struct envelope {
    struct event_head head; /* texts are borrowed until the next envelope_begin */
    struct str message_id;  /* empty: left out */
    struct str rest;        /* members of a residual object, without braces; or empty */
    struct envelope_field *fields;
    size_t n, cap;
    struct buf lists, out;
    bool exact; /* keep a dot in a key where the object would not be read as it was */
};

void envelope_init(struct envelope *e);
void envelope_release(struct envelope *e);

void envelope_begin(struct envelope *e, const struct event_head *head);
/* Name and text are borrowed. */
struct envelope_field *envelope_add(struct envelope *e, enum field_scope scope, struct str name,
                                    enum value_type type);
/* Opens a list of items: its JSON is appended to e->lists, then envelope_list_end. */
void envelope_list_begin(struct envelope *e, struct str name);
void envelope_list_end(struct envelope *e);
void envelope_item(struct envelope *e, bool first);
void envelope_item_value(struct envelope *e, bool first, struct str name, enum value_type type,
                         double number, struct str text);
/* Sorts the fields: by scope, then name. envelope_text does it by itself. */
void envelope_sort(struct envelope *e);
/* The JSON, without a newline; valid until the next call. KEEL_E_LIMIT: too large. */
int envelope_text(struct envelope *e, struct str *out, struct keel_error *err) K_CHECKED;

/* Fills an envelope from an event of a batch. */
int envelope_of_event(struct envelope *e, const struct batch_reader *batch,
                      const struct event_view *view, struct keel_error *err) K_CHECKED;
const char *envelope_type_text(enum event_type type); /* "track" */
