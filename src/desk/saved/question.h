/* Saved questions: a question with a name, a description, an owner and the side for which it is
 * asked, so that both sides look at the same thing.
 *
 * The question is kept as its canonical text (query_print.h). It is asked anew whenever it is
 * opened: what is saved is the question, not its answer. What it names (events, segments) is not
 * looked up: it may be missing today and be there tomorrow, and who asks is told.
 *
 * A change raises the version, by which two people who change the same one find out. There is no
 * history: a question stands for nothing but itself, and the audit log knows who changed it.
 *
 * Table in DIR/desk.db: question.
 *
 * Layers: saved/name.h, base/sql.h, query/language/ast.h, guard/role.h. Threads: any. Another
 * process may use the same file. Limits: QUESTION_MOST; NAME_BYTES; NAME_TEXT_BYTES;
 * QUERY_MAX_TEXT.
 */
#pragma once

#include "base/sql.h"
#include "guard/role.h"
#include "query/language/ast.h"

enum { QUESTION_MOST = 10000 };

int question_tables(struct sql *desk, struct keel_error *err) K_CHECKED;

/* What people set. p == NULL, or NULL: as it was (of a new one: empty). */
struct question_spec {
    struct str name;
    const struct query *query; /* sealed: of ask_read, query_parse */
    struct str description, owner;
    struct str side;    /* as side_by_text; "" is that of nobody, "neither" */
    struct str who;     /* changes it */
    int64_t if_version; /* only if this one is in force: else KEEL_E_CONFLICT; 0: any */
};

struct question_row {
    int64_t id, version;
    struct str name, query, description, owner, who;
    enum side side;
    int64_t created_ms, changed_ms;
};

/* KEEL_E_EXISTS: the name is taken; KEEL_E_INVALID; KEEL_E_LIMIT. */
int question_add(struct sql *desk, const struct question_spec *spec, int64_t now_ms,
                 int64_t *out_id, struct keel_error *err) K_CHECKED;
/* What is equal already makes no version. */
int question_change(struct sql *desk, int64_t id, const struct question_spec *spec, int64_t now_ms,
                    struct keel_error *err) K_CHECKED;
int question_remove(struct sql *desk, int64_t id, struct keel_error *err) K_CHECKED;

typedef int question_each(void *ctx, const struct question_row *row);
/* By id, at most `limit` of those behind `after`. A negative result of each() ends it. */
int question_list(struct sql *desk, int64_t after, int64_t limit, question_each *each, void *ctx,
                  struct keel_error *err) K_CHECKED;
/* KEEL_E_NOT_FOUND. */
int question_get(struct sql *desk, int64_t id, question_each *each, void *ctx,
                 struct keel_error *err) K_CHECKED;
/* A number or a name; KEEL_E_NOT_FOUND proposes the nearest name. */
int question_find(struct sql *desk, struct str which, int64_t *out_id,
                  struct keel_error *err) K_CHECKED;
/* {"id":1,"name":…}: for the API and the command line. */
void question_json(const struct question_row *row, struct buf *out);
