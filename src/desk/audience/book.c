/* Conditions of saved segments: reading one in any of its writings, and the book of them by name.
 * See audience.h. */
#include <sodium.h>

#include "desk/audience/audience.h"
#include "query/ask.h"
#include "query/language/parse.h"
#include "query/language/query_json.h"
#include "query/language/query_print.h"

/* ---- reading ---- */

static bool is_question(struct str text) {
    return str_starts(text, STR("count customers")) || str_starts(text, STR("list customers"));
}

/* As the condition of a count, whose places in errors are moved to those of the condition. */
static int read_condition(struct str text, struct arena *arena, struct query **q,
                          struct keel_error *err) {
    static const char BEFORE[] = "count customers where\n";
    struct buf whole;
    struct query_syntax_error where = {0};
    struct keel_error own = {0};
    buf_init(&whole, QUERY_MAX_TEXT + sizeof BEFORE);
    (void)!buf_add_text(&whole, BEFORE);
    (void)!buf_add_str(&whole, text);
    int code = whole.failed ? error_set(&own, KEEL_E_LIMIT, "the condition is longer than %d bytes",
                                        QUERY_MAX_TEXT)
                            : query_parse(buf_str(&whole), arena, q, &where, &own);
    buf_release(&whole);
    if (code < 0 && where.line > 1)
        return error_set(err, (enum keel_code) - code, "line %u, column %u: %s", where.line - 1,
                         where.column, where.message);
    if (code < 0 && err) *err = own;
    return code;
}

/* {"did":…}: a condition alone, as builders have it. */
static int read_json(struct str text, struct arena *arena, struct query **q,
                     struct keel_error *err) {
    struct json_parser *parser = json_parser_new(QUERY_JSON_MAX_BYTES);
    struct json_value root;
    struct buf whole;
    int code = json_parse(parser, text, &root, err);
    bool bare = code == 0 && !json_has(root, "form");
    json_parser_free(parser);
    TRY(code);
    if (!bare) return query_json_parse(text, arena, q, err);
    buf_init(&whole, QUERY_JSON_MAX_BYTES + 64);
    (void)!buf_add_text(&whole, "{\"form\":\"count\",\"where\":");
    (void)!buf_add_str(&whole, text);
    (void)!buf_add_char(&whole, '}');
    code = whole.failed ? error_set(err, KEEL_E_LIMIT, "the condition is too long")
                        : query_json_parse(buf_str(&whole), arena, q, err);
    buf_release(&whole);
    return code;
}

int audience_read(struct str text, struct arena *arena, const struct query_cond **out_cond,
                  struct str *out_text, struct keel_error *err) {
    struct query *q;
    struct buf print;
    text = str_trim(text);
    if (text.n == 0) FAIL(err, INVALID, "the condition is empty; write one, as: did \"Page Seen\"");
    if (str_starts(text, STR("{")))
        TRY(read_json(text, arena, &q, err));
    else if (is_question(text))
        TRY(ask_read(text, arena, &q, err));
    else
        TRY(read_condition(text, arena, &q, err));
    if (q->form != QUERY_COUNT && q->form != QUERY_LIST)
        FAIL(err, INVALID, "a segment is a condition on customers, not another question");
    if (!q->where) FAIL(err, INVALID, "the condition is missing: write count customers where …");
    buf_init(&print, QUERY_MAX_TEXT);
    int code = query_print_cond(q->where, &print);
    if (code == 0) *out_text = str_dup(arena, buf_str(&print));
    buf_release(&print);
    if (code < 0) FAIL(err, LIMIT, "the condition is longer than %d bytes", QUERY_MAX_TEXT);
    *out_cond = q->where;
    return 0;
}

void audience_hash(struct str canonical, char out[AUDIENCE_HASH_TEXT]) {
    unsigned char hash[32];
    K_ASSERT(sizeof hash * 2 + 1 == AUDIENCE_HASH_TEXT);
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)canonical.p, canonical.n,
                             NULL, 0);
    sodium_bin2hex(out, AUDIENCE_HASH_TEXT, hash, sizeof hash);
}

int audience_names(const struct query_cond *cond, int (*each)(void *ctx, struct str name),
                   void *ctx) {
    if (cond->kind == QUERY_COND_SEGMENT) return each(ctx, cond->segment);
    for (uint32_t i = 0; i < cond->n_items; i++) TRY(audience_names(cond->items[i], each, ctx));
    return 0;
}

/* ---- the book ---- */

struct audience_entry {
    struct audience_entry *next;
    struct str name;
    const struct query_cond *cond;
    enum { UNCHECKED, CHECKING, CHECKED } state;
    unsigned levels; /* below it, itself included; of one that is CHECKED */
};

void audience_book_init(struct audience_book *b, struct sql *desk) {
    *b = (struct audience_book){.desk = desk};
    arena_init(&b->arena, SIZE_MAX / 2);
}

void audience_book_release(struct audience_book *b) {
    arena_release(&b->arena);
    b->entries = NULL;
}

static struct audience_entry *add_entry(struct audience_book *b, struct str name,
                                        const struct query_cond *cond) {
    struct audience_entry *e = arena_zalloc(&b->arena, sizeof *e);
    e->name = str_dup(&b->arena, name);
    e->cond = cond;
    e->next = b->entries;
    return b->entries = e;
}

void audience_book_set(struct audience_book *b, struct str name, const struct query_cond *cond) {
    (void)add_entry(b, name, cond); /* found before older ones */
}

static int load_entry(struct audience_book *b, struct str name, struct audience_entry **out,
                      struct keel_error *err) {
    struct sql_rows rows;
    const struct query_cond *cond = NULL;
    struct str text;
    if (!b->desk) FAIL(err, NOT_FOUND, "there is no segment \"%.*s\"", STR_ARG(name));
    int64_t tables = 0; /* of a directory that was never served, or by an older keel */
    TRY(sql_number(b->desk, 0, &tables, err,
                   "SELECT count(*) FROM sqlite_master WHERE name = 'audience'", ""));
    if (!tables) FAIL(err, NOT_FOUND, "there is no segment \"%.*s\"", STR_ARG(name));
    TRY(sql_ask(b->desk, &rows, err,
                "SELECT v.query FROM audience a JOIN audience_version v"
                "  ON v.audience = a.id AND v.version = a.version WHERE a.name = ?",
                "s", name));
    int code = sql_next(&rows, err);
    if (code == 0)
        code = error_set(err, KEEL_E_NOT_FOUND, "there is no segment \"%.*s\"", STR_ARG(name));
    else if (code == 1)
        code = audience_read(sql_str(&rows, 0), &b->arena, &cond, &text, err);
    sql_done(&rows);
    TRY(code);
    *out = add_entry(b, name, cond);
    return 0;
}

static int find_entry(struct audience_book *b, struct str name, struct audience_entry **out,
                      struct keel_error *err) {
    for (*out = b->entries; *out; *out = (*out)->next)
        if (str_eq((*out)->name, name)) return 0;
    return load_entry(b, name, out, err);
}

int audience_book_find(void *book, struct str name, const struct query_cond **out,
                       struct keel_error *err) {
    struct audience_entry *e;
    TRY(find_entry(book, name, &e, err));
    *out = e->cond;
    return 0;
}

struct checking {
    struct audience_book *book;
    struct str name; /* who names them */
    unsigned levels;
    struct keel_error *err;
};

static int check_entry(struct audience_book *b, struct audience_entry *e, struct keel_error *err);

static int check_named(void *ctx, struct str name) {
    struct checking *c = ctx;
    struct audience_entry *e;
    int code = find_entry(c->book, name, &e, c->err);
    if (code == -KEEL_E_NOT_FOUND) /* the request is found: what it says is wrong */
        FAIL(c->err, INVALID, "there is no segment \"%.*s\"", STR_ARG(name));
    TRY(code);
    if (e->state == CHECKING)
        FAIL(c->err, INVALID, "segment \"%.*s\" would refer to itself: \"%.*s\" names it",
             STR_ARG(name), STR_ARG(c->name));
    TRY(check_entry(c->book, e, c->err));
    if (e->levels > c->levels) c->levels = e->levels;
    return 0;
}

static int check_entry(struct audience_book *b, struct audience_entry *e, struct keel_error *err) {
    struct checking c = {b, e->name, 0, err};
    if (e->state == CHECKED) return 0;
    e->state = CHECKING;
    TRY(audience_names(e->cond, check_named, &c));
    e->state = CHECKED;
    e->levels = c.levels + 1;
    if (e->levels > AUDIENCE_MOST_DEPTH)
        FAIL(err, INVALID, "segments nest deeper than %d", AUDIENCE_MOST_DEPTH);
    return 0;
}

int audience_book_check(struct audience_book *b, struct str name, const struct query_cond *cond,
                        struct keel_error *err) {
    struct audience_entry *e = b->entries;
    while (e && !(e->cond == cond && str_eq(e->name, name))) e = e->next;
    return check_entry(b, e ? e : add_entry(b, name, cond), err);
}
