/* Implementation of shielded.h. */
#include "api/shielded.h"

#include "api/config.h"
#include "desk/audience/audience.h"
#include "desk/shield/shield.h"
#include "query/language/parse.h"

/* Whose questions are compared. */
static int64_t asker(const struct request *r) {
    return r->actor.account ? r->actor.account : -r->actor.id;
}

int shielded_condition(const struct app *app, const struct request *r, struct str condition,
                       struct keel_error *err) {
    struct audience_book book;
    struct arena arena;
    if (!is_shielded(r)) return 0;
    audience_book_init(&book, app->desk);
    arena_init(&arena, 2 * (size_t)QUERY_ARENA_BYTES);
    struct ask_options options = {.at = STR(""),
                                  .cancel = server_cutting(app->server),
                                  .segment = audience_book_find,
                                  .segment_ctx = &book};
    struct shield_question question = {
        .who = asker(r), .form = plan_take(app->plan), .options = &options, .arena = &arena};
    int code = shield_condition(app->shield, &question, app->db, condition, err);
    plan_drop(question.form);
    audience_book_release(&book);
    arena_release(&arena);
    return code;
}

int shielded_question(const struct app *app, const struct request *r, const struct query *q,
                      struct keel_error *err) {
    if (!is_shielded(r)) return 0;
    const struct plan_form *form = plan_take(app->plan);
    int code = shield_admit(form, q, err);
    plan_drop(form);
    return code;
}

int shielded_run(const struct app *app, const struct request *r, const struct query *q,
                 const struct ask_options *options, struct arena *arena, struct result **out,
                 struct keel_error *err) {
    if (!is_shielded(r)) return ask_run(app->db, q, options, out, err);
    const struct plan_form *form = plan_take(app->plan);
    const struct shield_question question = {asker(r), form, q, options, arena};
    int code = shield_run(app->shield, &question, app->db, out, err);
    plan_drop(form);
    return code;
}

void shielded_number(const struct app *app, const struct request *r, uint64_t n, struct buf *out) {
    if (is_shielded(r) && n < (uint64_t)app->config->guard.customers)
        (void)!buf_add_text(out, "null");
    else
        (void)!buf_printf(out, "%llu", (unsigned long long)n);
}

bool shielded_close(const struct app *app, const struct request *r, uint64_t n) {
    return is_shielded(r) && n > 0 && n < (uint64_t)app->config->guard.customers;
}
