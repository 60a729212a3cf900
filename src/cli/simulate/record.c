/* Events in memory: the fields a visit shares, the dirt of the real world, and which ids were seen.
 *
 * Dirt, all of it absent with --clean and none of it on server events; shares are chosen:
 *   skewed     3 % of the devices have a wrong clock: minutes, hours, days or years off. Their
 *              originalTimestamp and sentAt are off by the same amount.
 *   late       an app used offline sends the whole visit hours or days later (actor.arrives).
 *   duplicate  0.5 % of the events are sent again with the same messageId, mostly within minutes,
 *              as an SDK does when the reply to the first request was lost.
 * Layers: sim.h. Threads: none.
 */
#include "cli/simulate/sim.h"

enum {
    SKEWED_DEVICES = P(0.03),
    DUPLICATES = P(0.005),
    DUPLICATE_MEAN = 90,
    DUPLICATE_SLOW_MEAN = 6 * 3600,
    DUPLICATE_SLOW = P(0.1),
    DUPLICATE_MAX = 4 * DAY_SECONDS,
};

struct record actor_record(const struct actor *a, enum kind kind) {
    return (struct record){
        .at = a->t,
        .person = a->person,
        .owner = a->owner,
        .device = a->device,
        .campaign = a->campaign,
        .kind = (uint8_t)kind,
        .flags = a->flags,
        .profile = a->profile,
        .country = a->country,
    };
}

/* Seconds by which the device's clock is ahead; 0 for most. */
static int32_t clock_skew(const struct market *m, uint32_t owner, uint32_t device) {
    struct draw d = draw_stream(m->config.seed ^ 0x636c6f636bu, owner, device);
    if (!draw_chance(&d, SKEWED_DEVICES)) return 0;
    uint32_t kind = draw_below(&d, 20);
    if (kind == 0) return -(int32_t)(20 * YEAR_DAYS * (uint32_t)DAY_SECONDS); /* a reset clock */
    uint32_t mean = kind < 3 ? 3 * DAY_SECONDS : kind < 8 ? 3600 * 3 : 240;
    int32_t skew = 2 + (int32_t)(draw_span(&d, mean) % (60 * DAY_SECONDS));
    return draw_chance(&d, P(0.5)) ? skew : -skew;
}

/* Counts the ids of an accepted record that are new, and ties of an anonymousId to a user. An
 * anonymousId belongs to the first user who logs in on it, so it is tied at most once. */
static void note_ids(struct actor *a, const struct record *r) {
    struct market *m = a->m;
    bool user = r->flags & RECORD_USER, seen_before = true, linked_before = true;
    uint32_t class = r->device >> DEVICE_CLASS_SHIFT;
    if (user) {
        uint32_t who = r->flags & RECORD_PARTNER ? r->person ^ 1 : r->person;
        uint8_t bit = r->flags & RECORD_ACCOUNT2 ? 2 : 1;
        m->tally.users += !(m->shoppers[who].user_seen & bit);
        m->shoppers[who].user_seen |= bit;
    }
    if (class == DEVICE_PERSON) {
        struct shopper *s = &m->shoppers[r->owner];
        uint32_t slot = r->device >> 8 & 3;
        seen_before = s->seen >> slot & 1;
        linked_before = s->seen >> (DEVICES + slot) & 1;
        s->seen |= (uint8_t)(1 << slot | user << (DEVICES + slot));
    } else if (class == DEVICE_KIOSK) {
        struct kiosk *k = &m->kiosks[r->owner];
        seen_before = k->seen;
        linked_before = k->linked;
        k->seen = true;
        k->linked |= user;
    } else if (class != DEVICE_NONE) {
        seen_before = a->seen;
        linked_before = a->linked;
        a->seen = true;
        a->linked |= user;
    }
    m->tally.anonymous += !seen_before;
    m->tally.linked += user && !linked_before;
}

static void send_again(struct actor *a, struct record r, const struct line *lines, uint32_t n,
                       struct draw *d) {
    uint32_t delay =
        1 + draw_span(d, draw_chance(d, DUPLICATE_SLOW) ? DUPLICATE_SLOW_MEAN : DUPLICATE_MEAN);
    if (delay > DUPLICATE_MAX) delay = DUPLICATE_MAX;
    r.at += delay;
    r.shift += (int32_t)delay;
    r.flags |= RECORD_DUPLICATE;
    if (r.at < a->m->end) queue_put(a->m, &r, lines, n);
}

bool actor_put(struct actor *a, struct record *r, const struct line *lines, uint32_t n) {
    struct market *m = a->m;
    bool repeat = false;
    struct draw d = {0};
    r->seq = m->seq++;
    if (m->seq == UINT32_MAX) m->failed = -KEEL_E_LIMIT;
    if ((a->flags & RECORD_CLIENT) && !m->config.clean && !(a->flags & RECORD_BOT)) {
        r->shift = clock_skew(m, r->owner, r->device);
        d = draw_stream(m->config.seed ^ 0x64697274u, r->seq, 0);
        if (r->shift) {
            r->flags |= RECORD_SKEWED;
        } else {
            if (a->arrives > a->t) {
                r->shift = (int32_t)(a->arrives - a->t);
                r->at = a->arrives;
                r->flags |= RECORD_LATE;
            }
            repeat = draw_chance(&d, DUPLICATES);
        }
    }
    if (r->at >= m->end) return false;
    note_ids(a, r);
    queue_put(m, r, lines, n);
    if (repeat) send_again(a, *r, lines, n, &d);
    return true;
}
