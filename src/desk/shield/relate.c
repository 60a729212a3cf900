/* Implementation of shield.h: answers whose numbers follow from one another.
 *
 * Lifecycle. In each row active = new + retained + returned, and retained + lapsed = active of the
 * row before; active + lapsed + dormant is everybody so far, which grows by new. So a row with a
 * number of too few customers loses all of its numbers, and its group the column dormant: active of
 * the row then follows from the next one, but what it is made of does not.
 *
 * Compare. A number of too few customers goes with what was computed from it, on its side; so does
 * one that leaves too few of its side without the fact. The values of a trait add up to those who
 * have it: where what is not shown of a side is few but some, the smallest number shown goes too.
 * Values of personal traits are left out. */
#include "desk/shield/shield_int.h"

static struct datum *cell(struct result *r, uint64_t row, uint32_t column) {
    return &r->cells[row * r->n_columns + column];
}

static int64_t number(const struct datum *d) { return d->type == DATUM_INTEGER ? d->integer : 0; }
static bool is_shown(const struct datum *d) { return d->type != DATUM_NULL; }
static bool is_few(const struct datum *d, unsigned k) { return number(d) < (int64_t)k; }
static bool is_some_but_few(int64_t n, unsigned k) { return n > 0 && n < (int64_t)k; }

/* ---- lifecycle ---- */

enum { ACTIVE, NEW, RETAINED, RETURNED, LAPSED, DORMANT, LIFE_NUMBERS };

static bool same_split(struct result *r, uint64_t a, uint64_t b, uint32_t splits) {
    for (uint32_t c = 1; c <= splits; c++)
        if (!datum_eq(cell(r, a, c), cell(r, b, c))) return false;
    return true;
}

/* Rows come by period, then by split: those of a group are far apart. */
static void hide_dormant(struct result *r, uint64_t of, uint32_t splits) {
    for (uint64_t row = 0; row < r->n_rows; row++)
        if (same_split(r, of, row, splits)) *cell(r, row, 1 + splits + DORMANT) = datum_null();
}

void shield_hide_lifecycle(const struct shield_hiding *h, struct result *r, uint64_t *hidden) {
    uint32_t splits = h->query->n_splits, first = 1 + splits;
    for (uint64_t row = 0; row < r->n_rows; row++) {
        bool few = false, any = false;
        for (uint32_t i = ACTIVE; i <= LAPSED; i++)
            few |= is_some_but_few(number(cell(r, row, first + i)), h->k);
        bool few_dormant = is_some_but_few(number(cell(r, row, first + DORMANT)), h->k);
        if (few || few_dormant) hide_dormant(r, row, splits);
        for (uint32_t i = ACTIVE; i <= LAPSED; i++) {
            struct datum *d = cell(r, row, first + i);
            if (!is_shown(d) || (!few && !is_few(d, h->k))) continue;
            *d = datum_null();
            any = true;
        }
        *hidden += any || few_dormant;
    }
}

/* ---- compare ---- */

enum { KIND, NAME, VALUE, CUSTOMERS, SIZE = 5, RATE = 7, DIFFERENCE = 9, LIFT, G2, SIDES = 2 };

static void hide_side(struct result *r, uint64_t row, uint32_t side) {
    *cell(r, row, CUSTOMERS + side) = datum_null();
    *cell(r, row, RATE + side) = datum_null();
    for (uint32_t c = DIFFERENCE; c <= G2; c++) *cell(r, row, c) = datum_null();
}

static bool is_kind(struct result *r, uint64_t row, const char *kind) {
    return str_is(cell(r, row, KIND)->str, kind);
}

/* Of a trait's values on one side: what is not shown of all who have it. */
static void hide_rest_of(struct result *r, uint64_t has, uint32_t side, unsigned k) {
    int64_t rest = number(cell(r, has, CUSTOMERS + side));
    uint64_t smallest = UINT64_MAX;
    for (uint64_t row = 0; row < r->n_rows; row++) {
        const struct datum *d = cell(r, row, CUSTOMERS + side);
        if (!is_kind(r, row, "trait") || !is_shown(d) ||
            !str_eq(cell(r, row, NAME)->str, cell(r, has, NAME)->str))
            continue;
        rest -= number(d);
        if (smallest == UINT64_MAX || number(d) < number(cell(r, smallest, CUSTOMERS + side)))
            smallest = row;
    }
    if (is_some_but_few(rest, k) && smallest != UINT64_MAX) hide_side(r, smallest, side);
}

static bool is_left_out(const struct shield_hiding *h, struct result *r, uint64_t row) {
    struct query_prop trait = {.scope = QUERY_SCOPE_TRAIT, .path = cell(r, row, NAME)->str};
    if (is_kind(r, row, "trait") && shield_is_personal(h->form, &trait, NULL)) return true;
    return !is_shown(cell(r, row, CUSTOMERS)) && !is_shown(cell(r, row, CUSTOMERS + 1));
}

/* The rows that are left, as many as were asked for. */
static void keep_rows(const struct shield_hiding *h, struct result *r) {
    uint64_t kept = 0;
    for (uint64_t row = 0; row < r->n_rows; row++) {
        if (is_left_out(h, r, row)) continue;
        if (kept == query_limit(h->query)) {
            r->cut = true;
            break;
        }
        memmove(cell(r, kept++, 0), cell(r, row, 0), r->n_columns * sizeof *r->cells);
    }
    r->n_rows = kept;
}

void shield_hide_compare(const struct shield_hiding *h, struct result *r, uint64_t *hidden) {
    for (uint64_t row = 0; row < r->n_rows; row++)
        for (uint32_t side = 0; side < SIDES; side++) {
            const struct datum *n = cell(r, row, CUSTOMERS + side);
            struct datum *size = cell(r, row, SIZE + side);
            int64_t without = number(size) - number(n);
            bool few = is_few(n, h->k) || is_few(size, h->k) || is_some_but_few(without, h->k);
            if (few) hide_side(r, row, side);
            if (is_few(size, h->k)) *size = datum_null();
            *hidden += few;
        }
    for (uint64_t row = 0; row < r->n_rows; row++)
        for (uint32_t side = 0; side < SIDES && is_kind(r, row, "has trait"); side++)
            hide_rest_of(r, row, side, h->k);
    keep_rows(h, r);
}
