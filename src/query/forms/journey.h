/* Journeys: of each customer of a range, the touches from which a conversion may still come.
 *
 * A touch takes 16 bytes while it lies within the distance of the customer's latest event that was
 * looked at. What a conversion needs to know of its journey is kept beside: for each value how
 * often it is there (and its weight, if older touches weigh less), for MARKOV also how often one
 * value follows another. These change with each touch that comes or goes, so a conversion costs as
 * much as its journey has different values, however many touches it has.
 *
 * MARKOV also counts the journeys themselves as steps of a chain: those of conversions, and those
 * that were lost: longest runs of a customer's touches in the range that no conversion followed
 * within the distance, nor a later touch that one followed, with no more than the distance between.
 *
 * Layers: form_tools.h, pairs.h. Threads: one owner. Limits: JOURNEY_MAX_TOUCHES touches and as
 * many tallies of one range; JOURNEY_MAX_WALK touches where a conversion that is a touch itself has
 * to be left out of DECAY, POSITION and MARKOV.
 */
#pragma once

#include "query/forms/form_tools.h"
#include "query/forms/markov.h"
#include "query/pairs.h"

enum {
    JOURNEY_NONE = UINT32_MAX,
    JOURNEY_MAX_TOUCHES = 1 << 28,
    JOURNEY_MAX_WALK = 1 << 16,
    JOURNEY_BYTES = 64, /* of a customer, about */
};

struct journey_rule {
    enum query_model model;
    int64_t within_ms; /* INT64_MAX: no limit */
    int64_t half_life_ms;
    int64_t from_ms; /* of the range: what came before is not lost */
};

struct share { /* of a value in a conversion; all of one conversion add up to some whole */
    uint32_t group;
    double weight;
};

struct touch {
    int64_t time;
    uint32_t group, next;
};

struct tally {            /* of a customer's touches */
    uint32_t group, from; /* from JOURNEY_NONE: of a value; else of steps between two */
    uint32_t next, count;
    double weight;
};

struct journey {
    uint32_t head, tail; /* touches, oldest first; LAST keeps one */
    uint32_t tallies;
    uint32_t used; /* the last touch that a conversion followed; NONE: none of these */
    uint32_t lost; /* value of the last touch of an open lost journey, or NONE     */
    int64_t lost_ms;
    int64_t origin_ms; /* DECAY: a touch at that time weighs 1 */
};

struct journeys {
    const struct journey_rule *rule;
    struct journey *of; /* [slots] */
    struct touch *touches;
    uint32_t n_touches, cap_touches, free_touch;
    struct tally *tallies;
    uint32_t n_tallies, cap_tallies, free_tally;
    struct share *shares; /* of the conversion asked for last */
    uint32_t cap_shares;
    struct pairs steps; /* MARKOV: of the chain; see journeys_chain */
};

int journeys_open(struct journeys *j, const struct journey_rule *rule, uint32_t slots,
                  struct keel_error *err) K_CHECKED;
void journeys_close(struct journeys *j); /* a zeroed one is fine */
void journeys_begin(struct journeys *j, uint32_t slots);
/* Nothing comes any more: what is left is lost. */
int journeys_end(struct journeys *j, uint32_t slots, struct keel_error *err) K_CHECKED;

/* Lets touches go that are too old at t. */
int journey_prune(struct journeys *j, uint32_t slot, int64_t t, struct keel_error *err) K_CHECKED;
/* Times do not descend. *out: the touch, for journey_shares. */
int journey_touch(struct journeys *j, uint32_t slot, int64_t t, uint32_t group, uint32_t *out,
                  struct keel_error *err) K_CHECKED;
/* FIRST, LAST: the value of the first, or last, touch. False: there is none. */
bool journey_first(const struct journeys *j, uint32_t slot, uint32_t *out_group);
/* Others: the shares of a conversion at the time of the last prune; own: a touch that does not
 * count, or NONE. The array is good until the next call. MARKOV: enters the journey in the chain;
 * weights say nothing. */
int journey_shares(struct journeys *j, uint32_t slot, uint32_t own, const struct share **out,
                   uint32_t *out_n, struct keel_error *err) K_CHECKED;

/* Adds the chain's steps to another one: a group is its state place[map[group]]. */
void journeys_chain(const struct journeys *j, const uint32_t *map, const uint32_t *place,
                    struct markov *to);
