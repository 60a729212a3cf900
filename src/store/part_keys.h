/* The message keys of a part: a set of 80-bit keys for exact dedup.
 *
 * Two messages that are not the same share a key with probability 2^-80; among a bucket of 10^8
 * events that is one false duplicate in 10^8 buckets.
 *
 * Format: u32 count | u8 directory bits d (0, 8 or 16) | u8[3] 0 | u32 × (2^d + 1) first entry of
 * each value of the top d bits of `hi` | entries, sorted: the remaining bits, 10 - d/8 bytes each
 * (hi's low byte first where d is 8, nothing of it where 16; then lo, little-endian) | u32 checksum
 * of all before. A look-up touches the directory and one short run of entries.
 *
 * Layers: base. Threads: pure.
 */
#pragma once

#include "base/buf.h"
#include "store/event.h"

/* Sorts keys in place and appends their table. */
int part_keys_encode(struct event_key *keys, uint32_t count, struct buf *out) K_CHECKED;
/* 1, 0, or -KEEL_E_CORRUPT if the table's shape is wrong. Checksum and order are not looked at. */
int part_keys_find(struct str table, struct event_key key) K_CHECKED;
/* Checksum, shape and order of the whole table, which must have `count` keys. */
int part_keys_check(struct str table, uint32_t count) K_CHECKED;
/* The keys back; only 16 bits of hi are kept. */
int part_keys_decode(struct str table, struct event_key *out, uint32_t count) K_CHECKED;
