/* Implementation of part_exercise.h. */
#include "part_exercise.h"

#include <stdio.h>
#include <string.h>

#include "base/os.h"

enum { LEXICONS = 4096, NUMBERS = 1 << 12, VERSIONS = 1 << 10 };

struct place {
    struct schema *schema;
    struct lexicon *lexicons[LEXICONS];
    struct redirects *redirects;
    const char *path;
    uint64_t faults, digest;
};

static struct lexicon *lexicon_of(void *ctx, uint32_t column) {
    struct place *place = ctx;
    K_ASSERT_OP(column, <, LEXICONS);
    if (!place->lexicons[column]) place->lexicons[column] = lexicon_new();
    return place->lexicons[column];
}

static uint64_t bits_of(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}
static void add(struct place *place, const void *p, size_t n) {
    place->digest = hash_mix(place->digest ^ hash64(p, n));
}
static void add_number(struct place *place, uint64_t v) { add(place, &v, sizeof v); }
static void add_str(struct place *place, struct str s) { add(place, s.p, s.n); }

static int named(const struct place *place, int code, const struct keel_error *err) {
    K_ASSERT(code >= 0 || strstr(err->message, place->path) != NULL);
    return code;
}

/* What readers of few customers ask for is what the whole block says. */
static int read_few(const struct source *s, uint32_t b, const struct row_block *all,
                    struct keel_error *err) {
    static struct row_block some;
    const uint32_t from = b % 7 * all->n / 9, to = from + (all->n - from) / 2;
    TRY(s->ops->rows(s, b, ROWS_CUSTOMER, &some, err));
    TRY(s->ops->moments(s, b, ROWS_TIME | ROWS_NUMBER, from, to, &some, err));
    for (uint32_t i = from; i < to; i++) {
        K_ASSERT(some.time[i] == all->time[i]);
        K_ASSERT_OP(some.number[i], ==, all->number[i]);
    }
    for (uint32_t i = from; i < to; i++) {
        const uint32_t c = all->customer[i], before = i ? all->customer[i - 1] : c;
        K_ASSERT(s->ops->has_customers(s, c, 1));
        if (c - before < 2) continue;
        K_ASSERT(!s->ops->has_customers(s, before + 1, 1));
        K_ASSERT(c - before > NARROW_RANGE ||
                 !s->ops->has_customers(s, before + 1, c - before - 1));
    }
    if (s->ops->expect_rows) s->ops->expect_rows(s, b, ROWS_ALL);
    return 0;
}

static int read_rows(struct place *place, const struct source *s, struct keel_error *err) {
    struct row_block *block = k_alloc(sizeof *block);
    int code = 0;
    for (uint32_t b = 0; b < s->blocks && code == 0; b++) {
        code = s->ops->rows(s, b, ROWS_ALL, block, err);
        for (uint32_t i = 0; i < block->n && code == 0; i++) {
            struct str event = schema_stream(place->schema, block->event[i]).name;
            add_number(place, block->customer[i]);
            add_number(place, (uint64_t)block->time[i]);
            add_number(place, block->number[i]);
            add_str(place, event);
        }
        if (code == 0) code = read_few(s, b, block, err);
        if (code == 0) code = s->ops->rows(s, b, ROWS_TIME, block, err);
        add_number(place, s->block_first[b]);
        add_number(place, s->block_last[b]);
    }
    k_free(block);
    return code;
}

static int read_stream(struct place *place, const struct source *s, uint32_t id,
                       struct keel_error *err) {
    uint32_t counts[CHUNK_ROWS] = {0}, n;
    int64_t time[CHUNK_ROWS];
    uint64_t base;
    struct stream_info info = schema_stream(place->schema, id);
    for (uint32_t b = 0; b <= s->blocks; b++) add_number(place, s->ops->stream_base(s, id, b));
    uint32_t rows = s->ops->stream_rows(s, id);
    uint32_t parents = info.kind == STREAM_KIND_ITEMS ? s->ops->stream_rows(s, info.parent) : 0;
    for (uint32_t c = 0; s->ops->has_posting(s, id) && c <= rows / CHUNK_ROWS; c++) {
        if (c * CHUNK_ROWS >= rows) break;
        TRY(s->ops->posting(s, id, c, counts, time, &n, err));
        add(place, counts, n * sizeof *counts);
        add(place, time, n * sizeof *time);
    }
    for (uint32_t c = 0; info.kind == STREAM_KIND_ITEMS && c * CHUNK_ROWS < parents; c++) {
        memset(counts, 0, sizeof counts);
        TRY(s->ops->items(s, id, c, counts, &base, err));
        add(place, counts, sizeof counts);
        add_number(place, base);
    }
    /* A scan may ask for more than there is when the directory disagrees with the rows. */
    struct keel_error ignored;
    if (info.kind == STREAM_KIND_ITEMS)
        (void)!s->ops->items(s, id, parents / CHUNK_ROWS + 7, counts, &base, &ignored);
    return 0;
}

static void add_vec(struct place *place, uint32_t column, const struct vec *v) {
    add_number(place, (uint64_t)v->kind << 32 | v->n);
    for (uint32_t i = 0; i < v->n; i++) {
        if (!bit_get(v->present, i)) continue;
        switch (v->kind) {
        case VEC_NUMBER: add(place, &v->num[i], sizeof v->num[i]); break;
        case VEC_BOOL: add_number(place, v->code[i]); break;
        case VEC_CODE: add_str(place, lexicon_str(place->lexicons[column], v->code[i])); break;
        case VEC_TEXT: add_str(place, v->text[i]); break;
        }
    }
}

/* Single values are those of the whole chunk, in whatever order they are asked for. */
static int read_single(const struct source *s, uint32_t id, uint32_t chunk, const struct vec *whole,
                       struct keel_error *err) {
    static struct vec_buffer buffer;
    uint16_t slots[CHUNK_ROWS];
    uint32_t n = 0;
    if (!buffer.bytes.max) vec_buffer_init(&buffer);
    for (uint32_t i = chunk % 5; i < whole->n && n < 40; i += 1 + i % 29) slots[n++] = (uint16_t)i;
    if (n > 2) slots[n++] = slots[1];
    if (s->ops->expect) s->ops->expect(s, id, chunk);
    TRY(s->ops->pick(s, id, chunk, slots, n, &buffer, err));
    const struct vec *v = &buffer.vec;
    K_ASSERT(v->kind == whole->kind && v->n == whole->n);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i = slots[k];
        K_ASSERT(bit_get(v->present, i) == bit_get(whole->present, i));
        if (!bit_get(v->present, i)) continue;
        if (v->kind == VEC_NUMBER)
            K_ASSERT(bits_of(v->num[i]) == bits_of(whole->num[i]));
        else if (v->kind == VEC_TEXT)
            K_ASSERT(str_eq(v->text[i], whole->text[i]));
        else
            K_ASSERT_OP(v->code[i], ==, whole->code[i]);
    }
    return 0;
}

static int read_column(struct place *place, const struct source *s, uint32_t id,
                       struct vec_buffer *buffer, struct keel_error *err) {
    struct column_info info = schema_column(place->schema, id);
    add_str(place, info.name);
    uint32_t rows = s->ops->stream_rows(s, info.stream);
    if (info.stream == STREAM_ROWS) rows = s->rows;
    for (uint64_t c = 0; c * CHUNK_ROWS < rows; c++) {
        TRY(s->ops->column(s, id, (uint32_t)c, buffer, err));
        add_vec(place, id, &buffer->vec);
        TRY(read_single(s, id, (uint32_t)c, &buffer->vec, err));
    }
    return 0;
}

static int read_keys(struct place *place, struct part *p, struct keel_error *err) {
    const struct source *s = part_source(p);
    struct event_key *keys = k_try_alloc_array(s->rows, sizeof *keys);
    if (!keys) return error_set(err, KEEL_E_NO_MEMORY, "%s: keys", place->path);
    int code = s->ops->keys(s, keys, err);
    for (uint32_t i = 0; i < s->rows && code == 0; i++) {
        int found = part_has_key(p, keys[i], err);
        K_ASSERT_OP(found, ==, 1); /* the table was checked */
        add_number(place, keys[i].lo);
        add_number(place, keys[i].hi);
    }
    k_free(keys);
    if (code == 0) {
        code = part_has_key(p, (struct event_key){.lo = 42, .hi = 7}, err);
        if (code == 1) code = 0;
    }
    return code;
}

static int merge(struct place *place, struct part *p, const struct part_env *env,
                 struct keel_error *err) {
    char path[4096];
    struct source *source = part_source(p);
    struct redirect_view view;
    struct part_merge *m;
    struct part_written written;
    snprintf(path, sizeof path, "%s.merged", place->path);
    redirects_view(place->redirects, &view);
    int code = named(place, part_bind(p, &view, err), err);
    if (code == 0) {
        code = part_merge_open(&source, 1, (struct part_span){INT64_MIN, INT64_MAX}, &view, env,
                               (struct part_limits){1000, 700}, &m, err);
        uint64_t id = 1000;
        while (code == 0 && (code = part_merge_next(m, path, id++, &written, err)) == 1) {
            struct part *again;
            code = part_open(path, env, &again, err);
            if (code == 0) part_close(again);
        }
        if (code >= 0 || id > 1000) part_merge_close(m);
        (void)!file_remove(path, NULL);
    }
    redirect_view_release(&view);
    return code < 0 ? code : 0;
}

static void on_fault(void *ctx, const char *text) {
    struct place *place = ctx;
    K_ASSERT(strstr(text, place->path) != NULL);
    place->faults++;
}

static int exercise(struct place *place, struct part *p, struct keel_error *err) {
    const struct source *s = part_source(p);
    struct vec_buffer *buffer = k_alloc(sizeof *buffer);
    vec_buffer_init(buffer);
    int code = read_rows(place, s, err);
    for (uint32_t id = 1; id < schema_streams(place->schema) && code == 0; id++)
        code = read_stream(place, s, id, err);
    for (uint32_t id = 0; id < schema_columns(place->schema) && code == 0; id++)
        code = read_column(place, s, id, buffer, err);
    if (code == 0) code = read_keys(place, p, err);
    vec_buffer_release(buffer);
    k_free(buffer);
    return named(place, code, err);
}

int part_exercise(const char *path, const uint8_t *store_id, uint64_t *out_digest,
                  uint64_t *out_faults, struct keel_error *err) {
    struct place *place = k_zalloc(sizeof *place);
    struct part *p;
    place->path = path;
    place->schema = schema_new();
    place->redirects = redirects_new();
    for (uint32_t i = 0; i < NUMBERS; i++) redirects_add_number(place->redirects);
    for (uint32_t i = 0; i < VERSIONS; i++) redirects_set(place->redirects, NUMBERS - 1, i & 1);
    struct part_env env = {.schema = place->schema, .lexicon_of = lexicon_of, .ctx = place};
    memcpy(env.store_id, store_id, sizeof env.store_id);
    int code = named(place, part_open(path, &env, &p, err), err);
    if (code == 0) {
        code = exercise(place, p, err);
        uint64_t faults = part_check(p, on_fault, place);
        K_ASSERT_OP(faults, ==, place->faults);
        struct keel_error merging;
        int merged = merge(place, p, &env, &merging);
        if (code == 0 && faults == 0 && merged < 0) {
            code = merged;
            *err = merging;
        }
        part_close(p);
    }
    *out_digest = place->digest;
    if (out_faults) *out_faults = place->faults;
    for (uint32_t i = 0; i < LEXICONS; i++) lexicon_free(place->lexicons[i]);
    redirects_free(place->redirects);
    schema_free(place->schema);
    k_free(place);
    return code;
}
