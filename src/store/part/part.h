/* Parts: immutable files of one time bucket's events in timeline order (see source.h).
 *
 * Format 1.1, little-endian; v = LEB128 varint, s = v length + bytes. docs/format.md says the same
 * for a stranger who writes a reader.
 *
 *   0   header, 64 bytes
 *         0-7   "KEELPART"
 *         8-9   major 1    a reader refuses a larger one
 *        10-11  minor 1    0 had another table of keys
 *        12-15  0
 *        16-31  store id
 *        32-39  part id
 *        40-55  0
 *        56-63  XXH3-64 of bytes 0-55
 *   64  chunks: u32 checksum (low half of XXH3-64 of the bytes), bytes; grouped in regions, one per
 *       column, so that a column is one stretch of the file
 *       directory: zstd frame, described at write_directory() in part/write.c
 *   end-32 trailer: u64 directory offset | u32 directory bytes | u32 unpacked bytes
 *                   u64 XXH3-64 of the directory | "KEELEND1"
 *
 * A region is a sequence of chunks; the directory holds their lengths. Regions:
 *   runs     per block: which rows begin a customer (bits), gaps between these customers (ints)
 *   times    per block: v unit ms, zigzag v base; per run its first time, then per further row the
 *            gap to the row before (two ints chunks), in units
 *   events   per block: index into the directory's streams (ints)
 *   numbers  per block: the number each row came with; empty where all are the customer's own
 *   posting  per event with under a 16th of the rows: customers, times (chunks of 1,024 rows)
 *   counts   per item stream: line items of each parent row (ints)
 *   column   presence bits, then the present values: numbers, codes (ints), bits or texts
 *   keys     message keys: see part/keys.h
 *
 * Layers: source, codec, lexicon. Threads: a part is immutable once open; lazily built translation
 * tables take a lock.
 * Limits: 2^32-1 rows a part; the whole directory at most 256 MiB.
 */
#pragma once

#include "store/lexicon.h"
#include "store/source.h"

enum { PART_ID_BYTES = 16 };

struct part;

/* Where a part finds what is shared by the process: the schema and the lexicons. */
struct part_env {
    struct schema *schema;
    struct lexicon *(*lexicon_of)(void *ctx, uint32_t column);
    void *ctx;
    uint8_t store_id[PART_ID_BYTES];
};

/* Maps a part, verifies header, trailer and directory. Names that the schema lacks are added. The
 * error names the file. */
int part_open(const char *path, const struct part_env *env, struct part **out,
              struct keel_error *err) K_CHECKED;
/* The redirects that the part's rows will be read under: an error unless they know its customers
 * and its version. Rows that came with a number beyond them are an error from then on. */
int part_bind(struct part *p, const struct redirect_view *redirects,
              struct keel_error *err) K_CHECKED;
void part_close(struct part *p);
struct source *part_source(struct part *p); /* borrowed */
uint64_t part_id(const struct part *p);     /* that it was written under */
uint64_t part_bytes(const struct part *p);
uint64_t part_key_bytes(const struct part *p);
const char *part_path(const struct part *p);

/* Bytes of each region, for reports: callback(name of column or region, stream name, bytes). */
void part_regions(const struct part *p,
                  void (*each)(void *ctx, const char *stream, const char *name, uint64_t bytes),
                  void *ctx);

/* Bytes of chunks that this thread has decoded so far: for the cost of a query. */
uint64_t part_thread_bytes(void);

/* Is a message key in this part? 1, 0, or an error. */
int part_has_key(struct part *p, struct event_key key, struct keel_error *err) K_CHECKED;
/* Hands on all message keys, without hi or with 16 bits of it. */
int part_each_key(struct part *p, void (*each)(void *ctx, struct event_key key), void *ctx,
                  struct keel_error *err) K_CHECKED;

/* Verifies every chunk and invariant; calls `report` for each fault; returns the number of faults.
 */
uint64_t part_check(struct part *p, void (*report)(void *ctx, const char *fault), void *ctx);
/* After part_check: the highest number that a row came with. */
uint32_t part_highest_number(const struct part *p);

/* What was written. */
struct part_written {
    uint64_t bytes;
    uint32_t rows, first_customer, last_customer;
    int64_t min_time, max_time;
};

struct part_merge;

/* Which rows to take, by time; half-open. */
struct part_span {
    int64_t from_ms, to_ms;
};

struct part_limits {
    uint32_t part_rows;  /* of one file; a customer is not split */
    uint32_t merge_rows; /* in memory at once: more are merged in ranges of customers */
};

/* Merges the rows of a span of sources of one bucket (any order, any overlap) into parts, placed
 * under today's roots. Use: open, then part_merge_next until it returns 0, each writes one file,
 * then close. */
int part_merge_open(struct source *const *sources, uint32_t count, struct part_span span,
                    const struct redirect_view *redirects, const struct part_env *env,
                    struct part_limits limits, struct part_merge **out,
                    struct keel_error *err) K_CHECKED;
/* 1: wrote a part to `path` (durable, but for its folder entry); 0: nothing left. */
int part_merge_next(struct part_merge *m, const char *path, uint64_t part_id,
                    struct part_written *out, struct keel_error *err) K_CHECKED;
void part_merge_close(struct part_merge *m);
