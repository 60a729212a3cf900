/* Implementation of history.h. The model is a list of events; owners of devices are found by
 * looking at every event that names both; nothing is shared with the code under test but the batch
 * format. */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "customer/timeline.h"
#include "store/doctor.h"

enum { VIEW, ADD, ORDER, SEARCH, RARE, IDENTIFY, ALIAS, KINDS, ITEMS_MOST = 3, COLOURS = 6 };

static const char *const STREAMS[KINDS] = {"View", "Add",       "Order", "Search",
                                           "Rare", "$identify", "$alias"};
static const char *const COLOUR[COLOURS] = {
    "red", "green", "blue", "", "a rather long colour name, which fills a block", "ä"};

struct raw {
    uint32_t number;
    int kind, user, device; /* -1: none */
    int alias;              /* device that an alias names */
    int64_t time;
    double price; /* < 0: absent */
    int colour, channel, flag;
    uint32_t items;
    double item_price[ITEMS_MOST];
};

/* ---- making events ---- */

uint32_t history_own_events(const struct history *h, uint32_t k) {
    struct rand r;
    rand_init(&r, h->seed * 7919 + k);
    return 1 + rand_below(&r, h->batch_events);
}

static int kind_of(uint32_t percent) {
    static const uint8_t below[KINDS] = {46, 68, 84, 91, 92, 98, 100};
    int kind = 0;
    while (percent >= below[kind]) kind++;
    return kind;
}

static struct raw event_of(const struct history *h, uint32_t number) {
    struct rand r;
    rand_init(&r, h->seed * 1000003 + number);
    struct raw e = {.number = number, .user = -1, .device = -1, .alias = -1};
    uint32_t who = rand_below(&r, 10);
    e.kind = kind_of(rand_below(&r, 100));
    if (who < 4 || e.kind >= IDENTIFY) e.user = (int)rand_below(&r, h->users);
    if (who >= 3 && e.kind != ALIAS) e.device = (int)rand_below(&r, h->devices);
    if (e.kind == ALIAS) e.alias = (int)rand_below(&r, h->devices);
    /* Steps of six hours make ties common. */
    e.time = 1300000000000 + (int64_t)rand_below(&r, h->months * 30 * 4) * 6 * MS_PER_HOUR;
    e.price = rand_below(&r, 3) ? (double)rand_below(&r, 100000) / 100 : -1;
    e.colour = (int)rand_below(&r, COLOURS + 1) - 1;
    e.channel = (int)rand_below(&r, 4) - 1;
    e.flag = (int)rand_below(&r, 3) - 1;
    e.items = e.kind == ORDER ? rand_below(&r, ITEMS_MOST + 1) : 0;
    for (uint32_t i = 0; i < e.items; i++)
        e.item_price[i] = rand_below(&r, 5) ? (double)rand_below(&r, 1000) / 8 : -1;
    return e;
}

static void write_fields(struct batch_writer *w, const struct raw *e) {
    event_number(w, SCOPE_CONTEXT, STR("n"), e->number);
    if (e->channel >= 0)
        event_string(w, SCOPE_CONTEXT, STR("channel"), str_from(COLOUR[e->channel]));
    if (e->price >= 0) event_number(w, SCOPE_PROPERTY, STR("price"), e->price);
    if (e->colour >= 0) event_string(w, SCOPE_PROPERTY, STR("colour"), str_from(COLOUR[e->colour]));
    if (e->flag >= 0) event_bool(w, SCOPE_PROPERTY, STR("flag"), e->flag);
    if (e->kind == SEARCH) event_json(w, SCOPE_PROPERTY, STR("tags"), STR("[1,2]"));
    if (!e->items) return;
    event_list_begin(w, STR("products"));
    for (uint32_t i = 0; i < e->items; i++) {
        event_item_begin(w);
        if (e->item_price[i] >= 0) event_item_number(w, STR("price"), e->item_price[i]);
        event_item_string(w, STR("sku"), str_from(COLOUR[i]));
        event_item_end(w);
    }
    event_list_end(w);
}

static void write_event(struct batch_writer *w, const struct raw *e) {
    char user[16] = "", device[16] = "", alias[16] = "", id[16];
    if (e->user >= 0) snprintf(user, sizeof user, "u%d", e->user);
    if (e->device >= 0) snprintf(device, sizeof device, "a%d", e->device);
    if (e->alias >= 0) snprintf(alias, sizeof alias, "a%d", e->alias);
    snprintf(id, sizeof id, "m%u", e->number);
    struct event_head head = {.type = e->kind == IDENTIFY ? EVENT_IDENTIFY
                                      : e->kind == ALIAS  ? EVENT_ALIAS
                                                          : EVENT_TRACK,
                              .time_ms = e->time,
                              .key = event_key_of(str_from(id)),
                              .name = e->kind < IDENTIFY ? str_from(STREAMS[e->kind]) : STR(""),
                              .user_id = str_from(user),
                              .anonymous_id = str_from(device),
                              .related_id = str_from(alias)};
    event_begin(w, &head);
    write_fields(w, e);
    const char *refused = event_end(w);
    K_ASSERT(refused == NULL);
}

/* Repeats are drawn from the events but the first of earlier batches: the first tells whether its
 * own batch is there. Returns how many; numbers in out. */
static uint32_t repeats_of(const struct history *h, uint32_t k, uint32_t *out) {
    struct rand r;
    rand_init(&r, h->seed * 31 + k);
    uint32_t n = k ? rand_below(&r, 4) : 0, count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t from = rand_below(&r, k), own = history_own_events(h, from);
        if (own > 1) out[count++] = from * HISTORY_ID_STEP + 1 + rand_below(&r, own - 1);
    }
    return count;
}

uint32_t history_batch(const struct history *h, uint32_t k, struct buf *out) {
    struct batch_writer w;
    uint32_t repeated[4], own = history_own_events(h, k), again = repeats_of(h, k, repeated);
    K_ASSERT_OP(h->batch_events, <=, HISTORY_BATCH_MOST);
    batch_writer_init(&w);
    for (uint32_t i = 0; i < own; i++) {
        struct raw e = event_of(h, k * HISTORY_ID_STEP + i);
        write_event(&w, &e);
        if (i < again) {
            e = event_of(h, repeated[i]);
            write_event(&w, &e);
        }
    }
    struct keel_error err;
    int code = batch_finish(&w, out, &err);
    K_ASSERT_OP(code, ==, 0);
    batch_writer_release(&w);
    return own + (again < own ? again : own);
}

/* ---- what must be there ---- */

struct expected {
    uint8_t *here; /* [numbers] by event number: 1 must be there, set to 2 when it was seen */
    uint32_t numbers;
    uint64_t events;
    int *owner; /* [devices] user, -1 */
    int64_t *owned_since;
};

static void expect_batch(const struct history *h, struct expected *x, uint32_t k) {
    uint32_t repeated[4], own = history_own_events(h, k), again = repeats_of(h, k, repeated);
    for (uint32_t i = 0; i < own; i++) x->here[k * HISTORY_ID_STEP + i] = 1;
    for (uint32_t i = 0; i < again && i < own; i++) x->here[repeated[i]] = 1;
}

static void note_edge(struct expected *x, int device, int user, int64_t time) {
    char a[16], b[16];
    snprintf(a, sizeof a, "u%d", user);
    snprintf(b, sizeof b, "u%d", x->owner[device]);
    bool first = x->owner[device] < 0 || time < x->owned_since[device] ||
                 (time == x->owned_since[device] && strcmp(a, b) < 0);
    if (!first) return;
    x->owner[device] = user;
    x->owned_since[device] = time;
}

static void expect_all(const struct history *h, struct expected *x, const uint8_t *stored,
                       uint32_t batches) {
    x->numbers = batches * HISTORY_ID_STEP;
    x->here = k_zalloc(x->numbers + 1);
    x->owner = k_alloc_array(h->devices, sizeof *x->owner);
    x->owned_since = k_zalloc(h->devices * sizeof *x->owned_since);
    for (uint32_t d = 0; d < h->devices; d++) x->owner[d] = -1;
    for (uint32_t k = 0; k < batches; k++)
        if (stored[k]) expect_batch(h, x, k);
    for (uint32_t n = 0; n < x->numbers; n++) {
        if (!x->here[n]) continue;
        struct raw e = event_of(h, n);
        x->events++;
        if (e.user >= 0 && e.device >= 0) note_edge(x, e.device, e.user, e.time);
        if (e.alias >= 0) note_edge(x, e.alias, e.user, e.time);
    }
}

static void expected_free(struct expected *x) {
    k_free(x->here);
    k_free(x->owner);
    k_free(x->owned_since);
}

/* ---- looking ---- */

struct looking {
    const struct history *h;
    struct db *db;
    struct snapshot *snap;
    struct expected x;
    uint32_t *of_customer; /* [numbers of the snapshot] events seen */
    struct keel_error *err;
};

#define WRONG(l, ...) return error_set((l)->err, KEEL_E_INTERNAL, __VA_ARGS__)

static uint32_t number_of(struct looking *l, enum id_kind kind, int i) {
    char id[16];
    snprintf(id, sizeof id, "%c%d", kind == ID_USER ? 'u' : 'a', i);
    return identity_find(db_identity(l->db), kind, str_from(id));
}

static uint32_t root_of(struct looking *l, const struct raw *e) {
    if (e->user >= 0) return number_of(l, ID_USER, e->user);
    int owner = l->x.owner[e->device];
    return owner >= 0 ? number_of(l, ID_USER, owner) : number_of(l, ID_ANONYMOUS, e->device);
}

static int64_t column_id(struct looking *l, int64_t stream, const char *name,
                         enum column_type type) {
    return schema_find_column(store_schema(db_store(l->db)), (uint32_t)stream, str_from(name),
                              type);
}

/* A scan of one event, or of all, over all customers. */
static int open_scan(struct looking *l, const uint32_t *stream, const uint32_t *columns,
                     uint32_t column_count, bool ordered, struct scan **out) {
    struct scan_spec spec = {.events = stream,
                             .event_count = stream ? 1 : 0,
                             .columns = columns,
                             .column_count = column_count,
                             .from_ms = INT64_MIN,
                             .to_ms = INT64_MAX,
                             .ordered = ordered};
    TRY(scan_open(l->snap, &spec, out, l->err));
    int code = scan_range(*out, 0, l->snap->redirects.numbers, l->err);
    if (code < 0) scan_close(*out);
    return code;
}

/* The number that row i of the batch carries in its context. */
static int read_number(struct looking *l, const struct batch *b, uint32_t i, uint32_t *out) {
    const struct vec *v;
    TRY(batch_column(b, 0, &v, l->err));
    if (!bit_get(v->present, i)) WRONG(l, "an event without its number");
    double n = v->num[i];
    if (!(n >= 0 && n < l->x.numbers)) WRONG(l, "an event with the number %g", n);
    *out = (uint32_t)n;
    return 0;
}

static int check_place(struct looking *l, const struct batch *b, uint32_t i, uint32_t number) {
    struct raw e = event_of(l->h, number);
    struct str name = schema_stream(store_schema(db_store(l->db)), b->event[i]).name;
    if (l->x.here[number] == 0) WRONG(l, "event m%u is there, its batch is not", number);
    if (l->x.here[number] == 2) WRONG(l, "event m%u is there twice", number);
    l->x.here[number] = 2;
    if (b->time[i] != e.time) WRONG(l, "event m%u at the wrong time", number);
    if (!str_is(name, STREAMS[e.kind])) WRONG(l, "event m%u as %.*s", number, STR_ARG(name));
    uint32_t root = root_of(l, &e);
    if (b->customer[i] != root)
        WRONG(l, "event m%u under customer %u instead of %u", number, b->customer[i], root);
    l->of_customer[root]++;
    return 0;
}

/* All events: once, in place, in order. */
static int check_events(struct looking *l) {
    int64_t n = column_id(l, STREAM_ROWS, "n", COLUMN_NUMBER);
    if (n < 0) return 0; /* nothing was ever stored */
    uint32_t column = (uint32_t)n, seen = 0;
    int64_t *last = k_alloc_array(l->snap->redirects.numbers + 1, sizeof *last);
    for (uint32_t c = 0; c <= l->snap->redirects.numbers; c++) last[c] = INT64_MIN;
    struct scan *scan;
    struct batch b;
    int got = open_scan(l, NULL, &column, 1, true, &scan);
    if (got < 0) {
        k_free(last);
        return got;
    }
    while ((got = scan_next(scan, &b, l->err)) == 1) {
        for (uint32_t i = 0; i < b.n && got == 1; i++) {
            uint32_t number = 0;
            if (!bit_get(b.live, i)) continue;
            int code = read_number(l, &b, i, &number);
            if (code == 0) code = check_place(l, &b, i, number);
            if (code == 0 && b.time[i] < last[b.customer[i]])
                code = error_set(l->err, KEEL_E_INTERNAL, "event m%u out of order", number);
            if (code < 0) got = code;
            last[b.customer[i]] = b.time[i];
            seen++;
        }
        if (got < 0) break;
    }
    scan_close(scan);
    k_free(last);
    (void)seen;
    return got < 0 ? got : 0;
}

enum { NUMBER, PRICE, COLOUR_AT, CHANNEL, FLAG, ITEM_PRICE, ITEM_SKU, COLUMNS };

static int check_text(struct looking *l, const char *what, uint32_t number, uint32_t column,
                      const struct vec *v, uint32_t i, int colour) {
    if (bit_get(v->present, i) != (colour >= 0)) WRONG(l, "%s of m%u", what, number);
    if (colour < 0) return 0;
    struct str text = v->kind == VEC_TEXT
                          ? v->text[i]
                          : lexicon_str(store_lexicon(db_store(l->db), column), v->code[i]);
    if (!str_is(text, COLOUR[colour])) WRONG(l, "%s of m%u is '%.*s'", what, number, STR_ARG(text));
    return 0;
}

static int check_items(struct looking *l, const struct batch *b, const uint32_t *ids,
                       const int *index, uint32_t i, const struct raw *e) {
    struct batch_items price, sku;
    if (index[ITEM_PRICE] < 0 || index[ITEM_SKU] < 0) {
        if (e->items) WRONG(l, "line items of m%u", e->number);
        return 0;
    }
    TRY(batch_item_column(b, (uint32_t)index[ITEM_PRICE], &price, l->err));
    TRY(batch_item_column(b, (uint32_t)index[ITEM_SKU], &sku, l->err));
    if (price.count[i] != e->items || sku.count[i] != e->items)
        WRONG(l, "m%u has %u line items", e->number, price.count[i]);
    for (uint32_t k = 0; k < e->items; k++) {
        uint32_t p = price.first[i] + k, s = sku.first[i] + k;
        const struct vec *v = &price.chunks[p / CHUNK_ROWS];
        bool here = bit_get(v->present, p % CHUNK_ROWS);
        if (here != (e->item_price[k] >= 0) || (here && v->num[p % CHUNK_ROWS] != e->item_price[k]))
            WRONG(l, "price of item %u of m%u", k, e->number);
        TRY(check_text(l, "sku", e->number, ids[ITEM_SKU], &sku.chunks[s / CHUNK_ROWS],
                       s % CHUNK_ROWS, (int)k));
    }
    return 0;
}

/* A column that the schema lacks must be absent in the event. */
static int check_values(struct looking *l, const struct batch *b, const uint32_t *ids,
                        const int *index, uint32_t i, const struct raw *e) {
    const struct vec *v;
    if (index[PRICE] < 0 ? e->price >= 0 : false) WRONG(l, "price of m%u", e->number);
    if (index[PRICE] >= 0) {
        TRY(batch_column(b, (uint32_t)index[PRICE], &v, l->err));
        if (bit_get(v->present, i) != (e->price >= 0) || (e->price >= 0 && v->num[i] != e->price))
            WRONG(l, "price of m%u", e->number);
    }
    if (index[FLAG] >= 0) {
        TRY(batch_column(b, (uint32_t)index[FLAG], &v, l->err));
        if (bit_get(v->present, i) != (e->flag >= 0) ||
            (e->flag >= 0 && v->code[i] != (uint32_t)e->flag))
            WRONG(l, "flag of m%u", e->number);
    }
    if (index[COLOUR_AT] >= 0) {
        TRY(batch_column(b, (uint32_t)index[COLOUR_AT], &v, l->err));
        TRY(check_text(l, "colour", e->number, ids[COLOUR_AT], v, i, e->colour));
    }
    if (index[CHANNEL] >= 0) {
        TRY(batch_column(b, (uint32_t)index[CHANNEL], &v, l->err));
        TRY(check_text(l, "channel", e->number, ids[CHANNEL], v, i, e->channel));
    }
    return check_items(l, b, ids, index, i, e);
}

/* The events of one stream with all their columns, or (context false) without those of the rows,
 * which lets the scan read the posting copy. */
static int check_stream(struct looking *l, int kind, bool ordered) {
    const struct schema *s = store_schema(db_store(l->db));
    int64_t stream = schema_find_event(s, str_from(STREAMS[kind]));
    if (stream < 0) return 0;
    int64_t list = schema_find_list(s, (uint32_t)stream, STR("products"));
    int64_t at[COLUMNS] = {[NUMBER] = column_id(l, STREAM_ROWS, "n", COLUMN_NUMBER),
                           [PRICE] = column_id(l, stream, "price", COLUMN_NUMBER),
                           [COLOUR_AT] = column_id(l, stream, "colour", COLUMN_STRING),
                           [CHANNEL] = column_id(l, STREAM_ROWS, "channel", COLUMN_STRING),
                           [FLAG] = column_id(l, stream, "flag", COLUMN_BOOL),
                           [ITEM_PRICE] =
                               list < 0 ? -1 : column_id(l, list, "price", COLUMN_NUMBER),
                           [ITEM_SKU] = list < 0 ? -1 : column_id(l, list, "sku", COLUMN_STRING)};
    uint32_t ids[COLUMNS], columns[COLUMNS], count = 0, stream_id = (uint32_t)stream;
    int index[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        ids[c] = (uint32_t)at[c];
        index[c] = at[c] < 0 ? -1 : (int)count;
        if (at[c] >= 0) columns[count++] = (uint32_t)at[c];
    }
    struct scan *scan;
    struct batch b;
    TRY(open_scan(l, &stream_id, columns, count, ordered, &scan));
    int got;
    while ((got = scan_next(scan, &b, l->err)) == 1) {
        for (uint32_t i = 0; i < b.n && got == 1; i++) {
            uint32_t number = 0;
            if (!bit_get(b.live, i)) continue;
            int code = read_number(l, &b, i, &number);
            if (code == 0) {
                struct raw e = event_of(l->h, number);
                code = check_values(l, &b, ids, index, i, &e);
            }
            if (code < 0) got = code;
        }
        if (got < 0) break;
    }
    scan_close(scan);
    return got < 0 ? got : 0;
}

/* How many events of a kind a scan by postings counts. */
static int check_count(struct looking *l, int kind) {
    int64_t stream = schema_find_event(store_schema(db_store(l->db)), str_from(STREAMS[kind]));
    uint64_t counted = 0, expected = 0;
    for (uint32_t n = 0; n < l->x.numbers; n++)
        expected += l->x.here[n] && event_of(l->h, n).kind == kind;
    if (stream >= 0) {
        uint32_t id = (uint32_t)stream;
        struct scan *scan;
        struct batch b;
        int got;
        TRY(open_scan(l, &id, NULL, 0, false, &scan));
        while ((got = scan_next(scan, &b, l->err)) == 1) counted += bits_count(b.live);
        scan_close(scan);
        TRY(got);
    }
    if (counted != expected)
        WRONG(l, "%llu events %s counted, %llu are stored", (unsigned long long)counted,
              STREAMS[kind], (unsigned long long)expected);
    return 0;
}

/* Timelines of a few customers have as many events as the scan gave. */
static int check_timelines(struct looking *l) {
    uint32_t numbers = l->snap->redirects.numbers, step = numbers / 3 + 1;
    for (uint32_t c = 0; c < numbers; c += step) {
        struct arena a;
        struct timeline t;
        arena_init(&a, SIZE_MAX / 2);
        int code = timeline_read(l->db, l->snap, c, INT64_MAX, 50, &a, &t, l->err);
        uint64_t total = code == 0 ? t.total : 0;
        arena_release(&a);
        TRY(code);
        if (total != l->of_customer[c])
            WRONG(l, "the timeline of customer %u has %llu events instead of %u", c,
                  (unsigned long long)total, l->of_customer[c]);
    }
    return 0;
}

/* Which batches are there: those whose first event is. */
static int find_batches(struct looking *l, uint32_t batches, uint8_t *stored) {
    int64_t n = column_id(l, STREAM_ROWS, "n", COLUMN_NUMBER);
    memset(stored, 0, batches);
    if (n < 0) return 0;
    uint32_t column = (uint32_t)n;
    struct scan *scan;
    struct batch b;
    int got;
    TRY(open_scan(l, NULL, &column, 1, false, &scan));
    while ((got = scan_next(scan, &b, l->err)) == 1) {
        for (uint32_t i = 0; i < b.n && got == 1; i++) {
            uint32_t number = 0;
            if (!bit_get(b.live, i)) continue;
            got = read_number(l, &b, i, &number) < 0 ? -KEEL_E_INTERNAL : 1;
            if (got == 1 && number % HISTORY_ID_STEP == 0) stored[number / HISTORY_ID_STEP] = 1;
        }
        if (got < 0) break;
    }
    scan_close(scan);
    return got < 0 ? got : 0;
}

static int look(struct looking *l, const uint8_t *must, uint32_t batches, uint8_t *stored) {
    l->x.numbers = batches * HISTORY_ID_STEP;
    TRY(find_batches(l, batches, stored));
    for (uint32_t k = 0; must && k < batches; k++)
        if (must[k] && !stored[k]) WRONG(l, "batch %u was acknowledged and is not there", k);
    expect_all(l->h, &l->x, stored, batches);
    TRY(check_events(l));
    for (uint32_t n = 0; n < l->x.numbers; n++)
        if (l->x.here[n] == 1) WRONG(l, "event m%u is lost, its batch is there", n);
    for (int kind = 0; kind < KINDS; kind++) {
        TRY(check_stream(l, kind, true));
        TRY(check_count(l, kind));
    }
    TRY(check_stream(l, ORDER, false));
    return check_timelines(l);
}

int history_check(const struct history *h, struct db *db, const uint8_t *must, uint32_t batches,
                  struct history_found *found, struct keel_error *err) {
    struct looking l = {.h = h, .db = db, .err = err};
    TRY(snapshot_open(db_store(db), &l.snap, err));
    uint8_t *stored = k_zalloc(batches + 1);
    l.of_customer = k_zalloc((l.snap->redirects.numbers + 1) * sizeof *l.of_customer);
    int code = l.snap->rows ? look(&l, must, batches, stored) : 0;
    for (uint32_t k = 0; code == 0 && !l.snap->rows && must && k < batches; k++)
        if (must[k])
            code =
                error_set(err, KEEL_E_INTERNAL, "batch %u was acknowledged, nothing is there", k);
    if (code == 0 && l.x.events != l.snap->rows)
        code = error_set(err, KEEL_E_INTERNAL, "%llu rows, %llu events",
                         (unsigned long long)l.snap->rows, (unsigned long long)l.x.events);
    if (found) {
        memcpy(found->stored, stored, batches);
        found->events = l.x.events;
    }
    expected_free(&l.x);
    k_free(l.of_customer);
    k_free(stored);
    snapshot_close(l.snap);
    return code;
}

/* ---- doctor ---- */

static void good(void *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

static void fault(void *ctx, const char *text) {
    struct keel_error *err = ctx;
    if (err->code == 0) error_set(err, KEEL_E_CORRUPT, "doctor: %s", text);
}

int history_doctor(const char *dir, struct keel_error *err) {
    struct doctor_sums sums;
    struct keel_error first = {0};
    struct doctor_report report = {.ctx = &first, .good = good, .fault = fault};
    TRY(store_doctor(dir, &report, &sums, err));
    if (sums.faults) *err = first;
    return sums.faults ? -KEEL_E_CORRUPT : 0;
}
