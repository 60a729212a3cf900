/* Implementation of test.h.
 *
 * Limits: PCRE2 gives up on one string after ten million steps; the query then fails rather than
 * guess. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "query/test.h"

#include <pcre2.h>
#include <stdlib.h>

static void *pattern_alloc(PCRE2_SIZE n, void *ctx) {
    (void)ctx;
    return k_try_alloc(n);
}

static void pattern_free(void *p, void *ctx) {
    (void)ctx;
    k_free(p);
}

static int pattern_compile(struct test *t, struct str text, struct keel_error *err) {
    pcre2_general_context *general =
        pcre2_general_context_create(pattern_alloc, pattern_free, NULL);
    pcre2_compile_context *ctx = general ? pcre2_compile_context_create(general) : NULL;
    int code = 0;
    PCRE2_SIZE at = 0;
    if (!ctx) {
        code = error_set(err, KEEL_E_NO_MEMORY, "too little memory for a regular expression");
        goto out;
    }
    t->pattern = pcre2_compile((PCRE2_SPTR)text.p, text.n, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                               &code, &at, ctx);
    if (!t->pattern) {
        PCRE2_UCHAR why[200];
        pcre2_get_error_message(code, why, sizeof why);
        code = error_set(err, KEEL_E_SYNTAX, "regular expression \"%.*s\": %s at character %zu",
                         STR_ARG(text), (const char *)why, (size_t)at + 1);
        goto out;
    }
    code = 0;
    (void)pcre2_jit_compile(t->pattern, PCRE2_JIT_COMPLETE); /* absent: interpreted */
out:
    pcre2_compile_context_free(ctx);
    pcre2_general_context_free(general);
    return code;
}

static int by_number(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static int by_string(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}
static int by_time(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int test_compile(struct test *t, const struct query_test *from, const struct time_zone *zone,
                 struct arena *arena, struct keel_error *err) {
    *t = (struct test){.op = from->op, .zone = zone};
    t->numbers = arena_alloc(arena, from->n_values * sizeof *t->numbers);
    t->strings = arena_alloc(arena, from->n_values * sizeof *t->strings);
    t->times = arena_alloc(arena, from->n_values * sizeof *t->times);
    for (uint32_t i = 0; i < from->n_values; i++) {
        const struct query_value *v = &from->values[i];
        switch (v->type) {
        case QUERY_VALUE_STRING: t->strings[t->n_strings++] = v->string; break;
        case QUERY_VALUE_NUMBER: t->numbers[t->n_numbers++] = v->number; break;
        case QUERY_VALUE_BOOL: *(v->boolean ? &t->has_true : &t->has_false) = true; break;
        case QUERY_VALUE_TIME: t->times[t->n_times++] = moment_ms(zone, &v->time); break;
        }
    }
    qsort(t->numbers, t->n_numbers, sizeof *t->numbers, by_number);
    qsort(t->strings, t->n_strings, sizeof *t->strings, by_string);
    qsort(t->times, t->n_times, sizeof *t->times, by_time);
    if (from->n_values > 0) {
        t->low = &from->values[0];
        t->high = &from->values[from->n_values - 1];
        if (t->low->type == QUERY_VALUE_TIME) t->low_ms = moment_ms(zone, &t->low->time);
        if (t->high->type == QUERY_VALUE_TIME) t->high_ms = moment_ms(zone, &t->high->time);
    }
    return t->op == QUERY_MATCHES ? pattern_compile(t, t->low->string, err) : 0;
}

void test_release(struct test *t) {
    pcre2_code_free(t->pattern);
    t->pattern = NULL;
}

void test_scratch_release(struct test_scratch *s) {
    pcre2_match_data_free(s->match_data);
    s->match_data = NULL;
}

/* What the orders say about sign = compare(value, written). */
static bool order_holds(enum query_op op, int sign) {
    switch (op) {
    case QUERY_LT: return sign < 0;
    case QUERY_LE: return sign <= 0;
    case QUERY_GT: return sign > 0;
    case QUERY_GE: return sign >= 0;
    default: return false;
    }
}

/* The ops that need no order: found says whether the value equals a written one. */
static bool equal_holds(enum query_op op, bool found) {
    switch (op) {
    case QUERY_EQ:
    case QUERY_IN: return found;
    case QUERY_NE:
    case QUERY_NOT_IN: return !found;
    case QUERY_EXISTS: return true;
    default: return false;
    }
}

static bool is_order(enum query_op op) { return op >= QUERY_LT && op <= QUERY_GE; }

static int number_sign(double a, double b) { return (a > b) - (a < b); }
static int time_sign(int64_t a, int64_t b) { return (a > b) - (a < b); }

bool test_number(const struct test *t, double v) {
    if (is_order(t->op))
        return t->low->type == QUERY_VALUE_NUMBER && v == v &&
               order_holds(t->op, number_sign(v, t->low->number));
    if (t->op == QUERY_BETWEEN)
        return t->low->type == QUERY_VALUE_NUMBER && t->high->type == QUERY_VALUE_NUMBER &&
               t->low->number <= v && v <= t->high->number;
    bool found = t->n_numbers == 1
                     ? t->numbers[0] == v
                     : bsearch(&v, t->numbers, t->n_numbers, sizeof v, by_number) != NULL;
    return equal_holds(t->op, found);
}

bool test_time(const struct test *t, int64_t ms) {
    if (is_order(t->op))
        return t->low->type == QUERY_VALUE_TIME && order_holds(t->op, time_sign(ms, t->low_ms));
    if (t->op == QUERY_BETWEEN)
        return t->low->type == QUERY_VALUE_TIME && t->high->type == QUERY_VALUE_TIME &&
               t->low_ms <= ms && ms <= t->high_ms;
    return equal_holds(t->op, bsearch(&ms, t->times, t->n_times, sizeof ms, by_time) != NULL);
}

bool test_bool(const struct test *t, bool v) {
    return equal_holds(t->op, v ? t->has_true : t->has_false);
}

bool test_other(const struct test *t) { return equal_holds(t->op, false); }

static bool string_matches(const struct test *t, struct str v, struct test_scratch *scratch) {
    if (!scratch->match_data) {
        pcre2_general_context *general =
            pcre2_general_context_create(pattern_alloc, pattern_free, NULL);
        scratch->match_data = general ? pcre2_match_data_create(1, general) : NULL;
        pcre2_general_context_free(general);
        if (!scratch->match_data) {
            scratch->too_hard = true;
            return false;
        }
    }
    int found = pcre2_match(t->pattern, (PCRE2_SPTR)v.p, v.n, 0, 0, scratch->match_data, NULL);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) scratch->too_hard = true;
    return found >= 0;
}

/* Orders, equality and `between` where a written time meets a string. */
static bool string_as_time(const struct test *t, struct str v, bool *out_is_time, int64_t *out_ms) {
    if (t->n_times == 0) return false;
    *out_is_time = time_parse(v, t->zone, out_ms);
    return *out_is_time;
}

static bool string_between(const struct test *t, struct str v) {
    bool is_time = false;
    int64_t ms = 0;
    (void)string_as_time(t, v, &is_time, &ms);
    bool above = t->low->type == QUERY_VALUE_STRING ? str_cmp(t->low->string, v) <= 0
                 : t->low->type == QUERY_VALUE_TIME ? is_time && t->low_ms <= ms
                                                    : false;
    bool below = t->high->type == QUERY_VALUE_STRING ? str_cmp(v, t->high->string) <= 0
                 : t->high->type == QUERY_VALUE_TIME ? is_time && ms <= t->high_ms
                                                     : false;
    return above && below;
}

bool test_string(const struct test *t, struct str v, struct test_scratch *scratch) {
    switch (t->op) {
    case QUERY_CONTAINS: return str_contains(v, t->low->string);
    case QUERY_STARTS: return str_starts(v, t->low->string);
    case QUERY_ENDS: return str_ends(v, t->low->string);
    case QUERY_MATCHES: return string_matches(t, v, scratch);
    case QUERY_BETWEEN: return string_between(t, v);
    case QUERY_LT:
    case QUERY_LE:
    case QUERY_GT:
    case QUERY_GE:
        if (t->low->type == QUERY_VALUE_STRING)
            return order_holds(t->op, str_cmp(v, t->low->string));
        break;
    default: break;
    }
    bool is_time = false;
    int64_t ms = 0;
    (void)string_as_time(t, v, &is_time, &ms);
    if (is_order(t->op)) return is_time && order_holds(t->op, time_sign(ms, t->low_ms));
    bool found = bsearch(&v, t->strings, t->n_strings, sizeof v, by_string) != NULL ||
                 (is_time && bsearch(&ms, t->times, t->n_times, sizeof ms, by_time) != NULL);
    return equal_holds(t->op, found);
}

bool test_datum(const struct test *t, const struct datum *v, struct test_scratch *scratch) {
    switch (v->type) {
    case DATUM_NULL: return test_missing(t);
    case DATUM_BOOL: return test_bool(t, v->boolean);
    case DATUM_INTEGER: return test_number(t, (double)v->integer);
    case DATUM_NUMBER: return test_number(t, v->number);
    case DATUM_TIME: return test_time(t, v->time_ms);
    case DATUM_STRING: return test_string(t, v->str, scratch);
    case DATUM_DATE:
    case DATUM_JSON: break;
    }
    return test_other(t);
}
