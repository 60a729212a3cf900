/* The run: day by day, person by person; and the search for the rate that gives --events.
 *
 * A day: new prices on Mondays, mail, bots, then everybody whose next visit is due. The array of
 * next visits is read in whole each day (4 bytes a person); a queue by time would save that but
 * visit people in random memory order, which costs more.
 *
 * The rate is found by running a smaller market (all people, up to PILOT_PEOPLE) without rendering
 * and correcting the factor until the count fits. The pilot of a small market is the market itself,
 * so the result is as near as a factor can bring it; above, the error is that of the sample: 20 M
 * lines wanted for 1 M people gave 20,007,589.
 * Layers: sim.h. Threads: none. Limits: memory for people is refused, not aborted.
 */
#include "cli/simulate/sim.h"

#include "base/time.h"
#include "cli/simulate/names.h"

enum {
    PILOT_PEOPLE = 200000,
    PILOT_ROUNDS = 10,
    PILOT_GOOD_ENOUGH = 400, /* stop within 1/400 */
    RATE_MAX = Q16 * 4096,   /* beyond, a day holds no more visits */
    PEOPLE_PER_KIOSK = 2000,
    PEOPLE_PER_BOT = 4000,
    ORDERS_PER_100_PEOPLE_WEEK = 1, /* rough, to size deliveries */
};

/* Of 100. Months: shops live on November and December. Days: Monday first. Chosen. */
static const uint8_t MONTH[12] = {92, 88, 92, 94, 95, 93, 88, 88, 96, 102, 128, 144};
static const uint8_t WEEKDAY[7] = {98, 96, 95, 96, 100, 108, 107};
enum { BLACK_FRIDAY_FROM = 24, BLACK_FRIDAY_TO = 30, BLACK_FRIDAY = 125 };

static uint32_t season_q16(int32_t day) {
    int year, month, day_of_month;
    civil_from_day(day, &year, &month, &day_of_month);
    uint64_t factor = (uint64_t)MONTH[month - 1] * WEEKDAY[day - day_week_start(day)] * 100;
    if (month == 11 && day_of_month >= BLACK_FRIDAY_FROM && day_of_month <= BLACK_FRIDAY_TO)
        factor = factor / 100 * BLACK_FRIDAY;
    return (uint32_t)(factor * Q16 / 1000000);
}

int market_init(struct market *m, const struct sim_config *config, uint32_t rate_q16,
                struct keel_error *err) {
    *m = (struct market){.config = *config,
                         .rate_q16 = rate_q16,
                         .end = config->days * DAY_SECONDS,
                         .n_kiosks = 1 + config->customers / PEOPLE_PER_KIOSK,
                         .n_bots = config->clean ? 0 : 1 + config->customers / PEOPLE_PER_BOT,
                         .next_ref = 1};
    m->shoppers = k_try_alloc_array(config->customers, sizeof *m->shoppers);
    m->next = k_try_alloc_array(config->customers, sizeof *m->next);
    m->kiosks = k_zalloc(m->n_kiosks * sizeof *m->kiosks);
    m->bot_generation = k_zalloc(m->n_bots + 1);
    int code = m->shoppers && m->next
                   ? world_init(&m->world, config, err)
                   : error_set(err, KEEL_E_NO_MEMORY, "no memory for %u people", config->customers);
    if (code < 0) {
        market_release(m);
        return code;
    }
    for (uint32_t i = 0; i < m->n_kiosks; i++) m->kiosks[i].keeps_id = !config->clean && i % 4 == 0;
    for (uint32_t i = 0; i < config->customers; i++) shopper_init(m, i);
    return 0;
}

void market_release(struct market *m) {
    world_release(&m->world);
    queue_release(m);
    k_free(m->shoppers);
    k_free(m->next);
    k_free(m->kiosks);
    k_free(m->bot_generation);
}

static void render_today(struct market *m) {
    struct bin *bin;
    const uint64_t *order;
    size_t n = queue_sort_today(m, &bin, &order);
    struct tally *t = &m->tally;
    for (size_t i = 0; i < n; i++) {
        const struct record *r = &bin->records[(uint32_t)order[i]];
        if (m->emitter) emit(m->emitter, r, record_has_lines(r) ? bin->lines + r->item : NULL);
        t->by_kind[r->kind]++;
        t->duplicates += (r->flags & RECORD_DUPLICATE) != 0;
        t->late += (r->flags & RECORD_LATE) != 0;
        t->skewed += (r->flags & RECORD_SKEWED) != 0;
        t->bot_events += (r->flags & RECORD_BOT) != 0;
    }
    t->events += n;
}

static void run_day(struct market *m) {
    int32_t day = m->config.start_day + (int32_t)m->day;
    uint32_t tomorrow = (m->day + 1) * DAY_SECONDS;
    m->season_q16 = season_q16(day);
    if (m->day == 0 || day == day_week_start(day)) {
        uint64_t orders = (uint64_t)m->config.customers * ORDERS_PER_100_PEOPLE_WEEK / 100 + 1;
        world_week(&m->world, (uint32_t)(orders * m->rate_q16 >> 16));
    }
    mail_day(m);
    bots_day(m);
    for (uint32_t i = 0; i < m->config.customers; i++)
        while (m->next[i] < tomorrow) visit(m, i);
}

int market_run(struct market *m, struct progress *progress, struct keel_error *err) {
    for (m->day = 0; m->day < m->config.days; m->day++) {
        run_day(m);
        if (!m->failed) render_today(m);
        if (m->failed == -KEEL_E_LIMIT) FAIL(err, LIMIT, "more than 4,294,967,294 events");
        if (m->failed) FAIL(err, NO_MEMORY, "no memory for the events of a day");
        if (m->emitter) TRY(emitter_failed(m->emitter, err));
        queue_next_day(m);
        if (progress) progress_update(progress, m->tally.events);
    }
    return 0;
}

struct attempt {
    uint32_t rate; /* 0: none yet */
    uint64_t count;
};

static int count_events(const struct sim_config *config, uint32_t rate_q16, uint64_t *out,
                        struct keel_error *err) {
    struct market m;
    TRY(market_init(&m, config, rate_q16, err));
    int code = market_run(&m, NULL, err);
    *out = m.tally.events;
    market_release(&m);
    return code;
}

/* Where the count is expected to fit: by proportion, or between the nearest rates tried on both
 * sides, for counts of small markets jump about. */
static uint32_t next_rate(const struct attempt *low, const struct attempt *high, uint64_t wanted) {
    uint64_t rate;
    if (low->rate && high->rate)
        rate = low->rate + (uint64_t)(high->rate - low->rate) * (wanted - low->count) /
                               (high->count - low->count + 1);
    else if (high->rate)
        rate = (uint64_t)((unsigned __int128)high->rate * wanted / high->count);
    else
        rate = (uint64_t)((unsigned __int128)low->rate * wanted / (low->count + 1)) + 1;
    return rate < 1 ? 1 : rate > RATE_MAX ? RATE_MAX : (uint32_t)rate;
}

int market_find_rate(const struct sim_config *config, uint32_t *out_rate_q16, uint64_t *out_events,
                     struct keel_error *err) {
    struct sim_config pilot = *config;
    uint32_t all = config->customers, people = all < PILOT_PEOPLE ? all : PILOT_PEOPLE;
    K_ASSERT(people > 0);
    pilot.customers = people;
    uint64_t wanted = config->events * people / all, best_off = UINT64_MAX;
    struct attempt low = {0}, high = {0}, now = {.rate = Q16}, best = now;
    for (int round = 0; round < PILOT_ROUNDS && best_off > wanted / PILOT_GOOD_ENOUGH; round++) {
        TRY(count_events(&pilot, now.rate, &now.count, err));
        uint64_t off = now.count > wanted ? now.count - wanted : wanted - now.count;
        if (off < best_off) {
            best_off = off;
            best = now;
        }
        if (now.count < wanted)
            low = now;
        else
            high = now;
        now.rate = next_rate(&low, &high, wanted);
    }
    *out_rate_q16 = best.rate;
    *out_events = best.count * all / people;
    return 0;
}
