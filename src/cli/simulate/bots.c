/* Crawlers: rare visitors with their own user agent that walk through hundreds of products in a few
 * minutes, in order, a second or three apart. One bot for 4,000 people, each active on one day in a
 * hundred: about 2 % of the events, hardly any of the people. None with --clean.
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum { ACTIVE = P(0.01), VIEWS_LEAST = 80, VIEWS_MEAN = 250, VIEWS_MOST = 1500 };

static void crawl(struct market *m, uint32_t bot, struct draw d) {
    struct actor a = {
        .m = m,
        .d = d,
        .person = bot,
        .owner = bot,
        .device = (uint32_t)DEVICE_BOT << DEVICE_CLASS_SHIFT | m->bot_generation[bot]++,
        .profile = PROFILE_CRAWLER,
        .country = (uint8_t)(bot % COUNTRIES),
        .flags = RECORD_CLIENT | RECORD_BOT,
    };
    uint32_t views = VIEWS_LEAST + draw_span(&a.d, VIEWS_MEAN);
    uint32_t at = draw_below(&a.d, m->world.n_products);
    a.t = m->day * DAY_SECONDS + draw_below(&a.d, DAY_SECONDS);
    for (uint32_t i = 0; i < views && i < VIEWS_MOST; i++) {
        const struct product *p = &m->world.products[at];
        bool list = i % 12 == 0;
        struct record r = actor_record(&a, list ? KIND_LIST : KIND_VIEW);
        r.item = list ? p->category : at;
        r.cents = p->cents;
        r.detail = p->stock == 0;
        (void)actor_put(&a, &r, NULL, 0);
        at = (at + 1) % m->world.n_products;
        a.t += draw_between(&a.d, 1, 3);
    }
}

void bots_day(struct market *m) {
    for (uint32_t bot = 0; bot < m->n_bots; bot++) {
        struct draw d = draw_stream(m->config.seed ^ 0x626f74u, bot, m->day);
        if (draw_chance(&d, ACTIVE) && m->bot_generation[bot] < UINT8_MAX) crawl(m, bot, d);
    }
}
