/* The tracking plan: reading and writing, mistakes in words, versions, swapping under readers, and
 * plan_check against a naive checker that knows nothing of tables, fronts and serial numbers.
 *
 * KEEL_SEED=n repeats one run of the property test; without it, many seeds are tried. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "desk/plan/plan.h"

/* ---- helpers ---- */

static const struct plan_form *read_form(const char *text) {
    const struct plan_form *form = NULL;
    struct keel_error err;
    if (plan_read(str_from(text), "plan", &form, &err) < 0) fail_msg("%s", err.message);
    return form;
}

struct event_under_test {
    struct batch_writer w;
    struct buf bytes;
    struct arena arena;
    struct batch_reader batch;
    struct event_view view;
};

static void event_start(struct event_under_test *e, enum event_type type, const char *name) {
    struct event_head head = {.type = type, .time_ms = 1700000000000, .key = {1, 1}};
    head.name = str_from(name);
    head.user_id = STR("u1");
    head.anonymous_id = head.related_id = STR("");
    batch_writer_init(&e->w);
    event_begin(&e->w, &head);
}

static void event_done(struct event_under_test *e) {
    struct keel_error err;
    const char *why = event_end(&e->w);
    if (why) fail_msg("%s", why);
    buf_init(&e->bytes, BATCH_MAX_BYTES + 64);
    arena_init(&e->arena, 1 << 24);
    assert_int_equal(batch_finish(&e->w, &e->bytes, &err), 0);
    assert_int_equal(batch_open(&e->batch, buf_str(&e->bytes), &e->arena, &err), 0);
    assert_int_equal(batch_next(&e->batch, &e->view, &err), 1);
}

static void event_free(struct event_under_test *e) {
    batch_writer_release(&e->w);
    buf_release(&e->bytes);
    arena_release(&e->arena);
}

/* What the plan says of the event, as text; freed by the caller. */
static char *verdict(const struct plan_form *form, struct event_under_test *e) {
    struct plan_checker *c = plan_checker_new();
    struct plan_report report;
    struct buf out;
    plan_report_init(&report);
    buf_init(&out, 1 << 20);
    plan_check(c, form, &e->batch, &e->view, &report);
    assert_int_equal(plan_report_text(&report, &out), 0);
    assert_int_equal(buf_add_char(&out, 0), 0);
    plan_report_release(&report);
    plan_checker_free(c);
    return (char *)out.p;
}

static void assert_verdict(const char *plan, struct event_under_test *e, const char *expected) {
    const struct plan_form *form = read_form(plan);
    event_done(e);
    char *said = verdict(form, e);
    assert_string_equal(said, expected);
    k_free(said);
    event_free(e);
    plan_drop(form);
}

/* ---- units ---- */

static const char ORDER[] =
    "unplanned_properties = \"quarantine\"\n"
    "[event.\"Order Completed\".property]\n"
    "order_id = { type = \"string\", required = true, class = \"internal\", pattern = \"^o-\" }\n"
    "total = { type = \"number\", min = 0, max = 1000, class = \"public\" }\n"
    "quantity = \"integer\"\n"
    "gift = \"boolean\"\n"
    "at = \"time\"\n"
    "status = { type = \"string\", allowed = [\"paid\", \"open\"], class = \"public\" }\n"
    "email = { type = \"string\", pattern = \"@\", class = \"personal\" }\n"
    "address = { type = \"json\", required = true }\n"
    "\"address.city\" = \"string\"\n"
    "products = { type = \"list\" }\n"
    "\"products.sku\" = { type = \"string\", required = true }\n"
    "\"products.price\" = \"number\"\n"
    "[context.property]\n"
    "channel = { type = \"string\", allowed = [\"web\", \"app\"] }\n";

#define P SCOPE_PROPERTY

static void add_good(struct event_under_test *e) {
    event_start(e, EVENT_TRACK, "Order Completed");
    event_string(&e->w, P, STR("order_id"), STR("o-1"));
    event_string(&e->w, P, STR("address.city"), STR("Riga"));
    event_string(&e->w, P, STR("address.zip"),
                 STR("1001")); /* address is json: its members are free */
}

static void test_clean(void **state) {
    (void)state;
    struct event_under_test e;
    add_good(&e);
    event_number(&e.w, P, STR("total"), 1000);
    event_number(&e.w, P, STR("quantity"), -3);
    event_bool(&e.w, P, STR("gift"), false);
    event_string(&e.w, P, STR("at"), STR("2025-01-01T10:00:00Z"));
    event_string(&e.w, P, STR("status"), STR("paid"));
    event_string(&e.w, P, STR("email"), STR("a@b.example"));
    event_string(&e.w, SCOPE_CONTEXT, STR("channel"), STR("web"));
    event_string(&e.w, SCOPE_CONTEXT, STR("anything"), STR("web"));
    event_list_begin(&e.w, STR("products"));
    event_item_begin(&e.w);
    event_item_string(&e.w, STR("sku"), STR("x"));
    event_item_number(&e.w, STR("price"), 1);
    event_item_end(&e.w);
    event_list_end(&e.w);
    assert_verdict(ORDER, &e, "");
}

static void test_violations(void **state) {
    (void)state;
    struct event_under_test e;
    event_start(&e, EVENT_TRACK, "Order Completed");
    event_string(&e.w, P, STR("order_id"), STR("17"));
    event_number(&e.w, P, STR("total"), 1000.5);
    event_number(&e.w, P, STR("quantity"), 1.5);
    event_string(&e.w, P, STR("gift"), STR("yes"));
    event_string(&e.w, P, STR("at"), STR("yesterday"));
    event_string(&e.w, P, STR("status"), STR("lost"));
    event_string(&e.w, P, STR("email"), STR("secret person"));
    event_string(&e.w, P, STR("colour"), STR("red"));
    event_string(&e.w, SCOPE_CONTEXT, STR("channel"), STR("tv"));
    event_list_begin(&e.w, STR("products"));
    for (int i = 0; i < 2; i++) {
        event_item_begin(&e.w);
        if (i) event_item_number(&e.w, STR("sku"), 7);
        event_item_bool(&e.w, STR("free"), true);
        event_item_end(&e.w);
    }
    event_list_end(&e.w);
    assert_verdict(ORDER, &e,
                   "order_id: \"17\" does not match the pattern ^o-; "
                   "total: 1000.5 is greater than the maximum 1000; "
                   "quantity: is a number with a fraction, must be an integer; "
                   "gift: is a string, must be a boolean; "
                   "at: is a text that is no ISO 8601 time, must be an ISO 8601 time; "
                   "status: \"lost\" is none of the 2 allowed values; "
                   "email: the value does not match the pattern @; "
                   "colour: is not in the plan; "
                   "products.free: is not in the plan; "
                   "products.sku: is missing in item 1; "
                   "products.sku: is a number, must be a string; "
                   "products.free: is not in the plan; "
                   "address: is missing; "
                   "context.channel: the value is none of the 2 allowed values");
}

static void test_objects_and_lists(void **state) {
    (void)state;
    struct event_under_test e;
    add_good(&e); /* products as an object, total as an object, quantity as a list */
    event_string(&e.w, P, STR("products.sku"), STR("x"));
    event_string(&e.w, P, STR("total.amount"), STR("x"));
    event_json(&e.w, P, STR("quantity"), STR("[1,2]"));
    assert_verdict(ORDER, &e,
                   "products: is an object, must be a list; "
                   "total: is an object, must be a number; total.amount: is not in the plan; "
                   "quantity: is a list, must be an integer");
    add_good(&e); /* scalars are a list, too; what is required of items is not asked of them */
    event_json(&e.w, P, STR("products"), STR("[1,2]"));
    event_string(&e.w, P, STR("total"), STR("12345678901234567890"));
    assert_verdict(ORDER, &e, "");
}

static void test_events(void **state) {
    (void)state;
    struct event_under_test e;
    static const char plan[] =
        "unplanned_events = \"quarantine\"\n"
        "[event.Old]\nstatus = \"retired\"\n[event.New]\nstatus = \"planned\"\n"
        "[identify.property]\nemail = { type = \"string\", required = true }\n";
    event_start(&e, EVENT_TRACK, "Else");
    assert_verdict(plan, &e, "the event \"Else\" is not planned");
    event_start(&e, EVENT_TRACK, "Old");
    assert_verdict(plan, &e, "the event \"Old\" is retired");
    event_start(&e, EVENT_TRACK, "New");
    event_string(&e.w, P, STR("free"), STR("x"));
    assert_verdict(plan, &e, "");
    event_start(&e, EVENT_IDENTIFY, "");
    assert_verdict(plan, &e, "email: is missing");
    event_start(&e, EVENT_PAGE, "Home"); /* no entry for pages: nothing is asked */
    assert_verdict(plan, &e, "");
    event_start(&e, EVENT_TRACK, "Else");
    assert_verdict("", &e, "");
}

static void test_many_violations(void **state) {
    (void)state;
    struct event_under_test e;
    char name[16];
    event_start(&e, EVENT_TRACK, "E");
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "p%d", i);
        event_bool(&e.w, P, str_from(name), true);
    }
    event_done(&e);
    const struct plan_form *form = read_form("unplanned_properties = \"quarantine\"\n[event.E]\n");
    char *said = verdict(form, &e);
    assert_non_null(strstr(said, "p49: is not in the plan; and 4950 more"));
    k_free(said);
    event_free(&e);
    plan_drop(form);
}

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"colour = 1", "plan:1:1: \"colour\" is nothing that a plan has: unplanned_events, "
                       "unplanned_properties, event, identify, group, page, screen, context"},
        {"unplanned_events = \"drop\"", "plan:1:1: unplanned_events is one of allow, quarantine"},
        {"[event.A]\nstatus = \"dead\"", "plan:2:1: status is one of planned, live, retired"},
        {"[event.A.property]\nx = \"text\"",
         "plan:2:1: x is one of any, string, number, integer, boolean, time, list, json"},
        {"[event.A.property]\nx = { type = \"string\", min = 1 }",
         "plan:2:1: \"x\": min and max are for numbers, not for type string"},
        {"[event.A.property]\nx = { type = \"number\", allowed = [\"a\"] }",
         "plan:2:1: \"x\": an allowed value is a text, the type is number"},
        {"[event.A.property]\nx = { min = 2, max = 1 }",
         "plan:2:1: \"x\": min is greater than max"},
        {"[event.A.property]\nx = { pattern = \"(\" }",
         "plan: \"A\", property \"x\": pattern: missing closing parenthesis at character 2"},
        {"{\"event\":{\"A\":{\"property\":{\"x\":{\"typ\":\"string\"}}}}}",
         "plan: \"A\": \"typ\" is nothing that a property has: type, class, required, "
         "description, allowed, pattern, min, max"},
        {"[identify]\nstatus = \"live\"",
         "plan:2:1: \"status\" is nothing that identify has: description, owner_business, "
         "owner_technical, property"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct plan_form *form;
        struct keel_error err = {0};
        assert_true(plan_read(str_from(cases[i].text), "plan", &form, &err) < 0);
        assert_string_equal(err.message, cases[i].message);
    }
}

static char *as_text(const struct plan_form *form,
                     int (*write)(const struct plan_form *, struct buf *)) {
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(write(form, &out), 0);
    assert_int_equal(buf_add_char(&out, 0), 0);
    return (char *)out.p;
}

static void test_round_trip(void **state) {
    (void)state;
    const struct plan_form *form = read_form(ORDER);
    char *json = as_text(form, plan_write_json), *toml = as_text(form, plan_write_toml);
    const struct plan_form *again[2] = {read_form(json), read_form(toml)};
    for (int i = 0; i < 2; i++) {
        char *json2 = as_text(again[i], plan_write_json);
        assert_string_equal(json, json2);
        k_free(json2);
        plan_drop(again[i]);
    }
    const struct plan_event *event = plan_find(form, PLAN_EVENT, STR("Order Completed"));
    assert_non_null(event);
    assert_int_equal(plan_property(event, STR("email"))->class, PLAN_PERSONAL);
    assert_null(plan_property(event, STR("e-mail")));
    assert_null(plan_find(form, PLAN_EVENT, STR("order completed")));
    k_free(json);
    k_free(toml);
    plan_drop(form);
}

/* ---- the plan in force ---- */

struct desk {
    char dir[64], path[96];
    struct sql *sql;
    struct plan *plan;
};

static void desk_open(struct desk *d) {
    struct keel_error err;
    snprintf(d->dir, sizeof d->dir, "/tmp/keel-plan-XXXXXX");
    assert_non_null(mkdtemp(d->dir));
    snprintf(d->path, sizeof d->path, "%s/desk.db", d->dir);
    assert_int_equal(sql_open(d->path, SQL_CREATE, &d->sql, &err), 0);
    assert_int_equal(plan_open(d->sql, &d->plan, &err), 0);
}

static void desk_close(struct desk *d) {
    static const char *const names[] = {"desk.db", "desk.db-wal", "desk.db-shm"};
    char path[128];
    plan_close(d->plan);
    sql_close(d->sql);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", d->dir, names[i]);
        unlink(path);
    }
    rmdir(d->dir);
}

static void count_versions(void *ctx, int64_t version, int64_t at_ms, struct str who,
                           int64_t events) {
    int64_t *seen = ctx;
    assert_int_equal(at_ms, 1000 + version);
    assert_true(str_is(who, "someone"));
    assert_int_equal(events, version);
    seen[0]++;
}

static void test_versions(void **state) {
    (void)state;
    struct desk d;
    struct keel_error err;
    int64_t version = 0, seen = 0;
    desk_open(&d);
    const struct plan_form *empty = plan_take(d.plan);
    assert_true(plan_form_empty(empty));
    assert_int_equal(
        plan_import(d.plan, STR("[event.A]"), "p", STR("someone"), 1001, &version, &err), 0);
    assert_int_equal(version, 1);
    assert_int_equal(plan_import(d.plan, STR("{\"event\":{\"A\":{}}}"), "p", STR("someone"), 5000,
                                 &version, &err),
                     0);
    assert_int_equal(version, 1); /* says the same */
    assert_int_equal(
        plan_import(d.plan, STR("[event.A]\n[event.B]"), "p", STR("someone"), 1002, &version, &err),
        0);
    assert_int_equal(version, 2);
    assert_true(plan_import(d.plan, STR("[event"), "p", STR("someone"), 1002, &version, &err) < 0);
    const struct plan_form *form = plan_take(d.plan), *old;
    assert_int_equal(form->version, 2);
    assert_int_equal(form->event_count, 2);
    assert_int_equal(empty->event_count, 0); /* who holds an old form keeps it */
    assert_int_equal(plan_read_version(d.plan, 1, &old, &err), 0);
    assert_int_equal(old->event_count, 1);
    assert_int_equal(plan_read_version(d.plan, 3, &old, &err), -KEEL_E_NOT_FOUND);
    assert_int_equal(plan_versions(d.plan, 10, count_versions, &seen, &err), 0);
    assert_int_equal(seen, 2);
    plan_drop(empty);
    plan_drop(form);
    plan_drop(old);

    struct sql *other; /* another process changes it; ours takes that over */
    struct plan *theirs;
    assert_int_equal(sql_open(d.path, 0, &other, &err), 0);
    assert_int_equal(plan_open(other, &theirs, &err), 0);
    assert_int_equal(plan_import(theirs, STR("[event.C]"), "p", STR("x"), 1, &version, &err), 0);
    form = plan_take(d.plan);
    assert_int_equal(form->version, 2);
    plan_drop(form);
    assert_int_equal(plan_refresh(d.plan, &err), 0);
    form = plan_take(d.plan);
    assert_int_equal(form->version, 3);
    plan_drop(form);
    plan_close(theirs);
    sql_close(other);
    desk_close(&d);
}

struct checking_thread {
    struct desk *desk;
    struct event_under_test *event;
    atomic_bool *stop;
    uint64_t checked, refused;
};

static void *check_again_and_again(void *ctx) {
    struct checking_thread *t = ctx;
    struct plan_checker *c = plan_checker_new();
    struct plan_report report;
    plan_report_init(&report);
    while (!atomic_load(t->stop)) {
        const struct plan_form *form = plan_take(t->desk->plan);
        uint32_t n = plan_check(c, form, &t->event->batch, &t->event->view, &report);
        assert_int_equal(n, form->version % 2 ? 1 : 0); /* odd versions ask for more */
        t->refused += n;
        t->checked++;
        plan_report_clear(&report);
        plan_drop(form);
    }
    plan_report_release(&report);
    plan_checker_free(c);
    return NULL;
}

static void test_swapped_under_checks(void **state) {
    (void)state;
    struct desk d;
    struct event_under_test e;
    struct keel_error err;
    atomic_bool stop = false;
    desk_open(&d);
    event_start(&e, EVENT_TRACK, "E");
    event_done(&e);
    struct checking_thread threads[3];
    pthread_t ids[3];
    for (int i = 0; i < 3; i++) {
        threads[i] = (struct checking_thread){&d, &e, &stop, 0, 0};
        pthread_create(&ids[i], NULL, check_again_and_again, &threads[i]);
    }
    for (int64_t i = 1; i <= 40; i++) {
        int64_t version;
        struct str text = i % 2 ? STR("[event.E.property]\nx = { required = true }")
                                : STR("[event.E.property]\nx = { required = false }");
        assert_int_equal(plan_import(d.plan, text, "p", STR("x"), i, &version, &err), 0);
        assert_int_equal(version, i);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(ids[i], NULL);
        assert_true(threads[i].checked > 0);
    }
    event_free(&e);
    desk_close(&d);
}

/* ---- against a naive checker ---- */

enum { MAX_FIELDS = 12, MAX_ITEMS = 3, MAX_PLANNED = 10 };

static const char *const WORDS[] = {"a", "b",   "a.b", "a.c",   "b.c",
                                    "l", "l.x", "l.y", "a.b.c", "m.x"};
enum { WORD_COUNT = sizeof WORDS / sizeof *WORDS };
static const char *const TEXTS[] = {"red",         "blue", "2025-01-01", "12345678901234567",
                                    "x@y.example", ""};
static const char *const MEMBERS[] = {"x", "y", "z"};

struct naive_value {
    enum value_type type;
    double number;
    const char *text;
};

struct naive_field {
    const char *name;
    struct naive_value v;
    int items;
    struct {
        bool has[3];
        struct naive_value v[3];
    } item[MAX_ITEMS];
};

struct naive_rule {
    const char *name;
    enum plan_type type;
    bool required, allowed, range;
};

struct naive {
    struct naive_rule rules[MAX_PLANNED];
    int rule_count;
    bool strict;
    struct naive_field fields[MAX_FIELDS];
    int field_count;
    uint32_t counts[PLAN_V_CODES];
};

static struct naive_value random_value(struct rand *r) {
    struct naive_value v = {.type = (enum value_type)rand_below(r, 5)};
    v.number = (double)rand_below(r, 40) / 4;
    v.text = v.type == VALUE_JSON ? (rand_below(r, 2) ? "[1,2]" : "{\"q\":1}")
                                  : TEXTS[rand_below(r, sizeof TEXTS / sizeof *TEXTS)];
    return v;
}

static void make_case(struct naive *n, struct rand *r) {
    bool used[WORD_COUNT] = {0}, planned[WORD_COUNT] = {0};
    *n = (struct naive){.strict = rand_below(r, 2)};
    for (uint32_t i = rand_below(r, MAX_PLANNED); i > 0; i--) {
        uint32_t w = rand_below(r, WORD_COUNT);
        if (planned[w]) continue;
        planned[w] = true;
        struct naive_rule *rule = &n->rules[n->rule_count++];
        *rule = (struct naive_rule){WORDS[w], (enum plan_type)rand_below(r, PLAN_TYPES),
                                    rand_below(r, 2), false, false};
        rule->allowed = rule->type == PLAN_STRING && rand_below(r, 2);
        rule->range = rule->type == PLAN_NUMBER && rand_below(r, 2);
    }
    for (uint32_t i = rand_below(r, MAX_FIELDS); i > 0; i--) {
        uint32_t w = rand_below(r, WORD_COUNT);
        if (used[w]) continue;
        used[w] = true;
        struct naive_field *f = &n->fields[n->field_count++];
        *f = (struct naive_field){.name = WORDS[w], .v = random_value(r)};
        if (rand_below(r, 3)) continue;
        f->v.type = VALUE_LIST;
        f->items = (int)rand_below(r, MAX_ITEMS + 1);
        for (int k = 0; k < f->items; k++)
            for (int m = 0; m < 3; m++) {
                f->item[k].has[m] = rand_below(r, 2);
                f->item[k].v[m] = random_value(r);
            }
    }
}

static const struct naive_rule *naive_rule(const struct naive *n, const char *name) {
    for (int i = 0; i < n->rule_count; i++)
        if (strcmp(n->rules[i].name, name) == 0) return &n->rules[i];
    return NULL;
}

static bool below(const char *name, const char *front) {
    size_t n = strlen(front);
    return strncmp(name, front, n) == 0 && name[n] == '.';
}

static bool naive_fits(enum plan_type type, const struct naive_value *v) {
    bool digits = v->type == VALUE_STRING && strcmp(v->text, "12345678901234567") == 0;
    bool array = v->type == VALUE_LIST || (v->type == VALUE_JSON && v->text[0] == '[');
    bool whole = v->type == VALUE_NUMBER && v->number == (double)(int)v->number;
    switch (type) {
    case PLAN_STRING: return v->type == VALUE_STRING;
    case PLAN_NUMBER: return v->type == VALUE_NUMBER || digits;
    case PLAN_INTEGER: return whole || digits;
    case PLAN_BOOLEAN: return v->type <= VALUE_TRUE;
    case PLAN_TIME: return v->type == VALUE_STRING && strcmp(v->text, "2025-01-01") == 0;
    case PLAN_LIST: return array;
    default: return true;
    }
}

static void naive_value(struct naive *n, const struct naive_rule *rule,
                        const struct naive_value *v) {
    if (!naive_fits(rule->type, v)) {
        n->counts[PLAN_V_TYPE]++;
        return;
    }
    if (rule->allowed && strcmp(v->text, "red") != 0 && strcmp(v->text, "blue") != 0)
        n->counts[PLAN_V_VALUE]++;
    if (rule->range && v->type == VALUE_NUMBER && (v->number < 2 || v->number > 7))
        n->counts[PLAN_V_RANGE]++;
}

static bool open_type(enum plan_type t) { return t == PLAN_ANY || t == PLAN_JSON; }

static void naive_items(struct naive *n, const struct naive_field *f) {
    bool any_below = false;
    for (int i = 0; i < n->rule_count; i++) any_below |= below(n->rules[i].name, f->name);
    for (int k = 0; k < f->items; k++) {
        char name[64];
        for (int m = 0; m < 3; m++) {
            if (!f->item[k].has[m]) continue;
            snprintf(name, sizeof name, "%s.%s", f->name, MEMBERS[m]);
            const struct naive_rule *rule = naive_rule(n, name);
            bool front = false;
            for (int i = 0; i < n->rule_count; i++) front |= below(n->rules[i].name, name);
            if (rule)
                naive_value(n, rule, &f->item[k].v[m]);
            else if (n->strict && any_below && !front)
                n->counts[PLAN_V_UNPLANNED_PROPERTY]++;
        }
        for (int i = 0; i < n->rule_count; i++) {
            const struct naive_rule *rule = &n->rules[i];
            if (!rule->required || !below(rule->name, f->name)) continue;
            bool has = false;
            for (int m = 0; m < 3; m++)
                has |=
                    f->item[k].has[m] && strcmp(rule->name + strlen(f->name) + 1, MEMBERS[m]) == 0;
            n->counts[PLAN_V_MISSING] += !has;
        }
    }
}

/* An object in place of a scalar is told once, unless the name itself came first, or a list that
 * answers for it. */
static void naive_object(struct naive *n, const struct naive_rule *rule) {
    for (int k = 0; k < n->field_count; k++) {
        const struct naive_field *f = &n->fields[k];
        bool list = below(rule->name, f->name) && f->v.type == VALUE_LIST && rule->required;
        if (list || strcmp(f->name, rule->name) == 0) return;
        if (!below(f->name, rule->name)) continue;
        n->counts[PLAN_V_TYPE]++;
        return;
    }
}

static void naive_rule_met(struct naive *n, const struct naive_rule *rule) {
    bool object = false, met = false, in_list = false;
    for (int k = 0; k < n->field_count; k++) {
        const struct naive_field *f = &n->fields[k];
        object |= below(f->name, rule->name);
        met |= strcmp(f->name, rule->name) == 0;
        met |= below(rule->name, f->name) && f->v.type == VALUE_LIST;
    }
    for (int k = 0; k < n->rule_count; k++)
        in_list |= below(rule->name, n->rules[k].name) && n->rules[k].type == PLAN_LIST;
    if (object && !open_type(rule->type)) naive_object(n, rule);
    if (rule->required && !in_list && !object && !met) n->counts[PLAN_V_MISSING]++;
}

static void naive_check(struct naive *n) {
    for (int i = 0; i < n->field_count; i++) {
        const struct naive_field *f = &n->fields[i];
        const struct naive_rule *rule = naive_rule(n, f->name);
        bool front = false, within = false;
        for (int k = 0; k < n->rule_count; k++) {
            front |= below(n->rules[k].name, f->name);
            within |= below(f->name, n->rules[k].name) && open_type(n->rules[k].type);
        }
        if (rule) naive_value(n, rule, &f->v);
        bool list = f->v.type == VALUE_LIST && (rule || front);
        if (list) naive_items(n, f);
        if (!rule && !list && !within && n->strict) n->counts[PLAN_V_UNPLANNED_PROPERTY]++;
    }
    for (int i = 0; i < n->rule_count; i++) naive_rule_met(n, &n->rules[i]);
}

static void write_naive_value(struct batch_writer *w, const char *name, const struct naive_value *v,
                              bool item) {
    struct str s = str_from(name), text = str_from(v->text);
    switch (v->type) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        if (item)
            event_item_bool(w, s, v->type == VALUE_TRUE);
        else
            event_bool(w, P, s, v->type == VALUE_TRUE);
        break;
    case VALUE_NUMBER:
        if (item)
            event_item_number(w, s, v->number);
        else
            event_number(w, P, s, v->number);
        break;
    case VALUE_STRING:
        if (item)
            event_item_string(w, s, text);
        else
            event_string(w, P, s, text);
        break;
    default:
        if (item)
            event_item_json(w, s, text);
        else
            event_json(w, P, s, text);
    }
}

static void write_naive_event(const struct naive *n, struct event_under_test *e) {
    event_start(e, EVENT_TRACK, "E");
    for (int i = 0; i < n->field_count; i++) {
        const struct naive_field *f = &n->fields[i];
        if (f->v.type != VALUE_LIST) {
            write_naive_value(&e->w, f->name, &f->v, false);
            continue;
        }
        event_list_begin(&e->w, str_from(f->name));
        for (int k = 0; k < f->items; k++) {
            event_item_begin(&e->w);
            for (int m = 0; m < 3; m++)
                if (f->item[k].has[m]) write_naive_value(&e->w, MEMBERS[m], &f->item[k].v[m], true);
            event_item_end(&e->w);
        }
        event_list_end(&e->w);
    }
    event_done(e);
}

static const struct plan_form *write_naive_plan(const struct naive *n) {
    struct buf b;
    buf_init(&b, 1 << 16);
    (void)!buf_printf(&b, "unplanned_properties = \"%s\"\n[event.E.property]\n",
                      n->strict ? "quarantine" : "allow");
    for (int i = 0; i < n->rule_count; i++)
        (void)!buf_printf(&b, "\"%s\" = { type = \"%s\", required = %s%s%s }\n", n->rules[i].name,
                          PLAN_TYPE_NAMES[n->rules[i].type],
                          n->rules[i].required ? "true" : "false",
                          n->rules[i].allowed ? ", allowed = [\"red\", \"blue\"]" : "",
                          n->rules[i].range ? ", min = 2, max = 7" : "");
    (void)!buf_add_char(&b, 0);
    const struct plan_form *form = read_form((const char *)b.p);
    buf_release(&b);
    return form;
}

static void one_case(uint64_t seed, struct plan_checker *c) {
    struct naive n;
    struct rand r;
    struct event_under_test e;
    struct plan_report report;
    uint32_t counts[PLAN_V_CODES] = {0};
    rand_init(&r, seed);
    make_case(&n, &r);
    naive_check(&n);
    write_naive_event(&n, &e);
    const struct plan_form *form = write_naive_plan(&n);
    plan_report_init(&report);
    plan_check(c, form, &e.batch, &e.view, &report);
    assert_true(report.count <= PLAN_MAX_VIOLATIONS);
    for (uint32_t i = 0; i < report.count; i++) counts[report.violation[i].code]++;
    for (int i = 0; i < PLAN_V_CODES; i++)
        if (counts[i] != n.counts[i]) {
            char *json = as_text(form, plan_write_toml), *said = verdict(form, &e);
            fail_msg("KEEL_SEED=%llu: %u × %s, the naive checker has %u\n%s\n%s",
                     (unsigned long long)seed, counts[i], PLAN_VIOLATION_SLUGS[i], n.counts[i],
                     json, said);
        }
    plan_report_release(&report);
    plan_drop(form);
    event_free(&e);
}

static void test_against_naive(void **state) {
    (void)state;
    struct plan_checker *c = plan_checker_new();
    const char *given = getenv("KEEL_SEED");
    if (given) {
        one_case(strtoull(given, NULL, 10), c);
    } else {
        for (uint64_t seed = 1; seed <= 20000; seed++) one_case(seed, c);
    }
    plan_checker_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_objects_and_lists),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_many_violations),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_swapped_under_checks),
        cmocka_unit_test(test_against_naive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
