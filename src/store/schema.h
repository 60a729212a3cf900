/* The schema: which streams and columns a store has.
 *
 * A *stream* is a sequence of things that have columns:
 *   stream 0 (rows)   every event in timeline order; its columns are the context
 *                     (channel, campaign.name, page.url): what holds whatever the event is
 *   an event stream   the rows of one event, in the same order; its columns are the properties.
 *                     The number of an event's stream is the event's code in the rows.
 *   an item stream    the line items of one list (`products`) of one event, in the same order
 * A *column* is (stream, name, type). A property that arrives with two types has two columns.
 * Columns appear by themselves, up to SCHEMA_MAX_*; what finds no column goes to the event's
 * residual JSON column ("$rest"), so nothing that a client sent is dropped.
 *
 * Names of events that are not tracks are reserved: $identify, $page, $screen, $group, $alias.
 *
 * Layers: base. Threads: entries are append-only and never move; lookups take a reader lock,
 * additions are made by the one ingesting thread. Persisted by manifest.c.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "store/event.h"

enum {
    SCHEMA_MAX_STREAMS = 60000,
    SCHEMA_MAX_COLUMNS = 260000,
    SCHEMA_MAX_COLUMNS_PER_STREAM = 300,
    STREAM_ROWS = 0,
};

#define SCHEMA_REST "$rest" /* the residual JSON column of an event */

#define SCHEMA_OVERFLOW                                                                            \
    "$overflow" /* events whose names found no stream: the name is a property                      \
                 */

enum column_type { COLUMN_NUMBER = 0, COLUMN_STRING = 1, COLUMN_BOOL = 2, COLUMN_JSON = 3 };

enum stream_kind { STREAM_KIND_ROWS = 0, STREAM_KIND_EVENT = 1, STREAM_KIND_ITEMS = 2 };

struct stream_info {
    uint32_t id;
    enum stream_kind kind;
    uint32_t parent;  /* items: the event's stream; events: STREAM_ROWS           */
    struct str name;  /* event name, list name; owned by the schema               */
    uint32_t columns; /* how many columns it has                                 */
};

struct column_info {
    uint32_t id;
    uint32_t stream;
    enum column_type type;
    bool text;       /* string column with too many values for a dictionary      */
    struct str name; /* owned by the schema                                      */
};

struct schema;

struct schema *schema_new(void);
void schema_free(struct schema *s);

uint32_t schema_streams(const struct schema *s); /* ids 0..n-1 */
uint32_t schema_columns(const struct schema *s);
struct stream_info schema_stream(const struct schema *s, uint32_t id);
struct column_info schema_column(const struct schema *s, uint32_t id);
/* The first n of all columns. */
void schema_copy_columns(const struct schema *s, uint32_t n, struct column_info *out);

/* Lookups: id, or -1 if there is none. */
int64_t schema_find_event(const struct schema *s, struct str name);
int64_t schema_find_list(const struct schema *s, uint32_t event_stream, struct str name);
int64_t schema_find_column(const struct schema *s, uint32_t stream, struct str name,
                           enum column_type type);

/* Find or add: id, or -1 past a limit. Names are copied. */
int64_t schema_add_event(struct schema *s, struct str name);
int64_t schema_add_list(struct schema *s, uint32_t event_stream, struct str name);
int64_t schema_add_column(struct schema *s, uint32_t stream, struct str name,
                          enum column_type type);
void schema_set_text(struct schema *s, uint32_t column); /* from now on without dictionary */

/* The reserved stream name of an event type ("$page"), or "" for a track. */
struct str schema_reserved_name(enum event_type type);
