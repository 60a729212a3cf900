/* Implementation of shield.h: what may not be asked. */
#include "desk/plan/personal.h"
#include "desk/shield/shield_int.h"
#include "query/language/query_print.h"

/* The class of a property, or of the nearest of its front parts that has one. */
static enum plan_class class_in(const struct plan_event *event, struct str path) {
    while (event && path.n) {
        const struct plan_property *p = plan_property(event, path);
        if (p && p->class != PLAN_UNCLASSED) return p->class;
        while (path.n && path.p[--path.n] != '.') continue;
    }
    return PLAN_UNCLASSED;
}

/* That of the event; if the question is about several, the most careful one. */
static enum plan_class class_of(const struct plan_form *form, const struct query_prop *prop,
                                const struct query_event *event) {
    enum plan_class most = PLAN_UNCLASSED;
    if (prop->scope == QUERY_SCOPE_TRAIT)
        return class_in(plan_find(form, PLAN_IDENTIFY, STR("")), prop->path);
    if (prop->scope != QUERY_SCOPE_CONTEXT)
        for (uint32_t i = 0; i < form->event_count; i++) {
            const struct plan_event *e = &form->events[i];
            if (e->kind == PLAN_CONTEXT) continue;
            if (event && event->kind == QUERY_EVENT_TRACK &&
                (e->kind != PLAN_EVENT || !str_eq(e->name, event->name)))
                continue;
            enum plan_class class = class_in(e, prop->path);
            if (class > most) most = class;
        }
    if (most != PLAN_UNCLASSED || prop->scope == QUERY_SCOPE_PROPERTY) return most;
    return class_in(plan_find(form, PLAN_CONTEXT, STR("")), prop->path);
}

bool shield_is_personal(const struct plan_form *form, const struct query_prop *prop,
                        const struct query_event *event) {
    if (prop->scope == QUERY_SCOPE_EVENT) return false;
    enum plan_class class = class_of(form, prop, event);
    if (class != PLAN_UNCLASSED) return class >= PLAN_PERSONAL;
    bool trait = prop->scope == QUERY_SCOPE_TRAIT || str_starts(prop->path, STR("traits."));
    bool of_identify = event && event->kind == QUERY_EVENT_IDENTIFY;
    return personal_by_name(prop->path, trait || of_identify) != PERSONAL_NOT;
}

static int refuse(const struct query_prop *prop, const char *why, struct keel_error *err) {
    struct buf name;
    buf_init(&name, QUERY_MAX_NAME * 2);
    (void)!query_print_prop(prop, &name);
    int code =
        error_set(err, KEEL_E_FORBIDDEN, "%.*s is personal: %s", STR_ARG(buf_str(&name)), why);
    buf_release(&name);
    return code;
}

static int check_test(const struct plan_form *form, const struct query_prop *prop,
                      const struct query_event *event, const struct query_test *test,
                      struct keel_error *err) {
    switch (test->op) {
    case QUERY_EQ:
    case QUERY_NE:
    case QUERY_IN:
    case QUERY_NOT_IN:
    case QUERY_EXISTS:
    case QUERY_MISSING: return 0;
    default: break;
    }
    if (!shield_is_personal(form, prop, event)) return 0;
    return refuse(prop, "without the right personal.read compare it by = or in only", err);
}

static int check_filter(const struct plan_form *form, const struct query_event *event,
                        const struct query_filter *f, struct keel_error *err) {
    if (!f) return 0;
    for (uint32_t i = 0; i < f->n_items; i++) TRY(check_filter(form, event, f->items[i], err));
    if (f->kind != QUERY_FILTER_TEST) return 0;
    return check_test(form, &f->prop, event, &f->test, err);
}

static int check_event(const struct plan_form *form, const struct query_event *e,
                       struct keel_error *err) {
    return check_filter(form, e, e->filter, err);
}

static int check_events(const struct plan_form *form, const struct query_event *e, uint32_t n,
                        struct keel_error *err) {
    for (uint32_t i = 0; i < n; i++) TRY(check_event(form, &e[i], err));
    return 0;
}

/* A number or value made of a property is as personal as that; how many there are is not. */
static int check_measure(const struct plan_form *form, const struct query_measure *m,
                         struct keel_error *err) {
    TRY(check_event(form, &m->event, err));
    bool counts = m->agg == QUERY_COUNT_OF || m->agg == QUERY_UNIQUE || m->agg == QUERY_CUSTOMERS;
    if (!m->has_prop || counts || !shield_is_personal(form, &m->prop, &m->event)) return 0;
    return refuse(&m->prop, "its values need the right personal.read", err);
}

static int check_funnel(const struct plan_form *form, const struct query_funnel *f,
                        struct keel_error *err) {
    TRY(check_events(form, f->steps, f->n_steps, err));
    return check_events(form, f->without, f->n_without, err);
}

static int check_cond(const struct plan_form *form, const struct query_cond *c,
                      struct keel_error *err) {
    if (!c) return 0;
    for (uint32_t i = 0; i < c->n_items; i++) TRY(check_cond(form, c->items[i], err));
    switch (c->kind) {
    case QUERY_COND_DID: return check_event(form, &c->event, err);
    case QUERY_COND_FOLLOWED:
        TRY(check_event(form, &c->event, err));
        return check_event(form, &c->then, err);
    case QUERY_COND_MEASURE: return check_measure(form, &c->measure, err);
    case QUERY_COND_TRAIT: return check_test(form, &c->trait, NULL, &c->test, err);
    case QUERY_COND_FUNNEL: return check_funnel(form, c->funnel, err);
    case QUERY_COND_AND:
    case QUERY_COND_OR:
    case QUERY_COND_NOT:
    case QUERY_COND_IDENTIFIED:
    case QUERY_COND_ANONYMOUS:
    case QUERY_COND_SEGMENT: return 0;
    default: FAIL(err, FORBIDDEN, "this condition needs the right personal.read");
    }
}

static int check_split(const struct plan_form *form, const struct query_term *t,
                       const struct query_event *event, struct keel_error *err) {
    if (t->kind == QUERY_TERM_MEASURE) return check_measure(form, &t->measure, err);
    if (t->kind == QUERY_TERM_SEGMENT) return 0; /* its sets are compared: shield.c */
    if (!shield_is_personal(form, &t->prop, event)) return 0;
    return refuse(&t->prop, "splitting by it needs the right personal.read", err);
}

/* The forms, one by one: one that is not known here is not for everybody. */
static int check_form(const struct plan_form *form, const struct query *q,
                      const struct query_event **of, struct keel_error *err) {
    switch (q->form) {
    case QUERY_COUNT: return 0;
    case QUERY_FUNNEL: *of = &q->funnel.steps[0]; return check_funnel(form, &q->funnel, err);
    case QUERY_RETENTION:
        TRY(check_event(form, &q->retention.from, err));
        return check_event(form, &q->retention.to, err);
    case QUERY_REPEAT: return check_event(form, &q->repeat.event, err);
    case QUERY_TREND:
        for (uint32_t i = 0; i < q->trend.n_measures; i++)
            TRY(check_measure(form, &q->trend.measures[i], err));
        return 0;
    case QUERY_TIME:
        *of = &q->time.from;
        TRY(check_event(form, &q->time.from, err));
        return check_event(form, &q->time.to, err);
    case QUERY_PATHS: return check_events(form, q->paths.alphabet, q->paths.n_alphabet, err);
    case QUERY_ATTRIBUTE:
        TRY(check_measure(form, &q->attribute.measure, err));
        return check_events(form, q->attribute.touches, q->attribute.n_touches, err);
    case QUERY_SESSIONS:
        return check_events(form, q->sessions.alphabet, q->sessions.n_alphabet, err);
    case QUERY_RFM: return check_event(form, &q->rfm.event, err);
    case QUERY_LIFECYCLE:
        return check_events(form, q->lifecycle.events, q->lifecycle.n_events, err);
    case QUERY_COMPARE:
        TRY(check_cond(form, q->compare.a, err));
        return check_cond(form, q->compare.b, err);
    case QUERY_TOP:
        TRY(check_event(form, &q->top.event, err));
        if (!shield_is_personal(form, &q->top.prop, &q->top.event)) return 0;
        return refuse(&q->top.prop, "its values need the right personal.read", err);
    case QUERY_LIST:
        FAIL(err, FORBIDDEN,
             "a list shows single customers, which needs the right personal.read; ask for count, "
             "or look at one customer whose id you know");
    default: FAIL(err, FORBIDDEN, "this form of question needs the right personal.read");
    }
}

int shield_admit(const struct plan_form *form, const struct query *q, struct keel_error *err) {
    const struct query_event *of = NULL; /* whose properties the splits are; NULL: of several */
    TRY(check_form(form, q, &of, err));
    TRY(check_cond(form, q->where, err));
    for (uint32_t i = 0; i < q->n_splits; i++) TRY(check_split(form, &q->splits[i], of, err));
    return 0;
}
