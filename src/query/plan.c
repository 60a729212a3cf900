/* Implementation of plan.h: needs of machines become passes.
 *
 * Rules, per stage:
 *   - a machine whose order does not matter and whose events are all rare is fed event by event,
 *     each from its posting copy, shared with other such machines;
 *   - an ordered machine that needs one rare event has a pass over its posting copy too;
 *   - all other machines share one pass, ordered if one of them asks for order.
 * An event is rare if it has less than a tenth of the rows and (nearly) all of its rows stand in
 * sources that keep a posting copy. */
#include "query/plan.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/machine.h"

void plan_init(struct plan *p, struct db *db, const struct snapshot *snap, const struct query *q,
               int64_t at_ms) {
    memset(p, 0, sizeof *p);
    p->db = db;
    p->store = db_store(db);
    p->schema = store_schema(p->store);
    p->zone = db_zone(db);
    p->snap = snap;
    p->q = q;
    p->at_ms = at_ms;
    arena_init(&p->arena, PLAN_ARENA_BYTES);
}

void plan_release(struct plan *p) {
    for (uint32_t i = 0; i < p->n_tests; i++) test_release(p->tests[i]);
    k_free(p->tests);
    arena_release(&p->arena);
}

void plan_own_test(struct plan *p, struct test *t) {
    if (p->n_tests == p->tests_cap) {
        p->tests_cap = p->tests_cap ? p->tests_cap * 2 : 16;
        p->tests = k_realloc(p->tests, p->tests_cap * sizeof *p->tests);
    }
    p->tests[p->n_tests++] = t;
}

struct span plan_span(const struct plan *p, struct span s) {
    if (p->snap->rows == 0) return (struct span){0, 0};
    if (s.from_ms < p->snap->min_time) s.from_ms = p->snap->min_time;
    if (s.to_ms > p->snap->max_time + 1) s.to_ms = p->snap->max_time + 1;
    return s;
}

int plan_column(struct plan *p, uint32_t id, uint32_t *out, struct keel_error *err) {
    for (uint32_t i = 0; i < p->n_columns; i++)
        if (p->columns[i] == id) {
            *out = i;
            return 0;
        }
    if (p->n_columns == PLAN_MAX_COLUMNS)
        FAIL(err, LIMIT, "the question touches more than %d columns: name the events it is about",
             PLAN_MAX_COLUMNS);
    *out = p->n_columns;
    p->columns[p->n_columns++] = id;
    return 0;
}

/* ---- notes ---- */

void plan_note(struct plan *p, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) return;
    struct str note = {text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1};
    for (uint32_t i = 0; i < p->n_notes; i++)
        if (str_eq(p->notes[i], note)) return;
    if (p->n_notes < PLAN_MAX_NOTES) p->notes[p->n_notes++] = str_dup(&p->arena, note);
}

/* ---- needs ---- */

static void add_number(struct plan *p, uint32_t **list, uint32_t *n, uint32_t v) {
    for (uint32_t i = 0; i < *n; i++)
        if ((*list)[i] == v) return;
    if ((*n & (*n - 1)) == 0) { /* room doubles at powers of two */
        uint32_t *grown = arena_alloc(&p->arena, (*n ? *n * 2 : 1) * sizeof *grown);
        if (*n) memcpy(grown, *list, *n * sizeof *grown);
        *list = grown;
    }
    (*list)[(*n)++] = v;
}

void machine_need_event(struct plan *p, struct machine *m, uint32_t stream) {
    add_number(p, &m->events, &m->n_events, stream);
}

void machine_need_column(struct plan *p, struct machine *m, uint32_t handle) {
    add_number(p, &m->handles, &m->n_handles, handle);
}

int plan_add(struct plan *p, struct machine *m, struct keel_error *err) {
    if (p->n_machines == PLAN_MAX_MACHINES)
        FAIL(err, LIMIT, "the question has more than %d parts: ask it in several",
             PLAN_MAX_MACHINES);
    m->index = p->n_machines;
    p->machines[p->n_machines++] = m;
    return 0;
}

/* ---- passes ---- */

static bool is_rare(const struct plan *p, uint32_t stream) {
    uint64_t rows = 0, copied = 0;
    for (uint32_t i = 0; i < p->snap->source_count; i++) {
        const struct source *s = p->snap->sources[i];
        uint32_t n = s->ops->stream_rows(s, stream);
        rows += n;
        if (n > 0 && s->ops->has_posting(s, stream)) copied += n;
    }
    return rows * 10 < p->snap->rows && copied * 10 >= rows * 8;
}

static struct pass *new_pass(struct plan *p, unsigned stage, bool ordered) {
    if (p->n_passes == PLAN_MAX_PASSES) return NULL;
    struct pass *pass = &p->passes[p->n_passes++];
    *pass = (struct pass){.stage = stage, .ordered = ordered, .span = {INT64_MAX, INT64_MIN}};
    pass->machines = arena_alloc(&p->arena, PLAN_MAX_MACHINES * sizeof(struct machine *));
    return pass;
}

static void feed_in_pass(struct plan *p, struct pass *pass, struct machine *m) {
    pass->machines[pass->n_machines++] = m;
    if (m->all_events) pass->all_events = true;
    for (uint32_t i = 0; i < m->n_events; i++)
        add_number(p, &pass->events, &pass->n_events, m->events[i]);
    pass->ordered |= m->ordered;
    if (m->span.from_ms < pass->span.from_ms) pass->span.from_ms = m->span.from_ms;
    if (m->span.to_ms > pass->span.to_ms) pass->span.to_ms = m->span.to_ms;
}

/* The pass over one rare event, shared; in order as soon as one machine asks for it. */
static bool feed_rare(struct plan *p, struct machine *m, uint32_t event) {
    struct pass *pass = NULL;
    for (uint32_t i = 0; i < p->n_passes && !pass; i++) {
        struct pass *q = &p->passes[i];
        if (q->stage == m->stage && q->n_events == 1 && !q->all_events && q->events[0] == event)
            pass = q;
    }
    if (!pass) {
        pass = new_pass(p, m->stage, false);
        if (!pass) return false;
        add_number(p, &pass->events, &pass->n_events, event);
    }
    pass->machines[pass->n_machines++] = m;
    pass->ordered |= m->ordered;
    if (m->span.from_ms < pass->span.from_ms) pass->span.from_ms = m->span.from_ms;
    if (m->span.to_ms > pass->span.to_ms) pass->span.to_ms = m->span.to_ms;
    return true;
}

static bool goes_by_postings(const struct plan *p, const struct machine *m) {
    if (m->all_events || (m->ordered && m->n_events != 1)) return false;
    for (uint32_t i = 0; i < m->n_events; i++)
        if (!is_rare(p, m->events[i])) return false;
    /* A posting copy says nothing about the context. */
    for (uint32_t i = 0; i < m->n_handles; i++)
        if (schema_column(p->schema, p->columns[m->handles[i]]).stream == STREAM_ROWS) return false;
    return true;
}

static bool sees_nothing(const struct machine *m) {
    return (!m->all_events && m->n_events == 0) || span_empty(m->span);
}

/* The columns of a pass: those of its machines that can have values for its events. */
static int pass_columns(struct plan *p, struct pass *pass, struct keel_error *err) {
    for (uint32_t h = 0; h < PLAN_MAX_COLUMNS; h++) pass->slot_of[h] = -1;
    for (uint32_t i = 0; i < pass->n_machines; i++) {
        const struct machine *m = pass->machines[i];
        for (uint32_t j = 0; j < m->n_handles; j++) {
            uint32_t handle = m->handles[j], id = p->columns[handle];
            struct stream_info s = schema_stream(p->schema, schema_column(p->schema, id).stream);
            uint32_t event = s.kind == STREAM_KIND_ITEMS ? s.parent : s.id;
            bool wanted = pass->all_events || event == STREAM_ROWS;
            for (uint32_t e = 0; e < pass->n_events && !wanted; e++)
                wanted = pass->events[e] == event;
            if (!wanted || pass->slot_of[handle] >= 0) continue;
            add_number(p, &pass->columns, &pass->n_columns, id);
            pass->slot_of[handle] = (int32_t)pass->n_columns - 1;
        }
    }
    if (pass->n_columns > SCAN_MAX_COLUMNS)
        FAIL(err, LIMIT,
             "the question reads %u columns at once, more than %d: name the events it is about, or "
             "ask in several",
             pass->n_columns, SCAN_MAX_COLUMNS);
    if (!pass->all_events && pass->n_events > SCAN_MAX_EVENTS)
        FAIL(err, LIMIT, "the question is about more than %d events", SCAN_MAX_EVENTS);
    return 0;
}

int plan_passes(struct plan *p, struct keel_error *err) {
    for (unsigned stage = 0; stage < 2; stage++) {
        struct pass *common = NULL;
        for (uint32_t i = 0; i < p->n_machines; i++) {
            struct machine *m = p->machines[i];
            if (m->stage != stage || sees_nothing(m)) continue;
            if (goes_by_postings(p, m)) {
                bool fed = true;
                for (uint32_t e = 0; e < m->n_events && fed; e++)
                    fed = feed_rare(p, m, m->events[e]);
                if (!fed) FAIL(err, LIMIT, "the question is about too many different events");
                continue;
            }
            if (!common) common = new_pass(p, stage, false);
            if (!common) FAIL(err, LIMIT, "the question is about too many different events");
            feed_in_pass(p, common, m);
        }
    }
    for (uint32_t i = 0; i < p->n_passes; i++) {
        struct pass *pass = &p->passes[i];
        pass->blind = pass->all_events;
        for (uint32_t k = 0; k < pass->n_machines; k++) pass->blind &= pass->machines[k]->blind;
        TRY(pass_columns(p, pass, err));
    }
    return 0;
}

int plan_explain(const struct plan *p, struct buf *out) {
    for (uint32_t i = 0; i < p->n_passes; i++) {
        const struct pass *pass = &p->passes[i];
        bool stream = !pass->all_events && pass->n_events == 1 && is_rare(p, pass->events[0]);
        buf_printf(out, "%s%s %s of ", i ? "; " : "",
                   pass->stage == 0 ? "customers:" : "answer:", stream ? "stream" : "scan");
        if (pass->all_events) buf_add_text(out, "all events");
        for (uint32_t e = 0; !pass->all_events && e < pass->n_events; e++) {
            struct str name = schema_stream(p->schema, pass->events[e]).name;
            buf_printf(out, "%s\"%.*s\"", e ? ", " : "", STR_ARG(name));
        }
        buf_printf(out, ", %u column%s%s", pass->n_columns, pass->n_columns == 1 ? "" : "s",
                   pass->ordered ? ", in order" : "");
    }
    if (p->n_passes == 0) buf_add_text(out, "nothing to read");
    return out->failed;
}
