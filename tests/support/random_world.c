/* Implementation of random_world.h. */
#include "random_world.h"

#include "query/language/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- histories ---- */

static const char *const USERS[] = {"u1", "u2", "u3", "u4", "u5"};
static const char *const ANONS[] = {"a1", "a2", "a3", "a4", "a5", "a6"};
static const char *const TRACKS[] = {"A", "B", "C", "Order"};
static const char *const PAGES[] = {"", "Home", "Cart"};
static const char *const COLOURS[] = {"red", "green", "blue"};
static const char *const SKUS[] = {"s1", "s2", "s3"};
static const char *const CHANNELS[] = {"web", "app"};

static void add(struct naive_field *fields, uint32_t *n, const char *name, struct datum v) {
    fields[(*n)++] = (struct naive_field){name, v};
}

static struct datum words(const char *s) { return datum_str(str_from(s)); }

static struct datum random_number(struct rand *r) {
    switch (rand_below(r, 8)) {
    case 0: return datum_number((double)rand_below(r, 1000) / 3);
    case 1: return datum_number(-(double)rand_below(r, 500) / 100);
    default: return datum_number((double)rand_below(r, 1200) / 100);
    }
}

static void random_props(struct rand *r, struct naive_event *e) {
    if (rand_below(r, 4)) add(e->props, &e->n_props, "price", random_number(r));
    if (rand_below(r, 3)) add(e->props, &e->n_props, "color", words(COLOURS[rand_below(r, 3)]));
    if (rand_below(r, 2)) add(e->props, &e->n_props, "flag", datum_bool(rand_below(r, 2)));
    switch (rand_below(r, 5)) {
    case 0: add(e->props, &e->n_props, "mix", random_number(r)); break;
    case 1: add(e->props, &e->n_props, "mix", words(COLOURS[rand_below(r, 3)])); break;
    case 2: add(e->props, &e->n_props, "mix", words("2011-04-01T10:00:00Z")); break;
    default: break;
    }
    if (e->type == EVENT_IDENTIFY && rand_below(r, 3))
        add(e->props, &e->n_props, "country", words(rand_below(r, 2) ? "DE" : "FR"));
    if (e->type != EVENT_TRACK || strcmp(e->name, "Order") != 0 || !rand_below(r, 5)) return;
    e->n_items = rand_below(r, NAIVE_MAX_ITEMS + 1);
    e->has_list = e->n_items > 0;
    for (uint32_t i = 0; i < e->n_items; i++) {
        uint32_t *n = &e->n_item_fields[i];
        if (rand_below(r, 5)) add(e->items[i], n, "sku", words(SKUS[rand_below(r, 3)]));
        if (rand_below(r, 3)) add(e->items[i], n, "qty", datum_number(1 + rand_below(r, 5)));
    }
}

void random_event(struct rand *r, uint32_t grain, struct naive_event *e) {
    memset(e, 0, sizeof *e);
    uint32_t kind = rand_below(r, 12);
    e->type = kind < 8 ? EVENT_TRACK : kind < 10 ? EVENT_PAGE : EVENT_IDENTIFY;
    e->name = e->type == EVENT_TRACK  ? TRACKS[rand_below(r, 4)]
              : e->type == EVENT_PAGE ? PAGES[rand_below(r, 3)]
                                      : "";
    uint32_t who = rand_below(r, 10);
    if (who < 6) e->user = USERS[rand_below(r, 5)];
    if (who >= 5) e->anon = ANONS[rand_below(r, 6)];
    e->time = RANDOM_BASE_MS + (int64_t)(rand_below(r, 4 * 60) / grain * grain) * 6 * MS_PER_HOUR;
    /* Some minutes apart, for gaps. */
    if (rand_below(r, 3) == 0) e->time += (int64_t)rand_below(r, 4) * 10 * MS_PER_MINUTE;
    random_props(r, e);
    if (rand_below(r, 3))
        add(e->context, &e->n_context, "channel", words(CHANNELS[rand_below(r, 2)]));
    if (rand_below(r, 4) == 0) add(e->context, &e->n_context, "color", words("grey"));
}

static void write_field(struct batch_writer *w, enum field_scope scope,
                        const struct naive_field *f) {
    struct str name = str_from(f->name);
    if (f->value.type == DATUM_NUMBER) event_number(w, scope, name, f->value.number);
    if (f->value.type == DATUM_STRING) event_string(w, scope, name, f->value.str);
    if (f->value.type == DATUM_BOOL) event_bool(w, scope, name, f->value.boolean);
}

void write_naive_event(struct batch_writer *w, const struct naive_event *e) {
    char id[32];
    snprintf(id, sizeof id, "m%u", e->id);
    struct event_head head = {.type = e->type,
                              .time_ms = e->time,
                              .key = event_key_of(str_from(id)),
                              .name = str_from(e->name),
                              .user_id = str_from(e->user ? e->user : ""),
                              .anonymous_id = str_from(e->anon ? e->anon : "")};
    event_begin(w, &head);
    for (uint32_t i = 0; i < e->n_props; i++) write_field(w, SCOPE_PROPERTY, &e->props[i]);
    for (uint32_t i = 0; i < e->n_context; i++) write_field(w, SCOPE_CONTEXT, &e->context[i]);
    if (e->has_list) {
        event_list_begin(w, STR("products"));
        for (uint32_t i = 0; i < e->n_items; i++) {
            event_item_begin(w);
            for (uint32_t k = 0; k < e->n_item_fields[i]; k++) {
                const struct naive_field *f = &e->items[i][k];
                if (f->value.type == DATUM_NUMBER)
                    event_item_number(w, str_from(f->name), f->value.number);
                else
                    event_item_string(w, str_from(f->name), f->value.str);
            }
            event_item_end(w);
        }
        event_list_end(w);
    }
    assert_null(event_end(w));
}

void ingest_written(struct db *db, struct batch_writer *w) {
    struct keel_error err = {0};
    struct ingest_counts counts = {0};
    struct buf batch;
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    assert_int_equal(batch_finish(w, &batch, &err), 0);
    if (batch.n > 0) assert_int_equal(db_ingest(db, buf_str(&batch), &counts, &err), 0);
    buf_release(&batch);
}

/* ---- questions ---- */

void say(struct ask *a, const char *s) { assert_int_equal(buf_add_text(&a->text, s), 0); }
uint32_t dice(struct ask *a, uint32_t n) { return rand_below(a->r, n); }
int random_segment(void *ctx, struct str name, const struct query_cond **out,
                   struct keel_error *err) {
    static const char *const texts[] = {
        "count customers where did \"A\" at least 2 times",
        "count customers where trait color = \"red\" or did \"Order\" during last 10 days",
        "count customers where in segment \"S1\" and not did \"B\" followed by \"C\"",
    };
    static struct query *parsed[3];
    static struct arena arena;
    (void)ctx;
    uint32_t i = name.n == 2 ? (uint32_t)(name.p[1] - '1') : 3;
    if (i >= 3) return error_set(err, KEEL_E_NOT_FOUND, "no such segment");
    if (!arena.max_bytes) arena_init(&arena, 4 * (size_t)QUERY_ARENA_BYTES);
    if (!parsed[i])
        assert_int_equal(query_parse(str_from(texts[i]), &arena, &parsed[i], NULL, err), 0);
    *out = parsed[i]->where;
    return 0;
}

void say_test(struct ask *a) {
    ONE_OF(a, "price > 5", "price <= 3", "price between 2 and 8", "color = \"red\"",
           "color != \"red\"", "color in (\"red\", \"blue\")", "color not in (\"green\")",
           "color contains \"e\"", "color starts with \"b\"", "color ends with \"n\"",
           "color matches \"^(r|g)\"", "flag = true", "flag != true", "mix = 3", "mix != \"red\"",
           "mix > 2011-03-30", "mix exists", "mix is missing", "price is missing",
           "channel = \"web\"", "context.channel exists", "context.color = \"grey\"",
           "time >= 2011-04-10", "any products.sku = \"s1\"", "all products.qty > 2",
           "products.sku in (\"s2\", \"s3\")", "products.qty is missing", "not color = \"red\"",
           "(price > 3 and flag = false)", "(color = \"blue\" or mix exists)", "nothing = 1",
           "properties.color exists", "event = \"A\"", "event contains \"Home\"",
           "all products.sku exists", "all products.qty is missing", "price in (1, 2, 3, 4, 5)");
}

void say_event(struct ask *a) {
    ONE_OF(a, "\"A\"", "\"A\"", "\"B\"", "\"B\"", "\"C\"", "\"Order\"", "\"Order\"", "page",
           "page \"Home\"", "identify", "any event", "\"Never\"");
    if (dice(a, 3)) return;
    say(a, " where ");
    if (dice(a, 3)) {
        say_test(a);
        return;
    }
    say(a, "(");
    say_test(a);
    ONE_OF(a, " and ", " or ");
    say_test(a);
    say(a, ")");
}

/* Different track events in some order: no event matches two of them. */
void say_tracks(struct ask *a, uint32_t n) {
    static const char *const names[] = {"\"A\"", "\"B\"", "\"C\"", "\"Order\""};
    uint32_t first = dice(a, 4), step = dice(a, 2) ? 1 : 3;
    for (uint32_t i = 0; i < n; i++) {
        if (i) say(a, ", ");
        say(a, names[(first + i * step) % 4]);
    }
}

void say_events(struct ask *a, uint32_t most) {
    uint32_t n = 1 + dice(a, most);
    for (uint32_t i = 0; i < n; i++) {
        if (i) say(a, ", ");
        say_event(a);
    }
}

void say_range(struct ask *a) {
    ONE_OF(a, "", "", "", "", "", "", "", " since 2011-04-02", " before 2011-04-20",
           " during last 10 days", " from 2011-03-28 to 2011-05-01", " in 2011-04",
           " on 2011-04-05", " during last 1 month", " during last 100 hours");
}

void say_within(struct ask *a) {
    ONE_OF(a, "", " within 1 day", " within 6 hours", " within 7 days", " within 3 weeks",
           " within 12 hours");
}

void say_measure(struct ask *a, bool customer) {
    static const char *const events[] = {"\"A\"", "\"B\"", "\"Order\"", "any event", "page"};
    static const char *const props[] = {"price",        "mix",  "color",  "products.qty",
                                        "products.sku", "flag", "channel"};
    uint32_t kind = dice(a, customer ? 9 : 7);
    static const char *const aggs[] = {"count",  "sum", "avg",   "min", "max",
                                       "unique", "",    "first", "last"};
    say(a, kind == 6 ? "count" : aggs[kind]);
    say(a, "(");
    say(a, events[dice(a, 5)]);
    if (kind != 6) {
        say(a, ".");
        bool times = (kind == 3 || kind == 4) && dice(a, 4) == 0;
        say(a, times ? "time" : props[dice(a, 7)]);
    }
    if (dice(a, 4) == 0) {
        say(a, " where ");
        say_test(a);
    }
    say(a, ")");
}

static void say_did(struct ask *a) {
    say(a, dice(a, 4) ? "did " : "did not ");
    say_event(a);
    if (dice(a, 4) == 0) {
        ONE_OF(a, " followed by ", " not followed by ");
        say_event(a);
        say_within(a);
    } else {
        ONE_OF(a, "", "", " at least 2 times", " at most 1 times", " exactly 3 times",
               " between 2 and 4 times");
    }
    say_range(a);
}

static void say_leaf(struct ask *a) {
    switch (dice(a, 8)) {
    case 0:
        say_measure(a, true);
        ONE_OF(a, " > 5", " < 3", " = \"red\"", " exists", " is missing", " in (1, 2)",
               " between 2 and 10", " >= 2011-04-01");
        say_range(a);
        break;
    case 1:
        ONE_OF(a, "trait country = \"DE\"", "trait country in (\"DE\", \"FR\")",
               "trait country is missing", "trait country != \"DE\"", "trait color = \"red\"");
        break;
    case 2: ONE_OF(a, "identified", "anonymous", "not identified"); break;
    case 3:
        ONE_OF(a, "reached step 1 of (", "reached step 2 of (", "stopped at step 1 of (",
               "stopped at step 2 of (");
        ONE_OF(a, "", "", "any order ");
        if (dice(a, 2)) {
            say_tracks(a, 3);
        } else {
            say_event(a);
            say(a, ", ");
            say_event(a);
        }
        say_within(a);
        say(a, ")");
        say_range(a);
        break;
    default: say_did(a); break;
    }
}

void say_cond(struct ask *a, uint32_t depth) {
    if (depth == 0 || dice(a, 2)) {
        say_leaf(a);
        return;
    }
    say(a, dice(a, 4) ? "(" : "not (");
    say_cond(a, depth - 1);
    ONE_OF(a, " and ", " or ");
    say_cond(a, depth - 1);
    say(a, ")");
}
