/* The journal after power cuts: every crash state of a scripted life, crashes during the recovery
 * from them, and kill -9 of a real process. The promise checked each time: what was acknowledged is
 * replayed exactly once, in order; what was not is there whole or not at all; opening twice gives
 * the same; a record appended afterwards follows, and nothing that was cut comes back.
 *
 * KEEL_SEED in the environment repeats a run. ctest: timeout=600
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "fault_os.h"
#include "store/journal/journal.h"

enum { IDS_MAX = 4096, FILE_BYTES = 4096 };

/* Crash states are many and slow under a sanitizer, which learns nothing new from most of them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CRASH_EVERY = 10 };
#else
enum { CRASH_EVERY = 1 };
#endif

static const uint8_t STORE[JOURNAL_ID_BYTES] = "journal-crash-01";

static uint64_t seed_of_run(void) {
    const char *set = getenv("KEEL_SEED");
    return set ? strtoull(set, NULL, 10) : 1;
}

/* The payload of record `id`: its number, then 0 .. 900 bytes that follow from it; each 29th is
 * larger than a file. Made once: they are compared millions of times. */
static struct str payload_of(uint64_t id) {
    static uint8_t *made[IDS_MAX];
    static size_t size[IDS_MAX];
    assert_true(id < IDS_MAX);
    if (!made[id]) {
        struct rand rand;
        rand_init(&rand, id * 77 + 5);
        size_t n = 8 + rand_below(&rand, rand_below(&rand, 3) ? 120 : 900);
        if (id % 29 == 28) n = 5000 + rand_below(&rand, 900);
        made[id] = k_alloc(n);
        memcpy(made[id], &id, 8);
        for (size_t k = 8; k < n; k++) made[id][k] = (uint8_t)rand_u64(&rand);
        size[id] = n;
    }
    return (struct str){(const char *)made[id], size[id]};
}

static unsigned kind_of(uint64_t id) { return 1 + (unsigned)(id % 1000); }

/* ---- replay into a list of numbers ---- */

struct ids {
    uint64_t id[IDS_MAX], end[IDS_MAX];
    size_t n;
    bool wrong; /* a payload that no append wrote */
};

static int collect(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct ids *ids = ctx;
    uint64_t id = UINT64_MAX;
    (void)err;
    if (record->payload.n >= 8) memcpy(&id, record->payload.p, 8);
    if (id >= IDS_MAX || !str_eq(payload_of(id), record->payload) || record->kind != kind_of(id) ||
        ids->n == IDS_MAX) {
        ids->wrong = true;
        return 0;
    }
    ids->id[ids->n] = id;
    ids->end[ids->n++] = record->end;
    return 0;
}

/* ---- what was promised ---- */

/* The state of the ledger at a moment: marks of the model disk are indexes of promises. */
struct promise {
    uint64_t acknowledged; /* records 0 .. this - 1 were acknowledged                     */
    uint64_t from;         /* position up to which the caller needs no replay ...         */
    uint64_t from_id;      /* ... which is where record from_id begins                    */
    bool created;          /* the journal had been created                                */
};

struct life {
    struct disk *disk;
    struct promise promises[IDS_MAX];
    size_t n_promises;
    struct promise now;
    uint64_t next; /* number of the next record to append */
    uint64_t end[IDS_MAX];
    struct journal *journal;
    struct journal_options options;
    char dir[TEMP_PATH_MAX];
};

static void promise(struct life *life) {
    assert_true(life->n_promises < IDS_MAX);
    life->promises[life->n_promises] = life->now;
    disk_mark(life->disk, life->n_promises++);
}

static void life_open(struct life *life) {
    struct keel_error err = {0};
    struct ids *ids = test_calloc(1, sizeof *ids);
    life->options.create = !life->now.created;
    int code = journal_open(life->dir, STORE, life->now.from, &life->options, collect, ids,
                            &life->journal, &err);
    if (code < 0) fail_msg("open: %s", err.message);
    assert_false(ids->wrong);
    for (size_t i = 0; i < ids->n; i++) {
        assert_int_equal(ids->id[i], life->now.from_id + i);
        life->end[ids->id[i]] = ids->end[i];
    }
    life->next = life->now.from_id + ids->n;
    assert_true(life->next >= life->now.acknowledged);
    life->now.acknowledged = life->next; /* what was replayed is durable from now on */
    life->now.created = true;
    promise(life);
    test_free(ids);
}

/* Appends n records; whether they are acknowledged is up to the caller. */
static uint64_t life_append(struct life *life, unsigned n) {
    uint64_t end = 0;
    for (; n > 0; n--) {
        uint64_t id = life->next++;
        assert_int_equal(journal_append(life->journal, kind_of(id), payload_of(id), &end, NULL), 0);
        life->end[id] = end;
    }
    return end;
}

static void life_commit(struct life *life, unsigned n) {
    uint64_t end = life_append(life, n);
    assert_int_equal(journal_commit(life->journal, end, NULL), 0);
    life->now.acknowledged = life->next;
    promise(life);
}

/* The caller keeps everything but the last `keep` acknowledged records elsewhere. */
static void life_trim(struct life *life, uint64_t keep) {
    if (life->now.acknowledged < life->now.from_id + keep + 1) return;
    life->now.from_id = life->now.acknowledged - keep;
    life->now.from = life->end[life->now.from_id - 1];
    promise(life);
    assert_int_equal(journal_trim(life->journal, life->now.from, NULL), 0);
}

/* The nth call of a kind fails in a commit; the journal stops for ever, and is opened again by the
 * next process. False if the commit made no such call. */
static bool life_fail(struct life *life, enum fault_call call, enum fault_mode mode, unsigned nth) {
    uint64_t end = life_append(life, 1 + (unsigned)life->next % 7);
    fault_fail(call, nth, EIO, mode);
    int code = journal_commit(life->journal, end, NULL);
    bool fired = fault_fired();
    fault_fail(call, 0, 0, FAULT_ONCE);
    if (!fired) {
        assert_int_equal(code, 0);
        life->now.acknowledged = life->next;
        promise(life);
        return false;
    }
    bool sync = call == FAULT_FDATASYNC || call == FAULT_FSYNC;
    assert_int_equal(code, sync ? -KEEL_E_NOT_DURABLE : -KEEL_E_IO);
    assert_int_equal(journal_commit(life->journal, end, NULL), code);
    assert_int_equal(journal_close(life->journal, NULL), code);
    life_open(life);
    return true;
}

/* The disk is full in a commit: nothing is acknowledged, nothing is lost, and with room again the
 * same journal goes on. False if the commit made no such call. */
static bool life_stall(struct life *life, enum fault_call call, enum fault_mode mode) {
    uint64_t end = life_append(life, 1 + (unsigned)life->next % 7);
    fault_fail(call, 1, ENOSPC, mode);
    int code = journal_commit(life->journal, end, NULL);
    bool fired = fault_fired();
    fault_fail(call, 0, 0, FAULT_ONCE);
    if (fired) assert_int_equal(code, -KEEL_E_NO_SPACE);
    assert_int_equal(journal_commit(life->journal, end, NULL), 0);
    life->now.acknowledged = life->next;
    promise(life);
    return fired;
}

static void life_reopen(struct life *life) {
    assert_int_equal(journal_close(life->journal, NULL), 0);
    life_open(life);
}

static struct life *life_new(enum journal_durability durability) {
    struct life *life = test_calloc(1, sizeof *life);
    temp_make(life->dir);
    life->options = (struct journal_options){
        .durability = durability, .interval_ms = 1000000, .file_bytes = FILE_BYTES};
    fault_start();
    life->disk = disk_start(life->dir);
    promise(life);
    return life;
}

static void life_free(struct life *life) {
    disk_free(life->disk);
    fault_stop();
    temp_remove(life->dir);
    test_free(life);
}

/* ---- checking a crash state ---- */

struct judge {
    const struct life *life;
    char again[TEMP_PATH_MAX], nested[TEMP_PATH_MAX];
    unsigned nest_every; /* crash during the recovery of each n-th state; 0: of none     */
    uint64_t nested_states;
    bool count_only; /* controls: violations are expected                            */
    uint64_t violations;
    struct ids ids, after;
};

static bool violated(struct judge *judge, const struct disk_state *state, const char *what,
                     const char *detail) {
    judge->violations++;
    if (!judge->count_only)
        fail_msg("state %llu, crash behind call %zu, %s: %s %s", (unsigned long long)state->number,
                 state->call, state->what, what, detail);
    return false;
}

static int open_state(const struct life *life, const char *dir, const struct promise *kept,
                      struct ids *ids, struct journal **out, struct keel_error *err) {
    struct journal_options options = life->options;
    options.create = !kept->created;
    ids->n = 0;
    ids->wrong = false;
    err->message[0] = 0;
    return journal_open(dir, STORE, kept->from, &options, collect, ids, out, err);
}

/* The records are from_id, from_id + 1, ... and include all that were acknowledged. */
static bool ids_hold(struct judge *judge, const struct disk_state *state, const struct ids *ids,
                     const struct promise *kept) {
    if (ids->wrong) return violated(judge, state, "a record that nobody wrote", "");
    for (size_t i = 0; i < ids->n; i++)
        if (ids->id[i] != kept->from_id + i)
            return violated(judge, state, "a record is missing, double or out of order", "");
    if (kept->from_id + ids->n < kept->acknowledged)
        return violated(judge, state, "an acknowledged record is lost", "");
    return true;
}

/* Recovers, appends one more and closes, recovers again. */
static bool recover_and_use(struct judge *judge, const struct disk_state *state, const char *dir,
                            const struct promise *kept) {
    struct keel_error err;
    struct journal *j;
    if (open_state(judge->life, dir, kept, &judge->ids, &j, &err) < 0)
        return violated(judge, state, "cannot open:", err.message);
    uint64_t id = kept->from_id + judge->ids.n, end;
    bool good = ids_hold(judge, state, &judge->ids, kept) &&
                journal_append(j, kind_of(id), payload_of(id), &end, &err) == 0 &&
                journal_sync(j, end, &err) == 0;
    if (journal_close(j, &err) < 0) return violated(judge, state, "cannot close:", err.message);
    if (!good) return false;
    struct promise more = *kept;
    more.acknowledged = id + 1;
    more.created = true;
    if (open_state(judge->life, dir, &more, &judge->after, &j, &err) < 0)
        return violated(judge, state, "cannot open twice:", err.message);
    (void)journal_close(j, NULL);
    return (ids_hold(judge, state, &judge->after, &more) && judge->after.n == judge->ids.n + 1) ||
           violated(judge, state, "records changed between two openings", "");
}

/* Opening twice without a change in between gives the same, also for a tool that only reads. */
static bool is_idempotent(struct judge *judge, const struct disk_state *state, const char *dir,
                          const struct promise *kept) {
    struct keel_error err;
    struct journal *j;
    struct promise created = *kept;
    if (open_state(judge->life, dir, kept, &judge->ids, &j, &err) < 0)
        return violated(judge, state, "cannot open:", err.message);
    (void)journal_close(j, NULL);
    created.created = true;
    if (open_state(judge->life, dir, &created, &judge->after, &j, &err) < 0)
        return violated(judge, state, "cannot open again:", err.message);
    (void)journal_close(j, NULL);
    if (journal_check(dir, STORE, NULL, NULL, &err) < 0)
        return violated(judge, state, "doctor:", err.message);
    return judge->after.n == judge->ids.n || violated(judge, state, "recovery differs", "");
}

struct nested {
    struct judge *judge;
    const struct disk_state *outer;
    struct promise kept[2]; /* before and after the recovery acknowledged what it found */
};

static void visit_nested(void *ctx, const struct disk_state *state) {
    struct nested *nested = ctx;
    (void)recover_and_use(nested->judge, nested->outer, state->dir, &nested->kept[state->mark]);
}

/* Crashes again, behind every call of the recovery. */
static void crash_recovery(struct judge *judge, const struct disk_state *state,
                           const struct promise *kept) {
    struct keel_error err;
    struct journal *j;
    struct nested nested = {.judge = judge, .outer = state, .kept = {*kept, *kept}};
    temp_copy(state->dir, judge->again);
    struct disk *disk = disk_start(judge->again);
    disk_mark(disk, 0);
    if (open_state(judge->life, judge->again, kept, &judge->ids, &j, &err) == 0) {
        nested.kept[1].acknowledged = kept->from_id + judge->ids.n;
        nested.kept[1].created = true;
        disk_mark(disk, 1);
        (void)journal_close(j, NULL);
    }
    disk_stop(disk);
    struct disk_plan plan = {.random = 2, .seed = state->number};
    judge->nested_states += disk_crash_states(disk, judge->nested, &plan, visit_nested, &nested);
    disk_free(disk);
}

static void visit(void *ctx, const struct disk_state *state) {
    struct judge *judge = ctx;
    const struct promise *kept = &judge->life->promises[state->mark];
    if (judge->nest_every && state->number % judge->nest_every == 0)
        crash_recovery(judge, state, kept);
    temp_copy(state->dir, judge->again);
    if (is_idempotent(judge, state, judge->again, kept))
        (void)recover_and_use(judge, state, state->dir, kept);
}

static uint64_t judge_life(struct life *life, unsigned nest_every, bool count_only,
                           uint64_t *out_states) {
    struct judge *judge = test_calloc(1, sizeof *judge);
    char scratch[TEMP_PATH_MAX];
    temp_make(scratch);
    temp_make(judge->again);
    temp_make(judge->nested);
    judge->life = life;
    judge->nest_every = nest_every;
    judge->count_only = count_only;
    disk_stop(life->disk);
    fault_none();
    fault_skip_sync(true);
    struct disk_plan plan = {.random = 12, .seed = seed_of_run(), .every = CRASH_EVERY};
    *out_states = disk_crash_states(life->disk, scratch, &plan, visit, judge);
    print_message("%zu calls, %llu crash states, %llu more during recovery, seed %llu: "
                  "%llu violations\n",
                  disk_calls(life->disk), (unsigned long long)*out_states,
                  (unsigned long long)judge->nested_states, (unsigned long long)plan.seed,
                  (unsigned long long)judge->violations);
    uint64_t violations = judge->violations;
    temp_remove(scratch);
    temp_remove(judge->again);
    temp_remove(judge->nested);
    test_free(judge);
    return violations;
}

/* ---- lives ---- */

/* A random life of appends, groups, rolls, trims, clean ends, failed writes and syncs. */
static void live(struct life *life, unsigned steps) {
    static const struct {
        enum fault_call call;
        unsigned nth;
    } FAILURES[] = {
        {FAULT_FDATASYNC, 1},
        {FAULT_PWRITE, 1},
        {FAULT_FDATASYNC, 1},
        {FAULT_FSYNC, 1},
        {FAULT_FSYNC, 2} /* of the folder */,
        {FAULT_RENAME, 1},
        {FAULT_FALLOCATE, 1},
    };
    static const enum fault_call STALLS[] = {FAULT_FALLOCATE, FAULT_PWRITE};
    enum { N_FAILURES = sizeof FAILURES / sizeof *FAILURES };
    unsigned failures = 0, stalls = 0;
    struct rand rand;
    rand_init(&rand, seed_of_run());
    life_open(life);
    for (unsigned step = 0; step < steps; step++) {
        unsigned n = 1 + rand_below(&rand, rand_below(&rand, 3) ? 4 : 16);
        enum fault_mode mode = rand_below(&rand, 2) ? FAULT_ONCE : FAULT_PARTLY;
        switch (rand_below(&rand, 15)) {
        case 0: life_trim(life, rand_below(&rand, 8)); break;
        case 1:
            life_append(life, n);
            life_reopen(life);
            break;
        case 2: { /* repeated until the commit makes such a call, for example for a new file */
            unsigned which = failures++ % N_FAILURES;
            while (!life_fail(life, FAILURES[which].call, mode, FAILURES[which].nth)) continue;
            break;
        }
        case 3:
            while (!life_stall(life, STALLS[stalls % 2], mode)) continue;
            stalls++;
            break;
        default: life_commit(life, n);
        }
    }
    assert_true(stalls >= 2);
    assert_true(failures >= N_FAILURES);
}

static void test_commit_states(void **state) {
    (void)state;
    struct life *life = life_new(JOURNAL_DURABLE_COMMIT);
    live(life, 300);
    uint64_t states;
    assert_int_equal(judge_life(life, 2, false, &states), 0);
    assert_true(states > 2000 / CRASH_EVERY);
    assert_int_equal(journal_close(life->journal, NULL), 0);
    life_free(life);
}

/* Under "interval" only journal_sync acknowledges, several groups are unsynced at once. */
static void test_interval_states(void **state) {
    (void)state;
    struct life *life = life_new(JOURNAL_DURABLE_INTERVAL);
    life_open(life);
    for (unsigned i = 0; i < 40; i++) {
        uint64_t end = 0;
        for (unsigned k = 0; k < 4; k++) {
            end = life_append(life, 1 + k);
            assert_int_equal(journal_commit(life->journal, end, NULL), 0);
        }
        assert_int_equal(journal_sync(life->journal, end, NULL), 0);
        life->now.acknowledged = life->next;
        promise(life);
        if (i % 6 == 5) life_trim(life, 4);
        if (i % 8 == 7) life_reopen(life);
    }
    uint64_t states;
    assert_int_equal(judge_life(life, 2, false, &states), 0);
    assert_int_equal(journal_close(life->journal, NULL), 0);
    life_free(life);
}

/* The harness itself: a disk that lies about a sync must be noticed. */
static void control(enum fault_call call) {
    struct life *life = life_new(JOURNAL_DURABLE_COMMIT);
    fault_lie(call, true);
    life_open(life);
    for (unsigned i = 0; i < 8; i++) life_commit(life, 3);
    uint64_t states;
    assert_true(judge_life(life, 0, true, &states) > 0);
    assert_int_equal(journal_close(life->journal, NULL), 0);
    life_free(life);
}

static void test_lying_fdatasync_is_noticed(void **state) {
    (void)state;
    control(FAULT_FDATASYNC);
}

static void test_lying_fsync_is_noticed(void **state) {
    (void)state;
    control(FAULT_FSYNC);
}

/* ---- kill -9 ---- */

enum { ROUNDS = 30, WRITERS = 3, RECORD_MAX = 700 };

/* What the child tells the parent, one pipe write each. */
struct message {
    uint32_t writer;
    uint32_t number; /* of this writer, acknowledged */
};

struct writer {
    struct journal *journal;
    uint32_t writer, next;
    int pipe;
    uint64_t seed;
};

static void *write_for_ever(void *arg) {
    struct writer *w = arg;
    struct rand rand;
    rand_init(&rand, w->seed);
    for (;; w->next++) {
        uint8_t bytes[RECORD_MAX];
        size_t n = sizeof(struct message) + rand_below(&rand, RECORD_MAX - 64);
        struct message message = {w->writer, w->next};
        memset(bytes, (int)(w->next & 0xff), sizeof bytes);
        memcpy(bytes, &message, sizeof message);
        uint64_t end;
        if (journal_append(w->journal, 1, (struct str){(char *)bytes, n}, &end, NULL) < 0 ||
            journal_commit(w->journal, end, NULL) < 0 ||
            OS_REAL.write(w->pipe, &message, sizeof message) != sizeof message)
            _exit(3);
    }
}

struct tally {
    uint32_t next[WRITERS]; /* numbers 0 .. next - 1 were replayed, each once, in order */
    bool wrong;
};

static int count_up(void *ctx, const struct journal_record *record, struct keel_error *err) {
    struct tally *tally = ctx;
    struct message message;
    (void)err;
    if (record->payload.n < sizeof message) {
        tally->wrong = true;
        return 0;
    }
    memcpy(&message, record->payload.p, sizeof message);
    for (size_t i = sizeof message; i < record->payload.n; i++)
        tally->wrong |= (uint8_t)record->payload.p[i] != (uint8_t)message.number;
    if (message.writer >= WRITERS || message.number != tally->next[message.writer])
        tally->wrong = true;
    else
        tally->next[message.writer]++;
    return 0;
}

static const struct journal_options KILL_OPTIONS = {.file_bytes = 64 << 10, .create = true};

_Noreturn static void be_killed(const char *dir, int pipe, uint64_t seed) {
    static struct writer writers[WRITERS];
    struct tally tally = {0};
    struct journal *j;
    pthread_t thread;
    if (journal_open(dir, STORE, 0, &KILL_OPTIONS, count_up, &tally, &j, NULL) < 0) _exit(2);
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){j, i, tally.next[i], pipe, seed + i};
        if (pthread_create(&thread, NULL, write_for_ever, &writers[i]) != 0) _exit(4);
    }
    for (;;) pause();
}

static void kill_round(const char *dir, struct rand *rand, uint32_t acknowledged[WRITERS]) {
    int pipes[2];
    uint64_t seed = rand_u64(rand);
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        OS_REAL.close(pipes[0]);
        be_killed(dir, pipes[1], seed);
    }
    OS_REAL.close(pipes[1]);
    unsigned long left = 1 + rand_below(rand, 400);
    struct message message;
    while (OS_REAL.read(pipes[0], &message, sizeof message) == sizeof message) {
        assert_int_equal(message.number, acknowledged[message.writer]++);
        if (left && --left == 0) kill(child, SIGKILL);
    }
    OS_REAL.close(pipes[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_kill(void **state) {
    (void)state;
    char dir[TEMP_PATH_MAX];
    struct rand rand;
    uint32_t acknowledged[WRITERS] = {0};
    uint64_t total = 0;
    temp_make(dir);
    rand_init(&rand, seed_of_run());
    for (int round = 0; round < ROUNDS; round++) {
        kill_round(dir, &rand, acknowledged);
        struct tally tally = {0};
        struct journal *j;
        struct keel_error err = {0};
        struct journal_options options = KILL_OPTIONS;
        options.create = false;
        options.read_only = round % 2; /* every other recovery is the next child's */
        if (journal_open(dir, STORE, 0, &options, count_up, &tally, &j, &err) < 0)
            fail_msg("round %d, seed %llu: %s", round, (unsigned long long)seed_of_run(),
                     err.message);
        assert_int_equal(journal_close(j, NULL), 0);
        assert_false(tally.wrong);
        for (int i = 0; i < WRITERS; i++) {
            assert_true(tally.next[i] >= acknowledged[i]);
            acknowledged[i] = tally.next[i]; /* what the next child continues with */
        }
    }
    for (int i = 0; i < WRITERS; i++) total += acknowledged[i];
    print_message("%d kills, %llu records, seed %llu\n", ROUNDS, (unsigned long long)total,
                  (unsigned long long)seed_of_run());
    temp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_states),
        cmocka_unit_test(test_interval_states),
        cmocka_unit_test(test_lying_fdatasync_is_noticed),
        cmocka_unit_test(test_lying_fsync_is_noticed),
        cmocka_unit_test(test_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
