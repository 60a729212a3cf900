/* Random histories against a plain model: what a scan hands out is each customer's events, once, in
 * order, with their values, whatever was flushed, compacted, merged, repeated, late, or reopened.
 *
 * KEEL_SEED=n repeats one history; without it, many are tried and the failing seed is printed. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "customer/db.h"
#include "fault_os.h"

enum { MOST = 6000, USERS = 40, ANONS = 60, NAMES = 5, MAX_ITEMS = 3 };

static const char *const EVENTS[NAMES] = {"View", "Add", "Order", "Search", "Rare"};
static const char *const COLOURS[] = {"red", "green", "blue", "", "a rather long colour name"};

struct raw {
    int user, anon; /* -1: none */
    int64_t time;
    int event;
    uint32_t id;  /* message id */
    double price; /* NaN-free; < 0: absent */
    int colour;   /* -1: absent */
    int channel;  /* context; -1: absent */
    int flag;     /* -1 absent, 0, 1 */
    int items;
    double item_price[MAX_ITEMS];
};

struct model {
    struct raw events[MOST];
    uint32_t n; /* accepted, in arrival order */
    struct rand rand;
};

static int64_t pick_time(struct rand *r) {
    /* four months, coarse steps so that ties are common */
    int64_t base = 1300000000000;
    return base + (int64_t)rand_below(r, 120 * 24) * MS_PER_HOUR;
}

static struct raw random_event(struct rand *r, uint32_t id) {
    struct raw e = {.user = -1, .anon = -1, .id = id, .time = pick_time(r)};
    uint32_t how = rand_below(r, 10);
    if (how < 4) e.user = (int)rand_below(r, USERS);
    if (how >= 3) e.anon = (int)rand_below(r, ANONS);
    e.event = (int)rand_below(r, 100);
    e.event = e.event < 50 ? 0 : e.event < 75 ? 1 : e.event < 90 ? 2 : e.event < 99 ? 3 : 4;
    e.price = rand_below(r, 3) ? (double)rand_below(r, 100000) / 100 : -1;
    e.colour = (int)rand_below(r, 6) - 1;
    e.channel = (int)rand_below(r, 4) - 1;
    e.flag = (int)rand_below(r, 3) - 1;
    e.items = e.event == 2 ? (int)rand_below(r, MAX_ITEMS + 1) : 0;
    for (int i = 0; i < e.items; i++)
        e.item_price[i] = rand_below(r, 5) ? (double)rand_below(r, 1000) / 8 : -1;
    return e;
}

static void write_event(struct batch_writer *w, const struct raw *e) {
    char user[32] = "", anon[32] = "", id[32];
    if (e->user >= 0) snprintf(user, sizeof user, "u%d", e->user);
    if (e->anon >= 0) snprintf(anon, sizeof anon, "a%d", e->anon);
    snprintf(id, sizeof id, "m%u", e->id);
    struct event_head head = {.type = EVENT_TRACK,
                              .time_ms = e->time,
                              .key = event_key_of(str_from(id)),
                              .name = str_from(EVENTS[e->event]),
                              .user_id = str_from(user),
                              .anonymous_id = str_from(anon)};
    event_begin(w, &head);
    if (e->channel >= 0)
        event_string(w, SCOPE_CONTEXT, STR("channel"), str_from(COLOURS[e->channel]));
    if (e->price >= 0) event_number(w, SCOPE_PROPERTY, STR("price"), e->price);
    if (e->colour >= 0)
        event_string(w, SCOPE_PROPERTY, STR("colour"), str_from(COLOURS[e->colour]));
    if (e->flag >= 0) event_bool(w, SCOPE_PROPERTY, STR("flag"), e->flag);
    if (e->items) {
        event_list_begin(w, STR("products"));
        for (int i = 0; i < e->items; i++) {
            event_item_begin(w);
            if (e->item_price[i] >= 0) event_item_number(w, STR("price"), e->item_price[i]);
            event_item_string(w, STR("sku"), str_from(COLOURS[i]));
            event_item_end(w);
        }
        event_list_end(w);
    }
    const char *refused = event_end(w);
    assert_null(refused);
}

/* Whose event it is: the user, else the owner of the device by its earliest login. */
static int owner_of(const struct model *m, int anon) {
    int owner = -1;
    int64_t when = INT64_MAX;
    char a[32], b[32];
    for (uint32_t i = 0; i < m->n; i++) {
        const struct raw *e = &m->events[i];
        if (e->anon != anon || e->user < 0) continue;
        snprintf(a, sizeof a, "u%d", e->user);
        snprintf(b, sizeof b, "u%d", owner);
        if (e->time < when || (e->time == when && strcmp(a, b) < 0)) {
            owner = e->user;
            when = e->time;
        }
    }
    return owner;
}

struct expected {
    const struct raw *event;
    uint32_t root, number, arrival;
};

static int in_order(const void *a, const void *b) {
    const struct expected *x = a, *y = b;
    if (x->root != y->root) return x->root < y->root ? -1 : 1;
    if (x->event->time != y->event->time) return x->event->time < y->event->time ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

static uint32_t number_of(struct db *db, enum id_kind kind, int i) {
    char id[32];
    snprintf(id, sizeof id, "%c%d", kind == ID_USER ? 'u' : 'a', i);
    uint32_t number = identity_find(db_identity(db), kind, str_from(id));
    assert_int_not_equal(number, NUMBER_NONE);
    return number;
}

static struct expected *expect_all(const struct model *m, struct db *db) {
    struct expected *out = calloc(m->n + 1, sizeof *out);
    int owners[ANONS];
    for (int a = 0; a < ANONS; a++) owners[a] = owner_of(m, a);
    for (uint32_t i = 0; i < m->n; i++) {
        const struct raw *e = &m->events[i];
        uint32_t number =
            e->user >= 0 ? number_of(db, ID_USER, e->user) : number_of(db, ID_ANONYMOUS, e->anon);
        uint32_t root =
            e->user < 0 && owners[e->anon] >= 0 ? number_of(db, ID_USER, owners[e->anon]) : number;
        out[i] = (struct expected){.event = e, .root = root, .number = number, .arrival = i};
    }
    qsort(out, m->n, sizeof *out, in_order);
    return out;
}

/* ---- the scan ---- */

enum { PRICE, COLOUR, CHANNEL, FLAG, ITEM_PRICE, ITEM_SKU, COLUMNS };

/* The columns of one event; false if the schema has not all of them yet. */
static bool find_columns(struct db *db, const char *event, uint32_t *columns, uint32_t *stream) {
    const struct schema *s = store_schema(db_store(db));
    int64_t e = schema_find_event(s, str_from(event));
    if (e < 0) return false;
    int64_t list = schema_find_list(s, (uint32_t)e, STR("products"));
    int64_t ids[COLUMNS] = {
        [PRICE] = schema_find_column(s, (uint32_t)e, STR("price"), COLUMN_NUMBER),
        [COLOUR] = schema_find_column(s, (uint32_t)e, STR("colour"), COLUMN_STRING),
        [CHANNEL] = schema_find_column(s, STREAM_ROWS, STR("channel"), COLUMN_STRING),
        [FLAG] = schema_find_column(s, (uint32_t)e, STR("flag"), COLUMN_BOOL),
        [ITEM_PRICE] =
            list < 0 ? -1 : schema_find_column(s, (uint32_t)list, STR("price"), COLUMN_NUMBER),
        [ITEM_SKU] =
            list < 0 ? -1 : schema_find_column(s, (uint32_t)list, STR("sku"), COLUMN_STRING)};
    for (int i = 0; i < COLUMNS; i++)
        if (ids[i] < 0)
            columns[i] = UINT32_MAX;
        else
            columns[i] = (uint32_t)ids[i];
    *stream = (uint32_t)e;
    return true;
}

static struct str text_at(struct db *db, uint32_t column, const struct vec *v, uint32_t i) {
    return v->kind == VEC_TEXT ? v->text[i]
                               : lexicon_str(store_lexicon(db_store(db), column), v->code[i]);
}

static void check_text(struct db *db, uint32_t column, const struct vec *v, uint32_t i,
                       int colour) {
    assert_int_equal(bit_get(v->present, i), colour >= 0);
    if (colour < 0) return;
    struct str text = text_at(db, column, v, i);
    assert_int_equal(text.n, strlen(COLOURS[colour]));
    assert_memory_equal(text.p, COLOURS[colour], text.n);
}

static void check_items(struct db *db, const struct batch *b, const uint32_t *ids, const int *index,
                        uint32_t row, const struct raw *e) {
    struct batch_items prices, skus;
    struct keel_error err;
    if (index[ITEM_PRICE] < 0 || index[ITEM_SKU] < 0) return;
    assert_int_equal(batch_item_column(b, (uint32_t)index[ITEM_PRICE], &prices, &err), 0);
    assert_int_equal(batch_item_column(b, (uint32_t)index[ITEM_SKU], &skus, &err), 0);
    assert_int_equal(prices.count[row], e->items);
    assert_int_equal(skus.count[row], e->items);
    for (int i = 0; i < e->items; i++) {
        uint32_t k = prices.first[row] + (uint32_t)i, s = skus.first[row] + (uint32_t)i;
        const struct vec *p = &prices.chunks[k / CHUNK_ROWS], *t = &skus.chunks[s / CHUNK_ROWS];
        assert_int_equal(bit_get(p->present, k % CHUNK_ROWS), e->item_price[i] >= 0);
        if (e->item_price[i] >= 0) assert_true(p->num[k % CHUNK_ROWS] == e->item_price[i]);
        check_text(db, ids[ITEM_SKU], t, s % CHUNK_ROWS, i);
    }
}

static void check_row(struct db *db, const struct batch *b, const uint32_t *ids, const int *index,
                      uint32_t row, const struct raw *e) {
    const struct vec *v;
    struct keel_error err;
    if (index[PRICE] >= 0) {
        assert_int_equal(batch_column(b, (uint32_t)index[PRICE], &v, &err), 0);
        assert_int_equal(bit_get(v->present, row), e->price >= 0);
        if (e->price >= 0) assert_true(v->num[row] == e->price);
    }
    if (index[COLOUR] >= 0) {
        assert_int_equal(batch_column(b, (uint32_t)index[COLOUR], &v, &err), 0);
        check_text(db, ids[COLOUR], v, row, e->colour);
    }
    if (index[CHANNEL] >= 0) {
        assert_int_equal(batch_column(b, (uint32_t)index[CHANNEL], &v, &err), 0);
        check_text(db, ids[CHANNEL], v, row, e->channel);
    }
    if (index[FLAG] >= 0) {
        assert_int_equal(batch_column(b, (uint32_t)index[FLAG], &v, &err), 0);
        assert_int_equal(bit_get(v->present, row), e->flag >= 0);
        if (e->flag >= 0) assert_int_equal(v->code[row], e->flag);
    }
    check_items(db, b, ids, index, row, e);
}

struct what {          /* of a scan */
    const char *event; /* NULL: all */
    bool ordered, context;
    int64_t from, to;
};

static bool asked(const struct what *what, const struct raw *e) {
    return (!what->event || strcmp(what->event, EVENTS[e->event]) == 0) && e->time >= what->from &&
           e->time < what->to;
}

/* Finds the row among the expected of its customer: in order it must be the next. */
static uint32_t take(const struct what *what, const struct expected *all, uint32_t n, bool *used,
                     struct db *db, uint32_t *next, const struct batch *b, uint32_t row) {
    const struct schema *s = store_schema(db_store(db));
    struct str name = schema_stream(s, b->event[row]).name;
    for (uint32_t i = what->ordered ? next[b->customer[row]] : 0; i < n; i++) {
        const struct expected *x = &all[i];
        if (used[i] || x->root != b->customer[row] || !asked(what, x->event)) continue;
        bool same = x->event->time == b->time[row] && str_is(name, EVENTS[x->event->event]);
        if (what->ordered) assert_true(same);
        if (!same) continue;
        used[i] = true;
        next[b->customer[row]] = i + 1;
        return i;
    }
    fail_msg("customer %u has no %.*s at %lld left", b->customer[row], STR_ARG(name),
             (long long)b->time[row]);
    return 0;
}

static void check_scan(struct db *db, const struct model *m, const struct expected *all,
                       const struct what *what, uint32_t range) {
    struct keel_error err;
    struct snapshot *snap;
    assert_int_equal(snapshot_open(db_store(db), &snap, &err), 0);
    uint32_t ids[COLUMNS], columns[COLUMNS], stream = 0, n_columns = 0;
    int index[COLUMNS];
    bool found = what->event && find_columns(db, what->event, ids, &stream);
    for (int i = 0; i < COLUMNS; i++) {
        index[i] = -1;
        if (!found || ids[i] == UINT32_MAX || (i == CHANNEL && !what->context)) continue;
        index[i] = (int)n_columns;
        columns[n_columns++] = ids[i];
    }
    struct scan_spec spec = {.events = what->event ? &stream : NULL,
                             .event_count = found,
                             .columns = columns,
                             .column_count = n_columns,
                             .from_ms = what->from,
                             .to_ms = what->to,
                             .ordered = what->ordered};
    bool *used = calloc(m->n + 1, sizeof *used);
    uint32_t numbers = snap->redirects.numbers;
    uint32_t *next = calloc(numbers + 1, sizeof *next);
    struct scan *scan;
    if (scan_open(snap, &spec, &scan, &err) < 0) fail_msg("%s", err.message);
    for (uint32_t first = 0; first < numbers; first += range) {
        struct batch b;
        int got;
        assert_int_equal(scan_range(scan, first, range, &err), 0);
        while ((got = scan_next(scan, &b, &err)) == 1)
            for (uint32_t row = 0; row < b.n; row++) {
                if (!bit_get(b.live, row)) continue;
                assert_in_range(b.customer[row], first, first + range - 1);
                uint32_t i = take(what, all, m->n, used, db, next, &b, row);
                /* Unordered rows that tie cannot be told apart by time. */
                if (what->ordered && what->event) check_row(db, &b, ids, index, row, all[i].event);
            }
        if (got < 0) fail_msg("%s", err.message);
    }
    for (uint32_t i = 0; i < m->n; i++) assert_int_equal(used[i], asked(what, all[i].event));
    scan_close(scan);
    free(next);
    free(used);
    snapshot_close(snap);
}

static void check_all(struct db *db, const struct model *m, struct rand *r) {
    struct expected *all = expect_all(m, db);
    struct what what = {.from = INT64_MIN, .to = INT64_MAX, .ordered = true};
    uint32_t range = 1 + rand_below(r, 120);
    check_scan(db, m, all, &what, range);
    for (int e = 0; e < NAMES; e++) {
        what.event = EVENTS[e];
        what.context = rand_below(r, 2);
        what.ordered = rand_below(r, 4) != 0;
        check_scan(db, m, all, &what, range);
    }
    what.from = pick_time(r);
    what.to = what.from + (int64_t)rand_below(r, 60 * 24) * MS_PER_HOUR;
    what.event = rand_below(r, 2) ? EVENTS[rand_below(r, NAMES)] : NULL;
    what.ordered = true;
    check_scan(db, m, all, &what, range);
    free(all);
}

/* ---- histories ---- */

static struct db *open_db(const char *dir, const struct db_options *options) {
    struct db *db;
    struct keel_error err;
    if (db_open(dir, options, &db, &err) < 0) fail_msg("%s", err.message);
    return db;
}

static void ingest(struct db *db, struct model *m, struct batch_writer *w, uint32_t accepted,
                   uint32_t duplicates) {
    struct buf out;
    struct keel_error err;
    struct ingest_counts counts = {0};
    (void)m;
    buf_init(&out, BATCH_MAX_BYTES + 64);
    assert_int_equal(batch_finish(w, &out, &err), 0);
    if (out.n && db_ingest(db, buf_str(&out), &counts, &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(counts.accepted, accepted);
    assert_int_equal(counts.duplicates, duplicates);
    buf_release(&out);
}

static void add_batch(struct db *db, struct model *m, uint32_t *next_id) {
    struct batch_writer w;
    uint32_t n = 1 + rand_below(&m->rand, 60), accepted = 0, duplicates = 0;
    batch_writer_init(&w);
    for (uint32_t i = 0; i < n && m->n < MOST; i++) {
        if (m->n && rand_below(&m->rand, 12) == 0) {
            write_event(&w, &m->events[rand_below(&m->rand, m->n)]);
            duplicates++;
            continue;
        }
        struct raw e = random_event(&m->rand, (*next_id)++);
        write_event(&w, &e);
        m->events[m->n++] = e;
        accepted++;
    }
    ingest(db, m, &w, accepted, duplicates);
    batch_writer_release(&w);
}

static void run_history(uint64_t seed) {
    struct model *m = calloc(1, sizeof *m);
    struct keel_error err;
    uint32_t next_id = 0;
    rand_init(&m->rand, seed);
    struct db_options options = {
        .store = {.head_rows = 60 + rand_below(&m->rand, 2000),
                  .part_rows = 100 + rand_below(&m->rand, 4000),
                  .merge_rows = 1 + rand_below(&m->rand, seed % 2 ? 40 : 2000),
                  .background = rand_below(&m->rand, 2),
                  .journal = {.file_bytes = 1 << 20}}};
    char dir[TEMP_PATH_MAX], path[TEMP_PATH_MAX + 8];
    temp_make(dir);
    snprintf(path, sizeof path, "%s/data", dir);
    if (db_init(path, STR("Europe/London"), STR("GBP"), &err) < 0) fail_msg("%s", err.message);
    struct db *db = open_db(path, &options);
    uint32_t steps = 5 + rand_below(&m->rand, 40);
    for (uint32_t i = 0; i < steps; i++) {
        add_batch(db, m, &next_id);
        uint32_t what = rand_below(&m->rand, 12);
        int code = 0;
        if (what == 0) code = db_flush(db, &err);
        if (what == 1) code = store_compact(db_store(db), true, &err);
        if (what == 2) {
            assert_int_equal(db_close(db, &err), 0);
            db = open_db(path, &options);
        }
        if (code < 0) fail_msg("%s", err.message);
        if (what == 3) check_all(db, m, &m->rand);
    }
    check_all(db, m, &m->rand);
    assert_int_equal(db_flush(db, &err), 0);
    if (store_compact(db_store(db), true, &err) < 0) fail_msg("%s", err.message);
    check_all(db, m, &m->rand);
    assert_int_equal(db_close(db, &err), 0);
    options.store.read_only = true;
    db = open_db(path, &options);
    check_all(db, m, &m->rand);
    assert_int_equal(db_close(db, &err), 0);
    temp_remove(dir);
    free(m);
}

static void test_histories(void **state) {
    (void)state;
    const char *given = getenv("KEEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : 1;
    uint64_t count = given ? 1 : 25;
    for (uint64_t i = 0; i < count; i++) {
        fprintf(stderr, "KEEL_SEED=%" PRIu64 "\n", seed + i);
        run_history(seed + i);
    }
}

static void test_open_errors(void **state) {
    (void)state;
    struct keel_error err;
    struct db *db;
    struct db_options options = {0};
    char dir[TEMP_PATH_MAX];
    temp_make(dir);
    assert_int_equal(db_open(dir, &options, &db, &err), -KEEL_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "keel init"));
    assert_int_equal(db_init(dir, STR("Mars/Olympus"), STR("USD"), &err) < 0, 1);
    assert_int_equal(db_init(dir, STR("UTC"), STR("USD"), &err), 0);
    assert_int_equal(db_init(dir, STR("UTC"), STR("USD"), &err), -KEEL_E_EXISTS);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    struct db *second;
    assert_int_equal(db_open(dir, &options, &second, &err), -KEEL_E_BUSY);
    assert_int_equal(db_close(db, &err), 0);
    temp_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
