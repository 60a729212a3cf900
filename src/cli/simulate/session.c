/* One visit to the shop, step by step: a Markov chain over pages, searches, lists and products.
 *
 * Visits that buy end with an order; others may fill a cart and leave it. The constants below are
 * chosen so that over all visits about 12 % of the product views put something into a cart and
 * about 35 % of the carts become orders, the usual figures of shops; steps take 4 s plus an
 * exponential span. A dear product (above its list price) is put into the cart less often, one on
 * sale more often, by the person's sensitivity to price.
 *
 * Who is not logged in may log in or sign up on the way, and mostly does so before paying.
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum {
    STEPS_MAX = 60,
    ADD_BROWSING = P(0.084),
    ADD_BUYING = P(0.42),
    AD = P(0.08),
    HOME = P(0.62),
    LANDING = P(0.6), /* of the ads: on a product; else on a category */
    CART_LOOK = P(0.5),
    CHECKOUT_LEFT = P(0.22), /* of the carts that are left */
    TAKEN_OUT = P(0.06),
    TWO_PIECES = P(0.14),
    OWN_TASTE = P(0.55),
    OLD_CART = P(0.35),
    LOG_IN = P(0.4),
    LOG_IN_TO_PAY = P(0.9),
    SIGN_UP = P(0.05),
    SIGN_UP_TO_PAY = P(0.8),
    COMPLAINT = P(0.004),
    UNDER_PARTNER = P(0.4), /* on the shared device, without changing the login */
};

enum place { AT_HOME, AT_SEARCH, AT_LIST, AT_VIEW, AT_END };

struct session {
    struct actor *a;
    struct shopper *s;
    struct line basket[LINES_MAX];
    uint32_t n, wanted, cart, category, product, steps;
    bool buys;
};

static void step(struct actor *a, uint32_t mean) { a->t += 4 + (draw_span(&a->d, mean) & ~1u); }

static void note(struct session *x, enum kind kind, uint32_t item) {
    struct record r = actor_record(x->a, kind);
    r.item = item;
    (void)actor_put(x->a, &r, NULL, 0);
    x->steps++;
}

static const struct product *product(const struct session *x) {
    return &x->a->m->world.products[x->product];
}

/* ---- log in, sign up ---- */

static void remember_login(struct actor *a, struct shopper *s) {
    uint8_t in = (uint8_t)(1 << a->slot), second = (uint8_t)(1 << (DEVICES + a->slot));
    if (a->device >> DEVICE_CLASS_SHIFT != DEVICE_PERSON) return; /* kiosks log out */
    if (a->owner == a->person && !(a->slot == 1 && (s->flags & SHOPPER_SHARES))) {
        s->in |= in;
        s->in = (uint8_t)(a->flags & RECORD_ACCOUNT2 ? s->in | second : s->in & ~second);
        return;
    }
    struct shopper *o = &a->m->shoppers[a->owner];
    o->in |= in;
    o->flags =
        (uint8_t)(a->person & 1 ? o->flags | SHOPPER_PARTNER_IN : o->flags & ~SHOPPER_PARTNER_IN);
}

static void identify(struct session *x, bool signs_up) {
    struct actor *a = x->a;
    a->flags = (uint8_t)((a->flags & ~(RECORD_PARTNER | RECORD_ACCOUNT2)) | RECORD_USER);
    /* Some forget that they have an account, once, and open another from then on. */
    if (!signs_up && (x->s->flags & SHOPPER_SECOND)) {
        signs_up = !(x->s->flags & SHOPPER_HAS_SECOND);
        x->s->flags |= SHOPPER_HAS_SECOND;
        a->flags |= RECORD_ACCOUNT2;
    }
    note(x, KIND_IDENTIFY, 0);
    remember_login(a, x->s);
    if (!signs_up) return;
    step(a, 10);
    note(x, KIND_SIGNUP, 0);
    x->s->flags |= SHOPPER_ACCOUNT;
}

/* With the given chances, if not logged in as oneself. */
static void perhaps_identify(struct session *x, int log_in, int sign_up) {
    struct actor *a = x->a;
    if ((a->flags & RECORD_USER) && !(a->flags & RECORD_PARTNER)) return;
    bool account = x->s->flags & SHOPPER_ACCOUNT;
    if (!draw_chance(&a->d, account ? log_in : sign_up)) return;
    identify(x, !account);
    step(a, 12);
}

/* ---- looking around ---- */

static void choose_category(struct session *x) {
    struct draw *d = &x->a->d;
    if (draw_chance(d, OWN_TASTE)) {
        x->category = x->s->taste;
        return;
    }
    uint32_t u = draw_below(d, 120);
    for (x->category = 0; u >= CATEGORY[x->category].share; x->category++)
        u -= CATEGORY[x->category].share;
}

static void view(struct session *x) {
    struct record r;
    if (x->s->cart && x->n == 0 && draw_chance(&x->a->d, OLD_CART)) {
        x->product = x->s->cart - 1;
        x->category = product(x)->category;
    } else {
        x->product = world_pick(&x->a->m->world, &x->a->d, x->category);
    }
    r = actor_record(x->a, KIND_VIEW);
    r.item = x->product;
    r.cents = product(x)->cents;
    r.detail = product(x)->stock == 0;
    (void)actor_put(x->a, &r, NULL, 0);
    x->steps++;
}

static void put_into_cart(struct session *x) {
    for (uint32_t i = 0; i < x->n; i++)
        if (x->basket[i].product == x->product) return;
    uint32_t quantity = draw_chance(&x->a->d, TWO_PIECES) ? 2 : 1;
    if (x->n == LINES_MAX || product(x)->stock < quantity) return;
    step(x->a, 8);
    if (!x->cart) x->cart = x->a->m->next_ref++;
    struct record r = actor_record(x->a, KIND_ADD);
    r.item = x->product;
    r.cents = product(x)->cents;
    r.lines = (uint8_t)quantity;
    r.ref = x->cart;
    (void)actor_put(x->a, &r, NULL, 0);
    x->basket[x->n++] = (struct line){x->product, product(x)->cents, quantity};
}

static bool tempted(struct session *x) {
    const struct product *p = product(x);
    int64_t cheaper = ((int64_t)p->base_cents - p->cents) * 256 / p->base_cents; /* of 256 */
    int64_t factor = 256 + cheaper * x->s->sensitivity / 48;
    if (factor < 32) factor = 32;
    int64_t chance = (x->buys ? ADD_BUYING : ADD_BROWSING) * factor / 256;
    return draw_chance(&x->a->d, chance < P(0.9) ? (int)chance : P(0.9));
}

static enum place next_place(struct session *x, enum place at) {
    /* of 100: home, search, list, view; the rest leaves */
    static const uint8_t CHAIN[][4] = {[AT_HOME] = {0, 36, 36, 13},
                                       [AT_SEARCH] = {0, 17, 8, 60},
                                       [AT_LIST] = {0, 8, 14, 63},
                                       [AT_VIEW] = {3, 12, 11, 43}};
    uint32_t u = draw_below(&x->a->d, 100);
    for (enum place to = AT_HOME; to < AT_END; to++) {
        if (u < CHAIN[at][to]) return to;
        u -= CHAIN[at][to];
    }
    return AT_END;
}

static void show(struct session *x, enum place at) {
    switch (at) {
    case AT_HOME: note(x, KIND_PAGE, CATEGORIES); break;
    case AT_SEARCH:
        choose_category(x);
        note(x, KIND_SEARCH, world_pick(&x->a->m->world, &x->a->d, x->category));
        break;
    case AT_LIST:
        choose_category(x);
        note(x, KIND_LIST, x->category);
        break;
    case AT_VIEW: view(x); break;
    case AT_END: break;
    }
}

static enum place enter(struct session *x, bool from_mail) {
    struct actor *a = x->a;
    choose_category(x);
    if (from_mail) return AT_VIEW;
    if (a->profile <= PROFILE_TABLET && draw_chance(&a->d, AD)) {
        a->campaign = (uint16_t)(1 + draw_below(&a->d, AD_CAMPAIGNS));
        note(x, KIND_AD, 0);
        step(a, 4);
        if (draw_chance(&a->d, LANDING)) return AT_VIEW;
        note(x, KIND_PAGE, x->category);
        step(a, 4);
        return AT_LIST;
    }
    return draw_chance(&a->d, HOME) ? AT_HOME : AT_VIEW;
}

static void look_around(struct session *x, bool from_mail) {
    struct actor *a = x->a;
    enum place at = enter(x, from_mail);
    uint32_t identify_at = 1 + draw_below(&a->d, 4);
    while (at != AT_END && x->steps < STEPS_MAX) {
        show(x, at);
        a->campaign = 0; /* only the landing carries it, as in analytics.js */
        if (at == AT_VIEW && tempted(x)) put_into_cart(x);
        step(a, at == AT_VIEW ? 45 : 20);
        if (identify_at && x->steps >= identify_at) {
            perhaps_identify(x, LOG_IN, SIGN_UP);
            identify_at = 0;
        }
        if (x->buys && x->n >= x->wanted) return;
        at = next_place(x, at);
        if (at == AT_END && x->buys && x->n == 0) at = AT_VIEW; /* came to buy: goes on */
    }
}

/* ---- cart and order ---- */

static uint32_t basket_cents(const struct session *x) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < x->n; i++) sum += x->basket[i].cents * x->basket[i].quantity;
    return sum;
}

static void with_basket(struct session *x, enum kind kind) {
    struct record r = actor_record(x->a, kind);
    r.ref = x->cart;
    r.cents = basket_cents(x);
    (void)actor_put(x->a, &r, x->basket, x->n);
}

static void take_out(struct session *x) {
    struct record r = actor_record(x->a, KIND_REMOVE);
    const struct line *last = &x->basket[--x->n];
    r.item = last->product;
    r.cents = last->cents;
    r.lines = (uint8_t)last->quantity;
    r.ref = x->cart;
    (void)actor_put(x->a, &r, NULL, 0);
    step(x->a, 10);
}

static bool pay_or_leave(struct session *x) {
    struct actor *a = x->a;
    if (draw_chance(&a->d, CART_LOOK)) {
        with_basket(x, KIND_CART);
        step(a, 15);
    }
    if (x->n > 1 && draw_chance(&a->d, TAKEN_OUT)) take_out(x);
    if (x->buys || draw_chance(&a->d, CHECKOUT_LEFT)) {
        with_basket(x, KIND_CHECKOUT);
        step(a, 60);
    }
    if (!x->buys) {
        x->s->cart = x->basket[0].product + 1;
        return false;
    }
    perhaps_identify(x, LOG_IN_TO_PAY, SIGN_UP_TO_PAY);
    bool placed = order_place(a, x->basket, x->n, x->cart);
    step(a, 10);
    return placed;
}

bool session_run(struct actor *a, bool buys, bool from_mail) {
    struct session x = {.a = a, .s = &a->m->shoppers[a->person], .buys = buys};
    bool placed = false;
    x.wanted =
        1 + (uint32_t)__builtin_popcount(draw_below(&a->d, 4)); /* 1, 2 or 3 lines: 1/4, 1/2, 1/4 */
    if ((a->flags & RECORD_PARTNER) && !draw_chance(&a->d, UNDER_PARTNER) &&
        (x.s->flags & SHOPPER_ACCOUNT)) {
        identify(&x, false);
        step(a, 4);
    }
    look_around(&x, from_mail);
    if (x.n) placed = pay_or_leave(&x);
    if (draw_chance(&a->d, COMPLAINT)) support_write(a, a->t + 3600, false, 0);
    return placed;
}
