/* A data directory, opened: the event store and the identity graph together.
 *
 * Ingest: batch -> journal -> for each event: dedup, identity, columns, head row. Recovery takes
 * the same path from the journal.
 *
 * Layers: store, identity. Threads: everything may be called by many threads at once, but opening
 * and closing. Batches are checked side by side, applied one by one in the order of the journal,
 * and share the syncs of their commits; queries run on snapshots at any time and wait for none of
 * it.
 */
#pragma once

#include "base/time.h"
#include "customer/identity.h"

struct db;

struct db_options {
    struct store_options store;
    struct str time_zone, currency; /* of a new directory (store.create) */
};

struct ingest_counts {
    uint64_t events, accepted, duplicates;
    uint64_t residual; /* properties that found no column of their own */
};

/* KEEL_E_CORRUPT for a directory without a time zone: its days would mean something else. */
int db_open(const char *dir, const struct db_options *options, struct db **out,
            struct keel_error *err) K_CHECKED;
int db_close(struct db *db, struct keel_error *err) K_CHECKED;

/* Makes a new data directory, whole or not at all; KEEL_E_EXISTS if there is one. What an
 * interrupted making left behind is made new. */
int db_init(const char *dir, struct str time_zone, struct str currency,
            struct keel_error *err) K_CHECKED;

/* Journals and applies a batch; it is durable when db_ingest returns (durability = commit). Adds to
 * *counts. KEEL_E_CORRUPT: the batch is not what batch_finish makes; nothing of it was taken. */
int db_ingest(struct db *db, struct str batch, struct ingest_counts *counts,
              struct keel_error *err) K_CHECKED;

/* The two halves of db_ingest, so that many batches share one commit: db_append journals and
 * applies (not durable; visible to snapshots once it is), db_commit returns when everything up to
 * `position` is on disk. fates: NULL, or room for one enum ingest_fate an event of the batch. */
enum ingest_fate { INGEST_ACCEPTED = 0, INGEST_DUPLICATE = 1 };
int db_append(struct db *db, struct str batch, struct ingest_counts *counts, uint8_t *fates,
              uint64_t *out_position, struct keel_error *err) K_CHECKED;
int db_commit(struct db *db, uint64_t position, struct keel_error *err) K_CHECKED;
/* What is in memory becomes parts. db_flush merges small ones, too; db_flush_rows leaves them. */
int db_flush(struct db *db, struct keel_error *err) K_CHECKED;
int db_flush_rows(struct db *db, struct keel_error *err) K_CHECKED;
/* The same, and merges all that lies in pieces or in the wrong place; returns how many months it
 * rewrote. */
int db_compact(struct db *db, struct keel_error *err) K_CHECKED;

struct store *db_store(struct db *db);
struct identity *db_identity(struct db *db);
const struct time_zone *db_zone(const struct db *db); /* the company's zone: days, weeks, months */
struct str db_currency(const struct db *db);

/* For `keel doctor`: is identity.index what identity.log says? KEEL_E_NOT_FOUND: there is none. */
int db_check_identity(struct db *db, struct keel_error *err) K_CHECKED;

/* Settings kept in the manifest (time_zone, currency, …). */
int db_setting(struct db *db, const char *name, struct arena *a, struct str *out,
               struct keel_error *err) K_CHECKED;

/* A customer by "user_id=17850", "anonymous_id=…" or a bare user_id: the root number as of now, or
 * NUMBER_NONE. Never waits for ingest. A snapshot opened before may not know the number yet
 * (snap->redirects.numbers). */
uint32_t db_find_customer(struct db *db, struct str text);
