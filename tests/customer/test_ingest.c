/* What ingest takes, and that a recovery makes the same of it: damaged batches never reach the
 * journal, repeats are told by one rule whatever was flushed when, a journal opens with heads of
 * any size, and an interrupted init leaves nothing that opens as something else.
 *
 * KEEL_SEED=n repeats a run.
 * ctest: timeout=300
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "fault_os.h"
#include "history.h"
#include "sqlite_os.h"

static const struct history HISTORY = {
    .seed = 5, .users = 9, .devices = 9, .batch_events = 40, .months = 2};

struct place {
    char root[TEMP_PATH_MAX], dir[TEMP_PATH_MAX + 8];
    struct db *db;
    struct keel_error err;
};

static uint64_t seed_of_run(void) {
    const char *set = getenv("KEEL_SEED");
    return set ? strtoull(set, NULL, 10) : 1;
}

static void must(struct place *p, int code) {
    if (code < 0) fail_msg("%s", p->err.message);
}

static void open_place(struct place *p, struct store_options options) {
    struct db_options all = {.store = options};
    must(p, db_open(p->dir, &all, &p->db, &p->err));
}

static void close_place(struct place *p) {
    must(p, db_close(p->db, &p->err));
    p->db = NULL;
}

static int make_place(void **state) {
    struct place *p = test_calloc(1, sizeof *p);
    temp_make(p->root);
    snprintf(p->dir, sizeof p->dir, "%s/data", p->root);
    must(p, db_init(p->dir, STR("Europe/London"), STR("GBP"), &p->err));
    *state = p;
    return 0;
}

static int remove_place(void **state) {
    struct place *p = *state;
    (void)!db_close(p->db, NULL);
    temp_remove(p->root);
    test_free(p);
    return 0;
}

static void ingest_history(struct place *p, uint32_t from, uint32_t to) {
    struct buf batch;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k = from; k < to; k++) {
        struct ingest_counts counts = {0};
        buf_clear(&batch);
        history_batch(&HISTORY, k, &batch);
        must(p, db_ingest(p->db, buf_str(&batch), &counts, &p->err));
    }
    buf_release(&batch);
}

static void check_history(struct place *p, uint32_t batches) {
    uint8_t *all = k_alloc(batches);
    memset(all, 1, batches);
    must(p, history_check(&HISTORY, p->db, all, batches, NULL, &p->err));
    k_free(all);
}

/* ---- damaged batches ---- */

/* Bytes that nobody's writer made are refused before anything is kept of them; those that say
 * something else, but well-formed, are taken. Either way the store goes on. */
static void test_damaged_batches(void **state) {
    struct place *p = *state;
    struct buf batch;
    uint64_t refused = 0, taken = 0;
    open_place(p, (struct store_options){.head_rows = 4000});
    ingest_history(p, 0, 2);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    history_batch(&HISTORY, 2, &batch);
    uint8_t *bytes = k_alloc(batch.n);
    for (size_t at = 0; at < batch.n; at++) {
        for (int how = 0; how < 4; how++) {
            struct store_stats before, after;
            struct ingest_counts counts = {0};
            size_t n = how == 3 ? at : batch.n;
            memcpy(bytes, batch.p, batch.n);
            if (how < 3) bytes[at] ^= (uint8_t)(how == 0 ? 1 : how == 1 ? 0x80 : 0xff);
            if (how == 2 && at % 16) continue;
            store_stats(db_store(p->db), &before);
            int code = db_ingest(p->db, (struct str){(const char *)bytes, n}, &counts, &p->err);
            store_stats(db_store(p->db), &after);
            refused += code < 0;
            taken += code == 0;
            if (code == 0) continue;
            assert_int_equal(code, -KEEL_E_CORRUPT);
            assert_non_null(strstr(p->err.message, "damaged batch"));
            assert_int_equal(after.rows, before.rows);
            assert_int_equal(after.journal_bytes, before.journal_bytes);
        }
    }
    print_message("%llu refused, %llu taken\n", (unsigned long long)refused,
                  (unsigned long long)taken);
    assert_true(refused > batch.n);
    ingest_history(p, 2, 3);
    close_place(p);
    open_place(p, (struct store_options){0});
    must(p, history_doctor(p->dir, &p->err) == -KEEL_E_BUSY ? 0 : -1);
    close_place(p);
    must(p, history_doctor(p->dir, &p->err));
    k_free(bytes);
    buf_release(&batch);
}

/* ---- repeats ---- */

enum { REPEATS = 1500, KEYS = 60, MONTHS = 6 };

struct repeat {
    uint32_t key;
    int64_t time_ms;
    uint8_t fate; /* by the rule */
};

/* The rule, over all that was taken: months as pairs of year and month. */
static void judge_repeats(struct repeat *events, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        int64_t from = events[i].time_ms - STORE_DEDUP_DAYS * MS_PER_DAY;
        int64_t to = events[i].time_ms + STORE_DEDUP_DAYS * MS_PER_DAY;
        events[i].fate = INGEST_ACCEPTED;
        for (uint32_t k = 0; k < i; k++)
            if (events[k].key == events[i].key && events[k].fate == INGEST_ACCEPTED &&
                bucket_of(events[k].time_ms) >= bucket_of(from) &&
                bucket_of(events[k].time_ms) <= bucket_of(to))
                events[i].fate = INGEST_DUPLICATE;
    }
}

static void ingest_repeats(struct place *p, const struct repeat *events, uint32_t n,
                           uint8_t *fates) {
    struct batch_writer w;
    struct buf batch;
    struct ingest_counts counts = {0};
    uint64_t position;
    batch_writer_init(&w);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        snprintf(id, sizeof id, "message %u", events[i].key);
        struct event_head head = {.type = EVENT_TRACK,
                                  .time_ms = events[i].time_ms,
                                  .key = event_key_of(str_from(id)),
                                  .name = STR("View"),
                                  .user_id = STR("u")};
        event_begin(&w, &head);
        assert_null(event_end(&w));
    }
    must(p, batch_finish(&w, &batch, &p->err));
    must(p, db_append(p->db, buf_str(&batch), &counts, fates, &position, &p->err));
    must(p, db_commit(p->db, position, &p->err));
    batch_writer_release(&w);
    buf_release(&batch);
}

static uint64_t rows_of(struct place *p) {
    struct store_stats stats;
    store_stats(db_store(p->db), &stats);
    return stats.rows;
}

/* The same events through heads of several sizes, flushes, merges and recoveries at random: always
 * the same are taken. */
static void test_repeats(void **state) {
    struct place *p = *state;
    static const uint32_t HEADS[] = {40, 300, 4000};
    struct repeat *events = k_alloc_array(REPEATS, sizeof *events);
    uint8_t fates[16];
    struct rand r;
    uint64_t far = 0;
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed_of_run());
    rand_init(&r, seed_of_run());
    for (uint32_t i = 0; i < REPEATS; i++)
        events[i] = (struct repeat){
            .key = rand_below(&r, KEYS) + i / 500 * KEYS,
            .time_ms = 1300000000000 + (int64_t)rand_below(&r, MONTHS * 30 * 24) * MS_PER_HOUR};
    judge_repeats(events, REPEATS);
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < REPEATS; i++) accepted += events[i].fate == INGEST_ACCEPTED;
    for (size_t h = 0; h < sizeof HEADS / sizeof *HEADS; h++) {
        struct store_options options = {.head_rows = HEADS[h], .part_rows = 500};
        temp_remove(p->dir);
        must(p, db_init(p->dir, STR("UTC"), STR("USD"), &p->err));
        open_place(p, options);
        for (uint32_t i = 0, n; i < REPEATS; i += n) {
            n = 1 + rand_below(&r, 16);
            if (n > REPEATS - i) n = REPEATS - i;
            ingest_repeats(p, events + i, n, fates);
            for (uint32_t k = 0; k < n; k++)
                if (fates[k] != events[i + k].fate)
                    fail_msg("head of %u, event %u: fate %u, not %u", HEADS[h], i + k, fates[k],
                             events[i + k].fate);
            uint32_t what = rand_below(&r, 12);
            if (what == 0) must(p, db_flush(p->db, &p->err));
            if (what != 1) continue;
            uint64_t rows = rows_of(p);
            close_place(p); /* flushes nothing: a recovery applies it again */
            options.head_rows = HEADS[rand_below(&r, 3)];
            open_place(p, options);
            assert_int_equal(rows_of(p), rows);
            far++;
        }
        assert_int_equal(rows_of(p), accepted);
        close_place(p);
        must(p, history_doctor(p->dir, &p->err));
    }
    print_message("%llu of %d taken, %llu recoveries\n", (unsigned long long)accepted, REPEATS,
                  (unsigned long long)far);
    k_free(events);
}

/* Two months day by day, then more months than the dedup has sieves for, by turns: what is taken
 * does not depend on whether a month's keys were sifted or looked up. */
static void test_sifted_repeats(void **state) {
    enum { EVENTS = 12000, AWAY = 9000, MANY_MONTHS = 40 };
    struct place *p = *state;
    struct repeat *events = k_alloc_array(EVENTS, sizeof *events);
    uint8_t fates[16];
    struct rand r;
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed_of_run());
    rand_init(&r, seed_of_run());
    for (uint32_t i = 0; i < EVENTS; i++) {
        const int64_t day = i < AWAY ? i * 60 / AWAY : rand_below(&r, MANY_MONTHS * 30);
        events[i] = (struct repeat){.key = rand_below(&r, EVENTS / 2),
                                    .time_ms = 1300000000000 + day * MS_PER_DAY};
    }
    judge_repeats(events, EVENTS);
    open_place(p, (struct store_options){.head_rows = 1000, .part_rows = 700});
    for (uint32_t i = 0, n; i < EVENTS; i += n) {
        n = 1 + rand_below(&r, 16);
        if (n > EVENTS - i) n = EVENTS - i;
        ingest_repeats(p, events + i, n, fates);
        for (uint32_t k = 0; k < n; k++)
            if (fates[k] != events[i + k].fate)
                fail_msg("event %u: fate %u, not %u", i + k, fates[k], events[i + k].fate);
        if (rand_below(&r, 200) == 0) must(p, db_compact(p->db, &p->err));
    }
    close_place(p);
    must(p, history_doctor(p->dir, &p->err));
    k_free(events);
}

/* ---- heads of another size ---- */

static void test_smaller_heads(void **state) {
    struct place *p = *state;
    open_place(p, (struct store_options){.head_rows = 100000});
    ingest_history(p, 0, 50);
    close_place(p);
    open_place(p, (struct store_options){.head_rows = 40, .read_only = true});
    check_history(p, 50);
    close_place(p);
    open_place(p, (struct store_options){.head_rows = 40});
    check_history(p, 50);
    struct store_stats stats;
    store_stats(db_store(p->db), &stats);
    assert_true(stats.part_rows > 0); /* it flushed as it went */
    ingest_history(p, 50, 60);
    close_place(p);
    open_place(p, (struct store_options){0});
    check_history(p, 60);
    close_place(p);
    must(p, history_doctor(p->dir, &p->err));
}

/* Reading alone keeps everything in memory: so much, and no more. */
static void test_too_many_heads(void **state) {
    struct place *p = *state;
    open_place(p, (struct store_options){.head_rows = 100000});
    ingest_history(p, 0, STORE_HEADS_MOST * 2);
    close_place(p);
    struct db_options small = {.store = {.head_rows = 10, .read_only = true}};
    assert_int_equal(db_open(p->dir, &small, &p->db, &p->err), -KEEL_E_LIMIT);
    assert_non_null(strstr(p->err.message, "for writing"));
    p->db = NULL;
    open_place(p, (struct store_options){.read_only = true});
    check_history(p, STORE_HEADS_MOST * 2);
}

/* ---- an interrupted init ---- */

/* As db_init, with small files: it is done a hundred times. */
static int make_small(const char *dir, struct keel_error *err) {
    struct db_options options = {.store = {.create = true, .journal = {.file_bytes = 4096}},
                                 .time_zone = STR("Europe/London"),
                                 .currency = STR("GBP")};
    struct db *db;
    TRY(db_open(dir, &options, &db, err));
    return db_close(db, err);
}

/* What is left of it opens as what was asked for, or not at all, and init can be run again. */
static void test_interrupted_init(void **state) {
    struct place *p = *state;
    struct db_options options = {.store = {.head_rows = 100, .journal = {.file_bytes = 4096}}};
    uint64_t n = 1, whole = 0;
    fault_start();
    sqlite_os_start();
    for (bool fired = true; fired; n++) {
        struct keel_error why;
        temp_remove(p->dir);
        fault_fail(FAULT_ANY, n, EIO, FAULT_FOR_EVER);
        int code = make_small(p->dir, &why);
        fired = fault_fired();
        fault_none();
        if (code == 0) whole++;
        int opened = db_open(p->dir, &options, &p->db, &p->err);
        if (opened < 0) {
            p->db = NULL;
            assert_true(code < 0);
            assert_non_null(strstr(p->err.message, "keel init"));
            must(p, make_small(p->dir, &p->err));
            open_place(p, options.store);
        }
        assert_true(str_eq(db_currency(p->db), STR("GBP")));
        struct arena a;
        struct str zone;
        arena_init(&a, 4096);
        must(p, db_setting(p->db, "time_zone", &a, &zone, &p->err));
        assert_true(str_eq(zone, STR("Europe/London")));
        arena_release(&a);
        ingest_history(p, 0, 1);
        close_place(p);
    }
    sqlite_os_stop();
    fault_stop();
    print_message("%llu interrupted, %llu whole\n", (unsigned long long)n - 1 - whole,
                  (unsigned long long)whole);
    assert_true(n > 30);
}

/* A directory of an older making, whose settings came behind the manifest. */
static void test_missing_settings(void **state) {
    struct place *p = *state;
    struct db_options options = {0};
    char path[TEMP_PATH_MAX + 32];
    struct sql *sql;
    snprintf(path, sizeof path, "%s/keel.db", p->dir);
    must(p, sql_open(path, 0, &sql, &p->err));
    must(p, sql_run(sql, &p->err, "DELETE FROM state WHERE name = 'time_zone'", ""));
    sql_close(sql);
    assert_int_equal(db_open(p->dir, &options, &p->db, &p->err), -KEEL_E_CORRUPT);
    p->db = NULL;
    assert_non_null(strstr(p->err.message, "keel init"));
    assert_non_null(strstr(p->err.message, "time zone"));
}

/* A head of few rows has room for lists all the same: each flush would write a part of a few. */
static void test_items_in_small_heads(void **state) {
    struct place *p = *state;
    struct batch_writer w;
    struct buf batch;
    struct store_stats stats;
    open_place(p, (struct store_options){.head_rows = 1000});
    batch_writer_init(&w);
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint64_t i = 0; i < 30; i++) {
        struct ingest_counts counts = {0};
        event_begin(&w, &(struct event_head){.type = EVENT_TRACK,
                                             .time_ms = 1700000000000,
                                             .key = {i, 1},
                                             .name = STR("Order Completed"),
                                             .user_id = STR("ann")});
        event_list_begin(&w, STR("products"));
        for (uint32_t item = 0; item < 100; item++) {
            event_item_begin(&w);
            event_item_number(&w, STR("price"), item);
            event_item_end(&w);
        }
        event_list_end(&w);
        assert_null(event_end(&w));
        buf_clear(&batch);
        must(p, batch_finish(&w, &batch, &p->err));
        must(p, db_ingest(p->db, buf_str(&batch), &counts, &p->err));
        assert_int_equal(counts.residual, 0);
    }
    store_stats(db_store(p->db), &stats);
    assert_int_equal(stats.parts, 0);
    assert_int_equal(stats.head_rows, 30);
    batch_writer_release(&w);
    buf_release(&batch);
    close_place(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_damaged_batches, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_repeats, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_sifted_repeats, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_smaller_heads, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_items_in_small_heads, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_too_many_heads, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_interrupted_init, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_missing_settings, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
