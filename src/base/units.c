/* Implementation of units.h. */
#include "base/units.h"

#include "base/time.h"

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit COUNTS[] = {{"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {0}};
static const struct unit SIZES[] = {
    {"", 1},        {"B", 1},         {"k", 1 << 10}, {"K", 1 << 10},   {"KiB", 1 << 10},
    {"M", 1 << 20}, {"MiB", 1 << 20}, {"G", 1 << 30}, {"GiB", 1 << 30}, {0}};
static const struct unit DURATIONS[] = {{"ms", 1},
                                        {"s", MS_PER_SECOND},
                                        {"m", MS_PER_MINUTE},
                                        {"h", MS_PER_HOUR},
                                        {"d", MS_PER_DAY},
                                        {"w", 7 * (int64_t)MS_PER_DAY},
                                        {0}};

bool units_parse(struct str text, enum units kind, int64_t *out) {
    static const struct unit *const TABLES[] = {COUNTS, SIZES, DURATIONS};
    size_t digits = 0;
    while (digits < text.n &&
           (text.p[digits] == '-' || (text.p[digits] >= '0' && text.p[digits] <= '9')))
        digits++;
    int64_t v;
    if (!str_to_i64((struct str){text.p, digits}, &v)) return false;
    struct str rest = {text.p + digits, text.n - digits};
    for (const struct unit *unit = TABLES[kind]; unit->name; unit++)
        if (str_is(rest, unit->name)) return !__builtin_mul_overflow(v, unit->factor, out);
    return false;
}
