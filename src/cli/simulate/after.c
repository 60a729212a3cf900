/* Orders, and what follows them days later: refunds, messages to the service, reviews.
 *
 * They are queued at once for the day they will happen, from the server: with the userId, or with
 * the anonymousId of the order if it was placed without an account. Shares are chosen.
 *
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum {
    REFUND = P(0.07),
    WHOLE_ORDER = P(0.4), /* of the refunds; else one line */
    WRITES = P(0.05),
    REVIEW_SHARE = P(0.06),
    BY_CALL = P(0.4),
    BY_MAIL = P(0.35),
};

/* The same person later, as the server knows them. */
static struct actor later(const struct actor *a, uint32_t from, uint32_t days_from,
                          uint32_t days_to) {
    struct actor b = *a;
    b.d = draw_stream(a->d.s, from, 0);
    b.t = from + draw_between(&b.d, days_from, days_to) * DAY_SECONDS;
    b.t += draw_below(&b.d, DAY_SECONDS / 2);
    b.t |= 1;
    b.flags &= (uint8_t)~RECORD_CLIENT;
    b.arrives = 0;
    b.campaign = 0;
    if (b.flags & RECORD_USER) b.device = (uint32_t)DEVICE_NONE << DEVICE_CLASS_SHIFT;
    if (b.profile != PROFILE_TILL) b.profile = PROFILE_BACK_OFFICE;
    return b;
}

static void refund(const struct actor *a, const struct line *lines, uint32_t n, uint32_t ref) {
    struct actor b = later(a, a->t, 2, 25);
    uint32_t first = 0;
    if (!draw_chance(&b.d, WHOLE_ORDER)) {
        first = draw_below(&b.d, n);
        n = 1;
    }
    struct record r = actor_record(&b, KIND_REFUND);
    r.ref = ref;
    for (uint32_t i = first; i < first + n; i++) r.cents += lines[i].cents * lines[i].quantity;
    if (actor_put(&b, &r, lines + first, n)) b.m->tally.refund_cents += r.cents;
}

static void review(const struct actor *a, const struct line *line, uint32_t ref) {
    struct actor b = later(a, a->t, 3, 20);
    struct record r = actor_record(&b, KIND_REVIEW);
    r.item = line->product;
    r.detail = (uint8_t)draw_below(&b.d, REVIEWS);
    r.ref = ref;
    (void)actor_put(&b, &r, NULL, 0);
}

void support_write(struct actor *a, uint32_t at, bool about_order, uint32_t ref) {
    struct actor b = later(a, at, 0, about_order ? 9 : 1);
    int u = draw_place(&b.d);
    b.profile = u < BY_CALL             ? PROFILE_CALL
                : u < BY_CALL + BY_MAIL ? PROFILE_MAILER
                                        : PROFILE_BACK_OFFICE;
    struct record r = actor_record(&b, KIND_SUPPORT);
    r.item = about_order ? draw_below(&b.d, MESSAGES_ORDER)
                         : draw_between(&b.d, MESSAGES_ORDER, MESSAGES - 1);
    r.ref = ref;
    if (actor_put(&b, &r, NULL, 0)) truth_message(b.m, r.seq, b.person, MESSAGE[r.item].sentiment);
}

bool order_place(struct actor *a, const struct line *lines, uint32_t n, uint32_t ref) {
    struct market *m = a->m;
    struct record r = actor_record(a, KIND_ORDER);
    r.ref = ref;
    for (uint32_t i = 0; i < n; i++) {
        struct product *p = &m->world.products[lines[i].product];
        r.cents += lines[i].cents * lines[i].quantity;
        p->stock -= p->stock < lines[i].quantity ? p->stock : lines[i].quantity;
    }
    m->shoppers[a->person].cart = 0;
    if (!actor_put(a, &r, lines, n)) return false;
    m->shoppers[a->person].orders++;
    m->tally.order_cents += r.cents;
    if (draw_chance(&a->d, REFUND)) refund(a, lines, n, ref);
    if (draw_chance(&a->d, WRITES)) support_write(a, a->t, true, ref);
    if ((a->flags & RECORD_USER) && draw_chance(&a->d, REVIEW_SHARE)) review(a, lines, ref);
    return true;
}
