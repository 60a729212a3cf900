/* Implementation of who.h. */
#include "query/who.h"

#include "query/worker.h"

enum { WHO_RANGE = 1 << 14 };

struct asking {
    struct plan *plan;
    struct customers customers;
    struct account *measures[WHO_MOST_MEASURES];
    uint32_t n_measures;
    struct worker worker;
    uint64_t members[WHO_RANGE / 64];
};

static int begin_asking(struct asking *a, struct db *db, const struct snapshot *snap,
                        const struct who *who, uint32_t range, struct keel_error *err) {
    a->plan = k_alloc(sizeof *a->plan);
    plan_init(a->plan, db, snap, NULL, who->at_ms);
    a->plan->segment = who->segment;
    a->plan->segment_ctx = who->segment_ctx;
    TRY(customers_compile(a->plan, who->where, /* all_needed= */ true, &a->customers, err));
    K_ASSERT_OP(who->n_measures, <=, WHO_MOST_MEASURES);
    for (uint32_t i = 0; i < who->n_measures; i++)
        TRY(account_measure(a->plan, &who->measures[i], &a->measures[a->n_measures++], err));
    TRY(plan_passes(a->plan, err));
    a->plan->range_size = range;
    TRY(worker_open(&a->worker, a->plan, 0, err));
    return worker_read(&a->worker, snap, err);
}

static void end_asking(struct asking *a) {
    worker_close(&a->worker);
    plan_release(a->plan);
    k_free(a->plan);
    k_free(a);
}

static int ask_range(struct asking *a, struct range r, struct keel_error *err) {
    a->worker.range = r;
    TRY(worker_run(&a->worker, 0, NULL, err));
    return customers_eval(&a->customers, &a->worker, r, a->members, err);
}

static void tell(const struct asking *a, uint32_t customer, uint32_t slot, who_told *each,
                 void *ctx) {
    struct datum values[WHO_MOST_MEASURES];
    for (uint32_t i = 0; i < a->n_measures; i++)
        values[i] = account_datum(&a->worker, a->measures[i], slot);
    struct who_answer answer = {customer, bit_get(a->members, slot), values};
    each(ctx, &answer);
}

int who_ask(struct db *db, const struct snapshot *snap, const struct who *who,
            const uint32_t *customers, uint32_t n, who_told *each, void *ctx,
            struct keel_error *err) {
    struct asking *a = k_zalloc(sizeof *a);
    int code = begin_asking(a, db, snap, who, 64, err);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        code = ask_range(a, (struct range){customers[i], 1}, err);
        if (code == 0) tell(a, customers[i], 0, each, ctx);
    }
    end_asking(a);
    return code;
}

int who_ask_range(struct db *db, const struct snapshot *snap, const struct who *who, uint32_t first,
                  uint32_t n, who_told *each, void *ctx, struct keel_error *err) {
    struct asking *a = k_zalloc(sizeof *a);
    uint32_t end = first + n;
    if (snap->rows == 0) end = first;
    int code = begin_asking(a, db, snap, who, WHO_RANGE, err);
    for (; first < end && code == 0; first += WHO_RANGE) {
        uint32_t left = end - first;
        struct range r = {first, left < WHO_RANGE ? left : WHO_RANGE};
        code = ask_range(a, r, err);
        for (uint32_t slot = 0; slot < r.count && code == 0; slot++)
            if (redirect_root(&snap->redirects, first + slot) == first + slot)
                tell(a, first + slot, slot, each, ctx);
    }
    end_asking(a);
    return code;
}
