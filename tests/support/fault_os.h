/* An operating system that fails on demand, and a disk that forgets.
 *
 * Two tools for tests of code that keeps its files through base/os.h. Both are a `struct os` table
 * over the real one; the code under test works on real files and notices nothing.
 *
 * FAULTS: the n-th call of a kind fails, once or from then on; reads and writes are cut short;
 * calls are interrupted or delayed.
 *
 *     fault_start();
 *     fault_fail(FAULT_FDATASYNC, 3, EIO, FAULT_ONCE);
 *     ... run the code ...
 *     n = fault_calls(FAULT_FDATASYNC);
 *     fault_stop();
 *
 *   "Every fallible call fails once": run the code with fault_fail(FAULT_ANY, n, EIO, FAULT_ONCE)
 * for n = 1, 2, ... until fault_fired() is false.
 *
 * MODEL DISK: records what is done to the files below one folder and then builds, in a fresh
 * folder, the states in which a power cut could have left it.
 *
 *     struct disk *disk = disk_start(dir);        what is in dir now counts as durable
 *     ... run the code; disk_mark(disk, n) whenever something was promised ...
 *     disk_stop(disk);
 *     states = disk_crash_states(disk, scratch, &plan, visit, ctx);   visit recovers and checks
 *     disk_free(disk);
 *
 *   A crash is tried behind every recorded call. What was synced by then is there. Of what was not,
 *   the states are, in turn:
 *     - all lost; nothing lost; each call alone lost; each alone kept; each prefix kept;
 *     - each write torn at each multiple of 512 bytes (which includes those of 4 KiB): its front or
 *       its rear reached the disk, with all other calls kept, or with the later ones lost; a random
 *       choice of its sectors reached it;
 *     - each write that made the file longer: the new size reached the disk and the bytes did not;
 *     - all names and sizes but no bytes; all bytes but no names;
 *     - `random` random choices of all this together.
 *   States that were seen before with the same mark are skipped.
 *
 *   Rules of the model, stricter than ext4: fsync and fdatasync make durable the bytes and the size
 *   of that file, not its name. A name (create, rename, unlink, mkdir) is durable when the folder
 *   was synced that it is in, after a rename that of the new name; a rename is one step. An
 *   injected failure of a sync loses for good the bytes that it should have made durable: later
 *   syncs succeed and do not bring them back, only writing the same bytes again does, as with
 *   Linux's page cache; names stay pending. Syncs are recorded and not passed on, so they cost
 *   nothing.
 *   Not modelled: writes through mappings, links, O_DIRECT, moves across the border of the folder,
 *   SQLite's files, which do not pass through base/os.h.
 *
 * Layers: base. Threads: the table may be called by many threads, a lock keeps the record in order;
 * all functions here belong to one. One disk records at a time; faults work while it does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/os.h"

/* ---- faults ---- */

enum fault_call {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FSYNC,
    FAULT_FDATASYNC,
    FAULT_FTRUNCATE,
    FAULT_FALLOCATE,
    FAULT_LSEEK,
    FAULT_FSTAT,
    FAULT_STAT,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_MKDIR,
    FAULT_FLOCK,
    FAULT_MMAP,
    FAULT_ANY, /* any of the above */
    FAULT_CALLS
};

enum fault_mode {
    FAULT_ONCE,
    FAULT_FOR_EVER, /* this call and every later one of the kind                           */
    FAULT_PARTLY,   /* once; a write puts down half of its bytes before it fails           */
};

void fault_start(void); /* installs the table; nothing fails yet, all counts are 0           */
void fault_stop(void);  /* the real table again                                              */

/* The n-th call (from 1) of the kind from now fails with errno_value. Replaces an earlier rule. */
void fault_fail(enum fault_call call, uint64_t n, int errno_value, enum fault_mode mode);
void fault_none(void);                      /* no rule, no short calls, no delay            */
bool fault_fired(void);                     /* the rule has struck                          */
uint64_t fault_calls(enum fault_call call); /* since fault_start or fault_fail              */
void fault_short(uint64_t seed);            /* reads and writes move a random part; 0: off  */
void fault_interrupt(unsigned every);       /* every n-th open, read, write, fallocate: EINTR */
void fault_delay(enum fault_call call, unsigned microseconds);
void fault_skip_sync(bool skip); /* syncs succeed and do nothing: for speed      */
/* A liar: FAULT_FSYNC or FAULT_FDATASYNC succeeds, and the model disk has not heard of it. To prove
 * that a test would notice. */
void fault_lie(enum fault_call call, bool lie);

/* ---- model disk ---- */

struct disk;

struct disk_plan {
    unsigned random; /* random states behind each call                                */
    uint64_t seed;   /* of these                                                      */
    unsigned every;  /* a crash behind each n-th call only; 0: each                   */
    unsigned cuts;   /* at most so many tearings of one write; 0: 8                   */
};

struct disk_state {
    const char *dir;  /* holds the files as the crash left them                            */
    const char *what; /* such as "all unsynced lost", for messages                         */
    size_t call;      /* crashed behind this recorded call                                 */
    uint64_t mark;    /* the last disk_mark before                                         */
    uint64_t number;  /* of the state, from 0                                              */
};

struct disk *disk_start(const char *dir); /* calls fault_start if nobody did                 */
void disk_mark(struct disk *disk, uint64_t mark);
void disk_stop(struct disk *disk); /* recording ends; the table stays                 */
void disk_free(struct disk *disk);
size_t disk_calls(const struct disk *disk);

/* Builds every state in the folder `scratch`, which it empties each time, and calls visit. Returns
 * how many there were. The table in use during visit is that of before. */
uint64_t disk_crash_states(struct disk *disk, const char *scratch, const struct disk_plan *plan,
                           void (*visit)(void *ctx, const struct disk_state *state), void *ctx);

/* ---- folders for tests ---- */

enum { TEMP_PATH_MAX = 128 };
void temp_make(char out[TEMP_PATH_MAX]); /* a fresh folder, in memory where the system has that */
void temp_remove(const char *path);      /* with all that is in it                              */
void temp_copy(const char *from, const char *to); /* a tree of files; `to` is emptied before    */
