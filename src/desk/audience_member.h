/* The members of a segment as people and other systems see them: by their identifiers.
 * Layers: customer/identity.h, CRoaring. Threads: pure. */
#pragma once

#include "base/buf.h"
#include "customer/identity.h"

struct roaring_bitmap_s;

#define AUDIENCE_MEMBER_CSV_HEAD "customer,user_id,anonymous_id\n"

/* "customer":12,"user_id":"…", or "anonymous_id". */
void audience_member_json(struct identity *identity, uint32_t customer, struct buf *out);
/* A line of an export: CSV, or an object that has the anonymous ids of a known customer, too. */
void audience_member_line(struct identity *identity, uint32_t customer, bool csv, struct buf *out);
/* The numbers whose bits are set, of `count`; the caller frees. */
struct roaring_bitmap_s *audience_member_set(const uint64_t *bits, uint32_t count);
