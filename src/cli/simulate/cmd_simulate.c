/* `keel simulate`: a believable marketplace as Segment NDJSON, and the truth about it.
 * Layers: sim.h, options.h, progress.h. Threads: main only. */
#include "base/time.h"
#include "cli/options.h"
#include "cli/simulate/sim.h"

enum { DAYS_MAX = 3650, PEOPLE_PER_EVENT_ROUGHLY = 18 };

struct args {
    int64_t customers, days, seed, start_ms, events, products, merchants;
    const char *out, *truth;
    bool clean, quiet;
};

#define AT(field) offsetof(struct args, field)

static const struct option OPTIONS[] = {
    {"customers", OPTION_INTEGER, AT(customers), "N", "people on the market", NULL, true, 1,
     500000000},
    {"days", OPTION_INTEGER, AT(days), "D", "days to simulate", NULL, true, 1, DAYS_MAX},
    {"seed", OPTION_INTEGER, AT(seed), "S", "same seed, same bytes; default 1", NULL, false, 0,
     INT64_MAX},
    {"start", OPTION_DATE, AT(start_ms), "DATE", "first day, default 2024-01-01", NULL, false, 0,
     0},
    {"events", OPTION_INTEGER, AT(events), "N",
     "scale all rates to give about N lines; default: some 17 for a person and year", NULL, false,
     1, 4000000000},
    {"products", OPTION_INTEGER, AT(products), "N", "default 20k", NULL, false, 100, 10000000},
    {"merchants", OPTION_INTEGER, AT(merchants), "N", "default 200", NULL, false, 1, 1000000},
    {"out", OPTION_TEXT, AT(out), "FILE", "events; default - (standard output)", NULL, false, 0, 0},
    {"truth", OPTION_TEXT, AT(truth), "FILE", "who is who and what is true; default: not written",
     NULL, false, 0, 0},
    {"clean", OPTION_FLAG, AT(clean), NULL,
     "no late, repeated or skewed events, no bots, no shared devices", NULL, false, 0, 0},
    {"quiet", OPTION_FLAG, AT(quiet), NULL, "no progress", NULL, false, 0, 0},
    {0},
};

static int run(int argc, char **argv, struct keel_error *err);

const struct command cmd_simulate = {
    .name = "simulate",
    .summary = "write a simulated marketplace as Segment events",
    .changes = COMMAND_READS,
    .options = OPTIONS,
    .description = "Writes the events of a marketplace as Segment NDJSON, one event a line in the\n"
                   "order of arrival, to practise on or to test with: people browse on several\n"
                   "devices, sign up, buy, send back, stay away; with bots, late, repeated and\n"
                   "skewed events, shared tablets and kiosks, unless --clean.\n"
                   "--truth tells which ids are one person, their true rates and the true effect\n"
                   "of each mail.\n",
    .examples =
        "  keel simulate --customers 5000 --days 60 --seed 7 --out events.ndjson\n"
        "  keel simulate --customers 1M --days 365 --events 20M --out e.ndjson --truth t.ndjson\n"
        "  keel simulate --customers 1k --days 30 --clean | head\n",
    .run = run,
};

/* Events and truth to their outputs; both are closed by the caller. */
static int simulate(const struct sim_config *config, uint32_t rate_q16, const struct args *args,
                    struct output *events, struct output *truth, struct keel_error *err) {
    struct market m;
    struct progress progress;
    uint64_t guess = config->events ? config->events
                                    : (uint64_t)config->customers * config->days *
                                          PEOPLE_PER_EVENT_ROUGHLY / YEAR_DAYS;
    progress_start(&progress, "simulating", "event", guess, args->quiet);
    TRY(market_init(&m, config, rate_q16, err));
    m.emitter = emitter_new(&m, events);
    m.truth = truth;
    int code = market_run(&m, &progress, err);
    if (code == 0) {
        truth_people(&m);
        truth_summary(&m);
        progress_finish(&progress, m.tally.events);
    } else {
        progress_stop(&progress);
    }
    emitter_free(m.emitter);
    market_release(&m);
    return code;
}

static int check(const struct sim_config *config, uint64_t reached, struct keel_error *err) {
    uint64_t wanted = config->events, off = reached > wanted ? reached - wanted : wanted - reached;
    if (off <= wanted / 20 + 20) return 0;
    FAIL(err, INVALID,
         "simulate: --events %llu does not fit %u customers in %u days; the nearest is "
         "about %llu",
         (unsigned long long)wanted, config->customers, config->days, (unsigned long long)reached);
}

static int run(int argc, char **argv, struct keel_error *err) {
    struct args args = {.seed = 1, .products = 20000, .merchants = 200};
    int32_t start_day = day_from_civil(2024, 1, 1);
    args.start_ms = (int64_t)start_day * MS_PER_DAY;
    TRY(options_parse(&cmd_simulate, argc, argv, &args, NULL, err));
    int64_t day = args.start_ms / MS_PER_DAY;
    if (args.start_ms % MS_PER_DAY || day < 0 || day > day_from_civil(2100, 1, 1))
        FAIL(err, INVALID, "simulate: --start is to be a day from 1970-01-01 to 2100-01-01");
    struct sim_config config = {
        .seed = (uint64_t)args.seed,
        .events = (uint64_t)args.events,
        .customers = (uint32_t)args.customers,
        .days = (uint32_t)args.days,
        .products = (uint32_t)args.products,
        .merchants = (uint32_t)args.merchants,
        .start_day = (int32_t)day,
        .clean = args.clean,
    };
    uint32_t rate = Q16;
    if (config.events) {
        uint64_t reached;
        TRY(market_find_rate(&config, &rate, &reached, err));
        TRY(check(&config, reached, err));
    }
    struct output events, truth;
    TRY(output_open(&events, args.out, err));
    int code = args.truth ? output_open(&truth, args.truth, err) : 0;
    if (code < 0) {
        output_discard(&events);
        return code;
    }
    code = simulate(&config, rate, &args, &events, args.truth ? &truth : NULL, err);
    int closed = output_close(&events, code ? NULL : err);
    if (!code) code = closed;
    if (args.truth) {
        closed = output_close(&truth, code ? NULL : err);
        if (!code) code = closed;
    }
    return code;
}
