/* TOML: a whole file as a read-only tree in which every node knows its place.
 *
 * Duty: maps of the import and Keel's configuration are TOML 1.0. Their readers want to say
 * "shop.toml:12:9: …" for anything wrong, so nodes keep line and column, and the members of a table
 * stand in the order of the file.
 *
 * The parser is toml++ behind this C interface; no exception crosses it. Dates and times are kept
 * as text: their meaning (zone, precision) is the reader's business.
 *
 * Layers: base. Threads: a tree is immutable after toml_parse.
 * Limits: 1 MiB of text, nesting of 100.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum { TOML_MAX_BYTES = 1 << 20, TOML_MAX_DEPTH = 100 };

enum toml_type {
    TOML_TABLE,
    TOML_ARRAY,
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOL,
    TOML_TIME, /* date, time or both */
};

struct toml_node {
    enum toml_type type;
    uint32_t line, column; /* 1-based: of the key in a table, of the value elsewhere    */
    struct str key;        /* name within the table; "" in an array and at the root     */
    struct str text;       /* string; TOML_TIME as ISO 8601; also NUL-terminated        */
    int64_t integer;
    double number; /* float, and integer as a float                             */
    bool boolean;
    uint32_t count;                /* members of a table or array                               */
    const struct toml_node *first; /* of them, in the order of the file                         */
    const struct toml_node *next;  /* the next member of the node that this one is in           */
};

struct toml_doc; /* owns all nodes */

/* `name` stands in front of messages ("NAME:LINE:COLUMN: …") and is copied. */
int toml_parse(struct str text, const char *name, struct toml_doc **out,
               struct keel_error *err) K_CHECKED;
int toml_load(const char *path, struct toml_doc **out, struct keel_error *err) K_CHECKED;
void toml_free(struct toml_doc *toml); /* NULL is fine */

const struct toml_node *toml_root(const struct toml_doc *toml); /* always a table */
const char *toml_name(const struct toml_doc *toml);

/* The member of a table, or NULL. NULL and nodes that are no table have no members. */
const struct toml_node *toml_get(const struct toml_node *table, const char *key);

/* "a string", "a table" … for messages. */
const char *toml_type_text(enum toml_type type);

/* Writes "NAME:LINE:COLUMN: <message>" and returns -KEEL_E_SYNTAX. */
int toml_fail(const struct toml_doc *toml, const struct toml_node *at, struct keel_error *err,
              const char *format, ...) K_PRINTF(4, 5);
