/* The simulator's shared types and the calls between its parts.
 *
 *   market.c   runs the days, finds the rate for --events       draw.h      random numbers
 *   world.c    merchants, products, prices, stock               names.c     words
 *   shopper.c  a person: rates, devices, lifetime, next visit   session.c   one visit, step by step
 *   visit.c    which kind of visit, store and telephone orders  mail.c      campaigns, their effect
 *   after.c    refunds, support, reviews                        bots.c      crawlers
 *   record.c   events in memory, and the dirt on them           queue.c     days ahead, sorting
 *   emit.c     Segment NDJSON: the line                         fields.c    its properties
 *   context.c  the constant parts of a line                     truth.c     what is true
 *   ids.c      messageIds and anonymousIds
 *
 * A day is simulated person by person; each event is a fixed-size record put into the bin of the
 * day it arrives; then the bin is sorted by arrival and rendered. Memory: 60 bytes a person and the
 * records of a day or two, whatever the number of events.
 *
 * Time is seconds since the first day, 00:00 UTC. Money is cents.
 * Layers: uses base, output.h. Threads: none.
 */
#pragma once

#include "base/os.h"
#include "base/output.h"
#include "cli/progress.h"
#include "cli/simulate/draw.h"

enum {
    DAY_SECONDS = 86400,
    YEAR_DAYS = 365,
    QUEUE_DAYS = 64, /* how far ahead an event may be put: refund + review + late + duplicate */
    LINES_MAX = 6,   /* line items of an order */
    DEVICES = 3,     /* devices of a person: main, other, app */
    NEVER = UINT32_MAX
};

struct sim_config {
    uint64_t seed;
    uint64_t events; /* wanted number, 0: what the rates give */
    uint32_t customers, days, products, merchants;
    int32_t start_day; /* days since 1970-01-01 */
    bool clean;
};

/* ---- the event in memory ---- */

#define EVENT_KINDS(K)                                                                             \
    K(PAGE, "Page")                                                                                \
    K(SEARCH, "Products Searched")                                                                 \
    K(LIST, "Product List Viewed")                                                                 \
    K(VIEW, "Product Viewed")                                                                      \
    K(ADD, "Product Added")                                                                        \
    K(REMOVE, "Product Removed")                                                                   \
    K(CART, "Cart Viewed")                                                                         \
    K(CHECKOUT, "Checkout Started")                                                                \
    K(ORDER, "Order Completed")                                                                    \
    K(REFUND, "Order Refunded")                                                                    \
    K(REVIEW, "Product Reviewed")                                                                  \
    K(AD, "Ad Clicked")                                                                            \
    K(MAIL, "Email Delivered")                                                                     \
    K(MAIL_OPEN, "Email Opened")                                                                   \
    K(MAIL_CLICK, "Email Link Clicked")                                                            \
    K(UNSUBSCRIBE, "Unsubscribed")                                                                 \
    K(SIGNUP, "Signed Up")                                                                         \
    K(IDENTIFY, "Identify")                                                                        \
    K(SUPPORT, "Support Message Received")

enum kind {
#define K(name, text) KIND_##name,
    EVENT_KINDS(K)
#undef K
        KINDS
};

enum record_flags {
    RECORD_USER = 1 << 0,     /* carries a userId */
    RECORD_ACCOUNT2 = 1 << 1, /* the person's second account */
    RECORD_PARTNER = 1 << 2,  /* userId of the partner who logged in on the shared device */
    RECORD_DUPLICATE = 1 << 3,
    RECORD_LATE = 1 << 4,   /* shift: seconds from event to arrival */
    RECORD_SKEWED = 1 << 5, /* shift: seconds the device's clock is ahead */
    RECORD_BOT = 1 << 6,
    RECORD_CLIENT = 1 << 7, /* from a device: may be late, skewed, repeated */
};

/* What an anonymousId stands for: class in the top three bits, the rest as said. */
enum device_class {
    DEVICE_NONE,    /* server side: no anonymousId                              */
    DEVICE_PERSON,  /* generation | slot << 8; the owner is a person            */
    DEVICE_SESSION, /* running number: a kiosk that resets, a receipt at a till */
    DEVICE_KIOSK,   /* number of a kiosk that never resets                      */
    DEVICE_BOT,     /* generation; the owner is a bot                           */
};
enum { DEVICE_CLASS_SHIFT = 29 };

struct record {
    uint32_t at;     /* arrival at the server */
    uint32_t seq;    /* names the event: messageId, tie-break */
    uint32_t person; /* person or bot */
    uint32_t owner;  /* whose device: differs from person on a shared device */
    uint32_t device; /* enum device_class and detail */
    uint32_t item;   /* product, list, text; for kinds with lines: where they begin in the bin */
    uint32_t ref;    /* order, cart or ticket number */
    uint32_t cents;
    int32_t shift;
    uint16_t campaign; /* 0: none */
    uint8_t kind, flags;
    uint8_t profile, country;
    uint8_t lines; /* line items, or the quantity */
    uint8_t detail;
};
_Static_assert(sizeof(struct record) == 44, "records are counted in memory limits");

/* Cart Viewed, Checkout Started, Order Completed, Order Refunded */
static inline bool record_has_lines(const struct record *r) {
    return r->kind >= KIND_CART && r->kind <= KIND_REFUND;
}

struct line {
    uint32_t product, cents, quantity;
};

/* ---- the world ---- */

struct product {
    uint32_t base_cents, cents; /* list price; price this week */
    uint32_t stock, capacity;
    uint32_t merchant;
    uint32_t head_at, tail_at; /* rendered properties before and after the price, in world.text */
    uint16_t head_n, tail_n;
    uint16_t noun, adjective; /* of the name; also what people search for */
    uint8_t category;
};

struct world {
    struct product *products;
    uint32_t n_products, n_merchants;
    uint32_t *category_first; /* CATEGORIES + 1 */
    struct buf text;
    struct draw draw;
};

int world_init(struct world *w, const struct sim_config *config, struct keel_error *err) K_CHECKED;
void world_release(struct world *w);
/* Weekly prices and deliveries. expected_orders: a week's, to size the deliveries. */
void world_week(struct world *w, uint32_t expected_orders);
uint32_t world_pick(const struct world *w, struct draw *d, uint32_t category);

/* ---- people ---- */

enum shopper_flags {
    SHOPPER_ACCOUNT = 1 << 0,  /* has signed up */
    SHOPPER_OPTED_IN = 1 << 1, /* may be mailed */
    SHOPPER_HOLDOUT = 1 << 2,  /* never mailed, to measure the effect of mail */
    SHOPPER_STORE = 1 << 3,    /* likes to buy in the store */
    SHOPPER_SHARES = 1 << 4,   /* shares the even partner's second device */
    SHOPPER_SECOND = 1 << 5,   /* forgets the account once and opens another */
    SHOPPER_HAS_SECOND = 1 << 6,
    SHOPPER_PARTNER_IN = 1 << 7, /* on the shared device the odd partner is logged in */
};

struct shopper {
    uint32_t joined, gone;          /* first day on the market; stops for good (NEVER: stays) */
    uint32_t busy_until;            /* end of the last visit: visits do not overlap */
    uint32_t order_gap, browse_gap; /* mean seconds between visits, at rate factor 1 */
    uint32_t cart;                  /* product left in the cart + 1 */
    uint16_t orders, mails, mails_there, mail_visits, mail_orders; /* mails_there: before gone */
    uint8_t flags, country, age, taste;
    uint8_t profile[DEVICES];    /* enum profile, PROFILE_NONE: no such device */
    uint8_t generation[DEVICES]; /* a cleared cookie is a new anonymousId */
    uint8_t in;                  /* bit slot: logged in there; bit 3 + slot: with account 2 */
    uint8_t seen;                /* bit slot: this generation sent an event; bit 3 + slot: linked */
    uint8_t user_seen;           /* bit account: an event carried it */
    uint8_t sensitivity;         /* to price, 0 none .. 255 */
    uint8_t opens, reacts;       /* P(open | delivered), P(visit | open), in 1/256 */
};

enum { MAIL_BUY = P(0.18) }; /* P(order | visit that a mail caused); chosen */

/* What the truth file sums up; counted while rendering or, for ids, when a record is accepted. */
struct tally {
    uint64_t by_kind[KINDS];
    uint64_t events, duplicates, late, skewed, bot_events;
    uint64_t users, anonymous, linked; /* ids seen; anonymous ids that some login ties to a user */
    uint64_t order_cents, refund_cents;
};

struct bin {
    struct record *records;
    struct line *lines;
    size_t n, cap, n_lines, lines_cap;
};

struct kiosk {
    uint32_t busy_until;
    bool keeps_id, seen, linked;
};

struct emitter; /* emit.h */

struct market {
    struct sim_config config;
    uint32_t rate_q16; /* factor on all visits and mails */
    uint32_t end;      /* first second after the last day */
    struct world world;
    struct shopper *shoppers;
    uint32_t *next; /* next visit of each; scanned every day */
    struct kiosk *kiosks;
    uint32_t n_kiosks, n_bots;
    uint8_t *bot_generation;
    uint32_t season_q16; /* today's rate of visits, mean about 1 */
    struct bin bins[QUEUE_DAYS];
    uint64_t *order[2]; /* sorting */
    size_t order_cap;
    uint32_t day, seq, next_ref, next_device;
    struct tally tally;
    struct emitter *emitter; /* NULL: only count */
    struct output *truth;    /* NULL: none */
    int failed;              /* first error code: memory */
};

/* market.c */
int market_init(struct market *m, const struct sim_config *config, uint32_t rate_q16,
                struct keel_error *err) K_CHECKED;
int market_run(struct market *m, struct progress *progress, struct keel_error *err) K_CHECKED;
void market_release(struct market *m);
int market_find_rate(const struct sim_config *config, uint32_t *out_rate_q16, uint64_t *out_events,
                     struct keel_error *err) K_CHECKED;
enum { SEASON_MAX = 2 }; /* no day is busier than this many times the mean */

/* shopper.c */
void shopper_init(struct market *m, uint32_t person);
void shopper_plan_next(struct market *m, uint32_t person, struct draw *d, uint32_t after);
uint32_t shopper_user(uint32_t person, bool second);          /* the number in the userId */
uint32_t shopper_hour_start(struct draw *d, uint8_t country); /* second of the UTC day */

/* Who acts where: the fields that all records of a visit share. */
struct actor {
    struct market *m;
    struct draw d;
    uint32_t person, owner, device, t;
    uint32_t arrives; /* offline: when all of it is sent; else 0 */
    uint16_t campaign;
    uint8_t profile, country, flags, slot;
    bool seen, linked; /* DEVICE_SESSION, DEVICE_BOT: as struct kiosk */
};

/* record.c: fills the shared fields; adds dirt and queues. The lines are copied. False: it would
 * arrive after the end of the run and is dropped. */
struct record actor_record(const struct actor *a, enum kind kind);
bool actor_put(struct actor *a, struct record *r, const struct line *lines, uint32_t n);

/* visit.c: a visit that is due; the person's browser or app, opened */
void visit(struct market *m, uint32_t person);
void actor_open(struct actor *a, uint32_t slot);
/* session.c: returns whether an order was placed (before the end of the run) */
bool session_run(struct actor *a, bool buys, bool from_mail);
/* after.c */
bool order_place(struct actor *a, const struct line *lines, uint32_t n, uint32_t ref);
void support_write(struct actor *a, uint32_t at, bool about_order, uint32_t ref);
/* mail.c, bots.c */
void mail_day(struct market *m);
void bots_day(struct market *m);

/* queue.c */
void queue_put(struct market *m, const struct record *r, const struct line *lines, uint32_t n);
/* Sorts today's bin; order[0..n-1] holds indices in its low 32 bits. */
size_t queue_sort_today(struct market *m, struct bin **out_bin, const uint64_t **out_order);
void queue_next_day(struct market *m); /* empties today's bin */
void queue_release(struct market *m);

/* emit.c */
struct emitter *emitter_new(const struct market *m, struct output *out);
void emitter_free(struct emitter *e);
int emitter_failed(const struct emitter *e, struct keel_error *err); /* full disk and the like */
void emit(struct emitter *e, const struct record *r, const struct line *lines);

/* truth.c */
void truth_use(struct market *m, const struct actor *a, uint32_t from, uint32_t to);
void truth_message(struct market *m, uint32_t seq, uint32_t person, int sentiment);
void truth_people(struct market *m);
void truth_summary(struct market *m);

/* ids.c: the texts that name things */
enum { UUID_TEXT = 36 };
void uuid_text(uint64_t hi, uint64_t lo, char *out);
void message_id(uint64_t seed, uint32_t seq, char *out);
void anonymous_id(uint64_t seed, uint32_t owner, uint32_t device, char *out);
