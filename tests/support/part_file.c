/* Implementation of part_file.h. */
#include "part_file.h"

#include <zstd.h>

#include "base/hash.h"

enum {
    HEADER = 64,
    TRAILER = 32,
    BLOCK = 1024,
    DIRECTORY_MAX = 64 << 20,
    KINDS_EVENT = 1,
    KINDS_ITEMS = 2,
    KIND_CODES = 1,
    STREAMS_MOST = 4096
};

void part_file_split(struct str file, struct buf *body, struct buf *directory) {
    uint64_t at;
    uint32_t packed, unpacked;
    K_ASSERT_OP(file.n, >=, HEADER + TRAILER);
    memcpy(&at, file.p + file.n - TRAILER, 8);
    memcpy(&packed, file.p + file.n - TRAILER + 8, 4);
    memcpy(&unpacked, file.p + file.n - TRAILER + 12, 4);
    buf_clear(body);
    buf_clear(directory);
    int code = buf_add(body, file.p, at);
    if (code == 0) code = buf_reserve(directory, unpacked ? unpacked : 1);
    K_ASSERT_OP(code, ==, 0);
    directory->n = ZSTD_decompress(directory->p, directory->cap, file.p + at, packed);
    K_ASSERT_OP(directory->n, ==, unpacked);
}

/* ---- the walk ---- */

struct walk {
    struct reader r;
    uint64_t limit;
    void (*each)(void *, uint64_t, uint64_t, bool);
    void *ctx;
};

static void walk_region(struct walk *w) {
    uint64_t at = reader_u64(&w->r), chunks = reader_varint(&w->r);
    for (uint64_t i = 0; i < chunks && !w->r.bad; i++) {
        uint64_t bytes = reader_varint(&w->r);
        if (w->r.bad || at > w->limit || bytes > w->limit - at) {
            w->r.bad = true;
            return;
        }
        if (bytes > 4) w->each(w->ctx, at, bytes, false);
        at += bytes;
    }
}

static uint64_t chunks_of(uint64_t rows) { return (rows + BLOCK - 1) / BLOCK; }

struct stream {
    uint8_t kind, flags;
    uint64_t parent, rows;
};

static void walk_streams(struct walk *w, struct stream *streams, uint64_t count, uint64_t blocks) {
    for (uint64_t l = 0; l < count && !w->r.bad; l++) {
        struct stream *s = &streams[l];
        s->kind = reader_u8(&w->r);
        reader_str(&w->r);
        s->parent = reader_varint(&w->r);
        s->rows = reader_varint(&w->r);
        s->flags = reader_u8(&w->r);
        uint64_t more = s->kind == KINDS_EVENT ? blocks
                        : s->kind == KINDS_ITEMS && s->parent < count
                            ? chunks_of(streams[s->parent].rows)
                            : 0;
        for (uint64_t i = 0; i < more && !w->r.bad; i++) reader_varint(&w->r);
    }
    for (uint64_t b = 0; b < blocks && !w->r.bad; b++) {
        reader_varint(&w->r);
        reader_varint(&w->r);
        reader_u64(&w->r);
    }
}

static void walk_columns(struct walk *w) {
    uint32_t columns = reader_u32(&w->r);
    for (uint32_t i = 0; i < columns && !w->r.bad; i++) {
        reader_varint(&w->r);
        reader_u8(&w->r);
        uint8_t kind = reader_u8(&w->r);
        reader_str(&w->r);
        walk_region(w);
        if (kind != KIND_CODES) continue;
        reader_varint(&w->r);
        walk_region(w);
    }
    uint64_t at = reader_u64(&w->r), bytes = reader_varint(&w->r);
    if (!w->r.bad && at <= w->limit && bytes <= w->limit - at && bytes > 4)
        w->each(w->ctx, at, bytes, true);
}

void part_file_chunks(struct str directory, uint64_t limit,
                      void (*each)(void *, uint64_t, uint64_t, bool), void *ctx) {
    struct walk w = {reader_over(directory.p, directory.n), limit, each, ctx};
    reader_varint(&w.r); /* rows */
    uint64_t blocks = reader_varint(&w.r);
    reader_take(&w.r, 4 + 8 + 8 + 8 + 8 + 4);
    uint64_t count = reader_varint(&w.r);
    if (w.r.bad || count > STREAMS_MOST) return;
    struct stream *streams = k_zalloc((count + 1) * sizeof *streams);
    walk_streams(&w, streams, count, blocks);
    for (int i = 0; i < 4 && !w.r.bad; i++) walk_region(&w);
    for (uint64_t l = 1; l < count && !w.r.bad; l++) {
        if (streams[l].flags & 1) walk_region(&w);
        if (streams[l].kind == KINDS_ITEMS) walk_region(&w);
    }
    k_free(streams);
    if (!w.r.bad) walk_columns(&w);
}

/* ---- joining ---- */

static void fix_chunk(void *ctx, uint64_t at, uint64_t bytes, bool keys) {
    struct buf *body = ctx;
    uint8_t *p = body->p + at;
    uint32_t sum = keys ? (uint32_t)hash64(p, bytes - 4) : (uint32_t)hash64(p + 4, bytes - 4);
    memcpy(keys ? p + bytes - 4 : p, &sum, 4);
}

void part_file_join(struct buf *body, struct str directory, const uint8_t *part_store_id,
                    struct buf *out) {
    uint8_t trailer[TRAILER];
    part_file_chunks(directory, body->n, fix_chunk, body);
    if (body->n >= HEADER) {
        if (part_store_id) memcpy(body->p + 16, part_store_id, 16);
        uint64_t sum = hash64(body->p, 56);
        memcpy(body->p + 56, &sum, 8);
    }
    int code = buf_add(out, body->p, body->n);
    if (code == 0) code = buf_reserve(out, ZSTD_compressBound(directory.n) + TRAILER);
    K_ASSERT_OP(code, ==, 0);
    size_t n = ZSTD_compress(out->p + out->n, out->cap - out->n, directory.p, directory.n, 1);
    K_ASSERT(!ZSTD_isError(n));
    uint64_t at = body->n, sum = hash64(out->p + out->n, n);
    uint32_t packed = (uint32_t)n, unpacked = (uint32_t)directory.n;
    out->n += n;
    memcpy(trailer, &at, 8);
    memcpy(trailer + 8, &packed, 4);
    memcpy(trailer + 12, &unpacked, 4);
    memcpy(trailer + 16, &sum, 8);
    memcpy(trailer + 24, "KEELEND1", 8);
    code = buf_add(out, trailer, sizeof trailer);
    K_ASSERT_OP(code, ==, 0);
}
