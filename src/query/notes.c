/* Notes about names that the store does not know, with the names that were probably meant.
 *
 * Candidates are ranked: the same name but for case; the same last part (`sku` for `products.sku`);
 * few edits; a name that begins with the word (`campaign` for `campaign_id`). For a property these
 * are the event's own properties, the fields of its line items, the context and the traits; failing
 * those, an event that does have it. Up to HINTS_MOST are shown, the best first, written as a query
 * takes them.
 *
 * Layers: plan.h, query_print.h. Threads: as plan.h: one, while the plan is made. Limits:
 * NAME_LOOKS names are looked at, names beyond NAME_MOST bytes are not.
 */
#include <limits.h>

#include "query/language/query_print.h"
#include "query/plan.h"

enum { NAME_LOOKS = 5000, NAME_MOST = 64, HINTS_MOST = 3, NO_MATCH = UINT_MAX };

struct hint {
    const char *before; /* "trait ", "\"" */
    struct str name;    /* a property's path, or an event */
    unsigned score;
};

struct hints {
    struct str wanted;
    struct hint best[HINTS_MOST];
    uint32_t n, looks;
};

/* ---- how near two names are ---- */

/* Edits (insert, delete, change; ASCII case is free) between two short names. */
static unsigned edits(struct str a, struct str b) {
    unsigned row[NAME_MOST + 1];
    for (unsigned j = 0; j <= b.n; j++) row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            struct str x = {a.p + i - 1, 1}, y = {b.p + j - 1, 1};
            unsigned best = corner + !str_eq_nocase(x, y);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n];
}

static struct str last_part(struct str path) {
    size_t i = path.n;
    while (i > 0 && path.p[i - 1] != '.') i--;
    return (struct str){path.p + i, path.n - i};
}

static bool begins_with(struct str s, struct str word) {
    return word.n >= 4 && s.n > word.n && str_eq_nocase((struct str){s.p, word.n}, word);
}

/* 0 is the same name. */
static unsigned score(struct str wanted, struct str name) {
    if (wanted.n > NAME_MOST || name.n > NAME_MOST || wanted.n == 0 || name.n == 0) return NO_MATCH;
    if (str_eq_nocase(wanted, name)) return 0;
    if (str_eq_nocase(last_part(wanted), last_part(name))) return 1;
    unsigned n = edits(wanted, name);
    if (n <= (unsigned)wanted.n / 3 + 1 && n < wanted.n) return 1 + n;
    if (begins_with(name, wanted) || begins_with(last_part(name), wanted)) return 4;
    return NO_MATCH;
}

static void consider(struct hints *h, const char *before, struct str name) {
    if (name.n == 0 || name.p[0] == '$' || h->looks++ >= NAME_LOOKS) return;
    unsigned s = score(h->wanted, name);
    if (s == NO_MATCH) return;
    for (uint32_t i = 0; i < h->n; i++)
        if (str_eq(h->best[i].name, name)) return;
    uint32_t at = h->n;
    while (at > 0 && s < h->best[at - 1].score) at--;
    if (at == HINTS_MOST) return;
    if (h->n < HINTS_MOST) h->n++;
    memmove(&h->best[at + 1], &h->best[at], (h->n - at - 1) * sizeof h->best[0]);
    h->best[at] = (struct hint){before, name, s};
}

/* A much better one silences the others. */
static uint32_t worth_showing(const struct hints *h) {
    uint32_t n = 0;
    while (n < h->n && h->best[n].score <= h->best[0].score + 1) n++;
    return n;
}

/* ---- words ---- */

static struct str label(struct str stream) {
    return str_starts(stream, STR("$")) ? (struct str){stream.p + 1, stream.n - 1} : stream;
}

static void add_event(struct buf *text, struct str stream) {
    if (str_starts(stream, STR("$")))
        (void)!buf_add_str(text, label(stream));
    else
        (void)!buf_printf(text, "\"%.*s\"", STR_ARG(stream));
}

static void add_path(struct buf *text, struct str path) {
    struct query_prop prop = {.scope = QUERY_SCOPE_AUTO, .path = path};
    (void)!query_print_prop(&prop, text);
}

static void add_hints(struct buf *text, const struct hints *h, bool events) {
    uint32_t n = worth_showing(h);
    for (uint32_t i = 0; i < n; i++) {
        (void)!buf_add_text(text, i == 0 ? "; did you mean " : i + 1 < n ? ", " : " or ");
        (void)!buf_add_text(text, h->best[i].before);
        if (events)
            add_event(text, h->best[i].name);
        else
            add_path(text, h->best[i].name);
    }
    if (n > 0) (void)!buf_add_char(text, '?');
}

static void note(struct plan *p, struct buf *text) {
    if (!text->failed) plan_note(p, "%.*s", (int)text->n, (const char *)text->p);
    buf_release(text);
}

/* ---- candidates ---- */

/* The path of a column as a query writes it, in the plan's arena. */
static struct str path_of(struct plan *p, const struct stream_info *s,
                          const struct column_info *c) {
    if (s->kind != STREAM_KIND_ITEMS) return c->name;
    size_t n = s->name.n + 1 + c->name.n;
    char *path = arena_try_alloc(&p->arena, n);
    if (!path) return STR("");
    memcpy(path, s->name.p, s->name.n);
    path[s->name.n] = '.';
    memcpy(path + s->name.n + 1, c->name.p, c->name.n);
    return (struct str){path, n};
}

/* Columns of one event (stream < 0: of all), its items and the context; and the traits. */
static void consider_columns(struct plan *p, struct hints *h, int64_t stream, bool traits_only) {
    int64_t identify = schema_find_event(p->schema, STR("$identify"));
    uint32_t n = schema_columns(p->schema);
    for (uint32_t i = 0; i < n && h->looks < NAME_LOOKS; i++) {
        struct column_info c = schema_column(p->schema, i);
        struct stream_info s = schema_stream(p->schema, c.stream);
        uint32_t event = s.kind == STREAM_KIND_ITEMS ? s.parent : s.id;
        if (event == identify)
            consider(h, "trait ", c.name);
        else if (!traits_only && (stream < 0 || event == stream || event == STREAM_ROWS))
            consider(h, "", path_of(p, &s, &c));
    }
}

/* An event other than `not_stream` with exactly this property, or -1. */
static int64_t event_with(struct plan *p, int64_t not_stream, struct str path) {
    int64_t identify = schema_find_event(p->schema, STR("$identify"));
    uint32_t n = schema_columns(p->schema);
    for (uint32_t i = 0; i < n && i < NAME_LOOKS; i++) {
        struct column_info c = schema_column(p->schema, i);
        struct stream_info s = schema_stream(p->schema, c.stream);
        uint32_t event = s.kind == STREAM_KIND_ITEMS ? s.parent : s.id;
        if (event == STREAM_ROWS || event == not_stream || event == identify) continue;
        if (str_eq(path_of(p, &s, &c), path)) return event;
    }
    return -1;
}

/* ---- the notes ---- */

void plan_note_event(struct plan *p, struct str name) {
    struct hints h = {.wanted = name};
    struct buf text;
    buf_init(&text, 2048);
    (void)!buf_printf(&text, "no event named \"%.*s\" has been seen", STR_ARG(name));
    uint32_t n = schema_streams(p->schema);
    for (uint32_t i = 0; i < n && h.looks < NAME_LOOKS; i++) {
        struct stream_info s = schema_stream(p->schema, i);
        if (s.kind == STREAM_KIND_EVENT) consider(&h, "", s.name);
    }
    add_hints(&text, &h, true);
    if (p->snap->rows == 0) (void)!buf_add_text(&text, "; there are no events at all: keel import");
    note(p, &text);
}

static void note_trait(struct plan *p, int64_t identify, struct str path) {
    struct hints h = {.wanted = path};
    struct buf text;
    buf_init(&text, 2048);
    (void)!buf_add_text(&text, "no trait ");
    add_path(&text, path);
    (void)!buf_add_text(&text, " has been seen");
    consider_columns(p, &h, identify, true);
    int64_t event = h.n > 0 && h.best[0].score <= 1 ? -1 : event_with(p, identify, path);
    if (event >= 0) {
        (void)!buf_add_text(&text, "; it is a property of ");
        add_event(&text, schema_stream(p->schema, (uint32_t)event).name);
    } else {
        add_hints(&text, &h, false);
    }
    note(p, &text);
}

void plan_note_property(struct plan *p, struct str event, struct str path) {
    int64_t stream = event.n > 0 ? schema_find_event(p->schema, event) : -1;
    if (str_is(event, "$identify")) {
        note_trait(p, stream, path);
        return;
    }
    struct hints h = {.wanted = path};
    struct buf text;
    buf_init(&text, 2048);
    if (event.n > 0) {
        add_event(&text, event);
        (void)!buf_add_text(&text, " has no property ");
        add_path(&text, path);
    } else {
        (void)!buf_add_text(&text, "no property ");
        add_path(&text, path);
        (void)!buf_add_text(&text, " has been seen");
    }
    consider_columns(p, &h, stream, false);
    int64_t other = h.n > 0 && h.best[0].score <= 1 ? -1 : event_with(p, stream, path);
    if (other >= 0) {
        (void)!buf_add_text(&text, "; ");
        add_event(&text, schema_stream(p->schema, (uint32_t)other).name);
        (void)!buf_add_text(&text, " has it");
    } else {
        add_hints(&text, &h, false);
    }
    note(p, &text);
}
