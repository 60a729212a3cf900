/* Implementation of chosen.h: a count whose members are asked for. */
#include "query/chosen.h"

#include "query/language/parse.h"

enum { ARENA_BYTES = 2 * QUERY_ARENA_BYTES };

static int ask(struct db *db, const struct snapshot *snap, const struct query *q,
               const struct query_options *options, uint64_t **out, uint32_t *out_count,
               struct buf *notes, struct keel_error *err) {
    struct result *r;
    struct query_options how = {.at_ms = QUERY_AT_NOW};
    if (options) how = *options;
    uint32_t count = snap->redirects.numbers;
    how.members = k_try_zalloc(((size_t)count / 64 + 1) * sizeof *how.members);
    if (!how.members) FAIL(err, NO_MEMORY, "too little memory for the members of a condition");
    int code = query_run(db, snap, q, &how, &r, err);
    if (code < 0) {
        k_free(how.members);
        return code;
    }
    for (uint32_t i = 0; i < r->n_notes && notes; i++)
        (void)!buf_printf(notes, "note: %.*s\n", STR_ARG(r->notes[i]));
    result_free(r);
    *out = how.members;
    *out_count = count;
    return 0;
}

int customers_chosen(struct db *db, const struct snapshot *snap, struct str condition,
                     const struct query_options *options, uint64_t **out, uint32_t *out_count,
                     struct buf *notes, struct keel_error *err) {
    struct arena arena;
    struct buf text;
    struct query *q;
    struct query_syntax_error where;
    buf_init(&text, QUERY_MAX_TEXT + 256);
    (void)buf_printf(&text, "count customers where %.*s", STR_ARG(condition));
    arena_init(&arena, ARENA_BYTES);
    int code = text.failed ? error_set(err, KEEL_E_LIMIT, "the condition is too long")
                           : query_parse(buf_str(&text), &arena, &q, &where, err);
    if (code == 0) code = ask(db, snap, q, options, out, out_count, notes, err);
    arena_release(&arena);
    buf_release(&text);
    return code;
}
