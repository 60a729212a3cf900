/* Implementation of kpi/clock.h. */
#include "desk/kpi/clock.h"

#include <stdatomic.h>

#include "base/os.h"
#include "base/thread.h"

struct kpi_clock {
    struct kpi_clock_options options;
    pthread_t thread;
    _Atomic bool stopping;
    uint32_t next; /* the thread's: where the next turn begins */
    int64_t thinned_ms;
    pthread_mutex_t lock; /* the condition, stats */
    pthread_cond_t wake;
    struct kpi_clock_stats stats;
};

static void note(struct kpi_clock *c, const struct kpi *k, int code, struct keel_error *err) {
    if (code == -KEEL_E_CANCELLED) return;
    if (code < 0) (void)error_context(err, code, "the KPI \"%.*s\"", STR_ARG(k->id));
    pthread_mutex_lock(&c->lock);
    c->stats.computed += code == 0;
    c->stats.failed += code < 0;
    if (code < 0) c->stats.error = *err;
    pthread_mutex_unlock(&c->lock);
}

static void compute(struct kpi_clock *c, struct kpi_run *run, const struct kpi_set *set, int i) {
    const struct kpi *k = &set->kpi[i];
    struct keel_error err = {0};
    int code = kpi_bring_up_to_date(run, c->options.desk, set, i, &err);
    note(c, k, code, &err);
}

/* All of a turn sees one snapshot: what is part of what fits. */
static int turn_over(struct kpi_clock *c, const struct kpi_set *set, struct keel_error *err) {
    const struct kpi_run_options options = {
        .desk = c->options.desk, .now_ms = now_ms(), .threads = 1, .cancel = &c->stopping};
    struct kpi_run *run;
    int64_t until_us = monotonic_us() + KPI_CLOCK_BUDGET_MS * INT64_C(1000);
    TRY(kpi_run_open(c->options.db, &options, &run, err));
    uint32_t done = 0;
    for (; done < set->n && !atomic_load(&c->stopping) && monotonic_us() < until_us; done++)
        compute(c, run, set, (int)((c->next + done) % set->n));
    if (set->n) c->next = (c->next + done) % set->n;
    kpi_run_close(run);
    return 0;
}

static void turn(struct kpi_clock *c) {
    struct kpi_set set;
    struct keel_error err = {0};
    int64_t from_us = monotonic_us();
    int code = kpi_set_load(c->options.desk, KPI_NOW, &set, &err);
    if (code == 0) code = turn_over(c, &set, &err);
    kpi_set_free(&set);
    if (code == 0 && now_ms() - c->thinned_ms >= MS_PER_DAY) {
        c->thinned_ms = now_ms();
        code = kpi_history_thin(c->options.desk, c->thinned_ms, &err);
    }
    pthread_mutex_lock(&c->lock);
    c->stats.turns++;
    c->stats.last_ms = now_ms();
    c->stats.took_ms = (monotonic_us() - from_us) / 1000;
    if (code < 0) {
        c->stats.failed++;
        c->stats.error = err;
    }
    pthread_mutex_unlock(&c->lock);
}

static void *run_clock(void *arg) {
    struct kpi_clock *c = arg;
    int64_t due_us = monotonic_us() + c->options.first_ms * 1000;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->stopping)) {
        if (cond_wait_until(&c->wake, &c->lock, due_us)) continue; /* woken: to stop */
        pthread_mutex_unlock(&c->lock);
        turn(c);
        due_us = monotonic_us() + c->options.every_ms * 1000;
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int kpi_clock_open(const struct kpi_clock_options *options, struct kpi_clock **out,
                   struct keel_error *err) {
    struct kpi_clock *c = k_zalloc(sizeof *c);
    c->options = *options;
    if (c->options.every_ms == 0) c->options.every_ms = KPI_CLOCK_EVERY_MS;
    if (c->options.first_ms == 0) c->options.first_ms = KPI_CLOCK_FIRST_MS;
    pthread_mutex_init(&c->lock, NULL);
    cond_init_timed(&c->wake);
    int failed = pthread_create(&c->thread, NULL, run_clock, c);
    if (failed) {
        pthread_cond_destroy(&c->wake);
        pthread_mutex_destroy(&c->lock);
        k_free(c);
        return error_errno(err, failed, "cannot start the thread that computes KPIs");
    }
    *out = c;
    return 0;
}

void kpi_clock_close(struct kpi_clock *c) {
    if (!c) return;
    atomic_store(&c->stopping, true);
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    k_free(c);
}

void kpi_clock_stats(struct kpi_clock *c, struct kpi_clock_stats *out) {
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
}
