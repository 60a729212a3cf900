/* Private state of a scan: scan.c walks (fast path), scan/moved.c finds rows that lie under another
 * number than today's root, scan/sparse.c reads rare events, scan/gather.c collects and sorts (slow
 * path), scan/columns.c reads values for all. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/part/part.h"
#include "store/scan/scan.h"
#include "store/store.h"

/* One row on the slow path. Its number decides between equal times only, and is read when it has
 * to. */
#define NUMBER_UNREAD UINT32_MAX
struct gathered_row {
    uint32_t customer, number;
    int64_t time;
    uint32_t event, ordinal, row; /* event and ordinal: 0 where nobody asks for them */
    uint32_t source;              /* of the group */
    uint32_t value;               /* its place in the columns' kept values */
};

/* A value of a row on the slow path, of whatever kind the source has it. */
struct kept_value {
    union {
        double num;
        uint32_t code;
        const char *text;
    };
    uint32_t n;    /* bytes of the text */
    uint32_t kind; /* KEPT_NOTHING, or KEPT_KIND + an enum vec_kind */
};
enum { KEPT_NOTHING = 0, KEPT_KIND = 1 };

/* A row that is not to be taken where it lies: by its place in the spine, and in its stream. */
struct hole {
    uint32_t event, ordinal;
};

/* The misplaced rows of one part. */
struct part_moves {
    uint32_t count;
    uint32_t *rows;     /* ascending                */
    struct hole *holes; /* by event, then ordinal   */
};

/* Values of one column, of all misplaced rows of a bucket. */
struct moved_column {
    struct moved_column *next;
    uint32_t column;
    struct kept_value *values;
    struct arena texts;
};

/* Of all parts of one bucket, as of the redirects at which they were found or any later ones that
 * moved none of their rows. `source` of a row counts the bucket's parts from 0, which is their
 * place in the group: heads arrived later and stand behind. */
struct bucket_moves {
    _Atomic uint32_t refs;
    uint32_t first, part_count; /* the bucket's parts in the set */
    pthread_mutex_t lock;       /* the finding, the list of columns */
    bool found;                 /* then immutable, but for columns: */
    uint32_t count;
    struct gathered_row *rows; /* by customer, as on the slow path */
    struct part_moves *parts;  /* [part_count] */
    struct moved_column *columns;
    _Atomic uint64_t column_bytes;
};

struct moves {
    uint32_t bucket_count;
    struct bucket_moves **buckets; /* ascending */
};

/* The moves of a snapshot, bucket by bucket as its parts. Borrowed. */
struct moves *snapshot_moves(const struct snapshot *snap);
/* Finds those of a bucket if they are not yet. */
int moves_find(const struct snapshot *snap, struct bucket_moves *b,
               struct keel_error *err) K_CHECKED;
/* The first of their rows, once found, of a customer at or above `customer`; count if none. */
uint32_t moves_first(const struct bucket_moves *b, uint32_t customer);
/* The column's values of all of them, read once for all scans; *out NULL: there is no room to keep
 * more. `stream`: of the event, or STREAM_ROWS. */
int moves_column(const struct snapshot *snap, struct bucket_moves *b, uint32_t column,
                 uint32_t stream, const struct kept_value **out, struct keel_error *err) K_CHECKED;
/* Values of n rows, which lie anywhere in `sources`. Those of other events are absent. */
int moves_read(struct source *const *sources, const struct gathered_row *rows, uint32_t n,
               uint32_t column, uint32_t stream, struct kept_value *out, struct arena *texts,
               struct keel_error *err) K_CHECKED;
/* One value, its text copied. */
struct kept_value vec_keep(const struct vec *v, uint32_t at, struct arena *texts);

/* The sources of one bucket that the scan needs. */
struct group {
    struct source *const *sources;
    uint32_t count, first; /* the first one's place in the snapshot */
    bool *merge; /* [count] the source overlaps a larger one in time: its customers are merged */
    bool wanted; /* any lies in the scan's span of time                 */
    struct bucket_moves *moves; /* of the sources that are parts, which come first; NULL: none is */
};

/* The last decoded chunk of a column in each source, as far as there are slots: always in each of
 * the current group. Sources are counted as the snapshot does. */
enum { CHUNK_CACHE_MOST = 256 }; /* slots of all columns together, but for large groups */
struct cached_chunk {
    struct vec_buffer *buffer; /* NULL: none yet */
    uint32_t source, chunk;    /* UINT32_MAX: nothing */
};
struct chunk_cache {
    struct cached_chunk *slots;
    uint32_t count;
};

/* The block at the end of a range is also the next range's first, in each source: it is kept, and
 * not decoded again if the next range follows. Small sources have many ranges a block. */
enum { KEPT_SOURCES_MOST = 256 }; /* 20 KB each */
struct kept_block {
    struct row_block *rows; /* NULL: none yet */
    uint32_t block;         /* UINT32_MAX: nothing */
    unsigned parts;
};

struct scan_column {
    struct column_info info;
    struct stream_info stream;
    uint32_t event_stream; /* whose rows have it; STREAM_ROWS for context */
    bool text;             /* some source has it without dictionary       */
    struct lexicon *lexicon;
    struct chunk_cache cache, items_cache;
    struct vec_buffer out; /* row-aligned values of the current batch */
    uint64_t out_batch;    /* serial of that batch                    */
    struct vec *item_chunks;
    uint32_t item_capacity; /* chunks */
    uint32_t item_first[CHUNK_ROWS], item_count[CHUNK_ROWS];
    uint64_t items_batch;
    struct batch_items items;
    struct arena texts;      /* of the current batch                    */
    struct kept_value *kept; /* of the rows on the slow path            */
    uint32_t kept_capacity;
    struct arena kept_texts;
};

/* Scans of rare events with order or context: see scan/sparse.c. */
enum { SPARSE_EVENTS = 8, SPARSE_ONE_IN = 6 };

struct sparse {
    uint32_t first_block;         /* of the batch                       */
    uint32_t base[SPARSE_EVENTS]; /* ordinal of each event's first row in the batch */
    uint32_t place[CHUNK_ROWS];   /* of the batch's rows: their row in the source   */
};

/* A chunk of an event's postings. That at the end of a range is also the next range's first: the
 * last one is kept for each source that has them, 24 KB an event, like the blocks. */
struct posting {
    uint32_t chunk;        /* UINT32_MAX: nothing */
    struct row_block rows; /* customer, time, event */
};

enum batch_kind { BATCH_BLOCK, BATCH_POSTING, BATCH_SPARSE, BATCH_GATHERED };
enum scan_phase { PHASE_SOURCE, PHASE_GATHER, PHASE_NEXT_GROUP };

struct scan {
    const struct snapshot *snap;
    struct scan_spec spec;
    uint32_t *events;
    uint8_t *wanted; /* by stream id */
    uint64_t wanted_mask;
    uint32_t wanted_size;
    struct group *groups;
    uint32_t group_count, most_sources;
    struct scan_column *columns;

    uint32_t first, count; /* the range of customers */
    uint32_t group;
    enum scan_phase phase;
    uint32_t source, block, end_block;               /* within the group */
    uint32_t hole;                                   /* next misplaced row of this source */
    bool posting;                                    /* this source is read by postings   */
    bool is_sparse;                                  /* … or as scan/sparse.c does        */
    struct sparse *sparse;                           /* made when first needed            */
    uint32_t posting_event, posting_at, posting_end; /* index into events; ordinals */
    uint32_t posting_chunk;                          /* of the current batch */
    struct posting **postings; /* by source of the snapshot, then event; NULL until needed */
    uint32_t postings_count;
    bool keeps_postings; /* else one for all */
    uint64_t *slow;      /* bit per customer of the range: taken by the slow path */
    uint32_t slow_words;
    bool any_slow;
    bool *few; /* [sources of the snapshot] of a range of few customers: it has rows of theirs */
    struct gathered_row *rows, *merged; /* both of row_capacity */
    uint32_t row_count, row_capacity, row_at;
    bool any_items; /* columns of line items, which are found by ordinals */

    /* the current batch */
    uint64_t serial;
    enum batch_kind kind;
    struct row_block *rowset; /* own_rows, or a kept block */
    struct kept_block *kept;  /* [sources of the snapshot]; NULL: there are too many */
    const struct gathered_row *batch_rows;
    uint64_t live[BITS_WORDS];
    struct scan_cost cost;
    struct row_block own_rows, scratch; /* not zeroed at first: last */
};

/* Points *out at these parts of a block of a source of the group. Valid until the next call. 1:
 * they were read for the range before. */
int scan_read_rows(struct scan *s, uint32_t slot, uint32_t block, unsigned parts,
                   struct row_block **out, struct keel_error *err);

/* False: no customer of the range has a row in this source of the group. */
bool scan_has_range(const struct scan *s, uint32_t slot);

/* Sets bit i where a[i] == v. */
void bits_equal_u32(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits);

/* A chunk of the postings of event number k of the scan, in the current source. */
int scan_posting(struct scan *s, const struct source *source, uint32_t k, uint32_t chunk,
                 struct row_block **out, struct keel_error *err) K_CHECKED;

/* Can the wanted rows of a source be read that way? */
bool scan_can_be_sparse(const struct scan *s, const struct source *source);
/* Reads the wanted rows of as many blocks as make one batch into s->own_rows; all of the blocks. */
int scan_read_sparse(struct scan *s, const struct source *source, struct keel_error *err);

/* The ordinal of the batch's first row of an event that is asked for; not of a gathered batch. */
uint32_t scan_batch_base(const struct scan *s, uint32_t stream);

/* Customers before others: then time, number, source, row. */
int gathered_order(const void *a, const void *b);

/* Marks in s->slow the customers of the range whose rows must be merged, for an ordered scan. */
int scan_mark_slow(struct scan *s, struct keel_error *err);
/* Ordinals of the rows at the set bits: all rows of their events from `block` on are in `b`. */
void scan_ordinals(const struct source *source, const struct row_block *b, uint32_t block,
                   const uint64_t *bits, uint32_t *ordinal);
/* Takes the live rows of slow customers out of the current batch, a block or a sparse one, and
 * keeps them with their values. */
int scan_take_slow(struct scan *s, const struct source *source, struct keel_error *err);
/* Adds the misplaced rows of the range's customers to those kept, and sorts. */
int scan_finish_slow(struct scan *s, struct keel_error *err);
/* The next batch of them; 0 when there is none. */
int scan_gather_next(struct scan *s, struct batch *out);

/* Keeps the values of the current batch's rows at the set bits: they are the last of s->rows. Line
 * items are left where they are. */
int scan_keep_values(struct scan *s, const uint64_t *bits, struct keel_error *err);
/* The same for misplaced rows, rows[from] .. rows[row_count - 1], whose `value` is still their
 * index among those of the bucket. */
int scan_keep_moved(struct scan *s, uint32_t from, struct keel_error *err);
/* Forgets them. */
void scan_drop_values(struct scan *s);

void scan_columns_release(struct scan *s);
void scan_columns_open(struct scan *s);
