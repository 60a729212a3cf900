/* The query tree: what a question means, free of text, of names' existence and of the clock.
 *
 * One tree has three equal writings: the canonical text (query_print.h), the JSON form
 * (query_json.h) and this struct; parse(print(q)) == q for both. docs/query-language.md defines
 * every form and the columns of its answer; the comments here say the same in short.
 *
 * Meanings that hold everywhere:
 *   Order      Events of one customer are ordered by (time, ingest sequence). "At or after"
 * compares times only: two different events at the same millisecond follow each other both ways.
 *              First and last take the full order, so that they are unique.
 *   Truth      Two-valued. A comparison with a missing property, trait or aggregate is false,
 *              != and not in included; `not` negates that result.
 *   Types      String, number, boolean and time never equal each other: = is false, != is true
 *              (the value is there and is another), the orders are false. Strings compare by bytes.
 *   Ranges     Half-open [from, to). Days, weeks (from Monday), months, quarters and years are
 * those of the company's time zone. Nothing at or after the moment of asking is seen. Customers
 * What identity resolution says at the moment of asking.
 *
 * Everything lives in the arena that was given to the parser and is immutable afterwards. A list is
 * a pointer and a count. `at` says where in the text a thing stood (length 0: came from JSON), so
 * that later errors can point at the word too (query_error_at in parse.h).
 *
 * Layers: base. Threads: immutable after parsing. Limits: the enum below.
 */
#pragma once

#include "base/str.h"

enum {
    QUERY_MAX_TEXT = 64 << 10, /* bytes of a query and of its canonical form          */
    QUERY_MAX_DEPTH = 60,      /* levels of conditions and filters; as JSON each takes two   */
    QUERY_MAX_VALUES = 10000,  /* values of one `in` list                             */
    QUERY_MAX_EVENTS = 32,     /* steps of a funnel, touches, alphabet of paths       */
    QUERY_MAX_TERMS = 32,      /* columns of a list, measures of a trend              */
    QUERY_MAX_SPLITS = 4,
    QUERY_MAX_PATH = 10, /* events of one path                                  */
    QUERY_MAX_PERCENTILES = 10,
    QUERY_MAX_THRESHOLDS = 9,   /* of recency, frequency, value: up to 10 classes each */
    QUERY_MAX_PERIODS = 1000,   /* `over N days`                                       */
    QUERY_MAX_NAME = 500,       /* bytes of an event, property or segment name         */
    QUERY_MAX_PATTERN = 1000,   /* bytes of a regular expression                       */
    QUERY_MAX_AMOUNT = 1000000, /* number in a duration or relative range              */
    QUERY_MAX_LIMIT = 1000000000,
    QUERY_DEFAULT_LIMIT = 10000, /* rows of LIST, PATHS, ATTRIBUTE, COMPARE that say none */
    QUERY_DEFAULT_SUPPORT = 10,  /* customers of a row of COMPARE                      */
};

struct query_pos {
    uint32_t offset, length; /* bytes of the query text */
};

/* ---- time ---- */

enum query_unit {
    QUERY_SECOND,
    QUERY_MINUTE,
    QUERY_HOUR,
    QUERY_DAY,
    QUERY_WEEK,
    QUERY_MONTH,
    QUERY_QUARTER,
    QUERY_YEAR,
    QUERY_UNITS
};

/* A distance between two events: exact, a day is 24 hours. Unit second … week only; n >= 1.
 * n == 0 stands for "none given". */
struct query_duration {
    uint32_t n;
    enum query_unit unit;
};

enum query_time_kind {
    QUERY_TIME_YEAR,  /* 2011: only in QUERY_RANGE_IN                                     */
    QUERY_TIME_MONTH, /* 2011-09: only in QUERY_RANGE_IN                                  */
    QUERY_TIME_DAY,   /* 2011-09-10: as a moment, the first one of that day in the zone   */
    QUERY_TIME_LOCAL, /* 2011-09-10T12:50:00: wall time in the company's zone             */
    QUERY_TIME_ZONED, /* …Z or …+01:00                                                    */
};

/* A time as it was written; unused fields are 0 (month and day: 1). Always a valid date. */
struct query_time {
    enum query_time_kind kind;
    int16_t year; /* 1 … 9999 */
    uint8_t month, day, hour, minute, second;
    int16_t ms;             /* 0 … 999 */
    int16_t offset_minutes; /* QUERY_TIME_ZONED: east of UTC */
};

enum query_range_kind {
    QUERY_RANGE_ALL,  /* no range written                                                      */
    QUERY_RANGE_SPAN, /* since from; before to; from … to …: [from, to), one side may be open  */
    QUERY_RANGE_LAST, /* during last n units: [asked - n units, asked)                         */
    QUERY_RANGE_IN,   /* on 2011-09-10, in 2011-09, in 2011: the whole day, month, year (`from`) */
};

/* LAST: second, minute, hour are exact; day, week, month, quarter, year go back on the calendar to
 * the same wall time (a day that a month lacks becomes its last). */
struct query_range {
    enum query_range_kind kind;
    bool has_from, has_to;      /* SPAN                 */
    struct query_time from, to; /* SPAN; IN uses `from` */
    uint32_t n;                 /* LAST                 */
    enum query_unit unit;       /* LAST: minute … year  */
};

/* ---- properties and values ---- */

enum query_scope {
    QUERY_SCOPE_AUTO, /* price: the property; if the store knows none by that name, the context */
    QUERY_SCOPE_PROPERTY, /* properties.price */
    QUERY_SCOPE_CONTEXT,  /* context.campaign.name  */
    QUERY_SCOPE_TRAIT, /* trait country: the customer's trait at the moment of asking            */
    QUERY_SCOPE_EVENT, /* `time` and `event` written bare: the event's time; its label           */
};

/* A path is one string, its segments joined by dots, as the store flattens nested objects; the
 * scope's own prefix ("properties.", "context.") is not part of it. An AUTO path never begins with
 * such a prefix and is neither "time" nor "event".
 * If the longest prefix of the path (up to a dot) that the store knows as a list of items exists,
 * the rest names the items' field: products.sku. Then the reference yields one value an item.
 * The label of an event: a track event's name; `page` or `page "Home"`; `identify`; … */
struct query_prop {
    enum query_scope scope;
    struct str path;
    struct query_pos at;
};

enum query_value_type {
    QUERY_VALUE_STRING,
    QUERY_VALUE_NUMBER,
    QUERY_VALUE_BOOL,
    QUERY_VALUE_TIME
};

/* TIME compares with the event's time, and with strings that are ISO 8601 times; DAY stands for its
 * first moment. Strings are UTF-8 without U+0000; numbers finite, never -0. */
struct query_value {
    enum query_value_type type;
    struct str string;
    double number;
    bool boolean;
    struct query_time time;
    struct query_pos at;
};

enum query_op {
    QUERY_EQ,
    QUERY_NE,
    QUERY_LT,
    QUERY_LE,
    QUERY_GT,
    QUERY_GE,
    QUERY_IN,       /* equals one of 1 … QUERY_MAX_VALUES values             */
    QUERY_NOT_IN,   /* is there and equals none                              */
    QUERY_BETWEEN,  /* values[0] <= x <= values[1], both included            */
    QUERY_CONTAINS, /* this and the next three: strings only, case-sensitive */
    QUERY_STARTS,
    QUERY_ENDS,
    QUERY_MATCHES, /* Perl-compatible regular expression, found anywhere     */
    QUERY_EXISTS,  /* no value                                               */
    QUERY_MISSING, /* no value; the negation of EXISTS                       */
    QUERY_OPS
};

/* The right side of a comparison: 0, 1, 2 (BETWEEN) or many (IN, NOT_IN) values. */
struct query_test {
    enum query_op op;
    struct query_value *values;
    uint32_t n_values;
};

/* ---- a filter: boolean tree over the properties of one event ---- */

enum query_filter_kind { QUERY_FILTER_AND, QUERY_FILTER_OR, QUERY_FILTER_NOT, QUERY_FILTER_TEST };

/* For properties of list items; for others it changes nothing. AUTO means ANY. No items: both
 * false. */
enum query_over {
    QUERY_OVER_AUTO, /* nothing written: some item passes the test              */
    QUERY_OVER_ANY,  /* `any products.sku = …`: the same, said aloud            */
    QUERY_OVER_ALL,  /* `all …`: there are items, and every one passes the test */
};

/* AND, OR: n >= 2 items, none of them of the same kind (nesting is flattened); NOT: n == 1.
 * `is missing` on items: AUTO and ANY when no item has the field, or there are none; ALL when there
 * are items and none has it. */
struct query_filter {
    enum query_filter_kind kind;
    struct query_filter **items;
    uint32_t n_items;
    enum query_over over;   /* TEST */
    struct query_prop prop; /* TEST: never QUERY_SCOPE_TRAIT */
    struct query_test test; /* TEST */
    uint32_t depth;         /* 1 for a TEST */
};

/* ---- which events ---- */

enum query_event_kind {
    QUERY_EVENT_TRACK, /* "Order Completed": track events of exactly that name  */
    QUERY_EVENT_PAGE,  /* page; page "Home"                                     */
    QUERY_EVENT_SCREEN,
    QUERY_EVENT_IDENTIFY,
    QUERY_EVENT_GROUP,
    QUERY_EVENT_ALIAS,
    QUERY_EVENT_ANY, /* any event: all types                                    */
    QUERY_EVENT_KINDS
};

struct query_event {
    enum query_event_kind kind;
    struct str name;             /* TRACK: required; PAGE, SCREEN: if has_name   */
    bool has_name;               /* TRACK: always true                           */
    struct query_filter *filter; /* NULL: every such event                       */
    struct query_pos at;         /* of the name or word, without the filter      */
};

/* ---- numbers ---- */

enum query_agg {
    QUERY_COUNT_OF, /* number of events; with a property: of values that are there          */
    QUERY_SUM,      /* of numbers; 0 if there are none                                      */
    QUERY_AVG,      /* this and the next: missing if there are no numbers                   */
    QUERY_MIN,
    QUERY_MAX,
    QUERY_FIRST, /* the property's value (any type) at the first event, in order, that has it */
    QUERY_LAST,
    QUERY_UNIQUE,    /* number of distinct values that are there                             */
    QUERY_CUSTOMERS, /* unique customers who did the event; only in a trend                  */
    QUERY_AGGS
};

/* An aggregate over events: of one customer in conditions, `with`, `order by` and `by`; of all
 * customers in a trend. Values of list items count one by one. min, max and avg take numbers, min
 * and max also QUERY_SCOPE_EVENT time.
 * A trend's measures have range.kind == ALL: the query's range holds for them. */
struct query_measure {
    enum query_agg agg;
    struct query_event event;
    bool has_prop; /* SUM … UNIQUE: true; COUNT_OF: may be; CUSTOMERS: false */
    struct query_prop prop;
    struct query_range range;
    struct query_pos at;
};

/* ---- a condition: boolean tree over customers ---- */

enum query_cond_kind {
    QUERY_COND_AND,
    QUERY_COND_OR,
    QUERY_COND_NOT,
    QUERY_COND_DID,        /* did E [N times] [range]                                 */
    QUERY_COND_FOLLOWED,   /* did A [not] followed by B [within D] [range]            */
    QUERY_COND_MEASURE,    /* sum("E".revenue) > 1000 [range]                         */
    QUERY_COND_TRAIT,      /* trait country in ("Germany", "France")                  */
    QUERY_COND_IDENTIFIED, /* has a user_id                                           */
    QUERY_COND_ANONYMOUS,  /* has none                                                */
    QUERY_COND_SEGMENT,    /* in segment "VIP": member of a saved segment             */
    QUERY_COND_FUNNEL,     /* reached | stopped at step K of ("A", "B" within D)      */
};

#define QUERY_NO_MAX UINT32_MAX

/* Steps in time order, or with any_order in whatever order (below). A customer reaches step k when
 * different events e1 … ek exist that match steps 1 … k, with time(e1) <= … <= time(ek) <= time(e1)
 * + within, all in the range; his level is the largest such k. without: no event of that kind has a
 * time strictly between those of e1 and ek. same: these properties are there and equal on e1 … ek.
 * His chain (for step times and for the split by a property of step 1) is the one of his level that
 * ends first; among these the one with the latest e1, then the latest e2, and so on.
 * any_order: he reaches step k when there are different events that match k different steps, the
 * last of them at most `within` after the first; e1 … ek are these in order. */
struct query_funnel {
    bool any_order;
    struct query_event *steps; /* 2 … QUERY_MAX_EVENTS; a condition's: 1 … */
    uint32_t n_steps;
    struct query_event *without;
    uint32_t n_without;
    struct query_prop *same;
    uint32_t n_same;
    struct query_duration within; /* n == 0: no limit */
};

struct query_cond {
    enum query_cond_kind kind;
    struct query_cond **items; /* AND, OR: n >= 2, flattened as in filters; NOT: 1 */
    uint32_t n_items;
    struct query_event event; /* DID: E; FOLLOWED: A                              */
    uint32_t min, max; /* DID: min <= number of E in range <= max; plain `did` is 1, NO_MAX */
    /* FOLLOWED: some A and a different event B at or after it (and not later than A + within).
     * With negated: there is an A, and no such B for the last A. Both A and B in the range. */
    struct query_event then;
    bool negated;
    struct query_duration within;
    struct query_range range;     /* DID, FOLLOWED, FUNNEL                          */
    struct query_measure measure; /* MEASURE: carries its own range                 */
    struct query_prop trait;      /* TRAIT                                          */
    struct query_test test;       /* MEASURE, TRAIT                                 */
    struct str segment;           /* SEGMENT                                        */
    struct query_funnel *funnel;  /* FUNNEL                                         */
    uint32_t step;                /* FUNNEL: 1 … n_steps                            */
    bool stopped;                 /* FUNNEL: level == step; else level >= step      */
    uint32_t depth;               /* 1 for a leaf, plus the depth of its filters    */
    struct query_pos at;
};

/* How saved segments are found for whoever evaluates a tree: KEEL_E_NOT_FOUND if there is none by
 * that name. */
typedef int (*segment_lookup)(void *ctx, struct str name, const struct query_cond **out,
                              struct keel_error *err);

/* ---- a column or a split ---- */

enum query_term_kind {
    QUERY_TERM_PROP,    /* a property of the event (of step 1, of the touch, …: see the form) */
    QUERY_TERM_TRAIT,   /* the customer's trait                                               */
    QUERY_TERM_MEASURE, /* a number or value of the customer: count("E"), first("E".channel)  */
    QUERY_TERM_SEGMENT, /* whether the customer is a member of a saved segment when asked        */
};

struct query_term {
    enum query_term_kind kind;
    struct query_prop prop;       /* PROP, TRAIT (scope TRAIT)   */
    struct query_measure measure; /* MEASURE                     */
    struct str segment;           /* SEGMENT                     */
    bool descending;              /* in `order by` only          */
    struct query_pos at;
};

/* ---- the forms ---- */

enum query_form {
    QUERY_COUNT,     /* count customers where C by …                                     */
    QUERY_LIST,      /* list customers where C with … order by … limit N                 */
    QUERY_FUNNEL,    /* funnel A, B, C within D … by …                                   */
    QUERY_RETENTION, /* retention from first A to B by month over N months               */
    QUERY_REPEAT,    /* repeat of E by month from … to …                                 */
    QUERY_TREND,     /* trend of M, M over N days by day split by …; total of M, M       */
    QUERY_TIME,      /* time from first A to B within D percentiles 50, 90 by …          */
    QUERY_PATHS,     /* paths of N events of A, B within D starting at A ending at B     */
    QUERY_ATTRIBUTE, /* attribute M to last T, T by campaign within D                    */
    QUERY_SESSIONS,  /* sessions with gap D by day split by …                            */
    QUERY_RFM,       /* rfm of E by revenue recency … frequency … value …                */
    QUERY_TOP,       /* top N E.prop where F by events | customers | sum(prop)           */
    QUERY_LIFECYCLE, /* lifecycle of E, E by month split by …                            */
    QUERY_COMPARE,   /* compare customers where C with others                            */
    QUERY_FORMS
};

/* RETENTION, TIME: which A of a customer counts. */
enum query_start {
    QUERY_START_FIRST, /* his first in the range */
    QUERY_START_EACH,  /* every one in the range */
};

/* What share each touch of a conversion's journey gets; docs/query-language.md has the definitions.
 */
enum query_model {
    QUERY_MODEL_LAST,     /* all to the last touch                                        */
    QUERY_MODEL_FIRST,    /* all to the first                                             */
    QUERY_MODEL_LINEAR,   /* equal shares                                                 */
    QUERY_MODEL_DECAY,    /* half as much for each half-life that it lies before the last */
    QUERY_MODEL_POSITION, /* 40 % to the first, 40 % to the last, 20 % to those between   */
    QUERY_MODEL_SHAPLEY,  /* equal shares to the different values among the touches       */
    QUERY_MODEL_MARKOV,   /* by what a chain of all journeys loses without the value      */
    QUERY_MODELS,
};

enum query_rank { QUERY_RANK_EVENTS, QUERY_RANK_CUSTOMERS, QUERY_RANK_SUM };

struct query {
    enum query_form form;

    /* COUNT, LIST: the customers asked for. Others: `among customers where …`. NULL: all. */
    struct query_cond *where;

    /* Which events count; COUNT, LIST have ALL (their conditions carry ranges), REPEAT has another.
     */
    struct query_range range;

    /* `by` a period: RETENTION, REPEAT, LIFECYCLE and a trend need one, SESSIONS may have one. A
     * trend without is written `total of`. */
    bool has_period;
    enum query_unit period; /* hour … year; RETENTION, REPEAT, LIFECYCLE: day … year */

    /* One row each per combination of values (a missing value is null, a group like any other).
     *   COUNT                    TRAIT, MEASURE, SEGMENT
     *   FUNNEL, TIME             PROP of e1 of the chain (TIME: of A), TRAIT, SEGMENT
     *   TREND                    PROP of the counted event, TRAIT, SEGMENT
     *   SESSIONS                 PROP of the session's first event, TRAIT, SEGMENT
     *   RETENTION, REPEAT, LIFECYCLE  TRAIT, SEGMENT
     *   ATTRIBUTE                exactly one PROP: of the touch
     * Others have none. */
    struct query_term *splits;
    uint32_t n_splits;

    uint32_t limit; /* rows; 0: not said. LIST, PATHS, ATTRIBUTE, COMPARE; TOP always has one */

    union {
        struct { /* LIST: further columns; order before the customer number */
            struct query_term *columns, *order;
            uint32_t n_columns, n_order;
        } list;

        struct query_funnel funnel; /* FUNNEL */

        struct { /* RETENTION: cohort = period of A (EACH: every period with an A). Period k counts
                  * the cohort's customers with a B anywhere in the k-th period after it, 0 included
                  */
            enum query_start start;
            struct query_event from, to;
            uint32_t periods; /* k = 0 … periods; 0: as many as there are */
        } retention;

        struct { /* REPEAT: first period = the one in which the range begins */
            struct query_event event;
        } repeat;

        struct { /* TREND: CUSTOMERS, COUNT_OF, SUM, AVG, MIN, MAX, UNIQUE */
            struct query_measure *measures;
            uint32_t n_measures;
            uint32_t
                over; /* each row looks at the last `over` periods, its own included; 1: plain */
        } trend;

        struct { /* TIME: from A to the first different B at or after it, within */
            enum query_start start;
            struct query_event from, to;
            struct query_duration within; /* n == 0: no limit                       */
            double *percentiles;          /* 0 < p < 100, ascending; default 50, 90 */
            uint32_t n_percentiles;
        } time;

        struct { /* PATHS: every run of `length` consecutive events, each gap <= within */
            uint32_t length; /* 2 … QUERY_MAX_PATH                                   */
            struct query_event *alphabet; /* only these events are there at all; none: all events */
            uint32_t n_alphabet;
            struct query_duration within; /* n == 0: no limit */
            bool has_start, has_end;
            struct query_event start, end; /* first and last event of the run */
        } paths;

        struct { /* ATTRIBUTE: SUM or COUNT_OF over conversions in the range; touches may be older
                  */
            struct query_measure measure;
            enum query_model model;
            struct query_event *touches;
            uint32_t n_touches;
            struct query_duration within;    /* touch at most this long before; n == 0: no limit */
            struct query_duration half_life; /* DECAY; others: n == 0                         */
        } attribute;

        struct { /* SESSIONS: maximal runs of a customer's events with each gap <= gap */
            struct query_duration gap;
            /* An event with a value of `change` also begins one, unless the latest event of the
             * session that has one has the same. */
            bool has_change;
            struct query_prop change;
            struct query_event *alphabet; /* as in PATHS */
            uint32_t n_alphabet;
        } sessions;

        struct { /* LIFECYCLE: per period, how many did one of the events for the first time, again,
                  * after a pause, no longer; what lies before the range counts as history */
            struct query_event *events;
            uint32_t n_events;
        } lifecycle;

        struct { /* COMPARE: which traits, and which events in the range, tell A from B */
            struct query_cond *a, *b; /* NULL: all customers */
            bool others;              /* B is everybody who is not in A; b is NULL */
            uint32_t support;         /* fewest customers of a row, of both sides together */
        } compare;

        struct { /* RFM: n thresholds make classes 1 … n + 1, the last the best.
                  * Class of recency: 1 + number of thresholds D with last time >= end - D;
                  * of frequency and value: 1 + number of thresholds <= count, <= sum(prop).
                  * end: the end of the range, or the moment of asking. */
            struct query_event event;
            struct query_prop prop;
            struct query_duration *recency; /* ascending */
            double *frequency, *value;      /* ascending */
            uint32_t n_recency, n_frequency, n_value;
        } rfm;

        struct { /* TOP: values of event.prop by number of events, of customers, or by a sum */
            struct query_event event;
            struct query_prop prop; /* `top N events`: any event, scope EVENT "event" */
            enum query_rank rank;
            struct query_prop
                rank_prop; /* SUM: of the same event; of the same item if in its list */
        } top;
    };

    struct str text; /* canonical text; "" until query_seal */
    uint64_t hash;   /* hash64 of it                        */
};

/* How many rows the answer may have, of a form that takes a limit. */
static inline uint32_t query_limit(const struct query *q) {
    return q->limit ? q->limit : QUERY_DEFAULT_LIMIT;
}
