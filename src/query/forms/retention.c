/* The forms RETENTION, REPEAT and LIFECYCLE: who comes back, period by period.
 *
 * Two machines: per customer the period of his first A (or a bit for every period with an A), and a
 * bit for every period with a B. Order does not matter, so rare events come from their posting
 * copies. The bits of customers without an A are made as well: to look who has one took longer.
 * Folding a customer walks the bits of B from his cohort on. LIFECYCLE has one machine
 * an event, over the whole history, and walks the bits of their union: each says what the customer
 * is in its period, and the gap behind it when he lapsed.
 *
 * Layers: form_tools.h. Threads: see form.h. Limits: cells (groups × cohorts × periods) as
 * counters_room allows.
 */
#include "query/forms/form_tools.h"
#include "query/visits.h"
#include "store/scan/spine.h"

struct presence {
    struct machine machine;
    const struct periods *periods;
    uint32_t used; /* periods up to the last event */
    bool each;     /* every period; else the first only */
    struct match match;
};

struct presence_state {
    const struct presence *m;
    struct worker *worker;
    uint32_t words;  /* of a customer's bits */
    uint32_t *first; /* [slots] the first period, UINT32_MAX: none; unless each */
    uint64_t *bits;  /* [slots × words]; if each */
};

static int presence_open(const struct machine *m, struct worker *w, void *state,
                         struct keel_error *err) {
    struct presence_state *s = state;
    s->m = (const struct presence *)m;
    s->worker = w;
    s->words = s->m->used / 64 + 1;
    size_t n = w->plan->range_size;
    bool ok = s->m->each ? (s->bits = k_try_alloc_array(n * s->words, sizeof *s->bits)) != NULL
                         : (s->first = k_try_alloc_array(n, sizeof *s->first)) != NULL;
    if (!ok) FAIL(err, NO_MEMORY, "too little memory for %u periods", s->m->used);
    return 0;
}

static int presence_begin(void *state, struct range r, struct keel_error *err) {
    (void)err;
    struct presence_state *s = state;
    if (s->bits) memset(s->bits, 0, (size_t)r.count * s->words * sizeof *s->bits);
    if (s->first) memset(s->first, 0xff, r.count * sizeof *s->first);
    return 0;
}

static int presence_feed(void *state, struct feed *f, struct keel_error *err) {
    struct presence_state *s = state;
    struct visits v;
    TRY(visits_find(&s->m->match, s->m->periods, NULL, s->worker, f, &v, err));
    for (uint32_t k = 0; s->bits && k < v.n; k++)
        bit_set(s->bits + (size_t)v.slot[k] * s->words, v.period[k]);
    for (uint32_t k = 0; s->first && k < v.n; k++)
        if (v.period[k] < s->first[v.slot[k]]) s->first[v.slot[k]] = v.period[k];
    return 0;
}

static void presence_close(void *state) {
    struct presence_state *s = state;
    k_free(s->first);
    k_free(s->bits);
}

static const struct machine_ops OPS = {
    .state_bytes = sizeof(struct presence_state),
    .open = presence_open,
    .begin = presence_begin,
    .feed = presence_feed,
    .close = presence_close,
};

/* ---- both forms ---- */

struct retention_form {
    struct form form;
    struct presence *from, *to; /* REPEAT: only `to` */
    struct periods periods; /* to the end of the range, or of the events if it has none; no cohort
                               begins behind `used` */
    struct splits splits;
    uint32_t used;    /* periods up to the last event                                 */
    uint32_t columns; /* periods counted from a cohort's own on; those shown behind are 0 */
};

struct retention_state {
    const struct retention_form *f;
    struct worker *worker;
    struct splitter splitter;
    struct counters size; /* [group × cohort] customers of a cohort                  */
    struct counters back; /* [(group × cohort) × columns] of these, who came back    */
};

static int form_open(const struct form *form, struct worker *w, void *state,
                     struct keel_error *err) {
    struct retention_state *s = state;
    s->f = (const struct retention_form *)form;
    s->worker = w;
    return splitter_open(&s->splitter, &s->f->splits, w, err);
}

static void form_close(void *state) {
    struct retention_state *s = state;
    splitter_close(&s->splitter);
    counters_release(&s->size);
    counters_release(&s->back);
}

/* Periods of the span, and the splits. */
static int form_parts(struct retention_form *f, struct plan *p, struct span span,
                      struct keel_error *err) {
    TRY(periods_init(&f->periods, p->zone, p->q->period, span, &p->arena, err));
    f->used = f->periods.n;
    if (f->used > 0 && p->snap->max_time < f->periods.start[f->used])
        f->used = p->snap->max_time < f->periods.start[0]
                      ? 0
                      : period_of(&f->periods, p->snap->max_time) + 1;
    struct event_set none = {0};
    return splits_compile(p, &none, &f->splits, err);
}

static int presence_new(const struct retention_form *f, struct plan *p,
                        const struct query_event *event, struct span span, bool each,
                        struct presence **out, struct keel_error *err) {
    struct presence *m = arena_zalloc(&p->arena, sizeof *m);
    m->machine = (struct machine){.ops = &OPS, .stage = 1, .span = {INT64_MAX, INT64_MIN}};
    m->periods = &f->periods;
    m->used = f->used;
    m->each = each;
    m->machine.bytes_per_customer = each ? 8 * (f->used / 64 + 1) : 4;
    TRY(match_compile(p, event, span, &m->match, err));
    match_needs(p, &m->match, &m->machine);
    m->machine.blind = match_blind(&m->match);
    *out = m;
    return plan_add(p, &m->machine, err);
}

/* Fewer customers had the time to come back in a period that is cut off than in the others. */
static void note_incomplete(const struct retention_form *f, struct plan *p, int64_t end_ms) {
    char day[TIME_TEXT_MAX], end[TIME_TEXT_MAX];
    uint32_t n = f->periods.n;
    if (n == 0 || end_ms >= f->periods.start[n]) return;
    size_t n_day = day_format(time_day(p->zone, f->periods.start[n - 1]), day);
    size_t n_end = time_format(p->zone, end_ms - 1, end);
    plan_note(p, "the last %s, from %.*s, is incomplete: it is known up to %.*s",
              period_unit_name(p->q->period), (int)n_day, day, (int)n_end, end);
}

/* What periods are listed for: from the first event on, and to the last one if the range is open.
 * Zeros up to today would say that nobody came back, where nothing is known. */
static struct span shown_span(const struct plan *p, struct span span) {
    const struct query_range *r = &p->q->range;
    if (p->snap->rows == 0) return (struct span){0, 0};
    if (span.from_ms < p->snap->min_time) span.from_ms = p->snap->min_time;
    bool open = r->kind == QUERY_RANGE_ALL || (r->kind == QUERY_RANGE_SPAN && !r->has_to);
    return open ? plan_span(p, span) : span;
}

static int retention_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct retention_form *f = (struct retention_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms), shown = shown_span(p, span);
    TRY(form_parts(f, p, shown, err));
    note_incomplete(f, p, shown.to_ms);
    f->columns = f->used;
    if (q->retention.periods > 0 && q->retention.periods + 1 < f->columns)
        f->columns = q->retention.periods + 1;
    bool each = q->retention.start == QUERY_START_EACH;
    TRY(presence_new(f, p, &q->retention.from, span, each, &f->from, err));
    return presence_new(f, p, &q->retention.to, span, true, &f->to, err);
}

static int fold_cohort(struct retention_state *s, uint32_t group, uint32_t cohort,
                       const uint64_t *b, uint32_t words, struct keel_error *err) {
    const struct retention_form *f = s->f;
    uint64_t cell = (uint64_t)group * f->used + cohort, width = f->columns;
    TRY(counters_room(&s->size, (uint64_t)(group + 1) * f->used, err));
    TRY(counters_room(&s->back, (uint64_t)(group + 1) * f->used * width, err));
    s->size.n[cell]++;
    uint64_t *row = s->back.n + cell * width;
    for (uint32_t w = cohort / 64; w < words; w++) {
        uint64_t m = b[w];
        if (w == cohort / 64) m &= ~(uint64_t)0 << (cohort % 64);
        for (; m; m &= m - 1) {
            uint32_t k = w * 64 + (uint32_t)__builtin_ctzll(m) - cohort;
            if (k >= width) return 0;
            row[k]++;
        }
    }
    return 0;
}

/* Without splits, by the first A: mostly the bits of one word, in a row of one group. */
static int fold_plain(struct retention_state *s, const uint32_t *first,
                      const struct presence_state *to, uint32_t slots, struct keel_error *err) {
    const struct retention_form *f = s->f;
    uint32_t words = to->words, width = f->columns;
    if (f->used == 0) return 0;
    TRY(counters_room(&s->size, f->used, err));
    TRY(counters_room(&s->back, (uint64_t)f->used * width, err));
    for (uint32_t from = 0; from < slots; from += CHUNK_ROWS) {
        uint32_t n = slots - from < CHUNK_ROWS ? slots - from : CHUNK_ROWS;
        uint64_t nobody[BITS_WORDS] = {0}, in[BITS_WORDS];
        uint16_t at[CHUNK_ROWS];
        spine_kernels()->equal(first + from, n, UINT32_MAX, nobody);
        bits_first(in, n);
        for (uint32_t w = 0; w < BITS_WORDS; w++) in[w] &= ~nobody[w];
        n = bits_to_index(in, at);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t slot = from + at[k], cohort = first[slot];
            if (words > 1) {
                TRY(fold_cohort(s, 0, cohort, to->bits + (size_t)slot * words, words, err));
                continue;
            }
            uint64_t m = to->bits[slot] >> cohort, *row = s->back.n + (uint64_t)cohort * width;
            if (width < 64) m &= ((uint64_t)1 << width) - 1;
            s->size.n[cohort]++;
            for (; m; m &= m - 1) row[__builtin_ctzll(m)]++;
        }
    }
    return 0;
}

static int retention_fold(void *state, struct range r, struct keel_error *err) {
    struct retention_state *s = state;
    const struct presence_state *from = machine_state(s->worker, &s->f->from->machine);
    const struct presence_state *to = machine_state(s->worker, &s->f->to->machine);
    uint32_t words = to->words, group;
    TRY(splitter_begin(&s->splitter, r, s->worker->members, err));
    if (from->first && s->f->splits.n == 0) return fold_plain(s, from->first, to, r.count, err);
    for (uint32_t slot = 0; slot < r.count; slot++) {
        const uint64_t *b = to->bits + (size_t)slot * words;
        if (from->first) {
            if (from->first[slot] == UINT32_MAX) continue;
            TRY(splitter_customer(&s->splitter, slot, &group, err));
            TRY(fold_cohort(s, group, from->first[slot], b, words, err));
            continue;
        }
        for (uint32_t w = 0; w < words; w++)
            for (uint64_t a = from->bits[(size_t)slot * words + w]; a; a &= a - 1) {
                uint32_t cohort = w * 64 + (uint32_t)__builtin_ctzll(a);
                TRY(splitter_customer(&s->splitter, slot, &group, err));
                TRY(fold_cohort(s, group, cohort, b, words, err));
            }
    }
    return 0;
}

/* Adds the workers' counters up, by the merged groups. */
static int total(const struct merged *m, const struct worker *workers, uint32_t n, uint64_t width,
                 bool of_size, struct counters *out, struct keel_error *err) {
    TRY(counters_room(out, m->groups.count * width + 1, err));
    for (uint32_t i = 0; i < n; i++) {
        const struct retention_state *s = workers[i].form;
        const struct counters *c = of_size ? &s->size : &s->back;
        for (uint64_t at = 0; at < c->count; at++)
            out->n[m->map[i][at / width] * width + at % width] += c->n[at];
    }
    return 0;
}

static int merge_groups(const struct retention_form *f, const struct worker *workers, uint32_t n,
                        struct merged *m, struct keel_error *err) {
    const struct groups **groups = k_alloc_array(n + 1, sizeof(struct groups *));
    for (uint32_t i = 0; i < n; i++)
        groups[i] = &((const struct retention_state *)workers[i].form)->splitter.groups;
    int code = merged_init(m, f->splits.n, groups, n, err);
    k_free(groups);
    return code;
}

static int retention_cohort(const struct retention_form *f, const struct merged *m, uint32_t group,
                            uint32_t cohort, uint64_t size, const uint64_t *back,
                            struct result *out, struct keel_error *err) {
    uint32_t limit = f->form.plan->q->retention.periods;
    for (uint32_t k = 0; cohort + k < f->periods.n && (limit == 0 || k <= limit); k++) {
        struct datum cells[QUERY_MAX_SPLITS + 5];
        group_cells(&m->groups, group, cells);
        struct datum *rest = cells + m->groups.n_terms;
        uint64_t came = k < f->columns ? back[k] : 0;
        rest[0] = period_datum(&f->periods, f->form.plan->zone, cohort);
        rest[1] = datum_integer(k);
        rest[2] = datum_integer(size);
        rest[3] = datum_integer(came);
        rest[4] = datum_number((double)came / (double)size);
        TRY(result_row(out, cells, err));
    }
    return 0;
}

static int retention_rows(const struct retention_form *f, const struct merged *m,
                          const struct counters *size, const struct counters *back,
                          struct result *out, struct keel_error *err) {
    for (uint32_t i = 0; i < m->groups.count; i++)
        for (uint32_t c = 0; c < f->used; c++) {
            uint64_t at = (uint64_t)m->order[i] * f->used + c;
            if (size->n[at] == 0) continue;
            TRY(retention_cohort(f, m, m->order[i], c, size->n[at], back->n + at * f->columns, out,
                                 err));
        }
    return 0;
}

static int retention_answer(const struct form *form, struct worker *workers, uint32_t n,
                            struct result *out, struct keel_error *err) {
    const struct retention_form *f = (const struct retention_form *)form;
    const struct query *q = form->plan->q;
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(result_column(out, STR("cohort"), DATUM_DATE, err));
    TRY(result_column(out, STR("period"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("size"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("rate"), DATUM_NUMBER, err));
    if (f->used == 0) return 0;
    struct merged m;
    struct counters size = {0}, back = {0};
    int code = merge_groups(f, workers, n, &m, err);
    if (code == 0) code = total(&m, workers, n, f->used, true, &size, err);
    if (code == 0) code = total(&m, workers, n, (uint64_t)f->used * f->columns, false, &back, err);
    if (code == 0) code = retention_rows(f, &m, &size, &back, out, err);
    counters_release(&size);
    counters_release(&back);
    merged_release(&m);
    return code;
}

const struct form_ops FORM_RETENTION = {
    .form_bytes = sizeof(struct retention_form),
    .state_bytes = sizeof(struct retention_state),
    .plan = retention_plan,
    .open = form_open,
    .fold = retention_fold,
    .answer = retention_answer,
    .close = form_close,
};

/* ---- repeat: one cohort, the period in which the range begins ---- */

static int repeat_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct retention_form *f = (struct retention_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    if (span.from_ms == INT64_MIN) FAIL(err, INVALID, "repeat needs a range with a beginning");
    TRY(form_parts(f, p, span, err));
    return presence_new(f, p, &q->repeat.event, span, true, &f->to, err);
}

static int repeat_fold(void *state, struct range r, struct keel_error *err) {
    struct retention_state *s = state;
    const struct presence_state *m = machine_state(s->worker, &s->f->to->machine);
    TRY(splitter_begin(&s->splitter, r, s->worker->members, err));
    uint32_t used = s->f->used;
    for (uint32_t slot = 0; slot < r.count; slot++) {
        const uint64_t *b = m->bits + (size_t)slot * m->words;
        if (!(b[0] & 1)) continue;
        uint32_t group;
        TRY(splitter_customer(&s->splitter, slot, &group, err));
        TRY(counters_room(&s->back, (uint64_t)(group + 1) * used, err));
        for (uint32_t w = 0; w < m->words; w++)
            for (uint64_t bits = b[w]; bits; bits &= bits - 1)
                s->back.n[(uint64_t)group * used + w * 64 + (uint32_t)__builtin_ctzll(bits)]++;
    }
    return 0;
}

static int repeat_rows(const struct retention_form *f, const struct merged *m,
                       const struct counters *back, struct result *out, struct keel_error *err) {
    for (uint32_t i = 0; i < m->groups.count; i++) {
        const uint64_t *row = back->n + (uint64_t)m->order[i] * f->used;
        uint64_t size = f->used > 0 ? row[0] : 0;
        for (uint32_t k = 0; k < f->periods.n; k++) {
            struct datum cells[QUERY_MAX_SPLITS + 3];
            group_cells(&m->groups, m->order[i], cells);
            struct datum *rest = cells + m->groups.n_terms;
            uint64_t came = k < f->used ? row[k] : 0;
            rest[0] = period_datum(&f->periods, f->form.plan->zone, k);
            rest[1] = datum_integer(came);
            rest[2] = size ? datum_number((double)came / (double)size) : datum_null();
            TRY(result_row(out, cells, err));
        }
    }
    return 0;
}

static int repeat_answer(const struct form *form, struct worker *workers, uint32_t n,
                         struct result *out, struct keel_error *err) {
    const struct retention_form *f = (const struct retention_form *)form;
    const struct query *q = form->plan->q;
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    TRY(add_period_column(q->period, out, err));
    TRY(result_column(out, STR("customers"), DATUM_INTEGER, err));
    TRY(result_column(out, STR("rate"), DATUM_NUMBER, err));
    struct merged m;
    struct counters back = {0};
    int code = merge_groups(f, workers, n, &m, err);
    if (code == 0 && f->used > 0) code = total(&m, workers, n, f->used, false, &back, err);
    if (code == 0) code = repeat_rows(f, &m, &back, out, err);
    counters_release(&back);
    merged_release(&m);
    return code;
}

const struct form_ops FORM_REPEAT = {
    .form_bytes = sizeof(struct retention_form),
    .state_bytes = sizeof(struct retention_state),
    .plan = repeat_plan,
    .open = form_open,
    .fold = repeat_fold,
    .answer = repeat_answer,
    .close = form_close,
};

/* ---- lifecycle: new, retained, returned, lapsed ---- */

enum { NEW, RETAINED, RETURNED, LAPSED, LIFE_FACTS };

struct lifecycle_form {
    struct retention_form shared; /* its periods: those of the whole history */
    struct presence *did[QUERY_MAX_EVENTS];
    uint32_t n;
    uint32_t begin; /* the first period that is shown */
};

static int lifecycle_plan(struct form *form, struct plan *p, struct keel_error *err) {
    struct lifecycle_form *f = (struct lifecycle_form *)form;
    const struct query *q = p->q;
    struct span span = range_span(p->zone, &q->range, p->at_ms);
    struct span shown = shown_span(p, span), history = shown, seen = {INT64_MIN, span.to_ms};
    if (span_empty(shown))
        seen = (struct span){0, 0};
    else
        history.from_ms = p->snap->min_time;
    TRY(form_parts(&f->shared, p, history, err));
    note_incomplete(&f->shared, p, shown.to_ms);
    if (f->shared.periods.n > 0) f->begin = period_of(&f->shared.periods, shown.from_ms);
    f->n = q->lifecycle.n_events;
    for (uint32_t i = 0; i < f->n; i++)
        TRY(presence_new(&f->shared, p, &q->lifecycle.events[i], seen, true, &f->did[i], err));
    return 0;
}

/* Counts what a customer with these bits is; row: [period x LIFE_FACTS]. */
static void live_through(const uint64_t *bits, uint32_t words, uint32_t periods, uint64_t *row) {
    uint32_t next = UINT32_MAX; /* the period behind the last active one */
    for (uint32_t w = 0; w < words; w++)
        for (uint64_t m = bits[w]; m; m &= m - 1) {
            uint32_t k = w * 64 + (uint32_t)__builtin_ctzll(m);
            unsigned is = next == UINT32_MAX ? NEW : next == k ? RETAINED : RETURNED;
            row[(uint64_t)k * LIFE_FACTS + is]++;
            if (is == RETURNED) row[(uint64_t)next * LIFE_FACTS + LAPSED]++;
            next = k + 1;
        }
    if (next < periods) row[(uint64_t)next * LIFE_FACTS + LAPSED]++;
}

static bool has_any(const struct presence_state *s, uint32_t slot) {
    uint64_t any = 0;
    for (uint32_t w = 0; w < s->words; w++) any |= s->bits[(size_t)slot * s->words + w];
    return any != 0;
}

static int lifecycle_fold(void *state, struct range r, struct keel_error *err) {
    struct retention_state *s = state;
    const struct lifecycle_form *f = (const struct lifecycle_form *)s->f;
    const struct presence_state *all = machine_state(s->worker, &f->did[0]->machine);
    uint64_t width = (uint64_t)f->shared.periods.n * LIFE_FACTS;
    TRY(splitter_begin(&s->splitter, r, s->worker->members, err));
    for (uint32_t i = 1; i < f->n; i++) {
        const struct presence_state *one = machine_state(s->worker, &f->did[i]->machine);
        for (size_t w = 0; w < (size_t)r.count * all->words; w++) all->bits[w] |= one->bits[w];
    }
    for (uint32_t slot = 0; slot < r.count; slot++) {
        uint32_t group;
        if (!has_any(all, slot)) continue;
        TRY(splitter_customer(&s->splitter, slot, &group, err));
        TRY(counters_room(&s->back, (group + 1) * width, err));
        live_through(all->bits + (size_t)slot * all->words, all->words, f->shared.periods.n,
                     s->back.n + group * width);
    }
    return 0;
}

/* known: who did it before this period. */
static int lifecycle_row(const struct lifecycle_form *f, const struct merged *m, uint32_t group,
                         uint32_t period, uint64_t known, const uint64_t *facts, struct result *out,
                         struct keel_error *err) {
    struct datum cells[QUERY_MAX_SPLITS + 7], *at = cells;
    uint64_t again = facts[RETAINED] + facts[RETURNED];
    *at++ = period_datum(&f->shared.periods, f->shared.form.plan->zone, period);
    group_cells(&m->groups, group, at);
    at += m->groups.n_terms;
    *at++ = datum_integer(facts[NEW] + again);
    for (unsigned i = 0; i < LIFE_FACTS; i++) *at++ = datum_integer(facts[i]);
    *at++ = datum_integer(known - again - facts[LAPSED]);
    return result_row(out, cells, err);
}

static int lifecycle_rows(const struct lifecycle_form *f, const struct merged *m,
                          const struct counters *lives, struct result *out,
                          struct keel_error *err) {
    uint32_t periods = f->shared.periods.n, groups = m->groups.count;
    uint64_t *known = k_try_zalloc((groups + 1) * sizeof *known);
    if (!known) FAIL(err, NO_MEMORY, "too little memory for %u groups", groups);
    int code = 0;
    for (uint32_t k = 0; k < periods; k++)
        for (uint32_t i = 0; i < groups && code == 0; i++) {
            uint32_t group = m->order[i];
            const uint64_t *facts = lives->n + ((uint64_t)group * periods + k) * LIFE_FACTS;
            bool has = m->groups.n_terms == 0 || known[group] + facts[NEW] > 0;
            if (k >= f->begin && has)
                code = lifecycle_row(f, m, group, k, known[group], facts, out, err);
            known[group] += facts[NEW];
        }
    k_free(known);
    return code;
}

static int lifecycle_answer(const struct form *form, struct worker *workers, uint32_t n,
                            struct result *out, struct keel_error *err) {
    static const char *const names[] = {"active",   "new",    "retained",
                                        "returned", "lapsed", "dormant"};
    const struct lifecycle_form *f = (const struct lifecycle_form *)form;
    const struct query *q = form->plan->q;
    TRY(add_period_column(q->period, out, err));
    TRY(add_term_columns(q->splits, q->n_splits, out, err));
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        TRY(result_column(out, str_from(names[i]), DATUM_INTEGER, err));
    if (f->shared.periods.n == 0) return 0;
    struct merged m;
    struct counters lives = {0};
    int code = merge_groups(&f->shared, workers, n, &m, err);
    if (code == 0)
        code =
            total(&m, workers, n, (uint64_t)f->shared.periods.n * LIFE_FACTS, false, &lives, err);
    if (code == 0) code = lifecycle_rows(f, &m, &lives, out, err);
    counters_release(&lives);
    merged_release(&m);
    return code;
}

const struct form_ops FORM_LIFECYCLE = {
    .form_bytes = sizeof(struct lifecycle_form),
    .state_bytes = sizeof(struct retention_state),
    .plan = lifecycle_plan,
    .open = form_open,
    .fold = lifecycle_fold,
    .answer = lifecycle_answer,
    .close = form_close,
};
