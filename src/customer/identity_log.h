/* The records of identity.log: the truth about who is who, in the order in which it was learned.
 *
 * Header, 32 bytes: 0-7 "KEELIDS\0" | 8 u16 major | 10 u16 minor | 12 u32 0 | 16 store id u128.
 * Then records, appended at each flush, whose end the manifest notes in the flush's transaction:
 *   record: u32 payload bytes | u32 checksum (XXH3 low half of the payload) | payload
 *   payload: u8 1 IDENTIFIER | v number | u8 kind | s id
 *            u8 2 EDGE | u8 kind | s anonymous or previous id | s user_id | i64 time_ms
 *                      | u64 key.lo | u32 key.hi
 *
 * Layers: base, store/event.h. Threads: pure.
 */
#pragma once

#include "base/buf.h"
#include "customer/identity.h"

enum { IDENTITY_LOG_HEADER_BYTES = 32 };

/* Written to disk, never renumber. */
enum identity_record_type { RECORD_IDENTIFIER = 1, RECORD_EDGE = 2 };

struct identity_record {
    enum identity_record_type type;
    uint32_t number; /* of an identifier, with its kind and id */
    enum id_kind kind;
    struct str id;
    struct edge edge; /* texts are the log's */
};

void identity_log_header(const uint8_t *store_id, uint8_t out[IDENTITY_LOG_HEADER_BYTES]);
/* `header` is NULL if the file is shorter. The error names the file. */
int identity_log_check_header(const uint8_t *store_id, const char *path, const uint8_t *header,
                              struct keel_error *err) K_CHECKED;

/* Reads the next record; false: it is damaged. */
bool identity_log_next(struct reader *r, struct identity_record *out) K_CHECKED;

/* Appends a record. A failure to buffer is kept in out->failed. */
void identity_log_add(struct buf *out, const struct identity_record *record);
