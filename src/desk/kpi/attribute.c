/* Implementation of kpi/attribute.h. */
#include "desk/kpi/attribute.h"

#include <math.h>

#include "desk/kpi/run.h"

const char *const KPI_METHOD_NAMES[] = {"none", "additive", "log-share", "shapley"};

#define UNITS_MOST 9007199254740992.0 /* whole numbers up to here are exact: 2^53 */

struct tree {
    const struct kpi_set *set;
    struct kpi_attribution *a;
    uint32_t depth;        /* UINT32_MAX: not cut                   */
    int16_t leaf[KPI_MAX]; /* a KPI's place among the leaves, or -1 */
};

/* ---- leaves ---- */

static bool is_leaf(const struct tree *t, int kpi, uint32_t level) {
    return t->set->kpi[kpi].form == KPI_QUERY || level == t->depth;
}

static int add_leaves(struct tree *t, int kpi, uint32_t level, struct keel_error *err) {
    const struct kpi *k = &t->set->kpi[kpi];
    struct kpi_attribution *a = t->a;
    if (is_leaf(t, kpi, level)) {
        if (t->leaf[kpi] >= 0) return 0;
        if (a->n == KPI_LEAVES_MOST)
            FAIL(err, LIMIT, "the tree has more than %d leaves: cut it with depth",
                 KPI_LEAVES_MOST);
        t->leaf[kpi] = (int16_t)a->n;
        a->leaf[a->n++] = (struct kpi_leaf){.kpi = kpi, .before = NAN, .after = NAN};
        return 0;
    }
    for (uint32_t i = 0; i < k->n_parts; i++) TRY(add_leaves(t, k->parts[i].kpi, level + 1, err));
    return 0;
}

static void tree_init(struct tree *t, const struct kpi_set *set, uint32_t depth,
                      struct kpi_attribution *a) {
    *t = (struct tree){.set = set, .a = a, .depth = depth ? depth : UINT32_MAX};
    for (uint32_t i = 0; i < KPI_MAX; i++) t->leaf[i] = -1;
    for (uint32_t i = 0; i < a->n; i++) t->leaf[a->leaf[i].kpi] = (int16_t)i;
}

int kpi_attribute_leaves(const struct kpi_set *set, int root, uint32_t depth,
                         struct kpi_attribution *out, struct keel_error *err) {
    struct tree t;
    *out = (struct kpi_attribution){.before = NAN, .after = NAN, .change = NAN};
    tree_init(&t, set, depth, out);
    return add_leaves(&t, root, 0, err);
}

/* ---- what kind of tree ---- */

struct shape {
    bool sums, others;
    bool positive; /* every node, before and after */
};

/* The value of a node: the i-th leaf is new where bit i of `new` is set. */
static double value_of(const struct tree *t, int kpi, uint32_t level, const bool *new) {
    const struct kpi *k = &t->set->kpi[kpi];
    double value = NAN;
    if (is_leaf(t, kpi, level)) {
        int i = t->leaf[kpi];
        return new[i] ? t->a->leaf[i].after : t->a->leaf[i].before;
    }
    for (uint32_t i = 0; i < k->n_parts; i++)
        value = kpi_combine(k, value, i, value_of(t, k->parts[i].kpi, level + 1, new));
    return value;
}

static void look_at(const struct tree *t, int kpi, uint32_t level, const bool *none,
                    const bool *all, struct shape *shape) {
    const struct kpi *k = &t->set->kpi[kpi];
    shape->positive &= value_of(t, kpi, level, none) > 0 && value_of(t, kpi, level, all) > 0;
    if (is_leaf(t, kpi, level)) return;
    shape->sums |= k->form == KPI_SUM;
    shape->others |= k->form != KPI_SUM;
    for (uint32_t i = 0; i < k->n_parts; i++)
        look_at(t, k->parts[i].kpi, level + 1, none, all, shape);
}

/* ---- additive and log-share: each node gives `weight` times its change to its parts ---- */

/* ln(p / q) and the logarithmic mean, so that exchanging p and q only turns the sign. atanh is
 * exact for p near q, where the difference of two logarithms is not; far from each other it is not.
 */
static double log_ratio(double p, double q) {
    double d = (p - q) / (p + q);
    return fabs(d) < 0.5 ? 2 * atanh(d) : log(p) - log(q);
}

static double log_mean(double p, double q) {
    double d = (p - q) / (p + q);
    if (fabs(d) < 1e-4) return (p + q) / 2 / (1 + d * d / 3 + d * d * d * d / 5);
    return (p - q) / log_ratio(p, q);
}

static void share_down(const struct tree *t, int kpi, uint32_t level, double weight,
                       const bool *none, const bool *all) {
    const struct kpi *k = &t->set->kpi[kpi];
    if (is_leaf(t, kpi, level)) {
        struct kpi_leaf *leaf = &t->a->leaf[t->leaf[kpi]];
        leaf->exact += weight * (leaf->after - leaf->before);
        return;
    }
    double mean = 1;
    if (k->form != KPI_SUM)
        mean = log_mean(value_of(t, kpi, level, all), value_of(t, kpi, level, none));
    for (uint32_t i = 0; i < k->n_parts; i++) {
        int part = k->parts[i].kpi;
        double share = weight * mean; /* of the node, a unit of the part's change */
        if (k->form != KPI_SUM)
            share /=
                log_mean(value_of(t, part, level + 1, all), value_of(t, part, level + 1, none));
        if (k->parts[i].minus || (k->form == KPI_RATIO && i == 1)) share = -share;
        share_down(t, part, level + 1, share, none, all);
    }
}

/* ---- Shapley: over all sets of leaves that are new already ---- */

static void share_out(const struct tree *t, int root) {
    struct kpi_attribution *a = t->a;
    uint32_t n = a->n, sets = (uint32_t)1 << n;
    double weight[KPI_SHAPLEY_MOST]; /* |S|! (n - |S| - 1)! / n! */
    bool new[KPI_LEAVES_MOST] = {false};
    double *value = k_try_alloc_array(sets, sizeof *value);
    if (!value) {
        a->unknown = "too little memory";
        return;
    }
    for (uint32_t s = 0; s < sets; s++) {
        for (uint32_t i = 0; i < n; i++) new[i] = s >> i & 1;
        value[s] = value_of(t, root, 0, new);
        if (!isfinite(value[s]))
            a->unknown =
                "a mixture of parts of then and now divides by zero; cut the tree with depth";
    }
    for (uint32_t size = 0; size < n; size++) {
        weight[size] = 1.0 / n;
        for (uint32_t k = 1; k <= size; k++) weight[size] *= (double)k / (n - k);
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t s = 0; s < sets; s++) {
            if (s >> i & 1) continue;
            double effect = value[s | (uint32_t)1 << i] - value[s];
            a->leaf[i].exact += weight[__builtin_popcount(s)] * effect;
        }
    k_free(value);
}

/* ---- rounding ---- */

bool kpi_round_shares(const double *exact, uint32_t n, double change, int digits, double *shown,
                      double *total) {
    double unit = pow(10, digits), units = round(change * unit), left = units, all = fabs(units);
    double lost[KPI_LEAVES_MOST];
    K_ASSERT_OP(n, <=, KPI_LEAVES_MOST);
    for (uint32_t i = 0; i < n; i++) all += fabs(exact[i] * unit);
    if (!(all < UNITS_MOST)) return false;
    *total = units / unit;
    for (uint32_t i = 0; i < n; i++) {
        double scaled = exact[i] * unit;
        shown[i] = trunc(scaled);
        lost[i] = scaled - shown[i];
        left -= shown[i];
    }
    double one = left < 0 ? -1 : 1;
    uint64_t missing = n ? (uint64_t)fabs(left) : 0; /* at most n, but for sums of rounding */
    for (; missing > 0; missing--) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++)
            if (lost[i] * one > lost[best] * one) best = i;
        shown[best] += one;
        lost[best] -= one;
    }
    for (uint32_t i = 0; i < n; i++) shown[i] = shown[i] / unit + 0.0; /* no -0 */
    return true;
}

static void round_all(const struct kpi *root, struct kpi_attribution *a) {
    double exact[KPI_LEAVES_MOST] = {0}, shown[KPI_LEAVES_MOST] = {0};
    for (uint32_t i = 0; i < a->n; i++) exact[i] = a->leaf[i].exact;
    if (!kpi_round_shares(exact, a->n, a->after - a->before, root->digits, shown, &a->change)) {
        a->unknown = "the numbers are too large to be summed to the last digit; use fewer digits";
        return;
    }
    for (uint32_t i = 0; i < a->n; i++) a->leaf[i].shown = shown[i];
}

static void choose(const struct tree *t, int root, const bool *none, const bool *all) {
    struct kpi_attribution *a = t->a;
    struct shape shape = {.positive = true};
    look_at(t, root, 0, none, all, &shape);
    if (!shape.sums && !shape.others)
        a->method = KPI_METHOD_NONE;
    else if (!shape.others)
        a->method = KPI_METHOD_ADDITIVE;
    else if (shape.positive && (!shape.sums || a->n > KPI_SHAPLEY_MOST))
        a->method = KPI_METHOD_LOG;
    else
        a->method = KPI_METHOD_SHAPLEY;
}

void kpi_attribute(const struct kpi_set *set, int root, uint32_t depth, struct kpi_attribution *a) {
    struct tree t;
    bool none[KPI_LEAVES_MOST] = {false}, all[KPI_LEAVES_MOST];
    for (uint32_t i = 0; i < KPI_LEAVES_MOST; i++) all[i] = true;
    tree_init(&t, set, depth, a);
    a->before = value_of(&t, root, 0, none);
    a->after = value_of(&t, root, 0, all);
    a->change = a->after - a->before;
    if (!isfinite(a->change)) {
        a->change = NAN;
        a->unknown = "the value of one of the two ranges is unknown";
        return;
    }
    choose(&t, root, none, all);
    if (a->method != KPI_METHOD_SHAPLEY)
        share_down(&t, root, 0, 1, none, all);
    else if (a->n <= KPI_SHAPLEY_MOST)
        share_out(&t, root);
    else
        a->unknown = "more than 16 leaves, some of them zero or negative; cut the tree with depth";
    if (!a->unknown) round_all(&set->kpi[root], a);
}
