/* Implementation of scan.h: which sources, which blocks, which rows. */
#include "store/scan/scan.h"

#include <stddef.h>
#include <stdlib.h>

#include "store/scan/scan_int.h"
#include "store/scan/spine.h"

void bits_equal_u32(const uint32_t *a, uint32_t n, uint32_t v, uint64_t *bits) {
    spine_kernels()->equal(a, n, v, bits);
}

/* ---- open ---- */

/* Sources of a bucket are read one after the other. If that is not their order in time, the
 * customers of the smaller one are merged: a few late rows do not slow down everybody. */
static void note_overlap(struct group *g, uint32_t first, uint32_t second) {
    const struct source *a = g->sources[first], *b = g->sources[second];
    bool apart = a->block_last[a->blocks - 1] < b->block_first[0] ||
                 b->block_last[b->blocks - 1] < a->block_first[0] || a->max_time < b->min_time;
    if (!apart) g->merge[a->rows < b->rows ? first : second] = true;
}

static void group_sources(struct scan *s) {
    const struct snapshot *snap = s->snap;
    s->groups = k_zalloc((snap->source_count + 1) * sizeof *s->groups);
    for (uint32_t i = 0; i < snap->source_count;) {
        struct group *g = &s->groups[s->group_count++];
        uint32_t end = i;
        while (end < snap->source_count && snap->sources[end]->bucket == snap->sources[i]->bucket)
            end++;
        g->sources = snap->sources + i;
        g->first = i;
        g->count = end - i;
        g->merge = k_zalloc(g->count * sizeof *g->merge);
        if (g->count > s->most_sources) s->most_sources = g->count;
        for (uint32_t k = 0; k < g->count; k++) {
            const struct source *a = g->sources[k];
            g->wanted |= a->min_time < s->spec.to_ms && a->max_time >= s->spec.from_ms;
            for (uint32_t l = 0; l < k; l++) note_overlap(g, l, k);
        }
        i = end;
    }
}

static void open_column(struct scan *s, struct scan_column *c, uint32_t id) {
    struct schema *schema = store_schema(s->snap->store);
    c->info = schema_column(schema, id);
    c->stream = schema_stream(schema, c->info.stream);
    c->event_stream = c->stream.kind == STREAM_KIND_ITEMS ? c->stream.parent : c->info.stream;
    c->text = c->info.type == COLUMN_JSON || c->info.text;
    if (c->info.type == COLUMN_STRING) c->lexicon = store_lexicon(s->snap->store, id);
    vec_buffer_init(&c->out);
    arena_init(&c->texts, SIZE_MAX / 2);
    arena_init(&c->kept_texts, SIZE_MAX / 2);
    s->any_items |= c->stream.kind == STREAM_KIND_ITEMS;
    c->out_batch = c->items_batch = UINT64_MAX;
}

/* Parts of a group stand in the order of the set, and before its heads. */
static void share_moves(struct scan *s) {
    struct moves *moves = snapshot_moves(s->snap);
    uint32_t bucket = 0;
    for (uint32_t i = 0; i < s->group_count; i++)
        if (!source_is_head(s->groups[i].sources[0])) s->groups[i].moves = moves->buckets[bucket++];
    K_ASSERT_OP(bucket, ==, moves->bucket_count);
}

int scan_open(const struct snapshot *snap, const struct scan_spec *spec, struct scan **out,
              struct keel_error *err) {
    if (spec->column_count > SCAN_MAX_COLUMNS || spec->event_count > SCAN_MAX_EVENTS)
        FAIL(err, LIMIT, "a query may use at most %d properties and %d events", SCAN_MAX_COLUMNS,
             SCAN_MAX_EVENTS);
    struct scan *s = k_alloc(sizeof *s);
    memset(s, 0, offsetof(struct scan, own_rows));
    s->snap = snap;
    s->spec = *spec;
    s->wanted_size = schema_streams(store_schema(snap->store));
    s->wanted = k_zalloc(s->wanted_size + 1);
    if (spec->events) {
        s->events = k_alloc_array(spec->event_count + 1, sizeof *s->events);
        for (uint32_t i = 0; i < spec->event_count; i++) {
            s->events[i] = spec->events[i];
            s->wanted[spec->events[i]] = 1;
            s->wanted_mask |= event_bit(spec->events[i]);
        }
    } else {
        memset(s->wanted, 1, s->wanted_size);
        s->wanted_mask = UINT64_MAX;
    }
    group_sources(s);
    if (spec->column_count) /* 37 KB each */
        s->columns = k_zalloc(spec->column_count * sizeof *s->columns);
    for (uint32_t i = 0; i < spec->column_count; i++)
        open_column(s, &s->columns[i], spec->columns[i]);
    scan_columns_open(s);
    s->rowset = &s->own_rows;
    if (snap->source_count <= KEPT_SOURCES_MOST)
        s->kept = k_zalloc((snap->source_count + 1) * sizeof *s->kept);
    s->few = k_zalloc((snap->source_count + 1) * sizeof *s->few);
    s->keeps_postings = s->kept && spec->event_count <= SPARSE_EVENTS;
    s->postings_count = s->keeps_postings ? snap->source_count : 1;
    s->postings = k_zalloc((s->postings_count + 1) * sizeof(struct posting *));
    share_moves(s);
    s->group = s->group_count;
    *out = s;
    return 0;
}

void scan_close(struct scan *s) {
    if (!s) return;
    scan_columns_release(s);
    for (uint32_t i = 0; i < s->group_count; i++) k_free(s->groups[i].merge);
    k_free(s->groups);
    for (uint32_t i = 0; s->kept && i < s->snap->source_count; i++) k_free(s->kept[i].rows);
    for (uint32_t i = 0; i < s->postings_count; i++) k_free(s->postings[i]);
    k_free(s->postings);
    k_free(s->kept);
    k_free(s->events);
    k_free(s->wanted);
    k_free(s->slow);
    k_free(s->few);
    k_free(s->rows);
    k_free(s->merged);
    k_free(s->sparse);
    k_free(s);
}

struct scan_cost scan_cost(const struct scan *s) {
    return s->cost;
}

/* ---- walking ---- */

/* Which sources have rows of a few customers. Their memory is asked for as a whole, first what
 * tells who is there, then of those that have some what else is needed to find the rows. */
static void find_few(struct scan *s) {
    for (uint32_t pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < s->group_count; i++)
            for (uint32_t k = 0; s->groups[i].wanted && k < s->groups[i].count; k++) {
                const struct source *source = s->groups[i].sources[k];
                bool *has = &s->few[s->groups[i].first + k];
                if (pass == 1) *has = source->ops->has_customers(source, s->first, s->count);
                if (source->ops->expect_rows && (pass == 0 || *has))
                    source->ops->expect_rows(source, source_find_block(source, s->first),
                                             pass == 0 ? ROWS_CUSTOMER : ROWS_TIME | ROWS_EVENT);
            }
}

int scan_range(struct scan *s, uint32_t first, uint32_t count, struct keel_error *err) {
    if (count == 0 || (uint64_t)first + count > UINT32_MAX)
        FAIL(err, INTERNAL, "a scan of customers %u + %u", first, count);
    s->first = first;
    s->count = count;
    uint32_t words = (count + 63) / 64;
    if (words > s->slow_words) {
        k_free(s->slow);
        s->slow = k_alloc_array(words, sizeof *s->slow);
        s->slow_words = words;
    }
    if (count <= NARROW_RANGE) find_few(s);
    s->group = UINT32_MAX; /* the next group is 0 */
    s->phase = PHASE_NEXT_GROUP;
    return 0;
}

bool scan_has_range(const struct scan *s, uint32_t slot) {
    const struct group *g = &s->groups[s->group];
    if (s->count <= NARROW_RANGE) return s->few[g->first + slot];
    return g->sources[slot]->ops->has_customers(g->sources[slot], s->first, s->count);
}

static bool in_time(const struct scan *s, const struct source *source) {
    return source->min_time < s->spec.to_ms && source->max_time >= s->spec.from_ms;
}

/* Only properties of events asked for, whose rows have posting copies here. */
static bool can_post(const struct scan *s, const struct source *source) {
    if (!s->events || s->spec.places) return false;
    if ((s->spec.ordered && (s->spec.event_count != 1 || s->any_slow))) return false;
    for (uint32_t i = 0; i < s->spec.column_count; i++)
        if (s->columns[i].event_stream == STREAM_ROWS) return false;
    for (uint32_t i = 0; i < s->spec.event_count; i++)
        if (source->ops->stream_rows(source, s->events[i]) &&
            !source->ops->has_posting(source, s->events[i]))
            return false;
    return true;
}

static void begin_posting_event(struct scan *s, const struct source *source) {
    s->posting_at = s->posting_end = 0;
    for (; s->posting_event < s->spec.event_count; s->posting_event++) {
        uint32_t event = s->events[s->posting_event];
        if (!source->ops->stream_rows(source, event)) continue;
        s->posting_at = source->ops->stream_base(source, event, s->block);
        s->posting_end = source->ops->stream_base(source, event, s->end_block);
        if (s->posting_at < s->posting_end) return;
    }
}

static void begin_source(struct scan *s) {
    const struct group *g = &s->groups[s->group];
    for (; s->source < g->count; s->source++) {
        const struct source *source = g->sources[s->source];
        if (!in_time(s, source) || !scan_has_range(s, s->source)) continue;
        s->block = source_find_block(source, s->first);
        s->end_block = s->block;
        while (s->end_block < source->blocks &&
               source->block_first[s->end_block] - s->first < s->count &&
               source->block_first[s->end_block] >= s->first)
            s->end_block++;
        /* The first block may begin below the range. */
        if (s->end_block == s->block && s->block < source->blocks &&
            source->block_first[s->block] < s->first) {
            s->end_block++;
            while (s->end_block < source->blocks &&
                   source->block_first[s->end_block] - s->first < s->count)
                s->end_block++;
        }
        if (s->block == s->end_block) continue;
        s->posting = can_post(s, source);
        s->is_sparse = !s->posting && scan_can_be_sparse(s, source);
        s->posting_event = s->hole = 0;
        if (s->is_sparse && !s->sparse) s->sparse = k_alloc(sizeof *s->sparse);
        if (s->posting) begin_posting_event(s, source);
        return;
    }
}

static int begin_group(struct scan *s, struct keel_error *err) {
    do s->group = s->group == UINT32_MAX ? 0 : s->group + 1;
    while (s->group < s->group_count && !s->groups[s->group].wanted);
    if (s->group == s->group_count) return 0;
    if (s->groups[s->group].moves) TRY(moves_find(s->snap, s->groups[s->group].moves, err));
    TRY(scan_mark_slow(s, err));
    s->source = 0;
    s->phase = PHASE_SOURCE;
    begin_source(s);
    return 1;
}

static uint32_t first_row(const struct row_block *b, uint64_t customer) {
    return first_customer(b->customer, b->n, customer);
}

/* Rows of the range and of the time asked for. Customers ascend. */
static void restrict_rows(struct scan *s, const struct source *source) {
    const struct row_block *b = s->rowset;
    uint64_t last = (uint64_t)s->first + s->count;
    if (b->customer[0] < s->first || b->customer[b->n - 1] >= last) {
        uint64_t below[BITS_WORDS], in[BITS_WORDS];
        bits_first(below, first_row(b, s->first));
        bits_first(in, first_row(b, last));
        for (uint32_t w = 0; w < BITS_WORDS; w++) s->live[w] &= in[w] & ~below[w];
    }
    if (source->min_time < s->spec.from_ms || source->max_time >= s->spec.to_ms)
        spine_kernels()->keep_span(b->time, b->n, s->spec.from_ms, s->spec.to_ms, s->live);
}

/* The misplaced rows of this source, if it is a part. */
static const struct part_moves *moves_here(const struct scan *s) {
    static const struct part_moves NONE;
    const struct bucket_moves *m = s->groups[s->group].moves;
    return m && s->source < m->part_count ? &m->parts[s->source] : &NONE;
}

/* Takes misplaced rows out of a block; blocks come in ascending order. */
static void skip_misplaced(struct scan *s, uint32_t block) {
    const struct part_moves *m = moves_here(s);
    uint32_t from = block * CHUNK_ROWS;
    while (s->hole < m->count && m->rows[s->hole] < from) s->hole++;
    for (; s->hole < m->count && m->rows[s->hole] < from + s->rowset->n; s->hole++)
        bit_clear(s->live, m->rows[s->hole] - from);
}

/* The same for a sparse batch: both ascend. */
static void skip_places(struct scan *s) {
    const struct part_moves *m = moves_here(s);
    const uint32_t *place = s->sparse->place;
    uint32_t n = s->rowset->n, i = 0;
    while (s->hole < m->count && m->rows[s->hole] < place[0]) s->hole++;
    for (; s->hole < m->count && m->rows[s->hole] <= place[n - 1]; s->hole++) {
        while (place[i] < m->rows[s->hole]) i++;
        if (place[i] == m->rows[s->hole]) bit_clear(s->live, i);
    }
}

/* The same for a chunk of postings. */
static void skip_holes(struct scan *s, uint32_t event, uint32_t chunk) {
    const struct part_moves *m = moves_here(s);
    uint32_t from = chunk * CHUNK_ROWS, lo = 0, hi = m->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct hole *h = &m->holes[mid];
        if (h->event < event || (h->event == event && h->ordinal < from))
            lo = mid + 1;
        else
            hi = mid;
    }
    for (;
         lo < m->count && m->holes[lo].event == event && m->holes[lo].ordinal < from + s->rowset->n;
         lo++)
        bit_clear(s->live, m->holes[lo].ordinal - from);
}

enum { FEW_EVENTS = 8 };

static void mark_events(struct scan *s) {
    const struct row_block *b = s->rowset;
    if (!s->events) {
        bits_first(s->live, b->n);
        return;
    }
    memset(s->live, 0, sizeof s->live);
    if (s->spec.event_count <= FEW_EVENTS) {
        for (uint32_t k = 0; k < s->spec.event_count; k++)
            bits_equal_u32(b->event, b->n, s->events[k], s->live);
        return;
    }
    for (uint32_t i = 0; i < b->n; i++)
        s->live[i >> 6] |= (uint64_t)(b->event[i] < s->wanted_size && s->wanted[b->event[i]])
                           << (i & 63);
}

static void begin_batch(struct scan *s, enum batch_kind kind) {
    s->kind = kind;
    s->serial++;
}

/* `kept`: its rows were counted when the range before had them. */
static void hand_out(struct scan *s, bool kept, struct batch *out) {
    if (!kept) {
        s->cost.blocks++;
        s->cost.rows += s->rowset->n;
    }
    *out = (struct batch){.n = s->rowset->n,
                          .customer = s->rowset->customer,
                          .time = s->rowset->time,
                          .event = s->rowset->event,
                          .scan = s};
    memcpy(out->live, s->live, sizeof out->live);
}

/* Of a range of few customers: time and number of its rows only. */
static int read_few(const struct scan *s, const struct source *source, uint32_t block,
                    unsigned parts, struct row_block *out, struct keel_error *err) {
    unsigned moments = parts & (ROWS_TIME | ROWS_NUMBER);
    TRY(source->ops->rows(source, block, (parts & ~moments) | ROWS_CUSTOMER, out, err));
    uint32_t from = first_row(out, s->first), to = first_row(out, (uint64_t)s->first + s->count);
    return moments ? source->ops->moments(source, block, moments, from, to, out, err) : 0;
}

int scan_read_rows(struct scan *s, uint32_t slot, uint32_t block, unsigned parts,
                   struct row_block **out, struct keel_error *err) {
    const struct group *g = &s->groups[s->group];
    const struct source *source = g->sources[slot];
    struct kept_block *k = s->kept ? &s->kept[g->first + slot] : NULL;
    bool shared = (uint64_t)source->block_last[block] >= (uint64_t)s->first + s->count;
    if (k && k->rows && k->block == block && !(parts & ~k->parts)) {
        *out = k->rows;
        return 1;
    }
    if (!k || !shared || s->count <= NARROW_RANGE) {
        *out = &s->own_rows;
        return s->count <= NARROW_RANGE ? read_few(s, source, block, parts, *out, err)
                                        : source->ops->rows(source, block, parts, *out, err);
    }
    if (!k->rows) k->rows = k_alloc(sizeof *k->rows);
    k->block = UINT32_MAX;
    TRY(source->ops->rows(source, block, parts, k->rows, err));
    k->block = block;
    k->parts = parts;
    *out = k->rows;
    return 0;
}

static int next_block(struct scan *s, const struct source *source, struct batch *out,
                      struct keel_error *err) {
    while (s->block < s->end_block) {
        uint32_t block = s->block++;
        if (!(source->block_events[block] & s->wanted_mask)) continue;
        unsigned parts = ROWS_CUSTOMER | ROWS_TIME;
        if (!s->spec.blind) parts |= ROWS_EVENT;
        if (s->any_slow && source_is_head(source)) parts |= ROWS_NUMBER; /* costs nothing there */
        int kept = scan_read_rows(s, s->source, block, parts, &s->rowset, err);
        if (kept < 0) return kept;
        mark_events(s);
        restrict_rows(s, source);
        skip_misplaced(s, block);
        begin_batch(s, BATCH_BLOCK);
        if (s->any_slow) TRY(scan_take_slow(s, source, err));
        if (!bits_any(s->live)) continue;
        hand_out(s, kept, out);
        out->starts = s->rowset->starts;
        return 1;
    }
    return 0;
}

static int next_sparse(struct scan *s, const struct source *source, struct batch *out,
                       struct keel_error *err) {
    while (s->block < s->end_block) {
        TRY(scan_read_sparse(s, source, err));
        if (s->rowset->n == 0) continue;
        bits_first(s->live, s->rowset->n);
        restrict_rows(s, source);
        skip_places(s);
        begin_batch(s, BATCH_SPARSE);
        if (s->any_slow) TRY(scan_take_slow(s, source, err));
        if (!bits_any(s->live)) continue;
        hand_out(s, false, out);
        return 1;
    }
    return 0;
}

uint32_t scan_batch_base(const struct scan *s, uint32_t stream) {
    const struct source *source = s->groups[s->group].sources[s->source];
    if (s->kind == BATCH_POSTING) return s->posting_chunk * CHUNK_ROWS;
    if (s->kind == BATCH_BLOCK) return source->ops->stream_base(source, stream, s->block - 1);
    return source->ops->stream_base(source, stream, s->sparse->first_block);
}

int scan_posting(struct scan *s, const struct source *source, uint32_t k, uint32_t chunk,
                 struct row_block **out, struct keel_error *err) {
    const uint32_t number = s->groups[s->group].first + s->source;
    struct posting **of = &s->postings[s->keeps_postings ? number : 0];
    const uint32_t count = s->keeps_postings ? s->spec.event_count : 1;
    if (!*of) {
        *of = k_alloc_array(count, sizeof **of);
        for (uint32_t i = 0; i < count; i++) (*of)[i].chunk = UINT32_MAX;
    }
    struct posting *p = &(*of)[s->keeps_postings ? k : 0];
    *out = &p->rows;
    if (s->keeps_postings && p->chunk == chunk) return 0;
    if (!s->keeps_postings || p->chunk == UINT32_MAX)
        for (uint32_t i = 0; i < CHUNK_ROWS; i++) p->rows.event[i] = s->events[k];
    p->chunk = UINT32_MAX;
    TRY(source->ops->posting(source, s->events[k], chunk, p->rows.customer, p->rows.time,
                             &p->rows.n, err));
    p->chunk = chunk;
    return 0;
}

static int next_posting(struct scan *s, const struct source *source, struct batch *out,
                        struct keel_error *err) {
    while (s->posting_event < s->spec.event_count) {
        if (s->posting_at >= s->posting_end) {
            s->posting_event++;
            begin_posting_event(s, source);
            continue;
        }
        uint32_t event = s->events[s->posting_event], chunk = s->posting_at / CHUNK_ROWS;
        TRY(scan_posting(s, source, s->posting_event, chunk, &s->rowset, err));
        s->posting_at = (chunk + 1) * CHUNK_ROWS;
        bits_first(s->live, s->rowset->n);
        restrict_rows(s, source);
        skip_holes(s, event, chunk);
        if (!bits_any(s->live)) continue;
        begin_batch(s, BATCH_POSTING);
        s->posting_chunk = chunk;
        hand_out(s, false, out);
        return 1;
    }
    return 0;
}

void batch_places(const struct batch *b, struct row_place *out) {
    const struct scan *s = b->scan;
    const struct group *g = &s->groups[s->group];
    if (s->kind == BATCH_GATHERED) { /* all live */
        for (uint32_t i = 0; i < b->n; i++) {
            const struct gathered_row *row = &s->batch_rows[i];
            out[i] = (struct row_place){g->sources[row->source], row->row, row->ordinal};
        }
        return;
    }
    const struct source *source = g->sources[s->source];
    const bool sparse = s->kind == BATCH_SPARSE;
    const uint32_t block = sparse ? s->sparse->first_block : s->block - 1;
    uint32_t ordinal[CHUNK_ROWS];
    scan_ordinals(source, s->rowset, block, b->live, ordinal);
    for (uint32_t w = 0; w < BITS_WORDS; w++)
        for (uint64_t m = b->live[w]; m; m &= m - 1) {
            uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(m);
            uint32_t row = sparse ? s->sparse->place[i] : block * CHUNK_ROWS + i;
            out[i] = (struct row_place){source, row, ordinal[i]};
        }
}

static int advance(struct scan *s, struct batch *out, struct keel_error *err) {
    for (;;) {
        const struct source *source;
        int got;
        switch (s->phase) {
        case PHASE_NEXT_GROUP:
            got = begin_group(s, err);
            if (got <= 0) return got;
            break;
        case PHASE_SOURCE:
            if (s->source == s->groups[s->group].count) {
                TRY(scan_finish_slow(s, err));
                s->phase = PHASE_GATHER;
                break;
            }
            source = s->groups[s->group].sources[s->source];
            got = s->posting     ? next_posting(s, source, out, err)
                  : s->is_sparse ? next_sparse(s, source, out, err)
                                 : next_block(s, source, out, err);
            if (got) return got;
            s->source++;
            begin_source(s);
            break;
        case PHASE_GATHER:
            if (scan_gather_next(s, out)) return 1;
            s->phase = PHASE_NEXT_GROUP;
            break;
        }
    }
}

int scan_next(struct scan *s, struct batch *out, struct keel_error *err) {
    if (s->group == s->group_count) return 0;
    uint64_t before = part_thread_bytes();
    int got = advance(s, out, err);
    s->cost.bytes += part_thread_bytes() - before;
    return got;
}
