/* Campaigns by e-mail, and their true effect.
 *
 * Every MAIL_EVERY days a campaign goes to a random quarter of the people who have an account,
 * agreed to mail and are not in the holdout (a tenth of all, fixed for the run). Who opens may come
 * to visit, and such a visit buys with chance MAIL_BUY: these visits and orders would not exist
 * without the mail. So the effect of one mail is opens x reacts extra visits and MAIL_BUY times
 * that in orders, by construction; the truth file states it for each person, and a test can compare
 * it with the holdout.
 *
 * Layers: sim.h, names.h. Threads: none.
 */
#include "cli/simulate/sim.h"

#include "cli/simulate/names.h"

enum {
    MAIL_EVERY = 15,
    MAIL_PHASE = 4,
    REACHED = P(0.27), /* of those who may be mailed, by each campaign; at rate factor 1 */
    REACHED_MOST = P(0.98),
    UNSUBSCRIBES = P(0.006), /* of the openings */
    SEND_HOUR = 9,
    OPEN_MEAN = 4 * 3600,
    OPEN_MAX = 20 * 3600,
};

static bool put(struct actor *a, enum kind kind) {
    struct record r = actor_record(a, kind);
    return actor_put(a, &r, NULL, 0);
}

static void react(struct actor *a, struct shopper *s) {
    a->t += 20 + draw_span(&a->d, 60);
    if (a->t < s->busy_until + 120) a->t = s->busy_until + 120;
    a->t |= 1;
    if (!put(a, KIND_MAIL_CLICK)) return;
    a->t += 3;
    actor_open(a, 0);
    s->mail_visits++;
    if (session_run(a, draw_chance(&a->d, MAIL_BUY), true)) s->mail_orders++;
    s->busy_until = a->t;
}

static void deliver(struct actor *a, struct shopper *s) {
    if (!put(a, KIND_MAIL)) return;
    s->mails++;
    if (s->gone <= a->t) return;
    s->mails_there++;
    if (draw_below(&a->d, 256) >= s->opens) return;
    uint32_t wait = 60 + draw_span(&a->d, OPEN_MEAN);
    a->t = (a->t + (wait < OPEN_MAX ? wait : OPEN_MAX)) | 1;
    if (!put(a, KIND_MAIL_OPEN)) return;
    if (draw_chance(&a->d, UNSUBSCRIBES)) {
        a->t += 30;
        s->flags &= (uint8_t)~SHOPPER_OPTED_IN;
        (void)put(a, KIND_UNSUBSCRIBE);
    } else if (draw_below(&a->d, 256) < s->reacts) {
        react(a, s);
    }
}

void mail_day(struct market *m) {
    if (m->day % MAIL_EVERY != MAIL_PHASE) return;
    int64_t reached = (int64_t)REACHED * m->rate_q16 >> 16;
    int chance = reached < REACHED_MOST ? (int)reached : REACHED_MOST;
    uint32_t wanted = SHOPPER_ACCOUNT | SHOPPER_OPTED_IN;
    uint16_t campaign = (uint16_t)(AD_CAMPAIGNS + 1 + m->day / MAIL_EVERY % MAIL_CAMPAIGNS);
    for (uint32_t i = 0; i < m->config.customers; i++) {
        struct shopper *s = &m->shoppers[i];
        if ((s->flags & (wanted | SHOPPER_HOLDOUT)) != wanted) continue;
        struct actor a = {.m = m,
                          .d = draw_stream(m->config.seed ^ 0x6d61696cu, i, m->day),
                          .person = i,
                          .country = s->country,
                          .profile = PROFILE_MAILER,
                          .campaign = campaign,
                          .flags = RECORD_USER};
        if (!draw_chance(&a.d, chance)) continue;
        uint32_t hour = (uint32_t)(SEND_HOUR + 24 - COUNTRY[s->country].hours_east) % 24;
        a.t = (m->day * DAY_SECONDS + hour * 3600 + draw_below(&a.d, 3600)) | 1;
        deliver(&a, s);
    }
}
