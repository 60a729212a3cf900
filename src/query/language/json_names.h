/* The spellings that writer and reader of the JSON form share, indexed by the tree's enums.
 * Layers: ast.h, query_print.h. */
#pragma once

#include "query/language/query_print.h"

static const char *const QUERY_FORM_NAMES[QUERY_FORMS] = {
    "count", "list",      "funnel",   "retention", "repeat", "trend",     "time",
    "paths", "attribute", "sessions", "rfm",       "top",    "lifecycle", "compare"};
static const char *const QUERY_TYPES[QUERY_EVENT_KINDS] = {"track", "page",  "screen", "identify",
                                                           "group", "alias", "any"};
static const char *const QUERY_AGGREGATES[QUERY_AGGS] = {
    "count", "sum", "avg", "min", "max", "first", "last", "unique", "customers"};
static const char *const QUERY_OVERS[] = {"auto", "any", "all"};
static const char *const QUERY_STARTS_TEXT[] = {"first", "each"};
static const char *const QUERY_RANKS[] = {"events", "customers", "sum"};
