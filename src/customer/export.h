/* Export: every event of a snapshot, as JSON that can be imported again or as CSV.
 *
 * NDJSON: one Segment event a line (envelope.h), with the ids, time, properties, line items and
 * context that were accepted. `keel import --segment` of it into a new directory gives the same
 * answers. The store keeps a hash of each message id, not its text, so the export states one of its
 * own ("keel-…", from the content): the same event has the same id in every export, so importing
 * twice adds nothing, but importing into a directory that has the events under their own ids
 * doubles them. What cannot come back exactly stands in docs/export.md.
 *
 * CSV: timestamp, type, event, user_id, anonymous_id, message_id, then a column for each property
 * ("properties.NAME") and context field ("context.NAME") of the events asked for. Line items are
 * JSON in one cell; an absent value is an empty cell, the empty text "". Texts that a spreadsheet
 * would take for formulas get a ' in front (base/csv.h), unless it is to be raw.
 *
 * Order: by month, then customer, then time. Read source by source, block by block; memory is
 * bounded by the columns of the events, not by their number.
 *
 * Layers: envelope.h, db.h. Threads: one owner; any number at once on a snapshot. Limits:
 * EXPORT_MAX_*. */
#pragma once

#include "customer/db.h"
#include "store/event.h"

enum {
    EXPORT_MAX_EVENTS = 256, /* names to choose                              */
    EXPORT_MAX_CSV_COLUMNS = 4000,
    EXPORT_FLUSH_BYTES = 256 << 10, /* what the sink gets at once, about            */
};

struct export_cell {
    const struct event_head *head; /* NULL: of no event, the title of a column */
    enum field_scope scope;
    enum value_type type;
    struct str name; /* empty: an id, or the name of the event */
    struct str text;
};

enum export_format { EXPORT_NDJSON, EXPORT_CSV };

struct export_options {
    enum export_format format;
    bool raw;                 /* CSV: texts as they are, also those that look like formulas    */
    const struct str *events; /* names ("Order Completed", "$identify"); n_events 0: all        */
    uint32_t n_events;
    int64_t from_ms, to_ms;    /* half-open; INT64_MIN, INT64_MAX: no bound                      */
    const uint64_t *customers; /* bits by root number, or NULL: all                              */
    uint32_t customer_count;   /* bits there are                                                 */
    /* Called with whole lines; a negative result ends the export and is returned. */
    int (*sink)(void *ctx, struct str lines, struct keel_error *err);
    /* CSV: appends what is shown in place of a value. NULL: the value. */
    int (*cell)(void *ctx, const struct export_cell *cell, struct buf *out);
    void *ctx;
};

struct export_sums {
    uint64_t events, bytes;
};

/* KEEL_E_NOT_FOUND: an event of that name does not exist. */
int export_events(struct db *db, const struct snapshot *snap, const struct export_options *options,
                  struct export_sums *out, struct keel_error *err) K_CHECKED;
