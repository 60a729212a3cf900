/* The tracking plan from text: TOML or JSON, of the same members (docs/tracking-plan.md).
 *
 * JSON is turned into the tree that the TOML reader gives, without places, so that one reader reads
 * both and a mistake is told in the same words; it is placed by line where there is one.
 *
 * Layers: base. Threads: pure. Limits: plan.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "desk/plan_int.h"

struct reading {
    struct plan_form *form;
    struct arena *arena;
    const char *name;
    const struct toml_doc *toml; /* NULL: JSON */
    struct str event;            /* being read */
    struct keel_error *err;
};

static int fail(struct reading *r, const struct toml_node *at, const char *format, ...)
    K_PRINTF(3, 4);
static int fail(struct reading *r, const struct toml_node *at, const char *format, ...) {
    char why[KEEL_ERROR_MAX / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (r->toml) return toml_fail(r->toml, at, r->err, "%s", why);
    FAIL(r->err, SYNTAX, "%s: %s%.*s%s%s", r->name, r->event.n ? "\"" : "", STR_ARG(r->event),
         r->event.n ? "\": " : "", why);
}

/* ---- JSON as a tree of TOML ---- */

static int from_json(struct reading *r, struct json_value v, struct toml_node *node);

static int members_from_json(struct reading *r, struct json_value v, struct toml_node *node) {
    struct json_each each = json_each(v);
    struct json_value value;
    struct str key;
    struct toml_node *last = NULL;
    while (json_next(&each, &key, &value)) {
        struct toml_node *child = arena_zalloc(r->arena, sizeof *child);
        child->key = str_dup(r->arena, key);
        if (json_type(value) == JSON_NULL) continue;
        TRY(from_json(r, value, child));
        if (last)
            last->next = child;
        else
            node->first = child;
        last = child;
        node->count++;
    }
    return 0;
}

static int from_json(struct reading *r, struct json_value v, struct toml_node *node) {
    switch (json_type(v)) {
    case JSON_OBJECT: node->type = TOML_TABLE; return members_from_json(r, v, node);
    case JSON_ARRAY: node->type = TOML_ARRAY; return members_from_json(r, v, node);
    case JSON_STRING:
        node->type = TOML_STRING;
        json_str(v, &node->text);
        node->text = str_dup(r->arena, node->text);
        return 0;
    case JSON_BOOL:
        node->type = TOML_BOOL;
        json_bool(v, &node->boolean);
        return 0;
    case JSON_NUMBER:
        node->type = json_i64(v, &node->integer) ? TOML_INTEGER : TOML_FLOAT;
        json_f64(v, &node->number);
        return 0;
    case JSON_NULL:
    case JSON_ABSENT: break;
    }
    return fail(r, node, "a value is missing");
}

/* ---- members ---- */

/* Index of the word among names; -1 and an error that lists them. */
static int read_word(struct reading *r, const struct toml_node *node, const char *const *names,
                     int n, int *out) {
    char list[200];
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        if (node->type == TOML_STRING && str_is(node->text, names[i])) {
            *out = i;
            return 0;
        }
        int wrote = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
        used += (size_t)wrote;
        K_ASSERT(used < sizeof list);
    }
    return fail(r, node, "%.*s is one of %s", STR_ARG(node->key), list);
}

static int read_string(struct reading *r, const struct toml_node *node, struct str *out) {
    if (node->type != TOML_STRING)
        return fail(r, node, "%.*s is a text, not %s", STR_ARG(node->key),
                    toml_type_text(node->type));
    *out = str_dup(r->arena, node->text);
    return 0;
}

static int read_bool(struct reading *r, const struct toml_node *node, bool *out) {
    if (node->type != TOML_BOOL) return fail(r, node, "%.*s is true or false", STR_ARG(node->key));
    *out = node->boolean;
    return 0;
}

static int read_bound(struct reading *r, const struct toml_node *node, bool *has, double *out) {
    if ((node->type != TOML_INTEGER && node->type != TOML_FLOAT) || !isfinite(node->number))
        return fail(r, node, "%.*s is a number", STR_ARG(node->key));
    *has = true;
    *out = node->number;
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
        return fail(r, node, "allowed is a list of values");
    if (node->count > PLAN_MAX_ALLOWED)
        return fail(r, node, "allowed has more than %d values", PLAN_MAX_ALLOWED);
    struct plan_value *values = arena_zalloc(r->arena, node->count * sizeof *values);
    for (const struct toml_node *v = node->first; v; v = v->next) {
        struct plan_value *value = &values[p->allowed_count++];
        if (v->type == TOML_STRING) {
            value->text = str_dup(r->arena, v->text);
        } else if ((v->type == TOML_INTEGER || v->type == TOML_FLOAT) && isfinite(v->number)) {
            *value = (struct plan_value){.text = {"", 0}, .is_number = true, .number = v->number};
        } else {
            return fail(r, v, "allowed values are texts and numbers, not %s",
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
    if (p->name.n == 0) return fail(r, at, "a property without a name");
    if (p->name.n > EVENT_MAX_NAME)
        return fail(r, at, "the name of a property is longer than %d bytes", EVENT_MAX_NAME);
    if (p->pattern.n && !text)
        return fail(r, at, "\"%.*s\": a pattern is for texts, not for type %s", STR_ARG(p->name),
                    PLAN_TYPE_NAMES[p->type]);
    if ((p->has_min || p->has_max) && !number)
        return fail(r, at, "\"%.*s\": min and max are for numbers, not for type %s",
                    STR_ARG(p->name), PLAN_TYPE_NAMES[p->type]);
    if (p->has_min && p->has_max && p->min > p->max)
        return fail(r, at, "\"%.*s\": min is greater than max", STR_ARG(p->name));
    for (uint32_t i = 0; i < p->allowed_count; i++)
        if (p->allowed[i].is_number ? !number : !text)
            return fail(r, at, "\"%.*s\": an allowed value is %s, the type is %s", STR_ARG(p->name),
                        p->allowed[i].is_number ? "a number" : "a text", PLAN_TYPE_NAMES[p->type]);
    return 0;
}

static int read_property(struct reading *r, const struct toml_node *node, struct plan_property *p) {
    int type = PLAN_ANY, class = PLAN_UNCLASSED;
    *p = (struct plan_property){.name = str_dup(r->arena, node->key), .pattern = {"", 0}};
    p->description = (struct str){"", 0};
    if (node->type == TOML_STRING) { /* order_id = "string" */
        TRY(read_word(r, node, PLAN_TYPE_NAMES, PLAN_TYPES, &type));
        p->type = (enum plan_type)type;
        return check_property(r, node, p);
    }
    if (node->type != TOML_TABLE)
        return fail(r, node, "the property \"%.*s\" is a table or the name of a type",
                    STR_ARG(node->key));
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "type"))
            TRY(read_word(r, m, PLAN_TYPE_NAMES, PLAN_TYPES, &type));
        else if (str_is(m->key, "class"))
            TRY(read_word(r, m, PLAN_CLASS_NAMES, PLAN_CLASSES, &class));
        else if (str_is(m->key, "required"))
            TRY(read_bool(r, m, &p->required));
        else if (str_is(m->key, "description"))
            TRY(read_string(r, m, &p->description));
        else if (str_is(m->key, "pattern"))
            TRY(read_string(r, m, &p->pattern));
        else if (str_is(m->key, "allowed"))
            TRY(read_allowed(r, m, p));
        else if (str_is(m->key, "min"))
            TRY(read_bound(r, m, &p->has_min, &p->min));
        else if (str_is(m->key, "max"))
            TRY(read_bound(r, m, &p->has_max, &p->max));
        else
            return fail(r, m,
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
    if (node->type != TOML_TABLE) return fail(r, node, "property is a table");
    if (node->count > PLAN_MAX_PROPERTIES)
        return fail(r, node, "more than %d properties", PLAN_MAX_PROPERTIES);
    struct plan_property *properties =
        arena_zalloc(r->arena, ((size_t)node->count + 1) * sizeof *properties);
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
    event->name = r->event = str_dup(r->arena, node->key);
    if (node->type != TOML_TABLE) return fail(r, node, "\"%.*s\" is a table", STR_ARG(node->key));
    if (event->name.n == 0) return fail(r, node, "an event without a name");
    if (event->name.n > EVENT_MAX_NAME)
        return fail(r, node, "the name of an event is longer than %d bytes", EVENT_MAX_NAME);
    for (const struct toml_node *m = node->first; m; m = m->next) {
        if (str_is(m->key, "description"))
            TRY(read_string(r, m, &event->description));
        else if (str_is(m->key, "owner_business"))
            TRY(read_string(r, m, &event->owner_business));
        else if (str_is(m->key, "owner_technical"))
            TRY(read_string(r, m, &event->owner_technical));
        else if (str_is(m->key, "status") && kind == PLAN_EVENT)
            TRY(read_word(r, m, PLAN_STATUS_NAMES, PLAN_STATUSES, &status));
        else if (str_is(m->key, "property"))
            TRY(read_properties(r, m, event));
        else
            return fail(r, m,
                        "\"%.*s\" is nothing that %s has: description, owner_business, "
                        "owner_technical, %sproperty",
                        STR_ARG(m->key), kind == PLAN_EVENT ? "an event" : PLAN_KIND_NAMES[kind],
                        kind == PLAN_EVENT ? "status, " : "");
    }
    event->status = (enum plan_status)status;
    r->event = empty;
    return 0;
}

static int read_policy(struct reading *r, const struct toml_node *node, bool *strict) {
    static const char *const words[] = {"allow", "quarantine"};
    int which = 0;
    TRY(read_word(r, node, words, 2, &which));
    *strict = which == 1;
    return 0;
}

static int read_member(struct reading *r, const struct toml_node *m) {
    if (str_is(m->key, "version")) return 0; /* said by an export; an import makes its own */
    if (str_is(m->key, "unplanned_events")) return read_policy(r, m, &r->form->strict_events);
    if (str_is(m->key, "unplanned_properties"))
        return read_policy(r, m, &r->form->strict_properties);
    if (str_is(m->key, "event")) {
        if (m->type != TOML_TABLE) return fail(r, m, "event is a table of events by name");
        for (const struct toml_node *e = m->first; e; e = e->next)
            TRY(read_event(r, e, PLAN_EVENT));
        return 0;
    }
    for (int kind = PLAN_EVENT + 1; kind < PLAN_KINDS; kind++)
        if (str_is(m->key, PLAN_KIND_NAMES[kind])) return read_event(r, m, (enum plan_kind)kind);
    return fail(r, m,
                "\"%.*s\" is nothing that a plan has: unplanned_events, unplanned_properties, "
                "event, identify, group, page, screen, context",
                STR_ARG(m->key));
}

static int read_plan(struct reading *r, const struct toml_node *root) {
    const struct toml_node *events = toml_get(root, "event");
    uint32_t most = PLAN_KINDS + (events ? events->count : 0);
    if (most > PLAN_MAX_EVENTS + PLAN_KINDS)
        return fail(r, events, "more than %d events", PLAN_MAX_EVENTS);
    if (root->type != TOML_TABLE) return fail(r, root, "a plan is an object");
    r->form->private->events = arena_zalloc(r->arena, most * sizeof(struct plan_event));
    r->form->events = r->form->private->events;
    for (const struct toml_node *m = root->first; m; m = m->next) TRY(read_member(r, m));
    return 0;
}

static int read_json(struct reading *r, struct str text) {
    struct json_parser *parser = json_parser_new((size_t)PLAN_MAX_BYTES * 4);
    struct json_value root;
    struct toml_node *tree = arena_zalloc(r->arena, sizeof *tree);
    int code = json_parse(parser, text, &root, r->err);
    if (code < 0) code = error_context(r->err, code, "%s", r->name);
    if (code == 0) code = from_json(r, root, tree);
    json_parser_free(parser);
    return code < 0 ? code : read_plan(r, tree);
}

int plan_form_read(struct plan_form *form, struct str text, const char *name,
                   struct keel_error *err) {
    struct reading r = {.form = form, .arena = &form->private->arena, .name = name, .err = err};
    struct str trimmed = str_trim(text);
    r.event = (struct str){"", 0};
    if (trimmed.n && trimmed.p[0] == '{') return read_json(&r, text);
    struct toml_doc *toml;
    TRY(toml_parse(text, name, &toml, err));
    r.toml = toml;
    int code = read_plan(&r, toml_root(toml));
    toml_free(toml);
    return code;
}
