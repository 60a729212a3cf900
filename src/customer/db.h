/* A data directory, opened: the event store and the identity graph together.
 *
 * Ingest: batch -> journal -> for each event: dedup, identity, columns, head row. Recovery takes
 * the same path from the journal.
 *
 * Layers: store, identity. Threads: db_ingest calls are serialised inside; queries run on
 * snapshots at any time.
 */
#pragma once

#include "base/time.h"
#include "customer/identity.h"

struct db;

struct db_options {
    struct store_options store;
};

struct ingest_counts {
    uint64_t events, accepted, duplicates;
    uint64_t residual; /* properties that found no column of their own */
};

int db_open(const char *dir, const struct db_options *options, struct db **out,
            struct keel_error *err) K_CHECKED;
int db_close(struct db *db, struct keel_error *err) K_CHECKED;

/* Makes a new data directory; KEEL_E_EXISTS if there is one. */
int db_init(const char *dir, struct str time_zone, struct str currency,
            struct keel_error *err) K_CHECKED;

/* Journals and applies a batch; it is durable when db_ingest returns (durability = commit). Adds to
 * *counts. */
int db_ingest(struct db *db, struct str batch, struct ingest_counts *counts,
              struct keel_error *err) K_CHECKED;

/* The two halves of db_ingest, so that many batches share one commit: db_append journals and
 * applies (not durable; visible to snapshots once it is), db_commit returns when everything up to
 * `position` is on disk. fates: NULL, or room for one enum ingest_fate an event of the batch. */
enum ingest_fate { INGEST_ACCEPTED = 0, INGEST_DUPLICATE = 1 };
int db_append(struct db *db, struct str batch, struct ingest_counts *counts, uint8_t *fates,
              uint64_t *out_position, struct keel_error *err) K_CHECKED;
int db_commit(struct db *db, uint64_t position, struct keel_error *err) K_CHECKED;
int db_flush(struct db *db, struct keel_error *err) K_CHECKED;

struct store *db_store(struct db *db);
struct identity *db_identity(struct db *db);
const struct time_zone *db_zone(const struct db *db); /* the company's zone: days, weeks, months */
struct str db_currency(const struct db *db);

/* Settings kept in the manifest (time_zone, currency, …). */
int db_setting(struct db *db, const char *name, struct arena *a, struct str *out,
               struct keel_error *err) K_CHECKED;

/* A customer by "user_id=17850", "anonymous_id=…" or a bare user_id: the root number, or
 * NUMBER_NONE. */
uint32_t db_find_customer(struct db *db, struct str text);
