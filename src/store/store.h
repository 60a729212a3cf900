/* The event store: one folder that holds every customer's timeline.
 *
 *   DIR/keel.db          SQLite: parts, schema, journal position, settings (manifest.h)
 *   DIR/journal/         what was acknowledged and is not yet in a part    (journal.h)
 *   DIR/parts/           immutable customer-ordered parts                  (part.h)
 *   DIR/identity.log     identifiers and edges, written by src/customer
 *   DIR/lock             held while a process has the store open
 *
 * Life of a row: journal -> head (memory) -> part of its bucket -> larger parts by compaction.
 *
 * Locks, in this order: `ingest` (one writer at a time) > `compacting` (one compaction at a time) >
 * `flushing` (one flush at a time) > `changing` (ids of parts, what the manifest says of them) >
 * the connection to keel.db (base/sql.h) > `state` (what snapshots see; held for moments). A
 * snapshot takes `state` alone and then holds references: it never waits for ingest, flush or
 * compaction, and sees each batch, flush and merge whole or not at all. A flush and a compaction
 * run in the thread that asks for them, or in threads of the store's own, beside ingest and
 * readers.
 *
 * Limits: STORE_HEAD_ROWS rows or STORE_HEAD_BYTES in a head (and one batch more), two heads;
 * opened for reading only, as many heads as the journal fills, at most STORE_HEADS_MOST; a part at
 * most STORE_PART_ROWS rows and one customer's; a merge of more than STORE_MERGE_ROWS rows goes by
 * ranges of customers.
 */
#pragma once

#include "base/sql.h"
#include "store/head/head.h"
#include "store/journal/journal.h"
#include "store/redirect.h"
#include "store/scan/scan.h"

enum {
    STORE_HEAD_ROWS = 1 << 19,
    STORE_HEAD_BYTES = 512 << 20,
    STORE_PART_ROWS = 1 << 22,
    STORE_CLOCK_MS = 1000, /* of ingest, at most, between two notes of the time in the journal */
    STORE_MERGE_ROWS = 1 << 23, /* in memory: 0.4 GB */
    STORE_MERGE_PARTS = 4,
    STORE_HEADS_MOST = 64,
    STORE_DEDUP_DAYS = 7, /* see store_seen */
    STORE_SIEVES = 32,    /* see seen.c */
};

/* Kinds of journal records; written to disk, never renumber. */
enum store_record {
    STORE_RECORD_BATCH = 1, /* a batch of events (event.h)                                      */
    STORE_RECORD_CLOCK = 2, /* i64: what comes behind was received at this moment (ms) or later,
                               up to STORE_CLOCK_MS later; so a restore can end at a moment     */
};

struct store;

struct store_options {
    bool read_only;
    bool create;          /* make the folder if it is absent or empty */
    uint32_t head_rows;   /* 0: STORE_HEAD_ROWS */
    uint64_t head_bytes;  /* 0: STORE_HEAD_BYTES */
    uint32_t part_rows;   /* 0: STORE_PART_ROWS */
    uint32_t merge_rows;  /* 0: STORE_MERGE_ROWS */
    bool background;      /* threads of the store flush full heads, and compact after each flush */
    uint32_t merge_parts; /* of like sizes and a month: so many the background merges; 0:
                             STORE_MERGE_PARTS */
    struct journal_options journal;
};

/* What the identity room adds to the store's own making, recovery and flush. */
struct store_client {
    void *ctx;
    /* A new directory: what must be there with the manifest, in its transaction. */
    int (*make)(void *ctx, struct store *store, struct keel_error *err);
    /* The manifest is open, the journal not yet replayed. */
    int (*load)(void *ctx, struct store *store, struct keel_error *err);
    /* One journal record (a batch of events) during recovery. */
    int (*replay)(void *ctx, struct store *store, struct str batch, struct keel_error *err);
    /* The ingesting thread: what is in memory now is what the next flush makes durable. */
    void (*seal)(void *ctx);
    /* A flush, by any thread: make durable what was sealed, and note in `db` (inside the flush's
     * transaction) where it ends. Called again if the flush fails. */
    int (*flush)(void *ctx, struct store *store, struct sql *db, struct keel_error *err);
    /* That transaction is committed. */
    void (*flushed)(void *ctx);
    /* A store that was open for writing is closed; its threads have ended, nothing changes any
     * more. */
    void (*settle)(void *ctx, struct store *store);
};

int store_open(const char *dir, const struct store_options *options,
               const struct store_client *client, struct store **out,
               struct keel_error *err) K_CHECKED;
int store_close(struct store *s,
                struct keel_error *err) K_CHECKED; /* flushes nothing: the journal has it */

const char *store_dir(const struct store *s);
struct schema *store_schema(struct store *s);
struct redirects *store_redirects(struct store *s);
struct lexicon *store_lexicon(struct store *s, uint32_t column);
/* keel.db: other rooms keep tables of their own in it (sql_migrate), in transactions of their own.
 * Do not hold one across calls of this header. */
struct sql *store_db(struct store *s);
const uint8_t *store_id(const struct store *s);     /* 16 bytes */
struct journal *store_get_journal(struct store *s); /* for who follows it: journal_hold */

/* Named settings in the manifest: NOT_FOUND if absent; the text is the arena's. */
int store_setting(struct store *s, const char *name, struct arena *a, struct str *out,
                  struct keel_error *err) K_CHECKED;
int store_set_setting(struct store *s, const char *name, struct str value,
                      struct keel_error *err) K_CHECKED;

/* ---- ingest: between store_ingest_begin and _end the caller is the one writer ---- */

void store_ingest_begin(struct store *s);
void store_ingest_end(struct store *s);
/* Journal a batch; it is durable once store_commit(position) returned. */
int store_journal(struct store *s, struct str batch, uint64_t *out_position,
                  struct keel_error *err) K_CHECKED;
int store_commit(struct store *s, uint64_t position, struct keel_error *err) K_CHECKED;
/* A journaled batch could not be applied as a whole: what is in memory is no longer what the
 * journal says. Its rows stay unpublished; ingest, flush and compaction return `why` from now on,
 * queries go on. Opening the store again starts from the journal. */
void store_fail(struct store *s, const struct keel_error *why);
/* Has an event with this key been stored, with a time in one of the months (UTC) that lie within
 * STORE_DEDUP_DAYS of time_ms? Exact, and a function of the order of events alone: neither flushes,
 * nor merges, nor a recovery change it. Notes the key as seen if not. 1, 0 or an error. */
int store_seen(struct store *s, struct event_key key, int64_t time_ms,
               struct keel_error *err) K_CHECKED;
void store_prefetch_seen(const struct store *s, struct event_key key); /* it will be asked soon */
/* The head to append to (see head.h). Call store_make_room before a batch of n events: a full head
 * is flushed, in the background with options.background; while that one is being written and the
 * next is full too, it waits, or returns the error of the flush. */
struct head *store_head(struct store *s);
int store_make_room(struct store *s, uint32_t events, struct keel_error *err) K_CHECKED;

/* Writes the head into parts and trims the journal. For this and for store_compact the caller is
 * the one writer. */
int store_flush(struct store *s, struct keel_error *err) K_CHECKED;
/* Merges parts where it pays (all: every bucket into as few parts as possible), after a flush: the
 * redirects under which rows are placed must be on disk before the rows are. Returns the number of
 * buckets rewritten. */
int store_compact(struct store *s, bool all, struct keel_error *err) K_CHECKED;

/* ---- reading ---- */

struct snapshot {
    struct store *store;
    struct redirect_view redirects;
    uint32_t source_count;
    struct source **sources; /* by bucket, then first arrival */
    uint64_t rows;
    int64_t min_time, max_time;    /* of all rows; undefined if rows is 0 */
    struct store_version *version; /* held: all of the above belongs to it */
};

/* Never waits for ingest, flush or compaction. The first one behind a batch sorts the rows in
 * memory (about 10 ns a row). */
int snapshot_open(struct store *s, struct snapshot **out, struct keel_error *err) K_CHECKED;
void snapshot_close(struct snapshot *snap);

/* ---- following: what came between two moments ----
 * A version is what a snapshot sees, before anything is sorted for it: cheap to take and to hold.
 * Holding one keeps its parts, and in memory all rows that have come since. */
struct store_version *store_version_hold(struct store *s);
/* Waits until the store has another version than this one, at most until monotonic_us() is
 * `until_us`: then false. */
bool store_version_wait(struct store *s, const struct store_version *v, int64_t until_us);
struct store_version *store_version_share(struct store_version *v); /* one more holder of it */
void store_version_release(struct store_version *v);                /* NULL is fine */
const struct redirect_view *store_version_redirects(const struct store_version *v);
struct snapshot *snapshot_of(struct store *s, struct store_version *v);
/* The rows that `after` has and `before` has not, under the redirects of `after`. Costs what these
 * rows cost, wherever they are by now. */
struct snapshot *snapshot_between(struct store *s, const struct store_version *before,
                                  const struct store_version *after);

/* The customer that a number's rows are read under now; UINT32_MAX if snapshots do not know it yet.
 * Any thread. */
uint32_t store_root(struct store *s, uint32_t number);

struct store_stats {
    uint64_t rows, head_rows, part_rows, parts, part_bytes, key_bytes, journal_bytes;
    uint32_t numbers, heads;
    /* The last flush or compaction failed, so many times one after another: it will be tried again,
     * unless `stopped`: then the store takes no changes until it is opened again. */
    uint32_t failures;
    bool stopped;
    struct keel_error failure; /* code 0: none */
};
void store_stats(struct store *s, struct store_stats *out);
/* It or its journal takes no changes until it is opened again. Any thread. */
bool store_failed(struct store *s);
/* The journal finds no room on the disk, or flushes fail (a full disk, no descriptors), and both
 * are tried again. Ingest gets the journal's error at once, that of flushes when memory is full.
 * Who asks makes the next try come soon: half a second after the last one, or four times as long as
 * that took. That error, or 0: there is none, or store_failed. Any thread. */
int store_blocked(struct store *s, struct keel_error *err) K_CHECKED;
