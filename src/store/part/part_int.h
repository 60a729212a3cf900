/* What the files of part/ share: constants of the format; an open part, for part/read.c (files,
 * rows) and part/columns.c (values). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/os.h"
#include "store/part/part.h"

enum {
    PART_MAJOR = 1,
    PART_MINOR = 1,
    PART_HEADER_BYTES = 64,
    PART_TRAILER_BYTES = 32,
    PART_DIRECTORY_MAX = 256 << 20,
    PART_CHUNK_MAX = 256 << 20,
    STREAM_HAS_POSTING = 1,
    /* An event with fewer than rows / 16 rows gets a posting copy. More frequent ones are in most
     * blocks anyway; copies of those between an eighth and a sixteenth took a fifth of all that is
     * kept of a row's customer, time and event. */
    POSTING_ONE_IN = 16,
};

#define PART_MAGIC "KEELPART"
#define PART_END_MAGIC "KEELEND1"

/* Local stream numbers stand for events in the block masks: bit (local % 64). */

struct region {
    uint32_t chunks;
    uint64_t *at; /* [chunks + 1] file offsets */
};

struct part_stream {
    uint32_t id; /* in the schema */
    enum stream_kind kind;
    uint32_t parent; /* local */
    uint32_t rows;
    uint32_t *block_base; /* events: [blocks + 1]           */
    uint64_t *chunk_base; /* items: [parent chunks + 1]     */
    struct region posting, counts;
};

struct part_column {
    uint32_t id, stream; /* in the schema; local */
    enum column_type type;
    enum vec_kind kind;
    struct region values, dictionary;
    uint32_t entries;
    uint32_t *_Atomic codes; /* part code -> lexicon code, built at first use */
};

struct part {
    struct source base;
    char *path;
    struct file_map map;
    struct part_env env;
    uint64_t id, last_arrival;
    struct region runs, times, events, numbers;
    uint32_t number_limit; /* rows came with numbers below this; part_bind */
    uint32_t highest_number;
    uint32_t *event_ids; /* local -> schema id, NOT_AN_EVENT for what no row can be */
    uint32_t stream_count, column_count;
    struct part_stream *streams;
    struct part_column *columns;
    uint32_t *column_of; /* schema id -> index + 1 */
    uint32_t column_of_size;
    uint32_t *stream_of; /* schema id -> local + 1 */
    uint32_t stream_of_size;
    uint32_t *block_first, *block_last;
    uint64_t *block_events;
    struct str keys;
    _Atomic bool keys_checked;
    pthread_mutex_t lock; /* building translation tables */
};

static inline const struct part *part_of(const struct source *s) { return (const struct part *)s; }

/* Fails with what is damaged, or that the file cannot be read. */
int part_corrupt(const struct part *p, const char *what, struct keel_error *err);
/* The bytes of a chunk whose checksum is right; empty if it has none. */
int part_chunk(const struct part *p, const struct region *region, uint32_t chunk, const char *what,
               struct str *out, struct keel_error *err);
/* Asks the memory for a chunk that will be read. */
void part_expect_chunk(const struct part *p, const struct region *region, uint32_t chunk);
struct part_column *part_column_at(const struct source *s, uint32_t column); /* NULL: none */
uint32_t part_stream_rows(const struct source *s, uint32_t id);

static inline struct str part_take_sized(struct reader *r) {
    uint16_t n = reader_u16(r);
    const uint8_t *bytes = reader_take(r, n);
    return (struct str){(const char *)bytes, bytes ? n : 0};
}
static inline struct str part_take_rest(struct reader *r) {
    return (struct str){(const char *)r->p, reader_left(r)};
}

/* source_ops.column and .pick, but for whether the file can still be read. */
int part_column(const struct source *s, uint32_t column, uint32_t chunk, struct vec_buffer *out,
                struct keel_error *err);
int part_pick(const struct source *s, uint32_t column, uint32_t chunk, const uint16_t *slots,
              uint32_t n, struct vec_buffer *out, struct keel_error *err);
void part_expect(const struct source *s, uint32_t column, uint32_t chunk);
