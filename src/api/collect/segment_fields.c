/* The fields of an event in the Segment dialect: flattening, lists, context, names of the first
 * e-commerce spec. What becomes what: segment.h.
 *
 * Layers: json_cursor.h, store/event.h. Threads: none of its own. Limits: MAX_PARTS of a name.
 */
#include "api/collect/segment_int.h"

enum {
    MAX_PARTS = 4,    /* "a.b.c.d"; what is nested deeper stays JSON                     */
    NAME_SPACE = 256, /* longer names are cut to this, which the writer then refuses      */
};
_Static_assert((int)NAME_SPACE > (int)EVENT_MAX_NAME, "a cut name must still be too long");

struct fields {
    struct json_cursor *c;
    struct batch_writer *w;
    enum field_scope scope;
    enum segment_spec1 spec1;
    char *name;    /* NAME_SPACE bytes for names of several parts           */
    size_t prefix; /* bytes of `name` that stand before a key, with the dot */
};

static void write_value(struct fields *f, struct str name, int part);

/* ---- names of the first spec ---- */

enum segment_spec1 segment_rename(struct str *name) {
    static const struct {
        struct str from, to;
        enum segment_spec1 spec1;
    } names[] = {
#define RENAME(from, to, what) {{from, sizeof from - 1}, {to, sizeof to - 1}, what}
        RENAME("Viewed Product", "Product Viewed", SPEC1_PRODUCT),
        RENAME("Clicked Product", "Product Clicked", SPEC1_PRODUCT),
        RENAME("Added Product", "Product Added", SPEC1_PRODUCT),
        RENAME("Removed Product", "Product Removed", SPEC1_PRODUCT),
        RENAME("Viewed Product Category", "Product List Viewed", SPEC1_YES),
        RENAME("Searched Products", "Products Searched", SPEC1_YES),
        RENAME("Viewed Promotion", "Promotion Viewed", SPEC1_YES),
        RENAME("Clicked Promotion", "Promotion Clicked", SPEC1_YES),
        RENAME("Viewed Checkout Step", "Checkout Step Viewed", SPEC1_YES),
        RENAME("Completed Checkout Step", "Checkout Step Completed", SPEC1_YES),
        RENAME("Completed Order", "Order Completed", SPEC1_YES),
#undef RENAME
    };
    if (name->n == 0 || !memchr("VCARS", name->p[0], 5)) return SPEC1_NO;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!str_eq(*name, names[i].from)) continue;
        *name = names[i].to;
        return names[i].spec1;
    }
    return SPEC1_NO;
}

static struct str rename_key(struct str key, bool of_product) {
    if (of_product && str_eq(key, STR("id"))) return STR("product_id");
    return str_eq(key, STR("orderId")) ? STR("order_id") : key;
}

/* ---- values ---- */

static void skip_null(struct json_cursor *c) { (void)cursor_literal(c, "null"); }

static void write_number(struct fields *f, struct str name) {
    double number;
    struct str text = {"", 0};
    int kind = cursor_number(f->c, &number, &text);
    if (kind == 1) event_number(f->w, f->scope, name, number);
    if (kind == 2) event_string(f->w, f->scope, name, text);
}

static void write_json(struct fields *f, struct str name) {
    struct str text;
    if (cursor_raw(f->c, &text) == 0) event_json(f->w, f->scope, name, text);
}

/* The full name of a key: behind the prefix in f->name, or the key itself where there is none. */
static inline struct str full_name(struct fields *f, struct str key) {
    if (f->prefix == 0) return key;
    size_t n = key.n < NAME_SPACE - f->prefix ? key.n : NAME_SPACE - f->prefix;
    memcpy(f->name + f->prefix, key.p, n);
    return (struct str){f->name, f->prefix + n};
}

/* Behind a member: the members that follow as long as they are strings without escapes and stand
 * as programs write them, "key":"value", which most do. Each test lets only a token of the text
 * pass, so the next one may be looked at. */
static void write_strings(struct fields *f) {
    const char *const text = f->c->text;
    const uint32_t *at = f->c->at;
    for (; text[at[0]] == ',' && text[at[1]] == '"' && text[at[2]] == ':' && text[at[3]] == '"';
         at += 4) {
        const char *key = text + at[1] + 1, *key_end = text + at[2] - 1;
        const char *value = text + at[3] + 1, *value_end = text + at[4] - 1;
        if (key_end < key || *key_end != '"' || value_end < value || *value_end != '"') break;
        const struct str name = full_name(f, (struct str){key, (size_t)(key_end - key)});
        event_string(f->w, f->scope, name, (struct str){value, (size_t)(value_end - value)});
    }
    f->c->at = at;
}

static void write_members(struct fields *f, int part) {
    struct json_cursor *c = f->c;
    struct str key = {"", 0};
    const bool renamed = f->spec1 && part == 1;
    for (bool first = true; cursor_member(c, &first, &key) > 0;) {
        if (renamed) key = rename_key(key, f->spec1 == SPEC1_PRODUCT);
        struct str name = full_name(f, key);
        if (cursor_peek(c) == '"') { /* most are: without the call */
            event_string(f->w, f->scope, name, cursor_string_at(c, c->at));
            c->at++;
        } else {
            write_value(f, name, part);
        }
        if (!renamed && !c->escapes && !c->error) write_strings(f);
    }
}

/* Members of an object that has a name: they continue it. */
static void write_object(struct fields *f, struct str name, int part) {
    size_t prefix = f->prefix;
    size_t n = name.n < NAME_SPACE - 1 ? name.n : NAME_SPACE - 1;
    memmove(f->name, name.p, n); /* name may stand there already */
    f->name[n] = '.';
    f->prefix = n + 1;
    write_members(f, part + 1);
    f->prefix = prefix;
}

static void write_item_value(struct fields *f, struct str name) {
    struct json_cursor *c = f->c;
    double number;
    struct str text = {"", 0};
    int kind;
    switch (cursor_peek(c)) {
    case '"':
        event_item_string(f->w, name, cursor_string_at(c, c->at));
        c->at++;
        break;
    case '{':
    case '[':
        if (cursor_raw(c, &text) == 0) event_item_json(f->w, name, text);
        break;
    case 't':
        if (cursor_literal(c, "true") == 0) event_item_bool(f->w, name, true);
        break;
    case 'f':
        if (cursor_literal(c, "false") == 0) event_item_bool(f->w, name, false);
        break;
    case 'n': skip_null(c); break;
    default:
        kind = cursor_number(c, &number, &text);
        if (kind == 1) event_item_number(f->w, name, number);
        if (kind == 2) event_item_string(f->w, name, text);
    }
}

static void write_items(struct fields *f, struct str name) {
    struct json_cursor *c = f->c;
    struct str key = {"", 0};
    event_list_begin(f->w, name);
    for (bool first = true; cursor_element(c, &first) > 0;) {
        event_item_begin(f->w);
        for (bool start = true; cursor_member(c, &start, &key) > 0;) {
            if (f->spec1) key = rename_key(key, true);
            write_item_value(f, key);
        }
        event_item_end(f->w);
        if (c->error) break;
    }
    event_list_end(f->w);
}

/* Are all elements objects? The cursor stays where it is. */
static bool all_objects(const struct json_cursor *c) {
    struct json_cursor look = *c;
    bool objects = true;
    for (bool first = true; objects && cursor_element(&look, &first) > 0;) {
        objects = cursor_peek(&look) == '{';
        if (objects) cursor_skip(&look);
    }
    return objects;
}

static void write_value(struct fields *f, struct str name, int part) {
    struct json_cursor *c = f->c;
    switch (cursor_peek(c)) {
    case '"':
        event_string(f->w, f->scope, name, cursor_string_at(c, c->at));
        c->at++;
        break;
    case '{':
        if (part < MAX_PARTS)
            write_object(f, name, part);
        else
            write_json(f, name);
        break;
    case '[':
        if (f->scope == SCOPE_PROPERTY && all_objects(c))
            write_items(f, name);
        else
            write_json(f, name);
        break;
    case 't':
        if (cursor_literal(c, "true") == 0) event_bool(f->w, f->scope, name, true);
        break;
    case 'f':
        if (cursor_literal(c, "false") == 0) event_bool(f->w, f->scope, name, false);
        break;
    case 'n': skip_null(c); break;
    default: write_number(f, name);
    }
}

/* ---- the parts of an event ---- */

/* Of the library that sent the event: who it is. */
static void write_library(struct fields *f) {
    struct str key = {"", 0};
    if (cursor_peek(f->c) != '{') {
        write_value(f, STR("library"), 1);
        return;
    }
    for (bool first = true; cursor_member(f->c, &first, &key) > 0;) {
        if (str_eq(key, STR("name")))
            write_value(f, STR("library.name"), 2);
        else if (str_eq(key, STR("version")))
            write_value(f, STR("library.version"), 2);
        else
            cursor_check(f->c);
        if (f->c->error) return;
    }
}

/* identify: SDKs repeat the traits in the context, byte for byte. */
static bool repeats_traits(const struct segment_event *e, const uint32_t *start) {
    struct json_cursor a = *e->c, b = *e->c;
    if ((e->type != EVENT_IDENTIFY && e->type != EVENT_GROUP) || !e->object->at[KEY_TRAITS])
        return false;
    a.at = start;
    b.at = e->object->at[KEY_TRAITS];
    const uint32_t *traits = b.at;
    cursor_skip(&a);
    cursor_skip(&b);
    if (a.error || b.error || a.at - start < 2 || b.at - traits < 2) return false;
    struct str left = {a.text + *start, a.at[-1] - *start};
    struct str right = {b.text + *traits, b.at[-1] - *traits};
    return str_eq(left, right);
}

/* The members of the context that a request adds to where they are missing, or whose value is the
 * policy's. False: the member is an ordinary one. */
static bool write_client_member(struct fields *f, struct segment_event *e, struct str key) {
    struct json_cursor *c = f->c;
    char out[CLIENT_ADDRESS_BYTES];
    if (key.n == 6 && str_eq(key, STR("direct"))) {
        e->direct |= cursor_peek(c) == 't';
        return false;
    }
    if (cursor_peek(c) != '"') return false;
    if (key.n == 9 && str_eq(key, STR("userAgent"))) {
        if (!e->has_user_agent) e->user_agent = cursor_string_at(c, c->at);
        e->has_user_agent = true;
        return false;
    }
    if (key.n != 2 || !str_eq(key, STR("ip"))) return false;
    e->has_address = true;
    struct str kept = client_address(e->client->ip, cursor_string_at(c, c->at), out);
    if (kept.n) event_string(f->w, f->scope, key, kept);
    c->at++;
    return true;
}

static void write_context(struct fields *f, struct segment_event *e, const uint32_t *start) {
    struct str key = {"", 0};
    f->c->at = start;
    if (cursor_peek(f->c) != '{') {
        write_value(f, STR("context"), 1);
        return;
    }
    for (bool first = true; cursor_member(f->c, &first, &key) > 0;) {
        if (str_eq(key, STR("library")))
            write_library(f);
        else if (str_eq(key, STR("integrations")) || str_eq(key, STR("_metadata")) ||
                 (str_eq(key, STR("traits")) && repeats_traits(e, f->c->at)))
            cursor_check(f->c);
        else if (!e->client || !write_client_member(f, e, key))
            write_value(f, key, 1);
        if (f->c->error) return;
    }
}

/* The same context comes with many events: its text stands for its fields. It may not where the
 * fields depend on more than the text, or where reading it has to be noted. */
static void share_context(struct fields *f, struct segment_event *e) {
    const uint32_t *start = e->object->at[KEY_CONTEXT], *end = e->object->context_end;
    if (e->object->shared_context) {
        event_context_share(f->w, e->object->shared_context);
        return;
    }
    struct str text = {f->c->text + *start, end[-1] + 1 - *start};
    bool repaired = f->c->repaired;
    if (event_context_known(f->w, text)) return;
    event_context_begin(f->w);
    f->c->repaired = false;
    write_context(f, e, start);
    if (!f->c->repaired && !f->c->error) event_context_end(f->w, text, (uint32_t)(end - start));
    f->c->repaired |= repaired;
}

void segment_write_client(struct segment_event *e) {
    const struct client *client = e->client;
    char out[CLIENT_ADDRESS_BYTES];
    if (!e->has_user_agent && client->own && client->user_agent.n) {
        e->user_agent = client->user_agent;
        event_string(e->w, SCOPE_CONTEXT, STR("userAgent"), e->user_agent);
    }
    if (e->user_agent.n && client_is_bot(e->user_agent))
        event_bool(e->w, SCOPE_CONTEXT, STR("bot"), true);
    if (e->has_address || !(client->own || e->direct)) return;
    struct str kept = client_address(client->ip, client->address, out);
    if (kept.n) event_string(e->w, SCOPE_CONTEXT, STR("ip"), kept);
}

/* A top-level value that is no part of its kind of event, or that nobody knows. */
static bool is_other(enum event_type type, enum segment_key key) {
    switch (key) {
    case KEY_EVENT: return type != EVENT_TRACK;
    case KEY_NAME: return type != EVENT_PAGE && type != EVENT_SCREEN;
    case KEY_GROUP: return type != EVENT_GROUP;
    case KEY_PREVIOUS: return type != EVENT_ALIAS;
    case KEY_BATCH:
    case KEY_MERGE:
    case KEY_UNKNOWN: return true;
    default: return false;
    }
}

static bool has_others(const struct segment_event *e) {
    static const enum segment_key keys[] = {KEY_UNKNOWN,  KEY_EVENT, KEY_NAME, KEY_GROUP,
                                            KEY_PREVIOUS, KEY_BATCH, KEY_MERGE};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (e->object->at[keys[i]] && is_other(e->type, keys[i])) return true;
    return false;
}

static void write_others(struct fields *f, const struct segment_event *e) {
    struct str key = {"", 0};
    f->c->at = e->object->start;
    for (bool first = true; cursor_member(f->c, &first, &key) > 0;) {
        if (is_other(e->type, segment_key_of(key)))
            write_value(f, key, 1);
        else
            cursor_skip(f->c);
        if (f->c->error) return;
    }
}

/* properties or traits: at the top of SCOPE_PROPERTY where they belong to the type, else in the
 * context under their own name. */
static void write_part(struct fields *f, const uint32_t *start, struct str name, bool belongs) {
    f->c->at = start;
    f->scope = belongs ? SCOPE_PROPERTY : SCOPE_CONTEXT;
    if (belongs && cursor_peek(f->c) == '{')
        write_members(f, 1);
    else
        write_value(f, name, 1);
}

/* Does nothing but the context write fields of its scope, and do they depend on its text alone? */
static bool may_share_context(const struct segment_event *e, bool others) {
    const uint32_t *const *at = e->object->at;
    bool traits = e->type == EVENT_IDENTIFY || e->type == EVENT_GROUP;
    return !e->client && e->has_message && !traits && !at[KEY_TRAITS] && !e->batch_context &&
           !at[KEY_CHANNEL] && !others && e->c->text[*at[KEY_CONTEXT]] == '{';
}

void segment_write_fields(struct segment_event *e) {
    const uint32_t *const *at = e->object->at;
    char name[NAME_SPACE];
    struct fields f = {.c = e->c, .w = e->w, .spec1 = e->spec1, .name = name};
    bool traits = e->type == EVENT_IDENTIFY || e->type == EVENT_GROUP;
    if (at[KEY_PROPERTIES]) write_part(&f, at[KEY_PROPERTIES], STR("properties"), !traits);
    f.spec1 = SPEC1_NO;
    if (at[KEY_TRAITS] && !e->c->error) write_part(&f, at[KEY_TRAITS], STR("traits"), traits);
    f.scope = SCOPE_CONTEXT;
    const bool others = has_others(e);
    if (at[KEY_CONTEXT] && !e->c->error) {
        if (may_share_context(e, others))
            share_context(&f, e);
        else
            write_context(&f, e, at[KEY_CONTEXT]);
    }
    if (e->batch_context && !e->c->error) write_context(&f, e, e->batch_context);
    if (at[KEY_CHANNEL] && !e->c->error) {
        e->c->at = at[KEY_CHANNEL];
        write_value(&f, STR("channel"), 1);
    }
    if (others && !e->c->error) write_others(&f, e);
}
