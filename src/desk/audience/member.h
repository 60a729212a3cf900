/* The members of a segment as people and other systems see them: by their identifiers, and with
 * traits that were chosen.
 * Layers: customer/identity.h, query/exec.h, CRoaring. Threads: pure. Limits: AUDIENCE_TRAITS_MOST
 * traits, for RESULT_MAX_ROWS members. */
#pragma once

#include "base/buf.h"
#include "customer/identity.h"
#include "query/exec.h"

enum { AUDIENCE_TRAITS_MOST = 16 };

struct roaring_bitmap_s;

/* Members and what is known of them: the row k of values (behind its first column, which is their
 * id) belongs to the k-th of them. */
struct audience_traits {
    struct roaring_bitmap_s *members;
    struct result *values;
    struct str name[AUDIENCE_TRAITS_MOST]; /* of the columns; in the result */
    uint32_t n;
    /* The JSON of what is shown in place of a value, or NULL: the value. NULL: nobody is masked. */
    const char *(*mask)(void *ctx, struct str trait, const struct datum *value);
    void *ctx;
};
/* Asks the engine for a saved segment; `traits`: names with commas between them. KEEL_E_INVALID,
 * KEEL_E_NOT_FOUND: a name. Release what it gives. */
int audience_traits_ask(struct db *db, const struct snapshot *snap, struct str segment,
                        struct str traits, const struct query_options *options,
                        struct audience_traits *out, struct keel_error *err) K_CHECKED;
void audience_traits_release(struct audience_traits *t); /* zeroed is fine */

/* "customer":12,"user_id":"…", or "anonymous_id". */
void audience_member_json(struct identity *identity, uint32_t customer, struct buf *out);
/* The form of an export; raw: texts that look like formulas, too (base/csv.h). */
enum audience_form { AUDIENCE_NDJSON, AUDIENCE_CSV, AUDIENCE_CSV_RAW };
/* What stands before the lines: of CSV the names of its columns. traits NULL: none were chosen. */
void audience_member_head(enum audience_form form, const struct audience_traits *traits,
                          struct buf *out);
/* A line of it; as JSON it has the anonymous ids of a known customer, too. `row`: of his traits. */
void audience_member_line(struct identity *identity, uint32_t customer, enum audience_form form,
                          const struct audience_traits *traits, uint64_t row, struct buf *out);
/* The numbers whose bits are set, of `count`; the caller frees. */
struct roaring_bitmap_s *audience_member_set(const uint64_t *bits, uint32_t count);
