/* Saved segments: a condition with a name, a purpose and an owner on each side. (In the code they
 * are audiences, because segment.h is a dialect of SDKs.)
 *
 * The condition is kept as its canonical text (query_print.h) with a hash of it, so that two people
 * can agree on the very same thing. Every change of a segment is a new version; all versions are
 * kept, those of removed segments too.
 *
 * Segments may name segments (`in segment "VIP"`). A name that is missing, a circle, and more than
 * AUDIENCE_MOST_DEPTH levels are refused when a segment is saved; a segment that others name can be
 * neither removed nor renamed. So what is saved always means something.
 *
 * Tables in DIR/desk.db: audience, audience_version.
 *
 * Layers: saved/name.h, base/sql.h, query/language/parse.h. Threads: any; a book has one owner.
 * Another process may use the same file. Limits: AUDIENCE_MOST; NAME_BYTES; NAME_TEXT_BYTES.
 */
#pragma once

#include "base/sql.h"
#include "query/language/ast.h"

enum {
    AUDIENCE_MOST = 10000,
    AUDIENCE_MOST_DEPTH = 8,
    AUDIENCE_HASH_TEXT = 65, /* BLAKE2b-256 of the canonical text, in hex, and NUL */
};

int audience_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

/* What people set. p == NULL: as it was (of a new one: empty). */
struct audience_spec {
    struct str name;
    struct str query; /* a condition, or `count` or `list customers where` one; text or JSON form */
    struct str description, purpose;
    struct str owner_marketing, owner_it;
    struct str who;     /* changes it */
    int64_t if_version; /* only if this one is in force: else KEEL_E_CONFLICT; 0: any */
};

struct audience_row {
    int64_t id, version;
    struct str name, query, hash, description, purpose, owner_marketing, owner_it;
    struct str who; /* made this version */
    int64_t created_ms, changed_ms;
    bool removed; /* of audience_versions: with this version it was taken away */
};

/* KEEL_E_SYNTAX shows the place in the condition; KEEL_E_EXISTS: the name is taken; KEEL_E_INVALID:
 * a circle, a missing name; KEEL_E_LIMIT. */
int audience_add(struct sql *desk, const struct audience_spec *spec, int64_t now_ms,
                 int64_t *out_id, struct keel_error *err) K_CHECKED;
/* What is equal already makes no version. KEEL_E_CONFLICT: if_version; or others name it, and it is
 * to have another name. */
int audience_change(struct sql *desk, int64_t id, const struct audience_spec *spec, int64_t now_ms,
                    struct keel_error *err) K_CHECKED;
/* KEEL_E_CONFLICT: others name it; the message says who. */
int audience_remove(struct sql *desk, int64_t id, struct str who, int64_t now_ms,
                    struct keel_error *err) K_CHECKED;

typedef int audience_each(void *ctx, const struct audience_row *row);
/* By id; only > 0: that one, or KEEL_E_NOT_FOUND. A negative result of each() ends it. */
int audience_list(struct sql *desk, int64_t only, audience_each *each, void *ctx,
                  struct keel_error *err) K_CHECKED;
/* Newest first; KEEL_E_NOT_FOUND if there never was such a segment. */
int audience_versions(struct sql *desk, int64_t id, audience_each *each, void *ctx,
                      struct keel_error *err) K_CHECKED;
/* A number or a name; KEEL_E_NOT_FOUND proposes the nearest name. */
int audience_find(struct sql *desk, struct str which, int64_t *out_id,
                  struct keel_error *err) K_CHECKED;

/* ---- conditions ---- */

/* Reads a condition in any of its writings (audience_spec.query); what it names is not looked up.
 * *out: the canonical text, in the arena. */
int audience_read(struct str text, struct arena *arena, const struct query_cond **out_cond,
                  struct str *out_text, struct keel_error *err) K_CHECKED;
void audience_hash(struct str canonical, char out[AUDIENCE_HASH_TEXT]);
/* Calls each(name) for every segment that the condition itself names, in its order. */
int audience_names(const struct query_cond *cond, int (*each)(void *ctx, struct str name),
                   void *ctx);

/* The saved conditions by name, for whoever runs questions: audience_book_find is a segment_lookup
 * with the book as ctx. Reads each on its first use and keeps it: a question sees one state. */
struct audience_book {
    struct sql *desk; /* NULL: there are no segments */
    struct arena arena;
    struct audience_entry *entries;
};
void audience_book_init(struct audience_book *b, struct sql *desk);
void audience_book_release(struct audience_book *b);
int audience_book_find(void *book, struct str name, const struct query_cond **out,
                       struct keel_error *err) K_CHECKED;
/* From now on the name means this, whatever is saved; the condition outlives the book. */
void audience_book_set(struct audience_book *b, struct str name, const struct query_cond *cond);
/* Everything that the condition names, directly or through others: KEEL_E_INVALID for a circle with
 * `name` (may be empty), too many levels, or a name that is missing. */
int audience_book_check(struct audience_book *b, struct str name, const struct query_cond *cond,
                        struct keel_error *err) K_CHECKED;
