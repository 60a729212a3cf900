/* An event's JSON for the eyes of people: the same, with personal values masked.
 *
 * A value is masked if the plan classes its property as personal or sensitive; if nobody has
 * classed it and its name or its looks say so (desk/plan/personal.h); and, whatever its name, if
 * the text holds an e-mail address or is a phone number and its class is not public. So is a key
 * that looks like either. What is masked shows what it is: "‹e-mail›", "‹phone›", "‹personal›",
 * "‹sensitive›".
 *
 * The text may be cut anywhere, and need not be JSON: what can be read is written, brackets are
 * closed, and a value that is not whole is "…". The result is JSON whatever comes.
 *
 * Layers: desk/plan/plan.h. Threads: pure. Limits: nesting beyond MASK_MAX_DEPTH is "…".
 */
#pragma once

#include "base/buf.h"
#include "desk/plan/plan.h"

enum { MASK_MAX_DEPTH = 32, MASK_TEXT_BYTES = 500 };

/* What the text says at its top, as it stands there (between the quotes, escapes kept). */
struct masked {
    struct str type, event, user, anonymous, message_id;
    bool cut; /* it was not whole */
};

/* Reads the top level. */
struct masked mask_look(struct str json);
/* Appends the masked JSON. `form` may be NULL. */
int mask_json(const struct plan_form *form, const struct masked *look, struct str json,
              struct buf *out);
/* Whose values stand alone, in a cell of a table: what the plan says of an event. */
struct mask_event {
    const struct plan_event *event, *context, *identify; /* NULL: not planned; borrowed */
    bool of_traits;                                      /* its properties are traits    */
};
void mask_event_of(const struct plan_form *form, struct str type, struct str name,
                   struct mask_event *out);
enum mask_kind { MASK_TEXT, MASK_NUMBER, MASK_JSON };
/* What stands in place of the whole value, as JSON ("‹e-mail›" with its quotes), or NULL. */
const char *mask_sign(const struct mask_event *event, bool in_context, struct str name,
                      enum mask_kind kind, struct str text);
/* Appends what is shown of a value; signs stand without quotes. name: with dots, of a property or
 * (in_context) of a field of the context; empty: of all of them together. */
int mask_value(const struct mask_event *event, bool in_context, struct str name,
               enum mask_kind kind, struct str text, struct buf *out);
/* One text that stands alone: an id. Appends it as a JSON string. `raw`: as JSON has it between its
 * quotes; `text`: what it says. */
int mask_text(struct str raw, struct buf *out);
int mask_plain(struct str text, struct buf *out);
