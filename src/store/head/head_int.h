/* Private types of the head, shared by head.c (appending), head/view.c (reading) and
 * head/runs.c (sorting). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/head/head.h"

struct head_chunk {
    uint8_t present[CHUNK_ROWS]; /* bytes, so that neighbours can be written while one is read */
    union {
        double *num;
        uint32_t *code;
        struct str *text;
    };
};

/* The codes of strings that came lately: most columns repeat their values, and asking the lexicon
 * costs a hash of the whole string, a lock and three cache misses. Up to 24 bytes the words say all
 * of the string, so that a hit touches nothing else; a longer one is compared in the lexicon too.
 * A string has two slots, so that two frequent ones do not push each other out for ever. The table
 * grows where known strings were pushed out, to twice what the lexicon has: ids of 20,000 products
 * take 2 MB. */
enum { MEMO_FIRST = 64, MEMO_MOST = 1 << 16, MEMO_EXACT_BYTES = 24 };
struct memo {
    uint64_t word[3];
    uint32_t n, code_plus_1; /* 0: empty */
};

/* What appending reads lies in one cache line. */
struct head_column {
    _Alignas(64) enum vec_kind kind;
    uint32_t tail_number;    /* chunk that the last value went to, */
    struct head_chunk *tail; /* or NULL: the next one mostly goes there, too */
    struct memo *memo;       /* [memo_mask + 1] of a dictionary column */
    uint32_t memo_mask, memo_lost;
    struct lexicon *lexicon;
    struct head_chunk **chunks;
    uint32_t chunk_count;
    uint32_t id;
    bool full; /* the schema knows that there are too many strings for a dictionary */
};

/* A string waits here until the slots of the memo that it asked for are in the cache; then, if the
 * memo does not know it, until the lexicon's is. Without that, waiting for memory was two thirds of
 * what a string took. */
enum { QUEUE_SLOTS = 32, MEMO_AHEAD = 12 };
struct queued {
    struct head_column *column; /* NULL: it has its code */
    struct str text;            /* the caller's */
    uint64_t word[3], hash, lexicon_hash;
    struct head_chunk *chunk;
    uint32_t at;
};

struct head_list {
    uint32_t first, count;
};

struct head_stream {
    uint32_t count;           /* rows of the event, or items                   */
    struct head_list **lists; /* item streams: per parent ordinal, in chunks   */
    uint32_t list_chunks;
};

struct head {
    struct schema *schema;
    struct lexicon *(*lexicon_of)(void *ctx, uint32_t column);
    void *ctx;
    uint32_t capacity, rows;
    uint64_t capacity_bytes;
    _Atomic uint32_t published;
    uint64_t first_arrival;
    uint32_t *number, *event, *ordinal; /* [capacity] */
    int64_t *time;
    pthread_mutex_t tables; /* guards the two tables below against growth */
    struct head_stream **streams;
    struct head_column **columns;
    uint32_t stream_capacity, column_capacity;
    pthread_mutex_t views;    /* guards the newest view, and its making */
    struct head_view *newest; /* whose runs the next one shares; NULL: none yet */
    bool items_full;
    struct queued queue[QUEUE_SLOTS];
    /* Counters, modulo QUEUE_SLOTS: the first in the queue, the first that has not been looked for
     * in the memo, and the end. */
    uint32_t queue_first, queue_unasked, queue_end;
    struct arena text, chunks;
    struct event_key *keys; /* [capacity], arrival order                  */
    uint32_t *key_slots;    /* open addressing, index + 1 and hash bits   */
    uint32_t key_index;     /* mask of index + 1                          */
    uint64_t key_mask;
    uint32_t key_count;
};
