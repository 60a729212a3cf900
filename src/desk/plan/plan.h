/* The tracking plan: which events a company means to receive, and what each must carry.
 *
 * A *form* is one version of the plan, compiled and immutable. The plan in force is swapped as a
 * whole: whoever took a form keeps it until it is dropped. An empty plan refuses nothing.
 *
 *     const struct plan_form *form = plan_take(plan);
 *     if (!plan_form_empty(form)) while (batch_next(…) == 1)
 *         if (plan_check(checker, form, &batch, &event, &report)) …quarantine…
 *     plan_drop(form);
 *
 * What is checked, of the canonical event (store/event.h), in O(fields), without allocation while
 * nothing is wrong:
 *   the event     planned or not (policy), retired or not;
 *   a property    planned or not (policy), its type, allowed values, pattern, range;
 *   what lacks    required properties.
 * Names are those of the canonical event: nested objects with dots ("address.city"), line items by
 * their list ("products.price": holds for every item). An object where a property is planned is
 * met by its members: "address" of type json is there if "address.city" is.
 *
 *   type      met by
 *   any       everything
 *   string    text
 *   number    a number; text of digits that a double cannot hold (more than 15 of them)
 *   integer   a number without fraction; such text
 *   boolean   true, false
 *   time      ISO 8601 text
 *   list      an array (of objects: line items; of scalars)
 *   json      everything
 * null is no value: the property counts as absent.
 *
 * Files and the JSON form: docs/tracking-plan.md. Versions are kept in desk.db, each with when and
 * who; none is ever changed.
 *
 * Layers: base, store, PCRE2. Threads: forms are immutable and counted; plan_take and plan_drop may
 * be called from anywhere; a checker has one owner. Limits: below.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "base/sql.h"
#include "base/toml.h"
#include "store/event.h"

enum {
    PLAN_MAX_BYTES = TOML_MAX_BYTES, /* of a file, and of the stored form        */
    PLAN_MAX_EVENTS = 5000,
    PLAN_MAX_PROPERTIES = 2000, /* of one event                                   */
    PLAN_MAX_ALLOWED = 1000,    /* values of one property                         */
    PLAN_MAX_VIOLATIONS = 50,   /* of one event: those behind are counted only    */
};

enum plan_type {
    PLAN_ANY,
    PLAN_STRING,
    PLAN_NUMBER,
    PLAN_INTEGER,
    PLAN_BOOLEAN,
    PLAN_TIME,
    PLAN_LIST,
    PLAN_JSON,
    PLAN_TYPES
};

/* How carefully a value is to be treated; from PLAN_PERSONAL on it is never shown in full. */
enum plan_class {
    PLAN_UNCLASSED, /* nobody has said: shown, unless it looks like an e-mail or a phone number */
    PLAN_PUBLIC,
    PLAN_INTERNAL,
    PLAN_PERSONAL,
    PLAN_SENSITIVE,
    PLAN_CLASSES
};

enum plan_status { PLAN_PLANNED, PLAN_LIVE, PLAN_RETIRED, PLAN_STATUSES };

/* What a set of properties belongs to: a track event by its name, or one of the others. */
enum plan_kind {
    PLAN_EVENT,
    PLAN_IDENTIFY, /* traits */
    PLAN_GROUP,    /* traits */
    PLAN_PAGE,
    PLAN_SCREEN,
    PLAN_CONTEXT, /* context of every event */
    PLAN_KINDS
};

extern const char *const PLAN_TYPE_NAMES[PLAN_TYPES];
extern const char *const PLAN_CLASS_NAMES[PLAN_CLASSES];
extern const char *const PLAN_STATUS_NAMES[PLAN_STATUSES];
extern const char *const PLAN_KIND_NAMES[PLAN_KINDS];

/* One value of `allowed`. */
struct plan_value {
    struct str text; /* as written */
    bool is_number;
    double number;
};

struct plan_property {
    struct str name, description;
    enum plan_type type;
    enum plan_class class;
    bool required;
    const struct plan_value *allowed; /* sorted: numbers, then texts */
    uint32_t allowed_count;
    struct str pattern; /* Perl-compatible, found anywhere in the text; "" none */
    bool has_min, has_max;
    double min, max;
};

struct plan_rules; /* compiled: plan/check.c */

struct plan_event {
    enum plan_kind kind;
    struct str name; /* of PLAN_EVENT; else the kind's */
    struct str description;
    struct str owner_business, owner_technical; /* who answers for it, on both sides */
    enum plan_status status;
    const struct plan_property *properties; /* in the order of the file */
    uint32_t property_count;
    const struct plan_rules *rules;
};

struct plan_form {
    int64_t version;                 /* 0: the empty plan that a desk begins with  */
    bool strict_events;              /* events that are not planned are violations */
    bool strict_properties;          /* the same for properties of planned events  */
    const struct plan_event *events; /* in the order of the file */
    uint32_t event_count;
    struct plan_form_private *private;
};

static inline bool plan_form_empty(const struct plan_form *form) {
    return form->event_count == 0 && !form->strict_events;
}

/* The entry of an event; `name` matters for PLAN_EVENT only. NULL: not planned. */
const struct plan_event *plan_find(const struct plan_form *form, enum plan_kind kind,
                                   struct str name);
/* The property of an entry; of line items by "list.name". NULL: not planned. */
const struct plan_property *plan_property(const struct plan_event *event, struct str name);
enum plan_kind plan_kind_of(enum event_type type); /* alias has none: PLAN_KINDS */

/* ---- checking ---- */

#define PLAN_VIOLATIONS(V)                                                                         \
    V(UNPLANNED_EVENT, "unplanned_event")                                                          \
    V(RETIRED_EVENT, "retired_event")                                                              \
    V(UNPLANNED_PROPERTY, "unplanned_property")                                                    \
    V(MISSING, "missing_property")                                                                 \
    V(TYPE, "wrong_type")                                                                          \
    V(VALUE, "value_not_allowed")                                                                  \
    V(PATTERN, "pattern_not_met")                                                                  \
    V(RANGE, "out_of_range")

enum plan_violation_code {
#define PLAN_CODE(name, slug) PLAN_V_##name,
    PLAN_VIOLATIONS(PLAN_CODE)
#undef PLAN_CODE
        PLAN_V_CODES
};
extern const char *const PLAN_VIOLATION_SLUGS[PLAN_V_CODES];

struct plan_violation {
    enum plan_violation_code code;
    struct str property; /* "" for the event itself; the report's */
    struct str text; /* one sentence without full stop; values of personal classes are not in it */
};

/* What is wrong with one event. Empty, with no memory, until something is. */
struct plan_report {
    uint32_t count; /* of violation, and those beyond PLAN_MAX_VIOLATIONS */
    struct plan_violation violation[PLAN_MAX_VIOLATIONS];
    struct arena arena;
};
void plan_report_init(struct plan_report *r);
void plan_report_clear(struct plan_report *r);
void plan_report_release(struct plan_report *r);
/* "price: is a string, must be a number; status: is missing" */
int plan_report_text(const struct plan_report *r, struct buf *out);
/* [{"code":"wrong_type","property":"price","message":"…"},…] */
int plan_report_json(const struct plan_report *r, struct buf *out);

struct plan_checker;
struct plan_checker *plan_checker_new(void);
void plan_checker_free(struct plan_checker *c);

/* The violations of an event, added to a cleared *report; their number. The event is one that
 * batch_next has just given: what is left of it is read from a copy. */
uint32_t plan_check(struct plan_checker *c, const struct plan_form *form,
                    const struct batch_reader *batch, const struct event_view *event,
                    struct plan_report *report);

/* ---- the plan in force ---- */

struct plan;

/* Makes the tables and loads the newest version. `desk` outlives the plan. */
int plan_open(struct sql *desk, struct plan **out, struct keel_error *err) K_CHECKED;
void plan_close(struct plan *plan); /* NULL is fine; forms that were taken live on */

const struct plan_form *plan_take(struct plan *plan);
void plan_drop(const struct plan_form *form); /* NULL is fine */

/* Makes `text` (JSON or TOML, as its first character says; `name` stands in messages) the plan in
 * force, as a new version. *out_version: its number. The same plan again makes no version. */
int plan_import(struct plan *plan, struct str text, const char *name, struct str who, int64_t at_ms,
                int64_t *out_version, struct keel_error *err) K_CHECKED;
/* Takes over what another process has changed. Cheap: to be called every second. */
int plan_refresh(struct plan *plan, struct keel_error *err) K_CHECKED;

/* A form that is not in force: for checks before an import. Dropped by plan_drop. */
int plan_read(struct str text, const char *name, const struct plan_form **out,
              struct keel_error *err) K_CHECKED;
/* An older version. KEEL_E_NOT_FOUND. */
int plan_read_version(struct plan *plan, int64_t version, const struct plan_form **out,
                      struct keel_error *err) K_CHECKED;

/* The canonical JSON form; the file form. Both can be read again. */
int plan_write_json(const struct plan_form *form, struct buf *out);
int plan_write_toml(const struct plan_form *form, struct buf *out);

/* Calls each(ctx, version, at_ms, who, events) from the newest version on. */
int plan_versions(struct plan *plan, uint32_t limit,
                  void (*each)(void *ctx, int64_t version, int64_t at_ms, struct str who,
                               int64_t events),
                  void *ctx, struct keel_error *err) K_CHECKED;
