/* The tracking plan from text: TOML or JSON, of the same members (docs/tracking-plan.md).
 *
 * Layers: base/toml_reader.h. Threads: pure. Limits: plan.h.
 */
#include <math.h>
#include <stdlib.h>

#include "base/toml_reader.h"
#include "desk/plan/plan_int.h"

struct reading {
    struct toml_reader in;
    struct plan_form *form;
};

static int read_bound(struct reading *r, const struct toml_node *node, bool *has, double *out) {
    TRY(toml_read_number(&r->in, node, out));
    *has = true;
    return 0;
}

static int by_value(const void *left, const void *right) {
    const struct plan_value *a = left, *b = right;
    if (a->is_number != b->is_number) return a->is_number ? -1 : 1;
    if (a->is_number) return (a->number > b->number) - (a->number < b->number);
    return str_cmp(a->text, b->text);
}

static int read_allowed(struct reading *r, const struct toml_node *node, struct plan_property *p) {
    if (node->type != TOML_ARRAY || node->count == 0)
        return toml_refuse(&r->in, node, "allowed is a list of values");
    if (node->count > PLAN_MAX_ALLOWED)
        return toml_refuse(&r->in, node, "allowed has more than %d values", PLAN_MAX_ALLOWED);
    struct plan_value *values = arena_zalloc(r->in.arena, node->count * sizeof *values);
    for (const struct toml_node *v = node->first; v; v = v->next) {
        struct plan_value *value = &values[p->allowed_count++];
        if (v->type == TOML_STRING) {
            value->text = str_dup(r->in.arena, v->text);
        } else if ((v->type == TOML_INTEGER || v->type == TOML_FLOAT) && isfinite(v->number)) {
            *value = (struct plan_value){.text = {"", 0}, .is_number = true, .number = v->number};
        } else {
            return toml_refuse(&r->in, v, "allowed values are texts and numbers, not %s",
                               toml_type_text(v->type));
        }
    }
    qsort(values, p->allowed_count, sizeof *values, by_value);
    p->allowed = values;
    return 0;
}

/* ---- properties and events ---- */

static int check_property(struct reading *r, const struct toml_node *at,
                          const struct plan_property *p) {
    bool text = p->type == PLAN_ANY || p->type == PLAN_STRING || p->type == PLAN_TIME;
    bool number = p->type == PLAN_ANY || p->type == PLAN_NUMBER || p->type == PLAN_INTEGER;
    if (p->name.n == 0) return toml_refuse(&r->in, at, "a property without a name");
    if (p->name.n > EVENT_MAX_NAME)
        return toml_refuse(&r->in, at, "the name of a property is longer than %d bytes",
                           EVENT_MAX_NAME);
    if (p->pattern.n && !text)
        return toml_refuse(&r->in, at, "\"%.*s\": a pattern is for texts, not for type %s",
                           STR_ARG(p->name), PLAN_TYPE_NAMES[p->type]);
    if ((p->has_min || p->has_max) && !number)
        return toml_refuse(&r->in, at, "\"%.*s\": min and max are for numbers, not for type %s",
                           STR_ARG(p->name), PLAN_TYPE_NAMES[p->type]);
    if (p->has_min && p->has_max && p->min > p->max)
        return toml_refuse(&r->in, at, "\"%.*s\": min is greater than max", STR_ARG(p->name));
    for (uint32_t i = 0; i < p->allowed_count; i++)
        if (p->allowed[i].is_number ? !number : !text)
            return toml_refuse(&r->in, at, "\"%.*s\": an allowed value is %s, the type is %s",
                               STR_ARG(p->name), p->allowed[i].is_number ? "a number" : "a text",
                               PLAN_TYPE_NAMES[p->type]);
    return 0;
}

static int read_property(struct reading *r, const struct toml_node *node, struct plan_property *p) {
    int type = PLAN_ANY, class = PLAN_UNCLASSED;
    *p = (struct plan_property){.name = str_dup(r->in.arena, node->key), .pattern = {"", 0}};
    p->description = (struct str){"", 0};
    if (node->type == TOML_STRING) { /* order_id = "string" */
        TRY(toml_read_word(&r->in, node, PLAN_TYPE_NAMES, PLAN_TYPES, &type));
        p->type = (enum plan_type)type;
        return check_property(r, node, p);
    }
    if (node->type != TOML_TABLE)
        return toml_refuse(&r->in, node, "the property \"%.*s\" is a table or the name of a type",
                           STR_ARG(node->key));
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "type"))
            TRY(toml_read_word(&r->in, m, PLAN_TYPE_NAMES, PLAN_TYPES, &type));
        else if (str_is(m->key, "class"))
            TRY(toml_read_word(&r->in, m, PLAN_CLASS_NAMES, PLAN_CLASSES, &class));
        else if (str_is(m->key, "required"))
            TRY(toml_read_bool(&r->in, m, &p->required));
        else if (str_is(m->key, "description"))
            TRY(toml_read_text(&r->in, m, &p->description));
        else if (str_is(m->key, "pattern"))
            TRY(toml_read_text(&r->in, m, &p->pattern));
        else if (str_is(m->key, "allowed"))
            TRY(read_allowed(r, m, p));
        else if (str_is(m->key, "min"))
            TRY(read_bound(r, m, &p->has_min, &p->min));
        else if (str_is(m->key, "max"))
            TRY(read_bound(r, m, &p->has_max, &p->max));
        else
            return toml_refuse(&r->in, m,
                               "\"%.*s\" is nothing that a property has: type, class, required, "
                               "description, allowed, pattern, min, max",
                               STR_ARG(m->key));
    }
    p->type = (enum plan_type)type;
    p->class = (enum plan_class) class;
    return check_property(r, node, p);
}

static int read_properties(struct reading *r, const struct toml_node *node,
                           struct plan_event *event) {
    if (node->type != TOML_TABLE) return toml_refuse(&r->in, node, "property is a table");
    if (node->count > PLAN_MAX_PROPERTIES)
        return toml_refuse(&r->in, node, "more than %d properties", PLAN_MAX_PROPERTIES);
    struct plan_property *properties =
        arena_zalloc(r->in.arena, ((size_t)node->count + 1) * sizeof *properties);
    for (const struct toml_node *p = node->first; p; p = p->next)
        TRY(read_property(r, p, &properties[event->property_count++]));
    event->properties = properties;
    return 0;
}

static int read_event(struct reading *r, const struct toml_node *node, enum plan_kind kind) {
    struct plan_event *event = &r->form->private->events[r->form->event_count++];
    int status = PLAN_LIVE;
    struct str empty = {"", 0};
    *event = (struct plan_event){.kind = kind, .description = empty};
    event->owner_business = event->owner_technical = empty;
    event->name = r->in.within = str_dup(r->in.arena, node->key);
    if (node->type != TOML_TABLE)
        return toml_refuse(&r->in, node, "\"%.*s\" is a table", STR_ARG(node->key));
    if (event->name.n == 0) return toml_refuse(&r->in, node, "an event without a name");
    if (event->name.n > EVENT_MAX_NAME)
        return toml_refuse(&r->in, node, "the name of an event is longer than %d bytes",
                           EVENT_MAX_NAME);
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "description"))
            TRY(toml_read_text(&r->in, m, &event->description));
        else if (str_is(m->key, "owner_business"))
            TRY(toml_read_text(&r->in, m, &event->owner_business));
        else if (str_is(m->key, "owner_technical"))
            TRY(toml_read_text(&r->in, m, &event->owner_technical));
        else if (str_is(m->key, "status") && kind == PLAN_EVENT)
            TRY(toml_read_word(&r->in, m, PLAN_STATUS_NAMES, PLAN_STATUSES, &status));
        else if (str_is(m->key, "property"))
            TRY(read_properties(r, m, event));
        else
            return toml_refuse(&r->in, m,
                               "\"%.*s\" is nothing that %s has: description, owner_business, "
                               "owner_technical, %sproperty",
                               STR_ARG(m->key),
                               kind == PLAN_EVENT ? "an event" : PLAN_KIND_NAMES[kind],
                               kind == PLAN_EVENT ? "status, " : "");
    }
    event->status = (enum plan_status)status;
    r->in.within = empty;
    return 0;
}

static int read_policy(struct reading *r, const struct toml_node *node, bool *strict) {
    static const char *const words[] = {"allow", "quarantine"};
    int which = 0;
    TRY(toml_read_word(&r->in, node, words, 2, &which));
    *strict = which == 1;
    return 0;
}

static int read_member(struct reading *r, const struct toml_node *m) {
    if (str_is(m->key, "version")) return 0; /* said by an export; an import makes its own */
    if (str_is(m->key, "unplanned_events")) return read_policy(r, m, &r->form->strict_events);
    if (str_is(m->key, "unplanned_properties"))
        return read_policy(r, m, &r->form->strict_properties);
    if (str_is(m->key, "event")) {
        if (m->type != TOML_TABLE)
            return toml_refuse(&r->in, m, "event is a table of events by name");
        for (const struct toml_node *e = m->first; e; e = e->next)
            TRY(read_event(r, e, PLAN_EVENT));
        return 0;
    }
    for (int kind = PLAN_EVENT + 1; kind < PLAN_KINDS; kind++)
        if (str_is(m->key, PLAN_KIND_NAMES[kind])) return read_event(r, m, (enum plan_kind)kind);
    return toml_refuse(
        &r->in, m,
        "\"%.*s\" is nothing that a plan has: unplanned_events, unplanned_properties, "
        "event, identify, group, page, screen, context",
        STR_ARG(m->key));
}

static int read_plan(struct reading *r, const struct toml_node *root) {
    const struct toml_node *events = toml_get(root, "event");
    uint32_t most = PLAN_KINDS + (events ? events->count : 0);
    if (most > PLAN_MAX_EVENTS + PLAN_KINDS)
        return toml_refuse(&r->in, events, "more than %d events", PLAN_MAX_EVENTS);
    if (root->type != TOML_TABLE) return toml_refuse(&r->in, root, "a plan is an object");
    r->form->private->events = arena_zalloc(r->in.arena, most * sizeof(struct plan_event));
    r->form->events = r->form->private->events;
    for (const struct toml_node *m = root->first; m; m = m->next) TRY(read_member(r, m));
    return 0;
}

int plan_form_read(struct plan_form *form, struct str text, const char *name,
                   struct keel_error *err) {
    struct reading r = {.form = form, .in = {.name = name, .err = err}};
    const struct toml_node *root;
    r.in.arena = &form->private->arena;
    r.in.within = (struct str){"", 0};
    TRY(toml_reader_open(&r.in, text, (size_t)PLAN_MAX_BYTES * 4, &root));
    int code = read_plan(&r, root);
    toml_reader_close(&r.in);
    return code;
}
