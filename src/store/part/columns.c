/* Values of the columns of a part: whole chunks, or single values of one.
 *
 * A column's dictionary is translated into the lexicon when the column is first read. A single
 * value costs the chunk's checksum and presence bits, and what its layout asks for: bit-packed ones
 * are computed, of runs the lengths are summed up, differences, zstd and texts are decoded whole.
 *
 * Layers: part_int.h, codec, lexicon. Threads: as source.h; the translation is made under the
 * part's lock. Limits: a dictionary of LEXICON_MAX.
 */
#include "store/part/part_int.h"
#include "store/scan/spine.h"

/* More values of a chunk are decoded with it. */
enum { PICK_MOST = 64 };

static int build_codes(const struct part *p, struct part_column *c, uint32_t **out,
                       struct keel_error *err) {
    struct str bytes;
    struct buf text;
    struct lexicon *lexicon = p->env.lexicon_of(p->env.ctx, c->id);
    TRY(part_chunk(p, &c->dictionary, 0, "dictionary", &bytes, err));
    struct str *entries = k_try_alloc_array((size_t)c->entries + 1, sizeof *entries);
    uint32_t *codes = k_try_alloc_array((size_t)c->entries + 1, sizeof *codes);
    buf_init(&text, PART_CHUNK_MAX);
    int code = !entries || !codes
                   ? error_set(err, KEEL_E_NO_MEMORY, "no memory for a dictionary of %s", p->path)
               : texts_decode(bytes, c->entries, &text, entries) < 0
                   ? part_corrupt(p, "dictionary", err)
                   : 0;
    if (code == 0) codes[c->entries] = 0;
    for (uint32_t i = 0; i < c->entries && code == 0; i++) {
        codes[i] = lexicon_add(lexicon, entries[i]);
        if (codes[i] == UINT32_MAX)
            code = error_set(err, KEEL_E_LIMIT, "a column of %s has more than %d strings", p->path,
                             LEXICON_MAX);
    }
    buf_release(&text);
    k_free(entries);
    if (code < 0)
        k_free(codes);
    else
        *out = codes;
    return code;
}

/* The translation table of a dictionary column; made by the first reader. */
static int codes_of(const struct part *p, struct part_column *c, const uint32_t **out,
                    struct keel_error *err) {
    uint32_t *codes = atomic_load_explicit(&c->codes, memory_order_acquire);
    if (!codes) {
        pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&p->lock;
        pthread_mutex_lock(lock);
        codes = c->codes;
        int code = codes ? 0 : build_codes(p, c, &codes, err);
        if (code == 0) atomic_store_explicit(&c->codes, codes, memory_order_release);
        pthread_mutex_unlock(lock);
        TRY(code);
    }
    *out = codes;
    return 0;
}

/* The same for texts as spine_kernels' spread. */
static void spread_texts(const uint64_t *present, struct str *texts) {
    uint16_t at[CHUNK_ROWS];
    uint32_t k = bits_to_index(present, at);
    while (k-- > 0 && at[k] != k) texts[at[k]] = texts[k];
}

static int decode_values(const struct part *p, struct part_column *c, struct str bytes,
                         uint32_t present, struct vec_buffer *out, struct keel_error *err) {
    struct vec *vec = &out->vec;
    uint64_t bits[BITS_WORDS];
    const uint32_t *codes = NULL;
    int code = 0;
    switch (c->kind) {
    case VEC_NUMBER:
        vec->num = out->num;
        code = numbers_decode(bytes, present, out->num);
        if (code == 0 && present < vec->n) spine_kernels()->spread_f64(vec->present, out->num);
        return code;
    case VEC_TEXT:
        vec->text = out->text;
        buf_clear(&out->bytes);
        code = texts_decode(bytes, present, &out->bytes, out->text);
        if (code == 0 && present < vec->n) spread_texts(vec->present, out->text);
        return code;
    case VEC_BOOL:
        vec->code = out->code;
        TRY(bits_decode(bytes, present, bits));
        for (uint32_t i = 0; i < present; i++) out->code[i] = bit_get(bits, i);
        break;
    case VEC_CODE:
        vec->code = out->code;
        TRY(codes_of(p, c, &codes, err));
        TRY(ints_decode_u32(bytes, present, out->code));
        if (!spine_kernels()->look_up(codes, c->entries, present, out->code))
            return -KEEL_E_CORRUPT;
        break;
    }
    if (present < vec->n) spine_kernels()->spread_u32(vec->present, out->code);
    return 0;
}

/* The head of a vector for a chunk: all absent. Returns the column, or NULL if there is none. */
static struct part_column *begin(const struct source *s, uint32_t column, uint32_t chunk,
                                 struct vec_buffer *out) {
    const struct part *p = part_of(s);
    struct part_column *c = part_column_at(s, column);
    struct vec *vec = &out->vec;
    uint32_t rows = c ? p->streams[c->stream].rows
                      : part_stream_rows(s, schema_column(p->env.schema, column).stream);
    uint32_t from = chunk * CHUNK_ROWS;
    vec->n = rows > from ? (rows - from < CHUNK_ROWS ? rows - from : CHUNK_ROWS) : 0;
    memset(vec->present, 0, sizeof vec->present);
    vec->kind = c ? c->kind : VEC_NUMBER;
    vec->num = out->num;
    if (c && c->kind == VEC_TEXT)
        vec->text = out->text;
    else if (c && c->kind != VEC_NUMBER)
        vec->code = out->code;
    return c;
}

/* 1: presence, which is decoded, and the values, which are not; 0: the chunk has none. */
static int read_chunk(const struct part *p, const struct part_column *c, uint32_t chunk,
                      struct vec *vec, struct str *out, struct keel_error *err) {
    TRY(part_chunk(p, &c->values, chunk, "column values", out, err));
    if (out->n == 0) return 0;
    struct reader r = reader_over(out->p, out->n);
    struct str bits = part_take_sized(&r);
    if (r.bad || bits_decode(bits, vec->n, vec->present) < 0)
        return part_corrupt(p, "column values", err);
    *out = part_take_rest(&r);
    return 1;
}

int part_column(const struct source *s, uint32_t column, uint32_t chunk, struct vec_buffer *out,
                struct keel_error *err) {
    const struct part *p = part_of(s);
    struct part_column *c = begin(s, column, chunk, out);
    struct str bytes;
    if (!c) return 0;
    int code = read_chunk(p, c, chunk, &out->vec, &bytes, err);
    if (code <= 0) return code;
    code = decode_values(p, c, bytes, bits_count(out->vec.present), out, err);
    if (code == -KEEL_E_CORRUPT) return part_corrupt(p, "column values", err);
    return code;
}

/* ---- single values ---- */

/* Of n values that lie side by side, those at at[k], to slots[k] of `out`. */
static int pick_values(const struct part *p, struct part_column *c, struct str bytes, uint32_t n,
                       const uint16_t *at, const uint16_t *slots, uint32_t count,
                       struct vec_buffer *out, struct keel_error *err) {
    int64_t code[PICK_MOST];
    double number[PICK_MOST];
    const uint32_t *codes;
    if (c->kind == VEC_NUMBER) {
        TRY(numbers_pick(bytes, n, at, count, number));
        for (uint32_t k = 0; k < count; k++) out->num[slots[k]] = number[k];
        return 0;
    }
    TRY(codes_of(p, c, &codes, err));
    TRY(ints_pick(bytes, n, at, count, code));
    for (uint32_t k = 0; k < count; k++) {
        if (code[k] < 0 || code[k] >= c->entries) return -KEEL_E_CORRUPT;
        out->code[slots[k]] = codes[code[k]];
    }
    return 0;
}

/* Each of them once. */
static uint32_t sort_slots(const uint16_t *slots, uint32_t n, uint16_t *out) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < n; k++) { /* nearly always in order */
        uint32_t i = count;
        while (i > 0 && out[i - 1] > slots[k]) i--;
        if (i > 0 && out[i - 1] == slots[k]) continue;
        memmove(out + i + 1, out + i, (count++ - i) * sizeof *out);
        out[i] = slots[k];
    }
    return count;
}

/* Which of the slots, which ascend, have a value, and how many values stand before it. */
static uint32_t find_present(const uint64_t *present, const uint16_t *slots, uint32_t n,
                             uint16_t *found, uint16_t *at) {
    uint32_t count = 0, before = 0, word = 0;
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t slot = slots[k], bit = slot & 63;
        while (word < slot >> 6) before += (uint32_t)__builtin_popcountll(present[word++]);
        if (!(present[word] >> bit & 1)) continue;
        const uint64_t below = present[word] & (((uint64_t)1 << bit) - 1);
        at[count] = (uint16_t)(before + (uint32_t)__builtin_popcountll(below));
        found[count++] = (uint16_t)slot;
    }
    return count;
}

int part_pick(const struct source *s, uint32_t column, uint32_t chunk, const uint16_t *slots,
              uint32_t n, struct vec_buffer *out, struct keel_error *err) {
    const struct part *p = part_of(s);
    struct part_column *c = begin(s, column, chunk, out);
    uint16_t sorted[PICK_MOST], at[PICK_MOST], found[PICK_MOST];
    struct str bytes;
    if (!c) return 0;
    if (c->kind == VEC_TEXT || c->kind == VEC_BOOL || n > PICK_MOST)
        return part_column(s, column, chunk, out, err);
    int code = read_chunk(p, c, chunk, &out->vec, &bytes, err);
    if (code <= 0) return code;
    n = sort_slots(slots, n, sorted);
    uint32_t count = find_present(out->vec.present, sorted, n, found, at);
    uint32_t all = bits_count(out->vec.present);
    memset(out->vec.present, 0, sizeof out->vec.present);
    for (uint32_t k = 0; k < count; k++) bit_set(out->vec.present, found[k]);
    if (count == 0) return 0;
    code = pick_values(p, c, bytes, all, at, found, count, out, err);
    if (code == -KEEL_E_CORRUPT) return part_corrupt(p, "column values", err);
    return code;
}

void part_expect(const struct source *s, uint32_t column, uint32_t chunk) {
    const struct part_column *c = part_column_at(s, column);
    if (c) part_expect_chunk(part_of(s), &c->values, chunk);
}
