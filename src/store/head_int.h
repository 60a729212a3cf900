/* Private types of the head, shared by head.c (appending) and head_view.c (reading). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/head.h"

struct head_chunk {
    uint8_t present[CHUNK_ROWS]; /* bytes, so that neighbours can be written while one is read */
    union {
        double *num;
        uint32_t *code;
        struct str *text;
    };
};

/* The codes of strings that came lately: most columns repeat a few values, and asking the lexicon
 * costs a hash of the whole string, a lock and two cache misses. */
enum { MEMO_SLOTS = 64 };
struct memo {
    uint64_t tag; /* of length and three samples of the string; 0: empty */
    uint32_t code;
};

struct head_column {
    enum vec_kind kind;
    struct lexicon *lexicon;
    struct memo *memo; /* [MEMO_SLOTS] of a dictionary column */
    uint32_t chunk_count;
    struct head_chunk **chunks;
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
    _Atomic uint32_t published;
    uint64_t first_arrival;
    uint32_t *number, *event, *ordinal; /* [capacity] */
    int64_t *time;
    pthread_mutex_t tables; /* guards the two tables below against growth */
    struct head_stream **streams;
    struct head_column **columns;
    uint32_t stream_capacity, column_capacity;
    bool items_full;
    struct arena text;
    struct event_key *keys; /* [capacity], arrival order                  */
    uint32_t *key_slots;    /* open addressing, index + 1                 */
    uint64_t key_mask;
    uint32_t key_count;
};
