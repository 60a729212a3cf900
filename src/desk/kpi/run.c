/* Implementation of kpi/run.h.
 *
 * A leaf's tree is copied for each question and given its range, as if it had been written there.
 * What a leaf said for (grain, start, n) or for a range is kept for the length of the run: a tree
 * whose ratio and product share a leaf asks once.
 */
#include "desk/kpi/run.h"

#include <math.h>

#include "base/hash.h"
#include "desk/audience/audience.h"
#include "query/exec.h"
#include "query/language/check.h"

enum { MEMOS = 4096, ARENA_BYTES = 256 << 20 };

struct memo {
    char hash[KPI_HASH_TEXT]; /* of the leaf's query; "": all events */
    int grain;                /* -1: a range                         */
    int32_t from, to;
    double *values;
};

struct kpi_run {
    struct db *db;
    struct snapshot *snap;
    struct kpi_run_options options;
    const struct time_zone *zone;
    int64_t known_from, known_to; /* [first event, behind the last one before now) */
    struct audience_book segments;
    struct arena arena;
    struct memo memo[MEMOS];
    uint32_t n_memos;
    struct kpi_merges merges;
    bool has_merges;
    struct str notes[KPI_RUN_NOTES];
    uint32_t n_notes;
};

/* ---- periods ---- */

int32_t kpi_period_start(enum kpi_grain grain, int32_t day) {
    return grain == KPI_DAY ? day : grain == KPI_WEEK ? day_week_start(day) : day_month_start(day);
}

int32_t kpi_period_add(enum kpi_grain grain, int32_t start, int n) {
    return grain == KPI_DAY    ? start + n
           : grain == KPI_WEEK ? start + 7 * n
                               : day_add_months(start, n);
}

uint32_t kpi_period_count(enum kpi_grain grain, int32_t from, int32_t to) {
    uint32_t n = 0;
    int32_t start = kpi_period_start(grain, from);
    if (grain != KPI_MONTH) {
        int32_t step = grain == KPI_DAY ? 1 : 7;
        return start < to ? (uint32_t)((to - start + step - 1) / step) : 0;
    }
    while (start < to && n <= KPI_RUN_PERIODS) {
        start = day_add_months(start, 1);
        n++;
    }
    return n;
}

static struct query_time day_time(int32_t day) {
    int year, month, of_month;
    civil_from_day(day, &year, &month, &of_month);
    return (struct query_time){.kind = QUERY_TIME_DAY,
                               .year = (int16_t)year,
                               .month = (uint8_t)month,
                               .day = (uint8_t)of_month};
}

struct query_range kpi_range(int32_t from, int32_t to) {
    return (struct query_range){.kind = QUERY_RANGE_SPAN,
                                .has_from = true,
                                .has_to = true,
                                .from = day_time(from),
                                .to = day_time(to)};
}

/* ---- opening ---- */

int kpi_run_open(struct db *db, const struct kpi_run_options *options, struct kpi_run **out,
                 struct keel_error *err) {
    struct snapshot *snap;
    TRY(snapshot_open(db_store(db), &snap, err));
    struct kpi_run *run = k_zalloc(sizeof *run);
    run->db = db;
    run->snap = snap;
    run->options = *options;
    run->zone = db_zone(db);
    arena_init(&run->arena, ARENA_BYTES);
    audience_book_init(&run->segments, options->desk);
    if (snap->rows) {
        run->known_from = snap->min_time;
        run->known_to = snap->max_time < options->now_ms ? snap->max_time + 1 : options->now_ms;
    }
    *out = run;
    return 0;
}

void kpi_run_close(struct kpi_run *run) {
    if (!run) return;
    audience_book_release(&run->segments);
    snapshot_close(run->snap);
    arena_release(&run->arena);
    k_free(run);
}

const struct time_zone *kpi_run_zone(const struct kpi_run *run) { return run->zone; }
int64_t kpi_run_now(const struct kpi_run *run) { return run->options.now_ms; }

uint32_t kpi_run_notes(const struct kpi_run *run, const struct str **out) {
    *out = run->notes;
    return run->n_notes;
}

static bool is_known(const struct kpi_run *run, int32_t from, int32_t to) {
    return time_day_start(run->zone, from) < run->known_to &&
           time_day_start(run->zone, to) > run->known_from;
}

/* ---- questions ---- */

static void keep_notes(struct kpi_run *run, const struct result *r) {
    for (uint32_t i = 0; i < r->n_notes && run->n_notes < KPI_RUN_NOTES; i++) {
        bool there = false;
        for (uint32_t k = 0; k < run->n_notes; k++) there |= str_eq(run->notes[k], r->notes[i]);
        if (!there) run->notes[run->n_notes++] = str_dup(&run->arena, r->notes[i]);
    }
}

static int ask(struct kpi_run *run, const struct query *q, int64_t at_ms, struct result **out,
               struct keel_error *err) {
    const struct query_options options = {.at_ms = at_ms,
                                          .threads = run->options.threads,
                                          .cancel = run->options.cancel,
                                          .segment = audience_book_find,
                                          .segment_ctx = &run->segments};
    TRY(query_run(run->db, run->snap, q, &options, out, err));
    keep_notes(run, *out);
    return 0;
}

static double number_of(const struct datum *d) {
    switch (d->type) {
    case DATUM_INTEGER: return (double)d->integer;
    case DATUM_NUMBER: return d->number;
    case DATUM_NULL:
    case DATUM_BOOL:
    case DATUM_TIME:
    case DATUM_DATE:
    case DATUM_STRING:
    case DATUM_JSON: break;
    }
    return NAN;
}

/* What a `total of` is where no event counts. */
static double of_nothing(const struct query *q) {
    enum query_agg agg = q->trend.measures[0].agg;
    bool zero =
        agg == QUERY_COUNT_OF || agg == QUERY_SUM || agg == QUERY_UNIQUE || agg == QUERY_CUSTOMERS;
    return zero ? 0 : NAN;
}

static int ask_trend(struct kpi_run *run, const struct query *leaf, enum kpi_grain grain,
                     int32_t start, uint32_t n, double *out, struct keel_error *err) {
    static const enum query_unit UNIT[] = {QUERY_DAY, QUERY_WEEK, QUERY_MONTH};
    struct query q = *leaf;
    struct result *r;
    q.has_period = true;
    q.period = UNIT[grain];
    q.range = kpi_range(start, kpi_period_add(grain, start, (int)n));
    TRY(query_seal(&q, &run->arena, err));
    TRY(ask(run, &q, run->options.now_ms, &r, err));
    uint64_t row = 0;
    for (uint32_t i = 0; i < n; i++) {
        int32_t day = kpi_period_add(grain, start, (int)i);
        while (row < r->n_rows && result_cell(r, row, 0)->day < day) row++;
        bool there = row < r->n_rows && result_cell(r, row, 0)->day == day;
        bool known = is_known(run, day, kpi_period_add(grain, day, 1));
        out[i] = !known ? NAN : there ? number_of(result_cell(r, row, 1)) : of_nothing(leaf);
    }
    result_free(r);
    return 0;
}

/* The column and row of the one number in the answer of a form. */
static double one_number(const struct query *q, const struct result *r) {
    if (r->n_rows == 0) return NAN;
    switch (q->form) {
    case QUERY_COUNT: return number_of(result_cell(r, 0, 0));
    case QUERY_TREND: return number_of(result_cell(r, 0, 0));
    case QUERY_FUNNEL: return number_of(result_cell(r, r->n_rows - 1, 3)); /* rate */
    case QUERY_TIME: return number_of(result_cell(r, 0, 2));               /* percentile */
    default: return NAN;
    }
}

static int64_t end_or_now(const struct kpi_run *run, int32_t to) {
    int64_t end = time_day_start(run->zone, to);
    return end < run->options.now_ms ? end : run->options.now_ms;
}

static int ask_span(struct kpi_run *run, const struct query *leaf, int32_t from, int32_t to,
                    double *out, struct keel_error *err) {
    struct query q = *leaf;
    struct result *r;
    int64_t at_ms = run->options.now_ms;
    *out = NAN;
    if (!is_known(run, from, to)) return 0;
    if (q.form == QUERY_COUNT)
        at_ms = end_or_now(run, to);
    else
        q.range = kpi_range(from, to);
    TRY(query_seal(&q, &run->arena, err));
    TRY(ask(run, &q, at_ms, &r, err));
    *out = one_number(&q, r);
    result_free(r);
    return 0;
}

static int ask_each(struct kpi_run *run, const struct kpi *k, enum kpi_grain grain, int32_t start,
                    uint32_t n, double *out, struct keel_error *err) {
    if (n > KPI_RUN_ASKS)
        FAIL(err, LIMIT,
             "\"%.*s\" is asked once a period, at most %d at a time: choose fewer than %u periods",
             STR_ARG(k->id), KPI_RUN_ASKS, n);
    for (uint32_t i = 0; i < n; i++) {
        int32_t day = kpi_period_add(grain, start, (int)i);
        TRY(ask_span(run, k->query, day, kpi_period_add(grain, day, 1), &out[i], err));
    }
    return 0;
}

/* ---- leaves, once ---- */

static struct memo *memo_of(struct kpi_run *run, const char *hash, int grain, int32_t from,
                            int32_t to) {
    for (uint32_t i = 0; i < run->n_memos; i++) {
        struct memo *m = &run->memo[i];
        if (m->grain == grain && m->from == from && m->to == to && strcmp(m->hash, hash) == 0)
            return m;
    }
    return NULL;
}

static void remember(struct kpi_run *run, const char *hash, int grain, int32_t from, int32_t to,
                     const double *values, uint32_t n) {
    if (run->n_memos == MEMOS) return; /* asked again then */
    double *copy = arena_alloc(&run->arena, (n + 1) * sizeof *copy);
    memcpy(copy, values, n * sizeof *copy);
    struct memo *m = &run->memo[run->n_memos++];
    *m = (struct memo){.grain = grain, .from = from, .to = to, .values = copy};
    memcpy(m->hash, hash, strlen(hash) + 1);
}

static int leaf_periods(struct kpi_run *run, const struct kpi *k, enum kpi_grain grain,
                        int32_t start, uint32_t n, double *out, struct keel_error *err) {
    int32_t to = kpi_period_add(grain, start, (int)n);
    const struct memo *m = memo_of(run, k->query_hash, (int)grain, start, to);
    if (m) {
        memcpy(out, m->values, n * sizeof *out);
        return 0;
    }
    TRY(k->query->form == QUERY_TREND ? ask_trend(run, k->query, grain, start, n, out, err)
                                      : ask_each(run, k, grain, start, n, out, err));
    remember(run, k->query_hash, (int)grain, start, to, out, n);
    return 0;
}

static int leaf_span(struct kpi_run *run, const struct kpi *k, int32_t from, int32_t to,
                     double *out, struct keel_error *err) {
    const struct memo *m = memo_of(run, k->query_hash, -1, from, to);
    if (m) {
        *out = m->values[0];
        return 0;
    }
    TRY(ask_span(run, k->query, from, to, out, err));
    remember(run, k->query_hash, -1, from, to, out, 1);
    return 0;
}

/* ---- trees ---- */

double kpi_combine(const struct kpi *k, double so_far, uint32_t part, double value) {
    switch (k->form) {
    case KPI_SUM: return (part ? so_far : 0) + (k->parts[part].minus ? -value : value);
    case KPI_PRODUCT: return part ? so_far * value : value;
    case KPI_RATIO: return part == 0 ? value : value == 0 ? NAN : so_far / value;
    case KPI_QUERY:
    case KPI_FORMS: break;
    }
    return NAN;
}

int kpi_run_periods(struct kpi_run *run, const struct kpi_set *set, int kpi, enum kpi_grain grain,
                    int32_t start, uint32_t n, double *out, struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    if (k->broken.n)
        FAIL(err, INVALID, "\"%.*s\" cannot be computed: %.*s", STR_ARG(k->id), STR_ARG(k->broken));
    if (k->form == KPI_QUERY) return leaf_periods(run, k, grain, start, n, out, err);
    double *part = arena_alloc(&run->arena, (n + 1) * sizeof *part);
    for (uint32_t p = 0; p < n; p++) out[p] = NAN;
    for (uint32_t i = 0; i < k->n_parts; i++) {
        TRY(kpi_run_periods(run, set, k->parts[i].kpi, grain, start, n, part, err));
        for (uint32_t p = 0; p < n; p++) out[p] = kpi_combine(k, out[p], i, part[p]);
    }
    return 0;
}

int kpi_run_span(struct kpi_run *run, const struct kpi_set *set, int kpi, int32_t from, int32_t to,
                 double *out, struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    double value;
    *out = NAN;
    if (k->broken.n)
        FAIL(err, INVALID, "\"%.*s\" cannot be computed: %.*s", STR_ARG(k->id), STR_ARG(k->broken));
    if (k->form == KPI_QUERY) return leaf_span(run, k, from, to, out, err);
    for (uint32_t i = 0; i < k->n_parts; i++) {
        TRY(kpi_run_span(run, set, k->parts[i].kpi, from, to, &value, err));
        *out = kpi_combine(k, *out, i, value);
    }
    return 0;
}

bool kpi_counts_customers(const struct kpi *k) {
    const struct query *q = k->query;
    if (k->form != KPI_QUERY || !q) return false;
    return q->form == QUERY_COUNT ||
           (q->form == QUERY_TREND && q->trend.measures[0].agg == QUERY_CUSTOMERS);
}

/* The leaves were just asked, for the value: the run remembers them. */
int kpi_run_fewest(struct kpi_run *run, const struct kpi_set *set, int kpi, enum kpi_grain grain,
                   int32_t start, uint32_t n, double *out, struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    if (kpi_counts_customers(k)) return leaf_periods(run, k, grain, start, n, out, err);
    double *part = arena_alloc(&run->arena, (n + 1) * sizeof *part);
    for (uint32_t p = 0; p < n; p++) out[p] = KPI_NO_CUSTOMERS;
    for (uint32_t i = 0; i < k->n_parts; i++) {
        TRY(kpi_run_fewest(run, set, k->parts[i].kpi, grain, start, n, part, err));
        for (uint32_t p = 0; p < n; p++) out[p] = fmin(out[p], part[p]); /* not NAN */
    }
    return 0;
}

int kpi_run_span_fewest(struct kpi_run *run, const struct kpi_set *set, int kpi, int32_t from,
                        int32_t to, double *out, struct keel_error *err) {
    const struct kpi *k = &set->kpi[kpi];
    double part;
    if (kpi_counts_customers(k)) return leaf_span(run, k, from, to, out, err);
    *out = KPI_NO_CUSTOMERS;
    for (uint32_t i = 0; i < k->n_parts; i++) {
        TRY(kpi_run_span_fewest(run, set, k->parts[i].kpi, from, to, &part, err));
        *out = fmin(*out, part);
    }
    return 0;
}

bool kpi_run_is_cheap(const struct kpi_set *set, int kpi) {
    const struct kpi *k = &set->kpi[kpi];
    if (k->form == KPI_QUERY) return !k->query || k->query->form == QUERY_TREND;
    for (uint32_t i = 0; i < k->n_parts; i++)
        if (!kpi_run_is_cheap(set, k->parts[i].kpi)) return false;
    return true;
}

int64_t kpi_run_asked_ms(const struct kpi_run *run, const struct kpi_set *set, int kpi,
                         int32_t period_end) {
    const struct kpi *k = &set->kpi[kpi];
    if (k->form == KPI_QUERY && k->query && k->query->form == QUERY_COUNT)
        return end_or_now(run, period_end);
    return run->options.now_ms;
}

/* ---- what may have changed since ---- */

static struct query any_events(struct query_measure *measure) {
    *measure = (struct query_measure){.agg = QUERY_COUNT_OF, .event = {.kind = QUERY_EVENT_ANY}};
    struct query q = {.form = QUERY_TREND};
    q.trend.measures = measure;
    q.trend.n_measures = 1;
    q.trend.over = 1;
    return q;
}

int kpi_run_events(struct kpi_run *run, enum kpi_grain grain, int32_t start, uint32_t n,
                   int64_t *out, struct keel_error *err) {
    struct query_measure measure;
    struct query q = any_events(&measure);
    double *values = arena_alloc(&run->arena, (n + 1) * sizeof *values);
    int32_t to = kpi_period_add(grain, start, (int)n);
    const struct memo *m = memo_of(run, "", (int)grain, start, to);
    if (m) {
        memcpy(values, m->values, n * sizeof *values);
    } else {
        TRY(ask_trend(run, &q, grain, start, n, values, err));
        remember(run, "", (int)grain, start, to, values, n);
    }
    for (uint32_t i = 0; i < n; i++) out[i] = isnan(values[i]) ? 0 : (int64_t)values[i];
    return 0;
}

int kpi_run_events_until(struct kpi_run *run, int32_t from, int64_t until_ms, int64_t *out,
                         struct keel_error *err) {
    struct query_measure measure;
    struct query q = any_events(&measure);
    struct result *r;
    q.range =
        (struct query_range){.kind = QUERY_RANGE_SPAN, .has_from = true, .from = day_time(from)};
    TRY(query_seal(&q, &run->arena, err));
    TRY(ask(run, &q, until_ms < run->options.now_ms ? until_ms : run->options.now_ms, &r, err));
    *out = r->n_rows ? result_cell(r, 0, 0)->integer : 0;
    result_free(r);
    return 0;
}

struct kpi_merges kpi_run_merges(struct kpi_run *run) {
    const struct redirect_view *v = &run->snap->redirects;
    if (run->has_merges) return run->merges;
    uint64_t mark = 0;
    for (uint32_t n = 0; n < v->numbers; n++) {
        if (v->pages[n >> REDIRECT_PAGE_BITS]->identity) {
            n |= REDIRECT_PAGE - 1; /* the loop goes on with the next page */
            continue;
        }
        uint32_t root = redirect_root(v, n);
        if (root == n) continue;
        run->merges.merged++;
        mark += hash_mix((uint64_t)n << 32 | root);
    }
    run->merges.mark = (int64_t)mark;
    run->has_merges = true;
    return run->merges;
}

bool kpi_run_knows_customers(const struct kpi_set *set, int kpi) {
    const struct kpi *k = &set->kpi[kpi];
    if (k->form == KPI_QUERY) {
        const struct query *q = k->query;
        return !q || q->form != QUERY_TREND || q->where ||
               q->trend.measures[0].agg == QUERY_CUSTOMERS;
    }
    for (uint32_t i = 0; i < k->n_parts; i++)
        if (kpi_run_knows_customers(set, k->parts[i].kpi)) return true;
    return false;
}
