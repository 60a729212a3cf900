/* Implementation of journal.h: group commit, replay, recovery. The format of files and records, and
 * the rule when a record is valid, stand in journal/file.h.
 *
 * WRITER. Appends gather in memory. One committing thread, the leader, takes all of it as a
 * *group*, writes it by one pwrite and syncs it by one fdatasync; whoever comes meanwhile queues
 * for the next group. The leader stamps every record of the group with durable_upto = the position
 * below which the journal was on disk before this write began: under durability "commit" the begin
 * of the group. A group that does not fit the file is split between records: the old file is synced
 * before the new one is made, so the existence of file F proves that everything below F was
 * durable. A *mark* is a record without content; it is written at the end of recovery and by close,
 * behind a sync, with durable_upto = its own position: it vouches for what lies before it.
 *
 * READER. Read records from the first position of the file that holds the wanted position; each
 * ends where the next begins; a file is done when the position equals the next file's name. Skip
 * what lies below the wanted position, and marks. (Who only reads, and the second pass of a
 * recovery, begin at the wanted position if a record stands there, as a close leaves one: checksums
 * know positions, so it can be nothing else.) At the first p without a valid record, decide:
 *
 *   1. A later file exists: damage. (It proves that p was durable.)
 *   2. The last file holds, at any multiple of 8 behind p, a valid record with durable_upto > p:
 *      damage. (It was written after p had been durable.)
 *   3. Otherwise p is the end: zero bytes, or a torn tail.
 *
 * Rule 3 is sound. Only the last group can have been unsynced when the machine died, so it alone
 * may be torn, and its writes reach the disk in any order: whole records of it may lie behind a
 * torn one. They all carry a durable_upto <= the begin of their group <= p, so they prove nothing
 * and are dropped with the rest: their commit never returned. Under "interval" the unsynced range
 * spans several groups, and again none of them vouches for another. Conversely rule 2 cannot accuse
 * a mere crash: a durable_upto > p was written only after the sync of p had succeeded. What rule 3
 * cannot see: bits that rot in the very last group before anything was written behind it, without a
 * clean close. They look like a torn write.
 *
 * RECOVERY (writable open), after reading up to the end e:
 *   1. Overwrite what is left of the torn tail with zeros: a record left there would become valid
 *      again when the new ones happened to end exactly at its position.
 *   2. Write the records that nothing vouches for once more, the same bytes in place. After a
 * failed fdatasync Linux drops the dirty state of pages but keeps serving them from its cache: what
 *      was read may be nowhere on disk, and a sync alone would report success.
 *   3. fdatasync; then, unless the last record is a mark, append one and fdatasync.
 *   4. fsync the folder: the rename of the last file may not have been durable when its maker died.
 * Only then are the records handed to the caller, in a second pass over the files: what it does
 * with them (a flush notes positions in the manifest) may rest on them. The second reading costs
 * 0.1 s a gigabyte, from the page cache.
 *
 * A crash in 1 .. 3 leaves no valid record at e, and before it the same bytes as before: recovery
 * is idempotent. Step 2 covers the last mark, too: what is appended behind it will vouch for it.
 *
 * FULL DISK. A write or a new file that finds no room (ENOSPC, EDQUOT) has lost nothing: what could
 * not be written is still in `out`, and no sync has failed. The journal is *stalled*: who waits
 * gets the error and so acknowledges nothing, appends are refused, and the same bytes are written
 * to the same positions when it is tried again: by the timer, or by whoever commits. What a short
 * write left in the file is overwritten with what it was. A new file that was not finished had no
 * name and is made from the start. A failed sync, whatever its reason, fails the journal for ever:
 * the kernel may have dropped what it could not write.
 *
 * All of this takes for granted that a disk writes sectors of 512 bytes whole: the first sector of
 * a group also holds the end of the group before it.
 *
 * THREADS. `mutex` guards the fields that say so. The leader owns, without the lock, `out` and what
 * is written of it, and the current file (fd, path, file_first, file_bytes, synced); `leading` is
 * the baton. `trim_mutex`
 * keeps two trims apart and is taken before `mutex`. A committing thread waits on turn[group of its
 * record & 1]: the end of a group wakes all of its own and one of the next, who leads. One
 * condition for all would wake 64 threads for each group.
 *
 * Layers: base, journal/file.h.
 */
#include "store/journal/journal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/os.h"
#include "base/thread.h"
#include "store/journal/file.h"
#include "store/journal/notes.h"

enum {
    FILE_BYTES_LEAST = 4096,
    INTERVAL_MS_DEFAULT = 1000,
    STALL_MS = 500, /* between two looks for room on a full disk */
};

_Static_assert(JOURNAL_MAX_PENDING >= JOURNAL_RECORD_BYTES + JOURNAL_MAX_PAYLOAD,
               "any record fits");

/* ---- replay ---- */

struct replay {
    const char *dir;
    const uint8_t *store_id;
    uint64_t from;
    bool brief; /* what lies before `from` need not be read */
    journal_replay call;
    void *ctx;
    struct journal_window window; /* the file being read; at the end the last one, open     */
    bool window_open;
    uint64_t end;     /* behind the last valid record                           */
    uint64_t vouched; /* everything below was durable                           */
    uint64_t mark;    /* end of the last mark                                   */
    uint64_t dirty;   /* offset behind the torn tail, 0 if there is none        */
};

static int damaged(const struct journal_window *w, uint64_t position, const char *why,
                   struct keel_error *err) {
    FAIL(err, CORRUPT,
         "journal file %s is damaged at byte %" PRIu64 " (position %" PRIu64
         "): %s; run keel doctor, then restore a backup",
         w->path, journal_offset(w, position), position, why);
}

static int replay_record(struct replay *r, const struct journal_found *found,
                         struct keel_error *err) {
    const struct journal_record *record = &found->record;
    if (record->position < r->from && record->end > r->from)
        FAIL(err, INVALID, "position %" PRIu64 " is inside the record at byte %" PRIu64 " of %s",
             r->from, journal_offset(&r->window, record->position), r->window.path);
    if (found->durable_upto > r->vouched) r->vouched = found->durable_upto;
    r->end = record->end;
    if (record->kind == JOURNAL_KIND_MARK)
        r->mark = record->end;
    else if (record->position >= r->from && r->call)
        TRY(r->call(r->ctx, record, err));
    return 0;
}

/* At r->end of the last file there is no valid record: 0 if that is the end of the journal, 1 if
 * there is one now (a writer beside us wrote it), or the error that names the damage. */
static int judge_tail(struct replay *r, struct keel_error *err) {
    struct journal_found found;
    uint64_t proof = 0;
    int got = journal_find_record(&r->window, r->end, r->end + 1, &proof, &r->dirty, err);
    if (got <= 0) return got;
    r->window.n = 0; /* what was read before the proof may be older than it */
    got = journal_record_at(&r->window, r->end, &found, err);
    if (got != 0) return got;
    return damaged(&r->window, r->end, "a record that was durable cannot be read", err);
}

/* Replays the file that ends at position `limit`, UINT64_MAX for the last one. */
static int replay_file(struct replay *r, uint64_t limit, struct keel_error *err) {
    struct journal_found found;
    for (;;) {
        if (r->end == limit) return 0;
        int got = journal_record_at(&r->window, r->end, &found, err);
        if (got == 0 && limit == UINT64_MAX) {
            got = judge_tail(r, err);
            if (got <= 0) return got;
            continue;
        }
        if (got < 0) return got;
        if (got == 0)
            return damaged(&r->window, r->end, "a record is missing before the next file", err);
        if (found.record.end > limit)
            return damaged(&r->window, r->end, "a record reaches into the next file", err);
        TRY(replay_record(r, &found, err));
    }
}

/* Where reading a file begins: at `from` if there is a record, else at its first position. That
 * everything below `from` is durable, it was noted elsewhere for. */
static int begin_file(struct replay *r, uint64_t first, struct keel_error *err) {
    struct journal_found found;
    r->end = first;
    if (!r->brief || r->from <= first) return 0;
    int got = journal_record_at(&r->window, r->from, &found, err);
    if (got == 1) r->end = r->from;
    return got < 0 ? got : 0;
}

/* Replays up to position `limit`, UINT64_MAX for all there is. Leaves the last file open in
 * r->window. */
static int replay_all(struct replay *r, const struct journal_list *files, uint64_t limit,
                      bool writable, struct keel_error *err) {
    size_t i = files->n - 1;
    while (i > 0 && files->first[i] > r->from) i--;
    if (files->first[i] > r->from)
        FAIL(err, CORRUPT,
             "journal files of %s are missing: changes from position %" PRIu64
             " are needed, the oldest file begins at %" PRIu64,
             r->dir, r->from, files->first[i]);
    for (; i < files->n; i++) {
        bool last = i + 1 == files->n;
        if (r->window_open) journal_window_close(&r->window);
        r->window_open = false;
        TRY(journal_window_open(&r->window, r->dir, files->first[i], writable && last, err));
        r->window_open = true;
        TRY(journal_check_header(&r->window, r->store_id, NULL, err));
        r->window.store_seed = journal_store_seed(r->store_id);
        TRY(begin_file(r, files->first[i], err));
        if (r->vouched < r->end) r->vouched = r->end;
        TRY(replay_file(r, last ? limit : files->first[i + 1], err));
    }
    if (r->end < r->from)
        FAIL(err, CORRUPT,
             "journal file %s ends at byte %" PRIu64 " (position %" PRIu64
             "), but the store holds changes up to position %" PRIu64,
             r->window.path, journal_offset(&r->window, r->end), r->end, r->from);
    return 0;
}

/* ---- the journal ---- */

struct journal {
    char *dir;
    uint8_t store_id[JOURNAL_ID_BYTES];
    uint64_t store_seed;
    struct journal_options options;

    pthread_mutex_t mutex;
    pthread_cond_t turn[2];    /* commits, by the parity of the group they wait for         */
    pthread_cond_t room;       /* appends that wait for room                                */
    struct buf fill;           /* mutex: records appended, not yet taken by a leader        */
    uint64_t end;              /* mutex: behind the last record of fill                     */
    uint64_t written, durable; /* mutex: below these with the kernel, on disk               */
    uint64_t flight_end;       /* mutex: end of the group that a leader has taken last      */
    uint64_t group;            /* mutex: its number                                         */
    bool leading;              /* mutex: somebody owns the fields of the leader             */
    bool failed;               /* mutex: for ever                                           */
    bool stalled;              /* mutex: the disk is full; `out` still waits to be written  */
    uint64_t stalls;           /* mutex: how often a write found no room                    */
    struct keel_error failure; /* mutex: why failed, or stalled                             */
    struct journal_list files; /* mutex                                                     */
    uint64_t holds[JOURNAL_FOLLOWERS]; /* mutex: where followers stand                      */
    uint64_t noted_hold;               /* trim_mutex: what DIR/journal/hold says            */
    struct journal_notes backups;      /* mutex                                             */

    struct buf out;      /* leader: the group being written                                  */
    size_t out_done;     /* leader: so many bytes of it are with the kernel                  */
    size_t out_stamped;  /* leader: so many behind them are stamped for this file            */
    uint64_t out_at;     /* leader: position of the first that is not with the kernel        */
    int fd;              /* leader: the last file, -1 if read only                           */
    uint64_t file_first; /* leader: its first position                                       */
    uint64_t file_bytes; /* leader: its preallocated size                                    */
    uint64_t synced;     /* leader: below this on disk                                       */
    uint64_t mark;       /* leader: end of the last mark                                     */
    char path[JOURNAL_PATH_BYTES];

    pthread_mutex_t trim_mutex; /* one trim at a time                                        */
    pthread_t timer;            /* see run_timer                                             */
    pthread_cond_t timer_wake;
    bool timer_runs;
    bool timer_stop; /* mutex                                                                */
};

/* Stamps whole records at p, up to n bytes, and returns how many bytes of them fit the current
 * file. An empty file takes at least one: a record larger than a file makes it longer. Append left
 * the sum of the payload in the place of the checksum. */
static size_t stamp_records(const struct journal *j, uint8_t *p, size_t n, uint64_t position) {
    size_t taken = 0;
    while (taken < n) {
        struct journal_record_header h;
        memcpy(&h, p + taken, sizeof h);
        uint64_t at = position + taken, size = journal_record_bytes(&h);
        bool fits = JOURNAL_HEADER_BYTES + (at - j->file_first) + size <= j->file_bytes;
        if (!fits && at != j->file_first) break;
        h.durable_upto = j->synced;
        h.checksum = journal_record_checksum(&h, h.checksum, j->store_seed, at);
        memcpy(p + taken, &h, sizeof h);
        taken += (size_t)size;
    }
    return taken;
}

/* Goes on in a new file that begins at `position`. Everything below is synced first: the existence
 * of the new file says so. */
static int roll(struct journal *j, uint64_t position, struct keel_error *err) {
    if (j->synced < position) TRY(file_sync_data(j->fd, j->path, err));
    j->synced = position;
    pthread_mutex_lock(&j->mutex);
    int code = journal_list_reserve(&j->files, err);
    pthread_mutex_unlock(&j->mutex);
    if (code < 0) return code;
    int fd;
    TRY(journal_make_file(j->dir, position, j->options.file_bytes, j->store_id, &fd, err));
    file_close(j->fd);
    j->fd = fd;
    j->file_first = position;
    j->file_bytes = j->options.file_bytes;
    journal_file_path(j->path, j->dir, position);
    pthread_mutex_lock(&j->mutex);
    j->files.first[j->files.n++] = position;
    pthread_mutex_unlock(&j->mutex);
    return 0;
}

/* Writes what is left of j->out. Where there is no room it can be called again: see FULL DISK. */
static int write_group(struct journal *j, struct keel_error *err) {
    while (j->out_done < j->out.n) {
        uint8_t *p = j->out.p + j->out_done;
        if (!j->out_stamped)
            j->out_stamped = stamp_records(j, p, j->out.n - j->out_done, j->out_at);
        size_t n = j->out_stamped;
        if (n == 0) {
            TRY(roll(j, j->out_at, err));
            continue;
        }
        uint64_t offset = JOURNAL_HEADER_BYTES + (j->out_at - j->file_first);
        TRY(file_pwrite_all(j->fd, p, n, offset, j->path, err));
        j->out_done += n;
        j->out_at += n;
        j->out_stamped = 0;
    }
    return 0;
}

/* A mark behind everything, all of which is durable. Leader, or alone. */
static int write_mark(struct journal *j, uint64_t position, struct keel_error *err) {
    struct journal_record_header h = {.durable_upto = position, .kind = JOURNAL_KIND_MARK};
    h.checksum =
        journal_record_checksum(&h, journal_payload_sum((struct str){0}), j->store_seed, position);
    uint64_t offset = JOURNAL_HEADER_BYTES + (position - j->file_first);
    TRY(file_pwrite_all(j->fd, &h, sizeof h, offset, j->path, err));
    TRY(file_sync_data(j->fd, j->path, err));
    j->mark = j->synced = position + JOURNAL_RECORD_BYTES;
    return 0;
}

/* mutex held, nothing is stalled. */
static void take_group(struct journal *j) {
    struct buf taken = j->fill;
    j->fill = j->out;
    buf_clear(&j->fill);
    j->out = taken;
    j->out_done = j->out_stamped = 0;
    j->out_at = j->end - taken.n;
    j->group++;
    j->flight_end = j->end;
    pthread_cond_broadcast(&j->room);
}

/* mutex held. Everybody who waits gets the error. */
static void end_group_badly(struct journal *j, const struct keel_error *why) {
    j->failure = *why;
    if (why->code == -KEEL_E_NO_SPACE) {
        j->stalled = true;
        j->stalls++;
        pthread_cond_signal(&j->timer_wake);
    } else {
        j->failed = true;
    }
    pthread_cond_broadcast(&j->turn[(j->group + 1) & 1]);
}

/* mutex held, nobody leads, not failed. Writes all that is pending as one group, and syncs; or what
 * a full disk has left of the last one. */
static void lead(struct journal *j, bool sync) {
    if (!j->stalled) take_group(j);
    uint64_t end = j->flight_end;
    j->leading = true;
    pthread_mutex_unlock(&j->mutex);

    struct keel_error why = {0};
    int code = write_group(j, &why);
    if (code == 0 && sync && j->synced < end) {
        code = file_sync_data(j->fd, j->path, &why);
        if (code == 0) j->synced = end;
    }

    pthread_mutex_lock(&j->mutex);
    j->leading = false;
    j->durable = j->synced;
    if (code == 0) {
        j->written = end;
        j->stalled = false;
        pthread_cond_signal(&j->turn[(j->group + 1) & 1]);
    } else {
        end_group_badly(j, &why);
    }
    pthread_cond_broadcast(&j->turn[j->group & 1]);
    pthread_cond_broadcast(&j->room);
}

static int return_failure(const struct journal *j, struct keel_error *err) {
    if (err) *err = j->failure;
    return j->failure.code;
}

/* mutex held. Waits until everything below `end` is written (and synced), leading where nobody
 * does. Where there is no room, each call tries once. */
static int reach(struct journal *j, uint64_t end, bool sync, struct keel_error *err) {
    uint64_t stalls = j->stalls;
    K_ASSERT_OP(end, <=, j->end);
    while ((sync ? j->durable : j->written) < end) {
        if (j->failed || j->stalls != stalls) return return_failure(j, err);
        if (!j->leading)
            lead(j, sync);
        else
            pthread_cond_wait(&j->turn[(end <= j->flight_end ? j->group : j->group + 1) & 1],
                              &j->mutex);
    }
    return 0;
}

static int reach_locking(struct journal *j, uint64_t end, bool sync, struct keel_error *err) {
    pthread_mutex_lock(&j->mutex);
    int code = reach(j, end, sync, err);
    pthread_mutex_unlock(&j->mutex);
    return code;
}

static bool syncs_commits(const struct journal *j) {
    return j->options.durability == JOURNAL_DURABLE_COMMIT;
}

int journal_commit(struct journal *j, uint64_t end_position, struct keel_error *err) {
    return reach_locking(j, end_position, syncs_commits(j), err);
}

int journal_sync(struct journal *j, uint64_t end_position, struct keel_error *err) {
    return reach_locking(j, end_position, true, err);
}

/* mutex held. Room for `bytes` more in fill. */
static int make_room(struct journal *j, size_t bytes, struct keel_error *err) {
    while (!j->failed && !j->stalled && j->fill.n + bytes > JOURNAL_MAX_PENDING) {
        if (j->leading)
            pthread_cond_wait(&j->room, &j->mutex);
        else
            lead(j, syncs_commits(j));
    }
    if (j->failed || j->stalled) return return_failure(j, err);
    if (buf_reserve(&j->fill, bytes) < 0) {
        j->fill.failed = 0;
        FAIL(err, NO_MEMORY, "no memory for a journal record of %zu bytes", bytes);
    }
    return 0;
}

int journal_append(struct journal *j, unsigned kind, struct str payload, uint64_t *out_end,
                   struct keel_error *err) {
    K_ASSERT(kind >= 1 && kind <= JOURNAL_MAX_KIND);
    if (j->options.read_only)
        FAIL(err, INVALID, "the journal of %s is open for reading only", j->dir);
    if (payload.n > JOURNAL_MAX_PAYLOAD)
        FAIL(err, LIMIT, "a journal record of %zu bytes is larger than %d", payload.n,
             JOURNAL_MAX_PAYLOAD);
    struct journal_record_header h = {.length = (uint32_t)payload.n, .kind = (uint16_t)kind};
    size_t bytes = (size_t)journal_record_bytes(&h),
           padding = bytes - JOURNAL_RECORD_BYTES - payload.n;
    h.checksum = journal_payload_sum(payload); /* stamp_records makes it the record's */

    pthread_mutex_lock(&j->mutex);
    int code = make_room(j, bytes, err);
    if (code == 0) {
        uint8_t *p = j->fill.p + j->fill.n;
        memcpy(p, &h, sizeof h);
        if (payload.n) memcpy(p + JOURNAL_RECORD_BYTES, payload.p, payload.n);
        memset(p + JOURNAL_RECORD_BYTES + payload.n, 0, padding);
        j->fill.n += bytes;
        j->end += bytes;
        *out_end = j->end;
    }
    pthread_mutex_unlock(&j->mutex);
    return code;
}

/* mutex held. True: its time has come. False: look again. */
static bool timer_waits(struct journal *j) {
    bool stalled = j->stalled, signalled = true;
    int64_t pause_ms = stalled ? STALL_MS : (int64_t)j->options.interval_ms;
    int64_t until_us = monotonic_us() + pause_ms * 1000;
    while (!j->timer_stop && j->stalled == stalled && signalled) {
        if (!stalled && syncs_commits(j))
            pthread_cond_wait(&j->timer_wake, &j->mutex);
        else
            signalled = cond_wait_until(&j->timer_wake, &j->mutex, until_us);
    }
    return !signalled;
}

/* Syncs what "interval" commits left behind, and tries again where there was no room: who is to
 * send again may wait for us to be ready. A failure waits in j->failure for the next caller. */
static void *run_timer(void *arg) {
    struct journal *j = arg;
    pthread_mutex_lock(&j->mutex);
    while (!j->timer_stop)
        if (timer_waits(j) && !j->timer_stop && !j->failed) (void)reach(j, j->end, true, NULL);
    pthread_mutex_unlock(&j->mutex);
    return NULL;
}

/* mutex held. */
static uint64_t held_position(const struct journal *j, uint64_t position) {
    uint64_t furthest = j->end > JOURNAL_HOLD_BYTES ? j->end - JOURNAL_HOLD_BYTES : 0;
    for (int i = 0; i < JOURNAL_FOLLOWERS; i++) {
        uint64_t hold = j->holds[i] > furthest ? j->holds[i] : furthest;
        if (hold < position) position = hold;
    }
    uint64_t backups = journal_notes_hold(&j->backups, j->end);
    return backups < position ? backups : position;
}

int journal_trim(struct journal *j, uint64_t position, struct keel_error *err) {
    if (j->options.read_only)
        FAIL(err, INVALID, "the journal of %s is open for reading only", j->dir);
    char path[JOURNAL_PATH_BYTES], folder[JOURNAL_PATH_BYTES];
    journal_folder_path(folder, j->dir);
    int code = 0;
    pthread_mutex_lock(&j->trim_mutex);
    pthread_mutex_lock(&j->mutex);
    position = held_position(j, position);
    while (code == 0 && j->files.n > 1 && j->files.first[1] <= position) {
        journal_file_path(path, j->dir, j->files.first[0]);
        pthread_mutex_unlock(&j->mutex);
        /* One by one: what is left after a crash has no gap. */
        code = file_remove(path, err);
        if (code == 0) code = file_sync_dir(folder, err);
        pthread_mutex_lock(&j->mutex);
        if (code == 0) {
            j->files.n--;
            memmove(j->files.first, j->files.first + 1, j->files.n * sizeof *j->files.first);
        }
    }
    pthread_mutex_unlock(&j->mutex);
    pthread_mutex_unlock(&j->trim_mutex);
    return code;
}

/* ---- followers ---- */

static void hold_path(const struct journal *j, char out[JOURNAL_PATH_BYTES]) {
    snprintf(out, JOURNAL_PATH_BYTES, "%s/journal/hold", j->dir);
}

/* A note that cannot be read holds everything: better too much than too little. */
static void load_hold(struct journal *j) {
    char path[JOURNAL_PATH_BYTES];
    struct buf text;
    uint64_t position = 0;
    for (int i = 0; i < JOURNAL_FOLLOWERS; i++) j->holds[i] = JOURNAL_NO_HOLD;
    j->noted_hold = JOURNAL_NO_HOLD;
    journal_notes_read(j->dir, &j->backups);
    hold_path(j, path);
    if (!file_exists(path)) return;
    buf_init(&text, 64);
    if (file_read(path, &text, NULL) < 0 || !str_to_u64(buf_str(&text), &position)) position = 0;
    buf_release(&text);
    j->noted_hold = j->holds[JOURNAL_FOLLOWER_WEBHOOKS] = position;
}

static int write_hold(const struct journal *j, uint64_t position, struct keel_error *err) {
    char path[JOURNAL_PATH_BYTES], fresh[JOURNAL_PATH_BYTES], text[32];
    int fd;
    hold_path(j, path);
    if (position == JOURNAL_NO_HOLD) return file_remove(path, err);
    snprintf(fresh, sizeof fresh, "%s/journal/hold.new", j->dir);
    int n = snprintf(text, sizeof text, "%" PRIu64, position);
    TRY(file_open(fresh, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &fd, err));
    int code = file_write_all(fd, text, (size_t)n, fresh, err);
    if (code == 0) code = file_sync(fd, fresh, err);
    file_close(fd);
    return code < 0 ? code : file_rename(fresh, path, err);
}

int journal_hold(struct journal *j, enum journal_follower who, uint64_t position,
                 struct keel_error *err) {
    int code = 0;
    pthread_mutex_lock(&j->trim_mutex); /* a trim under way ends before */
    pthread_mutex_lock(&j->mutex);
    j->holds[who] = position;
    uint64_t file = position;
    for (size_t i = 0; i < j->files.n && position != JOURNAL_NO_HOLD; i++)
        if (i == 0 || j->files.first[i] <= position) file = j->files.first[i];
    pthread_mutex_unlock(&j->mutex);
    if (who == JOURNAL_FOLLOWER_WEBHOOKS && file != j->noted_hold && !j->options.read_only) {
        code = write_hold(j, file, err);
        if (code == 0) j->noted_hold = file;
    }
    pthread_mutex_unlock(&j->trim_mutex);
    return code;
}

int journal_note_backup(const char *dir, const char *folder, uint64_t position, uint64_t bytes,
                        struct keel_error *err) {
    struct journal_notes notes;
    journal_notes_read(dir, &notes);
    journal_notes_set(&notes, folder, position, bytes);
    int code = journal_notes_write(dir, &notes, err);
    journal_notes_release(&notes);
    return code;
}

int journal_hold_backup(struct journal *j, const char *folder, uint64_t position, uint64_t bytes,
                        struct keel_error *err) {
    pthread_mutex_lock(&j->trim_mutex); /* a trim under way ends before */
    int code = journal_note_backup(j->dir, folder, position, bytes, err);
    pthread_mutex_lock(&j->mutex);
    journal_notes_set(&j->backups, folder, position, bytes);
    pthread_mutex_unlock(&j->mutex);
    pthread_mutex_unlock(&j->trim_mutex);
    return code;
}

uint64_t journal_position(struct journal *j) {
    pthread_mutex_lock(&j->mutex);
    uint64_t end = j->end;
    pthread_mutex_unlock(&j->mutex);
    return end;
}

uint64_t journal_durable(struct journal *j) {
    pthread_mutex_lock(&j->mutex);
    uint64_t durable = j->durable;
    pthread_mutex_unlock(&j->mutex);
    return durable;
}

uint64_t journal_first(struct journal *j) {
    pthread_mutex_lock(&j->mutex);
    uint64_t first = j->files.first[0];
    pthread_mutex_unlock(&j->mutex);
    return first;
}

int journal_stalled(struct journal *j, struct keel_error *err) {
    pthread_mutex_lock(&j->mutex);
    int code = j->stalled && !j->failed ? return_failure(j, err) : 0;
    pthread_mutex_unlock(&j->mutex);
    return code;
}

bool journal_failed(struct journal *j) {
    pthread_mutex_lock(&j->mutex);
    bool failed = j->failed;
    pthread_mutex_unlock(&j->mutex);
    return failed;
}

/* ---- open and close ---- */

/* RECOVERY 1 and 2: zeros over the torn tail, the records that nothing vouches for once more. */
static int rewrite_tail(struct replay *r, struct keel_error *err) {
    struct journal_window *w = &r->window;
    static const uint8_t zeros[JOURNAL_WINDOW_BYTES];
    uint64_t end = journal_offset(w, r->end);
    for (uint64_t at = end; at < r->dirty;) {
        size_t n = r->dirty - at < sizeof zeros ? (size_t)(r->dirty - at) : sizeof zeros;
        TRY(file_pwrite_all(w->fd, zeros, n, at, w->path, err));
        at += n;
    }
    for (uint64_t at = journal_offset(w, r->vouched); at < end;) {
        const uint8_t *p;
        size_t n = end - at < JOURNAL_WINDOW_BYTES ? (size_t)(end - at) : JOURNAL_WINDOW_BYTES;
        int got = journal_window_at(w, at, n, &p, err);
        if (got < 0) return got;
        K_ASSERT(p != NULL); /* it was read a moment ago */
        TRY(file_pwrite_all(w->fd, p, n, at, w->path, err));
        at += n;
    }
    if (r->vouched == r->end && r->dirty == 0) return 0;
    return file_sync_data(w->fd, w->path, err);
}

/* The journal takes over the last file as the replay left it, and repairs its tail. */
static int take_over(struct journal *j, struct replay *r, struct keel_error *err) {
    char folder[JOURNAL_PATH_BYTES];
    journal_folder_path(folder, j->dir);
    TRY(rewrite_tail(r, err));
    TRY(file_sync_dir(folder, err));
    j->file_first = r->window.first;
    j->file_bytes = r->window.file_bytes;
    j->mark = r->mark;
    memcpy(j->path, r->window.path, sizeof j->path);
    j->fd = r->window.fd;
    r->window.fd = -1;
    bool vouched = r->end == r->mark || r->end == r->window.first;
    return vouched ? 0 : write_mark(j, r->end, err);
}

static int begin_journal(struct journal *j, uint64_t first, struct keel_error *err) {
    char folder[JOURNAL_PATH_BYTES];
    journal_folder_path(folder, j->dir);
    TRY(file_make_dir(folder, err));
    TRY(file_sync_dir(j->dir, err));
    int fd;
    TRY(journal_list_reserve(&j->files, err));
    TRY(journal_make_file(j->dir, first, j->options.file_bytes, j->store_id, &fd, err));
    file_close(fd);
    j->files.first[j->files.n++] = first;
    return 0;
}

static int recover(struct journal *j, struct replay *r, struct keel_error *err) {
    bool writable = !j->options.read_only;
    TRY(journal_list_read(j->dir, writable, &j->files, err));
    if (j->files.n == 0) {
        if (!j->options.create || !writable)
            FAIL(err, CORRUPT,
                 "%s/journal has no journal files: changes from position %" PRIu64
                 " on are missing",
                 j->dir, r->from);
        TRY(begin_journal(j, r->from, err));
    }
    TRY(replay_all(r, &j->files, UINT64_MAX, writable, err));
    j->synced = r->end;
    if (writable) TRY(take_over(j, r, err));
    j->end = j->written = j->durable = j->flight_end = j->synced;
    return 0;
}

/* The second pass. The caller may trim the journal meanwhile: from a copy of the list, and up to
 * where the first pass came, as another process may be writing. */
static int hand_over(struct journal *j, struct replay *r, struct keel_error *err) {
    struct journal_list files = {.first = k_alloc_array(j->files.n, sizeof *files.first),
                                 .n = j->files.n};
    memcpy(files.first, j->files.first, files.n * sizeof *files.first);
    int code = replay_all(r, &files, j->end, false, err);
    k_free(files.first);
    return code;
}

static int check_options(const char *dir, const struct journal_options *in,
                         struct journal_options *out, struct keel_error *err) {
    *out = in ? *in : (struct journal_options){0};
    if (out->interval_ms == 0) out->interval_ms = INTERVAL_MS_DEFAULT;
    if (out->file_bytes == 0) out->file_bytes = JOURNAL_FILE_BYTES;
    if (out->file_bytes < FILE_BYTES_LEAST || out->file_bytes > JOURNAL_FILE_BYTES_MOST)
        FAIL(err, INVALID, "a journal file has %d bytes to %d, not %" PRIu64, FILE_BYTES_LEAST,
             JOURNAL_FILE_BYTES_MOST, out->file_bytes);
    out->file_bytes = journal_padded(out->file_bytes);
    if (strlen(dir) > JOURNAL_DIR_BYTES_MOST)
        FAIL(err, INVALID, "the path of the data folder is too long");
    return 0;
}

static int start_timer(struct journal *j, struct keel_error *err) {
    int code = pthread_create(&j->timer, NULL, run_timer, j);
    if (code) return error_errno(err, code, "cannot start the journal's timer");
    j->timer_runs = true;
    return 0;
}

static struct journal *new_journal(const char *dir, const uint8_t *store_id) {
    struct journal *j = k_zalloc(sizeof *j);
    j->dir = k_strdup(dir);
    j->fd = -1;
    memcpy(j->store_id, store_id, JOURNAL_ID_BYTES);
    j->store_seed = journal_store_seed(store_id);
    buf_init(&j->fill, JOURNAL_MAX_PENDING);
    buf_init(&j->out, JOURNAL_MAX_PENDING);
    pthread_mutex_init(&j->mutex, NULL);
    pthread_mutex_init(&j->trim_mutex, NULL);
    pthread_cond_init(&j->turn[0], NULL);
    pthread_cond_init(&j->turn[1], NULL);
    pthread_cond_init(&j->room, NULL);
    cond_init_timed(&j->timer_wake);
    return j;
}

static void free_journal(struct journal *j) {
    file_close(j->fd);
    buf_release(&j->fill);
    buf_release(&j->out);
    k_free(j->files.first);
    journal_notes_release(&j->backups);
    pthread_mutex_destroy(&j->mutex);
    pthread_mutex_destroy(&j->trim_mutex);
    pthread_cond_destroy(&j->turn[0]);
    pthread_cond_destroy(&j->turn[1]);
    pthread_cond_destroy(&j->room);
    pthread_cond_destroy(&j->timer_wake);
    k_free(j->dir);
    k_free(j);
}

static int pass(struct journal *j,
                int (*step)(struct journal *, struct replay *, struct keel_error *), uint64_t from,
                journal_replay call, void *ctx, struct keel_error *err) {
    struct replay *r = k_zalloc(sizeof *r);
    *r = (struct replay){.dir = j->dir,
                         .store_id = j->store_id,
                         .from = from,
                         .brief = j->options.read_only || call,
                         .call = call,
                         .ctx = ctx};
    int code = step(j, r, err);
    if (r->window_open) journal_window_close(&r->window);
    k_free(r);
    return code;
}

int journal_open(const char *dir, const uint8_t store_id[JOURNAL_ID_BYTES], uint64_t from_position,
                 const struct journal_options *options, journal_replay replay, void *ctx,
                 struct journal **out_journal, struct keel_error *err) {
    struct journal_options checked;
    TRY(check_options(dir, options, &checked, err));
    struct journal *j = new_journal(dir, store_id);
    j->options = checked;
    load_hold(j);
    int code = pass(j, recover, from_position, NULL, NULL, err);
    *out_journal = j;
    if (code == 0 && replay) code = pass(j, hand_over, from_position, replay, ctx, err);
    if (code == 0 && !checked.read_only) code = start_timer(j, err);
    if (code < 0) {
        free_journal(j);
        *out_journal = NULL;
    }
    return code;
}

int journal_close(struct journal *j, struct keel_error *err) {
    if (!j) return 0;
    if (j->timer_runs) {
        pthread_mutex_lock(&j->mutex);
        j->timer_stop = true;
        pthread_cond_signal(&j->timer_wake);
        pthread_mutex_unlock(&j->mutex);
        pthread_join(j->timer, NULL);
    }
    int code = 0;
    if (!j->options.read_only) {
        code = j->failed ? return_failure(j, err) : reach_locking(j, j->end, true, err);
        if (code == 0 && j->end != j->mark && j->end != j->file_first)
            code = write_mark(j, j->end, err);
    }
    free_journal(j);
    return code;
}
