/* Implementation of identity_log.h. */
#include "customer/identity_log.h"

enum { LOG_MAJOR = 1, STORE_ID_AT = 16, STORE_ID_BYTES = 16 };

#define LOG_MAGIC "KEELIDS"

void identity_log_header(const uint8_t *store_id, uint8_t out[IDENTITY_LOG_HEADER_BYTES]) {
    const uint16_t major = LOG_MAJOR;
    memset(out, 0, IDENTITY_LOG_HEADER_BYTES);
    memcpy(out, LOG_MAGIC, sizeof LOG_MAGIC);
    memcpy(out + 8, &major, 2);
    memcpy(out + STORE_ID_AT, store_id, STORE_ID_BYTES);
}

/* A later minor version may use what is zero now, and only that. */
int identity_log_check_header(const uint8_t *store_id, const char *path, const uint8_t *header,
                              struct keel_error *err) {
    uint8_t ours[IDENTITY_LOG_HEADER_BYTES];
    uint16_t major, minor;
    identity_log_header(store_id, ours);
    if (!header || memcmp(header, ours, sizeof LOG_MAGIC) != 0)
        FAIL(err, CORRUPT, "%s is damaged: its header; restore it from a backup", path);
    memcpy(&major, header + 8, 2);
    memcpy(&minor, header + 10, 2);
    if (major > LOG_MAJOR)
        FAIL(err, UNSUPPORTED, "%s has format %u, this keel reads up to %d; use a newer keel", path,
             major, LOG_MAJOR);
    if (memcmp(header + STORE_ID_AT, ours + STORE_ID_AT, STORE_ID_BYTES) != 0)
        FAIL(err, CORRUPT, "%s belongs to another store; restore it from a backup", path);
    if (major != LOG_MAJOR || (minor == 0 && memcmp(header + 12, ours + 12, 4) != 0))
        FAIL(err, CORRUPT, "%s is damaged: its header; restore it from a backup", path);
    return 0;
}

static bool read_identifier(struct reader *r, struct identity_record *out) {
    uint64_t number = reader_varint(r);
    uint8_t kind = reader_u8(r);
    *out = (struct identity_record){.type = RECORD_IDENTIFIER,
                                    .number = (uint32_t)number,
                                    .kind = (enum id_kind)kind,
                                    .id = reader_str(r)};
    return number < NUMBER_NONE && kind <= ID_ANONYMOUS;
}

static bool read_edge(struct reader *r, struct identity_record *out) {
    uint8_t kind = reader_u8(r);
    struct edge *e = &out->edge;
    *out = (struct identity_record){.type = RECORD_EDGE};
    e->kind = (enum edge_kind)kind;
    e->anonymous_id = reader_str(r);
    e->user_id = reader_str(r);
    e->time_ms = (int64_t)reader_u64(r);
    e->key.lo = reader_u64(r);
    e->key.hi = reader_u32(r);
    return kind <= EDGE_CONFLICT && e->time_ms >= EVENT_MIN_TIME && e->time_ms < EVENT_MAX_TIME;
}

bool identity_log_next(struct reader *r, struct identity_record *out) {
    uint32_t n = reader_u32(r), sum = reader_u32(r);
    const uint8_t *payload = reader_take(r, n);
    if (!payload || sum != (uint32_t)hash64(payload, n)) return false;
    struct reader fields = reader_over(payload, n);
    uint8_t type = reader_u8(&fields);
    bool fine = type == RECORD_IDENTIFIER ? read_identifier(&fields, out)
                : type == RECORD_EDGE     ? read_edge(&fields, out)
                                          : false;
    return fine && !fields.bad && reader_left(&fields) == 0;
}

static void add_text(struct buf *b, struct str s) {
    (void)!buf_add_varint(b, s.n);
    (void)!buf_add_str(b, s);
}

void identity_log_add(struct buf *out, const struct identity_record *record) {
    const struct edge *e = &record->edge;
    size_t start = out->n, texts = record->id.n + e->anonymous_id.n + e->user_id.n;
    if (buf_reserve(out, texts + 96) < 0) return;
    (void)!buf_add_zero(out, 8);
    (void)!buf_add_u8(out, (uint8_t)record->type);
    if (record->type == RECORD_IDENTIFIER) {
        (void)!buf_add_varint(out, record->number);
        (void)!buf_add_u8(out, (uint8_t)record->kind);
        add_text(out, record->id);
    } else {
        (void)!buf_add_u8(out, (uint8_t)e->kind);
        add_text(out, e->anonymous_id);
        add_text(out, e->user_id);
        (void)!buf_add_u64(out, (uint64_t)e->time_ms);
        (void)!buf_add_u64(out, e->key.lo);
        (void)!buf_add_u32(out, e->key.hi);
    }
    uint32_t n = (uint32_t)(out->n - start - 8);
    uint32_t sum = (uint32_t)hash64(out->p + start + 8, n);
    memcpy(out->p + start, &n, 4);
    memcpy(out->p + start + 4, &sum, 4);
}
