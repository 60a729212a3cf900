/* Implementation of markov.h.
 *
 * I - Q has 1 on the diagonal, nothing positive beside it, and rows that add up to at least 0; from
 * each of its states the end can be reached. Such a matrix (a non-singular M-matrix) is inverted
 * without choosing pivots: they stay positive, and nothing cancels but for the diagonal. */
#include "query/forms/markov.h"

#include <string.h>

#include "base/mem.h"

int markov_init(struct markov *m, uint32_t n, struct keel_error *err) {
    *m = (struct markov){.n = n};
    if (n > MARKOV_MAX_VALUES)
        FAIL(err, LIMIT,
             "markov is for at most %d different values of the touches, here are %u: use a coarser "
             "property, or a filter",
             MARKOV_MAX_VALUES, n);
    m->start = k_try_zalloc((n + 1) * sizeof *m->start);
    m->won = k_try_zalloc((n + 1) * sizeof *m->won);
    m->lost = k_try_zalloc((n + 1) * sizeof *m->lost);
    m->steps = k_try_zalloc(((size_t)n * n + 1) * sizeof *m->steps);
    m->shares = k_try_zalloc((n + 1) * sizeof *m->shares);
    if (!m->start || !m->won || !m->lost || !m->steps || !m->shares)
        FAIL(err, NO_MEMORY, "too little memory for a chain of %u values", n);
    return 0;
}

void markov_release(struct markov *m) {
    k_free(m->start);
    k_free(m->won);
    k_free(m->lost);
    k_free(m->steps);
    k_free(m->shares);
    *m = (struct markov){0};
}

/* a [n × n] becomes its inverse in g. */
static void invert(double *a, double *g, uint32_t n) {
    memset(g, 0, (size_t)n * n * sizeof *g);
    for (uint32_t i = 0; i < n; i++) g[(size_t)i * n + i] = 1;
    for (uint32_t k = 0; k < n; k++) {
        double *ak = a + (size_t)k * n, *gk = g + (size_t)k * n, pivot = ak[k];
        for (uint32_t j = 0; j < n; j++) {
            ak[j] /= pivot;
            gk[j] /= pivot;
        }
        for (uint32_t i = 0; i < n; i++) {
            double *ai = a + (size_t)i * n, *gi = g + (size_t)i * n, by = ai[k];
            if (i == k || by == 0) continue;
            for (uint32_t j = 0; j < n; j++) {
                ai[j] -= by * ak[j];
                gi[j] -= by * gk[j];
            }
        }
    }
}

/* What each removal takes away, from G; out: [n]. */
static void removals(const struct markov *m, const double *g, const double *leaving, double *out) {
    uint32_t n = m->n;
    double started = 0, sum = 0;
    for (uint32_t i = 0; i < n; i++) started += (double)m->start[i];
    for (uint32_t v = 0; v < n; v++) {
        double comes = 0, converts = 0;
        for (uint32_t i = 0; i < n; i++) {
            comes += (double)m->start[i] * g[(size_t)i * n + v];
            if (m->won[i]) converts += g[(size_t)v * n + i] * (double)m->won[i] / leaving[i];
        }
        out[v] = started > 0 ? comes / started / g[(size_t)v * n + v] * converts : 0;
        sum += out[v];
    }
    for (uint32_t v = 0; v < n && sum > 0; v++) out[v] /= sum;
}

int markov_solve(struct markov *m, struct keel_error *err) {
    uint32_t n = m->n;
    double *a = k_try_alloc_array((size_t)n * n + 1, sizeof *a);
    double *g = k_try_alloc_array((size_t)n * n + 1, sizeof *g);
    double *leaving = k_try_alloc_array(n + 1, sizeof *leaving);
    bool ok = a && g && leaving;
    for (uint32_t i = 0; i < n && ok; i++) {
        leaving[i] = (double)m->won[i] + (double)m->lost[i];
        for (uint32_t j = 0; j < n; j++) leaving[i] += (double)m->steps[(size_t)i * n + j];
        for (uint32_t j = 0; j < n; j++) { /* a value without journeys stands alone */
            double p = leaving[i] > 0 ? (double)m->steps[(size_t)i * n + j] / leaving[i] : 0;
            a[(size_t)i * n + j] = (i == j) - p;
        }
    }
    if (ok) {
        invert(a, g, n);
        removals(m, g, leaving, m->shares);
    }
    k_free(a);
    k_free(g);
    k_free(leaving);
    if (!ok) FAIL(err, NO_MEMORY, "too little memory for a chain of %u values", n);
    return 0;
}
