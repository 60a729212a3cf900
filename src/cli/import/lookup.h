/* Lookups of a map: small files whose rows complete those of the imported one.
 *
 * Duty: read such a file once (CSV with a header, compressed or not), keep the columns that the map
 * uses, find a row by its key. The first row of a key counts; rows that cannot be read are an
 * error, since a half-read table would silently leave values out.
 *
 * Layers: base, csv.h, map.h. Threads: immutable after loading.
 * Limits: `max_bytes` of memory.
 */
#pragma once

#include "cli/import/map.h"

struct lookup;

/* Reads lookup `number` of the map; its file stands beside `beside` (the imported file) unless its
 * path is absolute. */
int lookup_load(const struct map *map, uint32_t number, const char *beside, uint64_t max_bytes,
                struct lookup **out, struct keel_error *err) K_CHECKED;
void lookup_free(struct lookup *lookup); /* NULL is fine */
uint64_t lookup_bytes(const struct lookup *lookup);

/* Puts the values of the key's row into row[column] for all columns of this lookup, or nulls. */
void lookup_fill(const struct lookup *lookup, struct str key, struct str *row);
