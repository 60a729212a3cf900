/* A visit that is due: does it take place today, where, and on which device.
 *
 * Where is chosen by fixed shares: store and telephone only to buy, kiosks in the store, else the
 * person's devices. Store orders are one event from the till; members show their card, others get a
 * receipt number as anonymousId. One kiosk in four never resets its anonymousId between people.
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum {
    STORE_IF_FOND = P(0.45), /* of the visits that buy */
    STORE_ELSE = P(0.04),
    CALL = P(0.04),
    KIOSK = P(0.025), /* of all visits */
    MEMBER_CARD = P(0.75),
    APP = P(0.45), /* if there is one */
    OTHER_DEVICE = P(0.3),
    COOKIE_CLEARED = P(0.06), /* before a visit with a browser */
    OFFLINE = P(0.05),        /* of the visits with the app */
    OFFLINE_MEAN = 8 * 3600,
    OFFLINE_MAX = 5 * DAY_SECONDS,
    PAUSE = 120, /* between two visits of a person */
};

static bool account2(const struct shopper *s, uint32_t slot) {
    return s->in >> (DEVICES + slot) & 1;
}

/* The browser of a couple's tablet: whoever logged in last is still logged in. */
static void open_shared(struct actor *a) {
    struct market *m = a->m;
    a->owner = a->person & ~1u;
    struct shopper *o = &m->shoppers[a->owner];
    a->device = (uint32_t)DEVICE_PERSON << DEVICE_CLASS_SHIFT | 1 << 8 | o->generation[1];
    if (!(o->in & 2)) return;
    bool odd_in = o->flags & SHOPPER_PARTNER_IN;
    a->flags |= RECORD_USER;
    if (odd_in != (a->person & 1)) a->flags |= RECORD_PARTNER;
}

void actor_open(struct actor *a, uint32_t slot) {
    struct shopper *s = &a->m->shoppers[a->person];
    a->slot = (uint8_t)slot;
    a->profile = s->profile[slot];
    a->flags = RECORD_CLIENT;
    if (slot == 1 && (s->flags & SHOPPER_SHARES)) {
        open_shared(a);
        return;
    }
    if (slot < 2 && draw_chance(&a->d, COOKIE_CLEARED) && (s->seen >> slot & 1) &&
        s->generation[slot] < UINT8_MAX) {
        uint8_t gone = (uint8_t)(1 << slot | 1 << (DEVICES + slot));
        s->generation[slot]++;
        s->in &= (uint8_t)~gone;
        s->seen &= (uint8_t)~gone;
    }
    a->owner = a->person;
    a->device = (uint32_t)DEVICE_PERSON << DEVICE_CLASS_SHIFT | slot << 8 | s->generation[slot];
    if (s->in >> slot & 1) a->flags |= RECORD_USER | (account2(s, slot) ? RECORD_ACCOUNT2 : 0);
    if (slot == 2 && !a->m->config.clean && draw_chance(&a->d, OFFLINE)) {
        uint32_t wait = 1800 + draw_span(&a->d, OFFLINE_MEAN);
        a->arrives = a->t + (wait < OFFLINE_MAX ? wait : OFFLINE_MAX);
    }
}

/* An anonymousId used once: a receipt, a kiosk's session. */
static void open_session(struct actor *a, enum profile profile) {
    a->profile = (uint8_t)profile;
    a->owner = 0;
    a->device = (uint32_t)DEVICE_SESSION << DEVICE_CLASS_SHIFT | a->m->next_device++;
}

static void buy_at_counter(struct actor *a) {
    struct market *m = a->m;
    struct line lines[LINES_MAX] = {0};
    uint32_t n = 0, wanted = 1 + draw_below(&a->d, 4);
    const struct shopper *s = &m->shoppers[a->person];
    for (uint32_t tries = 0; n < wanted && tries < 20; tries++) {
        uint32_t category = draw_chance(&a->d, P(0.5)) ? s->taste : draw_below(&a->d, CATEGORIES);
        uint32_t i = world_pick(&m->world, &a->d, category);
        bool twice = false;
        for (uint32_t k = 0; k < n; k++) twice |= lines[k].product == i;
        if (!twice && m->world.products[i].stock)
            lines[n++] = (struct line){i, m->world.products[i].cents, 1};
    }
    if (n) (void)order_place(a, lines, n, m->next_ref++);
}

static void visit_store(struct actor *a) {
    const struct shopper *s = &a->m->shoppers[a->person];
    if ((s->flags & SHOPPER_ACCOUNT) && draw_chance(&a->d, MEMBER_CARD)) {
        a->profile = PROFILE_TILL;
        a->flags = RECORD_USER;
    } else {
        open_session(a, PROFILE_TILL);
    }
    buy_at_counter(a);
    if (a->seen) truth_use(a->m, a, a->t, a->t);
}

static void visit_kiosk(struct actor *a, bool buys) {
    struct market *m = a->m;
    uint32_t number = draw_below(&a->d, m->n_kiosks);
    struct kiosk *k = &m->kiosks[number];
    if (k->busy_until > a->t) a->t = (k->busy_until + 2) & ~1u;
    uint32_t from = a->t;
    a->flags = RECORD_CLIENT;
    open_session(a, PROFILE_KIOSK);
    if (k->keeps_id) {
        a->owner = number;
        a->device = (uint32_t)DEVICE_KIOSK << DEVICE_CLASS_SHIFT | number;
    }
    (void)session_run(a, buys, false);
    k->busy_until = a->t + 20;
    truth_use(m, a, from, a->t);
}

static void visit_online(struct actor *a, bool buys) {
    struct market *m = a->m;
    const struct shopper *s = &m->shoppers[a->person];
    uint32_t slot = 0, from = a->t;
    if (s->profile[2] != PROFILE_NONE && draw_chance(&a->d, APP))
        slot = 2;
    else if (s->profile[1] != PROFILE_NONE && draw_chance(&a->d, OTHER_DEVICE))
        slot = 1;
    actor_open(a, slot);
    (void)session_run(a, buys, false);
    if (slot == 1 && (s->flags & SHOPPER_SHARES)) truth_use(m, a, from, a->t);
}

void visit(struct market *m, uint32_t person) {
    struct shopper *s = &m->shoppers[person];
    uint32_t due = m->next[person], tomorrow = (m->day + 1) * DAY_SECONDS;
    struct actor a = {.m = m,
                      .d = draw_stream(m->config.seed, person, due),
                      .person = person,
                      .country = s->country};
    shopper_plan_next(m, person, &a.d, due);
    bool first = due == s->joined && due > 0;
    if (!first && draw_below(&a.d, SEASON_MAX * Q16) >= m->season_q16) return;

    uint64_t both = (uint64_t)s->order_gap + s->browse_gap;
    bool buys = draw_below64(&a.d, both) < s->browse_gap;
    a.t = m->day * DAY_SECONDS + shopper_hour_start(&a.d, s->country);
    a.t += draw_below(&a.d, 3600);
    if (a.t < s->busy_until + PAUSE) a.t = s->busy_until + PAUSE;
    a.t &= ~1u; /* visits at even seconds, mail and service at odd ones: no ties within a person */
    if (a.t >= tomorrow + DAY_SECONDS) return; /* no time left: rates beyond what a day holds */

    bool fond = s->flags & SHOPPER_STORE;
    if (buys && draw_chance(&a.d, fond ? STORE_IF_FOND : STORE_ELSE))
        visit_store(&a);
    else if (buys && (s->flags & SHOPPER_ACCOUNT) && draw_chance(&a.d, CALL)) {
        a.profile = PROFILE_CALL;
        a.flags = RECORD_USER;
        buy_at_counter(&a);
    } else if (draw_chance(&a.d, KIOSK))
        visit_kiosk(&a, buys);
    else
        visit_online(&a, buys);
    s->busy_until = a.t;
}
