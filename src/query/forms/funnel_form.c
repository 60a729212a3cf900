/* The form FUNNEL: how many customers came to each step, and how long each step took.
 *
 * The work is in funnel.c and funnel_exact.c. Per group and level the customers are counted; for
 * the medians the times from step to step of every chain are kept.
 *
 * Layers: funnel.h, form_tools.h. Threads: see form.h. Limits: TIMES_MAX kept times a step and
 * worker.
 */
#include <stdio.h>

#include "query/forms/form_tools.h"
#include "query/forms/funnel.h"
#include "query/rank.h"

enum { TIMES_MAX = 1 << 26 };

/* How long customers took from the step before to one step, and in which group. */
struct step_times {
    int64_t *ms;
    uint32_t *group; /* NULL: there are no splits */
    uint32_t n, cap;
};

struct funnel_form {
    struct form form;
    struct funnel *funnel;
    struct splits splits;
};

struct funnel_total {
    const struct funnel_form *f;
    struct worker *worker;
    struct counters levels;                    /* [group × (n + 1)] customers of that level */
    struct step_times times[QUERY_MAX_EVENTS]; /* by step, from 0; of the first none */
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct funnel_form *f = (struct funnel_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct match first[QUERY_MAX_EVENTS]; /* whose properties the splits name */
    struct event_set of;
    uint32_t n_first = q->funnel.any_order ? q->funnel.n_steps : 1;
    for (uint32_t i = 0; i < n_first; i++)
        TRY(match_compile(p, &q->funnel.steps[i], span, &first[i], err));
    match_union(p, first, n_first, &of);
    TRY(splits_compile(p, &of, &f->splits, err));
    struct funnel_wants wants = {
        .stage = 1, .splits = f->splits.n ? &f->splits : NULL, .times = true};
    return funnel_new(p, &q->funnel, span, &wants, &f->funnel, err);
}

static int form_open(const struct form *form, struct worker *w, void *state,
                     struct keel_error *err) {
    (void)err;
    struct funnel_total *s = state;
    s->f = (const struct funnel_form *)form;
    s->worker = w;
    return 0;
}

static void form_close(void *state) {
    struct funnel_total *s = state;
    counters_release(&s->levels);
    for (uint32_t j = 0; j < QUERY_MAX_EVENTS; j++) {
        k_free(s->times[j].ms);
        k_free(s->times[j].group);
    }
}

/* Room for the times of `more` customers, whoever they are. */
static int times_room(struct funnel_total *s, uint32_t more, struct keel_error *err) {
    for (uint32_t j = 1; j < s->f->funnel->n; j++) {
        struct step_times *l = &s->times[j];
        if (l->cap - l->n >= more) continue;
        uint32_t cap = 2 * l->n > l->n + more ? 2 * l->n : l->n + more;
        int64_t *ms = cap <= TIMES_MAX ? k_try_realloc(l->ms, cap * sizeof *ms) : NULL;
        if (ms) l->ms = ms;
        uint32_t *group = NULL;
        if (ms && s->f->splits.n > 0) group = k_try_realloc(l->group, cap * sizeof *group);
        if (group) l->group = group;
        if (!ms || (s->f->splits.n > 0 && !group))
            FAIL(err, LIMIT, "too many customers for medians: narrow the question");
        l->cap = cap;
    }
    return 0;
}

/* Stored for every step, kept for those that were reached: how far cannot be foretold. */
static inline void keep_times(struct funnel_total *s, uint32_t steps, uint32_t group,
                              uint32_t level, const int64_t *times) {
    for (uint32_t j = 1; j < steps; j++) {
        struct step_times *l = &s->times[j];
        l->ms[l->n] = (int64_t)((uint64_t)times[j] - (uint64_t)times[j - 1]);
        if (l->group) l->group[l->n] = group;
        l->n += j < level;
    }
}

/* Without splits most customers are one more of their level; only those with times are looked at,
 * eight levels at a time. */
static int fold_plain(struct funnel_total *s, struct range r, struct keel_error *err) {
    const struct funnel *funnel = s->f->funnel;
    const uint8_t *levels = funnel_levels(s->worker, funnel);
    const uint64_t ones = UINT64_C(0x0101010101010101), low = 0x7f * ones;
    TRY(counters_room(&s->levels, funnel->n + 1, err));
    for (uint32_t from = 0; from < r.count; from += 8) {
        uint32_t n = r.count - from < 8 ? r.count - from : 8;
        uint64_t eight = 0;
        memcpy(&eight, levels + from, n);
        uint64_t further = ((eight & ~ones) + low) & ~low; /* no level has the highest bit */
        s->levels.n[1] += (uint64_t)__builtin_popcountll(eight & ones & ~(further >> 7));
        for (; further; further &= further - 1) {
            uint32_t slot = from + (uint32_t)__builtin_ctzll(further) / 8;
            s->levels.n[levels[slot]]++;
            keep_times(s, funnel->n, 0, levels[slot], funnel_times(s->worker, funnel, slot));
        }
    }
    return 0;
}

static int form_fold(void *state, struct range r, struct keel_error *err) {
    struct funnel_total *s = state;
    const struct funnel *funnel = s->f->funnel;
    TRY(times_room(s, r.count, err));
    if (s->f->splits.n == 0) return fold_plain(s, r, err);
    uint32_t width = funnel->n + 1;
    for (uint32_t slot = 0; slot < r.count; slot++) {
        uint32_t level = funnel_level(s->worker, funnel, slot);
        if (level == 0) continue;
        uint32_t group = funnel_group(s->worker, funnel, slot);
        TRY(counters_room(&s->levels, (uint64_t)(group + 1) * width, err));
        s->levels.n[(uint64_t)group * width + level]++;
        keep_times(s, funnel->n, group, level, funnel_times(s->worker, funnel, slot));
    }
    return 0;
}

/* ---- the answer ---- */

struct funnel_answer {
    const struct funnel_form *f;
    struct merged merged;
    uint64_t *levels; /* [group × (n + 1)] */
    uint64_t *from;   /* [group × n + step] where the times of a group's step begin */
    int64_t *times;   /* from step to step, by group and step */
};

/* Lays the workers' times out by group and step (a counting sort, but for who has one group). */
static void count_times(struct funnel_answer *a, const struct funnel_total *s, const uint32_t *map,
                        uint32_t step) {
    const struct step_times *l = &s->times[step];
    uint64_t *from = a->from + step + 2, steps = a->f->funnel->n;
    if (!l->group && l->n > 0) from[map[0] * steps] += l->n;
    for (uint32_t k = 0; l->group && k < l->n; k++) from[map[l->group[k]] * steps]++;
}

static void place_times(struct funnel_answer *a, const struct funnel_total *s, const uint32_t *map,
                        uint32_t step) {
    const struct step_times *l = &s->times[step];
    uint64_t *from = a->from + step + 1, steps = a->f->funnel->n;
    if (!l->group && l->n > 0) {
        memcpy(a->times + from[map[0] * steps], l->ms, l->n * sizeof *l->ms);
        from[map[0] * steps] += l->n;
    }
    for (uint32_t k = 0; l->group && k < l->n; k++)
        a->times[from[map[l->group[k]] * steps]++] = l->ms[k];
}

static int lay_out(struct funnel_answer *a, struct worker *workers, uint32_t n,
                   struct keel_error *err) {
    uint32_t steps = a->f->funnel->n;
    uint64_t lists = (uint64_t)a->merged.groups.count * steps;
    a->from = k_try_zalloc((lists + 2) * sizeof *a->from);
    if (!a->from) FAIL(err, NO_MEMORY, "too little memory for a funnel's answer");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 1; j < steps; j++) count_times(a, workers[i].form, a->merged.map[i], j);
    for (uint64_t l = 2; l < lists + 2; l++) a->from[l] += a->from[l - 1];
    a->times = k_try_alloc_array(a->from[lists + 1] + 1, sizeof *a->times);
    if (!a->times) FAIL(err, NO_MEMORY, "too little memory for a funnel's answer");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 1; j < steps; j++) place_times(a, workers[i].form, a->merged.map[i], j);
    return 0;
}

static int add_up(struct funnel_answer *a, struct worker *workers, uint32_t n,
                  struct keel_error *err) {
    uint32_t width = a->f->funnel->n + 1;
    a->levels = k_try_zalloc((a->merged.groups.count + 1) * (size_t)width * sizeof *a->levels);
    if (!a->levels) FAIL(err, NO_MEMORY, "too little memory for a funnel's answer");
    for (uint32_t i = 0; i < n; i++) {
        const struct funnel_total *s = workers[i].form;
        const uint32_t *map = a->merged.map[i];
        for (uint64_t at = 0; at < s->levels.count; at++)
            a->levels[map[at / width] * (uint64_t)width + at % width] += s->levels.n[at];
    }
    return lay_out(a, workers, n, err);
}

/* The value at rank n / 2, rounded up, of the times to a step. */
static struct datum median(const struct funnel_answer *a, uint32_t group, uint32_t step) {
    uint64_t list = (uint64_t)group * a->f->funnel->n + step;
    uint64_t n = a->from[list + 1] - a->from[list];
    if (n == 0) return datum_null();
    return datum_number((double)rank_select(a->times + a->from[list], n, (n + 1) / 2 - 1) / 1e3);
}

static int show_group(const struct funnel_answer *a, uint32_t group, const struct str *names,
                      struct result *out, struct keel_error *err) {
    uint32_t n = a->f->funnel->n;
    const uint64_t *levels = a->levels + (uint64_t)group * (n + 1);
    uint64_t reached[QUERY_MAX_EVENTS + 1] = {0};
    for (uint32_t k = n; k-- > 0;) reached[k] = reached[k + 1] + levels[k + 1];
    if (reached[0] == 0 && a->f->splits.n > 0) return 0;
    for (uint32_t k = 0; k < n; k++) {
        struct datum cells[QUERY_MAX_SPLITS + 5];
        group_cells(&a->merged.groups, group, cells);
        struct datum *rest = cells + a->f->splits.n;
        rest[0] = datum_integer(k + 1);
        rest[1] = datum_str(names[k]);
        rest[2] = datum_integer(reached[k]);
        rest[3] = reached[0] ? datum_number((double)reached[k] / (double)reached[0]) : datum_null();
        rest[4] = k == 0 ? datum_null() : median(a, group, k);
        TRY(result_row(out, cells, err));
    }
    return 0;
}

/* In any order it is not known which step comes k-th. */
static int step_name(const struct query_funnel *f, uint32_t k, struct result *out, struct str *name,
                     struct keel_error *err) {
    char text[40];
    if (!f->any_order) return event_name(&f->steps[k], &out->text, name, err);
    int n = k + 1 < f->n_steps ? snprintf(text, sizeof text, "any %u of %u", k + 1, f->n_steps)
                               : snprintf(text, sizeof text, "all %u", f->n_steps);
    *name = str_dup(&out->text, (struct str){text, (size_t)n});
    return 0;
}

static int form_answer(const struct form *form, struct worker *workers, uint32_t n,
                       struct result *out, struct keel_error *err) {
    struct funnel_answer a = {.f = (const struct funnel_form *)form};
    const struct query *q = form->plan->q;
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("step"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("event"), DATUM_STRING, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("rate"), DATUM_NUMBER, err));
    TRY(result_column(out, STR("median_seconds"), DATUM_NUMBER, err));
    struct str names[QUERY_MAX_EVENTS];
    for (uint32_t k = 0; k < a.f->funnel->n; k++)
        TRY(step_name(&q->funnel, k, out, &names[k], err));
    struct groups none;
    groups_init(&none, 0);
    const struct groups **groups = k_alloc_array(n + 1, sizeof(struct groups *));
    for (uint32_t i = 0; i < n; i++) {
        struct splitter *s = funnel_splitter(&workers[i], a.f->funnel);
        groups[i] = s ? &s->groups : &none;
    }
    int code = merged_init(&a.merged, a.f->splits.n, groups, n, err);
    if (code == 0) code = add_up(&a, workers, n, err);
    for (uint32_t i = 0; i < a.merged.groups.count && code == 0; i++)
        code = show_group(&a, a.merged.order[i], names, out, err);
    k_free(a.levels);
    k_free(a.from);
    k_free(a.times);
    merged_release(&a.merged);
    groups_release(&none);
    k_free(groups);
    return code;
}

const struct form_ops FORM_FUNNEL = {
    .form_bytes = sizeof(struct funnel_form),
    .state_bytes = sizeof(struct funnel_total),
    .plan = form_plan,
    .open = form_open,
    .fold = form_fold,
    .answer = form_answer,
    .close = form_close,
};
