/* Implementation of mask.h: a forgiving walk over characters. It cannot be the strict walk of
 * json_cursor.h, because what is shown may be cut, or no JSON at all.
 *
 * Layers: desk/plan/personal.h. Threads: pure. */
#include "api/collect/mask.h"

#include "desk/plan/personal.h"

enum { IN_VALUE = 3 }; /* depth within a property: above it stand the event and its members */

struct walk {
    const char *p, *end;
    struct mask_event plan;
    struct buf *out;
    bool cut;
};

enum region { REGION_TOP, REGION_PROPERTIES, REGION_TRAITS, REGION_CONTEXT };

/* Where a value stands: whose property it is, and under which name. */
struct place {
    const struct plan_event *of; /* NULL: not planned */
    enum region region;
    struct str name; /* with dots; "" at the top */
};

static void space(struct walk *w) {
    while (w->p < w->end && (*w->p == ' ' || *w->p == '\n' || *w->p == '\t' || *w->p == '\r'))
        w->p++;
}

/* Takes c, if it is next. */
static bool take(struct walk *w, char c) {
    space(w);
    if (w->p == w->end || *w->p != c) return false;
    w->p++;
    return true;
}

/* A string, without its quotes; false: none, or not whole. */
static bool take_string(struct walk *w, struct str *out) {
    if (!take(w, '"')) return false;
    const char *start = w->p;
    while (w->p < w->end && *w->p != '"') w->p += *w->p == '\\' && w->end - w->p > 1 ? 2 : 1;
    if (w->p >= w->end) {
        w->p = w->end;
        w->cut = true;
        return false;
    }
    *out = (struct str){start, (size_t)(w->p++ - start)};
    return true;
}

static void put(struct walk *w, const char *text) {
    if (w->out) (void)!buf_add_text(w->out, text);
}

/* The code of \uXXXX at p; -1: there is none. */
static int code_at(const char *p, size_t left) {
    int code = 0;
    if (left < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        char c = p[i], small = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9'           ? c - '0'
                    : small >= 'a' && small <= 'f' ? small - 'a' + 10
                                                   : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* Bytes of the character or escape at p; 0: a backslash that begins none. Half of a surrogate pair
 * is none. */
static size_t unit_at(const char *p, size_t left) {
    unsigned char c = (unsigned char)*p;
    if (c != '\\') return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (left >= 2 && memchr("\"\\/bfnrt", p[1], 8)) return 2;
    int code = code_at(p, left);
    if (code < 0xd800 || code > 0xdfff) return code < 0 ? 0 : 6;
    int second = code < 0xdc00 ? code_at(p + 6, left - 6) : -1;
    return second >= 0xdc00 && second <= 0xdfff ? 12 : 0;
}

/* A raw string, as it stood between quotes; what is no JSON within it does not pass. */
static void put_string(struct walk *w, struct str raw) {
    if (!w->out) return;
    if (!str_is_utf8(raw)) {
        put(w, "\"‹not UTF-8›\"");
        return;
    }
    size_t at = 0;
    (void)!buf_add_char(w->out, '"');
    while (at < raw.n && at < MASK_TEXT_BYTES) {
        size_t unit = unit_at(raw.p + at, raw.n - at);
        if (unit == 0)
            (void)!buf_add_text(w->out, "\\\\");
        else if ((unsigned char)raw.p[at] < 0x20)
            (void)!buf_add_char(w->out, ' ');
        else
            (void)!buf_add(w->out, raw.p + at, unit);
        at += unit ? unit : 1;
    }
    (void)!buf_add_text(w->out, at < raw.n ? "…\"" : "\"");
}

/* What stands at p, as far as its looks matter: any character beyond ASCII is one byte of one. */
static char plain_char(const char *p, size_t unit) {
    static const char escapes[] = "bfnrt", meant[] = "\b\f\n\r\t";
    if (unit == 2 && *p == '\\') {
        const char *escape = memchr(escapes, p[1], sizeof escapes - 1);
        return escape ? meant[escape - escapes] : p[1];
    }
    if (unit < 6) return (unsigned char)*p < 0x20 ? ' ' : *p;
    int code = code_at(p, unit);
    return code < 0x80 ? (char)code : '\x80';
}

enum { PLAIN_BYTES = MASK_TEXT_BYTES * 2 };

/* A raw string as it looks when its escapes are read: \u0040 is an @, \u00e9 a letter. An address
 * that begins in what is shown is seen whole. */
static struct str plain(struct str raw, char room[PLAIN_BYTES]) {
    size_t n = 0;
    for (size_t at = 0; at < raw.n && n < PLAIN_BYTES;) {
        size_t unit = unit_at(raw.p + at, raw.n - at);
        room[n++] = plain_char(raw.p + at, unit);
        at += unit ? unit : 1;
    }
    return (struct str){room, n};
}

static enum personal_kind shape_of(struct str raw) {
    char room[PLAIN_BYTES];
    return personal_by_shape(plain(raw, room));
}

/* The same of a key. What is stored comes back with an object for each dot of a name: of an address
 * as {"ann@shop":{"example":…}}. */
static enum personal_kind shape_of_key(struct str raw) {
    char room[PLAIN_BYTES + sizeof ".example"];
    struct str key = plain(raw, room);
    enum personal_kind kind = personal_by_shape(key);
    if (kind != PERSONAL_NOT || !memchr(key.p, '@', key.n)) return kind;
    memcpy(room + key.n, ".example", sizeof ".example" - 1);
    return personal_by_shape((struct str){room, key.n + sizeof ".example" - 1});
}

/* ---- what is masked ---- */

static const char *const SIGNS[] = {
    [PERSONAL_NOT] = NULL,
    [PERSONAL_EMAIL] = "\"‹e-mail›\"",
    [PERSONAL_PHONE] = "\"‹phone›\"",
    [PERSONAL_NAME] = "\"‹personal›\"",
    [PERSONAL_SECRET] = "\"‹sensitive›\"",
};

/* The class of a name, or of the nearest of its front parts that has one: what is within a
 * personal object is personal. */
static enum plan_class class_of(const struct place *at) {
    struct str name = at->name;
    while (at->of && name.n) {
        const struct plan_property *p = plan_property(at->of, name);
        if (p && p->class != PLAN_UNCLASSED) return p->class;
        while (name.n && name.p[--name.n] != '.') continue;
    }
    return PLAN_UNCLASSED;
}

/* What stands in place of the value at `at`, or NULL. */
static const char *sign_of(const struct place *at, enum plan_class class) {
    if (class == PLAN_PERSONAL) return SIGNS[PERSONAL_NAME];
    if (class == PLAN_SENSITIVE) return SIGNS[PERSONAL_SECRET];
    if (class != PLAN_UNCLASSED) return NULL;
    return SIGNS[personal_by_name(at->name, at->region == REGION_TRAITS)];
}

/* ---- values ---- */

static void value(struct walk *w, const struct place *at, unsigned depth);

/* The place of a member. `name` is scratch for its full name. */
static struct place place_of(const struct walk *w, const struct place *at, struct str key,
                             unsigned depth, char *name) {
    struct place inner = *at;
    if (depth == 1) {
        bool traits = str_is(key, "traits"), context = str_is(key, "context");
        bool properties = str_is(key, "properties");
        inner.of = traits || properties ? w->plan.event : context ? w->plan.context : NULL;
        inner.region = traits       ? REGION_TRAITS
                       : context    ? REGION_CONTEXT
                       : properties ? REGION_PROPERTIES
                                    : REGION_TOP;
        if (inner.region != REGION_TOP) return inner;
    }
    if (depth == 2 && at->region == REGION_CONTEXT && str_is(key, "traits")) {
        inner.of = w->plan.identify;
        inner.region = REGION_TRAITS;
        return inner;
    }
    size_t n = at->name.n;
    if (n + 1 + key.n > EVENT_MAX_NAME) return inner; /* longer than any property */
    memmove(name, at->name.p, n);
    if (n) name[n++] = '.';
    memcpy(name + n, key.p, key.n);
    inner.name = (struct str){name, n + key.n};
    return inner;
}

/* A key that is an address or a phone number is masked as a text is; of several in an object the
 * second has a 2 behind the sign, so that none takes another's place. */
static void put_key(struct walk *w, const struct place *at, struct str key, unsigned *hidden) {
    const char *sign = class_of(at) == PLAN_PUBLIC ? NULL : SIGNS[shape_of_key(key)];
    if (!sign) {
        put_string(w, key);
    } else if (++*hidden == 1) {
        put(w, sign);
    } else if (w->out) {
        (void)!buf_add(w->out, sign, strlen(sign) - 1);
        (void)!buf_printf(w->out, " %u\"", *hidden);
    }
}

static void object(struct walk *w, const struct place *at, unsigned depth) {
    char name[EVENT_MAX_NAME + 1];
    struct str key;
    unsigned hidden = 0;
    bool first = true;
    w->p++;
    put(w, "{");
    while (!take(w, '}') && w->p < w->end) {
        if (!first && !take(w, ',')) break;
        if (!take_string(w, &key) || !take(w, ':')) break;
        if (!first) put(w, ",");
        first = false;
        struct place inner = place_of(w, at, key, depth, name);
        put_key(w, &inner, key, &hidden);
        put(w, ":");
        value(w, &inner, depth + 1);
    }
    if (w->p == w->end && w->p[-1] != '}') w->cut = true;
    put(w, "}");
}

static void array(struct walk *w, const struct place *at, unsigned depth) {
    bool first = true;
    w->p++;
    put(w, "[");
    while (!take(w, ']') && w->p < w->end) {
        const char *before = w->p;
        if (!first && !take(w, ',')) break;
        if (!first) put(w, ",");
        first = false;
        value(w, at, depth + 1);
        if (w->p == before) break;
    }
    if (w->p == w->end && w->p[-1] != ']') w->cut = true;
    put(w, "]");
}

static void scalar(struct walk *w) {
    const char *start = w->p;
    while (w->p < w->end && ((*w->p >= '0' && *w->p <= '9') || (*w->p >= 'a' && *w->p <= 'z') ||
                             *w->p == '-' || *w->p == '+' || *w->p == '.' || *w->p == 'E'))
        w->p++;
    struct str text = {start, (size_t)(w->p - start)};
    double number;
    bool whole = w->p < w->end; /* else digits may be missing */
    bool word = str_is(text, "true") || str_is(text, "false") || str_is(text, "null");
    if (!whole || (!word && !str_to_f64(text, &number))) {
        w->cut |= !whole;
        if (whole) w->p = w->end; /* no JSON: what follows cannot be placed */
        put(w, "\"…\"");
    } else if (word) {
        if (w->out) (void)!buf_add_str(w->out, text);
    } else if (w->out) {
        (void)!buf_add_json_f64(w->out, number);
    }
}

static void text_value(struct walk *w, enum plan_class class) {
    struct str raw;
    if (!take_string(w, &raw)) {
        put(w, "\"…\"");
        return;
    }
    const char *sign = class == PLAN_PUBLIC ? NULL : SIGNS[shape_of(raw)];
    if (sign)
        put(w, sign);
    else
        put_string(w, raw);
}

static void value(struct walk *w, const struct place *at, unsigned depth) {
    space(w);
    if (w->p == w->end) {
        w->cut = true;
        put(w, "\"…\"");
        return;
    }
    enum plan_class class = class_of(at);
    const char *sign = at->name.n && *w->p != 'n' ? sign_of(at, class) : NULL;
    struct buf *out = w->out;
    if (!sign && depth > MASK_MAX_DEPTH) sign = "\"…\"";
    if (sign) { /* passed over in silence */
        put(w, sign);
        w->out = NULL;
    }
    if (depth > MASK_MAX_DEPTH * 2)
        w->p = w->end;
    else if (*w->p == '{')
        object(w, at, depth);
    else if (*w->p == '[')
        array(w, at, depth);
    else if (*w->p == '"')
        text_value(w, class);
    else
        scalar(w);
    w->out = out;
}

/* ---- the top ---- */

struct masked mask_look(struct str json) {
    struct str none = {"", 0};
    struct masked m = {none, none, none, none, none, false};
    struct walk w = {.p = json.p, .end = json.p + json.n};
    struct place top = {.name = none};
    struct str key, text;
    if (!take(&w, '{')) return m;
    for (bool first = true; !take(&w, '}') && w.p < w.end; first = false) {
        if ((!first && !take(&w, ',')) || !take_string(&w, &key) || !take(&w, ':')) break;
        space(&w);
        if (w.p < w.end && *w.p == '"') {
            if (!take_string(&w, &text)) break;
            struct str *to = str_is(key, "type")          ? &m.type
                             : str_is(key, "event")       ? &m.event
                             : str_is(key, "userId")      ? &m.user
                             : str_is(key, "anonymousId") ? &m.anonymous
                             : str_is(key, "messageId")   ? &m.message_id
                                                          : NULL;
            if (to && to->n == 0) *to = text;
        } else {
            value(&w, &top, 1);
        }
    }
    m.cut = w.cut || (w.p == w.end && (json.n == 0 || w.p[-1] != '}'));
    return m;
}

void mask_event_of(const struct plan_form *form, struct str type, struct str name,
                   struct mask_event *out) {
    enum plan_kind kind = PLAN_EVENT; /* a type that the path said is not in the text */
    for (int i = PLAN_EVENT + 1; i < PLAN_CONTEXT; i++)
        if (str_is(type, PLAN_KIND_NAMES[i])) kind = (enum plan_kind)i;
    *out = (struct mask_event){.of_traits = kind == PLAN_IDENTIFY || kind == PLAN_GROUP};
    if (!form) return;
    out->event = plan_find(form, kind, name);
    out->context = plan_find(form, PLAN_CONTEXT, STR(""));
    out->identify = plan_find(form, PLAN_IDENTIFY, STR(""));
}

static struct place place_in(const struct mask_event *event, bool in_context, struct str name) {
    struct str traits = STR("traits.");
    if (!in_context)
        return (struct place){event->event, event->of_traits ? REGION_TRAITS : REGION_PROPERTIES,
                              name};
    if (!str_starts(name, traits)) return (struct place){event->context, REGION_CONTEXT, name};
    struct str inner = {name.p + traits.n, name.n - traits.n};
    return (struct place){event->identify, REGION_TRAITS, inner};
}

const char *mask_sign(const struct mask_event *event, bool in_context, struct str name,
                      enum mask_kind kind, struct str text) {
    struct place at = place_in(event, in_context, name);
    enum plan_class class = class_of(&at);
    const char *sign = name.n ? sign_of(&at, class) : NULL;
    if (sign || kind != MASK_TEXT || class == PLAN_PUBLIC) return sign;
    return SIGNS[personal_by_shape(text)];
}

int mask_value(const struct mask_event *event, bool in_context, struct str name,
               enum mask_kind kind, struct str text, struct buf *out) {
    const char *sign = mask_sign(event, in_context, name, kind, text);
    if (sign) return buf_add(out, sign + 1, strlen(sign) - 2);
    if (kind != MASK_JSON) return buf_add_str(out, text);
    struct walk w = {.p = text.p, .end = text.p + text.n, .plan = *event, .out = out};
    struct place at = place_in(event, in_context, name);
    value(&w, &at, IN_VALUE);
    return out->failed;
}

int mask_json(const struct plan_form *form, const struct masked *look, struct str json,
              struct buf *out) {
    struct walk w = {.p = json.p, .end = json.p + json.n, .out = out};
    struct place top = {.name = {"", 0}};
    mask_event_of(form, look->type, look->event, &w.plan);
    space(&w);
    if (w.p == w.end)
        put(&w, "null");
    else
        value(&w, &top, 1);
    return out->failed;
}

int mask_text(struct str raw, struct buf *out) {
    struct walk w = {.out = out};
    const char *sign = SIGNS[shape_of(raw)];
    if (sign)
        put(&w, sign);
    else
        put_string(&w, raw);
    return out->failed;
}

int mask_plain(struct str text, struct buf *out) {
    const char *sign = SIGNS[personal_by_shape(text)];
    return sign ? buf_add_text(out, sign) : buf_add_json_str(out, text);
}
