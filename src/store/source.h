/* A source: the events of one time bucket from one place, in timeline order.
 *
 * Rows stand in (customer, time, number, arrival) order, in blocks of 1,024; `customer` is the root
 * under which the row was placed, `number` the one it came with. An event's rows form its stream in
 * the same order; a stream's columns are read in chunks of 1,024 values. Two places implement it:
 * parts on disk (part.h) and the head in memory (head.h). Scans, the part writer and the doctor
 * read only this.
 *
 * Layers: base, schema. Threads: a source is immutable; buffers belong to the caller.
 */
#pragma once

#include "store/codec/vec.h"
#include "store/redirect.h"
#include "store/schema.h"

struct source;

/* Which arrays of a block to fill. */
enum row_parts { ROWS_CUSTOMER = 1, ROWS_TIME = 2, ROWS_EVENT = 4, ROWS_NUMBER = 8, ROWS_ALL = 15 };

/* So many customers are few: they are in few of a range's blocks, in few rows of these. */
enum { NARROW_RANGE = 64 };

struct row_block {
    uint32_t n;
    uint64_t starts[BITS_WORDS]; /* with ROWS_CUSTOMER: set where the customer differs from the row
                                    before (always set at row 0 of the block) */
    uint32_t customer[CHUNK_ROWS];
    int64_t time[CHUNK_ROWS];
    uint32_t event[CHUNK_ROWS]; /* stream ids */
    uint32_t number[CHUNK_ROWS];
};

/* Room for the values of one decoded chunk. */
struct vec_buffer {
    struct vec vec;
    double num[CHUNK_ROWS];
    uint32_t code[CHUNK_ROWS];
    struct str text[CHUNK_ROWS];
    struct buf bytes;
};
void vec_buffer_init(struct vec_buffer *v);
void vec_buffer_release(struct vec_buffer *v);

struct source_ops {
    int (*rows)(const struct source *s, uint32_t block, unsigned parts, struct row_block *out,
                struct keel_error *err);
    /* How many rows of an event stand before this block (block may be == blocks: the total). */
    uint32_t (*stream_base)(const struct source *s, uint32_t stream, uint32_t block);
    uint32_t (*stream_rows)(const struct source *s, uint32_t stream);
    /* Has it a row of one of the customers first … first + count - 1? May say so wrongly if count
     * is above NARROW_RANGE, or of what cannot be read. */
    bool (*has_customers)(const struct source *s, uint32_t first, uint32_t count);
    /* Fills time and number (as `parts` says) of the rows from … to - 1 of a block alone: `rows` of
     * customers, then this, is what a reader of few customers asks for. */
    int (*moments)(const struct source *s, uint32_t block, unsigned parts, uint32_t from,
                   uint32_t to, struct row_block *out, struct keel_error *err);
    /* A hint that these parts of the block, or values of this chunk, will be read soon: who reads a
     * little of many would wait for memory at each. NULL: it would not help. */
    void (*expect_rows)(const struct source *s, uint32_t block, unsigned parts);
    void (*expect)(const struct source *s, uint32_t column, uint32_t chunk);
    /* Is there a value of this column? */
    bool (*has_column)(const struct source *s, uint32_t column);
    /* Chunk `chunk` of a column, in its stream's order. Absent column: all absent. */
    int (*column)(const struct source *s, uint32_t column, uint32_t chunk, struct vec_buffer *out,
                  struct keel_error *err);
    /* The same for n slots of the chunk only, in any order: the others are absent or unspecified.
     */
    int (*pick)(const struct source *s, uint32_t column, uint32_t chunk, const uint16_t *slots,
                uint32_t n, struct vec_buffer *out, struct keel_error *err);
    /* Line items: counts of the 1,024 parents of a chunk, and how many items stand before them. */
    int (*items)(const struct source *s, uint32_t item_stream, uint32_t chunk, uint32_t *counts,
                 uint64_t *base, struct keel_error *err);
    /* Posting copy of a rare event: customer and time of its rows, chunk by chunk. */
    bool (*has_posting)(const struct source *s, uint32_t stream);
    int (*posting)(const struct source *s, uint32_t stream, uint32_t chunk, uint32_t *customer,
                   int64_t *time, uint32_t *n, struct keel_error *err);
    /* The message keys of all rows, in any order: out has room for `rows`. */
    int (*keys)(const struct source *s, struct event_key *out, struct keel_error *err);
};

struct source {
    const struct source_ops *ops;
    uint32_t rows, blocks;
    int32_t bucket;               /* months since 1970-01, UTC                        */
    int64_t min_time, max_time;   /* inclusive; rows > 0                              */
    uint64_t first_arrival;       /* of the oldest row: order of sources that tie     */
    uint64_t last_arrival;        /* exclusive                                        */
    uint32_t identity_version;    /* redirects at which the rows were placed          */
    const uint32_t *block_first;  /* [blocks] customer of a block's first row         */
    const uint32_t *block_last;   /* [blocks] customer of its last row                */
    const uint64_t *block_events; /* [blocks] bit (stream id % 64) of the events in it */
};

/* A view of a head; else a part. */
bool source_is_head(const struct source *s);

static inline uint64_t event_bit(uint32_t stream) { return (uint64_t)1 << (stream & 63); }

/* The first place of an ascending list of customers that holds one >= `customer`; n if none. */
uint32_t first_customer(const uint32_t *list, uint32_t n, uint64_t customer);

/* First block that may hold a row of a customer >= c; blocks if none. */
static inline uint32_t source_find_block(const struct source *s, uint32_t customer) {
    return first_customer(s->block_last, s->blocks, customer);
}

/* Bucket of a moment: months since 1970-01 in UTC. */
int32_t bucket_of(int64_t time_ms);
int64_t bucket_start(int32_t bucket); /* its first moment */
