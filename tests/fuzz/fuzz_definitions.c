/* What people write down for the desk, as TOML or JSON: the first byte says what it is.
 *
 *   p  a tracking plan: in both its forms it is the same plan again, and an event can be checked
 *   w  a webhook, in lines: URL, names of events, numbers of segments: what is taken is told as
 * JSON otherwise a file of KPIs and touchpoints: taken over as a whole, each is the same again; or
 *   refused in words
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "desk/kpi/kpi.h"
#include "desk/plan/plan.h"
#include "fault_os.h"
#include "reach/webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, OUT_MAX = 16 << 20 };
#define ARENA_MAX ((size_t)256 << 20)

static char dir[TEMP_PATH_MAX];
static struct sql *desk;
static struct plan_checker *checker;
static struct json_parser *parser;
static struct batch_writer writer;
static struct buf batch;

static void stop(void) {
    sql_close(desk);
    temp_remove(dir);
    plan_checker_free(checker);
    json_parser_free(parser);
    batch_writer_release(&writer);
    buf_release(&batch);
}

/* One event that has something of every type. */
static void make_event(void) {
    struct event_head head = {.type = EVENT_TRACK,
                              .time_ms = 1700000000000,
                              .key = {1, 1},
                              .name = STR("Order Completed"),
                              .user_id = STR("u1"),
                              .anonymous_id = STR(""),
                              .related_id = STR("")};
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    batch_writer_init(&writer);
    event_begin(&writer, &head);
    event_number(&writer, SCOPE_PROPERTY, STR("total"), 12.5);
    event_string(&writer, SCOPE_PROPERTY, STR("status"), STR("paid-17"));
    event_bool(&writer, SCOPE_PROPERTY, STR("gift"), true);
    event_list_begin(&writer, STR("products"));
    event_item_begin(&writer);
    event_item_number(&writer, STR("price"), 5);
    event_item_end(&writer);
    event_list_end(&writer);
    const char *refused = event_end(&writer);
    int code = batch_finish(&writer, &batch, NULL);
    K_ASSERT(!refused && code == 0);
}

static void start(void) {
    char path[TEMP_PATH_MAX + 16];
    struct keel_error err;
    temp_make(dir);
    snprintf(path, sizeof path, "%s/desk.db", dir);
    int code = sql_open(path, SQL_CREATE, &desk, &err);
    if (code == 0) code = kpi_tables(desk, &err);
    if (code == 0) code = webhook_tables(desk, &err);
    K_ASSERT_OP(code, ==, 0);
    checker = plan_checker_new();
    parser = json_parser_new(OUT_MAX);
    make_event();
    atexit(stop);
}

/* ---- plans ---- */

static void check_event(const struct plan_form *form) {
    struct arena arena;
    struct batch_reader reader;
    struct event_view view;
    struct plan_report report;
    struct buf text;
    arena_init(&arena, 1 << 24);
    plan_report_init(&report);
    buf_init(&text, OUT_MAX);
    int code = batch_open(&reader, buf_str(&batch), &arena, NULL);
    K_ASSERT(code == 0 && batch_next(&reader, &view, NULL) == 1);
    uint32_t n = plan_check(checker, form, &reader, &view, &report);
    K_ASSERT_OP(n, ==, report.count);
    K_ASSERT(plan_report_text(&report, &text) == 0 && plan_report_json(&report, &text) == 0);
    buf_release(&text);
    plan_report_release(&report);
    arena_release(&arena);
}

static void same_plan(const struct plan_form *form, const struct buf *json,
                      int (*write)(const struct plan_form *, struct buf *)) {
    const struct plan_form *again;
    struct keel_error err;
    struct buf text, its_json;
    buf_init(&text, OUT_MAX);
    buf_init(&its_json, OUT_MAX);
    K_ASSERT(write(form, &text) == 0);
    if (plan_read(buf_str(&text), "again", &again, &err) < 0) {
        fprintf(stderr, "%s\n%.*s\n", err.message, STR_ARG(buf_str(&text)));
        abort();
    }
    K_ASSERT(plan_write_json(again, &its_json) == 0);
    K_ASSERT(str_eq(buf_str(json), buf_str(&its_json)));
    plan_drop(again);
    buf_release(&text);
    buf_release(&its_json);
}

static void plan(struct str text) {
    const struct plan_form *form;
    struct keel_error err = {0};
    struct buf json;
    if (plan_read(text, "plan", &form, &err) < 0) {
        K_ASSERT(err.message[0]);
        return;
    }
    buf_init(&json, OUT_MAX);
    K_ASSERT(plan_write_json(form, &json) == 0);
    same_plan(form, &json, plan_write_json);
    same_plan(form, &json, plan_write_toml);
    check_event(form);
    plan_drop(form);
    buf_release(&json);
}

/* ---- KPIs ---- */

static void same_kpis(const struct kpi_change *change) {
    struct kpi_set set, again;
    struct keel_error err;
    struct arena arena;
    int code = kpi_set_load(desk, KPI_NOW, &set, &err);
    arena_init(&arena, ARENA_MAX);
    for (uint32_t i = 0; code == 0 && i < set.n; i++) {
        K_ASSERT(set.kpi[i].broken.n == 0 && set.kpi[i].levels < KPI_MAX_DEPTH);
        code = kpi_put(desk, set.kpi[i].body, set.kpi[i].id, change, &arena, NULL, &err);
    }
    arena_release(&arena);
    if (code == 0) code = kpi_set_load(desk, KPI_NOW, &again, &err);
    if (code < 0) fprintf(stderr, "%s\n", err.message);
    K_ASSERT_OP(code, ==, 0);
    K_ASSERT_OP(again.n, ==, set.n);
    for (uint32_t i = 0; i < set.n; i++) {
        K_ASSERT_OP(set.kpi[i].version, ==, again.kpi[i].version);
        K_ASSERT(strcmp(set.kpi[i].hash, again.kpi[i].hash) == 0);
    }
    kpi_set_free(&set);
    kpi_set_free(&again);
}

static void kpis(struct str text) {
    struct kpi_change change = {
        .who = STR("somebody"), .at_ms = 1700000000000, .how = KPI_ADD | KPI_REPLACE};
    struct kpi_applied applied = {0};
    struct keel_error err = {0};
    int code = sql_begin(desk, &err);
    K_ASSERT_OP(code, ==, 0);
    if (kpi_apply(desk, text, "kpis", &change, &applied, &err) == 0)
        same_kpis(&change);
    else
        K_ASSERT(err.message[0]);
    sql_rollback(desk);
}

/* ---- webhooks ---- */

static struct str take_line(struct str *text) {
    const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;
    struct str line = {text->p, end ? (size_t)(end - text->p) : text->n};
    size_t taken = line.n + (end ? 1 : 0);
    *text = (struct str){text->p + taken, text->n - taken};
    return line;
}

static int is_json(void *ctx, const struct webhook_row *row) {
    struct buf text;
    struct json_value root;
    (void)ctx;
    K_ASSERT(str_starts(row->url, STR("http")));
    buf_init(&text, OUT_MAX);
    webhook_json(row, &text);
    K_ASSERT(!text.failed && json_parse(parser, buf_str(&text), &root, NULL) == 0);
    buf_release(&text);
    return 0;
}

static void webhook(struct str text) {
    struct str url = take_line(&text), events = take_line(&text), segments = take_line(&text);
    struct webhook_wish wish = {.no_events = str_is(events, "-")};
    struct keel_error err = {0};
    struct buf names;
    int64_t id;
    buf_init(&names, WEBHOOK_EVENTS_MAX);
    if (webhook_add_names(&names, events, &err) < 0) K_ASSERT(err.message[0]);
    wish.events = buf_str(&names);
    if (segments.n) wish.segments = segments;
    int code = sql_begin(desk, &err);
    K_ASSERT_OP(code, ==, 0);
    if (webhook_add(desk, url, &wish, 1700000000000, &id, &err) == 0)
        K_ASSERT(webhook_list(desk, id, is_json, NULL, &err) == 0);
    else
        K_ASSERT(err.message[0] && str_is_utf8(str_from(err.message)));
    sql_rollback(desk);
    buf_release(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!desk) start();
    if (size == 0 || size > INPUT_MAX) return 0;
    struct str text = {(const char *)data + 1, size - 1};
    if (data[0] == 'p')
        plan(text);
    else if (data[0] == 'w')
        webhook(text);
    else
        kpis(text);
    return 0;
}
