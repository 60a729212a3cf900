/* Evaluating the parts of a map on one row: conditions, texts, expressions, times, fields.
 *
 * A row is an array of values, one for each of map.columns; a null value has p == NULL.
 * Field values are kept encoded, because a group holds many of them until it is complete:
 *   u8 tag (enum eval_tag), then for a number f64, for a string u32 length and bytes.
 *
 * Layers: base, store/event.h, map.h. Threads: pure but for the caller's buffers.
 */
#pragma once

#include "cli/import/map.h"

enum eval_tag { EVAL_NULL, EVAL_FALSE, EVAL_TRUE, EVAL_NUMBER, EVAL_STRING };

/* Why a row is refused. */
struct eval_fault {
    enum reject_cause cause;
    int32_t column; /* of map.columns, or -1 */
};

bool eval_when(const struct map_when *when, const struct str *row);

/* Appends the text; false, and nothing appended, if one of its columns is null. */
bool eval_text(const struct map_template *text, const struct str *row, struct buf *out);

/* 1: *out is the value; 0: a column is null; -1: a column is no number, see *fault. */
int eval_expression(const struct map_expression *e, const struct str *row, struct decimal *out,
                    struct eval_fault *fault);

/* Parses a moment, remembering the text before: rows of one order share theirs. */
struct eval_clock {
    char text[64];
    size_t n;
    int64_t ms;
};
bool eval_time(const struct map_time *time, struct eval_clock *clock, const struct str *row,
               struct buf *scratch, int64_t *out_ms, struct eval_fault *fault);

/* Appends the encoded value of a field that is of this row (column, last, text, value). */
bool eval_field(const struct map_field *field, const struct str *row, struct buf *out,
                struct eval_fault *fault);

/* One decoded value; returns the position behind it. */
struct eval_value {
    enum eval_tag tag;
    double number;
    struct str text;
};
const uint8_t *eval_decode(const uint8_t *p, struct eval_value *out);
