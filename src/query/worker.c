/* Implementation of worker.h. */
#include "query/worker.h"

#include <stdatomic.h>

enum { FEW = 8 }; /* customers of a range are few if a pass has fewer rows than this part of them */

/* ---- life ---- */

int worker_open(struct worker *w, const struct plan *p, unsigned index, struct keel_error *err) {
    *w = (struct worker){.plan = p, .index = index, .fed_many = true};
    w->fed = k_zalloc((p->range_size / 64 + 1) * sizeof *w->fed);
    w->caches = k_zalloc((p->n_caches + 1) * sizeof *w->caches);
    for (uint32_t i = 0; i < p->n_machines; i++)
        w->states[i] = k_zalloc(p->machines[i]->ops->state_bytes);
    for (uint32_t i = 0; i < p->n_machines; i++)
        TRY(p->machines[i]->ops->open(p->machines[i], w, w->states[i], err));
    return 0;
}

void worker_stop_reading(struct worker *w) {
    for (uint32_t i = 0; i < w->plan->n_passes; i++) {
        scan_close(w->scans[i]);
        w->scans[i] = NULL;
    }
}

int worker_read(struct worker *w, const struct snapshot *snap, struct keel_error *err) {
    worker_stop_reading(w);
    for (uint32_t i = 0; i < w->plan->n_passes; i++) {
        const struct pass *pass = &w->plan->passes[i];
        struct scan_spec spec = {.events = pass->all_events ? NULL : pass->events,
                                 .event_count = pass->all_events ? 0 : pass->n_events,
                                 .columns = pass->columns,
                                 .column_count = pass->n_columns,
                                 .from_ms = pass->span.from_ms,
                                 .to_ms = pass->span.to_ms,
                                 .ordered = pass->ordered,
                                 .blind = pass->blind};
        TRY(scan_open(snap, &spec, &w->scans[i], err));
    }
    return 0;
}

void worker_close(struct worker *w) {
    const struct plan *p = w->plan;
    if (!p) return;
    worker_stop_reading(w);
    for (uint32_t i = 0; i < p->n_machines; i++) {
        if (w->states[i]) p->machines[i]->ops->close(w->states[i]);
        k_free(w->states[i]);
    }
    for (uint32_t i = 0; i < p->n_caches; i++) k_free(w->caches[i].known);
    k_free(w->caches);
    k_free(w->fed);
    test_scratch_release(&w->scratch);
    *w = (struct worker){0};
}

/* ---- feeding ---- */

struct scan_feed { /* ctx of a feed */
    const struct batch *batch;
    const struct pass *pass;
};

/* A column that the pass does not read has no values for its events. */
static const struct vec ABSENT = {.kind = VEC_NUMBER, .n = CHUNK_ROWS};

static int feed_column(const struct feed *f, uint32_t handle, const struct vec **out,
                       struct keel_error *err) {
    const struct scan_feed *from = f->ctx;
    int32_t slot = from->pass->slot_of[handle];
    if (slot >= 0) return batch_column(from->batch, (uint32_t)slot, out, err);
    *out = &ABSENT;
    return 0;
}

static int feed_items(const struct feed *f, uint32_t handle, struct batch_items *out,
                      struct keel_error *err) {
    static const uint32_t none[CHUNK_ROWS];
    const struct scan_feed *from = f->ctx;
    int32_t slot = from->pass->slot_of[handle];
    if (slot >= 0) return batch_item_column(from->batch, (uint32_t)slot, out, err);
    *out = (struct batch_items){.first = none, .count = none};
    return 0;
}

static void keep_members(struct feed *f, const uint64_t *members) {
    for (uint32_t w = 0; w * 64 < f->n; w++)
        for (uint64_t m = f->live[w]; m; m &= m - 1) {
            unsigned j = (unsigned)__builtin_ctzll(m);
            uint64_t keep = bit_get(members, f->customer[w * 64 + j] - f->first);
            f->live[w] &= ~((keep ^ 1) << j);
        }
}

/* Notes whose rows these are, as long as they are few: a rare event leaves most of a range as it
 * was, and neither clearing state nor asking conditions need then look at everybody. */
static void note_fed(struct worker *w, const struct feed *f) {
    for (uint32_t i = 0; i * 64 < f->n; i++)
        for (uint64_t m = f->live[i]; m; m &= m - 1)
            bit_set(w->fed, f->customer[i * 64 + (uint32_t)__builtin_ctzll(m)] - f->first);
}

static int run_pass(struct worker *w, uint32_t index, const _Atomic bool *cancel,
                    struct keel_error *err) {
    const struct pass *pass = &w->plan->passes[index];
    struct scan *scan = w->scans[index];
    uint32_t rows = 0;
    TRY(scan_range(scan, w->range.first, w->range.count, err));
    for (;;) {
        struct batch batch;
        int more = scan_next(scan, &batch, err);
        if (more <= 0) return more;
        if (cancel && atomic_load_explicit(cancel, memory_order_relaxed))
            FAIL(err, CANCELLED, "the query was cancelled");
        struct scan_feed from = {.batch = &batch, .pass = pass};
        struct feed f = {.n = batch.n,
                         .first = w->range.first,
                         .customer = batch.customer,
                         .time = batch.time,
                         .starts = batch.starts,
                         .event = pass->blind ? NULL : batch.event,
                         .serial = ++w->batches,
                         .span = pass->span,
                         .column = feed_column,
                         .items = feed_items,
                         .ctx = &from};
        memcpy(f.live, batch.live, sizeof f.live);
        if (pass->stage == 0 && !w->fed_many) {
            rows += bits_count(f.live);
            w->fed_many = rows > w->range.count / FEW;
            if (!w->fed_many) note_fed(w, &f);
        }
        if (pass->stage == 1 && w->members) keep_members(&f, w->members);
        for (uint32_t i = 0; i < pass->n_machines; i++) {
            const struct machine *m = pass->machines[i];
            TRY(m->ops->feed(w->states[m->index], &f, err));
        }
    }
}

int worker_run(struct worker *w, unsigned stage, const _Atomic bool *cancel,
               struct keel_error *err) {
    const struct plan *p = w->plan;
    for (uint32_t i = 0; i < p->n_machines; i++)
        if (p->machines[i]->stage == stage)
            TRY(p->machines[i]->ops->begin(w->states[i], w->range, err));
    if (stage == 0) {
        memset(w->fed, 0, (p->range_size / 64 + 1) * sizeof *w->fed);
        w->fed_many = w->range.count > p->range_size; /* live segments feed all at once */
    }
    for (uint32_t i = 0; i < p->n_passes; i++)
        if (p->passes[i].stage == stage) TRY(run_pass(w, i, cancel, err));
    for (uint32_t i = 0; i < p->n_machines; i++)
        if (p->machines[i]->stage == stage && p->machines[i]->ops->end)
            TRY(p->machines[i]->ops->end(w->states[i], w->range, err));
    return 0;
}
