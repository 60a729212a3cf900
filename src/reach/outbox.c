/* Implementation of outbox.h. */
#include "reach/outbox.h"

#include <roaring/roaring.h>
#include <stdio.h>

#include "base/time.h"

const char *const OUTBOX_CAUSE_TEXT[OUTBOX_CAUSES] = {"event", "time", "merged", "edited",
                                                      "missed"};

/* Flags of a change, written to disk: 1 entered, 2 his identifier is an anonymous one, 4 … 16 the
 * cause, 32 of the same customer as the change before. */
enum { ENTERED = 1, ANONYMOUS = 2, CAUSE_SHIFT = 2, CAUSE_MASK = 7, SAME = 32 };
enum { ROW_BYTES = 60 << 20 };

static const char *const STEPS[] = {
    "CREATE TABLE outbox(last INTEGER PRIMARY KEY, first INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    "  changes BLOB NOT NULL);"
    "CREATE TABLE outbox_members(segment INTEGER PRIMARY KEY, version INTEGER NOT NULL,"
    "  number INTEGER NOT NULL, members BLOB NOT NULL);"
    "CREATE INDEX outbox_members_number ON outbox_members(number);"
    /* Numbers go on although the rows they were given to are gone. */
    "CREATE TABLE outbox_end(one INTEGER PRIMARY KEY CHECK(one = 1), last INTEGER NOT NULL);"
    "INSERT INTO outbox_end(one, last) VALUES(1, 0);",
};

int outbox_tables(struct sql *desk, struct keel_error *err) {
    return sql_migrate(desk, "outbox", STEPS, sizeof STEPS / sizeof *STEPS, err);
}

/* ---- writing ---- */

void outbox_batch_init(struct outbox_batch *b, int64_t first, int64_t at_ms) {
    *b = (struct outbox_batch){.first = first, .at_ms = at_ms};
    buf_init(&b->segments, ROW_BYTES / 4);
    buf_init(&b->changes, ROW_BYTES);
    b->places = k_zalloc(OUTBOX_PLACES * sizeof *b->places);
}

void outbox_batch_release(struct outbox_batch *b) {
    buf_release(&b->segments);
    buf_release(&b->changes);
    k_free(b->ids);
    k_free(b->places);
    *b = (struct outbox_batch){0};
}

static uint32_t place_of(struct outbox_batch *b, const struct outbox_change *c) {
    uint16_t *near = &b->places[(uint64_t)c->segment % OUTBOX_PLACES];
    if (*near && b->ids[*near - 1] == c->segment) return *near - 1u;
    for (uint32_t i = b->n_segments; i-- > 0;) /* another one has its place */
        if (b->ids[i] == c->segment) return i;
    *near = (uint16_t)(b->n_segments + 1);
    if (b->n_segments == b->cap_segments) {
        b->cap_segments = b->cap_segments ? b->cap_segments * 2 : 16;
        b->ids = k_realloc(b->ids, b->cap_segments * sizeof *b->ids);
    }
    b->ids[b->n_segments] = c->segment;
    (void)!buf_add_varint(&b->segments, (uint64_t)c->segment);
    (void)!buf_add_varint(&b->segments, (uint64_t)c->version);
    (void)!buf_add_varint(&b->segments, c->name.n);
    (void)!buf_add_str(&b->segments, c->name);
    return b->n_segments++;
}

void outbox_batch_add(struct outbox_batch *b, const struct outbox_change *c) {
    bool same = outbox_batch_goes_on(b, c->customer);
    enum id_kind kind = same ? b->kind : c->kind;
    unsigned flags = (c->entered ? ENTERED : 0) | (kind == ID_ANONYMOUS ? ANONYMOUS : 0) |
                     (unsigned)c->cause << CAUSE_SHIFT | (same ? SAME : 0);
    uint32_t place = place_of(b, c);
    (void)!buf_add_u8(&b->changes, (uint8_t)flags);
    (void)!buf_add_varint(&b->changes, place);
    b->n++;
    if (same) return;
    (void)!buf_add_u32(&b->changes, c->customer);
    (void)!buf_add_varint(&b->changes, c->id.n);
    (void)!buf_add_str(&b->changes, c->id);
    b->customer = c->customer;
    b->kind = kind;
}

int outbox_write(struct sql *desk, const struct outbox_batch *b, struct keel_error *err) {
    struct buf row;
    int64_t last = b->first + b->n - 1;
    if (b->n == 0) return 0;
    buf_init(&row, 2 * (size_t)ROW_BYTES);
    (void)!buf_add_varint(&row, b->n_segments);
    (void)!buf_add_str(&row, buf_str(&b->segments));
    (void)!buf_add_str(&row, buf_str(&b->changes));
    int code = b->segments.failed || b->changes.failed || row.failed
                   ? error_set(err, KEEL_E_NO_MEMORY, "too little memory for changes of segments")
                   : sql_run(desk, err,
                             "INSERT INTO outbox(last, first, at_ms, changes) VALUES(?, ?, ?, ?)",
                             "iiib", last, b->first, b->at_ms, buf_str(&row));
    buf_release(&row);
    TRY(code);
    return sql_run(desk, err, "UPDATE outbox_end SET last = ?", "i", last);
}

int outbox_save_members(struct sql *desk, int64_t segment, int64_t version, int64_t number,
                        const struct roaring_bitmap_s *members, struct keel_error *err) {
    size_t n = roaring_bitmap_portable_size_in_bytes(members);
    char *p = k_try_alloc(n);
    if (!p) FAIL(err, NO_MEMORY, "too little memory for the members of a segment");
    (void)roaring_bitmap_portable_serialize(members, p);
    int code = sql_run(desk, err,
                       "INSERT OR REPLACE INTO outbox_members(segment, version, number, members)"
                       "  VALUES(?, ?, ?, ?)",
                       "iiib", segment, version, number, (struct str){p, n});
    k_free(p);
    return code;
}

int outbox_touch_members(struct sql *desk, int64_t segment, int64_t number,
                         struct keel_error *err) {
    return sql_run(desk, err, "UPDATE outbox_members SET number = ? WHERE segment = ?", "ii",
                   number, segment);
}

int outbox_forget_members(struct sql *desk, int64_t segment, struct keel_error *err) {
    return sql_run(desk, err, "DELETE FROM outbox_members WHERE segment = ?", "i", segment);
}

int outbox_trim(struct sql *desk, int64_t keep_bytes, struct keel_error *err) {
    int64_t safe = 0, bytes = 0, before = 0;
    struct sql_rows rows;
    TRY(sql_number(desk, INT64_MAX, &safe, err,
                   "SELECT number FROM outbox_members ORDER BY number LIMIT 1", ""));
    TRY(sql_ask(desk, &rows, err, "SELECT last, length(changes) FROM outbox ORDER BY last DESC",
                ""));
    int code;
    while ((code = sql_next(&rows, err)) == 1 && bytes <= keep_bytes) {
        bytes += sql_i64(&rows, 1);
        before = sql_i64(&rows, 0);
    }
    sql_done(&rows);
    if (code < 0 || bytes <= keep_bytes) return code < 0 ? code : 0;
    return sql_run(desk, err, "DELETE FROM outbox WHERE last <= ? AND last < ?", "ii", safe,
                   before);
}

/* ---- reading ---- */

int outbox_end(struct sql *desk, int64_t *out_last, int64_t *out_first, struct keel_error *err) {
    TRY(sql_number(desk, 0, out_last, err, "SELECT last FROM outbox_end", ""));
    return sql_number(desk, *out_last + 1, out_first, err,
                      "SELECT first FROM outbox ORDER BY last LIMIT 1", "");
}

struct reading {
    int64_t after;
    int (*each)(void *ctx, const struct outbox_change *c);
    void *ctx;
    int64_t last;
    struct outbox_change *segments; /* with id, version and name only */
    uint32_t customer;              /* of the change before */
    struct str id;
};

static int read_change(struct reading *r, struct reader *from, uint64_t n_segments,
                       struct outbox_change *c, struct keel_error *err) {
    unsigned flags = reader_u8(from);
    uint64_t place = reader_varint(from);
    unsigned cause = flags >> CAUSE_SHIFT & CAUSE_MASK;
    if (!(flags & SAME)) {
        r->customer = reader_u32(from);
        r->id = reader_str(from);
    }
    if (from->bad || !r->id.p || place >= n_segments || cause >= OUTBOX_CAUSES || flags > 63)
        FAIL(err, CORRUPT, "desk.db: the changes of segments before %lld are damaged",
             (long long)c->number);
    c->segment = r->segments[place].segment;
    c->version = r->segments[place].version;
    c->name = r->segments[place].name;
    c->customer = r->customer;
    c->kind = flags & ANONYMOUS ? ID_ANONYMOUS : ID_USER;
    c->id = r->id;
    c->entered = flags & ENTERED;
    c->cause = (enum outbox_cause)cause;
    return 0;
}

/* 1: each() wants no more. */
static int read_row(struct reading *r, int64_t first, int64_t last, int64_t at_ms, struct str blob,
                    struct keel_error *err) {
    struct reader from = reader_over(blob.p, blob.n);
    uint64_t n = reader_varint(&from);
    if (from.bad || n > blob.n)
        FAIL(err, CORRUPT, "desk.db: the changes of segments before %lld are damaged",
             (long long)last);
    r->id = (struct str){0}; /* there is none before the first change of a row */
    r->segments = k_alloc_array(n + 1, sizeof *r->segments);
    for (uint64_t i = 0; i < n; i++) {
        r->segments[i] = (struct outbox_change){.segment = (int64_t)reader_varint(&from)};
        r->segments[i].version = (int64_t)reader_varint(&from);
        r->segments[i].name = reader_str(&from);
    }
    int code = 0;
    for (int64_t number = first; number <= last && code == 0; number++) {
        struct outbox_change c = {.number = number, .at_ms = at_ms};
        code = read_change(r, &from, n, &c, err);
        if (code < 0 || number <= r->after) continue;
        code = r->each(r->ctx, &c);
        if (code == 0) r->last = number;
    }
    k_free(r->segments);
    return code;
}

int outbox_read(struct sql *desk, int64_t after, uint32_t most,
                int (*each)(void *ctx, const struct outbox_change *c), void *ctx, int64_t *out_last,
                struct keel_error *err) {
    struct reading r = {.after = after, .each = each, .ctx = ctx, .last = after};
    struct sql_rows rows;
    TRY(sql_ask(desk, &rows, err,
                "SELECT first, last, at_ms, changes FROM outbox WHERE last > ? ORDER BY last", "i",
                after));
    int code = 0, more = 0;
    while (code == 0 && r.last - after < most && (more = sql_next(&rows, err)) == 1)
        code = read_row(&r, sql_i64(&rows, 0), sql_i64(&rows, 1), sql_i64(&rows, 2),
                        sql_str(&rows, 3), err);
    sql_done(&rows);
    if (out_last) *out_last = r.last;
    return more < 0 ? more : code < 0 ? code : 0;
}

struct entries {
    uint32_t customer, n;
    struct outbox_entry *of;
};

/* Rows come newest first, the changes within one oldest first. */
static int note_entry(void *ctx, const struct outbox_change *c) {
    struct entries *e = ctx;
    if (c->customer != e->customer) return 0;
    for (uint32_t i = 0; i < e->n; i++) {
        if (e->of[i].segment != c->segment || c->number < e->of[i].number) continue;
        e->of[i].number = c->number;
        e->of[i].at_ms = c->entered ? c->at_ms : 0;
    }
    return 0;
}

static bool all_found(const struct entries *e) {
    uint32_t found = 0;
    while (found < e->n && e->of[found].number) found++;
    return found == e->n;
}

int outbox_entries(struct sql *desk, uint32_t customer, struct outbox_entry *entries, uint32_t n,
                   int64_t *out_from_ms, struct keel_error *err) {
    struct entries e = {.customer = customer, .n = n, .of = entries};
    struct reading r = {.each = note_entry, .ctx = &e};
    struct sql_rows rows;
    size_t bytes = 0;
    int more = 0, code = 0;
    int64_t first = 0;
    *out_from_ms = 0;
    for (uint32_t i = 0; i < n; i++) entries[i].at_ms = entries[i].number = 0;
    TRY(sql_ask(desk, &rows, err,
                "SELECT first, last, at_ms, changes FROM outbox ORDER BY last DESC", ""));
    while (code == 0 && bytes < OUTBOX_ENTRIES_BYTES && !all_found(&e) &&
           (more = sql_next(&rows, err)) == 1) {
        struct str changes = sql_str(&rows, 3);
        first = sql_i64(&rows, 0);
        *out_from_ms = sql_i64(&rows, 2);
        bytes += changes.n;
        code = read_row(&r, first, sql_i64(&rows, 1), *out_from_ms, changes, err);
    }
    sql_done(&rows);
    if (first <= 1) *out_from_ms = 0;
    return more < 0 ? more : code;
}

int outbox_members(struct sql *desk, int64_t segment, int64_t *out_version, int64_t *out_number,
                   struct roaring_bitmap_s **out, struct keel_error *err) {
    struct sql_rows rows;
    *out = NULL;
    TRY(sql_ask(desk, &rows, err,
                "SELECT version, number, members FROM outbox_members WHERE segment = ?", "i",
                segment));
    int code = sql_next(&rows, err);
    if (code == 1) {
        struct str blob = sql_str(&rows, 2);
        *out_version = sql_i64(&rows, 0);
        *out_number = sql_i64(&rows, 1);
        *out = roaring_bitmap_portable_deserialize_safe(blob.p, blob.n);
        code = *out ? 0
                    : error_set(err, KEEL_E_CORRUPT,
                                "desk.db: the members of segment %lld are damaged",
                                (long long)segment);
    }
    sql_done(&rows);
    return code;
}

/* ---- what receivers see ---- */

void outbox_id(const struct outbox_change *c, char out[OUTBOX_ID_BYTES]) {
    snprintf(out, OUTBOX_ID_BYTES, "chg_%012llx%012llx", (unsigned long long)c->number,
             (unsigned long long)c->at_ms);
}

void outbox_json(const struct outbox_change *c, struct buf *out) {
    char id[OUTBOX_ID_BYTES], at[TIME_TEXT_MAX];
    struct str time = {at, time_format(NULL, c->at_ms, at)};
    outbox_id(c, id);
    (void)!buf_printf(out,
                      "{\"type\":\"track\",\"event\":\"Segment %s\",\"messageId\":\"%s\","
                      "\"timestamp\":\"%.*s\",\"%s\":",
                      c->entered ? "Entered" : "Left", id, STR_ARG(time),
                      c->kind == ID_USER ? "userId" : "anonymousId");
    (void)!buf_add_json_str(out, c->id);
    (void)!buf_printf(out,
                      ",\"properties\":{\"segment_id\":%lld,\"segment\":", (long long)c->segment);
    (void)!buf_add_json_str(out, c->name);
    (void)!buf_printf(out, ",\"version\":%lld,\"cause\":\"%s\"}}", (long long)c->version,
                      OUTBOX_CAUSE_TEXT[c->cause]);
}
