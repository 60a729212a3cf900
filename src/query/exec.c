/* Implementation of exec.h: plan, ranges of customers on all workers, answer.
 *
 * A range is small enough for the machines' state to stay in the L2 cache (RANGE_BYTES). A piece is
 * some ranges, one after the other, so that a scan keeps the blocks at their borders; those at a
 * piece's borders are decoded twice. Which worker takes which piece is chance; nothing in an answer
 * depends on it.
 */
#include "query/exec.h"

#include <stdatomic.h>

#include "base/os.h"
#include "query/forms/form.h"
#include "query/worker.h"

enum {
    RANGE_LEAST = 1 << 12,
    RANGE_MOST = 1 << 16,
    RANGE_BYTES = 1 << 20,
    RANGES_PER_WORKER = 4,
    PIECES_PER_WORKER = 8,
};

struct run {
    struct plan *plan;
    struct form *form;
    struct customers customers;
    bool need_members;
    struct worker *workers;
    uint32_t n_workers;
    double *cpu_ms; /* by worker */
    const _Atomic bool *cancel;
    uint32_t range_size; /* 0: to be chosen */
    uint32_t ranges, ranges_per_piece;
    uint64_t *members; /* NULL, or of all ranges */
    _Atomic bool failed;
};

static bool nobody(const uint64_t *bits, uint32_t count) {
    uint64_t any = 0;
    for (uint32_t i = 0; i * 64 < count; i++) any |= bits[i];
    return any == 0;
}

static int run_range(const struct run *run, struct worker *w, struct keel_error *err) {
    TRY(worker_run(w, 0, run->cancel, err));
    if (run->need_members) {
        TRY(customers_eval(&run->customers, w, w->range, w->members, err));
        if (run->members)
            memcpy(run->members + w->range.first / 64, w->members,
                   (w->range.count + 63) / 64 * sizeof *w->members);
        if (nobody(w->members, w->range.count)) return 0;
    }
    TRY(worker_run(w, 1, run->cancel, err));
    return run->form->ops->fold ? run->form->ops->fold(w->form, w->range, err) : 0;
}

/* ---- workers ---- */

static int open_worker(struct run *run, struct worker *w, unsigned index, struct keel_error *err) {
    TRY(worker_open(w, run->plan, index, err));
    if (run->need_members) {
        w->members = k_try_alloc_array(run->plan->range_size / 64 + 1, sizeof *w->members);
        if (!w->members) FAIL(err, NO_MEMORY, "too little memory for a worker");
    }
    w->form = k_zalloc(run->form->ops->state_bytes + 1);
    if (run->form->ops->open) TRY(run->form->ops->open(run->form, w, w->form, err));
    return worker_read(w, run->plan->snap, err);
}

static void close_worker(struct run *run, struct worker *w) {
    if (!w->plan) return;
    if (w->form && run->form->ops->close) run->form->ops->close(w->form);
    k_free(w->form);
    k_free(w->members);
    worker_close(w);
}

static double thread_cpu_ms(void) { return (double)thread_cpu_us() / 1e3; }

static void run_piece(void *ctx, size_t piece, unsigned worker) {
    struct run *run = ctx;
    struct worker *w = &run->workers[worker];
    if (atomic_load_explicit(&run->failed, memory_order_relaxed)) return;
    double start = thread_cpu_ms();
    uint32_t size = run->plan->range_size, numbers = run->plan->snap->redirects.numbers;
    uint32_t range = (uint32_t)piece * run->ranges_per_piece, end = range + run->ranges_per_piece;
    int code = w->plan ? 0 : open_worker(run, w, worker, &w->error); /* by its own thread */
    for (; range < end && range < run->ranges && code == 0; range++) {
        uint32_t first = range * size;
        w->range = (struct range){first, numbers - first < size ? numbers - first : size};
        code = run_range(run, w, &w->error);
    }
    if (code < 0) {
        w->failed = code;
        atomic_store(&run->failed, true);
    }
    run->cpu_ms[worker] += thread_cpu_ms() - start;
}

/* ---- the whole ---- */

static uint32_t choose_range_size(const struct plan *p, unsigned workers) {
    size_t bytes = 1;
    for (uint32_t i = 0; i < p->n_machines; i++) bytes += p->machines[i]->bytes_per_customer;
    uint64_t size = RANGE_MOST;
    while (size > RANGE_LEAST && size * bytes > RANGE_BYTES) size /= 2;
    while (size > RANGE_LEAST && size * workers * RANGES_PER_WORKER > p->snap->redirects.numbers)
        size /= 2;
    return (uint32_t)size;
}

static const struct form_ops *const FORMS[QUERY_FORMS] = {
    [QUERY_COUNT] = &FORM_COUNT,
    [QUERY_LIST] = &FORM_LIST,
    [QUERY_FUNNEL] = &FORM_FUNNEL,
    [QUERY_RETENTION] = &FORM_RETENTION,
    [QUERY_REPEAT] = &FORM_REPEAT,
    [QUERY_TREND] = &FORM_TREND,
    [QUERY_TIME] = &FORM_TIME,
    [QUERY_PATHS] = &FORM_PATHS,
    [QUERY_ATTRIBUTE] = &FORM_ATTRIBUTE,
    [QUERY_SESSIONS] = &FORM_SESSIONS,
    [QUERY_RFM] = &FORM_RFM,
    [QUERY_TOP] = &FORM_TOP,
    [QUERY_LIFECYCLE] = &FORM_LIFECYCLE,
    [QUERY_COMPARE] = &FORM_COMPARE,
};

static int plan_query(struct run *run, const struct query_options *options,
                      struct keel_error *err) {
    struct plan *p = run->plan;
    const struct query *q = p->q;
    const struct form_ops *ops = FORMS[q->form];
    run->form = arena_zalloc(&p->arena, ops->form_bytes);
    run->form->ops = ops;
    run->form->plan = p;
    p->segment = options->segment;
    p->segment_ctx = options->segment_ctx;
    TRY(customers_compile(p, q->where, ops->all_customers, &run->customers, err));
    run->need_members = q->where || ops->all_customers || options->members;
    TRY(ops->plan(run->form, p, err));
    return plan_passes(p, err);
}

static void add_cost(struct run *run, struct query_cost *cost) {
    for (uint32_t i = 0; i < run->n_workers; i++) {
        const struct worker *w = &run->workers[i];
        cost->cpu_ms += run->cpu_ms[i];
        for (uint32_t k = 0; w->plan && k < run->plan->n_passes; k++) {
            if (!w->scans[k]) continue;
            struct scan_cost c = scan_cost(w->scans[k]);
            cost->rows += c.rows;
            cost->blocks += c.blocks;
            cost->bytes += c.bytes;
            cost->gathered += c.gathered;
        }
    }
}

/* Does any pass have an event in its span of time? */
static bool any_rows(const struct plan *p) {
    for (uint32_t i = 0; i < p->n_passes; i++)
        for (uint32_t k = 0; k < p->snap->source_count; k++) {
            const struct source *s = p->snap->sources[k];
            if (s->min_time < p->passes[i].span.to_ms && s->max_time >= p->passes[i].span.from_ms)
                return true;
        }
    return false;
}

static int run_all(struct run *run, struct pool *pool, struct result *result,
                   struct keel_error *err) {
    struct plan *p = run->plan;
    run->n_workers = pool_size(pool);
    run->workers = k_zalloc(run->n_workers * sizeof *run->workers);
    run->cpu_ms = k_zalloc(run->n_workers * sizeof *run->cpu_ms);
    p->range_size = run->range_size ? run->range_size : choose_range_size(p, run->n_workers);
    bool any = p->snap->rows > 0 && (run->need_members || any_rows(p));
    uint64_t numbers = any ? p->snap->redirects.numbers : 0;
    run->ranges = (uint32_t)((numbers + p->range_size - 1) / p->range_size);
    run->ranges_per_piece = run->ranges / (run->n_workers * PIECES_PER_WORKER);
    if (run->ranges_per_piece == 0) run->ranges_per_piece = 1;
    pool_run(pool, (run->ranges + run->ranges_per_piece - 1) / run->ranges_per_piece, run_piece,
             run);
    int code = 0;
    for (uint32_t i = 0; i < run->n_workers && code == 0; i++) {
        code = run->workers[i].failed;
        if (code < 0 && err) *err = run->workers[i].error;
    }
    /* The form merges the workers that had something to do. */
    uint32_t used = 0;
    struct worker *workers = k_zalloc(run->n_workers * sizeof *workers);
    for (uint32_t i = 0; i < run->n_workers; i++)
        if (run->workers[i].plan) workers[used++] = run->workers[i];
    if (code == 0) code = run->form->ops->answer(run->form, workers, used, result, err);
    k_free(workers);
    if (code == 0) code = result_finish(result, p->zone, err);
    add_cost(run, &result->cost);
    for (uint32_t i = 0; i < run->n_workers; i++) close_worker(run, &run->workers[i]);
    k_free(run->workers);
    k_free(run->cpu_ms);
    return code;
}

/* What the plan knows and the answer should carry. */
static int copy_words(const struct plan *p, struct result *result) {
    for (uint32_t i = 0; i < p->n_notes; i++)
        result->notes[result->n_notes++] = str_dup(&result->text, p->notes[i]);
    struct buf text;
    buf_init(&text, 1 << 20);
    int code = plan_explain(p, &text);
    if (code == 0) result->cost.plan = str_dup(&result->text, buf_str(&text));
    buf_release(&text);
    return code;
}

int query_run(struct db *db, const struct snapshot *snap, const struct query *q,
              const struct query_options *options, struct result **out, struct keel_error *err) {
    int64_t start_us = monotonic_us();
    double start_cpu = thread_cpu_ms();
    struct plan *p = k_alloc(sizeof *p);
    plan_init(p, db, snap, q, options->at_ms == QUERY_AT_NOW ? now_ms() : options->at_ms);
    struct run run = {.plan = p,
                      .cancel = options->cancel,
                      .range_size = options->range_size,
                      .members = options->members};
    struct result *result = result_new();
    int code = plan_query(&run, options, err);
    struct pool *own = NULL;
    if (code == 0) {
        if (!options->pool) own = pool_new(options->threads);
        double planned = thread_cpu_ms() - start_cpu;
        code = run_all(&run, own ? own : options->pool, result, err);
        result->cost.cpu_ms += planned;
    }
    if (code == 0) code = copy_words(p, result);
    pool_free(own);
    plan_release(p);
    k_free(p);
    if (code < 0) {
        result_free(result);
        return code;
    }
    result->cost.ms = (double)(monotonic_us() - start_us) / 1e3;
    *out = result;
    return 0;
}
