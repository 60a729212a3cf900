/* The driver of lexer and grammar. Duty: see parse.h.
 *
 * 1. The whole text is cut into tokens.
 * 2. Each `and`, `or` is told apart: the word behind it, past parentheses and `not`, says whether a
 *    condition of the customer follows or another term of an event's filter. Conditions begin with
 *    did, trait, identified, anonymous, reached, stopped, in segment, or an aggregate's word and a
 *    parenthesis; anything else is a term of the filter.
 * 3. Tokens are fed to the grammar, each after it said that it can go on with it. If it cannot, the
 *    token may still be something else: a word that is a property's name here, an `and` of the
 * other kind. If not, the message lists what the grammar would have taken.
 * 4. The tree is checked and sealed.
 *
 * Layers: build.h, check.h, grammar.h (generated). Threads: pure.
 */
#include "query/language/parse.h"

#include <stdarg.h>
#include <stdio.h>

#include "query/language/build.h"
#include "query/language/check.h"
#include "query/language/expect.h"
#include "query/language/grammar.h"

/* ---- places ---- */

static void locate(struct str text, struct query_pos at, struct query_syntax_error *where) {
    where->line = where->column = 1;
    where->offset = at.offset < text.n ? at.offset : (uint32_t)text.n;
    where->length = at.length;
    for (size_t i = 0; i < where->offset; i++) {
        if (text.p[i] == '\n') {
            where->line++;
            where->column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            where->column++;
        }
    }
}

int query_error_at(struct str text, struct query_pos at, enum keel_code code,
                   struct query_syntax_error *where, struct keel_error *err, const char *format,
                   ...) {
    struct query_syntax_error local;
    if (!where) where = &local;
    locate(text, at, where);
    va_list args;
    va_start(args, format);
    vsnprintf(where->message, sizeof where->message, format, args);
    va_end(args);
    if (at.length == 0 && at.offset == 0) return error_set(err, code, "%s", where->message);
    return error_set(err, code, "line %u, column %u: %s", where->line, where->column,
                     where->message);
}

int query_error_picture(struct str text, const struct query_syntax_error *where, struct buf *out) {
    enum { BEFORE = 60, WIDTH = 100 };
    size_t from = where->offset, to = where->offset;
    while (from > 0 && text.p[from - 1] != '\n' && where->offset - from < BEFORE) from--;
    while (from > 0 && from < text.n && ((unsigned char)text.p[from] & 0xc0) == 0x80) from--;
    while (to < text.n && text.p[to] != '\n' && to - from < WIDTH) to++;
    while (to > from && to < text.n && ((unsigned char)text.p[to] & 0xc0) == 0x80) to--;
    for (size_t i = from; i < to; i++) {
        char c = text.p[i];
        (void)buf_add_char(out,
                           (unsigned char)c < 0x20 ? ' ' : c); /* a tab would shift the carets */
    }
    (void)buf_add_char(out, '\n');
    for (size_t i = from; i < where->offset; i++)
        if (((unsigned char)text.p[i] & 0xc0) != 0x80) (void)buf_add_char(out, ' ');
    (void)buf_add_char(out, '^');
    for (size_t i = where->offset + 1; i < where->offset + where->length && i < to; i++)
        if (((unsigned char)text.p[i] & 0xc0) != 0x80) (void)buf_add_char(out, '^');
    return buf_add_char(out, '\n');
}

/* ---- tokens ---- */

struct tokens {
    struct query_token *items; /* the last one has code 0 */
    uint32_t n, capacity;
};

static int add_token(struct tokens *tokens, const struct query_token *t, struct keel_error *err) {
    if (tokens->n == tokens->capacity) {
        uint32_t more = tokens->capacity ? tokens->capacity * 2 : 64;
        void *p = k_try_realloc(tokens->items, more * sizeof *tokens->items);
        if (!p) FAIL(err, NO_MEMORY, "no memory for a query");
        tokens->items = p;
        tokens->capacity = more;
    }
    tokens->items[tokens->n++] = *t;
    return 0;
}

static int cut(struct str text, struct tokens *tokens, struct query_syntax_error *where,
               struct keel_error *err) {
    for (uint32_t at = 0;;) {
        const char *reason;
        struct query_token t = query_lex(text.p, at, &reason);
        if (reason) {
            int shown = t.length > 40 ? 40 : (int)t.length;
            return query_error_at(text, (struct query_pos){t.offset, t.length}, KEEL_E_SYNTAX,
                                  where, err, "%.*s%s %s", shown, text.p + t.offset,
                                  (int)t.length > shown ? "…" : "", reason);
        }
        TRY(add_token(tokens, &t, err));
        if (t.code == 0) return 0;
        at = t.offset + t.length;
    }
}

static bool is_comparison(int code) {
    return code == QT_EQ || code == QT_NE || code == QT_LT || code == QT_LE || code == QT_GT ||
           code == QT_GE || code == QT_CONTAINS || code == QT_STARTS || code == QT_ENDS ||
           code == QT_MATCHES || code == QT_EXISTS || code == QT_IS;
}

/* t: any token but the last. */
static bool begins_condition(const struct query_token *t) {
    while (t->code == QT_LP || t->code == QT_NOT) t++;
    if (t->code == 0 || is_comparison(t[1].code) || (t[1].code == QT_DOTNAME && t[1].glued))
        return false; /* a property that is called like a word */
    switch (t->code) {
    case QT_DID:
    case QT_TRAIT:
    case QT_IDENTIFIED:
    case QT_ANONYMOUS:
    case QT_REACHED:
    case QT_STOPPED: return true;
    case QT_IN: return t[1].code == QT_SEGMENT;
    case QT_COUNT:
    case QT_AGGREGATE:
    case QT_FIRST:
    case QT_LAST:
    case QT_UNIQUE: return t[1].code == QT_LP;
    default: return false;
    }
}

static void tell_ands_apart(struct tokens *tokens) {
    for (uint32_t i = 0; i + 1 < tokens->n; i++) {
        struct query_token *t = &tokens->items[i];
        if (t->code != QT_AND && t->code != QT_OR) continue;
        if (!begins_condition(t + 1)) t->code = t->code == QT_AND ? QT_AND_IN : QT_OR_IN;
    }
}

/* In a list of splits `segment` is the word only before a name; else a property is called so. */
static void tell_segments_apart(struct tokens *tokens) {
    for (uint32_t i = 1; i + 1 < tokens->n; i++) {
        struct query_token *t = &tokens->items[i];
        bool listed = t[-1].code == QT_BY || t[-1].code == QT_COMMA;
        if (t->code == QT_SEGMENT && listed && t[1].code != QT_STRING) t->code = QT_NAME;
    }
}

/* ---- feeding ---- */

/* What else the token can be, or 0. */
static int other_code(const struct query_token *t) {
    switch (t->code) {
    case QT_AND: return QT_AND_IN;
    case QT_OR: return QT_OR_IN;
    case QT_AND_IN: return QT_AND;
    case QT_OR_IN: return QT_OR;
    default: break;
    }
    if (t->word == QUERY_NO_WORD) return 0;
    bool dotted = t[1].code == QT_DOTNAME && t[1].glued;
    return dotted || query_words[t->word].may_be_name ? QT_NAME : 0;
}

static int feed(struct query_builder *b, struct tokens *tokens, struct str text,
                struct query_syntax_error *where, struct keel_error *err) {
    void *parser = query_grammar_new(b);
    int code = 0;
    for (uint32_t i = 0; i < tokens->n && code == 0; i++) {
        struct query_token *t = &tokens->items[i];
        int other = t->code ? other_code(t) : 0;
        b->at = build_pos(t);
        if (!query_grammar_accepts(parser, t->code) && other &&
            query_grammar_accepts(parser, other))
            t->code = (uint8_t)other;
        if (query_grammar_accepts(parser, t->code)) {
            query_grammar_feed(parser, t->code, t);
        } else {
            char message[sizeof where->message];
            query_expected(parser, text.p, tokens->items, i, message, sizeof message);
            code = query_error_at(text, b->at, KEEL_E_SYNTAX, where, err, "%s", message);
        }
        if (b->failed)
            code = query_error_at(text, b->bad, KEEL_E_SYNTAX, where, err, "%s", b->message);
    }
    query_grammar_free(parser);
    return code;
}

static int check(struct query_builder *b, struct tokens *tokens, struct str text,
                 struct query_syntax_error *where, struct keel_error *err) {
    struct query_pos at;
    struct keel_error found;
    int code = query_check(b->q, &at, &found);
    if (code == 0) code = query_seal(b->q, b->arena, &found);
    if (code == 0) return 0;
    if (at.length == 0) at = build_pos(&tokens->items[0]);
    return query_error_at(text, at, (enum keel_code) - code, where, err, "%s", found.message);
}

static int parse_tokens(struct str text, struct arena *a, struct tokens *tokens, struct query **out,
                        struct query_syntax_error *where, struct keel_error *err) {
    TRY(cut(text, tokens, where, err));
    if (tokens->n == 1)
        return query_error_at(text, (struct query_pos){0, 0}, KEEL_E_SYNTAX, where, err,
                              "the query is empty; a first one: count customers");
    tell_ands_apart(tokens);
    tell_segments_apart(tokens);
    struct query_builder b = {.arena = a, .text = text.p};
    b.q = arena_zalloc(a, sizeof *b.q);
    TRY(feed(&b, tokens, text, where, err));
    TRY(check(&b, tokens, text, where, err));
    *out = b.q;
    return 0;
}

int query_parse(struct str text, struct arena *a, struct query **out,
                struct query_syntax_error *where, struct keel_error *err) {
    struct query_syntax_error local;
    if (!where) where = &local;
    *where = (struct query_syntax_error){.line = 1, .column = 1};
    const struct query_pos start = {0, 0};
    if (text.n > QUERY_MAX_TEXT)
        return query_error_at(text, start, KEEL_E_LIMIT, where, err,
                              "a query has at most %d bytes, this one has %zu", QUERY_MAX_TEXT,
                              text.n);
    if (text.n > 0 && memchr(text.p, 0, text.n))
        return query_error_at(text, start, KEEL_E_SYNTAX, where, err, "the query has a NUL byte");
    if (!str_is_utf8(text))
        return query_error_at(text, start, KEEL_E_SYNTAX, where, err,
                              "the query is not UTF-8 text");
    if (a->max_bytes - a->used_bytes < QUERY_ARENA_BYTES)
        return query_error_at(text, start, KEEL_E_LIMIT, where, err,
                              "no memory is left for another query");
    struct str copy = {arena_strndup(a, text.p, text.n), text.n};
    struct tokens tokens = {0};
    int code = parse_tokens(copy, a, &tokens, out, where, err);
    k_free(tokens.items);
    return code;
}
