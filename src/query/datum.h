/* Single values and dictionaries of them.
 *
 * A *datum* is one value as an answer shows it: nothing, boolean, number, time, string, JSON.
 * A *dictionary* gives every distinct datum that a query meets a small number, in order of
 * appearance: grouping, distinct counts and equality then work on numbers. Number 0 is "missing".
 *
 * Layers: base. Threads: a dictionary belongs to one worker; the numbers of two workers differ and
 * are translated when their answers are merged. Limits: DICT_MAX values, DICT_MAX_TEXT bytes of
 * copied text.
 */
#pragma once

#include "base/str.h"

enum datum_type {
    DATUM_NULL,
    DATUM_BOOL,
    DATUM_INTEGER, /* counts in answers; values of events are numbers */
    DATUM_NUMBER,
    DATUM_TIME,
    DATUM_DATE,
    DATUM_STRING,
    DATUM_JSON,
};

struct datum {
    enum datum_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        int64_t time_ms;
        int32_t day;
        struct str str; /* STRING, JSON */
    };
};

static inline struct datum datum_null(void) { return (struct datum){.type = DATUM_NULL}; }
static inline struct datum datum_bool(bool v) {
    return (struct datum){.type = DATUM_BOOL, .boolean = v};
}
static inline struct datum datum_integer(uint64_t v) {
    return (struct datum){.type = DATUM_INTEGER, .integer = (int64_t)v};
}
static inline struct datum datum_number(double v) {
    return (struct datum){.type = DATUM_NUMBER, .number = v == 0 ? 0.0 : v}; /* -0 is 0 */
}
static inline struct datum datum_time(int64_t ms) {
    return (struct datum){.type = DATUM_TIME, .time_ms = ms};
}
static inline struct datum datum_date(int32_t day) {
    return (struct datum){.type = DATUM_DATE, .day = day};
}
static inline struct datum datum_str(struct str s) {
    return (struct datum){.type = DATUM_STRING, .str = s};
}

bool datum_eq(const struct datum *a, const struct datum *b);
/* A total order: by type as listed above (missing first), then by value; strings by bytes. */
int datum_cmp(const struct datum *a, const struct datum *b);

enum { DICT_MAX = 1 << 24, DICT_NONE = UINT32_MAX };
#define DICT_MAX_TEXT ((size_t)1 << 30)

struct dict {
    struct datum *items; /* [count]; items[0] is missing */
    uint32_t count, cap;
    uint32_t *slots; /* id + 1, 0 is free */
    uint32_t mask;
    struct arena text;
};

void dict_init(struct dict *d); /* the missing value is there */
void dict_release(struct dict *d);
/* The number of a value, added if new; DICT_NONE when full or out of memory. Strings are copied
 * unless `stable` says that they outlive the dictionary (those of lexicons and of the query do). */
uint32_t dict_add(struct dict *d, struct datum v, bool stable);
static inline const struct datum *dict_get(const struct dict *d, uint32_t id) {
    return &d->items[id];
}

/* Adds every value of `from` to `to`; out_map[id of from] = id of to (an array of from->count that
 * the caller frees). */
int dict_merge(struct dict *to, const struct dict *from, uint32_t **out_map,
               struct keel_error *err) K_CHECKED;
