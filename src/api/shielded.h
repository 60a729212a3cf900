/* What callers without the right to personal data see of numbers and conditions
 * (desk/shield/shield.h).
 *
 * Layers: app.h, server.h, desk/shield/shield.h. Threads: the workers'. */
#pragma once

#include "api/app.h"
#include "api/server/server.h"
#include "query/ask.h"

static inline bool is_shielded(const struct request *r) {
    return !actor_may(&r->actor, RIGHT_PERSONAL_READ);
}
/* May the caller ask for, or save, this condition on customers? 0 for who is not shielded. */
int shielded_condition(const struct app *app, const struct request *r, struct str condition,
                       struct keel_error *err) K_CHECKED;
/* May the caller ask, or save to be asked, this question? 0 for who is not shielded. */
int shielded_question(const struct app *app, const struct request *r, const struct query *q,
                      struct keel_error *err) K_CHECKED;
/* Asks it as the caller may: as it is, or through the shield; `arena` for what that needs besides.
 * What is shown of single people is the caller's to note. */
int shielded_run(const struct app *app, const struct request *r, const struct query *q,
                 const struct ask_options *options, struct arena *arena, struct result **out,
                 struct keel_error *err) K_CHECKED;
/* Writes how many customers; null if they are few and the caller is shielded. */
void shielded_number(const struct app *app, const struct request *r, uint64_t n, struct buf *out);
/* So few that the difference of two such sets would show them? Never to who is not shielded. */
bool shielded_close(const struct app *app, const struct request *r, uint64_t n);
