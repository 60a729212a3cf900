/* Implementation of journey.h. */
#include "query/forms/journey.h"

#include <math.h>

enum { NONE = JOURNEY_NONE, STATE = 2 }; /* codes of steps: what markov.h names, then the groups */

/* DECAY: weights grow with time; before they grow too large, all are made small again. */
enum { WEIGHT_DOUBLINGS = 512 };

static bool keeps_one(const struct journey_rule *r) {
    return r->model == QUERY_MODEL_LAST ||
           (r->model == QUERY_MODEL_FIRST && r->within_ms == INT64_MAX);
}
static bool is_shared(const struct journey_rule *r) { return r->model > QUERY_MODEL_FIRST; }
static bool is_markov(const struct journey_rule *r) { return r->model == QUERY_MODEL_MARKOV; }

int journeys_open(struct journeys *j, const struct journey_rule *rule, uint32_t slots,
                  struct keel_error *err) {
    *j = (struct journeys){.rule = rule};
    pairs_init(&j->steps);
    j->of = k_try_alloc_array(slots, sizeof *j->of);
    if (!j->of) FAIL(err, NO_MEMORY, "too little memory for touches");
    return 0;
}

void journeys_close(struct journeys *j) {
    k_free(j->of);
    k_free(j->touches);
    k_free(j->tallies);
    k_free(j->shares);
    pairs_release(&j->steps);
}

void journeys_begin(struct journeys *j, uint32_t slots) {
    memset(j->of, 0xff, slots * sizeof *j->of); /* all NONE */
    j->n_touches = j->n_tallies = 0;
    j->free_touch = j->free_tally = NONE;
}

static int too_many(struct keel_error *err) {
    return error_set(err, KEEL_E_LIMIT, "too many touches at once: use a shorter distance");
}

/* Room for one more of a pool: its array, its count and capacity. */
static bool pool_room(void **items, uint32_t n, uint32_t *cap, size_t bytes) {
    if (n < *cap) return true;
    uint32_t more = *cap ? *cap * 2 : 1 << 10;
    void *grown = more <= JOURNEY_MAX_TOUCHES ? k_try_realloc(*items, more * bytes) : NULL;
    if (!grown) return false;
    *items = grown;
    *cap = more;
    return true;
}

static int new_touch(struct journeys *j, struct touch t, uint32_t *out, struct keel_error *err) {
    *out = j->free_touch;
    if (*out != NONE) {
        j->free_touch = j->touches[*out].next;
    } else {
        void *items = j->touches;
        if (!pool_room(&items, j->n_touches, &j->cap_touches, sizeof t)) return too_many(err);
        j->touches = items;
        *out = j->n_touches++;
    }
    j->touches[*out] = t;
    return 0;
}

/* ---- tallies ---- */

/* Finds a tally, or adds one that counts nothing yet. */
static int find_tally(struct journeys *j, struct journey *c, uint32_t from, uint32_t group,
                      uint32_t *out, struct keel_error *err) {
    for (*out = c->tallies; *out != NONE; *out = j->tallies[*out].next)
        if (j->tallies[*out].group == group && j->tallies[*out].from == from) return 0;
    *out = j->free_tally;
    if (*out != NONE) {
        j->free_tally = j->tallies[*out].next;
    } else {
        void *items = j->tallies;
        if (!pool_room(&items, j->n_tallies, &j->cap_tallies, sizeof *j->tallies))
            return too_many(err);
        j->tallies = items;
        *out = j->n_tallies++;
    }
    j->tallies[*out] = (struct tally){.group = group, .from = from, .next = c->tallies};
    c->tallies = *out;
    return 0;
}

static double weight_of(const struct journeys *j, const struct journey *c, int64_t t) {
    if (j->rule->model != QUERY_MODEL_DECAY) return 0;
    return exp2((double)(t - c->origin_ms) / (double)j->rule->half_life_ms);
}

static int add_tally(struct journeys *j, struct journey *c, uint32_t from, uint32_t group,
                     double weight, struct keel_error *err) {
    uint32_t at;
    TRY(find_tally(j, c, from, group, &at, err));
    j->tallies[at].count++;
    j->tallies[at].weight += weight;
    return 0;
}

static void drop_tally(struct journeys *j, struct journey *c, uint32_t from, uint32_t group,
                       double weight) {
    uint32_t *link = &c->tallies;
    while (j->tallies[*link].group != group || j->tallies[*link].from != from)
        link = &j->tallies[*link].next;
    struct tally *t = &j->tallies[*link];
    t->weight -= weight;
    if (--t->count > 0) return;
    uint32_t at = *link;
    *link = t->next;
    t->next = j->free_tally;
    j->free_tally = at;
}

/* A weight counts from some origin: it moves when the newest touch would weigh too much. */
static void move_origin(struct journeys *j, struct journey *c, int64_t t) {
    if (j->rule->model != QUERY_MODEL_DECAY) return;
    if (c->tallies == NONE) {
        c->origin_ms = t;
        return;
    }
    if ((double)(t - c->origin_ms) / (double)j->rule->half_life_ms < WEIGHT_DOUBLINGS) return;
    double by = 1 / weight_of(j, c, t);
    for (uint32_t at = c->tallies; at != NONE; at = j->tallies[at].next)
        j->tallies[at].weight *= by;
    c->origin_ms = t;
}

/* ---- the chain ---- */

static int add_steps(struct journeys *j, uint32_t from, uint32_t to, uint32_t n,
                     struct keel_error *err) {
    bool is_new;
    uint32_t *count = pairs_at(&j->steps, pair_key(from, to), &is_new);
    if (!count || __builtin_add_overflow(*count, n, count))
        FAIL(err, LIMIT, "too many steps between touches: narrow the question");
    return 0;
}

static int close_lost(struct journeys *j, struct journey *c, struct keel_error *err) {
    if (c->lost == NONE) return 0;
    uint32_t last = c->lost;
    c->lost = NONE;
    return add_steps(j, last + STATE, MARKOV_LOST, 1, err);
}

/* A touch that goes: it belonged to a conversion's journey, or it is lost. */
static int leave(struct journeys *j, struct journey *c, uint32_t at, struct keel_error *err) {
    const struct touch *t = &j->touches[at];
    if (c->used != NONE) {
        if (c->used == at) c->used = NONE;
        return close_lost(j, c, err);
    }
    if (t->time < j->rule->from_ms) return 0;
    if (c->lost != NONE && j->rule->within_ms != INT64_MAX &&
        t->time - c->lost_ms > j->rule->within_ms)
        TRY(close_lost(j, c, err));
    if (c->lost == NONE)
        TRY(add_steps(j, MARKOV_START, t->group + STATE, 1, err));
    else if (c->lost != t->group)
        TRY(add_steps(j, c->lost + STATE, t->group + STATE, 1, err));
    c->lost = t->group;
    c->lost_ms = t->time;
    return 0;
}

void journeys_chain(const struct journeys *j, const uint32_t *map, const uint32_t *place,
                    struct markov *to) {
    for (uint64_t i = 0; j->steps.keys && i <= j->steps.mask; i++) {
        if (!j->steps.keys[i]) continue;
        uint64_t key = j->steps.keys[i] - 1;
        uint32_t from = (uint32_t)(key >> 32), end = (uint32_t)key, n = j->steps.values[i];
        uint32_t a = from >= STATE ? place[map[from - STATE]] : 0;
        uint32_t b = end >= STATE ? place[map[end - STATE]] : 0;
        if (from == MARKOV_START)
            to->start[b] += n;
        else if (end == MARKOV_CONVERSION)
            to->won[a] += n;
        else if (end == MARKOV_LOST)
            to->lost[a] += n;
        else
            to->steps[(size_t)a * to->n + b] += n;
    }
}

/* ---- touches ---- */

static int drop_head(struct journeys *j, struct journey *c, struct keel_error *err) {
    uint32_t at = c->head;
    struct touch *t = &j->touches[at];
    if (is_shared(j->rule)) drop_tally(j, c, NONE, t->group, weight_of(j, c, t->time));
    if (is_markov(j->rule)) {
        if (t->next != NONE && j->touches[t->next].group != t->group)
            drop_tally(j, c, t->group, j->touches[t->next].group, 0);
        TRY(leave(j, c, at, err));
    }
    c->head = t->next;
    if (c->head == NONE) c->tail = NONE;
    t->next = j->free_touch;
    j->free_touch = at;
    return 0;
}

int journey_prune(struct journeys *j, uint32_t slot, int64_t t, struct keel_error *err) {
    struct journey *c = &j->of[slot];
    if (j->rule->within_ms == INT64_MAX) return 0;
    while (c->head != NONE && j->touches[c->head].time < t - j->rule->within_ms)
        TRY(drop_head(j, c, err));
    return 0;
}

int journeys_end(struct journeys *j, uint32_t slots, struct keel_error *err) {
    for (uint32_t slot = 0; slot < slots && is_markov(j->rule); slot++) {
        while (j->of[slot].head != NONE) TRY(drop_head(j, &j->of[slot], err));
        TRY(close_lost(j, &j->of[slot], err));
    }
    return 0;
}

int journey_touch(struct journeys *j, uint32_t slot, int64_t t, uint32_t group, uint32_t *out,
                  struct keel_error *err) {
    struct journey *c = &j->of[slot];
    *out = c->head;
    if (keeps_one(j->rule) && c->head != NONE) { /* LAST: the newest; else the oldest */
        if (j->rule->model == QUERY_MODEL_LAST)
            j->touches[c->head] = (struct touch){.time = t, .group = group, .next = NONE};
        return 0;
    }
    TRY(journey_prune(j, slot, t, err));
    TRY(new_touch(j, (struct touch){.time = t, .group = group, .next = NONE}, out, err));
    if (is_shared(j->rule)) {
        move_origin(j, c, t);
        TRY(add_tally(j, c, NONE, group, weight_of(j, c, t), err));
    }
    if (c->tail != NONE) {
        uint32_t before = j->touches[c->tail].group;
        j->touches[c->tail].next = *out;
        if (is_markov(j->rule) && before != group) TRY(add_tally(j, c, before, group, 0, err));
    } else {
        c->head = *out;
    }
    c->tail = *out;
    return 0;
}

bool journey_first(const struct journeys *j, uint32_t slot, uint32_t *out_group) {
    const struct journey *c = &j->of[slot];
    if (c->head == NONE) return false;
    *out_group = j->touches[c->head].group;
    return true;
}

/* ---- shares ---- */

static int shares_room(struct journeys *j, uint32_t n, struct keel_error *err) {
    if (n < j->cap_shares) return 0;
    uint32_t cap = n * 2 + 16;
    struct share *shares = k_try_realloc(j->shares, cap * sizeof *shares);
    if (!shares) return too_many(err);
    j->shares = shares;
    j->cap_shares = cap;
    return 0;
}

static double share_of(enum query_model model, const struct tally *t) {
    return model == QUERY_MODEL_DECAY ? t->weight : model == QUERY_MODEL_SHAPLEY ? 1 : t->count;
}

/* 40 % to the first, 40 % to the last, 20 % in equal parts to the n - 2 between. */
static void weigh_position(struct share *shares, uint32_t n_shares, uint32_t n, uint32_t first,
                           uint32_t last) {
    for (uint32_t i = 0; i < n_shares && n > 2; i++) {
        struct share *s = &shares[i];
        double ends = (s->group == first) + (s->group == last);
        s->weight = 0.4 * ends + 0.2 / (n - 2) * (s->weight - ends);
    }
}

/* Of all touches, by their tallies. */
static int by_tallies(struct journeys *j, struct journey *c, uint32_t *out_n,
                      struct keel_error *err) {
    uint32_t n = 0, touches = 0;
    for (uint32_t at = c->tallies; at != NONE; at = j->tallies[at].next) {
        const struct tally *t = &j->tallies[at];
        if (t->from != NONE) {
            TRY(add_steps(j, t->from + STATE, t->group + STATE, t->count, err));
            continue;
        }
        TRY(shares_room(j, n, err));
        j->shares[n++] = (struct share){t->group, share_of(j->rule->model, t)};
        touches += t->count;
    }
    *out_n = n;
    if (n == 0) return 0;
    uint32_t first = j->touches[c->head].group, last = j->touches[c->tail].group;
    if (j->rule->model == QUERY_MODEL_POSITION) weigh_position(j->shares, n, touches, first, last);
    if (!is_markov(j->rule)) return 0;
    TRY(add_steps(j, MARKOV_START, first + STATE, 1, err));
    return add_steps(j, last + STATE, MARKOV_CONVERSION, 1, err);
}

/* Of all touches but `own`, one by one. */
static int by_walk(struct journeys *j, struct journey *c, uint32_t own, uint32_t *out_n,
                   struct keel_error *err) {
    uint32_t n = 0, touches = 0, first = NONE, last = NONE;
    int64_t last_ms = 0;
    for (uint32_t at = c->head; at != NONE; at = j->touches[at].next)
        if (at != own) last_ms = j->touches[at].time;
    for (uint32_t at = c->head; at != NONE; at = j->touches[at].next) {
        uint32_t group = j->touches[at].group, i = 0;
        if (at == own) continue;
        if (++touches > JOURNEY_MAX_WALK)
            FAIL(
                err, LIMIT,
                "a customer has more than %d touches before an event that is a touch itself: use a "
                "shorter distance (\"within\")",
                JOURNEY_MAX_WALK);
        while (i < n && j->shares[i].group != group) i++;
        TRY(shares_room(j, n, err));
        if (i == n) j->shares[n++] = (struct share){group, 0};
        j->shares[i].weight +=
            j->rule->model == QUERY_MODEL_DECAY
                ? exp2((double)(j->touches[at].time - last_ms) / (double)j->rule->half_life_ms)
                : 1;
        if (is_markov(j->rule) && last != group)
            TRY(add_steps(j, last == NONE ? MARKOV_START : last + STATE, group + STATE, 1, err));
        if (first == NONE) first = group;
        last = group;
    }
    *out_n = n;
    if (j->rule->model == QUERY_MODEL_POSITION) weigh_position(j->shares, n, touches, first, last);
    if (!is_markov(j->rule) || n == 0) return 0;
    return add_steps(j, last + STATE, MARKOV_CONVERSION, 1, err);
}

int journey_shares(struct journeys *j, uint32_t slot, uint32_t own, const struct share **out,
                   uint32_t *out_n, struct keel_error *err) {
    struct journey *c = &j->of[slot];
    bool counts = j->rule->model == QUERY_MODEL_LINEAR || j->rule->model == QUERY_MODEL_SHAPLEY;
    *out_n = 0;
    c->used = c->tail;
    if (own != NONE && !counts) { /* DECAY: it would hide how little the others weigh */
        TRY(by_walk(j, c, own, out_n, err));
    } else if (own != NONE) { /* the own touch goes for a moment */
        uint32_t group = j->touches[own].group;
        drop_tally(j, c, NONE, group, 0);
        TRY(by_tallies(j, c, out_n, err));
        TRY(add_tally(j, c, NONE, group, 0, err));
    } else {
        TRY(by_tallies(j, c, out_n, err));
    }
    *out = j->shares;
    return 0;
}
