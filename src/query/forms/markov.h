/* A chain of journeys, and what it loses without one of its states.
 *
 * States are values; a journey begins at START, goes from value to value and ends in CONVERSION or
 * LOST. Steps are counted, and taken as probabilities of a first-order Markov chain. The removal
 * effect of a value is the part of the conversion's probability that is gone when every journey
 * that comes to the value is lost there (Anderl, Becker, von Wangenheim, Schumann: Mapping the
 * customer journey, International Journal of Research in Marketing 33, 2016). Shares are the
 * removal effects, made to add up to 1.
 *
 * With G = (I - Q)^-1, Q being the steps between values, a journey comes to v with probability
 * h = (start G)_v / G_vv, and converts from there with x_v = (G r)_v; so removing v takes h x_v
 * away, and one inversion serves all values. Steps from a value to itself change nothing and are
 * not counted.
 *
 * Layers: base. Threads: one owner. Limits: MARKOV_MAX_VALUES values that a journey has.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { MARKOV_MAX_VALUES = 500, MARKOV_START = 0, MARKOV_CONVERSION = 0, MARKOV_LOST = 1 };

struct markov {
    uint32_t n;      /* values, seen or not                                  */
    uint64_t *start; /* [n] journeys that begin with it                      */
    uint64_t *won;   /* [n] journeys that end with it in a conversion        */
    uint64_t *lost;  /* [n] and in none                                      */
    uint64_t *steps; /* [n × n] from, to; only if n <= MARKOV_MAX_VALUES     */
    double *shares;  /* [n] after markov_solve; all 0 if nothing converts    */
};

/* KEEL_E_LIMIT for too many values. */
int markov_init(struct markov *m, uint32_t n, struct keel_error *err) K_CHECKED;
void markov_release(struct markov *m); /* a zeroed one is fine */
int markov_solve(struct markov *m, struct keel_error *err) K_CHECKED;
