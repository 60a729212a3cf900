/* What people are shown of an event, made from any bytes: JSON whatever comes, and nothing in it
 * that still looks like an e-mail address or a phone number, read as its reader will read it. */
#include <stdlib.h>

#include "api/collect/gist.h"
#include "api/collect/mask.h"
#include "base/json.h"
#include "desk/plan/personal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 16, OUT_MAX = 8 << 20 };

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) abort();                                                                 \
    } while (0)

static const char PLAN[] = "[event.E.property]\n"
                           "a = { class = \"personal\" }\nb = { class = \"sensitive\" }\n"
                           "c = { class = \"internal\" }\n\"a.b\" = { class = \"public\" }\n"
                           "[identify.property]\na = { class = \"personal\" }\n"
                           "[context.property]\nip = { class = \"personal\" }\n";

static const struct plan_form *form;
static struct json_parser *parser;
static struct gist_reader *gists;
static struct buf out;

static void stop(void) {
    plan_drop(form);
    json_parser_free(parser);
    gist_reader_free(gists);
    buf_release(&out);
}

static void start(void) {
    MUST(plan_read(str_from(PLAN), "plan", &form, NULL) == 0);
    parser = json_parser_new(OUT_MAX);
    gists = gist_reader_new();
    buf_init(&out, OUT_MAX);
    atexit(stop);
}

static void no_secret_text(struct str text) {
    struct str cut = STR("…");
    if (str_ends(text, cut)) text.n -= cut.n; /* what stood behind may be what made it one */
    MUST(personal_by_shape(text) == PERSONAL_NOT);
}

static void no_secret(struct json_value v) {
    struct json_each each = json_each(v);
    struct json_value inner;
    struct str text, key = STR("");
    while (json_next(&each, &key, &inner)) {
        no_secret_text(key);
        no_secret(inner);
    }
    if (json_str(v, &text)) no_secret_text(text);
}

/* `classed`: what somebody has declared public may be anything. */
static void shown(bool classed) {
    struct json_value root;
    MUST(!out.failed && json_parse(parser, buf_str(&out), &root, NULL) == 0);
    if (!classed) no_secret(root);
}

static void event(struct str text) {
    struct masked look = mask_look(text);
    for (int classed = 0; classed < 2; classed++) {
        buf_clear(&out);
        MUST(mask_json(classed ? form : NULL, &look, text, &out) == 0);
        shown(classed);
    }
    const struct str ids[] = {look.type, look.event, look.user, look.anonymous, look.message_id};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        buf_clear(&out);
        MUST(mask_text(ids[i], &out) == 0);
        shown(false);
    }
    struct gist gist = gist_read(gists, text, SEGMENT_ANY_TYPE);
    MUST(str_is_utf8(gist.name) && str_is_utf8(gist.user) && str_is_utf8(gist.anonymous));
}

static void cell(struct str text) {
    struct mask_event of;
    mask_event_of(form, STR("track"), STR("E"), &of);
    for (int context = 0; context < 2; context++) {
        buf_clear(&out);
        MUST(mask_value(&of, context, STR("z"), MASK_JSON, text, &out) == 0);
        shown(false);
    }
    if (!str_is_utf8(text)) return;
    buf_clear(&out);
    MUST(mask_plain(text, &out) == 0);
    shown(false);
    buf_clear(&out);
    MUST(mask_value(&of, false, STR("z"), MASK_TEXT, text, &out) == 0);
    MUST(personal_by_shape(buf_str(&out)) == PERSONAL_NOT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!form) start();
    if (size == 0 || size > INPUT_MAX) return 0;
    struct str text = {(const char *)data, size};
    event(text);
    cell(text);
    return 0;
}
