/* Implementation of segment_run.h. */
#include "segment_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/time.h"

const char *const EVENT_TYPE_NAMES[EVENT_TYPES] = {"track",  "identify", "page",
                                                   "screen", "group",    "alias"};

static void print_value(struct buf *out, const struct field_view *f) {
    switch (f->type) {
    case VALUE_FALSE: buf_add_text(out, "false"); break;
    case VALUE_TRUE: buf_add_text(out, "true"); break;
    case VALUE_NUMBER: buf_add_f64(out, f->number); break;
    case VALUE_STRING: buf_add_json_str(out, f->text); break;
    case VALUE_JSON: buf_printf(out, "<%.*s>", STR_ARG(f->text)); break;
    case VALUE_LIST: break;
    }
}

static void print_list(struct buf *out, const struct batch_reader *b, struct event_view *view,
                       uint32_t items) {
    struct field_view f;
    buf_add_char(out, '[');
    for (uint32_t i = 0; i < items; i++) {
        buf_add_char(out, '{');
        item_next(view);
        for (bool more = false; item_field(b, view, &f); more = true) {
            buf_printf(out, "%s%.*s=", more ? " " : "", STR_ARG(b->names[f.name]));
            print_value(out, &f);
        }
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void print_event(struct buf *out, const struct batch_reader *b, struct event_view *view) {
    const struct event_head *h = &view->head;
    struct field_view f;
    char time[TIME_TEXT_MAX];
    time_format(NULL, h->time_ms, time);
    buf_printf(out, "%s", EVENT_TYPE_NAMES[h->type]);
    if (h->name.n) buf_printf(out, " '%.*s'", STR_ARG(h->name));
    if (h->user_id.n) buf_printf(out, " u=%.*s", STR_ARG(h->user_id));
    if (h->anonymous_id.n) buf_printf(out, " a=%.*s", STR_ARG(h->anonymous_id));
    if (h->related_id.n) buf_printf(out, " r=%.*s", STR_ARG(h->related_id));
    buf_printf(out, " %s |", time);
    while (field_next(b, view, &f)) {
        buf_printf(out, " %s%.*s=", f.scope == SCOPE_CONTEXT ? "@" : "", STR_ARG(b->names[f.name]));
        print_value(out, &f);
        if (f.type == VALUE_LIST) print_list(out, b, view, f.items);
    }
    assert_false(view->r.bad);
    buf_add_char(out, '\n');
}

void print_batch(struct buf *out, struct str bytes, struct event_key *last_key) {
    struct arena arena;
    struct batch_reader b;
    struct event_view view;
    int code;
    arena_init(&arena, 64 << 20);
    assert_int_equal(batch_open(&b, bytes, &arena, NULL), 0);
    while ((code = batch_next(&b, &view, NULL)) == 1) {
        if (last_key) *last_key = view.head.key;
        print_event(out, &b, &view);
    }
    assert_int_equal(code, 0);
    arena_release(&arena);
}

/* ---- a run of the reader ---- */

int64_t moment(const char *text) {
    int64_t ms;
    assert_true(time_parse(str_from(text), NULL, &ms));
    return ms;
}

void run_init(struct run *run, const char *isa) {
    *run = (struct run){.options = {.type = SEGMENT_ANY_TYPE, .now_ms = moment(RUN_NOW)}};
    run->reader = segment_reader_new(isa);
    assert_non_null(run->reader);
    batch_writer_init(&run->writer);
    buf_init(&run->text, 64 << 20);
    buf_init(&run->out, 64 << 20);
    buf_init(&run->refused, 64 << 20);
}

void run_release(struct run *run) {
    segment_reader_free(run->reader);
    batch_writer_release(&run->writer);
    buf_release(&run->text);
    buf_release(&run->out);
    buf_release(&run->refused);
}

static void note_refusal(void *ctx, const struct segment_refusal *r) {
    struct run *run = ctx;
    buf_printf(&run->refused, "refused %llu: %s", (unsigned long long)(r->line ? r->line : r->item),
               r->detail);
    if (r->column) buf_printf(&run->refused, " at %llu", (unsigned long long)r->column);
    buf_add_char(&run->refused, '\n');
}

const char *read_as(struct run *run, struct str text, bool body) {
    struct buf batch;
    struct segment_sink sink = {
        .writer = &run->writer, .counts = &run->counts, .refused = note_refusal, .ctx = run};
    buf_init(&batch, BATCH_MAX_BYTES + 64);
    buf_clear(&run->text);
    buf_clear(&run->out);
    buf_clear(&run->refused);
    buf_add_str(&run->text, text);
    if (!body && (text.n == 0 || text.p[text.n - 1] != '\n')) buf_add_char(&run->text, '\n');
    struct str input = {(const char *)run->text.p, run->text.n};
    buf_add_zero(&run->text, 64);
    input.p = (const char *)run->text.p;
    run->counts = (struct segment_counts){0};
    if (body)
        segment_read_body(run->reader, input, &run->options, &sink, &run->envelope);
    else
        run->lines = segment_read_lines(run->reader, input, 1, &run->options, &sink);
    assert_int_equal(run->writer.event_count, run->counts.accepted);
    assert_false(run->writer.utf8_known);
    assert_int_equal(batch_finish(&run->writer, &batch, NULL), 0);
    if (batch.n) print_batch(&run->out, buf_str(&batch), &run->key);
    buf_add_str(&run->out, buf_str(&run->refused));
    buf_add_char(&run->out, 0);
    buf_release(&batch);
    return (const char *)run->out.p;
}

const char *read_line(struct run *run, const char *lines) {
    return read_as(run, str_from(lines), false);
}

int run_set_up(void **state) {
    struct run *run = k_alloc(sizeof *run);
    run_init(run, NULL);
    *state = run;
    return 0;
}

int run_tear_down(void **state) {
    run_release(*state);
    k_free(*state);
    return 0;
}
