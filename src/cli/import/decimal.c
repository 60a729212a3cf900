/* Implementation of decimal.h. */
#include "cli/import/decimal.h"

static __int128 power_of_10(unsigned n) {
    static const uint64_t small[] = {1u,
                                     10u,
                                     100u,
                                     1000u,
                                     10000u,
                                     100000u,
                                     1000000u,
                                     10000000u,
                                     100000000u,
                                     1000000000u,
                                     10000000000u,
                                     100000000000u,
                                     1000000000000u,
                                     10000000000000u,
                                     100000000000000u,
                                     1000000000000000u,
                                     10000000000000000u,
                                     100000000000000000u,
                                     1000000000000000000u};
    return n <= 18 ? (__int128)small[n] : (__int128)small[18] * small[n - 18];
}

static struct decimal inexact(double v) { return (struct decimal){.inexact = v}; }

bool decimal_parse(struct str text, struct decimal *out) {
    const char *p = text.p, *end = text.p + text.n;
    bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    int64_t digits = 0;
    unsigned count = 0, scale = 0;
    bool point = false;
    for (; p < end; p++) {
        if (*p == '.' && !point) {
            point = true;
            continue;
        }
        unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9 || count == DECIMAL_PARSE_DIGITS) break;
        digits = digits * 10 + digit;
        count++;
        scale += point;
    }
    if (p == end && count > 0) {
        *out = (struct decimal){
            .digits = negative ? -digits : digits, .scale = (uint8_t)scale, .exact = true};
        return true;
    }
    double v;
    if (!str_to_f64(text, &v)) return false;
    *out = inexact(v);
    return true;
}

double decimal_to_f64(struct decimal a) {
    if (!a.exact) return a.inexact;
    const __int128 exact_limit = (__int128)1 << 53;
    while (a.scale > 0 && a.digits % 10 == 0) {
        a.digits /= 10;
        a.scale--;
    }
    /* Both operands are exact doubles, so the quotient is the nearest double to the true value. */
    if (a.digits < exact_limit && a.digits > -exact_limit && a.scale <= 22)
        return (double)a.digits / (double)power_of_10(a.scale);
    return (double)((long double)a.digits / (long double)power_of_10(a.scale));
}

/* Gives both the larger scale; false if one does not fit. */
static bool align(struct decimal *a, struct decimal *b) {
    if (!a->exact || !b->exact) return false;
    if (a->scale == b->scale) return true;
    struct decimal *low = a->scale < b->scale ? a : b;
    uint8_t scale = a->scale < b->scale ? b->scale : a->scale;
    __int128 factor = power_of_10((unsigned)(scale - low->scale));
    if (__builtin_mul_overflow(low->digits, factor, &low->digits)) return false;
    low->scale = scale;
    return true;
}

struct decimal decimal_add(struct decimal a, struct decimal b) {
    struct decimal x = a, y = b;
    if (align(&x, &y) && !__builtin_add_overflow(x.digits, y.digits, &x.digits)) return x;
    return inexact(decimal_to_f64(a) + decimal_to_f64(b));
}

struct decimal decimal_mul(struct decimal a, struct decimal b) {
    struct decimal product = {.exact = true};
    unsigned scale = (unsigned)a.scale + b.scale;
    product.scale = (uint8_t)scale;
    if (a.exact && b.exact && scale <= DECIMAL_MAX_SCALE &&
        !__builtin_mul_overflow(a.digits, b.digits, &product.digits))
        return product;
    return inexact(decimal_to_f64(a) * decimal_to_f64(b));
}

struct decimal decimal_negate(struct decimal a) {
    a.digits = -a.digits; /* no overflow: parse and mul keep clear of the smallest value */
    a.inexact = -a.inexact;
    return a;
}

int decimal_cmp(struct decimal a, struct decimal b) {
    struct decimal x = a, y = b;
    if (align(&x, &y)) return (x.digits > y.digits) - (x.digits < y.digits);
    double u = decimal_to_f64(a), v = decimal_to_f64(b);
    return (u > v) - (u < v);
}
