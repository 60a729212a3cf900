/* The ground truth beside the events, one JSON object a line.
 *
 *   {"type":"use",…}      as it happens: from … to a person used a shared device (a couple's
 * tablet, a kiosk) or an anonymousId once (a receipt, a kiosk that resets); the service may still
 * write about an order placed there
 *   {"type":"message",…}  as it happens: the true sentiment of a message to the service
 *   {"type":"person",…}   at the end, one for each person: ids, parameters, effects; those of mail
 *                         (visits_per_mail, orders_per_mail) hold until the person has gone
 *   {"type":"bot",…}      the anonymousIds of crawlers
 *   {"type":"summary",…}  the last line: counts of lines of the events file
 *
 * Uses are lines of their own rather than part of the person so that memory does not grow with
 * them.
 *
 * Layers: sim.h, names.h, time.h. Threads: none.
 */
#include "base/time.h"
#include "cli/simulate/names.h"
#include "cli/simulate/sim.h"

static void add_time(const struct market *m, const char *name, uint32_t second) {
    char text[TIME_TEXT_MAX];
    int32_t day = m->config.start_day + (int32_t)(second / DAY_SECONDS);
    size_t n = day_format(day, text);
    uint32_t in_day = second % DAY_SECONDS;
    output_printf(m->truth, ",\"%s\":\"%.*sT%02u:%02u:%02uZ\"", name, (int)n, text, in_day / 3600,
                  in_day / 60 % 60, in_day % 60);
}

static void add_anonymous(const struct market *m, uint32_t owner, uint32_t device) {
    char id[UUID_TEXT];
    anonymous_id(m->config.seed, owner, device, id);
    output_printf(m->truth, "\"%.*s\"", UUID_TEXT, id);
}

static void add_fraction(struct output *o, const char *name, uint64_t v, uint64_t of) {
    uint64_t millionths = (uint64_t)((unsigned __int128)v * 1000000 / of);
    output_printf(o, ",\"%s\":%llu.%06llu", name, (unsigned long long)(millionths / 1000000),
                  (unsigned long long)(millionths % 1000000));
}

void truth_use(struct market *m, const struct actor *a, uint32_t from, uint32_t to) {
    if (!m->truth || from >= m->end) return;
    uint32_t class = a->device >> DEVICE_CLASS_SHIFT;
    output_printf(m->truth,
                  "{\"type\":\"use\",\"person\":%u,\"place\":\"%s\",\"anonymousId\":", a->person,
                  class == DEVICE_PERSON       ? "shared device"
                  : a->profile == PROFILE_TILL ? "receipt"
                  : class == DEVICE_KIOSK      ? "kiosk"
                                               : "kiosk session");
    add_anonymous(m, a->owner, a->device);
    add_time(m, "from", from);
    add_time(m, "to", to);
    output_text(m->truth, "}\n");
}

void truth_message(struct market *m, uint32_t seq, uint32_t person, int sentiment) {
    if (!m->truth) return;
    char id[UUID_TEXT];
    message_id(m->config.seed, seq, id);
    output_printf(m->truth,
                  "{\"type\":\"message\",\"messageId\":\"%.*s\",\"person\":%u,\"sentiment\":%d}\n",
                  UUID_TEXT, id, person, sentiment);
}

static void add_user_ids(const struct market *m, uint32_t person) {
    const struct shopper *s = &m->shoppers[person];
    output_text(m->truth, ",\"userIds\":[");
    for (uint32_t second = 0; second < 2; second++)
        if (s->user_seen >> second & 1)
            output_printf(m->truth, "%s\"u%u\"", second && (s->user_seen & 1) ? "," : "",
                          shopper_user(person, second));
    output_text(m->truth, "]");
}

static void add_anonymous_ids(const struct market *m, uint32_t person) {
    const struct shopper *s = &m->shoppers[person];
    bool comma = false;
    output_text(m->truth, ",\"anonymousIds\":[");
    for (uint32_t slot = 0; slot < DEVICES; slot++) {
        if (slot == 1 && (s->flags & SHOPPER_SHARES) && (person & 1)) continue; /* the partner's */
        uint32_t n = s->generation[slot] + (s->seen >> slot & 1u);
        for (uint32_t g = 0; g < n; g++) {
            if (comma) output_char(m->truth, ',');
            comma = true;
            add_anonymous(m, person, (uint32_t)DEVICE_PERSON << DEVICE_CLASS_SHIFT | slot << 8 | g);
        }
    }
    output_text(m->truth, "]");
    if (s->flags & SHOPPER_SHARES)
        output_printf(m->truth, ",\"shares_device_with\":%u", person ^ 1);
}

/* gap: mean seconds between visits of a kind, at rate factor 1 */
static void add_rate(const struct market *m, const char *name, uint32_t gap) {
    add_fraction(m->truth, name, (uint64_t)YEAR_DAYS * DAY_SECONDS * m->rate_q16 >> 16, gap);
}

static void person_line(const struct market *m, uint32_t i) {
    const struct shopper *s = &m->shoppers[i];
    struct output *o = m->truth;
    output_printf(o, "{\"type\":\"person\",\"person\":%u", i);
    add_user_ids(m, i);
    add_anonymous_ids(m, i);
    output_printf(o, ",\"country\":\"%s\",\"age_band\":\"%s\"", COUNTRY[s->country].name,
                  AGE_BAND[s->age]);
    add_time(m, "joined", s->joined);
    if (s->gone < m->end)
        add_time(m, "gone", s->gone);
    else
        output_text(o, ",\"gone\":null");
    add_rate(m, "orders_per_year", s->order_gap);
    add_rate(m, "browses_per_year", s->browse_gap);
    output_printf(o, ",\"orders\":%u", s->orders);
    add_fraction(o, "price_sensitivity", s->sensitivity, 255);
    output_printf(o,
                  ",\"mail\":{\"holdout\":%s,\"delivered\":%u,\"delivered_before_gone\":%u,"
                  "\"extra_visits\":%u,\"extra_orders\":%u",
                  s->flags & SHOPPER_HOLDOUT ? "true" : "false", s->mails, s->mails_there,
                  s->mail_visits, s->mail_orders);
    uint64_t visits = (uint64_t)s->opens * s->reacts; /* of 65536 */
    add_fraction(o, "visits_per_mail", visits, 65536);
    add_fraction(o, "orders_per_mail", visits * MAIL_BUY, (uint64_t)65536 << 30);
    output_text(o, "}}\n");
}

void truth_people(struct market *m) {
    if (!m->truth) return;
    for (uint32_t i = 0; i < m->config.customers && !output_failed(m->truth); i++)
        person_line(m, i);
    for (uint32_t i = 0; i < m->n_bots; i++) {
        output_printf(m->truth, "{\"type\":\"bot\",\"bot\":%u,\"anonymousIds\":[", i);
        for (uint32_t g = 0; g < m->bot_generation[i]; g++) {
            if (g) output_char(m->truth, ',');
            add_anonymous(m, i, (uint32_t)DEVICE_BOT << DEVICE_CLASS_SHIFT | g);
        }
        output_text(m->truth, "]}\n");
    }
}

static void add_count(struct output *o, const char *name, uint64_t v) {
    output_printf(o, ",\"%s\":%llu", name, (unsigned long long)v);
}

/* anonymousIds belong to the first user who logs in on them; so perfect stitching leaves one
 * customer for each userId and for each anonymousId that no login ties to one. */
void truth_summary(struct market *m) {
    if (!m->truth) return;
    static const char *const NAME[KINDS] = {
#define K(name, text) [KIND_##name] = text,
        EVENT_KINDS(K)
#undef K
    };
    const struct tally *t = &m->tally;
    struct output *o = m->truth;
    output_printf(o, "{\"type\":\"summary\",\"seed\":%llu", (unsigned long long)m->config.seed);
    add_count(o, "lines", t->events);
    add_count(o, "events", t->events - t->duplicates);
    add_count(o, "duplicates", t->duplicates);
    add_count(o, "late", t->late);
    add_count(o, "skewed", t->skewed);
    add_count(o, "bot_events", t->bot_events);
    add_count(o, "people", m->config.customers);
    add_count(o, "bots", m->n_bots);
    add_count(o, "userIds", t->users);
    add_count(o, "anonymousIds", t->anonymous);
    add_count(o, "links", t->linked);
    add_count(o, "customers", t->users + t->anonymous - t->linked);
    add_fraction(o, "revenue", t->order_cents, 100);
    add_fraction(o, "refunded", t->refund_cents, 100);
    output_text(o, ",\"lines_by_name\":{");
    for (uint32_t k = 0; k < KINDS; k++)
        output_printf(o, "%s\"%s\":%llu", k ? "," : "", NAME[k], (unsigned long long)t->by_kind[k]);
    output_text(o, "}}\n");
}
