/* Implementation of chosen.h: the form `list`, and its customers looked up again by their ids. */
#include "query/chosen.h"

#include "query/parse.h"

enum { ARENA_BYTES = 2 * QUERY_ARENA_BYTES };

static int mark(struct db *db, const struct snapshot *snap, const struct result *r, uint64_t *bits,
                struct keel_error *err) {
    for (uint64_t i = 0; i < r->n_rows; i++) {
        struct str id = result_cell(r, i, 0)->str;
        uint32_t number = identity_find(db_identity(db), ID_USER, id);
        if (number == NUMBER_NONE) number = identity_find(db_identity(db), ID_ANONYMOUS, id);
        if (number >= snap->redirects.numbers)
            FAIL(err, INTERNAL, "customer %.*s has no number", STR_ARG(id));
        bit_set(bits, redirect_root(&snap->redirects, number));
    }
    return 0;
}

static int ask(struct db *db, const struct snapshot *snap, const struct query *q, uint64_t **out,
               uint32_t *out_count, struct keel_error *err) {
    struct result *r;
    struct query_options options = {.at_ms = QUERY_AT_NOW};
    TRY(query_run(db, snap, q, &options, &r, err));
    uint32_t count = snap->redirects.numbers;
    uint64_t *bits = k_zalloc(((size_t)count / 64 + 1) * sizeof *bits);
    int code = r->cut ? error_set(err, KEEL_E_LIMIT, "more than %d customers meet the condition",
                                  RESULT_MAX_ROWS)
                      : mark(db, snap, r, bits, err);
    result_free(r);
    if (code < 0) {
        k_free(bits);
        return code;
    }
    *out = bits;
    *out_count = count;
    return 0;
}

int customers_chosen(struct db *db, const struct snapshot *snap, struct str condition,
                     uint64_t **out, uint32_t *out_count, struct keel_error *err) {
    struct arena arena;
    struct buf text;
    struct query *q;
    struct query_syntax_error where;
    buf_init(&text, QUERY_MAX_TEXT + 256);
    (void)buf_printf(&text, "list customers where %.*s limit %d", STR_ARG(condition),
                     RESULT_MAX_ROWS);
    arena_init(&arena, ARENA_BYTES);
    int code = text.failed ? error_set(err, KEEL_E_LIMIT, "the condition is too long")
                           : query_parse(buf_str(&text), &arena, &q, &where, err);
    if (code == 0) code = ask(db, snap, q, out, out_count, err);
    arena_release(&arena);
    buf_release(&text);
    return code;
}
