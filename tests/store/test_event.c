/* The batch of canonical events: round trip, limits, duplicates, derived keys, damage. */
#include "store/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/rand.h"

/* ---- a text form of a batch, for comparisons ---- */

static void print_value(struct buf *out, const struct field_view *f) {
    switch (f->type) {
    case VALUE_FALSE: buf_add_text(out, "false"); break;
    case VALUE_TRUE: buf_add_text(out, "true"); break;
    case VALUE_NUMBER: buf_printf(out, "%a", f->number); break;
    case VALUE_STRING: buf_add_json_str(out, f->text); break;
    case VALUE_JSON: buf_printf(out, "json:%.*s", STR_ARG(f->text)); break;
    case VALUE_LIST: break;
    }
}

static void print_head(struct buf *out, const struct event_head *h) {
    buf_printf(out, "%d %lld %llx.%x '%.*s' u=%.*s a=%.*s r=%.*s\n", h->type, (long long)h->time_ms,
               (unsigned long long)h->key.lo, h->key.hi, STR_ARG(h->name), STR_ARG(h->user_id),
               STR_ARG(h->anonymous_id), STR_ARG(h->related_id));
}

/* Reads all; returns the number of events or the error. */
static int print_batch(struct str bytes, struct buf *out) {
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    struct field_view f, item;
    struct keel_error err;
    int events = 0, code;
    arena_init(&arena, 64 << 20);
    code = batch_open(&b, bytes, &arena, &err);
    while (code == 0 && (code = batch_next(&b, &view, &err)) == 1) {
        events++;
        print_head(out, &view.head);
        while (field_next(&b, &view, &f)) {
            buf_printf(out, " %d %.*s=", f.scope, STR_ARG(b.names[f.name]));
            print_value(out, &f);
            for (uint32_t i = 0; i < f.items; i++) {
                buf_printf(out, "[%u:", item_next(&view));
                while (item_field(&b, &view, &item)) {
                    buf_printf(out, "%.*s=", STR_ARG(b.names[item.name]));
                    print_value(out, &item);
                    buf_add_char(out, ' ');
                }
                buf_add_char(out, ']');
            }
            buf_add_char(out, '\n');
        }
        code = view.r.bad ? -KEEL_E_CORRUPT : 0;
    }
    arena_release(&arena);
    return code < 0 ? code : events;
}

/* ---- random batches: written to the batch and, in the same text form, to `expected` ---- */

struct maker {
    struct rand r;
    struct batch_writer w;
    struct buf expected;
    uint32_t scopes;  /* how many of them the event's fields have */
    uint64_t known;   /* contexts that were in the batch already, */
    uint64_t guessed; /* and those of them that were guessed     */
};

static char text_space[1 << 16];

static struct str random_text(struct rand *r, uint32_t max) {
    static const char *const pieces[] = {"a", "Z",    " ",    "\"", "\\", "\n",
                                         "é", "日本", "🙂", "0",  "."};
    size_t n = 0, pieces_left = rand_below(r, max);
    while (pieces_left--) {
        const char *piece = pieces[rand_below(r, 11)];
        memcpy(text_space + n, piece, strlen(piece));
        n += strlen(piece);
    }
    return (struct str){text_space, n};
}

static double random_number(struct rand *r) {
    switch (rand_below(r, 4)) {
    case 0: return (double)rand_below(r, 100);
    case 1: return -0.0;
    case 2: return (rand_unit(r) - 0.5) * 1e300;
    default: return rand_below(r, 100000) / 100.0;
    }
}

static void add_random_field(struct maker *m, struct str name, bool in_item) {
    enum field_scope scope = (enum field_scope)rand_below(&m->r, m->scopes);
    struct field_view f = {.scope = scope};
    f.type = (enum value_type)rand_below(&m->r, 5);
    if (f.type == VALUE_NUMBER) f.number = random_number(&m->r);
    if (f.type == VALUE_STRING || f.type == VALUE_JSON) f.text = random_text(&m->r, 20);
    if (!in_item) buf_printf(&m->expected, " %d ", scope);
    buf_printf(&m->expected, "%.*s=", STR_ARG(name));
    print_value(&m->expected, &f);
    buf_add_char(&m->expected, in_item ? ' ' : '\n');
    bool truth = f.type == VALUE_TRUE;
    if (in_item && f.type <= VALUE_TRUE) event_item_bool(&m->w, name, truth);
    if (in_item && f.type == VALUE_NUMBER) event_item_number(&m->w, name, f.number);
    if (in_item && f.type == VALUE_STRING) event_item_string(&m->w, name, f.text);
    if (in_item && f.type == VALUE_JSON) event_item_json(&m->w, name, f.text);
    if (in_item) return;
    if (f.type <= VALUE_TRUE) event_bool(&m->w, scope, name, truth);
    if (f.type == VALUE_NUMBER) event_number(&m->w, scope, name, f.number);
    if (f.type == VALUE_STRING) event_string(&m->w, scope, name, f.text);
    if (f.type == VALUE_JSON) event_json(&m->w, scope, name, f.text);
}

static struct str numbered(char *space, const char *prefix, uint32_t i) {
    return (struct str){space, (size_t)sprintf(space, "%s%u", prefix, i)};
}

static void add_random_list(struct maker *m, struct str name) {
    char space[32];
    buf_printf(&m->expected, " 0 %.*s=", STR_ARG(name));
    event_list_begin(&m->w, name);
    for (uint32_t items = rand_below(&m->r, 5); items > 0; items--) {
        uint32_t fields = rand_below(&m->r, 6);
        buf_printf(&m->expected, "[%u:", fields);
        event_item_begin(&m->w);
        for (uint32_t i = 0; i < fields; i++)
            add_random_field(m, numbered(space, "f", i + rand_below(&m->r, 2) * 100), true);
        event_item_end(&m->w);
        buf_add_char(&m->expected, ']');
    }
    event_list_end(&m->w);
    buf_add_char(&m->expected, '\n');
}

/* Is the context known, asked in one of the two ways? */
static bool ask_context(struct maker *m, struct str name) {
    char longer[512];
    uint32_t tokens = 0, guess = 0;
    if (rand_below(&m->r, 2)) {
        memcpy(longer, name.p, name.n);
        memset(longer + name.n, '}', 200);
        guess = event_context_guess(&m->w, (struct str){longer, name.n + 200}, &tokens);
    }
    if (!guess) return event_context_known(&m->w, name);
    assert_int_equal(tokens, name.n);
    event_context_share(&m->w, guess);
    m->guessed++;
    return true;
}

/* The fields follow from the context's text alone. Some contexts come back, most do not. Those that
 * are long may be guessed; the bytes that a guess looks at are the same in many. */
static void add_random_context(struct maker *m) {
    char text[256], field[32], value[32];
    uint32_t which = rand_below(&m->r, rand_below(&m->r, 8) ? 5 : 100000);
    struct str name = {text, (size_t)sprintf(text, "text of context %u;", which)};
    if (which % 2) {
        memset(text + name.n, '.', 200 - name.n);
        text[170 + which % 20] = '!';
        name.n = 200;
    }
    bool known = ask_context(m, name);
    m->known += known;
    if (!known) event_context_begin(&m->w);
    for (uint32_t i = 0; i < which % 7; i++) {
        struct str key = numbered(field, "context.", i), v = numbered(value, "value ", which + i);
        buf_printf(&m->expected, " 1 %.*s=", STR_ARG(key));
        buf_add_json_str(&m->expected, v);
        buf_add_char(&m->expected, '\n');
        if (!known) event_string(&m->w, SCOPE_CONTEXT, key, v);
    }
    if (!known && rand_below(&m->r, 8)) event_context_end(&m->w, name, (uint32_t)name.n);
}

static void add_random_event(struct maker *m) {
    char space[4][32], field[32];
    uint32_t which = 1 + rand_below(&m->r, 7);
    struct event_head head = {
        .type = (enum event_type)rand_below(&m->r, EVENT_TYPES),
        .time_ms = (int64_t)(rand_u64(&m->r) % (uint64_t)EVENT_MAX_TIME),
        .key = {rand_u64(&m->r), (uint32_t)rand_u64(&m->r)},
        .name = numbered(space[0], "Event ", rand_below(&m->r, 5)),
    };
    if (which & 1 || !(which & 2)) head.user_id = numbered(space[1], "u", rand_below(&m->r, 99));
    if (which & 2) head.anonymous_id = numbered(space[2], "é", rand_below(&m->r, 99));
    if (which & 4) head.related_id = numbered(space[3], "r", rand_below(&m->r, 99));
    if (head.type != EVENT_TRACK && rand_below(&m->r, 2)) head.name = STR("");
    size_t mark = m->expected.n;
    print_head(&m->expected, &head);
    event_begin(&m->w, &head);
    m->scopes = 1 + rand_below(&m->r, 2);
    for (uint32_t i = 0, n = rand_below(&m->r, 30); i < n; i++) {
        /* Mostly the same names in the same order, some skipped, some new. */
        uint32_t variant = rand_below(&m->r, 20) ? 0 : rand_below(&m->r, 100000) * 100;
        struct str name = numbered(field, "field.", i + variant);
        if (rand_below(&m->r, 8) == 0)
            add_random_list(m, name);
        else if (rand_below(&m->r, 8))
            add_random_field(m, name, false);
    }
    if (m->scopes == 1) add_random_context(m);
    if (rand_below(&m->r, 10) == 0) { /* refused: leaves no trace */
        if (rand_below(&m->r, 2)) {
            event_number(&m->w, SCOPE_PROPERTY, STR("never"), 1.0 / 0.0);
            assert_string_equal(event_end(&m->w), "a number is not finite");
        } else {
            event_cancel(&m->w);
        }
        m->expected.n = mark;
        return;
    }
    assert_null(event_end(&m->w));
}

static void maker_init(struct maker *m, uint64_t seed) {
    rand_init(&m->r, seed);
    batch_writer_init(&m->w);
    buf_init(&m->expected, 64 << 20);
}

static void maker_release(struct maker *m) {
    batch_writer_release(&m->w);
    buf_release(&m->expected);
}

static uint64_t seed_of_run(void) {
    const char *given = getenv("KEEL_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("seed %llu (repeat with KEEL_SEED)\n", (unsigned long long)seed);
    return seed;
}

static void test_round_trip(void **state) {
    (void)state;
    uint64_t seed = seed_of_run();
    struct buf bytes, got;
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&got, 64 << 20);
    struct maker m;
    maker_init(&m, seed);
    for (int round = 0; round < 200; round++) { /* one writer for all: it must come back clean */
        for (uint32_t i = rand_below(&m.r, 200); i > 0; i--) add_random_event(&m);
        uint32_t events = m.w.event_count;
        assert_int_equal(batch_finish(&m.w, &bytes, NULL), 0);
        if (events == 0)
            assert_int_equal(bytes.n, 0);
        else
            assert_int_equal(print_batch(buf_str(&bytes), &got), (int)events);
        assert_int_equal(got.n, m.expected.n);
        if (got.n) assert_memory_equal(got.p, m.expected.p, got.n);
        buf_clear(&bytes);
        buf_clear(&got);
        buf_clear(&m.expected);
    }
    assert_true(m.known > 1000);
    assert_true(m.guessed > 100);
    maker_release(&m);
    buf_release(&bytes);
    buf_release(&got);
}

/* ---- limits ---- */

static const struct event_head HEAD = {
    .type = EVENT_TRACK, .time_ms = 1, .name = {"Named", 5}, .user_id = {"u", 1}};

static char many[EVENT_MAX_BYTES + 100];

static struct str letters(size_t n) { return (struct str){many, n}; }

static const char *end_with_head(struct batch_writer *w, struct event_head head) {
    event_begin(w, &head);
    event_bool(w, SCOPE_PROPERTY, STR("p"), true);
    return event_end(w);
}

static void test_head_limits(void **state) {
    (void)state;
    struct batch_writer w;
    struct event_head h;
    batch_writer_init(&w);
    assert_null(end_with_head(&w, HEAD));
#define REFUSED(change, why)                                                                       \
    h = HEAD;                                                                                      \
    change;                                                                                        \
    assert_string_equal(end_with_head(&w, h), why)
#define ACCEPTED(change)                                                                           \
    h = HEAD;                                                                                      \
    change;                                                                                        \
    assert_null(end_with_head(&w, h))
    REFUSED(h.time_ms = -1, "time is not between 1970 and 2200");
    REFUSED(h.time_ms = EVENT_MAX_TIME, "time is not between 1970 and 2200");
    ACCEPTED(h.time_ms = 0);
    ACCEPTED(h.time_ms = EVENT_MAX_TIME - 1);
    REFUSED(h.user_id = STR(""), "neither user_id nor anonymous_id");
    ACCEPTED((h.user_id = STR(""), h.anonymous_id = STR("a")));
    REFUSED(h.name = STR(""), "track without an event name");
    ACCEPTED((h.name = STR(""), h.type = EVENT_PAGE));
    REFUSED(h.user_id = letters(EVENT_MAX_ID + 1), "user_id is longer than 500 bytes");
    REFUSED(h.anonymous_id = letters(EVENT_MAX_ID + 1), "anonymous_id is longer than 500 bytes");
    REFUSED(h.related_id = letters(EVENT_MAX_ID + 1),
            "group or previous id is longer than 500 bytes");
    ACCEPTED(h.user_id = h.anonymous_id = h.related_id = letters(EVENT_MAX_ID));
    REFUSED(h.name = letters(EVENT_MAX_NAME + 1), "a name is longer than 200 bytes");
    ACCEPTED(h.name = letters(EVENT_MAX_NAME));
    REFUSED(h.user_id = STR("\xff"), "invalid UTF-8");
    REFUSED(h.anonymous_id = STR("12345678\xc0\x80"), "invalid UTF-8");
    REFUSED(h.related_id = STR("\xed\xa0\x80"), "invalid UTF-8");
    REFUSED(h.name = STR("caf\xe9"), "invalid UTF-8");
    struct buf bytes, text;
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&text, 1 << 20);
    uint32_t events = w.event_count;
    assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
    assert_int_equal(print_batch(buf_str(&bytes), &text), (int)events);
    buf_release(&bytes);
    buf_release(&text);
    batch_writer_release(&w);
}

static void test_field_limits(void **state) {
    (void)state;
    char space[32];
    struct batch_writer w;
    batch_writer_init(&w);
    for (uint32_t n = EVENT_MAX_FIELDS; n <= EVENT_MAX_FIELDS + 1; n++) {
        event_begin(&w, &HEAD);
        for (uint32_t i = 0; i < n; i++)
            event_bool(&w, SCOPE_PROPERTY, numbered(space, "p", i), true);
        const char *why = event_end(&w);
        assert_string_equal(why ? why : "", n > EVENT_MAX_FIELDS ? "more than 10,000 fields" : "");
    }
    for (uint32_t n = EVENT_MAX_ITEMS; n <= EVENT_MAX_ITEMS + 1; n++) {
        event_begin(&w, &HEAD);
        event_list_begin(&w, STR("products"));
        for (uint32_t i = 0; i < n; i++) {
            event_item_begin(&w);
            event_item_number(&w, STR("price"), i);
            event_item_end(&w);
        }
        event_list_end(&w);
        const char *why = event_end(&w);
        assert_string_equal(why ? why : "",
                            n > EVENT_MAX_ITEMS ? "a list has more than 10,000 items" : "");
    }
    event_begin(&w, &HEAD);
    event_string(&w, SCOPE_CONTEXT, letters(EVENT_MAX_NAME + 1), STR(""));
    assert_string_equal(event_end(&w), "a name is longer than 200 bytes");
    event_begin(&w, &HEAD);
    event_json(&w, SCOPE_CONTEXT, STR("x"), STR("\"\xf8\""));
    assert_string_equal(event_end(&w), "invalid UTF-8");
    assert_int_equal(w.event_count, 2);
    batch_writer_release(&w);
}

static void test_size_limits(void **state) {
    (void)state;
    struct batch_writer w;
    struct buf bytes;
    batch_writer_init(&w);
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    size_t fits = 0;
    for (size_t n = EVENT_MAX_BYTES - 64; n <= EVENT_MAX_BYTES; n++) { /* the exact border */
        event_begin(&w, &HEAD);
        event_string(&w, SCOPE_PROPERTY, STR("x"), letters(n));
        const char *why = event_end(&w);
        if (!why)
            assert_int_equal(fits = n, n);
        else
            assert_string_equal(why, "larger than 1 MiB");
        assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
        buf_clear(&bytes);
    }
    assert_in_range(fits, EVENT_MAX_BYTES - 60, EVENT_MAX_BYTES - 30);
    event_begin(&w, &HEAD);
    char name[EVENT_MAX_NAME];
    for (uint32_t i = 0; i < 9000; i++) { /* the names alone */
        snprintf(name, sizeof name, "%0*u", EVENT_MAX_NAME - 1, i);
        event_bool(&w, SCOPE_PROPERTY, (struct str){name, sizeof name - 1}, true);
    }
    assert_string_equal(event_end(&w), "larger than 1 MiB");
    assert_int_equal(w.name_count, 0);

    /* A caller that asks batch_full before each event never sees a full batch. */
    uint32_t events = 0;
    while (!batch_full(&w, EVENT_MAX_BYTES)) {
        event_begin(&w, &HEAD);
        event_string(&w, SCOPE_PROPERTY, STR("x"), letters(300000));
        assert_null(event_end(&w));
        events++;
    }
    assert_in_range(events, 50, 53);
    const char *why = NULL;
    while (!why) { /* and one that does not is told so */
        event_begin(&w, &HEAD);
        event_string(&w, SCOPE_PROPERTY, STR("x"), letters(300000));
        why = event_end(&w);
    }
    assert_string_equal(why, "the batch is full");
    assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
    assert_true(bytes.n <= BATCH_MAX_BYTES);
    buf_release(&bytes);
    batch_writer_release(&w);
}

static void test_name_limits(void **state) {
    (void)state;
    char space[32];
    struct batch_writer w;
    batch_writer_init(&w);
    event_begin(&w, &HEAD);
    event_list_begin(&w, STR("products"));
    for (uint32_t i = 0; i < 40000; i++) {
        if (i % 1000 == 0) event_item_begin(&w);
        event_item_bool(&w, numbered(space, "n", i), true);
        if (i % 1000 == 999) event_item_end(&w);
    }
    event_list_end(&w);
    assert_string_equal(event_end(&w), "too many different names");
    uint32_t next = 0;
    while (!batch_full(&w, EVENT_MAX_BYTES)) {
        event_begin(&w, &HEAD);
        for (uint32_t i = 0; i < 1000; i++)
            event_bool(&w, SCOPE_PROPERTY, numbered(space, "n", next++), true);
        assert_null(event_end(&w));
    }
    assert_in_range(w.name_count, BATCH_MAX_NAMES / 2, BATCH_MAX_NAMES / 2 + 1001);
    batch_writer_release(&w);
}

static void test_out_of_memory(void **state) {
    (void)state;
    for (uint64_t n = 1; n < 12; n++) {
        struct batch_writer w;
        struct buf bytes, text;
        batch_writer_init(&w);
        buf_init(&bytes, BATCH_MAX_BYTES + 64);
        buf_init(&text, 1 << 20);
        mem_fail_after(n);
        for (int i = 0; i < 3; i++) {
            event_begin(&w, &HEAD);
            for (int k = 0; k < 300; k++) {
                char space[32];
                event_string(&w, SCOPE_PROPERTY, numbered(space, "p", (uint32_t)k), letters(50));
            }
            event_derive_key(&w, 1);
            const char *why = event_end(&w);
            if (why) assert_string_equal(why, "out of memory");
        }
        mem_fail_after(0);
        uint32_t events = w.event_count;
        assert_in_range(events, 2, 3);
        assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
        assert_int_equal(print_batch(buf_str(&bytes), &text), (int)events);
        buf_release(&bytes);
        buf_release(&text);
        batch_writer_release(&w);
    }
}

/* ---- duplicates ---- */

static void test_first_wins(void **state) {
    (void)state;
    struct batch_writer w;
    struct buf bytes, text;
    batch_writer_init(&w);
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&text, 1 << 20);
    event_begin(&w, &HEAD);
    event_number(&w, SCOPE_PROPERTY, STR("a"), 1);
    event_number(&w, SCOPE_CONTEXT, STR("a"), 2);
    event_string(&w, SCOPE_PROPERTY, STR("a"), STR("late"));
    for (int i = 0; i < 2; i++) {
        event_list_begin(&w, STR("l"));
        event_item_begin(&w);
        event_item_number(&w, STR("a"), 4 + i);
        event_item_number(&w, STR("a"), 6);
        event_item_end(&w);
        event_item_begin(&w);
        event_item_end(&w);
        event_list_end(&w);
    }
    event_bool(&w, SCOPE_CONTEXT, STR("l"), true);
    assert_null(event_end(&w));
    assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
    assert_int_equal(print_batch(buf_str(&bytes), &text), 1);
    buf_add_char(&text, 0);
    assert_string_equal((char *)text.p, "0 1 0.0 'Named' u=u a= r=\n"
                                        " 0 a=0x1p+0\n 1 a=0x1p+1\n 0 l=[1:a=0x1p+2 ][0:]\n"
                                        " 1 l=true\n");
    buf_release(&bytes);
    buf_release(&text);
    batch_writer_release(&w);
}

/* ---- contexts ---- */

/* Texts that never come back are looked for no more, and the first of them stay known. */
static void test_contexts_that_differ(void **state) {
    (void)state;
    struct batch_writer w;
    struct buf bytes, text, expected;
    char space[32];
    batch_writer_init(&w);
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&text, 1 << 20);
    buf_init(&expected, 1 << 20);
    for (uint32_t i = 0; i < 2000; i++) {
        struct str context = numbered(space, "", i);
        event_begin(&w, &HEAD);
        assert_false(event_context_known(&w, context));
        event_context_begin(&w);
        event_string(&w, SCOPE_CONTEXT, STR("i"), context);
        event_context_end(&w, context, 1);
        assert_null(event_end(&w));
        print_head(&expected, &HEAD);
        buf_printf(&expected, " 1 i=\"%u\"\n", i);
    }
    assert_true(w.context_count > 0 && w.context_count < 1000);
    assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
    assert_int_equal(batch_event_count(buf_str(&bytes)), 2000);
    assert_int_equal(print_batch(buf_str(&bytes), &text), 2000);
    assert_int_equal(text.n, expected.n);
    assert_memory_equal(text.p, expected.p, text.n);
    buf_release(&bytes);
    buf_release(&text);
    buf_release(&expected);
    batch_writer_release(&w);
}

/* The limits of an event count what its context says, whether it was written before or not. */
static void test_context_limits(void **state) {
    (void)state;
    struct batch_writer w;
    char space[32];
    batch_writer_init(&w);
    for (int known = 0; known < 2; known++) {
        for (uint32_t own = EVENT_MAX_FIELDS - 3; own <= EVENT_MAX_FIELDS - 1; own++) {
            event_begin(&w, &HEAD);
            for (uint32_t i = 0; i < own; i++)
                event_bool(&w, SCOPE_PROPERTY, numbered(space, "p", i), true);
            assert_int_equal(event_context_known(&w, STR("two")), w.context_count > 0);
            if (!w.context_count) {
                event_context_begin(&w);
                event_bool(&w, SCOPE_CONTEXT, STR("p1"), true);
                event_bool(&w, SCOPE_CONTEXT, STR("p2"), true);
                event_context_end(&w, STR("two"), 1);
            }
            const char *why = event_end(&w);
            if (own + 2 <= EVENT_MAX_FIELDS)
                assert_null(why);
            else
                assert_string_equal(why, "more than 10,000 fields");
        }
        for (size_t more = 0; more < 2; more++) {
            const size_t half = EVENT_MAX_BYTES / 2 - 60;
            event_begin(&w, &HEAD);
            event_string(&w, SCOPE_PROPERTY, STR("p1"), letters(half + more * 200));
            if (!event_context_known(&w, STR("half"))) {
                event_context_begin(&w);
                event_string(&w, SCOPE_CONTEXT, STR("p1"), letters(half));
                event_context_end(&w, STR("half"), 1);
            }
            const char *why = event_end(&w);
            if (more)
                assert_string_equal(why, "larger than 1 MiB");
            else
                assert_null(why);
        }
    }
    batch_writer_release(&w);
}

/* ---- taking a batch back ---- */

static void test_rewind(void **state) {
    (void)state;
    struct maker m;
    struct buf bytes, text;
    maker_init(&m, seed_of_run());
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&text, 64 << 20);
    for (int round = 0; round < 50; round++) {
        while (m.w.event_count < 20) {
            struct batch_mark mark = batch_mark(&m.w);
            size_t expected = m.expected.n;
            for (uint32_t i = rand_below(&m.r, 5); i > 0; i--) add_random_event(&m);
            if (rand_below(&m.r, 3)) continue;
            batch_rewind(&m.w, mark);
            m.expected.n = expected;
        }
        uint32_t events = m.w.event_count;
        assert_int_equal(batch_finish(&m.w, &bytes, NULL), 0);
        assert_int_equal(print_batch(buf_str(&bytes), &text), (int)events);
        assert_int_equal(text.n, m.expected.n);
        assert_memory_equal(text.p, m.expected.p, text.n);
        buf_clear(&bytes);
        buf_clear(&text);
        buf_clear(&m.expected);
    }
    maker_release(&m);
    buf_release(&bytes);
    buf_release(&text);
}

/* ---- derived keys ---- */

static struct event_key derived(struct batch_writer *w, int variant, int order) {
    struct event_head head = HEAD;
    if (variant == 1) head.type = EVENT_PAGE;
    if (variant == 2) head.user_id = STR("v");
    if (variant == 3) head.name = STR("Other");
    if (variant == 4) head.anonymous_id = STR("u"), head.user_id = STR("");
    head.time_ms = 5 + order; /* not part of it */
    event_begin(w, &head);
    for (int i = 0; i < 2; i++) {
        if (i == order) event_number(w, SCOPE_PROPERTY, STR("n"), variant == 5 ? 2 : 1);
        if (i != order)
            event_string(w, SCOPE_CONTEXT, STR("s"), variant == 6 ? STR("y") : STR("x"));
    }
    event_list_begin(w, STR("products"));
    event_item_begin(w);
    event_item_number(w, variant == 7 ? STR("q") : STR("p"), 1);
    event_item_end(w);
    if (variant == 8) {
        event_item_begin(w);
        event_item_end(w);
    }
    event_list_end(w);
    event_derive_key(w, variant == 9);
    assert_null(event_end(w));
    struct buf bytes;
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    arena_init(&arena, 1 << 20);
    assert_int_equal(batch_finish(w, &bytes, NULL), 0);
    assert_int_equal(batch_open(&b, buf_str(&bytes), &arena, NULL), 0);
    struct event_key key = {0, 0};
    while (batch_next(&b, &view, NULL) == 1) key = view.head.key;
    arena_release(&arena);
    buf_release(&bytes);
    return key;
}

static void test_derived_key(void **state) {
    (void)state;
    struct event_key keys[10];
    struct batch_writer w;
    batch_writer_init(&w);
    for (int v = 0; v < 10; v++) {
        keys[v] = derived(&w, v, 0);
        assert_true(keys[v].lo != 0);
        for (int before = 0; before < v; before++) assert_true(keys[v].lo != keys[before].lo);
    }
    /* The same content in another order, and after events that gave the names other numbers. */
    event_begin(&w, &HEAD);
    event_bool(&w, SCOPE_PROPERTY, STR("products"), true);
    event_bool(&w, SCOPE_PROPERTY, STR("z"), true);
    assert_null(event_end(&w));
    struct event_key again = derived(&w, 0, 1);
    assert_true(again.lo == keys[0].lo && again.hi == keys[0].hi);
    batch_writer_release(&w);
}

/* ---- damage ---- */

static void test_damage(void **state) {
    (void)state;
    struct maker m;
    struct buf bytes, text;
    maker_init(&m, seed_of_run());
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    buf_init(&text, 64 << 20);
    while (m.w.event_count < 12) add_random_event(&m);
    assert_int_equal(batch_finish(&m.w, &bytes, NULL), 0);
    for (size_t n = 0; n < bytes.n; n++) { /* a block of exactly n bytes, for AddressSanitizer */
        uint8_t *copy = k_alloc(n);
        memcpy(copy, bytes.p, n);
        buf_clear(&text);
        assert_true(print_batch((struct str){(const char *)copy, n}, &text) < 0);
        k_free(copy);
    }
    uint8_t *copy = k_alloc(bytes.n);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        memcpy(copy, bytes.p, bytes.n);
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        buf_clear(&text);
        (void)print_batch((struct str){(const char *)copy, bytes.n}, &text);
    }
    for (int i = 0; i < 20000; i++) {
        memcpy(copy, bytes.p, bytes.n);
        for (uint32_t hits = 1 + rand_below(&m.r, 8); hits > 0; hits--)
            copy[rand_below(&m.r, (uint32_t)bytes.n)] = (uint8_t)rand_u64(&m.r);
        buf_clear(&text);
        (void)print_batch((struct str){(const char *)copy, bytes.n}, &text);
    }
    k_free(copy);
    maker_release(&m);
    buf_release(&bytes);
    buf_release(&text);
}

/* A reader that leaves lists unread sees the same fields. */
static void test_unread_lists(void **state) {
    (void)state;
    struct batch_writer w;
    struct buf bytes;
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    struct field_view f;
    batch_writer_init(&w);
    buf_init(&bytes, BATCH_MAX_BYTES + 64);
    arena_init(&arena, 1 << 20);
    event_begin(&w, &HEAD);
    event_list_begin(&w, STR("products"));
    for (int i = 0; i < 3; i++) {
        event_item_begin(&w);
        event_item_number(&w, STR("price"), i);
        event_item_string(&w, STR("sku"), STR("s"));
        event_item_end(&w);
    }
    event_list_end(&w);
    event_bool(&w, SCOPE_PROPERTY, STR("after"), true);
    assert_null(event_end(&w));
    assert_int_equal(batch_finish(&w, &bytes, NULL), 0);
    for (int read_items = 0; read_items < 3; read_items++) {
        assert_int_equal(batch_open(&b, buf_str(&bytes), &arena, NULL), 0);
        assert_int_equal(batch_next(&b, &view, NULL), 1);
        assert_int_equal(field_next(&b, &view, &f), 1);
        assert_int_equal(f.items, 3);
        struct field_view part;
        for (int i = 0; i < read_items; i++) {
            assert_int_equal(item_next(&view), 2);
            while (item_field(&b, &view, &part))
                if (i == read_items - 1) break; /* the last one half read */
        }
        assert_int_equal(field_next(&b, &view, &f), 1);
        assert_true(str_is(b.names[f.name], "after"));
        assert_int_equal(field_next(&b, &view, &f), 0);
        assert_false(view.r.bad);
        assert_int_equal(batch_next(&b, &view, NULL), 0);
    }
    arena_release(&arena);
    buf_release(&bytes);
    batch_writer_release(&w);
}

int main(void) {
    memset(many, 'x', sizeof many);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_head_limits),
        cmocka_unit_test(test_field_limits),
        cmocka_unit_test(test_size_limits),
        cmocka_unit_test(test_name_limits),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_first_wins),
        cmocka_unit_test(test_derived_key),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_unread_lists),
        cmocka_unit_test(test_context_limits),
        cmocka_unit_test(test_contexts_that_differ),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
