/* Implementation of lookup.h: rows in an arena, found by open addressing (at most half full). */
#include "cli/import/lookup.h"

#include "base/hash.h"

enum { FIRST_SLOTS = 256 };

struct lookup_row {
    struct str key;
    struct str values[]; /* as lookup.columns */
};

struct lookup {
    struct arena arena;
    uint32_t *columns; /* of the map, those that come from here */
    uint32_t *fields;  /* where each stands in the file         */
    uint32_t n_columns, key_field;
    struct lookup_row **slots;
    uint64_t mask, n;
};

void lookup_free(struct lookup *lookup) {
    if (!lookup) return;
    arena_release(&lookup->arena);
    k_free(lookup->columns);
    k_free(lookup->fields);
    k_free(lookup->slots);
    k_free(lookup);
}

uint64_t lookup_bytes(const struct lookup *lookup) {
    return lookup->arena.used_bytes + (lookup->slots ? (lookup->mask + 1) * sizeof(void *) : 0);
}

static struct lookup_row **find_slot(const struct lookup *lookup, struct str key) {
    for (uint64_t i = hash_str(key);; i++) {
        struct lookup_row **slot = &lookup->slots[i & lookup->mask];
        if (!*slot || str_eq((*slot)->key, key)) return slot;
    }
}

static bool grow(struct lookup *lookup) {
    uint64_t old_cap = lookup->slots ? lookup->mask + 1 : 0;
    uint64_t cap = old_cap ? old_cap * 2 : FIRST_SLOTS;
    struct lookup_row **old = lookup->slots, **slots = k_try_zalloc(cap * sizeof *slots);
    if (!slots) return false;
    lookup->slots = slots;
    lookup->mask = cap - 1;
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i]) *find_slot(lookup, old[i]->key) = old[i];
    k_free(old);
    return true;
}

static struct str keep(struct arena *arena, struct str s, bool *ok) {
    char *p = s.p ? arena_try_alloc(arena, s.n + 1) : NULL;
    if (!p) {
        *ok = *ok && !s.p;
        return (struct str){0};
    }
    memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

static bool add_row(const struct map *map, struct lookup *lookup, const struct csv_row *row) {
    struct str key = map_value(map, row->fields[lookup->key_field]);
    if (!key.p) return true;
    if ((!lookup->slots || (lookup->n + 1) * 2 > lookup->mask + 1) && !grow(lookup)) return false;
    struct lookup_row **slot = find_slot(lookup, key);
    if (*slot) return true;
    struct lookup_row *kept =
        arena_try_alloc(&lookup->arena, sizeof *kept + lookup->n_columns * sizeof *kept->values);
    if (!kept) return false;
    bool ok = true;
    kept->key = keep(&lookup->arena, key, &ok);
    for (uint32_t i = 0; i < lookup->n_columns; i++)
        kept->values[i] = keep(&lookup->arena, map_value(map, row->fields[lookup->fields[i]]), &ok);
    *slot = kept;
    lookup->n++;
    return ok;
}

/* ---- reading the file ---- */

static int find_field(const struct map *map, const struct toml_node *at, const char *path,
                      const struct csv_row *header, struct str name, uint32_t *out,
                      struct keel_error *err) {
    for (uint32_t i = 0; i < header->n; i++)
        if (str_eq(header->fields[i], name)) {
            *out = i;
            return 0;
        }
    return toml_fail(map->toml, at, err, "there is no column “%.*s” in %s", STR_ARG(name), path);
}

static int bind_header(const struct map *map, uint32_t number, const char *path,
                       const struct csv_row *header, struct lookup *lookup,
                       struct keel_error *err) {
    const struct map_lookup *from = &map->lookups[number];
    TRY(find_field(map, from->at, path, header, from->key, &lookup->key_field, err));
    lookup->columns = k_alloc_array(map->n_columns, sizeof *lookup->columns);
    lookup->fields = k_alloc_array(map->n_columns, sizeof *lookup->fields);
    for (uint32_t i = 0; i < map->n_columns; i++) {
        const struct map_column *column = &map->columns[i];
        if (column->lookup != (int32_t)number) continue;
        uint32_t *field = &lookup->fields[lookup->n_columns];
        TRY(find_field(map, column->at, path, header, column->name, field, err));
        lookup->columns[lookup->n_columns++] = i;
    }
    return 0;
}

static int read_rows(const struct map *map, uint32_t number, const char *path,
                     struct csv_reader *reader, uint64_t max_bytes, struct lookup *lookup,
                     struct keel_error *err) {
    struct csv_row row;
    int got = csv_reader_next(reader, &row, err);
    if (got < 0) return got;
    if (got == 0 || row.cause >= 0) FAIL(err, FORMAT, "%s has no header", path);
    uint32_t n = row.n;
    TRY(bind_header(map, number, path, &row, lookup, err));
    while ((got = csv_reader_next(reader, &row, err)) > 0) {
        int cause = row.cause < 0 && row.n != n ? REJECT_COLUMNS : row.cause;
        if (cause >= 0)
            FAIL(err, FORMAT, "%s:%llu: %s", path, (unsigned long long)row.line,
                 reject_text((enum reject_cause)cause));
        if (!add_row(map, lookup, &row)) FAIL(err, NO_MEMORY, "%s", path);
        if (lookup_bytes(lookup) > max_bytes)
            FAIL(err, LIMIT, "%s needs more than the %llu MiB that memory_mib leaves", path,
                 (unsigned long long)(max_bytes >> 20));
    }
    return got;
}

/* The folder of the imported file, then the lookup's name. */
static void resolve(struct str file, const char *beside, struct buf *out) {
    const char *slash = strrchr(beside, '/');
    if (slash && file.p[0] != '/') buf_add(out, beside, (size_t)(slash - beside) + 1);
    buf_add_str(out, file);
    buf_add_char(out, 0);
}

int lookup_load(const struct map *map, uint32_t number, const char *beside, uint64_t max_bytes,
                struct lookup **out, struct keel_error *err) {
    const struct csv_format format = {.delimiter = ',', .quoted = true};
    struct buf path;
    struct input *in = NULL;
    struct csv_reader *reader = NULL;
    struct lookup *lookup = k_zalloc(sizeof *lookup);
    arena_init(&lookup->arena, SIZE_MAX);
    buf_init(&path, 1 << 20);
    resolve(map->lookups[number].file, beside, &path);
    const char *name = (const char *)path.p;
    int code = input_open(name, &in, err);
    if (code == 0) code = csv_reader_new(&format, csv_from_input(in), &reader, err);
    if (code == 0) code = read_rows(map, number, name, reader, max_bytes, lookup, err);
    csv_reader_free(reader);
    input_close(in);
    if (code == 0)
        *out = lookup;
    else
        lookup_free(lookup);
    buf_release(&path);
    return code;
}

void lookup_fill(const struct lookup *lookup, struct str key, struct str *row) {
    const struct lookup_row *found = key.p && lookup->slots ? *find_slot(lookup, key) : NULL;
    for (uint32_t i = 0; i < lookup->n_columns; i++)
        row[lookup->columns[i]] = found ? found->values[i] : (struct str){0};
}
