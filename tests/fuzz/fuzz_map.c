/* The map reader, and through it the TOML reader, on any text; a map that is accepted runs on a few
 * rows whose header names every column that it wants. */
#include "cli/import/rows.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int take_batch(void *ctx, struct str bytes, uint32_t events, struct keel_error *err) {
    (void)ctx, (void)err;
    if (bytes.n == 0 || events == 0) abort();
    return 0;
}

static int take_reject(void *ctx, const struct reject *reject, struct keel_error *err) {
    (void)ctx, (void)err;
    if (reject->cause >= REJECT_CAUSES) abort();
    return 0;
}

static void add_row(const struct map *map, struct buf *out, const char *value) {
    for (uint32_t i = 0; i < map->n_columns; i++) {
        if (map->columns[i].lookup >= 0) continue;
        struct str text = value ? str_from(value) : map->columns[i].name;
        buf_add_char(out, '"');
        for (size_t k = 0; k < text.n; k++) {
            if (text.p[k] == '"') buf_add_char(out, '"');
            buf_add_char(out, text.p[k]);
        }
        buf_add_text(out, "\",");
    }
    buf_add_text(out, "end\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct map *map;
    struct keel_error err = {0};
    struct str text = {(const char *)data, size};
    if (map_parse(text, "fuzz.toml", &map, &err) != 0) {
        if (err.code == 0 || err.message[0] == 0) abort();
        return 0;
    }
    struct buf csv;
    buf_init(&csv, 64 << 20);
    static const char *const values[] = {NULL, "1", "2011-01-01", "", "x", "1"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) add_row(map, &csv, values[i]);
    struct str file = buf_str(&csv);
    struct rows_sink sink = {take_batch, take_reject, NULL, NULL};
    struct rows_stats stats;
    int code = rows_import(map, csv_from_text(&file), "/nowhere/f", &sink, &stats, &err);
    if (code != 0 && err.message[0] == 0) abort();
    buf_release(&csv);
    map_free(map);
    return 0;
}
