/* The write-ahead journal of a data directory: what was acknowledged is in it.
 *
 * A record is one batch of changes. It gets a *position*: a logical byte offset (u64) that grows
 * for ever over all files of the journal. A record occupies [position, end); the next one begins at
 * `end` or behind it (marks of the journal itself lie between). A position that the caller keeps,
 * such as "parts hold everything below", is always the `end` of a record, or the position that the
 * journal was created with.
 *
 * The promise: when journal_commit returned 0 under JOURNAL_DURABLE_COMMIT, the record survives any
 * crash and is replayed exactly once, in order. A record whose commit failed, or never returned, is
 * replayed whole or not at all.
 *
 * Format and validity rule: journal/file.h; reader and recovery: journal.c. Layers: base, xxHash.
 * Threads: append, commit, sync, trim and the position getters may be called by many threads at
 * once; open, close and check by one. One process writes a journal at a time: the caller holds the
 * lock of the data directory. Replay runs in the thread that opens.
 * Limits: payload 16 MiB; 32 MiB of records that wait to be written and 32 MiB being written:
 * journal_append blocks until there is room.
 */
#pragma once

#include "base/error.h"
#include "base/str.h"

enum {
    JOURNAL_MAX_PAYLOAD = 16 << 20,
    JOURNAL_MAX_PENDING = 32 << 20, /* bytes in memory before journal_append waits     */
    JOURNAL_FILE_BYTES = 64 << 20,  /* default size of one file                        */
    JOURNAL_MAX_KIND = 0xfeff,      /* kinds 1 .. here are the caller's; written to disk */
    JOURNAL_ID_BYTES = 16,
    JOURNAL_HOLD_BYTES = 1 << 30, /* what followers may keep from being trimmed, at most */
};

/* Who reads the journal behind the store's back, and so keeps files from being trimmed. */
enum journal_follower {
    JOURNAL_FOLLOWER_BACKUP,   /* while it copies: forgotten by a restart; then _hold_backup  */
    JOURNAL_FOLLOWER_WEBHOOKS, /* noted in DIR/journal/hold: holds in every process           */
    JOURNAL_FOLLOWERS
};
#define JOURNAL_NO_HOLD UINT64_MAX

enum journal_durability {
    JOURNAL_DURABLE_COMMIT = 0,   /* commit returns when the record is on disk               */
    JOURNAL_DURABLE_INTERVAL = 1, /* commit returns when the kernel has it; synced by a timer: a
                                     killed process loses nothing, a power cut the last interval */
};

struct journal_options {
    enum journal_durability durability;
    uint32_t interval_ms; /* of JOURNAL_DURABLE_INTERVAL; 0: 1000                               */
    uint64_t file_bytes;  /* preallocated per file, 4 KiB .. 1 GiB; 0: JOURNAL_FILE_BYTES. A record
                             that is larger has a file of its own.                              */
    bool create;          /* a folder without a journal: begin one at from_position. Otherwise it
                             is an error, because acknowledged changes would be missing.        */
    bool read_only;       /* for tools: nothing is created, cut or repaired; may run beside a
                             writer and then sees what was written so far                       */
};

struct journal_record {
    uint64_t position, end;
    unsigned kind;
    struct str payload; /* valid during the call only */
};

/* A negative result ends the replay and is returned by journal_open. */
typedef int (*journal_replay)(void *ctx, const struct journal_record *record,
                              struct keel_error *err);

struct journal;

/* Opens DIR/journal and replays every record from `from_position` on, in order. All of it has been
 * verified and made durable before the first is replayed, and *out_journal is set by then: the
 * caller may sync and trim meanwhile, not append. A torn tail, which only a crash can leave, is
 * cut. The error names file and offset, nothing is replayed and *out_journal is NULL when
 *   - a record is damaged that was durable (KEEL_E_CORRUPT);
 *   - files are missing, short, of another store, or of a newer format;
 *   - from_position is not the end of a record, or lies behind the end of the journal.
 * options NULL: all zero. replay NULL: records are only verified. */
int journal_open(const char *dir, const uint8_t store_id[JOURNAL_ID_BYTES], uint64_t from_position,
                 const struct journal_options *options, journal_replay replay, void *ctx,
                 struct journal **out_journal, struct keel_error *err) K_CHECKED;

/* Writes what is pending, makes it durable, frees. NULL is fine. The error is the one that failed
 * the journal, or that of the last write; the journal is freed either way. */
int journal_close(struct journal *j, struct keel_error *err);

/* Adds a record to what is pending; *out_end is its end position. The payload is copied. Records
 * lie in the order in which append took them. Nothing is promised before journal_commit.
 * KEEL_E_LIMIT: larger than JOURNAL_MAX_PAYLOAD; KEEL_E_NO_MEMORY: not appended, try again later.
 */
int journal_append(struct journal *j, unsigned kind, struct str payload, uint64_t *out_end,
                   struct keel_error *err) K_CHECKED;

/* Returns when everything below end_position is durable (or with the kernel, see durability).
 * Concurrent commits share one write and one fdatasync.
 *
 * A full disk stalls the journal: KEEL_E_NO_SPACE. What was appended waits in memory and is written
 * when there is room again, which is tried twice a second and by each commit; appends are refused
 * until then. A commit that failed so may be made again.
 *
 * Any other failed write, and any failed sync, makes the journal failed for ever: every later
 * append, and every commit and sync of what was not reached by then, returns the first error. What
 * was not acknowledged is unknown until the journal is opened again. */
int journal_commit(struct journal *j, uint64_t end_position, struct keel_error *err) K_CHECKED;

/* As journal_commit, and on disk whatever the durability: to be called before a position is written
 * down elsewhere, for example in the manifest. */
int journal_sync(struct journal *j, uint64_t end_position, struct keel_error *err) K_CHECKED;

/* Deletes the files that lie wholly below `position`, oldest first. The caller has made durable
 * elsewhere what they hold. An error leaves the journal usable. */
int journal_trim(struct journal *j, uint64_t position, struct keel_error *err) K_CHECKED;

/* From now on nothing at or behind `position` is trimmed, as long as it is not more than
 * JOURNAL_HOLD_BYTES behind the end; JOURNAL_NO_HOLD: let go. Of the webhooks, the file of the
 * position is noted on disk when it becomes another one; an older note only keeps more. */
int journal_hold(struct journal *j, enum journal_follower who, uint64_t position,
                 struct keel_error *err) K_CHECKED;

/* A backup in `folder` has all below `position`: what lies behind is kept for the next one there,
 * up to `bytes` behind the end (0: nothing is), so that it can be restored to any moment between
 * the two. Noted in DIR/journal/backups before it returns: holds in every process. */
int journal_hold_backup(struct journal *j, const char *folder, uint64_t position, uint64_t bytes,
                        struct keel_error *err) K_CHECKED;
/* The same for a journal that nobody has open for writing. */
int journal_note_backup(const char *dir, const char *folder, uint64_t position, uint64_t bytes,
                        struct keel_error *err) K_CHECKED;

uint64_t journal_position(struct journal *j); /* behind the last appended record            */
uint64_t journal_durable(struct journal *j);  /* everything below is on disk                */
uint64_t journal_first(struct journal *j);    /* of the oldest file: what is kept           */
bool journal_failed(struct journal *j);
/* KEEL_E_NO_SPACE: stalled, and why; or 0. */
int journal_stalled(struct journal *j, struct keel_error *err) K_CHECKED;

/* ---- keel doctor ---- */

enum journal_verdict {
    JOURNAL_FILE_GOOD = 0, /* one for each file: records, bytes, end                             */
    JOURNAL_TAIL_TORN = 1, /* left by a crash, was never acknowledged; the next open cuts it     */
    JOURNAL_DAMAGE = 2,    /* what was acknowledged cannot be read                               */
};

struct journal_finding {
    enum journal_verdict verdict;
    const char *path;
    uint64_t offset;     /* in the file: where the finding begins (GOOD: where its records end)  */
    uint64_t first, end; /* positions of the file's records                                     */
    uint64_t records, bytes; /* GOOD: without marks; bytes of payload                           */
    const char *text; /* one sentence                                                        */
};

/* Reads every header and every record of DIR/journal, goes on behind damage where it can, and
 * reports each file and each finding. store_id NULL: that of the oldest file.
 * 0: no damage; -KEEL_E_CORRUPT: damage, err has the first; other: could not be read. */
int journal_check(const char *dir, const uint8_t *store_id,
                  void (*report)(void *ctx, const struct journal_finding *finding), void *ctx,
                  struct keel_error *err) K_CHECKED;
