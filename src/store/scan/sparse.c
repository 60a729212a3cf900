/* Rare events in the order of the rows, with their places: what posting copies alone cannot tell.
 *
 * Where all events that are asked for have posting copies, but order among several of them or a
 * column of the context matters, the rows' customers and times need not be decoded. The events of a
 * block say in which order its wanted rows stand and where; the postings of each event, one after
 * the other, are their customers and times. Rows of many blocks make one batch.
 *
 * Layers: scan_int.h, spine.h. Threads: see scan.h.
 */
#include <stdlib.h>

#include "store/scan/scan_int.h"
#include "store/scan/spine.h"

bool scan_can_be_sparse(const struct scan *s, const struct source *source) {
    uint64_t rows = 0;
    if (!s->events || s->spec.event_count > SPARSE_EVENTS || source_is_head(source)) return false;
    for (uint32_t k = 0; k < s->spec.event_count; k++) {
        uint32_t n = source->ops->stream_rows(source, s->events[k]);
        if (n && !source->ops->has_posting(source, s->events[k])) return false;
        rows += n;
    }
    return rows * SPARSE_ONE_IN <= source->rows;
}

static int bad_rows(struct keel_error *err) {
    return error_set(err, KEEL_E_CORRUPT, "rows and postings of a part differ: run keel doctor");
}

static uint32_t rows_in(const struct scan *s, const struct source *source, uint32_t block) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->spec.event_count; k++)
        n += source->ops->stream_base(source, s->events[k], block + 1) -
             source->ops->stream_base(source, s->events[k], block);
    return n;
}

/* Appends the places and events of a block's wanted rows to the batch. */
static int add_block(struct scan *s, const struct source *source, uint32_t block, uint32_t count,
                     struct keel_error *err) {
    struct row_block *b = s->rowset;
    uint64_t bits[BITS_WORDS] = {0};
    uint16_t at[CHUNK_ROWS];
    uint32_t events[CHUNK_ROWS];
    TRY(source->ops->rows(source, block, ROWS_EVENT, &s->scratch, err));
    for (uint32_t k = 0; k < s->spec.event_count; k++)
        spine_kernels()->equal(s->scratch.event, s->scratch.n, s->events[k], bits);
    if (bits_count(bits) != count) return bad_rows(err);
    spine_kernels()->index(bits, at);
    spine_kernels()->pick_u32(s->scratch.event, s->scratch.n, bits, events);
    for (uint32_t i = 0; i < count; i++) s->sparse->place[b->n + i] = block * CHUNK_ROWS + at[i];
    memcpy(b->event + b->n, events, count * sizeof *events);
    b->n += count;
    return 0;
}

/* Customers and times of the batch's rows of one event: the next of its postings. */
static int add_postings(struct scan *s, const struct source *source, uint32_t k,
                        struct keel_error *err) {
    struct row_block *b = s->rowset, *from = NULL;
    uint64_t bits[BITS_WORDS] = {0};
    uint16_t at[CHUNK_ROWS];
    spine_kernels()->equal(b->event, b->n, s->events[k], bits);
    uint32_t n = bits_to_index(bits, at), ordinal = s->sparse->base[k];
    for (uint32_t i = 0; i < n; i++, ordinal++) {
        uint32_t slot = ordinal % CHUNK_ROWS;
        if (!from || slot == 0) TRY(scan_posting(s, source, k, ordinal / CHUNK_ROWS, &from, err));
        if (slot >= from->n) return bad_rows(err);
        b->customer[at[i]] = from->customer[slot];
        b->time[at[i]] = from->time[slot];
    }
    return 0;
}

int scan_read_sparse(struct scan *s, const struct source *source, struct keel_error *err) {
    struct row_block *b = &s->own_rows;
    s->rowset = b;
    b->n = 0;
    for (uint32_t k = 0; k < s->spec.event_count; k++)
        s->sparse->base[k] = source->ops->stream_base(source, s->events[k], s->block);
    s->sparse->first_block = s->block;
    for (; s->block < s->end_block; s->block++) {
        uint32_t count = rows_in(s, source, s->block);
        if (b->n + count > CHUNK_ROWS) break;
        if (count > 0) TRY(add_block(s, source, s->block, count, err));
    }
    for (uint32_t k = 0; k < s->spec.event_count; k++) TRY(add_postings(s, source, k, err));
    uint32_t bad = 0; /* what follows relies on it */
    for (uint32_t i = 1; i < b->n; i++) bad |= b->customer[i] < b->customer[i - 1];
    return bad ? bad_rows(err) : 0;
}
