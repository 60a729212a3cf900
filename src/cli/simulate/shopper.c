/* A person: fixed traits, rates, lifetime, and the time of the next visit.
 *
 * Buying follows Pareto/NBD (Schmittlein, Morrison, Colombo 1987): while alive, orders are a
 * Poisson process; rates differ between people by a gamma distribution; lifetimes are exponential
 * with gamma-mixed rates. Shape 1/2 for both is near CDNOW's fit (r .553, s .606). Browsing is a
 * second Poisson process with log-normal rates (sigma 1.1, chosen: the most active tenth makes 37 %
 * of the visits). So the truth file can state each person's true rate, lifetime and next order.
 *
 * The two processes are run as one with the sum of the rates; a coin tells them apart at the visit.
 * Seasons thin it: candidates come SEASON_MAX times too often and are kept with today's season.
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

#define YEAR_SECONDS ((uint64_t)YEAR_DAYS * DAY_SECONDS)

enum {
    ORDERS_PER_YEAR = 22938,   /* q16: 0.35 while alive, mean over people; chosen */
    BROWSES_PER_YEAR = 245760, /* q16: 3.75 while alive, mean over people; chosen */
    BROWSE_SIGMA = 72090,      /* q16: 1.1 */
    LEAVINGS_PER_YEAR = 52429, /* q16: 0.8, mean over people; chosen */
    NEWCOMER_DAYS = 550,       /* newcomers: days / (days + this), 40 % in a year */
    GAP_MIN = 60,
    GAP_MAX = 1 << 30, /* 34 years: never in practice */
};

static const uint8_t LOCAL_HOURS[64] = {
    0,  1,  6,  7,  7,  8,  8,  9,  9,  9,  10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13,
    13, 13, 13, 14, 14, 14, 15, 15, 15, 16, 16, 16, 17, 17, 17, 17, 18, 18, 18, 18, 19, 19,
    19, 19, 19, 20, 20, 20, 20, 20, 20, 21, 21, 21, 21, 21, 22, 22, 22, 22, 23, 23,
};

uint32_t shopper_hour_start(struct draw *d, uint8_t country) {
    int hour = LOCAL_HOURS[draw_below(d, sizeof LOCAL_HOURS)] - COUNTRY[country].hours_east;
    return (uint32_t)((hour + 24) % 24) * 3600;
}

uint32_t shopper_user(uint32_t person, bool second) { return 1000001 + 2 * person + second; }

static uint32_t gap_for(uint64_t per_year_q16) {
    uint64_t gap = per_year_q16 ? YEAR_SECONDS * Q16 / per_year_q16 : GAP_MAX;
    return gap < GAP_MIN ? GAP_MIN : gap > GAP_MAX ? GAP_MAX : (uint32_t)gap;
}

static void choose_devices(struct shopper *s, struct draw *d) {
    static const uint8_t MAIN[] = {
        /* of 50 */
        [PROFILE_WINDOWS] = 14,     [PROFILE_MAC] = 5,         [PROFILE_LINUX] = 2,
        [PROFILE_ANDROID_WEB] = 14, [PROFILE_IPHONE_WEB] = 11, [PROFILE_TABLET] = 4};
    uint32_t u = draw_below(d, 50), main = 0;
    while (u >= MAIN[main]) u -= MAIN[main++];
    bool apple = draw_chance(d, P(0.42));
    bool desk = main <= PROFILE_LINUX;
    uint8_t phone = apple ? PROFILE_IPHONE_WEB : PROFILE_ANDROID_WEB;
    uint8_t app = apple ? PROFILE_IPHONE_APP : PROFILE_ANDROID_APP;
    s->profile[0] = (uint8_t)main;
    s->profile[1] = !draw_chance(d, P(0.6))  ? PROFILE_NONE
                    : desk                   ? phone
                    : draw_chance(d, P(0.3)) ? PROFILE_TABLET
                                             : PROFILE_WINDOWS;
    s->profile[2] = draw_chance(d, P(0.35)) ? app : PROFILE_NONE;
}

static uint8_t choose_country(struct draw *d) {
    uint32_t u = draw_below(d, 100);
    uint8_t i = 0;
    while (u >= COUNTRY[i].share) u -= COUNTRY[i++].share;
    return i;
}

/* One pair in 66 shares the even one's second device, a tablet. */
static void share_device(struct market *m, uint32_t person, struct shopper *s) {
    struct draw pair = draw_stream(m->config.seed ^ 0x70616972u, person / 2, 0);
    if (m->config.clean || (person | 1) >= m->config.customers || !draw_chance(&pair, P(0.015)))
        return;
    s->profile[1] = PROFILE_TABLET;
    s->flags |= SHOPPER_SHARES;
}

static uint8_t choose_flags(const struct market *m, struct draw *d, bool old) {
    uint32_t flags = 0;
    if (old && draw_chance(d, P(0.4))) flags |= SHOPPER_ACCOUNT;
    if (draw_chance(d, P(0.7))) flags |= SHOPPER_OPTED_IN;
    if (draw_chance(d, P(0.1))) flags |= SHOPPER_HOLDOUT;
    if (draw_chance(d, P(0.2))) flags |= SHOPPER_STORE;
    if (draw_chance(d, P(0.015)) && !m->config.clean) flags |= SHOPPER_SECOND;
    return (uint8_t)flags;
}

void shopper_init(struct market *m, uint32_t person) {
    struct draw d = draw_stream(m->config.seed, person, 0x706572736f6eu);
    uint32_t days = m->config.days;
    bool newcomer = draw_below(&d, days + NEWCOMER_DAYS) < days;
    /* Statements, not an initialiser: its draws could be made in any order. */
    struct shopper s = {.joined = newcomer ? 1 + draw_below(&d, m->end - 1) : 0};
    s.country = choose_country(&d);
    s.age = (uint8_t)draw_below(&d, AGE_BANDS);
    s.taste = (uint8_t)draw_below(&d, CATEGORIES);
    s.flags = choose_flags(m, &d, !newcomer);
    s.sensitivity = (uint8_t)draw_below(&d, 256);
    s.opens = (uint8_t)draw_between(&d, 26, 150);
    s.reacts = (uint8_t)draw_between(&d, 8, 64);
    uint64_t gamma = (uint64_t)draw_gamma_q16(&d);
    s.order_gap = gap_for(gamma * ORDERS_PER_YEAR >> 16);
    s.browse_gap = gap_for((uint64_t)draw_lognormal_q16(&d, BROWSE_SIGMA) * BROWSES_PER_YEAR >> 16);
    gamma = (uint64_t)draw_gamma_q16(&d);
    uint64_t gone = (uint64_t)s.joined + draw_span(&d, gap_for(gamma * LEAVINGS_PER_YEAR >> 16));
    s.gone = gone < NEVER ? (uint32_t)gone : NEVER;
    choose_devices(&s, &d);
    share_device(m, person, &s);
    m->shoppers[person] = s;
    if (newcomer)
        m->next[person] = s.joined; /* whoever joins comes that day */
    else
        shopper_plan_next(m, person, &d, 0);
}

void shopper_plan_next(struct market *m, uint32_t person, struct draw *d, uint32_t after) {
    const struct shopper *s = &m->shoppers[person];
    uint64_t gap = (uint64_t)s->order_gap * s->browse_gap / (s->order_gap + s->browse_gap);
    uint64_t at = (uint64_t)after + 1 + draw_span(d, (gap << 16) / m->rate_q16 / SEASON_MAX);
    m->next[person] = at < s->gone && at < m->end ? (uint32_t)at : NEVER;
}
