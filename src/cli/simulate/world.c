/* The market's supply: merchants, products, prices that change every week, stock that runs out.
 *
 * Products of a category lie side by side, the popular ones first: a pick is u^3 of the range, so
 * the best tenth of the products gets 46 % of the views (a long tail; the exponent is chosen).
 * Prices are log-normal around the category's, and go on sale for a week at a time. Deliveries fill
 * the stock to a capacity of some weeks' expected sales; what is sold out cannot be put into a
 * cart.
 *
 * The properties of a product that never change are rendered once, in two pieces around the price.
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum {
    CATEGORY_SHARES = 120,
    TEXT_MAX_BYTES = 1 << 30,
    ON_SALE = P(0.08),
    DEARER = P(0.02),
    DELIVERED = P(0.5), /* a product's stock is filled up in this share of the weeks */
    LINES_PER_ORDER_10 = 17,
    PRICE_SIGMA = 39322, /* 0.6 in q16 */
};

/* Prices end in 95 or 9, as in shops. */
static uint32_t shop_price(uint64_t cents) {
    if (cents < 199) return 199;
    if (cents > 50000000) cents = 50000000;
    return (uint32_t)(cents < 1000 ? cents / 10 * 10 + 9 : cents / 100 * 100 + 95);
}

static int render(struct world *w, uint32_t i) {
    static const char *const FIRST[] = {"Nor", "Al",  "Ver", "Kas", "Lu",  "Mon", "Tel", "Bri",
                                        "Ost", "Fen", "Cal", "Ria", "Sol", "Hol", "Pel", "Edo"};
    static const char *const LAST[] = {"dlys", "mont", "ta",   "dis",  "wen", "ria",
                                       "vik",  "more", "line", "berg", "lo",  "sen"};
    struct product *p = &w->products[i];
    uint32_t brand = (uint32_t)(hash_mix(i % (w->n_products / 20 + 1) + p->category) % 192);
    const struct category *c = &CATEGORY[p->category];
    p->head_at = (uint32_t)w->text.n;
    (void)buf_printf(
        &w->text,
        "\"product_id\":\"p%u\",\"name\":\"%s %s\",\"category\":\"%s\",\"brand\":\"%s%s\","
        "\"price\":",
        10000 + i, ADJECTIVE[p->adjective], c->nouns[p->noun], c->name, FIRST[brand % 16],
        LAST[brand / 16]);
    p->head_n = (uint16_t)(w->text.n - p->head_at);
    p->tail_at = (uint32_t)w->text.n;
    (void)buf_printf(&w->text, ",\"merchant_id\":\"m%u\",\"offer_id\":\"o%u-%u\"", p->merchant + 1,
                     10000 + i, p->merchant + 1);
    p->tail_n = (uint16_t)(w->text.n - p->tail_at);
    return w->text.failed;
}

int world_init(struct world *w, const struct sim_config *config, struct keel_error *err) {
    *w = (struct world){.n_products = config->products,
                        .n_merchants = config->merchants,
                        .draw = draw_stream(config->seed, 0x776f726c64u, 0)};
    buf_init(&w->text, TEXT_MAX_BYTES);
    w->products = k_try_alloc_array(config->products, sizeof *w->products);
    w->category_first = k_zalloc((CATEGORIES + 1) * sizeof *w->category_first);
    if (!w->products) FAIL(err, NO_MEMORY, "no memory for %u products", config->products);

    uint32_t shares = 0;
    for (uint32_t c = 0; c < CATEGORIES; c++) {
        w->category_first[c] = (uint32_t)((uint64_t)config->products * shares / CATEGORY_SHARES);
        shares += CATEGORY[c].share;
    }
    K_ASSERT_OP(shares, ==, CATEGORY_SHARES);
    w->category_first[CATEGORIES] = config->products;
    for (uint32_t c = 0; c < CATEGORIES; c++) {
        for (uint32_t i = w->category_first[c]; i < w->category_first[c + 1]; i++) {
            int64_t factor = draw_lognormal_q16(&w->draw, PRICE_SIGMA);
            uint32_t base = shop_price((uint64_t)factor * CATEGORY[c].cents >> 16);
            struct product *p = &w->products[i];
            *p = (struct product){.base_cents = base, .cents = base, .category = (uint8_t)c};
            p->merchant = draw_below(&w->draw, config->merchants);
            p->noun = (uint16_t)draw_below(&w->draw, NOUNS);
            p->adjective = (uint16_t)draw_below(&w->draw, ADJECTIVES);
            int code = render(w, i);
            if (code) return error_set(err, (enum keel_code) - code, "no memory for products");
        }
    }
    return 0;
}

void world_release(struct world *w) {
    k_free(w->products);
    k_free(w->category_first);
    buf_release(&w->text);
}

uint32_t world_pick(const struct world *w, struct draw *d, uint32_t category) {
    uint32_t first = w->category_first[category], n = w->category_first[category + 1] - first;
    uint64_t u = draw_u32(d);
    uint64_t cube = ((u * u >> 32) * u) >> 32;
    return first + (uint32_t)(cube * n >> 32);
}

/* Some weeks' sales: density of u^3 at the product's rank, times the category's orders. */
static uint32_t capacity(struct world *w, uint32_t i, uint32_t expected_orders) {
    const struct product *p = &w->products[i];
    uint32_t n = w->category_first[p->category + 1] - w->category_first[p->category];
    uint64_t place = 2 * (uint64_t)(i - w->category_first[p->category]) + 1; /* (rank + 1/2) / n */
    int64_t density = exp2_q16((log2_q16(2 * (uint64_t)n) - log2_q16(place)) * 2 / 3);
    uint64_t units = (uint64_t)expected_orders * LINES_PER_ORDER_10 * CATEGORY[p->category].share *
                         (uint64_t)density / ((uint64_t)30 * n * CATEGORY_SHARES) >>
                     16;
    uint64_t weeks = 1 + draw_below(&w->draw, 4);
    uint64_t pieces = 2 + draw_below(&w->draw, 6) + units * weeks;
    return pieces < 1000000 ? (uint32_t)pieces : 1000000;
}

void world_week(struct world *w, uint32_t expected_orders) {
    for (uint32_t i = 0; i < w->n_products; i++) {
        struct product *p = &w->products[i];
        if (!p->capacity) p->stock = p->capacity = capacity(w, i, expected_orders);
        if (draw_chance(&w->draw, DELIVERED)) p->stock = p->capacity;
        int u = draw_place(&w->draw);
        uint32_t percent = u < ON_SALE            ? draw_between(&w->draw, 70, 92)
                           : u < ON_SALE + DEARER ? draw_between(&w->draw, 103, 112)
                                                  : 100;
        p->cents =
            percent == 100 ? p->base_cents : shop_price((uint64_t)p->base_cents * percent / 100);
    }
}
