/* Reading parts (part.h has the format, part/write.c the directory).
 *
 * The directory is unpacked at open and every offset in it is checked against the file once; a
 * chunk is checked against its checksum each time it is decoded (XXH3 runs at more than 10 GB/s, a
 * chunk is one or two KB). Whatever the bytes are, a fault is an error that names file and region,
 * never a wrong value. A file that cannot be read, or that is cut while it is mapped, reads as
 * zeros (os_map.c); every operation asks behind its reading whether that happened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/time.h"
#include "store/part/keys.h"
#include "store/part/part_int.h"
#include "store/scan/spine.h"

enum {
    NOT_AN_EVENT = UINT32_MAX - 1,
    /* The least that the directory spends on each: bounds what a damaged count makes us allocate.
     */
    STREAM_LEAST_BYTES = 5,
    COLUMN_LEAST_BYTES = 13,
    ZSTD_MOST_GAIN = 1 << 15, /* a block of at most 128 KiB takes at least 4 bytes */
};

int part_corrupt(const struct part *p, const char *what, struct keel_error *err) {
    if (file_map_broken(&p->map))
        FAIL(err, IO,
             "cannot read %s: the disk fails, or the file was cut; run 'keel doctor' and restore "
             "this file from a backup",
             p->path);
    FAIL(err, CORRUPT, "%s is damaged: %s; run 'keel doctor' and restore this file from a backup",
         p->path, what);
}

/* What was read from a mapping that broke meanwhile does not count. */
static int intact(const struct part *p, int code, struct keel_error *err) {
    return code >= 0 && file_map_broken(&p->map) ? part_corrupt(p, "", err) : code;
}

/* ---- open ---- */

static int read_region(struct part *p, struct reader *r, struct region *out, uint64_t limit,
                       uint32_t expected) {
    uint64_t at = reader_u64(r), chunks = reader_varint(r);
    if (r->bad || chunks != expected || at > limit || chunks > reader_left(r)) return -1;
    out->at = k_alloc_array(chunks + 1, sizeof *out->at);
    out->chunks = (uint32_t)chunks;
    for (uint64_t i = 0; i < chunks; i++) {
        out->at[i] = at;
        uint64_t bytes = reader_varint(r);
        if (r->bad || bytes > limit - at || (bytes && bytes < 5)) return -1;
        at += bytes;
    }
    out->at[chunks] = at;
    (void)p;
    return 0;
}

static uint32_t chunks_of(uint32_t rows) { return (rows + CHUNK_ROWS - 1) / CHUNK_ROWS; }

static int read_stream(struct part *p, struct reader *r, uint32_t local, uint8_t *flags) {
    struct part_stream *s = &p->streams[local];
    uint8_t kind = reader_u8(r);
    struct str name = reader_str(r);
    uint64_t parent = reader_varint(r), rows = reader_varint(r);
    *flags = reader_u8(r);
    if (r->bad || kind > STREAM_KIND_ITEMS || parent >= p->stream_count || rows > UINT32_MAX ||
        name.n > EVENT_MAX_NAME || (kind == STREAM_KIND_ROWS) != (local == 0))
        return -1;
    s->kind = kind;
    s->parent = (uint32_t)parent;
    s->rows = (uint32_t)rows;
    int64_t id = STREAM_ROWS;
    if (kind == STREAM_KIND_EVENT) {
        id = schema_add_event(p->env.schema, name);
        s->block_base = k_zalloc((p->base.blocks + 1) * sizeof *s->block_base);
        for (uint32_t b = 0; b < p->base.blocks; b++) {
            uint64_t n = reader_varint(r);
            if (n > CHUNK_ROWS) return -1;
            s->block_base[b + 1] = s->block_base[b] + (uint32_t)n;
        }
        if (s->block_base[p->base.blocks] != s->rows) return -1;
    } else if (kind == STREAM_KIND_ITEMS) {
        if (parent == 0 || parent >= local || p->streams[parent].kind != STREAM_KIND_EVENT)
            return -1;
        id = schema_add_list(p->env.schema, p->streams[parent].id, name);
        uint32_t chunks = chunks_of(p->streams[parent].rows);
        s->chunk_base = k_zalloc((chunks + 1) * sizeof *s->chunk_base);
        for (uint32_t c = 0; c < chunks; c++) {
            uint64_t n = reader_varint(r);
            if (n > s->rows) return -1; /* so the sum cannot overflow */
            s->chunk_base[c + 1] = s->chunk_base[c] + n;
        }
        if (s->chunk_base[chunks] != s->rows) return -1;
    } else if (rows != p->base.rows) {
        return -1;
    }
    s->id = (uint32_t)id;
    p->event_ids[local] = kind == STREAM_KIND_EVENT ? s->id : NOT_AN_EVENT;
    return r->bad || id < 0 ? -1 : 0;
}

static int read_blocks(struct part *p, struct reader *r) {
    uint32_t n = p->base.blocks;
    p->block_first = k_alloc_array(n, sizeof *p->block_first);
    p->block_last = k_alloc_array(n, sizeof *p->block_last);
    p->block_events = k_zalloc(n * sizeof *p->block_events);
    uint64_t before = 0, events[64] = {0}; /* file: local bits; memory: schema bits */
    for (uint32_t l = 1; l < p->stream_count; l++)
        if (p->streams[l].kind == STREAM_KIND_EVENT) events[l & 63] |= event_bit(p->streams[l].id);
    for (uint32_t b = 0; b < n; b++) {
        uint64_t gap = reader_varint(r), width = reader_varint(r), local = reader_u64(r);
        if (r->bad || gap > UINT32_MAX || width > UINT32_MAX || before + gap + width > UINT32_MAX)
            return -1;
        p->block_first[b] = (uint32_t)(before + gap);
        p->block_last[b] = (uint32_t)(before + gap + width);
        for (; local; local &= local - 1) p->block_events[b] |= events[__builtin_ctzll(local)];
        before = p->block_last[b];
    }
    p->base.block_first = p->block_first;
    p->base.block_last = p->block_last;
    p->base.block_events = p->block_events;
    return 0;
}

/* The vectors of a type that a reader of the column is prepared for. */
static bool kind_fits(uint8_t type, uint8_t kind) {
    switch (type) {
    case COLUMN_NUMBER: return kind == VEC_NUMBER;
    case COLUMN_STRING: return kind == VEC_CODE || kind == VEC_TEXT;
    case COLUMN_BOOL: return kind == VEC_BOOL;
    case COLUMN_JSON: return kind == VEC_TEXT;
    default: return false;
    }
}

static int read_column(struct part *p, struct reader *r, struct part_column *c, uint64_t limit) {
    uint64_t stream = reader_varint(r);
    uint8_t type = reader_u8(r), kind = reader_u8(r);
    struct str name = reader_str(r);
    if (r->bad || stream >= p->stream_count || !kind_fits(type, kind) || name.n > EVENT_MAX_NAME)
        return -1;
    int64_t id = schema_add_column(p->env.schema, p->streams[stream].id, name, type);
    if (id < 0) return -1;
    *c = (struct part_column){
        .id = (uint32_t)id, .stream = (uint32_t)stream, .type = type, .kind = kind};
    if (read_region(p, r, &c->values, limit, chunks_of(p->streams[stream].rows)) < 0) return -1;
    if (kind != VEC_CODE) return 0;
    uint64_t entries = reader_varint(r);
    if (entries > LEXICON_MAX || entries > p->streams[stream].rows) return -1;
    c->entries = (uint32_t)entries;
    TRY(read_region(p, r, &c->dictionary, limit, 1));
    /* A chunk of lengths takes two bytes or more: no memory for entries that cannot be there. */
    uint64_t bytes = c->dictionary.at[1] - c->dictionary.at[0];
    return entries / (CHUNK_ROWS / 2) > bytes ? -1 : 0;
}

static int read_columns(struct part *p, struct reader *r, uint64_t limit) {
    uint32_t count = reader_u32(r);
    if (r->bad || count > reader_left(r) / COLUMN_LEAST_BYTES || count > SCHEMA_MAX_COLUMNS)
        return -1;
    p->columns = k_zalloc(count * sizeof *p->columns);
    for (; p->column_count < count; p->column_count++)
        if (read_column(p, r, &p->columns[p->column_count], limit) < 0) {
            p->column_count++;
            return -1;
        }
    p->column_of_size = schema_columns(p->env.schema);
    p->column_of = k_zalloc(p->column_of_size * sizeof *p->column_of);
    for (uint32_t i = 0; i < count; i++) {
        if (p->column_of[p->columns[i].id]) return -1; /* twice */
        p->column_of[p->columns[i].id] = i + 1;
    }
    return 0;
}

static int read_summary(struct part *p, struct reader *r) {
    uint64_t rows = reader_varint(r), blocks = reader_varint(r);
    p->base.bucket = (int32_t)reader_u32(r);
    p->base.min_time = (int64_t)reader_u64(r);
    p->base.max_time = (int64_t)reader_u64(r);
    p->base.first_arrival = reader_u64(r);
    p->base.last_arrival = reader_u64(r);
    p->base.identity_version = reader_u32(r);
    uint64_t streams = reader_varint(r);
    if (r->bad || rows == 0 || rows > UINT32_MAX ||
        blocks != (rows + CHUNK_ROWS - 1) / CHUNK_ROWS || blocks > reader_left(r) || streams == 0 ||
        streams > reader_left(r) / STREAM_LEAST_BYTES || streams > SCHEMA_MAX_STREAMS + 1)
        return -1;
    if (p->base.min_time < EVENT_MIN_TIME || p->base.max_time >= EVENT_MAX_TIME ||
        p->base.min_time > p->base.max_time || bucket_of(p->base.min_time) != p->base.bucket ||
        bucket_of(p->base.max_time) != p->base.bucket)
        return -1;
    p->base.rows = (uint32_t)rows;
    p->base.blocks = (uint32_t)blocks;
    p->stream_count = (uint32_t)streams;
    p->streams = k_zalloc(streams * sizeof *p->streams);
    p->event_ids = k_zalloc(streams * sizeof *p->event_ids);
    return 0;
}

static int index_streams(struct part *p) {
    p->stream_of_size = schema_streams(p->env.schema);
    p->stream_of = k_zalloc(p->stream_of_size * sizeof *p->stream_of);
    for (uint32_t l = 0; l < p->stream_count; l++) {
        if (p->stream_of[p->streams[l].id]) return -1; /* twice */
        p->stream_of[p->streams[l].id] = l + 1;
    }
    return 0;
}

static int read_directory(struct part *p, struct reader *r, uint64_t limit) {
    if (read_summary(p, r) < 0) return -1;
    uint8_t *flags = k_zalloc(p->stream_count);
    int code = 0;
    for (uint32_t l = 0; l < p->stream_count && code == 0; l++)
        code = read_stream(p, r, l, &flags[l]);
    if (code == 0) code = read_blocks(p, r);
    struct region *spine[] = {&p->runs, &p->times, &p->events, &p->numbers};
    for (size_t i = 0; i < 4 && code == 0; i++)
        code = read_region(p, r, spine[i], limit, p->base.blocks);
    for (uint32_t l = 1; l < p->stream_count && code == 0; l++) {
        struct part_stream *s = &p->streams[l];
        if (flags[l] & STREAM_HAS_POSTING)
            code = read_region(p, r, &s->posting, limit, chunks_of(s->rows));
        if (code == 0 && s->kind == STREAM_KIND_ITEMS)
            code = read_region(p, r, &s->counts, limit, chunks_of(p->streams[s->parent].rows));
    }
    k_free(flags);
    if (code < 0 || read_columns(p, r, limit) < 0) return -1;
    uint64_t at = reader_u64(r), bytes = reader_varint(r);
    if (r->bad || at > limit || bytes > limit - at) return -1;
    p->keys = (struct str){(const char *)p->map.p + at, bytes};
    return index_streams(p);
}

static int check_header(struct part *p, struct keel_error *err) {
    const uint8_t *h = p->map.p;
    uint16_t major;
    uint64_t sum;
    if (p->map.n < PART_HEADER_BYTES + PART_TRAILER_BYTES)
        return part_corrupt(p, "the file is too short", err);
    memcpy(&major, h + 8, 2);
    memcpy(&sum, h + 56, 8);
    memcpy(&p->id, h + 32, 8);
    if (memcmp(h, PART_MAGIC, 8) != 0 || sum != hash64(h, 56))
        return part_corrupt(p, "its header", err);
    if (major > PART_MAJOR)
        FAIL(err, UNSUPPORTED, "%s has format %u, this keel reads up to %d; use a newer keel",
             p->path, major, PART_MAJOR);
    if (memcmp(h + 16, p->env.store_id, PART_ID_BYTES) != 0)
        FAIL(err, CORRUPT, "%s belongs to another store", p->path);
    return 0;
}

static int load_directory(struct part *p, struct keel_error *err) {
    const uint8_t *t = p->map.p + p->map.n - PART_TRAILER_BYTES;
    uint64_t offset, sum;
    uint32_t bytes, unpacked;
    memcpy(&offset, t, 8);
    memcpy(&bytes, t + 8, 4);
    memcpy(&unpacked, t + 12, 4);
    memcpy(&sum, t + 16, 8);
    if (memcmp(t + 24, PART_END_MAGIC, 8) != 0 || unpacked > PART_DIRECTORY_MAX ||
        offset > p->map.n - PART_TRAILER_BYTES || bytes != p->map.n - PART_TRAILER_BYTES - offset ||
        unpacked / ZSTD_MOST_GAIN > bytes || sum != hash64(p->map.p + offset, bytes))
        return part_corrupt(p, "its end (directory or trailer)", err);
    uint8_t *directory = k_try_alloc(unpacked);
    if (!directory) FAIL(err, NO_MEMORY, "no memory to open %s", p->path);
    size_t n = ZSTD_decompress(directory, unpacked, p->map.p + offset, bytes);
    struct reader r = reader_over(directory, unpacked);
    int code = ZSTD_isError(n) || n != unpacked || read_directory(p, &r, offset) < 0 || r.bad
                   ? part_corrupt(p, "its directory", err)
                   : 0;
    k_free(directory);
    return code;
}

static const struct source_ops PART_OPS;

int part_open(const char *path, const struct part_env *env, struct part **out,
              struct keel_error *err) {
    struct part *p = k_zalloc(sizeof *p);
    p->path = k_strdup(path);
    p->env = *env;
    p->number_limit = UINT32_MAX;
    p->base.ops = &PART_OPS;
    pthread_mutex_init(&p->lock, NULL);
    int code = file_map_open(path, &p->map, err);
    if (code == 0) code = check_header(p, err);
    if (code == 0) code = load_directory(p, err);
    code = intact(p, code, err);
    if (code < 0) {
        part_close(p);
        return code;
    }
    *out = p;
    return 0;
}

void part_close(struct part *p) {
    if (!p) return;
    struct region *spine[] = {&p->runs, &p->times, &p->events, &p->numbers};
    for (size_t i = 0; i < 4; i++) k_free(spine[i]->at);
    for (uint32_t l = 0; p->streams && l < p->stream_count; l++) {
        k_free(p->streams[l].block_base);
        k_free(p->streams[l].chunk_base);
        k_free(p->streams[l].posting.at);
        k_free(p->streams[l].counts.at);
    }
    for (uint32_t i = 0; i < p->column_count; i++) {
        k_free(p->columns[i].values.at);
        k_free(p->columns[i].dictionary.at);
        k_free(p->columns[i].codes);
    }
    k_free(p->streams);
    k_free(p->event_ids);
    k_free(p->columns);
    k_free(p->column_of);
    k_free(p->stream_of);
    k_free(p->block_first);
    k_free(p->block_last);
    k_free(p->block_events);
    file_map_close(&p->map);
    pthread_mutex_destroy(&p->lock);
    k_free(p->path);
    k_free(p);
}

struct source *part_source(struct part *p) {
    return &p->base;
}
int part_bind(struct part *p, const struct redirect_view *redirects, struct keel_error *err) {
    if (p->block_last[p->base.blocks - 1] >= redirects->numbers)
        FAIL(err, CORRUPT,
             "%s holds customer %u, the identity log ends before: restore both from one backup",
             p->path, p->block_last[p->base.blocks - 1]);
    if (p->base.identity_version > redirects->version)
        FAIL(err, CORRUPT,
             "%s was written at version %u of the identities, the identity log ends at %u: restore "
             "both from one backup",
             p->path, p->base.identity_version, redirects->version);
    p->number_limit = redirects->numbers;
    return 0;
}

uint64_t part_id(const struct part *p) { return p->id; }
uint32_t part_highest_number(const struct part *p) { return p->highest_number; }
uint64_t part_bytes(const struct part *p) { return p->map.n; }
uint64_t part_key_bytes(const struct part *p) { return p->keys.n; }
const char *part_path(const struct part *p) { return p->path; }

/* ---- chunks ---- */

static _Thread_local uint64_t thread_bytes;

uint64_t part_thread_bytes(void) { return thread_bytes; }

int part_chunk(const struct part *p, const struct region *region, uint32_t chunk, const char *what,
               struct str *out, struct keel_error *err) {
    *out = (struct str){"", 0};
    if (chunk >= region->chunks) return part_corrupt(p, what, err);
    uint64_t at = region->at[chunk], end = region->at[chunk + 1];
    uint32_t sum;
    if (at == end) return 0;
    thread_bytes += end - at;
    memcpy(&sum, p->map.p + at, 4);
    *out = (struct str){(const char *)p->map.p + at + 4, end - at - 4};
    if (sum != (uint32_t)hash_str(*out)) {
        char text[160];
        snprintf(text, sizeof text, "%s, chunk %u at byte %llu: wrong checksum", what, chunk,
                 (unsigned long long)at);
        return part_corrupt(p, text, err);
    }
    return 0;
}

void part_expect_chunk(const struct part *p, const struct region *region, uint32_t chunk) {
    enum { LINE = 64, LINES_MOST = 16 };
    if (chunk >= region->chunks) return;
    const uint64_t at = region->at[chunk], end = region->at[chunk + 1];
    for (uint64_t k = at, n = 0; k < end && n < LINES_MOST; k += LINE, n++)
        __builtin_prefetch(p->map.p + k);
}

static uint32_t block_rows(const struct source *s, uint32_t block) {
    uint32_t from = block * CHUNK_ROWS;
    return s->rows - from < CHUNK_ROWS ? s->rows - from : CHUNK_ROWS;
}

/* Which rows begin a customer, and the gaps between these: still encoded. */
struct run_chunk {
    uint32_t runs;
    struct str gaps, starts;
};

static int read_runs(const struct part *p, uint32_t block, struct run_chunk *out,
                     struct keel_error *err) {
    struct str bytes;
    TRY(part_chunk(p, &p->runs, block, "customers", &bytes, err));
    struct reader r = reader_over(bytes.p, bytes.n);
    out->runs = reader_u16(&r);
    out->gaps = part_take_sized(&r);
    out->starts = part_take_rest(&r);
    return r.bad || out->runs == 0 || out->runs > block_rows(&p->base, block)
               ? part_corrupt(p, "customers", err)
               : 0;
}

static int read_starts(const struct part *p, uint32_t block, struct run_chunk *out,
                       uint64_t *starts, struct keel_error *err) {
    TRY(read_runs(p, block, out, err));
    memset(starts, 0,
           BITS_WORDS * sizeof *starts); /* the decoder writes the words of n bits only */
    return bits_decode(out->starts, block_rows(&p->base, block), starts) < 0 ||
                   bits_count(starts) != out->runs || !bit_get(starts, 0)
               ? part_corrupt(p, "customers", err)
               : 0;
}

static int read_customers(const struct part *p, uint32_t block, struct row_block *out,
                          struct keel_error *err) {
    uint32_t gaps[CHUNK_ROWS + 1];
    struct run_chunk c;
    TRY(read_starts(p, block, &c, out->starts, err));
    if (ints_decode_u32(c.gaps, c.runs, gaps) < 0) return part_corrupt(p, "customers", err);
    gaps[c.runs] = 0;
    bool good =
        spine_kernels()->customers(out->starts, out->n, p->block_first[block], gaps, out->customer);
    return good && gaps[0] == 0 && out->customer[out->n - 1] == p->block_last[block]
               ? 0
               : part_corrupt(p, "customers", err);
}

/* Bounded so that (base + any u32) * unit does not overflow. */
static bool read_base(struct reader *r, int64_t *base, int64_t *unit) {
    uint64_t u = reader_varint(r), z = reader_varint(r);
    if (r->bad || u == 0 || u > (uint64_t)MS_PER_DAY || (z & 1))
        return false; /* no time is before 1970 */
    *unit = (int64_t)u;
    *base = (int64_t)(z >> 1);
    return *base < EVENT_MAX_TIME / *unit + 1;
}

/* A run's first time is absolute, the others add to the row before. `first` and `gap` have room for
 * `runs` and rows - runs. */
struct moment_chunk {
    int64_t base, unit;
};

static int read_moments(const struct part *p, uint32_t block, uint32_t runs, uint32_t rows,
                        uint32_t *first, uint32_t *gap, struct moment_chunk *out,
                        struct keel_error *err) {
    struct str bytes;
    TRY(part_chunk(p, &p->times, block, "times", &bytes, err));
    struct reader r = reader_over(bytes.p, bytes.n);
    bool good = read_base(&r, &out->base, &out->unit);
    struct str firsts = part_take_sized(&r);
    if (!good || r.bad || ints_decode_u32(firsts, runs, first) < 0 ||
        ints_decode_u32(part_take_rest(&r), rows - runs, gap) < 0)
        return part_corrupt(p, "times", err);
    return 0;
}

static int read_times(const struct part *p, uint32_t block, const uint64_t *starts, uint32_t runs,
                      struct row_block *out, struct keel_error *err) {
    uint32_t first[CHUNK_ROWS + 1], gap[CHUNK_ROWS + 1];
    struct moment_chunk c;
    TRY(read_moments(p, block, runs, out->n, first, gap, &c, err));
    first[runs] = gap[out->n - runs] = 0;
    spine_kernels()->times(starts, out->n, first, gap, c.base, c.unit, out->time);
    return 0;
}

static int part_rows(const struct source *s, uint32_t block, unsigned parts, struct row_block *out,
                     struct keel_error *err);

/* The gaps alone say who is there. */
static bool part_has_customers(const struct source *s, uint32_t first, uint32_t count) {
    const struct part *p = part_of(s);
    const uint64_t last = (uint64_t)first + count - 1;
    uint32_t gaps[CHUNK_ROWS];
    struct run_chunk c;
    uint32_t b = source_find_block(s, first);
    if (b == s->blocks || p->block_first[b] > last) return false;
    if (count > NARROW_RANGE || p->block_first[b] >= first || p->block_last[b] <= last) return true;
    if (read_runs(p, b, &c, NULL) < 0 || ints_decode_u32(c.gaps, c.runs, gaps) < 0) return true;
    uint64_t customer = p->block_first[b];
    for (uint32_t k = 0; k < c.runs && customer < first; k++)
        customer += k + 1 < c.runs ? gaps[k + 1] : UINT32_MAX;
    return customer <= last;
}

/* Times of some rows of a block whose starts are known. */
static int part_moments(const struct source *s, uint32_t block, unsigned parts, uint32_t from,
                        uint32_t to, struct row_block *out, struct keel_error *err) {
    const struct part *p = part_of(s);
    uint32_t first[CHUNK_ROWS], gap[CHUNK_ROWS], run = 0;
    struct moment_chunk c;
    if (parts & ROWS_NUMBER) TRY(part_rows(s, block, ROWS_NUMBER, out, err));
    if (!(parts & ROWS_TIME) || from == to) return 0;
    TRY(read_moments(p, block, bits_count(out->starts), out->n, first, gap, &c, err));
    while (!bit_get(out->starts, from)) from--;
    for (uint32_t w = 0; w < from / 64; w++) run += (uint32_t)__builtin_popcountll(out->starts[w]);
    if (from % 64)
        run += (uint32_t)__builtin_popcountll(out->starts[from / 64] << (64 - from % 64));
    uint32_t t = 0;
    for (uint32_t i = from; i < to; i++) {
        bool starts = bit_get(out->starts, i);
        t = starts ? first[run++] : t + gap[i - run];
        out->time[i] = (c.base + t) * c.unit;
    }
    return 0;
}

static int part_rows(const struct source *s, uint32_t block, unsigned parts, struct row_block *out,
                     struct keel_error *err) {
    const struct part *p = part_of(s);
    struct str bytes;
    out->n = block_rows(s, block);
    if (parts & (ROWS_CUSTOMER | ROWS_NUMBER)) TRY(read_customers(p, block, out, err));
    if (parts & ROWS_TIME) {
        struct run_chunk c;
        if (!(parts & (ROWS_CUSTOMER | ROWS_NUMBER)))
            TRY(read_starts(p, block, &c, out->starts, err));
        TRY(read_times(p, block, out->starts, bits_count(out->starts), out, err));
    }
    if (parts & ROWS_EVENT) {
        TRY(part_chunk(p, &p->events, block, "events", &bytes, err));
        if (ints_decode_u32(bytes, out->n, out->event) < 0) return part_corrupt(p, "events", err);
        bool good = spine_kernels()->look_up(p->event_ids, p->stream_count, out->n, out->event);
        uint64_t bad[BITS_WORDS] = {0};
        spine_kernels()->equal(out->event, out->n, NOT_AN_EVENT, bad);
        if (!good || bits_any(bad)) return part_corrupt(p, "events", err);
    }
    if (parts & ROWS_NUMBER) {
        TRY(part_chunk(p, &p->numbers, block, "numbers", &bytes, err));
        if (bytes.n == 0)
            memcpy(out->number, out->customer, out->n * sizeof *out->number);
        else if (ints_decode_u32(bytes, out->n, out->number) < 0)
            return part_corrupt(p, "numbers", err);
        uint32_t highest = 0;
        for (uint32_t i = 0; i < out->n; i++)
            if (out->number[i] > highest) highest = out->number[i];
        if (highest >= p->number_limit)
            return part_corrupt(p, "numbers that were never given", err);
    }
    return 0;
}

/* ---- streams and columns ---- */

static const struct part_stream *stream_at(const struct source *s, uint32_t id) {
    const struct part *p = part_of(s);
    uint32_t at = id < p->stream_of_size ? p->stream_of[id] : 0;
    return at ? &p->streams[at - 1] : NULL;
}

static uint32_t part_stream_base(const struct source *s, uint32_t id, uint32_t block) {
    const struct part_stream *stream = stream_at(s, id);
    return stream && stream->block_base ? stream->block_base[block] : 0;
}

uint32_t part_stream_rows(const struct source *s, uint32_t id) {
    const struct part_stream *stream = stream_at(s, id);
    return stream ? stream->rows : 0;
}

struct part_column *part_column_at(const struct source *s, uint32_t column) {
    const struct part *p = part_of(s);
    uint32_t at = column < p->column_of_size ? p->column_of[column] : 0;
    return at ? &p->columns[at - 1] : NULL;
}

static bool part_has_column(const struct source *s, uint32_t column) {
    return part_column_at(s, column) != NULL;
}

static int part_items(const struct source *s, uint32_t item_stream, uint32_t chunk,
                      uint32_t *counts, uint64_t *base, struct keel_error *err) {
    const struct part *p = part_of(s);
    const struct part_stream *items = stream_at(s, item_stream);
    const struct part_stream *parent =
        items ? &p->streams[items->parent]
              : stream_at(s, schema_stream(p->env.schema, item_stream).parent);
    uint32_t from = chunk * CHUNK_ROWS;
    uint32_t n = !parent || parent->rows <= from    ? 0
                 : parent->rows - from < CHUNK_ROWS ? parent->rows - from
                                                    : CHUNK_ROWS;
    *base = 0;
    if (!items) {
        memset(counts, 0, n * sizeof *counts);
        return 0;
    }
    struct str bytes;
    TRY(part_chunk(p, &items->counts, chunk, "line items", &bytes, err));
    if (ints_decode_u32(bytes, n, counts) < 0) return part_corrupt(p, "line items", err);
    uint64_t total = 0;
    uint32_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        total += counts[i];
        if (counts[i] > most) most = counts[i];
    }
    *base = items->chunk_base[chunk];
    return total == items->chunk_base[chunk + 1] - *base && most <= EVENT_MAX_ITEMS
               ? 0
               : part_corrupt(p, "line items", err);
}

static bool part_has_posting(const struct source *s, uint32_t id) {
    const struct part_stream *stream = stream_at(s, id);
    return stream && stream->posting.at;
}

static int part_posting(const struct source *s, uint32_t id, uint32_t chunk, uint32_t *customer,
                        int64_t *time, uint32_t *n, struct keel_error *err) {
    const struct part *p = part_of(s);
    const struct part_stream *stream = stream_at(s, id);
    uint32_t rel[CHUNK_ROWS], from = chunk * CHUNK_ROWS, bad = 0;
    struct str bytes;
    int64_t base, unit;
    *n = stream->rows - from < CHUNK_ROWS ? stream->rows - from : CHUNK_ROWS;
    TRY(part_chunk(p, &stream->posting, chunk, "postings", &bytes, err));
    struct reader r = reader_over(bytes.p, bytes.n);
    bool good = read_base(&r, &base, &unit);
    struct str customers = part_take_sized(&r);
    if (!good || r.bad || ints_decode_u32(customers, *n, customer) < 0 ||
        ints_decode_u32(part_take_rest(&r), *n, rel) < 0)
        return part_corrupt(p, "postings", err);
    for (uint32_t i = 0; i < *n; i++) time[i] = (base + rel[i]) * unit;
    /* A scan looks at the first and the last to see whether all lie in its range. */
    for (uint32_t i = 1; i < *n; i++) bad |= customer[i] < customer[i - 1];
    return bad ? part_corrupt(p, "postings", err) : 0;
}

static int part_keys(const struct source *s, struct event_key *out, struct keel_error *err) {
    const struct part *p = part_of(s);
    return part_keys_decode(p->keys, out, s->rows) < 0 ? part_corrupt(p, "message keys", err) : 0;
}

/* A flipped bit in the keys would let a message in twice, so the table is verified when it is first
 * asked, at a few ns a key. */
int part_has_key(struct part *p, struct event_key key, struct keel_error *err) {
    if (!atomic_load_explicit(&p->keys_checked, memory_order_acquire)) {
        if (part_keys_check(p->keys, p->base.rows) < 0) return part_corrupt(p, "message keys", err);
        atomic_store_explicit(&p->keys_checked, true, memory_order_release);
    }
    int found = part_keys_find(p->keys, key);
    return found < 0 ? part_corrupt(p, "message keys", err) : intact(p, found, err);
}

int part_each_key(struct part *p, void (*each)(void *ctx, struct event_key key), void *ctx,
                  struct keel_error *err) {
    if (part_keys_each(p->keys, p->base.rows, each, ctx) < 0)
        return part_corrupt(p, "message keys", err);
    atomic_store_explicit(&p->keys_checked, true, memory_order_release);
    return intact(p, 0, err);
}

/* The operations of a source, believed only while the file can be read. */

static int rows_checked(const struct source *s, uint32_t block, unsigned parts,
                        struct row_block *out, struct keel_error *err) {
    return intact(part_of(s), part_rows(s, block, parts, out, err), err);
}

static int moments_checked(const struct source *s, uint32_t block, unsigned parts, uint32_t from,
                           uint32_t to, struct row_block *out, struct keel_error *err) {
    return intact(part_of(s), part_moments(s, block, parts, from, to, out, err), err);
}

static void part_expect_rows(const struct source *s, uint32_t block, unsigned parts) {
    const struct part *p = part_of(s);
    if (parts & ROWS_CUSTOMER) part_expect_chunk(p, &p->runs, block);
    if (parts & ROWS_TIME) part_expect_chunk(p, &p->times, block);
    if (parts & ROWS_EVENT) part_expect_chunk(p, &p->events, block);
}

static int column_checked(const struct source *s, uint32_t column, uint32_t chunk,
                          struct vec_buffer *out, struct keel_error *err) {
    return intact(part_of(s), part_column(s, column, chunk, out, err), err);
}

static int pick_checked(const struct source *s, uint32_t column, uint32_t chunk,
                        const uint16_t *slots, uint32_t n, struct vec_buffer *out,
                        struct keel_error *err) {
    return intact(part_of(s), part_pick(s, column, chunk, slots, n, out, err), err);
}

static int items_checked(const struct source *s, uint32_t item_stream, uint32_t chunk,
                         uint32_t *counts, uint64_t *base, struct keel_error *err) {
    return intact(part_of(s), part_items(s, item_stream, chunk, counts, base, err), err);
}

static int posting_checked(const struct source *s, uint32_t id, uint32_t chunk, uint32_t *customer,
                           int64_t *time, uint32_t *n, struct keel_error *err) {
    return intact(part_of(s), part_posting(s, id, chunk, customer, time, n, err), err);
}

static int keys_checked(const struct source *s, struct event_key *out, struct keel_error *err) {
    return intact(part_of(s), part_keys(s, out, err), err);
}

static const struct source_ops PART_OPS = {
    .rows = rows_checked,
    .has_customers = part_has_customers,
    .moments = moments_checked,
    .expect_rows = part_expect_rows,
    .stream_base = part_stream_base,
    .stream_rows = part_stream_rows,
    .has_column = part_has_column,
    .column = column_checked,
    .pick = pick_checked,
    .expect = part_expect,
    .items = items_checked,
    .has_posting = part_has_posting,
    .posting = posting_checked,
    .keys = keys_checked,
};

/* ---- reports and checks ---- */

static uint64_t region_bytes(const struct region *r) {
    return r->at ? r->at[r->chunks] - r->at[0] : 0;
}

void part_regions(const struct part *p, void (*each)(void *, const char *, const char *, uint64_t),
                  void *ctx) {
    each(ctx, "", "customers", region_bytes(&p->runs));
    each(ctx, "", "times", region_bytes(&p->times));
    each(ctx, "", "events", region_bytes(&p->events));
    each(ctx, "", "numbers", region_bytes(&p->numbers));
    each(ctx, "", "message keys", p->keys.n);
    for (uint32_t l = 1; l < p->stream_count; l++) {
        struct str name = schema_stream(p->env.schema, p->streams[l].id).name;
        if (p->streams[l].posting.at)
            each(ctx, name.p, "posting", region_bytes(&p->streams[l].posting));
        if (p->streams[l].counts.at)
            each(ctx, name.p, "line items", region_bytes(&p->streams[l].counts));
    }
    for (uint32_t i = 0; i < p->column_count; i++) {
        const struct part_column *c = &p->columns[i];
        each(ctx, schema_stream(p->env.schema, p->streams[c->stream].id).name.p,
             schema_column(p->env.schema, c->id).name.p,
             region_bytes(&c->values) + region_bytes(&c->dictionary));
    }
}

struct check {
    struct part *part;
    void (*report)(void *, const char *);
    void *ctx;
    uint64_t faults;
};

static void fault(struct check *c, int code, const struct keel_error *err) {
    if (code >= 0) return;
    c->faults++;
    c->report(c->ctx, err->message);
}

static void fault_text(struct check *c, const char *what) {
    struct keel_error err;
    fault(c, part_corrupt(c->part, what, &err), &err);
}

/* The posting copy of an event beside the rows: chunk after chunk, in the same order. */
struct posting_cursor {
    uint32_t at, n, chunk; /* row of the chunk, rows of it, the next chunk */
    bool broken;
    uint32_t customer[CHUNK_ROWS];
    int64_t time[CHUNK_ROWS];
};

static void compare_posting(struct check *c, struct posting_cursor *k, uint32_t stream,
                            uint32_t customer, int64_t time) {
    struct keel_error err;
    if (k->broken) return;
    if (k->at == k->n) {
        int code =
            part_posting(&c->part->base, stream, k->chunk++, k->customer, k->time, &k->n, &err);
        k->at = 0;
        k->broken = code < 0; /* reported with the other chunks */
        if (code < 0) return;
    }
    if (k->customer[k->at] != customer || k->time[k->at] != time) {
        fault_text(c, "rows and postings differ");
        k->broken = true;
    }
    k->at++;
}

struct row_check {
    struct check *c;
    uint32_t *seen; /* [streams] rows of each event so far */
    struct posting_cursor **postings;
    uint32_t last_customer;
    int64_t last_time, min_time, max_time;
};

/* False at the first fault of the block. */
static bool check_row(struct row_check *r, const struct row_block *block, uint32_t i) {
    struct part *p = r->c->part;
    uint32_t local = p->stream_of[block->event[i]] - 1;
    int64_t time = block->time[i];
    if (block->customer[i] < r->last_customer ||
        (block->customer[i] == r->last_customer && time < r->last_time)) {
        fault_text(r->c, "rows are out of order");
        return false;
    }
    if (time < r->min_time) r->min_time = time;
    if (time > r->max_time) r->max_time = time;
    if (block->number[i] > p->highest_number) p->highest_number = block->number[i];
    r->last_customer = block->customer[i];
    r->last_time = time;
    r->seen[local]++;
    if (r->postings[local])
        compare_posting(r->c, r->postings[local], block->event[i], block->customer[i], time);
    return true;
}

/* Behind block b: what the directory says of its events. */
static void check_block(struct row_check *r, uint32_t b, const struct row_block *block) {
    struct part *p = r->c->part;
    uint64_t events = 0;
    for (uint32_t i = 0; i < block->n; i++) events |= event_bit(block->event[i]);
    if (events & ~p->block_events[b]) fault_text(r->c, "a block has events that its mask lacks");
    for (uint32_t l = 1; l < p->stream_count; l++)
        if (p->streams[l].block_base && r->seen[l] != p->streams[l].block_base[b + 1]) {
            fault_text(r->c, "rows and event streams differ");
            return;
        }
}

static void check_rows(struct check *c) {
    struct part *p = c->part;
    struct row_block *block = k_alloc(sizeof *block);
    struct row_check r = {
        .c = c, .last_time = INT64_MIN, .min_time = INT64_MAX, .max_time = INT64_MIN};
    struct keel_error err;
    bool good = true;
    r.seen = k_zalloc(p->stream_count * sizeof *r.seen);
    r.postings = k_zalloc(p->stream_count * sizeof *r.postings);
    for (uint32_t l = 1; l < p->stream_count; l++)
        if (p->streams[l].posting.at) r.postings[l] = k_zalloc(sizeof **r.postings);
    for (uint32_t b = 0; b < p->base.blocks; b++) {
        int code = part_rows(&p->base, b, ROWS_ALL, block, &err);
        fault(c, code, &err);
        good &= code == 0;
        for (uint32_t i = 0; i < block->n && good; i++) good &= check_row(&r, block, i);
        if (good) check_block(&r, b, block);
    }
    if (good && (r.min_time != p->base.min_time || r.max_time != p->base.max_time))
        fault_text(c, "its span of time is not that of its rows");
    for (uint32_t l = 1; l < p->stream_count; l++) k_free(r.postings[l]);
    k_free(r.postings);
    k_free(r.seen);
    k_free(block);
}

uint64_t part_check(struct part *p, void (*report)(void *, const char *), void *ctx) {
    struct check c = {.part = p, .report = report, .ctx = ctx};
    struct keel_error err;
    struct vec_buffer *buffer = k_alloc(sizeof *buffer);
    uint32_t *customer = k_alloc_array(CHUNK_ROWS, sizeof *customer);
    int64_t *time = k_alloc_array(CHUNK_ROWS, sizeof *time);
    uint32_t n;
    uint64_t base;
    vec_buffer_init(buffer);
    check_rows(&c);
    for (uint32_t l = 1; l < p->stream_count; l++) {
        const struct part_stream *s = &p->streams[l];
        for (uint32_t k = 0; s->posting.at && k < s->posting.chunks; k++)
            fault(&c, part_posting(&p->base, s->id, k, customer, time, &n, &err), &err);
        for (uint32_t k = 0; s->counts.at && k < s->counts.chunks; k++)
            fault(&c, part_items(&p->base, s->id, k, customer, &base, &err), &err);
    }
    for (uint32_t i = 0; i < p->column_count; i++)
        for (uint32_t k = 0; k < p->columns[i].values.chunks; k++)
            fault(&c, part_column(&p->base, p->columns[i].id, k, buffer, &err), &err);
    if (part_keys_check(p->keys, p->base.rows) < 0) fault_text(&c, "message keys");
    vec_buffer_release(buffer);
    k_free(buffer);
    k_free(customer);
    k_free(time);
    return c.faults;
}
