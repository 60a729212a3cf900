/* Attribution of a tree's change to its leaves: random trees sum exactly, before and after
 * rounding; ranges exchanged turn the signs; no change gives nothing; and a few trees worked out by
 * hand.
 *
 * KEEL_SEED=n repeats one run of the property tests. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/os.h"
#include "base/rand.h"
#include "desk/kpi/attribute.h"

enum { RUNS = 300, NODES = 20 };

/* A tree in the making: leaves have no parts. Nodes point to those behind them. */
struct world {
    struct kpi_set set;
    struct kpi kpi[NODES];
    struct kpi_part parts[NODES][KPI_MAX_PARTS];
};

static void world_init(struct world *w, uint32_t n) {
    memset(w, 0, sizeof *w);
    w->set.kpi = w->kpi;
    w->set.n = n;
    for (uint32_t i = 0; i < n; i++) {
        w->kpi[i].form = KPI_QUERY;
        w->kpi[i].digits = 2;
        w->kpi[i].parts = w->parts[i];
    }
}

static void part(struct world *w, int node, enum kpi_form form, int child, bool minus) {
    struct kpi *k = &w->kpi[node];
    k->form = form;
    k->parts[k->n_parts++] = (struct kpi_part){.minus = minus, .kpi = child};
}

static struct kpi_attribution *leaves(const struct world *w, uint32_t depth) {
    struct kpi_attribution *a = calloc(1, sizeof *a);
    struct keel_error err;
    if (kpi_attribute_leaves(&w->set, 0, depth, a, &err) < 0) fail_msg("%s", err.message);
    return a;
}

static struct kpi_leaf *leaf(struct kpi_attribution *a, int kpi) {
    for (uint32_t i = 0; i < a->n; i++)
        if (a->leaf[i].kpi == kpi) return &a->leaf[i];
    fail_msg("no leaf %d", kpi);
    return NULL;
}

static void set_leaf(struct kpi_attribution *a, int kpi, double before, double after) {
    leaf(a, kpi)->before = before;
    leaf(a, kpi)->after = after;
}

static void assert_near(double a, double b, double scale) {
    if (!(fabs(a - b) <= 1e-9 * (1 + fabs(scale)))) fail_msg("%.17g is not %.17g", a, b);
}

/* The sum of the exact shares is the change; the sum of the shown ones the shown change, in whole
 * units of the last digit; and none is a unit away. */
static void assert_sums(const struct kpi_attribution *a, int digits) {
    double unit = pow(10, digits), exact = 0, scale = fabs(a->before) + fabs(a->after);
    long long shown = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        exact += a->leaf[i].exact;
        scale += fabs(a->leaf[i].exact);
        shown += llround(a->leaf[i].shown * unit);
    }
    for (uint32_t i = 0; i < a->n; i++) /* as far as doubles of that size can tell */
        assert_true(fabs(a->leaf[i].shown - a->leaf[i].exact) < 1.000001 / unit + 1e-11 * scale);
    assert_near(exact, a->after - a->before, scale);
    assert_int_equal(shown, llround(a->change * unit));
    assert_int_equal(llround(a->change * unit), llround((a->after - a->before) * unit));
}

/* ---- by hand ---- */

static void test_by_hand(void **state) {
    (void)state;
    struct world w;

    /* a + b - c */
    world_init(&w, 4);
    part(&w, 0, KPI_SUM, 1, false);
    part(&w, 0, KPI_SUM, 2, false);
    part(&w, 0, KPI_SUM, 3, true);
    struct kpi_attribution *a = leaves(&w, 0);
    set_leaf(a, 1, 10, 13);
    set_leaf(a, 2, 5, 4);
    set_leaf(a, 3, 2, 6);
    kpi_attribute(&w.set, 0, 0, a);
    assert_int_equal(a->method, KPI_METHOD_ADDITIVE);
    assert_true(leaf(a, 1)->shown == 3 && leaf(a, 2)->shown == -1 && leaf(a, 3)->shown == -4);
    assert_true(a->change == -2 && a->before == 13 && a->after == 11);
    free(a);

    /* a × b, both doubled: half of the change each, by symmetry. 1·1 -> 2·2: 3 = 1.5 + 1.5 */
    world_init(&w, 3);
    part(&w, 0, KPI_PRODUCT, 1, false);
    part(&w, 0, KPI_PRODUCT, 2, false);
    a = leaves(&w, 0);
    set_leaf(a, 1, 1, 2);
    set_leaf(a, 2, 1, 2);
    kpi_attribute(&w.set, 0, 0, a);
    assert_int_equal(a->method, KPI_METHOD_LOG);
    assert_true(leaf(a, 1)->shown == 1.5 && leaf(a, 2)->shown == 1.5);
    free(a);

    /* 100 · 2 -> 200 · 3 = 600: L(600, 200) = 400 / ln 3; shares ln 2 / ln 3 and ln 1.5 / ln 3 */
    a = leaves(&w, 0);
    set_leaf(a, 1, 100, 200);
    set_leaf(a, 2, 2, 3);
    kpi_attribute(&w.set, 0, 0, a);
    assert_near(leaf(a, 1)->exact, 400 * log(2) / log(3), 400);
    assert_near(leaf(a, 2)->exact, 400 * log(1.5) / log(3), 400);
    assert_true(leaf(a, 1)->shown + leaf(a, 2)->shown == 400);
    free(a);

    /* a / b with b falling; the divisor's contribution is positive */
    world_init(&w, 3);
    part(&w, 0, KPI_RATIO, 1, false);
    part(&w, 0, KPI_RATIO, 2, false);
    a = leaves(&w, 0);
    set_leaf(a, 1, 10, 10);
    set_leaf(a, 2, 5, 4);
    kpi_attribute(&w.set, 0, 0, a);
    assert_true(leaf(a, 1)->shown == 0 && leaf(a, 2)->shown == 0.5);
    free(a);

    /* a × b where a was 0: Shapley. 0·2 -> 3·4: a alone 6, then 12; b alone 0, then 12 - 6 = 6:
     * a: (6 + 12) / 2 = 9, b: (0 + 6) / 2 = 3 */
    world_init(&w, 3);
    part(&w, 0, KPI_PRODUCT, 1, false);
    part(&w, 0, KPI_PRODUCT, 2, false);
    a = leaves(&w, 0);
    set_leaf(a, 1, 0, 3);
    set_leaf(a, 2, 2, 4);
    kpi_attribute(&w.set, 0, 0, a);
    assert_int_equal(a->method, KPI_METHOD_SHAPLEY);
    assert_true(leaf(a, 1)->shown == 9 && leaf(a, 2)->shown == 3);
    free(a);
}

static void test_unknown(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 3);
    part(&w, 0, KPI_RATIO, 1, false);
    part(&w, 0, KPI_RATIO, 2, false);
    struct kpi_attribution *a = leaves(&w, 0);
    set_leaf(a, 1, 10, 10);
    set_leaf(a, 2, 5, 0); /* divides by zero now */
    kpi_attribute(&w.set, 0, 0, a);
    assert_non_null(a->unknown);
    assert_true(isnan(a->change));
    free(a);
    a = leaves(&w, 0); /* nothing filled in: unknown */
    set_leaf(a, 1, 10, 10);
    kpi_attribute(&w.set, 0, 0, a);
    assert_non_null(a->unknown);
    free(a);

    /* (a - b) in the divisor: both ends are fine, the mixture of new a and old b divides by 0. */
    world_init(&w, 5);
    part(&w, 0, KPI_RATIO, 1, false);
    part(&w, 0, KPI_RATIO, 2, false);
    part(&w, 2, KPI_SUM, 3, false);
    part(&w, 2, KPI_SUM, 4, true);
    a = leaves(&w, 0);
    set_leaf(a, 1, 1, 1);
    set_leaf(a, 3, 5, 2);
    set_leaf(a, 4, 2, 1);
    kpi_attribute(&w.set, 0, 0, a);
    assert_int_equal(a->method, KPI_METHOD_SHAPLEY);
    assert_non_null(a->unknown);
    assert_true(a->before == 1.0 / 3 && a->after == 1);
    free(a);
    a = leaves(&w, 1); /* cut above the difference, it can be told */
    assert_int_equal(a->n, 2);
    set_leaf(a, 1, 1, 1);
    set_leaf(a, 2, 3, 1);
    kpi_attribute(&w.set, 0, 1, a);
    assert_null(a->unknown);
    assert_near(leaf(a, 2)->exact, 2.0 / 3, 1);
    free(a);
}

static void test_rounding(void **state) {
    (void)state;
    const double thirds[] = {1.0 / 3, 1.0 / 3, 1.0 / 3}, back[] = {-1.0 / 3, -1.0 / 3, -1.0 / 3};
    const double huge[] = {1e300};
    double shown[3], total;
    assert_true(kpi_round_shares(thirds, 3, 1, 2, shown, &total));
    assert_true(total == 1 && shown[0] == 0.34 && shown[1] == 0.33 && shown[2] == 0.33);
    assert_true(kpi_round_shares(back, 3, -1, 2, shown, &total));
    assert_true(total == -1 && shown[0] == -0.34 && shown[1] == -0.33 && shown[2] == -0.33);
    assert_true(kpi_round_shares(thirds, 3, 1, 0, shown, &total));
    assert_true(shown[0] == 1 && shown[1] == 0 && shown[2] == 0);
    assert_false(kpi_round_shares(huge, 1, 1e300, 0, shown, &total));
    assert_false(kpi_round_shares(thirds, 3, NAN, 0, shown, &total));
}

/* ---- random trees ---- */

struct making {
    struct world *w;
    struct rand *r;
    bool products_only;
};

/* A tree below `node` from the nodes behind it; sometimes an old leaf stands there again. */
static void grow(struct making *m, int node, uint32_t *used, uint32_t level) {
    uint32_t kinds = m->products_only ? 2 : 3;
    enum kpi_form form =
        (enum kpi_form[]){KPI_PRODUCT, KPI_RATIO, KPI_SUM}[rand_below(m->r, kinds)];
    uint32_t n = form == KPI_RATIO ? 2 : 2 + rand_below(m->r, 2);
    for (uint32_t i = 0; i < n && *used < NODES; i++) {
        int child = (int)(*used)++;
        bool minus = form == KPI_SUM && i > 0 && rand_below(m->r, 3) == 0;
        part(m->w, node, form, child, minus);
        if (level < 3 && rand_below(m->r, 3) < 2 && *used + 3 < NODES)
            grow(m, child, used, level + 1);
    }
    struct kpi *k = &m->w->kpi[node];
    if (k->n_parts < n) /* no nodes were left */
        k->form = k->n_parts == 0 ? KPI_QUERY : m->products_only ? KPI_PRODUCT : KPI_SUM;
}

static double draw(struct rand *r, bool positive) {
    double v = rand_exponential(r) * pow(10, rand_below(r, 3)) + 0.01;
    if (positive) return v;
    uint32_t kind = rand_below(r, 6);
    return kind == 0 ? 0 : kind == 1 ? -v : v;
}

static uint32_t told; /* attributions that were not refused */

/* Attributes, exchanges the ranges, and attributes again. */
static void try_tree(struct world *w, struct rand *r, bool positive, bool log_share) {
    struct kpi_attribution *a = leaves(w, 0), *b = leaves(w, 0), *c = leaves(w, 0);
    if (a->n <= KPI_SHAPLEY_MOST) {
        for (uint32_t i = 0; i < a->n; i++) {
            struct kpi_leaf *l = &a->leaf[i];
            l->before = draw(r, positive);
            l->after = rand_below(r, 5) ? draw(r, positive) : l->before;
            b->leaf[i].before = l->after;
            b->leaf[i].after = l->before;
            c->leaf[i].before = c->leaf[i].after = l->before;
        }
        kpi_attribute(&w->set, 0, 0, a);
        kpi_attribute(&w->set, 0, 0, b);
        kpi_attribute(&w->set, 0, 0, c);
        if (log_share && w->kpi[0].form != KPI_QUERY) assert_int_equal(a->method, KPI_METHOD_LOG);
        assert_int_equal(a->unknown != NULL, b->unknown != NULL);
        /* only what has more digits than a double holds may be refused */
        if (positive && log_share && a->unknown)
            assert_true(fabs(a->before) + fabs(a->after) > 1e10);
        told += !a->unknown;
        if (!a->unknown) {
            assert_sums(a, 2);
            assert_sums(b, 2);
            double scale = fabs(a->before) + fabs(a->after);
            for (uint32_t i = 0; i < a->n; i++) scale += fabs(a->leaf[i].exact);
            for (uint32_t i = 0; i < a->n; i++) {
                assert_near(a->leaf[i].exact, -b->leaf[i].exact, scale);
                if (a->leaf[i].before == a->leaf[i].after && a->method != KPI_METHOD_SHAPLEY)
                    assert_true(a->leaf[i].exact == 0);
            }
        }
        for (uint32_t i = 0; i < c->n && !c->unknown; i++)
            assert_true(c->leaf[i].exact == 0 && c->leaf[i].shown == 0);
    }
    free(a);
    free(b);
    free(c);
}

static uint64_t first_seed(uint32_t *runs) {
    const char *text = getenv("KEEL_SEED");
    *runs = text ? 1 : RUNS;
    return text ? strtoull(text, NULL, 0) : 1;
}

static void run_random(bool products_only, bool positive) {
    uint32_t runs;
    uint64_t seed = first_seed(&runs);
    told = 0;
    for (uint32_t i = 0; i < runs; i++, seed++) {
        struct world w;
        struct rand r;
        uint32_t used = 1;
        struct making m = {&w, &r, products_only};
        printf("seed %llu\r", (unsigned long long)seed);
        rand_init(&r, seed);
        world_init(&w, NODES);
        grow(&m, 0, &used, 0);
        try_tree(&w, &r, positive, products_only && positive);
    }
    if (runs == RUNS) assert_true(told > RUNS / 2);
}

static void test_products(void **state) {
    (void)state;
    run_random(true, true);
}
static void test_mixed_positive(void **state) {
    (void)state;
    run_random(false, true);
}
static void test_mixed_any_sign(void **state) {
    (void)state;
    run_random(false, false);
}

/* Shapley by all n! orders, for a tree of four leaves. */
static double value_in_order(const double *v) { return (v[0] - v[1]) * v[2] / v[3]; }

static void test_shapley_against_orders(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 7); /* 0 = 1 / 2; 1 = 3 × 4; 3 = 5 - 6; leaves 5, 6, 4, 2 */
    part(&w, 0, KPI_RATIO, 1, false);
    part(&w, 0, KPI_RATIO, 2, false);
    part(&w, 1, KPI_PRODUCT, 3, false);
    part(&w, 1, KPI_PRODUCT, 4, false);
    part(&w, 3, KPI_SUM, 5, false);
    part(&w, 3, KPI_SUM, 6, true);
    const int which[] = {5, 6, 4, 2};
    const double before[] = {7, 9, -3, 2}, after[] = {12, 4, 5, 8};
    double expected[4] = {0};
    for (int code = 0; code < 256; code++) { /* orders as numbers of base 4 */
        int order[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3}, seen = 0;
        for (int i = 0; i < 4; i++) seen |= 1 << order[i];
        if (seen != 15) continue;
        double v[4];
        memcpy(v, before, sizeof v);
        for (int i = 0; i < 4; i++) {
            double was = value_in_order(v);
            v[order[i]] = after[order[i]];
            expected[order[i]] += (value_in_order(v) - was) / 24;
        }
    }
    struct kpi_attribution *a = leaves(&w, 0);
    for (int i = 0; i < 4; i++) set_leaf(a, which[i], before[i], after[i]);
    kpi_attribute(&w.set, 0, 0, a);
    assert_int_equal(a->method, KPI_METHOD_SHAPLEY);
    for (int i = 0; i < 4; i++) assert_near(leaf(a, which[i])->exact, expected[i], 10);
    free(a);
}

/* More leaves than Shapley takes: log-share through the sums if all is positive, else unknown. */
static void test_many_leaves(void **state) {
    (void)state;
    struct world w;
    world_init(&w, 20);
    part(&w, 0, KPI_PRODUCT, 1, false);
    part(&w, 0, KPI_PRODUCT, 2, false);
    for (int i = 3; i < 11; i++) part(&w, 1, KPI_SUM, i, false);
    for (int i = 11; i < 20; i++) part(&w, 2, KPI_SUM, i, false);
    struct kpi_attribution *a = leaves(&w, 0);
    assert_int_equal(a->n, 17);
    for (int i = 3; i < 20; i++) set_leaf(a, i, i, i * i % 23 + 1);
    kpi_attribute(&w.set, 0, 0, a);
    assert_null(a->unknown);
    assert_int_equal(a->method, KPI_METHOD_LOG);
    assert_sums(a, 2);
    free(a);
    a = leaves(&w, 0);
    for (int i = 3; i < 20; i++) set_leaf(a, i, i, i == 7 ? -1 : i);
    kpi_attribute(&w.set, 0, 0, a);
    assert_non_null(a->unknown);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_mixed_positive),
        cmocka_unit_test(test_mixed_any_sign),
        cmocka_unit_test(test_shapley_against_orders),
        cmocka_unit_test(test_many_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
