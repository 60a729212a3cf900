/* Writing parts: sources of one bucket in, files out (part.h has the format).
 *
 * part/merge.c puts the rows of all sources in order. Then a file is written region by region: the
 * spine (runs, times, events, numbers), the postings, each column. A column's value is fetched by
 * (source, slot) through one decoded chunk a source, which a merge walks in order.
 *
 * Memory: that of the merge, 8 bytes a line item of the file being written, 16 bytes a row of the
 * largest source (its message keys), and one chunk a source.
 */
#include <stdlib.h>
#include <zstd.h>

#include "base/os.h"
#include "base/time.h"
#include "store/part/keys.h"
#include "store/part/merge.h"
#include "store/part/part_int.h"

/* ---- one file ---- */

struct local_stream {
    uint32_t id; /* in the schema */
    uint32_t rows;
    uint32_t parent; /* local */
    bool posting;
    struct ref *refs;       /* events and items: where each value comes from */
    uint32_t *rows_at;      /* events: index into the part's rows            */
    uint32_t *block_counts; /* events: [blocks]                              */
    uint32_t *list_counts;  /* items: per parent row                         */
};

struct writer {
    struct part_merge *m;
    const char *path;
    int fd;
    uint64_t at; /* bytes of the file so far, buffered ones included */
    struct buf pending, directory, chunk;
    const uint32_t *order; /* the part's rows */
    uint32_t rows, blocks;
    struct local_stream *streams;
    uint32_t stream_count, stream_limit; /* ingest may add to the schema meanwhile: ids below it */
    uint32_t *local_of;                  /* schema stream id -> local, UINT32_MAX if absent */
    struct ref *row_refs;
    uint32_t *dictionary; /* lexicon code -> local code + 1, grown as needed */
    size_t dictionary_size;
    struct keel_error *err;
};

enum { WRITE_BUFFER = 1 << 20 };

static const struct row *row_at(const struct writer *w, uint32_t i) {
    return &w->m->rows[w->order[i]];
}

static int flush_pending(struct writer *w) {
    TRY(file_write_all(w->fd, w->pending.p, w->pending.n, w->path, w->err));
    buf_clear(&w->pending);
    return 0;
}

static int put(struct writer *w, const void *p, size_t n) {
    w->at += n;
    if (w->pending.n + n > WRITE_BUFFER) TRY(flush_pending(w));
    if (n > WRITE_BUFFER) return file_write_all(w->fd, p, n, w->path, w->err);
    int code = buf_add(&w->pending, p, n);
    return code < 0 ? error_set(w->err, KEEL_E_NO_MEMORY, "no memory to write %s", w->path) : 0;
}

/* Writes w->chunk and notes its length in the directory; an empty chunk takes no bytes. */
static int put_chunk(struct writer *w) {
    if (w->chunk.failed)
        return error_set(w->err, KEEL_E_NO_MEMORY, "no memory to encode %s", w->path);
    size_t n = w->chunk.n;
    if (n) {
        uint32_t sum = (uint32_t)hash64(w->chunk.p, n);
        TRY(put(w, &sum, 4));
        TRY(put(w, w->chunk.p, n));
        n += 4;
    }
    buf_clear(&w->chunk);
    return buf_add_varint(&w->directory, n);
}

static int begin_region(struct writer *w, uint32_t chunks) {
    TRY(buf_add_u64(&w->directory, w->at));
    return buf_add_varint(&w->directory, chunks);
}

static int add_ints(struct writer *w, const int64_t *v, size_t n, bool sized) {
    if (!sized) return ints_encode(v, n, &w->chunk);
    size_t length_at = w->chunk.n;
    TRY(buf_add_u16(&w->chunk, 0));
    size_t from = w->chunk.n;
    TRY(ints_encode(v, n, &w->chunk));
    uint16_t length = (uint16_t)(w->chunk.n - from);
    K_ASSERT_OP(w->chunk.n - from, <=, UINT16_MAX);
    memcpy(w->chunk.p + length_at, &length, sizeof length);
    return 0;
}

/* ---- spine ---- */

static uint32_t block_rows(const struct writer *w, uint32_t block) {
    uint32_t from = block * CHUNK_ROWS;
    return w->rows - from < CHUNK_ROWS ? w->rows - from : CHUNK_ROWS;
}

static uint32_t find_starts(const struct writer *w, uint32_t block, uint64_t *starts) {
    uint32_t n = block_rows(w, block), from = block * CHUNK_ROWS, runs = 0;
    memset(starts, 0, BITS_WORDS * sizeof *starts);
    for (uint32_t i = 0; i < n; i++)
        if (i == 0 || row_at(w, from + i)->root != row_at(w, from + i - 1)->root) {
            bit_set(starts, i);
            runs++;
        }
    return runs;
}

static int write_runs(struct writer *w) {
    int64_t gaps[CHUNK_ROWS];
    uint64_t starts[BITS_WORDS];
    TRY(begin_region(w, w->blocks));
    for (uint32_t b = 0; b < w->blocks; b++) {
        uint32_t n = block_rows(w, b), runs = 0;
        uint32_t last = row_at(w, b * CHUNK_ROWS)->root;
        find_starts(w, b, starts);
        for (uint32_t i = 0; i < n; i++) {
            if (!bit_get(starts, i)) continue;
            uint32_t root = row_at(w, b * CHUNK_ROWS + i)->root;
            gaps[runs++] = root - last;
            last = root;
        }
        TRY(buf_add_u16(&w->chunk, (uint16_t)runs));
        TRY(add_ints(w, gaps, runs, true));
        TRY(bits_encode(starts, n, &w->chunk));
        TRY(put_chunk(w));
    }
    return 0;
}

/* The largest of these units that divides all times: SDKs send milliseconds, files often seconds.
 */
static int64_t common_unit(const int64_t *time, uint32_t n) {
    static const int64_t UNITS[] = {MS_PER_DAY, MS_PER_MINUTE, MS_PER_SECOND};
    for (size_t u = 0; u < sizeof UNITS / sizeof UNITS[0]; u++) {
        uint32_t i = 0;
        while (i < n && time[i] % UNITS[u] == 0) i++;
        if (i == n) return UNITS[u];
    }
    return 1;
}

static int add_base(struct writer *w, int64_t unit, int64_t base) {
    TRY(buf_add_varint(&w->chunk, (uint64_t)unit));
    return buf_add_varint(&w->chunk, (uint64_t)base << 1 ^ (uint64_t)(base >> 63));
}

static int write_times(struct writer *w) {
    int64_t time[CHUNK_ROWS], first[CHUNK_ROWS], gap[CHUNK_ROWS];
    uint64_t starts[BITS_WORDS];
    TRY(begin_region(w, w->blocks));
    for (uint32_t b = 0; b < w->blocks; b++) {
        uint32_t n = block_rows(w, b), firsts = 0, gaps = 0;
        for (uint32_t i = 0; i < n; i++) time[i] = row_at(w, b * CHUNK_ROWS + i)->time;
        int64_t unit = common_unit(time, n), base = INT64_MAX;
        for (uint32_t i = 0; i < n; i++) {
            time[i] /= unit;
            if (time[i] < base) base = time[i];
        }
        find_starts(w, b, starts);
        for (uint32_t i = 0; i < n; i++) {
            if (i == 0 || bit_get(starts, i)) /* the first always is one */
                first[firsts++] = time[i] - base;
            else
                gap[gaps++] = time[i] - time[i - 1];
        }
        TRY(add_base(w, unit, base));
        TRY(add_ints(w, first, firsts, true));
        TRY(add_ints(w, gap, gaps, false));
        TRY(put_chunk(w));
    }
    return 0;
}

static int write_events(struct writer *w) {
    int64_t code[CHUNK_ROWS];
    TRY(begin_region(w, w->blocks));
    for (uint32_t b = 0; b < w->blocks; b++) {
        uint32_t n = block_rows(w, b);
        for (uint32_t i = 0; i < n; i++)
            code[i] = w->local_of[row_at(w, b * CHUNK_ROWS + i)->event];
        TRY(add_ints(w, code, n, false));
        TRY(put_chunk(w));
    }
    return 0;
}

static int write_numbers(struct writer *w) {
    int64_t number[CHUNK_ROWS];
    TRY(begin_region(w, w->blocks));
    for (uint32_t b = 0; b < w->blocks; b++) {
        uint32_t n = block_rows(w, b);
        bool moved = false;
        for (uint32_t i = 0; i < n; i++) {
            const struct row *row = row_at(w, b * CHUNK_ROWS + i);
            moved |= row->number != row->root;
            number[i] = row->number;
        }
        if (moved) TRY(add_ints(w, number, n, false));
        TRY(put_chunk(w));
    }
    return 0;
}

/* ---- streams ---- */

static uint32_t add_local(struct writer *w, uint32_t id) {
    if (w->local_of[id] == UINT32_MAX) {
        w->local_of[id] = w->stream_count;
        w->streams[w->stream_count++] = (struct local_stream){.id = id};
    }
    return w->local_of[id];
}

static void collect_events(struct writer *w) {
    add_local(w, STREAM_ROWS);
    for (uint32_t i = 0; i < w->rows; i++) w->streams[add_local(w, row_at(w, i)->event)].rows++;
    for (uint32_t l = 1; l < w->stream_count; l++) {
        struct local_stream *s = &w->streams[l];
        s->posting = s->rows < w->rows / POSTING_ONE_IN;
        s->refs = k_alloc_array(s->rows, sizeof *s->refs);
        s->rows_at = k_alloc_array(s->rows, sizeof *s->rows_at);
        s->block_counts = k_zalloc(w->blocks * sizeof *s->block_counts);
        s->rows = 0;
    }
    w->row_refs = k_alloc_array(w->rows, sizeof *w->row_refs);
    for (uint32_t i = 0; i < w->rows; i++) {
        const struct row *row = row_at(w, i);
        struct local_stream *s = &w->streams[w->local_of[row->event]];
        w->row_refs[i] = (struct ref){row->source, row->slot};
        s->refs[s->rows] = (struct ref){row->source, row->ordinal};
        s->rows_at[s->rows++] = i;
        s->block_counts[i / CHUNK_ROWS]++;
    }
}

/* Where the items of a parent row begin in its source, through one chunk of counts a source. */
struct item_cursor {
    uint32_t chunk;
    uint32_t counts[CHUNK_ROWS];
    uint64_t first[CHUNK_ROWS];
};

static int load_items(struct writer *w, struct item_cursor *c, uint32_t source, uint32_t stream,
                      uint32_t chunk) {
    if (c->chunk == chunk) return 0;
    const struct source *s = w->m->sources[source];
    uint64_t base;
    memset(c->counts, 0, sizeof c->counts);
    TRY(s->ops->items(s, stream, chunk, c->counts, &base, w->err));
    for (uint32_t i = 0; i < CHUNK_ROWS; i++) {
        c->first[i] = base;
        base += c->counts[i];
    }
    c->chunk = chunk;
    return 0;
}

static int collect_list(struct writer *w, uint32_t stream_id, uint32_t parent) {
    const struct local_stream *p = &w->streams[parent];
    struct item_cursor *cursors = k_alloc_array(w->m->source_count, sizeof *cursors);
    uint32_t *counts = k_alloc_array(p->rows, sizeof *counts);
    struct ref *refs = NULL;
    size_t n = 0, capacity = 0;
    int code = 0;
    for (uint32_t i = 0; i < w->m->source_count; i++) cursors[i].chunk = UINT32_MAX;
    for (uint32_t i = 0; i < p->rows && code == 0; i++) {
        struct ref at = p->refs[i];
        struct item_cursor *c = &cursors[at.source];
        code = load_items(w, c, at.source, stream_id, at.slot / CHUNK_ROWS);
        if (code < 0) break;
        counts[i] = c->counts[at.slot % CHUNK_ROWS];
        if (n + counts[i] > capacity) {
            capacity = (n + counts[i]) * 2;
            refs = k_realloc(refs, capacity * sizeof *refs);
        }
        for (uint32_t k = 0; k < counts[i]; k++)
            refs[n++] = (struct ref){at.source, (uint32_t)(c->first[at.slot % CHUNK_ROWS] + k)};
    }
    k_free(cursors);
    if (code < 0 || n == 0) {
        k_free(counts);
        k_free(refs);
        return code;
    }
    struct local_stream *s = &w->streams[add_local(w, stream_id)];
    s->parent = parent;
    s->rows = (uint32_t)n;
    s->refs = refs;
    s->list_counts = counts;
    return 0;
}

static int collect_lists(struct writer *w) {
    for (uint32_t id = 1; id < w->stream_limit; id++) {
        struct stream_info info = schema_stream(w->m->env->schema, id);
        if (info.kind == STREAM_KIND_ITEMS && w->local_of[info.parent] != UINT32_MAX)
            TRY(collect_list(w, id, w->local_of[info.parent]));
    }
    return 0;
}

static uint32_t chunks_of(uint32_t rows) { return (rows + CHUNK_ROWS - 1) / CHUNK_ROWS; }

static int write_posting(struct writer *w, const struct local_stream *s) {
    int64_t customer[CHUNK_ROWS], time[CHUNK_ROWS];
    TRY(begin_region(w, chunks_of(s->rows)));
    for (uint32_t from = 0; from < s->rows; from += CHUNK_ROWS) {
        uint32_t n = s->rows - from < CHUNK_ROWS ? s->rows - from : CHUNK_ROWS;
        for (uint32_t i = 0; i < n; i++) {
            const struct row *row = row_at(w, s->rows_at[from + i]);
            customer[i] = row->root;
            time[i] = row->time;
        }
        int64_t unit = common_unit(time, n), base = INT64_MAX;
        for (uint32_t i = 0; i < n; i++)
            if ((time[i] /= unit) < base) base = time[i];
        for (uint32_t i = 0; i < n; i++) time[i] -= base;
        TRY(add_base(w, unit, base));
        TRY(add_ints(w, customer, n, true));
        TRY(add_ints(w, time, n, false));
        TRY(put_chunk(w));
    }
    return 0;
}

static int write_counts(struct writer *w, const struct local_stream *s) {
    int64_t counts[CHUNK_ROWS];
    uint32_t parents = w->streams[s->parent].rows;
    TRY(begin_region(w, chunks_of(parents)));
    for (uint32_t from = 0; from < parents; from += CHUNK_ROWS) {
        uint32_t n = parents - from < CHUNK_ROWS ? parents - from : CHUNK_ROWS;
        for (uint32_t i = 0; i < n; i++) counts[i] = s->list_counts[from + i];
        TRY(add_ints(w, counts, n, false));
        TRY(put_chunk(w));
    }
    return 0;
}

/* ---- columns ---- */

static int fetch(struct writer *w, uint32_t source, uint32_t column, uint32_t chunk,
                 const struct vec **out) {
    struct part_merge *m = w->m;
    struct fetched_chunk *what = &m->fetched_what[source];
    if (what->column != column || what->chunk != chunk) {
        what->column = UINT32_MAX;
        TRY(m->sources[source]->ops->column(m->sources[source], column, chunk, &m->fetched[source],
                                            w->err));
        *what = (struct fetched_chunk){column, chunk};
    }
    *out = &m->fetched[source].vec;
    return 0;
}

/* The values of one output chunk that are present, packed. */
struct gathered {
    uint64_t present[BITS_WORDS];
    uint32_t n, count;
    double num[CHUNK_ROWS];
    int64_t code[CHUNK_ROWS];
    struct str text[CHUNK_ROWS];
    struct arena texts;
};

/* Values `from`..`to` of refs lie in one chunk of one source, whose vector this is. */
static void gather_run(const struct vec *vec, enum vec_kind kind, const struct lexicon *lexicon,
                       const struct ref *refs, uint32_t from, uint32_t to, struct gathered *g) {
    uint32_t count = g->count;
    for (uint32_t i = from; i < to; i++) {
        uint32_t at = refs[i].slot % CHUNK_ROWS;
        if (!bit_get(vec->present, at)) continue;
        bit_set(g->present, i);
        if (kind == VEC_NUMBER)
            g->num[count++] = vec->num[at];
        else if (kind != VEC_TEXT)
            g->code[count++] = vec->code[at];
        else
            g->text[count++] =
                str_dup(&g->texts, vec->kind == VEC_TEXT ? vec->text[at]
                                                         : lexicon_str(lexicon, vec->code[at]));
    }
    g->count = count;
}

/* The output chunk is a chunk of the source. */
static void gather_chunk(const struct vec *vec, enum vec_kind kind, const struct lexicon *lexicon,
                         struct gathered *g) {
    uint32_t count = 0;
    memcpy(g->present, vec->present, sizeof g->present);
    for (uint32_t word = 0; word < BITS_WORDS; word++) {
        const uint32_t first = word * 64;
        if (vec->present[word] == UINT64_MAX && kind != VEC_TEXT) { /* mostly */
            for (uint32_t i = 0; i < 64; i++)
                if (kind == VEC_NUMBER)
                    g->num[count + i] = vec->num[first + i];
                else
                    g->code[count + i] = vec->code[first + i];
            count += 64;
            continue;
        }
        for (uint64_t left = vec->present[word]; left; left &= left - 1) {
            uint32_t at = first + (uint32_t)__builtin_ctzll(left);
            if (kind == VEC_NUMBER)
                g->num[count++] = vec->num[at];
            else if (kind != VEC_TEXT)
                g->code[count++] = vec->code[at];
            else
                g->text[count++] =
                    vec->kind == VEC_TEXT ? vec->text[at] : lexicon_str(lexicon, vec->code[at]);
        }
    }
    g->count = count;
}

static int gather(struct writer *w, uint32_t column, enum vec_kind kind,
                  const struct lexicon *lexicon, const struct ref *refs, uint32_t n,
                  struct gathered *g) {
    g->n = n;
    if (w->m->in_order && refs->slot % CHUNK_ROWS == 0) {
        const struct vec *vec;
        TRY(fetch(w, 0, column, refs->slot / CHUNK_ROWS, &vec));
        if (vec->n == n) {
            gather_chunk(vec, kind, lexicon, g);
            return 0;
        }
    }
    memset(g->present, 0, sizeof g->present);
    g->count = 0;
    arena_release(&g->texts);
    for (uint32_t i = 0, end; i < n; i = end) {
        const struct vec *vec;
        uint32_t source = refs[i].source, chunk = refs[i].slot / CHUNK_ROWS;
        for (end = i + 1; end < n; end++)
            if (refs[end].source != source || refs[end].slot / CHUNK_ROWS != chunk) break;
        TRY(fetch(w, source, column, chunk, &vec));
        gather_run(vec, kind, lexicon, refs, i, end, g);
    }
    return 0;
}

/* Room in the table for the largest code of a chunk. */
static void grow_dictionary(struct writer *w, const struct gathered *g) {
    int64_t most = 0;
    for (uint32_t i = 0; i < g->count; i++) most = g->code[i] > most ? g->code[i] : most;
    if ((size_t)most < w->dictionary_size) return;
    const size_t size = ((size_t)most + 1) * 2;
    uint32_t *larger = k_zalloc_table(size * sizeof *larger);
    if (w->dictionary_size) memcpy(larger, w->dictionary, w->dictionary_size * sizeof *larger);
    k_free(w->dictionary);
    w->dictionary = larger;
    w->dictionary_size = size;
}

/* Codes of the lexicon become codes of the part, in order of first use. Without a branch: whether a
 * code is new cannot be guessed, and each one waits for memory. */
static void localise(struct writer *w, struct gathered *g, uint32_t *used, uint32_t *used_count) {
    grow_dictionary(w, g);
    uint32_t *dictionary = w->dictionary, count = *used_count;
    for (uint32_t i = 0; i < g->count; i++) {
        const uint32_t code = (uint32_t)g->code[i], known = dictionary[code];
        used[count] = code;
        count += known == 0;
        const uint32_t local = known ? known : count;
        dictionary[code] = local;
        g->code[i] = local - 1;
    }
    *used_count = count;
}

static int encode_chunk(struct writer *w, enum vec_kind kind, const struct gathered *g) {
    if (g->count == 0) return 0;
    TRY(bits_encode(g->present, g->n, &w->chunk));
    size_t n = w->chunk.n;
    K_ASSERT_OP(n, <=, UINT16_MAX);
    uint16_t length = (uint16_t)n; /* the presence bits' length goes in front */
    TRY(buf_reserve(&w->chunk, 2));
    memmove(w->chunk.p + 2, w->chunk.p, n);
    memcpy(w->chunk.p, &length, 2);
    w->chunk.n += 2;
    uint64_t bits[BITS_WORDS] = {0};
    switch (kind) {
    case VEC_NUMBER: return numbers_encode(g->num, g->count, &w->chunk);
    case VEC_CODE: return ints_encode(g->code, g->count, &w->chunk);
    case VEC_TEXT: return texts_encode(g->text, g->count, &w->chunk);
    case VEC_BOOL: break;
    }
    for (uint32_t i = 0; i < g->count; i++)
        if (g->code[i]) bit_set(bits, i);
    return bits_encode(bits, g->count, &w->chunk);
}

static int write_dictionary(struct writer *w, const struct lexicon *lexicon, const uint32_t *used,
                            uint32_t count) {
    struct str *texts = k_alloc_array(count, sizeof *texts);
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = lexicon_str(lexicon, used[i]);
        w->dictionary[used[i]] = 0;
    }
    int code = texts_encode(texts, count, &w->chunk);
    k_free(texts);
    TRY(code);
    TRY(buf_add_varint(&w->directory, count));
    TRY(begin_region(w, 1));
    return put_chunk(w);
}

/* How the column is stored in this part: text if the schema says so now or any source has text. */
static int kind_of(struct writer *w, const struct column_info *c, const struct ref *refs,
                   enum vec_kind *out) {
    *out = c->type == COLUMN_NUMBER            ? VEC_NUMBER
           : c->type == COLUMN_BOOL            ? VEC_BOOL
           : c->type == COLUMN_JSON || c->text ? VEC_TEXT
                                               : VEC_CODE;
    for (uint32_t s = 0; *out == VEC_CODE && s < w->m->source_count; s++) {
        const struct vec *vec;
        if (!w->m->sources[s]->ops->has_column(w->m->sources[s], c->id)) continue;
        TRY(fetch(w, s, c->id, 0, &vec));
        if (vec->kind == VEC_TEXT) *out = VEC_TEXT;
    }
    (void)refs;
    return 0;
}

/* A column that turns out to have no value in this part is taken back: *out_any is false. */
static int write_column(struct writer *w, const struct column_info *c, uint32_t local,
                        const struct ref *refs, uint32_t rows, bool *out_any) {
    enum vec_kind kind;
    const size_t mark = w->directory.n;
    *out_any = false;
    TRY(kind_of(w, c, refs, &kind));
    struct lexicon *lexicon =
        c->type == COLUMN_STRING ? w->m->env->lexicon_of(w->m->env->ctx, c->id) : NULL;
    struct gathered *g = k_alloc(sizeof *g);
    arena_init(&g->texts, SIZE_MAX / 2);
    uint32_t *used = kind == VEC_CODE ? k_alloc_array(rows, sizeof *used) : NULL, used_count = 0;
    int code = buf_add_varint(&w->directory, local);
    if (code == 0) code = buf_add_u8(&w->directory, (uint8_t)c->type);
    if (code == 0) code = buf_add_u8(&w->directory, (uint8_t)kind);
    if (code == 0) code = buf_add_varint(&w->directory, c->name.n);
    if (code == 0) code = buf_add_str(&w->directory, c->name);
    if (code == 0) code = begin_region(w, chunks_of(rows));
    for (uint32_t from = 0; from < rows && code == 0; from += CHUNK_ROWS) {
        uint32_t n = rows - from < CHUNK_ROWS ? rows - from : CHUNK_ROWS;
        code = gather(w, c->id, kind, lexicon, refs + from, n, g);
        *out_any |= g->count > 0;
        if (code == 0 && kind == VEC_CODE) localise(w, g, used, &used_count);
        if (code == 0) code = encode_chunk(w, kind, g);
        if (code == 0) code = put_chunk(w);
    }
    if (code == 0 && !*out_any)
        w->directory.n = mark; /* empty chunks took no bytes of the file */
    else if (code == 0 && kind == VEC_CODE)
        code = write_dictionary(w, lexicon, used, used_count);
    arena_release(&g->texts);
    k_free(g);
    k_free(used);
    return code;
}

static bool has_column(const struct writer *w, uint32_t column) {
    for (uint32_t s = 0; s < w->m->source_count; s++)
        if (w->m->sources[s]->ops->has_column(w->m->sources[s], column)) return true;
    return false;
}

/* Columns that have no value in this part are left out. */
static int write_columns(struct writer *w, uint32_t *out_count) {
    uint32_t n = schema_columns(w->m->env->schema);
    for (uint32_t id = 0; id < n; id++) {
        struct column_info c = schema_column(w->m->env->schema, id);
        uint32_t local = c.stream < w->stream_limit ? w->local_of[c.stream] : UINT32_MAX;
        if (local == UINT32_MAX || !has_column(w, id)) continue;
        const struct ref *refs = local ? w->streams[local].refs : w->row_refs;
        uint32_t rows = local ? w->streams[local].rows : w->rows;
        bool any;
        TRY(write_column(w, &c, local, refs, rows, &any));
        *out_count += any;
    }
    return 0;
}

/* ---- directory ----
 * v rows | v blocks | i32 bucket | i64 min time | i64 max time | u64 first arrival | u64 last
 * arrival | u32 identity version
 * v streams, each: u8 kind | s name | v parent (local) | v rows | u8 flags
 *   event: v rows of it in each block;   items: v items of each chunk of parents
 * per block: v first customer - last of the block before | v last - first | u64 events (bit local
 *   % 64)
 * regions runs, times, events, numbers; per stream posting or counts where it has one
 * u32 columns, each: v stream (local) | u8 type | u8 vec kind | s name | region; codes: v entries
 * and the dictionary's region of one chunk keys: u64 offset | v bytes region: u64 offset | v chunks
 * | v bytes of each chunk with its checksum, 0 if empty
 */
static int describe_streams(struct writer *w) {
    TRY(buf_add_varint(&w->directory, w->stream_count));
    for (uint32_t l = 0; l < w->stream_count; l++) {
        const struct local_stream *s = &w->streams[l];
        struct stream_info info = schema_stream(w->m->env->schema, s->id);
        TRY(buf_add_u8(&w->directory, (uint8_t)info.kind));
        TRY(buf_add_varint(&w->directory, info.name.n));
        TRY(buf_add_str(&w->directory, info.name));
        TRY(buf_add_varint(&w->directory, s->parent));
        TRY(buf_add_varint(&w->directory, l ? s->rows : w->rows));
        TRY(buf_add_u8(&w->directory, s->posting ? STREAM_HAS_POSTING : 0));
        for (uint32_t b = 0; s->block_counts && b < w->blocks; b++)
            TRY(buf_add_varint(&w->directory, s->block_counts[b]));
        uint32_t parents = s->list_counts ? w->streams[s->parent].rows : 0;
        for (uint32_t from = 0; from < parents; from += CHUNK_ROWS) {
            uint64_t items = 0;
            for (uint32_t i = from; i < parents && i < from + CHUNK_ROWS; i++)
                items += s->list_counts[i];
            TRY(buf_add_varint(&w->directory, items));
        }
    }
    return 0;
}

static int describe_blocks(struct writer *w) {
    uint32_t before = 0;
    for (uint32_t b = 0; b < w->blocks; b++) {
        uint32_t from = b * CHUNK_ROWS, n = block_rows(w, b);
        uint32_t first = row_at(w, from)->root, last = row_at(w, from + n - 1)->root;
        uint64_t events = 0;
        for (uint32_t i = 0; i < n; i++)
            events |= event_bit(w->local_of[row_at(w, from + i)->event]);
        TRY(buf_add_varint(&w->directory, first - before));
        TRY(buf_add_varint(&w->directory, last - first));
        TRY(buf_add_u64(&w->directory, events));
        before = last;
    }
    return 0;
}

/* The part's rows by source: rows[starts[s] .. starts[s + 1]). */
static void group_by_source(const struct writer *w, uint32_t *rows, uint32_t *starts) {
    for (uint32_t i = 0; i < w->rows; i++) starts[row_at(w, i)->source + 1]++;
    for (uint32_t s = 0; s < w->m->source_count; s++) starts[s + 1] += starts[s];
    for (uint32_t i = w->rows; i-- > 0;) rows[--starts[row_at(w, i)->source + 1]] = i;
    memmove(starts, starts + 1, w->m->source_count * sizeof *starts);
    starts[w->m->source_count] = w->rows;
}

/* A source's keys have no order among its rows, so a split part takes a share of them: the parts of
 * one bucket are always asked together. One source after the other, so that not all are in memory.
 */
static int gather_keys(struct writer *w, const uint32_t *rows, const uint32_t *starts,
                       struct event_key *own) {
    int code = 0;
    for (uint32_t s = 0; s < w->m->source_count && code == 0; s++) {
        const struct source *source = w->m->sources[s];
        if (starts[s] == starts[s + 1]) continue;
        struct event_key *keys = k_try_alloc_array(source->rows, sizeof *keys);
        code = keys ? source->ops->keys(source, keys, w->err)
                    : error_set(w->err, KEEL_E_NO_MEMORY, "no memory for keys");
        for (uint32_t k = starts[s]; k < starts[s + 1] && code == 0; k++)
            own[rows[k]] = keys[row_at(w, rows[k])->slot];
        k_free(keys);
    }
    return code;
}

static int write_keys(struct writer *w) {
    struct event_key *own = k_try_alloc_array(w->rows, sizeof *own);
    uint32_t *rows = k_try_alloc_array(w->rows, sizeof *rows);
    uint32_t *starts = k_zalloc((w->m->source_count + 2) * sizeof *starts);
    int code = own && rows ? 0 : error_set(w->err, KEEL_E_NO_MEMORY, "no memory for keys");
    if (code == 0) group_by_source(w, rows, starts);
    if (code == 0) code = gather_keys(w, rows, starts, own);
    if (code == 0 && part_keys_encode(own, w->rows, &w->chunk) < 0)
        code = error_set(w->err, KEEL_E_NO_MEMORY, "no memory for keys");
    k_free(starts);
    k_free(rows);
    k_free(own);
    TRY(code);
    TRY(buf_add_u64(&w->directory, w->at));
    TRY(buf_add_varint(&w->directory, w->chunk.n));
    TRY(put(w, w->chunk.p, w->chunk.n));
    buf_clear(&w->chunk);
    return 0;
}

static void summarise(const struct writer *w, struct part_written *out) {
    *out = (struct part_written){.rows = w->rows,
                                 .first_customer = row_at(w, 0)->root,
                                 .last_customer = row_at(w, w->rows - 1)->root,
                                 .min_time = INT64_MAX,
                                 .max_time = INT64_MIN};
    for (uint32_t i = 0; i < w->rows; i++) {
        int64_t time = row_at(w, i)->time;
        if (time < out->min_time) out->min_time = time;
        if (time > out->max_time) out->max_time = time;
    }
}

static int describe_part(struct writer *w, const struct part_written *summary) {
    uint64_t first = UINT64_MAX, last = 0;
    for (uint32_t s = 0; s < w->m->source_count; s++) {
        if (w->m->sources[s]->first_arrival < first) first = w->m->sources[s]->first_arrival;
        if (w->m->sources[s]->last_arrival > last) last = w->m->sources[s]->last_arrival;
    }
    struct buf *d = &w->directory;
    TRY(buf_add_varint(d, w->rows));
    TRY(buf_add_varint(d, w->blocks));
    TRY(buf_add_u32(d, (uint32_t)w->m->sources[0]->bucket));
    TRY(buf_add_u64(d, (uint64_t)summary->min_time));
    TRY(buf_add_u64(d, (uint64_t)summary->max_time));
    TRY(buf_add_u64(d, first));
    TRY(buf_add_u64(d, last));
    return buf_add_u32(d, w->m->identity_version);
}

static int write_body(struct writer *w, struct part_written *out) {
    uint32_t columns = 0;
    summarise(w, out);
    collect_events(w);
    TRY(collect_lists(w));
    TRY(describe_part(w, out));
    TRY(describe_streams(w));
    TRY(describe_blocks(w));
    TRY(write_runs(w));
    TRY(write_times(w));
    TRY(write_events(w));
    TRY(write_numbers(w));
    for (uint32_t l = 1; l < w->stream_count; l++) {
        if (w->streams[l].posting) TRY(write_posting(w, &w->streams[l]));
        if (w->streams[l].list_counts) TRY(write_counts(w, &w->streams[l]));
    }
    size_t count_at = w->directory.n;
    TRY(buf_add_u32(&w->directory, 0));
    TRY(write_columns(w, &columns));
    memcpy(w->directory.p + count_at, &columns, 4);
    return write_keys(w);
}

static int write_trailer(struct writer *w) {
    struct buf packed;
    buf_init(&packed, PART_DIRECTORY_MAX);
    int code = buf_reserve(&packed, ZSTD_compressBound(w->directory.n));
    if (code == 0) {
        size_t n = ZSTD_compress(packed.p, packed.cap, w->directory.p, w->directory.n, 3);
        K_ASSERT(!ZSTD_isError(n));
        uint8_t trailer[PART_TRAILER_BYTES];
        uint64_t offset = w->at, sum = hash64(packed.p, n);
        uint32_t bytes = (uint32_t)n, unpacked = (uint32_t)w->directory.n;
        memcpy(trailer, &offset, 8);
        memcpy(trailer + 8, &bytes, 4);
        memcpy(trailer + 12, &unpacked, 4);
        memcpy(trailer + 16, &sum, 8);
        memcpy(trailer + 24, PART_END_MAGIC, 8);
        code = put(w, packed.p, n);
        if (code == 0) code = put(w, trailer, sizeof trailer);
    }
    buf_release(&packed);
    return code;
}

static int write_header(struct writer *w, uint64_t part_id) {
    uint8_t header[PART_HEADER_BYTES] = {0};
    uint16_t major = PART_MAJOR, minor = PART_MINOR;
    memcpy(header, PART_MAGIC, 8);
    memcpy(header + 8, &major, 2);
    memcpy(header + 10, &minor, 2);
    memcpy(header + 16, w->m->env->store_id, PART_ID_BYTES);
    memcpy(header + 32, &part_id, 8);
    uint64_t sum = hash64(header, 56);
    memcpy(header + 56, &sum, 8);
    return put(w, header, sizeof header);
}

static void writer_release(struct writer *w) {
    for (uint32_t l = 0; l < w->stream_count; l++) {
        k_free(w->streams[l].refs);
        k_free(w->streams[l].rows_at);
        k_free(w->streams[l].block_counts);
        k_free(w->streams[l].list_counts);
    }
    k_free(w->streams);
    k_free(w->local_of);
    k_free(w->row_refs);
    k_free(w->dictionary);
    buf_release(&w->pending);
    buf_release(&w->directory);
    buf_release(&w->chunk);
    file_close(w->fd);
}

int part_merge_next(struct part_merge *m, const char *path, uint64_t part_id,
                    struct part_written *out, struct keel_error *err) {
    while (m->next == m->total) {
        int got = part_merge_load(m, err);
        if (got != 1) return got;
    }
    uint32_t from = m->next, to = m->total - from <= m->max_rows ? m->total : from + m->max_rows;
    while (to < m->total && m->rows[m->order[to]].root == m->rows[m->order[to - 1]].root) to++;
    uint32_t streams = schema_streams(m->env->schema);
    struct writer w = {.m = m,
                       .path = path,
                       .fd = -1,
                       .err = err,
                       .stream_limit = streams,
                       .order = m->order + from,
                       .rows = to - from,
                       .blocks = chunks_of(to - from)};
    buf_init(&w.pending, WRITE_BUFFER);
    buf_init(&w.directory, PART_DIRECTORY_MAX);
    buf_init(&w.chunk, PART_CHUNK_MAX);
    w.streams = k_zalloc(streams * sizeof *w.streams);
    w.local_of = k_alloc_array(streams, sizeof *w.local_of);
    memset(w.local_of, 0xff, streams * sizeof *w.local_of);
    if (err) err->code = 0;
    int code = file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &w.fd, err);
    if (code == 0) code = write_header(&w, part_id);
    if (code == 0) code = write_body(&w, out);
    if (code == 0) code = write_trailer(&w);
    if (code == 0) code = flush_pending(&w);
    if (code == 0) code = file_sync(w.fd, path, err);
    out->bytes = w.at;
    if (code < 0 && err && err->code != code)
        error_set(err, (enum keel_code) - code, "cannot write part %s: %s", path, error_text(code));
    writer_release(&w);
    if (code < 0) {
        (void)!file_remove(path, NULL);
        return code;
    }
    m->next = to;
    return 1;
}
