/* Live segments under a stream of events, in this process: what `keel serve` does with them.
 *
 *   bench_live DIR [--segments 500] [--events 2000000] [--customers 100000] [--rate 50000]
 *              [--seconds 20] [--seed 1] [--peer 1]
 *
 * Makes DIR, a history of --events over 60 days, and --segments segments of ten kinds; then ingests
 * --rate events a second in batches of 10 ms, each with one event of a customer who was never seen.
 * The latency of a batch is from the return of its commit to the moment at which a segment has that
 * customer; it is looked for every half millisecond. CPU is that of the whole process without the
 * threads that ingest and look. In the middle one segment more is saved, with a condition that no
 * other has: how long until it has its members of all the history, while events come in?
 *
 * Also writes, with --peer 1: DIR.csv (the history: customer, time, event, category, revenue) and
 * DIR.sql (a line a segment: its size as Keel has it, a tab, the same question in SQL over `events`
 * as of the moment of the sizes). Prints one line of JSON.
 *
 * Threads: one ingests, one looks; those of desk/audience/audiences.h. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/os.h"
#include "base/rand.h"
#include "desk/audience/audience.h"
#include "desk/audience/audiences.h"
#include "query/exec.h"
#include "query/language/parse.h"

enum {
    KINDS = 10,
    BATCH_MS = 10,
    LOOK_US = 500,
    FILL_BATCH = 5000,
    DAYS = 60,
    EVENTS = 8,
    CATEGORIES = 20,
    MOST_BATCHES = 100000,
    FILL_MOST_MS = 600000,
};

static const char *const NAMES[EVENTS] = {"Page Viewed",     "Product Viewed", "Product Searched",
                                          "Product Added",   "Cart Viewed",    "Checkout Started",
                                          "Order Completed", "Review Written"};
static const uint32_t SHARE[EVENTS] = {40, 30, 12, 8, 4, 3, 2, 1}; /* percent */

struct bench {
    const char *dir;
    uint32_t segments, customers, rate, seconds;
    uint64_t events, next_id;
    struct rand dice;
    struct db *db;
    struct sql *desk;
    struct audiences *live;
    bool peer; /* wants the history and the sizes */
    FILE *csv;
    int64_t probe;               /* id of the segment that is looked at */
    int64_t saved_us, filled_us; /* the segment that is saved in the middle */
    uint64_t filled_size;
    uint32_t batches;
    int64_t *committed_us, *seen_us; /* by batch */
    _Atomic bool done;
    double ingest_cpu_ms, look_cpu_ms;
};

static void must(int code, const struct keel_error *err) {
    if (code >= 0) return;
    fprintf(stderr, "bench_live: %s\n", err->message);
    exit(1);
}

static double cpu_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ---- events ---- */

static uint32_t dice_event(struct bench *b) {
    uint32_t roll = rand_below(&b->dice, 100), i = 0;
    while (roll >= SHARE[i]) roll -= SHARE[i++];
    return i;
}

static void add_event(struct bench *b, struct batch_writer *w, int64_t at_ms, bool history) {
    uint32_t customer = rand_below(&b->dice, b->customers), event = dice_event(b);
    uint32_t category = rand_below(&b->dice, CATEGORIES), revenue = 0;
    char user[32], label[16];
    struct event_head head = {.type = EVENT_TRACK, .time_ms = at_ms};
    snprintf(user, sizeof user, "u%u", customer);
    snprintf(label, sizeof label, "c%u", category);
    head.key = (struct event_key){hash_mix(++b->next_id), (uint32_t)b->next_id};
    head.name = str_from(NAMES[event]);
    head.user_id = str_from(user);
    event_begin(w, &head);
    event_string(w, SCOPE_PROPERTY, STR("category"), str_from(label));
    if (event == 6) {
        revenue = 5 + rand_below(&b->dice, 200);
        event_number(w, SCOPE_PROPERTY, STR("revenue"), revenue);
    }
    must(event_end(w) ? -1 : 0, &(struct keel_error){.message = "an event was refused"});
    if (history && b->peer)
        fprintf(b->csv, "%u,%lld,%s,%s,%u\n", customer, (long long)at_ms, NAMES[event], label,
                revenue);
}

static void add_probe(struct bench *b, struct batch_writer *w, int64_t at_ms, uint32_t n) {
    char user[32];
    struct event_head head = {.type = EVENT_TRACK, .time_ms = at_ms};
    snprintf(user, sizeof user, "probe%u", n);
    head.key = (struct event_key){hash_mix(++b->next_id), (uint32_t)b->next_id};
    head.name = STR("Probe");
    head.user_id = str_from(user);
    event_begin(w, &head);
    must(event_end(w) ? -1 : 0, &(struct keel_error){.message = "a probe was refused"});
}

static void ingest(struct bench *b, struct batch_writer *w) {
    struct ingest_counts counts = {0};
    struct keel_error err = {0};
    struct buf bytes;
    buf_init(&bytes, JOURNAL_MAX_PAYLOAD);
    must(batch_finish(w, &bytes, &err), &err);
    must(db_ingest(b->db, buf_str(&bytes), &counts, &err), &err);
    buf_release(&bytes);
}

static void make_history(struct bench *b) {
    struct batch_writer w;
    int64_t now = now_ms(), span = DAYS * (int64_t)MS_PER_DAY;
    batch_writer_init(&w);
    for (uint64_t i = 0; i < b->events; i++) {
        add_event(b, &w, now - span + (int64_t)((double)span * (double)i / (double)b->events),
                  true);
        if (i % FILL_BATCH == FILL_BATCH - 1 || i + 1 == b->events) ingest(b, &w);
    }
    batch_writer_release(&w);
}

/* ---- segments: the condition, and the same in SQL ---- */

static void condition(uint32_t n, int64_t now, struct buf *q, struct buf *sql) {
    uint32_t kind = n % KINDS, i = n / KINDS;
    const char *e = NAMES[i % EVENTS], *other = NAMES[(i + 3) % EVENTS];
    uint32_t category = i % CATEGORIES, times = 1 + i % 5, days = 7 + i % 40;
    long long since = (long long)now - days * (long long)MS_PER_DAY, t = (long long)now;
    long long hours = (long long)now - (1 + i) * (long long)MS_PER_HOUR;
#define GROUPED "SELECT count() FROM (SELECT customer FROM events WHERE t < %lld AND "
#define BY " GROUP BY customer HAVING "
    switch (kind) {
    case 0:
        (void)!buf_printf(q, "did \"%s\" at least %u times during last %u days", e, times, days);
        (void)!buf_printf(sql, GROUPED "event = '%s' AND t >= %lld" BY "count() >= %u)", t, e,
                          since, times);
        return;
    case 1:
        (void)!buf_printf(q, "did \"%s\" where category = \"c%u\"", e, category);
        (void)!buf_printf(sql, GROUPED "event = '%s' AND category = 'c%u'" BY "1)", t, e, category);
        return;
    case 2:
        (void)!buf_printf(q, "did \"%s\" and not did \"%s\" during last %u days", e, e, days);
        (void)!buf_printf(sql, GROUPED "event = '%s'" BY "max(t) < %lld)", t, e, since);
        return;
    case 3:
        (void)!buf_printf(q, "sum(\"Order Completed\".revenue) > %u", 20 * i);
        (void)!buf_printf(sql, GROUPED "event = 'Order Completed'" BY "sum(revenue) > %u)", t,
                          20 * i);
        return;
    case 4:
        (void)!buf_printf(q, "did \"Page Viewed\" at least %u times", 2 + i);
        (void)!buf_printf(sql, GROUPED "event = 'Page Viewed'" BY "count() >= %u)", t, 2 + i);
        return;
    case 5:
        (void)!buf_printf(q, "did \"%s\" and not did \"%s\" where category = \"c%u\"", e, other,
                          category);
        (void)!buf_printf(sql,
                          GROUPED "event IN ('%s', '%s')" BY "countIf(event = '%s') > 0 AND "
                                  "countIf(event = '%s' AND category = 'c%u') = 0)",
                          t, e, other, e, other, category);
        return;
    case 6:
        (void)!buf_printf(q,
                          "did \"%s\" during last %u hours and "
                          "sum(\"Order Completed\".revenue) > 100",
                          e, 1 + i);
        (void)!buf_printf(sql,
                          GROUPED "event IN ('%s', 'Order Completed')" BY
                                  "countIf(event = '%s' AND t >= %lld) > 0 AND "
                                  "sumIf(revenue, event = 'Order Completed') > 100)",
                          t, e, e, hours);
        return;
    case 7:
        (void)!buf_printf(q,
                          "did \"Product Viewed\" where category = \"c%u\" at least 2 times and "
                          "did \"Product Added\" during last %u days",
                          category, days);
        (void)!buf_printf(sql,
                          GROUPED "event IN ('Product Viewed', 'Product Added')" BY
                                  "countIf(event = 'Product Viewed' AND category = 'c%u') >= 2 AND "
                                  "countIf(event = 'Product Added' AND t >= %lld) > 0)",
                          t, category, since);
        return;
    case 8:
        (void)!buf_printf(q,
                          "did \"Product Added\" followed by \"Order Completed\" within %u days "
                          "and did \"%s\" where category = \"c%u\"",
                          i % 2 ? 7 : 1, e, category);
        (void)!buf_printf(
            sql,
            GROUPED "event IN ('Product Added', 'Order Completed', '%s')" BY
                    "countIf(event = '%s' AND category = 'c%u') > 0 AND arrayExists(a -> "
                    "arrayExists(o -> o >= a AND o <= a + %lld, groupArrayIf(t, event = 'Order "
                    "Completed')), groupArrayIf(t, event = 'Product Added')))",
            t, e, e, category, (i % 2 ? 7 : 1) * (long long)MS_PER_DAY);
        return;
    default:
        (void)!buf_printf(q,
                          "sum(\"Order Completed\".revenue) > %u during last 30 days and "
                          "did \"%s\" during last %u hours",
                          i % 2 ? 200 : 50, e, 1 + i);
        (void)!buf_printf(sql,
                          GROUPED
                          "event IN ('%s', 'Order Completed')" BY
                          "countIf(event = '%s' AND t >= %lld) > 0 AND sumIf(revenue, event "
                          "= 'Order Completed' AND t >= %lld) > %u)",
                          t, e, e, hours, t - 30 * (long long)MS_PER_DAY, i % 2 ? 200 : 50);
        return;
    }
}

static void save_segments(struct bench *b) {
    struct keel_error err = {0};
    struct audience_spec probe = {.name = STR("Probe"), .query = STR("did \"Probe\"")};
    must(audience_tables(b->desk, &err), &err);
    must(audience_add(b->desk, &probe, now_ms(), &b->probe, &err), &err);
    for (uint32_t n = 0; n < b->segments; n++) {
        struct buf q, sql;
        char name[32];
        int64_t id;
        buf_init(&q, 1 << 12);
        buf_init(&sql, 1 << 12);
        condition(n, 0, &q, &sql);
        snprintf(name, sizeof name, "S%u", n);
        struct audience_spec spec = {.name = str_from(name), .query = buf_str(&q)};
        must(audience_add(b->desk, &spec, now_ms(), &id, &err), &err);
        buf_release(&q);
        buf_release(&sql);
    }
}

/* ---- the run ---- */

static void *look(void *ctx) {
    struct bench *b = ctx;
    struct audience_status s;
    uint32_t seen = 0;
    while (!atomic_load(&b->done) || seen < b->batches) {
        audiences_status(b->live, b->probe, &s);
        int64_t now = monotonic_us();
        for (; seen < s.size && seen < MOST_BATCHES; seen++) b->seen_us[seen] = now;
        if (atomic_load(&b->done) && seen >= b->batches) break;
        nanosleep(&(struct timespec){0, LOOK_US * 1000}, NULL);
    }
    b->look_cpu_ms = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static void *send_all(void *ctx) {
    struct bench *b = ctx;
    struct batch_writer w;
    uint32_t each = b->rate * BATCH_MS / 1000;
    int64_t start = monotonic_us();
    batch_writer_init(&w);
    for (uint32_t n = 0; n < b->batches; n++) {
        int64_t due = start + (int64_t)n * BATCH_MS * 1000, left = due - monotonic_us();
        if (left > 0) nanosleep(&(struct timespec){left / 1000000, left % 1000000 * 1000}, NULL);
        int64_t now = now_ms();
        for (uint32_t i = 0; i + 1 < each; i++) add_event(b, &w, now - 1, false);
        add_probe(b, &w, now - 1, n);
        ingest(b, &w);
        b->committed_us[n] = monotonic_us();
    }
    batch_writer_release(&w);
    b->ingest_cpu_ms = cpu_ms(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

/* Saves a segment when half of the time has passed, and waits for its members. */
static void back_fill(struct bench *b) {
    static const char TEXT[] =
        "did \"Product Viewed\" at least 3 times during last 41 days and "
        "sum(\"Order Completed\".revenue) > 333 and not did \"Review Written\"";
    struct audience_spec late = {.name = STR("Late"), .query = STR(TEXT)};
    struct keel_error err = {0};
    struct audience_status status;
    int64_t id;
    nanosleep(&(struct timespec){b->seconds / 2, b->seconds % 2 * INT64_C(500000000)}, NULL);
    b->saved_us = monotonic_us();
    must(audience_add(b->desk, &late, now_ms(), &id, &err), &err);
    audiences_changed(b->live);
    if (!audiences_wait(b->live, id, 1, FILL_MOST_MS)) exit(1);
    b->filled_us = monotonic_us();
    audiences_status(b->live, id, &status);
    b->filled_size = status.size;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void wait_until_live(struct bench *b) {
    struct audiences_stats s;
    do {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        audiences_stats(b->live, &s);
    } while (s.filling > 0);
}

struct writing {
    struct bench *b;
    FILE *out;
    int64_t at_ms;
};

static int put_sql(void *ctx, const struct audience_row *row) {
    const struct writing *c = ctx;
    struct audience_status s;
    struct buf q, sql;
    if (row->id == c->b->probe) return 0;
    buf_init(&q, 1 << 12);
    buf_init(&sql, 1 << 12);
    condition((uint32_t)strtoul(row->name.p + 1, NULL, 10), c->at_ms, &q, &sql);
    audiences_status(c->b->live, row->id, &s);
    fprintf(c->out, "%llu\t%.*s\n", (unsigned long long)s.size, STR_ARG(buf_str(&sql)));
    buf_release(&q);
    buf_release(&sql);
    return 0;
}

/* Sizes as they are before the run: the history is what a peer has. */
static void write_sql(struct bench *b) {
    struct keel_error err = {0};
    struct audience_status s;
    char path[4096];
    snprintf(path, sizeof path, "%s.sql", b->dir);
    struct writing c = {b, fopen(path, "w"), 0};
    if (!c.out) exit(1);
    audiences_status(b->live, b->probe, &s);
    c.at_ms = s.as_of_ms;
    must(audience_list(b->desk, 0, put_sql, &c, &err), &err);
    fclose(c.out);
}

/* A condition that nobody has saved. */
static void preview(struct bench *b, double *out_ms, double *out_cpu_ms) {
    static const char TEXT[] =
        "count customers where did \"Product Added\" at least 2 times during last 33 days and not "
        "did \"Order Completed\" during last 17 days and sum(\"Order Completed\".revenue) > 77 and "
        "did \"Product Viewed\" where category = \"c7\" and did \"Review Written\"";
    struct keel_error err = {0};
    struct arena arena;
    struct query *q;
    struct result *r;
    struct snapshot *snap;
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    must(query_parse(str_from(TEXT), &arena, &q, NULL, &err), &err);
    *out_ms = *out_cpu_ms = 1e18;
    for (int i = 0; i < 7; i++) {
        must(snapshot_open(db_store(b->db), &snap, &err), &err);
        struct query_options now = {.at_ms = QUERY_AT_NOW};
        must(query_run(b->db, snap, q, &now, &r, &err), &err);
        if (r->cost.ms < *out_ms) *out_ms = r->cost.ms;
        if (r->cost.cpu_ms < *out_cpu_ms) *out_cpu_ms = r->cost.cpu_ms;
        result_free(r);
        snapshot_close(snap);
    }
    arena_release(&arena);
}

struct latencies {
    uint32_t n;
    double p50_ms, p99_ms, most_ms;
};

/* Of the batches that were committed in this time. */
static struct latencies latencies(const struct bench *b, int64_t from_us, int64_t to_us) {
    struct latencies out = {0};
    int64_t *v = k_alloc_array(b->batches, sizeof *v);
    for (uint32_t n = 0; n < b->batches; n++) {
        if (b->committed_us[n] < from_us || b->committed_us[n] > to_us) continue;
        v[out.n] = b->seen_us[n] - b->committed_us[n];
        if (v[out.n] < 0) v[out.n] = 0; /* seen before the committing thread could say so */
        out.n++;
    }
    if (out.n) {
        qsort(v, out.n, sizeof *v, compare);
        uint32_t middle = out.n / 2, late = out.n * 99 / 100;
        out.p50_ms = (double)v[middle] / 1e3;
        out.p99_ms = (double)v[late] / 1e3;
        out.most_ms = (double)v[out.n - 1] / 1e3;
    }
    k_free(v);
    return out;
}

static void report(struct bench *b, double fill_ms, double run_cpu_ms) {
    struct audiences_stats s;
    double preview_ms, preview_cpu_ms;
    struct latencies all = latencies(b, INT64_MIN, INT64_MAX);
    struct latencies filling = latencies(b, b->saved_us, b->filled_us);
    audiences_stats(b->live, &s);
    preview(b, &preview_ms, &preview_cpu_ms);
    printf("{\"segments\":%u,\"leaves\":%llu,\"history\":%llu,\"customers\":%u,\"rate\":%u,"
           "\"seconds\":%u,\"first_scan_ms\":%.0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,"
           "\"live_cpu_s\":%.2f,\"ingest_cpu_s\":%.2f,\"changes\":%llu,\"evaluations\":%llu,"
           "\"asked\":%llu,\"advances\":%llu,\"live_bytes\":%llu,\"preview_ms\":%.1f,"
           "\"preview_cpu_ms\":%.1f,\"backfill_ms\":%.0f,\"backfill_size\":%llu,"
           "\"backfill_p99_ms\":%.2f,\"backfill_max_ms\":%.2f,\"realtime\":%s}\n",
           b->segments, (unsigned long long)s.leaves, (unsigned long long)b->events, b->customers,
           b->rate, b->seconds, fill_ms, all.p50_ms, all.p99_ms, all.most_ms,
           (run_cpu_ms - b->ingest_cpu_ms - b->look_cpu_ms) / 1e3, b->ingest_cpu_ms / 1e3,
           (unsigned long long)s.entered + s.left, (unsigned long long)s.evaluations,
           (unsigned long long)s.asked, (unsigned long long)s.advances, (unsigned long long)s.bytes,
           preview_ms, preview_cpu_ms, (double)(b->filled_us - b->saved_us) / 1e3,
           (unsigned long long)b->filled_size, filling.p99_ms, filling.most_ms,
           sched_getscheduler(0) == SCHED_OTHER ? "false" : "true");
}

static void run(struct bench *b) {
    struct keel_error err = {0};
    struct audiences_options options = {.dir = b->dir, .db = b->db};
    pthread_t looker, sender;
    int64_t begun = monotonic_us();
    must(audiences_open(&options, &b->live, &err), &err);
    wait_until_live(b);
    double fill_ms = (double)(monotonic_us() - begun) / 1e3;
    if (b->peer) write_sql(b);
    double before = cpu_ms(CLOCK_PROCESS_CPUTIME_ID);
    if (pthread_create(&looker, NULL, look, b) || pthread_create(&sender, NULL, send_all, b))
        exit(1);
    back_fill(b);
    pthread_join(sender, NULL);
    atomic_store(&b->done, true);
    pthread_join(looker, NULL);
    report(b, fill_ms, cpu_ms(CLOCK_PROCESS_CPUTIME_ID) - before);
    audiences_close(b->live);
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise) {
    for (int i = 2; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0) return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}

int main(int argc, char **argv) {
    struct bench b = {.dir = argc > 1 ? argv[1] : "live"};
    struct keel_error err = {0};
    struct db_options options = {.store = {.background = true}};
    char path[4096];
    b.segments = (uint32_t)option(argc, argv, "--segments", 500);
    b.events = option(argc, argv, "--events", 2000000);
    b.customers = (uint32_t)option(argc, argv, "--customers", 100000);
    b.rate = (uint32_t)option(argc, argv, "--rate", 50000);
    b.seconds = (uint32_t)option(argc, argv, "--seconds", 20);
    b.batches = b.seconds * 1000 / BATCH_MS;
    if (b.batches == 0 || b.batches > MOST_BATCHES || b.events == 0) return 2;
    b.committed_us = k_zalloc(MOST_BATCHES * sizeof *b.committed_us);
    b.seen_us = k_zalloc(MOST_BATCHES * sizeof *b.seen_us);
    rand_init(&b.dice, option(argc, argv, "--seed", 1));
    must(db_init(b.dir, STR("UTC"), STR("EUR"), &err), &err);
    must(db_open(b.dir, &options, &b.db, &err), &err);
    snprintf(path, sizeof path, "%s/desk.db", b.dir);
    must(sql_open(path, SQL_CREATE, &b.desk, &err), &err);
    b.peer = option(argc, argv, "--peer", 0) != 0;
    if (b.peer) {
        snprintf(path, sizeof path, "%s.csv", b.dir);
        b.csv = fopen(path, "w");
        if (!b.csv) return 1;
    }
    make_history(&b);
    if (b.peer && fclose(b.csv)) return 1;
    save_segments(&b);
    run(&b);
    sql_close(b.desk);
    must(db_close(b.db, &err), &err);
    k_free(b.committed_us);
    k_free(b.seen_us);
    return 0;
}
