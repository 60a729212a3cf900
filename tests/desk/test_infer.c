/* A plan proposed from a store: types, presence, several types of one name, lists, personal looks;
 * and what is proposed holds for the events it was proposed from. */
#include "desk/plan/infer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ORDERS = 40 };

#define P SCOPE_PROPERTY

static void write_order(struct batch_writer *w, int i) {
    struct event_head head = {.type = EVENT_TRACK,
                              .time_ms = 1700000000000 + i,
                              .key = {(uint64_t)i + 1, 1},
                              .name = STR("Order"),
                              .user_id = STR("u1"),
                              .anonymous_id = STR(""),
                              .related_id = STR("")};
    event_begin(w, &head);
    event_number(w, P, STR("quantity"), i);
    event_number(w, P, STR("total"), i / 2.0);
    event_string(w, P, STR("at"), STR("2025-01-01T10:00:00Z"));
    event_string(w, P, STR("contact"), i % 4 ? STR("a@b.example") : STR("none"));
    if (i % 2) event_bool(w, P, STR("gift"), true);
    if (i % 2)
        event_number(w, P, STR("code"), 1);
    else
        event_string(w, P, STR("code"), STR("A1"));
    event_json(w, P, STR("tags"), STR("[1,2]"));
    event_list_begin(w, STR("products"));
    for (int k = 0; k < 2; k++) {
        event_item_begin(w);
        event_item_string(w, STR("sku"), STR("x"));
        if (k) event_item_number(w, STR("price"), 2.5);
        event_item_end(w);
    }
    event_list_end(w);
    event_string(w, SCOPE_CONTEXT, STR("ip"), STR("192.0.2.1"));
    assert_null(event_end(w));
}

static void write_identify(struct batch_writer *w) {
    struct event_head head = {.type = EVENT_IDENTIFY,
                              .time_ms = 1700000000000,
                              .key = {9999, 1},
                              .name = STR(""),
                              .user_id = STR("u1"),
                              .anonymous_id = STR(""),
                              .related_id = STR("")};
    event_begin(w, &head);
    event_string(w, P, STR("first_name"), STR("Ann"));
    assert_null(event_end(w));
}

static const struct plan_property *property(const struct plan_form *form, const char *event,
                                            const char *name) {
    const struct plan_event *e = plan_find(form, PLAN_EVENT, str_from(event));
    assert_non_null(e);
    return plan_property(e, str_from(name));
}

static void assert_all_clean(const struct plan_form *form, struct str bytes) {
    struct plan_checker *c = plan_checker_new();
    struct plan_report report;
    struct arena arena;
    struct batch_reader batch;
    struct event_view event;
    arena_init(&arena, 1 << 24);
    plan_report_init(&report);
    assert_int_equal(batch_open(&batch, bytes, &arena, NULL), 0);
    while (batch_next(&batch, &event, NULL) == 1)
        assert_int_equal(plan_check(c, form, &batch, &event, &report), 0);
    plan_report_release(&report);
    arena_release(&arena);
    plan_checker_free(c);
}

static void assert_proposed(const struct plan_form *form) {
    static const struct {
        const char *name;
        enum plan_type type;
        bool required;
        enum plan_class class;
    } expected[] = {
        {"quantity", PLAN_INTEGER, true, PLAN_UNCLASSED},
        {"total", PLAN_NUMBER, true, PLAN_UNCLASSED},
        {"at", PLAN_TIME, true, PLAN_UNCLASSED},
        {"contact", PLAN_STRING, true, PLAN_PERSONAL},
        {"gift", PLAN_BOOLEAN, false, PLAN_UNCLASSED},
        {"code", PLAN_ANY, true, PLAN_UNCLASSED},
        {"tags", PLAN_LIST, true, PLAN_UNCLASSED},
        {"products", PLAN_LIST, true, PLAN_UNCLASSED},
        {"products.sku", PLAN_STRING, true, PLAN_UNCLASSED},
        {"products.price", PLAN_NUMBER, false, PLAN_UNCLASSED},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct plan_property *p = property(form, "Order", expected[i].name);
        if (!p)
            fail_msg("%s is not proposed", expected[i].name);
        else if (p->type != expected[i].type || p->required != expected[i].required ||
                 p->class != expected[i].class)
            fail_msg("%s: %s, required %d, %s", expected[i].name, PLAN_TYPE_NAMES[p->type],
                     p->required, PLAN_CLASS_NAMES[p->class]);
    }
    const struct plan_property *gift = property(form, "Order", "gift");
    assert_true(str_is(gift->description, "seen in 50 % of 40 events"));
    const struct plan_property *price = property(form, "Order", "products.price");
    assert_true(str_is(price->description, "seen in 50 % of 80 items"));
    const struct plan_event *identify = plan_find(form, PLAN_IDENTIFY, STR(""));
    assert_int_equal(plan_property(identify, STR("first_name"))->class, PLAN_PERSONAL);
    assert_false(plan_property(identify, STR("first_name"))->required); /* one is too few */
    const struct plan_event *context = plan_find(form, PLAN_CONTEXT, STR(""));
    assert_int_equal(plan_property(context, STR("ip"))->class, PLAN_PERSONAL);
}

static void test_proposed(void **state) {
    (void)state;
    char dir[] = "/tmp/keel-infer-XXXXXX", command[64];
    struct db_options options = {.store = {.read_only = false}};
    struct ingest_counts counts = {0};
    struct batch_writer w;
    struct buf bytes;
    struct db *db;
    struct keel_error err;
    const struct plan_form *form;
    assert_non_null(mkdtemp(dir));
    if (db_init(dir, STR("UTC"), STR("EUR"), &err) < 0) fail_msg("%s", err.message);
    assert_int_equal(db_open(dir, &options, &db, &err), 0);
    if (plan_infer(db, &form, &err) < 0) fail_msg("%s", err.message); /* of nothing */
    assert_int_equal(form->event_count, 0);
    plan_drop(form);
    batch_writer_init(&w);
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    for (int i = 0; i < ORDERS; i++) write_order(&w, i);
    write_identify(&w);
    assert_int_equal(batch_finish(&w, &bytes, &err), 0);
    assert_int_equal(db_ingest(db, buf_str(&bytes), &counts, &err), 0);
    for (int at_rest = 0; at_rest < 2; at_rest++) {
        if (plan_infer(db, &form, &err) < 0) fail_msg("%s", err.message);
        assert_proposed(form);
        assert_all_clean(form, buf_str(&bytes));
        plan_drop(form);
        assert_int_equal(db_flush(db, &err), 0); /* the same from parts */
    }
    buf_release(&bytes);
    batch_writer_release(&w);
    assert_int_equal(db_close(db, &err), 0);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_proposed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
