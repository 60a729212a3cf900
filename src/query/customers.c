/* Implementation of customers.h. */
#include "query/customers.h"

#include "query/forms/funnel.h"
#include "store/scan/spine.h"

struct condition {
    enum query_cond_kind kind;
    struct condition **items;
    uint32_t n_items;
    struct account *account;
    uint32_t min, max; /* DID */
    struct test test;  /* MEASURE, TRAIT */
    struct funnel *funnel;
    uint32_t step;
    bool stopped;
};

enum { SEGMENT_DEPTH = 8 }; /* segments in segments; deeper is taken for a circle */

struct compiler {
    struct plan *p;
    unsigned depth;
};

static int compile(struct compiler *c, const struct query_cond *from, struct condition **out,
                   struct keel_error *err);

static int compile_test(struct plan *p, const struct query_test *from, struct condition *to,
                        struct keel_error *err) {
    plan_own_test(p, &to->test);
    return test_compile(&to->test, from, p->zone, &p->arena, err);
}

static int compile_segment(struct compiler *c, const struct query_cond *from,
                           struct condition **out, struct keel_error *err) {
    const struct query_cond *saved;
    if (!c->p->segment)
        FAIL(err, NOT_FOUND, "there is no segment \"%.*s\"", STR_ARG(from->segment));
    if (c->depth == SEGMENT_DEPTH)
        FAIL(err, INVALID, "segment \"%.*s\" refers to itself, or segments nest deeper than %d",
             STR_ARG(from->segment), SEGMENT_DEPTH);
    TRY(c->p->segment(c->p->segment_ctx, from->segment, &saved, err));
    c->depth++;
    int code = compile(c, saved, out, err);
    c->depth--;
    return code;
}

static int compile_leaf(struct compiler *c, const struct query_cond *from, struct condition *to,
                        struct keel_error *err) {
    struct plan *p = c->p;
    switch (from->kind) {
    case QUERY_COND_DID:
        to->min = from->min;
        to->max = from->max;
        return account_did(p, &from->event, range_span(p->zone, &from->range, p->at_ms),
                           &to->account, err);
    case QUERY_COND_FOLLOWED: return account_followed(p, from, &to->account, err);
    case QUERY_COND_MEASURE:
        TRY(compile_test(p, &from->test, to, err));
        return account_measure(p, &from->measure, &to->account, err);
    case QUERY_COND_TRAIT:
        TRY(compile_test(p, &from->test, to, err));
        return account_trait(p, &from->trait, &to->account, err);
    case QUERY_COND_FUNNEL:
        to->step = from->step;
        to->stopped = from->stopped;
        return funnel_new(p, from->funnel, range_span(p->zone, &from->range, p->at_ms),
                          &(struct funnel_wants){.stage = 0}, &to->funnel, err);
    default: return 0;
    }
}

static int compile(struct compiler *c, const struct query_cond *from, struct condition **out,
                   struct keel_error *err) {
    if (from->kind == QUERY_COND_SEGMENT) return compile_segment(c, from, out, err);
    struct condition *to = arena_zalloc(&c->p->arena, sizeof *to);
    to->kind = from->kind;
    to->n_items = from->n_items;
    if (from->n_items > 0) to->items = arena_alloc(&c->p->arena, from->n_items * sizeof *to->items);
    for (uint32_t i = 0; i < from->n_items; i++)
        TRY(compile(c, from->items[i], &to->items[i], err));
    TRY(compile_leaf(c, from, to, err));
    *out = to;
    return 0;
}

/* True if only customers with an event before the moment of asking can be members. */
static bool implies_event(const struct condition *c) {
    switch (c->kind) {
    case QUERY_COND_AND:
        for (uint32_t i = 0; i < c->n_items; i++)
            if (implies_event(c->items[i])) return true;
        return false;
    case QUERY_COND_OR:
        for (uint32_t i = 0; i < c->n_items; i++)
            if (!implies_event(c->items[i])) return false;
        return true;
    case QUERY_COND_DID: return c->min > 0;
    case QUERY_COND_FOLLOWED:
    case QUERY_COND_FUNNEL: return true;
    default: return false;
    }
}

int customers_compile(struct plan *p, const struct query_cond *where, bool all_needed,
                      struct customers *out, struct keel_error *err) {
    *out = (struct customers){0};
    struct compiler c = {.p = p};
    if (where) TRY(compile(&c, where, &out->where, err));
    /* A number is made for an event, so now everybody has one; at an earlier moment it must be
     * looked for, unless the condition asks for one anyway. */
    bool past = p->snap->rows > 0 && p->at_ms <= p->snap->max_time;
    if (all_needed && past && !(out->where && implies_event(out->where)))
        TRY(account_exists(p, &out->exists, err));
    out->had_rows = out->exists || (out->where && implies_event(out->where));
    return 0;
}

/* ---- evaluation ---- */

static uint32_t words_of(struct range r) { return (r.count + 63) / 64; }

static bool leaf_holds(const struct condition *c, struct worker *w, uint32_t slot) {
    switch (c->kind) {
    case QUERY_COND_MEASURE:
    case QUERY_COND_TRAIT: {
        struct datum v = account_datum(w, c->account, slot);
        return test_datum(&c->test, &v, &w->scratch);
    }
    default: return false;
    }
}

/* Who came to a step, or no further. */
static uint64_t eval_levels(const struct condition *c, const uint8_t *levels, uint32_t n) {
    uint64_t word = 0;
    for (uint32_t j = 0; j < n; j++)
        word |= (uint64_t)(c->stopped ? levels[j] == c->step : levels[j] >= c->step) << j;
    return word;
}

/* Up to 64 of them: no word is read again before it was stored. */
static uint64_t count_word(const uint32_t *count, uint32_t n, uint32_t min, uint32_t max) {
    uint64_t word = 0;
    for (uint32_t j = 0; j < n; j++) word |= (uint64_t)(count[j] - min <= max - min) << j;
    return word;
}

/* Of those that are asked, at most CHUNK_ROWS: who has so many. If few are asked, only they are
 * looked at; one number, or any: by vectors; else without a branch a customer. */
static void eval_counts(const uint32_t *count, uint32_t n, uint32_t min, uint32_t max,
                        const uint64_t *ask, uint64_t *out) {
    uint64_t bits[BITS_WORDS] = {0};
    uint32_t asked = 0;
    for (uint32_t w = 0; w * 64 < n; w++) asked += (uint32_t)__builtin_popcountll(ask[w]);
    bool few = asked * 16 < n, any = !few && min == 1 && max == QUERY_NO_MAX;
    if (few)
        for (uint32_t w = 0; w * 64 < n; w++)
            for (uint64_t m = ask[w]; m; m &= m - 1) {
                unsigned j = (unsigned)__builtin_ctzll(m);
                bits[w] |= (uint64_t)(count[w * 64 + j] - min <= max - min) << j;
            }
    else if (min == max || any)
        spine_kernels()->equal(count, n, any ? 0 : min, bits);
    else
        for (uint32_t w = 0; w * 64 < n; w++)
            bits[w] = count_word(count + w * 64, n - w * 64 < 64 ? n - w * 64 : 64, min, max);
    for (uint32_t w = 0; w * 64 < n; w++) out[w] = (any ? ~bits[w] : bits[w]) & ask[w];
}

/* The counts that a leaf wants; false: it is not about counts. */
static bool wanted_counts(const struct condition *c, uint32_t *min, uint32_t *max) {
    if (c->kind == QUERY_COND_DID) {
        *min = c->min;
        *max = c->max;
        return true;
    }
    if (c->kind != QUERY_COND_FOLLOWED) return false;
    *min = *max = c->account->kind == ACCOUNT_FOLLOWED ? ACCOUNT_CLOSED : ACCOUNT_OPEN;
    return true;
}

static void eval_leaf(const struct condition *c, struct worker *w, struct range r,
                      const uint64_t *ask, uint64_t *out) {
    struct identity *identity = db_identity(w->plan->db);
    uint32_t min, max;
    if (wanted_counts(c, &min, &max)) {
        const uint32_t *count = account_counts(w, c->account);
        for (uint32_t from = 0; from < r.count; from += CHUNK_ROWS) {
            uint32_t n = r.count - from < CHUNK_ROWS ? r.count - from : CHUNK_ROWS;
            eval_counts(count + from, n, min, max, ask + from / 64, out + from / 64);
        }
        return;
    }
    if (c->kind == QUERY_COND_FUNNEL) {
        const uint8_t *levels = funnel_levels(w, c->funnel);
        for (uint32_t i = 0; i < words_of(r); i++) {
            uint32_t n = r.count - i * 64 < 64 ? r.count - i * 64 : 64;
            out[i] = eval_levels(c, levels + (size_t)i * 64, n) & ask[i];
        }
        return;
    }
    for (uint32_t i = 0; i < words_of(r); i++) {
        uint64_t word = 0;
        for (uint64_t m = ask[i]; m; m &= m - 1) {
            unsigned j = (unsigned)__builtin_ctzll(m);
            uint32_t slot = i * 64 + j;
            bool yes;
            if (c->kind == QUERY_COND_IDENTIFIED || c->kind == QUERY_COND_ANONYMOUS) {
                enum id_kind kind = identity_kind(identity, r.first + slot);
                yes = (kind == ID_USER) == (c->kind == QUERY_COND_IDENTIFIED);
            } else {
                yes = leaf_holds(c, w, slot);
            }
            word |= (uint64_t)yes << j;
        }
        out[i] = word;
    }
}

static int eval(const struct condition *c, struct worker *w, struct range r, const uint64_t *ask,
                uint64_t *out, struct keel_error *err) {
    uint32_t words = words_of(r);
    if (c->kind != QUERY_COND_AND && c->kind != QUERY_COND_OR && c->kind != QUERY_COND_NOT) {
        eval_leaf(c, w, r, ask, out);
        return 0;
    }
    uint64_t *open = k_try_alloc_array(2 * words, sizeof *open);
    if (!open) FAIL(err, NO_MEMORY, "too little memory for a condition");
    uint64_t *part = open + words;
    memcpy(open, ask, words * sizeof *open);
    memset(out, 0, words * sizeof *out);
    int code = 0;
    for (uint32_t k = 0; k < c->n_items && code == 0; k++) {
        code = eval(c->items[k], w, r, open, part, err);
        for (uint32_t i = 0; i < words; i++) {
            if (c->kind == QUERY_COND_AND) {
                open[i] = part[i];
            } else if (c->kind == QUERY_COND_OR) {
                out[i] |= part[i];
                open[i] &= ~part[i];
            } else {
                out[i] = open[i] & ~part[i];
            }
        }
    }
    if (c->kind == QUERY_COND_AND) memcpy(out, open, words * sizeof *out);
    k_free(open);
    return code;
}

int customers_eval(const struct customers *c, struct worker *w, struct range r, uint64_t *out,
                   struct keel_error *err) {
    const struct redirect_view *redirects = &w->plan->snap->redirects;
    const uint32_t *exists = c->exists ? account_counts(w, c->exists) : NULL;
    uint32_t words = words_of(r);
    if (c->had_rows && !w->fed_many)
        memcpy(out, w->fed, words * sizeof *out);
    else
        redirect_roots(redirects, r.first, r.count, out);
    for (uint32_t slot = 0; exists && slot < r.count; slot++)
        if (exists[slot] == 0) bit_clear(out, slot);
    if (!c->where) return 0;
    uint64_t *ask = k_try_alloc_array(words, sizeof *ask);
    if (!ask) FAIL(err, NO_MEMORY, "too little memory for a condition");
    memcpy(ask, out, words * sizeof *ask);
    int code = eval(c->where, w, r, ask, out, err);
    k_free(ask);
    if (code == 0 && w->scratch.too_hard)
        FAIL(err, LIMIT, "a regular expression takes too long on some value: make it simpler");
    return code;
}
