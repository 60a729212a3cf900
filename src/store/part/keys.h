/* The message keys of a part: a set of 64-bit keys for exact dedup.
 *
 * Two messages that are not the same share a key with probability 2^-64; among 10^8 events of a
 * bucket each new one is taken for a known one with probability 2^-37. Format 1.0 kept 80 bits,
 * which took half as many bytes again and made no difference to be noticed.
 *
 * Format (after P. Elias and R. Fano): the keys stand sorted. Their high bits are told by their
 * places, the low ones are written: of n keys each takes 66 - log2(n) bits.
 *   u32 count | u8 64 | u8 b | u8 e | u8 0
 *   u32 × (2^b + 1)   keys before each slot: the slot is a key's top b bits
 *   bits, in u64      for each value of the top b + e bits in order: a 1 for each key, then a 0
 *   bits, in bytes    the low 64 - b - e bits of each key, lowest first; then 8 bytes of 0
 *   u32               low half of XXH3-64 of all before
 * A slot s has its bits at (keys before s) + s × 2^e, so a look-up touches three places.
 * Format 1.0 is read: see docs/format.md.
 *
 * Layers: base. Threads: pure.
 */
#pragma once

#include "base/buf.h"
#include "store/event.h"

/* Appends the table of the keys; of each, lo counts. */
int part_keys_encode(const struct event_key *keys, uint32_t count, struct buf *out) K_CHECKED;
/* 1, 0, or -KEEL_E_CORRUPT if the table's shape is wrong. Checksum and order are not looked at. */
int part_keys_find(struct str table, struct event_key key) K_CHECKED;
/* Hands on all keys in order: without hi, or with 16 bits of it. Checks checksum, shape and order
 * of the whole table, which must have `count` keys; the end of a damaged one comes behind some
 * keys. */
typedef void part_keys_each_fn(void *ctx, struct event_key key);
int part_keys_each(struct str table, uint32_t count, part_keys_each_fn *each, void *ctx) K_CHECKED;
/* The same, for the checks alone. */
int part_keys_check(struct str table, uint32_t count) K_CHECKED;
/* The same, into an array. */
int part_keys_decode(struct str table, struct event_key *out, uint32_t count) K_CHECKED;
