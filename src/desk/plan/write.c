/* The tracking plan as text: the canonical JSON form, and TOML for people. Both read back equal.
 *
 * Layers: base. Threads: pure. Limits: those of the buffer.
 */
#include "desk/plan/plan_int.h"

/* ---- JSON ---- */

static void json_member(struct buf *b, const char *name, struct str text, bool *first) {
    if (text.n == 0) return;
    (void)!buf_printf(b, "%s\"%s\":", *first ? "" : ",", name);
    (void)!buf_add_json_str(b, text);
    *first = false;
}

static void json_value(struct buf *b, const struct plan_value *v) {
    if (v->is_number)
        (void)!buf_add_json_f64(b, v->number);
    else
        (void)!buf_add_json_str(b, v->text);
}

static void json_property(struct buf *b, const struct plan_property *p) {
    bool first = false;
    (void)!buf_add_json_str(b, p->name);
    (void)!buf_printf(b, ":{\"type\":\"%s\"", PLAN_TYPE_NAMES[p->type]);
    if (p->class != PLAN_UNCLASSED)
        (void)!buf_printf(b, ",\"class\":\"%s\"", PLAN_CLASS_NAMES[p->class]);
    if (p->required) (void)!buf_add_text(b, ",\"required\":true");
    json_member(b, "description", p->description, &first);
    for (uint32_t i = 0; i < p->allowed_count; i++) {
        (void)!buf_add_text(b, i ? "," : ",\"allowed\":[");
        json_value(b, &p->allowed[i]);
    }
    if (p->allowed_count) (void)!buf_add_char(b, ']');
    json_member(b, "pattern", p->pattern, &first);
    if (p->has_min) {
        (void)!buf_add_text(b, ",\"min\":");
        (void)!buf_add_json_f64(b, p->min);
    }
    if (p->has_max) {
        (void)!buf_add_text(b, ",\"max\":");
        (void)!buf_add_json_f64(b, p->max);
    }
    (void)!buf_add_char(b, '}');
}

static void json_event(struct buf *b, const struct plan_event *e) {
    bool first = true;
    (void)!buf_add_json_str(b, e->name);
    (void)!buf_add_text(b, ":{");
    json_member(b, "description", e->description, &first);
    json_member(b, "owner_business", e->owner_business, &first);
    json_member(b, "owner_technical", e->owner_technical, &first);
    if (e->kind == PLAN_EVENT)
        json_member(b, "status", str_from(PLAN_STATUS_NAMES[e->status]), &first);
    (void)!buf_add_text(b, first ? "\"property\":{" : ",\"property\":{");
    for (uint32_t i = 0; i < e->property_count; i++) {
        if (i) (void)!buf_add_char(b, ',');
        json_property(b, &e->properties[i]);
    }
    (void)!buf_add_text(b, "}}");
}

static const char *policy(bool strict) { return strict ? "quarantine" : "allow"; }

int plan_write_json(const struct plan_form *form, struct buf *out) {
    bool first = true;
    (void)!buf_printf(out, "{\"unplanned_events\":\"%s\",\"unplanned_properties\":\"%s\"",
                      policy(form->strict_events), policy(form->strict_properties));
    (void)!buf_add_text(out, ",\"event\":{");
    for (uint32_t i = 0; i < form->event_count; i++) {
        if (form->events[i].kind != PLAN_EVENT) continue;
        if (!first) (void)!buf_add_char(out, ',');
        json_event(out, &form->events[i]);
        first = false;
    }
    (void)!buf_add_char(out, '}');
    for (uint32_t i = 0; i < form->event_count; i++) {
        if (form->events[i].kind == PLAN_EVENT) continue;
        (void)!buf_add_char(out, ',');
        json_event(out, &form->events[i]);
    }
    (void)!buf_add_char(out, '}');
    return out->failed;
}

/* ---- TOML: its basic strings are JSON's, as long as nothing but \u escapes a control ---- */

static void toml_member(struct buf *b, const char *name, struct str text) {
    if (text.n == 0) return;
    (void)!buf_printf(b, "%s = ", name);
    (void)!buf_add_json_str(b, text);
    (void)!buf_add_char(b, '\n');
}

static bool is_bare(struct str key) {
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '_' && c != '-')
            return false;
    }
    return key.n > 0;
}

static void toml_key(struct buf *b, struct str key) {
    if (is_bare(key))
        (void)!buf_add_str(b, key);
    else
        (void)!buf_add_json_str(b, key);
}

static void toml_property(struct buf *b, const struct plan_property *p) {
    toml_key(b, p->name);
    (void)!buf_printf(b, " = { type = \"%s\"", PLAN_TYPE_NAMES[p->type]);
    if (p->class != PLAN_UNCLASSED)
        (void)!buf_printf(b, ", class = \"%s\"", PLAN_CLASS_NAMES[p->class]);
    if (p->required) (void)!buf_add_text(b, ", required = true");
    if (p->has_min) {
        (void)!buf_add_text(b, ", min = ");
        (void)!buf_add_json_f64(b, p->min);
    }
    if (p->has_max) {
        (void)!buf_add_text(b, ", max = ");
        (void)!buf_add_json_f64(b, p->max);
    }
    for (uint32_t i = 0; i < p->allowed_count; i++) {
        (void)!buf_add_text(b, i ? ", " : ", allowed = [");
        json_value(b, &p->allowed[i]);
    }
    if (p->allowed_count) (void)!buf_add_char(b, ']');
    if (p->pattern.n) {
        (void)!buf_add_text(b, ", pattern = ");
        (void)!buf_add_json_str(b, p->pattern);
    }
    if (p->description.n) {
        (void)!buf_add_text(b, ", description = ");
        (void)!buf_add_json_str(b, p->description);
    }
    (void)!buf_add_text(b, " }\n");
}

static void toml_title(struct buf *b, const struct plan_event *e, const char *behind) {
    (void)!buf_add_text(b, e->kind == PLAN_EVENT ? "\n[event." : "\n[");
    toml_key(b, e->name);
    (void)!buf_printf(b, "%s]\n", behind);
}

int plan_write_toml(const struct plan_form *form, struct buf *out) {
    if (form->version) (void)!buf_printf(out, "# version %lld\n", (long long)form->version);
    (void)!buf_printf(out, "unplanned_events = \"%s\"\nunplanned_properties = \"%s\"\n",
                      policy(form->strict_events), policy(form->strict_properties));
    for (uint32_t i = 0; i < form->event_count; i++) {
        const struct plan_event *e = &form->events[i];
        toml_title(out, e, "");
        toml_member(out, "description", e->description);
        toml_member(out, "owner_business", e->owner_business);
        toml_member(out, "owner_technical", e->owner_technical);
        if (e->kind == PLAN_EVENT)
            toml_member(out, "status", str_from(PLAN_STATUS_NAMES[e->status]));
        if (e->property_count == 0) continue;
        toml_title(out, e, ".property");
        for (uint32_t k = 0; k < e->property_count; k++) toml_property(out, &e->properties[k]);
    }
    return out->failed;
}
