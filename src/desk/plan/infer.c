/* Implementation of plan/infer.h: for each stream of the schema, scans over all customers that
 * tally the columns, as many at once as a scan takes; then columns of one name become a property.
 */
#include "desk/plan/infer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"
#include "desk/plan/personal.h"
#include "desk/plan/plan_int.h"

struct tally {
    struct column_info info;
    struct str list; /* of line items: the list's name; else "" */
    bool is_list;    /* a list itself: `present` in events, `looked` its line items */
    uint64_t present, whole;
    uint64_t looked, times, emails, phones, lists;
};

struct inferring {
    struct db *db;
    struct snapshot *snap;
    uint32_t customers;
    struct plan_form *form;
    struct arena *arena;
    struct arena scratch; /* of one event */
    uint32_t *columns;    /* ids by stream */
    uint32_t column_count;
    struct keel_error *err;
};

/* What one event, or the context, is made of. */
struct subject {
    enum plan_kind kind;
    struct str name;
    uint32_t stream;
    uint64_t rows;
    struct tally *tallies;
    uint32_t count;
};

/* ---- looking at values ---- */

static void look_at_text(struct tally *t, struct str text) {
    int64_t ms;
    if (t->looked == INFER_LOOKS) return;
    t->looked++;
    if (t->info.type == COLUMN_JSON) {
        t->lists += text.n && text.p[0] == '[';
        return;
    }
    t->times += text.n >= 10 && time_parse(text, NULL, &ms);
    enum personal_kind kind = personal_by_shape(text);
    t->emails += kind == PERSONAL_EMAIL;
    t->phones += kind == PERSONAL_PHONE;
}

static void look_at(struct tally *t, const struct vec *v, uint32_t i,
                    const struct lexicon *lexicon) {
    if (!bit_get(v->present, i)) return;
    t->present++;
    switch (v->kind) {
    case VEC_NUMBER: t->whole += trunc(v->num[i]) == v->num[i]; break;
    case VEC_CODE: look_at_text(t, lexicon_str(lexicon, v->code[i])); break;
    case VEC_TEXT: look_at_text(t, v->text[i]); break;
    case VEC_BOOL: break;
    }
}

/* ---- scans ---- */

static int open_scan(const struct inferring *f, const uint32_t *event, const struct tally *tallies,
                     uint32_t n, struct scan **out) {
    uint32_t ids[SCAN_MAX_COLUMNS];
    for (uint32_t i = 0; i < n; i++) ids[i] = tallies[i].info.id;
    struct scan_spec spec = {.events = event,
                             .event_count = event ? 1 : 0,
                             .columns = ids,
                             .column_count = n,
                             .from_ms = INT64_MIN,
                             .to_ms = INT64_MAX};
    TRY(scan_open(f->snap, &spec, out, f->err));
    int code = scan_range(*out, 0, f->customers, f->err);
    if (code < 0) scan_close(*out);
    return code;
}

static int tally_rows(const struct inferring *f, const struct batch *b, struct tally *tallies,
                      uint32_t n) {
    for (uint32_t c = 0; c < n; c++) {
        const struct vec *v;
        const struct lexicon *lexicon = store_lexicon(db_store(f->db), tallies[c].info.id);
        TRY(batch_column(b, c, &v, f->err));
        for (uint32_t i = 0; i < b->n; i++)
            if (bit_get(b->live, i)) look_at(&tallies[c], v, i, lexicon);
    }
    return 0;
}

/* Returns how many line items there were, or an error; *lists: rows that had any. */
static int64_t tally_items(const struct inferring *f, const struct batch *b, struct tally *tallies,
                           uint32_t n, uint64_t *lists) {
    int64_t total = 0;
    for (uint32_t c = 0; c < n; c++) {
        struct batch_items items;
        const struct lexicon *lexicon = store_lexicon(db_store(f->db), tallies[c].info.id);
        TRY(batch_item_column(b, c, &items, f->err));
        for (uint32_t i = 0; i < b->n; i++) {
            if (!bit_get(b->live, i)) continue;
            if (c == 0) {
                total += items.count[i];
                *lists += items.count[i] > 0;
            }
            for (uint32_t k = items.first[i]; k < items.first[i] + items.count[i]; k++)
                look_at(&tallies[c], &items.chunks[k / CHUNK_ROWS], k % CHUNK_ROWS, lexicon);
        }
    }
    return total;
}

static int scan_columns(struct inferring *f, struct subject *s, struct tally *tallies, uint32_t n) {
    struct scan *scan;
    struct batch b;
    uint64_t rows = 0;
    int got;
    TRY(open_scan(f, s->kind == PLAN_CONTEXT ? NULL : &s->stream, tallies, n, &scan));
    while ((got = scan_next(scan, &b, f->err)) == 1) {
        for (uint32_t i = 0; i < b.n; i++) rows += bit_get(b.live, i);
        got = tally_rows(f, &b, tallies, n);
        if (got < 0) break;
    }
    scan_close(scan);
    s->rows = rows;
    return got;
}

/* The list itself becomes a tally in front of those of its items. */
static int scan_list(struct inferring *f, const struct subject *s, struct tally *list,
                     struct tally *tallies, uint32_t n) {
    struct scan *scan;
    struct batch b;
    uint64_t items = 0;
    int got;
    TRY(open_scan(f, &s->stream, tallies, n, &scan));
    while ((got = scan_next(scan, &b, f->err)) == 1) {
        int64_t more = tally_items(f, &b, tallies, n, &list->present);
        if (more < 0) {
            got = (int)more;
            break;
        }
        items += (uint64_t)more;
    }
    scan_close(scan);
    list->looked = items;
    return got;
}

/* ---- the columns of a stream ---- */

static int by_stream(const void *a, const void *b, void *ctx) {
    const struct schema *schema = ctx;
    struct column_info x = schema_column(schema, *(const uint32_t *)a);
    struct column_info y = schema_column(schema, *(const uint32_t *)b);
    if (x.stream != y.stream) return x.stream < y.stream ? -1 : 1;
    return (x.id > y.id) - (x.id < y.id);
}

static uint32_t first_of(const struct inferring *f, uint32_t stream) {
    const struct schema *schema = store_schema(db_store(f->db));
    uint32_t low = 0, high = f->column_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (schema_column(schema, f->columns[middle]).stream < stream)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Columns that are no properties: what the store says of the event itself. */
static bool is_own(const struct subject *s, struct str name) {
    if (str_is(name, SCHEMA_REST)) return true;
    if (s->kind == PLAN_PAGE || s->kind == PLAN_SCREEN) return str_is(name, "name");
    return s->kind == PLAN_GROUP && str_is(name, "group_id");
}

/* Adds the tallies of a stream's columns to the subject. */
static int tally_stream(struct inferring *f, struct subject *s, uint32_t stream, struct str list) {
    const struct schema *schema = store_schema(db_store(f->db));
    uint32_t start = s->count, most = schema_stream(schema, stream).columns;
    struct tally *t = arena_zalloc(&f->scratch, (s->count + most + 2) * sizeof *t);
    if (s->count) memcpy(t, s->tallies, s->count * sizeof *t);
    s->tallies = t;
    if (list.n) {
        t[s->count].info = (struct column_info){.type = COLUMN_JSON, .name = list};
        t[s->count++].is_list = true;
        start++;
    }
    for (uint32_t i = first_of(f, stream); i < f->column_count && s->count < start + most; i++) {
        struct column_info info = schema_column(schema, f->columns[i]);
        if (info.stream != stream) break;
        if (!list.n && is_own(s, info.name)) continue;
        t[s->count++] = (struct tally){.info = info, .list = list};
    }
    if (s->count == start) return list.n ? 0 : scan_columns(f, s, t + start, 0);
    for (uint32_t at = start; at < s->count; at += SCAN_MAX_COLUMNS) {
        uint32_t n = s->count - at < SCAN_MAX_COLUMNS ? s->count - at : SCAN_MAX_COLUMNS;
        if (list.n) {
            t[start - 1].present = 0;
            TRY(scan_list(f, s, &t[start - 1], t + at, n));
        } else {
            TRY(scan_columns(f, s, t + at, n));
        }
    }
    return 0;
}

/* ---- properties ---- */

static enum plan_type type_of(const struct tally *t) {
    if (t->is_list) return PLAN_LIST;
    switch (t->info.type) {
    case COLUMN_NUMBER: return t->whole == t->present ? PLAN_INTEGER : PLAN_NUMBER;
    case COLUMN_BOOL: return PLAN_BOOLEAN;
    case COLUMN_STRING: return t->times == t->looked ? PLAN_TIME : PLAN_STRING;
    case COLUMN_JSON: return t->lists && t->lists == t->looked ? PLAN_LIST : PLAN_JSON;
    }
    return PLAN_ANY;
}

static enum plan_class class_of(const struct subject *s, const struct tally *t) {
    bool trait = s->kind == PLAN_IDENTIFY;
    enum personal_kind kind = personal_by_name(t->info.name, trait);
    if (kind == PERSONAL_SECRET) return PLAN_SENSITIVE;
    bool looks = !t->is_list && t->looked && (t->emails + t->phones) * 2 >= t->looked;
    bool address = s->kind == PLAN_CONTEXT && str_is(t->info.name, "ip");
    return kind != PERSONAL_NOT || looks || address ? PLAN_PERSONAL : PLAN_UNCLASSED;
}

static struct str full_name(struct inferring *f, const struct tally *t) {
    if (!t->list.n) return str_dup(f->arena, t->info.name);
    return str_from(arena_printf(f->arena, "%.*s.%.*s", STR_ARG(t->list), STR_ARG(t->info.name)));
}

/* All columns of one name make one property; `of` is out of how many. */
static void make_property(struct inferring *f, const struct subject *s, uint32_t at, uint64_t of,
                          struct plan_property *p) {
    const struct tally *first = &s->tallies[at];
    uint64_t present = 0;
    bool several = false;
    *p = (struct plan_property){.name = full_name(f, first), .type = type_of(first)};
    p->pattern = (struct str){"", 0};
    for (uint32_t i = at; i < s->count; i++) {
        const struct tally *t = &s->tallies[i];
        if (!str_eq(t->info.name, first->info.name) || !str_eq(t->list, first->list)) continue;
        enum plan_class class = class_of(s, t);
        if (class > p->class) p->class = class;
        several |= i > at && t->present && present;
        if (t->present && !present) p->type = type_of(t);
        present += t->present;
    }
    if (several) p->type = PLAN_ANY;
    p->required = present == of && of >= INFER_FEWEST && s->kind != PLAN_CONTEXT;
    p->description = str_from(arena_printf(
        f->arena, "seen in %.4g %% of %llu %s", of ? 100.0 * (double)present / (double)of : 0.0,
        (unsigned long long)of, first->list.n ? "items" : "events"));
}

static bool is_first(const struct subject *s, uint32_t at) {
    for (uint32_t i = 0; i < at; i++)
        if (str_eq(s->tallies[i].info.name, s->tallies[at].info.name) &&
            str_eq(s->tallies[i].list, s->tallies[at].list))
            return false;
    return true;
}

/* How many line items a list had: noted by the tally of the list itself. */
static uint64_t items_of(const struct subject *s, struct str list) {
    for (uint32_t i = 0; i < s->count; i++)
        if (s->tallies[i].is_list && str_eq(s->tallies[i].info.name, list))
            return s->tallies[i].looked;
    return 0;
}

static void make_event(struct inferring *f, const struct subject *s) {
    struct plan_event *e = &f->form->private->events[f->form->event_count++];
    struct plan_property *p = arena_zalloc(f->arena, (s->count + 1) * sizeof *p);
    struct str empty = {"", 0};
    *e = (struct plan_event){.kind = s->kind, .status = PLAN_LIVE, .properties = p};
    e->name = str_dup(f->arena, s->name);
    e->owner_business = e->owner_technical = empty;
    e->description = str_from(arena_printf(f->arena, "%llu events", (unsigned long long)s->rows));
    for (uint32_t i = 0; i < s->count && e->property_count < PLAN_MAX_PROPERTIES; i++) {
        struct str list = s->tallies[i].list;
        if (is_first(s, i))
            make_property(f, s, i, list.n ? items_of(s, list) : s->rows, &p[e->property_count++]);
    }
}

/* ---- all of it ---- */

/* The kind and name that a stream's events have in a plan; false: none. */
static bool name_subject(struct str name, struct subject *s) {
    s->kind = PLAN_EVENT;
    s->name = name;
    if (str_is(name, SCHEMA_OVERFLOW)) return false;
    if (name.n == 0 || name.p[0] != '$') return name.n > 0;
    struct str word = {name.p + 1, name.n - 1};
    for (int i = PLAN_EVENT + 1; i < PLAN_CONTEXT; i++)
        if (str_is(word, PLAN_KIND_NAMES[i])) {
            s->kind = (enum plan_kind)i;
            s->name = word;
            return true;
        }
    return !str_is(word, "alias");
}

static int infer_stream(struct inferring *f, uint32_t id) {
    const struct schema *schema = store_schema(db_store(f->db));
    struct stream_info stream = schema_stream(schema, id);
    struct subject s = {.stream = id};
    if (id == STREAM_ROWS) {
        s.kind = PLAN_CONTEXT;
        s.name = str_from(PLAN_KIND_NAMES[PLAN_CONTEXT]);
    } else if (stream.kind != STREAM_KIND_EVENT || !name_subject(stream.name, &s)) {
        return 0;
    }
    if (f->form->event_count == PLAN_MAX_EVENTS)
        FAIL(f->err, LIMIT, "more than %d different events: names carry values, plan them by hand",
             PLAN_MAX_EVENTS);
    arena_init(&f->scratch, SIZE_MAX / 2);
    int code = tally_stream(f, &s, id, (struct str){"", 0});
    for (uint32_t i = id + 1, n = schema_streams(schema); code == 0 && id && i < n; i++) {
        struct stream_info list = schema_stream(schema, i);
        if (list.kind == STREAM_KIND_ITEMS && list.parent == id)
            code = tally_stream(f, &s, i, list.name);
    }
    if (code == 0 && s.rows) make_event(f, &s);
    arena_release(&f->scratch);
    return code;
}

static int infer(struct inferring *f) {
    const struct schema *schema = store_schema(db_store(f->db));
    uint32_t streams = schema_streams(schema);
    f->column_count = schema_columns(schema);
    f->columns = k_alloc_array((size_t)f->column_count + 1, sizeof *f->columns);
    for (uint32_t i = 0; i < f->column_count; i++) f->columns[i] = i;
    qsort_r(f->columns, f->column_count, sizeof *f->columns, by_stream, (void *)schema);
    f->form->private->events =
        arena_zalloc(f->arena, ((size_t)streams + 1) * sizeof(struct plan_event));
    f->form->events = f->form->private->events;
    bool any = f->customers > 0; /* else there is nothing to scan */
    for (uint32_t i = 1; any && i < streams; i++) TRY(infer_stream(f, i));
    if (any) TRY(infer_stream(f, STREAM_ROWS));
    return plan_form_finish(f->form, "the inferred plan", f->err);
}

int plan_infer(struct db *db, const struct plan_form **out, struct keel_error *err) {
    struct store_stats stats;
    struct inferring f = {.db = db, .err = err};
    TRY(snapshot_open(db_store(db), &f.snap, err));
    store_stats(db_store(db), &stats);
    f.customers = stats.numbers;
    f.form = plan_form_new();
    f.arena = &f.form->private->arena;
    int code = infer(&f);
    k_free(f.columns);
    snapshot_close(f.snap);
    if (code < 0) {
        plan_form_free(f.form);
        return code;
    }
    *out = f.form;
    return 0;
}
