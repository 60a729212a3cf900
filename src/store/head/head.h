/* The head: recent events in memory, readable right after commit.
 *
 * Rows are appended in arrival order to flat arrays; a column's values lie in chunks of 1,024 slots
 * of its stream, allocated when the first value arrives. A *view* presents the rows published so
 * far in timeline order, as one source per time bucket and sorted run, so that a scan and the part
 * writer see a head as they see parts. Views share their runs: the next one sorts what arrived
 * since, and merges runs so that there are few (head/view.c).
 *
 * Layers: schema, lexicon, redirect, source. Threads: one writer appends; head_publish makes the
 * rows up to there visible; readers use views. Slots above the published count are never read.
 * Limits: rows and bytes, fixed at birth; head_has_room tells when to flush. Bytes are those of
 * values and of strings without dictionary, counted as they are allocated; one batch may go beyond
 * them. Views: 20 bytes a row and 4 an item, once for all that are shared; runs that were merged
 * since live on in the views that have them.
 */
#pragma once

#include "store/lexicon.h"
#include "store/source.h"

enum {
    HEAD_ITEMS_PER_ROW = 8, /* room for line items: this many a row on average, a stream */
    HEAD_ITEMS_LEAST = 8 * EVENT_MAX_ITEMS,
};

struct head;
struct head_column;

/* lexicon_of(ctx, column) gives the lexicon of a dictionary column. */
struct head *head_new(struct schema *schema,
                      struct lexicon *(*lexicon_of)(void *ctx, uint32_t column), void *ctx,
                      uint32_t capacity_rows, uint64_t capacity_bytes, uint64_t first_arrival);
void head_free(struct head *h);

bool head_has_room(const struct head *h, uint32_t rows);
uint32_t head_rows(const struct head *h); /* published */
uint64_t head_first_arrival(const struct head *h);

/* Appends a row; the values that follow go to it, until the next head_row. Returns the ordinal in
 * its event's stream. */
uint32_t head_row(struct head *h, uint32_t number, int64_t time_ms, uint32_t event_stream);
uint32_t
head_row_index(const struct head *h); /* of the row just appended: slot of its context columns */
/* Where the values of a column go; made if absent, lives as long as the head. */
struct head_column *head_column(struct head *h, const struct column_info *info);
/* Sets a value of slot `ordinal` of the column's stream (rows: the row index; items: the item). A
 * second value for a slot is ignored: the first wins. The column has the type. */
void head_number(struct head *h, struct head_column *column, uint32_t slot, double v);
void head_bool(struct head *h, struct head_column *column, uint32_t slot, bool v);
/* A string must stay where it is until head_settle, before head_publish. */
void head_string(struct head *h, struct head_column *column, uint32_t slot, struct str v);
void head_settle(struct head *h);
/* What a slot of a column holds, to be set elsewhere without being looked up again; valid as long
 * as the head. Nothing may wait for head_settle. False: the slot is empty. */
struct head_value {
    struct head_column *column;
    union {
        double num;
        uint32_t code;
        struct str text;
    };
};
bool head_get(struct head_column *column, uint32_t slot, struct head_value *out);
void head_set(struct head *h, const struct head_value *values, uint32_t count, uint32_t slot);
/* Room for `count` line items of a parent row; returns the slot of the first, UINT32_MAX when the
 * head has no room for them or the parent has such a list already. */
uint32_t head_items(struct head *h, uint32_t item_stream, uint32_t parent_ordinal, uint32_t count);
void head_publish(struct head *h);

/* Message keys. A key that was added must be followed by its row, so that keys and rows share an
 * index; the same key may be added again for a row of another time. */
void head_add_key(struct head *h, struct event_key key);
void head_prefetch_key(const struct head *h, struct event_key key); /* it will be asked for soon */
/* Is there a row with this key and from_ms <= time < to_ms? */
bool head_has_key(const struct head *h, struct event_key key, int64_t from_ms, int64_t to_ms);
/* The keys of the rows with from_ms <= time < to_ms. The appending thread, or nobody appends. */
void head_each_key(const struct head *h, int64_t from_ms, int64_t to_ms,
                   void (*each)(void *ctx, struct event_key key), void *ctx);

struct head_view;
/* The rows [first, rows), which are published, placed under their roots as of `redirects`. `whole`:
 * one source a bucket, at the cost of merging all of its runs. Never fails; zero rows give zero
 * sources. The head must outlive the view. Any thread; waits while another makes one. */
struct head_view *head_view_new(struct head *h, uint32_t first, uint32_t rows,
                                const struct redirect_view *redirects, bool whole);
void head_view_free(struct head_view *v);
bool head_view_whole(const struct head_view *v); /* has it one source a bucket? */
uint32_t head_view_sources(const struct head_view *v, struct source ***out); /* borrowed */
