/* Checking an event against a form of the tracking plan: see plan.h for what is checked.
 *
 * One walk over the event's fields. Each name is looked up once by its hash; what was met is noted
 * in an array of serial numbers, so that nothing needs clearing between events; at the end the
 * event's required properties are looked at. A name that is not planned may be the member of an
 * object that is ("address.city" of "address"): only then its front parts are looked up.
 *
 * Texts of violations are made only when there is one, in the report's arena.
 *
 * Layers: base, store/event.h, PCRE2. Threads: a checker has one owner. Limits: plan.h; a pattern
 * has PATTERN_STEPS steps, then the value counts as not matching and the text says so.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "desk/plan/plan_int.h"

#include <math.h>
#include <pcre2.h>
#include <stdio.h>

#include "base/time.h"

enum {
    PATTERN_STEPS = 100000,
    REPORT_BYTES = 1 << 20,
    SHOWN_VALUE = 60, /* bytes of a value in a text */
    LONG_DIGITS = 15, /* text of more digits may be a number that a double cannot hold */
};

struct plan_checker {
    uint32_t serial, item_serial;
    uint32_t *seen, *item_seen; /* by number of the node */
    uint32_t capacity;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

/* One event, or the context of one, being checked. */
struct checking {
    struct plan_checker *c;
    const struct plan_form *form;
    const struct plan_event *event; /* NULL: nothing is planned */
    struct plan_report *report;
};

/* ---- reports ---- */

void plan_report_init(struct plan_report *r) {
    r->count = 0;
    arena_init(&r->arena, REPORT_BYTES);
}

void plan_report_clear(struct plan_report *r) {
    if (r->count == 0) return;
    plan_report_release(r);
}

void plan_report_release(struct plan_report *r) {
    r->count = 0;
    arena_release(&r->arena);
    arena_init(&r->arena, REPORT_BYTES);
}

static uint32_t told(const struct plan_report *r) {
    return r->count < PLAN_MAX_VIOLATIONS ? r->count : PLAN_MAX_VIOLATIONS;
}

int plan_report_text(const struct plan_report *r, struct buf *out) {
    for (uint32_t i = 0; i < told(r); i++) {
        const struct plan_violation *v = &r->violation[i];
        if (i) (void)!buf_add_text(out, "; ");
        (void)!buf_add_str(out, v->text);
    }
    if (r->count > told(r)) (void)!buf_printf(out, "; and %u more", r->count - told(r));
    return out->failed;
}

int plan_report_json(const struct plan_report *r, struct buf *out) {
    (void)!buf_add_char(out, '[');
    for (uint32_t i = 0; i < told(r); i++) {
        const struct plan_violation *v = &r->violation[i];
        (void)!buf_printf(out, "%s{\"code\":\"%s\",", i ? "," : "", PLAN_VIOLATION_SLUGS[v->code]);
        if (v->property.n) {
            (void)!buf_add_text(out, "\"property\":");
            (void)!buf_add_json_str(out, v->property);
            (void)!buf_add_char(out, ',');
        }
        (void)!buf_add_text(out, "\"message\":");
        (void)!buf_add_json_str(out, v->text);
        (void)!buf_add_char(out, '}');
    }
    (void)!buf_add_char(out, ']');
    return out->failed;
}

/* The property's name is put in front of the sentence. */
static void violate(struct checking *k, enum plan_violation_code code, struct str property,
                    const char *format, ...) K_PRINTF(4, 5);
static void violate(struct checking *k, enum plan_violation_code code, struct str property,
                    const char *format, ...) {
    struct plan_report *r = k->report;
    if (r->count++ >= PLAN_MAX_VIOLATIONS) return;
    char why[400];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    bool context = k->event && k->event->kind == PLAN_CONTEXT;
    struct plan_violation *v = &r->violation[r->count - 1];
    v->code = code;
    v->property = property.n ? str_dup(&r->arena, property) : (struct str){"", 0};
    v->text = str_from(property.n ? arena_printf(&r->arena, "%s%.*s: %s", context ? "context." : "",
                                                 STR_ARG(property), why)
                                  : arena_printf(&r->arena, "%s", why));
}

/* ---- checkers ---- */

struct plan_checker *plan_checker_new(void) {
    struct plan_checker *c = k_zalloc(sizeof *c);
    c->match = pcre2_match_data_create(1, NULL);
    c->limits = pcre2_match_context_create(NULL);
    K_ASSERT(c->match && c->limits);
    pcre2_set_match_limit(c->limits, PATTERN_STEPS);
    return c;
}

void plan_checker_free(struct plan_checker *c) {
    if (!c) return;
    pcre2_match_data_free(c->match);
    pcre2_match_context_free(c->limits);
    k_free(c->seen);
    k_free(c->item_seen);
    k_free(c);
}

/* Room for the nodes of an event; nothing is seen. */
static void start(struct plan_checker *c, uint32_t nodes) {
    if (nodes > c->capacity || c->serial == UINT32_MAX || c->item_serial > UINT32_MAX / 2) {
        uint32_t capacity = nodes > c->capacity ? nodes * 2 : c->capacity;
        k_free(c->seen);
        k_free(c->item_seen);
        c->seen = k_zalloc(capacity * sizeof *c->seen);
        c->item_seen = k_zalloc(capacity * sizeof *c->item_seen);
        c->capacity = capacity;
        c->serial = c->item_serial = 0;
    }
    c->serial++;
}

/* ---- values ---- */

static bool is_long_number(const struct field_view *f) {
    double number;
    return f->type == VALUE_STRING && f->text.n > LONG_DIGITS && f->text.p[0] != '+' &&
           str_to_f64(f->text, &number);
}

static bool is_array(const struct field_view *f) {
    return f->type == VALUE_LIST || (f->type == VALUE_JSON && f->text.n && f->text.p[0] == '[');
}

static bool type_fits(enum plan_type type, const struct field_view *f) {
    int64_t ms;
    switch (type) {
    case PLAN_ANY:
    case PLAN_JSON: return true;
    case PLAN_STRING: return f->type == VALUE_STRING;
    case PLAN_NUMBER: return f->type == VALUE_NUMBER || is_long_number(f);
    case PLAN_INTEGER:
        return f->type == VALUE_NUMBER
                   ? trunc(f->number) == f->number
                   : is_long_number(f) && !memchr(f->text.p, '.', f->text.n) &&
                         !memchr(f->text.p, 'e', f->text.n) && !memchr(f->text.p, 'E', f->text.n);
    case PLAN_BOOLEAN: return f->type == VALUE_TRUE || f->type == VALUE_FALSE;
    case PLAN_TIME: return f->type == VALUE_STRING && time_parse(f->text, NULL, &ms);
    case PLAN_LIST: return is_array(f);
    case PLAN_TYPES: break;
    }
    return false;
}

static const char *value_words(const struct field_view *f, enum plan_type wanted) {
    switch (f->type) {
    case VALUE_FALSE:
    case VALUE_TRUE: return "a boolean";
    case VALUE_NUMBER: return wanted == PLAN_INTEGER ? "a number with a fraction" : "a number";
    case VALUE_STRING: return wanted == PLAN_TIME ? "a text that is no ISO 8601 time" : "a string";
    case VALUE_JSON: return is_array(f) ? "a list" : "an object";
    case VALUE_LIST: return "a list";
    }
    return "something else";
}

static const char *type_words(enum plan_type type) {
    K_ASSERT(type < PLAN_TYPES);
    static const char *const words[PLAN_TYPES] = {
        [PLAN_ANY] = "anything",      [PLAN_STRING] = "a string",
        [PLAN_NUMBER] = "a number",   [PLAN_INTEGER] = "an integer",
        [PLAN_BOOLEAN] = "a boolean", [PLAN_TIME] = "an ISO 8601 time",
        [PLAN_LIST] = "a list",       [PLAN_JSON] = "anything"};
    return words[type];
}

/* The value for a sentence; of personal classes, and of nobody has said which, only that it is. */
static struct str shown(struct checking *k, const struct plan_property *p,
                        const struct field_view *f) {
    bool open = p->class == PLAN_PUBLIC || p->class == PLAN_INTERNAL;
    if (!open || k->report->count >= PLAN_MAX_VIOLATIONS) return STR("the value");
    if (f->type == VALUE_NUMBER)
        return str_from(arena_printf(&k->report->arena, "%.17g", f->number));
    size_t n = f->text.n;
    if (n <= SHOWN_VALUE)
        return str_from(arena_printf(&k->report->arena, "\"%.*s\"", STR_ARG(f->text)));
    n = SHOWN_VALUE;
    while (n && (f->text.p[n] & 0xc0) == 0x80) n--; /* not within a character */
    return str_from(arena_printf(&k->report->arena, "\"%.*s…\"", (int)n, f->text.p));
}

static bool is_allowed(const struct plan_property *p, const struct field_view *f) {
    bool number = f->type == VALUE_NUMBER;
    if (!number && f->type != VALUE_STRING) return true; /* its type is told elsewhere */
    uint32_t low = 0, high = p->allowed_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct plan_value *v = &p->allowed[middle];
        int order = v->is_number != number ? (v->is_number ? -1 : 1)
                    : number               ? (v->number > f->number) - (v->number < f->number)
                                           : str_cmp(v->text, f->text);
        if (order == 0) return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static void check_pattern(struct checking *k, const struct plan_node *node,
                          const struct field_view *f) {
    int found = pcre2_match(node->pattern, (PCRE2_SPTR)f->text.p, f->text.n, 0, 0, k->c->match,
                            k->c->limits);
    if (found >= 0) return;
    struct str value = shown(k, node->property, f);
    violate(k, PLAN_V_PATTERN, node->name, "%.*s %s the pattern %.*s", STR_ARG(value),
            found == PCRE2_ERROR_NOMATCH ? "does not match" : "takes too many steps to match",
            STR_ARG(node->property->pattern));
}

static void check_range(struct checking *k, const struct plan_node *node,
                        const struct field_view *f) {
    const struct plan_property *p = node->property;
    bool below = p->has_min && f->number < p->min, above = p->has_max && f->number > p->max;
    if (!below && !above) return;
    struct str value = shown(k, p, f);
    violate(k, PLAN_V_RANGE, node->name, "%.*s is %s %.17g", STR_ARG(value),
            below ? "less than the minimum" : "greater than the maximum", below ? p->min : p->max);
}

static void check_value(struct checking *k, const struct plan_node *node,
                        const struct field_view *f) {
    const struct plan_property *p = node->property;
    if (!type_fits(p->type, f)) {
        violate(k, PLAN_V_TYPE, node->name, "is %s, must be %s", value_words(f, p->type),
                type_words(p->type));
        return;
    }
    if (p->allowed_count && !is_allowed(p, f)) {
        struct str value = shown(k, p, f);
        violate(k, PLAN_V_VALUE, node->name, "%.*s is none of the %u allowed values",
                STR_ARG(value), p->allowed_count);
    }
    if (node->pattern && f->type == VALUE_STRING) check_pattern(k, node, f);
    if ((p->has_min || p->has_max) && f->type == VALUE_NUMBER) check_range(k, node, f);
}

/* ---- names ---- */

static void unplanned(struct checking *k, struct str name) {
    if (k->form->strict_properties && k->event->kind != PLAN_CONTEXT)
        violate(k, PLAN_V_UNPLANNED_PROPERTY, name, "is not in the plan");
}

/* The member of an object that arrived: the object's own name is met by it. True if one of its
 * front parts is planned. */
static bool meet_fronts(struct checking *k, struct str name) {
    const struct plan_rules *rules = k->event->rules;
    struct plan_checker *c = k->c;
    bool planned = false;
    for (size_t at = 0; at < name.n; at++) {
        if (name.p[at] != '.') continue;
        const struct plan_node *front = plan_node_find(rules, (struct str){name.p, at});
        if (!front || !front->property) continue;
        enum plan_type type = front->property->type;
        bool first = c->seen[front->number] != c->serial;
        c->seen[front->number] = c->serial;
        planned |= type == PLAN_ANY || type == PLAN_JSON;
        if (first && type != PLAN_ANY && type != PLAN_JSON)
            violate(k, PLAN_V_TYPE, front->name, "is an object, must be %s", type_words(type));
    }
    return planned;
}

/* ---- line items ---- */

/* The node of a member of a list's items: "price" of "products" is "products.price". */
static const struct plan_node *item_node(const struct checking *k, struct str list,
                                         struct str member) {
    char name[EVENT_MAX_NAME * 2 + 1];
    if (list.n + 1 + member.n > sizeof name) return NULL;
    memcpy(name, list.p, list.n);
    name[list.n] = '.';
    memcpy(name + list.n + 1, member.p, member.n);
    return plan_node_find(k->event->rules, (struct str){name, list.n + 1 + member.n});
}

static void unplanned_member(struct checking *k, const struct plan_node *list, struct str member) {
    if (list->property && !list->has_below) return; /* only the list is planned: items are free */
    if (k->report->count >= PLAN_MAX_VIOLATIONS) {
        k->report->count++;
        return;
    }
    unplanned(k, str_from(arena_printf(&k->report->arena, "%.*s.%.*s", STR_ARG(list->name),
                                       STR_ARG(member))));
}

static void check_items(struct checking *k, const struct batch_reader *batch,
                        struct event_view *view, const struct field_view *list,
                        const struct plan_node *of) {
    struct plan_checker *c = k->c;
    struct field_view f;
    for (uint32_t i = 0; i < list->items; i++) {
        uint32_t serial = ++c->item_serial;
        item_next(view);
        while (item_field(batch, view, &f)) {
            const struct plan_node *node = item_node(k, of->name, batch->names[f.name]);
            if (node) c->item_seen[node->number] = serial;
            if (node && node->property)
                check_value(k, node, &f);
            else if (!node && k->form->strict_properties)
                unplanned_member(k, of, batch->names[f.name]);
        }
        for (uint32_t child = 0; child < of->child_count; child++) {
            uint32_t number = k->event->rules->children[of->child_first + child];
            if (c->item_seen[number] != serial)
                violate(k, PLAN_V_MISSING, k->event->rules->nodes[number].name,
                        "is missing in item %u", i + 1);
        }
    }
    for (uint32_t child = 0; child < of->child_count;
         child++) /* the items have answered for them */
        c->seen[k->event->rules->children[of->child_first + child]] = c->serial;
}

/* ---- events ---- */

static void check_field(struct checking *k, const struct batch_reader *batch,
                        struct event_view *view, const struct field_view *f) {
    struct str name = batch->names[f->name];
    const struct plan_node *node = plan_node_find(k->event->rules, name);
    bool dotted = memchr(name.p, '.', name.n) != NULL;
    bool within = dotted && meet_fronts(k, name);
    if (!node || (!node->property && f->type != VALUE_LIST)) {
        if (!within) unplanned(k, name);
        return;
    }
    k->c->seen[node->number] = k->c->serial;
    if (node->property) check_value(k, node, f);
    if (f->type == VALUE_LIST) check_items(k, batch, view, f, node);
}

static void check_missing(struct checking *k) {
    const struct plan_rules *rules = k->event->rules;
    for (uint32_t i = 0; i < rules->needed_count; i++)
        if (k->c->seen[rules->needed[i]] != k->c->serial)
            violate(k, PLAN_V_MISSING, rules->nodes[rules->needed[i]].name, "is missing");
}

static void check_scope(struct checking *k, const struct batch_reader *batch,
                        struct event_view view, enum field_scope scope) {
    struct field_view f;
    start(k->c, k->event->rules->node_count);
    while (field_next(batch, &view, &f))
        if (f.scope == scope) check_field(k, batch, &view, &f);
    check_missing(k);
}

uint32_t plan_check(struct plan_checker *c, const struct plan_form *form,
                    const struct batch_reader *batch, const struct event_view *event,
                    struct plan_report *report) {
    enum plan_kind kind = plan_kind_of(event->head.type);
    struct checking k = {.c = c, .form = form, .report = report};
    k.event = plan_find(form, kind, event->head.name);
    if (!k.event && kind == PLAN_EVENT && form->strict_events)
        violate(&k, PLAN_V_UNPLANNED_EVENT, (struct str){"", 0},
                "the event \"%.*s\" is not planned", STR_ARG(event->head.name));
    if (k.event && k.event->status == PLAN_RETIRED)
        violate(&k, PLAN_V_RETIRED_EVENT, (struct str){"", 0}, "the event \"%.*s\" is retired",
                STR_ARG(event->head.name));
    if (k.event) check_scope(&k, batch, *event, SCOPE_PROPERTY);
    k.event = plan_find(form, PLAN_CONTEXT, (struct str){"", 0});
    if (k.event) check_scope(&k, batch, *event, SCOPE_CONTEXT);
    return report->count;
}
