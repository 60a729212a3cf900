/* An answer: typed columns, rows, what it cost, and notes about it.
 *
 * Rows are kept in a flat array of cells, texts in an arena; both are bounded. A column without a
 * type of its own (the value of a property) takes that of its values; if they differ it is "string"
 * and every value is shown as text.
 *
 * Layers: datum.h. Threads: one owner. Limits: RESULT_MAX_*.
 */
#pragma once

#include "base/buf.h"
#include "base/time.h"
#include "query/datum.h"

enum { RESULT_MAX_COLUMNS = 128, RESULT_MAX_ROWS = 1000000, RESULT_MAX_CELLS = 1 << 25 };
#define RESULT_MAX_TEXT ((size_t)1 << 30)

struct result_column {
    struct str name;
    enum datum_type type; /* while filling, DATUM_NULL: takes that of its values */
};

struct query_cost {
    uint64_t rows, blocks, bytes; /* read */
    uint64_t gathered;            /* rows that had to be put in order first */
    double ms, cpu_ms;
    struct str plan; /* what was read and how, in words */
};

struct result {
    uint32_t n_columns;
    struct result_column columns[RESULT_MAX_COLUMNS];
    uint64_t n_rows, cap_rows;
    struct datum *cells; /* [n_rows × n_columns] */
    struct arena text;
    struct query_cost cost;
    uint32_t n_notes;
    struct str notes[16];
    bool cut; /* there were more rows than the limit */
};

struct result *result_new(void);
void result_free(struct result *r);

/* Columns first, in order. The name is copied. */
int result_column(struct result *r, struct str name, enum datum_type type,
                  struct keel_error *err) K_CHECKED;
/* Appends a row of n_columns cells; texts are copied. */
int result_row(struct result *r, const struct datum *cells, struct keel_error *err) K_CHECKED;
/* Settles the types of columns; the zone is that of times shown as text. */
int result_finish(struct result *r, const struct time_zone *zone, struct keel_error *err) K_CHECKED;

static inline const struct datum *result_cell(const struct result *r, uint64_t row,
                                              uint32_t column) {
    return &r->cells[row * r->n_columns + column];
}
const char *datum_type_name(enum datum_type type); /* "string", "number", "integer", … */
/* A value as people read it. */
int datum_print(const struct datum *v, const struct time_zone *zone, struct buf *out);
/* A value as JSON: times and dates as ISO text, numbers exact. */
int datum_print_json(const struct datum *v, struct buf *out);
