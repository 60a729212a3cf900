/* Properties, resolved: which columns may hold one for which events, and how to read them.
 *
 * One property may stand in several columns: one a type that it arrived with, one an event if the
 * question is about any event. At most one of them has a value for a given row (or item).
 * A property of line items yields one value an item.
 *
 * Layers: plan.h, machine.h. Threads: a field is immutable; a reader belongs to one worker.
 */
#pragma once

#include "query/datum.h"
#include "query/machine.h"

enum field_kind {
    FIELD_NONE, /* no such property: always missing   */
    FIELD_COLUMNS,
    FIELD_TIME,  /* the event's time                   */
    FIELD_LABEL, /* the event's name as people read it */
};

struct field_column {
    uint32_t id, handle;
    uint32_t stream; /* the event's stream; STREAM_ROWS: context, of every row */
    enum column_type type;
    bool items;
};

struct field {
    enum field_kind kind;
    bool items; /* it is, for some event, a field of line items */
    struct field_column *columns;
    uint32_t n;
};

/* Which events a field is asked of: all, or a list. */
struct event_set {
    bool all;
    uint32_t *events; /* stream ids, ascending */
    uint32_t n;
};
static inline bool event_set_has(const struct event_set *s, uint32_t stream) {
    for (uint32_t i = 0; i < s->n; i++)
        if (s->events[i] == stream) return true;
    return s->all;
}

/* Never fails for an unknown name: notes it and gives FIELD_NONE. */
int field_resolve(struct plan *p, const struct query_prop *prop, const struct event_set *of,
                  struct field *out, struct keel_error *err) K_CHECKED;
void field_needs(struct plan *p, const struct field *field, struct machine *m);

/* Values found by a reader, flat: value k belongs to rows[at[k]], and stands in slot[k] of its
 * batch: the row, or the number of the line item. */
struct flat {
    uint32_t n, cap;
    uint32_t *at, *slot;
    uint32_t *id; /* in the reader's dictionary */
    double *number;
};
void flat_release(struct flat *f);

struct field_reader {
    const struct field *field;
    struct worker *worker;
    struct dict *dict;     /* borrowed */
    uint32_t **id_of_code; /* [columns] lexicon code -> id + 1, 0 unknown */
    uint32_t *codes;       /* [columns] sizes                             */
    uint32_t *label_of;    /* FIELD_LABEL: stream -> id, 0 unknown         */
    uint32_t labels;
};
void field_reader_init(struct field_reader *r, const struct field *field, struct worker *w,
                       struct dict *dict);
void field_reader_release(struct field_reader *r);

/* Sets the bits of the batch's rows whose value may differ from that of the row before; others
 * stay. */
int field_changes(const struct field *field, struct feed *f, uint64_t *bits,
                  struct keel_error *err) K_CHECKED;
/* Whether it is read without looking at the rows' events. */
bool field_blind(const struct field *field);

/* The value of each row as an id, 0 where it is missing; of line items the first that is there. */
int field_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
              uint32_t *out, struct keel_error *err) K_CHECKED;
/* All values that are there, column by column. */
int field_flat_ids(struct field_reader *r, struct feed *f, const uint16_t *rows, uint32_t n,
                   struct flat *out, struct keel_error *err) K_CHECKED;
/* The same, numbers only, into out->number. */
int field_flat_numbers(const struct field *field, struct feed *f, const uint16_t *rows, uint32_t n,
                       struct flat *out, struct keel_error *err) K_CHECKED;
/* How many values are there, row by row. */
int field_counts(const struct field *field, struct feed *f, const uint16_t *rows, uint32_t n,
                 uint32_t *out, struct keel_error *err) K_CHECKED;
