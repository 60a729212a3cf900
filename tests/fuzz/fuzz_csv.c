/* CSV reader and map executor on any bytes. The first byte chooses the format and how the source is
 * sliced; the rest is the file. Checked: every slicing gives the same rows, every row is accounted
 * for, all batches decode. */
#include <stdlib.h>

#include "cli/import/rows.h"
#include "slices.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FORMATS = 4 };

/* One rule of each kind over whatever the columns are called: they are given by the map. */
static const char *const maps[FORMATS] = {
    "[format]\nheader = false\ncolumns = [\"a\", \"b\"]\n",
    "[format]\ndelimiter = \";\"\nquoted = false\ncolumns = [\"a\", \"b\"]\n",
    "[format]\nkind = \"whitespace\"\nheader = false\ncolumns = [\"a\", \"b\"]\n",
    "[format]\nencoding = \"latin-1\"\nheader = false\ncolumns = [\"a\", \"b\"]\n",
};
static const char rules[] =
    "[[event]]\nname = \"{a}\"\ntime = 2020-01-01\nuser_id = \"{b}\"\n"
    "[event.properties]\nn = { column = \"a\", type = \"number\" }\nv = { value = \"2 * a - b\" }\n"
    "[[event]]\nname = \"group\"\nwhen = { b = { above = 0 } }\ntime = \"a\"\nuser_id = \"u\"\n"
    "group_by = \"b\"\n[event.properties]\ns = { sum = \"a * b + 1\" }\nlast = { last = \"a\" }\n"
    "[event.items]\nname = \"items\"\n[event.items.properties]\na = \"a\"\n"
    "[[event]]\nname = \"adjacent\"\ntime = 2020-01-01\nanonymous_id = \"{a}{b}\"\n"
    "group_by = [\"a\", \"b\"]\ngroup_order = \"adjacent\"\n"
    "[event.properties]\nt = { column = \"a\", type = \"time\", format = \"%Y%m%d\" }\n"
    "flag = { column = \"b\", type = \"bool\" }\nmin = { min = \"b\" }\nn = { count = true }\n";

struct sum {
    uint64_t events, rejected, hash;
};

static int take_batch(void *ctx, struct str bytes, uint32_t events, struct keel_error *err) {
    struct sum *sum = ctx;
    struct arena arena;
    struct batch_reader reader;
    struct event_view event;
    struct field_view field;
    uint32_t n = 0;
    arena_init(&arena, SIZE_MAX);
    if (batch_open(&reader, bytes, &arena, err) != 0) abort();
    int got;
    while ((got = batch_next(&reader, &event, err)) == 1) {
        while (field_next(&reader, &event, &field)) {
        }
        if (event.r.bad) abort();
        n++;
    }
    if (got != 0 || n != events) abort();
    arena_release(&arena);
    sum->events += events;
    sum->hash = hash_mix(sum->hash ^ hash_str(bytes));
    return 0;
}

static int take_reject(void *ctx, const struct reject *reject, struct keel_error *err) {
    (void)err;
    struct sum *sum = ctx;
    sum->rejected += reject->rows;
    sum->hash =
        hash_mix(sum->hash ^ hash_str(reject->raw) ^ reject->line ^ hash_str(reject->detail));
    return 0;
}

static const struct map *map_of(unsigned format) {
    static struct map *loaded[FORMATS];
    if (!loaded[format]) {
        struct buf text;
        struct keel_error err;
        buf_init(&text, 1 << 16);
        buf_printf(&text, "namespace = \"fuzz\"\n%s%s", maps[format], rules);
        if (map_parse(buf_str(&text), "fuzz.toml", &loaded[format], &err) != 0) abort();
        buf_release(&text);
    }
    return loaded[format];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const struct map *map = map_of(data[0] % FORMATS);
    struct str text = {(const char *)data + 1, size - 1};
    struct slices whole = {text, size}, sliced = {text, 1 + data[0] / FORMATS};
    struct sum a = {0}, b = {0};
    struct rows_sink sink_a = {take_batch, take_reject, NULL, &a};
    struct rows_sink sink_b = {take_batch, take_reject, NULL, &b};
    struct rows_stats stats_a, stats_b;
    struct keel_error err;
    int code_a = rows_import(map, csv_from_slices(&whole), "f", &sink_a, &stats_a, &err);
    int code_b = rows_import(map, csv_from_slices(&sliced), "f", &sink_b, &stats_b, &err);
    if (code_a != code_b || memcmp(&a, &b, sizeof a) != 0) abort();
    if (stats_a.rows != stats_b.rows || a.events != stats_a.events) abort();
    if (a.rejected != stats_a.rejected) abort();
    return 0;
}
