/* The form FUNNEL: how many customers came to each step, and how long each step took.
 *
 * The work is in funnel.c and funnel_exact.c. Per group and level the customers are counted; for
 * the medians the times from step to step of every chain are kept.
 *
 * Layers: funnel.h, form_tools.h. Threads: see form.h. Limits: TIMES_MAX kept times a worker.
 */
#include <stdlib.h>

#include "query/form_tools.h"
#include "query/funnel.h"

enum { TIMES_MAX = 1 << 27 };

struct step_time {
    int64_t ms;
    uint32_t group, step;
};

struct funnel_form {
    struct form form;
    struct funnel *funnel;
    struct splits splits;
};

struct funnel_total {
    const struct funnel_form *f;
    struct worker *worker;
    struct counters levels; /* [group × (n + 1)] customers of that level */
    struct step_time *times;
    uint32_t n_times, cap_times;
};

static int form_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct funnel_form *f = (struct funnel_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct match first; /* whose properties the splits name */
    TRY(match_compile(p, &q->funnel.steps[0], span, &first, err));
    TRY(splits_compile(p, &first.events, &f->splits, err));
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
    k_free(s->times);
}

static int keep_times(struct funnel_total *s, uint32_t group, uint32_t level, const int64_t *times,
                      struct keel_error *err) {
    if (s->n_times + level > s->cap_times) {
        uint32_t cap = s->cap_times ? s->cap_times * 2 : 1 << 12;
        struct step_time *grown =
            cap <= TIMES_MAX ? k_try_realloc(s->times, (size_t)cap * sizeof *grown) : NULL;
        if (!grown) FAIL(err, LIMIT, "too many customers for medians: narrow the question");
        s->times = grown;
        s->cap_times = cap;
    }
    for (uint32_t j = 1; j < level; j++)
        s->times[s->n_times++] = (struct step_time){times[j] - times[j - 1], group, j};
    return 0;
}

static int form_fold(void *state, struct range r, struct keel_error *err) {
    struct funnel_total *s = state;
    const struct funnel *funnel = s->f->funnel;
    uint32_t width = funnel->n + 1;
    for (uint32_t slot = 0; slot < r.count; slot++) {
        uint32_t level = funnel_level(s->worker, funnel, slot);
        if (level == 0) continue;
        uint32_t group = s->f->splits.n ? funnel_group(s->worker, funnel, slot) : 0;
        TRY(counters_room(&s->levels, (uint64_t)(group + 1) * width, err));
        s->levels.n[(uint64_t)group * width + level]++;
        TRY(keep_times(s, group, level, funnel_times(s->worker, funnel, slot), err));
    }
    return 0;
}

/* ---- the answer ---- */

static int by_group_step_time(const void *a, const void *b) {
    const struct step_time *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return (x->ms > y->ms) - (x->ms < y->ms);
}

struct funnel_answer {
    const struct funnel_form *f;
    struct merged merged;
    uint64_t *levels; /* [group × (n + 1)] */
    struct step_time *times;
    uint64_t n_times;
};

static int add_up(struct funnel_answer *a, struct worker *workers, uint32_t n,
                  struct keel_error *err) {
    uint32_t width = a->f->funnel->n + 1;
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += ((const struct funnel_total *)workers[i].form)->n_times;
    a->levels = k_try_zalloc((a->merged.groups.count + 1) * (size_t)width * sizeof *a->levels);
    a->times = k_try_alloc_array(total + 1, sizeof *a->times);
    if (!a->levels || !a->times) FAIL(err, NO_MEMORY, "too little memory for a funnel's answer");
    for (uint32_t i = 0; i < n; i++) {
        const struct funnel_total *s = workers[i].form;
        const uint32_t *map = a->merged.map[i];
        for (uint64_t at = 0; at < s->levels.count; at++)
            a->levels[map[at / width] * (uint64_t)width + at % width] += s->levels.n[at];
        for (uint32_t k = 0; k < s->n_times; k++) {
            a->times[a->n_times] = s->times[k];
            a->times[a->n_times++].group = map[s->times[k].group];
        }
    }
    qsort(a->times, a->n_times, sizeof *a->times, by_group_step_time);
    return 0;
}

/* The times of one group and step: they stand together. */
static struct datum median(const struct funnel_answer *a, uint32_t group, uint32_t step) {
    struct step_time wanted = {.ms = INT64_MIN, .group = group, .step = step};
    uint64_t low = 0, high = a->n_times;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (by_group_step_time(&a->times[mid], &wanted) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    uint64_t end = low, top = a->n_times;
    wanted.ms = INT64_MAX;
    while (end < top) {
        uint64_t mid = end + (top - end) / 2;
        if (by_group_step_time(&a->times[mid], &wanted) <= 0)
            end = mid + 1;
        else
            top = mid;
    }
    if (end == low) return datum_null();
    return datum_number((double)a->times[low + (end - low + 1) / 2 - 1].ms / 1e3);
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
        TRY(event_name(&q->funnel.steps[k], &out->text, &names[k], err));
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
