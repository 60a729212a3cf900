/* Implementation of datum.h: an open-addressing table over an array of values. */
#include "query/datum.h"

#include "base/hash.h"

bool datum_eq(const struct datum *a, const struct datum *b) {
    if (a->type != b->type) return false;
    switch (a->type) {
    case DATUM_NULL: return true;
    case DATUM_BOOL: return a->boolean == b->boolean;
    case DATUM_INTEGER: return a->integer == b->integer;
    case DATUM_NUMBER: return a->number == b->number;
    case DATUM_TIME: return a->time_ms == b->time_ms;
    case DATUM_DATE: return a->day == b->day;
    case DATUM_STRING:
    case DATUM_JSON: return str_eq(a->str, b->str);
    }
    return false;
}

int datum_cmp(const struct datum *a, const struct datum *b) {
    if (a->type != b->type) return a->type < b->type ? -1 : 1;
    switch (a->type) {
    case DATUM_NULL: return 0;
    case DATUM_BOOL: return (int)a->boolean - (int)b->boolean;
    case DATUM_INTEGER: return (a->integer > b->integer) - (a->integer < b->integer);
    case DATUM_NUMBER: return (a->number > b->number) - (a->number < b->number);
    case DATUM_TIME: return (a->time_ms > b->time_ms) - (a->time_ms < b->time_ms);
    case DATUM_DATE: return (a->day > b->day) - (a->day < b->day);
    case DATUM_STRING:
    case DATUM_JSON: return str_cmp(a->str, b->str);
    }
    return 0;
}

static uint64_t datum_hash(const struct datum *v) {
    uint64_t bits = 0;
    switch (v->type) {
    case DATUM_NULL: break;
    case DATUM_BOOL: bits = v->boolean; break;
    case DATUM_INTEGER: bits = (uint64_t)v->integer; break;
    case DATUM_NUMBER: memcpy(&bits, &v->number, sizeof bits); break;
    case DATUM_TIME: bits = (uint64_t)v->time_ms; break;
    case DATUM_DATE: bits = (uint64_t)v->day; break;
    case DATUM_STRING:
    case DATUM_JSON: return hash_str(v->str) ^ v->type;
    }
    return hash_mix(bits + v->type * 0x9e3779b97f4a7c15u);
}

enum { DICT_FIRST = 64 };

void dict_init(struct dict *d) {
    *d = (struct dict){.count = 1, .cap = DICT_FIRST, .mask = 2 * DICT_FIRST - 1};
    d->items = k_alloc_array(d->cap, sizeof *d->items);
    d->items[0] = datum_null();
    d->slots = k_zalloc((d->mask + 1) * sizeof *d->slots);
    arena_init(&d->text, DICT_MAX_TEXT);
}

void dict_release(struct dict *d) {
    k_free(d->items);
    k_free(d->slots);
    arena_release(&d->text);
    *d = (struct dict){0};
}

static bool dict_grow(struct dict *d) {
    if (d->cap >= DICT_MAX) return false;
    uint32_t cap = d->cap * 2, mask = cap * 2 - 1;
    struct datum *items = k_try_realloc(d->items, (size_t)cap * sizeof *items);
    if (!items) return false;
    d->items = items;
    uint32_t *slots = k_try_zalloc(((size_t)mask + 1) * sizeof *slots);
    if (!slots) return false;
    for (uint32_t id = 1; id < d->count; id++) {
        uint64_t i = datum_hash(&items[id]) & mask;
        while (slots[i]) i = (i + 1) & mask;
        slots[i] = id + 1;
    }
    k_free(d->slots);
    d->slots = slots;
    d->mask = mask;
    d->cap = cap;
    return true;
}

uint32_t dict_add(struct dict *d, struct datum v, bool stable) {
    if (v.type == DATUM_NULL) return 0;
    uint64_t hash = datum_hash(&v), i = hash & d->mask;
    for (; d->slots[i]; i = (i + 1) & d->mask)
        if (datum_eq(&d->items[d->slots[i] - 1], &v)) return d->slots[i] - 1;
    if (d->count == d->cap) {
        if (!dict_grow(d)) return DICT_NONE;
        for (i = hash & d->mask; d->slots[i];) i = (i + 1) & d->mask;
    }
    if (!stable && (v.type == DATUM_STRING || v.type == DATUM_JSON) && v.str.n > 0) {
        char *copy = arena_try_alloc(&d->text, v.str.n);
        if (!copy) return DICT_NONE;
        v.str.p = memcpy(copy, v.str.p, v.str.n);
    }
    d->items[d->count] = v;
    d->slots[i] = d->count + 1;
    return d->count++;
}

int dict_merge(struct dict *to, const struct dict *from, uint32_t **out_map,
               struct keel_error *err) {
    uint32_t *map = k_try_alloc_array(from->count, sizeof *map);
    if (!map) FAIL(err, NO_MEMORY, "too little memory to merge %u values", from->count);
    for (uint32_t id = 0; id < from->count; id++) {
        /* The text of a worker's dictionary dies with the worker: copy. */
        map[id] = dict_add(to, from->items[id], /* stable= */ false);
        if (map[id] == DICT_NONE) {
            k_free(map);
            FAIL(err, LIMIT,
                 "more than %u distinct values: narrow the question by a filter or a "
                 "range",
                 to->count);
        }
    }
    *out_map = map;
    return 0;
}
