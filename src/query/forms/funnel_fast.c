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
 * of step 1 before it among the bits of these; then the runs of step 1, whose ends are found in the
 * bits as well; then, row by row, the runs in which times are equal and order is not what the rows'
 * places say. Nothing is done for each row of step 1.
 *
 * Layers: funnel_int.h, store/scan/spine.h. Threads: see machine.h.
 */
#include "query/forms/funnel_int.h"
#include "query/visits.h"
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
};

struct step_event {
    uint32_t slot, step, group;
    int64_t time;
};

static inline uint32_t step_at(const struct funnel *funnel, const struct feed *f,
                               const struct step_rows *r, uint32_t row) {
    return r->by_event ? funnel->step_of[f->event[row]] : r->step[row];
}

static inline int64_t lowest_start(const struct funnel_state *s, uint32_t slot, int64_t t) {
    const int64_t within = s->funnel->within_ms;
    int64_t lowest = within == INT64_MAX ? FUNNEL_NEVER + 1 : t - within;
    if (!s->walls) return lowest;
    int64_t wall = s->walls[2 * (size_t)slot];
    if (wall >= t) wall = s->walls[2 * (size_t)slot + 1];
    return wall > lowest ? wall : lowest;
}

static inline int64_t *chain_of(const struct funnel_state *s, uint32_t slot, uint32_t j) {
    return j == 0 ? s->first + slot
                  : s->chains + (size_t)slot * s->stride + funnel_chain_at(s->funnel, j);
}

/* A chain up to step j > 0 that ends with the event; it is the result if `better`. All of a chain
 * is copied, and stored somewhere if it is not needed: how long it is, and whether it is better,
 * cannot be foretold. */
static inline void take_chain(struct funnel_state *s, const struct step_event *e, uint32_t j,
                              int64_t start, bool better) {
    struct funnel_result *r = &s->result;
    const struct funnel *f = s->funnel;
    const uint32_t slot = e->slot, n = f->n;
    int64_t spare[QUERY_MAX_EVENTS];
    int64_t *chain = j + 1 < n ? chain_of(s, slot, j) : spare;
    r->level[slot] = (uint8_t)(better ? j + 1 : r->level[slot]);
    r->end[slot] = better ? e->time : r->end[slot];
    if (s->groups) {
        s->groups[(size_t)slot * n + j] = e->group;
        if (better) r->group[slot] = e->group;
    }
    chain[0] = start;
    if (!f->wants.times) return;
    int64_t *result = r->times + (size_t)slot * n, *times = better ? result : spare;
    const int64_t *before = j > 1 ? chain_of(s, slot, j - 1) : result; /* of step 1: no more */
    for (uint32_t i = 1; i < n; i++) {
        int64_t v = before[i];
        times[i] = v;
        chain[i] = v;
    }
    times[0] = start;
    times[j] = chain[j] = e->time;
}

static inline void take_without(struct funnel_state *s, uint32_t slot, int64_t t) {
    int64_t *wall = s->walls + 2 * (size_t)slot;
    if (wall[0] != t) wall[1] = wall[0];
    wall[0] = t;
}

/* ---- row by row, with equal times ---- */

/* An event of step j at time t; lowest: the earliest start that is still valid. True if there is a
 * chain that it ends. */
static bool take_step(struct funnel_state *s, struct step_event *e, uint32_t j, int64_t lowest) {
    const uint32_t slot = e->slot, level = s->result.level[slot];
    const bool better = j + 1 > level || (j + 1 == level && s->result.end[slot] == e->time);
    if (j > 0) {
        if (level < j || chain_of(s, slot, j - 1)[0] < lowest) return false;
        if (s->groups) e->group = s->groups[(size_t)slot * s->funnel->n + j - 1];
        take_chain(s, e, j, chain_of(s, slot, j - 1)[0], better);
        return true;
    }
    s->first[slot] = e->time;
    if (s->groups) s->groups[(size_t)slot * s->funnel->n] = e->group;
    if (!better) return true;
    s->result.level[slot] = 1;
    s->result.end[slot] = e->time;
    if (s->groups) s->result.group[slot] = e->group;
    return true;
}

static void take_event(struct funnel_state *s, struct step_event *e) {
    const struct funnel *f = s->funnel;
    const uint32_t slot = e->slot;
    const int64_t t = e->time;
    if (s->result.level[slot] == f->n && s->result.end[slot] != t) return;
    int64_t lowest = lowest_start(s, slot, t);
    if (s->first[slot] > s->last[slot]) { /* rows of step 1 did not say so */
        s->last[slot] = s->first[slot];
        s->seen[slot] = 1;
    }
    bool tie = s->last[slot] == t;
    s->last[slot] = t;
    s->seen[slot] = (tie ? s->seen[slot] : 0) | 1u << e->step;
    bool taken = take_step(s, e, e->step, lowest);
    for (uint32_t j = e->step + 1; tie && taken && j < f->n && (s->seen[slot] >> j & 1); j++)
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
            if (bit_get(r->slow_without, row)) take_without(s, e.slot, f->time[row]);
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
    if (s->last[slot] == f->time[row] || s->first[slot] == f->time[row]) mark_run(f, row, out);
}

/* Takes the runs out in which equal times matter: those of a row of a later step and a neighbour.
 */
static void take_out_slow(const struct funnel_state *s, const struct feed *f,
                          const uint64_t *starts, struct step_rows *r) {
    uint64_t slow[BITS_WORDS] = {0}, apart[BITS_WORDS + 1] = {0};
    spine_kernels()->pauses(f->time, f->n, 0, apart); /* bit i: later than the row before */
    for (uint32_t w = 0; w < BITS_WORDS; w++) apart[w] |= starts[w];
    bit_set(apart, f->n);
    for (uint32_t w = 0; w * 64 < f->n; w++) {
        uint64_t next = apart[w] >> 1 | apart[w + 1] << 63;
        for (uint64_t m = r->later[w] & ~(apart[w] & next); m; m &= m - 1)
            mark_run(f, w * 64 + (uint32_t)__builtin_ctzll(m), slow);
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

/* The last set bit before `row`, or UINT32_MAX. */
static inline uint32_t bit_before(const uint64_t *bits, uint32_t row) {
    if (row == 0) return UINT32_MAX;
    uint32_t at = row - 1, w = at >> 6;
    uint64_t word = bits[w] << (63 - (at & 63));
    if (word) return at - (uint32_t)__builtin_clzll(word);
    while (w-- > 0)
        if (bits[w]) return w * 64 + 63 - (uint32_t)__builtin_clzll(bits[w]);
    return UINT32_MAX;
}

/* An event of a later step j. Its chain starts at the row of step 1 before it in this batch, or
 * goes on from what earlier ones left. */
static inline void take_later_row(struct funnel_state *s, const struct feed *f,
                                  const struct step_rows *r, uint32_t row, uint32_t j) {
    const uint32_t slot = f->customer[row] - f->first, level = s->result.level[slot];
    struct step_event e = {.slot = slot, .step = j, .time = f->time[row]};
    uint32_t e1 = bit_before(r->first, row);
    e1 = e1 == UINT32_MAX ? row : e1;
    const bool own = (j == 1) & (e1 != row) & (f->customer[e1] == f->customer[row]);
    const int64_t kept = chain_of(s, slot, j - 1)[0]; /* of no meaning below that level */
    const int64_t start = own ? f->time[e1] : kept;
    s->last[slot] = e.time;
    s->seen[slot] = 1u << j;
    if ((level == s->funnel->n) | (!own & (level < j))) return;
    if (start < lowest_start(s, slot, e.time)) return;
    if (s->groups) e.group = own ? r->group[e1] : s->groups[(size_t)slot * s->funnel->n + j - 1];
    take_chain(s, &e, j, start, j + 1 > level);
}

static void take_later(struct funnel_state *s, const struct feed *f, const struct step_rows *r) {
    uint64_t bits[BITS_WORDS];
    uint16_t rows[CHUNK_ROWS];
    for (uint32_t w = 0; w < BITS_WORDS; w++) bits[w] = r->later[w] | r->without[w];
    uint32_t n = bits_to_index(bits, rows);
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t row = rows[k];
        uint32_t j = s->walls && !bit_get(r->later, row) ? (uint32_t)FUNNEL_NO_STEP
                                                         : step_at(s->funnel, f, r, row);
        if (j != FUNNEL_NO_STEP) take_later_row(s, f, r, row, j);
        if (s->walls && bit_get(r->without, row))
            take_without(s, f->customer[row] - f->first, f->time[row]);
    }
}

/* The rows of step 1 in one customer's run: the first and the last of them. */
static inline void take_first_run(struct funnel_state *s, const struct feed *f,
                                  const struct step_rows *r, uint32_t low, uint32_t high) {
    const uint32_t slot = f->customer[high] - f->first;
    uint8_t *level = &s->result.level[slot];
    s->first[slot] = f->time[high];
    if (!s->groups) {
        *level = (uint8_t)(*level + (*level == 0));
        return;
    }
    s->groups[(size_t)slot * s->funnel->n] = r->group[high];
    if (*level != 0) return;
    for (uint32_t i = low + 1; i <= high && f->time[i] == f->time[low]; i++)
        if (bit_get(r->first, i)) low = i;
    *level = 1;
    s->result.end[slot] = f->time[low];
    s->result.group[slot] = r->group[low];
}

/* Of step 1, run by run. */
static void take_first(struct funnel_state *s, const struct feed *f, const uint64_t *starts,
                       const struct step_rows *r) {
    uint64_t begin[BITS_WORDS];
    uint16_t at[CHUNK_ROWS + 1];
    memcpy(begin, starts, sizeof begin);
    carry_changes(r->first, begin);
    uint32_t runs = bits_to_index(begin, at);
    at[runs] = CHUNK_ROWS;
    for (uint32_t k = 0; k < runs; k++)
        take_first_run(s, f, r, at[k], bit_before(r->first, at[k + 1]));
}

int funnel_fast_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    uint64_t starts[BITS_WORDS] = {0};
    struct step_rows r;
    TRY(find_steps(s, f, &r, err));
    if (s->groups) TRY(find_groups(s, f, &r, err));
    TRY(match_any(s, funnel->without, funnel->n_without, f, r.without, err));
    feed_starts(f, starts);
    take_out_slow(s, f, starts, &r);
    take_later(s, f, &r);
    take_first(s, f, starts, &r);
    if (bits_any(r.slow)) take_slow(s, f, &r);
    return 0;
}
