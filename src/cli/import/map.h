/* The map: how rows of a CSV file become events. docs/import.md describes every key.
 *
 * Duty: read and check a map file (TOML) and keep it in the form that rows.c executes. Whatever can
 * be wrong without seeing data is found here, with the line of the map; what names a column that
 * the file does not have is found by rows.c when it has read the header.
 *
 * Columns are referred to by index into map.columns, which is bound to the columns of the file
 * once. An event rule is a condition, a head (type, name, time, ids) and fields; a rule with
 * group_by makes one event of all rows that agree in those columns.
 *
 * Layers: base, store/event.h. Threads: immutable after map_load.
 * Limits: 128 KiB of text, 64 rules, 4,096 columns.
 */
#pragma once

#include "base/time.h"
#include "base/toml.h"
#include "cli/import/csv.h"
#include "cli/import/decimal.h"
#include "store/event.h"

enum {
    MAP_MAX_BYTES = 128 << 10,
    MAP_MAX_EVENTS = 64,
    MAP_MAX_LOOKUPS = 16,
    MAP_MAX_COLUMNS = CSV_MAX_FIELDS
};

/* A column that the map names. */
struct map_column {
    struct str name;            /* in its file, without the lookup's name   */
    int32_t lookup;             /* index of the lookup it is from, or -1    */
    const struct toml_node *at; /* where it is named first                  */
};

/* A second, small file whose rows are found by one column: it adds columns "name.column". */
struct map_lookup {
    struct str name, file; /* file: beside the imported one unless absolute */
    struct str key;        /* column of the second file                     */
    uint32_t by;           /* column of the imported file                   */
    const struct toml_node *at;
};

enum map_op {
    MAP_IN, /* one of texts              */
    MAP_NOT_IN,
    MAP_PREFIX, /* begins with one of texts  */
    MAP_NOT_PREFIX,
    MAP_EMPTY, /* is null                   */
    MAP_NOT_EMPTY,
    MAP_LESS, /* as numbers; what is none does not hold */
    MAP_AT_MOST,
    MAP_MORE,
    MAP_AT_LEAST,
};

struct map_condition {
    uint32_t column;
    enum map_op op;
    const struct str *texts;
    uint32_t n_texts;
    struct decimal number;
};

/* All conditions hold; none: always. */
struct map_when {
    const struct map_condition *conditions;
    uint32_t n;
};

/* Text with columns in it. Null if any of its columns is. */
struct map_template {
    const struct map_piece {
        struct str text; /* if column is negative */
        int32_t column;
    } * pieces;
    uint32_t n;
};

/* A template that counts only under a condition. n_pieces 0: not given. */
struct map_text {
    struct map_template text;
    struct map_when when;
};

/* Σ ± Π (column or number). */
struct map_factor {
    struct decimal constant;
    int32_t column; /* negative: the constant */
    bool first;     /* begins a new product   */
    bool negative;  /* … that is subtracted   */
};
struct map_expression {
    const struct map_factor *factors;
    uint32_t n;
};

struct map_time {
    const uint32_t *columns; /* joined by a space; none: constant */
    uint32_t n;
    struct str format; /* "": ISO 8601 */
    const struct time_zone *zone;
    int64_t constant_ms;
};

enum map_type { MAP_STRING, MAP_NUMBER, MAP_BOOL, MAP_TIME };

enum map_from {
    MAP_CONSTANT,
    MAP_COLUMN, /* in a group: of its first row        */
    MAP_LAST,   /* of its last row                     */
    MAP_TEXT,   /* template                            */
    MAP_VALUE,  /* expression, of the first row        */
    MAP_SUM,    /* expression, over the group          */
    MAP_MIN,
    MAP_MAX,
    MAP_COUNT, /* rows of the group                   */
};

struct map_field {
    struct str name;
    enum field_scope scope;
    enum map_from from;
    enum map_type type;
    uint32_t column;
    uint32_t slot; /* LAST, SUM, MIN, MAX: index among a group's states */
    struct map_template text;
    struct map_expression expression;
    struct map_time time; /* type MAP_TIME */
    struct str constant;  /* MAP_CONSTANT: MAP_STRING; others below */
    double number;
    bool boolean;
};

struct map_event {
    struct str label; /* unique in the map; part of derived message ids */
    enum event_type type;
    struct map_when when;
    const struct map_text *names; /* the first whose condition holds */
    uint32_t n_names;
    struct map_time time;
    struct map_text user_id, anonymous_id;
    struct map_template message_id; /* n 0: derived */
    const uint32_t *group_by;
    uint32_t n_group_by;
    bool adjacent;
    const struct map_field *fields;
    uint32_t n_fields, n_slots;
    struct str items; /* name of the list, "" if none */
    const struct map_field *item_fields;
    uint32_t n_item_fields;
};

struct map {
    struct toml_doc *toml;
    struct arena arena;
    struct csv_format format;
    bool header;
    const struct str *file_columns; /* given by the map; n 0: the header names them */
    uint32_t n_file_columns;
    const struct str *nulls;
    uint32_t n_nulls;
    struct str name_space; /* part of derived message ids */
    uint64_t memory_bytes; /* for groups, repeated rows and lookups */
    struct map_column *columns;
    uint32_t n_columns;
    struct map_lookup *lookups;
    uint32_t n_lookups;
    struct map_event *events;
    uint32_t n_events;
    struct map_zone *zones;
};

int map_load(const char *path, struct map **out, struct keel_error *err) K_CHECKED;
/* As map_load, from text; `name` stands in messages. */
int map_parse(struct str text, const char *name, struct map **out,
              struct keel_error *err) K_CHECKED;
void map_free(struct map *map); /* NULL is fine */

/* A field of a file as a value: one of the map's null texts has p == NULL from here on. */
static inline struct str map_value(const struct map *map, struct str field) {
    for (uint32_t i = 0; i < map->n_nulls; i++)
        if (str_eq(map->nulls[i], field)) return (struct str){0};
    return field;
}
