/* Parts taken apart and put together again with right checksums around wrong content.
 *
 * A checksum catches rot; it does not catch a writer with a bug, a file of another hand, or an
 * attacker. So tests and fuzzers change the directory or the chunks of a part and then make every
 * checksum right again, as docs/format.md has them. The walk through the directory is written from
 * that page, not from the reader under test, and ends quietly where the directory makes no sense.
 *
 * Layers: base, zstd. Threads: none.
 */
#pragma once

#include "base/buf.h"

/* Splits a sound part: everything in front of the directory (header included), and the directory
 * unpacked. Aborts on a damaged one. */
void part_file_split(struct str file, struct buf *body, struct buf *directory);

/* Appends a part: body with its header, chunk and key checksums made right in place, the directory
 * packed, and a trailer. part_store_id (16 bytes, may be NULL) goes into the header. */
void part_file_join(struct buf *body, struct str directory, const uint8_t *part_store_id,
                    struct buf *out);

/* Where the directory says chunks and the key table lie: callback(offset, bytes with checksum,
 * true for keys), for those inside a body of `limit` bytes. */
void part_file_chunks(struct str directory, uint64_t limit,
                      void (*each)(void *ctx, uint64_t at, uint64_t bytes, bool keys), void *ctx);
