/* Implementation of gist.h: one walk over the top-level keys. */
#include "api/collect/gist.h"

#include "api/collect/json_tokens.h"
#include "api/collect/segment_int.h"

enum { SCRATCH_BYTES = 16 << 20 };

static const char *const TYPES[EVENT_TYPES] = {
    [EVENT_TRACK] = "track",   [EVENT_IDENTIFY] = "identify", [EVENT_PAGE] = "page",
    [EVENT_SCREEN] = "screen", [EVENT_GROUP] = "group",       [EVENT_ALIAS] = "alias",
};

const char *gist_type_text(int type) { return TYPES[type]; }

struct gist_reader {
    struct json_tokens *tokens;
    struct arena scratch;
    struct buf text;
};

struct gist_reader *gist_reader_new(void) {
    struct gist_reader *g = k_zalloc(sizeof *g);
    g->tokens = json_tokens_new(NULL);
    K_ASSERT(g->tokens);
    arena_init(&g->scratch, SCRATCH_BYTES);
    buf_init(&g->text, EVENT_MAX_BYTES * 5);
    return g;
}

void gist_reader_free(struct gist_reader *g) {
    if (!g) return;
    json_tokens_free(g->tokens);
    arena_release(&g->scratch);
    buf_release(&g->text);
    k_free(g);
}

/* A string, or a number by its text; the cursor goes behind the value. */
static struct str take_text(struct json_cursor *c) {
    struct str text = {"", 0};
    const uint32_t *start = c->at;
    char first = cursor_peek(c);
    if (first == '"') {
        text = cursor_string_at(c, start);
        c->at++;
        return text;
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        double number;
        (void)cursor_number(c, &number, &text);
        return text;
    }
    cursor_skip(c);
    return text;
}

struct texts {
    struct str at[KEYS];
};

static void walk(struct json_cursor *c, struct texts *t) {
    struct str key = {"", 0};
    for (bool first = true; cursor_member(c, &first, &key) > 0;) {
        enum segment_key which = segment_key_of(key);
        struct str text = take_text(c);
        if (!t->at[which].n) t->at[which] = text;
    }
}

struct gist gist_read(struct gist_reader *g, struct str json, int type) {
    struct gist gist = {0};
    struct texts t;
    const char *why;
    gist.name = gist.user = gist.anonymous = gist.message_id = (struct str){"", 0};
    for (int i = 0; i < KEYS; i++) t.at[i] = (struct str){"", 0};
    buf_clear(&g->text);
    arena_release(&g->scratch);
    arena_init(&g->scratch, SCRATCH_BYTES);
    if (buf_add_str(&g->text, json) < 0 || buf_add_char(&g->text, '\n') < 0) return gist;
    struct str text = {(const char *)g->text.p, json.n};
    if (json_tokens_find(g->tokens, text, &why) < 0) return gist;
    struct json_cursor c = {.text = text.p, .at = json_tokens_first(g->tokens)};
    c.scratch = &g->scratch;
    c.escapes = true;
    if (cursor_peek(&c) != '{') return gist;
    walk(&c, &t);
    struct str word = type == SEGMENT_ANY_TYPE ? t.at[KEY_TYPE] : str_from(TYPES[type]);
    gist.name = str_is(word, TYPES[EVENT_TRACK]) && t.at[KEY_EVENT].n ? t.at[KEY_EVENT] : word;
    gist.user = t.at[KEY_USER];
    gist.anonymous = t.at[KEY_ANONYMOUS];
    gist.message_id = t.at[KEY_MESSAGE];
    return gist;
}
