/* Backups: a folder that holds several generations of one data directory, and restoring one.
 *
 *   TO/lock                          held (flock) while somebody writes
 *   TO/generations/<G>.keelbackup    one inventory a generation: which files, of which pieces
 *   TO/pieces/<hash>                 up to BACKUP_PIECE_BYTES of a file, named by its BLAKE2b-256
 *   TO/work/                         copies of databases on their way in; emptied
 *
 * A generation exists once its inventory has its name, and everything it names is durable before
 * that: a backup that dies leaves the former generations as they were, and pieces without an owner,
 * which the next one sweeps. Pieces are named by their content, so what did not change is shared by
 * all generations; a part or a closed archive file whose size and time are those of the last
 * generation is not even read.
 *
 * One generation is one moment of the events: keel.db (SQLite's backup interface), the parts that
 * it names (held by a snapshot, so that no compaction removes them), identity.log up to the length
 * it names, and the journal up to its durable end. desk.db is copied after them and may be newer by
 * the seconds that takes; archive/ likewise. Of the audit log there is what was verified before
 * (guard/audit.h, which knows its form): whole records, their audit.head, audit.key.
 *
 * Between generations: a backup leaves a note with the journal, which then keeps what is added for
 * the next backup into this folder (journal/notes.h), flushed or not. So the journals of two
 * generations join, and a restore can take the first one's parts and the second one's journal, up
 * to any moment. What a note may keep is bounded; where more was added, the journals have a gap,
 * which the list of generations shows. A directory that was restored begins a *lineage* of its own:
 * its positions mean something else than those of the directory that the backup was made of.
 *
 * Layers: db.h, store/journal/reader.h, base/sql.h, libsodium. Threads: one call at a time on a
 * folder (its lock says so); ingest, flush and compaction of `db` go on. Limits: BACKUP_MAX_*.
 */
#pragma once

#include "customer/db.h"

enum {
    BACKUP_PIECE_BYTES = 16 << 20,
    BACKUP_MAX_INVENTORY_BYTES = 256 << 20, /* about 2.5 million pieces, 40 TB            */
    BACKUP_MAX_GENERATIONS = 10000,
    BACKUP_HASH_BYTES = 32,
};
#define BACKUP_JOURNAL_BYTES ((uint64_t)4 << 30) /* kept for the next backup, at most */

struct backup_progress {   /* of the one under way */
    uint64_t files, bytes; /* looked at          */
    uint64_t copied_bytes; /* new in the folder  */
};

struct backup_options {
    const char *dir; /* the data directory                                                     */
    struct db *db;   /* it, opened for writing by this process; NULL: nobody may have it open  */
    const char *to;
    uint32_t keep; /* generations to keep, the new one included; 0: all                        */
    uint64_t journal_bytes; /* of journal to keep for the next backup; 0: none, and no moment
                               between this one and the flush before the next can be had       */
    bool full; /* read every file and every piece again, and mend damaged pieces           */
    uint64_t audit_bytes;  /* of DIR/audit.log; 0: none                                        */
    struct str audit_head; /* what audit.head holds for them                                   */
    void (*progress)(void *ctx, const struct backup_progress *p); /* or NULL                   */
    const _Atomic bool *cancel; /* or NULL                                                     */
    void *ctx;
};

struct backup_made {
    uint64_t generation;
    uint64_t files, bytes, copied_bytes;
    uint64_t removed_generations, removed_pieces;
};

/* KEEL_E_BUSY: somebody else writes there, or (without db) has the data open. KEEL_E_CORRUPT: a
 * file of the data directory is damaged; nothing was added. */
int backup_take(const struct backup_options *options, struct backup_made *out,
                struct keel_error *err) K_CHECKED;

/* ---- looking at a folder of backups ---- */

struct backup_info {
    uint64_t generation;
    int64_t made_ms;         /* the moment of its events: when the journal was cut    */
    int64_t moments_from_ms; /* a restore can end at any moment from here to made_ms, and none in
                                the gap before it                                               */
    uint64_t journal_from, journal_to; /* what can be replayed on top of the parts              */
    uint64_t files, bytes;
};
/* Oldest first; a damaged inventory is skipped here and reported by backup_verify. */
int backup_list(const char *from, void (*each)(void *ctx, const struct backup_info *info),
                void *ctx, struct keel_error *err) K_CHECKED;

struct backup_report {
    void *ctx;
    void (*good)(void *ctx, const char *text);  /* a generation without fault */
    void (*fault)(void *ctx, const char *text); /* file, generation, place    */
};
/* Reads every inventory and every piece once (generation 0: of all). *out_faults is the number of
 * faults; an error only if the check could not be done. */
int backup_verify(const char *from, uint64_t generation, const struct backup_report *report,
                  uint64_t *out_faults, struct keel_error *err) K_CHECKED;

/* ---- restore ---- */

#define BACKUP_NO_MOMENT INT64_MAX

struct restore_options {
    const char *from;
    uint64_t generation; /* 0: the newest, or the one that fits until_ms                       */
    int64_t until_ms;    /* only what came up to this moment; BACKUP_NO_MOMENT: all            */
    const char *dir;     /* absent or empty                                                    */
    const struct backup_report *report; /* damaged files, all of them; or NULL                 */
};

struct restored {
    uint64_t generation, files, bytes;
    int64_t received_from_ms; /* how exactly `until` was met: events acknowledged up to the      */
    int64_t received_to_ms;   /* first are in, those received behind the second are not          */
    bool cut;                 /* the journal was cut                                            */
    bool joined;              /* journals of later generations went on from its own             */
};

/* With until_ms, the oldest generation that was made at or behind it and whose journal reaches
 * back to it is cut there: to STORE_CLOCK_MS. If there is none, the newest one made before it goes
 * on with the journals of later ones, and is cut; desk.db and archive/ are then those of the last
 * of these. Where the journals have a gap, or nothing later was saved, it ends there, and
 * received_to_ms says what that means.
 * keel.db gets its name last: before that the folder is no data directory. KEEL_E_CORRUPT: the
 * report has every damaged file, what was written is removed. */
int backup_restore(const struct restore_options *options, struct restored *out,
                   struct keel_error *err) K_CHECKED;
