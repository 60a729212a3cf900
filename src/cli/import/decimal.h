/* Exact decimal numbers, for sums of money.
 *
 * 0.1 + 0.2 is 0.3 here: a number is an integer of 128 bits and a count of decimals. Sums and
 * products that no longer fit, and texts of more than 18 digits or with an exponent, go on as
 * double; `exact` tells. Only the last step, decimal_to_f64, rounds, and it rounds once.
 *
 * Layers: base. Threads: pure.
 */
#pragma once

#include "base/str.h"

enum { DECIMAL_MAX_SCALE = 36, DECIMAL_PARSE_DIGITS = 18 };

struct decimal {
    __int128 digits; /* value = digits / 10^scale, if exact */
    double inexact;  /* value, if not                       */
    uint8_t scale;
    bool exact;
};

#define DECIMAL_ZERO ((struct decimal){.exact = true})

/* Whole slice must be a number ("-12.50", "1e3"); false leaves *out alone. */
bool decimal_parse(struct str text, struct decimal *out);
struct decimal decimal_add(struct decimal a, struct decimal b);
struct decimal decimal_mul(struct decimal a, struct decimal b);
struct decimal decimal_negate(struct decimal a);
int decimal_cmp(struct decimal a, struct decimal b); /* <0, 0, >0 */
double decimal_to_f64(struct decimal a);
