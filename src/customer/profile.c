/* Implementation of profile.h. */
#include "customer/profile.h"

#include "base/fold.h"
#include "customer/timeline.h"

enum { MOST_TRAITS = 1000 };

/* ---- what is shown ---- */

struct total {
    struct str name;
    uint64_t count;
    int64_t first_ms, last_ms;
};

struct trait {
    struct str name, json;
    int64_t time_ms;
};

struct profile {
    struct arena arena;
    const struct time_zone *zone;
    uint32_t customer;
    enum id_kind kind;
    struct str id;
    struct timeline timeline;
    struct total *totals;
    uint32_t total_count;
    struct trait *traits;
    uint32_t trait_count;
    struct edge *edges;
    uint32_t edge_count;
};

/* The event as a query names it: the store's $identify is identify, $page is page. */
static struct str label(struct str name) {
    return str_starts(name, STR("$")) ? (struct str){name.p + 1, name.n - 1} : name;
}

static void count_events(struct profile *p) {
    p->totals = arena_alloc(&p->arena, ((size_t)p->timeline.count + 1) * sizeof *p->totals);
    for (uint32_t i = 0; i < p->timeline.count; i++) {
        const struct timeline_event *e = &p->timeline.events[i];
        uint32_t k = 0;
        while (k < p->total_count && !str_eq(p->totals[k].name, e->name)) k++;
        if (k == p->total_count)
            p->totals[p->total_count++] = (struct total){.name = e->name, .first_ms = e->time_ms};
        p->totals[k].count++;
        p->totals[k].last_ms = e->time_ms;
    }
}

/* The members of a flat JSON object that timeline.c wrote: names and values as they stand. */
static bool next_member(struct str *object, struct str *name, struct str *value) {
    size_t i = 1, from;
    if (object->n < 2 || object->p[0] == '}' || object->p[1] != '"') return false;
    from = ++i;
    while (object->p[i] != '"') i += object->p[i] == '\\' ? 2 : 1;
    *name = (struct str){object->p + from, i - from};
    i += 2;
    from = i;
    int depth = 0;
    bool quoted = false;
    for (; i < object->n; i++) {
        char c = object->p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
            continue;
        }
        if (c == '"') quoted = true;
        if (c == '[' || c == '{') depth++;
        if ((c == ',' || c == '}' || c == ']') && depth == 0) break;
        if (c == ']' || c == '}') depth--;
    }
    *value = (struct str){object->p + from, i - from};
    *object = (struct str){object->p + i, object->n - i};
    return true;
}

static void collect_traits(struct profile *p) {
    p->traits = arena_alloc(&p->arena, MOST_TRAITS * sizeof *p->traits);
    for (uint32_t i = p->timeline.count; i-- > 0;) {
        const struct timeline_event *e = &p->timeline.events[i];
        struct str object = e->properties, name, value;
        if (!str_is(e->name, "$identify")) continue;
        while (next_member(&object, &name, &value)) {
            uint32_t k = 0;
            while (k < p->trait_count && !str_eq(p->traits[k].name, name)) k++;
            if (k < p->trait_count || k == MOST_TRAITS) continue; /* a later one said it */
            p->traits[p->trait_count++] =
                (struct trait){.name = name, .json = value, .time_ms = e->time_ms};
        }
    }
}

struct edges {
    struct profile *p;
    uint32_t capacity;
};

static void add_edge(void *ctx, const struct edge *edge) {
    struct edges *list = ctx;
    struct profile *p = list->p;
    if (p->edge_count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct edge *grown = arena_alloc(&p->arena, capacity * sizeof *grown);
        if (p->edge_count) memcpy(grown, p->edges, p->edge_count * sizeof *grown);
        p->edges = grown;
        list->capacity = capacity;
    }
    p->edges[p->edge_count++] = *edge;
}

static int load(struct profile *p, struct db *db, struct str who, struct str at,
                struct keel_error *err) {
    struct snapshot *snap;
    int64_t at_ms = INT64_MAX;
    if (at.n && !time_parse(at, p->zone, &at_ms))
        FAIL(err, INVALID, "at %.*s: not a time; write 2011-12-10 or 2011-12-10T12:50",
             (int)(at.n < 100 ? at.n : 100), at.p);
    p->customer = db_find_customer(db, who);
    TRY(identity_sound(db_identity(db), err));
    if (p->customer == NUMBER_NONE)
        FAIL(err, NOT_FOUND, "nobody has the identifier %.*s%s", (int)(who.n < 300 ? who.n : 300),
             who.p, str_contains(who, STR("=")) ? "" : "; write user_id=ID or anonymous_id=ID");
    p->id = identity_id(db_identity(db), p->customer, &p->kind);
    struct edges list = {.p = p};
    identity_edges(db_identity(db), p->kind, p->id, add_edge, &list);
    TRY(identity_sound(db_identity(db), err));
    TRY(snapshot_open(db_store(db), &snap, err));
    int code =
        timeline_read(db, snap, p->customer, at_ms, TIMELINE_MAX, &p->arena, &p->timeline, err);
    snapshot_close(snap);
    if (code == 0) {
        count_events(p);
        collect_traits(p);
    }
    return code;
}

int profile_load(struct db *db, struct str who, struct str at, struct profile **out,
                 struct keel_error *err) {
    struct profile *p = k_zalloc(sizeof *p);
    arena_init(&p->arena, (size_t)4 << 30);
    p->zone = db_zone(db);
    int code = load(p, db, who, at, err);
    if (code == 0)
        *out = p;
    else
        profile_free(p);
    return code;
}

void profile_free(struct profile *p) {
    if (!p) return;
    arena_release(&p->arena);
    k_free(p);
}

/* ---- as text ---- */

/* Lines are put together in a buffer: names and values have any length. */
struct page {
    struct output *o;
    struct buf line;
    unsigned width;
};

static void page_end(struct page *t) {
    fold_line(t->o, buf_str(&t->line), t->width, 6);
    buf_clear(&t->line);
}

static void page_time(struct page *t, const struct time_zone *zone, int64_t ms) {
    char text[TIME_TEXT_MAX];
    (void)!buf_add(&t->line, text, time_format(zone, ms, text));
}

static void page_identifiers(struct page *t, const struct profile *p,
                             const struct time_zone *zone) {
    (void)!buf_printf(&t->line, "  %s ", p->kind == ID_USER ? "user_id" : "anonymous_id");
    (void)!buf_add_str(&t->line, p->id);
    page_end(t);
    for (uint32_t i = 0; i < p->edge_count; i++) {
        const struct edge *e = &p->edges[i];
        (void)!buf_add_text(&t->line, "  anonymous_id ");
        (void)!buf_add_str(&t->line, e->anonymous_id);
        (void)!buf_add_text(&t->line, e->kind == EDGE_ALIAS ? ", named by an alias on "
                                      : e->kind == EDGE_CONFLICT
                                          ? ", named by an alias, but a user of its own, on "
                                          : ", first seen together on ");
        page_time(t, zone, e->time_ms);
        page_end(t);
    }
}

static void page_totals(struct page *t, const struct profile *p, const struct time_zone *zone) {
    output_printf(t->o, "\nevents: %llu\n", (unsigned long long)p->timeline.total);
    for (uint32_t i = 0; i < p->total_count; i++) {
        (void)!buf_printf(&t->line, "  %8llu  ", (unsigned long long)p->totals[i].count);
        (void)!buf_add_str(&t->line, label(p->totals[i].name));
        (void)!buf_add_text(&t->line, ", last ");
        page_time(t, zone, p->totals[i].last_ms);
        page_end(t);
    }
}

static void page_timeline(struct page *t, const struct profile *p, uint32_t shown,
                          const struct time_zone *zone) {
    output_printf(t->o, "\ntimeline, the newest %u\n", shown);
    for (uint32_t i = p->timeline.count; i-- > p->timeline.count - shown;) {
        const struct timeline_event *e = &p->timeline.events[i];
        (void)!buf_add_text(&t->line, "  ");
        page_time(t, zone, e->time_ms);
        (void)!buf_add_text(&t->line, "  ");
        (void)!buf_add_str(&t->line, label(e->name));
        (void)!buf_add_text(&t->line, "  ");
        (void)!buf_add_str(&t->line, e->properties);
        page_end(t);
    }
}

void profile_text(const struct profile *p, uint32_t limit, unsigned width, struct output *o) {
    const struct time_zone *zone = p->zone;
    struct page t = {.o = o, .width = width};
    buf_init(&t.line, FOLD_LINE_BYTES);
    (void)!buf_add_text(&t.line, p->kind == ID_USER ? "user " : "anonymous ");
    (void)!buf_add_str(&t.line, p->id);
    (void)!buf_printf(&t.line, " (customer %u)", p->customer);
    page_end(&t);
    output_text(o, "\nidentifiers\n");
    page_identifiers(&t, p, zone);
    output_text(o, "\ntraits\n");
    for (uint32_t i = 0; i < p->trait_count; i++) {
        (void)!buf_add_text(&t.line, "  ");
        (void)!buf_add_str(&t.line, p->traits[i].name);
        (void)!buf_add_text(&t.line, "  ");
        (void)!buf_add_str(&t.line, p->traits[i].json);
        page_end(&t);
    }
    if (!p->trait_count) output_text(o, "  none\n");
    page_totals(&t, p, zone);
    page_timeline(&t, p, p->timeline.count < limit ? p->timeline.count : limit, zone);
    buf_release(&t.line);
}

/* ---- as JSON ---- */

static void json_time(struct buf *b, int64_t ms) {
    char time[TIME_TEXT_MAX];
    size_t n = time_format(NULL, ms, time);
    (void)!buf_add_json_str(b, (struct str){time, n});
}

static void json_id(const struct profile_mask *mask, struct str id, struct buf *b) {
    if (mask)
        mask->id(mask->ctx, id, b);
    else
        (void)!buf_add_json_str(b, id);
}

static void json_identifiers(const struct profile *p, const struct profile_mask *mask,
                             struct buf *b) {
    (void)!buf_add_text(b, "\"identifiers\":[{\"type\":");
    (void)!buf_add_text(b, p->kind == ID_USER ? "\"user_id\",\"id\":" : "\"anonymous_id\",\"id\":");
    json_id(mask, p->id, b);
    (void)!buf_add_char(b, '}');
    for (uint32_t i = 0; i < p->edge_count; i++) {
        const struct edge *e = &p->edges[i];
        (void)!buf_add_text(b, ",{\"type\":\"anonymous_id\",\"id\":");
        json_id(mask, e->anonymous_id, b);
        (void)!buf_add_text(b, ",\"joined_by\":");
        (void)!buf_add_text(b, e->kind == EDGE_ALIAS      ? "\"alias\""
                               : e->kind == EDGE_CONFLICT ? "\"conflict\""
                                                          : "\"seen together\"");
        (void)!buf_add_text(b, ",\"time\":");
        json_time(b, e->time_ms);
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_char(b, ']');
}

static void json_timeline(const struct profile *p, uint32_t limit, const struct profile_mask *mask,
                          struct buf *b) {
    (void)!buf_add_text(b, "\"timeline\":[");
    uint32_t shown = p->timeline.count < limit ? p->timeline.count : limit;
    for (uint32_t i = p->timeline.count; i-- > p->timeline.count - shown;) {
        const struct timeline_event *e = &p->timeline.events[i];
        (void)!buf_add_text(b, i + 1 == p->timeline.count ? "{\"time\":" : ",{\"time\":");
        json_time(b, e->time_ms);
        (void)!buf_add_text(b, ",\"event\":");
        (void)!buf_add_json_str(b, label(e->name));
        (void)!buf_add_char(b, ',');
        if (mask)
            mask->event(mask->ctx, e->name, e->properties, e->context, b);
        else
            (void)!buf_printf(b, "\"properties\":%.*s,\"context\":%.*s", STR_ARG(e->properties),
                              STR_ARG(e->context));
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_char(b, ']');
}

void profile_json(const struct profile *p, uint32_t limit, const struct profile_mask *mask,
                  struct buf *b) {
    (void)!buf_printf(b, "{\"customer\":%u,", p->customer);
    json_identifiers(p, mask, b);
    (void)!buf_add_text(b, ",\"traits\":{");
    for (uint32_t i = 0; i < p->trait_count; i++) {
        const struct trait *t = &p->traits[i];
        if (i) (void)!buf_add_char(b, ',');
        if (mask)
            mask->trait(mask->ctx, t->name, t->json, b);
        else
            (void)!buf_printf(b, "\"%.*s\":%.*s", STR_ARG(t->name), STR_ARG(t->json));
    }
    (void)!buf_printf(b, "},\"events\":%llu,\"totals\":[", (unsigned long long)p->timeline.total);
    for (uint32_t i = 0; i < p->total_count; i++) {
        (void)!buf_add_text(b, i ? ",{\"event\":" : "{\"event\":");
        (void)!buf_add_json_str(b, label(p->totals[i].name));
        (void)!buf_printf(b, ",\"count\":%llu,\"first\":", (unsigned long long)p->totals[i].count);
        json_time(b, p->totals[i].first_ms);
        (void)!buf_add_text(b, ",\"last\":");
        json_time(b, p->totals[i].last_ms);
        (void)!buf_add_char(b, '}');
    }
    (void)!buf_add_text(b, "],");
    json_timeline(p, limit, mask, b);
    (void)!buf_add_text(b, "}\n");
}
