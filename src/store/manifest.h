/* The manifest: DIR/keel.db (SQLite, WAL, synchronous=FULL), the one place that says which parts
 * exist, where the journal goes on, and what the schema is. A part appears or disappears in one
 * transaction, together with everything that must agree with it.
 *
 * Tables
 *   state(name, value)     store_id, format, journal_position, next_part, arrivals, and the
 *                          settings of the company (time_zone, currency)
 *   part(id, bucket, rows, bytes, ...)   the parts in force
 *   stream, col            the schema, append-only (col.text may turn 1)
 * Other rooms keep tables of their own in the same file (sql_migrate).
 *
 * Layers: base (sql.h), schema. Threads: the connection may be used by many, each in transactions
 * of its own (sql.h); the other members of struct manifest are guarded by the store.
 */
#pragma once

#include "base/sql.h"
#include "store/schema.h"

struct manifest_part {
    uint64_t id, bytes;
    int32_t bucket;
    uint32_t rows;
};

struct manifest {
    struct sql *db;
    uint8_t store_id[16];
    uint64_t journal_position, next_part, arrivals;
    uint32_t saved_streams, saved_columns; /* how much of the schema is written */
    bool making;                           /* the transaction that makes it is open */
};

/* Opens DIR/keel.db and loads the state. With `make` it is made, in a transaction that is left open
 * for what belongs to a new directory: manifest_made ends it, and without that nothing of it is
 * there. KEEL_E_EXISTS if there is one already; what an interrupted making left does not count.
 * Otherwise KEEL_E_NOT_FOUND if it is absent or was never finished. */
int manifest_open(struct manifest *m, const char *dir, bool make, bool read_only,
                  struct keel_error *err) K_CHECKED;
int manifest_made(struct manifest *m, struct keel_error *err) K_CHECKED;
void manifest_close(struct manifest *m);
int manifest_load_schema(struct manifest *m, struct schema *schema,
                         struct keel_error *err) K_CHECKED;
/* Callback per part in force, by bucket and id; a negative result ends the walk. */
int manifest_parts(struct manifest *m, int (*each)(void *ctx, const struct manifest_part *part),
                   void *ctx, struct keel_error *err) K_CHECKED;

/* Inside a transaction (sql_begin) of the caller; when it is rolled back: manifest_forget. */
int manifest_add_part(struct manifest *m, const struct manifest_part *part,
                      struct keel_error *err) K_CHECKED;
int manifest_remove_part(struct manifest *m, uint64_t id, struct keel_error *err) K_CHECKED;
int manifest_save_schema(struct manifest *m, const struct schema *schema,
                         struct keel_error *err) K_CHECKED;
int manifest_save_state(struct manifest *m,
                        struct keel_error *err) K_CHECKED; /* positions, counters */
void manifest_forget(struct manifest *m); /* the schema is written again by the next change */

/* Named values. */
int manifest_set(struct manifest *m, const char *name, struct str value,
                 struct keel_error *err) K_CHECKED;
int manifest_get(struct manifest *m, const char *name, struct arena *a, struct str *out,
                 struct keel_error *err) K_CHECKED; /* NOT_FOUND if absent */
