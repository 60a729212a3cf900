/* The fast kernel of funnels: no event can match two steps, and nothing is held equal.
 *
 * For each step j it keeps the latest start of a valid chain of j steps: later starts are never
 * worse, so an event of step j at time t takes the chain of step j - 1 if its start is not before
 * t - window. Starts only grow, and with them the whole chains in the order of funnel.h, so that
 * one chain a step is enough. Equal times count in any order: the steps that were seen at the same
 * time are remembered, and when an event arrives for a step before them, they are taken again.
 *
 * Most rows are of step 1, and of these only two in a customer's run of a batch matter to him: the
 * last one, from which chains of later batches start, and, if he has come nowhere yet, the first
 * one. So a batch is taken in three parts: the rows of later steps one by one, each finding the row
 * of step 1 before it by its rank; then the runs of step 1; then, row by row, the runs in which
 * times are equal and order is not what the rows' places say. Before, each row of step 1 went
 * through the customer's state, which took two thirds of the kernel's time.
 *
 * Layers: funnel_int.h, store/scan/spine.h. Threads: see machine.h.
 */
#include "query/forms/funnel_int.h"
#include "store/scan/spine.h"

/* What the rows of a batch are to the funnel. */
struct step_rows {
    uint64_t first[BITS_WORDS]; /* of step 1      */
    uint64_t later[BITS_WORDS]; /* of other steps; perhaps of none (step_at) */
    uint64_t without[BITS_WORDS];
    /* Those in runs that are taken row by row; they are not in the three above. */
    uint64_t slow[BITS_WORDS], slow_first[BITS_WORDS], slow_without[BITS_WORDS];
    uint8_t step[CHUNK_ROWS];   /* if the event does not tell */
    uint32_t group[CHUNK_ROWS]; /* of rows of step 1, if groups are wanted */
    bool by_event;
    /* Rows of step 1 that are not slow, side by side. */
    uint32_t n;
    uint16_t row[CHUNK_ROWS];
    uint32_t customer[CHUNK_ROWS];
    int64_t time[CHUNK_ROWS];
};

struct step_event {
    uint32_t slot, step, group;
    int64_t time;
};

static inline uint32_t step_at(const struct funnel *funnel, const struct feed *f,
                               const struct step_rows *r, uint32_t row) {
    return r->by_event ? funnel->step_of[f->event[row]] : r->step[row];
}

static inline int64_t lowest_start(const struct funnel *f, const int64_t *words, int64_t t) {
    int64_t lowest = f->within_ms == INT64_MAX ? FUNNEL_NEVER + 1 : t - f->within_ms;
    int64_t without = words[FUNNEL_WITHOUT];
    if (without >= t) without = words[FUNNEL_WITHOUT_BEFORE];
    return without > lowest ? without : lowest;
}

static void take_result(struct funnel_state *s, uint32_t slot, uint32_t j, int64_t t,
                        const int64_t *chain) {
    struct funnel_result *r = &s->result;
    const struct funnel *f = s->funnel;
    r->level[slot] = (uint8_t)(j + 1);
    r->end[slot] = t;
    if (r->group && s->groups) r->group[slot] = s->groups[(size_t)slot * f->n + j];
    int64_t *times = r->times ? r->times + (size_t)slot * f->n : NULL;
    for (uint32_t i = 0; times && i <= j; i++) times[i] = chain[i];
}

static inline int64_t *chain_of(const struct funnel_state *s, uint32_t slot, uint32_t j) {
    if (j == 0) return s->first + slot;
    return s->words + (size_t)slot * s->stride + funnel_chain_at(s->funnel, j);
}

static inline void take_without(int64_t *words, int64_t t) {
    if (words[FUNNEL_WITHOUT] != t) words[FUNNEL_WITHOUT_BEFORE] = words[FUNNEL_WITHOUT];
    words[FUNNEL_WITHOUT] = t;
}

/* ---- row by row, with equal times ---- */

/* An event of step j at time t; lowest: the earliest start that is still valid. True if there is a
 * chain that it ends. */
static bool take_step(struct funnel_state *s, const struct step_event *e, uint32_t j,
                      int64_t lowest) {
    const struct funnel *f = s->funnel;
    int64_t *chain = chain_of(s, e->slot, j);
    if (j == 0) {
        chain[0] = e->time;
        if (s->groups) s->groups[(size_t)e->slot * f->n] = e->group;
    } else {
        const int64_t *before = chain_of(s, e->slot, j - 1);
        if (before[0] < lowest) return false;
        chain[0] = before[0];
        for (uint32_t i = 1; f->wants.times && i < j; i++) chain[i] = before[i];
        if (f->wants.times) chain[j] = e->time;
        if (s->groups) {
            uint32_t *group = s->groups + (size_t)e->slot * f->n + j;
            group[0] = group[-1];
        }
    }
    uint8_t level = s->result.level[e->slot];
    if (j + 1u > level || (j + 1u == level && s->result.end[e->slot] == e->time))
        take_result(s, e->slot, j, e->time, chain);
    return true;
}

static void take_event(struct funnel_state *s, const struct step_event *e) {
    const struct funnel *f = s->funnel;
    int64_t *words = funnel_words(s, e->slot), t = e->time;
    if (s->result.level[e->slot] == f->n && s->result.end[e->slot] != t) return;
    int64_t lowest = lowest_start(f, words, t);
    if (s->first[e->slot] > words[FUNNEL_LAST]) { /* rows of step 1 did not say so */
        words[FUNNEL_LAST] = s->first[e->slot];
        words[FUNNEL_SEEN] = 1;
    }
    bool tie = words[FUNNEL_LAST] == t;
    words[FUNNEL_LAST] = t;
    words[FUNNEL_SEEN] = (tie ? words[FUNNEL_SEEN] : 0) | (int64_t)1 << e->step;
    bool taken = take_step(s, e, e->step, lowest);
    for (uint32_t j = e->step + 1; tie && taken && j < f->n && (words[FUNNEL_SEEN] >> j & 1); j++)
        taken = take_step(s, e, j, lowest);
}

static void take_slow(struct funnel_state *s, const struct feed *f, const struct step_rows *r) {
    for (uint32_t w = 0; w < BITS_WORDS; w++)
        for (uint64_t m = r->slow[w]; m; m &= m - 1) {
            uint32_t row = w * 64 + (uint32_t)__builtin_ctzll(m);
            struct step_event e = {.slot = f->customer[row] - f->first, .time = f->time[row]};
            bool is_first = bit_get(r->slow_first, row);
            e.step = is_first ? 0 : step_at(s->funnel, f, r, row);
            if (is_first && s->groups) e.group = r->group[row];
            if (e.step != FUNNEL_NO_STEP) take_event(s, &e);
            if (bit_get(r->slow_without, row)) take_without(funnel_words(s, e.slot), f->time[row]);
        }
}

/* ---- what a batch holds ---- */

static int match_any(struct funnel_state *s, const struct match *matches, uint32_t n,
                     struct feed *f, uint64_t *out, struct keel_error *err) {
    memset(out, 0, BITS_WORDS * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t bits[BITS_WORDS];
        TRY(match_rows(&matches[i], s->worker, f, bits, err));
        for (uint32_t k = 0; k < BITS_WORDS; k++) out[k] |= bits[k];
    }
    return 0;
}

enum { MANY_ONE_IN = 4 };

static int find_steps(struct funnel_state *s, struct feed *f, struct step_rows *r,
                      struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    TRY(match_rows(&funnel->steps[0], s->worker, f, r->first, err));
    r->by_event = funnel->step_of && span_within(f->span, funnel->steps[0].span);
    if (r->by_event) { /* what else is in the pass is mostly of later steps; else it is matched */
        for (uint32_t i = 0; i < BITS_WORDS; i++) r->later[i] = f->live[i] & ~r->first[i];
        if (bits_count(r->later) * MANY_ONE_IN < f->n) return 0;
        return match_any(s, funnel->steps + 1, funnel->n - 1, f, r->later, err);
    }
    memset(r->step, FUNNEL_NO_STEP, sizeof r->step);
    memset(r->later, 0, sizeof r->later);
    for (uint32_t j = 1; j < funnel->n; j++) {
        uint64_t bits[BITS_WORDS];
        TRY(match_rows(&funnel->steps[j], s->worker, f, bits, err));
        for (uint32_t i = 0; i < BITS_WORDS; i++) {
            r->later[i] |= bits[i];
            for (uint64_t m = bits[i]; m; m &= m - 1)
                r->step[i * 64 + (uint32_t)__builtin_ctzll(m)] = (uint8_t)j;
        }
    }
    return 0;
}

/* The groups of the rows of step 1, by row. */
static int find_groups(struct funnel_state *s, struct feed *f, struct step_rows *r,
                       struct keel_error *err) {
    uint16_t rows[CHUNK_ROWS];
    uint32_t groups[CHUNK_ROWS], n = bits_to_index(r->first, rows);
    TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
    for (uint32_t k = 0; k < n; k++) r->group[rows[k]] = groups[k];
    return 0;
}

/* Marks the run of one customer that a row lies in. */
static void mark_run(const struct feed *f, uint32_t row, uint64_t *out) {
    uint32_t from = row, to = row + 1;
    while (from > 0 && f->customer[from - 1] == f->customer[row]) from--;
    while (to < f->n && f->customer[to] == f->customer[row]) to++;
    for (uint32_t i = from; i < to; i++) bit_set(out, i);
}

/* Only the first customer of a batch may go on at the time at which an earlier one ended (feed.h).
 */
static void mark_continued(const struct funnel_state *s, const struct feed *f,
                           const struct step_rows *r, uint64_t *out) {
    uint32_t row = 0;
    while (row < f->n && f->customer[row] == f->customer[0] && !bit_get(r->first, row) &&
           !bit_get(r->later, row))
        row++;
    if (row == f->n || f->customer[row] != f->customer[0]) return;
    uint32_t slot = f->customer[row] - f->first;
    bool opened = s->opened[slot];
    int64_t last = opened ? s->words[(size_t)slot * s->stride + FUNNEL_LAST] : FUNNEL_NEVER;
    if (last == f->time[row] || s->first[slot] == f->time[row]) mark_run(f, row, out);
}

/* Takes the runs out in which equal times matter: those of a row of a later step and a neighbour.
 */
static void take_out_slow(const struct funnel_state *s, const struct feed *f, struct step_rows *r) {
    uint64_t slow[BITS_WORDS] = {0};
    uint16_t rows[CHUNK_ROWS];
    uint32_t n = bits_to_index(r->later, rows);
    const int64_t *time = f->time;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = rows[k], before = row > 0 ? row - 1 : 0;
        uint32_t after = row + 1 < f->n ? row + 1 : row;
        bool tied = (time[before] == time[row]) & (before != row);
        tied |= (time[after] == time[row]) & (after != row);
        if (tied) mark_run(f, row, slow);
    }
    mark_continued(s, f, r, slow);
    for (uint32_t w = 0; w < BITS_WORDS; w++) {
        r->slow[w] = slow[w] & (r->first[w] | r->later[w] | r->without[w]);
        r->slow_first[w] = slow[w] & r->first[w];
        r->slow_without[w] = slow[w] & r->without[w];
        r->first[w] &= ~slow[w];
        r->later[w] &= ~slow[w];
        r->without[w] &= ~slow[w];
    }
}

/* ---- the other runs ---- */

/* Row by row: those of step 1 before each are found by their rank. */
static void take_later(struct funnel_state *s, const struct feed *f, const struct step_rows *r) {
    const struct funnel *funnel = s->funnel;
    const bool times = funnel->wants.times;
    uint64_t bits[BITS_WORDS];
    uint16_t rows[CHUNK_ROWS], ranks[CHUNK_ROWS];
    for (uint32_t w = 0; w < BITS_WORDS; w++) bits[w] = r->later[w] | r->without[w];
    uint32_t n = bits_to_index(bits, rows);
    spine_kernels()->ranks(r->first, rows, n, ranks);
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t row = rows[k], customer = f->customer[row], slot = customer - f->first;
        const int64_t t = f->time[row];
        int64_t *words = funnel_words(s, slot);
        const uint32_t j =
            bit_get(r->later, row) ? step_at(funnel, f, r, row) : (uint32_t)FUNNEL_NO_STEP;
        if (j != FUNNEL_NO_STEP && s->result.level[slot] < funnel->n) {
            const int64_t *before = chain_of(s, slot, j - 1);
            bool own = j == 1 && ranks[k] > 0 && r->customer[ranks[k] - 1] == customer;
            int64_t start = own ? r->time[ranks[k] - 1] : before[0];
            words[FUNNEL_LAST] = t;
            words[FUNNEL_SEEN] = (int64_t)1 << j;
            if (start >= lowest_start(funnel, words, t)) {
                int64_t *chain = chain_of(s, slot, j);
                chain[0] = start;
                for (uint32_t i = 1; times && i < j; i++) chain[i] = before[i];
                if (times) chain[j] = t;
                if (s->groups) {
                    uint32_t *group = s->groups + (size_t)slot * funnel->n + j;
                    group[0] = own ? r->group[r->row[ranks[k] - 1]] : group[-1];
                }
                if (j + 1 > s->result.level[slot]) take_result(s, slot, j, t, chain);
            }
        }
        if (bit_get(r->without, row)) take_without(words, t);
    }
}

/* Of step 1, run by run. */
static void take_first(struct funnel_state *s, const struct feed *f, const struct step_rows *r) {
    uint64_t starts[BITS_WORDS] = {0};
    uint16_t from[CHUNK_ROWS + 1];
    const uint32_t steps = s->funnel->n;
    uint8_t *levels = s->result.level;
    if (r->n == 0) return;
    spine_kernels()->changes(r->customer, r->n, starts);
    uint32_t runs = bits_to_index(starts, from);
    from[runs] = (uint16_t)r->n;
    for (uint32_t k = 0; k < runs; k++) {
        uint32_t slot = r->customer[from[k]] - f->first;
        s->first[slot] = r->time[from[k + 1] - 1];
        if (!s->groups) {
            levels[slot] = (uint8_t)(levels[slot] + (levels[slot] == 0));
            continue;
        }
        uint32_t low = from[k], high = from[k + 1] - 1u;
        s->groups[(size_t)slot * steps] = r->group[r->row[high]];
        if (levels[slot] != 0) continue;
        while (low < high && r->time[low + 1] == r->time[low]) low++;
        levels[slot] = 1;
        s->result.end[slot] = r->time[low];
        s->result.group[slot] = r->group[r->row[low]];
    }
}

int funnel_fast_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    const struct spine_kernels *kernels = spine_kernels();
    struct step_rows r;
    TRY(find_steps(s, f, &r, err));
    if (s->groups) TRY(find_groups(s, f, &r, err));
    TRY(match_any(s, funnel->without, funnel->n_without, f, r.without, err));
    take_out_slow(s, f, &r);
    r.n = kernels->index(r.first, r.row);
    kernels->pick_u32(f->customer, f->n, r.first, r.customer);
    kernels->pick_i64(f->time, f->n, r.first, r.time);
    take_later(s, f, &r);
    take_first(s, f, &r);
    if (bits_any(r.slow)) take_slow(s, f, &r);
    return 0;
}
