/* identity.index: where identity.log says what, so that a directory opens without reading the log.
 *
 * A function of the log's first N bytes and of nothing else: it may be absent, older than the log
 * or damaged, and then the log is read from its beginning, as it always was; whoever closes a
 * directory that was open for writing makes it anew. It repeats no identifier: a look-up ends at
 * records of the log, which have their own checksums, so the index alone can never name a wrong
 * owner. Blocks have checksums as well, verified by each look-up: a record that the index does not
 * lead to would be missed else.
 *
 *   0-7 "KEELIDX\0" | 8 u16 major 1 | 10 u16 minor 0 | 12 u32 bits of a hash (below)
 *   16 store id, 16 bytes | 32 u64 N | 40 u64 XXH3 of the last 4096 of these N bytes (or of all)
 *   48 u32 numbers | 52 u32 moves | 56 u64 places | 64 u64 XXH3 of bytes 0-63, then of the rest of
 *   the head as 8 bytes | 72 the rest of the head:
 *     checksums: u32 a block (low half of XXH3)
 *     kinds: a bit a number, 1 for an anonymous id, lowest first, in whole bytes
 *     moves: u32 number | u32 root: each change of a root, oldest first (redirect.h)
 *   then the blocks, of 4,096 bytes, the last one shorter; in them, one after the other:
 *     every 16th number: u64 offset in the log of its record
 *     u32 a slot, and one more: places before it. A slot is the top bits of the low half of XXH3 of
 *       an identifier
 *     places: 5 bytes each, the offset of a record that names an identifier of that slot, ascending
 *
 * Layers: identity_log.h, store/redirect.h. Threads: immutable once open. Limits: a log of 1 TiB.
 */
#pragma once

#include "customer/identity_log.h"

struct identity_index;

/* What it covers, for who reads the log itself: the map must outlive the index. */
struct identity_log_view {
    const uint8_t *p;
    uint64_t n; /* up to where the manifest says */
    const uint8_t *store_id;
};

/* KEEL_E_NOT_FOUND: there is none for this log, of this length. KEEL_E_CORRUPT names the file. Only
 * the head is read and verified. */
int identity_index_open(const char *path, const struct identity_log_view *log,
                        struct identity_index **out, struct keel_error *err) K_CHECKED;
void identity_index_close(struct identity_index *x); /* NULL is fine */
/* KEEL_E_CORRUPT if it is not, byte for byte, what the log makes: `moves` are those of a replay. */
int identity_index_check(const struct identity_index *x, const struct redirect_view *moves,
                         struct keel_error *err) K_CHECKED;

/* Gives new redirects all numbers and moves. */
void identity_index_redirects(const struct identity_index *x, struct redirects *out);
enum id_kind identity_index_kind(const struct identity_index *x, uint32_t number);

/* Look-ups; -1: index or log are damaged. */
int identity_index_name(const struct identity_index *x, uint32_t number, struct str *out) K_CHECKED;

/* All records that may name an identifier, oldest first. */
struct identity_cursor {
    const struct identity_index *index;
    uint64_t at, end; /* places */
};
int identity_index_seek(const struct identity_index *x, struct str id,
                        struct identity_cursor *out) K_CHECKED; /* 0 or -1 */
int identity_index_next(struct identity_cursor *c,
                        struct identity_record *out) K_CHECKED; /* 1, 0 at the end, or -1 */

/* Makes the file, whole or not at all. Of the redirects, what came behind `version` and `numbers`
 * (of the log's end) is left out. */
int identity_index_write(const char *path, const struct identity_log_view *log,
                         const struct redirect_view *redirects, uint32_t numbers, uint32_t version,
                         struct keel_error *err) K_CHECKED;
