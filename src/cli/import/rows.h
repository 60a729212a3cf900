/* Rows become events: executes a map on one file.
 *
 * Duty: read the file's rows, apply every rule whose condition a row meets, group, aggregate, and
 * hand on batches of canonical events. Each row is accounted for: it went into an event, was
 * refused with a cause, or met no rule.
 *
 * Message ids: unless the map has a template for them, they are derived from
 *   namespace, the rule's label, the group_by values                     (grouped)
 *   namespace, the rule's label, all fields of the row, how many equal
 *   rows the file had before                                             (not grouped)
 * so that importing the same file again yields the same ids, and nothing new.
 *
 * Groups wait in memory until the file ends, in order of their first rows; with group_order =
 * "adjacent" only until the next group begins.
 *
 * Layers: base, store/event.h, csv, map, eval, groups, lookup. Threads: one owner.
 * Limits: the map's memory_mib for groups, repeated rows and lookups; batches of about 1 MiB.
 */
#pragma once

#include "cli/import/map.h"

struct rows_stats {
    uint64_t rows;     /* read, without the header            */
    uint64_t events;   /* handed on                           */
    uint64_t no_rule;  /* rows that met no rule's condition   */
    uint64_t rejected; /* (row, rule) pairs that were refused, and rows that cannot be read */
};

struct rows_sink {
    /* A finished batch. Negative stops the import. */
    int (*batch)(void *ctx, struct str bytes, uint32_t events, struct keel_error *err);
    int (*reject)(void *ctx, const struct reject *reject, struct keel_error *err);
    /* Every few thousand rows, for progress and cancelling; may be NULL. */
    int (*tick)(void *ctx, const struct rows_stats *stats, struct keel_error *err);
    void *ctx;
};

/* `name` is the file's path, for messages and for lookups that stand beside it. *stats is filled
 * also on failure. */
int rows_import(const struct map *map, struct csv_source source, const char *name,
                const struct rows_sink *sink, struct rows_stats *stats,
                struct keel_error *err) K_CHECKED;
