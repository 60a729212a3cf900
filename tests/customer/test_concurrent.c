/* Two threads ingest, flush and compact; another writes tables of its own into keel.db; others take
 * snapshots and read. Each batch has as many
 * events Left as Right, with the same amounts, for one person: a reader that ever sees them differ
 * has seen half a batch, half a flush, or half a merge of two identifiers. A snapshot that is held
 * gives the same at its end as at its beginning, and the files that it held back are gone with it.
 *
 * Meant for the TSan build. KEEL_SEED in the environment repeats the batches, not the scheduling.
 * ctest: timeout=300
 */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "customer/timeline.h"
#include "fault_os.h"

enum { BATCHES = 300, PEOPLE = 40, PAIRS = 12, WRITERS = 2, READERS = 3, LOOKS_LEAST = 5 };

static uint64_t seed_of_run(void) {
    const char *set = getenv("KEEL_SEED");
    return set ? strtoull(set, NULL, 10) : 1;
}

struct shared {
    struct db *db;
    _Atomic bool done;
    _Atomic uint32_t next, writers; /* batch; writers that are at work */
    _Atomic uint32_t batches;       /* acknowledged */
    uint64_t notes;                 /* the keeper: committed to its table */
    _Atomic uint64_t looks;
    _Atomic int64_t longest_wait_us;
    _Atomic bool failed;
    char why[KEEL_ERROR_MAX + 64];
};

/* cmocka's assertions belong to the main thread: others leave a note. */
static void complain(struct shared *s, const char *what, uint64_t a, uint64_t b) {
    if (atomic_exchange(&s->failed, true)) return;
    snprintf(s->why, sizeof s->why, "%s: %llu, %llu", what, (unsigned long long)a,
             (unsigned long long)b);
}

/* ---- the writer ---- */

static void write_pair(struct batch_writer *w, struct rand *r, uint32_t k, uint32_t i,
                       const char *user, const char *device) {
    static const char *const sides[] = {"Left", "Right"};
    double amount = rand_below(r, 1000);
    /* Mostly forwards through three months, some late. */
    int64_t day = rand_below(r, 5) ? k * 90 / BATCHES : rand_below(r, 90);
    int64_t time = 1300000000000 + day * MS_PER_DAY + rand_below(r, MS_PER_DAY);
    for (int side = 0; side < 2; side++) {
        char id[32], text[32];
        snprintf(id, sizeof id, "%u-%u-%d", k, i, side);
        snprintf(text, sizeof text, "text %u", rand_below(r, 50));
        struct event_head head = {.type = EVENT_TRACK,
                                  .time_ms = time,
                                  .key = event_key_of(str_from(id)),
                                  .name = str_from(sides[side]),
                                  .user_id = str_from(user),
                                  .anonymous_id = str_from(device)};
        event_begin(w, &head);
        event_number(w, SCOPE_PROPERTY, STR("amount"), amount);
        /* Names and lists of each batch's own: the schema grows under the compactor. */
        snprintf(id, sizeof id, "property %u", k);
        event_bool(w, SCOPE_PROPERTY, str_from(id), true);
        event_string(w, SCOPE_PROPERTY, STR("text"), str_from(text));
        event_string(w, SCOPE_CONTEXT, STR("channel"), str_from(text));
        event_list_begin(w, STR("products"));
        for (uint32_t n = i % 3; n > 0; n--) {
            event_item_begin(w);
            event_item_number(w, STR("price"), amount / n);
            event_item_end(w);
        }
        event_list_end(w);
        snprintf(id, sizeof id, "list %u", k);
        event_list_begin(w, str_from(id));
        event_item_begin(w);
        event_item_number(w, STR("price"), amount);
        event_item_end(w);
        event_list_end(w);
        const char *refused = event_end(w);
        K_ASSERT(refused == NULL);
    }
}

static void make_batch(uint32_t k, struct buf *out) {
    struct batch_writer w;
    struct rand r;
    struct keel_error err;
    char user[16] = "", device[16] = "";
    rand_init(&r, seed_of_run() * 65537 + k);
    uint32_t person = rand_below(&r, PEOPLE), how = rand_below(&r, 3);
    if (how != 0) snprintf(user, sizeof user, "u%u", person);
    if (how != 1)
        snprintf(device, sizeof device, "a%u", how == 2 ? rand_below(&r, PEOPLE) : person);
    batch_writer_init(&w);
    for (uint32_t i = 0, n = 1 + rand_below(&r, PAIRS); i < n; i++)
        write_pair(&w, &r, k, i, user, device);
    int code = batch_finish(&w, out, &err);
    K_ASSERT_OP(code, ==, 0);
    batch_writer_release(&w);
}

static void *write_all(void *ctx) {
    struct shared *s = ctx;
    struct buf batch;
    struct keel_error err;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    for (uint32_t k; (k = atomic_fetch_add(&s->next, 1)) < BATCHES && !s->failed;) {
        struct ingest_counts counts = {0};
        buf_clear(&batch);
        make_batch(k, &batch);
        int code = db_ingest(s->db, buf_str(&batch), &counts, &err);
        if (code == 0 && k % 9 == 8) code = db_flush(s->db, &err);
        if (code == 0 && k % 31 == 30) {
            store_ingest_begin(db_store(s->db));
            code = store_compact(db_store(s->db), true, &err);
            store_ingest_end(db_store(s->db));
        }
        if (code < 0) complain(s, err.message, 0, 0);
        s->batches++;
    }
    /* Not before everybody has looked a few times. */
    while (!s->failed && s->looks < READERS * LOOKS_LEAST) sched_yield();
    if (atomic_fetch_sub(&s->writers, 1) == 1) atomic_store(&s->done, true);
    buf_release(&batch);
    return NULL;
}

/* ---- another room's tables in keel.db ---- */

static const char *const NOTES[] = {"CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT);"
                                    "CREATE TABLE notes(n INTEGER); INSERT INTO notes VALUES(0)"};

static int write_note(struct sql *sql, struct keel_error *err) {
    TRY(sql_run(sql, err, "INSERT INTO note(text) VALUES(?)", "z", "a note"));
    sched_yield(); /* a flush or a merge wants the connection now */
    return sql_run(sql, err, "UPDATE notes SET n = n + 1", "");
}

/* Every third transaction is taken back, and takes nothing of a flush along. */
static void *keep_notes(void *ctx) {
    struct shared *s = ctx;
    struct sql *sql = store_db(db_store(s->db));
    struct keel_error err;
    int code = sql_migrate(sql, "notes", NOTES, 1, &err);
    for (uint64_t i = 0; code == 0 && !s->done && !s->failed; i++) {
        code = sql_begin(sql, &err);
        if (code == 0) code = write_note(sql, &err);
        if (code < 0) break;
        if (i % 3 == 2) {
            sql_rollback(sql);
            continue;
        }
        code = sql_commit(sql, &err);
        s->notes += code == 0;
        if (code == 0) code = store_set_setting(db_store(s->db), "keeper", STR("was here"), &err);
    }
    if (code < 0) complain(s, err.message, 0, 0);
    return NULL;
}

static void check_notes(struct shared *s) {
    struct sql *sql = store_db(db_store(s->db));
    struct keel_error err;
    int64_t rows = -1, n = -1;
    assert_int_equal(sql_number(sql, -1, &rows, &err, "SELECT count(*) FROM note", ""), 0);
    assert_int_equal(sql_number(sql, -1, &n, &err, "SELECT n FROM notes", ""), 0);
    assert_int_equal(rows, s->notes);
    assert_int_equal(n, s->notes);
}

/* ---- readers ---- */

struct side {
    uint32_t *count;
    double *amount;
    uint64_t rows, items;
};

static void side_init(struct side *side, uint32_t numbers) {
    *side = (struct side){.count = k_zalloc((numbers + 1) * sizeof *side->count),
                          .amount = k_zalloc((numbers + 1) * sizeof *side->amount)};
}
static void side_release(struct side *side) {
    k_free(side->count);
    k_free(side->amount);
}

static void add_rows(struct shared *s, const struct batch *b, bool amounts, struct side *side) {
    struct keel_error err;
    struct batch_items items = {0};
    const struct vec *v = NULL;
    int code = amounts ? batch_column(b, 0, &v, &err) : 0;
    if (code >= 0 && amounts) code = batch_item_column(b, 1, &items, &err);
    if (code < 0) {
        complain(s, err.message, 0, 0);
        return;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        if (!bit_get(b->live, i)) continue;
        side->rows++;
        side->count[b->customer[i]]++;
        if (!amounts) continue;
        if (!bit_get(v->present, i)) complain(s, "an amount is absent", b->customer[i], 0);
        side->amount[b->customer[i]] += v->num[i];
        side->items += items.count[i];
    }
}

static bool read_side(struct shared *s, struct snapshot *snap, const char *name, bool ordered,
                      bool amounts, struct side *side) {
    const struct schema *schema = store_schema(db_store(s->db));
    struct keel_error err;
    int64_t stream = schema_find_event(schema, str_from(name));
    if (stream < 0 || snap->rows == 0) return false;
    int64_t list = schema_find_list(schema, (uint32_t)stream, STR("products"));
    int64_t amount = schema_find_column(schema, (uint32_t)stream, STR("amount"), COLUMN_NUMBER);
    int64_t price =
        list < 0 ? -1 : schema_find_column(schema, (uint32_t)list, STR("price"), COLUMN_NUMBER);
    if (amount < 0 || price < 0) return false;
    uint32_t id = (uint32_t)stream, columns[] = {(uint32_t)amount, (uint32_t)price};
    struct scan_spec spec = {.events = &id,
                             .event_count = 1,
                             .columns = columns,
                             .column_count = amounts ? 2 : 0,
                             .from_ms = INT64_MIN,
                             .to_ms = INT64_MAX,
                             .ordered = ordered};
    struct scan *scan;
    struct batch b;
    int code = scan_open(snap, &spec, &scan, &err);
    if (code == 0) {
        code = scan_range(scan, 0, snap->redirects.numbers, &err);
        while (code == 0 && (code = scan_next(scan, &b, &err)) == 1) {
            add_rows(s, &b, amounts, side);
            code = 0;
        }
        scan_close(scan);
    }
    if (code < 0) complain(s, err.message, 0, 0);
    return code == 0;
}

/* Left and Right agree, for every customer. Returns the rows. */
static uint64_t compare_sides(struct shared *s, struct snapshot *snap, struct rand *r) {
    struct side left, right;
    uint32_t numbers = snap->redirects.numbers;
    bool amounts = rand_below(r, 2);
    uint64_t rows = 0;
    side_init(&left, numbers);
    side_init(&right, numbers);
    if (read_side(s, snap, "Left", rand_below(r, 2), amounts, &left) &&
        read_side(s, snap, "Right", rand_below(r, 2), amounts, &right)) {
        for (uint32_t c = 0; c < numbers; c++) {
            if (left.count[c] != right.count[c])
                complain(s, "Left and Right of a customer", left.count[c], right.count[c]);
            if (left.amount[c] != right.amount[c])
                complain(s, "amounts of a customer", (uint64_t)left.amount[c],
                         (uint64_t)right.amount[c]);
        }
        if (left.items != right.items) complain(s, "line items", left.items, right.items);
        rows = left.rows + right.rows;
        if (rows != snap->rows) complain(s, "rows scanned and of the snapshot", rows, snap->rows);
    }
    side_release(&left);
    side_release(&right);
    return rows;
}

static void read_profile(struct shared *s, struct snapshot *snap, struct rand *r) {
    char text[32];
    struct arena a;
    struct timeline t;
    struct keel_error err;
    snprintf(text, sizeof text, "u%u", rand_below(r, PEOPLE));
    uint32_t customer = db_find_customer(s->db, str_from(text));
    if (customer == NUMBER_NONE || customer >= snap->redirects.numbers) return;
    arena_init(&a, SIZE_MAX / 2);
    if (timeline_read(s->db, snap, customer, INT64_MAX, 20, &a, &t, &err) < 0)
        complain(s, err.message, 0, 0);
    else if (t.total % 2)
        complain(s, "a profile with half a pair", t.total, 0);
    arena_release(&a);
}

static struct snapshot *take_snapshot(struct shared *s) {
    struct snapshot *snap;
    struct keel_error err;
    int64_t begin = monotonic_us();
    if (snapshot_open(db_store(s->db), &snap, &err) < 0) {
        complain(s, err.message, 0, 0);
        return NULL;
    }
    int64_t took = monotonic_us() - begin, longest = s->longest_wait_us;
    while (took > longest && !atomic_compare_exchange_weak(&s->longest_wait_us, &longest, took))
        continue;
    return snap;
}

static void *read_on(void *ctx) {
    struct shared *s = ctx;
    struct rand r;
    uint64_t last_rows = 0;
    rand_init(&r, seed_of_run() + (uint64_t)(uintptr_t)&r);
    while (!s->done && !s->failed) {
        struct snapshot *snap = take_snapshot(s);
        if (!snap) break;
        if (snap->rows < last_rows) complain(s, "rows became fewer", snap->rows, last_rows);
        last_rows = snap->rows;
        compare_sides(s, snap, &r);
        if (rand_below(&r, 4) == 0) read_profile(s, snap, &r);
        snapshot_close(snap);
        s->looks++;
    }
    return NULL;
}

/* Holds each snapshot over several batches. */
static void *hold_on(void *ctx) {
    struct shared *s = ctx;
    struct rand r;
    rand_init(&r, seed_of_run() + 99);
    while (!s->done && !s->failed) {
        struct snapshot *snap = take_snapshot(s);
        if (!snap) break;
        uint64_t rows = compare_sides(s, snap, &r);
        uint32_t until = s->batches + 40;
        while (!s->done && !s->failed && s->batches < until) sched_yield();
        uint64_t again = compare_sides(s, snap, &r);
        if (rows && again != rows) complain(s, "a held snapshot changed", rows, again);
        snapshot_close(snap);
        s->looks++;
    }
    return NULL;
}

/* ---- together ---- */

static uint32_t count_parts(const char *dir) {
    char path[TEMP_PATH_MAX + 32];
    uint32_t n = 0;
    snprintf(path, sizeof path, "%s/parts", dir);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strstr(e->d_name, ".part") != NULL;
    closedir(d);
    return n;
}

static void run(bool background) {
    struct shared *s = test_calloc(1, sizeof *s);
    struct keel_error err;
    char dir[TEMP_PATH_MAX], data[TEMP_PATH_MAX + 8];
    struct db_options options = {.store = {.head_rows = 200,
                                           .part_rows = 1500,
                                           .merge_rows = 700,
                                           .background = background,
                                           .journal = {.file_bytes = 64 << 10}}};
    print_message("KEEL_SEED=%llu\n", (unsigned long long)seed_of_run());
    temp_make(dir);
    snprintf(data, sizeof data, "%s/data", dir);
    if (db_init(data, STR("UTC"), STR("USD"), &err) < 0) fail_msg("%s", err.message);
    if (db_open(data, &options, &s->db, &err) < 0) fail_msg("%s", err.message);
    pthread_t writers[WRITERS], keeper, readers[READERS];
    s->writers = WRITERS;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, i ? read_on : hold_on, s), 0);
    assert_int_equal(pthread_create(&keeper, NULL, keep_notes, s), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_all, s), 0);
    for (int i = 0; i < WRITERS; i++) pthread_join(writers[i], NULL);
    pthread_join(keeper, NULL);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    if (s->failed) fail_msg("%s", s->why);
    struct store_stats stats;
    assert_int_equal(db_close(s->db, &err), 0); /* the compactor rests */
    uint32_t files = count_parts(data);
    options.store.background = false;
    if (db_open(data, &options, &s->db, &err) < 0) fail_msg("%s", err.message);
    store_stats(db_store(s->db), &stats);
    assert_int_equal(files, stats.parts); /* nothing was held back any more */
    check_notes(s);
    print_message(
        "%llu notes; %llu looks, %llu rows, %llu parts; the longest wait for a snapshot %lld us\n",
        (unsigned long long)s->notes, (unsigned long long)s->looks, (unsigned long long)stats.rows,
        (unsigned long long)stats.parts, (long long)s->longest_wait_us);
    assert_int_equal(db_close(s->db, &err), 0);
    temp_remove(dir);
    test_free(s);
}

static void test_readers(void **state) {
    (void)state;
    run(false);
}

static void test_background(void **state) {
    (void)state;
    run(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_readers),
                                       cmocka_unit_test(test_background)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
