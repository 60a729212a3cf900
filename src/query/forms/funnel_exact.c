/* The exact kernel of funnels: steps that one event may match twice, and equal properties.
 *
 * It keeps the matching events of the range, deals them out to their customers, and goes through
 * each customer's in time order, with chains for each of his `same` values.
 *
 * Where two steps of a list meet at one time, or in one event, his events are sorted by `same`
 * values, and each list is gone through by groups of equal time. Before a group, chain[j] is the
 * best chain of j steps. In the group, steps j + 1 … k may be taken by any choice of different
 * events, whatever their order; the fewer steps stand before the group, the later the chain's
 * start, so for each k the smallest j is wanted for which such a choice exists: an augmenting-path
 * matching that grows downwards from k. A step needs no more than n candidates of a group (it
 * always finds a free one among n), which bounds the work where thousands of events share a time.
 * Steps in any order are another question about the same lists: funnel_any.c.
 *
 * Layers, threads: see funnel.h. */
#include <stdlib.h>

#include "base/sort.h"
#include "query/forms/funnel_int.h"

enum { MAX_STEPS = QUERY_MAX_EVENTS, MAX_GROUP = MAX_STEPS * MAX_STEPS };

int funnel_exact_open(struct funnel_state *s, struct keel_error *err) {
    s->later = k_try_alloc_array(s->worker->plan->range_size, sizeof *s->later);
    s->earliest = k_try_alloc_array(s->worker->plan->range_size, sizeof *s->earliest);
    if (!s->later || !s->earliest) FAIL(err, NO_MEMORY, "too little memory for a funnel");
    const struct funnel *f = s->funnel;
    groups_init(&s->same, f->n_same);
    for (uint32_t i = 0; i < s->same.n_terms; i++)
        field_reader_init(&s->same_readers[i], &f->same[i], s->worker, &s->same.dict[i]);
    return 0;
}

void funnel_exact_begin(struct funnel_state *s, struct range r) {
    memset(s->later, 0, r.count * sizeof *s->later);
    memset(s->earliest, 0, r.count * sizeof *s->earliest);
    s->n_kept = s->n_without = 0;
}

void funnel_exact_close(struct funnel_state *s) {
    for (uint32_t i = 0; i < s->same.n_terms; i++) field_reader_release(&s->same_readers[i]);
    groups_release(&s->same);
    k_free(s->later);
    k_free(s->earliest);
    k_free(s->kept);
    k_free(s->without);
    k_free(s->without_slot);
}

/* ---- feeding ---- */

static int too_many(struct keel_error *err) {
    return error_set(err, KEEL_E_LIMIT,
                     "a funnel with overlapping steps or equal properties keeps too many events: "
                     "narrow its steps by filters, or the range");
}

/* Room for n more events. */
static int kept_room(struct funnel_state *s, uint32_t n, struct keel_error *err) {
    if (s->cap_kept - s->n_kept >= n) return 0;
    uint32_t cap = s->cap_kept ? s->cap_kept * 2 : 1 << 12;
    if (cap > FUNNEL_MAX_KEPT) return too_many(err);
    struct funnel_event *kept = k_try_realloc(s->kept, cap * sizeof *kept);
    if (!kept) return too_many(err);
    s->kept = kept;
    s->cap_kept = cap;
    return 0;
}

static int keep_without(struct funnel_state *s, uint32_t slot, int64_t t, struct keel_error *err) {
    if (s->n_without == s->cap_without) {
        uint32_t cap = s->cap_without ? s->cap_without * 2 : 1 << 12;
        if (cap > FUNNEL_MAX_KEPT) return too_many(err);
        int64_t *times = k_try_realloc(s->without, cap * sizeof *times);
        if (times) s->without = times;
        uint32_t *slots = k_try_realloc(s->without_slot, cap * sizeof *slots);
        if (slots) s->without_slot = slots;
        if (!times || !slots) return too_many(err);
        s->cap_without = cap;
    }
    s->without[s->n_without] = t;
    s->without_slot[s->n_without++] = slot;
    return 0;
}

/* The number of the `same` values of each row, UINT32_MAX where one is missing. */
static int same_of_rows(struct funnel_state *s, struct feed *f, const uint16_t *rows, uint32_t n,
                        uint32_t *out, struct keel_error *err) {
    uint32_t ids[QUERY_MAX_SPLITS][CHUNK_ROWS];
    for (uint32_t i = 0; i < s->same.n_terms; i++)
        TRY(field_ids(&s->same_readers[i], f, rows, n, ids[i], err));
    for (uint32_t k = 0; s->same.n_terms == 1 && k < n; k++) /* the value's id tells as much */
        out[k] = ids[0][k] ? ids[0][k] : UINT32_MAX;
    for (uint32_t k = 0; s->same.n_terms != 1 && k < n; k++) {
        uint32_t key[QUERY_MAX_SPLITS] = {0};
        bool missing = false;
        for (uint32_t i = 0; i < s->same.n_terms; i++) {
            key[i] = ids[i][k];
            missing |= key[i] == 0;
        }
        out[k] = UINT32_MAX;
        if (!missing) TRY(groups_find(&s->same, key, &out[k], err));
    }
    return 0;
}

static int keep_rows(struct funnel_state *s, const struct feed *f, const uint16_t *rows, uint32_t n,
                     const uint32_t *steps, const uint32_t *same, const uint32_t *group_of,
                     struct keel_error *err) {
    TRY(kept_room(s, n, err));
    for (uint32_t k = 0; k < n; k++) {
        uint32_t row = rows[k], slot = f->customer[row] - f->first;
        int64_t t = f->time[row], *end = &s->result.end[slot];
        if (same[k] == UINT32_MAX) continue;
        s->kept[s->n_kept++] = (struct funnel_event){.time = t,
                                                     .slot = slot,
                                                     .steps = steps[row],
                                                     .same = same[k],
                                                     .group = group_of ? group_of[row] : 0};
        if (steps[row] > 1) {
            s->later[slot] |= (uint64_t)1 << (same[k] & 63);
            continue;
        }
        bool first = (*end == FUNNEL_NEVER) | (*end == t); /* no branch: it could not be foretold */
        *end = first ? t : *end;
        s->earliest[slot] = first ? s->n_kept : s->earliest[slot];
    }
    return 0;
}

int funnel_exact_feed(struct funnel_state *s, struct feed *f, struct keel_error *err) {
    const struct funnel *funnel = s->funnel;
    uint32_t steps[CHUNK_ROWS] = {0}, groups[CHUNK_ROWS], same[CHUNK_ROWS], group_of[CHUNK_ROWS];
    uint64_t any[BITS_WORDS] = {0}, bits[BITS_WORDS];
    uint16_t rows[CHUNK_ROWS];
    for (uint32_t j = 0; j < funnel->n; j++) {
        TRY(match_rows(&funnel->steps[j], s->worker, f, bits, err));
        uint32_t n = bits_to_index(bits, rows);
        for (uint32_t k = 0; k < n; k++) steps[rows[k]] |= 1u << j;
        for (uint32_t i = 0; i < BITS_WORDS; i++) any[i] |= bits[i];
    }
    uint32_t n = 0;
    if (funnel->wants.splits) {
        memset(group_of, 0, sizeof group_of);
        for (uint32_t row = 0; row < f->n; row++) {
            rows[n] = (uint16_t)row;
            n += funnel->any_order ? steps[row] != 0 : steps[row] & 1; /* only e1 has a group */
        }
        TRY(splitter_rows(&s->splitter, f, rows, n, groups, err));
        for (uint32_t k = 0; k < n; k++) group_of[rows[k]] = groups[k];
    }
    n = bits_to_index(any, rows);
    TRY(same_of_rows(s, f, rows, n, same, err));
    TRY(keep_rows(s, f, rows, n, steps, same, funnel->wants.splits ? group_of : NULL, err));
    for (uint32_t i = 0; i < funnel->n_without; i++) {
        TRY(match_rows(&funnel->without[i], s->worker, f, bits, err));
        n = bits_to_index(bits, rows);
        for (uint32_t k = 0; k < n; k++)
            TRY(keep_without(s, f->customer[rows[k]] - f->first, f->time[rows[k]], err));
    }
    return 0;
}

/* ---- one list of events ---- */

/* Chains by `same` values, of one customer at a time: a table with linear probing, of lists of
 * WALK_CHAINS words and those of the chains of 1 … n - 1 steps: e1's order and group, the times. */
enum { WALK_KEY, WALK_LAST, WALK_STEP, WALK_CHAINS };

struct walk {
    int64_t *words; /* [lists × stride] */
    uint32_t lists, stride;
    uint32_t stamp; /* of the customer; lists of others are free */
};

struct solver {
    struct funnel_best best;
    struct walk walk;
    struct funnel_chain chain[MAX_STEPS + 1], next[MAX_STEPS + 1];
};

struct matching {
    const struct funnel_event *events[MAX_GROUP];
    uint32_t n;
    int32_t step_of[MAX_GROUP]; /* -1: free */
    uint32_t banned;            /* an event that may not be used, or UINT32_MAX */
};

/* Kuhn: gives `step` an event, moving others if needed. */
static bool augment(struct matching *m, uint32_t step, bool *seen) {
    for (uint32_t i = 0; i < m->n; i++) {
        if (!(m->events[i]->steps >> step & 1) || seen[i] || i == m->banned) continue;
        seen[i] = true;
        if (m->step_of[i] < 0 || augment(m, (uint32_t)m->step_of[i], seen)) {
            m->step_of[i] = (int32_t)step;
            return true;
        }
    }
    return false;
}

static bool assign(struct matching *m, uint32_t step) {
    bool seen[MAX_GROUP] = {false};
    return augment(m, step, seen);
}

static void matching_clear(struct matching *m) {
    for (uint32_t i = 0; i < m->n; i++) m->step_of[i] = -1;
    m->banned = UINT32_MAX;
}

/* The latest event of the group that can be e1 while steps 1 … k - 1 (from 0) find others. */
static const struct funnel_event *latest_first(struct matching *m, uint32_t k) {
    for (uint32_t i = m->n; i-- > 0;) {
        if (!(m->events[i]->steps & 1)) continue;
        matching_clear(m);
        m->banned = i;
        bool fits = true;
        for (uint32_t step = 1; step < k && fits; step++) fits = assign(m, step);
        if (fits) return m->events[i];
    }
    return NULL;
}

/* The events of a group that may matter: for each step the latest n. Ascending. */
static void candidates(const struct funnel *f, const struct funnel_event *const *e, uint32_t n,
                       struct matching *m) {
    uint32_t left[MAX_STEPS], chosen[MAX_GROUP];
    for (uint32_t j = 0; j < f->n; j++) left[j] = f->n;
    uint32_t count = 0;
    for (uint32_t i = n; i-- > 0 && count < MAX_GROUP;) {
        bool useful = false;
        for (uint32_t j = 0; j < f->n; j++)
            if (e[i]->steps >> j & 1 && left[j] > 0) {
                left[j]--;
                useful = true;
            }
        if (useful) chosen[count++] = i;
    }
    m->n = count;
    for (uint32_t i = 0; i < count; i++) m->events[i] = e[chosen[count - 1 - i]];
    matching_clear(m);
}

/* The first `level` times; a chain has room for many more. */
static void chain_copy(struct funnel_chain *to, const struct funnel_chain *from, uint32_t level) {
    to->group = from->group;
    to->first = from->first;
    for (uint32_t j = 0; j < level; j++) to->times[j] = from->times[j];
}

static bool chain_later(const struct funnel_chain *a, const struct funnel_chain *b,
                        uint32_t level) {
    if (a->first != b->first) return a->first > b->first;
    for (uint32_t j = 1; j < level; j++)
        if (a->times[j] != b->times[j]) return a->times[j] > b->times[j];
    return false;
}

void funnel_best_offer(struct funnel_best *b, uint32_t level, int64_t end,
                       const struct funnel_chain *chain) {
    bool better = level != b->level ? level > b->level
                  : end != b->end   ? end < b->end
                                    : chain_later(chain, &b->chain, level);
    if (!better) return;
    b->level = level;
    b->end = end;
    chain_copy(&b->chain, chain, level);
}

int64_t funnel_best_lowest(const struct funnel_best *s, int64_t t) {
    int64_t within = s->f->within_ms;
    int64_t lowest = within == INT64_MAX ? FUNNEL_NEVER + 1 : t - within;
    uint32_t low = 0, high = s->n_without; /* the last without-time before t */
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->without[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    if (low > 0 && s->without[low - 1] > lowest) lowest = s->without[low - 1];
    return lowest;
}

/* Steps j … k - 1 (from 0) at time t behind the best chain of j steps. */
static bool extend(struct solver *s, uint32_t j, uint32_t k, int64_t t,
                   const struct funnel_event *e1) {
    struct funnel_chain *to = &s->next[k];
    if (j == 0) {
        to->group = e1->group;
        to->first = (uint32_t)(e1 - s->best.kept);
    } else {
        if (s->chain[j].times[0] < funnel_best_lowest(&s->best, t)) return false;
        chain_copy(to, &s->chain[j], j);
    }
    for (uint32_t i = j; i < k; i++) to->times[i] = t;
    return true;
}

/* Events in lists: in time order, by their places in `kept`. */
static void solve_group(struct solver *s, const struct funnel_event *const *e, uint32_t n) {
    const struct funnel *f = s->best.f;
    int64_t t = e[0]->time;
    bool taken[MAX_STEPS + 1] = {false};
    if (n == 1) {
        for (uint32_t k = 1; k <= f->n; k++)
            if (e[0]->steps >> (k - 1) & 1) taken[k] = extend(s, k - 1, k, t, e[0]);
    } else {
        struct matching m;
        candidates(f, e, n, &m);
        for (uint32_t k = 1; k <= f->n; k++) {
            matching_clear(&m);
            uint32_t j = k;
            while (j > 0 && assign(&m, j - 1)) j--;
            if (j == k) continue;
            taken[k] = extend(s, j, k, t, j == 0 ? latest_first(&m, k) : NULL);
        }
    }
    uint32_t highest = 0;
    for (uint32_t k = 1; k <= f->n; k++)
        if (taken[k]) {
            chain_copy(&s->chain[k], &s->next[k], k);
            highest = k;
        }
    if (highest > 0) funnel_best_offer(&s->best, highest, t, &s->chain[highest]);
}

static void solve_list(struct solver *s, const struct funnel_event *const *e, uint32_t n) {
    for (uint32_t k = 0; k <= s->best.f->n; k++) s->chain[k].times[0] = FUNNEL_NEVER;
    for (uint32_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && e[next]->time == e[i]->time;) next++;
        solve_group(s, e + i, next - i);
    }
}

/* ---- one customer, where no two steps of a list meet at one time ---- */

static uint32_t walk_chain_at(uint32_t k) { return WALK_CHAINS + k - 1 + k * (k - 1) / 2; }

/* An empty table for a customer of n events. */
static bool walk_begin(struct walk *w, uint32_t steps, uint32_t n) {
    uint32_t lists = w->lists ? w->lists : 64;
    while (lists / 2 < n) lists *= 2;
    if (lists != w->lists || w->stamp == UINT32_MAX) {
        uint32_t stride = walk_chain_at(steps);
        int64_t *words = k_try_zalloc((size_t)lists * stride * sizeof *words);
        if (!words) return false;
        k_free(w->words);
        *w = (struct walk){.words = words, .lists = lists, .stride = stride};
    }
    w->stamp++;
    return true;
}

static int64_t *walk_list(struct walk *w, uint32_t steps, uint32_t same) {
    int64_t key = (int64_t)((uint64_t)w->stamp << 32 | same);
    uint32_t i = (uint32_t)(same * (uint64_t)0x9e3779b97f4a7c15u >> 32);
    for (;; i++) {
        int64_t *list = w->words + (size_t)(i & (w->lists - 1)) * w->stride;
        if (list[WALK_KEY] == key) return list;
        if ((uint64_t)list[WALK_KEY] >> 32 == w->stamp) continue;
        list[WALK_KEY] = key;
        list[WALK_LAST] = FUNNEL_NEVER;
        for (uint32_t k = 1; k < steps; k++) list[walk_chain_at(k) + 1] = FUNNEL_NEVER;
        return list;
    }
}

/* The chain of k steps that ends with this event; that of k - 1 is in the list. */
static void walk_take(struct solver *s, int64_t *list, uint32_t k, const struct funnel_event *e) {
    const int64_t *before = k > 1 ? list + walk_chain_at(k - 1) : NULL;
    int64_t e1 = before ? before[0] : (int64_t)((uint64_t)(e - s->best.kept) << 32 | e->group);
    if (k > s->best.level || (k == s->best.level && e->time == s->best.end)) {
        struct funnel_chain *whole = &s->next[k];
        whole->first = (uint32_t)((uint64_t)e1 >> 32);
        whole->group = (uint32_t)e1;
        for (uint32_t i = 1; i < k; i++) whole->times[i - 1] = before[i];
        whole->times[k - 1] = e->time;
        funnel_best_offer(&s->best, k, e->time, whole);
    }
    if (k == s->best.f->n) return;
    int64_t *chain = list + walk_chain_at(k);
    chain[0] = e1;
    for (uint32_t i = 1; i < k; i++) chain[i] = before[i];
    chain[k] = e->time;
}

/* False if steps meet: nothing is known then. */
static bool walk_customer(struct solver *s, const uint32_t *index, uint32_t n) {
    const uint32_t steps = s->best.f->n;
    for (uint32_t i = 0; i < n; i++) {
        const struct funnel_event *e = s->best.kept + index[i];
        if (e->steps & (e->steps - 1)) return false;
        if (s->best.level == steps && e->time > s->best.end)
            return true; /* whatever comes ends later */
        uint32_t k = (uint32_t)__builtin_ctz(e->steps) + 1;
        int64_t *list = walk_list(&s->walk, steps, e->same);
        if (list[WALK_LAST] == e->time && list[WALK_STEP] != k) return false;
        list[WALK_LAST] = e->time;
        list[WALK_STEP] = k;
        if (k == 1 || list[walk_chain_at(k - 1) + 1] >= funnel_best_lowest(&s->best, e->time))
            walk_take(s, list, k, e);
    }
    return true;
}

/* ---- the range ---- */

static int by_slot_time(const void *a, const void *b, void *ctx) {
    const struct funnel_state *s = ctx;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (s->without_slot[i] != s->without_slot[j])
        return s->without_slot[i] < s->without_slot[j] ? -1 : 1;
    return (s->without[i] > s->without[j]) - (s->without[i] < s->without[j]);
}

static int sort_without(struct funnel_state *s, int64_t **out_times, uint32_t **out_slots,
                        struct keel_error *err) {
    uint32_t *order = k_try_alloc_array(s->n_without, sizeof *order);
    int64_t *times = k_try_alloc_array(s->n_without, sizeof *times);
    uint32_t *slots = k_try_alloc_array(s->n_without, sizeof *slots);
    if (!order || !times || !slots) {
        k_free(order);
        k_free(times);
        k_free(slots);
        return too_many(err);
    }
    for (uint32_t i = 0; i < s->n_without; i++) order[i] = i;
    qsort_r(order, s->n_without, sizeof *order, by_slot_time, s);
    for (uint32_t i = 0; i < s->n_without; i++) {
        times[i] = s->without[order[i]];
        slots[i] = s->without_slot[order[i]];
    }
    k_free(order);
    *out_times = times;
    *out_slots = slots;
    return 0;
}

static void store_best(struct funnel_state *s, const struct funnel_best *best, uint32_t slot) {
    struct funnel_result *r = &s->result;
    r->level[slot] = (uint8_t)best->level;
    r->end[slot] = best->end;
    if (r->group) r->group[slot] = best->chain.group;
    if (r->times)
        memcpy(r->times + (size_t)slot * s->funnel->n, best->chain.times,
               best->level * sizeof(int64_t));
}

/* Kept events by customer. */
struct dealt {
    uint32_t *end;   /* [slots]: of his; they begin where those of the slot before end */
    uint32_t *index; /* in `kept`, by customer, in the order in which they came */
    uint64_t *key;   /* [most of one customer] scratch */
    const struct funnel_event **events;
};

/* Most events of step 1 end nowhere: no event of another step has their `same` values, as 64 bits a
 * customer tell. (Unless steps come in any order.) What is left, by its places in `kept`. */
static uint32_t drop_idle(const struct funnel_state *s, uint32_t *left) {
    uint32_t n = 0, all = s->funnel->any_order;
    for (uint32_t i = 0; i < s->n_kept; i++) { /* no branch: it could not be foretold */
        left[n] = i;
        n += (uint32_t)(s->later[s->kept[i].slot] >> (s->kept[i].same & 63) & 1) | all;
    }
    return n;
}

static void dealt_release(struct dealt *d) {
    k_free(d->end);
    k_free(d->index);
    k_free(d->key);
    k_free(d->events);
}

static bool deal(struct funnel_state *s, uint32_t slots, struct dealt *d) {
    uint32_t *left = k_try_alloc_array(s->n_kept, sizeof *left);
    d->end = k_try_zalloc(((size_t)slots + 1) * sizeof *d->end);
    if (!left || !d->end) {
        k_free(left);
        return false;
    }
    uint32_t n = drop_idle(s, left), most = 0, before = 0;
    for (uint32_t i = 0; i < n; i++) d->end[s->kept[left[i]].slot]++;
    for (uint32_t slot = 0; slot < slots; slot++) { /* counts become beginnings */
        uint32_t count = d->end[slot];
        most = count > most ? count : most;
        d->end[slot] = before;
        before += count;
    }
    d->index = k_try_alloc_array((size_t)n + 1, sizeof *d->index);
    d->key = k_try_alloc_array((size_t)most + 1, sizeof *d->key);
    d->events = k_try_alloc_array((size_t)most + 1, sizeof(struct funnel_event *));
    bool ok = d->index && d->key && d->events;
    for (uint32_t i = 0; ok && i < n; i++) d->index[d->end[s->kept[left[i]].slot]++] = left[i];
    k_free(left);
    return ok;
}

/* Each list of equal `same` values by itself. */
static void solve_lists(struct solver *s, struct dealt *d, const uint32_t *index, uint32_t n) {
    const struct funnel_event *kept = s->best.kept;
    for (uint32_t i = 0; i < n; i++) d->key[i] = (uint64_t)kept[index[i]].same << 32 | index[i];
    sort_u64(d->key, n);
    for (uint32_t i = 0; i < n; i++) d->events[i] = kept + (uint32_t)d->key[i];
    for (uint32_t i = 0, next; i < n; i = next) { /* the chains are set list by list */
        for (next = i + 1; next < n && d->events[next]->same == d->events[i]->same;) next++;
        if (s->best.f->any_order)
            funnel_any_solve(&s->best, d->events + i, next - i);
        else
            solve_list(s, d->events + i, next - i);
    }
}

/* What the events of step 1 alone make: the best so far. */
static void begin_customer(const struct funnel_state *s, struct funnel_best *best, uint32_t slot) {
    uint32_t earliest = s->funnel->any_order ? 0 : s->earliest[slot];
    best->level = earliest > 0;
    if (!earliest) return;
    const struct funnel_event *e = &s->kept[earliest - 1];
    best->end = best->chain.times[0] = e->time;
    best->chain.group = e->group;
    best->chain.first = earliest - 1;
}

static bool solve_customer(struct funnel_state *s, struct dealt *d, uint32_t slot, uint32_t from,
                           struct solver *solver) {
    uint32_t n = d->end[slot] - from;
    begin_customer(s, &solver->best, slot);
    if (n == 0) return true;
    if (!s->funnel->any_order) {
        if (!walk_begin(&solver->walk, s->funnel->n, n)) return false;
        if (walk_customer(solver, d->index + from, n)) return true;
        begin_customer(s, &solver->best, slot);
    }
    solve_lists(solver, d, d->index + from, n);
    return true;
}

/* One customer after the other, with his `without` times. */
static bool solve_all(struct funnel_state *s, struct dealt *d, uint32_t slots_n,
                      const int64_t *times, const uint32_t *slots, struct solver *solver) {
    uint32_t at = 0, from = 0;
    for (uint32_t slot = 0; slot < slots_n; from = d->end[slot++]) {
        while (at < s->n_without && slots[at] < slot) at++;
        uint32_t end = at;
        while (end < s->n_without && slots[end] == slot) end++;
        solver->best.without = times + at;
        solver->best.n_without = end - at;
        if (!solve_customer(s, d, slot, from, solver)) return false;
        if (solver->best.level > 0) store_best(s, &solver->best, slot);
    }
    return true;
}

int funnel_exact_end(struct funnel_state *s, struct range r, struct keel_error *err) {
    if (s->n_kept == 0) return 0;
    int64_t *times = NULL;
    uint32_t *slots = NULL;
    struct dealt dealt = {0};
    TRY(sort_without(s, &times, &slots, err));
    struct solver *solver = k_try_zalloc(sizeof *solver);
    bool ok = solver && deal(s, r.count, &dealt);
    if (ok) {
        solver->best.f = s->funnel;
        solver->best.kept = s->kept;
        ok = solve_all(s, &dealt, r.count, times, slots, solver);
    }
    if (solver) k_free(solver->walk.words);
    k_free(solver);
    dealt_release(&dealt);
    k_free(times);
    k_free(slots);
    return ok ? 0 : too_many(err);
}
