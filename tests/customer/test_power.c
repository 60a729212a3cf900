/* A whole data directory after power cuts: the model disk of fault_os.h records every write, sync
 * and name of a short life (init, ingest, flush, compaction, reopen), SQLite's included
 * (sqlite_os.h), and builds the states in which a cut behind any of these calls could have left the
 * folder. Each state is recovered: what was acknowledged by then is there exactly once, the rest
 * whole or not at all, the doctor finds nothing, and opening twice changes nothing. Every n-th
 * recovery is cut, too.
 *
 * The parent of the directory is the root of the model, so that the directory's own name can be
 * lost. KEEL_SEED repeats a run; KEEL_EVERY=n cuts behind every n-th call only.
 * ctest: timeout=600
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault_os.h"
#include "history.h"
#include "sqlite_os.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 4 };
#else
enum { EVERY = 1 };
#endif
enum { BATCHES = 10, PROMISES = 64, PATH_BYTES = TEMP_PATH_MAX + 16, NEST_EVERY = 97 };

static const struct history HISTORY = {
    .seed = 8, .users = 5, .devices = 5, .batch_events = 20, .months = 1};
static const struct store_options OPTIONS = {
    .head_rows = 24, .part_rows = 24, .journal = {.file_bytes = 4096}};

static uint64_t number_from(const char *variable, uint64_t otherwise) {
    const char *set = getenv(variable);
    return set ? strtoull(set, NULL, 10) : otherwise;
}

/* What was promised when mark i was set: the directory exists, batches below `acknowledged` too. */
struct promise {
    bool made;
    uint32_t acknowledged;
};

struct life {
    char root[TEMP_PATH_MAX], dir[PATH_BYTES];
    struct buf batches[BATCHES];
    struct disk *disk;
    struct promise promises[PROMISES];
    uint64_t count;
    struct db *db;
    struct store_options options;
    uint32_t flushed; /* under durability "interval" only a flush promises */
};

static void promise(struct life *life, bool made, uint32_t acknowledged) {
    assert_true(life->count < PROMISES);
    life->promises[life->count] = (struct promise){made, acknowledged};
    disk_mark(life->disk, life->count++);
}

static void must(int code, const struct keel_error *err) {
    if (code < 0) fail_msg("%s", err->message);
}

static void open_life(struct life *life, bool create) {
    struct keel_error err;
    struct db_options options = {
        .store = life->options, .time_zone = STR("UTC"), .currency = STR("USD")};
    options.store.create = create;
    must(db_open(life->dir, &options, &life->db, &err), &err);
}

static void ingest(struct life *life, uint32_t k) {
    struct keel_error err;
    struct ingest_counts counts = {0};
    must(db_ingest(life->db, buf_str(&life->batches[k]), &counts, &err), &err);
    bool durable = life->options.journal.durability == JOURNAL_DURABLE_COMMIT;
    promise(life, true, durable ? k + 1 : life->flushed);
}

static void flush(struct life *life, uint32_t batches) {
    struct keel_error err;
    must(db_flush(life->db, &err), &err);
    life->flushed = batches;
    promise(life, true, batches);
}

static void live(struct life *life) {
    struct keel_error err;
    promise(life, false, 0);
    open_life(life, true);
    promise(life, true, 0);
    for (uint32_t k = 0; k < 5; k++) ingest(life, k);
    flush(life, 5);
    ingest(life, 5);
    store_ingest_begin(db_store(life->db));
    must(store_compact(db_store(life->db), true, &err), &err);
    store_ingest_end(db_store(life->db));
    ingest(life, 6);
    must(db_close(life->db, &err), &err);
    open_life(life, false);
    ingest(life, 7);
    flush(life, 8);
    for (uint32_t k = 8; k < BATCHES; k++) ingest(life, k);
    must(db_close(life->db, &err), &err);
}

/* ---- judging a state ---- */

struct judge {
    const struct life *life;
    char again[TEMP_PATH_MAX], nested[TEMP_PATH_MAX];
    uint64_t nested_states;
    const struct disk_state *outer;
    struct promise kept[2]; /* of a nested run: before and after the recovery opened it */
};

static void violated(const struct judge *judge, const struct disk_state *state, const char *what) {
    const struct disk_state *outer = judge->outer ? judge->outer : state;
    fail_msg("state %llu, cut behind call %zu, %s%s%s: %s", (unsigned long long)outer->number,
             outer->call, outer->what, judge->outer ? "; then in recovery: " : "",
             judge->outer ? state->what : "", what);
}

static struct db *open_state(const char *root) {
    char dir[PATH_BYTES];
    struct keel_error err;
    struct db *db;
    struct db_options options = {.store = OPTIONS};
    snprintf(dir, sizeof dir, "%s/data", root);
    return db_open(dir, &options, &db, &err) < 0 ? NULL : db;
}

/* Opens twice, with all checks; the second time, what was found is promised. */
static void check_state(struct judge *judge, const struct disk_state *state, const char *root,
                        const struct promise *kept) {
    struct keel_error err;
    uint8_t flags[BATCHES] = {0};
    char dir[PATH_BYTES];
    struct db_options options = {.store = OPTIONS};
    struct history_found found = {.stored = flags};
    uint64_t events = 0;
    snprintf(dir, sizeof dir, "%s/data", root);
    for (uint32_t k = 0; k < kept->acknowledged; k++) flags[k] = 1;
    for (int round = 0; round < 2; round++) {
        struct db *db;
        if (db_open(dir, &options, &db, &err) < 0) {
            if (!kept->made && round == 0) return; /* nobody was told that it exists */
            violated(judge, state, err.message);
        }
        uint8_t promised[BATCHES];
        memcpy(promised, flags, sizeof promised);
        if (history_check(&HISTORY, db, promised, BATCHES, &found, &err) < 0)
            violated(judge, state, err.message);
        if (round == 1 && found.events != events) violated(judge, state, "recovery differs");
        events = found.events;
        if (db_close(db, &err) < 0) violated(judge, state, err.message);
        if (history_doctor(dir, &err) < 0) violated(judge, state, err.message);
    }
}

static void visit_nested(void *ctx, const struct disk_state *state) {
    struct judge *judge = ctx;
    check_state(judge, state, state->dir, &judge->kept[state->mark]);
}

/* Cuts the recovery itself, and what comes behind it. */
static void cut_recovery(struct judge *judge, const struct disk_state *state,
                         const struct promise *kept) {
    temp_copy(state->dir, judge->again);
    struct disk *disk = disk_start(judge->again);
    judge->kept[0] = judge->kept[1] = *kept;
    disk_mark(disk, 0);
    struct db *db = open_state(judge->again);
    if (db) {
        struct keel_error err;
        judge->kept[1].made = true;
        disk_mark(disk, 1);
        if (db_flush(db, &err) < 0 || db_close(db, &err) < 0) violated(judge, state, err.message);
    }
    disk_stop(disk);
    struct disk_plan plan = {.random = 1, .seed = state->number, .every = 3, .cuts = 1};
    judge->outer = state;
    judge->nested_states += disk_crash_states(disk, judge->nested, &plan, visit_nested, judge);
    judge->outer = NULL;
    disk_free(disk);
}

static void visit(void *ctx, const struct disk_state *state) {
    struct judge *judge = ctx;
    const struct promise *kept = &judge->life->promises[state->mark];
    if (state->number % NEST_EVERY == 0) cut_recovery(judge, state, kept);
    check_state(judge, state, state->dir, kept);
}

static void cut_power(enum journal_durability durability) {
    struct life *life = test_calloc(1, sizeof *life);
    struct judge *judge = test_calloc(1, sizeof *judge);
    char scratch[TEMP_PATH_MAX];
    struct disk_plan plan = {.random = 2,
                             .seed = number_from("KEEL_SEED", 1),
                             .every = (unsigned)number_from("KEEL_EVERY", EVERY),
                             .cuts = 2};
    life->options = OPTIONS;
    life->options.journal.durability = durability;
    life->options.journal.interval_ms = 1000000; /* never within the test */
    temp_make(life->root);
    temp_make(scratch);
    temp_make(judge->again);
    temp_make(judge->nested);
    snprintf(life->dir, sizeof life->dir, "%s/data", life->root);
    for (uint32_t k = 0; k < BATCHES; k++) {
        buf_init(&life->batches[k], BATCH_MAX_BYTES + 64);
        history_batch(&HISTORY, k, &life->batches[k]);
    }
    fault_start();
    sqlite_os_start();
    life->disk = disk_start(life->root);
    live(life);
    disk_stop(life->disk);
    fault_skip_sync(true);
    judge->life = life;
    uint64_t states = disk_crash_states(life->disk, scratch, &plan, visit, judge);
    print_message(
        "durability %d: %zu calls, %llu states, %llu more during recovery, KEEL_SEED=%llu\n",
        (int)durability, disk_calls(life->disk), (unsigned long long)states,
        (unsigned long long)judge->nested_states, (unsigned long long)plan.seed);
    disk_free(life->disk);
    sqlite_os_stop();
    fault_stop();
    for (uint32_t k = 0; k < BATCHES; k++) buf_release(&life->batches[k]);
    temp_remove(life->root);
    temp_remove(scratch);
    temp_remove(judge->again);
    temp_remove(judge->nested);
    test_free(judge);
    test_free(life);
}

static void test_commit(void **state) {
    (void)state;
    cut_power(JOURNAL_DURABLE_COMMIT);
}

/* What was flushed is promised, what came behind may be lost, but whole, and from the end: nothing
 * that is kept may rest on something that is lost. */
static void test_interval(void **state) {
    (void)state;
    cut_power(JOURNAL_DURABLE_INTERVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_commit),
                                       cmocka_unit_test(test_interval)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
