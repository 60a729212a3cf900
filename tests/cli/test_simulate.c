/* keel simulate as its users see it: the events are valid Segment NDJSON in order of arrival, the
 * same seed gives the same bytes, the truth file covers every id and counts right, --clean is
 * clean.
 *
 * ctest: timeout=300
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/os.h"
#include "base/time.h"

enum { NAMES_MAX = 32, IDS_MAX = 1 << 18, FILE_MAX = 512 << 20 };

static char folder[] = "/tmp/keel-simulate-XXXXXX";

/* Runs `keel <command>` in the folder; its exit status, or 1000 + signal. */
static int keel(const char *format, ...) {
    char command[2048], *keel_path = getenv("KEEL");
    assert_non_null(keel_path);
    int n = snprintf(command, sizeof command, "cd %s && %s ", folder, keel_path);
    va_list args;
    va_start(args, format);
    vsnprintf(command + n, sizeof command - (size_t)n, format, args);
    va_end(args);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static struct file_map map(const char *name) {
    char path[256];
    struct file_map m;
    struct keel_error err;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_map_open(path, &m, &err), 0);
    return m;
}

static bool next_line(struct str *rest, struct str *line) {
    if (!rest->n) return false;
    const char *end = memchr(rest->p, '\n', rest->n);
    assert_non_null(end); /* the last line ends too */
    *line = (struct str){rest->p, (size_t)(end - rest->p)};
    *rest = (struct str){end + 1, rest->n - line->n - 1};
    return true;
}

/* ---- sets of ids, by hash, with a value ---- */

struct set {
    struct {
        uint64_t hash;
        uint32_t value, used;
    } * slot;
    size_t n;
};

static struct set set_new(void) { return (struct set){.slot = k_zalloc(IDS_MAX * 16)}; }

/* The value's place; *fresh: it was not in the set. */
static uint32_t *set_at(struct set *s, struct str id, bool *fresh) {
    uint64_t hash = hash_str(id);
    size_t i = hash % IDS_MAX;
    while (s->slot[i].used && s->slot[i].hash != hash) i = (i + 1) % IDS_MAX;
    *fresh = !s->slot[i].used;
    if (*fresh) {
        assert_true(++s->n < IDS_MAX / 2);
        s->slot[i].used = 1;
        s->slot[i].hash = hash;
    }
    return &s->slot[i].value;
}

/* ---- what a run says ---- */

struct truth {
    struct set ids; /* userId or anonymousId -> person + 1; shared: SHARED */
    uint64_t people, bots, messages, lines, duplicates, late, skewed, bot_events, customers;
    uint64_t delivered_before_gone, extra_visits, orders;
    double expected_visits, revenue;
    struct {
        char name[32];
        int64_t n;
    } by_name[NAMES_MAX];
    size_t n_names;
    bool ended; /* the summary was the last line */
};
enum { SHARED = UINT32_MAX };

static int64_t number(struct json_value object, const char *key) {
    int64_t v = -1;
    assert_true(json_i64(json_get(object, key), &v));
    return v;
}

static double fraction(struct json_value object, const char *key) {
    double v = -1;
    assert_true(json_f64(json_get(object, key), &v));
    return v;
}

static struct str text(struct json_value object, const char *key) {
    struct str s = {NULL, 0};
    if (json_has(object, key)) assert_true(json_str(json_get(object, key), &s));
    return s;
}

static void own(struct truth *t, struct json_value ids, uint32_t value) {
    struct json_each each = json_each(ids);
    struct json_value id;
    while (json_next(&each, NULL, &id)) {
        struct str s;
        bool fresh;
        assert_true(json_str(id, &s));
        *set_at(&t->ids, s, &fresh) = value;
        assert_true(fresh);
    }
}

static void read_summary(struct truth *t, struct json_value v) {
    struct json_each each = json_each(json_get(v, "lines_by_name"));
    struct json_value n;
    struct str name;
    t->lines = (uint64_t)number(v, "lines");
    t->duplicates = (uint64_t)number(v, "duplicates");
    t->late = (uint64_t)number(v, "late");
    t->skewed = (uint64_t)number(v, "skewed");
    t->bot_events = (uint64_t)number(v, "bot_events");
    t->customers = (uint64_t)number(v, "customers");
    t->revenue = fraction(v, "revenue");
    assert_int_equal(number(v, "people"), t->people);
    assert_int_equal(number(v, "bots"), t->bots);
    assert_int_equal(number(v, "events") + number(v, "duplicates"), t->lines);
    while (json_next(&each, &name, &n)) {
        assert_in_range(t->n_names, 0, NAMES_MAX - 1);
        snprintf(t->by_name[t->n_names].name, sizeof t->by_name[0].name, "%.*s", STR_ARG(name));
        assert_true(json_i64(n, &t->by_name[t->n_names++].n));
    }
    t->ended = true;
}

static void read_truth_line(struct truth *t, struct json_value v) {
    struct str type = text(v, "type");
    assert_false(t->ended);
    if (str_is(type, "person")) {
        struct json_value mail = json_get(v, "mail");
        uint32_t person = (uint32_t)number(v, "person") + 1;
        own(t, json_get(v, "userIds"), person);
        own(t, json_get(v, "anonymousIds"), json_has(v, "shares_device_with") ? SHARED : person);
        t->people++;
        t->orders += (uint64_t)number(v, "orders");
        t->extra_visits += (uint64_t)number(mail, "extra_visits");
        t->expected_visits +=
            fraction(mail, "visits_per_mail") * (double)number(mail, "delivered_before_gone");
    } else if (str_is(type, "use")) {
        bool fresh;
        if (str_is(text(v, "place"), "shared device")) return; /* listed with its owner */
        *set_at(&t->ids, text(v, "anonymousId"), &fresh) = SHARED;
        assert_true(fresh || str_is(text(v, "place"), "kiosk"));
    } else if (str_is(type, "bot")) {
        own(t, json_get(v, "anonymousIds"), SHARED);
        t->bots++;
    } else if (str_is(type, "message")) {
        assert_in_range(number(v, "sentiment") + 1, 0, 2);
        t->messages++;
    } else {
        assert_true(str_is(type, "summary"));
        read_summary(t, v);
    }
}

static struct truth read_truth(const char *name) {
    struct truth t = {.ids = set_new()};
    struct file_map m = map(name);
    struct str rest = {(const char *)m.p, m.n}, line;
    struct json_parser *parser = json_parser_new(1 << 20);
    struct json_value v;
    struct keel_error err;
    while (next_line(&rest, &line)) {
        assert_int_equal(json_parse(parser, line, &v, &err), 0);
        read_truth_line(&t, v);
    }
    assert_true(t.ended);
    json_parser_free(parser);
    file_map_close(&m);
    return t;
}

/* ---- reading the events ---- */

struct events {
    struct truth *truth;
    struct set messages, links; /* links: anonymousId -> first user's hash */
    struct set seen;            /* ids that occurred */
    uint64_t lines, duplicates, late, skewed, bots, users, anonymous, linked, orders, support;
    uint64_t bytes;
    double revenue;
    int64_t last_ms;
    int64_t by_name[NAMES_MAX];
};

static int64_t moment(struct json_value v, const char *key) {
    int64_t ms = 0;
    struct str s = text(v, key);
    assert_int_equal(s.n, 24);
    assert_true(time_parse(s, NULL, &ms));
    return ms;
}

/* The order of arrival, and Segment's rule for the true time. */
static void check_times(struct events *e, struct json_value v) {
    int64_t received = moment(v, "receivedAt"), sent = moment(v, "sentAt");
    int64_t happened = moment(v, "timestamp"), original = happened;
    if (json_has(v, "originalTimestamp")) original = moment(v, "originalTimestamp");
    assert_true(received >= e->last_ms);
    e->last_ms = received;
    assert_int_equal(happened, received - (sent - original));
    assert_true(happened <= received);
}

static void check_ids(struct events *e, struct json_value v) {
    struct str user = text(v, "userId"), anonymous = text(v, "anonymousId");
    bool fresh, unknown;
    uint32_t owner = 0, person = 0;
    assert_true(user.n || anonymous.n);
    if (user.n) {
        person = *set_at(&e->truth->ids, user, &unknown);
        assert_false(unknown);
        (void)set_at(&e->seen, user, &fresh);
        e->users += fresh;
    }
    if (!anonymous.n) return;
    assert_int_equal(anonymous.n, 36);
    owner = *set_at(&e->truth->ids, anonymous, &unknown);
    assert_false(unknown);
    (void)set_at(&e->seen, anonymous, &fresh);
    e->anonymous += fresh;
    if (!user.n) return;
    (void)set_at(&e->links, anonymous, &fresh);
    e->linked += fresh;
    if (owner != SHARED) assert_int_equal(owner, person);
}

static void check_order(struct events *e, struct json_value properties, bool repeated) {
    struct json_each each = json_each(json_get(properties, "products"));
    struct json_value line;
    double sum = 0, revenue = fraction(properties, "revenue");
    while (json_next(&each, NULL, &line)) {
        sum += fraction(line, "price") * fraction(line, "quantity");
        assert_true(text(line, "product_id").n && text(line, "merchant_id").n &&
                    text(line, "offer_id").n && text(line, "category").n);
    }
    assert_true(fabs(sum - revenue) < 0.001 && revenue > 0);
    assert_true(str_is(text(properties, "currency"), "EUR"));
    if (repeated) return;
    e->orders++;
    e->revenue += revenue;
}

static void check_event(struct events *e, struct json_value v) {
    struct str type = text(v, "type"), name = text(v, "event");
    struct json_value context = json_get(v, "context");
    bool fresh;
    if (str_is(type, "page") || str_is(type, "screen"))
        name = STR("Page");
    else if (str_is(type, "identify"))
        name = STR("Identify");
    else
        assert_true(str_is(type, "track"));
    assert_int_equal(text(v, "messageId").n, 36);
    (void)set_at(&e->messages, text(v, "messageId"), &fresh);
    e->duplicates += !fresh;
    check_times(e, v);
    check_ids(e, v);
    assert_true(text(context, "channel").n);
    assert_true(text(json_get(context, "location"), "country").n);
    e->bots += str_contains(text(context, "userAgent"), STR("Spider"));
    if (str_is(name, "Order Completed")) check_order(e, json_get(v, "properties"), !fresh);
    if (str_is(name, "Support Message Received") && fresh) e->support++;
    if (str_is(name, "Email Delivered"))
        assert_true(str_is(text(json_get(context, "campaign"), "medium"), "email"));
    for (size_t i = 0; i < e->truth->n_names; i++)
        if (str_is(name, e->truth->by_name[i].name)) {
            e->by_name[i]++;
            return;
        }
    fail_msg("unexpected event %.*s", STR_ARG(name));
}

static struct events read_events(const char *name, struct truth *truth) {
    struct events e = {
        .truth = truth, .messages = set_new(), .links = set_new(), .seen = set_new()};
    struct file_map m = map(name);
    struct str rest = {(const char *)m.p, m.n}, line;
    struct json_parser *parser = json_parser_new(1 << 20);
    struct json_value v;
    struct keel_error err;
    while (next_line(&rest, &line)) {
        if (json_parse(parser, line, &v, &err)) fail_msg("%s: %.*s", err.message, STR_ARG(line));
        check_event(&e, v);
        e.lines++;
        e.bytes += line.n + 1;
    }
    json_parser_free(parser);
    file_map_close(&m);
    return e;
}

static void check_against_truth(const struct events *e, const struct truth *t) {
    assert_int_equal(e->lines, t->lines);
    assert_int_equal(e->duplicates, t->duplicates);
    assert_int_equal(e->bots, t->bot_events);
    assert_int_equal(e->users + e->anonymous - e->linked, t->customers);
    assert_int_equal(e->orders, t->orders);
    assert_int_equal(e->support, t->messages);
    assert_true(fabs(e->revenue - t->revenue) < 0.01);
    for (size_t i = 0; i < t->n_names; i++) assert_int_equal(e->by_name[i], t->by_name[i].n);
}

static void release(struct events *e, struct truth *t) {
    k_free(e->messages.slot);
    k_free(e->links.slot);
    k_free(e->seen.slot);
    k_free(t->ids.slot);
}

/* ---- the tests ---- */

static void events_and_truth_agree(void **state) {
    (void)state;
    assert_int_equal(keel("simulate --customers 5000 --days 200 --seed 11 --quiet --out a.ndjson "
                          "--truth a.truth"),
                     0);
    struct truth t = read_truth("a.truth");
    struct events e = read_events("a.ndjson", &t);
    check_against_truth(&e, &t);
    assert_int_equal(t.people, 5000);
    assert_true(t.duplicates > 0 && t.late > 0 && t.skewed > 0 && t.bot_events > 0);
    for (size_t i = 0; i < t.n_names; i++) assert_true(t.by_name[i].n > 0);
    assert_in_range(e.bytes / e.lines, 450, 750);
    release(&e, &t);
}

static void clean_means_clean(void **state) {
    (void)state;
    assert_int_equal(keel("simulate --customers 5000 --days 200 --seed 11 --clean --quiet "
                          "--out c.ndjson --truth c.truth"),
                     0);
    struct truth t = read_truth("c.truth");
    struct events e = read_events("c.ndjson", &t);
    check_against_truth(&e, &t);
    assert_int_equal(t.duplicates + t.late + t.skewed + t.bot_events + t.bots, 0);
    release(&e, &t);
    assert_int_not_equal(keel("help >/dev/null; cd %s; grep -q '\"place\":\"\\(kiosk\\|shared "
                              "device\\)\"' c.truth",
                              folder),
                         0);
}

static void rates_are_believable(void **state) {
    (void)state;
    assert_int_equal(keel("simulate --customers 20k --days 365 --seed 3 --quiet --out r.ndjson "
                          "--truth r.truth"),
                     0);
    struct truth t = read_truth("r.truth");
    int64_t views = 0, adds = 0;
    for (size_t i = 0; i < t.n_names; i++) {
        if (strcmp(t.by_name[i].name, "Product Viewed") == 0) views = t.by_name[i].n;
        if (strcmp(t.by_name[i].name, "Product Added") == 0) adds = t.by_name[i].n;
    }
    if (t.people == 0 || views == 0) {
        fail_msg("nobody, or nobody looked at anything");
        return; /* fail_msg does not say to a compiler that it does not return */
    }
    assert_in_range(t.lines / t.people, 15, 20);
    assert_in_range(adds * 1000 / views, 100, 135);
    /* Visits caused by mail are binomial: within four deviations of what the truth promises. */
    assert_true(t.expected_visits > 200);
    assert_true(fabs((double)t.extra_visits - t.expected_visits) <
                4 * sqrt(t.expected_visits) + 20);
    k_free(t.ids.slot);
}

static void same_seed_same_bytes(void **state) {
    (void)state;
    static const char RUN[] = "simulate --customers 700 --days 90 --quiet --seed";
    assert_int_equal(keel("%s 4 --out s1 --truth t1", RUN), 0);
    assert_int_equal(keel("%s 4 --truth t2 >%s/s2", RUN, folder), 0);
    assert_int_equal(keel("%s 5 --out s3 --truth t3", RUN), 0);
    assert_int_equal(keel("help >/dev/null; cmp -s s1 s2 && cmp -s t1 t2"), 0);
    assert_int_not_equal(keel("help >/dev/null; cmp -s s1 s3"), 0);
    /* And on every machine, by every compiler: a change of the model changes this number here. */
    struct file_map m = map("s1");
    assert_int_equal(hash64(m.p, m.n), 0x884a870c081c15d8);
    file_map_close(&m);
}

static void events_option_is_met(void **state) {
    (void)state;
    static const struct {
        uint64_t customers, days, events;
    } CASES[] = {{2000, 90, 50000}, {20000, 30, 20000}, {300, 365, 30000}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        uint64_t wanted = CASES[i].events, lines = 0;
        assert_int_equal(keel("simulate --customers %llu --days %llu --events %llu --quiet --out n",
                              (unsigned long long)CASES[i].customers,
                              (unsigned long long)CASES[i].days, (unsigned long long)wanted),
                         0);
        struct file_map m = map("n");
        struct str rest = {(const char *)m.p, m.n}, line;
        while (next_line(&rest, &line)) lines++;
        file_map_close(&m);
        assert_in_range(lines, wanted - wanted * 3 / 100, wanted + wanted * 3 / 100);
    }
}

static void wrong_use_is_refused(void **state) {
    (void)state;
    static const char *const WRONG[] = {
        "",
        "--customers 10",
        "--customers 0 --days 3",
        "--customers ten --days 3",
        "--customers 10 --days 3 --seed -1",
        "--customers 10 --days 3 --start 2024-13-01",
        "--customers 10 --days 3 --start 2024-01-01T10:00:00Z",
        "--customers 10 --days 3 --nonsense",
        "--customers 10 --days 3 more",
        "--customers 10 --days 30 --events 300M",
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++)
        assert_int_equal(keel("simulate %s >/dev/null 2>&1", WRONG[i]), 64);
    static const char RUN[] = "simulate --customers 500 --days 60 --quiet";
    assert_int_equal(keel("%s --out no/such/folder 2>/dev/null", RUN), 66);
    assert_int_equal(keel("%s >/dev/full 2>/dev/null", RUN), 74);
    assert_int_equal(keel("%s --out /dev/null --truth /dev/full 2>/dev/null", RUN), 74);
    assert_int_equal(keel("simulate --help >/dev/null"), 0);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_and_truth_agree), cmocka_unit_test(clean_means_clean),
        cmocka_unit_test(rates_are_believable),   cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(events_option_is_met),   cmocka_unit_test(wrong_use_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
