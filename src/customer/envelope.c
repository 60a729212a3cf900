/* Implementation of envelope.h. Sorted by name, the members of an object stand together, so nesting
 * needs no tree: a run of fields with the same prefix is printed by a call of its own. */
#include "customer/envelope.h"

#include <stdlib.h>

#include "base/time.h"

enum { NESTED_PARTS = 3 }; /* objects in objects; the fourth part of a name keeps its dots */

void envelope_init(struct envelope *e) {
    *e = (struct envelope){0};
    buf_init(&e->lists, ENVELOPE_MAX_BYTES);
    buf_init(&e->out, ENVELOPE_MAX_BYTES);
}

void envelope_release(struct envelope *e) {
    k_free(e->fields);
    buf_release(&e->lists);
    buf_release(&e->out);
}

const char *envelope_type_text(enum event_type type) {
    static const char *const texts[EVENT_TYPES] = {"track",  "identify", "page",
                                                   "screen", "group",    "alias"};
    return texts[type];
}

/* ---- filling ---- */

void envelope_begin(struct envelope *e, const struct event_head *head) {
    e->head = *head;
    e->message_id = e->rest = (struct str){"", 0};
    e->n = 0;
    buf_clear(&e->lists);
}

struct envelope_field *envelope_add(struct envelope *e, enum field_scope scope, struct str name,
                                    enum value_type type) {
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 64;
        e->fields = k_realloc(e->fields, e->cap * sizeof *e->fields);
    }
    struct envelope_field *f = &e->fields[e->n++];
    *f = (struct envelope_field){.scope = scope, .name = name, .type = type};
    return f;
}

static void add_value(struct buf *b, enum value_type type, double number, struct str text) {
    switch (type) {
    case VALUE_FALSE: (void)!buf_add_text(b, "false"); break;
    case VALUE_TRUE: (void)!buf_add_text(b, "true"); break;
    case VALUE_NUMBER: (void)!buf_add_json_f64(b, number); break;
    case VALUE_STRING: (void)!buf_add_json_str(b, text); break;
    case VALUE_JSON:
    case VALUE_LIST: (void)!buf_add_str(b, text); break;
    }
}

static void add_key(struct buf *b, bool first, struct str name) {
    if (!first) (void)!buf_add_char(b, ',');
    (void)!buf_add_json_str(b, name);
    (void)!buf_add_char(b, ':');
}

void envelope_list_begin(struct envelope *e, struct str name) {
    envelope_add(e, SCOPE_PROPERTY, name, VALUE_LIST)->list_at = e->lists.n;
    (void)!buf_add_char(&e->lists, '[');
}

void envelope_item(struct envelope *e, bool first) {
    (void)!buf_add_text(&e->lists, first ? "{" : "},{");
}

void envelope_item_value(struct envelope *e, bool first, struct str name, enum value_type type,
                         double number, struct str text) {
    add_key(&e->lists, first, name);
    add_value(&e->lists, type, number, text);
}

void envelope_list_end(struct envelope *e) {
    struct envelope_field *f = &e->fields[e->n - 1];
    bool empty = e->lists.n && e->lists.p[e->lists.n - 1] == '[';
    (void)!buf_add_text(&e->lists, empty ? "]" : "}]");
    f->text.n = e->lists.n - f->list_at;
}

/* ---- printing ---- */

static int by_name(const void *a, const void *b) {
    const struct envelope_field *x = a, *y = b;
    if (x->scope != y->scope) return x->scope < y->scope ? -1 : 1;
    return str_cmp(x->name, y->name);
}

void envelope_sort(struct envelope *e) {
    for (size_t i = 0; i < e->n; i++) /* `lists` may have moved while it grew */
        if (e->fields[i].type == VALUE_LIST)
            e->fields[i].text.p = (const char *)e->lists.p + e->fields[i].list_at;
    if (e->n > 1) qsort(e->fields, e->n, sizeof *e->fields, by_name);
}

/* Is there a field of this very name? The fields [from, to) are sorted. */
static bool has_field(const struct envelope_field *from, const struct envelope_field *to,
                      struct str name) {
    size_t low = 0, high = (size_t)(to - from);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (str_cmp(from[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return from + low < to && str_eq(from[low].name, name);
}

/* Objects of the context that the Segment dialect reads in a way of their own. */
static bool stays_flat(const struct envelope *e, const struct envelope_field *f) {
    if (!e->exact || f->scope != SCOPE_CONTEXT) return false;
    if (str_starts(f->name, STR("traits.")))
        return e->head.type == EVENT_IDENTIFY || e->head.type == EVENT_GROUP;
    if (str_starts(f->name, STR("library.")))
        return !str_is(f->name, "library.name") && !str_is(f->name, "library.version");
    return str_starts(f->name, STR("integrations.")) || str_starts(f->name, STR("_metadata."));
}

/* The length of the object's name that begins f's behind `prefix`, with its dot; 0: no object. */
static size_t object_prefix(const struct envelope *e, const struct envelope_field *from,
                            const struct envelope_field *to, const struct envelope_field *f,
                            size_t prefix, int depth) {
    if (depth == NESTED_PARTS || (depth == 0 && stays_flat(e, f))) return 0;
    const char *dot = memchr(f->name.p + prefix, '.', f->name.n - prefix);
    if (!dot) return 0;
    struct str object = {f->name.p, (size_t)(dot - f->name.p)};
    return has_field(from, to, object) ? 0 : object.n + 1;
}

/* Sorted fields [from, to), whose names share their first `prefix` bytes, as the members of an
 * object. */
static void print_members(struct envelope *e, const struct envelope_field *from,
                          const struct envelope_field *to, size_t prefix, int depth) {
    const struct envelope_field *f = from;
    for (bool first = true; f < to; first = false) {
        size_t object = object_prefix(e, from, to, f, prefix, depth);
        struct str key = {f->name.p + prefix, (object ? object - 1 : f->name.n) - prefix};
        add_key(&e->out, first, key);
        if (!object) {
            add_value(&e->out, f->type, f->number, f->text);
            f++;
            continue;
        }
        const struct envelope_field *end = f + 1;
        struct str shared = {f->name.p, object};
        while (end < to && str_starts(end->name, shared) && !stays_flat(e, end)) end++;
        (void)!buf_add_char(&e->out, '{');
        print_members(e, f, end, object, depth + 1);
        (void)!buf_add_char(&e->out, '}');
        f = end;
    }
}

static void add_member(struct envelope *e, const char *name, struct str value) {
    if (!value.n) return;
    (void)buf_printf(&e->out, ",\"%s\":", name);
    (void)!buf_add_json_str(&e->out, value);
}

static void print_head(struct envelope *e) {
    char time[TIME_TEXT_MAX];
    const struct event_head *h = &e->head;
    (void)buf_printf(&e->out, "{\"type\":\"%s\"", envelope_type_text(h->type));
    add_member(e, "messageId", e->message_id);
    add_member(e, "timestamp", (struct str){time, time_format(NULL, h->time_ms, time)});
    add_member(e, "userId", h->user_id);
    add_member(e, "anonymousId", h->anonymous_id);
    add_member(e, h->type == EVENT_TRACK ? "event" : "name", h->name);
    add_member(e, h->type == EVENT_GROUP ? "groupId" : "previousId", h->related_id);
}

int envelope_text(struct envelope *e, struct str *out, struct keel_error *err) {
    bool traits = e->head.type == EVENT_IDENTIFY || e->head.type == EVENT_GROUP;
    envelope_sort(e);
    size_t split = 0;
    while (split < e->n && e->fields[split].scope == SCOPE_PROPERTY) split++;
    buf_clear(&e->out);
    print_head(e);
    if (split || e->rest.n) {
        (void)!buf_add_text(&e->out, traits ? ",\"traits\":{" : ",\"properties\":{");
        print_members(e, e->fields, e->fields + split, 0, 0);
        if (split && e->rest.n) (void)!buf_add_char(&e->out, ',');
        (void)!buf_add_str(&e->out, e->rest);
        (void)!buf_add_char(&e->out, '}');
    }
    if (split < e->n) {
        (void)!buf_add_text(&e->out, ",\"context\":{");
        print_members(e, e->fields + split, e->fields + e->n, 0, 0);
        (void)!buf_add_char(&e->out, '}');
    }
    (void)!buf_add_char(&e->out, '}');
    if (e->out.failed || e->lists.failed)
        FAIL(err, LIMIT, "an event is larger than %d bytes as JSON", ENVELOPE_MAX_BYTES);
    *out = buf_str(&e->out);
    return 0;
}

/* ---- from a batch ---- */

static void add_items(struct envelope *e, const struct batch_reader *batch, struct event_view *view,
                      const struct field_view *list) {
    struct field_view f;
    envelope_list_begin(e, batch->names[list->name]);
    for (uint32_t i = 0; i < list->items; i++) {
        bool first = true;
        item_next(view);
        envelope_item(e, i == 0);
        for (; item_field(batch, view, &f); first = false)
            envelope_item_value(e, first, batch->names[f.name], f.type, f.number, f.text);
    }
    envelope_list_end(e);
}

int envelope_of_event(struct envelope *e, const struct batch_reader *batch,
                      const struct event_view *view, struct keel_error *err) {
    struct event_view walk = *view;
    struct field_view f;
    envelope_begin(e, &view->head);
    while (field_next(batch, &walk, &f)) {
        if (f.type == VALUE_LIST) {
            add_items(e, batch, &walk, &f);
            continue;
        }
        struct envelope_field *to = envelope_add(e, f.scope, batch->names[f.name], f.type);
        to->number = f.number;
        to->text = f.text;
    }
    return walk.r.bad ? error_set(err, KEEL_E_CORRUPT, "a damaged event in a batch") : 0;
}
