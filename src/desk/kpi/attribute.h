/* Why a KPI changed: the change of a tree's root between two ranges, given to its leaves so that it
 * sums exactly.
 *
 *   none         the root is a leaf: all of it
 *   additive     sums only: each leaf's own change, with its sign
 *   log-share    products and ratios only, all values positive: x = ∏ a_i^±1 changes by
 *                L(x', x) · Σ ± ln(a_i' / a_i), L(p, q) = (p - q) / ln(p / q) the logarithmic mean
 *                (the LMDI of Ang 2005). Nothing is left over, time reversed turns signs.
 *   shapley      everything else, up to KPI_SHAPLEY_MOST leaves: a leaf's mean effect on the root
 *                over all orders in which the leaves can go from the old to the new value (Shapley
 *                1953; for decompositions Sun 1998). Zero and negative values are fine; a mixture
 *                of old and new leaves that divides by zero is not: then it is unknown.
 *   log-share    also of trees with sums that have more leaves than that, if all values are
 *                positive: the share of a part is the change of its logarithm, of a sum's part its
 *                change by L of the sum.
 *
 * A leaf that stands at several places is one leaf. `depth` cuts the tree: nodes that deep count as
 * leaves.
 *
 * Rounding. The change is rounded to the KPI's digits, half away from zero. Each contribution is
 * cut to the digits, and what is missing in the sum is given, one unit of the last digit each, to
 * those that lost most by cutting (in the order of the tree where equal). So what is shown sums to
 * the change that is shown, to the last digit; no contribution is off by a whole unit.
 *
 * Layers: kpi.h. Threads: pure. Limits: KPI_LEAVES_MOST.
 */
#pragma once

#include "desk/kpi/kpi.h"

enum { KPI_LEAVES_MOST = 200, KPI_SHAPLEY_MOST = 16 };

enum kpi_method { KPI_METHOD_NONE, KPI_METHOD_ADDITIVE, KPI_METHOD_LOG, KPI_METHOD_SHAPLEY };
extern const char *const KPI_METHOD_NAMES[];

struct kpi_leaf {
    int kpi;
    double before, after; /* filled by the caller; NAN: unknown */
    double exact;         /* contribution, in the root's unit   */
    double shown;         /* rounded                            */
};

struct kpi_attribution {
    struct kpi_leaf leaf[KPI_LEAVES_MOST]; /* in the order of the tree */
    uint32_t n;
    double before, after, change; /* of the root; change is rounded */
    enum kpi_method method;
    const char *unknown; /* why there are no contributions; NULL: there are */
};

/* The leaves of a tree cut at `depth` levels below the root (0: not cut). */
int kpi_attribute_leaves(const struct kpi_set *set, int root, uint32_t depth,
                         struct kpi_attribution *out, struct keel_error *err) K_CHECKED;
/* Fills in the rest from before and after of the leaves. */
void kpi_attribute(const struct kpi_set *set, int root, uint32_t depth, struct kpi_attribution *a);

/* Whole units of the last digit that sum to the rounded sum; `total` is that sum. False: too large
 * to be counted in units exactly. Exposed for tests. */
bool kpi_round_shares(const double *exact, uint32_t n, double change, int digits, double *shown,
                      double *total);
